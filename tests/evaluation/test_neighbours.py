"""Near-duplicates, modes and copies in sets with a known number of them."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from biogans.evaluation import neighbours
from biogans.evaluation.neighbours import MIRRORS, Pairs, Space


def bars(parameters, seed, noise=0.02):
    """uint8 (images, 24, 40, 1): blurred bars, whose position, angle, length, width and light are in [0, 1]."""
    y, x = np.mgrid[:24, :40]
    down, right, angle, length, width, light = (each[:, None, None] for each in np.transpose(parameters))
    y, x = y - 4 - 16 * down, x - 4 - 32 * right
    along, across = x * np.cos(np.pi * angle) + y * np.sin(np.pi * angle), y * np.cos(np.pi * angle) - x * np.sin(
        np.pi * angle)
    pixels = (0.5 + 0.5 * light) * np.exp(-(along / (2 + 7 * length)) ** 2 - (across / (1 + 2 * width)) ** 2)
    pixels = pixels + noise * np.random.default_rng(seed).standard_normal(pixels.shape)
    return np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)[..., None]


def continuum(number, seed):
    return bars(np.random.default_rng(seed).random((number, 6)), seed)


def of_modes(number, seed, modes=10, weights=None):
    """Images of a number of shapes that hardly vary."""
    rng = np.random.default_rng(seed)
    shapes = np.random.default_rng(77).random((modes, 6))
    return bars(shapes[rng.choice(modes, number, p=weights)] + 0.003 * rng.standard_normal((number, 6)), seed)


@pytest.fixture(scope="module")
def training():
    return continuum(400, 1)


@pytest.fixture(scope="module")
def held_out():
    return continuum(150, 2)


@pytest.fixture(scope="module")
def space(training):
    return Space(training, continuum(400, 3))


def radius(space, training, held_out):
    found = neighbours.nearest(space.features(held_out), space.features(training))
    return np.quantile(found.distance, 0.05)


def test_distances_are_those_of_the_definition(space, training, held_out):
    """The smallest over the mirror images, between principal components, in one block or several."""
    some, others = (space.features(images[:60]) for images in (held_out, training))
    expected = np.min([cdist(some[0], mirrored) for mirrored in others], axis=0)
    np.testing.assert_allclose(neighbours.distances(some[0], others), expected, atol=1e-3)
    all_held_out, all_training = space.features(held_out), space.features(training)
    expected = np.min([cdist(all_held_out[0], mirrored) for mirrored in all_training], axis=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "BLOCK", 64)
        found = neighbours.nearest(all_held_out, all_training)
        itself = neighbours.nearest(all_training)
    np.testing.assert_allclose(found.distance, expected.min(axis=1), atol=1e-3)
    assert np.array_equal(found.index, expected.argmin(axis=1))
    assert (itself.index != np.arange(len(training))).all() and itself.distance.min() > 0.1


def test_a_mirror_image_is_the_same_image(space, held_out):
    features = space.features(held_out)
    for mirror in MIRRORS:
        turned = np.array([image[mirror] for image in held_out])
        assert np.diag(neighbours.distances(space.features(turned)[0], features)).max() < 0.05
        assert np.array_equal(neighbours.aligned(held_out[0], turned[0], space), held_out[0])
    assert neighbours.exact_copies(np.concatenate([held_out, held_out[:7, ::-1], held_out[:2]])) == 9


@pytest.mark.parametrize("modes", [5, 10, 20])
def test_known_modes_are_counted(space, training, held_out, modes):
    """A generator of the same few shapes with noise."""
    features = space.features(of_modes(1500, 4, modes))
    near = radius(space, training, held_out)
    pairs = Pairs(features)
    estimate, low, high = pairs.effective_number(near)
    assert estimate == pytest.approx(modes, abs=0.2 * modes) and low <= estimate <= high
    assert pairs.modes() == pytest.approx(modes, abs=0.2 * modes)
    assert neighbours.count_distinct(features, near) == pytest.approx(modes, abs=0.2 * modes)


def test_modes_of_unequal_weights(space, training, held_out):
    """Simpson's number: one over the sum of squares, here 1 / (0.5² + 5 0.1²); rare modes remain distinct images."""
    features = space.features(of_modes(1500, 4, 6, [0.5, 0.1, 0.1, 0.1, 0.1, 0.1]))
    near = radius(space, training, held_out)
    estimate, low, high = Pairs(features).effective_number(near)
    assert low < 1 / 0.3 < high and high - low < 1
    assert neighbours.count_distinct(features, near) == 6


def test_a_continuum_has_no_modes(space, training, held_out):
    features = space.features(continuum(1500, 5))
    near = radius(space, training, held_out)
    assert Pairs(features).modes() is None
    assert Pairs(features).effective_number(near)[0] > 300
    assert neighbours.count_distinct(features, near) > 800


def test_limits_contain_the_truth_as_often_as_they_should():
    """30 equally frequent values: about 95 % of the intervals from 60 samples each contain 30."""
    rng = np.random.default_rng(0)
    values = np.eye(30, dtype=np.float32)
    inside = 0
    for _ in range(200):
        features = np.repeat(values[rng.integers(30, size=60)][None], 4, axis=0)
        _, low, high = Pairs(features).effective_number(0.5)
        inside += low <= 30 <= high
    assert 170 <= inside <= 200


def test_copies_are_nearer_than_held_out_images(space, training, held_out):
    """The three-sample test: within the normal range for new images, far below for copies, far above for others."""
    features = space.features(training)
    baseline = neighbours.nearest(space.features(held_out), features).distance

    def z(images):
        return neighbours.mann_whitney_z(neighbours.nearest(space.features(images), features).distance, baseline)
    noisy = np.clip(training.astype(int) + np.random.default_rng(0).integers(-8, 9, training.shape), 0, 255)
    assert abs(z(continuum(300, 6))) < 3
    assert z(noisy.astype(np.uint8)) < -10
    assert z(np.random.default_rng(0).integers(0, 256, (100, 24, 40, 1), np.uint8)) > 10


def test_z_from_its_definition():
    from scipy.stats import mannwhitneyu
    rng = np.random.default_rng(0)
    distance, baseline = rng.integers(0, 9, 40).astype(float), rng.integers(2, 12, 60).astype(float)
    expected = mannwhitneyu(distance, baseline, use_continuity=False, method="asymptotic", alternative="less")
    from scipy.stats import norm
    assert norm.cdf(neighbours.mann_whitney_z(distance, baseline)) == pytest.approx(expected.pvalue)


def test_bins_that_differ(space, training):
    """About one in 20 for new images; most, if half of the modes are missing."""
    features = space.features(training)
    centres = neighbours.cluster_centres(features, 40)
    differ, shares = neighbours.different_bins(features, space.features(continuum(400, 7)), centres)
    assert differ.mean() < 0.2 and shares.sum(axis=1) == pytest.approx([1, 1])
    ten, again = (space.features(of_modes(800, seed)) for seed in (8, 9))
    centres = neighbours.cluster_centres(ten, 10)
    assert neighbours.different_bins(ten, again, centres)[0].sum() <= 2
    own = neighbours.nearest_centre(ten, centres)
    missing = ten[:, own < 5]
    assert neighbours.different_bins(ten, missing, centres)[0].sum() == 10


def test_bins_do_not_depend_on_how_images_are_mirrored(space, training):
    features = space.features(training)
    centres = neighbours.cluster_centres(features, 20)
    turned = space.features(training[:, ::-1, ::-1])
    assert np.mean(neighbours.nearest_centre(features, centres) == neighbours.nearest_centre(turned, centres)) > 0.99
