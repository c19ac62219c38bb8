"""The colours of views: each operation beside torchvision's and a slow one, their draws, and how views are spread."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import default_collate
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from src.data.colours import OPERATIONS, ColourAugmentation, ColourDraws, blur_weights, blurred, recoloured
from tests import naive
from tests.factories import noise_image

SEGMENTATION = (0.3, 0.3, 0.3, 0.1, 0.8, 0.2, 0.5, (0.05, 0.9))
PRETRAINING = (0.4, 0.4, 0.4, 0.1, 0.8, 0.2, 0.5, (0.1, 2.0))
AMOUNTS = {
    "brightness": (0.0, 0.55, 0.91, 1.0, 1.37, 4.0),
    "contrast": (0.0, 0.55, 0.91, 1.0, 1.37, 4.0),
    "saturation": (0.0, 0.55, 0.91, 1.0, 1.37, 4.0),
    "hue": (-0.5, -0.1, -0.031, 0.0, 0.07, 0.5),
}


def smooth(seed: int, size: int = 40) -> Tensor:
    """A coloured image (3, size, size) uint8 with large and small shapes, and some pixels at both ends of the range."""
    large, small = (
        noise_image(side, side, seed + side).resize((size, size), Image.Resampling.BICUBIC) for side in (4, 15)
    )
    values = np.asarray(large, dtype=float) + 0.6 * (np.asarray(small, dtype=float) - 128)
    return torch.from_numpy(values.clip(0, 255).astype(np.uint8)).permute(2, 0, 1).contiguous()


def cube() -> Tensor:
    """Colours of the whole cube, with all ties and greys: (3, 72, 72) uint8."""
    level = torch.tensor([0, 1, 2, 3, 50, 84, 85, 86, 100, 127, 128, 129, 170, 200, 251, 253, 254, 255])
    mixed = torch.cartesian_prod(level, level, level).T.to(torch.uint8)[:, : 72 * 72]
    return mixed.reshape(3, 72, 72)


IMAGES = {
    "smooth": smooth(0),
    "cube": cube(),
    "noise": torch.from_numpy(np.array(noise_image(31, 20))).permute(2, 0, 1),
}


def draws(amounts: Any = None, order: Any = (), grey: bool = False, sigma: float = 0.0, reach: int = 3) -> ColourDraws:
    """The draws of a batch of one image."""
    order = [*order, *[-1] * (4 - len(order))]
    amounts = amounts or [1.0, 1.0, 1.0, 0.0]
    return ColourDraws(
        torch.tensor([order]), torch.tensor([amounts]), torch.tensor([grey]), blur_weights(sigma, reach)[None]
    )


def difference(first: Tensor, second: Tensor) -> Tensor:
    return (first.int() - second.int()).abs()


# Each operation.


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("number", range(4))
def test_an_operation_of_the_jitter_is_torchvisions(number: int, image: str) -> None:
    """To one grey level, where the fraction that both drop is next to a whole number."""
    name = list(AMOUNTS)[number]
    for amount in AMOUNTS[name]:
        amounts = [1.0, 1.0, 1.0, 0.0]
        amounts[number] = amount
        found = recoloured(IMAGES[image][None], draws(amounts, [number]))[0]
        wrong = difference(found, getattr(tv, f"adjust_{name}")(IMAGES[image], amount))
        assert wrong.max() <= 1
        assert wrong.float().mean() < 0.08


def test_the_hue_is_that_of_hsv() -> None:
    image = cube()[:, ::3, ::3]
    for shift in AMOUNTS["hue"]:
        found = recoloured(image[None], draws([1, 1, 1, shift], [3]))[0].flatten(1).T
        for pixel, new in zip(image.flatten(1).T.tolist(), found.tolist(), strict=True):
            expected = naive.shifted_hue([value / 255 for value in pixel], shift)
            assert max(abs(255 * one - other) for one, other in zip(expected, new, strict=True)) <= 1.001
            assert (max(new), min(new)) == (max(pixel), min(pixel)) or max(pixel) - max(new) <= 1


@pytest.mark.parametrize("image", IMAGES)
def test_grey_is_torchvisions(image: str) -> None:
    found = recoloured(IMAGES[image][None], draws(grey=True))[0]
    assert torch.equal(found, tv.rgb_to_grayscale(IMAGES[image], 3))
    assert found.is_contiguous()


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("sigma", [0.05, 0.3, 0.6, 0.9, 1.4, 2.0])
def test_the_blur_is_torchvisions(sigma: float, image: str) -> None:
    reach = 3 if sigma < 1 else 6
    found = recoloured(IMAGES[image][None], draws(sigma=sigma, reach=reach))[0]
    wrong = difference(found, tv.gaussian_blur(IMAGES[image], [2 * reach + 1] * 2, [sigma] * 2))
    assert wrong.max() <= 1
    assert wrong.float().mean() < 0.001


def test_the_blur_is_that_of_a_loop() -> None:
    plane = smooth(3, size=12)[0]
    for sigma, reach in ((0.4, 3), (1.7, 6)):
        found = blurred(plane.float().expand(1, 3, 12, 12), blur_weights(sigma, reach)[None])[0, 1]
        expected = torch.tensor(naive.gaussian_blur(plane.tolist(), sigma, reach))
        assert (found - expected).abs().max() <= 0.5001


def test_no_weight_of_a_blur_is_denormal() -> None:
    for sigma in (0.05, 0.08, 0.11, 0.3):
        weights = blur_weights(sigma, 6)
        assert ((weights == 0) | (weights > torch.finfo(torch.float32).tiny)).all()
        assert 2 * weights.sum() - weights[0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1,), ()])
def test_the_operations_are_applied_in_their_order(order: tuple[int, ...]) -> None:
    amounts = [1.3, 0.7, 1.4, -0.08]
    expected = image = smooth(1)
    for number in order:
        expected = getattr(tv, f"adjust_{list(AMOUNTS)[number]}")(expected, amounts[number])
    found = recoloured(image[None], draws(amounts, order))[0]
    assert difference(found, expected).max() <= 4  # each rounds, and a later one makes the difference larger
    assert difference(found, expected).float().mean() < 0.1


# A batch.


def test_a_batch_is_what_each_image_would_be_alone() -> None:
    images = torch.stack([smooth(seed) for seed in range(40)])
    before, augment = images.clone(), ColourAugmentation(*PRETRAINING)
    torch.manual_seed(0)
    batch = default_collate([augment.draw() for _ in images])
    found = recoloured(images, batch)
    assert torch.equal(images, before)
    torch.manual_seed(0)
    for image, one in zip(images, found, strict=True):
        wrong = difference(one, augment(image))
        assert wrong.max() <= 1  # sums in another order
        assert wrong.float().mean() < 0.001
    assert len(set(map(tuple, batch.order.tolist()))) > 10
    assert found.dtype == torch.uint8
    assert found.is_contiguous()


def test_the_draws_of_a_batch_stay_on_the_cpu_and_its_images_where_they_are() -> None:
    images = torch.empty(8, 3, 20, 20, dtype=torch.uint8, device="meta")
    found = recoloured(images, drawn(ColourAugmentation(*PRETRAINING), 8))
    assert found.device.type == "meta"  # nothing reads an image to decide what to do, which would wait for a GPU


# The draws.


def drawn(augment: ColourAugmentation, count: int) -> ColourDraws:
    torch.manual_seed(0)
    return default_collate([augment.draw() for _ in range(count)])


def test_amounts_orders_and_sigmas_are_spread_as_torchvisions() -> None:
    count = 2000
    found = drawn(ColourAugmentation(0.4, 0.2, 1.5, 0.1, 0.7, 0.2, 0.5, (0.5, 2.0)), count)
    for values, low, high in zip(found.amounts.T, (0.6, 0.8, 0.0, -0.1), (1.4, 1.2, 2.5, 0.1), strict=True):
        parts = np.quantile(values, (0.0, 0.25, 0.5, 0.75, 1.0))
        assert parts == pytest.approx(np.linspace(low, high, 5), abs=0.05 * (high - low))
        assert low <= values.min() <= values.max() <= high
    jitter, grey = (found.order >= 0).all(1), found.grey
    blur = found.blur[:, 1] > 0
    for chosen, probability in ((jitter, 0.7), (grey, 0.2), (blur, 0.5)):
        assert abs(int(chosen.sum()) - count * probability) <= 4 * (count * probability * (1 - probability)) ** 0.5
    assert torch.equal(jitter, (found.order >= 0).any(1))
    values = torch.stack([jitter, grey, blur, *found.amounts.T])
    assert torch.corrcoef(values).fill_diagonal_(0).abs().max() < 0.1  # all are drawn apart
    orders = [tuple(order) for order in found.order[jitter].tolist()]
    assert len(set(orders)) == 24
    assert max(orders.count(order) for order in set(orders)) < 2 * len(orders) / 24
    ratios = found.blur[blur, 1] / found.blur[blur, 0]
    sigmas = (-0.5 / ratios.log()) ** 0.5
    assert np.quantile(sigmas, (0.0, 0.5, 1.0)) == pytest.approx((0.5, 1.25, 2.0), abs=0.08)


def test_an_operation_without_strength_is_left_out() -> None:
    found = drawn(ColourAugmentation(0.4, 0.0, 0.0, 0.1, 1.0, 0.0, 0.0, (0.5, 2.0)), 50)
    assert {tuple(sorted(order)) for order in found.order.tolist()} == {(-1, -1, 0, 3)}
    assert found.blur.shape == (50, 1)
    assert (found.blur == 1).all()
    assert not found.grey.any()


# The views.


def torchvisions(values: tuple[Any, ...]) -> v2.Transform:
    """The same augmentation by torchvision's own classes."""
    *jitter, jitter_probability, grey_probability, blur_probability, sigma = values
    return v2.Compose(
        [
            v2.RandomApply([v2.ColorJitter(*jitter)], jitter_probability),
            v2.RandomGrayscale(grey_probability),
            v2.RandomApply([v2.GaussianBlur(2 * round(3 * sigma[1]) + 1, list(sigma))], blur_probability),
        ]
    )


