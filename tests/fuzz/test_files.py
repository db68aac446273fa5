"""Damaged and malicious files: one typed error, no code execution, bounded memory."""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save_file

from nirs4all_vit import CheckpointError, SpectralEmbedder, load_checkpoint, save_checkpoint
from nirs4all_vit.errors import SpectralAxisError, SpectralInputError
from nirs4all_vit.pretraining import load_recipe, load_x_bank
from nirs4all_vit.spectra.tables import open_table
from tests.fuzz.conftest import FACTOR
from tests.golden.inputs import FOLDER, shared_grid

FILES = settings(max_examples=50 * FACTOR)
X, NM = shared_grid()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of a small checkpoint, as this release writes it."""
    path = tmp_path_factory.mktemp("sound") / "sound.safetensors"
    old = load_checkpoint(FOLDER / "format-1.safetensors")
    return save_checkpoint(path, old.encoder, name="small", provenance={"seed": 0}).read_bytes()


@contextlib.contextmanager
def bounded(megabytes: int = 300) -> Iterator[None]:
    """Fail if peak memory grows by more."""
    # Reset the peak of the process, which earlier tests may have set.
    Path("/proc/self/clear_refs").write_text("5")
    before = _highest()
    yield
    assert _highest() - before < megabytes


def _highest() -> float:
    """Return the peak memory of the process since the reset, in MB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def embed(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SpectralEmbedder(path, adapt=False, wavelengths=NM).fit_transform(X)


def damaged(data: st.DataObject, content: bytes) -> bytes:
    """Return a damaged copy of a file."""
    out = bytearray(content)
    kind = data.draw(st.sampled_from(["flip", "cut", "longer", "zeros", "swap", "length", "number"]))
    at = data.draw(st.one_of(st.integers(0, len(out) - 1), st.integers(0, min(4000, len(out) - 1))))
    if kind == "flip":
        out[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del out[at:]
    elif kind == "longer":
        out[at:at] = data.draw(st.binary(min_size=1, max_size=300))
    elif kind == "zeros":
        out[at : at + 64] = bytes(len(out[at : at + 64]))
    elif kind == "swap":
        other = data.draw(st.integers(0, len(out) - 1))
        out[at], out[other] = out[other], out[at]
    elif kind == "length":
        out[:8] = data.draw(st.integers(0, 2**64 - 1)).to_bytes(8, "little")
    else:
        numbers = list(re.finditer(rb"\d+", bytes(out[:20_000])))
        if numbers:
            place = data.draw(st.sampled_from(numbers))
            number = str(data.draw(st.one_of(st.integers(0, 10), st.integers(-10, 10**20)))).encode()
            out[place.start() : place.end()] = number
    return bytes(out)


@FILES
@given(data=st.data())
def test_damaged_checkpoints(data: st.DataObject, sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "damaged.safetensors"
    content = damaged(data, sound)
    path.write_bytes(content)
    with bounded():
        try:
            Z = embed(path)
        except CheckpointError as error:
            message = str(error)
        else:
            message = ""
    if message:
        assert "\n" not in message
        return
    # A file that still loads gives the same embeddings.
    path.write_bytes(sound)
    np.testing.assert_array_equal(Z, embed(path))


@FILES
@given(data=st.data())
def test_malicious_checkpoints(data: st.DataObject, sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "made.safetensors"
    path.write_bytes(sound)
    tensors, header = load(sound), dict(load_checkpoint(path).header)
    del header["content_sha256"]
    numbers = st.one_of(
        st.integers(-3, 5000), st.integers(), st.floats(), st.text(max_size=5), st.none(), st.lists(st.integers())
    )
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(header["encoder"])))
        header["encoder"] = {**header["encoder"], name: data.draw(numbers)}
    else:
        header[data.draw(st.sampled_from(sorted(header)))] = data.draw(st.one_of(numbers, st.just({}), st.just([])))
    save_file(tensors, path, metadata={"nirs4all_vit": json.dumps(header)})
    with bounded(), contextlib.suppress(CheckpointError):
        assert np.isfinite(embed(path)).all()


@FILES
@given(data=st.data())
def test_tables(data: st.DataObject, tmp_path: Path) -> None:
    frame = pd.DataFrame(X[:, :4].round(4), columns=["1100", "1200", "1300", "1400"])
    path = tmp_path / data.draw(st.sampled_from(["t.csv", "t.csv.gz", "t.parquet"]))
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        # gzip stores the time, and hypothesis needs the same bytes for the same draws.
        frame.to_csv(path, index=False, compression={"method": "gzip", "mtime": 1} if path.suffix == ".gz" else None)
    np.testing.assert_array_equal(open_table(path).read(), frame)
    path.write_bytes(damaged(data, path.read_bytes()))
    with bounded(), warnings.catch_warnings(), contextlib.suppress(SpectralInputError, SpectralAxisError):
        warnings.simplefilter("ignore")
        opened = open_table(path)
        values = opened.read()
        assert np.isfinite(values).all()
        assert values.shape[1] == len(opened.wavelengths)


@FILES
@given(data=st.data())
def test_folders_of_arrays(data: st.DataObject, tmp_path: Path) -> None:
    folder = tmp_path / "bank" / "made"
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "wavelengths.npy", NM)
    np.save(folder / "spectra.npy", X.astype(np.float32))
    (folder / "metadata.json").write_text(json.dumps({"family": "made"}))
    assert [len(dataset) for dataset in load_x_bank(folder.parent, progress=False)] == [len(X)]
    path = folder / data.draw(st.sampled_from(["wavelengths.npy", "spectra.npy", "metadata.json"]))
    path.write_bytes(damaged(data, path.read_bytes()))
    with bounded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            bank = load_x_bank(folder.parent, progress=False)
        except (ValueError, FileNotFoundError):
            return
        for dataset in bank:
            assert np.isfinite(np.asarray(dataset.values)).all()


@FILES
@given(data=st.data())
def test_recipes(data: st.DataObject, tmp_path: Path) -> None:
    recipe = (
        "extends: cpu\noptim: {steps: 100, accumulate: 2}\nobjectives:\n  masked_modeling: {weight: 1.0}\n"
        "run: {name: mine}\n"
    )
    path = tmp_path / "mine.yaml"
    path.write_bytes(damaged(data, recipe.encode()))
    with bounded(), contextlib.suppress(ValueError, FileNotFoundError):
        load_recipe(path)
