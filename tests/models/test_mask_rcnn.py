"""Mask R-CNN with a pyramid: its definition, counted by hand, and batches without objects."""

from functools import partial
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from src.models.backbones import resnet
from src.models.encoder import Encoder
from src.models.mask_rcnn import MaskHead, mask_rcnn
from tests.composing import composed
from tests.detecting import proposals, regions, small_mask_rcnn, square_batch
from tests.refusals import refusal

RESNET50 = 23_508_032  # torchvision's ResNet-50 without its classifier: 25,557,032 - 2,049,000
CLASSES, ANCHORS, NORM = 80, 3, 2 * 256  # COCO; three ratios a place; weight and bias of a batch norm


def test_it_has_the_parameters_of_the_published_definition(tmp_path: Path) -> None:
    """`mask_rcnn_R_50_FPN_1x` with `FPN.NORM`, `FastRCNNConvFCHead` (4 conv, 1 fc) and `ROI_MASK_HEAD.NORM`.

    Convolutions before a batch norm have no bias. torchvision's predictors have a row for the background.
    """
    conv = 9 * 256 * 256
    pyramid = sum(256 * channels + NORM for channels in (256, 512, 1024, 2048)) + 4 * (conv + NORM)
    rpn = conv + 256 + (256 + 1) * ANCHORS + (256 + 1) * 4 * ANCHORS
    box_head = 4 * (conv + NORM) + 256 * 7 * 7 * 1024 + 1024
    box_predictor = (1024 + 1) * (CLASSES + 1) + (1024 + 1) * 4 * (CLASSES + 1)
    mask_head = 4 * (conv + NORM)
    mask_predictor = 256 * 256 * 2 * 2 + 256 + (256 + 1) * (CLASSES + 1)
    config = composed(tmp_path, "experiment=coco_mask_rcnn", "data.root=x")
    network = instantiate(config.model, _convert_="all")(num_classes=CLASSES, side=800, longest=1333)
    expected = RESNET50 + pyramid + rpn + box_head + box_predictor + mask_head + mask_predictor
    assert sum(one.numel() for one in network.parameters()) == expected
    assert all(one.requires_grad for one in network.parameters())
    parts = network.rcnn.backbone.pyramid, network.rcnn.roi_heads.box_head, network.rcnn.roi_heads.mask_head
    counts = [sum(isinstance(one, nn.BatchNorm2d) for one in part.modules()) for part in parts]
    assert counts == [8, 4, 4]
    network.eval()
    maps = network.rcnn.backbone(torch.zeros(1, 3, 128, 192))
    assert {name: tuple(level.shape[1:]) for name, level in maps.items()} == {
        "0": (256, 32, 48),
        "1": (256, 16, 24),
        "2": (256, 8, 12),
        "3": (256, 4, 6),
        "pool": (256, 2, 3),
    }
    heads = network.rcnn.roi_heads
    regions_of = [torch.tensor([[0.0, 0.0, 90.0, 60.0]])]
    assert heads.box_roi_pool(maps, regions_of, None).shape == (1, 256, 7, 7)
    pooled = heads.mask_roi_pool(maps, regions_of, None)
    assert pooled.shape == (1, 256, 14, 14)
    assert heads.mask_predictor(heads.mask_head(pooled)).shape == (1, CLASSES + 1, 28, 28)


def test_the_values_are_those_of_detectron2(tmp_path: Path) -> None:
    """`detectron2/configs/Base-RCNN-FPN.yaml` and its schedule 1x."""
    config = composed(tmp_path, "experiment=coco_mask_rcnn", "data.root=x")
    found = config.model.proposals
    assert [list(sizes) for sizes in found.anchor_sizes] == [[32], [64], [128], [256], [512]]
    assert (found.kept_train, found.kept_test, found.train, found.test) == (2000, 1000, 1000, 1000)
    assert (config.model.regions.samples, config.model.regions.sampling) == (512, 0)
    assert (config.model.channels, config.model.box_features) == (256, 1024)
    optimizer, schedule, trainer = config.task.optimizer, config.task.schedule, config.trainer
    assert (optimizer.base_lr, optimizer.batch_size, optimizer.weight_decay) == (0.02, 16, 1e-4)
    assert [round(share * trainer.max_steps) for share in schedule.at] == [60000, 80000]
    assert (trainer.max_steps, schedule.warmup_steps) == (90000, 1000)
    assert list(config.data.views.sides) == [640, 672, 704, 736, 768, 800]


