"""The report of a calibration, as a reader's browser shows and prints it: ``make docs`` runs this."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nirs4all_vit.calibration.report import write_report
from tests.calibration.made import make_result

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_NAMES = ("<script>alert(1)</script>", "x" * 200, "<img src=x onerror=alert(2)>", "Αθήνα", "小麦样品", "=1+1")
_TARGETS = (
    "Protein",
    "Moisture",
    "Fat",
    "Starch",
    "Ash",
    "Fibre (NDF)",
    "β-glucan",
    "Lysine",
    "Gluten",
    "Energy",
    "Density",
    "A target whose name goes on and on, in g per kg of dry matter",
)
_KINDS: dict[str, dict[str, Any]] = {
    "one-target": {"n": 160, "n_test": 40},
    "twelve-targets": {
        "n": 120,
        "targets": _TARGETS,
        "classes": ("hard", "soft", "durum"),
        "unit": "cm-1",
        "n_test": 30,
    },
    "classes": {
        "n": 200,
        "targets": (),
        "classes": ("Arabica", "Robusta", "<b>Liberica</b>", "A long name of a class"),
        "unit": "um",
    },
    "tiny": {"n": 20, "n_wavelengths": 1, "ids": _NAMES, "missing": 0.2, "t2": np.full(20, np.nan), "findings": ()},
    "large": {"n": 15000, "n_wavelengths": 300, "n_outliers": 40},
}

#: Visible texts whose contrast with what lies behind them is too low: 4.5, or 3 for large ones.
_LOW_CONTRAST = """() => {
  const channels = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b]
      .map((v) => v / 255)
      .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = channels(getComputedStyle(one).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    const passed = "script, style, .heatmap-label, .hidden-text, .skip";
    if (!node.data.trim() || !element.checkVisibility() || element.closest(passed)) continue;
    const style = getComputedStyle(element);
    const drawn = element.closest("svg");
    const a = light(channels(drawn ? style.fill : style.color));
    const b = light(drawn ? [255, 255, 255] : behind(element));
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < (large ? 3 : 4.5)) low.push(`${node.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return low;
}"""

#: What a screen reader could not name.
_WITHOUT_NAME = """() => [
  ...[...document.querySelectorAll("[role=img], nav, [role=region], [role=tablist]")]
    .filter((one) => !one.getAttribute("aria-label")),
  ...[...document.querySelectorAll("figure")].filter((one) => !one.querySelector("figcaption").textContent.trim()),
  ...[...document.querySelectorAll("input, select")].filter((one) => !one.labels.length),
  ...[...document.querySelectorAll("#main button")]
    .filter((one) => !one.textContent.trim() && !one.getAttribute("aria-label")),
].map((one) => one.outerHTML.slice(0, 120))"""

#: Figures in view that were not drawn, or that are wider than their place.
_NOT_DRAWN = """() => [...document.querySelectorAll(".plot")].filter((one) => one.clientWidth).filter((one) => {
  const picture = one.querySelector("svg.main-svg");
  return !picture || !one.querySelector("svg path") || picture.clientWidth > one.clientWidth + 1;
}).map((one) => one.dataset.figure)"""

#: Names of ticks that lie over one another, and texts that leave their figure.
_COLLISIONS = """() => {
  const bad = [];
  document.querySelectorAll(".plot").forEach((plot) => {
    if (!plot.clientWidth) return;
    const frame = plot.getBoundingClientRect();
    const boxes = [...plot.querySelectorAll(".xtick text, .ytick text, .xtitle, .ytitle, .annotation-text")]
      .filter((one) => one.textContent.trim())
      .map((one) => [one, one.getBoundingClientRect()]);
    boxes.forEach(([one, a], i) => {
      const outside = a.left < frame.left - 1 || a.right > frame.right + 1 || a.bottom > frame.bottom + 1;
      if (outside) bad.push(`${plot.dataset.figure} leaves: ${one.textContent}`);
      boxes.slice(i + 1).forEach(([other, b]) => {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const up = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 2 && up > 3) bad.push(`${plot.dataset.figure}: ${one.textContent} over ${other.textContent}`);
      });
    });
  });
  return bad;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser here ({', '.join(_BROWSERS)})")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    for name, options in _KINDS.items():
        write_report(make_result(**options), folder / f"{name}.html")
    return folder


class _Opened:
    """A report in a browser window, with everything that went wrong."""

    def __init__(self, browser: Any, path: Path, width: int) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.wrong: list[str] = []
        for event in ("requestfailed", "pageerror"):
            self.page.on(event, lambda what: self.wrong.append(str(what)))
        self.page.on("dialog", lambda dialog: (self.wrong.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda one: None if one.url.startswith("file:") else self.wrong.append(one.url))
        self.page.on("console", lambda one: self.wrong.append(one.text))
        self.page.goto(path.as_uri(), wait_until="load")
        self.page.wait_for_selector("html[data-drawn=yes]", state="attached")


@pytest.fixture(params=[1280, 400])
def width(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.mark.parametrize("kind", _KINDS)
def test_a_browser_shows_it(kind: str, width: int, reports: Path, browser: Any) -> None:
    opened = _Opened(browser, reports / f"{kind}.html", width)
    page = opened.page
    for i in range(max(page.locator("#predictions [role=tab]").count(), 1)):
        if page.locator("#predictions [role=tab]").count():
            page.locator("#predictions [role=tab]").nth(i).click()
        assert page.evaluate(_NOT_DRAWN) == []
        assert page.evaluate(_COLLISIONS) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".plot:not(:has(svg.main-svg))").count() == 0
    assert page.evaluate(_LOW_CONTRAST) == []
    assert page.evaluate(_WITHOUT_NAME) == []
    assert opened.wrong == []
    page.close()


@pytest.mark.parametrize("kind", _KINDS)
def test_it_prints(kind: str, reports: Path, browser: Any) -> None:
    opened = _Opened(browser, reports / f"{kind}.html", 400)
    printed = opened.page.pdf(prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    assert opened.page.locator(".plot:not(:has(svg.main-svg))").count() == 0  # those of hidden targets, too
    opened.page.wait_for_selector("html:not(.printing)", state="attached")
    assert opened.page.evaluate(_NOT_DRAWN) == []
    opened.page.emulate_media(media="print")
    assert opened.page.locator(".panel:visible").count() == opened.page.locator(".panel").count()
    assert opened.page.locator(".static table").first.is_visible()
    assert not opened.page.locator("#table").is_visible()
    assert opened.wrong == []
    opened.page.close()


def test_targets_are_chosen_from_the_keyboard(reports: Path, browser: Any) -> None:
    opened = _Opened(browser, reports / "twelve-targets.html", 1280)
    page = opened.page
    page.locator("#tab-intervals-0").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-intervals-1"
    assert page.locator("#panel-predictions-1").is_visible()  # all sections follow
    assert not page.locator("#panel-intervals-0").is_visible()
    page.keyboard.press("End")
    assert page.locator("[role=tab][aria-selected=true]").count() == page.locator("[role=tablist]").count()
    assert page.evaluate("document.activeElement.textContent") == "Variety"
    page.close()


def test_the_table_is_searched_sorted_turned_and_saved(reports: Path, browser: Any) -> None:
    opened = _Opened(browser, reports / "large.html", 1280)
    page = opened.page
    first = page.locator("#table tbody tr").first
    assert page.locator("#page").inner_text() == "Page 1 of 600"
    page.get_by_role("button", name="Residual").click()
    page.get_by_role("button", name="Residual").click()
    assert page.locator("#table th[aria-sort=descending]").inner_text().strip("↓ \n") == "Residual"
    residuals = [
        float(text.replace("−", "-")) for text in page.locator("#table tbody td:nth-child(6)").all_inner_texts()
    ]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[0] > 1
    page.get_by_role("button", name="Next").click()
    assert page.locator("#page").inner_text() == "Page 2 of 600"
    page.get_by_label("Search").fill("w00123")
    page.wait_for_timeout(300)
    assert page.locator("#found").inner_text() == "0 of 15,000 samples"
    page.get_by_label("Search").fill("w0123")
    page.wait_for_timeout(300)
    assert first.locator("th").inner_text() == "W0123"
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download as CSV").click()
    rows = list(csv.DictReader(StringIO(Path(saved.value.path()).read_text("utf-8-sig"))))
    assert len(rows) == 15000
    result = make_result(**_KINDS["large"])
    part = result.targets[0].cross_validated
    assert rows[123]["Sample"] == "W0123"
    name = result.targets[0].name
    assert float(rows[123][f"{name}: measured"]) == pytest.approx(part.measured[123], abs=0.006)
    assert float(rows[123][f"{name}: upper"]) == pytest.approx(part.upper[123], abs=0.011)
    assert opened.wrong == []
    page.close()


def test_names_are_shown_as_they_are(reports: Path, browser: Any) -> None:
    opened = _Opened(browser, reports / "tiny.html", 1280)
    page = opened.page
    shown = page.locator("#table tbody th").all_inner_texts()
    assert shown[0] == _NAMES[0]
    assert shown[2:6] == list(_NAMES[2:])
    assert len(shown[1]) < 70
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download as CSV").click()
    rows = list(csv.DictReader(StringIO(Path(saved.value.path()).read_text("utf-8-sig"))))
    assert rows[1]["Sample"] == _NAMES[1]
    assert rows[5]["Sample"] == "'=1+1"  # no formula
    assert opened.wrong == []
    page.close()


def test_a_point_says_which_sample_it_is(reports: Path, browser: Any) -> None:
    opened = _Opened(browser, reports / "one-target.html", 1280)
    page = opened.page
    plot = page.locator("[data-figure=residual-0]")
    plot.scroll_into_view_if_needed()
    point = plot.locator(".scatterlayer .point").first.bounding_box()
    page.mouse.move(point["x"] + point["width"] / 2 - 1, point["y"] + point["height"] / 2)
    page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    label = plot.locator(".hovertext").first
    label.wait_for()
    assert re.match(r"[WT]\d{3}", label.text_content())
    assert "residual" in label.text_content()
    legend = page.locator("#predictions .legend button").first
    legend.click()
    assert legend.get_attribute("aria-pressed") == "false"
    assert opened.wrong == []
    page.close()


def test_without_javascript_it_still_has_its_tables(reports: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((reports / "twelve-targets.html").as_uri())
    assert page.locator(".static table").first.is_visible()
    assert page.locator("noscript").first.is_visible()
    assert not page.locator("#find").is_visible()
    assert page.locator(".panel:visible").count() == page.locator(".panel").count()
    context.close()
