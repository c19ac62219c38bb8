"""The plain network that detects objects: what a user gets from a detection run."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms.v2.functional import resize

from src.models.encoder import Encoder
from src.short_side import short_side_size

MASK_SHARE = 0.5  # a pixel belongs to an object if the mask is above this


class Prepared(GeneralizedRCNNTransform):  # type: ignore[misc] # torchvision has no types
    """Prepares images for a detector: resized for predictions, normalised as the encoder wants it, padded with zeros.

    In training, images come with their final size from the data, where their boxes are resized with them. torchvision's
    class pads and gives boxes back in original pixels; it would resize floats without antialiasing, and draw sizes.

    Args:
        encoder: has the mean and the standard deviation of RGB values.
        side: length of the shorter side of an image to predict on, in pixels.
        longest: limit of its longer side.
        multiple: padded sides are multiples of it. It is a multiple of the strides of all maps that have anchors:
            torchvision takes whole(image / map) for the stride, which is 61 for 800 pixels and 13 cells of stride 64.
    """

    def __init__(self, encoder: Encoder, side: int, longest: int, multiple: int) -> None:
        mean, std = ([float(value) for value in one.flatten()] for one in (encoder.mean, encoder.std))
        super().__init__(side, longest, mean, std, size_divisible=multiple)
        self.side, self.longest = side, longest

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[ImageList, list[dict[str, Tensor]] | None]:
        if not self.training:
            sizes = [short_side_size(image.shape[1], image.shape[2], self.side, self.longest) for image in images]
            images = [resize(image, list(size)) for image, size in zip(images, sizes, strict=True)]
        normal = [self.normalize(image.float() / 255) for image in images]
        return ImageList(self.batch_images(normal, self.size_divisible), [one.shape[1:] for one in normal]), targets


class DetectionNetwork(nn.Module):
    """Detects objects in images, see `src.tasks.base.Task.deployed`.

    Args:
        rcnn: torchvision's detector, whose `transform` is `Prepared`; its class 0 is the background.
        backbone_parts: the names of its modules that together are the pretrained backbone.
    """

    def __init__(self, rcnn: GeneralizedRCNN, backbone_parts: Sequence[str]) -> None:
        super().__init__()
        self.rcnn, self.backbone_parts = rcnn, tuple(backbone_parts)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        """Detect objects in images (3, h, w) uint8 of any sizes; in evaluation mode only.

        Returns:
            for each image its detections, by falling score: `boxes` (m, 4) x0 y0 x1 y1 in pixels of the given image,
            `scores` (m,), `labels` (m,) from 0, and `masks` (m, h, w) bool if the network predicts masks.
        """
        if self.training:
            raise RuntimeError("detections are made in evaluation mode, call eval() first")
        return [detections_of(found) for found in self.rcnn(images)]

    def losses(self, images: list[Tensor], labels: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The unweighted losses of a batch, each a scalar; in training mode only.

        Args:
            images: (3, h, w) uint8, in the size that they are trained in.
            labels: for each image `boxes` (n, 4), `labels` (n,) from 0, and `masks` (n, h, w) uint8 if these are
                learned. An image may have no objects.
        """
        learned = ("boxes", "masks") if self.has_masks else ("boxes",)
        targets = [{**{key: one[key] for key in learned}, "labels": one["labels"] + 1} for one in labels]
        found: dict[str, Tensor] = self.rcnn(images, targets)
        return {name.removeprefix("loss_"): value for name, value in found.items()}

    @property
    def has_masks(self) -> bool:
        """Whether the network predicts masks."""
        return bool(self.rcnn.roi_heads.has_mask())

    def backbone(self) -> nn.Module:
        """The whole backbone under its own names, which shares its weights with this network; it has no `forward`."""
        parts = [self.rcnn.get_submodule(name) for name in self.backbone_parts]
        return merged(parts)


def detections_of(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's detections of an image in our terms, see `DetectionNetwork.forward`."""
    made = {"boxes": found["boxes"], "scores": found["scores"], "labels": found["labels"] - 1}
    if "masks" in found:
        made["masks"] = found["masks"][:, 0] > MASK_SHARE
    return made


def merged(parts: Sequence[nn.Module]) -> nn.Module:
    """A container of the children of several modules; children with the same name are merged in the same way."""
    if len(parts) == 1:
        return parts[0]
    children = [dict(part.named_children()) for part in parts]
    whole = nn.Module()
    for name in dict.fromkeys(name for own in children for name in own):
        whole.add_module(name, merged([own[name] for own in children if name in own]))
    return whole
