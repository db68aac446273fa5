"""The page of the report: content of the sections and the HTML file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...files import atomic_path
from ..metrics import ClassificationMetrics
from ..results import CalibrationResult, Metrics, TargetResult
from . import class_figures, target_figures, words
from .figures import Figure, points_drawn
from .formats import MISSING, UNITS, count, fixed, like, percent, significant
from .overview_figures import comparison_figure, distances_figure, learning_figure, scores_figure
from .samples import Columns, Samples
from .spectra_figures import WavelengthAxis, importance_figure, spectra_figure

#: Largest number of findings outside of the collapsed part, and of outliers in the list.
_N_FINDINGS, _N_OUTLIERS = 12, 20


def write_report(result: CalibrationResult, path: Path) -> None:
    """Write the report of a calibration to one HTML file; it needs no network.

    Parameters
    ----------
    result : CalibrationResult
    path : Path
        File in an existing folder.
    """
    text = render_report(result)
    with atomic_path(path) as target:
        target.write_text(text, "utf-8", errors="replace")


def render_report(result: CalibrationResult) -> str:
    """Return the report of a calibration as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, significant=significant, sentence_case=_sentence_case)
    page = _Page(result)
    return environment.get_template("report.html.jinja").render(
        **page.context(), plotly=get_plotlyjs().replace("</script", "<\\/script")
    )


