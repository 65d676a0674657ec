"""Count how many generated images are distinct, and how many copy training images."""

from pathlib import Path

import numpy as np

from ..core import checkpoint, dataloader, visualize
from ..system import launch
from . import neighbours, scoring
from ..system.errors import InputError
from .evaluate import write_json
from ..core.options import Parser, _positive_int, _seed

NEAR = 0.05             # of the held-out images are nearer to a training image than a near-duplicate is
FLAG = -3.0             # z below which images are too near to the training images: Meehan et al. (2020), sec. 5
IMAGES_IN_BIN = 10      # training images in a bin, on average …
MOST_BINS = 100         # … and no more bins than Richardson & Weiss (2018) had
PAIRS = 8               # that a figure shows of each kind
FEWEST = 20             # images of a set: fewer say nothing


def parser():
    """The command line."""
    p = Parser(prog="biogans diversity", description=__doc__ + "\n\n"
               "Two images are near-duplicates if they are nearer than 95 % of the held-out images are to the nearest\n"
               "training image, in principal components of the pixels and whichever way they are mirrored.\n\n"
               "different         images that remain when near-duplicates of others are left out\n"
               "effective number  one over the chance that two images are near-duplicates (birthday estimate): N\n"
               "                  modes of equal weight have N\n"
               "modes             the same where it does not depend on what counts as near; none for a continuum\n"
               "copies            near-duplicates of a training image (another one); 5 % of the held-out images are\n"
               "z                 far below 0: nearer to the training images than held-out images are, or than\n"
               "                  training images are to one another. Both below -3: the generator copies\n"
               "different bins    of a clustering of the training images, with another share of images than there",
               epilog=(
                   "diversity/summary.json            all numbers\n"
                   "diversity/nearest_pairs….png      the pairs that are nearest: look at them first\n"
                   "diversity/effective_number.png    how many images are different, by what counts as near\n\n"
                   "examples:\n"
                   "  biogans diversity -i checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5 -d data\n"
                   "  biogans diversity -i images/stack1.DCGAN.WGAN-GP.h5 -d data\n"
                   "  biogans diversity -i generated -d data -o diversity-of-the-folder"))
    what = p.add_argument_group("what to compare")
    what.add_argument("-i", "--input_file", metavar="FILE", required=True,
                      help="the generated images, required: a stack of predict.py, a folder of images, or a weights "
                           "file with which to draw them")
    what.add_argument("-d", "--data", metavar="DATAROOT", required=True,
                      help="folder of real images, required: *_train, on which the generator was trained, and *_test "
                           "beside it")
    what.add_argument("-n", "--number", type=_positive_int, default=10000, metavar="N",
                      help="images to draw where FILE holds weights; default=10000")
    what.add_argument("-s", "--seed", type=_seed, default=0, metavar="N", help="random seed; default=0")
    out = p.add_argument_group("files")
    out.add_argument("-o", "--output", metavar="FOLDER", default="diversity",
                     help="where the table and figures go; default=diversity")
    out.add_argument("-c", "--checkpoints_dir", metavar="FOLDER", default="checkpoints",
                     help="where FILE is looked for, too; default=checkpoints")
    return p


def diversity(options):
    """Do what the command line asks for. Raises InputError for a user's mistake."""
    launch.announce()
    folder = Path(options.output)
    generated, facts = read(options)
    training, held_out = (scoring.load_real(options.data, (), split, facts) for split in ("train", "test"))
    if training.fingerprint == held_out.fingerprint:
        raise InputError(f"{options.data} has no folders *_train and *_test, and copies can't be told without held-out "
                         f"images: give -d the folder that holds both")
    results, curves = {}, {}
    for name, images in generated.items():
        real = [scoring.of_factor(each, name if name in each.factors else scoring.EVERYTHING)
                for each in (training, held_out)]
        check(options, name, images, *real)
        comparison = Comparison(images, *real, options.seed)
        results[name], curves[name] = comparison.summary(), comparison.curves()
        print(table(name, results[name]), flush=True)
        ending = "" if len(generated) == 1 else f".{name}"
        comparison.draw_pairs(folder / f"nearest_pairs{ending}.png", options.seed)
    write_json(folder / "summary.json", results)
    draw_curves(folder / "effective_number.png", curves, {name: each["radius"] for name, each in results.items()})
    for path in sorted(folder.iterdir()):
        print(f"Output: {path}")


def read(options):
    """({factor, or EVERYTHING: uint8 generated images}, facts of the weights file or None)."""
    path = Path(options.input_file)
    if path.is_dir():
        images = dataloader.load(path)
        names = images.factors if len(images.factors) > 1 else (scoring.EVERYTHING,)
        return {name: scoring.of_factor(images, name) for name in names}, None
    path = checkpoint.find(path, options.checkpoints_dir)
    if not path.name.startswith(("weights.", "model.")):
        return read_stack(path), None
    generator, spec, facts = checkpoint.load_generator(path)
    drawn = scoring.Generated(generator, spec).samples(options.number, 0, options.seed, 0)
    return {name: images for name, (images, _) in drawn.items()}, facts


