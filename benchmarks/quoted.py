"""Figures in README and documentation, quoted from the committed tables.

A figure in the text is followed by its name in a comment that is not displayed: ``0.871<!--
strict.ridge -->``. ``python -m benchmarks report --readme`` updates all figures; a test compares
them.
"""

from __future__ import annotations

import json
import re
from functools import cache

import numpy as np
import pandas as pd

from .answers import to_first_seed, to_untrained
from .bank import summarise
from .encoders import DEFAULT
from .leak import VERDICTS
from .methods.registry import parse_method
from .phases import TRANSFER_RECIPE
from .tables import REFERENCE, RESULTS, ROOT, UNTRAINED, read_comparison

#: Files with quoted figures.
PAGES = (ROOT / "README.md", ROOT / "nirs4all_vit/weights/MODEL_CARD.md", *sorted((ROOT / "docs").glob("*.md")))

_FIGURE = re.compile(r"(-?\d[\d,]*(?:\.\d+)?(?: ?%)?)<!-- ([\w.-]+) -->")

#: Column of the table of intervals.
_WIDTH = "width / ridge's"

_BUNDLED, _UNSEEN = f"@{DEFAULT}", f"@{TRANSFER_RECIPE}~K"


def update(text: str) -> str:
    """Return a text with figures from the committed tables; raises KeyError for unknown names."""
    values = figures()
    return _FIGURE.sub(lambda match: f"{values[match[2]]}<!-- {match[2]} -->", text)


def write_pages() -> None:
    """Update the figures of all pages from the committed tables."""
    for path in PAGES:
        text = path.read_text("utf-8")
        if (new := update(text)) != text:
            path.write_text(new, "utf-8")


@cache
def figures() -> dict[str, str]:
    """Return all figures as text, by name."""
    out: dict[str, str] = {}
    for part in (
        _bank_targets,
        _unseen,
        _confirmed,
        _published,
        _designed_splits,
        _other_heads,
        _changed_spectra,
        _instruments,
        _novelty,
        _pooled,
        _speed,
        _synthetic,
        _pretraining,
        _seeds,
        _leak,
    ):
        out |= part()
    return out


def _ratio(value: float) -> str:
    return f"{value:.3f}"


def _share(value: float, digits: int = 0) -> str:
    return f"{100 * value:.{digits}f} %"


def _compared(phase: str, name: str, method: str, **which: object) -> dict[str, str]:
    """Return ratio, interval, wins and number of targets of a method in a phase, under `name`."""
    row = read_comparison(phase, **which).set_index("method").loc[method]  # type: ignore[arg-type]
    return {
        name: _ratio(row["geometric mean"]),
        f"{name}.lower": _share(1 - row["geometric mean"]),
        f"{name}.low": _ratio(row["low"]),
        f"{name}.high": _ratio(row["high"]),
        f"{name}.wins": _share(row["wins"]),
        f"{name}.targets": str(int(row["targets"])),
    }


def _worst(phase: str, method: str, n: int) -> str:
    table = pd.read_csv(RESULTS / f"{phase}_targets.csv")
    table = table[(table["kind"] == "regression") & (table["n"] == n) & table["predictable"]]
    return f"{(table[method] / table['best-pls']).max():.2f}"


def _bank_targets() -> dict[str, str]:
    """Return results of the bundled encoder on the bank, and its comparison with PCA."""
    table = pd.read_csv(RESULTS / "phase0_targets.csv")
    table = table[(table["kind"] == "regression") & table["predictable"]]
    pca, untrained = (summarise(pd.read_csv(RESULTS / "bank_pca.csv"), reference=name) for name in ("pca", "untrained"))
    smooth = pd.read_csv(RESULTS / "resampling.csv")
    return {
        **_compared("phase0", "bank.ridge", f"ridge{_BUNDLED}"),
        **_compared("phase0", "bank.untrained", "ridge@untrained"),
        **_compared("phase0", "bank.pls", "pls"),
        "bank.datasets": str(table["dataset"].nunique()),
        "bank.families": str(table["family"].nunique()),
        "pca.targets": str(int(pca["targets"])),
        "pca.wins": _share(pca["wins"]),
        "pca.ratio": _ratio(pca["geometric mean of ratios, predictable"]),
        "pca.untrained": _ratio(untrained["geometric mean of ratios, predictable"]),
        "resampling.cosine": f"{smooth['smallest cosine'].min():.4f}",
        "resampling.sets": str(len(smooth)),
    }


