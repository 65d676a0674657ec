"""Differentiable augmentation: known changes, exact gradients, and that training depends on it."""

import numpy as np
import pytest
from scipy import ndimage

from biogans.core import augment
from biogans.core.engine import Engine, generate, input_gradient
from biogans.system.lazy import keras, tensorflow as tf
from networks import batches, settings, spec

NEUTRAL = ("color", "translation", "affine")        # policies that change nothing in the middle of their range


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32) * 2 - 1


def changed(images, numbers, *policies):
    return keras.ops.convert_to_numpy(augment.apply(images, np.asarray(numbers, "float32"), policies))


def test_in_the_middle_of_their_range_nothing_changes():
    images = noise(3, 16, 24, 2)
    middle = np.full((3, augment.how_many(NEUTRAL)), 0.5)
    np.testing.assert_allclose(changed(images, middle, *NEUTRAL), images, atol=1e-5)
    assert np.array_equal(changed(images, np.zeros((3, 0))), images)


def test_the_strength_is_the_probability_of_a_change():
    """Of 400 images, each policy changes a quarter by itself; those that are changed are as without a strength."""
    images, rng = noise(400, 12, 12, 2), np.random.default_rng(3)
    numbers = rng.random((400, 4 + 2), np.float32)
    always = changed(images, numbers[:, :4], "color", "cutout")
    for strength, expected in ((0.0, 0), (0.25, 1 - 0.75 ** 2), (1.0, 1)):
        found = keras.ops.convert_to_numpy(augment.apply(images, numbers, ("color", "cutout"), strength))
        differs = (found != images).any(axis=(1, 2, 3))
        assert abs(differs.mean() - expected) <= 0.06
        both = (numbers[:, 4:] < strength).all(axis=1)
        np.testing.assert_array_equal(found[both], always[both])


def test_translation_is_by_whole_pixels_up_to_an_eighth_of_a_side():
    """An image of 16x24 moves 2 rows down and 3 columns to the left; background enters from outside."""
    image = noise(1, 16, 24, 2)
    expected = np.full_like(image, -1)
    expected[:, 2:, :-3] = image[:, :-2, 3:]
    np.testing.assert_allclose(changed(image, [[0.9999, 0]], "translation"), expected, atol=1e-5)


@pytest.mark.parametrize("numbers", [(0.5, 0.5, 1, 0.5), (0.5, 0.5, 0.5, 0), (0.9, 0.3, 0.1, 0.8)])
def test_affine_against_scipy(numbers):
    """Rotations up to 10 degrees, scales up to 10 % and shifts up to 2 pixels agree with SciPy's linear spline."""
    image = noise(1, 20, 24, 2)
    down, right, angle, scale = np.array(numbers) * 2 - 1
    angle, scale, centre = np.radians(10 * angle), 1 + 0.1 * scale, np.array([9.5, 11.5])
    inverse = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / scale
    offset = centre - inverse @ (centre + 2 * np.array([down, right]))
    expected = np.stack([ndimage.affine_transform(image[0, ..., k], inverse, offset, order=1, mode="grid-constant",
                                                  cval=-1) for k in range(2)], axis=-1)
    np.testing.assert_allclose(changed(image, [numbers], "affine")[0], expected, atol=1e-4)


def test_an_affine_rotation_is_counterclockwise():
    """A bright pixel on the right of the centre moves up (rows count downwards)."""
    image = np.full((1, 41, 41, 1), -1, np.float32)
    image[0, 20, 37] = 1
    row, column = np.unravel_index(changed(image, [[0.5, 0.5, 1, 0.5]], "affine").argmax(), (41, 41))
    assert (row, column) == (17, 37)


def test_color_changes_brightness_and_contrast():
    """Brightness + 0.25, then half of the contrast around the mean of each channel."""
    image = noise(1, 16, 24, 2)
    mean = image.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(changed(image, [[0.75, 0]], "color"), mean + 0.25 + 0.5 * (image - mean), atol=1e-5)


def test_cutout_blackens_half_of_each_side():
    image = noise(1, 16, 24, 2)
    expected = image.copy()
    expected[:, 4:12, 6:18] = -1
    assert np.array_equal(changed(image, [[0.5, 0.5]], "cutout"), expected)
    expected = image.copy()
    expected[:, :4, 18:] = -1
    assert np.array_equal(changed(image, [[0, 0.9999]], "cutout"), expected)


