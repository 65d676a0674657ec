"""Make data folders of public or simulated images."""

import contextlib
import csv
import errno
import gzip
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from ..system import launch
from . import download, round_cells
from ..system.errors import InputError
from ..core.options import Parser, _at_least_two, _names, _seed

MOST_IMAGES, LARGEST_SIDE = 1 << 20, 1 << 10        # of an idx file: MNIST has 70,000 of 28x28
LARGEST_PNG = 1 << 22                               # bytes: LIN's have some thousands
FACTORS = ("Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1")
PHASES = ("G1", "S_phase", "G2", "Prophase", "Metaphase", "Anaphase", "Telophase")
TILE = 40                                           # pixels of a side of a cell in a montage
RANGES = {"Ch3": (400, 550), "Ch4": (30, 1470), "Ch6": (20, 480)}     # brightfield, DNA, scatter: least value, extent


def parser():
    """The command line."""
    p = Parser(prog="biogans get_data", description=__doc__ + "\n\n"
               "Each is written as train.py reads it, FOLDER/<name>_train/<class>/*.png and FOLDER/<name>_test/…; which\n"
               "images are for tests is a function of the seed (LIN comes divided). What is downloaded is kept in a\n"
               "cache; a download that was broken off goes on when the command is repeated. Licence and what to cite\n"
               "are told before, and in FOLDER/SOURCE.txt.",
               epilog=("examples:\n"
                       "  biogans get_data lin-48-80 -o lin                   the paper's cells: 438 MB\n"
                       "  biogans get_data lin-48-80 --from LIN_Normalized_WT_size-48-80.zip -o lin   downloaded elsewhere\n"
                       "  biogans get_data ifc -o ifc                         Jurkat cells (Blasi et al. 2016): 61 MB\n"
                       "  biogans get_data mnist -o mnist                     70,000 digits: 12 MB\n"
                       "  biogans get_data digits -o digits                   1,797 digits of 16x16 pixels: no download\n"
                       "  biogans get_data round -o round                     simulated round cells whose age is known\n"
                       "then: train.py -d lin, or train.py -d ifc -m InfoGAN -a GAN --preset infogan --no_flips"))
    p.add_argument("what", choices=list(SOURCES), metavar="WHAT",
                   help="lin-48-80 | lin-96-160 | ifc | mnist | digits (in scikit-learn, enlarged twice) | "
                        "round (simulated)")
    p.add_argument("-o", "--output", metavar="FOLDER", required=True, help="the data folder to make, required")
    p.add_argument("--from", dest="source", metavar="PATH",
                   help="the file of LIN, or the folder of the files of mnist or ifc, which are then not downloaded")
    p.add_argument("--url", metavar="URL", help="of a folder with copies of these files, to download from instead")
    p.add_argument("--cache", metavar="FOLDER", help="where downloads are kept; default: ~/.cache/biogans")
    p.add_argument("-p", "--polarity_factors", type=_names, default=FACTORS, metavar="A,B",
                   help="factors of LIN, or all; default: the paper's, " + ",".join(FACTORS))
    p.add_argument("--test", type=float, default=0.1, metavar="PART",
                   help="part of the images of each class that is for tests; default=0.1")
    p.add_argument("-n", "--number", type=_at_least_two, default=4000, metavar="N",
                   help="number of simulated cells; default=4000")
    p.add_argument("-s", "--seed", type=_seed, default=42, metavar="N",
                   help="of the choice of these, and of simulated cells; default=42")
    return p