def _unseen() -> dict[str, str]:
    """Return results on families left out of training."""
    ridge, committee = f"ridge{_UNSEEN}", f"committee{_UNSEEN}"
    out = {
        **_compared("phase3a", "strict.ridge", ridge),
        **_compared("phase3a", "strict.ridge.25", ridge, n=25),
        **_compared("phase3a", "strict.compact", f"{ridge}:compact", reference=ridge),
        **_compared("phase3a", "strict.compact.25", f"{ridge}:compact", n=25, reference=ridge),
        **_compared("phase3a-heads", "strict.committee", committee),
        **_compared("phase3a-heads", "strict.committee.25", committee, n=25),
        **_compared("phase3a-heads", "strict.committee.10", committee, n=10),
        **_compared("phase3a-heads", "strict.gp", "gp"),
        **_compared("phase3a-heads", "strict.gp.25", "gp", n=25),
        "strict.committee.worst": _worst("phase3a-heads", committee, 200),
        "strict.committee.25.worst": _worst("phase3a-heads", committee, 25),
    }
    for name, reference in (("best-ridge", "best-ridge"), ("gp", "gp"), ("untrained", "ridge@untrained")):
        out |= _compared("phase3a", f"strict.ridge.to-{name}", ridge, reference=reference)
        out |= _compared("phase3a-heads", f"strict.committee.to-{name}", committee, reference=reference)
    return out


def _confirmed() -> dict[str, str]:
    out: dict[str, str] = {}
    for name, method in (
        ("committee", f"committee{_BUNDLED}"),
        ("ridge", f"ridge{_BUNDLED}"),
        ("gp", "gp"),
        ("pls", "pls"),
    ):
        out |= _compared("confirm", f"confirm.{name}", method)
    out["confirm.classes"] = _compared("confirm", "", f"ridge{_BUNDLED}", kind="classification")[""]
    out["confirm.worst"] = _worst("confirm", f"committee{_BUNDLED}", 200)
    return out


def _published() -> dict[str, str]:
    table = pd.read_csv(RESULTS / "published.csv").set_index(["reference", "method"])
    out = {"published.targets": str(int(table["targets"].iloc[0]))}
    methods = {"committee": f"committee{_UNSEEN}", "ridge": f"ridge{_UNSEEN}", "gp": "gp", "aom-pls": "aom-pls"}
    for reference in ("pls", "best-pls"):
        for name, method in methods.items():
            out[f"published.{name}.to-{reference}"] = _ratio(table.loc[(reference, method), "geometric mean"])
    return out


def _designed_splits() -> dict[str, str]:
    """Return the ratios of the embedding to tuned PLS by kind of split, on the same targets."""
    table = pd.read_csv(RESULTS / "splits.csv")
    rows = table[(table["kind"] == "regression") & (table["method"] == f"ridge{_BUNDLED}")].set_index("split")
    ratios = {f"splits.{split}": _ratio(row["geometric mean"]) for split, row in rows.iterrows()}
    return {"splits.targets": str(int(rows["targets"].iloc[0])), **ratios}


def _other_heads() -> dict[str, str]:
    """Return results of other heads on the bundled encoder, of tuning and of intervals."""
    out: dict[str, str] = {}
    for head in ("gp", "krr", "ridge", "mlp", "svr", "pls"):
        out |= _compared("phase6", f"heads.{head}", f"{head}{_BUNDLED}")
    tuned = pd.read_csv(RESULTS / "finetuning.csv").set_index("method").loc[f"tuned{_BUNDLED}", "geometric mean"]
    out |= {f"tuned.{name}": _ratio(value) for name, value in zip(("50", "200", "all"), tuned, strict=True)}
    held = pd.read_csv(RESULTS / "intervals.csv").set_index(["method", "nominal"])
    for head in ("ridge", "committee"):
        for nominal in (0.8, 0.9, 0.95):
            row, name = held.loc[(f"{head}{_BUNDLED}", nominal)], f"intervals.{head}.{100 * nominal:.0f}"
            out |= {name: _ratio(row["coverage"]), f"{name}.far": _ratio(row["coverage of the far half"])}
    row = held.loc[(f"committee{_BUNDLED}", 0.9)]
    return out | {
        "intervals.width": f"{row[_WIDTH]:.2f}",
        "intervals.targets": str(int(row["targets"])),
    }


