"""Read cells for a picture from stacks, OME-TIFFs, folders and image files, and refuse other files by name."""

import contextlib
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..system import hdf5, seal
from ..system.captions import brief, origin_of_cells, origin_of_image, read_note, which_cells
from ..system.errors import InputError
from ..system.lazy import silenced_standard_error
from ..system.pixels import to_unit
from . import stacks
from .image_files import as_numbers, decoding, open_image
from .intensities import Survey
from .ome_zarr import read_ome_zarr

REMEDY = "it is damaged or of another kind: give an HDF5 stack, or an image as PNG, TIFF or JPEG"
SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")   # of images in folders
LARGEST_STACK = 2 ** 36                 # bytes; a file may claim any shape without containing it
MOST_ENTRIES = 10000                    # of a folder, in which an example is looked for


class Drawing(NamedTuple):
    """The content of a file or folder, ready to be drawn.

    cells           float32 (cells, height, width, channels) in [0, 1]
    names           names of the channels, the red marker first; empty for R, G, B of an ordinary picture
    pixel_size_um   side of a pixel in micrometres, None if unknown
    caption         the origin of the cells, and which ones of how many these are
    remarks         lines about the file, for --verbose
    """

    cells: np.ndarray
    names: list[str]
    pixel_size_um: float | None
    caption: str
    remarks: list[str]


def read_drawing(source: Path, first: int = 0, count: int = 1) -> Drawing:
    """Read `count` cells, from position `first` on, of an output of predict.py or an image file.

    Nothing in the file is run or unpickled, and links to other files are not followed. Raises InputError if the file is
    damaged, too large or of another kind.
    """
    if source.is_dir():
        for kind, read in (("folder of PNG images", stacks.read_folder), ("OME-Zarr", read_ome_zarr)):
            if (excerpt := read(source, first, count)) is not None:
                return _drawing_of(source, kind, excerpt, first)
        raise InputError(_about_folder(source))
    if is_hdf5(source):
        return _read_stack(source, first, count)
    if source.suffix.lower() in (".h5", ".hdf5"):
        raise InputError(f"{source}: this is not an HDF5 file, or it is damaged: write it again with predict.py")
    with open(source, "rb") as file:
        start = file.read(4096)
    excerpt = stacks.read_pages(source, first, count) if start[:2] in (b"II", b"MM") else None
    if excerpt is not None:
        return _drawing_of(source, "OME-TIFF", excerpt, first)
    if _is_text(start):
        raise InputError(f"{source}: this is a text file: give an image stack (.h5), or an image as PNG, TIFF or JPEG")
    if first or count > 1:
        raise InputError(f"{source}: an image file holds one cell: leave out --first and -n")
    return _read_image(source)


def _origin_of_missing(source):
    """Which command would write the missing stack `source`: one that names a generator in the folder checkpoints."""
    named = re.fullmatch(r"stack\d+\.(.+)\.(h5|ome\.tif|ome\.zarr)", source.name)
    found = sorted(Path("checkpoints").glob(f"weights.generator.{named[1]}.*.h5")) if named else []
    if found:
        return f"write it with predict.py -i {found[0]}"
    return "`ls images` lists those that predict.py has written"


def is_hdf5(source: Path) -> bool:
    """Whether the file `source` is HDF5, according to its first bytes. Raises InputError if there is no such file."""
    if not source.exists():
        raise InputError(f"{source}: no such file: {_origin_of_missing(source)}")
    if not source.is_file():
        kind = "a folder" if source.is_dir() else "not an ordinary file"
        raise InputError(f"{source}: this is {kind}: give an image stack (.h5) or an image file")
    with open(source, "rb") as file:
        return file.read(len(seal.SIGNATURE)) == seal.SIGNATURE


def is_pixel_size(value: float) -> bool:
    """Whether this is a possible size of a pixel in micrometres."""
    return 1e-6 <= value <= 1e6


def _drawing_of(source, kind, excerpt, first):
    """The Drawing of an Excerpt of our own OME-TIFFs and folders."""
    attributes = excerpt.attributes
    count, height, width, channels = excerpt.cells.shape
    remarks = [str(source), f"{kind} of {excerpt.number} cells, {height} x {width} pixels, {channels} channels",
               *_attribute_lines(attributes)]
    return Drawing(excerpt.cells, _names(attributes.get("channel_names"), channels),
                   _pixel_size(attributes.get("pixel_size_um")),
                   _caption(attributes, "cells of unknown origin", (first, count, excerpt.number)), remarks)


def _caption(attributes, otherwise, place):
    """The origin of cells and their place (first, count, number) among those of their file."""
    origin = origin_of_cells(attributes) or otherwise
    return f"{origin}, {which_cells(*place)}" if place[2] > 1 else origin


def _attribute_lines(attributes):
    return [f"{brief(name)}: {brief(_plain(value))}" for name, value in attributes.items()]


