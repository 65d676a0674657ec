"""Count how many generated images are distinct, and how many copy training images."""

from pathlib import Path

import numpy as np

from ..core import c2st, dataloader, figures, trained
from ..core.options import add_checkpoints_dir
from ..io import drawings, stacks
from ..system import arguments, hdf5, launch
from ..system.errors import InputError
from ..system.pixels import to_unit, unit_to_bytes
from . import neighbours
from .json_files import write_json
from .rows import check_held_out

NEAR = 0.05             # fraction of held-out images whose nearest training image counts as a near-duplicate
FLAG = -3.0             # z below which images are too near to the training images: Meehan et al. (2020), sec. 5
IMAGES_IN_BIN = 10      # training images in a bin, on average …
MOST_BINS = 100         # … and as many bins as Richardson & Weiss (2018) used, at most
PAIRS = 8               # of each kind in the figure
FEWEST = 20             # images of a set; results for fewer mean nothing
DESCRIPTION = """

Two images are near-duplicates if they are nearer to each other than 95 % of the held-out images are to
their nearest training image, in principal components of the pixels and whichever way they are mirrored.

different         images that remain when near-duplicates of others are removed
effective number  one over the probability that two images are near-duplicates (birthday estimate): N
                  for N modes of equal weight
modes             the same where it does not depend on what counts as near; none for a continuum
copies            near-duplicates of a training image (of another one); by definition 5 % of the
                  held-out images
z                 far below 0: nearer to the training images than held-out images are, or than training
                  images are to one another. Both below -3: the generator copies
different bins    of a clustering of the training images: those whose frequencies differ from theirs"""
EPILOG = """diversity/summary.json            all numbers
diversity/nearest_pairs….png      the nearest pairs: look at them first
diversity/effective_number.png    number of distinct images, by what counts as near

examples:
  biogans diversity -i checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5 -d data
  biogans diversity -i images/stack1.DCGAN.WGAN-GP.h5 -d data
  biogans diversity -i generated -d data -o diversity-of-the-folder"""
LINES = (               # of the printed table: label, measure, format
    ("images", "images", "{:,}"), ("exact copies of others", "exact_copies", "{:,}"),
    ("different", "different", "{:,}"), ("effective number", "effective_number", "{:,.0f}"),
    ("  lower limit", "effective_number_low", "{:,.0f}"), ("  upper limit", "effective_number_high", "{:,.0f}"),
    ("modes", "modes", "{:.1f}"), ("copies of training images", "near_a_training_image", "{:.1%}"),
    ("z against held-out", "z_held_out", "{:.1f}"), ("z against training", "z_training", "{:.1f}"),
    ("different bins", "different_bins", "{}"))


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans diversity", description=__doc__ + DESCRIPTION, epilog=EPILOG)
    what = p.add_argument_group("what to compare")
    what.add_argument("-i", "--input_file", metavar="FILE", required=True,
                      help="the generated images, required: a stack of predict.py, a folder of images, or a weights "
                           "file to generate them with")
    what.add_argument("-d", "--data", metavar="DATAROOT", required=True,
                      help="folder of real images, required: *_train, on which the generator was trained, and *_test "
                           "beside it")
    what.add_argument("-n", "--number", type=arguments.positive_int, default=10000, metavar="N",
                      help="number of images to generate if FILE is a weights file; default=10000")
    what.add_argument("-s", "--seed", type=arguments.seed, default=0, metavar="N", help="random seed; default=0")
    out = p.add_argument_group("files")
    out.add_argument("-o", "--output", metavar="FOLDER", default="diversity",
                     help="folder for the table and figures; default=diversity")
    add_checkpoints_dir(out)
    return p


def diversity(options):
    """Run the command with parsed options. Raises InputError."""
    launch.announce()
    folder = Path(options.output)
    generated, metadata = load_generated(options)
    training, held_out = (c2st.load_real(options.data, split, metadata) for split in ("train", "test"))
    check_held_out(options.data, training, held_out)
    results, curves = {}, {}
    for name, images in generated.items():
        real = [c2st.of_factor(each, name if name in each.factors else c2st.EVERYTHING)
                for each in (training, held_out)]
        check_sets(options, name, images, *real)
        comparison = Comparison(images, *real, options.seed)
        results[name], curves[name] = comparison.summary(), comparison.curves()
        print(format_comparison(name, results[name]), flush=True)
        ending = "" if len(generated) == 1 else f".{name}"
        comparison.draw_pairs(folder / f"nearest_pairs{ending}.png")
    write_json(folder / "summary.json", results)
    draw_curves(folder / "effective_number.png", curves, {name: each["radius"] for name, each in results.items()})
    for path in sorted(folder.iterdir()):
        print(f"Output: {path}")


