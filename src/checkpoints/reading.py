"""Reading of saved files, which may come from a stranger: no code in them is executed, and damage is detected."""

import re
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.checkpoints.finite import not_finite
from src.checkpoints.previous import hint
from src.errors import DenseSiamError

DEEPEST, LARGEST = 32, 100_000  # far more than a real config, which has a few levels and some hundred entries


class StrangeObjectsError(DenseSiamError):
    """A file holds objects other than tensors and plain values; to load them, code would have to run."""


def read_tensors(path: str | Path, expected: str) -> Any:
    """Read a file that `torch.save` wrote, if it holds only tensors and plain containers. No code in it is executed.

    `argparse.Namespace` is allowed too, because many programs save their arguments with the weights; it is as harmless
    as a dict.

    Args:
        path: path of the file.
        expected: what the file should hold, in words for messages.

    Raises:
        StrangeObjectsError: the file holds other objects.
        DenseSiamError: there is no such file, it is of another kind, or its bytes have changed since it was written.
    """
    if not Path(path).is_file():
        raise DenseSiamError(f"there is no file {path}: expected {expected}{hint(Path(path))}")
    try:
        check_sums(Path(path))
        with torch.serialization.safe_globals([Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except DenseSiamError:
        raise
    except Exception as error:  # damaged bytes make the unpickler raise nearly anything
        # torch's own message is left out, because it advises to load the file unsafely.
        strange = re.search(r"GLOBAL ([\w.]+) was not an allowed", str(error))
        if strange:
            raise StrangeObjectsError(
                f"can't read {path}: it holds {strange[1]}, not only tensors and plain values; expected {expected}"
            ) from error
        system = error.strerror if isinstance(error, OSError) else None
        raise DenseSiamError(
            f"can't read {path} ({system or 'torch.save did not write it, or it is damaged'}): expected {expected}, "
            f"complete{hint(Path(path))}"
        ) from error


def check_sums(path: Path) -> None:
    """Compare every part of a file with its stored checksum. (`torch.load` does not do this.)

    `torch.save` writes a zip archive without compression. Torch's older format has no checksums; it is not checked.

    Raises:
        DenseSiamError: a part is damaged, or it is compressed: then a small file could unpack to an enormous one.
        zipfile.BadZipFile: the directory of the archive is damaged.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise DenseSiamError(f"{path} is compressed, which torch.save never does: don't trust the file")
        damaged = archive.testzip()
    if damaged is not None:
        raise DenseSiamError(
            f"{path} is damaged: the checksum of its part {damaged} does not fit; take another copy of the file"
            f"{hint(path)}"
        )


def first_line(error: Exception) -> str:
    """The first line of an exception's message, or its type if the message is empty."""
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint that a training run wrote.

    Returns:
        Lightning's dict, with the composed config of the run under `config` and its weights under `state_dict`. The
        names of classes in the config are not checked here, but when they are used: see `src.checkpoints.rebuilding`.

    Raises:
        DenseSiamError: see `read_tensors` and `check_plain`; or the file lacks config or weights, lacks checksums (runs
            always write them), or has a weight that is not finite.
    """
    expected = "a checkpoint of src.train such as outputs/.../checkpoints/last.ckpt"
    checkpoint = read_tensors(path, expected)
    if not zipfile.is_zipfile(path):
        raise DenseSiamError(f"{path} has torch's older format, without checksums: expected {expected}")
    if not isinstance(checkpoint, dict) or not {"config", "state_dict"} <= checkpoint.keys():
        raise DenseSiamError(f"{path} does not hold config and state_dict: expected {expected}")
    config, state = checkpoint["config"], checkpoint["state_dict"]
    if not isinstance(config, dict):
        raise DenseSiamError(f"the config in {path} is {type(config).__name__}, not a dict: expected {expected}")
    check_plain(config)
    if not isinstance(state, dict) or not all(isinstance(name, str) and _dense(value) for name, value in state.items()):
        raise DenseSiamError(f"the state_dict in {path} is not a dict of tensors by name: expected {expected}")
    strange = next(not_finite(state), None)
    if strange is not None:
        raise DenseSiamError(
            f"{strange} in {path} is not finite: expected weights of a training that went well{hint(Path(path))}"
        )
    return checkpoint


def _dense(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"


def check_plain(content: Any) -> None:
    """Check that a stored config consists of text, numbers, booleans, None, and lists, tuples and dicts of these.

    Raises:
        DenseSiamError: the config holds another object, such as bytes, or a key that is not text; an interpolation
            (`${...}`, which OmegaConf resolves by calling functions); or a container that holds itself or is far larger
            than a config.
    """
    seen, waiting = 0, [(content, 0)]
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if depth > DEEPEST or seen > LARGEST:
            raise DenseSiamError("the stored config is nested too deeply or too large: expected that of a run")
        if isinstance(value, dict):
            waiting += [(one, depth + 1) for pair in value.items() for one in pair]
            strange = next((key for key in value if not isinstance(key, str)), None)
            if strange is not None:
                raise DenseSiamError(f"the stored config has a key of type {type(strange).__name__}: expected text")
        elif isinstance(value, list | tuple):
            waiting += [(one, depth + 1) for one in value]
        elif isinstance(value, str) and "${" in value:
            raise DenseSiamError(
                f"the stored config has the interpolation {value!r}: expected plain values; don't trust the file"
            )
        elif value is not None and not isinstance(value, str | int | float):
            raise DenseSiamError(
                f"the stored config holds {type(value).__name__}: expected text, numbers and containers"
            )
