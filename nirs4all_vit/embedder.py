"""SpectralEmbedder: scikit-learn on one side, the encoder on the other."""

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

    Any length, any wavelength grid, any instrument: each spectrum becomes one row of fixed width on
    which a linear model can be calibrated. Works in scikit-learn pipelines and, as it is, in
    ``nirs4all.run``.

    Parameters
    ----------
    checkpoint : str or path, default="nirs-base-v2"
        Name of a bundled checkpoint or path of a ``.safetensors`` file.
    readout : {"contrast", "compact", "mean", "cls"}, default="contrast"
        What is read out of the encoder: the patches of the spectrum at four scales, each relative to its own contrast (6,832 columns
        with the bundled checkpoint); a linear code of these patches (512; for heads that want few columns, maps and search); the mean
        of the Perceiver's latents or its CLS latent (96 each). An encoder of points has no ``"contrast"``.
    adapt : bool, default=True
        Weigh the columns by the spectra seen in `fit`: what varies little in this material counts for more, what no other
        column confirms for less, and none goes further than six deviations from its mean. With fewer than ten spectra
        only the former. No labels are looked at. With False, vectors of different fits can be compared.
    robust : bool, default=False
        Take weight from the directions that baseline drift, scatter and wavelengths off by a nanometre move the embedding in, found by
        disturbing up to 40 of the spectra seen in `fit` (generalised least squares weighting [3]_). For use on other instruments
        or over years; where nothing is disturbed the error is the same in the mean, for single materials up to 30 % more. No labels are
        looked at.
    align : bool, default=True
        Put spectra on other axes on that of `fit`: interpolated, or averaged where they are finer, and what they lack filled in
        from what the calibration spectra know (the conditional mean of a low-rank Gaussian model of them). With False each
        spectrum is embedded on its own range, and the columns of spectra of other ranges mean other wavelengths.
    max_filled : float, default=0.5
        Share of the fitted axis, beyond the ends of a spectrum and in its gaps, that may be filled in. From 0.02 on there is a warning.
    append_spectra : bool, default=False
        Append the spectra, on the axis of `fit`, behind the columns of the embedding, for heads that read both
        (``make_head("committee")``).
    wavelengths : array-like of shape (n_wavelengths,), default=None
        Axis of the spectra, in the unit that `axis_unit` names, in the order of the columns.
    axis_unit : {"auto", "nm", "cm-1", "um"}, default="auto"
        Unit of every axis given to this object; ``"auto"`` tells them apart by range.
    batch_size : int, default=32
        Spectra per pass through the encoder, rounded up to a multiple of 8; a matter of speed and
        memory only. 32 stays in a processor's cache; a GPU wants more, such as 256.
    device : str, default="auto"
        Torch device: ``"auto"`` is a GPU where there is one, else ``"cpu"``.
    cache : bool or path, default=False
        Keep embeddings, row by row, so that folds, refits and other heads on the same spectra do not encode
        them again: True in the memory of this process (512 MB, shared by all embedders), a folder for several
        processes and sessions (2 GB; the oldest go first). What weights, read-out or grid change is never mixed up.
    on_outlier : {"ignore", "warn", "raise"}, default="ignore"
        What `transform` does where spectra are unlike those of `fit`, by Hotelling's T2 or Q residuals (`novelty_`, at a
        confidence of 0.99, which takes some 200 calibration spectra to be reached; with replicates fit one yourself, it takes `groups`).
        `fit` wants ten spectra then, and takes longer.
    metadata : mapping of str to scalar, default=None
        Values of the encoder's metadata fields that hold for all spectra, such as ``{"instrument_type": "portable"}``. Never required: fields
        without a value are missing. For encoders pretrained with metadata, and read-outs of the latents (``"mean"``, ``"cls"``).

    Attributes
    ----------
    novelty_ : NoveltyLimits
        Unless `on_outlier` is ``"ignore"``.
    wavelengths_ : ndarray of shape (n_wavelengths,), float64, or None
        Grid seen in `fit`, in nm, in the order of the columns; None if every spectrum had its own.
    alignment_ : Alignment
        Unless `align` is False: the fitted axis, ascending, without wavelengths that most spectra lack (`wavelengths`), and the model
        that fills in missing points.
    signal_ : SignalKind, or None
        Level, size, sign and shape of the calibration spectra, which `transform` compares; None of fewer than five spectra.
    checkpoint_name_ : str
        Name and version of the weights.
    checkpoint_sha256_ : str
        Hash of the weight file; `transform` refuses other weights.
    column_weighting_ : ColumnWeighting
        Factor of each column (`scale`) and the bounds that it keeps within (`lower`, `upper`); ones, None and None with ``adapt=False``.
    glsw_ : GLSW
        With `robust`: directions that lose weight (`directions`), the share of their length that is taken (`loss`), and the `gain` of what is left.
    calibration_space_ : CalibrationSpace
        Mean and principal components of the embeddings of `fit`, which `adapt_to` compares with.
    instrument_shift_ : InstrumentShift, or None
        What `adapt_to` takes from embeddings of a second instrument.
    n_features_in_ : int
        Points per spectrum seen in `fit`, unless every spectrum had its own grid.
    feature_names_in_ : ndarray of str
        Column names seen in `fit`, where there were any.

    Notes
    -----
    `fit` trains nothing: it checks the axis, notes the weights and, with `adapt` and `robust`, how columns vary and how
    they follow disturbances. From then on row i of the output depends on spectrum i alone.

    Wavelengths are resolved in this order: the argument of `fit` or `transform`, the constructor's,
    numeric column names of a data frame (``"1100"``, ``"1100nm"``, ``"9090 cm-1"``), the grid seen in `fit`. Where nobody knows
    them, a ``UserWarning`` says so and an even grid from 1,000 to 2,500 nm is assumed.

    A pickle holds the parameters, the grid, and the name and hash of the checkpoint; it never holds
    weights. One made with ``checkpoint=PATH`` needs that file where it is loaded.

    With ``n_jobs > 1`` each worker process loads its own copy of the encoder (some 3 MB).

    The encoder is a Perceiver [1]_ whose tokens are patches of the spectrum; it and its pretraining, ridge regressions solved in
    closed form [2]_, are described in ``nirs4all_vit/weights/MODEL_CARD.md``.

    References
    ----------
    .. [1] Jaegle, A. et al. (2021). Perceiver: General Perception with Iterative Attention. ICML.
    .. [2] Bertinetto, L. et al. (2019). Meta-learning with differentiable closed-form solvers. ICLR.
    .. [3] Martens, H. et al. (2003). Pre-whitening of data by covariance-weighted pre-processing. Journal of Chemometrics 17.

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
    #: Pickles of earlier versions have none.
    metadata: Mapping[str, Any] | None = None

    # Metadata routing: requested by both methods, or scikit-learn finds them in conflict in a pipeline.
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
        """Return an embedder on the product of a pretraining run.

        Parameters
        ----------
        folder : path
            ``run.out`` of the run: its best checkpoint by validation loss, or its last one.
        **parameters : of the embedder

        Raises
        ------
        CheckpointError
            The folder holds no checkpoint.
        """
        for name in ("best.safetensors", "last.safetensors"):
            if (Path(folder) / name).is_file():
                return cls(str(Path(folder) / name), **parameters)
        raise CheckpointError(
            f"{folder} holds no best.safetensors or last.safetensors; give the folder of a pretraining run."
        )

    @all_or_nothing
    def fit(self, X: Any, y: Any = None, *, wavelengths: Any = None, metadata: Any = None) -> SpectralEmbedder:  # noqa: ARG002
        """Check the spectra's axis and the checkpoint, and look at how much each column varies.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_wavelengths), data frame, or list of 1-D arrays
            Spectra; a list may hold spectra of unequal length, each with its own wavelengths. NaN is a missing point.
        y : ignored
            Present by convention.
        wavelengths : array-like of shape (n_wavelengths,) or (n_samples, n_wavelengths), or list of arrays
            Axis of the spectra, or one axis per spectrum.
        metadata : mapping of str to scalar or array-like of shape (n_samples,), or data frame of n_samples rows
            Metadata of these spectra; a field replaces the same field of the constructor. None and NaN are missing values, unknown
            categories count as missing. `transform` does not remember them. ``spectral_start``, ``spectral_stop`` and ``spectral_step``
            are taken from the wavelengths.

        Returns
        -------
        SpectralEmbedder
            This object.

        Raises
        ------
        SpectralInputError
            Infinity or fill values, more than half of a spectrum missing, not 2-D, no rows.
        SpectralAxisError
            Wavelengths of the wrong number, duplicated, not positive, out of range; column names that contradict them.
        CheckpointError
            Weights that are missing, damaged or of a newer format.
        ValueError
            Metadata of the wrong number, fields that the encoder does not know, or a read-out that does not depend on metadata.

        Warns
        -----
        UserWarning
            Spectra that hold no signal, by row: nothing that is fitted depends on them. Categories that the encoder does not know.
        """
        self.fit_transform(X, wavelengths=wavelengths, metadata=metadata)
        return self

    def transform(self, X: Any, *, wavelengths: Any = None, metadata: Any = None) -> NDArray[np.float32]:
        """Embed spectra.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_wavelengths), data frame, or list of 1-D arrays
            Spectra, on the grid seen in `fit` or on any other whose wavelengths are given here or in
            the column names. NaN is a missing point.
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
            As in `fit`; another `readout`, `robust`, `align` or `append_spectra` than there.
        """
        require_fitted(self)
        blocks = self._with_metadata(self.resolve(X, wavelengths), metadata)
        if self.on_outlier != "ignore":
            from .embedding.novelty import report_outliers

            report_outliers(self._outlier_scores(blocks), self.on_outlier)
        return self._adapted(self._columns(blocks))

    @all_or_nothing
    def adapt_to(self, X: Any, *, wavelengths: Any = None, metadata: Any = None) -> SpectralEmbedder:
        """Bring what `transform` gives from now on from a second instrument to the calibration's, by spectra without reference values.

        What differs between the mean embeddings of both instruments is taken off, unless it may be a difference of the samples: the
        spectra need not be of the calibration's samples, nor of the same population. Afterwards this object is for the second
        instrument; ``copy.deepcopy`` it first to keep one for each, or call `nirs4all_vit.adapt_to` on a whole pipeline.
        Called again, it starts anew.

        Parameters
        ----------
        X, wavelengths, metadata : as in `transform`
            Five spectra of the second instrument or more; thirty and more are better.

        Returns
        -------
        SpectralEmbedder
            This object.

        Raises
        ------
        SpectralInputError
            Fewer than five different spectra, and as in `transform`.
        SpectralAxisError, CheckpointError
            As in `transform`.

        Warns
        -----
        UserWarning
            The spectra do not differ from the calibration's beyond what samples do: nothing is changed. Or they do, and it might still be the
            samples.
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
                "these spectra differ from the calibration's by no more than the samples of one instrument do: the embedding "
                "is left as it is.",
                UserWarning,
                stacklevel=3,
            )
        elif shift.is_doubtful:
            warnings.warn(
                "these spectra differ from the calibration's, but samples unlike the calibration's might explain it. If they are of the same "
                "instrument, do not adapt; if of another, give samples like those of the calibration.",
                UserWarning,
                stacklevel=3,
            )
        return self

    def embed(self, blocks: list[Spectra]) -> NDArray[np.float32]:
        """Return what `transform` does of blocks of checked spectra with the constructor's metadata, past the cache and the look for outliers.

        Parameters
        ----------
        blocks : list of Spectra
            A 1-D grid per block, as `resolve` returns them.

        Returns
        -------
        ndarray of shape (n_spectra, n_columns), float32
        """
        require_fitted(self)
        return self._adapted(self._columns(self._with_metadata(blocks), cached=False))

    @property
    def encoder_(self) -> SpectralPerceiver:
        """The frozen encoder, shared with others; raises `CheckpointError` where the file holds other weights than in `fit`."""
        return self._checkpoint().encoder

    @available_if(lambda self: self.on_outlier != "ignore")
    def score_samples(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return how usual spectra are beside those of `fit` (n_samples,), below 0 for outliers, as in `SpectralNovelty`.

        There with ``on_outlier="warn"`` and ``"raise"`` only.
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
        # Spectra without a signal say nothing of the material.
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
        """Return all columns of `transform`, before anything is taken for a second instrument."""
        embedded = self._encoded(blocks, cached=cached)
        self.column_weighting_.apply(embedded)
        if self.robust:
            self.glsw_.apply(embedded)
        return self._with_spectra(embedded, blocks)

    def _outlier_scores(self, blocks: list[Spectra]) -> NDArray[np.float64]:
        if not hasattr(self, "novelty_"):
            raise ValueError("nothing is known of outliers; fit with on_outlier='warn' or 'raise'.")
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
        """Forget the embeddings that `cache` keeps: all of this process, or all in that folder."""
        clear(self.cache)

    def expect_host_axis(self, expected: bool) -> None:
        """Tell whether nirs4all has a usable axis to hand over; without one `fit` assumes an even grid, with a warning."""
        self._host_axis_expected = expected

    @property
    def _requires_wavelengths(self) -> bool:
        """Tell nirs4all to pass ``wavelengths=`` to `fit`, unless the user has given them already."""
        return self.wavelengths is None and getattr(self, "_host_axis_expected", True)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.allow_nan = True
        return tags


# By name: the host's part is imported when nirs4all is, and not before.
for _module, _hook in (
    ("controllers", "register_embedder"),
    ("pipeline.dagml.node_runner", "tolerate_missing_axis"),
    ("pipeline.dagml.envelope", "read_framed_headers"),
):
    wrapt.register_post_import_hook(f"nirs4all_vit.nirs4all_host.hooks:{_hook}", f"nirs4all.{_module}")
