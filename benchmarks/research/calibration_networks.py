"""Networks that learned from label-free calibrations how to calibrate (research log, section 34).

All take kernels of several calibrations of the same size, and standardised values of their samples, and predict the
values of the queries: ``average`` weighs the predictions of 120 kernel ridges, ``attention`` is a prior-fitted
transformer over the samples, and ``corrector`` is such a transformer that also sees what the kernel ridges predict.
``mixture`` sees the same, and weighs its own prediction beside theirs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from nirs4all_vit.encoder.attention import CrossAttention

#: Views: the embedding, its four scales, five preprocessings.
N_VIEWS = 10
#: Kernels of a view: linear, and RBF of two lengths (views have a mean squared norm of one).
LENGTHS = (0.7, 1.5)
#: Principal components of the embedding that are read.
N_COMPONENTS = 24
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
N_CANDIDATES = N_VIEWS * (1 + len(LENGTHS)) * len(PENALTIES)


def _centred(K: Tensor, n: int) -> Tensor:
    """Return kernels (..., s, s) centred by their first n rows, which get a mean squared norm of one."""
    mean = K[..., :n, :].mean(dim=-2, keepdim=True)
    K = K - mean - mean.mT + K[..., :n, :n].mean(dim=(-2, -1), keepdim=True)
    return K / K[..., :n, :n].diagonal(dim1=-2, dim2=-1).mean(dim=-1).clamp_min(1e-9)[..., None, None]


def candidates(K: Tensor, n: int, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return predictions of kernel ridges on calibrations of n samples and what they leave out.

    Parameters
    ----------
    K : Tensor of shape (b, N_VIEWS, n + m, n + m)
        Linear kernels, the first n rows being the calibration.
    y : Tensor of shape (b, n, t)
        Centred values.

    Returns
    -------
    of_queries (b, C, m, t), left_out (b, C, n, t), leverage (b, C)
    """
    K = _centred(K, n)
    d = K.diagonal(dim1=-2, dim2=-1)
    distance = (d[..., :n, None] + d[..., None, :] - 2 * K[..., :n, :]).clamp_min(0)
    every = [K[..., :n, :], *(torch.exp(-0.5 * distance / length**2) for length in LENGTHS)]
    stack = torch.stack(every, dim=2).flatten(1, 2)  # (b, kernels, n, n + m)
    own = stack[..., :n]
    size = (own.diagonal(dim1=-2, dim2=-1).mean(dim=-1) - own.mean(dim=(-2, -1))).clamp_min(1e-6)
    squares, vectors = torch.linalg.eigh(own.double())
    penalty = n * size.double()[..., None] * torch.tensor(PENALTIES, dtype=torch.float64)  # (b, kernels, p)
    inverse = 1.0 / (squares.clamp_min(0)[..., None, :] + penalty[..., None])  # (b, kernels, p, n)
    # A free constant: the GLS mean, so that the kernels need no centre.
    G = (vectors[..., None, :, :] * inverse[..., None, :]) @ vectors[..., None, :, :].mT
    ones = G.sum(dim=-1, keepdim=True)
    P = G - ones @ ones.mT / ones.sum(dim=-2, keepdim=True)
    values = y.double()[:, None, None]
    alpha = P @ values
    constant = (ones.mT @ values) / ones.sum(dim=-2, keepdim=True)
    predicted = stack[:, :, None, :, n:].mT.double() @ alpha + constant
    diagonal = P.diagonal(dim1=-2, dim2=-1)
    left_out = values - alpha / diagonal[..., None].clamp_min(1e-12)
    leverage = 1 - (diagonal * penalty[..., None]).mean(dim=-1)
    return predicted.flatten(1, 2).float(), left_out.flatten(1, 2).float(), leverage.flatten(1).float()


def _signs(vectors: Tensor) -> Tensor:
    return torch.randint(0, 2, (*vectors.shape[:-2], 1, vectors.shape[-1])) * 2 - 1


def components(K: Tensor, n: int) -> Tensor:
    """Return principal components of the embedding, as they are and whitened: (b, n + m, 2 N_COMPONENTS)."""
    K = _centred(K[:, 0], n)
    squares, vectors = torch.linalg.eigh(K[..., :n, :n].double())
    squares = squares.flip(-1)[..., None, :N_COMPONENTS].clamp_min(1e-6)
    # The sign of a component is arbitrary, so that it is drawn.
    z = (K[..., :n].double() @ (_signs(vectors) * vectors).flip(-1)[..., :N_COMPONENTS] / squares.sqrt()).float()
    white = z / (squares / n).sqrt().float()
    missing = (0, N_COMPONENTS - z.shape[-1])
    return torch.cat([nn.functional.pad(z * 2, missing), nn.functional.pad(white.clamp(-6, 6), missing)], dim=-1)


