"""The classifier two-sample test: how well a newly trained critic distinguishes samples from held-out images.

Osokin et al. (ICCV 2017), sec. 5.1, and their code, after Lopez-Paz & Oquab (2017): the held-out images are split into
random halves; a critic is trained to distinguish one half from the samples, and the score is minus its loss on the
other half. For WGAN-GP that is E f(x) - E f(sample) - lambda E (|grad f| - 1)^2: about 0 if the critic found no
difference that generalises, larger the further apart the images are, and slightly negative if it only memorised the
training half.
"""

import dataclasses
import functools
import itertools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..io.image_sets import ReadSettings
from ..system.errors import InputError
from ..system.lazy import Network, keras
from ..system.pixels import to_signed
from ..system.progress import shared_steps
from ..system.workers import Team
from . import dataloader, models
from .gan import ALGORITHMS, Algorithm, optimizer
from .settings import Metadata
from .trained import TrainedGenerator

SPLITS = 10
MIN_IMAGES = 12                         # held-out images of a factor: half of them must have five neighbours
EVERYTHING = "all images"               # stands for the factor if a generator does not separate the factors


class Split(NamedTuple):
    """Random split `number` of the held-out images under a `seed`, the same for every model."""

    seed: int
    number: int

    def rng(self, *purpose: int) -> np.random.Generator:
        """A random number generator that depends only on the split and on the integers `purpose`."""
        return np.random.default_rng((self.seed, self.number, *purpose))


@dataclasses.dataclass(frozen=True)
class Critic:
    """How the critic is built and trained. Two scores are comparable only if all of these settings agree.

    algorithm         a name in gan.PAPER, whose defaults include the optimizer
    iterations        updates of the critic
    batch_size        real images, and samples, in each update
    ndf               features of the critic's first layer
    lr                learning rate; None for the one in the algorithm's paper
    init              a name in layers.INITIALIZERS
    pool              number of samples for its training; batches are random choices from them
    wgangp_lambda     weight of WGAN-GP's gradient penalty
    wgan_clip_value   WGAN keeps the critic's weights in [-wgan_clip_value, wgan_clip_value]
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


# A critic with a sixteenth of the arithmetic that learns faster, from smaller batches, as in train.py --preset fast.
FAST: dict[str, Any] = {"iterations": 150, "batch_size": 32, "ndf": 16, "init": "he", "pool": 1024}
FAST_RATES = {"GAN": 1e-3, "WGAN": 5e-4, "WGAN-GP": 1e-3}
FAST_SPLITS = 3


def fast(algorithm: str = "WGAN-GP") -> Critic:
    """The Critic of the fast mode. It ranks models as the full one does, but its scores have other units."""
    return Critic(algorithm, lr=FAST_RATES[algorithm], **FAST)


@dataclasses.dataclass(frozen=True)
class Generated:
    """Samples of a trained generator, for each factor that it separates.

    only   some of these factors; all by default
    """

    generator: TrainedGenerator
    only: tuple[str, ...] = ()

    @property
    def factors(self) -> tuple[str, ...]:
        """The factors to score: those that the generator separates, or EVERYTHING."""
        separate = self.generator.spec.separate_factors
        return tuple(name for name in separate if not self.only or name in self.only) or (EVERYTHING,)

    def samples(self, training: int, held_out: int, split: Split) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """{factor: (`training` samples, `held_out` samples)}, uint8 (samples, height, width, channels).

        The factors share their cells: sample k of each factor shows the same cell.
        """
        cells = self.generator.cells(training + held_out, split.rng())
        spec = self.generator.spec
        pairs = {name: cells[..., channels]
                 for name, channels in zip(spec.separate_factors or (EVERYTHING,), spec.factor_channels, strict=True)}
        return {name: (pairs[name][:training], pairs[name][training:]) for name in self.factors}


@dataclasses.dataclass(frozen=True)
class Real:
    """Training images in place of samples: the score of a perfect generator.

    images     dataloader.Images
    factors    the factors to score: some of the images' factors, or EVERYTHING
    """

    images: dataloader.Images
    factors: tuple[str, ...]

    def samples(self, training: int, held_out: int, split: Split) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """{factor: (one half of its images, the other half)}, uint8, with all mirror images, however many there are."""
        return {name: split_images(of_factor(self.images, name), split, name) for name in self.factors}


def load_real(dataroot: str, split: str, like: Metadata | None = None, factors: Sequence[str] = (),
              known: Sequence[str] = ()) -> dataloader.Images:
    """Read the images of `-d dataroot -p factors` from the folders *_<split>, "train" or "test".

    like    settings.Metadata of a training, whose channels and intensities are read
    known   factors that were chosen for another set, by default those of the training: without `factors`, folders of
            masks are left out unless they are among them
    Raises InputError if the images can't be read, or differ in shape from those of the training.
    """
    settings = like.read_settings if like else ReadSettings()
    real = dataloader.load(dataroot, factors, split, settings, known=known or (like.network.factors if like else ()))
    there = real.pixels.shape[1:]
    here = (like.network.height, like.network.width, like.network.channels) if like else there
    if there != here:
        raise InputError(f"{dataroot}: these images are {there[0]}x{there[1]} with {there[2]} channel(s), those of the "
                         f"training were {here[0]}x{here[1]} with {here[2]}: give images like them")
    return real


def check_numbers(images: dataloader.Images) -> None:
    """Raise InputError if a factor has fewer than MIN_IMAGES held-out images."""
    for k, name in enumerate(images.factors):
        count = int((images.labels == k).sum())
        if count < MIN_IMAGES:
            raise InputError(f"{name} has {count} held-out images: at least {MIN_IMAGES} are needed for a score")


def of_factor(images: dataloader.Images, name: str) -> np.ndarray:
    """Pixels, uint8 (images, height, width, channels), of the images of one factor, or of EVERYTHING."""
    return images.pixels if name == EVERYTHING else images.pixels[images.labels == images.factors.index(name)]


def random_halves(count: int, split: Split, name: str = "") -> tuple[np.ndarray, np.ndarray]:
    """(training half, held-out half) of range(count), sorted: a function of the arguments, so all models share them.

    name    of the factor, whose halves do not depend on the other factors present
    The held-out half has count // 2 elements, as in the original code.
    """
    order = split.rng(zlib.crc32(name.encode())).permutation(count)
    return np.sort(order[count // 2:]), np.sort(order[:count // 2])


def mirrored(images: np.ndarray) -> np.ndarray:
    """All four mirror images of each of the images: (4 * images, height, width, channels)."""
    return np.concatenate([images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]])


def split_images(pixels: np.ndarray, split: Split, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(training half, held-out half), each with all mirror images, because training mirrors its images at random."""
    training, held_out = random_halves(len(pixels), split, name)
    return mirrored(pixels[training]), mirrored(pixels[held_out])


