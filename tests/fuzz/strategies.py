"""Strategies for valid and invalid spectra and axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

MOST_POINTS = 160
_FAULTS = (
    *("value", "wavelength", "duplicate", "negative", "zero", "outside", "short", "long", "text", "complex", "cube"),
    *("flat", "none", "words", "nested", "object", "masked", "unit", "empty"),
)
DTYPES = ("float16", "float32", "float64", "int8", "uint16", "int32", "int64", ">f4", ">f8")


@st.composite
def axes(draw: st.DrawFn, n: int) -> tuple[np.ndarray, str]:
    """Draw a valid axis of n points in any unit and order, and the unit."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low = draw(st.floats(200.0, 29_000.0))
    high = draw(st.floats(min(low + 20.0, 29_900.0), 30_000.0))
    kind = draw(st.sampled_from(["even", "uneven", "close"]))
    if kind == "even":
        nm = np.linspace(low, high, n)
    elif kind == "uneven":
        nm = rng.uniform(low, high, n)
    else:
        nm = low + (high - low) * np.cumsum(rng.uniform(1e-6, 1.0, n)) / (n + 1)
    nm = np.unique(nm.clip(200.0, 30_000.0))
    nm = nm if len(nm) == n else np.linspace(200.0, 30_000.0, n)
    unit = draw(st.sampled_from(["nm", "cm-1", "um"]))
    axis = {"nm": nm, "cm-1": 1e7 / nm, "um": nm / 1e3}[unit]
    # Conversions round: keep values within the range, and distinct.
    shrunk = np.unique(axis * (1.0 - 1e-9) + 1e-9 * axis.mean())
    axis = shrunk if len(shrunk) == n else axis
    order = draw(st.sampled_from(["ascending", "descending", "shuffled"]))
    axis = axis[::-1] if order == "descending" else rng.permutation(axis) if order == "shuffled" else axis
    return np.ascontiguousarray(axis), unit


@st.composite
def tables(draw: st.DrawFn, n_rows: int | None = None, n: int | None = None) -> np.ndarray:
    """Draw finite spectra (n_rows, n) of any magnitude, dtype and memory layout."""
    n_rows = n_rows or draw(st.integers(1, 5))
    n = n or draw(st.one_of(st.integers(1, 8), st.integers(1, MOST_POINTS)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.sampled_from(["smooth", "noise", "constant", "spike", "steps"]))
    place = np.linspace(0.0, 1.0, n)
    X = {
        "smooth": np.sin(rng.uniform(0, 12, (n_rows, 1)) * place + rng.uniform(0, 6, (n_rows, 1))),
        "noise": rng.normal(size=(n_rows, n)),
        "constant": np.ones((n_rows, n)) * rng.normal(size=(n_rows, 1)),
        "spike": np.where(np.arange(n) == rng.integers(n), 1.0, 0.0) * rng.normal(size=(n_rows, 1)),
        "steps": np.round(rng.normal(size=(n_rows, n))),
    }[shape]
    if dtype.kind == "f":
        # float16 ends at 65,504; no instrument gives more than 1e30.
        most = 4 if dtype.itemsize == 2 else 28
        X = X * 10.0 ** draw(st.integers(-most, most)) + draw(
            # A spike a thousand times above its level would be a fill value.
            st.just(0.0) if shape == "spike" else st.sampled_from([0.0, 1.0, -3.0, 1e3])
        )
    else:
        info = np.iinfo(dtype)
        X = (
            (X * draw(st.sampled_from([1.0, 50.0, 1e4, 1e9])))
            .clip(max(info.min, -(2**62)), min(info.max, 2**62))
            .round()
        )
    with np.errstate(over="ignore"):
        X = X.astype(dtype)
    X = np.where(np.isfinite(X), X, np.zeros((), dtype)).astype(dtype)
    layout = draw(st.sampled_from(["C", "F", "strided", "read-only"]))
    if layout == "strided":
        wide = np.zeros((2 * n_rows, 3 * n), dtype)
        wide[::2, ::3] = X
        X = wide[::2, ::3]
    elif layout == "F":
        X = np.asfortranarray(X)
    elif layout == "read-only":
        X.flags.writeable = False
    return X


@st.composite
def arguments(draw: st.DrawFn, X: np.ndarray, axis: np.ndarray, unit: str) -> tuple[Any, dict[str, Any]]:
    """Return spectra and axis in a form that users pass: X and parameters of the embedder."""
    way = draw(st.sampled_from(["array", "lists", "frame", "labels"]))
    if way == "frame":
        return pd.DataFrame(X.astype(X.dtype.newbyteorder("=")), columns=axis), {"axis_unit": unit}
    if way == "labels":
        return X, {"wavelengths": [f"{value!r} {unit}" for value in axis.tolist()]}
    return X.tolist() if way == "lists" else X, {"wavelengths": axis, "axis_unit": unit}


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[Any, dict[str, Any]]:
    """Draw invalid spectra or an invalid axis; return X and parameters of the embedder."""
    n = draw(st.integers(2, 40))
    X = np.ones((3, n)) + np.arange(n)
    nm = np.linspace(1000.0, 2000.0, n)
    at = draw(st.integers(0, n - 1))
    row = draw(st.integers(0, 2))
    bad = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    kind = draw(st.sampled_from(_FAULTS))
    axis: Any = nm.copy()
    unit = "nm"
    if kind == "value":
        # A few missing points are valid.
        X[row, slice(None) if np.isnan(bad) else at] = bad
    elif kind == "wavelength":
        axis[at] = bad
    elif kind == "duplicate":
        axis[at] = axis[at - 1]
    elif kind in ("negative", "zero"):
        axis[at] = -axis[at] if kind == "negative" else 0.0
    elif kind == "outside":
        axis[at] = draw(st.sampled_from([1e-3, 199.0, 30_001.0, 1e300]))
    elif kind == "short":
        axis = axis[: draw(st.integers(0, n - 1))]
    elif kind == "long":
        axis = np.linspace(1000.0, 2000.0, n + draw(st.integers(1, 5)))
    elif kind == "text":
        X = X.astype(str).astype(object)
        X[row, at] = draw(
            st.text(st.characters(categories=["L"]), min_size=1).filter(
                lambda t: t.lower() not in ("inf", "infinity", "nan")
            )
        )
    elif kind == "complex":
        X = X + 1j
    elif kind == "cube":
        X = X[None]
    elif kind == "flat":
        X = X[0]
    elif kind == "none":
        X = X.astype(object)
        X[row] = None
    elif kind == "words":
        axis = [draw(st.text(max_size=5).filter(lambda t: not any(c.isdigit() for c in t))) for _ in range(n)]
    elif kind == "nested":
        axis = [axis, axis]
    elif kind == "object":
        X = [list(X[0]), [object()] * n, list(X[2])]
    elif kind == "masked":
        X = np.ma.array(X, mask=np.broadcast_to(np.arange(3)[:, None] == row, X.shape))
    elif kind == "unit":
        unit = draw(st.text(max_size=6).filter(lambda t: t not in ("auto", "nm", "cm-1", "um")))
    else:
        X = X[:0] if draw(st.booleans()) else X[:, :0]
    return X, {"wavelengths": axis, "axis_unit": unit}
