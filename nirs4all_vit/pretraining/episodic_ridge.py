"""A ridge regression in closed form, fitted on part of an episode, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..embedding.column_weighting import FLOOR

#: Ridge penalties tried, relative to the mean diagonal of the kernel.
_ALPHAS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


class EpisodicRidge(nn.Module):
    """Differentiable ridge regression from a support set to a query set.

    Columns are divided by the root of their deviation on the support, as `SpectralEmbedder` does with those of fewer than ten
    calibration spectra. The penalty is chosen per target by leave-one-out error on the support (no gradient through the
    choice); the loss is the mean over targets of ``log(MSE + 1e-3)`` on the query, with targets
    standardised on the support and the MSE clipped at 2.

    References
    ----------
    Bertinetto, L. et al. (2019). Meta-learning with differentiable closed-form solvers. ICLR.
    """

    def forward(self, embeddings: Tensor, targets: Tensor, n_support: int) -> tuple[Tensor, Tensor]:
        """Return the loss, a scalar, and the absolute penalties that were chosen (t,), without gradient.

        `embeddings` (n, d) and the known answers `targets` (n, t) are of an episode, its first `n_support` rows those
        that the ridge is fitted on.
        """
        # Float64: at 1e-6 of the diagonal a float32 Cholesky has no digits left.
        z, y = embeddings.double(), targets.double()
        mean, deviation = y[:n_support].mean(dim=0), y[:n_support].std(dim=0).clamp_min(1e-8)
        y = (y - mean) / deviation
        z = z - z[:n_support].mean(dim=0)
        # As `ColumnWeighting` does with few calibration spectra; the small number keeps the gradient of the root finite.
        spread = (z[:n_support].square().mean(dim=0) + 1e-16).sqrt()
        factor = (spread + FLOOR * spread.mean()).rsqrt()
        with torch.no_grad():
            gain = (spread.square().sum() / (spread * factor).square().sum()).sqrt()
        z = z * (factor * gain)
        cross = z @ z[:n_support].T
        kernel = cross[:n_support]
        diagonal = kernel.diagonal().mean().clamp_min(1e-12)
        alphas = torch.tensor(_ALPHAS, dtype=z.dtype, device=z.device) * diagonal
        eye = torch.eye(n_support, dtype=z.dtype, device=z.device)
        factor = torch.linalg.cholesky(kernel + alphas[:, None, None] * eye)
        support = y[:n_support]
        duals = torch.cholesky_solve(support.expand(len(_ALPHAS), -1, -1), factor)
        with torch.no_grad():
            inverse = torch.cholesky_inverse(factor)
            # Leverage of the fit with an intercept: H = K (K + aI)^-1 + 1/n, hence 1 - h = a inv_ii - 1/n.
            slack = alphas[:, None] * inverse.diagonal(dim1=1, dim2=2) - 1.0 / n_support
            residual = alphas[:, None, None] * duals / slack.clamp_min(1e-12).unsqueeze(-1)
            best = residual.square().mean(dim=1).argmin(dim=0)
        coefficients = duals[best, :, torch.arange(y.shape[1], device=z.device)].T
        error = (y[n_support:] - cross[n_support:] @ coefficients).square().mean(dim=0)
        loss = (error.clamp(max=2.0) + 1e-3).log().mean()
        return loss.to(embeddings.dtype), alphas[best].detach()
