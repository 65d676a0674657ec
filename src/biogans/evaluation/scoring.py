"""Scores of one split: of a generator's cells, or of real images in their place, against held-out images."""

import dataclasses

import numpy as np

from ..core import codes, dataloader, metrics
from . import c2st, features, joint
from ..system.errors import InputError

FEWEST = 12                             # held-out images of a factor: half of them must have five neighbours
EVERYTHING = "all images"               # of a generator that knows no factors
ERRORS = ("correlation_error", "profile_error", "spot_error")


@dataclasses.dataclass(frozen=True)
class Generated:
    """What a generator draws; `spec` is its NetworkSpec. Where that tells factors apart it has samples of each."""

    generator: object
    spec: object

    @property
    def factors(self):
        return self.spec.separate_factors or (EVERYTHING,)

    def cells(self, count, rng):
        """uint8 (count, height, width, channels): rounded as real images are, or a critic could tell them by that."""
        from ..core.engine import generate
        z = codes.from_normal(rng.standard_normal((count, self.spec.nz), np.float32), self.spec.codes)
        cells = generate(self.generator, z, 64)
        return np.rint((np.clip(cells, -1, 1) + 1) * 127.5).astype(np.uint8)

    def samples(self, training, held_out, seed, split):
        """{factor: (`training`, `held_out`) many samples}; each cell is seen with all its factors."""
        cells = self.cells(training + held_out, np.random.default_rng((seed, split)))
        pairs = {name: cells[..., view] for name, view in zip(self.factors, self.spec.factor_channels)}
        return {name: (pair[:training], pair[training:]) for name, pair in pairs.items()}


@dataclasses.dataclass(frozen=True)
class Real:
    """Training images in the place of samples: the score that a perfect generator would have."""

    images: dataloader.Images
    factors: tuple                      # those to be scored, of the images' or EVERYTHING

    def samples(self, training, held_out, seed, split):
        """{factor: (half of its images, the other half), each with their mirror images}."""
        return {name: split_images(of_factor(self.images, name), seed, split, name) for name in self.factors}


def load_real(dataroot, factors, split, like=None):
    """Images of `-d dataroot -p factors`; of the channels and shape of the training, whose facts are `like`.

    Raises InputError if they don't fit it.
    """
    from ..system.progress import reading
    real = dataloader.load(dataroot, factors, split, like["images"]["channels"] if like else (),
                           progress=reading(f"reading {split} images"))
    there = real.pixels.shape[1:]
    here = tuple(like["network"][side] for side in ("height", "width", "channels")) if like else there
    if there != here:
        raise InputError(f"{dataroot}: these images are {there[0]}x{there[1]} with {there[2]} channel(s), those of the "
                         f"training were {here[0]}x{here[1]} with {here[2]}: give images like them")
    return real


def check_numbers(images):
    """Raise InputError if a factor has too few images to be halved."""
    for k, name in enumerate(images.factors):
        count = int((images.labels == k).sum())
        if count < FEWEST:
            raise InputError(f"{name} has {count} held-out images: at least {FEWEST} are needed for a score")


def of_factor(images, name):
    """Pixels of the images of a factor, or of EVERYTHING."""
    return images.pixels if name == EVERYTHING else images.pixels[images.labels == images.factors.index(name)]


def split_images(pixels, seed, split, name):
    """(training half, held-out half) with all mirror images, as the flips of training show them."""
    training, held_out = c2st.halves(len(pixels), seed, split, name)
    return c2st.mirrored(pixels[training]), c2st.mirrored(pixels[held_out])


def two_sample(subject, held_out, critic, seed, split):
    """{factor: C2ST score} of Generated or Real against held-out images (dataloader.Images)."""
    return {name: score for name, score, _ in _two_sample(subject, held_out, critic, seed, split)}


def score_split(subject, held_out, critic, seed, split, classifier=None, progress=iter):
    """{factor: {metric: number}} of one split; with a (classifier, facts) of features.load also the distances of these.

    These are of all held-out images of a factor and as many samples, drawn anew in every split.
    """
    scores = {}
    for name, score, samples in progress(_two_sample(subject, held_out, critic, seed, split)):
        scores[name] = {"c2st": score}
        if classifier:
            real = of_factor(held_out, name)
            chosen = np.random.default_rng((seed, split)).permutation(len(samples))[:len(real)]
            scores[name] |= feature_scores(*classifier, real, samples[chosen], name)
    return scores


def _two_sample(subject, held_out, critic, seed, split):
    """Yield (factor, score, samples) of each factor of the subject."""
    largest = max(len(of_factor(held_out, name)) for name in subject.factors)
    drawn = subject.samples(critic.pool, 2 * largest, seed, split)
    for name in subject.factors:
        real, real_held_out = split_images(of_factor(held_out, name), seed, split, name)
        yield (name, c2st.score(drawn[name][0], real, drawn[name][1], real_held_out, critic, split),
               drawn[name][1] if isinstance(subject, Generated) else of_factor(subject.images, name))


def feature_scores(classifier, facts, real, samples, name):
    """Distances between the features of two sets of uint8 images, and how many samples show their factor."""
    (seen, _), (drawn, guess) = (features.extract(classifier, pixels) for pixels in (real, samples))
    scores = {"frechet": metrics.frechet_distance(seen, drawn), "kernel": metrics.kernel_distance(seen, drawn),
              **metrics.precision_recall_density_coverage(seen, drawn)}
    if name in facts["factors"]:
        scores["right_factor"] = float((guess == facts["factors"].index(name)).mean())
    return scores


def factor_pairs(training, held_out, critic, seed, split, progress=iter):
    """{A: {B: score}} of the training images of factor A as samples against held-out ones of another factor B."""
    samples = Real(training, training.factors).samples(0, 0, seed, split)
    pairs = [(a, b) for a in training.factors for b in held_out.factors if a != b]
    scores = {}
    for a, b in progress(pairs):
        real, real_held_out = split_images(of_factor(held_out, b), seed, split, b)
        scores.setdefault(a, {})[b] = c2st.score(samples[a][0], real, samples[a][1], real_held_out, critic, split)
    return scores


def true_cells(stack, seed, split):
    """(true cells, others): halves of a stack of joint cells. Samples are compared with the first."""
    truth, others = c2st.halves(len(stack), seed, split, "joint cells")
    return stack[truth], stack[others]


def score_joint(samples, stack, critic, seed, split):
    """{metric: number or array} of 7-channel samples, uint8, against the true half of a stack of joint cells."""
    truth, _ = true_cells(stack, seed, split)
    half = len(samples) // 2
    real, real_held_out = split_images(truth, seed, split, "true cells")
    result = {"c2st": c2st.score(c2st.mirrored(samples[:half]), real, c2st.mirrored(samples[half:]), real_held_out,
                                 critic, split)}
    return result | joint.compare(joint.measure(truth), joint.measure(samples))


def joint_baselines(stack, seed, split):
    """{name: cells} between which a generator should lie: other true cells, and cells with greens of others."""
    _, others = true_cells(stack, seed, split)
    rng = np.random.default_rng((seed, split))
    return {"true cells": others, "greens of cells of similar red": joint.borrowed(others, 5, rng),
            "greens of any cells": joint.borrowed(others, len(others), rng)}
