"""The algorithms compared with the formulas of their papers, in float64."""

import numpy as np
import pytest

from biogans.core import models
from biogans.core.engine import input_gradient
from biogans.core.gan import (
    ALGORITHMS,
    GAN,
    PAPER,
    R1,
    WGAN,
    WGANGP,
    Hinge,
    RpGAN,
    default_gamma,
    pair_variance,
    variety_loss,
)
from biogans.system.lazy import keras, tensorflow as tf
from networks import settings, spec


@pytest.fixture
def critic():
    """A small critic in float64, which makes differences of scores exact enough to approximate derivatives."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(1)
    try:
        yield models.critic(spec(height=12, width=12, init="he"), "critic")
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def numerical_gradient(critic, image, step=1e-6):
    """Central differences of the score of one image with respect to each of its values."""
    steps = step * np.eye(image.size).reshape(image.size, *image.shape)
    above, below = (critic(image + sign * steps).numpy() for sign in (1, -1))
    return ((above - below) / (2 * step)).reshape(image.shape)


def test_gan_losses_are_those_of_goodfellow(critic):
    real, fake = noise(5, 12, 12, 2), noise(5, 12, 12, 2, seed=1)
    d_real, d_fake = (1 / (1 + np.exp(-critic(images).numpy())) for images in (real, fake))
    algorithm = GAN(settings("GAN"))
    loss = algorithm.critic_loss(critic, real, fake, None, input_gradient)
    assert float(loss) == pytest.approx(-np.log(d_real).mean() - np.log(1 - d_fake).mean(), rel=1e-9)
    assert float(algorithm.generator_loss(critic(fake))) == pytest.approx(-np.log(d_fake).mean(), rel=1e-9)


def test_gan_losses_stay_finite_when_the_discriminator_is_sure():
    """log(1 - sigmoid(1000)) must not become log(0)."""
    algorithm = GAN(settings("GAN"))
    assert float(algorithm.generator_loss(tf.constant([-1000.0, 1000.0]))) == pytest.approx(500)


def test_wgan_losses_are_differences_of_means(critic):
    real, fake = noise(5, 12, 12, 2), noise(5, 12, 12, 2, seed=1)
    algorithm = WGAN(settings("WGAN"))
    loss = algorithm.critic_loss(critic, real, fake, None, input_gradient)
    assert float(loss) == pytest.approx(critic(fake).numpy().mean() - critic(real).numpy().mean(), rel=1e-9)
    assert float(algorithm.generator_loss(critic(fake))) == pytest.approx(-critic(fake).numpy().mean(), rel=1e-9)


def test_wgan_critic_updates():
    """100 in the first 25 iterations and in every 500th (Arjovsky et al.'s code), otherwise num_D_iters."""
    algorithm = WGAN(settings("WGAN", num_D_iters=5))
    assert [i for i in range(1200) if algorithm.critic_updates(i) == 100] == [*range(25), 500, 1000]
    assert {algorithm.critic_updates(i) for i in range(1200)} == {5, 100}


def test_wgan_clips_all_weights(critic):
    variables = critic.trainable_variables
    assert any(abs(variable.numpy()).max() > 0.1 for variable in variables)
    before = [variable.numpy() for variable in variables]
    WGAN(settings("WGAN", wgan_clip_value=0.1)).constrain(variables)
    for variable, old in zip(variables, before):
        assert np.array_equal(variable.numpy(), np.clip(old, -0.1, 0.1))


def test_gradient_penalty_against_numerical_derivatives(critic):
    """E f(G) - E f(x) + 10 E (|grad f| - 1)^2, with differences as the gradient at uniform interpolates."""
    real, fake = noise(3, 12, 12, 2), noise(3, 12, 12, 2, seed=1)
    alpha = np.array([0.0, 0.3, 1.0]).reshape(3, 1, 1, 1)
    interpolates = alpha * real + (1 - alpha) * fake
    slopes = np.array([np.linalg.norm(numerical_gradient(critic, image)) for image in interpolates])
    expected = critic(fake).numpy().mean() - critic(real).numpy().mean() + 10 * ((slopes - 1) ** 2).mean()
    loss = WGANGP(settings()).critic_loss(critic, *map(tf.constant, (real, fake, alpha)), input_gradient)
    assert float(loss) == pytest.approx(expected, rel=1e-7)


def test_the_penaltys_derivative_with_respect_to_the_weights(critic):
    """The critic learns from a derivative of a derivative, which is compared with differences of the loss."""
    real, fake = (tf.constant(noise(3, 12, 12, 2, seed=seed)) for seed in (0, 1))
    alpha = tf.fill((3, 1, 1, 1), tf.constant(0.4, tf.float64))
    algorithm = WGANGP(settings())
    kernel = critic.get_layer("1_convolution").kernel
    with tf.GradientTape() as tape:
        loss = algorithm.critic_loss(critic, real, fake, alpha, input_gradient)
    gradient = tape.gradient(loss, kernel.value).numpy()
    start = kernel.numpy()
    for index in [(0, 0, 0, 0), (1, 2, 3, 4), (3, 3, 1, 7)]:
        losses = []
        for sign in (1, -1):
            moved = start.copy()
            moved[index] += sign * 1e-5
            kernel.assign(moved)
            losses.append(float(algorithm.critic_loss(critic, real, fake, alpha, input_gradient)))
        kernel.assign(start)
        assert gradient[index] == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-4)


