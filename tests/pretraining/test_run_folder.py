"""A folder belongs to one run: nothing finished is written over, nothing else is gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nirs4all_vit.files import file_sha256, lock_folder
from nirs4all_vit.pretraining import BaselineCache, Pretraining
from nirs4all_vit.pretraining.record import FILE, load_state, plot_losses, save_state
from tests.conftest import run_python
from tests.pretraining.test_loop import bank, config


def run(out: Path, *overrides: str, **settings: int) -> Path:
    return Pretraining(config(out, "--run.resume=auto", *overrides, **settings), bank()).run(progress=False)


def interrupted(out: Path, monkeypatch: pytest.MonkeyPatch, at: int, *overrides: str) -> None:
    step = Pretraining.step

    def killed(self: Pretraining) -> dict[str, float]:
        if self.step_done == at:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as patched:
        patched.setattr(Pretraining, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            run(out, *overrides)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(BlockingIOError, match=r"another process is writing to .*name another"):
        run(tmp_path)
    run(tmp_path, steps=1)


@pytest.mark.parametrize("resume", ["auto", "never"])
@pytest.mark.parametrize("name", ["last.safetensors", "best.safetensors"])
def test_a_product_without_its_state_stays(name: str, resume: str, tmp_path: Path) -> None:
    run(tmp_path / "made", steps=1)
    out = tmp_path / "kept"
    out.mkdir()
    (tmp_path / "made" / name).rename(out / name)
    before = file_sha256(out / name)
    with pytest.raises(FileExistsError, match=rf"{name}.*name another folder"):
        run(out, f"--run.resume={resume}", steps=1)
    assert file_sha256(out / name) == before


def test_what_ended_before_its_first_state_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "straight")
    interrupted(tmp_path / "killed", monkeypatch, 2)
    assert not (tmp_path / "killed" / FILE).exists()
    with pytest.raises(FileExistsError, match=r"config\.json of another run"):
        run(tmp_path / "killed", "--run.seed=1")
    run(tmp_path / "killed")
    assert file_sha256(tmp_path / "killed/last.safetensors") == file_sha256(tmp_path / "straight/last.safetensors")


def test_other_baselines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    BaselineCache(tmp_path / "asls").precompute(bank(), progress=False)
    with_baselines = ["--objectives.baseline_consistency.weight=1", f"--data.asls={tmp_path / 'asls'}"]
    interrupted(tmp_path / "run", monkeypatch, 4, *with_baselines)
    with (
        pytest.warns(UserWarning, match="left out of the baseline objective"),
        pytest.raises(ValueError, match=r"with other AsLS baselines, or without; use the same data\.asls"),
    ):
        run(tmp_path / "run", with_baselines[0], f"--data.asls={tmp_path / 'none'}")
    run(tmp_path / "run", *with_baselines)


def test_a_bit_that_flipped_is_noticed(tmp_path: Path) -> None:
    weights = torch.arange(4096, dtype=torch.float32)
    save_state(tmp_path, {"model": {"w": weights}})
    assert torch.equal(load_state(tmp_path)["model"]["w"], weights)
    content = bytearray((tmp_path / FILE).read_bytes())
    content[content.find(weights[2000:2010].numpy().tobytes()) + 3] ^= 0x40
    (tmp_path / FILE).write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"state\.pt is damaged \(wrong checksum of .*\)"):
        load_state(tmp_path)


def test_drawing_leaves_the_backend_alone(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    run(tmp_path, steps=2)
    with matplotlib.rc_context({"backend": "svg"}):
        assert plot_losses(tmp_path) == tmp_path / "loss.png"
        assert matplotlib.get_backend() == "svg"


def test_a_forked_child_leaves_its_parents_spectra(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from nirs4all_vit.pretraining import load_x_bank
bank = load_x_bank(BANK, progress=False)
folder = Path(bank[0].owner.name)
child = os.fork()
if child == 0:
    del bank
    sys.exit()  # runs what is to be run at exit
os.waitpid(child, 0)
# Nor does another process take it for one that was left, however long it has been there.
os.utime(folder, (0, 0))
load_x_bank(BANK, progress=False)
assert folder.is_dir() and len(bank[0].values) == 2
left = folder.with_name(folder.name + "-left")
left.mkdir()
os.utime(left, (0, 0))
load_x_bank(BANK, progress=False)
assert not left.exists() and folder.is_dir()
"""
    (tmp_path / "a.csv").write_text("1100,1110,1120\n1,2,3\n2,3,5\n")
    run_python(f"BANK = {str(tmp_path)!r}\n{code}")
