"""The package as it is installed: import cost, layering, the wheel."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

import nirs4all_vit
from tests.conftest import ROOT, run_python

PACKAGE = ROOT / "nirs4all_vit"


def test_import_is_light() -> None:
    code = """
import sys, time
start = time.perf_counter()
import nirs4all_vit
seconds = time.perf_counter() - start
heavy = {"torch", "sklearn", "numpy", "pandas", "nirs4all"} & set(sys.modules)
assert not heavy, heavy
assert seconds < 0.2, seconds
from nirs4all_vit import SpectralEmbedder
assert "torch" not in sys.modules and "nirs4all" not in sys.modules
from nirs4all_vit.encoder.checkpoint import load_checkpoint
load_checkpoint()
assert "torch._dynamo" not in sys.modules  # a second of every process
"""
    run_python(code)


def test_banks_are_read_without_torch() -> None:
    run_python("""
import sys
from nirs4all_vit.pretraining import BaselineCache, load_x_bank
assert "torch" not in sys.modules and "sklearn" not in sys.modules
""")


def test_the_command_line_embeds_without_scikit_learn(tmp_path: Path) -> None:
    """Its import takes as long as torch's: half of what one file would wait for."""
    pd.DataFrame([[0.1, 0.4, 0.2, 0.3]], columns=[1100, 1300, 1500, 1700]).to_csv(tmp_path / "one.csv", index=False)
    run_python(f"""
import sys
from nirs4all_vit.cli import main
assert main(["embed", {str(tmp_path / "one.csv")!r}, "-o", {str(tmp_path / "one.npy")!r}]) == 0
heavy = {{"sklearn", "scipy.stats", "nirs4all"}} & set(sys.modules)
assert not heavy, heavy
""")


def test_public_names() -> None:
    assert set(nirs4all_vit.__all__) <= set(dir(nirs4all_vit))
    for name in nirs4all_vit.__all__:
        assert getattr(nirs4all_vit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Spectrum'"):
        _ = nirs4all_vit.Spectrum


def _imports(path: Path) -> set[str]:
    """First-party modules and third-party packages that a file imports anywhere."""
    found = set()
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            found.add(".".join([*base, *([node.module] if node.module else [])]))
    return found


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("encoder", ("sklearn", "nirs4all", "nirs4all_vit.embedding", "nirs4all_vit.embedder")),
        ("spectra", ("torch", "nirs4all_vit.encoder", "nirs4all_vit.embedding", "nirs4all_vit.embedder")),
        ("embedding", ("nirs4all", "nirs4all_vit.embedder", "nirs4all_vit.heads", "nirs4all_vit.pretraining")),
        ("heads", ("nirs4all", "nirs4all_vit.diagnostics", "nirs4all_vit.pretraining", "nirs4all_vit.finetuning")),
        (
            "diagnostics",
            ("nirs4all", "nirs4all_vit.pretraining", "nirs4all_vit.finetuning", "nirs4all_vit.calibration"),
        ),
        ("calibration", ("nirs4all_vit.pretraining", "nirs4all_vit.finetuning", "nirs4all_vit.nirs4all_host")),
        (".", ("nirs4all_vit.pretraining", "nirs4all_vit.nirs4all_host", "benchmarks")),
        ("pretraining", ("nirs4all_vit.embedder", "nirs4all_vit.diagnostics", "benchmarks")),
    ],
)
def test_imports_run_one_way(folder: str, forbidden: tuple[str, ...]) -> None:
    files = (PACKAGE / folder).glob("*.py") if folder == "." else (PACKAGE / folder).rglob("*.py")
    for path in files:
        if path.name == "cli.py":  # a command stands above everything
            continue
        for imported in _imports(path):
            clash = [name for name in forbidden if imported == name or imported.startswith(name + ".")]
            assert not clash, f"{path.name} imports {imported}"


def test_no_import_runs_in_a_circle() -> None:
    modules = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for name, path in modules.items():
        package = path.relative_to(ROOT).with_suffix("").parts[:-1]
        # Those inside of functions, too: a circle that is put off is one. Packages give names by string.
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
                wanted = {f"{base}.{alias.name}" for alias in node.names}
                graph.setdefault(name, set()).update((wanted & modules.keys()) or {base})
    order = list(graphlib.TopologicalSorter({name: found - {name} for name, found in graph.items()}).static_order())
    assert len(order) > 80  # a circle would have raised


def test_no_module_uses_anothers_private_names() -> None:
    #: Of other packages, which have no public name for it.
    allowed = {"TransformerMixinController._extract_wavelengths", "sys._getframe", "model._x_mean"}
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                ours = node.level or (node.module or "").startswith("nirs4all_vit")
                names = [alias.name for alias in node.names] if ours else []
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls", "super()"):
                names = [node.attr] if ast.unparse(node) not in allowed else []
            else:
                continue
            private = [name for name in names if name.startswith("_") and not name.startswith("__")]
            assert not private, f"{path.relative_to(ROOT)}, line {node.lineno}: {private[0]}"


def test_files_stay_readable() -> None:
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        assert len(path.read_text("utf-8").splitlines()) <= 500, path


@pytest.mark.slow
def test_the_wheel_holds_the_weights_and_embeds(tmp_path: Path) -> None:
    """Built as `pip wheel .` builds it, from what git would check out, and used from where it was unpacked."""
    source = tmp_path / "source"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.splitlines()):
        if name.startswith(("nirs4all_vit/", "pyproject", "README", "LICENSE", "NOTICE")) and (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*pip, str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    unpacked = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(unpacked)
    for part in (
        "weights/nirs-base-v2.safetensors",
        "weights/MODEL_CARD.md",
        "py.typed",
        "recipes/nirs-base-v2.yaml",
        "report/report.html.jinja",
        "report/report.css",
        "report/table.js",
    ):
        assert any(name.endswith(part) for name in names), part
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert not any(name.startswith(("tests", "benchmarks")) for name in names)
    printed = run_python(
        "import nirs4all_vit, numpy as np\n"
        "nm = np.linspace(900, 1700, 50)\n"
        "z = nirs4all_vit.SpectralEmbedder().fit_transform(np.random.rand(3, 50), wavelengths=nm)\n"
        "print(nirs4all_vit.__file__, z.shape)",
        cwd=tmp_path,
        network=False,
        env={"PYTHONPATH": str(unpacked)},
    )
    assert printed.startswith(str(unpacked))
    assert "(3, 6832)" in printed
