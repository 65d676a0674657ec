"""Videos or fields as sources of images, each for training or for testing."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from ..io.folders import require_utf8
from ..system.errors import InputError
from ..system.files import same_twice
from .videos import name_of


class Source(NamedTuple):
    """A file or folder to be processed, and where its images belong."""

    path: Path
    name: str
    factor: str                         # its class
    split: str                          # "train" or "test"


def hold_out(found, fraction, seed):
    """Assign {class: paths} to training and testing: a list of Sources.

    In each class, `fraction` of the sources and at least one are held out, chosen as a function of the seed and their
    names; the only source of a class is for training. Raises InputError if two sources of a class have the same name,
    if a name is not UTF-8, or if links show one source twice, which would be in training and test at once.
    """
    if twice := same_twice(path for paths in found.values() for path in paths):
        raise InputError(f"{twice[0]} and {twice[1]} are one, which a link shows twice: remove the link")
    require_utf8(found, "class")
    sources = []
    for factor, paths in found.items():
        names = [name_of(path) for path in paths]
        require_utf8(names, "video")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{paths[0].parent}: two videos are called {twice}: rename one of them")
        order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{factor}/{name}".encode()).digest())
        number = 0 if len(names) == 1 or fraction == 0 else max(1, round(fraction * len(names)))
        held_out = set(order[:min(number, len(names) - 1)])
        sources += [Source(path, name, factor, "test" if name in held_out else "train")
                    for path, name in zip(paths, names)]
    return sources
