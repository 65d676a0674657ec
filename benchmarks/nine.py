#!/usr/bin/env python3
"""Train three architectures with every algorithm for a short time, and combine their samples in one picture.

Each training runs bin/train.py in a temporary folder, with default options except for the preset and the number of
iterations. It must end with status 0 and finite losses.
"""

import csv
import itertools
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from biogans.core import figures, trained
from biogans.core.gan import PAPER
from biogans.core.settings import PRESETS
from biogans.core.train import GRID, STAR_GRID
from biogans.system import arguments, launch
from biogans.system.errors import InputError
from biogans.system.files import replacing
from biogans.system.lattice import label_font, legible

MARGIN, LABEL, TITLE = 12, 40, 50           # pixels
SEED = 1                                    # of the cells in the picture
BACKGROUND, INK = "white", "black"
HEADER = (f"{'architecture':<17}{'algorithm':<10}{'seconds':>9}{'ms/iteration':>14}"
          f"{'critic loss':>22}{'generator loss':>24}")


class Run(NamedTuple):
    """One training.

    seconds        of the whole command, including the start of TensorFlow
    milliseconds   of the median iteration, because WGAN's first 25 update the critic 100 times each
    first, last    (critic, generator) losses of the first and the last iteration
    samples        the grid of images after the last iteration, a Pillow image
    """

    architecture: str
    algorithm: str
    seconds: float
    milliseconds: float
    first: tuple
    last: tuple
    samples: Image.Image


def train(architecture, algorithm, options):
    """Run train.py and return a Run. Raises InputError if it fails."""
    name = f"{architecture} with {algorithm}"
    command = [sys.executable, ROOT / "bin" / "train.py", "-d", Path(options.data).resolve(), "-m", architecture,
               "-a", algorithm, "--preset", options.preset, "-e", str(options.epochs), "-M", str(options.epochs)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        seconds = time.monotonic() - start
        if result.returncode:
            raise InputError(f"{name} ended with status {result.returncode}: {result.stderr[-2000:]}")
        losses, milliseconds = read_log(only_file(folder, f"checkpoints/log.{architecture}.{algorithm}.*.csv"))
        samples = draw_samples(only_file(folder, f"checkpoints/weights.generator.{architecture}.{algorithm}.*.h5"))
    if len(losses) != options.epochs or not all(math.isfinite(loss) for pair in losses for loss in pair):
        raise InputError(f"{name} logged {len(losses)} of {options.epochs} iterations, or losses that are not finite")
    return Run(architecture, algorithm, seconds, milliseconds, losses[0], losses[-1], samples)


def draw_samples(weights):
    """Pillow image of cells of the generator in the file `weights`; the cells of a group share the red part of z."""
    generator = trained.load_generator(weights)
    groups, size = STAR_GRID if len(generator.spec.separate_factors) > 1 else GRID
    z = np.random.default_rng(SEED).standard_normal((groups, size, generator.spec.nz), np.float32)
    cells = generator.generate(generator.spec.share_red(z).reshape(groups * size, -1))
    picture = weights.with_name("samples.png")
    return Image.fromarray(figures.sample_grid(picture, generator.spec, cells, size, palette="magenta-green"))


def read_log(path):
    """Read train.py's CSV log: ([(critic loss, generator loss) of each iteration], milliseconds of the median one)."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    ends = [0.0, *(float(row["seconds"]) for row in rows)]
    return ([(float(row["critic_loss"]), float(row["generator_loss"])) for row in rows],
            1000 * statistics.median(end - start for start, end in itertools.pairwise(ends)))


def only_file(folder, pattern):
    found = list(Path(folder).glob(pattern))
    if len(found) != 1:
        raise InputError(f"train.py wrote {len(found)} files {pattern}, expected one")
    return found[0]


def line(run):
    """One row of the table, with losses as first -> last."""
    critic, generator = (f"{first:.4g} -> {last:.4g}" for first, last in zip(run.first, run.last, strict=True))
    return (f"{run.architecture:<17}{run.algorithm:<10}{run.seconds:>9.0f}{run.milliseconds:>14.0f}"
            f"{critic:>22}{generator:>24}")


def sheet(runs, title):
    """Pillow image of the samples of all runs: a row for each architecture, a column for each algorithm.

    All grids are scaled to the width of the narrowest one, so that none is enlarged.
    """
    width = min(run.samples.width for run in runs)
    grids = {(run.architecture, run.algorithm): scaled(run.samples, width) for run in runs}
    architectures, algorithms = (list(dict.fromkeys(names)) for names in zip(*grids, strict=True))
    heights = [max(grid.height for (name, _), grid in grids.items() if name == row) for row in architectures]
    step = [LABEL + height + MARGIN for height in heights]
    picture = Image.new("RGB", (MARGIN + len(algorithms) * (width + MARGIN), TITLE + sum(step)), BACKGROUND)
    pen, font = ImageDraw.Draw(picture), label_font(legible(picture.width))
    pen.text((MARGIN, TITLE // 2), title, INK, font, anchor="lm")
    for (architecture, algorithm), grid in grids.items():
        left = MARGIN + algorithms.index(algorithm) * (width + MARGIN)
        top = TITLE + sum(step[:architectures.index(architecture)])
        pen.text((left, top + LABEL // 2), f"{architecture} with {algorithm}", INK, font, anchor="lm")
        picture.paste(grid, (left, top + LABEL))
    return picture


def scaled(picture, width):
    return picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)


def train_all(options):
    """Train all combinations, print the table row by row, and write the picture."""
    print(HEADER, flush=True)
    runs = []
    for architecture in ("DCGAN", "DCGAN-separable", "DCGAN-starshaped"):
        for algorithm in PAPER:
            runs.append(train(architecture, algorithm, options))
            print(line(runs[-1]), flush=True)
    title = f"train.py --preset {options.preset} after {options.epochs} iterations, other options at their defaults"
    # With 256 colours the file is several times smaller, and two-channel cells look nearly the same.
    with replacing(Path(options.output)) as temporary:
        sheet(runs, title).quantize(256, Image.Quantize.MAXCOVERAGE).save(temporary, format="PNG", optimize=True)
    print(f"\n{sum(run.seconds for run in runs) / 60:.1f} minutes; samples of all runs: {options.output}")


def parser():
    result = arguments.Parser(prog="nine.py", description=__doc__.splitlines()[0])
    result.add_argument("-d", "--data", required=True, metavar="DATAROOT",
                        help="folder of images, as for train.py; required")
    result.add_argument("-o", "--output", required=True, metavar="FILE.png", help="the picture to write; required")
    result.add_argument("-e", "--epochs", type=arguments.positive_int, default=600, metavar="N",
                        help="iterations of each training; default=600")
    result.add_argument("--preset", choices=PRESETS, default="fast",
                        help="preset of train.py; default=fast")
    return result


def main(arguments=None):
    return launch.run(train_all, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
