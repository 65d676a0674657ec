#!/usr/bin/env python3
"""Compare recipes of training: stars of all factors, trained for equal processor times, scored like biogans evaluate.

    biogans simulate -o data --full --joint 400
    python benchmarks/quality.py -d data --minutes 5 --seeds 3        train what is missing in the folder quality
    python benchmarks/quality.py --table                              print the tables of existing results

A recipe is a set of options of train.py. Its star is trained for --minutes of processor time on one core, not counting
compilation and scoring, so that other work on the machine hardly matters. Learning rates that fall reach 0 at the end
of this time, estimated from the first iterations. A command that was interrupted goes on with the first result that is
missing.

Scores are those of `biogans evaluate --fast`, one split: the two-sample test and the Fréchet and kernel distance, mean
over factors; errors of spots and correlations against true cells; least variety of a factor given red; torn cells.
Table entries are the median and the range over seeds.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from biogans.core import c2st, dataloader, models, options as command_line
from biogans.core.engine import Engine
from biogans.core.settings import Metadata, resolve_network, resolve_settings, variances_of_neighbours, with_variances
from biogans.core.trained import TrainedGenerator
from biogans.evaluation import evaluate, rows, scoring, variety
from biogans.system import arguments, launch
from biogans.system.errors import InputError
from biogans.system.files import replacing

SPLIT = c2st.Split(0, 0)
TIMED = 20                          # iterations from which the number that fits into the time is estimated
COMMON = ["--ngf", "16", "--ndf", "16", "-b", "8", "--init", "he"]
ONE = ["--num_D_iters", "1", "--lrD", "2e-3", "--lrG", "1e-3", "--average", "0.998"]
VARIETY, COSINE = ["--variety", "1"], ["--lr_schedule", "cosine"]
ALL = [*ONE, "--noise", *VARIETY, *COSINE]
RECIPES = {
    "2 updates, rates 1e-3": ["--num_D_iters", "2", "--lrD", "1e-3", "--lrG", "1e-3"],
    "1 update": ONE,
    "1 update, variety": ONE + VARIETY,
    "1 update, variety, cosine": ONE + VARIETY + COSINE,
    "1 update, variety, cosine, wide red": ONE + VARIETY + COSINE + ["--red_ngf", "16"],
    "1 update, noise, variety, cosine": ALL,
    "the same, half the rates": [*ALL, "--lrD", "1e-3", "--lrG", "5e-4"],
    "the same, 32 filters": [*ALL, "--ngf", "32", "--ndf", "32"],
    "the same, batches of 16": [*ALL, "-b", "16"],
    "the same, RpGAN": [*ALL, "-a", "RpGAN"],
    "the same, R1": [*ALL, "-a", "R1"],
}
COLUMNS = {"c2st": "C2ST", "frechet": "Fréchet", "kernel": "kernel", "spot_error": "spots",
           "correlation_error": "correlations", "least_variety": "least variety", "torn": "torn, %"}


def compare(options):
    """Train what is missing, or print the tables. Raises InputError."""
    if options.table:
        print(tables(options.output))
        return
    if not options.data:
        raise InputError("give the data folder with -d")
    if options.bounds:
        print(bounds(options.data))
        return
    options.output.mkdir(parents=True, exist_ok=True)
    held_out = None
    for seed in range(options.seeds):
        for recipe in options.recipes:
            path = options.output / f"{recipe.replace(', ', '.').replace(' ', '_')}.{options.minutes:g}min.{seed}.json"
            if path.exists():
                continue
            held_out = held_out or HeldOut(options.data, options.output)
            result = measure(held_out, recipe, seed, options.minutes)
            with replacing(path) as partial:
                partial.write_text(json.dumps(result, indent=1))
            print(f"{path}: {result}", flush=True)


class HeldOut:
    """Images to train on, and what stars are scored against."""

    def __init__(self, dataroot, folder):
        self.dataroot = dataroot
        self.training, self.images = (dataloader.load(dataroot, (), split) for split in ("train", "test"))
        self.classifier = evaluate.find_classifier(folder, self.training, self.images)
        self.outlines, self.joint = rows.find_outlines(self.images), rows.find_joint_cells(dataroot)
        if self.joint is None:
            raise InputError(f"{dataroot} has no {rows.JOINT_FILE}: make it with biogans simulate --joint 400")

    def scores(self, generator):
        """{column: number} of a trained.TrainedGenerator."""
        subject = c2st.Generated(generator)
        of_factors = scoring.score_split(subject, self.images, c2st.fast(), SPLIT, self.classifier)
        found = {name: float(np.mean([each[name] for each in of_factors.values()]))
                 for name in ("c2st", "frechet", "kernel")}
        samples = scoring.joint_samples(generator, 2 * len(self.joint.pixels), SPLIT)
        found |= scoring.score_joint(samples, self.joint.pixels, c2st.fast(), SPLIT) | {"c2st": found["c2st"]}
        found |= scoring.generator_variety(generator, self.joint, SPLIT)
        found["torn"] = float(np.mean([*scoring.torn_cells(subject, self.outlines, SPLIT).values()]))
        return {name: found[name] for name in COLUMNS}


def measure(held_out, recipe, seed, minutes):
    """Train once; return the content of the result file, as a dict."""
    words = ["-d", held_out.dataroot, *COMMON, *RECIPES[recipe], "-s", str(seed)]
    options, images = command_line.parser().parse_args(words), held_out.training
    spec = resolve_network(options, images)
    engine = Engine(spec, with_variances(resolve_settings(options), spec, images))
    batches = dataloader.batches(images, engine.settings.batch_size, seed, models.ARCHITECTURES[spec.architecture])
    spent, iteration, end = -np.inf, 0, np.inf
    while iteration < end and spent < 60 * minutes:
        start = time.process_time()
        engine.iterate(iteration, batches)
        # The first iteration, which compiles, is free.
        spent = max(spent, 0.0) + (time.process_time() - start) * (iteration > 0)
        iteration += 1
        if iteration == TIMED and engine.settings.horizon:
            end = round(60 * minutes * (TIMED - 1) / spent)
            engine.settings = dataclasses.replace(engine.settings, horizon=end)
    generator = TrainedGenerator(Path("in memory"), lambda: engine.average, Metadata(spec, engine.settings, {}))
    return {"recipe": recipe, "seed": seed, "minutes": minutes, "words": words[2:], "iterations": iteration,
            "spent": round(spent / 60, 2)} | held_out.scores(generator)


def bounds(dataroot):
    """Markdown table: how the variance that --variety asks for compares with that of true cells of the same red."""
    images, joint_cells = dataloader.load(dataroot), rows.find_joint_cells(dataroot)
    if joint_cells is None or not scoring.has_repeats(joint_cells):
        raise InputError(f"{dataroot} has no {rows.JOINT_FILE} with repeats: make it with biogans simulate")
    lines = ["| factor | true variance | asked for | ratio |", "|---|---|---|---|"]
    for factor, cells in variety.true_pairs(joint_cells).items():
        true = variety.variety(cells)[1] ** 2
        asked, = variances_of_neighbours(c2st.of_factor(images, factor))
        lines.append(f"| {factor} | {true:.4f} | {asked:.4f} | {asked / true:.2f} |")
    return "\n".join(lines)


def tables(folder):
    """Markdown table for each training time, with a row for each recipe."""
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*min.*.json"))]
    lines = []
    for minutes in sorted({result["minutes"] for result in results}):
        header = ["recipe", "seeds", "iterations", *COLUMNS.values()]
        lines += [f"**{minutes:g} core minutes**", "", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
        for recipe in RECIPES:
            runs = [each for each in results if (each["recipe"], each["minutes"]) == (recipe, minutes)]
            if runs:
                entries = [spread([run[name] for run in runs]) for name in COLUMNS]
                iterations = np.median([run["iterations"] for run in runs])
                lines.append(f"| {recipe} | {len(runs)} | {iterations:,.0f} | {' | '.join(entries)} |")
        lines.append("")
    return "\n".join(lines)


def spread(values):
    """Median and range as text; a dash if nothing was measured."""
    if None in values:
        return "–"
    digits = 3 if max(values) < 0.1 else 2 if max(values) < 20 else 1
    middle = f"{np.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def parser():
    result = arguments.Parser(prog="quality.py", description=__doc__)
    result.add_argument("-d", "--data", metavar="DATAROOT",
                        help="data folder with *_train, *_test and joint_test.h5; required without --table")
    result.add_argument("-o", "--output", type=Path, default=Path("quality"), metavar="FOLDER", help="default=quality")
    result.add_argument("--minutes", type=arguments.positive_float, default=5, metavar="MIN",
                        help="processor time of each training; default=5")
    result.add_argument("--seeds", type=arguments.positive_int, default=3, metavar="N",
                        help="trainings of each recipe; default=3")
    result.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="NAME",
                        help="default: all")
    result.add_argument("--bounds", action="store_true",
                        help="only print what --variety asks for beside the variety of true cells")
    result.add_argument("--table", action="store_true", help="only print the tables of existing results")
    return result


def main(arguments=None):
    return launch.run(compare, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
