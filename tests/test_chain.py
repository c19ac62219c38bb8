"""The chain of the project: pre-train, export, fine-tune, and a table that joins all of it by hashes."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.collect_tables import PUBLISHED
from src.assembly.train import train
from src.checkpoints.provenance import file_hash
from src.results.runs import Run, read_runs
from src.results.tables.transfer import collect_starts, read_transfers
from src.results.tables.transfer_writing import csv_starts
from tests.composing import TINY_EPOCHS, composed
from tests.detecting import faster_overrides, voc_tree
from tests.exporting import exported

PRETRAINING = (
    *(*TINY_EPOCHS, "experiment=demo_pretrain", "trainer.max_epochs=1", "score_before=false"),
    *("model.hidden_channels=8", "model.image_channels=8", "model.image_bottleneck=4", "model.num_categories=9"),
)
SHORT = ("trainer.fast_dev_run=false", "trainer.max_steps=1", "score_before=false", "callbacks.progress=null")
FINE_TUNING = (
    *("experiment=small_fcn", "debug=tiny", "model.channels=8", "model.aux_channels=8", "data.batch_size=4", *SHORT),
)


def tuned(output: Path, start: Path | None, *overrides: str) -> dict[str, Any]:
    """A fine-tuning run; returns its `scores.json`."""
    train(composed(output, *overrides, f"model.encoder.weights={'null' if start is None else start}"))
    document: dict[str, Any] = json.loads((output / "scores.json").read_text())
    return document


@pytest.mark.slow
def test_a_start_is_followed_from_the_pretraining_to_the_table(
    labelled_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    train(composed(runs / "pretraining", *PRETRAINING, "model/encoder=resnet18"))
    hashed = json.loads((runs / "pretraining" / "scores.json").read_text())["origin"]["config"]
    checkpoint, file = runs / "pretraining" / "checkpoints" / "last.ckpt", tmp_path / "encoder.pth"
    assert exported(checkpoint, file)["origin"]["config"] == hashed
    capsys.readouterr()

    fcn = (*FINE_TUNING, f"data.root={labelled_root}")
    found = {name: tuned(runs / name, start, *fcn) for name, start in (("file", file), ("none", None))}
    assert f"120 of 120 entries loaded from {file}" in capsys.readouterr().out
    found["checkpoint"] = tuned(runs / "checkpoint", checkpoint, *fcn)
    probe = ("experiment=small_probe", f"data.root={labelled_root}", "data.batch_size=2", "data.num_workers=0")
    found["probe"] = tuned(runs / "probe", file, *probe, "protocol.side=32", "callbacks.progress=null")
    found["detector"] = tuned(runs / "detector", file, *faster_overrides(voc_tree(tmp_path / "voc")), *SHORT)
    sources = {name: document["origin"]["encoder_weights"] for name, document in found.items()}
    assert sources["none"] is None
    assert sources["file"]["sha256"] == file_hash(file)
    assert sources["checkpoint"]["sha256"] == file_hash(checkpoint)
    assert sources["file"]["origin"]["config"] == sources["checkpoint"]["origin"]["config"] == hashed
    assert sources["file"]["step"] == sources["checkpoint"]["step"] == 2
    assert sources["detector"] == sources["probe"] == sources["file"]
    assert found["file"]["scores"] == found["checkpoint"]["scores"]  # the same weights, seed and data
    assert found["file"]["scores"] != found["none"]["scores"]

    moved = tmp_path / "moved"
    runs.rename(moved)
    file.unlink()
    table = read_transfers(PUBLISHED)["table2"]
    sections, remarks = collect_starts(table, read_runs(moved))
    assert remarks == [f"{moved / 'checkpoint'} is left out: a later run has the same start, setting and seed."]
    lines = {(section.groups[0].name, section.data): section.lines for section in sections}
    own, (detector,) = lines["FCN", labelled_root.name], lines["Faster R-CNN", "voc"]
    assert {line.start: [run.folder.name for run in line.runs["FCN"]] for line in own} == {
        "DenseSiam": ["file"],
        "scratch": ["none"],
    }
    assert (detector.start, [run.folder.name for run in detector.runs["Faster R-CNN"]]) == ("DenseSiam", ["detector"])
    assert {line.encoder for line in (*own, detector)} == {"resnet18"}
    assert detector.setting == next(line.setting for line in own if line.start == "DenseSiam")
    trained = torch.load(moved / "checkpoint" / "checkpoints" / "last.ckpt", weights_only=True)
    assert trained["origin"]["encoder_weights"] == sources["checkpoint"]

    small, cells = small_table2(read_runs(moved), {"nyu13": labelled_root.name, "voc2007det": "voc"})
    assert small == [f"{moved / 'checkpoint'} is left out: a later run has the same start, setting and seed."]
    probed, trained_fcn, detected = (found[name]["scores"]["after training"] for name in ("probe", "file", "detector"))
    scores = [near(probed["mIoU"]), None, near(trained_fcn["mIoU"]), near(detected["AP50"])]
    assert cells["PixSim + RegionSim"][:5] == [*scores, 2]
    assert all(cost > 0 for cost in cells["PixSim + RegionSim"][5:])
    from_none = found["none"]["scores"]["after training"]["mIoU"]
    assert cells["scratch"] == [None, None, near(from_none), None, None, None, None]
    assert cells["SimSiam"] == [None] * 7


def near(number: float) -> Any:
    """A number as a table prints it, with six digits."""
    return pytest.approx(number, rel=1e-5)


def small_table2(runs: Sequence[Run], folders: Mapping[str, str]) -> tuple[list[str], dict[str, list[float | None]]]:
    """The remarks and the means of the small Table 2 of tiny runs, by its rows.

    Args:
        runs: the runs.
        folders: the folder of each data set of the table; that of another one is absent.
    """
    table = read_transfers(PUBLISHED)["small_table2"]
    counts = {Path(str(run.values.get("data.root"))).name: run.document["protocol"].get("images") for run in runs}
    groups = []
    for group in table.groups:
        data = folders.get(group.data or "", "absent")
        groups.append(group._replace(data=data, images=counts.get(data, 0)))
    sections, remarks = collect_starts(table._replace(groups=groups), runs)
    cells: dict[str, list[float | None]] = {}
    for row in csv.DictReader(csv_starts(table, sections).splitlines()):
        cells.setdefault(row["start"], []).append(None if row["mean"] == "NA" else float(row["mean"]))
    return remarks, cells
