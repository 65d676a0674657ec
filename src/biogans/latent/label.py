"""Draw the other factors into real cells, given their red, and show how sure that is."""

import contextlib
import dataclasses
import math
import time
from typing import NamedTuple

import numpy as np

from ..core import c2st, dataloader, figures, options as command_line, trained
from ..evaluation.joint import cell_body
from ..io import stacks
from ..system import arguments, launch
from ..system.errors import InputError
from ..system.files import replacing
from ..system.lattice import lattice
from ..system.palettes import fitted
from ..system.pixels import to_unit, unit_to_bytes
from ..system.progress import reading
from .channels import has_red_tower
from .encoder import encode, find_encoder
from .inversion import balanced_sample, relabelled, search_red
from .reconstruct import best_median_worst

TOGETHER = 128                  # generated cells at a time
SHOWN, SHOWN_DRAWS = 3, 3       # cells in the picture, draws of each
BRIGHTEST_SPREAD = 0.25         # shown as white


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans label", description=__doc__, epilog=(
        "An encoder finds the part of z from which the generator draws a cell's red; it is trained once, in a few\n"
        "minutes, and kept in -c. The green part of z is drawn at random, so the draws show how much each\n"
        "factor may vary in a cell of this red, as far as the generator has learnt it. Each image shows one factor\n"
        "itself, so the command also prints how far its label is from the truth, how often the truth lies within the\n"
        "band of the draws, and the same for the greens of the training cells with the nearest reds.\n\n"
        "images/labelled7.….h5    stack: mean of the draws, as in predict.py; spread: their standard deviation;\n"
        "                         draws: all of them, in bytes; target, factor, target_file: the real images\n"
        "images/labelled7.….mean.ome.tif, ….spread.ome.tif\n"
        "                         with --format tiff: mean and spread, for Fiji\n"
        "images/labelled.….png    some cells: mean, spread and three draws\n\n"
        "examples:\n"
        "  biogans label -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -d data\n"
        "  biogans label -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -d data -n 100 --format tiff\n"
        "  visualize.py -i images/labelled7.DCGAN-starshaped.WGAN-GP.h5 --first 3"))
    p.add_argument("-i", "--input_file", metavar="FILE", required=True,
                   help="weights of a separable or star-shaped generator, required")
    p.add_argument("-d", "--data", metavar="DATAROOT", required=True,
                   help="folder of real images, required: those of the *_test part are labelled; the encoder learns "
                        "from the *_train part")
    p.add_argument("-n", "--number", type=arguments.positive_int, default=None, metavar="N",
                   help="label so many random images, as many of each factor as possible; default: all")
    p.add_argument("--draws", type=arguments.at_least_two, default=9, metavar="N",
                   help="draws of each cell; between the smallest and the largest of 9 lie 80%% of further ones; "
                        "default=9")
    p.add_argument("--iterations", type=arguments.positive_int, default=None, metavar="N",
                   help="bring the red nearer to that of the cell, by at most so many iterations of L-BFGS from where "
                        "the encoder leads; default: none")
    p.add_argument("--format", choices=("h5", "tiff"), default="h5", help="default=h5")
    p.add_argument("-s", "--seed", type=arguments.seed, default=42, metavar="N",
                   help="random seed of the draws, and of the choice of images; default=42")
    command_line.add_factors(p)
    command_line.add_palette(p)
    command_line.add_checkpoints_dir(p)
    return p


class Labelled(NamedTuple):
    """Cells of some real images.

    start    position of the first of them
    z        (cells, nz): that of red, and 0 for green
    draws    (cells, draws, height, width, channels) in [0, 1]: all channels of a generated cell, red first
    """

    start: int
    z: np.ndarray
    draws: np.ndarray

    @property
    def mean(self):
        """(cells, height, width, channels)."""
        return self.draws.mean(axis=1)

    @property
    def spread(self):
        """Standard deviation of the draws, as the mean."""
        return self.draws.std(axis=1, ddof=1)