def _plain(value):
    """`value` as text; the names of an array are joined by commas."""
    return ", ".join(map(str, value)) if isinstance(value, (list, np.ndarray)) else str(value)


# ---------------------------------------------------------------------------------------------- what else was given

def _about_folder(folder):
    """What a folder is that holds no generated cells, and what to give instead."""
    from .folders import split_of

    if read_note(folder.parent) is not None:
        return (f"{folder}: this folder has one factor of generated cells: give the folder around it, {folder.parent}, "
                f"for all factors of a cell, or one image in it")
    files = [path for path in itertools.islice(folder.iterdir(), MOST_ENTRIES) if not path.name.startswith(".")]
    is_data = any(path.is_dir() and split_of(path) for path in files)
    stack = min((path for path in files if path.suffix == ".h5" and _network_named(path.name) is None), default=None)
    image = min((path for path in files if path.suffix.lower() in SUFFIXES), default=None)
    if not is_data and (found := stack or image):
        return f"{folder}: this is a folder: give one of its files, such as {found}"
    inside = itertools.chain(*(itertools.islice(folder.glob(pattern), MOST_ENTRIES) for pattern in ("*/*", "*/*/*")))
    if image := next((path for path in inside if path.suffix.lower() in SUFFIXES), None):
        return (f"{folder}: this is a data folder, whose images show different cells: give one of them, such as "
                f"{image}, or a folder that predict.py --format png has written")
    return f"{folder}: this is a folder without images: give an image stack (.h5) or an image file"


def _is_text(start):
    """Whether the first bytes of a file are those of a text, and no image in the text formats of PPM."""
    try:
        text = start.decode()
    except UnicodeDecodeError as problem:
        if problem.start < len(start) - 4:          # otherwise a character is cut
            return False
        text = start[:problem.start].decode()
    return bool(text) and all(letter.isprintable() or letter.isspace() for letter in text) and not (
        text[:1] == "P" and text[1:2] in "123456" and text[2:3].isspace())


def _about_hdf5(file, source):
    """What an open HDF5 file without a stack is, and what to give instead."""
    marks = {*file.keys(), *file.attrs.keys()}
    holds = _network_in(file) or _network_named(source.name)
    if holds in ("critic", "discriminator", "recognizer"):
        return (f"{source}: this file has the weights of a {holds}, which generates nothing: give a stack that "
                f"predict.py wrote")
    if holds or marks & {"layers", "layer_names", "model_weights", "keras_version"}:
        return f"{source}: this is a weights file: generate cells from it with predict.py -i {source} first"
    arrays = brief(", ".join(sorted(map(str, file.keys()))) or "nothing", 80)
    return (f"{source}: no dataset named stack in this file, which holds {arrays}: give one that predict.py wrote, or "
            f"name yours stack, with the axes cells, height, width, channels")


def _network_in(file):
    """The network that the description of a weights file names: "generator", "critic", …; None without one."""
    try:
        description = json.loads(hdf5.text_attribute(file, "biogans"))
        return str(description.get("holds") or "training state").split()[0]
    except Exception:                   # no description, or a damaged one
        return None


def _network_named(name):
    """The network that the name of a weights file contains, None if it is no such name."""
    kind, _, rest = name.partition(".")
    return rest.partition(".")[0].partition("[")[0] if kind in ("weights", "model") else None


# ---------------------------------------------------------------------------------------------- HDF5 stacks

class OpenStack(NamedTuple):
    """An open HDF5 stack, of which no cell has been read.

    dataset         h5py.Dataset (cells, height, width, channels), float or uint8; dataset.file is open until it is
                    closed or no longer used
    names           names of the channels, the red marker first
    limits          (smallest, largest) value that a pixel can have
    pixel_size_um   side of a pixel in micrometres, None if unknown
    attributes      all attributes of the stack
    """

    dataset: Any
    names: list[str]
    limits: tuple[float, float]
    pixel_size_um: float | None
    attributes: dict[str, Any]


def open_stack(source: Path, most_digested: float = math.inf) -> OpenStack:
    """Open an HDF5 stack, in which nothing is unpickled and no link is followed.

    most_digested   bytes; see seal.find_corruption
    Raises hdf5.Damaged if the file is damaged, InputError if it is of another kind.
    """
    with _damage_reported(source), contextlib.ExitStack() as closing:
        dataset = _stack_of(closing.enter_context(hdf5.opened(source, most_digested)), source)
        _check_stack(dataset, source, 0, 1)
        attributes = {name: _attribute(dataset, name) for name in dataset.attrs}
        limits = (0.0, 255.0) if dataset.dtype == np.uint8 else _range(attributes.get("value_range"))
        closing.pop_all()
        return OpenStack(dataset, _names(attributes.get("channel_names"), dataset.shape[3]), limits,
                         _pixel_size(attributes.get("pixel_size_um")), attributes)


