"""The two-sample test on images with a known distance, and its splits."""

import contextlib
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from keras import ops

from biogans.core import c2st, dataloader, gan
from biogans.core.engine import input_gradient
from biogans.core.gan import PAPER

SMALL = c2st.Critic(iterations=60, batch_size=16, ndf=4, lr=1e-3, init="he")


def images(count, brightness=100, seed=0):
    """Noise of a given mean and standard deviation 20: 16x24 pixels, two channels."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(brightness, 20, (count, 16, 24, 2)), 0, 255).astype(np.uint8)


def score(brightness, critic=SMALL, seed=0):
    return c2st.score(images(100, brightness, 1), images(100, 100, 2), images(100, brightness, 3), images(100, 100, 4),
                      critic, seed)


def test_images_of_one_distribution_score_0():
    """Within the standard deviation over splits."""
    scores = []
    pool, other = images(120, seed=1), images(120, seed=2)
    for split in range(4):
        (a, b), (c, d) = (c2st.random_halves(120, c2st.Split(0, split), name) for name in ("pool", "other"))
        scores.append(c2st.score(pool[a], other[c], pool[b], other[d], SMALL, split))
    assert abs(np.mean(scores)) < max(2 * np.std(scores), 0.3)


@pytest.mark.parametrize("algorithm", PAPER)
def test_the_score_grows_with_the_distance(algorithm):
    """Also for critics with batch normalisation, whose scores use running averages."""
    iterations = 300 if algorithm == "WGAN" else 60         # clipped weights grow slowly
    critic = dataclasses.replace(SMALL, algorithm=algorithm, iterations=iterations, lr=c2st.FAST_RATES[algorithm])
    same, near, far = (score(brightness, critic) for brightness in (100, 106, 140))
    assert same < near < far and abs(same) < 0.3 * far and far > 0


def test_the_known_score_of_a_shift():
    """Images that differ by s in each of n values have the earth mover's distance w = s sqrt(n).

    A linear critic of slope 1 + w / (2 lambda) scores w + w^2 / (4 lambda), the maximum.
    """
    distance = 40 / 127.5 * np.sqrt(16 * 24 * 2)
    most = distance + distance ** 2 / 40
    short, long = (score(140, dataclasses.replace(SMALL, iterations=iterations)) for iterations in (20, 200))
    assert short < long < 1.02 * most and long > 0.75 * most


def test_sets_of_images_may_score_more_than_two_single_ones():
    """Real images at 0 and 10, generated ones at 1 and 11, w = 1, lambda = 1: the score exceeds w + w^2 / (4 lambda).

    At each x the score has the density F f' - rho (|f'| - 1)^2, with F the difference of the distribution functions and
    rho the density of points between a real and a generated image. The maximum is w + integral of F^2 / rho / 4.
    """
    pairs = np.array([(0, 1), (0, 11), (10, 1), (10, 11)], np.float32)
    x = np.arange(0.005, 11, 0.01)
    difference = np.mean([(x > real) * 1.0 - (x > fake) for real, fake in pairs], axis=0)
    density = np.mean([(x > pair.min()) * (x < pair.max()) / np.ptp(pair) for pair in pairs], axis=0)
    slopes = np.linspace(-4, 4, 4801)[:, None]
    gains = slopes * difference - density * (np.abs(slopes) - 1) ** 2
    assert np.sum(gains.max(axis=0)) * 0.01 == pytest.approx(35 / 24, abs=1e-3)
    assert 1 + np.sum(difference ** 2 / density) * 0.01 / 4 == pytest.approx(35 / 24, abs=1e-3)

    def critic(images, training):
        """Slope -23/12 from 0 to 1 and from 10 to 11, and -1 in between."""
        x = ops.reshape(images, (-1,))
        return -23 / 12 * ops.minimum(x, 1.0) - ops.clip(x - 1, 0, 9) - 23 / 12 * ops.maximum(x - 10, 0.0)

    alpha = ops.convert_to_tensor(np.tile(x.astype("float32") / 11, 4)[:, None, None, None])
    real, fake = (ops.convert_to_tensor(np.repeat(column, len(x))[:, None, None, None]) for column in pairs.T)
    wgangp = gan.WGANGP(SimpleNamespace(wgangp_lambda=1.0))
    measured = -float(wgangp.critic_loss(critic, real, fake, alpha, input_gradient))
    assert measured == pytest.approx(35 / 24, abs=2e-3) and measured > 1.25 + 0.2


def test_the_gan_score_is_at_most_log_4():
    critic = dataclasses.replace(SMALL, algorithm="GAN", iterations=100)
    assert np.log(4) - 0.3 < score(200, critic) <= np.log(4)


def test_scores_depend_on_the_seed_but_not_on_earlier_scores():
    first = score(106, seed=1)
    other = score(120, seed=2)
    assert score(106, seed=1) == pytest.approx(first, abs=1e-4) and other != pytest.approx(first, abs=1e-3)


@pytest.mark.parametrize("count", [12, 13])
def test_halves_are_disjoint_and_reproducible(count):
    training, held_out = c2st.random_halves(count, c2st.Split(0, 3), "Alp14")
    assert sorted([*training, *held_out]) == list(range(count)) and len(held_out) == count // 2
    for seed, number, name, alike in ((0, 3, "Alp14", True), (1, 3, "Alp14", False), (0, 4, "Alp14", False),
                                      (0, 3, "Tea1", False)):
        assert np.array_equal(c2st.random_halves(count, c2st.Split(seed, number), name)[0], training) == alike


def test_mirroring_gives_all_four_images():
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3, 1)
    four = c2st.mirrored(image)[..., 0].tolist()
    assert four == [[[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]], [[2, 1, 0], [5, 4, 3]], [[5, 4, 3], [2, 1, 0]]]


def test_several_subjects_in_several_splits_with_their_progress(monkeypatch):
    """The scores are those of each split alone; every step is taken, one for each update and for each set of samples.
    """
    left = []

    @contextlib.contextmanager
    def counted(title, unit, number):
        steps = iter(range(number))
        yield steps
        left.append((number, len(list(steps))))
    monkeypatch.setattr(c2st, "shared_steps", counted)
    critic, splits = dataclasses.replace(SMALL, iterations=3), [c2st.Split(0, 0), c2st.Split(0, 1)]
    one, two = (dataloader.Images(images(24, brightness), np.arange(24) % 2, ("a", "b")) for brightness in (100, 140))
    subjects = {"same": c2st.Real(one, ("a",)), "other": c2st.Real(two, ("a", "b"))}
    scores = c2st.score_splits(subjects, one, critic, splits)
    assert left == [(2 * (1 + 3) + 2 * (1 + 2 * 3), 0)]
    for name, subject in subjects.items():
        alone = [{factor: score for factor, score, _ in c2st.two_sample(subject, one, critic, split)}
                 for split in splits]
        assert [*scores[name][0]] == [*subject.factors]
        np.testing.assert_allclose([[*each.values()] for each in scores[name]], [[*each.values()] for each in alone],
                                   atol=1e-4)


def test_sets_that_cannot_be_compared():
    with pytest.raises(ValueError):
        c2st.score(images(0), images(4), images(4), images(4))
    with pytest.raises(ValueError):
        c2st.score(images(4)[:, :12], images(4), images(4), images(4))


def test_the_settings_of_the_paper_are_the_default():
    critic = c2st.Critic()
    assert (critic.algorithm, critic.iterations, critic.batch_size, critic.ndf) == ("WGAN-GP", 5000, 64, 64)
    assert c2st.SPLITS == 10 and c2st.fast().iterations < critic.iterations
