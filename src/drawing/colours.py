"""Colours for label maps."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

BACKGROUND, INK, NO_CLASS = (255, 255, 255), (20, 20, 20), (0, 0, 0)


def palette(num_classes: int) -> NDArray[np.uint8]:
    """Distinct colours, (num_classes + 1, 3); the last colour, black, is for pixels without a class.

    Each colour is as far as possible from the earlier ones, black and white. Of 27 colours, any two are at least 80
    apart in RGB.
    """
    levels = np.arange(0, 256, 42)
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)  # (343, 3)
    taken = [NO_CLASS, BACKGROUND]
    for _ in range(num_classes):
        nearest = np.min([np.linalg.norm(candidates - colour, axis=1) for colour in taken], axis=0)
        taken.append(tuple(candidates[nearest.argmax()]))
    return np.array([*taken[2:], NO_CLASS], dtype=np.uint8)


def paint(classes: Tensor, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour a label map (H, W): (H, W, 3). Values that are not classes get the last colour."""
    values = classes.numpy()
    last = len(colours) - 1
    painted: NDArray[np.uint8] = colours[np.where((values >= 0) & (values < last), values, last)]
    return painted
