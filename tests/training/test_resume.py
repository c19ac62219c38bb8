"""A run that is stopped and goes on is, bit for bit, one that never stopped."""

import signal
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from src.checkpoints.reading import read_tensors
from src.training.resumption import LastCheckpoint, RandomStates, random_states, set_random_states
from tests.comparing import differences
from tests.refusals import refusal
from tests.resuming import AtStep, Rows, Run, failing, run, signalled

pytestmark = pytest.mark.filterwarnings("ignore:epoch .* replaced by others")
TERM, INT = signal.SIGTERM, signal.SIGINT
OPTIONS: dict[str, list[Any]] = {  # the first value is what a run has if it is not told
    "num_workers": [0, 2],
    "accumulate_grad_batches": [1, 2, 4],
    "val_check_interval": [1.0, 0.5],
    "check_val_every_n_epoch": [1, 2],
    "limit_train_batches": [6, 5],
    "max_steps": [-1, 14],
    "on_corrupt": ["raise", "skip"],
}
ALTERNATE = {"check_val_every_n_epoch": 2, "limit_train_batches": 5}
SHORT = {"limit_train_batches": 5, "max_steps": 14}
SKIP = {"broken": (7,), "on_corrupt": "skip"}  # an image that is replaced before the stop and counted after it


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`straight(**options)`: the run that is not stopped."""

    @cache
    def make(**options: Any) -> Run:
        whole = run(tmp_path_factory.mktemp("straight"), **options)
        assert whole.ended_by is None
        return whole

    return make


def goes_on(whole: Run, parts: list[Run], batches: int) -> None:
    """The last of the parts begins after so many batches, and from there on is the whole."""
    assert parts[-1].ended_by is None
    assert parts[-1].batches == whole.batches[batches:]
    assert differences(whole.state, parts[-1].state) == []
    assert [row for part in parts for row in part.rows] == whole.rows


# Batch in which the run is stopped, batches after which it goes on, options. A stop waits for the end of the step,
# which may take several batches, and for the next one if a validation within the epoch follows.
STOPS: list[tuple[int, int, dict[str, Any]]] = [
    (1, 1, {}),
    (6, 6, {"check_val_every_n_epoch": 2}),  # the end of an epoch without validation
    # Each two values of the options below, and of the place in the second epoch, meet at least once.
    (7, 7, {"num_workers": 2, "check_val_every_n_epoch": 2} | SKIP),
    (6, 9, {"num_workers": 2, "accumulate_grad_batches": 4, "limit_train_batches": 5}),
    (6, 10, {"num_workers": 2, "accumulate_grad_batches": 2, "val_check_interval": 0.5} | SHORT),
    (6, 10, {"accumulate_grad_batches": 4, "val_check_interval": 0.5} | SHORT),
    (8, 8, {"num_workers": 2, "val_check_interval": 0.5} | SHORT | SKIP),
    (8, 10, {"num_workers": 2, "accumulate_grad_batches": 4, "val_check_interval": 0.5} | ALTERNATE),
    (9, 10, {"accumulate_grad_batches": 2} | SKIP),
    (10, 10, SHORT),
    (12, 12, {"accumulate_grad_batches": 2, "check_val_every_n_epoch": 2, "max_steps": 14}),
    (12, 12, {"num_workers": 2, "accumulate_grad_batches": 4, "val_check_interval": 0.5} | SKIP),
]


def settings(at: int, options: dict[str, Any]) -> dict[str, Any]:
    """Every option of a run, and in which batch of its second epoch it is stopped."""
    epoch = options.get("limit_train_batches", 6)
    place = {epoch + 1: "first", 2 * epoch: "last"}.get(at, "between")
    return {"place": place} | {name: options.get(name, values[0]) for name, values in OPTIONS.items()}


def test_each_two_values_of_the_options_meet() -> None:
    values = {"place": ["first", "between", "last"]} | OPTIONS
    found = [settings(at, options) for at, _, options in STOPS[2:]]
    for one, other in combinations(values, 2):
        assert {(each[one], each[other]) for each in found} == set(product(values[one], values[other])), (one, other)


@pytest.mark.parametrize(("at", "batches", "options"), STOPS)
def test_a_stop_by_a_signal(straight: Any, tmp_path: Path, at: int, batches: int, options: dict[str, Any]) -> None:
    stopped = run(tmp_path, signalled(at, TERM), **options)
    assert isinstance(stopped.ended_by, SystemExit)
    assert stopped.ended_by.code == 128 + TERM
    resumed = run(tmp_path / "resumed", ckpt_path=tmp_path / "last.ckpt", **options)
    goes_on(straight(**{**options, "num_workers": 0}), [stopped, resumed], batches)


def test_several_stops_and_other_numbers_of_loader_processes(straight: Any, tmp_path: Path) -> None:
    parts: list[Run] = []
    for part, (at, workers) in enumerate([(2, 0), (8, 2), (12, 1), (16, 0), (0, 2)]):
        last = tmp_path / str(part - 1) / "last.ckpt" if part else None
        parts.append(run(tmp_path / str(part), signalled(at, TERM), last, num_workers=workers))
    goes_on(straight(), parts, 16)


@pytest.mark.parametrize(
    ("at_step", "batches"),
    [
        (failing(9, RuntimeError("a fault")), 8),
        (failing(8, RuntimeError("a fault")), 6),  # the end of the epoch
        (failing(9, KeyboardInterrupt()), 8),
        (signalled(9, INT, INT), 8),
        (signalled(9, TERM, TERM), 9),
        (signalled(9, INT), 9),
    ],
)
def test_half_a_step_leaves_the_file_as_it_was(
    straight: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], at_step: AtStep, batches: int
) -> None:
    handlers = [signal.getsignal(number) for number in (INT, TERM)]
    stopped = run(tmp_path, at_step, every_n_steps=2)
    assert stopped.ended_by is not None
    assert [signal.getsignal(number) for number in (INT, TERM)] == handlers
    last = tmp_path / "last.ckpt"
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "ckpt_path=" in line)
    assert line == f"{last} holds step {batches}: the same command with ckpt_path={last} goes on from there"
    resumed = run(tmp_path / "resumed", ckpt_path=last, every_n_steps=2)
    goes_on(straight(), [stopped, resumed], batches)


class Full(Callback):
    """Fails at the end of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == self.epoch:
            raise OSError("no space left on device")


