"""The console script `densesiam`: `densesiam train experiment=NAME` is `python -m src.train experiment=NAME`."""

import os
import runpy
import sys
from difflib import get_close_matches

COMMANDS = {
    "train": "train a network and score it",
    "evaluate": "score a checkpoint",
    "predict": "write label maps and overlays of images",
    "export": "write a checkpoint's encoder or network for other programs",
}
LISTED = "\n".join(f"  densesiam {name:10}{what}" for name, what in COMMANDS.items())
USAGE = f"{LISTED}\n\nWhat can be set: densesiam train --help. An example: densesiam train experiment=demo"


def main() -> None:
    """Run the command that the first argument names; without one, list the commands.

    Raises:
        SystemExit: with code 2, there is no such command.
    """
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(USAGE)
        return
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, n=1)
        meant = f"did you mean densesiam {near[0]}? " if near else ""
        print(f"there is no densesiam {name}: {meant}choose one of {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    del sys.argv[1]
    # Processes that this one starts, one for each GPU, are started with `-m`: without this they would import a folder
    # src of the user's in place of this package.
    os.environ["PYTHONSAFEPATH"] = "1"
    runpy.run_module(f"src.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
