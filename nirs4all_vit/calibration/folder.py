"""The model folder: JSON and safetensors files with hashes, without executable content."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..encoder.checkpoint import BUNDLED, find_checkpoint, load_checkpoint
from ..errors import CheckpointError, ModelError
from ..files import atomic_path, file_sha256
from ..version import __version__
from .codec import Encoder, UnknownContent, decode
from .model import SpectralCalibration

#: Format that this release writes, and the newest that it reads.
FORMAT_VERSION = 1
MODEL_FILE, ARRAY_FILE, WEIGHT_FILE = "model.json", "model.safetensors", "encoder.safetensors"
#: Largest size of model.json in bytes.
_MAX_BYTES = 1 << 28
#: Attributes that are not saved: metrics.json and predictions.csv have the cross-validation.
_NOT_SAVED = ("cross_validation_", "folds_")


def save(model: SpectralCalibration, folder: str | os.PathLike[str], about: dict[str, Any] | None = None) -> None:
    """Write a fitted calibration into a folder.

    Parameters
    ----------
    model : SpectralCalibration
        Fitted.
    folder : path
        Created if missing. Its ``model.json`` and ``model.safetensors`` are replaced.
    about : dict, optional
        Additional information as JSON types, such as settings and hashes of the data.

    Raises
    ------
    TypeError
        The model contains an object that cannot be written, such as a user's own head.
    """
    from safetensors.numpy import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = load_checkpoint(model.checkpoint)
    is_bundled = checkpoint.name in BUNDLED and BUNDLED[checkpoint.name].sha256 == checkpoint.sha256
    encoder = Encoder()
    state = {key: value for key, value in vars(model).items() if key not in _NOT_SAVED}
    bare = SpectralCalibration()
    bare.__dict__.clear()
    bare.__dict__.update(state)
    try:
        graph = encoder.encode(bare)
    except UnknownContent as error:
        raise TypeError(f"the model holds {error}, which cannot be saved in a folder; choose another head.") from error
    with atomic_path(folder / ARRAY_FILE) as target:
        save_file(encoder.arrays, target)
    if not is_bundled:
        with atomic_path(folder / WEIGHT_FILE) as target:
            shutil.copyfile(find_checkpoint(model.checkpoint), target)
    content = {
        "format": FORMAT_VERSION,
        "nirs4all_vit": __version__,
        "checkpoint": {"name": checkpoint.name, "sha256": checkpoint.sha256, "bundled": is_bundled},
        "arrays_sha256": file_sha256(folder / ARRAY_FILE),
        "versions": _versions(),
        "about": about or {},
        "model": graph,
    }
    content["sha256"] = _hash(content)
    with atomic_path(folder / MODEL_FILE) as target:
        target.write_text(_as_json(content), "utf-8")


def load(folder: str | os.PathLike[str]) -> SpectralCalibration:
    """Read a calibration written by `calibrate` or `save`; no code from the folder is run.

    Parameters
    ----------
    folder : path
        Model folder.

    Returns
    -------
    SpectralCalibration
        Fitted; its predictions equal those of the saved calibration.

    Raises
    ------
    ModelError
        The folder is missing, damaged, altered or of a newer format, or its weights are missing.

    Warns
    -----
    UserWarning
        The folder was written with another version of scikit-learn or major version of numpy.
    """
    folder = Path(folder)
    content = read_content(folder)
    arrays = _read_arrays(folder, str(content["arrays_sha256"]))
    try:
        model = decode(content["model"], arrays)
    except (UnknownContent, RecursionError) as error:
        raise ModelError(
            f"{folder / MODEL_FILE} is no model of this package: it holds {error}. Calibrate again."
        ) from error
    if not isinstance(model, SpectralCalibration) or not hasattr(model, "targets_"):
        raise ModelError(f"{folder / MODEL_FILE} holds no calibration; calibrate again.")
    _find_weights(model, folder, content["checkpoint"])
    if content["versions"] != _versions():
        _check_versions(folder, content["versions"])
    return model


def read_content(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of ``model.json`` after verifying its hash; errors as in `load`."""
    folder = Path(folder)
    path = folder / MODEL_FILE
    if not path.is_file():
        raise ModelError(
            f"{folder} is no model folder: it has no {MODEL_FILE}. `nirs4all-vit calibrate` writes model folders."
        )
    if path.stat().st_size > _MAX_BYTES:
        raise ModelError(
            f"{path} has {path.stat().st_size:,} bytes, more than {_MAX_BYTES:,}: it is no model of this package."
        )
    damaged = f"{path} is damaged or was changed; restore it from a copy, or calibrate again."
    try:
        text = path.read_text("utf-8")
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(damaged) from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise ModelError(damaged)
    if content["format"] > FORMAT_VERSION:
        raise ModelError(f"{path} has format {content['format']}, newer than this release reads; upgrade nirs4all-vit.")
    try:
        # The text is compared as well: other JSON texts could have the same hash.
        if content.get("sha256") != _hash(content) or text != _as_json(content):
            raise ModelError(damaged)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(damaged) from error
    return content


def _read_arrays(folder: Path, sha256: str) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / ARRAY_FILE
    if not path.is_file():
        raise ModelError(f"{folder} lacks {ARRAY_FILE}; copy the whole folder.")
    if file_sha256(path) != sha256:
        raise ModelError(f"{path} is damaged or was changed; restore it from a copy, or calibrate again.")
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise ModelError(f"{path} is damaged; restore it from a copy, or calibrate again.") from error


def _find_weights(model: SpectralCalibration, folder: Path, about: dict[str, Any]) -> None:
    """Set the model's checkpoint to the weights that it was fitted with; folders can be moved."""
    reference = str(about["name"]) if about["bundled"] else str(folder / WEIGHT_FILE)
    try:
        sha256 = load_checkpoint(reference).sha256
    except (CheckpointError, OSError) as error:
        raise ModelError(f"{folder}: its weights {about['name']} cannot be loaded: {error}") from error
    if sha256 != about["sha256"]:
        raise ModelError(
            f"{folder} was made with weights {about['name']} (SHA-256 {about['sha256'][:12]}), but {reference} has "
            f"{sha256[:12]}; restore the folder, or install the release that wrote it."
        )
    model.checkpoint = reference
    model.embedder_.set_params(checkpoint=reference, cache=False, device="auto")
    if model.novelty_ is not None:
        model.novelty_.set_params(checkpoint=reference, device="auto")


def _check_versions(folder: Path, versions: dict[str, Any]) -> None:
    here = _versions()
    changed = [f"{name} {versions.get(name)} (here {here[name]})" for name in here if versions.get(name) != here[name]]
    warnings.warn(
        f"{folder} was written with {', '.join(changed)}: predictions may differ in the last digits.",
        UserWarning,
        stacklevel=3,
    )


def _versions() -> dict[str, str]:
    """Return the versions of the packages that define the saved attributes."""
    import sklearn

    return {"scikit-learn": sklearn.__version__, "numpy": np.__version__.partition(".")[0]}


def environment() -> dict[str, str]:
    """Return the versions of Python and of the packages, for the provenance."""
    import scipy
    import sklearn
    import torch

    return {
        "nirs4all_vit": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": str(torch.__version__),
    }


def _as_json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _hash(content: dict[str, Any]) -> str:
    bare = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(_as_json(bare).encode()).hexdigest()
