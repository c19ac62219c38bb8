"""Where the seconds of training go, with a clock that is set by hand; and in a real run, that they add up."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import lightning
import pytest

from src.monitoring.throughput import Throughput
from tests.resuming import run

BATCH = {"index": [0, 1, 2]}
Call = Callable[..., None]


@pytest.fixture
def trainer() -> Mock:
    return Mock(world_size=2, num_training_batches=2)


@pytest.fixture
def module() -> Mock:
    return Mock(clustering_seconds=0.0)


class Clock:
    """Shows the second it was set to."""

    second = 0.0

    def __call__(self) -> float:
        return self.second


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def at(clock: Clock, trainer: Mock, module: Mock) -> Call:
    """Calls a hook at a second of the clock."""

    def call(second: float, hook: Callable[..., None], *arguments: Any) -> None:
        clock.second = second
        hook(trainer, module, *arguments)

    return call


def test_time_between_two_runs_and_validation_are_no_training(at: Call, clock: Clock, module: Mock) -> None:
    first, second = Throughput(clock), Throughput(clock)
    at(10, first.on_train_start)
    at(11, first.on_train_epoch_start)
    at(11.5, first.on_train_batch_start, BATCH, 0)
    at(13, first.on_train_batch_end, None, BATCH, 0)
    second.load_state_dict(first.state_dict())
    at(50, second.on_train_start)
    at(51, second.on_train_batch_start, BATCH, 1)
    at(53, second.on_train_batch_end, None, BATCH, 1)
    speed, parts = (call.args[0] for call in module.log_dict.call_args_list)
    assert speed == {"epoch_seconds": 5.0, "images_per_second": 12 / 5}
    assert parts == {"epoch_loading_seconds": 1.5, "epoch_clustering_seconds": 0.0, "epoch_step_seconds": 3.5}
    at(60, second.on_validation_end)
    at(60.25, second.on_train_batch_start, BATCH, 0)
    at(61, second.on_train_batch_end, None, BATCH, 0)
    assert second.cost() == {
        "train_seconds": 6.0,
        "loading_seconds": 1.75,
        "clustering_seconds": 0.0,
        "step_seconds": 4.25,
        "train_images": 18,
    }
    assert first.cost()["train_seconds"] == 2.0


def test_clustering_before_the_first_batch_is_not_loading(at: Call, clock: Clock, module: Mock) -> None:
    throughput = Throughput(clock)
    module.clustering_seconds = 100.0  # before training: nobody's
    at(0, throughput.on_train_start)
    for start in (0, 20):
        at(start, throughput.on_train_epoch_start)
        module.clustering_seconds += 7
        at(start + 8, throughput.on_train_batch_start, BATCH, 0)
        at(start + 10, throughput.on_train_batch_end, None, BATCH, 0)
        at(start + 11, throughput.on_train_batch_start, BATCH, 1)
        at(start + 14, throughput.on_train_batch_end, None, BATCH, 1)
    assert throughput.cost() == {
        "train_seconds": 28.0,
        "loading_seconds": 4.0,
        "clustering_seconds": 14.0,
        "step_seconds": 10.0,
        "train_images": 24,
    }
    parts = module.log_dict.call_args.args[0]
    assert parts == {"epoch_loading_seconds": 2.0, "epoch_clustering_seconds": 7.0, "epoch_step_seconds": 5.0}


class Costs(lightning.Callback):
    """Notes what the run's Throughput says at the end of each epoch."""

    def __init__(self) -> None:
        self.found: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        (throughput,) = (each for each in trainer.callbacks if isinstance(each, Throughput))
        self.found.append(throughput.cost())


def test_in_a_run_the_parts_grow_and_add_up(tmp_path: Path) -> None:
    costs = Costs()
    run(tmp_path, callbacks=[costs])
    assert len(costs.found) == 3
    seen = [cost["train_images"] for cost in costs.found]
    assert seen == [seen[0], 2 * seen[0], 3 * seen[0]]
    for before, after in pairwise([dict.fromkeys(costs.found[0], 0.0), *costs.found]):
        assert after["loading_seconds"] > before["loading_seconds"]
        assert after["step_seconds"] > before["step_seconds"]
        assert after["clustering_seconds"] == 0
        assert after["train_seconds"] == pytest.approx(after["loading_seconds"] + after["step_seconds"])
