"""A whole training step of segmentation as trainer=fast does it, beside the same step in float32 and contiguous."""

from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from tests.factories import segment_task


class Gradients(Callback):
    """The losses and the gradients that the optimiser gets in the first step."""

    losses: dict[str, float]
    gradients: dict[str, Tensor]

    def on_before_optimizer_step(self, trainer: lightning.Trainer, pl_module: Any, optimizer: Any) -> None:
        named = pl_module.network.named_parameters()
        self.gradients = {name: value.grad.clone() for name, value in named if value.grad is not None}
        logged = trainer.callback_metrics
        self.losses = {key: float(value) for key, value in logged.items() if key.startswith("loss/")}


def batch() -> dict[str, Any]:
    """Six pairs of views, in which whole areas have a colour, so that the maps differ by more than rounding."""
    generator = torch.Generator().manual_seed(1)
    areas = [torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=generator) for _ in range(2)]
    return {
        "views": [view.repeat_interleave(8, 2).repeat_interleave(8, 3) for view in areas],
        "boxes": torch.tensor([[[0.0, 0.0, 1.0, 1.0], [0.1, 0.2, 0.7, 0.8]]]).repeat(6, 1, 1),
        "valid": torch.ones(6, dtype=torch.bool),
        "redrawn": torch.zeros(6),
        "index": torch.arange(6),
    }


def step(precision: str, memory_format: str, region_start: float | None) -> Gradients:
    task = segment_task(memory_format=memory_format, region_start=region_start)
    found = Gradients()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    lightning.Trainer(
        max_epochs=1, precision=precision, accelerator="cpu", callbacks=[found], enable_model_summary=False, **quiet
    ).fit(task, torch.utils.data.DataLoader([batch()], batch_size=None), [])
    return found


def cosine(one: dict[str, Tensor], other: dict[str, Tensor], part: str) -> float:
    """Between the gradients of all parameters of a part of the network, as one vector each."""
    first, second = (
        torch.cat([value.flatten() for name, value in each.items() if name.startswith(part)]) for each in (one, other)
    )
    return float(torch.cosine_similarity(first, second, dim=0))


@pytest.mark.parametrize("region_start", [0.0, None])
def test_half_precision_and_channels_last_step_in_the_same_direction(region_start: float | None) -> None:
    """With 8 bits, the batch norms of 18 layers turn the encoder's gradient the most; the losses hardly change."""
    exact, half = step("32-true", "contiguous", region_start), step("bf16-mixed", "channels_last", region_start)
    assert half.losses.keys() == exact.losses.keys()
    assert ("loss/region" in exact.losses) is (region_start == 0.0)
    for name, loss in exact.losses.items():  # found: 0.0007, and 0.014 for regions, at temperature 0.1
        assert half.losses[name] == pytest.approx(loss, abs=0.05 if name == "loss/region" else 0.005), name
    assert half.gradients.keys() == exact.gradients.keys()
    heads = ("head.", "aux_head.", *(["region_head."] if region_start == 0.0 else []))
    for part in ("encoder.", "neck.", *heads):  # found: at least 0.88 for the encoder and 0.93 for the others
        assert cosine(exact.gradients, half.gradients, part) > (0.8 if part == "encoder." else 0.9), part
