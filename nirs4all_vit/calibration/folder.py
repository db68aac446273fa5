"""The model folder: JSON and safetensors with hashes, and nothing that could run."""

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

#: Version of the layout that this release writes, and the newest that it reads.
FORMAT_VERSION = 1
MODEL_FILE, ARRAY_FILE, WEIGHT_FILE = "model.json", "model.safetensors", "encoder.safetensors"
#: Bytes of model.json, at most.
_LONGEST = 1 << 28
#: What is not saved: results of cross-validation, which metrics.json and predictions.csv hold.
_NOT_SAVED = ("cross_validation_", "folds_")


def save(model: SpectralCalibration, folder: str | os.PathLike[str], about: dict[str, Any] | None = None) -> None:
    """Write a fitted calibration into a folder.

    Parameters
    ----------
    model : SpectralCalibration
    folder : path
        Made where it is missing. Its ``model.json`` and ``model.safetensors`` are replaced.
    about : dict, optional
        What is to be remembered beside the model: settings, hashes of the data.

    Raises
    ------
    TypeError
        The model holds something that cannot be written, such as a head of the user's own.
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
        raise TypeError(f"the model holds {error}, which a model folder cannot; choose another head.") from error
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
        target.write_text(_written(content), "utf-8")


def load(folder: str | os.PathLike[str]) -> SpectralCalibration:
    """Read a calibration that `calibrate` or `save` has written; no code in the folder is run.

    Parameters
    ----------
    folder : path

    Returns
    -------
    SpectralCalibration
        Fitted. It predicts what the one that was saved does.

    Raises
    ------
    ModelError
        The folder is missing, damaged, altered, of a newer format, or made with weights that are not here.
    """
    folder = Path(folder)
    content = read_content(folder)
    arrays = _read_arrays(folder, str(content["arrays_sha256"]))
    try:
        model = decode(content["model"], arrays)
    except (UnknownContent, RecursionError) as error:
        raise ModelError(f"{folder / MODEL_FILE} is no model of this package: it holds {error}.") from error
    if not isinstance(model, SpectralCalibration) or not hasattr(model, "targets_"):
        raise ModelError(f"{folder / MODEL_FILE} holds no calibration.")
    _find_weights(model, folder, content["checkpoint"])
    if content["versions"] != _versions():
        _check_versions(folder, content["versions"])
    return model


def read_content(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what ``model.json`` holds, its hash checked; errors as in `load`."""
    folder = Path(folder)
    path = folder / MODEL_FILE
    if not path.is_file():
        raise ModelError(
            f"{folder} is no model folder: it has no {MODEL_FILE}. `nirs4all-vit calibrate -o {folder}` makes one."
        )
    if path.stat().st_size > _LONGEST:
        raise ModelError(f"{path} has {path.stat().st_size:,} bytes; it is no model of this package.")
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
        # Byte for byte: nothing in the file may differ from what was hashed.
        if content.get("sha256") != _hash(content) or text != _written(content):
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
    """Point the model at the weights that it was made with, wherever the folder lies now."""
    reference = str(about["name"]) if about["bundled"] else str(folder / WEIGHT_FILE)
    try:
        sha256 = load_checkpoint(reference).sha256
    except (CheckpointError, OSError) as error:
        raise ModelError(f"{folder}: the weights {about['name']} are not here: {error}") from error
    if sha256 != about["sha256"]:
        raise ModelError(
            f"{folder} was made with weights {about['name']} ({about['sha256'][:12]}); {reference} holds others."
        )
    model.checkpoint = reference
    model.embedder_.set_params(checkpoint=reference, cache=False, device="auto")
    if model.novelty_ is not None:
        model.novelty_.set_params(checkpoint=reference, device="auto")


def _check_versions(folder: Path, versions: dict[str, Any]) -> None:
    here = _versions()
    changed = [f"{name} {versions.get(name)} (here {here[name]})" for name in here if versions.get(name) != here[name]]
    warnings.warn(
        f"{folder} was made with {', '.join(changed)}: predictions may differ in the last digits.",
        UserWarning,
        stacklevel=3,
    )


def _versions() -> dict[str, str]:
    """Return the versions that the meaning of a state depends on."""
    import sklearn

    return {"scikit-learn": sklearn.__version__, "numpy": np.__version__.partition(".")[0]}


def environment() -> dict[str, str]:
    """Return the versions of what made a calibration."""
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


def _written(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _hash(content: dict[str, Any]) -> str:
    bare = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(_written(bare).encode()).hexdigest()
