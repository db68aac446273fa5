"""The commands ``nirs4all-vit calibrate | predict | adapt``."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

from ..spectra.data import AXIS_UNITS


def add_commands(commands: Any) -> None:
    """Add the three commands to a parser's subparsers."""
    calibrate = commands.add_parser(
        "calibrate", help="calibrate reference values on spectra: model, report, figures of merit, predictions"
    )
    calibrate.add_argument("spectra", type=Path, help="table, .npy, instrument file, or a folder of instrument files")
    calibrate.add_argument(
        "targets",
        type=Path,
        nargs="?",
        help="CSV of reference values; without it, --target names columns of the table of spectra",
    )
    calibrate.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL", help="new folder")
    calibrate.add_argument(
        "--target", action="append", metavar="NAME", help="column to calibrate; repeatable (default: all)"
    )
    calibrate.add_argument(
        "--group", metavar="COLUMN", help="physical sample; replicates of a sample stay in the same fold"
    )
    calibrate.add_argument(
        "--test", metavar="FILE|SHARE", help="test set: spectra, or a share of the samples, such as 0.2"
    )
    calibrate.add_argument(
        "--test-targets", type=Path, metavar="FILE", help="reference values of --test (default: TARGETS, by id)"
    )
    calibrate.add_argument("--head", default="committee", help="default: committee")
    calibrate.add_argument("--task", choices=("auto", "regression", "classification"), default="auto")
    calibrate.add_argument(
        "--cv", default="auto", metavar="FOLDSxREPEATS", help="default: 5x3; 5x1 with more than 1,500 samples"
    )
    calibrate.add_argument(
        "--robust",
        action="store_true",
        help="for other instruments or years: down-weight directions in which instruments differ",
    )
    calibrate.add_argument(
        "--coverage", type=float, default=0.9, help="coverage of the prediction intervals (default: 0.9)"
    )
    calibrate.add_argument("--n4a", action="store_true", help="also write model.n4a for nirs4all.predict")
    _add_reading(calibrate)
    calibrate.set_defaults(run=_calibrate)

    predict = commands.add_parser(
        "predict", help="predict spectra with a model folder: values, intervals, unusual spectra"
    )
    predict.add_argument("model", type=Path, help="model folder written by calibrate")
    predict.add_argument("spectra", type=Path, help="table, .npy, instrument file, or a folder of instrument files")
    predict.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="target: .csv")
    predict.add_argument(
        "--coverage", type=float, help="coverage of the prediction intervals (default: that of the calibration)"
    )
    _add_reading(predict)
    predict.set_defaults(run=_predict)

    adapt = commands.add_parser("adapt", help="adapt a model folder to a second instrument, from its spectra only")
    adapt.add_argument("model", type=Path, help="model folder written by calibrate")
    adapt.add_argument("spectra", type=Path, help="spectra of the second instrument, without reference values")
    adapt.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL", help="new folder")
    _add_reading(adapt)
    adapt.set_defaults(run=_adapt)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--id", metavar="COLUMN", help="column of sample ids (default: common names are recognised)")
    parser.add_argument("--drop", action="append", default=[], metavar="COLUMN", help="ignore a column; repeatable")
    parser.add_argument("--axis-unit", choices=AXIS_UNITS, default="auto", help="unit of the axis (default: by range)")
    parser.add_argument("--wavelengths", type=Path, metavar="FILE", help="axis of .npy spectra: .npy or text")


def _reading(options: argparse.Namespace) -> dict[str, Any]:
    return {"ids": options.id, "drop": options.drop, "axis_unit": options.axis_unit, "wavelengths": options.wavelengths}


def _calibrate(options: argparse.Namespace) -> int:
    from .calibrating import METRICS_FILE, PREDICTIONS_FILE, REPORT_FILE, calibrate
    from .words import summary_lines

    test: Any = options.test
    if test is not None:
        test = float(test) if test.replace(".", "", 1).isdigit() else Path(test)
    calibration = calibrate(
        options.spectra,
        options.targets,
        options.output,
        target=options.target,
        groups=options.group,
        test=test,
        test_targets=options.test_targets,
        head=options.head,
        task=options.task,
        cv=options.cv,
        robust=options.robust,
        coverage=options.coverage,
        n4a=options.n4a,
        progress=True,
        **_reading(options),
    )
    for finding in calibration.result.findings:
        if finding.severity != "note" or finding.place == "data":
            print(f"{finding.severity}: {finding}", file=sys.stderr)
    for line in summary_lines(calibration.result):
        print(line)
    print(f"{options.output}: model, {REPORT_FILE}, {METRICS_FILE}, {PREDICTIONS_FILE}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from .predicting import predict

    with warnings.catch_warnings(record=True) as messages:
        warnings.simplefilter("always", UserWarning)
        table = predict(options.model, options.spectra, options.output, coverage=options.coverage, **_reading(options))
    _say(messages)
    unusual, noun = int(table["unusual"].sum()), "spectrum" if len(table) == 1 else "spectra"
    print(
        f"{options.output}: {len(table)} {noun} predicted"
        + (f", {unusual} of them unusual (column reason)" if unusual else "")
    )
    return 0


def _adapt(options: argparse.Namespace) -> int:
    from .predicting import adapt

    with warnings.catch_warnings(record=True) as messages:
        warnings.simplefilter("always", UserWarning)
        model = adapt(options.model, options.spectra, options.output, **_reading(options))
    _say(messages)
    changed = model.embedder_.instrument_shift_ is not None
    print(f"{options.output}: {'adapted' if changed else 'unchanged'}")
    if changed:
        print(
            "note: error estimates and intervals are those of the first instrument; "
            "check them with reference values of the second.",
            file=sys.stderr,
        )
    return 0


def _say(messages: list[warnings.WarningMessage]) -> None:
    for text in dict.fromkeys(str(one.message) for one in messages if issubclass(one.category, UserWarning)):
        print(f"warning: {text}", file=sys.stderr)
