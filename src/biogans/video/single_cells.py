"""Single cells in images of many: where they are, their features, and their alignment.

Cells are regions above a threshold; touching ones are separated by a watershed of the distance to the outline. Each
is rotated around its centre until its long axis is horizontal.
"""

import numpy as np

from .frame_filters import foreground_mask, threshold as threshold_of

SMOOTH = 1.5                            # pixels: smaller details of an outline are ignored
SEEDS = 2.0                             # pixels by which a neck must be thinner than the bodies that it joins
FEATURES = ("area", "length", "width", "eccentricity", "solidity", "roundness", "brightness", "contrast", "edge")


def find_cells(image, smallest=100, threshold="otsu"):
    """Find bright cells in an image: labels, int (height, width), 0 for background.

    Cells that touch the border or have fewer than `smallest` pixels are left out. Touching cells are separated where
    the neck between them is thinner than both (watershed of the distance transform).
    """
    from scipy import ndimage
    from skimage import measure, segmentation
    from skimage.morphology import h_maxima
    smooth = ndimage.gaussian_filter(np.asarray(image, np.float32), SMOOTH)
    cells = ndimage.binary_fill_holes(foreground_mask(smooth, threshold_of([smooth], threshold), smallest))
    inside = ndimage.distance_transform_edt(cells)
    flat = np.maximum(ndimage.gaussian_filter(inside, SMOOTH), 0)
    seeds = measure.label((h_maxima(flat, SEEDS) > 0) & cells)
    labels = segmentation.clear_border(segmentation.watershed(-flat, seeds, mask=cells))
    kept = [cell.label for cell in measure.regionprops(labels) if cell.area >= smallest]
    return np.where(np.isin(labels, kept), labels, 0)


def align(pixels, mask, size, face=False):
    """Rotate and centre one cell so that its long axis is horizontal: (pixels (*size, channels), mask (*size)).

    pixels   (height, width, channels), float; set to 0 outside `mask` (height, width)
    face     rotate by 180 degrees if that brings the brighter end of the first channel to the left
    """
    from scipy.ndimage import affine_transform
    from skimage.measure import moments, moments_central
    down, across = (moments(mask.astype(float), 1)[index] / mask.sum() for index in ((1, 0), (0, 1)))
    central = moments_central(mask.astype(float), (down, across), order=2)
    tilt = 0.5 * np.arctan2(2 * central[1, 1], central[0, 2] - central[2, 0])
    if face:
        rows, columns = np.nonzero(mask)
        along = (rows - down) * np.sin(tilt) + (columns - across) * np.cos(tilt)
        tilt += np.pi if (along * pixels[rows, columns, 0]).sum() > 0 else 0
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])      # (down, right) out -> in
    corner = np.array([down, across]) - turn @ ((np.array(size) - 1) / 2)
    level = [affine_transform(channel, turn, corner, tuple(size), order=1)
             for channel in np.moveaxis(pixels * mask[..., None], -1, 0).astype(np.float32)]
    whole = affine_transform(mask.astype(np.float32), turn, corner, tuple(size), order=1) > 0.5
    return np.stack(level, axis=-1) * whole[..., None], whole


def measure_cell(image, mask):
    """FEATURES of a cell, float (9,): in pixels, dimensionless, or relative to its brightness.

    image   (height, width), with a background of about 0
    mask    (height, width) of the cell
    """
    from scipy.ndimage import binary_dilation, binary_erosion
    from skimage.measure import regionprops
    cell = regionprops(mask.astype(np.uint8))[0]
    inside, around = image[mask], image[binary_dilation(mask, iterations=4) & ~mask]
    rim = image[mask & ~binary_erosion(mask, iterations=2)]
    bright = max(inside.mean(), 1e-12)
    return np.array([
        cell.area, cell.axis_major_length, cell.axis_minor_length, cell.eccentricity, cell.solidity,
        4 * np.pi * cell.area / max(cell.perimeter, 1) ** 2, bright, inside.std() / bright,
        (rim.mean() - around.mean() if around.size else 0) / bright])
