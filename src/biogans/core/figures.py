"""Pictures of cells and of the training: merges, grids of samples, one cell in detail, loss curves.

Grids are assembled pixel by pixel (NumPy and Pillow), so they show exactly what the network generated. Channel 0 of a
cell is the red marker, the others are the greens. A picture is an RGB array, uint8 (height, width, 3).
"""

import colorsys
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..system.files import replacing
from ..system.pixels import PALETTES, to_unit, unit_to_bytes
from ..system.progress import read_losses
from .models import NetworkSpec

SEPARATOR = 2                           # pixels between the images of a grid
SMALLEST_WIDTH = 600                    # pixels of a grid; smaller ones are magnified by a whole number
LINE, PAPER, INK = (96, 96, 96), (24, 24, 24), (235, 235, 235)

PANEL = 250                             # screen pixels: largest side of a small panel
LARGEST_PANEL = 400                     # image pixels; larger images are averaged down by a whole number
LARGEST_PICTURE = 4000                  # the same for a picture of many cells
NARROWEST_SLOT = 130                    # screen pixels, so that a label fits above the narrowest image
MARGIN, GAP, LABEL = 16, 12, 24         # screen pixels
DPI = 100
PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}      # a name with a dollar sign is no formula

# The colours of Okabe and Ito, brightened for a black background.
HUES = ((1, .62, .1), (.35, .72, 1), (.1, .8, .5), (1, .95, .3), (1, .35, .2), (.9, .5, .85))


def merge(red: np.ndarray, green: np.ndarray, palette: str = "red-green") -> np.ndarray:
    """RGB image (…, height, width, 3) in [0, 1] of two channels (…, height, width) in [0, 1]."""
    of_red, of_green = np.array(PALETTES[palette], "float32")
    return np.clip(np.asarray(red)[..., None] * of_red + np.asarray(green)[..., None] * of_green, 0, 1)


# ---------------------------------------------------------------------------------------------- grids of many cells

def sample_grid(path: str | Path, spec: NetworkSpec, cells: np.ndarray, columns: int = 8) -> np.ndarray:
    """Write a picture of cells, float (cells, height, width, channels) in [-1, 1], from a generator of this `spec`.

    Returns the picture: that of `sample_picture` or, if each factor has its own red, a table with a column per factor.
    """
    if len(spec.channel_names) > len(spec.cell_channels):
        tiles = [[cell[..., channels] for channels in spec.factor_channels] for cell in (cells + 1) / 2]
        return write_picture(path, table(tiles, spec.separate_factors))
    names = spec.channel_names[1:]
    return write_picture(path, sample_picture(cells, names if len(names) == len(spec.factor_channels) else (), columns))


def sample_picture(images: np.ndarray, factors: Sequence[str] = (), columns: int = 8,
                   palette: str = "red-green") -> np.ndarray:
    """Picture of generated images, float (cells, height, width, channels) in [-1, 1].

    factors   two or more names, those of the greens: one row per cell, with red alone and its merge with each factor,
              under a header of names; one name or none: a grid of cells as `tile` shows them
    columns   cells per row of the grid; the cells of a row share the red part of z

    Pixels that are NaN are black. Raises ValueError if names and channels don't match.
    """
    images = np.clip((np.nan_to_num(np.asarray(images, "float32"), nan=-1) + 1) / 2, 0, 1)
    if factors and len(factors) != images.shape[-1] - 1:
        raise ValueError(f"{len(factors)} factors for images of {images.shape[-1]} channels")
    if len(factors) > 1:
        return _lattice([_star_row(image, palette) for image in images], header=["red", *factors])
    tiles = [tile(image, palette) for image in images]
    rows = [tiles[start:start + columns] for start in range(0, len(tiles), columns)]
    return _lattice(rows, caption="red + " + factors[0] if factors else "")


def real_grid(path: str | Path, examples: Mapping[str, np.ndarray], palette: str = "red-green") -> np.ndarray:
    """Write the picture of `real_picture` as a PNG file, and return it."""
    return write_picture(path, real_picture(examples, palette))


def real_picture(examples: Mapping[str, np.ndarray], palette: str = "red-green") -> np.ndarray:
    """Picture of real cells: one row per factor, named on the left, and one column per example.

    examples   {factor: uint8 images (cells, height, width, channels)}
    """
    rows = [[tile(to_unit(image), palette) for image in images] for images in examples.values()]
    return _lattice(rows, names=list(examples))


