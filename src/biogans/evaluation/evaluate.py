"""Measure how far generated cells are from real ones."""

import dataclasses
import hashlib
import json
import time
from pathlib import Path

import numpy as np

from ..core import checkpoint, codes, dataloader
from ..system import launch
from . import c2st, clusters, features, joint, report, scoring
from ..system import provenance
from ..system.errors import InputError
from ..system.files import replacing
from ..core.gan import PAPER
from ..core.options import Parser, _positive_int, _seed

CLASSIFIER = "weights.classifier.h5"
JOINT = "joint_test.h5"


def parser():
    """The command line."""
    p = Parser(prog="biogans evaluate", description=__doc__ + "\n\n"
               "The two-sample test (C2ST) halves the held-out images at random, trains a critic on one half against\n"
               "samples, and scores it on the other: about 0 if it finds no lasting difference. There are several\n"
               "splits, the same for every model; errors are standard deviations over them. Every split is written to\n"
               "a JSON file; what is there already is not computed again, so an interrupted command can be repeated.",
               epilog=(
                   "examples:\n"
                   "  biogans evaluate -d data --fast\n"
                   "      real images against real ones: the zero of the scale\n"
                   "  biogans evaluate -d data --fast --pairs\n"
                   "      also every factor against every other: what a large score is\n"
                   "  biogans evaluate -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -d data --fast\n"
                   "      a model; the table has the rows of all that was evaluated in the folder evaluation\n"
                   "  for k in 0 1 2 3 4 5 6 7 8 9; do echo biogans evaluate -i FILE -d data --split $k; done > jobs\n"
                   "      the paper's critic, hours on a CPU, as ten jobs of a swarm; then, once they are done:\n"
                   "  biogans evaluate -i checkpoints/weights.generator.InfoGAN.GAN.0.h5 -d data --codes\n"
                   "      what the codes of an InfoGAN came to mean\n"
                   "  biogans evaluate --combine --report\n"
                   "      the tables and figures of all splits, and one page that shows them"))
    what = p.add_argument_group("what to evaluate")
    what.add_argument("-i", "--input_file", metavar="FILE",
                      help="weights.generator, model.generator or weights.combined_model file; without one, training "
                           "images take the place of samples")
    what.add_argument("-d", "--data", metavar="DATAROOT",
                      help="folder of real images; *_test holds those to compare with, *_train those for the row of "
                           "real images and for the features' classifier")
    what.add_argument("-p", "--polarity_factors", metavar="A,B", default="",
                      help="factors of the row of real images and the table of pairs; all if empty")
    what.add_argument("--pairs", action="store_true", help="also real images of each factor against those of others")
    what.add_argument("--codes", action="store_true",
                      help="only what the codes of an InfoGAN mean in the held-out images of labelled folders, beside "
                           "k-means and principal components")
    what.add_argument("--joint", metavar="FILE.h5",
                      help="true cells with all channels, from biogans simulate: cells with several factors are compared "
                           f"with them; default: {JOINT} in DATAROOT, if there")
    what.add_argument("--name", metavar="NAME",
                      help="the row's name; models of one factor each and of one name make up one row; default: "
                           "architecture, algorithm and iteration")
    how = p.add_argument_group("how")
    how.add_argument("--critic", metavar="NAME", choices=PAPER, default="WGAN-GP",
                     help=f"the critic's algorithm: {' | '.join(PAPER)}; default=WGAN-GP")
    how.add_argument("--fast", action="store_true",
                     help="minutes on a CPU: the critic has {ndf} filters and {iterations} updates on batches of "
                          "{batch_size} (otherwise, as in the paper, {full.ndf}, {full.iterations} and "
                          "{full.batch_size}), it sees {pool} samples ({full.pool}), and there are {splits} splits "
                          "({all}). It gives up fine differences: scores move by 1 to 2 from split to split, and "
                          "don't compare with those of the full test".format(
                              **c2st.FAST, full=c2st.Critic(), splits=c2st.FAST_SPLITS, all=c2st.SPLITS))
    how.add_argument("--splits", metavar="N", type=_positive_int, help="number of splits; default=10, 3 with --fast")
    how.add_argument("--split", metavar="K", type=_seed, help="only split K, counted from 0, and no table: one job")
    how.add_argument("-s", "--seed", metavar="N", type=_seed, default=0,
                     help="of splits and samples; the same for all rows of a table; default=0")
    out = p.add_argument_group("results")
    out.add_argument("-o", "--output", metavar="FOLDER", default="evaluation",
                     help="where JSON files, tables and figures go; default=evaluation")
    out.add_argument("--combine", action="store_true", help="only make tables and figures of the JSON files there")
    out.add_argument("--report", action="store_true",
                     help="also one page, report.html, with tables, figures, commands, versions and seeds; it needs no "
                          "network")
    out.add_argument("-c", "--checkpoints_dir", metavar="FOLDER", default="checkpoints",
                     help="where FILE is looked for, too; default=checkpoints")
    return p


