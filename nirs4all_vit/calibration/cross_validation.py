"""Grouped, repeated cross-validation of a head and of PLS, with one embedding per fold."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from ..embedder import SpectralEmbedder
from ..errors import SpectralAxisWarning, SpectralInputError
from ..heads.committee import SpectralCommittee
from .heads import baselines, class_scores, fit_head, new_head, predict_with_deviation, read_by
from .targets import Target

#: Default folds and repetitions; larger sets than the third number need no repetitions.
DEFAULT_FOLDS, DEFAULT_REPEATS, _MOST_REPEATED = 5, 3, 1500
#: Shares of a fold's samples in the learning curve.
_PARTS = (0.25, 0.5)
#: Smallest number of physical samples in the learning curve.
_FEWEST_IN_CURVE = 10

Progress = Callable[[str], None]


def unseen(step: str) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Folds:
    """Number of folds, and of repetitions with different folds."""

    n_folds: int = DEFAULT_FOLDS
    n_repeats: int = DEFAULT_REPEATS

    @classmethod
    def parse(cls, text: str, n_samples: int) -> Folds:
        """Parse ``"5x3"``, ``"10"`` or ``"auto"``: 5x3 for up to 1,500 samples, 5x1 for more.

        Any other text raises SpectralInputError.
        """
        if text == "auto":
            return cls(DEFAULT_FOLDS, DEFAULT_REPEATS if n_samples <= _MOST_REPEATED else 1)
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", str(text).strip())
        if not match:
            raise SpectralInputError(f"cv={text!r} is not understood; write folds and repetitions, such as 5x3.")
        folds, repeats = int(match[1]), int(match[2] or 1)
        if folds < 2 or repeats < 1:
            raise SpectralInputError(f"cv={text!r} needs at least two folds and one repetition, such as 5x3.")
        return cls(folds, repeats)

    def split(
        self, target: Target, groups: NDArray[np.intp], repeat: int
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield training and test rows of each fold, as indices into `Target.rows`.

        Replicates stay in the same fold.
        """
        rows = target.rows
        codes = groups[rows]
        n_groups = len(np.unique(codes))
        n = min(self.n_folds, n_groups)
        if n < 2:
            raise SpectralInputError(
                f"target {target.name!r} has values of one physical sample; cross-validation needs at least two."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # classes with fewer samples than folds
            if target.classes:
                y = target.values[rows]
                kind = StratifiedKFold if n_groups == len(rows) else StratifiedGroupKFold
                yield from kind(n, shuffle=True, random_state=repeat).split(rows, y, codes)
            elif n_groups == len(rows):
                yield from KFold(n, shuffle=True, random_state=repeat).split(rows)
            else:
                yield from GroupKFold(n, shuffle=True, random_state=repeat).split(rows, groups=codes)


@dataclass(eq=False)
class HeldOut:
    """Cross-validated predictions of one target.

    Attributes
    ----------
    target : Target
    rows : ndarray of shape (m,)
        Samples with a value.
    centre : ndarray of shape (n_repeats, m)
        Predicted values, or indices of the predicted classes.
    scale : ndarray of shape (n_repeats, m), or None
        Predicted standard deviations; None for heads without them.
    scores : ndarray of shape (n_repeats, m, n_classes), or None
        Class scores; None for regression.
    fold : ndarray of shape (m,)
        Fold of each sample in the first repetition.
    others : dict of str to ndarray of shape (n_repeats, m)
        `centre` of the other methods, by name.
    learning : dict of int to list of (measured, predicted)
        Learning curve: results per fold, by number of training samples.
    """

    target: Target
    rows: NDArray[np.intp]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64] | None
    scores: NDArray[np.float64] | None
    fold: NDArray[np.intp]
    others: dict[str, NDArray[np.float64]]
    learning: dict[int, list[tuple[NDArray[Any], NDArray[Any]]]] = field(default_factory=dict)

    @property
    def measured(self) -> NDArray[np.float64]:
        """Reference values, or indices of the classes, (m,)."""
        values = self.target.values[self.rows]
        return np.searchsorted(self.target.classes, values).astype(np.float64) if self.target.classes else values

    def nonconformity(self) -> NDArray[np.float64]:
        """Return the nonconformity of each sample, averaged over repetitions, (m,).

        Regression: absolute error, divided by `scale` unless None. Classification: highest score
        of the other classes minus the score of the true class.
        """
        y = self.measured
        if self.scores is not None:
            truth = y.astype(np.intp)
            each = np.arange(len(y))
            true = self.scores[:, each, truth]
            rest = self.scores.copy()
            rest[:, each, truth] = -np.inf
            return (rest.max(axis=2) - true).mean(axis=0)
        errors = np.abs(self.centre - y)
        return (errors / (1.0 if self.scale is None else self.scale)).mean(axis=0)


