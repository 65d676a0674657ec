"""Write, open and verify self-describing HDF5 files.

Two root attributes describe a file: `biogans`, a JSON text, and `sha256`, a digest of this text and of every array. The
file ends with a digest of all bytes before it (seal.py). Nothing is ever unpickled, and links are not followed.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import seal
from .errors import InputError
from .files import require_regular, write
from .json_text import parse_json
from .lazy import Variable

MOST_CHARACTERS = 1 << 20       # in the attribute `biogans`
MOST_OBJECTS = 1 << 16          # groups and arrays in a file
DEEPEST = 16                    # levels of groups within groups
UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)   # what h5py raises on damage


class Damaged(InputError):
    """A file is missing, incomplete, or has changed since it was written.

    what     the problem, without the remedy
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}: {remedy}")
        self.what = what


class Corrupt(ValueError):
    """The bytes of a file are not those that were written."""


def opened(path: str | Path, most_digested: float = math.inf) -> Any:
    """Verify the bytes of the HDF5 file `path`, then open it for reading (h5py.File, also for `with`).

    most_digested   bytes; see seal.find_corruption

    Raises Corrupt if its bytes are not safe to read, and InputError if it is a pipe or a device; reading a damaged file
    can raise any of UNREADABLE.
    """
    import h5py

    if os.path.exists(path):
        require_regular(path, "give an HDF5 file")
    if problem := seal.find_corruption(path, most_digested):
        raise Corrupt(problem)
    return h5py.File(path, "r", locking=False)


def reason(problem: BaseException) -> str:
    """The first line of an exception's message, or the name of its class."""
    return (str(problem).splitlines() or [type(problem).__name__])[0]


def own_dataset(file: Any, name: str) -> Any:
    """The dataset `name` of an open file if it is stored in this file itself, else None: links are not followed."""
    import h5py

    link = file.get(name, getlink=True)                     # `name in file` would open the file that a link names
    dataset = file[name] if isinstance(link, h5py.HardLink) else None
    own = isinstance(dataset, h5py.Dataset) and not (dataset.external or dataset.is_virtual)
    return dataset if own else None


def read_described(path: str | Path, remedy: str = "use another copy") -> tuple[dict[str, np.ndarray], Any]:
    """Read and verify a file that `describe` has described: ({name: array}, description).

    Raises Damaged, with this remedy, or InputError if the file can't be read at the moment.
    """
    with _described(path, remedy) as (file, text):
        arrays, sha256, description = _arrays(file), text_attribute(file, "sha256"), parse_json(text)
    if sha256 != _digest(arrays, text):
        raise Damaged(f"{path} is damaged (its checksum does not match)", remedy)
    return arrays, description


def read_description(path: str | Path, remedy: str = "use another copy") -> Any:
    """Read the description of a file without its arrays. Raises as `read_described` does."""
    with _described(path, remedy) as (_, text):
        return parse_json(text)


@contextlib.contextmanager
def _described(path, remedy):
    """Yield the open file and the text that describes it. Problems with the file become Damaged or InputError."""
    try:
        with opened(path) as file:
            text = text_attribute(file, "biogans")
            if text is None and own_dataset(file, "stack") is not None:
                raise Damaged(f"{path} is an image stack, not a file of weights", f"visualize.py -i {path} draws it")
            if text is None:
                raise Damaged(f"{path} was not written by BioGANs, or only in part",
                              "give a file from a checkpoints folder")
            yield file, text
    except FileNotFoundError:
        raise Damaged(f"{path} is not there", "give a file from a checkpoints folder") from None
    except Corrupt as problem:
        raise Damaged(f"{path} is damaged ({problem})", remedy) from None
    except UNREADABLE as problem:
        if isinstance(problem, OSError) and problem.errno in (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE):
            raise InputError(f"{path} can't be read now ({reason(problem)}): solve that first") from None
        raise Damaged(f"{path} is not a readable weights file ({reason(problem)})", remedy) from None


def new_in_memory() -> Any:
    """A new HDF5 file (h5py.File) in memory: on a full disk, HDF5 neither states how much it needs nor ends cleanly."""
    import h5py

    class File(h5py.File):
        def __str__(self):
            return "memory.h5"          # Keras accepts an open file if its name ends in .h5

    return File("memory.h5", "w", driver="core", backing_store=False, block_size=1 << 22)


