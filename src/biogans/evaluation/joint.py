"""Cells with all channels at once: what they are like, and how far generated ones are from the truth.

No microscope shows six factors in one cell, but the simulator does (joint_test.h5). A generator that never saw two
greens together is right about them if its cells agree with true ones in how the greens correlate, where along the cell
each one lies at each length, and how many spots it has. Cells lie along the rows of the image, as in the LIN crops.
"""

from typing import NamedTuple

import numpy as np

from ..system.errors import InputError

POSITIONS = 20                          # along the cell, from the tip with more red to the other
LENGTH_BINS = 3
ZONES = {"tips": [0, 1, 18, 19], "quarters": [4, 5, 14, 15], "middle": [9, 10]}
BODY = 0.1                              # brightness, mean over the channels, above which a pixel is the cell's
SPOT = 0.2                              # contrast of a spot, in units of its channel's mean in the cell
SMALLEST = 30                           # pixels; less is no cell


class Cells(NamedTuple):
    """What is measured in each cell; NaN where a channel is constant.

    length         (cells,) pixels
    correlations   (cells, channels, channels) Pearson's, between the pixels of a cell
    profiles       (cells, channels, POSITIONS) mean intensity there, in units of the channel's mean in the cell
    spots          (cells, channels) how many
    """

    length: np.ndarray
    correlations: np.ndarray
    profiles: np.ndarray
    spots: np.ndarray


def read(path):
    """(uint8 cells (cells, height, width, channels), channel names) of joint_test.h5. Raises InputError."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            stack = file["stack"]
            if stack.ndim != 4 or stack.dtype != np.uint8 or stack.is_virtual or stack.external:
                raise ValueError("no images of 8 bits")
            return stack[()], [str(name) for name in stack.attrs["channel_names"]]
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as problem:
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise InputError(f"{path} is not a readable stack of joint cells ({reason}): make one with "
                         f"biogans simulate") from None


def measure(stack):
    """Cells of a uint8 stack (cells, height, width, channels); images in which there is no cell are left out."""
    measured = [_measure(image) for image in stack]
    measured = [cell for cell in measured if cell is not None]
    if not measured:
        channels = stack.shape[-1]
        return Cells(np.empty(0), np.empty((0, channels, channels)), np.empty((0, channels, POSITIONS)),
                     np.empty((0, channels)))
    return Cells(*(np.array(values) for values in zip(*measured)))


def body(image):
    """bool (height, width): pixels of the cell in an image (height, width, channels) in [0, 1], without holes and rim."""
    from scipy import ndimage

    regions, count = ndimage.label(ndimage.gaussian_filter(image.mean(axis=-1), 0.7) > BODY)
    if count == 0:
        return np.zeros(regions.shape, bool)
    largest = 1 + np.argmax(np.bincount(regions.ravel())[1:])
    # In the rim all channels fade away together, which would be what they agree in most.
    return ndimage.binary_erosion(ndimage.binary_fill_holes(regions == largest))


def count_spots(channel, inside):
    """Number of local maxima of the difference of Gaussians (1 and 2 pixels) of a channel (height, width)."""
    from scipy import ndimage

    contrast = ndimage.gaussian_filter(channel, 1) - ndimage.gaussian_filter(channel, 2)
    peaks = (contrast == ndimage.maximum_filter(contrast, 3)) & (contrast > SPOT * channel[inside].mean())
    return int((peaks & inside).sum())


def _measure(image):
    image = image / np.float32(255)
    inside = body(image)
    if inside.sum() < SMALLEST:
        return None
    values = image[inside]
    mean = values.mean(axis=0)
    columns = np.nonzero(inside)[1]
    first, length = columns.min(), np.ptp(columns) + 1
    position = ((columns - first + 0.5) * POSITIONS / length).astype(int)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.corrcoef(values, rowvar=False)
        counts = np.bincount(position, minlength=POSITIONS)
        profile = np.array([np.bincount(position, channel, POSITIONS) for channel in values.T]) / counts / mean[:, None]
    if profile[0, :POSITIONS // 2].sum() < profile[0, POSITIONS // 2:].sum():
        profile = profile[:, ::-1]
    spots = [count_spots(image[..., k], inside) for k in range(image.shape[-1])]
    return length, correlations, profile, spots


def compare(truth, samples):
    """A dict of what true and sampled `Cells` are like on average, and of the errors; channel 0 is red.

    NaN throughout if no sample shows a cell.

    correlations, true_correlations   (channels, channels)
    profiles, true_profiles           (LENGTH_BINS, channels, POSITIONS): bins hold equal numbers of true cells, from
                                      short to long, by the same limits in both sets
    spots, true_spots                 (channels,)
    correlation_error                 root mean square over all pairs of greens
    profile_error                     root mean square over bins, greens and positions; those without cells left out
    spot_error                        mean absolute difference over the greens
    """
    limits = np.quantile(truth.length, np.linspace(0, 1, LENGTH_BINS + 1)[1:-1])
    means = [_means(cells, limits) for cells in (truth, samples)]
    correlation, profile, spots = (there - here for here, there in zip(*means))
    pairs = np.triu_indices(len(correlation) - 1, 1)
    result = {
        "correlation_error": float(np.sqrt(_mean(correlation[1:, 1:][pairs] ** 2))),
        "profile_error": float(np.sqrt(_mean(profile[:, 1:].ravel() ** 2))),
        "spot_error": float(_mean(np.abs(spots[1:])))}
    for prefix, values in zip(("true_", ""), means):
        result |= {prefix + name: value for name, value in zip(("correlations", "profiles", "spots"), values)}
    return result


def _means(cells, limits):
    bins = np.digitize(cells.length, limits)
    return (_mean(cells.correlations), np.array([_mean(cells.profiles[bins == k]) for k in range(LENGTH_BINS)]),
            _mean(cells.spots))


def _mean(values):
    """Mean over the first axis of what is not NaN; NaN where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)


def enrichment(profiles):
    """{zone: (…, channels)}: how much brighter than the cell's mean a zone is, from profiles (…, POSITIONS).

    Tips are the outer tenths; the middle tenth has the nucleus of a short cell and the septum of a long one, whose
    nuclei are in the quarters.
    """
    return {zone: profiles[..., positions].mean(axis=-1) for zone, positions in ZONES.items()}


def borrowed(stack, nearest, rng):
    """The cells of a `stack` with each green taken from another cell: one of the `nearest` in red (L2), at random.

    With `nearest` 5 it is how the paper makes multi-channel training images (sec. 4.2), with all others it tells what
    nothing but each channel's own look is worth.
    """
    from scipy.spatial.distance import cdist

    red = stack[..., 0].reshape(len(stack), -1).astype(np.float32)
    distance = cdist(red, red)
    np.fill_diagonal(distance, np.inf)
    neighbours = np.argsort(distance, axis=1)[:, :min(nearest, len(stack) - 1)]
    result = stack.copy()
    for channel in range(1, stack.shape[-1]):
        chosen = neighbours[np.arange(len(stack)), rng.integers(neighbours.shape[1], size=len(stack))]
        result[..., channel] = stack[chosen, ..., channel]
    return result
