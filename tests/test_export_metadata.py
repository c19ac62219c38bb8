"""What an exported file and its record say, and that nothing is written if the file gives something else."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from src.checkpoints.provenance import file_hash
from src.formats import to_torchvision
from tests.exporting import HALF, checkpoint_of, exported
from tests.refusals import refusal


def test_a_file_that_gives_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, _ = checkpoint_of(HALF, tmp_path)
    written = to_torchvision.contents
    monkeypatch.setattr(
        to_torchvision, "contents", lambda state, *rest: written({**state, "bn1.bias": state["bn1.bias"] + 1}, *rest)
    )
    output = tmp_path / "new" / "a.pth"
    refusal(lambda: exported(checkpoint, output), "a.pth gives outputs that differ", "nothing was written")
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_the_record_says_what_the_weights_are_from(tmp_path: Path) -> None:
    checkpoint, _ = checkpoint_of(HALF, tmp_path)
    content = torch.load(checkpoint)
    matched = {"head": "main", "method": "hungarian", "class_of_cluster": [1, -1, 0], "confusion": [[1, 2, 3]] * 2}
    matched |= {"classes": [{"name": "sky\x1b[2J", "kind": "stuff"}, {"name": "<b>", "kind": "thing"}]}
    content["config"] |= {"task": {"_target_": "src.tasks.segment.Segment"}}
    content["config"] |= {"data": {"_target_": "src.data.folder.Folder", "root": "/private/photos"}}
    torch.save({**content, "matched": matched}, checkpoint)
    output = tmp_path / "a.safetensors"
    record = exported(checkpoint, output)
    with safe_open(output, "pt") as file:
        metadata = {name: json.loads(text) for name, text in file.metadata().items() if text[0] in "[{"}
        texts = file.metadata()
    assert (record["method"], record["data"], record["epochs"]) == (
        "Segment",
        {"kind": "Folder", "folder": "photos"},
        4,
    )
    assert record["classes"]["names"] == ["sky\x1b[2J", "<b>"]
    assert metadata["densesiam.classes"] == record["classes"]
    assert metadata["densesiam.normalisation"] == record["normalisation"]
    assert texts["densesiam.checkpoint_sha256"] == file_hash(checkpoint)
    assert "private" not in str(texts)
    torch.save({**content, "matched": {"head": "main"}}, checkpoint)
    refusal(lambda: exported(checkpoint, tmp_path / "b.pth"), "the matching of clusters to classes", "is damaged")
