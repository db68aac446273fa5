"""Validation of the metadata of spectra, and completion as in pretraining."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..encoder.checkpoint import Checkpoint
from ..encoder.fields import AXIS_FIELDS, UNKNOWN, axis_limits, category, value_and_mask
from ..spectra.data import Spectra
from ..spectra.resolver import caller_level

#: Maximum number of unknown categories named in a warning.
_NAMED = 5


def with_metadata(
    blocks: Sequence[Spectra], checkpoint: Checkpoint, readout: str, general: Any, own: Any = None
) -> list[Spectra]:
    """Return blocks of spectra with their metadata, in the form used in pretraining.

    If metadata are given, the encoder's fields among `AXIS_FIELDS` are filled from the wavelengths of each block.
    Missing values and unknown categories are omitted.

    Parameters
    ----------
    blocks : sequence of Spectra
        Blocks with one 1-D grid each.
    checkpoint : Checkpoint
        Checkpoint of the encoder.
    readout : str
        Requested read-out.
    general : mapping of str to scalar, or None
        Values for all spectra.
    own : mapping of str to scalar or array-like of shape (n_spectra,), data frame of n_spectra rows, or None
        Values of these spectra; fields given here replace those of `general`.

    Raises
    ------
    ValueError
        A field is unknown to the encoder or derived from the wavelengths, values have the wrong length or type, or the
        read-out does not depend on metadata.

    Warns
    -----
    UserWarning
        Unknown categories.
    """
    if general is None and own is None:
        return list(blocks)
    _check_general(general)
    n = sum(map(len, blocks))
    columns = {**(general or {}), **_columns(own, n)}
    config = checkpoint.encoder.config
    _check_fields(columns, config, checkpoint.name)
    if not (config.categorical or config.numeric):
        return list(blocks)
    _check_readout(checkpoint, readout)
    values = {
        name: _categories(name, column, n, config.categorical[name])
        if name in config.categorical
        else _numbers(name, column, n)
        for name, column in columns.items()
    }
    completed, start = [], 0
    for block in blocks:
        limits = {name: limit for name, limit in axis_limits(block.wavelengths).items() if name in config.numeric}
        rows = np.empty(len(block), dtype=object)
        for i in range(len(block)):
            own_values = {name: column[start + i] for name, column in values.items()}
            rows[i] = {name: value for name, value in own_values.items() if value is not None} | limits
        completed.append(replace(block, metadata=rows))
        start += len(block)
    return completed


def _check_general(general: Any) -> None:
    if general is None:
        return
    if not isinstance(general, Mapping):
        raise ValueError(f"metadata={general!r} must be None or a mapping of field to value.")
    for name, value in general.items():
        if np.ndim(value):
            raise ValueError(
                f"metadata of the constructor hold for all spectra, but {name!r} has several values; give values per "
                "spectrum to fit and transform."
            )


def _columns(own: Any, n: int) -> dict[str, Any]:
    """Return the metadata given with the spectra, by field."""
    if own is None:
        return {}
    if isinstance(own, Mapping):
        return dict(own)
    if not hasattr(own, "columns"):
        raise ValueError(
            "metadata must be a mapping of field to values, or a data frame with a row per spectrum, not "
            f"{type(own).__name__}."
        )
    if len(own) != n:
        raise ValueError(f"metadata of {len(own)} rows for {n} spectra; give one row per spectrum.")
    return {str(name): own[name].tolist() for name in own.columns}


def _check_fields(columns: Mapping[str, Any], config: Any, name: str) -> None:
    """Reject fields that are unknown to the encoder or derived from the wavelengths."""
    fields = [*config.categorical, *config.numeric]
    for field in columns:
        if not fields:
            raise ValueError(
                f"checkpoint {name} was pretrained without metadata and has no field {field!r}; leave metadata out."
            )
        if field not in fields:
            names = [field for field in fields if field not in AXIS_FIELDS]
            raise ValueError(
                f"checkpoint {name} has no metadata field {field!r}; it has {', '.join(names) or 'none to give'}."
            )
        if field in AXIS_FIELDS:
            raise ValueError(f"metadata field {field!r} is taken from the wavelengths; leave it out.")


def _check_readout(checkpoint: Checkpoint, readout: str) -> None:
    encoder = checkpoint.encoder
    if encoder.reads_metadata(readout):
        return
    others = " or ".join(repr(name) for name in encoder.readouts() if encoder.reads_metadata(name))
    raise ValueError(
        f"readout={readout!r} is computed from the patches alone and does not depend on metadata; use "
        f"readout={others}, or leave metadata out."
    )


def _values(name: str, column: Any, n: int) -> list[Any]:
    """Return one value per spectrum."""
    if np.ndim(column) == 0:
        return [column] * n
    values = list(column)
    if np.ndim(column) != 1 or len(values) != n:
        raise ValueError(
            f"metadata field {name!r} has {len(values)} values for {n} spectra; give one value, or one per spectrum. "
            "scikit-learn's cross-validation slices a data frame, but not the values of a mapping."
        )
    return values


def _categories(name: str, column: Any, n: int, categories: Sequence[str]) -> list[str | None]:
    named = [category(value, name) for value in _values(name, column, n)]
    unknown = [value for value in dict.fromkeys(named) if value not in categories and value != UNKNOWN]
    if unknown:
        shown = ", ".join(map(repr, unknown[:_NAMED])) + (", ..." if len(unknown) > _NAMED else "")
        warnings.warn(
            f"metadata field {name!r}: the checkpoint does not know {shown} and takes it as missing, as in "
            f"pretraining; it knows {', '.join(categories)}.",
            UserWarning,
            stacklevel=caller_level(),
        )
    return [value if value in categories else None for value in named]


def _numbers(name: str, column: Any, n: int) -> list[float | None]:
    numbers: list[float | None] = []
    for row, value in enumerate(_values(name, column, n)):
        number, present = value_and_mask(value)
        if not present and category(value) != UNKNOWN:
            raise ValueError(
                f"metadata field {name!r} holds {value!r} at row {row}; it must be a finite number, or NaN."
            )
        numbers.append(number if present else None)
    return numbers