def inline_json(value: Any) -> str:
    """Return JSON for a script element: no text in it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@dataclass
class _Target:
    """Content of the page on one target."""

    name: str
    numeric: bool
    summary: list[list[str]]
    headline: str
    verdict: str
    against_pls: str
    coverage: str
    more: str
    figures: list[Figure] = field(default_factory=list)
    classes: list[dict[str, Any]] = field(default_factory=list)
    interval: Figure | None = None
    thirds: list[dict[str, Any]] = field(default_factory=list)
    learning: Figure | None = None
    importance: Figure | None = None
    bands: list[Any] = field(default_factory=list)
    methods: list[list[str]] = field(default_factory=list)
    has_test: bool = False


class _Page:
    """Figures and texts of a result."""

    def __init__(self, result: CalibrationResult) -> None:
        self.result = result
        self.samples = Samples(result)
        self.along = WavelengthAxis(result)
        self.limit = points_drawn(len(result.targets))

    def context(self) -> dict[str, Any]:
        result = self.result
        targets = [self._target(i, columns) for i, columns in enumerate(self.samples.columns)]
        overview = {
            "spectra": spectra_figure(result),
            "comparison": comparison_figure(result),
            "scores": scores_figure(result, self.limit),
            "distances": distances_figure(result, self.limit),
        }
        figures = [figure for figure in overview.values() if figure is not None]
        for target in targets:
            own = [*target.figures, target.interval, target.learning, target.importance]
            figures += [figure for figure in own if figure is not None]
        findings = sorted(result.findings, key=lambda one: ("error", "warning", "note").index(one.severity))
        return {
            "title": result.title,
            "facts": self._facts(),
            "key_figures": self._key_figures(),
            "targets": targets,
            "has_classes": any(not target.numeric for target in targets),
            "has_numbers": any(target.numeric for target in targets),
            "nominal": percent(result.coverage),
            "findings": findings[:_N_FINDINGS],
            "more_findings": findings[_N_FINDINGS:],
            "findings_sentence": words.findings_sentence(result),
            "outliers_sentence": words.outliers_sentence(result),
            "outliers": self._outliers(),
            "n_outliers_listed": _N_OUTLIERS,
            "axis_words": self.along.words(),
            "unit": UNITS[self.along.unit][0],
            **overview,
            "static_tables": self.samples.static_tables(),
            "n_samples": len(self.samples),
            "making": [*tables_of(result.settings, "Settings"), *tables_of(result.provenance, "Provenance")],
            "has_test": len(self.samples) > self.samples.n_calibration,
            "figures_json": inline_json({figure.key: figure.for_json() for figure in figures}),
            "samples_json": inline_json(self.samples.for_json()),
        }

    def _facts(self) -> list[str]:
        result, n = self.result, self.samples.n_calibration
        facts = [count(n, "sample")]
        if self.samples.has_replicates:
            physical = len(set(self.samples.groups[:n]))
            facts = [f"{count(n, 'spectrum', 'spectra')} of {count(physical, 'sample')}"]
        if len(self.samples) > n:
            facts.append(f"{len(self.samples) - n:,} more in the test set")
        facts.append(f"{count(len(result.wavelengths), 'wavelength')}, {self.along.words()}")
        if result.signal:
            facts.append(result.signal)
        facts.append(count(len(result.targets), "target"))
        if "date" in result.provenance:
            facts.append(str(result.provenance["date"]))
        return facts

    def _key_figures(self) -> list[tuple[str, str, str]]:
        """Return value, name and link target of the key figures."""
        result = self.result
        cards = []
        if len(result.targets) == 1:
            metrics = result.targets[0].cross_validated.metrics
            if isinstance(metrics, ClassificationMetrics):
                cards += [(percent(metrics.balanced_accuracy), "balanced accuracy", "predictions")]
            else:
                cards += [(significant(metrics.rmse), "RMSECV", "predictions")]
                cards += [(fixed(metrics.r2, 3), "R², cross-validation", "predictions")]
                test = result.targets[0].test
                if test is not None and not isinstance(test.metrics, ClassificationMetrics):
                    cards += [(significant(test.metrics.rmse), "RMSEP, test set", "predictions")]
            cards += [
                (
                    percent(result.targets[0].cross_validated.coverage),
                    f"coverage, nominal {percent(result.coverage)}",
                    "intervals",
                )
            ]
        else:
            cards += [(f"{len(result.targets)}", "targets", "predictions")]
        cards.append(
            (
                f"{len(result.outliers):,}",
                "outlier among the spectra" if len(result.outliers) == 1 else "outliers among the spectra",
                "map",
            )
        )
        serious = sum(one.severity != "note" for one in result.findings)
        cards.append((f"{serious:,}", "error or warning" if serious == 1 else "errors and warnings", "checks"))
        return cards

    def _outliers(self) -> list[list[str]]:
        from .spectra_figures import by_oddness

        samples = self.samples
        return [[samples.ids[row], *samples.distances(row)] for row in by_oddness(self.result)]

    def _target(self, number: int, columns: Columns) -> _Target:
        target, samples = columns.target, self.samples
        parts = [("Cross-validation", target.cross_validated)]
        if target.test is not None:
            parts.append(("Test set", target.test))
        shown = _Target(
            name=target.name,
            numeric=columns.is_numeric,
            summary=[[name, *_merit(part.metrics), percent(part.coverage, 1)] for name, part in parts],
            headline=words.headline(target),
            verdict=words.verdict(target),
            against_pls=words.against_pls(target),
            coverage=words.coverage_sentence(target.cross_validated, self.result.coverage, numeric=columns.is_numeric),
            more=words.would_more_help(target),
            learning=learning_figure(target, number),
            methods=_methods(target),
            has_test=target.test is not None,
        )
        if columns.is_numeric:
            shown.figures = [
                target_figures.predicted_figure(samples, columns, number, self.limit),
                target_figures.residual_figure(samples, columns, number, self.limit),
            ]
            shown.interval = target_figures.interval_figure(samples, columns, number)
            shown.thirds = target_figures.coverage_by_third(samples, columns)
        else:
            shown.figures = class_figures.confusion_figure(samples, columns, number)
            shown.classes = class_figures.class_table(samples, columns)
            shown.interval = class_figures.possible_figure(samples, columns, number)
        importance = importance_figure(self.result, target, number, self.along)
        if importance is not None:
            shown.importance, shown.bands = importance
        return shown


def _merit(metrics: Metrics) -> list[str]:
    """Return the figures of merit in the order of the summary's columns."""
    if isinstance(metrics, ClassificationMetrics):
        return [
            f"{metrics.n:,}",
            percent(metrics.accuracy, 1),
            percent(metrics.balanced_accuracy, 1),
            fixed(metrics.f1, 2),
        ]
    return [
        f"{metrics.n:,}",
        significant(metrics.rmse),
        fixed(metrics.r2, 3),
        like(metrics.bias, metrics.rmse),
        like(metrics.sep, metrics.rmse),
        fixed(metrics.rpd, 2),
        fixed(metrics.rpiq, 2),
    ]


def _methods(target: TargetResult) -> list[list[str]]:
    """Return per method its name, error, and ratio to PLS with interval."""
    rows = []
    for one in target.comparisons:
        error = one.metrics.error if isinstance(one.metrics, ClassificationMetrics) else one.metrics.rmse
        interval = f"{fixed(one.lower, 2)} to {fixed(one.upper, 2)}" if one.lower != one.upper else MISSING
        rows.append([one.name, significant(error), fixed(one.ratio, 2), interval])
    return rows


def tables_of(values: Mapping[str, Any], label: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return settings as tables of name and text: one for the top level, one per nested mapping."""
    pairs, nested = [], []
    for key, value in values.items():
        name = _sentence_case(str(key).replace("_", " "))
        if isinstance(value, Mapping):
            nested += tables_of(value, name)
        else:
            pairs.append((name if label in ("Settings", "Provenance") else str(key), _setting(value)))
    return [*([(label, pairs)] if pairs else []), *nested]


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return MISSING
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or MISSING
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.6g}"
    return str(value)


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]
