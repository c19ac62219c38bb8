"""Batch norms that keep less: the same values, gradients and statistics as torch's layers one after the other."""

from collections.abc import Callable, Iterable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torchvision.models import resnet18, resnet50
from torchvision.models.feature_extraction import create_feature_extractor

from src.models.frugal import as_layers, normalised, normalised_convolution, normalised_pooling, trains_here
from src.models.frugal_layers import applied, frugal
from src.models.heads import predictor, projector
from src.models.pointwise import pointwise
from tests.factories import noise

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def drawn(module: nn.Module) -> nn.Module:
    """The module in float64, with parameters that are not the usual ones of batch norms."""
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        nn.init.normal_(parameter, mean=0.5 if name.endswith("weight") else 0.0, std=0.5)
    return module.double().train()


def outcome(
    module: nn.Module, call: Callable[[Tensor], Tensor | Iterable[Tensor]], x: Tensor
) -> tuple[list[Tensor], dict[str, Tensor | None], dict[str, Tensor], Tensor]:
    """Outputs, gradients of parameters, buffers, and the gradient of the input, after a backward pass."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    found = call(x)
    outputs = [found] if isinstance(found, Tensor) else list(found)
    sum((each * noise(*each.shape, seed=3).to(each)).sum() for each in outputs).backward()
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    return [each.detach() for each in outputs], gradients, dict(module.named_buffers()), x.grad


CHAINS: dict[str, tuple[Callable[[], nn.Sequential], Callable[..., Tensor]]] = {
    "1x1": (
        lambda: nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1)),
        lambda x, norm, _, last: normalised_convolution(x, norm, last),
    ),
    "3x3": (
        lambda: nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3, 2, padding=2, dilation=2, groups=2)),
        lambda x, norm, _, last: normalised_convolution(x, norm, last),
    ),
    "reflected": (
        lambda: nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect")),
        lambda x, norm, _, last: normalised_convolution(x, norm, last),
    ),
    "cumulative": (
        lambda: nn.Sequential(nn.BatchNorm2d(6, momentum=None), nn.ReLU(), nn.Conv2d(6, 4, 1, bias=False)),
        lambda x, norm, _, last: normalised_convolution(x, norm, last),
    ),
    "pooling": (
        lambda: nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        lambda x, norm, _, last: normalised_pooling(x, norm, last),
    ),
    "named padding": (
        lambda: nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3, padding="same")),
        lambda x, norm, _, last: normalised_convolution(x, norm, last),
    ),
    "head of 3x3": (
        lambda: nn.Sequential(nn.Conv2d(6, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3)),
        lambda x, *layers: applied(layers, x),
    ),
    "last": (lambda: nn.Sequential(nn.BatchNorm2d(6, affine=False)), normalised),
    "projector": (lambda: projector(6, 5, 3), lambda x, *layers: applied(layers, x)),
    "predictor": (lambda: predictor(6, 5), lambda x, *layers: applied(layers, x)),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CHAINS)
def test_values_gradients_and_statistics_are_those_of_the_layers(
    name: str, layout: torch.memory_format, training: bool
) -> None:
    make, call = CHAINS[name]
    plain = drawn(make()).train(training)
    own = deepcopy(plain)
    x = (2 * noise(3, 6, 8, 9) + 1).double().contiguous(memory_format=layout)
    for _ in range(2):  # the second time, running statistics are not the initial ones
        expected, found = outcome(plain, plain, x), outcome(own, lambda x: call(x, *own), x)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_frozen_parameters_get_no_gradient() -> None:
    layers = drawn(projector(6, 5, 3)).requires_grad_(False)
    _, gradients, _, of_x = outcome(layers, lambda x: applied(layers, x), noise(2, 6, 4, 4).double())
    assert set(gradients.values()) == {None}
    assert of_x.abs().max() > 0


def test_half_precision_costs_as_much_as_with_the_layers() -> None:
    """Under bf16 autocast, values and gradients are as far from those in float32 as the layers' own are."""
    exact = drawn(nn.Sequential(*projector(16, 16, 8), *predictor(8, 16))).float()
    plain, own = deepcopy(exact), deepcopy(exact)
    x = noise(4, 16, 12, 12)
    expected = outcome(exact, exact, x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, found = outcome(plain, plain, x), outcome(own, lambda x: applied(own, x), x)
    assert found[0][0].dtype == torch.bfloat16
    assert {gradient.dtype for gradient in found[1].values()} == {torch.float32}
    triples = zip(*([*each[0], *each[1].values(), each[3]] for each in (expected, rounded, found)), strict=True)
    for best, theirs, ours in triples:
        assert (ours - best).norm() <= 1.5 * (theirs - best).norm() + 1e-3 * best.norm()


def kept_elements(call: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Elements of the floating tensors that autograd keeps, each storage once."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        call(x.requires_grad_())
    return sum(size for size in storages.values() if size >= x.numel())


def test_heads_keep_half() -> None:
    head = nn.Sequential(*projector(16, 16, 16), *predictor(16, 16)).train()
    x = noise(2, 16, 20, 20)
    assert kept_elements(head, x) / x.numel() == 9  # input, and input and output of each batch norm
    for layout in LAYOUTS:  # no copy of the input in another layout
        assert kept_elements(lambda x: applied(head, x), x.detach().contiguous(memory_format=layout)) / x.numel() == 5
    with as_layers():
        assert kept_elements(lambda x: applied(head, x), x) / x.numel() == 9
    assert kept_elements(lambda x: applied(head, x), x) / x.numel() == 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_under_autocast_a_convolution_has_the_dtype_that_torch_gives_it(dtype: torch.dtype) -> None:
    plain = drawn(nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1))).to(
        torch.float64 if dtype == torch.float64 else torch.float32
    )
    own = deepcopy(plain)
    x = noise(3, 6, 8, 9).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        expected = outcome(plain, plain, x)
        found = outcome(own, lambda x: normalised_convolution(x, own[0], own[2]), x)
    assert found[0][0].dtype == expected[0][0].dtype == (torch.float64 if dtype == torch.float64 else torch.bfloat16)
    assert found[3].dtype == dtype
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("make", [resnet18, resnet50])
def test_a_frugal_backbone_is_the_same_backbone(make: Callable[[], nn.Module], layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    plain = create_feature_extractor(make(), ["layer1", "layer2"]).double().to(memory_format=layout).train()
    own = frugal(deepcopy(plain))
    assert list(own.state_dict()) == list(plain.state_dict())
    assert sum(node.op == "call_function" and node.target is normalised_pooling for node in own.graph.nodes) == 1
    assert sum(node.target is normalised_convolution for node in own.graph.nodes) == (4 if make is resnet18 else 14)
    x = noise(2, 3, 32, 32).double()
    expected, found = (outcome(net, lambda x, net=net: net(x).values(), x) for net in (plain, own))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    copy = deepcopy(own).eval()
    torch.testing.assert_close(copy(x)["layer2"], plain.eval()(x)["layer2"])


def test_batch_norm_over_several_processes_is_applied_as_it_is() -> None:
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(drawn(projector(6, 5, 3)))
    assert not any(trains_here(layer, noise(2, 6, 4, 4)) for layer in converted)


def test_a_single_value_per_channel_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        applied(projector(6, 5, 3).train(), noise(1, 6, 1, 1))


def test_a_second_derivative_is_refused() -> None:
    x = noise(2, 6, 4, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(applied(projector(6, 5, 3).train(), x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 6, 5, 7), (1, 6, 1, 1), (2, 6, 1, 4)])
def test_a_pointwise_convolution_is_a_convolution(shape: tuple[int, ...], layout: torch.memory_format) -> None:
    layer = nn.Conv2d(6, 4, 1)
    x = noise(*shape).contiguous(memory_format=layout)
    torch.testing.assert_close(pointwise(x, layer.weight, layer.bias), layer(x))
