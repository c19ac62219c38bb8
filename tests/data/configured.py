"""Making a data module as a command line would, in small."""

from pathlib import Path

from hydra.utils import instantiate

from src.data.datamodule import ImageData
from src.errors import plain_errors
from tests.composing import composed


def configured(name: str, root: Path, *overrides: str) -> ImageData:
    """The data module of `data=NAME data.root=ROOT` and these overrides, with tiny views and batches."""
    config = composed(root, "experiment=coco_seg", "debug=tiny", f"data={name}", f"data.root={root}", *overrides)
    with plain_errors():
        return instantiate(config.data, protocol=instantiate(config.protocol), _convert_="all")
