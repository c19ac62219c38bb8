"""Logits of whole images, with mirror images and in windows, and label maps of any size."""

from typing import Any

import pytest
import torch

from src.evaluation.inference import mirror_averaged, predict_labels
from src.models.segmentation import SegmentationNetwork
from src.prediction import maps
from src.prediction.maps import Settings, dense, upsample_labels
from tests.factories import images, noise, segment_task
from tests.refusals import refusal

PLAIN = Settings("main", "own", False, 1024, 0.25)


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    return segment_task().deployed().eval()


@torch.no_grad()
def test_a_small_image_takes_one_pass(network: SegmentationNetwork) -> None:
    x = (images(2, 3, 64, 96) * 255).byte()
    assert torch.equal(dense(network, x, PLAIN).logits, network(x))
    found = dense(network, x, PLAIN, with_features=True)
    assert found.features is not None
    assert torch.equal(found.features, network.features(x))
    assert torch.equal(found.logits, network(x))


@torch.no_grad()
def test_the_auxiliary_head_and_mirror_images(network: SegmentationNetwork) -> None:
    x = (images(1, 3, 64, 64) * 255).byte()

    def aux(part: torch.Tensor) -> torch.Tensor:
        return network.logits(network.features(part), "aux")

    assert torch.equal(dense(network, x, PLAIN._replace(head="aux")).logits, aux(x))
    flipped = dense(network, x, PLAIN._replace(head="aux", flip=True)).logits
    assert torch.equal(flipped, mirror_averaged(aux, x))


@torch.no_grad()
@pytest.mark.parametrize("size", [(128, 64), (64, 150), (131, 97)])
def test_a_large_image_is_predicted_in_windows(network: SegmentationNetwork, size: tuple[int, int]) -> None:
    x = (images(1, 3, *size) * 255).byte()
    whole = network(x)
    found = dense(network, x, PLAIN._replace(window=64), with_features=True)
    assert found.logits.shape == whole.shape
    assert found.features is not None
    assert found.features.shape[2:] == whole.shape[2:]
    assert torch.isfinite(found.logits).all()


@pytest.mark.parametrize("size", [(37, 50), (64, 48), (5, 7)])
def test_labels_in_parts_are_those_of_the_whole(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    logits = noise(6, 12, 17)
    whole = predict_labels(logits[None], size)[0]
    assert torch.equal(upsample_labels(logits, size), whole)
    monkeypatch.setattr(maps, "FEW", 4 * 6 * size[1] * 3)  # three rows at a time
    assert torch.equal(upsample_labels(logits, size), whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": "other"}, "head"),
        ({"side": 0}, "side"),
        ({"side": "large"}, "side"),
        ({"side": True}, "side"),
        ({"flip": 1}, "flip"),
        ({"window": 31}, "window"),
        ({"overlap": 0.95}, "overlap"),
        ({"overlap": -0.1}, "overlap"),
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    refusal(lambda: PLAIN._replace(**change).check(("main", "aux")), message)
