"""What `biogans compare` measures of a training: distance, collapse, variety, copies, and how steady its losses are.

Every number is measured alike for all architectures: from as many images of one factor each, in the proportions of the
held-out images, whether a network has one critic or one for each factor.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from ..core import dataloader, monitor, options as command_line, trained
from ..system.errors import InputError
from ..system.pixels import to_signed
from ..system.progress import read_log
from . import diversity, neighbours
from .rows import check_held_out

MOST = 1000                 # real images of a set, for the distance
LATE = 0.5                  # of a run: its end begins here
POINTS = 100                # at which the losses of several seeds are compared
WINDOW = 0.05               # of a run: the running mean of its losses
FEWEST_ITERATIONS = 20      # in the second half: fewer say nothing about its losses
NEARLY_ONE = 10             # images: a smaller effective number is a collapse …
SHARE = 0.5                 # … unless it is at least this share of the training images' own
WITHOUT_ORIGIN = ("WGAN", "WGAN-GP")    # only differences of scores matter: the generator's loss may drift


class RealImages:
    """The real images of a data folder, and the space in which generated ones are compared with them.

    training, held_out   dataloader.Images
    floor                |distance| of the training images to the held-out ones: the best that can be expected
    """

    def __init__(self, training, held_out, flips=True):
        """Prepare the features; `flips` mirrors the images at random, as in the training."""
        self.training, self.held_out = training, held_out
        self.network = monitor.random_features(*training.pixels.shape[1:])
        rng = np.random.default_rng(0)
        some = [_some(each.pixels) for each in (training, held_out)]
        own, others = (self._features(_mirrored_at_random(images, rng) if flips else images) for images in some)
        self.mean, self.deviation = own.mean(axis=0), monitor.deviations(own)
        self.held_out_features = self._standardise(others)
        self.floor = abs(monitor.kernel_distance(self.held_out_features, self._standardise(own)))

    def distance(self, images):
        """Unbiased kernel distance of uint8 images to the held-out ones (monitor.kernel_distance)."""
        return monitor.kernel_distance(self.held_out_features, self._standardise(self._features(images)))

    def mixture(self, generator, number, seed):
        """uint8 images (number, height, width, channels): a new cell each, of the factors of the held-out images."""
        cells = generator.cells(number, np.random.default_rng(seed))
        channels = generator.spec.factor_channels
        if len(channels) == 1:
            return cells[..., channels[0]]
        labels = np.sort(self.held_out.labels)[np.arange(number) * len(self.held_out.labels) // number]
        return np.stack([cell[..., channels[label]] for cell, label in zip(cells, labels)])

    def _features(self, images):
        step = monitor.TOGETHER
        return np.concatenate([self.network.predict_on_batch(to_signed(images[start:start + step]))
                               for start in range(0, len(images), step)])

    def _standardise(self, features):
        return (features - self.mean) / self.deviation


def _some(images):
    """At most MOST of the images, evenly spaced: adjacent ones may be frames of one video."""
    return images[np.linspace(0, len(images) - 1, min(MOST, len(images))).astype(int)]


def _mirrored_at_random(images, rng):
    for axis in (1, 2):
        images = np.where(rng.random((len(images), 1, 1, 1)) < 0.5, np.flip(images, axis), images)
    return images


def load_real_images(options):
    """(training, held-out) dataloader.Images of parsed options of train.py.

    Raises InputError without held-out images, or if there are fewer than diversity.FEWEST of either.
    """
    training = dataloader.load(options.data, options.polarity_factors, "train", command_line.read_settings(options))
    held_out = dataloader.load(options.data, options.polarity_factors, "test", training.settings)
    check_held_out(options.data, training, held_out)
    for images, what in ((training, "training"), (held_out, "held-out")):
        if len(images.pixels) < diversity.FEWEST:
            raise InputError(f"{options.data}: {len(images.pixels)} {what} images, and fewer than {diversity.FEWEST} "
                             f"show nothing: give more")
    return training, held_out


# ---------------------------------------------------------------------------------------------- one run

@dataclasses.dataclass(frozen=True)
class Measured:
    """What is known of a run; the numbers of a run that is not done are None.

    training        trainings.Training
    curve           Curve of its losses, None without a log
    distance        to the held-out images at the end of the run; `from_iteration` is that of the generator
    distinct        of the generated images, without near-duplicates; `effective` is their effective number
    copies          share of the generated images that are near-duplicates of a training image
    exact_copies    generated images that repeat another one pixel for pixel
    collapsed       why the run counts as collapsed; "" if it does not
    samples         the first generated images, uint8
    """

    training: object
    curve: object = None
    distance: float | None = None
    from_iteration: int | None = None
    distinct: int | None = None
    effective: float | None = None
    copies: float | None = None
    exact_copies: int | None = None
    collapsed: str = ""
    samples: np.ndarray | None = None


def measure_run(training, real, number):
    """The Measured of a training, from `number` generated images and RealImages."""
    curve = read_curve(training)
    if training.state != "done":
        return Measured(training, curve)
    last, best = (_load(training.folder, kind) for kind in ("generator", "best_generator"))
    images = real.mixture(last, number, training.run.seed)
    at_the_end, iteration = real.distance(images), last.metadata.iteration
    others = {iteration: at_the_end}
    if best:
        others[best.metadata.iteration] = real.distance(real.mixture(best, number, training.run.seed))
    late = {when: distance for when, distance in others.items() if when >= LATE * iteration}
    chosen = min(late, key=late.get)
    variety = measure_variety(images, real)
    collapsed = why_collapsed(at_the_end, max(min(others.values()), real.floor), variety)
    return Measured(training, curve, late[chosen], chosen, variety.distinct, variety.effective, variety.copies,
                    variety.exact_copies, collapsed, images[:12])


def _load(folder, kind):
    """The generator of a run's file weights.<kind>, None if there is none."""
    found = sorted(folder.glob(f"checkpoints/weights.{kind}.*.h5"))
    return trained.load_generator(found[0]) if found else None


