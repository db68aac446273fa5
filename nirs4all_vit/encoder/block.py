"""Latent self-attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LatentBlock(nn.Module):
    """Pre-norm transformer block over the latents; starts as the identity.

    Parameters
    ----------
    d_model : int
        Width of a latent.
    n_heads : int
        Attention heads.
    mlp_ratio : int
        Hidden width over `d_model`.
    """

    def __init__(self, d_model: int, n_heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm_attention = nn.LayerNorm(d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.output = nn.Linear(d_model, d_model)
        self.norm_mlp = nn.LayerNorm(d_model)
        self.expand = nn.Linear(d_model, mlp_ratio * d_model)
        self.contract = nn.Linear(mlp_ratio * d_model, d_model)
        for layer in (self.output, self.contract):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents (B, M, D) to latents (B, M, D)."""
        qkv = self.qkv(self.norm_attention(latents)).unflatten(-1, (3, self.n_heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if query.is_cpu and query.dtype in (torch.bfloat16, torch.float16):
            # In mixed precision the processor's attention of short sequences is five times slower than in float32.
            with torch.autocast("cpu", enabled=False):
                attended = F.scaled_dot_product_attention(query.float(), key.float(), value.float())
        else:
            attended = F.scaled_dot_product_attention(query, key, value)
        latents = latents + self.output(attended.transpose(1, 2).flatten(2))
        return latents + self.contract(F.gelu(self.expand(self.norm_mlp(latents))))
