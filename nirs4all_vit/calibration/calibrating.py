"""From spectra and reference values to a model, figures of merit and a report."""

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

#: Columns beside the targets that tell of samples: nobody calibrates them, unless named.
_ABOUT_SAMPLES = frozenset(
    ("group", "groups", "batch", "lot", "replicate", "rep", "set", "split", "fold", "date", "operator", "instrument")
)
#: What the folder holds beside the model.
REPORT_FILE, METRICS_FILE, PREDICTIONS_FILE = "report.html", "metrics.json", "predictions.csv"


@dataclass(frozen=True, eq=False)
class Calibration:
    """A calibration with everything that is known of it.

    Attributes
    ----------
    model : SpectralCalibration
        Fitted on all samples but those of the test set.
    result : CalibrationResult
        Cross-validation, test, comparison with PLS, outliers, findings.
    """

    model: SpectralCalibration
    result: CalibrationResult

    def metrics(self) -> dict[str, Any]:
        """Return all figures of merit, as ``metrics.json`` has them."""
        return metrics_of(self.result)

    def predictions(self) -> pd.DataFrame:
        """Return measured and predicted values of all samples, as ``predictions.csv`` has them."""
        return predictions_of(self.result)

    def write_report(self, path: str | os.PathLike[str]) -> None:
        """Write the report, one HTML file that needs no network."""
        from .report import write_report

        write_report(self.result, Path(path))

    def save(self, folder: str | os.PathLike[str], *, n4a: bool = False) -> Path:
        """Write model, report, metrics and predictions into a new folder; returns it.

        Parameters
        ----------
        folder : path
        n4a : bool
            Write a bundle for ``nirs4all.predict``, too.

        Raises
        ------
        SpectralInputError
            The folder is there and not empty.
        """
        folder = require_new_folder(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Written beside it and renamed: nobody finds half of one.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.tmp-") as temporary:
            new = Path(temporary) / "model"
            about = {
                "settings": self.result.settings,
                "provenance": self.result.provenance,
                "signal": self.result.signal,
            }
            save(self.model, new, about)
            self.write_report(new / REPORT_FILE)
            text = json.dumps(self.metrics(), indent=2, ensure_ascii=False, default=_plain)
            (new / METRICS_FILE).write_text(text + "\n", "utf-8")
            self.predictions().to_csv(new / PREDICTIONS_FILE, index=False)
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
    """Calibrate targets on spectra, cross-validate beside PLS and ridge, and write a model folder with a report.

    Parameters
    ----------
    spectra : path, data frame or array-like of shape (n_spectra, n_wavelengths)
        A table (header: the axis; a row per spectrum), a ``.npy``, an instrument's file, or a folder of such files.
    targets : path, data frame, Series or array-like of shape (n_spectra,) or (n_spectra, n_targets), optional
        Reference values. Joined by id where both have ids, else by order. Without it, `target` names columns of `spectra`.
    output : path, optional
        New folder for model, report, metrics and predictions.
    target : str or sequence of str, optional
        Columns of `targets` to calibrate; all but ids and groups by default.
    ids : str, optional
        Column of ids, of either table; by default the usual names are looked for.
    groups : str, optional
        Column that names the physical sample: replicates are never split. Spectra that share an id are replicates, too.
    test : float, path, data frame or array-like, optional
        Share of the physical samples, drawn with a fixed seed, or spectra, that take no part in calibration and cross-validation.
    test_targets : as `targets`, optional
        Reference values of the test spectra, where those are given; by default `targets`, by id.
    wavelengths : array-like of shape (n_wavelengths,) or path, optional
        Axis of an array or of a ``.npy``.
    axis_unit : {"auto", "nm", "cm-1", "um"}
    drop : sequence of str
        Columns of `spectra` to pass over.
    head, task, cv, robust, coverage, checkpoint : as in `SpectralCalibration`
    n4a : bool
        Write ``model.n4a``, too, which ``nirs4all.predict`` reads.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    Calibration

    Raises
    ------
    SpectralInputError, SpectralAxisError, CheckpointError, OSError
        Before any work, with one sentence on what is wrong and what to do.

    Examples
    --------
    >>> import nirs4all_vit
    >>> found = nirs4all_vit.calibrate("spectra.csv", "protein.csv", "wheat/")  # doctest: +SKIP
    >>> found.metrics()["targets"]["protein"]["cross_validation"]["rmse"]  # doctest: +SKIP
    """
    started = time.monotonic()
    if output is not None:
        require_new_folder(output)
    names = None if target is None else [target] if isinstance(target, str) else list(target)
    if test is None and test_targets is not None:
        raise SpectralInputError("reference values of a test set are given, but no test spectra; give them with test.")
    read = {"wavelengths": wavelengths, "axis_unit": axis_unit, "ids": ids, "drop": drop}
    beside = [name for name in (groups, *(names or [])) if name is not None]
    findings = _checked(spectra, targets, axis_unit, ids, drop, beside)
    with warnings.catch_warnings():
        # What readers warn of is among the findings.
        warnings.simplefilter("ignore", UserWarning)
        data, hashes = _read(spectra, targets, names, groups, read)
        data, held_back = _with_test(
            data,
            test,
            lambda source: _read(source, targets if test_targets is None else test_targets, names, groups, read)[0],
        )
    notes = [*data.spectra.notes, *data.notes]
    wanted = as_targets(data.table, task)
    table = data.table
    nm = data.spectra.wavelengths
    # Later axes may be in any unit, if this one cannot be taken for another.
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
            tested = None if held_back is None else _test(model, held_back)
            usual = map_samples(model, data.spectra)
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
            "head": head, "cross-validation": f"{folds.n_folds} folds x {folds.n_repeats} repetitions", "robust": robust,
            "coverage": coverage, "seed": 0, "samples": len(data.spectra), "physical samples": len(np.unique(data.groups)),
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
            title, data.spectra.ids, data.groups, data.spectra.values, nm, data.spectra.axis_unit, data.spectra.signal, results,
            *usual, coverage, tuple(findings), settings, provenance,
        )  # fmt: skip
        calibration = Calibration(model, result)
        if output is not None:
            calibration.save(output, n4a=n4a)
    return calibration


