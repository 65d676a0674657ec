"""Scores of one split beyond the two-sample test of each factor: features, pairs of factors, joint cells."""

from ..core import c2st
from ..core.monitor import kernel_distance
from ..system.progress import reading
from . import features, joint, metrics

JOINT_SAMPLES = 1                       # purpose of the random numbers of samples that are compared with joint cells


def score_split(subject, held_out, critic, split, classifier=None):
    """{factor: {metric: number}} of one split of the held-out images (dataloader.Images).

    subject      c2st.Generated or c2st.Real
    critic       a c2st.Critic
    split        a c2st.Split
    classifier   a features.Classifier, for the distances between features: of all held-out images of a factor and as
                 many samples, chosen at random in every split
    """
    scores = {}
    for name, score, samples in reading("scoring", "critic")(c2st.two_sample(subject, held_out, critic, split)):
        scores[name] = {"c2st": score}
        if classifier:
            real = c2st.of_factor(held_out, name)
            samples = c2st.of_factor(subject.images, name) if isinstance(subject, c2st.Real) else samples
            chosen = split.rng().permutation(len(samples))[:len(real)]
            scores[name] |= feature_scores(classifier, real, samples[chosen], name)
    return scores


def feature_scores(classifier, real, samples, name):
    """Distances between the features of two sets of uint8 images, and the fraction of samples of the right factor."""
    (true, _), (fake, guess) = (features.extract(classifier.network, pixels) for pixels in (real, samples))
    scores = {"frechet": metrics.frechet_distance(true, fake), "kernel": kernel_distance(true, fake),
              **metrics.precision_recall_density_coverage(true, fake)}
    if name in classifier.factors:
        scores["right_factor"] = float((guess == classifier.factors.index(name)).mean())
    return scores


def score_pairs(training, held_out, critic, split):
    """{A: {B: score}}: training images of factor A as samples, against held-out images of another factor B."""
    samples = c2st.Real(training, training.factors).samples(0, 0, split)
    pairs = [(a, b) for a in training.factors for b in held_out.factors if a != b]
    scores = {}
    for a, b in reading("scoring", "critic")(pairs):
        real, real_held_out = c2st.split_images(c2st.of_factor(held_out, b), split, b)
        scores.setdefault(a, {})[b] = c2st.score(samples[a][0], real, samples[a][1], real_held_out, critic,
                                                 split.number)
    return scores


def halve_joint_cells(pixels, split):
    """(true cells, other cells): halves of joint cells, uint8 (cells, height, width, channels)."""
    truth, others = c2st.random_halves(len(pixels), split, "joint cells")
    return pixels[truth], pixels[others]


def score_joint(samples, pixels, critic, split):
    """{metric: number or array} of samples against the true half of joint cells.

    samples, pixels   uint8 (cells, height, width, channels), with the same channels
    """
    truth, _ = halve_joint_cells(pixels, split)
    half = len(samples) // 2
    real, real_held_out = c2st.split_images(truth, split, "true cells")
    score = c2st.score(c2st.mirrored(samples[:half]), real, c2st.mirrored(samples[half:]), real_held_out, critic,
                       split.number)
    return {"c2st": score} | joint.compare_cells(joint.measure_cells(truth), joint.measure_cells(samples))


def joint_samples(generator, number, split):
    """Samples of a TrainedGenerator to compare with joint cells: uint8 (number, height, width, channels of a cell)."""
    return generator.cells(number, split.rng(JOINT_SAMPLES))[..., generator.spec.cell_channels]


def joint_baselines(pixels, split):
    """{name: cells} that give errors a scale: other true cells, and cells with borrowed greens."""
    _, others = halve_joint_cells(pixels, split)
    rng = split.rng()
    return {"true cells": others, "greens of cells of similar red": joint.borrow_greens(others, 5, rng),
            "greens of any cells": joint.borrow_greens(others, len(others), rng)}
