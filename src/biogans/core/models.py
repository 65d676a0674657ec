"""Generators and critics of Osokin et al. (ICCV 2017), as functional Keras models of stock layers.

Channels are last. Channel 0 is the growth marker ("red"), the others are polarity factors ("green"); pixels lie in
[-1, 1]. A latent vector z has `nz` standard normal components, the last of which may be codes (codes.py). Networks that
separate red from green give red half of z and half of the features of every layer.

To add an architecture, write a function (spec) -> generator and register it in ARCHITECTURES.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..system.errors import InputError
from ..system.lazy import Network, Tensor, keras
from .codes import Code, cut, noise_maps

LARGEST_NOISE = 1 << 20         # numbers of the noise of a cell, as of images of 1,024x1,024 pixels and more
RECOGNIZER_WIDTH = 128          # features of the layer that only Q has (Chen et al. 2016, table 1)


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """Everything that determines the shape of the networks. Every weights file stores it, so they can be rebuilt.

    architecture        a name in ARCHITECTURES
    height, width       size of an image in pixels
    channels            channels of one training image: the growth marker and channels - 1 greens
    factors             names of the polarity factors, as of the image folders
    nz                  length of the latent vector
    ngf, ndf            features of the generator's last and of the critic's first hidden layer
    critic_batch_norm   whether critics use batch normalisation (not under WGAN-GP: Gulrajani et al. 2017, sec. 4)
    init                a name in INITIALIZERS
    categorical         InfoGAN: number of categories of each categorical code
    continuous          InfoGAN: number of continuous codes
    noise               whether the generator, or its green towers, read noise at every level; z then ends with it
    """

    architecture: str
    height: int
    width: int
    channels: int
    factors: tuple[str, ...]
    nz: int = 100
    ngf: int = 64
    ndf: int = 64
    critic_batch_norm: bool = False
    init: str = "paper"
    categorical: tuple[int, ...] = ()
    continuous: int = 0
    noise: bool = False

    @property
    def codes(self) -> tuple[Code, ...]:
        """The codes at the end of z: c0, c1, … are categorical; u0, u1, …, which follow, are continuous."""
        names = [f"c{k}" for k in range(len(self.categorical))] + [f"u{k}" for k in range(self.continuous)]
        sizes = (*self.categorical, *[1] * self.continuous)
        starts = [self.nz - sum(sizes[k:]) for k in range(len(sizes))]
        return tuple(map(Code, names, starts, sizes))

    @property
    def num_critics(self) -> int:
        """Number of critics: one for each factor, or a single one."""
        return len(self.factors) if ARCHITECTURES[self.architecture].per_factor else 1

    @property
    def separate_factors(self) -> tuple[str, ...]:
        """Factors that the generator produces separately; empty if its green can be any factor."""
        known = ARCHITECTURES[self.architecture]
        return self.factors if known.per_factor or known.composites or len(self.factors) == 1 else ()

    @property
    def factor_channels(self) -> list[list[int]]:
        """Positions of the generator's channels that make up one training image.

        One list for each separate factor, or a single list if the factors are not separate.
        """
        count, greens = max(1, len(self.separate_factors)), self.channels - 1
        if ARCHITECTURES[self.architecture].own_reds:
            return [list(range(k * self.channels, (k + 1) * self.channels)) for k in range(count)]
        return [[0, *range(1 + k * greens, 1 + (k + 1) * greens)] for k in range(count)]

    @property
    def cell_channels(self) -> list[int]:
        """Positions of the generator's channels that make up one complete cell: red and every green.

        If each factor has its own red, this is the red of the first factor.
        """
        return [0, *(channel for channels in self.factor_channels for channel in channels[1:])]

    @property
    def greens(self) -> int:
        """Number of green channels that the generator produces; the names of its files contain it."""
        return len(self.factor_channels) * (self.channels - 1)

    @property
    def critic_channels(self) -> int:
        """Number of channels of the images that a critic scores, real or generated."""
        return 1 + self.greens if ARCHITECTURES[self.architecture].composites else self.channels

    @property
    def separates_red(self) -> bool:
        """Whether red has its own part of z and of every layer."""
        return ARCHITECTURES[self.architecture].separates_red

    @property
    def red_nz(self) -> int:
        """Length of the first part of z, which belongs to red where red and green are separate."""
        return self.red_part(self.nz - self.noise_size)

    @property
    def noise_size(self) -> int:
        """Number of latent variables that are noise, one map for each level of a tower; 0 without noise."""
        height, width, n = self.halvings
        return sum(height * width << 2 * level for level in range(n)) if self.noise else 0

    def share_red(self, z: np.ndarray) -> np.ndarray:
        """z (groups, cells, nz) with the red part of each group's first cell in all of its cells."""
        return np.concatenate([np.broadcast_to(z[:, :1, :self.red_nz], (*z.shape[:2], self.red_nz)),
                               z[:, :, self.red_nz:]], axis=-1)

    def red_part(self, features: int) -> int:
        """How many of the `features` are red: half, or for composites one channel's share (1/7 in the paper's code)."""
        return features // (self.critic_channels if ARCHITECTURES[self.architecture].composites else 2)

    @property
    def halvings(self) -> tuple[int, int, int]:
        """(height, width, n): size of the smallest feature map, and how many times the image is halved to reach it."""
        height, width, n = self.height, self.width, 0
        while height % 2 == 0 and width % 2 == 0 and height > 4 and width > 4:
            height, width, n = height // 2, width // 2, n + 1
        return height, width, n

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the generator's channels: red, then the factors, numbered if a factor has several channels.

        With a red channel for each factor, the channels of one factor follow those of another, each with its red first.
        """
        greens = self.channels - 1
        names = [[name if greens == 1 else f"{name} {k + 1}" for k in range(greens)]
                 for name in self.separate_factors or ("green",)]
        if ARCHITECTURES[self.architecture].own_reds and len(names) > 1:
            pairs = zip(self.separate_factors, names, strict=True)
            return tuple(name for factor, own in pairs for name in (f"red {factor}", *own))
        return ("red", *(name for own in names for name in own))

    def check(self) -> None:
        """Raise InputError if networks of this shape can't be built."""
        height, width, n = self.halvings
        if n < 2:
            raise InputError(f"images of {self.height}x{self.width} pixels can't be halved twice: crop or pad both "
                             f"sides to multiples of 4, of at least 12 pixels")
        if height * width > 1024:
            raise InputError(f"images of {self.height}x{self.width} pixels can be halved only to {height}x{width}: "
                             f"crop or pad both sides to multiples of {2 ** (n + 2)}")
        known = ARCHITECTURES[self.architecture]
        if self.channels < 2 and (self.separates_red or known.composites or known.per_factor):
            raise InputError(f"{self.architecture} needs two channels (red and green) and these images have one: use "
                             f"-m DCGAN")
        if self.noise and (known.has_codes or self.noise_size > LARGEST_NOISE):
            owner = self.architecture if known.has_codes else "a generator of so large images"
            raise InputError(f"{owner} has no noise maps: leave out --noise")
        if self.nz <= self.noise_size:
            raise InputError(f"the noise takes {self.noise_size} latent variables and z has {self.nz}: none is left")
        least = self.critic_channels if known.composites else 2
        if self.separates_red and min(self.nz - self.noise_size, self.ngf) < least:
            raise InputError(f"{self.architecture} gives red a part of z and of the filters: --nz and --ngf must be at "
                             f"least {least}")
        if self.codes and not known.has_codes:
            raise InputError(f"{self.architecture} has no codes: leave out --categorical and --continuous, or use "
                             f"-m InfoGAN")
        if self.codes and self.codes[0].start < 1:
            raise InputError(f"the codes take {self.nz - self.codes[0].start} latent variables and --nz is {self.nz}: "
                             f"raise it, so that noise is left")


