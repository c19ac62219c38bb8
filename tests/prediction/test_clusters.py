"""Names and colours of clusters, with and without labels."""

import numpy as np

from src.drawing.colours import palette
from src.evaluation.matched import Matched
from src.metrics import Category
from src.prediction.clusters import clusters_of

CLASSES = (Category("sky", "stuff"), Category("ball", "thing"))


def test_without_labels_clusters_have_numbers() -> None:
    found = clusters_of("main", 3, None)
    assert found.names == ["cluster 0", "cluster 1", "cluster 2"]
    assert np.array_equal(found.palette, palette(3)[:-1])
    assert "without labels" in found.note
    assert found.line(1, 0.25) == "cluster 1  25.0%"


def test_matched_clusters_have_the_names_and_colours_of_their_classes() -> None:
    matched = Matched("main", "majority", CLASSES, [1, 0, -1, 1], [[0, 5, 0, 0], [4, 0, 0, 3]])
    found = clusters_of("main", 4, matched)
    assert found.names == ["ball", "sky", "cluster 2", "ball"]
    assert np.array_equal(found.palette[[1, 0]], palette(2)[:-1])
    assert np.array_equal(found.palette[0], found.palette[3])
    assert len(np.unique(found.palette, axis=0)) == 3
    assert "named by labels" in found.note
    assert found.line(1, 0.25) == "1  sky  25.0%"
    assert found.line(2, 0.25) == "cluster 2  25.0%"
    assert clusters_of("aux", 4, matched).names[0] == "cluster 0"  # another head was matched
