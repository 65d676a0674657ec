#!/usr/bin/env python3
"""Compare losses of the first iterations on this machine's accelerator with those on its CPU, in float32.

    KERAS_BACKEND=jax python benchmarks/losses.py

Networks are small (8 filters, 48x80 pixels, batches of 8 of noise). Each combination trains for three iterations from
the same seed on both devices. The largest difference is relative to the loss, or to 1 if that is larger; above 1 in
1,000 the exit status is 1. Without an accelerator the CPU is compared with itself.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "src"), str(Path(__file__).resolve().parent)]
from biogans.core.engine import device_name
from biogans.system import arguments, launch
from biogans.system.errors import InputError
from train_step import noise_run

PAIRS = [("DCGAN", "GAN"), ("DCGAN", "RpGAN"), ("DCGAN-separable", "WGAN"), ("DCGAN-starshaped", "WGAN-GP")]
SIZE = "-b 8 --ngf 8 --ndf 8 --num_D_iters 1"
ITERATIONS = range(26, 29)      # WGAN updates its critic 100 times in iterations 0 to 24
TOLERANCE = 1e-3
CPU = {"jax": {"JAX_PLATFORMS": "cpu"}, "tensorflow": {"CUDA_VISIBLE_DEVICES": ""}}


def losses(architecture, algorithm):
    """[[critic's loss, generator's loss]] of ITERATIONS on the default device."""
    engine, batches = noise_run(["-m", architecture, "-a", algorithm, *SIZE.split()])
    return [[float(loss) for loss in engine.iterate(iteration, batches)] for iteration in ITERATIONS]


def start(environment):
    """A process that prints its device, then the losses of all PAIRS, in another environment; each a line of JSON."""
    return subprocess.Popen([sys.executable, __file__, "--worker"], env=os.environ | environment,
                            stdout=subprocess.PIPE, text=True)


def answer(process):
    """The next line of a process. Raises InputError if it has ended."""
    if line := process.stdout.readline():
        return json.loads(line)
    raise InputError("a process that computes losses failed: its message is above")


def compare(options):
    """Print the table row by row; return the exit status. Raises InputError if a process fails."""
    if options.worker:
        print(json.dumps(device_name()), flush=True)
        for pair in PAIRS:
            print(json.dumps(losses(*pair)), flush=True)
        return 0
    processes = [start({}), start(CPU[os.environ["KERAS_BACKEND"]])]
    try:
        device, _ = map(answer, processes)
        print(f"{device}, beside the CPU\n{'':28}{'critic':>12}{'generator':>12}{'difference':>12}", flush=True)
        differences = [print_row(pair, *map(answer, processes)) for pair in PAIRS]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return int(max(differences) > TOLERANCE)


def print_row(pair, found, expected):
    """Print a row and return its difference."""
    difference = max(abs(a - b) / max(1, abs(b)) for row, reference in zip(found, expected)
                     for a, b in zip(row, reference))
    print(f"{' '.join(pair):28}{found[-1][0]:12.5f}{found[-1][1]:12.5f}{difference:12.1e}", flush=True)
    return difference


def parser():
    result = arguments.Parser(prog="losses.py", description=__doc__)
    result.add_argument("--worker", action="store_true", help="print the losses of this process as JSON")
    return result


def main(arguments=None):
    return launch.run(compare, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