class Variety(NamedTuple):
    """Numbers of diversity.Comparison for generated images; `usual` is the effective number of the training images."""

    distinct: int
    effective: float
    copies: float
    exact_copies: int
    usual: float


def measure_variety(generated, real, seed=0):
    """The Variety of uint8 images; near-duplicates are those of diversity.Comparison."""
    space = neighbours.Space(real.training.pixels, generated, seed=seed)
    features, training, held_out = (space.features(images)
                                    for images in (generated, real.training.pixels, real.held_out.pixels))
    radius = float(np.quantile(neighbours.nearest(held_out, training).distance, diversity.NEAR))
    effective, usual = (neighbours.Pairs(each, seed).effective_number(radius)[0] for each in (features, training))
    return Variety(neighbours.count_distinct(features, radius), effective,
                   float((neighbours.nearest(features, training).distance <= radius).mean()),
                   neighbours.exact_copies(generated), min(usual, len(real.training.pixels)))


def why_collapsed(distance, best, variety):
    """Why a run counts as collapsed, in words; "" if it does not.

    distance, best   to the held-out images, at the end and at best (or of the training images, if that is larger)
    """
    if not np.isfinite(distance) or distance > monitor.CLEARLY_WORSE * best:
        return f"distance {distance:.3g} at the end, more than {monitor.CLEARLY_WORSE} times its best ({best:.3g})"
    if variety.effective < min(NEARLY_ONE, SHARE * variety.usual):
        return f"as various as {variety.effective:.1f} images"
    return ""


# ---------------------------------------------------------------------------------------------- losses

class Curve(NamedTuple):
    """The log of a run, without the iterations that compiled its networks; NaN where there is no score.

    All are of the shape (iterations,); `minutes` are those of the iterations so far.
    """

    algorithm: str
    minutes: np.ndarray
    critic: np.ndarray
    generator: np.ndarray
    distance: np.ndarray

    @property
    def losses(self):
        """The losses that have an origin, so that their size means something."""
        return (self.critic,) if self.algorithm in WITHOUT_ORIGIN else (self.critic, self.generator)


def read_curve(training):
    """The Curve of a training, None if it has none."""
    if not training.log:
        return None
    try:
        rows = read_log(training.log)
    except InputError:                  # it ended before its first iteration
        return None
    seconds = rows["seconds"].copy()
    for iteration, compiling in training.compiled.items():
        seconds[rows["iteration"] >= iteration] -= compiling
    return Curve(training.run.algorithm, seconds / 60, rows["critic_loss"], rows["generator_loss"],
                 rows["held_out_distance"])


def running_mean(curve, values, at, window=WINDOW):
    """Running mean of `values` (iterations,) at the minutes `at` (points,), over a part of the run, `window`."""
    half = window / 2 * curve.minutes[-1]
    first = np.minimum(np.searchsorted(curve.minutes, at - half), len(values) - 1)
    last = np.maximum(np.searchsorted(curve.minutes, at + half, side="right"), first + 1)
    sums = np.concatenate([[0], np.cumsum(values)])
    return (sums[last] - sums[first]) / (last - first)


