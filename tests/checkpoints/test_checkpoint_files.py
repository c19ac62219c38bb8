"""Files that are no checkpoints: one line for each kind of damage, and nothing in them is executed."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from src.checkpoints.reading import read_checkpoint, read_tensors
from src.errors import DenseSiamError


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "last.ckpt"
    weights = {f"network.{k}.weight": torch.full((40, 50), float(k)) for k in range(4)}
    torch.save({"state_dict": weights, "config": {"seed": 1, "rates": [0.1, 0.2]}, "epoch": 3}, path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DenseSiamError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.isprintable()  # one line, without control characters
    assert str(path) in message
    assert "expected a checkpoint of src.train" in message
    return message


def test_a_good_file_is_read(good: Path) -> None:
    checkpoint = read_checkpoint(good)
    assert checkpoint["config"] == {"seed": 1, "rates": [0.1, 0.2]}
    assert checkpoint["epoch"] == 3
    assert read_checkpoint(str(good))["state_dict"]["network.2.weight"].unique().tolist() == [2]


def test_a_missing_file(tmp_path: Path) -> None:
    assert "there is no file" in refusal(tmp_path / "absent.ckpt")
    assert "there is no file" in refusal(tmp_path)  # a folder is none either


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage bytes " * 20,
        b"PK\x03\x04 garbage",
        b"<html>Not found</html>",
        b'{"a": 1}',
        b"\x00\xd4\xff\xfe\x01",
        b"epoch: 1\n",
        b"a.",
        b"\x1f\x8b\x08\x00aaaa",
    ],
)
def test_garbage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    message = refusal(path)
    assert "can't read" in message
    assert message.endswith("complete")


def test_a_file_cut_off_anywhere(good: Path) -> None:
    content = good.read_bytes()
    for length in range(0, len(content), len(content) // 60):
        good.write_bytes(content[:length])
        assert refusal(good).endswith("complete")


def test_advice_to_load_it_unsafely_is_not_passed_on(good: Path) -> None:
    good.write_bytes(b"garbage bytes " * 20)
    assert "weights_only" not in refusal(good)


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"config": {}}, {}, [1, 2], torch.zeros(2)])
def test_another_programs_file(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    assert "does not hold config and state_dict" in refusal(path)


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    path, touched = tmp_path / "evil.ckpt", tmp_path / "touched"
    torch.save({"config": {}, "state_dict": {}, "more": Payload(touched)}, path)
    message = refusal(path)
    assert "it holds " in message
    assert "weights_only" not in message
    assert not touched.exists()
    torch.load(path, weights_only=False)  # the payload itself works
    assert touched.exists()


def test_a_flipped_byte_is_noticed_anywhere(good: Path) -> None:
    content = good.read_bytes()
    with zipfile.ZipFile(good) as archive:
        parts = archive.infolist()
    assert len(parts) > 4
    for part in parts:  # tensors, the pickle, and torch's own small entries
        if not part.file_size:
            continue
        header = content[part.header_offset : part.header_offset + 30]
        start = part.header_offset + 30 + sum(int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
        for place in (start, start + part.file_size // 2, start + part.file_size - 1):
            good.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert "damaged" in refusal_of_damage(good)
    good.write_bytes(content)
    read_checkpoint(good)


def refusal_of_damage(path: Path) -> str:
    with pytest.raises(DenseSiamError) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_compressed_file_is_refused(good: Path) -> None:
    """It could be a few kB that unpack to more than the memory."""
    with zipfile.ZipFile(good) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(good, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    assert "compressed" in refusal_of_damage(good)


def test_the_older_format_has_no_checksums(good: Path) -> None:
    """Weights of others may have it; a run never writes it."""
    content = torch.load(good, weights_only=True)
    torch.save(content, good, _use_new_zipfile_serialization=False)
    assert read_tensors(good, "weights")["epoch"] == 3
    assert "older format" in refusal_of_damage(good)


def test_weights_that_are_not_finite_are_refused(good: Path) -> None:
    content = torch.load(good, weights_only=True)
    content["state_dict"]["network.1.weight"][3, 4] = float("nan")
    torch.save(content, good)
    assert "network.1.weight" in refusal_of_damage(good)