def test_the_penalty_of_a_constant_critic_has_a_derivative(critic):
    """At a gradient of exactly 0 the penalty is 1 and must not give NaN."""
    for variable in critic.trainable_variables:
        variable.assign(0 * variable)
    real = fake = tf.constant(noise(2, 12, 12, 2))
    with tf.GradientTape() as tape:
        loss = WGANGP(settings()).critic_loss(critic, real, fake, np.full((2, 1, 1, 1), 0.5), input_gradient)
    assert float(loss) == pytest.approx(10, rel=1e-5)
    assert all(np.isfinite(gradient).all() for gradient in tape.gradient(loss, critic.trainable_variables))


def test_hinge_losses(critic):
    """E max(0, 1 - f(x)) + E max(0, 1 + f(G(z))): an image that is classified with a margin above 1 adds nothing."""
    algorithm = Hinge(settings("hinge"))
    real, fake = noise(5, 12, 12, 2), noise(5, 12, 12, 2, seed=1)
    f_real, f_fake = critic(real).numpy(), critic(fake).numpy()
    assert (abs(f_real) > 1).any() and (abs(f_real) < 1).any()      # both branches
    expected = np.maximum(0, 1 - f_real).mean() + np.maximum(0, 1 + f_fake).mean()
    assert float(algorithm.critic_loss(critic, real, fake, None, input_gradient)) == pytest.approx(expected, rel=1e-9)
    assert float(algorithm.generator_loss(critic(fake))) == pytest.approx(-f_fake.mean(), rel=1e-9)


def test_r1_penalty_against_numerical_derivatives(critic):
    """GAN's losses, and for the discriminator gamma / 2 E |grad f|^2 at real images only."""
    real, fake = noise(3, 12, 12, 2), noise(3, 12, 12, 2, seed=1)
    squares = [np.square(numerical_gradient(critic, image)).sum() for image in real]
    plain, penalised = GAN(settings("GAN")), R1(settings("R1", r1_gamma=3.0))
    losses = [float(one.critic_loss(critic, tf.constant(real), tf.constant(fake), None, input_gradient))
              for one in (plain, penalised)]
    assert losses[1] - losses[0] == pytest.approx(1.5 * np.mean(squares), rel=1e-7)
    assert float(penalised.generator_loss(critic(fake))) == float(plain.generator_loss(critic(fake)))


