"""The names of weights in timm's whole models and in its backbones (`features_only=True`), which differ a little."""

import re
from collections.abc import Collection, Iterator, Mapping

from torch import Tensor

from src.errors import DenseSiamError


def names_in_model(backbone: Collection[str], model: Collection[str]) -> dict[str, str]:
    """The name in the whole model of each entry of its backbone.

    Args:
        backbone: the names in the backbone's state dict.
        model: the names in the whole model's state dict.

    Raises:
        DenseSiamError: the model has no such entry.
    """
    found = {name: next((other for other in _candidates(name) if other in model), None) for name in backbone}
    absent = [name for name, other in found.items() if other is None]
    if absent:
        raise DenseSiamError(
            f"the whole model of timm has no entry for {len(absent)} weights of the backbone, the first is "
            f"{absent[0]!r}: expected a backbone whose names differ only as timm's features_only changes them"
        )
    return {name: other for name, other in found.items() if other is not None}


def entries_of_backbone(
    backbone: Collection[str], model: Collection[str], state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Rename the entries of a whole model for its backbone; those that the backbone lacks are left out.

    Args:
        backbone, model: see `names_in_model`.
        state: the whole model's state dict. Entries that the model lacks keep their names.

    Raises:
        DenseSiamError: see `names_in_model`.
    """
    own = {other: name for name, other in names_in_model(backbone, model).items()}
    return {own.get(name, name): value for name, value in state.items() if name in own or name not in model}


def _candidates(name: str) -> Iterator[str]:
    yield name
    yield name.removeprefix("model.")  # FeatureGetterNet, of vision transformers
    yield re.sub(r"^([a-z]+)_(\d+)\.", r"\1.\2.", name)  # FeatureListNet with flattened stages, such as ConvNeXt
