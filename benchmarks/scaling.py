#!/usr/bin/env python3
"""How much faster several workers train, what their synchronisation costs, and an estimate for several GPUs.

Workers are processes with a fixed core each, which find each other as the tasks of a Slurm step do. Each has the same
number of images of every batch, so that its work does not change with the number of workers. Their iterations are timed
twice: together, and apart, when each trains for itself at the same time as the others, on the same caches and memory.
The difference is the cost of synchronisation. The estimate is not measured: it follows from counted operations and
bytes, assumed rates of the GPUs, and the measured time of sums over two workers.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from biogans.core import dataloader, models, options as command_line
from biogans.core.settings import resolve_network, resolve_settings
from biogans.system import arguments, launch, workers
from biogans.system.files import replacing
from own_process import measured

WORKERS, FILTERS = (1, 2, 4), (8, 16, 32, 64)
BATCH, USUAL_ITERATION = 8, 26      # images of each worker
SHORT, LONG, SUMS = 256, 2 ** 24, 9         # numbers of a short and of a long sum; how often each is timed
GPUS = (1, 2, 4, 8)
TIMED, SECONDS = 3, 4               # iterations at least, and for how long


# ---------------------------------------------------------------------------------------------- measured

def worker(filters):
    """Milliseconds of an iteration of this worker, apart and together with the others; as a dict."""
    from biogans.core.engine import Engine
    with workers.joined(Path.cwd()) as team:
        timed = {}
        for name, members in (("together", team), ("apart", workers.Team())):
            batch = BATCH * members.number
            options = command_line.parser().parse_args(
                ["-d", "noise", "-m", "DCGAN", "-b", str(batch), "--ngf", str(filters), "--ndf", str(filters)])
            settings = resolve_settings(options)
            pixels = np.random.default_rng(0).integers(0, 256, (batch, 48, 80, 2), np.uint8)
            images = dataloader.Images(pixels, np.zeros(len(pixels), int), ("noise",))
            batches = dataloader.Batches(images, settings.batch_size, settings.seed, False)
            engine = Engine(resolve_network(options, images), settings, team=members)
            engine.iterate(USUAL_ITERATION, batches)
            rounds = max(TIMED, round(team.share(SECONDS / seconds(engine, batches))))
            team.gather(None)       # nobody begins before the others are there
            timed[name] = 1000 * float(np.median([seconds(engine, batches) for _ in range(rounds)]))
            team.gather(None)
        counts = {name: sum(math.prod(weight.shape) for network in networks for weight in network.trainable_variables)
                  for name, networks in (("generator", [engine.generator]), ("critic", engine.critics))}
        if team.rank == 0:
            print(json.dumps(timed | counts | {"updates": settings.num_D_iters}), file=sys.stderr)


def sums():
    """Seconds of a short sum over the workers, and the GB/s of a long one, there and back; as a dict."""
    with workers.joined(Path.cwd()) as team:
        times = {}
        for name, size in (("short", SHORT), ("long", LONG)):
            values, found = np.ones(size, np.float32), []
            for _ in range(SUMS):
                team.gather(None)
                start = time.perf_counter()
                team.sum(values, name)
                found.append(time.perf_counter() - start)
            times[name] = float(np.median(found))
        if team.rank == 0:
            print(json.dumps({"latency": times["short"], "rate": 2 * 4 * LONG / times["long"] / 1e9}), file=sys.stderr)


def seconds(engine, batches):
    start = time.perf_counter()
    engine.iterate(USUAL_ITERATION, batches)
    return time.perf_counter() - start


def measure(number, filters, cores):
    """What the first of `number` workers measured, each on a core of its own as far as there are as many.

    filters   of the networks; 0 for sums alone
    """
    job, tasks = os.getpid(), []
    for rank in range(number):
        environment = os.environ | {
            "SLURM_JOB_ID": str(job), "SLURM_STEP_ID": f"{number}{filters}", "SLURM_STEP_NODELIST": "localhost",
            "SLURM_STEP_NUM_TASKS": str(number), "SLURM_PROCID": str(rank), "SLURM_CPUS_PER_TASK": "1"}
        on_its_core = functools.partial(os.sched_setaffinity, 0, {cores[rank % len(cores)]})
        what = ["--worker", str(filters)] if filters else ["--sums"]
        tasks.append(subprocess.Popen([sys.executable, __file__, *what], env=environment, text=True,
                                      stderr=subprocess.PIPE, preexec_fn=on_its_core))
    output = [task.communicate()[1] for task in tasks]
    if any(task.returncode for task in tasks):
        sys.exit("\n".join(output))
    return json.loads(output[0].splitlines()[-1])


def measurements(numbers, filters):
    """The lines of the table of `numbers` of workers and `filters`."""
    cores, load = sorted(os.sched_getaffinity(0)), os.getloadavg()[0]
    enough = "" if len(cores) >= max(numbers) else " as far as they suffice"
    yield (f"{len(cores)} CPU core(s), one per worker{enough}; "
           f"load average before the run: {load:.1f}{', too high for meaningful times' if load > 2 else ''}")
    yield (f"DCGAN, WGAN-GP, 48x80 pixels, {BATCH} images per batch and worker; images/s counts images shown to the "
           f"critic")
    yield ""
    yield ("filters   weights  workers   MB sent     ms apart  ms together   cost of      images/s   speed-up")
    yield ("                          per iteration                      synchronisation")
    for size in filters:
        rates = []
        for number in numbers:
            one = measure(number, size, cores)
            sent = sent_bytes(number, one) / 1e6
            cost = one["together"] - one["apart"]
            rates.append(1000 * one["updates"] * BATCH * number / one["together"])
            weights = (one["generator"] + one["critic"]) / 1e6
            yield (f"{size:>7}{weights:>8.2f} M{number:>9}{sent:>10.1f}{one['apart']:>13.0f}{one['together']:>13.0f}"
                   f"{cost:>9.0f} ms {cost / one['together']:>4.0%}{rates[-1]:>10.0f}{rates[-1] / rates[0]:>11.2f}")


def sent_bytes(workers, counts):
    """Bytes that the first worker sends in an iteration, and receives: the float32 gradients of all updates.

    The other workers send their gradients to the first one, which sends the sums back.
    """
    return (workers - 1) * 4 * (counts["updates"] * counts["critic"] + counts["generator"])


# ---------------------------------------------------------------------------------------------- estimated

@dataclasses.dataclass(frozen=True)
class Cluster:
    """What is assumed of the GPUs, of which none was measured here, and of the sums, which were."""

    rate: float                     # GB/s of a long sum over two workers of this machine, there and back
    latency: float                  # seconds of a short one
    tflops: float = 156.0           # peak of an NVIDIA A100's TF32 products, dense, from its data sheet
    efficiency: float = 0.3         # of that peak
    batch: int = 64                 # of each factor, on each GPU


def paper_model():
    """Operations for an image of each factor, and numbers to exchange, of the paper's star in 48x80 pixels."""
    from biogans.core.gan import ALGORITHMS
    from biogans.system.lazy import keras
    from counting import iteration_flop
    settings = command_line.default_settings("WGAN-GP")
    algorithm = ALGORITHMS[settings.algorithm](settings)
    spec = models.NetworkSpec("DCGAN-starshaped", 48, 80, 2, tuple("ABCDEF"))
    generator, critics = models.build_generator(spec), models.build_critics(spec)
    updates = algorithm.critic_updates(USUAL_ITERATION)
    return {"flop": iteration_flop(generator, critics, algorithm, updates, 1), "updates": updates,
            "factors": spec.num_critics, "generator": generator.count_params(),
            "critic": sum(critic.count_params() for critic in critics),
            "normalisations": sum(isinstance(layer, keras.layers.BatchNormalization) for layer in generator.layers)}


