"""Textures and shapes of the synthetic scenes, as functions of a point, independent of the picture's resolution.

A `Texture` (stuff) takes coordinates x, y in units of the image side, arrays of one shape `(...)`, and returns RGB
colours `(..., 3)`, mostly within [0, 1]. A `Shape` (things) takes coordinates in units of the thing's height, x from
its middle to the right and y from its foot upwards, and the direction to the light `(3,)`; it returns the distance to
its outline, negative inside, and its shaded colours. The number of random numbers drawn never depends on the points.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array: TypeAlias = NDArray[np.floating[Any]]
Texture: TypeAlias = Callable[[np.random.Generator, Array, Array], Array]
Shape: TypeAlias = Callable[[np.random.Generator, Array, Array, Array], tuple[Array, Array]]

BALL_PAINTS = ((0.80, 0.12, 0.20), (0.74, 0.14, 0.42), (0.52, 0.18, 0.60), (0.16, 0.28, 0.74), (0.92, 0.70, 0.14))
LATTICE = 64  # side of the random lattice of `noise`; the noise repeats after this many units


def ramp(value: Array, low: float, high: float) -> Array:
    """A smooth step: 0 where `value` <= low and 1 where `value` >= high; reversed if low > high."""
    t: Array = np.clip((value - low) / (high - low), 0.0, 1.0, dtype=np.float32)
    return t * t * (3.0 - 2.0 * t)


def mix(first: Array, second: Array, weight: Array | float) -> Array:
    """Colours `(..., 3)` or `(3,)` blended by weights `(...)` in [0, 1]: 0 gives `first`, 1 gives `second`."""
    return first + (second - first) * np.asarray(weight, np.float32)[..., None]


def jitter(rng: np.random.Generator, colour: tuple[float, float, float], amount: float) -> Array:
    """A colour `(3,)` near the given one: each channel scaled by 1 +- amount."""
    return (np.asarray(colour) * rng.uniform(1.0 - amount, 1.0 + amount, 3)).astype(np.float32)


def pick(rng: np.random.Generator, palette: tuple[tuple[float, float, float], ...], amount: float = 0.1) -> Array:
    """A colour `(3,)` between two random entries of a palette, jittered."""
    first, second = rng.integers(len(palette), size=2)
    weight = rng.uniform(0.0, 0.5)
    red, green, blue = (a + (b - a) * weight for a, b in zip(palette[first], palette[second], strict=True))
    return jitter(rng, (red, green, blue), amount)


def noise(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Smooth random values, about -1 to 1, whose bumps are about one unit wide."""
    lattice = rng.uniform(-1.7, 1.7, (LATTICE, LATTICE)).astype(np.float32)
    points = np.stack([v, u])
    return ndimage.map_coordinates(lattice, points, np.float32, order=2, mode="grid-wrap", prefilter=False)


def fractal(rng: np.random.Generator, u: Array, v: Array, octaves: int) -> Array:
    """A sum of `octaves` noises, each with half the amplitude and half the width of the previous one."""
    total = np.zeros_like(u)
    for octave in range(octaves):
        total += noise(rng, u * 2**octave, v * 2**octave) / 2**octave
    return total


