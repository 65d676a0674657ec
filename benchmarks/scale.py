#!/usr/bin/env python3
"""How time and memory grow with image side, filters, factors, devices and images; and an estimate for a large run.

Every row is measured in a process of its own. Exponents are slopes through the last three points of a table on
logarithmic axes: time ~ x^exponent. GFLOP follow the counting rule of counting.py. Memory is the peak of resident
memory; in the table of data sets it is what is not backed by a file, sampled every 5 ms, because the system
takes back the mapped pages of the cache when it needs them.
"""

import dataclasses
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from biogans.core import dataloader, models, options as command_line
from biogans.core.settings import resolve_network, resolve_settings
from biogans.system import arguments, launch
from biogans.system.files import replacing
from own_process import ANONYMOUS, PEAK, measured

BATCH, NGF, USUAL_ITERATION = 16, 16, 26
TIMED, SECONDS = 3, 5           # iterations at least, and for how long; the fastest counts: others may use the machine
STACK = 1000                    # images in a file of the data sets
SMALL = (24, 40)                # their size; the time to shuffle and find them does not depend on it


# ---------------------------------------------------------------------------------------------- one point

def training(architecture="DCGAN", height=48, width=80, filters=NGF, factors=1, devices=1):
    """Time and memory of WGAN-GP iterations on noise, as a dict."""
    from biogans.core.engine import Engine
    from counting import iteration_flop

    if devices > 1:
        from biogans.system.lazy import tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    names = tuple(f"factor{k}" for k in range(factors))
    options = command_line.parser().parse_args(
        ["-d", "noise", "-m", architecture, "-b", str(BATCH), "--ngf", str(filters), "--ndf", str(filters)])
    settings = resolve_settings(options)
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH * factors, height, width, 2), np.uint8)
    images = dataloader.Images(pixels, np.repeat(np.arange(factors), BATCH), names)
    spec = resolve_network(options, images)
    batches = dataloader.batches(images, BATCH, settings.seed, models.ARCHITECTURES[architecture])
    begin = time.perf_counter()
    engine = Engine(spec, settings, devices)
    engine.iterate(USUAL_ITERATION, batches)
    ends = [time.perf_counter()]
    while len(ends) <= TIMED or ends[-1] - ends[0] < SECONDS:
        engine.iterate(USUAL_ITERATION, batches)
        ends.append(time.perf_counter())
    iteration = min(np.diff(ends))
    updates = engine.algorithm.critic_updates(USUAL_ITERATION)
    flop = iteration_flop(engine.generator, engine.critics, engine.algorithm, updates, BATCH)
    return {"ms": 1000 * iteration, "start_s": ends[0] - begin - iteration, "gflop": flop / 1e9,
            "gflop_s": flop / 1e9 / iteration}


def side(pixels):
    return training(height=pixels, width=pixels)


def filters(number):
    return training(filters=number)


def factors(number):
    return training("DCGAN-starshaped", factors=number)


def devices(number):
    return training(devices=number)


def data_set(number):
    """Decode `number` images of noise in TIFF stacks into a cache, start from the cache, take batches; a dict."""
    import tifffile
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=".", prefix="scale.") as name:
        folder, cache = Path(name), Path(name) / "cache.npy"
        (folder / "noise").mkdir()
        for start in range(0, number, STACK):
            pages = rng.integers(0, 256, (min(STACK, number - start), 2, *SMALL), np.uint8)
            tifffile.imwrite(folder / "noise" / f"{start:08d}.tif", pages, imagej=True, metadata={"axes": "TCYX"})
        result = {}
        for phase in ("decode_s", "start_s"):
            begin = time.perf_counter()
            images = dataloader.load(folder, cache=cache)
            batches = dataloader.Batches(images, 64, 42, True)
            batches.take(0, 5)
            result[phase] = time.perf_counter() - begin
        per_pass, ends = number // 64, [time.perf_counter()]
        for k in range(200):
            batches.take(1 + k % (per_pass - 1), 1)
            ends.append(time.perf_counter())
        return result | {"ms": 1000 * statistics.median(np.diff(ends)), "cache_mb": cache.stat().st_size / 2**20}


# ---------------------------------------------------------------------------------------------- all tables

@dataclasses.dataclass
class Series:
    """A table: `measure(x)` for each x.

    title     says what else was held fixed
    columns   {key of the measured dict: heading}
    curves    keys of the times to plot
    memory    the memory whose peak counts: own_process.PEAK or ANONYMOUS
    """

    measure: Callable
    x: tuple
    unit: str
    title: str
    columns: dict
    curves: tuple = ("ms",)
    memory: str = PEAK


