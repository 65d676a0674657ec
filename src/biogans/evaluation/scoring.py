"""Scores of one split beyond the two-sample test: features, torn cells, pairs of factors, joint cells."""

import numpy as np

from ..core import c2st
from ..core.monitor import kernel_distance
from ..system.pixels import to_unit
from . import features, joint, metrics, outlines, variety

JOINT_SAMPLES, TORN_SAMPLES, SAME_RED = 1, 2, 3         # purposes of the random numbers of cells
NO_VARIETY = {"variety": None, "least_variety": None}
MEASURED = 1000                         # cells of a red channel that are searched for torn ones
JOINT_BASELINES = "true cells", "greens of cells of similar red", "greens of any cells"


def score_split(subject, held_out, critic, split, classifier=None, steps=None):
    """{factor: {metric: number}} of one split of the held-out images (dataloader.Images).

    subject      c2st.Generated or c2st.Real
    critic       a c2st.Critic
    split        a c2st.Split
    classifier   a features.Classifier, for the distances between features: of all held-out images of a factor and as
                 many samples, chosen at random in every split
    steps        of the progress, of which c2st.num_steps are taken, or None
    """
    scores = {}
    for name, score, samples in c2st.two_sample(subject, held_out, critic, split, steps):
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


def torn_cells(subject, true, split):
    """{factor: percentage of torn cells} of 1,000 samples, or of up to 1,000 real images, chosen in each split.

    subject   c2st.Generated or c2st.Real
    true      outlines.TrueOutlines
    """
    rng = split.rng(TORN_SAMPLES)
    if isinstance(subject, c2st.Real):
        reds = {name: c2st.of_factor(subject.images, name)[..., 0] for name in subject.factors}
        return {name: outlines.percent_torn(red[rng.permutation(len(red))[:MEASURED]], true)
                for name, red in reds.items()}
    spec, cells = subject.generator.spec, subject.generator.cells(MEASURED, rng)
    red_of = dict(zip(spec.separate_factors or (c2st.EVERYTHING,), (channels[0] for channels in spec.factor_channels),
                      strict=True))
    torn = {red: outlines.percent_torn(cells[..., red], true) for red in {red_of[name] for name in subject.factors}}
    return {name: torn[red_of[name]] for name in subject.factors}


def score_pairs(training, held_out, critic, split, steps=None):
    """{A: {B: score}}: training images of factor A as samples, against held-out images of another factor B.

    steps   of the progress, one for each update of each critic, or None
    """
    samples = c2st.Real(training, training.factors).samples(0, 0, split)
    scores = {}
    for a, b in factor_pairs(training, held_out):
        real, real_held_out = c2st.split_images(c2st.of_factor(held_out, b), split, b)
        scores.setdefault(a, {})[b] = c2st.score_halves((samples[a][0], real), (samples[a][1], real_held_out), critic,
                                                        split.number, steps)
    return scores


def factor_pairs(training, held_out):
    """[(A, B)]: each factor of the training images with every other factor of the held-out ones."""
    return [(a, b) for a in training.factors for b in held_out.factors if a != b]


def halve_joint_cells(pixels, split):
    """(true cells, other cells): halves of joint cells, uint8 (cells, height, width, channels)."""
    truth, others = c2st.random_halves(len(pixels), split, "joint cells")
    return pixels[truth], pixels[others]


def score_joint(samples, pixels, critic, split, steps=None):
    """{metric: number or array} of samples against the true half of joint cells.

    samples, pixels   uint8 (cells, height, width, channels), with the same channels
    steps             of the progress, one for each update of the critic, or None
    """
    truth, _ = halve_joint_cells(pixels, split)
    half = len(samples) // 2
    real, real_held_out = c2st.split_images(truth, split, "true cells")
    score = c2st.score_halves((c2st.mirrored(samples[:half]), real), (c2st.mirrored(samples[half:]), real_held_out),
                              critic, split.number, steps)
    return {"c2st": score} | joint.compare_cells(joint.measure_cells(truth), joint.measure_cells(samples))


def joint_samples(generator, number, split):
    """Samples of a TrainedGenerator to compare with joint cells: uint8 (number, height, width, channels of a cell)."""
    return generator.cells(number, split.rng(JOINT_SAMPLES))[..., generator.spec.cell_channels]


def joint_baselines(pixels, split):
    """{name in JOINT_BASELINES: cells} that give errors a scale: other true cells, and cells with borrowed greens."""
    _, others = halve_joint_cells(pixels, split)
    rng = split.rng()
    cells = others, joint.borrow_greens(others, 5, rng), joint.borrow_greens(others, len(others), rng)
    return dict(zip(JOINT_BASELINES, cells, strict=True))


def generator_variety(generator, cells, split):
    """`variety.relative_variety` of a TrainedGenerator against the joint.JointCells that have repeats.

    NO_VARIETY if its red has no part of z for itself, or if the cells have no repeats.
    """
    if not (generator.spec.separates_red and has_repeats(cells)):
        return NO_VARIETY
    pairs = variety.generated_pairs(generator, variety.GREENS, split.rng(SAME_RED))
    return variety.relative_variety(pairs, variety.true_pairs(cells))


def baseline_varieties(cells, split):
    """{name in JOINT_BASELINES: relative variety} of joint.JointCells.

    For true cells, the repeats of one half against those of the other. Borrowed greens, of up to REDS cells, are
    compared with all repeats, as those of generators are.
    """
    if not has_repeats(cells):
        return dict.fromkeys(JOINT_BASELINES, NO_VARIETY)
    truth, others = (variety.true_pairs(cells, half)
                     for half in c2st.random_halves(len(cells.repeats), split, "repeats"))
    found = [variety.relative_variety(others, truth)]
    _, donors = halve_joint_cells(cells.pixels, split)
    rng, truth = split.rng(SAME_RED), variety.true_pairs(cells)
    for nearest in (5, len(donors)):
        borrowed = np.stack([joint.borrow_greens(donors, nearest, rng)[:variety.REDS]
                             for _ in range(variety.GREENS)], axis=1)
        pairs = {name: to_unit(borrowed[..., [0, 1 + k]]) for k, name in enumerate(cells.channel_names[1:])}
        found.append(variety.relative_variety(pairs, truth))
    return dict(zip(JOINT_BASELINES, found, strict=True))


def has_repeats(cells):
    """Whether joint.JointCells have further greens of the same red, and enough for two halves."""
    return cells.repeats is not None and len(cells.repeats) > 1 and cells.repeats.shape[1] > 1
