"""The interfaces of data sets: images, and labels for scoring."""

from typing import Protocol, runtime_checkable

from PIL import Image

IGNORE_INDEX = 255


class Images(Protocol):
    """Images to train on."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> Image.Image:
        """The image as RGB.

        Raises:
            UnreadableFileError: the file can't be decoded.
        """
        ...

    def image_name(self, index: int) -> str:
        """The name of the image in messages, such as its path."""
        ...


@runtime_checkable
class ReducibleImages(Images, Protocol):
    """Images that can be decoded at a smaller size, which takes less time."""

    def reduced_image(self, index: int, least: int) -> Image.Image:
        """The image as RGB, at its own size or smaller, see `src.images.reading.open_image`.

        Args:
            index: index of the image.
            least: the shorter side is reduced to this number of pixels at most.

        Raises:
            UnreadableFileError: the file can't be decoded.
        """
        ...


@runtime_checkable
class LabelledImages(Images, Protocol):
    """Images with one class per pixel, for scoring. `str()` gives the name of the set in the printed protocol."""

    def label(self, index: int) -> Image.Image:
        """The label map of the image: 8 bit, one class per pixel, `IGNORE_INDEX` for pixels without a class.

        Raises:
            UnreadableFileError: the label file can't be decoded.
        """
        ...

    def label_name(self, index: int) -> str:
        """The name of the label map in messages, such as its path."""
        ...

    def split_of(self, index: int) -> str:
        """The name of the split that lists the image: all images of a split have labels, or none has."""
        ...
