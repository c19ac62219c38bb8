"""Libraries that report every step of an export, which says nothing to the user."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("timm", "torch.onnx", "torch.export", "onnxscript", "onnx_ir")


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out the libraries' reports, and warnings about their own deprecated functions."""
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    try:
        for name in before:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            # torch.onnx calls functions of torch, onnxscript and copyreg that are deprecated; a user can't change that.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
