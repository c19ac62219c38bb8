"""Half precision in a whole step of pre-training: autocast touches the network, the losses stay in float32."""

from collections.abc import Callable
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor

from src.losses import region_embeddings
from src.models import heads
from src.models.heads import RegionHead, layer_first
from src.models.siamese import Branch, View
from src.tasks.pretrain import Pretrain
from tests.factories import pretrain_batches as make_batches
from tests.factories import pretrain_task as make_task

Step = tuple[View, View, dict[str, Tensor]]


def step(task: Pretrain, precision: str, monkeypatch: pytest.MonkeyPatch) -> Step:
    """What the network gives for both views of a batch, and the losses, in one step of training."""
    seen: list[Step] = []
    criterion = task.criterion

    def spy(first: View, second: View, valid: Tensor, mean: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        found = criterion(first, second, valid, mean)
        with torch.autocast("cpu", enabled=False):
            exact = criterion(in_float32(first), in_float32(second), valid, mean)
        for name, value in found.items():
            torch.testing.assert_close(value, exact[name], rtol=1e-6, atol=1e-6)
        seen.append((first, second, found))
        return found

    monkeypatch.setattr(task, "criterion", spy)
    trainer = lightning.Trainer(
        max_epochs=1,
        precision=precision,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, torch.utils.data.DataLoader(make_batches(1), batch_size=None), [])
    return seen[0]


def in_float32(view: View) -> View:
    values = [Branch(*(side.float() for side in value)) if isinstance(value, Branch) else value for value in view]
    return View(*(value.float() if isinstance(value, Tensor) else value for value in values))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"grid_size": 0},
        {"grid_position": "before_projector", "distance": "cosine"},
        {"global_region": "intersection", "region_loss": "similarity"},
        {"grid_position": "after_projector", "distance": "printed_cross_entropy"},
    ],
)
def test_losses_are_float32_and_near_those_of_float32(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Near for a network whose outputs carry 8 bits: within 0.05, and 0.15 for regions at temperature 0.1."""
    task = make_task(**changes)
    first, _, losses = step(task, "bf16-mixed", monkeypatch)
    _, _, expected = step(make_task(**changes), "32-true", monkeypatch)
    assert {pair.prediction.dtype for pair in (first.image, first.dense, first.region) if pair} == {torch.bfloat16}
    assert losses.keys() == expected.keys()
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert value.mean().item() == pytest.approx(
            expected[name].mean().item(), abs=0.15 if name == "region" else 0.05
        )
    for parameter in task.network.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.isfinite().all()


@pytest.mark.parametrize("side", [3, 12])
def test_region_embeddings_are_float32_where_the_first_layer_is_not(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layer first (3 x 3 points) its result is rounded to 8 bits before the sum over the points, else after it."""
    seen: list[Tensor] = []
    monkeypatch.setattr(heads, "region_embeddings", lambda *args: seen.append(region_embeddings(*args)) or seen[-1])
    torch.manual_seed(0)
    head, z, features = RegionHead(64, 64), torch.randn(4, 48, side, side), torch.randn(4, 64, side, side).relu()
    assert layer_first(regions=48, points=side * side, width=64, out=64) is (side == 3)
    rows: list[Tensor] = []
    head.projector[1].register_forward_pre_hook(lambda module, inputs: rows.append(inputs[0]))
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            head(z, features)
    assert {embeddings.dtype for embeddings in seen} == {torch.float32}
    exact, half = rows
    assert half.dtype == (torch.float32 if side == 3 else torch.bfloat16)
    assert 0 < (half - exact).norm() / exact.norm() < 5e-3
