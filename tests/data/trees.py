"""Tiny generated data sets on disk, in the layouts of the real ones."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from src.data.scenes import render

CITIES = {"train": {"aachen": 5, "bochum": 3}, "val": {"frankfurt": 3, "lindau": 2}, "test": {"berlin": 1}}
LABEL_IDS = np.array([23, 7, 21, 11, 26, 24, 3, 0], dtype=np.uint8)  # of the scenes' 8 classes
POTSDAM_LISTS = {"unlabelled_train": [6, 2, 11, 7], "labelled_train": [0, 4, 9, 12], "labelled_test": [10, 1, 3, 8, 5]}


def cityscapes_tree(root: Path) -> Path:
    """8 training, 5 validation and 1 test images of 48 x 24 pixels, with fine labels but for the last."""
    for split, cities in CITIES.items():
        for city, count in cities.items():
            for kind in ("leftImg8bit", "gtFine"):
                (root / kind / split / city).mkdir(parents=True)
            for number in range(count):
                name = f"{city}_{number:06d}_000019"
                image, label = (array[:24] for array in render(len(city), number, 48))
                Image.fromarray(image).save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
                if split != "test":
                    labels = Image.fromarray(LABEL_IDS[label])
                    labels.save(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png")
    return root


def potsdam_tree(root: Path) -> Path:
    """8 training and 5 test images of 40 x 40 pixels, 4 of the first without labels."""
    for folder in ("imgs", "gt"):
        (root / folder).mkdir(parents=True)
    for name, numbers in POTSDAM_LISTS.items():
        (root / f"{name}.txt").write_text("".join(f"{number}\n" for number in numbers), encoding="ascii")
        for number in numbers:
            image, label = render(3, number, 40)
            savemat(root / "imgs" / f"{number}.mat", {"img": np.dstack([image, image[:, :, 0] // 2])})
            if name != "unlabelled_train":
                savemat(root / "gt" / f"{number}.mat", {"gt": (label % 6).astype(np.int32)})
    return root


def voc_tree(root: Path) -> Path:
    """4 training and 3 validation images of 40 x 40 pixels in VOC's layout; labels with a palette, or grey."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for split, numbers in {"train": range(4), "val": range(4, 7)}.items():
        names = [f"2007_{number:06d}" for number in numbers]
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names) + "\n", encoding="ascii")
        for number, name in zip(numbers, names, strict=True):
            image, label = render(5, number, 40)
            label = label.astype(np.uint8)
            label[:2] = 255
            Image.fromarray(image).save(root / "JPEGImages" / f"{name}.jpg")
            saved = Image.fromarray(label)
            if number % 2 == 0:
                saved.putpalette(list(range(256)) * 3)
            saved.save(root / "SegmentationClass" / f"{name}.png")
    return root
