"""Dataset folders: ``{spectra,wavelengths,baseline_asls}.npy`` and ``metadata.json``."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...encoder.fields import value_and_mask
from ...errors import SpectralAxisError, SpectralInputError
from ...files import atomic_path
from ...spectra.alignment import fill_missing
from ...spectra.data import to_nanometres
from ...spectra.order import is_ordered
from ...spectra.signal import check_values
from .dataset import SpectralDataset, SpectralMetadata, row_blocks

SPECTRA, WAVELENGTHS, BASELINE, METADATA = "spectra.npy", "wavelengths.npy", "baseline_asls.npy", "metadata.json"


def read_folder(folder: str | Path) -> SpectralDataset:
    """Open a dataset folder, with memory-mapped spectra.

    Parameters
    ----------
    folder : path
        Contains ``spectra.npy`` (n_spectra, n_wavelengths; any real dtype), ``wavelengths.npy`` (in
        any order; its unit is ``axis_unit`` of the metadata, else inferred from the values) and,
        optionally, ``baseline_asls.npy`` and ``metadata.json``. ``targets.npy`` is never read.

    Returns
    -------
    SpectralDataset
        Memory-mapped if the file is float32, on an ascending axis and without NaN; otherwise
        converted, with NaN filled in, in memory.

    Raises
    ------
    SpectralInputError, SpectralAxisError
        A file is missing, truncated, pickled or inconsistent with the others; the message names it.
    """
    folder = Path(folder)
    source = read_json(folder / METADATA) if (folder / METADATA).exists() else {}
    values, axis = _array(folder / SPECTRA, 2), _array(folder / WAVELENGTHS, 1)
    try:
        wavelengths = to_nanometres(axis, source.get("axis_unit") or "auto")
    except SpectralAxisError as error:
        raise SpectralAxisError(f"{folder.name}/{WAVELENGTHS}: {error}") from error
    if not is_ordered(wavelengths):
        raise SpectralAxisError(f"{folder.name}/{WAVELENGTHS}: the axis neither ascends nor descends.")
    mode = SpectralMetadata.from_dict(source).categorical["mode"]
    if values.shape[1] != wavelengths.size or not len(values):
        raise SpectralInputError(f"{folder.name}/{SPECTRA}: shape {values.shape} on {wavelengths.size} wavelengths.")
    check_counts(f"{folder.name}/{SPECTRA}", values.shape, wavelengths, source)
    order = np.argsort(wavelengths) if (np.diff(wavelengths) < 0).any() else None
    incomplete = False
    for rows in row_blocks(*values.shape):
        try:
            check_values(values[rows], wavelengths, rows.start)
        except SpectralInputError as error:
            raise SpectralInputError(f"{folder.name}/{SPECTRA}: {error}") from error
        incomplete |= bool(np.isnan(values[rows]).any())
    # A baseline of reflectance does not apply to log10(1/R).
    has_baseline = (folder / BASELINE).exists() and mode not in ("reflectance", "transmittance")
    baseline = _baseline(folder, values.shape, order) if has_baseline else None
    axis = wavelengths if order is None else wavelengths[order]
    ascending = _ascending(values, order)
    if incomplete:
        ascending, complete_axis = fill_missing(ascending, axis)
        if baseline is not None:
            baseline = np.ascontiguousarray(baseline[:, np.isin(axis, complete_axis)])
        axis = complete_axis
    return SpectralDataset(folder.name, ascending, axis, source, baseline)


def write_folder(
    folder: str | Path, chunks: Iterable[NDArray[Any]], wavelengths: NDArray[np.float64], source: dict[str, Any]
) -> None:
    """Write a dataset folder from blocks of spectra, in bounded memory.

    The folder is created; existing files are replaced atomically. `chunks` are arrays (n,
    n_wavelengths) in ascending order of `wavelengths` (n_wavelengths,), in nm. ``axis_unit`` of the
    metadata `source` is set to nm.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Remove the metadata first and write it last: a partly written folder is then not taken for
    # complete.
    (folder / METADATA).unlink(missing_ok=True)
    with atomic_path(folder / SPECTRA) as target, open(target, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (0, wavelengths.size)}
        np.lib.format.write_array_header_1_0(file, header)
        n_rows = 0
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk, dtype="<f4").tobytes())
            n_rows += len(chunk)
        # numpy pads the header for any number of rows, so it can be rewritten in place.
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header | {"shape": (n_rows, wavelengths.size)})
    with atomic_path(folder / WAVELENGTHS) as target:
        np.save(target, wavelengths)
    with atomic_path(folder / METADATA) as target:
        target.write_text(json.dumps({**source, "axis_unit": "nm"}, indent=1), "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a metadata file; errors name the file and, for invalid JSON, the line."""
    try:
        source = json.loads(path.read_text("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise SpectralInputError(f"{path.name}, line {error.lineno}: not JSON: {error.msg}.") from error
    except UnicodeDecodeError as error:
        raise SpectralInputError(f"{path.name} is not UTF-8 text.") from error
    except (ValueError, RecursionError) as error:  # very long numbers, deep nesting
        raise SpectralInputError(f"{path.name}: not metadata: {error}.") from error
    if not isinstance(source, dict):
        raise SpectralInputError(f"{path.name}: metadata must be a JSON object, got {type(source).__name__}.")
    return source


def check_counts(
    name: str, shape: tuple[int | None, int], wavelengths: NDArray[np.float64], source: dict[str, Any]
) -> None:
    """Compare a dataset with its metadata, to detect truncated files.

    Raises
    ------
    SpectralInputError
        ``n_samples``, ``n_wavelengths`` or ``spectral_range`` (nm, within 1 %) disagree.
    """
    for key, count in (("n_samples", shape[0]), ("n_wavelengths", shape[1])):
        entry = _number(source.get(key))
        if count is not None and entry is not None and entry != count:
            raise SpectralInputError(f"{name}: {key} is {count}, but {entry:g} in the metadata; is the file truncated?")
    limits = source.get("spectral_range")
    if isinstance(limits, (list, tuple)) and len(limits) == 2:
        stated_ends = [_number(limit) for limit in limits]
        ends = (wavelengths.min(), wavelengths.max())
        if None not in stated_ends and not np.allclose(ends, np.sort(np.array(stated_ends, float)), rtol=0.01):
            raise SpectralInputError(
                f"{name}: the axis runs from {ends[0]:g} to {ends[1]:g} nm, but spectral_range is {limits} in the "
                "metadata; correct one of them."
            )


def _array(path: Path, ndim: int) -> NDArray[Any]:
    where = f"{path.parent.name}/{path.name}"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise SpectralInputError(f"{where} is missing.") from None
    except (ValueError, EOFError, OSError) as error:
        raise SpectralInputError(f"{where} is not a .npy file of numbers, or is truncated: {error}") from error
    if not isinstance(array, np.ndarray):
        raise SpectralInputError(f"{where} is an archive of arrays; save one array with numpy.save.")
    if array.ndim != ndim or array.dtype.kind not in "fiu":
        raise SpectralInputError(f"{where}: expected {ndim}-D numbers, got {array.dtype} of shape {array.shape}.")
    return array


def _baseline(folder: Path, shape: tuple[int, ...], order: NDArray[np.intp] | None) -> NDArray[np.float32] | None:
    """Return the baseline of a folder, or None with a warning if it is damaged."""
    try:
        baseline = _array(folder / BASELINE, 2)
        if baseline.shape != shape:
            raise SpectralInputError(f"{folder.name}/{BASELINE}: shape {baseline.shape}, spectra {shape}.")
        if not _finite(baseline).all():
            raise SpectralInputError(f"{folder.name}/{BASELINE}: a value is missing or not finite.")
    except SpectralInputError as error:
        warnings.warn(f"{error} It is ignored; compute it again with nirs4all-vit precompute-asls.", stacklevel=3)
        return None
    return _ascending(baseline, order)


def _finite(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows have only finite values within single precision."""
    return (np.abs(values) <= float(np.finfo(np.float32).max)).all(axis=1)


def _number(value: Any) -> float | None:
    number, mask = value_and_mask(value)
    return number if mask else None


def _ascending(values: NDArray[Any], order: NDArray[np.intp] | None) -> NDArray[np.float32]:
    if order is not None or values.dtype != np.float32 or not values.flags.c_contiguous:
        return np.ascontiguousarray(values if order is None else values[:, order], dtype=np.float32)
    return values
