"""The format of an export: named by the user, or chosen by the suffix of the file."""

from pathlib import Path
from typing import Literal, get_args

from src.checks import check_choice
from src.errors import DenseSiamError

Format = Literal["torchvision", "timm", "detectron2", "safetensors", "onnx", "torch_export"]
SUFFIXES: dict[str, tuple[str, ...]] = {
    "torchvision": (".pth", ".pt", ".safetensors"),
    "timm": (".pth", ".pt", ".safetensors"),
    "detectron2": (".pkl", ".pth"),
    "safetensors": (".safetensors",),
    "onnx": (".onnx",),
    "torch_export": (".pt2",),
}
ALL_SUFFIXES = (".pth", ".pt", ".safetensors", ".pkl", ".onnx", ".pt2")
OF_NETWORK = ("onnx", "torch_export")  # formats of the segmentation network; the others hold the backbone


def format_of(output: str, given: str | None) -> str | None:
    """The format of an export; None if it is torchvision or timm, as the encoder's library.

    Args:
        output: the path of the file.
        given: the value of `format`.

    Raises:
        DenseSiamError: there is no such format, or the path doesn't end as files of this format do.
    """
    suffix = "" if output.endswith("/") else Path(output).suffix.lower()
    if given is not None:
        check_choice("format", given, get_args(Format))
    allowed = ALL_SUFFIXES if given is None else SUFFIXES[given]
    if suffix not in allowed:
        listed = ", ".join(allowed[:-1]) + f" or {allowed[-1]}" if len(allowed) > 1 else allowed[0]
        wanted = f" for format={given}" if given else ""
        raise DenseSiamError(f"output is {output!r}: expected the path of a file that ends in {listed}{wanted}")
    if given in (None, "safetensors") and suffix in (".pth", ".pt", ".safetensors"):
        return None
    return given or next(name for name, suffixes in SUFFIXES.items() if suffixes[0] == suffix)
