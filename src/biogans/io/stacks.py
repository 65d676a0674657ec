"""Write generated cells to an HDF5 stack, an OME-TIFF or a folder of PNGs, and resume after an interruption.

Until it is complete, output has a temporary name beside its target, and a note that records the progress. The OME-TIFFs
and folders are read here, too; drawings.py reads stacks, also foreign ones; ome_zarr.py has a further format.
"""

import abc
import contextlib
import html
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..system import captions, palettes, seal
from ..system.errors import InputError
from ..system.files import Lock, check_room, noticing_a_full_disk, replacing
from ..system.json_text import parse_json, read_json
from ..system.pixels import to_unit, unit_to_bytes
from .intensities import stored_units

NOTE_EVERY = 1024       # cells between two notes of the progress
LARGEST_READ = 2 ** 26  # numbers in the cells, or pixels in the image, that are read for a picture
MOST_CHANNELS = 25      # of a cell in a picture
SHOWN_FIRST = 2         # channels that a viewer shows when it opens a file: a sum of all factors is green everywhere


class Content(NamedTuple):
    """The content of an output.

    number       number of cells
    shape        (height, width, channels) of a cell
    nz           length of the latent vectors
    attributes   description of the output, for JSON
    factors      names of the image folders, for the format that has them
    """

    number: int
    shape: tuple[int, int, int]
    nz: int
    attributes: dict[str, Any]
    factors: tuple[str, ...] = ()


class Sink(abc.ABC):
    """A file or folder to which generated cells are written.

    suffix            ending of its name
    bytes_per_value   size of a pixel's value, at most
    announcement      the words before its name when a command has written it
    """

    suffix: str
    bytes_per_value: int
    announcement = "Output image stack to file"

    @abc.abstractmethod
    def __init__(self, path: Path, content: Content, resumes: bool = False) -> None:
        """Create the output `path` or, if it `resumes`, open the one that an interrupted command has left."""

    @classmethod
    def require(cls) -> None:
        """Raise InputError if a library that the format needs is not installed."""
        return None

    @abc.abstractmethod
    def write(self, start: int, z: np.ndarray, cells: np.ndarray) -> None:
        """Write cells (cells, height, width, channels) in [0, 1], and their z (cells, nz), from position `start` on."""

    @abc.abstractmethod
    def flush(self) -> None:
        """Make everything written so far readable even if the process is killed."""

    @abc.abstractmethod
    def close(self, complete: bool) -> None:
        """Finish the output. `complete`: whether all cells have been written."""


class Stack(Sink):
    """An HDF5 file: `stack`, float32 (number, height, width, channels) in [0, 1], and `z`, float32 (number, nz).

    extra   further datasets
    """

    suffix, bytes_per_value = ".h5", 4

    def __init__(self, path: Path, content: Content, resumes: bool = False, **extra: Any) -> None:
        import h5py

        self.path, self.file = path, h5py.File(path, "r+" if resumes else "w")
        if not resumes:
            self.file.create_dataset("stack", (content.number, *content.shape), np.float32)
            self.file.create_dataset("z", (content.number, content.nz), np.float32)
            for name, values in extra.items():
                self.file.create_dataset(name, data=values)
            self.file["stack"].attrs.update(content.attributes)
        self.stack, self.z = self.file["stack"], self.file["z"]

    def write(self, start, z, cells):
        self.stack[start:start + len(cells)], self.z[start:start + len(cells)] = cells, z

    def flush(self):
        self.file.flush()       # HDF5's own structures were written with the first cells

    def close(self, complete):
        self.file.close()
        if complete:
            seal.append_trailer(self.path)


class Pages(Sink):
    """An OME-TIFF, as for Fiji: axes TCYX, with one cell per time point.

    Values are those of the microscope if the training images had more than 8 bits, otherwise uint8. The file is created
    with the first cells, which decide the colours of the channels.
    """

    suffix, bytes_per_value = ".ome.tif", 4

    def __init__(self, path: Path, content: Content, resumes: bool = False) -> None:
        self.path, self.content = path, content
        self.units = stored_units(content.attributes, content.shape[-1])
        self.whole = self._mapped() if resumes else None

    def write(self, start, z, cells):
        if self.whole is None:
            kind, colours = self.units[2] if self.units else np.uint8, palettes.channel_colours(cells)
            self.whole = self._mapped(shape=self._shape(), dtype=kind, ome=True, photometric="minisblack",
                                      metadata=self._metadata(colours))
        pages = self.whole.reshape(self._shape())
        pages[start:start + len(cells)] = np.moveaxis(self._values(cells), -1, 1)

    def _mapped(self, **new: Any):
        import tifffile

        return tifffile.memmap(self.path, mode="r+", **new)

    def _values(self, cells):
        """Values of the file from cells in [0, 1]."""
        if not self.units:
            return unit_to_bytes(cells)
        black, white, kind = self.units
        values = black + cells * (white - black)
        return (np.rint(values) if kind == np.uint16 else values).astype(kind)

    def _shape(self):
        height, width, channels = self.content.shape
        return self.content.number, channels, height, width

    def _metadata(self, colours):
        """The metadata of tifffile. OME's colours are signed integers: red, green, blue and alpha, a byte each."""
        attributes = self.content.attributes
        numbers = [int.from_bytes((*colour, 255), signed=True) for colour in colours]
        metadata = {"axes": "TCYX", "Description": json.dumps(attributes),
                    "Channel": {"Name": list(attributes["channel_names"]), "Color": numbers}}
        if pixel := attributes.get("pixel_size_um"):
            metadata |= {f"PhysicalSize{axis}": pixel for axis in "XY"}
            metadata |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
        return metadata

    def flush(self):
        if self.whole is not None:
            self.whole.flush()

    def close(self, complete):
        self.flush()
        self.whole = None


