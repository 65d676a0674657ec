#!/usr/bin/env python3
"""Time one training iteration of every architecture with every algorithm, and compare it with the machine's peak.

Counting rule. Only the multiply-adds of convolutions, transposed convolutions and dense layers count, each as 2 FLOP;
taps on the zero padding count like any other. F is the forward pass of a network for one image: over its layers, the
sum of

    Conv2D            output pixels x kernel weights
    Conv2DTranspose   input pixels x kernel weights
    Dense             weights

The gradient with respect to a layer's weights costs F of that layer, and so does that with respect to its input. Only
what the mathematics needs counts: f, the layers that read images or z directly, need no gradient of their input where
weights are learned. Of T critics (one per tower of the generator; subscript C) and a generator (G), for one image:

    a scored image       3 F_C - f_C    forward; gradients of weights and of inputs
    a penalised image    4 F_C - 2 l_C  forward, but for the last layer (l_C), as the score itself has no part in the
                                        penalty; input gradient, down to the image. That gradient is a chain of F_C
                                        multiply-adds itself, differentiated by weights and by its own inputs: it starts
                                        at the last layer with the constant 1, which needs no derivative, and passes
                                        through leaky ReLUs, whose second derivative is 0
    a critic update      F_G + T (scored + penalised)      fresh fakes each time
    a generator update   2 F_G - f_G + 2 T F_C             gradients through critics whose weights stay; the fakes are
                                                           those of the last critic update

GAN and WGAN score a real and a fake image in each update, WGAN-GP these two and penalises one between them. Neglecting
f and l (1 to 2 %), with n critic updates an iteration costs, times 2 FLOP and the batch size,

    GAN       3 F_G +  8 T F_C      n = 1
    WGAN      7 F_G + 32 T F_C      n = 5
    WGAN-GP   7 F_G + 52 T F_C      n = 5

The peak is the best rate of single float32 convolutions of the paper's critic, forward and both gradients, measured
before the rows. images/s are real images shown to the critics: n T batch size in each iteration.
"""

import argparse
import gc
import json
import math
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from biogans import dataloader, launch, options as command_line
from biogans.engine import Engine, device_name
from biogans.errors import InputError
from biogans.gan import ALGORITHMS
from biogans.lazy import keras, tensorflow as tf
from biogans.models import ARCHITECTURES
from biogans.train import network_spec

HEIGHT, WIDTH, CHANNELS = 48, 80, 2
FACTORS = ("Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1")
USUAL_ITERATION = 26            # WGAN updates its critic 100 times in iterations 0 to 24 and in every 500th
PEAK_SHAPES = ((24, 40, 64, 128), (12, 20, 128, 256), (6, 10, 256, 512))    # input height, width; channels in, out
PEAK_BATCH, PEAK_REPEATS = 64, 7
HEADER = (f"{'architecture':<17}{'algorithm':<10}{'updates':>8}{'ms/iteration':>14}{'min - max':>16}{'images/s':>10}"
          f"{'GFLOP':>9}{'GFLOP/s':>9}{'of peak':>9}")


# ---------------------------------------------------------------------------------------------- counting

class Work(NamedTuple):
    """Multiply-adds of one image: of the whole network, of the layers that read its input, of the last layer."""

    forward: int
    first: int
    last: int


def work(model):
    """The Work of a functional Keras model."""
    forward = first = last = 0
    depends_on_weights = set()
    for layer in model.layers:          # in the order of evaluation
        inner = any(id(tensor) in depends_on_weights for tensor in keras.tree.flatten(layer.input))
        if inner or layer.trainable_weights:
            depends_on_weights.update(map(id, keras.tree.flatten(layer.output)))
        if count := multiply_adds(layer):
            forward, first, last = forward + count, first + (0 if inner else count), count
    return Work(forward, first, last)


