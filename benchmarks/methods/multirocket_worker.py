"""Compute MultiRocket features with aeon in a separate environment; print the seconds."""

import sys
import time

import numpy as np
from aeon.transformations.collection.convolution_based import MultiRocket

#: Smallest number of points; kernels have nine.
SHORTEST = 10


def main() -> None:
    """Run the worker; arguments: calibration file, spectra file, output file, repeats (1)."""
    calibration, spectra = (np.load(path, allow_pickle=False) for path in sys.argv[1:3])
    missing = max(0, SHORTEST - calibration.shape[1])
    calibration, spectra = (np.pad(x, ((0, 0), (0, missing)), mode="edge")[:, None, :] for x in (calibration, spectra))
    transform = MultiRocket(random_state=0, n_jobs=1).fit(calibration)
    for _ in range(int(sys.argv[4]) if len(sys.argv) > 4 else 1):
        start = time.perf_counter()
        features = transform.transform(spectra)
        print("seconds", time.perf_counter() - start)
    np.save(sys.argv[3], np.asarray(features, dtype=np.float32))


if __name__ == "__main__":
    main()
