"""A warning, before a network is trained or scored, about classes that never occur in the labels."""

from collections.abc import Sequence

import numpy as np
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from src.data.images import IGNORE_INDEX, LabelledImages
from src.errors import DenseSiamError
from src.images.reading import UnreadableFileError
from src.metrics import Category

READ = 200  # label maps that are read at most, which takes a few seconds
NAMED = 10  # classes that the warning names at most; the printed scores name all


@rank_zero_only
def warn_of_absent_classes(images: LabelledImages, classes: Sequence[Category]) -> None:
    """Warn of classes that occur in no label map.

    At most `READ` label maps are read, evenly spread over the images. Where they are only a part of all, they can miss
    a rare class; then the warning is given only if at most one class occurs. Files that can't be decoded are skipped
    here: the scoring stops at them or skips them, as `data.on_corrupt` says.

    Args:
        images: the images with their label maps.
        classes: the classes of the labels.

    Raises:
        DenseSiamError: a label map is not of the kind that `LabelledImages` promises, or has a value that is not a
            class, or all label maps together have no pixel to score.
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
                f"labels {images.label_name(index)} hold {value}: expected 0 to {len(classes) - 1} for the "
                f"{len(classes)} classes, and {IGNORE_INDEX} for no class"
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
