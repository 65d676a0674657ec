#!/usr/bin/env python3
"""Draw the channels of a cell from a stack of predict.py or an image file."""

if not __package__:                     # a copy of this folder, run as `python visualize.py`
    import launch
    launch.run_copy(__file__)

import argparse
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..system import hdf5, launch, seal
from ..system.arguments import Parser
from ..system.errors import InputError
from ..system.pixels import to_unit, unit_to_bytes
from .options import add_palette

IMAGE_FORMATS = ("PNG", "TIFF", "JPEG", "BMP", "GIF", "PPM")    # not EPS: Pillow would run Ghostscript on it
LARGEST_STACK = 2 ** 36                 # bytes; a file may claim any shape without containing it
LARGEST_READ = 2 ** 26                  # numbers in the cells that are drawn, pixels in an image
MOST_CHANNELS = 25
MOST_CELLS = 256


class Drawing(NamedTuple):
    """The content of a file, ready to be drawn.

    cells           float32 (cells, height, width, channels) in [0, 1]
    names           names of the channels, the red marker first; empty for R, G, B of an ordinary picture
    pixel_size_um   side of a pixel in micrometres, None if unknown
    remarks         lines about the file, for --verbose
    """

    cells: np.ndarray
    names: list[str]
    pixel_size_um: float | None
    remarks: list[str]


def parser() -> Parser:
    """The command line."""
    command = Parser(prog="visualize.py", description=__doc__, epilog=(
        "Opens a window if there is a screen; otherwise writes a PNG file to the folder images.\n\n"
        "examples:\n"
        "  visualize.py -i images/stack7.DCGAN-starshaped.WGAN-GP.h5\n"
        "      the red marker, each factor, their merges, and all factors in one picture\n"
        "  visualize.py -i images/stack7.DCGAN-starshaped.WGAN-GP.h5 -n 8 -o cells.png\n"
        "      eight cells, one per row, as a file\n"
        "  visualize.py -i data/LIN_Normalized_WT_size-48-80_test/Alp14/cell1006.png --pixel_size 0.1\n"
        "      a real cell, with a scale bar in micrometres"))
    command.add_argument("-i", "--input_file", metavar="FILE", required=True,
                         help="file to visualize, required: an image stack in HDF5 format (from predict.py), or an "
                              "image (PNG, TIFF, JPEG, ...)")
    command.add_argument("-o", "--output", metavar="FILE.png", help="write the picture to this file (too)")
    command.add_argument("-n", "--cells", metavar="N", type=int, default=1,
                         help="number of cells of a stack to draw; default=1")
    command.add_argument("--first", metavar="INDEX", type=int, default=0,
                         help="the first cell of a stack to draw, counted from 0; default=0")
    add_palette(command)
    command.add_argument("--pixel_size", metavar="UM", type=float,
                         help="size of a pixel in micrometres, for the scale bar; default: as stated in the file")
    command.add_argument("-v", "--verbose", action="store_true", help="print what the file contains")
    return command


def visualize(options: argparse.Namespace) -> None:
    """Draw a file in a window, to a PNG file, or both. Raises InputError."""
    source = Path(options.input_file)
    _check_options(options)
    output = _output(source, options.output)
    drawing = read_drawing(source, options.first, options.cells)
    if options.verbose:
        print("\n".join(drawing.remarks))
    window = new_window()
    figure = draw_figure(drawing, source, options, window)
    if options.output or window is None:
        from .figures import write_figure

        write_figure(output, figure)
        print(f"Output picture to file: {output}")
    if window is not None:
        from matplotlib import pyplot

        pyplot.show()


def draw_figure(drawing: Drawing, source: Path, options: argparse.Namespace, figure: Any = None) -> Any:
    """The Matplotlib figure of a drawing from the file `source`; drawn on `figure`, or on a new one."""
    from . import figures

    cells, names = drawing.cells, drawing.names
    palette, pixel_size_um = options.palette, options.pixel_size or drawing.pixel_size_um
    if not names:
        return figures.picture_figure(unit_to_bytes(cells[0]), source.name, figure)
    last = options.first + len(cells) - 1
    if len(cells) > 1:
        picture = figures.sample_picture(2 * cells - 1, names[1:], palette=palette)
        return figures.picture_figure(picture, f"{source.name}, cells {options.first} to {last}", figure)
    title = f"{source.name}, cell {last}" if is_hdf5(source) else source.name
    return figures.cell_figure(cells[0].transpose(2, 0, 1), names, pixel_size_um, palette, title, figure)


