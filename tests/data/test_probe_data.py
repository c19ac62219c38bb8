"""Training on one data set and probing on another: who sees which images, and what is refused."""

import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from src.data.datamodule import ImageData
from src.data.labelled_folder import LabelledFolder
from src.data.probe_data import Probed, labelled_folder, own_labels, unscored
from tests.composing import CONF
from tests.factories import VIEWS, noise_image, paper
from tests.factories import unlabelled_data as unlabelled
from tests.refusals import refusal


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Five images without labels."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for index in range(5):
        noise_image(40, 30, index).save(folder / f"photograph{index}.png")
    return folder


def probed(data: ImageData, root: Path, train_splits: list[str] | str = ("train",), val_split: str = "val") -> Probed:
    return labelled_folder(data, str(root), train_splits, val_split)


def joined(loader: torch.utils.data.DataLoader, key: str) -> torch.Tensor:
    return torch.cat([batch[key] for batch in loader])


def test_it_trains_on_the_one_exactly_as_that_would(labelled_root: Path, photographs: Path) -> None:
    alone, data = unlabelled(photographs), probed(unlabelled(photographs), labelled_root)
    data.setup("fit")
    assert len(data.train) == 5
    first, second = alone.train_dataloader(), data.train_dataloader()
    assert len(first) == len(second) == 2
    for ours, theirs in zip(second, first, strict=True):
        assert torch.equal(ours["index"], theirs["index"])
        assert all(map(torch.equal, ours["views"], theirs["views"]))
    whole = [torch.cat(list(one.whole_train_dataloader(4, torch.Generator().manual_seed(0)))) for one in (alone, data)]
    assert torch.equal(*whole)


def test_it_is_scored_on_the_other_exactly_as_that_would(labelled_root: Path, photographs: Path) -> None:
    data = probed(unlabelled(photographs), labelled_root)
    loading = {"views": VIEWS, "protocol": paper(), "batch_size": 2, "num_workers": 0, "seed": 0}
    folder = LabelledFolder(str(labelled_root), ["train"], "val", on_corrupt="raise", **loading)
    assert data.classes == folder.classes
    for key in ("image", "label", "index"):
        assert torch.equal(joined(data.val_dataloader(), key), joined(folder.val_dataloader(), key))
    assert data.describe() == {
        "data": f"val of {labelled_root}",
        "images": 3,
        "classes": 3,
        "probes": f"linear (not matched) and k-means, fitted on 6 images, train of {labelled_root}",
    }


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("processes", [1, 2])
def test_the_probe_sees_all_its_images_in_order_in_every_process(
    labelled_root: Path, photographs: Path, processes: int, num_workers: int
) -> None:
    swapped = probed(unlabelled(photographs), labelled_root, ["val"], "train")
    data = probed(unlabelled(photographs, num_workers=num_workers), labelled_root)
    data.trainer = SimpleNamespace(global_rank=processes - 1, world_size=processes, training=False)
    batches = list(data.labelled_dataloader())
    assert set(batches[0]) == {"image", "label", "index", "unreadable"}
    assert joined(batches, "index").tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(joined(batches, "image"), joined(swapped.val_dataloader(), "image"))  # prepared as for scoring
    assert torch.equal(joined(batches, "label"), joined(swapped.val_dataloader(), "label"))
    assert set(joined(batches, "label").unique().tolist()) == {0, 1, 2, 255}


def test_images_of_several_sizes_come_one_by_one(labelled_root: Path, photographs: Path) -> None:
    data = probed(unlabelled(photographs, protocol=paper(side="own", crop=False)), labelled_root)
    assert {tuple(batch["label"].shape) for batch in data.labelled_dataloader()} == {(1, 40, 48), (1, 48, 40)}


def test_one_folder_for_both(labelled_root: Path, recwarn: pytest.WarningsRecorder) -> None:
    loading = {"views": VIEWS, "protocol": paper(), "batch_size": 2, "num_workers": 0, "seed": 0}
    folder = LabelledFolder(str(labelled_root), ["train"], "val", on_corrupt="raise", **loading)
    data = probed(folder, labelled_root)
    assert (len(data.train), len(data.val), len(data.labelled_dataloader().dataset)) == (6, 3, 6)


