"""Pictures of detections: boxes with names and scores, and masks, over the image."""

from collections.abc import Mapping, Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.v2.functional import resize, to_pil_image
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from src.drawing.colours import BACKGROUND, INK, palette
from src.short_side import short_side_size

SIDE, MIN_SCORE, MOST = 320, 0.3, 20  # longer side of a tile; detections are shown from this score, at most so many
GAP, HEADING, TEXT, OPACITY, LINE, MIDDLE = 4, 18, 11, 0.45, 2, 140
HEADINGS = ("image", "truth", "prediction")
IGNORED = (255, 255, 255)  # colour of objects that do not count
Objects = Mapping[str, Tensor]


def detection_sheet(samples: Sequence[tuple[Tensor, Objects, Objects]], names: Sequence[str]) -> Image.Image:
    """One row per image: the image, its objects, and the detections with a score from `MIN_SCORE`.

    Args:
        samples: image (3, H, W) uint8, its objects, and its detections by falling score, see `drawn`.
        names: names of the classes.
    """
    rows = [tiles(*sample, names) for sample in samples]
    width = max(row[0].width for row in rows)
    size = (3 * (width + GAP) + GAP, HEADING + sum(row[0].height + GAP for row in rows))
    sheet = Image.new("RGB", size, BACKGROUND)
    draw, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(size=TEXT), HEADING
    for part, heading in enumerate(HEADINGS):
        draw.text((GAP + part * (width + GAP), 2), heading, INK, font)
    for row in rows:
        for part, tile in enumerate(row):
            sheet.paste(tile, (GAP + part * (width + GAP), top))
        top += row[0].height + GAP
    return sheet


def tiles(image: Tensor, truth: Objects, found: Objects, names: Sequence[str]) -> list[Image.Image]:
    """The three pictures of a row, of equal size, see `detection_sheet`."""
    sure = torch.where(found["scores"] >= MIN_SCORE)[0][:MOST]
    shown = {key: value[sure] for key, value in found.items()}
    return [to_pil_image(one) for one in (scaled(image), drawn(image, truth, names), drawn(image, shown, names))]


def drawn(image: Tensor, objects: Objects, names: Sequence[str]) -> Tensor:
    """An image (3, H, W) uint8 with its objects, scaled to a longer side of `SIDE`; the arguments of `with_objects`."""
    small = scaled(image)
    boxes = objects["boxes"] * torch.tensor([small.shape[2] / image.shape[2], small.shape[1] / image.shape[1]] * 2)
    return with_objects(small, {**objects, "boxes": boxes}, names)


def with_objects(image: Tensor, objects: Objects, names: Sequence[str]) -> Tensor:
    """An image with its objects.

    Args:
        image: (3, H, W) uint8.
        objects: `boxes` (n, 4) in pixels, `labels` (n,), perhaps `masks` (n, h, w) of the whole image in any size,
            `scores` (n,) and `ignored` (n,).
        names: names of the classes.
    """
    labels = objects["labels"].tolist()
    if not labels:
        return image
    ignored = objects["ignored"].tolist() if "ignored" in objects else [False] * len(labels)
    colours = [tuple(map(int, row)) for row in palette(len(names))]
    used = [IGNORED if left_out else colours[label] for label, left_out in zip(labels, ignored, strict=True)]
    if "masks" in objects:
        masks = resize(objects["masks"].byte(), list(image.shape[1:])).bool()
        image = draw_segmentation_masks(image, masks, OPACITY, used)
    texts = [names[label] for label in labels]
    if "scores" in objects:
        texts = [f"{text} {score:.2f}" for text, score in zip(texts, objects["scores"].tolist(), strict=True)]
    written = [INK if luminance(one) > MIDDLE else BACKGROUND for one in used]
    boxes, shown = objects["boxes"], {"label_colors": written, "label_background_colors": used, "fill_labels": True}
    return draw_bounding_boxes(image, boxes, texts, used, width=LINE, **shown)


def luminance(colour: tuple[int, ...]) -> float:
    """How bright a colour looks, 0 to 255 (ITU-R BT.601)."""
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue


def scaled(image: Tensor) -> Tensor:
    """An image (3, H, W) uint8 with a longer side of `SIDE`."""
    size = short_side_size(image.shape[1], image.shape[2], SIDE, SIDE)
    return resize(image, list(size), antialias=True)