def new_window() -> Any:
    """A new Matplotlib figure in a window, or None without a screen."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return None
    try:
        from matplotlib import pyplot

        figure = pyplot.figure()
    except Exception:                   # each toolkit fails in its own way; a picture in a file is always possible
        return None
    if figure.canvas.required_interactive_framework is None:
        pyplot.close(figure)
        return None
    return figure


def _check_options(options):
    if options.first < 0:
        raise InputError(f"--first {options.first}: cells are counted from 0")
    if not 1 <= options.cells <= MOST_CELLS:
        raise InputError(f"-n {options.cells}: choose 1 to {MOST_CELLS} cells")
    if options.pixel_size is not None and not _is_pixel_size(options.pixel_size):
        raise InputError(f"--pixel_size {options.pixel_size}: give the size of a pixel in micrometres, such as 0.1")


def _output(source, wanted):
    """Path of the PNG file to write, which is never `source`."""
    if wanted is None:
        return Path("images") / f"{source.stem}{'' if is_hdf5(source) else '.channels'}.png"
    output = Path(wanted)
    if output.suffix.lower() != ".png":
        raise InputError(f"{output}: a PNG file is written: give a name that ends in .png")
    if output.is_dir():
        raise InputError(f"{output}: this is a folder: give the name of a file in it, such as {output}/cell.png")
    if output.exists() and output.samefile(source):
        raise InputError(f"{output}: this is the input file: give another name with -o")
    return output


def is_hdf5(source: Path) -> bool:
    """Whether the file `source` is HDF5, according to its first bytes. Raises InputError if there is no such file."""
    if not source.exists():
        raise InputError(f"{source}: no such file: list those that predict.py has written with `ls images`")
    if not source.is_file():
        kind = "a folder" if source.is_dir() else "not an ordinary file"
        raise InputError(f"{source}: this is {kind}: give an image stack (.h5) or an image file")
    with open(source, "rb") as file:
        return file.read(len(seal.SIGNATURE)) == seal.SIGNATURE


def read_drawing(source: Path, first: int = 0, count: int = 1) -> Drawing:
    """Read `count` cells, from the cell `first` on, from a stack or an image file.

    Nothing in the file is run or unpickled, and links to other files are not followed. Raises InputError if the file is
    damaged, too large or of another kind.
    """
    if is_hdf5(source):
        return _read_stack(source, first, count)
    if source.suffix.lower() in (".h5", ".hdf5"):
        raise InputError(f"{source}: this is not an HDF5 file, or it is damaged: write it again with predict.py")
    if first or count > 1:
        raise InputError(f"{source}: an image file holds one cell: leave out --first and -n")
    return _read_image(source)


# ---------------------------------------------------------------------------------------------- HDF5 stacks

def _read_stack(source, first, count):
    """The Drawing of an HDF5 stack."""
    try:
        with hdf5.opened(source) as file:
            dataset = _stack_of(file, source)
            _check_stack(dataset, source, first, count)
            attributes = {name: _attribute(dataset, name) for name in dataset.attrs}
            values = dataset[first:first + count]
            shape, kind = dataset.shape, dataset.dtype
    except InputError:
        raise
    except Exception as problem:        # h5py raises OSError, RuntimeError, KeyError, ... on a damaged file
        raise InputError(f"{source}: this HDF5 file is damaged or incomplete ({_brief(problem)}): write it again with "
                         "predict.py") from None
    remarks = [f"{source}: HDF5 stack of {shape[0]} cells, {shape[1]} x {shape[2]} pixels, {shape[3]} channels, {kind}",
               f"values of the cells drawn: {values.min():g} to {values.max():g}",
               *(f"{_brief(name)}: {_brief(value)}" for name, value in attributes.items())]
    cells = _scaled(values, attributes.get("value_range"), source)
    return Drawing(cells, _names(attributes.get("channel_names"), shape[3]),
                   _pixel_size(attributes.get("pixel_size_um")), remarks)


def _stack_of(file, source):
    """The dataset `stack` of an open HDF5 file, if it is stored in this file itself. Raises InputError if not."""
    import h5py

    link = file.get("stack", getlink=True)                  # `"stack" in file` would open the file that a link names
    if link is None:
        marks = {*file.keys(), *file.attrs.keys()}
        if source.name.startswith(("weights.", "model.")) or marks & {"layers", "layer_names", "model_weights",
                                                                      "keras_version"}:
            raise InputError(f"{source}: this is a weights file: generate cells from it with predict.py -i {source} "
                             "first")
        raise InputError(f"{source}: no dataset named stack in this file: give one that predict.py wrote")
    if not isinstance(link, h5py.HardLink):
        raise InputError(f"{source}: its stack is a link, which is not followed: give the file that contains the data")
    dataset = file["stack"]
    if not isinstance(dataset, h5py.Dataset):
        raise InputError(f"{source}: its stack is not a dataset: give a file that predict.py wrote")
    if dataset.external or dataset.is_virtual:
        raise InputError(f"{source}: its stack is stored in other files, which are not opened: give a file that "
                         "predict.py wrote")
    return dataset


def _check_stack(dataset, source, first, count):
    """Raise InputError if the shape and type that the file states for its stack can't be read safely."""
    shape, kind = dataset.shape, dataset.dtype
    if shape is None or len(shape) != 4:
        raise InputError(f"{source}: its stack has {len(shape or ())} dimensions, but 4 are needed: cells, "
                         "height, width, channels")
    if not (kind.kind == "f" or kind == "uint8"):
        raise InputError(f"{source}: its stack holds {kind}, but float32 from 0 to 1 or uint8 is needed")
    if 0 in shape:
        raise InputError(f"{source}: its stack is empty {shape}: generate cells with predict.py")
    if shape[3] > MOST_CHANNELS:
        raise InputError(f"{source}: its stack has {shape[3]} channels, at most {MOST_CHANNELS} can be drawn: the "
                         "shape must be cells, height, width, channels")
    size, chunk = math.prod(shape) * kind.itemsize, math.prod(dataset.chunks or (1,)) * kind.itemsize
    if size > LARGEST_STACK or chunk > 8 * LARGEST_READ:
        raise InputError(f"{source}: its stack claims {max(size, chunk) / 2**30:.0f} GiB {shape}, which is not read: "
                         "generate fewer cells per file with predict.py")
    if first + count > shape[0]:
        raise InputError(f"{source}: cells {first} to {first + count - 1} are asked for, but it has {shape[0]}, "
                         "counted from 0: choose others with --first and -n")
    if math.prod(shape[1:]) * count > LARGEST_READ:
        raise InputError(f"{source}: {count} cells of {shape[1]} x {shape[2]} pixels, {shape[3]} channels, are too "
                         "much for a picture: draw fewer with -n, or smaller ones")