def get_data(options):
    """Write the data folder that the parsed `options` ask for. Raises InputError for a user's mistake."""
    if not 0 < options.test < 1:
        raise InputError(f"--test {options.test}: give a part between 0 and 1")
    output, public = Path(options.output), download.PUBLIC.get(options.what)
    check_new(output)
    if public is None and (options.source or options.url):
        raise InputError(f"--from, --url: {options.what} needs no files: leave it out")
    if options.source and not Path(options.source).exists():
        raise InputError(f"{options.source}: no such file or folder: give --from what was downloaded, or leave it out")
    if public:
        print(public.about, flush=True)
        options.source = options.source or download.fetch(options.what, options.cache, options.url)
    if options.what.startswith("lin"):
        unpack(_archive(Path(options.source), public), output, options.polarity_factors)
    else:
        read, name = SOURCES[options.what]
        images, labels, classes, *known = read(options)
        height, width = images.shape[1:3]
        write(output, f"{name}_size-{height}-{width}", images, labels, classes, options.test, options.seed, *known)
    if public:
        (output / "SOURCE.txt").write_text(public.about + "\n")


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
    folder = Path(options.source)
    root = folder / "images" if (folder / "images").is_dir() else folder
    images = {phase: _cells(root / phase) for phase in PHASES}
    some = [image for cells in images.values() for image in cells]
    if {image.shape[1:] for image in some} != {(TILE, TILE, len(RANGES))}:
        raise InputError(f"{root}: its images are not all of {TILE}x{TILE} pixels and {len(RANGES)} channels: get them "
                         f"again")
    numbers = [sum(map(len, cells)) for cells in images.values()]
    return np.concatenate(some), np.repeat(np.arange(len(PHASES)), numbers), list(PHASES)


def _cells(folder):
    """[uint8 (n, 40, 40, 3), …] of one phase: of montages of each channel, as they are published, or of PNG files."""
    from ..core.dataloader import read_image
    montages = [sorted(folder.glob(f"{channel}_*.tif")) for channel in RANGES]
    if all(montages):
        return [cut_montages(*paths) for paths in zip(*montages)]
    files = sorted(folder.glob("*.png"))
    if not files:
        raise InputError(f"{folder}: no montages Ch3_*.tif, Ch4_*.tif, Ch6_*.tif and no PNG files here: give --from "
                         f"the folder of all phases")
    return [read_image(path, "get it again") for path in files]


def cut_montages(*paths):
    """uint8 (n, 40, 40, 3): the cells of three montages of the same cells, uint16, one for each channel in RANGES.

    The montages' last places are filled with copies of a tile's edge, all of whose rows are alike. Values are scaled
    alike in all cells, so that brightness of DNA tells how much there is.
    """
    from ..core.dataloader import read_image
    montages = [read_image(path, "get it again")[0, ..., 0] for path in paths]
    height, width = montages[0].shape
    if height % TILE or width % TILE or any(montage.shape != (height, width) for montage in montages):
        raise InputError(f"{paths[0]}: the montages of the three channels are not of tiles of {TILE}x{TILE}: get them "
                         f"again")
    tiles = np.stack(montages, axis=-1).reshape(height // TILE, TILE, width // TILE, TILE, len(paths))
    tiles = tiles.swapaxes(1, 2).reshape(-1, TILE, TILE, len(paths))
    cells = tiles[(tiles != tiles[:, :1]).any(axis=(1, 2, 3))]
    lowest, extent = np.array(list(RANGES.values()), np.float32).T
    return np.uint8(np.rint(255 * np.clip((cells - lowest) / extent, 0, 1)))


def round_ones(options):
    """(images uint8 (n, 40, 40, 3), labels, classes, known): as `ifc`, without side scatter; the age of each is known."""
    images, cells = round_cells.sample(options.number, options.seed)
    classes = list(round_cells.PHASES)
    labels = np.array([classes.index(round_cells.phase(cell.t)) for cell in cells])
    known = {"t": [round(cell.t, 4) for cell in cells], "radius": [round(cell.radius, 3) for cell in cells],
             "dna": [round(float(cell.dna), 4) for cell in cells], "focus": [round(cell.focus, 4) for cell in cells]}
    return np.concatenate([images, np.zeros_like(images[..., :1])], axis=-1), labels, classes, known


def _archive(path, public):
    return path / next(iter(public.files)) if path.is_dir() else path


SOURCES = {"lin-48-80": None, "lin-96-160": None, "ifc": (ifc, "IFC"), "mnist": (mnist, "MNIST"),
           "digits": (digits, "digits"), "round": (round_ones, "ROUND")}


def unpack(archive, output, factors):
    """Write LIN's images as they are in its zip file: of `factors`, or of ("all",). Raises InputError.

    Nothing is written of an archive with names that lead out of the folder, links, or sizes that no such image has.
    """
    if not archive.is_file():
        raise InputError(f"{archive}: no such file: give --from the zip file, or leave it out")
    try:
        with zipfile.ZipFile(archive) as file:
            images = _images_of(file, archive)
            there = sorted({path.parts[1] for path in images})
            wanted = there if factors == ("all",) else factors
            missing = [factor for factor in wanted if factor not in there]
            if missing or not wanted:
                raise InputError(f"{archive}: no images of {', '.join(missing) or 'any factor'} in it: it has "
                                 f"{', '.join(there) or 'no <name>_train/<factor>/*.png'}")
            chosen = {path: info for path, info in images.items() if path.parts[1] in wanted}
            with _new_folders(output) as new:
                for path, info in chosen.items():
                    (new / path).parent.mkdir(parents=True, exist_ok=True)
                    (new / path).write_bytes(file.read(info))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, struct.error, ValueError, OSError) as problem:
        if isinstance(problem, OSError) and problem.errno != errno.EINVAL:      # a seek to before the beginning
            raise
        raise InputError(f"{archive}: a damaged zip file ({problem}): remove it and repeat the command, which downloads "
                         f"it again") from None
    training = sum(path.parts[0].endswith("_train") for path in chosen)
    _report(training, len(chosen) - training, len(wanted), output)


