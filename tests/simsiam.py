"""SimSiam (Chen and He 2021) once more, written from their paper's algorithm 1 and section 3 alone, to compare with."""

import math

import torch
import torchvision
from torch import Tensor, nn


class SimSiam(nn.Module):
    """ResNet, projector of three layers and predictor of two, as wide as they are told to be."""

    def __init__(self, name: str, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.backbone = torchvision.models.get_model(name)
        width = self.backbone.fc.in_features
        self.backbone.fc = nn.Identity()
        layers: list[nn.Module] = []
        for inside in (width, channels):
            layers += [nn.Linear(inside, channels, bias=False), nn.BatchNorm1d(channels), nn.ReLU()]
        layers += [nn.Linear(channels, channels, bias=False), nn.BatchNorm1d(channels, affine=False)]
        self.projector = nn.Sequential(*layers)
        hidden = [nn.Linear(channels, bottleneck, bias=False), nn.BatchNorm1d(bottleneck), nn.ReLU()]
        self.predictor = nn.Sequential(*hidden, nn.Linear(bottleneck, channels))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
        z1, z2 = (self.projector(self.backbone((x.float() / 255 - mean) / std)) for x in (first, second))
        p1, p2 = self.predictor(z1), self.predictor(z2)
        towards_second = nn.functional.cosine_similarity(p1, z2.detach(), dim=1)
        towards_first = nn.functional.cosine_similarity(p2, z1.detach(), dim=1)
        return -(towards_second + towards_first).div(2).mean()


def train(model: SimSiam, batches: list[tuple[Tensor, Tensor]], lr: float) -> list[float]:
    """Losses of one pass with SGD and half a cosine."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    losses = []
    for step, (first, second) in enumerate(batches):
        optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / len(batches)))
        loss = model(first, second)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
