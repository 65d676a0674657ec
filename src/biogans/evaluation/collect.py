"""Collect the runs of a swarm into one table and one sheet of samples."""

import csv
from pathlib import Path

import numpy as np

from ..core import checkpoint, codes, dataloader, figures, metrics, options as command_line
from ..system import launch
from ..system.errors import InputError
from ..system.files import replacing
from ..system.progress import BEFORE, COLUMNS

CELLS = 12              # columns of the sheet


def parser():
    result = command_line.Parser(prog="biogans collect", description=__doc__, epilog=(
        "The table has a row for each run and a column for each setting in which they differ. On the sheet row N shows\n"
        "cells of run N, drawn from the same latents; of several factors all of a cell, then the next cell.\n\n"
        "examples:\n"
        "  biogans collect runs\n"
        "  biogans collect runs -d data -o sweep"))
    result.add_argument("folder", metavar="FOLDER", nargs="+", help="folders in which to look for checkpoints")
    result.add_argument("-d", "--data", metavar="DATAROOT",
                        help="real images: adds the sliced Wasserstein distance to their *_test part, a mean over factors")
    result.add_argument("-o", "--output", metavar="NAME", default="runs", help="writes NAME.csv and NAME.png; default=runs")
    result.add_argument("-s", "--seed", type=int, default=42, metavar="N", help="random seed of the cells; default=42")
    return result


def collect(options):
    """Collect as the parsed `options` say. Raises InputError for a user's mistake."""
    paths = find(options.folder)
    names = common(paths)
    table, sheet = [], {}
    for number, (path, name) in enumerate(zip(paths, names), 1):
        generator, spec, facts = checkpoint.load_generator(path)
        row = {"run": number, "folder": name} | settings(facts) | last_losses(path)
        if options.data:
            row["distance"] = f"{distance(generator, spec, facts, options):.3f}"
        table.append(row)
        sheet[f"{number} {name}"] = cells(generator, spec, options.seed)
    if len({images.shape[1:] for images in sheet.values()}) > 1:
        raise InputError(f"{' '.join(options.folder)}: the cells of these runs differ in size: collect them separately")
    write(table, sheet, Path(options.output))


def find(folders):
    """The weights.generator files under the folders, without those that a later run has moved aside."""
    found = [path for folder in folders for path in sorted(Path(folder).rglob("weights.generator.*.h5"))
             if not any(part.startswith("replaced-") for part in path.parts)]
    if not found:
        raise InputError(f"{' '.join(folders)}: no weights.generator file there: give the folder in which the runs are")
    return found


def common(paths):
    """Names for the runs: their folders where these differ, else with the file's name."""
    folders = [str(path.parent.parent if path.parent.name == "checkpoints" else path.parent) for path in paths]
    return [folder if folders.count(folder) == 1 else f"{folder}/{path.stem.removeprefix('weights.generator.')}"
            for folder, path in zip(folders, paths)]


def settings(facts):
    """The settings of a run and how far it came."""
    network = facts["network"] | {"factors": "+".join(facts["network"]["factors"])}
    return network | facts["training"] | {"iteration": facts["iteration"]}


def last_losses(path):
    """The last row of the run's log, without the iteration; nothing if the log is missing."""
    log = path.with_name(path.name.replace("weights.generator.", "log.")).with_suffix(".csv")
    try:
        with open(log, newline="") as file:
            rows = [row for row in csv.reader(file) if len(row) in (BEFORE, len(COLUMNS))]
    except FileNotFoundError:
        return {}
    return dict(zip(COLUMNS[1:], rows[-1][1:]))


def drawn(generator, spec, count, seed):
    """Generated pairs (red, green), float (count, len(spec.factor_channels), height, width, channels) in [-1, 1]."""
    from ..core.engine import generate
    z = codes.from_normal(np.random.default_rng(seed).standard_normal((count, spec.nz), np.float32), spec.codes)
    images = generate(generator, z, 64)
    return np.stack([images[..., view] for view in spec.factor_channels], axis=1)


def cells(generator, spec, seed):
    """CELLS generated images, uint8 (CELLS, height, width, channels), cell after cell with all factors of each."""
    images = drawn(generator, spec, CELLS, seed).reshape(-1, spec.height, spec.width, spec.channels)
    return figures.to_bytes((images[:CELLS] + 1) / 2)


def distance(generator, spec, facts, options):
    """Sliced Wasserstein distance of generated to real held-out images, a mean over the generator's greens."""
    real = dataloader.load(options.data, spec.factors, "test", facts["images"]["channels"])
    if real.pixels.shape[1:] != (spec.height, spec.width, spec.channels):
        raise InputError(f"{options.data}: these images are not of the size or channels of the training's: give others")
    fake = drawn(generator, spec, int(np.bincount(real.labels).max()), options.seed)
    truths = [real.pixels[real.labels == k] for k in range(len(spec.separate_factors))] or [real.pixels]
    return np.mean([metrics.sliced_wasserstein(truth / np.float32(127.5) - 1, fake[:, k])
                    for k, truth in enumerate(truths)])


def write(table, sheet, output):
    """Write and print the table, in CSV with all columns that are not the same everywhere, and write the sheet."""
    names = list(dict.fromkeys(name for row in table for name in row))
    always = {"run", "folder", "architecture", "algorithm", "seed", "iteration", *COLUMNS, "distance"}
    names = [name for name in names if name in always or len({str(row.get(name, "")) for row in table}) > 1]
    rows = [names] + [[str(row.get(name, "")) for name in names] for row in table]
    with replacing(f"{output}.csv") as temporary, open(temporary, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
    figures.real_grid(f"{output}.png", sheet)
    print(f"table: {output}.csv\nsheet: {output}.png")


def main(arguments=None):
    return launch.run(collect, parser().parse_args(arguments))
