"""A training step as the authors' release computes it, written plainly: what our step is measured beside.

It is the release's arithmetic in the release's order: encoder and feature pyramid of each view, main and auxiliary
heads, PixSim (Eq. 1, 3), L_seg and RegionSim (Eq. 4-6), each from torch's own operations. Its cropping of the second
view's features is left out, so that both views show the whole image.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

WEIGHTS = {"dense": 0.5955, "aux": 0.4045, "seg": 1.0, "region": 0.1}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pixel_projector(width: int, categories: int) -> nn.Sequential:
    """Three 1x1 convolutions with batch norms, the last one without affine parameters."""
    return nn.Sequential(
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, categories, 1),
        nn.BatchNorm2d(categories, affine=False),
    )


def pixel_predictor(width: int, categories: int) -> nn.Sequential:
    """Two 1x1 convolutions."""
    return nn.Sequential(
        nn.Conv2d(categories, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, categories, 1),
    )


class ReleaseHeads(nn.Module):
    """The heads of the release, and its losses for the features of two views.

    Args:
        width: channels of the features.
        categories, aux_categories: N and N_aux.
    """

    def __init__(self, width: int = 128, categories: int = 27, aux_categories: int = 128) -> None:
        super().__init__()
        self.projector, self.predictor = pixel_projector(width, categories), pixel_predictor(width, categories)
        self.aux_projector = pixel_projector(width, aux_categories)
        self.aux_predictor = pixel_predictor(width, aux_categories)
        self.region_projector = nn.Sequential(
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width, affine=False),
        )
        self.region_predictor = nn.Sequential(
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
        )

    def forward(self, first: Tensor, second: Tensor, with_regions: bool) -> dict[str, Tensor]:
        """The unweighted losses of the features (B, C, h, w) of two views."""
        z1, z2 = self.projector(first), self.projector(second)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        y1, y2 = self.aux_projector(first), self.aux_projector(second)
        q1, q2 = self.aux_predictor(y1), self.aux_predictor(y2)
        losses = {
            "dense": (cross_entropy(p1, z2.detach()) + cross_entropy(p2, z1.detach())) / 2,
            "aux": (cross_entropy(q1, y2.detach()) + cross_entropy(q2, y1.detach())) / 2,
            "seg": (hard_cross_entropy(z1) + hard_cross_entropy(z2)) / 2,
        }
        if with_regions:
            v1, v2 = self.regions(z1, first), self.regions(z2, second)
            u1, u2 = self.predicted(v1), self.predicted(v2)
            losses["region"] = (contrast(u1, v2) + contrast(u2, v1)) / 2
        return losses

    def regions(self, z: Tensor, features: Tensor) -> Tensor:
        """v (B, N, C): features summed under the soft masks of z, projected."""
        masks = z.softmax(1).flatten(2)
        embeddings = torch.einsum("bnk,bck->bnc", masks, features.flatten(2))
        projected: Tensor = self.region_projector(embeddings.flatten(0, 1))
        return projected.view_as(embeddings)

    def predicted(self, v: Tensor) -> Tensor:
        """u (B, N, C) for v (B, N, C)."""
        u: Tensor = self.region_predictor(v.flatten(0, 1))
        return u.view_as(v)


class ReleaseNetwork(nn.Module):
    """ResNet-18, feature pyramid and heads of the release; sizes as in `ReleaseHeads`."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int = 128, categories: int = 27, aux_categories: int = 128) -> None:
        super().__init__()
        self.encoder = torchvision.models.resnet18(weights=None)
        self.encoder.fc = nn.Identity()
        self.laterals = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in (64, 128, 256, 512))
        self.heads = ReleaseHeads(width, categories, aux_categories)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def features(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), uint8, to features (B, C, H / 4, W / 4)."""
        net = self.encoder
        x = (images.float() / 255 - self.mean) / self.std
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        maps = []
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = stage(x)
            maps.append(x)
        merged = self.laterals[3](maps[3])
        for level in (2, 1, 0):
            lateral = self.laterals[level](maps[level])
            merged = F.interpolate(merged, size=lateral.shape[2:], mode="bilinear", align_corners=False) + lateral
        return merged

    def forward(self, first: Tensor, second: Tensor, with_regions: bool) -> dict[str, Tensor]:
        """The unweighted losses of two views (B, 3, H, W) of each image."""
        losses: dict[str, Tensor] = self.heads(self.features(first), self.features(second), with_regions)
        return losses


def cross_entropy(p: Tensor, z: Tensor) -> Tensor:
    """PixSim's distance from the target z, the release's `CESimilarity`."""
    return -(z.softmax(1) * p.log_softmax(1)).sum(1).mean()


def hard_cross_entropy(z: Tensor) -> Tensor:
    """L_seg of one view with the categories' frequencies as weights, the release's `HardCESimilarity`."""
    label = z.argmax(1)
    weights = torch.bincount(label.flatten(), minlength=z.shape[1]).float()
    weights = weights / weights.sum()
    return (weights[label] * F.cross_entropy(z, label, reduction="none")).mean()


def contrast(u: Tensor, v: Tensor) -> Tensor:
    """RegionSim's contrast of u with v, both (B, N, C): normalised, temperature 0.1."""
    similarity = F.normalize(u, dim=2) @ F.normalize(v, dim=2).mT / 0.1
    return -similarity.log_softmax(2).diagonal(dim1=1, dim2=2).mean()


def grid_sampled(features: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Features (B, C, h, w) at size x size points of boxes (B, 4), by torch's `grid_sample`."""
    x0, y0, x1, y1 = boxes.unbind(1)
    shares = (torch.arange(size) + 0.5) / size
    x, y = (start[:, None] + (end - start)[:, None] * shares for start, end in ((x0, x1), (y0, y1)))
    points = torch.stack((x[:, None].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)), dim=3)
    return F.grid_sample(features, 2 * points - 1, padding_mode="border", align_corners=False)


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """The weighted sum of the losses."""
    return torch.stack([WEIGHTS[name] * value for name, value in losses.items()]).sum()