def estimate(cluster):
    """The lines of the estimate for several GPUs, each with a task of its own."""
    model = measured(paper_model)
    compute = model["flop"] * cluster.batch / (cluster.tflops * 1e12 * cluster.efficiency)
    # Forward in every update, mean and variance of each; backward in the generator's, two of each.
    small = model["normalisations"] * (2 * model["updates"] + 2)
    yield f"ESTIMATE, not measured: the paper's star, 48x80 pixels, {cluster.batch} images of each factor on each GPU"
    yield (f"assumed  {cluster.tflops:g} TFLOP/s peak per GPU (A100, TF32), {cluster.efficiency:.0%} of it achieved; "
           f"no overlap with computing")
    yield (f"measured {cluster.rate:.2g} GB/s to and from the first task, {1e6 * cluster.latency:.0f} µs for a short "
           f"sum: two workers of this machine")
    yield (f"counted  {model['flop'] * cluster.batch / 1e12:.1f} TFLOP per GPU, "
           f"{4 * model['critic'] / 1e6:.0f} MB of critic gradients {model['updates']} times, "
           f"{4 * model['generator'] / 1e6:.0f} MB of generator gradients;")
    yield f"         {small} sums of batch normalisation, of some hundred numbers each"
    yield "formula  2 (N-1) bytes / rate; (N-1) latency for each sum"
    yield ""
    yield "   GPUs  computing  gradients  normalisation   images/s       speed-up"
    rates = []
    for number in GPUS:
        gradients = 2 * sent_bytes(number, model) / (1e9 * cluster.rate)
        normalisation = small * (number - 1) * cluster.latency
        images = model["updates"] * model["factors"] * cluster.batch * number
        rates.append(images / (compute + gradients + normalisation))
        yield (f"{number:>7}{1000 * compute:>8.0f} ms{1000 * gradients:>8.0f} ms{1000 * normalisation:>12.0f} ms"
               f"{rates[-1]:>11.0f}{rates[-1] / rates[0]:>15.1f}")


# ---------------------------------------------------------------------------------------------- the page

def write_block(page, text):
    """Replace what a page has between its first two lines of three backticks."""
    before, _, rest = page.read_text().partition("```\n")
    _, _, after = rest.partition("```\n")
    with replacing(page) as temporary:
        temporary.write_text(f"{before}```\n{text}```\n{after}")


def scaling(options):
    """Print the tables, and put them on the page; returns None, for an exit status of 0."""
    if options.worker or options.sums:
        return worker(options.worker) if options.worker else sums()
    lines, begin = [], time.perf_counter()
    of_sums = Cluster(**measure(2, 0, sorted(os.sched_getaffinity(0))))
    for line in itertools.chain(measurements(options.workers, options.filters), [""], estimate(of_sums)):
        lines.append(line)
        print(line, flush=True)
    if options.output:
        write_block(Path(options.output), "\n".join(lines) + "\n")
    print(f"{(time.perf_counter() - begin) / 60:.1f} minutes")


def parser():
    result = arguments.Parser(prog="scaling.py", description=__doc__.splitlines()[0])
    result.add_argument("-o", "--output", metavar="PAGE.md", help="the page whose first block of output is replaced")
    result.add_argument("--workers", type=arguments.positive_int, nargs="+", default=WORKERS, metavar="N",
                        help="default: 1 2 4")
    result.add_argument("--filters", type=arguments.positive_int, nargs="+", default=FILTERS, metavar="N",
                        help="default: 8 16 32 64")
    result.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    result.add_argument("--sums", action="store_true", help=argparse.SUPPRESS)
    return result


def main(arguments=None):
    return launch.run(scaling, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
