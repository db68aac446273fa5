"""What readers call the methods."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from benchmarks.encoders import DEFAULT
from benchmarks.methods.registry import parse_method
from benchmarks.names import for_readers, ordered, reader_name, style
from benchmarks.phases import NAMES, PHASES, STRICT
from benchmarks.problems import Problems
from benchmarks.tables import RESULTS


def _methods(phase: str) -> set[str]:
    """The methods of a phase as its tables call them."""
    if phase in STRICT:
        return set(STRICT[phase].named())
    # One dataset of regressions holds all methods but those for classes.
    tasks = PHASES[phase](Problems(datasets=("synthetic-0", "synthetic-1")))
    try:
        return {re.sub(r"~\d+", "~K", task.method) for task in tasks}
    except ValueError:  # needs a bank
        return set()


#: By number where a phase has one, so that each stands here once.
_PHASES = sorted(set(PHASES) - set(NAMES.values()))


def test_every_method_of_every_phase_has_a_name_of_its_own() -> None:
    methods = set.union(*map(_methods, _PHASES))
    assert len(methods) > 60
    names = {method: reader_name(method) for method in methods}
    assert len(set(names.values())) == len(methods), "two methods share a name"
    for method, name in names.items():
        _, encoder, _ = parse_method(method)
        # A method whose code name shines through has no name for readers.
        assert name != method
        assert "@" not in name
        assert encoder in (None, "untrained") or encoder not in name


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("best-pls", "PLS, best of five preprocessings"),
        (f"ridge@{DEFAULT}", "embedding + ridge"),
        (f"gp@{DEFAULT}", "embedding + Gaussian process"),
        ("ridge@ablation-mae~K:mean", "masked modelling: mean read-out"),
        ("ridge@ablation-episodic~0", "episodic calibration + ridge"),
        ("ridge@ablation-mae+1800k~K:mean", "masked modelling, 1,800,000 spectra: mean read-out"),
        ("ridge@local-contrast+seed1~3", "embedding (family unseen), seed 1 + ridge"),
        ("ridge@untrained-2", "untrained encoder, seed 2 + ridge"),
        ("plain-ridge@untrained:compact", "untrained encoder + ridge, columns not weighted: compact read-out"),
        (
            "half-metadata-ridge@ablation-metadata-dropout~K:mean",
            "episodes with half the metadata, scored with half: mean read-out",
        ),
        ("ridge@untrained#aaaaaa", "untrained encoder + ridge (weights aaaaaa)"),
        ("snv-pls, pds 10", "SNV + PLS, piecewise direct standardisation, 10 samples"),
        ("snv-pls, none 0", "SNV + PLS, no correction"),
        (f"ridge@{DEFAULT}, all sets", "embedding + ridge, all sets"),
        ("ridge@other.safetensors", "other.safetensors + ridge"),
    ],
)
def test_names(method: str, name: str) -> None:
    assert reader_name(method) == name


def test_committed_tables_have_readers_names() -> None:
    for path in RESULTS.glob("*.csv"):
        table = pd.read_csv(path)
        if "method" in table:
            left = [name for name in for_readers(table)["method"] if re.search(r"@|~K(?! )", name)]
            assert not left, path.name


def test_methods_that_figures_draw_as_lines_look_different() -> None:
    lines = ["pls", "snv-pls", "best-pls", "best-ridge", "gp", "pca-ridge", "ridge@untrained"]
    lines += [f"{head}@{DEFAULT}" for head in ("ridge", "robust-ridge", "committee", "tuned")]
    assert len({style(method).colour for method in lines}) == len(lines)
    assert style(f"ridge@{DEFAULT}, augment 20") == style(f"ridge@{DEFAULT}")


def test_the_order_is_that_of_the_names() -> None:
    methods = [f"ridge@{DEFAULT}", "gp", f"committee@{DEFAULT}", "ridge@untrained", "pls", "other"]
    lengths = [f"ridge@ablation-mae{size}~K" for size in ("+10k", "+50k", "", "+600k", "+1800k")]
    assert ordered(sorted(lengths)) == lengths
    assert ordered(methods) == ["pls", "gp", "other", "ridge@untrained", f"ridge@{DEFAULT}", f"committee@{DEFAULT}"]
