"""The benchmark of pre-training: which bytes and operations are counted, and that its commands run."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmarks import pretraining, pretraining_memory
from benchmarks.plain_simsiam import PlainSimSiam
from benchmarks.pretraining import PLAIN, operations, operations_table
from benchmarks.pretraining_memory import kept_bytes, measure_memory, memory_table, published_memory
from benchmarks.pretraining_steps import REGIONS, TIMED, grid, make_batch, variant_step
from src.losses import cosine_distance, similarity_loss
from src.models.heads import ImageHead, layer_first, projected, projected_cheaply

TINY = [
    "model/encoder=resnet18_half",
    "model.num_categories=16",
    "model.hidden_channels=16",
    "model.image_channels=32",
    "model.image_bottleneck=8",
]


class Toy(nn.Module):
    """Saves 24 bytes of the input in one child, 40 in the other, and 40 outside of both."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.bend = nn.Linear(3, 5), nn.Tanh()
        self.scale: Tensor
        self.register_buffer("scale", torch.full((5,), 2.0))

    def forward(self, rows: Tensor) -> Tensor:
        found = self.bend(self.layer(rows))
        return ((found[:1] * self.scale).sum() + found.square().sum()) * found.exp().sum(1).sum()


def test_each_storage_counts_once_for_the_part_that_saved_it_and_parameters_do_not() -> None:
    """Linear saves its rows and weight, tanh its result, which square saves again, exp its own; the rest scalars."""
    model, rows = Toy(), torch.ones(2, 3)
    assert kept_bytes(model, lambda: model(rows)) == {"layer": 2 * 3 * 4, "bend": 2 * 5 * 4, "": 2 * 5 * 4 + 2 * 4}
    assert not model.layer._forward_hooks
    assert not model.layer._forward_pre_hooks


def test_a_part_of_a_storage_keeps_all_of_it() -> None:
    model, rows = nn.Sequential(nn.Linear(3, 5)), torch.ones(2, 30)
    assert kept_bytes(model, lambda: model(rows[:, :3]).sum()) == {"0": 2 * 30 * 4}


def test_what_the_loss_does_not_need_is_gone() -> None:
    model, rows = Toy(), torch.ones(2, 3)

    def forward() -> Tensor:
        model(rows)
        return model.layer(rows).sum()

    assert kept_bytes(model, forward) == {"layer": 2 * 3 * 4}


def test_more_points_and_regions_keep_more() -> None:
    variants = [grid(0), grid(1), grid(7), *REGIONS]
    measured = [measure_memory(variant, 2, 32, TINY) for variant in variants]
    totals = [sum(parts.values()) for parts in measured]
    assert totals == sorted(set(totals))
    assert len({parts["encoder"] for parts in measured}) == 1
    assert [parts["pixel branch"] > 0 for parts in measured] == [False, True, True, True, True]
    assert [parts["region branch"] > 0 for parts in measured] == [False, False, False, True, True]
    # Of each view the naive order keeps 16 sums over 128 channels, the other 16 over 16 and 49 points of 16.
    assert totals[4] - totals[3] == 2 * 4 * (16 * 128 - 49 * 16)


def test_a_cpu_keeps_less_than_the_layers_would() -> None:
    layers, own = (measure_memory(grid(7), 2, 32, TINY, chosen) for chosen in (True, False))
    assert own["encoder"] < 0.95 * layers["encoder"]
    assert own["pixel branch"] < layers["pixel branch"]
    assert (own["image branch"], own["rest"]) == (layers["image branch"], layers["rest"])


def test_both_orders_of_regionsim_give_one_loss_and_differ_in_their_work() -> None:
    batch, found = make_batch(2, 32), []
    assert [variant.name for variant in REGIONS] == ["RegionSim, layer first", "RegionSim, sums first"]
    for variant in REGIONS:
        task = variant.task(TINY)
        assert task.network.region_head.project is (projected if variant.sums_first else projected_cheaply)
        found.append(task.training_step(batch, 0)["loss"])
    assert layer_first(regions=16, points=49, width=128, out=16)
    torch.testing.assert_close(*found)
    early, late = (operations(variant_step(variant, batch, torch.device("cpu"), False, TINY)) for variant in REGIONS)
    assert 0 < early < late


def test_the_steps_that_are_timed_use_the_losses_of_their_names() -> None:
    image, dense, region = {"image"}, {"image", "dense"}, {"image", "dense", "region"}
    tasks = [variant.task(TINY) for variant in TIMED]
    assert [variant.name for variant in TIMED[:2]] == ["SimSiam", "PixSim, K = 7"]
    assert [set(task.weights) for task in tasks] == [image, dense, region, region]
    assert [task.regions_active() for task in tasks] == [False, False, True, True]


