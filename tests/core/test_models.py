"""The networks: their shapes and sizes, and that red never depends on green."""

import dataclasses

import numpy as np
import pytest

from biogans.core import models
from biogans.core.engine import float32_generator
from biogans.latent.channels import restricted_to
from biogans.system.errors import InputError
from biogans.system.lazy import keras
from networks import spec

FULL = models.NetworkSpec("DCGAN", 48, 80, 2, ("Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1"))
NORMALIZED = 4      # variables of batch normalisation per feature: scale, offset, running mean and variance


def test_parameters_of_dcgan_at_48x80():
    """z -> 3x5x512, then 4x4 kernels 512 -> 256 -> 128 -> 64 -> 2 channels; all but the last are normalised."""
    projection, kernels = 100 * 3 * 5 * 512, 16 * (512 * 256 + 256 * 128 + 128 * 64 + 64 * 2)
    normalization = NORMALIZED * (512 + 256 + 128 + 64)
    assert models.build_generator(FULL).count_params() == projection + kernels + normalization


def test_parameters_of_the_separable_generator_at_48x80():
    """Every layer in two halves: red reads red features, green reads all."""
    red = 50 * 3 * 5 * 256 + 16 * (256 * 128 + 128 * 64 + 64 * 32 + 32 * 1) + NORMALIZED * (256 + 128 + 64 + 32)
    green = 100 * 3 * 5 * 256 + 16 * (512 * 128 + 256 * 64 + 128 * 32 + 64 * 1) + NORMALIZED * (256 + 128 + 64 + 32)
    separable = dataclasses.replace(FULL, architecture="DCGAN-separable")
    assert models.build_generator(separable).count_params() == red + green
    star = dataclasses.replace(FULL, architecture="DCGAN-starshaped")
    assert models.build_generator(star).count_params() == red + 6 * green


