"""The networks: generators and critics of Osokin et al. (ICCV 2017), as functional Keras models of stock layers.

Channels are last; channel 0 is the growth marker ("red"), the others are polarity factors ("green"); pixels lie in
[-1, 1]. A latent z is a vector of `nz` standard normal numbers, the last of which may be codes (codes.py). Where red
and green are apart, half of every layer's features and of z belong to red.

To add an architecture write a function `(spec) -> generator` and give it a line in ARCHITECTURES.
"""

import contextlib
import dataclasses
from typing import Callable, NamedTuple

from .codes import Code
from ..system.errors import InputError
from ..system.lazy import keras

RECOGNIZER_WIDTH = 128          # of the layer that Q has for itself (Chen et al. 2016, table 1)


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """All that determines the shape of the networks; stored with every weights file, from which they are rebuilt.

    height, width    pixels of an image
    channels         channels of one training image: the growth marker and channels - 1 greens
    factors          names of the polarity factors (of the image folders)
    nz               length of the latent vector
    ngf, ndf         features of the generator's last and of the critic's first hidden layer
    critic_batch_norm   whether critics normalise over the batch (not under WGAN-GP: Gulrajani et al. 2017, sec. 4)
    init             a name in INITIALIZERS
    categorical      InfoGAN: the number of categories of each categorical code
    continuous       InfoGAN: how many continuous codes there are
    """

    architecture: str
    height: int
    width: int
    channels: int
    factors: tuple
    nz: int = 100
    ngf: int = 64
    ndf: int = 64
    critic_batch_norm: bool = False
    init: str = "paper"
    categorical: tuple = ()
    continuous: int = 0

    @property
    def codes(self):
        """The Codes, which are the end of z: c0, c1, … categorical, then u0, u1, … continuous."""
        names = [f"c{k}" for k in range(len(self.categorical))] + [f"u{k}" for k in range(self.continuous)]
        sizes = (*self.categorical, *[1] * self.continuous)
        starts = [self.nz - sum(sizes[k:]) for k in range(len(sizes))]
        return tuple(map(Code, names, starts, sizes))

    @property
    def num_critics(self):
        """How many critics there are: one for each factor, or one for all that is drawn."""
        return len(self.factors) if ARCHITECTURES[self.architecture].per_factor else 1

    @property
    def separate_factors(self):
        """Names of the factors that the generator draws apart; none if its green is that of whatever factor."""
        known = ARCHITECTURES[self.architecture]
        return self.factors if known.per_factor or known.composites or len(self.factors) == 1 else ()

    @property
    def factor_channels(self):
        """Channels (positions) of the generator's that are one training image: a list for each factor, or for all."""
        count, greens = max(1, len(self.separate_factors)), self.channels - 1
        if ARCHITECTURES[self.architecture].own_reds:
            return [list(range(k * self.channels, (k + 1) * self.channels)) for k in range(count)]
        return [[0, *range(1 + k * greens, 1 + (k + 1) * greens)] for k in range(count)]

    @property
    def cell_channels(self):
        """Channels (positions) of the generator's that are one cell with all it draws: red, that of the first factor
        where each has its own, and every green."""
        return [0, *(channel for view in self.factor_channels for channel in view[1:])]

    @property
    def greens(self):
        """Green channels that the generator draws; the number in the names of the files."""
        return len(self.factor_channels) * (self.channels - 1)

    @property
    def critic_channels(self):
        """Channels of the images that a critic judges, real or drawn."""
        return 1 + self.greens if ARCHITECTURES[self.architecture].composites else self.channels

    @property
    def red_nz(self):
        """How many numbers of z, the first ones, belong to red where it is apart from green."""
        return self.red_part(self.nz)

    def red_part(self, features):
        """How many of some features are red's: half, or a channel's share of a composite's (1/7 in the paper's code)."""
        return features // (self.critic_channels if ARCHITECTURES[self.architecture].composites else 2)

    @property
    def halvings(self):
        """(height, width, n) of the smallest feature map, and how often the image was halved to reach it."""
        height, width, n = self.height, self.width, 0
        while height % 2 == 0 and width % 2 == 0 and height > 4 and width > 4:
            height, width, n = height // 2, width // 2, n + 1
        return height, width, n

    @property
    def channel_names(self):
        """Names of the generator's channels: red, then the factors (numbered where one has several channels).

        With own reds the channels of each factor follow one another, its red first.
        """
        greens = self.channels - 1
        names = [[name if greens == 1 else f"{name} {k + 1}" for k in range(greens)]
                 for name in self.separate_factors or ("green",)]
        if ARCHITECTURES[self.architecture].own_reds and len(names) > 1:
            return tuple(name for factor, own in zip(self.separate_factors, names) for name in (f"red {factor}", *own))
        return ("red", *(name for own in names for name in own))

    def check(self):
        """Raise InputError if no network of this shape can be built."""
        height, width, n = self.halvings
        if n < 2:
            raise InputError(f"images of {self.height}x{self.width} pixels can't be halved twice: crop or pad both "
                             f"sides to multiples of 4, of at least 12 pixels")
        if height * width > 1024:
            raise InputError(f"images of {self.height}x{self.width} pixels can be halved only to {height}x{width}: "
                             f"crop or pad both sides to multiples of {2 ** (n + 2)}")
        known = ARCHITECTURES[self.architecture]
        apart = known.generator in (dcgan_starshaped, dcgan_separable_independent)
        if self.channels < 2 and (apart or known.composites or known.per_factor):
            raise InputError(f"{self.architecture} needs two channels (red and green) and these images have one: use "
                             f"-m DCGAN")
        least = self.critic_channels if known.composites else 2
        if apart and min(self.nz, self.ngf) < least:
            raise InputError(f"{self.architecture} gives red a part of z and of the filters: --nz and --ngf must be at "
                             f"least {least}")
        if self.codes and not known.has_codes:
            raise InputError(f"{self.architecture} has no codes: leave out --categorical and --continuous, or use "
                             f"-m InfoGAN")
        if self.codes and self.codes[0].start < 1:
            raise InputError(f"the codes take {self.nz - self.codes[0].start} numbers of z and --nz is {self.nz}: make "
                             f"it larger, so that noise is left")


