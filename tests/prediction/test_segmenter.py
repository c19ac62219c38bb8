"""The object that `load` gives: label maps of every form of image, names and colours."""

from pathlib import Path

import numpy as np
import pytest
import torch

from src.evaluation.inference import predict_labels
from src.evaluation.matched import Matched
from src.images.reading import UnreadableFileError
from src.metrics import Category
from src.prediction.segmenter import Segmenter
from tests.factories import noise_image, segment_task
from tests.refusals import refusal

CLASSES = (Category("sky", "stuff"), Category("ball", "thing"))
MATCHED = Matched("main", "hungarian", CLASSES, [-1, 1, 0, -1], [[0, 0, 9, 0], [0, 8, 0, 0]])


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(segment_task().deployed().eval(), 32, MATCHED)


def test_the_map_is_that_of_the_network_at_the_recommended_side(segmenter: Segmenter) -> None:
    image = noise_image(64, 48)
    small = torch.from_numpy(np.array(image.resize((42, 32), 2))).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = predict_labels(segmenter.network(small), (48, 64))[0]
    found = segmenter.predict(image)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


def test_a_list_gives_a_list_of_maps_of_their_own_sizes(segmenter: Segmenter, tmp_path: Path) -> None:
    noise_image(20, 30).save(tmp_path / "a.png")
    found = segmenter.predict([noise_image(33, 40), tmp_path / "a.png"])
    assert [one.shape for one in found] == [(40, 33), (30, 20)]
    assert np.array_equal(found[1], segmenter.predict(noise_image(20, 30)))
    assert segmenter.predict([]) == []


def test_names_and_colours(segmenter: Segmenter) -> None:
    assert segmenter.names == ["cluster 0", "ball", "sky", "cluster 3"]
    assert segmenter.palette.shape == (4, 3)
    assert segmenter.heads == ("main", "aux")
    assert len(segmenter.clusters["aux"].names) == 10
    assert segmenter.recommended_side == 32


def test_heads_and_settings(segmenter: Segmenter) -> None:
    image = noise_image(64, 48)
    assert segmenter.predict(image, head="aux").max() > 3
    assert segmenter.predict(image, side="own", window=32, flip=True).shape == (48, 64)
    refusal(lambda: segmenter.predict(image, head="third"), "head", "main", "aux")
    refusal(lambda: segmenter.predict(image, side=0.5), "side")


def test_a_file_that_cannot_be_read(segmenter: Segmenter, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(UnreadableFileError, match=r"text\.jpg"):
        segmenter.predict(tmp_path / "text.jpg")
