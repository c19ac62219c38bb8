"""A page in the browser that segments photographs with a checkpoint (extra `app`, Gradio)."""

import logging
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig
from PIL import Image

from src.checks import check_int, check_text
from src.drawing.colours import index_image, overlay
from src.drawing.legend import legend
from src.errors import DenseSiamError
from src.prediction.devices import device_of
from src.prediction.inputs import as_image
from src.prediction.loading import load
from src.prediction.segmenter import Segmenter

BUTTONS = ["download", "fullscreen"]  # without the one that sends pictures elsewhere
LARGEST_FILE = "200mb"
KEPT = 3600  # seconds for which a label map can be downloaded


class Shown(NamedTuple):
    """What the page shows of a photograph.

    Attributes:
        overlay, clusters, legend: pictures.
        file: the path of the label map, a PNG with a palette, to download.
    """

    overlay: Image.Image
    clusters: Image.Image
    legend: Image.Image
    file: str


def app(config: DictConfig) -> None:
    """Serve the page until the process is stopped.

    Args:
        config: the composed `conf/app.yaml`.

    Raises:
        DenseSiamError: a value is refused, the checkpoint can't be used, Gradio is not installed, or the port is taken.
    """
    check_text("ckpt_path", config.ckpt_path)
    if config.scores is not None:
        check_text("scores", config.scores, "or null for none")
    check_text("host", config.host)
    check_int("port", config.port, low=1, high=65535)
    gradio()  # if it is not installed, say so at once
    check_free(config.host, config.port)
    segmenter = load(config.ckpt_path, scores=config.scores).to(device_of(config.device))
    with tempfile.TemporaryDirectory() as folder:
        launch(page(segmenter, Path(folder), Path(config.ckpt_path).name), config.host, config.port)


def gradio() -> Any:
    """The module gradio, set to send no statistics.

    Raises:
        DenseSiamError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError as error:
        raise DenseSiamError("the app needs Gradio, which is not installed: pip install 'densesiam[app]'") from error
    return gradio


def page(segmenter: Segmenter, folder: Path, title: str) -> Any:
    """The page, as a Gradio `Blocks`.

    Args:
        segmenter: segments the photographs.
        folder: a folder for the files to download.
        title: the name of the checkpoint.
    """
    gr = gradio()

    def shown(path: str | None, head: str, side: float, flip: bool) -> Shown:
        if path is None:
            raise gr.Error("Choose a photograph first")
        try:
            return segmented(segmenter, Path(path), folder, head, int(side), flip)
        except DenseSiamError as error:
            raise gr.Error(str(error).replace(path, "the file")) from error

    with gr.Blocks(title=f"DenseSiam: {title}", analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
        gr.Markdown(f"# Segment a photograph\nEvery pixel gets a category ({segmenter.note}).")
        with gr.Row():
            with gr.Column():
                photograph = gr.Image(label="Photograph", sources=["upload", "clipboard"], height=360)
                # The path of the file: Gradio itself would decode more formats than this project does.
                photograph.preprocess = lambda payload: None if payload is None else payload.path
                head = gr.Radio(list(segmenter.heads), value=segmenter.heads[0], label="Head")
                side = gr.Slider(
                    32, 1024, value=min(segmenter.recommended_side, 1024), step=32, label="Shorter side for the network"
                )
                flip = gr.Checkbox(label="Average with the mirror image")
                button = gr.Button("Segment", variant="primary")
            with gr.Column():
                with gr.Tab("Overlay"):
                    tinted = gr.Image(label="Overlay", format="png", height=360, buttons=BUTTONS)
                with gr.Tab("Clusters"):
                    clusters = gr.Image(label="Clusters", format="png", height=360, buttons=BUTTONS)
                explained = gr.Image(label="Legend", elem_id="legend", format="png", show_label=False, buttons=[])
                download = gr.DownloadButton("Download the label map (PNG)")
        inputs, outputs = [photograph, head, side, flip], [tinted, clusters, explained, download]
        button.click(shown, inputs, outputs, api_name="segment")
        photograph.upload(shown, inputs, outputs, api_visibility="private")
    return blocks


def segmented(segmenter: Segmenter, path: Path, folder: Path, head: str, side: int, flip: bool) -> Shown:
    """Segment a file.

    Args:
        segmenter: segments it.
        path: the file.
        folder: a folder for the label map.
        head, side, flip: see `src.prediction.maps.Settings`.

    Raises:
        DenseSiamError: the file can't be read, or a value is out of its range.
    """
    image = as_image(path)
    labels = segmenter.predict(image, head=head, side=side, flip=flip)
    found = segmenter.clusters[head]
    indices = index_image(labels, found.palette)
    shares = np.bincount(labels.ravel(), minlength=len(found.names)) / labels.size
    present = [place for place in np.argsort(-shares, kind="stable") if shares[place]]
    lines = [found.line(int(place), shares[place]) for place in present]
    for old in folder.iterdir():
        if old.stat().st_mtime < time.time() - KEPT:
            old.unlink(missing_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="clusters_", suffix=".png", delete=False) as file:
        indices.save(file, "PNG")
    drawn = legend(found.palette[present], lines, found.note)
    return Shown(overlay(image, indices), indices.convert("RGB"), drawn, file.name)


def check_free(host: str, port: int) -> None:
    """Refuse an address at which nothing can be served.

    Raises:
        DenseSiamError: the port is taken, or the host is not one of this machine.
    """
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise DenseSiamError(f"can't serve at {host}:{port} ({error.strerror}): choose another port=NUMBER") from error


def launch(blocks: Any, host: str, port: int) -> None:
    """Serve a page until the process is stopped."""
    gr = gradio()
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])  # others are downloaded
    logging.getLogger("httpx").setLevel(logging.WARNING)
    print(f"http://{host}:{port} shows the page in a few seconds; Ctrl-C ends it", flush=True)
    options = {"share": False, "quiet": True, "max_file_size": LARGEST_FILE, "footer_links": []}
    blocks.launch(server_name=host, server_port=port, theme=theme, **options)