def test_the_papers_memory() -> None:
    assert published_memory() == {"0": 8.06, "1": 8.11, "3": 8.12, "7": 8.18, "9": 8.21, "14": 8.28}


def test_memory_table() -> None:
    measured = {
        "K = 0": {"encoder": 200e6, "rest": 0.0},
        "K = 7": {"encoder": 200e6, "rest": 3e6},
        "more": {"rest": 1e9},
    }
    on_cpu = {"K = 0": 120e6, "K = 7": 121e6, "more": 130e6}
    assert memory_table(measured, on_cpu, {"K = 0": 8.0, "K = 7": 8.2}).splitlines() == [
        "| step | MB per image | more | encoder | rest | on a CPU | paper's GB | more |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| K = 0 | 200.00 | 0.00% | 200.00 | 0.00 | 120.00 | 8.00 | 0.00% |",
        "| K = 7 | 203.00 | 1.50% | 200.00 | 3.00 | 121.00 | 8.20 | 2.50% |",
        "| more | 1000.00 | 400.00% | 1000.00 | 130.00 | - | - |",
    ]


def test_operations_are_those_of_an_image() -> None:
    lines = operations_table({"SimSiam": 8 * 10**9, "PixSim": 10**10}, images=4).splitlines()
    assert lines[0] == "| step | GFLOP per image | x SimSiam |"
    assert lines[2:] == ["| SimSiam | 2.00 | 1.000 |", "| PixSim | 2.50 | 1.250 |"]


def test_simsiam_written_plainly_is_ours() -> None:
    """With the same weights, the heads give the same loss; only the bias before batch norm is additional there."""
    plain = PlainSimSiam("resnet18", 16, 8)
    ours, rows = ImageHead(512, 16, 8), torch.randn(2, 6, 512, generator=torch.Generator().manual_seed(0))
    heads = {"projector": plain.encoder.fc, "predictor": plain.predictor}
    for name, head in heads.items():
        state = {key: value for key, value in head.state_dict().items() if (name, key) != ("projector", "6.bias")}
        getattr(ours, name).load_state_dict(state)
    plain.encoder.fc[6].bias.data.zero_()
    (p1, z1), (p2, z2) = (ours(view) for view in rows)
    expected = similarity_loss(p1, z1, p2, z2, cosine_distance, stop_gradient=True).mean()
    t1, t2 = (plain.encoder.fc(view) for view in rows)
    distance = torch.nn.CosineSimilarity(dim=1)
    found = -0.5 * (distance(plain.predictor(t1), t2).mean() + distance(plain.predictor(t2), t1).mean())
    torch.testing.assert_close(found, expected)
    assert not plain.encoder.fc[6].bias.requires_grad


def test_the_memory_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pretraining_memory.main(["--batch", "2", "--size", "32", *TINY])
    _, _, *rows, empty, machine = capsys.readouterr().out.splitlines()
    steps = [f"K = {size}" for size in (0, 1, 3, 7, 9, 14)] + [variant.name for variant in REGIONS]
    assert [row.split("|")[1].strip() for row in rows] == steps
    assert empty == ""
    assert machine.startswith("batch 2, 32 px, model/encoder=resnet18_half, ")


@pytest.mark.parametrize(("encoder", "plain"), [("resnet18_half", []), ("resnet18", [PLAIN])])
def test_the_time_command_runs(encoder: str, plain: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    values = [*TINY[1:], f"model/encoder={encoder}"]
    pretraining.main(
        ["--batch", "2", "--size", "32", "--rounds", "1", "--precision", "bf16", "--device", "cpu", *values]
    )
    written = capsys.readouterr().out.splitlines()
    steps = ["step", "---", *plain, *(variant.name for variant in TIMED)]
    assert [line.split("|")[1].strip() for line in written if line.startswith("| ")] == [*steps[:-1], *steps]
    assert f"model/encoder={encoder}, precision bf16; " in written[-1]


@pytest.mark.parametrize(
    ("main", "words", "said"),
    [
        (pretraining_memory.main, ["--batch", "1"], "expected --batch from 2, --size from 1"),
        (pretraining.main, ["--rounds", "0"], "expected --batch from 2, --size and --rounds from 1"),
        (
            pretraining_memory.main,
            ["--size", "32", "model.grid_position=nowhere"],
            "grid_position is 'nowhere': choose one of",
        ),
        (
            pretraining.main,
            ["--size", "32", "model/encoder=nothing"],
            "Could not find 'model/encoder/nothing'",
        ),
    ],
)
def test_what_they_refuse(
    main: Callable[[list[str]], None], words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert said in f"{stopped.value}{capsys.readouterr().err}"
