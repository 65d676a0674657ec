"""The rows of the tables of `biogans evaluate`: a generator, real images in its place, pairs of factors.

A row has

    name                 in the tables
    file_name            of its result files, without split and ending
    source               description of the generator's file, None for real images
    held_out             dataloader.Images to compare with
    factors              those scored, or c2st.EVERYTHING
    joint                joint.JointCells, or None
    classifier_images    (training, held-out) images for the features' classifier, or None
    true_outlines        outlines.TrueOutlines of held-out images of all factors, or None
    examples(number, …)  some of its samples, each (height, width, channels) in [0, 1]; none for pairs
    num_steps(critic)    steps of the progress that `scores` takes
    scores(…)            the part of a result file that holds the scores of one split
"""

import functools
import hashlib
import itertools
from pathlib import Path

import numpy as np

from ..core import c2st, dataloader
from ..system.errors import InputError
from ..system.pixels import signed_to_bytes, to_unit
from . import joint, outlines, results, scoring

JOINT_FILE = "joint_test.h5"


class GeneratorRow:
    """A generator."""

    def __init__(self, generator, options):
        """Load images of the TrainedGenerator's factors, or of some of them, as the parsed options say.

        Raises InputError if the images do not fit the generator.
        """
        spec, dataroot = generator.spec, options.data
        self.generator, self.dataroot = generator, dataroot
        self.subject = c2st.Generated(generator, separate_factors(generator, options.polarity_factors))
        self.held_out = c2st.load_real(dataroot, "test", generator.metadata, self.subject.only or spec.factors)
        self.name = options.name or default_name(generator)
        self.file_name = file_name(self.name, spec.factors)
        self.factors = self.subject.factors
        self.source = describe_source(generator)
        self.joint = find_joint_cells(dataroot, options.joint, [spec.channel_names[k] for k in spec.cell_channels])

    @functools.cached_property
    def classifier_images(self):
        """Images of all factors, also those that the generator does not generate."""
        return tuple(c2st.load_real(self.dataroot, split, self.generator.metadata) for split in ("train", "test"))

    @functools.cached_property
    def true_outlines(self):
        return find_outlines(self.classifier_images[1])

    def examples(self, number, seed):
        """Samples of one factor after another. Rows of one length of z show the same z."""
        cells = to_unit(signed_to_bytes(self.generator.generate(next(self.generator.latents(number, seed, number)))))
        known = dict(zip(self.generator.spec.separate_factors or (c2st.EVERYTHING,),
                         self.generator.spec.factor_channels, strict=True))
        return [cell[..., known[name]] for cell, name in zip(cells, itertools.cycle(self.factors))]

    def num_steps(self, critic):
        return c2st.num_steps(self.subject, critic) + (critic.iterations if self.joint else 0)

    def scores(self, critic, split, classifier, steps=None):
        content = factor_scores(self, critic, split, classifier, steps)
        if self.joint is not None:
            samples = scoring.joint_samples(self.generator, 2 * len(self.joint.pixels), split)
            scores = (scoring.score_joint(samples, self.joint.pixels, critic, split, steps)
                      | scoring.generator_variety(self.generator, self.joint, split))
            content |= {"joint_scores": {self.name: scores}, "channels": self.joint.channel_names}
        return content


class RealRow:
    """Training images in place of samples: the zero of every score."""

    name, file_name, source = results.REAL, "real", None

    def __init__(self, options, folder):
        """Load the images of the factors in the parsed options, all by default. Raises InputError if none are held out.

        folder   of the results, which may have been compared with all images of more factors
        """
        dataroot, factors = options.data, options.polarity_factors
        self.dataroot, self.chosen = dataroot, bool(factors)
        self.held_out = c2st.load_real(dataroot, "test", factors=factors)
        self.training = c2st.load_real(dataroot, "train", factors=factors)
        check_held_out(dataroot, self.training, self.held_out)
        together = len(self.training.factors) > 1 and not (
            self.chosen and results.compared_with_others(folder, c2st.EVERYTHING, sha256(self.held_out.pixels)))
        self.factors = (*self.training.factors, *[c2st.EVERYTHING] * together)
        self.subject = c2st.Real(self.training, self.factors)
        self.joint = find_joint_cells(dataroot, options.joint)

    @functools.cached_property
    def classifier_images(self):
        """Images of all factors, also those that were not asked for: one classifier serves all rows of a table."""
        if not self.chosen:
            return self.training, self.held_out
        return tuple(c2st.load_real(self.dataroot, split, known=self.training.factors) for split in ("train", "test"))

    @functools.cached_property
    def true_outlines(self):
        return find_outlines(self.classifier_images[1])

    def examples(self, number, seed):
        """Random held-out images of one factor after another."""
        rng, factors = np.random.default_rng(seed), itertools.cycle(self.held_out.factors)
        return [to_unit(rng.choice(c2st.of_factor(self.held_out, next(factors)))) for _ in range(number)]

    def num_steps(self, critic):
        return c2st.num_steps(self.subject, critic) + (
            len(scoring.JOINT_BASELINES) * critic.iterations if self.joint else 0)

    def scores(self, critic, split, classifier, steps=None):
        content = factor_scores(self, critic, split, classifier, steps)
        if self.joint is not None:
            baselines = scoring.joint_baselines(self.joint.pixels, split)
            varieties = scoring.baseline_varieties(self.joint, split)
            content |= {"joint_scores": {name: scoring.score_joint(cells, self.joint.pixels, critic, split, steps)
                                         | varieties[name] for name, cells in baselines.items()},
                        "channels": self.joint.channel_names}
        return content


