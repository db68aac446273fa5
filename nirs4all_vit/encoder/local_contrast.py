"""Local contrast at several scales: what derivatives and scatter corrections show, without choosing one."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .banded import Banded, weighted
from .grid import Grid
from .patch_network import PatchNetwork

#: Bins of a patch; the next patch begins half a patch further.
_BINS, _STRIDE = 16, 8
#: Patches per scale are centred, or also rid of their slope; softness in units of a patch's usual deviation.
_VIEWS = (("centred", 0.5), ("centred", 2.0), ("straightened", 1.0))
#: Usual deviation of a patch that is 1, 1/2, 1/4, ... of the range long, in deviations of the spectrum: the bank's.
_DEVIATIONS = (0.927, 0.655, 0.374, 0.190, 0.096, 0.047, 0.024, 0.012)
_STRAIGHTENED = 0.4
#: Of the features beside the latents, so that together they vary as much within a dataset as the latents do.
_WEIGHT = 0.2
#: How fast the logarithm of a spectrum's deviation turns the features, in radians. Not learned: hidden components, which
#: know no instrument whose gain wanders, ask for three times as much, real calibrations do not.
_TURN = 0.15
#: Features of a patch that the network adds, and the logarithm of their weight before training.
_N_LEARNED, _LEARNED_WEIGHT = 16, -1.0


def _cosines() -> Tensor:
    """Orthonormal cosines (n_bins, n_bins - 1) on the bins of a patch; the constant is left out."""
    place, order = torch.arange(_BINS, dtype=torch.float64) + 0.5, torch.arange(1, _BINS, dtype=torch.float64)
    return (place[:, None] * order * torch.pi / _BINS).cos() * (2.0 / _BINS) ** 0.5


class LocalContrast(nn.Module):
    """Patches of the spectrum at dyadic scales, each relative to its own level and contrast.

    The spectrum's range is cut into equal bins of ln(wavelength), 16 to a patch; the patches of scale k are 2^-k of
    the range long and overlap by half. A patch loses its mean (or mean and slope) and is divided by
    ``sqrt(variance + softness^2)``: strong bands saturate, weak ones stay linear. Whatever scatter and a smooth
    baseline do to a whole spectrum they do alike to a patch, and leave little in it.

    The scale of the spectrum, which the division takes out, comes back as an angle: each feature stands twice,
    times cosine and sine of a multiple of the logarithm of the spectrum's deviation. Inner products of features
    then fade with the difference in scale.

    A patch is told by its cosine coefficients, each with a learned weight per scale and view: what is smooth is
    worth more at fine scales, where detail is noise. Beside them stand the outputs of a network that all patches
    share, where there is one.

    Parameters
    ----------
    n_scales : int
        Scales, from half of the range down.
    n_hidden : int, default=0
        Units per hidden layer of the network; 0: none.
    """

    def __init__(self, n_scales: int, n_hidden: int = 0) -> None:
        super().__init__()
        self.n_scales = n_scales
        self.n_bins = _BINS << n_scales
        scales = range(1, n_scales + 1)
        with torch.device("cpu"):  # as the windows of `PositionKeyedAttention`
            softness = torch.tensor([[soft * _usual(kind, k) for k in scales] for kind, soft in _VIEWS])
            self.log_softness = nn.Parameter(softness.log())
        self.log_weight = nn.Parameter(torch.zeros(len(_VIEWS), n_scales))
        self.log_coefficients = nn.Parameter(torch.zeros(len(_VIEWS), n_scales, _BINS - 1))
        self.network = PatchNetwork(_BINS - 1, n_scales, n_hidden, _N_LEARNED) if n_hidden else None
        self.log_learned = nn.Parameter(torch.full((n_scales,), _LEARNED_WEIGHT)) if n_hidden else None

    @property
    def width(self) -> int:
        """Number of features."""
        patches = sum(_n_patches(k) for k in range(1, self.n_scales + 1))
        return 2 * patches * (len(_VIEWS) * (_BINS - 1) + (_N_LEARNED if self.network else 0))

    def bins(self, grid: Grid, dtype: torch.dtype) -> Tensor:
        """Return the weights (..., n_bins, L) of the points in the bins' means.

        The spectrum is taken as straight between its points, so that any sampling fills all bins.
        """
        u = grid.relative.to(dtype)
        gap = u.diff(dim=-1).clamp_min(0.0)
        edge = torch.zeros_like(u[..., :1])
        left, right = torch.cat([edge, gap], -1).unsqueeze(-2), torch.cat([gap, edge], -1).unsqueeze(-2)
        t = torch.linspace(0.0, 1.0, self.n_bins + 1, dtype=dtype, device=u.device).unsqueeze(-1)
        u = u.unsqueeze(-2)
        # Integral up to t of the tent that stands on a point: rising over its left gap, falling over its right one.
        rising = (t - u + left).clamp_min(0.0).minimum(left)
        falling = (t - u).clamp_min(0.0).minimum(right)
        tent = 0.5 * rising.square() / left.clamp_min(1e-12) + falling - 0.5 * falling.square() / right.clamp_min(1e-12)
        weights = tent.diff(dim=-2) * self.n_bins
        # A single point, or an axis without extent: it fills all bins.
        return torch.where(weights.sum(-1, keepdim=True) > 0.5, weights, grid.quadrature.to(dtype).unsqueeze(-2))

    def forward(
        self,
        x: Tensor,
        log_deviation: Tensor,
        bins: Tensor | Banded,
        visible: Tensor | None = None,
        weight: float = 1.0,
    ) -> Tensor:
        """Return features (B, width).

        Parameters
        ----------
        x : Tensor of shape (B, L)
            Normalised spectra, zero where not valid or not visible.
        log_deviation : Tensor of shape (B, 1)
            Logarithm of the deviation that they were divided by.
        bins : Tensor of shape (n_bins, L) or (B, n_bins, L), or Banded
            Of their grid.
        visible : bool Tensor of shape (B, L), optional
            Points that may be seen.
        weight : float
            Factor on the features.
        """
        with torch.autocast(x.device.type, enabled=False):
            means = weighted(bins, x)
            if visible is not None:
                means = means / weighted(bins, visible).clamp_min(1e-3)
            angle = _TURN * log_deviation.float()
            turn = (_WEIGHT * weight) * torch.stack([angle.cos(), angle.sin()], dim=1)
            return (turn * self._features(means.float()).unsqueeze(1)).flatten(1)

    def _features(self, means: Tensor) -> Tensor:
        """Return features (B, width / 2) of spectra given as means of bins."""
        patches = _patches(self.n_scales, means.device)
        centred = (means @ patches.columns).unflatten(1, (-1, _BINS - 1))
        straightened = centred @ patches.straightening
        views = {
            "centred": (centred, _mean_square(centred)),
            "straightened": (straightened, _mean_square(straightened)),
        }
        softness, factor = self._settings(patches.scale)
        factor = factor * patches.weight
        found = [_contrast(*views[kind], softness[j], factor[j]) for j, (kind, _) in enumerate(_VIEWS)]
        if self.network is not None and self.log_learned is not None:
            learned = self.network(*views["centred"], patches.usual, patches.scale)
            found.append(self.log_learned.exp()[patches.scale].unsqueeze(-1) * patches.weight * learned)
        # A scale's patches stand together, view after view.
        by_scale = zip(*(view.split(patches.counts, dim=1) for view in found), strict=True)
        return torch.cat([view.flatten(1) for views in by_scale for view in views], dim=1)

    def _settings(self, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each view the square of the softness (V, P, 1) of patches of scales (P,), and factors (V, P, n) that keep one of the usual contrast at a mean square near one."""
        softness = self.log_softness.exp()
        scales = range(1, self.n_scales + 1)
        usual = softness.new_tensor([[_usual(kind, k) for k in scales] for kind, _ in _VIEWS])
        factor = (1.0 + (softness / usual).square()).sqrt() * self.log_weight.exp()
        factor = factor.unsqueeze(-1) * self.log_coefficients.exp()
        return softness.square()[:, scale].unsqueeze(-1), factor[:, scale]


