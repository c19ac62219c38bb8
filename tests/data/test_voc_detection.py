"""VOC's boxes: the conversion of their pixels, a user's own classes, and annotations that are not as expected."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from src.data import xml_files
from src.data.voc_detection import VOCImages
from src.images.reading import UnreadableFileError
from tests.data.detection_trees import OWN, annotation, object_xml, photograph, voc_data, voc_tree
from tests.detections import voc_classes
from tests.refusals import refusal

GOOD = annotation(object_xml("cat"), object_xml("dog", (1, 1, 60, 40), difficult=1), object_xml("bird", truncated=1))
BILLION = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">{}]><annotation>&j;</annotation>""".format(
    "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefghi", "bcdefghij", strict=True))
)
OUTSIDE = '<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><object><name>&x;</name></object></annotation>'


def one(root: Path, content: str | bytes) -> VOCImages:
    return VOCImages(voc_tree(root, {"val": {"a": content}}), ["val"], OWN)


def test_a_box_from_the_first_to_the_last_pixel_is_the_whole_image(tmp_path: Path) -> None:
    label = one(tmp_path, GOOD).objects(0)
    assert label["boxes"].tolist() == [[10, 10, 20, 20], [0, 0, 60, 40], [10, 10, 20, 20]]
    assert label["labels"].tolist() == [0, 1, 2]
    assert label["ignored"].tolist() == [False, True, False]  # neither mark is required; none means 0
    assert label["area"].tolist() == [100, 2400, 100]
    assert {name: value.dtype for name, value in label.items()} == {
        "boxes": torch.float32,
        "labels": torch.int64,
        "ignored": torch.bool,
        "area": torch.float32,
    }


def test_own_classes_and_batches(tmp_path: Path) -> None:
    data = voc_data(voc_tree(tmp_path, {"train": {"a": GOOD, "b": annotation(object_xml("dog"))}, "val": {"c": GOOD}}))
    data.setup("fit")
    assert [category.name for category in data.classes] == list(OWN)
    assert data.describe() == {"data": f"val of {tmp_path}", "images": 1, "classes": 3}
    (batch,) = data.val_dataloader()
    assert [image.shape for image in batch["image"]] == [(3, 40, 60)]
    assert batch["label"][0]["boxes"].tolist() == [[10, 10, 20, 20], [0, 0, 60, 40], [10, 10, 20, 20]]
    assert (batch["index"].tolist(), batch["unreadable"]) == ([0], [""])
    trained = list(data.train_dataloader())
    assert sorted(len(one["label"][0]["labels"]) for one in trained) == [1, 3]  # difficult ones are trained on
    assert all(one["image"][0].dtype == torch.uint8 for one in trained)


def test_years_below_vocdevkit(tmp_path: Path) -> None:
    root = voc_tree(
        tmp_path,
        {"VOC2007/trainval": {"a": GOOD}, "VOC2012/trainval": {"a": GOOD, "b": GOOD}, "VOC2007/test": {"c": GOOD}},
    )
    data = voc_data(root, train_splits=["VOC2007/trainval", "VOC2012/trainval"], val_split="VOC2007/test")
    assert [Path(data.train_image_name(k)).relative_to(root).as_posix() for k in range(3)] == [
        "VOC2007/JPEGImages/a.jpg",
        "VOC2012/JPEGImages/a.jpg",
        "VOC2012/JPEGImages/b.jpg",
    ]
    refusal(lambda: voc_data(root, val_split="test"), "there is no", "ImageSets/Main/test.txt", "data.root")
    refusal(lambda: voc_data(root, val_split="../other/test"), "leads out of")


