"""How a training goes, measured now and then on held-out images: a cheap distance, and whether critics learn by heart.

Both are functions of the weights alone: to measure changes nothing in the training.
"""

import dataclasses

import numpy as np

from ..system.errors import InputError
from ..system.lazy import keras
from ..system.pixels import to_signed
from ..system.progress import Scores
from . import dataloader
from .models import ARCHITECTURES

MAX_IMAGES, MIN_IMAGES = 128, 8           # images of a group: what is measured with, and less than which says nothing
CLEARLY_WORSE = 4               # times the best distance, or that of real images: more than it moves by itself
MEMORISED = 0.5                  # of the way from training images to generated ones


class Monitor:
    """Measures an Engine against held-out images.

    images, held_out   dataloader.Images of the training, and others like them
    best               (lowest distance so far, its iteration), or None
    """

    def __init__(self, engine, images, held_out, best=None):
        self.engine, self.best, self.warned, self.suspected = engine, best, set(), False
        architecture, rng = ARCHITECTURES[engine.spec.architecture], np.random.default_rng(0)
        self.training, self.held_out = (_groups(some, architecture, rng) for some in (images, held_out))
        self.number = max(map(len, self.held_out))
        self.network = random_features(*self.training[0].shape[1:])
        real = [self.features(group) for group in self.training]
        self.mean, self.deviation = np.mean(np.concatenate(real), axis=0), np.std(np.concatenate(real), axis=0) + 1e-6
        self.real = [self.features(group) for group in self.held_out]
        self.floor = abs(self.distance(self.training))

    def measure(self):
        """The Scores of the engine as it is now."""
        drawn = self.engine.generate_pairs(self.number)
        return Scores(self.distance(drawn), self.overfitting(drawn))

    def distance(self, groups):
        """Unbiased kernel distance of groups of images to the held-out ones, mean over the groups.

        The kernel is that of Binkowski et al. (2018, eq. 4); the features are those of a small network of random
        weights, which don't presume what is in an image (Naeem et al. 2020 use such an embedding), in units of their
        standard deviation over training images.
        """
        return float(np.mean([kernel_distance(self.standardise(real), self.standardise(self.features(group)))
                              for real, group in zip(self.real, groups)]))

    def overfitting(self, drawn):
        """(E f(training) - E f(held out)) / (E f(training) - E f(drawn)), mean over critics f.

        Karras et al. (2020, eq. 1).
        """
        ratios = []
        for critic, *groups in zip(self.engine.critics, self.training, self.held_out, drawn):
            training, held_out, generated = (_mean_score(critic, group) for group in groups)
            ratios.append((training - held_out) / (training - generated))
        return float(np.mean(ratios))

    def is_best(self, scores, iteration):
        """Whether no distance so far was lower; if so it is remembered."""
        best = self.best is None or scores.held_out_distance < self.best[0]
        if best:
            self.best = scores.held_out_distance, iteration
        return best

    def warnings(self, scores):
        """Lines that tell of what has gone wrong since the last call."""
        wrong = {}
        if scores.held_out_distance > CLEARLY_WORSE * max(self.best[0], self.floor):
            wrong["distance"] = (
                f"warning: the distance to held-out images is {scores.held_out_distance:.3g}, and was "
                f"{self.best[0]:.3g} in iteration {self.best[1]}: the training may have collapsed or diverged; that "
                f"generator is kept as the best one")
        # At a training's start the critic tells nothing apart, and the ratio is one of chance: once is not enough.
        suspected, self.suspected = self.suspected, scores.critic_overfitting > MEMORISED
        if suspected and self.suspected:
            wrong["overfitting"] = (
                f"warning: the critic scores held-out images more like generated ones than like those it was trained "
                f"on ({scores.critic_overfitting:.2f}): it learns them by heart; more images would help, or --augment "
                f"color,translation,cutout")
        new = [line for what, line in wrong.items() if what not in self.warned]
        self.warned = set(wrong)
        return new

    def features(self, images):
        starts = range(0, len(images), MAX_IMAGES)
        return np.concatenate([self.network.predict_on_batch(images[start:start + MAX_IMAGES]) for start in starts])

    def standardise(self, features):
        return (features - self.mean) / self.deviation


