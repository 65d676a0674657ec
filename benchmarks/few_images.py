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

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from biogans.core import checkpoint, dataloader
from biogans.evaluation import neighbours, scoring

ROOT = Path(__file__).resolve().parents[1]
PREPROCESSING = {"all steps": (), "no denoising, no edges": ("--without", "denoise,edges"), "masks": ("--binary",)}
AUGMENT = "translation,cutout"
RUNS = [("WGAN-GP", "all steps", False), ("WGAN-GP", "all steps", True), ("GAN", "all steps", False),
        ("GAN", "all steps", True), ("WGAN", "all steps", False), ("WGAN-GP", "no denoising, no edges", False),
        ("WGAN-GP", "masks", False)]
GENERATED = 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-i", "--input", metavar="VIDEOS", help="folder of videos; required without --table")
    parser.add_argument("-o", "--output", type=Path, default=Path("few_images"), help="default=few_images")
    parser.add_argument("-e", "--iterations", type=int, default=500, help="of each row; default=500")
    parser.add_argument("--table", action="store_true", help="only print the table of existing results")
    options = parser.parse_args()
    if options.table:
        print(table(results(options.output)))
        return
    if not options.input:
        parser.error("give the folder of the videos with -i")
    for run in RUNS:
        path = options.output / f"{name_of(*run)}.json"
        if not path.exists():
            row = measure(*run, options.input, options.output, options.iterations)
            path.write_text(json.dumps(row, indent=1))
            print(table([row]), flush=True)


def name_of(algorithm, preprocessing, augmented):
    return f"{algorithm}.{preprocessing.replace(',', '').replace(' ', '_')}{'.augmented' if augmented else ''}"


def measure(algorithm, preprocessing, augmented, videos, output, iterations):
    """Preprocess, train, generate and compare; return one row as a dict."""
    data = output / "data" / preprocessing.replace(",", "").replace(" ", "_")
    checkpoints = output / "checkpoints" / name_of(algorithm, preprocessing, augmented)
    run("preprocess", "-i", videos, "-o", data, *PREPROCESSING[preprocessing])
    run("train", "-d", data, "-m", "DCGAN", "-a", algorithm, "--preset", "fast", "-e", iterations, "-M", iterations,
        "-c", checkpoints, *(("--augment", AUGMENT) if augmented else ()), "--resume")
    with open(next(checkpoints.glob("log.*.csv")), newline="") as file:
        log = list(csv.DictReader(file))
    last = log[-max(1, len(log) // 10):]
    losses = {name: float(np.mean([float(line[f"{name}_loss"]) for line in last])) for name in ("critic", "generator")}
    generator, spec, facts = checkpoint.load_generator(next(checkpoints.glob("weights.generator.*")))
    training, held_out = (dataloader.load(data, split=split, channels=facts["images"]["channels"]).pixels
                          for split in ("train", "test"))
    generated = scoring.Generated(generator, spec).cells(GENERATED, np.random.default_rng(0))
    unit = metrics.sliced_wasserstein(held_out, training)
    space = neighbours.Space(training, generated)
    near = [neighbours.nearest(space.features(images), space.features(training)).distance
            for images in (held_out, generated)]
    return {"algorithm": algorithm, "preprocessing": preprocessing, "augment": AUGMENT if augmented else "none",
            "images": len(training), "iterations": iterations, "seconds": float(log[-1]["seconds"]), **losses,
            "distance": metrics.sliced_wasserstein(held_out, generated) / unit,
            "copies": float((near[1] < np.quantile(near[0], 0.05)).mean())}


def run(command, *arguments):
    done = subprocess.run([sys.executable, ROOT / "bin/biogans", command, *map(str, arguments)], capture_output=True,
                          text=True)
    if done.returncode:
        sys.exit(done.stderr)


def results(folder):
    order = [name_of(*run) for run in RUNS]
    paths = sorted(folder.glob("*.json"), key=lambda path: order.index(path.stem))
    return [json.loads(path.read_text()) for path in paths]


def table(rows):
    """The rows as a Markdown table."""
    lines = ["| algorithm | preprocessing | --augment | critic loss | generator loss | distance | copies |",
             "|---|---|---|---|---|---|---|"]
    lines += ["| {algorithm} | {preprocessing} | {augment} | {critic:.2f} | {generator:.2f} | {distance:.2f} | "
              "{copies:.1%} |".format(**row) for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
