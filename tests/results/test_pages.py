"""Pages about runs: what is on them, escaping, and that nothing outside of them is needed."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from src.results.pages.charts import Point, curves, swept
from src.results.pages.compare_page import compare_page, names_of, side_by_side
from src.results.pages.rendering import number, percent, shown
from src.results.pages.run_page import run_page
from src.results.pages.sections import class_bars, confusion, matched_of
from src.results.pages.series import Chart, Line, groups, read_lines, thinned
from src.results.pages.sweep_page import sweep_page
from src.results.runs import Run, read_run
from src.results.sweeps import read_sweep
from src.training.csv_rows import read_rows
from tests.refusals import refusal
from tests.run_folders import MATCHED, NAMES, document, gallery, write_run, write_sweep

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>${x}$y$ {{ 7*7 }} </style>"
VOID = {"meta", "link", "img", "path", "use", "rect"}


class Elements(HTMLParser):
    """The tags of a page with their attributes, and its text; fails on tags that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def rows_of(run: Run) -> list[dict[str, str]]:
    return read_rows(run.folder / "csv" / "metrics.csv")[1]


@pytest.fixture
def labelled(tmp_path: Path) -> Run:
    return read_run(write_run(tmp_path / "labelled", document()))


def made(run: Run, **options: Any) -> Elements:
    return Elements(run_page(run, rows_of(run), options.get("gallery", gallery()), options.get("remark", "")))


def test_a_labelled_run_has_every_section(labelled: Run) -> None:
    page = made(labelled)
    links = [one["href"] for one in page.named("a")]
    wanted = ["scores", "classes", "confusion", "gallery", "clusters", "curves", "cost", "environment", "config"]
    assert links == ["#main", *(f"#{name}" for name in wanted)]
    assert [one["id"] for one in page.named("section")] == wanted
    text = " ".join(page.text.split())
    assert "mIoU 40.0 % after training (95 % interval 38.5 to 41.5)" in text
    assert "data: 3 photographs; matching: hungarian" in text
    assert "3 of 9 images, from the best IoU to the worst" in text
    assert "No pixel has this cluster" in text
    assert "model.num_categories" in text


def test_a_run_without_labels_has_no_scores(tmp_path: Path) -> None:
    page = made(read_run(write_run(tmp_path / "run", document(labelled=False))))
    assert [one["id"] for one in page.named("section")][:3] == ["gallery", "clusters", "curves"]
    assert "consistency 0.500" in " ".join(page.text.split())


def test_without_a_gallery_the_page_says_why(labelled: Run) -> None:
    page = made(labelled, gallery=None, remark="There are no pictures: the data is gone.")
    assert page.text.count("There are no pictures: the data is gone.") == 1
    assert page.named("img") == []
    assert "gallery" not in [one["id"] for one in page.named("section")]


def outside(page: Elements) -> Iterator[str]:
    """Every address on a page that is neither a place on it nor data inside of it."""
    for tag, attributes in page.found:
        for name in ("href", "src", "xlink:href", "action", "srcset"):
            address = attributes.get(name) or ""
            if address and not address.startswith(("#", "data:")):
                yield f"{tag} {address}"


def pages(folder: Path, **changes: Any) -> dict[str, str]:
    """One page of each kind, with these changes of the runs' documents."""
    runs = [read_run(write_run(folder / name, document(**changes))) for name in ("one", "two")]
    rows = [rows_of(run) for run in runs]
    return {
        "run": run_page(runs[0], rows[0], gallery(), ""),
        "compare": compare_page(runs, rows, [gallery(), gallery()], ""),
        "sweep": sweep_page(read_sweep(write_sweep(folder / "sweep"))),
    }


def test_pages_need_nothing_outside_and_have_alternative_texts(tmp_path: Path) -> None:
    for page in map(Elements, pages(tmp_path).values()):
        assert list(outside(page)) == []
        assert all(one["alt"] for one in page.named("img"))
        assert all(one["role"] == "img" and one["aria-label"] for one in page.named("svg"))
        ids = [attributes["id"] for tag, attributes in page.found if "id" in attributes and tag not in ("clippath",)]
        kept = [one for one in ids if one and not re.fullmatch(r"[mp][0-9a-f]{10}", one)]  # markers of equal charts
        assert len(kept) == len(set(kept))


