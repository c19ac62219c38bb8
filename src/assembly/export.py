"""Writes a checkpoint's encoder, or its segmentation network, to a file that other programs can use.

A JSON file beside it records its origin. Both are written only if the file gives the same as the checkpoint.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from src.assembly.export_metadata import as_texts, metadata_of
from src.checkpoints.loading import load_deployed, part_of, read_rebuildable
from src.checkpoints.provenance import file_record
from src.checkpoints.reading import check_plain
from src.checkpoints.rebuilding import rebuild
from src.checkpoints.resnet_layouts import ENCODER
from src.checks import check_flag, check_text
from src.disk import amount, free_bytes
from src.errors import DenseSiamError
from src.formats import to_detectron2, to_onnx, to_timm, to_torch_export, to_torchvision
from src.formats.backbone import Backbone, Written
from src.formats.choice import OF_NETWORK, format_of
from src.models.encoder import Encoder
from src.models.segmentation import segmenting
from src.models.weights import load_weights
from src.overrides import override, spelled
from src.results.scores import environment

OF_BACKBONE = {"torchvision": to_torchvision.write, "detectron2": to_detectron2.write}


def export(config: DictConfig) -> None:
    """Write the file and, beside it, the record of its origin; print how to load it.

    Args:
        config: the composed `conf/export.yaml`.

    Raises:
        DenseSiamError: the checkpoint can't be read or lacks weights; the format can't hold what it has; the file does
            not give the same as the checkpoint; or an output file can't be written, exists without `overwrite=true`,
            or is the checkpoint itself.
    """
    check_flag("overwrite", config.overwrite)
    check_flag("whole_model", config.whole_model)
    check_text("ckpt_path", config.ckpt_path)
    check_text("output", config.output, "the path of a file, such as encoder.pth")
    if config.head is not None:
        check_text("head", config.head, "or null for all heads")
    source, output = Path(config.ckpt_path), Path(config.output)
    chosen = format_of(config.output, config.format)
    paths = (output, output.with_name(f"{output.name}.json"))
    with writing(paths):
        check_replaceable(paths, source, config.overwrite)
    if chosen in OF_NETWORK:
        record, written, title = of_network(chosen, source, output, config.head)
    else:
        record, written, title = of_backbone(chosen, source, output, config.head, config.whole_model)
    record |= {"sha256": sha256(written.content).hexdigest(), "versions": environment()["packages"]}
    described = json.dumps(record, indent=2) + "\n"
    write(dict(zip(paths, (written.content, described.encode()), strict=True)), source, config.overwrite)
    print("\n".join([f"{output}: {title}; checked, and its record is {paths[1]}", *written.lines]))


def of_network(chosen: str, source: Path, output: Path, head: str | None) -> tuple[dict[str, Any], Written, str]:
    """The segmentation network in a format: its record, the file, and what it is in words."""
    deployed, checkpoint = load_deployed(source)
    network = segmenting(deployed, str(source))
    record = record_of(checkpoint, source, network.encoder, chosen)
    metadata = metadata_of(checkpoint, source, network.encoder)
    if chosen == "onnx":
        written = to_onnx.write(network, head, output, as_texts(metadata))
    else:
        written = to_torch_export.write(network, head, output, metadata)
    return {**record, **written.record}, written, f"the segmentation network for {chosen}"


def of_backbone(
    chosen: str | None, source: Path, output: Path, head: str | None, whole_model: bool
) -> tuple[dict[str, Any], Written, str]:
    """The encoder's weights in a format: its record, the file, and what it is in words."""
    checkpoint = read_rebuildable(source)
    encoder, config = encoder_of(checkpoint, source)
    backbone = Backbone(encoder, config)
    chosen = chosen or ("torchvision" if backbone.is_torchvision else "timm")
    if head is not None:
        raise DenseSiamError(
            f"head is {head!r}, but format={chosen} holds only the encoder: leave head=null, or choose format=onnx or "
            "torch_export for the segmentation network"
        )
    if not whole_model and chosen != "timm":
        raise DenseSiamError(
            f"whole_model is false, but format={chosen} has no other form: leave it, or set format=timm"
        )
    record = record_of(checkpoint, source, encoder, chosen)
    metadata = as_texts(metadata_of(checkpoint, source, encoder))
    if chosen == "timm":
        written = to_timm.write(backbone, output, metadata, whole_model)
    else:
        written = OF_BACKBONE[chosen](backbone, output, metadata)
    settings = [f"{key}={spelled(value)}" for key, value in backbone.settings.items()]
    lines = [f"trained with {' '.join(settings)}: set that again, no file of weights holds it"] if settings else []
    if chosen != "detectron2":
        values = {"weights": output, **backbone.settings}
        lines.append("here: " + " ".join(override(f"model.encoder.{key}", value) for key, value in values.items()))
    record |= {"encoder": config, "settings": backbone.settings, **written.record}
    title = f"{len(backbone.state)} entries of {backbone.name} for {chosen}"
    return record, written._replace(lines=[*written.lines, *lines]), title


