#!/usr/bin/env python3
"""Use a GPU that is lent for minutes: check the engine, time it, train a star at the paper's size, bring all back.

    python3 benchmarks/gpu.py --download            with a network: packages that the other machine lacks
    python3 benchmarks/gpu.py --minutes 9.5         on the GPU machine, which needs no network
    python3 benchmarks/gpu.py --minutes 4 --quick   a rehearsal with tiny networks, on any machine

Python must have JAX (or, with KERAS_BACKEND=tensorflow, TensorFlow); Keras and other small packages come from
build/gpu_packages, where --download puts them. A machine's copy of this repository may be without .git.

Stages, each with a log of its own; the simulator makes the full data set meanwhile:

    check   losses.py on the GPU beside the CPU, then tests of the engine: a tenth of the time each, at most
    times   compare.py, the most wanted rows first, until half of the time is over; with --original beside the
            paper's PyTorch code, eager and compiled
    train   the star with the recipe below, for the rest; its learning rates reach 0 at the end, which a short
            training beforehand estimates
    bring   cells of the generator, then everything into --output: logs, tables and pictures in one archive, and the
            generator in parts of at most 15 MB (cat generator.part* > weights.generator.….h5)

After SIGTERM or SIGINT a training saves its checkpoint, and what there is is brought.
"""

import argparse
import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ROOT / "build" / "gpu_packages"
# Of requirements.lock, what a Python with JAX, PyTorch and the usual scientific libraries lacks.
LACKING = ("keras", "namex", "optree", "rich", "markdown-it-py", "mdurl", "pygments", "pooch", "platformdirs")
RECIPE = ("-m DCGAN-starshaped -a WGAN-GP --init he --num_D_iters 1 --lrD 1e-3 --lrG 5e-4 --variety 1 "
          "--lr_schedule cosine --average_window 0.05 --precision tf32")
QUICK = "--ngf 4 --ndf 4 -b 8"
STAR = "DCGAN-starshaped.WGAN-GP.6"
CHECK, TIMES = 0.1, 0.5         # ends of stages, as parts of all the time
BRING, SAVING = 45, 20          # seconds
ESTIMATED = 60                  # iterations of the training that estimates the pace, the first of which compiles
PART = 15 * 2**20               # bytes
# (precision, batch size, filters, combinations), in the order of interest.
ROWS = [("tf32", 64, 64, "starshaped/WGAN-GP"), ("float32", 64, 64, "starshaped/WGAN-GP"),
        ("bfloat16", 64, 64, "starshaped/WGAN-GP"), ("tf32", 8, 16, "starshaped/WGAN-GP"),
        *((precision, 64, 64, "DCGAN") for precision in ("tf32", "bfloat16", "float32")),
        *(("tf32", batch, 64, "starshaped/WGAN-GP") for batch in (256, 1024))]
TESTS = "average or schedule or flips or its_own_green or precision or bfloat16"


class Stopped(Exception):
    """A signal asked for the end."""


class Machine:
    """Where the stages run, and until when.

    folder      of logs and results
    deadline    by time.monotonic(): when everything must have been brought
    """

    def __init__(self, folder, minutes):
        self.folder = folder
        self.start = time.monotonic()
        self.deadline = self.start + 60 * minutes
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, (folder / "packages", ROOT / "src"))), "PYTHONUNBUFFERED": "1",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.environment.setdefault("KERAS_BACKEND", "jax")

    def until(self, share):
        """The time at which this share of all minutes is over."""
        return self.start + share * (self.deadline - self.start)

    def begin(self, words, output):
        """Start Python with these words in the folder; returns the process, whose output goes to the file `output`."""
        return subprocess.Popen([sys.executable, *map(str, words)], cwd=self.folder, stdout=output,
                                stderr=subprocess.STDOUT, env=self.environment, start_new_session=True)

    def run(self, name, words, end):
        """Run Python with these words until it ends or, by SIGINT, until the time `end`; return its exit status.

        Its output goes to the log `name`. None: there was no time for it. Raises Stopped after a signal, when the
        process has ended.
        """
        began = time.monotonic()
        if began >= end:
            return None
        with open(self.folder / f"{name}.log", "a") as log:
            print("$", *words, file=log, flush=True)
            process = self.begin(words, log)
            try:
                status = process.wait(end - began)
            except subprocess.TimeoutExpired:
                status = "out of time"
            finally:
                end_group(process)
        print(f"{time.monotonic() - self.start:6.0f} s  {name}: {status}, {time.monotonic() - began:.0f} s: "
              f"{last_line(self.folder / f'{name}.log')}", flush=True)
        return status


def end_group(process):
    """End a process and those that it started: by SIGINT, and by SIGKILL if they take longer than SAVING seconds."""
    for number, patience in ((signal.SIGINT, SAVING), (signal.SIGKILL, None)):
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def last_line(path):
    lines = path.read_text(errors="replace").replace("\r", "\n").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


# ---------------------------------------------------------------------------------------------- packages

def download():
    """Put wheels of LACKING, in the versions of requirements.lock, into PACKAGES."""
    locked = dict(line.split()[0].split("==") for line in (ROOT / "requirements.lock").read_text().splitlines()
                  if "==" in line and not line.startswith((" ", "#")))
    PACKAGES.mkdir(parents=True, exist_ok=True)
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (28, 27, 26, 24, 17)]
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                    "--python-version=3.12", "--implementation=cp", *platforms, "--platform=manylinux2014_x86_64",
                    f"--dest={PACKAGES}", *(f"{name}=={locked[name]}" for name in LACKING)], check=True)


