"""Sheets that show what a network without labels has learned: image, clusters and overlay side by side."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from src.drawing.colours import BACKGROUND, INK, index_image, overlay, palette

GAP, BLOCK_GAP, MARGIN, HEADING, TEXT = 6, 30, 12, 26, 15
ENTRY, LEGEND_ROW, BOX, LISTED = 132, 26, 16, 40
MOST_COLOURS = 255  # clusters with larger numbers get the colours again from the first one on
HEADINGS = ("image", "clusters", "overlay")


def cluster_sheet(rows: Sequence[tuple[Image.Image, Tensor]], num_clusters: int) -> Image.Image | None:
    """Three pictures per image, in two columns, and a legend of the clusters by their share of all pixels.

    Args:
        rows: an RGB image and the clusters (H, W) of its pixels, 0 to `num_clusters` - 1.
        num_clusters: number of clusters; it decides the colours, so that a cluster has one colour in every sheet.

    Returns:
        the sheet; None without images.
    """
    if not rows:
        return None
    colours = palette(min(num_clusters, MOST_COLOURS))
    painted = [
        (image, index_image((clusters.numpy() % MOST_COLOURS).astype(np.uint8), colours)) for image, clusters in rows
    ]
    triples = [(image, labels.convert("RGB"), overlay(image, labels)) for image, labels in painted]
    columns = 1 if len(rows) < 3 else 2
    width = max(image.width for image, _ in rows)
    block = 3 * (width + GAP) - GAP
    whole = 2 * MARGIN + columns * (block + BLOCK_GAP) - BLOCK_GAP
    bottoms = [MARGIN + HEADING] * columns
    places = []
    for image, _ in rows:  # each into the column that is shorter so far
        column = bottoms.index(min(bottoms))
        places.append((MARGIN + column * (block + BLOCK_GAP) + (width - image.width) // 2, bottoms[column]))
        bottoms[column] += image.height + GAP
    entries = legend_entries([clusters for _, clusters in rows], num_clusters)
    per_line = max(1, (whole - 2 * MARGIN) // ENTRY)
    legend_top = max(bottoms) + GAP
    sheet = Image.new("RGB", (whole, legend_top + -(-len(entries) // per_line) * LEGEND_ROW + MARGIN), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=TEXT)
    for column in range(columns):
        for part, heading in enumerate(HEADINGS):
            draw.text((MARGIN + column * (block + BLOCK_GAP) + part * (width + GAP), MARGIN), heading, INK, font)
    for (x, y), pictures in zip(places, triples, strict=True):
        for part, picture in enumerate(pictures):
            sheet.paste(picture, (x + part * (width + GAP), y))
    for place, (cluster, words) in enumerate(entries):
        x, y = MARGIN + place % per_line * ENTRY, legend_top + place // per_line * LEGEND_ROW
        if cluster is not None:
            fill = tuple(int(value) for value in colours[cluster % MOST_COLOURS])
            draw.rectangle((x, y + 1, x + BOX, y + 1 + BOX), fill, outline=INK)
        draw.text((x + BOX + GAP, y), words, INK, font)
    return sheet


def legend_entries(maps: Sequence[Tensor], num_clusters: int) -> list[tuple[int | None, str]]:
    """The clusters that occur, the most frequent first, with their share of all pixels; then the number of others."""
    counts = np.sum([np.bincount(clusters.numpy().ravel(), minlength=num_clusters) for clusters in maps], axis=0)
    order = [int(cluster) for cluster in np.argsort(-counts, kind="stable") if counts[cluster]]
    shares = counts / counts.sum()
    entries: list[tuple[int | None, str]] = [(k, f"{k}: {100 * shares[k]:.1f} %") for k in order[:LISTED]]
    hidden, unused = len(order) - LISTED, num_clusters - len(order)
    entries += [(None, f"{hidden} more")] if hidden > 0 else []
    return entries + ([(None, f"{unused} unused")] if unused else [])
