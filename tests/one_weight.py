"""The smallest training that Lightning does, which tells of each thing that happens in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

BATCHES = 5
See = Callable[[str], None]


class Numbers(Dataset[Tensor]):
    """A number per batch; `see` is told when one is read."""

    def __init__(self, see: See) -> None:
        self.see = see

    def __len__(self) -> int:
        return BATCHES

    def __getitem__(self, index: int) -> Tensor:
        self.see("read")
        return torch.tensor([float(index)])


class OneWeight(lightning.LightningModule):
    def __init__(self, see: See) -> None:
        super().__init__()
        self.weight, self.see = torch.nn.Parameter(torch.ones(())), see

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.see("step")
        return (self.weight * batch).sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Told(Callback):
    """Tells of what Lightning does, and acts at the end of each batch."""

    def __init__(self, see: See, act: Callable[[lightning.Trainer], None]) -> None:
        self.see, self.act = see, act

    def on_train_start(self, *_: Any) -> None:
        self.see("start")

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.see("batch end")
        self.act(trainer)

    def on_validation_start(self, *_: Any) -> None:
        self.see("validation")

    def on_train_epoch_end(self, *_: Any) -> None:
        self.see("epoch end")


def trained(
    see: Callable[[lightning.Trainer, str], None] = lambda trainer, event: None,
    act: Callable[[lightning.Trainer], None] = lambda trainer: None,
    callbacks: tuple[Callback, ...] = (),
    ckpt_path: Path | None = None,
    **options: Any,
) -> lightning.Trainer:
    """Train for an epoch of five batches.

    Args:
        see: gets the trainer and the name of each event.
        act: gets the trainer at the end of each batch.
        callbacks: further ones.
        ckpt_path: to go on from.
        options: of the trainer.
    """

    def told(event: str) -> None:
        if not trainer.sanity_checking:
            see(trainer, event)

    trainer = lightning.Trainer(
        callbacks=[Told(told, act), *callbacks],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=any(isinstance(each, ModelCheckpoint) for each in callbacks),
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 1, **options},
    )
    val = DataLoader(Numbers(lambda event: None), batch_size=None)
    trainer.fit(OneWeight(told), DataLoader(Numbers(told), batch_size=None), val, ckpt_path=ckpt_path)
    return trainer
