#!/usr/bin/env python3
"""Compare training settings: train for equal processor times and score the results against held-out images.

    biogans simulate -o truth --train 1020 --test 1800
    python benchmarks/quality.py -d truth --seconds 60 --seeds 3         train what is missing in the folder quality
    python benchmarks/quality.py --table                                 print the table of existing results

Each variant is the fast preset with other options. Its star is trained for --seconds of processor time, not counting
compilation and scoring, so that other work on the machine hardly matters. It is scored at six times by the Fréchet and
the kernel distance of biogans evaluate, between classifier features of as many cells as there are held-out images of a
factor, averaged over the factors; for the moving average of the weights and, in the baseline, for the last weights. At
the end it is also scored by the two-sample test in fast mode, one split. «Faster» is the ratio of the baseline's time
to the time at which a variant reaches the baseline's final Fréchet distance: medians over seeds, interpolated between
the six times in logarithms, below 1 for a slower variant.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from biogans.core import c2st, dataloader, models, options as command_line
from biogans.core.engine import Engine, float32_generator
from biogans.core.settings import Metadata, resolve_network, resolve_settings
from biogans.core.trained import TrainedGenerator
from biogans.evaluation import evaluate, scoring
from biogans.system import arguments, launch
from biogans.system.errors import InputError
from biogans.system.lazy import keras

FACTORS = "Sid2,Tea1"               # two of six, so that one core trains their star in a minute
TIMES = 6
FEW = 10                            # images per factor in the variants with few images
VARIANTS = {
    "baseline": [],
    "1 critic update, lrD 2e-3": ["--num_D_iters", "1", "--lrD", "2e-3"],
    "5 critic updates": ["--num_D_iters", "5"],
    "bfloat16": ["--precision", "bfloat16"],
    "R1, 1 update": ["-a", "R1", "--num_D_iters", "1"],
    "hinge, 1 update, rates 4e-4": ["-a", "hinge", "--num_D_iters", "1", "--lrD", "4e-4", "--lrG", "4e-4"],
    f"{FEW} images": [],
    f"{FEW} images, color,translation,cutout": ["--augment", "color,translation,cutout"],
}
LAST_WEIGHTS = "last weights"       # the baseline's trainings, scored without the moving average


def compare(options):
    """Train what is missing, or print the table. Raises InputError."""
    if options.table:
        print(table(results(options.output)))
        return
    if not options.data:
        raise InputError("give the data folder with -d")
    options.output.mkdir(parents=True, exist_ok=True)
    scorer = Scorer(options.data, options.output)
    for seed in range(options.seeds):
        for variant in options.variants:
            path = options.output / f"{variant.replace(' ', '_')}.{seed}.json"
            if not path.exists():
                path.write_text(json.dumps(measure(scorer, options.data, variant, seed, options.seconds), indent=1))
                print(f"{path}: {json.loads(path.read_text())['points'][-1]}", flush=True)


class Scorer:
    """Scores generators against held-out images."""

    def __init__(self, dataroot, folder):
        everything = dataloader.load(dataroot)
        self.held_out = dataloader.load(dataroot, tuple(FACTORS.split(",")), "test")
        self.classifier = evaluate.find_classifier(folder, everything, dataloader.load(dataroot, (), "test"))

    def distances(self, generator):
        """{frechet, kernel} of a trained.TrainedGenerator: means over the factors."""
        real = {name: c2st.of_factor(self.held_out, name) for name in generator.spec.factors}
        generated = c2st.Generated(generator).samples(0, max(map(len, real.values())), c2st.Split(0, 0))
        scores = [scoring.feature_scores(self.classifier, images, generated[name][1][:len(images)], name)
                  for name, images in real.items()]
        return {metric: float(np.mean([score[metric] for score in scores])) for metric in ("frechet", "kernel")}

    def two_sample(self, generator):
        """Two-sample score of a trained.TrainedGenerator: mean over the factors."""
        scores = c2st.two_sample(c2st.Generated(generator), self.held_out, c2st.fast(), c2st.Split(0, 0))
        return float(np.mean([score for _, score, _ in scores]))


def measure(scorer, dataroot, variant, seed, seconds):
    """Train once; return the content of the result file, as a dict."""
    options = command_line.parser().parse_args(
        ["-d", dataroot, "-p", FACTORS, "--preset", "fast", "-s", str(seed), *VARIANTS[variant]])
    settings, images = resolve_settings(options), dataloader.load(options.data, options.polarity_factors)
    if variant.startswith(f"{FEW} images"):
        images = first_images(images, FEW)
    engine = Engine(resolve_network(options, images), settings)
    batches = dataloader.batches(images, settings.batch_size, seed, models.ARCHITECTURES[engine.spec.architecture])
    engine.iterate(0, batches)
    spent, iteration, points = 0.0, 1, []
    while len(points) < TIMES:
        start = time.process_time()
        engine.iterate(iteration, batches)
        spent += time.process_time() - start
        iteration += 1
        if spent >= seconds * (len(points) + 1) / TIMES:
            keras.config.set_dtype_policy("float32")
            points.append({"seconds": spent, "iterations": iteration})
            points[-1]["average"] = scorer.distances(as_trained(engine, engine.average))
            if variant == "baseline":
                points[-1][LAST_WEIGHTS] = scorer.distances(as_trained(engine, last_weights(engine)))
    return {"variant": variant, "seed": seed, "options": VARIANTS[variant], "points": points,
            "c2st": scorer.two_sample(as_trained(engine, engine.average))}


def as_trained(engine, network):
    """A trained.TrainedGenerator of a generator of the engine."""
    return TrainedGenerator(Path("in memory"), lambda: network, Metadata(engine.spec, engine.settings, {}))


def last_weights(engine):
    """A float32 copy of the generator with its current weights."""
    copy = float32_generator(engine.spec)
    copy.set_weights(engine.generator.get_weights())
    return copy


def first_images(images, number):
    chosen = np.concatenate([np.flatnonzero(images.labels == k)[:number] for k in range(len(images.factors))])
    return dataloader.Images(images.pixels[chosen], images.labels[chosen], images.factors, images.channels)


def results(folder):
    """{variant: [results of its seeds]}, with the baseline's last weights as a separate variant."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        found.setdefault(result["variant"], []).append(result | {"weights": "average"})
        if result["variant"] == "baseline":
            found.setdefault(LAST_WEIGHTS, []).append(result | {"weights": LAST_WEIGHTS})
    return {name: found[name] for name in ["baseline", LAST_WEIGHTS, *VARIANTS] if name in found}


