"""Draw the pictures of the documentation from generated scenes: `python scripts/draw_pictures.py`, about 6 minutes.

views.png shows the two views of both kinds of training, with the box of their overlap and the points of the grid.
training.png shows the clusters of a few scenes while the demo is trained, maps.png what it gives at the end. The same
version of the packages and the same number of threads give the same pictures.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning
import matplotlib
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from src.assembly.assemble import assemble
from src.command_line import CONF
from src.console import hush_libraries
from src.data.scenes import render
from src.drawing.colours import index_image, overlay, palette
from src.geometry import box_grid

matplotlib.use("Agg")
FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
SEED, SIDE, SHOWN = 1, 192, (2, 3, 5, 7)  # scenes with this seed are not trained on
SCORED_SIDE = 96  # of the demo's protocol
EPOCHS = (0, 1, 5, 20)


def composed(*overrides: str) -> Any:
    """The config of a training run with these overrides."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


def scene(index: int, side: int = SIDE) -> Image.Image:
    """One of the scenes that are shown; it looks the same at every size."""
    return Image.fromarray(render(SEED, index, side)[0])


def show(axes: Axes, picture: Image.Image | NDArray[np.uint8], title: str = "") -> None:
    """Show a picture without ticks, below a title."""
    axes.imshow(np.asarray(picture), interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def views_picture(points: int = 3) -> Figure:
    """Scene and both views, for segmentation and for pre-training; a place has the same colour in both views.

    Args:
        points: K, the number of rows and columns of the grid.
    """
    figure, rows = pyplot.subplots(2, 3, figsize=(6.6, 4.7), layout="constrained")
    kinds = (("crop_and_whole", "segmentation: crop and whole"), ("two_crops", "pre-training: two crops"))
    for line, (kind, what) in zip(rows, kinds, strict=True):
        config = composed("data=scenes", f"data/views={kind}", f"data.views.size={SIDE}")
        torch.manual_seed(4)
        pair = instantiate(config.data.views)(scene(SHOWN[0]))
        show(line[0], scene(SHOWN[0]), what)
        grids = box_grid(pair["boxes"], (points, points)).flatten(1, 2) * SIDE - 0.5
        for number, (axes, view) in enumerate(zip(line[1:], pair["views"], strict=True)):
            show(axes, view.permute(1, 2, 0).numpy(), f"view {number + 1}")
            x0, y0, x1, y1 = (pair["boxes"][number] * SIDE - 0.5).tolist()
            for colour, width in (("black", 4), ("white", 2)):
                axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=colour, linewidth=width)
            colours = np.arange(points * points)
            axes.scatter(*grids[number].T.numpy(), c=colours, cmap="tab10", edgecolors="black", s=36, zorder=3)
            axes.set(xlim=(-4, SIDE + 3), ylim=(SIDE + 3, -4))
    return figure


class Snapshots(Callback):
    """Keeps the clusters of the scenes that are shown, before training and after some epochs: epoch -> (B, H, W)."""

    def __init__(self) -> None:
        self.clusters: dict[int, NDArray[np.uint8]] = {}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.keep(0, pl_module)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.current_epoch + 1 in EPOCHS:
            self.keep(trainer.current_epoch + 1, pl_module)

    def keep(self, epoch: int, task: Any) -> None:
        """Predict the clusters of all scenes that are shown."""
        was_training = task.training
        task.eval()
        with torch.no_grad():
            logits: Tensor = task.network(torch.stack([as_tensor(scene(index, SCORED_SIDE)) for index in SHOWN]))
            logits = torch.nn.functional.interpolate(logits, (SIDE, SIDE), mode="bilinear", align_corners=False)
        self.clusters[epoch] = logits.argmax(1).byte().numpy()
        task.train(was_training)


def as_tensor(image: Image.Image) -> Tensor:
    """An image as (3, H, W) uint8."""
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def trained(*overrides: str) -> dict[int, NDArray[np.uint8]]:
    """Train the demo and return its clusters of the scenes that are shown, (B, H, W) by epoch."""
    snapshots = Snapshots()
    with TemporaryDirectory() as folder:
        config = composed("experiment=demo", f"paths.output={folder}", "+trainer.limit_val_batches=0", *overrides)
        lightning.seed_everything(config.seed, workers=True, verbose=False)
        run = assemble(config, partial(instantiate, _convert_="all"), "fit", [snapshots])
        run.task.prepare(run.data)
        run.trainer.fit(run.task, run.data)
    return snapshots.clusters


def training_picture(clusters: dict[int, NDArray[np.uint8]]) -> Figure:
    """The scenes, and their clusters after each of the epochs, each cluster in its colour."""
    colours = palette(1 + max(int(each.max()) for each in clusters.values()))
    figure, lines = pyplot.subplots(len(SHOWN), 1 + len(clusters), figsize=(6.6, 5.4), layout="constrained")
    for place, (index, line) in enumerate(zip(SHOWN, lines, strict=True)):
        show(line[0], scene(index), "" if place else "scene")
        for axes, (epoch, maps) in zip(line[1:], clusters.items(), strict=True):
            title = "" if place else f"epoch {epoch}" if epoch else "untrained"
            show(axes, index_image(maps[place], colours).convert("RGB"), title)
    return figure


def maps_picture(clusters: NDArray[np.uint8]) -> Figure:
    """Scene, label map and overlay of two scenes."""
    colours = palette(int(clusters.max()) + 1)
    figure, lines = pyplot.subplots(2, 3, figsize=(6.6, 4.5), layout="constrained")
    for place, line in enumerate(lines):
        labels = index_image(clusters[place], colours)
        pictures = (scene(SHOWN[place]), labels.convert("RGB"), overlay(scene(SHOWN[place]), labels))
        for axes, picture, title in zip(line, pictures, ("image", "clusters", "overlay"), strict=True):
            show(axes, picture, "" if place else title)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Save a figure as a PNG of 256 colours, which keeps the file small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = BytesIO()
    figure.savefig(pixels, dpi=120)
    pyplot.close(figure)
    Image.open(pixels).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        path, optimize=True
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write all pictures into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder to write to (default: docs/pictures)")
    parser.add_argument("overrides", nargs="*", help="values of the demo's run, such as seed=1")
    given = parser.parse_args(arguments)
    hush_libraries()
    save(views_picture(), given.output / "views.png")
    clusters = trained(*given.overrides)
    save(training_picture(clusters), given.output / "training.png")
    save(maps_picture(clusters[max(clusters)]), given.output / "maps.png")


if __name__ == "__main__":
    main()
