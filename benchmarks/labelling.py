#!/usr/bin/env python3
"""Compare ways to tell the greens of a cell from its red, on simulated cells all of whose greens are known.

    biogans simulate -o full --full --joint 400
    python benchmarks/labelling.py -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -d full
    python benchmarks/labelling.py --table                      print the tables of existing results

encoder      biogans label: the red part of z from an encoder, the green part at random; nine draws
steps        the same after STEPS iterations of L-BFGS for the red (biogans label --iterations)
search       the red part of z searched for as in biogans reconstruct --order red-first, without the encoder
nearest      for each factor the greens of the nine training cells that are nearest in red, nearest first
regression   a U-Net from red to all greens, trained with squared errors for --minutes: a single answer
same cell    further greens that the simulator draws into the same red: nobody can know more

Each way gives draws of each factor. Their mean is its best guess. «CRPS» is the continuous ranked probability score of
the draws (Gneiting and Raftery 2007, eq. 21; unbiased for few draws): the absolute error of a single answer, less if
draws say truly how uncertain they are. «Covered» is the share of pixels between the smallest and the largest of nine
draws, 80 % if the draws are right. «Texture» is the standard deviation of the Laplacian relative to that of the true
green: 1 is as sharp and as grainy as an image. All are means over the pixels of the cell, over cells and over factors,
with 95 % intervals over the cells (bootstrap). Times are those of the processor.
"""

import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from biogans.core import figures
from biogans.evaluation import joint
from biogans.evaluation.features import training_batches
from biogans.evaluation.rows import JOINT_FILE
from biogans.latent import encoder, inversion, label
from biogans.system import arguments, launch
from biogans.system.errors import InputError
from biogans.system.files import replacing
from biogans.system.lattice import lattice
from biogans.system.lazy import keras
from biogans.system.palettes import fitted
from biogans.system.pixels import to_signed, to_unit

DRAWS, STARTS, STEPS, SEARCHED = 9, 5, 20, 100
BATCH, RATE, FILTERS = 32, 1e-3, (32, 64, 128)
RESAMPLED, SHOWN = 1000, 3
ORDER = ("regression", "encoder", "steps", "search", "nearest", "same cell")
COLUMNS = {"guess": "best guess", "draw": "a draw", "crps": "CRPS", "covered": "covered",
           "guess_texture": "texture, best guess", "draw_texture": "texture, a draw"}


class Known(NamedTuple):
    """What all ways are given, and what they are compared with.

    generator   trained.TrainedGenerator
    training    dataloader.Images
    cells       joint.JointCells, of which only the red is shown
    minutes     of training of the U-Net
    """

    generator: object
    training: object
    cells: joint.JointCells
    minutes: float

    @property
    def factors(self):
        return self.generator.spec.factors


def compare(options):
    """Measure what is missing, or print the tables. Raises InputError."""
    if not options.table:
        if not (options.input and options.data):
            raise InputError("give the weights of a star-shaped generator with -i and a folder of simulated cells with "
                             "-d, or --table")
        known = read(options)
        for seed in range(options.seeds):
            for name in ORDER:
                measure(name, seed, known, options.output)
        path = options.output / "cells.png"
        figures.write_picture(path, picture(known, options.output))
        print(f"Output picture to file: {path}")
    print(tables(options.output))


def read(options):
    """The Known of the options. Raises InputError."""
    generator = label.load_labeller(options.input, options.checkpoints)
    cells = joint.read_joint_cells(Path(options.data) / JOINT_FILE)
    if cells.channel_names[1:] != list(generator.spec.factors):
        raise InputError(f"{options.data}: its cells have {', '.join(cells.channel_names[1:])}, and the generator "
                         f"knows {', '.join(generator.spec.factors)}: give the data on which it was trained")
    training = inversion.relabelled(label.known_images(options.data, "train", generator), generator.spec.factors)
    return Known(generator, training, cells._replace(pixels=cells.pixels[:options.number]), options.minutes)


