"""SimSiam written plainly, as a step of its authors' `builder.py` and `main_simsiam.py`: ours is compared with it.

It has the arithmetic of the published program: torchvision's ResNet-50, whose last layer becomes the projector (three
linear layers, 2048 wide), a predictor with 512 hidden channels, the negative cosine similarity, and SGD.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50

ENCODERS = {"resnet18": resnet18, "resnet50": resnet50}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PlainSimSiam(nn.Module):
    """Encoder with projector, and predictor.

    Args:
        encoder: the name of the ResNet.
        dim: hidden and output channels of the projector.
        pred_dim: hidden channels of the predictor.
    """

    def __init__(self, encoder: str, dim: int, pred_dim: int) -> None:
        super().__init__()
        self.encoder = ENCODERS[encoder](num_classes=dim, zero_init_residual=True)
        width = self.encoder.fc.in_features
        self.encoder.fc = nn.Sequential(
            nn.Linear(width, dim, bias=False),
            nn.BatchNorm1d(dim),
            nn.ReLU(inplace=True),
            nn.Linear(dim, dim, bias=False),
            nn.BatchNorm1d(dim),
            nn.ReLU(inplace=True),
            nn.Linear(dim, dim),
            nn.BatchNorm1d(dim, affine=False),
        )
        self.encoder.fc[6].bias.requires_grad = False  # batch norm follows
        self.predictor = nn.Sequential(
            nn.Linear(dim, pred_dim, bias=False),
            nn.BatchNorm1d(pred_dim),
            nn.ReLU(inplace=True),
            nn.Linear(pred_dim, dim),
        )

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Predictions and targets of both views, (B, dim) each."""
        z1, z2 = self.encoder(x1), self.encoder(x2)
        return self.predictor(z1), self.predictor(z2), z1.detach(), z2.detach()


def make_plain_step(
    encoder: str, views: list[Tensor], channels: int, bottleneck: int, dtype: torch.dtype | None
) -> Callable[[], None]:
    """A function that does one training step of SimSiam on two views (B, 3, H, W), uint8.

    Its loader would give normalised floats, so they are made here once.
    """
    device = views[0].device
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, STD))
    first, second = ((view / 255 - mean) / std for view in views)
    model = PlainSimSiam(encoder, channels, bottleneck).to(device).train()
    criterion = nn.CosineSimilarity(dim=1)
    optimizer = torch.optim.SGD(
        [{"params": model.encoder.parameters()}, {"params": model.predictor.parameters()}],
        lr=0.05,
        momentum=0.9,
        weight_decay=1e-4,
    )

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            p1, p2, z1, z2 = model(first, second)
            loss = -(criterion(p1, z2).mean() + criterion(p2, z1).mean()) * 0.5
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # the published program reads it for its meters
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step
