"""Labels that do not fit: told in one line that names the file, and never scored as something else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.reading import OnCorrupt
from src.errors import DenseSiamError
from tests.data.broken import data_of, encoded, folder_of, half, jpeg, png, raw_png
from tests.data.documented import quoted, require_documented, row
from tests.data.odd import exif

ZEROS = Image.new("L", (32, 32))
PALETTE = Image.new("P", (32, 32), 1)
PALETTE.putpalette([200, 100, 50, 0, 0, 0])
UPRIGHT = Image.new("RGB", (48, 32))

# What stands at labels/val/good.png, and the class that is then scored: -1 where none is, None where it stops.
KINDS: dict[str, tuple[bytes | None, int | None]] = {
    "palette PNG": (png(PALETTE), 1),
    "255 everywhere": (png(Image.new("L", (32, 32), 255)), 255),
    "truncated": (half(png(Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32)))), -1),
    "empty file": (b"", -1),
    "text": (b"no labels", -1),
    "missing": (None, None),
    "another size than the image": (png(Image.new("L", (31, 32))), None),
    "colours": (png(Image.new("RGB", (32, 32))), None),
    "1 bit": (png(Image.new("1", (32, 32))), None),
    "grey of 2 or 4 bits": (raw_png(4, 0, 32, 32, [bytes(16)] * 32), None),
    "16 bit": (png(Image.fromarray(np.zeros((32, 32), np.uint16))), None),
    "a JPEG named .png": (jpeg(ZEROS), None),
    "another kind of image named .png": (encoded("TIFF", ZEROS), None),
    "a value that is no class": (png(Image.new("L", (32, 32), 7)), None),
    "as stored, of an image that its EXIF data turns": (png(Image.new("L", (48, 32))), None),
}


def outcome(root: Path, on_corrupt: OnCorrupt) -> tuple[str, int | None]:
    """What is said when the only image is scored, and the class that all its pixels get."""
    try:
        (batch,) = data_of(root, on_corrupt).val_dataloader()
    except DenseSiamError as error:
        return quoted(error, root / "labels" / "val"), None
    (label,) = batch["label"].unique().tolist()
    said = batch["unreadable"][0]
    return (quoted(said, root / "labels" / "val"), -1) if said else ("loaded", label)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[str, int | None]]]:
    found = {}
    for kind, (content, _) in KINDS.items():
        root = folder_of(tmp_path_factory.mktemp("labels"), [])
        label = root / "labels" / "val" / "good.png"
        label.unlink()
        if content is not None:
            label.write_bytes(content)
        if "EXIF" in kind:
            (root / "images" / "val" / "good.png").write_bytes(jpeg(UPRIGHT, exif=exif(6)))
        found[kind] = [outcome(root, "raise"), outcome(root, "skip")]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_scored_as_they_are_or_named(kind: str, outcomes: dict[str, list[tuple[str, int | None]]]) -> None:
    (said, stopping), (said_skipping, skipping) = outcomes[kind]
    assert said == said_skipping
    assert skipping == KINDS[kind][1]
    assert stopping == (None if skipping == -1 else skipping)
    assert (said == "loaded") == (stopping is not None)


def test_labels_without_an_image_are_no_part_of_the_set(tmp_path: Path) -> None:
    root = folder_of(tmp_path, [])
    ZEROS.save(root / "labels" / "val" / "lonely.png")
    assert outcome(root, "raise") == ("loaded", 0)


def test_the_table_of_labels(outcomes: dict[str, list[tuple[str, int | None]]]) -> None:
    remarks = {"palette PNG": ", the palette's index is the class", "255 everywhere": ", no pixel of it is scored"}
    rows = []
    for kind, ((said, _), (_, skipping)) in outcomes.items():
        skipped = "skipped" if skipping == -1 else "loaded" if said == "loaded" else "stops as well"
        rows.append(row(kind, said + remarks.get(kind, ""), skipped))
    require_documented("Labels", [*rows, row("labels without an image", "no part of the set", "no part of the set")])
