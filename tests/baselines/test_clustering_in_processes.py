"""Clustering shared by two processes: each gives clusters to its own images, by the same centroids."""

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from tests.composing import TINY_EPOCHS
from tests.processes import command

OVERRIDES = (
    *(*TINY_EPOCHS, "trainer.max_epochs=2", "data.train_scenes=16", "data.val_scenes=3", "protocol.resamples=0"),
    *("+ablation=picie_aux", "trainer=ddp_cpu", "model.num_aux_categories=16", "callbacks.pictures=null"),
)


class Keep(Callback):
    """Writes what each process ends with into a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        parts = ("centroids.", "scored.", "merging.")
        centroids = {name: value for name, value in pl_module.named_buffers() if name.startswith(parts)}
        assigned = sorted(pl_module.assigned["main"])
        kept = (dict(pl_module.network.named_parameters()), centroids, assigned)
        torch.save(kept, self.folder / f"{trainer.global_rank}.pt")


@pytest.mark.slow
def test_two_processes_cluster_alike_and_share_the_images(tmp_path: Path) -> None:
    kept = f"{{_target_: tests.baselines.test_clustering_in_processes.Keep, folder: {tmp_path}}}"
    run = command("src.train", *OVERRIDES, f"+callbacks.kept={kept}", f"hydra.run.dir={tmp_path}")
    assert run.returncode == 0, run.stderr
    (first, centroids, mine), (second, others, theirs) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, parameter in first.items():
        assert torch.equal(parameter, second[name]), name
    fitted = {f"{part}.{head}.points" for part in ("centroids", "scored") for head in ("main", "aux")}
    assert {*fitted, "merging.groups"} <= centroids.keys() == others.keys()
    assert centroids["merging.groups"].unique().tolist() == list(range(8))
    for name, value in centroids.items():
        assert torch.equal(value, others[name]), name
    assert centroids["centroids.main.weights"].sum(dim=1).tolist() == pytest.approx([1, 1])  # shares of all points
    assert not set(mine) & set(theirs)
    assert sorted([*mine, *theirs]) == list(range(16))
