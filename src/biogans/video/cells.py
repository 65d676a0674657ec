"""Cut single cells out of fields of many, aligned and whole."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..io.image_files import SUFFIXES
from ..system import arguments, launch
from ..system.errors import InputError
from ..system.files import require_regular
from ..system.pixels import unit_to_bytes
from ..system.progress import reading
from . import videos
from .cell_filter import read_filter, train_filter, write_filter
from .cell_network import read_network, train_network, write_network
from .crops import as_saved, save_crop, sides
from .frame_filters import THRESHOLDS, without_hot_pixels
from .records import write_table
from .single_cells import FEATURES, align, find_cells, measure_cell
from .sources import hold_out

CHANNELS = (1, 2)
METHODS = {"logistic": ".json", "network": ".h5"}           # of filters, and the ending of their files
BRIGHTEST = 0.998                       # quantile of the cells' brightness in a field that becomes white


class CellSettings(NamedTuple):
    """How cells are found and cut out; the parser documents each option under the same name."""

    channels: tuple
    find: int
    smallest: int
    threshold: str
    size: tuple
    face: bool


class FoundCell(NamedTuple):
    """A cell in a field.

    frame       number of the frame in its file
    middle      (down, right) in pixels of the field
    features    float, as FEATURES
    pixels      uint8 (height, width, channels), aligned
    """

    frame: int
    middle: tuple
    features: np.ndarray
    pixels: np.ndarray


# ---------------------------------------------------------------------------------------------- fields

def find_fields(folder):
    """{class: files} of a folder of images, or of one with a folder of images for each class. Raises InputError.

    A class has the name of its folder, also if that is a link.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: give the folder of your fields with -i")
    images = {path: sorted(file for file in path.iterdir()
                           if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
              for path in (folder, *sorted(folder.iterdir())) if path.is_dir() and not path.name.startswith(".")}
    found: dict[str, list[Path]] = {}
    for path, files in images.items():
        for file in files:
            require_regular(file)
            found.setdefault((folder.resolve() if path == folder else path).name, []).append(file)
    if not found:
        raise InputError(f"{folder}: no images in this folder: expected {', '.join(SUFFIXES)} files")
    return found


def cells_in(path, settings):
    """Yield a FoundCell for each cell in a file: in an image, or in each frame of a TIFF stack. Raises InputError."""
    field = videos.open_video(path, settings.channels)
    for number, frame in field.frames():
        image = np.stack([without_hot_pixels(channel) for channel in frame.astype(np.float32)])
        image -= np.median(image, axis=(1, 2), keepdims=True)
        labels = find_cells(image[settings.find - 1], settings.smallest, settings.threshold)
        if not labels.any():
            continue
        white = np.maximum(np.quantile(image[:, labels > 0], BRIGHTEST, axis=1), 1e-12)
        pixels = np.clip(np.moveaxis(image, 0, -1) / white, 0, 1)
        for label in range(1, labels.max() + 1):
            mask = labels == label
            if mask.any():
                yield FoundCell(number, tuple(int(round(indices.mean())) for indices in np.nonzero(mask)),
                                measure_cell(pixels[..., settings.find - 1], mask),
                                unit_to_bytes(align(pixels, mask, settings.size, settings.face)[0]))


def write_cells(options, output):
    """Write the cells of all fields as a data folder. Raises InputError."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} already exists: choose another folder")
    settings = CellSettings(options.channels or CHANNELS, options.find, options.smallest, options.threshold,
                            options.size, options.face)
    judge = read_judge(options.filter, settings) if options.filter else None
    sources = hold_out(find_fields(options.input), options.test, options.seed)
    name, rows, discarded = options.name or output.resolve().name, [], 0
    for source in reading("cutting out cells", "field")(sources):
        folder = f"{name}_{source.split}/{source.factor}"
        (output / folder).mkdir(parents=True, exist_ok=True)
        for k, cell in enumerate(cells_in(source.path, settings)):
            whole = float(judge.probability(cell.features[None], as_saved(cell.pixels)[None])[0]) if judge else 1.0
            if whole < 0.5:
                discarded += 1
                continue
            file = f"{folder}/{source.name}.f{cell.frame:04d}.cell{k:04d}.png"
            save_crop(output / file, cell.pixels, options.pixel_size)
            rows.append({"file": file, "split": source.split, "class": source.factor, "field": source.name,
                         "frame": cell.frame, "down": cell.middle[0], "right": cell.middle[1], "whole": round(whole, 4),
                         **{key: f"{value:.6g}" for key, value in zip(FEATURES, cell.features)}})
    if not rows:
        raise InputError(f"{output}: no cell was kept: choose another --threshold or --find, or lower --smallest")
    write_table(output / "manifest.csv", list(rows[0]), rows)
    print(f"{len(rows)} cells from {len(sources)} fields; the filter discarded {discarded}")
    print(f"Output to file: {output / 'manifest.csv'}")
    print(f"then: train.py -d {output} -m DCGAN")


# ---------------------------------------------------------------------------------------------- the filter

def read_judge(path, settings):
    """The filter in a file, a Filter or a NetworkFilter, whose ending tells which. Raises InputError."""
    if Path(path).suffix.lower() != METHODS["network"]:
        return read_filter(path)
    judge, channels = read_network(path), len(settings.channels)
    if judge.shape != (*settings.size, 3 if channels == 2 else channels):
        raise InputError(f"{path} judges images of {judge.shape[0]}x{judge.shape[1]} pixels with "
                         f"{'one channel' if judge.shape[2] == 1 else 'two or three channels'}: give --size and "
                         f"--channels as for the examples that it was trained on")
    return judge


def read_examples(folder, whole, others):
    """(features, whether whole, files) of the images in two folders, by their names in the manifest of `folder`.

    Raises InputError.
    """
    try:
        with open(Path(folder) / "manifest.csv", newline="", encoding="utf-8-sig") as file:
            known = {Path(row["file"]).name: [float(row[name]) for name in FEATURES] for row in csv.DictReader(file)}
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        raise InputError(f"{folder}: no manifest.csv of biogans cells in this folder: give the folder that it wrote "
                         f"with -i") from None
    table, answers, files = [], [], []
    for place, answer in ((whole, True), (others, False)):
        if not Path(place).is_dir():
            raise InputError(f"{place}: no such folder: copy examples from {folder} into it")
        for file in sorted(Path(place).glob("*.png")):
            if file.name not in known:
                raise InputError(f"{file} is not in the manifest of {folder}: keep the names of the files")
            table.append(known[file.name])
            answers.append(answer)
            files.append(file)
    return table, answers, files


def read_images(files):
    """uint8 (cells, height, width, 1 or 3) of PNG files, all of one size. Raises InputError."""
    images = [np.moveaxis(next(videos.open_video(file, "all").frames())[1], 0, -1) for file in files]
    for file, image in zip(files, images):
        if image.shape != images[0].shape:
            raise InputError(f"{file} differs in size from {files[0]}: give examples from one run of biogans cells")
    return np.array(images)


def teach(options, output):
    """Train a filter on the examples in two folders, and write it. Raises InputError."""
    if output.suffix != METHODS[options.method]:
        raise InputError(f"{output}: with --teach, give -o the name of a file that ends in {METHODS[options.method]}"
                         + (", or choose --method network" if output.suffix == METHODS["network"] else ""))
    table, whole, files = read_examples(options.input, *options.teach)
    trained = train_filter(table, whole)
    accuracies = f"logistic regression {trained.accuracy:.2f}"
    if options.method == "network":
        network = train_network(read_images(files), whole, trained.accuracy)
        write_network(output, network)
        accuracies += f", network {network.accuracy:.2f}"
    else:
        write_filter(output, trained)
    print(f"trained on {sum(whole)} whole cells and {len(whole) - sum(whole)} others; balanced accuracy in "
          f"cross-validation: {accuracies} (chance 0.50)")
    print(f"Output to file: {output}")


# ---------------------------------------------------------------------------------------------- the command

def parser():
    """The command line."""
    p = arguments.Parser(
        prog="biogans cells",
        description="Cut single cells out of fields of many, align them, and keep the whole ones.\n\n"
                    "Cells are regions above a threshold; touching ones are separated. Each is rotated until its long\n"
                    "axis is horizontal. A filter trained on a few examples discards what is not one whole cell.",
        epilog="A field is an image file, or each frame of a TIFF stack. The output is like that of preprocess.\n\n"
               "examples:\n"
               "  biogans cells -i fields -o candidates                 everything that looks like a cell\n"
               "  biogans cells -i candidates --teach whole not -o whole.json\n"
               "                                                        train on copies of some in two folders\n"
               "  biogans cells -i fields -o data --filter whole.json   only what looks like the first folder\n"
               "  biogans cells -i candidates --teach whole not --method network -o whole.h5\n"
               "                                                        the same with a network; compares both\n"
               "  biogans cells -i fields -o data --channels 1,3 --find 2 --size 64\n"
               "                                                        find cells in the second of these channels\n"
               "then: train.py -d data")
    p.add_argument("-i", "--input", metavar="FOLDER", required=True,
                   help="folder of fields, or of one such folder for each class; with --teach the folder of "
                        "candidates; required")
    p.add_argument("-o", "--output", metavar="DATA", required=True,
                   help="data folder; with --teach a .json file, or .h5 for a network; required")
    p.add_argument("--teach", nargs=2, metavar=("WHOLE", "NOT"),
                   help="train a filter on copies of some candidates in two folders: whole cells, and others")
    p.add_argument("--method", choices=METHODS, default="logistic",
                   help="with --teach: logistic (regression on nine measured features; a few examples suffice) | "
                        "network (convolutional, judges the image; about a minute, for a hundred examples or more); "
                        "default=logistic")
    p.add_argument("--filter", metavar="FILE", help="keep only whole cells according to this filter (.json or .h5)")
    p.add_argument("--channels", type=arguments.several(arguments.positive_int), default=(), metavar="N,N",
                   help="channels to use, counted from 1, the growth marker first; default=1,2")
    p.add_argument("--find", type=arguments.positive_int, default=1, metavar="N",
                   help="position among these of the channel in which cells are found; default=1")
    p.add_argument("--threshold", choices=THRESHOLDS, default="otsu",
                   help="method that separates cells from background; default=otsu")
    p.add_argument("--smallest", type=arguments.positive_int, default=100, metavar="PX",
                   help="smallest area of a cell; default=100")
    p.add_argument("--size", type=sides, default=(48, 80), metavar="SIDE|HxW", help="size of the images; default=48x80")
    p.add_argument("--face", action="store_true", help="turn the brighter end of the first channel to the left")
    p.add_argument("--pixel_size", type=arguments.positive_float, default=None, metavar="µm",
                   help="µm per pixel")
    p.add_argument("--name", default="", metavar="NAME", help="name of the data set; default: that of the folder")
    p.add_argument("--test", type=arguments.below_one, default=0.2, metavar="FRACTION",
                   help="fraction of the fields of each class to hold out for testing; default=0.2")
    p.add_argument("-s", "--seed", type=arguments.seed, default=42, metavar="N",
                   help="random seed for the choice of these fields; default=42")
    return p


def cut_cells(options):
    """Do what the parsed options ask for. Raises InputError for a user's mistake."""
    launch.announce()
    if options.teach:
        return teach(options, Path(options.output))
    channels = options.channels or CHANNELS
    if options.find > len(channels):
        raise InputError(f"--find {options.find}: only {len(channels)} channels are used")
    return write_cells(options, Path(options.output))


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(cut_cells, parser().parse_args(arguments))
