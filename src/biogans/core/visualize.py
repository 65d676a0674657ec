#!/usr/bin/env python3
"""Draw the channels of a cell from the output of predict.py or an image file."""

if not __package__:                     # a copy of this folder, run as `python visualize.py`
    import sys
    sys.path.insert(0, __file__.rpartition("/")[0])     # PYTHONSAFEPATH leaves it out
    import launch
    launch.run_copy(__file__)

import argparse
import hashlib
import importlib.util
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..io.drawings import Drawing, is_hdf5, is_pixel_size, read_drawing
from ..system import launch
from ..system.arguments import Parser
from ..system.captions import brief
from ..system.errors import InputError
from ..system.pixels import unit_to_bytes
from .options import add_palette, palette_of

MOST_CELLS = 256
TOOLKITS = ("_tkinter", "PyQt6", "PySide6", "PyQt5", "PySide2", "gi", "wx")     # with which Matplotlib opens windows
MARK = "biogans visualize"              # keyword in a PNG, for the digest of what it shows


def parser() -> Parser:
    """The command line."""
    command = Parser(prog="visualize.py", description=__doc__, epilog=(
        "Opens a window if there is a screen; otherwise writes a PNG file to the folder\n"
        "images. It is named after the input, with .first3 or .n8 for --first 3 or -n 8.\n"
        "If a file of this name shows something else, a number is added: -2, -3, …\n"
        "The caption states where the cells come from.\n\n"
        "examples:\n"
        "  visualize.py -i images/stack7.DCGAN-starshaped.WGAN-GP.h5\n"
        "      the red marker, each factor, their merges, and all factors in one picture\n"
        "  visualize.py -i images/stack7.DCGAN-starshaped.WGAN-GP.h5 -n 8 -o cells.png\n"
        "      eight cells, one per row, as a file\n"
        "  visualize.py -i images/stack7.DCGAN-starshaped.WGAN-GP --first 3\n"
        "      the fourth cell of the folder of predict.py --format png, with all its factors\n"
        "  visualize.py -i data/LIN_Normalized_WT_size-48-80_test/Alp14/cell1006.png --pixel_size 0.1\n"
        "      an image of the data, with a scale bar in µm"))
    command.add_argument("-i", "--input_file", metavar="FILE", required=True,
                         help="file to visualize, required: a stack, OME-TIFF, OME-Zarr or folder of PNG images that "
                              "predict.py wrote, or an image (PNG, TIFF, JPEG, ...)")
    command.add_argument("-o", "--output", metavar="FILE.png", help="write the picture to this file (too)")
    command.add_argument("-n", "--cells", metavar="N", type=int, default=1,
                         help="number of cells to draw; default=1")
    command.add_argument("--first", metavar="INDEX", type=int, default=0,
                         help="the first cell to draw, counted from 0; default=0")
    add_palette(command)
    command.add_argument("--pixel_size", metavar="µm", type=float,
                         help="size of a pixel in µm, for the scale bar; default: as stated in the file")
    command.add_argument("-v", "--verbose", action="store_true", help="print what the file contains")
    return command


def visualize(options: argparse.Namespace) -> None:
    """Draw a file in a window, to a PNG file, or both. Raises InputError."""
    source = Path(options.input_file)
    _check_options(options)
    if options.output:
        _check_output(Path(options.output), source)
    drawing = read_drawing(source, options.first, options.cells)
    if options.verbose:
        width = min(120, shutil.get_terminal_size().columns)
        for remark in drawing.remarks:
            print(textwrap.fill(remark, width, subsequent_indent="    ", break_long_words=False,
                                break_on_hyphens=False))
    window = new_window()
    if window is None and (reason := why_no_window()):
        print(f"no window: {reason}; a PNG file is written instead", file=sys.stderr)
    figure = draw_figure(drawing, source, options, window)
    if options.output or window is None:
        from .figures import write_figure

        digest = _shown_digest(source, options)
        output = Path(options.output) if options.output else output_path(source, options, digest)
        write_figure(output, figure, {"Source": drawing.caption, MARK: digest})
        print(f"Output picture to file: {output}")
    if window is not None:
        from matplotlib import pyplot

        pyplot.show()


