"""The networks: their shapes and sizes, and that red never sees green."""

import dataclasses

import numpy as np
import pytest

from biogans import models
from biogans.engine import drawing_generator
from biogans.errors import InputError
from networks import spec

FULL = models.NetworkSpec("DCGAN", 48, 80, 2, ("Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1"))
NORMALIZED = 4      # variables of batch normalisation for each feature: scale, offset, running mean and variance


def test_parameters_of_dcgan_at_48x80():
    """z -> 3x5x512, then 4x4 kernels 512 -> 256 -> 128 -> 64 -> 2 channels, normalised but for the last."""
    kernels = 16 * (512 * 256 + 256 * 128 + 128 * 64 + 64 * 2)
    assert models.build_generator(FULL).count_params() == 100 * 3 * 5 * 512 + kernels + NORMALIZED * (512 + 256 + 128 + 64)


def test_parameters_of_the_separable_generator_at_48x80():
    """Every layer in two halves: red reads red features, green reads all."""
    red = 50 * 3 * 5 * 256 + 16 * (256 * 128 + 128 * 64 + 64 * 32 + 32 * 1) + NORMALIZED * (256 + 128 + 64 + 32)
    green = 100 * 3 * 5 * 256 + 16 * (512 * 128 + 256 * 64 + 128 * 32 + 64 * 1) + NORMALIZED * (256 + 128 + 64 + 32)
    separable = dataclasses.replace(FULL, architecture="DCGAN-separable")
    assert models.build_generator(separable).count_params() == red + green
    star = dataclasses.replace(FULL, architecture="DCGAN-starshaped")
    assert models.build_generator(star).count_params() == red + 6 * green


def test_parameters_of_the_critic_at_48x80():
    """4x4 kernels 2 -> 64 -> 128 -> 256 -> 512, then 3x5 to the score; all but the first layer normalised, if any is."""
    kernels = 16 * (2 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 3 * 5 * 512
    assert models.critic(FULL, "critic").count_params() == kernels
    normalized = dataclasses.replace(FULL, critic_batch_norm=True)
    assert models.critic(normalized, "critic").count_params() == kernels + NORMALIZED * (128 + 256 + 512)


@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
@pytest.mark.parametrize("height, width, channels", [(48, 80, 2), (96, 160, 2), (40, 40, 3), (64, 64, 4), (28, 28, 2)])
def test_shapes_follow_the_images(architecture, height, width, channels):
    small = spec(architecture, height=height, width=width, channels=channels)
    small.check()
    towers = 2 if architecture == "DCGAN-starshaped" else 1
    generator, critics = models.build_generator(small), models.build_critics(small)
    assert generator.output_shape == (None, height, width, 1 + towers * (channels - 1))
    assert len(critics) == towers
    assert critics[0].input_shape == (None, height, width, channels) and critics[0].output_shape == (None,)
    assert len(small.channel_names) == generator.output_shape[-1]


def test_one_channel_needs_no_red_and_green():
    assert models.build_generator(spec("DCGAN", channels=1)).output_shape == (None, 16, 24, 1)
    with pytest.raises(InputError, match="two channels"):
        spec("DCGAN-separable", channels=1).check()


@pytest.mark.parametrize("height, width", [(10, 10), (47, 80), (48, 81), (4, 4), (8, 10)])
def test_sides_that_cannot_be_halved_twice_are_refused(height, width):
    with pytest.raises(InputError, match="can't be halved"):
        spec(height=height, width=width).check()


@pytest.mark.parametrize("architecture", ["DCGAN-separable", "DCGAN-starshaped"])
@pytest.mark.parametrize("nz", [6, 7])
def test_red_does_not_depend_on_green_noise(architecture, nz):
    """To the last bit; and green does depend on both halves of z."""
    generator = drawing_generator(spec(architecture, nz=nz))
    rng = np.random.default_rng(0)
    z = rng.standard_normal((4, nz)).astype("float32")
    other_green, other_red = z.copy(), z.copy()
    other_green[:, nz // 2:] = rng.standard_normal((4, nz - nz // 2))
    other_red[:, :nz // 2] = rng.standard_normal((4, nz // 2))
    cells, of_other_green, of_other_red = (generator(latent, training=False).numpy()
                                           for latent in (z, other_green, other_red))
    assert np.array_equal(cells[..., 0], of_other_green[..., 0])
    for green in range(1, cells.shape[-1]):
        assert not np.allclose(cells[..., green], of_other_green[..., green], atol=1e-9)
        assert not np.allclose(cells[..., green], of_other_red[..., green], atol=1e-9)
    assert not np.allclose(cells[..., 0], of_other_red[..., 0], atol=1e-9)


def test_each_green_tower_is_independent_of_the_others_weights():
    generator = drawing_generator(spec("DCGAN-starshaped"))
    z = np.random.default_rng(0).standard_normal((4, 6)).astype("float32")
    before = generator(z, training=False).numpy()
    for layer in generator.layers:
        if layer.name.startswith("green0"):
            layer.set_weights([2 * weight + 0.1 for weight in layer.get_weights()])
    after = generator(z, training=False).numpy()
    assert not np.allclose(before[..., 1], after[..., 1])
    assert np.array_equal(before[..., [0, 2]], after[..., [0, 2]])


def test_the_papers_initial_weights():
    """Normal: convolutions 0 and 0.02, scales of batch normalisation 1 and 0.02."""
    generator = models.build_generator(FULL)
    kernel = generator.get_layer("all_1_convolution").kernel.numpy()
    assert abs(kernel.mean()) < 1e-4 and abs(kernel.std() - 0.02) < 1e-4
    scale = generator.get_layer("all_0_normalization").gamma.numpy()
    assert abs(scale.mean() - 1) < 0.005 and abs(scale.std() - 0.02) < 0.005


def test_he_images_start_at_the_background():
    """An average pixel of an untrained network is dark, as most of an image of one cell is."""
    z = np.random.default_rng(0).standard_normal((64, 6)).astype("float32")
    assert abs(np.median(drawing_generator(spec(init="paper"))(z, training=True))) < 0.1
    assert np.median(drawing_generator(spec(init="he"))(z, training=True)) < -0.4


def test_only_stock_layers():
    """So the file of a model opens in Keras without any code of ours."""
    for architecture in models.ARCHITECTURES:
        for network in (models.build_generator(spec(architecture)), models.critic(spec(architecture), "critic")):
            for layer in network.layers:
                assert type(layer).__module__.startswith("keras.") and type(layer).__name__ != "Lambda"
