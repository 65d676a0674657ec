"""Periodic held-out metrics of a training: a cheap distance to held-out images, and whether critics memorise images.

Both are functions of the weights alone: measuring changes nothing in the training.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..io import folders
from ..system.errors import InputError
from ..system.lazy import Network, keras
from ..system.pixels import to_signed
from ..system.progress import Scores, distance_text
from . import dataloader
from .models import ARCHITECTURES, Architecture

if TYPE_CHECKING:               # importing it chooses the backend, which a run does later
    from .engine import Engine

MAX_IMAGES, MIN_IMAGES = 512, 8     # images of a group: the most that are used, and the fewest that suffice
SCORED = 128                        # of them are scored by critics, which take longer than the features
TOGETHER = 128                      # images in one pass of a network
STEER_EVERY = 100                   # iterations after which the strength of an augmentation is changed
RAMP = 50_000                       # images of a critic until it has changed by 1
LEAST = 0.1                         # of the features' median standard deviation: the smallest that one is divided by
CLEARLY_WORSE = 4               # times the best distance, or that of real images: more than random fluctuation
MEMORISED = 0.5                 # of the way from training images to generated ones


class Monitor:
    """Measures an Engine against held-out images.

    images, held_out   dataloader.Images of the training, and held-out ones like them
    best               (lowest distance so far, its iteration), or None
    """

    def __init__(self, engine: "Engine", images: dataloader.Images, held_out: dataloader.Images,
                 best: tuple[float, int] | None = None) -> None:
        self.engine, self.best, self.suspected = engine, best, False
        self.warned: set[str] = set()
        architecture, rng = ARCHITECTURES[engine.spec.architecture], np.random.default_rng(0)
        self.training, self.held_out = (images_of_critics(some, architecture, rng) for some in (images, held_out))
        self.number = max(map(len, self.held_out))
        self.network = random_features(*self.training[0].shape[1:])
        training = np.concatenate([self.features(group) for group in self.training])
        self.mean, self.deviation = np.mean(training, axis=0), deviations(training)
        self.held_out_features = [self.features(group) for group in self.held_out]
        self.floor = abs(self.distance(self.training))

    def measure(self) -> Scores:
        """The Scores of the engine as it is now."""
        generated = self.engine.generate_pairs(self.number)
        return Scores(self.distance(generated), self.overfitting(generated))

    def distance(self, groups: Sequence[np.ndarray]) -> float:
        """Unbiased kernel distance between groups of images and the held-out ones, averaged over the groups.

        groups   for each critic images (images, height, width, channels) in [-1, 1]

        The kernel is that of Binkowski et al. (2018, eq. 4). The features are those of a small network with random
        weights, which assumes nothing about the images (Naeem et al. 2020 use such an embedding), in units of their
        standard deviation over training images.
        """
        return float(np.mean([kernel_distance(self.standardise(real), self.standardise(self.features(group)))
                              for real, group in zip(self.held_out_features, groups, strict=True)]))

    def overfitting(self, generated: Sequence[np.ndarray]) -> float:
        """(E f(training) - E f(held out)) / (E f(training) - E f(generated)), averaged over the critics f.

        0 if held-out images score as training images do, 1 if as generated ones: Karras et al. (2020, eq. 1).

        generated   for each critic images (images, height, width, channels) in [-1, 1]
        """
        ratios = []
        for critic, *groups in zip(self.engine.critics, self.training, self.held_out, generated, strict=True):
            of_training, of_held_out, of_generated = (_mean_score(critic, group[:SCORED]) for group in groups)
            ratios.append((of_training - of_held_out) / (of_training - of_generated))
        return float(np.mean(ratios))

    def steer(self) -> float:
        """The strength that the engine's augmentation should have next: a step more or less than now, in [0, 1].

        Karras et al. (2020, sec. 3.1) count 500,000 images from none to full strength; RAMP is for shorter trainings.
        """
        settings = self.engine.settings
        assert self.engine.strength is not None
        wrong = self.overfitting(self.engine.generate_pairs(SCORED)) - settings.augment_target
        step = math.copysign(STEER_EVERY * settings.batch_size / RAMP, wrong)
        return min(max(float(self.engine.strength.value) + step, 0.0), 1.0)

    def is_best(self, scores: Scores, iteration: int) -> bool:
        """Whether the distance is lower than all before it; if so, it becomes the best."""
        best = self.best is None or scores.held_out_distance < self.best[0]
        if best:
            self.best = scores.held_out_distance, iteration
        return best

    def warnings(self, scores: Scores) -> list[str]:
        """Warnings, one line each, about problems that the last call did not have. `is_best` must have been called."""
        assert self.best is not None
        best_distance, best_iteration = self.best
        wrong = {}
        if scores.held_out_distance > CLEARLY_WORSE * max(best_distance, self.floor):
            wrong["distance"] = (
                f"warning: the distance to held-out images is {distance_text(scores.held_out_distance)}; it was "
                f"{best_distance:.3g} in iteration {best_iteration}: the training may have collapsed or diverged; that "
                f"generator is kept as the best one")
        # Early critics distinguish nothing and the ratio is random, so a single high value does not count.
        suspected, self.suspected = self.suspected, scores.critic_overfitting > MEMORISED
        if suspected and self.suspected:
            wrong["overfitting"] = (
                f"warning: the critic scores held-out images more like generated ones than like those it was trained "
                f"on ({scores.critic_overfitting:.2f}): it memorises these; more images would help, or --augment "
                f"color,translation,cutout")
        new = [line for problem, line in wrong.items() if problem not in self.warned]
        self.warned = set(wrong)
        return new

    def features(self, images: np.ndarray) -> np.ndarray:
        """Features (images, 112) of the network with random weights, for images in [-1, 1]."""
        starts = range(0, len(images), TOGETHER)
        return np.concatenate([self.network.predict_on_batch(images[start:start + TOGETHER]) for start in starts])

    def standardise(self, features: np.ndarray) -> np.ndarray:
        """Features in units of their standard deviation over the training images, around their mean."""
        return (features - self.mean) / self.deviation


def load_held_out(dataroot: str, factors: Sequence[str], images: dataloader.Images) -> dataloader.Images | None:
    """Read the *_test folders that belong to the training `images`, at most MAX_IMAGES of each factor.

    Returns None, and prints the reason, if there are none or they do not match the training images. Warns if some of
    them are training images.
    """
    try:
        everything = folders.find(dataroot, factors, "test", images.factors)
        found = folders.thinned(everything, MAX_IMAGES)
        held_out = dataloader.decode(found, images.settings, title="reading test images")
        if {*held_out.files} & {*images.files}:
            raise InputError("there is no folder *_test beside *_train")
        few = [name for k, name in enumerate(held_out.factors) if (held_out.labels == k).sum() < MIN_IMAGES]
        if few:
            raise InputError(f"{few[0]} has fewer than {MIN_IMAGES} of them")
        if (held_out.pixels.shape[1:], held_out.factors) != (images.pixels.shape[1:], images.factors):
            raise InputError("they have another size, or other factors, than those of the training")
    except InputError as problem:
        print(f"no scores on held-out images: {problem}")
        return None
    dataloader.warn_of_copies(images, held_out, all_read=found == everything)
    return held_out


def kernel_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (Binkowski et al. 2018, eq. 4).

    real, fake   features (samples, d)

    The expectation is 0 for samples of the same distribution, however many there are, so the value can be negative.
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    def among(x):
        values = kernel(x, x)
        return (values.sum() - np.trace(values)) / (len(x) * (len(x) - 1))

    return float(among(real) + among(fake) - 2 * kernel(real, fake).mean())


def deviations(features: np.ndarray) -> np.ndarray:
    """Standard deviation of each feature over its rows, with a lower bound.

    A feature that hardly varies would otherwise dominate a distance through a few odd images.
    """
    found = np.std(features, axis=0)
    return np.maximum(found, LEAST * np.median(found)) + 1e-6


def random_features(height: int, width: int, channels: int) -> Network:
    """images (batch, height, width, channels) in [-1, 1] -> features (batch, 112): means of the maps of three levels.

    NumPy generates the weights (He et al. 2015), so they are the same in every training and on every backend.
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


def images_of_critics(images: dataloader.Images, architecture: Architecture,
                      rng: np.random.Generator) -> list[np.ndarray]:
    """For each critic up to MAX_IMAGES images as it sees them, in [-1, 1] and mirrored at random as in training.

    Composites are made from up to MAX_IMAGES images of each factor: searching all images for neighbours would be slow.
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
    return keras.ops.convert_to_numpy(critic(images, training=False)).mean()
