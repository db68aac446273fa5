"""Embeddings of whole datasets, made once and kept beside the results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.embedding.column_weighting import ColumnWeighting
from nirs4all_vit.embedding.glsw import fit_glsw
from nirs4all_vit.files import atomic_path, file_sha256
from nirs4all_vit.spectra.data import Spectra

from .calibrations import Calibration
from .methods.base import Views

#: Raised when what is done to columns after encoding changes: older results with an embedding are told apart from then on.
ADAPTATION = 3


class Embeddings:
    """A folder of dumps: ``<weights' hash>-<readout>/<dataset>.npy`` and a ``manifest.json`` for each encoder.

    Parameters
    ----------
    folder : path
        Of the benchmark's output.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder) / "embeddings"

    def make(
        self, weights: str, readout: str, names: Sequence[str], read: Callable[[str], tuple[NDArray, NDArray]]
    ) -> None:
        """Embed datasets that are not there yet.

        Parameters
        ----------
        weights : path
            Checkpoint file.
        readout : str
            Of the encoder.
        names : sequence of str
            Datasets.
        read : callable
            Returns spectra (n, L) and wavelengths (L,) in nm of one of them.
        """
        folder = self._folder(weights, readout)
        folder.mkdir(parents=True, exist_ok=True)
        embedder = SpectralEmbedder(weights, readout=readout, adapt=False, axis_unit="nm")
        manifest = self.manifest(weights, readout) or {"readout": readout, "sha256": _sha256(weights), "datasets": {}}
        missing = [name for name in names if name not in manifest["datasets"] or not (folder / f"{name}.npy").exists()]
        for name in tqdm(missing, desc=f"embedding ({readout})", unit="set", leave=False, disable=not missing):
            spectra, wavelengths = read(name)
            start = time.perf_counter()
            embedded = embedder.fit_transform(spectra, wavelengths=wavelengths)
            seconds = time.perf_counter() - start
            with atomic_path(folder / f"{name}.npy") as target:
                np.save(target, embedded)
            manifest["checkpoint"] = embedder.checkpoint_name_
            manifest["datasets"][name] = {"spectra": len(spectra), "points": len(wavelengths), "seconds": seconds}
            with atomic_path(folder / "manifest.json") as target:
                target.write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")

    def manifest(self, weights: str, readout: str) -> dict[str, Any] | None:
        """Return what is said of an encoder's dumps; None where there are none."""
        path = self._folder(weights, readout) / "manifest.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else None

    def load(self, weights: str, readout: str, dataset: str) -> NDArray[np.float32] | None:
        """Return a dump as a memory map; None where there is none."""
        path = self._folder(weights, readout) / f"{dataset}.npy"
        return np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else None

    def _folder(self, weights: str, readout: str) -> Path:
        return self.folder / f"{_sha256(weights)[:12]}-{readout}"


class EmbeddedView(Views):
    """The embedding: from the dump where the spectra are the dataset's own, else computed.

    Parameters
    ----------
    weights : path
        Checkpoint file.
    readout : str
        Of the encoder.
    dumps : Embeddings
        Dumps of whole datasets.
    """

    names = ("embedding",)

    def __init__(self, weights: str, readout: str, dumps: Embeddings) -> None:
        self.weights, self.readout, self.dumps = weights, readout, dumps

    def fit(self, part: Calibration) -> Self:
        """Adapt to the calibration spectra, as `SpectralEmbedder` does."""
        self.fit_pooled([part])
        return self

    def fit_pooled(self, parts: Sequence[Calibration]) -> NDArray[np.float32]:
        """Adapt to the spectra of several datasets; returns their embeddings, one below the other."""
        embedded = np.concatenate([self._embedded(part) for part in parts])
        self.adaptation = self._adaptation(embedded)
        return self.adaptation.apply(embedded)

    def _adaptation(self, embedded: NDArray[np.float32]) -> ColumnWeighting:
        return ColumnWeighting.fit(embedded)

    def view(self, part: Calibration, name: str) -> NDArray[np.float32]:  # noqa: ARG002
        """Return (n, width)."""
        return self.adaptation.apply(self._embedded(part))

    def _embedded(self, part: Calibration) -> NDArray[np.float32]:
        if part.rows is not None:
            dumped = self.dumps.load(self.weights, self.readout, part.dataset)
            if dumped is not None:
                return np.asarray(dumped[part.rows])
        embedder = SpectralEmbedder(self.weights, readout=self.readout, adapt=False, axis_unit="nm")
        return embedder.fit_transform(part.X, wavelengths=part.wavelengths)

    def seconds_per_spectrum(self, dataset: str) -> float:
        """Return what encoding took when the dump was made, on all cores."""
        manifest = self.dumps.manifest(self.weights, self.readout)
        about = (manifest or {"datasets": {}})["datasets"].get(dataset)
        return about["seconds"] / about["spectra"] if about else 0.0


class PlainView(EmbeddedView):
    """The embedding as ``SpectralEmbedder(adapt=False)`` makes it: what an encoder says by itself."""

    def _adaptation(self, embedded: NDArray[np.float32]) -> ColumnWeighting:
        return ColumnWeighting.none(embedded.shape[1])


class RobustView(EmbeddedView):
    """The embedding as ``SpectralEmbedder(robust=True)`` makes it: little weight on what disturbances move it in."""

    def fit(self, part: Calibration) -> Self:
        """Adapt to the calibration spectra and to how they follow disturbances."""
        embedded = self.fit_pooled([part])
        embedder = SpectralEmbedder(self.weights, readout=self.readout, adapt=False, axis_unit="nm")
        self.glsw = fit_glsw(
            [Spectra.on_grid(part.X, part.wavelengths)],
            lambda blocks: self.adaptation.apply(np.concatenate([_embed(embedder, block) for block in blocks])),
            embedded,
        )
        return self

    def view(self, part: Calibration, name: str) -> NDArray[np.float32]:
        """Return (n, width)."""
        embedded = super().view(part, name)
        self.glsw.apply(embedded)
        return embedded


def _embed(embedder: SpectralEmbedder, block: Spectra) -> NDArray[np.float32]:
    return embedder.fit_transform(block.values, wavelengths=block.wavelengths)


@lru_cache
def _sha256(path: str) -> str:
    return file_sha256(path)