class Folder(Sink):
    """A data folder for train.py: PNGs in a folder for each factor, with their provenance in drawing.json.

    One channel is gray; two to four are R, G, B and alpha, with an empty blue for two, as in the sample data. A cell
    with several factors becomes an image for each, with the marker and that factor. Each image contains its origin,
    which copies keep.
    """

    suffix, bytes_per_value = "", 1
    announcement = "Output images to folder"

    def __init__(self, path: Path, content: Content, resumes: bool = False) -> None:
        self.path, self.factors, self.origin = path, content.factors, captions.origin_of_cells(content.attributes)
        self.digits = len(str(content.number - 1))
        for factor in self.factors:
            (path / factor).mkdir(parents=True, exist_ok=True)
        (path / captions.NOTE).write_text(json.dumps(content.attributes, indent=1) + "\n")

    def write(self, start, z, cells):
        from PIL import Image
        from PIL.PngImagePlugin import PngInfo

        origin = PngInfo()
        origin.add_text("Source", self.origin)
        greens = (cells.shape[-1] - 1) // len(self.factors)
        for k, factor in enumerate(self.factors):
            images = unit_to_bytes(cells[..., [0, *range(1 + k * greens, 1 + (k + 1) * greens)]])
            if images.shape[-1] == 2:
                images = np.concatenate([images, np.zeros_like(images[..., :1])], axis=-1)
            images = images[..., 0] if images.shape[-1] == 1 else images
            for position, image in enumerate(images, start):
                Image.fromarray(image).save(self.path / factor / f"cell{position:0{self.digits}}.png", compress_level=1,
                                            pnginfo=origin)

    def flush(self):
        pass

    def close(self, complete):
        pass


# ---------------------------------------------------------------------------------------------- reading

class Excerpt(NamedTuple):
    """Some cells of an output, float32 (cells, height, width, channels) in [0, 1], its number of cells, its attributes.
    """

    cells: np.ndarray
    number: int
    attributes: dict[str, Any]


def check_choice(path: Path, first: int, count: int, number: int) -> None:
    """Raise InputError if `count` cells, from position `first` on, are more than the `number` in the file or folder."""
    if first + count > number:
        raise InputError(f"{path}: cells {first} to {first + count - 1} are asked for, but it has {number}, counted "
                         "from 0: choose others with --first and -n")


def check_amount(path: Path, count: int, shape: tuple[int, ...]) -> None:
    """Raise InputError if `count` cells of this shape (height, width, channels) are too much for a picture."""
    height, width, channels = shape
    if channels > MOST_CHANNELS:
        raise InputError(f"{path}: it has {channels} channels, at most {MOST_CHANNELS} can be drawn: the shape must be "
                         "cells, height, width, channels")
    if math.prod(shape) * count > LARGEST_READ:
        raise InputError(f"{path}: {count} cells of {height} x {width} pixels, {channels} channels, are too much for a "
                         "picture: draw fewer with -n, or smaller ones")


def read_pages(path: Path, first: int, count: int) -> Excerpt | None:
    """Read `count` cells, from position `first` on, of an OME-TIFF that `Pages` has written; None for another TIFF.

    Raises InputError if it is damaged or has fewer cells.
    """
    import tifffile

    from .image_files import strict_tiffs

    attributes = None
    try:
        with strict_tiffs(), tifffile.TiffFile(path, is_ome=False) as file:     # OME may name further files to open
            attributes = _ome_attributes(file.pages[0].description)
            if attributes is None:
                return None
            channels, shape = len(attributes["channel_names"]), file.pages[0].shape
            number = len(file.pages) // channels
            check_choice(path, first, count, number)
            check_amount(path, count, (*shape, channels))
            pages = [file.pages[k] for k in range(first * channels, (first + count) * channels)]
            units = stored_units(attributes, channels)
            kind = units[2] if units else np.uint8
            if any(page.shape != shape or page.dtype != kind for page in pages):
                raise ValueError("its pages differ in size or type")
            values = np.stack([page.asarray() for page in pages]).reshape(count, channels, *shape)
    except InputError:
        raise
    except Exception as problem:        # tifffile raises anything on a damaged file
        if attributes is None:
            return None
        raise InputError(f"{path}: this OME-TIFF is damaged or incomplete ({captions.brief(problem)}): write it again "
                         "with predict.py --format tiff") from None
    cells = np.moveaxis(values, 1, -1)
    if units:
        return Excerpt(((cells - units[0]) / (units[1] - units[0])).astype(np.float32), number, attributes)
    return Excerpt(to_unit(cells), number, attributes)


