"""The benchmark of methods: what is counted and compared, and that its command runs."""

import time
from collections.abc import Callable
from functools import partial

import pytest

from benchmarks.methods import (
    ACTIVE,
    INACTIVE,
    METHODS,
    OURS,
    REFERENCE,
    Spent,
    main,
    make_epoch,
    measure,
    mixed,
    table,
)
from benchmarks.tasks import composed

TINY = [
    "experiment=demo",
    "data.train_scenes=8",
    "data.val_scenes=5",
    "data.scene_size=32",
    "data.views.size=32",
    "data.batch_size=4",
]


def test_methods_differ_in_their_task_alone() -> None:
    configs = {name: composed([*TINY, *own]) for name, own in METHODS.items()}
    names = {name: config.task["_target_"].rpartition(".")[2] for name, config in configs.items()}
    assert names == {REFERENCE: "PiCIE", "IIC": "IIC", INACTIVE: "Segment", ACTIVE: "Segment"}
    assert [config.task.loss_weights.aux for config in configs.values()] == ["balanced"] * 4
    parts = ("data", "model", "trainer")
    assert all(config[part] == configs[INACTIVE][part] for config in configs.values() for part in parts)
    assert [configs[name].task.region_start for name in (INACTIVE, ACTIVE)] == [None, 0]


@pytest.mark.parametrize(("method", "clusters"), [(REFERENCE, True), ("IIC", False), (INACTIVE, False)])
def test_an_epoch_takes_no_more_than_the_processor_gave(method: str, clusters: bool) -> None:
    """The parts are of the processor's time: together no more than the process had in the meantime."""
    epoch = make_epoch([*TINY, *METHODS[method]])
    for _ in range(2):
        before = time.process_time()
        spent = epoch()
        assert 8 * spent.total / 1000 <= time.process_time() - before
        assert spent.loading > 0
        assert spent.step > 0
        assert (spent.clustering > 0) == clusters


def test_methods_take_turns_and_the_first_round_does_not_count() -> None:
    turns: list[str] = []

    def epoch(name: str) -> Spent:
        turns.append(name)
        return Spent(0.0, 0.0, float(len(turns)))

    epochs: dict[str, Callable[[], Spent]] = {name: partial(epoch, name) for name in "ab"}
    found = measure(epochs, rounds=2)
    assert turns == ["a", "b", "a", "b", "b", "a"]
    assert {name: [spent.step for spent in each] for name, each in found.items()} == {"a": [3, 6], "b": [4, 5]}


def test_a_whole_training_is_inactive_for_its_share() -> None:
    (found,) = mixed([Spent(10.0, 0.0, 20.0)], [Spent(20.0, 0.0, 40.0)], share=0.8)
    assert found == pytest.approx(Spent(12.0, 0.0, 24.0))


def test_ratios_are_those_within_a_round() -> None:
    """A round in which everything takes ten times as long changes no ratio."""
    rounds = {
        REFERENCE: [Spent(1.0, 2.0, 5.0), Spent(10.0, 20.0, 50.0), Spent(1.0, 2.0, 5.0)],
        "IIC": [Spent(1.0, 0.0, 3.0), Spent(10.0, 0.0, 30.0), Spent(1.0, 0.0, 5.0)],
    }
    assert table(rounds).splitlines() == [
        "| method | loading | clustering | step | total | x PiCIE + aux. |",
        "| --- | --- | --- | --- | --- | --- |",
        "| PiCIE + aux. | 1.0 (1.0-10.0) | 2.0 (2.0-20.0) | 5.0 (5.0-50.0) | 8.0 (8.0-80.0) | 1.00 (1.00-1.00) |",
        "| IIC | 1.0 (1.0-10.0) | 0.0 (0.0-0.0) | 5.0 (3.0-30.0) | 6.0 (4.0-40.0) | 0.50 (0.50-0.75) |",
    ]


def test_the_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--rounds", "1", *TINY])
    written = capsys.readouterr().out.splitlines()
    rows = [line.split("|")[1].strip() for line in written if line.startswith("| ")]
    assert rows == ["method", "---", REFERENCE, "IIC", INACTIVE, ACTIVE, f"{OURS} (30% inactive)"]
    assert written[-1].startswith("experiment=demo, data.train_scenes=8, ")
    assert "; 1 rounds; " in written[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rounds", "0"], "expected --rounds from 1"),
        (
            ["experiment=demo_pretrain"],
            "expected the task src.tasks.segment.Segment, found src.tasks.pretrain.Pretrain",
        ),
        ([*TINY, "data.batch_size=9"], "batch_size is 9, but there are 8 training images"),
        ([*TINY, "model/encoder=nothing"], "Could not find 'model/encoder/nothing'"),
    ],
)
def test_what_it_refuses(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert said in f"{stopped.value}{capsys.readouterr().err}"
