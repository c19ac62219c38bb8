"""Reporting scores: a table for the terminal and `scores.json`, each with the protocol behind the numbers."""

import json
import math
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

COLUMNS = ("mIoU", "mIoU_stuff", "mIoU_thing", "accuracy")
PACKAGES = ("densesiam", "torch", "torchvision", "lightning", "torchmetrics", "scikit-learn", "timm", "numpy", "pillow")


def print_scores(rows: Mapping[str, Mapping[str, float]], protocol: Mapping[str, Any]) -> None:
    """Print one line per row of scores (percent), and below them the protocol that they share."""
    table = Table(title="Scores in percent", title_justify="left")
    table.add_column("")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for label, scores in rows.items():
        table.add_row(escape(label), *(f"{scores[name]:.1f}" if name in scores else "-" for name in COLUMNS))
    console = Console(width=max(100, Console().width))
    console.print(table)
    console.print(escape(describe(protocol)), highlight=False, soft_wrap=True)


def describe(protocol: Mapping[str, Any]) -> str:
    """The protocol on one line."""
    return "; ".join(f"{name}: {value}" for name, value in protocol.items())


def write_scores(
    path: Path,
    rows: Mapping[str, Mapping[str, float]],
    protocol: Mapping[str, Any],
    cost: Mapping[str, float],
    config: Mapping[str, Any],
) -> None:
    """Write `scores.json`: scores in percent, protocol, cost, environment and config; undefined scores become null."""
    document = {
        "scores": {label: {name: _finite(value) for name, value in scores.items()} for label, scores in rows.items()},
        "protocol": dict(protocol),
        "cost": dict(cost),
        "environment": environment(),
        "config": dict(config),
    }
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def environment() -> dict[str, Any]:
    """Versions and hardware that the numbers depend on."""
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": devices or ["cpu"],
        "threads": torch.get_num_threads(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
