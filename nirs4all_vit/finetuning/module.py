"""The encoder's read-out as a network that skorch can train."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..encoder import Grid, SpectralPerceiver


class SpectralModule(nn.Module):
    """Spectra in, embedding out.

    Parameters
    ----------
    encoder : SpectralPerceiver
    readout : str
    wavelengths : Tensor of shape (L,), optional
        The axis that all spectra share, in nm, ascending.
    amp : bool
        Run the encoder in mixed precision. Local contrast stays in float32.
    """

    def __init__(
        self, encoder: SpectralPerceiver, readout: str, wavelengths: Tensor | None = None, amp: bool = False
    ) -> None:
        super().__init__()
        self.wavelengths: Tensor | None
        self.encoder, self.readout, self.amp = encoder, readout, amp
        self.register_buffer("wavelengths", wavelengths, persistent=False)

    def forward(self, x: Tensor, wavelengths: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Embed (B, width).

        Parameters
        ----------
        x : Tensor of shape (B, L)
        wavelengths : Tensor of shape (B, L), optional
            Where spectra do not share an axis.
        valid : bool Tensor of shape (B, L), optional
            False on padding.
        """
        axis = self.wavelengths if wavelengths is None else wavelengths
        assert axis is not None
        grid = Grid.from_wavelengths(axis, valid)
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.amp):
            return self.encoder(x, grid, readout=self.readout).float()
