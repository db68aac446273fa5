"""Methods by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier, DummyRegressor

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.heads.head import TASKS, head_names

from ..calibrations import Calibration
from ..embeddings import EmbeddedView, Embeddings
from . import external
from .base import Method, Views
from .gaussian_process import GaussianProcess
from .pls import PLS
from .preprocessing import PreprocessedViews
from .ridge import PrincipalComponents, Ridge
from .tuned import Tuned
from .untrained_views import PLSScores, SpectralEncodings


class Mean(Method):
    """Mean, or most frequent class, of the calibration set: the baseline of skill."""

    def fit(self, part: Calibration) -> Mean:
        """Calibrate."""
        self.model = DummyRegressor() if part.task == "regression" else DummyClassifier()
        self.model.fit(np.zeros((len(part), 1)), part.y)
        return self

    def predict(self, part: Calibration) -> NDArray:
        """Predict the same value for all spectra."""
        return self.model.predict(np.zeros((len(part), 1)))


def _pls(*names: str) -> Callable[[], Method]:
    return lambda: PLS(PreprocessedViews(*([names] if names else [])))


def _ridge(*names: str) -> Callable[[], Method]:
    return lambda: Ridge(PreprocessedViews(*([names] if names else [])))


#: Heads on untrained views.
VIEW_HEADS = ("ridge", "krr", "tabpfn")


def _raw(make: Callable[[Calibration], object]) -> Callable[[], Method]:
    return lambda: external.Estimator(make, PreprocessedViews(["raw"]))


#: Untrained views in front of several heads.
UNTRAINED_VIEWS: dict[str, Callable[[], Views]] = {
    "pca": PrincipalComponents,
    "pls-scores": PLSScores,
    "lvse": lambda: SpectralEncodings("lvse"),
    "gcu": lambda: SpectralEncodings("gcu"),
    "lvse-gcu": lambda: SpectralEncodings("lvse", "gcu"),
}


def _on_view(view: Callable[[], Views], name: str) -> Callable[[], Method]:
    return lambda: Ridge(view()) if name == "ridge" else external.Estimator(external.head(name), view())


#: Methods on spectra.
_SPECTRAL: dict[str, Callable[[], Method]] = {
    "mean": Mean,
    "pls": _pls("raw"),
    "snv-pls": _pls("snv"),
    "sg1-pls": _pls("sg1"),
    "asls-snv-pls": _pls("asls+snv"),
    "best-pls": _pls(),
    "ridge": _ridge("raw"),
    "asls-snv-ridge": _ridge("asls+snv"),
    "best-ridge": _ridge(),
    "gp": lambda: GaussianProcess(PreprocessedViews()),
    **{f"{name}-{head}": _on_view(view, head) for name, view in UNTRAINED_VIEWS.items() for head in VIEW_HEADS},
    "aom-pls": _raw(external.aom_pls),
    "aom-ridge": _raw(external.aom_ridge),
    "aom-ridge-blender": _raw(external.aom_ridge_blender),
    "tabpfn-nirs": _raw(external.tabpfn_nirs),
    "multirocket-ridge": lambda: Ridge(external.MultiRocketFeatures()),
}


def _ready_made(name: str) -> Callable[[Views], Method]:
    return lambda views: external.Estimator(external.head(name), views)


#: Heads of the package with their kinds of task. For classes the committee is ridge, a separate
#: method.
_READY_MADE = {
    name: [task for task in TASKS if name in head_names(task)] for task in TASKS for name in head_names(task)
} | {"committee": ["regression"]}

#: Heads on an embedding: those of the package, ridge and the tuned encoder.
_HEADS: dict[str, Callable[[Views], Method]] = {
    **{name: _ready_made(name) for name in _READY_MADE},
    "ridge": Ridge,
    "tuned": Tuned,
    "robust-ridge": Ridge,
    "plain-ridge": Ridge,
    "metadata-ridge": Ridge,
    "half-metadata-ridge": Ridge,
}

#: Parameters of the `EmbeddedView` of heads that differ from `SpectralEmbedder()`.
PARAMETERS: dict[str, dict[str, Any]] = {
    "robust-ridge": {"robust": True},
    "plain-ridge": {"adapt": False},
    "metadata-ridge": {"metadata": "all"},
    "half-metadata-ridge": {"metadata": "half"},
    "committee": {"append_spectra": True},
}

#: Default read-out.
_READOUT = SpectralEmbedder().readout

_REGRESSION_ONLY = {
    *("gp", "aom-pls", "aom-ridge", "aom-ridge-blender", "tabpfn-nirs"),
    *(f"{view}-krr" for view in UNTRAINED_VIEWS),
}


def make_method(name: str, weights: str | None = None, embeddings: Embeddings | None = None) -> Method:
    """Return an unfitted method by name, for example ``best-pls`` or ``ridge@nirs-base-v2``.

    Names with an encoder have the form ``HEAD@ENCODER[:READOUT]``; `weights` is the checkpoint file
    of the encoder, and `embeddings` is the cache. Raises ValueError for an unknown method or
    missing weights.
    """
    head, encoder, readout = parse_method(name)
    if encoder is None:
        return _SPECTRAL[head]()
    if weights is None or embeddings is None:
        raise ValueError(f"{name} needs weights.")
    return _HEADS[head](EmbeddedView(weights, readout, embeddings, **PARAMETERS.get(head, {})))


def parse_method(name: str) -> tuple[str, str | None, str]:
    """Split the name of a method into head, encoder (None for methods on spectra) and read-out.

    Raises ValueError for an unknown method or head.
    """
    head, _, rest = name.partition("@")
    if not rest:
        if head not in _SPECTRAL:
            raise ValueError(f"no method {head!r}; there are {', '.join(_SPECTRAL)} and HEAD@ENCODER.")
        return head, None, ""
    encoder, _, readout = rest.partition(":")
    if head not in _HEADS:
        raise ValueError(f"no head {head!r}; there are {', '.join(_HEADS)}.")
    return head, encoder, readout or _READOUT


def trained_encoders(methods: Iterable[str]) -> set[str]:
    """Return the encoders in the names of methods that are trained for a phase."""
    return {name for method in methods if "~" in (name := parse_method(method)[1] or "")}


def suits(name: str, task: str) -> bool:
    """Return whether a method supports a kind of task."""
    head, encoder, _ = parse_method(name)
    if encoder is None:
        return task == "regression" or head not in _REGRESSION_ONLY
    return task in _READY_MADE.get(head, TASKS)
