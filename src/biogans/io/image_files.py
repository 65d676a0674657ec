"""Open an image file of any format, for any command, and read its images."""

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator, Mapping
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
LARGEST_SIDE = 4096             # pixels
MOST_CHANNELS = 4               # of an image of a set
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

    axes        letters of its axes, slowest first, if the file states them wrongly or not at all
    as_frames   whether two to four planes without a stated meaning are images; otherwise they are channels

    Raises InputError if a library is missing or if the axes do not fit. Decoders raise anything on damaged files,
    which `decoding` turns into an InputError.
    """
    if path.suffix.lower() in CONTAINERS:
        return containers.open_container(path, axes)
    require_regular(path, REMEDY)
    with open(path, "rb") as file:
        start = file.read(4)
    if not start:
        raise ValueError("it is empty")
    return tiffs.Tiff(path, axes, as_frames) if start in TIFF_SIGNATURES else pictures.Picture(path)


def read_image(path: Path, remedy: str) -> Reading:
    """Read all images of a file, with at most MOST_CHANNELS channels. Raises InputError with this remedy."""
    result = read_or_error(path, remedy)
    if isinstance(result, InputError):
        raise result
    return result


def read_or_error(path: Path, remedy: str = REMEDY, axes: str = "", nan_is_background: bool = False
                  ) -> Reading | InputError:
    """Read a file like `read_image`, but return an InputError instead of raising it.

    axes                as of `open_image`
    nan_is_background   whether NaN is allowed
    """
    try:
        with decoding(path, remedy), contextlib.closing(open_image(path, axes)) as file:
            check_sides(path, *(file.size(axis) for axis in "YX"))
            channels = file.size("C") * file.colours
            if channels > MOST_CHANNELS:
                raise InputError(f"{path}: {channels} channels: at most {MOST_CHANNELS} can be used")
            is_first = not file.members or path.name == file.members[0]
            frames = as_numbers(read_frames(file) if is_first else no_frames(file), nan_is_allowed=True)
            if not nan_is_background and frames.dtype.kind == "f" and np.isnan(frames).any():
                raise InputError(f"{path}: some of its pixels are NaN: let them be background with --nan background, "
                                 f"or {remedy}")
            return Reading(frames, file.pixel_size_um, file.lossy, file.notes if is_first else ())
    except InputError as mistake:
        return mistake


def read_frames(file: ImageFile) -> np.ndarray:
    """All images of an open file, (images, height, width, channels), with the channels of C, then those of S."""
    moments = [axis for axis in file.outer if axis != "C"]
    indices = [dict(zip(moments, index, strict=True)) for index in np.ndindex(*map(file.size, moments))]
    frames = np.empty((len(indices), *no_frames(file).shape[1:]), file.dtype)
    for k, at in enumerate(indices):
        frames[k] = read_frame(file, at)
    return frames


def read_frame(file: ImageFile, at: Mapping[str, int]) -> np.ndarray:
    """The image (height, width, channels) at an index for each axis outside it, 0 for those that are not given."""
    return np.moveaxis(np.concatenate([file.plane({**at, "C": k}) for k in range(file.size("C"))]), 0, -1)


def no_frames(file: ImageFile) -> np.ndarray:
    """The images of a file of a set whose first file has supplied them."""
    return np.zeros((0, file.size("Y"), file.size("X"), file.size("C") * file.colours), file.dtype)


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
        with strict_tiffs(), warnings.catch_warnings():
            warnings.simplefilter("ignore")             # about unusual metadata
            yield
    except InputError:
        raise
    except Exception as problem:
        lines = [line.strip() for line in str(problem).splitlines() if line.strip() and "===" not in line]
        reason = (lines[0] if lines else type(problem).__name__).replace(str(path), "the file")
        raise InputError(f"{path}: can't be read ({where and where + ': '}{reason}): {remedy}") from None


@contextlib.contextmanager
def strict_tiffs() -> Iterator[None]:
    """Raise ValueError for errors that tifffile only logs before it returns the readable part of a file."""
    logger = logging.getLogger("tifffile")
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    log = _ThreadLog(threading.get_ident())
    logger.addHandler(log)
    try:
        yield
    finally:
        logger.removeHandler(log)
    if log.messages:
        raise ValueError(log.messages[0])


class _ThreadLog(logging.Handler):
    """Collects the messages that one thread logs."""

    def __init__(self, thread):
        super().__init__()
        self.thread, self.messages = thread, []

    def emit(self, record):
        if record.thread == self.thread:
            self.messages.append(record.getMessage())


def check_sides(path: Path, *sides: int) -> None:
    """Raise InputError if one of the sides of an image, in pixels, exceeds LARGEST_SIDE."""
    if max(sides) > LARGEST_SIDE:
        raise InputError(f"{path}: {sides[0]}x{sides[1]} pixels: sides above {LARGEST_SIDE} are refused: crop the "
                         f"cells first")
