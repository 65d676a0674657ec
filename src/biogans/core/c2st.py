"""The classifier two-sample test: how well a freshly trained critic distinguishes samples from held-out images.

As in Osokin et al. (ICCV 2017), sec. 5.1, and their code, after Lopez-Paz & Oquab (2017): the held-out images are
halved at random; a critic is trained on one half against the samples, and the score is minus its loss on the other
half. For WGAN-GP that is E f(x) - E f(sample) - lambda E (|grad f| - 1)^2: 0 where the critic found no lasting
difference, growing with the distance, and slightly negative where the critic only memorised the training half.
"""

import dataclasses
import functools
import zlib
from typing import NamedTuple

import numpy as np

from ..system.errors import InputError
from ..system.lazy import keras
from ..system.pixels import to_signed
from ..system.workers import Team
from . import dataloader, models
from .gan import ALGORITHMS, optimizer
from .trained import TrainedGenerator

SPLITS = 10
MIN_IMAGES = 12                         # held-out images of a factor: half of them must have five neighbours
EVERYTHING = "all images"               # in place of a factor, of a generator that does not separate them


class Split(NamedTuple):
    """Split `number` of the held-out images, of those that a `seed` gives: the same for every model."""

    seed: int
    number: int

    def rng(self, *purpose):
        """A random generator that is a function of the split and of the integers `purpose` alone."""
        return np.random.default_rng((self.seed, self.number, *purpose))


@dataclasses.dataclass(frozen=True)
class Critic:
    """How the critic is built and trained; two scores are comparable only if they agree in all of it.

    algorithm    a name in gan.PAPER; its defaults give the optimizer
    iterations   updates of the critic
    ndf          its features (models.critic)
    lr           learning rate; None for that of the algorithm's paper
    init         a name in INITIALIZERS
    pool         number of samples for its training; batches are drawn from them at random
    """

    algorithm: str = "WGAN-GP"
    iterations: int = 5000
    batch_size: int = 64
    ndf: int = 64
    lr: float | None = None
    init: str = "paper"
    pool: int = 8192
    wgangp_lambda: float = 10.0
    wgan_clip_value: float = 0.01


# A critic of a sixteenth of the arithmetic that learns faster from smaller batches, as the fast preset of train.py.
FAST = {"iterations": 150, "batch_size": 32, "ndf": 16, "init": "he", "pool": 1024}
FAST_RATES = {"GAN": 1e-3, "WGAN": 5e-4, "WGAN-GP": 1e-3}
FAST_SPLITS = 3


def fast(algorithm="WGAN-GP"):
    """The Critic of the fast mode: it ranks models as the full one does, but its scores are in other units."""
    return Critic(algorithm, lr=FAST_RATES[algorithm], **FAST)


@dataclasses.dataclass(frozen=True)
class Generated:
    """Samples of a trained generator, of each factor that it separates."""

    generator: TrainedGenerator

    @property
    def factors(self):
        return self.generator.spec.separate_factors or (EVERYTHING,)

    def samples(self, training, held_out, split):
        """{factor: (`training`, `held_out`) many samples, uint8}; each cell is seen with all its factors."""
        cells = self.generator.cells(training + held_out, split.rng())
        pairs = {name: cells[..., channels]
                 for name, channels in zip(self.factors, self.generator.spec.factor_channels)}
        return {name: (pair[:training], pair[training:]) for name, pair in pairs.items()}


@dataclasses.dataclass(frozen=True)
class Real:
    """Training images in place of samples: the score of a perfect generator.

    images     dataloader.Images
    factors    those to score: factors of the images, or EVERYTHING
    """

    images: dataloader.Images
    factors: tuple

    def samples(self, training, held_out, split):
        """{factor: (half of its images, the other half), each with their mirror images}."""
        return {name: split_images(of_factor(self.images, name), split, name) for name in self.factors}


def load_real(dataroot, split, like=None, factors=()):
    """Images of `-d dataroot -p factors`, of the folders *_<split> ("train" or "test").

    like    settings.Metadata of a training, whose channels are read
    Raises InputError if the images don't have the shape of the training's.
    """
    channels = like.images["channels"] if like else ()
    real = dataloader.load(dataroot, factors, split, channels)
    there = real.pixels.shape[1:]
    here = (like.network.height, like.network.width, like.network.channels) if like else there
    if there != here:
        raise InputError(f"{dataroot}: these images are {there[0]}x{there[1]} with {there[2]} channel(s), those of the "
                         f"training were {here[0]}x{here[1]} with {here[2]}: give images like them")
    return real


def check_numbers(images):
    """Raise InputError if a factor has too few images to be halved."""
    for k, name in enumerate(images.factors):
        count = int((images.labels == k).sum())
        if count < MIN_IMAGES:
            raise InputError(f"{name} has {count} held-out images: at least {MIN_IMAGES} are needed for a score")


def of_factor(images, name):
    """Pixels of the images of a factor, or of EVERYTHING."""
    return images.pixels if name == EVERYTHING else images.pixels[images.labels == images.factors.index(name)]