class _Patches(NamedTuple):
    """What all spectra's patches (P) share, finest scale first.

    Attributes
    ----------
    columns : Tensor of shape (n_bins, P * n)
        Turn means of bins into cosine coefficients.
    straightening : Tensor of shape (n, n)
        Takes the slope out of coefficients.
    scale : int Tensor of shape (P,)
        Number of each patch's scale.
    usual : Tensor of shape (P, 1)
        Usual root mean square of a patch of that scale.
    weight : Tensor of shape (P, 1)
        Makes all scales weigh the same.
    counts : list of int
        Patches of each scale.
    """

    columns: Tensor
    straightening: Tensor
    scale: Tensor
    usual: Tensor
    weight: Tensor
    counts: list[int]


@lru_cache(maxsize=8)
def _patches(n_scales: int, device: torch.device) -> _Patches:
    # Not of whatever device or mode the first caller is in: the result is everybody's.
    with torch.inference_mode(False), torch.device("cpu"):
        cosines = _cosines()
        slope = functional.normalize(torch.linspace(-1.0, 1.0, _BINS, dtype=torch.float64), dim=0) @ cosines
        pooled = torch.eye(_BINS << n_scales, dtype=torch.float64)
        columns = []
        for _ in range(n_scales):
            columns.append((pooled.unfold(1, _BINS, _STRIDE) @ cosines).flatten(1))
            pooled = pooled.unflatten(1, (-1, 2)).mean(-1)
        counts = [_n_patches(k) for k in range(n_scales, 0, -1)]
        scale = torch.arange(n_scales - 1, -1, -1).repeat_interleave(torch.tensor(counts))
        return _Patches(
            torch.cat(columns, dim=1).float().to(device),
            (torch.eye(_BINS - 1, dtype=torch.float64) - torch.outer(slope, slope)).float().to(device),
            scale.to(device),
            torch.tensor(_DEVIATIONS, dtype=torch.float32)[scale + 1].unsqueeze(-1).to(device),
            torch.tensor([(n * _BINS) ** -0.5 for n in counts], dtype=torch.float32)[n_scales - 1 - scale]
            .unsqueeze(-1)
            .to(device),
            counts,
        )


def _mean_square(coefficients: Tensor) -> Tensor:
    """Return (B, P, 1) of patches (B, P, n); what they are coefficients of has one number more."""
    return coefficients.square().sum(-1, keepdim=True) / _BINS


def _contrast(coefficients: Tensor, square: Tensor, softness: Tensor, factor: Tensor) -> Tensor:
    """Divide patches (B, P, n) of mean squares (B, P, 1) by their contrast; `softness` is a square."""
    return coefficients * (square + softness).rsqrt() * factor


def _usual(kind: str, scale: int) -> float:
    """Return the usual root mean square of a patch."""
    return _DEVIATIONS[scale] * (_STRAIGHTENED if kind == "straightened" else 1.0)


def _n_patches(scale: int) -> int:
    return ((_BINS << scale) - _BINS) // _STRIDE + 1
