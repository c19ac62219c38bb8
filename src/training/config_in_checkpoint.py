"""Every checkpoint holds the config of the run that wrote it, and the id of the run in wandb."""

from collections.abc import Mapping
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from src.training.loggers import Wandb


class ConfigInCheckpoint(Callback):
    """Writes the composed config into every checkpoint, so that the network can be rebuilt from the file alone.

    Args:
        config: the config as plain containers, with interpolations resolved.
        origin: what the run is made from, see `src.checkpoints.provenance`; it is written beside the config.
    """

    def __init__(self, config: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
        self.config, self.origin = dict(config), dict(origin)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["config"], checkpoint["origin"] = self.config, self.origin
        ids = [logger.version for logger in trainer.loggers if isinstance(logger, Wandb)]
        checkpoint["wandb_id"] = next(iter(ids), None)