def table(found):
    """Markdown table with a row for each variant."""
    lines = ["| variant | seeds | iterations | Fréchet | kernel | C2ST | faster |", "|---|---|---|---|---|---|---|"]
    for name, runs in found.items():
        few = f"{FEW} images"
        base = found.get(few if name.startswith(few) else "baseline")
        ends = [run["points"][-1][run["weights"]] for run in runs]
        frechet, kernel = (spread([end[metric] for end in ends]) for metric in ("frechet", "kernel"))
        scores = spread([run["c2st"] for run in runs]) if name != LAST_WEIGHTS else "–"
        iterations = np.median([run["points"][-1]["iterations"] for run in runs])
        lines.append(f"| {name} | {len(runs)} | {iterations:.0f} | {frechet} | {kernel} | {scores} "
                     f"| {'' if base is None else faster(curve(base), curve(runs))} |")
    return "\n".join(lines)


def spread(values):
    return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def curve(runs):
    """(seconds, Fréchet distances) at the six times, as medians over the runs."""
    return (np.median([[point["seconds"] for point in run["points"]] for run in runs], axis=0),
            np.median([[point[run["weights"]]["frechet"] for point in run["points"]] for run in runs], axis=0))


def faster(base, other):
    """How many times faster the curve `other` reaches the final distance of the curve `base`, as text."""
    seconds, distances = other
    target, end = base[1][-1], base[0][-1]
    below = np.flatnonzero(distances <= target)
    if not len(below):
        return "not reached"
    first = below[0]
    if first == 0:
        return f"> {end / seconds[0]:.1f} ×"
    step = np.log(distances[first - 1] / target) / np.log(distances[first - 1] / distances[first])
    reached = np.exp(np.log(seconds[first - 1]) + step * np.log(seconds[first] / seconds[first - 1]))
    return f"{end / reached:.2f} ×"


def parser():
    result = arguments.Parser(prog="quality.py", description=__doc__)
    result.add_argument("-d", "--data", metavar="DATAROOT",
                        help="data folder with *_train and *_test; required without --table")
    result.add_argument("-o", "--output", type=Path, default=Path("quality"), metavar="FOLDER", help="default=quality")
    result.add_argument("--seconds", type=arguments.positive_float, default=60, metavar="S",
                        help="processor time of each training; default=60")
    result.add_argument("--seeds", type=arguments.positive_int, default=3, metavar="N",
                        help="trainings of each variant; default=3")
    result.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME",
                        help="default: all")
    result.add_argument("--table", action="store_true", help="only print the table of existing results")
    return result


def main(arguments=None):
    return launch.run(compare, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
