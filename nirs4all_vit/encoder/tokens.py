"""Tokens of a spectrum, which the latents attend to: content and position of points or patches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .config import EncoderConfig
from .grid import Grid
from .local_contrast import N_COEFFICIENTS, WEIGHT, LocalContrast
from .positional import WavelengthPositionalEncoding

#: Columns of the compact code per patch, by scale, coarsest first; 512 in total with four scales.
_CODE = (11, 7, 8, 10, 4, 2)


class Tokenizer(nn.Module):
    """Base class of the two kinds of tokens.

    Attributes
    ----------
    n_content : int
        Content values per token.
    n_place : int
        Position values per token.
    n_target : int
        Values per token that masked modelling predicts.
    """

    n_content: int
    n_place: int
    n_target: int

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.encoding = WavelengthPositionalEncoding(2 * config.n_frequencies, config.axis_scale == "log")

    def width(self, readout: str) -> int | None:
        """Return the number of columns of a read-out that needs no latents; None for others."""
        raise NotImplementedError

    def content(self, x: Tensor, grid: Grid, visible: Tensor | None = None) -> Tensor:
        """Return the content (B, N, n_content) of the tokens of normalised spectra (B, L)."""
        raise NotImplementedError

    def place(self, grid: Grid, chosen: Tensor | None = None) -> Tensor:
        """Return positions of tokens (N, n_place), or (B, N, n_place) with a grid per spectrum.

        With indices of tokens `chosen` (B, K), return the positions of these (B, K, n_place).
        """
        raise NotImplementedError

    def forward(
        self, content: Tensor, grid: Grid, visible: Tensor | None = None, n_visible: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return tokens (B, N, D) and their bias of the attention logits, (..., N) or None.

        Masked points may have no tokens; visible points have at most `n_visible` per spectrum.
        """
        raise NotImplementedError

    def read_out(self, content: Tensor, statistics: Tensor, readout: str) -> Tensor:
        """Return a read-out that needs no latents, (B, width(readout))."""
        raise NotImplementedError

    def target(self, content: Tensor) -> Tensor:
        """Return the values that masked modelling predicts, (B, N, n_target)."""
        raise NotImplementedError

    def hidden(self, grid: Grid, visible: Tensor) -> Tensor:
        """Return which tokens are masked, bool (B, N)."""
        raise NotImplementedError


