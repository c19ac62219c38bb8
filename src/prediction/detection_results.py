"""The files of a detection: the objects of each image, overlays, and the numbers of objects."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.v2.functional import to_pil_image

from src.drawing.boxes import with_objects
from src.drawing.legend import legend
from src.images.resizing import to_tensor
from src.prediction.detector import Detections, Detector
from src.prediction.map_results import png
from src.prediction.results import Results, Row
from src.regular import read_text

NOTE = "objects found by a network that was trained on labels"


class Found(NamedTuple):
    """The objects in an image, and the image, RGB."""

    image: Image.Image
    detections: Detections


class DetectionResults(Results[Found]):
    """The folder of the results of a detection.

    Args:
        folder: the folder.
        detector: has the names and colours of the classes.
        with_overlays: whether there is an overlay for each image besides the list of its objects.
    """

    def __init__(self, folder: Path, detector: Detector, with_overlays: bool) -> None:
        kinds = {"detections": ".json", **({"overlays": ".png"} if with_overlays else {})}
        super().__init__(folder, detector.names, kinds, NOTE)
        self.palette = detector.palette

    def contents(self, result: Found) -> Iterator[tuple[str, bytes]]:
        image, detections = result
        described = {"width": image.width, "height": image.height, "objects": self.objects(detections)}
        yield "detections", (json.dumps(described) + "\n").encode()
        if "overlays" in self.suffixes:
            drawn = with_objects(to_tensor(image), detections.tensors(), self.names)
            yield "overlays", png(to_pil_image(drawn))

    def objects(self, detections: Detections) -> list[dict[str, Any]]:
        """The objects in plain values; masks as COCO's uncompressed run-length encoding."""
        boxes, scores, labels, masks = detections
        return [
            {
                "class": self.names[label],
                "score": round(float(score), 4),
                "box": [round(side, 2) for side in box.tolist()],
                **({} if masks is None else {"mask": run_lengths(masks[place])}),
            }
            for place, (box, score, label) in enumerate(zip(boxes, scores, labels, strict=True))
        ]

    def row(self, result: Found) -> Row:
        counts = np.bincount(result.detections.labels, minlength=len(self.names))
        return Row(result.image.width, result.image.height, counts)

    def written_before(self, name: str) -> Row | None:
        try:
            content = json.loads(read_text(self.path("detections", name)))
            places = [self.names.index(one["class"]) for one in content["objects"]]
            counts = np.bincount(np.array(places, np.int64), minlength=len(self.names))
            return Row(int(content["width"]), int(content["height"]), counts)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def headings(self) -> list[str]:
        return list(self.names)

    def cells(self, row: Row) -> list[str]:
        return [str(count) for count in row.counts]

    def drawn_legend(self, total: NDArray[np.int64]) -> Image.Image:
        return legend(self.palette, [f"{name}  {count}" for name, count in zip(self.names, total, strict=True)], NOTE)


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """COCO's uncompressed encoding of a mask (H, W): the lengths of its runs, column by column, zeros first."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = np.concatenate([[0] if flat.size and flat[0] else [], [0], changes, [flat.size]]).astype(np.int64)
    return {"size": list(mask.shape), "counts": np.diff(ends).tolist()}
