"""Whole runs, tiny and in float64, give the losses and scores that were recorded before the code was last rebuilt.

Each run: 12 generated scenes, three steps of batch 4 from random weights with every loss active, then the scores. The
values are those of commit f973b41 to the digits that float32 logs. A change of the arithmetic that is meant records
them anew, and says so in CHANGELOG.md.
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
            "loss/dense": [2.1441023349761963, 2.1393699645996094, 2.0997719764709473],
            "loss/aux": [4.933839797973633, 4.929121494293213, 4.9352312088012695],
            "loss/seg": [1.1357723474502563, 1.0921999216079712, 1.1043022871017456],
            "loss/region": [2.1707611083984375, 2.251605749130249, 2.2598636150360107],
            "loss/total": [4.333872318267822, 4.293655872344971, 4.280698776245117],
        },
        5.771891276041667,
    ),
    "pretrain": (
        ("experiment=demo_pretrain", "task.region_start=0", "task.linear_probe.max_iterations=100"),
        {
            "loss/image": [-0.004709695465862751, -0.040017496794462204, 0.011024734936654568],
            "loss/dense": [4.23068380355835, 4.225242614746094, 4.222115516662598],
            "loss/region": [4.341790199279785, 4.445934295654297, 4.393267631530762],
            "loss/total": [4.660152912139893, 4.629819439483643, 4.672467231750488],
        },
        22.885724378245797,
    ),
    "iic": (
        ("experiment=demo", "task=iic"),
        {
            "loss/main": [-0.0003977379237767309, -0.0004430162371136248, -0.002624339424073696],
            "loss/aux": [-0.0010188163723796606, -0.0008494275389239192, -0.0023203035816550255],
            "loss/total": [-0.0005840614903718233, -0.0005649396334774792, -0.0025331287179142237],
        },
        14.722928053407603,
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