def label(options):
    """Label real images as the parsed `options` say. Raises InputError for a user error."""
    launch.announce()
    generator = load_labeller(options.input_file, options.checkpoints_dir)
    spec = generator.spec
    training, held_out = (known_images(options.data, split, generator) for split in ("train", "test"))
    dataloader.warn_of_copies(training, held_out)
    targets = balanced_sample(held_out, options.number or len(held_out.pixels), options.polarity_factors, options.seed)
    z = encode(find_encoder(options.checkpoints_dir, generator, training), targets.pixels, spec)
    if options.iterations:
        z, _ = search_red(generator, targets.pixels, z, options.iterations)
    known, training = (of_greens(images, spec) for images in (targets, training))
    channels = generator.channels()
    content = stacks.Content(len(z), (spec.height, spec.width, len(channels)), spec.nz,
                             generator.stack_attributes(channels) | {
                                 "seed": options.seed, "draws": options.draws, "iterations": options.iterations or 0})
    truth, shown, start = Truth(known, options.draws), dict.fromkeys(typical(targets)), time.monotonic()
    with FORMATS[options.format](f"labelled{len(channels)}.{generator.name}", content, targets, options.draws) as write:
        for found in labelled(generator, z, options.draws, options.seed):
            write(found)
            truth.compare(found)
            shown |= {k: found.draws[k - found.start] for k in shown if 0 <= k - found.start < len(found.draws)}
    print(f"{len(z):,} cells, {options.draws} draws each: {time.monotonic() - start:.0f} s")
    truth.compare_neighbours(nearest_greens(known, training, options.draws))
    print(truth.table())
    path = trained.IMAGES / f"labelled.{generator.name}.png"
    figures.write_picture(path, picture(targets, shown, spec.channel_names[1:], command_line.palette_of(options)))
    print(f"Output picture to file: {path}")


def load_labeller(name, folder):
    """The trained.TrainedGenerator of a file. Raises InputError if it has no red of its own for all its greens."""
    generator = trained.load_generator(name, folder)
    greens = len(generator.spec.separate_factors) or 1
    if not (has_red_tower(generator.network) and len(generator.spec.channel_names) == 1 + greens):
        raise InputError(f"{generator.path}: {generator.spec.architecture} has no red that all its factors share: give "
                         f"a DCGAN-starshaped, DCGAN-conditional or DCGAN-separable generator")
    return generator


def of_greens(images, spec):
    """The images with the generator's greens as labels: its factors, or one green that is that of any class."""
    if spec.separate_factors:
        return relabelled(images, spec.factors)
    return dataclasses.replace(images, labels=np.zeros_like(images.labels), factors=spec.channel_names[1:])


def known_images(dataroot, split, generator):
    """The real images (dataloader.Images) of a data folder, of some factors of the generator.

    Raises InputError for another factor, or if there are no images of the shape that the generator makes.
    """
    images = c2st.load_real(dataroot, split, generator.metadata)
    if unknown := [factor for factor in images.factors if factor not in generator.spec.factors]:
        raise InputError(f"{dataroot}: {generator.path} does not know {unknown[0]}, only "
                         f"{', '.join(generator.spec.factors)}: give -d a folder of these alone")
    return images


