"""The config of a run inside every checkpoint that it writes."""

from collections.abc import Mapping
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback


class ConfigInCheckpoint(Callback):
    """Writes the composed config into every checkpoint, so that it can be rebuilt from the file alone.

    Args:
        config: plain containers, interpolations resolved.
        origin: what the run is made from, see `src.checkpoints.provenance`; written beside the config.
    """

    def __init__(self, config: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
        self.config, self.origin = dict(config), dict(origin)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["config"], checkpoint["origin"] = self.config, self.origin
