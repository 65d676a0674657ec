"""What a run reports: a progress bar or plain lines, a CSV file of its losses, and events for TensorBoard."""

import contextlib
import csv
import io
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .errors import InputError
from .files import noticing_a_full_disk, open_own, replacing
from .surroundings import harmless


class Scores(NamedTuple):
    """Held-out metrics of a training.

    held_out_distance    kernel distance between generated and held-out images, mean over factors: 0 is best
    critic_overfitting   0: held-out images score as training images do; 1: as generated ones
    """

    held_out_distance: float
    critic_overfitting: float


SECONDS_BETWEEN_LINES = 30
FAR = 1000                  # a held-out distance above it only says that nothing has been learnt yet
COLUMNS = ("iteration", "critic_loss", "generator_loss", "seconds", *Scores._fields)
BEFORE = len(COLUMNS) - len(Scores._fields)         # columns of older logs, which have no scores


def say(line: str) -> None:
    """Print a line to standard output without disturbing a bar."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


told: set[str] = set()               # lines that tell_once has printed


def tell_once(line: str) -> None:
    """Print a line, to standard error if it is a warning, unless this process has printed it before."""
    if line not in told:
        told.add(line)
        print(harmless(line), file=sys.stderr if line.startswith("warning:") else sys.stdout, flush=True)


def reading(title: str, unit: str = "block") -> Callable[..., Iterator[Any]]:
    """A function that wraps an iterable, and reports its progress: by a bar on a terminal, by lines elsewhere.

    The report goes on while one element takes long.
    """
    def wrapped(iterable: Iterable[Any], total: int | None = None) -> Iterator[Any]:
        from tqdm import tqdm

        total = len(iterable) if total is None and hasattr(iterable, "__len__") else total
        with tqdm(total=total, desc=title, unit=unit, disable=None, leave=False) as bar:
            reporter = _Reporter(bar, title, unit, total)
            with repeating(reporter.report):
                for each in iterable:
                    yield each
                    bar.update()
                    reporter.done += 1

    return wrapped


@contextlib.contextmanager
def shared_steps(title: str, unit: str, number: int) -> Iterator[Iterator[int]]:
    """An iterator of `number` steps, whose progress is shown as that of `progress.reading`.

    Functions that share the work take each of their steps with next() before they make it. One that takes more than
    there are ends with StopIteration, so that a wrong number is noticed.
    """
    with contextlib.closing(iter(reading(title, unit)(range(number)))) as steps:
        yield steps


class _Reporter:
    """Refreshes a bar or, if it is disabled, prints a line now and then."""

    def __init__(self, bar, title, unit, total):
        self.bar, self.title, self.unit, self.total, self.done = bar, title, unit, total, 0
        self.start = time.monotonic()
        self.next_line = self.start + SECONDS_BETWEEN_LINES / 3

    def report(self):
        now = time.monotonic()
        if not self.bar.disable:
            self.bar.refresh()
        elif now >= self.next_line:
            self.next_line = now + SECONDS_BETWEEN_LINES
            spent = now - self.start
            known = self.done and self.total
            left = f", {duration(spent * (self.total - self.done) / self.done)} left" if known else ""
            of = f" of {self.total:,}" if self.total else ""
            print(f"{self.title}: {self.done:,}{of} {self.unit}s in {duration(spent)}{left}", flush=True)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Report that the program is busy with `what`, and for how long: on a terminal each second, elsewhere by lines."""
    from tqdm import tqdm

    start = time.monotonic()
    next_line = start + SECONDS_BETWEEN_LINES / 3

    def report():
        nonlocal next_line
        if not bar.disable:
            bar.refresh()
        elif time.monotonic() >= next_line:
            next_line += SECONDS_BETWEEN_LINES
            print(f"{what}: {duration(time.monotonic() - start)} so far", flush=True)

    with tqdm(bar_format="{desc}: {elapsed}", desc=what, disable=None, leave=False) as bar, repeating(report):
        yield


@contextlib.contextmanager
def repeating(function: Callable[[], None], seconds: float = 1.0) -> Iterator[None]:
    """Call a function every so many seconds, in a thread, while the block runs."""
    ended = threading.Event()

    def repeat():
        while not ended.wait(seconds):
            function()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def duration(seconds: float) -> str:
    """A time in words, rounded: "40 s", "7 min", "3 h", "12 days"."""
    for unit, length, until in (("s", 1, 120), ("min", 60, 120 * 60), ("h", 3600, 48 * 3600)):
        if seconds < until:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def distance_text(distance: float) -> str:
    """A held-out distance for people: beyond FAR, its value says nothing more."""
    return f"{distance:.3g}" if distance < FAR else f"far (over {FAR})"


