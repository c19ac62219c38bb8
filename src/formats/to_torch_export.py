"""The segmentation network as a program of torch.export, which torch runs without this project's code."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.formats.agreement import loaded, readable
from src.formats.backbone import Written
from src.formats.graph import Logits, check_graph, chosen_heads, smallest_side, traced
from src.models.segmentation import SegmentationNetwork

EXTRA = "densesiam.json"  # name of the metadata inside the file


def write(network: SegmentationNetwork, head: str | None, output: Path, metadata: Mapping[str, Any]) -> Written:
    """Write the network, read the file with torch, and compare the logits.

    Args:
        network: the network, in evaluation mode.
        head: the head to be exported; None for all.
        output: the file, for its name.
        metadata: plain values, which become a JSON file inside the file.

    Raises:
        DenseSiamError: the network can't be traced, or the logits differ.
    """
    heads = chosen_heads(network, head)
    buffer = io.BytesIO()
    program = traced(Logits(network, heads), network.encoder)
    torch.export.save(program, buffer, extra_files={EXTRA: json.dumps(metadata, indent=2)})
    content = buffer.getvalue()
    with readable(content, output.name) as path:
        run = loaded(lambda: torch.export.load(path), "torch.export").module()

        def logits(images: Tensor) -> dict[str, Tensor]:
            with torch.no_grad():
                return loaded(lambda: run(images), "torch.export")

        shapes = check_graph(network, heads, logits, output.name)
    sides = (
        f"any H and W from {smallest_side(network.encoder)} pixels"
        if network.encoder.size is None
        else f"H and W {network.encoder.size[0]} and {network.encoder.size[1]}"
    )
    lines = [
        f"input: images (B, 3, H, W), float32 in [0, 1], RGB; any B, {sides}",
        f"output: a dict with the logits (B, N, h, w) of {' and '.join(heads)}; normalisation and resizing are in the "
        "graph",
        f"elsewhere: import torch; model = torch.export.load({str(output)!r}).module(); logits = model(images)",
    ]
    return Written(content, {"heads": heads, "compared_on": shapes}, lines)
