"""The Spectral Perceiver: any spectrum to a fixed set of latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .banded import Banded
from .block import LatentBlock
from .config import EncoderConfig
from .content_attention import ContentKeyedAttention
from .grid import Grid
from .local_contrast import LocalContrast
from .metadata import MetadataEmbedding
from .normalisation import SpectrumNormalisation
from .position_attention import PositionKeyedAttention, Windows
from .positional import WavelengthEncoding
from .readouts import DEFAULT_READOUT
from .readouts import READOUTS as READOUTS

#: Of the latents in the read-out `windows`, beside local contrast. Between a twentieth and twice as much a ridge tells no difference
#: (research log, sections 21 and 24).
_WINDOWS_WEIGHT = 0.5


class Latents(NamedTuple):
    """States of the encoder.

    Attributes
    ----------
    windows : Tensor of shape (B, M, D)
        Latents that have read the spectrum, before the first block.
    layers : Tensor of shape (B, M, K * D)
        Latents after each of the last K <= 2 blocks, layer-normalised, side by side.
    cls : Tensor of shape (B, D)
        The CLS latent, which reads no window of its own, after the last block, layer-normalised.
    contrast : Tensor of shape (B, C), or None
        The read-out of local contrast, where the encoder has it.
    """

    windows: Tensor
    layers: Tensor
    cls: Tensor
    contrast: Tensor | None = None


class SpectralPerceiver(nn.Module):
    """Encode spectra of any length and wavelength grid.

    Parameters
    ----------
    config : EncoderConfig
        Shape of the network.

    Notes
    -----
    Spectra that share a grid go through as one matrix, ``encode(x, grid)`` with a 1-D grid; spectra on
    different grids go through padded, with a 2-D grid that carries a validity mask. Both give the same
    numbers.

    References
    ----------
    Jaegle, A. et al. (2021). Perceiver: General Perception with Iterative Attention. ICML.
    """

    def __init__(self, config: EncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or EncoderConfig()
        d_model, m = config.d_model, config.n_latents
        self.n_layers = min(2, config.n_blocks)
        self.normalisation = SpectrumNormalisation(config.normalisation)
        self.encoding = WavelengthEncoding(config.n_frequencies, config.axis_scale)
        self.latents = _normal(m + 1, d_model, divisor=2.0)
        self.statistics = nn.Linear(2, d_model)
        if config.attention == "position":
            self.attention = PositionKeyedAttention(m, config.n_windows)
            self.read = nn.ModuleList([nn.Linear(config.n_windows, d_model) for _ in range(config.n_cross)])
            self.place = nn.Linear(self.encoding.n_features + config.n_windows, d_model)
        else:
            self.read = nn.ModuleList(
                [ContentKeyedAttention(d_model, config.n_windows, self.encoding) for _ in range(config.n_cross)]
            )
        self.contrast = LocalContrast(config.n_scales, config.patch_hidden) if config.n_scales else None
        has_metadata = bool(config.categorical or config.numeric)
        self.metadata = MetadataEmbedding(config.categorical, config.numeric, d_model) if has_metadata else None
        self.blocks = nn.ModuleList(
            [LatentBlock(d_model, config.n_heads, config.mlp_ratio) for _ in range(config.n_blocks)]
        )
        self.norms = nn.ModuleList([nn.LayerNorm(d_model) for _ in range(self.n_layers)])
        width = self.n_layers * d_model
        self.compact = _normal(m, width, config.compact_per_latent, divisor=width**0.5)
        #: Recompute blocks in the backward pass: less memory, more time.
        self.gradient_checkpointing = False

    def windows(self, grid: Grid, dtype: torch.dtype = torch.float32) -> Windows | None:
        """Return what depends on the grid alone; None for content-keyed attention.

        In float64 the sums over a spectrum's points do not depend on padding to single precision.
        """
        if self.config.attention != "position":
            return None
        parts = grid.per_distinct(lambda distinct: self.attention.windows(distinct, dtype))  # type: ignore[arg-type, return-value] # none is banded
        return Windows(*parts)

    def bins(self, grid: Grid, dtype: torch.dtype = torch.float32) -> Tensor | None:
        """Return the bins of a grid, for local contrast; None without."""
        contrast = self.contrast
        if contrast is None:
            return None
        return grid.per_distinct(lambda distinct: (contrast.bins(distinct, dtype),))[0]

    def encode(
        self,
        x: Tensor,
        grid: Grid,
        *,
        windows: Windows | None = None,
        bins: Tensor | Banded | None = None,
        visible: Tensor | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        chunk: int | None = None,
    ) -> Latents:
        """Encode spectra.

        Parameters
        ----------
        x : Tensor of shape (B, L)
            Spectra as measured.
        grid : Grid
            One grid for all (L,), or a grid per spectrum (B, L) with its validity mask.
        windows : Windows, optional
            ``self.windows(grid)`` where the caller keeps it; computed otherwise.
        bins : Tensor or Banded, optional
            ``self.bins(grid)``, likewise.
        visible : bool Tensor of shape (B, L), optional
            Points that may be seen (masked modelling).
        metadata : sequence of mappings, optional
            One dictionary per spectrum, each as sparse as it likes.
        chunk : int, optional
            Spectra that go through the blocks at a time, so that what is between layers stays in a processor's cache;
            all by default. Without effect on content-keyed attention.

        Returns
        -------
        Latents
        """
        first, others, source, contrast = self._read(x, grid, windows, bins, visible, metadata)
        latents = torch.cat([first, others], dim=1)
        if chunk is None or self.config.attention != "position":
            return Latents(others, *self._transformed(latents, *source), contrast)
        parts = zip(latents.split(chunk), source[0].split(chunk), strict=True)
        layers, cls = zip(*(self._transformed(*part) for part in parts), strict=True)
        return Latents(others, torch.cat(layers), torch.cat(cls), contrast)

    def _read(
        self,
        x: Tensor,
        grid: Grid,
        windows: Windows | None,
        bins: Tensor | Banded | None,
        visible: Tensor | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> tuple[Tensor, Tensor, tuple[Any, ...], Tensor | None]:
        """Return the CLS latent (B, 1, D) and the others (B, M, D) before the first block, what these have read, and `contrast` of `Latents`.

        What they read are values of windows, or spectra with their grid and what is visible of them.
        """
        x, statistics = self.normalisation(x, grid, visible)
        contrast = None
        if self.contrast is not None:
            bins = self.bins(grid) if bins is None else bins
            contrast = self.contrast(x, statistics[:, 1:], bins, visible, self.config.readout_scale)
        if self.config.attention != "position":
            latents = self.latents + self._common(statistics, metadata)
            latents = latents + self.read[0](latents, x, grid, visible)
            return latents[:, :1], latents[:, 1:], (x, grid, visible), contrast
        windows = windows or self.windows(grid)
        assert windows is not None
        values, coverage = self.attention(x, windows, visible)
        # In full precision: small differences between windows carry the chemistry.
        with torch.autocast(x.device.type, enabled=False):
            common = self._common(statistics, metadata)
            # In place: most of the time goes into memory.
            others = self.read[0](values).add_(self.latents[1:] + self._placed(windows, coverage)).add_(common)
            return self.latents[:1] + common, others, (values,), contrast

    def _common(self, statistics: Tensor, metadata: Sequence[Mapping[str, Any]] | None) -> Tensor:
        """Return what all latents of a spectrum are told, (B, 1, D)."""
        common = self.statistics(statistics).unsqueeze(1)
        if self.metadata is None:
            return common
        return common + self.metadata(metadata or [{}] * len(statistics)).unsqueeze(1)

    def _transformed(self, latents: Tensor, *source: Any) -> tuple[Tensor, Tensor]:
        """Return `layers` and `cls` of `Latents`."""
        after: list[Tensor] = []
        # Cross-attention layer j stands before block j * n_blocks / n_cross; the first one has read already.
        schedule = {j * len(self.blocks) // len(self.read): layer for j, layer in enumerate(self.read) if j}
        for i, block in enumerate(self.blocks):
            if i in schedule:
                if self.config.attention == "position":
                    with torch.autocast(latents.device.type, enabled=False):
                        latents = latents + _beside_cls(schedule[i](*source))
                else:
                    latents = latents + schedule[i](latents, *source)
            if self.gradient_checkpointing and self.training:
                latents = checkpoint(block, latents, use_reentrant=False)
            else:
                latents = block(latents)
            after.append(latents)
        normed = [norm(state) for norm, state in zip(self.norms, after[-self.n_layers :], strict=True)]
        return torch.cat([state[:, 1:] for state in normed], dim=-1), normed[-1][:, 0]

    def local_contrast(
        self, x: Tensor, grid: Grid, *, bins: Tensor | Banded | None = None, visible: Tensor | None = None
    ) -> Tensor:
        """Return the ``contrast`` read-out alone, without a pass through the latents.

        Parameters
        ----------
        x : Tensor of shape (B, L)
            Spectra as measured.
        grid : Grid
            As in `encode`.
        bins : Tensor or Banded, optional
            ``self.bins(grid)`` where the caller keeps it; computed otherwise.
        visible : bool Tensor of shape (B, L), optional
            Points that may be seen.

        Returns
        -------
        Tensor of shape (B, width("contrast"))
        """
        if self.contrast is None:
            raise _no_contrast()
        x, statistics = self.normalisation(x, grid, visible)
        bins = self.bins(grid) if bins is None else bins
        return self.contrast(x, statistics[:, 1:], bins, visible, self.config.readout_scale)

    def read_out(self, latents: Latents, kind: str = DEFAULT_READOUT) -> Tensor:
        """Turn latents into one row per spectrum: ``windows``, ``latents``, ``contrast``, ``compact``, ``mean`` or ``cls``."""
        scale = self.config.readout_scale
        if kind == "windows":
            return self._windows_read_out(latents.windows, latents.contrast)
        if kind == "latents":
            layers = latents.layers.flatten(1)
            layers = layers * (scale / layers.shape[1] ** 0.5)
            return layers if latents.contrast is None else torch.cat([layers, latents.contrast], dim=1)
        if kind == "contrast":
            if latents.contrast is None:
                raise _no_contrast()
            return latents.contrast
        if kind == "compact":
            compact = torch.einsum("bmd,mdk->bmk", latents.layers, self.compact)
            return compact.flatten(1) * (scale / self.width(kind) ** 0.5)
        if kind == "mean":
            return latents.layers[..., -self.config.d_model :].mean(dim=1)
        if kind == "cls":
            return latents.cls
        raise ValueError(f"readout={kind!r}; use one of {', '.join(READOUTS)}.")

    def _windows_read_out(self, before: Tensor, contrast: Tensor | None) -> Tensor:
        # Layer norm, written out: on rows so short torch's takes twice as long.
        before = before.float()
        centred = before - before.mean(dim=-1, keepdim=True)
        square = torch.linalg.vector_norm(centred, dim=-1, keepdim=True).square() / self.config.d_model
        scale = _WINDOWS_WEIGHT * self.config.readout_scale / (self.config.n_latents * self.config.d_model) ** 0.5
        normed = centred * (scale * (square + 1e-5).rsqrt())
        return normed.flatten(1) if contrast is None else torch.cat([normed.flatten(1), contrast], dim=1)

    def embed(
        self,
        x: Tensor,
        grid: Grid,
        readout: str = DEFAULT_READOUT,
        *,
        windows: Windows | None = None,
        bins: Tensor | Banded | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        chunk: int | None = None,
    ) -> Tensor:
        """Encode and read out, with no more work than the read-out needs: windows have no use for blocks, local contrast none for latents.

        Parameters are those of `encode`; returns (B, width(readout)).
        """
        if readout == "contrast":
            return self.local_contrast(x, grid, bins=bins)
        if readout == "windows":
            _, before, _, contrast = self._read(x, grid, windows, bins, metadata=metadata)
            return self._windows_read_out(before, contrast)
        latents = self.encode(x, grid, windows=windows, bins=bins, metadata=metadata, chunk=chunk)
        return self.read_out(latents, readout)

    def width(self, kind: str) -> int:
        """Return the number of columns of a read-out."""
        config = self.config
        contrast = self.contrast.width if self.contrast else 0
        return {
            "windows": config.n_latents * config.d_model + contrast,
            "latents": config.n_latents * self.n_layers * config.d_model + contrast,
            "contrast": contrast,
            "compact": config.n_latents * config.compact_per_latent,
        }.get(kind, config.d_model)

    def forward(
        self,
        x: Tensor | Sequence[Tensor],
        wavelengths: Tensor | Sequence[Tensor],
        valid: Tensor | None = None,
        readout: str = DEFAULT_READOUT,
    ) -> Tensor:
        """Encode spectra on wavelengths in nm (ascending) and read them out in one go.

        Parameters
        ----------
        x : Tensor of shape (B, L), or sequence of B tensors of shape (L_i,)
            Spectra; a sequence may mix lengths and grids.
        wavelengths : Tensor of shape (L,) or (B, L), or sequence of B tensors of shape (L_i,)
            Their axes.
        valid : bool Tensor of shape (B, L), optional
            False on padding, where spectra are padded already.
        readout : str
            One of ``READOUTS``.

        Returns
        -------
        Tensor of shape (B, width(readout))

        Raises
        ------
        ValueError
            Spectra and axes of different number or length; `valid` of another shape than the spectra, or beside a list.
        """
        if not isinstance(x, Tensor) or not isinstance(wavelengths, Tensor):
            if valid is not None:
                raise ValueError("spectra in a list bring their own lengths; valid= goes with padded tensors.")
            x, wavelengths, valid = _padded(list(x), wavelengths)
        elif valid is not None:
            if valid.shape != x.shape:
                raise ValueError(
                    f"valid has shape {tuple(valid.shape)}, the spectra {tuple(x.shape)}; they must agree."
                )
            wavelengths = wavelengths.expand(x.shape)
        return self.embed(x, Grid.from_wavelengths(wavelengths, valid), readout)

    def _placed(self, windows: Windows, coverage: Tensor) -> Tensor:
        """Tell each latent where its windows lie and how much of them the spectrum covers."""
        faded = windows.coverage
        position = (windows.position * faded).sum(-1) / faded.sum(-1).clamp_min(1e-6)
        code = self.encoding(position) * faded.amax(-1, keepdim=True)
        if coverage.dim() > code.dim():
            code = code.expand(coverage.shape[0], -1, -1)
        return self.place(torch.cat([code, coverage], dim=-1))


def _normal(*shape: int, divisor: float) -> nn.Parameter:
    """Draw initial values. Not on "meta", for weights from a file: a draw there loads torch's tracer, a second or two."""
    values = torch.empty(shape)
    return nn.Parameter(values if values.is_meta else torch.randn(shape) / divisor)


