"""Fitted estimators as JSON and arrays: decoding builds objects of listed classes, runs no code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SKLEARN = "sklearn"
#: Classes that a file may contain, with the modules that define them. Decoding imports no others.
CLASSES: dict[str, str] = {
    "SpectralCalibration": "nirs4all_vit.calibration.model",
    "CalibratedTarget": "nirs4all_vit.calibration.model",
    "SpectralEmbedder": "nirs4all_vit.embedder",
    "Alignment": "nirs4all_vit.spectra.alignment",
    "SignalKind": "nirs4all_vit.spectra.signal",
    "ColumnWeighting": "nirs4all_vit.embedding.column_weighting",
    "GLSW": "nirs4all_vit.embedding.glsw",
    "CalibrationSpace": "nirs4all_vit.embedding.instrument",
    "InstrumentShift": "nirs4all_vit.embedding.instrument",
    "NoveltyLimits": "nirs4all_vit.embedding.novelty",
    "SpectralNovelty": "nirs4all_vit.diagnostics.novelty",
    "SpectralCommittee": "nirs4all_vit.heads.committee",
    "MultiKernelGP": "nirs4all_vit.heads.gaussian_process",
    "LeaveOutKernelRidge": "nirs4all_vit.heads.kernel_ridge",
    "PreprocessedPLS": "nirs4all_vit.heads.preprocessed_pls",
    "GroupRidge": "nirs4all_vit.heads.ridge",
    "GroupRidgeClassifier": "nirs4all_vit.heads.ridge",
    "CappedPLSRegression": "nirs4all_vit.heads.pls",
    "PLSDA": "nirs4all_vit.heads.pls",
    "BlockScaler": "nirs4all_vit.heads.columns",
    "PCAColumns": "nirs4all_vit.heads.columns",
    "ColumnsHead": "nirs4all_vit.heads.head",
    "TunedHead": "nirs4all_vit.heads.head",
    "TunedRegressor": "nirs4all_vit.heads.head",
    "ProcessRegressor": "nirs4all_vit.heads.head",
    "ProcessClassifier": "nirs4all_vit.heads.head",
    "NetworkRegressor": "nirs4all_vit.heads.head",
    "NetworkClassifier": "nirs4all_vit.heads.head",
    "PCA": f"{_SKLEARN}.decomposition",
    "LabelBinarizer": f"{_SKLEARN}.preprocessing",
    "LabelEncoder": f"{_SKLEARN}.preprocessing",
    "StandardScaler": f"{_SKLEARN}.preprocessing",
    "KernelRidge": f"{_SKLEARN}.kernel_ridge",
    "TransformedTargetRegressor": f"{_SKLEARN}.compose",
    "LogisticRegression": f"{_SKLEARN}.linear_model",
    "Sum": f"{_SKLEARN}.gaussian_process.kernels",
    "Product": f"{_SKLEARN}.gaussian_process.kernels",
    "RBF": f"{_SKLEARN}.gaussian_process.kernels",
    "ConstantKernel": f"{_SKLEARN}.gaussian_process.kernels",
    "DotProduct": f"{_SKLEARN}.gaussian_process.kernels",
    "WhiteKernel": f"{_SKLEARN}.gaussian_process.kernels",
    "_BinaryGaussianProcessClassifierLaplace": f"{_SKLEARN}.gaussian_process._gpc",
    "OneVsRestClassifier": f"{_SKLEARN}.multiclass",
}
#: Attributes of a search or a training that predictions do not need.
_LEFT_OUT = frozenset(
    {
        "cv_results_", "_checked_cv_orig", "scorer_", "multimetric_", "refit_time_", "_sklearn_version", "_rng", "rng",
        "_random_state", "_optimizer", "loss_curve_", "_plans", "_step", "_steps", "_no_improvement_count",
    }
)  # fmt: skip
#: Kinds of dtypes that arrays may have: float, int, unsigned int, bool.
_KINDS = "fiub"


class UnknownContent(TypeError):
    """Content that cannot be written or must not be read; the message names it."""


class Encoder:
    """Encoder of objects as JSON and arrays.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Arrays encoded so far, by name.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self._names: dict[int, str] = {}
        self._references: list[Any] = []

    def encode(self, thing: Any) -> Any:
        """Return an object for `json.dumps`; a class that is not listed raises UnknownContent."""
        if thing is None or isinstance(thing, (bool, str)):
            return thing
        if isinstance(thing, np.generic):
            if thing.dtype.kind == "U":
                return str(thing)
            return {"$": "number", "dtype": thing.dtype.name, "value": self.encode(thing.item())}
        if isinstance(thing, int):
            return thing
        if isinstance(thing, float):
            return thing if math.isfinite(thing) else {"$": "float", "value": repr(thing)}
        if isinstance(thing, np.ndarray):
            return self._array(thing)
        if isinstance(thing, (list, tuple)):
            return {"$": type(thing).__name__, "items": [self.encode(item) for item in thing]}
        if isinstance(thing, Mapping):
            return {"$": "dict", "items": [[self.encode(key), self.encode(value)] for key, value in thing.items()]}
        return self._object(thing)

    def _array(self, array: NDArray[Any]) -> Any:
        if array.dtype.kind in "OU":
            items = [self.encode(item) for item in array.ravel().tolist()]
            return {"$": "texts", "shape": list(array.shape), "object": array.dtype.kind == "O", "items": items}
        if array.dtype.kind not in _KINDS:
            raise UnknownContent(f"an array of {array.dtype}")
        name = self._names.get(id(array))
        if name is None:
            name = self._names[id(array)] = f"array{len(self.arrays):04d}"
            self.arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
            self._references.append(array)  # while it exists, no other array can get its id
        return {"$": "array", "name": name}

    def _object(self, thing: Any) -> Any:
        name = type(thing).__name__
        if CLASSES.get(name) is None or _class(name) is not type(thing):
            raise UnknownContent(name)
        state = thing.__getstate__() if hasattr(type(thing), "__getstate__") else thing.__dict__
        content = {key: self.encode(value) for key, value in state.items() if key not in _LEFT_OUT}
        return {"$": "object", "class": name, "state": content}


