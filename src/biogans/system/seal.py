"""Verify HDF5 files before the HDF5 library reads them.

On a damaged file the library can crash, or read for ever. So our files end with a digest of all bytes before it, which
HDF5 ignores; a file without a digest is first read by a separate process.
"""

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

MARK = b"\nbiogans sha256 of all before: "
SIGNATURE = b"\x89HDF\r\n\x1a\n"
SECONDS = 2             # computing time of a trial
MOST_OBJECTS = 1 << 12  # groups and arrays that a trial visits
MOST_BYTES = 1 << 26    # bytes of arrays that a trial reads


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
        if found.startswith(MARK) and size <= most_digested:
            return None if found == MARK + _digest(file, size) else "its checksum does not match"
        file.seek(0)
        if file.read(len(SIGNATURE)) != SIGNATURE:
            return None         # HDF5 itself reports that it is no HDF5 file
    trial = subprocess.run([sys.executable, __file__, path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    return "HDF5 can't read it safely" if trial.returncode < 0 else None


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

    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))
    import h5py

    with h5py.File(path, "r", locking=False) as file:
        objects, budget = [file], MOST_BYTES
        for thing in objects:
            for name in _quietly(list, thing.attrs):
                _quietly(thing.attrs.__getitem__, name)
            if isinstance(thing, h5py.Group):
                for name in _quietly(list, thing):
                    if len(objects) < MOST_OBJECTS and isinstance(thing.get(name, getlink=True), h5py.HardLink):
                        objects += _quietly(_members, thing, name)
            elif thing.shape is not None and not (thing.is_virtual or thing.external):
                budget -= thing.nbytes
                if budget > 0:
                    _quietly(thing.__getitem__, ())


def _members(group, name):
    return [group[name]]


def _quietly(read, *arguments):
    """read(*arguments), or [] if it fails: only a crash or an endless read matters here."""
    try:
        return read(*arguments)
    except Exception:
        return []


if __name__ == "__main__":
    del sys.path[0]             # this folder, whose modules may have the names of libraries
    _try(sys.argv[1])
