"""Reconstruct held-out cells by searching the latent space."""

import concurrent.futures
import contextlib
import functools
import queue
import threading
import time
from typing import NamedTuple

import numpy as np

from ..core import checkpoint, codes, dataloader, models, options as command_line, predict
from ..system import launch
from ..evaluation import scoring
from ..system.errors import InputError

MOST_TOGETHER = 64      # problems that are solved in step: more gain nothing on a CPU
ORDERS = {"joint": ("pair",), "red-first": ("red", "green")}       # the steps of a search


class Reconstruction(NamedTuple):
    """What a search found for each of some images.

    z          (images, nz) of the start that ended nearest
    errors     (images, starts) root of the mean squared difference of pixels in [0, 1]
    """

    z: np.ndarray
    errors: np.ndarray

    @property
    def error(self):
        return self.errors.min(axis=1)


def reconstruct(options):
    """Reconstruct held-out images as the parsed `options` say. Raises InputError for a user's mistake."""
    launch.announce()
    path = checkpoint.find(options.input_file, options.checkpoints_dir)
    generator, spec, facts = checkpoint.load_generator(path)
    codes.refuse(path, spec.codes)
    orders = _orders(path, generator, options.order)
    whole_cells = len(spec.channel_names) == len(spec.cell_channels)
    channels = predict.chosen_channels(path, spec, () if whole_cells else options.polarity_factors)
    held_out, training = (scoring.load_real(options.data, spec.factors, split, facts)
                          for split in ("test", "train"))
    targets = choose(held_out, options.number, options.polarity_factors, options.seed)
    neighbours, distances = nearest_neighbours(targets, training)
    found = {}
    for order in orders:
        start = time.monotonic()
        found[order] = search(generator, spec, targets, order, options.restarts, options.iterations, options.seed,
                              options.batch_size or MOST_TOGETHER)
        print(f"{order}: {len(targets.pixels)} images, {options.restarts} starts each, "
              f"{time.monotonic() - start:.0f} s", flush=True)
    print(summary(targets, distances, found))
    name = f"{spec.architecture}.{facts['training']['algorithm']}"
    for order, best in found.items():
        stack = predict.IMAGES / f"reconstructed{len(channels)}.{order}.{name}.h5"
        batch_size = options.batch_size or MOST_TOGETHER
        predict.write_stack(
            stack, generator, len(best.z), np.split(best.z, range(batch_size, len(best.z), batch_size)), channels,
            predict.stack_attributes(path, spec, facts, channels) | {"seed": options.seed, "order": order},
            target=targets.pixels / np.float32(255), target_file=[str(file) for file in targets.files],
            factor=[targets.factors[label] for label in targets.labels],
            neighbour=training.pixels[neighbours] / np.float32(255), neighbour_error=distances,
            neighbour_file=[str(training.files[k]) for k in neighbours],
            error=best.error, errors=best.errors, negative_log_likelihood=negative_log_likelihood(best.z))
        print(f"Output image stack to file: {stack}")
    _draw(name, generator, spec, targets, training.pixels[neighbours], found, options.palette)


def _orders(path, generator, order):
    if models.has_red_tower(generator):
        return ("joint", "red-first") if order == "both" else (order,)
    if order == "red-first":
        raise InputError(f"{path} draws red and green together, so red can't come first: leave out --order, or give a "
                         f"DCGAN-separable or DCGAN-starshaped generator")
    return ("joint",)


def choose(images, number, factors, seed):
    """Images, at most `number` of those of the `factors` (all by default), at random and as many of each factor."""
    if unknown := [factor for factor in factors if factor not in images.factors]:
        raise InputError(f"-p {unknown[0]}: the images are of {', '.join(images.factors)}: choose among these")
    rng = np.random.default_rng(seed)
    rank = np.empty(len(images.labels))
    for label in range(len(images.factors)):
        of_factor = images.labels == label
        rank[of_factor] = rng.permutation(of_factor.sum())
    wanted = np.isin(images.labels, [k for k, name in enumerate(images.factors) if not factors or name in factors])
    order = np.lexsort((images.labels, rank))
    chosen = np.sort(order[wanted[order]][:number])
    return dataloader.Images(images.pixels[chosen], images.labels[chosen], images.factors, images.channels,
                             images.pixel_size_um, files=tuple(images.files[k] for k in chosen))


