"""Kills, damaged and hostile files, full disks, signals and two jobs: the losses, in numbers.

    python tests/durability/durability.py            all parts, in a table: 40 minutes on 2 cores
    python tests/durability/durability.py kills      one part

Each part is a function of (folder, size, lanes) that returns [Figure]; test_durability.py calls them with small
sizes. Networks are tiny, because the results do not depend on their size.
"""

import concurrent.futures
import csv
import itertools
import json
import mmap
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "support")]
from biogans.core import predict, train, visualize  # noqa: E402
from biogans.core.trained import earlier_checkpoints, read_weights  # noqa: E402
from biogans.system.errors import InputError  # noqa: E402
from biogans.system.progress import COLUMNS  # noqa: E402
from conftest import ROOT, SMALL, write_images  # noqa: E402
from measured import run_measured  # noqa: E402
from mutations import (  # noqa: E402
    HOSTILE,
    base_images,
    damaged,
    damaged_hdf5,
    hostile_stack,
    hostile_stacks,
    hostile_weights,
    image_bombs,
    is_refusal,
    plain_image,
    quiet,
    supervised,
)
from networks import PAIRS, spec  # noqa: E402

TRAIN = ROOT / "bin" / "train.py"
SAVE_EVERY = 10         # iterations


class Figure(NamedTuple):
    """A line of the table: its title, its number and, unless empty, a condition for the number, such as "== 0"."""

    title: str
    number: object
    required: str = ""

    @property
    def holds(self):
        return not self.required or bool(eval(f"{self.number!r} {self.required}"))


# A train.py whose file operations are slow. It reports its position in a file of two bytes: whether it is in a save,
# and how many file operations of that save it has begun or finished.
SLOWED = """
import mmap, os, runpy, sys, time
report = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 2)
seconds, devices, sys.argv = float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
def slow(function):
    def slower(*arguments, **settings):
        report[1] = min(255, report[1] + 1)
        time.sleep(seconds)
        result = function(*arguments, **settings)
        report[1] = min(255, report[1] + 1)
        time.sleep(seconds)
        return result
    return slower
if seconds:
    for name in ("fsync", "replace", "link", "unlink"):
        setattr(os, name, slow(getattr(os, name)))
from biogans.core import checkpoint
save = checkpoint.save
def reporting(*arguments):
    report[:2] = bytes((1, 0))
    save(*arguments)
    report[:2] = bytes((0, 0))
checkpoint.save = reporting
if devices > 1:
    import tensorflow as tf
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0],
                                               [tf.config.LogicalDeviceConfiguration()] * devices)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Run:
    """A process of train.py in `folder`; `saving` is its current or last position in a save, None outside of saves."""

    def __init__(self, folder, *arguments, slow=0.0, devices=1, number=0):
        (folder / "report").write_bytes(b"\0\0")
        with open(folder / "report", "rb+") as file:
            self.report = mmap.mmap(file.fileno(), 2)
        self.out, self.err = folder / f"out{number}.txt", folder / f"err{number}.txt"
        command = [sys.executable, "-c", SLOWED, folder / "report", slow, devices, TRAIN, *SMALL, "-d", "data",
                   *arguments]
        with open(self.out, "w") as out, open(self.err, "w") as err:
            self.process = subprocess.Popen([*map(str, command)], cwd=folder, stdout=out, stderr=err,
                                            stdin=subprocess.DEVNULL, env=os.environ | {"TF_NUM_INTRAOP_THREADS": "1"})

    @property
    def saving(self):
        return self.report[1] if self.report[0] else None

    def wait_for(self, condition, seconds=120):
        """Wait for `condition()`; returns whether it came true while the process ran."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            if condition():
                return True
            time.sleep(0.0005)
        return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def finish(self, seconds=300):
        """(exit status, standard output, standard error)."""
        status = self.process.wait(seconds)
        return status, self.out.read_text(), self.err.read_text()


