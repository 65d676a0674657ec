"""Reconstruct held-out cells by searching the latent space."""

import time
from typing import Any, NamedTuple

import numpy as np

from ..core import c2st, codes, dataloader, figures, options as command_line, trained
from ..evaluation import rows
from ..system import arguments, launch
from ..system.errors import InputError
from ..system.pixels import to_unit
from ..system.progress import reading
from .channels import has_red_tower
from .inversion import MAX_TOGETHER, ORDERS, Search, balanced_sample, invert, relabelled, subset
from .reconstruction_figures import cells_figure, likelihood_figure, negative_log_likelihood, random_likelihood

BLOCK = 1024            # training images that are compared at a time


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans reconstruct", description=__doc__, epilog=(
        "For random held-out images, find the z whose images differ least from them (squared error, L-BFGS from\n"
        "several random starts). A generator that has learnt the distribution of cells comes closer to unseen images\n"
        "than their nearest neighbours in the training set do, with z as likely as random ones. With a star shape the\n"
        "error is measured in red and in the one factor that the image shows; the other factors are generated too: a\n"
        "prediction of what they would look like in this real cell.\n\n"
        "images/reconstructed7.joint.….h5      reconstructions: a stack like those of predict.py, with z, errors and\n"
        "                                      targets\n"
        "images/reconstruction.….png           real cell, nearest neighbour, reconstructions, with their errors:\n"
        "                                      of each factor the best, the median and the worst; with several\n"
        "                                      generators only the median of the first one\n"
        "images/reconstruction_likelihood.….png\n"
        "                                      the error of each image against -log p of its z\n"
        "images/reconstruction_factors.….png   the same real cells with all factors (star shape)\n\n"
        "examples:\n"
        "  biogans reconstruct -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -d data\n"
        "  biogans reconstruct -i checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5 -d data -n 12 -p Alp14,Tea1\n"
        "  biogans reconstruct -i checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5 \\\n"
        "      checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -d data -n 12\n"
        "  visualize.py -i images/reconstructed7.joint.DCGAN-starshaped.WGAN-GP.h5 --first 3"))
    images = p.add_argument_group("images")
    images.add_argument("-i", "--input_file", metavar="FILE", nargs="+", action="extend", required=True,
                        help="weights.generator, model.generator or weights.combined_model files, required; several "
                             "reconstruct the same images, of the factors that all of them know")
    images.add_argument("-d", "--data", metavar="DATAROOT", required=True,
                        help="folder of real images, required: images of the *_test part are reconstructed; nearest "
                             "neighbours come from the *_train part")
    images.add_argument("-n", "--number", type=arguments.positive_int, default=64, metavar="N",
                        help="number of random images, as many of each factor as possible; default=64")
    command_line.add_factors(images)
    _add_search(p.add_argument_group("search"))
    other = p.add_argument_group("files")
    command_line.add_checkpoints_dir(other)
    command_line.add_palette(other)
    return p


def _add_search(group):
    group.add_argument("--order", type=arguments.one_of((*ORDERS, "both")), default=None, metavar="NAME",
                       help="joint (all of z, for all channels) | red-first (the red half of z for red, then the green "
                            "half for green) | both; default=both for one generator that separates red from green, "
                            "otherwise joint")
    group.add_argument("--restarts", type=arguments.positive_int, default=5, metavar="N",
                       help="random starts per image, of which the best counts; default=5")
    group.add_argument("--iterations", type=arguments.positive_int, default=100, metavar="N",
                       help="iterations of L-BFGS from each start, at most; default=100")
    group.add_argument("-s", "--seed", type=arguments.seed, default=42, metavar="N",
                       help="random seed of the choice of images and of the starts; default=42")
    group.add_argument("-b", "--batch_size", type=arguments.positive_int, default=MAX_TOGETHER, metavar="N",
                       help=f"searches that run at the same time; default={MAX_TOGETHER}")


def reconstruct(options):
    """Reconstruct held-out images as the parsed `options` say. Raises InputError for a user error."""
    launch.announce()
    generators = [trained.load_generator(name, options.checkpoints_dir) for name in options.input_file]
    names = dict(zip(rows.distinct_names(generators), generators, strict=True))
    if len(names) < len(generators):
        raise InputError("-i names one file twice: give each generator once")
    methods = search_methods(names, options)
    held_out, training = (load_shared(generators, options.data, split) for split in ("test", "train"))
    dataloader.warn_of_copies(training, held_out)
    targets = balanced_sample(held_out, options.number, options.polarity_factors, options.seed)
    nearest, distances = nearest_neighbours(targets, training)
    found = {}
    for label, (generator, order) in methods.items():
        start = time.monotonic()
        search = Search(order, options.restarts, options.iterations, options.batch_size, options.seed)
        found[label] = invert(generator, targets, search, label)
        print(f"{label}: {len(targets.pixels)} images, {options.restarts} starts each, "
              f"{time.monotonic() - start:.0f} s", flush=True)
    neighbours, palette = subset(training, nearest), command_line.palette_of(options)
    for name, generator in names.items():
        own = {order: found[label] for label, (other, order) in methods.items() if other is generator}
        print(f"\n{name}\n" * (len(names) > 1) + error_table(targets, distances, own))
        for order, best in own.items():
            write_reconstructions(options, generator, name, order, best,
                                  stack_datasets(targets, neighbours, distances, best))
        write_factors(generator, name, targets, next(iter(own.values())), palette)
    write_pictures(methods, found, targets, Nearest(neighbours, distances), palette)


