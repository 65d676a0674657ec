"""Write generated cells to an OME-Zarr folder, and read them again.

OME-Zarr 0.5 stores arrays as Zarr 3, whose shards hold thousands of images in one file: a cluster's quota counts files,
and 0.4 has one for each chunk. The zarr library is optional, and imported late.
"""

import importlib.metadata
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..system import palettes
from ..system.captions import brief, names_channels
from ..system.errors import InputError
from ..system.json_text import parse_json
from ..system.pixels import to_unit, unit_to_bytes
from .stacks import LARGEST_READ, SHOWN_FIRST, Content, Excerpt, Sink, check_amount, check_choice

VERSION = "0.5"                 # of OME-Zarr
AXES = "tcyx"                   # OME has no axis for cells: they are time points, as in the OME-TIFFs
CHUNK = 2 ** 16                 # bytes of one channel of some cells, which are read at once
SHARD = 2 ** 25                 # bytes of all channels of some cells, which are one file and wait in memory
MOST_CELLS = 1024               # in a shard
OLDEST = 3, 1, 3                # version of zarr: earlier ones do not replace a file at once
CODECS = {"sharding_indexed", "bytes", "zstd", "crc32c"}        # that we write; others could unpickle
MOST_CHARACTERS = 1 << 20       # of a zarr.json
REMEDY = "generate it again with predict.py --format zarr"


