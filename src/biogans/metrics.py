"""How far generated images are from real ones."""

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
