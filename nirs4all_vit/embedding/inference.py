"""Running a frozen encoder over spectra: fixed-size chunks, grid work once, nothing global touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..spectra.data import Spectra

if TYPE_CHECKING:
    from torch import Tensor

    from ..encoder import Grid, SpectralPerceiver
    from ..encoder.banded import Banded
    from ..encoder.position_attention import Windows

# Matrix products of fewer rows are summed in another order: batches are rounded up to a multiple of this, so that
# their size changes nothing, to the last bit.
_ROWS = 32
# A grid per row costs a window matrix per row: such chunks hold no more than so many points.
_PADDED_POINTS = 16_384
# The transformer takes so many spectra at a time on a thread: what is between its layers stays in the cache of a core.
_CACHED = 32
# Latest grids whose windows are kept for the next call (one spectrum of 2,100 points costs four times as much without), of
# up to so many points: up to 70 MB in all with the bundled encoder.
_KEPT_GRIDS, _KEPT_POINTS = 4, 5200
_KEPT: WeakKeyDictionary[SpectralPerceiver, dict[Any, Any]] = WeakKeyDictionary()


def embed(
    encoder: SpectralPerceiver,
    blocks: Sequence[Spectra],
    readout: str,
    *,
    batch_size: int = 32,
    device: str = "cpu",
    precision: str = "fp32",
    progress: bool = False,
) -> NDArray[np.float32]:
    """Embed blocks of spectra, each on a grid of its own, in order.

    Parameters
    ----------
    encoder : SpectralPerceiver
        Frozen encoder.
    blocks : sequence of Spectra
        Blocks with a 1-D grid each. Blocks of few rows are padded and run together.
    readout : str
        One of ``READOUTS``.
    batch_size : int
        Spectra per chunk, rounded up to a multiple of 32. The last chunk is filled up, so that a row's
        numbers do not depend on how many rows came with it.
    device : str
        Torch device.
    precision : {"fp32", "bf16"}
        ``"bf16"`` runs the transformer in mixed precision; windows, statistics and local contrast keep theirs.
    progress : bool
        Show a progress bar.

    Returns
    -------
    ndarray of shape (n_spectra, encoder.width(readout)), float32
    """
    import torch
    from tqdm import tqdm

    from ..encoder import Grid

    encoder = _on_device(encoder, device)
    batch_size = -(-batch_size // _ROWS) * _ROWS
    rows = sum(map(len, blocks))
    out = np.empty((rows, encoder.width(readout)), dtype=np.float32)
    mixed = torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=precision == "bf16")
    with torch.inference_mode(), mixed, tqdm(total=rows, desc="embedding", unit="spectra", disable=not progress) as bar:
        for block, targets in _grouped(blocks, batch_size):
            own_grids = block.valid is not None
            if not own_grids:
                run = _on_grid(encoder, Grid.from_wavelengths(torch.from_numpy(block.wavelengths).to(device)), readout)
            size = max(1, min(batch_size, _PADDED_POINTS // block.values.shape[1])) if own_grids else batch_size
            for start in range(0, len(block), size):
                chunk = slice(start, start + size)
                x = torch.from_numpy(_filled(block.values[chunk], size)).to(device)
                if block.valid is not None:
                    valid = torch.from_numpy(_filled(block.valid[chunk], size)).to(device)
                    axis = torch.from_numpy(_filled(block.wavelengths[chunk], size)).to(device)
                    run = _on_grid(encoder, Grid.from_wavelengths(axis, valid), readout)
                embedded = run(x).float().cpu().numpy()
                picked = targets[chunk]
                out[picked] = embedded[: len(picked)]
                bar.update(len(picked))
    return out


def resolve_device(device: str) -> str:
    """Turn ``"auto"`` into a GPU where there is one; check that any other device exists."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={device!r} is not available here; use 'auto' or 'cpu'.") from error
    return device


def _on_grid(encoder: SpectralPerceiver, grid: Grid, readout: str) -> Callable[[Tensor], Tensor]:
    """Return what embeds spectra of a grid, with what depends on the grid alone computed once, for the latest grids also over calls."""
    import torch

    # Large on a grid per row, and of no use to local contrast.
    contrast_only = readout == "contrast"
    key = _grid_key(encoder, grid, contrast_only)
    kept = _KEPT.setdefault(encoder, {})
    found = kept.get(key)
    if found is None:
        windows = None if contrast_only else encoder.windows(grid, torch.float64)
        found = _cut(windows, encoder.bins(grid, torch.float64), grid)
        if key is not None:  # room for it
            for oldest in list(kept)[: max(0, len(kept) - _KEPT_GRIDS + 1)]:
                kept.pop(oldest, None)
    if key is not None:
        # The latest stands last.
        kept.pop(key, None)
        kept[key] = found
    windows, bins = found
    chunk = _CACHED * torch.get_num_threads() if grid.log_wavelength.device.type == "cpu" else None
    return lambda x: encoder.embed(x, grid, readout, windows=windows, bins=bins, chunk=chunk)


def _cut(windows: Windows | None, bins: Tensor | None, grid: Grid) -> tuple[Windows | None, Tensor | Banded | None]:
    """Leave out most zeros of what spectra are multiplied by, where they share a grid and multiplications take time."""
    from ..encoder.banded import banded

    if grid.log_wavelength.dim() > 1 or grid.log_wavelength.device.type != "cpu":
        return windows, bins
    if windows is not None:
        windows = windows._replace(weights=banded(windows.weights))
    return windows, None if bins is None else banded(bins)


def _grid_key(encoder: SpectralPerceiver, grid: Grid, contrast_only: bool) -> bytes | None:
    """Return all that windows and bins are made of; None for grids that are not kept."""
    u = grid.log_wavelength
    # Other devices get a copy of the encoder for each call.
    if u.dim() != 1 or u.numel() > _KEPT_POINTS or u.device.type != "cpu":
        return None
    made_of = [u, grid.relative, grid.quadrature, grid.span]
    if encoder.config.attention == "position" and not contrast_only:
        made_of += encoder.attention.state_dict().values()
    return b"".join([bytes([contrast_only]), *(part.detach().numpy().tobytes() for part in made_of)])


def _grouped(blocks: Sequence[Spectra], batch_size: int) -> Iterator[tuple[Spectra, NDArray[np.intp]]]:
    """Yield one block per grid, and what is left of small ones padded together by length.

    With each block come the positions of its rows in the output.
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
        merged = Spectra(values, members[0][0].wavelengths)
        if len(by_grid) > 1 and len(merged) < batch_size // 4:
            small.append((merged, positions))
        else:
            yield merged, positions
    small.sort(key=lambda member: member[0].values.shape[1])
    # Padding to the longest is bounded: neighbours in length go together.
    while small:
        longest = 2 * small[0][0].values.shape[1]
        group = [member for member in small if member[0].values.shape[1] <= longest]
        small = small[len(group) :]
        yield Spectra.pad([block for block, _ in group]), np.concatenate([p for _, p in group])


def _filled(rows: NDArray[Any], size: int) -> NDArray[Any]:
    """Return a contiguous, writable array of `size` rows, repeating the last one where some are missing."""
    index = np.minimum(np.arange(size), len(rows) - 1)
    return rows[index]


def _on_device(encoder: SpectralPerceiver, device: str) -> SpectralPerceiver:
    """Return the shared encoder, or a copy of it on another device."""
    import copy

    return encoder if device == "cpu" else copy.deepcopy(encoder).to(device)
