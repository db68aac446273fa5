"""The Spectral Perceiver: encodes any spectrum into a fixed number of latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .attention import CrossAttention, LatentBlock
from .config import EncoderConfig
from .grid import Grid
from .metadata import MetadataEmbedding
from .normalisation import SpectrumNormalisation
from .padding import padded
from .readouts import DEFAULT_READOUT, READOUTS
from .tokens import make_tokenizer

#: Columns of the compact read-out per latent, for tokens without their own code (points).
_PER_LATENT = 8


class SpectralPerceiver(nn.Module):
    """Encode spectra of any length and wavelength grid.

    Parameters
    ----------
    config : EncoderConfig, optional
        Shape of the network.
    **settings
        Fields of `EncoderConfig`, instead of `config`. With settings, `tokens` defaults to
        ``"points"``, the textbook Perceiver:
        ``SpectralPerceiver(d_model=128, n_latents=64, n_cross_layers=2, n_self_layers=3)``.

    Notes
    -----
    Spectra that share a grid are encoded as one matrix; spectra on different grids are padded, with
    a validity mask. Both give the same numbers.

    References
    ----------
    Jaegle, A. et al. (2021). Perceiver: General Perception with Iterative Attention. ICML.
    """

    def __init__(self, config: EncoderConfig | None = None, **settings: Any) -> None:
        super().__init__()
        if config is not None and settings:
            raise ValueError(f"give config or its fields, not both ({', '.join(sorted(settings))}).")
        if config is None:
            config = EncoderConfig(**{"tokens": "points", **settings}) if settings else EncoderConfig()
        self.config = config
        d_model, m = config.d_model, config.n_latents
        self.normalisation = SpectrumNormalisation(config.normalisation)
        self.tokenizer = make_tokenizer(config)
        self.latents = _normal(m + 1, d_model, divisor=2.0)
        self.statistics = nn.Linear(2, d_model)
        has_metadata = bool(config.categorical or config.numeric)
        self.metadata = (
            MetadataEmbedding(config.categorical, config.numeric, d_model, config.d_meta) if has_metadata else None
        )
        self.cross = nn.ModuleList(
            [CrossAttention(d_model, config.n_heads, config.dropout) for _ in range(config.n_cross_layers)]
        )
        self.blocks = nn.ModuleList(
            [
                LatentBlock(d_model, config.n_heads, config.mlp_ratio, config.dropout)
                for _ in range(config.n_self_layers)
            ]
        )
        self.norm = nn.LayerNorm(d_model)
        if self.tokenizer.width("compact") is None:
            self.compact = _normal(m, d_model, _PER_LATENT, divisor=d_model**0.5)
        #: Recompute blocks in the backward pass: less memory, more time.
        self.gradient_checkpointing = False

    def forward(
        self,
        x: Tensor | Sequence[Tensor],
        wavelengths: Tensor | Sequence[Tensor] | Grid,
        valid: Tensor | None = None,
        readout: str = DEFAULT_READOUT,
        *,
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> Tensor:
        """Encode spectra into a read-out; layers that the read-out does not need are skipped.

        Parameters
        ----------
        x : Tensor of shape (B, L), or sequence of B tensors of shape (L_i,)
            Spectra; a sequence may mix lengths and grids.
        wavelengths : Tensor of shape (L,) or (B, L), sequence of B tensors of shape (L_i,), or Grid
            Wavelengths of the spectra in nm, ascending.
        valid : bool Tensor of shape (B, L), optional
            False on padding, if the spectra are already padded.
        readout : {"contrast", "compact", "mean", "cls"}
            Read-out to return.
        metadata : sequence of mappings, optional
            One dictionary per spectrum; any field may be missing.

        Returns
        -------
        Tensor of shape (B, width(readout))

        Raises
        ------
        ValueError
            Spectra and axes differ in number or length; `valid` and the spectra differ in shape, or
            `valid` is given with a list; the encoder does not have the read-out.
        """
        x, grid = padded(x, wavelengths, valid)
        width = self.width(readout)
        if self.tokenizer.width(readout) == width:
            return self.direct(x, grid, readout)
        return self.read_out(self.encode(x, grid, metadata=metadata), readout)

    def encode(
        self,
        x: Tensor,
        grid: Grid,
        *,
        visible: Tensor | None = None,
        n_visible: int | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> Tensor:
        """Return layer-normalised latents (B, 1 + M, D) of spectra (B, L), the CLS latent first.

        `visible` (B, L) is False for masked points (masked modelling). `n_visible` is the largest
        number of visible points read from a spectrum, the first ones; without it, the CPU waits
        for a GPU to count them.
        """
        x, statistics = self.normalisation(x, grid, visible)
        tokens, bias = self.tokenizer(self.tokenizer.content(x, grid, visible), grid, visible, n_visible)
        latents = self.latents + self.statistics(statistics).unsqueeze(1)
        if self.metadata is not None:
            latents = latents + self.metadata(metadata or [{}] * len(x)).unsqueeze(1)
        # Cross-attention layer j precedes block j * n_self_layers // n_cross_layers.
        readers = {j * len(self.blocks) // len(self.cross): layer for j, layer in enumerate(self.cross)}
        for i, block in enumerate(self.blocks):
            if i in readers:
                latents = latents + readers[i](latents, tokens, bias)
            if self.gradient_checkpointing and self.training:
                latents = checkpoint(block, latents, use_reentrant=False)
            else:
                latents = block(latents)
        return self.norm(latents)

    def direct(self, x: Tensor, grid: Grid, readout: str) -> Tensor:
        """Return a read-out of patches (B, width) without latents: ``contrast`` or ``compact``."""
        x, statistics = self.normalisation(x, grid)
        content = self.tokenizer.content(x, grid)
        return self.config.readout_scale * self.tokenizer.read_out(content, statistics, readout)

    def read_out(self, latents: Tensor, readout: str) -> Tensor:
        """Return a read-out (B, width) of latents (B, 1 + M, D): ``mean``, ``cls``, ``compact``.

        ``compact`` is computed from latents only for points.
        """
        if readout == "mean":
            return latents[:, 1:].mean(dim=1)
        if readout == "cls":
            return latents[:, 0]
        compact = torch.einsum("bmd,mdk->bmk", latents[:, 1:], self.compact).flatten(1)
        return compact * (self.config.readout_scale / compact.shape[1] ** 0.5)

    def width(self, readout: str) -> int:
        """Return the number of columns of a read-out.

        Raises
        ------
        ValueError
            The read-out does not exist, or this encoder does not have it.
        """
        if readout not in READOUTS:
            raise ValueError(f"readout={readout!r} does not exist; use one of {', '.join(READOUTS)}.")
        width = self.tokenizer.width(readout)
        if width is None and readout == "contrast":
            raise ValueError("an encoder of points has no read-out 'contrast'; use compact, mean or cls.")
        latent = self.config.n_latents * _PER_LATENT if readout == "compact" else self.config.d_model
        return latent if width is None else width

    def block_widths(self, readout: str) -> tuple[int, ...]:
        """Return the number of columns of each scale of ``contrast``, in column order.

        Any other read-out is one block.
        """
        if readout != "contrast" or self.tokenizer.width("contrast") is None:
            return (self.width(readout),)
        scales = self.tokenizer.contrast.scales()
        per_patch = self.width(readout) // len(scales)
        return tuple(per_patch * scales.count(k) for k in dict.fromkeys(scales))

    def reads_metadata(self, readout: str) -> bool:
        """Return whether a read-out uses metadata: it uses latents, and the encoder has fields."""
        return self.metadata is not None and self.tokenizer.width(readout) is None

    def readouts(self) -> tuple[str, ...]:
        """Return the read-outs that this encoder has."""
        return READOUTS if self.tokenizer.width("contrast") is not None else READOUTS[1:]


def _normal(*shape: int, divisor: float) -> nn.Parameter:
    """Draw initial values, unless on "meta": drawing there takes 1-2 s to load torch's tracer."""
    values = torch.empty(shape)
    return nn.Parameter(values if values.is_meta else torch.randn(shape) / divisor)