class PairsRow:
    """Real images of each factor against real images of every other factor: how large a score can be."""

    name, file_name, source, classifier_images = "pairs", "pairs", None, None

    def __init__(self, real):
        """Use the images of a RealRow."""
        self.training, self.held_out, self.factors, self.joint = real.training, real.held_out, real.factors, real.joint

    def examples(self, number, seed):
        return []

    def num_steps(self, critic):
        return len(scoring.factor_pairs(self.training, self.held_out)) * critic.iterations

    def scores(self, critic, split, classifier, steps=None):
        return {"pairs": scoring.score_pairs(self.training, self.held_out, critic, split, steps)}


def factor_scores(row, critic, split, classifier, steps=None):
    """The scores of each factor of a GeneratorRow or RealRow, and the limits beyond which its cells count as torn."""
    scores = scoring.score_split(row.subject, row.held_out, critic, split, classifier, steps)
    limits = row.true_outlines
    torn = scoring.torn_cells(row.subject, limits, split) if limits else {}
    return {"scores": {name: values | ({"torn": torn[name]} if limits else {}) for name, values in scores.items()},
            "true_outlines": limits and limits._asdict()}


def find_outlines(images):
    """outlines.TrueOutlines of dataloader.Images; None if they have no second channel, so no red one, or no rods."""
    return outlines.calibrate(images.pixels[..., 0]) if images.pixels.shape[-1] > 1 else None


def separate_factors(generator, factors):
    """The `factors`, if the TrainedGenerator generates each of them separately. Raises InputError otherwise."""
    for factor in factors:
        generator.channels((factor,))
    return tuple(factors)


def default_name(generator):
    """Architecture, algorithm and iteration of a TrainedGenerator."""
    metadata = generator.metadata
    return f"{metadata.network.architecture} {metadata.training.algorithm} {metadata.iteration}"


def distinct_names(generators):
    """A name for each of several TrainedGenerators: architecture and algorithm, longer where they are the same."""
    for names in ([generator.name.replace(".", " ", 1) for generator in generators],
                  [default_name(generator) for generator in generators]):
        if len({*names}) == len(names):
            return names
    return [str(generator.path) for generator in generators]


def file_name(name, factors):
    """A row's name for file names, followed by its factor if it has only one: several models can make up one row."""
    words = name.split() + (list(factors) if len(factors) == 1 else [])
    return ".".join("".join(letter for letter in word if letter.isalnum() or letter in "-_.") for word in words)


def describe_source(generator):
    """File, digest and training of a TrainedGenerator, for a result file."""
    stored = generator.metadata.to_json()
    return {"file": str(generator.path), "sha256": sha256(generator.path.read_bytes()),
            "factors": list(c2st.Generated(generator).factors),
            **{part: stored[part] for part in ("network", "training", "iteration", "weights") if part in stored}}


def check_held_out(dataroot, training, held_out):
    """Raise InputError if training and held-out images are the same, for lack of folders *_train and *_test.

    Warns if some of them are.
    """
    if training.fingerprint == held_out.fingerprint:
        raise InputError(f"{dataroot} has no folders *_train and *_test, and training images can't serve as held-out "
                         f"images: give -d the folder that holds both")
    dataloader.warn_of_copies(training, held_out)


def find_joint_cells(dataroot, file=None, names=None):
    """The joint.JointCells of `file`, or of joint_test.h5 in `dataroot`; None if there are none.

    names   of the channels that they must have, whatever the red marker's; None for any. Raises InputError if the
            channels of `file` differ.
    """
    path = Path(file or Path(dataroot) / JOINT_FILE)
    if not file and not path.exists():
        return None
    cells = joint.read_joint_cells(path)
    if names is None or list(names[1:]) == cells.channel_names[1:]:
        return cells
    if file:
        raise InputError(f"{path} holds {', '.join(cells.channel_names[1:])} and the model generates "
                         f"{', '.join(names[1:])}: leave out --joint")
    return None


def sha256(data):
    """Hexadecimal SHA-256 of bytes or of a contiguous array."""
    return hashlib.sha256(data).hexdigest()
