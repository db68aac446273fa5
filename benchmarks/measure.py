"""Time and memory of a block of code."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import psutil


class Measured:
    """Context that measures seconds and the growth of this process's resident memory, sampled 100 times a second.

    Attributes
    ----------
    seconds : float
    peak_mb : float
        Above what was resident at the start; what came and went between two samples is not seen.
    """

    def __enter__(self) -> Self:
        self._process, self._stop = psutil.Process(), threading.Event()
        self._before = self._peak = self._process.memory_info().rss
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        self._start = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.seconds = time.perf_counter() - self._start
        self._stop.set()
        self._sampler.join()
        self._look()
        self.peak_mb = max(0, self._peak - self._before) / 2**20

    def _look(self) -> None:
        self._peak = max(self._peak, self._process.memory_info().rss)

    def _sample(self) -> None:
        while not self._stop.wait(0.01):
            self._look()
