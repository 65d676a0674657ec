"""Names of sliders: the measured quantity of a cell with which each correlates, over random generated cells."""

from typing import NamedTuple

import numpy as np

from ..core import figures
from ..evaluation.clusters import measured
from ..system.outline import measure_outline
from ..system.palettes import fitted
from ..system.pixels import signed_to_bytes

SAMPLE = 512                # random cells; the standard error of a correlation is then at most 0.045
CLEAR = 0.6                 # smallest correlation that names a slider: more than a third of the variance of the ranks
NEARLY = 0.05               # less than the strongest correlation: then the quantity that is easier to see is preferred
WORDS = {"light": "amount", "size": "area", "focus": "focus"}                           # of clusters.measured
WORDS_ALONE = {"light": "brightness", "size": "size", "focus": "focus"}                 # … in a gray image


class Meaning(NamedTuple):
    """What a slider changes: a quantity, its rank correlation, and further {quantity: correlation} that are clear."""

    name: str
    r: float
    also: dict

    def times(self, sign):
        """The Meaning of the same slider in the other direction if `sign` is -1."""
        return Meaning(self.name, sign * self.r, {name: sign * r for name, r in self.also.items()})


def quantities(cells, names):
    """{quantity: (cells,)} of cells in [-1, 1] (cells, height, width, channels), the easiest to see first.

    names   of the channels; the shape of a cell is that of the first one
    """
    pixels = signed_to_bytes(cells)
    first = (cells[..., 0] + 1) / 2
    length, down, right, _, middle = np.array([measure_outline(image) for image in first]).T
    of_channels = {}
    for key, values in measured(pixels).items():
        quantity, number = key.split()
        name = f"{names[int(number) - 1]} {WORDS[quantity]}" if len(names) > 1 else WORDS_ALONE[quantity]
        of_channels[name] = values
    return {"length": length} | of_channels | {"tilt": tilts(first), "bright middle": middle, "position right": right,
                                               "position up": -down}


def tilts(images):
    """Tilt (images,) of the bright part of images (images, height, width): positive if its right side is higher.

    It is the correlation of the two coordinates, weighted by the light, so a vertical stroke has a tilt as well.
    """
    light = np.clip(images - np.median(images, axis=(1, 2), keepdims=True), 0, None)
    light /= np.maximum(light.sum(axis=(1, 2), keepdims=True), 1e-12)
    y, x = np.indices(images.shape[1:])
    y, x = ((axis - (light * axis).sum(axis=(1, 2), keepdims=True)) for axis in (y, x))
    products = [(light * product).sum(axis=(1, 2)) for product in (x * y, x * x, y * y)]
    return -products[0] / np.maximum(np.sqrt(products[1] * products[2]), 1e-12)


def measured_meanings(generator, directions, seed=0):
    """What sliders of a trained.TrainedGenerator change: (list of a Meaning or None for each row, {code: Meaning}).

    directions   rows (sliders, nz) of z; the value of a slider is the product of z with its row

    A slider is named after the quantity with which its value correlates most over random cells, in which everything
    else varies too, if that is clear. Each quantity names one slider at most. Differences between the categories of an
    InfoGAN are removed first: a slider does not change the category.
    """
    spec = generator.spec
    z = next(generator.latents(SAMPLE, seed, SAMPLE))
    cells = generator.generate(z)
    values = quantities(cells, figures.shown_names(spec.channel_names, fitted("red-green", (cells + 1) / 2)))
    continuous = [code for code in spec.codes if not code.is_categorical]
    sliders = np.concatenate([z @ np.asarray(directions, float).T, *(z[:, code.indices] for code in continuous)],
                             axis=1)
    categories = np.concatenate([np.zeros((SAMPLE, 1)), *(z[:, code.indices] for code in spec.codes
                                                          if code.is_categorical)], axis=1)
    found = chosen_meanings(rank_correlations(sliders, np.array(list(values.values())).T, categories), list(values))
    return found[:len(directions)], {code.name: meaning for code, meaning in zip(continuous, found[len(directions):])
                                     if meaning}


def rank_correlations(sliders, values, categories):
    """Correlations (sliders, quantities) of ranks, less their mean over cells with the same `categories` (cells, …).

    Quantities (cells, quantities) that are NaN count as their median; constant ones have the correlation 0.
    """
    from scipy.stats import rankdata
    values = np.where(np.isfinite(values), values, np.nan)
    usable = np.isfinite(values).mean(axis=0) > 0.5
    values = np.where(usable, values, 0)
    values = np.where(np.isfinite(values), values, np.nanmedian(values, axis=0))
    _, group = np.unique(categories, axis=0, return_inverse=True)
    ranks = [rankdata(each, axis=0) for each in (sliders, values)]
    for each in ranks:
        for k in range(group.max() + 1):
            each[group.ravel() == k] -= each[group.ravel() == k].mean(axis=0)
        each /= np.maximum(np.linalg.norm(each, axis=0), 1e-12)
    return ranks[0].T @ ranks[1]


def chosen_meanings(correlations, names):
    """A Meaning or None for each slider, from correlations (sliders, quantities); `names` of the quantities."""
    best = np.abs(correlations).argmax(axis=0)              # the slider that each quantity may name
    result = []
    for slider, row in enumerate(correlations):
        clear = [k for k in range(len(names)) if abs(row[k]) >= CLEAR and best[k] == slider]
        most = max((abs(row[k]) for k in clear), default=0)
        chosen = next((k for k in clear if abs(row[k]) >= most - NEARLY), None)
        result.append(None if chosen is None else Meaning(
            names[chosen], round(float(row[chosen]), 2),
            {names[k]: round(float(row[k]), 2) for k in clear if k != chosen}))
    return result
