"""Check a download of Cityscapes, unpack it, make a copy with smaller training images.

    python scripts/prepare_cityscapes.py DIR                          check: files, labels of images, a sample decoded
    python scripts/prepare_cityscapes.py DIR --unpack                 unpack the archives in DIR, then check
    python scripts/prepare_cityscapes.py DIR --resize 320 --to DIR3   and write a copy, for training without labels

Every command can be interrupted; give it again to continue. The exit code is 0 only if everything that is needed
exists. In a copy, the images of train and train_extra are resized, those of val and their labels are unchanged, and
other labels are left out.
"""

import sys

from src.data.preparation.command import prepare
from src.data.preparation.downloads import Archive, Ids, Part

PAGE = "https://www.cityscapes-dataset.com/downloads/ (log in with an account of that page)"
IMAGES = Archive("leftImg8bit_trainvaltest.zip", PAGE, 11_592_327_197)
LABELS = Archive("gtFine_trainvaltest.zip", PAGE, 252_567_705)
EXTRA = Archive("leftImg8bit_trainextra.zip", PAGE, 44_000_000_000)  # the page gives a rounded size
IMAGE, LABEL = "*/*_leftImg8bit.png", "*/*_gtFine_labelIds.png"

TRAIN = Part(
    folder="leftImg8bit/train",
    pattern=IMAGE,
    count=2_975,
    archives=(IMAGES,),
    kind="images",
    in_copy="resized",
)
VAL = Part(
    folder="leftImg8bit/val",
    pattern=IMAGE,
    count=500,
    archives=(IMAGES,),
    kind="images",
    in_copy="unchanged",
)
PARTS = (
    TRAIN,
    VAL,
    Part(
        folder="gtFine/train",
        pattern=LABEL,
        count=2_975,
        archives=(LABELS,),
        kind="labels",
        in_copy="left out",
        ids=(Ids("the images of train", 2_975, TRAIN.all_ids),),
    ),
    Part(
        folder="gtFine/val",
        pattern=LABEL,
        count=500,
        archives=(LABELS,),
        kind="labels",
        in_copy="unchanged",
        ids=(Ids("the images of val", 500, VAL.all_ids),),
    ),
    Part(
        folder="leftImg8bit/test",
        pattern=IMAGE,
        count=1_525,
        archives=(IMAGES,),
        kind="images",
        in_copy="left out",
        optional="for the benchmark's server, as its labels are not public",
    ),
    Part(
        folder="leftImg8bit/train_extra",
        pattern=IMAGE,
        count=19_997,  # 19,998 are published, of which one is completely black
        archives=(EXTRA,),
        kind="images",
        in_copy="resized",
        optional="for training on more images",
        broken=("troisdorf_000000_000073_leftImg8bit.png",),
    ),
)

if __name__ == "__main__":
    sys.exit(prepare(__doc__, PARTS))