def measure(name, seed, known, folder):
    """Write the scores of one way and seed, and some of its draws for the picture, unless they are there."""
    path = folder / f"{name.replace(' ', '_')}.{seed}.json"
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    start = time.process_time()
    draws, learning = WAYS[name](known, seed)
    seconds = time.process_time() - start - learning
    cells = to_unit(known.cells.pixels[:len(draws)])
    scores = [score(cell, own) for cell, own in zip(cells, draws, strict=True)]
    values = {column: np.array([each[column] for each in scores]).tolist() for column in scores[0]}
    with replacing(path.with_suffix(".npz")) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, draw=(255 * draws[:SHOWN, 0]).round().astype(np.uint8),
                            guess=(255 * draws[:SHOWN].mean(axis=1)).round().astype(np.uint8))
    with replacing(path) as temporary:
        Path(temporary).write_text(json.dumps({
            "way": name, "seed": seed, "cells": len(draws), "draws": draws.shape[1], "learning_s": learning,
            "drawing_s": seconds, "factors": known.factors, "scores": values}))
    print(f"{name}, seed {seed}: {learning:.0f} s of training, {seconds:.0f} s for {len(draws)} cells", flush=True)


# ---------------------------------------------------------------------------------------------- the ways

def of_encoder(known, seed, iterations=0):
    """Draws (cells, draws, height, width, factors) in [0, 1], and seconds of learning."""
    generator, start = known.generator, time.process_time()
    network = encoder.train_encoder(generator, known.training, seed)
    learning = time.process_time() - start
    z = encoder.encode(network, known.cells.pixels, generator.spec)
    if iterations:
        z, _ = inversion.search_red(generator, known.cells.pixels, z, iterations)
    return greens(generator, z, seed), learning


def of_steps(known, seed):
    return of_encoder(known, seed, STEPS)


def of_search(known, seed):
    starts = np.random.default_rng(seed).standard_normal(
        (len(known.cells.pixels), STARTS, known.generator.spec.nz), np.float32)
    z, errors = inversion.search_red(known.generator, np.repeat(known.cells.pixels, STARTS, axis=0),
                                     starts.reshape(-1, starts.shape[-1]), SEARCHED)
    best = errors.reshape(starts.shape[:2]).argmin(axis=1)
    return greens(known.generator, z.reshape(starts.shape)[np.arange(len(best)), best], seed), 0


def greens(generator, z, seed):
    return np.concatenate([found.draws[..., 1:] for found in label.labelled(generator, z, DRAWS, seed)])


def of_nearest(known, seed):
    """`seed` plays no role: the training cells are what they are."""
    from sklearn.neighbors import NearestNeighbors

    reds = known.cells.pixels[..., 0].reshape(len(known.cells.pixels), -1)
    found = []
    for k in range(len(known.factors)):
        own = known.training.pixels[known.training.labels == k]
        index = NearestNeighbors(n_neighbors=DRAWS).fit(own[..., 0].reshape(len(own), -1))
        found.append(to_unit(own[index.kneighbors(reds, return_distance=False)][..., 1]))
    return np.stack(found, axis=-1), 0


def of_regression(known, seed):
    start = time.process_time()
    network, trained = build_regression(known.generator.spec)
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    trained.compile(optimizer=keras.optimizers.Adam(RATE), loss="mse", jit_compile=False)
    one_hot = np.eye(len(known.factors), dtype=np.float32)
    for pixels, labels in training_batches(known.training, sys.maxsize, rng):
        done = (time.process_time() - start) / 60 / known.minutes
        if done >= 1:
            break
        trained.optimizer.learning_rate = RATE * min(1, 2 * (1 - done))     # constant at first, then falling to 0
        trained.train_on_batch([to_signed(pixels[..., :1]), one_hot[labels]], to_unit(pixels[..., 1:]))
    learning = time.process_time() - start
    return network.predict(to_signed(known.cells.pixels[..., :1]), verbose=0)[:, None], learning


