"""Vision transformers as encoders: one map, a 1x1 neck, and every method trains on them, frozen or not."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from src.assembly.train import train
from src.models.backbones import timm_features
from src.models.dense import DenseFeatures
from src.models.necks import SimplifiedFPN
from tests.composing import composed

TINY = {"out_indices": (-1,), "dynamic_img_size": True, "depth": 2, "embed_dim": 24, "num_heads": 2, "patch_size": 8}
VIT = [f"+model.encoder.{key}={value}" for key, value in TINY.items() if key not in ("out_indices", "dynamic_img_size")]


@pytest.mark.parametrize("frozen", [True, False])
def test_the_neck_of_one_map_is_one_convolution(frozen: bool) -> None:
    encoder = timm_features("vit_tiny_patch16_224", None, frozen, **TINY)
    assert (encoder.channels, encoder.strides) == ((24,), (8,))
    network = DenseFeatures(encoder, partial(SimplifiedFPN, channels=16))
    assert [tuple(lateral.weight.shape) for lateral in network.neck.laterals] == [(16, 24, 1, 1)]
    features = network.features(torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8))
    assert features.shape == (2, 16, 4, 6)
    features.sum().backward()
    assert network.neck.laterals[0].weight.grad is not None
    learned = [parameter for parameter in encoder.parameters() if parameter.grad is not None]
    assert bool(learned) is not frozen


@pytest.mark.parametrize("row", ["densesiam", "picie_aux", "picie", "deepcluster", "iic"])
@pytest.mark.parametrize("neck", ["fpn", "principal_components"])
def test_every_method_trains_on_a_frozen_transformer(row: str, neck: str, labelled_root: Path, tmp_path: Path) -> None:
    overrides = [
        "experiment=camvid_seg",
        "debug=tiny",
        f"+ablation={row}",
        f"data.root={labelled_root}",
        "data.views.size=48",
        "model/encoder=vit_small_dino",
        f"model/neck={neck}",
        "model.encoder.name=vit_tiny_patch16_224",
        "model.encoder.weights=null",
        "model.neck.channels=16",
        "model.num_aux_categories=13",
        *VIT,
    ]
    final = train(composed(tmp_path, *overrides))
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["scores"]["after training"]["mIoU"] == pytest.approx(final)
    assert written["cost"]["steps"] == 1


@pytest.mark.parametrize("name", ["vit_small_dino", "vit_small_dinov2", "vit_small_dinov3"])
def test_named_transformers_take_images_of_any_size(name: str, tmp_path: Path) -> None:
    """Built as configured but for their weights, which can't be downloaded here, and for their depth."""
    config = composed(tmp_path, "experiment=coco_seg", f"model/encoder={name}").model.encoder
    assert config.frozen
    assert config.weights == "timm"
    encoder = instantiate(config, weights=None, depth=1)
    (only,) = encoder(torch.zeros(1, 3, 64, 96))
    assert only.shape[1] == encoder.channels[0] == 384
    assert only.shape[2:] == (-(-64 // encoder.strides[0]), -(-96 // encoder.strides[0]))
