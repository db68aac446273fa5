"""Metadata of spectra on the way to the encoder: checked, and completed as in pretraining."""

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

#: Unknown categories that a warning names, at most.
_NAMED = 5


def with_metadata(
    blocks: Sequence[Spectra], checkpoint: Checkpoint, readout: str, general: Any, own: Any = None
) -> list[Spectra]:
    """Return blocks of spectra with their metadata, as the encoder took them in pretraining.

    Where metadata are given, the fields of `AXIS_FIELDS` that the encoder knows are filled from each block's wavelengths.
    Missing values and unknown categories are left out.

    Parameters
    ----------
    blocks : sequence of Spectra
        A 1-D grid per block.
    checkpoint : Checkpoint
        Of the encoder.
    readout : str
        Read-out that will be asked for.
    general : mapping of str to scalar, or None
        Values that hold for all spectra.
    own : mapping of str to scalar or array-like of shape (n_spectra,), data frame of n_spectra rows, or None
        Values of these spectra; a field replaces the same field of `general`.

    Raises
    ------
    ValueError
        Fields that the encoder does not know or that follow from the wavelengths, values of the wrong number or kind, or a read-out that
        does not depend on metadata.

    Warns
    -----
    UserWarning
        Categories that the encoder does not know.
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
                f"metadata of the constructor hold for all spectra, but {name!r} has several values; give values per spectrum to fit "
                "and transform."
            )


def _columns(own: Any, n: int) -> dict[str, Any]:
    """Return what is given with the spectra by field."""
    if own is None:
        return {}
    if isinstance(own, Mapping):
        return dict(own)
    if not hasattr(own, "columns"):
        raise ValueError(
            f"metadata must be a mapping of field to values, or a data frame with a row per spectrum, not {type(own).__name__}."
        )
    if len(own) != n:
        raise ValueError(f"metadata of {len(own)} rows for {n} spectra; give one row per spectrum.")
    return {str(name): own[name].tolist() for name in own.columns}


def _check_fields(columns: Mapping[str, Any], config: Any, name: str) -> None:
    """Refuse fields that the encoder does not know, or that follow from the wavelengths."""
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
        f"readout={readout!r} is computed from the patches alone and does not depend on metadata; use readout={others}, or leave "
        "metadata out."
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
            f"metadata field {name!r}: the checkpoint does not know {shown} and takes it as missing, as in pretraining; it knows "
            f"{', '.join(categories)}.",
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
