"""`SpectralEmbedder`, the scikit-learn transformer around the pretrained encoder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import wrapt
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if

from .embedding.cache import clear
from .embedding.column_weighting import ColumnWeighting
from .embedding.encoding import encode
from .embedding.glsw import fit_glsw
from .embedding.instrument import FEWEST, CalibrationSpace, InstrumentShift, shift_in_force
from .embedding.metadata import with_metadata
from .embedding.parameters import check_parameters
from .encoder.checkpoint import DEFAULT_CHECKPOINT, Checkpoint, load_checkpoint
from .encoder.readouts import DEFAULT_READOUT
from .errors import CheckpointError, SpectralInputError
from .fitting import all_or_nothing, note_parameters, require_fitted
from .spectra.data import Spectra, take_rows
from .spectra.resolver import ResolvesWavelengths
from .spectra.signal import living_rows

if TYPE_CHECKING:
    from .encoder import SpectralPerceiver


class SpectralEmbedder(ResolvesWavelengths, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embed near-infrared spectra with a pretrained encoder.

    Each spectrum becomes one row of fixed width, on which a linear model can be calibrated. Spectra may have
    any length and wavelength grid and come from any instrument. The class works in scikit-learn pipelines and,
    unchanged, in ``nirs4all.run``.

    Parameters
    ----------
    checkpoint : str or path, default="nirs-base-v2"
        Name of a bundled checkpoint or path of a ``.safetensors`` file.
    readout : {"contrast", "compact", "mean", "cls"}, default="contrast"
        Output of the encoder. ``"contrast"`` holds the patches of the spectrum at four scales, each relative to its
        own contrast (6,832 columns with the bundled checkpoint). ``"compact"`` is a linear code of these patches
        (512 columns; for heads that need few columns, maps and search). ``"mean"`` is the mean of the Perceiver's
        latents and ``"cls"`` its CLS latent (96 each). Point-based encoders have no ``"contrast"``.
    adapt : bool, default=True
        Weight the columns using the spectra of `fit`, without labels. Columns of low variance gain weight, columns of
        high uniqueness lose weight, and columns are clipped at 6 standard deviations from their mean. With fewer than
        ten spectra only the variance is used. Set to False to compare embeddings across fits.
    robust : bool, default=False
        Down-weight directions in which instruments differ (generalised least squares weighting [3]_). They are
        estimated by disturbing up to 40 spectra of `fit` (drift, scatter, wavelength shift) and by measuring them on
        16 pairs of simulated instruments, without labels. For other instruments or long periods. On undisturbed
        spectra the mean error is unchanged, but it can double for materials that depend on fine detail.
    align : bool, default=True
        Resample spectra to the axis of `fit` by interpolation, or by averaging where they are finer. Missing points
        are filled in by the conditional mean of a low-rank Gaussian model of the calibration spectra. With False each
        spectrum is embedded on its own range, and columns refer to other wavelengths if the ranges differ.
    max_filled : float, default=0.5
        Largest share of the fitted axis that may be filled in, ends and gaps together. Warns from 0.02 on.
    append_spectra : bool, default=False
        Append the spectra, on the axis of `fit`, to the embedding, for heads that read both (``"committee"``).
    wavelengths : array-like of shape (n_wavelengths,), default=None
        Axis of the spectra, in the unit of `axis_unit` and in the order of the columns.
    axis_unit : {"auto", "nm", "cm-1", "um"}, default="auto"
        Unit of every axis given to this object; ``"auto"`` infers it from the range.
    batch_size : int, default=32
        Batch size, rounded up to a multiple of 8; affects speed and memory, not results. 32 fits a processor's
        cache; use more on a GPU, such as 256.
    device : str, default="auto"
        Torch device; ``"auto"`` uses a GPU if there is one, else ``"cpu"``.
    cache : bool or path, default=False
        Cache embeddings by row: each spectrum is encoded once across folds, refits and heads. True uses the memory
        of this process (512 MB, shared by all embedders). A folder serves several processes and sessions (2 GB; the
        oldest entries are removed first). Cache keys include weights, read-out and wavelength grid.
    on_outlier : {"ignore", "warn", "raise"}, default="ignore"
        Action of `transform` on spectra unlike those of `fit`, by Hotelling's T2 or Q residuals (`novelty_`). The
        confidence is 0.99 and needs about 200 calibration spectra. With replicates fit a `SpectralNovelty` with
        `groups` instead. `fit` then needs ten spectra and takes longer.
    metadata : mapping of str to scalar, default=None
        Metadata of all spectra, such as ``{"instrument_type": "portable"}``. Optional; fields without a value count
        as missing. For encoders pretrained with metadata and read-outs of the latents (``"mean"``, ``"cls"``).

    Attributes
    ----------
    novelty_ : NoveltyLimits
        Outlier limits, unless `on_outlier` is ``"ignore"``.
    wavelengths_ : ndarray of shape (n_wavelengths,), float64, or None
        Grid seen in `fit`, in nm, in the order of the columns; None if every spectrum had its own.
    alignment_ : Alignment
        Unless `align` is False: the fitted axis (`wavelengths`, ascending, without wavelengths that most spectra
        lack) and the model that fills in missing points.
    signal_ : SignalKind, or None
        Level, size, sign and shape of the calibration spectra, checked by `transform`; None below five spectra.
    checkpoint_name_ : str
        Name and version of the weights.
    checkpoint_sha256_ : str
        Hash of the weight file; `transform` refuses other weights.
    column_weighting_ : ColumnWeighting
        Factor (`scale`) and bounds (`lower`, `upper`) of each column; ones, None and None with ``adapt=False``.
    glsw_ : GLSW
        With `robust`: down-weighted directions (`directions`), the share of their length removed (`loss`) and the
        factor applied to the rest (`gain`).
    calibration_space_ : CalibrationSpace
        Mean and principal components of the embeddings of `fit`, the reference of `adapt_to`.
    instrument_shift_ : InstrumentShift, or None
        Shift that `adapt_to` removes from embeddings of a second instrument.
    n_features_in_ : int
        Points per spectrum seen in `fit`, unless every spectrum had its own grid.
    feature_names_in_ : ndarray of str
        Column names seen in `fit`, if there were any.

    Notes
    -----
    `fit` trains no weights. It checks the axis and records the checkpoint; `adapt` and `robust` also estimate column
    statistics and sensitivity to disturbances. After `fit`, row i of the output depends on spectrum i alone.

    Wavelengths are resolved in this order: the argument of `fit` or `transform`, the constructor's, numeric column
    names of a data frame (``"1100"``, ``"1100nm"``, ``"9090 cm-1"``), the grid seen in `fit`. If none is available, an
    even grid from 1,000 to 2,500 nm is assumed with a ``UserWarning``.

    A pickle holds the parameters, the grid, and the name and hash of the checkpoint, but no weights. With
    ``checkpoint=PATH`` the file must exist on the machine that loads the pickle.

    With ``n_jobs > 1`` each worker process loads its own copy of the encoder (about 3 MB).

    The encoder is a Perceiver [1]_ whose tokens are patches of the spectrum. It is pretrained with ridge regressions
    solved in closed form [2]_; ``nirs4all_vit/weights/MODEL_CARD.md`` describes both.

    References
    ----------
    .. [1] Jaegle, A. et al. (2021). Perceiver: General Perception with Iterative Attention. ICML.
    .. [2] Bertinetto, L. et al. (2019). Meta-learning with differentiable closed-form solvers. ICLR.
    .. [3] Martens, H. et al. (2003). Pre-whitening of data by covariance-weighted pre-processing. J. Chemometrics 17.

    Examples
    --------
    >>> import numpy as np
    >>> from nirs4all_vit import SpectralEmbedder
    >>> nm = np.linspace(1100, 2498, 700)
    >>> X = np.exp(-(((nm - 1940) / np.array([[40.0], [60.0]])) ** 2))
    >>> SpectralEmbedder(readout="mean").fit_transform(X, wavelengths=nm).shape
    (2, 96)
    """

    instrument_shift_: InstrumentShift | None
    #: Default for pickles of earlier versions, which lack the attribute.
    metadata: Mapping[str, Any] | None = None

    # Metadata routing: both methods must request it; scikit-learn reports a conflict in a pipeline otherwise.
    __metadata_request__fit: ClassVar = {"wavelengths": True, "metadata": True}
    __metadata_request__transform: ClassVar = {"wavelengths": True, "metadata": True}

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] = DEFAULT_CHECKPOINT,
        *,
        readout: str = DEFAULT_READOUT,
        adapt: bool = True,
        robust: bool = False,
        align: bool = True,
        max_filled: float = 0.5,
        append_spectra: bool = False,
        wavelengths: ArrayLike | None = None,
        axis_unit: str = "auto",
        batch_size: int = 32,
        device: str = "auto",
        cache: bool | str | os.PathLike[str] = False,
        on_outlier: str = "ignore",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.readout = readout
        self.adapt = adapt
        self.robust = robust
        self.align = align
        self.max_filled = max_filled
        self.append_spectra = append_spectra
        self.wavelengths = wavelengths
        self.axis_unit = axis_unit
        self.batch_size = batch_size
        self.device = device
        self.cache = cache
        self.on_outlier = on_outlier
        self.metadata = metadata

    @classmethod
    def from_run(cls, folder: str | os.PathLike[str], **parameters: Any) -> SpectralEmbedder:
        """Return an embedder that uses the checkpoint of a pretraining run.

        Parameters
        ----------
        folder : path
            ``run.out`` of the run. The best checkpoint by validation loss is used, or the last one if there is none.
        **parameters
            Parameters of the embedder.

        Raises
        ------
        CheckpointError
            The folder contains no checkpoint.
        """
        for name in ("best.safetensors", "last.safetensors"):
            if (Path(folder) / name).is_file():
                return cls(str(Path(folder) / name), **parameters)
        raise CheckpointError(
            f"{folder} contains no best.safetensors or last.safetensors; give the folder of a pretraining run."
        )

    @all_or_nothing
    def fit(self, X: Any, y: Any = None, *, wavelengths: Any = None, metadata: Any = None) -> SpectralEmbedder:  # noqa: ARG002
        """Check the axis and the checkpoint, and estimate the column weights from the spectra.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_wavelengths), data frame, or list of 1-D arrays
            Spectra; a list may hold spectra of unequal length, each with its own wavelengths. NaN is a missing point.
        y : ignored
            Accepted for compatibility with scikit-learn.
        wavelengths : array-like of shape (n_wavelengths,) or (n_samples, n_wavelengths), or list of arrays
            Axis of the spectra, or one axis per spectrum.
        metadata : mapping of str to scalar or array-like of shape (n_samples,), or data frame of n_samples rows
            Metadata of these spectra; fields given here replace those of the constructor. None, NaN and unknown
            categories count as missing. `transform` does not reuse these values. ``spectral_start``,
            ``spectral_stop`` and ``spectral_step`` are taken from the wavelengths.

        Returns
        -------
        SpectralEmbedder
            This object.

        Raises
        ------
        SpectralInputError
            The spectra contain infinity or fill values, lack over half of their points, are not 2-D or have no rows.
        SpectralAxisError
            The number of wavelengths is wrong, they are duplicated, not positive or out of range, or column names
            contradict them.
        CheckpointError
            The weights are missing, damaged or of a newer format.
        ValueError
            The metadata has the wrong length or unknown fields, or the read-out does not depend on metadata.

        Warns
        -----
        UserWarning
            Spectra without signal, named by row (the fit ignores them), or unknown metadata categories.
        """
        self.fit_transform(X, wavelengths=wavelengths, metadata=metadata)
        return self

    def transform(self, X: Any, *, wavelengths: Any = None, metadata: Any = None) -> NDArray[np.float32]:
        """Embed spectra.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_wavelengths), data frame, or list of 1-D arrays
            Spectra, on the grid of `fit` or on another one given here or in column names. NaN is a missing point.
        wavelengths : array-like of shape (n_wavelengths,) or (n_samples, n_wavelengths), or list of arrays
            Axis of these spectra, or one axis per spectrum.
        metadata : mapping of str to scalar or array-like of shape (n_samples,), or data frame of n_samples rows
            Metadata of these spectra, as in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_columns), float32
            One row per spectrum; the width depends on `readout` only, unless spectra are appended.

        Raises
        ------
        SpectralInputError, SpectralAxisError, CheckpointError, ValueError
            As in `fit`; also if `readout`, `robust`, `align` or `append_spectra` has changed since.
        """
        require_fitted(self)
        blocks = self._with_metadata(self.resolve(X, wavelengths), metadata)
        if self.on_outlier != "ignore":
            from .embedding.novelty import report_outliers

            report_outliers(self._outlier_scores(blocks), self.on_outlier)
        return self._adapted(self._columns(blocks))

    @all_or_nothing
    def adapt_to(self, X: Any, *, wavelengths: Any = None, metadata: Any = None) -> SpectralEmbedder:
        """Adapt `transform` to a second instrument from spectra without reference values.

        The difference between the mean embeddings of both instruments is removed, unless the samples may explain it.
        The spectra need not come from the calibration samples or population. This object then serves the second
        instrument only. To keep both, ``copy.deepcopy`` it first, or call `nirs4all_vit.adapt_to` on a pipeline.
        A further call starts from the calibration again.

        Parameters
        ----------
        X, wavelengths, metadata : as in `transform`
            At least five spectra of the second instrument; thirty or more are better.

        Returns
        -------
        SpectralEmbedder
            This object.

        Raises
        ------
        SpectralInputError
            There are fewer than five different spectra; also as in `transform`.
        SpectralAxisError, CheckpointError
            As in `transform`.

        Warns
        -----
        UserWarning
            The spectra differ from the calibration spectra no more than samples of one instrument do (nothing is
            changed), or they differ, but the samples may be the cause.
        """
        require_fitted(self)
        embedded = self._columns(self._with_metadata(self.resolve(X, wavelengths), metadata))
        if len(embedded) < FEWEST:
            raise SpectralInputError(
                f"{len(embedded)} spectra of the second instrument are too few; give {FEWEST} or more."
            )
        if len(np.unique(embedded, axis=0)) < FEWEST:
            raise SpectralInputError(
                "the spectra of the second instrument are copies of one another; give other samples."
            )
        shift = InstrumentShift.fit(self.calibration_space_, embedded)
        self.instrument_shift_ = shift if shift.is_significant else None
        if self.instrument_shift_ is None:
            warnings.warn(
                "these spectra differ from the calibration's by no more than the samples of one instrument do; "
                "the embedding is unchanged.",
                UserWarning,
                stacklevel=3,
            )
        elif shift.is_doubtful:
            warnings.warn(
                "these spectra differ from the calibration's, but the difference may come from the samples. If the "
                "instrument is the same, do not adapt; if it is another, give samples like those of the calibration.",
                UserWarning,
                stacklevel=3,
            )
        return self

    def embed(self, blocks: list[Spectra]) -> NDArray[np.float32]:
        """Embed blocks of checked spectra with the constructor's metadata, without cache or outlier check.

        Parameters
        ----------
        blocks : list of Spectra
            Blocks with one 1-D grid each, as returned by `resolve`.

        Returns
        -------
        ndarray of shape (n_spectra, n_columns), float32
        """
        require_fitted(self)
        return self._adapted(self._columns(self._with_metadata(blocks), cached=False))

    @property
    def encoder_(self) -> SpectralPerceiver:
        """The frozen, shared encoder; raises `CheckpointError` if the weights changed since `fit`."""
        return self._checkpoint().encoder

    @available_if(lambda self: self.on_outlier != "ignore")
    def score_samples(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return anomaly scores relative to the calibration set (n_samples,); outliers score below 0.

        Scores are those of `SpectralNovelty`. Available with ``on_outlier="warn"`` and ``"raise"`` only.
        """
        require_fitted(self)
        return self._outlier_scores(self.resolve(X, wavelengths))

    @all_or_nothing
    def fit_transform(
        self,
        X: Any,
        y: Any = None,  # noqa: ARG002
        *,
        wavelengths: Any = None,
        metadata: Any = None,
    ) -> NDArray[np.float32]:
        """Fit and embed the same spectra; parameters as in `fit`, result as in `transform`."""
        blocks = self._with_metadata(self._fit(X, wavelengths), metadata)
        for attribute in ("novelty_", "glsw_"):
            self.__dict__.pop(attribute, None)
        if self.on_outlier != "ignore":
            from .embedding.novelty import NoveltyLimits

            self.novelty_ = NoveltyLimits.fit(self._checkpoint(), blocks, self.device, confidence=0.99)
        # Spectra without signal carry no information on the material.
        living = living_rows(blocks)
        embedded = self._encoded(blocks)
        alive = slice(None) if len(living) == len(embedded) else living
        weighting = ColumnWeighting.fit(embedded[alive]) if self.adapt else ColumnWeighting.none(embedded.shape[1])
        self.column_weighting_ = weighting
        weighting.apply(embedded)
        if self.robust:
            usable = take_rows(blocks, living)
            self.glsw_ = fit_glsw(usable, lambda b: weighting.apply(self._encoded(b)), embedded[alive])
            self.glsw_.apply(embedded)
        width = embedded.shape[1]
        embedded = self._with_spectra(embedded, blocks)
        self.calibration_space_ = CalibrationSpace.fit(embedded[alive], width)
        self.instrument_shift_ = None
        return embedded

    def _with_spectra(self, embedded: NDArray[np.float32], blocks: list[Spectra]) -> NDArray[np.float32]:
        if not self.append_spectra:
            return embedded
        return np.hstack([embedded, *(block.values.astype(np.float32) for block in blocks)])

    def _adapted(self, embedded: NDArray[np.float32]) -> NDArray[np.float32]:
        shift = shift_in_force(self)
        return embedded if shift is None else shift.apply(embedded)

    def _columns(self, blocks: list[Spectra], *, cached: bool = True) -> NDArray[np.float32]:
        """Return all columns of `transform`, before the correction for a second instrument."""
        embedded = self._encoded(blocks, cached=cached)
        self.column_weighting_.apply(embedded)
        if self.robust:
            self.glsw_.apply(embedded)
        return self._with_spectra(embedded, blocks)

    def _outlier_scores(self, blocks: list[Spectra]) -> NDArray[np.float64]:
        if not hasattr(self, "novelty_"):
            raise ValueError("no outlier limits are fitted; fit with on_outlier='warn' or 'raise'.")
        limits: Any = self.novelty_
        return limits.scores(limits.measure(self._checkpoint(), blocks, self.device))

    def _fit(self, X: Any, wavelengths: Any) -> list[Spectra]:
        from .embedding.inference import resolve_device

        check_parameters(self)
        for attribute in ("alignment_", "signal_"):
            self.__dict__.pop(attribute, None)
        blocks = self.resolve(X, wavelengths, fitting=True)
        resolve_device(self.device)
        checkpoint = load_checkpoint(self.checkpoint)
        self.checkpoint_name_, self.checkpoint_sha256_ = checkpoint.name, checkpoint.sha256
        self._n_features_out = checkpoint.encoder.width(self.readout)
        if self.append_spectra:
            self._n_features_out += blocks[0].wavelengths.size
        note_parameters(self, "readout", "robust", "align", "append_spectra")
        return blocks

    def _checkpoint(self) -> Checkpoint:
        checkpoint = load_checkpoint(self.checkpoint)
        if checkpoint.sha256 != self.checkpoint_sha256_:
            raise CheckpointError(
                f"fitted with {self.checkpoint_name_} (SHA-256 {self.checkpoint_sha256_[:12]}), but "
                f"{self.checkpoint} now holds {checkpoint.sha256[:12]}; fit again or restore the file."
            )
        return checkpoint

    def _encoded(self, blocks: list[Spectra], *, cached: bool = True) -> NDArray[np.float32]:
        check_parameters(self)
        return encode(
            self._checkpoint(),
            blocks,
            self.readout,
            batch_size=self.batch_size,
            device=self.device,
            cache=cached and self.cache,
        )

    def _with_metadata(self, blocks: list[Spectra], metadata: Any = None) -> list[Spectra]:
        return with_metadata(blocks, self._checkpoint(), self.readout, self.metadata, metadata)

    def clear_cache(self) -> None:
        """Clear the cache: all embeddings in the memory of this process, or all in the cache folder."""
        clear(self.cache)

    def expect_host_axis(self, expected: bool) -> None:
        """Set whether nirs4all passes a usable axis; without one `fit` warns and assumes an even grid."""
        self._host_axis_expected = expected

    @property
    def _requires_wavelengths(self) -> bool:
        """Whether nirs4all should pass ``wavelengths=`` to `fit`: True unless the user has given them."""
        return self.wavelengths is None and getattr(self, "_host_axis_expected", True)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.allow_nan = True
        return tags


# Hooks are registered by name: nirs4all_host is imported only when nirs4all is.
for _module, _hook in (
    ("controllers", "register_embedder"),
    ("pipeline.dagml.node_runner", "tolerate_missing_axis"),
    ("pipeline.dagml.envelope", "read_framed_headers"),
):
    wrapt.register_post_import_hook(f"nirs4all_vit.nirs4all_host.hooks:{_hook}", f"nirs4all.{_module}")
