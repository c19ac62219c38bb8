"""Principal components of dense features, used as initial weights of a linear layer."""

import torch
from sklearn.decomposition import PCA
from torch import Tensor

from src.errors import DenseSiamError


def principal_components(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and principal axes of rows, by scikit-learn on the CPU. The result is deterministic.

    Args:
        rows: (M, C) finite floats, M > count.
        count: number of axes, 1..C.

    Returns:
        mean (C,) and axes (count, C) of length 1, sorted by decreasing variance; float32, on the CPU.

    Raises:
        DenseSiamError: there are too few rows.
    """
    if len(rows) <= count:
        raise DenseSiamError(
            f"expected more than {count} feature rows for {count} principal components, found {len(rows)}: "
            "raise fit_images or the image size, or lower model.neck.channels"
        )
    fitted = PCA(count, svd_solver="covariance_eigh").fit(rows.detach().double().cpu().numpy())
    return torch.from_numpy(fitted.mean_).float(), torch.from_numpy(fitted.components_).float()