def num_steps(subject: Generated | Real, critic: Critic) -> int:
    """Number of steps that `two_sample` takes: one for the samples, and one for each update of each critic."""
    return 1 + len(subject.factors) * critic.iterations


def two_sample(subject: Generated | Real, held_out: dataloader.Images, critic: Critic, split: Split,
               steps: Iterator[Any] | None = None) -> Iterator[tuple[str, float, np.ndarray]]:
    """Yield (factor, score, held-out samples) for each factor of the subject, compared with held-out images.

    steps   the progress that is shown, such as progress.shared_steps; None for no progress
    """
    steps = steps or itertools.repeat(None)
    largest = max(len(of_factor(held_out, name)) for name in subject.factors)
    next(steps)
    samples = subject.samples(critic.pool, 2 * largest, split)
    for name in subject.factors:
        real, real_held_out = split_images(of_factor(held_out, name), split, name)
        yield (name, score_halves((samples[name][0], real), (samples[name][1], real_held_out), critic, split.number,
                                  steps), samples[name][1])


def score_splits(subjects: Mapping[str, Generated | Real], held_out: dataloader.Images, critic: Critic,
                 splits: Sequence[Split]) -> dict[str, list[dict[str, float]]]:
    """{name: [{factor: score} in each of the splits]} of named subjects, with the progress of all of them."""
    number = len(splits) * sum(num_steps(subject, critic) for subject in subjects.values())
    with shared_steps("two-sample test", "step", number) as steps:
        return {name: [{factor: value for factor, value, _ in two_sample(subject, held_out, critic, split, steps)}
                       for split in splits] for name, subject in subjects.items()}


