"""Show where in an image a critic's score comes from."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import c2st, figures, trained
from ..core.options import add_checkpoints_dir, add_factors
from ..system import arguments, launch
from ..system.errors import InputError
from ..system.files import replacing
from . import geometry
from .attribution import Maps, score_images
from .json_files import write_json

RESAMPLES = 1000                        # of the bootstrap
FEWEST = 20                             # images of a set for a correlation
FEW = 100                               # images of a set; with fewer, correlations are uncertain, which is reported
DESCRIPTION = """

Where: integrated gradients (Sundararajan et al. 2017), whose sum over the image is the difference between
its score and the score of a black image (checked), and occlusion (Zeiler & Fergus 2014), which needs no
gradient: how much the score falls when a square becomes black.
Which: rank correlations of the score with the measured geometry of the bright structures, over held-out
and generated images, with 95 % limits (bootstrap over images). The column «within» is the mean over the two
sets, each by itself: a difference between the sets does not contribute to it. Measures:
""" + "\n".join(f"  {name:12} {meaning}" for name, meaning in geometry.MEASURES.items())
EPILOG = """saliency/correlations.csv, .png   the ranked table, and its picture
saliency/maps.png                 images of high, middle and low score, their outlines and maps
saliency/summary.json             all numbers

examples:
  biogans saliency -i checkpoints/weights.combined_model.DCGAN.WGAN-GP.1.h5 -d data
  biogans saliency -i checkpoints/weights.combined_model.DCGAN-starshaped.WGAN-GP.6.h5 -d data -p Tea1"""


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans saliency", description=__doc__ + DESCRIPTION, epilog=EPILOG)
    what = p.add_argument_group("what to analyse")
    what.add_argument("-i", "--input_file", metavar="FILE", required=True,
                      help="weights.combined_model file, required: it holds the critics and the generator")
    what.add_argument("-d", "--data", metavar="DATAROOT", required=True,
                      help="folder of real images, required: the images of *_test are scored")
    add_factors(what)
    what.add_argument("--channel", type=arguments.positive_int, metavar="N",
                      help="channel of the image whose geometry is measured, counted from 1; default: the last one, "
                           "which is the polarity factor if there is one")
    what.add_argument("-n", "--number", type=arguments.positive_int, default=500, metavar="N",
                      help="number of images of each set, at most; default=500")
    what.add_argument("-s", "--seed", type=arguments.seed, default=0, metavar="N", help="random seed; default=0")
    out = p.add_argument_group("files")
    out.add_argument("-o", "--output", metavar="FOLDER", default="saliency",
                     help="folder for tables and figures; default=saliency")
    add_checkpoints_dir(out)
    return p


def saliency(options):
    """Run the command with parsed options. Raises InputError."""
    launch.announce()
    generator, critics = load_networks(options)
    generated = c2st.Generated(generator)
    channel = choose_channel(options.channel, generator.spec.channels)
    chosen = choose_critics(generator.path, generated.factors, options.polarity_factors)
    real = c2st.load_real(options.data, "test", generator.metadata, generator.spec.factors)
    samples = generated.samples(options.number, 0, c2st.Split(options.seed, 0))
    folder, results = Path(options.output), {}
    for name in chosen:
        pixels = c2st.of_factor(real, name)
        order = np.random.default_rng(options.seed).permutation(len(pixels))[:options.number]
        sets = {"real": pixels[np.sort(order)], "generated": samples[name][0]}
        check_numbers_of_images(name, sets)
        analysis = Analysis(critics[generated.factors.index(name)], sets, channel, options.seed)
        print(format_analysis(name, analysis), flush=True)
        write_analysis(folder, "" if len(samples) == 1 else f".{name}", name, analysis)
        results[name] = analysis.summary()
    write_json(folder / "summary.json", {"file": str(generator.path), "iteration": generator.metadata.iteration,
                                         "factors": results})
    for path in sorted(folder.iterdir()):
        print(f"Output: {path}")


def load_networks(options):
    """(TrainedGenerator, [its critics]) of a weights.combined_model file. Raises InputError."""
    path = trained.find(options.input_file, options.checkpoints_dir)
    critics, metadata = trained.load_critics(path)
    generator = trained.load_generator(path)
    if generator.metadata != metadata:
        raise InputError(f"{path} changed while it was being read: repeat the command")
    if len(critics) < len(generator.spec.factor_channels):
        raise InputError(f"{path} has one critic, of cells with all factors, and no image shows such a cell: give a "
                         f"model whose critics judge images")
    return generator, critics


def choose_channel(number, channels):
    """Position of a channel counted from 1; of the last one for None. Raises InputError if there are fewer."""
    if number and number > channels:
        raise InputError(f"--channel {number}: the images have {channels}: choose one of them")
    return (number or channels) - 1


def choose_critics(path, names, wanted):
    """Names of the critics that -p asks for, all by default. Raises InputError."""
    for name in wanted:
        if name not in names:
            raise InputError(f"{path} has no critic of {name}: choose among {', '.join(names)}, or leave out -p")
    return [name for name in names if not wanted or name in wanted]


def check_numbers_of_images(name, sets):
    """Raise InputError if a set {"real", "generated"} has too few images for a correlation."""
    if min(map(len, sets.values())) < FEWEST:
        raise InputError(f"{name}: {len(sets['real'])} held-out and {len(sets['generated'])} generated images: a "
                         f"correlation needs at least {FEWEST} of each")


class Analysis:
    """A critic's scores, the geometry of the images, the correlations of both, and maps of some images.

    scores, measured   {set: scores (images,)} and {set: {measure: (images,)}}
    correlations       Correlations, the strongest first
    undefined          {measure: reason} of those that have no correlation
    maps               attribution.Maps
    """

    def __init__(self, critic, sets, channel, seed):
        """Analyse the sets {"real", "generated"} of uint8 images; the geometry is that of the channel (position)."""
        self.channel = channel
        self.scores = {each: score_images(critic, images) for each, images in sets.items()}
        # float64, unlike pixels.to_unit: Otsu's threshold would differ.
        self.measured = {each: geometry.measure_images(images[..., channel] / 255) for each, images in sets.items()}
        self.correlations, self.undefined = rank_measures(self.scores, self.measured, seed)
        self.maps = Maps(critic, sets, self.scores)

    def captions(self):
        """For each image of the maps its values of the three measures that correlate most, as lines of text."""
        return ["\n".join(f"{row.measure} {self.measured[name][row.measure][position]:.3g}"
                          for row in self.correlations[:3]) for name, position in self.maps.places]

    def summary(self):
        """What summary.json holds of a factor."""
        return {"correlations": [row._asdict() for row in self.correlations], "undefined": self.undefined,
                "completeness": self.maps.completeness, "steps": self.maps.steps, "agreement": self.maps.agreement}


class Correlation(NamedTuple):
    """Spearman's rank correlation of a measure with the score, over real and generated images.

    pooled            over all of them; low and high are its 95 % limits
    within            mean of the correlations in each set, unaffected by a difference between the sets
    real, generated   in each set by itself
    real_mean, generated_mean       of the measure
    real_images, generated_images   that have a value of the measure

    NaN stands for a number of a set that is undefined: fewer than FEWEST images have a value, or all have the same one.
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
    real_images: int
    generated_images: int


