"""Summary page of all phases, as self-contained HTML and as Markdown."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nirs4all_vit.spectra.findings import counted

from .answers import to_untrained
from .chapters import CHAPTERS, Chapter
from .clock import duration, expected_seconds
from .names import column_name, for_readers, reader_name, split_name
from .tables import REFERENCE

_TITLE = "The benchmark on one page"
_ABOUT = (
    "This page gives the result of each phase of the benchmark. Ratios are errors (RMSEP, or one minus the balanced "
    "accuracy) divided by those of the named method, on targets that at least one method predicts better than the "
    "mean. Means over targets are geometric. Intervals are 95 %, bootstrapped over families of datasets. P values are "
    "from Wilcoxon tests with Holm's correction. Every choice of a method is made inside its calibration set."
)

#: Columns of target tables that are not methods.
_ABOUT_TARGETS = ["kind", "n", "predictable", "family", "dataset", "target", "folds", "n calibration", "n test"]

#: Largest number of figures in a chapter.
_MAX_FIGURES = 6


@dataclass(frozen=True)
class Table:
    """Table with cells as text."""

    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Section:
    """Contents of the page for a phase."""

    anchor: str
    title: str
    question: str
    answer: str
    size: str
    time: str
    command: str
    tables: list[tuple[str, Table]]
    figures: list[str]


def write(folder: Path) -> list[Path]:
    """Write ``index.html`` and ``index.md`` into a folder of tables and figures; return both."""
    paths = [folder / "index.html", folder / "index.md"]
    paths[0].write_text(html(folder), "utf-8")
    paths[1].write_text(markdown(folder), "utf-8")
    return paths


def html(folder: Path) -> str:
    """Return the page as HTML with embedded figures."""

    def inline(name: str) -> str:
        content = base64.b64encode((folder / f"{name}.svg").read_bytes()).decode("ascii")
        return f"data:image/svg+xml;base64,{content}"

    return _render("page.html.jinja", folder, inline)


def markdown(folder: Path, images: str = "") -> str:
    """Return the page as Markdown; `images` is the prefix of the file names of figures."""
    return _render("page.md.jinja", folder, lambda name: f"{images}{name}.png")


def _render(template: str, folder: Path, address: Any) -> str:
    every = sections(folder)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=template.endswith(".html.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    shown = {section.title for section in every}
    return environment.get_template(template).render(
        title=_TITLE,
        about=_ABOUT,
        sections=every,
        images={name: address(name) for section in every for name in section.figures},
        missing=[chapter.title for chapter in CHAPTERS if chapter.title not in shown],
    )


def sections(folder: Path) -> list[Section]:
    """Return the sections for the tables in a folder, in the order of the chapters."""
    return [_section(chapter, folder) for chapter in CHAPTERS if (folder / f"{chapter.table}.csv").exists()]


def _section(chapter: Chapter, folder: Path) -> Section:
    table = pd.read_csv(folder / f"{chapter.table}.csv")
    size, time = _size(chapter, table, folder)
    stems = [path.stem for pattern in chapter.figures for path in sorted(folder.glob(f"{pattern}.svg"))]
    return Section(
        anchor=chapter.table,
        title=chapter.title,
        question=chapter.question,
        answer=chapter.answer(table),
        size=size,
        time=time,
        command=f"python -m benchmarks run {chapter.phase} --x-bank {chapter.bank} --out DIR",
        tables=_comparisons(table) if "geometric mean" in table else [("", _table(table))],
        figures=list(dict.fromkeys(stems))[:_MAX_FIGURES],
    )


def _comparisons(table: pd.DataFrame) -> list[tuple[str, Table]]:
    """Return a table for each kind, size and split, with ratios to `REFERENCE`, then to the untrained encoder."""
    parts = [(table[table["reference"] == REFERENCE] if "reference" in table else table, reader_name(REFERENCE))]
    untrained = to_untrained(table)
    if len(untrained):
        parts.append((untrained, "the same read-out of the untrained encoder"))
    keys = [name for name in ("kind", "n", "split") if name in table]
    return [
        (_caption(dict(zip(keys, key, strict=True)), rows, reference), _compared(rows))
        for part, reference in parts
        for key, rows in (part.groupby(keys, sort=False) if keys else [((), part)])
    ]


def _caption(condition: dict[str, Any], table: pd.DataFrame, reference: str) -> str:
    words = [str(condition["kind"])] if "kind" in condition else []
    if "n" in condition:
        words.append(
            "all calibration samples"
            if np.isinf(condition["n"])
            else f"at most {condition['n']:.0f} calibration samples"
        )
    if "split" in condition:
        words.append(f"{split_name(condition['split'])} splits")
    if "reference" in table:
        words.append(f"ratios to {reference}")
    text = ", ".join(words)
    return text[:1].upper() + text[1:]


def _compared(table: pd.DataFrame) -> Table:
    rows = [
        [
            reader_name(row["method"]),
            f"{row['targets']:.0f}",
            f"{row['geometric mean']:.3f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
            f"{row['median']:.3f}",
            f"{100 * row['wins']:.0f} %",
            f"{row['p Holm']:.1e}" if row["p Holm"] < 0.001 else f"{row['p Holm']:.3f}",
        ]
        for _, row in table.iterrows()
    ]
    return Table(["method", "targets", "ratio", "95 % interval", "median", "lower on", "p (Holm)"], rows)


def _table(table: pd.DataFrame) -> Table:
    table = for_readers(table)
    return Table(
        [column_name(str(name)) for name in table],
        [[_cell(v) for v in row] for row in table.itertuples(index=False)],
    )


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    if np.isnan(value):
        return ""
    return f"{value:.0f}" if value.is_integer() else f"{value:.3f}"


def _training(row: pd.Series) -> str:
    if not row.get("encoders"):
        return ""
    return (
        f"; training of {counted(int(row['encoders']), 'encoder')}: about {duration(row['training_seconds'])} on one "
        "core"
    )


def _size(chapter: Chapter, table: pd.DataFrame, folder: Path) -> tuple[str, str]:
    """Return the number of targets and the time, as recorded or from the committed costs."""
    path = folder / "phases.csv"
    noted = pd.read_csv(path).set_index("phase") if path.exists() else pd.DataFrame()
    if chapter.phase in noted.index and chapter.table != "confirm":
        row = noted.loc[chapter.phase]
        return (
            f"{counted(int(row['tasks']), 'task')} on {counted(int(row['targets']), 'target')} of "
            f"{counted(int(row['datasets']), 'dataset')}, {counted(int(row['splits']), 'split')}.",
            f"Computation: {duration(row['seconds'])} (sum over tasks){_training(row)}.",
        )
    splits = f"{chapter.splits} split{'s' if chapter.splits > 1 else ''} of each"
    path = folder / f"{chapter.table}_targets.csv"
    if path.exists():
        targets = pd.read_csv(path)
        of = targets.drop_duplicates(["dataset", "target"])
        size = (
            f"{len(of)} targets of {of['dataset'].nunique()} datasets and {of['family'].nunique()} families, {splits}."
        )
        counts = [(name, targets[name].notna().sum()) for name in targets.columns.difference(_ABOUT_TARGETS)]
    elif "targets" in table:
        size = f"{table['targets'].max():.0f} targets, {splits}."
        conditions = [name for name in ("method", "n", "split", "kind", "standardisation") if name in table]
        rows = table.drop_duplicates(conditions)
        counts = list(zip(rows["method"].str.partition(", ")[0], rows["targets"], strict=True))
    else:
        return f"{splits[:1].upper()}{splits[1:]} target.", "Its time is not in the tables."
    seconds = chapter.splits * sum(n * expected_seconds((chapter.phase, method)) for method, n in counts)
    return (
        size,
        f"Computation: about {duration(seconds)} on one core, estimated from the table of costs, without training.",
    )
