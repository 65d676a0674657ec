"""Show mode collapse: many greens that a generator makes for the same red."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import c2st, figures, options as command_line, trained
from ..system import arguments, launch
from ..system.errors import InputError
from ..system.palettes import fitted
from ..system.panels import growth_of_letters
from ..system.pixels import to_unit
from ..system.progress import reading
from . import rows
from .variety import REDS, generated_pairs, true_pairs, variety

COLUMNS, SEPARATOR = 4, 2               # greens in a line of the picture, and pixels between images
TRUE = "true cells of the same red"     # a row of the table
PANEL, TITLE = 4.2, 0.6                 # inches: width of a panel, height of the titles in a narrow figure
EPILOG = """Separable and star-shaped generators make red from the first part of z and green from all of it. With that
part kept, red stays the same and green should vary as it does among real cells of similar red. After mode
collapse it does not: the generator ignores the second part of z.

The number is the variety of green: the root of its variance over the greens of one red, mean over a cell's pixels in
[0, 1] and over reds. 0 is collapse. With -d the same is measured among real cells, each with those nearest to it in
red (L2). Their reds differ a little, too; the table has both numbers. Data of biogans simulate also have true cells
rendered again with the same red, in joint_test.h5: the table has the ratio to their variety, for each factor.

images/same_red.png    a panel for each generator: red alone, then its greens; real cells last

examples, in the folder of the sample data:
  biogans same_red -i checkpoints/weights.generator.DCGAN-separable.GAN.1.h5 \\
                      checkpoints/weights.generator.DCGAN-separable.WGAN-GP.1.h5 -d data
  biogans same_red -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -d data -p Tea1 -n 12"""


class Cells(NamedTuple):
    """Cells that share their red, or that have similar reds.

    name     of the generator
    images   {factor, or c2st.EVERYTHING: (reds, greens, height, width, channels) in [0, 1]}
    mixed    the factors of c2st.EVERYTHING
    """

    name: str
    images: dict
    mixed: tuple


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans same_red", description=__doc__, epilog=EPILOG)
    p.add_argument("-i", "--input_file", metavar="FILE", nargs="+", action="extend", required=True,
                   help="weights or model files of generators that separate red from green, required")
    p.add_argument("-d", "--data", metavar="DATAROOT",
                   help="folder of real images; *_train shows how much greens of similar red vary, and joint_test.h5, "
                        "if it exists, how much those of the same red do")
    p.add_argument("-n", "--number", type=arguments.at_least_two, default=8, metavar="N",
                   help="greens for each red; default=8")
    p.add_argument("--reds", type=arguments.positive_int, default=3, metavar="N",
                   help=f"reds in the picture, at most {REDS}; default=3")
    command_line.add_factors(p)
    p.add_argument("-s", "--seed", type=arguments.seed, default=1, metavar="N",
                   help="random seed of the cells; default=1")
    p.add_argument("-o", "--output", metavar="FILE.png", default=str(trained.IMAGES / "same_red.png"),
                   help="the picture; default=images/same_red.png")
    command_line.add_palette(p)
    command_line.add_checkpoints_dir(p)
    return p


def same_red(options):
    """Run the command with parsed options. Raises InputError."""
    launch.announce()
    if Path(options.output).suffix.lower() != ".png":
        raise InputError(f"-o {options.output}: the picture is a PNG file: end its name with .png")
    generators = [load_separable(name, options.checkpoints_dir) for name in options.input_file]
    names = rows.distinct_names(generators)
    shown = [generated_cells(generator, name, options)
             for generator, name in reading("generating", "generator")(list(zip(generators, names, strict=True)))]
    if options.data:
        shown += real_cells(generators, options) + true_cells(generators, options)
    print(variety_table(shown))
    palette = command_line.palette_of(options)
    figures.write_figure(options.output, same_red_figure(shown, options.reds, options.number, palette))
    print(f"Output picture to file: {options.output}")


def load_separable(name, folder):
    """The trained.TrainedGenerator of a file. Raises InputError if it generates red and green together."""
    generator = trained.load_generator(name, folder)
    if not generator.spec.separates_red:
        raise InputError(f"{generator.path} generates red and green together, so no part of z keeps red: give "
                         f"DCGAN-separable or DCGAN-starshaped generators")
    return generator


def generated_cells(generator, name, options):
    """Cells of a TrainedGenerator, REDS reds with options.number greens each. Raises InputError."""
    only = rows.separate_factors(generator, options.polarity_factors)
    pairs = generated_pairs(generator, options.number, options.seed)
    return Cells(name, {factor: images for factor, images in pairs.items() if not only or factor in only},
                 generator.spec.factors)


def real_cells(generators, options):
    """[Cells] of real images: for each kind of generator, those that separate the factors and those that don't."""
    found = {}
    for generator in generators:
        spec = generator.spec
        factors = rows.separate_factors(generator, options.polarity_factors) or spec.separate_factors
        if (factors, spec.factors) not in found:
            real = c2st.load_real(options.data, "train", generator.metadata, factors or spec.factors)
            found[factors, spec.factors] = Cells("training cells of similar red", {
                factor: nearest_in_red(to_unit(c2st.of_factor(real, factor)), options.number, options.seed)
                for factor in factors or (c2st.EVERYTHING,)}, spec.factors)
    return list(found.values())


