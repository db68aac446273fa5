"""Codes of at most 512 columns for local contrast, compared under ridge (research log, section 25).

``python -m benchmarks.research.compact_codes --x-bank DIR`` takes about three minutes on one core. Each code is fitted
on the families outside of the fold on which it is scored. The encoder is the bundled one, which has seen these
families; all codes share its features.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.embedding.column_weighting import ColumnWeighting

from ..calibrations import bank_families, load_calibrations, read_about, read_spectra
from ..encoders import fold_families
from ..methods.ridge import ScaledRidge
from ..tables import RESULTS

#: Patches by scale, finest first; features of a patch (three views of 15 coefficients, 16 outputs of the network).
_PATCHES, _VIEWS = (31, 15, 7, 3), (15, 15, 15, 16)
_SCALE = np.repeat(np.arange(4), _PATCHES)
_HALF = sum(_PATCHES) * sum(_VIEWS)
#: Components by scale, finest first: 512 columns.
_SHIPPED = (10, 8, 7, 11)
#: Spectra of each dataset that a code is fitted on.
_SAMPLED = 64


class Codes:
    """Features of local contrast of a bank, and codes fitted on parts of it."""

    def __init__(self, x_bank: Path) -> None:
        self.x_bank = x_bank
        names = sorted(path.stem for path in x_bank.glob("*.csv"))
        self.family = {name: read_about(x_bank, name).get("family", name) for name in names}
        self.folds = fold_families(bank_families(x_bank))
        self.features = cache(self._features)
        self.tokens = cache(self._tokens)
        self.sample = cache(self._sample)
        self.weights = cache(self._weights)
        self.components = cache(self._components)

    def fold(self, name: str) -> int:
        """Return the fold that holds a dataset out."""
        return next(k for k, families in enumerate(self.folds) if self.family[name] in families)

    def _features(self, name: str) -> NDArray[np.float32]:
        spectra, wavelengths = read_spectra(self.x_bank, name)
        embedder = SpectralEmbedder(readout="contrast", adapt=False, axis_unit="nm")
        return embedder.fit_transform(spectra, wavelengths=wavelengths)

    def _tokens(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the features of each patch (n, 56, 61) and their rotation (n, 1) by the scale of a spectrum."""
        features = self.features(name)
        first, second = features[:, :_HALF], features[:, _HALF:]
        # They stand twice, times cosine and sine of the angle.
        angle = np.arctan2((first * second).sum(axis=1), np.square(first).sum(axis=1))[:, None]
        return _by_patch(first * np.cos(angle) + second * np.sin(angle)), angle

    def _sample(self, fold: int) -> NDArray[np.float32]:
        """Return centred rows of all datasets outside of a fold, every dataset at the same total variance."""
        parts = []
        for name, family in self.family.items():
            if family in self.folds[fold]:
                continue
            tokens, _ = self.tokens(name)
            rows = np.linspace(0, len(tokens) - 1, min(_SAMPLED, len(tokens))).astype(int)
            centred = tokens[rows] - tokens[rows].mean(axis=0)
            parts.append(centred / np.sqrt(np.square(centred).sum() + 1e-30))
        return np.concatenate(parts)

    def _weights(self, fold: int, power: float) -> NDArray[np.float32]:
        """Return each feature's deviation within datasets to the power of -`power`, (56, 61)."""
        deviation = np.sqrt(np.square(self.sample(fold)).mean(axis=0))
        return ((deviation + 1e-3 * deviation.mean()) ** -power).astype(np.float32)

    def _components(self, fold: int, power: float) -> list[NDArray[np.float32]]:
        """Return principal directions of the patches of each scale, features weighted first."""
        weighted = self.sample(fold) * self.weights(fold, power)
        directions = []
        for scale in range(len(_PATCHES)):
            patches = weighted[:, scale == _SCALE].reshape(-1, sum(_VIEWS))
            directions.append(np.linalg.eigh(patches.T @ patches)[1][:, ::-1])
        return directions

    def per_patch(
        self, name: str, power: float, counts: tuple[int, ...], *, turned: bool = True
    ) -> NDArray[np.float32]:
        """Return the leading components of each patch; a number of components for each scale, finest first.

        With `turned` each is multiplied by the cosine of the angle, an eighth of a turn either way.
        """
        fold = self.fold(name)
        weights, components = self.weights(fold, power), self.components(fold, power)
        tokens, angle = self.tokens(name)
        columns = []
        for i, scale in enumerate(_SCALE):
            code = (tokens[:, i] * weights[i]) @ components[scale][:, : counts[scale]]
            side = 1 - 2 * ((i + np.arange(code.shape[1])) % 2)
            columns.append(code * np.cos(angle + side * np.pi / 4) if turned else code)
        return np.concatenate(columns, axis=1)

    def projected(self, name: str) -> NDArray[np.float32]:
        """Return a random Gaussian projection to 512 columns."""
        features = self.features(name)
        return features @ np.random.default_rng(0).normal(size=(features.shape[1], 512)).astype(np.float32)


