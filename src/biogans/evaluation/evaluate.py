"""Measure how far generated cells are from real ones."""

import dataclasses
import sys
import time
from pathlib import Path

from ..core import c2st, codes, dataloader, trained
from ..core.gan import PAPER
from ..core.options import add_checkpoints_dir
from ..system import arguments, launch, pixels, provenance
from ..system.errors import InputError
from ..system.progress import shared_steps
from . import clusters, features, report, results, rows, stages, tables, usefulness
from .json_files import to_json, write_json

CLASSIFIER = "weights.classifier.h5"
DESCRIPTION = """

The two-sample test (C2ST) halves the held-out images at random, trains a critic to distinguish one half
from samples, and scores it on the other half: about 0 if it finds no lasting difference. It is repeated
for several splits, the same for every model; errors are standard deviations over them. Every split has a
JSON file. Existing files are not computed again, so an interrupted command can be repeated."""
EXAMPLES = """examples:
  biogans evaluate -d data --fast
      real images against real images: the zero of the scale
  biogans evaluate -d data --fast --pairs
      also every factor against every other: how large a score can be
  biogans evaluate -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -d data --fast
      a model; the table has a row for everything that was evaluated in the folder evaluation
  biogans evaluate -i checkpoints/weights.combined_model.DCGAN.WGAN-GP.1.*.h5 -d data --fast
      the checkpoints of train.py --keep_every: the scores during a training, with samples
  for k in 0 1 2 3 4 5 6 7 8 9; do echo biogans evaluate -i FILE -d data --split $k; done > jobs
      the paper's critic, hours on a CPU, as ten jobs of a swarm; when they are done:
  biogans evaluate --combine --report
      tables and figures of all splits, and one page that shows them
  biogans evaluate -i checkpoints/weights.generator.InfoGAN.GAN.0.h5 -d data --codes
      the meaning of an InfoGAN's codes"""


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans evaluate", description=__doc__ + DESCRIPTION, epilog=EXAMPLES)
    _add_rows(p.add_argument_group("what to evaluate"))
    _add_test(p.add_argument_group("the test"))
    _add_results(p.add_argument_group("results"))
    return p


def _add_rows(group):
    group.add_argument("-i", "--input_file", metavar="FILE", nargs="+", action="extend", default=[],
                       help="weights.generator, model.generator or weights.combined_model files; without any, training "
                            "images take the place of samples")
    group.add_argument("-d", "--data", metavar="DATAROOT",
                       help="folder of real images: *_test has those to compare with, *_train those for the row of "
                            "real images and for the classifier whose features are compared")
    group.add_argument("-p", "--polarity_factors", type=arguments.comma_separated, default=(), metavar="A,B",
                       help="factors to score; default: all of the images, or of the model")
    group.add_argument("--pairs", action="store_true",
                       help="also compare real images of each factor with those of every other")
    group.add_argument("--codes", action="store_true",
                       help="only compare the codes of an InfoGAN with the labels of held-out images, one folder for "
                            "each label, alongside k-means and principal components; the labels of the categories "
                            "are stored beside the weights")
    group.add_argument("--usefulness", action="store_true",
                       help="only train classifiers of the factors on generated images, on few and on all real ones, "
                            "and on both, and test them on held-out images")
    group.add_argument("--joint", metavar="FILE.h5",
                       help="true cells with all channels, from biogans simulate, to compare cells with several "
                            f"factors with; default: {rows.JOINT_FILE} in DATAROOT, if it exists")
    group.add_argument("--name", metavar="NAME",
                       help="name of the row; models of one factor each with the same name make up one row; default: "
                            "architecture, algorithm and iteration")


def _add_test(group):
    group.add_argument("--critic", metavar="NAME", choices=PAPER, default="WGAN-GP",
                       help=f"algorithm of the critic: {' | '.join(PAPER)}; default=WGAN-GP")
    group.add_argument("--fast", action="store_true",
                       help="minutes on a CPU: {splits} splits, and a critic with {ndf} filters that is trained for "
                            "{iterations} updates with batches of {batch_size} from {pool} samples; otherwise, as in "
                            "the paper, {all} splits, {full.ndf} filters, {full.iterations} updates, batches of "
                            "{full.batch_size} and {full.pool} samples. It misses fine differences: scores vary by 1 "
                            "to 2 between splits, and are not comparable with those of the full test".format(
                                **c2st.FAST, full=c2st.Critic(), splits=c2st.FAST_SPLITS, all=c2st.SPLITS))
    group.add_argument("--splits", metavar="N", type=arguments.positive_int,
                       help="number of splits; default=10, 3 with --fast")
    group.add_argument("--split", metavar="K", type=arguments.seed,
                       help="compute only split K, counted from 0, and no tables: for batch jobs")
    group.add_argument("-s", "--seed", metavar="N", type=arguments.seed, default=0,
                       help="random seed of splits and samples; the same for all rows of a table; default=0")