def described(image: Tensor) -> list[float]:
    """Mean of each channel, spread over the pixels, saturation, and sharpness: how much neighbours differ."""
    values = image.float()
    saturation = values.amax(0) - values.amin(0)
    sharpness = values.diff(dim=1).abs().mean() + values.diff(dim=2).abs().mean()
    return [*values.mean((1, 2)).tolist(), float(values.std()), float(saturation.mean()), float(sharpness)]


@pytest.mark.parametrize("values", [SEGMENTATION, PRETRAINING])
def test_views_are_spread_as_torchvisions(values: tuple[Any, ...]) -> None:
    """Means, deviations and quartiles over many draws agree as far as those of two samples of one distribution do."""
    count, samples, images = 800, [], [smooth(seed, 24) for seed in range(8)]
    for seed, augment in enumerate((ColourAugmentation(*values), torchvisions(values))):
        torch.manual_seed(seed)
        samples.append(torch.tensor([described(augment(images[index % 8])) for index in range(count)]))
    ours, theirs = samples
    scale = theirs.std(0)
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 4 * scale * (2 / count) ** 0.5).all()
    assert ours.std(0).numpy() == pytest.approx(scale.numpy(), rel=0.12)
    for part in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert ((ours.quantile(part, dim=0) - theirs.quantile(part, dim=0)).abs() < 0.35 * scale).all()


def test_the_list_of_operations_is_in_the_order_of_the_amounts() -> None:
    assert [each.__name__ for each in OPERATIONS] == ["brightened", "contrasted", "saturated", "hue_shifted"]
    assert [low for low, _ in ColourAugmentation(0.1, 0.2, 0.3, 0.4, 1, 1, 1, (1, 2)).spans] == [0.9, 0.8, 0.7, -0.4]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_changes_colours_as_the_cpu() -> None:
    images = torch.stack([smooth(seed) for seed in range(16)])
    batch = drawn(ColourAugmentation(*PRETRAINING), 16)
    wrong = difference(recoloured(images.cuda(), batch).cpu(), recoloured(images, batch))
    assert wrong.max() <= 2  # an operation can round the other way, and the next one makes the difference larger
    assert wrong.float().mean() < 0.01
