"""Invert a generator: search the latent space for the z whose images are nearest to given ones."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from ..system.arguments import did_you_mean
from ..system.errors import InputError
from ..system.pixels import to_signed
from ..system.progress import shared_steps
from .batched_lbfgs import minimize_batch
from .channels import restricted_to

MAX_TOGETHER = 64       # searches that run at the same time: more gain nothing on a CPU
ORDERS = {"joint": ("pair",), "red-first": ("red", "green")}       # the steps of a search


class Search(NamedTuple):
    """How the latent space is searched.

    order        "joint": all of z for all channels; "red-first": the red part of z for the red channel, then, with that
                 kept, the green part for the greens (needs a generator that generates red separately)
    starts       random z from which each image is searched
    iterations   of L-BFGS, at most, in each step of the order
    together     searches that run at the same time
    seed         of the starts
    """

    order: str = "joint"
    starts: int = 5
    iterations: int = 100
    together: int = MAX_TOGETHER
    seed: int = 42


class Reconstruction(NamedTuple):
    """What a search found for each image.

    z          (images, nz), of the start that came nearest
    errors     (images, starts), root mean squared difference of pixels in [0, 1]
    """

    z: np.ndarray
    errors: np.ndarray

    @property
    def error(self):
        """(images,), of the start that came nearest."""
        return self.errors.min(axis=1)


class _Step(NamedTuple):
    """One step of a search: engine.latent_gradient, the channels that it compares, the part of z that it may change."""

    error_and_gradient: Any
    channels: slice
    free: slice


def invert(generator, images, search, title=""):
    """Minimise the squared error of generated images over z (Osokin et al. 2017, table 3); returns a Reconstruction.

    generator   trained.TrainedGenerator
    images      dataloader.Images; if the generator separates factors, each is compared in red and in its own factor
    search      Search
    title       of the progress that is shown
    """
    spec = generator.spec
    images = relabelled(images, spec.separate_factors or images.factors)
    z = np.random.default_rng(search.seed).standard_normal((len(images.labels), search.starts, spec.nz))
    squared = np.empty(z.shape[:2])
    towers = images.labels if spec.separate_factors else np.zeros_like(images.labels)
    number = squared.size * len(ORDERS[search.order])
    with shared_steps(title or search.order, "start", 1 + number) as steps:
        next(steps)
        for tower in np.unique(towers):
            rows = np.flatnonzero(towers == tower)
            parts = {name: _step(generator, tower, name) for name in dict.fromkeys([*ORDERS[search.order], "pair"])}
            targets = np.repeat(to_signed(images.pixels[rows]), search.starts, axis=0)
            best, errors = _search_tower(parts, targets, z[rows].reshape(-1, spec.nz), search, lambda: next(steps))
            z[rows], squared[rows] = best.reshape(z[rows].shape), errors.reshape(-1, search.starts)
    nearest = squared.argmin(axis=1)
    numbers = images.pixels[0].size
    return Reconstruction(z[np.arange(len(z)), nearest].astype("float32"), np.sqrt(squared / numbers) / 2)


def search_red(generator, pixels, starts, iterations, title="red"):
    """Search the red part of z for given reds; returns (z (problems, nz), squared errors of red (problems,)).

    generator    trained.TrainedGenerator whose network makes red from a part of z
    pixels       uint8 (problems, height, width, channels), red first
    starts       z (problems, nz) from which each is searched; what belongs to green is kept
    iterations   of L-BFGS, at most
    """
    step, targets = _step(generator, 0, "red"), to_signed(pixels[..., :1])
    z = starts.astype("float64")
    with shared_steps(title, "start", 1 + len(z)) as steps:
        next(steps)
        z[:, step.free] = _minimize(step, targets, z, Search(iterations=iterations), lambda: next(steps))
    return z.astype("float32"), _errors(step, targets, z, MAX_TOGETHER)


def _search_tower(parts, targets, starts, search, done):
    """(z (problems, nz), squared errors (problems,)) of targets that one tower generates.

    parts   {name: _Step}
    done    called after each search
    """
    z = starts.copy()
    for name in ORDERS[search.order]:
        step = parts[name]
        z[:, step.free] = _minimize(step, targets[..., step.channels], z, search, done)
    return z, _errors(parts["pair"], targets, z, search.together)


def _step(generator, tower, name):
    from ..core.engine import latent_gradient

    spec = generator.spec
    channels, free = {"pair": (slice(None), slice(None)), "red": (slice(0, 1), slice(0, spec.red_nz)),
                      "green": (slice(1, None), slice(spec.red_nz, None))}[name]
    part = restricted_to(generator.network, spec.factor_channels[tower][channels])
    return _Step(latent_gradient(part), channels, free)


def _minimize(step, targets, z, search, done):
    """The free part of each z (problems, nz) that minimises the error of the _Step; the rest of z is kept."""
    def errors_and_gradients(rows, values):
        whole = z[rows]
        whole[:, step.free] = values
        # A function is compiled again for every batch size that it meets: powers of two are few.
        filled = np.resize(np.arange(len(rows)), 1 << (len(rows) - 1).bit_length())
        errors, gradients = step.error_and_gradient(whole[filled].astype("float32"), targets[rows][filled])
        return errors[:len(rows)].astype("float64"), gradients[:len(rows), step.free].astype("float64")

    return minimize_batch(errors_and_gradients, z[:, step.free], search.iterations, search.together, done)


def _errors(step, targets, z, together):
    """Squared errors (problems,) of the channels of a _Step."""
    return np.concatenate([step.error_and_gradient(z[k:k + together], targets[k:k + together])[0]
                           for k in range(0, len(z), together)])


# ---------------------------------------------------------------------------------------------- the images

def balanced_sample(images, number, factors, seed):
    """At most `number` random images of the `factors` (all by default), as many of each factor as possible.

    Returns dataloader.Images. Raises InputError for a factor that the images don't have.
    """
    if unknown := [factor for factor in factors if factor not in images.factors]:
        raise InputError(f"-p {unknown[0]}: {did_you_mean(unknown[0], images.factors)}the images are of "
                         f"{', '.join(images.factors)}: choose among these")
    rng = np.random.default_rng(seed)
    rank = np.empty(len(images.labels))
    for label in range(len(images.factors)):
        of_factor = images.labels == label
        rank[of_factor] = rng.permutation(of_factor.sum())
    wanted = np.isin(images.labels, [k for k, name in enumerate(images.factors) if not factors or name in factors])
    order = np.lexsort((images.labels, rank))
    return subset(images, np.sort(order[wanted[order]][:number]))


def relabelled(images, factors):
    """The dataloader.Images with labels that refer to `factors`, to which all of their own belong."""
    positions = np.array([factors.index(name) for name in images.factors])
    return dataclasses.replace(images, labels=positions[images.labels], factors=tuple(factors))


def subset(images, positions):
    """The dataloader.Images at these positions."""
    return dataclasses.replace(images, pixels=images.pixels[positions], labels=images.labels[positions],
                               files=tuple(images.files[k] for k in positions))
