"""The encoder's hyper-parameters, as they are written into a checkpoint's header."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of a :class:`SpectralPerceiver`.

    Attributes
    ----------
    n_latents : int
        Latents that read the spectrum (M). With position-keyed attention the first half is anchored
        on absolute wavelengths, the second half on the position within the spectrum's own range.
    d_model : int
        Width of a latent.
    n_windows : int
        Cross-attention heads, that is windows per latent.
    n_cross : int
        Cross-attention layers; those after the first read the spectrum again between the blocks.
    n_blocks : int
        Latent self-attention blocks.
    n_heads : int
        Heads of the latent self-attention.
    mlp_ratio : int
        Width of a block's hidden layer over `d_model`.
    attention : {"position", "content"}
        What the cross-attention weights depend on: the wavelength alone, computed once per grid, or
        the wavelength and the value of each point.
    axis_scale : {"log", "linear"}
        Scale on which wavelengths are encoded.
    normalisation : {"standard", "robust"}
        Per-spectrum normalisation: mean and standard deviation, or median and MAD.
    n_frequencies : int
        Frequencies of the wavelength encoding.
    compact_per_latent : int
        Learned dimensions per latent in the compact read-out.
    n_scales : int
        Scales of local contrast, from half of the range down, that the ``contrast`` read-out holds and the
        ``windows`` and ``latents`` read-outs beside the latents; none with 0.
    patch_hidden : int
        Units per hidden layer of the network that all patches of local contrast share; none with 0.
    readout_scale : float
        Factor on all read-outs but ``mean`` and ``cls``, set after pretraining so that a ridge
        penalty near 1 suits them.
    categorical : dict of str to tuple of str
        Metadata fields with their known categories; anything else is UNKNOWN.
    numeric : tuple of str
        Numeric metadata fields.
    """

    n_latents: int = 64
    d_model: int = 96
    n_windows: int = 8
    n_cross: int = 1
    n_blocks: int = 2
    n_heads: int = 4
    mlp_ratio: int = 4
    attention: str = "position"
    axis_scale: str = "log"
    normalisation: str = "standard"
    n_frequencies: int = 16
    compact_per_latent: int = 4
    n_scales: int = 4
    patch_hidden: int = 64
    readout_scale: float = 1.0
    categorical: dict[str, tuple[str, ...]] = field(default_factory=dict)
    numeric: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        choices = {
            "attention": ("position", "content"),
            "axis_scale": ("log", "linear"),
            "normalisation": ("standard", "robust"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}; use one of {', '.join(allowed)}.")
        sizes = ("n_latents", "d_model", "n_windows", "n_cross", "n_blocks", "n_heads", "mlp_ratio")
        for name in (*sizes, "n_frequencies", "compact_per_latent"):
            self._require_integer(name, 1, 4096)
        if self.d_model % self.n_heads or (self.attention == "content" and self.d_model % self.n_windows):
            raise ValueError(f"d_model={self.d_model} must be a multiple of the number of heads.")
        if self.n_cross > self.n_blocks:
            raise ValueError(
                f"n_cross={self.n_cross} exceeds n_blocks={self.n_blocks}; every cross-attention layer is followed by a block."
            )
        self._require_integer("n_scales", 0, 6)
        self._require_integer("patch_hidden", 0, 4096)
        if not isinstance(self.readout_scale, (int, float)) or not 0 < self.readout_scale <= 1e6:
            raise ValueError(f"readout_scale={self.readout_scale!r}; it must be positive, 1e6 at most.")
        if not isinstance(self.categorical, dict) or not all(
            map(_are_names, (self.categorical, *self.categorical.values()))
        ):
            raise ValueError(f"categorical={self.categorical!r}; it must map names to names of categories.")
        if not _are_names(self.numeric):
            raise ValueError(f"numeric={self.numeric!r}; it must be a list of names.")
        object.__setattr__(self, "categorical", {k: tuple(v) for k, v in self.categorical.items()})
        object.__setattr__(self, "numeric", tuple(self.numeric))

    def _require_integer(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{name}={value!r}; it must be an integer from {least} to {most}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EncoderConfig:
        """Build a configuration, refusing keys that this version does not know."""
        if not isinstance(values, dict):
            raise TypeError(f"encoder settings must be a mapping, not {type(values).__name__}")
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown encoder settings: {', '.join(sorted(unknown))}.")
        return cls(**values)


def _are_names(values: Any) -> bool:
    return isinstance(values, (list, tuple, dict)) and all(isinstance(value, str) for value in values)
