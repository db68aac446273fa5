"""Calibration of spectra and reference values: model, figures of merit and report."""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..encoder.checkpoint import DEFAULT_CHECKPOINT
from ..errors import SpectralInputError
from ..progress import ProgressBar
from ..spectra.cells import DAMAGE, CellTable
from ..spectra.checks import Finding, check_pair, check_spectra_file, check_target_file
from ..spectra.data import guess_axis_unit
from ..spectra.signal import constant_rows
from ..spectra.targets import as_numbers
from .explanation import target_importance
from .export import metrics_of, predictions_of
from .folder import MODEL_FILE, environment, save
from .model import SpectralCalibration
from .outliers import doubtful_values, map_samples, unusual_tests
from .reading import Joined, SpectraSet, join, read_spectra, read_targets
from .results import CalibrationResult, Predicted
from .summary import compared, target_result
from .targets import as_targets, target_values

if TYPE_CHECKING:
    import pandas as pd

#: Columns that describe samples; they are calibrated only if named as targets.
_ABOUT_SAMPLES = frozenset(
    ("group", "groups", "batch", "lot", "replicate", "rep", "set", "split", "fold", "date", "operator", "instrument")
)
#: Files of the folder beside the model.
REPORT_FILE, METRICS_FILE, PREDICTIONS_FILE = "report.html", "metrics.json", "predictions.csv"


