"""Scores of a segmentation into clusters. All scores are computed from one confusion matrix.

``confusion`` is (C, N) int64: row = true class, column = cluster. ``mapping`` is (N,) int64: the class of each cluster,
-1 for a cluster without a class. Scores are float64 percentages. The score of a class is nan (undefined) if the class
is in neither the labels nor the predictions; nan is left out of every mean.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from src.errors import DenseSiamError

Matching = Literal["hungarian", "majority"]  # for clusters that were found without labels
AnyMatching = Matching | Literal["identity"]  # identity: for predictions that are classes, such as those of a probe


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
        prediction: same shape, any integer dtype, 0..num_clusters-1 wherever the label is not skipped.

    Returns: (C, N) int64, on the device of ``label``.

    Raises:
        DenseSiamError: a label is neither a class nor ignored.
        ValueError: shapes differ, a dtype is not integer, or a prediction is not a cluster.
    """
    if label.shape != prediction.shape or label.is_floating_point() or prediction.is_floating_point():
        found = f"{label.dtype} {tuple(label.shape)} and {prediction.dtype} {tuple(prediction.shape)}"
        raise ValueError(f"expected label and prediction to be integers of one shape, found {found}")
    true, cluster = label.flatten().long(), prediction.flatten().to(label.device).long()
    # Skipped pixels get a row of their own, which takes a fraction of the time that selecting the others takes.
    skipped = (true < 0) | (true == ignore_index)
    true, cluster = true.masked_fill(skipped, -1), cluster.masked_fill(skipped, 0)
    if true.numel() and int(true.max()) >= num_classes:
        raise DenseSiamError(
            f"expected labels 0..{num_classes - 1}, {ignore_index} (ignored) or negative, found {int(true.max())}: "
            "check the number of classes, the label map and ignore_index"
        )
    if cluster.numel() and (int(cluster.min()) < 0 or int(cluster.max()) >= num_clusters):
        raise ValueError(f"expected clusters 0..{num_clusters - 1}, found {int(cluster.min())}..{int(cluster.max())}")
    counts = torch.bincount((true + 1) * num_clusters + cluster, minlength=(num_classes + 1) * num_clusters)
    return counts.reshape(num_classes + 1, num_clusters)[1:]


def match(confusion: Tensor, method: AnyMatching) -> Tensor:
    """Give every cluster a class: (C, N) -> (N,) int64 on the CPU, values -1..C-1.

    ``hungarian`` is the one-to-one matching with the most correct pixels. It uses the cost of the release
    (core/evaluators/cluster_mIoU_evaluator.py), so that ties are broken in the same way. The other N - C clusters get
    -1. ``majority`` is many to one: every cluster gets its most frequent class (in a tie, the lowest id), an empty
    cluster gets -1. ``identity`` is for predictions that were learnt from labels: cluster i is class i.

    Raises:
        DenseSiamError: the method is unknown; there are fewer clusters than classes with ``hungarian``, or not equally
            many with ``identity``.
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
            f"{num_classes} classes: train with at least that model.num_categories, or set protocol.matching=majority"
        )
    mapping = torch.full((num_clusters,), -1, dtype=torch.int64)
    classes, clusters = linear_sum_assignment((confusion.max() - confusion).numpy())
    mapping[torch.from_numpy(clusters)] = torch.from_numpy(classes)
    return mapping


def matched_matrix(confusion: Tensor, mapping: Tensor) -> Tensor:
    """Sum the columns of the clusters of each class.

    Returns:
        (C, C + 1) float64 on the CPU; the last column holds the unmatched clusters.
    """
    num_classes = confusion.shape[0]
    columns = torch.where(mapping < 0, num_classes, mapping).cpu()
    matched = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64)
    return matched.index_add_(1, columns, confusion.cpu()).double()


def class_iou(confusion: Tensor, mapping: Tensor) -> Tensor:
    """IoU of every class in percent: (C,) float64; nan if a class is in neither the labels nor the predictions."""
    matched = matched_matrix(confusion, mapping)
    correct = matched.diagonal()
    return 100 * correct / (matched.sum(dim=1) + matched[:, :-1].sum(dim=0) - correct)


def overall_scores(confusion: Tensor, mapping: Tensor) -> dict[str, float]:
    """``mIoU``, ``accuracy`` (over pixels) and ``mean_accuracy`` (over the classes in the labels), in percent."""
    matched = matched_matrix(confusion, mapping)
    return {
        "mIoU": class_iou(confusion, mapping).nanmean().item(),
        "accuracy": (100 * matched.diagonal().sum() / matched.sum()).item(),
        "mean_accuracy": (100 * matched.diagonal() / matched.sum(dim=1)).nanmean().item(),
    }


def scores(confusion: Tensor, mapping: Tensor, categories: Sequence[Category]) -> dict[str, float]:
    """All scores of a (C, N) matrix with its (N,) mapping; the C categories are in the order of the rows.

    Returns ``overall_scores``, ``mIoU_stuff`` and ``mIoU_thing``. The last two are means of the IoU over the classes of
    a kind. Unlike in ``release_block_scores``, this IoU is computed from the *whole* matrix. If no category has a kind,
    its key is left out.
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

    The published code moves every row to the position of its matched cluster and cuts the matrix at ``num_things``. So
    the "thing" block holds the clusters with ids below ``num_things``, whatever classes they match; confusions between
    the blocks are not counted; and another numbering of the clusters changes the result.

    Args:
        confusion: (C, C).
        mapping: (C,), one to one.
        num_things: number of rows and columns of the "thing" block.

    Returns:
        ``release_block_{mIoU,accuracy,mean_accuracy}_{thing,stuff}`` in percent.

    Raises:
        ValueError: the matrix is not square or not matched one to one.
    """
    if confusion.shape[0] != confusion.shape[1] or sorted(mapping.tolist()) != list(range(len(confusion))):
        raise ValueError(f"expected a square matrix matched one to one, found {tuple(confusion.shape)}, {mapping}")
    moved = confusion.cpu()[mapping.cpu()]
    result = {}
    for kind, block in (("thing", moved[:num_things, :num_things]), ("stuff", moved[num_things:, num_things:])):
        values = overall_scores(block, torch.arange(len(block)))
        result.update({f"release_block_{name}_{kind}": value for name, value in values.items()})
    return result
