"""The review sheet in a browser: marked by keyboard, kept, exported, imported, un-blinded."""

import html
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import Refused
from tasks.evaluate import KEY_FILE, count_marks
from tests.sheets import HOSTILE, item, systems, write_sheet

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
ITEMS = 8
MARKED = "document.querySelectorAll('[data-mark][aria-pressed=true]').length"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sheet in whose texts scripts, markup and control characters stand."""
    out = tmp_path_factory.mktemp("sheet") / "a folder with ünïcode"
    items = systems(ITEMS)
    hostile = {"id": HOSTILE, "prompt": HOSTILE, "reference": HOSTILE}
    items["base"][0] = item(0, HOSTILE, **hostile)
    items["candidate"][0] = item(0, f"{HOSTILE} or not", **hostile)
    write_sheet(items, out)
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Any]:
    """The sheet in a browser that has not seen it; afterwards: no fault, and no request left."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address(folder))
    yield page
    assert page.evaluate("window.hacked") is None
    context.close()
    assert faults == []
    assert {url.partition("#")[0] for url in asked} <= {address(folder)}, "nothing else is loaded"


def address(folder: Path) -> str:
    return (folder / "review.html").as_uri()


def progress(page: Any) -> str:
    return page.locator("#progress-text").inner_text()


def exported(page: Any, path: Path) -> dict[str, Any]:
    page.locator("#export").click()
    with page.expect_download() as download:
        page.locator("#download").click()
    download.value.save_as(path)
    page.locator("#export-dialog .close").click()
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_sheet_is_marked_by_keyboard_kept_and_exported(
    page: Any, folder: Path, tmp_path: Path
) -> None:
    page.get_by_role("button", name="Compare blind").click()
    assert not page.locator("#gates").is_visible(), "the verdict is out of sight"
    press = page.keyboard.press
    for sign in "123":
        press(sign)
    assert progress(page) == f"3 of {ITEMS} marked"
    current = page.locator("article[aria-current=true]")
    assert current.get_attribute("data-item") == "4", "a mark goes on to the next item"
    press("j")
    press("ArrowDown")
    assert current.get_attribute("data-item") == "6"
    press("k")
    press("ArrowUp")
    press("n")
    page.keyboard.type("j is a letter here; 1, too")
    press("Escape")
    assert progress(page) == f"3 of {ITEMS} marked"
    press("2")
    press("k")
    press("2")  # the same mark again takes it away
    assert progress(page) == f"3 of {ITEMS} marked"
    page.reload()
    assert progress(page) == f"3 of {ITEMS} marked"
    assert page.evaluate(MARKED) == 3
    value = exported(page, tmp_path / "marks.json")
    assert value["blind"] is True
    assert [(entry["item"], entry["mark"]) for entry in value["marks"]] == [
        (1, "A"), (2, "tie"), (3, "B"), (4, None)
    ]  # fmt: skip
    assert value["marks"][3]["note"] == "j is a letter here; 1, too"
    found = count_marks(tmp_path / "marks.json", folder / KEY_FILE)
    assert (found.wins + found.losses, found.ties, found.unmarked, found.notes) == (2, 1, 5, 1)


def test_nobody_is_named_until_the_key_is_shown_and_then_marks_stay(
    page: Any, folder: Path, tmp_path: Path
) -> None:
    names = page.locator(".who")
    for number in range(ITEMS):
        page.locator("article.item").nth(number).locator("[data-mark=A]").click()
    assert not page.locator("#result").is_visible()
    assert set(names.all_inner_texts()) == {""}
    page.locator("#reveal").click()
    page.locator("#reveal-yes").click()
    assert set(names.all_inner_texts()) == {"candidate", "base"}
    exported(page, tmp_path / "marks.json")
    found = count_marks(tmp_path / "marks.json", folder / KEY_FILE)
    shown = [page.locator(f"#{name}").inner_text() for name in ("wins", "ties", "losses")]
    assert shown == [str(found.wins), str(found.ties), str(found.losses)]
    assert f"p {found.p_value:.2g}" in page.locator("#p-value").inner_text()
    page.keyboard.press("2")
    assert page.locator("[data-mark=tie][aria-pressed=true]").count() == 0
    # Whoever starts anew has seen the key: such marks are told, and not counted.
    page.locator("#restart").click()
    page.locator("#restart-yes").click()
    assert progress(page) == f"0 of {ITEMS} marked"
    assert page.locator("#not-blind").is_visible()
    page.locator("article.item").first.locator("[data-mark=B]").click()
    page.reload()
    assert exported(page, tmp_path / "marks.json")["blind"] is False
    with pytest.raises(Refused):
        count_marks(tmp_path / "marks.json", folder / KEY_FILE)


def test_exported_marks_come_back_and_others_do_not(page: Any, tmp_path: Path) -> None:
    page.locator("article.item").nth(2).locator("[data-mark=B]").click()
    kept = tmp_path / "marks.json"
    value = exported(page, kept)
    page.locator("#restart").click()
    page.locator("#restart-yes").click()
    assert progress(page) == f"0 of {ITEMS} marked"
    said = page.locator("#import-said")
    page.set_input_files("#import", kept)
    said.get_by_text(f"Imported: 1 of {ITEMS} marked.").wait_for()
    assert page.evaluate(MARKED) == 1
    for change, message in (
        ({"sheet": "another"}, "belong to another review sheet"),
        ({"marks": [{"item": f"<img src=x onerror=hacked=1>{HOSTILE}", "mark": "A"}]}, "unknown"),
        ({"marks": 3}, "no exported marks"),
    ):
        path = tmp_path / "other.json"
        path.write_text(json.dumps(value | change))
        page.set_input_files("#import", path)
        said.get_by_text(message).wait_for()
    path.write_text("no JSON")
    page.set_input_files("#import", path)
    said.get_by_text("is no JSON").wait_for()
    assert progress(page) == f"1 of {ITEMS} marked"


def test_a_frame_without_storage_says_so_and_still_exports(browser: Any, folder: Path) -> None:
    """MLflow shows pages in such a frame."""
    page = browser.new_page()
    text = html.escape((folder / "review.html").read_text(encoding="utf-8"))
    page.set_content(f'<iframe sandbox="allow-scripts" width=900 height=800 srcdoc="{text}">')
    frame = page.frame_locator("iframe")
    frame.locator("#no-storage").wait_for()
    frame.locator("#start").click()
    frame.locator("article.item").first.locator("[data-mark=A]").click()
    assert frame.locator("#progress-text").inner_text() == f"1 of {ITEMS} marked"
    frame.locator("#export").click()
    value = json.loads(frame.locator("#exported").input_value())
    assert [entry["mark"] for entry in value["marks"]] == ["A"]
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_shows_hostile_text(
    browser: Any, folder: Path, tmp_path: Path, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.goto(f"{address(folder)}#mark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shown = page.locator("main").inner_text()
    assert "</script><script>window.hacked = 1</script>" in shown
    assert "⟨U+202E⟩abc⟨U+001B⟩[31m" in shown
    assert page.evaluate("document.images.length + document.links.length") == 0
    page.screenshot(path=tmp_path / f"phone-{scheme}.png")
    page.goto("about:blank")
    page.goto(address(folder))
    assert page.locator("#gates").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