def score(samples: np.ndarray, real: np.ndarray, held_out_samples: np.ndarray, held_out_real: np.ndarray,
          critic: Critic = Critic(), seed: int = 0) -> float:
    """Two-sample score of `samples`: about 0 if they look like `real` images, larger the more they differ.

    samples, real                     uint8 (images, height, width, channels) for the training of the critic; batches
                                      are random choices from them
    held_out_samples, held_out_real   the same for the score, unseen in training
    critic                            how the critic is built and trained
    seed                              of the batches; the critic's initial weights are always the same

    For GAN the score is log 4 minus the loss, so that 0 is chance; the original code omits this constant.
    Raises ValueError if a set is empty or the shapes of the images differ.
    """
    return score_halves((samples, real), (held_out_samples, held_out_real), critic, seed)


def score_halves(training: tuple[np.ndarray, np.ndarray], held_out: tuple[np.ndarray, np.ndarray], critic: Critic,
                 seed: int, steps: Iterator[Any] | None = None) -> float:
    """The `score` of two pairs (samples, real images); of `steps`, one is taken for each update of the critic."""
    (samples, real), (held_out_samples, held_out_real) = training, held_out
    steps = steps or itertools.repeat(None)
    sets = samples, real, held_out_samples, held_out_real
    if min(map(len, sets)) == 0 or len({images.shape[1:] for images in sets}) > 1:
        raise ValueError(f"four sets of images of one shape are needed, not {[images.shape for images in sets]}")
    rng = np.random.default_rng(seed)
    trainer = _trainer(critic, *real.shape[1:])
    trainer.restart()
    for _ in range(critic.iterations):
        next(steps)
        chosen = (images[rng.integers(len(images), size=critic.batch_size)] for images in (real, samples))
        trainer.update(*chosen, _alpha(rng, critic.batch_size))
    order = rng.permutation(len(held_out_real))
    partners = rng.permutation(np.resize(rng.permutation(len(held_out_samples)), len(order)))
    losses = []
    for start in range(0, len(order), critic.batch_size):
        batch = slice(start, start + critic.batch_size)
        count = len(order[batch])
        loss = trainer.loss(held_out_real[order[batch]], held_out_samples[partners[batch]], _alpha(rng, count))
        losses.append(float(loss) * count)
    return (np.log(4) if critic.algorithm == "GAN" else 0.0) - sum(losses) / len(order)


def _alpha(rng, count):
    return rng.random((count, 1, 1, 1), np.float32)


@functools.lru_cache(maxsize=2)
def _trainer(critic, height, width, channels):
    return _Trainer(critic, height, width, channels)


class _Trainer:
    """One network that is compiled once and trained many times, always from the same initial weights.

    update(real, samples, alpha)    one update on uint8 batches
    loss(real, samples, alpha)      loss on a batch; batch normalisation uses its running averages
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
        """Return to the initial weights."""
        for variable, first in zip(self.variables, self.first, strict=True):
            variable.assign(first)


def compile_updates(network: Network, optimizer: Any, algorithm: Algorithm) -> tuple[Callable, Callable]:
    """Compile (update, loss) of a critic, functions of uint8 batches and alpha (see _Trainer)."""
    from .engine import backend, input_gradient

    devices, scoring = backend.Devices(1, "float32", Team()), backend.twice_differentiable(network)
    weights, state = network.trainable_variables, [*network.weights, *optimizer.variables]

    def critic_loss(critic, real, samples, alpha):
        real, samples = (to_signed(keras.ops.cast(images, "float32")) for images in (real, samples))
        return algorithm.critic_loss(critic, real, samples, alpha, input_gradient)

    def update(real, samples, alpha):
        loss, _, gradients = devices.gradients(lambda: (critic_loss(scoring, real, samples, alpha), ()), weights, state)
        optimizer.apply(gradients, weights)
        algorithm.constrain(weights)
        return loss

    def loss(real, samples, alpha):
        return critic_loss(lambda images, training: network(images, training=False), real, samples, alpha)

    return devices.compile_function(update, state), devices.compile_function(loss, state)
