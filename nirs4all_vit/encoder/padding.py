"""Padding of spectra of unequal length into one matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .grid import Grid


def padded(x: Tensor | Sequence[Tensor], wavelengths: Any, valid: Tensor | None = None) -> tuple[Tensor, Grid]:
    """Return spectra as one matrix (B, L), and their grid.

    Parameters and errors are those of `SpectralPerceiver.forward`.
    """
    if isinstance(x, Tensor) and isinstance(wavelengths, Grid):
        return x, wavelengths
    if isinstance(x, Tensor) and isinstance(wavelengths, Tensor):
        if valid is None:
            return x, Grid.from_wavelengths(wavelengths)
        if valid.shape != x.shape:
            raise ValueError(f"valid has shape {tuple(valid.shape)}, the spectra {tuple(x.shape)}; they must agree.")
        return x, Grid.from_wavelengths(wavelengths.expand(x.shape), valid)
    if valid is not None:
        raise ValueError("valid= needs spectra as one padded tensor; leave it out for a list of spectra.")
    spectra = list(x)
    shared = isinstance(wavelengths, Tensor) and wavelengths.ndim == 1
    axes = [wavelengths] * len(spectra) if shared else list(wavelengths)
    if len(axes) != len(spectra):
        raise ValueError(f"{len(axes)} wavelength axes for {len(spectra)} spectra; give one, or one per spectrum.")
    for i, (spectrum, axis) in enumerate(zip(spectra, axes, strict=True)):
        if len(spectrum) != len(axis):
            raise ValueError(f"spectrum {i} has {len(spectrum)} points, its axis {len(axis)}; they must be equal.")
    if all(torch.equal(axis, axes[0]) for axis in axes[1:]):
        return torch.stack(spectra), Grid.from_wavelengths(axes[0])
    batch = variable_length_collate(list(zip(spectra, axes, strict=True)))
    return batch["x"], Grid.from_wavelengths(batch["wavelengths"], batch["valid"])


def variable_length_collate(batch: Sequence[Any]) -> dict[str, Any]:
    """Pad spectra of unequal length: a ``collate_fn`` for `torch.utils.data.DataLoader`.

    Parameters
    ----------
    batch : sequence of mappings or pairs
        Each with ``x`` (L_i,) and ``wavelengths`` (L_i,) in nm, ascending; optionally ``meta``, a
        mapping. A pair is ``(x, wavelengths)``.

    Returns
    -------
    dict
        ``x`` (B, L), zero on padding; ``wavelengths`` (B, L), padded with the last wavelength;
        ``valid`` (B, L), False on padding; ``meta``, a list of B mappings.
    """
    items = [item if isinstance(item, Mapping) else {"x": item[0], "wavelengths": item[1]} for item in batch]
    spectra = [torch.as_tensor(item["x"]) for item in items]
    axes = [torch.as_tensor(item["wavelengths"]) for item in items]
    length = max(map(len, axes))
    return {
        "x": nn.utils.rnn.pad_sequence(spectra, batch_first=True),
        "wavelengths": torch.stack([torch.cat([axis, axis[-1:].expand(length - len(axis))]) for axis in axes]),
        "valid": torch.stack([torch.arange(length, device=axis.device) < len(axis) for axis in axes]),
        "meta": [item.get("meta") or {} for item in items],
    }
