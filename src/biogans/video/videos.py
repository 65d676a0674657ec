"""Reading videos frame by frame: TIFF stacks, OME-TIFF, AVI and MP4, and folders of frames.

A frame is an array (channels, height, width) of the file's own values. Only one is in memory at a time, however long
the video is. Axes have tifffile's letters: T time, Z depth, C channel, S colour, Y down, X right, Q and I unknown.
"""

import contextlib
import itertools
import math
import re
from pathlib import Path

import numpy as np

from ..core.dataloader import SUFFIXES as IMAGES, strict_tiffs
from ..system.errors import InputError

STACKS = (".tif", ".tiff")
MOVIES = (".avi", ".mp4", ".mov", ".mkv")
DEPTH = ("max", "slices")               # what becomes of a z stack: its brightest values, or a frame for each slice


# ---------------------------------------------------------------------------------------------- finding

def find(folder):
    """{class: paths of its videos, sorted} of a folder of videos, or of one of these folders for each class.

    A video is a stack, a movie, or a folder of images of one plane each, which are its frames. Where there are no
    folders of classes, the class has the name of `folder`, which may also be a single video. Raises InputError.
    """
    folder = Path(folder)
    if not folder.exists():
        raise InputError(f"{folder}: no such file or folder: give -i the folder of your videos")
    if folder.is_file() or _is_frames(folder):
        return {folder.resolve().parent.name: [folder]}
    if videos := _videos(folder):
        return {folder.resolve().name: videos}
    classes = {path.name: videos for path in _entries(folder) if path.is_dir() and (videos := _videos(path))}
    if not classes:
        raise InputError(f"{folder}: no videos here: expected TIFF stacks, {', '.join(MOVIES)} files or "
                         f"folders of frames")
    return classes


def name_of(path):
    """The name of a video: that of its file without .tif, .ome.tif, .avi …, or of its folder."""
    return path.resolve().name if path.is_dir() else path.name.removesuffix(path.suffix).removesuffix(".ome")


def _entries(folder):
    """What is in a folder, frame 2 before frame 10, without hidden files."""
    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=_natural)


def _natural(path):
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


def _videos(folder):
    return [path for path in _entries(folder)
            if path.suffix.lower() in STACKS + MOVIES or path.is_dir() and _is_frames(path)]


def _is_frames(folder):
    """Whether a folder holds images of one plane each: then these are the frames of one video."""
    images = [path for path in _entries(folder) if path.suffix.lower() in IMAGES]
    if len(images) < 2 or any(path.suffix.lower() in MOVIES for path in _entries(folder)):
        return False
    return images[0].suffix.lower() not in STACKS or _pages(images[0]) == 1


def _pages(path):
    import tifffile
    try:
        with _one_line_for(path), tifffile.TiffFile(path) as file:
            return len(file.pages)
    except InputError:          # a damaged file is told of when it is its turn
        return 0


# ---------------------------------------------------------------------------------------------- reading

def open_image(path, channels=()):
    """An image that is no TIFF, as a video of one frame."""
    return Folder(path.parent, channels, "", "max", files=[path])


def open_video(path, channels=(), axes="", depth="max"):
    """The Stack, Movie or Folder at `path`.

    channels   those to read, counted from 1; by default the first one, or the mean of the colours of a picture
    axes       of a TIFF, slowest first, where the file is wrong about them, such as YXT
    depth      one of DEPTH
    """
    kind = Folder if path.is_dir() else Movie if path.suffix.lower() in MOVIES else Stack
    return kind(path, channels, axes, depth)


