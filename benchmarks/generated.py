"""Data that looks like the real one to a program: sizes, formats and numbers of objects, with generated content."""

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

DIFFERENT = 64  # images; the others are copies of their bytes
FEW = 6  # the same for images that take a second to encode
CLASSES = ("cat", "dog", "bird")
TRAIN_IDS = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33], np.uint8)


def photograph(width: int, height: int, seed: int) -> Image.Image:
    """Coarse colours with noise: a JPEG of it has about as many bytes as one of a photograph."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (max(1, height // 8), max(1, width // 8), 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = smooth + generator.integers(-12, 13, smooth.shape, dtype=np.int16)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encoded(width: int, height: int, seed: int, kind: str = "JPEG") -> bytes:
    """The bytes of a photograph in a file."""
    content = io.BytesIO()
    photograph(width, height, seed).save(content, kind, quality=90)
    return content.getvalue()


def write_images(folder: Path, images: int, size: tuple[int, int]) -> None:
    """Write JPEG files into ten folders; `DIFFERENT` of them differ."""
    stored = [encoded(*size, seed) for seed in range(min(images, DIFFERENT))]
    for number in range(images):
        path = folder / f"class{number % 10}" / f"image{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stored[number % len(stored)])


def write_cityscapes(root: Path, images: int, width: int) -> None:
    """Cityscapes' layout: PNG images twice as wide as high, labels of all 19 classes. One image is validated."""
    for kind in ("leftImg8bit", "gtFine"):
        for split in ("train", "val"):
            (root / kind / split / "town").mkdir(parents=True)

    def paths(number: int, split: str = "train") -> tuple[Path, Path]:
        name = f"town_{number:06d}_000019"
        shown = root / "leftImg8bit" / split / "town" / f"{name}_leftImg8bit.png"
        return shown, root / "gtFine" / split / "town" / f"{name}_gtFine_labelIds.png"

    for number in range(images + 1):
        pair = paths(number) if number < images else paths(number, "val")
        if FEW <= number < images:  # an image of Cityscapes has megabytes, so the others are links
            for source, target in zip(paths(number % FEW), pair, strict=True):
                os.link(source, target)
            continue
        pair[0].write_bytes(encoded(width, width // 2, number, "PNG"))
        coarse = np.random.default_rng(number).choice(TRAIN_IDS, (8, 16))
        Image.fromarray(coarse).resize((width, width // 2), Image.Resampling.NEAREST).save(pair[1])


def boxes(number: int, size: tuple[int, int], objects: int) -> list[list[int]]:
    """Boxes (x0, y0, x1, y1) inside an image."""
    generator = np.random.default_rng(number)
    found = []
    for _ in range(objects):
        width, height = (int(side * generator.uniform(0.1, 0.5)) + 1 for side in size)
        x0, y0 = int(generator.integers(size[0] - width)), int(generator.integers(size[1] - height))
        found.append([x0, y0, x0 + width, y0 + height])
    return found


def write_voc(root: Path, images: int, size: tuple[int, int], objects: int) -> None:
    """VOC's layout with the classes `CLASSES`, all images in `train`, the first one in `val` too."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    stored = [encoded(*size, seed) for seed in range(min(images, DIFFERENT))]
    for number in range(images + 1):
        (root / "JPEGImages" / f"{number:06d}.jpg").write_bytes(stored[number % len(stored)])
        described = "".join(
            f"<object><name>{CLASSES[place % 3]}</name><difficult>0</difficult><bndbox><xmin>{x0 + 1}</xmin>"
            f"<ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for place, (x0, y0, x1, y1) in enumerate(boxes(number, size, objects))
        )
        stated = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
        (root / "Annotations" / f"{number:06d}.xml").write_text(f"<annotation>{stated}{described}</annotation>")
    for split, numbers in (("train", range(images)), ("val", range(images, images + 1))):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{number:06d}\n" for number in numbers))


def write_coco(root: Path, images: int, size: tuple[int, int], objects: int) -> None:
    """COCO's layout: boxes and polygons of 24 corners of the classes `CLASSES`; one image is validated."""
    stored = [encoded(*size, seed) for seed in range(min(images, DIFFERENT))]
    (root / "annotations").mkdir(parents=True)
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(CLASSES)]
    for split, numbers in (("train", range(images)), ("val", range(images, images + 1))):
        (root / f"{split}2017").mkdir()
        listed, annotations = list[dict[str, object]](), list[dict[str, object]]()
        for number in numbers:
            (root / f"{split}2017" / f"{number:012d}.jpg").write_bytes(stored[number % len(stored)])
            listed.append({"id": number, "file_name": f"{number:012d}.jpg", "width": size[0], "height": size[1]})
            for place, box in enumerate(boxes(number, size, objects)):
                annotations.append(_object(len(annotations) + 1, number, place % 3 + 1, box))
        content = {"images": listed, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))


def _object(number: int, image: int, category: int, box: Sequence[int]) -> dict[str, object]:
    """An ellipse inside a box, as COCO's file has it."""
    x0, y0, x1, y1 = box
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    corners = np.stack([(x0 + x1 + (x1 - x0) * np.cos(angles)) / 2, (y0 + y1 + (y1 - y0) * np.sin(angles)) / 2], 1)
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": float((x1 - x0) * (y1 - y0) * np.pi / 4),
        "iscrowd": 0,
        "segmentation": [corners.round(2).flatten().tolist()],
    }