@pytest.mark.parametrize(("epoch", "batches", "options"), [(1, 10, {}), (0, 4, {"check_val_every_n_epoch": 2})])
def test_a_failure_at_the_end_of_an_epoch_leaves_the_file_as_it_was(
    straight: Any, tmp_path: Path, epoch: int, batches: int, options: dict[str, int]
) -> None:
    stopped = run(tmp_path, every_n_steps=4, callbacks=[Full(epoch)], **options)
    assert isinstance(stopped.ended_by, OSError)
    resumed = run(tmp_path / "resumed", ckpt_path=tmp_path / "last.ckpt", **options)
    assert resumed.batches == straight(**options).batches[batches:]
    assert differences(straight(**options).state, resumed.state) == []


def test_a_failure_of_a_logger_leaves_the_file_as_it_was(
    straight: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Rows.log_metrics

    def full(self: Rows, metrics: dict[str, float], step: int | None = None) -> None:
        if step == 7:
            raise OSError("no space left on device")
        log(self, metrics, step)

    with monkeypatch.context() as patched:
        patched.setattr(Rows, "log_metrics", full)
        stopped = run(tmp_path)
    goes_on(straight(), [stopped, run(tmp_path / "resumed", ckpt_path=tmp_path / "last.ckpt")], 6)


def test_steps_are_counted_from_the_resumption(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "stopped", signalled(7, TERM))
    last, every_n_steps = tmp_path / "stopped" / "last.ckpt", 3
    resumed = tmp_path / "resumed"
    run(resumed, failing(10, RuntimeError("a fault")), last, every_n_steps)
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"{last} holds step 7: ")
    assert not resumed.exists()
    run(resumed, failing(11, RuntimeError("a fault")), last, every_n_steps)
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"{resumed / 'last.ckpt'} holds step 10: ")


