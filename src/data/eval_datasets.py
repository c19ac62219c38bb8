"""Images prepared as the protocol says: without labels for k-means, with labels for scoring."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from src.data.checks import check_label
from src.data.images import IGNORE_INDEX, LabelledImages
from src.data.reading import Reader
from src.errors import DenseSiamError
from src.evaluation.protocol import Preparation
from src.images.reading import UnreadableFileError
from src.images.resizing import prepared, to_tensor

REFUSED_BEYOND = 64  # longer side / shorter side: a longer image, resized as a whole, would fill the memory
BLANK = 32  # side in pixels of the blank image that replaces an unreadable one of unknown size


class WholeImages(Dataset[Tensor]):
    """Images without labels, prepared as for scoring. An item is (3, H, W) uint8."""

    def __init__(self, reader: Reader, protocol: Preparation) -> None:
        self.reader, self.protocol = reader, protocol

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Tensor:
        image, _ = self.reader.image_or_other(index, seed=index)
        return to_tensor(prepared(image, self.protocol.side, self.protocol.crop, Image.Resampling.BILINEAR))


class ScoredImages(Dataset[dict[str, Any]]):
    """Images with labels.

    An item is {"image": (3, H, W) uint8, "label": (h, w) int64, "index": int, "unreadable": ""}. For an image that is
    skipped, all labels are `IGNORE_INDEX`, and `unreadable` is the error.

    Args:
        images: images and labels, see `LabelledImages`.
        reader: reader of these images.
        protocol: defines how images and labels are resized and cropped.
        class_names: every label is an index of this list, or `IGNORE_INDEX`.

    Raises:
        DenseSiamError: when an item is read: the label map has another size than its image, or a value that is not a
            class; or the image is too long to be resized as a whole.
    """

    def __init__(
        self, images: LabelledImages, reader: Reader, protocol: Preparation, class_names: Sequence[str]
    ) -> None:
        self.images, self.reader, self.protocol, self.num_classes = images, reader, protocol, len(class_names)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.reader.begin(index)
        try:
            image, label = self.images.image(index), self.images.label(index)
        except UnreadableFileError as error:
            if self.reader.on_corrupt == "raise":
                raise
            size = BLANK if self.protocol.side == "own" else int(self.protocol.side)
            blank, ignored = torch.zeros(3, size, size, dtype=torch.uint8), torch.full((size, size), IGNORE_INDEX)
            return {"image": blank, "label": ignored, "index": index, "unreadable": str(error)}
        self._check_length(index, image)
        check_label(self.images, index, image, label, self.num_classes)
        side, crop = self.protocol.side, self.protocol.crop
        if crop:
            label = prepared(label, side, crop, Image.Resampling.NEAREST)
        return {
            "image": to_tensor(prepared(image, side, crop, Image.Resampling.BILINEAR)),
            "label": torch.from_numpy(np.array(label)).long(),
            "index": index,
            "unreadable": "",
        }

    def _check_length(self, index: int, image: Image.Image) -> None:
        resized_whole = not self.protocol.crop and self.protocol.side != "own"
        if resized_whole and max(image.size) > REFUSED_BEYOND * min(image.size):
            raise DenseSiamError(
                f"the image {self.images.image_name(index)} is {image.width} x {image.height}: expected a longer side "
                f"of at most {REFUSED_BEYOND} times the shorter to resize; remove it or set protocol.crop=true"
            )
