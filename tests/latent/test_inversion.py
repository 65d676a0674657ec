"""The search of the latent space: a generated cell is found again, whatever the architecture and the order."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from biogans.core import dataloader, models
from biogans.core.engine import generate, latent_gradient
from biogans.core.trained import TrainedGenerator
from biogans.latent.channels import restricted_to
from biogans.latent.inversion import Search, balanced_sample, invert, search_red
from biogans.system.errors import InputError
from biogans.system.lazy import keras
from networks import FACTORS, spec


def untrained(architecture="DCGAN-starshaped", seed=1):
    """A TrainedGenerator of random weights; the images of different z differ by much more than rounding."""
    keras.utils.set_random_seed(seed)
    shape = spec(architecture, init="he", ngf=8)
    network = models.build_generator(shape)
    return TrainedGenerator(Path("untrained.h5"), lambda: network, SimpleNamespace(network=shape))


def generated_images(generator, labels, seed=0):
    """dataloader.Images of random z, each of red and of the factor of its label."""
    z = np.random.default_rng(seed).standard_normal((len(labels), generator.spec.nz), np.float32)
    pixels = np.rint(255 * pairs_of(generator, z, labels)).astype("uint8")
    return dataloader.Images(pixels, np.array(labels), FACTORS)


def pairs_of(generator, z, labels):
    """What the generator makes of z, (images, H, W, 2) in [0, 1]: each of red and of the factor of its label."""
    towers = labels if generator.spec.separate_factors else np.zeros(len(labels), int)
    return np.array([cell[..., generator.spec.factor_channels[tower]]
                     for cell, tower in zip((generator.generate(z) + 1) / 2, towers)])


def error_between(images, others):
    return np.sqrt(((images - others) ** 2).mean(axis=(1, 2, 3)))


# ---------------------------------------------------------------------------------------------- the search

@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
def test_error_and_gradient(architecture):
    """The error is the squared difference to the generated image; the gradient is its slope in random directions."""
    generator = untrained(architecture)
    network, shape = generator.network, generator.spec
    rng = np.random.default_rng(2)
    z, direction = rng.standard_normal((2, 5, shape.nz)).astype("float32")
    targets = rng.uniform(-1, 1, (5, *network.output_shape[1:])).astype("float32")
    function = latent_gradient(network)
    errors, gradient = function(z, targets)
    np.testing.assert_allclose(errors, ((generate(network, z) - targets) ** 2).sum(axis=(1, 2, 3)), rtol=1e-4)
    step = np.float32(1e-3)
    slope = (function(z + step * direction, targets)[0] - function(z - step * direction, targets)[0]) / (2 * step)
    np.testing.assert_allclose((gradient * direction).sum(axis=1), slope, rtol=0.03, atol=0.01 * np.abs(slope).max())


def test_parts_of_a_generator_are_its_channels():
    generator = untrained()
    z = np.random.default_rng(0).standard_normal((3, generator.spec.nz), np.float32)
    whole = generator.generate(z)
    for parts in ([0], [2], [0, 1], [0, 1, 2]):
        part = restricted_to(generator.network, parts)
        np.testing.assert_allclose(generate(part, z), whole[..., parts], atol=1e-6)


@pytest.mark.parametrize("architecture, order", [("DCGAN", "joint"), ("DCGAN-separable", "joint"),
                                                 ("DCGAN-starshaped", "joint"), ("DCGAN-starshaped", "red-first"),
                                                 ("DCGAN-multichannel", "joint"),
                                                 ("DCGAN-separable-independent", "red-first")])
def test_a_generated_cell_is_found_again(architecture, order):
    generator = untrained(architecture)
    images = generated_images(generator, [0, 1, 1, 0])
    found = invert(generator, images, Search(order, starts=6, iterations=200))
    others = error_between(images.pixels[1:] / 255, images.pixels[:-1] / 255)
    assert found.error.max() < 0.01 < 0.05 < others.min()
    again = pairs_of(generator, found.z, images.labels)
    np.testing.assert_allclose(error_between(again, images.pixels / 255), found.error, atol=1e-5)


def test_red_first_does_not_look_at_green():
    """Another green changes the green half of z but not the red half; in a joint search it changes both."""
    generator = untrained()
    images = generated_images(generator, [0, 1])
    pixels = images.pixels.copy()
    pixels[..., 1] = pixels[::-1, ..., 1]
    other = dataloader.Images(pixels, images.labels, FACTORS)
    for order, same in (("red-first", True), ("joint", False)):
        one, two = (invert(generator, target, Search(order, starts=1)).z for target in (images, other))
        assert np.array_equal(one[:, :3], two[:, :3]) == same and not np.array_equal(one[:, 3:], two[:, 3:])


def test_a_red_is_found_again_whatever_the_green():
    """The green part of z stays; the errors are those of the found z, smaller than those of the starts."""
    generator = untrained()
    images, starts = generated_images(generator, [0, 1, 0]), np.random.default_rng(5).standard_normal((3, 6))
    found, errors = search_red(generator, images.pixels, starts, 200)
    assert np.array_equal(found[:, 3:], starts[:, 3:].astype("float32"))
    differences = [(generator.generate(z.astype("float32"))[..., 0] - images.pixels[..., 0] / 127.5 + 1) ** 2
                   for z in (starts, found)]
    before, after = (each.sum(axis=(1, 2)) for each in differences)
    np.testing.assert_allclose(errors, after, rtol=1e-3, atol=1e-4)
    assert (after < before / 20).all()


def test_more_starts_are_never_worse_and_the_best_counts():
    generator = untrained()
    images = generated_images(generator, [0, 1, 0])
    found = invert(generator, images, Search(starts=4, iterations=5))
    assert found.errors.shape == (3, 4) and np.ptp(found.errors, axis=1).min() > 0
    assert np.array_equal(found.error, found.errors.min(axis=1))
    again = pairs_of(generator, found.z, images.labels)
    np.testing.assert_allclose(error_between(again, images.pixels / 255), found.error, atol=1e-5)


# ---------------------------------------------------------------------------------------------- the images

def gray(values, labels, files=None):
    """Images of one value each."""
    pixels = np.multiply.outer(np.array(values, "uint8"), np.ones((4, 6, 2), "uint8"))
    return dataloader.Images(pixels, np.array(labels), FACTORS,
                             files=tuple(map(Path, files or (f"f{k}.png" for k in range(len(values))))))


def test_the_images_are_spread_over_the_factors():
    images = gray(range(30), [0] * 20 + [1] * 10)
    chosen = balanced_sample(images, 12, (), seed=1)
    assert np.bincount(chosen.labels).tolist() == [6, 6] and len(set(chosen.files)) == 12
    assert [image[0, 0, 0] for image in chosen.pixels] == [int(file.stem[1:]) for file in chosen.files]
    assert balanced_sample(images, 12, (), seed=1).files == chosen.files
    assert balanced_sample(images, 12, (), seed=2).files != chosen.files
    assert np.bincount(balanced_sample(images, 100, (), 1).labels).tolist() == [20, 10]
    assert set(balanced_sample(images, 100, ("Tea1",), 1).labels) == {1}
    with pytest.raises(InputError, match="Sid2.*Alp14, Tea1"):
        balanced_sample(images, 12, ("Sid2",), 1)
