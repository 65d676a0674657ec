"""Cut single cells out of fields of many, aligned and whole.

Cells are what is brighter than a threshold, with touching ones cut apart by a watershed of the distance to the
outline. Each is turned about its centre until its long axis lies level. Whether it is one whole cell is judged from its
shape and light by a logistic regression, taught by a few examples, which is kept as a JSON file of numbers.
"""

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import options as command_line
from ..system import launch
from . import preprocess, steps, videos
from ..core.dataloader import SUFFIXES
from ..system.errors import InputError
from ..system.files import replacing

SMOOTH = 1.5                            # pixels: detail of an outline that does not count
SEEDS = 2.0                             # pixels: so much thinner must a neck be than the bodies that it joins
FEATURES = ("area", "length", "width", "eccentricity", "solidity", "roundness", "brightness", "contrast", "edge")
EXAMPLES = 5                            # of each kind, at least, to learn from
BRIGHTEST = 0.998                       # quantile of the cells' brightness in a field that becomes white


# ---------------------------------------------------------------------------------------------- one field

def find(image, smallest=100, threshold="otsu"):
    """Labels, int (height, width), 0 for background, of the cells in an `image` in which they are bright.

    Cells that touch the border, or have fewer than `smallest` pixels, are left out. Touching cells are cut apart where
    the neck between them is thinner than both (watershed of the distance transform).
    """
    from scipy import ndimage
    from skimage import measure, segmentation
    smooth = ndimage.gaussian_filter(np.asarray(image, np.float32), SMOOTH)
    cells = ndimage.binary_fill_holes(steps.mask_of(smooth, steps.threshold([smooth], threshold), smallest))
    inside = ndimage.distance_transform_edt(cells)
    flat = np.maximum(ndimage.gaussian_filter(inside, SMOOTH), 0)
    seeds = measure.label(_maxima(flat, SEEDS) & cells)
    labels = segmentation.clear_border(segmentation.watershed(-flat, seeds, mask=cells))
    kept = [cell.label for cell in measure.regionprops(labels) if cell.area >= smallest]
    return np.where(np.isin(labels, kept), labels, 0)


def _maxima(height, depth):
    """Where `height` has maxima that stand out by `depth`."""
    from skimage.morphology import h_maxima
    return h_maxima(height, depth) > 0


def align(pixels, mask, size, face=False):
    """(pixels (*size, channels), mask (*size)) of one cell with its long axis level and its centre in the middle.

    pixels   (height, width, channels), float; 0 is put wherever `mask` (height, width) is false
    face     turn it by 180 degrees where that brings the brighter end of the first channel to the left
    """
    from scipy.ndimage import affine_transform
    from skimage.measure import moments, moments_central
    down, across = (moments(mask.astype(float), 1)[index] / mask.sum() for index in ((1, 0), (0, 1)))
    central = moments_central(mask.astype(float), (down, across), order=2)
    tilt = 0.5 * np.arctan2(2 * central[1, 1], central[0, 2] - central[2, 0])
    if face:
        rows, columns = np.nonzero(mask)
        along = (rows - down) * np.sin(tilt) + (columns - across) * np.cos(tilt)
        tilt += np.pi if (along * pixels[rows, columns, 0]).sum() > 0 else 0
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])      # (down, right) out -> in
    corner = np.array([down, across]) - turn @ ((np.array(size) - 1) / 2)
    level = [affine_transform(channel, turn, corner, tuple(size), order=1)
             for channel in np.moveaxis(pixels * mask[..., None], -1, 0).astype(np.float32)]
    whole = affine_transform(mask.astype(np.float32), turn, corner, tuple(size), order=1) > 0.5
    return np.stack(level, axis=-1) * whole[..., None], whole


def features(image, mask):
    """The FEATURES of a cell, float (9,): pixels, dimensionless, and light relative to what surrounds the cell.

    image   (height, width), of which the background is 0 or so
    mask    (height, width), the cell
    """
    from scipy.ndimage import binary_dilation, binary_erosion
    from skimage.measure import regionprops
    cell = regionprops(mask.astype(np.uint8))[0]
    inside, around = image[mask], image[binary_dilation(mask, iterations=4) & ~mask]
    rim = image[mask & ~binary_erosion(mask, iterations=2)]
    bright = max(inside.mean(), 1e-12)
    return np.array([
        cell.area, cell.axis_major_length, cell.axis_minor_length, cell.eccentricity, cell.solidity,
        4 * np.pi * cell.area / max(cell.perimeter, 1) ** 2, bright, inside.std() / bright,
        (rim.mean() - around.mean() if around.size else 0) / bright])


# ---------------------------------------------------------------------------------------------- the filter

