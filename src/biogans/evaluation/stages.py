"""The two-sample score at several stages of a training, with samples of each stage."""

import json
import textwrap
from typing import NamedTuple

import numpy as np

from ..core.c2st import EVERYTHING
from ..core.figures import DPI, PLAIN, SERIES, tile, write_picture
from ..system.palettes import fitted
from ..system.pixels import to_unit, unit_to_bytes
from .results import OVERALL, REAL
from .tables import plus_minus

COLUMNS, SEPARATOR = 6, 2               # samples in a strip, and pixels between them
MOST_STAGES = 5                         # of a training of which samples are shown
WIDTH, CURVE, LEFT = 9.5, 3.0, 0.8      # inches: of the figure, of the height of its curves, of their left margin
LINE, STRIP_LEFT = 0.62, 2.9            # inches: height of a line of samples, and where they begin


class Line(NamedTuple):
    """A line of the table of samples: texts, and the path of a strip of samples."""

    training: str
    iteration: str
    score: str
    strip: str


def write_samples(path, row, seed):
    """Write a picture of some samples of a row (rows.py), side by side, unless it exists or the row has none."""
    images = [] if path.exists() else row.examples(COLUMNS, seed)
    if images:
        palette = fitted("magenta-green", to_unit(row.held_out.pixels))    # images of an early stage may not show it
        tiles = [np.pad(unit_to_bytes(tile(image, palette)), ((0, 0), (0, SEPARATOR), (0, 0)), constant_values=255)
                 for image in images]
        write_picture(path, np.concatenate(tiles, axis=1)[:, :-SEPARATOR])


def find_trainings(combined):
    """{name of a training: {iteration: name of the row}} of results.Combined, each with two iterations or more.

    Rows belong to one training if its architecture, algorithm and all settings are the same.
    """
    trainings, found = {}, {}
    for result in combined.results:
        source = result["source"]
        if source and "iteration" in source:
            training = source.get("training", {})
            name = f"{source['network']['architecture']} {training.get('algorithm', '')}".strip()
            settings = json.dumps([source["network"], training], sort_keys=True)
            trainings.setdefault((name, settings), {})[source["iteration"]] = result["name"]
    for (name, _), rows in trainings.items():
        if len(rows) > 1:
            again = sum(other == name or other.startswith(f"{name} (") for other in found)
            found[f"{name} ({again + 1})" if again else name] = dict(sorted(rows.items()))
    return found


def training_chart(combined):
    """Matplotlib figure: the score by iteration, and below it samples of each stage; None without several stages."""
    from matplotlib.figure import Figure

    trainings = find_trainings(combined)
    if not trainings:
        return None
    lines = sample_lines(combined, trainings)
    height = CURVE + 1.2 + LINE * (len(lines) + 0.5)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    axes = figure.add_axes((LEFT / WIDTH, 1 - (CURVE + 0.4) / height, 1 - (LEFT + 0.2) / WIDTH, CURVE / height))
    _draw_curves(axes, combined, trainings)
    for k, line in enumerate(lines):
        _draw_line(figure, line, 0.1 + LINE * (len(lines) - 1 - k), height)
    middle = (0.1 + LINE * (len(lines) + 0.2)) / height
    for left, text in ((0.2, "training"), (1.85, "iterations"), (2.8, "C2ST")):
        figure.text(left / WIDTH, middle, text, fontsize=9, weight="bold", va="center",
                    ha="left" if text == "training" else "right")
    return figure


def sample_lines(combined, trainings):
    """The Lines of the table: up to MOST_STAGES of each training, the last one among them, then real images."""
    strips = {result["name"]: result["strip"] for result in combined.results}
    lines = []
    for name, rows in trainings.items():
        chosen = np.unique(np.linspace(0, len(rows) - 1, MOST_STAGES).round().astype(int))
        for k, iteration in enumerate(np.array([*rows])[chosen]):
            row = rows[int(iteration)]
            lines.append(Line(name if k == 0 else "", f"{iteration:,}",
                              plus_minus(combined.rows[row][OVERALL]["c2st"], 1), strips[row]))
    if REAL in combined.rows:
        lines.append(Line(REAL, "", plus_minus(_real_score(combined, trainings), 1), strips[REAL]))
    return lines


def _real_score(combined, trainings):
    """(mean, sd) of real images: of all together if the trainings don't separate the factors, else of each factor."""
    real = combined.rows[REAL]
    together = all(EVERYTHING in combined.rows[row] for rows in trainings.values() for row in rows.values())
    return real[EVERYTHING if together and EVERYTHING in real else OVERALL]["c2st"]


def _draw_curves(axes, combined, trainings):
    """Scores with their errors by iteration, and the band of real images."""
    for (name, rows), colour in zip(trainings.items(), SERIES * len(trainings)):
        means, errors = np.transpose([combined.rows[row][OVERALL]["c2st"] for row in rows.values()])
        axes.errorbar([*rows], means, np.nan_to_num(errors), fmt="o-", ms=5, capsize=3, color=colour, label=name)
    if REAL in combined.rows:
        mean, error = np.nan_to_num(_real_score(combined, trainings))
        axes.axhspan(mean - error, mean + error, color="0.85", linewidth=0)
        axes.axhline(mean, color="0.3", linewidth=1.2, linestyle="--", label=REAL)
    steps = sorted({step for rows in trainings.values() for step in rows if step > 0})
    if steps and steps[-1] > 10 * steps[0]:
        axes.set_xscale("symlog" if any(0 in rows for rows in trainings.values()) else "log")
        axes.set_xticks(steps if len(steps) <= 8 else steps[::len(steps) // 6], minor=False)
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    scale_scores(axes)
    axes.set_ylim(bottom=-2 if axes.dataLim.y0 > -1.5 else None, top=1.3 * axes.dataLim.y1)
    axes.set_xlabel("iterations")
    axes.set_ylabel("two-sample score (0 is best)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=9, loc="upper right")


def scale_scores(axes):
    """Compress large scores, if there are any, so that small ones can be distinguished."""
    if axes.get_ylim()[1] > 20:
        axes.set_yscale("symlog", linthresh=5)
        ticks = [tick for tick in (-5, -2, 0, 2, 5, 10, 20, 50, 100, 200) if tick < axes.get_ylim()[1]]
        axes.set_yticks(ticks, ticks)


def _draw_line(figure, line, bottom, height):
    """Texts and samples of a Line whose lower edge is `bottom` inches from that of the figure."""
    from PIL import Image

    middle = (bottom + LINE / 2) / height
    training = textwrap.fill(line.training, 16, break_on_hyphens=False)
    for left, side, text in ((0.2, "left", training), (1.85, "right", line.iteration), (2.8, "right", line.score)):
        figure.text(left / WIDTH, middle, text, fontsize=9, ha=side, va="center", **PLAIN)
    if line.strip.exists():
        with Image.open(line.strip, formats=["PNG"]) as picture:
            strip = np.asarray(picture.convert("RGB"))
        axes = figure.add_axes((STRIP_LEFT / WIDTH, (bottom + 0.03) / height, 1 - (STRIP_LEFT + 0.2) / WIDTH,
                                (LINE - 0.06) / height), anchor="W")
        axes.imshow(strip, interpolation="bilinear")
        axes.set_axis_off()