def build_regression(spec):
    """A U-Net from red to all greens, and the network that is trained: only the green that an image shows counts."""
    layers = keras.layers
    red, factor = keras.Input((spec.height, spec.width, 1)), keras.Input((len(spec.factors),))

    def convolved(x, filters):
        for _ in range(2):
            x = layers.ReLU()(layers.Conv2D(filters, 3, padding="same")(x))
        return x

    levels = [convolved(red, FILTERS[0])]
    for filters in FILTERS[1:]:
        levels.append(convolved(layers.MaxPooling2D()(levels[-1]), filters))
    x = levels.pop()
    for filters in FILTERS[-2::-1]:
        x = convolved(layers.Concatenate()([layers.UpSampling2D()(x), levels.pop()]), filters)
    all_greens = layers.Conv2D(len(spec.factors), 1, activation="sigmoid")(x)
    shown = keras.ops.sum(all_greens * keras.ops.reshape(factor, (-1, 1, 1, len(spec.factors))), axis=-1, keepdims=True)
    return keras.Model(red, all_greens), keras.Model([red, factor], shown)


def of_same_cell(known, seed):
    """`seed` plays no role: the repeats lie in the file."""
    if known.cells.repeats is None:
        raise InputError(f"{JOINT_FILE} has no cells that were drawn again: make it with biogans simulate")
    return to_unit(known.cells.repeats[:len(known.cells.pixels)]), 0


WAYS = dict(zip(ORDER, (of_regression, of_encoder, of_steps, of_search, of_nearest, of_same_cell), strict=True))


# ---------------------------------------------------------------------------------------------- scores

def score(cell, draws):
    """{column: (factors,)} of one cell: squares for the root mean squares, otherwise means over its pixels.

    cell    (height, width, channels) in [0, 1], red first
    draws   (draws, height, width, factors) in [0, 1]
    """
    body, truth = label.inside(cell), cell[..., 1:]
    guess, low, high = draws.mean(axis=0), draws.min(axis=0), draws.max(axis=0)
    pixels = {"guess": (guess - truth) ** 2, "draw": (draws[0] - truth) ** 2, "crps": crps(draws, truth)}
    if len(draws) == DRAWS:
        pixels["covered"] = (low <= truth) & (truth <= high)
    found = {name: values[body].mean(axis=0).tolist() for name, values in pixels.items()}
    for name, image in (("guess_texture", guess), ("draw_texture", draws[0])):
        found[name] = (grain(image)[body].std(axis=0) / grain(truth)[body].std(axis=0)).tolist()
    return found


def crps(draws, truth):
    """Continuous ranked probability score of each value; draws (draws, …), truth (…).

    Gneiting and Raftery (2007), eq. 21: E|X - y| - E|X - X'| / 2, over pairs of different draws.
    """
    error = np.abs(draws - truth).mean(axis=0)
    number = len(draws)
    if number == 1:
        return error
    ranks = 2 * np.arange(1, number + 1) - number - 1
    pairs = np.tensordot(ranks, np.sort(draws, axis=0), axes=1)      # the sum of |x_i - x_j| over i < j
    return error - pairs / (number * (number - 1))


def grain(images):
    """Laplacian of each channel of an image (height, width, channels)."""
    from scipy import ndimage

    return ndimage.laplace(images, axes=(0, 1))


# ---------------------------------------------------------------------------------------------- tables

