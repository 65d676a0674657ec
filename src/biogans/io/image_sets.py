"""Decode the many images of a set in several processes, a few files at a time, into one array of 8 bits."""

import collections
import concurrent.futures.process
import dataclasses
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..system.errors import InputError
from ..system.processes import process_pool
from ..system.progress import reading
from . import image_files
from .image_files import MOST_CHANNELS, MOST_STORED
from .intensities import PERCENTILES, Clipping, Intensities, Survey

LARGEST = 1e300     # of stored intensities: finite, also as floats
FAINT = 0.2         # of the mean of the brightest channel: darker channels of JPEGs are taken as its noise


@dataclasses.dataclass(frozen=True)
class ReadSettings:
    """How the files of a set are read.

    channels            channels of the files to use, counted from 1; by default all that vary
    axes                letters of the axes of each file, slowest first; by default as the files state
    intensities         the values that become 0 and 255; by default those of the rule in intensities.py
    percentiles         those of this rule; by default 0.1 and 99.9, and images of 8 bits stay as they are
    nan_is_background   whether NaN is black; otherwise it is refused
    skip_bad_images     whether to skip files that can't be read, instead of refusing the set
    """

    channels: tuple[int, ...] = ()
    axes: str = ""
    intensities: Intensities | None = None
    percentiles: tuple[float, float] | None = None
    nan_is_background: bool = False
    skip_bad_images: bool = False

    def to_json(self) -> dict[str, Any]:
        """The dict that files store: all but what a later set can't need."""
        stored = {"channels": list(self.channels), "axes": self.axes, "nan_is_background": self.nan_is_background}
        if self.intensities:
            stored |= {"black": list(self.intensities.black), "white": list(self.intensities.white)}
        return {name: value for name, value in stored.items() if value or name == "channels"}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "ReadSettings":
        """The settings that `to_json` made a dict of. Raises ValueError for other ones."""
        channels, axes, black, white = (stored.get(name, default) for name, default in
                                        (("channels", None), ("axes", ""), ("black", []), ("white", [])))
        if not (isinstance(channels, list) and all(type(k) is int and 0 < k <= MOST_STORED for k in channels)
                and isinstance(axes, str) and isinstance(black, list) and isinstance(white, list)
                and len(black) == len(white) and (not black or len(black) >= max(channels, default=1))
                and all(isinstance(value, (int, float)) and abs(value) < LARGEST for value in [*black, *white])):
            raise ValueError("no settings of images")
        intensities = Intensities(tuple(map(float, black)), tuple(map(float, white))) if black else None
        return cls(tuple(channels), axes, intensities, nan_is_background=stored.get("nan_is_background") is True)


AS_STATED = ReadSettings()


class Block(NamedTuple):
    """Some images of a set.

    pixels      (images, height, width, channels), values as stored
    positions   position of each image's file
    """

    pixels: np.ndarray
    positions: list[int]


