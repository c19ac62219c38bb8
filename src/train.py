"""Train and score: `python -m src.train experiment=NAME`."""

import time
from pathlib import Path
from typing import Any, cast

import hydra
import lightning
import torch
import wandb
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.callbacks import ConfigInCheckpoint, Throughput
from src.checkpoints import read_checkpoint
from src.console import hush_libraries
from src.errors import DenseSiamError, plain_errors
from src.scores import print_scores, write_scores

GROUPS = ("data", "model", "task", "trainer", "callbacks", "logger", "floors", "paths")
VALUES = ("seed", "ckpt_path", "score_before", "floor_images")


@hydra.main(config_path="../conf", config_name="train", version_base="1.3")
def main(config: DictConfig) -> float:
    hush_libraries()
    with plain_errors():
        return train(config)


def train(config: DictConfig) -> float:
    """Score the network as it starts and the floors, train, score again, print the table and write `scores.json`.

    Args:
        config: as `conf/train.yaml` composes it.

    Returns:
        Final mIoU in percent, which a sweep can compare.

    Raises:
        DenseSiamError: a mistake in the config or the data.
    """
    strange = [str(key) for key in config if key not in GROUPS + VALUES]
    if strange:
        raise DenseSiamError(f"the config has {', '.join(strange)}: expected only {', '.join(GROUPS + VALUES)}")
    if config.ckpt_path is not None:
        read_checkpoint(config.ckpt_path)  # a wrong path should not show only after the floors
    started = time.perf_counter()
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))

    data = instantiate(config.data, _convert_="all")
    data.setup("fit")  # missing or too few images should not show only after the floors
    task = instantiate(config.task, classes=data.classes, _convert_="all")
    throughput = Throughput()
    callbacks = [throughput, ConfigInCheckpoint(plain), *chosen(config.callbacks)]
    wandb.finish()  # an earlier job of the same sweep, even a failed one, must not be gone on with
    logger = chosen(config.logger)
    trainer: lightning.Trainer = instantiate(config.trainer, callbacks=callbacks, logger=logger, _convert_="all")

    for each in trainer.loggers:
        each.log_hyperparams(plain)

    rows: dict[str, dict[str, float]] = {}
    if config.score_before:
        rows["before training"] = score(trainer, task, data)
    for label, floor_config in config.floors.items():
        floor = instantiate(floor_config, classes=data.classes, _convert_="all")
        floor.fit(data.whole_train_dataloader(config.floor_images, torch.Generator().manual_seed(config.seed)))
        rows[str(label)] = score(trainer, floor, data)
    trainer.fit(task, data, ckpt_path=config.ckpt_path)
    rows["after training"] = score(trainer, task, data)

    if trainer.is_global_zero:
        protocol = {**data.protocol, **task.protocol}
        cost = {
            "steps": trainer.global_step,
            "epochs": trainer.current_epoch,
            "train_seconds": throughput.train_seconds,
            "total_seconds": time.perf_counter() - started,
            "parameters": sum(parameter.numel() for parameter in task.parameters()),
        }
        output = Path(config.paths.output)
        print_scores(rows, protocol)
        write_scores(output / "scores.json", rows, protocol, cost, plain)
        print(f"{cost['steps']} steps in {cost['train_seconds']:.0f} s; scores, pictures and checkpoint in {output}")
    return rows["after training"]["mIoU"]


def score(trainer: lightning.Trainer, module: Any, data: Any) -> dict[str, float]:
    """Validate a module; its scores in percent."""
    trainer.validate(module, data, verbose=False)
    return dict(module.scores)


def chosen(group: DictConfig) -> list[Any]:
    """The objects of a config group, without the entries that are switched off by null."""
    return [instantiate(entry) for entry in group.values() if entry is not None]


if __name__ == "__main__":
    main()