def test_text_of_strangers_is_text(tmp_path: Path) -> None:
    """Class names, file names, config values, columns of the metrics, labels of rows, names of folders."""
    classes = [{"name": EVIL, "kind": "stuff"}, *MATCHED["classes"][1:]]
    config = {EVIL: EVIL, "seed": 0, "model": {"num_categories": EVIL}}
    parts = {"matched": MATCHED | {"classes": classes}, "config": config, "protocol": {EVIL: EVIL}}
    scores = {"scores": {EVIL: {"mIoU": 3.0}, "after training": {"mIoU": 4.0, EVIL: EVIL}}, "label_free": {EVIL: EVIL}}
    place = tmp_path / "<script>alert(3)<"
    content = document(**parts, **scores, environment={EVIL: EVIL}, cost={"steps": EVIL, EVIL: [EVIL]})
    runs = [read_run(write_run(place / name, content)) for name in ("a", "b")]
    rows = [{"step": "1", f"loss/{EVIL}": "1.5", EVIL: "2", f"{EVIL}/mIoU": "3"}]
    pictures = gallery((EVIL, *NAMES[1:]), (EVIL, "b.jpg"))
    swept_folder = tmp_path / "sweep"
    for number_, value in enumerate((EVIL, "other")):
        quoted = value.replace("'", "\\'")
        write_run(swept_folder / str(number_), document(), [f"data.value='{quoted}'"])
    made_from_it = {
        run_page(runs[0], rows, pictures, EVIL): 1,
        compare_page(runs, [rows, rows], [pictures, pictures], EVIL): 0,
        sweep_page(read_sweep(swept_folder)): 0,
    }
    for text, own_scripts in made_from_it.items():
        page = Elements(text)
        assert len(page.named("script")) == own_scripts
        assert all(str(one["src"]).startswith("data:image/") for one in page.named("img"))
        assert not [attributes for _, attributes in page.found if any(name.startswith("on") for name in attributes)]
        assert "<script>alert(1)</script>" in page.text
        assert "{{ 7*7 }}" in page.text


def test_bars_and_matrix_follow_the_matching(labelled: Run) -> None:
    matched = matched_of(labelled)
    assert matched is not None
    assert [(bar.name, round(bar.score or 0, 1), bar.share) for bar in class_bars(labelled)] == [
        ("water", 54.5, 40.0),
        ("sky", 53.3, 40.0),
        ("ball", 30.8, 20.0),
    ]
    matrix = confusion(matched)
    assert list(matrix.columns) == [*NAMES, "no class"]
    assert matrix.rows[0][1] == [80.0, 10.0, 5.0, 5.0]