def test_real_annotations(shared_data: Callable[[str], Path]) -> None:
    images = VOCImages(shared_data("voc2007det"), ["val"], voc_classes())
    labels = [images.objects(index) for index in range(len(images))]
    assert len(labels) == 110
    assert sum(len(label["labels"]) for label in labels) == 406
    counts = torch.bincount(torch.cat([label["labels"] for label in labels]), minlength=20)
    assert (counts[0], counts[14], counts[19]) == (9, 133, 9)  # as the table in its README


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no element found"),
        ("no XML at all", "syntax error"),
        ("<annotation><object>", "no element found"),
        (b"\xff\xd8\xff\xe0 a JPEG", "not well-formed"),
        ('<?xml version="1.0" encoding="nonsense"?><annotation/>', "unknown encoding"),
        (BILLION, "it has a DOCTYPE"),
        (OUTSIDE, "it has a DOCTYPE"),
        (OUTSIDE.encode("utf-16"), "it has a DOCTYPE"),
        ("<annotation>&x;</annotation>", "undefined entity"),
    ],
)
def test_what_is_no_xml_is_unreadable(tmp_path: Path, content: str | bytes, reason: str) -> None:
    images = one(tmp_path, content)
    with pytest.raises(UnreadableFileError) as caught:
        images.objects(0)
    assert reason in str(caught.value)
    assert "a.xml" in str(caught.value)
    assert "root:" not in str(caught.value)  # what /etc/passwd begins with


def test_large_and_deep_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nested(depth: int) -> str:
        return f"<annotation>{'<a>' * depth}{'</a>' * depth}{'<b/>' * 100}</annotation>"

    assert len(one(tmp_path, nested(31)).objects(0)["boxes"]) == 0
    for depth in (32, 100_000):
        deep = one(tmp_path, nested(depth))
        refusal(partial(deep.objects, 0), "more than 32 elements inside one another")
    large = one(tmp_path, annotation(object_xml()) + " " * 2**20)
    refusal(lambda: large.objects(0), "can't read the annotation", "more than 1 MiB")
    monkeypatch.setattr(xml_files, "MOST_BYTES", 100)
    refusal(lambda: one(tmp_path, GOOD).objects(0), "can't read the annotation", "more than")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("<html><object/></html>", ["begins with <html>", "expected <annotation>"]),
        (annotation(object_xml("zebra")), ["'zebra'", "3 classes cat, dog, bird", "data.classes=["]),
        (annotation("<object><bndbox/></object>"), ["an object called ''", "data.classes"]),
        (annotation(object_xml(box=(1, 2, 3))), ["'3', ''", "expected numbers in <bndbox>"]),
        (annotation(object_xml(box=(1, 2, 3, "four"))), ["'four'", "expected numbers"]),
        (annotation(object_xml(box=(1, 2, 3, "nan"))), ["the coordinate nan"]),
        (annotation(object_xml(box=(1, 2, 3, "1e300"))), ["the coordinate 1e+300"]),
        (annotation(object_xml(box=(1, 2, "inf", 3))), ["the coordinate inf"]),
        (annotation(object_xml(difficult="maybe")), ["<difficult>maybe", "0 or 1"]),
    ],
)
def test_wrong_objects_are_refused(tmp_path: Path, content: str, parts: list[str]) -> None:
    refusal(lambda: one(tmp_path, content).objects(0), "a.xml", *parts)


def test_an_annotation_of_another_size_is_refused(tmp_path: Path) -> None:
    data = voc_data(voc_tree(tmp_path, {"val": {"a": annotation(object_xml(), width=40, height=60)}}))
    refusal(lambda: next(iter(data.val_dataloader())), "40 x 60, it is 60 x 40", "the same size")
    unsaid = annotation(object_xml(), width=0, height=0)
    data = voc_data(voc_tree(tmp_path, {"val": {"a": unsaid}}))
    assert len(next(iter(data.val_dataloader()))["label"][0]["boxes"]) == 1