def _add_results(group):
    group.add_argument("-o", "--output", metavar="FOLDER", default="evaluation",
                       help="folder for JSON files, tables and figures; default=evaluation")
    group.add_argument("--combine", action="store_true",
                       help="compute nothing, only make tables and figures from the JSON files in FOLDER")
    group.add_argument("--report", action="store_true",
                       help="also write report.html, one self-contained page with tables, figures, commands, versions "
                            "and seeds")
    add_checkpoints_dir(group)


def evaluate(options):
    """Run the command with parsed options. Raises InputError."""
    launch.announce()
    folder = Path(options.output)
    if options.codes:
        return evaluate_codes(options, folder)
    if options.usefulness:
        return evaluate_usefulness(options, folder)
    if not options.combine:
        compute_splits(options, folder)
    if options.combine or options.split is None:
        combined = results.combine(results.read_results(folder))
        for path in report.write_report(folder, combined, page=options.report):
            print(f"Output: {path}")


def compute_splits(options, folder):
    """Write the result files of the splits that the options ask for, except those that exist."""
    critic = c2st.fast(options.critic) if options.fast else c2st.Critic(options.critic)
    numbers = range(options.splits or (c2st.FAST_SPLITS if options.fast else c2st.SPLITS))
    splits = [c2st.Split(options.seed, number)
              for number in (numbers if options.split is None else [options.split])]
    warned = False
    for row in load_rows(options, folder):
        c2st.check_numbers(row.held_out)
        identity = describe_row(row, critic, options.seed)
        paths = {split: folder / f"{row.file_name}.split{split.number}.json" for split in splits}
        missing = {split: path for split, path in paths.items() if not is_done(path, identity)}
        for path in sorted(folder.glob("*.split*.json")) if missing else []:
            results.require_comparable(folder, results.read_result(path), identity)
        if missing and row.source and not warned:           # real images are compared when they are read
            dataloader.warn_of_copies(*row.classifier_images)
            warned = True
        stages.write_samples(folder / f"{row.file_name}{results.STRIP}", row, options.seed)
        classifier = find_classifier(folder, *row.classifier_images) if missing and row.classifier_images else None
        for number, (split, path) in enumerate(missing.items(), 1):
            start = time.monotonic()
            with shared_steps(f"{row.name}, split {number} of {len(missing)}", "step", row.num_steps(critic)) as steps:
                scores = row.scores(critic, split, classifier, steps)
            seconds = time.monotonic() - start
            write_json(path, {"format": results.FORMAT, "split": split.number} | identity | {
                "command": provenance.command(), "versions": provenance.versions(),
                "seconds": seconds, "classifier_accuracy": classifier and classifier.accuracy} | scores)
            print(f"{path}: {tables.score_line(scores)} ({seconds:.0f} s)", flush=True)


def load_rows(options, folder):
    """Yield the rows that the options ask for, for the table in `folder`. Raises InputError."""
    if not options.data:
        raise InputError("give the folder of real images with -d, or --combine to make tables of existing results")
    if options.pairs and options.input_file:
        raise InputError("--pairs compares real images: leave out -i")
    if not options.input_file:
        real = rows.RealRow(options, folder)
        yield from [real, rows.PairsRow(real)] if options.pairs else [real]
    for path in [trained.find(name, options.checkpoints_dir) for name in options.input_file]:
        yield rows.GeneratorRow(trained.load_generator(path), options)


def describe_row(row, critic, seed):
    """The part of a row's result files that must be the same in all of them, as JSON has it."""
    return to_json({"critic": dataclasses.asdict(critic), "seed": seed, "name": row.name,
                    "held_out": {name: rows.sha256(c2st.of_factor(row.held_out, name)) for name in row.factors},
                    "source": row.source, "joint": row.joint and rows.sha256(row.joint.pixels)})


def is_done(path, identity):
    """Whether the result file `path` exists. Raises InputError if it describes something else than `identity`."""
    if not path.exists():
        return False
    stored = results.read_result(path)
    different = [name.replace("held_out", "held-out images") for name, value in identity.items()
                 if not (_comparable(stored.get(name)) == _comparable(value)
                         or name == "held_out" and includes_factors(stored.get(name), value))]
    if different:
        raise InputError(f"{path} is of another evaluation (other {', '.join(different)}): choose another folder with "
                         f"-o, or another --name")
    print(f"{path}: exists already")
    return True


