"""Eight threads, four processes however they start, every backend of joblib: the same numbers, and no deadlock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import run_python

# A separate script: a deadlock ends at the time limit, and torch has the threads of a new process.
# Spawned processes need an importable `__main__`.
_SCRIPT = """
import multiprocessing, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from joblib import Parallel, delayed
from nirs4all_vit import SpectralEmbedder

NM = np.linspace(1100.0, 2400.0, 150)
X = np.random.default_rng(0).normal(size=(40, 150)).cumsum(axis=1)

def embed(cache):
    return SpectralEmbedder(wavelengths=NM, readout="contrast", cache=cache).fit_transform(X)

# Without a cache, in memory, on disk: all in one pool, as starting processes takes longest.
CACHES = [False, True, "cache"] * 4

if __name__ == "__main__":
    way = sys.argv[1]
    expected = embed(False)
    if way in ("fork", "spawn"):
        with multiprocessing.get_context(way).Pool(4) as pool:
            found = pool.map(embed, CACHES, chunksize=1)
    elif way == "threads":
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(embed, CACHES))
    elif way == "dask":
        from distributed import Client

        with Client(n_workers=2, threads_per_worker=2, dashboard_address=None) as client:
            found = client.gather([client.submit(embed, cache, pure=False) for cache in CACHES])
    else:
        found = Parallel(4, backend=way)(delayed(embed)(cache) for cache in CACHES)
    assert len(found) == 12
    for Z in found:
        np.testing.assert_allclose(Z, expected, rtol=1e-4, atol=1e-5)
    print("the same")
"""


_ALL = pytest.mark.exhaustive


@pytest.mark.slow
@pytest.mark.parametrize(
    "way", ["threads", "fork", *(pytest.param(way, marks=_ALL) for way in ("spawn", "loky", "dask"))]
)
def test_the_same_numbers(way: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(_SCRIPT)
    run = f"import runpy, sys; sys.argv = ['script.py', {way!r}]; runpy.run_path('script.py', run_name='__main__')"
    assert "the same" in run_python(run, cwd=tmp_path, env={"OMP_NUM_THREADS": "2", "PYTHONPATH": str(tmp_path)})
