"""Torn cells: generated ones whose red outline is detached, dented, pointed or ragged as hardly any true cell's is.

A rod with hemispherical ends is one convex piece whose ends have the same curvature everywhere. `measure_outline` gives
three departures from it, and `calibrate` their usual range among true cells: a cell is torn if one of them is larger.
All three limits are the same quantile of true cells, chosen so that TRUE_TORN of true cells that it was not chosen for
are torn: each tenth of them is compared with the quantiles of the others.
"""

from typing import NamedTuple

import numpy as np

from ..system.pixels import to_unit

TRUE_TORN = 0.01                        # share of true cells that counts as torn
FEWEST, MOST = 200, 3000                # true cells: fewer do not define a limit of 1 %, and more hardly change it
FOLDS = 10
BLUR, SMOOTHING = 0.7, 2.5              # pixels, standard deviations of Gaussians: of the image, along the contour
BRIGHT, CELL, DIM = 0.1, 0.5, 0.25      # thresholds: of the maximum; of the cell's median brightness
EDGE = 2                                # pixels around the cell in which any edge fades
SMALLEST = 30                           # pixels of a cell
# True images that have outlines: cells apart from the frame of the image, in this share of them, with this solidity.
APART, SOLID = 0.95, 0.9


class TrueOutlines(NamedTuple):
    """The largest usual measures among true cells (see `measure_outline`), and the number of these cells."""

    detached: float
    concavity: float
    unevenness: float
    cells: int


def measure_outline(image):
    """(detached, concavity, unevenness) of the cell in a red image (height, width) in [0, 1]; inf without a cell.

    The cell is the largest region, holes filled, of pixels brighter than half of the cell's median brightness.

    detached     area of what is brighter than a quarter of it and more than 2 pixels away, over the area of the cell
    concavity    1 - solidity: the share of the convex hull that is not cell
    unevenness   standard deviation of the contour's curvature over an end, times half of the end's width: 0 for a
                 semicircle, large for points, corners and notches. The larger of both ends, each as long as half of its
                 width. The curvature is smoothed over 2.5 pixels.
    """
    return _measure(*find_cell(image))


def _measure(light, cell, level):
    from scipy.ndimage import distance_transform_edt
    from skimage.measure import regionprops

    if cell.sum() < SMALLEST:
        return (np.inf,) * 3
    apart = (light > level * DIM / CELL) & (distance_transform_edt(~cell) > EDGE)
    return apart.sum() / cell.sum(), 1 - regionprops(cell.astype(np.uint8))[0].solidity, end_unevenness(
        contour(light, cell, level), cell)


def find_cell(image):
    """(blurred image, bool mask of the cell, brightness at its edge) of an image (height, width) in [0, 1]."""
    from scipy import ndimage

    light = ndimage.gaussian_filter(np.asarray(image, float), BLUR)
    bright = image[image > BRIGHT * image.max()]
    level = CELL * np.median(bright) if bright.size else np.inf
    regions, count = ndimage.label(light > level)
    cell = regions == (1 + np.argmax(np.bincount(regions.ravel())[1:]) if count else -1)
    return light, ndimage.binary_fill_holes(cell), level


def contour(light, cell, level):
    """Points (row, column), half a pixel apart, where the light around the cell falls below the level: (points, 2)."""
    from scipy.ndimage import binary_dilation, binary_erosion
    from skimage.measure import find_contours

    alone = np.where(binary_dilation(cell, np.ones((3, 3))), light, 0)
    filled = np.where(binary_erosion(cell), np.maximum(alone, 2 * level), alone)
    points = max(find_contours(np.pad(filled, 1), level), key=len) - 1
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    places = np.linspace(0, along[-1], round(2 * along[-1]), endpoint=False)
    return np.stack([np.interp(places, along, axis) for axis in points.T], axis=1)


def curvature_along(points):
    """Curvature, 1/pixel, at points (points, 2), half a pixel apart, of a closed contour; positive where convex."""
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(points, 2 * SMOOTHING, axis=0, mode="wrap")
    before, after = np.roll(smooth, 1, axis=0), np.roll(smooth, -1, axis=0)
    first, second = after - before, 4 * (after - 2 * smooth + before)       # derivatives, by differences over a pixel
    curvature = (first[:, 1] * second[:, 0] - first[:, 0] * second[:, 1]) / (first ** 2).sum(axis=1) ** 1.5
    return curvature * np.sign(curvature.sum())


def end_unevenness(points, cell):
    """Unevenness (see `measure_outline`) of the less even end of a cell with this contour and mask."""
    from scipy.ndimage import distance_transform_edt

    pixels = np.argwhere(cell)
    axis = np.linalg.eigh(np.cov((pixels - pixels.mean(axis=0)).T))[1][:, 1]
    along, across = points @ axis, points @ np.array([-axis[1], axis[0]])
    width = 4 * distance_transform_edt(cell)[cell].mean()       # exact for a strip
    curvature, found = curvature_along(points), []
    for side in (1, -1):
        depth = (side * along).max() - side * along             # from the end
        beside = across[np.abs(depth - width / 2) < 1]
        own = np.clip(np.ptp(beside), width / 2, 1.5 * width) if beside.size else width
        found.append(curvature[depth < own / 2].std() * own / 2)
    return max(found)


def calibrate(red):
    """TrueOutlines of uint8 images of true cells (images, height, width); None for images without such outlines.

    They have outlines if there are 200 or more, 95 % of them show a cell that is brighter than its background and does
    not touch the frame of the image, and these cells have a median solidity of 0.9 or more, as rods have. So digits,
    filaments and brightfield images have none. More than 3,000 images are thinned evenly.
    """
    if len(red) < FEWEST:
        return None
    chosen = red[np.linspace(0, len(red) - 1, min(len(red), MOST)).round().astype(int)]
    parts = [find_cell(to_unit(image)) for image in chosen]
    found = np.array([_measure(*part) for part in parts if is_apart(part[1])])
    if len(found) < APART * len(chosen) or np.median(found[:, 1]) > 1 - SOLID:
        return None
    return TrueOutlines(*_limits(found, _share_outside(found)).tolist(), len(found))


def is_apart(cell):
    """Whether a mask (height, width) has a cell that does not touch the frame of the image."""
    return cell.sum() >= SMALLEST and not (cell[[0, -1]].any() or cell[:, [0, -1]].any())


def percent_torn(red, true):
    """Percentage of torn cells in uint8 images (images, height, width); `true` are TrueOutlines."""
    found = np.array([measure_outline(to_unit(image)) for image in red])
    return 100 * float((found > true[:3]).any(axis=1).mean())


def _limits(found, outside):
    """Limits that the share `outside` of true cells exceeds, for each measure by itself."""
    return np.quantile(found, 1 - outside, axis=0)


def _share_outside(found):
    """The largest share outside each limit for which at most TRUE_TORN of the cells are torn."""
    fold = np.arange(len(found)) % FOLDS

    def torn(outside):
        return np.mean([(found[fold == k] > _limits(found[fold != k], outside)).any(axis=1).mean()
                        for k in range(FOLDS)])

    least, most = 0.0, TRUE_TORN
    for _ in range(20):
        middle = (least + most) / 2
        least, most = (middle, most) if torn(middle) <= TRUE_TORN else (least, middle)
    return least
