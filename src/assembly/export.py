"""Writes the encoder of a checkpoint to a file that other programs can use.

The file is a plain state dict with the names of torchvision or timm. A JSON file beside it records its origin.
"""

import inspect
import io
import json
import uuid
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision
from omegaconf import DictConfig
from torch import Tensor

from src.checkpoints.loading import part_of, read_rebuildable
from src.checkpoints.provenance import file_record
from src.checkpoints.reading import check_plain
from src.checkpoints.rebuilding import constructor, rebuild
from src.checks import check_flag, check_text
from src.disk import amount, free_bytes
from src.errors import DenseSiamError
from src.models.backbones import resnet
from src.models.encoder import Encoder
from src.models.weights import load_weights
from src.overrides import override, spelled
from src.results.scores import environment

PREFIX = "network.encoder.backbone."
SUFFIXES = (".pth", ".pt")


class Counterpart(NamedTuple):
    """The library's model that can load an exported encoder.

    Attributes:
        library, name: names of the library and the model, such as `torchvision` and `resnet50`.
        missing: names of the model's entries that the encoder doesn't have.
        settings: the encoder's settings that differ from the library's defaults; without them, the same weights give
            other outputs.
        code: one line of Python that makes the model with the encoder's weights.
    """

    library: str
    name: str
    missing: list[str]
    settings: dict[str, Any]
    code: str


def export(config: DictConfig) -> None:
    """Write the encoder and, beside it, the record of its origin; print how to load it.

    Args:
        config: the composed `conf/export.yaml`.

    Raises:
        DenseSiamError: the checkpoint can't be read or lacks weights of its encoder; or an output file can't be
            written, exists without `overwrite=true`, or is the checkpoint itself.
    """
    check_flag("overwrite", config.overwrite)
    check_text("ckpt_path", config.ckpt_path)
    check_text("output", config.output, "the path of a file, such as encoder.pth")
    source, output = Path(config.ckpt_path), Path(config.output)
    if config.output.endswith("/") or output.suffix.lower() not in SUFFIXES:
        raise DenseSiamError(
            f"output is {config.output!r}: expected the path of a file that ends in {' or '.join(SUFFIXES)}, as it is "
            "a state dict that torch.load reads, and nothing else"
        )
    checkpoint = read_rebuildable(source)
    for entry in ("epoch", "global_step", "origin"):  # these entries are written to the record
        check_plain(checkpoint.get(entry))
    encoder, state = encoder_of(checkpoint, source)
    encoder_config = part_of(part_of(checkpoint["config"], "model", source), "encoder", source)
    counterpart = counterpart_of(encoder_config, state, output)
    buffer = io.BytesIO()  # torch.save writes a path's name into the file, and the hash would depend on it
    torch.save(state, buffer)
    record = {
        "encoder": encoder_config,
        "epoch": checkpoint.get("epoch"),  # counted from 0
        "step": checkpoint.get("global_step"),
        "checkpoint": file_record(source),
        "origin": checkpoint.get("origin"),
        "sha256": sha256(buffer.getbuffer()).hexdigest(),
        "missing": counterpart.missing,
        "settings": counterpart.settings,
        "normalisation": {
            "mean": encoder.mean.flatten().double().round(decimals=6).tolist(),
            "std": encoder.std.flatten().double().round(decimals=6).tolist(),
        },
        "versions": environment()["packages"],
    }
    described = json.dumps(record, indent=2) + "\n"
    files = {output: buffer.getvalue(), output.with_name(f"{output.name}.json"): described.encode()}
    write(files, source, config.overwrite)
    print(summary(output, counterpart, len(state)))