def nearest_neighbours(images, training):
    """(position among the `training` images, distance) of the nearest one of the same factor, for each of `images`.

    The distance is the root of the mean squared difference of pixels in [0, 1]. A file is not its own neighbour.
    """
    from scipy.spatial.distance import cdist

    numbers = images.pixels[0].size
    nearest, smallest = np.zeros(len(images.pixels), int), np.full(len(images.pixels), np.inf)
    for label in np.unique(images.labels):
        rows, candidates = np.flatnonzero(images.labels == label), np.flatnonzero(training.labels == label)
        files = np.array([str(images.files[row].resolve()) for row in rows])
        for start in range(0, len(candidates), 1024):
            block = candidates[start:start + 1024]
            distance = cdist(images.pixels[rows].reshape(-1, numbers), training.pixels[block].reshape(-1, numbers))
            distance[files[:, None] == [str(training.files[k].resolve()) for k in block]] = np.inf
            best = distance.argmin(axis=1)
            nearer = distance[np.arange(len(rows)), best] < smallest[rows]
            nearest[rows[nearer]] = block[best[nearer]]
            smallest[rows[nearer]] = distance[nearer, best[nearer]]
    return nearest, smallest / np.sqrt(numbers) / 255


# ---------------------------------------------------------------------------------------------- the search

def search(generator, spec, images, order="joint", starts=5, iterations=100, seed=42, together=MOST_TOGETHER):
    """Minimise the squared error of drawn images over z (Osokin et al. 2017, table 3); returns a Reconstruction.

    images       dataloader.Images; of a generator of several factors only red and the image's own one are compared
    order        "joint": all of z for all channels; "red-first": the red part of z for the red channel, then, with that
                 kept, the green part for the greens (needs a generator that draws red apart)
    starts       random z that the search starts from, for each image
    iterations   of L-BFGS, at most, in each step of the order
    """
    from tqdm import tqdm

    z = np.random.default_rng(seed).standard_normal((len(images.labels), starts, spec.nz))
    squared = np.empty(z.shape[:2])
    objective = functools.cache(functools.partial(_objective, generator, spec))
    towers = images.labels if spec.separate_factors else np.zeros_like(images.labels)
    with tqdm(total=squared.size * len(ORDERS[order]), desc=order, unit="search", disable=None, leave=False) as bar:
        for tower in np.unique(towers):
            rows = np.flatnonzero(towers == tower)
            targets = np.repeat(images.pixels[rows] / np.float32(127.5) - 1, starts, axis=0)
            best = z[rows].reshape(-1, spec.nz)
            for part in ORDERS[order]:
                function, channels, free = objective(tower, part)
                best[:, free] = _minimize(function, targets[..., channels], best, free, iterations, together,
                                          bar.update)
            z[rows] = best.reshape(z[rows].shape)
            function, _, _ = objective(tower, "pair")
            squared[rows] = np.concatenate([function(best[k:k + together], targets[k:k + together])[0]
                                            for k in range(0, len(best), together)]).reshape(-1, starts)
    nearest = squared.argmin(axis=1)
    numbers = images.pixels[0].size
    return Reconstruction(z[np.arange(len(z)), nearest].astype("float32"), np.sqrt(squared / numbers) / 2)


def _objective(generator, spec, tower, part):
    """(engine.latent_gradient, the channels of a target that it is about, the numbers of z that it may change)."""
    from ..core.engine import latent_gradient

    red, green = slice(0, spec.red_nz), slice(spec.red_nz, None)
    channels, free = {"pair": (slice(None), slice(None)), "red": (slice(0, 1), red),
                      "green": (slice(1, None), green)}[part]
    return latent_gradient(models.restricted_to(generator, spec.factor_channels[tower][channels])), channels, free


def _minimize(function, targets, z, free, iterations, together, done):
    """The numbers `free` of each z (problems, nz) that minimise the errors of `function`, the others kept."""
    def errors_and_gradients(rows, values):
        whole = z[rows]
        whole[:, free] = values
        # A compiled function is made anew for each size of batch that it meets: powers of two are few.
        filled = np.resize(np.arange(len(rows)), 1 << (len(rows) - 1).bit_length())
        errors, gradients = function(whole[filled].astype("float32"), targets[rows][filled])
        return errors[:len(rows)].astype("float64"), gradients[:len(rows), free].astype("float64")

    return minimize_together(errors_and_gradients, z[:, free], iterations, together, done)


