"""The report of a calibration: content, safe embedding of names, and file size."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from nirs4all_vit.calibration.metrics import regression_metrics
from nirs4all_vit.calibration.report import render_report, write_report
from nirs4all_vit.calibration.report.formats import fixed, percent, significant
from nirs4all_vit.calibration.report.page import inline_json
from nirs4all_vit.calibration.results import CalibrationResult
from nirs4all_vit.spectra.checks import Finding
from tests.calibration.made import class_target, make_result

NASTY = (
    "<script>alert(1)</script>",
    "x" * 200,
    "</script><img src=x onerror=alert(2)>",
    "Αθήνα",
    "小麦样品",
    "<!--<script>",
    "a\u2028b",
)
_VOID = {"meta", "input", "img", "br", "link", "hr"}


class Page(HTMLParser):
    """Elements of a page, their attributes, its visible text, and the content of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.headings: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.shown: list[str] = []
        self.scripts: dict[str, str] = {}
        self._open: list[tuple[str, str]] = []
        self.feed(text)
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        attributes = dict(attributes)
        self.tags[tag] += 1
        self.elements.append((tag, attributes))
        if re.fullmatch(r"h\d", tag):
            self.headings.append(tag)
        if tag not in _VOID:
            self._open.append((tag, attributes.get("id") or f"script {self.tags[tag]}"))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        opened, _ = self._open.pop()
        assert opened == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] == "script":
            self.scripts[self._open[-1][1]] = self.scripts.get(self._open[-1][1], "") + data
        elif self._open and self._open[-1][0] != "style":
            self.shown.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.shown).split())

    def json(self, name: str) -> Any:
        return json.loads(self.scripts[name])


def _read(result: CalibrationResult) -> Page:
    return Page(render_report(result))


def _sample_kinds() -> dict[str, CalibrationResult]:
    many = [f"Target {i}" for i in range(12)]
    nothing: dict[str, Any] = {"findings": (), "settings": {}, "provenance": {}, "signal": ""}
    bare = make_result(20, 1, n_outliers=0, t2=np.full(20, np.nan), q=np.full(20, np.nan), **nothing)
    (only,) = bare.targets
    plain = replace(only, learning_curve=(), importance=None, comparisons=only.comparisons[-1:])
    plain = replace(plain, cross_validated=replace(plain.cross_validated, lower=None, upper=None, coverage=np.nan))
    return {
        "one target": make_result(60, 100),
        "test set": make_result(60, 100, n_test=15, unit="um"),
        "twelve targets": make_result(40, 50, many, classes=("hard", "soft"), n_test=10, unit="cm-1"),
        "classes": make_result(60, 80, (), classes=("Arabica", "Robusta", "<b>Liberica</b>"), n_test=12),
        "missing values": make_result(60, 100, missing=0.3),
        "bare": replace(bare, targets=(plain,)),
        "nasty names": make_result(20, 30, NASTY[:2], ids=NASTY, title=NASTY[2], signal=NASTY[0]),
    }


KINDS = _sample_kinds()


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[CalibrationResult, Page]:
    result = KINDS[request.param]
    return result, _read(result)


def test_every_figure_has_its_place_a_label_and_a_caption(kind: tuple[CalibrationResult, Page]) -> None:
    result, page = kind
    places = [attributes for tag, attributes in page.elements if "data-figure" in attributes]
    figures = page.json("figures")
    assert sorted(str(attributes["data-figure"]) for attributes in places) == sorted(figures)
    assert all(attributes["role"] == "img" and len(str(attributes["aria-label"])) > 20 for attributes in places)
    assert page.tags["figcaption"] == len(places)
    wanted = {"spectra", "scores"}
    for i, target in enumerate(result.targets):
        wanted |= {f"predicted-{i}", f"residual-{i}"} if target.task == "regression" else {f"confusion-{i}-0"}
        wanted |= {f"learning-{i}"} if target.learning_curve else set()
        wanted |= {f"importance-{i}"} if target.importance is not None else set()
        has_intervals = target.cross_validated.lower is not None or target.cross_validated.possible is not None
        wanted |= {f"intervals-{i}"} if has_intervals else set()
        wanted |= {"comparison"} if len(target.comparisons) > 1 else set()
    wanted |= {"distances"} if np.isfinite(result.t2).any() else set()
    assert wanted <= set(figures)


