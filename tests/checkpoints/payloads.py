"""Configs that run code if a program trusts them: each makes a file or a folder at a path."""

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class Touches:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def pickled(path: Path) -> bytes:
    return pickle.dumps(Touches(path))


def pickle_file(path: Path) -> str:
    """A file beside `path` whose loading makes `path`."""
    file = path.with_suffix(".pt")
    torch.save({"state_dict": Touches(path)}, file)
    return str(file)


def hub_folder(path: Path) -> str:
    folder = path.with_suffix(".hub")
    folder.mkdir(exist_ok=True)
    (folder / "hubconf.py").write_text(f"def model():\n    open({str(path)!r}, 'w').close()\n", encoding="utf-8")
    return str(folder)


def python(path: Path) -> list[str]:
    return [sys.executable, "-c", f"open({str(path)!r}, 'w').close()"]


def from_memory(path: Path) -> dict[str, Any]:
    return {"_target_": "src.formats.containers.io.BytesIO", "_args_": [pickled(path)]}


# What a stranger may put where an encoder, a loss weight or a data set is expected; each makes the file `path`.
PAYLOADS: dict[str, Callable[[Path], Any]] = {
    "a shell command": lambda path: {"_target_": "os.system", "_args_": [f"touch '{path}'"]},
    "a program": lambda path: {"_target_": "subprocess.check_call", "args": python(path)},
    "a built-in": lambda path: {"_target_": "os.mkdir", "path": str(path)},
    "source code": lambda path: {"_target_": "builtins.exec", "_args_": [f"open({str(path)!r}, 'w').close()"]},
    "a pickle in memory": lambda path: {"_target_": "pickle.loads", "_args_": [pickled(path)]},
    "what one of our modules imports": lambda path: {
        "_target_": "src.assembly.train.torch.load",
        "f": from_memory(path),
        "weights_only": False,
    },
    "a method of what our modules import": lambda path: {
        "_target_": "src.assembly.train.Path.write_text",
        "_args_": [{"_target_": "pathlib.Path", "_args_": [str(path)]}, "text"],
    },
    "a writer of our own": lambda path: {
        "_target_": "src.assembly.export.write",
        "files": {
            "_target_": "builtins.dict",
            "_args_": [[[{"_target_": "pathlib.Path", "_args_": [str(path)]}, b"x"]]],
        },
        "source": {"_target_": "pathlib.Path", "_args_": [str(path)]},
        "overwrite": True,
    },
    "a module of ours that imports os": lambda path: {
        "_target_": "src.training.resumption.os.system",
        "_args_": [f"touch '{path}'"],
    },
    "torch.save through ours": lambda path: {
        "_target_": "src.training.resumption.torch.save",
        "obj": [1],
        "f": str(path),
    },
    "a loader of Lightning's": lambda path: {
        "_target_": "lightning.fabric.utilities.cloud_io._load",
        "path_or_url": pickle_file(path),
        "weights_only": False,
    },
    "a writer of Lightning's": lambda path: {
        "_target_": "lightning.fabric.utilities.cloud_io._atomic_save",
        "checkpoint": {},
        "filepath": str(path),
    },
    "what Lightning imports": lambda path: {
        "_target_": "lightning.pytorch.trainer.trainer.os.system",
        "_args_": [f"touch '{path}'"],
    },
    "torch.hub": lambda path: {
        "_target_": "torch.hub.load",
        "repo_or_dir": hub_folder(path),
        "model": "model",
        "source": "local",
    },
    "a tuple around it": lambda path: ({"_target_": "os.system", "_args_": [f"touch '{path}'"]},),
    "a list of tuples around it": lambda path: [[({"_target_": "os.system", "_args_": [f"touch '{path}'"]},)]],
    "Hydra itself": lambda path: {
        "_target_": "hydra.utils.get_class",
        "path": {"_target_": "os.mkdir", "path": str(path)},
    },
    "a function that is given functions": lambda path: {
        "_target_": "functools.reduce",
        "_args_": [{"_target_": "hydra.utils.get_method", "_args_": ["os.mkdir"]}, [0o755], str(path)],
    },
    "a class attribute": lambda path: {
        "_target_": "src.data.demo.Scenes.__init__.__globals__.copy",
        "_args_": [{"_target_": "os.mkdir", "path": str(path)}],
    },
    "a part that is allowed, with a payload inside": lambda path: {
        "_target_": "src.models.backbones.resnet",
        "name": "resnet18",
        "frozen": False,
        "weights": None,
        "padding": {"_target_": "os.mkdir", "path": str(path)},
    },
    "an interpolation": lambda path: "${oc.create:{_target_: os.mkdir, path: '" + str(path) + "'}}",
    "an interpolation in a tuple": lambda path: ("${oc.create:{_target_: os.mkdir, path: '" + str(path) + "'}}",),
    "a key that would be resolved": lambda path: {"x": "${oc.create:{_target_: os.mkdir, path: '" + str(path) + "'}}"},
}
