"""Checkpoints made to run code: each would leave a file behind, and none of them may.

That each payload works is tested as well, by a program that trusts it.
"""

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from src.assembly.evaluate import evaluate
from src.checkpoints.reading import check_plain
from src.checkpoints.rebuilding import CONSTRUCTORS, RENAMED, constructor, rebuild, targets
from src.errors import DenseSiamError
from src.prediction.loading import load
from tests.checkpoints.payloads import PAYLOADS
from tests.composing import CONF, composed
from tests.exporting import exported
from tests.refusals import refusal

TINY = [
    "experiment=demo",
    "debug=tiny",
    "data.train_scenes=8",
    "data.val_scenes=2",
    "data.scene_size=32",
    "protocol.resamples=0",
]


def carried_out(config: Any) -> Any:
    """What a program that trusts a config would do: resolve it, walk to each name, and call what is there."""
    if isinstance(config, str) and config.startswith("${"):
        return carried_out(OmegaConf.to_container(OmegaConf.create({"x": config}), resolve=True)["x"])
    if isinstance(config, list | tuple):
        return [carried_out(one) for one in config]
    if not isinstance(config, dict):
        return config
    arguments = {key: carried_out(value) for key, value in config.items()}
    if "_target_" not in arguments:
        return arguments
    names = arguments.pop("_target_").split(".")
    found = import_module(names[0])
    for place, name in enumerate(names[1:], start=2):
        with suppress(ImportError):
            import_module(".".join(names[:place]))
        found = getattr(found, name)
    return found(*arguments.pop("_args_", []), **arguments)