def evaluate(options):
    """Do what the command line asks for. Raises InputError for a user's mistake."""
    launch.announce()
    folder = Path(options.output)
    if options.codes:
        return meaning(options, folder)
    if not options.combine:
        compute(options, folder)
    if options.combine or options.split is None:
        for path in report.write(folder, report.combine(report.read(folder)), page=options.report):
            print(f"Output: {path}")


def compute(options, folder):
    """Write the JSON files of the splits that the options ask for, where they are not there yet."""
    if not options.data:
        raise InputError("give the folder of real images with -d, or --combine to make the tables of what is there")
    if options.pairs and options.input_file:
        raise InputError("--pairs compares real images: leave out -i")
    if options.polarity_factors and options.input_file:
        raise InputError("-p chooses among real images, and a model has its own factors: leave it out")
    critic = c2st.fast(options.critic) if options.fast else c2st.Critic(options.critic)
    splits = range(options.splits or (c2st.FAST_SPLITS if options.fast else c2st.SPLITS))
    if options.split is not None:
        splits = [options.split]
    works = [Model(options)] if options.input_file else [RealImages(options)]
    works += [Pairs(options)] if options.pairs else []
    for work in works:
        scoring.check_numbers(work.held_out)
        common = plain({"critic": dataclasses.asdict(critic), "seed": options.seed, "name": work.name,
                        "held_out": {name: _sha256(scoring.of_factor(work.held_out, name))
                                     for name in work.subject.factors},
                        "source": work.source, "joint": work.joint and _sha256(work.joint[0])})
        paths = {split: folder / f"{work.file}.split{split}.json" for split in splits}
        wanted = {split: path for split, path in paths.items() if not is_done(path, common)}
        classifier = work.classifier(folder) if wanted else None
        for split, path in wanted.items():
            start = time.monotonic()
            scores = work.scores(critic, options.seed, split, classifier)
            seconds = time.monotonic() - start
            write_json(path, {"format": report.FORMAT, "split": split} | common | {
                "command": provenance.command(), "versions": provenance.versions(),
                "seconds": seconds, "classifier_accuracy": classifier and classifier[1]["accuracy"]} | scores)
            print(f"{path}: {report.summary(scores)} ({seconds:.0f} s)", flush=True)


def meaning(options, folder):
    """Print what the codes of the model mean in held-out images, and write it to FOLDER/codes.<name>.json."""
    if not (options.input_file and options.data):
        raise InputError("--codes compares codes with labels: give the generator's file with -i and folders of labelled "
                         "images with -d")
    path = checkpoint.find(options.input_file, options.checkpoints_dir)
    generator, spec, facts = checkpoint.load_generator(path)
    if not spec.codes:
        raise InputError(f"{path} has no codes: they are InfoGAN's")
    training, held_out = (scoring.load_real(options.data, (), split, facts) for split in ("train", "test"))
    answers = codes.read(checkpoint.load_recognizer(path), features.scaled(held_out.pixels), spec.codes)
    rows = clusters.compare(answers, spec.codes, training, held_out, dataloader.known(held_out.files))
    name = options.name or f"{spec.architecture} {facts['training']['algorithm']} {facts['iteration']}"
    target = folder / f"codes.{_file_name(name, spec.factors)}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(target, {"format": report.FORMAT, "file": str(path), "images": len(held_out.pixels),
                        "iteration": facts["iteration"], "training": facts["training"],
                        "command": provenance.command(), "versions": provenance.versions(), "rows": rows})
    print(f"{len(held_out.pixels)} held-out images\n{clusters.table(rows)}\nOutput: {target}")


def is_done(path, common):
    """Whether a split's JSON file is there. Raises InputError if it is of something else than `common` says."""
    if not path.exists():
        return False
    stored = report.read_file(path)
    different = [name for name, value in common.items() if stored.get(name) != value]
    if different:
        raise InputError(f"{path} is of another evaluation (other {', '.join(different)}): choose another folder with "
                         f"-o, or another --name")
    print(f"{path}: there already")
    return True


