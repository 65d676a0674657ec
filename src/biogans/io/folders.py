"""Data folders: find the image files that `-d` and `-p` select."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from ..system.arguments import did_you_mean
from ..system.errors import InputError
from .image_files import SUFFIXES

Found = dict[str, list[Path]]           # {factor: its image files}


def find(dataroot: str | Path, factors: Sequence[str] = (), split: str = "train") -> Found:
    """Find the image files that `-d dataroot -p factors` selects: {factor: sorted paths}.

    dataroot   the folder that contains *_train and *_test, or one of these, or the folder of one factor
    split      "train" or "test"
    Raises InputError if a folder or its images are missing, if a factor is unknown, or if its name is not UTF-8.
    """
    root = Path(dataroot)
    if root.is_file():
        raise InputError(f"{root}: this is a file: give -d a folder of images, such as {root.parent}")
    if not str(dataroot) or not root.is_dir():
        raise InputError(f"{dataroot or repr('')}: no such folder: give -d the folder of your images")
    root = _split_folder(root, split)
    folders = {folder.name: files for folder in _folders(root) if (files := _image_files(folder))}
    if not folders:
        files = _image_files(root)
        if not files:
            raise InputError(f"{root}: no images here: expected folders of {', '.join(SUFFIXES)} files, "
                             f"one per factor")
        folders = {Path(os.path.abspath(root)).name: files}
    _check_names(folders)
    for factor in factors:
        if factor not in folders:
            raise InputError(f"{root}: no polarity factor {factor}: {did_you_mean(factor, folders)}it has "
                             f"{', '.join(folders)}")
    return {name: files for name, files in folders.items() if not factors or name in factors}


def _check_names(folders):
    """Raise InputError if the name of a folder can't be stored in a file."""
    for name in folders:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(f"{name}: the name of this folder of images is not UTF-8: rename it") from None


def _split_folder(root, split):
    """The folder *_<split> in or beside `root`, or `root` itself if the images are not split."""
    for ending in ("_train",) if split == "train" else ("_test", "_train"):
        inside = [folder for folder in _folders(root) if folder.name.endswith(ending)]
        if len(inside) > 1:
            raise InputError(f"{root}: several data sets here: give -d one of {', '.join(map(str, inside))}")
        if inside:
            root = inside[0]
            break
    return root if split == "train" else _test_twin(root)


def _test_twin(root):
    """*_test for *_train, *_test/<Factor> for *_train/<Factor>, otherwise `root` itself."""
    twins = []
    for name in (os.path.normpath(root), os.path.abspath(root), os.path.realpath(root)):    # it may be "." or a link
        start = Path(name)
        of_one_factor = not name.endswith("_train") and _image_files(start)
        folder = start.parent if of_one_factor else start
        if folder.name.endswith("_train"):
            twins.append(folder.with_name(folder.name[:-len("_train")] + "_test") / start.relative_to(folder))
    for twin in twins:
        if twin.is_dir():
            return twin
    if twins:
        raise InputError(f"{twins[0]}: no such folder: it should contain the images to compare with")
    return root


def _folders(root):
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _image_files(folder):
    return sorted(path for path in folder.iterdir()
                  if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def thinned(found: Found, most: int) -> Found:
    """At most `most` of the image files {factor: [path, …]} of each factor, evenly spaced."""
    return {name: files[::math.ceil(len(files) / most)] for name, files in found.items()}
