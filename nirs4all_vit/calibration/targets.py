"""Targets of a calibration: columns of numbers or of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpectralInputError

#: Smallest number of samples with a value for a cross-validation.
FEWEST_SAMPLES = 10
TASKS = ("auto", "regression", "classification")


@dataclass(frozen=True, eq=False)
class Target:
    """One column of reference values.

    Attributes
    ----------
    name : str
    values : ndarray of shape (n_samples,)
        float64, NaN where a value was not measured; or str, "" for a missing class.
    classes : tuple of str
        Empty for regression.
    """

    name: str
    values: NDArray[Any]
    classes: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """``"classification"`` or ``"regression"``."""
        return "classification" if self.classes else "regression"

    @property
    def rows(self) -> NDArray[np.intp]:
        """Rows with a value, (n_measured,)."""
        return np.flatnonzero(self.values != "" if self.classes else np.isfinite(self.values))

    def take(self, rows: NDArray[np.intp]) -> Target:
        """Return the target of the given samples."""
        return Target(self.name, self.values[rows], self.classes)


def as_targets(y: Any, task: str = "auto") -> list[Target]:
    """Return the columns of reference values as targets.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_targets), Series or data frame
        A column of numbers is a regression target; a column of text or truth values has classes.
    task : {"auto", "regression", "classification"}
        ``"classification"`` reads numbers as classes.

    Returns
    -------
    list of Target

    Raises
    ------
    SpectralInputError
        The task does not suit the values, or a target is infinite, constant, has fewer than ten
        samples, a class with one sample, or too many classes.
    """
    import pandas as pd

    if task not in TASKS:
        raise SpectralInputError(f"task={task!r} is not known; use one of {', '.join(TASKS)}.")
    if isinstance(y, pd.DataFrame):
        table = y
    elif isinstance(y, pd.Series):
        table = y.to_frame(y.name if y.name is not None else "target")
    else:
        array = np.asarray(y)
        if array.ndim not in (1, 2):
            raise SpectralInputError(f"targets have shape {array.shape}; give (n_samples,) or (n_samples, n_targets).")
        columns = array.reshape(len(array), -1)
        names = ["target"] if columns.shape[1] == 1 else [f"target {k + 1}" for k in range(columns.shape[1])]
        table = pd.DataFrame(columns, columns=names).infer_objects()
    return [_target(str(name), table.iloc[:, k], task) for k, name in enumerate(table.columns)]


def _target(name: str, column: Any, task: str) -> Target:
    import pandas as pd

    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if task == "regression" and not numeric:
        raise SpectralInputError(
            f"target {name!r} holds text such as {str(column.dropna().iloc[0])[:40]!r}, no numbers; set task to "
            "'classification', or drop it."
        )
    if numeric and task != "classification":
        values = target_values(column, classes=False)
        if np.isinf(values).any():
            raise SpectralInputError(
                f"target {name!r} holds infinity in row {int(np.flatnonzero(np.isinf(values))[0])}; correct it."
            )
        target = Target(name, values)
        if len(target.rows) >= 2 and not np.ptp(values[target.rows]):
            raise SpectralInputError(
                f"target {name!r} is {values[target.rows[0]]:g} in all samples and cannot be calibrated; leave it out."
            )
    else:
        values = target_values(column, classes=True)
        names, counts = np.unique(values[values != ""], return_counts=True)
        if len(names) < 2:
            noun = "class" if len(names) == 1 else "classes"
            raise SpectralInputError(f"target {name!r} has {len(names)} {noun}; a calibration needs at least two.")
        if counts.min() < 2:
            raise SpectralInputError(
                f"class {str(names[counts.argmin()])!r} of target {name!r} has one sample, fewer than two; drop it, or "
                "merge it with another class."
            )
        if len(names) > len(values) / 2:
            raise SpectralInputError(
                f"target {name!r} has {len(names)} classes for {len(values)} samples; if these are ids, name the "
                "targets with target=."
            )
        target = Target(name, values, tuple(map(str, names)))
    if len(target.rows) < FEWEST_SAMPLES:
        raise SpectralInputError(
            f"target {name!r} was measured on {len(target.rows)} samples; cross-validation needs at least "
            f"{FEWEST_SAMPLES}."
        )
    return target


def target_values(column: Any, *, classes: bool) -> NDArray[Any]:
    """Return a column of a table in the form of `Target.values`: numbers, or names of classes."""
    if not classes:
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    missing = column.isna()
    return np.array(["" if absent else _class_name(value) for value, absent in zip(column, missing, strict=True)])


def _class_name(value: Any) -> str:
    """Return the name of a class; 1.0 is "1", since missing values make class numbers floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
