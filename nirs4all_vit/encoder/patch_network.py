"""Small network shared by all patches of all scales."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Contrast below this fraction of the typical one is noise; the division is limited there.
_FLOOR = 0.05


class PatchNetwork(nn.Module):
    """Nonlinear features of a patch, computed from its shape and its contrast.

    The network has two hidden layers, the second with a skip connection. All patches share it; each
    scale adds its own vector to the first layer. The inputs are the cosine coefficients of a patch
    divided by its contrast, and the contrast relative to the typical one.

    Parameters
    ----------
    n_coefficients : int
        Cosine coefficients of a patch.
    n_scales : int
        Number of scales.
    n_hidden : int
        Units per hidden layer.
    n_features : int
        Features of a patch.
    """

    def __init__(self, n_coefficients: int, n_scales: int, n_hidden: int, n_features: int) -> None:
        super().__init__()
        self.first = nn.Linear(n_coefficients + 2, n_hidden)
        self.scale = nn.Parameter(torch.zeros(n_scales, n_hidden))
        self.norm = nn.LayerNorm(n_hidden)
        self.second = nn.Linear(n_hidden, n_hidden)
        self.last = nn.Linear(n_hidden, n_features)

    def forward(self, coefficients: Tensor, square: Tensor, usual: Tensor, scale: Tensor) -> Tensor:
        """Return features (B, P, n_features) of patches.

        Parameters
        ----------
        coefficients : Tensor of shape (B, P, n_coefficients)
            Cosine coefficients of centred patches.
        square : Tensor of shape (B, P, 1)
            Mean square of each patch.
        usual : Tensor of shape (P, 1)
            Typical root mean square of a patch of that scale.
        scale : int Tensor of shape (P,)
            Scale of each patch, counted from the coarsest, 0.
        """
        contrast = (square + (_FLOOR * usual) ** 2).sqrt()
        ratio = contrast / usual
        inputs = torch.cat([coefficients / contrast, ratio.log(), ratio.clamp(max=5.0)], dim=-1)
        # In place: memory traffic takes half of the time.
        hidden = functional.gelu(self.first(inputs).add_(self.scale[scale]))
        return self.last(functional.gelu(self.second(self.norm(hidden))).add_(hidden))
