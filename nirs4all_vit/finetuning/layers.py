"""How fast each layer of the encoder learns."""

from __future__ import annotations

from torch import nn

from ..encoder import SpectralPerceiver


def learning_rates(
    encoder: SpectralPerceiver, readout: str, learning_rate: float, layer_decay: float
) -> dict[str, float]:
    """Return the learning rate of each parameter that learns, by name: the nearer to the spectrum, the slower.

    Parameters
    ----------
    encoder : SpectralPerceiver
        Parameters that do not require a gradient are left out.
    readout : str
        Layers that it does not pass through are left out.
    learning_rate : float
        Of the last layer.
    layer_decay : float
        From one layer to the one before.
    """
    depth = {id(p): i for i, layer in enumerate(reversed(_layers(encoder, readout))) for p in layer}
    return {
        name: learning_rate * layer_decay ** depth[id(parameter)]
        for name, parameter in encoder.named_parameters()
        if parameter.requires_grad and id(parameter) in depth
    }


def _layers(encoder: SpectralPerceiver, readout: str) -> list[list[nn.Parameter]]:
    """Return the encoder's parameters from the spectrum up, as far as the read-out passes through them."""
    tokens = list(encoder.tokenizer.parameters())
    if encoder.tokenizer.width(readout) is not None:
        return [tokens]
    blocks = [list(block.parameters()) for block in encoder.blocks]
    inside = {id(p) for part in (tokens, *blocks) for p in part}
    last = [*encoder.norm.parameters(), *([encoder.compact] if readout == "compact" else [])]
    inside |= {id(p) for p in last}
    unused = {id(encoder.compact)} if hasattr(encoder, "compact") else set()
    first = [p for p in encoder.parameters() if id(p) not in inside | unused]
    return [tokens, first, *blocks, last]