def tables(folder):
    """Two Markdown tables: all ways, and the best guess and the coverage factor by factor. Raises InputError."""
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    rows = {name: [each for each in results if each["way"] == name] for name in ORDER}
    rows = {name: each for name, each in rows.items() if each}
    if not rows:
        raise InputError(f"{folder} has no results: give -i and -d first")
    factors = next(iter(rows.values()))[0]["factors"]
    lines = ["| | cells | seeds | " + " | ".join(COLUMNS.values()) + " | training | a cell |",
             "|---" * (len(COLUMNS) + 5) + "|"]
    for name, own in rows.items():
        seconds = [np.mean([each[key] for each in own]) for key in ("learning_s", "drawing_s")]
        lines.append(f"| {name} | {own[0]['cells']} | {len(own)} | "
                     + " | ".join(summary(own, column) for column in COLUMNS)
                     + f" | {seconds[0] / 60:.1f} min | {1000 * seconds[1] / own[0]['cells']:.0f} ms |")
    lines += ["", "| best guess, covered | " + " | ".join(factors) + " |", "|---" * (len(factors) + 1) + "|"]
    for name, own in rows.items():
        lines.append(f"| {name} | " + " | ".join(", ".join(
            filter("–".__ne__, (summary(own, column, k) for column in ("guess", "covered"))))
            for k in range(len(factors))) + " |")
    return "\n".join(lines)


def summary(results, column, factor=slice(None)):
    """Mean of a column over seeds, cells and factors, ± half of its 95 % interval over cells."""
    if column not in results[0]["scores"]:
        return "–"
    values = np.mean([each["scores"][column] for each in results], axis=0)[:, factor].reshape(results[0]["cells"], -1)
    values = values.mean(axis=1)
    chosen = np.random.default_rng(0).integers(len(values), size=(RESAMPLED, len(values)))
    finish = np.sqrt if column in ("guess", "draw") else np.asarray
    low, high = np.quantile(finish(values[chosen].mean(axis=1)), (0.025, 0.975))
    middle = finish(values.mean())
    if column == "covered":
        return f"{middle:.0%} ± {(high - low) / 2:.0%}"
    return f"{middle:.3f} ± {(high - low) / 2:.3f}" if "texture" not in column else f"{middle:.2f}"


def picture(known, folder):
    """RGB picture of some cells: the true one with all greens, then the answers of each way."""
    cells = to_unit(known.cells.pixels[:SHOWN])
    palette = fitted("magenta-green", cells[..., :2])
    stored = {name: np.load(folder / f"{name}.0.npz") for name in ("regression", "encoder", "nearest")}
    answers = {"true cell": cells[..., 1:], "U-Net": stored["regression"]["guess"] / 255,
               "label: mean": stored["encoder"]["guess"] / 255, "label: a draw": stored["encoder"]["draw"] / 255,
               "nearest cell": stored["nearest"]["draw"] / 255}
    tiles, names = [], []
    for k, cell in enumerate(cells):
        for name, greens_shown in answers.items():
            tiles.append(list(figures.marker_and_merges(np.concatenate([cell[..., :1], greens_shown[k]], -1), palette)))
            names.append(name)
    return lattice(tiles, [figures.marker_name("red", palette), *known.factors], names,
                   "cells whose greens are all known, and answers given their red alone")


def parser():
    p = arguments.Parser(prog="labelling.py", description=__doc__)
    p.add_argument("-i", "--input", metavar="FILE", help="weights of a star-shaped generator")
    p.add_argument("-d", "--data", metavar="DATAROOT", help="folder of simulated cells, with joint_test.h5")
    p.add_argument("-n", "--number", type=arguments.positive_int, default=120, metavar="N",
                   help="cells of joint_test.h5; default=120")
    p.add_argument("--minutes", type=arguments.positive_float, default=15, metavar="MINUTES",
                   help="processor time to train the U-Net; default=15")
    p.add_argument("--seeds", type=arguments.positive_int, default=3, metavar="N", help="default=3")
    p.add_argument("-c", "--checkpoints", default="checkpoints", metavar="FOLDER", help="default=checkpoints")
    p.add_argument("-o", "--output", type=Path, default=Path("labelling"), metavar="FOLDER",
                   help="for the results; what is there isn't measured again; default=labelling")
    p.add_argument("--table", action="store_true", help="print the tables of existing results")
    return p


if __name__ == "__main__":
    sys.exit(launch.run(compare, parser().parse_args()))
