"""Training on one data set, with probes that are fitted on some labelled images and scored on others."""

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from typing import Any

from src.checks import check_text
from src.data.checks import existing_root, require_list
from src.data.classes import read_classes
from src.data.datamodule import ImageData
from src.data.images import Images, LabelledImages
from src.data.labelled_folder import LAYOUT, FolderImages
from src.data.labelled_part import labelled_part
from src.data.occurrence import warn_of_absent_classes
from src.data.overlap import shared_files, warn_of_overlap
from src.data.reading import Loader
from src.errors import DenseSiamError
from src.metrics import Category


class Probed(ImageData):
    """Data to train on, with labelled images to fit probes on and other labelled images to score the probes on.

    Views, batch size, loader processes and `on_corrupt` are those of `data`. An unreadable image that is skipped counts
    neither for fitting the probes nor in the scores.

    Args:
        data: the data whose settings for loading are used.
        train: function that lists the images to train on, without labels.
        fitted_on: function that lists the labelled images to fit probes on.
        val: the images to score.
        classes: the classes of the labels.
    """

    def __init__(
        self,
        data: ImageData,
        train: Callable[[], Images],
        fitted_on: Callable[[], LabelledImages],
        val: LabelledImages,
        classes: Sequence[Category],
    ) -> None:
        super().__init__(
            train=train,
            val=val,
            classes=classes,
            views=data.views,
            protocol=data.protocol,
            batch_size=data.batch_size,
            num_workers=data.num_workers,
            seed=data.seed,
            on_corrupt=data.on_corrupt,
            augment_on=data.augment_on,
        )
        self.list_fitted_on = fitted_on

    @cached_property
    def fitted_on(self) -> LabelledImages:
        """The labelled images that probes are fitted on."""
        return self.list_fitted_on()

    def setup(self, stage: str) -> None:
        first = not self.labels_checked
        super().setup(stage)
        if first:
            warn_of_absent_classes(self.fitted_on, self.classes)

    def describe(self) -> dict[str, Any]:
        return {
            **super().describe(),
            "probes": f"linear (not matched) and k-means, fitted on {len(self.fitted_on)} images, {self.fitted_on}",
        }

    def labelled_dataloader(self) -> Loader | None:
        """The images to fit the probe on, with labels, prepared as for scoring. Every process reads all of them."""
        return self._labelled_loader(self.fitted_on, range(len(self.fitted_on)))


def labelled_folder(data: ImageData, root: str, train_splits: Sequence[str], val_split: str) -> Probed:
    """`probe=labelled_folder`: probes are fitted and scored on a labelled folder; the labels of `data` are never used.

    Args:
        data: the data to train on.
        root: the labelled folder, see `src.data.labelled_folder.LabelledFolder`.
        train_splits: splits to fit the probe on, with labels.
        val_split: split to score.

    Raises:
        DenseSiamError: the root or a part of its layout is missing, or the probe would be fitted on the split to score.
    """
    folder = existing_root(root, LAYOUT, key="probe.root")
    require_list("probe.train_splits", train_splits)
    check_text("probe.val_split", val_split)
    if val_split in train_splits:
        raise DenseSiamError(
            f"probe.train_splits is [{','.join(train_splits)}] and probe.val_split {val_split}: expected the probe "
            "to be fitted on other images than it is scored on; choose other splits"
        )
    fitted_on = FolderImages(folder, train_splits, labelled=True)
    val = FolderImages(folder, [val_split], labelled=True)
    warn_of_overlap(map(fitted_on.image_name, shared_files(fitted_on, val)), "fitted on")

    def train() -> Images:
        warn_of_overlap(map(data.train.image_name, shared_files(data.train, val)))
        return data.train

    return Probed(data, train, lambda: fitted_on, val, read_classes(folder / "classes.json"))


def own_labels(data: ImageData) -> Probed:
    """`probe=own_labels`: probes are fitted on the labels of the training images, and scored on `data.val`.

    Training splits without any labels are left out of the fit, see `labelled_part`.

    Raises:
        DenseSiamError: the data has no labels to score, or, when the training images are listed, none of these has
            labels, or a split with labels lacks some.
    """
    if data.val is None:
        raise DenseSiamError("probe=own_labels, but the data has no labels: set probe=labelled_folder probe.root=DIR")

    def fitted_on() -> LabelledImages:
        return labelled_part(data.train, "probe=own_labels", "set probe=labelled_folder probe.root=DIR")

    return Probed(data, lambda: data.train, fitted_on, data.val, data.classes)


def unscored(data: ImageData) -> ImageData:
    """`probe=unscored`: the same data without its labels, so that nothing is scored."""
    hidden = copy(data)
    hidden.val, hidden.classes = None, ()
    return hidden
