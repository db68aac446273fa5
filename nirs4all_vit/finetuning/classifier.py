"""Classification with an encoder tuned end to end."""

from __future__ import annotations

import os
from inspect import Parameter, Signature, signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupShuffleSplit, StratifiedKFold, StratifiedShuffleSplit
from sklearn.utils import Tags
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ..checkpoint import DEFAULT_CHECKPOINT
from ..heads.few_columns import FewColumns
from .estimator import SpectralEstimator

_PENALTIES = (1.0, 30.0, 1e3, 3e4)


def _signature() -> Signature:
    """Return the signature of what both estimators share, with `class_weight`."""
    shared = signature(SpectralEstimator.__init__)
    own = Parameter("class_weight", Parameter.KEYWORD_ONLY, default=None)
    return shared.replace(parameters=[*shared.parameters.values(), own])


class SpectralClassifier(ClassifierMixin, SpectralEstimator):
    """Tune the pretrained encoder on labelled spectra; predict classes.

    As `SpectralRegressor`, with logistic regression in place of the ridge.

    Parameters
    ----------
    checkpoint : str or path, default="nirs-base-v1"
        Where tuning starts.
    class_weight : None, "balanced" or dict, default=None
        ``"balanced"`` counts classes alike, whatever their sizes; a dictionary gives a weight for each.
    **parameters
        All others are those of `SpectralRegressor`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    tuned_, history_, encoder_ : as in `SpectralRegressor`
    """

    def __init__(
        self, checkpoint: str | os.PathLike[str] = DEFAULT_CHECKPOINT, *, class_weight: Any = None, **parameters: Any
    ) -> None:
        super().__init__(checkpoint, **parameters)
        self.class_weight = class_weight

    # scikit-learn reads the parameters off the signature.
    __init__.__signature__ = _signature()  # type: ignore[attr-defined]

    def fit(self, X: Any, y: Any, *, wavelengths: Any = None, groups: Any = None) -> SpectralClassifier:
        """Calibrate; parameters as in `SpectralRegressor.fit`, `y` of shape (n_samples,) holds labels."""
        return self._fit(X, y, wavelengths, groups)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, *, wavelengths: Any = None) -> SpectralClassifier:
        """Tune for one more epoch on these spectra, from where the estimator stands; nothing is held back.

        Parameters
        ----------
        X, y, wavelengths : as in `fit`
        classes : array-like of shape (n_classes,), optional
            All classes there will be, at the first call; those in `y` otherwise.
        """
        if not hasattr(self, "weight_"):
            return self._fit(X, y, wavelengths, None, classes=classes)
        return self._continue(X, y, wavelengths)

    def predict_proba(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return class probabilities (n_samples, n_classes)."""
        return softmax(self._outputs(X, wavelengths), axis=1)

    def predict(self, X: Any, *, wavelengths: Any = None) -> NDArray[Any]:
        """Return the likeliest class of each spectrum."""
        outputs = self._outputs(X, wavelengths)
        return self.classes_[outputs.argmax(axis=1)]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # Of blobs in a few dimensions: they are no spectra.
        tags.classifier_tags.poor_score = True
        return tags

    def _targets(self, y: Any, classes: Any = None) -> NDArray[np.int64]:
        if y is None:
            raise ValueError("SpectralClassifier requires y to be passed, but the target y is None.")
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_ = np.unique(y if classes is None else classes)
        if len(self.classes_) < 2:
            only = str(self.classes_[0])
            raise ValueError(f"y holds one class only, {only!r}; SpectralClassifier needs two or more.")
        return self._targets_again(y)

    def _targets_again(self, y: Any) -> NDArray[np.int64]:
        y = column_or_1d(y, warn=True)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"class {str(unknown[0])!r} was not in the first fit.")
        return np.searchsorted(self.classes_, y)

    def _split(self, targets: NDArray[Any], groups: NDArray[Any] | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        if groups is None and np.bincount(targets).min() >= 2 and self.validation * len(targets) >= len(self.classes_):
            splitter = StratifiedShuffleSplit(1, test_size=self.validation, random_state=self.random_state)
            return next(splitter.split(targets, targets))
        splitter = GroupShuffleSplit(1, test_size=self.validation, random_state=self.random_state)
        return next(splitter.split(targets, groups=np.arange(len(targets)) if groups is None else groups))

    def _linear(self, Z: NDArray[Any], targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        present, codes = np.unique(targets, return_inverse=True)
        weight = np.zeros((len(self.classes_), Z.shape[1]))
        # A class that is not there is unlikely, not impossible.
        bias = np.full(len(self.classes_), -10.0)
        bias[present] = 0.0
        if len(present) < 2:
            return weight, bias
        few = FewColumns(len(Z)).fit(Z)
        X, smallest = few.transform(Z), int(np.bincount(codes).min())
        model: Any = LogisticRegression(C=100.0, max_iter=2000, class_weight=self._weights_by_code(present))
        if smallest >= 2:
            folds = StratifiedKFold(min(5, smallest), shuffle=True, random_state=0)
            model = GridSearchCV(model, {"C": _PENALTIES}, scoring="neg_log_loss", cv=folds)
        fitted = model.fit(X, codes)
        fitted = getattr(fitted, "best_estimator_", fitted)
        coefficients, intercept = fitted.coef_, fitted.intercept_
        if len(present) == 2:
            coefficients, intercept = np.vstack([0 * coefficients, coefficients]), np.append(0.0, intercept)
        # Back from components to columns of the embedding.
        back = coefficients @ few.pca_.components_ / few.spread_.spread_
        weight[present] = back
        bias[present] = intercept - back @ few.spread_.mean_ - coefficients @ (few.pca_.components_ @ few.pca_.mean_)
        return weight, bias

    def _weights_by_code(self, present: NDArray[np.intp]) -> Any:
        if self.class_weight is None or self.class_weight == "balanced":
            return self.class_weight
        return {i: self.class_weight.get(self.classes_[code], 1.0) for i, code in enumerate(present)}

    def _losses(self, outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[Any]:
        return -log_softmax(outputs, axis=1)[np.arange(len(targets)), targets]

    def _criterion(self, targets: NDArray[Any]) -> Any:
        import torch

        weights = np.ones(len(self.classes_))
        if self.class_weight is not None:
            present, codes = np.unique(targets, return_inverse=True)
            given = self._weights_by_code(present)
            weights[present] = compute_class_weight(given, classes=np.arange(len(present)), y=codes)
        return torch.nn.CrossEntropyLoss(torch.from_numpy(weights).float())
