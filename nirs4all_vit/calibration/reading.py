"""Reading and joining of spectra and reference values from files, data frames or arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpectralAxisError, SpectralInputError
from ..files import file_sha256
from ..spectra.alignment import Alignment
from ..spectra.cells import CellTable, axis_columns, id_column
from ..spectra.data import Spectra, guess_axis_unit, parse_axis_labels, to_nanometres
from ..spectra.excel import EXCEL_SUFFIXES, OLD_SUFFIXES, sheet_as_csv
from ..spectra.id_checks import plain_id
from ..spectra.instruments import is_instrument_path, read_instruments
from ..spectra.sources import open_source
from ..spectra.tables import open_table
from ..spectra.targets import read_target_table

if TYPE_CHECKING:
    import pandas as pd

#: Limits for values in per cent: positive, with this smallest median and largest value. The median
#: of absorbance is lower.
_LEAST_PERCENT, _MOST_PERCENT = 5.0, 150.0
#: Largest number of ids that a message names.
_NAMED = 5


@dataclass(frozen=True, eq=False)
class SpectraSet:
    """Spectra on one axis.

    Attributes
    ----------
    values : ndarray of shape (n_spectra, n_wavelengths), float64
        NaN where a point is missing.
    wavelengths : ndarray of shape (n_wavelengths,), float64
        In nm, ascending.
    ids : ndarray of shape (n_spectra,), str
        Ids of the source; without any, the row numbers from 1.
    has_ids : bool
        Whether the source has ids.
    axis_unit : {"nm", "cm-1", "um"}
        Unit of the axis in the source.
    signal : str
        Kind of signal, such as "absorbance"; "" if unknown.
    others : dict of str to ndarray of shape (n_spectra,)
        Columns of the source that are not wavelengths, as text.
    notes : tuple of str
        Conversions and other steps, for the report.
    instruments : tuple of str
        Names of the instruments, if the files have them.
    hashes : dict of str to str
        SHA-256 of the files, by file name.
    index : ndarray of shape (n_spectra,), str, or None
        Row labels of a data frame.
    refused : dict of int to str
        Rows that cannot be used, and why; all of their points are NaN.
    separator : str
        Column separator of the file; ``,`` for other sources.
    """

    values: NDArray[np.float64]
    wavelengths: NDArray[np.float64]
    ids: NDArray[Any]
    has_ids: bool
    axis_unit: str = "nm"
    signal: str = ""
    others: dict[str, NDArray[Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    hashes: dict[str, str] = field(default_factory=dict)
    instruments: tuple[str, ...] = ()
    index: NDArray[Any] | None = None
    refused: dict[int, str] = field(default_factory=dict)
    separator: str = ","

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[Any]) -> SpectraSet:
        """Return some of the spectra."""
        others = {name: column[rows] for name, column in self.others.items()}
        index = None if self.index is None else self.index[rows]
        return replace(self, values=self.values[rows], ids=self.ids[rows], others=others, index=index)


def read_spectra(
    source: Any,
    *,
    wavelengths: Any = None,
    axis_unit: str = "auto",
    ids: str | None = None,
    drop: Sequence[str] = (),
    others: Sequence[str] = (),
    lenient: bool = False,
) -> SpectraSet:
    """Read spectra.

    Parameters
    ----------
    source : path, data frame, or array-like of shape (n_spectra, n_wavelengths)
        A table, a ``.npy`` file, an instrument file or a folder of instrument files.
    wavelengths : array-like of shape (n_wavelengths,) or path, optional
        Wavelengths of an array or a ``.npy`` file.
    axis_unit : {"auto", "nm", "cm-1", "um"}
    ids : str, optional
        Column of ids; by default, common names are recognised.
    drop : sequence of str
        Columns of a table to ignore.
    others : sequence of str
        Columns to return as text if the table has them: targets and groups.
    lenient : bool
        Return spectra of a table file that cannot be used in `SpectraSet.refused` instead of
        raising an error.

    Raises
    ------
    SpectralInputError, SpectralAxisError
        As in `nirs4all_vit.spectra.sources.open_source`.
    OSError
        The file does not exist.
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist.")
        if wavelengths is not None and path.suffix.lower() != ".npy":
            raise SpectralInputError(
                f"{path.name} has its own axis; leave out the wavelengths, which are for .npy files."
            )
        if path.suffix.lower() in (*EXCEL_SUFFIXES, *OLD_SUFFIXES):
            sheet, folder = sheet_as_csv(path)
            with folder:
                read = _of_file(sheet, None, axis_unit, ids, drop, others, lenient)
            return _as_absorbance(replace(read, hashes={path.name: file_sha256(path)}))
        read = (
            _of_instruments(path)
            if is_instrument_path(path)
            else _of_file(path, wavelengths, axis_unit, ids, drop, others, lenient)
        )
    elif hasattr(source, "columns"):
        read = _of_frame(source, wavelengths, axis_unit, ids, drop, others)
    else:
        values = np.asarray(source, dtype=np.float64)
        if values.ndim != 2 or not values.size:
            raise SpectralInputError(f"spectra have shape {values.shape}; give (n_spectra, n_wavelengths).")
        if wavelengths is None:
            raise SpectralAxisError("an array has no wavelengths; give wavelengths=.")
        read = _on_axis(values, np.asarray(wavelengths), axis_unit)
    return _as_absorbance(read)


