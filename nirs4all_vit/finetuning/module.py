"""The encoder with a linear layer behind it, as one network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..encoder import Grid, SpectralPerceiver


class SpectralModule(nn.Module):
    """Spectra in, predictions out.

    Parameters
    ----------
    encoder : SpectralPerceiver
        Tuned with the layer, or frozen.
    readout : str
        What the layer reads.
    centre, scale : Tensor of shape (width,)
        Of the embedding of the calibration spectra before tuning.
    weight : Tensor of shape (n_outputs, width)
        Where the layer starts.
    bias : Tensor of shape (n_outputs,)
    wavelengths : Tensor of shape (L,), optional
        The axis that all spectra share, in nm, ascending.
    amp : bool
        Run the encoder in mixed precision.
    """

    def __init__(
        self,
        encoder: SpectralPerceiver,
        readout: str,
        centre: Tensor,
        scale: Tensor,
        weight: Tensor,
        bias: Tensor,
        wavelengths: Tensor | None = None,
        amp: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.readout, self.amp = encoder, readout, amp
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)
        self.head = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)
        self.register_buffer("wavelengths", wavelengths, persistent=False)
        bins = None if wavelengths is None else encoder.bins(Grid.from_wavelengths(wavelengths))
        self.register_buffer("bins", bins, persistent=False)

    def forward(self, x: Tensor, wavelengths: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return outputs (B, n_outputs).

        Parameters
        ----------
        x : Tensor of shape (B, L)
        wavelengths : Tensor of shape (B, L), optional
            Where spectra do not share an axis.
        valid : bool Tensor of shape (B, L), optional
            False on padding.
        """
        shared = wavelengths is None
        grid = Grid.from_wavelengths(self.wavelengths if shared else wavelengths, valid)
        bins = self.bins if shared else None
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.amp):
            if self.readout == "contrast":
                embedded = self.encoder.local_contrast(x, grid, bins=bins)
            else:
                embedded = self.encoder.read_out(self.encoder.encode(x, grid, bins=bins), self.readout)
        return self.head((embedded.float() - self.centre) * self.scale)
