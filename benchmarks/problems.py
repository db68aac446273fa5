"""Sources of calibration problems: a bank, or synthetic and public datasets."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nirs4all_vit.pretraining import SyntheticSpectralDataset
from nirs4all_vit.spectra.data import to_nanometres

from .calibrations import Calibration, load_calibrations, make_calibration, read_spectra

#: Errors of nirs4all-datasets for a dataset that is neither on this machine nor can be fetched.
_FETCH_ERRORS = (RuntimeError, ValueError, KeyError, OSError, ImportError)

#: Types of variables that are classes or numbers; other types are not targets.
_CLASSES, _NUMBERS = ("categorical", "text"), ("numeric",)


@lru_cache(maxsize=1)
def public_names(registry: Path) -> list[str]:
    """Return the available datasets as ``ID`` or, with several instruments, ``ID@SOURCE``.

    Other datasets are listed on standard error. Raises FileNotFoundError without a registry and
    ValueError if nirs4all-datasets is not installed.
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
        except _FETCH_ERRORS as error:
            print(f"left out: {one} cannot be fetched: {' '.join(str(error).split())[:200]}", file=sys.stderr)
            continue
        names += [one] if len(sources) == 1 else [f"{one}@{source}" for source in sources]
    return names


@lru_cache(maxsize=4)
def read_public(registry: Path, name: str) -> tuple[NDArray[np.float32], NDArray[np.float64], list[Calibration]]:
    """Return spectra (n, L), wavelengths in nm (L,) and problems of one instrument of a dataset.

    Targets are joined by sample: spectra of a sample share its value and group. The family of a
    dataset is its id. Raises FileNotFoundError for an unknown dataset or one that cannot be
    fetched.
    """
    dataset_id, _, source = name.partition("@")
    try:
        opened = _open(registry, dataset_id)
        source = source or opened.sources()[0]
        X, axis, ids = opened.x(source), opened.wavelengths(source), opened.sample_ids(source)
    except _FETCH_ERRORS as error:
        raise FileNotFoundError(f"no public set {name}: {' '.join(str(error).split())}") from error
    wavelengths = to_nanometres(axis, "auto")
    values = opened.y()
    if values is None:
        return X, wavelengths, []
    # Use the first row of a sample.
    by_sample = values.drop_duplicates("sample_id").set_index("sample_id").reindex(ids)
    groups = pd.factorize(ids)[0]
    # Masked variables still have a type; only numbers and classes are targets.
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


KINDS = ("regression", "classification")

#: Number of synthetic datasets, spectra per dataset, and components with the largest variation.
_N_SYNTHETIC, _N_SPECTRA, _N_COMPONENTS = 6, 150, 2


@dataclass(frozen=True)
class Problems:
    """Calibration problems by dataset and target.

    Attributes
    ----------
    x_bank, y_bank : path or None
        Folders of spectra and targets; synthetic datasets are used if `x_bank` is None.
    datasets : tuple of str
        Names of datasets; all if empty.
    registry : path or None
        Checkout of the nirs4all-datasets registry, whose datasets are added if there is no bank.
    """

    x_bank: Path | None = None
    y_bank: Path | None = None
    datasets: tuple[str, ...] = ()
    registry: Path | None = None

    @property
    def names(self) -> list[str]:
        """Names of the datasets with targets."""
        if self.datasets:
            return list(self.datasets)
        if self.x_bank is None:
            public = public_names(self.registry) if self.registry else []
            return [*(f"synthetic-{i}" for i in range(_N_SYNTHETIC)), *public]
        y_bank = self.y_bank or self.x_bank.parent / "y_bank"
        return sorted(path.stem for path in y_bank.glob("*.csv"))

    def __iter__(self) -> Iterator[Calibration]:
        for name in self.names:
            yield from self.of(name)

    def of(self, dataset: str) -> list[Calibration]:
        """Return the problems of a dataset; read once per process."""
        return _load(self, dataset)

    def get(self, dataset: str, target: str) -> Calibration:
        """Return the problem of a target; raises KeyError for an unknown target."""
        problem = next((c for c in self.of(dataset) if c.target == target), None)
        if problem is None:
            raise KeyError(f"no target {target!r} in {dataset}.")
        return problem

    def read(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return all spectra (n, L) of a dataset and their wavelengths in nm (L,)."""
        if self.x_bank is not None:
            return read_spectra(self.x_bank, name)
        if _is_synthetic(name) or self.registry is None:
            problem = _synthetic(name)[0]
            return problem.X, problem.wavelengths
        return read_public(self.registry, name)[:2]

    def fingerprint(self, name: str) -> str:
        """Return a hash of a dataset's spectra and targets."""
        if self.x_bank is not None:
            y_bank = self.y_bank or self.x_bank.parent / "y_bank"
            files = (self.x_bank / f"{name}.csv", self.x_bank / f"{name}.json", y_bank / f"{name}.csv")
            parts = [path.read_bytes() for path in files if path.exists()]
        else:
            X, wavelengths = self.read(name)
            parts = [array.tobytes() for array in (X, wavelengths, *(p.y for p in self.of(name)))]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(hashlib.sha256(part).digest())
        return digest.hexdigest()[:20]


@lru_cache(maxsize=4)
def _load(problems: Problems, dataset: str) -> list[Calibration]:
    if problems.x_bank is not None:
        return list(load_calibrations(problems.x_bank, problems.y_bank, [dataset], tasks=KINDS))
    if _is_synthetic(dataset) or problems.registry is None:
        return _synthetic(dataset)
    return read_public(problems.registry, dataset)[2]


def _is_synthetic(name: str) -> bool:
    return name.startswith("synthetic-")


def _synthetic(name: str) -> list[Calibration]:
    """Return problems for the concentrations of the components with the largest variation."""
    number = name.removeprefix("synthetic-")
    if not number.isdigit():
        raise FileNotFoundError(f"no dataset {name}; without --x-bank there are synthetic-0, synthetic-1, ...")
    dataset = SyntheticSpectralDataset(int(number), _N_SPECTRA)
    spread = sorted(dataset.concentrations.items(), key=lambda item: -item[1].std())
    rows = np.arange(_N_SPECTRA)
    return [
        Calibration(name, component, name, dataset.values, dataset.wavelengths, y, rows, "regression", rows)
        for component, y in spread[:_N_COMPONENTS]
    ]