def true_cells(generators, options):
    """[Cells] of simulated cells rendered again with the same red, for each kind of generator as `real_cells`.

    A generator that does not separate the factors has those of all its factors. Empty for other data.
    """
    cells, found = rows.find_joint_cells(options.data), {}
    if cells is None or cells.repeats is None:
        return []
    pairs = true_pairs(cells)
    for generator in generators:
        spec = generator.spec
        factors = rows.separate_factors(generator, options.polarity_factors) or spec.separate_factors
        if {*spec.factors} <= pairs.keys() and (factors, spec.factors) not in found:
            mixed = np.stack([pairs[factor] for factor in spec.factors], axis=2)        # (reds, repeats, factors, …)
            found[factors, spec.factors] = Cells(TRUE, {factor: pairs[factor] for factor in factors} or {
                c2st.EVERYTHING: mixed.reshape(len(mixed), -1, *mixed.shape[3:])}, spec.factors)
    return list(found.values())


def nearest_in_red(images, number, seed):
    """For each of REDS random images, itself and those nearest in red: (images, number, height, width, channels).

    images   (images, height, width, channels) in [0, 1]
    Raises InputError if there are fewer images than `number`.
    """
    from scipy.spatial.distance import cdist

    if len(images) < number:
        raise InputError(f"-n {number}: there are only {len(images)} real images to compare with")
    chosen = np.random.default_rng(seed).permutation(len(images))[:REDS]
    red = images[..., 0].reshape(len(images), -1)
    return images[np.argsort(cdist(red[chosen], red), axis=1, kind="stable")[:, :number]]


def variety_table(shown):
    """Table of the varieties of several Cells, as text: of red, of green, and of green relative to true cells."""
    found = [{(factor, cells.mixed if factor == c2st.EVERYTHING else ()): variety(images)
              for factor, images in cells.images.items()} for cells in shown]
    truth = {key: each[1] for cells, varieties in zip(shown, found) if cells.name == TRUE
             for key, each in varieties.items()}
    lines = ["variety: root of the variance over the greens of one red, in the cell's pixels in [0, 1] (0 is mode "
             "collapse)", f"{'':42}{'red':>8}{'green':>8}" + "   green / true" * bool(truth)]
    for cells, varieties in zip(shown, found):
        red, green = np.mean([(each[0], each[1:].mean()) for each in varieties.values()], axis=0)
        ratios = {key: each[1] / truth[key] for key, each in varieties.items() if key in truth}
        words = ", ".join(f"{factor} {ratio:.2f}" for (factor, _), ratio in ratios.items() if len(ratios) > 1)
        lines.append(f"{cells.name[:41]:42}{red:8.3f}{green:8.3f}" + (
            f"   {np.mean(list(ratios.values())):.2f}" + f" ({words})" * bool(words) if ratios else ""))
    return "\n".join(lines)


def same_red_figure(shown, reds, greens, palette="red-green"):
    """Matplotlib figure: a panel of `reds` reds with at most so many `greens` each for each of several Cells."""
    from matplotlib.figure import Figure

    pictures = [_panel(next(iter(cells.images.values()))[:reds, :greens], palette) for cells in shown]
    high = max(picture.shape[0] / picture.shape[1] for picture in pictures) * PANEL
    wide = len(shown) * (PANEL + 0.15) + 0.15
    growth = growth_of_letters(wide * figures.DPI)
    figure = Figure(figsize=(wide, high + TITLE * growth + 0.15), dpi=figures.DPI,
                    facecolor="white")
    width, height = figure.get_size_inches()
    for k, (cells, picture) in enumerate(zip(shown, pictures)):
        left = 0.15 + k * (PANEL + 0.15)
        axes = figure.add_axes((left / width, 0.15 / height, PANEL / width, high / height), anchor="N")
        axes.imshow(picture, interpolation="bilinear", aspect="equal")
        axes.set_axis_off()
        factor = next(iter(cells.images))
        of_factor = "" if factor == c2st.EVERYTHING else f", {factor}"
        title = f"{cells.name}{of_factor}\ngreens vary by {variety(cells.images[factor])[1]:.3f}"
        figure.text(left / width, 1 - 0.08 / height, title, fontsize=10 * growth, va="top", **figures.PLAIN)
    return figure


def _panel(images, palette):
    """RGB picture in [0, 1]: for each red a block, red alone at the left and its greens in lines of COLUMNS.

    images   (reds, greens, height, width, channels) in [0, 1]
    """
    _, number, high, wide, channels = images.shape
    palette = fitted(palette, images.reshape(-1, high, wide, channels))
    lines = math.ceil(number / COLUMNS)
    block = lines * (high + SEPARATOR) + SEPARATOR
    picture = np.ones((len(images) * (block + SEPARATOR) - SEPARATOR, (COLUMNS + 1) * (wide + SEPARATOR), 3), "float32")
    for k, same in enumerate(images):
        red = figures.marker_and_merges(same[0, ..., :2], palette)[0]
        pairs = [figures.merge(cell[..., :2], palette) for cell in same]
        places = [(0, 0), *((n // COLUMNS, 1 + n % COLUMNS) for n in range(number))]
        for (line, column), tile in zip(places, [red, *pairs], strict=True):
            top, left = k * (block + SEPARATOR) + line * (high + SEPARATOR), column * (wide + SEPARATOR)
            picture[top:top + high, left + (column > 0) * SEPARATOR:, :][:, :wide] = tile
    return np.clip(picture, 0, 1)


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(same_red, parser().parse_args(arguments))
