"""The segmentation network as one ONNX file, whose graph holds the resizing and the normalisation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.errors import DenseSiamError
from src.formats.agreement import loaded, readable
from src.formats.backbone import Written
from src.formats.graph import Logits, check_graph, chosen_heads, smallest_side, traced
from src.formats.quiet import quiet
from src.models.segmentation import SegmentationNetwork

OPSET = 20  # the first version has been in onnxruntime since 1.17


def write(network: SegmentationNetwork, head: str | None, output: Path, metadata: Mapping[str, str]) -> Written:
    """Write the network, read the file with onnxruntime, and compare the logits.

    Args:
        network: the network, in evaluation mode.
        head: the head to be exported; None for all.
        output: the file, for its name.
        metadata: texts for the file's `metadata_props`.

    Raises:
        DenseSiamError: a package is missing, the network can't be traced, or the logits differ.
    """
    try:
        import onnx  # noqa: F401  # torch's exporter needs these two, and would fail with a traceback
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise DenseSiamError("format=onnx needs packages: pip install 'densesiam[onnx]'") from error
    heads = chosen_heads(network, head)
    program = traced(Logits(network, heads), network.encoder)
    with quiet():
        made = loaded(
            lambda: torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=["images"],
                output_names=heads,
                external_data=False,
            ),
            "torch.onnx",
        )
    assert made is not None
    model: Any = made.model_proto
    strip(model)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    content: bytes = model.SerializeToString(deterministic=True)
    with readable(content, output.name) as path:
        session = loaded(
            lambda: onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]), "onnxruntime"
        )

        def run(images: Tensor) -> dict[str, Tensor]:
            outputs = loaded(lambda: session.run(heads, {"images": images.numpy()}), "onnxruntime")
            return dict(zip(heads, map(torch.from_numpy, outputs), strict=True))

        shapes = check_graph(network, heads, run, output.name)
    sides = "any height and width" if network.encoder.size is None else " x ".join(map(str, network.encoder.size))
    lines = [
        f"input: images (B, 3, H, W), float32 in [0, 1], RGB; any B, {sides}"
        + (f" from {smallest_side(network.encoder)} pixels" if network.encoder.size is None else ""),
        f"outputs: logits of {' and '.join(heads)} (B, N, h, w); normalisation and resizing are in the graph",
        f"elsewhere: import onnxruntime; session = onnxruntime.InferenceSession({str(output)!r}); "
        f"logits = session.run({heads!r}, {{'images': images}})",
    ]
    return Written(content, {"heads": heads, "opset": OPSET, "compared_on": shapes}, lines)


def strip(model: Any) -> None:
    """Remove what torch writes about the source of each node: it holds this machine's paths and makes files larger."""
    for node in [*model.graph.node, *(node for function in model.functions for node in function.node)]:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
