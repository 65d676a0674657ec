"""Open an image file of any format, for any command, and read its images."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..system.errors import InputError
from ..system.files import require_regular
from . import containers, pictures, tiffs
from .planes import ImageFile

PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
TIFFS = (".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk")
CONTAINERS = (".nd2", ".czi", ".lif", ".zarr")          # .zarr is a folder
SUFFIXES = (*PICTURES, *TIFFS, *CONTAINERS)
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
LARGEST_SIDE = 4096             # pixels, of an image of a set
MOST_PIXELS = 2 ** 26           # of a plane, 8192x8192: a small file may claim any size, and fill the memory
MOST_VALUES = 2 ** 28           # of an image, in all of its channels
MOST_CHANNELS = 4               # of an image of a set
MOST_STORED = 64                # of a file of which some channels are chosen
REMEDY = "replace or remove it, or leave out such images with --skip_bad_images"


class Reading(NamedTuple):
    """The images of a file.

    frames          (images, height, width, channels), values as stored
    pixel_size_um, lossy, notes    as of ImageFile
    """

    frames: np.ndarray
    pixel_size_um: float | None
    lossy: bool
    notes: tuple[str, ...]


def open_image(path: Path, axes: str = "", as_frames: bool = False) -> ImageFile:
    """Open the image file, or .zarr folder, at `path`. Its pixels are decoded when planes are read.

    Every command opens images here, so that none decodes a format or a size that is refused.

    axes        letters of its axes, slowest first, if the file states them wrongly or not at all
    as_frames   whether two to four planes without a stated meaning are images; otherwise they are channels

    Raises InputError if a library is missing, if the axes do not fit or if its images are too large. Decoders raise
    anything on damaged files, which `decoding` turns into an InputError.
    """
    file = _opened(path, axes, as_frames)
    height, width, channels = file.image_shape
    if height * width > MOST_PIXELS or height * width * channels > MOST_VALUES:
        file.close()
        raise InputError(f"{path}: {height}x{width} pixels, {channels} channel(s): images above {MOST_PIXELS:,} pixels "
                         f"or {MOST_VALUES:,} values are refused: crop it first")
    return file


def _opened(path, axes, as_frames):
    kind = path.suffix.lower()
    if not (kind == ".zarr" and path.is_dir()):
        require_regular(path, REMEDY)
    if kind in CONTAINERS:
        return containers.open_container(path, axes)
    with open(path, "rb") as file:
        start = file.read(pictures.HEADER)
    if not start:
        raise ValueError("it is empty")
    return tiffs.Tiff(path, axes, as_frames) if start[:4] in TIFF_SIGNATURES else pictures.Picture(path, start)


def read_image(path: Path, remedy: str) -> Reading:
    """Read all images of a file, with at most MOST_CHANNELS channels. Raises InputError with this remedy."""
    result = read_or_error(path, remedy)
    if isinstance(result, InputError):
        raise result
    return result


def read_or_error(path: Path, remedy: str = REMEDY, axes: str = "", nan_is_background: bool = False,
                  most_channels: int = MOST_CHANNELS) -> Reading | InputError:
    """Read a file like `read_image`, but return an InputError instead of raising it.

    axes                as of `open_image`
    nan_is_background   whether NaN is allowed
    """
    try:
        with decoding(path, remedy), contextlib.closing(open_image(path, axes)) as file:
            *sides, channels = file.image_shape
            check_sides(path, *sides)
            if channels > most_channels:
                raise InputError(f"{path}: {channels} channels: choose those to use, at most {MOST_CHANNELS}, with "
                                 f"--channels, such as --channels 1,2")
            if file.members and path.name != file.members[0]:       # the first has read the whole set
                return Reading(np.zeros((0, *file.image_shape), file.dtype), file.pixel_size_um, file.lossy, ())
            frames = as_numbers(file.images(), nan_is_allowed=True)
            if not nan_is_background and frames.dtype.kind == "f" and np.isnan(frames).any():
                raise InputError(f"{path}: some of its pixels are NaN: let them be background with --nan background, "
                                 f"or {remedy}")
            return Reading(frames, file.pixel_size_um, file.lossy, file.notes)
    except InputError as mistake:
        return mistake


def as_numbers(pixels: np.ndarray, nan_is_allowed: bool = False) -> np.ndarray:
    """The pixels, or 0 and 255 for masks. Raises ValueError if they are no finite real numbers."""
    if pixels.dtype.kind == "b":
        return np.where(pixels, np.uint8(255), np.uint8(0))
    if pixels.dtype.kind == "c":
        raise ValueError("its pixels are complex numbers: save their magnitude")
    if pixels.dtype.kind not in "uif":
        raise ValueError(f"its pixels have the type {pixels.dtype}")
    if pixels.dtype.kind == "f" and np.isinf(pixels).any():
        raise ValueError("some of its pixels are infinite")
    if pixels.dtype.kind == "f" and not nan_is_allowed and np.isnan(pixels).any():
        raise ValueError("some of its pixels are NaN")
    return pixels


@contextlib.contextmanager
def decoding(path: Path, remedy: str, where: str = "") -> Iterator[None]:
    """Turn whatever a decoder raises or logs about a damaged file into one InputError with this remedy."""
    try:
        with strict_tiffs():
            yield
    except InputError:
        raise
    except Exception as problem:
        lines = [line.strip() for line in str(problem).splitlines() if line.strip() and "===" not in line]
        reason = (lines[0] if lines else type(problem).__name__).replace(str(path), "the file")
        raise InputError(f"{path}: can't be read ({where and where + ': '}{reason}): {remedy}") from None


class _ErrorsOfThread(logging.Handler):
    """Collects the errors that each thread logs."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.here = threading.local()

    def emit(self, record):
        self.here.messages = [*self.messages(), record.getMessage()]

    def messages(self):
        return getattr(self.here, "messages", [])


_ERRORS = _ErrorsOfThread()
logging.getLogger("tifffile").addHandler(_ERRORS)
logging.getLogger("tifffile").propagate = False


@contextlib.contextmanager
def strict_tiffs() -> Iterator[None]:
    """Raise ValueError for errors that tifffile only logs before it returns the readable part of a file."""
    _ERRORS.here.messages = []
    yield
    if _ERRORS.messages():
        raise ValueError(_ERRORS.messages()[0])


def check_sides(path: Path, *sides: int) -> None:
    """Raise InputError if one of the sides of an image, in pixels, exceeds LARGEST_SIDE."""
    if max(sides) > LARGEST_SIDE:
        raise InputError(f"{path}: {sides[0]}x{sides[1]} pixels: sides above {LARGEST_SIDE} are refused: crop the "
                         f"cells first")
