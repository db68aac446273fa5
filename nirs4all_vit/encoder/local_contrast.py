"""Local contrast at several scales, in place of a derivative or a scatter correction."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .grid import Grid
from .patch_network import PatchNetwork

#: Bins of a patch, and of the step to the next patch.
_BINS, _STRIDE = 16, 8
#: Cosine coefficients of a patch.
N_COEFFICIENTS = _BINS - 1
#: Views of a patch, less its mean ("centred") or mean and slope ("straightened"), with their
#: softness in units of the typical standard deviation of a patch.
_VIEWS = (("centred", 0.5), ("centred", 2.0), ("straightened", 1.0))
#: Typical standard deviation of patches 1, 1/2, 1/4, ... of the range long in the pretraining
#: bank, in units of the spectrum's standard deviation.
_DEVIATIONS = (0.927, 0.655, 0.374, 0.190, 0.096, 0.047, 0.024, 0.012)
#: Ratio of the typical deviations of straightened and centred patches.
_STRAIGHTENED_RATIO = 0.4
#: Factor on the features; it sets the unit of ridge penalties.
WEIGHT = 0.2
#: Rotation of the features in radians per unit of the log standard deviation of the spectrum.
#: Not learned: pretraining on hidden components has no gain drift of instruments and would
#: triple it, which does not help real calibrations.
_ROTATION = 0.15
#: Number of features that the network adds to a patch, and the log of their initial weight.
_N_LEARNED, _LEARNED_WEIGHT = 16, -1.0


def _cosines() -> Tensor:
    """Return orthonormal cosines (n_bins, n_bins - 1) on the bins of a patch, less the constant."""
    place, order = torch.arange(_BINS, dtype=torch.float64) + 0.5, torch.arange(1, _BINS, dtype=torch.float64)
    return (place[:, None] * order * torch.pi / _BINS).cos() * (2.0 / _BINS) ** 0.5


class LocalContrast(nn.Module):
    """Patches of the spectrum at dyadic scales, each relative to its own level and contrast.

    The range of the spectrum is cut into equal bins of ln(wavelength), 16 per patch. The patches of
    scale k are 2^-k of the range long and overlap by half. The mean of a patch (or its mean and
    slope) is subtracted, and the rest is divided by ``sqrt(variance + softness^2)``: strong bands
    saturate, weak ones stay linear. This removes most of scatter and of a smooth baseline.

    The scale of the spectrum, which the division removes, is encoded as an angle: each feature is
    multiplied by the cosine and by the sine of a multiple of the log standard deviation of the
    spectrum. Inner products of features then decrease with the difference in scale.

    The features of a patch are its cosine coefficients, each with a learned weight per scale and
    view: smooth shapes matter more at fine scales, where detail is noise. A network that all
    patches share adds its outputs if `n_hidden` is positive.

    Parameters
    ----------
    n_scales : int
        Number of scales; the coarsest patches are half of the range long.
    n_hidden : int, default=0
        Units per hidden layer of the network; 0 for no network.
    """

    usual: Tensor
    order: Tensor

    def __init__(self, n_scales: int, n_hidden: int = 0) -> None:
        super().__init__()
        self.n_scales = n_scales
        self.n_bins = _BINS << n_scales
        scales = range(1, n_scales + 1)
        # Computed from constants: on the CPU even if the module is built on "meta".
        with torch.device("cpu"):
            softness = torch.tensor(
                [[soft * _typical_deviation(kind, k) for k in scales] for kind, soft in _VIEWS], dtype=torch.float32
            )
            self.log_softness = nn.Parameter(softness.log())
        self.log_weight = nn.Parameter(torch.zeros(len(_VIEWS), n_scales))
        self.log_coefficients = nn.Parameter(torch.zeros(len(_VIEWS), n_scales, _BINS - 1))
        self.network = PatchNetwork(_BINS - 1, n_scales, n_hidden, _N_LEARNED) if n_hidden else None
        self.log_learned = nn.Parameter(torch.full((n_scales,), _LEARNED_WEIGHT)) if n_hidden else None
        with torch.device("cpu"):
            usual = torch.tensor(
                [[_typical_deviation(kind, k) for k in scales] for kind, _ in _VIEWS], dtype=torch.float32
            )
            self.register_buffer("usual", usual, persistent=False)
            self.register_buffer("order", self._order(), persistent=False)

    @property
    def n_patches(self) -> int:
        """Number of patches (P)."""
        return sum(_n_patches(k) for k in range(1, self.n_scales + 1))

    @property
    def n_features(self) -> int:
        """Number of features per patch (F)."""
        return len(_VIEWS) * (_BINS - 1) + (_N_LEARNED if self.network else 0)

    def forward(self, x: Tensor, grid: Grid, visible: Tensor | None = None) -> Tensor:
        """Return features (B, P, F) of the patches, finest scale first; all scales weigh the same.

        Parameters
        ----------
        x : Tensor of shape (B, L)
            Normalised spectra, zero where not valid or not visible.
        grid : Grid
            Wavelength grid of the spectra.
        visible : bool Tensor of shape (B, L), optional
            Points that are not masked; masked stretches are interpolated linearly.
        """
        with torch.autocast(x.device.type, enabled=False):
            means = grid.bin_means(x, self.n_bins)
            if visible is not None:
                share = self.visible_share(visible, grid)
                means = _interpolated(means / share.clamp_min(1e-3), share > 0.25)
            return self._features(means.float())

    def visible_share(self, visible: Tensor, grid: Grid) -> Tensor:
        """Return the visible fraction of each bin, (B, n_bins)."""
        return grid.bin_means(visible.double(), self.n_bins)

    def over_patches(self, bins: Tensor) -> Tensor:
        """Return the mean (B, P) over the bins of each patch."""
        parts, pooled = [], bins
        for _ in range(self.n_scales):
            parts.append(pooled.unfold(1, _BINS, _STRIDE).mean(-1))
            pooled = pooled.unflatten(1, (-1, 2)).mean(-1)
        return torch.cat(parts, dim=1)

    def places(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return the centre, the width and the scale of each patch, each (P,).

        Centres and widths are fractions of the range; scales are counted from the coarsest, 0.
        """
        width = torch.tensor([0.5 ** (k + 1) for k in self.scales()], dtype=torch.float32, device=device)
        number = torch.tensor(
            [i for k in range(self.n_scales, 0, -1) for i in range(_n_patches(k))], dtype=torch.float32, device=device
        )
        return width * (0.5 + number * (_STRIDE / _BINS)), width, torch.tensor(self.scales(), device=device)

    def scales(self) -> list[int]:
        """Return the scale of each patch, counted from the coarsest, 0."""
        return [k - 1 for k in range(self.n_scales, 0, -1) for _ in range(_n_patches(k))]

    def turned(self, features: Tensor, log_deviation: Tensor) -> Tensor:
        """Return features as one row per spectrum, (B, 2 P F), rotated by the spectrum's scale.

        Parameters
        ----------
        features : Tensor of shape (B, P, F)
        log_deviation : Tensor of shape (B, 1)
            Logarithm of the standard deviation that the spectra were divided by.
        """
        row = features.flatten(1).index_select(1, self.order)
        angle = self.angle(log_deviation)
        turn = WEIGHT * torch.stack([angle.cos(), angle.sin()], dim=1)
        return (turn * row.unsqueeze(1)).flatten(1)

    @staticmethod
    def angle(log_deviation: Tensor) -> Tensor:
        """Return the angle (B, 1) by which the scale of a spectrum rotates its features."""
        return _ROTATION * log_deviation.float()

    def _order(self) -> Tensor:
        """Return the index in the flattened features (P, F) of each column of a row.

        Columns are ordered by scale, then by view, then by patch.
        """
        place = torch.arange(self.n_patches * self.n_features).reshape(self.n_patches, self.n_features)
        by_scale = place.split([_n_patches(k) for k in range(self.n_scales, 0, -1)])
        widths = [_BINS - 1] * len(_VIEWS) + ([_N_LEARNED] if self.network else [])
        return torch.cat([view.flatten() for part in by_scale for view in part.split(widths, dim=1)])

    def unweighted(self, features: Tensor) -> Tensor:
        """Return features without the weight of their scale: their mean square is near one."""
        return features / _patches(self.n_scales, features.device).weight

    def _features(self, means: Tensor) -> Tensor:
        """Return features (B, P, F) of spectra given as bin means (B, n_bins)."""
        patches = _patches(self.n_scales, means.device)
        centred = (means @ patches.columns).unflatten(1, (-1, _BINS - 1))
        straightened = centred @ patches.straightening
        views = {
            "centred": (centred, _mean_square(centred)),
            "straightened": (straightened, _mean_square(straightened)),
        }
        softness, factor = self._settings(patches.scale)
        factor = factor * patches.weight
        features = [_contrast(*views[kind], softness[j], factor[j]) for j, (kind, _) in enumerate(_VIEWS)]
        if self.network is not None and self.log_learned is not None:
            learned = self.network(*views["centred"], patches.usual, patches.scale)
            features.append(self.log_learned.exp()[patches.scale].unsqueeze(-1) * patches.weight * learned)
        return torch.cat(features, dim=2)

    def _settings(self, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Return squared softness (V, P, 1) and factors (V, P, n) per view for patch scales (P,).

        The factors give a patch of typical contrast a mean square near one.
        """
        softness = self.log_softness.exp()
        factor = (1.0 + (softness / self.usual).square()).sqrt() * self.log_weight.exp()
        factor = factor.unsqueeze(-1) * self.log_coefficients.exp()
        return softness.square()[:, scale].unsqueeze(-1), factor[:, scale]


class _Patches(NamedTuple):
    """Constants of the patches (P), the same for all spectra, finest scale first.

    Attributes
    ----------
    columns : Tensor of shape (n_bins, P * n)
        Map from bin means to cosine coefficients.
    straightening : Tensor of shape (n, n)
        Projection that removes the slope from coefficients.
    scale : int Tensor of shape (P,)
        Scale of each patch, counted from the coarsest, 0.
    usual : Tensor of shape (P, 1)
        Typical root mean square of a patch of that scale.
    weight : Tensor of shape (P, 1)
        Factor that gives all scales the same total weight.
    counts : list of int
        Number of patches of each scale.
    """

    columns: Tensor
    straightening: Tensor
    scale: Tensor
    usual: Tensor
    weight: Tensor
    counts: list[int]


@lru_cache(maxsize=8)
def _patches(n_scales: int, device: torch.device) -> _Patches:
    # Cached for all callers: independent of the first caller's default device and inference mode.
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


def _interpolated(means: Tensor, seen: Tensor) -> Tensor:
    """Interpolate masked bins (B, n) linearly between their visible neighbours."""
    n = means.shape[1]
    place = torch.arange(n, device=means.device).expand_as(means)
    before = torch.where(seen, place, -1).cummax(dim=1).values
    behind = torch.where(seen, place, n).flip(1).cummin(dim=1).values.flip(1)
    # Bins before the first or after the last visible bin take its value; all stay 0 without any.
    left = torch.where(before < 0, behind, before).clamp(0, n - 1)
    right = torch.where(behind >= n, before, behind).clamp(0, n - 1)
    share = (place - left) / (right - left).clamp_min(1)
    line = means.gather(1, left) * (1.0 - share) + means.gather(1, right) * share
    return torch.where(seen, means, line)


def _mean_square(coefficients: Tensor) -> Tensor:
    """Return the mean square (B, P, 1) over the n + 1 bins of patches, from their coefficients."""
    return coefficients.square().sum(-1, keepdim=True) / _BINS


def _contrast(coefficients: Tensor, square: Tensor, softness: Tensor, factor: Tensor) -> Tensor:
    """Divide patches (B, P, n) by their contrast; `square` and `softness` are squared (B, P, 1)."""
    return coefficients * (square + softness).rsqrt() * factor


def _typical_deviation(kind: str, scale: int) -> float:
    """Return the typical root mean square of a patch."""
    return _DEVIATIONS[scale] * (_STRAIGHTENED_RATIO if kind == "straightened" else 1.0)


def _n_patches(scale: int) -> int:
    return ((_BINS << scale) - _BINS) // _STRIDE + 1