def smoothed(curve, values):
    """Running mean of `values`, (POINTS,), at equal steps through the second half of the run.

    None if that half has fewer than FEWEST_ITERATIONS iterations.
    """
    end = curve.minutes[-1]
    if (curve.minutes >= LATE * end).sum() < FEWEST_ITERATIONS:
        return None
    return running_mean(curve, values, np.linspace(LATE, 1, POINTS) * end)


def fluctuation(curve):
    """How much a run's losses vary in its second half: 0 if they are constant, 1 if they swing around 0.

    Standard deviation of the smoothed loss over time, relative to its root mean square; mean over `curve.losses`. None
    if there are too few iterations.
    """
    lines = [smoothed(curve, loss) for loss in curve.losses]
    return None if lines[0] is None else float(np.mean([relative_spread(line) for line in lines]))


def disagreement(curves):
    """How much the losses of runs that differ in their seed alone differ in the second half: from 0, equal, to 1.

    Standard deviation of the smoothed losses over the runs, relative to their root mean square; mean over time and over
    `losses`. None for fewer than two runs, or too few iterations.
    """
    lines = [[smoothed(curve, loss) for loss in curve.losses] for curve in curves]
    if len(curves) < 2 or any(line is None for of_run in lines for line in of_run):
        return None
    return float(np.mean(relative_spread(np.array(lines))))


def relative_spread(values):
    """Standard deviation along the first axis, relative to the root mean square, in [0, 1]; 0 if all values are 0."""
    size = np.sqrt(np.square(values).mean(axis=0))
    return values.std(axis=0) / np.maximum(size, 1e-12)


# ---------------------------------------------------------------------------------------------- all seeds

@dataclasses.dataclass(frozen=True)
class Summary:
    """The runs of a combination, which differ in their seed; numbers are means over the runs that are done.

    None stands for an undefined number, and `reasons` {field: why}. `rank` counts by distance, and `steadiness_rank` by
    `unsteadiness`, the mean of `fluctuation` (in each run) and `disagreement` (of the runs).
    """

    combination: tuple
    runs: tuple
    distance: float | None
    spread: float | None
    fluctuation: float | None
    disagreement: float | None
    reasons: dict
    rank: int | None = None
    steadiness_rank: int | None = None

    @property
    def done(self):
        """The runs that are done."""
        return [run for run in self.runs if run.training.state == "done"]

    @property
    def collapsed(self):
        """Number of runs that collapsed."""
        return sum(bool(run.collapsed) for run in self.done)

    @property
    def unsteadiness(self):
        """Mean of fluctuation and disagreement, None if either is undefined."""
        both = (self.fluctuation, self.disagreement)
        return None if None in both else sum(both) / 2

    def mean(self, field):
        """Mean of a field of Measured over the runs that are done, None if none is."""
        return float(np.mean([getattr(run, field) for run in self.done])) if self.done else None


def summarise(runs):
    """[Summary] of the Measured `runs`, one for each combination: the smallest distance first, undefined ones last."""
    groups = {}
    for run in runs:
        groups.setdefault(run.training.run.combination, []).append(run)
    summaries = [_summary(combination, tuple(group)) for combination, group in groups.items()]
    for field, rank in (("distance", "rank"), ("unsteadiness", "steadiness_rank")):
        known = sorted((each for each in summaries if getattr(each, field) is not None),
                       key=lambda each, field=field: getattr(each, field))
        places = {each.combination: k for k, each in enumerate(known, 1)}
        summaries = [dataclasses.replace(each, **{rank: places.get(each.combination)}) for each in summaries]
    return sorted(summaries, key=lambda each: (each.rank is None, each.rank))


def _summary(combination, runs):
    done = [run for run in runs if run.training.state == "done"]
    if not done:
        none = "no run is done"
        return Summary(combination, runs, None, None, None, None, dict.fromkeys(
            ("distance", "spread", "fluctuation", "disagreement"), none))
    reasons = {}
    distances = [run.distance for run in done]
    fluctuations = [fluctuation(run.curve) for run in done]
    if None in fluctuations:
        reasons["fluctuation"] = reasons["disagreement"] = (
            f"fewer than {FEWEST_ITERATIONS} iterations in the second half of a run")
    if len(done) < 2:
        reasons |= {"spread": "one seed", "disagreement": "one seed"}
    return Summary(combination, runs, float(np.mean(distances)),
                   float(np.std(distances, ddof=1)) if len(done) > 1 else None,
                   None if None in fluctuations else float(np.mean(fluctuations)),
                   disagreement([run.curve for run in done]), reasons)