class Nearest(NamedTuple):
    """The nearest training images (dataloader.Images) of the targets, and the distances to them (images,)."""

    images: Any
    distances: np.ndarray


def search_methods(generators, options):
    """{label: (TrainedGenerator, order)} of all searches; the label of a single generator's search is its order.

    generators   {name: TrainedGenerator}
    Raises InputError for what a generator can't do.
    """
    methods = {}
    for name, generator in generators.items():
        codes.require_no_codes(generator.path, generator.spec.codes)
        orders = search_orders(generator, options.order or ("both" if len(generators) == 1 else "joint"))
        stack_channels(generator, options.polarity_factors)
        for order in orders:
            label = order if len(generators) == 1 else name if len(orders) == 1 else f"{name}, {order}"
            methods[label] = generator, order
    return methods


def stack_channels(generator, factors):
    """Positions of the channels of a TrainedGenerator that a stack holds. Raises InputError, as for predict.py."""
    whole_cells = len(generator.spec.channel_names) == len(generator.spec.cell_channels)
    return generator.channels(() if whole_cells else factors)


def load_shared(generators, dataroot, split):
    """The real images (dataloader.Images) of the factors that all TrainedGenerators know.

    Raises InputError if there are none, or if they differ in shape from those of a training.
    """
    first, *others = generators
    shared = [name for name in first.spec.factors if all(name in other.spec.factors for other in others)]
    if not shared:
        known = "; ".join(f"{each.path}: {', '.join(each.spec.factors)}" for each in generators)
        raise InputError(f"these generators have no factor in common ({known}): compare others")
    for other in others:
        shapes = [(each.spec.height, each.spec.width, each.metadata.read_settings) for each in (first, other)]
        if shapes[0] != shapes[1]:
            raise InputError(f"{first.path} and {other.path} were trained on images of different sizes, channels or "
                             f"intensities: compare generators of the same images")
    return c2st.load_real(dataroot, split, first.metadata, shared)


def write_reconstructions(options, generator, name, order, best, datasets):
    """Write a stack of reconstructions.

    best       Reconstruction
    datasets   {name: values} beside the cells
    """
    channels = stack_channels(generator, options.polarity_factors)
    stack = trained.IMAGES / f"reconstructed{len(channels)}.{order}.{rows.file_name(name, ())}.h5"
    batches = np.split(best.z, range(options.batch_size, len(best.z), options.batch_size))
    trained.write_stack(stack, generator, batches, channels,
                        generator.stack_attributes(channels) | {"seed": options.seed, "order": order}, **datasets)
    print(f"Output image stack to file: {stack}")


def search_orders(generator, order):
    """The orders of inversion.ORDERS that an --order means. Raises InputError for what the generator can't do."""
    if has_red_tower(generator.network):
        return tuple(ORDERS) if order == "both" else (order,)
    if order == "red-first":
        raise InputError(f"{generator.path} generates red and green together, so red can't come first: leave out "
                         f"--order, or give a DCGAN-separable or DCGAN-starshaped generator")
    return ("joint",)


def stack_datasets(targets, neighbours, distances, best):
    """The datasets of a stack of reconstructions beside the images and their z; `best` is a Reconstruction."""
    return {"target": to_unit(targets.pixels), "target_file": [str(file) for file in targets.files],
            "factor": [targets.factors[label] for label in targets.labels],
            "neighbour": to_unit(neighbours.pixels), "neighbour_error": distances,
            "neighbour_file": [str(file) for file in neighbours.files],
            "error": best.error, "errors": best.errors, "negative_log_likelihood": negative_log_likelihood(best.z)}


def nearest_neighbours(images, training):
    """(position among the `training` images, distance) of the nearest one of the same factor, for each of `images`.

    The distance is the root mean squared difference of pixels in [0, 1]. A file is not its own neighbour.
    """
    from scipy.spatial.distance import cdist

    numbers = images.pixels[0].size
    nearest, smallest = np.zeros(len(images.pixels), int), np.full(len(images.pixels), np.inf)
    for label in reading("nearest neighbours", "factor")(np.unique(images.labels)):
        own, candidates = np.flatnonzero(images.labels == label), np.flatnonzero(training.labels == label)
        files = np.array([str(images.files[row].resolve()) for row in own])
        for start in range(0, len(candidates), BLOCK):
            block = candidates[start:start + BLOCK]
            distance = cdist(images.pixels[own].reshape(-1, numbers), training.pixels[block].reshape(-1, numbers))
            distance[files[:, None] == [str(training.files[k].resolve()) for k in block]] = np.inf
            best = distance.argmin(axis=1)
            nearer = distance[np.arange(len(own)), best] < smallest[own]
            nearest[own[nearer]] = block[best[nearer]]
            smallest[own[nearer]] = distance[nearer, best[nearer]]
    return nearest, smallest / np.sqrt(numbers) / 255


