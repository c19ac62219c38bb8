"""Supervised segmentation: the loss, twenty steps, resuming, and two processes that are as one."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from src.checkpoints.reading import read_tensors
from src.data.scaled_crop import ScaledCrop, photometric_distortion
from src.losses import pixel_cross_entropy
from src.models.backbones import resnet
from src.models.encoder import Encoder
from src.models.fcn import FCN
from src.models.necks import DeepestMap
from src.optim import sgd
from src.schedules import poly
from src.tasks.semantic import Semantic
from src.training.resumption import LastCheckpoint, RandomStates
from src.training.whole_files import WholeFiles
from tests.comparing import differences
from tests.composing import composed
from tests.factories import CLASSES, images, labelled_data, noise, paper
from tests.processes import in_two_processes
from tests.refusals import refusal

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
COLOUR = photometric_distortion(probability=0.5, brightness=0.125, contrast=0.5, saturation=0.5, hue=0.1)
VIEWS = ScaledCrop(size=32, side="own", scale=[0.8, 1.5], most_of_one_class=0.75, flip_probability=0.5, colour=COLOUR)


def semantic(encoder: Encoder | None = None, **changes: Any) -> Semantic:
    torch.manual_seed(0)
    network = partial(
        FCN,
        encoder=encoder or resnet("resnet18", None, False, stages=2, output_stride=8),
        neck=DeepestMap,
        channels=8,
        num_convs=2,
        concat_input=True,
        aux_channels=4,
        dropout=0.1,
    )
    options: dict[str, Any] = {
        "classes": CLASSES,
        "loss_weights": {"main": 1.0, "aux": 0.4},
        "optimizer": sgd(base_lr=0.2, batch_size=4, momentum=0.9, weight_decay=5e-4, base_batch_size=4),
        "schedule": poly(power=0.9, min_lr=1e-4),
        "seed": 0,
        "protocol": paper(),
    }
    return Semantic(network, **(options | changes))


@pytest.mark.parametrize("align_corners", [False, True])
def test_the_loss_equals_the_loop(align_corners: bool) -> None:
    logits, label = noise(2, 3, 3, 4), torch.randint(0, 3, (2, 7, 9), generator=torch.Generator().manual_seed(0))
    label[0, :3] = 255
    upsampled = F.interpolate(logits, (7, 9), mode="bilinear", align_corners=align_corners)
    total = 0.0
    for image, classes in zip(upsampled, label, strict=True):
        for row in range(7):
            for column in range(9):
                if classes[row, column] != 255:
                    total -= image[:, row, column].log_softmax(0)[classes[row, column]].item()
    assert pixel_cross_entropy(logits, label, align_corners).item() == pytest.approx(total / (2 * 7 * 9), rel=1e-5)


def test_a_batch_without_labels_has_the_loss_0() -> None:
    logits = noise(2, 3, 4, 4).requires_grad_()
    loss = pixel_cross_entropy(logits, torch.full((2, 8, 8), 255))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


class Losses(Callback):
    def __init__(self, fails_at: int | None = None) -> None:
        self.found: list[float] = []
        self.fails_at = fails_at

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.found.append(outputs["loss"].item())
        if len(self.found) == self.fails_at:
            raise InterruptedError


def fit(root: Path, steps: int, callback: Losses, folder: Path | None = None, goes_on: bool = False) -> Semantic:
    """Train on six images: four a step, or, with a checkpoint in a folder after every second step, two a step."""
    ckpt_path = folder / "last.ckpt" if folder is not None and goes_on else None
    kept = [] if folder is None else [RandomStates(), LastCheckpoint(str(folder), 2)]
    lightning.seed_everything(99 if ckpt_path else 5, verbose=False)
    data = labelled_data(root, views=VIEWS, batch_size=2 if kept else 4, seed=3)
    task = semantic()
    task.prepare(data)
    trainer = lightning.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        callbacks=[callback, *kept],
        plugins=[WholeFiles()],
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        **{**QUIET, "enable_checkpointing": bool(kept)},
    )
    trainer.fit(task, data, ckpt_path=ckpt_path)
    return task


def test_losses_fall_in_twenty_steps(labelled_root: Path) -> None:
    callback, again = Losses(), Losses(fails_at=4)
    fit(labelled_root, 20, callback)
    assert len(callback.found) == 20
    assert sum(callback.found[-5:]) < 0.7 * sum(callback.found[:5])
    with pytest.raises(InterruptedError):
        fit(labelled_root, 20, again)
    assert again.found == callback.found[:4]


def test_a_run_that_goes_on_is_one_that_never_stopped(labelled_root: Path, tmp_path: Path) -> None:
    """It stops in the third of its six steps, the last of its first epoch, and goes on after the second."""
    whole, first, second = Losses(), Losses(fails_at=3), Losses()
    straight = fit(labelled_root, 6, whole, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        fit(labelled_root, 6, first, tmp_path / "part")
    resumed = fit(labelled_root, 6, second, tmp_path / "part", goes_on=True)
    assert first.found[:2] + second.found == whole.found
    assert len(second.found) == 4
    assert differences(straight.state_dict(), resumed.state_dict()) == []
    assert differences(straight.optimizers().state_dict(), resumed.optimizers().state_dict()) == []
    checkpoint = read_tensors(tmp_path / "part" / "last.ckpt", "a checkpoint")
    assert [one["name"] for one in checkpoint["classes"]] == ["sky", "sand", "ball"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ()}, "task=semantic learns from labels, and the data has none"),
        ({"loss_weights": {"main": 1.0}}, "task.loss_weights lacks aux"),
        ({"loss_weights": {"main": 1.0, "aux": -1}}, "task.loss_weights.aux is -1"),
        ({"schedule": "poly"}, "task.schedule is 'poly'"),
        ({"optimizer": None}, "task.optimizer is None"),
        ({"protocol": paper(head="aux")}, "protocol.head is 'aux'"),
        ({"network": 3}, "task.network is 3"),
        ({"seed": -1}, "task.seed is -1"),
    ],
)
def test_other_values_are_refused(changes: dict[str, Any], message: str) -> None:
    if "network" in changes:
        task = semantic()
        rest = {
            "classes": CLASSES,
            "loss_weights": task.weights,
            "optimizer": task.optimizer,
            "schedule": None,
            "seed": 0,
        }
        refusal(lambda: Semantic(**changes, **rest, protocol=paper()), message)
    else:
        refusal(lambda: semantic(**changes), message)


def test_without_a_weight_there_is_no_auxiliary_head() -> None:
    assert semantic(loss_weights={"main": 1.0, "aux": 0}).network.aux_head is None


def test_a_loss_that_is_not_finite_names_the_images(labelled_root: Path, tmp_path: Path) -> None:
    task, data = semantic(), labelled_data(labelled_root, views=VIEWS, batch_size=4)
    task.prepare(data)
    with torch.no_grad():
        task.network.head.classifier.weight.fill_(float("nan"))
    trainer = lightning.Trainer(max_steps=1, accelerator="cpu", use_distributed_sampler=False, **QUIET)
    message = refusal(lambda: trainer.fit(task, data), "the loss is not finite at step 0: main nan, aux 1.", "scene")
    assert message.endswith("lower the learning rate")


def test_a_single_value_for_batch_norm_is_one_line() -> None:
    task = semantic()
    batch = {"image": images(1, 3, 8, 8), "label": torch.zeros(1, 8, 8).long(), "index": torch.arange(1)}
    refusal(lambda: task.training_step(batch, 0), "batch norm found one value per channel with 1 image(s)")


def test_what_is_deployed_is_what_is_scored() -> None:
    task = semantic().eval()
    network = task.deployed().eval()
    assert network.num_categories == {"main": 3}
    with torch.no_grad():
        assert torch.equal(network(images(2, 3, 32, 48)), task(images(2, 3, 32, 48)))


def test_a_probe_reads_cells_that_cover_the_image() -> None:
    encoder = resnet("resnet18", None, False, stages=2, align_corners=True)
    task = semantic(encoder).eval()
    probed = task.probed_network()
    assert probed is not None
    with torch.no_grad():
        assert task(images(1, 3, 33, 33)).shape[2:] == (5, 5)
        assert probed.features(images(1, 3, 32, 32)).shape[2:] == (4, 4)
    assert task.network.encoder.align_corners
    assert not probed.encoder.align_corners


class Backbone(nn.Module):
    """Two maps; small and smooth, because a ReLU that rounding tips over would change a gradient visibly."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 8, kernel_size=4, stride=4), nn.BatchNorm2d(8), nn.GELU())
        self.coarse = nn.Conv2d(8, 16, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        fine = self.fine(images)
        return [fine, self.coarse(fine)]


class Gradients(Callback):
    def __init__(self) -> None:
        self.found: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        gradients = {name: parameter.grad.clone() for name, parameter in pl_module.named_parameters()}
        self.found.append(gradients | {"loss": trainer.callback_metrics.get("loss/total", torch.zeros(()))})


def gradients_of(share: slice, trainer: str) -> list[dict[str, Tensor]]:
    """The gradients of three steps on a share of each batch, without dropout and with fixed statistics."""
    torch.manual_seed(1)
    task = semantic(Encoder(Backbone(), (8, 16), (4, 4), (0.5,) * 3, (0.2,) * 3, frozen=False)).eval()
    generator = torch.Generator().manual_seed(2)
    batches = []
    for _ in range(3):
        label = torch.randint(0, 3, (4, 32, 32), generator=generator)
        label[1] = 255  # one image has no labels: a mean over labelled pixels would differ
        image = torch.rand(4, 3, 32, 32, generator=generator)
        batches.append({"image": image[share], "label": label[share], "index": torch.arange(4)[share]})
    callback, config = Gradients(), composed(Path(), f"trainer={trainer}").trainer
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    made = instantiate(config, max_steps=3, max_epochs=-1, precision="64-true", callbacks=[callback], **QUIET)
    made.fit(task, loader, [])
    return callback.found


def one_of_two(rank: int) -> list[dict[str, Tensor]]:
    os.environ["LOCAL_RANK"] = str(rank)  # tells Lightning that the processes are there already
    return gradients_of(slice(2 * rank, 2 * rank + 2), "ddp_cpu")


@pytest.mark.slow
def test_two_processes_are_as_one(tmp_path: Path) -> None:
    """To the rounding of the loss, which is computed in float32."""
    alone = gradients_of(slice(None), "default")
    for shared in in_two_processes(one_of_two, tmp_path):
        for one, other in zip(alone, shared, strict=True):
            for name, gradient in one.items():
                torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-6, check_dtype=False)
