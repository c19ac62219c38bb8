"""A picture that explains the colours of label maps."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from src.drawing.colours import BACKGROUND, INK

ROW, MARGIN, GAP, BOX, SIZE, COLUMN_ROWS = 26, 12, 10, 18, 15, 32


def legend(colours: NDArray[np.uint8], lines: Sequence[str], title: str = "") -> Image.Image:
    """A box in each colour (N, 3) with its line of text beside it, in columns, below a title."""
    font = ImageFont.load_default(size=SIZE)
    columns = max(1, -(-len(lines) // COLUMN_ROWS))
    rows = -(-len(lines) // columns)
    width = BOX + GAP + max((int(font.getlength(line)) for line in lines), default=0) + 2 * GAP
    top = MARGIN + (ROW if title else 0)
    whole = max(columns * width, int(font.getlength(title))) + 2 * MARGIN
    picture = Image.new("RGB", (whole, top + rows * ROW + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    if title:
        draw.text((MARGIN, MARGIN), title, INK, font)
    for place, (colour, line) in enumerate(zip(colours, lines, strict=True)):
        x, y = MARGIN + place // rows * width, top + place % rows * ROW
        fill = tuple(int(value) for value in colour)
        draw.rectangle((x, y + 2, x + BOX, y + 2 + BOX), fill, outline=INK)
        draw.text((x + BOX + GAP, y + 2), line, INK, font)
    return picture
