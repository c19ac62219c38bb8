"""Slow, obvious versions that the tests compare the program with."""

import colorsys
import itertools
import math
from collections.abc import Callable, Iterable, Sequence

Rows = Sequence[Sequence[float]]


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


def source_point(view: Sequence[float], x: float, y: float) -> tuple[float, float]:
    """Pixel of the source image under a point of a view; the view shows (left, top, width, height, mirrored)."""
    left, top, width, height, mirrored = view
    return (left + width - x * width if mirrored else left + x * width), top + y * height


def bilinear(plane: Sequence[Sequence[float]], x: float, y: float) -> float:
    """Value of rows of cells at a point in fractions of width and height; beyond the outer cells' centres, theirs."""
    rows, columns = len(plane), len(plane[0])
    across = min(max(x * columns - 0.5, 0), columns - 1)
    down = min(max(y * rows - 0.5, 0), rows - 1)
    value = 0.0
    for row in range(rows):
        for column in range(columns):
            value += max(0.0, 1 - abs(across - column)) * max(0.0, 1 - abs(down - row)) * plane[row][column]
    return value


def sample_box(
    planes: Sequence[Sequence[Sequence[float]]], box: Sequence[float], size: tuple[int, int]
) -> list[list[list[float]]]:
    """Each plane (C, H, W) read at the cell centres of a grid over an oriented box: (C, rows, columns)."""
    x0, y0, x1, y1 = box
    xs = [x0 + (x1 - x0) * (column + 0.5) / size[1] for column in range(size[1])]
    ys = [y0 + (y1 - y0) * (row + 0.5) / size[0] for row in range(size[0])]
    return [[[bilinear(plane, x, y) for x in xs] for y in ys] for plane in planes]