class Average(nn.Module):
    """Weights of candidates by their errors left out and by what each usually is worth."""

    def __init__(self, width: int = 48, depth: int = 2) -> None:
        super().__init__()
        self.name = nn.Parameter(0.02 * torch.randn(N_CANDIDATES, width))
        self.inner = nn.Sequential(nn.Linear(7, width), nn.GELU(), nn.Linear(width, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False) if depth else nn.Identity()
        self.out = nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        self.sharpness = nn.Parameter(torch.tensor(1.0))

    def scores(self, predicted: Tensor, left_out: Tensor, leverage: Tensor, y: Tensor) -> Tensor:
        """Return logarithms of weights (b, C, t)."""
        b, n, t = y.shape
        y2 = y.square().mean(dim=1, keepdim=True).clamp_min(1e-9)  # (b, 1, t)
        error = ((left_out - y[:, None]).square().mean(dim=2) / y2).clamp(1e-4, 30).log()  # (b, C, t)
        best = error.min(dim=1, keepdim=True).values
        centre = (predicted.median(dim=1, keepdim=True).values - predicted).square().mean(dim=2) / y2
        robust = ((left_out - y[:, None]).abs().median(dim=2).values / y2.sqrt()).clamp(1e-4, 30).log()
        features = torch.stack([
            error, error - best, robust, leverage[..., None].expand_as(error), centre.clamp(1e-4, 30).log(),
            torch.full_like(error, float(np.log(n / 25))), best.expand_as(error),
        ], dim=-1)  # fmt: skip
        hidden = self.inner(features.transpose(1, 2).flatten(0, 1)) + self.name
        score = self.out(self.blocks(hidden)).view(b, t, -1).transpose(1, 2)
        return score - self.sharpness * (error - best)

    def forward(self, K: Tensor, n: int, y: Tensor) -> Tensor:
        """Return predictions (b, m, t)."""
        predicted, left_out, leverage = candidates(K, n, y)
        weights = self.scores(predicted, left_out, leverage, y).softmax(dim=1)
        return (weights[:, :, None] * predicted).sum(dim=1)


class Attention(nn.Module):
    """A prior-fitted network: tokens are samples, and all attend to those of the calibration."""

    def __init__(self, width: int = 96, depth: int = 4, n_heads: int = 4) -> None:
        super().__init__()
        self.samples, self.values = nn.Linear(2 * N_COMPONENTS, width), nn.Linear(1, width)
        self.attention = nn.ModuleList(CrossAttention(width, n_heads) for _ in range(depth))
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(depth)
        )
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def _tokens(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the last tokens of the queries (b, t, m, width); x is (b, t, n + m, width), y is (b, n, t)."""
        n = y.shape[1]
        calibration = x[:, :, :n] + self.values(y.transpose(1, 2)[..., None])
        tokens = torch.cat([calibration, x[:, :, n:]], dim=2).flatten(0, 1)
        for attention, mlp in zip(self.attention, self.mlps, strict=True):
            tokens = tokens + attention(tokens, tokens[:, :n])
            tokens = tokens + mlp(tokens)
        return tokens[:, n:].unflatten(0, x.shape[:2])

    def forward(self, K: Tensor, n: int, y: Tensor) -> Tensor:
        """Return predictions (b, m, t) of standardised values."""
        x = self.samples(components(K, n))[:, None].expand(-1, y.shape[2], -1, -1)
        return self.output(self._tokens(x, y)).squeeze(-1).transpose(1, 2)


class Corrector(Attention):
    """Such a network that also sees what kernel ridges predict, weighs them per query and adds a correction."""

    def __init__(self, width: int = 96, depth: int = 4) -> None:
        super().__init__(width, depth)
        # Weights of each candidate alone; the samples below see them together.
        self.average = Average(depth=0)
        self.candidates = nn.Linear(1 + N_CANDIDATES, width)
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1 + N_CANDIDATES))
        nn.init.zeros_(self.output[1].weight)

    def _read(self, K: Tensor, n: int, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores (b, t, 1, C) and predictions (b, t, m, C) of candidates, and outputs (b, t, m, outputs)."""
        predicted, left_out, leverage = candidates(K, n, y)
        score = self.average.scores(predicted, left_out, leverage, y)  # (b, C, t)
        # Those of calibration samples come from models without them: no token knows its own answer from them.
        both = torch.cat([left_out, predicted], dim=2).clamp(-5, 5)  # (b, C, n + m, t)
        mean = (score.softmax(dim=1)[:, :, None] * both).sum(dim=1, keepdim=True)
        seen = torch.cat([mean, both - mean], dim=1).permute(0, 3, 2, 1)
        x = self.samples(components(K, n))[:, None] + self.candidates(seen)
        out = self.output(self._tokens(x, y))
        return score.permute(0, 2, 1)[:, :, None], predicted.permute(0, 3, 2, 1), out

    def forward(self, K: Tensor, n: int, y: Tensor) -> Tensor:
        """Return predictions (b, m, t) of standardised values."""
        score, predicted, out = self._read(K, n, y)
        weights = (score + out[..., 1:]).softmax(dim=-1)
        return ((weights * predicted).sum(dim=-1) + out[..., 0]).transpose(1, 2)


class Mixture(Corrector):
    """Such a network that weighs its own prediction and those of the kernel ridges, per query."""

    def __init__(self, width: int = 96, depth: int = 4) -> None:
        super().__init__(width, depth)
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 + N_CANDIDATES))
        for layer in (self.output[1], self.candidates):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, K: Tensor, n: int, y: Tensor) -> Tensor:
        """Return predictions (b, m, t) of standardised values."""
        score, predicted, out = self._read(K, n, y)
        others = (score + out[..., 2:]).log_softmax(dim=-1)
        weights = torch.cat([out[..., 1:2], others], dim=-1).softmax(dim=-1)
        return (weights * torch.cat([out[..., :1], predicted], dim=-1)).sum(dim=-1).transpose(1, 2)


def take(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy parameters of another network: those of the same name, and the first rows of the last layer."""
    own = net.state_dict()
    for name, value in state.items():
        if name in own and own[name].shape[1:] == value.shape[1:]:
            rows = min(len(own[name]), len(value)) if value.dim() else None
            own[name][slice(rows) if rows else ...] = value[slice(rows) if rows else ...]
    net.load_state_dict(own)