def _on_axis(values: NDArray[np.float64], axis: Any, axis_unit: str, ids: NDArray[Any] | None = None) -> SpectraSet:
    nm = to_nanometres(axis, axis_unit)
    if nm.size != values.shape[1]:
        raise SpectralAxisError(f"{nm.size} wavelengths for spectra of {values.shape[1]} points; they must agree.")
    block = Spectra.on_grid(values, nm)
    names = np.array([str(k + 1) for k in range(len(values))]) if ids is None else ids
    return SpectraSet(block.values, block.wavelengths, names, ids is not None, _unit(axis, axis_unit))


def _unit(axis: Any, axis_unit: str) -> str:
    """Return the unit in which an axis is written."""
    if axis_unit != "auto":
        return axis_unit
    parsed = parse_axis_labels(np.ravel(np.asarray(axis, dtype=object)))
    if parsed is None:
        return "nm"
    written, unit = parsed
    return guess_axis_unit(written) if unit == "auto" else unit


def _of_file(
    path: Path,
    wavelengths: Any,
    axis_unit: str,
    ids: str | None,
    drop: Sequence[str],
    others: Sequence[str],
    lenient: bool,
) -> SpectraSet:
    hashes = {path.name: file_sha256(path)}
    if path.name.lower().endswith(".npy"):
        opened = open_source(path, axis_unit, None if wavelengths is None else Path(wavelengths))
        values = opened.read()
        return replace(_on_axis(values, opened.wavelengths, "nm"), hashes=hashes)
    table = CellTable.open(path)
    column = id_column(table.labels, [cells for _, cells in table.sample], ids)
    beside = [name for name in table.labels if name in others or name.startswith("meta_")]
    no_spectra = [*dict.fromkeys([*beside, *([] if column is None else [column]), *drop])]
    refused: dict[int, str] = {}
    opened = replace(open_table(path, axis_unit, no_spectra), refused=refused if lenient else None)
    columns = {name: np.array([cell for _, cell in table.column(name)], dtype=object) for name in beside}
    names = None if column is None else np.array([cell for _, cell in table.column(column)], dtype=str)
    labels = [table.labels[i] for i in axis_columns(table.labels)]
    values = opened.read()
    read = _on_axis(values, opened.wavelengths, "nm", names)
    return replace(
        read,
        axis_unit=_unit(labels, axis_unit),
        others=columns,
        hashes=hashes,
        refused=refused,
        separator=table.delimiter,
    )


def _of_frame(
    frame: Any, wavelengths: Any, axis_unit: str, ids: str | None, drop: Sequence[str], others: Sequence[str]
) -> SpectraSet:
    import pandas as pd

    frame = pd.DataFrame(frame)
    labels = [str(label) for label in frame.columns]
    frame = frame.set_axis(labels, axis=1)
    cells = (
        [[str(value) for value in row] for row in frame.head(100).to_numpy(dtype=object)]
        if ids or frame.select_dtypes(exclude="number").shape[1]
        else []
    )
    column = id_column(labels, cells, ids) if cells else None
    beside = [name for name in labels if name in others or name.startswith("meta_")]
    no_spectra = {*beside, *drop, *([] if column is None else [column])}
    spectra = frame[[name for name in labels if name not in no_spectra]]
    axis = list(spectra.columns) if wavelengths is None else wavelengths
    if wavelengths is None:
        odd = [name for name in spectra.columns if parse_axis_labels([name]) is None]
        if odd and parse_axis_labels(spectra.columns) is None:
            raise SpectralAxisError(
                f"column {odd[0][:40]!r} is not a wavelength; name it as ids=, groups= or target=, or drop it."
            )
    try:
        values = spectra.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise SpectralInputError(f"the spectra contain text ({error}); name such columns in drop.") from error
    names = None
    if column is not None:
        names = frame[column].astype(str).to_numpy(dtype=str)
    elif not isinstance(frame.index, pd.RangeIndex):
        names = frame.index.astype(str).to_numpy(dtype=str)
    columns = {
        name: frame[name].astype(object).where(frame[name].notna(), "").astype(str).to_numpy() for name in beside
    }
    index = frame.index.astype(str).to_numpy(dtype=str)
    return replace(_on_axis(values, axis, axis_unit, names), others=columns, index=index)


