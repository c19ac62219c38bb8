"""Random changes of colours, as torchvision's ColorJitter, RandomGrayscale and GaussianBlur define them.

What changes an image is drawn first, from torch's default generator, and applied later: to a single image in a loader
process, or to a whole batch on the device of the task. Both use the same tensor operations.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from src.checks import check_number, check_span

LIGHTNESS = (0.2989, 0.587, 0.114)  # shares of red, green and blue in grey, as in torchvision
TO_BYTES = 255.999 / 255  # torchvision multiplies values from 0 to 1 by 255.999 before it drops the fraction
NEGLIGIBLE = 1e-6  # neighbours with a smaller weight can't change a value; such weights can be denormal, which is slow


class ColourDraws(NamedTuple):
    """What changes the colours of one image; of a batch, each part has one more axis in front.

    Attributes:
        order: (4,) int64, the indices in `OPERATIONS` in the order in which they are applied; -1 applies none.
        amounts: (4,) float32, the amount of each operation, in the order of `OPERATIONS`.
        grey: () bool, whether the image becomes grey.
        blur: (R + 1,) float32, weights of a pixel and of its neighbours at the distances 1 to R, which count on both
            sides; 1 and zeros for no blur.
    """

    order: Tensor
    amounts: Tensor
    grey: Tensor
    blur: Tensor


class ColourAugmentation:
    """Colour jitter, greyscale and blur.

    Args:
        brightness, contrast, saturation: strengths of the jitter, 0 to 100.
        hue: strength of the jitter of the hue, 0 to 0.5. All four are applied together, in random order.
        jitter_probability, grey_probability, blur_probability: probability of each part.
        blur_sigma: smallest and largest standard deviation of the blur, in pixels of the view.

    Attributes:
        reach: over how many pixels to each side it blurs; 0 if it never does.

    Raises:
        DenseSiamError: a value is out of its range.
    """

    def __init__(
        self,
        brightness: float,
        contrast: float,
        saturation: float,
        hue: float,
        jitter_probability: float,
        grey_probability: float,
        blur_probability: float,
        blur_sigma: Sequence[float],
    ) -> None:
        place = "data.views.colour"
        strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        for name, strength in strengths.items():
            check_number(f"{place}.{name}", strength, low=0, high=100)
        check_number(f"{place}.hue", hue, low=0, high=0.5)
        check_number(f"{place}.jitter_probability", jitter_probability, low=0, high=1)
        check_number(f"{place}.grey_probability", grey_probability, low=0, high=1)
        check_number(f"{place}.blur_probability", blur_probability, low=0, high=1)
        check_span(f"{place}.blur_sigma", blur_sigma, above=0, high=100)
        self.spans = [(max(0.0, 1 - strength), 1 + strength) for strength in strengths.values()] + [(-hue, hue)]
        self.jitter, self.grey, self.blur = jitter_probability, grey_probability, blur_probability
        self.sigma = tuple(blur_sigma)
        self.reach = max(1, round(3 * self.sigma[1])) if blur_probability else 0

    def __call__(self, image: Tensor) -> Tensor:
        """Change the colours of an image (3, H, W) uint8 at random."""
        draws = ColourDraws(*(part[None] for part in self.draw()))
        return recoloured(image[None], draws)[0]

    def draw(self) -> ColourDraws:
        """Draw what changes the colours of one image."""
        jitter, grey, blur, width, *places = torch.rand(8, dtype=torch.float64).tolist()
        order = torch.randperm(len(OPERATIONS))
        for number, (low, high) in enumerate(self.spans):
            if low == high or jitter >= self.jitter:
                order[order == number] = -1
        amounts = [low + place * (high - low) for place, (low, high) in zip(places, self.spans, strict=True)]
        sigma = self.sigma[0] + width * (self.sigma[1] - self.sigma[0])
        weights = blur_weights(sigma if blur < self.blur else 0.0, self.reach)
        return ColourDraws(order, torch.tensor(amounts), torch.tensor(grey < self.grey), weights)


def blur_weights(sigma: float, reach: int) -> Tensor:
    """The weights of a Gaussian blur, see `ColourDraws.blur`.

    Args:
        sigma: standard deviation in pixels; 0 for no blur.
        reach: largest distance of a neighbour.
    """
    weights = torch.zeros(reach + 1, dtype=torch.float64)
    weights[0] = 1
    if sigma:
        weights = torch.exp(-0.5 * (torch.arange(reach + 1, dtype=torch.float64) / sigma) ** 2)
        weights /= 2 * weights.sum() - 1
        weights[weights < NEGLIGIBLE] = 0
    return weights.float()


def recoloured(images: Tensor, draws: ColourDraws) -> Tensor:
    """Change the colours of a batch.

    Args:
        images: (B, 3, H, W) uint8, on any device.
        draws: what changes each image, on the CPU: it decides which operations run, and to read it from a GPU, the
            program would wait for the GPU.

    Returns:
        (B, 3, H, W) uint8.
    """
    values = images.float()  # whole numbers from 0 to 255 after every operation
    for place in range(len(OPERATIONS)):
        for number, operation in enumerate(OPERATIONS):
            values = changed(values, draws.order[:, place] == number, operation, draws.amounts[:, number, None, None])
    values = changed(values, draws.grey, greyed, draws.grey)
    blurring = draws.blur[:, 1:] > 0
    weights = draws.blur[:, : 1 + int(blurring.any(0).sum())]  # they become smaller with the distance
    values = changed(values, blurring.any(1), blurred, weights)
    return values.to(torch.int16).to(torch.uint8)  # in two steps, because torch is slow in one


def recoloured_views(batch: dict[str, Any], colours: Sequence[ColourDraws]) -> dict[str, Any]:
    """A batch of views whose colours are changed, see `recoloured`.

    Args:
        batch: a batch with `views`, some (B, 3, H, W) uint8 on any device.
        colours: the draws of each of the views, on the CPU.
    """
    return batch | {"views": [recoloured(*each) for each in zip(batch["views"], colours, strict=True)]}


def changed(values: Tensor, chosen: Tensor, operation: Callable[[Tensor, Tensor], Tensor], amounts: Tensor) -> Tensor:
    """Apply an operation to the chosen images of a batch; `values` may be overwritten.

    Args:
        values: (B, 3, H, W).
        chosen: (B,) bool, on the CPU.
        operation: a function of images and amounts.
        amounts: (B, ...) the amount for each image, on the CPU.
    """
    rows = chosen.nonzero().flatten()
    if not len(rows):
        return values
    given = amounts[rows].to(values.device, non_blocking=True)
    if len(rows) == len(values):
        return operation(values, given)
    rows = rows.to(values.device, non_blocking=True)
    values[rows] = operation(values[rows], given)
    return values


# The operations below take values (B, 3, H, W), whole numbers from 0 to 255 in float32, and return such values. Those
# of the jitter take amounts (B, 1, 1) and drop the fraction, as torchvision does.


def brightened(values: Tensor, factors: Tensor) -> Tensor:
    """Multiply by a factor."""
    return (values * factors[:, None]).clamp_(0, 255).floor_()


def contrasted(values: Tensor, factors: Tensor) -> Tensor:
    """Multiply the distance from the image's mean grey by a factor."""
    mean = lightness(values).mean((1, 2), keepdim=True)
    return (values * factors[:, None]).add_((mean * (1 - factors))[:, None]).clamp_(0, 255).floor_()


