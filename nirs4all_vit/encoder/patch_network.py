"""A small network that every patch of every scale goes through."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Contrast below this share of the usual one is not divided out: it is noise.
_FLOOR = 0.05


class PatchNetwork(nn.Module):
    """Nonlinear features of a patch: what its shape and its contrast say together.

    Two hidden layers, the second beside a skip connection, shared by all patches; each scale adds a vector of its
    own to the first. The patch comes as cosine coefficients divided by its contrast, and as the contrast.

    Parameters
    ----------
    n_coefficients : int
        Cosine coefficients of a patch.
    n_scales : int
        Scales.
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
            Of centred patches.
        square : Tensor of shape (B, P, 1)
            Mean square of each.
        usual : Tensor of shape (P, 1)
            Usual root mean square of a patch of that scale.
        scale : int Tensor of shape (P,)
            Number of each patch's scale.
        """
        contrast = (square + (_FLOOR * usual) ** 2).sqrt()
        ratio = contrast / usual
        inputs = torch.cat([coefficients / contrast, ratio.log(), ratio.clamp(max=5.0)], dim=-1)
        # In place: half of the time goes into memory.
        hidden = functional.gelu(self.first(inputs).add_(self.scale[scale]))
        return self.last(functional.gelu(self.second(self.norm(hidden))).add_(hidden))
