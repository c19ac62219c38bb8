"""What this program takes for granted of Lightning, shown on a network of one number.

Each case fails on a release where Lightning's private parts mean something else. All releases from 2.5.0 to 2.6.6 pass;
pyproject.toml begins with 2.5.3, see below. What changed between them, where this program touches it:

- 2.5.0: the loops know where a run was stopped (`restarted_on_epoch_end`, `on_iteration_done`). 2.4 has neither.
- 2.5.2: with several processes, SIGTERM is passed on to all before each batch.
- 2.5.3: `ModelCheckpoint` has an `on_exception`, which `LastCheckpoint` replaces; on resuming, the iterator over the
  training data is not made twice. Before, a second run in a process fails in `RichProgressBar` with rich 14.1.
- 2.5.5: `ModelCheckpoint` may put off a save until the validation, if it monitors a value.
- 2.6.0: `val_check_interval` may be a time; `ModelCheckpoint` keeps `save_last` for steps at which it has saved.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from torch import Tensor

from src.training.lightning_internals import (
    AppendingWriter,
    ProgressBar,
    batch_is_complete,
    count_as_saved,
    end_run_as_by_sigterm,
    gradients_wait,
    last_saved,
    leave_complete_epoch,
    save_checkpoint,
    validation_follows,
)
from tests.one_weight import BATCHES, OneWeight, trained


def at_batch_ends(ask: Callable[[lightning.Trainer], bool], **options: Any) -> list[bool]:
    """What a function says at the end of each batch."""
    said: list[bool] = []
    trained(act=lambda trainer: said.append(ask(trainer)), **options)
    return said


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (
            lambda trainer: trainer.fit_loop,
            [
                "_data_fetcher",
                "batch_idx",
                "epoch_loop",
                "epoch_progress",
                "on_iteration_done",
                "restarted_on_epoch_end",
            ],
        ),
        (
            lambda trainer: trainer.fit_loop.epoch_loop,
            ["_batches_that_stepped", "_should_accumulate", "_should_check_val_fx", "batch_progress"],
        ),
        (lambda trainer: trainer.fit_loop.epoch_loop.batch_progress.current, ["completed", "ready"]),
        (lambda trainer: trainer.fit_loop.epoch_progress, ["increment_completed"]),
        (lambda trainer: trainer._signal_connector, ["received_sigterm"]),
        (lambda trainer: trainer.precision_plugin, ["convert_input"]),
        (
            lambda trainer: ModelCheckpoint(),
            [
                "_last_checkpoint_saved",
                "_last_global_step_saved",
                "_monitor_candidates",
                "_save_topk_checkpoint",
                "_should_skip_saving_checkpoint",
            ],
        ),
        (lambda trainer: ExperimentWriter, ["_check_log_dir_exists"]),
    ],
)
def test_what_is_used_is_there(owner: Callable[[lightning.Trainer], Any], names: list[str]) -> None:
    found = owner(lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False))
    gone = [name for name in names if not hasattr(found, name)]
    assert gone == [], f"{found} of Lightning {lightning.__version__} lacks what lightning_internals.py uses"


@pytest.mark.parametrize(("hook", "steps"), [("batch end", 2), ("epoch end", BATCHES)])
def test_a_run_ends_as_by_sigterm_after_the_hook(hook: str, steps: int) -> None:
    """Also where `should_stop` would not end it yet."""
    events: list[str] = []

    def see(trainer: lightning.Trainer, event: str) -> None:
        events.append(event)
        if event == hook:
            end_run_as_by_sigterm(trainer, trainer.global_step == steps)

    with pytest.raises(SystemExit):  # SIGTERMException is one
        trained(see, max_epochs=3, min_epochs=3)
    assert events.count("step") == events.count("batch end") == steps
    assert events[-1] == hook


def test_a_stop_is_taken_back() -> None:
    def stop_and_not(trainer: lightning.Trainer) -> None:
        end_run_as_by_sigterm(trainer, True)
        assert trainer.received_sigterm
        end_run_as_by_sigterm(trainer, False)

    assert trained(act=stop_and_not).global_step == BATCHES


@pytest.mark.parametrize(
    ("accumulated", "expected"),
    [(1, [False] * 5), (2, [True, False, True, False, False]), (3, [True, True, False, True, False])],
)
def test_gradients_wait_until_the_optimizer_uses_them(accumulated: int, expected: list[bool]) -> None:
    assert at_batch_ends(gradients_wait, accumulate_grad_batches=accumulated) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [False, False, False, False, True]),
        ({"val_check_interval": 2}, [False, True, False, True, False]),
        ({"val_check_interval": 2, "limit_val_batches": 0}, [False] * 5),
        ({"check_val_every_n_epoch": 2, "max_epochs": 2}, [False] * 9 + [True]),
    ],
)
def test_a_validation_follows_where_it_is_said(options: dict[str, Any], expected: list[bool]) -> None:
    events: list[str] = []
    said: list[bool] = []
    trained(
        lambda trainer, event: events.append(event), lambda trainer: said.append(validation_follows(trainer)), **options
    )
    kept = [event for event in events if event in ("batch end", "validation")]
    followed = [
        later == "validation" for earlier, later in zip(kept, [*kept[1:], ""], strict=True) if earlier[0] == "b"
    ]
    assert said == followed == expected


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_batch_is_complete_when_the_next_is_read(accumulated: int) -> None:
    """Neither before the first one, nor in a step, nor in a validation within the epoch."""
    said: list[tuple[str, bool]] = []
    trained(
        lambda trainer, event: said.append((event, batch_is_complete(trainer))),
        val_check_interval=2,
        accumulate_grad_batches=accumulated,
    )
    reads = [complete for event, complete in said if event == "read"]
    assert reads == [False, *[True] * (BATCHES - 1)] if accumulated == 1 else [False, False, True, False, True]
    assert not any(complete for event, complete in said if event in ("start", "step", "batch end", "validation"))


class LeavesCompleteEpoch(Callback):
    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        leave_complete_epoch(trainer)


def test_a_complete_epoch_is_left(tmp_path: Path) -> None:
    """The first of two epochs, with a limit of steps as well."""
    kept = ModelCheckpoint(str(tmp_path), "one", save_on_train_epoch_end=True, enable_version_counter=False)
    trained(callbacks=(kept,))
    (tmp_path / "one.ckpt").rename(tmp_path / "first.ckpt")

    def steps_after(*callbacks: Callback) -> list[str]:
        events: list[str] = []
        resumed = trained(
            lambda trainer, event: events.append(event),
            callbacks=(*callbacks, kept),
            ckpt_path=tmp_path / "first.ckpt",
            max_epochs=2,
            max_steps=2 * BATCHES,
        )
        assert resumed.current_epoch == 2
        return [event for event in events if event in ("step", "epoch end")]

    assert steps_after(LeavesCompleteEpoch()) == ["step"] * BATCHES + ["epoch end"]
    assert steps_after() == ["epoch end"], "Lightning has mended this: `leave_complete_epoch` can go"


def test_a_checkpoint_is_saved_once_a_step(tmp_path: Path) -> None:
    kept = ModelCheckpoint(str(tmp_path), "kept", save_top_k=1, save_on_train_epoch_end=False, every_n_epochs=9)
    path = tmp_path / "kept.ckpt"

    def act(trainer: lightning.Trainer) -> None:
        step = trainer.global_step
        if step == 1:
            assert last_saved(kept) == ("", 0)
            save_checkpoint(kept, trainer)
            assert last_saved(kept) == (str(path), 1)
            path.unlink()
            save_checkpoint(kept, trainer)
            assert not path.exists()
        if step == 2:
            count_as_saved(kept, 2)
            save_checkpoint(kept, trainer)
            assert not path.exists()
        if step == 3:
            save_checkpoint(kept, trainer)
            assert torch.load(path)["global_step"] == 3

    assert trained(act=act, callbacks=(kept,)).global_step == BATCHES
    assert last_saved(kept) == (str(path), 3)


def test_a_fast_dev_run_saves_nothing(tmp_path: Path) -> None:
    kept = ModelCheckpoint(str(tmp_path), "kept")
    trained(act=lambda trainer: save_checkpoint(kept, trainer), callbacks=(kept,), fast_dev_run=True)
    assert last_saved(kept) == ("", 0)
    assert list(tmp_path.iterdir()) == []


def test_rows_of_an_earlier_run_stay(tmp_path: Path) -> None:
    """Lightning's own writer deletes them."""
    file = tmp_path / "metrics.csv"
    file.write_text("step\n1\n")
    AppendingWriter(str(tmp_path))
    assert file.read_text() == "step\n1\n"
    with pytest.warns(UserWarning, match="exists and is not empty"):
        ExperimentWriter(str(tmp_path))
    assert not file.exists(), "Lightning has mended this: `AppendingWriter` can go"


