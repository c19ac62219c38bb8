"""A trained detector, ready for use on images."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.checks import check_number
from src.drawing.colours import palette
from src.images.resizing import to_tensor
from src.metrics import Category
from src.models.detection import DetectionNetwork
from src.prediction.inputs import as_image, as_list
from src.prediction.predictor import Predictor

MIN_SCORE = 0.5


class Detections(NamedTuple):
    """The objects that were found in an image, by falling score.

    Attributes:
        boxes: (M, 4) float32, left, top, right and bottom in pixels of the image.
        scores: (M,) float32, 0 to 1.
        labels: (M,) int64, the numbers of the classes.
        masks: (M, H, W) bool; None if the network finds boxes only.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_] | None

    def tensors(self) -> dict[str, Tensor]:
        """The same as tensors by name, without masks if there are none."""
        return {name: torch.from_numpy(values) for name, values in self._asdict().items() if values is not None}


class Detector(Predictor):
    """A trained detector with the names and colours of its classes; `src.api.load` makes it.

    Args:
        network: the network, in evaluation mode.
        classes: the classes that it finds.

    Attributes:
        network: the module itself, which maps a list of images (3, H, W) uint8 to a list of detections.
        names: the names of the classes, by their numbers.
        palette: (C, 3) uint8, the colours of the classes.
    """

    network: DetectionNetwork

    def __init__(self, network: DetectionNetwork, classes: Sequence[Category]) -> None:
        self.network, self.names = network, [one.name for one in classes]
        self.palette: NDArray[np.uint8] = palette(len(self.names))[:-1]

    def __repr__(self) -> str:
        return f"Detector({len(self.names)} classes, device={self.device})"

    def predict(self, images: Any, min_score: float = MIN_SCORE) -> Any:
        """The objects in images.

        Args:
            images: an image, or a list of images, as those of `src.prediction.segmenter.Segmenter.predict`.
            min_score: objects with a lower score are left out, 0 to 1.

        Returns:
            `Detections`, or a list of them for a list of images.

        Raises:
            UnreadableFileError: a file can't be read.
            DenseSiamError: see `as_image`; or `min_score` is out of its range.
        """
        check_number("min_score", min_score, low=0, high=1)
        given, is_one = as_list(images)
        found = [self.found([to_tensor(as_image(one))], min_score)[0] for one in given]
        return found[0] if is_one else found

    @torch.inference_mode()
    def found(self, images: Sequence[Tensor], min_score: float) -> list[Detections]:
        """The objects in images (3, H, W) uint8 with at least a score."""
        moved = [image.to(self.device) for image in images]
        return [as_detections(one, min_score) for one in self.network(moved)]


def as_detections(found: dict[str, Tensor], min_score: float) -> Detections:
    """What the network found in an image, in arrays, without objects of a lower score."""
    kept = found["scores"] >= min_score
    arrays = {name: values[kept].cpu().numpy() for name, values in found.items()}
    return Detections(arrays["boxes"], arrays["scores"], arrays["labels"], arrays.get("masks"))
