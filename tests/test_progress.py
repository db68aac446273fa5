"""Progress bars: on a terminal, after a few seconds, and nowhere else."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline

from nirs4all_vit import SpectralEmbedder, progress
from nirs4all_vit.diagnostics import wavelength_importance
from nirs4all_vit.embedding import embed_file
from nirs4all_vit.finetuning import SpectralRegressor
from nirs4all_vit.heads import CrossConformalRegressor, make_head, make_spectral_pipeline
from tests.conftest import ROOT, make_spectra

NM = np.linspace(1100.0, 2498.0, 60)
X = make_spectra(NM, 24)
Y = X[:, 36] - X[:, 20]

JOB = """
import sys, threading, time
from nirs4all_vit import progress
progress._DELAY = {delay}
def job():
    for _ in progress.tracked(range(4), "counting", "number", show={show}):
        time.sleep(0.1)
{call}
print("done", file=sys.stderr)
"""


def told(terminal: bool, delay: float = 0.15, show: bool = True, call: str = "job()") -> str:
    """Return what a process writes to its standard error."""
    code = JOB.format(delay=delay, show=show, call=call)
    if not terminal:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout == ""
        return done.stderr
    pty = pytest.importorskip("pty")
    import fcntl
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    out = b""
    while True:
        try:
            out += os.read(ours, 4096)
        except OSError:  # all have closed it
            break
    os.close(ours)
    assert process.wait() == 0
    return out.decode()


def test_bars_stay_out_of_logs() -> None:
    shown = told(terminal=True)
    assert "counting" in shown
    assert "3/4" in shown
    assert shown.rstrip().endswith("done")  # the bar is wiped
    assert told(terminal=False) == "done\n"


@pytest.mark.parametrize(
    "settings",
    [
        {"delay": 3.0},
        {"show": False},
        {"call": "t = threading.Thread(target=job); t.start(); t.join()"},
        {"call": "import multiprocessing as m; p = m.get_context('fork').Process(target=job); p.start(); p.join()"},
    ],
)
def test_short_jobs_and_workers_have_none(settings: dict) -> None:
    assert "counting" not in told(terminal=True, **settings)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal, for all that the package knows, and no patience."""
    monkeypatch.setattr(progress, "_is_watched", lambda: threading.current_thread() is threading.main_thread())
    monkeypatch.setattr(progress, "_DELAY", 0.0)


def importance(head: object) -> None:
    embedder = SpectralEmbedder(readout="mean", wavelengths=NM)
    wavelength_importance(X, make_pipeline(embedder, head).fit(X, Y))


def embedded_file(folder: Path) -> None:
    pd.DataFrame(X, columns=[f"{nm:.4f}" for nm in NM]).to_csv(folder / "s.csv", index=False)
    embed_file(folder / "s.csv", folder / "s.npy", readout="mean", progress=True)


JOBS = {
    "gradients": lambda _: importance(Ridge()),
    "bands": lambda _: importance(KNeighborsRegressor(3)),
    "tuning": lambda _: SpectralRegressor(readout="mean", max_steps=4, batch_size=16, wavelengths=NM).fit(X, Y),
    "folds": lambda _: CrossConformalRegressor(Ridge(), cv=4).fit(X, Y),
    "members": lambda _: make_spectral_pipeline("committee", NM, cache=False).fit(X, Y),
    "preprocessings": lambda _: make_spectral_pipeline("committee", NM, cache=False).fit(X, Y),
    "candidates": lambda _: make_head("pls").fit(X, Y),
    "targets": lambda _: make_head("pls").fit(X, np.c_[Y, X[:, 0]]),
    "embedding": lambda _: SpectralEmbedder(readout="mean", wavelengths=NM).fit(X),
    "s.csv": embedded_file,
}


@pytest.mark.usefixtures("watched")
@pytest.mark.filterwarnings("ignore:.*stays as it was pretrained")
@pytest.mark.parametrize("job", JOBS)
def test_long_jobs_have_one(job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    JOBS[job](tmp_path)
    printed = capsys.readouterr()
    assert f"{job}:" in printed.err
    assert printed.out == ""


@pytest.mark.usefixtures("watched")
@pytest.mark.filterwarnings("ignore:.*stays as it was pretrained")
def test_progress_false_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"readout": "mean", "max_steps": 4, "batch_size": 16, "wavelengths": NM}
    SpectralRegressor(progress=False, **settings).fit(X, Y).predict(X)
    pd.DataFrame(X, columns=[f"{nm:.4f}" for nm in NM]).to_csv(tmp_path / "s.csv", index=False)
    embed_file(tmp_path / "s.csv", tmp_path / "s.npy", readout="mean")
    assert capsys.readouterr().err == ""


def test_all_bars_are_made_in_one_place() -> None:
    for folder in ("nirs4all_vit", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            assert path.name == "progress.py" or "tqdm" not in path.read_text("utf-8"), path
