"""What is printed to be typed again can be pasted: through the shell and Hydra's grammar back to the same value."""

import shlex
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from src.overrides import override

PATHS = (
    *("runs/a/last.ckpt", "runs/lr=0.1,seed=2/last.ckpt", "a (copy).pth", "with space", "müller/x.ckpt", "~/photos"),
    *("it's", 'say "a"', "a$HOME/x", "a${b}c", "a\\${b}", "c:\\x\\", "back\\", 'x\\"y', "[a]", "{a}", "a:b", "#x", "&"),
)
WORDS = ("null", "true", "12", "1e5", "nan", "", " ", "???", "!x", "*", "a?b", "%d", "@", "$", "`ls`", "a;b", "a|b")


def read_back(typed: str) -> Any:
    """What a program gets of an argument that is typed in a shell."""
    (word,) = shlex.split(typed)
    config = OmegaConf.create({"x": None})
    OmegaConf.update(config, "x", OverridesParser.create().parse_override(word).value())
    return OmegaConf.to_container(config, resolve=True)["x"]


@pytest.mark.parametrize("value", [*PATHS, *WORDS])
def test_a_text_comes_back_as_itself(value: str) -> None:
    assert read_back(override("x", value)) == value


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12))
def test_any_text_comes_back_as_itself(value: str) -> None:
    if value != "???":
        assert read_back(override("x", value)) == value


@pytest.mark.parametrize("value", [None, True, False, 3, -0.5, 1e-30, [1, "a b"], {"a": [None, "ü", 1.5]}, [], (1, 2)])
def test_other_values_come_back_as_themselves(value: Any) -> None:
    assert read_back(override("x", value)) == (list(value) if isinstance(value, tuple) else value)


def test_what_needs_no_quotes_has_none() -> None:
    assert override("ckpt_path", "outputs/demo/2026-01-02_03-04-05/checkpoints/last.ckpt") == (
        "ckpt_path=outputs/demo/2026-01-02_03-04-05/checkpoints/last.ckpt"
    )
    assert override("data.root", "müller") == """'data.root="müller"'"""
    assert override("model.encoder.out_indices", [-1]) == "'model.encoder.out_indices=[-1]'"
