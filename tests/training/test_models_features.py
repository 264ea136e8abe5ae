"""Statistics of windows against NumPy, a window at a time."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi_cache.errors import InvalidSpec  # noqa: E402
from training.models.features import count_statistics, name_statistics, statistics  # noqa: E402

pytestmark = pytest.mark.torch


def naive(window: np.ndarray) -> list[float]:
    """The statistics of one window (C, L)."""
    spans = [np.ptp(row) for row in window]
    pairs = list(combinations(range(len(window)), 2))
    return [
        *(row.mean() for row in window),
        *(row.var() for row in window),
        *(np.sqrt(np.mean(row**2)) for row in window),
        *spans,
        *(np.corrcoef(window[a], window[b])[0, 1] for a, b in pairs),
        *(np.sqrt(spans[a] ** 2 + spans[b] ** 2) for a, b in pairs),
        np.sqrt(sum(span**2 for span in spans)),
    ]


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 40])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-3, 1e3), (1e30, 0.0)])
def test_statistics_are_those_of_numpy(channels: int, scale: float, offset: float) -> None:
    windows = np.random.default_rng(channels).normal(size=(4, channels, 33)) * scale + offset
    expected = np.array([naive(window) for window in windows])
    found = statistics(torch.from_numpy(windows)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert found.shape[1] == count_statistics(channels) == len(name_statistics(channels))


def test_three_axes_have_nineteen() -> None:
    assert count_statistics(3) == 19
    assert name_statistics(3)[12:] == (
        *("correlation 0 1", "correlation 0 2", "correlation 1 2"),
        *("ranges 0 1", "ranges 0 2", "ranges 1 2"),
        "ranges",
    )


@pytest.mark.parametrize("level", [0.0, 0.1, 1e6, -3.3e-30])
def test_constant_channels_have_no_correlation(level: float) -> None:
    windows = torch.randn(2, 3, 50)
    windows[:, 1] = level
    found = statistics(windows)
    assert torch.isfinite(found).all()
    assert found[:, [12, 14]].eq(0).all()
    assert not found[:, 13].eq(0).any()


def test_scaled_copies_are_wholly_correlated() -> None:
    row = torch.randn(1, 1, 50)
    found = statistics(torch.cat([row, 3 * row + 1, -row * 1e-20], dim=1))
    torch.testing.assert_close(found[0, 12:15], torch.tensor([1.0, -1.0, -1.0]))


def test_float32_keeps_a_small_variance_on_a_large_mean() -> None:
    window = (1000 + torch.tensor([0.0, 1.0]).repeat(500))[None, None]
    assert statistics(window)[0, 1].item() == 0.25
    assert statistics(window).dtype == torch.float32


@pytest.mark.parametrize(
    "windows", [torch.zeros(2, 3), torch.zeros(2, 3, 0), torch.zeros(2, 3, 4, dtype=torch.int32)]
)
def test_what_is_no_window_is_refused(windows: torch.Tensor) -> None:
    with pytest.raises(InvalidSpec, match=r"statistics are of floats \(n, channels, length\)"):
        statistics(windows)
