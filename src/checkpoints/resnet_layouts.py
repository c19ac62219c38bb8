"""ResNets in files of other programs: where each program keeps its encoder, and its entries under torchvision's names.

The names were read in the programs' own sources. The momentum copy that many of them keep beside the encoder (MoCo's
`encoder_k`, BYOL's `target_net`, DINO's `teacher`) has none of the prefixes below, so it is never taken.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from src.checkpoints.weights_files import Report, check_finite, first_names
from src.errors import DenseSiamError


class Layout(NamedTuple):
    """Where a program keeps its ResNet.

    Attributes:
        prefix: what stands before torchvision's names, without `module.` of (Distributed)DataParallel.
        programs: who writes this, and the repository's file in which it can be read.
    """

    prefix: str
    programs: str


ENCODER = "network.encoder.backbone."  # what stands before the names of the encoder in a checkpoint of this project
# The dicts of a file in which weights are looked for, in this order. The last one is the file itself.
PLACES: tuple[tuple[str, ...], ...] = (
    ("state_dict",),  # facebookresearch/moco, facebookresearch/simsiam, WXinlong/DenseCL, open-mmlab/mmselfsup, ours
    ("model",),  # zdaxie/PixPro, pytorch/vision references/
    ("classy_state_dict", "base_model", "model", "trunk"),  # facebookresearch/vissl
    ("model_state_dict",),  # facebookresearch/vissl
    (),
)
LAYOUTS = (  # the first one that is found is taken
    Layout(ENCODER, "checkpoints of this project"),
    Layout("encoder.backbone.", "weights of this project's networks"),
    Layout("encoder_q.", "MoCo, and DetCo and ReSim after it: facebookresearch/moco main_lincls.py"),
    Layout("backbone.", "DenseCL, mmselfsup: WXinlong/DenseCL openselfsup/models/densecl.py, open-mmlab/mmselfsup"),
    Layout(
        "encoder_q.0.", "DenseCL without its second name `backbone`: WXinlong/DenseCL openselfsup/models/densecl.py"
    ),
    Layout("encoder.", "SimSiam, PixPro: facebookresearch/simsiam main_lincls.py, zdaxie/PixPro contrast/models"),
    Layout("_feature_blocks.", "VISSL: facebookresearch/vissl extra_scripts/convert_vissl_to_torchvision.py"),
    Layout("model.", "wrapped models"),
    Layout("", "torchvision, timm, and what src.export writes"),
)
LAYERS = ("layer1", "layer2", "layer3", "layer4")
ENTRY = re.compile(
    r"(conv1|bn1|layer[1-4]\.\d+\.(conv[123]|bn[123]|downsample\.[01]))"
    r"\.(weight|bias|running_mean|running_var|num_batches_tracked)"
)
DEPTHS: dict[tuple[tuple[int, ...], bool], str] = {  # blocks of each layer, and whether these have a third convolution
    ((2, 2, 2, 2), False): "ResNet-18",
    ((3, 4, 6, 3), False): "ResNet-34",
    ((3, 4, 6, 3), True): "ResNet-50",
    ((3, 4, 23, 3), True): "ResNet-101",
    ((3, 8, 36, 3), True): "ResNet-152",
}
EXPECTED = "the state_dict of a ResNet, of this project, of torchvision or of MoCo, DenseCL, SimSiam, PixPro or VISSL"


def resnet_entries(content: Any, source: str) -> tuple[dict[str, Tensor], Report]:
    """The encoder in the content of a file, under torchvision's names.

    Projectors, classifiers, queues and momentum copies are left out. Counters of batch norms (`num_batches_tracked`),
    which some programs do not save, are 0 where they are absent; they have no effect.

    Args:
        content: what the file holds: a state dict, or dicts around one, see `PLACES`.
        source: the file, for messages.

    Returns:
        the entries by torchvision's names, without the classifier; and what was taken and what was left out, under the
        names of the file.

    Raises:
        DenseSiamError: there is no ResNet under a known name, its stem is incomplete, or a value is not finite.
    """
    for place in PLACES:
        state = tensors_at(content, place)
        for layout in LAYOUTS:
            own = {name: bare(name)[len(layout.prefix) :] for name in state if bare(name).startswith(layout.prefix)}
            taken = {name: entry for name, entry in own.items() if ENTRY.fullmatch(entry)}
            if taken:
                return entries_of(state, taken, layout, source)
    found = [name for place in PLACES for name in tensors_at(content, place)]
    raise DenseSiamError(
        f"nothing in {source} is an encoder: expected {EXPECTED}, with names such as conv1.weight or "
        f"module.encoder_q.conv1.weight, found {first_names(one_of_each_part(found)) or 'no tensors'}"
    )


def entries_of(
    state: Mapping[str, Tensor], taken: Mapping[str, str], layout: Layout, source: str
) -> tuple[dict[str, Tensor], Report]:
    """The entries of a state dict that were found, see `resnet_entries`; `taken` has torchvision's name of each."""
    entries = {own: state[name] for name, own in taken.items()}
    check_finite(entries, source)
    if not {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight"} <= entries.keys():
        raise DenseSiamError(
            f"{source} holds a part of a ResNet only: expected {EXPECTED}, found {first_names(list(taken))} without "
            "its first layers"
        )
    norms = [name.removesuffix("running_mean") for name in entries if name.endswith(".running_mean")]
    counters = {f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms}
    left = [name for name in state if name not in taken]
    report = Report(f"{source} ({layout.programs})", list(taken), one_of_each_part(left), {}, [])
    return {**entries, **{name: zero for name, zero in counters.items() if name not in entries}}, report


def tensors_at(content: Any, place: Sequence[str]) -> dict[str, Tensor]:
    """The tensors by name in one of the dicts of a file; empty if there is no such dict."""
    for key in place:
        content = content.get(key) if isinstance(content, dict) else None
    entries = content.items() if isinstance(content, dict) else ()
    return {
        name: value
        for name, value in entries
        if isinstance(name, str) and isinstance(value, Tensor) and value.layout == torch.strided
    }


def bare(name: str) -> str:
    """A name without `module.`, which (Distributed)DataParallel puts before all names."""
    return name.removeprefix("module.")


def one_of_each_part(names: Sequence[str]) -> list[str]:
    """The same names, in an order that begins with one name of each part, so that a message shows all kinds of them."""
    firsts = {*{bare(name).partition(".")[0]: name for name in reversed(names)}.values()}
    return sorted(names, key=lambda name: name not in firsts)


def kind_of(entries: Mapping[str, Tensor]) -> str:
    """Which ResNet the entries belong to, in words, such as "ResNet-50" or "ResNet with blocks 2, 2"."""
    blocks = Counter(name.split(".")[0] for name in entries if name.endswith(".conv1.weight"))
    counts = tuple(blocks[layer] for layer in LAYERS)
    deep = "layer1.0.conv3.weight" in entries
    width = len(entries["layer1.0.conv1.weight"])
    known = DEPTHS.get((counts, deep)) if width == 64 else None
    told = ", ".join(str(count) for count in counts if count)
    return known or f"ResNet with {told} blocks of {'3' if deep else '2'} convolutions, {width} channels wide"