# ---------------------------------------------------------------------------------------------- architectures

def dcgan(spec: NetworkSpec) -> Network:
    """z (batch, nz) -> images (batch, height, width, spec.critic_channels). All channels share every layer.

    Radford et al. (2016): a dense layer to the smallest feature map, then 4x4 transposed convolutions with stride 2.
    """
    z = keras.Input((spec.nz,), name="z")
    image = single_tower(_without_noise(z, spec), spec, "all", noise_maps(z, spec))
    return keras.Model(z, image, name="generator")


def infogan(spec: NetworkSpec) -> Network:
    """z (batch, nz), which ends with the codes -> images (batch, height, width, channels).

    Chen et al. (2016), table 1: a DCGAN with an additional dense layer before the smallest map, which mixes codes and
    noise.
    """
    z = keras.Input((spec.nz,), name="z")
    hidden = keras.layers.Dense(8 * spec.ngf, use_bias=False, kernel_initializer=INITIALIZERS[spec.init](),
                                name="hidden_projection")(z)
    return keras.Model(z, single_tower(_activated(hidden, spec, "hidden"), spec, "all", []), name="generator")


def dcgan_starshaped(spec: NetworkSpec) -> Network:
    """z (batch, nz) -> cells with all factors (batch, height, width, 1 + spec.greens).

    Osokin et al. (2017), sec. 3.2 and fig. 3: a red tower, which reads only red features, and one green tower for each
    critic, whose layers read the red features and their own green ones. So a cell has all factors, although no training
    image shows two of them. With a single green tower this is the separable generator (sec. 3.1).
    """
    z = keras.Input((spec.nz,), name="z")
    towers = {f"green{k}": noise_maps(z, spec, k, spec.num_critics) for k in range(spec.num_critics)}
    channels = separate_towers(_without_noise(z, spec), spec, "red", towers)
    return keras.Model(z, _side_by_side(channels), name="generator")


