"""Splitters of banks and calibration sets, compatible with scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import wrapt
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut
from sklearn.utils.validation import _num_samples, check_array, check_consistent_length

if TYPE_CHECKING:
    from .dataset import SpectralDataset


class LeaveOneDatasetOut(LeaveOneGroupOut):
    """Each dataset is the test set once.

    The `groups` of `split` give the dataset of each row. Datasets of one family share samples or an
    instrument; with `families`, rows of the family of the test dataset are removed from training,
    which prevents leakage.

    Parameters
    ----------
    families : array-like of shape (n_rows,), optional
        Family of each row. By default, no training rows are removed.
    """

    def __init__(self, families: ArrayLike | None = None) -> None:
        self.families = families

    def split(
        self, X: Any, y: Any = None, groups: ArrayLike | None = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield training and test rows.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Only its length is used.
        y : ignored
        groups : array-like of shape (n_rows,)
            Dataset of each row.
        """
        families = None if self.families is None else np.asarray(self.families)
        if families is not None:
            check_consistent_length(X, families)
        for train, test in super().split(X, y, groups):
            if families is not None:
                train = train[~np.isin(families[train], families[test])]
                if not train.size:
                    raise ValueError(f"all rows are of the family {str(families[test][0])!r}; no training rows remain.")
            yield train, test


class LODOSplitter(LeaveOneDatasetOut):
    """Leave one dataset out, from a list of datasets or from the rows of a pipeline.

    ``for training, held_out in LODOSplitter(datasets)`` yields, for each dataset, the datasets of
    other families and the dataset itself. As a splitter of nirs4all or scikit-learn it is
    equivalent to `LeaveOneDatasetOut`.

    Parameters
    ----------
    datasets : sequence of SpectralDataset, optional
        Datasets to iterate over.
    families : array-like of shape (n_rows,), optional
        As in `LeaveOneDatasetOut`.
    """

    def __init__(self, datasets: Sequence[SpectralDataset] | None = None, families: ArrayLike | None = None) -> None:
        super().__init__(families)
        self.datasets = datasets

    def __iter__(self) -> Iterator[tuple[list[SpectralDataset], SpectralDataset]]:
        """Yield (training datasets, held-out dataset).

        Raises ValueError if no datasets were given or all are of one family.
        """
        if self.datasets is None:
            raise ValueError("LODOSplitter() has no datasets to iterate over; give LODOSplitter(datasets).")
        for held_out in self.datasets:
            training = [dataset for dataset in self.datasets if dataset.family != held_out.family]
            if not training:
                raise ValueError(f"all datasets are of the family {held_out.family!r}; no training datasets remain.")
            yield training, held_out

    def __len__(self) -> int:
        return len(self.datasets or ())


class LeaveOneFamilyOut(LeaveOneGroupOut):
    """Each family (datasets that share samples, laboratory or instrument) is the test set once.

    The `groups` of `split` give the family of each row.
    """


class FamilyKFold(GroupKFold):
    """K folds of whole families, shuffled by default; used by the strict-transfer benchmark.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds.
    shuffle : bool, default=True
        Assign families at random, regardless of size; otherwise the folds are balanced by number of
        rows.
    random_state : int, default=0
        Seed of the shuffle.
    """

    def __init__(self, n_splits: int = 5, *, shuffle: bool = True, random_state: int = 0) -> None:
        super().__init__(n_splits, shuffle=shuffle, random_state=random_state if shuffle else None)


class GroupKennardStone:
    """Kennard-Stone split by sample: replicate scans of a sample stay together.

    The calibration set covers the spectral space evenly (Kennard and Stone, 1969, Technometrics 11,
    137). nirs4all's splitter receives the mean spectrum of each group.

    Parameters
    ----------
    test_size : float, default=0.25
        Share of the samples in the test set.
    """

    _with_targets = False

    def __init__(self, test_size: float = 0.25) -> None:
        self.test_size = test_size

    def split(
        self, X: ArrayLike, y: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield one pair of training and test rows.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_wavelengths)
        y : array-like of shape (n_spectra,), optional
            Reference values; required by SPXY.
        groups : array-like of shape (n_spectra,), optional
            Sample of each spectrum; by default each spectrum is its own sample.
        """
        from nirs4all.operators.splitters import GroupedSplitterWrapper, KennardStoneSplitter, SPXYSplitter

        if self._with_targets and y is None:
            raise ValueError("SPXY needs y: it selects the calibration set from spectra and targets. Pass y to split.")
        inner = SPXYSplitter(self.test_size) if self._with_targets else KennardStoneSplitter(self.test_size)
        X = check_array(X)
        targets = check_array(y, ensure_2d=False, dtype="numeric") if self._with_targets else None
        rows = np.arange(_num_samples(X)) if groups is None else np.asarray(groups)
        check_consistent_length(X, rows, targets)
        wrapper = GroupedSplitterWrapper(inner, y_aggregation=None if targets is None else "mean")
        yield from wrapper.split(X, targets, rows)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002
        """Return 1."""
        return 1


class GroupSPXY(GroupKennardStone):
    """SPXY split by sample: Kennard-Stone on spectra and targets together.

    Galvao et al. (2005), Talanta 67, 736.
    """

    _with_targets = True


def _register_splitters(module: ModuleType) -> None:
    """Make nirs4all pipelines pass ``group_by`` to these splitters and require it where needed.

    nirs4all lists the class names of splitters with groups, and passes one mean row per group to
    all others.
    """
    capabilities = getattr(module, "_SPLITTER_GROUPING_CAPABILITIES", None)
    if isinstance(capabilities, dict) and "LeaveOneGroupOut" in capabilities:
        for splitter in (LeaveOneDatasetOut, LODOSplitter, LeaveOneFamilyOut, FamilyKFold):
            capabilities[splitter.__name__] = capabilities["LeaveOneGroupOut"]
        for designed in (GroupKennardStone, GroupSPXY):
            capabilities[designed.__name__] = capabilities.get("SPXYGFold", capabilities["LeaveOneGroupOut"])


wrapt.register_post_import_hook(_register_splitters, "nirs4all.controllers.splitters.split")
