#!/usr/bin/env python3
"""Time the generation of cells: images/s by architecture and batch size, by format, and by number with peak memory."""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from biogans.core import models, trained
from biogans.core.options import default_settings
from biogans.core.settings import Metadata
from biogans.io import stacks
from biogans.io.formats import FORMATS
from biogans.system import arguments, launch
from biogans.system.files import replacing
from biogans.system.lazy import keras
from own_process import measured

SHAPE, FACTORS = (48, 80, 2), ("Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1")


def untrained(spec):
    """An untrained trained.TrainedGenerator; the times do not depend on its weights."""
    keras.utils.set_random_seed(0)
    network, metadata = models.build_generator(spec), Metadata(spec, default_settings("WGAN-GP"), {})
    return trained.TrainedGenerator(Path("untrained"), lambda: network, metadata)


def rates(architecture, ngf, batch_sizes, seconds):
    """{"rates": images/s for each batch size}, from the median time of a batch within `seconds`, once compiled."""
    generator, result = untrained(models.NetworkSpec(architecture, *SHAPE, FACTORS, ngf=ngf)), []
    for batch_size in batch_sizes:
        z = next(generator.latents(batch_size, 0, batch_size))
        generator.generate(z, batch_size)
        times, end = [], time.perf_counter() + seconds
        while len(times) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            generator.generate(z, batch_size)
            times.append(time.perf_counter() - start)
        result.append(batch_size / statistics.median(times))
    return {"rates": result}


def stack(architecture, ngf, number, batch_size):
    """Write a stack as predict.py does and delete it: images/s, including compilation, and gigabytes."""
    generator = untrained(models.NetworkSpec(architecture, *SHAPE, FACTORS, ngf=ngf))
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path, start = Path(folder) / "stack.h5", time.perf_counter()
        with replacing(path) as temporary:
            write(temporary, "h5", generator, number, batch_size)
        return {"rate": number / (time.perf_counter() - start), "gigabytes": path.stat().st_size / 1e9}


def output(kind, ngf, number):
    """Generate one-channel images of 48x80 pixels with a DCGAN and write them in the format `kind`: images/s."""
    generator = untrained(models.NetworkSpec("DCGAN", *SHAPE[:2], 1, ("cells",), ngf=ngf))
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path, start = Path(folder) / f"stack{FORMATS[kind].suffix}", time.perf_counter()
        write(path, kind, generator, number, 64)
        return {"rate": number / (time.perf_counter() - start)}


def write(path, kind, generator, number, batch_size):
    """Write generated cells with all channels in the format `kind`, as predict.py does."""
    channels = generator.channels()
    content = stacks.Content(number, (*SHAPE[:2], len(channels)), generator.spec.nz,
                             generator.stack_attributes(channels), ("cells",))
    trained.fill(FORMATS[kind](path, content), generator, generator.latents(number, 0, batch_size), channels,
                 trained.Position(number))


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
    several = arguments.several(arguments.positive_int)
    result.add_argument("--ngf", type=arguments.positive_int, default=64, metavar="N",
                        help="filters in the first two tables; default=64")
    result.add_argument("--batches", type=several, default=(1, 64, 1024), metavar="N,N",
                        help="batch sizes in the first table; default=1,64,1024")
    result.add_argument("--seconds", type=arguments.positive_float, default=5.0, metavar="S",
                        help="time for each of its rates; default=5")
    result.add_argument("--images", type=arguments.positive_int, default=30_000, metavar="N",
                        help="images in the second; default=30000")
    result.add_argument("--stack_ngf", type=arguments.positive_int, default=8, metavar="N",
                        help="filters in the third; default=8")
    result.add_argument("--cells", type=several, default=(1000, 10_000, 100_000), metavar="N,N",
                        help="numbers of cells in the third; default=1000,10000,100000 (11 GB, deleted again)")
    return result


def main(arguments=None):
    return launch.run(benchmark, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
