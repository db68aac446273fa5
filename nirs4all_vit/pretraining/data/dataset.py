"""Dataset of spectra with its metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...encoder.fields import AXIS_FIELDS, UNKNOWN, category, value_and_mask
from ...errors import SpectralAxisError, SpectralInputError

#: Metadata fields that an encoder can use.
CATEGORICAL = ("instrument", "manufacturer", "instrument_type", "mode", "sample_type")
NUMERIC = (*AXIS_FIELDS, "temperature", "particle_size", "humidity")


@dataclass(frozen=True)
class SpectralMetadata:
    """Metadata of one dataset, complete with markers for missing values.

    Attributes
    ----------
    categorical : mapping of str to str
        One value per field of `CATEGORICAL`, ``"UNKNOWN"`` where missing.
    numeric : mapping of str to (float, float)
        One (value, mask) per field of `NUMERIC`; (0, 0) where missing. Wavelengths in nm,
        temperature in degrees Celsius, particle size in micrometres, humidity in percent.
    source : mapping
        All metadata as given, for example family, licence and provenance.
    """

    categorical: Mapping[str, str]
    numeric: Mapping[str, tuple[float, float]]
    source: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> SpectralMetadata:
        """Create metadata from a sparse dictionary.

        Any field may be missing, null, empty or ``"UNKNOWN ..."``.
        """
        numbers = dict(source)
        limits = source.get("spectral_range")
        if isinstance(limits, (list, tuple)) and len(limits) == 2:
            numbers |= {"spectral_start": limits[0], "spectral_stop": limits[1]}
        return cls(
            {name: category(source.get(name), name) for name in CATEGORICAL},
            {name: value_and_mask(numbers.get(name)) for name in NUMERIC},
            dict(source),
        )

    @property
    def family(self) -> str:
        """Family of the dataset, ``"UNKNOWN"`` if not given."""
        family = self.source.get("family")
        return category(family) if isinstance(family, (str, int)) else UNKNOWN

    def known(self) -> dict[str, str | float]:
        """Return the available values, as input of the metadata embedding of the encoder."""
        words = {name: value for name, value in self.categorical.items() if value != UNKNOWN}
        return words | {name: value for name, (value, mask) in self.numeric.items() if mask}


#: Approximate number of rows from which properties of a dataset are estimated (percent or fraction,
#: typical standard deviation).
_SURVEY_ROWS = 2000


def row_blocks(n_spectra: int, n_wavelengths: int, points: int = 2_000_000) -> Iterator[slice]:
    """Yield slices of rows with at most about `points` points each, to bound the memory."""
    step = max(1, points // n_wavelengths)
    for start in range(0, n_spectra, step):
        yield slice(start, min(start + step, n_spectra))


class SpectralDataset:
    """Spectra of one dataset on one grid, without targets.

    Parameters
    ----------
    name : str
        Dataset id.
    values : ndarray of shape (n_spectra, n_wavelengths), float32
        Signal as published; a memory map is read on demand.
    wavelengths : ndarray of shape (n_wavelengths,), float64
        In nm, ascending.
    metadata : mapping, optional
        Sparse: ``mode``, ``instrument``, ``family``, ... Missing fields are UNKNOWN.
    baseline : ndarray of shape (n_spectra, n_wavelengths), float32, optional
        AsLS baseline of the absorbance.

    Raises
    ------
    SpectralInputError, SpectralAxisError
        The shapes do not agree, or the wavelengths are not ascending.
    """

    def __init__(
        self,
        name: str,
        values: NDArray[np.float32],
        wavelengths: NDArray[np.float64],
        metadata: Mapping[str, Any] | None = None,
        baseline: NDArray[np.float32] | None = None,
    ) -> None:
        if values.ndim != 2 or values.shape[1] != wavelengths.size or not len(values):
            raise SpectralInputError(f"{name}: spectra of shape {values.shape} on {wavelengths.size} wavelengths.")
        if baseline is not None and baseline.shape != values.shape:
            raise SpectralInputError(
                f"{name}: a baseline of shape {baseline.shape} for spectra of shape {values.shape}."
            )
        self._set_axis(name, wavelengths, metadata)
        self._values, self.baseline = values, baseline
        #: Keeps the temporary folder of the memory map alive.
        self.owner: Any = None

    def _set_axis(self, name: str, wavelengths: NDArray[np.float64], metadata: Mapping[str, Any] | None) -> None:
        if wavelengths.size > 1 and not (np.diff(wavelengths) > 0).all():
            raise SpectralAxisError(f"{name}: wavelengths must ascend.")
        self.name, self.wavelengths = name, wavelengths
        self.metadata = SpectralMetadata.from_dict(metadata or {})

    @property
    def values(self) -> NDArray[np.float32]:
        """Signal as published, (n_spectra, n_wavelengths), float32."""
        return self._values

    @property
    def family(self) -> str:
        """Family: datasets that share samples, laboratory or instrument; `name` if unknown."""
        return self.name if self.metadata.family == UNKNOWN else self.metadata.family

    @property
    def mode(self) -> str:
        """Mode: ``absorbance``, ``reflectance``, ``transmittance`` or ``UNKNOWN``."""
        return self.metadata.categorical["mode"]

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        low, high = self.wavelengths[[0, -1]]
        return f"<{type(self).__name__} {self.name}: {len(self)} x {self.wavelengths.size}, {low:.0f}-{high:.0f} nm>"

    def absorbance(self, rows: Any = slice(None), columns: slice = slice(None)) -> NDArray[np.float32]:
        """Return spectra as absorbance, log10(1/R) or log10(1/T).

        Reflectance and transmittance are converted, as percent if the median of the values is above
        2; other signals are returned unchanged.

        Parameters
        ----------
        rows : slice or array of int, default: all
            Spectra to return; others are not read.
        columns : slice, default: all
            Wavelengths to return.

        Returns
        -------
        ndarray of shape (n_rows, n_columns), float32
        """
        values = np.asarray(self.values[rows][:, columns], dtype=np.float32)
        if self.mode not in ("reflectance", "transmittance"):
            return values
        return -np.log10(np.clip(values * self._fraction, 1e-4, None, dtype=np.float32))

    def paired(self) -> SpectralDataset | None:
        """Return the same samples, row by row, measured again; None for real spectra."""
        return None

    @cached_property
    def deviation(self) -> float:
        """Typical standard deviation between absorbance spectra, the unit of spikes and noise."""
        # Median over varying wavelengths, so that saturated or dead channels do not set the scale.
        spread = self.absorbance(self.survey()).std(axis=0, dtype=np.float64)
        return float(np.median(spread[spread > 0])) if (spread > 0).any() else 0.0

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of values, wavelengths and mode, which determine the absorbance."""
        digest = hashlib.sha256(self.wavelengths.astype("<f8").tobytes())
        digest.update(f"{self.mode}:{len(self)}".encode())
        for rows in row_blocks(len(self), self.wavelengths.size):
            digest.update(np.ascontiguousarray(self.values[rows], dtype="<f4").tobytes())
        return digest.hexdigest()

    @cached_property
    def _fraction(self) -> np.float32:
        """Factor to fractions: 0.01 if the signal is in percent, else 1."""
        return np.float32(0.01 if np.median(self.values[self.survey()]) > 2.0 else 1.0)

    def survey(self) -> slice:
        """Return the rows, evenly spread, from which properties of the dataset are estimated."""
        return slice(None, None, max(1, len(self) // _SURVEY_ROWS))

    def __getstate__(self) -> dict[str, Any]:
        # Workers map the file again; its contents are not pickled.
        return {key: _packed(value) for key, value in self.__dict__.items() if key != "owner"} | {"owner": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({key: _unpacked(value) for key, value in state.items()})


class _MappedFile(str):
    """Path of a ``.npy`` file, pickled instead of its memory map."""


def _packed(value: Any) -> Any:
    whole = isinstance(value, np.memmap) and value.filename is not None and value.offset and value.base is not None
    if whole and Path(value.filename).suffix == ".npy" and not isinstance(value.base, np.ndarray):
        return _MappedFile(value.filename)
    return value


def _unpacked(value: Any) -> Any:
    return np.load(value, mmap_mode="r", allow_pickle=False) if isinstance(value, _MappedFile) else value
