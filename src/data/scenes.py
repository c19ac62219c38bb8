"""Small synthetic outdoor scenes with exact pixel labels: the demo data set, drawn from (seed, index), without files.

A scene is painted back to front in coordinates of the unit square (x to the right, y downwards), so that it looks the
same at every size. First come the stuff regions, each with a texture, then things with their cast shadows, then the
effects of the camera. Colours change over one pixel at an edge; labels change abruptly at the same edge.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from src.data.textures import (
    Array,
    Shape,
    Texture,
    ball,
    brick,
    cone,
    crate,
    grass,
    noise,
    ramp,
    sand,
    sky,
    unit,
    water,
)
from src.metrics import Category

Index: TypeAlias = NDArray[np.intp]

CLASSES: tuple[Category, ...] = (
    Category("sky", "stuff"),
    Category("water", "stuff"),
    Category("grass", "stuff"),
    Category("sand", "stuff"),
    Category("brick", "stuff"),
    Category("ball", "thing"),
    Category("crate", "thing"),
    Category("cone", "thing"),
)
SKY, WATER, GRASS, SAND, BRICK, BALL, CRATE, CONE = range(len(CLASSES))
TEXTURES: dict[int, Texture] = {SKY: sky, WATER: water, GRASS: grass, SAND: sand, BRICK: brick}
SHAPES: dict[int, Shape] = {BALL: ball, CRATE: crate, CONE: cone}
GROUNDS = (WATER, GRASS, SAND)


class Canvas(NamedTuple):
    """A picture while it is painted, as P = size * size pixels: places and labels `(P,)`, colours `(P, 3)`."""

    size: int
    x: Array
    y: Array
    colour: Array
    label: NDArray[np.uint8]


class Region(NamedTuple):
    """Stuff below a wavy line, y > top + slope (x - 1/2) + waves, and between left and right."""

    category: int
    top: float
    slope: float = 0.0
    wave: float = 0.0
    phase: float = 0.0
    left: float = -1.0
    right: float = 2.0

    def distance(self, x: Array, y: Array) -> Array:
        """The approximate distance from the points `(...)` to the outline, negative inside."""
        waves = np.sin(7.0 * x + self.phase) + 0.5 * np.sin(17.0 * x + 2.3 * self.phase)
        line = self.top + self.slope * (x - 0.5) + self.wave * waves
        distance: Array = np.maximum(line - y, np.maximum(self.left - x, x - self.right))
        return distance


class Thing(NamedTuple):
    """An object of the given height, which stands with its foot at (x, y)."""

    category: int
    x: float
    y: float
    height: float


def ground(rng: np.random.Generator, category: int, top: float) -> Region:
    """A band of ground below about `top`; the edge of water has smaller waves than the edge of a meadow."""
    wild = 0.25 if category == WATER else 1.0
    return Region(
        category,
        top,
        slope=wild * rng.uniform(-0.12, 0.12),
        wave=wild * rng.uniform(0.0, 0.025),
        phase=rng.uniform(0.0, 6.3),
    )


def wall(rng: np.random.Generator, top: float) -> Region:
    """A brick wall across the whole picture, or a shorter one that begins and ends in it."""
    width = rng.uniform(0.4, 0.75)
    left = rng.uniform(-0.15, 1.15 - width)
    if rng.uniform() < 0.4:
        return Region(BRICK, top, slope=rng.uniform(-0.1, 0.1))
    return Region(BRICK, top, left=left, right=left + width)


def layout(rng: np.random.Generator) -> list[Region]:
    """The stuff of one scene, back to front: ground under a sky, ground before a wall, or the ground alone."""
    kind = rng.choice(["open", "wall", "close"], p=[0.68, 0.20, 0.12])
    horizon = rng.uniform(0.22, 0.42) if kind == "open" else rng.uniform(0.3, 0.5)
    bands = rng.choice([1, 2, 3], p=[0.25, 0.5, 0.25]) if kind == "open" else rng.choice([1, 2], p=[0.6, 0.4])
    grounds = [int(category) for category in rng.permutation(GROUNDS)]
    steps = (np.arange(bands) + rng.uniform(-0.15, 0.15, bands)) / bands
    tops = horizon + (1.0 - horizon) * np.maximum(steps, 0.0)
    front = [ground(rng, category, float(top)) for category, top in zip(grounds, tops, strict=False)]
    if kind == "wall":
        return [Region(BRICK, -1.0), *front]
    if kind == "close":
        return [Region(grounds[-1], -1.0), *front]
    place = int(rng.integers(bands))
    if rng.uniform() < 0.55:
        front.insert(place, wall(rng, front[place].top - rng.uniform(0.16, 0.32)))
    return [Region(SKY, -1.0), *front]


def category_at(regions: list[Region], x: float, y: float) -> int:
    """The stuff seen at one point."""
    point = np.asarray([[x], [y]], np.float32)
    return [region.category for region in regions if region.distance(*point)[0] < 0][-1]


def arrange(rng: np.random.Generator, regions: list[Region]) -> list[Thing]:
    """One to five things, from far to near: nearer things are larger, and things on water are mostly balls."""
    horizon = max(0.3, min(region.top for region in regions if region.category in GROUNDS))
    found: list[Thing] = []
    for _ in range(rng.integers(1, 6)):
        category = int(rng.choice([BALL, CRATE, CONE], p=[0.34, 0.28, 0.38]))
        for _ in range(6):
            x, y = rng.uniform(0.05, 0.95), rng.uniform(horizon + 0.1, 1.02)
            below = category_at(regions, x, y)
            if below != BRICK and (category == BALL or below != WATER):
                break
        nearness = (y - horizon) / (1.02 - horizon)
        height = (0.15 + 0.24 * nearness) * rng.uniform(0.85, 1.2) * (1.15 if category == CONE else 1.0)
        found.append(Thing(category, x, y, height))
    return sorted(found, key=lambda thing: thing.y)


def canvas(size: int) -> Canvas:
    """An empty canvas; its pixels are points at (i + 1/2) / size."""
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(centres, centres)
    return Canvas(size, x.ravel(), y.ravel(), np.zeros((size**2, 3), np.float32), np.zeros(size**2, np.uint8))


def blend(page: Canvas, where: Index, distance: Array, colour: Array, category: int) -> None:
    """Paint N pixels in place with colours `(N, 3)`, blended over one pixel around distance 0; labels change at 0."""
    alpha = np.clip(0.5 - distance * page.size, 0.0, 1.0)[:, None]
    below = page.colour[where]
    page.colour[where] = below + (colour - below) * alpha
    page.label[where[distance < 0]] = category


def paint_region(rng: np.random.Generator, page: Canvas, region: Region, horizon: float) -> None:
    """Paint one region in place; the texture of ground is in perspective, so it is smaller at the horizon."""
    distance = region.distance(page.x, page.y)
    where = np.flatnonzero(distance * page.size < 0.5)
    x, y, distance = page.x[where], page.y[where], distance[where]
    if region.category in GROUNDS:
        growth = 0.45 / (1.0 - horizon)
        scale = 0.7 + growth * np.maximum(y - horizon, 0.0)
        x, y = (x - 0.5) / scale, np.log(scale) / growth
    colour = TEXTURES[region.category](rng, x, y)
    if region.category in GROUNDS:
        colour *= 1.0 - 0.35 * np.exp(distance / 0.015)[:, None]
    blend(page, where, distance, colour, region.category)


def paint_thing(rng: np.random.Generator, page: Canvas, thing: Thing, light: Array) -> None:
    """Paint the shadow of a thing, away from the light and without changing labels, and then the thing, in place."""
    across, upwards = (page.x - thing.x) / thing.height, (thing.y - page.y) / thing.height
    near = np.flatnonzero((np.abs(across) < 1.4) & (np.abs(upwards) < 0.3))
    for reach, width, depth, strength in ((0.45, 0.62, 0.16, 0.5), (0.05, 0.42, 0.10, 0.4)):
        radius = np.hypot((across[near] + reach * light[0]) / width, (upwards[near] - 0.06) / depth)
        page.colour[near] *= (1.0 - strength * ramp(radius, 1.25, 0.6))[:, None]
    where = np.flatnonzero((np.abs(across) < 0.9) & (np.abs(upwards - 0.5) < 0.6))
    distance, colour = SHAPES[thing.category](rng, across[where], upwards[where], light)
    blend(page, where, distance * thing.height, colour, thing.category)


def expose(rng: np.random.Generator, page: Canvas) -> NDArray[np.uint8]:
    """The photograph `(size, size, 3)` of the canvas, with random uneven light, a tone curve and sensor noise."""
    gain, warmth, gamma = rng.triangular(0.55, 1.05, 1.3), rng.triangular(-0.13, 0.0, 0.13), rng.uniform(0.85, 1.15)
    tint = np.asarray([1.0 + warmth, 1.0 + rng.uniform(-0.04, 0.04), 1.0 - warmth], np.float32)
    slope, vignette, clouds = rng.uniform(-0.25, 0.25, 2), rng.uniform(0.0, 0.35), rng.uniform(0.0, 0.08)
    x, y = page.x - 0.5, page.y - 0.5
    uneven = (
        1.0
        + float(slope[0]) * x
        + float(slope[1]) * y
        - vignette * (x**2 + y**2)
        + clouds * noise(rng, 2.5 * x, 2.5 * y)
    )
    exposed = np.clip(page.colour, 0.0, None) ** gamma * (gain * tint) * uneven[:, None]
    shown = exposed / (1.0 + exposed**8) ** 0.125  # compresses bright values smoothly instead of clipping them
    grain = rng.uniform(0.008, 0.025) * rng.standard_normal(shown.shape, dtype=np.float32)
    levels = np.clip(np.rint(255.0 * (shown + grain)), 0, 255).astype(np.uint8)
    return levels.reshape(page.size, page.size, 3)


def render(seed: int, index: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Scene number `index` of a seed: image `(size, size, 3)` and labels `(size, size)`, ids into `CLASSES`."""
    rng = np.random.default_rng([seed, index])
    light = unit(rng.uniform(-1.0, 1.0), rng.uniform(0.6, 1.1), rng.uniform(0.5, 0.9))
    regions = layout(rng)
    things = arrange(rng, regions)
    horizon = max(0.0, min(region.top for region in regions if region.category in GROUNDS))
    page = canvas(size)
    for region in regions:
        paint_region(rng, page, region, horizon)
    for thing in things:
        paint_thing(rng, page, thing, light)
    return expose(rng, page), page.label.reshape(size, size)
