"""Clusters of whole training images, to show what a network has learned."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2 import functional

from src.evaluation.inference import predict_labels, protocol_logits
from src.evaluation.protocol import EvaluationProtocol


def clusters_of(
    image: Image.Image,
    logits_of: Callable[[Tensor], Tensor],
    protocol: EvaluationProtocol,
    only: tuple[int, int] | None,
    device: torch.device,
) -> Tensor:
    """The clusters (H, W) of a whole RGB image, on the CPU.

    Args:
        image: the image, in the size in which it is shown.
        logits_of: maps images (1, 3, h, w) uint8 to logits.
        protocol: its side is the shorter side at which the image is predicted; for `own`, it is predicted as it is.
        only: height and width of images, if the network takes no others; the image is then stretched to them.
        device: the device of the network.
    """
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].to(device)
    scale = 1.0 if protocol.side == "own" else int(protocol.side) / min(image.size)
    size = only or (max(1, round(image.height * scale)), max(1, round(image.width * scale)))
    seen = functional.resize(pixels, list(size), antialias=True)
    return predict_labels(protocol_logits(logits_of, seen, protocol), (image.height, image.width))[0].cpu()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Set a module and its parts to evaluation without gradients, and afterwards each to the mode that it had."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode
