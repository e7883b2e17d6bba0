"""A real browser opens the report: it shows every picture, asks for nothing, and complains about nothing."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from job.report.figure import mixing_sweep
from job.report.page import render
from tests.unit.report_sample import SAMPLES, gallery

pytestmark = pytest.mark.flow

QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--no-first-run")
IMAGES = "Array.from(document.images, image => [image.complete, image.naturalWidth])"
WIDTHS = "[document.documentElement.scrollWidth, window.innerWidth]"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the browser made of a page."""

    complaints: tuple[str, ...]      # of the console, and errors of scripts
    requests: tuple[str, ...]        # every address asked for, but the page itself and what it embeds
    failed: tuple[str, ...]
    image_widths_px: tuple[int, ...]   # 0: broken or incomplete
    overflow_px: int                 # by how much the page is wider than the window
    text: str


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One headless Chromium for the tests of a module; skips where none is installed."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield opened
        opened.close()


def look(browser: Browser, path: Path, width_px: int = 1280, scheme: str = "light") -> Seen:
    """Open a page from disk and wait until it is loaded. Reusable: the path of any ``report.html`` will do."""
    page = browser.new_page(viewport={"width": width_px, "height": 900}, color_scheme=scheme)
    complaints: list[str] = []
    requests: list[str] = []
    failed: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.goto(path.as_uri(), wait_until="load")
    images, (wide, window) = page.evaluate(IMAGES), page.evaluate(WIDTHS)
    text = page.inner_text("body")
    page.close()
    return Seen(
        tuple(complaints), tuple(url for url in requests if url != path.as_uri() and not url.startswith("data:")), tuple(failed),
        tuple(width if complete else 0 for complete, width in images), wide - window, text,
    )


def refuse_flaws(seen: Seen) -> None:
    """Fail unless the page is quiet, whole and alone."""
    assert seen.complaints == ()
    assert seen.failed == ()
    assert seen.requests == ()
    assert seen.image_widths_px
    assert all(seen.image_widths_px)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the page of a sample: its path."""
    def write(sample: str) -> Path:
        made = SAMPLES[sample]()
        path = tmp_path / "report.html"
        path.write_text(render(made, mixing_sweep(made), gallery([row.name for row in made.classes])))
        return path

    return write


@pytest.mark.parametrize("sample", ["helped", "undecided", "hurt", "no verdict", "six", "long", "nasty"])
def test_a_browser_shows_the_whole_report_and_asks_for_nothing(
    browser: Browser, written: Callable[[str], Path], sample: str
) -> None:
    path = written(sample)
    seen = look(browser, path)
    refuse_flaws(seen)
    assert len(seen.image_widths_px) == path.read_text().count("<img src=\"data:")
    assert "How sure are we?" in seen.text


@pytest.mark.parametrize(("width_px", "scheme"), [(360, "light"), (360, "dark"), (1600, "dark")])
@pytest.mark.parametrize("sample", ["nasty", "six"])
def test_the_page_is_never_wider_than_the_window(
    browser: Browser, written: Callable[[str], Path], width_px: int, scheme: str, sample: str
) -> None:
    seen = look(browser, written(sample), width_px, scheme)
    refuse_flaws(seen)
    assert seen.overflow_px <= 0


def test_a_page_with_a_flaw_is_found_out(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "flawed.html"
    path.write_text(f"<img src={json.dumps((tmp_path / 'missing.png').as_uri())}><script>console.error('broken')</script>")
    seen = look(browser, path)
    assert seen.complaints
    assert seen.requests == seen.failed != ()
    assert seen.image_widths_px == (0,)
