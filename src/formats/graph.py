"""The segmentation network as a graph of torch.export, for images of every size."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from src.checkpoints.reading import first_line
from src.errors import DenseSiamError
from src.formats.agreement import check_same, exact_size, sample_images
from src.models.encoder import Encoder
from src.models.segmentation import SegmentationNetwork

LONGEST = 2**15  # pixels of a side; with an upper end, torch simplifies the expressions of sizes much faster


class Logits(nn.Module):
    """Maps images (B, 3, H, W) in [0, 1] to the logits (B, N, h, w) of some heads, by the head's name.

    Args:
        network: the network; it is copied.
        heads: names of its heads.
    """

    def __init__(self, network: SegmentationNetwork, heads: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = deepcopy(network), tuple(heads)
        self.network.to(memory_format=torch.contiguous_format).requires_grad_(False).eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.network.features(images)
        return {name: self.network.logits(features, name) for name in self.names}


def chosen_heads(network: SegmentationNetwork, head: str | None) -> list[str]:
    """The heads to be exported: all of them if none is named.

    Raises:
        DenseSiamError: the network has no such head.
    """
    names = list(network.num_categories)
    if head is None:
        return names
    if head not in names:
        raise DenseSiamError(f"head is {head!r}: this network has {' and '.join(names)}; choose one, or null for all")
    return [head]


def traced(model: Logits, encoder: Encoder) -> ExportedProgram:
    """Trace a network for every batch and, if its encoder takes more than one size, every size.

    Args:
        model: the network.
        encoder: its encoder.

    Raises:
        DenseSiamError: torch can't trace it.
    """
    images = sample_images(exact_size(encoder))
    sides: dict[int, Any] = {}
    if encoder.size is None:
        low = smallest_side(encoder)
        sides = {2: Dim("height", min=low, max=LONGEST), 3: Dim("width", min=low, max=LONGEST)}
    fix_padding(model)
    try:
        with torch.no_grad():
            program = torch.export.export(
                model, (images,), dynamic_shapes={"images": {0: Dim("batch"), **sides}}, strict=False
            )
    except Exception as error:  # torch raises many kinds for a network that it can't trace
        raise DenseSiamError(
            f"torch.export can't trace this network for all sizes of images ({first_line(error)}): choose another "
            "encoder, or export the encoder alone with format=safetensors"
        ) from error
    forget_source(program)
    return program


def forget_source(program: ExportedProgram) -> None:
    """Remove the lines of code that each operation comes from, with this machine's paths and numbers that vary."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for key in ("stack_trace", "torch_fn", "from_node", "source_fn_stack"):
                    node.meta.pop(key, None)


def smallest_side(encoder: Encoder) -> int:
    """The smallest side in pixels that a graph accepts; it is resized to two multiples of the encoder's strides."""
    return encoder.side(2) - encoder.multiple // 2


def fix_padding(model: nn.Module) -> None:
    """Replace timm's convolutions that compute their padding from the image by ones with the same, fixed padding.

    Every map of an encoder covers its image exactly, so the padding is the same for all sizes. torch.export needs
    minutes for the formulas of timm.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ == "Conv2dSame" and isinstance(child, nn.Conv2d):
                setattr(module, name, _with_fixed_padding(child))


def _with_fixed_padding(computed: nn.Conv2d) -> nn.Sequential:
    sizes = zip(computed.kernel_size, computed.dilation, computed.stride, strict=True)
    high, wide = (max((size - 1) * dilation + 1 - stride, 0) for size, dilation, stride in sizes)
    fixed = nn.Conv2d(  # torch declares the sizes of a convolution as tuples of any length, and expects pairs here
        computed.in_channels,
        computed.out_channels,
        computed.kernel_size,  # type: ignore[arg-type]
        computed.stride,  # type: ignore[arg-type]
        dilation=computed.dilation,  # type: ignore[arg-type]
        groups=computed.groups,
        bias=computed.bias is not None,
    )
    fixed.weight, fixed.bias = computed.weight, computed.bias
    return nn.Sequential(nn.ZeroPad2d((wide // 2, wide - wide // 2, high // 2, high - high // 2)), fixed)


def check_graph(
    network: SegmentationNetwork, heads: Sequence[str], run: Callable[[Tensor], Mapping[str, Tensor]], name: str
) -> list[str]:
    """Compare a reloaded graph with the network, on the batch and the size that were traced and on others.

    Args:
        network: the network of the checkpoint.
        heads: the exported heads.
        run: computes the logits of the exported file, by head.
        name: the file, for messages.

    Returns:
        The shapes of the images that were compared, as text.

    Raises:
        DenseSiamError: a value differs.
    """
    shapes = []
    for batch, size in compared(network.encoder):
        images = sample_images(size, batch)
        shapes.append(f"{batch} x {size[0]} x {size[1]}")
        with torch.no_grad():
            features = network.features(images)
            expected = [network.logits(features, head) for head in heads]
        found = run(images)
        check_same(expected, [found[head] for head in heads], f"{name} for images of {shapes[-1]}")
    return shapes


def compared(encoder: Encoder) -> Iterator[tuple[int, tuple[int, int]]]:
    """Batches and sizes to compare: those that were traced, another batch, and other sizes, also odd ones."""
    traced_size = exact_size(encoder)
    yield 2, traced_size
    yield 1, traced_size
    if encoder.size is None:
        yield 3, (encoder.side(4), encoder.side(2))
        yield 1, (smallest_side(encoder) + 1, encoder.side(6) + 5)
