"""Classification with an encoder fine-tuned end to end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from inspect import Parameter, Signature, signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.utils import Tags
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ..embedding.folds import shuffled_folds
from ..encoder.checkpoint import DEFAULT_CHECKPOINT
from ..fitting import all_or_nothing
from ..heads.head import make_head
from .estimator import N_FOLDS, SpectralEstimator

#: Candidate values of C of the logistic regression at unit spread, and the value if classes are too small to search.
_PENALTIES, _C = [1.0, 30.0, 1e3, 3e4], 1e3


def _signature() -> Signature:
    """Return the signature shared by both estimators, with `class_weight` added."""
    shared = signature(SpectralEstimator.__init__)
    own = Parameter("class_weight", Parameter.KEYWORD_ONLY, default=None)
    return shared.replace(parameters=[*shared.parameters.values(), own])


class SpectralClassifier(ClassifierMixin, SpectralEstimator):
    """Classifier that fine-tunes the pretrained encoder on labelled spectra.

    The procedure is that of `SpectralRegressor`. The ridges of the tuning steps predict one column per class; the final
    head is a logistic regression.

    Parameters
    ----------
    checkpoint : str or path, default="nirs-base-v2"
        Checkpoint to start from.
    class_weight : None, "balanced" or dict, default=None
        Class weights of the head and of the loss that decides whether tuning helps. ``"balanced"`` gives classes equal
        weight whatever their sizes. A dictionary gives weights; missing classes have weight 1. The tuning steps
        themselves weight classes equally.
    readout, max_steps, learning_rate, layer_decay, batch_size, augment, amp : as in `SpectralRegressor`
    wavelengths, axis_unit, device, random_state, progress : as in `SpectralRegressor`

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    history_ : list of dict
        ``steps`` and ``loss`` of each check. The loss is the squared error of held-out probabilities, summed over
        classes.
    head_ : Pipeline
        Head fitted on class codes.
    tuned_, n_steps_, encoder_, n_features_in_ : as in `SpectralRegressor`
    """

    def __init__(
        self, checkpoint: str | os.PathLike[str] = DEFAULT_CHECKPOINT, *, class_weight: Any = None, **parameters: Any
    ) -> None:
        super().__init__(checkpoint, **parameters)
        self.class_weight = class_weight

    # scikit-learn reads the parameters from the signature.
    __init__.__signature__ = _signature()  # type: ignore[attr-defined]

    @all_or_nothing
    def fit(self, X: Any, y: Any, *, wavelengths: Any = None, groups: Any = None) -> SpectralClassifier:
        """Calibrate; parameters as in `SpectralRegressor.fit`, with labels `y` of shape (n_samples,)."""
        return self._fit(X, y, wavelengths, groups)

    @all_or_nothing
    def partial_fit(self, X: Any, y: Any, classes: Any = None, *, wavelengths: Any = None) -> SpectralClassifier:
        """Add samples, tune the encoder a few more steps on all samples, and refit the head.

        Parameters
        ----------
        X, y, wavelengths : as in `SpectralRegressor.partial_fit`
        classes : array-like of shape (n_classes,), optional
            All classes, given at the first call; by default those in `y`.
        """
        return self._partial_fit(X, y, wavelengths, classes=classes)

    def predict_proba(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return class probabilities (n_samples, n_classes)."""
        return self._outputs(X, wavelengths)

    def predict(self, X: Any, *, wavelengths: Any = None) -> NDArray[Any]:
        """Return the most likely class of each spectrum."""
        likeliest = self._outputs(X, wavelengths).argmax(axis=1)
        return self.classes_[likeliest]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # scikit-learn's checks use low-dimensional blobs, which are not spectra.
        tags.classifier_tags.poor_score = True
        return tags

    def _targets(self, y: Any, *, classes: Any = None, **_: Any) -> NDArray[np.float32]:
        if y is None:
            raise ValueError("SpectralClassifier requires y to be passed, but the target y is None.")
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_ = np.unique(y if classes is None else classes)
        if len(self.classes_) < 2:
            only = str(self.classes_[0])
            raise ValueError(f"y holds one class only, {only!r}; SpectralClassifier needs two or more.")
        return self._further_targets(y)

    def _further_targets(self, y: Any) -> NDArray[np.float32]:
        y = column_or_1d(y, warn=True)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"class {str(unknown[0])!r} was not in the first fit.")
        return np.eye(len(self.classes_), dtype=np.float32)[np.searchsorted(self.classes_, y)]

    def _note(self, targets: NDArray[Any]) -> None:
        """Update the class weights from all targets seen so far."""
        self._weights = self._weigh(self.classes_[targets.argmax(axis=1)])

    def _weigh(self, y: NDArray[Any]) -> NDArray[np.float64]:
        """Return the weight of each class."""
        weight = self.class_weight
        if isinstance(weight, dict):
            unknown = [str(name) for name in weight if name not in self.classes_]
            if unknown:
                raise ValueError(f"class_weight names {unknown[0]!r}, which is not a class of y.")
            return np.array([float(weight.get(name, 1.0)) for name in self.classes_.tolist()])
        if weight is not None and weight != "balanced":
            raise ValueError(f"class_weight={weight!r} must be None, 'balanced' or a dictionary.")
        weights, present = np.ones(len(self.classes_)), np.isin(self.classes_, y)
        weights[present] = compute_class_weight(weight, classes=self.classes_[present], y=y)
        return weights

    def _folds(self, targets: NDArray[Any], groups: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], ...]]:
        codes = targets.argmax(axis=1)
        present, rows = np.unique(codes), len(codes)
        if len(np.unique(groups)) < rows:
            return shuffled_folds(N_FOLDS, rows, groups).split(codes, groups=groups)
        # Classes with fewer samples than folds are spread over as many folds as possible.
        order = np.concatenate([np.random.default_rng(0).permutation(np.flatnonzero(codes == c)) for c in present])
        fold = np.empty(rows, dtype=int)
        fold[order] = np.arange(rows) % N_FOLDS
        return iter([(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(N_FOLDS)])

    def _head(self, Z: NDArray[Any], targets: NDArray[Any], groups: NDArray[np.intp]) -> Any:
        codes = targets.argmax(axis=1)
        present, counts = np.unique(codes, return_counts=True)
        if len(present) < 2:
            return DummyClassifier().fit(Z, codes)
        weights = {int(code): float(self._weights[code]) for code in present}
        folds = self._penalty_folds(codes, groups) if counts.min() >= 2 else []
        head = make_head("logistic", "classification", class_weight=weights, **({} if folds else {"C": _C}))
        if folds:
            head.set_params(logistic__cv=folds, logistic__param_grid={"C": _PENALTIES})
        return head.fit(Z.astype(np.float64), codes)

    def _penalty_folds(self, codes: NDArray[np.intp], groups: NDArray[np.intp]) -> list[tuple[NDArray[np.intp], ...]]:
        """Return stratified, grouped folds for choosing the penalty, without folds of one class."""
        n_folds = min(3, int(np.bincount(codes)[np.unique(codes)].min()), len(np.unique(groups)))
        if n_folds < 2:
            return []
        splits = StratifiedGroupKFold(n_folds, shuffle=True, random_state=0).split(codes, codes, groups)
        return [(inside, outside) for inside, outside in splits if len(np.unique(codes[inside])) > 1]

    def _predicted(self, head: Any, Z: NDArray[Any]) -> NDArray[np.float64]:
        probabilities = np.zeros((len(Z), len(self.classes_)))
        probabilities[:, head.classes_] = head.predict_proba(Z.astype(np.float64))
        return probabilities

    def _losses(self, predicted: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
        return np.square(predicted - targets).sum(axis=1) * (targets @ self._weights)
