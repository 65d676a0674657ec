"""Pictures of cells and of the training: merges, grids of samples, one cell in detail, loss curves.

Grids are put together pixel by pixel (numpy and Pillow), so what a user sees is what the network drew. Channel 0 of
a cell is the red marker, the others are the greens; a picture is a uint8 RGB array, height x width x 3.
"""

import colorsys
import csv
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..system.errors import InputError
from ..system.files import replacing
from ..system.pixels import PALETTES, to_unit, unit_to_bytes
from ..system.progress import Scores

SEPARATOR = 2                           # pixels between the images of a grid
SMALLEST_WIDTH = 600                    # pixels of a grid: smaller ones are magnified, by a whole number
LINE, PAPER, INK = (96, 96, 96), (24, 24, 24), (235, 235, 235)

PANEL = 250                             # screen pixels, the most that a small panel of a cell's figure takes
LARGEST_PANEL = 400                     # image pixels: a larger image is averaged down by a whole number
LARGEST_PICTURE = 4000                  # the same for a picture of many cells
NARROWEST_SLOT = 130                    # screen pixels: a label fits over the narrowest image
MARGIN, GAP, LABEL = 16, 12, 24
DPI = 100
PLAIN = {"parse_math": False, "usetex": False}      # a name with a dollar sign is a name, not a formula

# Okabe and Ito's colours, brightened for a black ground.
HUES = ((1, .62, .1), (.35, .72, 1), (.1, .8, .5), (1, .95, .3), (1, .35, .2), (.9, .5, .85))


def merge(red, green, palette="red-green"):
    """Return the RGB image, (..., H, W, 3) in [0, 1], of two channels, each (..., H, W) in [0, 1]."""
    of_red, of_green = np.array(PALETTES[palette], "float32")
    return np.clip(np.asarray(red)[..., None] * of_red + np.asarray(green)[..., None] * of_green, 0, 1)


# ---------------------------------------------------------------------------------------------- grids of many cells

def sample_grid(path, spec, cells, columns=8):
    """Write the picture of `cells`, float (cells, H, W, channels) in [-1, 1], that a generator of `spec` has drawn.

    It is that of `sample_picture`, or has a column for each factor where each has a red of its own. Returns it.
    """
    if len(spec.channel_names) > len(spec.cell_channels):
        tiles = [[cell[..., view] for view in spec.factor_channels] for cell in (cells + 1) / 2]
        return write_picture(path, table(tiles, spec.separate_factors))
    names = spec.channel_names[1:]
    return write_picture(path, sample_picture(cells, names if len(names) == len(spec.factor_channels) else (), columns))


def sample_picture(images, factors=(), columns=8, palette="red-green"):
    """Return the picture, uint8 (height, width, 3), of generated `images`, float (cells, H, W, channels) in [-1, 1].

    `factors` decides what the channels are. Two or more names: the greens of a star shape; one row per cell with the
    red channel alone and then its merge with each factor, under a header of names. One name or none: a grid,
    `columns` cells per row (a row is a group that shares the red half of z), each cell drawn as `tile` does.
    Pixels that are not numbers are drawn black. Raises ValueError if names and channels don't match.
    """
    images = np.clip((np.nan_to_num(np.asarray(images, "float32"), nan=-1) + 1) / 2, 0, 1)
    if factors and len(factors) != images.shape[-1] - 1:
        raise ValueError(f"{len(factors)} factors for images of {images.shape[-1]} channels")
    if len(factors) > 1:
        return _lattice([_star_row(image, palette) for image in images], header=["red", *factors])
    tiles = [tile(image, palette) for image in images]
    rows = [tiles[start:start + columns] for start in range(0, len(tiles), columns)]
    return _lattice(rows, caption="red + " + factors[0] if factors else "")


def real_grid(path, examples, palette="red-green"):
    """Write the PNG of `real_picture` to `path` and return the picture."""
    return write_picture(path, real_picture(examples, palette))


def real_picture(examples, palette="red-green"):
    """Return the picture of real cells: `examples` maps each factor to uint8 images (cells, H, W, channels).

    One row per factor, named on the left; one column per example.
    """
    rows = [[tile(to_unit(image), palette) for image in images] for images in examples.values()]
    return _lattice(rows, names=list(examples))


def table(rows, header, names=(), palette="red-green"):
    """Return the picture of `rows` of images, each (H, W, channels) in [0, 1] and drawn as `tile` does.

    `header` names the columns, `names` the rows, if given.
    """
    return _lattice([[tile(image, palette) for image in row] for row in rows], header=header, names=names)


def write_picture(path, picture):
    """Write a `picture` (uint8, height x width x 3) as a PNG file and return it."""
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
    return picture


def tile(image, palette="red-green"):
    """Return the RGB of one `image`, (H, W, channels) in [0, 1].

    1 channel is gray, 2 are the red marker and a green, 3 are R, G, B; of 4 or more each is gray, side by side.
    """
    channels = image.shape[-1]
    if channels == 2:
        return merge(image[..., 0], image[..., 1], palette)
    if channels == 3:
        return image
    return gray(np.concatenate(np.moveaxis(image, -1, 0), axis=1))


