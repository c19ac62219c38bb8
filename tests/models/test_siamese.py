"""The whole network: which heads are built, where the grid lies, and what reaches what."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.errors import DenseSiamError
from src.geometry import sample_boxes
from src.models.backbones import resnet
from src.models.encoder import Encoder
from src.models.necks import SimplifiedFPN
from src.models.siamese import DenseSiam, View
from tests.conftest import SHARED
from tests.refusals import refusal

POSITIONS = ["before_projector", "after_projector", "after_predictor"]
ALL = ["dense", "aux", "region", "seg"]
FULL = [0.0, 0.0, 1.0, 1.0]
BOXES = torch.tensor([[0.9, 0.1, 0.3, 0.8], [0.2, 0.0, 1.0, 0.5]])


class Pyramid(nn.Module):
    """Two maps of strides 4 and 8."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 6, 4, 4), nn.Conv2d(6, 8, 2, 2)

    def forward(self, images: Tensor) -> list[Tensor]:
        fine = self.fine(images).tanh()
        return [fine, self.coarse(fine).tanh()]


def network(frozen: bool = False, **options: Any) -> DenseSiam:
    torch.manual_seed(0)
    encoder = Encoder(Pyramid(), [6, 8], [4, 8], [0.5] * 3, [0.25] * 3, frozen)
    options = {"num_categories": 5, "num_aux_categories": 9, "losses": ALL} | options
    return DenseSiam(encoder, partial(SimplifiedFPN, channels=12), **options)


def settled(**options: Any) -> DenseSiam:
    """In evaluation mode, with batch norm statistics that a few batches have left."""
    model = network(**options)
    with torch.no_grad():
        for seed in range(3):
            model.view(images(seed=seed), BOXES, with_regions=True)
    return model.eval()


