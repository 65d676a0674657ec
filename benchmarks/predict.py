#!/usr/bin/env python3
"""Time the generation of cells: images/s by architecture and batch size, by format, and by number with peak memory."""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from biogans.core import models, options as command_line
from biogans.system import launch
from biogans.system.lazy import keras
from own_process import measured

SHAPE, FACTORS = (48, 80, 2), ("Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1")


def generator(architecture, ngf):
    """An untrained generator; the times do not depend on its weights."""
    keras.utils.set_random_seed(0)
    return models.build_generator(models.NetworkSpec(architecture, *SHAPE, FACTORS, ngf=ngf))


def rates(architecture, ngf, batch_sizes, seconds):
    """{"rates": images/s for each batch size}, from the median time of engine.generate within `seconds`, once compiled."""
    from biogans.core.engine import generate
    network, result = generator(architecture, ngf), []
    for batch_size in batch_sizes:
        z = np.random.default_rng(0).standard_normal((batch_size, network.input_shape[1]), np.float32)
        generate(network, z, batch_size)
        times, end = [], time.perf_counter() + seconds
        while len(times) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            generate(network, z, batch_size)
            times.append(time.perf_counter() - start)
        result.append(batch_size / statistics.median(times))
    return {"rates": result}


def stack(architecture, ngf, number, batch_size):
    """Write a stack as predict.py does and delete it: images/s, including compilation, and gigabytes."""
    from biogans.core.predict import latents, write_stack
    network = generator(architecture, ngf)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path, start = Path(folder) / "stack.h5", time.perf_counter()
        z = latents(number, network.input_shape[1], 0, batch_size)
        write_stack(path, network, number, z, list(range(network.output_shape[-1])), {})
        return {"rate": number / (time.perf_counter() - start), "gigabytes": path.stat().st_size / 1e9}


def output(kind, ngf, number):
    """Generate one-channel images of 48x80 pixels with a DCGAN and write them in the format `kind`: images/s."""
    from biogans.system import drawing
    from biogans.core.predict import latents
    spec = models.NetworkSpec("DCGAN", *SHAPE[:2], 1, ("cells",), ngf=ngf)
    network, sort = models.build_generator(spec), drawing.FORMATS[kind]
    several = {"factors": ["cells"]} if kind == "png" else {}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path, start = Path(folder) / f"stack{sort.suffix}", time.perf_counter()
        sink = sort(path, number, (*SHAPE[:2], 1), spec.nz, {"channel_names": ["red"]}, **several)
        drawing.fill(sink, network, number, latents(number, spec.nz, 0, 64), [0])
        return {"rate": number / (time.perf_counter() - start)}


def benchmark(options):
    """Print the three tables row by row."""
    print(f"images/s by batch size, {SHAPE[0]}x{SHAPE[1]} pixels, ngf {options.ngf}, load before "
          f"{os.getloadavg()[0]:.1f}\n{'':<17}" + "".join(f"{size:>10}" for size in options.batches), flush=True)
    for architecture in ("DCGAN", "DCGAN-separable", "DCGAN-starshaped"):
        row = measured(rates, architecture, options.ngf, options.batches, options.seconds)
        print(f"{architecture:<17}" + "".join(f"{rate:>10.1f}" for rate in row["rates"]), flush=True)
    print(f"\n{options.images} images of one channel, DCGAN, ngf {options.ngf}, batches of 64\n"
          f"{'':<10}{'images/s':>10}", flush=True)
    for kind in ("h5", "tiff", "png"):
        row = measured(output, kind, options.ngf, options.images)
        print(f"{kind:<10}{row['rate']:>10.1f}", flush=True)
    print(f"\nstacks by number of cells, DCGAN-starshaped, ngf {options.stack_ngf}, batches of 256, in this folder\n"
          f"{'cells':>10}{'images/s':>10}{'GB':>8}{'peak MB':>10}", flush=True)
    for number in options.cells:
        row = measured(stack, "DCGAN-starshaped", options.stack_ngf, number, 256)
        print(f"{number:>10}{row['rate']:>10.1f}{row['gigabytes']:>8.2f}{row['peak_mb']:>10.0f}", flush=True)


def parser():
    result = arguments.Parser(prog="predict.py", description=__doc__)
    result.add_argument("--ngf", type=int, default=64, metavar="N", help="filters in the first two tables; default=64")
    result.add_argument("--batches", type=numbers, default=(1, 64, 1024), metavar="N,N",
                        help="batch sizes in the first table; default=1,64,1024")
    result.add_argument("--seconds", type=float, default=5.0, metavar="S", help="time for each of its rates; default=5")
    result.add_argument("--images", type=int, default=30_000, metavar="N", help="images in the second; default=30000")
    result.add_argument("--stack_ngf", type=int, default=8, metavar="N", help="filters in the third; default=8")
    result.add_argument("--cells", type=numbers, default=(1000, 10_000, 100_000), metavar="N,N",
                        help="numbers of cells in the third; default=1000,10000,100000 (11 GB, deleted again)")
    return result


def numbers(text):
    values = tuple(int(number) for number in text.split(","))
    if min(values) < 1:
        raise argparse.ArgumentTypeError(f"{text} contains numbers below 1")
    return values


if __name__ == "__main__":
    sys.exit(launch.run(benchmark, parser().parse_args()))