class Filter(NamedTuple):
    """A logistic regression on standardised FEATURES and their squares, for too much may be as wrong as too little."""

    names: list
    mean: list
    scale: list
    weights: list
    bias: float
    accuracy: float                     # balanced, in cross-validation; 1/2 is chance

    def probability(self, table):
        """That each of the cells (cells, features) is whole: (cells,) in [0, 1]."""
        logit = _terms((np.asarray(table, float) - self.mean) / self.scale) @ np.array(self.weights) + self.bias
        return 1 / (1 + np.exp(-np.clip(logit, -50, 50)))


def _terms(standard):
    return np.concatenate([standard, standard ** 2], axis=1)


def teach(table, whole):
    """The Filter that examples teach: features (cells, features), and whether each is a whole cell (cells,).

    Raises InputError for fewer than EXAMPLES of either kind.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler
    table, whole = np.asarray(table, float), np.asarray(whole, bool)
    fewest = int(min(whole.sum(), (~whole).sum()))
    if fewest < EXAMPLES:
        raise InputError(f"{whole.sum()} whole cells and {(~whole).sum()} others to learn from: give "
                         f"{EXAMPLES} or more of each")
    model = make_pipeline(StandardScaler(), FunctionTransformer(_terms),
                          LogisticRegression(class_weight="balanced", max_iter=2000))
    folds = StratifiedKFold(min(5, fewest), shuffle=True, random_state=0)
    accuracy = cross_val_score(model, table, whole, cv=folds, scoring="balanced_accuracy").mean()
    scaler, regression = model.fit(table, whole)[0], model[-1]
    return Filter(list(FEATURES), scaler.mean_.tolist(), scaler.scale_.tolist(), regression.coef_[0].tolist(),
                  float(regression.intercept_[0]), float(accuracy))


def write_filter(path, taught):
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(taught._asdict(), indent=1) + "\n")


def read_filter(path):
    """The Filter in a JSON file. Raises InputError."""
    try:
        taught = Filter(**json.loads(Path(path).read_text()))
        numbers = np.concatenate([taught.mean, taught.scale, taught.weights, [taught.bias]]).astype(float)
        n = len(FEATURES)
        if tuple(taught.names) != FEATURES or numbers.shape != (4 * n + 1,) or not np.isfinite(numbers).all():
            raise ValueError("other features")
        return taught
    except (OSError, ValueError, TypeError) as problem:
        raise InputError(f"{path}: not a filter of biogans cells ({type(problem).__name__}): make one with "
                         f"--teach") from None


# ---------------------------------------------------------------------------------------------- many fields

def fields(folder):
    """{class: files} of a folder of images, or of one with a folder of images for each class. Raises InputError."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: give -i the folder of your fields")
    images = {path: sorted(file for file in path.iterdir()
                           if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
              for path in (folder, *sorted(folder.iterdir())) if path.is_dir() and not path.name.startswith(".")}
    found = {path.resolve().name: files for path, files in images.items() if files}
    if not found:
        raise InputError(f"{folder}: no images here: expected {', '.join(SUFFIXES)} files")
    return found


def cells_of(path, settings):
    """Yield (frame number, (down, right), features, uint8 pixels (*size, channels)) of the cells of one file.

    A file that is no stack is a field of its own; each frame of a stack is one.
    """
    channels = settings.channels or (1, 2)
    field = (videos.open_image if path.suffix.lower() not in videos.STACKS else videos.open_video)(path, channels)
    for number, frame in field.frames():
        image = frame.astype(np.float32)
        image -= np.median(image, axis=(1, 2), keepdims=True)
        labels = find(image[settings.find - 1], settings.smallest, settings.threshold)
        if not labels.any():
            continue
        white = np.maximum(np.quantile(image[:, labels > 0], BRIGHTEST, axis=1), 1e-12)
        pixels = np.clip(np.moveaxis(image, 0, -1) / white, 0, 1)
        for label in range(1, labels.max() + 1):
            mask = labels == label
            if mask.any():
                yield number, _middle(mask), features(pixels[..., settings.find - 1], mask), np.rint(
                    255 * align(pixels, mask, settings.size, settings.face)[0]).astype(np.uint8)


def _middle(mask):
    return tuple(int(round(indices.mean())) for indices in np.nonzero(mask))


def collect(settings, output):
    """Write the cells of all fields as a data folder. Raises InputError."""
    from tqdm import tqdm
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} is there already: choose another folder")
    judge = read_filter(settings.filter) if settings.filter else None
    sources = preprocess.split(fields(settings.input), settings.test, settings.seed)
    name, rows, refused = settings.name or output.resolve().name, [], 0
    for source in tqdm(sources, unit=" fields", disable=None):
        folder = output / f"{name}_{source.split}" / source.factor
        folder.mkdir(parents=True, exist_ok=True)
        for k, (number, (down, right), found, pixels) in enumerate(cells_of(source.path, settings)):
            whole = float(judge.probability(found[None])[0]) if judge else 1.0
            if whole < 0.5:
                refused += 1
                continue
            file = f"{source.name}.f{number:04d}.cell{k:04d}.png"
            preprocess.save(folder / file, pixels, settings.pixel_size)
            rows.append({"file": f"{name}_{source.split}/{source.factor}/{file}", "split": source.split,
                         "class": source.factor, "field": source.name, "frame": number, "down": down, "right": right,
                         "whole": round(whole, 4), **{key: f"{value:.6g}" for key, value in zip(FEATURES, found)}})
    if not rows:
        raise InputError(f"{output}: no cell was kept: choose another --threshold or --find, or lower --smallest")
    with replacing(output / "manifest.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} cells of {len(sources)} fields; the filter left out {refused}")
    print(f"Output to file: {output / 'manifest.csv'}")
    print(f"then: train.py -d {output} -m DCGAN")


