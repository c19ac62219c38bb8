"""Predicts the files of a folder with a checkpoint: label maps or objects, overlays, a legend and a summary."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from src.checkpoints.provenance import file_hash
from src.checks import check_flag, check_int, check_number, check_text
from src.command_line import CONF
from src.errors import DenseSiamError
from src.prediction.detection_files import DetectionJob
from src.prediction.detection_results import DetectionResults
from src.prediction.detector import Detector
from src.prediction.devices import device_of
from src.prediction.files import Job, Work, predict_files
from src.prediction.listing import list_inputs, result_names
from src.prediction.loading import load
from src.prediction.map_files import MapJob
from src.prediction.map_results import MapResults
from src.prediction.results import FAILED, LEGEND, SUMMARY, Results
from src.prediction.segmenter import Segmenter

OF_MAPS = ("head", "side", "flip", "window", "overlap", "probabilities", "features")
OF_OBJECTS = ("min_score",)
MOST_COLOURS = 256  # of a PNG with a palette
MOST_THREADS = 16
SHOWN = 100  # failures in the terminal


def predict(config: DictConfig) -> int:
    """Predict all files of `input` and write the results to `output`; returns how many could not be predicted.

    Args:
        config: the composed `conf/predict.yaml`.

    Raises:
        DenseSiamError: a value is refused, the checkpoint can't be used, there are no images, or a result can't be
            written.
    """
    check_values(config)
    model = load(config.ckpt_path, scores=config.scores).to(device_of(config.device))
    output = Path(config.output)
    job, settings = job_of(model, config, output)
    if output.exists() and not output.is_dir():
        raise DenseSiamError(f"output={output} is a file: expected a folder, which is made if it does not exist")
    listed = list_inputs(config.input, output)
    names, results = result_names(listed.names), job.results
    record = {"input": str(listed.root.resolve()), "checkpoint": file_hash(config.ckpt_path), "names": results.names}
    results.begin(record | settings, config.overwrite)

    started = time.perf_counter()
    sources = [listed.root / name for name in listed.names]
    there = {}
    for place, source in enumerate(sources):
        before = None
        if not config.overwrite and results.exist(names[place], source):
            before = results.written_before(names[place])
        if before is not None:
            there[place] = before
    waiting = [place for place in range(len(names)) if place not in there]
    work = Work(job, {place: sources[place] for place in waiting}, names)
    most = MOST_THREADS if model.device.type == "cpu" else 4  # on a GPU, they only read and write side by side
    num_threads = config.num_threads or min(most, torch.get_num_threads())
    with shown_progress(len(waiting)) as progress:
        rows, failed = predict_files(work, config.batch_size, num_threads, progress)
    seconds = time.perf_counter() - started
    rows |= there
    by_name = {listed.names[place]: rows[place] for place in sorted(rows)}
    errors = {listed.names[place]: failed[place] for place in sorted(failed)}
    results.finish(by_name, errors)
    tell(results, len(rows) - len(there), len(there), seconds, errors)
    return len(failed)


def job_of(model: Segmenter | Detector, config: DictConfig, output: Path) -> tuple[Job, dict[str, Any]]:
    """How the files are predicted, and the settings that decide the results, for the record.

    Raises:
        DenseSiamError: a value is out of its range, or has no effect on what this checkpoint predicts.
    """
    if isinstance(model, Detector):
        check_without_effect(config, OF_MAPS, "finds objects")
        found = DetectionResults(output, model, config.overlays)
        return DetectionJob(model, config.min_score, found), {"min_score": config.min_score}
    check_without_effect(config, OF_OBJECTS, "segments")
    settings = model.settings(config.head, config.side, config.flip, config.window, config.overlap)
    number = model.network.num_categories[settings.head]
    if number > MOST_COLOURS:
        raise DenseSiamError(
            f"head={settings.head} has {number} clusters, and an index PNG holds at most {MOST_COLOURS}: choose "
            "another head, or use src.api.load in Python"
        )
    wanted = [kind for kind in ("probabilities", "features") if config[kind]]
    results = MapResults(output, model.clusters[settings.head], config.overlays, bool(wanted))
    return MapJob(model, settings, results, wanted), {**settings._asdict(), "arrays": wanted}


def check_without_effect(config: DictConfig, names: Sequence[str], does: str) -> None:
    """Refuse values that have no effect on what a checkpoint predicts.

    Args:
        config: the composed `conf/predict.yaml`.
        names: the names of these values.
        does: what the checkpoint does, in words.

    Raises:
        DenseSiamError: one of them is not the value of `conf/predict.yaml`.
    """
    own = cast(DictConfig, OmegaConf.load(CONF / "predict.yaml"))
    changed = [name for name in names if config[name] != own[name]]
    if changed:
        raise DenseSiamError(
            f"{changed[0]} is {config[changed[0]]}, which has no effect, because {config.ckpt_path} {does}: leave it"
        )


def check_values(config: DictConfig) -> None:
    """Refuse values that are out of their range; those of the prediction itself are checked by `Settings`.

    Raises:
        DenseSiamError: a value is out of its range; the message names it.
    """
    for key in ("ckpt_path", "input", "output"):
        check_text(key, config[key])
    if config.scores is not None:
        check_text("scores", config.scores, "or null for none")
    for key in ("overlays", "probabilities", "features", "overwrite"):
        check_flag(key, config[key])
    check_int("batch_size", config.batch_size, low=1, high=4096)
    check_number("min_score", config.min_score, low=0, high=1)
    if config.num_threads is not None:
        check_int("num_threads", config.num_threads, low=1, high=1024, otherwise="or null for one per core")


def tell(results: Results[Any], new: int, skipped: int, seconds: float, errors: Mapping[str, str]) -> None:
    """Print what was written, and which images could not be predicted and why."""
    before = f", {skipped} were there before" if skipped else ""
    speed = new / max(seconds, 1e-9)
    files = ", ".join([*(f"{kind}/" for kind in results.suffixes), SUMMARY, LEGEND])
    print(f"{new} {images(new)} in {seconds:.1f} s ({speed:.1f} per second){before}: {files} in {results.folder}")
    print(results.note)
    if errors:
        print(f"{len(errors)} {images(len(errors))} could not be predicted, see {results.folder / FAILED}:")
        print(*(f"  {error}" for error in list(errors.values())[:SHOWN]), sep="\n")
        if len(errors) > SHOWN:
            print(f"  and {len(errors) - SHOWN} more")


def images(number: int) -> str:
    """The word after a number of images."""
    return "image" if number == 1 else "images"


@contextmanager
def shown_progress(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar in the terminal; gives the function that is told how many images were done."""
    columns = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.advance(task, done)
