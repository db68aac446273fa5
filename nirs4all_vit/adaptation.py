"""Fitting an embedding to a material without labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Deviations below this share of the mean one count as this: they are rounding.
FLOOR = 1e-3


def adapted_scale(embedded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a factor for each column, one over the root of its deviation over the calibration spectra.

    Halfway between the embedding as it is and standardised columns: what hardly varies from one spectrum of this
    material to the next counts for more, without being blown up. The encoder was pretrained with the same step.
    The summed variance stays as it was, and with it the penalties that suit a ridge.

    Parameters
    ----------
    embedded : ndarray of shape (n_samples, n_columns)
        Embedded calibration spectra.

    Returns
    -------
    ndarray of shape (n_columns,), float32
        Ones where nothing varies, as with a single spectrum.
    """
    deviation = embedded.std(axis=0, dtype=np.float64)
    total = np.square(deviation).sum()
    if not total > 0:
        return np.ones(embedded.shape[1], dtype=np.float32)
    factor = (deviation + FLOOR * deviation.mean()) ** -0.5
    return (factor * np.sqrt(total / np.square(deviation * factor).sum())).astype(np.float32)
