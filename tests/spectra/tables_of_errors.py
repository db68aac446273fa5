"""Valid tables, and random errors in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

NM = np.arange(1100.0, 1700.0, 50.0)


def spectra(n: int = 8, nm: np.ndarray = NM, seed: int = 0) -> np.ndarray:
    """Return absorbances with one band, rounded to five decimals."""
    rng = np.random.default_rng(seed)
    level, amount = rng.uniform(0.3, 0.5, (2, n, 1))
    X = level + amount * np.exp(-(((nm - 1450.0) / 80.0) ** 2)) + 0.001 * rng.standard_normal((n, nm.size))
    return X.round(5)


def table(
    n: int = 8, nm: np.ndarray = NM, *, sep: str = ",", decimal: str = ".", ids: str | None = None, label: str = "{:g}"
) -> str:
    """Return a valid table as text."""
    frame = pd.DataFrame(spectra(n, nm), columns=[label.format(v).replace(".", decimal) for v in nm])
    if ids is not None:
        frame.insert(0, ids, [f"A{i + 1}" for i in range(n)])
    return frame.to_csv(index=False, sep=sep, decimal=decimal)


def targets(n: int = 8) -> str:
    """Return a valid table of reference values as text."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"sample": [f"A{i + 1}" for i in range(n)], "protein": rng.normal(12, 1, n).round(2)})
    return frame.assign(kind=["oats", "rye"] * (n // 2) + ["rye"] * (n % 2)).to_csv(index=False)


Fault = Callable[[np.random.Generator, list[str]], list[str]]


def _cell(rng: np.random.Generator, lines: list[str]) -> list[str]:
    i = int(rng.integers(len(lines)))
    cells = lines[i].split(_sep(lines))
    words = (
        "",
        "x",
        "n.d.",
        "0,31",
        "1,234.5",
        "-9999",
        "1e31",
        "inf",
        "NA",
        "11100",
        "65535",
        '"',
        "0.31",
        " ",
        "1_0",
        "é",
    )
    cells[int(rng.integers(len(cells)))] = str(rng.choice(words))
    return [*lines[:i], _sep(lines).join(cells), *lines[i + 1 :]]


def _sep(lines: list[str]) -> str:
    return next((mark for mark in ";\t" if mark in lines[0]), ",")


def _character(rng: np.random.Generator, lines: list[str]) -> list[str]:
    i = int(rng.integers(len(lines)))
    at = int(rng.integers(len(lines[i]) + 1))
    return [*lines[:i], lines[i][:at] + str(rng.choice(list(',;\t"|x.-0 '))) + lines[i][at:], *lines[i + 1 :]]


def _cut(rng: np.random.Generator, lines: list[str]) -> list[str]:
    i = int(rng.integers(len(lines)))
    return [*lines[:i], lines[i][: int(rng.integers(len(lines[i]) + 1))], *lines[i + 1 :]]


def _repeat(rng: np.random.Generator, lines: list[str]) -> list[str]:
    i, j = rng.integers(len(lines), size=2)
    return [*lines[:i], lines[int(j)], *lines[i:]]


def _drop(rng: np.random.Generator, lines: list[str]) -> list[str]:
    i = int(rng.integers(len(lines)))
    return [*lines[:i], *lines[i + 1 :]] or [""]


def _end(rng: np.random.Generator, lines: list[str]) -> list[str]:
    i = int(rng.integers(len(lines)))
    return [line + _sep(lines) if rng.random() < 0.5 or j == i else line for j, line in enumerate(lines)]


def _delimiters(rng: np.random.Generator, lines: list[str]) -> list[str]:
    old, new = _sep(lines), str(rng.choice(list("|;\t,")))
    return [line.replace(old, new) if rng.random() < 0.8 else line for line in lines]


def _turn(_: np.random.Generator, lines: list[str]) -> list[str]:
    rows = [line.split(_sep(lines)) for line in lines]
    return [_sep(lines).join(row[i] if i < len(row) else "" for row in rows) for i in range(len(rows[0]))]


FAULTS: tuple[Fault, ...] = (
    _cell,
    _cell,
    _cell,
    _character,
    _character,
    _cut,
    _repeat,
    _drop,
    _end,
    _delimiters,
    _turn,
)


def spoiled(text: str, seed: int) -> bytes:
    """Return the table with up to three random changes, which need not be errors."""
    rng = np.random.default_rng(seed)
    lines = text.splitlines()
    for _ in range(int(rng.integers(4))):
        lines = FAULTS[int(rng.integers(len(FAULTS)))](rng, lines)
    encoding = "latin-1" if rng.random() < 0.2 else "utf-8"
    return "\n".join([*lines, ""]).encode(encoding)
