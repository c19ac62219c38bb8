"""What a command says of arguments that Hydra refuses: one line, with the spelling that works."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from src import command_line
from src.command_line import explained, refuse_empty, refuse_no_choice, run
from src.errors import DenseSiamError
from tests.composing import CONF
from tests.refusals import refusal

ROOT = Path(__file__).parents[1]


def said(*arguments: str, name: str = "train") -> str:
    """What is said of arguments that Hydra can't compose."""
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(HydraException) as caught:
        compose(name, list(arguments))
    message = str(DenseSiamError(explained(caught.value, arguments, name)))
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["data=folder", "data.rot=x"], "there is no value data.rot: did you mean data.root?"),
        (["experiment=demo", "task.los_weights.region=1"], "did you mean task.loss_weights.region?"),
        (["experiment=demo", "model.encodr.name=x"], "did you mean model.encoder.name?"),
        (["experiment=demo", "trainer.max_epoch=3"], "did you mean trainer.max_epochs?"),
        (["experiment=demo", "epochs=3"], "did you mean trainer.max_epochs?"),
        (["experiment=demo", "wieghts=x"], "did you mean weights?"),
        (["experiment=camvid"], "there is no experiment=camvid: did you mean experiment=camvid_seg? choose one of"),
        (["experimnt=demo"], "there is no value experimnt: did you mean experiment?"),
        (["experiment=demo", "model/encodr=resnet18"], "did you mean model/encoder?"),
        (["experiment=demo", "model/encoder=resnet19"], "did you mean model/encoder=resnet18?"),
        (["data.root=DIR"], "data=none has no values, and so no data.root: choose another data=NAME as well"),
        (["experiment=demo", "probe.root=DIR"], "probe=none has no values"),
        (["experiment=demo", "data.root=DIR"], "there is no value data.root: data has augment_on, batch_size"),
        (["demo"], "'demo' is not an argument: expected key=value"),
    ],
)
def test_the_nearest_name_is_suggested(arguments: Sequence[str], expected: str) -> None:
    message = said(*arguments)
    assert expected in message
    assert "+data" not in message


def test_each_command_knows_its_own_values() -> None:
    assert "did you mean output?" in said("outptu=x", name="export")
    assert "did you mean ckpt_path?" in said("ckpt_pth=x", name="evaluate")


@pytest.mark.parametrize("value", ["müller", "a(b", "a=b", "a b=c", "x{", "with'quote"])
def test_the_spelling_that_works_is_given(value: str) -> None:
    message = said("data=folder", f"data.root={value}")
    (typed,) = shlex.split(message.partition(" write ")[2])
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert compose("train", ["data=folder", typed]).data.root == value


def test_a_home_folder_is_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert said("data=folder", "data.root=~/photos").endswith("write data.root=/home/ann/photos")


@pytest.mark.parametrize(
    "key", ["data.root", "ckpt_path", "weights", "output", "probe.root", "paths.output", "data.list", "hydra.run.dir"]
)
def test_a_variable_that_is_not_set_is_refused(key: str) -> None:
    refusal(lambda: refuse_empty(["experiment=demo", f"{key}="]), f"{key}= is empty", f"{key}=null")


@pytest.mark.parametrize("argument", ["references=null", "data=null", "model/encoder=3", "task=true", "data=[1,2]"])
def test_a_group_wants_a_name(argument: str) -> None:
    refusal(lambda: refuse_no_choice([argument]), "choose one of")


def test_sweeps_and_names_are_no_mistakes() -> None:
    refuse_no_choice(["references=none,colour", "experiment=demo", "seed=null", "model.encoder=3", "-m", "müller"])


def test_the_default_experiment_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "experiment=null", "data=folder", "debug=null"])
    monkeypatch.setenv(command_line.OURS, "1")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    seen: list[list[str]] = []
    run(lambda: seen.append(sys.argv[1:]), "train")
    assert seen == [["data=folder"]]


@pytest.mark.parametrize(("given", "expected"), [(None, "passive"), ("active", "active")])
def test_threads_wait_passively_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: str | None, expected: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["train"])
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")  # so that it is put back afterwards
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv(command_line.OURS, "1")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    seen: list[str] = []
    run(lambda: seen.append(os.environ["OMP_WAIT_POLICY"]), "train")  # torch is imported in `main`, not before
    assert seen == [expected]


def refuse() -> None:
    raise DenseSiamError("too large")


def test_a_mistake_ends_a_command_with_its_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train"])
    monkeypatch.setenv(command_line.OURS, "1")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(SystemExit) as caught:
        run(refuse, "train")
    assert caught.value.code == "too large"
    monkeypatch.delenv(command_line.OURS)  # the user's own wish for tracebacks
    with pytest.raises(DenseSiamError):
        run(refuse, "train")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "evaluate", "export"])
def test_help_begins_with_what_the_command_is_for_and_three_examples(name: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", f"src.{name}", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    first, empty, *examples = result.stdout.splitlines()[:5]
    assert first.endswith(".")
    assert not empty
    assert all(line.startswith("  python -m src.") for line in examples)
    assert ("APP" in result.stdout, "experiment:" in result.stdout) == (False, name == "train")
    assert "Hydra" not in result.stdout
    if name == "export":
        assert len(result.stdout.splitlines()) < 20


@pytest.mark.slow
def test_a_misspelt_key_is_answered_by_the_command_itself(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "src.train", "experiment=demo", "data.sed=1"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 1
    assert result.stderr.splitlines() == ["there is no value data.sed: did you mean data.seed?"]


def test_a_folder_that_cannot_be_made_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_before_ours() -> None:
        Path("/dev/null/run").mkdir()  # as Hydra does; this module is not one of ours

    monkeypatch.setattr(sys, "argv", ["train"])
    with pytest.raises(SystemExit) as caught:
        run(fails_before_ours, "train")
    assert str(caught.value.code).startswith("can't make the folder of the run ([Errno 20]")
