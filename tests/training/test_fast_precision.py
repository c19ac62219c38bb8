"""Which number format is fast on a device, and what the user reads about it."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from src.training import precision
from src.training.precision import fast_precision, multiplies_bfloat16, remark
from src.training.trainer import make_trainer


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 rdpid", True),
        ("flags\t\t: fpu amx_tile amx_bf16", True),
        ("Features\t: fp asimd bf16", True),
        ("flags\t\t: fpu avx512f avx2", False),
        ("model name\t: bf16", False),
        ("", False),
    ],
)
def test_a_processor_is_asked_for_its_instructions(
    line: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
    monkeypatch.setattr(precision, "PROCESSOR", tmp_path / "cpuinfo")
    assert multiplies_bfloat16("cpu") is expected
    assert not multiplies_bfloat16("mps")
    monkeypatch.setattr(precision, "PROCESSOR", tmp_path / "none")
    assert not multiplies_bfloat16("cpu")


@pytest.mark.parametrize(("fast", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_is_the_fast_precision_of_the_device(
    fast: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: fast)
    assert fast_precision("cpu") == expected
    config = OmegaConf.create(
        {
            "_target_": "lightning.Trainer",
            **{"accelerator": "cpu", "precision": "auto", "max_epochs": 1, "use_distributed_sampler": False},
            **{"logger": False, "default_root_dir": str(tmp_path)},
        }
    )
    assert make_trainer(config).precision == expected


@pytest.mark.parametrize(
    ("name", "fast", "words"),
    [
        ("32-true", True, "trainer=fast takes bf16-mixed"),
        ("32-true", False, "so trainer=fast takes it too"),
        ("bf16-mixed", True, ""),
        ("bf16-mixed", False, "slower than 32-true here"),
        ("64-true", True, ""),
    ],
)
def test_the_user_reads_what_would_be_faster(
    name: str, fast: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: fast)
    found = remark(name, "cpu")
    assert words in found
    assert bool(found) is bool(words)