def install(machine):
    """Unpack the wheels into a folder of the results."""
    wheels = sorted(PACKAGES.glob("*.whl"))
    if wheels:
        machine.run("install", ["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile",
                                "--target", machine.folder / "packages", *wheels], machine.deadline)


# ---------------------------------------------------------------------------------------------- stages

def check(machine):
    """Compare the device's losses with the CPU's, and run tests of the engine on it."""
    machine.run("losses", [ROOT / "benchmarks" / "losses.py"], machine.until(CHECK))
    machine.run("tests", ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}",
                          ROOT / "tests" / "core" / "test_engine.py", "-k", TESTS], machine.until(2 * CHECK))


def times(machine, options):
    """Time rows of the table until the time of this stage is over."""
    contenders = ["--original", options.original, "--compiled"] if options.original else []
    for precision, batch, filters, only in ROWS[:1] if options.quick else ROWS:
        sizes = QUICK if options.quick else f"--ngf {filters} --ndf {filters} -b {batch}"
        name = f"{precision}.batch{batch}.filters{filters}.{only.replace('/', '.')}"
        machine.run(f"times.{name}", [ROOT / "benchmarks" / "compare.py", "--rounds", 5, "--starts", 1, "--no_tutorial",
                                      "--profile", "--only", only, "--precision", precision,
                                      "--json", machine.folder / f"times.{name}.json", *contenders, *sizes.split()],
                    machine.until(TIMES))


def train(machine, options):
    """Train the star until shortly before the deadline."""
    words = ["-m", "biogans", "train", "-d", machine.folder / "data", *RECIPE.split()]
    words += QUICK.split() if options.quick else []
    end = machine.deadline - BRING - SAVING
    short = machine.folder / "pace"
    if machine.run("pace", [*words, "-e", ESTIMATED, "-M", ESTIMATED, "-c", short], end) == 0:
        iterations = max(1, int(0.97 * (end - time.monotonic()) / pace(short / f"log.{STAR}.csv")))
        words += ["-e", iterations, "-M", max(1, iterations // 10)]
    else:                       # without an estimate, the rates cannot fall in time
        words += ["-e", 10**6, "--lr_schedule", "constant"]
    machine.run("train", words, end)


def pace(log):
    """Seconds of an iteration, from the second half of a training's log."""
    with open(log) as file:
        rows = [(int(row["iteration"]), float(row["seconds"])) for row in csv.DictReader(file)]
    (first, start), (last, end) = rows[len(rows) // 2], rows[-1]
    return (end - start) / (last - first)


def bring(machine, output):
    """Draw cells, and put archive and generator into the folder `output`."""
    generator = machine.folder / "checkpoints" / f"weights.generator.{STAR}.h5"
    if generator.exists():
        machine.run("predict", ["-m", "biogans", "predict", "-i", generator, "-s", 1, "-n", 12],
                    machine.deadline)
        content = generator.read_bytes()
        for k in range(0, len(content), PART):
            (output / f"generator.part{k // PART}").write_bytes(content[k:k + PART])
    with tarfile.open(output / "results.tar.gz", "w:gz") as archive:
        for pattern in ("*.log", "*.json", "checkpoints/log.*", "images/[!.]*.png", "images/[!.]*.h5"):
            for path in sorted(machine.folder.glob(pattern)):
                archive.add(path, path.relative_to(machine.folder))


def all_stages(options):
    """Run every stage in the folder --work, and leave the results in --output."""
    shutil.rmtree(options.work, ignore_errors=True)
    for folder in (options.work, options.output):
        folder.mkdir(parents=True, exist_ok=True)
    machine = Machine(options.work.resolve(), options.minutes)
    handle_signals(stop)
    try:
        install(machine)
        size = ["--train", "240", "--test", "120"] if options.quick else ["--full", "--joint", "400"]
        simulator = machine.begin(["-m", "biogans", "simulate", "-o", "data", *size], subprocess.DEVNULL)
        try:
            check(machine)
            times(machine, options)
            simulator.wait()
            train(machine, options)
        finally:
            end_group(simulator)
    except Stopped as reason:
        print(f"{reason}: bringing what there is", flush=True)
    handle_signals(signal.SIG_IGN)
    bring(machine, options.output)


def handle_signals(handler):
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def stop(number, frame):
    handle_signals(signal.SIG_IGN)          # a second one must not lose what there is
    raise Stopped(signal.Signals(number).name)


def parser():
    result = argparse.ArgumentParser(prog="gpu.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--minutes", type=float, default=9.5, metavar="MIN", help="for everything; default=9.5")
    result.add_argument("--original", metavar="DIR", help="also time the paper's code, the folder «code» of its "
                                                          "checkout; needs torch and torchvision")
    result.add_argument("--output", type=Path, default=Path(os.environ.get("OUT", "gpu_results")), metavar="FOLDER",
                        help="results; default: $OUT, or gpu_results")
    result.add_argument("--work", type=Path, default=Path("build/gpu"), metavar="FOLDER",
                        help="everything else, replaced at each start; default=build/gpu")
    result.add_argument("--quick", action="store_true", help="tiny networks, one row of times")
    result.add_argument("--download", action="store_true", help="only download packages")
    return result


if __name__ == "__main__":
    chosen = parser().parse_args()
    download() if chosen.download else all_stages(chosen)
