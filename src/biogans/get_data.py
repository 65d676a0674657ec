#!/usr/bin/env python3
"""Make data folders: handwritten digits, cells from an imaging flow cytometer, and simulated ones like these."""

if not __package__:                     # a copy of this folder, run as `python get_data.py`
    import launch
    launch.run_copy(__file__)

import csv
import gzip
import shutil
import struct
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

from . import launch, round_cells
from .errors import InputError
from .options import Parser, _at_least_two, _seed

MOST_IMAGES, LARGEST_SIDE = 1 << 20, 1 << 10        # of an idx file: MNIST has 70,000 of 28x28
PHASES = ("G1", "S_phase", "G2", "Prophase", "Metaphase", "Anaphase", "Telophase")


def parser():
    """The command line."""
    p = Parser(prog="get_data.py", description=__doc__ + "\n\n"
               "Each is written as train.py reads it, FOLDER/<name>_train/<class>/*.png and FOLDER/<name>_test/…; which\n"
               "images are for tests is a function of the seed. The classes are for evaluate.py: InfoGAN does not see\n"
               "them.",
               epilog=("examples:\n"
                       "  get_data.py digits -o data                     1,797 digits of 16x16 pixels: no download\n"
                       "  get_data.py mnist --from FOLDER -o data        idx files of MNIST, as *-ubyte or *-ubyte.gz\n"
                       "  get_data.py ifc --from ifc_cellcycle -o data   Jurkat cells (Blasi et al. 2016)\n"
                       "  get_data.py round -o data                      simulated round cells whose age is known\n"
                       "then: train.py -d data -m InfoGAN -a GAN --preset infogan --no_flips"))
    p.add_argument("what", choices=list(SOURCES), metavar="WHAT",
                   help="digits (in scikit-learn, enlarged twice) | mnist | ifc | round (simulated)")
    p.add_argument("--from", dest="source", metavar="FOLDER", help="where the files of mnist or ifc are")
    p.add_argument("-o", "--output", metavar="FOLDER", required=True, help="the data folder to make, required")
    p.add_argument("--test", type=float, default=0.1, metavar="PART",
                   help="part of the images of each class that is for tests; default=0.1")
    p.add_argument("-n", "--number", type=_at_least_two, default=4000, metavar="N",
                   help="number of simulated cells; default=4000")
    p.add_argument("-s", "--seed", type=_seed, default=42, metavar="N",
                   help="of the choice of these, and of simulated cells; default=42")
    return p


def get_data(options):
    """Write the data folder that the parsed `options` ask for. Raises InputError for a user's mistake."""
    read, name = SOURCES[options.what]
    comes_along = read in (digits, round_ones)
    if comes_along and options.source:
        raise InputError(f"--from: {options.what} needs no files: leave it out")
    if not comes_along and not (options.source and Path(options.source).is_dir()):
        raise InputError(f"{options.source or options.what}: no such folder: give the folder of the files with --from")
    if not 0 < options.test < 1:
        raise InputError(f"--test {options.test}: give a part between 0 and 1")
    images, labels, classes, *known = read(options)
    height, width = images.shape[1:3]
    write(Path(options.output), f"{name}_size-{height}-{width}", images, labels, classes, options.test, options.seed,
          *known)


