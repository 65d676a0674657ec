"""Where generated cells go: an HDF5 stack, an OME-TIFF, or a folder of PNGs; and how an interrupted writer resumes.

Until it is complete, output has another name, beside its target, and a note of how far it has got.
"""

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import seal
from .errors import InputError
from .files import Lock, check_room, noticing_a_full_disk, replacing
from .pixels import unit_to_bytes

NOTE_EVERY = 1024       # cells from one note of progress to the next


class Content(NamedTuple):
    """What an output is to hold.

    number       of cells
    shape        (height, width, channels) of each
    nz           size of their latent vectors
    attributes   what it says about itself, as JSON can hold it
    factors      names of the image folders, for the format that has them
    """

    number: int
    shape: tuple
    nz: int
    attributes: dict
    factors: tuple = ()


class Stack:
    """An HDF5 file: `stack`, float32 (number, height, width, channels) in [0, 1], and `z`, float32 (number, nz)."""

    suffix, bytes_per_value = ".h5", 4

    def __init__(self, path, content, resumes=False, **extra):
        """`extra`: further datasets."""
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
        """Cells in [0, 1] and their z, from position `start` on."""
        self.stack[start:start + len(cells)], self.z[start:start + len(cells)] = cells, z

    def flush(self):
        self.file.flush()       # all that HDF5 itself needs to know was written with the first cells

    def close(self, complete):
        self.file.close()
        if complete:
            seal.append_trailer(self.path)


class Pages:
    """An OME-TIFF for Fiji and others: uint8, axes TCYX, the cells in the place of times."""

    suffix, bytes_per_value = ".ome.tif", 1

    def __init__(self, path, content, resumes=False):
        import tifffile

        (height, width, channels), attributes = content.shape, content.attributes
        shape = content.number, channels, height, width
        known = {"axes": "TCYX", "Channel": {"Name": list(attributes["channel_names"])},
                 "Description": json.dumps(attributes)}
        if pixel := attributes.get("pixel_size_um"):
            known |= {f"PhysicalSize{axis}": pixel for axis in "XY"} | {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
        new = {} if resumes else {"shape": shape, "dtype": np.uint8, "ome": True, "photometric": "minisblack",
                                  "metadata": known}
        pages = tifffile.memmap(path, mode="r+", **new)
        self.pages, self.whole = pages.reshape(shape), pages

    def write(self, start, z, cells):
        self.pages[start:start + len(cells)] = np.moveaxis(unit_to_bytes(cells), -1, 1)

    def flush(self):
        self.whole.flush()

    def close(self, complete):
        self.flush()
        del self.pages, self.whole


class Folder:
    """A data folder as train.py reads it: PNGs, in a folder for each factor; drawing.json records their provenance.

    One channel is gray; two to four are R, G, B and alpha, with an empty blue for two, as in the sample data. Of a cell
    with several factors there is an image for each, of the marker and that factor.
    """

    suffix, bytes_per_value = "", 1

    def __init__(self, path, content, resumes=False):
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


FORMATS = {"h5": Stack, "tiff": Pages, "png": Folder}


class ResumableOutput:
    """What an interrupted command has left of `target`: a file or folder of another name, and a note beside it.

    wanted    a dict of all that determines the output; a note of any other does not count
    """

    def __init__(self, target, wanted):
        self.target, self.wanted = Path(target), json.loads(json.dumps(wanted))
        self.path = self.target.with_name(f".{self.target.name}.unfinished{self.target.suffix}")
        self.note = self.path.with_name(self.path.name + ".json")

    def read_note(self):
        """(cells done, seed); (0, None) if there is no note, or it is of another output."""
        try:
            note = json.loads(self.note.read_text())
            if note["wanted"] == self.wanted and self.path.exists():
                return int(note["done"]), int(note["seed"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0, None

    def write_note(self, done, seed):
        with replacing(self.note) as temporary:
            temporary.write_text(json.dumps({"wanted": self.wanted, "done": done, "seed": seed}))

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self, size, resumes):
        """Yield the path to write to, with other jobs locked out; on success it is renamed to the target.

        An error or a full disk leaves nothing; an interrupt or a kill leaves what there is, so that the command can
        resume. `size`: bytes that are needed. Raises InputError or files.NoRoom.
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
