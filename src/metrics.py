"""Scores of a segmentation by clusters: one confusion matrix, everything else is computed from it.

``confusion`` is (C, N) int64: row = true class, column = cluster. ``mapping`` is (N,) int64: cluster -> class, -1 for a
cluster that stands for no class. Scores are float64 percentages; nan means "not defined here" (a class absent from
both sides) and is left out of every mean.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from src.errors import DenseSiamError

Matching = Literal["hungarian", "majority"]  # of clusters that were found without labels
AnyMatching = Matching | Literal["identity"]  # or of predictions that are classes already, as a probe's are


class Category(NamedTuple):
    """One true class: its name and whether it is stuff (sky, grass) or a thing (person, vehicle)."""

    name: str
    kind: Literal["stuff", "thing"]


def confusion_matrix(
    label: Tensor, prediction: Tensor, num_classes: int, num_clusters: int, ignore_index: int = 255
) -> Tensor:
    """Count the pixels of every pair (true class, cluster).

    Args:
        label: any shape and integer dtype, 0..num_classes-1; ``ignore_index`` and negative values are skipped.
        prediction: same shape, any integer dtype, 0..num_clusters-1 wherever the label counts.

    Returns: (C, N) int64, on the device of ``label``.

    Raises:
        DenseSiamError: a label is neither a class nor ignored.
        ValueError: shapes differ, a dtype is not integer, or a prediction is not a cluster.
    """
    if label.shape != prediction.shape or label.is_floating_point() or prediction.is_floating_point():
        found = f"{label.dtype} {tuple(label.shape)} and {prediction.dtype} {tuple(prediction.shape)}"
        raise ValueError(f"expected label and prediction to be integers of one shape, found {found}")
    true, cluster = label.long(), prediction.to(label.device).long()
    counted = (true >= 0) & (true != ignore_index)
    true, cluster = true[counted], cluster[counted]
    if true.numel() and int(true.max()) >= num_classes:
        raise DenseSiamError(
            f"expected labels 0..{num_classes - 1}, {ignore_index} (ignored) or negative, found {int(true.max())}: "
            "check the number of classes, the label map and ignore_index"
        )
    if cluster.numel() and (int(cluster.min()) < 0 or int(cluster.max()) >= num_clusters):
        raise ValueError(f"expected clusters 0..{num_clusters - 1}, found {int(cluster.min())}..{int(cluster.max())}")
    counts = torch.bincount(true * num_clusters + cluster, minlength=num_classes * num_clusters)
    return counts.reshape(num_classes, num_clusters)


def match(confusion: Tensor, method: AnyMatching) -> Tensor:
    """Give every cluster a class: (C, N) -> (N,) int64 on the CPU, values -1..C-1.

    ``hungarian`` is one to one with the most correct pixels, by the release's cost so that ties fall the same way
    (core/evaluators/cluster_mIoU_evaluator.py); the N - C clusters left over get -1. ``majority`` is many to one:
    every cluster takes its most frequent class (the lowest id of equals), an empty cluster gets -1. ``identity`` is for
    predictions that were learnt from labels: cluster i is class i.

    Raises:
        DenseSiamError: unknown method; fewer clusters than classes with ``hungarian``, another number with
            ``identity``.
    """
    confusion = confusion.cpu()
    num_classes, num_clusters = confusion.shape
    if not num_classes:  # images without labels
        return torch.full((num_clusters,), -1, dtype=torch.int64)
    if method == "majority":
        return torch.where(confusion.sum(dim=0) > 0, confusion.argmax(dim=0), -1)
    if method == "identity":
        if num_clusters != num_classes:
            raise DenseSiamError(
                f"expected one output per class for identity matching, found {num_clusters} outputs and {num_classes} "
                "classes: predict the classes of the labels, or match with hungarian"
            )
        return torch.arange(num_classes)
    if method != "hungarian":
        raise DenseSiamError(f"expected matching 'hungarian', 'majority' or 'identity', found '{method}': choose one")
    if num_clusters < num_classes:
        raise DenseSiamError(
            f"expected at least as many clusters as classes for hungarian matching, found {num_clusters} clusters and "
            f"{num_classes} classes: set model.num_categories to at least that, or protocol.matching=majority"
        )
    mapping = torch.full((num_clusters,), -1, dtype=torch.int64)
    classes, clusters = linear_sum_assignment((confusion.max() - confusion).numpy())
    mapping[torch.from_numpy(clusters)] = torch.from_numpy(classes)
    return mapping


def matched_matrix(confusion: Tensor, mapping: Tensor) -> Tensor:
    """Add up the clusters of each class: (C, N), (N,) -> (C, C + 1) float64 on the CPU, last column = unmatched."""
    num_classes = confusion.shape[0]
    columns = torch.where(mapping < 0, num_classes, mapping).cpu()
    matched = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64)
    return matched.index_add_(1, columns, confusion.cpu()).double()


def class_iou(confusion: Tensor, mapping: Tensor) -> Tensor:
    """IoU of every class in percent: (C,) float64; nan where a class is absent from truth and matched prediction."""
    matched = matched_matrix(confusion, mapping)
    correct = matched.diagonal()
    return 100 * correct / (matched.sum(dim=1) + matched[:, :-1].sum(dim=0) - correct)


def overall_scores(confusion: Tensor, mapping: Tensor) -> dict[str, float]:
    """``mIoU``, ``accuracy`` (over pixels) and ``mean_accuracy`` (over classes in the truth), in percent."""
    matched = matched_matrix(confusion, mapping)
    return {
        "mIoU": class_iou(confusion, mapping).nanmean().item(),
        "accuracy": (100 * matched.diagonal().sum() / matched.sum()).item(),
        "mean_accuracy": (100 * matched.diagonal() / matched.sum(dim=1)).nanmean().item(),
    }


def scores(confusion: Tensor, mapping: Tensor, categories: Sequence[Category]) -> dict[str, float]:
    """Summarise a (C, N) matrix with its (N,) mapping for the C categories in order.

    Returns ``overall_scores`` with ``mIoU_stuff`` and ``mIoU_thing``: means over those classes of the IoU from the
    *whole* matrix, unlike ``release_block_scores``. The key of a kind that no category has is left out.
    """
    iou = class_iou(confusion, mapping)
    result = overall_scores(confusion, mapping)
    for kind in sorted({category.kind for category in categories}):
        members = [value for value, category in zip(iou, categories, strict=True) if category.kind == kind]
        result[f"mIoU_{kind}"] = torch.stack(members).nanmean().item()
    return result


def named_iou(confusion: Tensor, mapping: Tensor, categories: Sequence[Category]) -> dict[str, float]:
    """``class_iou`` as ``{"IoU/<name>": percent}``, nan for absent classes."""
    values = class_iou(confusion, mapping).tolist()
    return {f"IoU/{category.name}": value for category, value in zip(categories, values, strict=True)}


def release_block_scores(confusion: Tensor, mapping: Tensor, num_things: int = 12) -> dict[str, float]:
    """The published code's stuff and thing numbers, for comparison only (core/evaluators/cluster_mIoU_evaluator.py).

    It moves every row to the position of its matched cluster and cuts the matrix at ``num_things``: the "thing" block
    holds whichever clusters have ids below that, confusions between the blocks vanish, and renumbering the clusters
    changes the result. Which classes a block holds depends on the clusters' numbers, not on the order of the classes.

    Takes a (C, C) matrix and its one-to-one mapping (else ValueError), returns
    ``release_block_{mIoU,accuracy,mean_accuracy}_{thing,stuff}`` in percent.
    """
    if confusion.shape[0] != confusion.shape[1] or sorted(mapping.tolist()) != list(range(len(confusion))):
        raise ValueError(f"expected a square matrix matched one to one, found {tuple(confusion.shape)}, {mapping}")
    moved = confusion.cpu()[mapping.cpu()]
    result = {}
    for kind, block in (("thing", moved[:num_things, :num_things]), ("stuff", moved[num_things:, num_things:])):
        values = overall_scores(block, torch.arange(len(block)))
        result.update({f"release_block_{name}_{kind}": value for name, value in values.items()})
    return result
