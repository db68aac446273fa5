"""Embeddings for the methods of the benchmark, cached in the results folder."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nirs4all_vit import SpectralEmbedder, load_checkpoint
from nirs4all_vit.encoder.fields import AXIS_FIELDS
from nirs4all_vit.files import atomic_path, file_sha256
from nirs4all_vit.progress import tracked

from .calibrations import Calibration
from .methods.base import Views

#: Version of the column processing after encoding, which distinguishes newer from older results.
ADAPTATION = 3

#: Seed of the selection of rows without metadata.
_SEED = 0


class Embeddings:
    """Cache of embeddings and encoding times, in a folder of the benchmark's output."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder) / "embeddings"

    def embedder(self, weights: str, readout: str, **parameters: Any) -> SpectralEmbedder:
        """Return an unfitted embedder that uses the cache."""
        cache = str(self.folder / _sha256(weights)[:12])
        return SpectralEmbedder(weights, readout=readout, axis_unit="nm", cache=cache, **parameters)

    def make(
        self, weights: str, readout: str, names: Sequence[str], read: Callable[[str], tuple[NDArray, NDArray]]
    ) -> None:
        """Embed datasets that are not cached, in one process before several use them.

        `read` returns the spectra (n, L) of a dataset and their wavelengths (L,) in nm.
        """
        seconds = self._seconds(weights, readout)
        missing = [name for name in names if name not in seconds]
        for name in tracked(missing, f"embedding ({readout})", "set"):
            spectra, wavelengths = read(name)
            start = time.perf_counter()
            with warnings.catch_warnings():
                # What is unusual in a dataset would be said once for each encoder.
                warnings.simplefilter("ignore", UserWarning)
                self.embedder(weights, readout, adapt=False).fit(spectra, wavelengths=wavelengths)
            seconds[name] = (time.perf_counter() - start) / len(spectra)
            with atomic_path(self._record(weights, readout)) as target:
                target.write_text(json.dumps(seconds, indent=1) + "\n", "utf-8")

    def seconds_per_spectrum(self, weights: str, readout: str, dataset: str) -> float:
        """Return the encoding time of a dataset per spectrum, on all cores; 0 if not measured."""
        return self._seconds(weights, readout).get(dataset, 0.0)

    def _seconds(self, weights: str, readout: str) -> dict[str, float]:
        path = self._record(weights, readout)
        return json.loads(path.read_text("utf-8")) if path.exists() else {}

    def _record(self, weights: str, readout: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{_sha256(weights)[:12]}-{readout}.json"


class EmbeddedView(Views):
    """Cached embedding by `SpectralEmbedder` with the given checkpoint file and parameters.

    `metadata` is the share of the spectra with metadata: ``"none"``, ``"half"`` or ``"all"``. With
    ``"half"`` a seeded half of the rows of a dataset has no values, in both calibration and test
    set. With ``"half"`` and ``"all"``, all rows have the fields that follow from the wavelengths.
    """

    names = ("embedding",)

    def __init__(
        self, weights: str, readout: str, embeddings: Embeddings, *, metadata: str = "none", **parameters: Any
    ) -> None:
        self.weights, self.readout, self.embeddings, self.metadata = weights, readout, embeddings, metadata
        self.embedder = embeddings.embedder(weights, readout, **parameters)

    def fit(self, part: Calibration) -> Self:
        """Fit the embedder on the calibration spectra."""
        self.embedder.fit(part.X, wavelengths=part.wavelengths, metadata=self.metadata_of(part))
        return self

    def view(self, part: Calibration, name: str) -> NDArray[np.float32]:  # noqa: ARG002
        """Return embeddings (n, width)."""
        return self.embedder.transform(part.X, wavelengths=part.wavelengths, metadata=self.metadata_of(part))

    def metadata_of(self, part: Calibration) -> dict[str, list[str | float | None]] | None:
        """Return the metadata for the embedder, by field of the encoder, or None."""
        if self.metadata == "none":
            return None
        config = load_checkpoint(self.weights).encoder.config
        fields = [name for name in (*config.categorical, *config.numeric) if name not in AXIS_FIELDS]
        rows = np.arange(len(part)) if part.rows is None else part.rows
        # Draw in the order of the rows of the dataset, so that the choice does not depend on the
        # split.
        share = {"half": 0.5, "all": 1.0}[self.metadata]
        shown = np.random.default_rng(_SEED).random(int(rows.max()) + 1)[rows] < share
        return {name: [part.metadata.get(name) if show else None for show in shown] for name in fields}

    def seconds_per_spectrum(self, dataset: str) -> float:
        """Return the encoding time of the dataset per spectrum."""
        return self.embeddings.seconds_per_spectrum(self.weights, self.readout, dataset)


@lru_cache
def _sha256(path: str) -> str:
    return file_sha256(path)