def _changed_spectra() -> dict[str, str]:
    """Return the effects of perturbations and of other axes."""
    out: dict[str, str] = {}
    grows = pd.read_csv(RESULTS / "robustness.csv").set_index("method")
    methods = {
        "pls": "snv-pls",
        "gp": "gp",
        "untrained": "ridge@untrained",
        "plain": f"ridge{_BUNDLED}",
        "robust": f"robust-ridge{_BUNDLED}",
        "committee": f"committee{_BUNDLED}",
    }
    for name, method in methods.items():
        for what, column in (
            ("drift", "baseline drift"),
            ("shift", "wavelength shift"),
            ("scatter", "scatter"),
            ("noise", "noise"),
        ):
            out[f"robustness.{name}.{what}"] = f"{grows.loc[method, column]:.2f}"
    cut = pd.read_csv(RESULTS / "ranges.csv").set_index(["method", "change"])
    cut = cut.loc[f"ridge{_UNSEEN}"]
    for name, change in (("point", "one point"), ("1", "1%"), ("5", "5%"), ("20", "20%")):
        for end in ("short", "long"):
            row = cut.loc[f"{change} off the {end} end"]
            out |= {
                f"ranges.{name}.{end}": _ratio(row["ratio"]),
                f"ranges.{name}.{end}.recalibrated": _ratio(row["recalibrated"]),
            }
    for name, change in (
        ("middle", "10% missing in the middle"),
        ("second", "every second point"),
        ("dead", "three dead channels"),
    ):
        out[f"ranges.{name}"] = _share(cut.loc[change, "ratio"] - 1, 1)
    out["ranges.worst"] = f"{cut.loc['5% off the long end', 'worst']:.2f}"
    return out


def _instruments() -> dict[str, str]:
    """Return the results on a second instrument."""
    table = pd.read_csv(RESULTS / "transfer_unlabelled.csv").set_index(["population", "standardisation"])
    table = table[table["method"] == f"ridge{_BUNDLED}"]
    uncut = pd.read_csv(RESULTS / "transfer_uncut.csv").set_index("method").loc[f"ridge{_BUNDLED}"]
    return {
        "transfer.targets": str(int(table.loc[("all", "none"), "targets"])),
        "transfer.none": _ratio(table.loc[("all", "none"), "over snv-pls"]),
        "transfer.adapted": _ratio(table.loc[("all", "unlabelled"), "over snv-pls"]),
        "transfer.native": _ratio(table.loc[("all", "native"), "over snv-pls"]),
        "transfer.adapted.to-none": _ratio(table.loc[("all", "unlabelled"), "over without"]),
        "transfer.upper.to-none": _ratio(table.loc[("upper", "unlabelled"), "over without"]),
        "transfer.uncut": _ratio(uncut["ratio"]),
        "transfer.uncut.groups": _ratio(uncut["ratio, by group"]),
        "transfer.uncut.median": _ratio(uncut["median"]),
        "transfer.uncut.targets": str(int(uncut["targets"])),
    }


def _novelty() -> dict[str, str]:
    """Return the detection of faults, with and without a calibration set.

    The smallest AUC is rounded down.
    """
    fitted, bank = (pd.read_csv(RESULTS / f"{name}.csv").set_index("fault") for name in ("novelty", "novelty_bank"))
    weak = ["dead channel", "dead block", "flipped"]

    def smallest(values: pd.Series) -> str:
        return f"{np.floor(values.min() * 100) / 100:.2f}"

    def flagged(table: pd.DataFrame, fault: str, digits: int = 0) -> str:
        return _share(float(table.loc[fault, "share flagged"]), digits)

    out = {
        "novelty.auc": smallest(fitted["AUC"]),
        "novelty.sound": flagged(fitted, "none"),
        "novelty.families": str(int(fitted.loc["none", "families"])),
        "novelty.bank.sound": flagged(bank, "none", 1),
        "novelty.bank.auc": smallest(bank["AUC"].drop(weak)),
        "novelty.bank.percent": flagged(bank, "percent reflectance"),
        "novelty.bank.reflectance": flagged(bank, "as published"),
    }
    return out | {f"novelty.bank.{fault.replace(' ', '-')}": f"{bank.loc[fault, 'AUC']:.2f}" for fault in weak}


def _pooled() -> dict[str, str]:
    """Return errors of pooled calibrations / SD of the test set, as medians over test sets."""
    table = pd.read_csv(RESULTS / "pooled_sets.csv")
    median = table.groupby("method").median(numeric_only=True)
    out = {
        "pooled.sets": str(table.groupby(["analyte", "dataset"]).ngroups),
        "pooled.analytes": str(table["analyte"].nunique()),
    }
    columns = [
        "rmsep_0",
        "bias",
        "sep",
        "level",
        "r",
        *(f"rmsep_{k}{how}" for k in (5, 10, 20) for how in ("", "_added", "_alone")),
    ]
    for name, method in (
        ("ridge", f"ridge{_BUNDLED}"),
        ("pls", "snv-pls"),
        ("pca", "pca-ridge"),
        ("committee", f"committee{_BUNDLED}"),
    ):
        if method in median.index:
            out |= {f"pooled.{name}.{column}": f"{median.loc[method, column]:.2f}" for column in columns}
    protein = table[(table["analyte"] == "protein") & (table["method"] == f"ridge{_BUNDLED}")]
    for column in ("rmsep_5_added", "rmsep_5_alone"):
        out[f"pooled.protein.{column}"] = f"{protein[column].median():.2f}"
    return out


