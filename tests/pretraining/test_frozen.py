"""The losses of fifty steps are those of the engine before it was made faster."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.pretraining.frozen import losses

EXPECTED = json.loads((Path(__file__).parent / "frozen.json").read_text("utf-8"))


@pytest.mark.parametrize(("name", "tokens", "padded", "expected"), EXPECTED)
def test_the_same_losses(name: str, tokens: str, padded: bool, expected: list[float]) -> None:
    values = losses(name, tokens, padded=padded)
    np.testing.assert_allclose([*values[::10], values[-1]], expected, rtol=1e-4, atol=1e-4)
