"""How far samples are from real images: distances between sets of images, or of their features (features.py).

Features are arrays (images, features), of which the real ones should have variances around 1.
"""

import numpy as np


def sliced_wasserstein(real, fake, projections=512, seed=0):
    """Sliced Wasserstein-1 distance between two sets of images (Bonneel et al. 2015, sec. 3; Rabin et al. 2011).

    real, fake   (images, height, width, channels), in any unit; the result is in that unit times sqrt(numbers per
                 image): the mean, over random directions of length 1, of the distance of the projected distributions
    Both sets are cut to the size of the smaller one, at random.
    """
    rng = np.random.default_rng(seed)
    count = min(len(real), len(fake))
    real, fake = (rng.permutation(np.asarray(images, np.float32).reshape(len(images), -1))[:count]
                  for images in (real, fake))
    directions = rng.standard_normal((real.shape[1], projections), np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    real, fake = (np.sort(images @ directions, axis=0) for images in (real, fake))
    return float(np.abs(real - fake).mean()) * np.sqrt(len(directions))


def frechet_distance(real, fake):
    """Fréchet distance |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) between Gaussians of the same means and covariances.

    Heusel et al. (2017), sec. 3; 0 for equal sets, in squared units of the features. It is biased upwards in small
    sets: compare only sets of the same number.
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    covariance, other = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (real, fake))
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    # S S' has the eigenvalues of the symmetric S^(1/2) S' S^(1/2).
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other @ root), 0)).sum()
    means = np.square(real.mean(axis=0) - fake.mean(axis=0)).sum()
    return float(means + np.trace(covariance) + np.trace(other) - 2 * shared)


def precision_recall_density_coverage(real, fake, nearest=5):
    """A dict of four numbers, from balls around each feature that reach to its `nearest`-th neighbour in its set.

    precision   fraction of fakes in a ball of a real one: are they lifelike? (Kynkäänniemi et al. 2019, eq. 1 and 2)
    recall      fraction of reals in a ball of a fake one: is all there is drawn?
    density     mean number of balls of real ones that a fake lies in, over `nearest` (Naeem et al. 2020, eq. 4)
    coverage    fraction of reals with a fake in their ball (eq. 6): recall that outliers among the fakes don't raise
    Precision, recall and coverage lie in [0, 1]; density is around 1 for samples of the same distribution.
    Raises ValueError for sets of no more than `nearest`.
    """
    from scipy.spatial.distance import cdist

    if min(len(real), len(fake)) <= nearest:
        raise ValueError(f"sets of {len(real)} and {len(fake)}: more than {nearest} are needed")
    real_radius, fake_radius = (np.partition(cdist(features, features), nearest, axis=1)[:, nearest]
                                for features in (real, fake))        # the nearest of all is the feature itself
    distance = cdist(real, fake)
    in_real_ball = distance < real_radius[:, None]
    return {"precision": float(in_real_ball.any(axis=0).mean()),
            "recall": float((distance < fake_radius).any(axis=1).mean()),
            "density": float(in_real_ball.sum(axis=0).mean() / nearest),
            "coverage": float(in_real_ball.any(axis=1).mean())}
