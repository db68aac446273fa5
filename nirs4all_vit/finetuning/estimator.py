"""What regression and classification share: start from the frozen head, tune, compare, keep the better one."""

from __future__ import annotations

import copy
import os
import warnings
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ..adaptation import adapted_scale
from ..checkpoint import DEFAULT_CHECKPOINT, load_checkpoint, save_checkpoint
from ..embedder import SpectralEmbedder
from ..spectra import Spectra

#: With fewer calibration samples nothing can be tuned and checked.
_FEWEST = 20
#: What tuning has to gain on the samples held back, of the frozen head's loss, to be kept: less is chance.
_GAIN = 0.02
_TUNED = ("all", "lora", "head")


class SpectralEstimator(BaseEstimator):
    """Common part of `SpectralRegressor` and `SpectralClassifier`; parameters there."""

    __metadata_request__fit: ClassVar = {"wavelengths": True, "groups": True}
    __metadata_request__predict: ClassVar = {"wavelengths": True}

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] = DEFAULT_CHECKPOINT,
        *,
        readout: str = "contrast",
        tune: str = "all",
        max_epochs: int = 60,
        learning_rate: float = 3e-4,
        encoder_factor: float = 3.0,
        layer_decay: float = 0.7,
        frozen_epochs: int = 0,
        lora_rank: int = 8,
        weight_decay: float = 1e-2,
        batch_size: int = 32,
        patience: int = 10,
        validation: float = 0.2,
        augment: bool = True,
        wavelengths: ArrayLike | None = None,
        axis_unit: str = "auto",
        device: str = "auto",
        amp: bool = False,
        progress: bool = False,
        random_state: int = 0,
    ) -> None:
        self.checkpoint = checkpoint
        self.readout = readout
        self.tune = tune
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.encoder_factor = encoder_factor
        self.layer_decay = layer_decay
        self.frozen_epochs = frozen_epochs
        self.lora_rank = lora_rank
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.patience = patience
        self.validation = validation
        self.augment = augment
        self.wavelengths = wavelengths
        self.axis_unit = axis_unit
        self.device = device
        self.amp = amp
        self.progress = progress
        self.random_state = random_state

    # What differs between numbers and classes.

    @abstractmethod
    def _targets(self, y: Any, **about: Any) -> NDArray[Any]:
        """Check targets and return them as the network learns them, (n, ...)."""

    @abstractmethod
    def _targets_again(self, y: Any) -> NDArray[Any]:
        """Return further targets, in the units or classes of the first ones."""

    @abstractmethod
    def _split(self, targets: NDArray[Any], groups: NDArray[Any] | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return rows to tune on and rows held back."""

    @abstractmethod
    def _linear(self, Z: NDArray[Any], targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return weight (n_outputs, width) and bias (n_outputs,) of a linear head on a frozen embedding."""

    @abstractmethod
    def _losses(self, outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[Any]:
        """Return the loss that is tuned for, of each sample (n,)."""

    @abstractmethod
    def _criterion(self, targets: NDArray[Any]) -> Any:
        """Return the same as a torch module; `targets` are those that are tuned on."""

    def _fit(self, X: Any, y: Any, wavelengths: Any, groups: Any, **about: Any) -> Any:
        import torch

        self._check()
        self.embedder_ = SpectralEmbedder(
            self.checkpoint,
            readout=self.readout,
            adapt=False,
            wavelengths=self.wavelengths,
            axis_unit=self.axis_unit,
            device=self.device,
        )
        blocks = self.embedder_._fit(X, wavelengths)
        self._note_features()
        targets = self._targets(y, **about)
        check_consistent_length(X, targets, groups)
        self.encoder_ = copy.deepcopy(load_checkpoint(self.checkpoint).encoder)
        frozen = self._embed(blocks)
        self.centre_, self.scale_ = frozen.mean(axis=0), adapted_scale(frozen)
        adapted = (frozen - self.centre_) * self.scale_
        self.tuned_, self.history_ = False, []
        groups = None if groups is None else np.asarray(groups)
        n_units = len(targets) if groups is None else np.unique(groups).size
        if n_units < _FEWEST:
            warnings.warn(
                f"{n_units} samples are too few to tune on and to check; the encoder stays as it was pretrained.",
                UserWarning,
                stacklevel=3,
            )
        else:
            inside, outside = self._split(targets, groups)
            start = self._linear(adapted[inside], targets[inside])
            before = self._losses(adapted[outside] @ start[0].T + start[1], targets[outside])
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.random_state)
                module, after = self._tune(blocks, targets, inside, outside, start)
            if self._helps(before, after):
                from .lora import merge_lora

                merge_lora(module.encoder)
                self.encoder_ = module.encoder.cpu().eval().requires_grad_(False)
                self.tuned_ = True
                adapted = (self._embed(blocks) - self.centre_) * self.scale_
            else:
                warnings.warn(
                    f"tuning did not help on the {len(outside)} samples held back (loss {after.mean():.3g}, frozen {before.mean():.3g}); "
                    "the encoder stays as it was pretrained.",
                    UserWarning,
                    stacklevel=3,
                )
        # The last word has a head on all samples.
        self.weight_, self.bias_ = self._linear(adapted, targets)
        return self

    def _continue(self, X: Any, y: Any, wavelengths: Any) -> Any:
        """Tune for one more epoch, with nothing held back."""
        import torch

        blocks = self.embedder_._blocks(X, wavelengths, fitting=False)
        targets = self._targets_again(y)
        check_consistent_length(X, targets)
        rows = np.arange(len(targets))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            module, _ = self._tune(blocks, targets, rows, None, (self.weight_, self.bias_), max_epochs=1)
        from .lora import merge_lora

        merge_lora(module.encoder)
        module = module.cpu().eval().requires_grad_(False)
        self.encoder_, self.tuned_ = module.encoder, self.tune != "head"
        self.weight_, self.bias_ = module.head.weight.numpy().copy(), module.head.bias.numpy().copy()
        return self

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the encoder, tuned or not, as a checkpoint that `SpectralEmbedder` takes.

        Parameters
        ----------
        path : path
            Target, ``.safetensors``.
        """
        check_is_fitted(self)
        origin = load_checkpoint(self.checkpoint)
        provenance = {**origin.header.get("provenance", {}), "tuned": self.tuned_, "tuned_from": origin.sha256}
        return save_checkpoint(path, self.encoder_, name=f"{origin.name}-tuned", provenance=provenance)

    @staticmethod
    def _helps(before: NDArray[Any], after: NDArray[Any]) -> bool:
        """Tell whether losses of samples fell by more than chance: by a share of them, and by a standard error."""
        gain = before - after
        return bool(gain.mean() > max(_GAIN * before.mean(), gain.std() / len(gain) ** 0.5))

    def _outputs(self, X: Any, wavelengths: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        blocks = self.embedder_._blocks(X, wavelengths, fitting=False)
        adapted = (self._embed(blocks) - self.centre_) * self.scale_
        return adapted.astype(np.float64) @ self.weight_.T.astype(np.float64) + self.bias_

    def _embed(self, blocks: list[Spectra]) -> NDArray[np.float32]:
        from ..inference import embed, resolve_device

        return embed(self.encoder_, blocks, self.readout, device=resolve_device(self.device))

    def _tune(
        self,
        blocks: list[Spectra],
        targets: NDArray[Any],
        inside: NDArray[np.intp],
        outside: NDArray[np.intp] | None,
        start: tuple[NDArray[Any], NDArray[Any]],
        max_epochs: int | None = None,
    ) -> tuple[Any, Any]:
        """Tune a copy of the encoder with a head; returns the module at its best, and its losses on the rows held back."""
        import torch
        from skorch import NeuralNet
        from skorch.callbacks import EarlyStopping, Freezer, ProgressBar, Unfreezer
        from skorch.helper import predefined_split

        from ..inference import resolve_device
        from .data import Disturb, SpectralRows
        from .layers import freeze, learning_rates
        from .module import SpectralModule

        spectra = blocks[0] if len(blocks) == 1 else Spectra.pad(blocks)
        shared = spectra.wavelengths.ndim == 1
        module = SpectralModule(
            copy.deepcopy(self.encoder_).requires_grad_(True),
            self.readout,
            *(torch.from_numpy(np.asarray(a, dtype=np.float32)) for a in (self.centre_, self.scale_, *start)),
            torch.from_numpy(spectra.wavelengths) if shared else None,
            self.amp,
        )
        freeze(module, self.tune, self.lora_rank)
        rates = learning_rates(module, self.learning_rate, self.encoder_factor, self.layer_decay)
        callbacks: list[Any] = []
        if outside is not None:
            callbacks.append(("stop", EarlyStopping(patience=self.patience, load_best=True, sink=lambda *_: None)))
        if self.frozen_epochs and self.tune == "all":
            learned = [name for name in rates if name.startswith("encoder.")]
            callbacks += [("freeze", Freezer(learned)), ("unfreeze", Unfreezer(learned, at=self.frozen_epochs + 1))]
        if self.progress:
            callbacks.append(("progress", ProgressBar()))
        level = float(np.median(spectra.values.std(axis=1))) or 1.0
        net = NeuralNet(
            module,
            criterion=self._criterion(targets[inside]),
            optimizer=torch.optim.AdamW,
            optimizer__param_groups=[(name, {"lr": rate}) for name, rate in rates.items()],
            lr=self.learning_rate,
            optimizer__weight_decay=self.weight_decay,
            max_epochs=max_epochs or self.max_epochs,
            batch_size=self.batch_size,
            iterator_train__shuffle=True,
            train_split=None if outside is None else predefined_split(SpectralRows(spectra, targets, outside)),
            callbacks=callbacks,
            device=resolve_device(self.device),
            verbose=0,
            **({"iterator_train__collate_fn": Disturb(level)} if self.augment else {}),
        )
        net.fit(SpectralRows(spectra, targets, inside), None)
        if outside is None:
            return net.module_, None
        self.history_ = [{k: row[k] for k in ("epoch", "train_loss", "valid_loss")} for row in net.history]
        outputs = net.forward(SpectralRows(spectra, targets, outside)).cpu().numpy()
        return net.module_, self._losses(outputs, targets[outside])

    def _check(self) -> None:
        if self.tune not in _TUNED:
            raise ValueError(f"tune={self.tune!r} is not known; use one of {', '.join(_TUNED)}.")
        for name in ("max_epochs", "batch_size", "patience", "lora_rank"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name}={value!r} must be a positive integer.")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation={self.validation} must lie between 0 and 1.")
        if not (self.learning_rate > 0 and self.encoder_factor > 0 and 0 < self.layer_decay <= 1):
            raise ValueError(
                f"learning_rate={self.learning_rate}, encoder_factor={self.encoder_factor} and "
                f"layer_decay={self.layer_decay} must be positive, the last one at most 1."
            )

    def _note_features(self) -> None:
        """Carry over what scikit-learn asks of whoever sees columns."""
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(self.embedder_, name):
                setattr(self, name, getattr(self.embedder_, name))

    @property
    def _requires_wavelengths(self) -> bool:
        return self.wavelengths is None
