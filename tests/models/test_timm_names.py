"""Files of whole timm models, for backbones whose names differ."""

from pathlib import Path
from typing import Any

import pytest
import torch

from src.models.backbones import timm_features
from src.models.timm_names import entries_of_backbone, names_in_model
from src.models.weights import state_file
from tests.refusals import refusal

timm = pytest.importorskip("timm")


@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet10t", {}), ("convnext_atto", {"out_indices": [1, 2]}), ("vit_tiny_patch16_224", {"out_indices": [-1]})],
)
def test_backbones_start_from_files_of_whole_models(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = timm.create_model(name, num_classes=7).state_dict()
    torch.save(whole, tmp_path / "a.pth")
    backbone = timm_features(name, str(tmp_path / "a.pth"), False, **options).backbone.state_dict()
    names = names_in_model(backbone.keys(), whole.keys())
    assert len(set(names.values())) == len(names)
    assert all(torch.equal(value, whole[names[entry]]) for entry, value in backbone.items())


def test_unknown_entries_are_kept_to_be_refused(tmp_path: Path) -> None:
    state = {"stages.0.a": torch.ones(1), "head.b": torch.ones(2), "strange": torch.ones(3)}
    found = entries_of_backbone(["stages_0.a"], ["stages.0.a", "head.b"], state)
    assert list(found) == ["stages_0.a", "strange"]
    refusal(lambda: names_in_model(["a", "b"], ["b"]), "no entry for 1 weights", "'a'")
    torch.save({**timm.create_model("resnet10t").state_dict(), "strange": torch.ones(1)}, tmp_path / "a.pth")
    refusal(lambda: timm_features("resnet10t", str(tmp_path / "a.pth"), False), "1 entries", "'strange'")


def test_damaged_safetensors_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{nothing")
    refusal(lambda: state_file(tmp_path / "a.safetensors"), "can't read", "a file with a state dict, complete")
    refusal(lambda: state_file(tmp_path / "b.safetensors"), "there is no file")
