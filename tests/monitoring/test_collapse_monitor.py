"""When the collapse monitor speaks up, and what it logs, in one process and in two."""

import csv
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import pytest
import torch
from torch import Tensor

from src.assembly.train import train
from src.monitoring.collapse_monitor import CollapseMonitor
from tests.composing import composed
from tests.embeddings import Views, drawn, naive, seeded
from tests.processes import in_two_processes
from tests.refusals import refusal


class Fitted(NamedTuple):
    """A finished run: the last epoch's log, the monitor's warnings, the number of epochs."""

    logged: dict[str, float]
    said: list[str]
    epochs: int


class Scripted(lightning.LightningModule):
    """Learns nothing, and gives the embeddings it is told to, from epoch and step."""

    def __init__(self, embeddings: Callable[[int, int], Mapping[str, Views]]) -> None:
        super().__init__()
        self.embeddings, self.weight = embeddings, torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Tensor, batch_idx: int) -> dict[str, Any]:
        return {"loss": 1.0 * self.weight, "embeddings": self.embeddings(self.current_epoch, int(batch))}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def monitor(**changes: Any) -> CollapseMonitor:
    values = {"rows_per_view": 64, "min_spread": 0.6, "min_effective_rank": 2.0, "min_images": 64, "stop": False}
    return CollapseMonitor(**(values | changes))


def fit(callback: CollapseMonitor, module: Scripted, steps: Sequence[int] = range(4), **options: Any) -> Fitted:
    """Train for 3 epochs, and keep what was logged and what was warned of."""
    settings: dict[str, Any] = {"max_epochs": 3, "logger": False, "enable_checkpointing": False, "accelerator": "cpu"}
    settings |= {"enable_progress_bar": False, "enable_model_summary": False} | options
    trainer = lightning.Trainer(callbacks=[callback], **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message="It is recommended to use `self.log")  # all processes log the same
        trainer.fit(module, torch.utils.data.DataLoader(list(steps), batch_size=1))
    said = [str(warning.message) for warning in caught if "collapse" in str(warning.message)]
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return Fitted(logged, said, trainer.current_epoch)


def healthy(step: int) -> Views:
    values = torch.randn(2, 16, 8, generator=seeded(step))
    return values[0], values[1]


def same(step: int) -> Views:
    """Embeddings that are nearly equal."""
    first, second = healthy(step)
    return 5 + first, 5 + second


def line(step: int) -> Views:
    """Embeddings as spread as any, but along one direction, as batch norm leaves of a collapse."""
    first, second = (view[:, :1].sign() * torch.ones(8) + 0.01 * view for view in healthy(step))
    return first, second


def test_an_epoch_is_logged_by_branch() -> None:
    """Categories of the branches only whose channels are pseudo-categories."""
    steps = {"image": [healthy(step) for step in range(4)], "dense": [drawn(step, 16, 9) for step in range(4)]}
    found = fit(
        monitor(rows_per_view=1000),
        Scripted(lambda epoch, step: {name: steps[name][step] for name in steps}),
    )
    image, dense = naive(steps["image"]), naive(steps["dense"])
    expected = {f"collapse/image/{key}": image[key] for key in ("spread", "effective_rank")}
    for key in ("spread", "effective_rank", "category_entropy", "dead_categories"):
        expected[f"collapse/dense/{key}"] = dense[key]
    assert found.logged == pytest.approx(expected, rel=1e-5)
    assert found.said == []


@pytest.mark.parametrize(
    ("embeddings", "parts", "others"),
    [
        (same, ["the spread of its embeddings is 0.18, below 0.6 (1 is healthy"], ["effective rank"]),
        (line, ["the effective rank of its embeddings is 1.0 of 8, below 2"], ["the spread"]),
    ],
)
def test_a_collapsed_branch_is_warned_of_once(
    embeddings: Callable[[int], Views], parts: list[str], others: list[str]
) -> None:
    found = fit(monitor(), Scripted(lambda epoch, step: {"dense": embeddings(step), "region": healthy(step)}))
    (message,) = found.said
    for part in ["the dense branch looks collapsed after epoch 0, step 4:", "stop_gradient", "region_start", *parts]:
        assert part in message
    assert not any(other in message for other in others)
    assert found.epochs == 3


def test_each_branch_is_warned_of_when_it_collapses() -> None:
    found = fit(
        monitor(),
        Scripted(lambda epoch, step: {"image": same(step) if epoch else healthy(step), "region": line(step)}),
    )
    assert [message.partition(":")[0] for message in found.said] == [
        "the region branch looks collapsed after epoch 0, step 4",
        "the image branch looks collapsed after epoch 1, step 8",
    ]