def _of_instruments(path: Path) -> SpectraSet:
    """Read instrument files; spectra on different axes are resampled onto a common one."""
    files = read_instruments(path)
    blocks = [Spectra(value[np.newaxis], axis) for value, axis in zip(files.values, files.wavelengths, strict=True)]
    notes = list(files.notes)
    first = blocks[0].wavelengths
    if all(np.array_equal(block.wavelengths, first) for block in blocks):
        values, nm = np.concatenate([block.values for block in blocks]), first
    else:
        alignment, aligned = Alignment.fit(blocks)
        values, nm = aligned[0].values, alignment.wavelengths
        notes.append(f"the spectra have different axes and were resampled onto one from {nm[0]:g} to {nm[-1]:g} nm")
    hashes = {source.name: file_sha256(source) for source in files.sources if source.is_file()}
    return SpectraSet(
        values,
        nm,
        np.array(files.ids, dtype=str),
        True,
        files.axis_unit,
        "absorbance" if files.signal else "",
        {},
        tuple(notes),
        hashes,
        tuple(dict.fromkeys(about["instrument"] for about in files.metadata if about.get("instrument"))),
    )


def _as_absorbance(read: SpectraSet) -> SpectraSet:
    """Convert values that are per cent of reflectance or transmittance to absorbance."""
    finite = read.values[np.isfinite(read.values)]
    if not finite.size or finite.min() <= 0 or finite.max() > _MOST_PERCENT or np.median(finite) < _LEAST_PERCENT:
        return read
    note = (
        f"values from {finite.min():.3g} to {finite.max():.3g} were read as per cent of reflectance or transmittance R "
        "and converted to absorbance, log10(100 / R)"
    )
    return replace(read, values=2.0 - np.log10(read.values), signal="absorbance", notes=(*read.notes, note))


@dataclass(frozen=True, eq=False)
class Joined:
    """Spectra with their reference values, row by row.

    Attributes
    ----------
    spectra : SpectraSet
    table : DataFrame
        Columns of reference values, a row per spectrum; NaN for missing values.
    groups : ndarray of shape (n_spectra,), str
        Physical sample of each spectrum.
    notes : tuple of str
        Steps of the join, for the report.
    """

    spectra: SpectraSet
    table: pd.DataFrame
    groups: NDArray[Any]
    notes: tuple[str, ...]

    def take(self, rows: NDArray[Any]) -> Joined:
        """Return some of the rows."""
        table = self.table.iloc[np.flatnonzero(rows) if rows.dtype == bool else rows]
        return replace(
            self, spectra=self.spectra.take(rows), table=table.reset_index(drop=True), groups=self.groups[rows]
        )


def read_targets(
    source: Any, *, ids: str | None, keep: Sequence[str]
) -> tuple[pd.DataFrame, str | None, dict[str, str]]:
    """Read reference values.

    Parameters
    ----------
    source : path, data frame, Series or array-like
    ids : str, optional
        Column of ids; by default, common names are recognised.
    keep : sequence of str
        Columns that are not targets and remain text.

    Returns
    -------
    table : DataFrame
        Without a column of ids, a data frame keeps its index.
    column : str or None
        Column of ids.
    hashes : dict of str to str
        SHA-256 of the file, by file name.
    """
    import pandas as pd

    if isinstance(source, (str, Path)):
        path = Path(source)
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist.")
        if path.suffix.lower() in (*EXCEL_SUFFIXES, *OLD_SUFFIXES):
            sheet, folder = sheet_as_csv(path)
            with folder:
                table, column = _targets_of_file(sheet, ids, keep)
        else:
            table, column = _targets_of_file(path, ids, keep)
        return table, column, {path.name: file_sha256(path)}
    if isinstance(source, pd.DataFrame):
        table = source.set_axis([str(name) for name in source.columns], axis=1)
        rows = [[str(value) for value in row] for row in table.head(100).to_numpy(dtype=object)]
        column = id_column(list(table.columns), rows, ids if ids in table.columns else None)
        return table if column is None else table.reset_index(drop=True), column, {}
    if isinstance(source, pd.Series):
        return read_targets(source.to_frame("target" if source.name is None else str(source.name)), ids=ids, keep=keep)
    values = np.asarray(source)
    if values.ndim not in (1, 2):
        raise SpectralInputError(f"targets have shape {values.shape}; give (n_samples,) or (n_samples, n_targets).")
    columns = values.reshape(len(values), -1)
    names = ["target"] if columns.shape[1] == 1 else [f"target {k + 1}" for k in range(columns.shape[1])]
    return pd.DataFrame(columns, columns=names).infer_objects(), None, {}