def encoder_of(checkpoint: Mapping[str, Any], source: Path) -> tuple[Encoder, dict[str, Tensor]]:
    """Rebuild the encoder with a checkpoint's weights; returns it and the weights by the names of its backbone.

    Raises:
        DenseSiamError: the checkpoint has no encoder or lacks some of its weights.
    """
    entries: dict[str, Tensor] = checkpoint["state_dict"]
    state = {name.removeprefix(PREFIX): value for name, value in entries.items() if name.startswith(PREFIX)}
    if not state:
        raise DenseSiamError(
            f"{source} holds no encoder: expected a run's checkpoint, with entries such as {PREFIX}..."
        )
    encoder: Encoder = rebuild(part_of(part_of(checkpoint["config"], "model", source), "encoder", source))
    load_weights(encoder.backbone, state, str(source))
    return encoder, state


def counterpart_of(encoder: Mapping[str, Any], state: Mapping[str, Tensor], output: Path) -> Counterpart:
    """The model of torchvision or timm that can load an encoder's entries.

    Args:
        encoder: the config of the encoder.
        state: the state dict of the encoder.
        output: the file that holds the state dict.
    """
    function = constructor(encoder["_target_"])
    parameters = inspect.signature(function).parameters
    settings = {
        key: value
        for key, value in encoder.items()
        if key not in ("name", "weights", "frozen")
        and not key.startswith("_")
        and value != (parameters[key].default if key in parameters else None)
    }
    if function is resnet:
        library, name = "torchvision", encoder["name"]
        model = torchvision.models.get_model(name, weights=None)
        made, strict = f"torchvision.models.{name}()", ", strict=False"  # the classifier is always missing
    else:
        import timm

        library, name = "timm", encoder.get("name", "tf_efficientnet_lite0")
        model = timm.create_model(name, features_only=True)
        options = "".join(f", {key}={value!r}" for key, value in settings.items())
        made, strict = f"timm.create_model({name!r}, features_only=True{options})", ""
    code = f"import torch, {library}; model = {made}; model.load_state_dict(torch.load({str(output)!r}){strict})"
    return Counterpart(library, name, [entry for entry in model.state_dict() if entry not in state], settings, code)


def write(files: Mapping[Path, bytes], source: Path, overwrite: bool) -> None:
    """Write several files; none of them is replaced if one can't be written.

    Args:
        files: path -> contents.
        source: a file that is never replaced.
        overwrite: whether other files may be replaced.

    Raises:
        DenseSiamError: a file may not be replaced, or a path can't be written.
    """
    parts: dict[Path, Path] = {}
    try:
        for path in files:
            if path.exists() and path.samefile(source):
                raise DenseSiamError(f"{path} is the checkpoint itself: choose another output")
            if path.is_file() and not overwrite:
                raise DenseSiamError(f"{path} exists: choose another output, or replace it with overwrite=true")
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            parts[path] = path.with_name(f".{uuid.uuid4().hex}")
            parts[path].write_bytes(content)
        for path, part in parts.items():
            part.replace(path)
    except OSError as error:
        names, free = " and ".join(map(str, files)), amount(free_bytes(next(iter(files)).parent))
        raise DenseSiamError(f"can't write {names} ({error}; {free} free there): choose another output") from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def summary(output: Path, counterpart: Counterpart, entries: int) -> str:
    """A text that says what was written, which entries are missing, and how to load the file here and elsewhere."""
    settings = [f"{key}={spelled(value)}" for key, value in counterpart.settings.items()]
    values = {"weights": output, **counterpart.settings}
    here = " ".join(override(f"model.encoder.{key}", value) for key, value in values.items())
    lines = [
        f"{output}: {entries} entries of {counterpart.library}'s {counterpart.name}; their record is {output}.json"
    ]
    if counterpart.missing:
        parts = ", ".join(sorted({name.partition(".")[0] for name in counterpart.missing}))
        lines.append(f"missing: {parts} ({len(counterpart.missing)} entries of the whole {counterpart.name})")
    if settings:
        lines.append(f"trained with {' '.join(settings)}: set that again, no file of weights holds it")
    return "\n".join([*lines, f"here: {here}", f"elsewhere: {counterpart.code}"])
