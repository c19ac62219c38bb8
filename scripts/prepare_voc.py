"""Check a download of PASCAL VOC 2007 and 2012, unpack it, make a copy with smaller training images.

    python scripts/prepare_voc.py DIR                          check: files, ids of the lists, a sample decoded
    python scripts/prepare_voc.py DIR --unpack                 unpack the archives in DIR, then check
    python scripts/prepare_voc.py DIR --resize 320 --to DIR3   and write a copy, for training without labels

Every command can be interrupted; give it again to continue. The exit code is 0 only if everything that is needed
exists. In a copy, the images to score (val of segmentation 2012, test of detection 2007) and their labels are
unchanged, all other images are resized, and other labels and boxes are left out. Most images of VOC have 500 x 375
pixels, so --resize 640 changes nearly none of them.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from src.data.preparation.command import prepare
from src.data.preparation.downloads import Archive, Ids, Part
from src.images.listing import read_list

HOST = "http://host.robots.ox.ac.uk/pascal/VOC"
TRAINVAL12 = Archive("VOCtrainval_11-May-2012.tar", f"{HOST}/voc2012/VOCtrainval_11-May-2012.tar", 1_999_639_040)
TRAINVAL07 = Archive("VOCtrainval_06-Nov-2007.tar", f"{HOST}/voc2007/VOCtrainval_06-Nov-2007.tar", 460_032_000)
TEST07 = Archive("VOCtest_06-Nov-2007.tar", f"{HOST}/voc2007/VOCtest_06-Nov-2007.tar", 451_020_800)
# The labels of SBD as PNG files. The link comes from github.com/DrSleep/tensorflow-deeplab-resnet.
AUGMENTED = Archive(
    "SegmentationClassAug.zip",
    "https://www.dropbox.com/s/oeu149j8qtbs1x0/SegmentationClassAug.zip",
    0,
    into="VOCdevkit/VOC2012",
)
VOC07, VOC12 = "VOCdevkit/VOC2007", "VOCdevkit/VOC2012"


def listed(year: str, name: str, count: int) -> Ids:
    """The ids of one of VOC's lists."""
    path = f"{year}/ImageSets/{name}.txt"

    def read(root: Path) -> Sequence[str]:
        return read_list(root / path)

    return Ids(path, count, read)


TRAIN, VAL = listed(VOC12, "Segmentation/train", 1_464), listed(VOC12, "Segmentation/val", 1_449)
BOXES12 = listed(VOC12, "Main/trainval", 11_540)
BOXES07, SCORED07 = listed(VOC07, "Main/trainval", 5_011), listed(VOC07, "Main/test", 4_952)


def list_file(year: str, folder: str, pattern: str, count: int, archive: Archive) -> Part:
    """The part of a list of ids, which a copy holds unchanged."""
    folder = f"{year}/ImageSets/{folder}"
    return Part(folder=folder, pattern=pattern, count=count, archives=(archive,), kind="other", in_copy="unchanged")


PARTS = (
    list_file(VOC12, "Segmentation", "*.txt", 3, TRAINVAL12),
    list_file(VOC12, "Main", "trainval.txt", 1, TRAINVAL12),
    Part(
        folder=f"{VOC12}/JPEGImages",
        pattern="*.jpg",
        count=17_125,
        archives=(TRAINVAL12,),
        kind="images",
        in_copy="resized",
        ids=(TRAIN, VAL, BOXES12),
        scored=VAL,
    ),
    Part(
        folder=f"{VOC12}/SegmentationClass",
        pattern="*.png",
        count=2_913,
        archives=(TRAINVAL12,),
        kind="labels",
        in_copy="left out",
        ids=(TRAIN, VAL),
        scored=VAL,
    ),
    Part(
        folder=f"{VOC12}/Annotations",
        pattern="*.xml",
        count=17_125,
        archives=(TRAINVAL12,),
        kind="other",
        in_copy="left out",
        ids=(BOXES12,),
    ),
    Part(
        folder=f"{VOC12}/SegmentationClassAug",
        pattern="*.png",
        count=12_031,  # 10,582 for training (train_aug) and the 1,449 of val
        archives=(AUGMENTED,),
        kind="labels",
        in_copy="left out",
        ids=(TRAIN, VAL),
        optional="for training segmentation on train_aug, which is all of these files that are not in val",
    ),
    list_file(VOC07, "Main", "trainval.txt", 1, TRAINVAL07),
    list_file(VOC07, "Main", "test.txt", 1, TEST07),
    Part(
        folder=f"{VOC07}/JPEGImages",
        pattern="*.jpg",
        count=9_963,
        archives=(TRAINVAL07, TEST07),
        kind="images",
        in_copy="resized",
        ids=(BOXES07, SCORED07),
        scored=SCORED07,
    ),
    Part(
        folder=f"{VOC07}/Annotations",
        pattern="*.xml",
        count=9_963,
        archives=(TRAINVAL07, TEST07),
        kind="other",
        in_copy="left out",
        ids=(BOXES07, SCORED07),
        scored=SCORED07,
    ),
)

if __name__ == "__main__":
    sys.exit(prepare(__doc__, PARTS))