def test_files_both_trained_on_and_scored_are_named(labelled_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether their paths are relative or not."""
    monkeypatch.chdir(labelled_root.parent)
    data = probed(unlabelled(Path(labelled_root.name)), labelled_root)
    with pytest.warns(UserWarning, match=r"both trained on and scored: 3, such as .*scene6\.png"):
        data.setup("fit")
    shutil.move(labelled_root / "images", labelled_root / "elsewhere")
    shutil.copytree(labelled_root / "elsewhere", labelled_root / "images")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # other files of the same names
        probed(unlabelled(labelled_root / "elsewhere"), labelled_root).setup("fit")


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_an_unreadable_image_is_skipped_with_its_reason(labelled_root: Path, photographs: Path, kind: str) -> None:
    broken = labelled_root / kind / "train" / "scene3.png"
    broken.write_bytes(b"nothing")
    data = probed(unlabelled(photographs, "skip"), labelled_root)
    batches = list(data.labelled_dataloader())
    said = [fault for batch in batches for fault in batch["unreadable"]]
    assert [bool(fault) for fault in said] == [False, False, False, True, False, False]
    assert str(broken) in said[3]
    assert (joined(batches, "label")[3] == 255).all()
    refusal(lambda: list(probed(unlabelled(photographs), labelled_root).labelled_dataloader()), broken)


def test_what_is_missing_shows_at_once(labelled_root: Path, photographs: Path) -> None:
    data = unlabelled(photographs)
    refusal(lambda: probed(data, labelled_root / "absent"), "probe.root is", "absent", "images/<split>", "probe.root=")
    refusal(lambda: labelled_folder(data, None, ["train"], "val"), "probe.root is None")
    refusal(lambda: probed(data, labelled_root, "train"), "expected a list, 'probe.train_splits=[train]'")
    refusal(lambda: probed(data, labelled_root, ["train", "val"]), "[train,val]", "val_split val", "other splits")
    missing = labelled_root / "labels" / "train" / "scene2.png"
    missing.unlink()
    refusal(lambda: probed(data, labelled_root), missing, "1 of 6")
    shutil.rmtree(labelled_root / "images" / "train")
    refusal(lambda: probed(data, labelled_root), labelled_root / "images" / "train", "no such folder")


def test_too_few_images_to_train_on_are_refused_as_ever(labelled_root: Path, photographs: Path) -> None:
    for path in sorted(photographs.iterdir())[1:]:
        path.unlink()
    refusal(lambda: probed(unlabelled(photographs), labelled_root).setup("fit"), "batch_size is 2", "1 training images")


def test_the_config_makes_it(labelled_root: Path, photographs: Path) -> None:
    config = OmegaConf.load(CONF / "probe" / "labelled_folder.yaml")
    config.root = str(labelled_root)
    first = unlabelled(photographs)
    data = instantiate(config, data=first, _convert_="all")
    assert isinstance(data, Probed)
    assert data.views is first.views
    assert data.protocol is first.protocol
    assert [str(data.fitted_on), str(data.val)] == [f"train of {labelled_root}", f"val of {labelled_root}"]
    assert "_target_" not in OmegaConf.load(CONF / "probe" / "none.yaml")


def test_a_data_set_with_labels_can_be_probed_on_its_own(labelled_root: Path) -> None:
    loading = {"views": VIEWS, "protocol": paper(), "batch_size": 2, "num_workers": 0, "seed": 0}
    folder = LabelledFolder(str(labelled_root), ["train"], "val", on_corrupt="raise", **loading)
    data = own_labels(folder)
    assert (data.val, data.classes) == (folder.val, folder.classes)
    assert joined(data.labelled_dataloader(), "index").tolist() == [0, 1, 2, 3, 4, 5]
    assert (
        data.describe()["probes"] == f"linear (not matched) and k-means, fitted on 6 images, train of {labelled_root}"
    )


def test_own_labels_are_refused_where_there_are_none(labelled_root: Path, photographs: Path) -> None:
    refusal(lambda: own_labels(unlabelled(photographs)), "the data has no labels", "probe=labelled_folder")
    mixed = unlabelled(photographs)
    mixed.val, mixed.classes = probed(unlabelled(photographs), labelled_root).val, ()
    refusal(lambda: own_labels(mixed).labelled_dataloader(), "the training images have no labels")


def test_labels_can_be_hidden(labelled_root: Path) -> None:
    loading = {"views": VIEWS, "protocol": paper(), "batch_size": 2, "num_workers": 0, "seed": 0}
    folder = LabelledFolder(str(labelled_root), ["train"], "val", on_corrupt="raise", **loading)
    data = unscored(folder)
    assert (data.val, data.classes, data.val_dataloader()) == (None, (), [])
    assert folder.val is not None
    assert len(data.train_dataloader()) == 3