@pytest.mark.parametrize("objects", [True, False])
def test_batches_with_and_without_objects_train(objects: bool) -> None:
    torch.manual_seed(0)
    network, batch = small_mask_rcnn().train(), square_batch([0, 1], objects)
    losses = network.losses(batch["image"], batch["label"])
    assert set(losses) == {"classifier", "box_reg", "objectness", "rpn_box_reg", "mask"}
    torch.stack(list(losses.values())).sum().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in network.parameters())
    assert all(one.isfinite().all() for one in network.buffers())
    assert (losses["mask"] > 0) == objects


def test_a_head_without_regions_keeps_its_statistics() -> None:
    head = MaskHead(8).train()
    before = {name: value.clone() for name, value in head.named_buffers()}
    found = head(torch.zeros(0, 8, 14, 14))
    assert found.shape == (0, 8, 14, 14)
    assert all(torch.equal(value, before[name]) for name, value in head.named_buffers())
    assert head.eval()(torch.zeros(0, 8, 14, 14)).shape == (0, 8, 14, 14)


def test_anchors_of_every_map_are_one_stride_apart() -> None:
    """torchvision takes the stride from the sizes: with 800 rows, 13 cells of 64 pixels would be 61 pixels apart."""
    rcnn = small_mask_rcnn(side=800, longest=1088).eval().rcnn
    prepared, _ = rcnn.transform([torch.zeros(3, 200, 271, dtype=torch.uint8)])
    assert [tuple(size) for size in prepared.image_sizes] == [(800, 1084)]
    height, width = prepared.tensors.shape[2:]
    maps = [torch.zeros(1, 1, height // stride, width // stride) for stride in (4, 8, 16, 32, 64)]
    (anchors,) = rcnn.rpn.anchor_generator(prepared, maps)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    for level, stride in zip(maps, (4, 8, 16, 32, 64), strict=True):
        rows, columns = level.shape[2:]
        here, centres = centres[: 3 * rows * columns], centres[3 * rows * columns :]
        assert here[-1].tolist() == [stride * (columns - 1), stride * (rows - 1)]
    assert here[:, 1].max() == 768
    assert not len(centres)


def test_masks_are_those_of_the_given_image() -> None:
    torch.manual_seed(0)
    network, batch = small_mask_rcnn().eval(), square_batch([0])
    image = batch["image"][0].repeat(1, 2, 2)  # 128 x 192, and the network sees 64 x 96
    with torch.no_grad():
        network.rcnn.roi_heads.score_thresh = 0.0
        (found,) = network([image])
    assert found["masks"].shape == (len(found["boxes"]), 128, 192)
    assert found["masks"].dtype == torch.bool
    assert len(found["boxes"])
    assert found["boxes"][:, 2].max() <= 192


def test_other_encoders_are_refused() -> None:
    anchors, dilated = proposals([[8], [16], [32], [64], [96]]), resnet("resnet18", None, False, output_stride=16)
    for encoder in (dilated, resnet("resnet18", None, False, stages=3)):
        refusal(partial(mask_rcnn, encoder, 16, 32, anchors, regions(), 2, 64, 96), "expects strides [4, 8, 16, 32]")
    fixed = resnet("resnet18", None, False)
    fixed.size = (64, 64)
    refusal(lambda: mask_rcnn(fixed, 16, 32, anchors, regions(), 2, 64, 96), "images of any size")
    assert isinstance(fixed, Encoder)
    for channels in (0, 1025, 10**8):
        refusal(partial(mask_rcnn, fixed, channels, 32, anchors, regions(), 2, 64, 96), "model.channels is")
    refusal(lambda: mask_rcnn(fixed, 16, 10**8, anchors, regions(), 2, 64, 96), "model.box_features is", "to 16384")
