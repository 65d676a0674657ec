"""Verify HDF5 files before the HDF5 library reads them.

On a damaged file the library can crash, or read for ever. So our files end with a digest of all bytes before it, which
HDF5 ignores and which reveals damage. It does not tell who wrote the file: anyone can compute it. So every file that
this process did not write is first read by a separate one.
"""

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

MARK = b"\nbiogans sha256 of all before: "
SIGNATURE = b"\x89HDF\r\n\x1a\n"
SECONDS, MOST_SECONDS = 2, 20   # computing time of a trial: one more for each 8 MB of the file, up to the second
MOST_OBJECTS = 1 << 16          # groups and arrays that a trial visits; a file with more could hide one from it
TOO_MANY = 3                    # exit status of a trial of such a file
DEEPEST = 17                    # levels of groups that it visits, one more than readers do: names grow with the depth
MOST_BYTES = 1 << 26            # bytes of arrays that a trial reads
NO_PLUGINS = {"HDF5_PLUGIN_PRELOAD": "::"}      # a file can name filters, which HDF5 would load from a folder

_safe: set[tuple[int, ...]] = set()     # files that a trial has read, or that this process has written


def trailer(content: bytes) -> bytes:
    """The bytes that follow `content` in a sealed file."""
    return MARK + hashlib.sha256(content).hexdigest().encode()


def append_trailer(path: str | Path) -> None:
    """Seal the file `path`."""
    with open(path, "rb+") as file:
        file.write(MARK + _digest(file, os.fstat(file.fileno()).st_size))


def find_corruption(path: str | Path, most_digested: float = math.inf) -> str | None:
    """A description of what is wrong with the bytes of an HDF5 file, or None. Raises OSError if it can't be read.

    most_digested   bytes; a larger file is only tried, which takes as long for any size and finds what would make the
                    library crash, but not a wrong pixel
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END) - len(MARK) - 64
        file.seek(max(size, 0))
        found = file.read()
        sealed = found.startswith(MARK) and size <= most_digested
        if sealed and found != MARK + _digest(file, size):
            return "its checksum does not match"
        file.seek(0)
        if file.read(len(SIGNATURE)) != SIGNATURE or _identity(path) in _safe:
            return None         # HDF5 itself reports that it is no HDF5 file
    trial = subprocess.run([sys.executable, __file__, path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, env=os.environ | NO_PLUGINS)
    if trial.returncode < 0:
        return "HDF5 can't read it safely"
    if trial.returncode == TOO_MANY:
        return "it has more groups than can be tried"
    trust(path)
    return None


def trust(path: str | Path) -> None:
    """Leave out the trial of the file `path` from now on, until it changes: this process has written it."""
    _safe.add(_identity(path))


def _identity(path):
    """What changes when a file is replaced or written to."""
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _digest(file, size):
    """SHA-256, in hexadecimal, of the first `size` bytes of an open file."""
    digest = hashlib.sha256()
    file.seek(0)
    while size > 0 and (block := file.read(min(size, 1 << 20))):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest().encode()


def _try(path):
    """Read everything that a reader of a weights file or of a stack can encounter, whether it makes sense or not."""
    import resource

    seconds = min(SECONDS + (os.path.getsize(path) >> 23), MOST_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))
    import h5py

    known, budget = set(), MOST_BYTES

    def visit(thing, depth):
        nonlocal budget
        place = _quietly(hash, thing), depth        # two links to one object have the same hash
        if place in known:
            return
        if len(known) == MOST_OBJECTS:
            os._exit(TOO_MANY)
        known.add(place)
        for name in _quietly(list, thing.attrs):
            _quietly(thing.attrs.__getitem__, name)
        if isinstance(thing, h5py.Group):
            for name in _quietly(list, thing) if depth < DEEPEST else ():
                if isinstance(thing.get(name, getlink=True), h5py.HardLink):
                    for member in _quietly(_members, thing, name):
                        visit(member, depth + 1)
        elif thing.shape is not None and not (thing.is_virtual or thing.external):
            budget -= thing.nbytes
            if budget > 0:
                _quietly(thing.__getitem__, ())

    with h5py.File(path, "r", locking=False) as file:
        visit(file, 0)


def _members(group, name):
    return [group[name]]


def _quietly(read, *arguments):
    """read(*arguments), or () if it fails: only a crash or an endless read matters here."""
    try:
        return read(*arguments)
    except Exception:
        return ()


if __name__ == "__main__":
    del sys.path[0]             # this folder, whose modules may have the names of libraries
    _try(sys.argv[1])
