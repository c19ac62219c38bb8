"""Loading what a run saved."""

import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from src.errors import DenseSiamError
from src.overrides import override


class StrangeObjectsError(DenseSiamError):
    """A file holds objects that only the program which wrote it can rebuild, by running code."""


def read_tensors(path: str | Path, expected: str) -> Any:
    """Read a file that `torch.save` wrote, tensors and plain containers only; nothing in it is executed.

    The arguments that other programs keep beside their weights (`argparse.Namespace`) are no more than a dict.

    Args:
        path: of the file.
        expected: what it should hold, for the messages.

    Raises:
        StrangeObjectsError: other objects than these.
        DenseSiamError: no such file, or another kind of file.
    """
    if not Path(path).is_file():
        raise DenseSiamError(f"there is no file {path}: expected {expected}")
    try:
        with torch.serialization.safe_globals([Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the bytes make the unpickler stumble on
        # Not what torch says: its advice is to load the file unsafely.
        strange = re.search(r"GLOBAL ([\w.]+) was not an allowed", str(error))
        if strange:
            raise StrangeObjectsError(
                f"can't read {path}: it holds {strange[1]}, not tensors and plain values alone; expected {expected}"
            ) from error
        raise DenseSiamError(f"can't read {path} ({type(error).__name__}): expected {expected}, complete") from error


def first_line(error: Exception) -> str:
    """What an exception says, on one line."""
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint that a training run wrote.

    Returns:
        Lightning's dict with the run's composed config, plain containers, under `config`.

    Raises:
        DenseSiamError: see `read_tensors`; or the file holds no config, or one that would call foreign code.
    """
    expected = "a checkpoint of src.train such as outputs/.../checkpoints/last.ckpt"
    checkpoint = read_tensors(path, expected)
    if not isinstance(checkpoint, dict) or not {"config", "state_dict"} <= checkpoint.keys():
        raise DenseSiamError(f"{path} holds no config and state_dict: expected {expected}")
    foreign = [name for name in targets(checkpoint["config"]) if not name.startswith(("src.", "lightning."))]
    if foreign:
        raise DenseSiamError(
            f"{path} wants to call {foreign[0]}: expected parts of this project only; don't trust the file"
        )
    return checkpoint


def targets(config: Any) -> Iterator[str]:
    """Everything that a config, nested containers, would have Hydra call."""
    entries = config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()
    if isinstance(config, dict) and "_target_" in config:
        yield str(config["_target_"])
    for entry in entries:
        yield from targets(entry)


def encoder_config(config: dict[str, Any]) -> dict[str, Any]:
    """A run's encoder config without its weights file: the checkpoint holds all weights."""
    return {**config["model"]["encoder"], "weights": None}


def task_config(config: dict[str, Any]) -> dict[str, Any]:
    """A run's task config, likewise without the encoder's weights file."""
    return {**config["task"], "network": {**config["task"]["network"], "encoder": encoder_config(config)}}


def load(path: str | Path) -> nn.Module:
    """Load a trained network for use: a module in evaluation mode that maps images to logits.

    Args:
        path: a checkpoint of a segmentation run.

    Returns:
        Maps RGB images (B, 3, H, W), uint8 or float in [0, 1], to logits (B, N, h, w) at a quarter of the size.

    Raises:
        DenseSiamError: see `read_checkpoint`; a checkpoint of pre-training; or the weights don't fit the config.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint["config"]["task"]["_target_"] == "src.tasks.pretrain.Pretrain":
        raise DenseSiamError(
            f"{path} is of a pre-training run, which has learned no segmentation: take its encoder, "
            f"python -m src.export {override('ckpt_path', path)} output=encoder.pth"
        )
    task = OmegaConf.create(task_config(checkpoint["config"]))
    state = cast(dict[str, Tensor], checkpoint["state_dict"])
    if checkpoint["config"]["task"]["_target_"] != "src.tasks.segment.Segment":  # another method is its whole task
        protocol = instantiate(checkpoint["config"]["protocol"])
        whole: nn.Module = instantiate(task, classes=(), protocol=protocol, _convert_="all")
        whole.load_state_dict(state)
        return whole.eval()
    network: nn.Module = instantiate(task.network)(losses=())
    state = {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
    missing = sorted(set(network.state_dict()) - set(state))
    if missing:
        raise DenseSiamError(f"{path} lacks {len(missing)} weights of its network, the first is {missing[0]!r}")
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return network.eval()
