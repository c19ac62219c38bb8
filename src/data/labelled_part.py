"""The images of those splits that have labels, where others have none."""

from collections.abc import Sequence

from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image

from src.data.checks import is_labelled, with_labels
from src.data.images import Images, LabelledImages


class LabelledPart:
    """Some images of a labelled set, in its order.

    Args:
        images: the whole set.
        kept: the indices of the images.
        left_out: the names of the splits that have no labels.
    """

    def __init__(self, images: LabelledImages, kept: Sequence[int], left_out: Sequence[str]) -> None:
        self.images, self.kept, self.left_out = images, kept, left_out

    def __len__(self) -> int:
        return len(self.kept)

    def image(self, index: int) -> Image.Image:
        return self.images.image(self.kept[index])

    def image_name(self, index: int) -> str:
        return self.images.image_name(self.kept[index])

    def label(self, index: int) -> Image.Image:
        return self.images.label(self.kept[index])

    def label_name(self, index: int) -> str:
        return self.images.label_name(self.kept[index])

    def split_of(self, index: int) -> str:
        return self.images.split_of(self.kept[index])

    def __str__(self) -> str:
        return f"{self.images}, without {'+'.join(self.left_out)}, which has no labels"


def labelled_part(images: Images, wanted_by: str, remedy: str) -> LabelledImages:
    """The images of the splits that have labels; a warning counts the others.

    A split has no labels if none of its images has a label file. In a split with labels, no label file may be missing.

    Args:
        images: the images.
        wanted_by: what needs the labels, in words for messages.
        remedy: what the user can do, in words for messages.

    Raises:
        DenseSiamError: no image has labels, some are missing in a split with labels, or two images share them.
    """
    if not isinstance(images, LabelledImages):
        return with_labels(images, wanted_by, remedy)
    splits = [images.split_of(index) for index in range(len(images))]
    labelled = {split for index, split in enumerate(splits) if is_labelled(images, index)}
    left_out = sorted(set(splits) - labelled)
    if not labelled or not left_out:
        return with_labels(images, wanted_by, remedy)
    kept = [index for index, split in enumerate(splits) if split in labelled]
    part = with_labels(LabelledPart(images, kept, left_out), wanted_by, remedy)
    rank_zero_warn(
        f"{wanted_by}: {len(images) - len(kept)} of {len(images)} training images, all of {' and '.join(left_out)}, "
        "have no labels and are left out of the fit of the probes"
    )
    return part
