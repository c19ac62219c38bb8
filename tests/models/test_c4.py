"""Faster R-CNN with a C4 backbone: its definition, counted by hand, and its start from weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from hydra.utils import instantiate
from torch import nn
from torchvision.ops import MultiScaleRoIAlign

from src.models.backbones import efficientnet_lite0
from src.models.c4 import efficientnet_lite0_c4, faster_rcnn, resnet_c4
from src.models.rcnn import AlignedPool
from tests.composing import composed
from tests.detecting import proposals, regions, small_faster_rcnn, square_batch
from tests.refusals import refusal

ANCHORS, CLASSES = 15, 20  # 5 sizes x 3 ratios; PASCAL VOC


def bottlenecks(count: int, entry: int, width: int) -> int:
    """Parameters of a stage of a ResNet-50, counted by the definition of He et al., Table 1, with batch norm."""
    out = 4 * width
    first = entry * width + 9 * width * width + width * out + entry * out + 2 * (width + width + out + out)
    other = out * width + 9 * width * width + width * out + 2 * (width + width + out)
    return first + (count - 1) * other


def test_resnet50_c4_has_the_parameters_of_detectron2s_definition(tmp_path: Path) -> None:
    """`R_50_C4` with `Res5ROIHeadsExtraNorm` and class-specific boxes; torchvision's have a row for the background."""
    stem = 3 * 64 * 49 + 2 * 64
    trunk = stem + bottlenecks(3, 64, 64) + bottlenecks(4, 256, 128) + bottlenecks(6, 512, 256)
    rpn = 9 * 1024 * 1024 + 1024 + (1024 + 1) * ANCHORS + (1024 + 1) * 4 * ANCHORS
    head = bottlenecks(3, 1024, 512) + 2 * 2048
    predictor = (2048 + 1) * (CLASSES + 1) + (2048 + 1) * 4 * (CLASSES + 1)
    config = composed(tmp_path, "experiment=voc_faster_rcnn", "data.root=x")
    network = instantiate(config.model, _convert_="all")(num_classes=CLASSES, side=800, longest=1333)
    assert sum(one.numel() for one in network.parameters()) == trunk + rpn + head + predictor
    assert all(one.requires_grad for one in network.parameters())
    assert all(one.training for one in network.train().modules())
    box_head = network.rcnn.roi_heads.box_head
    assert isinstance(box_head.norm, nn.BatchNorm2d)
    first = box_head.last.layer4[0]
    assert (first.conv1.stride, first.conv2.stride) == ((1, 1), (2, 2))  # STRIDE_IN_1X1: False
    maps = network.rcnn.backbone.eval()(torch.zeros(1, 3, 64, 96))
    assert {name: tuple(level.shape) for name, level in maps.items()} == {"0": (1, 1024, 4, 6)}
    assert box_head.eval()(torch.zeros(2, 1024, 14, 14)).shape == (2, 2048)
    assert network.rcnn.roi_heads.box_roi_pool(maps, [torch.tensor([[0.0, 0.0, 90.0, 60.0]])], None).shape[2:] == (
        14,
        14,
    )