class Stack:
    """A TIFF file. `length` frames of `shape` (height, width)."""

    def __init__(self, path, channels, axes, depth):
        import tifffile
        self.path, self.depth = path, depth
        if path.stat().st_size == 0:
            raise InputError(f"{path}: this video is empty: replace or remove it")
        with _one_line_for(path):
            self.file = tifffile.TiffFile(path)
            series = self.file.series
        if not series or not math.prod(series[0].shape):
            raise InputError(f"{path}: no frames in this video: replace or remove it")
        self.series = series[0]
        sizes = {each.shape[each.axes.index("Y"):][:2] for each in series if "Y" in each.axes}
        if len(sizes) > 1 and not self.file.is_ome:
            raise InputError(f"{path}: frames of different sizes ({' and '.join('%dx%d' % size for size in sizes)} "
                             f"pixels): make a video of each size")
        self.axes = self._checked(axes.upper())
        self.at = {axis: k for k, axis in enumerate(self.axes)}
        self.shape = tuple(self.series.shape[self.at[axis]] for axis in "YX")
        self.pixel_size_um = self._pixel_size_um()
        self.channels = _chosen(path, channels, self._sizes("C") * self._sizes("S"), "S" in self.at)
        self.moments = [range(size) for axis, size in zip(self.axes, self.series.shape)
                        if axis not in "CSYX" and not (axis == "Z" and depth == "max")]
        self.length = math.prod(map(len, self.moments))
        self.is_depth = depth == "slices" and self._sizes("Z") > 1

    def frames(self, wanted=None):
        """Yield (number, frame) of all frames, or of those that are `wanted`, in their order."""
        for number, moment in enumerate(itertools.product(*self.moments)):
            if wanted is None or number in wanted:
                yield number, self._frame(moment)

    def _frame(self, moment):
        names = [axis for axis in self.axes if axis not in "CSYX" and not (axis == "Z" and self.depth == "max")]
        here = dict(zip(names, moment))
        if "Z" in self.at and "Z" not in here:
            slices = (self._planes(here | {"Z": k}) for k in range(self._sizes("Z")))
            frame = next(slices)
            for each in slices:
                frame = np.maximum(frame, each)
        else:
            frame = self._planes(here)
        return _mixed(frame, self.channels)

    def _planes(self, here):
        """(channels, height, width) of one moment: `here` has an index for each axis of the stack's frames."""
        planes = [self._page(here | {"C": k} if "C" in self.at else here) for k in range(self._sizes("C"))]
        return np.concatenate(planes)

    def _page(self, here):
        """(colours, height, width) of what one or more pages of the file hold."""
        shape = self.series.shape
        inside = len(self.series.keyframe.shape)            # the last axes are those of a page
        outer, inner = shape[:-inside], shape[-inside:]
        number = int(np.ravel_multi_index([here[axis] for axis in self.axes[:-inside]], outer)) if outer else 0
        with _one_line_for(self.path, f"page {number + 1}"):
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

    def _checked(self, axes):
        """The letters of the axes: those given, or the file's, if they can be true."""
        shape, stated = self.series.shape, self.series.axes
        if axes:
            if sorted(set(axes)) != sorted(axes) or len(axes) != len(shape) or not {"Y", "X"} <= set(axes):
                raise InputError(f"{self.path}: --axes {axes} does not suit an array of "
                                 f"{'x'.join(map(str, shape))}: give one letter out of TZCSYX for each axis, "
                                 f"slowest first, among them Y and X")
            if not {*axes[-len(self.series.keyframe.shape):]} >= {"Y", "X"} and len(shape) > 2:
                return self._reordered(axes)
            return axes
        if "Y" not in stated or "X" not in stated:
            raise InputError(f"{self.path}: its axes are {stated}, without Y and X: say with --axes what they are")
        height, width = (shape[stated.index(axis)] for axis in "YX")
        others = [size for axis, size in zip(stated, shape) if axis in "TQI"]
        if height != width and max(height, width) in others and max(height, width) > 2 * min(height, width):
            raise InputError(f"{self.path}: {max(others)} frames of {height}x{width} pixels: the axes seem to be in "
                             f"another order: say with --axes YXT, or TYX if it is right, what they are")
        return stated

    def _reordered(self, axes):
        """Read a file whose pages are not images at once, and keep it as one."""
        with _one_line_for(self.path):
            array = self.series.asarray()
        order = sorted(range(len(axes)), key=lambda k: "TZCYXS".index(axes[k]))
        self.series = _Array(np.ascontiguousarray(array.transpose(order)))
        return "".join(axes[k] for k in order)

    def _sizes(self, axis):
        return self.series.shape[self.at[axis]] if axis in self.at else 1

    def _pixel_size_um(self):
        """Side of a pixel as OME-XML or ImageJ state it, or None."""
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
    """An array in the place of a file's series of pages: each of its images is a page."""

    def __init__(self, array):
        self.shape, self.array = array.shape, array
        inside = 2
        self.keyframe = array[(0,) * (array.ndim - inside)]
        self.pages = [_Page(image) for image in array.reshape(-1, *array.shape[-inside:])]


class _Page:
    def __init__(self, image):
        self.asarray = lambda: image


