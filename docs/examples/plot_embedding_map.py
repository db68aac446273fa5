"""
Map of a bank
=============

The map shows the datasets of a bank on two principal components of the embedding (read-out ``mean``, 96 columns): up to
twenty spectra of each dataset, on any grid, and one colour for each kind of range. Without a bank the script uses
synthetic materials and instruments.
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.pretraining import load_x_bank, synthetic_bank

folder = Path(os.environ.get("X_BANK", "../shared/x_bank"))
bank = load_x_bank(folder, on_error="skip") if folder.is_dir() else synthetic_bank(24)

rows, axes, owner = [], [], []
for number, dataset in enumerate(bank):
    chosen = np.arange(len(dataset))[:: max(1, len(dataset) // 20)][:20]
    rows += list(dataset.absorbance(chosen))
    axes += [dataset.wavelengths] * len(chosen)
    owner += [number] * len(chosen)
Z = SpectralEmbedder(readout="mean", adapt=False, align=False).fit_transform(rows, wavelengths=axes)
place = PCA(2, random_state=0).fit_transform(Z)

# %%
# Datasets of one range lie together; within a range, materials do.

stops = np.array([axis[-1] for axis in axes])
kinds = {"ends below 1,150 nm": stops < 1150, "ends below 1,900 nm": (stops >= 1150) & (stops < 1900)}
kinds["reaches beyond"] = stops >= 1900
figure, ax = plt.subplots(figsize=(8, 6), layout="constrained")
for kind, member in kinds.items():
    ax.scatter(*place[member].T, s=8, alpha=0.6, label=kind)
for number in range(0, len(bank), max(1, len(bank) // 15)):
    centre = place[np.array(owner) == number].mean(axis=0)
    ax.annotate(bank[number].family, centre, fontsize=7, ha="center")
ax.set(xlabel="first component", ylabel="second component", title=f"{len(rows):,} spectra of {len(bank)} datasets")
ax.legend()
plt.show()