def dcgan(spec):
    """z (batch, nz) -> images (batch, height, width, spec.critic_channels), every layer shared by all channels.

    Radford et al. (2016): a dense layer to the smallest feature map, then transposed convolutions 4x4 with stride 2.
    """
    z = keras.Input((spec.nz,), name="z")
    return keras.Model(z, single_tower(z, spec, "all"), name="generator")


def infogan(spec):
    """z (batch, nz), the end of which are codes -> images (batch, height, width, channels).

    Chen et al. (2016), table 1: as DCGAN, with a dense layer before the smallest map, where codes and noise meet.
    """
    z = keras.Input((spec.nz,), name="z")
    hidden = keras.layers.Dense(8 * spec.ngf, use_bias=False, kernel_initializer=INITIALIZERS[spec.init](),
                                name="hidden_projection")(z)
    return keras.Model(z, single_tower(_activated(hidden, spec, "hidden"), spec, "all"), name="generator")


def dcgan_starshaped(spec):
    """z (batch, nz) -> one cell with all factors (batch, height, width, 1 + spec.greens).

    Osokin et al. (2017), sec. 3.2 and fig. 3: a red tower that reads red features only, and a tower for each critic,
    every layer of which reads the red features and its own green ones. So all factors are drawn in the same cell,
    although no image shows two of them. With one tower it is the separable generator (sec. 3.1).
    """
    z = keras.Input((spec.nz,), name="z")
    channels = separate_towers(z, _red_half(z, spec), spec, "red", [f"green{k}" for k in range(spec.num_critics)])
    return keras.Model(z, _side_by_side(channels), name="generator")


def dcgan_independent(spec):
    """z (batch, nz) -> an image of each factor (batch, height, width, towers * channels), from a network of its own.

    All read the same z, as in the paper's code, yet nothing makes one image's red that of another's.
    """
    z = keras.Input((spec.nz,), name="z")
    return keras.Model(z, _side_by_side([single_tower(z, spec, f"factor{k}") for k in range(spec.num_critics)]), name="generator")


