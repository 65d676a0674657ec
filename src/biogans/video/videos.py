"""Videos, read frame by frame: stacks of all image formats, AVI and MP4, and folders of frames.

A frame is an array (channels, height, width) of values as stored. Only one is in memory at a time, however long the
video is. Axes have the letters of tifffile: T time, Z depth, C channel, S colour, Y down, X right, Q and I unknown.
"""

import contextlib
import itertools
import math
import re
from pathlib import Path

import numpy as np

from ..io.image_files import CONTAINERS, MOST_PIXELS, SUFFIXES, TIFFS, as_numbers, decoding, open_image
from ..system.errors import InputError
from ..system.files import require_regular
from ..system.progress import tell_once

STACKS = TIFFS + CONTAINERS
MOVIES = (".avi", ".mp4", ".mov", ".mkv")
# A movie can be a playlist, or name other files: ffmpeg opens this file alone, as one of these containers.
SINGLE_FILE = ["-protocol_whitelist", "file", "-format_whitelist", "avi,mov,matroska", "-max_pixels", str(MOST_PIXELS)]
REMEDY = "the video is damaged or incomplete: copy it again, or remove it"
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
    """Number of planes of a file; 0 if it can't be read, which is reported when it is."""
    try:
        with decoding(path, REMEDY), contextlib.closing(open_image(path, as_frames=True)) as file:
            return math.prod(map(file.size, file.outer))
    except InputError:
        return 0


# ---------------------------------------------------------------------------------------------- reading

def open_video(path, channels=(), axes="", depth="max"):
    """Open the Stack, Movie or Folder at `path`.

    channels   channels to read, counted from 1; by default the first one, or the mean of the colours of a picture
    axes       axes of a TIFF, slowest first, such as YXT, if the file states them wrongly
    depth      one of DEPTH

    Raises InputError.
    """
    is_folder = path.is_dir() and path.suffix.lower() not in CONTAINERS
    if not path.is_dir():
        require_regular(path)
    kind = Folder if is_folder else Movie if path.suffix.lower() in MOVIES else Stack
    return kind(path, channels, axes, depth)


class Stack:
    """An image file with `length` frames of `shape` (height, width)."""

    def __init__(self, path, channels, axes, depth):
        self.path = path
        with decoding(path, REMEDY):
            self.file = open_image(path, axes, as_frames=True)
        for note in self.file.notes:
            tell_once(f"{path}: {note}")
        self._require_frames(given=bool(axes))
        self.shape = self.file.size("Y"), self.file.size("X")
        self.pixel_size_um = self.file.pixel_size_um
        number = self.file.size("C") * self.file.colours
        self.channels = _positions(path, channels, number, self.file.colours > 1)
        self.frame_axes = [axis for axis in self.file.outer if axis != "C" and not (axis == "Z" and depth == "max")]
        self.length = math.prod(map(self.file.size, self.frame_axes))
        self.is_depth = depth == "slices" and self.file.size("Z") > 1

    def _require_frames(self, given):
        """Raise InputError without frames, or if they are implausible and no axes were `given`."""
        file = self.file
        height, width = file.size("Y"), file.size("X")
        others = [file.size(axis) for axis in file.outer if axis != "C"]
        if "T" in file.axes and "P" in file.axes:
            raise InputError(f"{self.path}: {file.size('P')} positions in one video: save each as a file of its own")
        if file.left_out:
            raise InputError(f"{self.path}: frames of different sizes: make one video of each size")
        if not math.prod(file.shape):
            raise InputError(f"{self.path}: no frames in this video: replace or remove it")
        if not given and height != width and max(height, width) in others and max(height, width) > 2 * min(height,
                                                                                                          width):
            raise InputError(f"{self.path}: {max(others)} frames of {height}x{width} pixels: the axes seem to be in "
                             f"another order: give --axes YXT, or --axes TYX if they are correct")

    def frames(self, wanted=None):
        """Yield (number, frame) of all frames, or of those in `wanted`, in their order."""
        for number, moment in enumerate(itertools.product(*(range(self.file.size(axis)) for axis in self.frame_axes))):
            if wanted is None or number in wanted:
                yield number, self._frame(dict(zip(self.frame_axes, moment)), f"frame {number + 1}")

    def _frame(self, here, where):
        """The channels to read of one frame: `here` has an index for each axis of the frames."""
        depths = [{"Z": k} for k in range(self.file.size("Z"))] if "Z" not in here else [{}]
        frame = None
        for depth in depths:
            with decoding(self.path, REMEDY, where):
                pixels = np.moveaxis(as_numbers(self.file.image(here | depth)), -1, 0)
            frame = pixels if frame is None else np.maximum(frame, pixels)
        return _selected(frame, self.channels)


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
        source = f"file:{self.path.absolute()}"         # "concat:a.mp4" and the like are protocols
        strict = {"input_params": ["-v", "info", "-xerror", "-err_detect", "explode", *SINGLE_FILE],
                  "output_params": ["-fps_mode", "passthrough"]}
        with decoding(self.path, REMEDY), contextlib.closing(imageio_ffmpeg.read_frames(source, **strict)) as probe:
            facts = next(probe)
        stored = facts.get("pix_fmt", "")
        kind, colours, dtype = ("rgb24", 3, np.uint8)
        if stored.startswith("gray"):
            kind, colours, dtype = ("gray", 1, np.uint8) if stored.rstrip("(),") == "gray" else ("gray16le", 1, "<u2")
        width, height = facts["size"]
        bits = 8 * colours * np.dtype(dtype).itemsize
        with decoding(self.path, REMEDY):
            frames = imageio_ffmpeg.read_frames(source, pix_fmt=kind, bits_per_pixel=bits, **strict)
            next(frames)
        with contextlib.closing(frames):
            yield (height, width), colours
            for number in itertools.count(1):
                with decoding(self.path, REMEDY, f"frame {number}"):
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
        return next(Stack(file, "all", "", "max").frames())[1]


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
