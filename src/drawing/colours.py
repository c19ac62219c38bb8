"""Colours for label maps, and label maps as pictures."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

BACKGROUND, INK, NO_CLASS = (255, 255, 255), (20, 20, 20), (0, 0, 0)
OPACITY = 0.5  # of the colours over an image
DIFFERENT = 341  # colours, besides black and nearly white


def palette(num_classes: int) -> NDArray[np.uint8]:
    """Distinct colours, (num_classes + 1, 3); the last colour, black, is for pixels without a class.

    Each colour is as far as possible from the earlier ones, black and white. Of 27 colours, any two are at least 80
    apart in RGB. There are 341 different colours; further ones repeat them.
    """
    levels = np.arange(0, 256, 42)
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)  # (343, 3)
    nearest = np.minimum(*(np.linalg.norm(candidates - colour, axis=1) for colour in (NO_CLASS, BACKGROUND)))
    chosen = []
    for _ in range(min(num_classes, DIFFERENT)):
        chosen.append(candidates[nearest.argmax()])
        nearest = np.minimum(nearest, np.linalg.norm(candidates - chosen[-1], axis=1))
    colours = np.resize(np.array(chosen, dtype=np.uint8), (num_classes, 3))  # repeats them
    return np.vstack([colours, np.array([NO_CLASS], dtype=np.uint8)])


def paint(classes: Tensor, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour a label map (H, W): (H, W, 3). Values that are not classes get the last colour."""
    values = classes.numpy()
    last = len(colours) - 1
    painted: NDArray[np.uint8] = colours[np.where((values >= 0) & (values < last), values, last)]
    return painted


def index_image(clusters: NDArray[np.uint8], colours: NDArray[np.uint8]) -> Image.Image:
    """A label map (H, W) as an 8-bit image whose values are the labels and whose palette holds their colours (N, 3)."""
    image = Image.fromarray(clusters)
    image.putpalette(colours.tobytes())
    return image


def overlay(image: Image.Image, clusters: Image.Image) -> Image.Image:
    """An RGB image, tinted with the colours of its clusters.

    Args:
        image: the image.
        clusters: its label map with a palette, of the same size, see `index_image`.
    """
    return Image.blend(image, clusters.convert("RGB"), OPACITY)
