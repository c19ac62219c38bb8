"""What a run says of images that can't be read, and of a loader process that dies."""

import os
import re
import signal
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image
from torch.utils.data import get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from src.assembly.train import train
from src.data import labelled_folder
from src.errors import DenseSiamError
from src.images.reading import open_image
from tests.composing import composed
from tests.data.broken import Sample, data_of, folder_of, half, png
from tests.data.documented import quoted, require_documented, row

NAMES = ("a.png", "b.png", "c.png", "good.png")
# Which images of which split are cut short, and whether the run goes on without them.
KINDS: dict[str, tuple[str, Sequence[str], bool]] = {
    "an image to train on, with `skip`": ("train", ["b.png"], True),
    "all images to train on, with `skip`": ("train", NAMES, False),
    "an image to score, with `skip`": ("val", ["b.png"], True),
    "all images to score, with `skip`": ("val", NAMES, False),
}


def said_by_run(root: Path, split: str, cut: Sequence[str]) -> tuple[list[str], bool]:
    """What one epoch with `skip` says of images, and whether it ends well."""
    folder_of(root, [Sample("whole", name, png()) for name in NAMES[:-1]])
    for name in cut:
        (root / "images" / split / name).write_bytes(half(png()))
    tiny = ["experiment=demo", "debug=tiny", "data=labelled_folder", "references=none", "estimate_steps=0"]
    short = ["trainer.fast_dev_run=false", "trainer.max_epochs=1", "model.num_categories=2", "data.on_corrupt=skip"]
    stopped = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            train(composed(root / "run", *tiny, *short, f"data.root={root}"))
        except DenseSiamError as error:
            stopped = [quoted(error, root)]
    warned = [quoted(one.message, root) for one in caught if "can't read" in str(one.message)]
    return [*warned, *stopped], not stopped


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[str], bool]]:
    return {kind: said_by_run(tmp_path_factory.mktemp("runs"), *given) for kind, (*given, _) in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_without_some_images_but_not_without_all(
    kind: str, outcomes: dict[str, tuple[list[str], bool]]
) -> None:
    said, ended = outcomes[kind]
    assert ended == KINDS[kind][2]
    assert "DIR/images/" in said[0]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said when a loader process is killed while it reads good.png, the second image to score."""

    def deadly(path: Path) -> Image.Image:
        if get_worker_info() and path.name == "good.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return open_image(path)

    root = folder_of(tmp_path_factory.mktemp("killed"), [Sample("whole", "a.png", png())])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelled_folder, "open_image", deadly)
        patch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.2,))  # looks sooner than in 5 s
        with pytest.raises(DenseSiamError) as caught:
            list(data_of(root, "skip", num_workers=1).val_dataloader())
    # Which of two notices comes first, torch's or that of the pipe that has closed, is chance.
    return re.sub(r"good\.png \([^)]*\)", "good.png (DataLoader worker ...)", quoted(caught.value, root))


def test_a_killed_process_names_the_image(killed: str) -> None:
    assert "read DIR/images/val/good.png (" in killed


def test_the_table_of_runs(outcomes: dict[str, tuple[list[str], bool]], killed: str) -> None:
    rows = [row(kind, f"warns: {said[-1]}" if ended else said[-1]) for kind, (said, ended) in outcomes.items()]
    require_documented("Runs", [*rows, row("a loader process is killed, most often for want of memory", killed)])
