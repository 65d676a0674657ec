"""Generators and critics of Osokin et al. (ICCV 2017), as functional Keras models of stock layers.

Channels are last. Channel 0 is the growth marker ("red"), the others are polarity factors ("green"); pixels lie in
[-1, 1]. A latent vector z has `nz` standard normal components, the last of which may be codes (codes.py). Networks that
separate red from green give red half of z and half of the features of every layer.

To add an architecture, write a function (spec) -> generator and register it in ARCHITECTURES.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..system.errors import InputError
from ..system.lazy import Network, Tensor, Variable, keras
from . import layers
from .codes import Code

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
    init                a name in layers.INITIALIZERS
    categorical         InfoGAN: number of categories of each categorical code
    continuous          InfoGAN: number of continuous codes
    noise               whether the generator, or its green towers, read noise at every level; z then ends with it
    red_ngf             features of the last hidden layer of a red tower; None: half of ngf, as in the paper
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
    red_ngf: int | None = None

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
        if self.red_ngf and not self.separates_red:
            raise InputError(f"{self.architecture} has no red tower: leave out --red_ngf")
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
    image = single_tower(layers.without_noise(z, spec), spec, "all", layers.noise_maps(z, spec))
    return keras.Model(z, image, name="generator")


def infogan(spec: NetworkSpec) -> Network:
    """z (batch, nz), which ends with the codes -> images (batch, height, width, channels).

    Chen et al. (2016), table 1: a DCGAN with an additional dense layer before the smallest map, which mixes codes and
    noise.
    """
    z = keras.Input((spec.nz,), name="z")
    hidden = layers.activated(layers.dense(spec, "hidden", 8 * spec.ngf)(z), "hidden")
    return keras.Model(z, single_tower(hidden, spec, "all", []), name="generator")


def dcgan_starshaped(spec: NetworkSpec) -> Network:
    """z (batch, nz) -> cells with all factors (batch, height, width, 1 + spec.greens).

    Osokin et al. (2017), sec. 3.2 and fig. 3: a red tower, which reads only red features, and one green tower for each
    critic, whose layers read the red features and their own green ones. So a cell has all factors, although no training
    image shows two of them. With a single green tower this is the separable generator (sec. 3.1).
    """
    z = keras.Input((spec.nz,), name="z")
    return keras.Model(z, layers.side_by_side(separate_towers(z, spec, "red", _towers(spec))), name="generator")


def dcgan_conditional(spec: NetworkSpec) -> Network:
    """Like `dcgan_starshaped`, with a single green tower that is told which factor to generate.

    All factors share its convolutions. Each has its own batch normalisation, whose gains and biases are what the factor
    changes (Dumoulin et al. 2017, eq. 5; in a GAN: Miyato & Koyama 2018, sec. 5).
    """
    z = keras.Input((spec.nz,), name="z")
    return keras.Model(z, layers.side_by_side(separate_towers(z, spec, "red", _towers(spec), shared="green")),
                       name="generator")


def dcgan_independent(spec: NetworkSpec) -> Network:
    """z (batch, nz) -> one image per factor (batch, height, width, factors * channels), each from its own network.

    All of them read the same z, as in the paper's code, but nothing makes their red channels agree.
    """
    z = keras.Input((spec.nz,), name="z")
    towers = {f"factor{k}": layers.noise_maps(z, spec, k, spec.num_critics) for k in range(spec.num_critics)}
    images = [single_tower(layers.without_noise(z, spec), spec, name, noise) for name, noise in towers.items()]
    return keras.Model(z, layers.side_by_side(images), name="generator")


def dcgan_separable_independent(spec: NetworkSpec) -> Network:
    """Like `dcgan_independent`, with a separable network for each factor."""
    z = keras.Input((spec.nz,), name="z")
    images = [image for tower, k in _towers(spec).items()
              for image in separate_towers(z, spec, f"red{k}", {tower: k})]
    return keras.Model(z, layers.side_by_side(images), name="generator")


def _towers(spec):
    """{prefix of the names of a green tower's layers: its position}."""
    return {f"green{k}": k for k in range(spec.num_critics)}


class Architecture(NamedTuple):
    """A generator, and the images that its critics see.

    generator    (spec) -> Keras model
    per_factor   each factor has its own critic and contributes equally many images to a batch
    composites   the real images have the greens of all factors, borrowed from other cells (dataloader.Composites)
    own_reds     the generator produces a red channel for each factor instead of a single one
    has_codes    the critic has a layer "trunk", on which a recognizer of codes can be built
    conditional  the critics are one network that is told the factor
    """

    generator: Callable[[NetworkSpec], Network]
    per_factor: bool = False
    composites: bool = False
    own_reds: bool = False
    has_codes: bool = False
    conditional: bool = False

    @property
    def separates_red(self) -> bool:
        """Whether red has its own part of z and of every layer."""
        return self.generator in (dcgan_starshaped, dcgan_conditional, dcgan_separable_independent)


ARCHITECTURES = {
    "DCGAN": Architecture(dcgan),
    "DCGAN-separable": Architecture(dcgan_starshaped),
    "DCGAN-starshaped": Architecture(dcgan_starshaped, per_factor=True),
    "DCGAN-conditional": Architecture(dcgan_conditional, per_factor=True, conditional=True),
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
    if ARCHITECTURES[spec.architecture].conditional:
        return projection_critics(spec)
    return [critic(spec, f"critic{k}") for k in range(spec.num_critics)]


def critic(spec: NetworkSpec, name: str) -> Network:
    """images (batch, height, width, critic_channels) -> scores (batch,): any real number, higher for more real images.

    Radford et al. (2016): 4x4 convolutions with stride 2 that double the features, then one that covers the whole map.
    """
    image, features = _critic_features(spec)
    if ARCHITECTURES[spec.architecture].has_codes:
        trunk = _dense(keras.layers.Flatten(name="flat")(features), 8 * spec.ndf, spec, "trunk", spec.critic_batch_norm)
        return keras.Model(image, _score(keras.layers.Dense(
            1, use_bias=False, kernel_initializer=layers.INITIALIZERS[spec.init](), dtype=layers.full_precision(),
            name="score_projection")(trunk)), name=name)
    return keras.Model(image, _score(layers.to_score(spec, "score")(features)), name=name)


def projection_critics(spec: NetworkSpec) -> list[Network]:
    """A critic for each factor. They share all layers but the last, which is the sum of a shared one and of their own.

    Each scores images (batch, height, width, critic_channels) as `critic` does. Miyato & Koyama (2018), eq. 3: one
    critic that is told the class y of an image. Its score is v_y . phi + psi . phi, where phi is the image's smallest
    map, v_y belongs to the class, and psi to all.
    """
    image, features = _critic_features(spec)
    shared = layers.to_score(spec, "score")(features)
    return [keras.Model(image, _score(keras.layers.Add(dtype=layers.full_precision(), name=f"factor{k}_sum")(
        [shared, layers.to_score(spec, f"factor{k}")(features)])), name=f"critic{k}") for k in range(spec.num_critics)]


def own_weights(networks: Iterable[Network]) -> list[list[Variable]]:
    """The weights of each of the networks, without those that an earlier one has, too."""
    seen: set[int] = set()
    own = []
    for network in networks:
        own.append([variable for variable in network.weights if id(variable) not in seen])
        seen |= {id(variable) for variable in network.weights}
    return own


def build_recognizer(spec: NetworkSpec, critic: Network) -> Network:
    """Build Q: images (batch, height, width, channels) -> answers (batch, total size of the codes); see codes.py.

    Chen et al. (2016), sec. 6 and table 1: two dense layers on the trunk, which Q shares with the critic. The answers
    are logits for a categorical code, and the mean of a normal distribution for a continuous one.
    """
    hidden = _dense(critic.get_layer("trunk").output, RECOGNIZER_WIDTH, spec, "recognizer", True)
    answers = keras.layers.Dense(
        sum(code.size for code in spec.codes), kernel_initializer=layers.INITIALIZERS[spec.init](),
        dtype=layers.full_precision(), name="answers")
    return keras.Model(critic.input, answers(hidden), name="recognizer")


def _critic_features(spec):
    """(images, the smallest map of a critic)."""
    image = features = keras.Input((spec.height, spec.width, spec.critic_channels), name="image")
    for level in range(spec.halvings[2]):
        features = layers.downsampling(spec, f"{level}", spec.ndf << level)(features)
        if spec.critic_batch_norm and level:
            features = layers.normalized(features, f"{level}")
        features = _leaky(features, f"{level}_rectified")
    return image, features


def _leaky(features, name):
    return keras.layers.LeakyReLU(negative_slope=0.2, name=name)(features)


def _score(features):
    """The only number of each image."""
    return keras.layers.Reshape((), dtype=layers.full_precision(), name="score")(features)


def _dense(features, width, spec, name, normalize):
    """A dense layer; `name` is the name of its rectified output."""
    features = layers.dense(spec, name, width)(features)
    return _leaky(layers.normalized(features, name) if normalize else features, name)


# ---------------------------------------------------------------------------------------------- towers

def _widest(spec):
    """Number of features of the generator's smallest map."""
    return spec.ngf << (spec.halvings[2] - 1)


def single_tower(z: Tensor, spec: NetworkSpec, name: str, noise: Sequence[Tensor]) -> Tensor:
    """An image (batch, height, width, critic_channels) from z, or from features (batch, any) computed from it.

    name    prefix of the names of the layers
    noise   layers.noise_maps
    """
    height, width, n = spec.halvings
    flat = layers.dense(spec, f"{name}_0", height * width * _widest(spec))(z)
    features = layers.activated(layers.to_map(flat, spec, f"{name}_0"), f"{name}_0")
    for level in range(1, n):
        features = layers.with_noise(features, noise, level - 1)
        features = layers.upsampling(spec, f"{name}_{level}", _widest(spec) >> level)(features)
        features = layers.activated(features, f"{name}_{level}")
    return layers.tanh(layers.to_image(spec, name, spec.critic_channels)(layers.with_noise(features, noise, -1)), name)


def separate_towers(z: Tensor, spec: NetworkSpec, red_tower: str, towers: Mapping[str, int],
                    shared: str = "") -> list[Tensor]:
    """[red, greens of each of `towers`], images (batch, height, width, …) from z; red from its first red_nz numbers.

    red_tower   prefix of the names of its layers
    towers      {prefix of the names of the layers: position among spec.num_critics towers, for their noise}
    shared      prefix of the names of layers with which all green towers convolve, instead of each with its own
    """
    height, width, n = spec.halvings
    noise = {tower: layers.noise_maps(z, spec, k, spec.num_critics) for tower, k in towers.items()}
    z = layers.without_noise(z, spec)
    layer = functools.cache(lambda kind, name, size: kind(spec, name, size))       # one for each name

    def activated(kind, features, tower, level, size):
        name = shared if shared and tower != red_tower else tower
        features = layer(kind, f"{name}_{level}", size)(features)
        return layers.activated(features if level else layers.to_map(features, spec, f"{tower}_0"), f"{tower}_{level}")

    own = [spec.red_part(_widest(spec) >> level) for level in range(n)]
    red_widths = [spec.red_ngf << n - 1 - level for level in range(n)] if spec.red_ngf else own
    green_widths = [(_widest(spec) >> level) - own[level] for level in range(n)]
    red = activated(layers.dense, layers.cut(z, 0, spec.red_nz), red_tower, 0, height * width * red_widths[0])
    greens = [activated(layers.dense, z, tower, 0, height * width * green_widths[0]) for tower in towers]
    for level in range(1, n):
        both = _joined(red, greens, noise, level - 1)
        red = activated(layers.upsampling, red, red_tower, level, red_widths[level])
        greens = [activated(layers.upsampling, pair, tower, level, green_widths[level])
                  for tower, pair in zip(towers, both, strict=True)]
    both = _joined(red, greens, noise, -1)
    return [layers.tanh(layers.to_image(spec, red_tower, 1)(red), red_tower),
            *(layers.tanh(layer(layers.to_image, shared or tower, spec.critic_channels - 1)(pair), tower)
              for tower, pair in zip(towers, both, strict=True))]


def _joined(red, greens, noise, level):
    """What each green tower's next convolution reads: features of red, its own, and its noise."""
    return [layers.with_noise(keras.layers.Concatenate()([red, green]), maps, level)
            for green, maps in zip(greens, noise.values(), strict=True)]
