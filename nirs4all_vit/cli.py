"""Command line: ``nirs4all-vit embed`` and ``nirs4all-vit info``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .checkpoint import BUNDLED, DEFAULT_CHECKPOINT, load_checkpoint
from .errors import CheckpointError, SpectralAxisError, SpectralInputError
from .files import atomic_path
from .spectra import AXIS_UNITS, is_monotonic, parse_axis_labels, to_nanometres

if TYPE_CHECKING:
    import numpy as np

_OUTPUTS = (".npy", ".parquet", ".csv")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except (SpectralInputError, SpectralAxisError, CheckpointError, OSError) as error:
        print(f"nirs4all-vit: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nirs4all-vit", description="Universal spectral embedding for near-infrared spectroscopy."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    embed = commands.add_parser("embed", help="embed the spectra of a CSV file")
    embed.add_argument("file", type=Path, help="CSV: a header with the axis, then a row per spectrum")
    embed.add_argument("-o", "--output", type=Path, required=True, help="target: .npy, .parquet or .csv")
    embed.add_argument("--axis-unit", choices=AXIS_UNITS, default="auto", help="unit of the header (default: by range)")
    embed.add_argument("--readout", choices=("latents", "compact", "mean", "cls"), default="latents")
    embed.add_argument("--checkpoint", default=DEFAULT_CHECKPOINT, help="bundled name or .safetensors file")
    embed.set_defaults(run=_embed)

    info = commands.add_parser("info", help="describe a checkpoint: provenance, sizes")
    info.add_argument("checkpoint", nargs="?", default=DEFAULT_CHECKPOINT, help="bundled name or .safetensors file")
    info.set_defaults(run=_info)
    return parser


def _embed(options: argparse.Namespace) -> int:
    import numpy as np
    import pandas as pd

    from .embedder import SpectralEmbedder
    from .inference import embed, resolve_device

    if options.output.suffix not in _OUTPUTS:
        raise SpectralInputError(f"{options.output.name}: write to one of {', '.join(_OUTPUTS)}.")
    if not options.output.parent.is_dir():
        raise SpectralInputError(f"{options.output.parent} is not a folder; create it first.")
    if options.output.is_dir() or options.output.resolve() == options.file.resolve():
        raise SpectralInputError(f"{options.output} would be overwritten; name another file.")
    values, wavelengths = _read_csv(options.file, options.axis_unit)
    embedder = SpectralEmbedder(options.checkpoint, readout=options.readout, axis_unit="nm")
    blocks = embedder._fit(values, wavelengths)
    encoder = load_checkpoint(options.checkpoint).encoder
    embedded = embed(encoder, blocks, options.readout, device=resolve_device("auto"), progress=sys.stderr.isatty())
    with atomic_path(options.output) as target:
        if options.output.suffix == ".npy":
            np.save(target, embedded)
        else:
            table = pd.DataFrame(embedded, columns=[f"{options.readout}{i}" for i in range(embedded.shape[1])])
            if options.output.suffix == ".csv":
                table.to_csv(target, index=False, float_format="%.7g")
            else:
                table.to_parquet(target, index=False)
    print(f"{options.output}: {embedded.shape[0]} spectra x {embedded.shape[1]} columns ({options.readout})")
    return 0


def _read_csv(path: Path, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a table of spectra whose header is the axis; returns values and nm."""
    import numpy as np
    import pandas as pd

    try:
        with open(path, encoding="utf-8-sig") as file:
            first = file.readline().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise SpectralInputError(f"{path.name} is not UTF-8 text; save it as CSV in UTF-8.") from error
    delimiter = ";" if first.count(";") > first.count(",") else ","
    labels = [label.strip().strip('"') for label in first.split(delimiter)]
    parsed = parse_axis_labels(labels)
    if parsed is None:
        odd = next((label for label in labels if parse_axis_labels([label]) is None), labels[0])
        raise SpectralInputError(
            f"{path.name}: column {odd!r} is not a wavelength; the header must hold the axis and nothing else."
        )
    if unit != "auto" and parsed[1] not in ("auto", unit):
        raise SpectralAxisError(f"{path.name}: --axis-unit {unit}, but the header is written in {parsed[1]}.")
    try:
        wavelengths = to_nanometres(parsed[0], parsed[1] if unit == "auto" else unit)
    except SpectralAxisError as error:
        raise SpectralAxisError(f"{path.name}: the header is not a wavelength axis: {error}") from error
    if not is_monotonic(wavelengths):
        raise SpectralAxisError(
            f"{path.name}: the header is not a wavelength axis: it neither ascends nor descends (no header at all?)."
        )
    try:
        table = pd.read_csv(path, sep=delimiter, skiprows=1, header=None, encoding="utf-8-sig")
        values = table.to_numpy(dtype=np.float64)
    except pd.errors.EmptyDataError:
        raise SpectralInputError(f"{path.name}: there is a header and no spectrum below it.") from None
    except ValueError as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise SpectralInputError(f"{path.name}: {reason}; values must be numbers with decimal points.") from error
    if values.shape[1] != wavelengths.size:
        raise SpectralInputError(f"{path.name}: rows of {values.shape[1]} values under {wavelengths.size} wavelengths.")
    missing = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if missing.size:
        raise SpectralInputError(f"{path.name}, spectrum {missing[0] + 1}: a value is missing or not finite.")
    return values, wavelengths


def _info(options: argparse.Namespace) -> int:
    checkpoint = load_checkpoint(options.checkpoint)
    encoder, provenance = checkpoint.encoder, checkpoint.header.get("provenance", {})
    recipe = provenance.get("recipe", {})
    rows = [
        ("checkpoint", checkpoint.name),
        ("file", f"{checkpoint.path} ({checkpoint.path.stat().st_size / 1e6:.2f} MB)" if checkpoint.path else "-"),
        ("sha256", checkpoint.sha256),
        ("licence", checkpoint.header.get("licence", "UNKNOWN")),
        ("parameters", f"{sum(p.numel() for p in encoder.parameters()):,}"),
        ("read-outs", ", ".join(f"{kind} {encoder.width(kind)}" for kind in ("latents", "compact", "mean", "cls"))),
        ("encoder", ", ".join(f"{k}={v}" for k, v in encoder.config.to_dict().items() if v not in ({}, ()))),
        ("trained on", f"{provenance.get('n_spectra', '?')} spectra of {len(provenance.get('datasets', []))} datasets, "
                       f"{len(provenance.get('families', []))} families"),
        ("recipe", f"{recipe.get('name', '?')}, {provenance.get('step', '?')} steps, seed {provenance.get('seed', '?')}, "
                   f"commit {provenance.get('commit', '?')}"),
        ("bank hash", provenance.get("bank_hash", "?")),
        ("bundled", ", ".join(BUNDLED)),
    ]  # fmt: skip
    for name, value in rows:
        print(f"{name:<12}{value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
