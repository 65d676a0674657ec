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
from PIL import Image

from ..system.files import replacing
from ..system.lattice import lattice, one_line
from ..system.palettes import Palette, fitted, merge
from ..system.panels import DPI, NARROWEST_SLOT, NO_HEADING, PLAIN, Heading, draw_panels, scale_bar
from ..system.pixels import to_unit
from ..system.progress import read_losses
from .models import NetworkSpec

PANEL = 250                             # screen pixels: largest side of a small panel
LARGEST_PANEL = 400                     # image pixels; larger images are averaged down by a whole number
LARGEST_PICTURE = 4000                  # the same for a picture of many cells

# The colours of Okabe and Ito, brightened for a black background.
HUES = ((1, .62, .1), (.35, .72, 1), (.1, .8, .5), (1, .95, .3), (1, .35, .2), (.9, .5, .85))
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")     # of curves; Okabe and Ito, too


# ---------------------------------------------------------------------------------------------- grids of many cells

def sample_grid(path: str | Path, spec: NetworkSpec, cells: np.ndarray, columns: int = 8, title: str = "",
                palette: str | Palette = "red-green") -> np.ndarray:
    """Write a picture of cells, float (cells, height, width, channels) in [-1, 1], from a generator of this `spec`.

    Returns the picture: that of `sample_picture` or, if each factor has its own red, a table with a column per factor.
    """
    if len(spec.channel_names) > len(spec.cell_channels):
        palette = fitted(palette, (cells + 1) / 2)
        tiles = [[tile(cell[..., channels], palette.of(channels)) for channels in spec.factor_channels]
                 for cell in (cells + 1) / 2]
        return write_picture(path, lattice(tiles, spec.separate_factors, title=title))
    names = spec.channel_names[1:] if len(spec.channel_names) == 1 + len(spec.factor_channels) else ()
    return write_picture(path, sample_picture(cells, names, columns, palette, title))


def sample_picture(images: np.ndarray, factors: Sequence[str] = (), columns: int = 8,
                   palette: str | Palette = "red-green", title: str = "") -> np.ndarray:
    """Picture of generated images, float (cells, height, width, channels) in [-1, 1].

    factors   two or more names, those of the greens: one row per cell, with red alone and its merge with each factor,
              under a header of names; one name or none: a grid of cells as `tile` shows them
    columns   cells per row of the grid; the cells of a row share the red part of z
    palette   one of PALETTES, or a Palette that also lists the channels of transmitted light
    title     a line above the picture, to which the name of a single factor is added

    Pixels that are NaN are black. Raises ValueError if names and channels don't match.
    """
    images = np.clip((np.nan_to_num(np.asarray(images, "float32"), nan=-1) + 1) / 2, 0, 1)
    if factors and len(factors) != images.shape[-1] - 1:
        raise ValueError(f"{len(factors)} factors for images of {images.shape[-1]} channels")
    palette = fitted(palette, images)
    marker = marker_name("red", palette)
    if len(factors) > 1:
        return lattice([marker_and_merges(image, palette) for image in images], header=[marker, *factors], title=title)
    tiles = [tile(image, palette) for image in images]
    rows = [tiles[start:start + columns] for start in range(0, len(tiles), columns)]
    shown = [f"{marker} + {name}" for name in factors]
    return lattice(rows, title=": ".join(filter(None, [title, *shown])))


def real_grid(path: str | Path, examples: Mapping[str, np.ndarray], palette: str | Palette = "red-green",
              title: str = "") -> np.ndarray:
    """Write the picture of `real_picture` as a PNG file, and return it."""
    return write_picture(path, real_picture(examples, palette, title))


def real_picture(examples: Mapping[str, np.ndarray], palette: str | Palette = "red-green",
                 title: str = "") -> np.ndarray:
    """Picture of images from files: one row per factor, named on the left, and one column per example.

    examples   {factor: uint8 images (cells, height, width, channels)}
    title      a line above the picture
    """
    rows = [[to_unit(image) for image in images] for images in examples.values()]
    return table(rows, (), list(examples), palette, title)