def test_the_values_are_those_of_detectron2(tmp_path: Path) -> None:
    """`detectron2/config/defaults.py`, with MoCo's `Base-RCNN-C4-BN.yaml` and `pascal_voc_R_50_C4_24k.yaml`."""
    config = composed(tmp_path, "experiment=voc_faster_rcnn", "model/encoder=resnet18_c4", "data.root=x")
    rcnn = instantiate(config.model, _convert_="all")(num_classes=CLASSES, side=800, longest=1333).rcnn
    rpn, heads = rcnn.rpn, rcnn.roi_heads
    assert rpn.anchor_generator.sizes == ((32, 64, 128, 256, 512),)
    assert rpn.anchor_generator.aspect_ratios == ((0.5, 1.0, 2.0),)
    assert rpn._pre_nms_top_n == {"training": 12000, "testing": 6000}
    assert rpn._post_nms_top_n == {"training": 2000, "testing": 1000}
    assert (rpn.nms_thresh, rpn.proposal_matcher.high_threshold, rpn.proposal_matcher.low_threshold) == (0.7, 0.7, 0.3)
    assert (rpn.fg_bg_sampler.batch_size_per_image, rpn.fg_bg_sampler.positive_fraction) == (256, 0.5)
    assert (heads.fg_bg_sampler.batch_size_per_image, heads.fg_bg_sampler.positive_fraction) == (512, 0.25)
    assert (heads.score_thresh, heads.nms_thresh, heads.detections_per_img) == (0.05, 0.5, 100)
    assert heads.box_coder.weights == (10.0, 10.0, 5.0, 5.0)
    assert (heads.box_roi_pool.size, heads.box_roi_pool.sampling, heads.box_roi_pool.strides) == (14, 0, (16,))
    optimizer, schedule, trainer = config.task.optimizer, config.task.schedule, config.trainer
    assert (optimizer.base_lr, optimizer.batch_size, optimizer.base_batch_size) == (0.02, 16, 16)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 1e-4)
    assert [round(share * trainer.max_steps) for share in schedule.at] == [18000, 22000]
    assert (schedule.factor, schedule.warmup_steps, schedule.warmup_factor) == (0.1, 100, 0.001)
    assert (trainer.max_steps, config.callbacks.precise_bn.num_batches) == (24000, 200)
    assert list(config.data.views.sides) == list(range(480, 801, 32))
    assert (config.data.views.longest, config.protocol.side, config.protocol.longest) == (1333, 800, 1333)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_torchvision_file_loads_into_trunk_and_last_stage(name: str, tmp_path: Path) -> None:
    torch.save(state := torchvision.models.get_model(name, weights=None).state_dict(), tmp_path / "weights.pth")
    encoder = resnet_c4(name, str(tmp_path / "weights.pth"), frozen=False)
    found = encoder.trunk.backbone.state_dict() | encoder.last.state_dict()
    assert set(found) == {key for key in state if not key.startswith("fc.")}
    assert all(torch.equal(value, state[key]) for key, value in found.items())


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "weights.pth")
    refusal(
        lambda: resnet_c4("resnet18", str(tmp_path / "weights.pth"), frozen=False), "holds a ResNet-34, for resnet18"
    )


@pytest.mark.parametrize(
    "make", [lambda: resnet_c4("resnet18", None, False), lambda: efficientnet_lite0_c4("pypi", False)]
)
def test_the_whole_backbone_is_found_again(make: Callable[[], nn.Module]) -> None:
    network = faster_rcnn(make(), 4, proposals([[16, 32]]), regions(), 2, 64, 96)
    whole = network.backbone()
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.fill_(0.25)
    changed = [name for name, value in network.named_parameters() if (value == 0.25).all()]
    parts = ("rcnn.backbone.encoder.backbone.", "rcnn.roi_heads.box_head.last.")
    assert changed == [name for name, _ in network.named_parameters() if name.startswith(parts)]
    assert {name.removeprefix(parts[0]).removeprefix(parts[1]) for name in changed} == dict(
        whole.named_parameters()
    ).keys()


def test_efficientnet_lite0_is_cut_without_loss() -> None:
    images = torch.randint(0, 256, (1, 3, 96, 64), dtype=torch.uint8)
    whole, cut = efficientnet_lite0("pypi", False).eval(), efficientnet_lite0_c4("pypi", False).eval()
    maps, expected = cut.trunk(images), whole(images)
    assert [level.shape for level in maps] == [level.shape for level in expected[:3]]
    torch.testing.assert_close(cut.last(maps[-1]), expected[-1])
    assert cut.channels == expected[-1].shape[1] == 320
    assert torch.equal(cut.trunk.mean, whole.mean)


def test_a_frozen_trunk_keeps_its_weights_and_the_last_stage_learns() -> None:
    for encoder in (resnet_c4("resnet18", None, True), efficientnet_lite0_c4(None, True)):
        assert not any(one.requires_grad for one in encoder.trunk.parameters())
        assert all(one.requires_grad for one in encoder.last.parameters())
        assert not any(one.training for one in encoder.train().trunk.modules())
    some = resnet_c4("resnet18", None, False, frozen_stages=1).trunk.backbone
    assert {name.split(".")[0] for name, one in some.named_parameters() if one.requires_grad} == {"layer2", "layer3"}


