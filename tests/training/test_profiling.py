"""The cost estimate measures real steps, in the order of a run, and leaves nothing behind."""

import copy
import random
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from src.tasks.criterion import Criterion
from src.training import profiling as module
from src.training.memory import process_peak
from src.training.profiling import Clock, load_seconds, measure, seconds_each, tensor_bytes
from tests.composing import composed
from tests.refusals import refusal


class Noisy(Dataset[Tensor]):
    """Samples from all three global generators."""

    def __init__(self, length: int) -> None:
        self.length, self.read = length, 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        self.read += 1
        return torch.rand(4) + np.random.rand() + random.random()  # noqa: NPY002


class Data(lightning.LightningDataModule):
    def __init__(self, images: int = 22, scored: int | None = 9) -> None:
        super().__init__()
        self.images, self.scored = Noisy(images), scored

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(self.images, batch_size=4, shuffle=True, drop_last=True)

    def val_dataloader(self) -> Any:
        return [] if self.scored is None else DataLoader(Noisy(self.scored), batch_size=4)


class Task(lightning.LightningModule):
    """Batch norm, dropout and momentum: buffers, random draws and optimiser state."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 1))
        self.net[0].bias.requires_grad_(False)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.net(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.net(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.1, momentum=0.9)


def trainer_of(folder: Path, **options: Any) -> lightning.Trainer:
    options = {"max_epochs": 2, "logger": False, "enable_checkpointing": False} | options
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(**{"accelerator": "cpu", "default_root_dir": folder} | quiet | options)


@pytest.fixture
def make_trainer(tmp_path: Path) -> Any:
    return partial(trainer_of, tmp_path)


def test_what_is_counted(make_trainer: Any) -> None:
    found = measure(make_trainer, Task(), Data(), steps=2)
    assert (found.images, found.batch, found.train_batches, found.val_batches) == (22, 4, 5, 3)
    assert (found.parameters, found.learned) == (40 + 16 + 9, 40 + 16 + 9 - 8)
    buffers = 2 * 8 * 4 + 8  # running mean and variance, and the number of batches
    assert found.checkpoint == 4 * 65 + buffers + 4 * 57  # float32 weights, buffers, momentum
    assert found.train_seconds > 0
    assert found.val_seconds > 0
    assert found.load_seconds is None
    assert found.gpu_memory is None
    assert found.memory > 1e8  # PyTorch alone takes more
    assert found.memory == pytest.approx(process_peak(), rel=0.05)  # the system counts pages in batches


def test_what_a_validation_does_before_its_first_batch_is_measured_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0, 6.0, 8.0, 9.0])
    monkeypatch.setattr(module, "now", lambda device: next(times))
    clock, task, trainer = Clock(), Task(), lightning.Trainer(logger=False, accelerator="cpu")
    clock.on_validation_epoch_start(trainer, task)
    for batch in range(2):
        clock.on_validation_batch_start(trainer, task, None, batch)
        clock.on_validation_batch_end(trainer, task, None, None, batch)
    assert (clock.val_began, clock.val) == (1.0, [6.0, 8.0, 9.0])


def test_one_step_more_than_measured_is_run(make_trainer: Any) -> None:
    data, task = Data(), Task()
    measure(make_trainer, task, data, steps=3)
    assert task.net[1].num_batches_tracked == 4
    assert data.images.read == 4 * 4


@pytest.mark.filterwarnings("ignore:Total length of .list. across ranks is zero")  # Lightning: there is none on purpose
def test_without_labels_only_training_is_measured(make_trainer: Any) -> None:
    found = measure(make_trainer, Task(), Data(scored=None), steps=1)
    assert (found.val_batches, found.val_seconds) == (0, None)
    assert found.train_seconds > 0


def test_a_run_is_the_same_with_and_without_a_cost_estimate(make_trainer: Any, tmp_path: Path) -> None:
    ends = []
    for measured in (False, True):
        lightning.seed_everything(3, verbose=False)
        task, data = Task(), Data()
        before = copy.deepcopy(task.state_dict())
        if measured:
            measure(make_trainer, copy.deepcopy(task), data, steps=2)
            assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
            assert data.trainer is None
        trainer_of(tmp_path).fit(task, data)
        ends.append(task.state_dict())
        assert not torch.equal(task.net[0].weight, before["net.0.weight"])
    one, two = ends
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert list(tmp_path.iterdir()) == []


def test_every_loss_of_a_segmentation_run_is_active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the run itself, whose RegionSim is inactive at first, goes as it would have gone."""
    tiny = [
        "experiment=demo",
        "debug=tiny",
        "data.train_scenes=8",
        "data.val_scenes=5",
        "data.scene_size=32",
        "trainer.max_epochs=2",
    ]
    config = composed(tmp_path, *tiny, "trainer.fast_dev_run=false", "task.region_start=0.5")
    make = partial(instantiate, config.trainer, _convert_="all")
    active: list[set[str]] = []
    unspied = Criterion.__call__

    def losses(*arguments: Any) -> dict[str, Tensor]:
        found = unspied(*arguments)
        active.append(set(found))
        return found

    monkeypatch.setattr(Criterion, "__call__", losses)
    inactive = {"dense", "aux", "seg"}
    ends = []
    for measured in (False, True):
        lightning.seed_everything(3, verbose=False)
        protocol = instantiate(config.protocol)
        data = instantiate(config.data, protocol=protocol, _convert_="all")
        task = instantiate(config.task, classes=data.classes, protocol=protocol, _convert_="all")
        task.prepare(data)
        if measured:
            found = measure(make, task.worst_case(), data, steps=1)
            assert active == [inactive | {"region"}] * 2
            assert (found.images, found.batch, found.train_batches, found.val_batches) == (8, 4, 2, 2)
        active.clear()
        make(logger=False, enable_checkpointing=False).fit(task, data)
        assert active == [inactive] * 2 + [inactive | {"region"}] * 2
        active.clear()
        ends.append(task.state_dict())
    one, two = ends
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_a_step_too_large_for_the_gpu_is_one_line(make_trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def training_step(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20.00 GiB")

    monkeypatch.setattr(Task, "training_step", training_step)
    refusal(lambda: measure(make_trainer, Task(), Data(), steps=1), "a step of 4 images", "lower data.batch_size")


def test_the_first_step_only_warms_up() -> None:
    assert seconds_each([10, 15, 16, 18]) == 1.5
    assert seconds_each([10, 15]) == 5  # better than nothing
    assert seconds_each([10]) is None
    assert seconds_each([]) is None


@pytest.mark.parametrize(
    ("workers", "cores", "expected"), [(0, 8, None), (1, 8, 48), (4, 8, 12), (4, 2, 24), (4, 0, 48)]
)
def test_loading_is_shared_by_the_processes_that_have_a_core(
    monkeypatch: pytest.MonkeyPatch, workers: int, cores: int, expected: float | None
) -> None:
    """On a clock that each image advances by 3 seconds, with 16 images in a batch."""
    data = Noisy(40)
    monkeypatch.setattr(module.time, "perf_counter", lambda: 3.0 * data.read)
    loader = DataLoader(data, batch_size=16)
    loader.num_workers = workers
    assert load_seconds(loader, cores) == expected
    assert data.read == (0 if workers == 0 else 8)


def test_tensors_are_counted_in_any_container() -> None:
    state = {"a": torch.zeros(3), 0: [torch.zeros(2, 2, dtype=torch.float64), (torch.tensor(1),)], "lr": 0.1, "x": None}
    assert tensor_bytes(state) == 12 + 32 + 8