def table(rows: Sequence[Sequence[np.ndarray]], header: Sequence[str], names: Sequence[str] = (),
          palette: str | Palette = "red-green", title: str = "") -> np.ndarray:
    """Picture of rows of images, each (height, width, channels) in [0, 1] and shown as `tile` does.

    header, names   names of the columns, and optionally of the rows
    title           a line above everything
    """
    palette = fitted(palette, [image for row in rows for image in row])
    return lattice([[tile(image, palette) for image in row] for row in rows], header, names, title)


def write_picture(path: str | Path, picture: np.ndarray) -> np.ndarray:
    """Write a picture as a PNG file, and return it."""
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
    return picture


def tile(image: np.ndarray, palette: str | Palette = "red-green") -> np.ndarray:
    """RGB image in [0, 1] of one image (height, width, channels) in [0, 1].

    One channel is gray, two are the red marker and a green, three are R, G, B; four or more are gray, side by side.
    Transmitted light is gray below the others.
    """
    channels, palette = image.shape[-1], fitted(palette, [image])
    if channels == 2 or channels == 3 and palette.transmitted:
        return merge(image, palette)
    if channels == 3:
        return image
    return gray(np.concatenate(np.moveaxis(image, -1, 0), axis=1))


def marker_and_merges(image: np.ndarray, palette: Palette) -> list[np.ndarray]:
    """RGB images of a cell (height, width, channels) in [0, 1]: the marker alone, and merged with each green."""
    return [_pair(image, 1, palette, (1, 0)), *(_pair(image, k, palette) for k in range(1, image.shape[-1]))]


def _pair(image, k, palette, lit=(1, 1)):
    """RGB image of the marker and the k-th channel; the one that is not `lit` is dark."""
    return merge(image[..., [0, k]] * np.float32(lit), palette.of([0, k]))


def shown_names(names: Sequence[str], palette: Palette) -> list[str]:
    """The names of the channels of an image; a single channel is called image."""
    return ["image"] if len(names) == 1 else [marker_name(names[0], palette), *names[1:]]


def marker_name(name: str, palette: Palette) -> str:
    """The name of the first channel in a picture: "red" only if it is drawn red."""
    if name == "red" and 0 in (palette.transmitted or ()):
        return "transmitted light"
    return "marker" if name == "red" and palette.name != "red-green" else name


# ---------------------------------------------------------------------------------------------- one cell in detail

