"""Spearman's rank correlation between label-free metrics and mIoU over finished runs, as a Markdown table.

    python scripts/rank_label_free.py multirun/camvid_seg outputs/camvid_seg
For each data set, over all methods and for each method: the correlation of every label-free metric of the last epoch
(`src.monitoring.label_free.LabelFreeMetrics`) with the mIoU after training, and the p-value of the hypothesis that
there is no correlation.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import permutation_test, rankdata

from src.errors import DenseSiamError
from src.monitoring.label_free import LabelFreeMetrics
from src.results.runs import Run, read_runs

FEWEST = 3  # with two runs, rho is always 1 or -1
LEGEND = (
    "Spearman's rho of the metric and the mIoU after training, and the two-sided p-value of a permutation test (all "
    "orders of up to 7 runs, 9,999 random orders of more runs), not corrected for the number of cells. "
    f"'-': fewer than {FEWEST} runs, or all values are equal. Methods differ in other ways too."
)


class Point(NamedTuple):
    """A finished run.

    Attributes:
        data: the data and the protocol of the scores.
        method: class of the task.
        miou: mIoU after training in percent.
        metrics: label-free metrics by their names.
    """

    data: str
    method: str
    miou: float
    metrics: Mapping[str, float]


def point(run: Run) -> Point | None:
    """The mIoU and the metrics of a run; None if it lacks mIoU or a metric."""
    metrics = {name: run.document.get("label_free", {}).get(name) for name in LabelFreeMetrics._fields}
    miou = run.document["scores"].get("after training", {}).get("mIoU")
    known = {name: value for name, value in metrics.items() if value is not None}
    if miou is None or len(known) < len(metrics):
        return None
    protocol = run.document["protocol"]
    scored = "; ".join(
        str(protocol[name]) for name in ("data", "probes", "preparation", "matching") if name in protocol
    )
    return Point(scored, str(run.values["task._target_"]), miou, known)


def correlation(metric: Sequence[float], miou: Sequence[float]) -> tuple[float, float]:
    """Spearman's rho, -1 to 1, and its p-value; both nan for fewer than three runs, or if all values are equal.

    The p-value is that of a permutation test. The usual approximation needs hundreds of values: it gives 0 for three
    runs in the same order.
    """
    if len(miou) < FEWEST or len(set(metric)) == 1 or len(set(miou)) == 1:
        return math.nan, math.nan
    first, second = rankdata(metric), rankdata(miou)

    def rho(ranks: np.ndarray) -> float:
        return float(np.corrcoef(ranks, second)[0, 1])

    generator = np.random.default_rng(0)
    found = permutation_test((first,), rho, permutation_type="pairings", n_resamples=9999, rng=generator)
    return float(found.statistic), float(found.pvalue)


def table(points: Sequence[Point]) -> str:
    """One row for each data set and method, and one row for all methods of a data set if there are several."""
    headings = ["scored", "method", "runs", *LabelFreeMetrics._fields]
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for data in sorted({one.data for one in points}):
        here = [one for one in points if one.data == data]
        methods = sorted({one.method for one in here})
        groups = {"all": here} if len(methods) > 1 else {}
        groups |= {method.rpartition(".")[2]: [one for one in here if one.method == method] for method in methods}
        for name, members in groups.items():
            cells = [cell(members, metric) for metric in LabelFreeMetrics._fields]
            lines.append(f"| {' | '.join([data, name, str(len(members)), *cells])} |")
    return "\n".join([*lines, "", LEGEND])


def cell(points: Sequence[Point], metric: str) -> str:
    """The correlation of one metric with mIoU as text; a dash if it is undefined."""
    rho, p_value = correlation([one.metrics[metric] for one in points], [one.miou for one in points])
    return "-" if math.isnan(rho) else f"{rho:+.2f} (p {p_value:.2g})"


def ranked(folders: Sequence[Path]) -> str:
    """The table of all finished runs below the folders, each run once.

    Raises:
        DenseSiamError: no run has both metrics and mIoU.
    """
    runs = {run.folder.resolve(): run for folder in folders for run in read_runs(folder)}
    points = [found for run in runs.values() if (found := point(run)) is not None]
    if not points:
        raise DenseSiamError(
            f"expected finished runs with label_free and an mIoU after training below {', '.join(map(str, folders))}, "
            f"found {len(runs)} finished, none with both: train with callbacks.label_free, on data with labels to score"
        )
    return table(points)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+", help="folder of a multirun, or any folder above finished runs")
    try:
        print(ranked(parser.parse_args().folder))
    except DenseSiamError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
