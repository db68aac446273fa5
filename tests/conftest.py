"""Shared fixtures: synthetic spectra, the bank where it is present, a process without network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from nirs4all_vit.encoder.checkpoint import save_checkpoint

ROOT = Path(__file__).resolve().parent.parent
X_BANK = Path(os.environ.get("X_BANK", ROOT / "../shared/x_bank")).resolve()


#: Tests of a second or more, by what `make test-all PYTEST_ARGS=--durations=0` said: `make test-fast` does without.
SLOW = frozenset((ROOT / "tests/slow.txt").read_text("utf-8").split())


#: scikit-learn takes an estimator that allows NaN to take rows of nothing else; they are refused here.
ROWS_OF_NAN = {"check_estimators_pickle": "a row without a single value is an error that names it"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.partition("[")[0] in SLOW:
            item.add_marker("slow")
    _skip_cuda(items)
    if X_BANK.is_dir():
        return
    skip = pytest.mark.skip(reason=f"no spectra in {X_BANK}; set X_BANK to the folder of the bank")
    for item in items:
        if "xbank" in item.keywords:
            item.add_marker(skip)


def _skip_cuda(items: list[pytest.Item]) -> None:
    marked = [item for item in items if "cuda" in item.keywords]
    if marked and not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="torch sees no GPU here"))


@pytest.fixture(scope="session")
def x_bank() -> Path:
    """Folder of the real spectra."""
    return X_BANK


def make_spectra(nm: np.ndarray, n: int = 24, seed: int = 0) -> np.ndarray:
    """Smooth absorbance spectra: water, protein and fat bands over a sloping baseline."""
    rng = np.random.default_rng(seed)
    bands = np.stack([np.exp(-0.5 * ((nm - c) / w) ** 2) for c, w in ((1450, 40), (1940, 45), (2180, 35), (1210, 30))])
    amounts = rng.uniform(0.1, 1.0, (n, len(bands)))
    baseline = rng.uniform(0.1, 0.4, (n, 1)) + rng.uniform(-1, 1, (n, 1)) * (nm - 1800) / 8000
    return amounts @ bands + baseline


@pytest.fixture(scope="session")
def nm() -> np.ndarray:
    """A common grid, 1100 to 2498 nm."""
    return np.linspace(1100.0, 2498.0, 700)


@pytest.fixture(scope="session")
def spectra(nm: np.ndarray) -> np.ndarray:
    """Spectra on it, float64."""
    return make_spectra(nm)


@pytest.fixture
def own_checkpoint(tmp_path: Path) -> Path:
    """A small untrained checkpoint in a file of its own."""
    import torch

    from nirs4all_vit.encoder import EncoderConfig, SpectralPerceiver

    with torch.random.fork_rng():
        torch.manual_seed(1)
        encoder = SpectralPerceiver(EncoderConfig(n_latents=8, d_model=16, n_self_layers=1, n_heads=2))
    return save_checkpoint(tmp_path / "own.safetensors", encoder, name="own-v1", provenance={"seed": 1})


_NO_NETWORK = """
import socket
def _refuse(*args, **kwargs):
    raise OSError("network is blocked in this test")
class _Blocked(socket.socket):
    connect = connect_ex = _refuse
socket.socket = _Blocked
socket.create_connection = socket.getaddrinfo = _refuse
"""


def run_python(code: str, *, cwd: Path = ROOT, network: bool = True, env: dict[str, str] | None = None) -> str:
    """Run code in a fresh interpreter and return what it printed."""
    command = [sys.executable, "-c", code if network else _NO_NETWORK + code]
    environment = os.environ | (env or {})
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def make_registry(
    root: Path,
    dataset_id: str,
    sources: dict[str, np.ndarray] | None = None,
    axis: np.ndarray | None = None,
    targets: pd.DataFrame | None = None,
) -> Path:
    """Make a registry as a checkout of nirs4all-datasets holds it, with a descriptor of its own catalogue.

    With `sources` (spectra by instrument, sample ``s0``, ``s1``, ... in each row) the set's canonical files lie
    there too.
    """
    index = json.loads((resources.files("nirs4all_datasets") / "../catalog/index.json").read_text("utf-8"))
    descriptor = index["datasets"][dataset_id]["descriptor"]
    folder = root / f"datasets/{dataset_id}"
    for needed in (root / "catalog/datasets", folder):
        needed.mkdir(parents=True, exist_ok=True)
    (root / f"catalog/datasets/{dataset_id}.yaml").write_text(yaml.safe_dump(descriptor))
    (folder / "manifest.json").write_text(json.dumps({"dataset_id": dataset_id, "files": []}))
    if sources is None:
        return root
    (folder / "canonical").mkdir()
    config = {"id": dataset_id, "sources": [], "alignment_level": "sample"}
    for source, X in sources.items():
        table = pd.DataFrame(X.astype(np.float32), columns=[f"{v:g}" for v in axis])
        table.insert(0, "observation_id", [f"{source}{i}" for i in range(len(X))])
        table.insert(1, "sample_id", [f"s{i}" for i in range(len(X))])
        table.to_parquet(folder / f"canonical/X_{source}.parquet")
        config["sources"].append({"source_id": source, "path": f"canonical/X_{source}.parquet"})
    if targets is not None:
        targets.to_parquet(folder / "canonical/variables.parquet")
        config["variables"] = {"path": "canonical/variables.parquet"}
    (folder / "canonical/dataset.json").write_text(json.dumps(config))
    return root


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of spectra that went through the encoder, call by call; the cache's memory starts empty."""
    from nirs4all_vit.embedding import cache, inference

    cache.clear(True)
    counts: list[int] = []
    embed = inference.embed

    def counting(encoder, blocks, *args, **kwargs):
        counts.append(sum(map(len, blocks)))
        return embed(encoder, blocks, *args, **kwargs)

    monkeypatch.setattr(inference, "embed", counting)
    return counts
