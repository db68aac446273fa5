"""From spectra and reference values to a model, figures of merit and a report."""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from tqdm import tqdm

from ..encoder.checkpoint import DEFAULT_CHECKPOINT
from ..errors import SpectralInputError
from ..spectra.checks import Finding, check_pair, check_spectra_file, check_target_file
from ..spectra.data import spread_rows
from .cross_validation import HeldOut
from .explanation import target_importance
from .folder import MODEL_FILE, environment, save
from .metrics import classification_metrics, regression_metrics, rmse_ratio_interval
from .model import CalibratedTarget, SpectralCalibration, join_possible
from .reading import Joined, SpectraSet, join, read_spectra, read_targets
from .results import CalibrationResult, Comparison, LearningPoint, Predicted, TargetResult
from .targets import as_targets

if TYPE_CHECKING:
    import pandas as pd

#: What the folder holds beside the model.
REPORT_FILE, METRICS_FILE, PREDICTIONS_FILE = "report.html", "metrics.json", "predictions.csv"
#: Samples that the map of scores is made from, at most.
_MAX_MAPPED = 2000


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

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write model, report, metrics and predictions into a new folder; returns it.

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
            about = {"settings": self.result.settings, "provenance": self.result.provenance, "signal": self.result.signal}
            save(self.model, new, about)
            self.write_report(new / REPORT_FILE)
            text = json.dumps(self.metrics(), indent=2, ensure_ascii=False, default=_plain)
            (new / METRICS_FILE).write_text(text + "\n", "utf-8")
            self.predictions().to_csv(new / PREDICTIONS_FILE, index=False)
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
    read = {"wavelengths": wavelengths, "axis_unit": axis_unit, "ids": ids, "drop": drop}
    data, hashes = _read(spectra, targets, names, groups, read)
    findings = _checked(spectra, targets, axis_unit, ids, [*drop, *data.spectra.others])
    notes = [*data.spectra.notes, *data.notes]
    data, held_back = _with_test(data, test, test_targets, names, groups, read)
    wanted = as_targets(data.table, task)
    table = data.table
    model = SpectralCalibration(head, task=task, robust=robust, cv=cv, coverage=coverage, checkpoint=checkpoint)
    nm = data.spectra.wavelengths
    total = model.n_steps(table, data.groups)
    with tqdm(total=total + 3, desc="calibrating", unit="step", disable=not progress, leave=False) as bar:

        def step(name: str) -> None:
            bar.set_description(name, refresh=False)
            bar.update()

        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model.fit(data.spectra.values, table, wavelengths=nm, groups=data.groups, progress=step)
            said = [warning for warning in said if issubclass(warning.category, UserWarning)]
            step("wavelengths")
            importance = [target_importance(model, one, data.spectra.values, nm, table.iloc[:, k]) for k, one in enumerate(wanted)]
            step("outliers")
            tested = None if held_back is None else _test(model, held_back, wanted, task)
            usual = _usual(model, data.spectra, said)
        step("report")
        findings = [*findings, *(Finding("warning", "spectra", text.rstrip("."), "") for text in _unique(said))]
        findings += [Finding("note", "data", note, "") for note in notes]
        results = tuple(
            _target_result(data, held_out, model.targets_[k], None if tested is None else tested[k], importance[k], coverage)
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
            "checkpoint": model.embedder_.checkpoint_name_,
            "checkpoint sha256": model.embedder_.checkpoint_sha256_,
            **{f"sha256 of {name}": value for name, value in list(hashes.items())[:20]},
            "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "seconds": round(time.monotonic() - started, 1),
        }
        title = Path(spectra).stem if isinstance(spectra, (str, Path)) else "Calibration"
        result = CalibrationResult(
            title, data.spectra.ids, data.groups, data.spectra.values, nm, data.spectra.axis_unit, data.spectra.signal, results,
            *usual, coverage, tuple(findings), settings, provenance,
        )  # fmt: skip
        found = Calibration(model, result)
        if output is not None:
            found.save(output)
    return found


def require_new_folder(folder: str | os.PathLike[str]) -> Path:
    """Return the path of a folder that is not there, or empty; else a `SpectralInputError`."""
    path = Path(folder)
    if path.is_file():
        raise SpectralInputError(f"{path} is a file; name a new folder.")
    if path.is_dir() and any(path.iterdir()):
        what = "holds a model" if (path / MODEL_FILE).is_file() else "is not empty"
        raise SpectralInputError(f"{path} {what}; name a new folder, or remove it first.")
    return path


