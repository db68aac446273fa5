"""Figures that the README and the documentation quote."""

from __future__ import annotations

import re

import pytest

from benchmarks.quoted import PAGES, figures, update
from tests.conftest import ROOT


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_figures_are_those_of_the_committed_tables(path: object) -> None:
    text = path.read_text("utf-8")
    assert update(text) == text, "run `python -m benchmarks report --readme`"


def test_a_figure_is_replaced_and_the_text_around_it_is_not() -> None:
    ratio, wins = figures()["strict.ridge"], figures()["strict.ridge.wins"]
    before = "It has 9.99<!-- strict.ridge --> and wins 1 %<!-- strict.ridge.wins --> of 5 <!-- no figure -->."
    after = f"It has {ratio}<!-- strict.ridge --> and wins {wins}<!-- strict.ridge.wins --> of 5 <!-- no figure -->."
    assert update(before) == after
    with pytest.raises(KeyError, match=r"strict\.nothing"):
        update("1.0<!-- strict.nothing -->")


def test_main_claims_are_quoted_from_tables() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    names = set(re.findall(r"<!-- ([\w.-]+) -->", readme))
    assert {"strict.committee", "strict.committee.wins", "strict.ridge", "confirm.committee", "bank.untrained"} <= names
    # Where a ratio of the results' table stands by itself, nobody would notice that it is old.
    results = readme.split("## Results")[1].split("## Limits")[0]
    assert not re.findall(r"\b[01]\.\d{3}\b(?!<!--)", results)
