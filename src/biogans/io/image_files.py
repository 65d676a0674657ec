"""Read image files, and reject damaged or hostile ones."""

import contextlib
import logging
import math
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ..system.errors import InputError

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
FORMATS = ("PNG", "TIFF", "JPEG", "BMP")        # not EPS: Pillow would run Ghostscript on it
LARGEST_SIDE = 4096             # pixels
LARGEST_BOMB = 2 ** 28          # bytes that the pages of a TIFF may have if the file has less than a hundredth of them
warnings.filterwarnings("ignore", module=r"PIL\.")        # about unusual metadata
Image.MAX_IMAGE_PIXELS = None                   # check_sides rejects large images, without an additional warning


def read_image(path: Path, remedy: str) -> np.ndarray:
    """Read the images of one file: (images, height, width, channels), with values as stored.

    Raises InputError, with this remedy, if that is not possible.
    """
    frames = read_or_error(path, remedy)
    if isinstance(frames, InputError):
        raise frames
    return frames


def read_or_error(path: Path, remedy: str = "replace or remove it, or leave out such images with --skip_bad_images"
                  ) -> np.ndarray | InputError:
    """Read the images of one file like `read_image`, but return an InputError instead of raising it."""
    try:
        frames = _read_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _read_picture(path)
        if frames.dtype.kind not in "buif" or frames.dtype.kind == "f" and not np.isfinite(frames).all():
            raise ValueError("some of its pixels are not finite numbers")
        return frames
    except InputError as mistake:
        return mistake
    except Exception as problem:        # decoders can raise anything on a damaged file
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        return InputError(f"{path}: not a readable image ({reason}): {remedy}")


def _read_picture(path):
    """The image of a file that is no TIFF, (1, height, width, channels)."""
    with Image.open(path, formats=FORMATS) as file:
        check_sides(path, *file.size)
        picture: Image.Image = file
        if picture.mode == "1":
            picture = picture.convert("L")
        elif picture.mode in ("P", "PA"):
            picture.info.pop("transparency", None)
            picture = picture.convert("RGB")
        pixels = np.asarray(picture)
    return np.atleast_3d(pixels)[np.newaxis]


def _read_tiff(path):
    """The images of a TIFF. Pages are channels if it states so, or if it states nothing and has 2 to 4 pages."""
    import tifffile

    with strict_tiffs(), tifffile.TiffFile(path) as file:
        series = file.series[0]
        axes = series.axes
        height, width = (series.shape[axes.index(axis)] for axis in "YX")
        check_sides(path, height, width)
        if "C" not in axes and "S" not in axes and len(axes) == 3 and axes[0] in "QI" and 2 <= series.shape[0] <= 4:
            axes = "C" + axes[1:]
        size = math.prod(series.shape) * series.dtype.itemsize
        if size > LARGEST_BOMB and size > 100 * path.stat().st_size:
            raise InputError(f"{path}: {len(series)} pages that claim {size / 2**30:.1f} GiB, far more than the file "
                             f"has: replace or remove it")
        pixels = series.asarray()
    channels = next((axis for axis in "SC" if axis in axes), None)
    if channels is None:
        return pixels.reshape(-1, height, width, 1)
    pixels = np.moveaxis(pixels, axes.index(channels), -1)
    if pixels.shape[-1] > 4:
        raise InputError(f"{path}: {pixels.shape[-1]} channels: at most 4 can be used")
    return pixels.reshape(-1, height, width, pixels.shape[-1])


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


def read_pixel_size_um(path: Path) -> float | None:
    """Size of a pixel in micrometres if a PNG or TIFF states one that suits a microscope (below 10 µm), else None."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            per_inch = float(picture.info.get("dpi", (0, 0))[0])
    except Exception:       # a file that only the TIFF reader understands
        return None
    size = 25400.0 / per_inch if per_inch > 0 else None
    return size if size and size < 10 else None
