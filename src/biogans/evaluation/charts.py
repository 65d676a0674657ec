"""Figures of what `biogans evaluate` measured."""

import numpy as np

from ..core.figures import DPI, PLAIN
from . import joint
from .results import OVERALL
from .stages import find_trainings, scale_scores, training_chart
from .tables import pairs_grid, plus_minus, scored_factors

COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c4513",
           "#9acd32", "#4b0082")
# Rows beyond the last colour begin again with the first and have other marks, lines and bars.
MARKS, LINES, HATCHES = ("o", "^", "s", "D"), ("-", "--", ":", "-."), ("", "////", "....", "xxxx")


def make_charts(combined):
    """{name: matplotlib figure} of results.Combined."""
    charts = {"c2st": _score_chart(combined)} if combined.rows else {}
    if training := training_chart(combined):
        charts["training"] = training
    if combined.pairs:
        charts["pairs"] = _pairs_chart(combined)
    if combined.joint:
        charts["correlations"] = _correlation_chart(combined)
        charts["localisation"] = _profile_chart(combined)
    return charts


def new_figure(width, height):
    """An empty matplotlib figure, width and height in inches."""
    from matplotlib.figure import Figure
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def _score_chart(combined):
    """Two-sample scores: a column for each factor, a mark with its error for each row of the table."""
    factors = scored_factors(combined)
    places = {factor: k for k, factor in enumerate([*factors, OVERALL])}
    figure = new_figure(max(6, 0.9 * len(places) + 2), 3 + 0.12 * len(combined.rows))
    axes = figure.subplots()
    for k, (name, row) in enumerate(combined.rows.items()):
        offset = 0.6 * ((k + 0.5) / len(combined.rows) - 0.5)
        there = [factor for factor in places if factor in row]
        means, errors = np.transpose([row[factor]["c2st"] for factor in there])
        axes.errorbar([places[factor] + offset for factor in there], means, np.nan_to_num(errors), ms=5, capsize=3,
                      fmt=_at_turn(k, MARKS), color=COLOURS[k % len(COLOURS)], label=name)
    axes.margins(y=0.1)
    axes.axhline(0, color="0.5", linewidth=0.8)
    scale_scores(axes)
    axes.axvline(len(factors) - 0.5, color="0.8", linewidth=0.8)
    axes.set_xticks(list(places.values()), list(places), **PLAIN)
    axes.set_ylabel("two-sample score (0 is best)")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    return figure


def _at_turn(k, looks):
    """How row k looks: the first of the `looks` until the colours are used up, then the second, …"""
    return looks[k // len(COLOURS) % len(looks)]


def _pairs_chart(combined):
    """Real images of each factor against real images of every other factor."""
    names, grid = pairs_grid(combined)
    values = np.array([[grid[a, b][0] for b in names] for a in names])
    figure = new_figure(1 + len(names), 0.8 + 0.75 * len(names))
    axes = figure.subplots()
    axes.imshow(np.nan_to_num(values), cmap="Blues", vmin=0, aspect="auto")
    dark = 0.6 * np.nanmax(values)
    for y, a in enumerate(names):
        for x, b in enumerate(names):
            axes.text(x, y, plus_minus(grid[a, b], 1), ha="center", va="center", fontsize=9,
                      color="white" if values[y, x] > dark else "black")
    axes.set_xticks(range(len(names)), names, **PLAIN)
    axes.set_yticks(range(len(names)), names, **PLAIN)
    axes.set_xlabel("held-out images of")
    axes.set_ylabel("samples: training images of")
    axes.set_title("two-sample score", fontsize=10)
    return figure


def _correlation_chart(combined):
    """Correlations between the channels of true cells, and the difference to them of each row of the table."""
    truth = next(iter(combined.joint.values()))["true_correlations"]
    columns = min(2, 1 + len(combined.joint))
    lines = -(-(1 + len(combined.joint)) // columns)
    figure = new_figure(4.6 * columns, 4.3 * lines)
    panels = figure.subplots(lines, columns, squeeze=False).flat
    _draw_matrix(next(panels), truth, combined.channels, "true cells: correlation between channels")
    for name, scores in combined.joint.items():
        _draw_matrix(next(panels), scores["correlations"] - truth, combined.channels, f"{name}: difference")
    for axes in panels:
        axes.set_axis_off()
    return figure


def _draw_matrix(axes, values, names, title):
    axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    for y in range(len(names)):
        for x in range(len(names)):
            if x != y:
                axes.text(x, y, f"{values[y, x]:.2f}", ha="center", va="center", fontsize=9,
                          color="white" if abs(values[y, x]) > 0.6 else "black")
    axes.set_xticks(range(len(names)), names, rotation=45, fontsize=9, **PLAIN)
    axes.set_yticks(range(len(names)), names, fontsize=9, **PLAIN)
    axes.set_title(title, fontsize=9, **PLAIN)


def _profile_chart(combined):
    """Brightness along the cell, by length, and number of spots; a column for each channel.

    Of a training of which several stages were evaluated, the last.
    """
    truth = next(iter(combined.joint.values()))
    lines = {"truth": (truth["true_profiles"], truth["true_spots"])}
    earlier = [name for stages in find_trainings(combined).values() for name in [*stages.values()][:-1]]
    lines |= {name: (scores["profiles"], scores["spots"]) for name, scores in combined.joint.items()
              if name not in earlier}
    bins, channels = lines["truth"][0].shape[:2]
    figure = new_figure(max(6, 1.5 * channels + 0.9), 1.5 * (bins + 1) + 0.7)
    panels = figure.subplots(bins + 1, channels, sharey="row", squeeze=False)
    for channel, name in enumerate(combined.channels):
        _draw_channel(panels[:, channel], channel, lines)
        panels[0, channel].set_title(name, fontsize=10, **PLAIN)
        panels[bins, channel].set_xticks([])
        for axes in panels[:bins, channel]:
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    panels[bins - 1, channels // 2].set_xlabel("position along cell", fontsize=9)
    for row, word in enumerate(["short", *["medium"] * (bins - 2), "long"]):
        panels[row, 0].set_ylabel(f"{word} cells:\nbrightness", fontsize=9)
    panels[bins, 0].set_ylabel("spots in a cell", fontsize=9)
    panels[bins, 0].set_ylim(0, 2 * max(1, truth["true_spots"].max()))      # early in a training cells are all spots
    for axes in panels.flat:
        axes.tick_params(labelsize=9)
        axes.grid(alpha=0.3)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False,
                  fontsize=9)
    return figure


def _draw_channel(panels, channel, lines):
    """Draw a channel's profiles, a panel for each bin of length, and in the last panel its number of spots.

    lines   {name: (profiles (bins, channels, positions), spots (channels,))}, the truth first
    """
    position = (np.arange(joint.POSITIONS) + 0.5) / joint.POSITIONS
    for k, (name, (profiles, spots)) in enumerate(lines.items()):
        look = {"color": COLOURS[k % len(COLOURS)], "label": name}
        for axes, profile in zip(panels, profiles[:, channel]):
            axes.plot(position, profile, _at_turn(k, LINES), linewidth=2.2 if k == 0 else 1.2,
                      zorder=1 if k == 0 else 2, **look)
        panels[-1].bar(k, spots[channel], hatch=_at_turn(k, HATCHES), edgecolor="white", linewidth=0, **look)
