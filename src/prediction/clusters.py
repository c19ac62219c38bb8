"""Names and colours of clusters."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.drawing.colours import palette
from src.evaluation.matched import Matched


class Clusters(NamedTuple):
    """The clusters of one head.

    Attributes:
        names: of each cluster; the name of its class if labels were used to match it, `cluster 7` otherwise.
        palette: (N, 3) uint8, the colour of each cluster; clusters of one class have one colour.
        note: how the names came about, for people.
    """

    names: list[str]
    palette: NDArray[np.uint8]
    note: str

    def line(self, cluster: int, share: float) -> str:
        """A line of a legend: number, name and share (0 to 1) of a cluster."""
        name = self.names[cluster]
        return f"{name}  {share:.1%}" if name == numbered(cluster) else f"{cluster}  {name}  {share:.1%}"


def numbered(cluster: int) -> str:
    """The name of a cluster without a class."""
    return f"cluster {cluster}"


def clusters_of(head: str, number: int, matched: Matched | None) -> Clusters:
    """The clusters of a head, with the classes that they were matched to, if it is this head that was matched."""
    if matched is None or matched.head != head:
        names = [numbered(cluster) for cluster in range(number)]
        return Clusters(names, palette(number)[:-1], "clusters found without labels; the numbers have no meaning")
    classes = [category.name for category in matched.classes]
    colours = palette(len(classes) + number)
    own = [one if one >= 0 else len(classes) + cluster for cluster, one in enumerate(matched.class_of_cluster)]
    names = [classes[one] if one >= 0 else numbered(cluster) for cluster, one in enumerate(matched.class_of_cluster)]
    if matched.method == "identity":
        return Clusters(names, colours[own], "classes learned from labels")
    note = f"clusters found without labels, then named by labels ({matched.method} matching)"
    return Clusters(names, colours[own], note)
