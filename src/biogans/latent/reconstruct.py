"""Reconstruct held-out cells by searching the latent space."""

import time

import numpy as np

from ..core import c2st, codes, figures, models, options as command_line, trained
from ..system import arguments, launch
from ..system.errors import InputError
from ..system.pixels import to_unit
from .inversion import MAX_TOGETHER, ORDERS, Search, balanced_sample, invert, subset

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
        "images/reconstruction.….png           real cell, nearest neighbour, reconstructions: of each factor the\n"
        "                                      best, the median and the worst\n"
        "images/reconstruction_factors.….png   the same real cells with all factors (star shape)\n\n"
        "examples:\n"
        "  biogans reconstruct -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -d data\n"
        "  biogans reconstruct -i checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5 -d data -n 12 -p Alp14,Tea1\n"
        "  visualize.py -i images/reconstructed7.joint.DCGAN-starshaped.WGAN-GP.h5 --first 3"))
    images = p.add_argument_group("images")
    command_line.add_generator(images)
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
    group.add_argument("--order", type=arguments.one_of((*ORDERS, "both")), default="both", metavar="NAME",
                       help="joint (all of z, for all channels) | red-first (the red half of z for red, then the green "
                            "half for green) | both; default=both if the generator separates red from green")
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
    generator = trained.load_generator(options.input_file, options.checkpoints_dir)
    spec = generator.spec
    codes.require_no_codes(generator.path, spec.codes)
    orders = search_orders(generator, options.order)
    whole_cells = len(spec.channel_names) == len(spec.cell_channels)
    channels = generator.channels(() if whole_cells else options.polarity_factors)
    held_out, training = (c2st.load_real(options.data, split, generator.metadata, spec.factors)
                          for split in ("test", "train"))
    targets = balanced_sample(held_out, options.number, options.polarity_factors, options.seed)
    nearest, distances = nearest_neighbours(targets, training)
    neighbours, found = subset(training, nearest), {}
    for order in orders:
        start = time.monotonic()
        found[order] = invert(generator, targets, Search(order, options.restarts, options.iterations,
                                                         options.batch_size, options.seed))
        print(f"{order}: {len(targets.pixels)} images, {options.restarts} starts each, "
              f"{time.monotonic() - start:.0f} s", flush=True)
    print(error_table(targets, distances, found))
    for order, best in found.items():
        stack = trained.IMAGES / f"reconstructed{len(channels)}.{order}.{generator.name}.h5"
        batches = np.split(best.z, range(options.batch_size, len(best.z), options.batch_size))
        trained.write_stack(stack, generator, batches, channels,
                            generator.stack_attributes(channels) | {"seed": options.seed, "order": order},
                            **stack_datasets(targets, neighbours, distances, best))
        print(f"Output image stack to file: {stack}")
    write_pictures(generator, targets, neighbours, found, options.palette)


def search_orders(generator, order):
    """The orders of inversion.ORDERS that an --order means. Raises InputError for what the generator can't do."""
    if models.has_red_tower(generator.network):
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
    for label in np.unique(images.labels):
        rows, candidates = np.flatnonzero(images.labels == label), np.flatnonzero(training.labels == label)
        files = np.array([str(images.files[row].resolve()) for row in rows])
        for start in range(0, len(candidates), BLOCK):
            block = candidates[start:start + BLOCK]
            distance = cdist(images.pixels[rows].reshape(-1, numbers), training.pixels[block].reshape(-1, numbers))
            distance[files[:, None] == [str(training.files[k].resolve()) for k in block]] = np.inf
            best = distance.argmin(axis=1)
            nearer = distance[np.arange(len(rows)), best] < smallest[rows]
            nearest[rows[nearer]] = block[best[nearer]]
            smallest[rows[nearer]] = distance[nearer, best[nearer]]
    return nearest, smallest / np.sqrt(numbers) / 255


def negative_log_likelihood(z):
    """-log N(z; 0, I) of each z (cells, nz), in nats."""
    return z.shape[1] / 2 * np.log(2 * np.pi) + (z.astype("float64") ** 2).sum(axis=1) / 2


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
        rows = targets.labels == k if k < len(targets.factors) else np.ones(len(targets.labels), bool)
        if rows.any():
            line = f"{name[:13]:14}{rows.sum():7}{_spread(distances[rows], 3):>19}"
            for best in found.values():
                nearer = (best.error < distances)[rows].mean()
                line += (f"{_spread(best.error[rows], 3):>16}"
                         f"{_spread(negative_log_likelihood(best.z)[rows], 0):>14}{nearer:9.0%}")
            lines.append(line)
    nz = next(iter(found.values())).z.shape[1]
    lines.append(f"-log p of random z: {nz / 2 * (1 + np.log(2 * np.pi)):.0f} ± {np.sqrt(nz / 2):.0f} "
                 f"(mean ± standard deviation); nearer: share with a smaller error than the nearest neighbour")
    return "\n".join(lines)


def _spread(values, digits):
    middle = np.median(values)
    return f"{middle:.{digits}f} ± {np.median(np.abs(values - middle)):.{digits}f}"


def write_pictures(generator, targets, neighbours, found, palette):
    """Write the picture of the best, the median and the worst reconstructions, and that of all their factors.

    found   {order: Reconstruction}; the first one ranks the images
    """
    spec = generator.spec
    rows = best_median_worst(targets.labels, next(iter(found.values())).error)
    real, nearest = to_unit(targets.pixels[rows]), to_unit(neighbours.pixels[rows])
    cells = [(generator.generate(best.z[rows]) + 1) / 2 for best in found.values()]
    names = [targets.factors[label] for label in targets.labels[rows]]
    towers = targets.labels[rows] if spec.separate_factors else np.zeros(len(rows), int)
    pairs = [[cell[..., spec.factor_channels[k]] for k, cell in zip(towers, of_order)] for of_order in cells]
    path = trained.IMAGES / f"reconstruction.{generator.name}.png"
    figures.write_picture(path, figures.table(list(zip(real, nearest, *pairs)),
                                              ["real", "nearest neighbour", *found], names, palette))
    print(f"Output picture to file: {path}")
    if len(spec.separate_factors) > 1 and len(spec.channel_names) == 1 + len(spec.separate_factors):
        path = trained.IMAGES / f"reconstruction_factors.{generator.name}.png"
        figures.write_picture(path, figures.table(
            [[image, *(cell[..., [0, k]] for k in range(1, cell.shape[-1]))] for image, cell in zip(real, cells[0])],
            ["real", *spec.factors], names, palette))
        print(f"Output picture to file: {path}")


def best_median_worst(labels, error):
    """Positions of the images of each label with the smallest, the median and the largest error."""
    rows = []
    for label in np.unique(labels):
        of_factor = np.flatnonzero(labels == label)
        of_factor = of_factor[np.argsort(error[of_factor])]
        rows += [of_factor[k] for k in sorted({0, len(of_factor) // 2, len(of_factor) - 1})]
    return rows


def main(arguments=None):
    return launch.run(reconstruct, parser().parse_args(arguments))
