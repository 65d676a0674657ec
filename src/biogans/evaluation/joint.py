"""Measurements of joint cells, which have all channels at once, and the errors of generated ones.

No cell was imaged with six factors, but the simulator shows them (joint_test.h5). A generator that never saw two greens
together is right about them if its cells agree with true ones in the correlations between greens, in the position of
each green along the cell at each length, and in its number of spots. Cells lie along the rows of the image, as in the
LIN crops.
"""

from typing import NamedTuple

import numpy as np

from ..core.gan import BODY
from ..system import hdf5
from ..system.errors import InputError
from ..system.pixels import to_unit

POSITIONS = 20                          # along the cell, from the tip with more red to the other
LENGTH_BINS = 3
SPOT = 0.2                              # contrast of a spot, in units of its channel's mean in the cell
SMALLEST = 30                           # pixels of a cell; smaller regions are none


class JointCells(NamedTuple):
    """True cells with all channels.

    pixels          uint8 (cells, height, width, channels), red first
    channel_names   of each channel
    repeats         further greens of the first cells: uint8 (cells, repeats, height, width, greens); None in files of
                    earlier versions
    """

    pixels: np.ndarray
    channel_names: list
    repeats: np.ndarray | None = None


class Cells(NamedTuple):
    """Measurements of each cell; NaN where a channel is constant.

    length         (cells,) pixels
    correlations   (cells, channels, channels) Pearson's correlation over the pixels of a cell
    profiles       (cells, channels, POSITIONS) mean intensity there, in units of the channel's mean in the cell
    spots          (cells, channels) number of spots
    """

    length: np.ndarray
    correlations: np.ndarray
    profiles: np.ndarray
    spots: np.ndarray


def read_joint_cells(path):
    """The JointCells of a file such as joint_test.h5. Raises InputError."""
    try:
        with hdf5.opened(path) as file:
            stack = hdf5.own_dataset(file, "stack")
            if stack is None or stack.ndim != 4 or stack.dtype != np.uint8:
                raise ValueError("no stack of 8-bit images")
            names = [str(name) for name in stack.attrs["channel_names"]]
            repeats = hdf5.own_dataset(file, "repeats")
            if repeats is not None and (repeats.dtype != np.uint8 or repeats.ndim != 5 or len(repeats) > len(stack)
                                        or repeats.shape[2:] != (*stack.shape[1:3], stack.shape[3] - 1)):
                raise ValueError("its repeats do not fit its stack")
            return JointCells(stack[()], names, None if repeats is None else repeats[()])
    except hdf5.UNREADABLE as problem:
        raise InputError(f"{path} is not a readable stack of joint cells ({hdf5.reason(problem)}): make one with "
                         f"biogans simulate") from None


def measure_cells(pixels):
    """The Cells in uint8 images (cells, height, width, channels); images without a cell are left out."""
    measured = [cell for cell in map(_measure_cell, pixels) if cell is not None]
    if not measured:
        channels = pixels.shape[-1]
        return Cells(np.empty(0), np.empty((0, channels, channels)), np.empty((0, channels, POSITIONS)),
                     np.empty((0, channels)))
    return Cells(*(np.array(values) for values in zip(*measured)))


def cell_body(image):
    """bool (height, width): the cell in an image (height, width, channels) in [0, 1], holes filled, without its rim."""
    from scipy import ndimage

    regions, count = ndimage.label(ndimage.gaussian_filter(image.mean(axis=-1), 0.7) > BODY)
    if count == 0:
        return np.zeros(regions.shape, bool)
    largest = 1 + np.argmax(np.bincount(regions.ravel())[1:])
    # All channels fade out together in the rim, which would dominate their correlations.
    return ndimage.binary_erosion(ndimage.binary_fill_holes(regions == largest))


def count_spots(channel, inside):
    """Number of local maxima of the difference of Gaussians (1 and 2 pixels) of a channel (height, width)."""
    from scipy import ndimage

    contrast = ndimage.gaussian_filter(channel, 1) - ndimage.gaussian_filter(channel, 2)
    peaks = (contrast == ndimage.maximum_filter(contrast, 3)) & (contrast > SPOT * channel[inside].mean())
    return int((peaks & inside).sum())


