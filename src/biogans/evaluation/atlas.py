"""Show where each factor lies along the cell through the cycle, and which factors lie together."""

import contextlib
import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import figures
from ..io import drawings, stacks
from ..system import arguments, hdf5, launch
from ..system.captions import origin_of_cells
from ..system.errors import InputError
from ..system.files import replacing
from ..system.pixels import to_unit
from ..system.progress import reading
from . import joint, rows
from .atlas_figures import pairs, pairs_figure, profiles_figure
from .report import write_page

LENGTHS = 12                # bins of length, with equally many cells each
FEWEST = 2 * LENGTHS        # cells; fewer say nothing about cells of a length
RESAMPLED = 1000            # bootstrap samples of the cells
LIMITS = (0.025, 0.975)
LABELLED, GENERATED, IMAGED, TRUE = "labelled cells", "generated cells", "imaged cells", "true cells"
CAUTION = (
    "What may not be concluded. Labelled and generated cells are a generator's inferences, not measurements: agreement "
    "between two factors that were never imaged together is what the generator made of each factor and red alone. What "
    "two factors share with red (columns “shared red”) rests on training images of each of them. What they "
    "share beyond it (“beyond red”) rests on no image at all: compare it with the truth where the cells "
    "are simulated, and otherwise test it under the microscope before you report it. Intervals are those of the "
    "cells that were drawn; they don't contain the generator's errors.")


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans atlas", description=__doc__, epilog=(
        "The correlation of two factors is taken over the pixels of a cell, then averaged over draws and over cells.\n"
        "If a stack has several draws of each cell, the same is done for one factor in one draw and the other\n"
        "in another draw: they have nothing but the red in common. The difference is their agreement beyond red.\n"
        "Intervals are of 95 % (bootstrap over the cells).\n\n"
        "atlas/profiles.png   a panel for each factor: brightness along the cell, from short cells to long ones\n"
        "atlas/pairs.png      all pairs of factors, by their correlation\n"
        "atlas/profiles.csv, atlas/pairs.csv\n"
        "                     the numbers, with intervals\n"
        "atlas/atlas.html     everything on one page\n\n"
        "examples:\n"
        "  biogans label -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -d data\n"
        "  biogans atlas -i images/labelled7.DCGAN-starshaped.WGAN-GP.h5\n"
        "  biogans atlas -i images/labelled7.DCGAN-starshaped.WGAN-GP.h5 -d data     beside true cells, if simulated"))
    p.add_argument("-i", "--input_file", metavar="FILE.h5", required=True,
                   help="a stack of biogans label, or one of predict.py with all factors, required")
    p.add_argument("-d", "--data", metavar="DATAROOT",
                   help="folder of simulated images, whose joint_test.h5 holds true cells with all factors")
    p.add_argument("-s", "--seed", type=arguments.seed, default=0, metavar="N",
                   help="random seed of the bootstrap; default=0")
    p.add_argument("-o", "--output", metavar="FOLDER", default="atlas", help="default=atlas")
    return p


class Measured(NamedTuple):
    """Measurements of cells with several channels, red first; NaN where a channel is constant or not shown.

    length     (cells,) pixels
    profiles   (cells, channels, joint.POSITIONS): mean intensity there, in units of the channel's mean in the cell
    together   (cells, channels, channels): correlation over the pixels of a drawn cell, mean over its draws
    apart      the same between a channel of one draw and a channel of another; NaN for a single draw
    """

    length: np.ndarray
    profiles: np.ndarray
    together: np.ndarray
    apart: np.ndarray


