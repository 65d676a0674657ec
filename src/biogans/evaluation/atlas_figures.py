"""Figures of the atlas of localisation."""

import numpy as np

from ..core.figures import PLAIN
from .charts import COLOURS, new_figure

TALLEST = 60            # pairs in a figure; with more, those that agree and disagree most


def pairs(names):
    """Positions of all pairs of factors; `names` are those of the channels, red first."""
    return [(one, other) for one in range(1, len(names)) for other in range(one + 1, len(names))]


def profiles_figure(names, kymographs, unit):
    """Brightness along the cell (across) in cells from short to long (downwards): a column for each channel.

    kymographs   {name: atlas.Kymograph}, a row of panels for each
    """
    figure = new_figure(1.3 * len(names) + 1.6, 1.9 * len(kymographs) + 0.6)
    panels = figure.subplots(len(kymographs), len(names), squeeze=False)
    means = [cells.brightness.mean for cells in kymographs.values()]
    highest = np.nanquantile(np.concatenate([each.ravel() for each in means]), 0.99)
    for (source, cells), line in zip(kymographs.items(), panels, strict=True):
        for channel, axes in enumerate(line):
            image = cells.brightness.mean[:, channel]
            drawn = axes.imshow(image, vmin=0, vmax=highest, cmap="viridis", aspect="auto",
                                extent=(0, 1, len(image), 0))
            axes.set_xticks([0, 1], ["0", "1"], fontsize=9)
            rows = [0, len(image) // 2, len(image) - 1]
            axes.set_yticks([row + 0.5 for row in rows],
                            [f"{cells.lengths[row]:.3g}" for row in rows] if channel == 0 else [""] * 3, fontsize=9)
        line[0].set_ylabel(f"{source}:\nlength in {unit}", fontsize=9, **PLAIN)
    for axes, name in zip(panels[0], names, strict=True):
        axes.set_title(name, fontsize=10, **PLAIN)
    panels[-1, len(names) // 2].set_xlabel("position along the cell, from the tip with more red", fontsize=9)
    bar = figure.colorbar(drawn, ax=panels, shrink=0.8, pad=0.01)
    bar.set_label("brightness, in units of the cell's mean", fontsize=9)
    bar.ax.tick_params(labelsize=9)
    return figure


def pairs_figure(names, agreements):
    """The correlation of all pairs of factors with intervals (dots), and what shared red explains of it (circles).

    agreements   {name: atlas.Agreement}, in the order of whose first one the pairs are drawn
    """
    first = next(iter(agreements.values()))
    order = sorted(pairs(names), key=lambda pair: first.together.mean[pair])
    if len(order) > TALLEST:
        order = order[:TALLEST // 2] + order[-TALLEST // 2:]
    figure = new_figure(7.5, 0.3 * len(order) + 1.4)
    axes = figure.subplots()
    for k, (source, found) in enumerate(agreements.items()):
        heights = np.arange(len(order)) + 0.3 * (k - (len(agreements) - 1) / 2)
        for estimate, look, label in ((found.together, {}, source),
                                      (found.apart, {"markerfacecolor": "white"}, f"{source}: shared red alone")):
            mean, low, high = (np.array([each[pair] for pair in order]) for each in estimate)
            if np.isfinite(mean).any():
                axes.errorbar(mean, heights, xerr=(mean - low, high - mean), fmt="o", ms=5, capsize=2,
                              color=COLOURS[1 + k % (len(COLOURS) - 1)], label=label, **look)
    axes.axvline(0, color="0.6", linewidth=0.8)
    axes.set_yticks(range(len(order)), [f"{names[one]}, {names[other]}" for one, other in order], fontsize=9, **PLAIN)
    axes.set_xlabel("correlation over the pixels of a cell")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    return figure
