"""Matplotlib figures of images in panels, laid out in whole screen pixels, with a heading and a scale bar."""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .lattice import legible, one_line

NARROWEST_SLOT = 130                    # screen pixels, so that a label fits above the narrowest image
NARROWEST_HEADING = 480                 # screen pixels for the lines of a long heading, at least
MARGIN, GAP, LABEL = 16, 12, 24         # screen pixels
DPI = 100
PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}      # a name with a dollar sign is no formula

Panel = tuple[str, np.ndarray, int]     # name, RGB image in [0, 1] or uint8, screen pixels per image pixel


class Heading(NamedTuple):
    """What stands above the panels: what they show, in bold, and below it the file that they come from."""

    what: str = ""
    file: str = ""


NO_HEADING = Heading()


class _Line(NamedTuple):
    """A line of text, its font, and its height in screen pixels."""

    text: str
    font: dict[str, Any]
    height: int


BOLD, SMALL = ({"fontsize": 11, "weight": "bold"}, 21), ({"fontsize": 9, "color": "0.35"}, 17)
TITLE = {"fontsize": 10}
MOST_LINES = 3                          # of each part of a heading


def draw_panels(rows: Sequence[Sequence[Panel]], legend: Sequence[tuple[str, Any]], heading: Heading,
                figure: Any = None) -> list[Any]:
    """Draw rows of panels on a figure, by default a new one; returns their axes, row by row.

    legend   (name, colour) of what the last panel of the first row shows

    In a wide figure letters are larger, so that they are legible where it is shown as wide as a page.
    """
    from matplotlib.figure import Figure

    high = [max(image.shape[0] * scale for _, image, scale in row) for row in rows]
    slots = [max(max(image.shape[1] * scale for _, image, scale in row), NARROWEST_SLOT) for row in rows]
    wide = [len(row) * (slot + GAP) - GAP for row, slot in zip(rows, slots, strict=True)]
    growth = growth_of_letters(max(wide) + 150 * bool(legend))
    lines = max(1, int(max(high[0], 120) / (21 * growth)))
    legend_columns = math.ceil(len(legend) / lines)
    high[0] = max(high[0], 120) if legend else high[0]
    wide[0] += math.ceil(150 * growth) * legend_columns
    above = _heading_lines(heading, max([*wide, NARROWEST_HEADING]), growth)
    width = 2 * MARGIN + max([*wide, *(math.ceil(text_width(line)) for line in above)])
    top = MARGIN + sum(line.height for line in above) + (8 if above else 0)
    labels = [math.ceil(LABEL * growth) if any(name for name, _, _ in row) else 0 for row in rows]
    height = top + MARGIN + sum(high) + sum(labels) + GAP * (len(rows) - 1)
    figure = Figure() if figure is None else figure
    figure.set_dpi(DPI)
    figure.set_size_inches(width / DPI, height / DPI)
    figure.set_facecolor("white")
    _write_lines(figure, above, width, height)
    axes = []
    for row, label, row_high, slot in zip(rows, labels, high, slots, strict=True):
        top += label
        for column, (name, image, scale) in enumerate(row):
            left = MARGIN + column * (slot + GAP) + (slot - image.shape[1] * scale) // 2
            axes.append(_panel(figure, (name, image, scale), (left, height - top), width, height))
            if name:
                size = TITLE["fontsize"] * min(growth, max(1, slot / text_width(_Line(name, TITLE, LABEL))))
                axes[-1].set_title(name, fontsize=size, pad=4, **PLAIN)
        top += row_high + GAP
    if legend:
        _legend(axes[len(rows[0]) - 1], legend, legend_columns, 9 * growth)
    return axes


def growth_of_letters(width: float) -> float:
    """Factor, at least 1, by which letters of 9 points must grow to be legible in a figure of `width` pixels."""
    return max(1, legible(width) / (9 * DPI / 72))


