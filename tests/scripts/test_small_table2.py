"""The small Table 2: four uses of each start, joined by one command."""

from pathlib import Path

from scripts.collect_tables import PUBLISHED
from src.results.tables.transfer import read_transfers
from tests.made_up_transfers import pretrained, rows_of, tuned
from tests.scripts.printing import Script


def test_the_small_table_2_joins_four_uses_of_each_start(script: Script, tmp_path: Path) -> None:
    uses = [("probe", "nyu13", 200), ("probe", "coco128", 40), ("fcn", "nyu13", 200), ("voc", "voc2007det", 110)]
    for seed in (0, 1, 2):
        simsiam = pretrained(tmp_path / f"simsiam{seed}", seed, grid_size=0)
        pixsim = pretrained(tmp_path / f"pixsim{seed}", seed, region=0)
        for place, (kind, data, images) in enumerate(uses):
            for name, start, score in (("random", None, 10), ("simsiam", simsiam, 20), ("pixsim", pixsim, 30)):
                if (name, kind) != ("pixsim", "fcn"):
                    weights = start and ("last.ckpt", start)
                    at = {"root": f"/data/{data}", "images": images}
                    tuned(tmp_path / f"{name}{seed}{place}", kind, score + place + seed, seed, weights, **at)
    tuned(tmp_path / "elsewhere", "fcn", 90.0, root="/data/camvid")
    tuned(tmp_path / "fewer", "fcn", 90.0, root="/data/nyu13", images=100)
    printed = script("--table", "small_table2", "--output", tmp_path / "tables", tmp_path)
    assert printed[2] == "## small_table2: what the start of a small encoder is worth on dense tasks"
    assert "published" not in printed[4]
    assert [cell.strip() for cell in printed[4].split("|")][-4:-1] == [
        *("pre-training steps", "pre-training total s", "pre-training peak GB"),
    ]
    rows = rows_of(printed, "small_table2: what the start")
    assert list(rows) == [row.name for row in read_transfers(PUBLISHED)["small_table2"].rows]
    ((_, setting, *cells),) = rows["SimSiam"]
    assert setting.startswith("pre-trained on imagenet for 500 steps (setting ")
    assert cells[:4] == ["21.0 ± 1.0", "22.0 ± 1.0", "23.0 ± 1.0", "25.0 ± 1.0"]  # AP50 is AP + 1 in made-up runs
    assert cells[5:] == ["500", "100 ± 0", "-"]
    assert rows["PixSim"][0][2:6] == ["31.0 ± 1.0", "32.0 ± 1.0", "not run", "35.0 ± 1.0"]
    assert rows["scratch"][0][2:6] == ["11.0 ± 1.0", "12.0 ± 1.0", "13.0 ± 1.0", "15.0 ± 1.0"]
    assert rows["scratch"][0][7:] == ["-", "-", "-"]
    assert rows["PixSim + RegionSim"][0][2:6] == ["not run"] * 4
    outside = f"{tmp_path / 'elsewhere'}, {tmp_path / 'fewer'}"
    assert f"- In no column, and the start of no other run: {outside}." in printed
    numbers = (tmp_path / "tables" / "small_table2.csv").read_text().splitlines()
    assert {line.split(",")[1] for line in numbers[1:]} == {"nyu13", "coco128", "voc2007det", "pre-training"}
    assert [line.rpartition("(setting ")[2][6:] for line in numbers if ",SimSiam," in line] == [
        '"probe, nyu13",mIoU,3,21,1,NA',
        '"probe, coco128",mIoU,3,22,1,NA',
        '"FCN, nyu13",mIoU,3,23,1,NA',
        '"Faster R-CNN, voc2007det",AP50,3,25,1,NA',
        "pre-training,steps,3,500,0,NA",
        "pre-training,total s,3,100,0,NA",
        "pre-training,peak GB,3,NA,NA,NA",
    ]
