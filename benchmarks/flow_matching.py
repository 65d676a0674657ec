#!/usr/bin/env python3
"""A rival of the GAN: flow matching of two-channel images, trained and scored like the stars of benchmarks/quality.py.

    biogans simulate -o data --full --joint 400
    python benchmarks/flow_matching.py -d data --minutes 60        train, draw and score
    python benchmarks/flow_matching.py --table                     print the table of existing results

Flow matching (Lipman et al. 2023, eq. 20 to 23, with sigma_min = 0; Liu et al. 2023): a U-Net learns the velocity
x1 - x0 at x = (1 - t) x0 + t x1, where x0 is noise and x1 an image. An image is drawn by following the velocity from
noise at t = 0 to t = 1. The factor is an input, and red and green have a t of their own: half of the training images
have their red at t = 1, so that the network draws whole images, and also the greens of a given red.

-i FILE scores a generator of train.py beside it; --minutes is then the time of its training. Scores are those of
quality.py, one split, with C2ST, Fréchet and kernel as means over the factors; «variety» is the least of any factor
among greens of one red, relative to the simulator's own. Times are those of the processor; the star draws all factors
of a cell at once, the flow one.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "benchmarks")]
from biogans.core import c2st, figures, trained
from biogans.evaluation import outlines, scoring, variety
from biogans.evaluation.features import training_batches
from biogans.system import arguments, launch
from biogans.system.errors import InputError
from biogans.system.files import replacing
from biogans.system.lattice import lattice
from biogans.system.lazy import keras
from biogans.system.palettes import fitted
from biogans.system.pixels import signed_to_bytes, to_signed, to_unit
from biogans.system.progress import reading
from quality import SPLIT, HeldOut

FILTERS, EMBEDDED, FREQUENCIES = (32, 64, 128), 64, 16
RATE, AVERAGE = 1e-3, 0.999
RED_GIVEN = 0.5                 # share of the training images whose red is known
STEPS = 8                       # of Heun's method, each with two passes of the network
TOGETHER = 128                  # images drawn at a time
SHOWN = 8                       # of each factor in the picture
TOLD = 30                       # seconds between two lines of progress
COLUMNS = {"c2st": "C2ST", "frechet": "Fréchet", "kernel": "kernel", "least_variety": "least variety",
           "torn": "torn, %", "minutes": "minutes", "milliseconds": "one image, ms"}


def build_velocity(height, width, factors):
    """x (batch, height, width, 2), times (batch, 2) of red and green, one-hot factors -> velocities like x: a U-Net."""
    layers = keras.layers
    x, times, factor = keras.Input((height, width, 2)), keras.Input((2,)), keras.Input((factors,))
    angles = layers.Reshape((2 * FREQUENCIES,))(
        layers.Reshape((2, 1))(times) * np.float32(np.pi) * 2.0 ** np.linspace(-1, 5, FREQUENCIES, dtype=np.float32))
    known = layers.Concatenate()([keras.ops.sin(angles), keras.ops.cos(angles), factor])
    known = layers.Dense(EMBEDDED, activation="silu")(layers.Dense(EMBEDDED, activation="silu")(known))

    def block(features, filters):
        start = layers.Conv2D(filters, 1)(features)
        for _ in range(2):
            features = layers.Conv2D(filters, 3, padding="same")(features)
            scale, shift = (layers.Reshape((1, 1, filters))(layers.Dense(filters)(known)) for _ in range(2))
            features = layers.Activation("silu")(layers.GroupNormalization(8)(features) * (1 + scale) + shift)
        return features + start

    # Most of the work of whole resolution would go into grain; the first convolution halves it.
    levels = [block(layers.Conv2D(FILTERS[0], 4, strides=2, padding="same")(x), FILTERS[0])]
    for filters in FILTERS[1:]:
        levels.append(block(layers.AveragePooling2D(2)(levels[-1]), filters))
    features = levels.pop()
    for filters in FILTERS[-2::-1]:
        features = block(layers.Concatenate()([layers.UpSampling2D()(features), levels.pop()]), filters)
    velocity = layers.Conv2DTranspose(2, 4, strides=2, padding="same", kernel_initializer="zeros")(features)
    return keras.Model([x, times, factor], velocity)


class Flow:
    """A trained flow of images of several factors, with the methods of a c2st.Generated that scores need."""

    def __init__(self, network, factors, shape):
        self.network, self.factors, self.shape = network, tuple(factors), shape

    def samples(self, number, held_out, split):
        """As c2st.Generated.samples: {factor: (uint8 images, further ones for the held-out half)}."""
        rng = split.rng()
        return {name: tuple(self.draw(np.full(size, k), rng) for size in (number, held_out))
                for k, name in enumerate(self.factors)}

    def draw(self, labels, rng, reds=None):
        """uint8 images (images, height, width, 2) of factors (positions); `reds` in [-1, 1] (images, …, 1) are kept."""
        images = [self._draw(labels[k:k + TOGETHER], rng, None if reds is None else reds[k:k + TOGETHER])
                  for k in range(0, len(labels), TOGETHER)]
        return np.concatenate(images) if images else np.zeros((0, *self.shape), np.uint8)

    def _draw(self, labels, rng, reds):
        """Heun's method: the mean of the velocities at both ends of each step."""
        x = rng.standard_normal((len(labels), *self.shape), np.float32)
        one_hot = np.eye(len(self.factors), dtype=np.float32)[labels]
        free = np.float32([1, 1] if reds is None else [0, 1])
        if reds is not None:
            x[..., :1] = reds

        def velocity(x, t):
            times = np.tile(np.where(free, np.float32(t), 1), (len(x), 1)).astype(np.float32)
            return free * self.network.predict_on_batch([x, times, one_hot])
        for k in range(STEPS):
            here = velocity(x, k / STEPS)
            x = x + (here + velocity(x + here / STEPS, (k + 1) / STEPS)) / (2 * STEPS)
        return signed_to_bytes(x.clip(-1, 1))


