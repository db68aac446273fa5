"""The built pages, as a reader's browser sees them: ``make docs`` builds them and runs this."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

HTML = Path(__file__).with_name("build") / "html"
PAGES = sorted(path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html") if "_static" not in path.parts)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class _Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.anchors |= {found.get("id") or "", found.get("name") or ""}
        wanted = {"a": "href", "link": "href", "img": "src", "script": "src", "object": "data"}.get(tag)
        if wanted and found.get(wanted) and found.get("rel") != "canonical":
            self.links.append(str(found[wanted]))


@pytest.fixture(scope="module")
def parsed() -> dict[str, _Page]:
    return {name: _Page(HTML / name) for name in PAGES}


def test_the_site_is_built() -> None:
    for name in ("index", "quickstart", "api", "configuration", "results", "gallery/plot_transfer"):
        assert f"{name}.html" in PAGES


def test_no_link_is_broken(parsed: dict[str, _Page]) -> None:
    broken = []
    for name, page in parsed.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (HTML / name).parent / unquote(parts.path) if parts.path else HTML / name
            target = target / "index.html" if target.is_dir() else target
            known = parsed.get(target.resolve().relative_to(HTML).as_posix()) if target.exists() else None
            if not target.exists() or (known is not None and unquote(parts.fragment) not in known.anchors):
                broken.append(f"{name}: {link}")
    assert not broken, "\n".join(broken)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        own = running.chromium.executable_path
        found = next(filter(None, map(shutil.which, _BROWSERS)), own if Path(own).exists() else None)
        if found is None:
            pytest.skip(f"no browser here ({', '.join(_BROWSERS)}, or playwright's own)")
        opened = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


#: Widths of a laptop and of a telephone, in pixels.
_WIDTHS = (1280, 400)
#: Elements that reach beyond the right edge, unless they or an ancestor can be scrolled sideways or are hidden.
_CLIPPED = """() => [...document.querySelectorAll("article *")].filter(element => {
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height || box.right <= document.documentElement.clientWidth + 1) return false;
    for (let e = element; e && e.tagName != "BODY"; e = e.parentElement)
        if (getComputedStyle(e).overflowX != "visible" || getComputedStyle(e).visibility == "hidden") return false;
    return true;
}).map(element => element.tagName + " " + element.textContent.trim().slice(0, 40))"""


@pytest.mark.parametrize("name", PAGES)
def test_it_opens_in_a_browser(name: str, browser: Any) -> None:
    page, failed, messages = browser.new_page(), [], []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("request", lambda request: None if request.url.startswith("file:") else failed.append(request.url))
    page.on("console", lambda message: messages.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto((HTML / name).as_uri(), wait_until="load")
    empty = page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)")
    assert (failed, empty, messages) == ([], [], [])
    assert page.inner_text("body").strip()
    for width in _WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(_CLIPPED) == [], f"beyond {width} px"
        assert page.evaluate("document.documentElement.scrollWidth") <= width + 1, f"scrolls sideways at {width} px"
    page.close()
