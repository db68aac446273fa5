"""The page of all phases, of small made-up tables."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import answers, page
from benchmarks.chapters import CHAPTERS
from benchmarks.encoders import DEFAULT
from benchmarks.phases import NAMES, PHASES, TRANSFER_RECIPE
from benchmarks.tables import REFERENCE, RESULTS

_EMBEDDED = f"ridge@{DEFAULT}"
_OF_PRETRAINING = ("phase1", "training_length", "phase2", "phase4", "phase5")


def _rows(**means: float) -> pd.DataFrame:
    """A comparison: intervals of a tenth either way, 12 targets, three of four won."""
    row = {"kind": "regression", "n": 200, "reference": REFERENCE, "targets": 12, "wins": 0.75, "p Holm": 0.01}
    rows = [
        {**row, "method": method, "geometric mean": mean, "low": mean - 0.1, "high": mean + 0.1, "median": mean}
        for method, mean in means.items()
    ]
    return pd.DataFrame(rows)


def _encoders(ratio: float) -> pd.DataFrame:
    """Two read-outs of a trained encoder, compared with PLS and with the untrained encoder."""
    methods = {f"ridge@ablation-mae~K:{readout}": ratio for readout in ("contrast", "mean")}
    to_untrained = [_rows(**methods).assign(reference=f"ridge@untrained:{name}") for name in ("contrast", "mean")]
    return pd.concat([_rows(**methods, **{"ridge@untrained:mean": 1.1}), *to_untrained])


def _tables(embedding: float) -> dict[str, pd.DataFrame]:
    """A table for every chapter."""
    unseen, committee = f"ridge@{TRANSFER_RECIPE}~K", f"committee@{TRANSFER_RECIPE}~K"
    of_sizes = _rows(**{_EMBEDDED: embedding})
    areas = {"method": ["snv-pls", _EMBEDDED], "noise": [0.1, 0.2], "scatter": [0.3, 0.2]}
    pooled = {
        "analyte": ["protein"],
        "method": ["snv-pls"],
        "test sets": [3],
        "rmsep_0": [0.9],
        "rmsep_5_added": [0.5],
        "rmsep_5_alone": [0.6],
    }
    cut = {"method": [unseen], "change": ["10% off the long end"], "targets": [12], "ratio": [embedding]}
    return {
        "phase0": _rows(**{_EMBEDDED: embedding, "gp": 1.2}),
        "phase3a": _rows(**{unseen: embedding}),
        "phase3a-heads": _rows(**{unseen: 1.2, committee: embedding}),
        "published": _rows(**{committee: embedding}).drop(columns=["kind", "n"]),
        "confirm": _rows(**{f"committee@{DEFAULT}": embedding}),
        "phase6": _rows(**{_EMBEDDED: embedding, f"krr@{DEFAULT}": 1.7}),
        "small_samples": pd.concat([of_sizes.assign(n=10), of_sizes.assign(n=float("inf"))]),
        "splits": of_sizes.assign(split="kennard_stone"),
        "finetuning": _rows(**{f"tuned@{DEFAULT}": embedding}).drop(columns=["kind", "reference"]),
        "intervals": pd.DataFrame({"method": [_EMBEDDED], "nominal": [0.9], "targets": [12], "coverage": [embedding]}),
        "robustness": pd.DataFrame(areas),
        "ranges": pd.DataFrame(cut),
        "transfer": _rows(**{f"{_EMBEDDED}, none 0": embedding}).drop(columns=["kind", "n", "reference"]),
        "pooled": pd.DataFrame(pooled),
        "leak": pd.DataFrame({"method": ["gp", "pls"], "verdict": ["skill", "none"]}),
        "labels": _rows(**{_EMBEDDED: embedding}),
        "views": _rows(**{"lvse-krr": embedding, "gcu-ridge": 3.0}).assign(reference=f"krr@{DEFAULT}"),
        "seeds": _rows(**{"ridge@untrained-1": 0.99, "ridge@local-contrast+seed1~K": embedding}).assign(
            reference="ridge@untrained"
        ),
        **{name: _encoders(embedding) for name in _OF_PRETRAINING},
    }


#: In the sentence of a chapter where the ratio of the embedding is 0.8 (0.7 to 0.9).
_LOWER = (
    "20 % lower than that of PLS, best of five preprocessings (geometric mean ratio 0.800, "
    "95 % interval 0.700 to 0.900), and lower on 75 % of 12 targets."
)
_WORDS = {
    "phase0": f"The RMSEP of embedding + ridge is {_LOWER}",
    "phase3a": f"The RMSEP of embedding (family unseen) + ridge is {_LOWER}",
    "phase3a-heads": f"The RMSEP of embedding (family unseen) + committee is {_LOWER}",
    "published": f"The RMSEP of embedding (family unseen) + committee is {_LOWER}",
    "confirm": f"The RMSEP of embedding + committee is {_LOWER}",
    "phase6": f"Of 2 methods, embedding + ridge has the lowest error: its RMSEP is {_LOWER}",
    "small_samples": "0.800 (0.700 to 0.900) with 10 calibration samples and 0.800 (0.700 to 0.900) with all",
    "splits": "on 12 targets: Kennard-Stone 0.800 (0.700 to 0.900).",
    "finetuning": "200 samples 0.800 (0.700 to 0.900), lower on 75 % of 12 targets.",
    "intervals": "is 80.0 % (embedding + ridge, 12 targets).",
    "robustness": (
        "The RMSEP of embedding + ridge grows less than that of SNV + PLS under 1 of 2 perturbations: scatter."
    ),
    "ranges": "0.800 (embedding (family unseen) + ridge, 12 targets)",
    "transfer": (
        "second instrument of embedding + ridge, no correction is 20 % lower than that of SNV + PLS, no correction"
    ),
    "pooled": (
        "0.90 (SNV + PLS) without local samples, 0.50 (SNV + PLS) with 5 of them added, "
        "and 0.60 (SNV + PLS) with these 5 alone"
    ),
    "leak": "skill: 1 of 2 (none: 1; too few families to decide: 0)",
    "views": (
        "RMSEP over that of embedding + kernel ridge on 12 targets (geometric mean, 95 % interval): "
        "local subspaces (LVSE) + kernel ridge 0.800 (0.700 to 0.900)."
    ),
    "seeds": (
        "the RMSEP is 0.800 to 0.800 with 1 trained encoder and 0.990 to 1.000 with 2 untrained ones: "
        "the gain is larger than the differences between seeds (12 targets)"
    ),
    "labels": "12 targets: embedding + ridge 0.800 (0.700 to 0.900).",
    **dict.fromkeys(
        _OF_PRETRAINING,
        "than the same read-out of the untrained one in 2 of 2 comparisons, and a clearly higher one in 0 "
        "(95 % interval over families). Ratios (geometric mean over 12 targets, interval). "
        "contrast read-out: masked modelling 0.800 (0.700 to 0.900). "
        "mean read-out: masked modelling 0.800 (0.700 to 0.900).",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, table in _tables(0.8).items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def test_the_page_has_the_sentence_of_every_phase(folder: Path) -> None:
    assert set(_WORDS) == {chapter.table for chapter in CHAPTERS}
    page.write(folder)
    texts = [(folder / f"index.{kind}").read_text("utf-8") for kind in ("html", "md")]
    for chapter in CHAPTERS:
        for text in texts:
            words = " ".join(text.split())
            assert _WORDS[chapter.table] in words, chapter.table
            assert chapter.question in words
            assert f"python -m benchmarks run {chapter.phase} " in text


def test_sentences_follow_the_table() -> None:
    chapters = {chapter.table: chapter for chapter in CHAPTERS}
    tables = _tables(1.3)
    for name in set(_WORDS) - {"robustness", "pooled", "leak"}:  # these have other figures in them
        assert _WORDS[name] not in chapters[name].answer(tables[name])
    assert "lower RMSEP than the same read-out of the untrained one in 0 of 2" in answers.pretraining(_encoders(1.3))
    assert "the gain is not larger than" in answers.seeds(tables["seeds"])
    assert "a clearly higher one in 2 (" in answers.pretraining(_encoders(1.3))
    assert "a clearly higher one in 0 (" in answers.pretraining(_encoders(1.05))
    # Encoders on points are compared with the untrained encoder on points.
    points = pd.concat(
        [
            _rows(**{"ridge@ablation-points~K:mean": 0.8}).assign(reference=f"ridge@untrained{kind}:mean")
            for kind in ("", "-points")
        ]
    )
    assert list(answers.to_untrained(points)["reference"]) == ["ridge@untrained-points:mean"]
    assert "No trained encoder" in answers.pretraining(_rows(**{_EMBEDDED: 1.3}))
    answer = answers.regression_of(_EMBEDDED)
    assert "30 % higher than that of PLS" in answer(_rows(**{_EMBEDDED: 1.3}))
    assert "not clearly different from that of PLS" in answer(_rows(**{_EMBEDDED: 0.95}))
    other = _rows(**{_EMBEDDED: 0.8}).assign(kind="classification")
    assert answer(other) == "No regression target was compared."


def test_chapters_are_the_phases() -> None:
    """Every phase that can be run stands on the page, under a name that the command knows."""
    assert {chapter.phase for chapter in CHAPTERS} == {NAMES.get(phase, phase) for phase in PHASES}


def test_the_page_stands_by_itself_and_says_what_is_missing(folder: Path) -> None:
    (folder / "leak.csv").unlink()
    (folder / "phase0_ratios.svg").write_text("<svg/>")
    text = page.html(folder)
    assert "Not measured in this folder: Shuffled targets." in text
    tags: list[tuple[str, dict]] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list) -> None:
            tags.append((tag, dict(attributes)))

    Tags().feed(text)
    images = [attributes["src"] for tag, attributes in tags if tag == "img"]
    assert images == ["data:image/svg+xml;base64,PHN2Zy8+"]
    assert not any(tag in ("script", "link") for tag, _ in tags)
    links = {attributes["href"][1:] for tag, attributes in tags if tag == "a"}
    assert links == {attributes["id"] for tag, attributes in tags if tag == "section"}


def test_size_and_time_are_those_that_were_noted(folder: Path) -> None:
    (before,) = (section for section in page.sections(folder) if section.anchor == "phase0")
    assert before.size == "12 targets, 3 splits of each."
    assert "estimated" in before.time
    noted = {"phase": "baselines", "tasks": 4321, "datasets": 4, "targets": 12, "splits": 3, "seconds": 7200}
    pd.DataFrame([noted]).to_csv(folder / "phases.csv", index=False)
    (after,) = (section for section in page.sections(folder) if section.anchor == "phase0")
    assert after.size == "4,321 tasks on 12 targets of 4 datasets, 3 splits."
    assert after.time == "Computation: 2 h (sum over tasks)."
    pd.DataFrame([{**noted, "encoders": 5, "training_seconds": 3000.0}]).to_csv(folder / "phases.csv", index=False)
    (trained,) = (section for section in page.sections(folder) if section.anchor == "phase0")
    assert trained.time == "Computation: 2 h (sum over tasks); training of 5 encoders: about 50 min on one core."


def test_readers_names_on_the_page_of_the_committed_tables() -> None:
    text = page.markdown(RESULTS)
    assert "| embedding + ridge |" in text
    assert "@" not in text
