"""Check a download of COCO 2017 and COCO-Stuff, unpack it, make a copy with smaller training images.

    python scripts/prepare_coco.py DIR                          check: files, curated ids, a sample decoded
    python scripts/prepare_coco.py DIR --unpack                 unpack the archives in DIR, then check
    python scripts/prepare_coco.py DIR --resize 320 --to DIR3   and write a copy, for training without labels

Every command can be interrupted; give it again to continue. The exit code is 0 only if everything that is needed
exists. No image of COCO has a side of more than 640 pixels, so --resize 640 changes none of them.
"""

import sys

from src.data.coco_stuff import curated_ids
from src.data.preparation.command import prepare
from src.data.preparation.downloads import Archive, Ids, Part

COCO = "http://images.cocodataset.org"
STUFF = "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset"
TRAIN = Archive("train2017.zip", f"{COCO}/zips/train2017.zip", 19_336_861_798)
VAL = Archive("val2017.zip", f"{COCO}/zips/val2017.zip", 815_585_330)
UNLABELLED = Archive("unlabeled2017.zip", f"{COCO}/zips/unlabeled2017.zip", 20_126_613_414)
ANNOTATIONS = Archive("annotations_trainval2017.zip", f"{COCO}/annotations/annotations_trainval2017.zip", 252_907_541)
# COCO-Stuff's page gives a rounded size, 659 MB. The archive holds train2017 and val2017, the names of COCO's own
# folders, so it is unpacked into a folder of its own.
MAPS = Archive(
    "stuffthingmaps_trainval2017.zip", f"{STUFF}/stuffthingmaps_trainval2017.zip", 659_000_000, into="stuffthingmaps"
)
CURATED_TRAIN = Ids("the curated list of train", 49_629, lambda root: curated_ids("train"))
CURATED_VAL = Ids("the curated list of val", 2_175, lambda root: curated_ids("val"))
PARTS = (
    Part(
        folder="train2017",
        pattern="*.jpg",
        count=118_287,
        archives=(TRAIN,),
        kind="images",
        in_copy="resized",
        ids=(CURATED_TRAIN,),
    ),
    Part(
        folder="val2017",
        pattern="*.jpg",
        count=5_000,
        archives=(VAL,),
        kind="images",
        in_copy="unchanged",
        ids=(CURATED_VAL,),
    ),
    Part(
        folder="stuffthingmaps/val2017",
        pattern="*.png",
        count=5_000,
        archives=(MAPS,),
        kind="labels",
        in_copy="unchanged",
        ids=(CURATED_VAL,),
    ),
    Part(
        folder="stuffthingmaps/train2017",
        pattern="*.png",
        count=118_287,
        archives=(MAPS,),
        kind="labels",
        in_copy="left out",
        ids=(CURATED_TRAIN,),
        optional="for training with labels",
    ),
    Part(
        folder="annotations",
        pattern="instances_train2017.json",
        count=1,
        archives=(ANNOTATIONS,),
        kind="other",
        in_copy="left out",
        optional="for training detection",
    ),
    Part(
        folder="annotations",
        pattern="instances_val2017.json",
        count=1,
        archives=(ANNOTATIONS,),
        kind="other",
        in_copy="unchanged",
        optional="for scoring detection",
    ),
    Part(
        folder="unlabeled2017",
        pattern="*.jpg",
        count=123_403,
        archives=(UNLABELLED,),
        kind="images",
        in_copy="resized",
        optional="for pre-training on more images",
    ),
)

if __name__ == "__main__":
    sys.exit(prepare(__doc__, PARTS))
