"""Which parameters learn, and how fast."""

from __future__ import annotations

from torch import nn

from .lora import add_lora
from .module import SpectralModule


def freeze(module: SpectralModule, tune: str, lora_rank: int) -> None:
    """Freeze what stays as it was pretrained; ``"lora"`` adds updates of low rank instead."""
    if tune == "head":
        module.encoder.requires_grad_(False)
    elif tune == "lora":
        add_lora(module.encoder, lora_rank)


def learning_rates(
    module: SpectralModule, learning_rate: float, encoder_factor: float, layer_decay: float
) -> dict[str, float]:
    """Return the learning rate of each parameter that learns, by name: the nearer to the spectrum, the slower.

    Parameters
    ----------
    module : SpectralModule
    learning_rate : float
        Of the head.
    encoder_factor : float
        Learning rate of the encoder's last layer over the head's.
    layer_decay : float
        From one layer of the encoder to the one before.
    """
    rates = {name: learning_rate for name, _ in module.named_parameters() if name.startswith("head.")}
    depth = {id(p): i for i, layer in enumerate(reversed(_layers(module))) for p in layer}
    for name, parameter in module.encoder.named_parameters():
        if parameter.requires_grad and id(parameter) in depth:
            rates[f"encoder.{name}"] = learning_rate * encoder_factor * layer_decay ** depth[id(parameter)]
    return rates


def _layers(module: SpectralModule) -> list[list[nn.Parameter]]:
    """Return the encoder's parameters from the spectrum up, as far as the read-out passes through them."""
    encoder = module.encoder
    contrast = list(encoder.contrast.parameters()) if encoder.contrast is not None else []
    if module.readout == "contrast":
        return [contrast]
    blocks = [list(block.parameters()) for block in encoder.blocks]
    last = [*encoder.norms.parameters(), *contrast]
    inside = {id(p) for part in (*blocks, last) for p in part}
    first = [p for p in encoder.parameters() if id(p) not in inside]
    return [first, *blocks, last]