def train(images, minutes, seed):
    """(Flow, updates, minutes of the processor) of dataloader.Images."""
    keras.utils.set_random_seed(seed)
    shape, rng = images.pixels.shape[1:], np.random.default_rng(seed)
    network, average = (build_velocity(*shape[:2], len(images.factors)) for _ in range(2))
    average.set_weights(network.get_weights())
    network.compile(optimizer=keras.optimizers.Adam(RATE), loss="mse", jit_compile=False)
    one_hot, spent, start = np.eye(len(images.factors), dtype=np.float32), -1.0, time.process_time()
    for updates, (pixels, labels) in enumerate(training_batches(images, sys.maxsize, rng)):
        if spent >= 60 * minutes:
            break
        network.optimizer.learning_rate = RATE * min(1, 2 * (1 - max(spent, 0) / (60 * minutes)))
        x1, x0 = to_signed(pixels), rng.standard_normal(pixels.shape, np.float32)
        times = rng.random((len(x1), 2), np.float32)
        times[:, 1], given = times[:, 0], rng.random(len(x1)) < RED_GIVEN
        times[given, 0] = 1
        t = times[:, None, None, :]
        # Where red is given its velocity plays no role: the network is told to keep what it reads.
        target = np.where((t == 1) & (np.arange(2) == 0), 0, x1 - x0)
        loss = network.train_on_batch([(1 - t) * x0 + t * x1, times, one_hot[labels]], target)
        decay = min(AVERAGE, (1 + updates) / (10 + updates))
        for averaged, current in zip(average.weights, network.weights, strict=True):
            averaged.assign(decay * averaged + (1 - decay) * current)
        # The first update, which compiles, is free.
        before, spent = spent, 0.0 if spent < 0 else spent + time.process_time() - start
        if spent // TOLD > before // TOLD:
            print(f"{spent / 60:.1f} of {minutes:g} minutes, {updates} updates, loss {loss:.4f}", flush=True)
        start = time.process_time()
    return Flow(average, images.factors, shape), updates, spent / 60


# ---------------------------------------------------------------------------------------------- scores

def trained_flow(images, options):
    """(Flow, updates, minutes of the processor), trained or, if its files are there, read."""
    path = options.output / f"flow.{options.minutes:g}min.{options.seed}.weights.h5"
    facts = path.with_suffix(".txt")
    if facts.exists():
        updates, minutes = map(float, facts.read_text().split())
        network = build_velocity(*images.pixels.shape[1:3], len(images.factors))
        network.load_weights(path)
        return Flow(network, images.factors, images.pixels.shape[1:]), int(updates), minutes
    flow, updates, minutes = train(images, options.minutes, options.seed)
    flow.network.save_weights(path)
    facts.write_text(f"{updates} {minutes}")
    return flow, updates, minutes


def measure_flow(options):
    """Train and score; returns the content of the result file."""
    held_out = HeldOut(options.data, options.output)
    flow, updates, minutes = trained_flow(held_out.training, options)
    samples = np.concatenate([flow.draw(np.full(SHOWN, k), np.random.default_rng(0))
                              for k in range(len(flow.factors))])
    figures.write_picture(options.output / f"flow.{options.minutes:g}min.{options.seed}.png",
                          sheet(samples, flow.factors))
    return {"model": "flow matching", "seed": options.seed, "updates": updates, "minutes": minutes,
            "parameters": flow.network.count_params(), **score_flow(flow, held_out)}


