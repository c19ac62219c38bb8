"""Maps cover exactly the image, whatever its size: an edge is found where it is."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.models.backbones import efficientnet_lite0, resnet, timm_features
from src.models.encoder import Encoder
from src.models.sizes import interpolation, nearest_multiple, nearest_side, resized
from tests.factories import images
from tests.refusals import refusal

VIT = {"dynamic_img_size": True, "out_indices": (-1,), "depth": 1, "embed_dim": 48, "num_heads": 2}
ENCODERS: dict[str, Callable[[], Encoder]] = {
    "resnet18": lambda: resnet("resnet18", None, frozen=True),
    "resnet18, stride 8": lambda: resnet("resnet18", None, frozen=True, output_stride=8),
    "resnet18, two stages": lambda: resnet("resnet18", None, frozen=True, stages=2, padding="reflect"),
    "efficientnet_lite0": lambda: efficientnet_lite0(None, frozen=True),
    "patches of 16": lambda: timm_features("vit_tiny_patch16_224", None, True, **VIT),
    "patches of 14": lambda: timm_features("vit_tiny_patch16_224", None, True, **VIT, patch_size=14),
    "patches of 14, padded": lambda: timm_features(
        "vit_tiny_patch16_224", None, True, **VIT, patch_size=14, dynamic_img_pad=True
    ),
    "swin": lambda: timm_features(
        "swin_tiny_patch4_window7_224", None, True, strict_img_size=False, depths=(1, 1, 1, 1), embed_dim=24
    ),
    "convnext": lambda: timm_features("convnext_atto", None, True),
}
AVERAGING = [name for name in ENCODERS if name not in ("swin", "convnext")]  # no layer norm on the way to their maps


def made(name: str) -> Encoder:
    torch.manual_seed(0)
    return ENCODERS[name]()


@torch.no_grad()
def averaging(name: str) -> Encoder:
    """Every convolution takes the mean of what it sees, and nothing else is done: a map shows where its cells look."""
    encoder = made(name)
    encoder.mean.zero_()
    encoder.std.fill_(1)
    for part in encoder.backbone.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.fill_(1 / part.weight[0].numel())
            if part.bias is not None:
                part.bias.zero_()
        for inner in (getattr(part, "proj", None), getattr(part, "fc2", None)):  # what a block of a transformer adds
            if isinstance(inner, nn.Linear):
                inner.weight.zero_()
                inner.bias.zero_()
        if isinstance(getattr(part, "pos_embed", None), Tensor):
            part.pos_embed.zero_()
        if isinstance(getattr(part, "maxpool", None), nn.MaxPool2d):
            part.maxpool = nn.AvgPool2d(3, stride=2, padding=1)
    return encoder


def shifts(name: str, height: int, width: int) -> list[Tensor]:
    """How far from where a cell is read it looks at, in cells, along the middle of each map, away from the borders."""
    encoder = averaging(name)
    across = (torch.arange(width) + 0.5).expand(1, 3, height, width)
    found = []
    for seen, all_of_it in zip(encoder(1e-5 * across), encoder(torch.full_like(across, 1e-5)), strict=True):
        cells = seen.shape[3]
        read = (torch.arange(cells) + 0.5) * width / cells
        places = (seen / all_of_it)[0, 0, seen.shape[2] // 2]
        inside = (read > width / 4) & (read < 3 * width / 4)
        found.append(((places - read) * cells / width)[inside])
    return found


@pytest.mark.parametrize("name", AVERAGING)
def test_a_cell_looks_where_it_is_read_at_every_size(name: str) -> None:
    """But for half a cell that convolutions of stride 2 look aside, at every size and everywhere the same."""
    encoder = made(name)
    dividing = shifts(name, 2 * encoder.multiple, encoder.multiple * (1024 // encoder.multiple))
    for height, width in ((61, 1003), (75, 1039), (50, 991)):
        for own, found in zip(dividing, shifts(name, height, width), strict=True):
            assert own.abs().max() < 0.52
            assert (found - own.mean()).abs().max() < 0.03


def found_edges(encoder: Encoder, edge: int, size: tuple[int, int]) -> list[float]:
    """Where each map says that the edge of a dark left and a bright right side is, in pixels.

    A cell is as much of the right side as its features differ from those of a dark image; these shares are read as
    every map is, as covering exactly the image, and their mean is how much of the image is bright.
    """
    mixed = torch.where(torch.arange(size[1]) < edge, 0.1, 0.9).expand(1, 3, *size)
    dark, bright = (torch.full((1, 3, *size), value) for value in (0.1, 0.9))
    found = []
    for both, left, right in zip(*map(encoder, (mixed, dark, bright)), strict=True):
        from_left, from_right = ((both - side).norm(dim=1) for side in (left, right))
        share = (from_left / (from_left + from_right))[:, None]
        whole = F.interpolate(share, size, mode="bilinear", align_corners=False)
        found.append(size[1] * (1 - whole.mean().item()))
    return found


@pytest.mark.parametrize("name", ["patches of 16", "patches of 14", "patches of 14, padded", "swin", "convnext"])
@pytest.mark.parametrize(("size", "edge"), [((128, 128), 96), ((101, 131), 40), ((93, 150), 117)])
def test_an_edge_is_found_within_half_a_cell(name: str, size: tuple[int, int], edge: int) -> None:
    encoder = made(name)
    for place, stride in zip(found_edges(encoder, edge, size), encoder.strides, strict=True):
        assert abs(place - edge) < stride / 2, (stride, place)


@pytest.mark.parametrize("patch", ["patches of 14", "patches of 14, padded"])
def test_mirrored_places_meet(patch: str) -> None:
    encoder = averaging(patch)
    batch = images(1, 3, 100, 128)
    (plain,), (turned_back,) = encoder(batch), (level.flip(-1) for level in encoder(batch.flip(-1)))
    torch.testing.assert_close(turned_back, plain)


@pytest.mark.parametrize("name", ENCODERS)
def test_maps_have_whole_cells_and_cover_the_image(name: str) -> None:
    encoder = made(name)
    for size in ((13, 17), (17, 33), (100, 75), (128, 131)):
        sides = [nearest_multiple(side, encoder.multiple) for side in size]
        for level, channels, stride in zip(
            encoder(images(1, 3, *size)), encoder.channels, encoder.strides, strict=True
        ):
            assert tuple(level.shape) == (1, channels, sides[0] // stride, sides[1] // stride)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_size_that_all_strides_divide_is_left_as_it_is(name: str) -> None:
    encoder = made(name)
    batch = images(2, 3, 2 * encoder.multiple, 3 * encoder.multiple)
    raw = encoder.backbone((batch - encoder.mean) / encoder.std)
    raw = list(raw.values()) if isinstance(raw, dict) else raw
    raw = [level.permute(0, 3, 1, 2) for level in raw] if encoder.channels_last else raw
    assert all(torch.equal(found, expected) for found, expected in zip(encoder(batch), raw, strict=True))


@pytest.mark.parametrize(
    ("side", "multiple", "expected"),
    [(1, 14, 14), (20, 14, 14), (21, 14, 28), (128, 14, 126), (48, 32, 64), (47, 32, 32), (96, 32, 96), (7, 1, 7)],
)
def test_the_nearest_multiple(side: int, multiple: int, expected: int) -> None:
    assert nearest_multiple(side, multiple) == expected


def test_small_images_are_resized_with_antialiasing() -> None:
    """A fine checkerboard becomes grey instead of one of its colours."""
    encoder = made("patches of 16")
    board = ((torch.arange(23)[:, None] + torch.arange(23)) % 2).float().expand(1, 3, 23, 23)
    seen: list[Tensor] = []
    encoder.backbone.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    encoder(board)
    grey = seen[0] * encoder.std + encoder.mean
    assert grey.shape[2:] == (16, 16)
    assert (grey - 0.5).abs().max() < 0.2


# What timm gives.


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "mambaout_femto", "convnext_atto", "pvt_v2_b0"])
def test_maps_come_channels_first(name: str) -> None:
    """timm gives those of swin and mambaout with the channels last."""
    encoder = timm_features(name, None, frozen=True, **({"img_size": 64} if "swin" in name else {}))
    for level, channels, stride in zip(encoder(images(1, 3, 64, 64)), encoder.channels, encoder.strides, strict=True):
        assert tuple(level.shape) == (1, channels, 64 // stride, 64 // stride)


@pytest.mark.parametrize(
    ("name", "options", "side", "other"),
    [
        ("vit_tiny_patch16_224", {}, 224, 96),
        ("vit_tiny_patch16_224", {"img_size": 96}, 96, 128),
        ("hiera_tiny_224", {"img_size": 96}, 96, 100),
        ("maxvit_rmlp_pico_rw_256", {"img_size": 96}, 96, 64),
    ],
)
def test_a_backbone_of_one_size_says_which(name: str, options: dict[str, Any], side: int, other: int) -> None:
    encoder = timm_features(name, None, True, **options)
    assert encoder.size == (side, side)
    assert encoder(images(1, 3, side, side))[0].shape[2] == side // encoder.strides[0]
    said = refusal(lambda: encoder(images(1, 3, other, side)), f"{side} x {side}, found {other} x {side}")
    for way in ("data.views.size", "protocol.side", "dynamic_img_size=true", "strict_img_size=false", "img_size=SIDE"):
        assert way in said


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("levit_128s", {}, ("levit_128s gives a map of 384 x 4 x 4", "224 x 224", "384 x 3.5 x 3.5")),
        ("pit_ti_224", {}, ("map of 64 x 27 x 27", "expected 64 x 28 x 28")),  # padding that leaves a border out
        ("resnet10t", {"in_chans": 1}, ("takes images of 1 channels", "expected 3")),
        ("resnet10t", {"out_indices": [3, 1]}, ("out_indices is [3, 1]", "fine to coarse")),
        ("resnet10t", {"out_indices": [1, 1]}, ("out_indices is [1, 1]", "once")),
        ("resnet10t", {"out_indices": []}, ("out_indices is []", "such as [1, 2, 3, 4]")),
        ("resnet10t", {"out_indices": 3}, ("out_indices is 3",)),
        ("resnet10t", {"out_indices": [9]}, ("can't make 'resnet10t'", "out_indices=(9,)")),
        ("vit_tiny_patch16_224", {"out_indices": [99]}, ("feature index 99 is out of range",)),
        ("beit_base_patch16_224", {"dynamic_img_size": True, "depth": 1}, ("dynamic_img_size=True",)),
        ("resnet10t", {"output_stride": 5}, ("output_stride=5",)),
        ("swin_tiny_patch4_window7_224", {"img_size": 100}, ("192 x 13 x 13", "192 x 12.5 x 12.5")),
        (None, {}, ("name is None",)),
    ],
)
def test_what_is_no_pyramid_of_an_image_is_refused(name: Any, options: dict[str, Any], parts: tuple[str, ...]) -> None:
    refusal(lambda: timm_features(name, None, frozen=True, **options), *parts)


@pytest.mark.parametrize("size", [(48, 64), (49, 101), (300, 20), (7, 1000), (16, 16)])
def test_matrices_resize_as_torch_does(size: tuple[int, int]) -> None:
    given = images(2, 3, *size)
    expected = resized(given, 16)
    rows, columns = (
        interpolation(side, target, given.device) for side, target in zip(size, expected.shape[2:], strict=True)
    )
    found = rows @ given @ columns.T
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    if size == (48, 64):
        assert torch.equal(rows, torch.eye(48))


@pytest.mark.parametrize(("side", "expected"), [(769, 769), (768, 769), (1, 9), (12, 9), (14, 17), (2048, 2049)])
def test_aligned_sides_are_multiples_plus_one(side: int, expected: int) -> None:
    assert nearest_side(side, 8, align_corners=True) == expected


def test_corner_pixels_stay_corner_pixels() -> None:
    x = images(1, 3, 20, 30)
    for size in ((17, 33), (9, 9)):
        found = resized(F.interpolate(x, (size[0] - 2, size[1] + 3)), 8, align_corners=True)
        assert found.shape[2:] == size
    slope = torch.arange(12.0).expand(1, 1, 12, 12)
    assert torch.allclose(resized(slope, 16, align_corners=True)[0, 0, 0], torch.linspace(0, 11, 17), atol=1e-5)