def read_stack(path):
    """{factor, or EVERYTHING: uint8 images} of a stack of predict.py; of several greens each with red."""
    import h5py

    names = visualize.read(path).names          # which checks the file
    with h5py.File(path, "r", locking=False) as file:
        number, step = len(file["stack"]), max(1, visualize.LARGEST_READ // file["stack"][0].size)
    cells = np.concatenate([np.rint(255 * visualize.read(path, start, min(step, number - start)).cells).astype(np.uint8)
                            for start in range(0, number, step)])
    if len(names) <= 2:
        return {scoring.EVERYTHING: cells}
    return {name: cells[..., [0, k]] for k, name in enumerate(names) if k}


def check(options, name, generated, training, held_out):
    """Raise InputError if the sets are too small, or are not of one shape."""
    for where, images in ((options.input_file, generated), ("the training images", training),
                          ("the held-out images", held_out)):
        if len(images) < FEWEST:
            raise InputError(f"{where}: {len(images)} images of {name}, and fewer than {FEWEST} say nothing about "
                             f"diversity: give more")
    if generated.shape[1:] != training.shape[1:]:
        there, here = ("{}x{} pixels with {} channel(s)".format(*each.shape[1:]) for each in (generated, training))
        raise InputError(f"{options.input_file} has {there} and {options.data} has {here}: compare like with like")


class Comparison:
    """Generated, training and held-out images (uint8) in one space, and what tells them apart.

    radius    of near-duplicates: so near to a training image are 5 % of the held-out images
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
        self.centres = neighbours.bins(self.features["training"],
                                       int(np.clip(len(training) // IMAGES_IN_BIN, 2, MOST_BINS)), seed)

    def summary(self):
        """All numbers, as {name of the set: {measure: number}} and those of the comparison."""
        sets = {name: self.measures(name) for name in self.images}
        generated = sets["generated"]
        copies = max(generated["z_held_out"], generated["z_training"]) < FLAG
        return {"radius": self.radius, "bins": len(self.centres), "sets": sets, "copies_the_training_images": copies}

    def measures(self, name):
        features, distance = self.features[name], self.to_training[name].distance
        effective, low, high = self.pairs[name].effective_number(self.radius)
        result = {"images": features.shape[1], "exact_copies": neighbours.exact_copies(self.images[name]),
                  "different": neighbours.different(features, self.radius), "effective_number": effective,
                  "effective_number_low": low, "effective_number_high": high, "modes": self.pairs[name].modes(),
                  "near_a_training_image": float((distance <= self.radius).mean())}
        if name != "training":
            differ, _ = neighbours.different_bins(self.features["training"], features, self.centres)
            result |= {"z_training": neighbours.nearer(distance, self.to_training["training"].distance),
                       "different_bins": int(differ.sum())}
        if name == "generated":
            result["z_held_out"] = neighbours.nearer(distance, self.to_training["held-out"].distance)
        return result

    def curves(self):
        """{set: (radii, effective numbers)}."""
        return {name: pairs.curve() for name, pairs in self.pairs.items()}

    def draw_pairs(self, path, seed):
        """The nearest pairs of generated images, of generated and training, and of held-out and training images."""
        from ..core import figures

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
        rows = [[image / np.float32(255) for image in row] for row in zip(*columns)]
        names = ["  ".join(f"{each:.2f}" for each in row) for row in zip(*distances)]
        figures.write_picture(path, figures.table(rows, header, names))


def _nearest_pairs(found, mutual):
    """Positions of the PAIRS images that are nearest to their neighbours; `mutual`: of each pair of a set only one."""
    chosen, seen = [], set()
    for k in np.argsort(found.distance, kind="stable"):
        pair = frozenset((int(k), int(found.index[k]))) if mutual else int(k)
        if pair not in seen:
            chosen.append(k)
            seen.add(pair)
        if len(chosen) == PAIRS:
            break
    return chosen


def table(name, result):
    """What is printed of one factor."""
    sets = result["sets"]
    lines = [f"{name}: near-duplicates are within {result['radius']:.3g}, {result['bins']} bins",
             f"{'':32}" + "".join(f"{each:>12}" for each in sets)]
    for label, measure, form in (
            ("images", "images", "{:,}"), ("exact copies of others", "exact_copies", "{:,}"),
            ("different", "different", "{:,}"), ("effective number", "effective_number", "{:,.0f}"),
            ("  lower limit", "effective_number_low", "{:,.0f}"), ("  upper limit", "effective_number_high", "{:,.0f}"),
            ("modes", "modes", "{:.1f}"), ("copies of training images", "near_a_training_image", "{:.1%}"),
            ("z against held-out", "z_held_out", "{:.1f}"), ("z against training", "z_training", "{:.1f}"),
            ("different bins", "different_bins", "{}")):
        values = [sets[each].get(measure) for each in sets]
        lines.append(f"{label:32}" + "".join(f"{'–' if value is None else form.format(value):>12}" for value in values))
    verdict = ("the generator COPIES training images" if result["copies_the_training_images"]
               else "no sign that the generator copies training images")
    return "\n".join([*lines, verdict])


def draw_curves(path, curves, radii):
    """How many images are different, by what counts as near; one panel for each factor."""
    from matplotlib.figure import Figure

    from ..core.figures import DPI, PLAIN, write_figure

    figure = Figure(figsize=(5.5 * len(curves), 4.2), dpi=DPI, layout="constrained")
    for axes, (name, sets) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items()):
        for (label, (distance, number)), style in zip(sets.items(), ("-", "--", ":")):
            axes.loglog(distance, number, style, label=label)
        axes.axvline(radii[name], color="0.6", linewidth=1)
        axes.text(radii[name], axes.get_ylim()[0], " near-duplicate", color="0.4", fontsize=8, va="bottom")
        axes.set_title(name, **PLAIN)
        axes.set_xlabel("distance within which two images are one")
        axes.set_ylabel("effective number of images")
        axes.grid(alpha=0.3)
        axes.legend()
    write_figure(path, figure)


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(diversity, parser().parse_args(arguments))
