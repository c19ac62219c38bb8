"""Files of weights: their bytes depend on nothing but the weights and the metadata."""

from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file

from src.formats.containers import contents, sorted_header
from tests.factories import noise

STATE = {"b": noise(3, 2), "a": torch.tensor(4), "c": noise(1, 2, 3, 4).to(memory_format=torch.channels_last)}


def test_safetensors_hold_weights_and_metadata(tmp_path: Path) -> None:
    metadata = {f"densesiam.{key}": f'"{key}" é \n' for key in "zyxwvu"}
    content = contents(STATE, ".safetensors", metadata)
    (tmp_path / "a.safetensors").write_bytes(content)
    loaded = load_file(tmp_path / "a.safetensors")
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[name], value) for name, value in STATE.items())
    with safetensors.safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", **metadata}
    header = content[8 : content.index(b"}")].decode()
    assert [header.index(f"densesiam.{key}") for key in "uvwxyz"] == sorted(
        header.index(f"densesiam.{key}") for key in "uvwxyz"
    )
    assert contents(STATE, ".safetensors", metadata) == content
    assert sorted_header(content) == content


def test_torch_files_do_not_depend_on_their_name(tmp_path: Path) -> None:
    content = contents(STATE, ".pth", {"ignored": "text"})
    (tmp_path / "a.pth").write_bytes(content)
    loaded = torch.load(tmp_path / "a.pth", weights_only=True)
    assert list(loaded) == list(STATE)
    assert contents(STATE, ".pt", {}) == content