def examples(folder, whole, others):
    """(features, whether whole) of the images in two folders, looked up by name in the manifest of `folder`."""
    try:
        with open(Path(folder) / "manifest.csv", newline="") as file:
            known = {Path(row["file"]).name: [float(row[name]) for name in FEATURES] for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError):
        raise InputError(f"{folder}: no manifest.csv of biogans cells here: give -i the folder that it wrote") from None
    table, answers = [], []
    for place, answer in ((whole, True), (others, False)):
        if not Path(place).is_dir():
            raise InputError(f"{place}: no such folder: copy examples out of {folder} into it")
        for file in sorted(Path(place).glob("*.png")):
            if file.name not in known:
                raise InputError(f"{file} is not in the manifest of {folder}: keep the names of the files")
            table.append(known[file.name])
            answers.append(answer)
    return table, answers


# ---------------------------------------------------------------------------------------------- the command

def parser():
    """The command line."""
    p = command_line.Parser(
        prog="biogans cells",
        description="Cut single cells out of fields of many, turn them level, and keep the whole ones.",
        epilog="A field is an image file; of a stack, every frame is one. The output is as that of biogans preprocess.\n\n"
               "examples:\n"
               "  biogans cells -i fields -o candidates                     all that looks like a cell\n"
               "  biogans cells -i candidates --teach whole not -o whole.json      copies of some, sorted into two folders\n"
               "  biogans cells -i fields -o data --filter whole.json       only what looks like the first folder\n"
               "  biogans cells -i fields -o data --channels 1,3 --find 2 --size 64   find in the second of these channels\n"
               "then: train.py -d data")
    p.add_argument("-i", "--input", metavar="FOLDER", required=True,
                   help="folder of fields, or of one folder of them for each class; with --teach the candidates; "
                        "required")
    p.add_argument("-o", "--output", metavar="DATA", required=True,
                   help="the data folder, with --teach a .json file; required")
    p.add_argument("--teach", nargs=2, metavar=("WHOLE", "NOT"),
                   help="learn a filter from copies of some candidates in two folders: whole cells, and others")
    p.add_argument("--filter", metavar="FILE.json", help="keep only what this filter takes for a whole cell")
    p.add_argument("--channels", type=command_line._numbers, default=(), metavar="N,N",
                   help="channels to use, counted from 1, the growth marker first; default=1,2")
    p.add_argument("--find", type=command_line._positive_int, default=1, metavar="N",
                   help="which of these channels shows where cells are; default=1")
    p.add_argument("--threshold", choices=steps.THRESHOLDS, default="otsu",
                   help="how cells are told from background; default=otsu")
    p.add_argument("--smallest", type=command_line._positive_int, default=100, metavar="PX",
                   help="area of a cell, at least; default=100")
    p.add_argument("--size", type=preprocess._size, default=(48, 80), metavar="SIDE|HxW",
                   help="of the images; default=48x80")
    p.add_argument("--face", action="store_true", help="turn the brighter end of the first channel to the left")
    p.add_argument("--pixel-size", type=command_line._positive_float, default=None, metavar="UM", help="micrometres")
    p.add_argument("--name", default="", metavar="NAME", help="of the data set; default: that of the folder")
    p.add_argument("--test", type=preprocess._fraction, default=0.2, metavar="PART",
                   help="of each class's fields that are held out; default=0.2")
    p.add_argument("-s", "--seed", type=command_line._seed, default=42, metavar="N", help="which ones; default=42")
    return p


def cut_cells(settings):
    """Do what the command line asks for. Raises InputError."""
    launch.announce()
    output = Path(settings.output)
    if not settings.teach:
        if settings.find > len(settings.channels or (1, 2)):
            raise InputError(f"--find {settings.find}: only {len(settings.channels or (1, 2))} channels are used")
        return collect(settings, output)
    if output.suffix != ".json":
        raise InputError(f"{output}: with --teach, give -o the name of a file that ends in .json")
    table, whole = examples(settings.input, *settings.teach)
    taught = teach(table, whole)
    write_filter(output, taught)
    print(f"learnt from {sum(whole)} whole cells and {len(whole) - sum(whole)} others; balanced accuracy in "
          f"cross-validation {taught.accuracy:.2f} (chance 0.50)")
    print(f"Output to file: {output}")
    return 0


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(cut_cells, parser().parse_args(arguments))
