"""Weights of the authors' release, of PiCIE and of our own runs: everything lands in its place, or is reported."""

import json
import shlex
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from src.checkpoints.pretrained import Report, load_pretrained
from src.losses import contrastive_region_loss
from src.models.backbones import efficientnet_lite0, resnet
from src.models.encoder import Encoder
from src.models.heads import RegionHead
from src.models.necks import SimplifiedFPN
from src.models.siamese import DenseSiam
from tests.comparing import assert_close
from tests.conftest import SHARED, Golden
from tests.factories import images
from tests.refusals import refusal

State = dict[str, Tensor]
LAYERS = (1, 2, 3, 4)


def densesiam(encoder: Encoder | None = None, categories: int = 27, losses: str = "dense aux region seg") -> DenseSiam:
    encoder = encoder or resnet("resnet18", None, frozen=False)
    return DenseSiam(encoder, partial(SimplifiedFPN, channels=128), categories, 128, losses=losses.split())


def random_state(shapes: dict[str, list[int]]) -> State:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(shape, generator=generator) if shape else torch.tensor(index)
        for index, (name, shape) in enumerate(shapes.items())
    }


@pytest.fixture(scope="module")
def release() -> State:
    """Random values under every name, and with every shape, of the release's state dict."""
    schedule = SHARED / "reference" / "golden" / "schedule.json"
    if not schedule.exists():
        pytest.skip(f"{schedule} is absent: it names the entries of the release's state dict")
    return random_state(json.loads(schedule.read_text(encoding="utf-8"))["state_dict"])


@pytest.fixture
def started(tmp_path: Path) -> Callable[[nn.Module, Any], Report]:
    """Saves a file and starts a network from it."""

    def start(network: nn.Module, content: Any, **options: Any) -> Report:
        torch.save(content, tmp_path / "weights.pth", **options)
        return load_pretrained(network, tmp_path / "weights.pth")

    return start


def test_every_entry_of_the_release_is_loaded_where_it_belongs(release: State, started: Any) -> None:
    network = densesiam()
    report = started(network, release)
    assert list(report.matched) == list(release)
    assert len(release) == 202
    assert not report.unmatched
    assert not report.misfits
    assert not report.missing
    own = network.state_dict()
    expected = {
        "backbone.layer4.1.bn2.running_var": "encoder.backbone.layer4.1.bn2.running_var",
        "backbone.layer2.0.downsample.0.weight": "encoder.backbone.layer2.0.downsample.0.weight",
        "decoder.layer1.weight": "neck.laterals.3.weight",  # res5
        "decoder.layer4.bias": "neck.laterals.0.bias",  # res2
        "projector.6.bias": "head.projector.6.bias",
        "predictor.1.num_batches_tracked": "head.predictor.1.num_batches_tracked",
        "aux_projector.3.weight": "aux_head.projector.3.weight",
        "aux_predictor.3.bias": "aux_head.predictor.3.bias",
        "kernel_projector.7.running_mean": "region_head.projector.7.running_mean",
        "kernel_predictor.0.weight": "region_head.predictor.0.weight",
    }
    for theirs, ours in expected.items():
        assert torch.equal(own[ours], release[theirs]), theirs
    assert sorted(value.sum().item() for value in own.values()) == sorted(v.sum().item() for v in release.values())
    assert str(report) == f"202 of 202 entries loaded from {report.source}"


@pytest.mark.parametrize("pyramid", ["even", "odd"])
def test_golden_decoder_with_weights_under_the_releases_names(golden: Golden, pyramid: str, started: Any) -> None:
    case = golden("fpn_decoder")
    network = nn.Module()
    network.neck = SimplifiedFPN([64, 128, 256, 512], 128)
    report = started(network, weights_of(case, "decoder."))
    assert len(report.matched) == 8
    found = network.neck([torch.from_numpy(case[f"{pyramid}.res{stage}"]) for stage in (2, 3, 4, 5)])
    assert_close(found, case[f"{pyramid}.out_f64"])


