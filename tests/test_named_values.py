"""Lists of values in the code name what conf/ has: a value that is renamed there cannot lose its meaning here."""

import inspect

import lightning
import pytest

from src.checkpoints.provenance import WITHOUT_EFFECT
from src.overrides import flat
from src.results.tables.sorting import NOT_TOLD
from src.training.continuation import COPIES, FIXED, FREE
from src.training.trainer import COUNTS, FLAGS, MOST, NUMBERS
from tests.composing import composed

LISTS = {"WITHOUT_EFFECT": WITHOUT_EFFECT, "NOT_TOLD": NOT_TOLD, "FIXED": FIXED, "FREE": FREE}
COMMANDS = (
    ("experiment=demo", "callbacks=best_by_labelled_miou"),
    ("experiment=demo_pretrain", "probe=labelled_folder", "probe.root=x"),
    ("experiment=coco_pretrain", "data.root=x"),
    ("data=labelled_folder", "data.root=x"),
    ("data=coco_stuff27", "data.root=x"),
)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The dotted names of all values and groups that some command has, and of the trainer's arguments."""
    folder = tmp_path_factory.mktemp("composed")
    names = {f"trainer.{name}" for name in inspect.signature(lightning.Trainer).parameters}
    for overrides in COMMANDS:
        for name in flat(composed(folder, *overrides)):
            parts = name.split(".")
            names |= {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return names


@pytest.mark.parametrize("name", LISTS)
def test_every_named_value_exists(name: str, known: set[str]) -> None:
    assert [value for value in LISTS[name] if value not in known] == []


def test_a_value_that_does_not_exist_would_be_found(known: set[str]) -> None:
    assert "data.num_workers" in known
    assert "data.workers" not in known


def test_copies_are_of_groups_that_exist(known: set[str]) -> None:
    assert {original.rstrip(".") for _, original in COPIES} <= known
    assert {copy.rstrip(".") for copy, _ in COPIES} <= known


def test_the_trainer_has_the_arguments_that_are_checked() -> None:
    parameters = inspect.signature(lightning.Trainer).parameters
    assert [name for name in (*MOST, *COUNTS, *NUMBERS, *FLAGS) if name not in parameters] == []
