#!/usr/bin/env python3
"""Compare presets: train several seeds for equal times and measure the distance of their cells to held-out ones.

    python benchmarks/presets.py -d data_48-80/data --seconds 180 --seeds 3

For each preset a star is trained with WGAN-GP for --seconds of iterations, not counting compilation. It then generates
as many cells as half of the held-out images of a factor. The distance is the sliced Wasserstein distance of
predict.py -e to this half, averaged over the factors, for the generator's last weights and for their moving average.
In the last line, the other half of the held-out images replaces generated cells.

    python benchmarks/presets.py -d data_48-80/data -i checkpoints/weights.combined_model.DCGAN-starshaped.WGAN-GP.6.h5

does the same for a trained star.
"""

import argparse
import time

import numpy as np

from biogans.core import checkpoint, dataloader, models, options, train
from biogans.core.engine import Engine, generate, float32_generator
from biogans.evaluation.metrics import sliced_wasserstein


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", "--data", required=True, help="data folder with *_train and *_test, required")
    parser.add_argument("--seconds", type=float, default=180, help="of iterations in each training; default=180")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each preset; default=3")
    parser.add_argument("--presets", nargs="+", choices=options.PRESETS, default=list(options.PRESETS),
                        help="default: all")
    parser.add_argument("-i", "--input_file", help="a combined_model file, instead of new trainings")
    asked = parser.parse_args()
    held_out = dataloader.load(asked.data, split="test")
    if asked.input_file:
        last, average = (distance(held_out, *network) for network in stored_generators(asked.input_file))
        print(f"last weights {last:.2f}, average {average:.2f}, real images among themselves "
              f"{among_real(held_out):.2f}")
        return
    print(f"{'preset':8}{'seed':>6}{'iterations':>12}{'last weights':>14}{'average':>10}")
    for preset in asked.presets:
        for seed in range(asked.seeds):
            command = ["-d", asked.data, "--preset", preset, "-s", str(seed)]
            iterations, run = train_for(command_line.parser().parse_args(command), asked.seconds)
            last, average = (distance(held_out, network, run.spec) for network in (run.generator, run.average))
            print(f"{preset:8}{seed:6}{iterations:12}{last:14.2f}{average:10.2f}", flush=True)
    print(f"real images among themselves: {among_real(held_out):.2f}")


def train_for(parsed, seconds):
    """Train for so many seconds; return (iterations, Engine)."""
    settings = options.training(parsed)
    images = dataloader.load(parsed.data)
    run = Engine(resolve_network(parsed, images), settings)
    batches = dataloader.Batches(images, settings.batch_size, settings.seed,
                                 models.ARCHITECTURES[run.spec.architecture].per_factor)
    run.iterate(0, batches)
    start, iteration = time.monotonic(), 1
    while time.monotonic() - start < seconds:
        run.iterate(iteration, batches)
        iteration += 1
    return iteration, run


def distance(held_out, network, spec):
    """Mean over the factors of the distance between generated cells and half of the held-out images."""
    halves = halves_of(held_out)
    z = np.random.default_rng(0).standard_normal((len(halves[0][0]), spec.nz), np.float32)
    cells = generate(network, z)
    return np.mean([sliced_wasserstein(half, cells[..., [0, 1 + k]]) for k, (half, _) in enumerate(halves)])


def among_real(held_out):
    """Mean over the factors of the distance between the two halves of the held-out images."""
    return np.mean([sliced_wasserstein(*halves) for halves in halves_of(held_out)])


def stored_generators(path):
    """[(generator, spec)] of a combined_model file, with the last weights and with their average."""
    arrays, facts = checkpoint.read(path)
    spec = checkpoint.network_spec(path, facts)
    networks = [float32_generator(spec) for _ in range(2)]
    for part, network in zip(("generator", "average"), networks):
        for k, variable in enumerate(network.weights):
            variable.assign(arrays[f"{part}/{k:04d}"])
    return [(network, spec) for network in networks]


def halves_of(held_out):
    """For each factor, the two halves of its held-out images, in [-1, 1]."""
    real = [held_out.pixels[held_out.labels == k] / np.float32(127.5) - 1 for k in range(len(held_out.factors))]
    return [(images[:len(images) // 2], images[len(images) // 2:]) for images in real]


if __name__ == "__main__":
    main()
