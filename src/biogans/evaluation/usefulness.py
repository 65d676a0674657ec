"""Usefulness of generated cells: how well a classifier that learnt from them recognises the factors of real ones.

The classifier is that of features.py. It is trained on generated images, on few and on many real ones, and on both, and
tested on held-out real images. On generated images alone this is the classification accuracy score of Ravuri & Vinyals
(2019).
"""

import numpy as np

from ..core import c2st
from ..core.dataloader import Images
from ..system.errors import InputError
from . import features

GENERATED = 2000                # images of each factor
SEEDS = 3                       # trainings of each classifier
FEW = 20, 100                   # real images of each factor, besides all


def usefulness(generator, training, held_out):
    """Accuracies of classifiers trained on generated images, real ones, and both.

    generator            trained.TrainedGenerator that separates at least two factors
    training, held_out   dataloader.Images of real images of its factors

    Returns rows {real: number of images of each factor, None for all; of_real, of_both: accuracies of SEEDS
    classifiers}. In the first row real is 0, and of_both is that of generated images alone. An accuracy is the share of
    the held-out images of a factor that are recognised, mean over the factors. Raises InputError for a single factor.
    """
    if len(generator.spec.separate_factors) < 2 or len(training.factors) < 2:
        raise InputError(f"{generator.path}: a classifier needs several factors, and a generator that separates them, "
                         f"such as DCGAN-starshaped")
    if held_out.factors != training.factors:
        raise InputError(f"the training images show {', '.join(training.factors)} and the held-out ones "
                         f"{', '.join(held_out.factors)}: choose common ones with -p")
    found = [{"real": number, "of_real": [], "of_both": []} for number in (0, *FEW, None)]
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        generated = generated_images(generator, training.factors, rng)
        for row in found:
            real = some_of_each(training, row["real"], rng)
            if len(real.pixels):
                row["of_real"].append(accuracy(real, held_out, seed))
            row["of_both"].append(accuracy(half_and_half(generated, real, rng), held_out, seed))
    return found


def generated_images(generator, factors, rng):
    """dataloader.Images of `factors` with GENERATED images of each."""
    samples = c2st.Generated(generator, tuple(factors)).samples(GENERATED, 0, c2st.Split(int(rng.integers(2**31)), 0))
    return Images(np.concatenate([samples[name][0][:GENERATED] for name in factors]),
                  np.repeat(np.arange(len(factors)), GENERATED), tuple(factors))


def some_of_each(images, number, rng):
    """dataloader.Images of at most `number` random images of each factor; None for all."""
    groups = [rng.permutation(np.flatnonzero(images.labels == k))[:number] for k in range(len(images.factors))]
    chosen = np.concatenate(groups)
    return Images(images.pixels[chosen], images.labels[chosen], images.factors)


def half_and_half(generated, real, rng):
    """Both dataloader.Images in one, with the real ones repeated until each factor has as many of either kind."""
    if not len(real.pixels):
        return generated
    parts = [(generated.pixels, generated.labels)]
    for k in range(len(real.factors)):
        own = np.flatnonzero(real.labels == k)
        repeated = np.resize(rng.permutation(own), (generated.labels == k).sum())
        parts.append((real.pixels[repeated], real.labels[repeated]))
    return Images(*(np.concatenate(each) for each in zip(*parts, strict=True)), real.factors)


def accuracy(images, held_out, seed):
    """Share of the held-out images of a factor that a classifier of `images` recognises, mean over the factors."""
    network = features.train_classifier(images, seed=seed)
    _, guess = features.extract(network, held_out.pixels)
    return float(np.mean([(guess == held_out.labels)[held_out.labels == k].mean()
                          for k in range(len(held_out.factors))]))


def table(found):
    """What `usefulness` returns as text."""
    lines = [f"held-out images whose factor a classifier recognises, mean over factors and {SEEDS} trainings ± their "
             "standard deviation, by what it learnt from",
             f"{'real images of each factor':28}{'real alone':>18}{'and generated':>18}"]
    for row in found:
        title = {0: "none", None: "all"}.get(row["real"], str(row["real"]))
        lines.append(f"{title:28}{_spread(row['of_real']):>18}{_spread(row['of_both']):>18}")
    return "\n".join(lines)


def _spread(values):
    return f"{np.mean(values):.1%} ± {np.std(values, ddof=int(len(values) > 1)):.1%}" if values else "–"
