"""Whole runs, tiny and in float64, give the losses and scores that were recorded when their views last changed.

Each run: 12 generated scenes, three steps of batch 4 from random weights, every loss active; then the scores, to the
digits that float32 logs. They were recorded after colours came to be drawn by `src.data.colours`. A change of the
arithmetic that is meant records them anew, and says so in CHANGELOG.md.
"""

import csv
from pathlib import Path

import pytest

from src.assembly.train import train
from tests.composing import composed

TINY = (
    "debug=tiny",
    "data.train_scenes=12",
    "data.val_scenes=4",
    "seed=3",
    "references=none",
    "trainer.max_epochs=1",
    "trainer.precision=64-true",
    "trainer.log_every_n_steps=1",
    "trainer.fast_dev_run=false",
    "estimate_steps=0",
    "protocol.resamples=0",
    "callbacks.progress=null",
)
RECORDED = {
    "segment": (
        ("experiment=demo", "task.region_start=0", "optimizer=sgd", "optimizer.base_lr=0.16"),
        {
            "loss/dense": [2.149592876434326, 2.1270411014556885, 2.106156826019287],
            "loss/aux": [4.933328151702881, 4.934059143066406, 4.926636219024658],
            "loss/seg": [1.0413875579833984, 1.120126485824585, 1.1187896728515625],
            "loss/region": [2.236621379852295, 2.3321762084960938, 2.376608371734619],
            "loss/total": [4.249763488769531, 4.32249116897583, 4.308751106262207],
        },
        5.801964514255914,
    ),
    "pretrain": (
        ("experiment=demo_pretrain", "task.region_start=0", "task.linear_probe.max_iterations=100"),
        {
            "loss/image": [-0.051349446177482605, -0.014477623626589775, -0.0278148353099823],
            "loss/dense": [4.220646858215332, 4.213855743408203, 4.216411590576172],
            "loss/region": [4.40912389755249, 4.367134094238281, 4.440774917602539],
            "loss/total": [4.6102094650268555, 4.636091232299805, 4.632674217224121],
        },
        23.654706000662262,
    ),
    "iic": (
        ("experiment=demo", "task=iic"),
        {
            "loss/main": [-0.0003203139640390873, -0.0007498865015804768, -0.00036066462052986026],
            "loss/aux": [-0.0006962829502299428, -0.001115423277951777, -0.0012018310371786356],
            "loss/total": [-0.00043310466571711004, -0.0008595475228503346, -0.0006130145629867911],
        },
        14.347262499792086,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDED)
def test_a_run_gives_what_was_recorded(name: str, tmp_path: Path) -> None:
    experiment, losses, miou = RECORDED[name]
    found = train(composed(tmp_path, *experiment, *TINY))
    with (tmp_path / "csv" / "metrics.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["loss/total"]]
    for key, expected in losses.items():
        assert [float(row[key]) for row in rows] == pytest.approx(expected, rel=1e-5, abs=1e-7), key
    assert found == pytest.approx(miou, abs=1e-3)