def cell_figure(stack: np.ndarray, names: Sequence[str], pixel_size_um: float | None = None,
                palette: str | Palette = "red-green", heading: Heading = NO_HEADING, figure: Any = None) -> Any:
    """Matplotlib figure of one cell: each channel alone, and the red marker merged with each green.

    stack           (channels, height, width) in [0, 1], the red marker first; a single channel is gray
    names           names of the channels
    pixel_size_um   side of a pixel in micrometres, for the scale bar; None for a bar in pixels
    heading         the origin of the cell, and its file
    figure          the figure to draw on, by default a new one

    Two or more greens get a composite as well. Every pixel becomes a square of whole screen pixels.
    """
    stack = np.asarray(stack, "float32")
    palette = fitted(palette, [np.moveaxis(stack, 0, -1)])
    size = 1 if len(stack) > 2 else 2                       # a few panels can be twice as large
    stack, shrink = _shrunk(stack, size * LARGEST_PANEL)
    scale = max(1, size * PANEL // max(stack.shape[1:]))
    room = max(scale * stack.shape[2], NARROWEST_SLOT) // 8                 # letters above a panel
    greens = [_shortened(name, (room - 3) // 2) for name in names[1:]]
    names = [_shortened(marker_name(names[0], palette), room - 3 - max(map(len, greens), default=0)), *greens]
    red, greens, merges = _panels(stack, names, palette)
    shining, legend = shining_greens(len(stack), palette), []
    if len(stack) <= 2:
        rows = [_row(red + greens + merges, scale)]
    else:
        everything = [("all factors, where each stands out", composite(stack[shining]))] if shining else []
        rows = [_row(red + everything, 2 * scale), *_rows_of_greens(greens, merges, scale)]
        legend = list(zip([names[k] for k in shining], hues(len(shining)), strict=True))
    axes = draw_panels(rows, legend, _heading(heading, shrink), figure)
    scale_bar(axes[0], stack.shape[2], pixel_size_um and pixel_size_um * shrink, shrink)
    return axes[0].figure


def picture_figure(picture: np.ndarray, heading: Heading = NO_HEADING, figure: Any = None) -> Any:
    """Matplotlib figure of one picture, magnified by a whole number."""
    channels, shrink = _shrunk(np.moveaxis(picture, -1, 0), LARGEST_PICTURE)
    picture = np.moveaxis(channels, 0, -1).astype("uint8")
    scale = max(1, 2 * PANEL // max(picture.shape[:2]))
    return draw_panels([_row([("", picture)], scale)], [], _heading(heading, shrink), figure)[0].figure


def write_figure(path: str | Path, figure: Any, notes: dict[str, str] | None = None) -> None:
    """Write a Matplotlib figure as a PNG file, pixel for pixel, with `notes` ({keyword: text}) in it."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, facecolor=figure.get_facecolor(), metadata=notes)


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
    image = np.moveaxis(stack, 0, -1)
    several = range(1, len(stack))
    return ([(names[0], _pair(image, 1, palette, (1, 0)))],
            [(names[k], _pair(image, k, palette, (0, 1))) for k in several],
            [(f"{names[0]} + {names[k]}", _pair(image, k, palette)) for k in several])


def shining_greens(channels: int, palette: Palette) -> list[int]:
    """Positions of the greens among the channels that a `composite` shows: no transmitted light, two or more."""
    greens = [k for k in range(1, channels) if k not in (palette.transmitted or ())]
    return greens if len(greens) > 1 else []


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
    name = one_line(name)
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


def _heading(heading, shrink):
    """A Heading that also states the reduction."""
    return heading if shrink == 1 else heading._replace(
        file=f"{heading.file} (shown at 1/{shrink} of its size)".strip())


# ---------------------------------------------------------------------------------------------- curves of a training

def loss_curves(path: str | Path, log: str | Path) -> None:
    """Plot the losses of the CSV file `log` against the iteration, and write the PNG file `path`.

    Thin lines show each iteration, thick ones the running mean over a fiftieth of the training. Scores on held-out
    images, if there are any, are points; the distance has a logarithmic axis if it is positive. Each panel states what
    its values mean, for which the name of the log, log.<architecture>.<algorithm>.<greens>.csv, gives the algorithm.
    Incomplete rows (a job was killed while it wrote) are ignored. Raises InputError if no losses can be read.
    """
    from matplotlib.figure import Figure

    iterations, losses = read_losses(log)
    columns = 1 if len(losses) <= 3 else 2
    lines = math.ceil(len(losses) / columns)
    figure = Figure(figsize=(8 * columns, max(4, 2.9 * lines + 0.6)), dpi=DPI, layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, squeeze=False)
    for axes, (name, values) in zip(panels.flat, losses.items(), strict=False):      # the last panel may stay empty
        axes.set_ylabel(name.replace("held_out", "held-out").replace("_", " "), **PLAIN)
        axes.set_title(_meaning(name, Path(log)), fontsize=9, loc="left")
        axes.grid(alpha=0.3)
        if name.endswith("_loss"):
            axes.plot(iterations, values, color="#9ecae1", linewidth=0.6, label="each iteration")
            axes.plot(iterations, _smooth(values), color="#08519c", linewidth=1.8, label="running mean")
            _limit(axes, values)
        else:
            _plot_scores(axes, iterations, values, name.endswith("_distance"))
    for axes in panels.flat[len(losses):]:
        axes.set_axis_off()
    for axes in panels[-1]:
        axes.set_xlabel("iteration (generator updates)")
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=9)
    write_figure(path, figure)


# {(column of the log, algorithm, "" for all others): what its values mean}
_CHANCE = "chance level 1.39 (2 ln 2): the discriminator can't distinguish; near 0: it wins"
_NO_SCALE = "no scale of its own: neither higher nor lower is better"
MEANINGS = {
    ("critic_loss", "GAN"): _CHANCE,
    ("critic_loss", "R1"): f"{_CHANCE} (plus the penalty)",
    ("critic_loss", "WGAN"): "minus the estimated distance of generated from real images: nearer to 0 is better",
    ("critic_loss", "WGAN-GP"): "about minus the distance of generated from real images: nearer to 0 is better",
    ("critic_loss", "hinge"): "2: the critic can't distinguish; near 0: it wins",
    ("critic_loss", "RpGAN"): "0.69 (ln 2): the critic can't distinguish; near 0: it wins (plus the penalty)",
    ("critic_loss", ""): "the critic against the generator: falls when the critic wins",
    ("generator_loss", "GAN"): "0.69 (ln 2): the discriminator can't distinguish; high: it wins",
    ("generator_loss", "R1"): "0.69 (ln 2): the discriminator can't distinguish; high: it wins",
    ("generator_loss", "RpGAN"): "0.69 (ln 2): the critic can't distinguish; high: it wins",
    ("generator_loss", "WGAN"): _NO_SCALE,
    ("generator_loss", "WGAN-GP"): _NO_SCALE,
    ("generator_loss", "hinge"): _NO_SCALE,
    ("generator_loss", ""): "the generator against the critic: rises when the critic wins",
    ("held_out_distance", ""): "distance to held-out images: lower is better, about 0 is best",
    ("critic_overfitting", ""): "lower is better: 0 learns what images have in common, 1 memorises them",
}


def _meaning(column, log):
    """What the values in a column of the file `log` mean, in a few words."""
    architecture, algorithm = ["", "", *log.name.split(".")][-4:-2]
    codes = " (plus the loss of the codes)" if architecture == "InfoGAN" and column.endswith("_loss") else ""
    meaning = MEANINGS.get((column, algorithm)) or MEANINGS.get((column, ""), "")
    return meaning + codes if meaning else ""


MOST_TIMES = 100                        # largest distance that is shown, as a multiple of those in the second half
AROUND_0 = 0.01                         # distances below it are chance: there the axis is linear
OVERFITTING = -1.0, 2.0                 # a ratio, which is random while its denominator is near 0


def _plot_scores(axes, iterations, values, is_distance):
    """Plot scores as points. A few wild ones, such as distances early in the training, do not squash the others."""
    known = np.isfinite(values)
    iterations, values = iterations[known], values[known]
    axes.plot(iterations, values, "o-", color="#08519c", markersize=4, linewidth=1)
    low, high = OVERFITTING
    if is_distance:
        scale: dict[str, Any] = {"value": "log"} if (values > 0).all() else {"value": "symlog", "linthresh": AROUND_0}
        axes.set_yscale(**scale)
        low, high = -np.inf, MOST_TIMES * np.abs(values[len(values) // 2:]).max()
    outside = np.sum((values < low) | (values > high))
    if outside:
        axes.set_ylim(bottom=low if values.min() < low else None, top=high if values.max() > high else None)
        if values.max() > high and axes.get_yscale() == "linear":
            lowest = values[values <= high].min(initial=high)
            axes.set_ylim(bottom=max(low, lowest - 0.1 * (high - lowest)) if lowest < high else low)
        _remark(axes, f"{outside} of {len(values)} values lie outside this panel; all range from {values.min():.3g} to "
                      f"{values.max():.3g}")


def _remark(axes, text):
    """Write a remark into the upper right corner of a panel."""
    axes.text(0.99, 0.95, text, transform=axes.transAxes, ha="right", va="top", fontsize=8,
              bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1})


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
        _remark(axes, f"{outside:.1%} of the iterations lie outside this panel")
