"""The geometry of bright structures in an image: area, length, branching, curvature, beading and more."""

import math

import numpy as np

SMALLEST = 6                            # pixels of a region; smaller ones are noise
STRETCH = 5                             # skeleton pixels over which a direction is measured, before and behind a pixel
HALO = 4                                # pixels around bright ones that show their blur
NEIGHBOURS = np.array([(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)])

MEASURES = {
    "area": "bright fraction of the image (above Otsu's threshold)",
    "regions": "number of connected bright regions",
    "elongation": "1 - minor / major axis of a region, mean over bright pixels",
    "solidity": "area of a region over the area of its convex hull, mean over bright pixels",
    "length": "length of the skeleton in pixels",
    "width": "twice the mean distance from the skeleton to the edge, in pixels",
    "branching": "branch points per 100 pixels of skeleton",
    "curvature": "mean angle by which the skeleton turns, in radians per pixel",
    "beading": "standard deviation over mean of the width along a branch",
    "intensity": "mean of the bright pixels",
    "unevenness": "standard deviation over mean of the bright pixels",
    "background": "mean of the pixels more than 4 pixels away from bright ones",
}


def measure_image(image):
    """{measure: number} of an image (height, width) in [0, 1]; NaN where the image does not define it."""
    from scipy.ndimage import distance_transform_edt
    from skimage.measure import label, regionprops
    from skimage.morphology import skeletonize

    result = dict.fromkeys(MEASURES, np.nan)
    mask = bright_pixels(image)
    if not mask.any():
        return result
    regions = regionprops(label(mask, connectivity=2))
    sizes = np.array([region.area for region in regions])
    radius = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] - 0.5      # from a pixel's centre to the mask's edge
    skeleton = skeletonize(mask)
    paths, branch_points = trace_branches(skeleton)
    length = skeleton_length(skeleton)
    values, far = image[mask], distance_transform_edt(~mask) > HALO
    result |= {
        "area": mask.mean(), "regions": len(regions),
        "elongation": np.average([1 - region.axis_minor_length / max(region.axis_major_length, 1e-9)
                                  for region in regions], weights=sizes),
        "solidity": np.average([region.solidity for region in regions], weights=sizes),
        "length": length, "width": 2 * radius[skeleton].mean() if skeleton.any() else np.nan,
        "branching": 100 * branch_points / length if length else np.nan,
        "curvature": _weighted_mean([(curvature(path), len(path)) for path in paths]),
        "beading": _weighted_mean([(beading(radius[tuple(path.T)]), len(path)) for path in paths]),
        "intensity": values.mean(), "unevenness": values.std() / max(values.mean(), 1e-9),
        "background": image[far].mean() if far.any() else np.nan}
    return {name: float(value) for name, value in result.items()}


def measure_images(images):
    """{measure: float (images,)} of images (images, height, width) in [0, 1]."""
    found = [measure_image(image) for image in images]
    return {name: np.array([each[name] for each in found]) for name in MEASURES}


def bright_pixels(image):
    """bool (height, width): pixels above Otsu's threshold (1979), except regions of fewer than 6 pixels."""
    from scipy.ndimage import label
    from skimage.filters import threshold_otsu

    if np.ptp(image) == 0:
        return np.zeros(image.shape, bool)
    regions, _ = label(image > threshold_otsu(image), np.ones((3, 3)))
    large = np.bincount(regions.ravel()) >= SMALLEST
    large[0] = False
    return large[regions]


def skeleton_length(skeleton):
    """Length in pixels of the lines between neighbouring pixels of a skeleton, without diagonals that cut a corner."""
    straight = (skeleton[1:] & skeleton[:-1]).sum() + (skeleton[:, 1:] & skeleton[:, :-1]).sum()
    corner = skeleton[1:, :-1] | skeleton[:-1, 1:], skeleton[:-1, :-1] | skeleton[1:, 1:]
    diagonal = (skeleton[1:, 1:] & skeleton[:-1, :-1] & ~corner[0]).sum() + (
        skeleton[1:, :-1] & skeleton[:-1, 1:] & ~corner[1]).sum()
    return float(straight + np.sqrt(2) * diagonal)


def trace_branches(skeleton):
    """([ordered path (pixels, 2) of each branch], number of branch points) of a skeleton, bool (height, width)."""
    from scipy.ndimage import convolve, label

    def num_neighbours(mask):
        return convolve(mask.astype(int), np.ones((3, 3), int), mode="constant") - 1

    junctions = skeleton & (num_neighbours(skeleton) > 2)
    branches = skeleton & ~junctions
    ends_first = np.argwhere(branches)[np.argsort(num_neighbours(branches)[branches] > 1, kind="stable")]
    remaining, paths = set(map(tuple, ends_first.tolist())), []
    for start in map(tuple, ends_first.tolist()):
        path = []
        steps = [start] if start in remaining else []
        while steps:
            path.append(min(steps, key=lambda step: math.dist(step, (path or [step])[-1])))
            remaining.discard(path[-1])
            steps = _neighbours_in(remaining, path[-1])
        paths += [np.array(path)] if path else []
    return paths, label(junctions, np.ones((3, 3)))[1]


def _neighbours_in(pixels, pixel):
    return [step for step in map(tuple, (NEIGHBOURS + pixel).tolist()) if step in pixels]


def curvature(path):
    """Mean angle, in radians per pixel, between the directions before and behind each pixel of a path; NaN if short."""
    if len(path) < 2 * STRETCH + 1:
        return np.nan
    chords = (path[STRETCH:] - path[:-STRETCH]).astype(float)
    before, behind = chords[:-STRETCH], chords[STRETCH:]
    turn = np.arctan2(before[:, 0] * behind[:, 1] - before[:, 1] * behind[:, 0], (before * behind).sum(axis=1))
    apart = (np.linalg.norm(before, axis=1) + np.linalg.norm(behind, axis=1)) / 2
    return float(np.mean(np.abs(turn) / apart))


def beading(radii):
    """Standard deviation over mean of the radii along a branch, without its tips; NaN if short."""
    inside = radii[STRETCH:-STRETCH]
    return float(inside.std() / inside.mean()) if len(inside) > STRETCH else np.nan


def _weighted_mean(pairs):
    """Weighted mean of [(value, weight)] without NaNs; NaN if there is nothing else."""
    values, weights = np.array(pairs, float).reshape(-1, 2).T
    known = np.isfinite(values)
    return np.average(values[known], weights=weights[known]) if known.any() else np.nan