# ---------------------------------------------------------------------------------------------- results

def error_table(targets, distances, found):
    """Table of the errors, as text: a line per factor, medians ± median absolute deviations as in the paper.

    distances   to the nearest neighbours (images,)
    found       {order: Reconstruction}
    """
    lines = ["error: root mean squared difference of pixels in [0, 1]; -log p: of z under the normal distribution, in "
             "nats",
             f"{'':14}{'images':>7}{'nearest neighbour':>19}"
             + "".join(f"{order:>16}{'-log p':>14}{'nearer':>9}" for order in found)]
    for k, name in enumerate([*targets.factors, "all"]):
        chosen = targets.labels == k if k < len(targets.factors) else np.ones(len(targets.labels), bool)
        if chosen.any():
            line = f"{name[:13]:14}{chosen.sum():7}{_spread(distances[chosen], 3):>19}"
            for best in found.values():
                nearer = (best.error < distances)[chosen].mean()
                line += (f"{_spread(best.error[chosen], 3):>16}"
                         f"{_spread(negative_log_likelihood(best.z)[chosen], 0):>14}{nearer:9.0%}")
            lines.append(line)
    mean, deviation = random_likelihood(next(iter(found.values())).z.shape[1])
    lines.append(f"-log p of random z: {mean:.0f} ± {deviation:.0f} (mean ± standard deviation); nearer: share with a "
                 f"smaller error than the nearest neighbour")
    return "\n".join(lines)


def _spread(values, digits):
    middle = np.median(values)
    return f"{middle:.{digits}f} ± {np.median(np.abs(values - middle)):.{digits}f}"


def write_pictures(methods, found, targets, nearest, palette):
    """Write the picture of some reconstructions with their errors, and the figure of errors and likelihoods.

    methods   {label: (TrainedGenerator, order)}
    found     {label: Reconstruction}; the first one ranks the images
    nearest   Nearest
    """
    several = len({generator.path for generator, _ in methods.values()}) > 1
    generator = next(iter(methods.values()))[0]
    name = "comparison" if several else generator.name
    chosen = best_median_worst(targets.labels, next(iter(found.values())).error, only_median=several)
    real, neighbour = to_unit(targets.pixels[chosen]), to_unit(nearest.images.pixels[chosen])
    columns = [[(image, "") for image in real],
               [(image, f"{distance:.3f}") for image, distance in zip(neighbour, nearest.distances[chosen])]]
    for label, best in found.items():
        cells = shown_pairs(methods[label][0], best.z[chosen], subset(targets, chosen))
        columns.append([(cell, f"{error:.3f}") for cell, error in zip(cells, best.error[chosen])])
    names = [targets.factors[label] for label in targets.labels[chosen]]
    pictures = {"reconstruction": cells_figure(list(zip(*columns)), ["held-out", "nearest neighbour", *found], names,
                                               palette),
                "reconstruction_likelihood": likelihood_figure(found, nearest.distances)}
    for kind, figure in pictures.items():
        path = trained.IMAGES / f"{kind}.{name}.png"
        figures.write_figure(path, figure)
        print(f"Output picture to file: {path}")


def shown_pairs(generator, z, targets):
    """Cells of z, each with red and, if the generator separates factors, its own: (cells, height, width, channels)."""
    spec = generator.spec
    cells = (generator.generate(z) + 1) / 2
    towers = (relabelled(targets, spec.separate_factors).labels if spec.separate_factors
              else np.zeros(len(z), int))
    return np.array([cell[..., spec.factor_channels[tower]] for cell, tower in zip(cells, towers)])


def write_factors(generator, name, targets, best, palette):
    """Write the picture of real cells with all factors, if the generator makes several in one cell.

    best   Reconstruction
    """
    spec = generator.spec
    if len(spec.separate_factors) > 1 and len(spec.channel_names) == 1 + len(spec.separate_factors):
        chosen = best_median_worst(targets.labels, best.error)
        cells = (generator.generate(best.z[chosen]) + 1) / 2
        path = trained.IMAGES / f"reconstruction_factors.{rows.file_name(name, ())}.png"
        figures.write_picture(path, figures.table(
            [[image, *(cell[..., [0, k]] for k in range(1, cell.shape[-1]))]
             for image, cell in zip(to_unit(targets.pixels[chosen]), cells)],
            ["held-out", *spec.factors], [targets.factors[label] for label in targets.labels[chosen]], palette))
        print(f"Output picture to file: {path}")


def best_median_worst(labels, error, only_median=False):
    """Positions of the images of each label with the smallest, the median and the largest error, or `only_median`."""
    positions = []
    for label in np.unique(labels):
        of_factor = np.flatnonzero(labels == label)
        of_factor = of_factor[np.argsort(error[of_factor])]
        middle = len(of_factor) // 2
        positions += [of_factor[k] for k in ([middle] if only_median else sorted({0, middle, len(of_factor) - 1}))]
    return positions


def main(arguments=None):
    return launch.run(reconstruct, parser().parse_args(arguments))
