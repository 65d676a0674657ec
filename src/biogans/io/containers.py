"""Files of microscope makers and OME-Zarr, each through a library of its own, which users install if they need it."""

import importlib
import math

import numpy as np

from ..system.errors import InputError
from . import planes

LARGEST = 2 ** 33               # bytes of an image
# Codecs of Zarr that decode numbers and nothing else: one of them, "pickle", would run code of the file.
PLAIN_CODECS = {"bytes", "transpose", "blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma", "crc32c", "crc32",
                "sharding_indexed", "delta", "shuffle", "bitround", "endian"}


def open_container(path, axes):
    """The ArrayFile of a file of a microscope maker or an OME-Zarr folder. Raises InputError."""
    reader, library, maker = READERS[path.suffix.lower()]
    try:
        importlib.import_module(library)
    except ImportError:
        raise InputError(f"{path}: {maker} files are read through {library}, which is missing: install biogans with "
                         f"[microscopes], or save it as OME-TIFF, for example with Fiji") from None
    found, stated, pixel_size_um = reader(path)
    size = math.prod(found.shape) * found.dtype.itemsize
    if size > LARGEST:
        raise InputError(f"{path}: {size / 2**30:.1f} GiB: files of {maker} above {LARGEST / 2**30:.0f} GiB are "
                         f"refused: save its positions as separate OME-TIFFs")
    letters = planes.check_axes(path, axes, found.shape) if axes else stated
    if not {"Y", "X"} <= set(letters):
        raise InputError(f"{path}: its axes are {letters}, without Y and X: give --axes, {planes.AXES_HELP}")
    return planes.ArrayFile(path, letters, found, planes.microscopic(pixel_size_um))


def _nikon(path):
    import nd2

    with nd2.ND2File(path) as file:
        sizes, dtype, pixel = dict(file.sizes), file.dtype, file.voxel_size().x

    def load():
        with nd2.ND2File(path) as file:
            return file.asarray()
    return planes.Lazy(sizes.values(), dtype, load), "".join(sizes), pixel


def _leica(path):
    import liffile

    def largest(file):
        return max(file.images, key=lambda image: image.sizes.get("Y", 0) * image.sizes.get("X", 0))
    with liffile.LifFile(path) as file:
        image = largest(file)
        sizes, dtype, steps = dict(image.sizes), image.dtype, image.coords.get("X")

    def load():
        with liffile.LifFile(path) as file:
            return np.asarray(largest(file).asarray())
    pixel = 1e6 * abs(steps[1] - steps[0]) if steps is not None and len(steps) > 1 else None
    return planes.Lazy(sizes.values(), dtype, load), "".join(sizes), pixel


def _zeiss(path):
    from pylibCZIrw import czi

    with czi.open_czi(str(path)) as file:
        box = {axis: end - start for axis, (start, end) in file.total_bounding_box.items()}
        scale = file.metadata["ImageDocument"]["Metadata"].get("Scaling", {}).get("Items", {}).get("Distance", [])
        first = file.read(plane={axis: 0 for axis in "TZC" if axis in box})
    outer = [axis for axis in "TZC" if box.get(axis, 1) > 1]
    colours = first.shape[-1]

    def load():
        with czi.open_czi(str(path)) as file:
            pixels = [file.read(plane={axis: 0 for axis in "TZC" if axis in box} | dict(zip(outer, index, strict=True)))
                      for index in np.ndindex(*(box[axis] for axis in outer))]
        return np.stack(pixels).reshape(shape)[..., ::-1]       # stored as blue, green, red
    shape = (*(box[axis] for axis in outer), *first.shape[:2], colours)
    metres = [float(item["Value"]) for item in scale if item.get("@Id") == "X" and item.get("Value")]
    return planes.Lazy(shape, first.dtype, load), "".join(outer) + "YXS", metres and 1e6 * metres[0]


def _zarr(path):
    import zarr

    group = zarr.open_group(str(path), mode="r")
    attributes = group.attrs.asdict()
    images = (attributes.get("ome") or attributes).get("multiscales")
    if not images:
        raise InputError(f"{path}: no OME-Zarr image in this folder: give the folder that has its multiscales")
    finest = images[0]["datasets"][0]
    array = group[finest["path"]]
    _require_plain_codecs(path, array)
    axes = [each if isinstance(each, dict) else {"name": each} for each in images[0].get("axes", list("tczyx"))]
    scales = [step["scale"] for step in finest.get("coordinateTransformations", []) if step.get("type") == "scale"]
    along_x = [axis["name"].upper() for axis in axes].index("X")
    unit = planes.MICROMETRES.get(axes[along_x].get("unit", "none"), 0)
    return array, "".join(axis["name"][:1].upper() for axis in axes), scales and scales[0][along_x] * unit


def _require_plain_codecs(path, array):
    """Raise InputError if an array is encoded by anything but PLAIN_CODECS, before it is decoded."""
    stored = array.metadata.to_dict()
    names = {*_codecs([stored.get(part) for part in ("codecs", "filters", "compressor")])}
    if array.dtype.kind not in "buif" or names - PLAIN_CODECS:
        raise InputError(f"{path}: its array is encoded by {', '.join(sorted(names - PLAIN_CODECS)) or array.dtype}, "
                         f"which is not read: save it with Blosc, Zstd or gzip")


def _codecs(stored):
    """Names of the codecs in the metadata of an array, also of those within a shard."""
    if isinstance(stored, dict):
        yield from [str(stored.get("name") or stored.get("id")).removeprefix("numcodecs.")]
        inside = stored.get("configuration") or {}
        stored = [inside.get("codecs"), inside.get("index_codecs")]
    for each in stored or ():
        yield from _codecs(each)


READERS = {".nd2": (_nikon, "nd2", "Nikon"), ".czi": (_zeiss, "pylibCZIrw", "Zeiss"),
           ".lif": (_leica, "liffile", "Leica"), ".zarr": (_zarr, "zarr", "OME-Zarr")}