def decode(node: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Return the object that `Encoder.encode` encoded.

    Parameters
    ----------
    node
        Result of `json.loads`.
    arrays : mapping of str to ndarray
        Arrays of the `Encoder`, by name.

    Raises
    ------
    UnknownContent
        A class that is not listed, or any other content that `Encoder` does not write.
    """
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    if not isinstance(node, dict):
        raise UnknownContent(type(node).__name__)
    try:
        return _DECODERS[node["$"]](node, arrays)
    except (KeyError, TypeError, ValueError, AttributeError, ImportError) as error:
        if isinstance(error, UnknownContent):
            raise
        raise UnknownContent(f"a damaged {str(node.get('$'))[:20]}") from error


def _number(node: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    dtype = np.dtype(node["dtype"])
    if dtype.kind not in _KINDS:
        raise UnknownContent(node["dtype"])
    return dtype.type(decode(node["value"], arrays))


def _texts(node: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    items = [decode(item, arrays) for item in node["items"]]
    flat = np.empty(len(items), dtype=object)
    flat[:] = items
    return (flat if node["object"] else flat.astype(str)).reshape(node["shape"])


def _class(name: str) -> Any:
    return getattr(import_module(CLASSES[name]), name)


def _object(node: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if node["class"] not in CLASSES:
        raise UnknownContent(f"the class {node['class']!r}")
    kind = _class(node["class"])
    state = {}
    for key, value in node["state"].items():
        # Data only: no method of the class is replaced.
        if not key.isidentifier() or key.startswith("__") or callable(getattr(kind, key, None)):
            raise UnknownContent(f"an attribute {key!r}")
        state[key] = decode(value, arrays)
    # joblib caches are pickles; a model must not refer to one.
    if state.get("memory") is not None:
        raise UnknownContent("a joblib cache")
    thing = object.__new__(kind)
    if isinstance(getattr(kind, "__setstate__", None), type(_object)) and kind.__module__.startswith(
        "nirs4all_vit.spectra"
    ):
        thing.__setstate__(state)
    else:
        thing.__dict__.update(state)
    return thing


_DECODERS: dict[str, Any] = {
    "float": lambda node, _: float(node["value"]),
    "number": _number,
    "array": lambda node, arrays: arrays[node["name"]],
    "texts": _texts,
    "list": lambda node, arrays: [decode(item, arrays) for item in node["items"]],
    "tuple": lambda node, arrays: tuple(decode(item, arrays) for item in node["items"]),
    "dict": lambda node, arrays: {decode(key, arrays): decode(value, arrays) for key, value in node["items"]},
    "object": _object,
}