# What other files use has no underscore, but is not documented either.


def test_the_number_of_the_next_batch_is_known_when_it_is_read(tmp_path: Path) -> None:
    """`src.data.datamodule` asks for it when an epoch begins: 0, or on resuming what the epoch has had."""
    kept = ModelCheckpoint(str(tmp_path), "kept", save_on_train_epoch_end=False, every_n_epochs=9)
    numbers: list[int] = []

    def see(trainer: lightning.Trainer, event: str) -> None:
        if event == "read":
            numbers.append(trainer.fit_loop.batch_idx + 1)

    def act(trainer: lightning.Trainer) -> None:
        if trainer.global_step == BATCHES + 2:
            save_checkpoint(kept, trainer)

    trained(see, act, (kept,), max_epochs=2)
    assert numbers == [*range(BATCHES), *range(BATCHES)]
    numbers.clear()
    trained(see, callbacks=(kept,), ckpt_path=tmp_path / "kept.ckpt", max_epochs=3)
    assert numbers == [*range(2, BATCHES), *range(BATCHES)]


class KeepsInput(Callback):
    def setup(self, trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
        trainer.precision_plugin.convert_input = lambda batch: batch


@pytest.mark.parametrize(("callbacks", "expected"), [((), torch.bfloat16), ((KeepsInput(),), torch.float32)])
def test_a_batch_is_converted_by_the_precision_plugin_alone(
    callbacks: tuple[Callback, ...], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`src.tasks.pairs` has it leave batches as they are."""
    found: list[torch.dtype] = []
    step = OneWeight.training_step

    def training_step(self: OneWeight, batch: Tensor, batch_idx: int) -> Tensor:
        found.append(batch.dtype)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(OneWeight, "training_step", training_step)
    trained(callbacks=callbacks, precision="bf16-true")
    assert found == [expected] * BATCHES


@pytest.mark.parametrize(("epochs", "text"), [(5, "Epoch 3/4"), (-1, "Epoch 3")])
def test_the_progress_bar_names_the_last_epoch_if_there_is_one(epochs: int, text: str) -> None:
    bar = ProgressBar()
    bar._trainer = lightning.Trainer(max_epochs=epochs, max_steps=9, logger=False, accelerator="cpu")
    assert bar._get_train_description(3).strip() == text