def test_a_damaged_matching_is_refused(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", document(matched={"head": "main"})))
    refusal(lambda: run_page(run, [], None, ""), "matching of clusters to classes", "is damaged")


def test_curves_are_sorted_into_subjects_over_epochs(labelled: Run) -> None:
    found = groups(read_lines(rows_of(labelled), (20, 2)))
    assert [group.title for group in found] == ["Scores during training", "Losses", "Label-free metrics"]
    (score,) = found[0].charts
    assert score == Chart("mIoU (%)", [Line("densesiam", [0.0, 1.0, 2.0], [12.0, 30.0, 40.0])])
    assert found[1].charts[0].lines[0].x == [0.0, 1.0, 2.0]
    assert groups(read_lines(rows_of(labelled), None))[0].charts[0].lines[0].x == [0, 9, 19]


def test_values_that_are_not_numbers_are_left_out() -> None:
    rows = [{"step": "1", "a": "nan"}, {"step": "2", "a": "x"}, {"step": "3", "a": "4"}, {"a": "5"}]
    assert read_lines(rows, None) == {"a": Line("a", [3.0], [4.0])}


@pytest.mark.parametrize("count", [0, 1, 2, 399, 400, 401, 100_000])
def test_long_curves_are_thinned_and_keep_their_ends(count: int) -> None:
    found = thinned(list(range(count)))
    assert len(found) <= 401
    assert found[:1] == list(range(count))[:1]
    assert found[-1:] == list(range(count))[-1:]


def test_charts_tell_in_words_what_they_show() -> None:
    chart = Chart("spread", [Line("dense", [0, 1, 2], [1.0, 0.5, 0.75]), Line("level", [0], [0.3])])
    drawn = str(curves(chart, "epoch"))
    assert 'aria-label="spread: dense from 1 to 0.75, lowest 0.5, highest 1; level 0.3"' in drawn
    assert drawn.count("<text") >= 4
    assert "DejaVu" not in drawn
    points = [Point(0, 20, 18, 22), Point(1, 30, 30, 30)]
    assert 'aria-label="mIoU over K: 2: 20; many: 30"' in str(swept("K", "mIoU", {"": points}, ["2", "many"]))
    assert "over K: 2: 20; 200: 30" in str(
        swept("K", "mIoU", {"": [points[0]._replace(x=2), points[1]._replace(x=200)]}, None)
    )


def test_a_comparison_warns_of_other_protocols_and_shows_differences(tmp_path: Path) -> None:
    one = read_run(write_run(tmp_path / "x" / "one", document()))
    config = {"seed": 1, "data": {"batch_size": 4}, "model": {"num_categories": 4}}
    two = read_run(write_run(tmp_path / "x" / "two", document(protocol={"data": "others"}, config=config)))
    page = Elements(compare_page([one, two], [rows_of(one), rows_of(two)], [None, None], "No pictures."))
    assert names_of([one, two]) == ["one", "two"]
    assert "can't be compared" in page.text
    assert "seed" in page.text
    assert "data.batch_size" not in page.text


def test_images_that_both_galleries_have_are_side_by_side() -> None:
    first, second = gallery(), gallery(images=("b.jpg", "d.jpg"))
    assert [(name, list(found)) for name, found in side_by_side(["one", "two"], [first, second])] == [
        ("b.jpg", ["image", "label", "one, IoU 50.0 %", "two, IoU 60.0 %"])
    ]
    assert side_by_side(["one", "two"], [first, None]) == []


def test_a_sweep_has_its_table_and_a_plot(tmp_path: Path) -> None:
    page = Elements(sweep_page(read_sweep(write_sweep(tmp_path))))
    text = " ".join(page.text.split())
    assert "41.0 ± 1.4 (2 seeds)" in text
    assert "3 finished jobs, 3 failed or stopped" in text
    assert [one["aria-label"] for one in page.named("svg")] == ["mIoU (%) over model.num_categories: 2: 20; 4: 41"]


@pytest.mark.parametrize(("others", "lines"), [(2, 2), (9, 0)])
def test_other_swept_values_get_lines_of_their_own(others: int, lines: int, tmp_path: Path) -> None:
    """Unless they are too many for a legend."""
    for size in (2, 4):
        for other in range(others):
            config = {"seed": 0, "model": {"num_categories": size}, "task": {"weight": other}}
            overrides = [f"model.num_categories={size}", f"task.weight={other}"]
            write_run(tmp_path / f"{size}_{other}", document(config=config), overrides)
    drawn = Elements(sweep_page(read_sweep(tmp_path))).named("svg")
    assert [str(one["aria-label"]).partition(":")[0] for one in drawn] == [
        "mIoU (%) over model.num_categories",
        "mIoU (%) over task.weight",
    ]
    assert str(drawn[0]["aria-label"]).count("task.weight=") == 2 * lines


def test_a_sweep_without_finished_jobs_is_a_table_of_failures(tmp_path: Path) -> None:
    for job in write_sweep(tmp_path).iterdir():
        (job / "scores.json").unlink(missing_ok=True)
    page = Elements(sweep_page(read_sweep(tmp_path)))
    assert page.named("svg") == []
    assert "failed or stopped: job0, job1" in page.text


def test_numbers_as_text() -> None:
    assert [number(value) for value in (1.25, 1234.5, None, float("nan"), "x", True)] == ["1.2", "1,234.5", *"––––"]
    assert [percent(value) for value in (0.0, 0.01, 99.96)] == ["0.0 %", "below 0.1 %", "100.0 %"]
    assert [shown(value) for value in (None, 1.23456, 123456.7, 910288, 1999, ["a", 0.5], True, {"a": 1})] == [
        "–",
        "1.235",
        "123,457",
        "910,288",
        "1999",
        "a, 0.5",
        "True",
        "{'a': 1}",
    ]
