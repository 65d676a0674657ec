"""Videos, read frame by frame: TIFF stacks, OME-TIFF, AVI and MP4, and folders of frames.

A frame is an array (channels, height, width) of values as stored. Only one is in memory at a time, however long the
video is. Axes have the letters of tifffile: T time, Z depth, C channel, S colour, Y down, X right, Q and I unknown.
"""

import contextlib
import itertools
import math
import re
from pathlib import Path

import numpy as np

from ..io.image_files import FORMATS, SUFFIXES, strict_tiffs
from ..system.errors import InputError
from ..system.files import require_regular

STACKS = (".tif", ".tiff")
MOVIES = (".avi", ".mp4", ".mov", ".mkv")
DEPTH = ("max", "slices")               # of a z stack: maximum over its slices, or each slice as a frame


# ---------------------------------------------------------------------------------------------- finding

def find_videos(folder):
    """{class: sorted paths of its videos} in a folder of videos, or in one that holds such a folder for each class.

    A video is a stack, a movie, or a folder of single-plane images, which are its frames. Without folders of classes,
    the class has the name of `folder`, which may also be a single video. Raises InputError.
    """
    folder = Path(folder)
    if not folder.exists():
        raise InputError(f"{folder}: no such file or folder: give the folder of your videos with -i")
    if not folder.is_dir():
        require_regular(folder, "give the folder of your videos with -i")
    if folder.is_file() or _is_frames(folder):
        return {folder.resolve().parent.name: [folder]}
    if videos := _videos(folder):
        return {folder.resolve().name: videos}
    classes = {path.name: videos for path in _entries(folder) if path.is_dir() and (videos := _videos(path))}
    if not classes:
        raise InputError(f"{folder}: no videos in this folder: expected TIFF stacks, {', '.join(MOVIES)} files or "
                         f"folders of frames")
    return classes


def name_of(path):
    """Name of a video: its file without .tif, .ome.tif, .avi …, or its folder."""
    return path.resolve().name if path.is_dir() else path.name.removesuffix(path.suffix).removesuffix(".ome")


def _entries(folder):
    """Entries of a folder in natural order (frame 2 before frame 10), without hidden ones.

    Raises InputError if one has the name of an image or video but can't be read as a file or folder.
    """
    found = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=_natural)
    for path in found:
        if path.suffix.lower() in SUFFIXES + MOVIES and not path.is_dir():
            require_regular(path)
    return found


def _natural(path):
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


def _videos(folder):
    return [path for path in _entries(folder)
            if path.suffix.lower() in STACKS + MOVIES or path.is_dir() and _is_frames(path)]


def _is_frames(folder):
    """Whether a folder holds single-plane images, which are then the frames of one video."""
    images = [path for path in _entries(folder) if path.suffix.lower() in SUFFIXES]
    if len(images) < 2 or any(path.suffix.lower() in MOVIES for path in _entries(folder)):
        return False
    return images[0].suffix.lower() not in STACKS or _pages(images[0]) == 1


def _pages(path):
    import tifffile
    try:
        with _reading(path), tifffile.TiffFile(path) as file:
            return len(file.pages)
    except InputError:          # a damaged file is reported when it is read
        return 0


# ---------------------------------------------------------------------------------------------- reading

def open_image(path, channels=()):
    """Open an image other than a TIFF as a video of one frame. Raises InputError."""
    require_regular(path)
    return Folder(path.parent, channels, "", "max", files=[path])


def open_video(path, channels=(), axes="", depth="max"):
    """Open the Stack, Movie or Folder at `path`.

    channels   channels to read, counted from 1; by default the first one, or the mean of the colours of a picture
    axes       axes of a TIFF, slowest first, such as YXT, if the file states them wrongly
    depth      one of DEPTH

    Raises InputError.
    """
    if not path.is_dir():
        require_regular(path)
    kind = Folder if path.is_dir() else Movie if path.suffix.lower() in MOVIES else Stack
    return kind(path, channels, axes, depth)


