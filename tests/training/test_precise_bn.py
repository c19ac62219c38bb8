"""Statistics of batch norm at the end of a run equal those that are computed directly, over all processes too."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from src.training.precise_bn import PreciseBN, average_statistics, training_batches
from tests.processes import in_two_processes
from tests.refusals import refusal

BATCHES = 5  # of an epoch


class Normed(lightning.LightningModule):
    """Two batch norms, of which one is frozen, and one that no batch reaches."""

    def __init__(self, rank: int = 0) -> None:
        super().__init__()
        self.rank = rank
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))
        self.frozen, self.unused = nn.BatchNorm1d(4), nn.BatchNorm1d(2)

    def given_data(self) -> "Data":
        return Data(self.rank)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.training_forward(batch)
        return self.layers(batch).square().mean()

    def training_forward(self, batch: Tensor) -> None:
        self.frozen.eval()(self.layers(batch).new_zeros(2, 4))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.5)


def batch_of(epoch: int, number: int, rank: int = 0) -> Tensor:
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(100 * epoch + 10 * number + rank)) + number


class Data(lightning.LightningDataModule):
    def __init__(self, rank: int = 0) -> None:
        super().__init__()
        self.rank = rank

    def train_dataloader(self) -> DataLoader[Any]:
        return self.pairs_dataloader(0)

    def pairs_dataloader(self, epoch: int) -> DataLoader[Any]:
        batches: Any = [batch_of(epoch, number, self.rank) for number in range(BATCHES)]
        return DataLoader(batches, batch_size=None)


def directly(module: Normed, numbers: list[tuple[int, int, int]]) -> tuple[Tensor, Tensor]:
    """Mean and variance of the batch norm's input, averaged over batches (epoch, number, rank), in float64."""
    with torch.no_grad():
        inputs = [module.layers[0](batch_of(*number)).double() for number in numbers]
    means, variances = ([function(one) for one in inputs] for function in (_mean, _var))
    return torch.stack(means).mean(0), torch.stack(variances).mean(0)


def _mean(one: Tensor) -> Tensor:
    return one.mean(0)


def _var(one: Tensor) -> Tensor:
    return one.var(0)


@pytest.mark.parametrize("ends", [{"max_epochs": 2}, {"max_epochs": -1, "max_steps": 7}])
def test_the_statistics_are_those_of_the_last_weights(ends: dict[str, int]) -> None:
    module, called = Normed(), []

    class After(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            called.append((trainer.global_step, pl_module.layers[1].running_mean.clone()))

    trainer = lightning.Trainer(
        **ends,
        callbacks=[PreciseBN(num_batches=8), After()],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, Data())
    numbers = [(epoch, number, 0) for epoch in range(2) for number in range(BATCHES)][:8]
    mean, variance = directly(module, numbers)
    norm = module.layers[1]
    torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-6, atol=1e-6)
    steps = ends.get("max_steps", 2 * BATCHES)
    assert called[-1][0] == steps
    assert norm.num_batches_tracked == 2 * steps  # a step of this module calls it twice
    assert torch.equal(called[-1][1], norm.running_mean)  # what a checkpoint of the last step holds
    assert not torch.allclose(called[-2][1], norm.running_mean, atol=1e-3)
    assert norm.momentum == 0.1
    assert (module.frozen.running_var == 1).all()
    assert (module.unused.running_var == 1).all()


def test_random_numbers_go_on_as_before() -> None:
    module = Normed().train()
    trainer = trainer_of_process(lambda value: value)
    torch.manual_seed(3)
    after = torch.rand(2)
    torch.manual_seed(3)
    average_statistics(trainer, module, 3)
    assert torch.equal(torch.rand(2), after)


def trainer_of_process(summed: Callable[[Tensor], Tensor]) -> Any:
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: summed(value), batch_to_device=lambda batch: batch)
    precision = SimpleNamespace(forward_context=nullcontext)
    return SimpleNamespace(strategy=strategy, precision_plugin=precision)


def averaged(rank: int) -> list[Tensor]:
    def summed(value: Tensor) -> Tensor:
        torch.distributed.all_reduce(value)
        return value

    module = Normed(rank).train()
    average_statistics(trainer_of_process(summed), module, 4)
    return [module.layers[1].running_mean, module.layers[1].running_var]


@pytest.mark.slow
def test_two_processes_average_over_both(tmp_path: Path) -> None:
    first, second = in_two_processes(averaged, tmp_path)
    expected = directly(Normed(), [(0, number, rank) for number in range(4) for rank in range(2)])
    for one, other, right in zip(first, second, expected, strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one.double(), right, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("count", "loaded"), [(3, [(0, 0), (0, 1), (0, 2)]), (BATCHES, [(0, k) for k in range(5)])])
def test_no_batch_is_loaded_beyond_those_that_are_used(count: int, loaded: list[tuple[int, int]]) -> None:
    seen = []

    def epoch_of(epoch: int) -> Iterator[int]:
        for number in range(BATCHES):
            seen.append((epoch, number))
            yield number

    assert list(training_batches(SimpleNamespace(pairs_dataloader=epoch_of), count)) == [each for _, each in loaded]
    assert seen == loaded


def test_its_value_is_checked() -> None:
    refusal(lambda: PreciseBN(0), "callbacks.precise_bn.num_batches is 0")
