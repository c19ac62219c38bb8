"""The classes that a scoring with labels has given to clusters, in plain values, for checkpoints and `scores.json`."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, get_args

from src.errors import DenseSiamError
from src.evaluation.protocol import Head
from src.evaluation.scoring import Scoring
from src.metrics import AnyMatching, Category, Matching
from src.stored_classes import plain_classes, read_plain_classes


class Matched(NamedTuple):
    """Clusters that were matched to classes. Labels were used for this and for nothing else.

    Attributes:
        head: the head whose clusters were matched.
        method: how they were matched, see `src.metrics.match`.
        classes: the classes of the labels.
        class_of_cluster: the class of each cluster by its number; -1 for a cluster without a class.
        confusion: the matrix that was matched: a row for each class, with the pixels of each cluster.
    """

    head: Head
    method: AnyMatching
    classes: Sequence[Category]
    class_of_cluster: Sequence[int]
    confusion: Sequence[Sequence[int]]

    def plain(self) -> dict[str, Any]:
        """The same in lists and dicts, which JSON and a checkpoint can hold."""
        return {**self._asdict(), "classes": plain_classes(self.classes)}


def matched_by(scoring: Scoring, head: Head) -> Matched | None:
    """What the last validation has matched; None without labels or before the first validation."""
    if scoring.matrices is None or not scoring.classes:
        return None
    return Matched(head, scoring.matching, scoring.classes, scoring.mapping.tolist(), scoring.total.tolist())


def read_matched(content: Any, source: str) -> Matched:
    """Read what `Matched.plain` has written, which may come from a stranger.

    Args:
        content: the plain values.
        source: the file that holds them, for messages.

    Raises:
        DenseSiamError: the values are not those of a matching.
    """
    try:
        found = Matched(**{**content, "classes": list(read_plain_classes(content["classes"], source))})
        fits = all(_checks(found))
    except (TypeError, ValueError, KeyError, DenseSiamError):
        fits = False
    if not fits:
        raise DenseSiamError(
            f"the matching of clusters to classes in {source} is damaged: expected what a scored run writes"
        )
    return found


def _checks(found: Matched) -> Iterator[bool]:
    clusters, classes = found.class_of_cluster, found.classes
    yield str(found.head) in get_args(Head)
    yield str(found.method) in (*get_args(Matching), "identity")
    yield bool(clusters)
    yield all(type(one) is int and -1 <= one < len(classes) for one in clusters)
    yield len(found.confusion) == len(classes) and all(len(row) == len(clusters) for row in found.confusion)
    yield all(type(one) is int and 0 <= one < 2**53 for row in found.confusion for one in row)