TRAINING = {"ms": "ms/iteration", "start_s": "compile s", "gflop": "GFLOP", "gflop_s": "GFLOP/s", "peak_mb": "peak MB"}
SERIES = {
    "side": Series(side, (24, 48, 96, 192), "pixels", f"square images, DCGAN, {NGF} filters", TRAINING),
    "filters": Series(filters, (8, 16, 32, 64, 128), "ngf = ndf", "48x80 pixels, DCGAN", TRAINING),
    "factors": Series(factors, (1, 3, 6, 12, 24), "factors", f"48x80 pixels, DCGAN-starshaped, {NGF} filters",
                      TRAINING),
    "devices": Series(devices, (1, 2), "logical CPU devices", f"48x80 pixels, DCGAN, {NGF} filters", TRAINING),
    "data": Series(data_set, (1000, 10_000, 100_000, 1_000_000), "images",
                   f"{SMALL[0]}x{SMALL[1]} pixels, memory-mapped, stacks of {STACK} images",
                   {"decode_s": "decode s", "start_s": "start s", "ms": "ms/batch", "cache_mb": "cache MB",
                    "peak_mb": "peak MB"}, ("decode_s", "start_s", "ms"), ANONYMOUS),
}


def exponent(x, y):
    """The slope through the last three points on logarithmic axes."""
    return np.polyfit(np.log(x[-3:]), np.log(y[-3:]), 1)[0]


def table(name, series):
    """Measure and print a table row by row; returns {column: list}."""
    print(f"\n{name}: {series.title}, batch {BATCH if series.columns is TRAINING else 64}\n{series.unit:>20}"
          + "".join(f"{title:>14}" for title in series.columns.values()), flush=True)
    rows = []
    for x in series.x:
        rows.append(measured(series.measure, x, memory=series.memory))
        print(f"{x:>20}" + "".join(f"{rows[-1][column]:>14.4g}" for column in series.columns), flush=True)
    values = {column: [row[column] for row in rows] for column in series.columns}
    if len(series.x) > 2:
        print(f"{'exponent':>20}" + "".join(f"{exponent(series.x, column):>14.2f}" for column in values.values()))
    return values


def plot(path, results):
    """Seconds above and memory below, one column for each series of more than two points, on logarithmic axes."""
    import matplotlib
    matplotlib.use("agg")
    from matplotlib import pyplot
    chosen = {name: SERIES[name] for name in results if len(SERIES[name].x) > 2}
    figure, axes = pyplot.subplots(2, len(chosen), figsize=(3.4 * len(chosen), 6.4), squeeze=False, sharex="col",
                                   layout="constrained")
    for (name, series), (above, below) in zip(chosen.items(), axes.T, strict=True):
        values = results[name]
        for column in series.curves:
            heading, unit = series.columns[column].replace("ms/", "s/"), 1e-3 if column == "ms" else 1
            curve(above, series.x, unit * np.asarray(values[column]), heading)
        curve(below, series.x, values["peak_mb"], "peak MB")
        if "cache_mb" in values:
            below.plot(series.x, values["cache_mb"], ":", color="gray", label="cache file MB")
        above.set_title("\n".join([name, *series.title.rsplit(", ", 1)]), fontsize=10)
        below.set_xlabel(series.unit, fontsize=11)
        for axis in (above, below):
            axis.legend(fontsize=10, frameon=False, loc="upper left")
            axis.grid(alpha=0.3)
            axis.minorticks_off()
            axis.tick_params(labelsize=10)
        below.set_xticks(series.x, [f"{x:,}" for x in series.x])
        below.set_xlim(series.x[0] / 1.4, series.x[-1] * 1.4)
    trainings = [column for name, column in zip(chosen, axes.T, strict=True) if name != "data"]
    for rows in (axes[:, len(trainings):].T, trainings):
        for drawn in zip(*rows, strict=True):
            same_decades(drawn)
    axes[0, 0].set_ylabel("seconds", fontsize=11)
    axes[1, 0].set_ylabel("memory, MB", fontsize=11)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    pyplot.close(figure)


def same_decades(axes):
    """Whole decades for all of the axes, so that what is nearly constant looks constant; above, room for the legend."""
    limits = np.log10([axis.get_ylim() for axis in axes])
    low, high = np.floor(limits[:, 0].min()), np.ceil(limits[:, 1].max())
    lines = max(len(axis.get_legend().get_texts()) for axis in axes)
    for axis in axes:
        axis.set_ylim(10 ** low, 10 ** (low + (high - low) / (1 - 0.1 * lines)))


def curve(axis, x, y, label):
    """Points, and the power law through the last three of them."""
    slope = exponent(x, y)
    line, = axis.loglog(x, y, "o-", markersize=4, linewidth=1.2, label=rf"{label} $\sim x^{{{slope:.2f}}}$")
    middle = np.exp(np.log(y[-3:]).mean()) / np.exp(slope * np.log(x[-3:]).mean())
    axis.plot(x[-3:], middle * np.power(np.asarray(x[-3:], float), slope), "--", color=line.get_color(), alpha=0.5)


