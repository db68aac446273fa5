"""One head for one analyte over many datasets: trained on all others, tested on the one left out."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .calibrations import Calibration
from .methods.base import Unavailable
from .methods.pls import PLS
from .methods.preprocessing import PREPROCESSINGS, PreprocessedViews
from .methods.ridge import ScaledRidge
from .problems import Problems

#: What the datasets call an analyte; all in mass percent but pH.
ANALYTES: dict[str, tuple[str, ...]] = {
    "protein": ("protein", "Protein", "crude_protein_pct", "crude_protein", "Prot"),
    "moisture": ("moisture", "Moisture", "moisture_pct", "water"),
    "starch": ("starch", "Starch"),
    "fibre (ADF)": ("adf", "adf_pct"),
    "fibre (NDF)": ("ndf", "ndf_pct"),
    "soil organic carbon": ("soc", "carbon", "OC"),
    "clay": ("clay",),
    "pH": ("ph", "pH"),
}

#: Local samples that a bias, or bias and slope, correction may use.
CORRECTIONS = (0, 5, 10, 20)

_CAP = 150


@lru_cache(maxsize=1)
def members(problems: Problems) -> dict[str, list[Calibration]]:
    """Return the problems that measure an analyte, where two families at least do; read once per process."""
    measured = [p for p in problems if p.task == "regression"]
    found = {analyte: [p for p in measured if p.target in names] for analyte, names in ANALYTES.items()}
    return {analyte: of for analyte, of in found.items() if len({p.family for p in of}) >= 2}


def predict_left_out(
    method: str, training: list[Calibration], test: Calibration, views: object, seed: int
) -> NDArray[np.float64]:
    """Train one head on several datasets and predict another.

    Parameters
    ----------
    method : str
        ``snv-pls``: spectra interpolated to the grid of `test`, from datasets that cover half of it at least;
        else ridge on the embedding, each dataset on its own grid.
    training : list of Calibration
        Of other families; at most 150 spectra of each are used.
    test : Calibration
    views : Views
        Of the embedding.
    seed : int
        Of the choice of spectra.

    Raises
    ------
    Unavailable
        No dataset covers the range of `test`.
    """
    generator = np.random.default_rng(seed)
    if method == "snv-pls":
        training = [p for p in training if _coverage(p, test) >= 0.5]
        if not training:
            raise Unavailable("no dataset covers half of this one's range")
    parts = [p.take(np.sort(generator.permutation(len(p))[:_CAP])) for p in training]
    y = np.concatenate([p.y for p in parts])
    if method == "snv-pls":
        grid = PreprocessedViews(["snv"]).fit(test)
        X = np.concatenate([grid.view(p, "snv") for p in parts]).astype(np.float32)
        # Components are chosen over datasets; over samples where there is one dataset only.
        owner = np.repeat(np.arange(len(parts)), [len(p) for p in parts]) if len(parts) > 1 else parts[0].groups
        pooled = Calibration("pooled", test.target, "pooled", X, test.wavelengths, y, owner)
        test = Calibration(
            "pooled", test.target, "pooled", PREPROCESSINGS["snv"](test.X), test.wavelengths, test.y, test.groups
        )
        return PLS(PreprocessedViews(["raw"])).fit(pooled).predict(test)
    features = np.concatenate([views.view(p, "embedding") for p in parts])
    pooled = Calibration("pooled", test.target, "pooled", features, test.wavelengths, y, np.arange(len(y)))
    return ScaledRidge().fit(features, pooled).predict(views.view(test, "embedding"))


def _coverage(part: Calibration, test: Calibration) -> float:
    """Return the share of the test set's channels that lie within another's range."""
    low, high = part.wavelengths.min(), part.wavelengths.max()
    return float(((test.wavelengths >= low) & (test.wavelengths <= high)).mean())


def corrected(predicted: NDArray, y: NDArray, local: NDArray[np.int64]) -> NDArray:
    """Correct predictions by bias (below 10 local samples), or by bias and slope."""
    if len(local) == 0:
        return predicted
    if len(local) < 10:
        return predicted + (y[local] - predicted[local]).mean()
    slope, offset = (
        np.polyfit(predicted[local], y[local], 1) if np.ptp(predicted[local]) > 0 else (0.0, y[local].mean())
    )
    return slope * predicted + offset
