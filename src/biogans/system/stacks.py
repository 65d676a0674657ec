"""Write generated cells to an HDF5 stack, an OME-TIFF or a folder of PNGs, and resume after an interruption.

Until it is complete, output has a temporary name beside its target, and a note that records the progress.
"""

import abc
import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import seal
from .errors import InputError
from .files import Lock, check_room, noticing_a_full_disk, replacing
from .pixels import unit_to_bytes

NOTE_EVERY = 1024       # cells between two notes of the progress


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
    """

    suffix: str
    bytes_per_value: int

    @abc.abstractmethod
    def __init__(self, path: Path, content: Content, resumes: bool = False) -> None:
        """Create the output `path` or, if it `resumes`, open the one that an interrupted command has left."""

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
    """An OME-TIFF, as for Fiji: uint8, axes TCYX, with one cell per time point."""

    suffix, bytes_per_value = ".ome.tif", 1

    def __init__(self, path: Path, content: Content, resumes: bool = False) -> None:
        import tifffile

        (height, width, channels), attributes = content.shape, content.attributes
        shape = content.number, channels, height, width
        metadata: dict[str, Any] = {"axes": "TCYX", "Channel": {"Name": list(attributes["channel_names"])},
                                    "Description": json.dumps(attributes)}
        if pixel := attributes.get("pixel_size_um"):
            metadata |= {f"PhysicalSize{axis}": pixel for axis in "XY"}
            metadata |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
        new: dict[str, Any] = {} if resumes else {"shape": shape, "dtype": np.uint8, "ome": True,
                                                  "photometric": "minisblack", "metadata": metadata}
        pages = tifffile.memmap(path, mode="r+", **new)
        self.pages, self.whole = pages.reshape(shape), pages

    def write(self, start, z, cells):
        self.pages[start:start + len(cells)] = np.moveaxis(unit_to_bytes(cells), -1, 1)

    def flush(self):
        self.whole.flush()

    def close(self, complete):
        self.flush()
        del self.pages, self.whole


class Folder(Sink):
    """A data folder for train.py: PNGs in a folder for each factor, with their provenance in drawing.json.

    One channel is gray; two to four are R, G, B and alpha, with an empty blue for two, as in the sample data. A cell
    with several factors becomes an image for each, with the marker and that factor.
    """

    suffix, bytes_per_value = "", 1

    def __init__(self, path: Path, content: Content, resumes: bool = False) -> None:
        self.path, self.factors = path, content.factors
        self.digits = len(str(content.number - 1))
        for factor in self.factors:
            (path / factor).mkdir(parents=True, exist_ok=True)
        (path / "drawing.json").write_text(json.dumps(content.attributes, indent=1) + "\n")

    def write(self, start, z, cells):
        from PIL import Image

        greens = (cells.shape[-1] - 1) // len(self.factors)
        for k, factor in enumerate(self.factors):
            images = unit_to_bytes(cells[..., [0, *range(1 + k * greens, 1 + (k + 1) * greens)]])
            if images.shape[-1] == 2:
                images = np.concatenate([images, np.zeros_like(images[..., :1])], axis=-1)
            images = images[..., 0] if images.shape[-1] == 1 else images
            for position, image in enumerate(images, start):
                Image.fromarray(image).save(self.path / factor / f"cell{position:0{self.digits}}.png", compress_level=1)

    def flush(self):
        pass

    def close(self, complete):
        pass


FORMATS: dict[str, type[Sink]] = {"h5": Stack, "tiff": Pages, "png": Folder}


class ResumableOutput:
    """The unfinished output of an interrupted command: a file or folder with a temporary name, and a note beside it.

    wanted    everything that determines the output, for JSON; a note of another output is ignored
    """

    def __init__(self, target: str | Path, wanted: dict[str, Any]) -> None:
        self.target, self.wanted = Path(target), json.loads(json.dumps(wanted))
        self.path = self.target.with_name(f".{self.target.name}.unfinished{self.target.suffix}")
        self.note = self.path.with_name(self.path.name + ".json")

    def read_note(self) -> tuple[int, Any]:
        """(number of cells done, seed); (0, None) without a note, or if it belongs to another output."""
        try:
            note = json.loads(self.note.read_text())
            if note["wanted"] == self.wanted and self.path.exists():
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
