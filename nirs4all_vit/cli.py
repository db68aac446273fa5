"""Command line ``nirs4all-vit embed | check | export | pretrain | finetune | precompute-asls | info``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .calibration.command import add_commands
from .embedding.file import TARGET_SUFFIXES
from .encoder.checkpoint import BUNDLED, DEFAULT_CHECKPOINT, load_checkpoint
from .encoder.readouts import DEFAULT_READOUT, READOUTS
from .errors import CheckpointError, MissingPackageError, ModelError, SpectralAxisError, SpectralInputError
from .spectra.data import AXIS_UNITS
from .version import __version__

if TYPE_CHECKING:
    from .embedder import SpectralEmbedder

#: Messages after an interruption, by command.
_RESUMES = {
    "embed": "; the same command resumes it.",
    "precompute-asls": "; the same command resumes it.",
    "pretrain": "; the same command with --run.resume auto resumes it.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = _hyphens(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(arguments)
    except MissingPackageError as error:
        print(f"nirs4all-vit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"nirs4all-vit: interrupted{_RESUMES.get(''.join(arguments[:1]), '.')}", file=sys.stderr)
        return 130


def _hyphens(arguments: Sequence[str]) -> list[str]:
    """Accept hyphens and underscores in option names alike, such as --x-bank and --x_bank."""
    command, *rest = [*arguments] or [""]
    names = command in ("pretrain", "finetune")
    out = [command] if arguments else []
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            name = "--" + (name[2:].replace("-", "_") if names else name[2:].replace("_", "-"))
        out.append(name + equals + value)
    return out


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["pretrain"]:  # the options are the settings of a recipe
        from .pretraining.__main__ import main as pretrain

        return pretrain(arguments[1:])
    if arguments[:1] == ["finetune"]:
        from .finetuning.__main__ import main as finetune

        return finetune(arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (SpectralInputError, SpectralAxisError, CheckpointError, ModelError, OSError) as error:
        print(f"nirs4all-vit: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nirs4all-vit", description="Universal spectral embedding for near-infrared spectroscopy."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    embed = commands.add_parser(
        "embed", help="embed a file of any size, instrument files or a folder of files; can be resumed"
    )
    embed.add_argument(
        "file",
        type=Path,
        help="CSV, Parquet or .xlsx (axis in the header, one row per spectrum), .npy, or a folder of such files; or "
        "an instrument file (OPUS, SPC, SPA, JCAMP-DX, ASD, SED, SIG, ENVI, ...) or a folder of them, embedded into "
        "one file",
    )
    embed.add_argument("-o", "--output", type=Path, required=True, help="target: .npy, .parquet or .csv; or a folder")
    embed.add_argument("--axis-unit", choices=AXIS_UNITS, default="auto", help="unit of the axis (default: by range)")
    embed.add_argument("--wavelengths", type=Path, metavar="FILE", help="axis of .npy spectra: .npy or text file")
    embed.add_argument(
        "--drop", action="append", default=[], metavar="COLUMN", help="ignore a column of ids or targets; repeatable"
    )
    embed.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="calibration spectra that define the axis and the column weights",
    )
    embed.add_argument(
        "--second-instrument",
        type=Path,
        metavar="FILE",
        help="with --calibration: spectra of a second instrument to adapt to, without reference values",
    )
    embed.add_argument("--readout", choices=READOUTS, default=DEFAULT_READOUT)
    embed.add_argument("--checkpoint", default=DEFAULT_CHECKPOINT, help="bundled name or .safetensors file")
    folder = embed.add_argument_group("options for a folder")
    folder.add_argument("--format", choices=[s[1:] for s in TARGET_SUFFIXES], default="npy", help="default: npy")
    folder.add_argument("--jobs", type=int, default=1, metavar="N", help="parallel files (default: 1; -1: all cores)")
    folder.add_argument("--scheduler", metavar="ADDRESS", help="dask scheduler whose workers embed the files")
    embed.set_defaults(run=_embed)

    check = commands.add_parser("check", help="check tables of spectra and reference values for errors and anomalies")
    check.add_argument("file", type=Path, help="spectra: CSV or Parquet (axis in the header, one row per spectrum)")
    check.add_argument("targets", type=Path, nargs="?", help="reference values: CSV (one column per target)")
    check.add_argument("--axis-unit", choices=AXIS_UNITS, default="auto", help="unit of the axis (default: by range)")
    check.add_argument("--id", dest="ids", metavar="COLUMN", help="column of ids (default: by its name and values)")
    check.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="COLUMN",
        help="ignore a column that is not a wavelength; repeatable",
    )
    check.set_defaults(run=_check)

    add_commands(commands)

    export = commands.add_parser("export", help="export the encoder as an ONNX graph, for machines without torch")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="target: .onnx")
    export.add_argument("--format", choices=["onnx"], default="onnx", help="default: onnx")
    export.add_argument("--readout", choices=READOUTS, default=DEFAULT_READOUT)
    export.add_argument("--checkpoint", default=DEFAULT_CHECKPOINT, help="bundled name or .safetensors file")
    export.set_defaults(run=_export)

    commands.add_parser(
        "pretrain", help="pretrain an encoder: --config RECIPE --data.x_bank DIR --run.out DIR (--help)"
    )

    commands.add_parser(
        "finetune", help="fine-tune an encoder on labelled datasets: --x_bank DIR --y_bank DIR --out DIR (--help)"
    )

    asls = commands.add_parser("precompute-asls", help="precompute the AsLS baselines of a bank")
    asls.add_argument("--x-bank", type=Path, required=True, metavar="DIR", help="folder of the spectra")
    asls.add_argument("--cache", type=Path, required=True, metavar="DIR", help="folder of the baselines")
    asls.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: 1; -1 for all cores)")
    asls.add_argument("--lam", type=float, default=1e6, help="smoothness (default: 1e6)")
    asls.add_argument("--p", type=float, default=0.01, help="asymmetry, between 0 and 1 (default: 0.01)")
    asls.add_argument("--skip-errors", action="store_true", help="skip datasets that cannot be read")
    asls.set_defaults(run=_precompute_asls)

    info = commands.add_parser("info", help="describe a checkpoint, or the datasets of a bank")
    info.add_argument("checkpoint", nargs="?", default=DEFAULT_CHECKPOINT, help="bundled name or .safetensors file")
    info.add_argument("--x-bank", type=Path, metavar="DIR", help="list the datasets of this folder instead")
    info.set_defaults(run=_info)
    return parser


def _calibrated(options: argparse.Namespace) -> SpectralEmbedder:
    """Return an embedder fitted on the calibration file and adapted to the second instrument, if given."""
    from .embedder import SpectralEmbedder
    from .spectra.instruments import is_instrument_path
    from .spectra.sources import open_source

    if options.calibration is None:
        raise SpectralInputError("--second-instrument needs --calibration FILE, the calibration to adapt to.")
    if options.file.is_dir() and not is_instrument_path(options.file):
        raise SpectralInputError("--calibration goes with a file, not with a folder.")
    embedder = SpectralEmbedder(options.checkpoint, readout=options.readout, axis_unit="nm")
    for path, use in ((options.calibration, embedder.fit), (options.second_instrument, embedder.adapt_to)):
        if path is not None:
            opened = open_source(path, options.axis_unit, options.wavelengths, options.drop, drop_missing=True)
            use(opened.read(), wavelengths=opened.wavelengths)
    return embedder


def _embed(options: argparse.Namespace) -> int:
    from .embedding import embed_file, embed_folder
    from .spectra.instruments import is_instrument_path

    settings = {name: getattr(options, name) for name in ("checkpoint", "readout", "axis_unit", "wavelengths", "drop")}
    settings["progress"] = sys.stderr.isatty()
    if options.calibration is not None or options.second_instrument is not None:
        settings["embedder"] = _calibrated(options)
    if not options.file.is_dir() or (options.output.suffix in TARGET_SUFFIXES and is_instrument_path(options.file)):
        n_spectra, n_columns = embed_file(options.file, options.output, **settings)
        print(f"{options.output}: {n_spectra} spectra x {n_columns} columns ({options.readout})")
        return 0
    spread = {name: getattr(options, name) for name in ("jobs", "scheduler")}
    results = embed_folder(options.file, options.output, suffix=f".{options.format}", **spread, **settings)
    failed = [result for result in results if result.error is not None]
    done = [result for result in results if result.n_spectra is not None]
    for result in failed:
        print(f"nirs4all-vit: {result.error}", file=sys.stderr)
    print(
        f"{options.output}: {len(done)} files embedded ({sum(result.n_spectra or 0 for result in done)} spectra), "
        f"{len(results) - len(done) - len(failed)} were there, {len(failed)} failed"
    )
    return 1 if failed else 0


def _check(options: argparse.Namespace) -> int:
    from .spectra.checks import check_files

    findings = check_files(
        options.file, options.targets, axis_unit=options.axis_unit, ids=options.ids, drop=options.drop
    )
    for finding in findings:
        print(f"{finding.severity}: {finding}")
    counts = {kind: sum(finding.severity == kind for finding in findings) for kind in ("error", "warning", "note")}
    print(", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items()))
    return 1 if counts["error"] else 0


def _export(options: argparse.Namespace) -> int:
    from .encoder.export import export_onnx

    if options.output.suffix != ".onnx" or not options.output.parent.is_dir():
        raise SpectralInputError(f"{options.output}: name a .onnx file in a folder that is there.")
    export_onnx(options.output, options.checkpoint, options.readout)
    print(f"{options.output}: {options.readout}, {options.output.stat().st_size / 1e6:.1f} MB")
    return 0


def _precompute_asls(options: argparse.Namespace) -> int:
    from .pretraining.data import BaselineCache, load_x_bank

    try:
        cache = BaselineCache(options.cache, options.lam, options.p)
    except ValueError as error:
        raise SpectralInputError(str(error)) from error
    if options.jobs == 0:
        raise SpectralInputError("--jobs 0: give a number of processes, or -1 for all cores.")
    progress = sys.stderr.isatty()
    bank = load_x_bank(options.x_bank, on_error="skip" if options.skip_errors else "raise", progress=progress)
    computed = cache.precompute(bank, options.jobs, progress=progress)
    print(f"{options.cache}: {computed} datasets computed, {len(bank) - computed} were there")
    return 0


def _bank_info(folder: Path) -> int:
    from .pretraining.data import load_x_bank

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\d+ of \d+ datasets were left out")  # listed below
        bank = load_x_bank(folder, on_error="skip", progress=sys.stderr.isatty())
    print(f"{'dataset':<36}{'family':<30}{'spectra':>8}{'points':>7}  {'range (nm)':<12}{'mode':<14}instrument")
    for dataset in bank:
        low, high = dataset.wavelengths[[0, -1]]
        words = dataset.metadata.categorical
        print(
            f"{dataset.name:<36}{dataset.family:<30}{len(dataset):>8}{dataset.wavelengths.size:>7}  "
            f"{f'{low:.0f}-{high:.0f}':<12}{dataset.mode:<14}{words['instrument']}"
        )
    families = len({dataset.family for dataset in bank})
    print(f"{len(bank)} datasets of {families} families, {sum(map(len, bank)):,} spectra")
    for name, reason in bank.left_out:
        print(f"left out {name}: {reason}")
    return 1 if bank.left_out else 0


def _info(options: argparse.Namespace) -> int:
    if options.x_bank is not None:
        return _bank_info(options.x_bank)
    checkpoint = load_checkpoint(options.checkpoint)
    encoder, provenance = checkpoint.encoder, checkpoint.header.get("provenance", {})
    rows = [
        ("checkpoint", checkpoint.name),
        ("file", f"{checkpoint.path} ({checkpoint.path.stat().st_size / 1e6:.2f} MB)" if checkpoint.path else "-"),
        ("sha256", checkpoint.sha256),
        ("licence", checkpoint.header.get("licence", "UNKNOWN")),
        ("parameters", f"{sum(p.numel() for p in encoder.parameters()):,}"),
        ("read-outs", ", ".join(f"{kind} {encoder.width(kind)}" for kind in encoder.readouts())),
        ("encoder", ", ".join(f"{k}={v}" for k, v in encoder.config.to_dict().items() if v not in ({}, ()))),
        ("trained on", f"{provenance.get('n_spectra', '?')} spectra of {len(provenance.get('datasets', []))} datasets, "
                       f"{len(provenance.get('families', []))} families"),
        ("pretraining", f"{provenance.get('step', '?')} steps, seed {provenance.get('seed', '?')}, "
                        f"commit {provenance.get('commit', '?')}"),
        ("bank hash", provenance.get("bank_hash", "?")),
        ("bundled", ", ".join(BUNDLED)),
    ]  # fmt: skip
    for name, value in rows:
        print(f"{name:<12}{value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