def minimize_together(function, starts, iterations, together, done=lambda: None):
    """Minimise one function for each row of `starts` (problems, numbers) by L-BFGS-B; returns minima of that shape.

    function   (rows, values (len(rows), numbers)) -> (errors (len(rows),), gradients (len(rows), numbers)) of the
               problems `rows`
    done       called after each problem

    Each problem is scipy's, unchanged, with its own line searches and its own end, in a thread that waits wherever a
    value is needed; when all wait, one call of `function` answers them. `together` problems are under way at a time.
    What it does depends on no thread's speed: who asks in which round is decided by the problems alone.
    """
    from scipy.optimize import minimize

    events, stopped = queue.SimpleQueue(), threading.Event()

    def solve(k):
        def objective(values):
            answer = concurrent.futures.Future()
            events.put((k, values.copy(), answer))
            while True:         # Ctrl-C can come within set_result, between the result and its announcement
                with contextlib.suppress(concurrent.futures.TimeoutError):
                    return answer.result(timeout=1)
                if stopped.is_set():
                    raise concurrent.futures.CancelledError
        try:
            return minimize(objective, starts[k], jac=True, method="L-BFGS-B", options={"maxiter": iterations}).x
        finally:
            events.put((k, None, None))

    with concurrent.futures.ThreadPoolExecutor(together) as pool:
        try:
            solutions = [pool.submit(solve, k) for k in range(len(starts))]
            unfinished, waiting = len(starts), {}
            while unfinished:
                k, values, answer = events.get()
                if answer:
                    waiting[k] = values, answer
                else:
                    unfinished -= 1
                    done()
                if waiting and len(waiting) == min(together, unfinished):
                    rows = sorted(waiting)
                    results = function(np.array(rows), np.array([waiting[row][0] for row in rows]))
                    for row, error, gradient in zip(rows, *results):
                        waiting.pop(row)[1].set_result((error, gradient))
        except BaseException:
            stopped.set()       # or the threads, for which the pool waits, would wait for answers
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return np.array([solution.result() for solution in solutions])


def negative_log_likelihood(z):
    """-log N(z; 0, I) of each z (cells, nz), in nats."""
    return z.shape[1] / 2 * np.log(2 * np.pi) + (z.astype("float64") ** 2).sum(axis=1) / 2


# ---------------------------------------------------------------------------------------------- what came out

def summary(targets, distances, found):
    """The table of the errors, as text: a line for each factor, medians ± median absolute deviations as in the paper.

    distances   to the nearest neighbours (images,)
    found       {order: Reconstruction}
    """
    lines = ["error: root of the mean squared difference of pixels in [0, 1]; -log p: of z under the normal "
             "distribution, in nats",
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
                 f"(mean ± standard deviation); nearer: with a smaller error than the nearest neighbour's")
    return "\n".join(lines)


def _spread(values, digits):
    middle = np.median(values)
    return f"{middle:.{digits}f} ± {np.median(np.abs(values - middle)):.{digits}f}"


def _draw(name, generator, spec, targets, neighbours, found, palette):
    """Write the pictures: of each factor the reconstruction with the smallest, the middle and the largest error."""
    from ..core import figures
    from ..core.engine import generate

    error = next(iter(found.values())).error
    rows = []
    for label in np.unique(targets.labels):
        of_factor = np.flatnonzero(targets.labels == label)
        of_factor = of_factor[np.argsort(error[of_factor])]
        rows += [of_factor[k] for k in sorted({0, len(of_factor) // 2, len(of_factor) - 1})]
    real, nearest = targets.pixels[rows] / np.float32(255), neighbours[rows] / np.float32(255)
    cells = [(generate(generator, best.z[rows]) + 1) / 2 for best in found.values()]
    names = [targets.factors[label] for label in targets.labels[rows]]
    towers = targets.labels[rows] if spec.separate_factors else np.zeros(len(rows), int)
    pairs = [[cell[..., spec.factor_channels[k]] for k, cell in zip(towers, drawn)] for drawn in cells]
    path = predict.IMAGES / f"reconstruction.{name}.png"
    figures.write_picture(path, figures.table(list(zip(real, nearest, *pairs)),
                                              ["real", "nearest neighbour", *found], names, palette))
    print(f"Output picture to file: {path}")
    if len(spec.separate_factors) > 1 and len(spec.channel_names) == 1 + len(spec.separate_factors):
        path = predict.IMAGES / f"reconstruction_factors.{name}.png"
        figures.write_picture(path, figures.table(
            [[image, *(cell[..., [0, k]] for k in range(1, cell.shape[-1]))] for image, cell in zip(real, cells[0])],
            ["real", *spec.factors], names, palette))
        print(f"Output picture to file: {path}")


parser = command_line.reconstruct_parser


def main(arguments=None):
    return launch.run(reconstruct, parser().parse_args(arguments))
