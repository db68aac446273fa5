"""Cross-attention from latents to tokens, and self-attention among latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CrossAttention(nn.Module):
    """Multi-head attention from latents to tokens, pre-norm.

    Parameters
    ----------
    d_model : int
        Width of latents and tokens.
    n_heads : int
        Attention heads.
    dropout : float, default=0
        Fraction of attention weights and of updates dropped in training.
    """

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        self.norm_latents, self.norm_tokens = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.query = nn.Linear(d_model, d_model)
        self.key_value = nn.Linear(d_model, 2 * d_model)
        self.output = nn.Linear(d_model, d_model)

    def forward(self, latents: Tensor, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the update (B, M, D) of latents (B, M, D) that attend to tokens (B, N, D).

        `bias` (..., N) is added to the logits.
        """
        key, value = self.key_value(self.norm_tokens(tokens)).chunk(2, dim=-1)
        query = self.query(self.norm_latents(latents))
        if bias is not None:
            bias = bias.to(tokens.dtype).expand(len(tokens), -1)[:, None, None, :]
        rate = self.dropout if self.training else 0.0
        return dropped(self.output(attended(query, key, value, self.n_heads, bias, rate)), rate)


class LatentBlock(nn.Module):
    """Pre-norm transformer block over the latents; starts as the identity.

    Parameters
    ----------
    d_model : int
        Width of a latent.
    n_heads : int
        Attention heads.
    mlp_ratio : int
        Hidden width divided by `d_model`.
    dropout : float, default=0
        Fraction of attention weights and of updates dropped in training.
    """

    def __init__(self, d_model: int, n_heads: int, mlp_ratio: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
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
        rate = self.dropout if self.training else 0.0
        query, key, value = self.qkv(self.norm_attention(latents)).chunk(3, dim=-1)
        latents = latents + dropped(self.output(attended(query, key, value, self.n_heads, None, rate)), rate)
        return latents + dropped(self.contract(F.gelu(self.expand(self.norm_mlp(latents)))), rate)


def attended(
    query: Tensor, key: Tensor, value: Tensor, n_heads: int, bias: Tensor | None = None, rate: float = 0.0
) -> Tensor:
    """Return the attention output (B, M, D) of queries (B, M, D) over keys and values (B, N, D).

    `bias` (B, 1, 1, N) is added to the logits; `rate` is the fraction of attention weights dropped.
    """
    query, key, value = (part.unflatten(-1, (n_heads, -1)).transpose(1, 2) for part in (query, key, value))
    bias = None if bias is None else bias.to(query.dtype)
    with torch.autocast(query.device.type, enabled=False):
        # On the CPU, plain products in bfloat16 are twice as fast as fused attention in any
        # precision, and fused attention has no dropout.
        if query.is_cpu and (rate or query.dtype in (torch.bfloat16, torch.float16)):
            logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
            weights = (logits if bias is None else logits + bias).softmax(dim=-1)
            out = dropped(weights, rate) @ value
        else:
            out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=rate)
    return out.transpose(1, 2).flatten(2)


def dropped(values: Tensor, rate: float) -> Tensor:
    """Set a fraction `rate` of the values to zero and scale up the others (dropout)."""
    if not rate:
        return values
    if not values.is_cpu:
        return F.dropout(values, rate)
    # Each value gets 15 random bits: on the CPU, torch's own mask takes five times as long.
    n = values.numel()
    bits = torch.empty((n + 3) // 4, dtype=torch.int64).random_().view(torch.int16)[:n].bitwise_and_(0x7FFF)
    mask = bits >= round(rate * 0x8000)
    return values * (mask.view(values.shape).to(values.dtype) / (1.0 - rate))