def test_missing_files_are_counted_and_named(tmp_path: Path) -> None:
    root = voc_tree(tmp_path, {"val": {"a": GOOD, "b": GOOD}})
    (root / "Annotations" / "b.xml").unlink()
    refusal(lambda: voc_data(root), "1 of the 2 annotations", "the first is that of b", "remove the names")
    (root / "JPEGImages" / "a.jpg").unlink()
    refusal(lambda: voc_data(root), "1 of the 2 images", "the first is that of a")
    photograph(root / "JPEGImages" / "a.png")
    (root / "Annotations" / "b.xml").write_text(GOOD)
    assert len(voc_data(root).val) == 2  # another suffix is found
    (root / "ImageSets" / "Main" / "val.txt").write_text("../../secret\n")
    refusal(lambda: voc_data(root), "expected a name relative")
    (root / "ImageSets" / "Main" / "val.txt").write_text("")
    refusal(lambda: voc_data(root), "is empty")


def test_boxes_outside_and_without_extent_are_left_out_with_one_warning(tmp_path: Path) -> None:
    bad = [object_xml(box=box) for box in ((30, 11, 29, 20), (100, 11, 120, 20), (50, 30, 90, 90))]
    data = voc_data(voc_tree(tmp_path, {"train": {"t": annotation(*bad)}, "val": {"a": annotation(*bad), "b": GOOD}}))
    with pytest.warns(UserWarning, match="2 boxes of the images to score lie outside of their image or have no extent"):
        data.setup("validate")
    kept = next(iter(data.val_dataloader()))["label"][0]["boxes"]
    assert kept.tolist() == [[49, 29, 90, 90]]  # as it is annotated: a score compares with the annotation
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    height, width = batch["image"][0].shape[1:]
    (box,) = batch["label"][0]["boxes"].tolist()
    assert 0 <= box[0] < box[2] <= width  # what is trained on ends at the edge
    assert 0 <= box[1] < box[3] <= height


def test_images_without_objects(tmp_path: Path) -> None:
    empty = annotation()
    data = voc_data(voc_tree(tmp_path, {"train": {"t": empty, "u": GOOD}, "val": {"a": empty, "b": GOOD}}))
    data.setup("fit")
    assert [len(batch["label"][0]["labels"]) for batch in data.val_dataloader()] == [0, 3]
    assert sorted(len(batch["label"][0]["labels"]) for batch in data.train_dataloader()) == [0, 3]
    none = voc_data(voc_tree(tmp_path / "none", {"val": {"a": empty}}))
    refusal(lambda: none.setup("validate"), "none of the 1 images to score", "has an object")


def test_classes_that_never_occur_are_named(tmp_path: Path) -> None:
    data = voc_data(voc_tree(tmp_path, {"val": {"a": annotation(object_xml("cat"))}}))
    with pytest.warns(UserWarning, match="2 of 3 classes never occur in the images to score: dog, bird"):
        data.setup("validate")


def test_skip_leaves_out_images_whose_annotation_cannot_be_read(tmp_path: Path) -> None:
    root = voc_tree(tmp_path, {"train": {"a": "none", "b": GOOD}, "val": {"c": "none", "d": GOOD}})
    (root / "JPEGImages" / "d.jpg").write_bytes(b"no image")
    data = voc_data(root, on_corrupt="skip")
    data.setup("fit")
    for batch in data.val_dataloader():
        assert "can't read the" in batch["unreadable"][0]
        assert batch["label"][0]["skipped"]
        assert len(batch["label"][0]["boxes"]) == 0
        assert not batch["image"][0].any()
    for batch in data.train_dataloader():
        assert len(batch["label"][0]["labels"]) == 3  # the objects are those of the image that is shown
        assert ("a.xml" in batch["unreadable"][0]) == (batch["index"].item() == 0)
    refusal(lambda: list(voc_data(root).val_dataloader()), "can't read the annotation", "c.xml")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"classes": "cat"}, ["data.classes is 'cat'", "[cat]"]),
        ({"classes": ["cat", "cat"]}, ["each name once"]),
        ({"train_splits": []}, ["data.train_splits"]),
        ({"val_split": 2007}, ["data.val_split is 2007"]),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, changes: dict[str, object], parts: list[str]) -> None:
    refusal(lambda: voc_data(voc_tree(tmp_path, {"val": {"a": GOOD}}), **changes), *parts)