def _read(
    spectra: Any, targets: Any, names: list[str] | None, groups: str | None, options: dict[str, Any]
) -> tuple[Joined, dict[str, str]]:
    """Read both sides and join them; rows without any value are left out."""
    kept = [groups] if groups is not None else []
    if targets is None:
        if not names:
            raise SpectralInputError("no reference values: give a table of them, or name columns of the spectra with target.")
        read = read_spectra(spectra, **options, others=[*kept, *names])
        table, hashes = _own_columns(read, names), {}
        joined = join(read, table, None, groups)
    else:
        read = read_spectra(spectra, **options, others=kept)
        table, column, hashes = read_targets(targets, ids=options["ids"], keep=kept)
        joined = join(read, table, column, groups)
        no_targets = {column, groups, *(name for name in table if str(name).startswith("meta_"))}
        missing = [name for name in names or () if name not in table]
        if missing:
            raise SpectralInputError(f"no target {missing[0]!r}; there are {', '.join(str(n) for n in table if n not in no_targets)}.")
        joined = replace(joined, table=joined.table[names or [name for name in table if name not in no_targets]])
    if not joined.table.shape[1]:
        raise SpectralInputError("the table of reference values has no column of targets.")
    some = joined.table.notna().any(axis=1).to_numpy()
    if not some.any():
        raise SpectralInputError("no spectrum has a reference value.")
    if not some.all():
        joined = replace(joined.take(some), notes=(*joined.notes, f"{np.count_nonzero(~some)} spectra without values were left out"))
    return joined, {**read.hashes, **hashes}


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


def _checked(spectra: Any, targets: Any, axis_unit: str, ids: str | None, drop: Sequence[str]) -> list[Finding]:
    """Check the tables, where they are tables in files."""
    suffixes = (".csv", ".csv.gz", ".parquet")
    findings: list[Finding] = []
    is_table = isinstance(spectra, (str, Path)) and str(spectra).lower().endswith(suffixes)
    if is_table:
        findings += check_spectra_file(spectra, axis_unit=axis_unit, ids=ids, drop=drop)
    if isinstance(targets, (str, Path)):
        findings += check_target_file(targets, ids=ids)
        if is_table:
            findings += [one for one in check_pair(spectra, targets, ids=ids) if one.severity != "note"]
    return findings


def _with_test(
    data: Joined, test: Any, test_targets: Any, names: list[str] | None, groups: str | None, options: dict[str, Any]
) -> tuple[Joined, Joined | None]:
    """Set a test set apart: a share of the physical samples, or spectra of their own."""
    if test is None:
        return data, None
    if isinstance(test, (int, float)):
        if not 0 < test < 1:
            raise SpectralInputError(f"test={test}: a share must lie between 0 and 1.")
        samples = np.unique(data.groups)
        n = max(1, round(test * len(samples)))
        drawn = np.random.default_rng(0).permutation(samples)[:n]
        apart = np.isin(data.groups, drawn)
        return data.take(~apart), data.take(apart)
    raise SpectralInputError("test must be a share of the samples.") if test_targets is None else SpectralInputError("")


def _test(model: SpectralCalibration, data: Joined, wanted: Any, task: str) -> list[Predicted]:
    """Predict the test set."""
    predicted = model.predict_all(data.spectra.values, wavelengths=data.spectra.wavelengths)
    out = []
    for k, (target, part) in enumerate(zip(model.targets_, predicted, strict=True)):
        column = data.table.iloc[:, k]
        if target.classes:
            measured: NDArray[Any] = np.array(["" if missing else str(v) for v, missing in zip(column, column.isna(), strict=True)])
        else:
            measured = column.to_numpy(dtype=np.float64, na_value=np.nan)
        out.append(_predicted(data.spectra.ids, target, measured, part["predicted"], part.get("lower"), part.get("upper"), part.get("possible")))
    return out


def _predicted(
    ids: NDArray[Any], target: CalibratedTarget, measured: NDArray[Any], predicted: NDArray[Any], lower: Any, upper: Any, possible: Any
) -> Predicted:
    if target.classes:
        known = (measured != "") & (predicted.astype(str) != "")
        metrics: Any = classification_metrics(measured[known], predicted[known].astype(str))
        inside = [m in str(p).split("|") for m, p in zip(measured[known], possible[known], strict=True)]
    else:
        metrics = regression_metrics(measured, predicted)
        known = np.isfinite(measured) & np.isfinite(predicted)
        inside = ((lower <= measured) & (measured <= upper))[known]
    return Predicted(ids, measured, predicted, lower, upper, possible, metrics, float(np.mean(inside)) if len(inside) else float("nan"))


