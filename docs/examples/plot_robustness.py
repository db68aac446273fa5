"""
Robustness to noise and drift
=============================

A calibration on clean spectra predicts disturbed spectra: synthetic corn, protein, one laboratory instrument. The test
spectra get noise or a sloping baseline of an increasing share of their standard deviation.
"""

import matplotlib.pyplot as plt
import numpy as np
from nirs4all.operators.transforms import StandardNormalVariate
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline

from benchmarks.demo import synthetic_problems
from nirs4all_vit import SpectralEmbedder

problem = next(synthetic_problems(120))
train, test = slice(None, problem.n_train), slice(problem.n_train, None)
models = {
    "SNV + PLS": make_pipeline(StandardNormalVariate(), PLSRegression(8, scale=False)),
    "SpectralEmbedder + ridge": make_pipeline(
        SpectralEmbedder(wavelengths=problem.wavelengths), RidgeCV(np.logspace(-4, 4, 17))
    ),
}
for model in models.values():
    model.fit(problem.X[train], problem.y[train])

# %%
# Each level is one draw of noise, or one slope per spectrum, for both models. A sloping baseline affects neither. The
# clean calibration set had no strong noise; with it, the embedding loses more than SNV and PLS, because local contrast
# follows fine detail, which includes noise.

levels = np.array([0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
X, y = problem.X[test], problem.y[test]
deviation = X.std(axis=1, keepdims=True)
rng = np.random.default_rng(0)
disturbances = {
    "noise": rng.normal(size=X.shape),
    "baseline": rng.normal(size=(len(X), 1)) * np.linspace(-1.0, 1.0, X.shape[1]),
}
figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharey=True)
for panel, (name, disturbance) in zip(panels, disturbances.items(), strict=True):
    for label, model in models.items():
        errors = [np.sqrt(np.mean((np.ravel(model.predict(X + k * deviation * disturbance)) - y) ** 2)) for k in levels]
        panel.plot(levels, errors, "o-", label=label)
    panel.set_xlabel(f"{name}, share of a spectrum's deviation")
    panel.set_xscale("symlog", linthresh=0.01)
panels[0].set_ylabel("RMSEP (% protein)")
panels[0].legend()
plt.show()

# %%
# On real spectra, and with five more perturbations, this is the phase ``robustness`` of the benchmark.
