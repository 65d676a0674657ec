#!/usr/bin/env python3
"""Compare algorithms, preprocessing and augmentation on few images: final losses, distance to held-out frames, copies.

    biogans simulate_videos -o movies -n 10 --frames 20
    python benchmarks/few_images.py -i movies/videos            train the rows that are missing in the folder few_images
    python benchmarks/few_images.py --table                     print the table of existing results

Each row is a run of train.py -m DCGAN with the fast preset, with or without --augment (AUGMENT), and reports mean
losses over the last tenth of the iterations. Distances are sliced Wasserstein distances to the crops of held-out
videos, relative to the distance of the training crops: 1 is as good as further crops of the training videos, and rows
with different preprocessing are comparable. «Copies» is the share of generated images that are closer to a training
image than 95 % of held-out images.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from biogans.core import dataloader, trained
from biogans.evaluation import metrics, neighbours
from biogans.system import arguments, launch
from biogans.system.errors import InputError

PREPROCESSING = {"all steps": (), "no denoising, no edges": ("--without", "denoise,edges"), "masks": ("--binary",)}
AUGMENT = "translation,cutout"
GENERATED = 1000


class Run(NamedTuple):
    """A row of the table; `preprocessing` is a key of PREPROCESSING."""

    algorithm: str
    preprocessing: str
    augmented: bool = False

    @property
    def folder(self):
        return self.preprocessing.replace(",", "").replace(" ", "_")

    @property
    def name(self):
        return f"{self.algorithm}.{self.folder}{'.augmented' if self.augmented else ''}"


RUNS = [Run("WGAN-GP", "all steps"), Run("WGAN-GP", "all steps", augmented=True), Run("GAN", "all steps"),
        Run("GAN", "all steps", augmented=True), Run("WGAN", "all steps"), Run("WGAN-GP", "no denoising, no edges"),
        Run("WGAN-GP", "masks")]


def compare(options):
    """Train the missing rows, or print the table. Raises InputError."""
    if options.table:
        print(table(results(options.output)))
        return
    if not options.input:
        raise InputError("give the folder of the videos with -i")
    for run in RUNS:
        path = options.output / f"{run.name}.json"
        if not path.exists():
            row = measure(run, options)
            path.write_text(json.dumps(row, indent=1))
            print(table([row]), flush=True)


def measure(run, options):
    """Preprocess, train, generate and compare; return one row as a dict."""
    data = options.output / "data" / run.folder
    checkpoints = options.output / "checkpoints" / run.name
    command("preprocess", "-i", options.input, "-o", data, *PREPROCESSING[run.preprocessing])
    command("train", "-d", data, "-m", "DCGAN", "-a", run.algorithm, "--preset", "fast", "-e", options.iterations,
            "-M", options.iterations, "-c", checkpoints, *(("--augment", AUGMENT) if run.augmented else ()), "--resume")
    with open(next(checkpoints.glob("log.*.csv")), newline="") as file:
        log = list(csv.DictReader(file))
    last = log[-max(1, len(log) // 10):]
    losses = {name: float(np.mean([float(line[f"{name}_loss"]) for line in last])) for name in ("critic", "generator")}
    generator = trained.load_generator(next(checkpoints.glob("weights.generator.*")))
    training, held_out = (dataloader.load(data, split=split, channels=generator.metadata.images["channels"]).pixels
                          for split in ("train", "test"))
    generated = generator.cells(GENERATED, np.random.default_rng(0))
    unit = metrics.sliced_wasserstein(held_out, training)
    space = neighbours.Space(training, generated)
    near = [neighbours.nearest(space.features(images), space.features(training)).distance
            for images in (held_out, generated)]
    return {"algorithm": run.algorithm, "preprocessing": run.preprocessing,
            "augment": AUGMENT if run.augmented else "none", "images": len(training),
            "iterations": options.iterations, "seconds": float(log[-1]["seconds"]), **losses,
            "distance": metrics.sliced_wasserstein(held_out, generated) / unit,
            "copies": float((near[1] < np.quantile(near[0], 0.05)).mean())}


def command(name, *arguments):
    """Run a biogans command. Raises InputError with its message if it fails."""
    done = subprocess.run([sys.executable, ROOT / "bin/biogans", name, *map(str, arguments)], capture_output=True,
                          text=True)
    if done.returncode:
        raise InputError(done.stderr)


def results(folder):
    order = [run.name for run in RUNS]
    paths = sorted(folder.glob("*.json"), key=lambda path: order.index(path.stem))
    return [json.loads(path.read_text()) for path in paths]


def table(rows):
    """The rows as a Markdown table."""
    lines = ["| algorithm | preprocessing | --augment | critic loss | generator loss | distance | copies |",
             "|---|---|---|---|---|---|---|"]
    lines += ["| {algorithm} | {preprocessing} | {augment} | {critic:.2f} | {generator:.2f} | {distance:.2f} | "
              "{copies:.1%} |".format(**row) for row in rows]
    return "\n".join(lines)


def parser():
    result = arguments.Parser(prog="few_images.py", description=__doc__)
    result.add_argument("-i", "--input", metavar="VIDEOS", help="folder of videos; required without --table")
    result.add_argument("-o", "--output", type=Path, default=Path("few_images"), metavar="FOLDER",
                        help="default=few_images")
    result.add_argument("-e", "--iterations", type=arguments.positive_int, default=500, metavar="N",
                        help="of each row; default=500")
    result.add_argument("--table", action="store_true", help="only print the table of existing results")
    return result


def main(arguments=None):
    return launch.run(compare, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