def test_each_image_and_each_policy_has_its_own_numbers():
    """Images of a batch are changed as single images are, and by several policies as by one after the other."""
    images, numbers = noise(4, 16, 24, 3), np.random.default_rng(1).random((4, augment.how_many(augment.POLICIES)))
    together = changed(images, numbers, *augment.POLICIES)
    for k in range(4):
        one, first = images[k:k + 1], 0
        for name in augment.POLICIES:
            one = changed(one, numbers[k:k + 1, first:first + augment.how_many([name])], name)
            first += augment.how_many([name])
        np.testing.assert_allclose(together[k:k + 1], one, atol=1e-5)


@pytest.mark.parametrize("policy", augment.POLICIES)
def test_gradients_are_those_of_differences(policy):
    """Every policy is affine in the pixels, so differences of any size give the exact derivative of a weighted sum."""
    images, weights = noise(2, 8, 12, 2), noise(2, 8, 12, 2, seed=1)
    numbers = np.random.default_rng(2).random((2, augment.how_many([policy])), np.float32)

    def total(images):
        return keras.ops.sum(augment.apply(images, numbers, [policy]) * weights)
    with tf.GradientTape() as tape:
        start = tf.constant(images)
        tape.watch(start)
        result = total(start)
    gradient = tape.gradient(result, start).numpy()
    for place in [(0, 0, 0, 0), (0, 3, 5, 1), (1, 7, 11, 0), (1, 4, 2, 1)]:
        moved = images.copy()
        moved[place] += 8
        assert gradient[place] == pytest.approx((float(total(moved)) - float(result)) / 8, abs=1e-4)


# ---------------------------------------------------------------------------------------------- training

@pytest.mark.parametrize("algorithm, architecture", [("WGAN-GP", "DCGAN-starshaped"), ("GAN", "DCGAN")])
def test_training_sees_images_only_through_the_augmentation(algorithm, architecture, monkeypatch):
    """If augmentation erases all images, critics can't distinguish them, and the generator learns nothing."""
    monkeypatch.setattr(augment, "apply", lambda images, numbers, policies, strength: 0 * images)
    run = Engine(spec(architecture, algorithm), settings(algorithm, augment=("affine",), num_G_iters=2, num_D_iters=1))
    grey, alpha = tf.zeros((4, 16, 24, 2)), tf.zeros((4, 1, 1, 1))
    expected = np.mean([run.algorithm.critic_loss(critic, grey, grey, alpha, input_gradient) for critic in run.critics])
    before = [variable.numpy() for variable in run.generator.trainable_variables]
    critic_loss, _ = run.iterate(30, batches(architecture, run.settings))
    assert all(np.array_equal(old, new.numpy()) for old, new in zip(before, run.generator.trainable_variables))
    assert critic_loss == pytest.approx(expected, rel=1e-5)


def test_generated_cells_are_never_augmented():
    """The same weights generate the same cells, whether they are trained with augmentation or not."""
    plain, changed = (Engine(spec(), settings(augment=policies)) for policies in ((), ("cutout", "affine")))
    z = plain.grid_latents(2, 2)
    assert np.array_equal(generate(plain.average, z), generate(changed.average, z))
    data = batches("DCGAN", plain.settings)
    assert plain.iterate(0, data) != changed.iterate(0, data)


def test_real_images_of_a_star_are_augmented_alike():
    """Images in the same place of a batch are changed alike in all factors; generated cells have other numbers."""
    run = Engine(spec("DCGAN-starshaped"), settings(augment=("affine",)))
    given, _ = run.random_inputs(np.zeros((1, 2, 4, 16, 24, 2), np.uint8))
    real, numbers = noise(2, 4, 16, 24, 2), given.changes[0, :, 0]
    expected = np.stack([changed(images, numbers, "affine") for images in real])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(run.augment_real(real, numbers)), expected, atol=1e-5)
    assert not np.array_equal(numbers, given.changes[0, :, 1]) and len(np.unique(numbers)) == numbers.size