def test_golden_region_loss_with_weights_under_the_releases_names(golden: Golden, started: Any) -> None:
    case = golden("kernel_contrast")
    network = nn.Module()
    network.region_head = RegionHead(16, 16)
    assert not started(network, weights_of(case)).missing
    sides = [
        network.region_head(torch.from_numpy(case[f"z{view}"]), torch.from_numpy(case[f"feats_v{view}"]))
        for view in (1, 2)
    ]
    (u1, v1), (u2, v2) = sides
    assert_close(v1.flatten(0, 1), case["v1_f64"])
    assert_close(u2.flatten(0, 1), case["u2_f64"])
    loss = contrastive_region_loss(u1, v1, u2, v2, temperature=0.1, normalise=True, stop_gradient=False)
    assert_close(loss.mean(), case["loss_f64"])


def weights_of(case: dict[str, np.ndarray], prefix: str = "") -> State:
    return {prefix + name[2:]: torch.from_numpy(value) for name, value in case.items() if name.startswith("w.")}


def picie(state: State) -> State:
    """The part of the release's entries that PiCIE has too."""
    return {name: value for name, value in state.items() if name.startswith(("backbone.", "decoder."))}


@pytest.mark.parametrize("wrapping", ["mmcv", "DataParallel", "DataParallel in mmcv", "legacy file"])
def test_wrappings_are_taken_off(release: State, started: Any, wrapping: str) -> None:
    prefixed = {f"module.{name}": value for name, value in release.items()}
    content = {
        "mmcv": {"meta": {"epoch": 10, "time": "now"}, "state_dict": release, "optimizer": {"state": {}}},
        "DataParallel": prefixed,
        "DataParallel in mmcv": {"meta": {}, "state_dict": prefixed},
        "legacy file": {"state_dict": release},
    }[wrapping]
    report = started(densesiam(), content, _use_new_zipfile_serialization=wrapping != "legacy file")
    assert list(report.matched) == list(release)
    assert not report.missing


def test_picies_own_file_with_its_arguments_and_classifiers(release: State, started: Any) -> None:
    classifier = {"module.weight": torch.rand(27, 128, 1, 1), "module.bias": torch.rand(27)}
    network = densesiam()
    content = {
        "epoch": 10,
        "args": Namespace(arch="resnet18", lr=1e-4),
        "state_dict": {f"module.{name}": value for name, value in picie(release).items()},
        "classifier1_state_dict": classifier,
        "classifier2_state_dict": classifier,
        "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.rand(3)}}, "param_groups": [{"lr": 1e-4}]},
    }
    report = started(network, content)
    assert list(report.matched) == list(picie(release))
    assert list(report.unmatched) == [f"classifier{k}.{kind}" for k in (1, 2) for kind in ("weight", "bias")]
    assert {name.split(".")[0] for name in report.missing} == {"head", "aux_head", "region_head"}
    assert torch.equal(network.neck.laterals[3].weight, release["decoder.layer1.weight"])
    first, second = str(report).splitlines()
    assert first == f"128 of 132 entries loaded from {report.source}"
    assert second.startswith(
        "4 without a place in the network: classifier1.weight, classifier1.bias, classifier2.weight, ...; "
        "74 not in the file and left as they were: head.projector.0.weight, "
    )


def test_another_number_of_categories_leaves_out_the_layers_that_depend_on_it(release: State, started: Any) -> None:
    network = densesiam(categories=21)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    report = started(network, release)
    assert list(report.misfits) == [
        "projector.6.weight",
        "projector.6.bias",
        "projector.7.running_mean",
        "projector.7.running_var",
        "projector.7.num_batches_tracked",  # its shape would fit
        "predictor.0.weight",
        "predictor.3.weight",
        "predictor.3.bias",
    ]
    assert len(report.matched) == 202 - 8
    assert not report.missing
    after = network.state_dict()
    assert torch.equal(after["head.projector.3.weight"], release["projector.3.weight"])
    for name in report.misfits:
        assert torch.equal(after[f"head.{name}"], before[f"head.{name}"]), name
    assert str(report).endswith(
        "\n8 of another shape: projector.6.weight (27, 128, 1, 1) for (21, 128, 1, 1), "
        "projector.6.bias (27,) for (21,), projector.7.running_mean (27,) for (21,), ..."
    )