class OmeZarr(Sink):
    """An OME-Zarr: uint8, axes tcyx, with one cell per time point, and the attributes of a stack under `biogans`.

    It is created with the first cells, which decide the colours of the channels. Cells wait in memory until they fill a
    shard or are flushed.
    """

    suffix, bytes_per_value = ".ome.zarr", 1
    announcement = "Output OME-Zarr to folder"

    def __init__(self, path: Path, content: Content, resumes: bool = False) -> None:
        self.require()
        import zarr

        self.path, self.content = path, content
        self.array = zarr.open_array(path / "0", mode="r+", zarr_format=3) if resumes else None
        self.start, self.waiting = 0, np.empty((0, content.shape[2], *content.shape[:2]), np.uint8)

    @classmethod
    def require(cls):
        try:
            installed = importlib.metadata.version("zarr")
        except importlib.metadata.PackageNotFoundError:
            installed = ""
        if tuple(map(int, re.findall(r"\d+", installed)[:3])) < OLDEST:
            found = f"zarr {installed}, which is too old" if installed else "no zarr"
            raise InputError(f"--format zarr: {sys.executable} has {found}: install it (pip install 'biogans[zarr]'), "
                             "or choose another format")

    def write(self, start, z, cells):
        if self.array is None:
            self.array = _create(self.path, self.content, palettes.channel_colours(cells))
        if not len(self.waiting):
            self.start = start
        self.waiting = np.concatenate([self.waiting, np.moveaxis(unit_to_bytes(cells), -1, 1)])
        per_shard = self.array.shards[0]
        self._write_until((self.start + len(self.waiting)) // per_shard * per_shard)

    def flush(self):
        self._write_until(self.start + len(self.waiting))

    def close(self, complete):
        if complete:
            self.flush()
            for leftover in self.path.rglob("*.partial"):       # of a kill within a write of zarr
                leftover.unlink()
        self.array = None

    def _write_until(self, end):
        """Write the waiting cells before position `end`, shard by shard, so that none is written in parts."""
        while self.start < end:
            shard_end = self.start - self.start % self.array.shards[0] + self.array.shards[0]
            ready, self.waiting = np.split(self.waiting, [min(end, shard_end) - self.start])
            self.array[self.start:self.start + len(ready)] = ready
            self.start += len(ready)


def _create(path, content, colours):
    """The new zarr.Array of an OME-Zarr with channels of these RGB colours, 0 to 255."""
    import zarr
    from zarr.codecs import ZstdCodec

    height, width, channels = content.shape
    chunk = _power_of_two(min(CHUNK // (height * width), MOST_CELLS, content.number))
    shard = max(chunk, _power_of_two(min(SHARD // (height * width * channels), MOST_CELLS, content.number)))
    name = path.name.lstrip(".").split(".unfinished")[0].removesuffix(OmeZarr.suffix)
    group = zarr.create_group(path, zarr_format=3, attributes={
        "ome": {"version": VERSION, "multiscales": [_multiscale(name, content.attributes.get("pixel_size_um"))],
                "omero": _rendering(content.attributes["channel_names"], colours)},
        "biogans": content.attributes})
    return group.create_array(
        "0", shape=(content.number, channels, height, width), dtype="uint8", chunks=(chunk, 1, height, width),
        shards=(shard, channels, height, width), compressors=ZstdCodec(level=1, checksum=True),
        dimension_names=list(AXES), config={"write_empty_chunks": True})    # so that a missing file is damage


def _power_of_two(number):
    """The largest power of two that is at most `number`, at least 1."""
    return 2 ** max(0, int(number).bit_length() - 1)


def _multiscale(name, pixel_size_um):
    """The entry `multiscales` of OME-Zarr: the axes, and the size of a pixel if it is known."""
    space = {"type": "space"} | ({"unit": "micrometer"} if pixel_size_um else {})
    side = pixel_size_um or 1.0
    return {"name": name,
            "axes": [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"},
                     {"name": "y"} | space, {"name": "x"} | space],
            "datasets": [{"path": "0", "coordinateTransformations": [
                {"type": "scale", "scale": [1.0, 1.0, side, side]}]}]}


def _rendering(names, colours):
    """The entry `omero` of OME-Zarr: names, colours and ranges of the channels, and which ones are shown at first."""
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    return {"channels": [{"label": name, "color": bytes(colour).hex().upper(), "window": window,
                          "active": k < SHOWN_FIRST, "coefficient": 1, "family": "linear", "inverted": False}
                         for k, (name, colour) in enumerate(zip(names, colours))],
            "rdefs": {"model": "color", "defaultT": 0, "defaultZ": 0}}


# ---------------------------------------------------------------------------------------------- reading

def read_ome_zarr(path: Path, first: int, count: int) -> Excerpt | None:
    """Read `count` cells, from position `first` on, of a folder that `OmeZarr` has written; None for another folder.

    Raises InputError if it is damaged, if it has fewer cells, or if zarr is not installed.
    """
    attributes = _description(path / "zarr.json").get("attributes")
    attributes = attributes.get("biogans") if isinstance(attributes, dict) else None
    if not names_channels(attributes):
        return None
    OmeZarr.require()
    try:
        number, channels, height, width = _check_layout(_description(path / "0" / "zarr.json"))
        check_choice(path, first, count, number)
        check_amount(path, count, (height, width, channels))
        if len(attributes["channel_names"]) != channels:
            raise ValueError("its names are those of other channels")
        values = _read(path / "0", first, first + count)
    except InputError:
        raise
    except Exception as problem:        # zarr and its codecs raise anything on a damaged file
        raise InputError(f"{path}: this OME-Zarr is damaged or incomplete ({brief(problem)}): {REMEDY}") from None
    return Excerpt(to_unit(np.moveaxis(values, 1, -1)), number, attributes)


def _description(path) -> dict[str, Any]:
    """The content of a zarr.json, {} if there is none or if it is damaged."""
    try:
        with open(path, encoding="utf-8") as file:
            content = parse_json(file.read(MOST_CHARACTERS))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _check_layout(description):
    """The shape of the array with this zarr.json. Raises an error if it is no array that `_create` describes."""
    shape, chunk = description["shape"], description["chunk_grid"]["configuration"]["chunk_shape"]
    (sharding,) = description["codecs"]
    inner = sharding["configuration"]
    names = {codec["name"] for codec in (sharding, *inner["codecs"], *inner["index_codecs"])}
    if description["data_type"] != "uint8" or not names <= CODECS or description.get("storage_transformers"):
        raise ValueError("its array is stored in another way")
    if len(shape) != 4 or not all(isinstance(side, int) and side > 0 for side in (*shape, *chunk)):
        raise ValueError("its array has no shape of cells")
    if math.prod(chunk) > max(LARGEST_READ, math.prod(shape[1:])):
        raise ValueError("its files claim too many pixels")
    return shape


def _read(path, first, end):
    """Cells `first` to `end` of an array. Zarr fills a missing file with black, which must not pass for a cell."""
    import zarr

    array = zarr.open_array(path, mode="r", zarr_format=3)
    per_shard = array.shards[0]
    for shard in range(first // per_shard, (end - 1) // per_shard + 1):
        if not (path / "c" / str(shard) / "0" / "0" / "0").is_file():
            raise ValueError(f"file c/{shard}/0/0/0 is missing")
    return array[first:end]
