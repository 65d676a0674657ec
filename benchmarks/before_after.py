#!/usr/bin/env python3
"""Time iterations of this version beside those of another checkout, at the sizes that people use and at the paper's.

    git worktree add /tmp/before COMMIT
    python benchmarks/before_after.py --before /tmp/before

Both versions take turns, each time in a new process, which times its first iteration (with all that comes before it,
from the start of Python) and, after it, --iterations more. The table has medians over all rounds, the shortest and the
longest iteration, and the median of the ratios within a round. FLOP are counted by the rule of counting.py; the peak is
that of train_step.py, measured before the rows. A second table divides the first iteration of this version into
imports, building the networks, building the graph, and the call that runs it for the first time.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.append(str(HERE.parent / "src"))       # after PYTHONPATH, which names the version that is measured
from biogans.system import arguments, launch
from biogans.system.errors import InputError
from own_process import measured

RUNS = {
    "star, WGAN-GP, fast": "-m DCGAN-starshaped -a WGAN-GP --preset fast",
    "star, GAN, fast": "-m DCGAN-starshaped -a GAN --preset fast",
    "separable, WGAN-GP, fast": "-m DCGAN-separable -a WGAN-GP --preset fast",
    "DCGAN, WGAN-GP, fast": "-m DCGAN -a WGAN-GP --preset fast",
    "star, WGAN-GP, 32 filters, 16 images": "-m DCGAN-starshaped -a WGAN-GP --preset fast --ngf 32 --ndf 32 -b 16",
    "DCGAN, WGAN, paper": "-m DCGAN -a WGAN",
    "star, GAN, paper": "-m DCGAN-starshaped -a GAN",
}
STAGES = "imports", "networks", "graph", "first call"


class Times(NamedTuple):
    """What one process measured."""

    first: list[float]          # seconds of each of STAGES, from the start of Python to the end of the first iteration
    iterations: list[float]     # seconds
    gflop: float                # of an iteration


def iterations(words, number, started):
    """Print the Times of this process, which started at this time of the clock, as JSON."""
    from biogans.system.lazy import keras
    from counting import iteration_flop
    from train_step import USUAL_ITERATION, noise_run, seconds
    keras.config.floatx()       # imports Keras and TensorFlow
    clock = [started, time.time()]
    engine, batches = noise_run(words)
    clock.append(time.time())
    engine.compile()
    clock.append(time.time())
    engine.iterate(USUAL_ITERATION, batches)
    clock.append(time.time())
    first = [end - start for start, end in itertools.pairwise(clock)]
    times = [seconds(lambda: engine.iterate(USUAL_ITERATION, batches)) for _ in range(number)]
    flop = iteration_flop(engine.generator, engine.critics, engine.algorithm, engine.updates(USUAL_ITERATION),
                          engine.settings.batch_size)
    print(json.dumps(Times(first, times, flop / 1e9)))


def measure(checkout, words, number):
    """The Times of a process with the sources of a checkout. Raises InputError if it fails."""
    command = [sys.executable, __file__, "--before", checkout, "--iterations", str(number),
               "--worker", words, "--started", str(time.time())]
    result = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(checkout / "src")},
                            capture_output=True, text=True)
    if result.returncode:
        raise InputError(f"{checkout}: an iteration failed:\n{result.stderr[-2000:]}")
    return Times(*json.loads(result.stdout.splitlines()[-1]))


def peak():
    from machine import convolutions, fastest
    return {"rate": fastest(convolutions("float32"))[0] / 1e9}


def compare(options):
    """Print the table row by row; returns None, for an exit status of 0."""
    if options.worker:
        return iterations(options.worker.split(), options.iterations, options.started)
    highest, starts = measured(peak)["rate"], []
    print(f"{'':<38}{'ms an iteration':<48}{'first, s':>18}{'GFLOP/s':>9}{'of peak':>9}\n"
          f"{'':<38}{'before':<22}{'after':<21}{'ratio':>5}{'before':>11}{'after':>7}")
    for name, words in RUNS.items():
        if options.only in name:
            rounds = [[measure(checkout, words, options.iterations)
                       for checkout in (options.before, HERE.parent)] for _ in range(options.rounds)]
            print(line(name, rounds, highest), flush=True)
            starts.append(line_of_stages(name, [after for _, after in rounds]))
    header = "".join(f"{stage:>12}" for stage in STAGES)
    print(f"\n{'first iteration, after, s':<38}{header}", *starts, sep="\n")
    print(f"\n{len(os.sched_getaffinity(0))} cores, {options.rounds} rounds of {options.iterations} iterations; peak "
          f"{highest:.0f} GFLOP/s; load average of 1 minute at the end: {os.getloadavg()[0]:.1f}")


def line(name, rounds, highest):
    """A row of the table, from [[Times before, Times after], …]."""
    before, after = (sorted(1000 * time for times in version for time in times.iterations)
                     for version in zip(*rounds, strict=True))
    firsts = [statistics.median(sum(times.first) for times in version) for version in zip(*rounds, strict=True)]
    ratio = statistics.median(statistics.median(one.iterations) / statistics.median(other.iterations)
                              for one, other in rounds)
    rate = 1000 * rounds[0][1].gflop / statistics.median(after)
    cells = [f"{statistics.median(times):.0f} ({times[0]:.0f} - {times[-1]:.0f})" for times in (before, after)]
    return (f"{name:<38}{cells[0]:<22}{cells[1]:<21}{ratio:>5.2f}{firsts[0]:>11.1f}{firsts[1]:>7.1f}{rate:>9.0f}"
            f"{rate / highest:>9.0%}")


def line_of_stages(name, versions):
    """A row of the second table, from the Times of all rounds."""
    return f"{name:<38}" + "".join(f"{statistics.median(stage):>12.1f}"
                                   for stage in zip(*(times.first for times in versions), strict=True))


def parser():
    result = arguments.Parser(prog="before_after.py", description=__doc__.splitlines()[0])
    result.add_argument("--before", type=Path, required=True, metavar="FOLDER", help="a checkout of the other version")
    result.add_argument("--only", default="", metavar="NAME", help="rows whose name contains NAME; default: all")
    result.add_argument("--rounds", type=arguments.positive_int, default=5, metavar="N", help="default=5")
    result.add_argument("--iterations", type=arguments.positive_int, default=7, metavar="N",
                        help="timed iterations of a process; default=7")
    result.add_argument("--worker", help=argparse.SUPPRESS)
    result.add_argument("--started", type=float, help=argparse.SUPPRESS)
    return result


def main(arguments=None):
    return launch.run(compare, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