def test_stop_ends_the_run_and_says_so() -> None:
    module = Scripted(lambda epoch, step: {"image": same(step) if epoch else healthy(step)})
    found = fit(monitor(stop=True), module)
    assert found.epochs == 2
    assert len(found.said) == 2
    assert "callbacks.collapse.stop is true: training ends after epoch 1, step 8" in found.said[1]


def test_a_resumed_run_does_not_warn_again_but_stops() -> None:
    module = Scripted(lambda epoch, step: {"image": same(step)})
    first, second = monitor(), monitor(stop=True)
    fit(first, module)
    second.load_state_dict(first.state_dict())
    found = fit(second, module)
    assert found.epochs == 1
    assert ["looks collapsed" in message for message in found.said] == [False]


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({"fast_dev_run": 2}, {}),
        ({"limit_train_batches": 3}, {}),
        ({}, {"min_images": 65}),
    ],
)
def test_an_epoch_of_few_images_is_logged_but_not_judged(options: dict[str, Any], changes: dict[str, Any]) -> None:
    found = fit(monitor(**changes), Scripted(lambda epoch, step: {"image": line(step)}), **options)
    assert found.said == []
    assert found.logged["collapse/image/effective_rank"] == pytest.approx(1.0, abs=0.01)


def test_few_channels_have_few_directions() -> None:
    scale = torch.tensor([4.0, 0.6, 0.5])
    three = {step: tuple(scale * view[:, :3] for view in healthy(step)) for step in range(4)}
    found = fit(monitor(), Scripted(lambda epoch, step: {"dense": three[step]}))
    assert 1.5 < found.logged["collapse/dense/effective_rank"] < 2
    assert found.said == []


def half_of_every_batch(rank: int) -> Fitted:
    os.environ["LOCAL_RANK"] = str(rank)  # tells Lightning that the processes are there already
    own = slice(8 * rank, 8 * rank + 8)
    module = Scripted(lambda epoch, step: {"dense": tuple(view[own] for view in same(step))})
    return fit(monitor(stop=True), module, strategy="ddp", devices=2, use_distributed_sampler=False)


def test_two_processes_measure_and_decide_as_one(tmp_path: Path) -> None:
    one = fit(monitor(stop=True), Scripted(lambda epoch, step: {"dense": same(step)}))
    first, second = in_two_processes(half_of_every_batch, tmp_path)
    for found in (first, second):
        assert found.logged == pytest.approx(one.logged, rel=1e-4)
        assert found.epochs == one.epochs == 1
    assert (first.said, second.said) == (one.said, [])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rows_per_view": 0}, "rows_per_view is 0: expected a whole number from 1"),
        ({"min_spread": 60}, "min_spread is 60: expected a finite number from 0 to 1"),
        ({"min_effective_rank": -1}, "min_effective_rank is -1: expected a finite number from 0"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any], expected: str) -> None:
    refusal(lambda: monitor(**changes), f"callbacks.collapse.{expected}")


SCENES = """
    experiment=demo_pretrain callbacks.progress=null callbacks.collapse.stop=true estimate_steps=0 probe=unscored
    data.train_scenes=256 data.val_scenes=4 data.scene_size=32 data.num_workers=0
    data.views.size=16 data.views.colour.blur_probability=0
    model.grid_size=0 model.encoder.stages=1 model.image_channels=64
    task.schedule=constant optimizer.base_lr=0.4
    trainer.max_epochs=16
"""


@pytest.mark.slow
@pytest.mark.parametrize("stop_gradient", [True, False])
def test_simsiam_collapses_on_scenes_without_stop_gradient_only(stop_gradient: bool, tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(composed(tmp_path, *SCENES.split(), f"task.criterion.stop_gradient={stop_gradient}"))
    said = [str(warning.message).partition(" after epoch")[0] for warning in caught]
    steps = json.loads((tmp_path / "scores.json").read_text())["cost"]["steps"]
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["collapse/image/spread"]]
    spreads, ranks = ([float(row[f"collapse/image/{key}"]) for row in rows] for key in ("spread", "effective_rank"))
    if stop_gradient:
        assert steps == 16 * 8
        assert "the image branch looks collapsed" not in said
        assert min(spreads) > 0.9
        assert min(ranks) > 5
    else:
        assert steps < 16 * 8
        assert said.count("the image branch looks collapsed") == 1
        assert spreads[0] > 0.9
        assert spreads[-1] < 0.6 or ranks[-1] < 2
