"""The Python interface: `load` a trained network, `train` one."""

from src.assembly.run import Trained, train
from src.prediction.loading import load

__all__ = ["Trained", "load", "train"]
