"""Trainings for equal times: processes of train.py, each in a folder of its own, stopped when their time is used up.

The time of a training is the sum of its iterations' seconds in its log, without the first iteration after each start,
which compiles the networks. Pictures, scores and checkpoints do not count. A process stops on SIGTERM, which train.py
answers by saving its state, and a repeated command resumes from that.
"""

import contextlib
import ctypes
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np

from ..core import trained
from ..core.gan import ALGORITHMS
from ..system import launch
from ..system.errors import InputError
from ..system.files import open_own
from ..system.json_text import read_json
from ..system.progress import read_log
from .json_files import write_json

SCORES = 20                 # held-out scores in each training
TRIAL = 0.05                # of the time, after which the speed is known …
SHORTEST_TRIAL = 2          # … and seconds, at least, …
LONGEST_TRIAL = 0.25        # … and of the time, at most
CHECKPOINTS = 5             # in a training: a kill loses a fifth of it at most
POLL = 0.2                  # seconds
SECONDS_BETWEEN_LINES = 30
FOREVER = 2**31 - 1
TAIL = 4096                 # bytes at the end of a log that hold its last row
MEMORY = re.compile(r"out of memory|ResourceExhausted|RESOURCE_EXHAUSTED|MemoryError|bad_alloc", re.IGNORECASE)


class Run(NamedTuple):
    """One training of a comparison; `data` is the label of a data folder."""

    data: str
    architecture: str
    algorithm: str
    seed: int

    @property
    def name(self):
        """The name of its folder."""
        return f"{self.data}.{self.architecture}.{self.algorithm}.{self.seed}"

    @property
    def combination(self):
        """The run without its seed."""
        return self[:3]


