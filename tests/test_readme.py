"""Every Python block of the README and of the documentation runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROOT, make_spectra, run_python

README = (ROOT / "README.md").read_text("utf-8")
PAGES = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
BLOCKS, PAGES_BLOCKS = (re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) for text in (README, PAGES))


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 2
    assert len(PAGES_BLOCKS) >= 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unit", "blocks"),
    [("nm", BLOCKS), ("cm-1", BLOCKS), ("nm", PAGES_BLOCKS)],
    ids=["nm", "cm-1, where files are read", "documentation"],
)
def test_blocks_run(unit: str, blocks: list[str], tmp_path: Path) -> None:
    nm = np.linspace(1100.0, 2498.0, 100)
    X = make_spectra(nm, 40)
    y = X[:, 60] - X[:, 30]
    labels = [f"{v:.2f}" for v in (nm if unit == "nm" else 1e7 / nm)]
    pd.DataFrame(X, columns=labels).to_csv(tmp_path / "spectra.csv", index=False)
    pd.DataFrame({"protein": y}).to_csv(tmp_path / "protein.csv", index=False)
    folder = tmp_path / "my_spectra"
    folder.mkdir()
    for part, rows in (("cal", slice(0, 28)), ("val", slice(28, None))):
        pd.DataFrame(X[rows], columns=labels).to_csv(folder / f"X{part}.csv", index=False, sep=";")
        pd.DataFrame({"y": y[rows]}).to_csv(folder / f"Y{part}.csv", index=False, sep=";")
    (tmp_path / "my_bank").mkdir()
    pd.DataFrame(X, columns=labels).to_csv(tmp_path / "my_bank/grain.csv", index=False)
    # One process, as each would import torch again; every block in a namespace of its own, as a user would paste it.
    run_python(
        f"for number, block in enumerate({blocks!r}, start=1):\n"
        "    print('block', number, flush=True)\n"
        "    exec(compile(block, f'block {number}', 'exec'), {'__name__': '__main__'})",
        cwd=tmp_path,
        network=False,
    )