def softmax(values: Sequence[float]) -> list[float]:
    exponentials = [math.exp(value) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def unit(vector: Sequence[float]) -> list[float]:
    return [value / math.sqrt(dot(vector, vector)) for value in vector]


def cosine_distance(p: Sequence[float], z: Sequence[float]) -> float:
    """Eq. 2 for one position."""
    return -dot(unit(p), unit(z))


def cross_entropy_distance(p: Sequence[float], z: Sequence[float]) -> float:
    """Eq. 3 for one position, with the logarithm on p as in the release."""
    return -sum(target * math.log(found) for target, found in zip(softmax(z), softmax(p), strict=True))


def printed_cross_entropy_distance(p: Sequence[float], z: Sequence[float]) -> float:
    """Eq. 3 for one position, with the logarithm on z as printed."""
    return -sum(weight * math.log(target) for weight, target in zip(softmax(p), softmax(z), strict=True))


def similarity_loss(p1: Rows, z1: Rows, p2: Rows, z2: Rows, distance: Callable[..., float]) -> float:
    """Eq. 1 for one image; each argument holds one row per position."""
    total = 0.0
    for position in range(len(p1)):
        total += distance(p1[position], z2[position]) / 2 + distance(p2[position], z1[position]) / 2
    return total / len(p1)


def region_embeddings(z: Rows, features: Rows) -> list[list[float]]:
    """Eq. 4 for one image, with softmax(z) as masks; one row per position in, one row per category out."""
    result = [[0.0] * len(features[0]) for _ in z[0]]
    for logits, feature in zip(z, features, strict=True):
        for category, mask in enumerate(softmax(logits)):
            for channel, value in enumerate(feature):
                result[category][channel] += mask * value
    return result


def contrastive_distance(u: Rows, v: Rows, temperature: float, normalise: bool) -> float:
    """Eq. 6 for one image, averaged over its categories; one row per category."""
    if normalise:
        u, v = [unit(row) for row in u], [unit(row) for row in v]
    total = 0.0
    for category, row in enumerate(u):
        similarities = [math.exp(dot(row, other) / temperature) for other in v]
        total -= math.log(similarities[category] / sum(similarities))
    return total / len(u)


def segmentation_loss(z: Rows, weights: Sequence[float]) -> float:
    """L_seg for one image: minus the weighted log-probability of the winner, averaged; one row per position."""
    total = 0.0
    for logits in z:
        winner = logits.index(max(logits))
        total -= weights[winner] * math.log(softmax(logits)[winner])
    return total / len(z)


def voc_ap(
    objects: Sequence[tuple[int, Rows, Sequence[bool]]],
    detections: Sequence[tuple[int, float, Sequence[float]]],
    threshold: float,
    eleven_points: bool,
) -> float:
    """VOC's AP of one class in percent, as its development kit goes through the detections; nan without objects.

    Args:
        objects: for each image its number, its boxes xmin ymin xmax ymax in pixels from 1, both ends inside, and which
            of them are difficult.
        detections: for each detection the number of its image, its score and its box in the same pixels.
        threshold: IoU above which a detection is right.
        eleven_points: whether AP is the mean over 11 recalls, or else the area under the curve.
    """
    taken: set[tuple[int, int]] = set()
    wanted = sum(not each for _, _, difficult in objects for each in difficult)
    known = {image: (boxes, difficult) for image, boxes, difficult in objects}
    right = wrong = 0
    curve = []
    for image, _, box in sorted(detections, key=lambda one: -one[1]):
        boxes, difficult = known.get(image, ([], []))
        best, nearest = -math.inf, -1
        for number, other in enumerate(boxes):
            width = min(box[2], other[2]) - max(box[0], other[0]) + 1
            height = min(box[3], other[3]) - max(box[1], other[1]) + 1
            shared = width * height if width > 0 and height > 0 else 0.0
            areas = [(one[2] - one[0] + 1) * (one[3] - one[1] + 1) for one in (box, other)]
            if shared / (sum(areas) - shared) > best:
                best, nearest = shared / (sum(areas) - shared), number
        if best > threshold and difficult[nearest]:
            continue
        if best > threshold and (image, nearest) not in taken:
            taken.add((image, nearest))
            right += 1
        else:
            wrong += 1
        curve.append((right / wanted if wanted else math.nan, right / (right + wrong)))
    if not wanted:
        return math.nan
    if eleven_points:
        points = (k * 0.1 for k in range(11))  # as numpy.arange computes them
        return 100 * sum(max([p for r, p in curve if r >= point], default=0.0) for point in points) / 11
    area, before = 0.0, 0.0
    for place, (recall, _) in enumerate(curve):
        area += (recall - before) * max(p for _, p in curve[place:])
        before = recall
    return 100 * area


def shifted_hue(pixel: Sequence[float], shift: float) -> list[float]:
    """The red, green and blue of a pixel, 0 to 1, after its hue is shifted by a share of the colour circle."""
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    return list(colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value))


def gaussian_blur(plane: Rows, sigma: float, reach: int) -> list[list[float]]:
    """A plane blurred with all pixels at most `reach` rows and columns away; it is mirrored at its edges."""
    rows, columns = len(plane), len(plane[0])
    steps = range(-reach, reach + 1)
    weights = {(dy, dx): math.exp(-(dy * dy + dx * dx) / (2 * sigma * sigma)) for dy in steps for dx in steps}
    total = sum(weights.values())

    def mirrored(place: int, size: int) -> int:
        return -place if place < 0 else 2 * (size - 1) - place if place >= size else place

    return [
        [
            sum(w * plane[mirrored(y + dy, rows)][mirrored(x + dx, columns)] for (dy, dx), w in weights.items()) / total
            for x in range(columns)
        ]
        for y in range(rows)
    ]


def average_linkage(centres: Rows, number: int) -> list[int]:
    """Merge the two groups with the largest mean cosine, pair by pair, until `number` are left."""
    mean = [nanmean(column) for column in zip(*centres, strict=True)]
    directions = [unit([a - b for a, b in zip(row, mean, strict=True)]) for row in centres]
    groups = [[index] for index in range(len(centres))]

    def cosine(pair: tuple[int, int]) -> float:
        one, other = (groups[place] for place in pair)
        return nanmean([dot(directions[a], directions[b]) for a in one for b in other])

    while len(groups) > number:
        first, second = max(itertools.combinations(range(len(groups)), 2), key=cosine)
        groups[first] += groups.pop(second)
    groups.sort(key=min)
    return [next(place for place, group in enumerate(groups) if index in group) for index in range(len(centres))]
