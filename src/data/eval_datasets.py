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

LONGEST_RATIO = 64  # longer side / shorter side: a longer image, resized as a whole, would fill the memory
BLANK = 32  # side in pixels of the blank image that replaces an unreadable one of unknown size


def check_length(name: str, size: tuple[int, int], remedy: str) -> None:
    """Refuse an image that is too long to be resized as a whole.

    Args:
        name: what the image is called, for messages.
        size: its width and height.
        remedy: what the user can do, in words for messages.

    Raises:
        DenseSiamError: its longer side is more than `LONGEST_RATIO` times the shorter.
    """
    if max(size) > LONGEST_RATIO * min(size):
        raise DenseSiamError(
            f"the image {name} is {size[0]} x {size[1]}: expected a longer side of at most {LONGEST_RATIO} times the "
            f"shorter to resize; {remedy}"
        )


def _check_scored(name: str, image: Image.Image, protocol: Preparation) -> None:
    if not protocol.crop and protocol.side != "own":
        check_length(name, image.size, "remove it or set protocol.crop=true")


class WholeImages(Dataset[Tensor]):
    """Images without labels, prepared as for scoring. An item is (3, H, W) uint8."""

    def __init__(self, reader: Reader, protocol: Preparation) -> None:
        self.reader, self.protocol = reader, protocol

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Tensor:
        image, _ = self.reader.read_or_other(self._read, index, seed=index)
        return to_tensor(prepared(image, self.protocol.side, self.protocol.crop, Image.Resampling.BILINEAR))

    def _read(self, index: int) -> Image.Image:
        image = self.reader.images.image(index)
        _check_scored(self.reader.images.image_name(index), image, self.protocol)
        return image


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
        _check_scored(self.images.image_name(index), image, self.protocol)
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
