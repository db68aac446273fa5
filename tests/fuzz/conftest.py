"""Number of cases: the same by default, ten times as many new ones with ``make fuzz``."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("FUZZ_FACTOR", "1"))
settings.register_profile(
    "spectra",
    max_examples=250 * FACTOR,
    derandomize=FACTOR == 1,
    print_blob=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
settings.load_profile("spectra")