def multiply_adds(layer):
    """Multiply-adds of one layer for one image; 0 for layers that are no sums of products."""
    if isinstance(layer, keras.layers.Dense):
        return math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return math.prod(layer.input.shape[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Conv2D):
        return math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
    return 0


def images_in_critic_loss(algorithm):
    """(scored, penalised) images for each real one: the algorithm's own loss is called with a critic that counts."""
    scored, penalised = [], []

    def critic(images, training):
        scored.append(len(images))
        return images[:, 0, 0, 0]

    def input_gradient(critic, images):
        penalised.append(len(images))
        return images

    pixel = tf.ones((1, 1, 1, 1))
    algorithm.critic_loss(critic, pixel, pixel, pixel, input_gradient)
    return sum(scored), sum(penalised)


def iteration_flop(generator, critics, algorithm, updates, batch_size):
    """FLOP of one iteration with so many critic updates and one generator update, after the rule above."""
    generator, critics = work(generator), [work(critic) for critic in critics]
    scored, penalised = images_in_critic_loss(algorithm)
    critic_update = generator.forward
    generator_update = 2 * generator.forward - generator.first
    for critic in critics:
        critic_update += scored * (3 * critic.forward - critic.first)
        critic_update += penalised * (4 * critic.forward - 2 * critic.last)
        generator_update += 2 * critic.forward
    return 2 * batch_size * (updates * critic_update + generator_update)


# ---------------------------------------------------------------------------------------------- measuring

def convolution_peak():
    """(FLOP/s, name) of the fastest single convolution."""
    rates = {}
    for height, width, inputs, outputs in PEAK_SHAPES:
        image = tf.random.uniform((PEAK_BATCH, height, width, inputs))
        kernel = tf.random.uniform((4, 4, inputs, outputs))
        change = tf.random.uniform((PEAK_BATCH, height // 2, width // 2, outputs))
        flop = 2 * math.prod(change.shape[:3]) * math.prod(kernel.shape)
        settings = {"strides": 2, "padding": "SAME"}
        raw = {"strides": (1, 2, 2, 1), "padding": "SAME"}
        passes = {
            "forward": lambda: tf.nn.conv2d(image, kernel, **settings),
            "input gradient": lambda: tf.raw_ops.Conv2DBackpropInput(
                input_sizes=image.shape, filter=kernel, out_backprop=change, **raw),
            "weight gradient": lambda: tf.raw_ops.Conv2DBackpropFilter(
                input=image, filter_sizes=kernel.shape, out_backprop=change, **raw),
        }
        for name, convolve in passes.items():
            rates[f"{name}, {inputs} to {outputs} channels at {height}x{width}"] = flop / shortest_time(convolve)
    name = max(rates, key=rates.get)
    return rates[name], name


def shortest_time(convolve):
    """Seconds of the fastest of some calls of the compiled function."""
    # Reading one number waits for a GPU without copying the whole result.
    compiled = tf.function(lambda: convolve()[0, 0, 0, 0], autograph=False)
    compiled().numpy()
    return min(seconds(lambda: compiled().numpy()) for _ in range(PEAK_REPEATS))


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def noise_images(per_factor):
    """dataloader.Images of uniform noise, `per_factor` of each factor: the time of an iteration depends on no pixel."""
    count = per_factor * len(FACTORS)
    pixels = np.random.default_rng(0).integers(0, 256, (count, HEIGHT, WIDTH, CHANNELS), np.uint8)
    return dataloader.Images(pixels, np.repeat(np.arange(len(FACTORS)), per_factor), FACTORS)


def build(architecture, algorithm, options):
    """(Engine, Batches), as train.py makes them of its options."""
    arguments = ["-d", "noise", "-m", architecture, "-a", algorithm]
    for name in ("batch_size", "ngf", "ndf", "precision"):
        arguments += [f"--{name}", str(getattr(options, name))]
    train_options = command_line.train_parser().parse_args(arguments)
    settings = command_line.training(train_options)
    images = noise_images(settings.batch_size)
    batches = dataloader.Batches(images, settings.batch_size, settings.seed, ARCHITECTURES[architecture].per_factor)
    return Engine(network_spec(train_options, settings, images), settings), batches


def measure(architecture, algorithm, options, peak):
    """One row of the table, as a dict."""
    engine, batches = build(architecture, algorithm, options)
    updates = engine.algorithm.critic_updates(USUAL_ITERATION)
    flop = iteration_flop(engine.generator, engine.critics, engine.algorithm, updates, options.batch_size)
    engine.iterate(USUAL_ITERATION, batches)        # compiles
    times = [seconds(lambda: engine.iterate(USUAL_ITERATION, batches)) for _ in range(options.iterations)]
    median = statistics.median(times)
    return {
        "architecture": architecture, "algorithm": algorithm, "critic_updates": updates,
        "milliseconds": [1000 * time for time in times], "median_milliseconds": 1000 * median,
        "images_per_second": updates * len(engine.critics) * options.batch_size / median,
        "gflop": flop / 1e9, "gflop_per_second": flop / median / 1e9, "fraction_of_peak": flop / median / peak,
    }


# ---------------------------------------------------------------------------------------------- telling

def line(row):
    spread = f"{min(row['milliseconds']):.0f} - {max(row['milliseconds']):.0f}"
    return (f"{row['architecture']:<17}{row['algorithm']:<10}{row['critic_updates']:>8}"
            f"{row['median_milliseconds']:>14.0f}{spread:>16}{row['images_per_second']:>10.1f}{row['gflop']:>9.4g}"
            f"{row['gflop_per_second']:>9.1f}{row['fraction_of_peak']:>9.0%}")


def machine():
    return {
        "cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)), "device": device_name(),
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or "TensorFlow's choice",
        "python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__,
    }


def cpu_model():
    """The processor's name, where the system is Linux; elsewhere its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def footer(report):
    where = report["machine"]
    before, after = report["load_before"], report["load_after"]
    return (f"\n{where['cpu']}, {where['cores']} cores, threads: {where['threads']}; {where['device']}\n"
            f"TensorFlow {where['tensorflow']}, Keras {where['keras']}, Python {where['python']}; "
            f"{HEIGHT}x{WIDTH} pixels, {len(FACTORS)} factors, batch {report['batch_size']}, ngf {report['ngf']}, "
            f"ndf {report['ndf']}, {report['precision']}\n"
            f"median and min - max of {report['iterations']} iterations after 1 to warm up\n"
            f"peak (float32): {report['peak_gflop_per_second']:.0f} GFLOP/s, {report['peak_convolution']}\n"
            f"load average of 1 minute: {before:.1f} before (foreign load), {after:.1f} after (own threads included)")


def combinations(only):
    """[(architecture, algorithm)] whose «architecture/algorithm» contains one of `only`, if any. Raises InputError."""
    every = [(architecture, algorithm) for architecture in ARCHITECTURES for algorithm in ALGORITHMS]
    chosen = [pair for pair in every if not only or any(name.lower() in "/".join(pair).lower() for name in only)]
    if not chosen:
        raise InputError(f"--only {' '.join(only)} is in none of {', '.join(map('/'.join, every))}")
    return chosen


def benchmark(options):
    """Print the table row by row; returns None, for an exit status of 0."""
    chosen, load_before = combinations(options.only), os.getloadavg()[0]
    if options.threads:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    peak, convolution = convolution_peak()
    print(HEADER, flush=True)
    rows = []
    for architecture, algorithm in chosen:
        rows.append(measure(architecture, algorithm, options, peak))
        print(line(rows[-1]), flush=True)
        keras.backend.clear_session()
        gc.collect()
    report = {
        "machine": machine(), "batch_size": options.batch_size, "ngf": options.ngf, "ndf": options.ndf,
        "precision": options.precision, "iterations": options.iterations, "peak_gflop_per_second": peak / 1e9,
        "peak_convolution": convolution, "load_before": load_before, "load_after": os.getloadavg()[0], "rows": rows,
    }
    print(footer(report))
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")


def parser():
    result = command_line.Parser(prog="train_step.py", description=__doc__.splitlines()[0])
    result.add_argument("--iterations", type=positive, default=3, metavar="N", help="timed iterations; default=3")
    result.add_argument("--only", action="append", default=[], metavar="NAME",
                        help="only combinations whose «architecture/algorithm» contains NAME; may be repeated")
    result.add_argument("-b", "--batch_size", type=positive, default=64, metavar="N", help="default=64")
    result.add_argument("--ngf", type=positive, default=64, metavar="N", help="generator filters; default=64")
    result.add_argument("--ndf", type=positive, default=64, metavar="N", help="critic filters; default=64")
    result.add_argument("--precision", choices=command_line.PRECISIONS, default="float32", help="default=float32")
    result.add_argument("--threads", type=positive, metavar="N",
                        help="threads of one operation; default: TensorFlow's choice")
    result.add_argument("--json", metavar="FILE", help="write the table to this file too, with every single time")
    return result


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


if __name__ == "__main__":
    sys.exit(launch.run(benchmark, parser().parse_args()))
