"""Collect the runs of a swarm into one table and one sheet of samples."""

import csv
import dataclasses
from pathlib import Path

import numpy as np

from ..core import c2st, figures, options as command_line, trained
from ..system import arguments, launch
from ..system.errors import InputError
from ..system.files import replacing
from ..system.pixels import signed_to_bytes, to_signed
from ..system.progress import BEFORE, COLUMNS
from . import metrics

CELLS = 12              # columns of the sheet
ALWAYS_SHOWN = {"run", "folder", "architecture", "algorithm", "seed", "iteration", *COLUMNS, "distance"}


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans collect", description=__doc__, epilog=(
        "The table has a row for each run and a column for each setting in which the runs differ. Row N of the sheet\n"
        "shows cells of run N, all runs from the same latent vectors; of several factors all factors of a cell follow\n"
        "one another.\n\n"
        "examples:\n"
        "  biogans collect runs\n"
        "  biogans collect runs -d data -o sweep"))
    p.add_argument("folder", metavar="FOLDER", nargs="+", help="folders in which to look for checkpoints")
    p.add_argument("-d", "--data", metavar="DATAROOT",
                   help="real images: adds the sliced Wasserstein distance to the images of *_test, mean over factors")
    p.add_argument("-o", "--output", metavar="NAME", default="runs",
                   help="name of the files NAME.csv and NAME.png; default=runs")
    p.add_argument("-s", "--seed", type=arguments.seed, default=42, metavar="N",
                   help="random seed of the cells; default=42")
    command_line.add_palette(p)
    return p


def collect(options):
    """Run the command with parsed options. Raises InputError."""
    paths = find_weights(options.folder)
    table, sheet = [], {}
    for number, (path, name) in enumerate(zip(paths, run_names(paths)), 1):
        generator = trained.load_generator(path)
        row = {"run": number, "folder": name} | run_settings(generator.metadata) | last_losses(path)
        if options.data:
            row["distance"] = f"{distance_to_real(generator, options.data, options.seed):.3f}"
        table.append(row)
        sheet[f"{number} {name}"] = sheet_cells(generator, options.seed)
    if len({images.shape[1:] for images in sheet.values()}) > 1:
        raise InputError(f"{' '.join(options.folder)}: the cells of these runs differ in size: collect them separately")
    write_table(f"{options.output}.csv", table)
    figures.real_grid(f"{options.output}.png", sheet, command_line.palette_of(options))
    print(f"table: {options.output}.csv\nsheet: {options.output}.png")


def find_weights(folders):
    """The weights.generator files under the folders, except those of replaced runs."""
    found = [path for folder in folders for path in sorted(Path(folder).rglob("weights.generator.*.h5"))
             if not any(part.startswith("replaced-") for part in path.parts)]
    if not found:
        raise InputError(f"{' '.join(folders)}: no weights.generator file there: give the folder in which the runs are")
    return found


def run_names(paths):
    """Names for the runs: their folders, with the name of the file if a folder holds several runs."""
    folders = [str(path.parent.parent if path.parent.name == "checkpoints" else path.parent) for path in paths]
    return [folder if folders.count(folder) == 1 else f"{folder}/{path.stem.removeprefix('weights.generator.')}"
            for folder, path in zip(folders, paths)]


def run_settings(metadata):
    """{setting: value} of a run (settings.Metadata), and its iteration."""
    settings = dataclasses.asdict(metadata.network) | dataclasses.asdict(metadata.training)
    settings = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    return settings | {"factors": "+".join(metadata.network.factors), "iteration": metadata.iteration}


def last_losses(path):
    """The last row of the run's log without the iteration, as texts; {} without a log."""
    log = path.with_name(path.name.replace("weights.generator.", "log.")).with_suffix(".csv")
    try:
        with open(log, newline="", encoding="utf-8", errors="replace") as file:
            rows = [row for row in csv.reader(file) if len(row) in (BEFORE, len(COLUMNS))]
    except FileNotFoundError:
        return {}
    return dict(zip(COLUMNS[1:], rows[-1][1:]))


def generated_pairs(generator, number, seed):
    """Pairs (red, green) of `number` cells, float (number, factors or 1, height, width, channels) in [-1, 1]."""
    images = generator.generate(np.concatenate(list(generator.latents(number, seed))))
    return np.stack([images[..., channels] for channels in generator.spec.factor_channels], axis=1)


def sheet_cells(generator, seed):
    """CELLS generated images, uint8 (CELLS, height, width, channels), cell after cell with all factors of each."""
    spec = generator.spec
    images = generated_pairs(generator, CELLS, seed).reshape(-1, spec.height, spec.width, spec.channels)
    return signed_to_bytes(images[:CELLS])


def distance_to_real(generator, dataroot, seed):
    """Sliced Wasserstein distance between generated and held-out images, mean over the generator's factors."""
    spec = generator.spec
    real = c2st.load_real(dataroot, "test", generator.metadata, spec.factors)
    fake = generated_pairs(generator, int(np.bincount(real.labels).max()), seed)
    truths = [real.pixels[real.labels == k] for k in range(len(spec.separate_factors))] or [real.pixels]
    return np.mean([metrics.sliced_wasserstein(to_signed(truth), fake[:, k]) for k, truth in enumerate(truths)])


def write_table(path, table):
    """Print the table, a list of {column: value}, and write it as CSV, without columns that are the same everywhere."""
    names = list(dict.fromkeys(name for row in table for name in row))
    names = [name for name in names
             if name in ALWAYS_SHOWN or len({str(row.get(name, "")) for row in table}) > 1]
    rows = [names] + [[str(row.get(name, "")) for name in names] for row in table]
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(collect, parser().parse_args(arguments))
