#!/usr/bin/env python3
"""Train the models of the paper's comparison on simulated cells, evaluate all, and write the tables.

    python benchmarks/paper_table.py                     some 60 minutes of one core, so half of that on two
    python benchmarks/paper_table.py --full -d data      the paper's settings; see what it says of the hours

All models are trained for equally many iterations with the same batches, rates and number of critic updates, as in the
paper, so each critic and each generator learns as often; one iteration of a large model takes longer, and the table
says how long. Every step is a command of bin/ in a process of its own, with one thread: several run side by side. What
is done is not done again: interrupt it, and repeat the command to go on.
"""

import concurrent.futures
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from biogans.core import options as command_line
from biogans.system import launch
from biogans.evaluation import report
from biogans.system.errors import InputError
from biogans.system.files import replacing

FACTORS = ("Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1")
SIMULATED = ("--train", "6000", "--test", "1800", "--joint", "400")
BEGIN, END = "<!-- made by benchmarks/paper_table.py -->", "<!-- end of what is made -->"
FIGURES = {"c2st": "Two-sample scores of each factor and model", "pairs": "Two-sample scores between factors",
           "correlations": "Correlations between channels: true cells, and how far off each model is",
           "localisation": "Where each channel lies along the cell, and how many spots it has"}
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1",
              "OPENBLAS_NUM_THREADS": "1"}
# Core seconds of an iteration, and of a critic of the evaluation: measured by this command; for the paper's settings
# from the FLOP (counting.py) at the 135 GFLOP/s of a core that docs/speed.md has for such networks.
QUICK = {"DCGAN": 0.033, "DCGAN-separable": 0.041, "DCGAN-multichannel": 0.28, "DCGAN-separable-multichannel": 0.31,
         "DCGAN-independent": 0.22, "DCGAN-starshaped": 0.26, "critic": 8}
START = 12          # core seconds of a process, before it does anything
FULL = {"DCGAN": 5.4, "DCGAN-separable": 5.2, "DCGAN-multichannel": 66, "DCGAN-separable-multichannel": 65,
        "DCGAN-independent": 32, "DCGAN-starshaped": 30, "critic": 4900}


class Model(NamedTuple):
    """A row of the table, or the part of it that is of one factor; it has a row for each of its stages.

    stages    shares of the iterations after which it is evaluated, ascending, the last of them 1
    """

    row: str
    architecture: str
    factor: str = ""
    stages: tuple = (1,)

    @property
    def folder(self):
        return "-".join([*self.row.split(), *([self.factor] if self.factor else [])])


MODELS = [
    Model("star-shaped", "DCGAN-starshaped", stages=(0.05, 0.25, 1)),
    Model("multi-channel", "DCGAN-multichannel"),
    Model("independent", "DCGAN-independent"),
    *(Model("one-class", "DCGAN", factor) for factor in FACTORS),
    Model("multi-channel separable", "DCGAN-separable-multichannel"),
    *(Model("one-class separable", "DCGAN-separable", factor) for factor in FACTORS),
]


