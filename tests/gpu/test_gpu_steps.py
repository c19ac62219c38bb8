"""A training step on a GPU gives what the CPU gives, up to rounding."""

from collections.abc import Callable
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from tests.detecting import small_faster_rcnn, small_mask_rcnn, square_batch
from tests.factories import pretrain_batches, pretrain_task, segment_batch, segment_task

# Warnings are shown, not raised: which ones torch gives on a GPU, such as of operations without a deterministic form,
# depends on the GPU.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]


class Losses(Callback):
    """Keeps the loss of each step."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.found.append(outputs["loss"].item())


def steps(make: Callable[[], Any], batches: list[Any], accelerator: str) -> tuple[list[float], dict[str, Tensor]]:
    """The losses of a step on each batch, and the weights after them."""
    losses, task = Losses(), make()
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator=accelerator,
        devices=1,
        callbacks=[losses],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, torch.utils.data.DataLoader(batches, batch_size=None), [])
    return losses.found, {name: value.cpu() for name, value in task.state_dict().items()}


@pytest.mark.parametrize(
    ("make", "batches"),
    [
        (lambda: segment_task(region_start=0.0), [segment_batch(), segment_batch()]),
        (pretrain_task, pretrain_batches(2)),
    ],
    ids=["segmentation", "pre-training"],
)
def test_losses_and_weights_are_those_of_the_cpu(make: Callable[[], Any], batches: list[Any], gpu: str) -> None:
    expected, weights = steps(make, batches, "cpu")
    found, others = steps(make, batches, gpu)
    assert found == pytest.approx(expected, rel=1e-3)
    start = make().state_dict()
    for name, value in weights.items():
        if not value.is_floating_point():
            assert value.equal(others[name]), name
            continue
        moved = (value - start[name].cpu()).norm()
        assert (value - others[name]).norm() <= 0.02 * moved + 1e-6 * value.norm() + 1e-6, name


@pytest.mark.parametrize("make", [small_faster_rcnn, small_mask_rcnn])
def test_a_detector_computes_finite_losses_and_gradients(make: Callable[[], Any], gpu: str) -> None:
    """Not compared with the CPU: the sampled regions come from the generator of the device."""
    device = torch.device("cuda")
    torch.manual_seed(0)
    network, batch = make().to(device).train(), square_batch([0, 1, 2, 3])
    labels = [{name: value.to(device) for name, value in label.items()} for label in batch["label"]]
    losses = network.losses([image.to(device) for image in batch["image"]], labels)
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert gradients
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_a_trained_detector_finds_the_same_on_both(gpu: str) -> None:
    torch.manual_seed(0)
    network, batch = small_faster_rcnn().eval(), square_batch([0, 1])
    with torch.no_grad():
        expected = network(batch["image"])
        found = network.to("cuda")([image.to("cuda") for image in batch["image"]])
    for here, there in zip(expected, found, strict=True):
        assert len(here["scores"]) == len(there["scores"])
        assert torch.allclose(here["scores"], there["scores"].cpu(), atol=1e-3)
