"""Classes that never occur in the labels that are used, named before a network is trained or scored."""

from collections.abc import Sequence

import numpy as np
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from src.data.images import IGNORE_INDEX, LabelledImages, UnreadableFileError
from src.errors import DenseSiamError
from src.metrics import Category

READ = 200  # label maps at most: a few seconds
NAMED = 10  # classes at most in the warning; beside the score all are


@rank_zero_only
def warn_of_absent_classes(images: LabelledImages, classes: Sequence[Category]) -> None:
    """Warn of classes that no label map has.

    Of more than `READ` label maps so many are read, evenly spread. These can miss a rare class, so that then a warning
    needs more: that only one class occurs. Files that can't be decoded are left to the scoring, which may skip them.

    Args:
        images: all of them count as one set.
        classes: of the labels.

    Raises:
        DenseSiamError: a label map of another kind than `LabelledImages` promises, or with a value that is no class;
            or none of them has a pixel to score.
    """
    chosen = np.unique(np.linspace(0, len(images) - 1, min(READ, len(images))).round().astype(int)).tolist()
    pixels = np.zeros(IGNORE_INDEX + 1, np.int64)
    for index in chosen:
        try:
            found = np.bincount(np.asarray(images.label(index)).ravel(), minlength=len(pixels))
        except UnreadableFileError:
            continue
        if found[len(classes) : IGNORE_INDEX].any():
            value = len(classes) + int(found[len(classes) : IGNORE_INDEX].argmax())
            raise DenseSiamError(
                f"labels {images.name(index)} hold {value}: expected 0 to {len(classes) - 1} for the {len(classes)} "
                f"classes, and {IGNORE_INDEX} for no class"
            )
        pixels += found
    absent = [category.name for category, count in zip(classes, pixels[: len(classes)], strict=True) if not count]
    if len(absent) == len(classes) and pixels.any() and len(chosen) == len(images):
        raise DenseSiamError(
            f"no pixel would be scored: all labels of {images} are {IGNORE_INDEX}, which means not scored; expected "
            f"classes 0 to {len(classes) - 1}"
        )
    few = len(classes) - len(absent) <= 1
    if not pixels.any() or not absent or not (few or len(chosen) == len(images)):
        return
    spread = "" if len(chosen) == len(images) else f" of {len(images)}, evenly spread,"
    others = f" and {len(absent) - NAMED} others" if len(absent) > NAMED else ""
    ignored = pixels[IGNORE_INDEX] / pixels.sum()
    mask = f"; {IGNORE_INDEX}, which means not scored, is the label of {ignored:.0%} of their pixels" if ignored else ""
    advice = " (a mask of 0 and 255 has to be one of 0 and 1)" if ignored and few and len(classes) == 2 else ""
    rank_zero_warn(
        f"{len(absent)} of {len(classes)} classes never occur in the {len(chosen)} label maps{spread} of {images}: "
        f"{', '.join(absent[:NAMED])}{others}{mask}{advice}"
    )