def dcgan_independent(spec: NetworkSpec) -> Network:
    """z (batch, nz) -> one image per factor (batch, height, width, factors * channels), each from its own network.

    All of them read the same z, as in the paper's code, but nothing makes their red channels agree.
    """
    z = keras.Input((spec.nz,), name="z")
    images = [single_tower(_without_noise(z, spec), spec, f"factor{k}", noise_maps(z, spec, k, spec.num_critics))
              for k in range(spec.num_critics)]
    return keras.Model(z, _side_by_side(images), name="generator")


def dcgan_separable_independent(spec: NetworkSpec) -> Network:
    """Like `dcgan_independent`, with a separable network for each factor."""
    z = keras.Input((spec.nz,), name="z")
    images = [image for k in range(spec.num_critics)
              for image in separate_towers(_without_noise(z, spec), spec, f"red{k}",
                                           {f"green{k}": noise_maps(z, spec, k, spec.num_critics)})]
    return keras.Model(z, _side_by_side(images), name="generator")


class Architecture(NamedTuple):
    """A generator, and the images that its critics see.

    generator    (spec) -> Keras model
    per_factor   each factor has its own critic and contributes equally many images to a batch
    composites   the real images have the greens of all factors, borrowed from other cells (dataloader.Composites)
    own_reds     the generator produces a red channel for each factor instead of a single one
    has_codes    the critic has a layer "trunk", on which a recognizer of codes can be built
    """

    generator: Callable[[NetworkSpec], Network]
    per_factor: bool = False
    composites: bool = False
    own_reds: bool = False
    has_codes: bool = False

    @property
    def separates_red(self) -> bool:
        """Whether red has its own part of z and of every layer."""
        return self.generator in (dcgan_starshaped, dcgan_separable_independent)


ARCHITECTURES = {
    "DCGAN": Architecture(dcgan),
    "DCGAN-separable": Architecture(dcgan_starshaped),
    "DCGAN-starshaped": Architecture(dcgan_starshaped, per_factor=True),
    "DCGAN-multichannel": Architecture(dcgan, composites=True),
    "DCGAN-separable-multichannel": Architecture(dcgan_starshaped, composites=True),
    "DCGAN-independent": Architecture(dcgan_independent, per_factor=True, own_reds=True),
    "DCGAN-separable-independent": Architecture(dcgan_separable_independent, per_factor=True, own_reds=True),
    "InfoGAN": Architecture(infogan, has_codes=True),
}


def build_generator(spec: NetworkSpec) -> Network:
    """Build the generator: z (batch, nz) -> images (batch, height, width, len(spec.channel_names)) in [-1, 1]."""
    return ARCHITECTURES[spec.architecture].generator(spec)


