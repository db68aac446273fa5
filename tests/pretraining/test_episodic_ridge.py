"""The closed-form ridge of the objective against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_score

from nirs4all_vit.embedding.column_weighting import FLOOR
from nirs4all_vit.pretraining.episodic_ridge import _ALPHAS, Answers, episodic_ridge


def problem(seed: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(60, 100, generator=generator)
    y = z @ torch.randn(100, 3, generator=generator) / 10 + noise * torch.randn(60, 3, generator=generator)
    return z, y


@pytest.mark.parametrize("noise", [0.01, 0.3, 3.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_penalty_and_loss_equal_scikit_learns(seed: int, noise: float) -> None:
    z, y = problem(seed, noise)
    n = 40
    loss, penalties = (part[0] for part in episodic_ridge(z.unsqueeze(0), Answers.one(y, n)))
    support = y[:n].double().numpy()
    y_scaled = (y.double().numpy() - support.mean(0)) / support.std(0, ddof=1)
    deviation = z[:n].double().numpy().std(axis=0)
    factor = (deviation + FLOOR * deviation.mean()) ** -0.5
    kept = np.sqrt(np.square(deviation).sum() / np.square(deviation * factor).sum())
    features = z.double().numpy() * factor * kept
    centred = features[:n] - features[:n].mean(0)
    grid = np.array(_ALPHAS) * np.mean((centred**2).sum(1))
    errors = []
    for target in range(3):
        # Left out one by one, literally; near interpolation several penalties tie.
        left_out = [
            -cross_val_score(
                Ridge(a), features[:n], y_scaled[:n, target], cv=LeaveOneOut(), scoring="neg_mean_squared_error"
            ).mean()
            for a in grid
        ]
        chosen = float(penalties[target])
        assert left_out[int(np.abs(grid - chosen).argmin())] <= min(left_out) * 1.0001
        predicted = Ridge(chosen).fit(features[:n], y_scaled[:n, target]).predict(features[n:])
        errors.append(np.mean((predicted - y_scaled[n:, target]) ** 2))
    assert float(loss) == pytest.approx(np.mean(np.log(np.minimum(errors, 2.0) + 1e-3)), abs=1e-4)


def test_only_useful_directions_lower_the_loss() -> None:
    """A case that only this objective solves: signal drowned by a large nuisance, weighted away by gradient."""
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(64, 2, generator=generator)
    nuisance = 30.0 * torch.randn(64, 40, generator=generator)
    z = torch.cat([signal, nuisance], dim=1)
    log_scale = torch.nn.Parameter(torch.zeros(42))
    optimizer = torch.optim.Adam([log_scale], lr=0.2)
    losses = []
    for _ in range(60):
        loss = episodic_ridge((z * log_scale.exp()).unsqueeze(0), Answers.one(signal, 32))[0][0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 2.0
    assert log_scale[:2].mean() > log_scale[2:].mean() + 1.0
