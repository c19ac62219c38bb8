"""Single steps of an experiment: they learn, their time is counted right, the batch shrinks if memory runs out."""

from itertools import count, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.generated import boxes, write_images
from benchmarks.steps import Prepared, epochs, fitting, fixed_batch, pace, prepare
from benchmarks.tasks import make_step

CPU = torch.device("cpu")
SMALL = ["debug=tiny", "model/encoder=resnet18_half", "data=folder", "data.num_workers=0", "references=none"]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """Segmentation of 10 images in batches of 4."""
    write_images(tmp_path, 10, (48, 40))
    small = ["model.num_categories=4", "model.num_aux_categories=8", "data.batch_size=4"]
    return prepare(["experiment=coco_seg", *SMALL, *small, f"data.root={tmp_path}"])


def test_a_step_learns_with_every_loss(prepared: Prepared) -> None:
    before = {name: value.clone() for name, value in prepared.task.named_parameters()}
    make_step(prepared.task, CPU, bf16=True)(fixed_batch(prepared))
    learned = [name for name, value in prepared.task.named_parameters() if not value.equal(before[name])]
    assert any("region_head" in name or "aux_head" in name for name in learned)
    assert len(learned) > 0.9 * len(before)


def test_a_fixed_batch_repeats_a_few_samples(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.steps.SAMPLES", 3)
    index = fixed_batch(prepared)["index"].tolist()
    assert index == [*index[:3], index[0]]
    assert len(set(index)) == 3


def test_epochs_follow_one_another_in_new_orders(prepared: Prepared) -> None:
    found = [batch["index"].tolist() for batch in islice(epochs(prepared.loader()), 4)]
    assert found[:2] != found[2:]
    assert all(len(batch) == 4 for batch in found)


def ticking(batches: Any, **limits: Any) -> Any:
    """The pace of steps that take 2 seconds each, after 1 second of waiting; each reading of the clock takes none."""
    now = 0.0

    def step(_: Any) -> None:
        nonlocal now
        now += 2

    def waiting() -> Any:
        nonlocal now
        for batch in batches:
            now += 1
            yield batch

    return pace(step, waiting(), CPU, clock=lambda: now, **limits)


def test_the_pace_has_steps_waiting_and_both_limits() -> None:
    assert ticking(count(), most=4, seconds=100, warm_up=2) == (4, 12, 4)
    assert ticking(count(), most=100, seconds=7, warm_up=0) == (3, 9, 3)
    found = ticking(count(), most=100, seconds=0, warm_up=0)
    assert (found.steps, found.each) == (1, 3)


def test_the_batch_is_halved_where_memory_runs_out() -> None:
    asked = list[int]()

    def run(batch: int) -> str:
        asked.append(batch)
        if batch > 64:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    assert fitting(run, 256) == (64, "done")
    assert asked == [256, 128, 64]

    def never(batch: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        fitting(never, 16)


def test_a_pretraining_step_has_a_constant_rate(tmp_path: Path) -> None:
    write_images(tmp_path, 4, (48, 40))
    heads = ["model.hidden_channels=16", "model.image_channels=32", "model.image_bottleneck=8"]
    found = prepare(["experiment=in1k_pretrain", *SMALL, *heads, f"data.root={tmp_path}"])
    make_step(found.task, CPU)(fixed_batch(found))
    assert found.config.task.schedule == "constant"


def test_boxes_lie_inside_the_image() -> None:
    found = torch.tensor(boxes(0, (80, 60), 200))
    assert bool((found[:, :2] >= 0).all())
    assert bool((found[:, 2:] <= torch.tensor([80, 60])).all())
    assert bool((found[:, :2] < found[:, 2:]).all())


def test_the_first_step_of_a_device_is_finished_before_the_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    order = list[str]()
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: order.append("finish"))
    gpu: Any = SimpleNamespace(type="cuda")
    pace(lambda batch: order.append("step"), iter([{}] * 3), gpu, most=2, seconds=10, warm_up=1)
    assert order == ["step", "finish", "step", "finish", "step", "finish"]