def sky(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """A gradient from the zenith to a paler horizon, with soft clouds, or a sky that is all grey clouds."""
    zenith = pick(rng, ((0.36, 0.58, 0.92), (0.46, 0.68, 0.94), (0.58, 0.72, 0.88)))
    horizon = pick(rng, ((0.74, 0.85, 0.95), (0.84, 0.87, 0.90), (0.92, 0.84, 0.76)), 0.04)
    cloud = jitter(rng, (0.92, 0.92, 0.93), 0.04)
    clear = mix(zenith, horizon, ramp(y, -0.1, rng.uniform(0.4, 0.7)))
    scale = rng.uniform(2.0, 4.0)
    density = fractal(rng, x * scale, y * scale * 2.2, 3)
    cover = rng.uniform(-0.1, 0.7)
    return mix(clear, cloud * (0.96 + 0.05 * density[..., None]), 0.85 * ramp(density, cover, cover + 0.8))


def water(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Horizontal waves with light crests."""
    deep = pick(rng, ((0.08, 0.25, 0.46), (0.09, 0.34, 0.46), (0.16, 0.34, 0.52), (0.20, 0.33, 0.40)))
    crest = mix(deep, jitter(rng, (0.75, 0.85, 0.92), 0.06), rng.uniform(0.45, 0.65))
    across, down = rng.uniform(5.0, 8.0), rng.uniform(32.0, 42.0)
    tilt = rng.uniform(-0.06, 0.06)
    drift = 0.4 * noise(rng, x * 4.0, y * 8.0)
    ripple = noise(rng, x * across, (y + tilt * x) * down + drift)
    ripple = ripple + 0.5 * noise(rng, x * across * 2.2, (y + tilt * x) * down * 1.9)
    swell = noise(rng, x * 1.5, y * 4.0)
    return mix(deep, crest, ramp(ripple + 0.2 * swell, -0.7, 1.1))


def grass(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Fine upright blades of grass in soft patches, from green to dry."""
    blade = pick(rng, ((0.30, 0.52, 0.14), (0.36, 0.58, 0.16), (0.44, 0.56, 0.18), (0.60, 0.56, 0.26)))
    root = blade * jitter(rng, (0.46, 0.52, 0.46), 0.12)
    tip = mix(blade, jitter(rng, (0.80, 0.78, 0.42), 0.08), 0.35)
    across, down = rng.uniform(52.0, 64.0), rng.uniform(10.0, 14.0)
    lean = rng.uniform(-0.15, 0.15) + 0.12 * noise(rng, x * 5.0, y * 5.0)
    blades = noise(rng, (x + lean * y) * across, y * down) + 0.5 * noise(rng, (x - lean * y) * across * 0.6, y * down)
    patches = fractal(rng, x * 3.0, y * 5.0, 2)
    height = 0.5 + 0.45 * blades + 0.14 * patches
    return mix(mix(root, blade, np.clip(height / 0.6, 0.0, 1.0)), tip, np.clip((height - 0.6) / 0.4, 0.0, 1.0))


def sand(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Soft dunes under a fine speckle of grains and darker pebbles."""
    base = pick(rng, ((0.86, 0.72, 0.48), (0.84, 0.74, 0.56), (0.78, 0.64, 0.42), (0.76, 0.58, 0.40)))
    bend = 1.2 * noise(rng, x * 3.0, y * 3.0)
    dunes = np.sin(2.0 * np.pi * (y * rng.uniform(5.0, 9.0) + x * rng.uniform(-2.0, 2.0)) + 2.0 * bend)
    grain = rng.uniform(50.0, 64.0)
    speckle = noise(rng, x * grain, y * grain)
    pebbles = ramp(noise(rng, x * 22.0, y * 22.0), 0.75, 1.0)
    shade: Array = 1.0 + 0.05 * dunes + 0.05 * bend + 0.16 * speckle - 0.28 * pebbles
    return base * shade[..., None]


def brick(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Rows of bricks, each shifted by half a brick, with pale or dark mortar; every brick has its own tone."""
    base = pick(rng, ((0.60, 0.22, 0.15), (0.64, 0.30, 0.20), (0.66, 0.40, 0.27), (0.54, 0.31, 0.26)))
    mortar = pick(rng, ((0.70, 0.62, 0.56), (0.60, 0.52, 0.47), (0.36, 0.27, 0.24)))
    height = rng.uniform(0.055, 0.085)
    width = height * rng.uniform(1.9, 2.5)
    joint = rng.uniform(0.006, 0.010)
    tones = rng.uniform(-0.2, 0.2, (LATTICE, LATTICE)).astype(np.float32)
    row = y / height + rng.uniform()
    column = x / width + rng.uniform() + 0.5 * (np.floor(row) % 2)
    tone: Array = tones[np.floor(row).astype(int) % LATTICE, np.floor(column).astype(int) % LATTICE]
    rough = noise(rng, x * 40.0, y * 40.0)
    face = base * (1.0 + tone + 0.08 * rough)[..., None]
    gap = np.minimum(np.minimum(row % 1, 1 - row % 1) * height, np.minimum(column % 1, 1 - column % 1) * width)
    return mix(mortar * (1.0 + 0.06 * rough[..., None]), face, ramp(gap, 0.3 * joint, joint))


def unit(*components: float) -> Array:
    """The direction `(3,)` of a vector: x to the right, y upwards, z towards the camera."""
    vector: Array = np.asarray(components, np.float32)
    return vector / np.linalg.norm(vector).astype(np.float32)


def ball(rng: np.random.Generator, x: Array, y: Array, light: Array) -> tuple[Array, Array]:
    """A glossy sphere of one colour, with a band, or with the wedges of a beach ball."""
    paint = pick(rng, BALL_PAINTS)
    second = pick(rng, ((0.94, 0.92, 0.88), (0.94, 0.92, 0.88), (0.95, 0.78, 0.20)))
    axis, wedges, style = unit(*rng.normal(size=3)), rng.integers(2, 5), rng.uniform()
    distance = np.hypot(x, y - 0.5) - 0.5
    flat = np.stack([x, y - 0.5], axis=-1) * 2.0
    normal = np.concatenate([flat, np.sqrt(np.clip(1.0 - (flat**2).sum(-1, keepdims=True), 0.0, 1.0))], axis=-1)
    side = unit(*np.cross(axis, [0.3, 0.5, 0.8]))
    angle = np.arctan2(normal @ side, normal @ np.cross(axis, side))
    if style < 0.55:
        paint = mix(paint, second, ramp(np.sin(wedges * angle), -0.12, 0.12))
    elif style < 0.85:
        paint = mix(paint, second, ramp(np.abs(normal @ axis), 0.26, 0.20))
    facing = np.clip(normal @ light, 0.0, 1.0)
    gloss = 0.65 * np.clip(normal @ unit(light[0], light[1], light[2] + 1.0), 0.0, 1.0) ** 40
    return distance, paint * (0.34 + 0.78 * facing)[..., None] + gloss[..., None]


def planks(u: Array, v: Array, tones: Array, braced: bool) -> Array:
    """Brightness of one face of a crate, u and v in [0, 1]: boards along u, a frame and, if `braced`, a diagonal."""
    count = len(tones)
    board = np.clip(v * count, 0.0, count - 0.01)
    gap = np.minimum(board % 1, 1 - board % 1)
    inner = tones[board.astype(int)] * (0.45 + 0.55 * ramp(gap, 0.02, 0.14))
    rim = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v)) - 0.13
    beam = np.minimum(rim, np.abs(u - v) - 0.09) if braced else rim
    groove = 1.0 - 0.5 * ramp(np.abs(beam - 0.015), 0.035, 0.0)
    brightness: Array = np.where(beam < 0, 1.12, inner) * groove
    return brightness


def crate(rng: np.random.Generator, x: Array, y: Array, light: Array) -> tuple[Array, Array]:
    """A box of wooden boards, seen from slightly above and turned by a random angle."""
    wood = pick(rng, ((0.70, 0.50, 0.28), (0.60, 0.42, 0.26), (0.76, 0.62, 0.42), (0.52, 0.42, 0.34)))
    turn, pitch = rng.uniform(0.25, 1.3), rng.uniform(0.28, 0.5)
    tones = rng.uniform(0.72, 1.0, (3, rng.integers(3, 6))).astype(np.float32)
    right = np.array([np.cos(turn), np.sin(pitch) * np.sin(turn)])
    left = np.array([-np.sin(turn), np.sin(pitch) * np.cos(turn)])
    up = np.array([0.0, np.cos(pitch)])
    scale = 1.0 / (up + right + left)[1]
    near = np.stack([x - 0.5 * scale * (np.sin(turn) - np.cos(turn)), y], axis=-1) / scale
    directions = (unit(np.sin(turn), 0.0, np.cos(turn)), unit(-np.cos(turn), 0.0, np.sin(turn)), unit(0, 1, 0.3))
    distance, colour = np.full(x.shape, np.inf, np.float32), np.zeros((*x.shape, 3), np.float32)
    for origin, first, second, normal, tone in zip(
        (0 * up, 0 * up, up), (right, left, right), (up, up, left), directions, tones, strict=True
    ):
        uv = (near - origin) @ np.linalg.inv(np.stack([first, second]))
        u, v = uv[..., 0], uv[..., 1]
        outside = scale * np.maximum(np.abs(u - 0.5), np.abs(v - 0.5)).astype(np.float32) - 0.5 * scale
        shade = planks(u, v, tone, braced=normal[1] == 0) * (0.42 + 0.66 * max(0.0, float(normal @ light)))
        colour = np.where((outside < distance)[..., None], wood * shade[..., None], colour)
        distance = np.minimum(distance, outside)
    return distance, colour.astype(np.float32)


def cone(rng: np.random.Generator, x: Array, y: Array, light: Array) -> tuple[Array, Array]:
    """A traffic cone on a round foot, with two or three pale rings."""
    paint = pick(rng, ((0.92, 0.38, 0.10), (0.90, 0.28, 0.12), (0.92, 0.62, 0.12), (0.86, 0.44, 0.26)))
    ring = jitter(rng, (0.92, 0.92, 0.90), 0.04)
    foot = paint * rng.uniform(0.35, 0.8)
    width, rings = rng.uniform(0.30, 0.36), rng.integers(2, 4)
    radius = np.clip(width + (0.05 - width) * (y - 0.08) / 0.92, 0.05, width)
    across = np.clip(x / radius, -1.0, 1.0)
    depth = np.sqrt(1.0 - across**2)
    body = np.maximum(np.maximum(np.abs(x) - radius, y - 1.0), 0.12 - 0.08 * depth - y)
    plate = np.hypot(x / (width + 0.13), (y - 0.10) / 0.10) * 0.1 - 0.1
    level = (y + 0.22 * radius * depth) * rings
    stripes = ramp(np.abs(level % 1 - 0.5), 0.26, 0.22)
    facing = np.clip(across * light[0] + 0.3 * light[1] + depth * light[2], 0.0, 1.0)
    colour = mix(paint, ring, stripes) * (0.36 + 0.76 * facing)[..., None]
    flat = foot * (0.5 + 0.6 * light[1])
    return np.minimum(body, plate), np.where((body < 0)[..., None], colour, flat)
