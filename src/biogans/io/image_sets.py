"""Decode the many images of a set in several processes, a few files at a time."""

import collections
import concurrent.futures.process
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..system.errors import InputError
from ..system.files import require_regular
from ..system.processes import process_pool
from ..system.progress import reading
from . import image_files


class Blocks:
    """An iterable of (pixels (images, height, width, channels), positions in `paths`), a few files at a time.

    Only a few blocks are read ahead, so memory does not grow with the number of files.
    """

    bytes_per_block, most_files = 2**23, 64
    ahead = 8

    def __init__(self, paths: Sequence[Path], skip_bad_images: bool = False, title: str = "reading images") -> None:
        self.paths, self.skip_bad_images, self.title = paths, skip_bad_images, title

    def __iter__(self) -> Iterator[tuple[np.ndarray, list[int]]]:
        first = None
        step = min(self.most_files, max(1, self.bytes_per_block // (1 + size_and_date(self.paths[0])[0])))
        starts = range(0, len(self.paths), step)
        with readers() as pool:
            results = self._read(pool, [self.paths[start:start + step] for start in starts])
            for block, start in zip(results, reading(self.title)(starts), strict=True):   # forks before threads start
                frames: list[np.ndarray] = []
                positions: list[int] = []
                for position, result in enumerate(block, start):
                    if isinstance(result, InputError):
                        if self.skip_bad_images:
                            continue
                        raise result
                    first = first or (self.paths[position], result)
                    _check_alike(self.paths[position], result, *first)
                    frames.append(result)
                    positions += [position] * len(result)
                if frames:
                    yield np.concatenate(frames), positions
        if first is None:
            raise InputError(f"{self.paths[0].parent}: none of the {len(self.paths)} images can be read")

    def _read(self, pool, blocks):
        """Yield what _read_block returns for each of the `blocks`, in order."""
        waiting: collections.deque = collections.deque()
        try:
            for block in blocks:
                waiting.append(pool.submit(_read_block, block))
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


def _read_block(paths):
    return [_read(path) for path in paths]


def _read(path):
    """The images of one file, or the InputError that says why it can't be read."""
    try:
        require_regular(path, "replace or remove it, or leave out such files with --skip_bad_images")
    except InputError as mistake:
        return mistake
    return image_files.read_or_error(path)
