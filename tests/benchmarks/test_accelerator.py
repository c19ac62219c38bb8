"""`benchmarks/accelerator.py` on the CPU, with tiny images and networks; and its limits of time."""

import subprocess
from pathlib import Path

import pytest
import torch

from benchmarks import accelerator
from benchmarks.accelerator_settings import VARIANTS, Setting, write_data

ROOT = Path(__file__).parents[2]


def test_a_table_of_steps_has_a_row_for_each_variant(tmp_path: Path) -> None:
    setting = Setting(torch.device("cpu"), tmp_path, tiny=True)
    write_data(setting, transfer=False)
    precision = torch.get_float32_matmul_precision()
    lines = accelerator.steps_table(setting.subjects()[0], setting, [VARIANTS[1], VARIANTS[3]], 1.0).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| TF32", "| bf16-mixed, channels_last"]
    assert all(len(line.split("|")) == len(lines[0].split("|")) for line in lines)
    assert torch.get_float32_matmul_precision() == precision


def test_the_paper_is_measured_at_full_size() -> None:
    setting = Setting(torch.device("cuda"), Path("data"), tiny=False)
    assert [(each.name, each.batch, each.size) for each in setting.subjects()] == [
        ("coco_seg", 256, 320),
        ("in1k_pretrain", 512 // 8, 224),
    ]
    assert (setting.transfer_steps, setting.transfer_batch) == (200, 16)
    assert [name for name, _ in setting.transfers()] == ["cityscapes_fcn", "voc_faster_rcnn", "coco_mask_rcnn"]
    assert not [value for _, values in setting.transfers() for value in values if value.startswith("model")]


@pytest.mark.slow
def test_the_whole_script_runs_on_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tables.md"
    assert accelerator.main(["--device", "cpu", "--tiny", "--output", str(file)]) == 0
    assert accelerator.main(["--device", "cpu", "--tiny", "--output", str(file), "--transfer"]) == 0
    said = file.read_text()
    assert said.count("### ") == 6 + 3
    assert "failed" not in said
    assert "not measured" not in said
    assert said in capsys.readouterr().out.replace("\n\n\n", "\n\n")


def test_a_failed_part_does_not_stop_the_others_and_time_is_shared() -> None:
    said, given, now = list[str](), list[float](), 0.0

    def part(seconds: float) -> str:
        nonlocal now
        given.append(seconds)
        now += 8
        return "a table"

    def broken(seconds: float) -> str:
        raise ValueError("no such thing\nat all")

    parts = {"one": part, "two": broken, "three": part, "four": part}
    assert accelerator.measure(parts, 20, said.append, lambda: now) == 1
    assert given == [20 / 4 / 2, (20 - 8) / 2 / 2, (20 - 16) / 1 / 2]
    assert said[1] == "### two\n\n**failed**: ValueError: no such thing"
    assert accelerator.measure({"late": part}, 2, said.append, lambda: now) == 0
    assert said[-1] == "### late\n\nnot measured, the time was over"


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        accelerator.main([])
    assert "torch finds no GPU: --device cpu --tiny" in capsys.readouterr().err


def test_the_script_has_right_syntax_and_asks_for_a_file() -> None:
    script = ROOT / "benchmarks" / "accelerator.sh"
    subprocess.run(["bash", "-n", script], check=True)
    done = subprocess.run([script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "usage: benchmarks/accelerator.sh FILE [--transfer]\n")