class Stack:
    """A TIFF file with `length` frames of `shape` (height, width)."""

    def __init__(self, path, channels, axes, depth):
        import tifffile
        self.path = path
        if path.stat().st_size == 0:
            raise InputError(f"{path}: this video is empty: replace or remove it")
        with _reading(path):
            self.file = tifffile.TiffFile(path)
            series = self.file.series
        if not series or not math.prod(series[0].shape):
            raise InputError(f"{path}: no frames in this video: replace or remove it")
        self.series = series[0]
        sizes = {each.shape[each.axes.index("Y"):][:2] for each in series if "Y" in each.axes}
        if len(sizes) > 1 and not self.file.is_ome:
            raise InputError(f"{path}: frames of different sizes ({' and '.join('%dx%d' % size for size in sizes)} "
                             f"pixels): make one video of each size")
        self.axes = self._valid_axes(axes.upper())
        self.at = {axis: k for k, axis in enumerate(self.axes)}
        self.shape = tuple(self.series.shape[self.at[axis]] for axis in "YX")
        self.pixel_size_um = self._pixel_size_um()
        self.channels = _positions(path, channels, self._size("C") * self._size("S"), "S" in self.at)
        self.frame_axes = [axis for axis in self.axes if axis not in "CSYX" and not (axis == "Z" and depth == "max")]
        self.length = math.prod(map(self._size, self.frame_axes))
        self.is_depth = depth == "slices" and self._size("Z") > 1

    def frames(self, wanted=None):
        """Yield (number, frame) of all frames, or of those in `wanted`, in their order."""
        for number, moment in enumerate(itertools.product(*(range(self._size(axis)) for axis in self.frame_axes))):
            if wanted is None or number in wanted:
                yield number, self._frame(dict(zip(self.frame_axes, moment)))

    def _frame(self, here):
        """The channels to read of one frame: `here` has an index for each axis of the frames."""
        if "Z" in self.at and "Z" not in here:
            slices = (self._planes(here | {"Z": k}) for k in range(self._size("Z")))
            frame = next(slices)
            for each in slices:
                frame = np.maximum(frame, each)
        else:
            frame = self._planes(here)
        return _selected(frame, self.channels)

    def _planes(self, here):
        """All channels (channels, height, width) at `here`, which includes the depth."""
        planes = [self._page(here | {"C": k} if "C" in self.at else here) for k in range(self._size("C"))]
        return np.concatenate(planes)

    def _page(self, here):
        """The image (colours, height, width) at `here`, which includes the channel."""
        shape = self.series.shape
        inside = len(self.series.keyframe.shape)            # the last axes are within a page
        outer, inner = shape[:-inside], shape[-inside:]
        number = int(np.ravel_multi_index([here[axis] for axis in self.axes[:-inside]], outer)) if outer else 0
        with _reading(self.path, f"page {number + 1}"):
            page = self.series.pages[number]
            if page is None:
                raise InputError(f"{self.path}: page {number + 1} is missing: copy the file again, or remove it")
            pixels = page.asarray().reshape(inner)
        index = tuple(slice(None) if axis in "SYX" else here[axis] for axis in self.axes[-inside:])
        kept = [axis for axis in self.axes[-inside:] if axis in "SYX"]
        pixels = pixels[index]
        if "S" not in kept:
            kept, pixels = ["S", *kept], pixels[None]
        return _checked_values(self.path, f"page {number + 1}", pixels.transpose([kept.index(axis) for axis in "SYX"]))

    def _valid_axes(self, axes):
        """Letters of the axes as given, or as the file states them. Raises InputError if these are implausible."""
        shape, stated = self.series.shape, self.series.axes
        if axes:
            if sorted(set(axes)) != sorted(axes) or len(axes) != len(shape) or not {"Y", "X"} <= set(axes):
                raise InputError(f"{self.path}: --axes {axes} does not fit an array of "
                                 f"{'x'.join(map(str, shape))}: give one of the letters TZCSYX for each axis, slowest "
                                 f"first, including Y and X")
            if not {*axes[-len(self.series.keyframe.shape):]} >= {"Y", "X"} and len(shape) > 2:
                return self._reordered(axes)
            return axes
        if "Y" not in stated or "X" not in stated:
            raise InputError(f"{self.path}: its axes are {stated}, without Y and X: give the axes with --axes")
        height, width = (shape[stated.index(axis)] for axis in "YX")
        others = [size for axis, size in zip(stated, shape) if axis in "TQI"]
        if height != width and max(height, width) in others and max(height, width) > 2 * min(height, width):
            raise InputError(f"{self.path}: {max(others)} frames of {height}x{width} pixels: the axes seem to be in "
                             f"another order: give --axes YXT, or --axes TYX if they are correct")
        return stated

    def _reordered(self, axes):
        """Letters of the axes after reading a file whose pages are not images and reordering it in memory."""
        with _reading(self.path):
            array = self.series.asarray()
        order = sorted(range(len(axes)), key=lambda k: "TZCYXS".index(axes[k]))
        self.series = _Array(np.ascontiguousarray(array.transpose(order)))
        return "".join(axes[k] for k in order)

    def _size(self, axis):
        return self.series.shape[self.at[axis]] if axis in self.at else 1

    def _pixel_size_um(self):
        """Side of a pixel as stated by OME-XML or ImageJ, or None."""
        if self.file.is_ome:
            found = re.search(r'PhysicalSizeX="([\d.eE+-]+)"(?![^>]*PhysicalSizeXUnit="(?!µm|um|&#181;m))',
                              self.file.ome_metadata or "")
            return float(found[1]) if found else None
        tag = self.file.pages[0].tags.get("XResolution")
        if (self.file.imagej_metadata or {}).get("unit") in ("micron", "um", "µm", "\\u00B5m") and tag and \
                tag.value[0]:
            return tag.value[1] / tag.value[0]
        return None