def _ome_attributes(description):
    """The attributes that `Pages` wrote into this OME-XML, None if it is another text. No parser expands entities."""
    found = re.search("<Description>(.*?)</Description>", description, re.DOTALL) if "<OME" in description else None
    try:
        attributes = parse_json(html.unescape(found[1])) if found else None
    except ValueError:
        return None
    return attributes if captions.names_channels(attributes) else None


def read_folder(path: Path, first: int, count: int) -> Excerpt | None:
    """Read `count` cells, from position `first` on, of a folder that `Folder` has written; None for another folder.

    The images of a cell in the folders of the factors are joined again. Raises InputError if some are missing or
    damaged.
    """
    from .image_files import read_image

    attributes = captions.read_note(path)
    if attributes is None:
        return None
    remedy = "generate them again with predict.py --format png"
    folders = _factor_folders(path, attributes["channel_names"])
    names = [sorted(file.name for file in folder.glob("cell*.png")) for folder in folders]
    if not names or any(found != names[0] for found in names) or not names[0]:
        raise InputError(f"{path}: its folders lack images of some factors or cells: {remedy}")
    check_choice(path, first, count, len(names[0]))
    wanted, cells = 1 + (len(attributes["channel_names"]) - 1) // len(folders), []
    for name in names[0][first:first + count]:
        images = [read_image(folder / name, remedy).frames[0] for folder in folders]
        if any(image.shape[:2] != images[0].shape[:2] or image.shape[2] < wanted or image.dtype != np.uint8
               for image in images):
            raise InputError(f"{path}: its images {name} differ in size or type: {remedy}")
        check_amount(path, count, (*images[0].shape[:2], 1 + len(folders) * (wanted - 1)))
        cells.append(np.concatenate([images[0][..., :1], *(image[..., 1:wanted] for image in images)], axis=-1))
    if any(cell.shape != cells[0].shape for cell in cells):
        raise InputError(f"{path}: its cells differ in size: {remedy}")
    return Excerpt(to_unit(np.array(cells)), len(names[0]), attributes)


def _factor_folders(path, channel_names):
    """The folders of the factors, in the order of the channels; a factor of several channels numbers their names."""
    inside = {folder.name for folder in path.iterdir() if folder.is_dir()}      # a name in a note is not a path
    factors = dict.fromkeys(name if name in inside else name.rpartition(" ")[0] for name in channel_names[1:])
    return [path / factor for factor in factors if factor in inside] or [path / "cells"]


class ResumableOutput:
    """The unfinished output of an interrupted command: a file or folder with a temporary name, and a note beside it.

    wanted    everything that determines the output, for JSON; a note of another output is ignored
    """

    def __init__(self, target: str | Path, wanted: dict[str, Any]) -> None:
        self.target, self.wanted = Path(target), json.loads(json.dumps(wanted))
        self.path = self.target.with_name(f".{self.target.name}.unfinished{self.target.suffix}")
        self.note = self.path.with_name(self.path.name + ".json")

    def read_note(self) -> tuple[int, Any]:
        """(number of cells done, seed); (0, None) without a note, or if it belongs to another output or user."""
        try:
            note, status = read_json(self.note), self.path.lstat()
            is_own = status.st_uid == os.geteuid() and not stat.S_ISLNK(status.st_mode)
            if note["wanted"] == self.wanted and is_own:
                return int(note["done"]), int(note["seed"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0, None

    def write_note(self, done: int, seed: int) -> None:
        """Record the number of cells done, and the seed. Raises files.NoRoom."""
        with replacing(self.note) as temporary:
            temporary.write_text(json.dumps({"wanted": self.wanted, "done": done, "seed": seed}))

    def remove(self) -> None:
        """Remove the unfinished output and its note."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self, size: int, resumes: bool) -> Iterator[Path]:
        """Lock out other jobs, and yield the path to write to; on success it is renamed to the target.

        An error or a full disk leaves nothing; an interrupt or a kill leaves the unfinished output, which the next run
        of the command resumes. Raises InputError if the target is a folder or another job writes it, files.NoRoom if
        the disk has fewer than `size` bytes left.
        """
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if self.target.is_dir():
            raise InputError(f"{self.target} already exists: remove or rename that folder first")
        lock = Lock(self.path.with_name(self.path.name + ".lock"))
        if not lock.take():
            raise InputError(f"{self.target}: another job writes it ({lock.holder}): wait until it ends, or work in "
                             f"another folder")
        try:
            if not resumes:
                self.remove()
                check_room(self.target, size)
            with noticing_a_full_disk(self.target):
                yield self.path
                if self.path.is_file():
                    with open(self.path, "rb+") as file:
                        os.fsync(file.fileno())
                os.replace(self.path, self.target)
            self.note.unlink(missing_ok=True)
        except Exception:
            self.remove()
            raise
        finally:
            lock.release()