def test_plotly_knows_every_option(kind: tuple[CalibrationResult, Page]) -> None:
    """plotly for Python refuses misspelt options, which the browser ignores."""
    for figure in kind[1].json("figures").values():
        for trace in figure["data"]:
            trace.pop("rows", None)
            trace.pop("lines", None)
        go.Figure(data=figure["data"], layout=figure["layout"])


def test_the_page_is_valid(kind: tuple[CalibrationResult, Page]) -> None:
    page = kind[1]
    assert ("html", {"lang": "en"}) in page.elements
    levels = [int(name[1]) for name in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert max(ids.values()) == 1
    labelled = {attributes.get("for") for tag, attributes in page.elements if tag == "label"}
    assert all(attributes.get("id") in labelled for tag, attributes in page.elements if tag in ("input", "select"))
    assert all(attributes.get("scope") for tag, attributes in page.elements if tag == "th")
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "aria-controls"):
            assert name not in attributes or attributes[name] in ids
    assert page.tags["caption"] == page.tags["table"]


def test_nothing_comes_from_the_network(kind: tuple[CalibrationResult, Page]) -> None:
    page = kind[1]
    for tag, attributes in page.elements:
        assert "src" not in attributes, tag
        assert str(attributes.get("href", "#")).startswith("#"), tag
        assert not any(name.startswith("on") for name in attributes), tag
    assert page.tags["link"] == page.tags["img"] == page.tags["iframe"] == 0
    policy = next(
        attributes["content"] for tag, attributes in page.elements if tag == "meta" and "http-equiv" in attributes
    )
    assert str(policy).startswith("default-src 'none'")


def test_the_script_library_is_there_once(kind: tuple[CalibrationResult, Page]) -> None:
    assert sum("plotly.js v" in text for text in kind[1].scripts.values()) == 1
    assert kind[1].tags["script"] == 6


def test_figures_of_merit_are_those_of_the_result() -> None:
    result = KINDS["test set"]
    text = _read(result).text
    (target,) = result.targets
    for part in (target.cross_validated, target.test):
        assert part is not None
        metrics: Any = part.metrics
        row = [f"{metrics.n}", significant(metrics.rmse), fixed(metrics.r2, 3)]
        assert " ".join(row) in text
        row = [fixed(metrics.rpd, 2), fixed(metrics.rpiq, 2), percent(part.coverage, 1)]
        assert " ".join(row).replace("\u00a0", " ") in text
    assert "RMSECV is 18 % lower than that of PLS (95 % interval 9 to 26 %)." in text


def test_the_table_holds_every_value() -> None:
    result = KINDS["test set"]
    data = _read(result).json("samples-data")
    (target,), (columns,) = result.targets, data["targets"]
    assert target.test is not None
    assert data["ids"] == [*result.ids, *target.test.ids]
    assert data["calibration"] == 60
    steps = {key: np.array(columns[key]) for key in ("measured", "predicted", "below", "above")}
    steps["lower"] = steps["predicted"] - steps.pop("below")
    steps["upper"] = steps["predicted"] + steps.pop("above")
    for key, values in steps.items():
        whole = np.concatenate([getattr(target.cross_validated, key), getattr(target.test, key)])
        shown = values / 10.0 ** columns["decimals"]
        np.testing.assert_allclose(shown, whole, atol=0.5001 * 10.0 ** -columns["decimals"])
    np.testing.assert_allclose(data["t2"][:60], result.t2, atol=0.00501)
    assert data["t2"][60:] == [None] * 15
    assert {int(row): reason for row, reason in data["reasons"].items()} == result.outliers


def test_points_are_those_of_the_result() -> None:
    result = KINDS["one target"]
    figure = _read(result).json("figures")["predicted-0"]
    points = figure["data"][0]
    part = result.targets[0].cross_validated
    np.testing.assert_allclose(points["x"], part.measured[points["rows"]].astype(float), atol=0.006)
    np.testing.assert_allclose(points["y"], part.predicted[points["rows"]].astype(float), atol=0.006)
    assert "error_y" in points


def test_spectra_are_those_of_the_result_in_the_unit_of_the_input() -> None:
    result = KINDS["twelve targets"]
    figure = _read(result).json("figures")["spectra"]
    lines = figure["data"][0]["lines"]
    np.testing.assert_allclose(lines["x"], 1e7 / result.wavelengths, atol=0.06)
    assert figure["layout"]["xaxis"]["range"][0] > figure["layout"]["xaxis"]["range"][1]  # descends
    drawn = np.array(lines["y"], dtype=float) * lines["step"]
    np.testing.assert_allclose(drawn, result.spectra[lines["rows"]], atol=lines["step"])