def describe(file: Any, description: Mapping[str, Any]) -> None:
    """Write the description of an open file, for JSON, and the digest of it and of all arrays, into its attributes."""
    text = json.dumps(description)
    file.attrs["biogans"] = text
    file.attrs["sha256"] = _digest(_arrays(file), text)


def write_described(path: str | Path, file: Any, description: Mapping[str, Any]) -> None:
    """Describe and seal a file in memory, and write it to `path`, completely or not at all. Raises files.NoRoom."""
    describe(file, description)
    file.flush()
    content = file.id.get_file_image()
    write(path, content, seal.trailer(content))
    seal.trust(path)


def require_alike(path: str | Path, arrays: Mapping[str, np.ndarray], variables: Sequence[tuple[str, Variable]]
                  ) -> None:
    """Raise InputError unless the arrays of the file `path`, {name: array}, fit Keras variables [(name, variable)]."""
    if arrays.keys() != {name for name, _ in variables}:
        raise InputError(f"{path} holds other layers than its description states: use another copy, or train again")
    for name, variable in variables:
        if arrays[name].shape != tuple(variable.shape):
            raise InputError(f"{path}: {name} has the shape {arrays[name].shape}, not {tuple(variable.shape)}: use "
                             f"another copy, or train again")


def assign(path: str | Path, arrays: Mapping[str, np.ndarray], variables: Sequence[tuple[str, Variable]]) -> None:
    """Assign the arrays of the file `path` to Keras variables. Raises as `require_alike` does."""
    require_alike(path, arrays, variables)
    for name, variable in variables:
        variable.assign(arrays[name])


def text_attribute(file: Any, name: str) -> str | None:
    """A text attribute of the file's root, of at most MOST_CHARACTERS, or None."""
    if name not in file.attrs or file.attrs.get_id(name).get_storage_size() > MOST_CHARACTERS:
        return None
    text = file.attrs[name]
    return text if isinstance(text, str) and len(text) <= MOST_CHARACTERS else None


def _arrays(file):
    """{name: array} of all datasets stored in the file itself. Raises ValueError for anything else."""
    datasets = {}
    for name, dataset in _datasets(file):
        if dataset.dtype.kind not in "fiub" or dataset.shape is None:
            raise ValueError("its arrays do not hold numbers")
        if dataset.is_virtual or dataset.external:
            raise ValueError("its arrays are stored in other files")
        datasets[name] = dataset
    claimed = sum(math.prod(dataset.shape) * dataset.dtype.itemsize for dataset in datasets.values())
    if file.driver != "core" and claimed > os.stat(file.filename).st_size:
        raise ValueError("its arrays claim more bytes than the file has")
    if any(dataset.chunks for dataset in datasets.values()):
        raise ValueError("its arrays are stored in pieces or compressed, as no weights file has them")
    return {name: np.asarray(dataset[()]) for name, dataset in datasets.items()}


def _datasets(file):
    """Yield (name, dataset) of all datasets of a file. HDF5's own visit is recursive and can overflow its stack."""
    import h5py

    groups, objects = [("", file, 0)], 0
    while groups:
        prefix, group, depth = groups.pop()
        for name in group:
            objects += 1
            if not isinstance(name, str):
                raise ValueError("a name in it is not text")
            if objects > MOST_OBJECTS or depth > DEEPEST:
                raise ValueError("it has more, or deeper, groups than a network")
            if isinstance(group.get(name, getlink=True), h5py.HardLink):
                thing = group[name]
                if isinstance(thing, h5py.Dataset):
                    yield prefix + name, thing
                elif isinstance(thing, h5py.Group):
                    groups.append((f"{prefix}{name}/", thing, depth + 1))


def _digest(arrays, text):
    """SHA-256 of the text and of the names, types, shapes and values of all arrays."""
    digest = hashlib.sha256(text.encode(errors="surrogatepass"))        # names in a damaged file can be any bytes
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode(errors="surrogatepass"))
        digest.update(array.tobytes())
    return digest.hexdigest()
