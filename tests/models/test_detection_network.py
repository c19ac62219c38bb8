"""The network that detects: sizes, normalisation, labels from 0, and precision of boxes."""

import pytest
import torch

from src.models.detection import DetectionNetwork, Prepared
from src.models.encoder import Encoder
from src.short_side import short_side_size
from tests.detecting import small_faster_rcnn, square_batch


@pytest.mark.parametrize(
    ("size", "expected"),
    [((375, 500), (800, 1067)), ((500, 375), (1067, 800)), ((300, 900), (444, 1333)), ((1, 5000), (1, 1333))],
)
def test_the_size_is_that_of_detectron2(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert short_side_size(*size, 800, 1333) == expected


def encoder_of(network: DetectionNetwork) -> Encoder:
    found = network.rcnn.backbone.encoder
    assert isinstance(found, Encoder)
    return found


def test_images_are_resized_for_predictions_only() -> None:
    network = small_faster_rcnn(side=64, longest=96)
    prepared = network.rcnn.transform
    images = [torch.full((3, 100, 90), 255, dtype=torch.uint8), torch.zeros(3, 48, 200, dtype=torch.uint8)]
    assert isinstance(prepared, Prepared)
    trained, _ = prepared.train()(images, None)
    assert trained.image_sizes == [(100, 90), (48, 200)]
    assert trained.tensors.shape == (2, 3, 112, 208)  # multiples of 16
    tested, _ = prepared.eval()(images, None)
    assert [tuple(size) for size in tested.image_sizes] == [(71, 64), (23, 96)]
    mean, std = encoder_of(network).mean.flatten(), encoder_of(network).std.flatten()
    torch.testing.assert_close(trained.tensors[0, :, 50, 50], (1 - mean) / std)
    torch.testing.assert_close(trained.tensors[1, :, 20, 20], (0 - mean) / std)
    assert not trained.tensors[1, :, 48:].any()  # padding is zero after the normalisation
    assert not trained.tensors[0, :, :, 90:].any()


def test_the_encoder_sees_the_same_as_in_other_tasks() -> None:
    network, batch = small_faster_rcnn().eval(), square_batch([0])
    encoder = encoder_of(network)
    images, _ = network.rcnn.transform(batch["image"], None)
    with torch.no_grad():
        for found, expected in zip(encoder.maps(images.tensors), encoder(torch.stack(batch["image"])), strict=True):
            torch.testing.assert_close(found, expected)


def test_detections_are_in_pixels_of_the_given_image_and_labels_begin_at_0() -> None:
    """A network that gives every region to class 0, with its box unchanged, gives back its proposals."""
    torch.manual_seed(0)
    network = small_faster_rcnn(side=64, longest=96).eval()
    predictor = network.rcnn.roi_heads.box_predictor
    with torch.no_grad():
        for layer in (predictor.cls_score, predictor.bbox_pred):
            layer.weight.zero_()
        predictor.cls_score.bias.copy_(torch.tensor([0.0, 5.0, 0.0]))
        small, large = torch.zeros(3, 64, 96, dtype=torch.uint8), torch.zeros(3, 640, 960, dtype=torch.uint8)
        (first,), (second,) = network([small]), network([large])
    assert set(first) == {"boxes", "scores", "labels"}
    assert len(first["boxes"]) > 1
    assert not first["labels"].any()
    assert (first["scores"].diff() <= 0).all()
    torch.testing.assert_close(second["boxes"], 10 * first["boxes"])


def test_learned_classes_are_numbered_behind_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    network, batch, seen = small_faster_rcnn().train(), square_batch([0, 1]), []
    monkeypatch.setattr(network.rcnn, "forward", lambda images, targets: seen.append(targets) or {"loss_a": 1})
    assert network.losses(batch["image"], batch["label"]) == {"a": 1}
    assert [target["labels"].tolist() for target in seen[0]] == [[1], [2]]
    assert [set(target) for target in seen[0]] == [{"boxes", "labels"}] * 2
    assert [label["labels"].tolist() for label in batch["label"]] == [[0], [1]]  # the batch is left as it is


def test_boxes_are_float32_under_mixed_precision() -> None:
    """In bfloat16, coordinates from 256 would be multiples of 2 pixels."""
    torch.manual_seed(0)
    network, batch = small_faster_rcnn(), square_batch([0, 1])
    rpn = network.rcnn.rpn
    with torch.autocast("cpu", torch.bfloat16):
        losses = network.train().losses(batch["image"], batch["label"])
        images, _ = network.rcnn.transform(batch["image"], None)
        maps = network.rcnn.backbone(images.tensors)
        proposals, _ = rpn.eval()(images, maps)
        found = network.eval()(batch["image"])
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert {each.dtype for each in proposals} | {each["boxes"].dtype for each in found} == {torch.float32}
    assert rpn.anchor_generator.cell_anchors[0].dtype == torch.float32


def test_detections_need_evaluation_mode() -> None:
    with pytest.raises(RuntimeError, match="eval"):
        small_faster_rcnn().train()([torch.zeros(3, 64, 64, dtype=torch.uint8)])