def _attribute(dataset, name):
    """An attribute, or None if it can't be read: a picture does not depend on it."""
    try:
        return dataset.attrs[name]
    except Exception:
        return None


def _scaled(values, value_range, source):
    """`values` as float32 in [0, 1]. uint8 covers 0 to 255; floats lie in `value_range`, by default [0, 1]."""
    if values.dtype == np.uint8:
        return to_unit(values)
    if not np.isfinite(values).all():
        raise InputError(f"{source}: {np.sum(~np.isfinite(values))} values are NaN or infinite: the training probably "
                         "diverged: generate cells from an earlier checkpoint")
    low, high = _range(value_range)
    if values.min() < low - 0.001 * (high - low) or values.max() > high + 0.001 * (high - low):
        raise InputError(f"{source}: values from {values.min():g} to {values.max():g}, but they should lie in {low:g} "
                         f"to {high:g}: set the attribute value_range of the stack")
    return np.clip((values.astype("float32") - low) / (high - low), 0, 1)


def _range(value_range):
    """(low, high) from the attribute if it is a valid range, otherwise (0, 1)."""
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        return 0.0, 1.0
    return (low, high) if math.isfinite(high - low) and low < high else (0.0, 1.0)


def _names(channel_names, count):
    """`count` names of channels from the attribute if it has as many, otherwise red and numbered greens."""
    names = [] if channel_names is None else list(np.atleast_1d(channel_names))
    if len(names) == count:
        return [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names]
    if count <= 2:
        return ["gray"] if count == 1 else ["red", "green"]
    return ["red", *(f"green {k}" for k in range(1, count))]


