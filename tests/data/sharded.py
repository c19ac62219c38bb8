"""Images in a folder, and the same in shards."""

from pathlib import Path

from src.data.preparation.sharding import make_shards
from src.images.listing import list_images
from tests.factories import noise_image


def tree(root: Path, count: int = 7, side: int = 24) -> Path:
    """JPEG and PNG images at several depths."""
    for number in range(count):
        path = root / ("", "a", "b/c")[number % 3] / f"image{number:02d}.{'png' if number == 4 else 'JPEG'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise_image(side, side, seed=number).save(path)
    return root


def packed(folder: Path, root: Path, per_shard: int = 3) -> Path:
    make_shards(list_images(folder), root, per_shard, skip=False, workers=1)
    return root