@contextlib.contextmanager
def _damage_reported(source):
    """Raise hdf5.Damaged for whatever h5py raises on a damaged file: OSError, RuntimeError, KeyError, …"""
    try:
        yield
    except InputError:
        raise
    except Exception as problem:
        raise hdf5.Damaged(f"{source}: this HDF5 file is damaged or incomplete ({brief(problem)})",
                           "write it again with predict.py") from None


def _read_stack(source, first, count):
    """The Drawing of an HDF5 stack."""
    with _damage_reported(source):
        stack = open_stack(source)
        with stack.dataset.file:
            _check_stack(stack.dataset, source, first, count)
            values = stack.dataset[first:first + count]
            shape, kind = stack.dataset.shape, stack.dataset.dtype
    remarks = [str(source),
               f"HDF5 stack of {shape[0]} cells, {shape[1]} x {shape[2]} pixels, {shape[3]} channels, {kind}",
               f"values of the cells drawn: {values.min():g} to {values.max():g}", *_attribute_lines(stack.attributes)]
    return Drawing(_scaled(values, stack.attributes.get("value_range"), source), stack.names, stack.pixel_size_um,
                   _caption(stack.attributes, "stack of unknown origin", (first, count, shape[0])), remarks)


def _stack_of(file, source):
    """The dataset `stack` of an open HDF5 file, if it is stored in this file itself. Raises InputError if not."""
    import h5py

    link = file.get("stack", getlink=True)                  # `"stack" in file` would open the file that a link names
    if link is None:
        raise InputError(_about_hdf5(file, source))
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
    size, chunk = math.prod(shape) * kind.itemsize, math.prod(dataset.chunks or (1,)) * kind.itemsize
    if size > LARGEST_STACK or chunk > 8 * stacks.LARGEST_READ:
        raise InputError(f"{source}: its stack claims {max(size, chunk) / 2**30:.0f} GiB {shape}, which is not read: "
                         "generate fewer cells per file with predict.py")
    stacks.check_choice(source, first, count, shape[0])
    stacks.check_amount(source, count, shape[1:])


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
    return size if is_pixel_size(size) else None


# ---------------------------------------------------------------------------------------------- image files

def _read_image(source):
    """The Drawing of an image file."""
    # Libraries write to standard error past Python.
    with decoding(source, REMEDY), silenced_standard_error(), contextlib.closing(open_image(source)) as file:
        height, width = file.size("Y"), file.size("X")
        if height * width > stacks.LARGEST_READ:
            raise InputError(f"{source}: {width} x {height} pixels are too many for a picture: crop cells first")
        frame = as_numbers(file.image({}))
    pixels, choice = _drawable(frame)
    names, drawn = _names_of_colours(pixels, bool(file.size("C") > 1))
    remarks = [str(source), f"{height} x {width} pixels, {frame.shape[-1]} channel(s), {frame.dtype}",
               f"values: {frame.min():g} to {frame.max():g}{choice}", *file.notes, drawn]
    return Drawing(pixels[None, ..., :len(names) or 3], names, file.pixel_size_um,
                   origin_of_image(source) or "image file", remarks)


def _drawable(frame):
    """(frame (height, width, channels) in [0, 1], how): 8 bits by 255, others by the rule for sets."""
    if frame.dtype == np.uint8:
        return to_unit(frame), ""
    survey = Survey()
    survey.add(frame[None])
    found: Any = survey.result()
    pixels = np.stack([found.to_bytes(frame[..., k], k) for k in range(frame.shape[-1])], axis=-1)
    ranges = ", ".join(f"{low:g} to {high:g}" for low, high in zip(found.black, found.white, strict=True))
    return to_unit(pixels), f", drawn from black to white: {ranges}"


def _names_of_colours(pixels, are_stated: bool) -> tuple[list[str], str]:
    """(names of the channels to draw, none for an ordinary picture; a remark on the choice).

    are_stated   whether the channels are those of a microscope, not the colours of a picture
    """
    channels = np.moveaxis(pixels, -1, 0)
    if len(channels) == 1 or len(channels) == 2 and not are_stated and channels[1].min() == channels[1].max():
        return ["gray"], "drawn: gray"
    if are_stated and len(channels) > 2:
        return [f"channel {k}" for k in range(1, len(channels) + 1)], f"drawn: the {len(channels)} channels"
    if len(channels) == 2:
        return ["red", "green"], "drawn: two channels, as the red marker and the green factor"
    red, green, blue = channels[:3]
    if (red == green).all() and (red == blue).all():
        return ["gray"], "drawn: gray, as R, G and B are the same"
    if not blue.any():
        return ["red", "green"], "drawn: R and G as the red marker and the green factor, as B is empty"
    return [], "drawn: an ordinary RGB picture, as B is not empty, unless a channel is transmitted light"