def _synthetic() -> dict[str, str]:
    """Return how well synthetic spectra are told from real ones, and paired views retrieved."""
    measured = json.loads((RESULTS / "synthetic_utility.json").read_text("utf-8"))
    out = {f"synthetic.{kind}.auc": f"{of['summary']['median_auc']:.2f}" for kind, of in measured.items()}
    pairs = measured["hybrid"]["retrieval"]
    for name, label in (("embedding", "embedding"), ("sg1-snv", "SG1 + SNV")):
        out[f"synthetic.hybrid.{name}"] = _share(float(np.mean(pairs[f"{label}, other instrument"])))
    return out


def _pretraining() -> dict[str, str]:
    """Return the ratios of trained encoders to the same read-out of the untrained one.

    Names are ``phase1.mae.mean``: phase, encoder, read-out; another head than ridge stands before the encoder.
    ``.to-contrast`` is the ratio to untrained ``contrast``, ``.to-best-pls`` that to the best of five preprocessings.
    """
    out: dict[str, str] = {}
    for phase in ("phase1", "training_length", "phase2", "phase4", "phase5"):
        table = pd.read_csv(RESULTS / f"{phase}.csv")
        table = table[(table["kind"] == "regression") & table["method"].str.contains("~K:")]
        parts = {"": to_untrained(table)}
        for name, reference in (("to-contrast", UNTRAINED[0]), ("to-best-pls", REFERENCE)):
            parts[f".{name}"] = table[table["reference"] == reference]
        for suffix, rows in parts.items():
            for _, row in rows.iterrows():
                head, encoder, readout = parse_method(row["method"])
                words = [] if head == "ridge" else [head.removesuffix("-ridge")]
                words += [str(encoder).removeprefix("ablation-").removesuffix("~K").replace("+", "-"), readout]
                name = ".".join([phase, *words]) + suffix
                out |= {name: _ratio(row["geometric mean"]), f"{name}.worse": _share(row["geometric mean"] - 1)}
                out |= {f"{name}.{end}": _ratio(row[end]) for end in ("low", "high")}
                out[f"{name}.targets"] = str(int(row["targets"]))
    return out


def _seeds() -> dict[str, str]:
    """Return the ratios of several seeds to the untrained encoder of seed 0, smallest and largest."""
    table = to_first_seed(pd.read_csv(RESULTS / "seeds.csv"))
    trained = table["method"].str.contains("~")
    ratios = {"trained": table.loc[trained, "geometric mean"], "untrained": table.loc[~trained, "geometric mean"]}
    out = {"seeds.targets": str(int(table["targets"].max()))}
    for name, values in ratios.items():
        out |= {f"seeds.{name}.smallest": _ratio(values.min()), f"seeds.{name}.largest": _ratio(values.max())}
    return out


def _leak() -> dict[str, str]:
    """Return the number of combinations of experiment and method by verdict."""
    counts = pd.read_csv(RESULTS / "leak.csv")["verdict"].value_counts()
    return {"leak.rows": str(counts.sum())} | {f"leak.{name}": str(counts.get(name, 0)) for name in VERDICTS}


def _speed() -> dict[str, str]:
    """Return the speed of pretraining on two cores."""
    timed = json.loads((RESULTS / "pretraining_speed.json").read_text("utf-8"))
    out: dict[str, str] = {}
    for name, kind in (("points", "points"), ("patches", "patches"), ("resampled", "patches, resampled")):
        part = timed[kind]
        out |= {
            f"speed.{name}": f"{part['spectra per second']:.0f}",
            f"speed.{name}.single": f"{part['spectra per second, one by one']:.0f}",
            f"speed.{name}.peak": _share(part["share of the matmul peak"]),
            f"speed.{name}.preparation": _share(part["share of preparation"], 1),
        }
    return out | {
        "speed.cpu": f"{timed['episodes']['spectra per second']:,.0f}",
        "speed.cpu.episodes": f"{timed['episodes']['episodes per second']:.0f}",
        "speed.cpu.preparation": _share(timed["episodes"]["share of preparation"], 1),
    }