def text_width(line: _Line) -> float:
    """Width of a line in screen pixels."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=line.font["fontsize"], weight=line.font.get("weight", "normal"))
    return text_to_path.get_text_width_height_descent(line.text, font, ismath=False)[0] * DPI / 72


def _heading_lines(heading, width, growth):
    """The _Lines of a heading, wrapped to `width` screen pixels, in letters that are larger by the factor `growth`."""
    styles = [({**font, "fontsize": font["fontsize"] * growth}, math.ceil(high * growth))
              for font, high in (BOLD, SMALL)]
    return [_Line(text, *style) for part, style in zip(heading, styles, strict=True)
            for text in _wrapped(part, style, width)]


def _wrapped(text, style, width):
    """At most MOST_LINES lines of `text`, each at most `width` screen pixels wide; "…" stands for what does not fit.

    Lines end at commas if possible.
    """
    def fits(words):
        return text_width(_Line(words, *style)) <= width

    lines: list[str] = []
    for phrase in re.split("(?<=,) ", one_line(text)):
        for part in [phrase] if fits(phrase) else phrase.split():
            if lines and fits(f"{lines[-1]} {part}"):
                lines[-1] += f" {part}"
            elif part:
                lines.append(part)
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES - 1], " ".join(lines[MOST_LINES - 1:])]
    return [line if fits(line) else _cut(line, fits) for line in lines]


def _cut(line, fits):
    """The beginning of a line, with an ellipsis, that fits: found by bisection."""
    fitting, too_long = 0, len(line)
    while too_long - fitting > 1:
        middle = (fitting + too_long) // 2
        fitting, too_long = (middle, too_long) if fits(line[:middle] + "…") else (fitting, middle)
    return line[:fitting] + "…"


def _write_lines(figure, lines, width, height):
    top = MARGIN
    for line in lines:
        figure.text(MARGIN / width, 1 - top / height, line.text, va="top", **line.font, **PLAIN)
        top += line.height


def _panel(figure, panel, corner, width, height):
    """Draw one panel on a figure of width x height pixels; its upper left corner counts from the figure's lower left.
    """
    (name, image, scale), (left, top) = panel, corner
    high, wide = image.shape[0] * scale, image.shape[1] * scale
    axes = figure.add_axes([left / width, (top - high) / height, wide / width, high / height], label=name)
    axes.imshow(image, interpolation="nearest", origin="upper", aspect="auto")
    axes.set_axis_off()
    return axes


def _legend(axes, legend, columns, size):
    """List the names and colours of a legend beside a panel, in letters of this size (points)."""
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=colour, edgecolor="0.4", linewidth=0.5) for _, colour in legend]
    drawn = axes.legend(handles, [name for name, _ in legend], loc="upper left", bbox_to_anchor=(1, 1), ncols=columns,
                        frameon=False, fontsize=size, borderaxespad=0.3, handlelength=1.2, columnspacing=1)
    for text in drawn.get_texts():
        text.set(**PLAIN)


def scale_bar(axes: Any, wide: int, pixel_size_um: float | None, shrink: int) -> None:
    """Draw a bar of a round length, at most a fifth of the image's width (`wide` pixels), in its lower right corner.

    It is white, but black where the image is bright.

    pixel_size_um   side of a pixel in micrometres; None for a bar in pixels, of which `shrink` are one of the image
    """
    from matplotlib.patches import Rectangle

    pixel, unit = (pixel_size_um, "µm") if pixel_size_um else (shrink, "px")
    length = _round_below(wide * pixel / 5)
    if unit == "px":
        length = max(1, length)
    bar = length / pixel
    screen = wide / axes.get_window_extent().width             # image pixels per screen pixel
    right, bottom = wide - 0.5 - 10 * screen, axes.get_ylim()[0] - 10 * screen
    shown = axes.images[0].get_array()
    behind = shown[-max(1, len(shown) // 8):, -max(1, shown.shape[1] // 4):].mean()
    colour = "black" if behind > 0.6 else "white"
    growth = growth_of_letters(axes.figure.bbox.width)
    high = 4 * growth * screen
    axes.add_patch(Rectangle((right - bar, bottom - high), bar, high, facecolor=colour, edgecolor="none",
                             label="scale bar"))
    axes.text(right - bar / 2, bottom - 1.5 * high, f"{length:g} {unit}", color=colour, fontsize=9 * growth,
              ha="center", va="bottom", **PLAIN)


def _round_below(value):
    """The largest number of the form 1, 2 or 5 times a power of ten that is not above `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in (1, 2, 5) if step * power <= value * (1 + 1e-9))