def digits(options):
    """(images uint8 (1797, 16, 16, 1), labels, classes) of the digits in scikit-learn, each pixel enlarged smoothly."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    images = [Image.fromarray(np.uint8(np.rint(image * (255 / 16)))).resize((16, 16), Image.Resampling.BICUBIC)
              for image in data.images]
    return np.array(images)[..., None], data.target, [str(name) for name in data.target_names]


def mnist(options):
    """(images uint8 (n, height, width, 1), labels, classes) of all pairs of idx files in the folder --from."""
    folder = Path(options.source)
    pairs = [(path, path.with_name(path.name.replace("images-idx3", "labels-idx1")))
             for path in sorted(folder.glob("*images-idx3-ubyte*"))]
    if not pairs:
        raise InputError(f"{folder}: no files *images-idx3-ubyte or *images-idx3-ubyte.gz here: give --from their folder")
    images = [read_idx(path, 3) for path, _ in pairs]
    labels = [read_idx(path, 1) for _, path in pairs]
    for (path, _), some, theirs in zip(pairs, images, labels):
        if len(some) != len(theirs) or some.shape[1:] != images[0].shape[1:]:
            raise InputError(f"{path}: its images and labels don't belong together: get both files again")
    labels = np.concatenate(labels)
    return np.concatenate(images)[..., None], labels, [str(k) for k in range(int(labels.max()) + 1)]


def read_idx(path, dimensions):
    """The uint8 array of an idx file, compressed or not. Raises InputError.

    The format (LeCun et al., MNIST's page): 0, 0, the type (8: uint8), the number of dimensions, each as 4 bytes with
    the highest first, then the values.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            zeros, kind, there, *shape = struct.unpack(f">HBB{dimensions}I", file.read(4 + 4 * dimensions))
            size = int(np.prod(shape, dtype=object))
            if (zeros, kind, there) != (0, 8, dimensions) or size > MOST_IMAGES * LARGEST_SIDE ** (dimensions - 1):
                raise ValueError("its head is not that of such a file")
            values = file.read(size + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: images and labels come in pairs") from None
    except (OSError, EOFError, struct.error, ValueError, zlib.error) as problem:
        raise InputError(f"{path}: not an idx file of {dimensions} dimension(s) ({problem}): get it again") from None
    if len(values) != size:
        raise InputError(f"{path}: it holds {len(values)} values and says {size}: get it again")
    return np.frombuffer(values, np.uint8).reshape(shape)


def ifc(options):
    """(images uint8 (n, 40, 40, 3), labels, classes): R brightfield, G DNA, B side scatter; classes are the phases."""
    from PIL import Image

    folder = Path(options.source)
    root = folder / "images" if (folder / "images").is_dir() else folder
    found = {name: sorted((root / name).glob("*.png")) for name in PHASES}
    if not all(found.values()):
        missing = ", ".join(name for name in PHASES if not found[name])
        raise InputError(f"{root}: no PNG files of {missing} here: give --from the folder ifc_cellcycle")
    images = [np.asarray(Image.open(path).convert("RGB")) for files in found.values() for path in files]
    return np.array(images), np.repeat(np.arange(len(PHASES)), [len(files) for files in found.values()]), list(PHASES)


def round_ones(options):
    """(images uint8 (n, 40, 40, 3), labels, classes, known): as `ifc`, without side scatter; the age of each is known."""
    images, cells = round_cells.sample(options.number, options.seed)
    classes = list(round_cells.PHASES)
    labels = np.array([classes.index(round_cells.phase(cell.t)) for cell in cells])
    known = {"t": [round(cell.t, 4) for cell in cells], "radius": [round(cell.radius, 3) for cell in cells],
             "dna": [round(float(cell.dna), 4) for cell in cells], "focus": [round(cell.focus, 4) for cell in cells]}
    return np.concatenate([images, np.zeros_like(images[..., :1])], axis=-1), labels, classes, known


SOURCES = {"digits": (digits, "digits"), "mnist": (mnist, "MNIST"), "ifc": (ifc, "IFC"), "round": (round_ones, "ROUND")}


def write(folder, name, images, labels, classes, test, seed, known=None):
    """Write images, uint8 (n, height, width, channels), as PNG files, and say how many there are.

    What is `known` of each, {name: values}, is written into a manifest.csv in either folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = [path for path in folder.iterdir() if path.name.endswith(("_train", "_test"))]
    if there:
        raise InputError(f"{there[0]} is there already: choose another folder, or remove it")
    held_out = for_tests(labels, test, seed)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new.") as new:
        for split, chosen in (("train", ~held_out), ("test", held_out)):
            for k, label in enumerate(classes):
                _write_class(Path(new, f"{name}_{split}", label), images, np.flatnonzero(chosen & (labels == k)))
            if known:
                rows = [(f"{classes[labels[k]]}/{k:06d}.png", *(column[k] for column in known.values()))
                        for k in np.flatnonzero(chosen)]
                with open(Path(new, f"{name}_{split}", "manifest.csv"), "w", newline="") as file:
                    csv.writer(file).writerows([("file", *known), *rows])
        for part in Path(new).iterdir():
            shutil.move(part, folder / part.name)
    print(f"{(~held_out).sum()} images to train on and {held_out.sum()} to test with, {len(classes)} classes: {folder}")


def _write_class(folder, images, positions):
    from PIL import Image

    folder.mkdir(parents=True)
    for position in positions:
        Image.fromarray(np.squeeze(images[position])).save(folder / f"{position:06d}.png")


def for_tests(labels, part, seed):
    """Which images, bool (n,), are for tests: of each class that `part`, at least one."""
    rng, chosen = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen[members[:max(1, round(part * len(members)))]] = True
    return chosen


def main(arguments=None):
    return launch.run(get_data, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