# ---------------------------------------------------------------------------------------------- critics

def build_critics(spec: NetworkSpec) -> list[Network]:
    """Build all `spec.num_critics` critics."""
    return [critic(spec, f"critic{k}") for k in range(spec.num_critics)]


def critic(spec: NetworkSpec, name: str) -> Network:
    """images (batch, height, width, critic_channels) -> scores (batch,): any real number, higher for more real images.

    Radford et al. (2016): 4x4 convolutions with stride 2 that double the features, then one that covers the whole map.
    """
    image = keras.Input((spec.height, spec.width, spec.critic_channels), name="image")
    height, width, n = spec.halvings
    features = image
    for level in range(n):
        features = keras.layers.Conv2D(
            spec.ndf << level, 4, strides=2, padding="same", use_bias=False,
            kernel_initializer=INITIALIZERS[spec.init](), name=f"{level}_convolution")(features)
        if spec.critic_batch_norm and level:
            features = _normalized(features, f"{level}")
        features = keras.layers.LeakyReLU(negative_slope=0.2, name=f"{level}_rectified")(features)
    if ARCHITECTURES[spec.architecture].has_codes:
        return keras.Model(image, _score_of_trunk(features, spec), name=name)
    score = keras.layers.Conv2D(1, (height, width), use_bias=False, kernel_initializer=INITIALIZERS[spec.init](),
                                dtype=_full_precision(), name="score_convolution")(features)
    return keras.Model(image, keras.layers.Reshape((), dtype=_full_precision(), name="score")(score), name=name)


def _score_of_trunk(features, spec):
    """The smallest map -> "trunk", a dense layer that critic and recognizer share -> scores."""
    trunk = _dense(keras.layers.Flatten(name="flat")(features), 8 * spec.ndf, spec, "trunk", spec.critic_batch_norm)
    score = keras.layers.Dense(1, use_bias=False, kernel_initializer=INITIALIZERS[spec.init](),
                               dtype=_full_precision(), name="score_projection")(trunk)
    return keras.layers.Reshape((), dtype=_full_precision(), name="score")(score)


def build_recognizer(spec: NetworkSpec, critic: Network) -> Network:
    """Build Q: images (batch, height, width, channels) -> answers (batch, total size of the codes); see codes.py.

    Chen et al. (2016), sec. 6 and table 1: two dense layers on the trunk, which Q shares with the critic. The answers
    are logits for a categorical code, and the mean of a normal distribution for a continuous one.
    """
    hidden = _dense(critic.get_layer("trunk").output, RECOGNIZER_WIDTH, spec, "recognizer", True)
    answers = keras.layers.Dense(sum(code.size for code in spec.codes), kernel_initializer=INITIALIZERS[spec.init](),
                                 dtype=_full_precision(), name="answers")(hidden)
    return keras.Model(critic.input, answers, name="recognizer")


def _dense(features, width, spec, name, normalize):
    """A dense layer; `name` is the name of its rectified output."""
    features = keras.layers.Dense(width, use_bias=False, kernel_initializer=INITIALIZERS[spec.init](),
                                  name=f"{name}_projection")(features)
    if normalize:
        features = _normalized(features, name)
    return keras.layers.LeakyReLU(negative_slope=0.2, name=name)(features)


# ---------------------------------------------------------------------------------------------- parts

INITIALIZERS = {
    "paper": lambda: keras.initializers.RandomNormal(0.0, 0.02),
    "he": lambda: keras.initializers.HeNormal(),
}


def _widest(spec):
    """Number of features of the generator's smallest map."""
    return spec.ngf << (spec.halvings[2] - 1)


def _without_noise(z, spec):
    """The first part of z, which the smallest maps are made from."""
    return cut(z, 0, spec.nz - spec.noise_size)


def _with_noise(features, noise, level):
    """The features of a level beside its map of the `noise`, so that the next convolution reads both."""
    return keras.layers.Concatenate()([features, noise[level]]) if noise else features


