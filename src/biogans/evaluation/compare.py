"""Compare preprocessings, architectures and algorithms by trainings of equal time; write a report."""

import itertools
import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

from ..core import options as command_line
from ..core.gan import ALGORITHMS
from ..core.models import ARCHITECTURES
from ..core.settings import resolve_network, resolve_settings
from ..system import arguments, launch
from ..system.arguments import rare
from ..system.errors import InputError
from ..system.files import Lock
from ..system.json_text import read_json
from ..system.stop import StopRequest
from . import comparison_page, run_measures, trainings
from .diversity import FEWEST
from .json_files import write_json

NUMBER = 1000               # generated images of each run
OWN = ("network_model", "gan_algorithm", "seed", "epochs", "monitor_progress", "save_minutes",
       "checkpoints_dir", "use_pretrained_weights", "resume", "cache")        # options of train.py set here
DESCRIPTION = """

Every combination of -d, -m, -a and -s is a run of train.py in a folder of its own, with --preset fast unless
other options say so. Runs are stopped after equal minutes of iterations, without compilation. If the
command is interrupted or killed, repeat it: finished runs are kept, the others resume."""
EPILOG = """compare/report.html         everything in one file: copy it anywhere, open it in a browser
compare/ranking.csv         the ranking; compare/runs.csv: all runs
compare/losses.png          losses and distances, one panel per combination; compare/samples.png: images
compare/runs/…              the runs, with their checkpoints; remove the folder of a failed one to train it again

examples:
  biogans compare -d data -m DCGAN,DCGAN-separable -a GAN,WGAN-GP --minutes 5 --seeds 1,2
  biogans compare -d plain -d masks -m DCGAN
      two preprocessings: outputs of biogans preprocess with different options
  biogans compare -d data -a WGAN-GP --minutes 30 -- -p Alp14,Tea1 --augment translation,cutout
      further options of train.py follow --"""


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans compare", description=__doc__ + DESCRIPTION, epilog=EPILOG, help_all=True,
                         usage="biogans compare -d DATAROOT [-d DATAROOT …] [options] [-- options of train.py]")
    what = p.add_argument_group("what to compare")
    what.add_argument("-d", "--data", metavar="DATAROOT", action="append", required=True,
                      help="folder of images with *_train and *_test, required; repeat it to compare several")
    what.add_argument("-m", "--network_models", type=arguments.some_of(ARCHITECTURES), default=("DCGAN",),
                      metavar="NAME,NAME", help=f"architectures: {', '.join(ARCHITECTURES)}; default=DCGAN")
    what.add_argument("-a", "--gan_algorithms", type=arguments.some_of(ALGORITHMS), default=("GAN", "WGAN-GP"),
                      metavar="NAME,NAME", help=f"training algorithms: {', '.join(ALGORITHMS)}; default=GAN,WGAN-GP")
    what.add_argument("-s", "--seeds", type=arguments.several(arguments.seed), default=(1, 2), metavar="N,N",
                      help="random seeds, a run for each; without a second one no spread is known; default=1,2")
    what.add_argument("--minutes", type=arguments.positive_float, default=5.0, metavar="MIN",
                      help="time of each run's iterations; default=5")
    machine = p.add_argument_group("machine and files")
    machine.add_argument("--jobs", type=arguments.positive_int, default=1, metavar="N",
                         help="number of runs at a time, which share the processor cores equally; default=1")
    machine.add_argument("-o", "--output", metavar="FOLDER", default="compare",
                         help="folder for the report and the runs; default=compare")
    rare(machine.add_argument("-n", "--number", type=arguments.positive_int, default=NUMBER, metavar="N",
                              help=f"number of images that each run generates for the measures; default={NUMBER}"))
    p.add_argument("train_options", nargs="*", metavar="OPTION",
                   help="further options of train.py, after --, the same for all runs")
    return p


class Folder(NamedTuple):
    """A data folder, and its training and held-out images (dataloader.Images)."""

    path: Path
    training: object
    held_out: object


def compare(options):
    """Run the command with parsed options; returns the exit status. Raises InputError."""
    launch.announce()
    if options.number < FEWEST:
        raise InputError(f"-n {options.number}: fewer than {FEWEST} images show nothing: give more")
    check_train_options(options.train_options)
    folders = load_folders(options)
    planned = plan(options, folders)
    output = Path(options.output)
    check_folder(output, options, folders)
    output.mkdir(parents=True, exist_ok=True)
    lock = Lock(output / ".lock")
    if not lock.take():
        raise InputError(f"{output}: another comparison runs here ({lock.holder}): wait until it ends, or choose "
                         f"another folder with -o")
    try:
        write_json(output / "comparison.json", describe(options, folders))
        return train_and_report(options, planned, folders)
    finally:
        lock.release()


def train_and_report(options, planned, folders):
    """Train what is unfinished, then measure and report; returns the exit status."""
    ended = sum(bool(each.state) for each in planned)
    time = comparison_page.format_minutes(60 * options.minutes)
    print(f"{len(planned)} runs of {time} each" + (f", {ended} of which have ended" if ended else ""), flush=True)
    with StopRequest() as stop:
        trainings.train_all(planned, options.jobs, stop)
    if stop.requested:
        ended = sum(bool(each.state) for each in planned)
        print(f"stopped by {stop.name}: {ended} of {len(planned)} runs have ended: repeat the command to resume")
        return stop.status
    report(options, planned, folders)
    return 0


# ---------------------------------------------------------------------------------------------- before the training

def check_train_options(words):
    """Raise InputError if these options of train.py contradict those of the comparison."""
    options = command_line.parser().parse_args(["-d", "", *words])
    wrong = ["data"] * bool(options.data) + [name for name in OWN if name in options.given]
    if wrong:
        raise InputError(f"-- {shlex.join(words)}: compare itself sets {', '.join(wrong)}: leave "
                         f"{'it' if len(wrong) == 1 else 'them'} out (biogans compare -h explains the options)")


