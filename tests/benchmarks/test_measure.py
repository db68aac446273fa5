"""Seconds and peak memory."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from benchmarks import measure
from benchmarks.measure import Measured


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's mark of peak memory is Linux's")
@pytest.mark.parametrize("megabytes", [4, 64])
def test_what_came_and_went_counts(megabytes: int) -> None:
    for _ in range(2):  # the second time it could come from what the first one freed
        with Measured() as measured:
            np.ones(megabytes * 2**17).sum()
            time.sleep(0.05)
        assert 0.9 * megabytes < measured.peak_mb < 1.5 * megabytes + 2
        assert 0.05 < measured.seconds < 5


def test_where_the_kernel_keeps_no_mark(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(measure, "_PROC", tmp_path / "nothing")
    with Measured() as measured:
        kept = np.ones(8 * 2**17)
    assert kept.nbytes / 2**20 * 0.9 < measured.peak_mb < 20
