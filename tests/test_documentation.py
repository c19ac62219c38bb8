"""The documentation builds without network, and what it says about values, functions and pictures is so."""

import importlib
import logging
import re
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from scripts.document_values import Value, descriptions, explained, files, mathml, read, undescribed, values_page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PENDING = [page for page in ("predicting.md", "report.md", "exporting.md") if not (DOCS / page).is_file()]


def test_every_value_is_described() -> None:
    assert undescribed(files()) == []


def test_every_option_of_a_group_is_described() -> None:
    assert [f"{each.group}/{each.name}" for each in files() if not each.comment] == []


def test_descriptions_are_more_than_a_word() -> None:
    assert {name: text for name, text in descriptions(files()).items() if len(text.split()) < 3} == {}


def test_a_value_without_a_comment_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "train.yaml").write_text("# a command\nseed: 0 # the seed of all\nsteps: 3\n")
    (tmp_path / "experiment" / "one.yaml").write_text("# @package _global_\n# one run\nseed: 1\nsize: 2\n")
    assert undescribed(files(tmp_path)) == [
        "conf/train.yaml: steps",
        "conf/experiment/one.yaml: size",
    ]


def test_a_config_file_is_read_with_its_comments(tmp_path: Path) -> None:
    (tmp_path / "data" / "views").mkdir(parents=True)
    path = tmp_path / "data" / "views" / "crops.yaml"
    path.write_text(
        "# Two crops\n# of an image.\ndefaults: [base]\n_target_: src.Crops\nsize: 32 # side, in pixels\n"
        "name: 'a # b'\n"
        "colour: # change of colours\n  _target_: src.Colour\n  # how much\n  # it changes\n  hue: [0.1, 0.2]\n"
        "plugins: # what is added\n  - _target_: src.x.One\n  - _target_: src.x.Two\n"
    )
    found = read(path, tmp_path)
    assert (found.group, found.name, found.comment) == ("data/views", "crops", "Two crops of an image.")
    assert found.values == [
        Value("data.views.size", "32", "side, in pixels"),
        Value("data.views.name", "'a # b'", ""),
        Value("data.views.colour", "Colour", "change of colours"),
        Value("data.views.colour.hue", "[0.1, 0.2]", "how much it changes"),
        Value("data.views.plugins", "One, Two", "what is added"),
    ]


@pytest.mark.parametrize(
    ("comment", "shown"),
    [
        ("No probes_at all.", r"No probes\_at all."),
        ("python -m src.train a_b=1      one run", "one run<br>`python -m src.train a_b=1`"),
    ],
)
def test_the_command_in_a_comment_stands_below_what_it_does(comment: str, shown: str) -> None:
    assert explained(comment) == shown


def test_the_page_has_every_value_and_every_option() -> None:
    page = values_page()
    shown = set(re.findall(r"^\| `([^`]+)` \|", page, re.M))
    changing = ("experiment", "ablation", "sweep", "debug")
    configs = files()
    values = {value.name for each in configs if each.group not in changing for value in each.values}
    assert {each.name for each in configs if each.group} <= shown
    assert {name for name in values if not name.startswith("hydra.")} <= shown
    assert len(values) > 150


def named_objects() -> list[str]:
    return sorted(set(re.findall(r"`(src(?:\.\w+)+)`", (DOCS / "method.md").read_text(encoding="utf-8"))))


@pytest.mark.parametrize("name", named_objects())
def test_every_function_of_the_method_exists(name: str) -> None:
    parts = name.split(".")
    depth = max(i for i in range(1, len(parts)) if ROOT.joinpath(*parts[:i]).with_suffix(".py").is_file())
    found = reduce(getattr, parts[depth:], importlib.import_module(".".join(parts[:depth])))
    assert callable(found)


def test_every_equation_of_the_paper_is_there() -> None:
    page = (DOCS / "method.md").read_text(encoding="utf-8")
    assert [number for number in range(1, 9) if rf"\quad ({number})$$" not in page] == []
    assert len(named_objects()) >= 30


def test_an_equation_becomes_mathml() -> None:
    assert mathml(r"\frac{1}{N}", is_block=False).startswith("<math")
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><mi>N</mi></mrow></mfrac>" in mathml(r"\frac{1}{N}", is_block=True)


@pytest.mark.slow
def test_the_site_builds_strictly_and_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if PENDING:
        pytest.skip(f"docs/ has no {', '.join(PENDING)} yet")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    logging.getLogger("mkdocs").setLevel(logging.WARNING)
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path)))  # strict: a warning is an error
    pages = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.html")}
    assert len(pages) >= 15
    for page in pages.values():
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]+)|<link[^>]*stylesheet[^>]* href="([^"]+)', page)
        assert [each for pair in loaded for each in pair if each.startswith(("http", "//"))] == []
        assert 'class="arithmatex"' not in page
    assert pages["method.html"].count("<math") > 30
    assert "data.views.colour.hue" in pages["values.html"]


def pixels(path: Path) -> NDArray[np.float64]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(float)


def test_the_picture_of_the_views_is_what_the_script_draws(tmp_path: Path) -> None:
    from scripts.draw_pictures import save, views_picture

    save(views_picture(), tmp_path / "views.png")
    drawn, kept = pixels(tmp_path / "views.png"), pixels(DOCS / "pictures" / "views.png")
    assert drawn.shape == kept.shape
    assert np.abs(drawn - kept).mean() < 1  # of 255: another version may draw letters a little differently


@pytest.mark.slow
def test_pictures_of_a_training_show_every_epoch_that_is_kept(tmp_path: Path) -> None:
    from scripts.draw_pictures import EPOCHS, SHOWN, SIDE, maps_picture, save, trained, training_picture

    clusters = trained("debug=tiny", "data.train_scenes=8", "trainer.fast_dev_run=false", "trainer.max_epochs=1")
    assert sorted(clusters) == [0, 1]
    assert set(clusters) < set(EPOCHS)
    assert all(maps.shape == (len(SHOWN), SIDE, SIDE) and maps.max() < 8 for maps in clusters.values())
    for name, figure in (("training", training_picture(clusters)), ("maps", maps_picture(clusters[1]))):
        save(figure, tmp_path / f"{name}.png")
        assert pixels(tmp_path / f"{name}.png").shape[1:] == (792, 3)


def test_the_code_that_loads_an_exported_backbone_into_a_detector_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import resnet50

    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "backbones.md").read_text(encoding="utf-8"), re.S)
    encoder = {name: value for name, value in resnet50().state_dict().items() if not name.startswith("fc.")}
    torch.save(encoder, tmp_path / "encoder.pth")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)  # the page's own lines
    assert str(names["missing"]) == "<All keys matched successfully>"
