"""k-means without training: easy colours are separated, seeds fix the result, deep features have length one."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from src.assembly.train import train
from src.baselines.kmeans import Colour, DeepestMaps, KMeans, untrained
from src.checkpoints.reading import read_checkpoint
from src.metrics import Category
from src.models.backbones import resnet
from tests.composing import composed
from tests.factories import paper

THREE = [Category("sky", "stuff"), Category("grass", "stuff"), Category("cat", "thing")]
RESNET18 = {"_target_": "src.models.backbones.resnet", "name": "resnet18"}
FLAT = torch.tensor([[200, 30, 40], [40, 190, 60], [50, 60, 210]], dtype=torch.uint8)


def flat_images(count: int = 4, side: int = 12) -> tuple[Tensor, Tensor]:
    """Images (count, 3, side, side) of three flat colours and which one each pixel has."""
    label = torch.randint(0, 3, (count, side, side), generator=torch.Generator().manual_seed(0))
    return FLAT[label].permute(0, 3, 1, 2).contiguous(), label


def noise_images(count: int = 4, side: int = 12) -> Tensor:
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(1)).byte()


def colour_kmeans(pixels_per_image: int = 60, seed: int = 0, num_clusters: int = 3) -> KMeans:
    return KMeans(Colour(), num_clusters, THREE, pixels_per_image, seed, paper(), "kmeans_colour", "k-means on colour")


def fitted(images: Tensor, **options: int) -> KMeans:
    module = colour_kmeans(**options)
    module.prepare(SimpleNamespace(), images.split(3))
    return module


def test_colour_is_rgb_from_zero_to_one() -> None:
    found = Colour()(torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1))
    torch.testing.assert_close(found, torch.tensor([0, 0.2, 1]).view(1, 3, 1, 1))


def test_flat_colours_are_separated_perfectly() -> None:
    images, label = flat_images()
    module = fitted(images)
    logits = module(images)
    assert logits.shape == (4, 3, 12, 12)
    pairs = set(zip(label.flatten().tolist(), logits.argmax(dim=1).flatten().tolist(), strict=True))
    assert len(pairs) == 3
    assert {true for true, _ in pairs} == {cluster for _, cluster in pairs} == {0, 1, 2}


def test_it_is_scored_like_any_other_module() -> None:
    images, label = flat_images()
    module = fitted(images)
    label[0, 0] = 255
    clusters = module.validation_step({"image": images, "label": label, "index": torch.arange(4)}, 0)
    assert clusters.shape == label.shape
    assert module.scoring.compute()["mIoU"] == 100
    assert module.name == "kmeans_colour"


def test_the_seed_fixes_the_result() -> None:
    images = noise_images()
    first, again, other = (fitted(images, seed=seed)(images) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_fitting_does_not_depend_on_the_global_generator() -> None:
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        results.append(fitted(noise_images())(noise_images()))
    assert torch.equal(*results)


def test_small_maps_give_all_their_pixels() -> None:
    images = noise_images()
    assert torch.equal(fitted(images, pixels_per_image=10_000)(images), fitted(images, pixels_per_image=144)(images))


def test_no_more_pixels_are_used_than_asked_for() -> None:
    images = noise_images()
    few, more, every = (fitted(images, pixels_per_image=count)(images) for count in (10, 100, 144))
    assert not torch.equal(few, more)
    assert not torch.equal(more, every)


def test_more_clusters_than_classes() -> None:
    images = noise_images()
    assert fitted(images, num_clusters=7)(images).shape[1] == 7


def test_it_must_be_fitted_first() -> None:
    with pytest.raises(RuntimeError, match="prepare has not been called"):
        colour_kmeans()(noise_images())


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96)])
def test_deepest_maps_are_two_unit_vectors_side_by_side(height: int, width: int) -> None:
    torch.manual_seed(0)
    features = DeepestMaps(resnet("resnet18", weights=None, frozen=False))
    assert not any(parameter.requires_grad for parameter in features.parameters())
    assert not any(module.training for module in features.encoder.modules())
    images = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8)
    found = features(images)
    assert found.shape == (2, 256 + 512, height // 16, width // 16)
    finer, coarser = found.split((256, 512), dim=1)
    torch.testing.assert_close(finer.norm(dim=1), torch.ones(2, height // 16, width // 16))
    torch.testing.assert_close(coarser.norm(dim=1), torch.ones(2, height // 16, width // 16))
    maps = features.encoder(images)
    torch.testing.assert_close(finer, maps[-2] / maps[-2].norm(dim=1, keepdim=True))


def test_kmeans_on_deep_features() -> None:
    torch.manual_seed(0)
    features = DeepestMaps(resnet("resnet18", None, frozen=False))
    module = KMeans(features, 3, THREE, 100, 0, paper(), "kmeans_features", "k-means on features")
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    module.prepare(SimpleNamespace(), images.split(2))
    assert module(images).shape == (3, 3, 4, 4)
    assert not any(part.training for part in module.features.modules())


def test_an_untrained_encoder_is_its_seed_and_nothing_else() -> None:
    """Not the weights that it would have had, not the global generator, which is left as it was."""
    config = {**RESNET18, "weights": "a file that is not there", "frozen": True}
    first = untrained(config, seed=3)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again, other = untrained(config, seed=3), untrained(config, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    entries = [dict(encoder.named_parameters())["backbone.layer1.0.conv1.weight"] for encoder in (first, again, other)]
    assert torch.equal(entries[0], entries[1])
    assert not torch.equal(entries[0], entries[2])
    assert first.frozen


def test_references_all_scores_the_same_encoder_without_its_weights(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    torch.save(resnet("resnet18", weights=None, frozen=False).backbone.state_dict(), weights)
    config = composed(
        tmp_path, "references=all", "model/encoder=resnet18", f"model.encoder.weights={weights}", "seed=7"
    )
    parts = ["spherical_features", "merged_features", "merged_sets"]
    labels = ["kmeans_features", "kmeans_random_features"]
    assert list(config.references) == ["kmeans_colour", *parts, *labels]
    built = [instantiate(config.references[label].features.encoder, _convert_="all") for label in labels]
    same = [instantiate(config.references[part].network.encoder, _convert_="all") for part in parts]
    assert all(torch.equal(a, b) for one in same for a, b in zip(one.parameters(), built[0].parameters(), strict=True))
    start = untrained({**RESNET18, "frozen": False}, seed=7)
    alike = [all(torch.equal(a, b) for a, b in zip(one.parameters(), start.parameters(), strict=True)) for one in built]
    assert alike == [False, True]


def test_a_checkpoint_of_a_run_with_every_reference_loads(tmp_path: Path) -> None:
    """It keeps the config of the references, and a config that would call what isn't ours is refused."""
    tiny = [
        "experiment=demo",
        "debug=tiny",
        "trainer.fast_dev_run=false",
        "trainer.max_epochs=1",
        "score_before=false",
        "references=all",
        "data.train_scenes=8",
        "data.val_scenes=4",
    ]
    train(composed(tmp_path, *tiny, "estimate_steps=0"))
    assert "kmeans_random_features" in read_checkpoint(tmp_path / "checkpoints/last.ckpt")["config"]["references"]
