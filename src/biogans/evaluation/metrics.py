"""Distances between sets of real and generated images, or between their features (features.py).

Features are arrays (images, features); those of real images should have variances around 1.
"""

import numpy as np


def sliced_wasserstein(real, fake, projections=512, seed=0):
    """Sliced Wasserstein-1 distance between two sets of images (Bonneel et al. 2015, sec. 3; Rabin et al. 2011).

    real, fake   (images, height, width, channels), in any unit
    The mean, over random directions of length 1, of the distance between the projected distributions, times
    sqrt(height * width * channels); in the unit of the images. The larger set is cut to the size of the smaller one, at
    random.
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
    """Fréchet distance |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) between Gaussians fitted to the features.

    Heusel et al. (2017), sec. 3. 0 for equal sets, in squared units of the features. Biased upwards for small sets:
    compare only sets of the same size.
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    covariance, other = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (real, fake))
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    # S S' has the same eigenvalues as the symmetric S^(1/2) S' S^(1/2).
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other @ root), 0)).sum()
    means = np.square(real.mean(axis=0) - fake.mean(axis=0)).sum()
    return float(means + np.trace(covariance) + np.trace(other) - 2 * shared)


def precision_recall_density_coverage(real, fake, nearest=5):
    """A dict of four numbers, from balls around each image's features that reach to its `nearest`-th neighbour.

    precision   fraction of fakes in the ball of a real image: are they realistic? (Kynkäänniemi et al. 2019, eq. 1, 2)
    recall      fraction of real images in the ball of a fake: is their whole variety generated?
    density     mean number of real images in whose balls a fake lies, over `nearest` (Naeem et al. 2020, eq. 4)
    coverage    fraction of real images with a fake in their ball (eq. 6): as recall, but robust to outliers among fakes
    Precision, recall and coverage lie in [0, 1]; density is around 1 for samples of the same distribution.
    Raises ValueError for sets of at most `nearest` images.
    """
    from scipy.spatial.distance import cdist

    if min(len(real), len(fake)) <= nearest:
        raise ValueError(f"sets of {len(real)} and {len(fake)} images: more than {nearest} are needed")
    real_radius, fake_radius = (np.partition(cdist(features, features), nearest, axis=1)[:, nearest]
                                for features in (real, fake))        # the nearest of all is the image itself
    distance = cdist(real, fake)
    in_real_ball = distance < real_radius[:, None]
    return {"precision": float(in_real_ball.any(axis=0).mean()),
            "recall": float((distance < fake_radius).any(axis=1).mean()),
            "density": float(in_real_ball.sum(axis=0).mean() / nearest),
            "coverage": float(in_real_ball.any(axis=1).mean())}
