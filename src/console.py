"""Filters of the libraries' messages, so that the terminal shows what the user needs."""

import logging
import warnings


def hush_libraries() -> None:
    """Hide Lightning's notes at start-up, and warnings that need no action of the user."""
    for name in ("lightning.pytorch", "lightning.fabric", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    warnings.filterwarnings("ignore", message=r"The '\w+' does not have many workers")
    # Each epoch is logged at least once, see `src.training.log_interval`.
    warnings.filterwarnings("ignore", message="The number of training batches .* is smaller than the logging interval")
    warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")  # data without labels
    warnings.filterwarnings("ignore", message="The dirpath has changed")  # resumed elsewhere
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")  # a frozen encoder
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # resumed
    # The data module continues in the middle of an epoch by itself.
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before")
    # Logged values of an epoch are already the same in all processes.
    warnings.filterwarnings("ignore", message=r"It is recommended to use `self\.log\(.*sync_dist=True\)`")