class Training:
    """A run for so many `seconds`; the file run.json in its folder keeps its state.

    words         options of train.py, without those that follow from the folder and the time
    settings      settings.TrainingSettings of these options
    state         "" while it is unfinished, "done" or "failed"; `reason` is that of a failure
    compiled      {iteration: seconds} of the first iteration after each start
    score_every   iterations between two scores (-M), None until the speed is known
    iteration     iterations so far, and `used`, their seconds
    """

    def __init__(self, run, folder, words, settings, seconds):
        """Read the state that an earlier command left."""
        self.run, self.folder, self.words, self.settings, self.seconds = run, folder, words, settings, seconds
        stored = {}
        with contextlib.suppress(OSError, ValueError):
            stored = read_json(folder / "run.json")
        self.state, self.reason = stored.get("state", ""), stored.get("reason", "")
        self.score_every = stored.get("score_every")
        self.compiled = {int(iteration): seconds for iteration, seconds in stored.get("compiled", {}).items()}
        self.process, self.iteration, self.used = None, 0, 0.0
        self._resumed_at, self._stopping, self._old_log = 0, False, None
        self._read_progress()

    @property
    def log(self):
        """Path of the log of losses, None if there is none yet."""
        return next(iter(sorted(self.folder.glob("checkpoints/log.*.csv"))), None)

    def start(self, variables):
        """Start train.py, or resume from its checkpoint, with further environment variables."""
        self._resumed_at, self._stopping = checkpoint_iteration(self.folder), False
        if not self._resumed_at and self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.compiled = {iteration: seconds for iteration, seconds in self.compiled.items()
                         if iteration <= self._resumed_at}
        self.iteration, self.used = self._resumed_at, self._used_until(self._resumed_at)
        if self._resumed_at and not self.score_every and self.used >= self._trial:
            self.score_every = max(1, round(self.expected_iterations() / SCORES))
        self._old_log = self.log and self.log.stat().st_ino
        self._save()
        command = [*train_command(), *self.words, "-e", FOREVER, "-M", self.score_every or FOREVER, "--save_minutes",
                   min(10, self.seconds / 60 / CHECKPOINTS), *(["-w"] if self._resumed_at else [])]
        with (open_own(self.folder / "output.txt", "a") as output,
              open_own(self.folder / "errors.txt", "w") as errors):
            self.process = subprocess.Popen(list(map(str, command)), cwd=self.folder, stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=errors, env=os.environ | variables,
                                            start_new_session=True, preexec_fn=_stop_with_parent)

    def watch(self):
        """Stop the process when its time is used up. Returns "running", "again" (start it again) or "ended".

        Raises InputError if another process trains in the folder.
        """
        status = self.process.poll()
        self._read_progress()
        if status is None:
            if self.used >= (self.seconds if self.score_every else self._trial):
                self.stop()
            return "running"
        self.process = None
        if status in (0, 75) and self.used >= self.seconds:
            self.state = "done"
        elif status not in (0, 75, 130):
            self.state, self.reason = "failed", self._failure(status)
        self._save()
        return "again" if self._stopping and not self.state else "ended"

    def stop(self):
        """Ask the process to save and end."""
        if not self._stopping:
            self._stopping = True
            self.process.send_signal(signal.SIGTERM)

    def expected_iterations(self):
        """Iterations within the time, from the speed so far; some of WGAN's have many more updates of the critic."""
        algorithm = ALGORITHMS[self.settings.algorithm](self.settings)

        def updates(k):
            return algorithm.critic_updates(k) + self.settings.num_G_iters

        left = sum(map(updates, range(1, self.iteration))) / max(self.used, 1e-6) * self.seconds
        iterations = 0
        while left > 0:
            iterations += 1
            left -= updates(iterations)
        return iterations

    @property
    def _trial(self):
        return min(max(SHORTEST_TRIAL, TRIAL * self.seconds), LONGEST_TRIAL * self.seconds)

    def _save(self):
        write_json(self.folder / "run.json", {"state": self.state, "reason": self.reason, "compiled": self.compiled,
                                              "score_every": self.score_every})

    def _read_progress(self):
        """Read the last row of the log, once it is that of the present process."""
        log = self.log
        if not log or log.stat().st_ino == self._old_log:
            return
        last = _last_row(log)
        if last and last[0] > self._resumed_at:
            first = self._resumed_at + 1
            if self.process and first not in self.compiled:
                self.compiled[first] = _seconds_of(log, first)
                self._save()
            self.iteration, self.used = last[0], last[1] - sum(self.compiled.values())

    def _used_until(self, iteration):
        """Seconds of the iterations up to this one."""
        if not (iteration and self.log):
            return 0.0
        rows = read_log(self.log)
        total = rows["seconds"][rows["iteration"] <= iteration]
        return float(total[-1] if len(total) else 0) - sum(self.compiled.values())

    def _failure(self, status):
        """The reason for which the process ended with this status, in one line."""
        text = (self.folder / "errors.txt").read_text(errors="replace")
        if "another job trains" in text:
            raise InputError(f"{self.folder}: a train.py that an earlier command started is still running: wait until "
                             f"it has ended, and repeat the command")
        if MEMORY.search(text):
            return "out of memory"
        if status < 0:
            return f"killed by {signal.Signals(-status).name}" + (
                ", perhaps for lack of memory" if status == -signal.SIGKILL else "")
        lines = [line.strip() for line in text.splitlines() if line.strip()] or [f"exit status {status}"]
        mistakes = [line for line in lines if re.match(r"train\.py: |[\w.]*(Error|Exception)\b", line)]
        line = (mistakes or lines)[-1].removeprefix("train.py: ")
        return line if len(line) <= 300 else line[:299] + "…"


