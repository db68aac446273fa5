"""Methods of other projects, unchanged."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nirs4all_vit.heads import make_head
from nirs4all_vit.heads.tabular import LIBRARIES, why_not
from nirs4all_vit.heads.targetwise import accepted

from ..calibrations import Calibration
from .base import GridViews, Method, Unavailable, Views

#: Environment variable with the Python of a separate environment: aeon needs older packages than
#: nirs4all.
MULTIROCKET_PYTHON = "MULTIROCKET_PYTHON"
_OWN_ENVIRONMENT = Path(".venv-multirocket/bin/python")


class Estimator(Method):
    """Scikit-learn estimator on the first view; `make` returns it unfitted."""

    def __init__(self, make: Callable[[Calibration], Any], views: Views) -> None:
        self.make, self.views = make, views

    def fit(self, part: Calibration) -> Self:
        """Calibrate; raises `Unavailable` if the numerical library of nirs4all rejects the data."""
        X = self.views.fit(part).view(part, self.views.names[0])
        try:
            model = self.make(part)
            # Keep replicates together where the estimator selects parameters.
            self.model = model.fit(np.asarray(X, dtype=np.float64), part.y, **accepted(model, groups=part.groups))
        except RuntimeError as error:
            # nirs4all's kernels reject targets without signal; this is no failure of the run.
            if type(error).__name__ != "N4MError":
                raise
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        return self

    def predict(self, part: Calibration) -> NDArray:
        """Predict values or classes."""
        X = self.views.view(part, self.views.names[0])
        return np.ravel(self.model.predict(np.asarray(X, dtype=np.float64)))


def aom_pls(part: Calibration) -> Any:
    """Return nirs4all's PLS over a bank of operators, with components by cross-validation."""
    from nirs4all.operators.models import AOMPLSRegressor

    return AOMPLSRegressor(max_components=min(20, len(part) // 2), cv=5)


def aom_ridge(part: Calibration) -> Any:  # noqa: ARG001
    """Return nirs4all's ridge over a superblock of operators."""
    from nirs4all.operators.models import AOMRidgeRegressor

    return AOMRidgeRegressor(random_state=0)


def aom_ridge_blender(part: Calibration) -> Any:  # noqa: ARG001
    """Return nirs4all's convex blend of ridge variants; a fit takes minutes."""
    from nirs4all.operators.models import AOMRidgeBlender

    return AOMRidgeBlender(random_state=0)


def head(name: str) -> Callable[[Calibration], Any]:
    """Return a factory of a head of `nirs4all_vit.heads`, with local weights if it needs any."""

    def make(part: Calibration) -> Any:
        if name in LIBRARIES:
            require_weights(name, part.task)
        return make_head(name, part.task)

    return make


def tabpfn_nirs(part: Calibration) -> Any:
    """Return nirs4all's TabPFN with its fixed preprocessing."""
    weights = require_weights("tabpfn", part.task)
    from nirs4all.operators.models import TabPFNNIRSRegressor

    return TabPFNNIRSRegressor(model_path=weights, device="cpu")


def require_weights(library: str, task: str) -> str:
    """Return the weight file of TabPFN or TabICL for a kind of task.

    Nothing is downloaded. Raises `Unavailable` if the library or its weights are missing.
    """
    missing = why_not(library, task)
    if missing:
        raise Unavailable(missing)
    variable = LIBRARIES[library].variables[task]
    path = os.environ.get(variable)
    if not path:
        raise Unavailable(f"no weights of {library}: set {variable} to a local .ckpt file")
    return path


class MultiRocketFeatures(GridViews):
    """Features of MultiRocket's random kernels, computed by aeon in a separate environment.

    ``make multirocket`` creates the environment. Tan et al. (2022), Data Mining and Knowledge
    Discovery 36, 1623.
    """

    names = ("multirocket",)

    def fit(self, part: Calibration) -> Self:
        """Draw kernels, with biases from the calibration spectra, and standardise features."""
        self.calibration = super().fit(part).on_grid(part).astype(np.float32)
        features = self._features(self.calibration)
        self.mean, deviation = features.mean(axis=0), features.std(axis=0)
        # Feature scales differ by orders of magnitude; the authors also standardise.
        self.scale = np.where(deviation > 0, deviation, 1.0)
        self._fitted = part, (features - self.mean) / self.scale
        return self

    def view(self, part: Calibration, name: str) -> NDArray:  # noqa: ARG002
        """Return features (n, about 50,000), standardised over the calibration set."""
        if part is self._fitted[0]:
            return self._fitted[1]
        return (self._features(self.on_grid(part).astype(np.float32)) - self.mean) / self.scale

    def _features(self, spectra: NDArray[np.float32]) -> NDArray[np.float32]:
        return _multirocket(self.calibration, spectra, 1)[0]


def multirocket_seconds(spectra: NDArray[np.float32], rounds: int) -> float | None:
    """Return the shortest time of MultiRocket's transform of spectra (n, L); None without aeon.

    The first call, which includes compilation, is not timed.
    """
    try:
        return min(_multirocket(spectra, spectra, 1 + rounds)[1][1:])
    except Unavailable:
        return None


def _multirocket(
    calibration: NDArray[np.float32], spectra: NDArray[np.float32], times: int
) -> tuple[NDArray[np.float32], list[float]]:
    """Return features and the seconds of each of several transforms."""
    python = Path(os.environ.get(MULTIROCKET_PYTHON, _OWN_ENVIRONMENT))
    if not python.exists():
        raise Unavailable(f"no aeon: run `make multirocket`, or set {MULTIROCKET_PYTHON} to a Python that has it")
    with tempfile.TemporaryDirectory() as folder:
        train, test, out = (Path(folder) / f"{name}.npy" for name in ("calibration", "spectra", "features"))
        np.save(train, calibration)
        np.save(test, spectra)
        script = Path(__file__).with_name("multirocket_worker.py")
        command = [str(python), str(script), str(train), str(test), str(out), str(times)]
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise RuntimeError(f"MultiRocket failed: {done.stderr.strip()[-500:]}")
        return np.load(out, allow_pickle=False), [
            float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("seconds ")
        ]
