"""Local contrast at several scales: what derivatives and scatter corrections show, without choosing one."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

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

    def forward(self, x: Tensor, log_deviation: Tensor, bins: Tensor, visible: Tensor | None = None) -> Tensor:
        """Return features (B, width).

        Parameters
        ----------
        x : Tensor of shape (B, L)
            Normalised spectra, zero where not valid or not visible.
        log_deviation : Tensor of shape (B, 1)
            Logarithm of the deviation that they were divided by.
        bins : Tensor of shape (n_bins, L) or (B, n_bins, L)
            Of their grid.
        visible : bool Tensor of shape (B, L), optional
            Points that may be seen.
        """
        with torch.autocast(x.device.type, enabled=False):
            means = _apply(bins, x)
            if visible is not None:
                means = means / _apply(bins, visible).clamp_min(1e-3)
            features = _WEIGHT * self._features(means.float())
            angle = _TURN * log_deviation.float()
            return torch.cat([features * angle.cos(), features * angle.sin()], dim=1)

    def _features(self, means: Tensor) -> Tensor:
        """Return features (B, width / 2) of spectra given as means of bins."""
        coefficients = {
            kind: (means @ columns.to(means.device)).unflatten(1, (-1, _BINS - 1))
            for kind, columns in _projections(self.n_scales).items()
        }
        counts = [_n_patches(k) for k in range(self.n_scales, 0, -1)]
        scale = torch.arange(self.n_scales - 1, -1, -1).repeat_interleave(torch.tensor(counts)).to(means.device)
        found = [self._contrast(coefficients[kind], j, scale) for j, (kind, _) in enumerate(_VIEWS)]
        if self.network is not None and self.log_learned is not None:
            usual = means.new_tensor(_DEVIATIONS)[scale + 1].unsqueeze(-1)
            learned = self.network(coefficients["centred"], usual, scale)
            found.append(self.log_learned.exp()[scale].unsqueeze(-1) * learned)
        # A scale's patches stand together, view after view; all scales weigh the same.
        by_scale = zip(*(view.split(counts, dim=1) for view in found), strict=True)
        parts = [(n * _BINS) ** -0.5 * view for n, views in zip(counts, by_scale, strict=True) for view in views]
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    def _contrast(self, coefficients: Tensor, view: int, scale: Tensor) -> Tensor:
        """Divide patches (B, P, n) of scales (P,) by their contrast; one of the usual contrast keeps a mean square near one."""
        softness = self.log_softness[view].exp()
        usual = softness.new_tensor([_usual(_VIEWS[view][0], k) for k in range(1, self.n_scales + 1)])
        factor = (1.0 + (softness / usual).square()).sqrt() * self.log_weight[view].exp()
        factor = factor.unsqueeze(-1) * self.log_coefficients[view].exp()
        square = coefficients.square().sum(-1, keepdim=True) / _BINS
        return coefficients * (square + softness[scale].unsqueeze(-1).square()).rsqrt() * factor[scale]


@lru_cache(maxsize=8)
def _projections(n_scales: int) -> dict[str, Tensor]:
    """Return what turns means of bins into cosine coefficients of all patches, (n_bins, n_patches * 15) for each kind, finest scale first."""
    # Not of whatever device or mode the first caller is in: the result is everybody's.
    with torch.inference_mode(False), torch.device("cpu"):
        cosines = _cosines()
        ramp = functional.normalize(torch.linspace(-1.0, 1.0, _BINS, dtype=torch.float64), dim=0)
        bases = {"centred": cosines, "straightened": cosines - ramp[:, None] * (ramp @ cosines)}
        pooled = torch.eye(_BINS << n_scales, dtype=torch.float64)
        columns: dict[str, list[Tensor]] = {kind: [] for kind in bases}
        for _ in range(n_scales):
            for kind, basis in bases.items():
                columns[kind].append((pooled.unfold(1, _BINS, _STRIDE) @ basis).flatten(1))
            pooled = pooled.unflatten(1, (-1, 2)).mean(-1)
        return {kind: torch.cat(parts, dim=1).float() for kind, parts in columns.items()}


def _usual(kind: str, scale: int) -> float:
    """Return the usual root mean square of a patch."""
    return _DEVIATIONS[scale] * (_STRAIGHTENED if kind == "straightened" else 1.0)


def _n_patches(scale: int) -> int:
    return ((_BINS << scale) - _BINS) // _STRIDE + 1


def _apply(weights: Tensor, x: Tensor) -> Tensor:
    x = x.to(weights.dtype)
    if weights.dim() == 2:
        return x @ weights.T
    return torch.bmm(weights, x.unsqueeze(-1)).squeeze(-1)
