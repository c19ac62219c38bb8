"""Whole runs on a GPU: precisions and formats, resuming, one process of DDP, and what a checkpoint is used for."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from src.assembly.export import export
from src.assembly.train import train
from src.prediction.loading import load
from tests.composing import CONF, TINY_EPOCHS, composed
from tests.factories import noise_image
from tests.resuming import failing, run

# Warnings are shown, not raised: which ones torch gives on a GPU, such as of operations without a deterministic form,
# depends on the GPU.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]
RUN = (*TINY_EPOCHS, "trainer.max_epochs=1", "references=none", "protocol.resamples=0")


@pytest.mark.parametrize(
    "changes",
    [
        ["trainer.precision=bf16-mixed", "model.memory_format=channels_last"],
        ["trainer.precision=16-mixed"],
        ["experiment=demo_pretrain", "trainer.precision=bf16-mixed", "model.memory_format=channels_last"],
    ],
    ids=" ".join,
)
def test_other_precisions_and_formats_train(changes: list[str], gpu: str, tmp_path: Path) -> None:
    score = train(composed(tmp_path, *RUN, "trainer.accelerator=gpu", *changes))
    assert math.isfinite(score)
    written = json.loads((tmp_path / "scores.json").read_text())
    assert all(math.isfinite(value) for value in written["scores"]["after training"].values() if value is not None)


def test_a_run_is_resumed_in_the_middle_of_an_epoch(gpu: str, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", accelerator=gpu)
    stopped = run(tmp_path / "run", failing(9, RuntimeError("power cut")), every_n_steps=2, accelerator=gpu)
    rest = run(tmp_path / "rest", ckpt_path=tmp_path / "run" / "last.ckpt", accelerator=gpu)
    assert isinstance(stopped.ended_by, RuntimeError)
    assert rest.batches == whole.batches[8:]
    for name, value in whole.state["module"].items():
        assert torch.allclose(value.float(), rest.state["module"][name].float(), rtol=1e-3, atol=1e-5), name


def test_one_process_of_ddp_synchronises_batch_norm(gpu: str, tmp_path: Path) -> None:
    """NCCL, SyncBatchNorm and the collective calls of losses and scores."""
    assert math.isfinite(train(composed(tmp_path, *RUN, "trainer=ddp", "trainer.devices=1")))


def test_a_checkpoint_predicts_and_is_exported(gpu: str, tmp_path: Path) -> None:
    train(composed(tmp_path / "run", *RUN, "trainer.accelerator=gpu"))
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    image = noise_image(70, 50)
    here, there = load(checkpoint), load(checkpoint).to("cuda")
    expected, found = (np.asarray(model.predict(image)) for model in (here, there))
    assert (expected == found).mean() > 0.99
    with initialize_config_dir(str(CONF), version_base="1.3"):
        export(compose("export", [f"ckpt_path={checkpoint}", f"output={tmp_path / 'encoder.pth'}"]))
    state = torch.load(tmp_path / "encoder.pth", weights_only=True)
    assert {value.device.type for value in state.values()} == {"cpu"}
