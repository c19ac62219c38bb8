"""Two processes, each with half of every batch, do what one does with the whole where batch norm is frozen."""

import csv
import os
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from src.errors import DenseSiamError
from src.models.encoder import Encoder
from src.models.necks import SimplifiedFPN
from src.models.siamese import DenseSiam
from src.optim import sgd
from src.tasks.pretrain import Pretrain
from src.tasks.segment import Segment
from src.tasks.siamese import SiameseTask
from src.training.sync_batchnorm import SyncBatchNorm
from tests.composing import TINY_EPOCHS, composed
from tests.factories import pretrain_batches, pretrain_task, segment_task
from tests.processes import command, in_two_processes

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
YES, NO = True, False


class Backbone(nn.Sequential):
    """Small and smooth: a ReLU that rounding tips over, one in ten million, would change a gradient visibly."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, kernel_size=4, stride=4), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 16, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [super().forward(images)]


def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(Backbone(), channels=(16,), strides=(4,), mean=(0.5,) * 3, std=(0.2,) * 3, frozen=False)


def pretraining(**changes: Any) -> Pretrain:
    return pretrain_task(encoder=encoder(), **changes)


def segmentation(**changes: Any) -> Segment:
    task = segment_task(**changes)
    task.network = DenseSiam(encoder(), partial(SimplifiedFPN, channels=16), 4, 10, losses=task.network.losses)
    return task


class Case(NamedTuple):
    """A run of two epochs of two batches; RegionSim is active in the second. Each process has two of four pairs."""

    make: Callable[..., SiameseTask]
    options: Mapping[str, Any]
    valid: tuple[bool, ...]


CASES = {
    "starting": Case(pretraining, {}, (YES, YES, NO, YES)),
    "one has no pair": Case(pretraining, {}, (NO, NO, YES, YES)),
    "no pair": Case(pretraining, {}, (NO, NO, NO, NO)),
    "intersection": Case(pretraining, {"global_region": "intersection"}, (YES, YES, NO, NO)),
    "no pixels": Case(pretraining, {"grid_size": 0}, (YES, YES, NO, YES)),
    "without PixSim": Case(
        pretraining, {"loss_weights": {"image": 1.0, "dense": 0, "region": 0.1}}, (YES, NO, YES, YES)
    ),
    "segmentation": Case(segmentation, {}, (YES, YES, NO, YES)),
    "segmentation, one has no pair": Case(segmentation, {}, (YES, YES, NO, NO)),
    "segmentation, no pair": Case(segmentation, {}, (NO, NO, NO, NO)),
}


class Step(NamedTuple):
    """What the optimiser and the log get."""

    gradients: dict[str, Tensor]
    logged: dict[str, Tensor]
    regions: list[Tensor]


class Steps(Callback):
    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}
        self.found: list[Step] = []

    def on_before_optimizer_step(self, trainer: lightning.Trainer, pl_module: Any, optimizer: Any) -> None:
        self.gradients = {
            name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
            for name, parameter in pl_module.named_parameters()
        }

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *_: Any) -> None:
        logged = {key: value for key, value in trainer.callback_metrics.items() if "/" in key}
        head = pl_module.network.region_head
        regions = [] if head is None else [parameter.detach().clone() for parameter in head.parameters()]
        self.found.append(Step(self.gradients, logged, regions))


def fit(task: SiameseTask, batches: list[dict[str, Any]], share: slice, trainer: str) -> list[Step]:
    """Train on a share of every batch, with a trainer of `conf/`."""
    shares = [
        {key: [view[share] for view in value] if key == "views" else value[share] for key, value in batch.items()}
        for batch in batches
    ]
    steps, config = Steps(), composed(Path(), f"trainer={trainer}").trainer
    loader = torch.utils.data.DataLoader(shares, batch_size=None)
    instantiate(config, max_epochs=2, callbacks=[steps], **QUIET).fit(task, loader, [])
    return steps.found


def with_fixed_statistics(task: SiameseTask, batch: dict[str, Any]) -> SiameseTask:
    """The task with its batch norm frozen at the statistics of a batch, where every layer has much to learn."""
    for module in task.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.9
    with torch.no_grad():
        task.network.view(batch["views"][0], batch["boxes"][:, 0], True)
    return task.eval()


def steps_of(case: Case, share: slice, trainer: str) -> list[Step]:
    batches = [batch | {"valid": torch.tensor(case.valid)} for batch in pretrain_batches(2)]
    slow = sgd(base_lr=0.005, batch_size=256, momentum=0.9, weight_decay=1e-4)
    task = with_fixed_statistics(case.make(region_start=0.5, optimizer=slow, **case.options), batches[0])
    return fit(task, batches, share, trainer)


def one_of_two(rank: int) -> tuple[dict[str, list[Step]], str]:
    os.environ["LOCAL_RANK"] = str(rank)  # tells Lightning that the processes are there already
    found = {name: steps_of(case, slice(2 * rank, 2 * rank + 2), "ddp_cpu") for name, case in CASES.items()}
    try:
        fit(pretraining(), pretrain_batches(1, size=2), slice(rank, rank + 1), "ddp_cpu")
    except DenseSiamError as error:
        return found, str(error)
    return found, "no error"


Shared = list[tuple[dict[str, list[Step]], str]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """What either process found."""
    return in_two_processes(one_of_two, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", CASES)
def test_gradients_and_logged_losses_are_those_of_one_process(name: str, both: Shared) -> None:
    """To 5e-5 of a parameter's largest gradient: float32 rounds sums over halves otherwise, by at most 6e-6 here."""
    alone = steps_of(CASES[name], slice(None), "default")
    for found, _ in both:
        for step, shared in zip(alone, found[name], strict=True):
            assert shared.gradients.keys() == step.gradients.keys()
            for parameter, gradient in step.gradients.items():
                error = (shared.gradients[parameter] - gradient).abs().max()
                assert error <= 5e-5 * gradient.abs().max(), parameter
            assert shared.logged.keys() == step.logged.keys()
            torch.testing.assert_close(shared.logged, step.logged, atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", [name for name in CASES if name != "no pixels"])
def test_regions_wake_in_both_and_learn_from_pairs_alone(name: str, both: Shared) -> None:
    for found, _ in both:
        assert ["loss/region" in step.logged for step in found[name]] == [False, False, True, True]
        learns = [
            any(gradient.any() for parameter, gradient in step.gradients.items() if ".region_head." in parameter)
            for step in found[name]
        ]
        assert learns == [False, False, *([any(CASES[name].valid)] * 2)]


@pytest.mark.parametrize("name", [name for name in CASES if name != "no pixels"])
def test_before_regions_wake_no_weight_decay_acts_on_their_head(name: str, both: Shared) -> None:
    """Under DDP the gradients of an inactive head are zeros, not None, until the task removes them."""
    start = [
        parameter.detach() for parameter in CASES[name].make(**CASES[name].options).network.region_head.parameters()
    ]
    for found, _ in both:
        for step, active in zip(found[name], (False, False, True, True), strict=True):
            same = all(torch.equal(one, other) for one, other in zip(step.regions, start, strict=True))
            assert same is not active


def test_without_a_pair_whole_images_alone_count(both: Shared) -> None:
    for found, _ in both:
        for step in found["no pair"]:
            assert step.logged["loss/dense"] == 0
            assert step.logged["loss/total"] == step.logged["loss/image"] != 0
        for step in found["segmentation, no pair"]:
            assert step.logged["loss/total"] == 0
            assert not any(gradient.any() for gradient in step.gradients.values())


def test_one_image_per_process_under_batch_norm_is_refused_by_both(both: Shared) -> None:
    for _, message in both:
        assert message.startswith("batch norm found one value per channel with 1 image(s) per process")


def test_synchronised_batch_norm_takes_every_place_and_name() -> None:
    task = pretrain_task()
    names = list(task.state_dict())
    converted = SyncBatchNorm().apply(task)
    norms = [module for module in converted.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    heads = 3 + 1 + 2 * (3 + 1)  # of pixels, images and regions: projector and predictor
    assert len(norms) == 20 + heads  # ResNet-18 has 20
    assert {type(module) for module in norms} == {nn.SyncBatchNorm}
    assert list(converted.state_dict()) == names


class Keep(Callback):
    """Writes what each process ends with into a folder: the network's parameters, and the probes of the last scores."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        probes = [tensor for probe in pl_module.probes.fitted.values() for tensor in probe.buffers()]
        kept = dict(pl_module.network.named_parameters()), probes
        torch.save(kept, self.folder / f"{trainer.global_rank}.pt")


def pretrained(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the demo, tiny, in two processes as a user would."""
    kept = f"{{_target_: tests.tasks.test_processes.Keep, folder: {folder}}}"
    quiet = ["score_before=false", "callbacks.pictures=null", "callbacks.progress=null", f"+callbacks.kept={kept}"]
    overrides = [
        *TINY_EPOCHS,
        "trainer.max_epochs=2",
        "experiment=demo_pretrain",
        "trainer=ddp_cpu",
        "data.val_scenes=3",
        *quiet,
        *more,
    ]
    return command("src.train", *overrides, f"hydra.run.dir={folder}")


@pytest.mark.slow
@pytest.mark.parametrize(("grid_size", "active"), [(3, [False, False, True, True]), (0, [False] * 4)])
def test_a_run_of_two_processes_ends_with_one_network_and_one_set_of_probes(
    grid_size: int, active: list[bool], tmp_path: Path
) -> None:
    run = pretrained(tmp_path, f"model.grid_size={grid_size}")
    assert run.returncode == 0, run.stderr
    (first, probes), (second, others) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt")["state_dict"]
    for name, parameter in first.items():
        assert torch.equal(parameter, second[name]), name
        assert torch.equal(parameter, saved[f"network.{name}"]), name
    assert [probe.shape for probe in probes] == [(8, 128), (8,), (8, 128)]
    assert all(torch.equal(one, other) for one, other in zip(probes, others, strict=True))
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        steps = [row for row in csv.DictReader(file) if row["loss/image"]]
    assert [bool(row.get("loss/region")) for row in steps] == active


@pytest.mark.slow
def test_a_run_that_is_refused_ends_in_both(tmp_path: Path) -> None:
    run = pretrained(tmp_path, "data.batch_size=2")
    assert run.returncode == 1
    assert "batch norm found one value per channel with 1 image(s) per process" in run.stderr
    assert "Traceback" not in run.stderr