def random_halves(count, split, name=""):
    """(training half, held-out half) of range(count): a function of the arguments alone, so all models share them.

    `name` is that of the factor: its split does not depend on which others are there. The held-out half has
    count // 2, as in the original code.
    """
    order = split.rng(zlib.crc32(name.encode())).permutation(count)
    return np.sort(order[count // 2:]), np.sort(order[:count // 2])


def mirrored(images):
    """The four mirror images of each: (4 * images, height, width, channels)."""
    return np.concatenate([images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]])


def split_images(pixels, split, name):
    """(training half, held-out half) with all mirror images, as the random mirroring of training shows them."""
    training, held_out = random_halves(len(pixels), split, name)
    return mirrored(pixels[training]), mirrored(pixels[held_out])


def two_sample(subject, held_out, critic, split):
    """Yield (factor, score, held-out samples) of each factor of Generated or Real against held-out images."""
    largest = max(len(of_factor(held_out, name)) for name in subject.factors)
    samples = subject.samples(critic.pool, 2 * largest, split)
    for name in subject.factors:
        real, real_held_out = split_images(of_factor(held_out, name), split, name)
        yield (name, score(samples[name][0], real, samples[name][1], real_held_out, critic, split.number),
               samples[name][1])


def score(samples, real, held_out_samples, held_out_real, critic=Critic(), seed=0):
    """Two-sample score of `samples`: about 0 if they look like `real` images, larger the more they differ.

    samples, real                      uint8 (images, height, width, channels), for the training of the critic;
                                       batches are drawn from them at random
    held_out_samples, held_out_real    the same, unseen in training, for the score
    critic                             a Critic
    seed                               of the batches; the critic's first weights are always the same

    GAN's score is log 4 minus its loss: the original code leaves that constant out, with which 0 is chance.
    Raises ValueError if a set is empty, or if their shapes differ.
    """
    sets = samples, real, held_out_samples, held_out_real
    if min(map(len, sets)) == 0 or len({images.shape[1:] for images in sets}) > 1:
        raise ValueError(f"four sets of images of one shape are needed, not {[images.shape for images in sets]}")
    rng = np.random.default_rng(seed)
    trainer = _trainer(critic, *real.shape[1:])
    trainer.restart()
    for _ in range(critic.iterations):
        chosen = (images[rng.integers(len(images), size=critic.batch_size)] for images in (real, samples))
        trainer.update(*chosen, _alpha(rng, critic.batch_size))
    order = rng.permutation(len(held_out_real))
    partners = rng.permutation(np.resize(rng.permutation(len(held_out_samples)), len(order)))
    losses = [(trainer.loss(held_out_real[order[k:k + critic.batch_size]],
                            held_out_samples[partners[k:k + critic.batch_size]],
                            _alpha(rng, len(order[k:k + critic.batch_size]))), len(order[k:k + critic.batch_size]))
              for k in range(0, len(order), critic.batch_size)]
    mean = sum(float(loss) * count for loss, count in losses) / len(order)
    return (np.log(4) if critic.algorithm == "GAN" else 0.0) - mean


def _alpha(rng, count):
    return rng.random((count, 1, 1, 1), np.float32)


@functools.lru_cache(maxsize=2)
def _trainer(critic, height, width, channels):
    return _Trainer(critic, height, width, channels)


class _Trainer:
    """One network, trained again and again from the same first weights, so that it is compiled only once.

    update(real, samples, alpha)    one update on uint8 batches
    loss(real, samples, alpha)      the loss on a batch, with running averages where it normalises over batches
    """

    def __init__(self, settings, height, width, channels):
        defaults = ALGORITHMS[settings.algorithm].defaults
        keras.utils.set_random_seed(0)
        spec = models.NetworkSpec("DCGAN", height, width, channels, (), ndf=settings.ndf, init=settings.init,
                                  critic_batch_norm=defaults.critic_batch_norm)
        self.network = models.critic(spec, "critic")
        self.optimizer = optimizer(defaults.optimizer, settings.lr or defaults.lr_d, defaults.beta_1, defaults.beta_2)
        self.optimizer.build(self.network.trainable_variables)
        self.variables = [*self.network.weights, *self.optimizer.variables]
        self.first = [variable.numpy() for variable in self.variables]
        self.update, self.loss = compile_updates(self.network, self.optimizer, ALGORITHMS[settings.algorithm](settings))

    def restart(self):
        for variable, first in zip(self.variables, self.first):
            variable.assign(first)


def compile_updates(network, optimizer, algorithm):
    """(update, loss) of a critic as compiled functions of uint8 batches and alpha."""
    from .engine import backend, input_gradient

    devices, scoring = backend.Devices(1, "float32", Team()), backend.twice_differentiable(network)
    weights, state = network.trainable_variables, [*network.weights, *optimizer.variables]

    def critic_loss(critic, real, samples, alpha):
        real, samples = (to_signed(keras.ops.cast(images, "float32")) for images in (real, samples))
        return algorithm.critic_loss(critic, real, samples, alpha, input_gradient)

    def update(real, samples, alpha):
        loss, _, gradients = devices.gradients(lambda: (critic_loss(scoring, real, samples, alpha), ()), weights)
        optimizer.apply(gradients, weights)
        algorithm.constrain(weights)
        return loss

    def loss(real, samples, alpha):
        return critic_loss(lambda images, training: network(images, training=False), real, samples, alpha)

    return devices.compile_function(update, state), devices.compile_function(loss, state)