def _no_contrast() -> ValueError:
    return ValueError("this encoder has no local contrast (n_scales=0); use another read-out.")


def _beside_cls(update: Tensor) -> Tensor:
    """Prepend a zero update for the CLS latent, which reads no windows."""
    return nn.functional.pad(update, (0, 0, 1, 0))


def _padded(spectra: Sequence[Tensor], wavelengths: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Make one matrix of a list of spectra: as it is on one grid, else padded with the last wavelength."""
    axes = (
        [wavelengths] * len(spectra) if isinstance(wavelengths, Tensor) and wavelengths.ndim == 1 else list(wavelengths)
    )
    if len(axes) != len(spectra):
        raise ValueError(f"{len(axes)} axes for {len(spectra)} spectra; give one, or one per spectrum.")
    for i, (spectrum, axis) in enumerate(zip(spectra, axes, strict=True)):
        if len(spectrum) != len(axis):
            raise ValueError(f"spectrum {i} has {len(spectrum)} points, its axis {len(axis)}; they must agree.")
    if all(torch.equal(axis, axes[0]) for axis in axes[1:]):
        return torch.stack(list(spectra)), axes[0], None
    length = max(len(axis) for axis in axes)
    padded_axes = torch.stack([torch.cat([axis, axis[-1:].expand(length - len(axis))]) for axis in axes])
    valid = torch.stack([torch.arange(length, device=axis.device) < len(axis) for axis in axes])
    return nn.utils.rnn.pad_sequence(list(spectra), batch_first=True), padded_axes, valid
