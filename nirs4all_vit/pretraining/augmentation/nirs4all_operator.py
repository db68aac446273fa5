"""Any nirs4all augmentation on a batch of tensors."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.batch import SpectralBatch
from ..draw import Draw

#: Parameters under which an operator draws anew for each spectrum, where its defaults do not.
_VARIED: dict[str, dict[str, Any]] = {
    "InstrumentalBroadeningAugmenter": {"fwhm_range": (2.0, 12.0)},
    "TemperatureAugmenter": {"temperature_range": (-10.0, 10.0)},
}


class Nirs4allOperator:
    """Run an operator of ``nirs4all.operators.augmentation`` on a batch.

    Spectra that share a grid go through it together; its seed comes from the batch's own draws, so that
    runs can be repeated.

    Parameters
    ----------
    class_name : str
        Class in ``nirs4all.operators.augmentation``.
    **parameters
        Of the operator.

    Raises
    ------
    ValueError
        No such operator, or a parameter that it does not have.
    """

    def __init__(self, class_name: str, **parameters: Any) -> None:
        from nirs4all.operators import augmentation

        operator_class = getattr(augmentation, class_name, None)
        if not inspect.isclass(operator_class):
            raise ValueError(
                f"nirs4all has no augmentation {class_name!r}; there are: {', '.join(augmentation.__all__)}."
            )
        self.parameters = _VARIED.get(class_name, {}) | parameters
        names = set(inspect.signature(operator_class).parameters)
        if set(self.parameters) - names:
            odd = sorted(set(self.parameters) - names)[0]
            raise ValueError(f"{class_name} has no parameter {odd!r}; it has: {', '.join(sorted(names))}.")
        self._class: Any = operator_class
        self._seeded = "random_state" in names

    def __call__(self, spectra: Tensor, batch: SpectralBatch, draw: Draw) -> Tensor:
        """Return spectra of the same shape (n, L)."""
        seed = draw.integer(0, 2**31 - 2)
        values, axis = spectra.double().numpy(), batch.wavelengths.numpy()
        if axis.ndim == 1:
            return torch.from_numpy(self._run(values, axis, seed)).to(spectra.dtype)
        out = values.copy()
        lengths = batch.valid.sum(dim=1).numpy() if batch.valid is not None else np.full(len(axis), axis.shape[1])
        grids, members = np.unique(axis, axis=0, return_inverse=True)
        for number, grid in enumerate(grids):
            rows = np.flatnonzero(members.ravel() == number)
            points = int(lengths[rows[0]])
            out[rows, :points] = self._run(values[rows, :points], grid[:points], seed + number)
        return torch.from_numpy(out).to(spectra.dtype)

    def _run(self, values: np.ndarray, axis: np.ndarray, seed: int) -> np.ndarray:
        operator = self._class(**self.parameters, **({"random_state": seed} if self._seeded else {}))
        axis_arguments = {"wavelengths": axis} if hasattr(operator, "_requires_wavelengths") else {}
        with np.errstate(over="ignore"):  # logistic edges of the temperature operator
            return np.asarray(operator.fit(values, **axis_arguments).transform(values, **axis_arguments))