def includes_factors(stored, wanted):
    """Whether the digests of held-out images in a result file, {factor: digest}, include those of all factors wanted.

    The file of all factors holds the scores of some of them.
    """
    factors = {name: digest for name, digest in wanted.items() if name != c2st.EVERYTHING}
    return bool(factors) and isinstance(stored, dict) and factors.items() <= stored.items()


def _comparable(value):
    """Part of a result file to compare; of a weights file only name, digest and factors, which determine the rest."""
    if isinstance(value, dict) and "sha256" in value:
        return {name: each for name, each in value.items() if name in ("file", "sha256", "factors")}
    return value


def find_classifier(folder, training, held_out):
    """The features.Classifier in `folder`, or a new one that is written there; None if there is only one factor.

    The stored one also serves other images, as long as it knows their factors: a table compares in one set of features.
    Raises InputError if it does not fit the `training` images.
    """
    path = folder / CLASSIFIER
    if path.exists():
        classifier = features.load_classifier(path)
        if not classifier.fits(training):
            raise InputError(f"{path} was trained on images of another shape, or of other factors, than those of -d: "
                             f"choose another folder with -o")
        if classifier.training_sha256 != training.fingerprint:
            print(f"{path}: trained on other images than those of -d; its features serve for all rows of a table")
        return classifier
    if len(training.factors) < 2:
        print(f"no features: their classifier needs several factors, and there is only {training.factors[0]}")
        return None
    print("training a classifier of the factors, for its features", flush=True)
    classifier = features.save_classifier(path, features.train_classifier(training), training, held_out)
    print(f"{path}: recognises the factor of {classifier.accuracy:.1%} of {len(held_out.pixels)} held-out images")
    return classifier


def evaluate_codes(options, folder):
    """Compare a model's codes with labels and features of held-out images; print and write FOLDER/codes.<name>.json."""
    if not (len(options.input_file) == 1 and options.data):
        raise InputError("--codes compares codes with labels: give the file of one generator with -i, and with -d a "
                         "folder of images with one folder for each label")
    generator = trained.load_generator(options.input_file[0], options.checkpoints_dir)
    spec, metadata = generator.spec, generator.metadata
    if not spec.codes:
        raise InputError(f"{generator.path} has no codes: only InfoGAN has them")
    training, held_out = (c2st.load_real(options.data, split, metadata) for split in ("train", "test"))
    dataloader.warn_of_copies(training, held_out)
    answers = codes.read_codes(trained.load_recognizer(generator.path), pixels.to_signed(held_out.pixels), spec.codes)
    found = clusters.compare_codes(answers, spec.codes, training, held_out, dataloader.read_manifest(held_out.files))
    name = options.name or rows.default_name(generator)
    target = folder / f"codes.{rows.file_name(name, spec.factors)}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(target, {"format": results.FORMAT, "file": str(generator.path), "images": len(held_out.pixels),
                        "iteration": metadata.iteration, "training": dataclasses.asdict(metadata.training),
                        "command": provenance.command(), "versions": provenance.versions(), "rows": found})
    print(f"{len(held_out.pixels)} held-out images\n{clusters.format_rows(found)}\nOutput: {target}")
    name_categories(generator, clusters.category_labels(answers, spec.codes, held_out))


def evaluate_usefulness(options, folder):
    """Print what classifiers learn from generated cells; write FOLDER/usefulness.<name>.json."""
    if not (len(options.input_file) == 1 and options.data):
        raise InputError("--usefulness trains classifiers: give the file of one generator with -i, and with -d a "
                         "folder of real images of several factors")
    generator = trained.load_generator(options.input_file[0], options.checkpoints_dir)
    training, held_out = (c2st.load_real(options.data, split, generator.metadata, options.polarity_factors)
                          for split in ("train", "test"))
    rows.check_held_out(options.data, training, held_out)
    found = usefulness.usefulness(generator, training, held_out)
    name = options.name or rows.default_name(generator)
    target = folder / f"usefulness.{rows.file_name(name, generator.spec.factors)}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(target, {"format": results.FORMAT, "file": str(generator.path), "held_out": len(held_out.pixels),
                        "command": provenance.command(), "versions": provenance.versions(), "rows": found})
    print(f"{usefulness.table(found)}\nOutput: {target}")


def name_categories(generator, labels):
    """Print which label each category generates, and write the labels beside the weights, for predict.py and others."""
    for code in (code for code in generator.spec.codes if code.is_categorical):
        for category in code.values(code.size):
            print(*codes.label_lines({code: category}, labels), sep="\n")
    if labels:
        path = codes.labels_path(generator)
        try:
            write_json(path, codes.labels_content(generator, labels) | {"command": provenance.command()})
            print(f"Output: {path}")
        except OSError as problem:
            print(f"{path} can't be written ({problem.strerror}): other commands will not know these labels",
                  file=sys.stderr)


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(evaluate, parser().parse_args(arguments))
