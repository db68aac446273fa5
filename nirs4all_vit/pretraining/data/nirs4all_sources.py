"""Spectra from nirs4all and nirs4all-datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SpectralAxisError, SpectralInputError, needed_by
from ...spectra.data import Spectra, guess_axis_unit, to_nanometres
from .dataset import SpectralDataset

#: Modes of nirs4all's signal types; values show whether a signal is in percent.
_MODES = {
    "absorbance": "absorbance",
    "log_1_r": "absorbance",
    "log_1_t": "absorbance",
    "reflectance": "reflectance",
    "reflectance%": "reflectance",
    "transmittance": "transmittance",
    "transmittance%": "transmittance",
}


def from_nirs4all(source: Any, name: str | None = None) -> list[SpectralDataset]:
    """Read the spectra of a nirs4all dataset; targets are not read.

    Parameters
    ----------
    source : SpectroDataset, path, dict or DatasetConfigs
        A dataset in memory, or any input of nirs4all's ``DatasetConfigs``: a folder, a
        configuration file or a dictionary.
    name : str, optional
        Dataset id; by default the name in nirs4all.

    Returns
    -------
    list of SpectralDataset
        One per source (instrument) and dataset; further sources are named ``<name>-<source>``.

    Raises
    ------
    FileNotFoundError
        The path does not exist.
    SpectralAxisError
        A source has no wavelength axis.
    SpectralInputError
        nirs4all cannot open the source, or spectra have missing values.
    """
    from nirs4all.data import DatasetConfigs
    from nirs4all.data.dataset import SpectroDataset

    if isinstance(source, SpectroDataset):
        spectro_datasets = [source]
    else:
        if isinstance(source, (str, Path)):
            if not Path(source).exists():
                raise FileNotFoundError(f"no file or folder {source}.")
            source = str(source)
        try:
            configs = source if isinstance(source, DatasetConfigs) else DatasetConfigs(source)
            spectro_datasets = configs.get_datasets()
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise SpectralInputError(f"nirs4all cannot open {source}: {error}") from error
    return [dataset for opened in spectro_datasets for dataset in _sources(opened, name or opened.name)]


def fetch_dataset(dataset_id: str, root: str | Path = ".", *, cache: str | Path | None = None) -> list[SpectralDataset]:
    """Fetch a public dataset from its publisher, by its id in nirs4all-datasets.

    Parameters
    ----------
    dataset_id : str
        Id in the catalogue of ``nirs4all-datasets``.
    root : path, default="."
        Checkout of the registry (``catalog/``, ``datasets/``). A dataset whose canonical files it
        contains is read without network access.
    cache : path, optional
        Folder for downloads; by default that of nirs4all-datasets.

    Returns
    -------
    list of SpectralDataset
        One per source (instrument).

    Raises
    ------
    MissingPackageError
        nirs4all-datasets is not installed.
    FileNotFoundError
        The registry does not contain the id.
    ConnectionError
        The network is unavailable, or the dataset cannot be fetched automatically; the message
        gives its location.
    """
    with needed_by("a public dataset", "nirs4all-datasets"):
        import nirs4all_datasets
    try:
        dataset = nirs4all_datasets.get(dataset_id, root=root, cache_dir=cache, reproduce=True)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} root={str(root)!r} must be a checkout of the nirs4all-datasets registry that contains it."
        ) from error
    except (RuntimeError, ValueError, KeyError, OSError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise ConnectionError(
            f"dataset {dataset_id!r} cannot be fetched (no network?): {reason} Load a copy on disk with load_x_bank."
        ) from error
    if not hasattr(dataset, "sources"):
        return from_nirs4all(dataset, dataset_id)
    licence = str(getattr(dataset.descriptor.governance, "license", "UNKNOWN"))
    datasets = []
    for index, source in enumerate(dataset.sources()):
        metadata = {"family": dataset_id, "licence": licence}
        label = dataset_id if index == 0 else f"{dataset_id}-{source}"
        datasets.append(_dataset(label, np.asarray(dataset.x(source)), dataset.wavelengths(source), "auto", metadata))
    return datasets


def _sources(dataset: Any, name: str) -> list[SpectralDataset]:
    try:
        blocks = dataset.x({}, layout="2d", concat_source=False)
    except ValueError as error:
        raise SpectralInputError(f"{name}: nirs4all returns no spectra: {error}") from error
    blocks = blocks if isinstance(blocks, list) else [blocks]
    datasets = []
    for index, values in enumerate(blocks):
        label = name if index == 0 else f"{name}-{index}"
        try:
            axis = np.asarray(dataset.wavelengths_nm(index), dtype=np.float64)
        except (ValueError, TypeError) as error:
            raise SpectralAxisError(f"{label}: no wavelength axis: {error}") from error
        signal = dataset.signal_type(index)
        metadata = {"family": name, "mode": _MODES.get(str(getattr(signal, "value", signal)), "UNKNOWN")}
        # nirs4all may take a header in nm for wavenumbers and return 1e7/nm; the range reveals it.
        datasets.append(_dataset(label, values, axis, guess_axis_unit(axis), metadata))
    return datasets


def _dataset(
    name: str, values: NDArray[Any], axis: NDArray[np.float64], unit: str, metadata: dict[str, Any]
) -> SpectralDataset:
    if not np.isfinite(axis).all():
        raise SpectralAxisError(f"{name}: the columns are not wavelengths.")
    spectra = Spectra.on_grid(np.asarray(values), to_nanometres(axis, unit))
    if not np.isfinite(spectra.values).all():
        row = int(np.flatnonzero(~np.isfinite(spectra.values).all(axis=1))[0])
        raise SpectralInputError(f"{name}, spectrum {row + 1}: a value is missing or not finite.")
    return SpectralDataset(name, np.ascontiguousarray(spectra.values, dtype=np.float32), spectra.wavelengths, metadata)