def saturated(values: Tensor, factors: Tensor) -> Tensor:
    """Multiply the distance from each pixel's grey by a factor."""
    greys = lightness(values).mul_(1 - factors)
    return (values * factors[:, None]).add_(greys[:, None]).clamp_(0, 255).floor_()


def hue_shifted(values: Tensor, shifts: Tensor) -> Tensor:
    """Shift the hue by a share of the colour circle; the largest and the smallest value of a pixel stay the same.

    It is the change of H in HSV, multiplied by the chroma C = largest - smallest value, so that nothing is divided.
    A colour lies on a circle of the length 6 C. Red is at 0, green at 2 C, blue at -2 C. The value of a channel depends
    on the distance of the colour from the channel: the largest value up to C, the smallest from 2 C on, linear between.
    """
    red, green, blue = values.unbind(1)
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    chroma = high - low
    # 1 where the channel is the largest, the first one in a tie: values are whole. torch.where takes ten times as long.
    is_red = (red - high).add_(1).clamp_(min=0)
    is_green = (green - high).add_(1).clamp_(min=0).mul_(1 - is_red)
    is_blue = 1 - is_red - is_green
    angle = (green - blue).mul_(is_red)
    angle.add_((blue - red).add_(chroma, alpha=2).mul_(is_green))
    angle.add_((red - green).sub_(chroma, alpha=2).mul_(is_blue))
    angle.addcmul_(chroma, 6 * shifts)
    half_circle, top = 3 * chroma, 2 * chroma + low
    shifted = torch.empty_like(values)
    for channel, place in enumerate((0, -2, 2)):
        # the distance on the circle, for angles to 9 C on either side
        distance = torch.add(angle, chroma, alpha=place).abs_().sub_(half_circle).abs_().sub_(half_circle).abs_()
        torch.clamp(torch.sub(top, distance, out=distance), low, high, out=shifted[:, channel])
    return shifted.mul_(TO_BYTES).floor_()


def greyed(values: Tensor, _: Tensor) -> Tensor:
    """Replace each channel by the pixel's grey."""
    return lightness(values)[:, None].repeat(1, 3, 1, 1)


def blurred(values: Tensor, weights: Tensor) -> Tensor:
    """Blur, and round.

    Args:
        values: (B, 3, H, W).
        weights: (B, R + 1), see `ColourDraws.blur`; the image is mirrored at its edges.
    """
    reach = weights.shape[1] - 1
    for axis, pad in ((3, (reach, reach, 0, 0)), (2, (0, 0, reach, reach))):
        size, padded = values.shape[axis], F.pad(values, pad, mode="reflect")
        values = padded.narrow(axis, reach, size) * weights[:, 0, None, None, None]
        both = torch.empty_like(values)
        for distance in range(1, reach + 1):
            before, after = (padded.narrow(axis, reach + way * distance, size) for way in (-1, 1))
            values.addcmul_(torch.add(before, after, out=both), weights[:, distance, None, None, None])
    return values.round_()


def lightness(values: Tensor) -> Tensor:
    """The grey of each pixel, (B, H, W), without its fraction."""
    red, green, blue = values.unbind(1)
    return (red * LIGHTNESS[0]).add_(green, alpha=LIGHTNESS[1]).add_(blue, alpha=LIGHTNESS[2]).floor_()


OPERATIONS = (brightened, contrasted, saturated, hue_shifted)
