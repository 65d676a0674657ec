"""Variety of green given red: what a separable or star-shaped generator makes of the second part of z.

The variety of a green is the root of its variance among cells of one red, averaged over the pixels of the cell and over
the reds: 0 for a generator whose green is a function of red. The simulator renders true cells again with the same red,
so that the variety of generated cells can be expressed in units of the true one.
"""

import numpy as np

from ..core.c2st import EVERYTHING
from ..system.pixels import to_unit
from . import joint

REDS, GREENS = 64, 8                    # generated reds, and greens of each


def variety(images):
    """Variety of each channel, (channels,), in units of the images; NaN if they show no cell.

    images   (reds, greens, height, width, channels) in [0, 1]; the greens of a red share its mask or are alike
    The root of the unbiased variance over the greens of one red, mean over the pixels of the body of the cell (that of
    their mean, joint.cell_body) and then over the reds.
    """
    bodies = [(same, joint.cell_body(same.mean(axis=0))) for same in images]
    variances = [same.var(axis=0, ddof=1)[body].mean(axis=0) for same, body in bodies if body.any()]
    return np.sqrt(np.mean(variances, axis=0)) if variances else np.full(images.shape[-1], np.nan)


def same_red_latents(spec, reds, greens, rng):
    """z (reds * greens, nz), float32: for each of the `reds` as many z as `greens`, which share the part that is red's.

    spec   models.NetworkSpec
    rng    numpy.random.Generator, or a seed
    """
    z = np.random.default_rng(rng).standard_normal((reds, greens, spec.nz), np.float32)
    return spec.share_red(z).reshape(reds * greens, spec.nz)


def generated_pairs(generator, greens, rng):
    """{factor, or EVERYTHING: (REDS, greens, height, width, channels of an image) in [0, 1]} of a TrainedGenerator.

    Its network must make red from a part of z. `rng` as in `same_red_latents`.
    """
    spec = generator.spec
    images = (generator.generate(same_red_latents(spec, REDS, greens, rng)) + 1) / 2
    images = images.reshape(REDS, greens, *images.shape[1:])
    known = zip(spec.separate_factors or (EVERYTHING,), spec.factor_channels, strict=True)
    return {factor: images[..., channels] for factor, channels in known}


def true_pairs(cells, chosen=slice(None)):
    """{factor: (cells, repeats, height, width, 2) in [0, 1]}: greens of the same red of joint.JointCells with repeats.

    chosen   index of some of the cells that have repeats
    """
    greens = to_unit(cells.repeats[chosen])
    red = np.broadcast_to(to_unit(cells.pixels[:len(cells.repeats)][chosen][:, None, ..., 0]), greens.shape[:-1])
    return {factor: np.stack([red, greens[..., k]], axis=-1) for k, factor in enumerate(cells.channel_names[1:])}


def relative_variety(pairs, truth):
    """Variety in units of the true one: {variety: mean over factors, least_variety: minimum, varieties: (factors,)}.

    pairs, truth   {factor: images as in `variety`, red and green}, with the same factors
    """
    ratios = np.array([variety(pairs[factor])[1] / variety(images)[1] for factor, images in truth.items()])
    return {"variety": float(ratios.mean()), "least_variety": float(ratios.min()), "varieties": ratios}
