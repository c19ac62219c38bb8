"""Detection in files, see `src.prediction.files`."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from src.images.resizing import to_tensor
from src.prediction.detection_results import DetectionResults, Found
from src.prediction.detector import Detector


class DetectionJob(NamedTuple):
    """The objects in images.

    Attributes:
        detector: finds them.
        min_score: objects with a lower score are left out.
        results: writes the results.
    """

    detector: Detector
    min_score: float
    results: DetectionResults

    def prepare(self, image: Image.Image) -> Tensor:
        """What the network gets of an image, (3, H, W) uint8; it resizes the image itself."""
        return to_tensor(image)

    def predict(self, images: Sequence[Image.Image], prepared: Tensor) -> Iterator[Found]:
        """The objects in images, given what the network gets of them, (B, 3, H, W) uint8."""
        found = self.detector.found(list(prepared), self.min_score)
        yield from (Found(image, one) for image, one in zip(images, found, strict=True))