def cross_validate(
    X: NDArray[np.float64],
    wavelengths: NDArray[np.float64],
    targets: Sequence[Target],
    groups: NDArray[np.intp],
    *,
    embedder: SpectralEmbedder,
    widths: tuple[int, ...],
    head: str,
    folds: Folds,
    progress: Progress = unseen,
) -> list[HeldOut]:
    """Predict each sample with models fitted without it.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_wavelengths)
        Spectra; NaN where a point is missing.
    wavelengths : ndarray of shape (n_wavelengths,)
        In nm, ascending.
    targets : sequence of Target
    groups : ndarray of shape (n_samples,)
        Number of the physical sample of each spectrum.
    embedder : SpectralEmbedder
        Unfitted, with ``append_spectra=True``.
    widths : tuple of int
        Columns of each block of the embedding.
    head : str
        Name of the head.
    folds : Folds
    progress : callable
        Called with the name of each finished step; `n_steps` returns the number of calls.

    Returns
    -------
    list of HeldOut
        One per target.
    """
    results = []
    for target in targets:
        rows = target.rows
        shape = (folds.n_repeats, len(rows))
        others = {name: np.full(shape, np.nan) for name in baselines(head, target.task, widths)}
        scores = np.zeros((*shape, len(target.classes))) if target.classes else None
        results.append(HeldOut(target, rows, np.full(shape, np.nan), None, scores, np.zeros(len(rows), int), others))
    context = (X, wavelengths, groups, embedder, widths, head)
    for one in results:
        for repeat in range(folds.n_repeats):
            split = list(folds.split(one.target, groups, repeat))
            for k, (inside, outside) in enumerate(split):
                _one_fold(one, repeat, k, inside, outside, context)
                progress("cross-validation")
            if repeat == 0:
                for inside, outside in split[: _n_curve_folds(len(one.rows), len(split))]:
                    _add_to_learning_curve(one, inside, outside, context)
                    progress("learning curve")
    return results


def n_steps(targets: Sequence[Target], folds: Folds, groups: NDArray[np.intp]) -> int:
    """Return the number of calls of ``progress`` by `cross_validate`."""
    total = 0
    for target in targets:
        n = min(folds.n_folds, len(np.unique(groups[target.rows])))
        total += n * folds.n_repeats + _n_curve_folds(len(target.rows), n)
    return total


def _n_curve_folds(n_samples: int, n_folds: int) -> int:
    """Return the number of folds for the learning curve: two suffice for large sets."""
    return n_folds if n_samples <= _MOST_REPEATED else min(2, n_folds)


