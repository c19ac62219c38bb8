"""The page of `src.app`: in Chromium, a photograph becomes clusters, an overlay and a file."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.api import train
from src.assembly.app import check_free, segmented
from src.drawing.colours import overlay
from src.prediction.segmenter import Segmenter
from tests.browser import Watched, chromium, reached
from tests.composing import TINY_EPOCHS
from tests.factories import noise_image, segment_task
from tests.refusals import refusal

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(segment_task().deployed().eval().requires_grad_(False), 64, None)


def test_what_the_page_shows(segmenter: Segmenter, tmp_path: Path) -> None:
    noise_image(48, 40).save(tmp_path / "photo.png")
    shown = segmented(segmenter, tmp_path / "photo.png", tmp_path, "aux", 64, False)
    with Image.open(shown.file) as found:
        assert np.array_equal(found, segmenter.predict(tmp_path / "photo.png", head="aux"))
        assert np.array_equal(shown.overlay, overlay(noise_image(48, 40), found))
    assert Path(shown.file).parent == tmp_path


def test_a_file_that_is_no_image(segmenter: Segmenter, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_text("%!PS")
    refusal(lambda: segmented(segmenter, tmp_path / "photo.png", tmp_path, "main", 64, False), "photo.png")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


def test_an_address_that_cannot_be_used() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refusal(lambda: check_free("127.0.0.1", port), str(port), "choose another port")
    refusal(lambda: check_free("no.such.host.invalid", 7860), "no.such.host.invalid")
    check_free("127.0.0.1", free_port())


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of the page of a tiny run; a process of its own, because Gradio leaves sockets open."""
    run = train(*TINY_EPOCHS, "trainer.max_epochs=1", "protocol.resamples=10", output=tmp_path / "run")
    port = free_port()
    command = [sys.executable, "-m", "src.app", f"ckpt_path={run.folder}/checkpoints/last.ckpt", f"port={port}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(f"http://127.0.0.1:{port}" in line for line in process.stdout)
        yield f"http://127.0.0.1:{port}"
        process.terminate()  # not SIGINT, which a process ignores whose parent was started in the background


@pytest.mark.slow
def test_the_page_in_a_browser(served: str, tmp_path: Path) -> None:
    noise_image(64, 48).save(tmp_path / "photo.png")
    (tmp_path / "text.png").write_text("no image")
    with chromium() as browser:
        for width in (1280, 390):
            watched = Watched(browser, width)
            seen = watched.page
            reached(seen, served)
            seen.get_by_role("heading", name="Segment a photograph").wait_for()
            seen.set_input_files("input[type=file]", tmp_path / "photo.png")
            seen.locator("#legend img").wait_for()
            with seen.expect_download() as download:
                seen.get_by_text("Download the label map").click()
            with Image.open(download.value.path()) as found:
                assert (found.mode, found.size) == ("P", (64, 48))
            assert not watched.is_wider_than_the_window()
            assert (watched.errors, watched.foreign) == ([], [])
        seen.get_by_label("aux").check()
        seen.get_by_role("button", name="Segment", exact=True).click()
        seen.get_by_role("button", name="Remove").or_(seen.get_by_label("Remove Image")).first.click()
        seen.set_input_files("input[type=file]", tmp_path / "text.png")
        seen.get_by_text("can't read the image").first.wait_for()
