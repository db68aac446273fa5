"""Decoder of masked spectral modelling; used in pretraining only."""

from __future__ import annotations

from torch import Tensor, nn

from .attention import attended
from .grid import Grid
from .perceiver import SpectralPerceiver


class MaskedSpectrumDecoder(nn.Module):
    """Predict the content of tokens from their positions and the latents (MAE decoder).

    The tokens are points, or patches of local contrast, as in the encoder.

    Parameters
    ----------
    encoder : SpectralPerceiver
        Encoder whose latents are decoded.

    References
    ----------
    He, K. et al. (2022). Masked Autoencoders Are Scalable Vision Learners. CVPR.
    """

    def __init__(self, encoder: SpectralPerceiver) -> None:
        super().__init__()
        d_model, tokenizer = encoder.config.d_model, encoder.tokenizer
        self.n_heads = encoder.config.n_heads
        self.query = nn.Linear(tokenizer.n_place, d_model)
        self.key_value = nn.Linear(d_model, 2 * d_model)
        self.output = nn.Linear(d_model, d_model)
        self.head = nn.Sequential(
            nn.LayerNorm(d_model), nn.Linear(d_model, d_model), nn.GELU(), nn.Linear(d_model, tokenizer.n_target)
        )

    def forward(self, encoder: SpectralPerceiver, latents: Tensor, grid: Grid, chosen: Tensor | None = None) -> Tensor:
        """Decode latents (B, M, D) at the positions of the grid's tokens into (B, N, n_target).

        `chosen` (B, K) are the indices of the tokens to decode, into (B, K, n_target).
        """
        tokenizer = encoder.tokenizer
        if chosen is not None and grid.log_wavelength.dim() == 1:
            query = self.query(tokenizer.place(grid))[chosen]  # one projection for all spectra
        else:
            query = self.query(tokenizer.place(grid, chosen))
        query = query.expand(len(latents), *query.shape[-2:])
        key, value = self.key_value(latents).chunk(2, dim=-1)
        return self.head(query + self.output(attended(query, key, value, self.n_heads)))
