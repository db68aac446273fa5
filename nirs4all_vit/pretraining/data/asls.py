"""Cache of AsLS baselines on disk, one file per dataset."""

from __future__ import annotations

import hashlib
import re
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from ...errors import SpectralInputError
from ...files import atomic_path, read_checked, write_checksum
from ...progress import ProgressBar
from .dataset import SpectralDataset, row_blocks

#: Default smoothness and asymmetry, as in nirs4all.
LAM, P = 1e6, 0.01

#: Points per task of a worker; takes a fraction of a second and bounds the memory.
_BLOCK_POINTS = 200_000

#: Age in seconds after which an unchanged temporary file is considered abandoned.
_ABANDONED_AFTER = 600


def asls_baseline(spectra: NDArray[Any], lam: float = LAM, p: float = P) -> NDArray[np.float64]:
    """Return the asymmetric-least-squares baseline of each spectrum, by nirs4all's `ASLSBaseline`.

    Parameters
    ----------
    spectra : ndarray of shape (n_spectra, n_wavelengths)
        Absorbance.
    lam : float, default=1e6
        Smoothness.
    p : float, default=0.01
        Asymmetry, between 0 and 1: the weight of points above the baseline.

    Returns
    -------
    ndarray of shape (n_spectra, n_wavelengths), float64
        The baseline (not the corrected spectra).

    References
    ----------
    Eilers and Boelens (2005), Baseline correction with asymmetric least squares smoothing, Leiden
    University Medical Centre report.
    """
    from nirs4all.operators.transforms.nirs import ASLSBaseline

    spectra = np.asarray(spectra, dtype=np.float64)
    if spectra.shape[1] < 3:  # second differences need three points
        return spectra.copy()
    return spectra - ASLSBaseline(lam=lam, p=p).fit(spectra).transform(spectra)


class BaselineCache:
    """Cache of AsLS baselines in a folder.

    File names include dataset, content hash, lambda and p, so a changed dataset gets a new file.
    Files are written atomically, with a checksum; a truncated or altered file is computed again.

    Parameters
    ----------
    folder : path
        Folder of the cache; created at the first write.
    lam, p : float
        Parameters of AsLS.
    """

    def __init__(self, folder: str | Path, lam: float = LAM, p: float = P) -> None:
        if not 0 < lam <= 1e12 or not 0 < p < 1:
            raise ValueError(f"AsLS needs 0 < lam <= 1e12 and 0 < p < 1; got lam={lam}, p={p}.")
        self.folder, self.lam, self.p = Path(folder), float(lam), float(p)

    def path(self, dataset: SpectralDataset) -> Path:
        """Return the path of the baseline file of a dataset with its current contents."""
        key = hashlib.sha256(f"{dataset.content_hash}:{self.lam!r}:{self.p!r}".encode()).hexdigest()
        name = re.sub(r"[^-\w.]", "_", dataset.name)
        return self.folder / f"{name}-{key[:16]}.npy"

    def get(self, dataset: SpectralDataset) -> NDArray[np.float32] | None:
        """Return the baseline as a memory map (n_spectra, n_wavelengths), or None.

        None means that the file is missing or damaged.
        """
        baseline = read_checked(self.path(dataset))
        if baseline is None or baseline.dtype != np.float32:
            return None
        return baseline if baseline.shape == (len(dataset), dataset.wavelengths.size) else None

    def precompute(self, datasets: Sequence[SpectralDataset], n_jobs: int = 1, *, progress: bool = True) -> int:
        """Compute baselines that are missing, outdated or damaged.

        Parameters
        ----------
        datasets : sequence of SpectralDataset
            The bank.
        n_jobs : int, default=1
            Number of processes.
        progress : bool, default=True
            Show a progress bar if standard error is a terminal.

        Returns
        -------
        int
            Number of datasets computed.

        Raises
        ------
        SpectralInputError
            AsLS has no finite solution for a dataset.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        missing = [dataset for dataset in datasets if self.get(dataset) is None]
        blocks = [list(row_blocks(len(d), d.wavelengths.size, _BLOCK_POINTS)) for d in missing]
        tasks = (
            joblib.delayed(_baseline)(dataset, rows, self.lam, self.p)
            for dataset, slices in zip(missing, blocks, strict=True)
            for rows in slices
        )
        bar = ProgressBar("AsLS", "spectra", sum(map(len, missing)), show=progress)
        with bar, joblib.Parallel(n_jobs=n_jobs, return_as="generator") as parallel:
            results = parallel(tasks)
            for dataset, slices in zip(missing, blocks, strict=True):
                path = self.path(dataset)
                with atomic_path(path) as target:
                    shape = (len(dataset), dataset.wavelengths.size)
                    baseline = np.lib.format.open_memmap(target, mode="w+", dtype=np.float32, shape=shape)
                    for rows in slices:
                        baseline[rows] = next(results)
                        bar.update(rows.stop - rows.start)
                    baseline.flush()
                    if not np.isfinite(baseline).all():
                        raise SpectralInputError(
                            f"{dataset.name}: AsLS with lam={self.lam:g}, p={self.p:g} has no finite solution."
                        )
                write_checksum(path)
            next(results, None)  # joblib treats an unfinished generator as a failure
        return len(missing)

    def _sweep(self) -> None:
        for path in self.folder.glob(".*"):
            if path.suffix in (".npy", ".sha256") and time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                path.unlink(missing_ok=True)

    def attach(self, datasets: Iterable[SpectralDataset]) -> bool:
        """Set the baseline of every dataset that has none.

        Returns
        -------
        bool
            Whether all datasets have a baseline. If not, a warning names the command that computes
            them.
        """
        missing = []
        for dataset in datasets:
            if dataset.baseline is None:
                dataset.baseline = self.get(dataset)
            if dataset.baseline is None:
                missing.append(dataset.name)
        if missing:
            warnings.warn(
                f"no AsLS baseline in {self.folder} for {len(missing)} datasets ({', '.join(missing[:3])}, ...): they "
                "are left out of the baseline objective. Compute baselines with: nirs4all-vit precompute-asls "
                f"--x-bank DIR --cache {self.folder}",
                stacklevel=2,
            )
        return not missing


def _baseline(dataset: SpectralDataset, rows: slice, lam: float, p: float) -> NDArray[np.float32]:
    return asls_baseline(dataset.absorbance(rows), lam, p).astype(np.float32)
