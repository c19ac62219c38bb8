"""Slow, obvious versions that the tests compare the program with."""

import itertools
import math
from collections.abc import Iterable, Sequence


def confusion(
    labels: Iterable[int], predictions: Iterable[int], num_classes: int, num_clusters: int, ignore_index: int = 255
) -> list[list[int]]:
    """Count pairs one pixel at a time; rows are true classes, columns clusters."""
    counts = [[0] * num_clusters for _ in range(num_classes)]
    for label, prediction in zip(labels, predictions, strict=True):
        if label < 0 or label == ignore_index:
            continue
        counts[label][prediction] += 1
    return counts


def class_iou(confusion: Sequence[Sequence[int]], mapping: Sequence[int]) -> list[float]:
    """IoU in percent per class, counting intersection and union entry by entry; nan where the union is empty."""
    result = []
    for wanted in range(len(confusion)):
        intersection = union = 0
        for true, row in enumerate(confusion):
            for cluster, pixels in enumerate(row):
                is_true, is_found = true == wanted, mapping[cluster] == wanted
                if is_true and is_found:
                    intersection += pixels
                if is_true or is_found:
                    union += pixels
        result.append(100 * intersection / union if union else math.nan)
    return result


def nanmean(values: Iterable[float]) -> float:
    """Mean of the values that are not nan; nan if there are none."""
    kept = [value for value in values if not math.isnan(value)]
    return sum(kept) / len(kept) if kept else math.nan


def best_correct(confusion: Sequence[Sequence[int]]) -> int:
    """Most correct pixels of any one-to-one matching, by trying all of them (clusters >= classes)."""
    classes, clusters = range(len(confusion)), range(len(confusion[0]))
    return max(
        sum(confusion[true][cluster] for true, cluster in zip(classes, chosen, strict=True))
        for chosen in itertools.permutations(clusters, len(confusion))
    )


def nearest(point: Sequence[float], centroids: Sequence[Sequence[float]]) -> int:
    """Index of the centroid with the smallest squared Euclidean distance."""
    distances = [sum((a - b) ** 2 for a, b in zip(point, centroid, strict=True)) for centroid in centroids]
    return distances.index(min(distances))
