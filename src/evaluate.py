"""Score a checkpoint: `python -m src.evaluate ckpt_path=FILE`, on the data it was trained with or elsewhere."""

import time
from pathlib import Path

import hydra
import lightning
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.checkpoints import network_config, read_checkpoint
from src.console import hush_libraries
from src.errors import plain_errors
from src.scores import print_scores, write_scores


@hydra.main(config_path="../conf", config_name="evaluate", version_base="1.3")
def main(config: DictConfig) -> float:
    hush_libraries()
    with plain_errors():
        return evaluate(config)


def evaluate(config: DictConfig) -> float:
    """Rebuild data and task from the config in the checkpoint, score, print the table and write `scores.json`.

    Args:
        config: as `conf/evaluate.yaml` composes it; what is not null in `data` replaces the checkpoint's value.

    Returns:
        mIoU in percent.

    Raises:
        DenseSiamError: no such checkpoint, or data that isn't there.
    """
    checkpoint = read_checkpoint(config.ckpt_path)
    trained = checkpoint["config"]
    trained["model"] = trained["task"]["network"] = network_config(trained)
    trained["data"].update({key: value for key, value in config.data.items() if value is not None})
    composed = OmegaConf.create(trained)

    data = instantiate(composed.data, _convert_="all")
    task = instantiate(composed.task, classes=data.classes, _convert_="all")
    task.load_state_dict(checkpoint["state_dict"])
    callbacks = [instantiate(callback) for callback in config.callbacks.values() if callback is not None]
    trainer: lightning.Trainer = instantiate(config.trainer, callbacks=callbacks, logger=False, _convert_="all")
    started = time.perf_counter()
    trainer.validate(task, data, verbose=False)

    if trainer.is_global_zero:
        rows, protocol, output = {"checkpoint": task.scores}, {**data.protocol, **task.protocol}, config.paths.output
        print_scores(rows, protocol)
        cost = {"seconds": time.perf_counter() - started, "parameters": sum(p.numel() for p in task.parameters())}
        used = {**trained, "ckpt_path": str(config.ckpt_path), "paths": {**trained["paths"], "output": output}}
        write_scores(Path(output) / "scores.json", rows, protocol, cost, used)
        print(f"scores and pictures in {output}")
    return float(task.scores["mIoU"])


if __name__ == "__main__":
    main()
