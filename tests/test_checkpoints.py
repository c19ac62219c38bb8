"""Files that are no checkpoints: one line for each kind of damage, and nothing in them is executed."""

from pathlib import Path
from typing import Any

import pytest
import torch

from src.checkpoints import read_checkpoint, task_config
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
    assert "holds no config and state_dict" in refusal(path)


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


def test_the_network_is_rebuilt_without_the_file_its_encoder_started_from() -> None:
    network = {"categories": 5, "encoder": {"name": "resnet18", "weights": "IMAGENET1K_V1"}}
    config = {"task": {"region_start": 0.8, "network": network}, "model": network, "seed": 1}
    rebuilt = {"categories": 5, "encoder": {"name": "resnet18", "weights": None}}
    assert task_config(config) == {"region_start": 0.8, "network": rebuilt}
    assert network["encoder"]["weights"] == "IMAGENET1K_V1"