def test_nothing_to_go_on_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, failing(2, RuntimeError("a fault")))
    assert capsys.readouterr().err.splitlines()[-1] == "Stopped before a checkpoint was written"
    assert not (tmp_path / "last.ckpt").exists()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_image_that_cannot_be_read_costs_no_step(straight: Any, tmp_path: Path, num_workers: int) -> None:
    """The run goes on with `on_corrupt=skip` as if it had had it from the beginning."""
    stopped = run(tmp_path, broken=[7], num_workers=num_workers)
    assert str(stopped.ended_by) == "can't read image 7"
    assert len(stopped.batches) == 2
    options = {"broken": (7,), "on_corrupt": "skip", "num_workers": num_workers}
    resumed = run(tmp_path / "resumed", ckpt_path=tmp_path / "last.ckpt", **options)
    goes_on(straight(**options), [stopped, resumed], 2)


def test_a_checkpoint_of_a_validation_within_an_epoch(straight: Any, tmp_path: Path) -> None:
    def validated(folder: Path, ckpt_path: Path | None = None) -> Run:
        every = ModelCheckpoint(folder / "every", "{step}", save_top_k=-1, enable_version_counter=False)
        return run(folder, ckpt_path=ckpt_path, callbacks=[every], val_check_interval=0.5)

    validated(tmp_path)
    whole = straight(val_check_interval=0.5)
    for batches in (3, 6, 9):
        resumed = validated(tmp_path / str(batches), tmp_path / "every" / f"step={batches}.ckpt")
        assert resumed.batches == whole.batches[batches:]
        assert differences(whole.state, resumed.state) == []


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step == self.step


@pytest.mark.parametrize("how", [{"max_steps": 8}, {"callbacks": (StopAt(8),)}], ids=["max_steps", "should_stop"])
def test_a_run_that_was_ended_within_an_epoch_can_go_on(straight: Any, tmp_path: Path, how: dict[str, Any]) -> None:
    assert run(tmp_path, **how).ended_by is None
    resumed = run(tmp_path / "resumed", ckpt_path=tmp_path / "last.ckpt")
    assert resumed.batches == straight().batches[8:]
    assert differences(straight().state, resumed.state) == []


@pytest.mark.parametrize(
    ("changed", "found"),
    [({"batch_size": 5}, "batch_size 5"), ({"images": 27}, "images 27"), ({"seed": 4}, "seed 4")],
)
def test_another_order_of_images_is_refused_within_an_epoch_only(
    tmp_path: Path, changed: dict[str, int], found: str
) -> None:
    def again(folder: str) -> None:
        ended_by = run(tmp_path / "again" / folder, ckpt_path=tmp_path / folder / "last.ckpt", **changed).ended_by
        if ended_by:
            raise ended_by

    run(tmp_path / "middle", signalled(8, TERM))
    refusal(lambda: again("middle"), "middle of an epoch, after 2 batches of images 26, batch_size 4, seed 3", found)
    run(tmp_path / "end", signalled(6, TERM))
    again("end")


def test_how_often_is_checked() -> None:
    for value in (0, -1, 1.5, True, "often"):
        refusal(lambda v=value: LastCheckpoint("folder", v), f"every_n_steps is {value!r}", "from 1")


def test_a_checkpoint_with_random_states_is_read_safely(tmp_path: Path) -> None:
    run(tmp_path, max_epochs=1)
    states = read_tensors(tmp_path / "last.ckpt", "a checkpoint")["random_states"]
    assert states.keys() == {"python", "numpy", "torch"}


def test_a_checkpoint_without_random_states_leaves_them(tmp_path: Path) -> None:
    callback, before = RandomStates(), random_states(torch.device("cpu"))
    callback.on_load_checkpoint(None, None, {})
    callback.on_train_start(None, None)
    assert differences(before, random_states(torch.device("cpu"))) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_random_states_of_a_gpu() -> None:
    device = torch.device("cuda", 0)
    states = random_states(device)
    drawn = torch.rand(5, device=device)
    set_random_states(states, device)
    assert torch.equal(torch.rand(5, device=device), drawn)