def test_parameters_of_the_critic_at_48x80():
    """4x4 kernels 2 -> 64 -> 128 -> 256 -> 512, then 3x5 to the score; if normalised, then all but the first layer."""
    kernels = 16 * (2 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 3 * 5 * 512
    assert models.critic(FULL, "critic").count_params() == kernels
    normalized = dataclasses.replace(FULL, critic_batch_norm=True)
    assert models.critic(normalized, "critic").count_params() == kernels + NORMALIZED * (128 + 256 + 512)


@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
@pytest.mark.parametrize("height, width, channels", [(48, 80, 2), (96, 160, 2), (40, 40, 3), (64, 64, 4), (28, 28, 2)])
def test_shapes_follow_the_images(architecture, height, width, channels):
    small = spec(architecture, height=height, width=width, channels=channels, nz=8, ngf=8)
    small.check()
    generated, critics, scored = {
        "DCGAN": (channels, 1, channels), "DCGAN-separable": (channels, 1, channels),
        "InfoGAN": (channels, 1, channels),
        "DCGAN-starshaped": (2 * channels - 1, 2, channels),
        "DCGAN-conditional": (2 * channels - 1, 2, channels),
        "DCGAN-multichannel": (2 * channels - 1, 1, 2 * channels - 1),
        "DCGAN-separable-multichannel": (2 * channels - 1, 1, 2 * channels - 1),
        "DCGAN-independent": (2 * channels, 2, channels),
        "DCGAN-separable-independent": (2 * channels, 2, channels)}[architecture]
    generator, built = models.build_generator(small), models.build_critics(small)
    assert generator.output_shape == (None, height, width, generated) and len(small.channel_names) == generated
    assert [critic.input_shape for critic in built] == [(None, height, width, scored)] * critics
    assert built[0].output_shape == (None,)


def test_one_channel_needs_no_red_and_green():
    assert models.build_generator(spec("DCGAN", channels=1)).output_shape == (None, 16, 24, 1)
    with pytest.raises(InputError, match="two channels"):
        spec("DCGAN-separable", channels=1).check()


@pytest.mark.parametrize("height, width", [(10, 10), (47, 80), (48, 81), (4, 4), (8, 10)])
def test_sides_that_cannot_be_halved_twice_are_refused(height, width):
    with pytest.raises(InputError, match="can't be halved"):
        spec(height=height, width=width).check()


def test_parameters_of_the_multichannel_generators():
    """3.5 times as wide as the network of a pair, with 7 channels; red has a seventh, as wide as that of a pair."""
    wide = dataclasses.replace(FULL, architecture="DCGAN-multichannel", nz=350, ngf=224, ndf=224)
    widths = [1792, 896, 448, 224]
    kernels = 16 * (sum(a * b for a, b in zip(widths, widths[1:])) + 224 * 7)
    assert models.build_generator(wide).count_params() == 350 * 15 * 1792 + kernels + NORMALIZED * sum(widths)
    separable = dataclasses.replace(wide, architecture="DCGAN-separable-multichannel")
    red = 50 * 15 * 256 + 16 * (256 * 128 + 128 * 64 + 64 * 32 + 32 * 1) + NORMALIZED * (256 + 128 + 64 + 32)
    greens = [width * 6 // 7 for width in widths]
    green = (350 * 15 * greens[0] + 16 * (sum(a * b for a, b in zip(widths, greens[1:])) + 224 * 6)
             + NORMALIZED * sum(greens))
    assert separable.red_nz == 50 and models.build_generator(separable).count_params() == red + green


def test_parameters_of_independent_generators():
    """A whole generator for each factor."""
    for kind in ("DCGAN", "DCGAN-separable"):
        one, six = (dataclasses.replace(FULL, architecture=f"{kind}{name}") for name in ("", "-independent"))
        assert models.build_generator(six).count_params() == 6 * models.build_generator(one).count_params()


def test_parameters_of_the_conditional_networks():
    """Those of one green tower and of one critic, besides the normalisations and the last products of each factor."""
    told = dataclasses.replace(FULL, architecture="DCGAN-conditional")
    two = dataclasses.replace(told, factors=told.factors[:2])
    one, pair = (models.build_generator(dataclasses.replace(told, factors=told.factors[:k])) for k in (1, 2))
    assert one.count_params() == models.build_generator(
        dataclasses.replace(FULL, architecture="DCGAN-separable")).count_params()
    assert pair.count_params() - one.count_params() == NORMALIZED * (256 + 128 + 64 + 32)
    first, second = models.own_weights(models.build_critics(two))
    assert sum(np.prod(weight.shape) for weight in second) == 3 * 5 * 512
    assert sum(np.prod(weight.shape) for weight in first) == (
        models.critic(FULL, "critic").count_params() + 3 * 5 * 512)


def test_the_projection_of_a_factor():
    """f(x, y) = v_y . phi(x) + psi(phi(x)): scores of two factors differ by a linear function of the features."""
    critics = models.build_critics(spec("DCGAN-conditional"))
    images = np.random.default_rng(0).uniform(-1, 1, (5, 16, 24, 2)).astype("float32")
    features = keras.Model(critics[0].input, critics[0].get_layer("1_rectified").output)(images).numpy()
    scores = [critic(images).numpy() for critic in critics]
    kernels = [critics[k].get_layer(name).kernel.numpy() for k in (0, 1) for name in ("score", f"factor{k}")
               for name in (f"{name}_convolution",)]
    for k in (0, 1):
        both = (kernels[2 * k] + kernels[2 * k + 1])[..., 0]
        np.testing.assert_allclose(scores[k], np.einsum("bhwf,hwf->b", features, both), rtol=1e-4, atol=1e-6)
    assert np.array_equal(kernels[0], kernels[2]) and not np.allclose(scores[0], scores[1])


def test_a_conditional_generator_is_told_the_factor():
    """The gains and biases of one factor change its green alone; a convolution changes all greens, and not red."""
    def changed(names):
        generator = float32_generator(spec("DCGAN-conditional"))
        z = np.random.default_rng(0).standard_normal((4, 6)).astype("float32")
        before = generator(z, training=False).numpy()
        for layer in generator.layers:
            if layer.name.startswith(names):
                layer.set_weights([2 * weight + 0.1 for weight in layer.get_weights()])
        after = generator(z, training=False).numpy()
        return [not np.allclose(before[..., k], after[..., k]) for k in range(3)]
    assert changed("green1_") == [False, False, True]
    assert changed("green_") == [False, True, True]
    assert changed("red_") == [True, True, True]


def test_channels_of_a_cell_with_two_factors():
    """If each factor has its own red, a cell has the red of the first factor and all greens."""
    star, apart = spec("DCGAN-starshaped", channels=3), spec("DCGAN-independent", channels=3)
    assert star.factor_channels == [[0, 1, 2], [0, 3, 4]] and star.cell_channels == [0, 1, 2, 3, 4]
    assert star.channel_names == ("red", "Alp14 1", "Alp14 2", "Tea1 1", "Tea1 2")
    assert apart.factor_channels == [[0, 1, 2], [3, 4, 5]] and apart.cell_channels == [0, 1, 2, 4, 5]
    assert apart.channel_names == ("red Alp14", "Alp14 1", "Alp14 2", "red Tea1", "Tea1 1", "Tea1 2")
    assert spec("DCGAN-multichannel").factor_channels == [[0, 1], [0, 2]] and spec("DCGAN").factor_channels == [[0, 1]]
    assert spec("DCGAN-independent", factors=("Alp14",)).channel_names == ("red", "Alp14")
    assert {name for name in models.ARCHITECTURES if spec(name).greens == 2} == {
        f"DCGAN-{kind}" for kind in ("starshaped", "conditional", "multichannel", "separable-multichannel",
                                     "independent", "separable-independent")}


def test_the_images_of_independent_generators_share_nothing():
    """Changing the network of one factor changes red and green of that factor, and nothing else."""
    for architecture in ("DCGAN-independent", "DCGAN-separable-independent"):
        generator = float32_generator(spec(architecture))
        z = np.random.default_rng(0).standard_normal((4, 6)).astype("float32")
        before = generator(z, training=False).numpy()
        for layer in generator.layers:
            if layer.name.startswith(("factor1", "red1", "green1")):
                layer.set_weights([2 * weight + 0.1 for weight in layer.get_weights()])
        after = generator(z, training=False).numpy()
        assert np.array_equal(before[..., :2], after[..., :2])
        assert not np.allclose(before[..., 2], after[..., 2]) and not np.allclose(before[..., 3], after[..., 3])


NOISY = [name for name in models.ARCHITECTURES if not models.ARCHITECTURES[name].has_codes]


def noisy(architecture, dense):
    """A spec with noise and `dense` further latent variables."""
    shape = spec(architecture, noise=True)
    return dataclasses.replace(shape, nz=dense + shape.noise_size)


@pytest.mark.parametrize("architecture", NOISY)
def test_noise_at_every_level(architecture):
    """Each pixel of noise changes the image around it, and no pixel farther away than the convolutions reach.

    Images of 16x24 pixels have maps of 4x6 and 8x12 pixels. Only the first tower reads them from their corner on.
    """
    shape = noisy(architecture, 6)
    assert shape.noise_size == 4 * 6 + 8 * 12
    channels = shape.factor_channels[0] if len(shape.factor_channels) > 1 else slice(None)
    generator, z = float32_generator(shape), np.random.default_rng(0).standard_normal((1, shape.nz)).astype("float32")
    last_map = shape.nz - 8 * 12
    moved = z.repeat(3, axis=0)
    moved[1, last_map] += 1                         # the corner of the largest map
    moved[2, last_map - 4 * 6] += 1                 # and of the smallest
    before, after = (generator(each, training=False).numpy() for each in (z, moved))
    unmoved, large, small = np.abs(after - before)[..., channels].max(axis=-1) > 1e-7
    assert not unmoved.any() and large[:2, :2].any() and not large[4:].any() and not large[:, 4:].any()
    assert small[:4, :4].any() and not small[12:].any() and small.sum() > large.sum()


def test_noise_leaves_red_alone_and_differs_between_factors():
    """One number of the largest map changes the greens of two towers in places that are half the map apart."""
    shape = noisy("DCGAN-starshaped", 6)
    generator, z = float32_generator(shape), np.zeros((2, shape.nz), "float32")
    assert shape.red_nz == 3
    z[1, -1] = 1                                    # the last corner of the map of the first tower
    plain, moved = generator(z, training=False).numpy()
    changed = np.abs(moved - plain) > 1e-7
    assert not changed[..., 0].any()
    assert changed[12:, 20:, 1].any() and not changed[:12, :, 1].any()
    assert changed[4:8, 20:, 2].any() and not changed[12:, :, 2].any()


def test_noise_that_does_not_fit():
    with pytest.raises(InputError, match="InfoGAN has no noise maps: leave out --noise"):
        spec("InfoGAN", noise=True, categorical=(3,), nz=12).check()
    with pytest.raises(InputError, match="so large images has no noise maps"):
        spec("DCGAN", noise=True, height=2048, width=2048, nz=2000000).check()
    with pytest.raises(InputError, match="the noise takes 120 latent variables and z has 100"):
        spec("DCGAN-starshaped", noise=True, nz=100).check()


@pytest.mark.parametrize("architecture", ["DCGAN-separable", "DCGAN-starshaped", "DCGAN-conditional",
                                          "DCGAN-separable-multichannel", "DCGAN-separable-independent"])
def test_a_red_tower_with_filters_of_its_own_number(architecture):
    """Its filters double from the last hidden layer to the first; those of green towers stay as they are."""
    plain, wide = (float32_generator(spec(architecture, ngf=8, red_ngf=width)) for width in (None, 10))

    def widths(network, tower):
        return [layer.output.shape[-1] for layer in network.layers
                if layer.name.startswith(tower) and layer.name.endswith("_normalization")]

    red = set(widths(wide, "red"))
    assert red == {10 << level for level in range(len(red))} and max(widths(plain, "red")) < max(red)
    assert widths(wide, "green") == widths(plain, "green")
    z = np.random.default_rng(0).standard_normal((2, 6)).astype("float32")
    assert wide(z, training=False).shape == plain(z, training=False).shape


def test_networks_without_a_red_tower_refuse_a_number_of_its_filters():
    for architecture in ("DCGAN", "DCGAN-multichannel", "DCGAN-independent"):
        with pytest.raises(InputError, match=f"{architecture} has no red tower: leave out --red_ngf"):
            spec(architecture, red_ngf=8).check()


@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
def test_a_generator_restricted_to_some_of_its_channels(architecture):
    shape = spec(architecture)
    generator = float32_generator(shape)
    z = np.random.default_rng(0).standard_normal((3, 6)).astype("float32")
    whole = generator(z, training=False).numpy()
    for channels in (*shape.factor_channels, [shape.factor_channels[-1][1]], shape.cell_channels):
        part = restricted_to(generator, channels)(z, training=False).numpy()
        np.testing.assert_allclose(part, whole[..., channels], atol=1e-6)


@pytest.mark.parametrize("architecture, nz", [("DCGAN-separable", 6), ("DCGAN-separable", 7), ("DCGAN-starshaped", 6),
                                              ("DCGAN-starshaped", 7), ("DCGAN-separable-multichannel", 7)])
def test_red_does_not_depend_on_green_noise(architecture, nz):
    """To the last bit; green depends on both parts of z."""
    shape = spec(architecture, nz=nz)
    generator, red_nz = float32_generator(shape), shape.red_nz
    assert red_nz == (nz // 3 if "multichannel" in architecture else nz // 2)
    rng = np.random.default_rng(0)
    z = rng.standard_normal((4, nz)).astype("float32")
    other_green, other_red = z.copy(), z.copy()
    other_green[:, red_nz:] = rng.standard_normal((4, nz - red_nz))
    other_red[:, :red_nz] = rng.standard_normal((4, red_nz))
    cells, of_other_green, of_other_red = (generator(latent, training=False).numpy()
                                           for latent in (z, other_green, other_red))
    assert np.array_equal(cells[..., 0], of_other_green[..., 0])
    for green in range(1, cells.shape[-1]):
        assert not np.allclose(cells[..., green], of_other_green[..., green], atol=1e-9)
        assert not np.allclose(cells[..., green], of_other_red[..., green], atol=1e-9)
    assert not np.allclose(cells[..., 0], of_other_red[..., 0], atol=1e-9)


def test_each_green_tower_is_independent_of_the_others_weights():
    generator = float32_generator(spec("DCGAN-starshaped"))
    z = np.random.default_rng(0).standard_normal((4, 6)).astype("float32")
    before = generator(z, training=False).numpy()
    for layer in generator.layers:
        if layer.name.startswith("green0"):
            layer.set_weights([2 * weight + 0.1 for weight in layer.get_weights()])
    after = generator(z, training=False).numpy()
    assert not np.allclose(before[..., 1], after[..., 1])
    assert np.array_equal(before[..., [0, 2]], after[..., [0, 2]])


def test_the_papers_initial_weights():
    """Normal distributions: N(0, 0.02) for convolutions, N(1, 0.02) for scales of batch normalisation."""
    generator = models.build_generator(FULL)
    kernel = generator.get_layer("all_1_convolution").kernel.numpy()
    assert abs(kernel.mean()) < 1e-4 and abs(kernel.std() - 0.02) < 1e-4
    scale = generator.get_layer("all_0_normalization").gamma.numpy()
    assert abs(scale.mean() - 1) < 0.005 and abs(scale.std() - 0.02) < 0.005


def test_images_of_he_weights_start_at_the_background():
    """A typical pixel of an untrained network is dark, like most of an image of one cell."""
    z = np.random.default_rng(0).standard_normal((64, 6)).astype("float32")
    assert abs(np.median(float32_generator(spec(init="paper"))(z, training=True))) < 0.1
    assert np.median(float32_generator(spec(init="he"))(z, training=True)) < -0.4


def test_only_stock_layers():
    """So that Keras opens a model file without code of BioGANs."""
    for architecture in models.ARCHITECTURES:
        for network in (models.build_generator(spec(architecture)), models.critic(spec(architecture), "critic")):
            for layer in network.layers:
                assert type(layer).__module__.startswith("keras.") and type(layer).__name__ != "Lambda"
