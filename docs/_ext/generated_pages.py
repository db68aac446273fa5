"""Pages generated from the code: configuration reference, command line, results, summary, pictures of the
encoder and of the modules.

``python docs/_ext/generated_pages.py`` and every build of the documentation write them. They are committed, so that
they can be read without a build.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import os
import re
import sys
import textwrap
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pandas as pd
from numpydoc.docscrape import NumpyDocString

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # where the script runs by itself, the benchmark is not installed

from encoder_picture import encoder_picture  # noqa: E402

from benchmarks import page as benchmark_page  # noqa: E402 - found through the path above
from benchmarks.tables import RESULTS, markdown, read_comparison  # noqa: E402 - found through the path above

#: Selects the targets of classification among the comparisons of a phase.
CLASSES = {"kind": "classification"}

#: Tables of the results page: file, title, introduction, and the selected comparisons of a phase.
TABLES = (
    (
        "phase0",
        "Calibration against the usual methods",
        "All regression targets of the bank that at least one method predicts better than the mean.",
        {},
    ),
    (
        "phase0",
        "Classification",
        "Classification error divided by that of PLS-DA with the best preprocessing.",
        CLASSES,
    ),
    (
        "phase3a",
        "Unseen families",
        "Five encoders, each scored on the families left out of its training.",
        {},
    ),
    (
        "phase3a",
        "Unseen families, 25 calibration samples",
        "The same encoders with at most 25 calibration samples.",
        {"n": 25},
    ),
    ("phase3a-heads", "Unseen families, other heads", "The same encoders under ridge and the committee.", {}),
    ("phase6", "Heads", "The bundled encoder under each head, on one dataset of each family.", {}),
    ("phase6", "Heads for classification", "The bundled encoder under each head for classes.", CLASSES),
    (
        "finetuning",
        "Fine-tuning",
        "Error of the encoder fine-tuned on each calibration set, divided by that of the frozen encoder.",
        None,
    ),
    ("intervals", "Prediction intervals", "Nominal and empirical coverage.", None),
    ("published", "Published splits", "Errors and ratios on the splits that came with the datasets.", None),
    ("confirm", "Confirmation set", "Families that were not used during development.", {}),
    ("robustness", "Perturbed spectra", "Increase of the error under each perturbation.", None),
    (
        "ranges",
        "Another wavelength range",
        "RMSEP of changed test spectra divided by that of the whole spectra, for encoders trained without the family "
        "(`~K`): geometric mean and worst target. `recalibrated` is a new calibration on the narrower range. `moved` "
        "is the median change of the predictions in standard deviations of the target.",
        None,
    ),
    (
        "transfer",
        "Calibration transfer",
        "Calibration on one instrument, prediction on another, with and without transfer samples.",
        None,
    ),
    (
        "transfer_unlabelled",
        "Calibration transfer with 30 unlabelled spectra",
        "RMSEP divided by that without these spectra, and by that of SNV + PLS. The unlabelled spectra are of the same "
        "population, or of the upper half of the target only.",
        None,
    ),
    (
        "transfer_uncut",
        "A narrower instrument",
        "RMSEP with the whole range of the calibration, divided by that with both instruments cut to the shared range.",
        None,
    ),
    ("novelty", "Fault detection after a fit", "`SpectralNovelty` fitted on the calibration set.", None),
    (
        "novelty_bank",
        "Fault detection without a fit",
        "`SpectralNovelty.bank_scores`, which needs no calibration set.",
        None,
    ),
    ("labels", "Fine-tuning on other families", "Encoders fine-tuned on the targets of other families.", {}),
    ("leak", "Leak test", "Methods and experiments on shuffled targets.", None),
    ("cost", "Cost", "Time and memory of each method.", None),
    ("speed_encoding", "Speed of encoding", "Spectra per second.", None),
    ("speed_others", "Speed of other transforms", "Spectra per second.", None),
    ("not_run", "Methods not run", "Methods that could not run, and the reason.", None),
)

#: The layers of the package, from top to bottom: a module imports from the layers below it only.
FLOORS = (
    (
        ("cli.py", "embed, check, export, pretrain, finetune, info"),
        ("benchmarks/", "protocol, phases, statistics, results"),
    ),
    (("calibration/", "from files to a report and a model folder"),),
    (
        ("finetuning/", "end to end, many tasks"),
        ("nirs4all_host/", "axis and groups of nirs4all"),
        ("diagnostics/", "novelty, importance"),
    ),
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
    """Skip the methods that scikit-learn adds for metadata routing."""
    return True if re.fullmatch(r"set_\w+_request", name) else skip


def _write(app: Any) -> None:
    write(Path(app.srcdir))


def write(folder: Path) -> None:
    """Write the pages that have changed."""
    pages = {
        "configuration.md": configuration(),
        "command_line.md": command_line(),
        "results.md": results(),
        "summary.md": summary(),
        "_static/house.svg": house(),
        "_static/encoder.svg": encoder_picture(),
    }
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def house() -> str:
    """Return the picture of the layers as SVG."""
    width, height, gap = 900, 58, 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {len(FLOORS) * (height + gap)}" '
        'font-family="sans-serif" text-anchor="middle">'
    ]
    for floor, rooms in enumerate(FLOORS):
        room = (width - gap * (len(rooms) - 1)) / len(rooms)
        for i, (name, about) in enumerate(rooms):
            x, y = i * (room + gap), floor * (height + gap)
            shade = 96 - 3 * floor
            parts.append(
                f'<rect x="{x:.0f}" y="{y}" width="{room:.0f}" height="{height}" rx="6" '
                f'fill="hsl(210 45% {shade}%)" stroke="#7892ab"/>'
                f'<text x="{x + room / 2:.0f}" y="{y + 25}" font-size="15" font-weight="bold" fill="#223">{name}</text>'
                f'<text x="{x + room / 2:.0f}" y="{y + 44}" font-size="12" fill="#223">{about}</text>'
            )
    return "\n".join([*parts, "</svg>\n"])


def configuration() -> str:
    """Return the configuration reference: every setting of a recipe and of fine-tuning, from the dataclasses."""
    from nirs4all_vit.finetuning import FinetuningConfig
    from nirs4all_vit.pretraining import PretrainingConfig

    parts = [
        "# Configuration reference\n",
        "This page lists the keys of a pretraining recipe (YAML) and of `nirs4all-vit finetune`. Each key is\n"
        "also an option of the command, as in `nirs4all-vit pretrain --optim.steps 500`. `--print-config`\n"
        "prints the configuration of a run. Parameters of estimators are in the [API reference](api.md).\n",
    ]
    for prefix, kind in _sections(PretrainingConfig):
        parts.append(_table(f"`{prefix}`", kind, prefix))
    parts.append(_table("`nirs4all-vit finetune`", FinetuningConfig, ""))
    return "\n".join(parts)


def _sections(kind: type, prefix: str = "") -> list[tuple[str, type]]:
    """Return the nested dataclasses with the prefix of their keys."""
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
    """Return the help text of each command."""
    from nirs4all_vit.cli import main

    parts = ["# Command line\n", "This page shows the help text of each command of `nirs4all-vit`.\n"]
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
        "# All result tables\n",
        "This page shows all tables of the benchmark. It is generated from the files in\n"
        "`benchmarks/results/`, which the commands of [the benchmark page](benchmark.md) write.\n",
    ]
    for name, title, text, which in TABLES:
        table = pd.read_csv(RESULTS / f"{name}.csv") if which is None else read_comparison(name, **which)
        about = textwrap.fill(text, 100, break_on_hyphens=False)
        parts.append(f"## {title}\n\n{about}\n\n{markdown(table, 4 if name == 'cost' else 3)}\n")
    return "\n".join(parts)


def summary() -> str:
    """Return the summary of the benchmark, from the committed tables and figures."""
    return benchmark_page.markdown(RESULTS, "../benchmarks/results/")


if __name__ == "__main__":
    write(ROOT / "docs")
