"""The console script `densesiam`, and the wheel that it comes with."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from src import __main__ as console_script
from src.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[1]


def asked(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["densesiam", *arguments])
    main()


def test_every_command_is_listed() -> None:
    commands = {path.stem for path in (ROOT / "src").glob("*.py") if "@hydra.main" in path.read_text(encoding="utf-8")}
    assert set(COMMANDS) == commands


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_the_commands_are_shown(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(monkeypatch, *arguments)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[: len(COMMANDS)]] == list(COMMANDS)
    assert len(lines) <= len(COMMANDS) + 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("trian", f"there is no densesiam trian: did you mean densesiam train? choose one of {', '.join(COMMANDS)}"),
        ("x=1", f"there is no densesiam x=1: choose one of {', '.join(COMMANDS)}"),
    ],
)
def test_a_misspelt_command_is_one_line(
    given: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        asked(monkeypatch, given)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"{said}\n"


def test_a_command_is_run_as_python_does_with_m(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that further processes of a run are started by `python -m src.train` as well, and with the same arguments."""
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    ran: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        console_script.runpy, "run_module", lambda *given, **options: ran.append((given, options, sys.argv[1:]))
    )
    asked(monkeypatch, "train", "experiment=demo", "-m")
    assert ran == [(("src.train",), {"run_name": "__main__", "alter_sys": True}, ["experiment=demo", "-m"])]
    assert os.environ["PYTHONSAFEPATH"] == "1"


@pytest.mark.slow
def test_an_installed_wheel_works_elsewhere(tmp_path: Path) -> None:
    """With conf/ inside, without tests, and beside a folder of the user's that is called src as well."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    offline = ["--quiet", "--no-deps", "--no-index"]
    source, installed, elsewhere = tmp_path / "source", tmp_path / "installed", tmp_path / "elsewhere"
    source.mkdir()
    for name in ("conf", "src", "tests", "LICENSE", "README.md", "pyproject.toml"):  # a build leaves its files beside
        (source / name).symlink_to(ROOT / name)

    def called(*command: str) -> str:
        env = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=elsewhere, env=env, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    (elsewhere / "src").mkdir(parents=True)
    (elsewhere / "src" / "__init__.py").write_text("raise RuntimeError('this is not the package')")
    called(*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(tmp_path), str(source))
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in names} == {"src"}
    below = {
        "src": [path for path in (ROOT / "src").rglob("*") if path.suffix in (".py", ".json", ".gz", ".j2")],
        "src/conf": [*(ROOT / "conf").rglob("*.yaml")],
    }
    expected = {
        f"{place}/{path.relative_to(ROOT / Path(place).name).as_posix()}"
        for place, paths in below.items()
        for path in paths
    }
    assert names == expected

    called(*pip, "install", *offline, "--target", str(installed), str(wheel))
    densesiam = [sys.executable, str(installed / "bin" / "densesiam")]
    assert "experiment=demo" in called(*densesiam)
    assert called(sys.executable, "-P", "-c", "import src; print(src.__file__)").startswith(str(installed))
    assert "train_scenes: " in called(*densesiam, "train", "--cfg", "job", "experiment=demo")
    few = ["data.train_scenes=8", "data.val_scenes=4", "data.scene_size=32", "data.num_workers=0"]
    said = called(*densesiam, "train", "experiment=demo", "debug=tiny", "references=none", *few)
    assert "after training" in said
    assert len(list((elsewhere / "outputs" / "demo").glob("*/scores.json"))) == 1