def labelled(generator, z, draws, seed):
    """Yield the Labelled cells of z (cells, nz), block by block: `draws` random greens for the red of each."""
    rng, spec = np.random.default_rng(seed), generator.spec
    block = max(1, TOGETHER // draws)
    for start in reading("labelling", "block")(range(0, len(z), block)):
        own = z[start:start + block]
        latents = rng.standard_normal((len(own), draws, spec.nz), np.float32)
        latents[..., :spec.red_nz] = own[:, None, :spec.red_nz]
        cells = (generator.generate(latents.reshape(-1, spec.nz), TOGETHER) + 1) / 2
        yield Labelled(start, own, cells.reshape(len(own), draws, *cells.shape[1:]))


def typical(targets):
    """Positions of SHOWN images, of different factors as far as there are some: those of median brightness."""
    brightness = targets.pixels[..., 0].mean(axis=(1, 2))
    return best_median_worst(targets.labels, brightness, only_median=True)[:SHOWN]


# ---------------------------------------------------------------------------------------------- how right it is

class Truth:
    """Comparison of labels with the factor that each image shows.

    images   dataloader.Images, whose labels refer to the generator's factors
    draws    of each cell
    """

    def __init__(self, images, draws):
        self.images, self.cut = images, max(1, (draws + 1) // 10)
        self.nominal = (draws + 1 - 2 * self.cut) / (draws + 1)
        self.errors: dict[str, list[float]] = {name: [] for name in (
            "red", "mean", "draw", "spread", "within", "nearest", "nearest mean", "nearest within")}

    def compare(self, found: Labelled) -> None:
        """Add the errors of some cells: root mean squares over the pixels of the body of the cell."""
        for k, draws in enumerate(found.draws):
            image, channel = to_unit(self.images.pixels[found.start + k]), 1 + self.images.labels[found.start + k]
            body, true, own = inside(image), image[..., 1], draws[..., channel]
            for name, values in (("red", (draws[0, ..., 0] - image[..., 0]) ** 2),
                                 ("mean", (own.mean(axis=0) - true) ** 2), ("draw", (own[0] - true) ** 2),
                                 ("spread", own.var(axis=0, ddof=1)), ("within", self._within(true, own))):
                self.errors[name].append(float(values[body].mean()))

    def compare_neighbours(self, neighbours: np.ndarray) -> None:
        """Add the errors of greens of training cells, (images, neighbours, height, width) in [0, 1], nearest first."""
        for near, pixels in zip(neighbours, to_unit(self.images.pixels), strict=True):
            body, true = inside(pixels), pixels[..., 1]
            for name, values in (("nearest", (near[0] - true) ** 2), ("nearest mean", (near.mean(axis=0) - true) ** 2),
                                 ("nearest within", self._within(true, near))):
                self.errors[name].append(float(values[body].mean()))

    def _within(self, true, draws):
        """bool: where the truth lies in the band of the draws."""
        cut = min(self.cut, len(draws))
        low, high = np.sort(draws, axis=0)[[cut - 1, -cut]]
        return (low <= true) & (true <= high)

    def table(self) -> str:
        """The table, as text."""
        squares = {name: np.array(values) for name, values in self.errors.items()}
        columns = {"red": 8, "mean": 8, "draw": 8, "spread": 8, "within": 8, "nearest": 10, "nearest mean": 12,
                   "nearest within": 8}
        titles = "red", "mean", "a draw", "spread", "within", "nearest", "their mean", "within"
        lines = ["difference from the factor that the image shows, root mean square over the pixels of the cell, in "
                 "[0, 1]; to the right of the training cells with the nearest reds, as many as there are draws",
                 f"{'':14}{'images':>7}" + "".join(f"{title:>{width}}" for title, width in
                                                  zip(titles, columns.values(), strict=True))]
        for k, name in enumerate(self.images.factors):
            own = self.images.labels == k
            if own.any():
                means = {column: squares[column][own].mean() for column in columns}
                lines.append(f"{name[:13]:14}{own.sum():7}" + "".join(
                    f"{means[column]:{width}.0%}" if "within" in column else f"{np.sqrt(means[column]):{width}.3f}"
                    for column, width in columns.items()))
        lines.append(f"within: pixels whose true value lies between the {_ordinal(self.cut)}smallest and "
                     f"{_ordinal(self.cut)}largest draw: {self.nominal:.0%} if the draws are right")
        return "\n".join(lines)


def _ordinal(k):
    return "" if k == 1 else f"{k}-th "


def inside(image):
    """bool (height, width): the body of the cell in an image (height, width, channels) in [0, 1], or everything."""
    body = cell_body(image)
    return body if body.any() else np.ones(body.shape, bool)


def nearest_greens(targets, training, number):
    """Greens (images, number, height, width) in [0, 1] of training cells of the same factor, nearest in red first.

    Fewer if a factor has fewer training cells.
    """
    from sklearn.neighbors import NearestNeighbors

    known = [np.flatnonzero(training.labels == label) for label in range(len(training.factors))]
    number = min(number, *(len(known[label]) for label in np.unique(targets.labels)))
    greens = np.zeros((len(targets.pixels), number, *targets.pixels.shape[1:3]), np.float32)
    for label in reading("nearest cells", "factor")(np.unique(targets.labels)):
        own = targets.labels == label
        reds, wanted = (pixels[..., 0].reshape(len(pixels), -1).astype(np.float32)
                        for pixels in (training.pixels[known[label]], targets.pixels[own]))
        near = NearestNeighbors(n_neighbors=number).fit(reds).kneighbors(wanted, return_distance=False)
        greens[own] = to_unit(training.pixels[known[label][near]][..., 1])
    return greens


# ---------------------------------------------------------------------------------------------- output

@contextlib.contextmanager
def hdf5_stack(name, content, targets, draws):
    """Yield a function that writes Labelled cells: the mean as a stack, and further datasets."""
    number, shape = content.number, content.shape
    path = trained.IMAGES / f"{name}.h5"
    with replacing(path, number * math.prod(shape) * (8 + draws)) as temporary:
        sink, complete = stacks.Stack(temporary, content, target=to_unit(targets.pixels),
                                      target_file=[str(file) for file in targets.files],
                                      factor=[targets.factors[k] for k in targets.labels]), False
        try:
            spread = sink.file.create_dataset("spread", (number, *shape), np.float32)
            every = sink.file.create_dataset("draws", (number, draws, *shape), np.uint8)

            def write(found):
                here = slice(found.start, found.start + len(found.draws))
                sink.write(found.start, found.z, found.mean)
                spread[here], every[here] = found.spread, unit_to_bytes(found.draws)
            yield write
            complete = True
        finally:
            sink.close(complete)
    print(f"Output image stack to file: {path}")


@contextlib.contextmanager
def tiffs(name, content, targets, draws):
    """Yield a function that writes Labelled cells to two OME-TIFFs, of means and of spreads."""
    paths = [trained.IMAGES / f"{name}.{kind}.ome.tif" for kind in ("mean", "spread")]
    with contextlib.ExitStack() as open_files:
        sinks = [stacks.Pages(open_files.enter_context(replacing(path, content.number * math.prod(content.shape))),
                              content) for path in paths]

        def write(found):
            for sink, cells in zip(sinks, (found.mean, found.spread), strict=True):
                sink.write(found.start, found.z, cells)
        yield write
        for sink in sinks:
            sink.close(True)
    for path in paths:
        print(f"Output image stack to file: {path}")


FORMATS = {"h5": hdf5_stack, "tiff": tiffs}


def picture(targets, shown, greens, palette):
    """RGB picture of some cells: the real one with its generated red, then mean, spread and draws of all greens.

    shown    {position of a cell: its draws (draws, height, width, channels) in [0, 1]}
    greens   their names

    A single green takes one row for a cell, several take one column each.
    """
    real = to_unit(targets.pixels[list(shown)])
    palette, empty = fitted(palette, real), np.zeros((*real.shape[1:3], 3))
    tiles, names = [], []
    for image, (k, draws) in zip(real, shown.items(), strict=True):
        spread = np.clip(draws.std(axis=0, ddof=1) / BRIGHTEST_SPREAD, 0, 1)
        parts = [[figures.tile(image, palette), *figures.marker_and_merges(draws.mean(axis=0), palette)],
                 [empty, empty, *map(figures.gray, np.moveaxis(spread[..., 1:], -1, 0))],
                 *([empty, *figures.marker_and_merges(one, palette)] for one in draws[:SHOWN_DRAWS])]
        titles = ["mean", f"spread, 0 to {BRIGHTEST_SPREAD}", *(f"draw {n}" for n in range(1, len(parts) - 1))]
        if len(greens) == 1:
            tiles.append([*parts[0], *(part[-1] for part in parts[1:])])
            names.append(targets.factors[targets.labels[k]])
        else:
            tiles += parts
            names += [f"{targets.factors[targets.labels[k]]}: {titles[0]}", *titles[1:]]
    marker, drawn = figures.marker_name("red", palette), "all factors" if len(greens) > 1 else greens[0]
    columns = titles if len(greens) == 1 else greens
    return lattice(tiles, ["real cell", f"its {marker}", *columns], names,
                   f"real cells and their labels: mean, spread and draws of {drawn}, given {marker} alone")


def main(arguments=None):
    return launch.run(label, parser().parse_args(arguments))
