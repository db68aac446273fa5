"""
Where a calibration looks
=========================

A band at 1,730 nm carries the target; a band at 1,450 nm varies independently of it. ``wavelength_importance`` finds
the first band in a pipeline that was calibrated on embeddings.
"""

import matplotlib.pyplot as plt
import numpy as np

from nirs4all_vit.diagnostics import wavelength_importance
from nirs4all_vit.heads import make_spectral_pipeline

nm = np.linspace(1100.0, 2498.0, 350)
rng = np.random.default_rng(0)
y, water = rng.uniform(0.0, 1.0, (2, 60, 1))
bands = {centre: np.exp(-0.5 * ((nm - centre) / 20.0) ** 2) for centre in (1450.0, 1730.0)}
X = 0.3 + 0.1 * y * bands[1730.0] + 0.3 * water * bands[1450.0] + 0.05 * np.sin(nm / 200.0)
X += 1e-4 * rng.normal(size=X.shape)

model = make_spectral_pipeline("ridge", wavelengths=nm).fit(X, y[:, 0])
found = wavelength_importance(X, model)

# %%
# Below, the spectra, and the covariance of each band's part with the predictions.

figure, (above, below) = plt.subplots(2, 1, figsize=(8, 5), layout="constrained", sharex=True)
above.plot(nm, X.T, color="0.6", linewidth=0.5)
above.set_ylabel("absorbance")
found.plot(below)
below.axvline(1730.0, color="tab:red", linestyle=":", label="the planted band")
below.legend()
plt.show()
print(f"the peak lies at {found.peak():.0f} nm")
