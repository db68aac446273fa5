"""What the latents read of a spectrum: tokens that say what is there, and where it lies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .config import EncoderConfig
from .grid import Grid
from .local_contrast import N_COEFFICIENTS, WEIGHT, LocalContrast
from .positional import WavelengthPositionalEncoding

#: Columns of the compact code by scale, coarsest first: 512 in all with four scales.
_CODE = (11, 7, 8, 10, 4, 2)


class Tokenizer(nn.Module):
    """Common part of the two kinds of tokens.

    Attributes
    ----------
    n_content : int
        Numbers that a token says.
    n_place : int
        Numbers that tell where it lies.
    n_target : int
        Numbers of a token that masked modelling predicts.
    """

    n_content: int
    n_place: int
    n_target: int

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.encoding = WavelengthPositionalEncoding(2 * config.n_frequencies, config.axis_scale == "log")

    def width(self, readout: str) -> int | None:
        """Return the columns of a read-out that needs no latents; None for others."""
        raise NotImplementedError

    def content(self, x: Tensor, grid: Grid, visible: Tensor | None = None) -> Tensor:
        """Return what tokens say of normalised spectra (B, L), as (B, N, n_content)."""
        raise NotImplementedError

    def place(self, grid: Grid, chosen: Tensor | None = None) -> Tensor:
        """Return where tokens lie, (N, n_place), or (B, N, n_place) where each spectrum has its grid.

        `chosen` (B, K) are numbers of tokens, of which alone it is asked: (B, K, n_place).
        """
        raise NotImplementedError

    def forward(
        self, content: Tensor, grid: Grid, visible: Tensor | None = None, n_visible: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return tokens (B, N, D), and what is added to the logits of those that attend to them, (..., N) or None.

        Of points that are hidden there may be no tokens at all, and of those that are not, `n_visible` at most.
        """
        raise NotImplementedError

    def read_out(self, content: Tensor, statistics: Tensor, readout: str) -> Tensor:
        """Return a read-out that needs no latents, (B, width(readout))."""
        raise NotImplementedError

    def target(self, content: Tensor) -> Tensor:
        """Return what masked modelling predicts of tokens, (B, N, n_target)."""
        raise NotImplementedError

    def hidden(self, grid: Grid, visible: Tensor) -> Tensor:
        """Tell the tokens that masked modelling has hidden, (B, N)."""
        raise NotImplementedError


class PointTokens(Tokenizer):
    """A token per point: its value, its place in the range, its encoded wavelength."""

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
        # The quadrature weight as an additive bias: a region counts by its width, not its density.
        bias = grid.quadrature.clamp_min(1e-12).log().expand(content.shape[:2])
        shown, chosen = grid.valid, None
        if visible is not None:
            # Two points of three are hidden: only the others are worth a token.
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
    """A token per patch of local contrast: its features, its centre and width in ln(wavelength), its scale.

    Two read-outs need no latents: ``contrast``, all features, and ``compact``, a linear code of each patch in a few columns
    (`fit_code`). Both are turned by the scale of the spectrum: a code that does not tell it errs up to seven times as much where
    the amount of light is the answer (research log, section 25).
    """

    code: Tensor
    columns: Tensor
    phase: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.contrast = LocalContrast(config.n_scales, config.patch_hidden)
        self.n_content, self.n_target = self.contrast.n_features, N_COEFFICIENTS
        # Encoded centre, logarithms of the width and of the range.
        self.n_place = self.encoding.d_model + 2 + config.n_scales
        self.project = nn.Linear(self.n_content + self.n_place, config.d_model)
        code = torch.empty(self.contrast.n_patches, self.n_content, max(_CODE))
        # Columns that count of a code with as many for each patch; on the CPU even where all else is built on "meta".
        columns = [i * max(_CODE) + j for i, k in enumerate(self.contrast.scales()) for j in range(_CODE[k])]
        self.register_buffer("columns", torch.tensor(columns, device="cpu"), persistent=False)
        # An eighth of a turn, one column this way and the next that way, from patch to patch the other way round.
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
        n_visible: int | None = None,  # noqa: ARG002 - a patch is a token however much of it is seen
    ) -> tuple[Tensor, Tensor | None]:
        place = self.place(grid)
        place = place.expand(len(content), *place.shape[-2:])
        tokens = self.project(torch.cat([self.contrast.unweighted(content), place], dim=-1))
        if visible is None:
            return tokens, None
        # A patch counts by what may be seen of it.
        return tokens, self._share(grid, visible).clamp_min(1e-4).log().float()

    def read_out(self, content: Tensor, statistics: Tensor, readout: str) -> Tensor:
        if readout == "contrast":
            return self.contrast.turned(content, statistics[:, 1:])
        coded = torch.einsum("bpf,pfk->bpk", content, self.code).flatten(1)[:, self.columns]
        # As `contrast` has each feature times cosine and sine, the code has half of its columns turned either way.
        return coded * (2.0**0.5 * (self.contrast.angle(statistics[:, 1:]) - self.phase).cos())

    def target(self, content: Tensor) -> Tensor:
        return self.contrast.unweighted(content)[..., : self.n_target]

    def hidden(self, grid: Grid, visible: Tensor) -> Tensor:
        return self._share(grid, visible) < 0.5

    def _share(self, grid: Grid, visible: Tensor) -> Tensor:
        return self.contrast.over_patches(self.contrast.visible_share(visible, grid))


def packed(shown: Tensor, longest: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the numbers of the tokens that are shown, and which of these are no padding.

    Parameters
    ----------
    shown : bool Tensor of shape (B, N)
    longest : int, optional
        Most tokens of a row; the others are left out. By default the largest number in a row.

    Returns
    -------
    chosen : int64 Tensor of shape (B, K)
        In their order; K is `longest`.
    there : bool Tensor of shape (B, K)
    """
    counts = shown.sum(dim=1, keepdim=True)
    longest = int(counts.max()) if longest is None else longest
    chosen = shown.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :longest]
    return chosen, torch.arange(longest, device=shown.device) < counts


def take_tokens(values: Tensor, chosen: Tensor) -> Tensor:
    """Return values (B, N) or (B, N, C) at the tokens that `packed` has chosen, (B, K) or (B, K, C)."""
    index = chosen if values.dim() == 2 else chosen.unsqueeze(-1).expand(-1, -1, values.shape[-1])
    return values.gather(1, index)


def of_tokens(values: Tensor, chosen: Tensor) -> Tensor:
    """Return values of an axis that all spectra share, (N,), or of one each, (B, N), at chosen tokens, (B, K)."""
    return values[chosen] if values.dim() == 1 else values.gather(1, chosen)


def make_tokenizer(config: EncoderConfig) -> Any:
    """Return the tokenizer that a configuration asks for."""
    return {"patches": PatchTokens, "points": PointTokens}[config.tokens](config)