def _images_of(file, archive):
    """{PurePosixPath(<name>_train or _test, <factor>, <file>.png): its entry}, once all entries were looked at."""
    if len(file.infolist()) > MOST_IMAGES:
        raise InputError(f"{archive}: {len(file.infolist()):,} files in it, more than LIN has: get the right one")
    images = {}
    for info in file.infolist():
        path = PurePosixPath(info.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in info.filename or stat.S_ISLNK(info.external_attr >> 16):
            raise InputError(f"{archive}: {info.filename!r} in it leads out of its folder: that is no file of LIN's "
                             f"authors: remove it")
        if path.suffix == ".png" and len(path.parts) > 2 and path.parts[-3].endswith(("_train", "_test")):
            if info.file_size > LARGEST_PNG:
                raise InputError(f"{archive}: {info.filename!r} in it has {info.file_size:,} bytes, as no image of LIN: "
                                 f"remove it")
            images[PurePosixPath(*path.parts[-3:])] = info
    return images


def check_new(folder):
    """Raise InputError if there are data in the folder already."""
    there = [path for path in folder.glob("*") if path.name.endswith(("_train", "_test"))]
    if there:
        raise InputError(f"{there[0]} is there already: choose another folder, or remove it")


@contextlib.contextmanager
def _new_folders(folder):
    """Yield a folder; what is in it at the end comes into `folder` then, and nothing if it ended otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new.") as new:
        yield Path(new)
        for part in Path(new).iterdir():
            shutil.move(part, folder / part.name)


def write(folder, name, images, labels, classes, test, seed, known=None):
    """Write images, uint8 (n, height, width, channels), as PNG files, and say how many there are.

    What is `known` of each, {name: values}, is written into a manifest.csv in either folder.
    """
    held_out = for_tests(labels, test, seed)
    with _new_folders(folder) as new:
        for split, chosen in (("train", ~held_out), ("test", held_out)):
            for k, label in enumerate(classes):
                _write_class(new / f"{name}_{split}" / label, images, np.flatnonzero(chosen & (labels == k)))
            if known:
                rows = [(f"{classes[labels[k]]}/{k:06d}.png", *(column[k] for column in known.values()))
                        for k in np.flatnonzero(chosen)]
                with open(new / f"{name}_{split}" / "manifest.csv", "w", newline="") as file:
                    csv.writer(file).writerows([("file", *known), *rows])
    _report((~held_out).sum(), held_out.sum(), len(classes), folder)


def _report(training, test, classes, folder):
    print(f"{training} images to train on and {test} to test with, {classes} classes: {folder}")


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