def test_replicates_of_the_test_set_may_share_an_id() -> None:
    result = make_result(30, 40, n_test=6)
    (target,) = result.targets
    assert target.test is not None
    test = replace(target.test, ids=np.repeat(target.test.ids[:3], 2))
    page = _read(replace(result, targets=(replace(target, test=test),)))
    data = page.json("samples-data")
    assert data["ids"][30:] == list(test.ids)
    shown = np.array(data["targets"][0]["measured"][30:]) / 10.0 ** data["targets"][0]["decimals"]
    np.testing.assert_allclose(shown, test.measured.astype(float), atol=0.006)


def _degenerate() -> dict[str, CalibrationResult]:
    result = make_result(20, 30)
    (target,) = result.targets
    part = target.cross_validated
    nan = np.full(20, np.nan)
    unknown = regression_metrics(nan, part.predicted)
    exact = regression_metrics(part.predicted, part.predicted)
    constant = regression_metrics(np.ones(20), np.ones(20))
    empty = result.spectra.copy()
    empty[:, 3] = np.nan
    empty[2, :10] = np.nan
    classes = make_result(20, 30, (), classes=("a", "b", "c")).targets[0]
    one_unknown = classes.cross_validated.measured.astype(object)
    one_unknown[:5] = ""

    def with_part(**changes: Any) -> CalibrationResult:
        return replace(result, targets=(replace(target, cross_validated=replace(part, **changes)),))

    return {
        "nothing measured": with_part(measured=nan, metrics=unknown, coverage=np.nan),
        "no error": with_part(measured=part.predicted, metrics=exact),
        "one value": with_part(measured=np.ones(20), predicted=np.ones(20), metrics=constant),
        "large values": with_part(
            **{key: getattr(part, key) * 1e9 for key in ("measured", "predicted", "lower", "upper")},
            metrics=regression_metrics(part.measured * 1e9, part.predicted * 1e9),
        ),
        "small values": with_part(
            **{key: getattr(part, key) * 1e-9 for key in ("measured", "predicted", "lower", "upper")},
            metrics=regression_metrics(part.measured * 1e-9, part.predicted * 1e-9),
        ),
        "gaps in the spectra": replace(result, spectra=empty),
        "dead spectra": replace(result, spectra=np.zeros_like(result.spectra)),
        "no scores": replace(result, scores=np.full((20, 2), np.nan), explained=(np.nan, np.nan)),
        "one component": replace(result, scores=np.zeros((20, 2)), t2=np.zeros(20), q=np.zeros(20)),
        "unknown classes": replace(
            result, targets=(replace(classes, cross_validated=replace(classes.cross_validated, measured=one_unknown)),)
        ),
        "no importance": replace(result, targets=(replace(target, importance=np.full(30, np.nan)),)),
        "odd letters": replace(result, ids=np.array(["\ud800", "\x00", "", "a\nb"] * 5), title=""),
        "only outliers": replace(result, outliers={row: "it is odd" for row in range(20)}),
    }


@pytest.mark.parametrize("name", _degenerate())
def test_degenerate_results_have_a_report(name: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(_degenerate()[name], path)
    page = Page(path.read_text("utf-8"))
    assert not re.search(r"\b(nan|inf)\b", page.text, re.IGNORECASE)
    for figure in page.json("figures").values():
        for trace in figure["data"]:
            lines = trace.pop("lines", {"rows": trace.pop("rows", []), "y": []})
            assert all(len(line) == 30 for line in lines["y"])
        go.Figure(data=figure["data"], layout=figure["layout"])


def test_classes() -> None:
    result = KINDS["classes"]
    page = _read(result)
    (target,) = result.targets
    counts = np.array(page.json("figures")["confusion-0-0"]["data"][0]["customdata"])
    part = target.cross_validated
    for i, true in enumerate(target.classes):
        for j, predicted in enumerate(target.classes):
            assert counts[i, j] == ((part.measured == true) & (part.predicted == predicted)).sum()
    columns = page.json("samples-data")["targets"][0]
    assert [columns["words"][code] for code in columns["possible"][:60]] == list(part.possible)
    recall = counts[0, 0] / counts[0].sum()
    assert f"Arabica {counts[0].sum()} {100 * recall:.0f} %" in page.text
    bars = page.json("figures")["intervals-0"]["data"]
    assert sum(sum(bar["y"]) for bar in bars) == 60


def test_missing_values_are_left_out_of_figures_and_shown_as_missing() -> None:
    result = KINDS["missing values"]
    page = _read(result)
    part = result.targets[0].cross_validated
    measured = np.isfinite(part.measured.astype(float))
    assert 0 < measured.sum() < 60
    assert len(page.json("figures")["predicted-0"]["data"][0]["x"]) == measured.sum()
    shown = page.json("samples-data")["targets"][0]["measured"]
    assert [value is not None for value in shown] == measured.tolist()
    assert "NaN" not in page.scripts["figures"] + page.scripts["samples-data"]
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)


