"""Data folders as train.py reads them: <name>_train/<class>/*.png and <name>_test/…, written whole or not at all."""

import contextlib
import csv
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..system.errors import InputError


class LabelledImages(NamedTuple):
    """Images of several classes.

    name        of the data set
    images      uint8 (n, height, width, channels)
    labels      (n,), indices into `classes`
    classes     names of the classes
    known       {quantity: (n,) values} known of each image, for the manifests
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: list
    known: dict | None = None


def require_new(folder):
    """Raise InputError if `folder` already holds a data set."""
    present = [path for path in folder.glob("*") if path.name.endswith(("_train", "_test"))]
    if present:
        raise InputError(f"{present[0]} already exists: choose another folder, or remove it")


def check_output(folder, overwrite, content):
    """Raise InputError if `folder` is a file, or not empty and `overwrite` does not allow replacing its `content`."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose another name for the output folder")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise InputError(f"{folder} is not empty: choose another folder, or add --overwrite to replace the {content} "
                         f"in it")


@contextlib.contextmanager
def filling(folder):
    """Yield a temporary folder beside the final place; on success move its content into `folder`, replacing namesakes.

    No reader sees half of a data set, and thousands of small files need not be flushed to the disk one by one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new.") as name:
        yield Path(name)
        for part in sorted(Path(name).iterdir()):
            if (folder / part.name).is_dir():
                shutil.rmtree(folder / part.name)
            part.replace(folder / part.name)


def write_labelled(folder, labelled, held_out):
    """Write LabelledImages as PNG files, those that `held_out` (n,) marks into the test folder; print their number.

    What is known of the images goes into a manifest.csv in either folder.
    """
    with filling(folder) as new:
        for split, chosen in (("train", ~held_out), ("test", held_out)):
            for k, label in enumerate(labelled.classes):
                _write_class(new / f"{labelled.name}_{split}" / label, labelled.images,
                             np.flatnonzero(chosen & (labelled.labels == k)))
            if labelled.known:
                rows = [{"file": f"{labelled.classes[labelled.labels[k]]}/{k:06d}.png",
                         **{name: values[k] for name, values in labelled.known.items()}}
                        for k in np.flatnonzero(chosen)]
                write_manifest(new / f"{labelled.name}_{split}" / "manifest.csv", rows)
    print_numbers((~held_out).sum(), held_out.sum(), len(labelled.classes), folder)


def _write_class(folder, images, positions):
    from PIL import Image

    folder.mkdir(parents=True)
    for position in positions:
        Image.fromarray(np.squeeze(images[position])).save(folder / f"{position:06d}.png")


def write_manifest(path, rows):
    """Write dicts with the same keys as the lines of a CSV file."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def print_numbers(training, held_out, classes, folder):
    """Print the size of a data set."""
    print(f"{training} training images and {held_out} test images of {classes} classes: {folder}")


def choose_held_out(labels, fraction, seed):
    """Choose `fraction` of the images of each class, and at least one, for the test folder: bool (n,)."""
    rng, chosen = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen[members[:max(1, round(fraction * len(members)))]] = True
    return chosen
