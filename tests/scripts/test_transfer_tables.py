"""Made-up pre-training and fine-tuning runs, joined by hashes into Table 2 and into the AP columns of Table 4."""

from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import OmegaConf
from torchvision.models import get_model_weights, list_models, resnet

from scripts.collect_tables import PUBLISHED
from src.overrides import flat
from src.results.tables.published import read_tables
from src.results.tables.starts import SUPERVISED_WEIGHTS
from src.results.tables.transfer import read_transfers
from tests.composing import composed
from tests.made_up_transfers import pretrained, rows_of, tuned
from tests.scripts.printing import Script


def test_a_row_joins_three_tasks_from_one_start(script: Script, tmp_path: Path) -> None:
    hashed = pretrained(tmp_path / "pretraining")
    for seed, score in enumerate((50.0, 52.0, 54.0)):
        tuned(tmp_path / f"voc{seed}", "voc", score, seed, ("encoder.pth", hashed))
        tuned(tmp_path / f"voc_moved{seed}", "voc", 30.0, seed, root=f"/moved{seed}/voc")
    tuned(tmp_path / "coco", "coco", 36.0, 0, ("last.ckpt", hashed))
    tuned(tmp_path / "city", "cityscapes", 70.0, 0, "IMAGENET1K_V1")
    printed = script("--table", "table2", tmp_path)
    rows = rows_of(printed)
    assert list(rows) == [row.name for row in read_transfers(PUBLISHED)["table2"].rows]
    (ours,) = rows["DenseSiam"]
    assert ours[0] == "resnet50"
    assert ours[1].startswith("pre-trained on imagenet for 500 steps (setting ")
    coco, city, voc = ["36.0", "37.0", "38.0", "39.0", "40.0", "41.0"], ["not run"], ["52.0 ± 2.0", "53.0 ± 2.0"]
    assert ours[2:11] == [*coco, *city, *voc]
    assert ours[12] == "COCO 1: 0; VOC 3: 0, 1, 2"
    assert ours[13:] == ["36.8", "57.6", "39.8", "40.8", "60.7", "44.6", "77.0", "58.5", "82.9", "65.3"]
    (scratch,) = rows["scratch"]
    assert scratch[9] == "30.0 ± 0.0"
    (supervised,) = rows["supervised"]
    assert supervised[8:10] == ["70.0", "not run"]
    assert rows["MoCo v2"][0][:4] == ["-", "-", "not run", "not run"]
    assert not any("In no column" in line for line in printed)


def test_the_method_of_the_pretraining_decides_the_row(script: Script, tmp_path: Path) -> None:
    starts = {
        "SimSiam": ("a.pth", pretrained(tmp_path / "simsiam", grid_size=0)),
        "DenseSiam": ("b.pth", pretrained(tmp_path / "densesiam")),
        f"Pretrain of {tmp_path / 'other'}": ("c.pth", pretrained(tmp_path / "other", grid_size=3)),
    }
    for place, start in enumerate(starts.values()):
        tuned(tmp_path / f"run{place}", "voc", 50.0 + place, start=start)
    tuned(tmp_path / "moco", "voc", 60.0, start=("moco_v2.pth.tar", None))
    tuned(tmp_path / "unknown", "voc", 61.0, start=("last.ckpt", "hash of a run that is not here"))
    rows = rows_of(script("--table", "table2", tmp_path))
    assert [rows[name][0][9] for name in starts] == ["50.0", "51.0", "52.0"]
    (moco,) = (cells for name, (cells, *_) in rows.items() if name.startswith("moco_v2.pth.tar ("))
    assert moco[9] == "60.0"
    assert moco[-1] == "-"
    assert "a run that is not given (hash of , step 500)" in rows


