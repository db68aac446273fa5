"""Hyper-parameters of the encoder, stored in a checkpoint's header."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of a :class:`SpectralPerceiver`.

    Attributes
    ----------
    tokens : {"patches", "points"}
        Tokens that the latents attend to: patches of the spectrum at several scales (local
        contrast), or its points, ``[x, PE(wavelength)]``, as in the textbook Perceiver.
    n_latents : int
        Number of latents (M), not counting the CLS latent.
    d_model : int
        Width of latents and tokens.
    n_heads : int
        Attention heads.
    n_cross_layers : int
        Cross-attention layers; those after the first stand between the self-attention blocks.
    n_self_layers : int
        Self-attention blocks over the latents.
    mlp_ratio : int
        Width of a block's hidden layer divided by `d_model`.
    dropout : float
        Fraction of attention weights and updates dropped in training.
    d_meta : int
        Width of the metadata embedding.
    axis_scale : {"log", "linear"}
        Scale of the wavelength axis in the positional encoding.
    normalisation : {"standard", "robust"}
        Per-spectrum normalisation: mean and standard deviation, or median and MAD.
    n_frequencies : int
        Frequencies of the wavelength encoding.
    n_scales : int
        Number of patch scales; the coarsest patches are half of the range long.
    patch_hidden : int
        Units per hidden layer of the network that all patches share; 0 for no network.
    readout_scale : float
        Factor on the read-outs ``contrast`` and ``compact``, set after pretraining so that a
        ridge penalty near 1 suits them.
    categorical : dict of str to tuple of str
        Categorical metadata fields with their categories; any other value is UNKNOWN.
    numeric : tuple of str
        Numeric metadata fields.
    """

    tokens: str = "patches"
    n_latents: int = 64
    d_model: int = 96
    n_heads: int = 4
    n_cross_layers: int = 1
    n_self_layers: int = 2
    mlp_ratio: int = 4
    dropout: float = 0.0
    d_meta: int = 32
    axis_scale: str = "log"
    normalisation: str = "standard"
    n_frequencies: int = 16
    n_scales: int = 4
    patch_hidden: int = 64
    readout_scale: float = 1.0
    categorical: dict[str, tuple[str, ...]] = field(default_factory=dict)
    numeric: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        choices = {
            "tokens": ("patches", "points"),
            "axis_scale": ("log", "linear"),
            "normalisation": ("standard", "robust"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}; use one of {', '.join(allowed)}.")
        sizes = ("n_latents", "d_model", "n_heads", "n_cross_layers", "n_self_layers", "mlp_ratio", "d_meta")
        for name in (*sizes, "n_frequencies"):
            self._require_integer(name, 1, 4096)
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model={self.d_model} must be a multiple of n_heads={self.n_heads}.")
        if self.n_cross_layers > self.n_self_layers:
            raise ValueError(
                f"n_cross_layers={self.n_cross_layers} exceeds n_self_layers={self.n_self_layers}; every "
                "cross-attention layer needs a self-attention block after it."
            )
        if not isinstance(self.dropout, (int, float)) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout!r}; it must be at least 0 and below 1.")
        self._require_integer("n_scales", 1, 6)
        self._require_integer("patch_hidden", 0, 4096)
        if not isinstance(self.readout_scale, (int, float)) or not 0 < self.readout_scale <= 1e6:
            raise ValueError(f"readout_scale={self.readout_scale!r}; it must be positive and at most 1e6.")
        if not isinstance(self.categorical, dict) or not all(
            map(_are_names, (self.categorical, *self.categorical.values()))
        ):
            raise ValueError(f"categorical={self.categorical!r}; it must map names to names of categories.")
        if not _are_names(self.numeric):
            raise ValueError(f"numeric={self.numeric!r}; it must be a list of names.")
        # Sorted as in a checkpoint's header: the weights of a field are stored under its number.
        object.__setattr__(self, "categorical", {k: tuple(v) for k, v in sorted(self.categorical.items())})
        object.__setattr__(self, "numeric", tuple(self.numeric))

    def _require_integer(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{name}={value!r}; it must be an integer from {least} to {most}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EncoderConfig:
        """Build a configuration; keys that are not fields raise ValueError."""
        if not isinstance(values, dict):
            raise TypeError(f"encoder settings must be a mapping, not {type(values).__name__}")
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown encoder settings: {', '.join(sorted(unknown))}.")
        return cls(**values)


def _are_names(values: Any) -> bool:
    return isinstance(values, (list, tuple, dict)) and all(isinstance(value, str) for value in values)
