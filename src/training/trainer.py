"""Makes the trainer; refuses values that Lightning would accept silently or on which it would fail hours later."""

import os
from collections.abc import Mapping
from typing import Any, cast

import lightning
from hydra.utils import instantiate
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from omegaconf import DictConfig, OmegaConf

from src.checks import check_choice, check_flag, check_int, check_number, check_text
from src.errors import DenseSiamError
from src.training.precision import fast_precision

MOST = {"max_epochs": 1_000_000, "max_steps": 1_000_000_000}
LONGEST_TAG = 64  # letters of a tag in wandb
COUNTS = {  # the lowest valid value of each
    "min_epochs": 0,
    "min_steps": 0,
    "check_val_every_n_epoch": 1,
    "log_every_n_steps": 1,
    "num_sanity_val_steps": -1,
    "accumulate_grad_batches": 1,
    "num_nodes": 1,
    "reload_dataloaders_every_n_epochs": 0,
}
NUMBERS = (
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "limit_predict_batches",
    "overfit_batches",
    "gradient_clip_val",
)
FLAGS = (
    "barebones",
    "benchmark",
    "detect_anomaly",
    "enable_checkpointing",
    "enable_model_summary",
    "enable_progress_bar",
    "inference_mode",
    "sync_batchnorm",
)
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true")


def make_trainer(config: DictConfig, **given: Any) -> lightning.Trainer:
    """The trainer that a config describes.

    Args:
        config: a config of `conf/trainer/`.
        given: further arguments, which replace those of the config.

    Raises:
        DenseSiamError: a value is out of its range, or this machine doesn't have the device.
        InstantiationException: Lightning itself refuses a value; `plain_errors` shortens this to one line.
    """
    values = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True)) | given
    check_trainer(values)
    if values.get("precision") == "auto":
        given["precision"] = fast_precision(values.get("accelerator", "auto"))
    trainer: lightning.Trainer = instantiate(config, **given, _convert_="all")
    return trainer


def check_trainer(values: Mapping[str, Any]) -> None:
    """Refuse arguments of a trainer that are out of their range.

    Args:
        values: arguments by name; Lightning uses its own default for one that is absent or null.

    Raises:
        DenseSiamError: an argument is out of its range; the message names the first.
    """
    present = {key: value for key, value in values.items() if value is not None}
    ends = [key for key in MOST if present.get(key, -1) != -1]
    for key in ends:
        check_int(f"trainer.{key}", present[key], low=1, high=MOST[key])
    if not ends:
        raise DenseSiamError(
            "the run would have no end: expected a number of epochs, trainer.max_epochs=10, or of steps, "
            "trainer.max_steps=1000"
        )
    interval = present.get("val_check_interval", 1.0)
    if isinstance(interval, bool | int | float):  # Lightning also accepts durations
        check_number("trainer.val_check_interval", interval, above=0)
    for key, low in COUNTS.items():
        if key in present:
            check_int(f"trainer.{key}", present[key], low)
    for key in NUMBERS:
        if key in present:
            check_number(f"trainer.{key}", present[key], low=0)
    for key in FLAGS:
        if key in present:
            check_flag(f"trainer.{key}", present[key])
    if not isinstance(present.get("fast_dev_run", False), bool):
        check_int("trainer.fast_dev_run", present["fast_dev_run"], otherwise="or true or false")
    if present.get("deterministic", "warn") != "warn":
        check_flag("trainer.deterministic", present["deterministic"])
    if present.get("use_distributed_sampler") is not False:
        raise DenseSiamError("trainer.use_distributed_sampler has to be false: the data deals itself out to processes")
    if "default_root_dir" in present:
        check_text("trainer.default_root_dir", present["default_root_dir"])
    if isinstance(present.get("strategy"), str):
        check_choice("trainer.strategy", present["strategy"], STRATEGIES)
    check_devices(present.get("accelerator", "auto"), present.get("devices", "auto"))


def check_loggers(loggers: Mapping[str, Any]) -> None:
    """Refuse names and folders of loggers that are no text, and tags that are no list of texts.

    Otherwise the loggers would fail when they first log.

    Args:
        loggers: configs of `conf/logger/` by name; null for a logger that is switched off.

    Raises:
        DenseSiamError: a value is something else; the message names the first.
    """
    for name, values in loggers.items():
        for key in ("save_dir", "name", "project", "entity", "group", "job_type"):
            value = (values or {}).get(key)
            if value is not None and not isinstance(value, str):
                check_text(f"logger.{name}.{key}", value, "or null")
        tags = (values or {}).get("tags")
        texts = isinstance(tags, list) and all(isinstance(tag, str) and 0 < len(tag) <= LONGEST_TAG for tag in tags)
        if tags is not None and not texts:
            raise DenseSiamError(
                f"logger.{name}.tags is {tags!r}: expected a list of texts of 1 to {LONGEST_TAG} letters, [one,two]"
            )


def check_devices(accelerator: Any, devices: Any) -> None:
    """Refuse GPUs that the machine doesn't have, and more processes on a CPU than it can run.

    Raises:
        DenseSiamError: there are not enough devices; the message names those that there are.
    """
    check_text("trainer.accelerator", accelerator)
    gpus = CUDAAccelerator.is_available() or MPSAccelerator.is_available()
    if accelerator in ("gpu", "cuda", "mps") and not gpus:
        raise DenseSiamError(
            f"trainer.accelerator is {accelerator}, but torch finds no GPU on this machine: set "
            "trainer.accelerator=cpu, or trainer=ddp_cpu for two processes on the CPU"
        )
    if isinstance(devices, str | list | tuple) or devices == -1:
        return  # Lightning itself checks lists of GPUs, which can be written in several ways
    check_int("trainer.devices", devices, low=1, otherwise="or auto, or a list of GPUs")
    most = max(2, os.cpu_count() or 1)
    if not gpus and devices > most:
        raise DenseSiamError(
            f"trainer.devices is {devices}, and there is no GPU: expected at most {most} processes on this CPU"
        )
