"""When the metrics without labels are logged, in one process and in two, and that a run writes the last ones."""

import csv
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor

from src.assembly.train import train
from src.monitoring.label_free_monitor import LabelFreeMonitor
from tests.composing import TINY_EPOCHS, composed
from tests.embeddings import agreeing, metrics_of
from tests.processes import in_two_processes

NAMES = ["consistency", "mutual_information", "entropy", "balance"]
Embeddings = Mapping[str, tuple[Tensor, Tensor]]


class Scripted(lightning.LightningModule):
    """Learns nothing, and gives the embeddings it is told to, from epoch and step."""

    def __init__(self, embeddings: Callable[[int, int], Embeddings]) -> None:
        super().__init__()
        self.embeddings, self.weight = embeddings, torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        return {"loss": 1.0 * self.weight, "embeddings": self.embeddings(self.current_epoch, batch["step"])}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module: Scripted, own: slice = slice(None), epochs: int = 2, **options: Any) -> LabelFreeMonitor:
    """Train on four steps of 6 images each, of which the second is not valid."""
    steps = [{"step": step, "valid": agreeing(step, 6)[2][own]} for step in range(4)]
    callback = LabelFreeMonitor()
    settings: dict[str, Any] = {"max_epochs": epochs, "logger": False, "enable_checkpointing": False}
    settings |= {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"} | options
    trainer = lightning.Trainer(callbacks=[callback], **settings)
    trainer.fit(module, torch.utils.data.DataLoader(steps, batch_size=None))
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert logged == pytest.approx({f"label_free/{name}": value for name, value in callback.last.items()})
    return callback


def dense(epoch: int, step: int) -> Embeddings:
    first, second, _ = agreeing(step, 6)
    return {"dense": (first, second), "image": (first[:, 0], second[:, 0]), "aux": (second, second)}


def test_an_epoch_is_that_of_the_dense_branch_alone() -> None:
    expected = metrics_of(*(agreeing(step, 6) for step in range(4)))
    assert expected is not None
    found = fit(Scripted(dense)).last
    assert list(found) == NAMES
    assert found == pytest.approx(expected._asdict())


def test_each_epoch_starts_anew_and_the_last_one_stays() -> None:
    """In the second epoch both views are the same; in the third the branch is inactive."""

    def embeddings(epoch: int, step: int) -> Embeddings:
        first, second, _ = agreeing(step, 6)
        return ({"dense": (first, second)}, {"dense": (first, first)}, {})[epoch]

    twice, thrice = (fit(Scripted(embeddings), epochs=epochs).last for epochs in (2, 3))
    assert (twice["consistency"], twice["mutual_information"]) == (1, pytest.approx(1))
    assert thrice == twice


def test_without_the_branch_there_is_nothing() -> None:
    assert fit(Scripted(lambda epoch, step: {"image": (torch.ones(6, 3), torch.ones(6, 3))})).last == {}


def test_a_resumed_run_knows_the_last_epoch() -> None:
    first, second = fit(Scripted(dense)), LabelFreeMonitor()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.last == first.last != {}


def half_of_every_batch(rank: int) -> dict[str, float]:
    os.environ["LOCAL_RANK"] = str(rank)  # tells Lightning that the processes are there already
    own = slice(3 * rank, 3 * rank + 3)

    def embeddings(epoch: int, step: int) -> Embeddings:
        return {name: (first[own], second[own]) for name, (first, second) in dense(epoch, step).items()}

    return fit(Scripted(embeddings), own, strategy="ddp", devices=2, use_distributed_sampler=False).last


def test_two_processes_count_as_one(tmp_path: Path) -> None:
    one = fit(Scripted(dense)).last
    for found in in_two_processes(half_of_every_batch, tmp_path):
        assert found == pytest.approx(one, rel=1e-6)


def test_a_run_logs_them_and_writes_the_last_ones(tmp_path: Path) -> None:
    train(composed(tmp_path, *TINY_EPOCHS, "trainer.max_epochs=2", "references=none", "score_before=false"))
    written = json.loads((tmp_path / "scores.json").read_text())["label_free"]
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["label_free/entropy"]]
    assert len(rows) == 2
    assert list(written) == NAMES
    assert {name: float(rows[-1][f"label_free/{name}"]) for name in NAMES} == pytest.approx(written, rel=1e-5)
    assert all(0 < written[name] < 1 for name in NAMES)


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    assert composed(tmp_path, "ckpt_path=x", name="evaluate").callbacks.label_free is None
    train(
        composed(
            tmp_path,
            *TINY_EPOCHS,
            "trainer.max_epochs=1",
            "references=none",
            "callbacks.label_free=null",
            "score_before=false",
        )
    )
    assert "label_free" not in json.loads((tmp_path / "scores.json").read_text())