def test_rpgan_against_the_formula_and_numerical_derivatives(critic):
    """Pairs of scores; gamma / 2 of both mean squared slopes, at real and at generated images."""
    real, fake = noise(3, 12, 12, 2), noise(3, 12, 12, 2, seed=1)
    of_real, of_fake = critic(real).numpy(), critic(fake).numpy()
    slopes = [np.mean([np.square(numerical_gradient(critic, image)).sum() for image in some]) for some in (real, fake)]
    algorithm = RpGAN(settings("RpGAN", r1_gamma=3.0))
    loss = float(algorithm.critic_loss(critic, tf.constant(real), tf.constant(fake), None, input_gradient))
    assert loss == pytest.approx(np.log(1 + np.exp(of_fake - of_real)).mean() + 1.5 * sum(slopes), rel=1e-7)
    of_generator = float(algorithm.generator_loss(critic(fake), critic(real)))
    assert of_generator == pytest.approx(np.log(1 + np.exp(of_real - of_fake)).mean(), rel=1e-9)


def test_only_differences_of_scores_matter_to_rpgan():
    """Unlike a discriminator's, its losses stay the same if all scores rise by 7; equal scores cost ln 2."""
    algorithm, scores = RpGAN(settings("RpGAN")), tf.constant([0.3, -1.0])
    losses = [float(algorithm.generator_loss(scores + rise, scores[::-1] + rise)) for rise in (0, 7)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert float(algorithm.generator_loss(scores, scores)) == pytest.approx(np.log(2))


def test_the_default_weight_of_r1_follows_pixels_and_batch():
    """Karras et al. (2020): 0.0002 times the number of pixels, divided by the batch size."""
    assert default_gamma(48, 80, 8) == pytest.approx(0.096) and default_gamma(256, 256, 16) == pytest.approx(0.8192)
    images = tf.zeros((5, 48, 80, 2))
    assert R1(settings("R1", batch_size=8)).gamma(images) == pytest.approx(0.096)
    assert R1(settings("R1", r1_gamma=10.0)).gamma(images) == 10


def test_the_variance_between_two_images_of_a_pair():
    """Noise of standard deviation 0.1 inside bright cells has a variance of 0.01; the background does not count."""
    rng, inside = np.random.default_rng(0), np.zeros((40, 24, 24, 1))
    inside[:, 4:20, 4:20] = 1
    pixels = inside * (0.6 + np.array([0, 0.1, 0.05]) * rng.standard_normal((40, 24, 24, 3)))
    variance = pair_variance(2 * pixels[:20] - 1, 2 * pixels[20:] - 1)
    assert np.array(variance) == pytest.approx([0, 0.01, 0.0025], rel=0.05)


def test_variety_is_rewarded_up_to_what_is_wanted():
    """0 for greens that vary enough; 1 for greens that a red determines; half way in between."""
    red, greens = np.full((6, 8, 8, 1), 0.5), np.zeros((6, 8, 8, 2))
    greens[1::2, ..., 0], greens[1::2, ..., 1] = 0.4, 0.2       # variances 0.4^2 / 8 and 0.2^2 / 8 in each pair
    cells = np.concatenate([red, greens], axis=-1)
    for wanted, expected in (((0.02, 0.005), 0), ((0.01, 0.001), 0), ((0.04, 0.01), 0.5), ((0.02, 0.01), 0.25)):
        assert float(variety_loss(cells, (1, 2), wanted, 2)) == pytest.approx(expected)
    assert float(variety_loss(np.repeat(cells[::2], 2, axis=0), (1, 2), (0.02, 0.005), 2)) == 1


def test_the_papers_defaults():
    """From Osokin et al.'s training scripts and the three papers."""
    expected = {"GAN": ("adam", 2e-4, 0.5, 0.999, 1, True), "WGAN": ("rmsprop", 5e-5, 0.0, 0.9, 5, True),
                "WGAN-GP": ("adam", 1e-4, 0.0, 0.9, 5, False)}
    for name in PAPER:
        d = ALGORITHMS[name].defaults
        assert (d.optimizer, d.lr_d, d.beta_1, d.beta_2, d.critic_updates, d.critic_batch_norm) == expected[name]