def test_anchors_that_leave_the_image_are_kept() -> None:
    """In torchvision of this version, as in detectron2; a version that discards them would label them -1."""
    rpn = proposals([[512]]).network(channels=8, maps=1)
    anchors = [torch.tensor([[-200.0, -200.0, 312.0, 312.0], [0.0, 0.0, 64.0, 64.0]])]
    labels, _ = rpn.assign_targets_to_anchors(anchors, [{"boxes": torch.zeros(0, 4)}])
    assert labels[0].tolist() == [0, 0]
    labels, _ = rpn.assign_targets_to_anchors(anchors, [{"boxes": torch.tensor([[-150.0, -190.0, 300.0, 300.0]])}])
    assert labels[0].tolist() == [1, 0]


def test_pooling_reads_where_the_region_lies() -> None:
    """On a map whose cell (y, x) holds the centre of its pixels, a pooled cell holds the centre of its part."""
    stride = 16
    centres = (torch.arange(20.0) + 0.5) * stride
    maps = {"0": torch.stack([centres.expand(20, 20), centres[:, None].expand(20, 20)])[None]}
    box = torch.tensor([[40.0, 60.0, 152.0, 200.0]])
    pooled = AlignedPool([stride], 7, 2)(maps, [box], None)[0]
    torch.testing.assert_close(pooled[0, 0], 40 + (torch.arange(7) + 0.5) * 16.0)
    torch.testing.assert_close(pooled[1, :, 0], 60 + (torch.arange(7) + 0.5) * 20.0)
    shifted = MultiScaleRoIAlign(["0"], 7, 2)(maps, [box], [(320, 320)])[0]
    torch.testing.assert_close(shifted, pooled + stride / 2)  # torchvision's reads half a cell further


def test_pooling_of_several_maps_chooses_the_map_by_size() -> None:
    maps = {str(level): torch.full((2, 1, 256 >> level, 256 >> level), float(level)) for level in range(4)}
    boxes = [torch.tensor([[0.0, 0.0, 60.0, 60.0], [0.0, 0.0, 448.0, 448.0]]), torch.tensor([[0.0, 0.0, 224.0, 224.0]])]
    pooled = AlignedPool([4, 8, 16, 32], 2, 2)({**maps, "pool": torch.zeros(2, 1, 8, 8)}, boxes, None)
    assert pooled[:, 0, 0, 0].tolist() == [0, 3, 2]  # 224 pixels read stride 16 (FPN, equation 1)


def test_images_without_objects_train() -> None:
    torch.manual_seed(0)
    network, batch = small_faster_rcnn().train(), square_batch([0, 1], objects=False)
    losses = network.losses(batch["image"], batch["label"])
    assert set(losses) == {"classifier", "box_reg", "objectness", "rpn_box_reg"}
    torch.stack(list(losses.values())).sum().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in network.parameters())
    assert losses["box_reg"] == losses["rpn_box_reg"] == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"anchor_sizes": 3}, "model.proposals.anchor_sizes is 3"),
        ({"anchor_sizes": [[32], [64]]}, "expected 1 lists of equal lengths"),
        ({"anchor_sizes": [[0]]}, "model.proposals.anchor_sizes is 0"),
        ({"anchor_sizes": [[32]], "anchor_ratios": []}, "model.proposals.anchor_ratios is []"),
        ({"anchor_sizes": [[32]], "nms_iou": 2}, "model.proposals.nms_iou is 2"),
        ({"anchor_sizes": [[32]], "background_iou": 0.9}, "expected the first to be at most the second"),
        ({"anchor_sizes": [[32]], "samples": 0}, "model.proposals.samples is 0"),
    ],
)
def test_values_of_proposals_are_checked(values: dict[str, object], said: str) -> None:
    refusal(lambda: proposals(**values).network(8, maps=1), said)


def test_values_of_regions_and_encoder_are_checked() -> None:
    refusal(lambda: regions(min_score=1), "model.regions.min_score is 1")
    refusal(lambda: regions(detections="x"), "model.regions.detections is 'x'")
    encoder = resnet_c4("resnet18", None, False)
    refusal(lambda: faster_rcnn(encoder.trunk, 4, proposals([[16]]), regions(), 2, 64, 96), "resnet50_c4")
    refusal(lambda: faster_rcnn(encoder, 1, proposals([[16]]), regions(), 2, 64, 96), "model.pooled is 1")
    refusal(lambda: faster_rcnn(encoder, 4, None, regions(), 2, 64, 96), "model.proposals is None")
