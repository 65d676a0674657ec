"""Distances with known values, and values computed from the definitions."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import wasserstein_distance

from biogans.core.monitor import kernel_distance
from biogans.evaluation.metrics import frechet_distance, precision_recall_density_coverage, sliced_wasserstein


def gaussian(count, mean=0.0, scale=1.0, features=4, seed=0):
    return np.random.default_rng(seed).normal(mean, scale, (count, features))


def test_distance_of_a_set_to_itself():
    images = np.random.default_rng(0).normal(size=(50, 4, 6, 2))
    assert sliced_wasserstein(images, images[::-1]) == pytest.approx(0, abs=1e-6)


def test_distance_of_a_shift():
    """A shift of all images by v shifts a projection by v . d; the mean of |v . d| over directions is known."""
    images = np.random.default_rng(0).normal(size=(20, 8, 8, 1))
    shifted = images + 0.5                                  # |v| = 0.5 * 8; E |cos| is about sqrt(2 / pi) / sqrt(64)
    expected = 0.5 * 8 * np.sqrt(2 / np.pi)
    assert sliced_wasserstein(images, shifted, projections=4096) == pytest.approx(expected, rel=0.05)


def test_in_one_dimension_it_is_the_wasserstein_distance():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(40, 1, 1, 1)), rng.exponential(size=(40, 1, 1, 1))
    assert sliced_wasserstein(real, fake) == pytest.approx(wasserstein_distance(real.ravel(), fake.ravel()), rel=1e-5)


# ---------------------------------------------------------------------------------------------- Fréchet

def test_frechet_of_gaussians():
    """Between N(m, s^2 I) and N(0, I) in d dimensions: |m|^2 + d (s - 1)^2."""
    real, fake = gaussian(200000), gaussian(200000, 0.5, 1.5, seed=1)
    assert frechet_distance(real, fake) == pytest.approx(4 * 0.25 + 4 * 0.25, rel=0.03)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)


def test_frechet_of_a_known_rotation():
    """Covariances diag(4, 1) and diag(1, 4) commute: the distance is (2 - 1)^2 + (1 - 2)^2, exactly as sampled."""
    points = np.array([[2, 0], [-2, 0], [0, 1], [0, -1]]) * np.sqrt(3 / 2)
    assert frechet_distance(points, points[:, ::-1]) == pytest.approx(2)


def test_frechet_from_its_definition():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)), rng.exponential(size=(50, 5))
    a, b = (np.cov(features, rowvar=False) for features in (real, fake))
    expected = np.sum((real.mean(0) - fake.mean(0)) ** 2) + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet_distance(real, fake) == pytest.approx(expected)


def test_frechet_of_fewer_images_than_features():
    assert 0 < frechet_distance(gaussian(10, features=32), gaussian(10, features=32, seed=1)) < 100


# ---------------------------------------------------------------------------------------------- kernel

def test_kernel_from_its_definition():
    real, fake = gaussian(7), gaussian(9, 0.3, seed=1)

    def k(x, y):
        return (np.dot(x, y) / 4 + 1) ** 3
    expected = (np.mean([k(x, y) for i, x in enumerate(real) for j, y in enumerate(real) if i != j])
                + np.mean([k(x, y) for i, x in enumerate(fake) for j, y in enumerate(fake) if i != j])
                - 2 * np.mean([k(x, y) for x in real for y in fake]))
    assert kernel_distance(real, fake) == pytest.approx(expected)


def test_kernel_is_unbiased_and_grows():
    """The mean over many small sets is 0 within its standard error for one distribution, and grows with a shift."""
    rng = np.random.default_rng(0)

    def over_sets(shift):
        return [kernel_distance(rng.normal(size=(20, 4)), rng.normal(shift, 1, (20, 4))) for _ in range(300)]
    same, near, far = (over_sets(shift) for shift in (0, 0.3, 0.6))
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(300)
    assert 3 * np.std(same) / np.sqrt(300) < np.mean(near) < np.mean(far)


# ---------------------------------------------------------------------------------------------- balls

def test_balls_of_points_on_a_line():
    """Real 0, 1, 2, 3 with radius 1 (nearest neighbour); of the fakes 0.5 lies in two balls, 9 and 10 in none."""
    real, fake = np.array([[0.], [1], [2], [3]]), np.array([[0.5], [9], [10]])
    scores = precision_recall_density_coverage(real, fake, nearest=1)
    assert scores["precision"] == pytest.approx(1 / 3)
    assert scores["density"] == pytest.approx(2 / 3)
    assert scores["coverage"] == pytest.approx(2 / 4)
    assert scores["recall"] == 1                            # the ball of 0.5 reaches to 9 and contains all real points


def test_balls_from_their_definitions():
    real, fake = gaussian(40), gaussian(30, 0.7, seed=1)

    def radius(points, k):
        return sorted(np.linalg.norm(points - points[k], axis=1))[5]
    inside = np.array([[np.linalg.norm(x - y) < radius(real, i) for y in fake] for i, x in enumerate(real)])
    recalled = [any(np.linalg.norm(x - y) < radius(fake, j) for j, y in enumerate(fake)) for x in real]
    assert precision_recall_density_coverage(real, fake) == pytest.approx({
        "precision": inside.any(0).mean(), "recall": np.mean(recalled), "density": inside.sum(0).mean() / 5,
        "coverage": inside.any(1).mean()})


def test_balls_distinguish_collapse_from_noise():
    """One mode of two: realistic, but half is missing. Noise over the whole range: not realistic."""
    real = np.concatenate([gaussian(200), gaussian(200, 20, seed=1)])
    collapsed = precision_recall_density_coverage(real, gaussian(400, seed=2))
    noise = precision_recall_density_coverage(real, np.random.default_rng(0).uniform(-40, 60, (400, 4)))
    same = precision_recall_density_coverage(real, np.concatenate([gaussian(200, seed=3), gaussian(200, 20, seed=4)]))
    assert collapsed["precision"] > 0.8 and collapsed["recall"] < 0.55 and collapsed["coverage"] < 0.55
    assert noise["precision"] < 0.1 and noise["coverage"] < 0.1
    assert same["precision"] > 0.8 and same["recall"] > 0.8 and same["coverage"] > 0.8
    assert same["density"] == pytest.approx(1, abs=0.15)


def test_balls_need_neighbours():
    with pytest.raises(ValueError):
        precision_recall_density_coverage(gaussian(5), gaussian(50))