def draw_figure(drawing: Drawing, source: Path, options: argparse.Namespace, figure: Any = None) -> Any:
    """The Matplotlib figure of a drawing from the file `source`; drawn on `figure`, or on a new one."""
    from ..system.palettes import fitted
    from ..system.panels import Heading
    from . import figures

    cells, palette = drawing.cells, fitted(palette_of(options), drawing.cells)
    names = drawing.names or (["R", "G", "B"] if palette.transmitted else [])
    heading = Heading(drawing.caption, brief("/".join(source.parts[-2:])))
    if not names:
        return figures.picture_figure(unit_to_bytes(cells[0]), heading, figure)
    if len(cells) > 1:
        picture = figures.sample_picture(2 * cells - 1, names[1:], palette=palette)
        return figures.picture_figure(picture, heading, figure)
    pixel_size_um = options.pixel_size or drawing.pixel_size_um
    return figures.cell_figure(cells[0].transpose(2, 0, 1), names, pixel_size_um, palette, heading, figure)


def new_window() -> Any:
    """A new Matplotlib figure in a window, or None without a screen."""
    if not _display():
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


def why_no_window() -> str:
    """Why no window opened although there should be a screen; "" if none was to be expected."""
    if not _display():
        return ""
    if "MPLBACKEND" in os.environ:
        return f"MPLBACKEND={os.environ['MPLBACKEND']} opens none here (unset it)"
    if not any(importlib.util.find_spec(name) for name in TOOLKITS):
        return f"{sys.executable} has no toolkit for windows (tkinter or PyQt)"
    return f"{_display()} does not answer (ssh -X connects a screen)"


def _display():
    """The variable that names a screen, with its value; "" without a screen."""
    return next((f"{name}={os.environ[name]}" for name in ("WAYLAND_DISPLAY", "DISPLAY") if os.environ.get(name)), "")


def _check_options(options):
    if options.first < 0:
        raise InputError(f"--first {options.first}: cells are counted from 0")
    if not 1 <= options.cells <= MOST_CELLS:
        raise InputError(f"-n {options.cells}: choose 1 to {MOST_CELLS} cells")
    if options.pixel_size is not None and not is_pixel_size(options.pixel_size):
        raise InputError(f"--pixel_size {options.pixel_size}: give the size of a pixel in µm, such as 0.1")


def _check_output(output, source):
    """Raise InputError if the picture can't have this name."""
    if output.suffix.lower() != ".png":
        raise InputError(f"{output}: a PNG file is written: give a name that ends in .png")
    if output.is_dir():
        raise InputError(f"{output}: this is a folder: give the name of a file in it, such as {output}/cell.png")
    if output.exists() and output.samefile(source):
        raise InputError(f"{output}: this is the input file: give another name with -o")


def output_path(source: Path, options: argparse.Namespace, digest: str) -> Path:
    """The PNG file in the folder images for a picture with this digest, after the name of the input.

    An earlier file of this name is replaced only if it shows the same cells of the same input; otherwise the name gets
    a number.
    """
    if source.is_dir():
        name = Path(os.path.abspath(source)).name.removesuffix(".ome.zarr")
    elif source.name.endswith(".ome.tif"):
        name = source.name.removesuffix(".ome.tif")
    else:
        name = source.stem if is_hdf5(source) else f"{source.stem}.channels"
    name += f".first{options.first}" * bool(options.first) + f".n{options.cells}" * (options.cells > 1)
    number, path = 1, Path("images") / f"{name}.png"
    while path.exists() and _digest_in(path) != digest:
        number += 1
        path = path.with_name(f"{name}-{number}.png")
    return path


def _shown_digest(source, options):
    """A digest of what a picture shows: the input file, relative to this folder, and its cells."""
    shown = os.path.relpath(os.path.realpath(source)), options.first, options.cells
    return hashlib.sha256(repr(shown).encode(errors="surrogateescape")).hexdigest()[:16]


def _digest_in(path):
    """The digest in a PNG that this command wrote, None for another file."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return picture.info.get(MARK)
    except Exception:                   # damaged, or no picture: not ours
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return launch.run(visualize, parser().parse_args(arguments))