class PointTokens(Tokenizer):
    """One token per point: its value, its position in the range, its encoded wavelength."""

    n_content, n_target = 1, 1

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.n_place = 1 + self.encoding.d_model
        self.project = nn.Linear(self.n_content + self.n_place, config.d_model)

    def width(self, readout: str) -> int | None:  # noqa: ARG002
        return None

    def content(self, x: Tensor, grid: Grid, visible: Tensor | None = None) -> Tensor:  # noqa: ARG002
        return x.unsqueeze(-1)

    def place(self, grid: Grid, chosen: Tensor | None = None) -> Tensor:
        relative, log_wavelength = grid.relative, grid.log_wavelength
        if chosen is not None:
            relative, log_wavelength = (of_tokens(v, chosen) for v in (relative, log_wavelength))
        return torch.cat([relative.unsqueeze(-1), self.encoding.of_log(log_wavelength)], dim=-1)

    def forward(
        self, content: Tensor, grid: Grid, visible: Tensor | None = None, n_visible: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        # The quadrature weight as an additive bias: a region is weighted by width, not by density.
        bias = grid.quadrature.clamp_min(1e-12).log().expand(content.shape[:2])
        shown, chosen = grid.valid, None
        if visible is not None:
            # Two of three points are masked: tokens of the visible ones save time.
            chosen, shown = packed(visible if grid.valid is None else visible & grid.valid, n_visible)
            content, bias = take_tokens(content, chosen), take_tokens(bias, chosen)
        place = self.place(grid, chosen)
        tokens = self.project(torch.cat([content, place.expand(len(content), *place.shape[-2:])], dim=-1))
        return tokens, bias if shown is None else bias.masked_fill(~shown, -torch.inf)

    def target(self, content: Tensor) -> Tensor:
        return content

    def hidden(self, grid: Grid, visible: Tensor) -> Tensor:
        return ~visible if grid.valid is None else ~visible & grid.valid


class PatchTokens(Tokenizer):
    """One token per patch of local contrast.

    A token has the features of the patch, its centre and width in ln(wavelength), and its scale.
    Two read-outs need no latents: ``contrast``, all features, and ``compact``, a linear code of
    each patch in a few columns (`fit_code`). The scale of the spectrum rotates both: without it,
    the error is up to seven times as large for analytes that depend on the amount of light
    (research log, section 25).
    """

    code: Tensor
    columns: Tensor
    phase: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.contrast = LocalContrast(config.n_scales, config.patch_hidden)
        self.n_content, self.n_target = self.contrast.n_features, N_COEFFICIENTS
        # Encoded centre, logarithms of the width and of the range, one indicator per scale.
        self.n_place = self.encoding.d_model + 2 + config.n_scales
        self.project = nn.Linear(self.n_content + self.n_place, config.d_model)
        code = torch.empty(self.contrast.n_patches, self.n_content, max(_CODE))
        # Indices of the used columns: `code` has max(_CODE) per patch, coarse and fine alike. Both
        # constants are on the CPU even if the module is built on "meta".
        columns = [i * max(_CODE) + j for i, k in enumerate(self.contrast.scales()) for j in range(_CODE[k])]
        self.register_buffer("columns", torch.tensor(columns, device="cpu"), persistent=False)
        # Phases of plus and minus pi / 4, alternating between columns and between patches.
        sides = [1 - 2 * ((i + j) % 2) for i, k in enumerate(self.contrast.scales()) for j in range(_CODE[k])]
        phase = torch.tensor(sides, dtype=torch.float32, device="cpu") * (-torch.pi / 4)
        self.register_buffer("phase", phase, persistent=False)
        self.register_buffer("code", code if code.is_meta else WEIGHT * torch.randn(code.shape))

    def width(self, readout: str) -> int | None:
        if readout == "compact":
            return sum(_CODE[k] for k in self.contrast.scales())
        return 2 * self.contrast.n_patches * self.n_content if readout == "contrast" else None

    def content(self, x: Tensor, grid: Grid, visible: Tensor | None = None) -> Tensor:
        return self.contrast(x, grid, visible)

    def place(self, grid: Grid, chosen: Tensor | None = None) -> Tensor:
        if chosen is not None:
            place = self.place(grid)
            return place[chosen] if place.dim() == 2 else take_tokens(place, chosen)
        centre, width, scale = self.contrast.places(grid.span.device)
        first = grid.log_wavelength[..., :1]
        encoded = self.encoding.of_log(first + grid.span * centre)
        sizes = torch.stack(
            [(grid.span * width).log(), grid.span.log().expand(*grid.span.shape[:-1], len(width))], dim=-1
        )
        kind = (scale.unsqueeze(-1) == torch.arange(self.contrast.n_scales, device=scale.device)).float()
        return torch.cat([encoded, sizes, kind.expand(*sizes.shape[:-1], -1)], dim=-1)

    def forward(
        self,
        content: Tensor,
        grid: Grid,
        visible: Tensor | None = None,
        n_visible: int | None = None,  # noqa: ARG002 - each patch is a token, masked or not
    ) -> tuple[Tensor, Tensor | None]:
        place = self.place(grid)
        place = place.expand(len(content), *place.shape[-2:])
        tokens = self.project(torch.cat([self.contrast.unweighted(content), place], dim=-1))
        if visible is None:
            return tokens, None
        # A patch is weighted by its visible fraction.
        return tokens, self._share(grid, visible).clamp_min(1e-4).log().float()

    def read_out(self, content: Tensor, statistics: Tensor, readout: str) -> Tensor:
        if readout == "contrast":
            return self.contrast.turned(content, statistics[:, 1:])
        coded = torch.einsum("bpf,pfk->bpk", content, self.code).flatten(1)[:, self.columns]
        # Half of the columns are rotated each way, in place of the cosine and sine of `contrast`.
        return coded * (2.0**0.5 * (self.contrast.angle(statistics[:, 1:]) - self.phase).cos())

    def target(self, content: Tensor) -> Tensor:
        return self.contrast.unweighted(content)[..., : self.n_target]

    def hidden(self, grid: Grid, visible: Tensor) -> Tensor:
        return self._share(grid, visible) < 0.5

    def _share(self, grid: Grid, visible: Tensor) -> Tensor:
        return self.contrast.over_patches(self.contrast.visible_share(visible, grid))


def packed(shown: Tensor, longest: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the indices of the visible tokens of each row, padded to equal length.

    Parameters
    ----------
    shown : bool Tensor of shape (B, N)
        True for visible tokens.
    longest : int, optional
        Largest number of tokens of a row (K), the first ones; by default that of the longest row.

    Returns
    -------
    chosen : int64 Tensor of shape (B, K)
        Indices in ascending order, then padding.
    valid : bool Tensor of shape (B, K)
        False on padding.
    """
    counts = shown.sum(dim=1, keepdim=True)
    longest = int(counts.max()) if longest is None else longest
    chosen = shown.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :longest]
    return chosen, torch.arange(longest, device=shown.device) < counts


def take_tokens(values: Tensor, chosen: Tensor) -> Tensor:
    """Return values (B, N) or (B, N, C) at the indices from `packed`, (B, K) or (B, K, C)."""
    index = chosen if values.dim() == 2 else chosen.unsqueeze(-1).expand(-1, -1, values.shape[-1])
    return values.gather(1, index)


def of_tokens(values: Tensor, chosen: Tensor) -> Tensor:
    """Return values of a shared axis (N,), or an axis per spectrum (B, N), at indices (B, K)."""
    return values[chosen] if values.dim() == 1 else values.gather(1, chosen)


def make_tokenizer(config: EncoderConfig) -> Any:
    """Return the tokenizer of a configuration."""
    return {"patches": PatchTokens, "points": PointTokens}[config.tokens](config)
