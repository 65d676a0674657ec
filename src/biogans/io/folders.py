"""Data folders: find the image files that `-d` and `-p` select."""

import collections
import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..system.arguments import did_you_mean
from ..system.errors import InputError
from ..system.files import same_twice
from .image_files import SUFFIXES

Found = dict[str, list[Path]]           # {factor: its image files}
TEXTS = {".csv", ".txt", ".md", ".json", ".xml", ".log", ".py", ".h5", ".html"}
SPLIT = re.compile(r"(?:.*[\W_])?(train|test)", re.IGNORECASE | re.DOTALL)
ANNOTATIONS = {"mask", "masks", "label", "labels", "seg", "segmentation", "segmentations", "gt", "groundtruth",
               "annotation", "annotations", "roi", "rois", "outlines", "contours", "overlay", "overlays"}
ENDINGS = {"mask", "masks", "labels", "segmentation", "segmentations", "annotations", "outlines",
           "overlays"}                  # also of longer names


def find(dataroot: str | Path, factors: Sequence[str] = (), split: str = "train", known: Sequence[str] = ()) -> Found:
    """Find the image files that `-d dataroot -p factors` selects: {factor: sorted paths}.

    dataroot   the folder that contains *_train and *_test, or one of these, or the folder of one factor
    split      "train" or "test"
    known      factors of a training: without `factors`, a folder of masks is only read if it is among them
    Raises InputError if a folder or its images are missing, if a factor is unknown or not UTF-8, if two of them are one
    folder, or if some folders look like masks of the images in the others.
    """
    given = Path(dataroot)
    if given.is_file():
        raise InputError(f"{given}: this is a file: give -d a folder of images, such as {given.parent}")
    if not str(dataroot) or not given.is_dir():
        raise InputError(f"{dataroot or repr('')}: no such folder: give -d the folder of your images")
    root = _split_folder(given, split)
    found = {folder: files for folder in _folders(root) if (files := _image_files(folder))}
    if not found and (files := _image_files(root)):
        training = _split_folder(given, "train")            # gives its name to the only factor
        found = {Path(os.path.abspath(training if _image_files(training) else root)): files}
    if not found:
        raise InputError(f"{root}: no images here: {_other_files(root)}expected folders of {', '.join(SUFFIXES)} "
                         f"files, one per factor")
    require_utf8((folder.name for folder in found), "folder of images")
    chosen = _chosen(root, [folder.name for folder in found], factors, known)
    if twice := same_twice(folder for folder in found if folder.name in chosen):
        raise InputError(f"{twice[0]} and {twice[1]} are one folder, which a link shows twice: remove the link, or "
                         f"select one of them with -p")
    return {folder.name: files for folder, files in found.items() if folder.name in chosen}


def _chosen(root, names, factors, known):
    """Those of the `names` of class folders to read. Raises InputError as `find` does."""
    for factor in factors:
        if factor not in names:
            raise InputError(f"{root}: no polarity factor {factor}: {did_you_mean(factor, names)}it has "
                             f"{', '.join(names)}")
    masks = [name for name in names if is_annotation(name) and name not in known]
    others = [name for name in names if name not in masks]
    if factors or not masks or not others:
        return factors or names
    if not known:
        raise InputError(f"{root}: {', '.join(masks)} may hold masks or labels of the other images: leave it out with "
                         f"-p {','.join(others)}, use it as a class with -p {','.join(names)}, or move it elsewhere")
    return others


def is_annotation(name: str) -> bool:
    """Whether this is a usual name of a folder of masks, labels or segmentations, such as masks_ or cellLabels."""
    words = [word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+", name)]
    return "".join(words) in ANNOTATIONS or words[-1:] != [] and words[-1] in ENDINGS


# ---------------------------------------------------------------------------------------------- training or test

def split_of(folder: Path) -> str:
    """The split that the name of a folder, such as LIN_train or Test, states: "train", "test", or "" for neither."""
    match = SPLIT.fullmatch(folder.name)
    return match[1].lower() if match else ""


def require_utf8(names: Iterable[str], what: str) -> None:
    """Raise InputError if one of the names, each of a `what`, can't be stored in a file."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(f"{name}: the name of this {what} is not UTF-8: rename it") from None


def _split_folder(root, split):
    """The folder *_<split> in or beside `root`, or `root` itself if the images are not split."""
    for kind in ("train",) if split == "train" else ("test", "train"):
        inside = [folder for folder in _folders(root) if _holds_split(folder, kind)]
        if len(inside) > 1 and not all(map(inside[0].samefile, inside)):
            raise InputError(f"{root}: several data sets here: give -d one of {', '.join(map(str, inside))}")
        if inside:
            root = inside[0]
            break
    return root if split == "train" else _test_twin(root)


def _holds_split(folder, split):
    """Whether a folder holds the images of "train" or "test", and is not a class that happens to be called so."""
    if split_of(folder) != split:
        return False
    other = "test" if split == "train" else "train"
    return _is_usual(folder) or not _image_files(folder) or _twin(folder, other).is_dir()


def _is_usual(folder):
    return folder.name.lower().endswith(("_train", "_test"))


def _twin(folder, split):
    """The folder of the other `split` beside `folder`; where there is none, the one that is missing."""
    stem = folder.name[:-len(split_of(folder))]
    twins = [folder.with_name(stem + name) for name in (split, split.capitalize(), split.upper())]
    return next((twin for twin in twins if twin.is_dir()), twins[0])


def _test_twin(root):
    """*_test for *_train, *_test/<Factor> for *_train/<Factor>, otherwise `root` itself."""
    missing = []
    for name in (os.path.normpath(root), os.path.abspath(root), os.path.realpath(root)):    # it may be "." or a link
        start = Path(name)
        of_one_factor = split_of(start) != "train" and _image_files(start)
        folder = start.parent if of_one_factor else start
        if split_of(folder) == "train":
            twin = _twin(folder, "test")
            if (found := twin / start.relative_to(folder)).is_dir():
                return found
            missing += [found] if _is_usual(folder) or twin.is_dir() else []
    if missing:
        raise InputError(f"{missing[0]}: no such folder: it should contain the images to compare with")
    return root


# ---------------------------------------------------------------------------------------------- files

def _folders(root):
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _image_files(folder):
    return sorted(path for path in folder.iterdir()
                  if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def _other_files(root):
    """A remark on files of an unknown format, which may be images; "" without any."""
    places = [root, *_folders(root)]
    kinds = collections.Counter(path.suffix.lower() for place in places for path in place.iterdir()
                                if path.suffix and path.suffix.lower() not in TEXTS and path.is_file())
    if not kinds:
        return ""
    (suffix, count), = kinds.most_common(1)
    return f"{count} {suffix} files can't be read: if they are images, save them as OME-TIFF, for example with Fiji; "


def thinned(found: Found, most: int) -> Found:
    """At most `most` of the image files {factor: [path, …]} of each factor, evenly spaced."""
    return {name: files[::math.ceil(len(files) / most)] for name, files in found.items()}
