"""Make one generated cell grow: the latent direction of growth, and key frames of the cell cycle along it."""

import numpy as np

from ..system.errors import InputError
from ..system.outline import measure_outline
from .channels import has_red_tower, restricted_to

SAMPLE = 2048               # random cells from which the direction of growth is estimated
WALKS = 48                  # cells that are made to grow; the steadiest is shown
STEPS = 31                  # cells that are measured on each walk
REACH = 3.0                 # how far a walk goes to either side; random z are that far out in one case of 370


def cell_cycle(generator, number, seed, red=0):
    """Key frames of one growing cell: (z (number, nz), lengths in pixels); no cell is shorter than the one before.

    generator   trained.TrainedGenerator
    red         position of the red channel, in which cells are measured

    Random cells are moved along the direction of growth, from REACH below the mean to REACH above it, on a circle that
    preserves |z| and all other directions: the same cell, longer and longer. The best walk is taken (`_quality`).
    Raises InputError if the generator makes no cells that can be measured, or none that grows.
    """
    network, spec = generator.network, generator.spec
    nz, free = spec.nz, spec.nz - spec.noise_size
    if red or has_red_tower(network):
        network = restricted_to(network, [red])
    z = np.random.default_rng(seed).standard_normal((SAMPLE, nz))
    lengths = measure_cells(network, z)[:, 0]
    found = np.isfinite(lengths)
    if found.sum() < SAMPLE / 2:
        raise InputError(f"only {found.sum()} of {SAMPLE} random cells have an outline that can be measured: train the "
                         f"generator longer")
    # Of all of z, with more than a thousand numbers of noise, so many cells would not determine a model.
    growth = np.pad(growth_direction(z[found, :free], lengths[found]), (0, nz - free))
    walks = np.array([_walk(start, growth) for start in z[found][:WALKS]])
    measured = measure_cells(network, walks.reshape(-1, nz)).reshape(len(walks), STEPS, -1)
    kept = [longest_rise(walk[:, 0]) for walk in measured]
    quality = [_quality(walk[steps]) if len(steps) >= number and np.ptp(walk[steps, 0]) >= 1 else -np.inf
               for walk, steps in zip(measured, kept)]
    best = np.argmax(quality)
    if quality[best] == -np.inf:
        raise InputError(f"-n {number}: no cell grows in so many steps: choose fewer, or another seed with -s")
    shown = np.array(kept[best])[np.linspace(0, len(kept[best]) - 1, number).round().astype(int)]
    return walks[best][shown].astype("float32"), measured[best, shown, 0]


def growth_direction(z, lengths):
    """Unit vector (nz,) along which cells get longer: the slope of a linear model of `lengths` (cells,) in z."""
    slope, *_ = np.linalg.lstsq(np.column_stack([z, np.ones(len(z))]), lengths, rcond=None)
    return slope[:-1] / max(np.linalg.norm(slope[:-1]), 1e-12)


def _walk(start, growth):
    """Latent vectors (STEPS, nz) of the length of `start` along the unit vector `growth` (nz,)."""
    rest = start - (start @ growth) * growth
    reach = min(REACH, 0.9 * np.linalg.norm(start))
    position = np.linspace(-reach, reach, STEPS)[:, None]
    return position * growth + np.sqrt(start @ start - position ** 2) * rest / np.linalg.norm(rest)


def _quality(walk):
    """Quality of a walk of measured cells (steps, 5), in pixels: growth less movement, rotation and jumps.

    Growth that ends with a septum counts more, up to double for a septum twice as bright as the cell.
    """
    length, angle = walk[:, 0], np.unwrap(walk[:, 3], period=np.pi)
    moved = np.linalg.norm(np.ptp(walk[:, 1:3], axis=0)) + np.ptp(angle) * length.mean() / 2
    septum = np.clip(walk[-1, 4] - 1, 0, 1)
    return np.ptp(length) * (1 + septum) - moved - 2 * np.diff(length).max()


def longest_rise(lengths):
    """Positions of the longest subsequence of `lengths` that never decreases."""
    ending = []                 # for each position, the longest such subsequence that ends there
    for length in lengths:
        before = [part for part in ending if lengths[part[-1]] <= length]
        ending.append([*max(before, key=len, default=[]), len(ending)])
    return max(ending, key=len)


def measure_cells(network, z):
    """`measure_outline` of the first channel of each image that a network (Keras) generates from z: (cells, 5)."""
    from ..core.engine import generate
    return np.array([measure_outline(image[..., 0]) for image in (generate(network, z.astype("float32")) + 1) / 2])
