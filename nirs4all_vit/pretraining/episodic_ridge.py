"""Ridge regressions in closed form, each fitted on part of an episode, differentiable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..embedding.column_weighting import FLOOR

#: Ridge penalties tried, relative to the mean diagonal of the kernel.
_ALPHAS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class Answers:
    """Known answers, T of each of S spectra, of B episodes side by side.

    Attributes
    ----------
    targets : Tensor of shape (B, S, T)
    support : bool Tensor of shape (B, S)
        Spectra that a ridge is fitted on.
    query : bool Tensor of shape (B, S)
        Spectra that it predicts.
    """

    targets: Tensor
    support: Tensor
    query: Tensor

    @classmethod
    def one(cls, targets: Tensor, n_support: int) -> Answers:
        """Return a single episode, with known answers (S, T); the first spectra are its support."""
        first = (torch.arange(len(targets), device=targets.device) < n_support).unsqueeze(0)
        return cls(targets.unsqueeze(0), first, ~first)


def episodic_ridge(embeddings: Tensor, answers: Answers) -> tuple[Tensor, Tensor]:
    """Fit a ridge on the support of each episode, and predict its query.

    Columns are divided by the root of their deviation on the support, as `SpectralEmbedder` does with those of fewer than ten
    calibration spectra. The penalty is chosen per target by leave-one-out error on the support (no gradient through the
    choice). The loss of an episode is the mean over targets of ``log(MSE + 1e-3)`` on the query, with targets
    standardised on the support and the MSE clipped at 2. A target that does not vary on the support does not count.

    Parameters
    ----------
    embeddings : Tensor of shape (B, S, d)
    answers : Answers

    Returns
    -------
    losses : Tensor of shape (B,)
        Zero where no target varies.
    penalties : Tensor of shape (B, T)
        Absolute penalties that were chosen, without gradient; NaN for a target that does not count.

    References
    ----------
    Bertinetto, L. et al. (2019). Meta-learning with differentiable closed-form solvers. ICLR.
    """
    support, query = answers.support.unsqueeze(-1).double(), answers.query.unsqueeze(-1).double()
    n_support = support.sum(dim=1, keepdim=True)

    def mean(values: Tensor) -> Tensor:
        return (values * support.to(values.dtype)).sum(dim=1, keepdim=True) / n_support.to(values.dtype)

    y = answers.targets.double()
    y = y - mean(y)
    deviation = (mean(y.square()) * n_support / (n_support - 1)).sqrt()
    counted = deviation > 1e-9
    y = torch.where(counted, y / deviation.clamp_min(1e-9), 0.0)
    kernel = _kernel(embeddings, mean)
    # Rows and columns of what is no support are zero, and leave the others alone.
    among = kernel * support * support.transpose(1, 2)
    alphas = torch.tensor(_ALPHAS, dtype=kernel.dtype, device=kernel.device)[:, None, None]
    diagonal = among.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None] / n_support[:, 0]
    alphas = (alphas * diagonal.clamp_min(1e-12)).unsqueeze(-1)  # (A, B, 1, 1)
    eye = torch.eye(kernel.shape[-1], dtype=kernel.dtype, device=kernel.device)
    factor, failed = torch.linalg.cholesky_ex(among + alphas * eye)
    duals = torch.cholesky_solve((y * support).expand(len(_ALPHAS), -1, -1, -1), factor)
    with torch.no_grad():
        inverse = torch.cholesky_inverse(factor)
        # Leverage of the fit with an intercept: H = K (K + aI)^-1 + 1/n, hence 1 - h = a inv_ii - 1/n.
        slack = alphas * inverse.diagonal(dim1=2, dim2=3).unsqueeze(-1) - 1.0 / n_support
        left_out = ((alphas * duals / slack.clamp_min(1e-12)) * support).square().sum(dim=2)
        # A kernel that has no factor with a penalty (embeddings that are all but alike) is tried with the larger ones.
        best = torch.where((failed > 0).unsqueeze(-1), torch.inf, left_out).argmin(dim=0)
    chosen = best[None, :, None, :].expand(1, -1, duals.shape[2], -1)
    error = y - kernel * support.transpose(1, 2) @ duals.gather(0, chosen)[0]
    error = (error.square() * query).sum(dim=1) / query.sum(dim=1)
    weight = counted[:, 0].double()
    loss = ((error.clamp(max=2.0) + 1e-3).log() * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1.0)
    penalties = alphas[:, :, 0, 0].T.gather(1, best)
    return loss.to(embeddings.dtype), torch.where(counted[:, 0], penalties, torch.nan).detach()


def _kernel(embeddings: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    """Return inner products (B, S, S), float64, of embeddings that are centred and weighted on the support."""
    # At a penalty of 1e-6 of the diagonal a float32 Cholesky has no digits left: factors are float64 everywhere. Of the
    # products, which are most of the work, a GPU does float32: many have hardly any units for float64.
    z = embeddings.double() if embeddings.is_cpu else embeddings.float()
    with torch.autocast(z.device.type, enabled=False), full_products():
        z = z - mean(z)
        # As `ColumnWeighting` does with few calibration spectra; the small number keeps the gradient of the root finite.
        spread = (mean(z.square()) + 1e-16).sqrt()
        factor = (spread + FLOOR * spread.mean(dim=-1, keepdim=True)).rsqrt()
        with torch.no_grad():
            gain = (spread.square().sum(-1, keepdim=True) / (spread * factor).square().sum(-1, keepdim=True)).sqrt()
        z = z * (factor * gain)
        return (z @ z.transpose(1, 2)).double()


@contextmanager
def full_products() -> Iterator[None]:
    """Compute products of float32 in float32, where TF32 is on for all else."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