def rank_measures(scores, measured, seed=0):
    """(Correlations, the strongest first; {measure: reason} of those that are undefined).

    scores, measured   {set: scores} and {set: {measure: values}} of the same images; NaN where there is no value
    """
    rows, undefined = [], {}
    for name in geometry.MEASURES:
        values = {each: of_set[name] for each, of_set in measured.items()}
        reason = _why_undefined(scores, values)
        if reason:
            undefined[name] = reason
        else:
            rows.append(_correlate(name, scores, values, seed))
    return sorted(rows, key=lambda row: -abs(row.pooled)), undefined


def _known_pairs(scores, values):
    """{set: (scores, values)} of the images with a value, for the sets that have at least FEWEST of them."""
    known = {each: np.isfinite(of_set) for each, of_set in values.items()}
    return {each: (scores[each][where], values[each][where]) for each, where in known.items() if where.sum() >= FEWEST}


def _why_undefined(scores, values):
    """Why scores and values have no correlation, in words; "" if they have one."""
    pairs = _known_pairs(scores, values)
    if not pairs:
        counts = [int(np.isfinite(values[each]).sum()) for each in ("real", "generated")]
        return f"only {counts[0]} held-out and {counts[1]} generated images have a value, and {FEWEST} are needed"
    all_scores, all_values = (np.concatenate(both) for both in zip(*pairs.values()))
    if np.ptp(all_values) == 0:
        return "it is the same in all images"
    return "the critic gives all images the same score" if np.ptp(all_scores) == 0 else ""