def score_flow(flow, held_out):
    """{column: number} of a Flow."""
    of_factors = scoring.score_split(flow, held_out.images, c2st.fast(), SPLIT, held_out.classifier)
    found = {name: float(np.mean([each[name] for each in of_factors.values()]))
             for name in ("c2st", "frechet", "kernel")}
    rng, factors = np.random.default_rng(1), np.arange(len(flow.factors))
    flow.draw(factors, rng)             # compiles
    start = time.process_time()
    reds = flow.draw(np.resize(factors, scoring.MEASURED), rng)[..., 0]
    milliseconds = 1000 * (time.process_time() - start) / len(reds)
    true = variety.true_pairs(held_out.joint)
    cells = held_out.joint.pixels[:len(held_out.joint.repeats), ..., :1]
    given = to_signed(np.repeat(cells, variety.GREENS, axis=0))
    pairs = {}
    for k in reading("greens of given reds", "factor")(factors):
        drawn = flow.draw(np.full(len(given), k), rng, given)
        pairs[flow.factors[k]] = to_unit(drawn).reshape(len(cells), variety.GREENS, *drawn.shape[1:])
    return found | {"least_variety": variety.relative_variety(pairs, true)["least_variety"],
                    "torn": outlines.percent_torn(reds, held_out.outlines), "milliseconds": milliseconds}


def measure_generator(options):
    """Score a generator of train.py; returns the content of the result file."""
    held_out, generator = HeldOut(options.data, options.output), trained.load_generator(options.input)
    found = held_out.scores(generator)
    generator.cells(TOGETHER, np.random.default_rng(0))
    start = time.process_time()
    generator.cells(scoring.MEASURED, np.random.default_rng(0))
    milliseconds = 1000 * (time.process_time() - start) / scoring.MEASURED
    return {"model": f"{generator.spec.architecture} {generator.metadata.training.algorithm}", "seed": 0,
            "updates": generator.metadata.iteration, "minutes": options.minutes,
            "parameters": generator.network.count_params(), "milliseconds": milliseconds,
            **{name: found[name] for name in COLUMNS if name in found}}


def sheet(samples, factors):
    """RGB picture of uint8 images, SHOWN of each factor in a row."""
    palette = fitted("magenta-green", to_unit(samples))
    tiles = [[figures.tile(image, palette) for image in row] for row in
             np.split(to_unit(samples), len(factors))]
    return lattice(tiles, (), factors, "images drawn by flow matching, not chosen")


def table(folder):
    """Markdown table of all results. Raises InputError if there are none."""
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    if not results:
        raise InputError(f"{folder} has no results: give -d first")
    lines = ["| | parameters | updates | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 3) + "|"]
    for each in results:
        lines.append(f"| {each['model']} | {each['parameters']:,} | {each['updates']:,} | " + " | ".join(
            "–" if each[name] is None else f"{each[name]:.{1 if abs(each[name]) >= 10 else 2}f}" for name in COLUMNS)
            + " |")
    return "\n".join(lines)


def compare(options):
    """Train and score, or score a file, or print the table. Raises InputError."""
    if not options.table:
        if not options.data:
            raise InputError("give a folder of simulated images with -d, or --table")
        options.output.mkdir(parents=True, exist_ok=True)
        name = Path(options.input).stem if options.input else f"flow.{options.minutes:g}min.{options.seed}"
        path = options.output / f"{name}.json"
        if not path.exists():
            result = (measure_generator if options.input else measure_flow)(options)
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(result, indent=1))
    print(table(options.output))


def parser():
    p = arguments.Parser(prog="flow_matching.py", description=__doc__)
    p.add_argument("-d", "--data", metavar="DATAROOT", help="folder of simulated images with joint_test.h5")
    p.add_argument("-i", "--input", metavar="FILE", help="score this generator instead")
    p.add_argument("--minutes", type=arguments.positive_float, default=60, metavar="MIN",
                   help="processor time of the training; with -i, that of the training of FILE; default=60")
    p.add_argument("-s", "--seed", type=arguments.seed, default=0, metavar="N", help="default=0")
    p.add_argument("-o", "--output", type=Path, default=Path("flow_matching"), metavar="FOLDER",
                   help="for results; what is there isn't measured again; default=flow_matching")
    p.add_argument("--table", action="store_true", help="only print the table of existing results")
    return p


if __name__ == "__main__":
    sys.exit(launch.run(compare, parser().parse_args()))
