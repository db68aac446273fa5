"""Grouped, repeated cross-validation of heads beside PLS, on one embedding a fold."""

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

#: Folds and repetitions with up to so many samples; of more, folds alone tell as much.
DEFAULT_FOLDS, DEFAULT_REPEATS, _MOST_REPEATED = 5, 3, 1500
#: Parts of a fold's samples that the learning curve is measured at.
_PARTS = (0.25, 0.5)
#: Fewer samples than this are no calibration.
_FEWEST_LEARNED = 10

Progress = Callable[[str], None]


def unseen(step: str) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Folds:
    """Number of folds and of repetitions, each with other folds."""

    n_folds: int = DEFAULT_FOLDS
    n_repeats: int = DEFAULT_REPEATS

    @classmethod
    def parse(cls, text: str, n_samples: int) -> Folds:
        """Read ``"5x3"``, ``"10"`` or ``"auto"``: 5x3 with up to 1,500 samples, 5x1 of more.

        A `SpectralInputError` says what is wrong.
        """
        if text == "auto":
            return cls(DEFAULT_FOLDS, DEFAULT_REPEATS if n_samples <= _MOST_REPEATED else 1)
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", str(text).strip())
        if not match:
            raise SpectralInputError(f"cv={text!r} is not understood; write folds and repetitions, such as 5x3.")
        folds, repeats = int(match[1]), int(match[2] or 1)
        if folds < 2 or repeats < 1:
            raise SpectralInputError(f"cv={text!r}: at least two folds and one repetition.")
        return cls(folds, repeats)

    def split(
        self, target: Target, groups: NDArray[np.intp], repeat: int
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the rows inside and outside of each fold, counted among those with a value; replicates stay together."""
        rows = target.rows
        codes = groups[rows]
        n_groups = len(np.unique(codes))
        n = min(self.n_folds, n_groups)
        if n < 2:
            raise SpectralInputError(
                f"target {target.name!r}: all its values are of one physical sample; two are the fewest."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # classes with fewer members than folds
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
    """What models that had not seen a sample said of it.

    Attributes
    ----------
    target : Target
    rows : ndarray of shape (m,)
        Samples with a value.
    centre : ndarray of shape (n_repeats, m)
        Predicted values; for classes their numbers.
    scale : ndarray of shape (n_repeats, m), or None
        Standard deviations, of a head that knows them.
    scores : ndarray of shape (n_repeats, m, n_classes), or None
    fold : ndarray of shape (m,)
        Fold of each sample in the first repetition.
    others : dict of str to ndarray of shape (n_repeats, m)
        The same of other methods.
    learning : dict of int to list of (measured, predicted)
        Of folds, by number of samples.
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
        """Values, or numbers of classes, (m,)."""
        values = self.target.values[self.rows]
        return np.searchsorted(self.target.classes, values).astype(np.float64) if self.target.classes else values

    def nonconformity(self) -> NDArray[np.float64]:
        """Return how far each value is from its prediction, the mean over repetitions, (m,).

        Absolute errors in units of the standard deviation where there is one; for classes by how much the score of another class
        exceeds that of the true one.
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
    """Predict each sample by models that have not seen it.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_wavelengths)
        NaN where a point is missing.
    wavelengths : ndarray of shape (n_wavelengths,)
        In nm, ascending.
    targets : sequence of Target
    groups : ndarray of shape (n_samples,)
        Number of the physical sample of each spectrum.
    embedder : SpectralEmbedder
        Unfitted; it appends the spectra to the embedding.
    widths : tuple of int
        Of the blocks of the embedding.
    head : str
        Name of the head.
    folds : Folds
    progress : callable
        Called with the name of each step that is done; `n_steps` says how many there are.
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
                for inside, outside in split[: _n_learned(len(one.rows), len(split))]:
                    _learn(one, inside, outside, context)
                    progress("learning curve")
    return results


def n_steps(targets: Sequence[Target], folds: Folds, groups: NDArray[np.intp]) -> int:
    """Return how often `cross_validate` calls ``progress``."""
    total = 0
    for target in targets:
        n = min(folds.n_folds, len(np.unique(groups[target.rows])))
        total += n * folds.n_repeats + _n_learned(len(target.rows), n)
    return total


def _n_learned(n_samples: int, n_folds: int) -> int:
    """Return the folds that the learning curve is measured in: of large sets two tell enough."""
    return n_folds if n_samples <= _MOST_REPEATED else min(2, n_folds)


def _embedded(
    X: NDArray[np.float64],
    wavelengths: NDArray[np.float64],
    inside: NDArray[np.intp],
    outside: NDArray[np.intp],
    embedder: SpectralEmbedder,
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Fit an embedder on some rows; returns their columns, those of others, and how many are the embedding's."""
    own = clone(embedder)
    with warnings.catch_warnings():
        # The whole set was looked at before, by the user, too.
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
        one.scores[repeat, outside] = scores.min() - 1.0  # a class that the fold has not seen
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
            own, unseen = (columns[:, width:], new[:, width:]) if is_pls else (columns[:, :width], new[:, :width])
            fitted = fit_head(other, own, y, codes, own.shape[1])
            predicted = fitted.predict(unseen)
        if target.classes:
            predicted = np.searchsorted(target.classes, predicted)
        one.others[name][repeat, outside] = np.ravel(predicted)


def _learn(one: HeldOut, inside: NDArray[np.intp], outside: NDArray[np.intp], context: tuple[Any, ...]) -> None:
    """Measure the error with parts of a fold's samples."""
    X, wavelengths, groups, embedder, widths, head_name = context
    target, rows = one.target, one.rows
    truth = target.values[rows[outside]]
    for part in _PARTS:
        some = _part(groups[rows[inside]], part)
        y = target.values[rows[inside[some]]]
        if len(np.unique(groups[rows[inside[some]]])) < _FEWEST_LEARNED or len(np.unique(y)) < 2:
            continue
        if target.classes and np.unique(y, return_counts=True)[1].min() < 2:
            continue
        columns, new, width = _embedded(X, wavelengths, rows[inside[some]], rows[outside], embedder)
        head = fit_head(new_head(head_name, target.task, widths), columns, y, None, width)
        predicted = np.ravel(head.predict(read_by(head, new, width)))
        one.learning.setdefault(len(some), []).append((truth, predicted))
    whole = one.centre[0, outside]
    predicted = np.asarray(target.classes)[whole.astype(int)] if target.classes else whole
    one.learning.setdefault(len(inside), []).append((truth, predicted))


def _part(groups: NDArray[np.intp], share: float) -> NDArray[np.intp]:
    """Return the rows of a share of the physical samples, drawn with a fixed seed."""
    names = np.unique(groups)
    drawn = np.random.default_rng(0).permutation(names)[: max(1, round(share * len(names)))]
    return np.flatnonzero(np.isin(groups, drawn))
