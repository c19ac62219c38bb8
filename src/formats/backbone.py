"""An encoder to be exported, in the form that all writers of backbones take."""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from src.checkpoints.rebuilding import constructor
from src.models.backbones import resnet
from src.models.encoder import Encoder


class Backbone(NamedTuple):
    """The encoder of a checkpoint.

    Attributes:
        encoder: the encoder with its weights, in evaluation mode.
        config: its config.
    """

    encoder: Encoder
    config: Mapping[str, Any]

    @property
    def is_torchvision(self) -> bool:
        """Whether it is a ResNet of torchvision; otherwise it is a model of timm."""
        return constructor(self.config["_target_"]) is resnet

    @property
    def name(self) -> str:
        """The name of the model in its library, such as `resnet50`."""
        return str(self.config.get("name", f"tf_{constructor(self.config['_target_']).__name__}"))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that differ from the library's defaults; without them, the same weights give other outputs."""
        parameters = inspect.signature(constructor(self.config["_target_"])).parameters
        return {
            key: value
            for key, value in self.config.items()
            if key not in ("name", "weights", "frozen", "frozen_stages")
            and not key.startswith("_")
            and value != (parameters[key].default if key in parameters else None)
        }

    @property
    def state(self) -> dict[str, Tensor]:
        """The weights by their names in the backbone."""
        entries: dict[str, Tensor] = self.encoder.backbone.state_dict()
        return entries


class Written(NamedTuple):
    """What a writer gives.

    Attributes:
        content: the bytes of the file.
        record: entries of the JSON record that only this format has.
        lines: what the user has to know, such as how to load the file, one line each.
    """

    content: bytes
    record: dict[str, Any]
    lines: list[str]