def dcgan_separable_independent(spec):
    """The same as `dcgan_independent` of separable generators."""
    z = keras.Input((spec.nz,), name="z")
    z_red = _red_half(z, spec)
    channels = [image for k in range(spec.num_critics) for image in separate_towers(z, z_red, spec, f"red{k}", [f"green{k}"])]
    return keras.Model(z, _side_by_side(channels), name="generator")


class Architecture(NamedTuple):
    """How an architecture draws, and what it is shown.

    generator    spec -> Keras model
    per_factor   it is shown as many images of each factor, and each factor has a critic of its own
    composites   it is shown cells with the greens of all factors, borrowed from others (dataloader.Composites)
    own_reds     it draws a red channel for each factor, not one for all
    has_codes    its critic has a layer "trunk", on which a recognizer of codes can stand
    """

    generator: Callable
    per_factor: bool = False
    composites: bool = False
    own_reds: bool = False
    has_codes: bool = False


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


def build_generator(spec):
    """The generator of `spec`: z (batch, nz) -> images (batch, height, width, len(spec.channel_names)) in [-1, 1]."""
    return ARCHITECTURES[spec.architecture].generator(spec)


def has_red_tower(generator):
    """Whether red has layers of its own that read nothing of green, as in separable and star-shaped networks."""
    return any(layer.name.startswith("red") for layer in generator.layers)


def restricted_to(generator, channels):
    """The same generator, of the same weights, drawing only these `channels` (positions, ascending) of its image.

    Towers that none of them needs are not computed.
    """
    whole = [layer.input for layer in generator.layers if layer.name == "image"] or [[generator.output]]
    parts, start = [], 0
    for image in whole[0]:
        wanted = [channel - start for channel in channels if start <= channel < start + image.shape[-1]]
        parts += [image] if len(wanted) == image.shape[-1] else [image[..., k:k + 1] for k in wanted]
        start += image.shape[-1]
    return keras.Model(generator.input, _side_by_side(parts) if len(parts) > 1 else parts[0], name="generator")


def build_critics(spec):
    """A list of `spec.num_critics` critics."""
    names = [f"critic{k}" for k in range(spec.num_critics)]
    return [critic(spec, name) for name in names]


def critic(spec, name):
    """images (batch, height, width, critic_channels) -> scores (batch,), any real number, higher for more real.

    Radford et al. (2016): convolutions 4x4 with stride 2, doubling the features, then one that covers the whole map.
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
    """The smallest map -> "trunk", a dense layer that the critic shares with the recognizer -> the score."""
    trunk = _dense(keras.layers.Flatten(name="flat")(features), 8 * spec.ndf, spec, "trunk", spec.critic_batch_norm)
    score = keras.layers.Dense(1, use_bias=False, kernel_initializer=INITIALIZERS[spec.init](),
                               dtype=_full_precision(), name="score_projection")(trunk)
    return keras.layers.Reshape((), dtype=_full_precision(), name="score")(score)


def build_recognizer(spec, critic):
    """Q: images (batch, height, width, channels) -> answers (batch, numbers of all codes), as `codes.py` reads them.

    Chen et al. (2016), sec. 6 and table 1: a head of two dense layers on the critic's trunk, which they share. For a
    categorical code its answers are logits, for a continuous one the mean of a normal distribution.
    """
    hidden = _dense(critic.get_layer("trunk").output, RECOGNIZER_WIDTH, spec, "recognizer", True)
    answers = keras.layers.Dense(sum(code.size for code in spec.codes), kernel_initializer=INITIALIZERS[spec.init](),
                                 dtype=_full_precision(), name="answers")(hidden)
    return keras.Model(critic.input, answers, name="recognizer")


def _dense(features, width, spec, name, normalize):
    """A dense layer whose rectified output is the layer `name`."""
    features = keras.layers.Dense(width, use_bias=False, kernel_initializer=INITIALIZERS[spec.init](),
                                  name=f"{name}_projection")(features)
    if normalize:
        features = _normalized(features, name)
    return keras.layers.LeakyReLU(negative_slope=0.2, name=name)(features)


INITIALIZERS = {
    "paper": lambda: keras.initializers.RandomNormal(0.0, 0.02),
    "he": lambda: keras.initializers.HeNormal(),
}


def _widest(spec):
    """Features of the generator's smallest map."""
    return spec.ngf << (spec.halvings[2] - 1)


