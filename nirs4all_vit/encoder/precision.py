"""Where in the encoder reduced precision may not reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Compute in the tensors' own precision, whatever the ambient one.

    Neither autocast nor products of rounded operands (`reduced_products`) hold within.
    """
    with torch.autocast(device_type, enabled=False):
        if _get() != "bf16":  # nothing global is touched unless somebody reduced it
            yield
            return
        with _set("ieee"):
            yield


@contextmanager
def reduced_products() -> Iterator[None]:
    """Let a CPU's matrix products round float32 operands to bfloat16; sums and results stay float32.

    With AMX units they are three times as fast, and unlike autocast nothing is converted in between.
    On processors without bfloat16 units nothing changes.
    """
    if _get() is None:
        yield
        return
    with _set("bf16"):
        yield


@contextmanager
def _set(value: str) -> Iterator[None]:
    settings = torch.backends.mkldnn.matmul
    before = settings.fp32_precision
    settings.fp32_precision = value
    try:
        yield
    finally:
        settings.fp32_precision = before


def _get() -> str | None:
    """Return the precision of float32 products, None where this torch has no such setting."""
    return getattr(getattr(torch.backends.mkldnn, "matmul", None), "fp32_precision", None)
