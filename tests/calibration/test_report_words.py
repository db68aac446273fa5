"""Sentences and numbers of the report, and names in its figures."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from nirs4all_vit.calibration.report.bands import BANDS, shown_bands
from nirs4all_vit.calibration.report.figures import drawn_rows, named_points
from nirs4all_vit.calibration.report.formats import decimals_for, fixed, nice_step, shortened, significant
from nirs4all_vit.calibration.report.words import against_pls, coverage_sentence, verdict, would_more_help
from nirs4all_vit.calibration.results import Comparison, LearningPoint, TargetResult
from tests.calibration.made import make_result

TARGET = make_result(60, 100).targets[0]


def _with_ratio(ratio: float, lower: float, upper: float) -> TargetResult:
    target = TARGET
    chosen, *others = target.comparisons
    return replace(target, comparisons=(replace(chosen, ratio=ratio, lower=lower, upper=upper), *others))


@pytest.mark.parametrize(
    ("ratio", "sentence"),
    [
        (
            (0.97, 0.88, 1.07),
            "The difference from PLS is not significant: the ratio of the errors is 0.97 "
            "(95\u00a0% interval 0.88 to 1.07).",
        ),
        ((1.2, 1.1, 1.3), "RMSECV is 20\u00a0% higher than that of PLS (95\u00a0% interval 10 to 30\u00a0%)."),
        ((0.9, 0.85, 0.995), "RMSECV is 10.0\u00a0% lower than that of PLS (95\u00a0% interval 0.5 to 15.0\u00a0%)."),
        ((np.inf, np.nan, np.nan), "The RMSECV cannot be compared with that of PLS."),
    ],
)
def test_comparison_in_words(ratio: tuple[float, float, float], sentence: str) -> None:
    assert against_pls(_with_ratio(*ratio)) == sentence


def test_pls_may_be_the_best() -> None:
    target = TARGET
    pls = Comparison("PLS, best of five preprocessings", target.cross_validated.metrics, 1.0, 1.0, 1.0)
    assert against_pls(replace(target, comparisons=(pls,))) == "The chosen method is PLS, best of five preprocessings."
    assert against_pls(replace(target, comparisons=())) == ""


@pytest.mark.parametrize(
    ("rpd", "read"),
    [
        (1.2, "little better than"),
        (1.8, "high from low"),
        (2.4, "rough screening"),
        (3.4, "read as good"),
        (np.nan, "cannot"),
    ],
)
def test_rpd_in_words(rpd: float, read: str) -> None:
    target = TARGET
    metrics: Any = replace(target.cross_validated.metrics, rpd=rpd)
    assert read in verdict(replace(target, cross_validated=replace(target.cross_validated, metrics=metrics)))


@pytest.mark.parametrize(
    ("errors", "deviation", "sentence"),
    [
        ((0.50, 0.40), 0.01, "more samples would probably help"),
        ((0.50, 0.49), 0.005, "would probably help little"),
        ((0.50, 0.45), 0.08, "the effect of more samples is uncertain"),
        ((0.40, 0.50), 0.01, "rose by 25\u00a0%"),
        ((0.50, np.nan), 0.01, "too few points"),
    ],
)
def test_learning_curve_in_words(errors: tuple[float, float], deviation: float, sentence: str) -> None:
    target = TARGET
    curve = tuple(LearningPoint(50 * (i + 1), error, deviation) for i, error in enumerate(errors))
    assert sentence in would_more_help(replace(target, learning_curve=curve))


@pytest.mark.parametrize(
    ("coverage", "sentence"),
    [(0.9, "agrees with"), (0.5, "too narrow"), (1.0, "wider than needed"), (np.nan, "was not measured")],
)
def test_coverage_in_words(coverage: float, sentence: str) -> None:
    part = TARGET.cross_validated
    assert sentence in coverage_sentence(replace(part, coverage=coverage), 0.9, numeric=True)


def test_bands_are_in_order_and_follow_the_axis() -> None:
    assert all(a.stop <= b.start for a, b in pairwise(BANDS))
    nm = np.linspace(1300.0, 1950.0, 50)
    shown = shown_bands(nm, "cm-1")
    assert [band.letter for band in shown] == list("ABCDE")
    assert shown[-1].low == pytest.approx(1e7 / 1950)
    assert all(band.low < band.high for band in shown)
    assert shown_bands(np.array([600.0]), "nm") == []


def test_drawn_rows_include_required_rows() -> None:
    rows = np.arange(1000)
    drawn = drawn_rows(rows, [7, 999, 5000], 50)
    assert len(drawn) == len(set(drawn.tolist())) == 50
    assert {7, 999} <= set(drawn.tolist())
    assert 5000 not in drawn
    assert drawn_rows(rows, [], 1000) is rows


def test_names_in_a_figure_cover_neither_points_nor_each_other() -> None:
    x, y = np.array([0.5, 0.5, 0.9]), np.array([0.5, 0.505, 0.9])
    labels = named_points(x, y, ["first", "second", "third"], (0.0, 1.0, 0.0, 1.0))
    assert "third" in [label["text"] for label in labels]
    assert next(label["xanchor"] for label in labels if label["text"] == "third") in ("left", "right", "center")
    crowd = np.linspace(0, 1, 60)
    grid_x, grid_y = (axis.ravel() for axis in np.meshgrid(crowd, crowd))
    assert named_points(grid_x, grid_y, ["hidden"], (0.0, 1.0, 0.0, 1.0)) == []


def test_numbers_as_they_are_shown() -> None:
    assert [significant(v) for v in (0.04123, 1234.5, 0, -0.5, 3e-9, np.nan)] == [
        "0.0412",
        "1,234",
        "0",
        "−0.500",
        "3.00 × 10⁻⁹",
        "–",
    ]
    assert fixed(-0.001, 2) == "0.00"
    assert fixed(0.5, 1, sign=True) == "+0.5"
    assert decimals_for(0.43, []) == 2
    assert decimals_for(430.0, []) == 0
    assert decimals_for(np.nan, [1.0, 2.0, 3.0]) == 3
    assert decimals_for(0.0, [5.0, 5.0]) == 2
    assert shortened("a" * 30, 10, 3) == "aaaaaa…aaa"
    assert [nice_step(span) for span in (10, 11, 0.7, 0)] == pytest.approx([2, 2, 0.1, 1])
