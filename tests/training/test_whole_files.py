"""Checkpoints on disk: whole at any time, finite, the one before kept, and one line when the disk is full."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from src.checkpoints.finite import NotFiniteError, not_finite
from src.checkpoints.previous import hint, previous_beside
from src.training.whole_files import WholeFiles
from tests.full_disk import no_file_larger_than
from tests.refusals import refusal


def state(step: int, weight: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"global_step": step, "state_dict": {"net.weight": torch.tensor([1.0, weight])}, **more}


def step_of(path: Path) -> int:
    step: int = torch.load(path)["global_step"]
    return step


def test_the_one_before_is_kept_of_last_alone(tmp_path: Path) -> None:
    files = WholeFiles()
    for step in (1, 2, 3):
        files.save_checkpoint(state(step), tmp_path / "last.ckpt")
        files.save_checkpoint(state(step), str(tmp_path / "best.ckpt"))
    assert {path.name: step_of(path) for path in tmp_path.iterdir()} == {
        "last.ckpt": 3,
        "previous.ckpt": 2,
        "best.ckpt": 3,
    }


def without_links(source: Path, link: Path) -> None:
    raise PermissionError("Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
def test_there_is_a_whole_one_at_any_time(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at before each change of a name in the folder, and between two of them is no other moment."""
    seen: list[list[int]] = []

    def look(path: Path) -> None:
        whole = [step_of(tmp_path / name) for name in ("last.ckpt", "previous.ckpt") if (tmp_path / name).exists()]
        seen.append(sorted(whole))

    def watched(self: Path, *arguments: Any) -> Any:
        look(self)
        return replace(self, *arguments)

    replace = Path.replace
    monkeypatch.setattr(Path, "replace", watched)
    if not links:
        monkeypatch.setattr(os, "link", without_links)
    files, last = WholeFiles(), tmp_path / "last.ckpt"
    for step in (1, 2, 3):
        files.save_checkpoint(state(step), last)
    assert [max(steps, default=0) for steps in seen] == [0, 1, 1, 2, 2]
    assert [step_of(tmp_path / name) for name in ("last.ckpt", "previous.ckpt")] == [3, 2]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_one_does_not_push_the_good_one_out(tmp_path: Path) -> None:
    files, last, previous = WholeFiles(), tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    for step in (1, 2):
        files.save_checkpoint(state(step), last)
    last.write_bytes(last.read_bytes()[:300])
    resumed = WholeFiles()
    assert resumed.load_checkpoint(previous)["global_step"] == 1
    resumed.save_checkpoint(state(5), last)
    assert (step_of(last), step_of(previous)) == (5, 1)
    resumed.save_checkpoint(state(6), last)
    assert (step_of(last), step_of(previous)) == (6, 5)


def test_a_whole_one_of_an_earlier_process_is_kept(tmp_path: Path) -> None:
    for step in (1, 2):
        WholeFiles().save_checkpoint(state(step), tmp_path / "last.ckpt")
    assert step_of(tmp_path / "previous.ckpt") == 1


def test_a_damaged_one_is_not_loaded(tmp_path: Path) -> None:
    WholeFiles().save_checkpoint(state(1), tmp_path / "last.ckpt")
    (tmp_path / "last.ckpt").write_bytes((tmp_path / "last.ckpt").read_bytes()[:300])
    refusal(lambda: WholeFiles().load_checkpoint(tmp_path / "last.ckpt"), f"can't read {tmp_path / 'last.ckpt'}")


def test_messages_name_the_one_before(tmp_path: Path) -> None:
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    assert (hint(last), previous_beside(last)) == ("", None)
    previous.touch()
    assert str(previous) in hint(last)
    assert previous_beside(last) == previous
    assert (hint(previous), hint(tmp_path / "best.ckpt")) == ("", "")


def test_a_full_disk_is_one_line_and_leaves_both(tmp_path: Path) -> None:
    files, last = WholeFiles(), tmp_path / "last.ckpt"
    for step in (1, 2):
        files.save_checkpoint(state(step), last)
    with no_file_larger_than(1000):
        large = state(3, more=torch.zeros(10_000))
        refusal(lambda: files.save_checkpoint(large, last), f"can't write {last} (File too large; ", " free there")
    assert {path.name: step_of(path) for path in tmp_path.iterdir()} == {"last.ckpt": 2, "previous.ckpt": 1}
    files.save_checkpoint(state(4), last)
    assert step_of(last) == 4


def test_a_write_that_is_cut_off_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, path = WholeFiles(), tmp_path / "new" / "last.ckpt"
    files.save_checkpoint(state(1), path)

    def cut_off(checkpoint: Any, file: Any) -> None:
        file.write(b"half a file")
        file.flush()
        assert step_of(path) == 1  # all that would be there now, were the process killed
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", cut_off)
        refusal(
            lambda: files.save_checkpoint(state(2), path),
            f"can't write {path} (No space left on device; ",
            f"{path} is left as it was at step 1",
        )
    assert [each.name for each in path.parent.iterdir()] == ["last.ckpt"]
    files.save_checkpoint(state(2), path)
    assert step_of(path) == 2


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "last.ckpt"
    refusal(lambda: WholeFiles().save_checkpoint(state(1), path), f"can't write {path}")


def test_other_failures_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: Any) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch, "save", out_of_memory)
    with pytest.raises(RuntimeError, match="CUDA error"):
        WholeFiles().save_checkpoint(state(1), tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["last.ckpt", "best_by_labelled_miou.ckpt"])
def test_what_is_not_finite_replaces_nothing(name: str, value: float, tmp_path: Path) -> None:
    files, path = WholeFiles(), tmp_path / name
    momentum = [{"state": {0: {"momentum_buffer": torch.tensor([0.0, value])}}}]
    files.save_checkpoint(state(3), path)
    for broken, where in ((state(4, value), "net.weight"), (state(4, optimizer_states=momentum), "momentum_buffer")):
        with pytest.raises(NotFiniteError) as caught:
            files.save_checkpoint(broken, path)
        message = str(caught.value)
        for part in (
            where,
            "not finite after step 4",
            f"{path} is left as it was at step 3",
            "lower the learning rate",
        ):
            assert part in message
        assert "\n" not in message
    assert [step_of(each) for each in tmp_path.iterdir()] == [3]


def test_nothing_is_written_either_where_there_was_none(tmp_path: Path) -> None:
    refusal(lambda: WholeFiles().save_checkpoint(state(1, float("nan")), tmp_path / "last.ckpt"), "after step 1")
    assert list(tmp_path.iterdir()) == []


def test_every_tensor_is_looked_at() -> None:
    nan, fine = torch.tensor([0.0, float("nan")]), torch.ones(2)
    nested: dict[str, Any] = {"a": nan, "b": [fine, {"c": nan}, (fine, nan)], "d": None, "e": float("nan")}
    nested |= {"counts": torch.tensor(3), "flag": torch.tensor(True), "half": fine.half()}
    assert list(not_finite(nested)) == ["a", "b.1.c", "b.2.1"]
    assert list(not_finite({"empty": torch.zeros(0), "half": torch.full((1,), 1e5).half()})) == ["half"]
    parameters: list[Tensor] = [torch.nn.Parameter(nan)]
    assert list(not_finite(parameters, "net")) == ["net.0"]
