"""Pages in headless Chromium: errors, requests, the filter, the keyboard, and widths of a phone and of a screen."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from src.results.pages.compare_page import compare_page
from src.results.pages.run_page import run_page
from src.results.pages.sweep_page import sweep_page
from src.results.runs import read_run
from src.results.sweeps import read_sweep
from tests.run_folders import MATCHED, document, gallery, write_run, write_sweep

CHROMIUM = shutil.which("chromium")
EVIL = "<script>document.title='run'</script><img src=https://example.org/x onerror=\"document.title='run'\">"
LONG = "a_very_long_name_without_any_place_to_break_" * 3
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine: apt-get install chromium"),
    # asyncio's subprocess transport of playwright is closed by the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind, with long names and names that try to run a script."""
    folder = tmp_path_factory.mktemp("pages")
    classes = [{"name": EVIL, "kind": "stuff"}, {"name": LONG, "kind": "stuff"}, MATCHED["classes"][2]]
    config = {"seed": 0, "model": {"num_categories": 4}, "data": {"root": f"/{LONG}", "list": EVIL}}
    content = document(matched=MATCHED | {"classes": classes}, config=config, protocol={"data": LONG})
    runs = [read_run(write_run(folder / name, content)) for name in ("one", "two")]
    rows = [{"step": str(step), f"loss/{LONG}": str(1 / step), f"{EVIL}/mIoU": str(step)} for step in range(1, 9)]
    pictures = gallery((EVIL, LONG, "ball"), (f"{LONG}.jpg", EVIL, "c.jpg"))
    texts = {
        "run": run_page(runs[0], rows, pictures, ""),
        "compare": compare_page(runs, [rows, rows], [pictures, pictures], ""),
        "sweep": sweep_page(read_sweep(write_sweep(folder / "sweep"))),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.fixture
def opened(browser: Any, files: dict[str, Path]) -> Iterator[Any]:
    """Opens a page in a window of a width; at the end, nothing may have gone wrong, and nothing was requested."""
    faults: list[str] = []
    pages = []

    def show(name: str, width: int = 1280) -> Any:
        page = browser.new_page(viewport={"width": width, "height": 800})
        pages.append(page)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        own = (files[name].as_uri(), "data:")
        page.on("request", lambda request: None if request.url.startswith(own) else faults.append(request.url))
        page.goto(files[name].as_uri())
        return page

    yield show
    assert faults == []
    assert all(page.title() != "run" for page in pages)
    for page in pages:
        page.close()


@pytest.mark.parametrize("name", ["run", "compare", "sweep"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_window(name: str, width: int, opened: Any) -> None:
    page = opened(name, width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    small = "[...document.querySelectorAll('main *')].filter(e => e.children.length == 0 && e.textContent.trim()"
    small += " && !e.closest('svg') && parseFloat(getComputedStyle(e).fontSize) < 12).map(e => e.textContent)"
    assert page.evaluate(small) == []
    texts = "[...document.querySelectorAll('svg text')].map(e => e.getBoundingClientRect().height)"
    assert min(page.evaluate(texts)) >= 9
    assert page.evaluate("[...document.images].every(e => e.alt)")
    page.evaluate("document.querySelectorAll('img').forEach(e => e.loading = 'eager')")
    page.wait_for_function("[...document.images].every(e => e.naturalWidth > 0)", timeout=5000)


def visible(page: Any) -> list[str]:
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('#images > li')].filter(e => e.offsetParent).map(e => e.dataset.groups)"
    )
    return found


def test_the_filter_and_the_order_work_by_keyboard(opened: Any) -> None:
    page = opened("run")
    assert visible(page) == ["0", "0 1", "0 2"]
    assert page.inner_text("#count") == "3 of 3 images"
    page.focus("#group")
    page.keyboard.press("End")  # the last class
    assert visible(page) == ["0 2"]
    assert page.inner_text("#count") == "1 of 3 images"
    page.keyboard.press("Home")
    page.focus("#order")
    page.keyboard.press("ArrowDown")
    assert visible(page) == ["0 2", "0 1", "0"]


def test_everything_is_reached_by_tab_and_shows_its_focus(opened: Any) -> None:
    page = opened("run", 390)
    focused = "(e => [e.tagName, e.id || e.hash || e.getAttribute('aria-label') || e.textContent.trim(),"
    focused += " getComputedStyle(e).outlineStyle, e.getBoundingClientRect().left >= 0])(document.activeElement)"
    order = []
    for _ in range(40):
        page.keyboard.press("Tab")
        tag, name, outline, in_sight = page.evaluate(focused)
        if tag == "BODY":
            break
        assert outline != "none", name
        assert in_sight, name
        order.append((tag, name))
    assert order[0] == ("A", "#main")  # the link that skips the table of contents
    assert [name for tag, name in order if tag == "A"][1:3] == ["#scores", "#classes"]
    assert [name for tag, name in order if tag == "SELECT"] == ["group", "order"]
    assert ("SUMMARY", "All 4 values") in order
    assert [name for tag, name in order if tag == "DIV"][:3] == [
        "Table of scores",
        "IoU of each class",
        "Matrix of true and predicted classes",
    ]


def test_the_skip_link_leads_to_the_content(opened: Any) -> None:
    page = opened("run")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_without_scripts_all_images_are_shown(browser: Any, files: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(files["run"].as_uri())
    assert page.locator("#images > li:visible").count() == 3
    assert not page.locator("#filter").is_visible()
    context.close()