def test_pretraining_runs_of_another_kind_are_never_averaged(script: Script, tmp_path: Path) -> None:
    for seed in (0, 1):  # of one setting, with the same seeds of fine-tuning
        hashed = pretrained(tmp_path / f"in1k{seed}", seed)
        tuned(tmp_path / f"voc{seed}", "voc", 50.0 + 2 * seed, 0, ("last.ckpt", hashed))
    tuned(tmp_path / "small", "voc", 40.0, 0, ("last.ckpt", pretrained(tmp_path / "coco128", data="coco128")))
    tuned(tmp_path / "eighteen", "voc", 30.0, 0, ("last.ckpt", "hash of in1k0"), encoder="resnet18")
    tuned(tmp_path / "faster", "voc", 20.0, 0, ("last.ckpt", "hash of in1k0"), lr=0.1)
    lines = rows_of(script("--table", "table2", tmp_path))["DenseSiam"]
    assert {(cells[0], cells[1].split(" (")[0], cells[9]) for cells in lines} == {
        ("resnet50", "pre-trained on imagenet for 500 steps", "51.0 ± 1.4"),
        ("resnet50", "pre-trained on coco128 for 500 steps", "40.0"),
        ("resnet18", "pre-trained on imagenet for 500 steps", "30.0"),
        ("resnet50", "pre-trained on imagenet for 500 steps", "20.0"),
    }
    assert [cells[1].rpartition(", ")[2] for cells in lines if cells[9] == "20.0"] == ["task.optimizer.lr=0.1"]


def test_other_data_have_tables_of_their_own(script: Script, tmp_path: Path) -> None:
    for name, kind in (("voc2007det", "voc"), ("nyu13", "fcn"), ("camvid", "fcn"), ("nyu13", "probe")):
        for start in (None, "pypi"):
            tuned(tmp_path / f"{name} {kind} {start}", kind, 20.0, 0, start, root=f"/data/{name}", images=150)
    printed = script("--table", "table2", tmp_path)
    assert all(cells[2:11] == ["not run"] * 9 for lines in rows_of(printed).values() for cells in lines)
    titles = [line.removeprefix("## table2: ") for line in printed if line.startswith("## ")][1:]
    assert titles == ["FCN on camvid", "FCN on nyu13", "Faster R-CNN on voc2007det", "dense probe on nyu13"]
    assert rows_of(printed, "table2: Faster R-CNN on voc2007det") == {
        name: [["resnet50", "20.0", "21.0", "22.0", "1: 0"]] for name in ("scratch", "supervised")
    }
    assert rows_of(printed, "table2: dense probe on nyu13")["scratch"] == [["resnet50", "20.0", "15.0", "15.0", "1: 0"]]


@pytest.mark.parametrize(
    ("kind", "changes", "section"),
    [
        ("cityscapes", {"data": {"num_classes": 27}}, "FCN on cityscapes"),
        ("cityscapes", {"protocol": {"side": 320}}, "FCN on cityscapes"),
        ("voc", {"protocol": {"metric": "voc2012"}}, "Faster R-CNN on voc"),
        ("voc", {"data": {"classes": ["cat", "dog"]}}, "Faster R-CNN on voc"),
        ("coco", {"protocol": {"metric": "voc2007"}}, "Mask R-CNN on coco"),
    ],
)
def test_runs_scored_by_another_definition_do_not_stand_beside_the_published_numbers(
    kind: str, changes: dict[str, Any], section: str, script: Script, tmp_path: Path
) -> None:
    tuned(tmp_path / "as the paper", kind, 50.0)
    tuned(tmp_path / "otherwise", kind, 60.0, **changes)
    printed = script("--table", "table2", tmp_path)
    (scratch,) = rows_of(printed)["scratch"]
    assert "50.0" in scratch
    assert "60.0" not in scratch
    assert rows_of(printed, f"table2: {section}")["scratch"][0][1] == "60.0"


def test_the_definitions_of_the_published_numbers_are_those_of_the_experiments(tmp_path: Path) -> None:
    groups = {group.name: group.row.values for group in read_transfers(PUBLISHED)["table2"].groups if group.images}
    found = {"COCO": "coco_mask_rcnn", "Cityscapes": "cityscapes_fcn", "VOC": "voc_faster_rcnn"}
    assert groups.keys() == found.keys()
    for name, experiment in found.items():
        config = OmegaConf.to_container(composed(tmp_path, f"experiment={experiment}"))
        own = flat(cast(dict[str, Any], config))
        assert {key: own.get(key) for key in groups[name]} == dict(groups[name])
    table4 = read_tables(PUBLISHED)["table4a"]
    assert {**table4.tuned, **table4.comparable} == dict(groups["VOC"])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"protocol": {"metric": "coco"}}, 'protocol.metric is "coco" instead of "voc2007"'),
        ({"images": 110}, "110 images are scored instead of 4952"),
    ],
)
def test_table_4_has_only_ap_as_the_published_one(
    changes: dict[str, Any], why: str, script: Script, tmp_path: Path
) -> None:
    hashed = pretrained(tmp_path / "seven", region=0)
    tuned(tmp_path / "voc0", "voc", 50.0, 0, ("encoder.pth", hashed))
    tuned(tmp_path / "voc1", "voc", 90.0, 1, ("encoder.pth", hashed), **changes)
    printed = script("--table", "table4a", tmp_path)
    assert rows_of(printed, "table4a")["7"][0][3] == "50.0"
    assert f"- Not scored as the published AP, {why}: {tmp_path / 'voc1'}." in printed


