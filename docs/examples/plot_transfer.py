"""
From one instrument to another
==============================

The same synthetic corn is measured on three instruments, cut to their common range. A calibration on the instrument of
a row predicts the test samples on the instrument of a column, which has another axis: without correction, and with ten
samples of the second instrument in the calibration set.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import RidgeCV

from benchmarks.demo import INSTRUMENTS, synthetic_problems
from nirs4all_vit import SpectralEmbedder

problems = list(synthetic_problems(120))
n, y = problems[0].n_train, problems[0].y
low, high = max(p.wavelengths[0] for p in problems), min(p.wavelengths[-1] for p in problems)
shared = [(p.wavelengths >= low) & (p.wavelengths <= high) for p in problems]
spectra = [p.X[:, inside] for p, inside in zip(problems, shared, strict=True)]
axes = [p.wavelengths[inside] for p, inside in zip(problems, shared, strict=True)]
errors = {"as it is": np.empty((3, 3)), "with 10 samples of the second": np.empty((3, 3))}
for i in range(3):
    embedder = SpectralEmbedder().fit(spectra[i][:n], wavelengths=axes[i])
    Z = [embedder.transform(X, wavelengths=nm) for X, nm in zip(spectra, axes, strict=True)]
    for j in range(3):
        for name, extra in zip(errors, (0, 10), strict=True):
            rows = np.r_[Z[i][:n], Z[j][:extra]], np.r_[y[:n], y[:extra]]
            predicted = RidgeCV(np.logspace(-4, 4, 17)).fit(*rows).predict(Z[j][n:])
            errors[name][i, j] = np.sqrt(np.mean((predicted - y[n:]) ** 2))

# %%
# On the diagonal, calibration and prediction use the same instrument; the other errors are larger. These instruments
# differ in noise, resolution and sampling. Real ones also differ in their response: see the results of that phase.

figure, panels = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
for panel, (name, table) in zip(panels, errors.items(), strict=True):
    picture = panel.imshow(table, cmap="viridis_r", vmin=0, vmax=y[n:].std())
    for (i, j), error in np.ndenumerate(table):
        panel.text(j, i, f"{error:.2f}", ha="center", va="center", color="white", fontsize=9)
    panel.set(xticks=range(3), yticks=range(3), xlabel="predicted on", ylabel="calibrated on", title=name)
    panel.set_xticklabels(INSTRUMENTS, rotation=20, fontsize=8)
    panel.set_yticklabels(INSTRUMENTS, fontsize=8)
figure.colorbar(picture, ax=panels, label=f"RMSEP (% protein); standard deviation {y[n:].std():.2f}")
plt.show()