@pytest.mark.parametrize("name", PAYLOADS)
def test_each_payload_works(name: str, tmp_path: Path) -> None:
    path = tmp_path / "made"
    with suppress(
        TypeError, ValueError, AttributeError, RuntimeError, DenseSiamError
    ):  # what is called need not be an encoder
        carried_out(PAYLOADS[name](path))
    assert path.exists()


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a segmentation run would save, without having trained."""
    config = composed(tmp_path_factory.mktemp("run"), *TINY)
    protocol = instantiate(config.protocol)
    data = instantiate(config.data, protocol=protocol, _convert_="all")
    task = instantiate(config.task, classes=data.classes, protocol=protocol, _convert_="all")
    plain = OmegaConf.to_container(config, resolve=True)
    return {"config": plain, "state_dict": task.state_dict(), "origin": {}, "epoch": 0, "global_step": 1}


def in_encoder(config: dict[str, Any], payload: Any) -> None:
    config["model"]["encoder"] = config["task"]["network"]["encoder"] = payload


def in_arguments(config: dict[str, Any], payload: Any) -> None:
    config["task"]["loss_weights"]["seg"] = payload
    config["task"]["network"]["encoder"]["padding"] = config["model"]["encoder"]["padding"] = payload


def in_neck(config: dict[str, Any], payload: Any) -> None:
    config["model"]["neck"] = config["task"]["network"]["neck"] = payload


def in_task(config: dict[str, Any], payload: Any) -> None:
    config["task"] = config["model"] = payload


PLACES = {"encoder": in_encoder, "neck": in_neck, "arguments": in_arguments, "task": in_task}


def use_by_evaluate(path: Path, output: Path) -> None:
    evaluate(composed(output, f"ckpt_path={path}", name="evaluate"))


def use_by_export(path: Path, output: Path) -> None:
    exported(path, output / "encoder.pth")


USES: dict[str, Callable[[Path, Path], Any]] = {
    "load": lambda path, output: load(path),
    "evaluate": use_by_evaluate,
    "export": use_by_export,
}


def saved(checkpoint: dict[str, Any], folder: Path) -> Path:
    path = folder / "last.ckpt"
    torch.save(checkpoint, path)
    return path


def test_the_honest_checkpoint_can_be_used(honest: dict[str, Any], tmp_path: Path) -> None:
    path = saved(honest, tmp_path)
    for use in USES.values():
        use(path, tmp_path)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", PAYLOADS)
def test_nothing_is_executed(name: str, place: str, honest: dict[str, Any], tmp_path: Path) -> None:
    made = tmp_path / "made"
    checkpoint = {**honest, "config": deepcopy(honest["config"]), "state_dict": {}}
    PLACES[place](checkpoint["config"], PAYLOADS[name](made))
    path = saved(checkpoint, tmp_path)
    for use in (USES["load"], USES["export"]):
        refusal(lambda use=use: use(path, tmp_path))
    assert not made.exists()


@pytest.mark.parametrize("group", ["data", "protocol", "probe"])
@pytest.mark.parametrize("name", ["a shell command", "what one of our modules imports", "an interpolation"])
def test_nothing_is_executed_in_scoring(name: str, group: str, honest: dict[str, Any], tmp_path: Path) -> None:
    made = tmp_path / "made"
    checkpoint = {**honest, "config": deepcopy(honest["config"]), "state_dict": {}}
    payload = PAYLOADS[name](made)
    checkpoint["config"][group] = payload if isinstance(payload, dict) else {"root": payload}
    path = saved(checkpoint, tmp_path)
    refusal(lambda: use_by_evaluate(path, tmp_path))
    assert not made.exists()


@pytest.mark.parametrize(
    "name",
    [
        "src.tasks.segment.Segment ",
        "src.tasks.segment..Segment",
        "src.tasks.segment.Segment.__init__",
        "tests.naive.loop",
        "Segment",
        "",
        None,
        7,
        ["src.optim.sgd"],
        {"_target_": "src.optim.sgd"},
    ],
)
def test_names_that_are_almost_in_the_list_are_refused(name: Any) -> None:
    refusal(lambda: rebuild({"_target_": name}))


@pytest.mark.parametrize("extra", [{"_args_": [1]}, {"_recursive_": False}, {"__class__": "x"}])
def test_arguments_without_names_are_refused(extra: dict[str, Any]) -> None:
    refusal(lambda: rebuild({"_target_": "src.models.necks.DeepestMap", **extra}), "named arguments only")


def endless() -> Any:
    config: dict[str, Any] = {}
    config["again"] = config
    return config


def exploding() -> Any:
    """A list of 2^30 entries that takes a few bytes."""
    entry: list[Any] = []
    for _ in range(30):
        entry = [entry, entry]
    return entry


def deep() -> Any:
    entry: list[Any] = []
    for _ in range(100_000):
        entry = [entry]
    return entry


@pytest.mark.parametrize("make", [endless, exploding, deep])
def test_containers_that_never_end_are_refused(make: Callable[[], Any]) -> None:
    refusal(lambda: check_plain(make()), "too deeply or too large")


@pytest.mark.parametrize("value", [b"bytes", torch.zeros(1), {1: "x"}, {b"k": 1}, {"${x}": 1}, 1j])
def test_what_is_no_plain_value_is_refused(value: Any) -> None:
    refusal(lambda: check_plain({"task": [value]}), "the stored config")


@pytest.mark.parametrize("field", ["config", "state_dict"])
@pytest.mark.parametrize("value", [None, [], "text", 3, {1: 2}, {"a": [1]}], ids=repr)
def test_a_checkpoint_of_other_types_is_refused(field: str, value: Any, honest: dict[str, Any], tmp_path: Path) -> None:
    path = saved({**honest, field: value}, tmp_path)
    for use in USES.values():
        refusal(lambda use=use: use(path, tmp_path))


def test_groups_of_other_types_are_refused(honest: dict[str, Any], tmp_path: Path) -> None:
    for group in ("task", "model", "data", "protocol", "probe"):
        for value in (None, [], "text", 3):
            path = saved({**honest, "config": {**honest["config"], group: value}}, tmp_path)
            use = {"task": USES["load"], "model": USES["export"]}.get(group, use_by_evaluate)
            refusal(lambda use=use, path=path: use(path, tmp_path), group)


@pytest.mark.parametrize("changes", [{"_partial_": True}, {"_target_": None}], ids=["function", "dict"])
def test_groups_that_describe_no_object_are_refused(
    changes: dict[str, Any], honest: dict[str, Any], tmp_path: Path
) -> None:
    for group, use in (("task", USES["load"]), ("protocol", USES["load"]), ("data", use_by_evaluate)):
        group_config = {**honest["config"][group], **changes}
        kept = {key: value for key, value in group_config.items() if value is not None or key != "_target_"}
        path = saved({**honest, "config": {**honest["config"], group: kept}}, tmp_path)
        refusal(lambda use=use, path=path: use(path, tmp_path), "describes no object")


def test_every_name_in_the_list_is_defined_where_it_says() -> None:
    for name in CONSTRUCTORS:
        module, _, attribute = name.rpartition(".")
        found = constructor(name)
        assert found.__name__ == attribute
        if name.startswith("src."):
            assert found.__module__ == module


def test_names_of_older_checkpoints_lead_to_the_present_ones() -> None:
    for old, new in RENAMED.items():
        assert old not in CONSTRUCTORS
        assert constructor(old) is constructor(new)
    never = dict.fromkeys(("jitter_probability", "grey_probability", "blur_probability"), 0.0)
    strengths = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.1)
    config = {"_target_": "src.data.views.colour_augmentation", **strengths, **never, "blur_sigma": [0.1, 2.0]}
    assert rebuild(config).spans == [(0.9, 1.1)] * 3 + [(-0.1, 0.1)]


def test_the_list_has_every_part_that_conf_rebuilds() -> None:
    files = [
        path for group in ("model", "task", "data", "probe", "protocol") for path in (CONF / group).rglob("*.yaml")
    ]
    assert len(files) > 20
    named = {name for path in files for name in targets(OmegaConf.to_container(OmegaConf.load(path), resolve=False))}
    assert named <= CONSTRUCTORS


def test_what_the_users_own_command_names_may_be_called() -> None:
    config = {"_target_": "collections.Counter", "red": 2}
    with pytest.raises(DenseSiamError):
        rebuild(config)
    assert rebuild(config, also=["collections.Counter"]) == {"red": 2}
