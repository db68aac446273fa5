"""Networks of the research on label-free calibrations."""

from __future__ import annotations

import pytest
import torch

from benchmarks.research.calibration_networks import (
    N_CANDIDATES,
    N_VIEWS,
    PENALTIES,
    Attention,
    Average,
    Corrector,
    Mixture,
    candidates,
    take,
)


def calibration(n: int = 14, m: int = 6, t: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear kernels of random views, and values."""
    generator = torch.Generator().manual_seed(0)
    Z = torch.randn(1, N_VIEWS, n + m, 8, generator=generator)
    y = torch.randn(1, n, t, generator=generator)
    return Z @ Z.mT, y - y.mean(dim=1, keepdim=True)


def test_candidates_are_kernel_ridges_with_a_free_constant() -> None:
    K, y = calibration()
    n = y.shape[1]
    of_queries, left_out, leverage = candidates(K, n, y)
    assert of_queries.shape == (1, N_CANDIDATES, 6, 2)
    assert left_out.shape == (1, N_CANDIDATES, n, 2)
    assert ((leverage > 0) & (leverage < 1)).all()
    # The first view's linear kernel, at the third penalty, solved directly.
    k = K[0, 0].double()
    mean = k[:n].mean(dim=0, keepdim=True)
    k = k - mean - mean.T + k[:n, :n].mean()
    k = k / k[:n, :n].diagonal().mean()
    size = k[:n, :n].diagonal().mean() - k[:n, :n].mean()

    def solved(rows: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        regularised = k[rows][:, rows] + n * size * PENALTIES[2] * torch.eye(len(rows), dtype=torch.float64)
        ones = torch.ones(len(rows), 1, dtype=torch.float64)
        values = y[0, rows].double()
        inverse = torch.linalg.inv(regularised)
        constant = (ones.T @ inverse @ values) / (ones.T @ inverse @ ones)
        return k[at][:, rows] @ inverse @ (values - ones @ constant) + constant

    every = torch.arange(n)
    torch.testing.assert_close(of_queries[0, 2].double(), solved(every, torch.arange(n, n + 6)), atol=1e-4, rtol=1e-4)
    for i in (0, 5):
        expected = solved(every[every != i], torch.tensor([i]))
        torch.testing.assert_close(left_out[0, 2, i : i + 1].double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [Average, Attention, Corrector, Mixture])
def test_a_query_does_not_depend_on_others(kind: type) -> None:
    K, y = calibration()
    n = y.shape[1]
    torch.manual_seed(0)
    net = kind().eval()

    @torch.no_grad()
    def predicted(K: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)  # the signs of the components
        return net(K, n, y)

    every = predicted(K, y)
    assert every.shape == (1, 6, 2)
    some = torch.cat([torch.arange(n), torch.tensor([n + 4])])
    if kind is not Average:  # its weights look at the spread of the predictions
        torch.testing.assert_close(predicted(K[:, :, some][..., some], y), every[:, 4:5], atol=1e-4, rtol=1e-3)
    if kind is Average:  # it reads no components, whose signs depend on the order
        order = torch.cat([torch.randperm(n), torch.arange(n, n + 6)])
        shuffled = predicted(K[:, :, order][..., order], y[:, order[:n]])
        torch.testing.assert_close(shuffled, every, atol=1e-3, rtol=1e-3)


def test_a_network_starts_from_another() -> None:
    K, y = calibration()
    first, second = Attention().eval(), Mixture().eval()
    take(second, first.state_dict())
    torch.manual_seed(1)
    alone = first(K, 14, y)
    torch.manual_seed(1)
    own = second._read(K, 14, y)[2][..., 0].transpose(1, 2)
    torch.testing.assert_close(own, alone)
