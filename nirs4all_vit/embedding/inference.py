"""Inference with a frozen encoder in chunks of fixed size, without changing global state."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..progress import ProgressBar
from ..spectra.data import Spectra, join_metadata

if TYPE_CHECKING:
    from ..encoder import Grid, SpectralPerceiver

# Matrix products of one to three rows are summed in another order. Batches, including the last one, are rounded up to a
# multiple of this, so that results are bit-identical whatever other rows are in the batch.
_ROWS = 8
# Maximum number of points in chunks with one grid per row, which need one window matrix per row.
_PADDED_POINTS = 16_384
# Number of grids cached across calls, and their maximum number of points. Computing a grid costs as much as a spectrum.
_KEPT_GRIDS, _KEPT_POINTS = 16, 10_000
_KEPT: OrderedDict[bytes, Grid] = OrderedDict()
_LOCK = threading.Lock()
# A fork while another thread holds the lock would leave it locked in the child.
os.register_at_fork(after_in_child=lambda: globals().update(_LOCK=threading.Lock()))


def embed(
    encoder: SpectralPerceiver,
    blocks: Sequence[Spectra],
    readout: str,
    *,
    batch_size: int = 32,
    device: str = "cpu",
    bar: ProgressBar | None = None,
) -> NDArray[np.float32]:
    """Embed blocks of spectra, each on its own grid, in order.

    Parameters
    ----------
    encoder : SpectralPerceiver
        Frozen encoder.
    blocks : sequence of Spectra
        Blocks with one 1-D grid each. Blocks of few rows are padded and processed together.
    readout : str
        One of ``READOUTS``.
    batch_size : int
        Spectra per chunk, rounded up to a multiple of 8.
    device : str
        Torch device.
    bar : ProgressBar, optional
        Progress bar that counts the spectra; by default a new one.

    Returns
    -------
    ndarray of shape (n_spectra, encoder.width(readout)), float32
    """
    import torch

    encoder = _on_device(encoder, device)
    batch_size = -(-batch_size // _ROWS) * _ROWS
    n_spectra = sum(map(len, blocks))
    out = np.empty((n_spectra, encoder.width(readout)), dtype=np.float32)
    own_bar = ProgressBar("embedding", "spectra", n_spectra, show=bar is None)
    with torch.inference_mode(), own_bar:
        for block, targets in _grouped(blocks, batch_size):
            own_grids = block.valid is not None
            size = max(1, min(batch_size, _PADDED_POINTS // block.values.shape[1])) if own_grids else batch_size
            for start in range(0, len(block), size):
                chunk = slice(start, start + size)
                rows = min(size, -(-(len(block) - start) // _ROWS) * _ROWS)
                grid = _grid(block.wavelengths, device) if block.valid is None else _grids(block, chunk, rows, device)
                x = torch.from_numpy(_filled(block.values[chunk], rows)).to(device)
                metadata = None if block.metadata is None else list(_filled(block.metadata[chunk], rows))
                embedded = encoder(x, grid, readout=readout, metadata=metadata).float().cpu().numpy()
                positions = targets[chunk]
                out[positions] = embedded[: len(positions)]
                (own_bar if bar is None else bar).update(len(positions))
    return out


def resolve_device(device: str) -> str:
    """Resolve ``"auto"`` to a GPU if there is one; check that any other device exists."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={device!r} is not available here; use 'auto' or 'cpu'.") from error
    return device


def _grid(wavelengths: NDArray[np.float64], device: str) -> Grid:
    """Return the grid of some wavelengths, cached for the most recent ones."""
    import torch

    from ..encoder import Grid

    key = device.encode() + wavelengths.tobytes()
    with _LOCK:
        grid = _KEPT.pop(key, None)
        if grid is None:
            # Not an inference tensor, because gradients may be computed on the same grid later.
            with torch.inference_mode(False):
                grid = Grid.from_wavelengths(torch.from_numpy(wavelengths).to(device))
        if wavelengths.size <= _KEPT_POINTS:
            _KEPT[key] = grid
            while len(_KEPT) > _KEPT_GRIDS:
                _KEPT.popitem(last=False)
    return grid


def _grids(block: Spectra, chunk: slice, size: int, device: str) -> Grid:
    """Return the grids of some rows of a padded block."""
    import torch

    from ..encoder import Grid

    assert block.valid is not None
    axis, valid = (torch.from_numpy(_filled(part[chunk], size)).to(device) for part in (block.wavelengths, block.valid))
    return Grid.from_wavelengths(axis, valid)


def _grouped(blocks: Sequence[Spectra], batch_size: int) -> Iterator[tuple[Spectra, NDArray[np.intp]]]:
    """Yield one block per grid, with small blocks of similar length padded together.

    Each block comes with the positions of its rows in the output.
    """
    by_grid: dict[bytes, list[tuple[Spectra, NDArray[np.intp]]]] = {}
    start = 0
    for block in blocks:
        positions = np.arange(start, start + len(block))
        by_grid.setdefault(block.wavelengths.tobytes(), []).append((block, positions))
        start += len(block)
    small: list[tuple[Spectra, NDArray[np.intp]]] = []
    for members in by_grid.values():
        positions = np.concatenate([p for _, p in members])
        values = members[0][0].values if len(members) == 1 else np.concatenate([b.values for b, _ in members])
        merged = Spectra(values, members[0][0].wavelengths, metadata=join_metadata([b for b, _ in members]))
        if len(by_grid) > 1 and len(merged) < batch_size // 4:
            small.append((merged, positions))
        else:
            yield merged, positions
    small.sort(key=lambda member: member[0].values.shape[1])
    # Blocks of similar length are grouped, which bounds the padding.
    while small:
        longest = 2 * small[0][0].values.shape[1]
        group = [member for member in small if member[0].values.shape[1] <= longest]
        small = small[len(group) :]
        yield Spectra.pad([block for block, _ in group]), np.concatenate([p for _, p in group])


def _filled(rows: NDArray[Any], size: int) -> NDArray[Any]:
    """Return a contiguous, writable array of `size` rows; missing rows repeat the last one."""
    index = np.minimum(np.arange(size), len(rows) - 1)
    return rows[index]


def _on_device(encoder: SpectralPerceiver, device: str) -> SpectralPerceiver:
    """Return the shared encoder, or a copy of it on another device."""
    import copy

    return encoder if device == "cpu" else copy.deepcopy(encoder).to(device)
