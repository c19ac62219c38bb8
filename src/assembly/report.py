"""Writes the page of a run, of runs side by side, or of a sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.assembly.detection_gallery import detection_gallery
from src.assembly.gallery import labelled_gallery, unlabelled_gallery
from src.assembly.restoring import restore
from src.checks import check_int, check_text
from src.disk import cannot_write, write_whole
from src.errors import DenseSiamError
from src.models.detection import DetectionNetwork
from src.results.pages.compare_page import compare_page
from src.results.pages.gallery import Gallery
from src.results.pages.run_page import run_page
from src.results.pages.sections import matched_of
from src.results.pages.sweep_page import sweep_page
from src.results.runs import SCORES, Run, read_run
from src.results.sweeps import read_sweep
from src.training.csv_rows import read_rows

CHECKPOINT = Path("checkpoints") / "last.ckpt"


def report(config: DictConfig) -> Path:
    """Write a page; returns its path.

    Args:
        config: the composed `conf/report.yaml`.

    Raises:
        DenseSiamError: a value is out of its range, a folder holds no results, or the page can't be written.
    """
    check_int("images", config.images, high=1000)
    check_int("sample", config.sample, low=1, high=100_000)
    folders, compared = folders_of(config)
    output = output_of(config, folders[0] / ("compare.html" if compared else "report.html"))
    if compared:
        text, remark = compared_runs(folders, config)
    elif (folders[0] / SCORES).exists():
        run = read_run(folders[0])
        gallery, remark = gallery_of(run, config)
        text = run_page(run, metrics_of(run), gallery, remark)
    else:
        text, remark = sweep_page(read_sweep(folders[0])), ""
    content = text.encode("utf-8", "replace")  # a file name may hold bytes that are not UTF-8
    try:
        write_whole(output, lambda file: file.write(content))
    except OSError as error:
        raise cannot_write(output, error, "choose another file with output=FILE") from error
    print(*filter(None, [remark, f"report: {output}, {len(content) / 1e6:.2f} MB"]), sep="\n")
    return output


def folders_of(config: DictConfig) -> tuple[list[Path], bool]:
    """The folders to report on, and whether they are put side by side.

    Raises:
        DenseSiamError: neither or both of `run` and `compare` are given, or a folder does not exist.
    """
    if (config.run is None) == (config.compare is None):
        raise DenseSiamError("expected one of run=DIR and 'compare=[DIR1,DIR2]': give the folders of finished runs")
    plain: Any = OmegaConf.to_container(config, resolve=True)
    given = [plain["run"]] if plain["compare"] is None else plain["compare"]
    name = "run" if plain["compare"] is None else "compare"
    if not isinstance(given, list) or (name == "compare" and len(given) < 2):
        raise DenseSiamError(f"compare is {given!r}: expected at least two folders, 'compare=[DIR1,DIR2]'")
    for folder in given:
        check_text(name, folder, "the folder of a finished run")
        if not Path(folder).is_dir():
            raise DenseSiamError(f"there is no folder {folder}: give the folder of a finished run, {name}=...")
    return [Path(folder) for folder in given], name == "compare"


def output_of(config: DictConfig, default: Path) -> Path:
    """The file to write.

    Raises:
        DenseSiamError: `output` does not end in `.html`.
    """
    if config.output is None:
        return default
    check_text("output", config.output, "or null for the folder of the run")
    if Path(config.output).suffix.lower() not in (".html", ".htm"):
        raise DenseSiamError(f"output is {config.output!r}: expected the path of a file that ends in .html")
    return Path(config.output)


def compared_runs(folders: Sequence[Path], config: DictConfig) -> tuple[str, str]:
    """The page of runs side by side, and a remark on missing galleries."""
    runs = [read_run(folder) for folder in folders]
    galleries: list[Gallery | None] = []
    remarks: list[str] = []
    for run in runs:
        first = next((gallery for gallery in galleries if gallery is not None), None)
        gallery, remark = gallery_of(run, config, first)
        galleries.append(gallery)
        remarks += [remark] if remark and remark not in remarks else []
    remark = " ".join(remarks)
    return compare_page(runs, [metrics_of(run) for run in runs], galleries, remark), remark


def gallery_of(run: Run, config: DictConfig, like: Gallery | None = None) -> tuple[Gallery | None, str]:
    """Predictions of a run, or None and the reason as a sentence.

    Args:
        run: the run.
        config: the config of the command.
        like: a gallery whose images are shown again, if the data is labelled.
    """
    if config.images == 0:
        return None, "There are no pictures, because the report was made with images=0."
    path = run.folder / CHECKPOINT
    try:
        if not path.is_file():
            raise DenseSiamError(f"there is no {path}")
        restored = restore(path, config)
        if restored.data.val is None:
            return unlabelled_gallery(restored, config.images, config.sample), ""
        chosen = None if like is None else like.indices
        network = restored.task.deployed()
        if isinstance(network, DetectionNetwork):
            return detection_gallery(restored, network, config.images, chosen), ""
        return labelled_gallery(restored, matched_of(run), config.images, chosen), ""
    except DenseSiamError as error:
        return None, f"There are no pictures: {str(error).rstrip('.')}."


def metrics_of(run: Run) -> list[dict[str, str]]:
    """The rows of a run's `metrics.csv`; empty if it has none."""
    path = run.folder / "csv" / "metrics.csv"
    return read_rows(path)[1] if path.is_file() else []