def record_of(checkpoint: Mapping[str, Any], source: Path, encoder: Encoder, chosen: str) -> dict[str, Any]:
    """The part of the record that all formats have."""
    for entry in ("epoch", "global_step", "origin"):  # these entries are written to the record
        check_plain(checkpoint.get(entry))
    return {
        "format": chosen,
        "epoch": checkpoint.get("epoch"),  # counted from 0
        "step": checkpoint.get("global_step"),
        "checkpoint": file_record(source),
        "origin": checkpoint.get("origin"),
        **metadata_of(checkpoint, source, encoder),
    }


def encoder_of(checkpoint: Mapping[str, Any], source: Path) -> tuple[Encoder, Mapping[str, Any]]:
    """Rebuild the encoder with a checkpoint's weights; returns it, in evaluation mode, and its config.

    Raises:
        DenseSiamError: the checkpoint has no encoder or lacks some of its weights.
    """
    entries: dict[str, Tensor] = checkpoint["state_dict"]
    state = {name.removeprefix(ENCODER): value for name, value in entries.items() if name.startswith(ENCODER)}
    if not state:
        raise DenseSiamError(
            f"{source} holds no encoder: expected a run's checkpoint, with entries such as {ENCODER}..."
        )
    config = part_of(part_of(checkpoint["config"], "model", source), "encoder", source)
    encoder: Encoder = rebuild(config)
    load_weights(encoder.backbone, state, str(source))
    return encoder.eval(), config


def check_replaceable(paths: Sequence[Path], source: Path, overwrite: bool) -> None:
    """Refuse to replace the checkpoint, or, without `overwrite`, any file.

    Raises:
        DenseSiamError: a file may not be replaced.
    """
    for path in paths:
        if path.exists() and source.exists() and path.samefile(source):
            raise DenseSiamError(f"{path} is the checkpoint itself: choose another output")
        if path.is_file() and not overwrite:
            raise DenseSiamError(f"{path} exists: choose another output, or replace it with overwrite=true")


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
    with writing(list(files)):
        try:
            check_replaceable(list(files), source, overwrite)
            for path, content in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                parts[path] = path.with_name(f".{uuid.uuid4().hex}")
                parts[path].write_bytes(content)
            for path, part in parts.items():
                part.replace(path)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)


@contextmanager
def writing(paths: Sequence[Path]) -> Iterator[None]:
    """Convert an OSError to a message with the paths, the reason and the free space.

    Raises:
        DenseSiamError: a path can't be written.
    """
    try:
        yield
    except OSError as error:
        names, free = " and ".join(map(str, paths)), amount(free_bytes(paths[0].parent))
        raise DenseSiamError(f"can't write {names} ({error}; {free} free there): choose another output") from error
