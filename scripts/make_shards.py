"""Pack images into shards: a few large tar archives with an index, for `data=shards`.

    python scripts/make_shards.py DIR DIR2                  all images below DIR, at any depth
    python scripts/make_shards.py DIR DIR2 --list FILE      those that FILE names, one path relative to DIR per line

Every image is decoded once, and its bytes are kept unchanged. The command can be interrupted; give it again to
continue. Images that can't be read are named; with --skip-unreadable they are left out. The exit code is 0 only if the
shards are complete. Then train with: data=shards data.root=DIR2
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.filesize import decimal

from src.console import hush_libraries
from src.data.preparation.sharding import Made, make_shards
from src.errors import DenseSiamError
from src.images.listing import list_images, listed_images, read_list

PER_SHARD = 4096


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="DIR", help="folder of the images")
    parser.add_argument("target", type=Path, metavar="DIR2", help="folder of the shards, a new one")
    parser.add_argument("--list", type=Path, metavar="FILE", help="file that names the images to pack")
    help_per = "number of images in a shard (default: %(default)s, about 450 MB of ImageNet)"
    parser.add_argument("--per-shard", type=int, default=PER_SHARD, metavar="N", help=help_per)
    parser.add_argument("--skip-unreadable", action="store_true", help="leave out images that can't be read")
    help_workers = "number of processes (default: %(default)s, one for each core)"
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help=help_workers)
    options = parser.parse_args(arguments)
    if options.per_shard < 1 or options.workers < 1:
        parser.error("expected --per-shard and --workers from 1")
    return options


def said(made: Made, options: argparse.Namespace) -> str:
    """What was done, in lines for the user."""
    if made.faults and not options.skip_unreadable:
        remedy = "replace these files, or add --skip-unreadable; the same command continues"
        return "\n".join(
            [*made.faults, f"{len(made.faults):,} images can't be read, the shards are unfinished: {remedy}"]
        )
    left_out = f"; {len(made.faults):,} images can't be read and are left out" if made.faults else ""
    return "\n".join(
        [
            *made.faults,
            f"{options.target}: {made.images:,} images in {made.shards:,} shards, {decimal(made.size)}{left_out}",
            f"train on them with data=shards data.root={options.target}",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = options_of(arguments)
    hush_libraries()
    try:
        listed = read_list(options.list) if options.list else None
        files = list_images(options.source) if listed is None else listed_images(options.source, listed)
        made = make_shards(files, options.target, options.per_shard, options.skip_unreadable, options.workers)
    except DenseSiamError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: give the same command again to continue", file=sys.stderr)
        return 1
    print(said(made, options))
    return 1 if made.faults and not options.skip_unreadable else 0


if __name__ == "__main__":
    sys.exit(main())