def test_strangers_and_repetitions_are_named(script: Script, tmp_path: Path) -> None:
    pretrained(tmp_path / "unused")
    tuned(tmp_path / "a", "voc", 20.0)
    tuned(tmp_path / "b", "voc", 21.0)
    printed = script("--table", "table2", "--output", tmp_path / "tables", tmp_path)
    assert f"- In no column, and the start of no other run: {tmp_path / 'unused'}." in printed
    assert f"- {tmp_path / 'a'} is left out: a later run has the same start, setting and seed." in printed
    assert rows_of(printed)["scratch"][0][8] == "21.0"
    numbers = (tmp_path / "tables" / "table2.csv").read_text().splitlines()
    assert numbers[0] == "table,data,start,encoder,setting,group,score,runs,mean,sd,published"
    assert "table2,of the paper,scratch,resnet50,,VOC,AP,1,21,NA,32.8" in numbers
    assert "table2,of the paper,PixPro,NA,,COCO,mask AP,0,NA,NA,36.6" in numbers


def test_table_4_has_the_ap_of_its_pretraining_runs(script: Script, tmp_path: Path) -> None:
    for seed in (0, 1):
        hashed = pretrained(tmp_path / f"seven{seed}", seed, region=0)
        for trial in (0, 1):
            tuned(tmp_path / f"voc{seed}{trial}", "voc", 50.0 + 2 * seed, trial, ("encoder.pth", hashed))
    pretrained(tmp_path / "zero", grid_size=0, region=0)
    tuned(tmp_path / "scratch", "voc", 30.0)
    printed = script("--table", "table4a", tmp_path)
    rows = rows_of(printed, "table4a")
    assert rows["7"][0][3:6] == ["51.0 ± 1.2", "52.0 ± 1.2", "53.0 ± 1.2"]
    assert rows["0"][0][3:6] == ["-", "-", "-"]
    assert f"- Fine-tuned from a start that is in no row: {tmp_path / 'scratch'}." in printed
    assert not any("In no row" in line for line in printed)


def test_fine_tunings_of_different_settings_are_not_averaged_in_table_4(script: Script, tmp_path: Path) -> None:
    hashed = pretrained(tmp_path / "seven", region=0)
    for lr in (0.02, 0.1):
        tuned(tmp_path / f"voc{lr}", "voc", 50.0, 0, ("encoder.pth", hashed), lr=lr)
    printed = script("--table", "table4a", tmp_path)
    assert rows_of(printed, "table4a")["7"][0][3:6] == ["-", "-", "-"]
    assert any(line.startswith("- Row 7: AP is left out, because its fine-tuning runs differ (") for line in printed)


def test_two_files_with_the_same_weights_are_one_trial(script: Script, tmp_path: Path) -> None:
    hashed = pretrained(tmp_path / "seven", region=0)
    for place, name in enumerate(("encoder.pth", "last.ckpt")):
        tuned(tmp_path / f"voc{place}", "voc", 50.0 + place, 0, (name, hashed))
    remark = f"- {tmp_path / 'voc0'} is left out: a later run has the same start, setting and seed."
    printed = script("--table", "table2", tmp_path)
    assert rows_of(printed)[f"Pretrain of {tmp_path / 'seven'}"][0][9] == "51.0"
    assert remark in printed
    printed = script("--table", "table4a", tmp_path)
    assert rows_of(printed, "table4a")["7"][0][3] == "51.0"
    assert remark in printed


