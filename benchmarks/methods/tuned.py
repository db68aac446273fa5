"""Encoder tuned on the calibration set, and report of the effect of tuning."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nirs4all_vit import SpectralClassifier, SpectralRegressor

from .. import statistics
from ..calibrations import Calibration
from ..embeddings import EmbeddedView
from ..encoders import DEFAULT
from ..tables import REFERENCE, labelled, measured, write_table
from .base import Method


class Tuned(Method):
    """`SpectralRegressor` or `SpectralClassifier`, with weights and read-out of a view.

    Cached embeddings are not used, because the encoder changes.
    """

    def __init__(self, views: EmbeddedView) -> None:
        self.weights, self.readout = views.weights, views.readout

    def fit(self, part: Calibration) -> Tuned:
        """Tune and calibrate; the held-out validation set contains whole samples."""
        estimator = SpectralRegressor if part.task == "regression" else SpectralClassifier
        model = estimator(self.weights, readout=self.readout, axis_unit="nm", device="cpu")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*stays as it was pretrained")
            self.model = model.fit(part.X, part.y, wavelengths=part.wavelengths, groups=part.groups)
        self.chosen = "tuned" if self.model.tuned_ else "frozen"
        return self

    def predict(self, part: Calibration) -> NDArray:
        """Predict values or codes of classes."""
        return np.ravel(self.model.predict(part.X, wavelengths=part.wavelengths))


def report(tables: dict[str, pd.DataFrame], to: Path) -> None:
    """Compare the tuned encoder with the frozen one, at each size of the calibration set."""
    table, frozen, tuned = measured(tables["calibration"], "kind"), f"ridge@{DEFAULT}", f"tuned@{DEFAULT}"
    if table.empty:
        return
    table = table[(table["split"] == "random") & table["method"].isin(["mean", REFERENCE, frozen, tuned])]
    rows = []
    for n, part in table.assign(n=table["n_train"].fillna(np.inf)).groupby("n"):
        errors = statistics.errors(part)
        if not {"mean", frozen, tuned} <= set(errors):
            continue
        errors = errors.dropna()
        errors = statistics.of_targets(errors, statistics.predictable(errors)).drop(columns="mean")
        compared = labelled(statistics.compare(errors, frozen), n=n)
        # Share of fits in which the held-out samples favoured tuning; otherwise the encoder stays
        # frozen.
        share = (part.loc[part["method"] == tuned, "chosen"] == "tuned").mean()
        rows.append(compared.assign(share_tuned=np.where(compared["method"] == tuned, share, np.nan)))
    if rows:
        write_table(pd.concat(rows), to / "finetuning")