class Blocks:
    """An iterable of Blocks of the files `paths`, a few at a time.

    Only a few blocks are read ahead, so memory does not grow with the number of files. Attributes after an iteration:

    notes           what was assumed about files, a set of lines
    lossy           whether a file has a compression that changes values
    pixel_size_um   as the first image's file states it, or None
    skipped         number of files that could not be read
    """

    bytes_per_block, most_files = 2**23, 64
    ahead = 8

    def __init__(self, paths: Sequence[Path], settings: ReadSettings, title: str = "reading images") -> None:
        self.paths, self.settings, self.title = paths, settings, title
        self.notes: dict[str, Path] = {}
        self.lossy, self.pixel_size_um, self.skipped = False, None, 0

    def __iter__(self) -> Iterator[Block]:
        first, self.skipped = None, 0
        step = min(self.most_files, max(1, self.bytes_per_block // (1 + size_and_date(self.paths[0])[0])))
        starts = range(0, len(self.paths), step)
        with readers() as pool:
            results = self._read(pool, [self.paths[start:start + step] for start in starts])
            for block, start in zip(results, reading(self.title)(starts), strict=True):   # forks before threads start
                frames: list[np.ndarray] = []
                positions: list[int] = []
                for position, result in enumerate(block, start):
                    if isinstance(result, InputError):
                        if not self.settings.skip_bad_images:
                            raise result
                        self.skipped += 1
                        continue
                    first = first or self._begin(self.paths[position], result)
                    _check_alike(self.paths[position], result.frames, *first)
                    self.lossy |= result.lossy
                    for note in result.notes:
                        self.notes.setdefault(note, self.paths[position])
                    frames.append(result.frames)
                    positions += [position] * len(result.frames)
                if positions:
                    yield Block(np.concatenate(frames), positions)
        if first is None:
            raise InputError(f"{self.paths[0].parent}: none of the {len(self.paths)} images can be read")

    def _begin(self, path, result):
        """Keep what the first file states; (path, its images)."""
        self.pixel_size_um = result.pixel_size_um
        return path, result.frames

    def _read(self, pool, blocks):
        """Yield what _read_block returns for each of the `blocks`, in order."""
        waiting: collections.deque = collections.deque()
        try:
            for block in blocks:
                waiting.append(pool.submit(_read_block, block, self.settings))
                if len(waiting) > self.ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except concurrent.futures.process.BrokenProcessPool:
            raise InputError(f"{self.paths[0].parent}: a process that read images died, perhaps from lack of memory or "
                             f"a damaged image: ask for more memory, or look for an image that other programs refuse"
                             ) from None


def readers() -> concurrent.futures.Executor:
    """An executor with at least four workers, which hide the latency of network disks.

    They are processes, because Pillow holds Python's global lock while it decodes and threads slow one another down. A
    process that runs the threads of TensorFlow or JAX can't be forked safely; there, the workers are threads, as they
    are where the system has no room for what connects processes.
    """
    if sys.platform != "linux" or {"tensorflow", "jax"} & sys.modules.keys():
        return concurrent.futures.ThreadPoolExecutor(4)
    workers = min(8, max(4, len(os.sched_getaffinity(0))))
    return process_pool(workers, "fork", _ignore_interrupts)


def _ignore_interrupts():
    """Leave Ctrl-C and a batch system's signals, which reach the whole process group, to the parent process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def _check_alike(path, frames, first_path, first):
    """Raise InputError if the images of two files, (images, height, width, channels), differ in shape or type."""
    if frames.shape[1:] != first.shape[1:]:
        kinds = ["{}x{} pixels with {} channel(s)".format(*array.shape[1:]) for array in (frames, first)]
        raise InputError(f"{path} has {kinds[0]}, but {first_path} has {kinds[1]}: all images must be alike")
    if frames.dtype != first.dtype:
        raise InputError(f"{path} is {frames.dtype}, but {first_path} is {first.dtype}: all images must be alike")


def size_and_date(path: Path) -> tuple[int, int]:
    """Bytes and time of the last change of a file; (0, 0) if it can't be read, which its reader reports."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _read_block(paths, settings):
    return [image_files.read_or_error(path, axes=settings.axes, nan_is_background=settings.nan_is_background,
                                      most_channels=MOST_STORED if settings.channels else MOST_CHANNELS)
            for path in paths]


# ---------------------------------------------------------------------------------------------- one array

class Gathered(NamedTuple):
    """The images of a set.

    pixels          uint8 (images, height, width, channels)
    kept            position of each image's file
    settings        the settings, with the channels and intensities that were used
    pixel_size_um   side of a pixel in micrometres, or None
    notes           lines for the user: what was assumed or chosen
    """

    pixels: np.ndarray
    kept: np.ndarray
    settings: ReadSettings
    pixel_size_um: float | None
    notes: tuple[str, ...]


def gather(blocks: Iterable[Block], source: Blocks, allocate: Callable[..., np.ndarray]) -> Gathered:
    """Join the blocks, which are iterated over twice, into one array that `allocate(shape, dtype)` creates.

    source   the Blocks that they come from
    Raises InputError if channels that were asked for are not there.
    """
    settings, extent, kept = source.settings, Extent(), []
    survey = Survey(settings.percentiles or PERCENTILES)
    for pixels, positions in blocks:
        kept += positions
        extent.add(pixels, source.lossy)
        if not settings.intensities and (pixels.dtype != np.uint8 or settings.percentiles):
            survey.add(pixels)
    if np.all(extent.low > extent.high):
        raise InputError(f"{source.paths[0].parent}: all pixels are NaN: give images of numbers")
    used, notes = used_channels(settings.channels, extent, source.lossy)
    intensities = settings.intensities or survey.result()
    if intensities and len(intensities.black) <= max(used):
        raise InputError(f"--range has {len(intensities.black)} channels, and channel {max(used) + 1} is to be read: "
                         f"give black and white of each channel of the files")
    result = allocate((len(kept), *pixels.shape[1:3], len(used)), np.uint8)
    clipping, start = Clipping(), 0
    for pixels, _ in blocks:
        block = result[start:start + len(pixels)]
        for k, channel in enumerate(used):
            block[..., k] = intensities.to_bytes(pixels[..., channel], channel) if intensities else pixels[..., channel]
            if intensities:
                clipping.add(intensities, pixels[..., channel], channel, block[..., k])
        start += len(pixels)
    notes += [f"{path}: {note}" for note, path in source.notes.items()]
    notes += clipping.describe(intensities, used, bool(settings.intensities)) if intensities else []
    found = dataclasses.replace(settings, channels=tuple(channel + 1 for channel in used), intensities=intensities)
    return Gathered(result, np.array(kept), found, source.pixel_size_um, tuple(notes))


class Extent:
    """Range and mean of each channel of a set, and whether all channels are equal."""

    def __init__(self) -> None:
        self.low: Any = np.inf
        self.high: Any = -np.inf
        self.total: Any = 0.0
        self.equal = True

    def add(self, pixels: np.ndarray, lossy: bool) -> None:
        """Add images (images, height, width, channels); the mean only matters if they are `lossy`."""
        lowest, highest = (np.fmin, np.fmax) if pixels.dtype.kind == "f" else (np.minimum, np.maximum)
        # An axis at a time is 100 times faster than all together.
        self.low = lowest(self.low, functools.reduce(lambda array, axis: lowest.reduce(array, axis), (0, 0, 0), pixels))
        self.high = highest(self.high,
                            functools.reduce(lambda array, axis: highest.reduce(array, axis), (0, 0, 0), pixels))
        self.equal = self.equal and pixels.shape[-1] == 3 and bool((pixels == pixels[..., :1]).all())
        if lossy:
            self.total = self.total + pixels.sum(axis=(0, 1, 2), dtype=np.float64)


def used_channels(channels: Sequence[int], extent: Extent, lossy: bool) -> tuple[list[int], list[str]]:
    """(positions of the channels to use, what was assumed): those asked for, or all that vary and say something new.

    LIN images have an empty blue channel; gray pictures are often stored as three equal channels; and JPEG leaves noise
    in an empty channel.
    """
    if channels and max(channels) > len(extent.low):
        raise InputError(f"--channels {','.join(map(str, channels))}: the images have only {len(extent.low)} "
                         f"channel(s)")
    if len(channels) > MOST_CHANNELS:
        raise InputError(f"--channels {','.join(map(str, channels))}: choose at most {MOST_CHANNELS}")
    if len(set(channels)) < len(channels):
        raise InputError(f"--channels {','.join(map(str, channels))}: give each channel once")
    if channels:
        return [channel - 1 for channel in channels], []
    varying = np.flatnonzero(extent.high > extent.low).tolist() or [0]
    if extent.equal and len(varying) == 3:
        return [0], ["the three channels are equal: one is used (--channels 1,2,3 keeps all)"]
    faint = [k for k in varying if lossy and extent.total[k] < FAINT * max(extent.total)]
    if not faint:
        return varying, []
    names = ", ".join(str(k + 1) for k in faint)
    return ([k for k in varying if k not in faint],
            [f"channel {names} is nearly empty and taken as noise of JPEG (--channels "
             f"{','.join(str(k + 1) for k in varying)} keeps it)"])
