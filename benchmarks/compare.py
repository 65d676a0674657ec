#!/usr/bin/env python3
"""Time a training iteration of BioGANs side by side with other implementations of the same computation.

Contenders
    ours       the steps of train.py
    tutorial   the same networks and losses, trained the way a tutorial would (tutorial.py); only on TensorFlow
    original   with --original DIR, the PyTorch code of the paper: DIR is the folder «code» of a checkout of
               https://github.com/aosokin/biogans; needs torch and torchvision (original.py)
    compiled   with --compiled too, the original with its networks compiled by torch.compile

Each contender is a separate process with as many threads as this process has cores. The contenders start one after
another and then take turns, one iteration each, while the others wait. After one round to warm up, --rounds rounds are
timed. An iteration includes taking its batches from the images in memory, and ends when the losses are known. For WGAN
it is a regular iteration, with 5 updates of the critic.

    ms/iteration    median and min - max over the rounds
    ours is         how many times faster ours is: the median of the ratios within a round
    images/s        real images shown to the critics
    GFLOP/s         rate at the FLOP of an iteration, counted by the rule of counting.py, the same for all contenders
    of peaks        this rate relative to the fastest single convolution, and to the fastest product of two square
                    matrices, both measured in the same run at the same precision
    memory          peak memory of the process (without the original's processes that read images) and, with a GPU,
                    after a «/» its peak memory there
    1st iteration   time from the command to the end of the first iteration: imports, reading images, building and
                    compiling networks; median over the starts
    1st image       time from the command to the first picture of generated cells in a file
    load            cores used by other processes during an iteration: median over the rounds
"""

import argparse
import contextlib
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER.parent / "src"), str(FOLDER)]
import machine
import original
import train_step
from biogans.io import folders
from biogans.system import arguments, launch, provenance
from biogans.system.errors import InputError

DATA = FOLDER.parent / "data_48-80" / "data"
USUAL = [("DCGAN", "WGAN-GP"), ("DCGAN-starshaped", "WGAN-GP"), ("DCGAN-starshaped", "GAN"),
         ("DCGAN-separable", "WGAN")]
HEADER = (f"{'':11}{'ms/iteration':>13}{'min - max':>15}{'ours is':>9}{'images/s':>10}{'GFLOP/s':>9}{'of peaks':>13}"
          f"{'memory':>14}{'1st iteration':>15}{'1st image':>11}{'load':>6}")


# ---------------------------------------------------------------------------------------------- a contender's process

def work(task):
    """Run a contender: obey commands from lines of standard input, and answer each with a line of JSON."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)               # output of libraries must not mix with the answers
    if task["contender"] == "peaks":
        print(json.dumps({"peaks": machine.peaks(task["precision"])}), file=answers)
        return
    contender = build(task)
    print(json.dumps({"losses": finite(contender.iterate())}), file=answers)
    contender.write_image(task["folder"])
    print(json.dumps({"facts": contender.facts()}), file=answers)
    for line in sys.stdin:
        answer = COMMANDS[line.strip()](contender)
        print(json.dumps(answer), file=answers)


def build(task):
    """Return the contender that `task` names."""
    if task["contender"] == "ours":
        from ours import Ours
        return Ours(task)
    if task["contender"] == "tutorial":
        from tutorial import Tutorial
        return Tutorial(task)
    return original.Original(task)


def timed_iteration(contender):
    start = time.perf_counter()
    losses = contender.iterate()
    return {"seconds": time.perf_counter() - start, "losses": finite(losses)}


def finite(losses):
    if not all(map(math.isfinite, losses)):
        raise InputError(f"losses {losses} are not finite")
    return losses


COMMANDS = {
    "iterate": timed_iteration,
    "memory": lambda contender: {"host": machine.memory_high_water(), "device": contender.device_memory()},
    "profile": lambda contender: contender.profile(),
}


class Failed(InputError):
    """A contender's process ended early."""


