"""Show where in an image a critic's score comes from."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import checkpoint
from ..system import launch
from . import features, geometry, scoring
from ..system.errors import InputError
from .evaluate import write_json
from ..system.lazy import keras
from ..core.options import Parser, _add_factors, _positive_int, _seed

BATCH = 128
BASELINE = -1.0                         # the background: black
STEPS, MOST_STEPS = 32, 1024            # of the path from the baseline to an image
INCOMPLETE = 0.02                       # of the difference of scores: so much may be missing from the attributions
RESAMPLES = 1000                        # of the bootstrap
FEWEST = 20                             # images of which a correlation is taken
SHOWN = 3                               # images of each set in the figure


def parser():
    """The command line."""
    p = Parser(prog="biogans saliency", description=__doc__ + "\n\n"
               "Where: integrated gradients (Sundararajan et al. 2017), whose sum over the image is the difference of\n"
               "its score to that of a black image (checked), and occlusion (Zeiler & Fergus 2014), which needs no\n"
               "gradient: how much the score falls when a square is painted black.\n"
               "Which: rank correlations of the score with the measured geometry of the bright structures, over\n"
               "held-out and generated images, with 95 % limits (bootstrap over images); «within» is the mean of both\n"
               "sets alone: there the critic can't gain from what only sets the sets apart. Measures:\n"
               + "\n".join(f"  {name:12} {what}" for name, what in geometry.MEASURES.items()),
               epilog=(
                   "saliency/correlations.csv, .png   the ranked table, and its picture\n"
                   "saliency/maps.png                 images of high, middle and low score, their outlines and maps\n"
                   "saliency/summary.json             all numbers\n\n"
                   "examples:\n"
                   "  biogans saliency -i checkpoints/weights.combined_model.DCGAN.WGAN-GP.1.h5 -d data\n"
                   "  biogans saliency -i checkpoints/weights.combined_model.DCGAN-starshaped.WGAN-GP.6.h5 -d data -p Tea1"))
    what = p.add_argument_group("what to look at")
    what.add_argument("-i", "--input_file", metavar="FILE", required=True,
                      help="weights.combined_model file, required: it holds the critics and the generator")
    what.add_argument("-d", "--data", metavar="DATAROOT", required=True,
                      help="folder of real images, required: those of *_test are scored")
    _add_factors(what)
    what.add_argument("--channel", type=_positive_int, metavar="N",
                      help="channel of the image whose geometry is measured, counted from 1; default: the last one, "
                           "the polarity factor where there is one")
    what.add_argument("-n", "--number", type=_positive_int, default=500, metavar="N",
                      help="images of each set, at most; default=500")
    what.add_argument("-s", "--seed", type=_seed, default=0, metavar="N", help="random seed; default=0")
    out = p.add_argument_group("files")
    out.add_argument("-o", "--output", metavar="FOLDER", default="saliency",
                     help="where tables and figures go; default=saliency")
    out.add_argument("-c", "--checkpoints_dir", metavar="FOLDER", default="checkpoints",
                     help="where FILE is looked for, too; default=checkpoints")
    return p


def saliency(options):
    """Do what the command line asks for. Raises InputError for a user's mistake."""
    launch.announce()
    path = checkpoint.find(options.input_file, options.checkpoints_dir)
    critics, spec, facts = checkpoint.load_critics(path)
    generator, _, of_generator = checkpoint.load_generator(path)
    if of_generator != facts:
        raise InputError(f"{path} was written anew while it was read: repeat the command")
    if len(critics) < len(spec.factor_channels):
        raise InputError(f"{path} has one critic, of cells with all factors, and no image shows such a cell: give a "
                         f"model whose critics judge images")
    drawn = scoring.Generated(generator, spec).samples(options.number, 0, options.seed, 0)
    real = scoring.load_real(options.data, spec.factors, "test", facts)
    if options.channel and options.channel > spec.channels:
        raise InputError(f"--channel {options.channel}: the images have {spec.channels}: choose one of them")
    channel = (options.channel or spec.channels) - 1
    folder, results = Path(options.output), {}
    for name in chosen(path, list(drawn), options.polarity_factors):
        critic = critics[list(drawn).index(name)]
        pixels = scoring.of_factor(real, name)
        order = np.random.default_rng(options.seed).permutation(len(pixels))[:options.number]
        sets = {"real": pixels[np.sort(order)], "generated": drawn[name][0]}
        if min(map(len, sets.values())) < FEWEST:
            raise InputError(f"{name}: {len(order)} held-out and {options.number} generated images: a correlation "
                             f"takes at least {FEWEST} of each")
        scores = {each: score(critic, images) for each, images in sets.items()}
        measured = {each: geometry.measures(images[..., channel] / 255) for each, images in sets.items()}
        rows = rank(scores, measured, options.seed)
        maps = Maps(critic, sets, scores)
        print(table(name, rows, scores, maps), flush=True)
        ending = "" if len(drawn) == 1 else f".{name}"
        write_csv(folder / f"correlations{ending}.csv", rows)
        draw_correlations(folder / f"correlations{ending}.png", rows, name)
        maps.draw(folder / f"maps{ending}.png", channel, rows, measured)
        results[name] = {"correlations": [row._asdict() for row in rows], "completeness": maps.completeness,
                         "steps": maps.steps, "agreement": maps.agreement}
    write_json(folder / "summary.json", {"file": str(path), "iteration": facts["iteration"], "factors": results})
    for path in sorted(folder.iterdir()):
        print(f"Output: {path}")