def _target_result(
    data: Joined, held_out: HeldOut, target: CalibratedTarget, tested: Predicted | None, importance: Any, coverage: float
) -> TargetResult:
    n, rows = len(data.spectra), held_out.rows
    others = held_out.others
    codes = np.unique(data.groups[rows], return_inverse=True)[1]
    if target.classes:
        cross_validated, errors = _classes_left_out(data, held_out, target, coverage)
    else:
        lower, upper = _left_out_intervals(held_out, codes, coverage)
        full = {name: np.full(n, np.nan) for name in ("predicted", "lower", "upper")}
        for name, values in (("predicted", held_out.centre.mean(axis=0)), ("lower", lower), ("upper", upper)):
            full[name][rows] = values
        cross_validated = _predicted(
            data.spectra.ids, target, held_out.target.values, full["predicted"], full["lower"], full["upper"], None
        )
        cross_validated = replace(cross_validated, metrics=_mean_metrics(held_out.measured, held_out.centre))
        errors = {name: np.square(values - held_out.measured).mean(axis=0) for name, values in {"": held_out.centre, **others}.items()}
    reference = next(name for name in others if name.startswith("PLS"))
    comparisons = []
    for name, predicted in {"": held_out.centre, **others}.items():
        if target.classes:
            words = np.asarray(target.classes)
            each = [classification_metrics(words[held_out.measured.astype(int)], words[p.astype(int)]) for p in predicted]
            metrics: Any = _mean_of(each)
        else:
            metrics = _mean_metrics(held_out.measured, predicted)
        ratio = (1.0, 1.0, 1.0) if name == reference else rmse_ratio_interval(errors[name], errors[reference], codes)
        if target.classes and name != reference:
            ratio = tuple(value**2 for value in ratio)  # type: ignore[assignment] # shares of errors, not their roots
        comparisons.append(Comparison(name or "Chosen head", metrics, *ratio))
    learning = tuple(
        LearningPoint(size, float(np.mean(values)), float(np.std(values)))
        for size, values in _merged(held_out.learning)
    )
    return TargetResult(
        target.name, held_out.target.task, target.classes, cross_validated, tested, tuple(comparisons), learning, importance
    )


def _mean_metrics(measured: NDArray[Any], predicted: NDArray[np.float64]) -> Any:
    """Return the mean figures of merit over repetitions."""
    return _mean_of([regression_metrics(measured, one) for one in predicted])


def _mean_of(each: Sequence[Any]) -> Any:
    kind = type(each[0])
    means = {name: float(np.mean([getattr(one, name) for one in each])) for name in each[0].__dataclass_fields__}
    return kind(**{**means, "n": each[0].n})


def _left_out_intervals(held_out: HeldOut, codes: NDArray[np.intp], coverage: float) -> tuple[Any, Any]:
    """Return intervals of calibration samples, each from the residuals of the other folds."""
    from ..heads.conformal import conformal_quantile

    centre = held_out.centre.mean(axis=0)
    scale = np.ones(len(centre)) if held_out.scale is None else held_out.scale.mean(axis=0)
    residuals = held_out.nonconformity()
    half = np.empty(len(centre))
    for fold in np.unique(held_out.fold):
        others = held_out.fold != fold
        width = conformal_quantile(residuals[others], len(np.unique(codes[others])), coverage)
        half[~others] = width
    return centre - half * scale, centre + half * scale


def _classes_left_out(
    data: Joined, held_out: HeldOut, target: CalibratedTarget, coverage: float
) -> tuple[Predicted, dict[str, NDArray[np.float64]]]:
    from ..heads.conformal import conformal_quantile

    assert held_out.scores is not None
    n, rows = len(data.spectra), held_out.rows
    words = np.asarray(target.classes)
    votes = np.stack([(held_out.centre == k).sum(axis=0) for k in range(len(words))], axis=1)
    # The most frequent class; of equally frequent ones that with the larger score.
    scores = held_out.scores.mean(axis=0)
    chosen = (votes + 1e-9 * scores.argsort(axis=1).argsort(axis=1)).argmax(axis=1)
    predicted, possible = np.full(n, "", dtype=object), np.full(n, "", dtype=object)
    predicted[rows] = words[chosen]
    limit = conformal_quantile(held_out.nonconformity(), target.n_samples, coverage)
    possible[rows] = join_possible(words, scores, limit)
    found = _predicted(data.spectra.ids, target, held_out.target.values, predicted, None, None, possible)
    each = [classification_metrics(words[held_out.measured.astype(int)], words[p.astype(int)]) for p in held_out.centre]
    weights = 1.0 / np.bincount(held_out.measured.astype(int), minlength=len(words))[held_out.measured.astype(int)]
    errors = {
        name: weights * (values != held_out.measured).mean(axis=0)
        for name, values in {"": held_out.centre, **held_out.others}.items()
    }
    return replace(found, metrics=_mean_of(each)), errors


