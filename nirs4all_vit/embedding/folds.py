"""Cross-validation folds of a calibration set."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, KFold


def shuffled_folds(n_folds: int, n_samples: int, groups: Any = None) -> Any:
    """Return a seeded splitter that keeps groups together, with at most one fold per sample or group."""
    if groups is None:
        return KFold(min(n_folds, n_samples), shuffle=True, random_state=0)
    return GroupKFold(min(n_folds, len(np.unique(groups))), shuffle=True, random_state=0)