def test_names_are_never_markup() -> None:
    text = render_report(KINDS["nasty names"])
    page = Page(text)  # checks that every element is closed, so that names open and close none
    assert page.tags["script"] == 6
    assert page.tags["img"] == 0
    assert page.json("samples-data")["ids"][: len(NASTY)] == list(NASTY)
    for name in ("<script>alert(1)", "<img src=x", "<!--<script>"):
        assert name not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "Αθήνα" in page.text
    assert "小麦样品" in page.text
    hover = json.dumps(page.json("figures"))
    assert "<script>" not in hover  # plotly interprets some HTML in labels
    assert "x" * 60 not in page.scripts["figures"]


def test_inline_json_cannot_leave_its_script() -> None:
    text = inline_json(["</script>", "<!--", "\u2028", "é"])
    assert "<" not in text
    assert json.loads(text) == ["</script>", "<!--", "\u2028", "é"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        inline_json(float("nan"))


@pytest.mark.slow
def test_a_large_report_stays_below_ten_megabytes(tmp_path: Path) -> None:
    many = tuple(f"Target {i}" for i in range(12))
    outliers = 400
    for targets, n in ((many[:1], 15000), (many, 15000)):
        result = make_result(n, 1000, targets, n_outliers=outliers, n_test=100)
        path = tmp_path / "report.html"
        write_report(result, path)
        assert path.stat().st_size < 10e6
        page = Page(path.read_text("utf-8"))
        figures = page.json("figures")
        points = figures["predicted-0"]["data"][0]
        assert len(points["rows"]) <= 3000
        assert set(result.outliers) <= set(points["rows"])
        assert "of 15,100 samples are drawn." in page.text
        assert all("gl" not in trace["type"] for figure in figures.values() for trace in figure["data"])
        drawn = sum(len(trace["lines"]["rows"]) for trace in figures["spectra"]["data"] if "lines" in trace)
        assert drawn <= 400
        assert len(page.json("samples-data")["ids"]) == n + 100


def test_writing_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    write_report(KINDS["bare"], path)
    assert path.read_text("utf-8") == render_report(KINDS["bare"])
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(KINDS["one target"], path)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert path.stat().st_size > 1e6


def test_missing_parts_are_stated() -> None:
    text = _read(KINDS["bare"]).text
    for sentence in (
        "The checks found no problem.",
        "No spectrum is an outlier.",
        "No learning curve was measured.",
        "The importance of wavelengths was not measured.",
        "No intervals were calculated.",
        "T² and Q were not calculated",
        "There is no other method to compare with.",
    ):
        assert sentence in text


def test_findings_are_sorted_and_collapsed() -> None:
    findings = [Finding("note", f"row {i}", "a value was missing") for i in range(30)]
    findings.append(Finding("error", "row 99", "the spectrum is empty", "remove the row"))
    page = _read(make_result(20, 30, findings=tuple(findings)))
    assert "The checks found 1 error and 30 notes." in page.text
    assert page.text.index("The spectrum is empty. Remove the row.") < page.text.index("row 0")
    assert page.tags["details"] == 1


def test_many_classes() -> None:
    rng = np.random.default_rng(0)
    names = tuple(f"Class {i}" for i in range(40))
    result = make_result(300, 20, ())
    page = _read(replace(result, targets=(class_target("Origin", names, 300, rng, result.ids),)))
    assert "text" not in page.json("figures")["confusion-0-0"]["data"][0]
    assert page.text.count("Class 39") >= 1
