"""Predicts images with the network of a finished run, for the pictures of its report."""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from src.assembly.assemble import Run
from src.assembly.display import SIDE, evenly, photograph, picture, short_names, whole
from src.assembly.patches import Patches
from src.drawing.colours import overlay, palette
from src.errors import DenseSiamError
from src.evaluation.inference import predict_labels, protocol_logits
from src.evaluation.matched import Matched
from src.evaluation.protocol import EvaluationProtocol
from src.images.reading import UnreadableFileError
from src.images.resizing import to_tensor
from src.metrics import class_iou, confusion_matrix, match
from src.models.segmentation import SegmentationNetwork, segmenting
from src.results.pages.gallery import Cluster, Gallery, Shown

LARGEST = 640  # shorter side of a predicted training image whose protocol says `own`
MOST_CLUSTERS = 255
RANKED = "images, from the best IoU to the worst. The IoU of an image is the mean over its classes"
VISIBLE = 0.05  # an image is found by a cluster that has at least this share of it


class Predictor(NamedTuple):
    """The network of a run, as it is scored: with the head, the mirror images and the windows of the protocol."""

    network: SegmentationNetwork
    head: str
    protocol: EvaluationProtocol
    device: torch.device

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, N, h, w) on the CPU."""

        def of(given: Tensor) -> Tensor:
            return self.network.logits(self.network.features(given), self.head)

        return protocol_logits(of, images.to(self.device), self.protocol, self.align_corners).float().cpu()

    def clusters(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """The clusters (B, *size) of logits (B, N, h, w)."""
        return predict_labels(logits, size, self.align_corners)

    @property
    def align_corners(self) -> bool:
        return self.network.encoder.align_corners

    @property
    def num_clusters(self) -> int:
        return self.network.num_categories[self.head]


def predictor(run: Run) -> Predictor:
    """The network of a run.

    Raises:
        DenseSiamError: the task has no network that predicts on images, or too many clusters for colours.
    """
    network, protocol = segmenting(run.task.deployed(), "the run").eval(), run.data.protocol
    head = protocol.head if protocol.head in network.heads else network.default
    if network.num_categories[head] > MOST_CLUSTERS:
        raise DenseSiamError(
            f"the network has {network.num_categories[head]} clusters, and at most {MOST_CLUSTERS} can be shown"
        )
    device = run.trainer.strategy.root_device
    return Predictor(network.to(device), head, protocol, device)


def labelled_gallery(run: Run, matched: Matched | None, count: int, chosen: Sequence[int] | None = None) -> Gallery:
    """Predict all labelled images once; show some of them, from the best IoU to the worst.

    Args:
        run: the run, with its weights.
        matched: the classes of the clusters; where None or of another network, they are matched anew.
        count: how many images are shown.
        chosen: the numbers of the images to show, in place of `count`.
    """
    look, protocol, classes = predictor(run), run.data.protocol, run.data.classes
    loader, patches = run.data.val_dataloader(), Patches(look.num_clusters)
    matrices: dict[int, Tensor] = {}
    for batch in track(loader, "Predicting", transient=True):
        logits = look.logits(batch["image"])
        clusters = look.clusters(logits, (batch["label"].shape[1], batch["label"].shape[2]))
        for one, label, index, map_ in zip(logits, batch["label"], batch["index"].tolist(), clusters, strict=True):
            matrices[index] = confusion_matrix(label, map_, len(classes), look.num_clusters)
            if matrices[index].any():  # a skipped image is blank
                patches.add(index, one)
    learned = matched is not None and matched.method == "identity"
    mapping = mapping_of(matched, look, torch.stack(list(matrices.values())).sum(dim=0), run)
    ious = {index: class_iou(matrix, mapping).nanmean().item() for index, matrix in matrices.items()}
    shown_indices = spread_over(ious, count) if chosen is None else [index for index in chosen if index in ious]
    colours = palette(len(classes))

    def shown(index: int, name: str) -> Shown:
        sample = loader.dataset[index]
        clusters = look.clusters(look.logits(sample["image"][None]), tuple(sample["label"].shape))[0]
        photo = photograph(run.data.val, protocol, index)
        maps = {"label": sample["label"], "prediction": mapping[clusters]}
        pictures = {"image": photo} | {key: picture(value, colours, photo) for key, value in maps.items()}
        present = matrices[index].sum(dim=1).nonzero().flatten().tolist()
        return Shown(name, ious[index], present, pictures, run.data.val.image_name(index))

    names = short_names([run.data.val.image_name(index) for index in shown_indices])
    return Gallery(
        kind="classes",
        note=RANKED + ("." if learned else "; each cluster has the class that it was matched to."),
        names=[category.name for category in classes],
        colours=colours,
        indices=shown_indices,
        shown=[shown(index, name) for index, name in zip(shown_indices, names, strict=True)],
        clusters=clusters_of(
            patches, partial(photograph, run.data.val, protocol), colours, mapping.tolist(), classes, learned
        ),
        predicted=len(matrices),
    )


def unlabelled_gallery(run: Run, count: int, sample: int) -> Gallery:
    """Predict a sample of the training images, spread over the data set, and show some of them.

    Args:
        run: the run, with its weights.
        count: how many images are shown.
        sample: how many images are predicted.

    Raises:
        DenseSiamError: no image of the sample can be read.
    """
    look, protocol, images = predictor(run), run.data.protocol, run.data.train
    patches, found = Patches(look.num_clusters), []
    for index in track(evenly(range(len(images)), max(sample, count)), "Predicting", transient=True):
        try:
            photo = images.image(index)
        except UnreadableFileError:
            continue
        patches.add(index, look.logits(to_tensor(whole(photo, protocol, LARGEST))[None])[0])
        found.append(index)
    if not found:
        raise DenseSiamError("none of the training images that were tried can be read")
    colours = palette(look.num_clusters)

    def shown(index: int, name: str) -> Shown:
        image = whole(images.image(index), protocol, LARGEST)
        photo = whole(images.image(index), None, SIDE)
        clusters = look.clusters(look.logits(to_tensor(image)[None]), (image.height, image.width))[0]
        share = torch.bincount(clusters.flatten(), minlength=look.num_clusters) / clusters.numel()
        drawn = picture(clusters, colours, photo)
        pictures = {"image": photo, "clusters": drawn, "overlay": overlay(photo, drawn)}
        visible = (share >= VISIBLE).nonzero().flatten().tolist()
        return Shown(name, None, visible, pictures, images.image_name(index))

    indices = evenly(found, count)
    names = short_names([images.image_name(index) for index in indices])
    return Gallery(
        kind="clusters",
        note="training images that were predicted, spread over the data set. A colour is a cluster.",
        names=[f"cluster {number}" for number in range(look.num_clusters)],
        colours=colours,
        indices=indices,
        shown=[shown(index, name) for index, name in zip(indices, names, strict=True)],
        clusters=clusters_of(
            patches,
            lambda index: whole(images.image(index), None, SIDE),
            colours,
            range(look.num_clusters),
            (),
            learned=False,
        ),
        predicted=len(found),
    )


def mapping_of(matched: Matched | None, look: Predictor, total: Tensor, run: Run) -> Tensor:
    """(N,) the class of each cluster: as the run was scored, if it was scored with these classes and this head."""
    same = matched is not None and (matched.head, tuple(matched.classes)) == (look.head, run.data.classes)
    if matched is not None and same and len(matched.class_of_cluster) == look.num_clusters:
        return torch.tensor(matched.class_of_cluster)
    return match(total, run.data.protocol.matching)


def spread_over(ious: dict[int, float], count: int) -> list[int]:
    """Images from the best IoU to the worst, evenly spread in this order: the best, the median and the worst too."""
    known = [index for index, value in ious.items() if not math.isnan(value)]
    return evenly(sorted(known, key=lambda index: (-ious[index], index)), count)


def clusters_of(
    patches: Patches,
    photo: Any,
    colours: NDArray[np.uint8],
    mapping: Iterable[int],
    classes: Sequence[Any],
    learned: bool,
) -> list[Cluster]:
    """All clusters with their patches, the largest first; where classes were learned from labels, all classes."""

    def described() -> Iterator[Cluster]:
        for number, (place, share, cut) in enumerate(zip(mapping, patches.shares(), patches.cut(photo), strict=True)):
            meaning = "" if not classes else f", matched to {classes[place].name}" if place >= 0 else ", no class"
            name = classes[place].name if learned else f"cluster {number}{meaning}"
            yield Cluster(name, colours[place].tolist(), share, cut)

    return sorted(described(), key=lambda cluster: -cluster.share)