class Movie:
    """An AVI or MP4 file, decoded by ffmpeg. `length` is None: it is known when the file has been read."""

    length, is_depth, pixel_size_um = None, False, None

    def __init__(self, path, channels, axes, depth):
        self.path = path
        with contextlib.closing(self._decoded()) as frames:
            self.shape, colours = next(frames)
        self.channels = _chosen(path, channels, colours, colours == 3)

    def frames(self, wanted=None):
        """Yield (number, frame) of all frames, or of those that are `wanted`, in their order."""
        with contextlib.closing(self._decoded()) as frames:
            next(frames)
            for number, frame in enumerate(frames):
                if wanted is None or number in wanted:
                    yield number, _mixed(frame, self.channels)

    def _decoded(self):
        """Yield (shape, colours), then frames (colours, height, width) of 8 or 16 bits."""
        import imageio_ffmpeg
        strict = {"input_params": ["-v", "info", "-xerror", "-err_detect", "explode"],
                  "output_params": ["-fps_mode", "passthrough"]}
        with _one_line_for(self.path):
            with contextlib.closing(imageio_ffmpeg.read_frames(self.path, **strict)) as probe:
                facts = next(probe)
        source = facts.get("pix_fmt", "")
        kind, colours, dtype = ("rgb24", 3, np.uint8)
        if source.startswith("gray"):
            kind, colours, dtype = ("gray", 1, np.uint8) if source.rstrip("(),") == "gray" else ("gray16le", 1, "<u2")
        width, height = facts["size"]
        bits = 8 * colours * np.dtype(dtype).itemsize
        with _one_line_for(self.path):
            frames = imageio_ffmpeg.read_frames(self.path, pix_fmt=kind, bits_per_pixel=bits, **strict)
            next(frames)
        with contextlib.closing(frames):
            yield (height, width), colours
            for number in itertools.count(1):
                with _one_line_for(self.path, f"frame {number}"):
                    data = next(frames, None)
                if data is None:
                    break
                yield np.frombuffer(data, dtype).reshape(height, width, colours).transpose(2, 0, 1)
        if number == 1:
            raise InputError(f"{self.path}: no frames in this video: replace or remove it")


class Folder:
    """A folder of images, which are the frames in the order of their names, 2 before 10."""

    is_depth = False

    def __init__(self, path, channels, axes, depth, files=None):
        self.path = path
        self.files = files or [file for file in _entries(path) if file.suffix.lower() in IMAGES]
        if not self.files:
            raise InputError(f"{path}: no frames in this folder: replace or remove it")
        first = self._read(self.files[0])
        self.shape, self.length = first.shape[1:], len(self.files)
        self.colours = len(first)
        self.channels = _chosen(path, channels, self.colours, self.colours >= 3)
        self.pixel_size_um = None

    def frames(self, wanted=None):
        """Yield (number, frame) of all frames, or of those that are `wanted`, in their order."""
        for number, file in enumerate(self.files):
            if wanted is None or number in wanted:
                frame = self._read(file)
                if frame.shape != (self.colours, *self.shape):
                    raise InputError(f"{file} has {frame.shape[1]}x{frame.shape[2]} pixels and "
                                     f"{len(frame)} channel(s), but "
                                     f"{self.files[0].name} {self.shape[0]}x{self.shape[1]} and {self.colours}: all "
                                     f"frames of a video must be alike: move it to a folder of its own")
                yield number, _mixed(frame, self.channels)

    @staticmethod
    def _read(file):
        from PIL import Image
        if file.suffix.lower() in STACKS:
            return next(Stack(file, "all", "", "max").frames())[1]
        with _one_line_for(file), Image.open(file) as picture:
            kind = {"1": "L", "P": "RGB", "PA": "RGB", "RGBA": "RGB", "LA": "L", "CMYK": "RGB"}.get(picture.mode)
            pixels = np.asarray(picture.convert(kind) if kind else picture)
        return _checked_values(file, "image", np.atleast_3d(pixels).transpose(2, 0, 1))


# ---------------------------------------------------------------------------------------------- what these share

def _chosen(path, channels, number, are_colours):
    """Positions of the channels to read; None for the mean of the colours."""
    if channels == "all":
        return list(range(number))
    if channels and max(channels) > number:
        raise InputError(f"{path}: --channels {','.join(map(str, channels))}: this video has {number} channel(s)")
    if channels:
        return [channel - 1 for channel in channels]
    return None if are_colours else [0]


def _mixed(frame, channels):
    return frame.mean(axis=0, keepdims=True, dtype=np.float32) if channels is None else frame[channels]


def _checked_values(path, where, pixels):
    if pixels.dtype.kind not in "buif" or pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise InputError(f"{path}: {where} has values that are no finite numbers: replace it or remove it")
    return pixels


@contextlib.contextmanager
def _one_line_for(path, where="the file"):
    """Tell whatever a damaged file makes a decoder raise or log as one InputError."""
    try:
        with strict_tiffs():
            yield
    except InputError:
        raise
    except Exception as problem:        # decoders raise anything
        lines = [line for line in str(problem).splitlines() if line.strip() and "===" not in line]
        raise InputError(f"{path}: {where} can't be read "
                         f"({lines[-1].strip() if lines else type(problem).__name__}): the video "
                         f"is damaged or incomplete: copy it again, or remove it") from None