def images(height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    return torch.rand((2, 3, height, width), generator=torch.Generator().manual_seed(seed))


def outputs(view: View) -> dict[str, Tensor]:
    pairs = {"dense": view.dense, "aux": view.aux, "region": view.region}
    found = {"z": view.z}
    for name, pair in pairs.items():
        if pair is not None:
            found |= {f"{name}.prediction": pair.prediction, f"{name}.target": pair.target}
    return found


# Size.


def test_the_network_has_the_releases_size() -> None:
    model = DenseSiam(resnet("resnet18", None, False), SimplifiedFPN, 27, 128, losses=ALL)
    modules = {
        "backbone": model.encoder.backbone,
        "decoder": model.neck,
        "projector": model.head.projector,
        "predictor": model.head.predictor,
        "aux_projector": model.aux_head.projector,
        "aux_predictor": model.aux_head.predictor,
        "kernel_projector": model.region_head.projector,
        "kernel_predictor": model.region_head.predictor,
    }
    found = {name: sum(value.numel() for value in part.parameters()) for name, part in modules.items()}
    assert sum(found.values()) == sum(value.numel() for value in model.parameters()) == 11_509_622
    schedule = SHARED / "reference" / "golden" / "schedule.json"
    if not schedule.exists():
        pytest.skip(f"{schedule} is absent: the sizes of the parts are compared with it")
    assert found == json.loads(schedule.read_text(encoding="utf-8"))["num_params_by_module"]


@pytest.mark.parametrize(("hidden", "expected"), [(None, 12), (7, 7)])
def test_hidden_channels_are_the_necks_unless_told(hidden: int | None, expected: int) -> None:
    model = network(hidden_channels=hidden)
    assert model.head.projector[0].out_channels == expected
    assert model.aux_head.predictor[0].out_channels == expected
    assert model.region_head.projector[0].in_features == 12
    assert model.region_head.projector[0].out_features == expected


# Heads.


@pytest.mark.parametrize("losses", [[], ["seg"], ["dense"], ["aux", "seg"], ["region"], ["dense", "region"], ALL])
def test_only_heads_that_a_loss_needs_are_built(losses: list[str]) -> None:
    model = network(losses=losses)
    assert (model.head.predictor is not None) == ("dense" in losses)
    assert (model.aux_head is not None) == ("aux" in losses)
    assert (model.region_head is not None) == ("region" in losses)
    view = model.view(images(), BOXES, with_regions=True)
    assert view.z.shape == (2, 5, 8, 8)
    assert (view.dense is not None) == ("dense" in losses)
    assert (view.aux is not None) == ("aux" in losses)
    assert (view.region is not None) == ("region" in losses)


@pytest.mark.parametrize("grid_size", [-1, -3])
def test_a_grid_needs_points(grid_size: int) -> None:
    with pytest.raises(DenseSiamError, match=f"grid_size is {grid_size}: expected a whole number from 0"):
        network(grid_size=grid_size)


def test_unknown_grid_positions_are_refused() -> None:
    with pytest.raises(DenseSiamError, match=r"grid_position is 'after_dinner'.*before_projector"):
        network(grid_position="after_dinner")


# One view.


def test_calling_the_network_gives_the_projectors_logits() -> None:
    model = settled()
    found = model(images(40, 24))
    assert found.shape == (2, 5, 10, 6)
    assert torch.equal(found, model.head.projector(model.features(images(40, 24))))
    maps = model.encoder(images(40, 24))
    assert torch.equal(model.features(images(40, 24)), model.neck(maps))


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize(("grid_size", "shape"), [(7, (7, 7)), (1, (1, 1)), (None, (10, 6))])
def test_shapes(position: str, grid_size: int | None, shape: tuple[int, int]) -> None:
    model = network(grid_position=position, grid_size=grid_size)
    found = {name: tuple(value.shape) for name, value in outputs(model.view(images(40, 24), BOXES, True)).items()}
    assert found == {
        "z": (2, 5, *shape),
        "dense.prediction": (2, 5, *shape),
        "dense.target": (2, 5, *shape),
        "aux.prediction": (2, 9, *shape),
        "aux.target": (2, 9, *shape),
        "region.prediction": (2, 5, 12),
        "region.target": (2, 5, 12),
    }


@pytest.mark.parametrize("position", POSITIONS)
def test_inactive_regions_change_nothing_else(position: str) -> None:
    model = settled(grid_position=position, grid_size=4)
    active, inactive = (outputs(model.view(images(), BOXES, with_regions=flag)) for flag in (True, False))
    assert active.keys() - inactive.keys() == {"region.prediction", "region.target"}
    assert all(torch.equal(active[name], inactive[name]) for name in inactive)


@pytest.mark.parametrize("position", POSITIONS)
def test_the_grid_lies_where_it_should(position: str) -> None:
    model = settled(grid_position=position, grid_size=3)

    def read(value: Tensor) -> Tensor:
        return sample_boxes(value, BOXES, (3, 3))

    features = model.features(images())
    expected = {}
    for name, head in {"dense": model.head, "aux": model.aux_head}.items():
        if position == "before_projector":
            z = head.projector(read(features))
            p = head.predictor(z)
        elif position == "after_projector":
            z = read(head.projector(features))
            p = head.predictor(z)
        else:
            z, p = read(head.projector(features)), read(head.predictor(head.projector(features)))
        expected |= {f"{name}.prediction": p, f"{name}.target": z}
    expected["z"] = expected["dense.target"]
    u, v = model.region_head(expected["z"], read(features))
    expected |= {"region.prediction": u, "region.target": v}
    found = outputs(model.view(images(), BOXES, with_regions=True))
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("grid_size", [8, None])
def test_all_positions_agree_where_the_grid_is_the_map(grid_size: int | None) -> None:
    boxes = torch.tensor([FULL, FULL])
    views = [settled(grid_position=position, grid_size=grid_size) for position in POSITIONS]
    state = views[0].state_dict()
    found = []
    for model in views:
        model.load_state_dict(state)
        found.append(outputs(model.view(images(), boxes, with_regions=True)))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(found[2][name], value, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found[0]["z"], views[0](images()), atol=2e-5, rtol=1e-4)


def test_positions_differ_where_the_grid_is_not_the_map() -> None:
    views = [settled(grid_position=position, grid_size=3) for position in POSITIONS]
    state = views[0].state_dict()
    found = []
    for model in views:
        model.load_state_dict(state)
        found.append(outputs(model.view(images(), BOXES, with_regions=False)))
    assert not torch.allclose(found[0]["z"], found[1]["z"], atol=1e-3)
    torch.testing.assert_close(found[1]["z"], found[2]["z"])
    assert not torch.allclose(found[1]["dense.prediction"], found[2]["dense.prediction"], atol=1e-3)


@pytest.mark.parametrize("position", POSITIONS)
def test_swapping_the_images_swaps_the_outputs(position: str) -> None:
    model = settled(grid_position=position, grid_size=3)
    found = outputs(model.view(images(), BOXES, with_regions=True))
    swapped = outputs(model.view(images().flip(0), BOXES.flip(0), with_regions=True))
    for name, value in found.items():
        torch.testing.assert_close(swapped[name].flip(0), value, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(swapped[name], value, atol=1e-3)


def test_views_do_not_depend_on_which_comes_first() -> None:
    """In training each view is normalised by its own statistics."""
    model = network(grid_size=3)
    arguments = [(images(), BOXES), (images(seed=1), BOXES.flip(0))]
    forth = [outputs(model.view(*one, with_regions=True)) for one in arguments]
    back = [outputs(model.view(*one, with_regions=True)) for one in reversed(arguments)]
    for first, second in zip(forth, reversed(back), strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)


# Gradients.


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("name", ["z", "dense.prediction", "aux.prediction", "region.prediction", "region.target"])
def test_gradients_reach_the_encoder(position: str, name: str) -> None:
    model = network(grid_position=position, grid_size=3)
    found = outputs(model.view(images(), BOXES, with_regions=True))[name]
    (found * torch.rand(found.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert all(parameter.grad.abs().max() > 1e-6 for parameter in model.encoder.parameters())


def test_every_parameter_takes_part_when_all_losses_do() -> None:
    model = network(grid_size=3)
    found = outputs(model.view(images(), BOXES, with_regions=True))
    sum(value.exp().sum() for value in found.values()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_a_frozen_encoder_leaves_neck_and_heads_learning() -> None:
    model = network(frozen=True, grid_size=3).train()
    found = outputs(model.view(images(), BOXES, with_regions=True))
    sum(value.exp().sum() for value in found.values()).backward()
    assert model.training
    assert not model.encoder.training
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    rest = [parameter for name, parameter in model.named_parameters() if not name.startswith("encoder.")]
    assert all(parameter.grad is not None for parameter in rest)
    assert model.neck.laterals[1].weight.grad.abs().max() > 0


# Memory format.


def test_channels_last_changes_nothing_but_the_order_in_memory(tmp_path: Path) -> None:
    """The same weights give the same view and gradients, and go through a file into a network of either format."""
    plain, turned = (network(memory_format=name).double().requires_grad_() for name in ("contiguous", "channels_last"))
    weight = turned.encoder.backbone.coarse.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    assert turned.features(images()).is_contiguous(memory_format=torch.channels_last)
    torch.save(turned.state_dict(), tmp_path / "weights.pt")
    plain.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert plain.encoder.backbone.coarse.weight.is_contiguous()
    found, expected = (outputs(model.view(images(), BOXES, with_regions=True)) for model in (turned, plain))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    for views in (found, expected):
        torch.stack([value.square().sum() for value in views.values()]).sum().backward()
    for (name, one), other in zip(turned.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)


def test_an_unknown_memory_format_is_refused() -> None:
    refusal(lambda: network(memory_format="nhwc"), "model.memory_format is 'nhwc'", "contiguous", "channels_last")
