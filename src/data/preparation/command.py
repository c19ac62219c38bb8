"""The command line that all `scripts/prepare_*.py` share: unpack, check, copy with smaller training images."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from src.data.preparation.archives import unpack
from src.data.preparation.downloads import Archive, Part, in_copy
from src.data.preparation.inspection import Finding, inspect
from src.data.preparation.resizing import carry_out, mark_copy, plan, resized_side
from src.data.preparation.saving import Saving, measure
from src.errors import DenseSiamError

SIDES = (320, 640)
COPIED = (
    "Only training images are resized, and never enlarged. Images and labels to score are copied unchanged, so that "
    "the scores stay the same. The labels of training images are left out, because they fit the original size only."
)


def prepare(description: str, parts: Sequence[Part], arguments: Sequence[str] | None = None) -> int:
    """Run the command line for one data set.

    Args:
        description: description of the script, for `--help`.
        parts: the parts of the data set.
        arguments: command-line arguments; None for those of the process.

    Returns:
        The exit code: 0 if everything that a run needs exists and everything that was asked for is done; 1 otherwise.
    """
    options = _options(description, arguments)
    try:
        return _run(options, parts)
    except DenseSiamError as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted: give the same command again to continue", file=sys.stderr)
    return 1


def _options(description: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DIR", help="folder of the data set, data.root of a run")
    parser.add_argument("--unpack", action="store_true", help="unpack the data set's archives into DIR first")
    parser.add_argument("--archives", type=Path, metavar="DIR2", help="folder of the archives (default: DIR)")
    help_decode = "how many files of each part to decode, or all (default: %(default)s)"
    parser.add_argument("--decode", type=_count, default=100, metavar="N", help=help_decode)
    help_resize = "write a copy whose training images have this shorter side"
    parser.add_argument("--resize", type=int, choices=SIDES, help=help_resize)
    parser.add_argument("--to", type=Path, metavar="DIR3", help="folder of the copy")
    help_workers = "number of processes (default: %(default)s, one for each core)"
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help=help_workers)
    options = parser.parse_args(arguments)
    if options.archives and not options.unpack:
        parser.error("--archives is the folder to unpack from: add --unpack")
    if (options.resize is None) != (options.to is None):
        parser.error("--resize and --to go together: --resize 320 --to DIR3")
    return options


def _count(text: str) -> int | None:
    """A number of files, None for `all`."""
    if text == "all":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number or all, found {text!r}")
    return int(text)


def _run(options: argparse.Namespace, parts: Sequence[Part]) -> int:
    root: Path = options.root
    console = Console(width=max(120, Console().width))
    side = resized_side(root)
    if options.unpack:
        if side is not None:
            raise DenseSiamError(f"{root} is a resized copy: expected the folder of the originals to unpack into")
        _unpack_all(options.archives or root, root, parts, console)
    if not root.is_dir():
        raise DenseSiamError(f"there is no folder {root}: expected the data set in it; see --help")
    if side is not None:
        _say(console, f"{root} is a copy whose training images have shorter side {side}; it has no training labels.")
    expected = parts if side is None else in_copy(parts)
    findings = [inspect(root, part, options.decode, options.workers) for part in expected]
    _report(console, root, findings)
    missing = [finding.part for finding in findings if finding.missing]
    if missing and side is not None:
        _say(console, "Check the originals, then make the copy again: files that exist already are kept.")
    elif missing:
        _say_where(console, options.archives or root, missing)
    good = not any(finding.needed for finding in findings)
    if options.to:
        good &= _copy(options, parts, console)
    return 0 if good else 1


def _unpack_all(folder: Path, root: Path, parts: Sequence[Part], console: Console) -> None:
    archives = _archives(parts)
    there = [archive for archive in archives if (folder / archive.name).is_file()]
    if not there:
        names = ", ".join(archive.name for archive in archives)
        raise DenseSiamError(f"{folder} holds no archive to unpack: expected some of {names}; download them first")
    for archive in there:
        done = unpack(folder / archive.name, root / archive.into)
        _say(console, f"{archive.name}: {done.written:,} files unpacked, {done.skipped:,} were there already")


def _archives(parts: Sequence[Part]) -> list[Archive]:
    """The archives of all parts, each once."""
    return list(dict.fromkeys(archive for part in parts for archive in part.archives))


def _report(console: Console, root: Path, findings: Sequence[Finding]) -> None:
    """Print a table of the parts, and below it every fault."""
    table = Table("part", title=str(root), title_justify="left")
    for column in ("expected", "found", "size", "decoded"):
        table.add_column(column, justify="right")
    table.add_column("state")
    for finding in findings:
        numbers = f"{finding.part.count:,}", f"{finding.found:,}", decimal(finding.size), f"{finding.decoded:,}"
        optional = " (optional)" if finding.part.optional else ""
        table.add_row(str(finding.part), *numbers, f"{finding.state}{optional}")
    console.print(table)
    for finding in findings:
        optional = f"optional, {finding.part.optional}: " if finding.part.optional else ""
        for line in (*finding.missing, *finding.damaged):
            _say(console, f"{finding.part}: {optional}{line}")


def _say_where(console: Console, folder: Path, missing: Sequence[Part]) -> None:
    """Print where to get the archives of the missing parts, first those that every run needs."""
    needed = _archives([part for part in missing if not part.optional])
    _say(console, f"Get these, put them into {folder} and give the same command with --unpack:")
    for archive in dict.fromkeys([*needed, *_archives(missing)]):
        optional = "" if archive in needed else " (optional)"
        there = "; it is there already" if (folder / archive.name).is_file() else ""
        _say(console, f"  {archive}{optional}{there}")


def _copy(options: argparse.Namespace, parts: Sequence[Part], console: Console) -> bool:
    """Write the copy and report how much it saves. Returns whether every image could be read."""
    root, target, side = options.root, options.to, options.resize
    jobs = plan(root, parts, target, side)
    if not any(job.side for job in jobs):
        raise DenseSiamError(f"{root} has no training images to resize: expected some; check it without --resize")
    mark_copy(root, target, side)
    _say(console, COPIED)
    faults = carry_out(jobs, options.workers)
    _report_saving(console, target, side, measure(jobs, side))
    for fault in faults:
        _say(console, fault)
    if faults:
        _say(
            console, f"{len(faults):,} images can't be read and are not in {target}; the same command tries them again."
        )
    return not faults


def _report_saving(console: Console, target: Path, side: int, saving: Saving) -> None:
    table = Table("", title=f"{target}: training images, shorter side {side}", title_justify="left")
    for column in ("original", "copy", "ratio"):
        table.add_column(column, justify="right")
    before, after = saving.bytes
    table.add_row(f"{saving.images:,} files", decimal(before), decimal(after), f"{before / after:.2f}")
    before_ms, after_ms = (1000 * seconds for seconds in saving.seconds)
    row = f"decode and {side} x {side} view, mean of {saving.sample}"
    table.add_row(row, f"{before_ms:.1f} ms", f"{after_ms:.1f} ms", f"{before_ms / after_ms:.2f}")
    console.print(table)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
