"""Whether an HDF5 file is as it was written, found out before HDF5's library reads it.

That library can read for ever, or crash, where a file is damaged. So our files end with a digest of all bytes before
it, which HDF5 does not look at; a file without one is first read by a process of its own.
"""

import hashlib
import os
import subprocess
import sys

MARK = b"\nbiogans sha256 of all before: "
SIGNATURE = b"\x89HDF\r\n\x1a\n"
SECONDS = 2             # of computing for a trial
MOST_OBJECTS = 1 << 12  # that a trial looks at
MOST_BYTES = 1 << 26    # of arrays that a trial reads


def trailer(content):
    """The bytes that follow `content` (bytes) in a sealed file."""
    return MARK + hashlib.sha256(content).hexdigest().encode()


def append_trailer(path):
    """Seal the file `path`."""
    with open(path, "rb+") as file:
        file.write(MARK + _digest(file, os.fstat(file.fileno()).st_size))


def find_corruption(path):
    """What is wrong with the bytes of an HDF5 file, in words, or None. Raises OSError."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END) - len(MARK) - 64
        file.seek(max(size, 0))
        found = file.read()
        if found.startswith(MARK):
            return None if found == MARK + _digest(file, size) else "its checksum does not match"
        file.seek(0)
        if file.read(len(SIGNATURE)) != SIGNATURE:
            return None         # HDF5 says so itself
    trial = subprocess.run([sys.executable, __file__, path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    return "HDF5 can't cope with it" if trial.returncode < 0 else None


def _digest(file, size):
    digest = hashlib.sha256()
    file.seek(0)
    while size > 0 and (block := file.read(min(size, 1 << 20))):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest().encode()


def _try(path):
    """Read what a reader of a weights file or of a stack can come across, whether it makes sense or not."""
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))
    import h5py
    with h5py.File(path, "r", locking=False) as file:
        things, budget = [file], MOST_BYTES
        for thing in things:
            for name in _quietly(lambda: list(thing.attrs)):
                _quietly(lambda: thing.attrs[name])
            if isinstance(thing, h5py.Group):
                for name in _quietly(lambda: list(thing)):
                    if len(things) < MOST_OBJECTS and isinstance(thing.get(name, getlink=True), h5py.HardLink):
                        things += _quietly(lambda: [thing[name]])
            elif thing.shape is not None and not (thing.is_virtual or thing.external):
                budget -= thing.nbytes
                if budget > 0:
                    _quietly(lambda: thing[()])


def _quietly(read):
    try:
        return read()
    except Exception:
        return []


if __name__ == "__main__":
    del sys.path[0]             # this folder, whose modules may have the names of others
    _try(sys.argv[1])
