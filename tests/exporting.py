"""Checkpoints to be exported, and the command that exports them, inside a test."""

import json
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor

from src.assembly.export import export
from src.models.encoder import Encoder
from tests.composing import CONF
from tests.factories import shaken

RESNET = {"_target_": "src.models.backbones.resnet", "name": "resnet18", "weights": None, "frozen": False}
RESNET |= {"stages": 4, "padding": "zeros"}
HALF = {**RESNET, "stages": 2, "padding": "reflect"}
ORIGIN = {"config": "0" * 64, "weights": None, "encoder_weights": None, "checkpoint": None}


def checkpoint_of(config: dict[str, Any], folder: Path, **changed: Tensor | None) -> tuple[Path, Encoder]:
    """What a run with this encoder would save, with a few entries changed or left out, and the encoder itself."""
    torch.manual_seed(2)
    encoder: Encoder = instantiate({**config, "weights": None}).eval()
    entries = {
        f"network.encoder.backbone.{name}": value for name, value in shaken(encoder.backbone).state_dict().items()
    }
    entries |= {"network.head.weight": torch.zeros(1), **changed}
    state = {name: value for name, value in entries.items() if value is not None}
    path = folder / "last.ckpt"
    saved = {"state_dict": state, "config": {"model": {"encoder": config}}, "origin": ORIGIN}
    torch.save({**saved, "epoch": 3, "global_step": 17}, path)
    return path, encoder


def exported(checkpoint: Path, output: object, *overrides: str) -> dict[str, Any]:
    """The record of an export."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("export", [f"ckpt_path={checkpoint}", f"output={output}", *overrides])
    export(config)
    record: dict[str, Any] = json.loads(Path(f"{output}.json").read_text(encoding="utf-8"))
    return record