def _by_patch(half: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the features of each patch (n, 56, 61): a scale's patches stand together, view after view."""
    start, scales = 0, []
    for n_patches in _PATCHES:
        views = []
        for width in _VIEWS:
            views.append(half[:, start : start + n_patches * width].reshape(len(half), n_patches, width))
            start += n_patches * width
        scales.append(np.concatenate(views, axis=2))
    return np.concatenate(scales, axis=1)


def compared(
    codes: Codes, ways: dict[str, Callable[[str], NDArray[np.float32]]], base: str, fold: int | None = None
) -> pd.DataFrame:
    """Return the error of each code over that of `base` under ridge, over targets and over families.

    `fold` restricts the targets to the families that it holds out.
    """
    targets = pd.read_csv(RESULTS / "phase3a_targets.csv")
    weak = targets[(targets["kind"] == "regression") & (targets["n"] == 200) & ~targets["predictable"]]
    unpredictable = set(zip(weak["dataset"], weak["target"], strict=True))
    errors: dict[str, dict[tuple[str, str], float]] = {way: {} for way in ways}
    embedded: dict[str, NDArray[np.float32]] = {}
    last = ""
    for problem in load_calibrations(codes.x_bank):
        key = (problem.dataset, problem.target)
        if key in unpredictable or problem.rows is None or fold not in (None, codes.fold(problem.dataset)):
            continue
        if problem.dataset != last:
            embedded, last = {way: code(problem.dataset) for way, code in ways.items()}, problem.dataset
        for way, Z in embedded.items():
            rmsep = []
            for seed in range(3):
                train, test = (problem.take(rows) for rows in problem.split(seed))
                weighting = ColumnWeighting.fit(Z[train.rows])
                head = ScaledRidge().fit(weighting.apply(Z[train.rows].copy()), train)
                predicted = head.predict(weighting.apply(Z[test.rows].copy()))
                rmsep.append(np.sqrt(np.square(predicted - test.y).mean()))
            errors[way][key] = float(np.mean(rmsep))
    table = pd.DataFrame(errors)
    return ratios(table, base, [codes.family[dataset] for dataset in table.index.get_level_values(0)])


def ratios(errors: pd.DataFrame, base: str, families: Sequence[str]) -> pd.DataFrame:
    """Return the errors of methods over those of `base`: geometric means over targets and over families.

    `errors` has a row for each target, whose families are given, and a column for each method. Further columns are the
    share of targets with a smaller error than that of `base`, and the standard error over families.
    """
    table = np.log(errors.div(errors[base], axis=0))
    by_family = table.groupby(list(families)).mean()
    return pd.DataFrame({
        "targets": np.exp(table.mean()), "families": np.exp(by_family.mean()), "wins": (table < 0).mean(),
        "spread": by_family.std() / np.sqrt(len(by_family)),
    })  # fmt: skip


def main() -> None:
    """Print a line for each code: error over that of local contrast, over targets and over families."""
    parser = argparse.ArgumentParser(description="Compare codes of few columns under ridge.")
    parser.add_argument("--x-bank", type=Path, required=True)
    codes = Codes(parser.parse_args().x_bank)
    ways: dict[str, Callable[[str], NDArray[np.float32]]] = {
        "contrast": codes.features,
        "random projection": codes.projected,
        "10, 8, 7, 11 per patch": lambda name: codes.per_patch(name, 0.65, _SHIPPED),
        "the same, not turned": lambda name: codes.per_patch(name, 0.65, _SHIPPED, turned=False),
        "the same, power 0.5": lambda name: codes.per_patch(name, 0.5, _SHIPPED),
        "the same, power 0.8": lambda name: codes.per_patch(name, 0.8, _SHIPPED),
    }
    print(compared(codes, ways, "contrast").round(4))


if __name__ == "__main__":
    main()
