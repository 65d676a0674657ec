#!/usr/bin/env python3
"""Compare presets: train several seeds for equal times and measure the distance of their cells to held-out ones.

    python benchmarks/presets.py -d data_48-80/data --seconds 180 --seeds 3

For each preset a star is trained with WGAN-GP for --seconds of iterations, not counting compilation. It then generates
as many cells as half of the held-out images of a factor. Their sliced Wasserstein distance to this half
(evaluation.metrics.sliced_wasserstein), averaged over the factors, is printed for the generator's last weights and for
their moving average. In the last line, the other half of the held-out images replaces generated cells.

    python benchmarks/presets.py -d data_48-80/data -i checkpoints/weights.combined_model.DCGAN-starshaped.WGAN-GP.6.h5

does the same for a trained star.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from biogans.core import dataloader, models, options as command_line, trained
from biogans.core.engine import Engine, float32_generator, generate
from biogans.core.settings import PRESETS, resolve_network, resolve_settings
from biogans.evaluation.metrics import sliced_wasserstein
from biogans.system import arguments, launch
from biogans.system.pixels import to_signed


def compare(options):
    """Print the table row by row, or the distances of a trained star. Raises InputError."""
    held_out = dataloader.load(options.data, split="test")
    if options.input_file:
        last, average = (distance(held_out, network) for network in stored_generators(options.input_file))
        print(f"last weights {last:.2f}, average {average:.2f}, real images among themselves "
              f"{among_real(held_out):.2f}")
        return
    print(f"{'preset':8}{'seed':>6}{'iterations':>12}{'last weights':>14}{'average':>10}")
    for preset in options.presets:
        for seed in range(options.seeds):
            words = ["-d", options.data, "--preset", preset, "-s", str(seed)]
            iterations, engine = train_for(command_line.parser().parse_args(words), options.seconds)
            last, average = (distance(held_out, network) for network in (engine.generator, engine.average))
            print(f"{preset:8}{seed:6}{iterations:12}{last:14.2f}{average:10.2f}", flush=True)
    print(f"real images among themselves: {among_real(held_out):.2f}")


def train_for(options, seconds):
    """Train with train.py's options for so many seconds; return (iterations, Engine)."""
    settings, images = resolve_settings(options), dataloader.load(options.data)
    engine = Engine(resolve_network(options, images), settings)
    batches = dataloader.batches(images, settings.batch_size, settings.seed,
                                 models.ARCHITECTURES[engine.spec.architecture])
    engine.iterate(0, batches)
    start, iteration = time.monotonic(), 1
    while time.monotonic() - start < seconds:
        engine.iterate(iteration, batches)
        iteration += 1
    return iteration, engine


def distance(held_out, network):
    """Mean over the factors of the distance between generated cells and half of the held-out images."""
    halves = halves_of(held_out)
    z = np.random.default_rng(0).standard_normal((len(halves[0][0]), network.input_shape[1]), np.float32)
    cells = generate(network, z)
    return np.mean([sliced_wasserstein(half, cells[..., [0, 1 + k]]) for k, (half, _) in enumerate(halves)])


def among_real(held_out):
    """Mean over the factors of the distance between the two halves of the held-out images."""
    return np.mean([sliced_wasserstein(*halves) for halves in halves_of(held_out)])


def stored_generators(path):
    """The generators of a combined_model file: with the last weights, and with their moving average."""
    arrays, metadata = trained.read_weights(path)
    networks = [float32_generator(metadata.network) for _ in range(2)]
    for part, network in zip(("generator", "average"), networks, strict=True):
        for k, variable in enumerate(network.weights):
            variable.assign(arrays[f"{part}/{k:04d}"])
    return networks


def halves_of(held_out):
    """For each factor, the two halves of its held-out images, in [-1, 1]."""
    real = [to_signed(held_out.pixels[held_out.labels == k]) for k in range(len(held_out.factors))]
    return [(images[:len(images) // 2], images[len(images) // 2:]) for images in real]


def parser():
    result = arguments.Parser(prog="presets.py", description=__doc__)
    result.add_argument("-d", "--data", required=True, metavar="DATAROOT",
                        help="data folder with *_train and *_test, required")
    result.add_argument("--seconds", type=arguments.positive_float, default=180, metavar="S",
                        help="of iterations in each training; default=180")
    result.add_argument("--seeds", type=arguments.positive_int, default=3, metavar="N",
                        help="trainings of each preset; default=3")
    result.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS), metavar="NAME",
                        help=f"of {', '.join(PRESETS)}; default: all")
    result.add_argument("-i", "--input_file", metavar="FILE", help="a combined_model file, instead of new trainings")
    return result


def main(arguments=None):
    return launch.run(compare, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
