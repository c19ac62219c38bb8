"""Files of other programs: their encoder is taken, the momentum copy never; what is no such encoder is one line."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from src.checkpoints.resnet_layouts import ENCODER, resnet_entries
from src.models.backbones import resnet, timm_features
from src.models.weights import torchvision_state
from tests.checkpoints.payloads import pickle_file
from tests.factories import pretrain_task, shaken
from tests.refusals import refusal

State = dict[str, Tensor]
TRAINED, MOMENTUM, HEAD = 1.0, 2.0, 3.0  # the values of all entries of a branch


def branch(prefix: str, name: str, value: float = TRAINED, fc: bool = False) -> State:
    """Entries of a ResNet in a file, all of one value; their memory is that of one number."""
    with torch.device("meta"):
        shapes = {entry: each.shape for entry, each in torchvision.models.get_model(name).state_dict().items()}
    return {
        f"{prefix}{entry}": torch.tensor(value if shape else int(value)).expand(shape)
        for entry, shape in shapes.items()
        if fc or not entry.startswith("fc.")
    }


def heads(*names: str) -> State:
    return {name: torch.full((3,), HEAD) for name in names}


def moco(name: str) -> Any:
    state = branch("module.encoder_k.", name, MOMENTUM) | branch("module.encoder_q.", name)
    fc = heads("module.encoder_q.fc.0.weight", "module.encoder_q.fc.2.bias", "module.encoder_k.fc.0.weight")
    return {"epoch": 200, "arch": name, "state_dict": state | fc | heads("module.queue", "module.queue_ptr")}


def densecl(name: str) -> Any:
    state = branch("encoder_q.0.", name) | branch("encoder_k.0.", name, MOMENTUM) | branch("backbone.", name)
    necks = heads("encoder_q.1.mlp.0.weight", "encoder_k.1.mlp2.2.bias", "queue", "queue2", "queue_ptr")
    return {"meta": {"epoch": 200}, "state_dict": state | necks}


def densecl_without_backbone(name: str) -> Any:
    state = densecl(name)["state_dict"]
    return {"state_dict": {entry: value for entry, value in state.items() if not entry.startswith("backbone.")}}


def simsiam(name: str) -> Any:
    state = branch("module.encoder.", name) | heads("module.encoder.fc.0.weight", "module.predictor.0.weight")
    return {"epoch": 100, "arch": name, "state_dict": state, "optimizer": {"state": {}}}


def pixpro(name: str) -> Any:
    state = branch("module.encoder_k.", name, MOMENTUM) | branch("module.encoder.", name)
    rest = heads("module.projector.linear1.weight", "module.projector_k.linear1.weight", "module.value_transform.bias")
    return {"opt": Namespace(arch=name), "model": state | rest, "epoch": 100}


def vissl(name: str) -> Any:
    trunk = branch("_feature_blocks.", name)
    trunk = {entry: value for entry, value in trunk.items() if not entry.endswith("num_batches_tracked")}
    model = {"trunk": trunk, "heads": heads("0.clf.0.weight")}
    return {"classy_state_dict": {"base_model": {"model": model}, "meters": {}}, "phase_idx": 1}


def byol_of_mmselfsup(name: str) -> Any:
    state = branch("backbone.", name) | branch("target_net.module.0.", name, MOMENTUM)
    return {"state_dict": state | heads("neck.fc0.weight", "target_net.steps", "head.predictor.fc0.weight")}


def ours(name: str) -> Any:
    state = branch(ENCODER, name) | heads("network.head.projector.0.weight")
    return {"config": {"model": {}}, "state_dict": state, "epoch": 3}


LAYOUTS: dict[str, Callable[[str], Any]] = {
    "torchvision": lambda name: branch("", name, fc=True),
    "torchvision's own training": lambda name: {"model": branch("", name, fc=True), "args": Namespace(lr=1)},
    "DataParallel": lambda name: branch("module.", name, fc=True),
    "MoCo": moco,
    "DenseCL": densecl,
    "DenseCL without backbone": densecl_without_backbone,
    "SimSiam": simsiam,
    "PixPro": pixpro,
    "VISSL": vissl,
    "VISSL's trunk": lambda name: vissl(name)["classy_state_dict"]["base_model"]["model"]["trunk"],
    "mmselfsup": byol_of_mmselfsup,
    "mmselfsup, extracted": lambda name: {"state_dict": branch("", name), "author": "MMSelfSup"},
    "encoder": lambda name: branch("encoder.", name) | branch("momentum_encoder.", name, MOMENTUM),
    "model": lambda name: branch("model.", name),
    "a checkpoint of ours": ours,
}


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_trained_encoder_is_taken(layout: str, name: str) -> None:
    entries, report = resnet_entries(LAYOUTS[layout](name), "file.pth")
    expected = {entry: value.shape for entry, value in branch("", name).items()}
    assert {entry: value.shape for entry, value in entries.items()} == expected
    counters = {entry for entry in entries if entry.endswith("num_batches_tracked")}
    assert {float(value.max()) for entry, value in entries.items() if entry not in counters} == {TRAINED}
    assert report.source.startswith("file.pth (")
    assert len(report.matched) == len(expected) - (len(counters) if "VISSL" in layout else 0)
    assert not report.misfits
    assert not report.missing


def test_the_report_names_one_entry_of_each_part_that_is_left_out() -> None:
    _, report = resnet_entries(moco("resnet18"), "moco.pth.tar")
    assert str(report).splitlines() == [
        "120 of 245 entries loaded from moco.pth.tar (MoCo, and DetCo and ReSim after it: facebookresearch/moco "
        "main_lincls.py)",
        "125 without a place in the network: module.encoder_k.conv1.weight, module.encoder_q.fc.0.weight, "
        "module.queue, ...",
    ]


@pytest.mark.parametrize(
    "content",
    [
        branch("teacher.", "resnet18"),
        {"state_dict": branch("module.encoder_k.", "resnet18")},
        {"teacher": branch("module.backbone.", "resnet18")},
        {"state_dict": branch("target_net.module.0.", "resnet18")},
        {"model_ema": branch("", "resnet18")},
        branch("", "mobilenet_v2"),
        {},
        [1, 2],
        torch.zeros(3),
        {"conv1": "weight"},
        {3: torch.zeros(1)},
    ],
    ids=["teacher", "MoCo's keys", "DINO's teacher", "BYOL's target", "average", "MobileNet", *"abcde"],
)
def test_what_is_no_trained_resnet_is_refused(content: Any) -> None:
    refusal(lambda: resnet_entries(content, "file.pth"), "nothing in file.pth is an encoder")


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("resnet18", branch("", "resnet50"), ["a ResNet-50, for resnet18"]),
        ("resnet50", branch("", "resnet18"), ["a ResNet-18, for resnet50"]),
        ("resnet34", moco("resnet18"), ["a ResNet-18, for resnet34", "layer1.2.conv1.weight"]),
        ("resnet50", branch("", "resnet34"), ["a ResNet-34, for resnet50"]),
        ("resnet50", branch("", "resnet101"), ["a ResNet-101, for resnet50", "layer3.6.conv1.weight"]),
        (
            "resnet50",
            branch("", "wide_resnet50_2"),
            ["a ResNet with 3, 4, 6, 3 blocks of 3 convolutions, 128 channels"],
        ),
    ],
)
def test_another_resnet_is_named(name: str, content: Any, parts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save(content, path)
    refusal(lambda: torchvision_state(name, str(path)), path, *parts)


@pytest.mark.parametrize(
    ("left_out", "part"),
    [
        ("conv1.", "a part of a ResNet only"),
        ("layer2.1.bn2.weight", "a part of resnet18 only: 1 entries are missing"),
        ("layer2.1", "a ResNet with 2, 1, 2, 2 blocks"),
        ("layer4", "has no layer4: expected 4 stages of resnet18"),
    ],
)
def test_a_missing_part_is_named(left_out: str, part: str, tmp_path: Path) -> None:
    state = {entry: value for entry, value in branch("", "resnet18").items() if not entry.startswith(left_out)}
    path = tmp_path / "file.pth"
    torch.save(state, path)
    refusal(lambda: torchvision_state("resnet18", str(path)), path, part)


def test_nan_is_refused() -> None:
    state = branch("backbone.", "resnet18")
    state["backbone.layer1.0.conv1.weight"] = torch.full((64, 64, 3, 3), float("nan"))
    refusal(lambda: resnet_entries(state, "file.pth"), "layer1.0.conv1.weight in file.pth is not finite")


def test_no_code_of_a_file_runs(tmp_path: Path) -> None:
    path = tmp_path / "made"
    file = pickle_file(path)
    refusal(lambda: torchvision_state("resnet18", file), "can't read", file)
    refusal(lambda: timm_features("resnet10t", file, False), "can't read", file)
    assert not path.exists()


def same(found: nn.Module, expected: nn.Module) -> bool:
    one, other = found.state_dict(), expected.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def checkpoint_of(task: nn.Module, path: Path) -> str:
    torch.save({"config": {}, "state_dict": task.state_dict()}, path)
    return str(path)


def test_a_checkpoint_of_ours_starts_an_encoder(tmp_path: Path) -> None:
    task = pretrain_task()
    shaken(task.network.encoder)
    encoder = resnet("resnet18", checkpoint_of(task, tmp_path / "last.ckpt"), frozen=False)
    assert same(encoder.backbone, task.network.encoder.backbone)
    assert encoder.report is not None
    assert next(iter(encoder.report.matched)) == f"{ENCODER}conv1.weight"
    assert {name.split(".")[1] for name in encoder.report.unmatched} == {"head", "image_head", "region_head"}


def test_half_an_encoder_starts_half_an_encoder(tmp_path: Path) -> None:
    half = pretrain_task(encoder=shaken(resnet("resnet18", None, frozen=False, stages=2)))
    file = checkpoint_of(half, tmp_path / "last.ckpt")
    assert same(resnet("resnet18", file, False, stages=2).backbone, half.network.encoder.backbone)
    assert resnet("resnet18", file, False, stages=1).report is not None
    refusal(lambda: resnet("resnet18", file, False), "has no layer3, layer4", "set model.encoder.stages=2")


def test_a_checkpoint_of_ours_starts_an_encoder_of_timm(tmp_path: Path) -> None:
    task = pretrain_task(encoder=shaken(timm_features("resnet10t", None, False)))
    encoder = timm_features("resnet10t", checkpoint_of(task, tmp_path / "last.ckpt"), False)
    assert same(encoder.backbone, task.network.encoder.backbone)
    assert str(encoder.report).startswith(f"{len(task.network.encoder.backbone.state_dict())} of ")
    refusal(lambda: timm_features("resnet14t", str(tmp_path / "last.ckpt"), False), "don't fit")