def prepared(folder):
    """A new folder with images, like a user's."""
    folder.mkdir(parents=True)
    write_images(folder / "data" / "LIN_train")
    return folder


def combined(folder, run):
    return folder / "checkpoints" / f"weights.combined_model.{run}.h5"


def run_name(architecture, algorithm):
    return f"{architecture}.{algorithm}.{spec(architecture).greens}"


def logged(folder, run):
    """The complete rows of the log, each (iteration, loss of the critic, loss of the generator) as text."""
    try:
        with open(folder / "checkpoints" / f"log.{run}.csv", newline="") as file:
            return [tuple(row[:3]) for row in list(csv.reader(file))[1:] if len(row) == len(COLUMNS)]
    except FileNotFoundError:
        return []


def leftovers(folder):
    """Names of hidden files: partial files and locks."""
    return {path.name for part in ("checkpoints", "images") for path in (folder / part).glob(".*")}


def same_arrays(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


# ---------------------------------------------------------------------------------------------- kills

CHAINS = (("DCGAN", "WGAN-GP"), ("DCGAN-separable", "GAN"), ("DCGAN-starshaped", "WGAN-GP"),
          ("DCGAN-starshaped", "GAN"))


def kills(folder, size=100, lanes=2):
    """SIGKILL at random moments; each process resumes where the previous one was killed, and the last one finishes."""
    shares = [size // len(CHAINS) + (k < size % len(CHAINS)) for k in range(len(CHAINS))]
    with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
        counts = list(pool.map(_chain, [folder / f"chain{k}" for k in range(len(CHAINS))], CHAINS, shares, range(4)))
    total = {name: sum(count[name] for count in counts) for name in counts[0] if name != "places"}
    places = set().union(*(count["places"] for count in counts))
    return [
        Figure("training processes killed with SIGKILL", total["kills"], f"== {size}"),
        Figure("  of these inside a save", total["inside"], f">= {3 * size // 10}"),
        Figure("  different places in a save (between two file operations)", len(places), ">= 1"),
        Figure("  of these before the first iteration", total["early"]),
        Figure("newest checkpoint missing or invalid", total["bad"], "== 0"),
        Figure("partly written files of networks", total["half"], "== 0"),
        Figure("more than one save interval lost", total["lost"], "== 0"),
        Figure("leftovers that the next start did not remove", total["left"], "== 0"),
        Figure("failed starts after a kill", total["failed"], "== 0"),
        Figure("runs whose weights differ from those of an uninterrupted run", total["different"], "== 0"),
        Figure("runs that end with files of different checkpoints", total["uneven"], "== 0")]


def _chain(folder, pair, number_of_kills, seed):
    """{name: number of kills or of a kind of failure, "places": positions in saves} of one run, killed repeatedly."""
    rng, run, prepared_folder = random.Random(seed), run_name(*pair), prepared(folder)
    options = ("-m", pair[0], "-a", pair[1], "-M", 15, "--keep_every", SAVE_EVERY)
    count = dict.fromkeys(("kills", "inside", "early", "bad", "half", "lost", "left", "failed", "different",
                           "uneven"), 0)
    count["places"] = set()
    newest, waiting = 0, set()          # the saved iteration, and leftovers that the next start must remove
    if not number_of_kills:
        return count
    for number in range(number_of_kills):
        process = Run(prepared_folder, *options, "-e", 10**6, *(["-w"] if newest else []), slow=0.004, number=number)
        started = _wait_at_random(process, rng)
        if process.process.poll() is not None:
            count["failed"] += 1
        process.kill()
        place = process.saving
        count["kills"] += 1
        count["inside"] += place is not None
        count["places"] |= {place} - {None}
        rows = logged(folder, run)
        count["early"] += not started and not (rows and int(rows[-1][0]) > newest)
        if started:
            count["left"] += len(waiting & leftovers(folder))
        waiting = {name for name in leftovers(folder) if "partial" in name}
        iteration = _verified(folder, run, count)
        if iteration is None:
            count["bad"] += newest > 0 or len(rows) > SAVE_EVERY
        else:
            count["lost"] += iteration < newest or bool(rows) and int(rows[-1][0]) - iteration > SAVE_EVERY
            newest = iteration
    status, _, err = Run(folder, *options, "-e", newest + 5, *(["-w"] if newest else []), number="last").finish()
    count["failed"] += status != 0 or err != ""
    count["left"] += len(leftovers(folder))
    arrays, metadata = read_weights(combined(folder, run))
    count["uneven"] += any(read_weights(path)[1].iteration != metadata.iteration for path in
                           (folder / "checkpoints").glob("[!.]*.h5") if "combined_model" not in path.name)
    whole = prepared(folder / "whole")
    Run(whole, *options, "-e", newest + 5).finish(1200)
    count["different"] += (not same_arrays(arrays, read_weights(combined(whole, run))[0])
                           or logged(folder, run) != logged(whole, run))
    return count


def _wait_at_random(process, rng):
    """Wait until a random moment of a save, between saves, or of the start; returns whether a save has begun."""
    inside, started = rng.random() < 0.6, False
    if inside or rng.random() < 0.7:
        for _ in range(rng.randint(1, 4)):
            started = process.wait_for(lambda: process.saving is not None)
            place = rng.randint(0, 25)
            process.wait_for(lambda place=place: process.saving is None or process.saving >= place, 5)
        if not inside:
            time.sleep(rng.uniform(0, 0.5))
    else:
        time.sleep(rng.uniform(0, 8))
    return started


def _verified(folder, run, count):
    """The iteration of the newest checkpoint, None without one; counts invalid files."""
    for path in (folder / "checkpoints").glob("[!.]*.h5"):
        try:
            read_weights(path)
        except InputError:
            count["half"] += 1
    try:
        return read_weights(combined(folder, run))[1].iteration
    except InputError:
        return None


# ---------------------------------------------------------------------------------------------- exact resume

def resumes(folder, size=None, lanes=2):
    """Every architecture and algorithm, on one and on two devices: killed in mid-epoch and resumed."""
    cases = [(pair, devices) for devices in (1, 2) for pair in PAIRS]
    size = size or len(cases)
    cases = cases[::max(1, len(cases) // size)][:size]
    with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
        results = list(pool.map(lambda case: _resumed(folder / "{}.{}.{}".format(*case[0], case[1]), *case), cases))
    return [Figure("runs killed and resumed (architecture, algorithm, devices)", len(results), f"== {size}"),
            Figure("iterations compared after resuming, minimum", min(result[0] for result in results), ">= 20"),
            Figure("losses that differ", sum(result[1] for result in results), "== 0"),
            Figure("runs whose weights, averages or optimizers differ", sum(result[2] for result in results), "== 0"),
            Figure("sample grids that differ", sum(result[3] for result in results), "== 0")]


def _resumed(folder, pair, devices):
    """(iterations compared, losses, weights and grids that differ) of a killed run and an uninterrupted one."""
    run, rng = run_name(*pair), random.Random(str((pair, devices)))
    options = ("-m", pair[0], "-a", pair[1], "-M", 10, "-g", devices, "--keep_every", 7,
               *(("-z", 16) if pair[0] == "InfoGAN" else ()))      # its codes occupy 12
    whole, broken = prepared(folder / "whole"), prepared(folder / "broken")
    Run(whole, *options, "-e", 60, devices=devices).finish()
    process = Run(broken, *options, "-e", 60, devices=devices, slow=0.002)
    wanted = rng.randint(15, 34)
    process.wait_for(lambda: len(logged(broken, run)) >= wanted)
    process.kill()
    done = read_weights(combined(broken, run))[1].iteration
    status, out, err = Run(broken, *options, "-e", 60, "-w", devices=devices, number=1).finish()
    assert status == 0 and f"iteration {done}\n" in out, (pair, devices, out, err)
    rows = list(zip(logged(whole, run), logged(broken, run), strict=True))
    arrays = [read_weights(combined(one, run))[0] for one in (whole, broken)]
    grids = [{path.name: path.read_bytes() for path in (one / "images").glob("fake_samples*")}
             for one in (whole, broken)]
    return (len(rows) - done, sum(one != other for one, other in rows), not same_arrays(*arrays),
            sum(grids[0][name] != grids[1].get(name) for name in grids[0]) + (len(grids[0]) != 6))


# ---------------------------------------------------------------------------------------------- damaged files

RUN = "DCGAN.WGAN-GP.1"
MODEL = ("-m", "DCGAN", *SMALL)


def trained(folder):
    """A folder with a small network, two checkpoints in `checkpoints` and `intact`, and a stack."""
    prepared(folder)
    before = os.getcwd()
    os.chdir(folder)
    try:
        for more in (["-e", 2], ["-e", 4, "-w"]):
            assert quiet(train.main, [*MODEL, "-d", "data", *more])[0] == 0
        assert quiet(predict.main, ["-i", combined(Path("."), RUN), "-s", 1])[0] == 0
    finally:
        os.chdir(before)
    shutil.copytree(folder / "checkpoints", folder / "intact")
    shutil.move(folder / "images" / "stack2.DCGAN.WGAN-GP.h5", folder / "stack.h5")
    return folder


def damaged_hdf5_files(folder, size=1000, lanes=2):
    """Damaged weights for predict.py, checkpoints for train.py -w, and stacks for visualize.py."""
    shares = size // 2, size // 4, size - size // 2 - size // 4
    checks = _damaged_weights, _damaged_checkpoints, _damaged_stacks
    counts = _in_lanes(folder, lanes, list(zip(checks, shares)))
    return [Figure("damaged HDF5 files ({} to predict.py, {} to train.py -w, {} to visualize.py)".format(*shares),
                   sum(map(len, counts)), f"== {size}"),
            *_outcomes(counts, "silently wrong weights", "  replaced by the earlier checkpoint"),
            Figure("  damaged checkpoints from which train.py -w did not resume correctly",
                   sum(result == "refused" for result in counts[1]), "== 0")]


def damaged_images(folder, size=1000, lanes=2):
    """Damaged PNG and TIFF files among the images of train.py, and for visualize.py."""
    counts = _in_lanes(folder, lanes, [(_damaged_training_images, size // 2), (_damaged_pictures, size - size // 2)])
    return [Figure("damaged PNG and TIFF files (half for train.py, half for visualize.py)", sum(map(len, counts)),
                   f"== {size}"),
            *_outcomes(counts)]


def _outcomes(counts, wrong=None, fallback=None):
    results = list(itertools.chain(*counts))
    known = {"refused": "  refused in one line", "read": "  read, as nothing relevant had changed",
             "fallback": fallback, "wrong": wrong, "crash": "crashes", "hang": "hangs over 5 s"}
    figures = [Figure(words, results.count(name), "== 0" if name in ("wrong", "crash", "hang") else "")
               for name, words in known.items() if words]
    other = [result for result in results if result not in known]
    for result in sorted(set(other))[:10]:
        print("!!", result)
    return [*figures, Figure("tracebacks and other unexpected ends", len(other), "== 0")]


def _in_lanes(folder, lanes, parts):
    """The results of each part (check, number of cases), each split over `lanes` worker processes."""
    results = []
    with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
        source = trained(folder / "trained")
        for check, size in parts:
            folders = [folder / f"{check.__name__}{lane}" for lane in range(lanes)]
            for one in folders:
                shutil.copytree(source, one)
            shares = [range(lane, size, lanes) for lane in range(lanes)]
            results.append(list(itertools.chain(*pool.map(supervised, [check] * lanes, shares, folders))))
    return results


def _end(status, err):
    return "refused" if is_refusal(status, err) else f"{status} {err.strip()[-300:]}"


def _damaged_weights(number):
    """Whether predict.py refuses a damaged file, or generates the same cells."""
    import h5py
    name = ("weights.generator.{}.h5", "model.generator.{}.h5", "weights.combined_model.{}.h5")[number % 3].format(RUN)
    damaged_hdf5(Path("intact", name), Path(name), number)
    status, _, err = quiet(predict.main, ["-i", name, "-s", 1, "-c", "nowhere"])
    if status != 0:
        return _end(status, err)
    with h5py.File("images/stack2.DCGAN.WGAN-GP.h5") as generated, h5py.File("stack.h5") as expected:
        return "read" if np.array_equal(generated["stack"][()], expected["stack"][()]) else "wrong"


def _damaged_checkpoints(number):
    """Whether train.py -w resumes from a damaged file correctly, or from the intact checkpoint of iteration 2."""
    shutil.rmtree("checkpoints")
    shutil.copytree("intact", "checkpoints")
    path = combined(Path("."), RUN)
    damaged_hdf5(Path("intact", path.name), path, number)
    status, out, err = quiet(train.main, [*MODEL, "-d", "data", "-e", 2, "-w"])
    if status != 0 or err:
        return _end(status, err)
    fallback = "resuming from the one before it" in out
    expected = Path("intact", f"weights.combined_model.{RUN}.previous-2.h5" if fallback else path.name)
    right = all(same_arrays(read_weights(one)[0], read_weights(other)[0]) for one, other in [
        (path, expected), *([] if fallback else [(path.with_name(f"weights.generator.{RUN}.h5"),
                                                  Path("intact", f"weights.generator.{RUN}.h5"))])])
    return ("fallback" if fallback else "read") if right else "wrong"


def _damaged_stacks(number):
    damaged_hdf5(Path("stack.h5"), Path("mutant.h5"), number)
    return _shown("mutant.h5")


def _shown(name):
    status, _, err = quiet(visualize.main, ["-i", name, "-o", "shown.png"])
    return "read" if status == 0 and not err else _end(status, err)


def _mutant_image(number, folder):
    if not Path("bases").exists():
        base_images(Path("bases"))
    bases = sorted(Path("bases").iterdir())
    base = bases[number % len(bases)]
    folder.mkdir(parents=True, exist_ok=True)
    mutant = folder / f"mutant{base.suffix}"
    mutant.write_bytes(damaged(base.read_bytes(), number))
    return base, mutant


def _damaged_training_images(number):
    """Train on one damaged and one intact image; no batch is small enough, so train.py ends after reading them."""
    shutil.rmtree("cells", ignore_errors=True)
    base, mutant = _mutant_image(number, Path("cells"))
    shutil.copy(base, Path("cells", f"whole{base.suffix}"))
    skip = ["--skip_bad_images"] if number % 2 else []
    status, out, err = quiet(train.main, ["-d", "cells", "-m", "DCGAN", "-b", 10**6, *skip])
    if is_refusal(status, err) and "too few for a batch" in err:
        return "read"
    return "refused" if is_refusal(status, err) else _end(status, err)


def _damaged_pictures(number):
    return _shown(str(_mutant_image(number, Path("pictures"))[1]))


# ---------------------------------------------------------------------------------------------- hostile files

def hostile_files(folder, size=None, lanes=2):
    """Each hostile file in a separate process, whose memory is compared with that for an ordinary file.

    A picture that really has 64 million pixels is compared with another of this size.
    """
    here = trained(folder / "hostile")
    weights = combined(here, RUN).with_name(f"weights.generator.{RUN}.h5")
    (here / "checks").mkdir()
    (here / "bad").mkdir()
    plans = {"predict.py": [], "visualize.py": [], "train.py": [], "train.py -w": []}
    for plant in HOSTILE[:size]:
        for command, build, source in (("predict.py", hostile_weights, weights),
                                       ("train.py -w", hostile_weights, combined(here, RUN)),
                                       ("visualize.py", hostile_stack, here / "stack.h5")):
            path = here / "bad" / f"{command.split()[0]}{len(command)}.{plant.__name__}.h5"
            build(source, path, plant)
            plans[command].append(path)
    plans["visualize.py"] += [*hostile_stacks(here / "stacks")[:size], *image_bombs(here / "bombs")[:size]]
    plans["train.py"] += sorted((here / "bombs").iterdir())[:size]
    normal = {"predict.py": weights, "visualize.py": here / "stack.h5", "train.py": None,
              "train.py -w": here / "intact" / combined(here, RUN).name}
    large = plain_image(here / "large.tif")             # as many pixels as deflated.tif has
    plans["visualize.py"].append(large)
    jobs = [(command, path) for command, paths in plans.items() for path in [normal[command], *paths]]
    with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
        ends = dict(zip(jobs, pool.map(lambda job: _measured(folder / f"job{jobs.index(job)}", here, *job), jobs)))
    ordinary = {job: ("visualize.py", large) if job[1] and job[1].name == "deflated.tif" and job[0] == "visualize.py"
                else (job[0], normal[job[0]]) for job in jobs}
    hostile = [(*job, *ends[job], ends[job][1] / ends[ordinary[job]][1]) for job in jobs
               if job not in ordinary.values()]
    for command, path, what, kilobytes, seconds, _, times in hostile:
        if what not in ("read", "refused") or times > 2 or seconds > 60:
            print("!!", command, path.name, what, kilobytes, f"{times:.2f} {seconds:.1f}")
    return [Figure("hostile files read", len(hostile), ">= 1"),
            Figure("code executed", sum(end[-2] for end in hostile), "== 0"),
            Figure("memory above twice that for an ordinary file", sum(end[-1] > 2 for end in hostile), "== 0"),
            Figure("tracebacks, crashes, hangs", sum(end[2] not in ("read", "refused") for end in hostile), "== 0"),
            Figure("peak memory, as a multiple of that for an ordinary file",
                   round(max(end[-1] for end in hostile), 2), "<= 2"),
            Figure("memory for a picture of 64 million pixels, MB", ends["visualize.py", large][1] // 1000)]


def _measured(folder, source, command, path):
    """(outcome, peak memory in KB, seconds, whether code in the file ran) of a command that reads `path`."""
    shutil.copytree(source / "data", folder / "data")
    if command == "train.py -w":
        shutil.copytree(source / "intact", folder / "checkpoints")
        shutil.copy(path, combined(folder, RUN))
        arguments = ["train.py", *MODEL, "-d", "data", "-e", 2, "-w"]
    elif command == "train.py":
        if path:
            shutil.copy(path, folder / "data" / "LIN_train" / "Alp14" / f"a{path.name}")
        arguments = ["train.py", *MODEL, "-d", "data", "-e", 1]
    else:
        arguments = [command, "-i", path, *(["-o", "x.png"] if command == "visualize.py" else [])]
    start = time.monotonic()
    with open(folder / "err.txt", "w") as err:
        status, kilobytes = run_measured([sys.executable, ROOT / "bin" / arguments[0], *arguments[1:]], cwd=folder,
                                         stderr=err)
    text = (folder / "err.txt").read_text()
    what = "read" if status == 0 else _end(status, text)
    return what, kilobytes, time.monotonic() - start, (folder / "executed").exists()


# ---------------------------------------------------------------------------------------------- two jobs

def two_jobs(folder, size=1, lanes=2):
    """A second job in the folder of a running job, then in that of a killed one."""
    here, options, environment = prepared(folder / "jobs"), ("-m", "DCGAN", "-e", 10**6), os.environ.get("SLURM_JOB_ID")
    os.environ["SLURM_JOB_ID"] = "4711"
    refused = named = wrong = stale = 0
    try:
        for k in range(size):
            first = Run(here, *options, *(["-w"] if k else []), "--keep_every", 5)
            first.wait_for(lambda: combined(here, RUN).exists() and leftovers(here))
            before = read_weights(combined(here, RUN))[1].iteration
            for extra in ((), ("-w",)):
                second = Run(here, *options, *extra, number=1)
                status, _, err = second.finish()
                refused += is_refusal(status, err)
                named += all(words in err for words in (
                    os.uname().nodename, f"process {first.process.pid}", "job 4711"))
            wrong += first.process.poll() is not None or read_weights(combined(here, RUN))[1].iteration < before
            other = Run(here, "-m", "DCGAN-separable", "-e", 2, number=2)
            wrong += other.finish()[0] != 0
            first.kill()
            third = Run(here, *options[:2], "-e", 1, "-w", number=3)
            stale += third.finish()[0] != 0
    finally:
        os.environ.pop("SLURM_JOB_ID")
        if environment:
            os.environ["SLURM_JOB_ID"] = environment
    return [Figure("second jobs in a folder that is in use", 2 * size),
            Figure("  refused in one line", refused, f"== {2 * size}"),
            Figure("  with host, process and job of the holder", named, f"== {2 * size}"),
            Figure("first jobs, or jobs of another name, that were disturbed", wrong, "== 0"),
            Figure("locks that outlived a SIGKILL", stale, "== 0")]


# ---------------------------------------------------------------------------------------------- a full disk

def full_disk(folder, size=24, lanes=2):
    """Training on small disks (tmpfs) with too little room, then with room again."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", sys.executable, __file__, "--full-disk",
                           folder, str(size)], capture_output=True, text=True, timeout=1200)
    if "--full-disk" not in done.stdout:
        return [Figure("full disks: not tested, as no file system can be mounted here", 0)]
    count = json.loads(done.stdout.split("--full-disk")[1])
    for line in count.pop("odd"):
        print("!!", line)
    return [Figure("trainings on a disk that became full", count["full"], f">= {size // 3}"),
            Figure("trainings with enough room after all", count["enough"]),
            Figure("ends other than status 2 and one line with the bytes", count["otherwise"], "== 0"),
            Figure("checkpoints lost or damaged", count["lost"], "== 0"),
            Figure("partial files left behind", count["left"], "== 0"),
            Figure("trainings that did not resume when there was room", count["stuck"], "== 0")]


def _fill_disks(folder, size):
    """In a separate mount namespace: fill a disk for the checkpoints and one for the pictures, alternately."""
    count = dict.fromkeys(("full", "enough", "otherwise", "lost", "left", "stuck"), 0) | {"odd": []}
    prepared(folder / "here")
    os.chdir(folder / "here")
    for part, size_of_disk in (("checkpoints", "3m"), ("images", "12m")):       # pictures of all trainings stay
        os.mkdir(part)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_of_disk}", "tmpfs", part], check=True)
    options = [*MODEL, "-d", "data", "-M", 2, "--keep_every", 1, "--keep", 1]
    assert quiet(train.main, [*options, "-e", 2])[0] == 0
    done, path = 2, combined(Path("."), RUN)
    for k in range(size):
        part = Path(("checkpoints", "checkpoints", "images")[k % 3])
        room = os.statvfs(part)
        left = int(k / size * 600_000) if part.name == "checkpoints" else int(k / size * 30_000)
        filler = part / "filler"
        with open(filler, "wb") as file:
            file.write(bytes(max(0, room.f_bavail * room.f_frsize - left)))
        before = read_weights(path)[1].iteration
        status, _, err = quiet(train.main, [*options, "-e", done + 3, "-w"])
        count["full"] += status == 2
        count["enough"] += status == 0
        # TensorBoard's writer does not report how much it needs.
        if status != 0 and not (is_refusal(status, err) and re.search(r"\d bytes|tensorboard", err)):
            count["otherwise"] += 1
            count["odd"].append(f"{left} {part}: {status} {err[-400:]}")
        try:
            after = read_weights(path)[1].iteration
        except InputError as problem:
            after = -1
            count["odd"].append(str(problem))
        count["lost"] += after < before
        count["left"] += len(leftovers(Path(".")))
        filler.unlink()
        for kept in earlier_checkpoints(path):
            kept.unlink()
        status, out, err = quiet(train.main, [*options, "-e", done + 3, "-w"])
        count["stuck"] += status != 0
        if status != 0:
            count["odd"].append(f"stuck: {status} {err[-400:]}")
        done += 3
    print("--full-disk", json.dumps(count))


# ---------------------------------------------------------------------------------------------- signals

def signals(folder, size=50, lanes=2):
    """SIGINT, SIGTERM and SIGUSR1 at random moments of the start, iterations, saves and sample grids."""
    with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
        counts = list(pool.map(lambda k: _signalled(folder / f"signal{k}", k), range(size)))
    for count in counts:
        if count["odd"]:
            print("!!", count["odd"])
    return [Figure("signals (SIGINT, SIGTERM, SIGUSR1)", len(counts), f"== {size}"),
            Figure("  before the first iteration", sum(count["early"] for count in counts)),
            Figure("  inside a save", sum(count["saving"] for count in counts)),
            Figure("exit statuses other than 130 or 75", sum(count["status"] for count in counts), "== 0"),
            Figure("tracebacks or other text on standard error", sum(count["words"] for count in counts), "== 0"),
            Figure("finished iterations that were not saved", sum(count["lost"] for count in counts), "== 0"),
            Figure("longest time until the end, s", round(max(count["seconds"] for count in counts), 1), "<= 30")]


def _signalled(folder, k):
    here, rng = prepared(folder), random.Random(k)
    number = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)[k % 3]
    command = (TRAIN, "-d", "data", *MODEL, "-e", 10**6, "-M", 3, "--keep_every", 2)
    if k % 2:           # a plain train.py, mostly before its first iteration; Python needs a moment to start
        process = subprocess.Popen([sys.executable, *map(str, command)], cwd=here, text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        time.sleep(rng.uniform(0.15, 6))
        saving = None
    else:
        run = Run(here, *command[3:], slow=0.004)
        process = run.process
        run.wait_for(lambda: run.saving is not None)
        time.sleep(rng.uniform(0, 0.6))
        saving = run.saving
    process.send_signal(number)
    start = time.monotonic()
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    seconds = time.monotonic() - start
    if not k % 2:
        out, err = run.out.read_text(), run.err.read_text()
    reported = re.search(r"after (\d+) iterations", out)
    done = len(logged(here, RUN))
    saved = read_weights(combined(here, RUN))[1].iteration if combined(here, RUN).exists() else 0
    expected = 130 if number == signal.SIGINT else 75
    lost = saved != done or bool(reported) and int(reported[1]) != done
    odd = process.returncode != expected or err or lost or leftovers(here)
    return {"early": done == 0, "saving": saving is not None, "status": process.returncode != expected,
            "words": err != "", "lost": lost, "seconds": seconds,
            "odd": odd and f"{number} {process.returncode} {done} {saved} {err[-300:]} {out[-200:]} {leftovers(here)}"}


PARTS = {"kills": kills, "resumes": resumes, "hdf5": damaged_hdf5_files, "images": damaged_images,
         "hostile": hostile_files, "jobs": two_jobs, "disk": full_disk, "signals": signals}


def main(names):
    """Print the table of the parts `names`, by default of all; returns 1 if a figure is not as required."""
    start, good = time.monotonic(), True
    with tempfile.TemporaryDirectory() as folder:
        for name in names or PARTS:
            began = time.monotonic()
            figures = PARTS[name](Path(folder) / name)
            print(f"\n{PARTS[name].__doc__.splitlines()[0]}  [{time.monotonic() - began:.0f} s]")
            for figure in figures:
                good = good and figure.holds
                remark = "" if figure.holds else f"   must be {figure.required}"
                print(f"  {figure.title:76}{figure.number!s:>8}{remark}", flush=True)
    print(f"\n{'all as required' if good else 'NOT AS REQUIRED'}, {(time.monotonic() - start) / 60:.1f} minutes")
    return 0 if good else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--full-disk"]:
        _fill_disks(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main(sys.argv[1:]))
