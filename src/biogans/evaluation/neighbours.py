"""Distances between images: copies, near-duplicates, and the number of distinct images in a set.

The distance between two images is that between principal components of their pixels, the smallest over the four mirror
images of one of them: training shows all four, so a mirrored copy is a copy. Sets of images are uint8 (images, height,
width, channels).
"""

import hashlib
from typing import NamedTuple

import numpy as np

from ..system.pixels import to_unit

MIRRORS = ((slice(None), slice(None)), (slice(None, None, -1), slice(None)), (slice(None), slice(None, None, -1)),
           (slice(None, None, -1), slice(None, None, -1)))         # of rows and columns
BLOCK = 1024                            # images that are compared at a time
FITTED = 1000                           # images from which the components are computed
VARIANCE, MOST_COMPONENTS = 0.95, 64
SAMPLE = 5000                           # images of which all pairs are compared: 12.5 million
SIGNIFICANCE = 1.96                     # standard deviations: 5 % two-sided


class Space:
    """Principal components of images and their mirror images: those that explain 95 % of the variance, at most 64."""

    def __init__(self, *sets, seed=0):
        """Compute them from up to 1,000 images, the same number from each of the sets."""
        rng = np.random.default_rng(seed)
        chosen = [images[rng.permutation(len(images))[:FITTED // len(sets)]] for images in sets]
        rows = np.concatenate([_flat(images[:, down, right]) for images in chosen for down, right in MIRRORS])
        self.mean = rows.mean(axis=0)
        rows = rows - self.mean
        from scipy.sparse.linalg import svds
        most = min(MOST_COMPONENTS, min(rows.shape) - 1)
        _, lengths, components = svds(rows, most, v0=np.ones(min(rows.shape), np.float32))
        variances = np.square(lengths[::-1])
        enough = int(np.searchsorted(np.cumsum(variances), VARIANCE * np.square(rows).sum())) + 1
        self.components = np.ascontiguousarray(components[::-1][:enough].T, np.float32)

    def features(self, images):
        """Components, float32 (4, images, components), of the images and then of each of their mirror images."""
        return np.stack([np.concatenate([(_flat(images[start:start + BLOCK, down, right]) - self.mean) @ self.components
                                         for start in range(0, len(images), BLOCK)]) for down, right in MIRRORS])


def _flat(images):
    return to_unit(images).reshape(len(images), -1)


def distances(some, others):
    """Distances (images, other images) between features (images, components) and (4, other images, components)."""
    squares = np.square(others).sum(axis=-1, keepdims=True)
    nearest = np.full((len(some), others.shape[1]), np.inf, np.float32)
    some_twice = np.hstack([-2 * some, np.ones((len(some), 1), np.float32)])
    for mirrored in np.concatenate([others, squares], axis=-1):
        np.minimum(nearest, some_twice @ mirrored.T, out=nearest)           # |y|² - 2 x.y
    return np.sqrt(np.maximum(nearest + np.square(some).sum(axis=-1)[:, None], 0))


class Neighbours(NamedTuple):
    """The nearest neighbour of each image.

    index      (images,) its position
    distance   (images,) to it
    """

    index: np.ndarray
    distance: np.ndarray


def nearest(features, others=None):
    """Neighbours of images among others, or, without `others`, among the rest of the same set.

    features, others   (4, images, components) of Space.features
    """
    among = features if others is None else others
    index = np.zeros(features.shape[1], int)
    distance = np.full(features.shape[1], np.inf, np.float32)
    for start in range(0, features.shape[1], BLOCK):
        own = np.arange(start, min(start + BLOCK, features.shape[1]))
        for first in range(0, among.shape[1], BLOCK):           # in tiles that fit into the processor's cache
            tile = distances(features[0, own], among[:, first:first + BLOCK])
            if others is None and first == start:
                np.fill_diagonal(tile, np.inf)
            best = tile.argmin(axis=1)
            found = tile[np.arange(len(own)), best]
            better = found < distance[own]
            index[own[better]], distance[own[better]] = first + best[better], found[better]
    return Neighbours(index, distance)


def aligned(image, other, space):
    """The mirror image of `other` that is nearest to `image`, both (height, width, channels)."""
    target = space.features(image[None])[0, 0]
    gaps = np.linalg.norm(space.features(other[None])[:, 0] - target, axis=-1)
    return other[MIRRORS[int(gaps.argmin())]]


def exact_copies(images):
    """Number of images that repeat an earlier one, pixel for pixel, or its mirror image."""
    seen = {min(hashlib.sha256(np.ascontiguousarray(image[mirror]).tobytes()).digest() for mirror in MIRRORS)
            for image in images}
    return len(images) - len(seen)


def count_distinct(features, radius):
    """Number of images that remain when each one within `radius` of an earlier one that remains is removed."""
    kept = np.zeros(features.shape[1], bool)
    for start in range(0, len(kept), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(kept)))
        fresh = block
        if kept.any():
            fresh = block[distances(features[0, block], features[:, kept]).min(axis=1) > radius]
        close = distances(features[0, fresh], features[:, fresh]) <= radius
        for k in range(len(fresh)):
            kept[fresh[k]] = not (close[k, :k] & kept[fresh[:k]]).any()
    return int(kept.sum())


class Pairs:
    """Distances between all pairs of images in a set, or in a random sample of SAMPLE of them."""

    def __init__(self, features, seed=0):
        chosen = np.random.default_rng(seed).permutation(features.shape[1])[:SAMPLE]
        features = features[:, chosen]
        self.count = len(chosen)
        self.distance = np.empty((self.count, self.count), np.float32)
        for start in range(0, self.count, BLOCK):
            self.distance[start:start + BLOCK] = distances(features[0, start:start + BLOCK], features)
        np.fill_diagonal(self.distance, np.inf)
        self.sorted = np.sort(self.distance[np.triu_indices(self.count, 1)])

    def effective_number(self, radius):
        """(estimate, low, high) of one over the probability that two random images lie within `radius`.

        The birthday paradox as an estimator (Arora & Zhang 2018, sec. 2): of N equally frequent images one pair in N
        coincides; in general it is Simpson's effective number, 1 / sum p². `low` and `high` are 95 % limits from the
        variance of the U-statistic. All are infinite if no pair is that near.
        """
        shares = (self.distance <= radius).sum(axis=1) / (self.count - 1)
        chance = shares.mean()
        pairs = self.count * (self.count - 1) / 2
        error = SIGNIFICANCE * np.sqrt(4 * shares.var() / self.count + chance * (1 - chance) / pairs)
        return tuple(float(1 / max(each, 1e-300)) if each > 1 / pairs / 10 else np.inf
                     for each in (chance, chance + error, chance - error))

    def curve(self, points=200):
        """(radii, effective numbers), both (points,), from the smallest relevant distance to the largest."""
        largest = float(self.sorted[-1])
        radii = np.geomspace(max(float(self.sorted[0]), 1e-3 * largest), largest, points)
        return radii, len(self.sorted) / np.maximum(np.searchsorted(self.sorted, radii, side="right"), 1)

    def modes(self, flat=1.05, wide=1.5, most=0.1):
        """The effective number on its plateau, where it does not depend on the radius; None without clear modes.

        The plateau is the longest range of radii, a factor of at least `wide`, over which the number changes by less
        than the factor `flat`. Numbers above `most` of the images do not count: there every image would be a mode.
        """
        radii, numbers = self.curve()
        ends = np.searchsorted(-numbers, -numbers / flat, side="right") - 1     # numbers decrease with the radius
        usable = (numbers > 1.5) & (numbers < most * self.count)
        widths = np.where(usable, radii[ends] / radii, 0)
        best = int(widths.argmax())
        return float(numbers[(best + ends[best]) // 2]) if widths[best] >= wide else None


def mann_whitney_z(distance, baseline):
    """z of the Mann-Whitney test, both arguments 1-D: below 0 if distances tend to be smaller than the baseline's.

    For the distances of generated and of held-out images to the training images this is the three-sample test for
    data-copying of Meehan et al. (2020), eq. 1, with one cell: the generator copies if z is far below 0, and misses the
    training distribution if it is far above 0.
    """
    from scipy.stats import rankdata

    m, n = len(distance), len(baseline)
    ranks = rankdata(np.concatenate([distance, baseline]))
    ties = np.unique(ranks, return_counts=True)[1].astype(float)
    variance = m * n / 12 * (m + n + 1 - (ties ** 3 - ties).sum() / ((m + n) * (m + n - 1)))
    above = ranks[:m].sum() - m * (m + 1) / 2           # pairs in which the distance exceeds the baseline
    return float((above - m * n / 2) / np.sqrt(variance)) if variance > 0 else 0.0


def cluster_centres(features, number, seed=0, rounds=30):
    """Centres (bins, components) of a k-means clustering (Lloyd) of images, each mirrored to match its centre."""
    rng = np.random.default_rng(seed)
    centres = features[0, [rng.integers(features.shape[1])]]
    while len(centres) < number:                        # k-means++ (Arthur & Vassilvitskii 2007)
        gaps = np.square(distances(centres, features).min(axis=0)).astype(float)
        if gaps.sum() == 0:
            break
        centres = np.concatenate([centres, features[0, [rng.choice(len(gaps), p=gaps / gaps.sum())]]])
    for _ in range(rounds):
        own = nearest_centre(features, centres)
        moved = centres.copy()
        for k in np.unique(own):
            mirror = np.square(features[:, own == k] - centres[k]).sum(axis=-1).argmin(axis=0)
            moved[k] = features[mirror, np.flatnonzero(own == k)].mean(axis=0)
        if np.allclose(moved, centres):
            break
        centres = moved
    return centres


def nearest_centre(features, centres):
    """Index (images,) of the nearest of the centres (bins, components) to each image."""
    return np.concatenate([distances(centres, features[:, start:start + BLOCK]).argmin(axis=0)
                           for start in range(0, features.shape[1], BLOCK)])


def different_bins(reference, sample, centres):
    """(bool (bins,) that is true where the two sets' frequencies differ, frequencies (2, bins)).

    The number of different bins is the NDB score of Richardson & Weiss (2018), sec. 2: a two-sample test of proportions
    at 5 % in each bin. So for two samples of the same distribution one bin in 20 differs.
    """
    sets = [np.bincount(nearest_centre(features, centres), minlength=len(centres)) for features in (reference, sample)]
    counts = np.array([each.sum() for each in sets])
    pooled = sum(sets) / counts.sum()
    error = np.sqrt(pooled * (1 - pooled) * (1 / counts).sum())
    shares = np.array(sets) / counts[:, None]
    return np.abs(shares[0] - shares[1]) > SIGNIFICANCE * error, shares
