"""The model folder: same predictions after loading, no executable content, damage is detected."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from nirs4all_vit import ModelError, SpectralCalibration, load
from nirs4all_vit.calibration import save
from nirs4all_vit.calibration.codec import CLASSES, Encoder, UnknownContent, decode
from nirs4all_vit.calibration.folder import ARRAY_FILE, MODEL_FILE
from nirs4all_vit.calibration.heads import SAVED_HEADS
from nirs4all_vit.files import file_sha256
from tests.calibration.data import NM, make

X, TABLE = make()
NEW = X[:9] + 0.002


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = SpectralCalibration("ridge", cv="3x1").fit(X, TABLE[["protein", "grade"]], wavelengths=NM)
    path = tmp_path_factory.mktemp("models") / "model"
    save(model, path)
    return path


@pytest.mark.parametrize("head", SAVED_HEADS)
def test_the_same_predictions(head: str, tmp_path: Path) -> None:
    targets = {"plsda": ["grade"], "logistic": ["grade"], "krr": ["protein", "moisture"], "pls": ["protein"]}
    columns = targets.get(head, ["protein", "grade"])
    table = TABLE[columns].copy()
    if head == "krr":
        table.loc[:5, "moisture"] = np.nan
    model = SpectralCalibration(head, cv="2x1", robust=head == "ridge").fit(X, table, wavelengths=NM)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    for ours, theirs in zip(
        model.predict_all(NEW, wavelengths=NM), again.predict_all(NEW, wavelengths=NM), strict=True
    ):
        for name, values in ours.items():
            if values.dtype.kind == "f":
                np.testing.assert_allclose(theirs[name], values, rtol=1e-6, atol=1e-6)
            else:
                np.testing.assert_array_equal(theirs[name], values)
    np.testing.assert_allclose(again.measure_novelty(NEW, wavelengths=NM), model.measure_novelty(NEW, wavelengths=NM))


def test_another_place_and_process(folder: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "wheat"))
    np.save(tmp_path / "new.npy", NEW)
    np.save(tmp_path / "nm.npy", NM)
    code = f"""
import numpy as np
from nirs4all_vit import load
model = load({str(moved)!r})
spectra, nm = np.load({str(tmp_path / "new.npy")!r}), np.load({str(tmp_path / "nm.npy")!r})
np.save({str(tmp_path / "p.npy")!r}, model.predict(spectra, wavelengths=nm).astype(str))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    here = load(folder).predict(NEW, wavelengths=NM)
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), here.astype(str))


def test_own_weights_are_saved_with_the_model(own_checkpoint: Path, tmp_path: Path) -> None:
    model = SpectralCalibration("ridge", cv="2x1", checkpoint=str(own_checkpoint)).fit(
        X, TABLE["protein"], wavelengths=NM
    )
    save(model, tmp_path / "model")
    own_checkpoint.unlink()
    np.testing.assert_allclose(load(tmp_path / "model").predict(NEW, wavelengths=NM).shape, (9,))


def test_every_changed_byte_is_noticed(folder: Path, tmp_path: Path) -> None:
    """Each of fifty damaged folders raises an error of one line."""
    rng = np.random.default_rng(0)
    sound = {name: (folder / name).read_bytes() for name in (MODEL_FILE, ARRAY_FILE)}
    damaged = tmp_path / "damaged"
    for k in range(50):
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(folder, damaged)
        name = (MODEL_FILE, ARRAY_FILE)[k % 2]
        content = bytearray(sound[name])
        place = int(rng.integers(len(content)))
        if k % 5 == 4:
            content = content[:place]
        else:
            content[place] ^= 1 << int(rng.integers(8))
        (damaged / name).write_bytes(content)
        with pytest.raises(ModelError) as caught:
            load(damaged)
        assert "\n" not in str(caught.value)
        assert str(damaged) in str(caught.value)


@pytest.mark.parametrize("name", [MODEL_FILE, ARRAY_FILE])
def test_a_file_that_is_missing(name: str, folder: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    (copied / name).unlink()
    with pytest.raises(ModelError, match=name):
        load(copied)


def _rewritten(folder: Path, tmp_path: Path, change: Any) -> Path:
    """Return a copy with changed content and the hash of this content."""
    from nirs4all_vit.calibration import folder as module

    copied = Path(shutil.copytree(folder, tmp_path / "forged"))
    content = json.loads((copied / MODEL_FILE).read_text("utf-8"))
    change(content, copied)
    content["sha256"] = module._hash(content)
    (copied / MODEL_FILE).write_text(module._as_json(content), "utf-8")
    return copied


def test_nothing_in_a_file_runs(folder: Path, tmp_path: Path) -> None:
    def another_class(content: Any, _: Path) -> None:
        content["model"]["state"]["embedder_"] = {"$": "object", "class": "Popen", "state": {"args": "touch x"}}

    with pytest.raises(ModelError, match="the class 'Popen'"):
        load(_rewritten(folder, tmp_path, another_class))


@pytest.mark.parametrize(
    ("key", "value"), [("predict", 1), ("__class__", "x"), ("not a name", 1), ("memory", "pickles")]
)
def test_methods_and_caches_are_not_replaced(key: str, value: Any, folder: Path, tmp_path: Path) -> None:
    def forge(content: Any, _: Path) -> None:
        content["model"]["state"][key] = value

    with pytest.raises(ModelError, match="no model of this package"):
        load(_rewritten(folder, tmp_path, forge))


def test_a_newer_format(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="newer than this release reads; upgrade"):
        load(_rewritten(folder, tmp_path, lambda content, _: content.update(format=99)))


def test_other_weights(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="made with weights"):
        load(_rewritten(folder, tmp_path, lambda content, _: content["checkpoint"].update(sha256="0" * 64)))


def test_other_versions_give_a_warning(folder: Path, tmp_path: Path) -> None:
    forged = _rewritten(folder, tmp_path, lambda content, _: content["versions"].update({"scikit-learn": "1.0"}))
    with pytest.warns(UserWarning, match=r"scikit-learn 1\.0 \(here"):
        load(forged)


def test_arrays_of_other_shapes(folder: Path, tmp_path: Path) -> None:
    """Content that refers to missing arrays is no model."""

    def cut(content: Any, copied: Path) -> None:
        arrays = load_file(copied / ARRAY_FILE)
        arrays.pop(next(iter(arrays)))
        save_file(arrays, copied / ARRAY_FILE)
        content["arrays_sha256"] = file_sha256(copied / ARRAY_FILE)

    with pytest.raises(ModelError, match="no model of this package"):
        load(_rewritten(folder, tmp_path, cut))


def test_encoding_round_trip() -> None:
    things = {
        "numbers": [1, 2.5, float("nan"), float("-inf"), True, None, "text"],
        "tuple": (1, (2, "3")),
        4: np.float32(0.1),
        "texts": np.array([["a", "b"]]),
        "objects": np.array(["a", None], dtype=object),
        "array": np.arange(6, dtype=np.int16).reshape(2, 3),
    }
    encoder = Encoder()
    text = json.dumps(encoder.encode(things), allow_nan=False)
    back = decode(json.loads(text), encoder.arrays)
    assert repr(back) == repr(things)
    with pytest.raises(UnknownContent, match="Encoder"):
        encoder.encode(encoder)


def test_listed_classes_exist() -> None:
    from importlib import import_module

    for name, module in CLASSES.items():
        assert isinstance(getattr(import_module(module), name), type)
