"""What the terminal shows: the run's own lines, not the libraries' advertisements and internal deprecations."""

import logging
import warnings


def hush_libraries() -> None:
    """Keep Lightning's start-up notes below warnings, and its use of a deprecated torch internal, off the terminal."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    warnings.filterwarnings("ignore", message=r"The '\w+' does not have many workers")
    warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")  # data without labels
    warnings.filterwarnings("ignore", message="The dirpath has changed")  # resuming writes into a new folder
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")  # a frozen encoder
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # or into its own
    # The data knows where it was.
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before")
    # What is logged of an epoch is the same in all processes already.
    warnings.filterwarnings("ignore", message=r"It is recommended to use `self\.log\(.*sync_dist=True\)`")