def _targets_of_file(path: Path, ids: str | None, keep: Sequence[str]) -> tuple[pd.DataFrame, str | None]:
    cells = CellTable.open(path, targets=True)
    column = id_column(cells.labels, [row for _, row in cells.sample], ids if ids in cells.labels else None)
    table = read_target_table(path, [*keep, *([] if column is None else [column])])
    if column is not None:
        names = [cell for _, cell in cells.column(column)]
        table = table.iloc[: len(names)].copy()  # spreadsheets append empty rows
        table[column] = names
    return table, column


def join(spectra: SpectraSet, table: pd.DataFrame, column: str | None, groups: str | None) -> Joined:
    """Join spectra and reference values by id if both have ids, else by order.

    Two data frames with the same row labels are joined by these.

    Raises
    ------
    SpectralInputError
        The numbers of rows differ, no id is in both, or an id has several rows of values.
    """
    import pandas as pd

    notes: list[str] = []
    if column is None:
        table = _by_index(spectra, table, notes)
    if column is not None and spectra.has_ids:
        names = table[column].astype(str).str.strip()
        own = pd.Series(spectra.ids).astype(str).str.strip()
        if len(names) == len(own) and (names.to_numpy() == own.to_numpy()).all():
            notes.append(f"{len(own)} spectra and reference values have the same ids in the same order")
        else:
            repeated = names[names.duplicated()]
            if len(repeated):
                raise SpectralInputError(f"id {repeated.iloc[0]!r} has several rows of reference values; keep one.")
            place = {name: row for row, name in enumerate(names)}
            rows = np.array([place.get(name, -1) for name in own])
            if not (rows >= 0).any():
                plain = {plain_id(name): row for row, name in enumerate(names)}
                if len(plain) == len(names):
                    rows = np.array([plain.get(plain_id(name), -1) for name in own])
                    if (rows >= 0).any():
                        notes.append("ids were compared without case, blanks, leading zeros and .0")
            n_joined = np.count_nonzero(rows >= 0)
            if not n_joined:
                raise SpectralInputError(
                    f"no id of the {len(own)} spectra (such as {own.iloc[0]!r}) is among the {len(names)} ids of the "
                    f"reference values (such as {names.iloc[0]!r}); write ids alike in both files, or remove the "
                    "column from one to join by order."
                )
            without = own[rows < 0].unique()
            notes.append(
                f"{n_joined} of {len(own)} spectra have reference values by id"
                + (
                    f"; none for {', '.join(without[:_NAMED])}{', ...' if len(without) > _NAMED else ''}"
                    if len(without)
                    else ""
                )
            )
            unused = len(names) - len(set(rows[rows >= 0]))
            if unused:
                notes.append(f"{unused} rows of reference values have no spectrum")
            own_rows = table.iloc[np.maximum(rows, 0)].reset_index(drop=True)
            table = own_rows.where(pd.Series(rows >= 0), other=np.nan) if (rows < 0).any() else own_rows
    else:
        extra = table.iloc[len(spectra) :]
        if len(extra) and extra.isna().to_numpy().all():
            table = table.iloc[: len(spectra)]
        if len(table) != len(spectra):
            raise SpectralInputError(
                f"{len(spectra)} spectra, but {len(table)} rows of reference values; add the missing rows, or add a "
                "column of ids to both files."
            )
        if not notes:
            notes.append(f"{len(spectra)} spectra and reference values were joined by order")
    return Joined(spectra, table, _groups(spectra, table, groups), tuple(notes))


def _by_index(spectra: SpectraSet, table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Return reference values without labels, sorted like the spectra if both share row labels."""
    labels = table.index.astype(str)
    if (
        spectra.index is not None
        and not np.array_equal(labels, spectra.index)
        and labels.is_unique
        and np.isin(spectra.index, labels).all()
    ):
        notes.append(f"{len(spectra)} spectra and reference values were joined by row labels")
        table = table.set_axis(labels, axis=0).loc[spectra.index]
    return table.reset_index(drop=True)


def _groups(spectra: SpectraSet, table: pd.DataFrame, groups: str | None) -> NDArray[Any]:
    """Return the physical sample of each spectrum: a column, the ids, or one sample per row."""
    if groups is None:
        return spectra.ids.astype(str) if spectra.has_ids else np.array([f"row {k + 1}" for k in range(len(spectra))])
    if groups in table:
        return table[groups].astype(str).to_numpy(dtype=str)
    if groups in spectra.others:
        return spectra.others[groups].astype(str)
    raise SpectralInputError(
        f"no column is named {groups!r}; for groups, name a column of the spectra or of the reference values."
    )
