"""Losses that are not finite, and batches of one colour, which would make them so."""

from types import SimpleNamespace

import pytest
import torch

from src.models.backbones import resnet
from src.tasks.pairs import of_one_colour
from tests.factories import at_epoch
from tests.factories import segment_batch as make_batch
from tests.factories import segment_task as make_task
from tests.refusals import refusal


def test_a_loss_that_is_not_finite_names_every_term(monkeypatch: pytest.MonkeyPatch) -> None:
    task, batch = make_task(), make_batch()
    at_epoch(task, 0, 10, monkeypatch)
    with torch.no_grad():
        for parameter in task.network.neck.parameters():
            parameter.fill_(float("nan"))
    said = refusal(lambda: task.training_step(batch, 0), "at step 7: dense nan", "aux nan", "seg nan")
    assert said.endswith(", for 0, 1, 2; lower the learning rate")


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-true"])
def test_a_loss_that_is_not_finite_names_the_precision_in_use(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task, batch = make_task(), make_batch()
    at_epoch(task, 0, 10, monkeypatch)
    task.trainer.precision = precision
    task.prepare(SimpleNamespace(train_image_name=lambda index: f"folder/{index}.png"))
    batch["index"] = torch.arange(4, 11)
    monkeypatch.setattr(task, "compare", lambda batch: ({"dense": torch.tensor(torch.inf)}, {}))
    said = refusal(lambda: task.training_step(batch, 0), f"set trainer.precision=32-true instead of {precision}")
    assert "for folder/4.png, folder/5.png, folder/6.png, folder/7.png and 3 more images;" in said


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("colour", [0, 137])
def test_a_batch_of_one_colour_counts_nothing_and_is_named(
    colour: int, padding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the gradients of RegionSim are rounding errors of up to 1e25, and the next loss is not finite."""
    encoder = resnet("resnet18", None, frozen=False, stages=2, padding=padding)
    task, batch = make_task(region_start=0.0, encoder=encoder), make_batch()
    at_epoch(task, 0, 10, monkeypatch)
    optimizer = task.configure_optimizers()
    flat = batch | {"views": [torch.full_like(view, colour) for view in batch["views"]]}
    before = {name: value.clone() for name, value in task.named_parameters()}
    with pytest.warns(UserWarning, match=r"step 7 a whole batch is of one colour and counts nothing: 0, 1, 2\."):
        loss = task.training_step(flat, 0)["loss"]
    loss.backward()
    assert all(not value.grad.any() for value in task.parameters())
    task.training_step(flat, 0)["loss"].backward()  # warned of once
    optimizer.step()
    for name, value in task.named_parameters():
        torch.testing.assert_close(value, before[name], rtol=1e-3, atol=1e-6)  # weight decay alone
    assert task.training_step(batch, 0)["loss"].item() != 0


def test_a_few_images_of_one_colour_are_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    task, batch = make_task(region_start=0.0), make_batch()
    at_epoch(task, 0, 10, monkeypatch)
    for view in batch["views"]:
        view[1:] = 0
    loss = task.training_step(batch, 0)["loss"]
    loss.backward()
    assert loss.item() != 0
    assert all(value.grad.isfinite().all() for value in task.parameters())


def test_a_batch_of_one_colour_is_recognised() -> None:
    flat = torch.full((2, 3, 4, 4), 9, dtype=torch.uint8)
    assert of_one_colour([flat, flat.clone()])
    assert not of_one_colour([flat, flat + 1])
    for place in ((0, 0, 3, 3), (1, 2, 0, 0)):
        other = flat.clone()
        other[place] = 8
        assert not of_one_colour([other, flat])
        assert not of_one_colour([flat, other])
