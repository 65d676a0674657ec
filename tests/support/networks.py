"""Small networks, settings and images."""

import dataclasses

import numpy as np
import pytest

from biogans.core import dataloader, models, options
from biogans.core.gan import ALGORITHMS, PAPER

FACTORS = ("Alp14", "Tea1")
NINE = [(architecture, algorithm) for architecture in ("DCGAN", "DCGAN-separable", "DCGAN-starshaped")
        for algorithm in PAPER]
PAIRS = [*NINE, *((architecture, "WGAN-GP") for architecture in models.ARCHITECTURES
                  if architecture not in dict(NINE)),
         ("DCGAN", "hinge"), ("DCGAN", "R1"), ("DCGAN", "RpGAN")]

# `make test` has these pairs, `make test-slow` the others.
QUICK = {("DCGAN", "WGAN-GP"), ("DCGAN", "RpGAN"), ("DCGAN-separable", "WGAN"), ("DCGAN-starshaped", "GAN"),
         ("InfoGAN", "WGAN-GP")}
# Everything that changes in the course of a run; iterations 25 to 45 are in the falling part.
SCHEDULE = {"lr_schedule": "cosine", "lr_hold": 0.2, "horizon": 60, "r1_gamma": 1.0, "r1_gamma_last": 0.1,
            "average_window": 0.1}
EVERY_PAIR = [pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.slow) for pair in PAIRS]


def settings(algorithm="WGAN-GP", **changes):
    """The algorithm's default settings with a batch of 4 and 2 updates of the critic."""
    return dataclasses.replace(options.default_settings(algorithm), **{"batch_size": 4, "num_D_iters": 2} | changes)


def spec(architecture="DCGAN", algorithm="WGAN-GP", **changes):
    """16x24 pixels, two channels, two factors, 4 filters."""
    small = models.NetworkSpec(architecture, 16, 24, 2, FACTORS, nz=6, ngf=4, ndf=4,
                               critic_batch_norm=ALGORITHMS[algorithm].defaults.critic_batch_norm)
    return dataclasses.replace(small, **changes)


def images(number=20, size=(16, 24), channels=2, seed=0):
    """Uniform noise, `number` images of each factor."""
    pixels = np.random.default_rng(seed).integers(0, 256, (number * len(FACTORS), *size, channels), np.uint8)
    return dataloader.Images(pixels, np.repeat(np.arange(len(FACTORS)), number), FACTORS)


def batches(architecture, run, seed=42):
    """The batches of a run with these settings."""
    return dataloader.batches(images(), run.batch_size, seed, models.ARCHITECTURES[architecture])