def _star_row(image, palette):
    red = image[..., 0]
    return [merge(red, green, palette) for green in [np.zeros_like(red), *np.moveaxis(image[..., 1:], -1, 0)]]


def _lattice(rows, header=(), caption="", names=()):
    """Put equally sized RGB tiles ([0, 1]) together: `rows` of them, a `header` of column names or a `caption`."""
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
            body[below:below + high, right:right + wide] = unit_to_bytes(colours).repeat(scale, axis=0).repeat(scale, axis=1)
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
    return " ".join(str(name).split())


def _fitting(name, font, width):
    """Return as much of `name` as `font` writes in `width` pixels."""
    name = _one_line(name)
    if font.getlength(name) <= width:
        return name
    while name and font.getlength(name + "..") > width:
        name = name[:-1]
    return name + ".."


# ---------------------------------------------------------------------------------------------- one cell in detail

def cell_figure(stack, names, pixel_size_um=None, palette="red-green", title=None, figure=None):
    """Return a matplotlib figure of one cell: each channel alone and the red marker merged with each green.

    `stack` is (channels, H, W) in [0, 1], `names` are its channels', the red marker first; one channel alone is gray.
    Two or more greens get a composite of all of them as well. The scale bar is in micrometres if the size of a pixel
    is known. Every pixel of the image is drawn as a square of whole screen pixels. `figure`: draw on this one.
    """
    stack = np.asarray(stack, "float32")
    size = 1 if len(stack) > 2 else 2                       # few panels are drawn twice as large
    stack, shrink = _shrunk(stack, size * LARGEST_PANEL)
    scale = max(1, size * PANEL // max(stack.shape[1:]))
    room = max(scale * stack.shape[2], NARROWEST_SLOT) // 8                 # letters over a panel
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


def picture_figure(picture, title=None, figure=None):
    """Return a matplotlib figure of one RGB picture, uint8 (height, width, 3), magnified by a whole number."""
    channels, shrink = _shrunk(np.moveaxis(picture, -1, 0), LARGEST_PICTURE)
    picture = np.moveaxis(channels, 0, -1).astype("uint8")
    scale = max(1, 2 * PANEL // max(picture.shape[:2]))
    return _draw([_row([("", picture)], scale)], [], _title(title, shrink), figure)[0].figure


def write_figure(path, figure):
    """Write `figure` as a PNG file, pixel for pixel."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, facecolor=figure.get_facecolor())


def composite(greens):
    """Return one RGB image (H, W, 3) in [0, 1] that tells where in a cell each of `greens` (factors, H, W) stands out.

    Each factor has its hue, and competes with the others for the colour of a pixel: a plain sum of six hues would be
    white wherever two meet. What counts is how far it is above its own level in the cell's body (the median there,
    plus 30 % of the way to its brightest), so a factor that fills the body evenly leaves no colour. The body is gray.
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


def hues(count):
    """Return `count` colours (count, 3) in [0, 1]: colour-blind safe up to six, then round the colour circle."""
    if count <= len(HUES):
        return np.array(HUES[:count])
    return np.array([colorsys.hls_to_rgb(k / count, (0.6, 0.75, 0.45)[k % 3], 1) for k in range(count)])


def gray(channel):
    """Return a gray RGB image (H, W, 3) of one channel (H, W)."""
    return np.repeat(channel[..., None], 3, axis=-1)


def _panels(stack, names, palette):
    """Return three lists of (name, RGB image): the red marker (or the only channel, gray), the greens, the merges."""
    if len(stack) == 1:
        return [(names[0], gray(stack[0]))], [], []
    none = np.zeros_like(stack[0])
    red = [(names[0], merge(stack[0], none, palette))]
    greens = [(name, merge(none, green, palette)) for name, green in zip(names[1:], stack[1:])]
    merges = [(f"{names[0]} + {name}", merge(stack[0], green, palette)) for name, green in zip(names[1:], stack[1:])]
    return red, greens, merges


def _rows_of_greens(greens, merges, scale):
    """Up to three factors in one row; else rows of at most six factors with their merges below."""
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
    name = _one_line(name)
    return name if len(name) <= most else name[:most - 1] + "…"


def _shrunk(stack, largest):
    """Average a `stack` (channels, H, W) down by a whole number, to `largest` pixels; return it and that number."""
    channels, high, wide = stack.shape
    factor = math.ceil(max(high, wide) / largest)
    if factor == 1:
        return stack, 1
    down, across = min(factor, high), min(factor, wide)
    whole = stack[:, :high // down * down, :wide // across * across]
    return whole.reshape(channels, high // down, down, wide // across, across).mean(axis=(2, 4)), factor


def _title(title, shrink):
    return title if shrink == 1 else f"{title or ''} (drawn at 1/{shrink} of its size)"


def _draw(rows, legend, title, figure):
    """Lay `rows` of panels out on a figure, in whole screen pixels; return the axes, row by row.

    `legend` names the hues of the last panel of the first row.
    """
    from matplotlib.figure import Figure
    high = [max(image.shape[0] * scale for _, image, scale in row) for row in rows]
    slot = [max(max(image.shape[1] * scale for _, image, scale in row), NARROWEST_SLOT) for row in rows]
    lines = max(1, max(high[0], 120) // 21)
    legend_columns = math.ceil(len(legend) / lines)
    high[0] = max(high[0], 120) if legend else high[0]
    wide = [len(row) * (width + GAP) - GAP for row, width in zip(rows, slot)]
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
    for row, label, row_high, row_slot in zip(rows, labels, high, slot):
        top += label
        for column, panel in enumerate(row):
            left = MARGIN + column * (row_slot + GAP) + (row_slot - panel[1].shape[1] * panel[2]) // 2
            axes.append(_panel(figure, panel, left, height - top, width, height))
        top += row_high + GAP
    if legend:
        _legend(axes[len(rows[0]) - 1], legend, legend_columns)
    return axes


def _panel(figure, panel, left, top, width, height):
    """Draw one panel with its upper left corner at (left, top), counted from the figure's lower left corner."""
    name, image, scale = panel
    high, wide = image.shape[0] * scale, image.shape[1] * scale
    axes = figure.add_axes([left / width, (top - high) / height, wide / width, high / height], label=name)
    axes.imshow(image, interpolation="nearest", origin="upper", aspect="auto")
    axes.set_axis_off()
    axes.set_title(name, fontsize=10, pad=4, **PLAIN)
    return axes


def _legend(axes, names, columns):
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
    """The largest 1, 2 or 5 times a power of ten that is not above `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in (1, 2, 5) if step * power <= value * (1 + 1e-9))


# ---------------------------------------------------------------------------------------------- curves of a training

def loss_curves(path, log):
    """Draw every column of the CSV file `log` that ends in _loss, against its iteration, to the PNG file `path`.

    Thin: each iteration; thick: the running mean over a fiftieth of the training. Scores on held-out images, where
    there are any, are points, the distance in logarithms if it is positive. Lines that are incomplete (a job
    was killed while it wrote) are left out. Raises InputError if nothing is left to draw.
    """
    from matplotlib.figure import Figure
    iterations, losses = _read_log(log)
    columns = 1 if len(losses) <= 3 else 2
    lines = math.ceil(len(losses) / columns)
    figure = Figure(figsize=(8 * columns, max(4, 2.6 * lines + 0.6)), dpi=DPI, layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, squeeze=False)
    for axes, (name, values) in zip(panels.flat, losses.items()):
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


def _read_log(log):
    """Return the iterations and a dict of the losses (NaN where one is missing) of a CSV file."""
    try:
        with open(log, newline="", encoding="utf-8", errors="replace") as file:
            table = csv.DictReader(file, strict=False)
            names = [name for name in table.fieldnames or [] if name.endswith("_loss")]
            lines = [line for line in table if _number(line.get("iteration")) is not None
                     and all(line.get(name) is not None for name in names)]
    except (OSError, csv.Error) as problem:
        raise InputError(f"{log}: can't read this log of losses ({problem}); give the CSV file that train.py "
                         "writes") from None
    if not names or not lines:
        raise InputError(f"{log}: no losses in this file yet; give the CSV file that train.py writes, with columns "
                         "iteration and ..._loss")
    values = {name: np.array([_number(line[name]) for line in lines], "float64") for name in names}
    for name in Scores._fields:
        scores = np.array([_number(line.get(name)) for line in lines], "float64")
        if np.isfinite(scores).any():
            values[name] = scores
    return np.array([_number(line["iteration"]) for line in lines]), values


def _number(text):
    """Return a finite float, or None."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _smooth(values):
    """Return the centred running mean over a fiftieth of `values`; NaNs are left out of it."""
    half = len(values) // 100
    known = np.isfinite(values)
    sums, counts = (np.concatenate([[0], np.cumsum(part)]) for part in (np.where(known, values, 0), known))
    first = np.maximum(np.arange(len(values)) - half, 0)
    last = np.minimum(np.arange(len(values)) + half + 1, len(values))
    with np.errstate(invalid="ignore"):
        return (sums[last] - sums[first]) / (counts[last] - counts[first])


def _limit(axes, values):
    """Let the few wild losses of a training's start leave the panel, rather than flatten all the rest of it."""
    known = values[np.isfinite(values)]
    if len(known) < 50:
        return
    low, high = np.quantile(known, (0.05, 0.95))
    room = 0.5 * (high - low)
    outside = np.mean((known < low - room) | (known > high + room))
    if room > 0 and outside > 0:
        axes.set_ylim(low - room, high + room)
        axes.set_title(f"{outside:.1%} of the iterations lie outside of this panel", fontsize=8, loc="right")