class Axis(NamedTuple):
    """Where a cell lies in its image, and where along it, from the tip with more red to the other.

    inside     bool (height, width): the pixels of its body
    position   (pixels inside,) from 0 up to POSITIONS - 1
    length     pixels
    """

    inside: np.ndarray
    position: np.ndarray
    length: int

    def profile(self, values):
        """Mean of `values` (pixels inside, channels) at each position: (channels, POSITIONS); NaN where there is none.
        """
        with np.errstate(invalid="ignore"):
            return (np.array([np.bincount(self.position, channel, POSITIONS) for channel in values.T])
                    / np.bincount(self.position, minlength=POSITIONS))


def cell_axis(image):
    """The Axis of the cell in an image (height, width, channels) in [0, 1], red first; None if it shows no cell."""
    inside = cell_body(image)
    if inside.sum() < SMALLEST:
        return None
    columns = np.nonzero(inside)[1]
    first, length = columns.min(), np.ptp(columns) + 1
    axis = Axis(inside, ((columns - first + 0.5) * POSITIONS / length).astype(int), length)
    red = axis.profile(image[inside][:, :1])[0]
    turned = red[:POSITIONS // 2].sum() < red[POSITIONS // 2:].sum()
    return axis._replace(position=POSITIONS - 1 - axis.position) if turned else axis


def _measure_cell(image):
    image = to_unit(image)
    axis = cell_axis(image)
    if axis is None:
        return None
    values = image[axis.inside]
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.corrcoef(values, rowvar=False)
        profile = axis.profile(values) / values.mean(axis=0)[:, None]
    spots = [count_spots(image[..., k], axis.inside) for k in range(image.shape[-1])]
    return axis.length, correlations, profile, spots


def compare_cells(truth, samples):
    """A dict of the means of true and sampled `Cells`, and of the errors of the samples; channel 0 is red.

    All errors are NaN if no sample shows a cell.

    correlations, true_correlations   (channels, channels)
    profiles, true_profiles           (LENGTH_BINS, channels, POSITIONS): bins of length, from short to long, with equal
                                      numbers of true cells and the same limits for both sets
    spots, true_spots                 (channels,)
    correlation_error                 root mean square over all pairs of greens
    profile_error                     root mean square over bins, greens and positions, without empty bins
    spot_error                        mean absolute difference over the greens
    """
    limits = np.quantile(truth.length, np.linspace(0, 1, LENGTH_BINS + 1)[1:-1])
    means = [_mean_cell(cells, limits) for cells in (truth, samples)]
    correlation, profile, spots = (there - here for here, there in zip(*means))
    pairs = np.triu_indices(len(correlation) - 1, 1)
    result = {
        "correlation_error": float(np.sqrt(_known_mean(correlation[1:, 1:][pairs] ** 2))),
        "profile_error": float(np.sqrt(_known_mean(profile[:, 1:].ravel() ** 2))),
        "spot_error": float(_known_mean(np.abs(spots[1:])))}
    for prefix, values in zip(("true_", ""), means):
        result |= {prefix + name: value for name, value in zip(("correlations", "profiles", "spots"), values)}
    return result


def _mean_cell(cells, limits):
    """(correlations, profiles of each bin of length, spots), means over the cells."""
    bins = np.digitize(cells.length, limits)
    profiles = np.array([_known_mean(cells.profiles[bins == k]) for k in range(LENGTH_BINS)])
    return _known_mean(cells.correlations), profiles, _known_mean(cells.spots)


def _known_mean(values):
    """Mean over the first axis without NaNs; NaN where there is nothing else."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)


def borrow_greens(pixels, nearest, rng):
    """Cells whose greens come from other cells: for each green one of the `nearest` in red (L2), at random.

    pixels    uint8 (cells, height, width, channels); returns the same shape
    nearest   5 makes multi-channel training images as the paper does (sec. 4.2); all cells: channels that have nothing
              to do with each other
    """
    from scipy.spatial.distance import cdist

    red = pixels[..., 0].reshape(len(pixels), -1).astype(np.float32)
    distance = cdist(red, red)
    np.fill_diagonal(distance, np.inf)
    neighbours = np.argsort(distance, axis=1)[:, :min(nearest, len(pixels) - 1)]
    result = pixels.copy()
    for channel in range(1, pixels.shape[-1]):
        donors = neighbours[np.arange(len(pixels)), rng.integers(neighbours.shape[1], size=len(pixels))]
        result[..., channel] = pixels[donors, ..., channel]
    return result
