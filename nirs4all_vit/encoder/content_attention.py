"""Cross-attention whose weights depend on wavelength and value: the textbook Perceiver's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .grid import Grid
from .positional import WavelengthEncoding


class ContentKeyedAttention(nn.Module):
    """Multi-head attention from latents to point tokens ``[x_i, PE(lambda_i)]``.

    Parameters
    ----------
    d_model : int
        Width of latents and tokens.
    n_heads : int
        Attention heads.
    encoding : WavelengthEncoding
        Shared positional encoding.
    """

    def __init__(self, d_model: int, n_heads: int, encoding: WavelengthEncoding) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.encoding = encoding
        # One token per point: its value, relative position, and encoded wavelength.
        self.token = nn.Linear(2 + encoding.n_features, d_model)
        self.norm = nn.LayerNorm(d_model)
        self.query = nn.Linear(d_model, d_model)
        self.key_value = nn.Linear(d_model, 2 * d_model)
        self.output = nn.Linear(d_model, d_model)

    def forward(self, latents: Tensor, x: Tensor, grid: Grid, visible: Tensor | None = None) -> Tensor:
        """Let latents (B, M, D) read normalised spectra (B, L); returns their update (B, M, D)."""
        batch, length = x.shape
        position = torch.cat([grid.relative.unsqueeze(-1), self.encoding(grid.log_wavelength)], dim=-1)
        tokens = self.token(torch.cat([x.unsqueeze(-1), position.expand(batch, length, -1)], dim=-1))
        key, value = self.key_value(tokens).chunk(2, dim=-1)
        # The quadrature weight as an additive bias: a region counts by its width, not its density.
        bias = grid.quadrature.clamp_min(1e-12).log().expand(batch, length)
        seen = grid.valid if visible is None else visible if grid.valid is None else visible & grid.valid
        if seen is not None:
            bias = bias.masked_fill(~seen, -torch.inf)
        query, key, value = (self._split(t) for t in (self.query(self.norm(latents)), key, value))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(x.dtype)[:, None, None, :])
        return self.output(attended.transpose(1, 2).flatten(2))

    def _split(self, t: Tensor) -> Tensor:
        return t.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