def table(rows: Sequence[Sequence[np.ndarray]], header: Sequence[str], names: Sequence[str] = (),
          palette: str = "red-green") -> np.ndarray:
    """Picture of rows of images, each (height, width, channels) in [0, 1] and shown as `tile` does.

    header, names   names of the columns, and optionally of the rows
    """
    return _lattice([[tile(image, palette) for image in row] for row in rows], header=header, names=names)


def write_picture(path: str | Path, picture: np.ndarray) -> np.ndarray:
    """Write a picture as a PNG file, and return it."""
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
    return picture


def tile(image: np.ndarray, palette: str = "red-green") -> np.ndarray:
    """RGB image in [0, 1] of one image (height, width, channels) in [0, 1].

    One channel is gray, two are the red marker and a green, three are R, G, B; four or more are gray, side by side.
    """
    channels = image.shape[-1]
    if channels == 2:
        return merge(image[..., 0], image[..., 1], palette)
    if channels == 3:
        return image
    return gray(np.concatenate(np.moveaxis(image, -1, 0), axis=1))


def _star_row(image, palette):
    """Red alone, and merged with each green."""
    red = image[..., 0]
    return [merge(red, green, palette) for green in [np.zeros_like(red), *np.moveaxis(image[..., 1:], -1, 0)]]