def _embedded(
    X: NDArray[np.float64],
    wavelengths: NDArray[np.float64],
    inside: NDArray[np.intp],
    outside: NDArray[np.intp],
    embedder: SpectralEmbedder,
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Fit an embedder on the rows `inside`.

    Returns the columns of the rows inside and outside, and the width of the embedding.
    """
    own = clone(embedder)
    with warnings.catch_warnings():
        # The fit on all samples gives the same warnings.
        warnings.simplefilter("ignore", SpectralAxisWarning)
        warnings.filterwarnings("ignore", message=r"row \d+ is constant|\d+ of \d+ spectra")
        columns = own.fit_transform(X[inside], wavelengths=wavelengths)
        new = own.transform(X[outside], wavelengths=wavelengths)
    return columns, new, columns.shape[1] - own.alignment_.wavelengths.size


def _one_fold(
    one: HeldOut, repeat: int, k: int, inside: NDArray[np.intp], outside: NDArray[np.intp], context: tuple[Any, ...]
) -> None:
    X, wavelengths, groups, embedder, widths, head_name = context
    target, rows = one.target, one.rows
    columns, new, width = _embedded(X, wavelengths, rows[inside], rows[outside], embedder)
    y = target.values[rows[inside]]
    codes = groups[rows[inside]]
    head = fit_head(new_head(head_name, target.task, widths), columns, y, codes, width)
    read = read_by(head, new, width)
    if repeat == 0:
        one.fold[outside] = k
    if target.classes:
        assert one.scores is not None
        columns_of_head = np.searchsorted(target.classes, head.classes_)
        scores = class_scores(head, read)
        one.scores[repeat, outside] = scores.min() - 1.0  # for classes without training samples
        one.scores[repeat][np.ix_(outside, columns_of_head)] = scores
        one.centre[repeat, outside] = columns_of_head[scores.argmax(axis=1)]
    else:
        centre, scale = predict_with_deviation(head, read)
        one.centre[repeat, outside] = centre
        if scale is not None:
            one.scale = np.ones_like(one.centre) if one.scale is None else one.scale
            one.scale[repeat, outside] = scale
    members = head.predict_members(read) if isinstance(head, SpectralCommittee) else {}
    of_member = {"Embedding + ridge": "ridge", "PLS, best of five preprocessings": "pls"}
    predicted: Any
    for name, other in baselines(head_name, target.task, widths).items():
        predicted = members.get(of_member.get(name, ""))
        if predicted is None:
            is_pls = name.startswith("PLS")
            own, own_new = (columns[:, width:], new[:, width:]) if is_pls else (columns[:, :width], new[:, :width])
            fitted = fit_head(other, own, y, codes, own.shape[1])
            predicted = fitted.predict(own_new)
        if target.classes:
            predicted = np.searchsorted(target.classes, predicted)
        one.others[name][repeat, outside] = np.ravel(predicted)


def _add_to_learning_curve(
    one: HeldOut, inside: NDArray[np.intp], outside: NDArray[np.intp], context: tuple[Any, ...]
) -> None:
    """Add the predictions from parts of a fold's training samples to the learning curve."""
    X, wavelengths, groups, embedder, widths, head_name = context
    target, rows = one.target, one.rows
    truth = target.values[rows[outside]]
    for part in _PARTS:
        drawn = _part(groups[rows[inside]], part)
        own = rows[inside[drawn]]
        y = target.values[own]
        if len(np.unique(groups[own])) < _FEWEST_IN_CURVE or len(np.unique(y)) < 2:
            continue
        if target.classes and np.unique(y, return_counts=True)[1].min() < 2:
            continue
        columns, new, width = _embedded(X, wavelengths, own, rows[outside], embedder)
        head = fit_head(new_head(head_name, target.task, widths), columns, y, None, width)
        predicted = np.ravel(head.predict(read_by(head, new, width)))
        one.learning.setdefault(len(drawn), []).append((truth, predicted))
    whole = one.centre[0, outside]
    predicted = np.asarray(target.classes)[whole.astype(int)] if target.classes else whole
    one.learning.setdefault(len(inside), []).append((truth, predicted))


def _part(groups: NDArray[np.intp], share: float) -> NDArray[np.intp]:
    """Return the rows of a share of the physical samples, drawn with a fixed seed."""
    names = np.unique(groups)
    drawn = np.random.default_rng(0).permutation(names)[: max(1, round(share * len(names)))]
    return np.flatnonzero(np.isin(groups, drawn))
