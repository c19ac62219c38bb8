"""Puts the operations of `src.models.frugal` in place of layers of heads and backbones; weights keep their names.

In training, the layers that an operation replaces are not called: their forward hooks do not run. Hooks of a whole head
or a whole backbone do.
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

from torch import Tensor, nn
from torch.fx import GraphModule, Node

from src.models.frugal import is_pointwise, normalised, normalised_convolution, normalised_pooling, shape_of
from src.models.pointwise import pointwise

OPERATIONS: dict[type, Callable[..., Any]] = {nn.Conv2d: normalised_convolution, nn.MaxPool2d: normalised_pooling}


def applied(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Apply the layers of a head (convolutions, batch norms, ReLUs) in turn.

    Args:
        layers: the layers, such as an `nn.Sequential`.
        x: (B, C, h, w).

    Returns:
        (B, channels of the last layer, h, w), in the layout of x if all convolutions are 1x1.
    """
    rest = list(layers)
    while rest:
        layer, *rest = rest
        if isinstance(layer, nn.Conv2d) and is_pointwise(layer.weight, shape_of(layer)):
            x = pointwise(x, layer.weight, layer.bias)
        elif [type(each) for each in rest[:2]] == [nn.ReLU, nn.Conv2d]:
            x = normalised_convolution(x, layer, cast(nn.Conv2d, rest[1]))
            rest = rest[2:]
        else:
            x = normalised(x, layer)
    return x


def frugal(backbone: GraphModule) -> GraphModule:
    """Replace, in the graph of a backbone, "batch norm, ReLU, convolution or max pooling" by one operation each.

    Modules, names of weights and what the backbone computes stay as they are.

    Args:
        backbone: a graph of torch.fx; it is changed.
    """
    graph, modules = backbone.graph, dict(backbone.named_modules())
    for last in list(graph.nodes):
        layer = module_of(last, modules)
        replacement = OPERATIONS.get(type(layer))
        relu = last.args[0] if last.args else None
        norm = relu.args[0] if isinstance(relu, Node) and relu.args else None
        if replacement is None or not isinstance(relu, Node) or not isinstance(norm, Node):
            continue
        kinds = [type(module_of(node, modules)) for node in (norm, relu)]
        if kinds != [nn.BatchNorm2d, nn.ReLU] or len(norm.users) > 1 or len(relu.users) > 1:
            continue
        with graph.inserting_before(last):
            parts = [graph.get_attr(str(node.target)) for node in (norm, last)]
            fused = graph.call_function(replacement, (norm.args[0], *parts))
        last.replace_all_uses_with(fused)
        for node in (last, relu, norm):
            graph.erase_node(node)
    backbone.recompile()
    return backbone


def module_of(node: Node, modules: dict[str, nn.Module]) -> nn.Module | None:
    """The module that a node calls; None if it calls none."""
    return modules.get(str(node.target)) if node.op == "call_module" else None
