"""The files of a segmentation: label maps, overlays, arrays, and the shares of the clusters."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from src.drawing.colours import index_image, overlay
from src.drawing.legend import legend
from src.prediction.clusters import Clusters
from src.prediction.results import Results, Row
from src.regular import open_regular


class LabelMap(NamedTuple):
    """The prediction for an image.

    Attributes:
        image: the image, RGB.
        clusters: (H, W) uint8.
        arrays: further arrays by name; empty if none were asked for.
    """

    image: Image.Image
    clusters: NDArray[np.uint8]
    arrays: Mapping[str, NDArray[Any]]


class MapResults(Results[LabelMap]):
    """The folder of the results of a segmentation.

    Args:
        folder: the folder.
        clusters: names and colours of the clusters.
        with_overlays, with_arrays: which files there are for each image besides its label map.
    """

    def __init__(self, folder: Path, clusters: Clusters, with_overlays: bool, with_arrays: bool) -> None:
        kinds = {"clusters": ".png", "overlays": ".png" * with_overlays, "arrays": ".npz" * with_arrays}
        super().__init__(
            folder, clusters.names, {kind: suffix for kind, suffix in kinds.items() if suffix}, clusters.note
        )
        self.clusters = clusters

    def contents(self, result: LabelMap) -> Iterator[tuple[str, bytes]]:
        indices = index_image(result.clusters, self.clusters.palette)
        yield "clusters", png(indices)
        if "overlays" in self.suffixes:
            yield "overlays", png(overlay(result.image, indices))
        if "arrays" in self.suffixes:
            content = io.BytesIO()
            np.savez(content, allow_pickle=False, names=np.array(self.names), **dict(result.arrays))
            yield "arrays", content.getvalue()

    def row(self, result: LabelMap) -> Row:
        return self._row(result.clusters)

    def written_before(self, name: str) -> Row | None:
        try:
            with open_regular(self.path("clusters", name)) as file, Image.open(file, formats=("PNG",)) as image:
                return self._row(np.asarray(image)) if image.mode == "P" else None
        except Exception:  # damaged bytes make Pillow's decoders raise nearly anything
            return None

    def _row(self, clusters: NDArray[Any]) -> Row:
        return Row(clusters.shape[1], clusters.shape[0], np.bincount(clusters.ravel(), minlength=len(self.names)))

    def headings(self) -> list[str]:
        return [f"{place} {name}" for place, name in enumerate(self.names)]

    def cells(self, row: Row) -> list[str]:
        return [f"{share:.4f}" for share in shares(row.counts)]

    def drawn_legend(self, total: NDArray[np.int64]) -> Image.Image:
        lines = [self.clusters.line(place, share) for place, share in enumerate(shares(total))]
        return legend(self.clusters.palette, lines, self.note)


def png(picture: Image.Image) -> bytes:
    """A picture as a PNG file. Level 1 takes a third of the time of Pillow's default, and few percent more space."""
    content = io.BytesIO()
    picture.save(content, "PNG", compress_level=1)
    return content.getvalue()


def shares(counts: NDArray[np.int64]) -> list[float]:
    """Each count as a share of their sum; zeros if there are none."""
    found: list[float] = (counts / max(int(counts.sum()), 1)).tolist()
    return found