def test_another_backbone_takes_the_heads_alone(release: State, started: Any) -> None:
    network = densesiam(efficientnet_lite0(None, frozen=False))
    before = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    report = started(network, release)
    assert {name.split(".")[0].split("_")[-1] for name in report.matched} == {"projector", "predictor"}
    assert len(report.matched) == 202 - len(picie(release))
    assert {f"decoder.layer{layer}.bias" for layer in LAYERS} < set(report.misfits)  # of one shape, but not alone
    assert "backbone.bn1.num_batches_tracked" in report.misfits
    assert all(torch.equal(value, before[name]) for name, value in network.encoder.state_dict().items())


def test_a_deeper_resnet_takes_no_part_of_a_shallow_one(release: State, started: Any) -> None:
    network = densesiam(resnet("resnet50", None, frozen=False))
    name = "backbone.layer1.0.conv2.weight"
    before = network.encoder.state_dict()[name].clone()
    assert before.shape == release[name].shape
    report = started(network, release)
    assert name in report.misfits
    assert torch.equal(network.encoder.state_dict()[name], before)


def test_half_a_resnet_takes_its_stages_and_their_laterals(release: State, started: Any) -> None:
    network = densesiam(resnet("resnet18", None, frozen=False, stages=2), losses="")
    report = started(network, release)
    assert not report.missing
    assert torch.equal(network.neck.laterals[0].weight, release["decoder.layer4.weight"])
    assert torch.equal(network.neck.laterals[1].weight, release["decoder.layer3.weight"])
    assert {"backbone.layer3.0.conv1.weight", "decoder.layer1.weight", "predictor.0.weight"} < set(report.unmatched)


def test_a_frozen_encoder_is_loaded_and_stays_frozen(release: State, started: Any) -> None:
    network = densesiam(resnet("resnet18", None, frozen=True))
    started(network, release)
    assert torch.equal(network.encoder.backbone.conv1.weight, release["backbone.conv1.weight"])
    assert not any(parameter.requires_grad for parameter in network.encoder.parameters())
    assert not network.encoder.training


@pytest.mark.parametrize("wrapped", [True, False])
def test_our_own_weights_give_the_same_network(started: Any, wrapped: bool) -> None:
    """From a run's checkpoint, whose config is not looked at, and from a bare state dict."""
    torch.manual_seed(1)
    trained, network = densesiam().eval(), densesiam().eval()
    state = trained.state_dict()
    content = {f"network.{name}": value for name, value in state.items()}
    config = {"_target_": "os.system"}
    report = started(network, {"config": config, "state_dict": content, "global_step": 3} if wrapped else state)
    assert list(report.matched) == list(state)
    assert not report.missing
    assert torch.equal(network(images(1, 3, 64, 64)), trained(images(1, 3, 64, 64)))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"state_dict": {"conv1.weight": torch.rand(2), "fc.bias": torch.rand(2)}}, "found conv1.weight, fc.bias"),
        ({f"layer{k}": torch.rand(2) for k in LAYERS}, "found layer1, layer2, layer3, ...;"),
        ({"projector.6.bias": torch.rand(5)}, "found projector.6.bias"),
        ({}, "found no tensors"),
        ([torch.rand(2)], "found no tensors"),
    ],
)
def test_a_file_of_which_nothing_fits_is_refused(tmp_path: Path, content: Any, found: str) -> None:
    path = tmp_path / "its (own) weights.pth"
    torch.save(content, path)
    network = densesiam()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    refusal(lambda: load_pretrained(network, path), path, "nothing in", found, "expected weights of this network")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refusal(
        lambda: load_pretrained(densesiam(), tmp_path / "absent.pth"),
        "there is no file",
        "absent.pth",
        "expected weights",
    )


def test_a_file_with_other_objects_says_how_to_save_its_weights_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "epoch 10.pth"
    state = {"decoder.layer1.bias": torch.rand(128), "decoder.layer1.weight": torch.rand(128, 512, 1, 1)}
    torch.save({"meta": {"best": np.float64(41.5)}, "state_dict": state}, path)
    message = refusal(lambda: load_pretrained(densesiam(), path), path, "holds numpy.", "if you trust its author")
    monkeypatch.chdir(tmp_path)
    _, _, code = shlex.split(message[message.index("python -c ") :])
    exec(code)  # as the message says
    report = load_pretrained(densesiam(), "weights.pth")
    assert list(report.matched) == list(state)
