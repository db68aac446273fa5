"""Export of the encoder as an ONNX graph, for machines without torch."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import needed_by
from ..files import atomic_path
from .checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from .readouts import DEFAULT_READOUT, READOUTS

__all__ = ["export_onnx"]

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .perceiver import SpectralPerceiver

_OPSET = 20


def export_onnx(
    path: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] = DEFAULT_CHECKPOINT,
    readout: str = DEFAULT_READOUT,
) -> Path:
    """Write an encoder as an ONNX graph that takes spectra on any wavelength grid.

    The graph has two inputs: ``spectra`` (n_spectra, n_wavelengths), float32, and ``wavelengths``
    (n_wavelengths,), float64, in nm and in any order, at least three of them. Its output is
    ``embedding`` (n_spectra, n_columns), float32, equal to that of
    ``SpectralEmbedder(adapt=False)`` within 1e-4. The metadata of the graph give the checkpoint's
    name, SHA-256 and licence, and the read-out.

    Parameters
    ----------
    path : path
        ``.onnx`` file to write.
    checkpoint : str or path
        Bundled name or ``.safetensors`` file.
    readout : str
        One of ``READOUTS``.

    Returns
    -------
    Path

    Raises
    ------
    MissingPackageError
        onnx or onnxscript is not installed.
    ValueError
        `readout` is not one of ``READOUTS``.
    """
    with needed_by("writing ONNX", "nirs4all-vit[onnx]"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    if readout not in READOUTS:
        raise ValueError(f"readout={readout!r} does not exist; use one of {', '.join(READOUTS)}.")
    import torch

    path, loaded = Path(path), load_checkpoint(checkpoint)
    model = _embedding(loaded.encoder, readout)
    example = (
        torch.linspace(0.1, 1.0, 320).sin().reshape(5, 64),
        torch.linspace(1000.0, 2000.0, 64, dtype=torch.float64),
    )
    with torch.inference_mode():
        model(*example)  # caches constants, which must not be created while tracing
    n_wavelengths = torch.export.Dim("n_wavelengths", min=3)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            model,
            example,
            dynamo=True,
            verbose=False,
            opset_version=_OPSET,
            input_names=["spectra", "wavelengths"],
            output_names=["embedding"],
            dynamic_shapes=({0: torch.export.Dim("n_spectra"), 1: n_wavelengths}, {0: n_wavelengths}),
            custom_translation_table={
                torch.ops.aten.searchsorted.Tensor: _searchsorted,
                torch.ops.aten.asinh.default: _asinh,
            },
        )
    assert program is not None
    program.model.metadata_props.update(
        checkpoint=loaded.name,
        sha256=loaded.sha256,
        licence=str(loaded.header.get("licence", "UNKNOWN")),
        readout=readout,
    )
    with atomic_path(path) as target:
        program.save(target, external_data=False)
    return path


def _embedding(encoder: SpectralPerceiver, readout: str) -> nn.Module:
    import torch
    from torch import nn

    from .grid import Grid

    class Embedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, spectra: Tensor, wavelengths: Tensor) -> Tensor:
            wavelengths, order = torch.sort(wavelengths)
            grid = Grid.from_wavelengths(wavelengths)
            return self.encoder(spectra[:, order], grid, readout=readout)

    return Embedding().eval()


def _searchsorted(places: Any, values: Any, right: bool = True, **_: Any) -> Any:
    """Translate searchsorted, which ONNX lacks: count the positions at or before each value."""
    from onnxscript import ir, opset20

    op: Any = opset20  # its type stubs are those of older opsets
    last, first = (op.Constant(value=ir.tensor(np.array([axis], dtype=np.int64))) for axis in (-1, 0))
    compare = op.LessOrEqual if right else op.Less
    before = compare(op.Unsqueeze(places, first), op.Unsqueeze(values, last))
    return op.ReduceSum(op.Cast(before, to=ir.DataType.INT64), last, keepdims=0)


def _asinh(x: Any) -> Any:
    """Translate asinh, which onnxruntime has in single precision only."""
    from onnxscript import ir
    from onnxscript import opset20 as op

    one = op.Constant(value=ir.tensor(np.array(1.0, dtype=np.float64)))  # type: ignore[arg-type] # stubs of opset 19
    size = op.Abs(x)
    return op.Mul(op.Sign(x), op.Log(op.Add(size, op.Sqrt(op.Add(op.Mul(size, size), one)))))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's progress messages and warnings about optional packages."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