def _pixel_size(value):
    """The attribute pixel_size_um as a float, or None if it is not a valid size."""
    try:
        size = float(value)
    except (TypeError, ValueError):
        return None
    return size if _is_pixel_size(size) else None


def _is_pixel_size(value):
    return 1e-6 <= value <= 1e6


def _brief(value):
    """`value` as one printable line of at most 160 characters."""
    line = " ".join(value.split() if isinstance(value, str) else str(value).split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= 160 else line[:157] + "..."


# ---------------------------------------------------------------------------------------------- image files

def _read_image(source):
    """The Drawing of an image file."""
    from PIL import Image

    from ..system.image_files import read_pixel_size_um
    from ..system.lazy import silenced_standard_error

    try:
        with warnings.catch_warnings(), silenced_standard_error():          # libtiff writes to it past Python
            warnings.simplefilter("ignore")             # Pillow's remarks on odd metadata; sizes are checked here
            with Image.open(source, formats=IMAGE_FORMATS) as image:
                if image.width * image.height > LARGEST_READ:
                    raise InputError(f"{source}: {image.width} x {image.height} pixels are too many for a picture: "
                                     "crop cells first")
                pages = _pages(image)
                how = f"{image.format}, mode {image.mode}, {getattr(image, 'n_frames', 1)} page(s)"
    except InputError:
        raise
    except Exception as problem:        # each decoder of Pillow fails in its own way on a damaged file
        reason = _brief(problem).replace(str(source), "the file")
        raise InputError(f"{source}: can't be read as an image ({reason}): it is damaged or of another kind: give an "
                         "HDF5 stack, or an image as PNG, TIFF or JPEG") from None
    low, high = min(page.min() for page in pages), max(page.max() for page in pages)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{source}: some pixels are NaN or infinite: give an image of ordinary numbers")
    cell, names, choice = _channels(pages)
    remarks = [f"{source}: {how}, {cell.shape[0]} x {cell.shape[1]} pixels", f"values: {low:g} to {high:g}", choice]
    return Drawing(cell[None].astype("float32"), names, read_pixel_size_um(source), remarks)


def _pages(image):
    """Arrays of an image's pages: all of a TIFF with 2 to 4 gray pages of one size, otherwise the first."""
    count = getattr(image, "n_frames", 1)
    pages: list[np.ndarray] = []
    kinds = set()
    for index in range(count if image.format == "TIFF" and 2 <= count <= 4 else 1):
        image.seek(index)
        kinds.add((image.size, image.mode))
        if len(kinds) > 1:
            return pages[:1]
        pages.append(_pixels(image))
    return pages if pages[0].ndim == 2 else pages[:1]


def _pixels(image):
    """Pixels of one page: uint8 (height, width) or (height, width, 3), or numbers (height, width) of any range."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image)
    return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))


def _channels(pages: Sequence[np.ndarray]) -> tuple[np.ndarray, list[str], str]:
    """(image (height, width, channels) in [0, 1], names of its channels, a remark on the choice of channels)."""
    if len(pages) > 1:
        names = ["red", "green"] if len(pages) == 2 else [f"page {k}" for k in range(1, len(pages) + 1)]
        return np.stack([_to_one(page) for page in pages], axis=-1), names, f"drawn: the {len(pages)} pages as channels"
    page = _to_one(pages[0])
    if page.ndim == 2:
        return page[..., None], ["gray"], "drawn: the (first) page, gray"
    red, green, blue = np.moveaxis(page, -1, 0)
    if (red == green).all() and (red == blue).all():
        return page[..., :1], ["gray"], "drawn: gray, as R, G and B are the same"
    if not blue.any():
        return page[..., :2], ["red", "green"], "drawn: R and G as the red marker and the green factor, as B is empty"
    return page, [], "drawn: an ordinary RGB picture, as B is not empty"


def _to_one(page):
    """A page scaled to [0, 1]: 8-bit values by 255, others by their largest value, after shifting negatives to 0."""
    if page.dtype == np.uint8:
        return to_unit(page)
    page = page.astype("float64")
    page -= min(page.min(), 0)
    return (page / (page.max() or 1)).astype("float32")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return launch.run(visualize, parser().parse_args(arguments))