def require_new_folder(folder: str | os.PathLike[str]) -> Path:
    """Return the path of a folder that is not there, or empty; else a `SpectralInputError`."""
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
            f"nothing can be written into {ancestor} ({error.strerror}); name a folder elsewhere."
        ) from error
    return path


def _read(
    spectra: Any, targets: Any, names: list[str] | None, groups: str | None, options: dict[str, Any]
) -> tuple[Joined, dict[str, str]]:
    """Read both sides and join them; rows without any value are left out."""
    columns = [groups] if groups is not None else []
    if targets is None:
        if not names:
            raise SpectralInputError(
                "no reference values: give a table of them, or name columns of the spectra with target."
            )
        read = read_spectra(spectra, **options, others=[*columns, *names])
        table, hashes = _own_columns(read, names), dict[str, str]()
        joined = join(read, table, None, groups)
    else:
        read = read_spectra(spectra, **options, others=columns)
        table, column, hashes = read_targets(targets, ids=options["ids"], keep=columns)
        joined = join(read, table, column, groups)
        no_targets = {column, groups, *(name for name in table if str(name).startswith("meta_"))}
        there = [str(name) for name in table if name not in no_targets]
        if names is None:
            about = [name for name in there if name.lower() in _ABOUT_SAMPLES]
            there = [name for name in there if name not in about]
            if about and there:
                words = ", ".join(map(repr, about))
                note = f"{words} tells of the samples and was not taken for a target; name it with target or groups if it is one"
                joined = replace(joined, notes=(*joined.notes, note))
        missing = [name for name in names or () if name not in there]
        if missing:
            raise SpectralInputError(f"no target {missing[0]!r}; there are {', '.join(there)}.")
        joined = replace(joined, table=joined.table[names or there])
    if not joined.table.shape[1]:
        raise SpectralInputError("the table of reference values has no column of targets.")
    some = joined.table.notna().any(axis=1).to_numpy()
    if not some.any():
        raise SpectralInputError("no spectrum has a reference value.")
    if not some.all():
        joined = _left_out(joined, ~some, "without reference values")
    dead = constant_rows(joined.spectra.values)
    if dead.any():
        joined = _left_out(joined, dead, "that are constant, and say nothing of their samples,")
    return joined, {**read.hashes, **hashes}


def _left_out(joined: Joined, rows: NDArray[np.bool_], why: str) -> Joined:
    """Take rows out, and note which."""
    names = ", ".join(joined.spectra.ids[rows][:5]) + (", ..." if np.count_nonzero(rows) > 5 else "")
    note = f"{np.count_nonzero(rows)} spectra {why} were left out: {names}"
    return replace(joined.take(~rows), notes=(*joined.notes, note))


def _own_columns(read: SpectraSet, names: Sequence[str]) -> pd.DataFrame:
    """Return targets that stand beside the spectra; numbers are read as such."""
    import pandas as pd

    missing = [name for name in names if name not in read.others]
    if missing:
        raise SpectralInputError(f"the spectra have no column {missing[0]!r}.")
    table = pd.DataFrame({name: pd.Series(read.others[name]).replace("", np.nan) for name in names})
    for name in names:
        numbers = pd.to_numeric(table[name], errors="coerce")
        if numbers.notna().sum() == table[name].notna().sum():
            table[name] = numbers
    return table


def _checked(
    spectra: Any, targets: Any, axis_unit: str, ids: str | None, drop: Sequence[str], beside: Sequence[str]
) -> list[Finding]:
    """Check the tables, where they are tables in files; a `SpectralInputError` has the first error, with place and remedy."""
    suffixes = (".csv", ".csv.gz", ".parquet")
    findings: list[Finding] = []
    is_table = isinstance(spectra, (str, Path)) and str(spectra).lower().endswith(suffixes)
    if is_table:
        labels = _labels(Path(spectra))
        own = [name for name in labels if name in beside or name.startswith("meta_")]
        # A column of ids may be in the other table.
        there = ids if ids in labels or targets is None else None
        findings += check_spectra_file(spectra, axis_unit=axis_unit, ids=there, drop=[*drop, *own])
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
    """Return the header of a table, or nothing where it cannot be read."""
    try:
        return CellTable.open(path, targets=targets).labels
    except (SpectralInputError, *DAMAGE):
        return []


def _with_test(data: Joined, test: Any, read: Callable[[Any], Joined]) -> tuple[Joined, Joined | None]:
    """Set a test set apart: a share of the physical samples, or spectra of their own."""
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
            # One table of reference values serves both, and so may one of spectra.
            data = data.take(~np.isin(data.spectra.ids, shared))
            note = f"{len(shared)} samples of the test set are in the calibration spectra, too, and were taken out of these"
            data = replace(data, notes=(*data.notes, note))
        return data, held_back
    if not 0 < test < 1:
        raise SpectralInputError(f"test={test}: a share must lie between 0 and 1.")
    samples = np.unique(data.groups)
    drawn = np.random.default_rng(0).permutation(samples)[: max(1, round(test * len(samples)))]
    apart = np.isin(data.groups, drawn)
    return data.take(~apart), data.take(apart)


def _test(model: SpectralCalibration, data: Joined) -> list[Predicted]:
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


def _plain(thing: Any) -> Any:
    return thing.item() if isinstance(thing, np.generic) else str(thing)
