"""Supervised semantic segmentation: a fully convolutional network with an auxiliary head, as MMSegmentation's FCN-D8.

The definition is that of `configs/_base_/models/fcn_r50-d8.py` and `mmseg/models/decode_heads/fcn_head.py` there. The
backbone of that file has a stem of three 3x3 convolutions (`ResNetV1c`); ours is torchvision's ResNet, with one 7x7
convolution, because that is what all pre-training of the paper's tables trains.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from src.checks import check_flag, check_int, check_number
from src.models.dense import DenseFeatures, MemoryFormat
from src.models.encoder import Encoder
from src.models.necks import MOST_CHANNELS, Neck


class FCNHead(nn.Module):
    """3x3 convolutions with batch norm and ReLU, and a linear classifier at each position.

    Args:
        in_channels: number of channels of the input.
        channels: number of channels of each convolution.
        num_classes: C, the number of classes.
        num_convs: number of convolutions, at least 1.
        concat_input: whether the input is concatenated with the output of the convolutions, and both go through one
            more convolution.
        dropout: probability with which a channel is left out of the classification in training, 0 to 1.
    """

    def __init__(
        self, in_channels: int, channels: int, num_classes: int, num_convs: int, concat_input: bool, dropout: float
    ) -> None:
        super().__init__()
        widths = [in_channels] + [channels] * num_convs
        self.convs = nn.Sequential(*(conv3x3(widths[i], widths[i + 1]) for i in range(num_convs)))
        self.conv_cat = conv3x3(in_channels + channels, channels) if concat_input else None
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, num_classes, kernel_size=1)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)  # type: ignore[arg-type]  # a convolution may have no bias; this one has

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, in_channels, h, w) to logits (B, C, h, w)."""
        found = self.convs(features)
        if self.conv_cat is not None:
            found = self.conv_cat(torch.cat([features, found], dim=1))
        logits: Tensor = self.classifier(self.dropout(found))
        return logits


def conv3x3(in_channels: int, out_channels: int) -> nn.Sequential:
    """A 3x3 convolution without bias, batch norm and ReLU."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class FCN(DenseFeatures):
    """Encoder, neck and a head of convolutions; an auxiliary head reads the last map of the encoder but one.

    Args:
        encoder: a dense pyramid.
        neck: see `DenseFeatures`; `DeepestMap` in the published network.
        num_classes: C, the number of classes.
        channels: number of channels of the head's convolutions.
        num_convs: number of the head's convolutions before the concatenation.
        concat_input: see `FCNHead`.
        aux_channels: number of channels of the auxiliary head's one convolution.
        dropout: see `FCNHead`; of both heads.
        has_aux: whether there is an auxiliary head.
        memory_format: see `DenseFeatures`.

    Raises:
        DenseSiamError: a value is out of its range, or the encoder has a single map but an auxiliary head is wanted.
    """

    def __init__(
        self,
        encoder: Encoder,
        neck: Callable[[Sequence[int]], Neck],
        num_classes: int,
        channels: int,
        num_convs: int,
        concat_input: bool,
        aux_channels: int,
        dropout: float,
        has_aux: bool,
        memory_format: MemoryFormat = "contiguous",
    ) -> None:
        super().__init__(encoder, neck, memory_format=memory_format)
        check_int("model.channels", channels, 1, MOST_CHANNELS)
        check_int("model.num_convs", num_convs, low=1, high=100)
        check_flag("model.concat_input", concat_input)
        check_int("model.aux_channels", aux_channels, 1, MOST_CHANNELS)
        check_number("model.dropout", dropout, low=0, below=1)
        self.num_classes = num_classes
        self.head = FCNHead(self.neck.channels, channels, num_classes, num_convs, concat_input, dropout)
        self.aux_head: FCNHead | None = None
        if has_aux:
            width = encoder.channels[-2:][0]  # of the last but one, or of the only map
            self.aux_head = FCNHead(width, aux_channels, num_classes, 1, concat_input=False, dropout=dropout)
        if memory_format == "channels_last":
            self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), uint8 or float in [0, 1], to logits (B, C, h, w)."""
        logits: Tensor = self.head(self.features(images))
        return logits

    def both(self, images: Tensor) -> dict[str, Tensor]:
        """The logits (B, C, h, w) of the head, `main`, and, if there is one, of the auxiliary head, `aux`."""
        maps = self.encoder(images)
        logits = {"main": self.head(self.neck(maps))}
        if self.aux_head is not None:
            logits["aux"] = self.aux_head(maps[-2:][0])
        return logits
