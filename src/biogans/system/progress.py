"""What a run tells while it goes: a progress bar or plain lines, a CSV file, TensorBoard."""

import csv
import functools
import io
import os
import socket
import sys
import time
from pathlib import Path
from typing import NamedTuple

from .files import noticing_a_full_disk, replacing

class Scores(NamedTuple):
    """held_out_distance    kernel distance of generated to held-out images, mean over factors: 0 is best
    critic_overfitting      0: held-out images score as training images; 1: as generated ones
    """

    held_out_distance: float
    critic_overfitting: float


SECONDS_BETWEEN_LINES = 30
COLUMNS = ("iteration", "critic_loss", "generator_loss", "seconds", *Scores._fields)
BEFORE = len(COLUMNS) - len(Scores._fields)         # columns of logs from before there were scores


def reading(title, unit="block"):
    """A function that wraps an iterable with a progress bar on a terminal, with nothing elsewhere."""
    from tqdm import tqdm
    return functools.partial(tqdm, desc=title, unit=unit, disable=None, leave=False)


class Progress:
    """A bar with losses, iterations/s and time left on a terminal; elsewhere, as in a batch job's log, some lines."""

    def __init__(self, done, total):
        from tqdm import tqdm
        self.total, self.first, self.start = total, done, time.monotonic()
        self.next_line, self.distance = 0.0, ""
        self.bar = tqdm(initial=done, total=total, unit="it", disable=None, dynamic_ncols=True, smoothing=0.05)

    def update(self, done, losses, scores=None):
        """Tell that `done` iterations are done, the last one with these losses and, if measured, Scores."""
        if scores:
            self.distance = f", held-out distance {scores.held_out_distance:.3g}"
        critic_loss, generator_loss = losses
        text = f"critic {critic_loss:.4g}, generator {generator_loss:.4g}{self.distance}"
        if not self.bar.disable:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update()
            return
        now = time.monotonic() - self.start
        if now >= self.next_line or done == self.total:
            rate = (done - self.first) / now
            left = time.strftime("%H:%M:%S", time.gmtime((self.total - done) / rate % 86400))
            days = int((self.total - done) / rate // 86400)
            left = f"{days} d {left}" if days else left
            print(f"iteration {done}/{self.total}  {text}  {rate:.3g} it/s  {left} left", flush=True)
            self.next_line = now + SECONDS_BETWEEN_LINES

    def warn(self, lines):
        """Tell lines that are no part of the progress, on standard error."""
        for line in lines:
            self.bar.write(line, file=sys.stderr)

    def close(self):
        self.bar.close()


class Log:
    """The losses of each iteration in a CSV file and for TensorBoard; rows after iteration `done` are dropped first.

    These are left by a run that was killed after its last checkpoint, and the run that goes on computes them again.
    """

    def __init__(self, path, tensorboard, done):
        rows = _rows_until(path, done) if done else []
        with replacing(path) as temporary, open(temporary, "w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
        self.seconds = float(rows[-1][COLUMNS.index("seconds")]) if rows else 0.0
        self.path, self.file = path, open(path, "a", newline="", buffering=1)
        self.writer = csv.writer(self.file)
        self.events = _Events(tensorboard)

    def losses(self, iteration, losses, seconds, scores=None):
        """Add a row; `seconds` is the time that this iteration took, `scores` are Scores if there are any."""
        critic_loss, generator_loss = losses
        self.seconds += seconds
        with noticing_a_full_disk(self.path):
            self.writer.writerow((iteration, f"{critic_loss:.9g}", f"{generator_loss:.9g}", f"{self.seconds:.3f}",
                                  *([f"{score:.9g}" for score in scores] if scores else [""] * len(Scores._fields))))
        self.events.add(iteration, tag="loss/critic", simple_value=critic_loss)
        self.events.add(iteration, tag="loss/generator", simple_value=generator_loss)
        for name, score in scores._asdict().items() if scores else ():
            self.events.add(iteration, tag=f"score/{name}", simple_value=score)

    def codes(self, iteration, quantities):
        """Add a row to the table of what codes mean, {quantity: number}, and print it."""
        path = self.path.with_name(self.path.name.replace("log.", "codes.", 1))
        columns = ("iteration", *quantities)
        rows = _rows_until(path, iteration - 1, columns)
        with replacing(path) as temporary, open(temporary, "w", newline="") as file:
            csv.writer(file).writerows([columns, *rows, (iteration, *(f"{value:.5g}" for value in quantities.values()))])
        print(f"iteration {iteration}  " + ", ".join(f"{name} {value:.2f}" for name, value in quantities.items()), flush=True)
        for name, value in quantities.items():
            self.events.add(iteration, tag=f"codes/{name}", simple_value=value)

    def picture(self, iteration, picture):
        """Show a picture, uint8 (height, width, 3), in TensorBoard."""
        from PIL import Image
        png = io.BytesIO()
        Image.fromarray(picture).save(png, "png")
        height, width, colours = picture.shape
        self.events.add(iteration, tag="samples", image={
            "height": height, "width": width, "colorspace": colours, "encoded_image_string": png.getvalue()})

    def close(self):
        with noticing_a_full_disk(self.path):
            self.file.close()
        self.events.close()


class _Events:
    """An event file, as TensorBoard reads them; its own writer would import TensorFlow, also where JAX trains."""

    def __init__(self, folder):
        from tensorboard.summary.writer.record_writer import RecordWriter
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns()}"
        self.path = folder / name
        self.file = RecordWriter(open(self.path, "wb"))
        self._write(file_version="brain.Event:2")

    def add(self, step, **value):
        """Add one value (a tensorboard Summary.Value, by its fields) to the curve or pictures of its tag."""
        self._write(step=step, summary={"value": [value]})

    def _write(self, **event):
        from tensorboard.compat.proto.event_pb2 import Event
        with noticing_a_full_disk(self.path):
            self.file.write(Event(wall_time=time.time(), **event).SerializeToString())
            self.file.flush()

    def close(self):
        with noticing_a_full_disk(self.path):
            self.file.close()


def _rows_until(path, done, columns=COLUMNS):
    try:
        with open(path, newline="") as file:
            rows = [row for row in list(csv.reader(file))[1:] if len(row) in (BEFORE, len(columns))]
            return [row + [""] * (len(columns) - len(row)) for row in rows if int(row[0]) <= done]
    except FileNotFoundError:       # the checkpoint was copied here without its log
        return []
