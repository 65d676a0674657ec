"""The outline of a cell in its marker channel."""

import math

import numpy as np


def measure_outline(image: np.ndarray) -> tuple[float, float, float, float, float]:
    """(length, row and column of the centre, angle, brightness of the middle) of the cell in one `image` (H, W).

    The cell is the largest region brighter than half of the median brightness. Its length, in pixels, is measured along
    the axis of largest variance, at `angle` in [-pi/2, pi/2] to the rows. The brightness of the middle tenth of the
    length is relative to the whole cell. All are NaN if no region has at least 9 pixels.
    """
    from scipy import ndimage

    bright = image[image > 0.1 * image.max()]
    regions, count = ndimage.label(ndimage.binary_opening(image > np.median(bright) / 2)) if bright.size else (None, 0)
    sizes = np.bincount(regions.ravel())[1:] if count else [0]
    if max(sizes) < 9:
        return (np.nan,) * 5
    cell = regions == 1 + np.argmax(sizes)
    pixels = np.argwhere(cell)
    centre = pixels.mean(axis=0)
    axis = np.linalg.eigh(np.cov((pixels - centre).T))[1][:, 1]
    axis = axis if axis[1] > 0 else -axis
    along = (pixels - centre) @ axis
    length = np.ptp(along) + 1
    middle = image[cell][np.abs(along) <= max(length / 20, 0.5)].mean() / image[cell].mean()
    return (length, *centre, math.atan2(axis[0], axis[1]), middle)