class Progress:
    """The progress of a training: a bar with losses, speed and time left on a terminal, a line now and then elsewhere.

    done, total   iterations before this run, and in the end
    pace          estimate of the seconds that an update of the critics takes, before the first is measured
    saved         iterations that the newest checkpoint contains
    seconds       duration of the last iteration
    """

    def __init__(self, done: int, total: int, pace: float | None = None) -> None:
        from tqdm import tqdm

        self.done = self.first = self.saved = done
        self.total, self.start, self.pace, self.seconds = total, time.monotonic(), pace, 0.0
        self.next_line, self.text, self.distance = 0.0, "", ""
        self._begun, self._expected = 0.0, 0.0
        self.bar = tqdm(initial=done, total=total, unit="it", disable=None, dynamic_ncols=True, smoothing=0.05)
        self._ending = contextlib.ExitStack()
        self._ending.enter_context(repeating(self.report_long_iteration))

    @contextlib.contextmanager
    def iteration(self, updates: int) -> Iterator[None]:
        """Time a block, which does one iteration with so many updates of the critics, and report if it takes long."""
        self._begun, self._expected = time.monotonic(), (self.pace or 0.0) * updates
        yield
        self.seconds, self._begun = time.monotonic() - self._begun, 0.0
        self.pace, self.done = self.seconds / updates, self.done + 1

    def outlook(self) -> tuple[str, str]:
        """When a run that is asked to stop now will stop, and what it would lose if it ended at once, in words."""
        left = self._expected - (time.monotonic() - self._begun) if self._begun else 0.0
        about = f" (about {duration(left)})" if left >= 1 else ""
        lost = self.done + 1 - self.saved
        return f"after this iteration{about}", f"{lost:,} iteration{'s' * (lost > 1)}"

    def update(self, done: int, losses: tuple[float, float], scores: Scores | None = None) -> None:
        """Report that `done` iterations are done, with the losses of the last one and, if measured, its scores."""
        if scores:
            self.distance = f", held-out distance {distance_text(scores.held_out_distance)}"
        critic_loss, generator_loss = losses
        self.text = f"critic {critic_loss:.4g}, generator {generator_loss:.4g}{self.distance}"
        if not self.bar.disable:
            self.bar.set_postfix_str(self.text, refresh=False)
            self.bar.update()
            return
        now = time.monotonic() - self.start
        if now >= self.next_line or done in (self.first + 1, self.total):
            rate = (done - self.first) / now
            left = time.strftime("%H:%M:%S", time.gmtime((self.total - done) / rate % 86400))
            days = int((self.total - done) / rate // 86400)
            left = f"{days} d {left}" if days else left
            print(f"iteration {done}/{self.total}  {self.text}  {rate:.3g} it/s  {left} left", flush=True)
            self.next_line = now + SECONDS_BETWEEN_LINES

    def report_long_iteration(self) -> None:
        """Report an iteration that takes longer than 5 s, on a bar each time, elsewhere if a line is due."""
        begun, now = self._begun, time.monotonic()
        spent = now - begun
        if not begun or spent < 5:
            return
        if not self.bar.disable:
            self.bar.set_postfix_str(f"{self.text}{', ' * bool(self.text)}this iteration: {duration(spent)}")
        elif now - self.start >= self.next_line:
            about = f" of about {duration(self._expected)}" if self._expected > spent else ""
            print(f"iteration {self.done + 1}/{self.total}: {duration(spent)}{about} so far", flush=True)
            self.next_line = now - self.start + SECONDS_BETWEEN_LINES

    def warn(self, lines: Iterable[str]) -> None:
        """Print lines to standard error without disturbing the bar."""
        for line in lines:
            self.bar.write(line, file=sys.stderr)

    def close(self) -> None:
        """Remove the bar."""
        self._ending.close()
        self.bar.close()


class Log:
    """The losses of each iteration in a CSV file and for TensorBoard.

    Rows after iteration `done` are removed first: a run that was killed after its last checkpoint has left them, and
    the resumed run computes them again. All methods raise files.NoRoom if the disk is full.
    """

    def __init__(self, path: Path, tensorboard: Path, done: int) -> None:
        rows = _rows_until(path, done) if done else []
        with replacing(path) as temporary, open(temporary, "w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
        self.seconds = float(rows[-1][COLUMNS.index("seconds")]) if rows else 0.0
        self.path, self.file = path, open_own(path, "a", newline="", buffering=1)
        self.writer = csv.writer(self.file)
        self.events = _Events(tensorboard)

    def losses(self, iteration: int, losses: tuple[float, float], seconds: float, scores: Scores | None = None) -> None:
        """Add a row: the losses of critic and generator, the seconds that the iteration took, and scores if any."""
        critic_loss, generator_loss = losses
        self.seconds += seconds
        with noticing_a_full_disk(self.path):
            self.writer.writerow((iteration, f"{critic_loss:.9g}", f"{generator_loss:.9g}", f"{self.seconds:.3f}",
                                  *([f"{score:.9g}" for score in scores] if scores else [""] * len(Scores._fields))))
        self.events.add(iteration, tag="loss/critic", simple_value=critic_loss)
        self.events.add(iteration, tag="loss/generator", simple_value=generator_loss)
        for name, score in scores._asdict().items() if scores else ():
            self.events.add(iteration, tag=f"score/{name}", simple_value=score)

    def codes(self, iteration: int, quantities: Mapping[str, float]) -> None:
        """Print how well the codes are learnt, {quantity: number}, and add a row to their table codes.<run>.csv."""
        path = self.path.with_name(self.path.name.replace("log.", "codes.", 1))
        columns = ("iteration", *quantities)
        rows = _rows_until(path, iteration - 1, columns)
        with replacing(path) as temporary, open(temporary, "w", newline="") as file:
            row = (iteration, *(f"{value:.5g}" for value in quantities.values()))
            csv.writer(file).writerows([columns, *rows, row])
        text = ", ".join(f"{name} {value:.2f}" for name, value in quantities.items())
        print(f"iteration {iteration}  {text}", flush=True)
        for name, value in quantities.items():
            self.events.add(iteration, tag=f"codes/{name}", simple_value=value)

    def picture(self, iteration: int, picture: np.ndarray) -> None:
        """Add a picture, uint8 (height, width, 3), for TensorBoard."""
        from PIL import Image

        png = io.BytesIO()
        Image.fromarray(picture).save(png, "png")
        height, width, colours = picture.shape
        self.events.add(iteration, tag="samples", image={
            "height": height, "width": width, "colorspace": colours, "encoded_image_string": png.getvalue()})

    def close(self) -> None:
        """Close all files."""
        with noticing_a_full_disk(self.path):
            self.file.close()
        self.events.close()


def read_log(path: str | Path) -> dict[str, np.ndarray]:
    """{column: numbers (rows,)} of a Log's CSV file; NaN where there is none.

    Incomplete rows, which a killed job leaves, are ignored. Raises InputError if there are no losses.
    """
    try:
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            table = csv.DictReader(file, strict=False)
            names = list(table.fieldnames or [])
            losses = [name for name in names if name.endswith("_loss")]
            lines = [line for line in table if np.isfinite(_number(line.get("iteration")))
                     and None not in line.values()]
    except (OSError, csv.Error) as problem:
        raise InputError(f"{path}: can't read this log of losses ({problem}): give the CSV file that train.py "
                         f"writes") from None
    if not losses or not lines:
        raise InputError(f"{path}: no losses in this file yet: give the CSV file that train.py writes, with columns "
                         f"iteration and ..._loss")
    return {name: np.array([_number(line.get(name)) for line in lines]) for name in names}


def read_losses(path: str | Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(iterations, {column: losses or, if measured, scores}) of a Log's CSV file. Raises as `read_log` does."""
    columns = read_log(path)
    shown = [name for name in columns if name.endswith("_loss")]
    shown += [name for name in Scores._fields if name in columns and np.isfinite(columns[name]).any()]
    return columns["iteration"], {name: columns[name] for name in shown}


def _number(text):
    """A finite float, or NaN."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return math.nan
    return value if math.isfinite(value) else math.nan


class _Events:
    """A file of events for TensorBoard, whose own writer would import TensorFlow even if JAX trains."""

    def __init__(self, folder):
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns()}"
        self.path = folder / name
        self.file = RecordWriter(open(self.path, "xb"))      # noqa: SIM115 (closed by close)
        self._write(file_version="brain.Event:2")

    def add(self, step, **value):
        """Add a value, given as the fields of TensorBoard's Summary.Value, to the curve or the pictures of its tag."""
        self._write(step=step, summary={"value": [value]})

    def _write(self, **event):
        from tensorboard.compat.proto.event_pb2 import Event

        with noticing_a_full_disk(self.path):
            self.file.write(Event(wall_time=time.time(), **event).SerializeToString())
            self.file.flush()

    def close(self):
        with noticing_a_full_disk(self.path):
            self.file.close()


def _rows_until(path: Path, done: int, columns: Sequence[str] = COLUMNS) -> list[list[Any]]:
    """Complete rows of a CSV file up to iteration `done`, with empty fields for columns that older files lack."""
    try:
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            rows = [row for row in list(csv.reader(file))[1:] if len(row) in (BEFORE, len(columns))]
            return [row + [""] * (len(columns) - len(row)) for row in rows if _number(row[0]) <= done]
    except FileNotFoundError:       # the checkpoint was copied here without its log
        return []