def chosen(path, names, wanted):
    """Names of the critics that -p asks for, all by default. Raises InputError."""
    for name in wanted:
        if name not in names:
            raise InputError(f"{path} has no critic of {name}: choose among {', '.join(names)}, or leave out -p")
    return [name for name in names if not wanted or name in wanted]


# ---------------------------------------------------------------------------------------------- where

def score(critic, images):
    """Scores (images,) of uint8 images, or of floats in [-1, 1]; a critic that normalises uses its running averages."""
    images = features.scaled(images) if images.dtype == np.uint8 else images
    return np.concatenate([critic.predict_on_batch(images[start:start + BATCH])
                           for start in range(0, len(images), BATCH)])


def integrated_gradients(critic, images, steps=STEPS):
    """Attributions, float32 of the shape of the uint8 `images`: what each number of an image adds to its score.

    Sundararajan et al. (2017), eq. 1: (x - x') times the mean gradient of the score on the straight path from the
    baseline x', a black image, to x, here by the midpoint rule. They sum up to score(x) - score(x'), but for the error
    of the rule (their eq. 3, completeness).
    """
    from ..core.engine import input_gradient

    ends = features.scaled(images)
    result = np.zeros_like(ends)
    at_rest = lambda images, training: critic(images, training=False)       # noqa: E731
    for k, end in enumerate(ends):
        total = np.zeros_like(end)
        for start in range(0, steps, BATCH):
            part = (np.arange(start, min(start + BATCH, steps), dtype=np.float32) + 0.5) / steps
            on_the_way = BASELINE + part[:, None, None, None] * (end - BASELINE)
            total += np.asarray(input_gradient(at_rest, keras.ops.convert_to_tensor(on_the_way))).sum(axis=0)
        result[k] = (end - BASELINE) * total / steps
    return result


def completeness(critic, images, attributions):
    """|sum of the attributions - difference of the scores|, for each image, over the largest of these differences."""
    difference = score(critic, images) - score(critic, np.full_like(features.scaled(images[:1]), BASELINE))
    return np.abs(attributions.sum(axis=(1, 2, 3)) - difference) / max(np.abs(difference).max(), 1e-6)


def complete_gradients(critic, images):
    """(attributions, largest gap, steps): with as many steps as it takes to miss less than 2 %, at most 1,024."""
    steps = STEPS
    while True:
        attributions = integrated_gradients(critic, images, steps)
        gap = float(completeness(critic, images, attributions).max())
        if gap < INCOMPLETE or steps == MOST_STEPS:
            return attributions, gap, steps
        steps *= 2


