"""Many cells drawn into files: an HDF5 stack, an OME-TIFF, or a folder of PNGs. A drawing that was killed goes on.

Until it is complete a drawing has another name, beside its target, and a note of how far it has got.
"""

import contextlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from . import seal
from .errors import InputError
from .files import Lock, check_room, noticing_a_full_disk, replacing

EVERY = 1024            # cells after which a killed drawing goes on


class Stack:
    """An HDF5 file: `stack`, float32 (number, height, width, channels) in [0, 1], and `z`, float32 (number, nz)."""

    suffix, size_of_a_number = ".h5", 4

    def __init__(self, path, number, shape, nz, attributes, go_on=False, **more):
        import h5py

        self.path, self.file = path, h5py.File(path, "r+" if go_on else "w")
        if not go_on:
            self.file.create_dataset("stack", (number, *shape), np.float32)
            self.file.create_dataset("z", (number, nz), np.float32)
            for name, values in more.items():
                self.file.create_dataset(name, data=values)
            self.file["stack"].attrs.update(attributes)
        self.stack, self.z = self.file["stack"], self.file["z"]

    def write(self, start, z, cells):
        """Cells in [0, 1] and their z, from position `start` on."""
        self.stack[start:start + len(cells)], self.z[start:start + len(cells)] = cells, z

    def flush(self):
        self.file.flush()       # all that HDF5 itself needs to know was written with the first cells

    def close(self, complete):
        self.file.close()
        if complete:
            seal.add(self.path)


class Pages:
    """An OME-TIFF for Fiji and others: uint8, axes TCYX, the cells in the place of times."""

    suffix, size_of_a_number = ".ome.tif", 1

    def __init__(self, path, number, shape, nz, attributes, go_on=False):
        import tifffile

        height, width, channels = shape
        known = {"axes": "TCYX", "Channel": {"Name": list(attributes["channel_names"])},
                 "Description": json.dumps(attributes)}
        if pixel := attributes.get("pixel_size_um"):
            known |= {f"PhysicalSize{axis}": pixel for axis in "XY"} | {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
        new = {} if go_on else {"shape": (number, channels, height, width), "dtype": np.uint8, "ome": True,
                                "photometric": "minisblack", "metadata": known}
        pages = tifffile.memmap(path, mode="r+", **new)
        self.pages, self.whole = pages.reshape(number, channels, height, width), pages

    def write(self, start, z, cells):
        self.pages[start:start + len(cells)] = np.moveaxis(to_bytes(cells), -1, 1)

    def flush(self):
        self.whole.flush()

    def close(self, complete):
        self.flush()
        del self.pages, self.whole


class Folder:
    """A data folder as train.py reads it: PNGs, in a folder for each factor; drawing.json tells where they are from.

    One channel is gray; two to four are R, G, B and alpha, with an empty blue for two, as in the sample data. Of a cell
    with several factors there is an image for each, of the marker and that factor.
    """

    suffix, size_of_a_number = "", 1

    def __init__(self, path, number, shape, nz, attributes, go_on=False, factors=()):
        self.path, self.factors = path, factors
        self.digits = len(str(number - 1))
        for factor in self.factors:
            (path / factor).mkdir(parents=True, exist_ok=True)
        (path / "drawing.json").write_text(json.dumps(attributes, indent=1) + "\n")

    def write(self, start, z, cells):
        from PIL import Image

        greens = (cells.shape[-1] - 1) // len(self.factors)
        for k, factor in enumerate(self.factors):
            images = to_bytes(cells[..., [0, *range(1 + k * greens, 1 + (k + 1) * greens)]])
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


def to_bytes(cells):
    """[0, 1] as uint8."""
    return np.rint(255 * np.clip(cells, 0, 1)).astype(np.uint8)


def fill(sink, generator, number, latents, channels, done=0, tell=None):
    """Draw cells from `latents`, batches of z, into a sink, from position `done` on, and close it.

    `tell` is told now and then how far it got.
    """
    from tqdm import tqdm
    from ..core.engine import draw

    start, told, complete = 0, done, False
    try:
        with tqdm(initial=done, total=number, desc="drawing", unit="cell", disable=None, leave=False) as bar:
            for z in latents:
                end = start + len(z)
                if start >= done:
                    sink.write(start, z, (draw(generator, z, len(z))[..., channels] + 1) / 2)
                    bar.update(len(z))
                    if tell and end - told >= EVERY:
                        sink.flush()
                        tell(end)
                        told = end
                start = end
        complete = True
    finally:
        sink.close(complete)


class Unfinished:
    """What a killed drawing has left of `target`: a file or folder of another name, and the note beside it.

    wanted    what the drawing is of; a note of anything else does not count
    """

    def __init__(self, target, wanted):
        self.target, self.wanted = Path(target), json.loads(json.dumps(wanted))
        self.path = self.target.with_name(f".{self.target.name}.unfinished{self.target.suffix}")
        self.note = self.path.with_name(self.path.name + ".json")

    def read(self):
        """(cells done, seed) as the note has them; (0, None) if there is none, or it is of another drawing."""
        try:
            note = json.loads(self.note.read_text())
            if note["wanted"] == self.wanted and self.path.exists():
                return int(note["done"]), int(note["seed"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0, None

    def tell(self, done, seed):
        with replacing(self.note) as temporary:
            temporary.write_text(json.dumps({"wanted": self.wanted, "done": done, "seed": seed}))

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    @contextlib.contextmanager
    def taken(self, size, keep):
        """Keep other jobs out; on success the target has its name, on a mistake or a full disk nothing is left.

        An interrupt or a kill leaves what there is, to go on with. `keep`: there is something to go on with already.
        """
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if self.target.is_dir():
            raise InputError(f"{self.target} is there already: remove or rename that folder first")
        lock = Lock(self.path.with_name(self.path.name + ".lock"))
        if not lock.take():
            raise InputError(f"{self.target}: another job draws it ({lock.holder}): wait until it ends, or work in "
                             f"another folder")
        try:
            if not keep:
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
