"""Common part of fine-tuned regression and classification: cross-validated tuning, then the head."""

from __future__ import annotations

import copy
import os
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_consistent_length, column_or_1d

from ..embedding.column_weighting import ColumnWeighting
from ..embedding.inference import embed, resolve_device
from ..encoder.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint, save_checkpoint
from ..fitting import note_parameters, require_fitted
from ..progress import ProgressBar
from ..spectra.data import Spectra
from ..spectra.resolver import ResolvesWavelengths

#: Smallest number of calibration samples for tuning and checking.
_FEWEST = 20
N_FOLDS = 4
#: Steps before the first check; doubled for each further check.
_FIRST_CHECK = 8
#: Number of checks without gain after which tuning stops.
_PATIENCE = 2
#: Minimum gain of tuning, as a share of the frozen encoder's loss and in standard errors of the gain.
_GAIN, _STANDARD_ERRORS = 0.02, 2.0


class SpectralEstimator(ResolvesWavelengths, BaseEstimator):
    """Common part of `SpectralRegressor` and `SpectralClassifier`; parameters there."""

    __metadata_request__fit: ClassVar = {"wavelengths": True, "groups": True}
    __metadata_request__partial_fit: ClassVar = {"wavelengths": True}
    __metadata_request__predict: ClassVar = {"wavelengths": True}

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] = DEFAULT_CHECKPOINT,
        *,
        readout: str = "contrast",
        max_steps: int = 128,
        learning_rate: float = 1e-3,
        layer_decay: float = 0.7,
        batch_size: int = 128,
        augment: bool = False,
        wavelengths: ArrayLike | None = None,
        axis_unit: str = "auto",
        device: str = "auto",
        amp: bool = False,
        progress: bool | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.checkpoint = checkpoint
        self.readout = readout
        self.max_steps = max_steps
        self.learning_rate = learning_rate
        self.layer_decay = layer_decay
        self.batch_size = batch_size
        self.augment = augment
        self.wavelengths = wavelengths
        self.axis_unit = axis_unit
        self.device = device
        self.amp = amp
        self.progress = progress
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    # Differences between regression and classification.

    @abstractmethod
    def _targets(self, y: Any, **about: Any) -> NDArray[np.float32]:
        """Check targets and return them as (n, n_outputs), in the form predicted by the ridge of an episode."""

    @abstractmethod
    def _further_targets(self, y: Any) -> NDArray[np.float32]:
        """Return further targets, in the units or classes of the first ones."""

    def _note(self, targets: NDArray[np.float32]) -> None:
        """Update attributes that depend on all targets seen so far."""

    @abstractmethod
    def _folds(self, targets: NDArray[Any], groups: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], ...]]:
        """Yield rows inside and outside of each fold; groups stay together."""

    @abstractmethod
    def _head(self, Z: NDArray[Any], targets: NDArray[Any], groups: NDArray[np.intp]) -> Any:
        """Return the final head, fitted on an embedding."""

    @abstractmethod
    def _predicted(self, head: Any, Z: NDArray[Any]) -> NDArray[np.float64]:
        """Return predictions of a head as (n, n_outputs)."""

    @abstractmethod
    def _losses(self, predicted: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
        """Return the loss of each row (n,)."""

    def _fit(self, X: Any, y: Any, wavelengths: Any, groups: Any) -> Any:
        blocks, targets = self._begin(X, y, wavelengths)
        codes = _codes(groups, len(targets))
        check_consistent_length(X, targets, codes)
        n_samples = int(codes.max()) + 1
        if n_samples < _FEWEST:
            why_not = f"{n_samples} samples are too few to tune on and to check"
        else:
            why_not = self._search(blocks, targets, codes)
        if why_not:
            warnings.warn(f"{why_not}; the encoder stays as it was pretrained.", UserWarning, stacklevel=4)
        self._finish(blocks, targets, codes)
        return self

    def _partial_fit(self, X: Any, y: Any, wavelengths: Any, **about: Any) -> Any:
        """Tune a few more steps on all spectra seen so far, without held-out samples."""
        if not hasattr(self, "head_"):
            blocks, targets = self._begin(X, y, wavelengths, **about)
            codes = np.arange(len(targets))
            check_consistent_length(X, targets)
        else:
            require_fitted(self, "head_")
            new = self.resolve(X, wavelengths)
            further = self._further_targets(y)
            check_consistent_length(X, further)
            blocks, earlier_targets, codes = self._seen  # type: ignore[has-type] # set by _finish
            blocks = [*blocks, *new]
            targets = np.concatenate([earlier_targets, further])
            codes = np.append(codes, codes.max() + 1 + np.arange(len(further)))
            self._note(targets)
        if codes.max() + 1 >= _FEWEST:
            tuning = self._tuning(blocks, targets, codes, np.arange(len(targets)))
            self._advance(tuning, _FIRST_CHECK)
            self.encoder_, self.tuned_ = _taken(tuning), True
            self.n_steps_ += _FIRST_CHECK  # type: ignore[has-type] # set by _begin
        self._finish(blocks, targets, codes)
        return self

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the encoder, tuned or not, as a checkpoint for `SpectralEmbedder`.

        Parameters
        ----------
        path : path
            Target, ``.safetensors``.

        Returns
        -------
        Path
        """
        require_fitted(self, "head_")
        header, sha256 = self._origin
        provenance = {**header.get("provenance", {}), "tuned": self.tuned_, "tuned_from": sha256}
        licence = header.get("licence", "UNKNOWN")
        return save_checkpoint(
            path, self.encoder_, name=f"{header['name']}-tuned", provenance=provenance, licence=licence
        )

    def _begin(self, X: Any, y: Any, wavelengths: Any, **about: Any) -> tuple[list[Spectra], NDArray[np.float32]]:
        """Check the input, remove attributes of earlier fits, and load the encoder."""
        self._check()
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            delattr(self, name)
        blocks = self.resolve(X, wavelengths, fitting=True)
        targets = self._targets(y, **about)
        self._note(targets)
        resolve_device(self.device)
        origin = load_checkpoint(self.checkpoint)
        origin.encoder.width(self.readout)
        self.encoder_, self._origin = copy.deepcopy(origin.encoder), (origin.header, origin.sha256)
        self.tuned_, self.n_steps_ = False, 0
        note_parameters(self, "readout")
        self.history_: list[dict[str, Any]] = []
        return blocks, targets

    def _finish(self, blocks: list[Spectra], targets: NDArray[Any], groups: NDArray[np.intp]) -> None:
        """Fit the head on all spectra, with the selected encoder."""
        Z = self._embed(self.encoder_, blocks)
        self.column_weighting_, self.centre_, self.head_ = self._calibrated(Z, targets, groups)
        self._seen = (blocks, targets, groups)

    def _outputs(self, X: Any, wavelengths: Any) -> NDArray[np.float64]:
        require_fitted(self, "head_")
        Z = self._embed(self.encoder_, self.resolve(X, wavelengths))
        return self._predicted(self.head_, self.column_weighting_.apply(Z) - self.centre_)

    def _search(self, blocks: list[Spectra], targets: NDArray[Any], groups: NDArray[np.intp]) -> str:
        """Find the number of steps by cross-validation, then tune on all samples for as many steps.

        Returns the reason why the encoder was not tuned, or an empty string.
        """
        folds = list(self._folds(targets, groups))
        frozen = self._embed(self.encoder_, blocks)
        # Every sample has equal weight, whatever its number of replicates.
        by_row, n_rows = np.empty(len(targets)), np.bincount(groups)
        for inside, outside in folds:
            by_row[outside] = self._outside(frozen, targets, groups, inside, outside)
        before = np.bincount(groups, by_row) / n_rows
        tunings = [self._tuning(blocks, targets, groups, inside) for inside, _ in folds]
        best, n_steps, since, done = before, 0, 0, 0
        self.history_.append({"steps": 0, "loss": float(before.mean())})
        # One tuning per fold, plus the final one on all samples.
        with ProgressBar("tuning", "step", self.max_steps * (len(folds) + 1), show=self.progress is not False) as bar:
            for check in _checks(self.max_steps):
                for tuning, (inside, outside) in zip(tunings, folds, strict=True):
                    self._advance(tuning, check - done)
                    bar.update(check - done)
                    Z = self._embed(tuning.module_.encoder, blocks)
                    by_row[outside] = self._outside(Z, targets, groups, inside, outside)
                after = np.bincount(groups, by_row) / n_rows
                done = check
                self.history_.append({"steps": check, "loss": float(after.mean())})
                since += 1
                if after.mean() < best.mean():
                    best, n_steps, since = after, check, 0
                if since == _PATIENCE:
                    break
            if not self._helps(before, best):
                losses = f"loss {best.mean():.3g} at best, frozen {before.mean():.3g}"
                return f"tuning did not help on samples held back ({losses})"
            everything = self._tuning(blocks, targets, groups, np.arange(len(targets)))
            self._advance(everything, n_steps)
            self.encoder_, self.tuned_, self.n_steps_ = _taken(everything), True, n_steps
            return ""

    @staticmethod
    def _helps(before: NDArray[Any], after: NDArray[Any]) -> bool:
        """Return whether the losses of samples decreased significantly."""
        gains = before - after
        chance = gains.std(ddof=1) / len(gains) ** 0.5
        return bool(gains.mean() > max(_GAIN * before.mean(), _STANDARD_ERRORS * chance))

    def _outside(
        self,
        Z: NDArray[Any],
        targets: NDArray[Any],
        groups: NDArray[np.intp],
        inside: NDArray[np.intp],
        outside: NDArray[np.intp],
    ) -> NDArray[np.float64]:
        """Return held-out losses of the whole model: column weighting and head fitted inside the fold."""
        adaptation, centre, head = self._calibrated(Z[inside], targets[inside], groups[inside])
        return self._losses(self._predicted(head, adaptation.apply(Z[outside]) - centre), targets[outside])

    def _calibrated(
        self, Z: NDArray[Any], targets: NDArray[Any], groups: NDArray[np.intp]
    ) -> tuple[ColumnWeighting, NDArray[Any], Any]:
        """Adapt an embedding in place and fit a head; returns column weighting, column means and head."""
        adaptation = ColumnWeighting.fit(Z)
        centre = adaptation.apply(Z).mean(axis=0)
        return adaptation, centre, self._head(Z - centre, targets, groups)

    def _embed(self, encoder: Any, blocks: list[Spectra]) -> NDArray[np.float32]:
        bar = ProgressBar("embedding", "spectra", show=False) if self.progress is False else None
        return embed(encoder, blocks, self.readout, device=resolve_device(self.device), bar=bar)

    def _tuning(
        self, blocks: list[Spectra], targets: NDArray[Any], groups: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> Any:
        """Return a skorch net that tunes a copy of the encoder on some rows, before its first step."""
        import torch
        from skorch import NeuralNet

        from .tuning import Episodes, EpisodicLoss, SpectralModule, learning_rates

        spectra = _together(blocks)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1)) + self.n_steps_
        encoder = copy.deepcopy(self.encoder_).requires_grad_(True)
        rates = learning_rates(encoder, self.readout, self.learning_rate, self.layer_decay)
        axis = torch.from_numpy(spectra.wavelengths) if spectra.wavelengths.ndim == 1 else None
        net = NeuralNet(
            SpectralModule(encoder, self.readout, axis, self.amp),
            criterion=EpisodicLoss,
            optimizer=torch.optim.Adam,
            optimizer__param_groups=[(f"encoder.{name}", {"lr": rate}) for name, rate in rates.items()],
            lr=self.learning_rate,
            max_epochs=1,
            batch_size=None,
            train_split=None,
            device=resolve_device(self.device),
            verbose=0,
        )
        net.episodes = Episodes(spectra, targets, rows, groups, size=self.batch_size, augment=self.augment, seed=seed)
        return net

    @staticmethod
    def _advance(tuning: Any, n_steps: int) -> None:
        import torch

        tuning.episodes.n_episodes = n_steps
        # torch's loader draws a seed; fork_rng keeps the caller's generator unchanged.
        with torch.random.fork_rng(devices=[]):
            tuning.partial_fit(tuning.episodes, None)

    def _check(self) -> None:
        for name, least in (("max_steps", 1), ("batch_size", 8)):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"{name}={value!r} must be an integer, {least} or more.")
        if not (self.learning_rate > 0 and 0 < self.layer_decay <= 1):
            raise ValueError(
                f"learning_rate={self.learning_rate} and layer_decay={self.layer_decay} must be positive, "
                "the latter at most 1."
            )


def _codes(groups: Any, n_rows: int) -> NDArray[np.intp]:
    """Return the sample number of each row."""
    if groups is None:
        return np.arange(n_rows)
    groups = column_or_1d(groups)
    if any(group is None or group != group for group in groups.tolist()):
        raise ValueError("groups holds missing values; name the sample of every spectrum.")
    return np.unique(groups, return_inverse=True)[1]


def _checks(max_steps: int) -> list[int]:
    """Return the step counts of the checks, doubling because the effect grows with their logarithm."""
    steps = [_FIRST_CHECK << i for i in range(32) if _FIRST_CHECK << i < max_steps]
    return [*steps, max_steps]


def _taken(tuning: Any) -> Any:
    """Return the frozen encoder of a finished tuning, on the CPU."""
    encoder = tuning.module_.encoder
    return encoder.cpu().eval().requires_grad_(False)


def _together(blocks: list[Spectra]) -> Spectra:
    first = blocks[0]
    if all(np.array_equal(block.wavelengths, first.wavelengths) for block in blocks):
        return Spectra.on_grid(np.concatenate([block.values for block in blocks]), first.wavelengths)
    return Spectra.pad(blocks)