@pytest.mark.parametrize(("step", "told"), [(250, "step 250 of 500"), (None, "an unknown step of 500")])
def test_weights_of_another_step_have_a_line_of_their_own(
    step: int | None, told: str, script: Script, tmp_path: Path
) -> None:
    hashed = pretrained(tmp_path / "seven", region=0)
    tuned(tmp_path / "end", "voc", 50.0, 0, ("last.ckpt", hashed))
    tuned(tmp_path / "amid", "voc", 40.0, 1, ("epoch100.ckpt", hashed), step=step)
    printed = script("--table", "table2", tmp_path)
    lines = rows_of(printed)[f"Pretrain of {tmp_path / 'seven'}"]
    assert sorted((cells[1].rpartition(")")[2], cells[9]) for cells in lines) == [
        ("", "50.0"),
        (f", weights of {told}", "40.0"),
    ]
    printed = script("--table", "table4a", "--output", tmp_path / "tables", tmp_path)
    end, amid = rows_of(printed, "table4a")["7"]
    assert (end[0], end[4], end[-6:-4]) == ("-", "50.0", ["500", "1: 0"])
    assert amid[:5] == [f"AP from weights of {told}", "-", "-", "-", "40.0"]
    assert amid[-6:-4] == ["-", "-"]
    assert not any("left out" in line for line in printed)
    numbers = (tmp_path / "tables" / "table4a.csv").read_text().splitlines()
    assert f"table4a,7,AP from weights of {told},0,NA,NA,NA,NA,NA,NA,NA,NA,40,NA,41,NA,42,NA," in "\n".join(numbers)


def test_weights_of_a_run_that_is_not_given_are_one_start_in_any_file(script: Script, tmp_path: Path) -> None:
    for seed, (name, step) in enumerate((("a.pth", 500), ("last.ckpt", 500), ("epoch1.ckpt", 100))):
        tuned(tmp_path / f"voc{seed}", "voc", 50.0 + 2 * seed, seed, (name, "0123456789"), step=step)
    rows = rows_of(script("--table", "table2", tmp_path))
    found = {name: cells[0][8] for name, cells in rows.items() if name.startswith("a run")}
    assert found == {
        "a run that is not given (01234567, step 500)": "51.0 ± 1.4",
        "a run that is not given (01234567, step 100)": "54.0",
    }


def test_weights_replace_those_of_the_encoder(script: Script, tmp_path: Path) -> None:
    weights = ("last.ckpt", pretrained(tmp_path / "densesiam"))
    tuned(tmp_path / "voc", "voc", 50.0, 0, "IMAGENET1K_V1", weights=weights)
    rows = rows_of(script("--table", "table2", tmp_path))
    assert rows["DenseSiam"][0][9] == "50.0"
    assert rows["supervised"][0][0] == "-"


@pytest.mark.parametrize("name", ["IMAGENET1K_V1", "IMAGENET1K_V2", "pypi", "timm", "IMAGENET1K_MADE_UP"])
def test_only_known_names_stand_for_supervised_weights(name: str, script: Script, tmp_path: Path) -> None:
    tuned(tmp_path / "voc", "voc", 50.0, 0, name)
    rows = rows_of(script("--table", "table2", tmp_path))
    row = "supervised" if name in SUPERVISED_WEIGHTS else f"{name} resnet50"
    assert [first for first, cells in rows.items() if cells[0][0] == "resnet50"] == [row]


def test_every_name_of_torchvisions_resnets_is_known() -> None:
    names = {each for name in list_models(module=resnet) for each in get_model_weights(name).__members__}
    assert {name for name in names if name.startswith("IMAGENET1K_")} <= set(SUPERVISED_WEIGHTS)


def test_the_published_numbers_are_the_papers() -> None:
    table = read_transfers(PUBLISHED)["table2"]
    assert len(table.rows) == 11
    assert [len(row.published) for row in table.rows] == [10] * 11
    by_name = {row.name: row.published for row in table.rows}
    assert by_name["scratch"] == [29.9, 47.9, 32.0, 32.8, 50.9, 35.3, 63.5, 32.8, 59.0, 31.6]
    assert by_name["DenseSiam"] == [36.8, 57.6, 39.8, 40.8, 60.7, 44.6, 77.0, 58.5, 82.9, 65.3]