def squares(height, width):
    """[(rows, columns)] of slices: squares of a sixth of the shorter side, each half over the one before it."""
    side = max(2, min(height, width) // 6)
    starts = [sorted({*range(0, length - side, max(1, side // 2)), length - side}) for length in (height, width)]
    return [(slice(y, y + side), slice(x, x + side)) for y in starts[0] for x in starts[1]]


def occlusion(critic, images):
    """(images, squares): how much a score falls when a square of the image is black in all channels."""
    scaled = features.scaled(images)
    falls = []
    for rows, columns in squares(*images.shape[1:3]):
        covered = scaled.copy()
        covered[:, rows, columns] = BASELINE
        falls.append(score(critic, scaled) - score(critic, covered))
    return np.stack(falls, axis=1)


def spread(falls, height, width):
    """(images, height, width): the mean over the squares that cover a pixel."""
    total, count = np.zeros((len(falls), height, width), np.float32), np.zeros((height, width))
    for k, square in enumerate(squares(height, width)):
        total[(slice(None), *square)] += falls[:, k, None, None]
        count[square] += 1
    return total / count


class Maps:
    """Both maps of some images of each set: of the highest, the middle and the lowest score.

    completeness   of the integrated gradients: the most that is missing, over the largest difference of scores
    agreement      mean over the images of the rank correlation of both maps, square by square
    """

    def __init__(self, critic, sets, scores):
        from scipy.stats import spearmanr

        self.places = [(name, int(np.argsort(-scores[name])[position]))
                       for name, images in sets.items()
                       for position in np.linspace(0, len(images) - 1, SHOWN).astype(int)]
        self.images = np.array([sets[name][k] for name, k in self.places])
        self.scores = [float(scores[name][k]) for name, k in self.places]
        self.attributions, self.completeness, self.steps = complete_gradients(critic, self.images)
        self.falls = occlusion(critic, self.images)
        of_squares = np.stack([self.attributions[(slice(None), *square)].sum(axis=(1, 2, 3))
                               for square in squares(*self.images.shape[1:3])], axis=1)
        both = [spearmanr(mine, other).statistic for mine, other in zip(of_squares, self.falls) if np.ptp(other) > 0]
        self.agreement = float(np.mean(both)) if both else None

    def draw(self, path, channel, rows, measured):
        """One row of the figure for each image: itself, its outline and skeleton, and both maps."""
        from matplotlib.figure import Figure
        from skimage.morphology import skeletonize

        from ..core.figures import DPI, PLAIN, gray, tile, write_figure

        height, width = self.images.shape[1:3]
        gradients, falls = self.attributions.sum(axis=-1), spread(self.falls, height, width)
        figure = Figure(figsize=(13, 0.35 + (0.1 + 2.6 * height / width) * len(self.images)), dpi=DPI,
                        layout="constrained")
        panels = figure.subplots(len(self.images), 4, squeeze=False)
        for axes, title in zip(panels[0], ("image", "outline and skeleton", "integrated gradients", "occlusion")):
            axes.set_title(title, fontsize=10)
        for k, (name, position) in enumerate(self.places):
            image = self.images[k] / np.float32(255)
            mask = geometry.bright(image[..., channel])
            panels[k, 0].imshow(tile(image))
            panels[k, 1].imshow(gray(image[..., channel]))
            if mask.any():
                panels[k, 1].contour(mask, [0.5], colors="#ff9e1a", linewidths=0.8)
                panels[k, 1].plot(*np.argwhere(skeletonize(mask)).T[::-1], "s", color="#59b8ff", markersize=1.5)
            for axes, values in zip(panels[k, 2:], (gradients[k], falls[k])):
                most = np.quantile(np.abs(values), 0.995) or 1
                axes.imshow(gray(image[..., channel]) * 0.5, vmin=0, vmax=1)
                shown = axes.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most,
                                    alpha=np.clip(np.abs(values) / most, 0, 1))
                figure.colorbar(shown, ax=axes, shrink=0.7)
            numbers = "\n".join(f"{row.measure} {measured[name][row.measure][position]:.3g}" for row in rows[:3])
            panels[k, 0].set_ylabel(f"{name}\nscore {self.scores[k]:.3g}\n{numbers}", rotation=0, ha="right",
                                    va="center", fontsize=9, **PLAIN)
        for axes in panels.flat:
            axes.set_xticks([])
            axes.set_yticks([])
        write_figure(path, figure)


# ---------------------------------------------------------------------------------------------- which

class Correlation(NamedTuple):
    """Spearman's rank correlation of a measure with the score, over real and generated images.

    pooled            over all of them; low and high are its 95 % limits
    within            the mean of those of the two sets: without what only sets the sets apart
    real, generated   in each set alone
    real_mean, generated_mean   of the measure
    """

    measure: str
    pooled: float
    low: float
    high: float
    within: float
    real: float
    generated: float
    real_mean: float
    generated_mean: float


def rank(scores, measured, seed=0):
    """Correlations, the strongest first, from {set: scores} and {set: {measure: values}} of the same images.

    Measures without values, or that never vary, are left out; images without a value too, and a set of fewer than 20
    images with one: its columns are NaN.
    """
    rows = [_correlate(name, scores, {each: values[name] for each, values in measured.items()}, seed)
            for name in geometry.MEASURES]
    return sorted((row for row in rows if row is not None), key=lambda row: -abs(row.pooled))


def _correlate(name, scores, values, seed):
    from scipy.stats import rankdata

    known = {each: np.isfinite(of_set) for each, of_set in values.items()}
    pairs = {each: (scores[each][where], values[each][where]) for each, where in known.items() if where.sum() >= FEWEST}
    if not pairs:
        return None
    score_ranks, value_ranks = (rankdata(np.concatenate(both)) for both in zip(*pairs.values()))
    if np.ptp(value_ranks) == 0:
        return None
    rng = np.random.default_rng(seed)
    counts = [len(of_set) for of_set, _ in pairs.values()]
    starts = np.cumsum([0, *counts])
    drawn = []
    for _ in range(RESAMPLES):              # of each set as many as there are
        chosen = np.concatenate([start + rng.integers(count, size=count) for start, count in zip(starts, counts)])
        drawn.append(_pearson(score_ranks[chosen], value_ranks[chosen]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    alone = {each: _pearson(*map(rankdata, pair)) for each, pair in pairs.items()}
    means = {each: float(of_set.mean()) for each, (_, of_set) in pairs.items()}
    return Correlation(name, _pearson(score_ranks, value_ranks), float(low), float(high),
                       float(np.average(list(alone.values()), weights=counts)),
                       *(either.get(each, np.nan) for either in (alone, means) for each in ("real", "generated")))


def _pearson(x, y):
    """0 where one of them does not vary."""
    x, y = x - x.mean(), y - y.mean()
    length = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / length) if length > 0 else 0.0


def table(name, rows, scores, maps):
    """What is printed of one critic."""
    means = ", ".join(f"{each} {values.mean():.3g} ± {values.std():.3g} ({len(values)})"
                      for each, values in scores.items())
    lines = [f"{name}: scores {means}",
             f"integrated gradients: {maps.completeness:.1%} missing at most, {maps.steps} steps; "
             f"occlusion agrees: {'–' if maps.agreement is None else f'{maps.agreement:.2f}'}",
             "   correlation with the score   95 % limits   within      real generated   mean: real  generated"]
    lines += [f"{k:2} {row.measure:14} {row.pooled:9.2f}  {row.low:6.2f} to {row.high:5.2f} {row.within:8.2f}"
              f"{row.real:10.2f}{row.generated:10.2f}{row.real_mean:13.4g}{row.generated_mean:11.4g}" for k, row in enumerate(rows, 1)]
    return "\n".join(lines)


def write_csv(path, rows):
    """The ranked table."""
    import csv

    from ..system.files import replacing

    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Correlation._fields)
        writer.writerows([row.measure, *(f"{value:.6g}" for value in row[1:])] for row in rows)


def draw_correlations(path, rows, name):
    """The ranked table as a picture: bars with their limits, and a mark for each set alone."""
    from matplotlib.figure import Figure

    from ..core.figures import DPI, PLAIN, write_figure

    figure = Figure(figsize=(8, 1.2 + 0.34 * len(rows)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    places, pooled = np.arange(len(rows)), np.array([row.pooled for row in rows])
    limits = np.abs(np.array([(row.low, row.high) for row in rows]).reshape(-1, 2).T - pooled)
    axes.barh(places, pooled, xerr=limits, color="#9ecae1", ecolor="#08519c", capsize=3,
              label="all images, 95 % limits")
    axes.plot([row.real for row in rows], places, "o", color="#d95f0e", markersize=5, label="held-out images alone")
    axes.plot([row.generated for row in rows], places, "D", color="#31a354", markersize=5,
              label="generated images alone")
    axes.set_yticks(places, [row.measure for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(-1, 1)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_xlabel("rank correlation with the critic's score (to the right: looks more real)")
    axes.set_title(name, fontsize=10, **PLAIN)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    write_figure(path, figure)


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(saliency, parser().parse_args(arguments))
