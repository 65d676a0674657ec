#!/usr/bin/env python3
"""Time one training iteration of three architectures with every algorithm, and compare it with the machine's peak.

FLOP are counted from the layers by the rule of counting.py. The peak is the best rate of single float32 convolutions
of the paper's critic, forward and both gradients, measured before the rows. images/s counts the real images shown to
the critics: updates x critics x batch size per iteration.
"""

import gc
import json
import os
import platform
import statistics
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "src"), str(Path(__file__).resolve().parent)]
from biogans.core import dataloader, models, options as command_line
from biogans.core.engine import Engine, device_name
from biogans.core.gan import PAPER
from biogans.core.settings import PRECISIONS, resolve_network, resolve_settings
from biogans.system import arguments, launch, provenance
from biogans.system.errors import InputError
from biogans.system.lazy import keras, tensorflow as tf
from counting import iteration_flop
from machine import convolutions, fastest, seconds

HEIGHT, WIDTH, CHANNELS = 48, 80, 2
FACTORS = ("Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1")
ARCHITECTURES = ("DCGAN", "DCGAN-separable", "DCGAN-starshaped")
USUAL_ITERATION = 26            # WGAN updates its critic 100 times in iterations 0 to 24 and in every 500th
HEADER = (f"{'architecture':<17}{'algorithm':<10}{'updates':>8}{'ms/iteration':>14}{'min - max':>16}{'images/s':>10}"
          f"{'GFLOP':>9}{'GFLOP/s':>9}{'of peak':>9}")


# ---------------------------------------------------------------------------------------------- measuring

def noise_images(per_factor):
    """dataloader.Images of uniform noise, `per_factor` of each factor; times do not depend on the pixels."""
    count = per_factor * len(FACTORS)
    pixels = np.random.default_rng(0).integers(0, 256, (count, HEIGHT, WIDTH, CHANNELS), np.uint8)
    return dataloader.Images(pixels, np.repeat(np.arange(len(FACTORS)), per_factor), FACTORS)


def build(architecture, algorithm, options):
    """(Engine, Batches), as in train.py with the same options."""
    words = ["-m", architecture, "-a", algorithm]
    for name in ("batch_size", "ngf", "ndf", "precision"):
        words += [f"--{name}", str(getattr(options, name))]
    return noise_run(words)


def noise_run(words):
    """(Engine, Batches), as in train.py with these words, for images of noise."""
    options = command_line.parser().parse_args(["-d", "noise", *words])
    settings = resolve_settings(options)
    images = noise_images(settings.batch_size)
    batches = dataloader.batches(images, settings.batch_size, settings.seed,
                                 models.ARCHITECTURES[options.network_model])
    return Engine(resolve_network(options, images), settings), batches


def measure(architecture, algorithm, options, peak):
    """Measure one combination; return a row of the table as a dict."""
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


# ---------------------------------------------------------------------------------------------- the table

def line(row):
    spread = f"{min(row['milliseconds']):.0f} - {max(row['milliseconds']):.0f}"
    return (f"{row['architecture']:<17}{row['algorithm']:<10}{row['critic_updates']:>8}"
            f"{row['median_milliseconds']:>14.0f}{spread:>16}{row['images_per_second']:>10.1f}{row['gflop']:>9.4g}"
            f"{row['gflop_per_second']:>9.1f}{row['fraction_of_peak']:>9.0%}")


def machine_facts():
    return {
        "cpu": provenance.cpu_model(), "cores": len(os.sched_getaffinity(0)), "device": device_name(),
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or "TensorFlow's choice",
        "python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__,
    }


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
    """[(architecture, algorithm)] whose «architecture/algorithm» contains one of `only`; all if `only` is empty.

    Raises InputError if there is none.
    """
    every = [(architecture, algorithm) for architecture in ARCHITECTURES for algorithm in PAPER]
    chosen = [pair for pair in every if not only or any(name.lower() in "/".join(pair).lower() for name in only)]
    if not chosen:
        raise InputError(f"--only {' '.join(only)} matches none of {', '.join(map('/'.join, every))}")
    return chosen


def benchmark(options):
    """Print the table row by row."""
    chosen, load_before = combinations(options.only), os.getloadavg()[0]
    if options.threads:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    peak, convolution = fastest(convolutions("float32"))
    print(HEADER, flush=True)
    rows = []
    for architecture, algorithm in chosen:
        rows.append(measure(architecture, algorithm, options, peak))
        print(line(rows[-1]), flush=True)
        keras.backend.clear_session()
        gc.collect()
    report = {
        "machine": machine_facts(), "batch_size": options.batch_size, "ngf": options.ngf, "ndf": options.ndf,
        "precision": options.precision, "iterations": options.iterations, "peak_gflop_per_second": peak / 1e9,
        "peak_convolution": convolution, "load_before": load_before, "load_after": os.getloadavg()[0], "rows": rows,
    }
    print(footer(report))
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")


def parser():
    result = arguments.Parser(prog="train_step.py", description=__doc__.splitlines()[0])
    result.add_argument("--iterations", type=arguments.positive_int, default=3, metavar="N",
                        help="timed iterations; default=3")
    result.add_argument("--only", action="append", default=[], metavar="NAME",
                        help="combinations whose «architecture/algorithm» contains NAME; may be repeated; default: all")
    add_networks(result)
    result.add_argument("--threads", type=arguments.positive_int, metavar="N",
                        help="threads per operation; default: TensorFlow's choice")
    result.add_argument("--json", metavar="FILE", help="also write the table, including single times, to this file")
    return result


def add_networks(parser):
    """Add the options of batch size, filters and precision, which compare.py shares."""
    parser.add_argument("-b", "--batch_size", type=arguments.positive_int, default=64, metavar="N", help="default=64")
    parser.add_argument("--ngf", type=arguments.positive_int, default=64, metavar="N",
                        help="generator filters; default=64")
    parser.add_argument("--ndf", type=arguments.positive_int, default=64, metavar="N",
                        help="critic filters; default=64")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="default=float32")


def main(arguments=None):
    return launch.run(benchmark, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