def load_generated(options):
    """({factor, or EVERYTHING: uint8 generated images}, settings.Metadata of the weights file or None)."""
    path = Path(options.input_file)
    if path.is_dir():
        images = dataloader.load(path)
        names = images.factors if len(images.factors) > 1 else (c2st.EVERYTHING,)
        return {name: c2st.of_factor(images, name) for name in names}, None
    path = trained.find(path, options.checkpoints_dir)
    if not path.name.startswith(("weights.", "model.")):
        return read_stack(path), None
    generator = trained.load_generator(path)
    samples = c2st.Generated(generator).samples(options.number, 0, c2st.Split(options.seed, 0))
    return {name: images for name, (images, _) in samples.items()}, generator.metadata


def read_stack(path):
    """{factor, or EVERYTHING: uint8 images} of a stack of predict.py; each of several greens with the red marker.

    Raises InputError.
    """
    if not drawings.is_hdf5(path):
        raise InputError(f"{path}: this is no stack of generated images: give a stack (.h5), a folder of images, or a "
                         f"weights file")
    names = drawings.read_drawing(path).names          # which checks the file
    with hdf5.opened(path) as file:
        stack = hdf5.own_dataset(file, "stack")
        number, step = len(stack), max(1, stacks.LARGEST_READ // stack[0].size)
    cells = np.concatenate([unit_to_bytes(drawings.read_drawing(path, start, min(step, number - start)).cells)
                            for start in range(0, number, step)])
    if len(names) <= 2:
        return {c2st.EVERYTHING: cells}
    return {name: cells[..., [0, k]] for k, name in enumerate(names) if k}


def check_sets(options, name, generated, training, held_out):
    """Raise InputError if the sets of images of a factor are too small, or differ in shape."""
    for where, images in ((options.input_file, generated), ("the training images", training),
                          ("the held-out images", held_out)):
        if len(images) < FEWEST:
            raise InputError(f"{where}: {len(images)} images of {name}, and fewer than {FEWEST} show nothing about "
                             f"diversity: give more")
    if generated.shape[1:] != training.shape[1:]:
        there, here = ("{}x{} pixels with {} channel(s)".format(*each.shape[1:]) for each in (generated, training))
        raise InputError(f"{options.input_file} has {there} and {options.data} has {here}: give images of the same "
                         f"shape")


class Comparison:
    """Generated, training and held-out images (uint8) in one space.

    images       {set: images}
    features     {set: (4, images, components)} of neighbours.Space
    to_training  {set: neighbours.Neighbours among the training images}
    radius       distance of near-duplicates: 5 % of the held-out images are nearer to a training image
    pairs        {set: neighbours.Pairs}
    centres      (bins, components) of a clustering of the training images
    """

    def __init__(self, generated, training, held_out, seed=0):
        self.images = {"generated": generated, "training": training, "held-out": held_out}
        self.space = neighbours.Space(training, generated, seed=seed)
        self.features = {name: self.space.features(images) for name, images in self.images.items()}
        self.to_training = {name: neighbours.nearest(self.features[name], self.features["training"])
                            for name in ("generated", "held-out")}
        self.to_training["training"] = neighbours.nearest(self.features["training"])
        self.radius = float(np.quantile(self.to_training["held-out"].distance, NEAR))
        self.pairs = {name: neighbours.Pairs(features, seed) for name, features in self.features.items()}
        bins = int(np.clip(len(training) // IMAGES_IN_BIN, 2, MOST_BINS))
        self.centres = neighbours.cluster_centres(self.features["training"], bins, seed)

    def summary(self):
        """All numbers: {"radius", "bins", "sets": {set: {measure: number}}, "copies_the_training_images"}."""
        sets = {name: self.measures(name) for name in self.images}
        generated = sets["generated"]
        copies = max(generated["z_held_out"], generated["z_training"]) < FLAG
        return {"radius": self.radius, "bins": len(self.centres), "sets": sets, "copies_the_training_images": copies}

    def measures(self, name):
        """{measure: number} of one set; z and bins only of those that are compared with the training images."""
        features, distance = self.features[name], self.to_training[name].distance
        effective, low, high = self.pairs[name].effective_number(self.radius)
        result = {"images": features.shape[1], "exact_copies": neighbours.exact_copies(self.images[name]),
                  "different": neighbours.count_distinct(features, self.radius), "effective_number": effective,
                  "effective_number_low": low, "effective_number_high": high, "modes": self.pairs[name].modes(),
                  "near_a_training_image": float((distance <= self.radius).mean())}
        if name != "training":
            differ, _ = neighbours.different_bins(self.features["training"], features, self.centres)
            z = neighbours.mann_whitney_z(distance, self.to_training["training"].distance)
            result |= {"z_training": z, "different_bins": int(differ.sum())}
        if name == "generated":
            result["z_held_out"] = neighbours.mann_whitney_z(distance, self.to_training["held-out"].distance)
        return result

    def curves(self):
        """{set: (radii, effective numbers)}."""
        return {name: pairs.curve() for name, pairs in self.pairs.items()}

    def draw_pairs(self, path):
        """Write a picture of the nearest pairs: two generated images, a generated or held-out and a training image."""
        kinds = [("generated", "generated", neighbours.nearest(self.features["generated"])),
                 ("generated", "training", self.to_training["generated"]),
                 ("held-out", "training", self.to_training["held-out"])]
        columns, header, distances = [], [], []
        for name, other, found in kinds:
            chosen = _nearest_pairs(found, mutual=name == other)
            columns.append([self.images[name][k] for k in chosen])
            columns.append([neighbours.aligned(self.images[name][k], self.images[other][found.index[k]], self.space)
                            for k in chosen])
            header += [name, f"{'next' if name == other else 'nearest'} {other}"]
            distances.append([found.distance[k] / self.radius for k in chosen])
        rows = [[to_unit(image) for image in row] for row in zip(*columns)]
        names = [" / ".join(f"{each:.2f}" for each in row) for row in zip(*distances)]
        figures.write_picture(path, figures.table(rows, header, names))


def _nearest_pairs(found, mutual):
    """Positions of the PAIRS images nearest to their neighbours; if `mutual`, only one image of each pair."""
    chosen, seen = [], set()
    for k in np.argsort(found.distance, kind="stable"):
        pair = frozenset((int(k), int(found.index[k]))) if mutual else int(k)
        if pair not in seen:
            chosen.append(k)
            seen.add(pair)
        if len(chosen) == PAIRS:
            break
    return chosen


def format_comparison(name, result):
    """The printed table of one factor."""
    sets = result["sets"]
    lines = [f"{name}: near-duplicates are within {result['radius']:.3g}, {result['bins']} bins",
             f"{'':32}" + "".join(f"{each:>12}" for each in sets)]
    for label, measure, form in LINES:
        values = [sets[each].get(measure) for each in sets]
        lines.append(f"{label:32}" + "".join(f"{'–' if value is None else form.format(value):>12}" for value in values))
    verdict = ("the generator COPIES training images" if result["copies_the_training_images"]
               else "no sign that the generator copies training images")
    return "\n".join([*lines, verdict])


def draw_curves(path, curves, radii):
    """Write a chart of the effective number by what counts as near; one panel for each factor.

    curves   {factor: {set: (radii, effective numbers)}}
    radii    {factor: distance of near-duplicates}
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * len(curves), 4.2), dpi=figures.DPI, layout="constrained")
    for axes, (name, sets) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items()):
        for (label, (distance, number)), style in zip(sets.items(), ("-", "--", ":")):
            axes.loglog(distance, number, style, label=label)
        axes.axvline(radii[name], color="0.6", linewidth=1)
        axes.text(radii[name], axes.get_ylim()[0], " near-duplicate", color="0.4", fontsize=8, va="bottom")
        axes.set_title(name, **figures.PLAIN)
        axes.set_xlabel("distance within which two images are one")
        axes.set_ylabel("effective number of images")
        axes.grid(alpha=0.3)
        axes.legend()
    figures.write_figure(path, figure)


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(diversity, parser().parse_args(arguments))