def train_words(options, folder, architecture, algorithm, seed):
    """Options of train.py for a run."""
    return ["--preset", "fast", *options.train_options, "-d", str(folder), "-m", architecture, "-a", algorithm, "-s",
            str(seed)]


def load_folders(options):
    """{label: Folder} of the data folders. Raises InputError if one can't be read, or they can't be compared."""
    paths = [Path(name) for name in options.data]
    for path in paths:
        if not path.is_dir():
            raise InputError(f"{path}: no such folder: give -d the folder of your images")
    folders = {}
    for label, path in zip(folder_labels(paths), paths):
        words = train_words(options, path, options.network_models[0], options.gan_algorithms[0], 0)
        folders[label] = Folder(path.resolve(), *run_measures.load_real_images(command_line.parser().parse_args(words)))
    (first, images), *others = ((label, folder.training) for label, folder in folders.items())
    for label, other in others:
        for what, here, there in (("size or channels", images.pixels.shape[1:], other.pixels.shape[1:]),
                                  ("classes", images.factors, other.factors)):
            if here != there:
                raise InputError(f"{first} and {label} have images of different {what}, {_words(here)} and "
                                 f"{_words(there)}, which can't be compared: give -d folders of images alike")
    return folders


def _words(values):
    return " x ".join(map(str, values)) if isinstance(values[0], int) else ", ".join(values)


def folder_labels(paths):
    """Short names for folders: as many of the last parts of their paths as it takes to distinguish them."""
    parts = [path.resolve().parts[1:] for path in paths]
    for count in range(1, max(map(len, parts)) + 1):
        labels = [re.sub(r"[^\w-]+", "-", "-".join(each[-count:])) for each in parts]
        if len({*labels}) == len(labels):
            return labels
    raise InputError(f"-d {' -d '.join(map(str, paths))}: a folder is given twice, or names are too similar: leave out "
                     f"or rename one")


def plan(options, folders):
    """The trainings.Training of every run, seed by seed. Raises InputError if a network can't be built."""
    result, train = [], command_line.parser()
    for seed, (label, folder), architecture, algorithm in itertools.product(
            dict.fromkeys(options.seeds), folders.items(), options.network_models, options.gan_algorithms):
        run = trainings.Run(label, architecture, algorithm, seed)
        words = train_words(options, folder.path, architecture, algorithm, seed)
        parsed = train.parse_args(words)
        resolve_network(parsed, folder.training)
        result.append(trainings.Training(run, Path(options.output).resolve() / "runs" / run.name, words,
                                         resolve_settings(parsed), 60 * options.minutes))
    if not result:
        raise InputError("nothing to compare: give -m, -a and -s at least one value each")
    return result


def describe(options, folders):
    """What comparison.json holds."""
    return {"minutes": options.minutes, "options": options.train_options,
            "data": {label: {"folder": str(folder.path), "sha256": folder.training.fingerprint}
                     for label, folder in folders.items()},
            "architectures": options.network_models, "algorithms": options.gan_algorithms, "seeds": options.seeds}


def check_folder(output, options, folders):
    """Raise InputError if the output folder holds something else; further runs of the same comparison may join it."""
    path = output / "comparison.json"
    if not path.exists():
        if output.is_dir() and any(output.iterdir()):
            raise InputError(f"{output}: this folder holds other files: choose another one with -o")
        return
    try:
        there = read_json(path)
        here = json.loads(json.dumps(describe(options, folders)))
        wrong = [f"{name} {there[name]} there, {here[name]} here" for name in ("minutes", "options")
                 if there[name] != here[name]]
        wrong += [f"{name} {', '.join(map(str, missing))} only there"
                  for name in ("data", "architectures", "algorithms", "seeds")
                  if (missing := [each for each in there[name] if each not in here[name]])]
        wrong += [f"other images in {label}" for label, images in there["data"].items()
                  if images != here["data"].get(label, images)]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{path}: damaged, or of another version: choose another folder with -o") from None
    if wrong:
        raise InputError(f"{output} holds a different comparison ({'; '.join(wrong)}): choose another folder with -o")


# ---------------------------------------------------------------------------------------------- after the training

def report(options, planned, folders):
    """Measure the runs, write all files, and print the ranking."""
    from ..system.progress import reading

    output = Path(options.output)
    print(f"measuring {len(planned)} runs by {options.number:,} images of each", flush=True)
    settings = planned[0].settings
    real = {label: run_measures.RealImages(folder.training, folder.held_out, settings.flips)
            for label, folder in folders.items()}
    summaries = run_measures.summarise([run_measures.measure_run(each, real[each.run.data], options.number)
                                        for each in reading("measuring", "run")(planned)])
    comparison_page.write_csv(output / "ranking.csv", summaries, options.number)
    comparison_page.write_runs_csv(output / "runs.csv", summaries)
    comparison_page.write_losses(output / "losses.png", summaries)
    comparison_page.draw_samples(output / "samples.png", summaries, real)
    comparison_page.write_page(output / "report.html", summaries, real, options.number)
    print(comparison_page.format_table(*comparison_page.ranking_table(summaries)))
    remarks = [f"{each.run.name}: {text}" for each, text in comparison_page.remarks(summaries)]
    for line in [comparison_page.reference_line(real), *comparison_page.undefined(summaries), *remarks,
                 comparison_page.result_line(summaries)]:
        print(line)
    for name in ("report.html", "ranking.csv", "runs.csv", "losses.png", "samples.png"):
        print(f"Output: {output / name}")


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(compare, parser().parse_args(arguments))
