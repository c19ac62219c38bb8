"""An encoder: a backbone without global pooling, which maps images to a pyramid of dense maps, fine to coarse."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from src.buffers import Float32Buffers
from src.errors import DenseSiamError
from src.models.sizes import large_enough, maps_of, resized

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Encoder(Float32Buffers):
    """A backbone with the channels and strides of its maps, the normalisation of its images, and whether it is trained.

    Every map covers exactly the image. If a side of the image is not a multiple of all strides, the image is first
    resized to the nearest multiple. Otherwise backbones would pad it, and a map would cover more than the image.

    With `align_corners`, the cells of a map lie on pixels, its corner cells on the corner pixels of the image, and
    images are resized to multiples plus 1: at stride 8, 769 pixels give 97 cells. Code that takes a cell for a part of
    the image, such as `src.geometry`, can't read such maps; `F.interpolate` can, with its argument of the same name.

    Args:
        backbone: maps normalised images (B, 3, H, W) to a list of maps, fine to coarse.
        channels, strides: number of channels and stride of each map.
        mean, std: mean and standard deviation of RGB values in [0, 1], for the normalisation.
        frozen: if true, the backbone gets no gradient, and its batch norms stay in evaluation mode.
        channels_last: whether the backbone's maps are (B, H, W, C) instead of (B, C, H, W).
        size: height and width, if the backbone takes only one size; None if it takes all multiples of its strides.
        align_corners: whether the corner cells of maps lie on the corner pixels of images.
        frozen_parts: names of modules of the backbone that are frozen; the others learn.

    Attributes:
        multiple: least common multiple of the strides in pixels; sides of images are resized to multiples of it, plus 1
            with `align_corners`.

    Raises:
        DenseSiamError: in `forward`: the images do not have the only size that the backbone takes.
    """

    def __init__(
        self,
        backbone: nn.Module,
        channels: Sequence[int],
        strides: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        frozen: bool,
        channels_last: bool = False,
        size: tuple[int, int] | None = None,
        align_corners: bool = False,
        frozen_parts: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(not frozen)
        self.channels, self.strides, self.frozen = tuple(channels), tuple(strides), frozen
        self.channels_last, self.size, self.multiple = channels_last, size, math.lcm(*strides)
        self.align_corners, self.frozen_parts = align_corners, tuple(frozen_parts)
        for part in self.frozen_parts:
            backbone.get_submodule(part).requires_grad_(False)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.train()

    def side(self, multiples: int) -> int:
        """The side in pixels of an image whose side has so many multiples, so that it is not resized."""
        return multiples * self.multiple + int(self.align_corners)

    def train(self, mode: bool = True) -> "Encoder":
        super().train(mode and not self.frozen)
        for part in self.frozen_parts:
            self.backbone.get_submodule(part).eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map RGB images to a pyramid.

        Args:
            images: (B, 3, H, W), uint8 or float in [0, 1].

        Returns:
            maps (B, C_i, H' / stride_i, W' / stride_i), where H' and W' are the multiples of `multiple` that are
            nearest to H and W. Each covers the whole image. With `align_corners`, H' - 1 and W' - 1 are multiples, and
            the maps have (H' - 1) / stride_i + 1 rows.
        """
        height, width = images.shape[2:]
        if self.size is not None and (height, width) != self.size:
            wanted = f"{self.size[0]} x {self.size[1]}"
            raise DenseSiamError(
                f"the encoder takes only images of {wanted}, found {height} x {width}: set data.views.size and "
                "protocol.side to that and protocol.crop=true, or make the encoder for other sizes: "
                "+model.encoder.dynamic_img_size=true (vision transformers), +model.encoder.strict_img_size=false "
                "(swin) or +model.encoder.img_size=SIDE"
            )
        images = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        images = resized(images, self.multiple, self.align_corners) if self.size is None else images
        with large_enough(height, width):
            return self.maps((images - self.mean) / self.std)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Map normalised images (B, 3, H, W), whose sides are multiples of `multiple`, to a pyramid, see `forward`."""
        dtype = next((parameter.dtype for parameter in self.backbone.parameters()), images.dtype)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return maps_of(self.backbone, images.to(dtype), self.channels_last)
