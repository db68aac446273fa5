"""The Perceiver as a textbook has it: what the encoder's speed is compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nirs4all_vit.encoder import EncoderConfig


class TextbookPerceiver(nn.Module):
    """Latents that attend to every point of a spectrum by `nn.MultiheadAttention`, then transformer layers.

    As wide, deep and with as many latents and heads as an encoder of `config`; a point is its value and a positional code of its wavelength.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        d_model = config.d_model
        self.latents = nn.Parameter(torch.randn(config.n_latents + 1, d_model))
        self.register_buffer("frequencies", 2.0 ** torch.arange(config.n_frequencies))
        self.point = nn.Linear(2 * config.n_frequencies + 1, d_model)
        self.read = nn.MultiheadAttention(d_model, config.n_windows, batch_first=True)
        self.layers = nn.ModuleList(
            [
                nn.TransformerEncoderLayer(
                    d_model,
                    config.n_heads,
                    config.mlp_ratio * d_model,
                    dropout=0.0,
                    activation="gelu",
                    batch_first=True,
                    norm_first=True,
                )
                for _ in range(config.n_blocks)
            ]
        )

    def forward(self, x: Tensor, log_wavelength: Tensor) -> Tensor:
        """Embed spectra (B, L) on one grid (L,); returns (B, M * D)."""
        x = (x - x.mean(dim=1, keepdim=True)) / x.std(dim=1, keepdim=True)
        angle = log_wavelength[:, None] * self.frequencies
        code = torch.cat([angle.sin(), angle.cos()], dim=-1).expand(len(x), -1, -1)
        points = self.point(torch.cat([x.unsqueeze(-1), code], dim=-1))
        latents = self.latents.expand(len(x), -1, -1)
        latents = latents + self.read(latents, points, points, need_weights=False)[0]
        for layer in self.layers:
            latents = layer(latents)
        return latents[:, 1:].flatten(1)