def single_tower(z, spec, name):
    """An image (batch, height, width, critic_channels) of z, or of features (batch, any) made of it.

    `name` is what its layers' names begin with.
    """
    features = _activated(_project(z, spec, _widest(spec), name), spec, f"{name}_0")
    for level in range(1, spec.halvings[2]):
        features = _activated(_upsample(features, _widest(spec) >> level, spec, f"{name}_{level}"), spec,
                              f"{name}_{level}")
    return _to_image(features, spec.critic_channels, spec, name)


def separate_towers(z, z_red, spec, red_tower, towers):
    """[red, greens of each of `towers`], images of z and its red part; the names are those that layers' begin with."""
    red_width = spec.red_part(_widest(spec))
    red = _activated(_project(z_red, spec, red_width, red_tower), spec, f"{red_tower}_0")
    greens = [_activated(_project(z, spec, _widest(spec) - red_width, tower), spec, f"{tower}_0") for tower in towers]
    for level in range(1, spec.halvings[2]):
        width = _widest(spec) >> level
        red_width = spec.red_part(width)
        both = [keras.layers.Concatenate(name=f"{tower}_{level}_input")([red, green])
                for tower, green in zip(towers, greens)]
        red = _activated(_upsample(red, red_width, spec, f"{red_tower}_{level}"), spec, f"{red_tower}_{level}")
        greens = [_activated(_upsample(pair, width - red_width, spec, f"{tower}_{level}"), spec, f"{tower}_{level}")
                  for tower, pair in zip(towers, both)]
    both = [keras.layers.Concatenate(name=f"{tower}_image_input")([red, green]) for tower, green in zip(towers, greens)]
    return [_to_image(red, 1, spec, red_tower),
            *(_to_image(pair, spec.critic_channels - 1, spec, tower) for tower, pair in zip(towers, both))]


def _red_half(z, spec):
    """The part of z that belongs to red."""
    z_red = keras.layers.Reshape((spec.nz, 1), name="z_column")(z)
    z_red = keras.layers.Cropping1D((0, spec.nz - spec.red_nz), name="z_red_column")(z_red)
    return keras.layers.Reshape((spec.red_nz,), name="z_red")(z_red)


def _side_by_side(images):
    """One image of the channels of all."""
    return keras.layers.Concatenate(dtype=_full_precision(), name="image")(images)


def _project(z, spec, features, tower):
    """z -> the smallest map; a transposed convolution over one pixel is a matrix product."""
    height, width, _ = spec.halvings
    flat = keras.layers.Dense(height * width * features, use_bias=False, kernel_initializer=INITIALIZERS[spec.init](),
                              name=f"{tower}_0_projection")(z)
    return keras.layers.Reshape((height, width, features), name=f"{tower}_0_map")(flat)


def _upsample(features, filters, spec, name):
    return keras.layers.Conv2DTranspose(
        filters, 4, strides=2, padding="same", use_bias=False,
        kernel_initializer=INITIALIZERS[spec.init](), name=f"{name}_convolution")(features)


def _to_image(features, channels, spec, tower):
    """The last convolution. Under "he" it starts at the background, -1 before tanh: most pixels show no cell."""
    bias = spec.init == "he"
    pixels = keras.layers.Conv2DTranspose(channels, 4, strides=2, padding="same", use_bias=bias,
                                          kernel_initializer=INITIALIZERS[spec.init](),
                                          bias_initializer=keras.initializers.Constant(-1.0),
                                          name=f"{tower}_image_convolution")(features)
    return keras.layers.Activation("tanh", dtype=_full_precision(), name=f"{tower}_image")(pixels)


def _activated(features, spec, name):
    return keras.layers.ReLU(name=f"{name}_rectified")(_normalized(features, name))


def _normalized(features, name):
    """Batch normalisation with the constants of the original code."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_normalization",
                                           gamma_initializer=keras.initializers.RandomNormal(1.0, 0.02))(features)


@contextlib.contextmanager
def float32():
    """Networks that are built in it compute in float32, whatever the precision of a training in this process."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def _full_precision():
    """The precision of the weights: scores and pixels keep it also where the other layers compute in bfloat16."""
    return keras.config.dtype_policy().variable_dtype
