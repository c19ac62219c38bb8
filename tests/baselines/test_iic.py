"""IIC's joint distributions and mutual information against loops and scikit-learn, and what its training raises."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from torch import Tensor

from src.baselines.iic import IIC, joint_distributions, mutual_information
from src.errors import DenseSiamError
from src.metrics import Category
from src.models.backbones import resnet
from src.models.dense import DenseFeatures
from src.models.necks import SimplifiedFPN
from src.optim import adam
from tests.factories import paper

CLASSES = (Category("sky", "stuff"), Category("sand", "stuff"), Category("ball", "thing"))


def probabilities(seed: int, images: int = 3, categories: int = 4, side: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(images, categories, side, side, generator=generator)).softmax(1)


def naive_joint(first: Tensor, second: Tensor, valid: list[bool], down: int, right: int) -> Tensor:
    """One displacement, a place of an image at a time."""
    images, categories, height, width = first.shape
    joint = torch.zeros(categories, categories, dtype=torch.float64)
    for image in range(images):
        for y in range(height):
            for x in range(width):
                inside = 0 <= y + down < height and 0 <= x + right < width
                if not (valid[image] and inside):
                    continue
                joint += torch.outer(first[image, :, y, x].double(), second[image, :, y + down, x + right].double())
    joint = (joint + joint.T) / 2
    return joint / joint.sum()


@pytest.mark.parametrize("radius", [0, 1, 2])
def test_joint_distributions_equal_the_loop(radius: int) -> None:
    first, second, valid = probabilities(0), probabilities(1), [True, False, True]
    found = joint_distributions(first, second, torch.tensor(valid), radius)
    steps = range(-radius, radius + 1)
    expected = torch.stack([naive_joint(first, second, valid, down, right) for down in steps for right in steps])
    torch.testing.assert_close(found, expected.float(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.sum((1, 2)), torch.ones((2 * radius + 1) ** 2))


def test_hard_categories_have_scikit_learns_mutual_information() -> None:
    """Symmetrised, the joint counts each pair both ways round."""
    generator = np.random.default_rng(0)
    one, other = generator.integers(0, 5, 4 * 36), generator.integers(0, 5, 4 * 36)
    other[::2] = (one[::2] + 1) % 5
    views = [
        torch.nn.functional.one_hot(torch.from_numpy(x).view(4, 6, 6), 5).permute(0, 3, 1, 2).float()
        for x in (one, other)
    ]
    joint = joint_distributions(*views, torch.ones(4, dtype=torch.bool), radius=0)
    expected = mutual_info_score(np.concatenate([one, other]), np.concatenate([other, one]))
    assert mutual_information(joint).item() == pytest.approx(expected, abs=1e-5)


def test_mutual_information_by_hand() -> None:
    """log N where one category follows from the other and all are as frequent; 0 where they are independent."""
    same, unrelated = torch.eye(4) / 4, torch.full((4, 4), 1 / 16)
    found = mutual_information(torch.stack([same, unrelated]))
    torch.testing.assert_close(found, torch.tensor([math.log(4), 0.0]), atol=1e-6, rtol=1e-6)
    half = torch.tensor([[0.5, 0.25], [0.0, 0.25]])
    expected = 0.5 * math.log(0.5 / (0.75 * 0.5)) + 0.25 * math.log(0.25 / (0.75 * 0.5)) + 0.25 * math.log(2)
    assert mutual_information(half).item() == pytest.approx(expected, abs=1e-6)


def test_mutual_information_has_finite_gradients_where_a_category_is_never_seen() -> None:
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 2] = -200
    logits.requires_grad_()
    joint = joint_distributions(logits.softmax(1), logits.softmax(1), torch.ones(1, dtype=torch.bool), 0)
    mutual_information(joint).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_without_an_overlap_nothing_is_learned() -> None:
    joint = joint_distributions(probabilities(0), probabilities(1), torch.zeros(3, dtype=torch.bool), 0)
    assert mutual_information(joint).item() == 0


def make_task(**changes: Any) -> IIC:
    torch.manual_seed(0)
    network = DenseFeatures(resnet("resnet18", None, frozen=False), partial(SimplifiedFPN, channels=16))
    options: dict[str, Any] = {
        "network": network,
        "num_categories": 4,
        "num_aux_categories": 10,
        "classes": CLASSES,
        "loss_weights": {"main": "balanced", "aux": "balanced"},
        "radius": 0,
        "optimizer": adam(lr=1e-2, weight_decay=0),
        "protocol": paper(),
    }
    return IIC(**(options | changes))


def make_batch() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    return {
        "views": [torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=generator) for _ in range(2)],
        "boxes": torch.tensor([[[0.0, 0.0, 1.0, 1.0], [0.8, 0.2, 0.1, 0.9]]]).repeat(4, 1, 1),
        "valid": torch.ones(4, dtype=torch.bool),
        "index": torch.arange(4),
    }


def test_the_loss_of_a_batch_is_minus_the_information_of_its_heads() -> None:
    task, batch = make_task(), make_batch()
    losses, embeddings = task.compare(batch)
    assert set(losses) == {"main", "aux"} == set(task.weights)
    assert task.weights["main"] > task.weights["aux"]  # log-balanced
    for head, branch, categories in (("main", "dense", 4), ("aux", "aux", 10)):
        first, second = (x.mT.reshape(4, categories, 8, 8).softmax(1) for x in embeddings[branch])
        joint = naive_joint(first, second, [True] * 4, 0, 0).float()
        assert losses[head].item() == pytest.approx(-mutual_information(joint).item(), abs=1e-5)


def test_training_raises_the_information() -> None:
    task, batch = make_task(), make_batch()
    optimizer = task.configure_optimizers()
    found = []
    for _ in range(15):
        losses, _ = task.compare(batch)
        loss = sum(task.weights[name] * value for name, value in losses.items())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(losses["main"].item())
    assert found[-1] < found[0] - 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"radius": -1}, "task.radius is -1"),
        ({"loss_weights": {"main": 1, "cross": 1}}, "task.loss_weights has cross: expected only main, aux"),
        ({"loss_weights": {"main": 0, "aux": 0}}, "one of them above 0"),
        ({"loss_weights": {"main": 1, "aux": -1}}, "loss_weights.aux is -1"),
        ({"loss_weights": {"main": 1, "aux": 0}, "protocol": paper(head="aux")}, "task.loss_weights.aux is 0"),
    ],
)
def test_what_can_not_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DenseSiamError, match=message):
        make_task(**changes)