@dataclass(frozen=True, eq=False)
class Calibration:
    """A fitted calibration with its results.

    Attributes
    ----------
    model : SpectralCalibration
        Fitted on all samples except those of the test set.
    result : CalibrationResult
        Cross-validation, test set, comparison with PLS, outliers and findings.
    """

    model: SpectralCalibration
    result: CalibrationResult

    def metrics(self) -> dict[str, Any]:
        """Return all figures of merit, as in ``metrics.json``."""
        return metrics_of(self.result)

    def predictions(self) -> pd.DataFrame:
        """Return measured and predicted values of all samples, as in ``predictions.csv``."""
        return predictions_of(self.result)

    def write_report(self, path: str | os.PathLike[str]) -> None:
        """Write the report as one HTML file; it needs no network."""
        from .report import write_report

        write_report(self.result, Path(path))

    def save(self, folder: str | os.PathLike[str], *, n4a: bool = False) -> Path:
        """Write model, report, metrics and predictions into a new folder, and return its path.

        Parameters
        ----------
        folder : path
            Folder that does not exist or is empty.
        n4a : bool
            Also write a bundle for ``nirs4all.predict``.

        Raises
        ------
        SpectralInputError
            The folder is not empty or cannot be written, or spectra lack points and `n4a` is True.
        """
        folder = require_new_folder(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Written to a temporary folder and renamed: the folder is never incomplete.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.tmp-") as temporary:
            new = Path(temporary) / "model"
            about = {
                "settings": self.result.settings,
                "provenance": self.result.provenance,
                "signal": self.result.signal,
            }
            save(self.model, new, about)
            self.write_report(new / REPORT_FILE)
            text = json.dumps(self.metrics(), indent=2, ensure_ascii=False, default=_json_value)
            (new / METRICS_FILE).write_text(text + "\n", "utf-8")
            self.predictions().to_csv(new / PREDICTIONS_FILE, index=False, float_format="%.7g")
            if n4a:
                from .n4a import write_n4a

                targets = [one.target for one in self.model.cross_validation_]
                write_n4a(self.model, self.result.spectra, self.result.wavelengths, targets, new)
            if folder.exists():
                folder.rmdir()
            new.rename(folder)
        return folder


def calibrate(
    spectra: Any,
    targets: Any = None,
    output: str | os.PathLike[str] | None = None,
    *,
    target: str | Sequence[str] | None = None,
    ids: str | None = None,
    groups: str | None = None,
    test: Any = None,
    test_targets: Any = None,
    wavelengths: Any = None,
    axis_unit: str = "auto",
    drop: Sequence[str] = (),
    head: str = "committee",
    task: str = "auto",
    cv: str = "auto",
    robust: bool = False,
    coverage: float = 0.9,
    checkpoint: str | os.PathLike[str] = DEFAULT_CHECKPOINT,
    n4a: bool = False,
    progress: bool = False,
) -> Calibration:
    """Calibrate targets on spectra, cross-validate with PLS as reference, and write a model folder.

    Parameters
    ----------
    spectra : path, data frame or array-like of shape (n_spectra, n_wavelengths)
        A table with the wavelengths as header and a row per spectrum, a ``.npy`` file, an
        instrument file, or a folder of instrument files.
    targets : path, data frame, Series or array-like, optional
        Reference values, (n_spectra,) or (n_spectra, n_targets), joined by id if both tables have
        ids, else by order. Without them, `target` names columns of `spectra`.
    output : path, optional
        New folder for model, report, metrics and predictions.
    target : str or sequence of str, optional
        Columns of `targets` to calibrate. Default: all except ids, groups, ``meta_...`` columns
        and columns that describe samples, such as ``batch`` or ``date``.
    ids : str, optional
        Column of sample ids in either table; by default, common names are recognised.
    groups : str, optional
        Column that names the physical sample; replicates of a sample stay in the same fold. By
        default, spectra that share an id are replicates.
    test : float, path, data frame or array-like, optional
        Test set, excluded from calibration and cross-validation: a share of the physical samples,
        drawn with a fixed seed, or spectra.
    test_targets : as `targets`, optional
        Reference values of the spectra in `test`; by default `targets`, joined by id.
    wavelengths : array-like of shape (n_wavelengths,) or path, optional
        Wavelengths of an array or of a ``.npy`` file.
    axis_unit : {"auto", "nm", "cm-1", "um"}
        Unit of the wavelengths.
    drop : sequence of str
        Columns of `spectra` to ignore.
    head, task, cv, robust, coverage, checkpoint : as in `SpectralCalibration`
    n4a : bool
        Also write ``model.n4a``, which ``nirs4all.predict`` reads.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    Calibration

    Raises
    ------
    SpectralInputError, SpectralAxisError, CheckpointError, OSError
        An input or an option cannot be used; the message states the problem and the remedy. Files
        and options are checked before the cross-validation.

    Examples
    --------
    >>> import nirs4all_vit
    >>> wheat = nirs4all_vit.calibrate("spectra.csv", "protein.csv", "wheat/")  # doctest: +SKIP
    >>> wheat.metrics()["targets"]["protein"]["cross_validation"]["rmse"]  # doctest: +SKIP
    """
    started = time.monotonic()
    if output is not None:
        require_new_folder(output)
    names = None if target is None else [target] if isinstance(target, str) else list(target)
    if test is None and test_targets is not None:
        raise SpectralInputError("test_targets is given, but no test spectra; give these with test.")
    read = {"wavelengths": wavelengths, "axis_unit": axis_unit, "ids": ids, "drop": drop}
    beside = [name for name in (groups, *(names or [])) if name is not None]
    findings = _input_findings(spectra, targets, axis_unit, ids, drop, beside)
    with warnings.catch_warnings():
        # The findings already contain the readers' warnings.
        warnings.simplefilter("ignore", UserWarning)
        data, hashes = _read(spectra, targets, names, groups, read)
        data, held_back = _split_test(
            data,
            test,
            lambda source: _read(source, targets if test_targets is None else test_targets, names, groups, read)[0],
        )
    notes = [*data.spectra.notes, *data.notes]
    wanted = as_targets(data.table, task)
    table = data.table
    nm = data.spectra.wavelengths
    # New axes may be in any unit, unless these nanometres could be mistaken for another unit.
    unit = "auto" if guess_axis_unit(nm) == "nm" else "nm"
    model = SpectralCalibration(
        head, task=task, robust=robust, cv=cv, coverage=coverage, axis_unit=unit, checkpoint=checkpoint
    )
    total = model.n_steps(table, data.groups)
    with ProgressBar("calibrating", "step", total + 3, show=progress) as bar:

        def step(name: str) -> None:
            bar.note(done=name)
            bar.update()

        with warnings.catch_warnings(record=True) as messages:
            warnings.simplefilter("always")
            model.fit(data.spectra.values, table, wavelengths=nm, groups=data.groups, progress=step)
            messages = [warning for warning in messages if issubclass(warning.category, UserWarning)]
            step("wavelengths")
            importance = [target_importance(model, one, data.spectra.values, nm) for one in wanted]
            step("outliers")
            tested = None if held_back is None else _predict_test(model, held_back)
            novelty = map_samples(model, data.spectra)
        step("report")
        findings = [*findings, *(Finding("warning", "spectra", text.rstrip("."), "") for text in _unique(messages))]
        findings += [Finding("note", "data", note, "") for note in notes]
        findings += doubtful_values(data, model.cross_validation_)
        if held_back is not None:
            findings += unusual_tests(model, held_back)
        results = tuple(
            target_result(
                data, held_out, model.targets_[k], None if tested is None else tested[k], importance[k], coverage, head
            )
            for k, held_out in enumerate(model.cross_validation_)
        )
        folds = model.folds_
        settings = {
            "head": head, "cross-validation": f"{folds.n_folds} folds x {folds.n_repeats} repetitions",
            "robust": robust, "coverage": coverage, "seed": 0, "samples": len(data.spectra),
            "physical samples": len(np.unique(data.groups)),
            "test samples": 0 if held_back is None else len(held_back.spectra), "axis unit": data.spectra.axis_unit,
            "wavelengths": nm.size, "range": f"{nm[0]:g} to {nm[-1]:g} nm",
        }  # fmt: skip
        provenance = {
            **environment(),
            **({"instrument": ", ".join(data.spectra.instruments)} if data.spectra.instruments else {}),
            "checkpoint": model.embedder_.checkpoint_name_,
            "checkpoint sha256": model.embedder_.checkpoint_sha256_,
            **{f"sha256 of {name}": value for name, value in list(hashes.items())[:20]},
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "seconds": round(time.monotonic() - started, 1),
        }
        title = Path(spectra).stem if isinstance(spectra, (str, Path)) else "Calibration"
        result = CalibrationResult(
            title, data.spectra.ids, data.groups, data.spectra.values, nm, data.spectra.axis_unit,
            data.spectra.signal, results, *novelty, coverage, tuple(findings), settings, provenance,
        )  # fmt: skip
        calibration = Calibration(model, result)
        if output is not None:
            calibration.save(output, n4a=n4a)
    return calibration


def require_new_folder(folder: str | os.PathLike[str]) -> Path:
    """Return the path of a new or empty folder that can be written; else SpectralInputError."""
    path = Path(folder)
    if path.is_file():
        raise SpectralInputError(f"{path} is a file; name a new folder.")
    if path.is_dir() and any(path.iterdir()):
        what = "holds a model" if (path / MODEL_FILE).is_file() else "is not empty"
        raise SpectralInputError(f"{path} {what}; name a new folder, or remove it first.")
    ancestor = next(one for one in (path, *path.absolute().parents) if one.is_dir())
    try:
        with tempfile.TemporaryDirectory(dir=ancestor, prefix=".nirs4all-vit-"):
            pass
    except OSError as error:
        raise SpectralInputError(
            f"{ancestor} cannot be written to ({error.strerror}); name a folder elsewhere."
        ) from error
    return path


def _read(
    spectra: Any, targets: Any, names: list[str] | None, groups: str | None, options: dict[str, Any]
) -> tuple[Joined, dict[str, str]]:
    """Read and join spectra and reference values; rows without any reference value are dropped."""
    columns = [groups] if groups is not None else []
    if targets is None:
        if not names:
            raise SpectralInputError(
                "no reference values are given: give a table of them, or name columns of the spectra with target."
            )
        read = read_spectra(spectra, **options, others=[*columns, *names])
        table, hashes = _own_columns(read, names), dict[str, str]()
        joined = join(read, table, None, groups)
    else:
        read = read_spectra(spectra, **options, others=columns)
        table, column, hashes = read_targets(targets, ids=options["ids"], keep=columns)
        joined = join(read, table, column, groups)
        no_targets = {column, groups, *(name for name in table if str(name).startswith("meta_"))}
        candidates = [str(name) for name in table if name not in no_targets]
        if names is None:
            about = [name for name in candidates if name.lower() in _ABOUT_SAMPLES]
            candidates = [name for name in candidates if name not in about]
            if about and candidates:
                note = (
                    f"columns not calibrated, since they describe samples: {', '.join(map(repr, about))}; to use one, "
                    "name it with target or groups"
                )
                joined = replace(joined, notes=(*joined.notes, note))
        missing = [name for name in names or () if name not in candidates]
        if missing:
            raise SpectralInputError(f"no target is named {missing[0]!r}; the targets are {', '.join(candidates)}.")
        joined = replace(joined, table=joined.table[names or candidates])
    if not joined.table.shape[1]:
        raise SpectralInputError("the table of reference values has no target column; add one.")
    measured = joined.table.notna().any(axis=1).to_numpy()
    if not measured.any():
        raise SpectralInputError("no spectrum has a reference value; add values, or compare the ids of both tables.")
    if not measured.all():
        joined = _left_out(joined, ~measured, "without reference values")
    constant = constant_rows(joined.spectra.values)
    if constant.any():
        joined = _left_out(joined, constant, "that are constant")
    return joined, {**read.hashes, **hashes}


def _left_out(joined: Joined, rows: NDArray[np.bool_], why: str) -> Joined:
    """Remove rows, and add a note that names them."""
    names = ", ".join(joined.spectra.ids[rows][:5]) + (", ..." if np.count_nonzero(rows) > 5 else "")
    note = f"{np.count_nonzero(rows)} spectra {why} were left out: {names}"
    return replace(joined.take(~rows), notes=(*joined.notes, note))


def _own_columns(read: SpectraSet, names: Sequence[str]) -> pd.DataFrame:
    """Return target columns of the table of spectra; a column of numbers becomes numeric."""
    import pandas as pd

    missing = [name for name in names if name not in read.others]
    if missing:
        raise SpectralInputError(
            f"the spectra have no column {missing[0]!r}; name a column of the table, or give a table of reference "
            "values."
        )
    table = pd.DataFrame({name: pd.Series(read.others[name]).replace("", np.nan) for name in names})
    for name in names:
        numbers = pd.to_numeric(table[name], errors="coerce")
        is_numeric = numbers.notna().sum() == table[name].notna().sum()
        table[name] = numbers if is_numeric else as_numbers(table[name], "the spectra", read.separator)
    return table


def _input_findings(
    spectra: Any, targets: Any, axis_unit: str, ids: str | None, drop: Sequence[str], beside: Sequence[str]
) -> list[Finding]:
    """Return findings on inputs that are table files; the first error raises SpectralInputError."""
    suffixes = (".csv", ".csv.gz", ".parquet")
    findings: list[Finding] = []
    is_table = isinstance(spectra, (str, Path)) and str(spectra).lower().endswith(suffixes)
    if is_table:
        labels = _labels(Path(spectra))
        own = [name for name in labels if name in beside or name.startswith("meta_")]
        # The column of ids may be in the other table.
        own_ids = ids if ids in labels or targets is None else None
        findings += check_spectra_file(spectra, axis_unit=axis_unit, ids=own_ids, drop=[*drop, *own])
    if isinstance(targets, (str, Path)) and str(targets).lower().endswith(suffixes):
        findings += check_target_file(
            targets, ids=ids if is_table and ids in _labels(Path(targets), targets=True) else None
        )
        if is_table:
            findings += [one for one in check_pair(spectra, targets, ids=ids) if one.severity != "note"]
    errors = [one for one in findings if one.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more; nirs4all-vit check lists all.)" if len(errors) > 1 else ""
        raise SpectralInputError(f"{errors[0]}{more}")
    return findings


def _labels(path: Path, *, targets: bool = False) -> list[str]:
    """Return the header of a table; an empty list if it cannot be read."""
    try:
        return CellTable.open(path, targets=targets).labels
    except (SpectralInputError, *DAMAGE):
        return []


def _split_test(data: Joined, test: Any, read: Callable[[Any], Joined]) -> tuple[Joined, Joined | None]:
    """Split off the test set: a share of the physical samples, or separate spectra."""
    if test is None:
        return data, None
    if not isinstance(test, (int, float)):
        held_back = read(test)
        shared = (
            np.intersect1d(held_back.spectra.ids, data.spectra.ids)
            if held_back.spectra.has_ids and data.spectra.has_ids
            else ()
        )
        if len(shared):
            # The test spectra may be a part of the calibration table.
            data = data.take(~np.isin(data.spectra.ids, shared))
            note = f"{len(shared)} samples of the test set were also in the calibration set and were removed from it"
            data = replace(data, notes=(*data.notes, note))
        return data, held_back
    if not 0 < test < 1:
        raise SpectralInputError(f"test={test} must lie between 0 and 1: it is a share of the samples.")
    samples = np.unique(data.groups)
    drawn = np.random.default_rng(0).permutation(samples)[: max(1, round(test * len(samples)))]
    apart = np.isin(data.groups, drawn)
    return data.take(~apart), data.take(apart)


def _predict_test(model: SpectralCalibration, data: Joined) -> list[Predicted]:
    """Predict the test set."""
    predicted = model.predict_all(data.spectra.values, wavelengths=data.spectra.wavelengths)
    out = []
    for k, (target, part) in enumerate(zip(model.targets_, predicted, strict=True)):
        measured = target_values(data.table.iloc[:, k], classes=bool(target.classes))
        out.append(
            compared(
                data.spectra.ids,
                target,
                measured,
                part["predicted"],
                part.get("lower"),
                part.get("upper"),
                part.get("possible"),
            )
        )
    return out


def _unique(messages: Any) -> list[str]:
    return list(dict.fromkeys(str(warning.message) for warning in messages))


def _json_value(thing: Any) -> Any:
    return thing.item() if isinstance(thing, np.generic) else str(thing)
