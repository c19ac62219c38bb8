"""Files of weights: torch's own, and safetensors. The same weights give the same bytes."""

import io
import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor


def contents(state: Mapping[str, Tensor], suffix: str, metadata: Mapping[str, str]) -> bytes:
    """A state dict as the bytes of a file.

    Args:
        state: the weights by name.
        suffix: `.safetensors`, or another for torch's format, which has no place for metadata.
        metadata: texts for the header of a safetensors file.
    """
    dense = {name: value.contiguous() for name, value in state.items()}
    if suffix.lower() == ".safetensors":
        return sorted_header(safetensors.torch.save(dense, {"format": "pt", **metadata}))
    return saved(dense)


def saved(content: Any) -> bytes:
    """What `torch.save` writes."""
    buffer = io.BytesIO()  # torch.save writes a path's name into the file, and the hash would depend on it
    torch.save(content, buffer)
    return buffer.getvalue()


def sorted_header(content: bytes) -> bytes:
    """A safetensors file with its metadata in alphabetical order; the library writes them in an order by chance."""
    end = 8 + int.from_bytes(content[:8], "little")
    entries = json.loads(content[8:end])
    entries["__metadata__"] = dict(sorted(entries["__metadata__"].items()))
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=True).encode()
    header += b" " * (-len(header) % 8)  # tensors start at a multiple of 8 bytes
    return len(header).to_bytes(8, "little") + header + content[end:]


def reading_code(path: str) -> tuple[str, str]:
    """Python code that reads a file of weights: the import that it needs, and the expression."""
    if path.lower().endswith(".safetensors"):
        return "from safetensors.torch import load_file", f"load_file({path!r})"
    return "import torch", f"torch.load({path!r})"
