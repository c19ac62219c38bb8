"""The plain twin of the release's step computes what this project computes."""

import pytest
import torch

from benchmarks.release_step import ReleaseNetwork, grid_sampled, total
from benchmarks.tasks import make_task, noise
from src.geometry import sample_boxes
from tests.factories import noise as drawn

PARTS = {
    "head.projector.": "heads.projector.",
    "head.predictor.": "heads.predictor.",
    "aux_head.projector.": "heads.aux_projector.",
    "aux_head.predictor.": "heads.aux_predictor.",
    "region_head.projector.": "heads.region_projector.",
    "region_head.predictor.": "heads.region_predictor.",
    "encoder.backbone.": "encoder.",
    "neck.laterals.": "laterals.",
}


@pytest.mark.parametrize("with_regions", [True, False])
def test_the_same_weights_give_the_same_losses_and_gradients(with_regions: bool) -> None:
    values = ["experiment=coco_seg", "data.root=none", "model.encoder.weights=null", "task.region_start=0"]
    task = make_task([*values, *([] if with_regions else ["task.loss_weights.region=0"])])
    batch = noise(3, 64)
    twin = ReleaseNetwork().train()
    names = {
        own: other + own.removeprefix(part)
        for own in task.network.state_dict()
        for part, other in PARTS.items()
        if own.startswith(part)
    }
    assert len(names) == len(task.network.state_dict())
    state = {names[own]: value.clone() for own, value in task.network.state_dict().items()}
    missing = twin.load_state_dict(state, strict=False).missing_keys
    assert all(name in ("mean", "std") or name.startswith("heads.region_") for name in missing)
    expected = twin(*batch["views"], with_regions)
    found, _ = task.compare(batch)
    assert set(found) == set(expected)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=2e-5, atol=2e-5)
    task.training_step(batch, 0)["loss"].backward()
    total(twin(*batch["views"], with_regions)).backward()
    theirs = dict(twin.named_parameters())
    for name, parameter in task.network.named_parameters():
        other = theirs[names[name]].grad
        assert (parameter.grad - other).norm() <= 1e-2 * other.norm() + 1e-6, name


def test_its_sampling_is_ours() -> None:
    boxes, x = torch.tensor([[0.8, 0.1, 0.1, 0.9], [0.0, 0.0, 1.0, 1.0]]), drawn(2, 3, 6, 6)
    torch.testing.assert_close(grid_sampled(x, boxes, 6), sample_boxes(x, boxes, (6, 6)), rtol=0, atol=1e-5)
