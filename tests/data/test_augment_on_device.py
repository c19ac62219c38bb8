"""`data.augment_on=device`: the same draws, applied to whole batches after they were moved to the device."""

from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch import nn

from src.assembly.train import train
from src.data.datamodule import ImageData
from src.data.detection_views import ShortSide
from src.data.probe_data import unscored
from src.data.scaled_crop import ScaledCrop
from src.data.training_views import TrainingViews
from src.data.views import CropAndWhole, TwoCrops
from src.training.profiling import load_seconds
from tests.composing import composed
from tests.data.arrays import Arrays
from tests.factories import COLOURS, noise_image, paper
from tests.refusals import refusal

KINDS = {
    "crop_and_whole": CropAndWhole(16, (0.5, 1.0), 0.5, COLOURS),
    "two_crops": TwoCrops(16, (0.2, 1.0), (0.75, 1.33), 0.15, 10, 0.5, COLOURS),
}
RUN = (
    *("data.train_scenes=8", "data.val_scenes=2", "data.batch_size=4", "data.num_workers=0", "data.views.size=32"),
    *("data.scene_size=32", "protocol.side=32", "protocol.resamples=0", "estimate_steps=0", "trainer.max_epochs=1"),
    *("trainer.accelerator=cpu", "callbacks.progress=null", "score_before=false", "references=none"),
)


def data_of(views: TrainingViews, augment_on: Any, num_workers: int = 0) -> ImageData:
    images = Arrays([np.asarray(noise_image(*((24, 20), (20, 25))[index % 2], index)) for index in range(14)])
    return ImageData(lambda: images, None, (), views, paper(), 4, num_workers, 0, "raise", augment_on)


class Collects(lightning.LightningModule):
    """Keeps the batches that training steps get, and before them those of `pairs_dataloader`."""

    def __init__(self, data: ImageData) -> None:
        super().__init__()
        self.data, self.net, self.batches = data, nn.Linear(1, 1), []

    def on_train_epoch_start(self) -> None:
        loader = self.data.pairs_dataloader(self.current_epoch)
        self.batches += map(self.trainer.strategy.batch_to_device, loader)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        self.batches.append(batch)
        return self.net(torch.zeros(1, 1)).sum()

    def validation_step(self, *_: Any) -> None:
        """Nothing is scored."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def batches_of(data: ImageData) -> list[dict[str, Any]]:
    """The batches of two epochs, each twice."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    module = Collects(data)
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, use_distributed_sampler=False, **quiet, log_every_n_steps=1
    )
    trainer.fit(module, data)
    return module.batches


@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_training_and_clustering_get_the_same_views_as_from_the_loader(kind: str, num_workers: int) -> None:
    expected = batches_of(data_of(KINDS[kind], "loader"))
    found = batches_of(data_of(KINDS[kind], "device", num_workers))
    assert len(expected) == 12
    for one, other in zip(expected, found, strict=True):
        assert set(one) == set(other)
        assert all(torch.equal(one[key], other[key]) for key in ("boxes", "valid", "redrawn", "index"))
        for view, same in zip(one["views"], other["views"], strict=True):
            wrong = (view.int() - same.int()).abs()
            assert wrong.max() <= 1  # sums in another order
            assert wrong.float().mean() < 0.001
            assert same.is_contiguous()


def test_the_loader_leaves_the_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost estimate measures the loader by its samples, and its training steps include the work of the device."""
    plain = CropAndWhole(16, (0.5, 1.0), 0.5, nn.Identity())
    data = data_of(KINDS["crop_and_whole"], "device", num_workers=2)
    dataset = data.train_dataloader().dataset
    for key in data.train_dataloader().sampler:
        sample, uncoloured = (dataset[key], data_of(plain, "loader").train_dataloader().dataset[key])
        assert all(map(torch.equal, sample["views"], uncoloured["views"]))
    monkeypatch.setattr("src.data.datamodule.recoloured_views", lambda *_: pytest.fail("a loader must not do this"))
    monkeypatch.setattr(type(COLOURS), "__call__", lambda *_: pytest.fail("a loader must not do this"))
    assert load_seconds(data.train_dataloader(), cores=2)


def test_only_views_whose_colours_come_last_can_leave_them() -> None:
    said = "data.augment_on is device: expected data/views=crop_and_whole or data/views=two_crops, because a device"
    supervised = ScaledCrop(24, "own", [0.5, 2.0], 0.75, 0.5, nn.Identity())
    refusal(lambda: data_of(supervised, "device"), said, "set data.augment_on=loader")
    refusal(lambda: data_of(ShortSide([32], 64, 0.5), "device"), said)
    views = CropAndWhole(16, (0.5, 1.0), 0.5, nn.Identity())
    refusal(lambda: data_of(views, "device"), "data.views.colour is Identity: expected ColourAugmentation")
    refusal(lambda: data_of(KINDS["two_crops"], "gpu"), "data.augment_on is 'gpu': choose one of loader, device")


def test_data_made_from_other_data_keeps_the_place() -> None:
    data = data_of(KINDS["two_crops"], "device")
    assert data.views.with_colours_left() is data.views
    again = ImageData(lambda: data.train, None, (), data.views, paper(), 4, 0, 0, "raise", data.augment_on)
    for made in (again, unscored(data)):
        assert "colours" in next(iter(made.train_dataloader()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("experiment=demo",),
        ("experiment=demo", "task=picie"),
        ("experiment=demo", "task=iic"),
        ("experiment=demo_pretrain", "task.linear_probe.max_iterations=5"),
    ],
)
def test_a_run_ends_as_with_the_loader(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    weights = []
    for place in ("loader", "device"):
        train(composed(tmp_path / place, *overrides, *RUN, f"data.augment_on={place}"))
        checkpoint = torch.load(tmp_path / place / "checkpoints" / "last.ckpt", weights_only=True)
        weights.append(checkpoint["state_dict"])
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name].float(), value.float(), rtol=1e-2, atol=1e-3, msg=name)