class Process:
    """A contender's process, controlled from here.

    seconds    from its start to the end of its first iteration, and to its first image
    facts      the result of its method facts()
    """

    def __init__(self, task):
        self.name, self.log = task["contender"], Path(task["folder"]) / f"{task['contender']}.log"
        cores = str(len(os.sched_getaffinity(0)))
        # By default PyTorch's threads wait for each other at full load. If anything else runs on one of their cores,
        # an iteration then takes up to hundreds of times longer.
        environment = {"OMP_WAIT_POLICY": "passive"} | os.environ | {
            "TF_NUM_INTRAOP_THREADS": cores, "OMP_NUM_THREADS": cores, "TF_CPP_MIN_LOG_LEVEL": "3",
            # Several processes share a GPU.
            "TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        start = time.monotonic()
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "--worker", json.dumps(task)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True, bufsize=1, env=environment, start_new_session=True)
        try:
            self.first = self.answer()
            self.seconds = [time.monotonic() - start]
            if "losses" in self.first:
                self.facts = self.answer()["facts"]
                self.seconds.append(time.monotonic() - start)
        except BaseException:
            self.stop()
            raise

    def ask(self, command):
        """Send one of COMMANDS and return the answer. Raises Failed if the process has ended."""
        with contextlib.suppress(BrokenPipeError):      # answer() reports the reason
            print(command, file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        status = self.process.wait()
        output = self.log.read_text().strip().splitlines() or ["no output"]
        raise Failed(f"{self.name} ended with status {status}: {output[-1]}")

    def iterate(self):
        """Time one iteration; return (seconds, cores used by other processes meanwhile)."""
        busy, own, start = machine.busy_seconds(), machine.group_seconds(self.process.pid), time.monotonic()
        answer = self.ask("iterate")
        own, busy = machine.group_seconds(self.process.pid) - own, machine.busy_seconds() - busy
        return answer["seconds"], max(0.0, busy - own) / (time.monotonic() - start)

    def stop(self):
        """End the process and, with it, the processes that it started."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


# ---------------------------------------------------------------------------------------------- measuring

def compare(options):
    """Measure all combinations and print the table; return the exit status, 1 if a contender failed."""
    names = contenders(options)
    chosen = train_step.combinations(options.only) if options.only else USUAL
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        task = common_task(options, Path(folder))
        best = Process(task | {"contender": "peaks"})
        best.stop()
        peaks = best.first["peaks"]
        rows = []
        for architecture, algorithm in chosen:
            pair = task | {"architecture": architecture, "algorithm": algorithm}
            rows += measure(pair, names, peaks, options)
    report = {
        "machine": {"cpu": provenance.cpu_model(), "cores": len(os.sched_getaffinity(0))}, "peaks": peaks,
        "backend": os.environ["KERAS_BACKEND"], "size": [task["height"], task["width"]],
        **{name: getattr(options, name) for name in ("batch_size", "ngf", "ndf", "precision", "rounds", "starts")},
        "load_before": load_before, "load_after": os.getloadavg()[0], "rows": rows,
    }
    print(table(report))
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    return int(any("failed" in row for row in rows))


def contenders(options):
    """Names of the contenders. Raises InputError if one of them cannot run."""
    names = ["ours"]
    if os.environ["KERAS_BACKEND"] == "tensorflow" and not options.no_tutorial:
        names.append("tutorial")
    if options.original:
        original.check_torch()
        original.check_folder(Path(options.original))
        names += ["original", "compiled"] if options.compiled else ["original"]
    elif options.compiled:
        raise InputError("--compiled compiles the networks of the original code: give --original DIR too")
    return names


def common_task(options, folder):
    """Create the data folders and return the part of a task that all contenders and combinations share, as a dict."""
    found = folders.find(options.data)
    with Image.open(next(iter(found.values()))[0]) as picture:
        width, height = picture.size
    link_images(found, folder, options.batch_size)
    return {name: getattr(options, name) for name in ("batch_size", "ngf", "ndf", "precision", "original")} | {
        "data": str(folder / "data"), "data_per_factor": str(folder / "data_per_factor"), "folder": str(folder),
        "height": height, "width": width, "compiled": False}


def link_images(found, folder, batch_size):
    """Link whole batches of each factor's images, in the two folder layouts that the original reads.

    If a factor has fewer images than a batch, each has several links.
    """
    fewest = min(map(len, found.values()))
    number = max(1, fewest // batch_size) * batch_size
    for factor, files in found.items():
        links = folder / "data" / factor
        links.mkdir(parents=True)
        for k, file in zip(range(number), itertools.cycle(files)):
            (links / f"{k:06d}{file.suffix}").symlink_to(file.resolve())
        (folder / "data_per_factor" / factor).mkdir(parents=True)
        (folder / "data_per_factor" / factor / factor).symlink_to(links)


def measure(task, names, peaks, options):
    """Measure one combination; return its rows as dicts."""
    where = f"{task['architecture']} {task['algorithm']}"
    running, rows = {}, {}
    try:
        for name in names:
            rows[name] = {"architecture": task["architecture"], "algorithm": task["algorithm"], "contender": name,
                          "starts": [], "seconds": [], "load": []}
            own = task | {"contender": name, "compiled": name == "compiled"}
            try:
                running[name] = start(own, options.starts, rows[name])
                report_progress(f"{where}: {name} started in {rows[name]['starts'][-1][0]:.1f} s")
            except Failed as failure:
                rows[name]["failed"] = str(failure)
                report_progress(f"{where}: {failure}")
        for turn in range(1 + options.rounds):
            for name in list(running):
                take_turn(running, rows[name], timed=turn > 0)
        for name, process in running.items():
            rows[name]["memory"] = process.ask("memory")
            if options.profile:
                rows[name]["profile"] = process.ask("profile")
    finally:
        for process in running.values():
            process.stop()
    for row in rows.values():
        complete(row, rows["ours"], peaks)
    report_progress(f"{where}: " + ", ".join(f"{name} {1000 * row['median']:.0f} ms"
                                             for name, row in rows.items() if "median" in row))
    return list(rows.values())


def start(task, starts, row):
    """Start the contender `starts` times, record the times in `row`, and return the Process of the last start."""
    for k in range(starts):
        process = Process(task)
        row["starts"].append(process.seconds)
        if k < starts - 1:
            process.stop()
    row["facts"] = process.facts
    return process


def take_turn(running, row, timed):
    """Let a contender run one iteration. If it fails, remove it from `running`."""
    name = row["contender"]
    try:
        seconds, load = running[name].iterate()
    except Failed as failure:
        row["failed"] = str(failure)
        running.pop(name).stop()
        return
    if timed:
        row["seconds"].append(seconds)
        row["load"].append(load)


def complete(row, ours, peaks):
    """Add the results derived from a row's times and ours. Raises InputError if it did not compute the same as ours."""
    if "failed" in row or "failed" in ours:
        return
    same, expected = row["facts"]["same"], ours["facts"]["same"]
    if same != expected:
        raise InputError(f"{row['contender']} does not compute the same as ours with {row['architecture']} and "
                         f"{row['algorithm']}: {same} against {expected}")
    median, rate = statistics.median(row["seconds"]), ours["facts"]["flop"] / statistics.median(row["seconds"])
    row.update(
        median=median, gflop_per_second=rate / 1e9,
        ratio=statistics.median(peer / own for peer, own in zip(row["seconds"], ours["seconds"], strict=True)),
        images_per_second=same["critic_updates"] * same["images_per_update"] / median,
        fractions={name: rate / peak for name, (peak, _) in peaks.items()})


def report_progress(text):
    print(text, file=sys.stderr, flush=True)


# ---------------------------------------------------------------------------------------------- the table

def table(report):
    """The printed table: all rows, one combination after another, and the circumstances of the measurement."""
    lines = [HEADER]
    for pair, rows in itertools.groupby(report["rows"], key=lambda row: (row["architecture"], row["algorithm"])):
        rows = list(rows)
        same, flop = (rows[0].get("facts", {}).get(name) for name in ("same", "flop"))
        lines.append(" ".join(pair) + (
            f": {flop / 1e9:.4g} GFLOP, {same['critic_updates']} critic update(s) of {same['images_per_update']} "
            f"images, {same['generator_parameters']:,} and {same['critic_parameters']:,} parameters" if same else ""))
        lines += [line(row) for row in rows]
    for row in report["rows"]:
        if "profile" in row:
            lines += ["", *profile_lines(row)]
    return "\n".join([*lines, "", *footer(report)])


def line(row):
    """The line of one contender."""
    if "median" not in row:
        return f"  {row.get('failed', row['contender'] + ' not compared, because ours failed')}"
    spread = f"{milliseconds(min(row['seconds']))} - {milliseconds(max(row['seconds']))}"
    first, image = (statistics.median(times) for times in zip(*row["starts"], strict=True))
    fractions = " ".join(f"{fraction:5.1%}" for fraction in row["fractions"].values())
    memory = " / ".join(f"{size / 2**20:.0f}" for size in row["memory"].values() if size is not None)
    return (f"  {row['contender']:9}{milliseconds(row['median']):>13}{spread:>15}{row['ratio']:>8.2f}x"
            f"{row['images_per_second']:>10.1f}{row['gflop_per_second']:>9.1f}{fractions:>13}"
            f"{memory:>11} MB{first:>13.1f} s{image:>9.1f} s"
            f"{statistics.median(row['load']):>6.1f}")


def milliseconds(seconds):
    """Milliseconds as text with at least three digits."""
    return f"{1000 * seconds:.0f}" if seconds >= 0.1 else f"{1000 * seconds:.1f}"


def profile_lines(row, number=10):
    """Yield the lines of the operations that take most of an iteration's time."""
    total = sum(row["profile"].values())
    yield f"{row['architecture']} {row['algorithm']}, {row['contender']}: {1000 * total:.1f} ms in one iteration"
    for name, seconds in list(row["profile"].items())[:number]:
        yield f"{1000 * seconds:>12.1f} ms {seconds / total:>6.1%}  {name[:90]}"


def footer(report):
    height, width = report["size"]
    facts = [row.get("facts", {}) for row in report["rows"]]
    versions = {name: version for each in facts for name, version in each.get("versions", {}).items()}
    device = next((each["device"] for each in facts if "device" in each), "no contender started")
    yield f"{report['machine']['cpu']}, {report['machine']['cores']} cores; {device}; Keras on {report['backend']}"
    yield ", ".join(f"{name} {version}" for name, version in versions.items()) + (
        f"; {height}x{width} pixels, batch {report['batch_size']}, ngf {report['ngf']}, ndf {report['ndf']}, "
        f"{report['precision']}")
    yield f"{report['rounds']} rounds after one to warm up, {report['starts']} start(s)"
    for kind, (rate, name) in report["peaks"].items():
        yield f"peak of a {kind}: {rate / 1e9:.4g} GFLOP/s, {name}"
    yield f"load average of 1 minute: {report['load_before']:.1f} before, {report['load_after']:.1f} after"


def parser():
    result = arguments.Parser(prog="compare.py", description=__doc__)
    result.add_argument("-d", "--data", default=str(DATA), metavar="DATAROOT",
                        help="folder of images, one folder of RGB files per factor; default: the sample data")
    result.add_argument("--original", metavar="DIR", help="folder «code» of the original, to include it")
    result.add_argument("--compiled", action="store_true", help="also include the original under torch.compile")
    result.add_argument("--no_tutorial", action="store_true", help="leave out the tutorial's loop")
    result.add_argument("--only", action="append", default=[], metavar="NAME",
                        help="combinations whose «architecture/algorithm» contains NAME; may be repeated; default: "
                             + ", ".join(map("/".join, USUAL)))
    result.add_argument("--rounds", type=arguments.positive_int, default=5, metavar="N",
                        help="timed iterations of each; default=5")
    result.add_argument("--starts", type=arguments.positive_int, default=2, metavar="N",
                        help="starts of each; default=2")
    train_step.add_networks(result)
    result.add_argument("--profile", action="store_true", help="also print the operations that take most time")
    result.add_argument("--json", metavar="FILE", help="also write all results, including single times, to this file")
    result.add_argument("--worker", metavar="JSON", help=argparse.SUPPRESS)
    return result


def main(arguments=None):
    options = parser().parse_args(arguments)
    if options.worker:
        return launch.run(work, json.loads(options.worker))
    return launch.run(compare, options)


if __name__ == "__main__":
    sys.exit(main())
