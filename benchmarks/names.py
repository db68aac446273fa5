"""Readable name, position and colour of each method in tables and figures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from .encoders import DEFAULT
from .methods.registry import VIEW_HEADS

#: Heads on an embedding, in the order of all figures.
_HEADS = {
    "ridge": "ridge",
    "plain-ridge": "ridge, columns not weighted",
    "robust-ridge": "ridge (robust=True)",
    "metadata-ridge": "scored with metadata",
    "half-metadata-ridge": "scored with half",
    "committee": "committee",
    "pls": "PLS",
    "plsda": "PLS-DA",
    "gp": "Gaussian process",
    "krr": "kernel ridge",
    "svr": "support vector regression",
    "svc": "support vector classifier",
    "logistic": "logistic regression",
    "mlp": "neural network",
    "tabpfn": "TabPFN",
    "tabicl": "TabICL",
    "tuned": "tuned on the calibration set",
}

#: Untrained views in front of heads, with names and colours.
_VIEWS = {
    "pca": ("PCA", "#DDCC77"),
    "pls-scores": ("PLS scores", "#6699CC"),
    "lvse": ("local subspaces (LVSE)", "#88CCEE"),
    "gcu": ("non-negative factors (GCU)", "#44AA99"),
    "lvse-gcu": ("LVSE and GCU", "#117733"),
}

#: Methods on spectra, in the order of all figures.
_SPECTRA = {
    "mean": "mean of the calibration set",
    "pls": "PLS",
    "snv-pls": "SNV + PLS",
    "sg1-pls": "first derivative + PLS",
    "asls-snv-pls": "AsLS + SNV + PLS",
    "best-pls": "PLS, best of five preprocessings",
    "ridge": "ridge",
    "asls-snv-ridge": "AsLS + SNV + ridge",
    "best-ridge": "ridge, best of five preprocessings",
    **{f"{view}-{head}": f"{name} + {_HEADS[head]}" for head in VIEW_HEADS for view, (name, _) in _VIEWS.items()},
    "gp": "Gaussian process",
    "aom-pls": "AOM-PLS",
    "aom-ridge": "AOM-Ridge",
    "aom-ridge-blender": "AOM-Ridge, blended",
    "tabpfn-nirs": "TabPFN on spectra",
    "multirocket-ridge": "MultiRocket + ridge",
}

#: Length of training of the ablations, in thousands of spectra.
_ABLATION = 204.8

#: What joins encoder and head in a name, where that is no plus sign.
_JOINED = {"tuned": " ", "metadata-ridge": ", ", "half-metadata-ridge": ", "}

#: Encoders, in the order of all figures; ``~K`` is scored on families left out of its training.
_ENCODERS = {
    "untrained": "untrained encoder",
    "untrained-points": "untrained encoder on points",
    DEFAULT: "embedding",
    "local-contrast~K": "embedding (family unseen)",
    "nirs-base-v1~K": "embedding of nirs-base-v1 (family unseen)",
    "labelled~K": "embedding tuned on other families",
    "labelled-tenth~K": "embedding tuned on other families, a tenth of the loss",
    "ablation-mae~K": "masked modelling",
    "ablation-augmentation~K": "masked modelling, augmented",
    "ablation-baseline~K": "augmented + baseline consistency",
    "ablation-contrastive~K": "augmented + baseline + contrastive",
    "ablation-adversary~K": "augmented + baseline + contrastive + adversary",
    "ablation-all~K": "all five objectives",
    "ablation-episodic~K": "episodic calibration",
    "ablation-linear-spikes~K": "episodes on single channels",
    "ablation-linear-functionals~K": "episodes on linear functionals",
    "ablation-nonlinear-functionals~K": "episodes on non-linear functionals",
    "ablation-region-to-region~K": "episodes from region to region",
    "ablation-hidden-components~K": "episodes on components of a hidden region",
    "ablation-mae-points~K": "masked modelling on points",
    "ablation-augmentation-points~K": "masked modelling on points, augmented",
    "ablation-baseline-points~K": "augmented + baseline consistency on points",
    "ablation-points~K": "episodic calibration on points",
    "ablation-synthetic-low~K": "episodes, 30 % synthetic spectra",
    "ablation-synthetic-high~K": "episodes, 70 % synthetic spectra",
    "ablation-metadata~K": "episodes with metadata",
    "ablation-metadata-dropout~K": "episodes with half the metadata",
}

#: Corrections in calibration transfer.
_CORRECTIONS = {
    "none": "no correction",
    "native": "calibrated on the second instrument",
    "ds": "direct standardisation",
    "pds": "piecewise direct standardisation",
    "sst": "spectral space transformation",
    "augment": "calibration extended",
    "unlabelled": "adapted to unlabelled spectra",
}


@dataclass(frozen=True)
class Style:
    """Style of a method in figures; marker and line distinguish methods with the same colour."""

    colour: str
    marker: str = "o"
    line: str = "-"


#: Colours of Okabe and Ito (2008) and of Paul Tol's muted scheme, suitable for colour-blind
#: readers.
_STYLES = {
    "mean": Style("#BBBBBB", "x", ":"),
    "pls": Style("#56B4E9", "s", ":"),
    "snv-pls": Style("#0072B2", "s"),
    "sg1-pls": Style("#332288", "s", "--"),
    "asls-snv-pls": Style("#88CCEE", "s", "-."),
    "best-pls": Style("#000000", "s"),
    "ridge": Style("#999999", "D", ":"),
    "asls-snv-ridge": Style("#666666", "D", "-."),
    "best-ridge": Style("#999933", "D"),
    **{
        f"{view}-{head}": Style(colour, marker, "--")
        for view, (_, colour) in _VIEWS.items()
        for head, marker in zip(VIEW_HEADS, "D^P", strict=True)
    },
    "gp": Style("#009E73", "^"),
    "aom-pls": Style("#44AA99", "v"),
    "aom-ridge": Style("#117733", "v", "--"),
    "aom-ridge-blender": Style("#117733", "v", ":"),
    "tabpfn-nirs": Style("#AA4499", "P"),
    "multirocket-ridge": Style("#882255", "X", "--"),
}
_EMBEDDINGS = {
    "untrained": Style("#E69F00", "o", "--"),
    DEFAULT: Style("#D55E00"),
    "local-contrast~K": Style("#D55E00"),
    "ablation-mae~K": Style("#AA4499", "^", ":"),
    "ablation-augmentation~K": Style("#AA4499", "^", "--"),
    "ablation-baseline~K": Style("#AA4499", "^", "-"),
}
#: Heads that appear beside ridge in figures with lines.
_EMBEDDED_HEADS = {
    "robust-ridge": Style("#CC79A7", "o", "-."),
    "committee": Style("#882255", "o", "-"),
    "tuned": Style("#CC6677", "o", ":"),
}
#: All other encoders, trained for a phase.
_TRAINED = Style("#CC6677")


def reader_name(method: str) -> str:
    """Return the readable name of a method; unknown names are returned unchanged.

    A condition may follow after a comma (``snv-pls, pds 10``); folds are written ``~K``.
    """
    method, _, condition = method.partition(", ")
    method, _, weights = method.partition("#")
    name = _name(method)
    if weights:
        name += f" (weights {weights})"
    return f"{name}, {condition_name(condition)}" if condition else name


def _name(method: str) -> str:
    head, encoder, readout = parts(method)
    if not encoder:
        return _SPECTRA.get(head, head)
    embedding = _encoder_name(encoder)
    if head != "ridge" or not readout:
        embedding = f"{embedding}{_JOINED.get(head, ' + ')}{_HEADS.get(head, head)}"
    return f"{embedding}: {readout} read-out" if readout else embedding


def _encoder_name(encoder: str) -> str:
    """Return the readable name of an encoder, with length or seed of its training if these are in its name."""
    name = _ENCODERS.get(without_changes(encoder), encoder)
    size, seed = _thousands(encoder), _seed(encoder)
    if size:
        name += f", {size:,},000 spectra"
    return f"{name}, seed {seed}" if seed else name


def without_changes(encoder: str) -> str:
    """Return the name of an encoder without another length or seed."""
    return re.sub(r"\+\w+|(?<=^untrained)-\d+", "", encoder)


def _thousands(encoder: str) -> int | None:
    """Return the number of thousands of spectra in the name of an encoder."""
    size = re.search(r"\+(\d+)k", encoder)
    return int(size[1]) if size else None


def _seed(encoder: str) -> int:
    """Return the seed in the name of an encoder, or 0."""
    seed = re.search(r"(?:\+seed|^untrained-)(\d+)", encoder)
    return int(seed[1]) if seed else 0


def condition_name(condition: str) -> str:
    """Return the readable name of a transfer correction (``pds 10``), or the condition itself."""
    way, _, samples = condition.partition(" ")
    if way not in _CORRECTIONS:
        return condition
    return _CORRECTIONS[way] + (f", {samples} samples" if samples not in ("", "0") else "")


def split_name(split: str) -> str:
    """Return the readable name of a split."""
    return {"kennard_stone": "Kennard-Stone", "spxy": "SPXY"}.get(split, split)


def parts(method: str) -> tuple[str, str, str]:
    """Return head, encoder and read-out; without encoder the first is a method on spectra."""
    plain = re.sub(r"~\d+", "~K", method.partition(", ")[0].partition("#")[0])
    head, _, rest = plain.partition("@")
    encoder, _, readout = rest.partition(":")
    return head, encoder, readout


def readout(method: str) -> str:
    """Return the read-out in the name of a method, or an empty string."""
    return parts(method)[2]


def style(method: str) -> Style:
    """Return the style of a method in figures."""
    head, encoder, _ = parts(method)
    if not encoder:
        return _STYLES.get(head, _STYLES["mean"])
    if encoder != "untrained" and head in _EMBEDDED_HEADS:
        return _EMBEDDED_HEADS[head]
    return _EMBEDDINGS.get(without_changes(encoder), _TRAINED)


def place(method: str) -> tuple[int, int, float, int, int, int, str]:
    """Return the sort key of a method, common to all figures and legends."""
    head, encoder, _ = parts(method)
    way = _index(_CORRECTIONS, method.partition(", ")[2].partition(" ")[0])
    if not encoder:
        return 0, _index(_SPECTRA, head), 0, 0, 0, way, method
    size = _thousands(encoder) or _ABLATION
    return 1, _index(_ENCODERS, without_changes(encoder)), size, _seed(encoder), _index(_HEADS, head), way, method


def _index(names: dict[str, str], name: str) -> int:
    return list(names).index(name) if name in names else len(names)


def ordered(methods: Iterable[str]) -> list[str]:
    """Return methods in the common order of all figures."""
    return sorted(methods, key=place)


#: Columns of the table of pooled calibrations; errors are in SD of the test set.
_COLUMNS = {
    **{
        f"rmsep_{k}{how}": f"{k} {words}"
        for k in (5, 10, 20)
        for how, words in (("", "corrected"), ("_added", "added"), ("_alone", "alone"))
    },
    "rmsep_0": "no local samples",
    "bias": "bias",
    "sep": "error without bias",
    "level": "difference of the means",
    "r": "correlation",
}


def column_name(column: str) -> str:
    """Return the readable name of a column of a table."""
    return _COLUMNS.get(column, column.replace("_", " "))


def for_readers(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with readable names in the columns `method` and `reference`."""
    columns = [name for name in ("method", "reference") if name in table]
    return table.assign(**{name: table[name].map(reader_name) for name in columns})