def _lattice(rows, header=(), caption="", names=()):
    """Picture of `rows` of equally large RGB tiles in [0, 1], under a `header` of column names or a `caption`."""
    high, wide = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    scale = math.ceil(((SMALLEST_WIDTH - SEPARATOR) / columns - SEPARATOR) / wide)
    scale = max(1, min(scale, 2 * SMALLEST_WIDTH // high))
    high, wide = high * scale, wide * scale
    font = ImageFont.load_default(size=min(16, max(10, wide // 8)))
    top = 22 if header or caption else 0
    left = min(160, max(math.ceil(font.getlength(_one_line(name))) for name in names) + 12) if names else 0
    body = np.full((SEPARATOR + len(rows) * (high + SEPARATOR), SEPARATOR + columns * (wide + SEPARATOR), 3), LINE,
                   "uint8")
    for y, row in enumerate(rows):
        for x, colours in enumerate(row):
            below, right = (SEPARATOR + y * (high + SEPARATOR), SEPARATOR + x * (wide + SEPARATOR))
            magnified = unit_to_bytes(colours).repeat(scale, axis=0).repeat(scale, axis=1)
            body[below:below + high, right:right + wide] = magnified
    picture = Image.new("RGB", (left + body.shape[1], top + body.shape[0]), PAPER)
    picture.paste(Image.fromarray(body), (left, top))
    pen = ImageDraw.Draw(picture)
    for x, name in enumerate(header):
        centre = left + SEPARATOR + x * (wide + SEPARATOR) + wide // 2
        pen.text((centre, top // 2), _fitting(name, font, wide), INK, font, anchor="mm")
    pen.text((left + SEPARATOR + 4, top // 2), _fitting(caption, font, body.shape[1]), INK, font, anchor="lm")
    for y, name in enumerate(names):
        centre = top + SEPARATOR + y * (high + SEPARATOR) + high // 2
        pen.text((6, centre), _fitting(name, font, left - 8), INK, font, anchor="lm")
    return np.asarray(picture)


def _one_line(name):
    """`name` without line breaks."""
    return " ".join(str(name).split())


def _fitting(name, font, width):
    """As much of `name` as fits into `width` pixels in this `font`."""
    name = _one_line(name)
    if font.getlength(name) <= width:
        return name
    while name and font.getlength(name + "..") > width:
        name = name[:-1]
    return name + ".."


# ---------------------------------------------------------------------------------------------- one cell in detail

def cell_figure(stack: np.ndarray, names: Sequence[str], pixel_size_um: float | None = None,
                palette: str = "red-green", title: str | None = None, figure: Any = None) -> Any:
    """Matplotlib figure of one cell: each channel alone, and the red marker merged with each green.

    stack           (channels, height, width) in [0, 1], the red marker first; a single channel is gray
    names           names of the channels
    pixel_size_um   side of a pixel in micrometres, for the scale bar; None for a bar in pixels
    figure          the figure to draw on, by default a new one

    Two or more greens get a composite as well. Every pixel becomes a square of whole screen pixels.
    """
    stack = np.asarray(stack, "float32")
    size = 1 if len(stack) > 2 else 2                       # a few panels can be twice as large
    stack, shrink = _shrunk(stack, size * LARGEST_PANEL)
    scale = max(1, size * PANEL // max(stack.shape[1:]))
    room = max(scale * stack.shape[2], NARROWEST_SLOT) // 8                 # letters above a panel
    names = [_shortened(name, (room - 3) // 2) for name in names]
    red, greens, merges = _panels(stack, names, palette)
    if len(stack) <= 2:
        rows = [_row(red + greens + merges, scale)]
    else:
        everything = ("all factors, where each stands out", composite(stack[1:]))
        rows = [_row(red + [everything], 2 * scale), *_rows_of_greens(greens, merges, scale)]
    axes = _draw(rows, names[1:] if len(stack) > 2 else [], _title(title, shrink), figure)
    _scale_bar(axes[0], stack.shape[2], pixel_size_um and pixel_size_um * shrink, shrink)
    return axes[0].figure


def picture_figure(picture: np.ndarray, title: str | None = None, figure: Any = None) -> Any:
    """Matplotlib figure of one picture, magnified by a whole number."""
    channels, shrink = _shrunk(np.moveaxis(picture, -1, 0), LARGEST_PICTURE)
    picture = np.moveaxis(channels, 0, -1).astype("uint8")
    scale = max(1, 2 * PANEL // max(picture.shape[:2]))
    return _draw([_row([("", picture)], scale)], [], _title(title, shrink), figure)[0].figure


def write_figure(path: str | Path, figure: Any) -> None:
    """Write a Matplotlib figure as a PNG file, pixel for pixel."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, facecolor=figure.get_facecolor())


def composite(greens: np.ndarray) -> np.ndarray:
    """RGB image (height, width, 3) in [0, 1] that shows where in a cell each of the greens stands out.

    greens   (factors, height, width) in [0, 1]

    Each factor has a hue, and the factors compete for the colour of a pixel: a plain sum of six hues would be white
    wherever two of them meet. What counts is how far a factor exceeds its own level in the cell's body (its median
    there, plus 30 % of the way to its brightest), so one that fills the body evenly adds no colour. The body is gray.
    """
    mean = (greens / np.maximum(greens.max(axis=(1, 2), keepdims=True), 1e-6)).mean(axis=0)
    cell = mean >= 0.99 * mean.mean()
    inside = greens[:, cell]
    dark, bright = np.quantile(inside, (0.5, 0.99), axis=1)[..., None, None]
    level = (greens - dark) / np.maximum(np.maximum(bright - dark, bright / 2), 1e-6)
    level = np.clip((level - 0.3) / 0.7, 0, 1)
    share = level ** 2 / np.maximum((level ** 2).sum(axis=0), 1e-9)
    light = level.max(axis=0)[..., None]
    body = 0.35 * np.clip(mean / max(np.quantile(mean[cell], 0.9), 1e-6), 0, 1)[..., None]
    return np.clip(np.einsum("khw,kc->hwc", share, hues(len(greens))) * light + body * (1 - light), 0, 1)


def hues(count: int) -> np.ndarray:
    """Colours (count, 3) in [0, 1]: safe for colour-blind viewers up to six, beyond that from the colour circle."""
    if count <= len(HUES):
        return np.array(HUES[:count])
    return np.array([colorsys.hls_to_rgb(k / count, (0.6, 0.75, 0.45)[k % 3], 1) for k in range(count)])


def gray(channel: np.ndarray) -> np.ndarray:
    """Gray RGB image (height, width, 3) of one channel (height, width)."""
    return np.repeat(channel[..., None], 3, axis=-1)


def _panels(stack, names, palette):
    """Three lists of (name, RGB image): the red marker (or the only channel, gray), the greens, the merges."""
    if len(stack) == 1:
        return [(names[0], gray(stack[0]))], [], []
    none = np.zeros_like(stack[0])
    red = [(names[0], merge(stack[0], none, palette))]
    named = list(zip(names[1:], stack[1:], strict=True))
    greens = [(name, merge(none, green, palette)) for name, green in named]
    merges = [(f"{names[0]} + {name}", merge(stack[0], green, palette)) for name, green in named]
    return red, greens, merges


def _rows_of_greens(greens, merges, scale):
    """Up to three factors in one row; more in rows of at most six, with their merges below."""
    if len(greens) <= 3:
        return [_row(greens + merges, scale)]
    blocks = math.ceil(len(greens) / 6)
    columns = math.ceil(len(greens) / blocks)
    starts = range(0, len(greens), columns)
    return [_row(panels[start:start + columns], scale) for start in starts for panels in (greens, merges)]


def _row(panels, scale):
    """A row of a figure: (name, RGB image, screen pixels per image pixel) of each panel."""
    return [(name, image, scale) for name, image in panels]


def _shortened(name, most):
    """`name` in at most `most` letters."""
    name = _one_line(name)
    return name if len(name) <= most else name[:most - 1] + "…"


def _shrunk(stack, largest):
    """(stack, factor): a stack (channels, height, width) averaged down by a whole number to `largest` pixels."""
    channels, high, wide = stack.shape
    factor = math.ceil(max(high, wide) / largest)
    if factor == 1:
        return stack, 1
    down, across = min(factor, high), min(factor, wide)
    whole = stack[:, :high // down * down, :wide // across * across]
    return whole.reshape(channels, high // down, down, wide // across, across).mean(axis=(2, 4)), factor


def _title(title, shrink):
    return title if shrink == 1 else f"{title or ''} (shown at 1/{shrink} of its size)"


def _draw(rows, legend, title, figure):
    """Lay out rows of panels on a figure, in whole screen pixels; returns the axes, row by row.

    `legend` names the hues of the last panel of the first row.
    """
    from matplotlib.figure import Figure

    high = [max(image.shape[0] * scale for _, image, scale in row) for row in rows]
    slots = [max(max(image.shape[1] * scale for _, image, scale in row), NARROWEST_SLOT) for row in rows]
    lines = max(1, max(high[0], 120) // 21)
    legend_columns = math.ceil(len(legend) / lines)
    high[0] = max(high[0], 120) if legend else high[0]
    wide = [len(row) * (slot + GAP) - GAP for row, slot in zip(rows, slots, strict=True)]
    wide[0] += 150 * legend_columns
    width = 2 * MARGIN + max(max(wide), 7 * len(title or ""))
    labels = [LABEL if any(name for name, _, _ in row) else 0 for row in rows]
    height = 2 * MARGIN + (28 if title else 0) + sum(high) + sum(labels) + GAP * (len(rows) - 1)
    figure = Figure() if figure is None else figure
    figure.set_dpi(DPI)
    figure.set_size_inches(width / DPI, height / DPI)
    figure.set_facecolor("white")
    if title:
        figure.text(MARGIN / width, 1 - MARGIN / height, title, fontsize=11, weight="bold", va="top", **PLAIN)
    axes, top = [], MARGIN + (28 if title else 0)
    for row, label, row_high, slot in zip(rows, labels, high, slots, strict=True):
        top += label
        for column, (name, image, scale) in enumerate(row):
            left = MARGIN + column * (slot + GAP) + (slot - image.shape[1] * scale) // 2
            axes.append(_panel(figure, (name, image, scale), left, height - top, width, height))
        top += row_high + GAP
    if legend:
        _legend(axes[len(rows[0]) - 1], legend, legend_columns)
    return axes


def _panel(figure, panel, left, top, width, height):
    """Draw one panel on a figure of width x height pixels; (left, top) is its corner, from the figure's lower left."""
    name, image, scale = panel
    high, wide = image.shape[0] * scale, image.shape[1] * scale
    axes = figure.add_axes([left / width, (top - high) / height, wide / width, high / height], label=name)
    axes.imshow(image, interpolation="nearest", origin="upper", aspect="auto")
    axes.set_axis_off()
    axes.set_title(name, fontsize=10, pad=4, **PLAIN)
    return axes


def _legend(axes, names, columns):
    """List the hues of the greens beside a panel."""
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=hue, edgecolor="0.4", linewidth=0.5) for hue in hues(len(names))]
    legend = axes.legend(handles, names, loc="upper left", bbox_to_anchor=(1, 1), ncols=columns, frameon=False,
                         fontsize=9, borderaxespad=0.3, handlelength=1.2, columnspacing=1)
    for text in legend.get_texts():
        text.set(**PLAIN)


def _scale_bar(axes, wide, pixel_size_um, shrink):
    """Draw a bar of a round length, at most a fifth of the image's width (`wide` pixels), in its lower right corner."""
    from matplotlib.patches import Rectangle

    pixel, unit = (pixel_size_um, "µm") if pixel_size_um else (shrink, "px")
    length = _round_below(wide * pixel / 5)
    if unit == "px":
        length = max(1, length)
    bar = length / pixel
    screen = wide / axes.get_window_extent().width             # image pixels per screen pixel
    right, bottom = wide - 0.5 - 10 * screen, axes.get_ylim()[0] - 10 * screen
    axes.add_patch(Rectangle((right - bar, bottom - 4 * screen), bar, 4 * screen, facecolor="white", edgecolor="none",
                             label="scale bar"))
    axes.text(right - bar / 2, bottom - 6 * screen, f"{length:g} {unit}", color="white", fontsize=9, ha="center",
              va="bottom", **PLAIN)


def _round_below(value):
    """The largest number of the form 1, 2 or 5 times a power of ten that is not above `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in (1, 2, 5) if step * power <= value * (1 + 1e-9))


# ---------------------------------------------------------------------------------------------- curves of a training

def loss_curves(path: str | Path, log: str | Path) -> None:
    """Plot the losses of the CSV file `log` against the iteration, and write the PNG file `path`.

    Thin lines show each iteration, thick ones the running mean over a fiftieth of the training. Scores on held-out
    images, if there are any, are points; the distance has a logarithmic axis if it is positive. Incomplete rows (a job
    was killed while it wrote) are ignored. Raises InputError if no losses can be read.
    """
    from matplotlib.figure import Figure

    iterations, losses = read_losses(log)
    columns = 1 if len(losses) <= 3 else 2
    lines = math.ceil(len(losses) / columns)
    figure = Figure(figsize=(8 * columns, max(4, 2.6 * lines + 0.6)), dpi=DPI, layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, squeeze=False)
    for axes, (name, values) in zip(panels.flat, losses.items(), strict=False):      # the last panel may stay empty
        if not name.endswith("_loss"):
            known = np.isfinite(values)
            axes.plot(iterations[known], values[known], "o-", color="#08519c", markersize=4, linewidth=1)
            axes.set_yscale("log" if name.endswith("_distance") and (values[known] > 0).all() else "linear")
            axes.set_ylabel(name.replace("_", " "), **PLAIN)
            axes.grid(alpha=0.3)
            continue
        axes.plot(iterations, values, color="#9ecae1", linewidth=0.6, label="each iteration")
        axes.plot(iterations, _smooth(values), color="#08519c", linewidth=1.8, label="running mean")
        _limit(axes, values)
        axes.set_ylabel(name.replace("_", " "), **PLAIN)
        axes.grid(alpha=0.3)
    for axes in panels.flat[len(losses):]:
        axes.set_axis_off()
    for axes in panels[-1]:
        axes.set_xlabel("iteration (generator updates)")
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=9)
    write_figure(path, figure)


def _smooth(values):
    """Centred running mean over a fiftieth of the `values`, ignoring NaNs."""
    half = len(values) // 100
    known = np.isfinite(values)
    sums, counts = (np.concatenate([[0], np.cumsum(part)]) for part in (np.where(known, values, 0), known))
    first = np.maximum(np.arange(len(values)) - half, 0)
    last = np.minimum(np.arange(len(values)) + half + 1, len(values))
    with np.errstate(invalid="ignore"):
        return (sums[last] - sums[first]) / (counts[last] - counts[first])


def _limit(axes, values):
    """Limit the axis so that a few wild losses early in the training don't flatten the rest."""
    known = values[np.isfinite(values)]
    if len(known) < 50:
        return
    low, high = np.quantile(known, (0.05, 0.95))
    room = 0.5 * (high - low)
    outside = np.mean((known < low - room) | (known > high + room))
    if room > 0 and outside > 0:
        axes.set_ylim(low - room, high + room)
        axes.set_title(f"{outside:.1%} of the iterations lie outside this panel", fontsize=8, loc="right")