class Estimate(NamedTuple):
    """Means over cells with 95 % intervals, arrays of one shape."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Kymograph(NamedTuple):
    """Profiles of cells of similar lengths.

    lengths      (LENGTHS,) means, from short cells to long ones
    brightness   Estimate (LENGTHS, channels, joint.POSITIONS)
    """

    lengths: np.ndarray
    brightness: Estimate


class Agreement(NamedTuple):
    """Estimates (channels, channels) of the correlation of two channels: in all, by red alone, and beyond it."""

    together: Estimate
    apart: Estimate
    beyond: Estimate


def atlas(options):
    """Write the atlas as the parsed `options` say. Raises InputError for a user error."""
    launch.announce()
    with opened(options.input_file) as stack:
        names, pixel = stack.names, stack.pixel_size_um
        origin = origin_of_cells(stack.attributes)
        draws = draws_of(stack, options.input_file)
        measured = {GENERATED if draws is None else LABELLED: measure_stack(stack, draws, options.input_file)}
        if (targets := measure_targets(stack, options.input_file)) is not None:
            measured[IMAGED] = targets
    if options.data:
        measured[TRUE] = measure_true(options.data, names)
    rng = np.random.default_rng(options.seed)
    kymographs = {name: kymograph(cells, pixel or 1, rng) for name, cells in measured.items()}
    agreements = {name: agreement(cells, rng) for name, cells in measured.items() if name != IMAGED}
    unit = "µm" if pixel else "pixels"
    folder = Path(options.output)
    write_csv(folder / "profiles.csv", profile_rows(names, kymographs, unit))
    write_csv(folder / "pairs.csv", pair_rows(names, agreements))
    figures.write_figure(folder / "profiles.png", profiles_figure(names, kymographs, unit))
    figures.write_figure(folder / "pairs.png", pairs_figure(names, agreements))
    numbers = "; ".join(f"{name}: {len(cells.length):,}" for name, cells in measured.items())
    write_page(folder / "atlas.html", "Atlas of localisation", [f"{origin}. Cells measured: {numbers}.", CAUTION],
               [folder / "profiles.png", folder / "pairs.png"])
    print(pair_table(names, agreements))
    for name in ("atlas.html", "profiles.png", "pairs.png", "profiles.csv", "pairs.csv"):
        print(f"Output: {folder / name}")


# ---------------------------------------------------------------------------------------------- reading

@contextlib.contextmanager
def opened(path):
    """Yield the drawings.OpenStack of a file that shows several factors in each cell. Raises InputError."""
    path = Path(path)
    if not drawings.is_hdf5(path):
        raise InputError(f"{path}: this is no HDF5 stack: give one of biogans label, or of predict.py with all factors")
    stack = drawings.open_stack(path)
    with stack.dataset.file:
        if len(stack.names) < 3:
            raise InputError(f"{path} shows {' and '.join(stack.names)} only: give a stack with several factors, of "
                             f"biogans label or of predict.py without -p")
        try:
            yield stack
        except hdf5.UNREADABLE as problem:
            raise InputError(f"{path} can't be read ({hdf5.reason(problem)}): write it again") from None


def draws_of(stack, path):
    """The dataset of the draws of each cell, beside a drawings.OpenStack; None if there is none.

    Raises InputError if it doesn't fit the stack.
    """
    draws = hdf5.own_dataset(stack.dataset.file, "draws")
    if draws is not None:
        # A chunk is read whole, however little of it is asked for; biogans label writes none.
        if (draws.dtype != np.uint8 or draws.ndim != 5 or draws.shape[1] < 2 or draws.chunks
                or (draws.shape[0], *draws.shape[2:]) != stack.dataset.shape):
            raise InputError(f"{path}: its draws do not fit its stack: write it again with biogans label")
        stacks.check_amount(path, draws.shape[1], draws.shape[2:])
    return draws


def measure_stack(stack, draws, path):
    """The Measured of all cells of a drawings.OpenStack, each with its draws if there are some. Raises InputError."""
    low, high = stack.limits

    def cell(k):
        return (np.float32(stack.dataset[k])[None] - low) / (high - low) if draws is None else to_unit(draws[k])
    return measure((cell(k) for k in reading("measuring", "cell")(range(len(stack.dataset)))), path)


def measure_targets(stack, path):
    """The Measured of the images that were labelled, each in red and the factor that it shows; None if there are none.

    Raises InputError if they don't fit the stack.
    """
    targets, factors = (hdf5.own_dataset(stack.dataset.file, name) for name in ("target", "factor"))
    if targets is None or factors is None:
        return None
    if targets.shape != (*stack.dataset.shape[:3], 2) or factors.shape != (len(targets),) or targets.chunks:
        raise InputError(f"{path}: its real images do not fit its stack: write it again with biogans label")

    def cells():
        for image, factor in zip(targets, factors.asstr()[()], strict=True):
            if factor not in stack.names[1:]:
                raise InputError(f"{path}: an image shows {factor}, which is no channel of the stack: write it again "
                                 f"with biogans label")
            cell = np.full((*image.shape[:2], len(stack.names)), np.nan, np.float32)
            cell[..., [0, stack.names.index(factor)]] = image
            yield cell[None]
    return measure(cells(), path)


def measure_true(dataroot, names):
    """The Measured of the true cells in a folder of simulated images. Raises InputError if there are none."""
    cells = rows.find_joint_cells(dataroot, None, names)
    if cells is None:
        raise InputError(f"{dataroot} has no {rows.JOINT_FILE} of {', '.join(names[1:])}: leave out -d, or give a "
                         f"folder of biogans simulate")

    def drawn():
        for k, cell in enumerate(cells.pixels):
            draws = [cell]
            if cells.repeats is not None and k < len(cells.repeats):
                draws += [np.concatenate([cell[..., :1], greens], axis=-1) for greens in cells.repeats[k]]
            yield to_unit(np.array(draws))
    return measure(drawn(), dataroot)


# ---------------------------------------------------------------------------------------------- measuring

def measure(cells, source):
    """The Measured of cells, each (draws, height, width, channels) in [0, 1]; NaN in channels that it doesn't show.

    Raises InputError if too few images show a cell; `source` names them.
    """
    found = [one for one in map(measure_cell, cells) if one is not None]
    if len(found) < FEWEST:
        raise InputError(f"{source}: {len(found)} images show a cell, and at least {FEWEST} are needed: label or "
                         f"generate more")
    return Measured(*(np.array(values) for values in zip(*found, strict=True)))


def measure_cell(draws):
    """(length, profiles, together, apart) of one cell as in Measured, or None if no cell is seen."""
    mean = draws.mean(axis=0)
    axis = joint.cell_axis(mean[..., np.isfinite(mean).all(axis=(0, 1))])
    if axis is None:
        return None
    values = draws[:, axis.inside].astype(float)            # (draws, pixels, channels)
    with np.errstate(invalid="ignore", divide="ignore"):
        profile = axis.profile(values.mean(axis=0)) / values.mean(axis=(0, 1))[:, None]
        standard = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
        number, pixels = standard.shape[:2]
        same = np.einsum("dpa,dpb->ab", standard, standard) / pixels
        every = standard.sum(axis=0).T @ standard.sum(axis=0) / pixels
        apart = (every - same) / (number * (number - 1)) if number > 1 else np.full(same.shape, np.nan)
    return axis.length, profile, same / number, apart


def estimated(values, rng):
    """Estimate over the first axis of `values` (cells, …), without NaNs: a bootstrap of the cells."""
    flat = np.reshape(values, (len(values), -1))
    known, filled = np.isfinite(flat), np.nan_to_num(flat)
    chosen = rng.multinomial(len(flat), np.full(len(flat), 1 / len(flat)), RESAMPLED).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (chosen @ filled) / (chosen @ known)
        middle = filled.sum(axis=0) / known.sum(axis=0)
        low, high = (np.where(np.isfinite(middle), each, np.nan)
                     for each in np.nanquantile(np.nan_to_num(means, nan=0), LIMITS, axis=0))
    return Estimate(*(each.reshape(values.shape[1:]) for each in (middle, low, high)))


def kymograph(cells, pixel, rng):
    """The Kymograph of Measured cells; `pixel` is the side of one in the unit of lengths."""
    bins = np.array_split(np.argsort(cells.length, kind="stable"), LENGTHS)
    estimates = [estimated(cells.profiles[own], rng) for own in bins]
    return Kymograph(np.array([cells.length[own].mean() for own in bins]) * pixel,
                     Estimate(*(np.array(each) for each in zip(*estimates, strict=True))))


def agreement(cells, rng):
    """The Agreement of Measured cells; by red alone, and beyond it, over those with several draws."""
    several = np.isfinite(cells.apart).any(axis=(1, 2))
    apart, same = cells.apart[several], cells.together[several]
    if not several.any():
        nothing = Estimate(*[np.full(cells.together.shape[1:], np.nan)] * 3)
        return Agreement(estimated(cells.together, rng), nothing, nothing)
    return Agreement(estimated(cells.together, rng), estimated(apart, rng), estimated(same - apart, rng))


# ---------------------------------------------------------------------------------------------- tables

def write_csv(path, table):
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)


def profile_rows(names, kymographs, unit):
    """Header and lines of profiles.csv; kymographs {name: Kymograph}."""
    yield "cells", "channel", f"length ({unit})", "position along the cell", "brightness", "low", "high"
    for source, cells in kymographs.items():
        for (row, channel, position), values in np.ndenumerate(cells.brightness.mean):
            if np.isfinite(values):
                yield (source, names[channel], f"{cells.lengths[row]:.4g}",
                       f"{(position + 0.5) / joint.POSITIONS:.3f}",
                       *(f"{each[row, channel, position]:.4f}" for each in cells.brightness))


def pair_rows(names, agreements):
    """Header and lines of pairs.csv; agreements {name: Agreement}."""
    kinds = {"together": "correlation", "apart": "shared red", "beyond": "beyond red"}
    yield ("cells", "one", "other", *(f"{title}{end}" for title in kinds.values() for end in ("", " low", " high")))
    for source, found in agreements.items():
        for one, other in pairs(names):
            yield (source, names[one], names[other], *(
                f"{each[one, other]:.4f}" for kind in kinds for each in getattr(found, kind)))


def pair_table(names, agreements):
    """The pairs as text, by the correlation in the first source; agreements {name: Agreement}."""
    first = next(iter(agreements.values()))
    lines = ["correlation of two factors over the pixels of a cell, mean over cells (95 % interval)"]
    for source, found in agreements.items():
        lines += [f"\n{source}", f"{'':24}{'correlation':>22}{'shared red':>22}{'beyond red':>22}"]
        for one, other in sorted(pairs(names), key=lambda pair: -first.together.mean[pair]):
            title = f"{names[one][:10]}, {names[other][:10]}"
            lines.append(f"{title:24}" + "".join(f"{_with_interval(each, one, other):>22}" for each in found))
    return "\n".join(lines)


def _with_interval(estimate, one, other):
    mean, low, high = (each[one, other] for each in estimate)
    return f"{mean:.2f} ({low:.2f}, {high:.2f})" if np.isfinite(mean) else "–"


def main(arguments=None):
    return launch.run(atlas, parser().parse_args(arguments))