def _merged(learning: dict[int, list[float]]) -> list[tuple[int, list[float]]]:
    """Join sizes that differ by a sample or two, as folds do."""
    merged: list[tuple[list[int], list[float]]] = []
    for size in sorted(learning):
        if merged and size <= 1.1 * merged[-1][0][0]:
            merged[-1][0].append(size)
            merged[-1][1].extend(learning[size])
        else:
            merged.append(([size], list(learning[size])))
    return [(round(float(np.mean(sizes))), values) for sizes, values in merged]


def _usual(
    model: SpectralCalibration, spectra: SpectraSet, said: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], tuple[float, float], dict[int, str]]:
    """Return T2 and Q over their limits, scores with the share that each explains, and the outliers in words."""
    nm, X = spectra.wavelengths, spectra.values
    columns = model.embedder_.transform(X, wavelengths=nm)[:, : model.width_]
    pca = PCA(2, svd_solver="randomized", random_state=0).fit(columns[spread_rows(len(X), _MAX_MAPPED)])
    scores = pca.transform(columns).astype(np.float64)
    explained = tuple(float(v) for v in pca.explained_variance_ratio_)
    if model.novelty_ is None:
        unknown = np.full(len(X), np.nan)
        return unknown, unknown, scores, (explained[0], explained[1]), {}
    limits = model.novelty_.limits_
    ratios = np.full((2, len(X)), np.nan)
    # Spectra that were looked at are judged by a model without them.
    if len(limits.rows) < len(X):
        ratios[:] = model.measure_novelty(X, wavelengths=nm).T
    ratios[:, limits.rows] = limits.held_out / np.array([[limits.t2_limit], [limits.q_limit]])
    outliers = {int(row): novelty_reason(*ratios[:, row]) for row in np.flatnonzero((ratios > 1).any(axis=0))}
    return ratios[0], ratios[1], scores, (explained[0], explained[1]), outliers


def novelty_reason(t2: float, q: float) -> str:
    """Say in words why a spectrum is unlike the calibration; "" where it is not."""
    reasons = []
    if t2 > 1:
        reasons.append(f"far from the centre of the calibration (T2 {t2:.1f} times its limit)")
    if q > 1:
        reasons.append(f"shape unlike the calibration (Q residual {q:.1f} times its limit)")
    return " and ".join(reasons)


def _unique(said: Any) -> list[str]:
    return list(dict.fromkeys(str(warning.message) for warning in said))


def metrics_of(result: CalibrationResult) -> dict[str, Any]:
    """Return all figures of merit as plain numbers."""
    targets = {}
    for one in result.targets:
        found: dict[str, Any] = {
            "task": one.task,
            "cross_validation": {**asdict(one.cross_validated.metrics), "coverage": one.cross_validated.coverage},
            "compared": {c.name: {**asdict(c.metrics), "ratio_to_pls": c.ratio, "ratio_95": [c.lower, c.upper]} for c in one.comparisons},
            "learning_curve": [asdict(point) for point in one.learning_curve],
        }
        if one.test is not None:
            found["test"] = {**asdict(one.test.metrics), "coverage": one.test.coverage}
        targets[one.name] = found
    outliers = {str(result.ids[row]): reason for row, reason in result.outliers.items()}
    findings = [asdict(finding) for finding in result.findings]
    return _finite(
        {"targets": targets, "outliers": outliers, "findings": findings, "settings": result.settings, "provenance": result.provenance}
    )


def predictions_of(result: CalibrationResult) -> pd.DataFrame:
    """Return a row per sample: cross-validated samples first, then those of the test set."""
    import pandas as pd

    parts = [("cross-validation", [one.cross_validated for one in result.targets])]
    if result.targets[0].test is not None:
        parts.append(("test", [one.test for one in result.targets if one.test is not None]))
    frames = []
    for name, each in parts:
        frame = pd.DataFrame({"id": each[0].ids, "set": name})
        for target, one in zip(result.targets, each, strict=True):
            frame[f"{target.name} measured"], frame[f"{target.name} predicted"] = one.measured, one.predicted
            if one.lower is not None:
                frame[f"{target.name} lower"], frame[f"{target.name} upper"] = one.lower, one.upper
            if one.possible is not None:
                frame[f"{target.name} possible"] = one.possible
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _finite(thing: Any) -> Any:
    """Return None for numbers that JSON does not have."""
    if isinstance(thing, dict):
        return {key: _finite(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [_finite(value) for value in thing]
    return None if isinstance(thing, float) and not np.isfinite(thing) else thing


def _plain(thing: Any) -> Any:
    return thing.item() if isinstance(thing, np.generic) else str(thing)
