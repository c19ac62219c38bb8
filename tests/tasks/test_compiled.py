"""`compile=true`: the same loss and the same names of weights; refused where it can't work."""

import shutil
from copy import deepcopy

import pytest
import torch

from src.tasks import compiled
from src.tasks.compiled import compile_parts
from tests.factories import at_epoch, segment_batch, segment_task
from tests.refusals import refusal


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch.compile looks at it
@pytest.mark.skipif(not any(map(shutil.which, compiled.COMPILERS)), reason="torch.compile needs a C++ compiler")
def test_a_compiled_step_has_the_same_loss_and_the_same_names(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = segment_task(region_start=0.0)
    at_epoch(plain, 0, 10, monkeypatch)
    own, batch = deepcopy(plain), segment_batch()
    compile_parts(own, on_gpu=False)
    losses = [task.training_step(batch, 0)["loss"] for task in (plain, own)]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-4)
    for loss in losses:
        loss.backward()
    assert list(own.state_dict()) == list(plain.state_dict())
    for (name, one), other in zip(own.named_parameters(), plain.parameters(), strict=True):
        assert (one.grad - other.grad).norm() <= 1e-2 * other.grad.norm() + 1e-5, name
    assert list(own.deployed().state_dict()) == list(plain.deployed().state_dict())


def test_without_a_compiler_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    refusal(lambda: compile_parts(segment_task(), on_gpu=False), "no C++ compiler", "compile=false")


def test_a_task_without_parts_to_compile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    task = segment_task()
    monkeypatch.setattr(type(task), "compilable", lambda self: [])
    refusal(lambda: compile_parts(task, on_gpu=False), "compile is true", "compile=false")
