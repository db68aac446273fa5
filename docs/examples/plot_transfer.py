"""
From one instrument to another
==============================

The same synthetic corn on three instruments: a laboratory one, a portable one of mid range and one of short range. A calibration on each
row's instrument predicts the test samples of each column's, which it has never seen, on another grid.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import RidgeCV

from benchmarks.demo import INSTRUMENTS, synthetic_problems
from nirs4all_vit import SpectralEmbedder

problems = list(synthetic_problems(120))
n, y = problems[0].n_train, problems[0].y
errors = {"as it is": np.empty((3, 3)), "with 10 samples of the second": np.empty((3, 3))}
for i, first in enumerate(problems):
    embedder = SpectralEmbedder(readout="contrast").fit(first.X[:n], wavelengths=first.wavelengths)
    Z = [embedder.transform(p.X, wavelengths=p.wavelengths) for p in problems]
    for j in range(3):
        for name, extra in zip(errors, (0, 10), strict=True):
            rows = np.r_[Z[i][:n], Z[j][:extra]], np.r_[y[:n], y[:extra]]
            predicted = RidgeCV(np.logspace(-4, 4, 17)).fit(*rows).predict(Z[j][n:])
            errors[name][i, j] = np.sqrt(np.mean((predicted - y[n:]) ** 2))

# %%
# On the diagonal an instrument predicts itself. Nothing carries over to instruments this different as it is: the errors are beyond the deviation of
# the test samples, which is what their mean would reach. Ten samples of the second instrument, with their values, put most of it right.

figure, panels = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
for panel, (name, table) in zip(panels, errors.items(), strict=True):
    picture = panel.imshow(table, cmap="viridis_r", vmin=0, vmax=2 * y[n:].std())
    for (i, j), error in np.ndenumerate(table):
        panel.text(j, i, f"{error:.2f}", ha="center", va="center", color="white", fontsize=9)
    panel.set(xticks=range(3), yticks=range(3), xlabel="predicted on", ylabel="calibrated on", title=name)
    panel.set_xticklabels(INSTRUMENTS, rotation=20, fontsize=8)
    panel.set_yticklabels(INSTRUMENTS, fontsize=8)
figure.colorbar(picture, ax=panels, label=f"RMSEP (% protein); deviation {y[n:].std():.2f}")
plt.show()
