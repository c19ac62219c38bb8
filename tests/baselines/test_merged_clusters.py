"""Reference methods that merge an over-clustering, without training."""

import torch

from src.baselines.merged_clusters import MergedClusters, reduced
from src.metrics import Category
from src.models.backbones import resnet
from src.models.necks import PrincipalComponents
from src.models.prototypes import PrototypeNetwork
from tests.factories import images, paper

CLASSES = [Category("sky", "stuff"), Category("grass", "stuff"), Category("cat", "thing")]


def reference(number: int, sets: int = 1) -> MergedClusters:
    torch.manual_seed(0)
    encoder = resnet("resnet18", None, frozen=True, stages=2)
    network = PrototypeNetwork(encoder, lambda channels: PrincipalComponents(channels, 8), 3, number, sets, 0.1)
    return MergedClusters(network, CLASSES, paper(), "merged", "merged clusters")


def test_as_many_clusters_as_are_scored_are_spherical_k_means() -> None:
    found, given = reference(3), images(3, 3, 64, 64)
    found.prepare(None, iter([given]))
    assert sorted(found.merging.groups[0].tolist()) == [0, 1, 2]
    logits = found.network.prototypes(found.network.features(given))
    assert torch.equal(found.merging.groups[0][logits.argmax(1)], found(given).argmax(1))


def test_sets_of_clusters_are_merged_and_nothing_learns() -> None:
    found, given = reference(12, sets=3), images(3, 3, 64, 64)
    found.prepare(None, iter([given[:2], given[2:]]))
    assert all(sorted(set(groups.tolist())) == [0, 1, 2] for groups in found.merging.groups)
    assert found(given).shape == (3, 3, 16, 16)
    assert not found.learns


def test_without_images_nothing_is_fitted() -> None:
    found = reference(12)
    before = found.network.prototypes.points.clone()
    found.prepare(None)
    assert torch.equal(before, found.network.prototypes.points)
    assert not found.merging.current


def test_an_encoder_with_fewer_channels_is_not_reduced() -> None:
    assert reduced([24, 8, 16], most=64, deepest=2).channels == 24
    assert reduced([24, 8, 16], most=10, deepest=2).channels == 10
    assert not reduced([8], most=4, deepest=2).projection.weight.requires_grad
