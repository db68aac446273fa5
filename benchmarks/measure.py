"""Time and memory of a block of code, and a description of the machine."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from threadpoolctl import threadpool_limits

_PROC = Path("/proc/self")


class Measured:
    """Context that measures seconds and growth of the resident memory of this process.

    Attributes
    ----------
    seconds : float
    peak_mb : float
        Peak resident memory above that at the start, as recorded by the kernel (Linux); elsewhere
        the resident memory at the end. Other processes are not included.
    """

    def __enter__(self) -> Self:
        _release_memory()
        self._before = _reset_peak()
        self._start = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.seconds = time.perf_counter() - self._start
        self.peak_mb = max(0, _peak() - self._before) / 2**20


def _release_memory() -> None:
    """Return freed memory to the system; reused memory would not be measured."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl has none
        if trim is not None:
            trim(0)


def _reset_peak() -> int:
    """Reset the peak; return the resident memory in bytes."""
    try:
        (_PROC / "clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed
        return psutil.Process().memory_info().rss
    return _peak()


def _peak() -> int:
    """Return the peak resident memory since the last reset, in bytes."""
    mark = re.search(r"VmHWM:\s+(\d+) kB", _read(_PROC / "status"))
    return int(mark[1]) * 1024 if mark else psutil.Process().memory_info().rss


@contextmanager
def limited_threads(n: int) -> Iterator[None]:
    """Let torch and the libraries of linear algebra use n threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with threadpool_limits(n):
            yield
    finally:
        torch.set_num_threads(before)


def machine() -> dict[str, Any]:
    """Return a description of the machine and the main versions."""
    import torch

    import nirs4all_vit

    name = re.search(r"^model name\s*:\s*(.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    return {
        "processor": name[1].strip() if name else platform.processor(),
        "cores": os.cpu_count(),
        "memory (GB)": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch threads": torch.get_num_threads(),
        "nirs4all_vit": nirs4all_vit.__version__,
    }


def _read(path: Path) -> str:
    """Return the text of a file of the kernel, empty if it is missing."""
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