def _correlate(name, scores, values, seed):
    from scipy.stats import rankdata

    pairs = _known_pairs(scores, values)
    score_ranks, value_ranks = (rankdata(np.concatenate(both)) for both in zip(*pairs.values()))
    low, high = _bootstrap_limits(score_ranks, value_ranks, [len(of_set) for of_set, _ in pairs.values()], seed)
    alone = {each: _pearson(*map(rankdata, pair)) for each, pair in pairs.items() if all(map(np.ptp, pair))}
    weights = [len(pairs[each][0]) for each in alone]
    means = {each: float(of_set.mean()) for each, (_, of_set) in pairs.items()}
    return Correlation(name, _pearson(score_ranks, value_ranks), low, high,
                       float(np.average(list(alone.values()), weights=weights)) if alone else np.nan,
                       *(either.get(each, np.nan) for either in (alone, means) for each in ("real", "generated")),
                       *(int(np.isfinite(values[each]).sum()) for each in ("real", "generated")))


def _bootstrap_limits(x, y, counts, seed):
    """95 % limits of the correlation of x and y, (images,); as many are resampled from each set as it has, `counts`."""
    rng = np.random.default_rng(seed)
    starts = np.cumsum([0, *counts])
    resampled = []
    for _ in range(RESAMPLES):
        chosen = np.concatenate([start + rng.integers(count, size=count) for start, count in zip(starts, counts)])
        resampled.append(_pearson(x[chosen], y[chosen]))
    return tuple(map(float, np.quantile(resampled, (0.025, 0.975))))


def _pearson(x, y):
    """Pearson's correlation; 0 if either is constant."""
    x, y = x - x.mean(), y - y.mean()
    length = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / length) if length > 0 else 0.0


# ---------------------------------------------------------------------------------------------- output

def format_analysis(name, analysis):
    """The printed table of one critic."""
    maps = analysis.maps
    means = ", ".join(f"{each} {values.mean():.3g} ± {values.std():.3g} ({len(values)})"
                      for each, values in analysis.scores.items())
    lines = [f"{name}: scores {means}",
             f"integrated gradients: {maps.completeness:.1%} missing at most, {maps.steps} steps; "
             f"occlusion agrees: {'–' if maps.agreement is None else f'{maps.agreement:.2f}'}",
             "   correlation with the score   95 % limits   within      real generated   mean: real  generated"]
    for k, row in enumerate(analysis.correlations, 1):
        numbers = ((row.within, 8, ".2f"), (row.real, 10, ".2f"), (row.generated, 10, ".2f"),
                   (row.real_mean, 13, ".4g"), (row.generated_mean, 11, ".4g"))
        lines.append(f"{k:2} {row.measure:14} {row.pooled:9.2f}  {row.low:6.2f} to {row.high:5.2f} "
                     + "".join(_or_dash(*number) for number in numbers))
    return "\n".join([*lines, *format_reliability(analysis)])


def _or_dash(value, width, form):
    """A number as text, a dash for NaN."""
    return f"{value:{width}{form}}" if np.isfinite(value) else f"{'–':>{width}}"


def format_reliability(analysis):
    """Lines below the table: the images on which it rests, and the measures without a correlation."""
    held_out, generated = (len(analysis.scores[each]) for each in ("real", "generated"))
    lines = [f"the ranking rests on {held_out} held-out and {generated} generated images"]
    few = [f"{number} {name}" for number, name in ((held_out, "held-out"), (generated, "generated")) if number < FEW]
    if few:
        lines.append(f"warning: {' and '.join(few)} images are few: with fewer than {FEW}, correlations are uncertain, "
                     f"and so is their order")
    lines += [f"{row.measure} rests on {row.real_images} held-out and {row.generated_images} generated images: the "
              f"others have no value" for row in analysis.correlations
              if row.real_images < min(FEW, held_out) or row.generated_images < min(FEW, generated)]
    return lines + [f"not ranked: {name}: {reason}" for name, reason in analysis.undefined.items()]


def write_analysis(folder, ending, name, analysis):
    """Write the table, its picture and the maps of a critic, in files whose names end with `ending`."""
    write_correlations(folder / f"correlations{ending}.csv", analysis.correlations)
    counts = " and ".join(f"{len(values)} {'held-out' if each == 'real' else each}"
                          for each, values in analysis.scores.items())
    draw_correlations(folder / f"correlations{ending}.png", analysis.correlations, f"{name}: {counts} images")
    analysis.maps.draw(folder / f"maps{ending}.png", analysis.channel, analysis.captions())


def write_correlations(path, rows):
    """Write the ranked table as CSV."""
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Correlation._fields)
        writer.writerows([row.measure, *(f"{value:.6g}" if np.isfinite(value) else "" for value in row[1:])]
                         for row in rows)


def draw_correlations(path, rows, title):
    """Write the ranked table as a picture: bars with their limits, and a mark for each set by itself."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.34 * len(rows)), dpi=figures.DPI, layout="constrained")
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
    axes.set_title(title, fontsize=10, **figures.PLAIN)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    figures.write_figure(path, figure)


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(saliency, parser().parse_args(arguments))