# ---------------------------------------------------------------------------------------------- the estimate

@dataclasses.dataclass(frozen=True)
class Cluster:
    """What is assumed of 64 GPUs; none was measured here."""

    gpus: int = 64
    tflops: float = 156.0           # peak of an NVIDIA A100's TF32 products, dense, from its data sheet
    efficiency: float = 0.3         # of that peak
    link_gigabytes: float = 25.0    # a second, each way, per GPU: InfiniBand at 200 Gbit/s
    batch: int = 64                 # of each factor, on each GPU
    iterations: int = 50_000        # as in the paper, where one shows 1,920 images; a large batch may need fewer


def large_networks(side):
    """GFLOP of an iteration per image of each factor, and weights, of the star of six factors with 64 filters."""
    from biogans.core.gan import ALGORITHMS
    from counting import iteration_flop
    settings = command_line.default_settings("WGAN-GP")
    algorithm = ALGORITHMS[settings.algorithm](settings)
    spec = models.NetworkSpec("DCGAN-starshaped", side, side, 2, tuple("ABCDEF"))
    generator, critics = models.build_generator(spec), models.build_critics(spec)
    updates = algorithm.critic_updates(USUAL_ITERATION)
    return {"flop": iteration_flop(generator, critics, algorithm, updates, 1), "updates": updates,
            "factors": spec.num_critics, "generator": generator.count_params(),
            "critics": sum(critic.count_params() for critic in critics)}


def estimate(images=1_000_000, side=256, cluster=Cluster()):
    """Print how long a large training would take, from counted operations and bytes and assumed rates."""
    network = measured(large_networks, side)
    flop = network["flop"] * cluster.batch
    compute = flop / (cluster.tflops * 1e12 * cluster.efficiency)
    gradients = 4 * (network["updates"] * network["critics"] + network["generator"])
    exchanged = 2 * (cluster.gpus - 1) / cluster.gpus * gradients
    exchange = exchanged / (cluster.link_gigabytes * 1e9)
    shown = network["updates"] * network["factors"] * cluster.batch * cluster.gpus
    hours = cluster.iterations * (compute + exchange) / 3600
    weights = network["critics"] + network["generator"]
    passes, minutes = cluster.iterations * shown / images, 60 * hours / cluster.iterations * images / shown
    states = 4 * (4 * weights + network["generator"])       # weights, gradients, two moments of Adam; the average
    read = shown * side * side * 2 / cluster.gpus / (compute + exchange)
    print(f"""
ESTIMATE, not measured: {images:,} images of {side}x{side}, two channels, {cluster.gpus} GPUs; DCGAN-starshaped, six
factors, 64 filters, WGAN-GP, {cluster.batch} images of each factor on each GPU
assumed   {cluster.tflops:g} TFLOP/s peak per GPU (A100, TF32, dense), {cluster.efficiency:.0%} of it achieved; \
{cluster.link_gigabytes:g} GB/s each way per GPU; float32
          gradients in a ring, no overlap with computing; batch normalisation separately on each GPU
counted   {weights / 1e6:,.0f} M weights ({states / 1e9:.1f} GB with gradients, optimizers and average, without \
activations)
          {flop / 1e12:,.0f} TFLOP computed and {exchanged / 1e9:.1f} GB sent by each GPU per iteration, \
which shows the critics {shown:,} images
follows   {compute:.1f} s computing + {exchange:.1f} s exchanging = {compute + exchange:.1f} s an iteration, \
{compute / (compute + exchange):.0%} of it computing; {read / 1e6:.0f} MB/s of pixels per GPU
          {cluster.iterations:,} iterations: {hours:,.0f} hours, {cluster.gpus * hours:,.0f} GPU hours, \
{passes:,.0f} passes; one pass: {minutes:.2g} minutes
          image cache: {images * side * side * 2 / 1e9:.0f} GB, which every node must be able to read""")


def scale(options):
    """Print the tables and the estimate, and draw the plot; returns None, for an exit status of 0."""
    begin = time.perf_counter()
    print(f"{len(os.sched_getaffinity(0))} CPU cores, load average before the run: {os.getloadavg()[0]:.1f}")
    results = {name: table(name, SERIES[name]) for name in options.only or SERIES}
    estimate()
    plot(Path(options.output), results)
    print(f"\nplot: {options.output}; {(time.perf_counter() - begin) / 60:.1f} minutes, load average after the run: "
          f"{os.getloadavg()[0]:.1f}")


def parser():
    result = arguments.Parser(prog="scale.py", description=__doc__.splitlines()[0])
    result.add_argument("-o", "--output", required=True, metavar="PLOT.png", help="the plot to write")
    result.add_argument("--only", nargs="+", choices=SERIES, metavar="TABLE",
                        help=f"of {', '.join(SERIES)}; default: all")
    return result


def main(arguments=None):
    return launch.run(scale, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