class Model:
    """The evaluation of one generator."""

    def __init__(self, options):
        path = checkpoint.find(options.input_file, options.checkpoints_dir)
        generator, spec, self.facts = checkpoint.load_generator(path)
        self.subject = scoring.Generated(generator, spec)
        self.options = options
        self.held_out = scoring.load_real(options.data, spec.factors, "test", self.facts)
        self.name = options.name or f"{spec.architecture} {self.facts['training']['algorithm']} " \
                                    f"{self.facts['iteration']}"
        self.file = _file_name(self.name, spec.factors)
        self.source = {"file": str(path), "sha256": _sha256(path.read_bytes()), "factors": list(self.subject.factors),
                       **{part: self.facts[part] for part in ("network", "training", "iteration", "weights")
                          if part in self.facts}}
        self.joint = _joint(options, [spec.channel_names[k] for k in spec.cell_channels])

    def classifier(self, folder):
        """The classifier whose features are compared, or None where there are no several factors to tell apart."""
        training = scoring.load_real(self.options.data, (), "train", self.facts)
        held_out = scoring.load_real(self.options.data, (), "test", self.facts)
        return find_classifier(folder, training, held_out)

    def scores(self, critic, seed, split, classifier):
        result = {"scores": scoring.score_split(self.subject, self.held_out, critic, seed, split, classifier,
                                                _progress)}
        if self.joint is not None:
            cells = self.subject.cells(2 * len(self.joint[0]), np.random.default_rng((seed, split, 1)))
            cells = cells[..., self.subject.spec.cell_channels]
            result["joint_scores"] = {self.name: scoring.score_joint(cells, self.joint[0], critic, seed, split)}
            result["channels"] = self.joint[1]
        return result


class RealImages:
    """The evaluation of training images in the place of samples: the zero of every score."""

    name, file, source = report.REAL, "real", None

    def __init__(self, options):
        factors = tuple(name for name in options.polarity_factors.split(",") if name)
        self.held_out = scoring.load_real(options.data, factors, "test")
        self.training = scoring.load_real(options.data, factors, "train")
        if self.training.fingerprint == self.held_out.fingerprint:
            raise InputError(f"{options.data} has no folders *_train and *_test, and images can't be compared with "
                             f"themselves: give -d the folder that holds both")
        several = [scoring.EVERYTHING] if len(self.training.factors) > 1 else []
        self.subject = scoring.Real(self.training, (*self.training.factors, *several))
        self.joint = _joint(options, None)

    def classifier(self, folder):
        return find_classifier(folder, self.training, self.held_out)

    def scores(self, critic, seed, split, classifier):
        result = {"scores": scoring.score_split(self.subject, self.held_out, critic, seed, split, classifier,
                                                _progress)}
        if self.joint is not None:
            result["joint_scores"] = {
                name: scoring.score_joint(cells, self.joint[0], critic, seed, split)
                for name, cells in scoring.joint_baselines(self.joint[0], seed, split).items()}
            result["channels"] = self.joint[1]
        return result


class Pairs(RealImages):
    """The evaluation of real images of each factor against those of each other."""

    name, file = "pairs", "pairs"

    def classifier(self, folder):
        return None

    def scores(self, critic, seed, split, classifier):
        return {"pairs": scoring.factor_pairs(self.training, self.held_out, critic, seed, split, _progress)}


def find_classifier(folder, training, held_out):
    """(classifier, facts) of the images: that in `folder`, or a new one that is written there; None for one factor."""
    if len(training.factors) < 2:
        print(f"no features: they are learnt by telling factors apart, and there is only {training.factors[0]}")
        return None
    path = folder / CLASSIFIER
    if not path.exists():
        print("training a classifier of the factors, for their features", flush=True)
        accuracy = features.save(path, features.train(training), training, held_out)["accuracy"]
        print(f"{path}: tells the factor of {accuracy:.1%} of {len(held_out.pixels)} held-out images")
    classifier, facts = features.load(path)
    if facts["images"]["sha256"] != training.fingerprint:
        raise InputError(f"{path} was trained on other images than those of -d: choose another folder with -o")
    return classifier, facts


def write_json(path, content):
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(plain(content), indent=1) + "\n")


def plain(value):
    """`value` as JSON has it: arrays are lists, and numbers that are none are None."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(each) for each in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value


def _joint(options, names):
    """(stack, channel names) of joint cells if there are some and `names`, if given, are the same channels."""
    path = Path(options.joint) if options.joint else Path(options.data) / JOINT
    if not options.joint and not path.exists():
        return None
    stack, channels = joint.read(path)
    if names is not None and list(names[1:]) != channels[1:]:
        if options.joint:
            raise InputError(f"{path} holds {', '.join(channels[1:])} and the model draws {', '.join(names[1:])}: "
                             f"leave out --joint")
        return None
    return stack, channels


def _file_name(name, factors):
    """What a row's files are called: with the factor if there is one, for rows of several models."""
    words = name.split() + (list(factors) if len(factors) == 1 else [])
    return ".".join("".join(letter for letter in word if letter.isalnum() or letter in "-_.") for word in words)


def _progress(steps):
    from tqdm import tqdm
    return tqdm(steps, desc="scoring", unit="critic", disable=None, leave=False)


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(evaluate, parser().parse_args(arguments))
