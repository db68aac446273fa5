"""
From spectra to a report
========================

``calibrate`` cross-validates, fits, and writes a report. The one that this page makes is
`here <../_static/example_report.html>`_; the figure below draws its first picture with matplotlib.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from nirs4all_vit import calibrate

nm = np.arange(1100.0, 2500.0, 4.0)
rng = np.random.default_rng(0)
bands = np.exp(-0.5 * ((nm - np.array([[1450.0], [1730.0], [1940.0], [2180.0]])) / 45.0) ** 2)
amounts = rng.uniform(0.1, 1.0, (120, 4))
X = amounts @ bands + rng.uniform(0.2, 0.4, (120, 1)) + 2e-3 * rng.normal(size=(120, nm.size))
protein = 8.0 + 6.0 * amounts[:, 3] + 0.15 * rng.normal(size=120)

spectra = pd.DataFrame(X, columns=nm, index=[f"wheat {k + 1}" for k in range(120)])
found = calibrate(spectra, pd.Series(protein, name="protein (%)"), test=0.25, cv="5x1")
static = Path("../_static")
found.write_report((static if static.is_dir() else Path()) / "example_report.html")

# %%
# Cross-validation, and the samples that took no part in it.

target = found.result.targets[0]
figure, ax = plt.subplots(figsize=(5, 4.6), layout="constrained")
for name, part, colour in (("cross-validation", target.cross_validated, "C0"), ("test", target.test, "C1")):
    ax.plot(part.measured, part.predicted, "o", ms=4, color=colour, label=f"{name}: RMSE {part.metrics.rmse:.2f}")
ax.axline((10, 10), slope=1, color="0.6", lw=1, zorder=0)
ax.set(xlabel="measured protein (%)", ylabel="predicted protein (%)")
ax.legend()
plt.show()
for one in target.comparisons:
    print(f"{one.name}: RMSECV {one.metrics.rmse:.3f}")
