"""Decoder of masked spectral modelling; used in pretraining only."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .config import EncoderConfig
from .grid import Grid
from .positional import WavelengthEncoding


class MaskedSpectrumDecoder(nn.Module):
    """Predict the normalised spectrum at any wavelengths from the latents (MAE decoder).

    Parameters
    ----------
    config : EncoderConfig
        Of the encoder whose latents are decoded.

    References
    ----------
    He, K. et al. (2022). Masked Autoencoders Are Scalable Vision Learners. CVPR.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        d_model = config.d_model
        self.n_heads = config.n_heads
        self.encoding = WavelengthEncoding(config.n_frequencies, config.axis_scale)
        self.query = nn.Linear(self.encoding.n_features, d_model)
        self.key_value = nn.Linear(d_model, 2 * d_model)
        self.output = nn.Linear(d_model, d_model)
        self.head = nn.Sequential(nn.LayerNorm(d_model), nn.Linear(d_model, d_model), nn.GELU(), nn.Linear(d_model, 1))

    def forward(self, latents: Tensor, grid: Grid) -> Tensor:
        """Decode latents (B, M, D) at the grid's L wavelengths into (B, L)."""
        batch = len(latents)
        query = self.query(self.encoding(grid.log_wavelength))
        query = query.expand(batch, -1, -1)
        key, value = self.key_value(latents).chunk(2, dim=-1)
        heads = [t.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for t in (query, key, value)]
        attended = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        return self.head(query + self.output(attended)).squeeze(-1)
