"""Every Python block of the README and of the documentation runs as it stands; the README's figures are those of the committed results."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.bank import summarise
from benchmarks.tables import RESULTS, read_comparison
from tests.conftest import ROOT, make_spectra, run_python

README = (ROOT / "README.md").read_text("utf-8")
FINDINGS = (ROOT / "docs/findings.md").read_text("utf-8")
PAGES = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
BLOCKS, PAGES_BLOCKS = (re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) for text in (README, PAGES))


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 3
    assert len(PAGES_BLOCKS) >= 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unit", "blocks"),
    [("nm", BLOCKS), ("cm-1", BLOCKS[:3]), ("nm", PAGES_BLOCKS)],
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


def test_quoted_results_are_the_committed_ones() -> None:
    quoted = re.sub(r"\s+", " ", README + FINDINGS)
    first = read_comparison("phase0").set_index("method").loc["ridge@nirs-base-v2"]
    targets = pd.read_csv(RESULTS / "phase0_targets.csv")
    targets = targets[(targets["kind"] == "regression") & targets["predictable"]]
    assert len(targets) == first["targets"]
    assert (
        f"On {len(targets)} regression targets of {targets['dataset'].nunique()} real datasets ({targets['family'].nunique()} families of"
        in quoted
    )
    assert 0.86 < first["geometric mean"] < 0.885  # an eighth less
    assert 0.845 < first["wins"] < 0.87  # six targets of seven
    unseen, fewer = (
        read_comparison("phase3a", n=n).set_index("method").loc["ridge@local-contrast~K"] for n in (200, 25)
    )
    grows = pd.read_csv(RESULTS / "robustness.csv").set_index("method").round(2)
    plain, classical, robust = (
        grows.loc[name] for name in ("ridge@nirs-base-v2", "snv-pls", "robust-ridge@nirs-base-v2")
    )
    for name in ("baseline drift", "wavelength shift"):
        assert (
            f"by {plain[name]:.2f} and {'SNV + PLS by ' * (name == 'baseline drift')}{classical[name]:.2f};" in quoted
        )
    assert (
        f"makes these {robust['baseline drift']:.2f}, {robust['wavelength shift']:.2f} and {robust['scatter']:.2f}."
        in quoted
    )
    assert (
        f"On families that the encoder has not seen the ratio is {unseen['geometric mean']:.3f} with ridge;" in quoted
    )
    assert f"with {unseen['wins']:.0%} of the targets won".replace("%", " %") in quoted
    assert f"with 25 calibration samples {fewer['geometric mean']:.3f}" in quoted
    cut = pd.read_csv(RESULTS / "ranges.csv").set_index(["method", "change"]).loc["ridge@local-contrast~K"]
    for change, words in (("one point", "for one point"), ("1%", "for 1 %"), ("5%", "for 5 %"), ("20%", "for 20 %")):
        short, long = (cut.loc[f"{change} off the {end} end", "ratio"] for end in ("short", "long"))
        assert re.search(rf"{short:.3f} and {long:.3f} {words}", quoted)
    second = pd.read_csv(RESULTS / "transfer_unlabelled.csv").set_index(["population", "method", "standardisation"])
    all_, upper = (second.loc[(p, "ridge@nirs-base-v2", "unlabelled")] for p in ("all", "upper"))
    assert f"brings this to {all_['over snv-pls']:.3f}" in quoted
    assert f"to {all_['over without']:.3f} of doing nothing" in quoted
    assert f"to {upper['over without']:.3f} of doing nothing" in quoted
    uncut = pd.read_csv(RESULTS / "transfer_uncut.csv").set_index("method").loc["ridge@nirs-base-v2"]
    assert f"the RMSEP is {uncut['ratio']:.3f} of that with both cut" in quoted
    strict, by_ridge, by_process, few, fewest = (
        read_comparison("phase3a-heads", **which).set_index("method").loc["committee@local-contrast~K"]
        for which in ({}, {"reference": "best-ridge"}, {"reference": "gp"}, {"n": 25}, {"n": 10})
    )
    won = f"{strict['wins']:.0%}".replace("%", " %")
    ratio, ridges, process, n25, n10 = (
        f"{row['geometric mean']:.3f}" for row in (strict, by_ridge, by_process, few, fewest)
    )
    assert f"with the committee as the head {ratio} and {won} of the targets won" in quoted
    assert f"to `best-pls` it has {ratio}, with {won} of the targets won; {ridges} to the best of five ridges" in quoted
    assert f"{process} to the Gaussian process on preprocessed spectra" in quoted
    assert f"with 25 calibration samples {n25}, with 10 {n10}" in quoted
    bank = pd.read_csv(RESULTS / "bank_pca.csv")
    pca, untrained = (summarise(bank, reference=name) for name in ("pca", "untrained"))
    stable = pd.read_csv(RESULTS / "resampling.csv")
    for figure in (
        f"{pca['wins']:.0%}".replace("%", " %"),
        f"{int(pca['targets'])} regression targets",
        f"{pca['geometric mean of ratios, predictable']:.3f}",
        f"{untrained['geometric mean of ratios, predictable']:.3f}",
        f"{stable['smallest cosine'].min():.4f}",
        f"{len(stable)} smooth sets",
    ):
        assert figure in quoted, figure
    heads = read_comparison("phase6").set_index("method")["geometric mean"]
    for name, head in (
        ("Gaussian process", "gp"),
        ("kernel ridge", "krr"),
        ("ridge", "ridge"),
        ("support vectors", "svr"),
        ("network", "mlp"),
        ("PLS", "pls"),
    ):
        assert f"{name} {heads[f'{head}@nirs-base-v2']:.3f}" in quoted
    tuned = pd.read_csv(RESULTS / "finetuning.csv").set_index("method").loc["tuned@nirs-base-v2"]
    assert "the error is {:.3f}, {:.3f} and {:.3f} of the frozen".format(*tuned["geometric mean"]) in quoted
    held = pd.read_csv(RESULTS / "intervals.csv").set_index("method")
    ridge, committee = (held.loc[f"{head}@nirs-base-v2"] for head in ("ridge", "committee"))
    assert "Intervals hold {:.3f}, {:.3f} and {:.3f} where".format(*ridge["coverage"]) in quoted
    assert (
        "they hold {:.3f}, {:.3f} and {:.3f}, and {:.3f}, {:.3f} and {:.3f} in the far half".format(
            *committee["coverage"], *committee["coverage of the far half"]
        )
        in quoted
    )
    width = committee.set_index("nominal").loc[0.9, "width / ridge's"]
    assert f"at {width:.2f} of the ridge's width on the same 38 targets" in quoted
    confirmed = read_comparison("confirm").set_index("method")["geometric mean"]
    shown = [confirmed[name] for name in ("committee@nirs-base-v2", "ridge@nirs-base-v2", "gp")]
    assert (
        "the committee has {:.3f} of the error of `best-pls`, ridge {:.3f}, the Gaussian process on".format(*shown)
        in quoted
    )
    published = pd.read_csv(RESULTS / "published.csv").set_index(["reference", "method"])["geometric mean"]
    order = ("committee@local-contrast~K", "ridge@local-contrast~K", "gp", "aom-pls")
    to_pls, to_best = ([published[reference, name] for name in order] for reference in ("pls", "best-pls"))
    assert (
        "the committee has {:.3f} of the error of PLS on the spectra as they are, ridge {:.3f}".format(*to_pls)
        in quoted
    )
    assert "to `best-pls` {:.3f}, {:.3f}, {:.3f} and {:.3f}.".format(*to_best) in quoted
    faults = pd.read_csv(RESULTS / "novelty.csv").set_index("fault")
    assert f"is {np.floor(faults['AUC'].min() * 100) / 100:.2f} or more for each" in quoted
    assert f"and {faults.loc['none', 'share flagged']:.0%} of sound spectra".replace("%", " %") in quoted
    assert f"mean over {faults.loc['none', 'families']} families" in quoted
    faults = pd.read_csv(RESULTS / "novelty_bank.csv").set_index("fault")
    assert f"flags {faults.loc['none', 'share flagged']:.1%} of sound spectra".replace("%", " %") in quoted
    assert (
        f"Of spectra in reflectance, {faults.loc['as published', 'share flagged']:.0%} are".replace("%", " %") in quoted
    )
    weak = faults["AUC"][["dead channel", "dead block", "flipped"]]
    assert "dead channels ({:.2f}), dead blocks ({:.2f}) and flipped spectra ({:.2f})".format(*weak) in quoted
    assert f"curve is {np.floor(faults['AUC'].drop(weak.index).min() * 100) / 100:.2f} or more for saturation" in quoted
    assert f"{faults.loc['percent reflectance', 'share flagged']:.0%} of those in percent".replace("%", " %") in quoted
