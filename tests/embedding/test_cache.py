"""Embedding each spectrum once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.embedding import cache
from tests.conftest import make_spectra


@pytest.fixture(params=["memory", "disk"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> bool | str:
    return True if request.param == "memory" else str(tmp_path / "embeddings")


def test_each_spectrum_is_encoded_once(kept, encoded: list[int], spectra: np.ndarray, nm: np.ndarray) -> None:
    plain = SpectralEmbedder(wavelengths=nm, adapt=False).fit_transform(spectra)
    del encoded[:]
    embedder = SpectralEmbedder(wavelengths=nm, adapt=False, cache=kept)
    assert np.array_equal(embedder.fit_transform(spectra[:10]), plain[:10])
    # Shuffled, with new ones between, by a clone: only the new ones are encoded.
    order = np.random.default_rng(0).permutation(len(spectra))
    assert np.array_equal(clone(embedder).fit_transform(spectra[order]), plain[order])
    assert encoded == [10, len(spectra) - 10]
    assert np.array_equal(embedder.transform(spectra[[3, 3, 5]]), plain[[3, 3, 5]])
    assert len(encoded) == 2


def test_equal_spectra_are_encoded_once(kept, encoded: list[int], spectra: np.ndarray, nm: np.ndarray) -> None:
    twice = np.concatenate([spectra[:4], spectra[:4]])
    embedded = SpectralEmbedder(wavelengths=nm, cache=kept).fit_transform(twice)
    assert encoded == [4]
    assert np.array_equal(embedded[:4], embedded[4:])


def test_what_changes_an_embedding_is_not_mixed_up(
    kept, encoded: list[int], spectra: np.ndarray, nm: np.ndarray, own_checkpoint: Path
) -> None:
    kinds = [
        {"wavelengths": nm},
        {"wavelengths": nm + 10.0},
        {"wavelengths": nm, "readout": "compact"},
        {"wavelengths": nm, "checkpoint": str(own_checkpoint), "readout": "compact"},
    ]
    for _ in range(2):
        for kind in kinds:
            found = SpectralEmbedder(**kind, cache=kept).fit_transform(spectra)
            assert np.array_equal(found, SpectralEmbedder(**kind).fit_transform(spectra))
    # Each kind once for the cache, and twice without it.
    assert len(encoded) == 3 * len(kinds)
    scaled = spectra * (1 + 1e-12)
    SpectralEmbedder(wavelengths=nm, cache=kept).fit_transform(scaled)
    assert len(encoded) == 3 * len(kinds) + 1


def test_spectra_on_grids_of_their_own(kept, encoded: list[int]) -> None:
    axes = [np.linspace(1000, 2000, 100), np.linspace(900, 1700, 80), np.linspace(1000, 2000, 100)]
    rows = [make_spectra(axis, 1, seed=i)[0] for i, axis in enumerate(axes)]
    embedder = SpectralEmbedder(readout="mean", cache=kept)
    first = embedder.fit_transform(rows, wavelengths=axes)
    again = embedder.transform(rows[::-1], wavelengths=axes[::-1])
    assert encoded == [3]
    assert np.array_equal(first[::-1], again)


def test_clear(kept, encoded: list[int], spectra: np.ndarray, nm: np.ndarray) -> None:
    embedder = SpectralEmbedder(wavelengths=nm, cache=kept).fit(spectra)
    embedder.clear_cache()
    embedder.transform(spectra)
    assert encoded == [len(spectra)] * 2
    SpectralEmbedder().clear_cache()  # nothing is kept: nothing to forget


def test_memory_is_bounded() -> None:
    memory = cache._Memory(limit=10 * 400)
    keys = [(b"space", bytes([i])) for i in range(25)]
    for key in keys:
        memory.put({key: np.zeros(100, dtype=np.float32)})
        memory.get([keys[0]], 100)  # what is used stays
    assert memory.size == 10 * 400
    assert set(memory.rows) == {keys[0], *keys[-9:]}


def test_a_folder_is_bounded(tmp_path: Path) -> None:
    """Oldest rows go first, what is put at once counts too, and the file does not grow on."""
    limit = 400_000
    disk = cache._Disk(tmp_path, limit)
    keys = [(b"space", i.to_bytes(2, "big")) for i in range(600)]
    vectors = {key: np.full(1000, i, dtype=np.float32) for i, key in enumerate(keys)}
    for key in keys[:300]:
        disk.put({key: vectors[key]})
        assert disk.path.stat().st_size <= 1.2 * limit
        assert key in disk.get([key], 1000)
    kept = disk.get(keys, 1000)
    assert 60 <= len(kept) <= 100
    assert set(kept) == set(keys[300 - len(kept) : 300])
    disk.put({key: vectors[key] for key in keys[300:]})
    assert disk.path.stat().st_size <= 1.2 * limit
    kept = disk.get(keys, 1000)
    assert 60 <= len(kept) <= 100
    assert set(kept) == set(keys[-len(kept) :])
    assert all(np.array_equal(kept[key], vectors[key]) for key in kept)


def test_a_row_larger_than_the_folder_is_not_kept_for_ever(tmp_path: Path) -> None:
    disk = cache._Disk(tmp_path, 20_000)
    for i in range(5):
        disk.put({(b"space", bytes([i])): np.zeros(10_000, dtype=np.float32)})
        assert disk.path.stat().st_size < 150_000


def test_the_file_without_bounds_of_earlier_releases_goes(tmp_path: Path, spectra: np.ndarray, nm: np.ndarray) -> None:
    (tmp_path / "embeddings.sqlite").write_bytes(b"old")
    SpectralEmbedder(wavelengths=nm, cache=tmp_path).fit(spectra)
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings-2.sqlite"]


def test_damage_on_disk_is_no_answer(encoded: list[int], tmp_path: Path, spectra: np.ndarray, nm: np.ndarray) -> None:
    embedder = SpectralEmbedder(wavelengths=nm, cache=tmp_path)
    expected = embedder.fit_transform(spectra)
    with sqlite3.connect(tmp_path / "embeddings-2.sqlite") as connection:
        connection.execute("UPDATE rows SET vector = zeroblob(length(vector))")
    assert np.array_equal(embedder.transform(spectra), expected)
    assert encoded == [len(spectra)] * 2
    (tmp_path / "embeddings-2.sqlite").write_bytes(b"no database" * 1000)
    with pytest.warns(UserWarning, match="cannot be used .*clear_cache"):
        assert np.array_equal(embedder.transform(spectra), expected)
    embedder.clear_cache()
    embedder.transform(spectra)
    embedder.transform(spectra)
    assert encoded == [len(spectra)] * 4


def test_a_vector_of_another_spectrum_is_no_answer(tmp_path: Path, spectra: np.ndarray, nm: np.ndarray) -> None:
    embedder = SpectralEmbedder(wavelengths=nm, adapt=False, cache=str(tmp_path))
    before = embedder.fit_transform(spectra[:2])
    with sqlite3.connect(tmp_path / "embeddings-2.sqlite") as connection:
        (a, *first), (b, *second) = connection.execute("SELECT row, vector, checksum FROM rows").fetchall()
        for row, content in ((a, second), (b, first)):
            connection.execute("UPDATE rows SET vector = ?, checksum = ? WHERE row = ?", (*content, row))
    assert np.array_equal(embedder.fit_transform(spectra[:2]), before)


def test_a_cache_that_cannot_be(tmp_path: Path, spectra: np.ndarray, nm: np.ndarray) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="must be a folder that can be written to"):
        SpectralEmbedder(wavelengths=nm, cache=tmp_path / "file").fit(spectra)
    for odd in (None, 1, ""):
        with pytest.raises(ValueError, match=r"cache=.* must be False, True \(memory\) or a folder"):
            SpectralEmbedder(wavelengths=nm, cache=odd).fit(spectra)


def test_another_release_is_not_mixed_up(
    kept, encoded: list[int], spectra: np.ndarray, nm: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = SpectralEmbedder(wavelengths=nm, cache=kept).fit(spectra)
    monkeypatch.setattr("nirs4all_vit.version.__version__", "99.0")
    embedder.transform(spectra)
    assert encoded == [len(spectra)] * 2


def test_threads_share_the_memory(encoded: list[int], nm: np.ndarray) -> None:
    spectra = make_spectra(nm, 64)
    expected = SpectralEmbedder(wavelengths=nm).fit_transform(spectra)
    found: list[np.ndarray] = []
    run = lambda: found.append(SpectralEmbedder(wavelengths=nm, cache=True).fit_transform(spectra))  # noqa: E731
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert sum(encoded) <= 5 * len(spectra)
    assert all(np.array_equal(one, expected) for one in found)


def _write_for_ever(folder: Path) -> None:
    disk, i = cache._Disk(folder), 0
    while True:
        disk.put({(b"space", i.to_bytes(4, "big")): np.full(1000, i, dtype=np.float32)})
        i += 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no SIGKILL here")
def test_a_process_killed_while_it_writes_hurts_nobody(tmp_path: Path) -> None:
    disk = cache._Disk(tmp_path)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_for_ever, args=(tmp_path,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    keys = [(b"space", i.to_bytes(4, "big")) for i in range(100)]
    deadline = time.monotonic() + 60
    while len(disk.get(keys, 1000)) < 50 and time.monotonic() < deadline:
        time.sleep(0.05)
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    found = disk.get(keys, 1000)
    assert len(found) >= 50
    assert all((row == int.from_bytes(key[1], "big")).all() for key, row in found.items())
    disk.put({(b"space", b"after"): np.zeros(1000, dtype=np.float32)})
    assert len(disk.get([(b"space", b"after")], 1000)) == 1
