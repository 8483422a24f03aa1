"""Effective rank and spread over positions, beside their formulas."""

import numpy as np
import pytest

from beit.errors import DataError
from beit.evaluation.features.rank import position_spread, rank_me, spread_of_moments


def formula(features):
    """RankMe as in arXiv 2210.02885, equations 1 to 3."""
    values = np.linalg.svd(features.astype(np.float64), compute_uv=False)
    share = values / np.abs(values).sum() + 1e-7
    return np.exp(-(share * np.log(share)).sum())


@pytest.mark.parametrize("shape", [(200, 16), (16, 200)])
def test_effective_rank_is_that_of_the_formula(shape):
    features = np.random.default_rng(0).normal(size=shape) * np.linspace(0.01, 3, shape[1])
    assert rank_me(features) == pytest.approx(formula(features), rel=1e-9)
    assert 1 < rank_me(features) <= 16.001


def test_effective_rank_of_known_features():
    assert rank_me(np.eye(8)) == pytest.approx(8, rel=1e-4)
    assert rank_me(np.outer(np.arange(1.0, 50), np.ones(12))) == pytest.approx(1, abs=1e-3)
    assert rank_me(np.zeros((5, 3))) == pytest.approx(1, abs=1e-3)
    with pytest.raises(DataError, match=r"features have shape \(0, 3\); expected \(pictures, features\)"):
        rank_me(np.zeros((0, 3)))


def test_spread_over_positions():
    rng = np.random.default_rng(0)
    alike = np.repeat(rng.normal(size=(50, 1, 8)), 16, axis=1)
    assert position_spread(alike) == pytest.approx(0, abs=1e-12)
    same_mean = rng.normal(size=(50, 16, 8))
    same_mean -= same_mean.mean(axis=1, keepdims=True)
    assert position_spread(same_mean) == pytest.approx(1)
    mixed = alike + same_mean
    shares = mixed.mean(axis=1, keepdims=True)
    within, whole = ((mixed - shares) ** 2).sum(), ((mixed - mixed.mean(axis=(0, 1))) ** 2).sum()
    assert position_spread(mixed) == pytest.approx(within / whole)
    assert position_spread(np.ones((3, 4, 5))) == 0
    with pytest.raises(DataError, match=r"patch features have shape \(3, 4\)"):
        position_spread(np.ones((3, 4)))


def test_spread_needs_the_moments_alone():
    patches = np.random.default_rng(0).normal(size=(20, 9, 6)).astype(np.float32)
    means = patches.mean(axis=1)
    within = ((patches - means[:, None]) ** 2).sum(axis=2).mean(axis=1)
    assert spread_of_moments(means, within) == pytest.approx(position_spread(patches), rel=1e-6)