class Work:
    """Commands in the folder of the work, their times, and whether they are done.

    folder   where all that is made lies; times.json there has {label: {"wall": seconds, "core": seconds}}
    """

    def __init__(self, options):
        self.options, self.folder = options, Path(options.work)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = Path(options.data).resolve() if options.data else self.folder.resolve() / "data"
        self.times_file, self.lock = self.folder / "times.json", threading.Lock()
        self.times = json.loads(self.times_file.read_text()) if self.times_file.exists() else {}
        self.commands = []

    def run(self, label, command, *arguments, folder="."):
        """Run a command; raises InputError with the end of what it said if it fails."""
        words = ["biogans", command, *map(str, arguments)]
        place = self.folder / folder
        place.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        with open(place / f"{command}.log", "a+") as log:
            process = subprocess.Popen([sys.executable, ROOT / "bin" / words[0], *words[1:]], cwd=place, stdout=log,
                                       stderr=subprocess.STDOUT, env=os.environ | ONE_THREAD)
            _, status, used = os.wait4(process.pid, 0)
            log.seek(0)
            said = log.read()[-2000:]
        if status:
            raise InputError(f"{label}: {shlex.join(words)} in {place} failed: {said}")
        with self.lock:
            spent = self.times.setdefault(label, {"wall": 0, "core": 0})
            spent["wall"] += time.monotonic() - start
            spent["core"] += used.ru_utime + used.ru_stime
            with replacing(self.times_file) as temporary:
                temporary.write_text(json.dumps(self.times, indent=1))
            print(f"{time.strftime('%H:%M:%S')} {label}: {time.monotonic() - start:.0f} s", flush=True)

    def evaluate(self, label, file, *arguments):
        """biogans evaluate with all splits, unless their files are there."""
        splits = self.options.splits or (10 if self.options.full else 3)
        if all((self.folder / "evaluation" / f"{file}.split{k}.json").exists() for k in range(splits)):
            return
        fast = [] if self.options.full else ["--fast"]
        self.run(label, "evaluate", "-d", self.data, *fast, "--splits", splits, *arguments)

    def train(self, model):
        """Train and evaluate a model, stage by stage."""
        for share in model.stages:
            iterations = round(share * self.options.epochs)
            name = f"{model.row} {iterations}" if len(model.stages) > 1 else model.row
            weights = Path("models") / f"{model.folder}.{iterations}.h5"
            if not (self.folder / weights).exists():
                self.run(f"{model.row}: training", "train", *self.training(model, iterations), folder=model.folder)
                made, = (self.folder / model.folder / "checkpoints").glob("weights.generator.*.h5")
                (self.folder / "models").mkdir(exist_ok=True)
                with replacing(self.folder / weights) as temporary:
                    shutil.copy(made, temporary)
            parts = [*name.split(), *([model.factor] if model.factor else [])]
            self.evaluate(f"{model.row}: evaluation", ".".join(parts), "-i", weights, "--name", name)

    def training(self, model, iterations):
        preset = [] if self.options.full else ["--preset", "fast"]
        factor = ["-p", model.factor] if model.factor else []
        return ["-d", self.data, "-m", model.architecture, *factor, *preset, "-e", iterations, "-M", iterations,
                "--resume"]

    def minutes(self, *labels):
        """Minutes of one core that these steps took, as text."""
        return f"{sum(self.times.get(label, {}).get('core', 0) for label in labels) / 60:.1f}"


def make(options):
    """Train and evaluate what is not there yet, then write tables and figures. Raises InputError."""
    work = Work(options)
    if options.combine:
        return write(work, options)
    cores = options.jobs or len(os.sched_getaffinity(0))
    hours = expected_hours(options)
    print(f"about {hours:.3g} hours of one core, so {hours / cores:.3g} hours with {cores} steps at a time on as many "
          f"free cores; in {work.folder}", flush=True)
    start = time.monotonic()
    if not options.data and not (work.data / "joint_test.h5").exists():         # which is written last
        work.run("simulation", "simulate", "-o", work.data, *SIMULATED, "--overwrite")
    failures = run_all([lambda: work.evaluate("real images: evaluation", "pairs", "--pairs"),
                        *(functools.partial(work.train, model) for model in MODELS)], cores)
    write(work, options)
    print(f"{options.output} after {(time.monotonic() - start) / 60:.1f} minutes")
    if failures:
        raise InputError(f"{len(failures)} steps failed, and their rows are missing: repeat the command")


