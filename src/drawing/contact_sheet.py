"""Sheets that show image, label and prediction side by side."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from src.drawing.colours import BACKGROUND, INK, paint, palette

GAP, LEGEND_ROW, HEADING = 4, 18, 18


def fitting(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale a picture to fit into a size, without new colours and with the same aspect ratio."""
    return picture if picture.size == size else ImageOps.contain(picture, size, Image.Resampling.NEAREST)


def contact_sheet(rows: Sequence[tuple[Tensor, Tensor, Tensor]], class_names: Sequence[str]) -> Image.Image:
    """One row per image: the image, its label and the prediction, with a legend below.

    Args:
        rows: image (3, H, W) uint8, label (H, W), predicted classes (H, W).
        class_names: in order of their ids.
    """
    colours = palette(len(class_names))
    tiles = [
        (image.permute(1, 2, 0).numpy(), paint(label, colours), paint(pred, colours)) for image, label, pred in rows
    ]
    height, width = tiles[0][0].shape[:2]
    columns = max(1, -(-len(tiles) // 4))  # blocks of three pictures side by side, four rows each
    lines = -(-len(tiles) // columns)
    block = 3 * (width + GAP) + 3 * GAP
    names = [*class_names, "no class"]
    per_line = max(1, columns * block // 120)
    legend_lines = -(-len(names) // per_line)
    size = (columns * block, HEADING + lines * (height + GAP) + legend_lines * LEGEND_ROW + GAP)
    sheet = Image.new("RGB", size, BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for place, tile in enumerate(tiles):
        column, line = place % columns, place // columns
        for part, (pixels, heading) in enumerate(zip(tile, ("image", "label", "prediction"), strict=True)):
            x = column * block + part * (width + GAP) + GAP
            tile_picture = fitting(Image.fromarray(pixels), (width, height))
            sheet.paste(tile_picture, (x, HEADING + line * (height + GAP)))
            if line == 0:
                draw.text((x, 2), heading, INK, font)
    for place, name in enumerate(names):
        x, y = place % per_line * 120 + GAP, HEADING + lines * (height + GAP) + place // per_line * LEGEND_ROW
        draw.rectangle((x, y + 2, x + 12, y + 14), tuple(int(value) for value in colours[place]))
        draw.text((x + 17, y + 2), name, INK, font)
    return sheet