def single_tower(z: Tensor, spec: NetworkSpec, name: str, noise: Sequence[Tensor]) -> Tensor:
    """An image (batch, height, width, critic_channels) from z, or from features (batch, any) computed from it.

    name    prefix of the names of the layers
    noise   codes.noise_maps
    """
    features = _activated(_project(z, spec, _widest(spec), name), spec, f"{name}_0")
    for level in range(1, spec.halvings[2]):
        features = _with_noise(features, noise, level - 1)
        features = _activated(_upsample(features, _widest(spec) >> level, spec, f"{name}_{level}"), spec,
                              f"{name}_{level}")
    return _to_image(_with_noise(features, noise, -1), spec.critic_channels, spec, name)


def separate_towers(z: Tensor, spec: NetworkSpec, red_tower: str,
                    towers: Mapping[str, Sequence[Tensor]]) -> list[Tensor]:
    """[red, greens of each of `towers`], images (batch, height, width, …) from z; red from its first red_nz numbers.

    red_tower   prefix of the names of its layers
    towers      {prefix of the names of the layers: codes.noise_maps}
    """
    red_width = spec.red_part(_widest(spec))
    red = _activated(_project(cut(z, 0, spec.red_nz), spec, red_width, red_tower), spec, f"{red_tower}_0")
    greens = [_activated(_project(z, spec, _widest(spec) - red_width, tower), spec, f"{tower}_0") for tower in towers]
    for level in range(1, spec.halvings[2]):
        width = _widest(spec) >> level
        red_width = spec.red_part(width)
        both = _joined(red, greens, towers, level - 1)
        red = _activated(_upsample(red, red_width, spec, f"{red_tower}_{level}"), spec, f"{red_tower}_{level}")
        greens = [_activated(_upsample(pair, width - red_width, spec, f"{tower}_{level}"), spec, f"{tower}_{level}")
                  for tower, pair in zip(towers, both, strict=True)]
    both = _joined(red, greens, towers, -1)
    return [_to_image(red, 1, spec, red_tower),
            *(_to_image(pair, spec.critic_channels - 1, spec, tower)
              for tower, pair in zip(towers, both, strict=True))]


def _joined(red, greens, towers, level):
    """What each green tower's next convolution reads: features of red, its own, and its noise."""
    return [_with_noise(keras.layers.Concatenate()([red, green]), noise, level)
            for green, noise in zip(greens, towers.values(), strict=True)]


def _side_by_side(images):
    """One image with the channels of all `images`."""
    return keras.layers.Concatenate(dtype=_full_precision(), name="image")(images)


def _project(z, spec, features, tower):
    """z -> the smallest map. A transposed convolution of a single pixel is a matrix product."""
    height, width, _ = spec.halvings
    flat = keras.layers.Dense(height * width * features, use_bias=False, kernel_initializer=INITIALIZERS[spec.init](),
                              name=f"{tower}_0_projection")(z)
    return keras.layers.Reshape((height, width, features), name=f"{tower}_0_map")(flat)


def _upsample(features, filters, spec, name):
    """Double height and width."""
    return keras.layers.Conv2DTranspose(
        filters, 4, strides=2, padding="same", use_bias=False,
        kernel_initializer=INITIALIZERS[spec.init](), name=f"{name}_convolution")(features)


def _to_image(features, channels, spec, tower):
    """The last convolution. With "he" it starts near the background (bias -1, then tanh): most pixels show no cell."""
    bias = spec.init == "he"
    pixels = keras.layers.Conv2DTranspose(channels, 4, strides=2, padding="same", use_bias=bias,
                                          kernel_initializer=INITIALIZERS[spec.init](),
                                          bias_initializer=keras.initializers.Constant(-1.0),
                                          name=f"{tower}_image_convolution")(features)
    return keras.layers.Activation("tanh", dtype=_full_precision(), name=f"{tower}_image")(pixels)


def _activated(features, spec, name):
    """Batch normalisation, then ReLU."""
    return keras.layers.ReLU(name=f"{name}_rectified")(_normalized(features, name))


def _normalized(features, name):
    """Batch normalisation with the constants of the original code."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_normalization",
                                           gamma_initializer=keras.initializers.RandomNormal(1.0, 0.02))(features)


def _full_precision():
    """Precision of the weights. Scores and pixels keep it even where other layers compute in bfloat16."""
    return keras.config.dtype_policy().variable_dtype
