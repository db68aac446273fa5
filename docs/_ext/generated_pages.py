"""Pages that are made of the code: configuration reference, command line, results, the house.

They are committed, so that they can be read where nothing is built: ``python docs/_ext/generated_pages.py`` writes them, and so
does every build.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import os
import re
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pandas as pd
from numpydoc.docscrape import NumpyDocString

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # where the script runs by itself, the benchmark is not installed

from benchmarks import page as benchmark_page  # noqa: E402 - found through the path above
from benchmarks.tables import RESULTS, markdown, read_comparison  # noqa: E402 - found through the path above

#: Of a phase's comparisons.
CLASSES = {"kind": "classification"}

#: Tables of the results page: file, title, what it says, and which of the comparisons of a phase.
TABLES = (
    (
        "phase0",
        "Calibration, beside what is used today",
        "Every regression target of the bank that any method predicts.",
        {},
    ),
    ("phase0", "Classes", "Error of classification over that of PLS-DA with the best preprocessing.", CLASSES),
    (
        "phase3a",
        "Families that the encoder has not seen",
        "Five encoders, each scored on the families that it was trained without.",
        {},
    ),
    ("phase3a", "The same with 25 calibration samples", "", {"n": 25}),
    ("phase3a-heads", "Families that the encoder has not seen, other heads", "", {}),
    ("phase6", "Heads", "One dataset of each family; the bundled encoder under each head.", {}),
    ("phase6", "Heads for classes", "", CLASSES),
    ("finetuning", "Tuned on each calibration set, over the frozen encoder", "", None),
    ("intervals", "Prediction intervals", "", None),
    ("published", "Publishers' own splits", "", None),
    ("confirm", "Families that nobody developed on", "", {}),
    ("robustness", "Perturbed spectra", "Growth of the error under each perturbation.", None),
    (
        "ranges",
        "Another range",
        "RMSEP of changed test spectra over that of whole ones, with encoders that have not seen the family (`~K`): geometric mean and worst "
        "target; `anew` is a calibration made on the narrower range, `moved` the median change of predictions in standard deviations of the target.",
        None,
    ),
    ("transfer", "Another instrument", "", None),
    (
        "transfer_unlabelled",
        "Another instrument, with 30 unlabelled spectra of it",
        "RMSEP over that without them, and over that of SNV and PLS; the same population, and the upper half of the target only.",
        None,
    ),
    (
        "transfer_uncut",
        "A narrower instrument",
        "RMSEP with the calibration's whole range, over that with both cut to the shared range by hand.",
        None,
    ),
    ("novelty", "Faults that are found after a fit", "", None),
    ("novelty_bank", "Faults that are found without a fit", "", None),
    ("labels", "Tuned on the targets of other families", "", {}),
    ("leak", "Shuffled targets", "", None),
    ("cost", "Cost", "", None),
    ("speed_encoding", "Speed of encoding", "", None),
    ("speed_others", "Other transforms", "", None),
    ("not_run", "What could not run", "", None),
)

#: The house, floor by floor: what stands on a floor imports from the floors below it, and not from those above.
FLOORS = (
    (("cli.py", "embed, check, export, pretrain, finetune, info"), ("benchmarks/", "protocol, phases, statistics, results")),
    (("finetuning/", "end to end, many tasks"), ("nirs4all_host/", "hands over the axis"), ("diagnostics/", "novelty, importance")),
    (("pretraining/", "data, tasks, objectives, loop"), ("heads/", "ridge, GP, TabPFN, intervals")),
    (("embedder.py", "SpectralEmbedder"),),
    (("embedding/", "inference, cache, column weighting, GLSW, files of any size"),),
    (("encoder/", "Spectral Perceiver in pure torch, checkpoints, ONNX"), ("weights/", "nirs-base-v2")),
    (("spectra/", "values and wavelengths in nm, axes, tables, checks"), ("errors.py", "what to do")),
)  # fmt: skip


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", _write)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _skip(_app: Any, _kind: str, name: str, _member: Any, skip: bool, _options: Any) -> bool | None:
    """Leave out what scikit-learn adds for its metadata routing, in words of its own documentation."""
    return True if re.fullmatch(r"set_\w+_request", name) else skip


def _write(app: Any) -> None:
    write(Path(app.srcdir))


def write(folder: Path) -> None:
    """Write the pages, those that have changed."""
    pages = {
        "configuration.md": configuration(),
        "command_line.md": command_line(),
        "results.md": results(),
        "summary.md": summary(),
        "_static/house.svg": house(),
    }
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def house() -> str:
    """Return the picture of the floors, as SVG."""
    width, height, gap = 900, 58, 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {len(FLOORS) * (height + gap)}" font-family="sans-serif" '
        'text-anchor="middle">'
    ]
    for floor, rooms in enumerate(FLOORS):
        room = (width - gap * (len(rooms) - 1)) / len(rooms)
        for i, (name, about) in enumerate(rooms):
            x, y = i * (room + gap), floor * (height + gap)
            shade = 96 - 3 * floor
            parts.append(
                f'<rect x="{x:.0f}" y="{y}" width="{room:.0f}" height="{height}" rx="6" fill="hsl(210 45% {shade}%)" stroke="#7892ab"/>'
                f'<text x="{x + room / 2:.0f}" y="{y + 25}" font-size="15" font-weight="bold" fill="#223">{name}</text>'
                f'<text x="{x + room / 2:.0f}" y="{y + 44}" font-size="12" fill="#223">{about}</text>'
            )
    return "\n".join([*parts, "</svg>\n"])


def configuration() -> str:
    """Return the configuration reference: every setting of a recipe and of tuning, from the dataclasses."""
    from nirs4all_vit.finetuning import FinetuningConfig
    from nirs4all_vit.pretraining import PretrainingConfig

    parts = [
        "# Configuration reference\n",
        "Keys of a recipe (YAML) and options of `nirs4all-vit pretrain`, as in `--optim.steps 500`. `--print-config` shows those of a run. "
        "What a fitted estimator can be told is in the [API reference](api.md).\n",
    ]
    for prefix, kind in _sections(PretrainingConfig):
        parts.append(_table(f"`{prefix}`", kind, prefix))
    parts.append(_table("`nirs4all-vit finetune`", FinetuningConfig, ""))
    return "\n".join(parts)


def _sections(kind: type, prefix: str = "") -> list[tuple[str, type]]:
    """Return the dataclasses below one, with the prefix of their keys."""
    sections = []
    for field in dataclasses.fields(kind):
        nested = field.default_factory if isinstance(field.default_factory, type) else None
        if nested is not None and dataclasses.is_dataclass(nested):
            name = f"{prefix}{field.name}"
            sections += _sections(nested, f"{name}.") or []
            if any(not _is_nested(f) for f in dataclasses.fields(nested)):
                sections.append((name, nested))
    return sections


def _is_nested(field: dataclasses.Field) -> bool:
    return isinstance(field.default_factory, type) and dataclasses.is_dataclass(field.default_factory)


def _table(title: str, kind: type, prefix: str) -> str:
    documented = NumpyDocString(inspect.cleandoc(kind.__doc__ or ""))
    listed = documented["Parameters"] or documented["Attributes"]
    meaning = {name: (entry.type, " ".join(entry.desc)) for entry in listed for name in re.split(r",\s*", entry.name)}
    rows = [
        f"## {title}\n",
        _cell(" ".join(documented["Summary"])) + "\n",
        "| key | type | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for field in dataclasses.fields(kind):
        if _is_nested(field):
            continue
        default = _default(field)
        type_, text = meaning.get(field.name, (str(field.type), ""))
        key = f"{prefix}.{field.name}".strip(".")
        rows.append(f"| `{key}` | {_cell(type_)} | {_cell(default)} | {_cell(text)} |")
    return "\n".join(rows) + "\n"


def _default(field: dataclasses.Field) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    return f"`{field.default_factory()!r}`" if field.default_factory is not dataclasses.MISSING else "required"


def _cell(text: str) -> str:
    return re.sub(r"(?::\w+:)?`+([^`]*)`+", r"`\1`", text).replace("|", "\\|")


def command_line() -> str:
    """Return what `--help` says, command by command."""
    from nirs4all_vit.cli import main

    parts = ["# Command line\n"]
    os.environ["COLUMNS"] = "100"
    for command in (
        (),
        ("calibrate",),
        ("predict",),
        ("adapt",),
        ("embed",),
        ("check",),
        ("export",),
        ("precompute-asls",),
        ("info",),
    ):
        printed = io.StringIO()
        with redirect_stdout(printed), suppress(SystemExit):
            main([*command, "--help"])
        parts.append(f"## `{' '.join(['nirs4all-vit', *command])}`\n\n```text\n{printed.getvalue().rstrip()}\n```\n")
    parts.append(
        "`nirs4all-vit pretrain` and `finetune` take the keys of the [configuration reference](configuration.md).\n"
    )
    return "\n".join(parts)


def results() -> str:
    """Return the committed tables of the benchmark."""
    parts = [
        "# Results reporting\n",
        "Made by the commands of [the benchmark page](benchmark.md), committed in `benchmarks/results/`; this page is generated from those files.\n",
    ]
    for name, title, about, which in TABLES:
        table = pd.read_csv(RESULTS / f"{name}.csv") if which is None else read_comparison(name, **which)
        parts.append(f"## {title}\n\n{about}\n\n{markdown(table, 4 if name == 'cost' else 3)}\n")
    return "\n".join(parts)


def summary() -> str:
    """Return the benchmark on one page, of the committed tables and figures."""
    return benchmark_page.markdown(RESULTS, "../benchmarks/results/")


if __name__ == "__main__":
    write(ROOT / "docs")
