"""Public calibration sets of nirs4all-datasets, from a checkout of its registry."""

from __future__ import annotations

import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nirs4all_vit.spectra.data import to_nanometres

from .calibrations import Calibration, make_calibration

#: What that package raises where a set lies nowhere on this machine and cannot be fetched.
_NOT_HERE = (RuntimeError, ValueError, KeyError, OSError, ImportError)

#: Types of variables that are classes; anything but these and numbers is no target.
_CLASSES, _NUMBERS = ("categorical", "text"), ("numeric",)


@lru_cache(maxsize=1)
def public_names(registry: Path) -> list[str]:
    """Return the sets that can be read or fetched, ``ID`` or, with several instruments, ``ID@SOURCE``.

    Those that cannot are named on the standard error stream.

    Raises
    ------
    FileNotFoundError
        No registry there.
    ValueError
        nirs4all-datasets is not installed.
    """
    if importlib.util.find_spec("nirs4all_datasets") is None:
        raise ValueError("public sets need nirs4all-datasets: pip install nirs4all-datasets.")
    ids = sorted(path.stem for path in (registry / "catalog/datasets").glob("*.yaml"))
    if not ids:
        raise FileNotFoundError(
            f"no catalog/datasets/*.yaml in {registry}; it must be a checkout of nirs4all-datasets."
        )
    names = []
    for one in ids:
        try:
            sources = _open(registry, one).sources()
        except _NOT_HERE as error:
            print(f"left out: {one} cannot be fetched: {' '.join(str(error).split())[:200]}", file=sys.stderr)
            continue
        names += [one] if len(sources) == 1 else [f"{one}@{source}" for source in sources]
    return names


@lru_cache(maxsize=4)
def read_public(registry: Path, name: str) -> tuple[NDArray[np.float32], NDArray[np.float64], list[Calibration]]:
    """Return spectra (n, L), wavelengths in nm (L,) and the problems of one instrument of a set.

    Targets are joined by sample: spectra of one sample share its value and its group. The family of a set
    is its id.

    Raises
    ------
    FileNotFoundError
        No such set, or it cannot be fetched.
    """
    dataset_id, _, source = name.partition("@")
    try:
        opened = _open(registry, dataset_id)
        source = source or opened.sources()[0]
        X, axis, ids = opened.x(source), opened.wavelengths(source), opened.sample_ids(source)
    except _NOT_HERE as error:
        raise FileNotFoundError(f"no public set {name}: {' '.join(str(error).split())}") from error
    wavelengths = to_nanometres(axis, "auto")
    values = opened.y()
    if values is None:
        return X, wavelengths, []
    # A sample that stands twice in the table counts with its first row.
    by_sample = values.drop_duplicates("sample_id").set_index("sample_id").reindex(ids)
    groups = pd.factorize(ids)[0]
    # A masked name still has its type; what is neither number nor class is no target.
    kinds = {str(v.name): str(v.type.value) for v in opened.variables()}
    problems = []
    for target in by_sample.columns:
        kind = kinds.get(str(target), "numeric")
        if kind not in (*_CLASSES, *_NUMBERS):
            continue
        task = "classification" if kind in _CLASSES else "regression"
        problem = make_calibration(name, str(target), dataset_id, X, wavelengths, by_sample[target], groups, task)
        if problem is not None:
            problems.append(problem)
    return X, wavelengths, problems


def _open(registry: Path, dataset_id: str) -> Any:
    import nirs4all_datasets

    return nirs4all_datasets.get(dataset_id, root=registry, reproduce=True)