def load_held_out(dataroot, factors, images):
    """Images of the *_test folders beside the training `images`; None, with a line that says why, without them."""
    try:
        found = dataloader.thinned(dataloader.find(dataroot, factors, "test"), MAX_IMAGES)
        held_out = dataloader.decode(found, images.channels, title="reading test images")
        if {*held_out.files} & {*images.files}:
            raise InputError("there is no folder *_test beside *_train")
        few = [name for k, name in enumerate(held_out.factors) if (held_out.labels == k).sum() < MIN_IMAGES]
        if few:
            raise InputError(f"{few[0]} has fewer than {MIN_IMAGES} of them")
        if (held_out.pixels.shape[1:], held_out.factors) != (images.pixels.shape[1:], images.factors):
            raise InputError("they are of another size, or other factors, than those of the training")
    except InputError as problem:
        print(f"no scores on held-out images: {problem}")
        return None
    return held_out


def kernel_distance(real, fake):
    """Unbiased squared maximum mean discrepancy of the kernel (x.y / d + 1)^3 (Binkowski et al. 2018, eq. 4).

    Its expectation is 0 for samples of the same distribution, whatever their number, so it can be negative.
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    def among(x):
        values = kernel(x, x)
        return (values.sum() - np.trace(values)) / (len(x) * (len(x) - 1))

    return float(among(real) + among(fake) - 2 * kernel(real, fake).mean())


def random_features(height, width, channels):
    """images (batch, height, width, channels) in [-1, 1] -> features (batch, 112): means over three levels' maps.

    The weights are NumPy's (He et al. 2015), the same in every training and on every backend.
    """
    rng = np.random.default_rng(0)
    image = maps = keras.Input((height, width, channels), name="image")
    means, weights = [], []
    for filters in (16, 32, 64):
        weights.append(rng.standard_normal((4, 4, maps.shape[-1], filters)) * np.sqrt(2 / (16 * maps.shape[-1])))
        maps = keras.layers.Conv2D(filters, 4, strides=2, padding="same", activation="relu", use_bias=False,
                                   dtype="float32")(maps)
        means.append(keras.layers.GlobalAveragePooling2D(dtype="float32")(maps))
    network = keras.Model(image, keras.layers.Concatenate(dtype="float32")(means), name="random_features")
    network.set_weights(weights)
    return network


def _groups(images, architecture, rng):
    """[up to MAX_IMAGES images for each critic as it is shown them, in [-1, 1] and mirrored at random as in training].

    Composites are made of up to MAX_IMAGES images of each factor: to look for neighbours among all would take a while.
    """
    indices = [np.flatnonzero(images.labels == k) for k in range(len(images.factors))]
    if not (architecture.per_factor or architecture.composites):
        indices = [np.arange(len(images.labels))]
    chosen = [np.sort(rng.permutation(group)[:MAX_IMAGES]) for group in indices]
    some = [images.pixels[group] for group in chosen]
    if architecture.composites:
        few = np.concatenate(chosen)
        images = dataclasses.replace(images, pixels=np.concatenate(some), labels=images.labels[few])
        some = [dataloader.Composites(images, min(MAX_IMAGES, len(few)), 0).take(0, 1)[0, 0]]
    groups = []
    for pixels in map(to_signed, some):
        for axis in (1, 2):
            pixels = np.where(rng.random((len(pixels), 1, 1, 1)) < 0.5, np.flip(pixels, axis), pixels)
        groups.append(pixels)
    return groups


def _mean_score(critic, images):
    scores = [keras.ops.convert_to_numpy(critic(images[start:start + MAX_IMAGES], training=False))
              for start in range(0, len(images), MAX_IMAGES)]
    return np.concatenate(scores).mean()
