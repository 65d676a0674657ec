"""Figures of reconstructions: the cells with their errors, and errors against the likelihood of z."""

import numpy as np

from ..core import figures
from ..system.palettes import fitted

TILE = 180                  # screen pixels: about the width of an image
GAP, CAPTION, HEADER, NAMES = 8, 18, 40, 84     # screen pixels: between images, below each, above all, left of all


def negative_log_likelihood(z):
    """-log N(z; 0, I) of each z (cells, nz), in nats."""
    return z.shape[1] / 2 * np.log(2 * np.pi) + (z.astype("float64") ** 2).sum(axis=1) / 2


def random_likelihood(nz):
    """(mean, standard deviation) of the `negative_log_likelihood` of random z."""
    return nz / 2 * (1 + np.log(2 * np.pi)), np.sqrt(nz / 2)


def cells_figure(rows, header, names, palette="red-green"):
    """Matplotlib figure of rows of images with a caption below each.

    rows     [[(image (height, width, channels) in [0, 1], caption), …], …]
    header   names of the columns
    names    of the rows
    """
    from matplotlib.figure import Figure

    palette = fitted(palette, [image for row in rows for image, _ in row])
    tiles = [[(figures.tile(image, palette), caption) for image, caption in row] for row in rows]
    high, wide = tiles[0][0][0].shape[:2]
    scale = max(1, round(TILE / wide))
    high, wide = scale * high, max(scale * wide, TILE * 3 // 4)
    width = NAMES + len(header) * (wide + GAP)
    height = HEADER + len(rows) * (high + CAPTION + GAP)
    figure = Figure(figsize=(width / figures.DPI, height / figures.DPI), dpi=figures.DPI, facecolor="white")
    for x, name in enumerate(header):
        figure.text((NAMES + x * (wide + GAP) + wide / 2) / width, 1 - HEADER / 2 / height, name.replace(" ", "\n", 1),
                    fontsize=9, ha="center", va="center", **figures.PLAIN)
    for y, (name, row) in enumerate(zip(names, tiles, strict=True)):
        top = HEADER + y * (high + CAPTION + GAP)
        figure.text(8 / width, 1 - (top + high / 2) / height, name, fontsize=9, va="center", **figures.PLAIN)
        for x, (image, caption) in enumerate(row):
            left = NAMES + x * (wide + GAP)
            axes = figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height))
            axes.imshow(np.clip(image, 0, 1), interpolation="nearest")
            axes.set_axis_off()
            figure.text((left + wide / 2) / width, 1 - (top + high + CAPTION / 2) / height, caption, fontsize=9,
                        ha="center", va="center", **figures.PLAIN)
    return figure


def likelihood_figure(found, distances):
    """Matplotlib figure: the error of each reconstruction against -log p of its z, as in the paper's slides.

    found       {name: inversion.Reconstruction}
    distances   to the nearest neighbours (images,)
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 5), dpi=figures.DPI, layout="constrained", facecolor="white")
    axes = figure.subplots()
    for (name, best), colour in zip(found.items(), figures.SERIES * len(found)):
        likelihood = negative_log_likelihood(best.z)
        axes.scatter(best.error, likelihood, s=14, color=colour, alpha=0.35, linewidths=0)
        axes.scatter(np.median(best.error), np.median(likelihood), s=110, color=colour, edgecolors="black", zorder=3,
                     label=f"{name}: median error {np.median(best.error):.3f}")
    for nz in sorted({best.z.shape[1] for best in found.values()}):
        mean, deviation = random_likelihood(nz)
        axes.axhspan(mean - deviation, mean + deviation, color="0.88", linewidth=0, zorder=0)
        axes.axhline(mean, color="0.5", linewidth=1, zorder=1,
                     label=f"random z of {nz} numbers: {mean:.0f} ± {deviation:.0f}")
    axes.axvline(np.median(distances), color="0.2", linewidth=1.2, linestyle="--", zorder=1,
                 label=f"nearest neighbours: median {np.median(distances):.3f}")
    axes.set_xlim(left=0)
    axes.set_xlabel("error: root mean squared difference of pixels in [0, 1] (0 is best)")
    axes.set_ylabel("-log p(z) in nats (lower: more likely)")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper left", frameon=False, fontsize=9, ncols=2)
    return figure