def _stop_with_parent():
    """In the new process: ask Linux for a SIGTERM when the parent dies, so that none trains on for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def train_command():
    """The words that start train.py of this installation."""
    script = launch.PACKAGE.parents[1] / "bin" / "train.py"
    return [sys.executable, script] if script.is_file() else [sys.executable, "-m", "biogans", "train"]


def checkpoint_iteration(folder):
    """The iteration of the newest checkpoint of the run in `folder`, 0 if there is none."""
    for path in sorted(folder.glob("checkpoints/weights.combined_model.*.h5"), key=lambda path: len(path.name)):
        with contextlib.suppress(InputError):           # damaged: train.py resumes from the one before it
            return trained.read_metadata(path).iteration
    return 0


# ---------------------------------------------------------------------------------------------- logs

def _last_row(path):
    """(iteration, seconds) of the last complete row of a log, None if it has no rows yet."""
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - TAIL))
        rows = file.read().split(b"\n")[:-1]            # the last one may be incomplete
    for row in reversed(rows):
        values = row.split(b",")
        with contextlib.suppress(ValueError, IndexError):
            return int(values[0]), float(values[3])
    return None


def _seconds_of(path, iteration):
    """Seconds that an iteration took."""
    rows = read_log(path)
    place = int(np.searchsorted(rows["iteration"], iteration))
    return float(rows["seconds"][place] - (rows["seconds"][place - 1] if place else 0))


# ---------------------------------------------------------------------------------------------- all of them

def train_all(trainings, jobs, stop):
    """Train all that are unfinished, `jobs` at a time, until all are, or until `stop` (StopRequest) is requested."""
    waiting, running = [each for each in trainings if not each.state], []
    progress = _Progress(trainings, jobs)
    try:
        while (waiting or running) and not stop.requested:
            while waiting and len(running) < jobs:
                training = waiting.pop(0)
                training.score_every = training.score_every or _known_interval(training, trainings)
                training.start(_environment(jobs))
                running.append(training)
            time.sleep(POLL)
            for training, what in [(each, each.watch()) for each in running]:
                if what != "running":
                    running.remove(training)
                if what == "again":                     # its speed is known now
                    waiting.insert(0, training)
                elif what == "ended":
                    progress.report(training)
            progress.update(running)
    finally:
        progress.close()
        if running:
            print(f"stopping {', '.join(each.run.name for each in running)}: saved after the iteration that runs",
                  flush=True)
        for each in running:
            each.stop()
        for each in running:
            each.process.wait()


def _known_interval(training, trainings):
    """The iterations between two scores that another seed of this combination has, None if its speed is unknown."""
    same = [each.score_every for each in trainings
            if each.run.combination == training.run.combination and each.score_every]
    return same[0] if same else None


def _environment(jobs):
    """Variables that divide the machine among processes of train.py."""
    if jobs == 1:
        return {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"TF_NUM_INTRAOP_THREADS": str(max(1, cores // jobs)), "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


class _Progress:
    """A bar over all trainings on a terminal, lines elsewhere, with the time left."""

    def __init__(self, trainings, jobs):
        from tqdm import tqdm

        self.trainings, self.jobs, self.start = trainings, jobs, time.monotonic()
        self.before, self.next_line = self._used(), 0.0
        self.bar = tqdm(total=self._total(), disable=None, dynamic_ncols=True, bar_format="{l_bar}{bar}| {postfix}")

    def update(self, running):
        text = "; ".join(f"{each.run.name}: {each.used / 60:.1f} of {each.seconds / 60:g} min" for each in running)
        text += f"; {self._time_left()} left"
        if not self.bar.disable:
            self.bar.n = self._used()
            self.bar.set_postfix_str(text)
        elif time.monotonic() - self.start >= self.next_line:
            ended = sum(bool(each.state) for each in self.trainings)
            print(f"{ended} of {len(self.trainings)} runs ended; {text}", flush=True)
            self.next_line = time.monotonic() - self.start + SECONDS_BETWEEN_LINES

    def report(self, training):
        """Print how a training ended."""
        end = {"done": f"{training.iteration} iterations", "failed": f"failed: {training.reason}"}
        self.bar.write(f"{training.run.name}: {end.get(training.state, 'stopped from outside')}", file=sys.stdout)
        sys.stdout.flush()

    def close(self):
        self.bar.close()

    def _total(self):
        return sum(each.seconds for each in self.trainings)

    def _used(self):
        """Seconds that are used up, all of those of a training that failed."""
        return sum(each.seconds if each.state else min(each.used, each.seconds) for each in self.trainings)

    def _time_left(self):
        """In words, from the seconds that went by for each second of iterations."""
        used, elapsed = self._used() - self.before, time.monotonic() - self.start
        price = elapsed / used if used > 10 else 1 / self.jobs
        minutes = math.ceil(price * (self._total() - self._used()) / 60)
        return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