class _Array:
    """An array in place of the pages of a file: each of its images is a page."""

    def __init__(self, array):
        self.shape, self.array = array.shape, array
        inside = 2
        self.keyframe = array[(0,) * (array.ndim - inside)]
        self.pages = [_Page(image) for image in array.reshape(-1, *array.shape[-inside:])]


class _Page:
    def __init__(self, image):
        self.asarray = lambda: image


class Movie:
    """An AVI or MP4 file, decoded by ffmpeg. `length` is None, as it is unknown until the file has been read."""

    length, is_depth, pixel_size_um = None, False, None

    def __init__(self, path, channels, axes, depth):
        self.path = path
        with contextlib.closing(self._decoded()) as frames:
            self.shape, colours = next(frames)
        self.channels = _positions(path, channels, colours, colours == 3)

    def frames(self, wanted=None):
        """Yield (number, frame) of all frames, or of those in `wanted`, in their order."""
        with contextlib.closing(self._decoded()) as frames:
            next(frames)
            for number, frame in enumerate(frames):
                if wanted is None or number in wanted:
                    yield number, _selected(frame, self.channels)

    def _decoded(self):
        """Yield (shape, colours), then frames (colours, height, width) of 8 or 16 bits."""
        import imageio_ffmpeg
        strict = {"input_params": ["-v", "info", "-xerror", "-err_detect", "explode"],
                  "output_params": ["-fps_mode", "passthrough"]}
        with _reading(self.path), contextlib.closing(imageio_ffmpeg.read_frames(self.path, **strict)) as probe:
            facts = next(probe)
        source = facts.get("pix_fmt", "")
        kind, colours, dtype = ("rgb24", 3, np.uint8)
        if source.startswith("gray"):
            kind, colours, dtype = ("gray", 1, np.uint8) if source.rstrip("(),") == "gray" else ("gray16le", 1, "<u2")
        width, height = facts["size"]
        bits = 8 * colours * np.dtype(dtype).itemsize
        with _reading(self.path):
            frames = imageio_ffmpeg.read_frames(self.path, pix_fmt=kind, bits_per_pixel=bits, **strict)
            next(frames)
        with contextlib.closing(frames):
            yield (height, width), colours
            for number in itertools.count(1):
                with _reading(self.path, f"frame {number}"):
                    data = next(frames, None)
                if data is None:
                    break
                yield np.frombuffer(data, dtype).reshape(height, width, colours).transpose(2, 0, 1)
        if number == 1:
            raise InputError(f"{self.path}: no frames in this video: replace or remove it")


