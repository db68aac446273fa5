"""Differentiable ridge regression in closed form, fitted on part of each episode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..embedding.column_weighting import FLOOR

#: Candidate ridge penalties, relative to the mean diagonal of the kernel.
_ALPHAS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class Answers:
    """T targets of each of S spectra, in B episodes.

    Attributes
    ----------
    targets : Tensor of shape (B, S, T)
    support : bool Tensor of shape (B, S)
        Spectra on which the ridge is fitted.
    query : bool Tensor of shape (B, S)
        Spectra that are predicted.
    """

    targets: Tensor
    support: Tensor
    query: Tensor

    @classmethod
    def one(cls, targets: Tensor, n_support: int) -> Answers:
        """Return one episode with targets (S, T); its first `n_support` spectra are the support."""
        first = (torch.arange(len(targets), device=targets.device) < n_support).unsqueeze(0)
        return cls(targets.unsqueeze(0), first, ~first)


def episodic_ridge(embeddings: Tensor, answers: Answers) -> tuple[Tensor, Tensor]:
    """Fit a ridge on the support of each episode and predict its query.

    Columns are divided by the square root of their standard deviation on the support, as in
    `SpectralEmbedder` with fewer than ten calibration spectra. The penalty of each target minimises
    the leave-one-out error on the support (no gradient through the choice). The loss of an episode
    is the mean over targets of ``log(MSE + 1e-3)`` on the query, with targets standardised on the
    support and the MSE clipped at 2. Targets that are constant on the support are ignored.

    Parameters
    ----------
    embeddings : Tensor of shape (B, S, d)
    answers : Answers

    Returns
    -------
    losses : Tensor of shape (B,)
        Losses; 0 if all targets are constant.
    penalties : Tensor of shape (B, T)
        Selected absolute penalties, without gradient; NaN for ignored targets.

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
    # Rows and columns outside the support are zero and do not affect the others.
    among = kernel * support * support.transpose(1, 2)
    alphas = torch.tensor(_ALPHAS, dtype=kernel.dtype, device=kernel.device)[:, None, None]
    diagonal = among.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None] / n_support[:, 0]
    alphas = (alphas * diagonal.clamp_min(1e-12)).unsqueeze(-1)  # (A, B, 1, 1)
    eye = torch.eye(kernel.shape[-1], dtype=kernel.dtype, device=kernel.device)
    factor, failed = torch.linalg.cholesky_ex(among + alphas * eye)
    duals = torch.cholesky_solve((y * support).expand(len(_ALPHAS), -1, -1, -1), factor)
    with torch.no_grad():
        inverse = torch.cholesky_inverse(factor)
        # Leverage of the fit with an intercept: H = K (K + aI)^-1 + 1/n, hence 1 - h = a inv_ii -
        # 1/n.
        slack = alphas * inverse.diagonal(dim1=2, dim2=3).unsqueeze(-1) - 1.0 / n_support
        left_out = ((alphas * duals / slack.clamp_min(1e-12)) * support).square().sum(dim=2)
        # Exclude penalties whose factorisation failed (nearly identical embeddings).
        best = torch.where((failed > 0).unsqueeze(-1), torch.inf, left_out).argmin(dim=0)
    chosen = best[None, :, None, :].expand(1, -1, duals.shape[2], -1)
    error = y - kernel * support.transpose(1, 2) @ duals.gather(0, chosen)[0]
    error = (error.square() * query).sum(dim=1) / query.sum(dim=1)
    weight = counted[:, 0].double()
    loss = ((error.clamp(max=2.0) + 1e-3).log() * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1.0)
    penalties = alphas[:, :, 0, 0].T.gather(1, best)
    return loss.to(embeddings.dtype), torch.where(counted[:, 0], penalties, torch.nan).detach()


def _kernel(embeddings: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    """Return inner products (B, S, S), float64, of centred and weighted embeddings."""
    # With a penalty of 1e-6 of the diagonal, a float32 Cholesky factor has no correct digits:
    # factors are always float64. The products, most of the work, are float32 on GPUs, where float64
    # is slow.
    z = embeddings.double() if embeddings.is_cpu else embeddings.float()
    with torch.autocast(z.device.type, enabled=False), full_products():
        z = z - mean(z)
        # As `ColumnWeighting` with few calibration spectra; 1e-16 keeps the gradient of the root
        # finite.
        spread = (mean(z.square()) + 1e-16).sqrt()
        factor = (spread + FLOOR * spread.mean(dim=-1, keepdim=True)).rsqrt()
        with torch.no_grad():
            gain = (spread.square().sum(-1, keepdim=True) / (spread * factor).square().sum(-1, keepdim=True)).sqrt()
        z = z * (factor * gain)
        return (z @ z.transpose(1, 2)).double()


@contextmanager
def full_products() -> Iterator[None]:
    """Disable TF32 for float32 products within the context."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
