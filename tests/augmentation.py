"""Views with every augmentation switched on, and images to draw them from."""

import numpy as np
from PIL import Image

from src.data.views import CropAndWhole, colour_augmentation

COLOURS = colour_augmentation(0.3, 0.3, 0.3, 0.1, 0.8, 0.2, 0.5, (0.05, 0.9))
VIEWS = CropAndWhole(16, (0.5, 1.0), 0.5, COLOURS)


def noise_image(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
