"""k-means on dense features: for baselines, probes and reference methods.

Centroids are computed from a sample of pixels; the category of a pixel is its nearest centroid. The methods that the
paper compares with (PiCIE, Cho et al. 2021, and earlier ones) use this clustering, some with additions.
"""

from importlib.util import find_spec
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from src.buffers import Float32Buffers
from src.checks import check_choice
from src.errors import DenseSiamError
from src.lloyd import fit_lloyd

Backend = Literal["torch", "sklearn", "faiss"]


def sample_pixels(features: Tensor, per_image: int, generator: torch.Generator) -> Tensor:
    """Draw pixels of every image without replacement.

    Args:
        features: (B, C, H, W).
        per_image: pixels per image, 1..H * W.
        generator: source of randomness, on the CPU.

    Returns: (B * per_image, C), first the rows of image 0, on the device of ``features``.

    Raises:
        DenseSiamError: an image has fewer pixels than ``per_image``.
    """
    batch, channels, height, width = features.shape
    if not 1 <= per_image <= height * width:
        raise DenseSiamError(
            f"expected 1..{height * width} pixels per image for features of {height} x {width}, found {per_image}: "
            "change the number of sampled pixels or the image size"
        )
    drawn = [torch.randperm(height * width, generator=generator)[:per_image] for _ in range(batch)]
    chosen = torch.stack(drawn).to(features.device)  # (B, per_image)
    rows = features.flatten(2).gather(2, chosen[:, None].expand(-1, channels, -1))  # (B, C, per_image)
    return rows.transpose(1, 2).reshape(batch * per_image, channels)


def some_pixels(features: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Draw `most` pixels of each image of a map (B, C, h, w), or all if there are fewer, see `sample_pixels`."""
    return sample_pixels(features, min(most, features.shape[2] * features.shape[3]), generator)


def check_backend(name: str, backend: Any) -> None:
    """Refuse a backend that is unknown or not installed.

    Raises:
        DenseSiamError: the message names the choices, or the package to install.
    """
    check_choice(name, backend, get_args(Backend))
    if backend == "faiss" and find_spec("faiss") is None:
        raise DenseSiamError(f"{name}=faiss needs faiss: pip install 'densesiam[faiss]'")


def fit_centroids(rows: Tensor, num_clusters: int, seed: int, backend: Backend = "sklearn") -> Tensor:
    """Fit k-means on the CPU.

    Args:
        rows: (M, C) floats, M >= num_clusters; L2-normalise them before for cosine distance.
        num_clusters: N.
        seed: fixes the result.
        backend: `torch` is Lloyd's k-means on at most 1,000 rows per cluster, see `fit_lloyd`, the fastest;
            `sklearn` is scikit-learn's mini-batch k-means (k-means++ start, best of three); `faiss` is faiss's k-means
            on at most 1,000 rows per cluster (random start, best of three, 30 iterations).

    Returns: (N, C) float32 centroids on the CPU.

    Raises:
        DenseSiamError: there are too few rows, a value is not finite, or the backend is unknown or not installed.
    """
    check_backend("clustering.backend", backend)
    values = _checked(rows, num_clusters)
    if backend == "torch":
        return fit_lloyd(values, num_clusters, torch.Generator().manual_seed(seed))
    if backend == "faiss":
        return _faiss_centroids(values.numpy(), num_clusters, seed)
    kmeans = MiniBatchKMeans(num_clusters, batch_size=4096, n_init=3, random_state=seed)
    return torch.from_numpy(kmeans.fit(values.numpy()).cluster_centers_).float()


def fit_spherical(rows: Tensor, num_clusters: int, seed: int) -> Tensor:
    """Fit spherical k-means on the CPU: the directions of rows are clustered by their cosine, see `fit_lloyd`.

    Args:
        rows: (M, C) floats, M >= num_clusters; they are scaled to length 1.
        num_clusters: N.
        seed: fixes the result.

    Returns: (N, C) float32 centroids of length 1, on the CPU.

    Raises:
        DenseSiamError: there are too few rows, or a value is not finite.
    """
    directions = F.normalize(_checked(rows, num_clusters), dim=1)
    return fit_lloyd(directions, num_clusters, torch.Generator().manual_seed(seed), spherical=True)


def _checked(rows: Tensor, num_clusters: int) -> Tensor:
    """The rows as float32 on the CPU.

    Raises:
        DenseSiamError: there are fewer rows than clusters, or a value is not finite.
    """
    if len(rows) < num_clusters:
        raise DenseSiamError(
            f"expected at least {num_clusters} feature rows for {num_clusters} clusters, found {len(rows)}: "
            "sample more pixels or images, or ask for fewer clusters"
        )
    values = rows.detach().float().cpu()
    broken = int((~values.isfinite().all(dim=1)).sum())
    if broken:
        raise DenseSiamError(
            f"expected finite features for k-means, found {broken} of {len(rows)} rows with nan or inf: "
            "check the checkpoint and the precision"
        )
    return values


def _faiss_centroids(values: np.ndarray, num_clusters: int, seed: int) -> Tensor:
    import faiss

    kmeans = faiss.Kmeans(
        values.shape[1],
        num_clusters,
        niter=30,
        nredo=3,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=1000,
    )
    kmeans.train(np.ascontiguousarray(values))
    return torch.from_numpy(np.array(kmeans.centroids))


class NearestCentroid(Float32Buffers):
    """Logits whose argmax is the nearest centroid in squared Euclidean distance: (B, C, H, W) -> (B, N, H, W) float32.

    Because |x - c|^2 = |x|^2 - (2 c.x - |c|^2), the logit is 2 c.x - |c|^2, which is a 1x1 convolution. The mean of the
    centroids is subtracted from pixels and centroids first: this changes no distance, and small differences between
    large features are not lost in rounding. The computation is in float32 for every dtype of the features. The
    centroids (N, C) are a buffer: they are saved, not trained, and stay float32.
    """

    centroids: Tensor

    def __init__(self, centroids: Tensor) -> None:
        super().__init__()
        self.register_buffer("centroids", centroids.detach().float().clone())

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            mean = self.centroids.mean(dim=0)
            centred = self.centroids - mean
            shifted = features.float() - mean[:, None, None]
            return F.conv2d(shifted, 2 * centred[:, :, None, None], -centred.square().sum(dim=1))
