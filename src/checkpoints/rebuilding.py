"""Rebuilding of parts of a run from the config in its checkpoint, which may come from a stranger.

A config names the classes and functions to call (`_target_`). Hydra would import and call every such name, so a config
is as dangerous as a program. Here only the names in the literal list `CONSTRUCTORS` are allowed. Other names are
refused before anything is built.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from hydra.utils import get_object

from src.checkpoints.reading import check_plain, first_line
from src.errors import DenseSiamError

# The parts of a run that are rebuilt from its checkpoint: network, task, protocol and data. None of them runs a program
# or writes a file. Callbacks, loggers and trainers are never rebuilt.
CONSTRUCTORS = frozenset(
    {
        "src.baselines.clustered.Clustering",
        "src.baselines.deepcluster.DeepCluster",
        "src.baselines.iic.IIC",
        "src.baselines.picie.PiCIE",
        "src.data.cityscapes.Cityscapes",
        "src.data.coco_detection.COCODetection",
        "src.data.coco_stuff.CocoStuff",
        "src.data.colours.ColourAugmentation",
        "src.data.demo.Scenes",
        "src.data.detection_views.ShortSide",
        "src.data.folder.Folder",
        "src.data.labelled_folder.LabelledFolder",
        "src.data.potsdam.Potsdam",
        "src.data.probe_data.labelled_folder",
        "src.data.probe_data.own_labels",
        "src.data.probe_data.unscored",
        "src.data.scaled_crop.ScaledCrop",
        "src.data.scaled_crop.photometric_distortion",
        "src.data.shards.Shards",
        "src.data.voc_segmentation.VOCSegmentation",
        "src.data.views.CropAndWhole",
        "src.data.views.TwoCrops",
        "src.data.voc_detection.VOCDetection",
        "src.models.dense.DenseFeatures",
        "src.models.backbones.efficientnet_lite0",
        "src.models.backbones.efficientnet_lite2",
        "src.models.backbones.resnet",
        "src.models.backbones.timm_features",
        "src.models.c4.efficientnet_lite0_c4",
        "src.models.c4.faster_rcnn",
        "src.models.c4.resnet_c4",
        "src.models.fcn.FCN",
        "src.models.mask_rcnn.mask_rcnn",
        "src.models.necks.DeepestMap",
        "src.models.necks.PrincipalComponents",
        "src.models.necks.SimplifiedFPN",
        "src.models.rcnn.Proposals",
        "src.models.rcnn.Regions",
        "src.models.prototypes.PrototypeNetwork",
        "src.models.siamese.DenseSiam",
        "src.optim.adam",
        "src.optim.sgd",
        "src.schedules.drops",
        "src.schedules.poly",
        "src.evaluation.detection_protocol.DetectionProtocol",
        "src.evaluation.neighbours.NeighbourSettings",
        "src.evaluation.probing.ProbeSettings",
        "src.evaluation.protocol.EvaluationProtocol",
        "src.tasks.criterion.Criterion",
        "src.tasks.dense_probe.DenseProbe",
        "src.tasks.detection.Detect",
        "src.tasks.pretrain.Pretrain",
        "src.tasks.prototypes.SegmentPrototypes",
        "src.tasks.segment.Segment",
        "src.tasks.semantic.Semantic",
        "torch.optim.Adam",
        "torch.optim.AdamW",
        "torch.optim.SGD",
    }
)
RENAMED = {"src.data.views.colour_augmentation": "src.data.colours.ColourAugmentation"}  # names in older checkpoints
SPECIAL = ("_target_", "_partial_", "_convert_")  # Hydra's harmless special keys


def rebuild(config: Mapping[str, Any], also: Collection[str] = (), **given: Any) -> Any:
    """Build the object that a stored config describes, inner parts first, as Hydra's `instantiate` does.

    Files of pretrained weights are not read: the checkpoint holds all weights, and the files may no longer exist.

    Args:
        config: plain containers, with `_target_`.
        also: further names that may be called, because they are in the user's own command.
        given: arguments that are added to those of the config.

    Returns:
        The result of the constructor. Inner parts with `_partial_` become functions of their remaining arguments.

    Raises:
        DenseSiamError: a constructor is not in the list, the config is not plain (see `check_plain`), describes no
            object, or the constructor refuses its arguments.
    """
    check_plain(config)
    check_parts(config, also)
    if "_target_" not in config or config.get("_partial_"):
        raise DenseSiamError("a part of the stored config describes no object: expected _target_, and no _partial_")
    return _built(config, also, given)


def targets(config: Any) -> frozenset[str]:
    """The names of all constructors in a config of plain containers."""
    return frozenset(str(part["_target_"]) for part in _parts(config))


def _parts(config: Any) -> Iterator[Mapping[str, Any]]:
    """Every dict with a `_target_`, in dicts, lists and tuples at any depth."""
    if isinstance(config, Mapping) and "_target_" in config:
        yield config
    entries = config.values() if isinstance(config, Mapping) else config if isinstance(config, list | tuple) else ()
    for entry in entries:
        yield from _parts(entry)


def check_parts(config: Any, also: Collection[str] = ()) -> None:
    """Check that every constructor in a config, at any depth, is allowed.

    Args:
        config: plain containers, see `check_plain`.
        also: further allowed names, see `rebuild`.

    Raises:
        DenseSiamError: a constructor is not in the list, or gets arguments without names.
    """
    for part in _parts(config):
        constructor(part["_target_"], also)
        strange = [key for key in part if key.startswith("_") and key not in SPECIAL]
        if strange:
            raise DenseSiamError(
                f"the stored config gives {strange[0]} to {part['_target_']}: expected named arguments only"
            )


def _built(config: Any, also: Collection[str], given: Mapping[str, Any]) -> Any:
    if isinstance(config, list | tuple):
        return [_built(one, also, {}) for one in config]
    if not isinstance(config, Mapping):
        return config
    arguments = {key: _built(value, also, {}) for key, value in config.items() if not key.startswith("_")}
    if "_target_" not in config:
        return arguments
    if isinstance(arguments.get("weights"), str):
        arguments["weights"] = None
    build = constructor(config["_target_"], also)
    if config.get("_partial_"):
        return partial(build, **arguments, **given)
    try:
        return build(**arguments, **given)
    except DenseSiamError:
        raise
    except Exception as error:  # unchecked values can make a constructor raise nearly anything
        raise DenseSiamError(
            f"can't rebuild {config['_target_']} from the stored config ({type(error).__name__}: {first_line(error)}): "
            "expected a checkpoint of this version"
        ) from error


def constructor(name: Any, also: Collection[str] = ()) -> Callable[..., Any]:
    """The class or function with this name, if a stored config may call it.

    Args:
        name: one of `CONSTRUCTORS`, or of `also`.
        also: further allowed names, see `rebuild`.

    Raises:
        DenseSiamError: the name is not allowed.
    """
    if not isinstance(name, str):
        raise DenseSiamError(f"the stored config has a _target_ of type {type(name).__name__}: expected a name")
    if name in also:
        found: Callable[..., Any] = get_object(name)
        return found
    name = RENAMED.get(name, name)
    if name not in CONSTRUCTORS:
        raise DenseSiamError(
            f"the stored config wants to call {name}, which is not one of the parts that a checkpoint may be rebuilt "
            "from: it is from another version with other names (CHANGELOG.md; weights=FILE starts a new run from its "
            "weights), or not to be trusted"
        )
    module, _, attribute = name.rpartition(".")
    return vars(import_module(module))[attribute]
