"""The derivations in the notebooks and pages hold for distributions that can be computed exactly."""

import numpy as np
import pytest

X, STEP = np.linspace(-12, 12, 4001, retstep=True)


def normal(mean):
    return np.exp(-(X - mean) ** 2 / 2) / np.sqrt(2 * np.pi)


def kl(p, q):
    return np.sum(p * np.log(p / q)) * STEP


def js(p, q):
    return kl(p, (p + q) / 2) / 2 + kl(q, (p + q) / 2) / 2


def derivative(function, at, step=1e-4):
    return (function(at + step) - function(at - step)) / (2 * step)


@pytest.mark.parametrize("mean", [0.5, 2.0])
def test_what_both_losses_of_the_generator_minimise(mean):
    """Notebook 3: 2 JS - 2 log 2 with log(1 - D), the gradient of KL - 2 JS with -log D, for the best D, kept fixed."""
    real, generated = normal(0), normal(mean)
    best = real / (real + generated)
    saturating = np.sum(real * np.log(best) + generated * np.log(1 - best)) * STEP
    assert saturating == pytest.approx(2 * js(real, generated) - 2 * np.log(2), abs=1e-6)

    def gradient_of_mean(values):
        return derivative(lambda m: np.sum(normal(m) * values) * STEP, mean)

    towards_js = derivative(lambda m: js(real, normal(m)), mean)
    towards_kl = derivative(lambda m: kl(normal(m), real), mean)
    assert gradient_of_mean(np.log(1 - best)) == pytest.approx(2 * towards_js, rel=1e-4)
    assert gradient_of_mean(-np.log(best)) == pytest.approx(towards_kl - 2 * towards_js, rel=1e-4)
    assert gradient_of_mean(-np.log(best)) != pytest.approx(2 * towards_js, rel=0.1)


def test_the_best_critic_needs_slope_1_between_coupled_points_only():
    """Notebook 3: real 0 and 10, generated 1 and 9, coupled 0 with 1 and 10 with 9. The distance is 1."""
    real, generated = np.array([0, 10]), np.array([1, 9])

    def gain(slopes):
        """Difference of mean scores for slopes on [0, 1], [1, 9] and [9, 10]."""
        scores = dict(zip((0, 1, 9, 10), np.cumsum([0, *(slopes * np.array([1, 8, 1]))]), strict=True))
        return np.mean([scores[x] for x in real]) - np.mean([scores[x] for x in generated])

    assert gain(np.array([-1, 0, 1])) == gain(np.array([-1, 1, 1])) == 1
    slopes = np.stack(np.meshgrid(*[np.linspace(-1, 1, 9)] * 3), axis=-1).reshape(-1, 3)
    best = [each for each in slopes if gain(each) > 1 - 1e-9]
    assert max(map(gain, slopes)) == 1 and {(each[0], each[2]) for each in best} == {(-1, 1)} and len(best) == 9