class Folder:
    """A folder of images, which are the frames in the natural order of their names (2 before 10)."""

    is_depth = False

    def __init__(self, path, channels, axes, depth, files=None):
        self.path = path
        self.files = files or [file for file in _entries(path) if file.suffix.lower() in SUFFIXES]
        if not self.files:
            raise InputError(f"{path}: no frames in this folder: replace or remove it")
        first = self._read(self.files[0])
        self.shape, self.length = first.shape[1:], len(self.files)
        self.colours = len(first)
        self.channels = _positions(path, channels, self.colours, self.colours >= 3)
        self.pixel_size_um = None

    def frames(self, wanted=None):
        """Yield (number, frame) of all frames, or of those in `wanted`, in their order."""
        for number, file in enumerate(self.files):
            if wanted is None or number in wanted:
                frame = self._read(file)
                if frame.shape != (self.colours, *self.shape):
                    raise InputError(f"{file} has {frame.shape[1]}x{frame.shape[2]} pixels and {len(frame)} "
                                     f"channel(s), but {self.files[0].name} {self.shape[0]}x{self.shape[1]} and "
                                     f"{self.colours}: all frames of a video must be alike: move this file to another "
                                     f"folder")
                yield number, _selected(frame, self.channels)

    @staticmethod
    def _read(file):
        from PIL import Image
        if file.suffix.lower() in STACKS:
            return next(Stack(file, "all", "", "max").frames())[1]
        with _reading(file), Image.open(file, formats=FORMATS) as picture:
            kind = {"1": "L", "P": "RGB", "PA": "RGB", "RGBA": "RGB", "LA": "L", "CMYK": "RGB"}.get(picture.mode)
            pixels = np.asarray(picture.convert(kind) if kind else picture)
        return _checked_values(file, "image", np.atleast_3d(pixels).transpose(2, 0, 1))


# ---------------------------------------------------------------------------------------------- for all kinds

def _positions(path, channels, number, are_colours):
    """Positions of the channels to read; None for the mean of the colours. Raises InputError."""
    if channels == "all":
        return list(range(number))
    if channels and max(channels) > number:
        raise InputError(f"{path}: --channels {','.join(map(str, channels))}: this video has {number} channel(s)")
    if channels:
        return [channel - 1 for channel in channels]
    return None if are_colours else [0]


def _selected(frame, channels):
    return frame.mean(axis=0, keepdims=True, dtype=np.float32) if channels is None else frame[channels]


def _checked_values(path, where, pixels):
    """The pixels. Raises InputError if some are not finite numbers."""
    if pixels.dtype.kind not in "buif" or pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise InputError(f"{path}: {where} has values that are not finite numbers: replace it or remove it")
    return pixels


@contextlib.contextmanager
def _reading(path, where="the file"):
    """Turn whatever a decoder raises or logs about a damaged file into one InputError."""
    try:
        with strict_tiffs():
            yield
    except InputError:
        raise
    except Exception as problem:        # decoders may raise anything
        lines = [line for line in str(problem).splitlines() if line.strip() and "===" not in line]
        reason = lines[-1].strip() if lines else type(problem).__name__
        raise InputError(f"{path}: {where} can't be read ({reason}): the video is damaged or incomplete: copy it "
                         f"again, or remove it") from None
