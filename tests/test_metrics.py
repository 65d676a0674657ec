"""Distances with known answers."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from biogans.metrics import sliced_wasserstein


def test_of_a_set_to_itself():
    images = np.random.default_rng(0).normal(size=(50, 4, 6, 2))
    assert sliced_wasserstein(images, images[::-1]) == pytest.approx(0, abs=1e-6)


def test_of_a_shift():
    """Moving all images by a vector v moves a projection by v . d; the mean of |v . d| over directions is known."""
    images = np.random.default_rng(0).normal(size=(20, 8, 8, 1))
    shifted = images + 0.5                                  # |v| = 0.5 * 8; E |cos| is about sqrt(2 / pi) / sqrt(64)
    expected = 0.5 * 8 * np.sqrt(2 / np.pi)
    assert sliced_wasserstein(images, shifted, projections=4096) == pytest.approx(expected, rel=0.05)


def test_in_one_dimension_it_is_the_wasserstein_distance():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(40, 1, 1, 1)), rng.exponential(size=(40, 1, 1, 1))
    assert sliced_wasserstein(real, fake) == pytest.approx(wasserstein_distance(real.ravel(), fake.ravel()), rel=1e-5)