def run_all(steps, at_a_time):
    """Call all `steps`; returns the InputErrors of those that failed. Ctrl-C ends it with those that are under way."""
    failures = []
    with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
        try:
            for step in concurrent.futures.as_completed([pool.submit(step) for step in steps]):
                try:
                    step.result()
                except InputError as mistake:
                    failures.append(mistake)
                    print(mistake, file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failures


def expected_hours(options):
    """Core hours of everything, from measured rates."""
    rate = FULL if options.full else QUICK
    training = sum(rate[model.architecture] for model in MODELS) * options.epochs
    critics = 7 + 3 + 30 + sum(len(model.stages) * (1 if model.factor else 7) for model in MODELS)
    processes = 2 + 2 * sum(len(model.stages) for model in MODELS)
    scoring = critics * (options.splits or (10 if options.full else 3)) * rate["critic"]
    return (training + scoring + processes * START) / 3600


# ---------------------------------------------------------------------------------------------- what is written

def write(work, options):
    """Put tables, figures and how they were made into the file `-o`, between its marks; what is around them stays."""
    combined = report.combine(report.read(work.folder / "evaluation"))
    output = Path(options.output)
    pictures = []
    for name, figure in report.figures(combined).items():
        path = output.with_name(f"{output.stem}_{name}.png")
        report.write_figure(path, figure)
        pictures.append(f"![{FIGURES[name]}]({path.name})\n")
    made = "\n".join([BEGIN, "", report.markdown(combined), *pictures, how_it_was_made(work, options, combined), END])
    text = output.read_text() if output.exists() else f"# The models of the paper's comparison\n\n{BEGIN}{END}\n"
    if BEGIN not in text or END not in text:
        raise InputError(f"{output}: the marks between which the tables go are gone: remove it")
    with replacing(output) as temporary:
        temporary.write_text(text[:text.index(BEGIN)] + made + text[text.index(END) + len(END):])


def how_it_was_made(work, options, combined):
    """Markdown: networks, iterations and times of each row, the commands, the versions."""
    sources = {result["name"]: result["source"] for result in combined.results if result["source"]}
    lines = ["**The models**", "",
             "|  | -m | networks | iterations | z | filters | generators | critics | training | evaluation |",
             "| --- " * 10 + "|"]
    for row in rows():
        names = [name for name in sources if re.fullmatch(re.escape(row[0].row) + r"( \d+)?", name)]
        if names:
            source = max((sources[name] for name in names), key=lambda source: source["iteration"])
            network = source["network"]
            counts = [f"{len(row) * count / 1e6:.2f} M" for count in parameters(network)]
            times = [work.minutes(f"{row[0].row}: {what}") for what in ("training", "evaluation")]
            lines.append("| " + " | ".join(map(str, [row[0].row, row[0].architecture, len(row), source["iteration"],
                                                     network["nz"], network["ngf"], *counts, *times])) + " |")
    first = combined.results[0]
    clock = sum(spent["wall"] for spent in work.times.values()) / 60
    lines += ["", "Weights of all networks of a row together, in millions; minutes of one core. Real images, with "
              f"the pairs of factors, took {work.minutes('real images: evaluation')}, "
              f"everything {work.minutes(*work.times)}, or {clock:.0f} minutes by the clock if the steps that ran side "
              f"by side had run one after another. The classifier of the features tells the factor of "
              f"{first['classifier_accuracy'] or 0:.1%} of the held-out images. "
              + ", ".join(f"{name} {version}" for name, version in first["versions"].items()) + ".", "",
              "```", *commands(work, options), "```", ""]
    return "\n".join(lines)


def rows():
    """The models of each row, in a list for each."""
    return [[model for model in MODELS if model.row == row] for row in dict.fromkeys(model.row for model in MODELS)]


def parameters(network):
    """Weights of the generator and of all its critics, of a network as its file describes it."""
    from biogans.core import models
    spec = models.NetworkSpec(**network | {"factors": tuple(network["factors"])})
    return [models.build_generator(spec).count_params(),
            sum(critic.count_params() for critic in models.build_critics(spec))]


def commands(work, options):
    """What was run, with the folder of the data as `data`, and one line for all factors of a row."""
    lines = [] if options.data else ["biogans simulate -o data " + " ".join(SIMULATED)]
    fast = "" if options.full else " --fast"
    splits = options.splits or (10 if options.full else 3)
    lines.append(f"biogans evaluate -d data{fast} --splits {splits} --pairs")
    for model, *_ in rows():
        loop = f"for FACTOR in {' '.join(FACTORS)}; do " if model.factor else ""
        words = ["data" if word == work.data else str(word).replace(model.factor or "\0", "$FACTOR")
                 for word in work.training(model, options.epochs)]
        lines.append(f"{loop}train.py {' '.join(words)}{' -c $FACTOR; done' if loop else ''}")
    return [*lines, f"biogans evaluate -i FILE -d data{fast} --splits {splits} --name ROW"]


def parser():
    result = command_line.Parser(prog="paper_table.py", description=__doc__)
    result.add_argument("-d", "--data", metavar="DATAROOT",
                        help=f"images, with joint_test.h5, of the factors {', '.join(FACTORS)}; default: simulated ones")
    result.add_argument("-w", "--work", metavar="FOLDER", default="paper_table",
                        help="where data, models and results go; default=paper_table")
    result.add_argument("-o", "--output", metavar="FILE.md", default=str(ROOT / "docs" / "paper_table.md"),
                        help="the file of the tables, with figures beside it; default=docs/paper_table.md")
    result.add_argument("-e", "--epochs", type=command_line._positive_int, default=None, metavar="N",
                        help="iterations of each model; default=800, and 50000 with --full")
    result.add_argument("--splits", type=command_line._positive_int, default=None, metavar="N",
                        help="splits of the evaluation; default=3, and 10 with --full")
    result.add_argument("-j", "--jobs", type=command_line._positive_int, default=None, metavar="N",
                        help="steps that run at a time, each with one thread; default: as many as there are cores")
    result.add_argument("--combine", action="store_true", help="only write the tables and figures of what is there")
    result.add_argument("--full", action="store_true",
                        help="the paper's settings: 64 filters (224), batches of 64, 50,000 iterations, critics of "
                             "5,000 updates, 10 splits")
    return result


def main(arguments=None):
    options = parser().parse_args(arguments)
    options.epochs = options.epochs or (50000 if options.full else 800)
    return launch.run(make, options)


if __name__ == "__main__":
    sys.exit(main())
