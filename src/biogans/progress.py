"""What a run tells while it goes: a progress bar or plain lines, a CSV file, TensorBoard."""

import contextlib
import csv
import functools
import time

from .files import NoRoom, noticing_a_full_disk, replacing
from .lazy import tensorflow as tf

SECONDS_BETWEEN_LINES = 30
COLUMNS = ("iteration", "critic_loss", "generator_loss", "seconds")


def reading(what):
    """A function that wraps an iterable over blocks of files and shows a bar on a terminal, nothing elsewhere."""
    from tqdm import tqdm
    return functools.partial(tqdm, desc=what, unit="block", disable=None, leave=False)


class Progress:
    """A bar with losses, iterations/s and time left on a terminal; elsewhere, as in a batch job's log, some lines."""

    def __init__(self, done, total):
        from tqdm import tqdm
        self.total, self.first, self.start = total, done, time.monotonic()
        self.next_line = 0.0
        self.bar = tqdm(initial=done, total=total, unit="it", disable=None, dynamic_ncols=True, smoothing=0.05)

    def update(self, done, critic_loss, generator_loss):
        """Tell that `done` iterations are done, the last one with these losses."""
        losses = f"critic {critic_loss:.4g}, generator {generator_loss:.4g}"
        if not self.bar.disable:
            self.bar.set_postfix_str(losses, refresh=False)
            self.bar.update()
            return
        now = time.monotonic() - self.start
        if now >= self.next_line or done == self.total:
            rate = (done - self.first) / now
            left = time.strftime("%H:%M:%S", time.gmtime((self.total - done) / rate % 86400))
            days = int((self.total - done) / rate // 86400)
            left = f"{days} d {left}" if days else left
            print(f"iteration {done}/{self.total}  {losses}  {rate:.3g} it/s  {left} left", flush=True)
            self.next_line = now + SECONDS_BETWEEN_LINES

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
        self.tensorboard, self.events = tensorboard, tf.summary.create_file_writer(str(tensorboard))

    def losses(self, iteration, critic_loss, generator_loss, seconds):
        """Add a row; `seconds` is the time that this iteration took."""
        self.seconds += seconds
        with noticing_a_full_disk(self.path):
            self.writer.writerow((iteration, f"{critic_loss:.9g}", f"{generator_loss:.9g}", f"{self.seconds:.3f}"))
        with self._telling(iteration):
            tf.summary.scalar("loss/critic", critic_loss)
            tf.summary.scalar("loss/generator", generator_loss)

    def picture(self, iteration, picture):
        """Show a picture, uint8 (height, width, 3), in TensorBoard."""
        with self._telling(iteration):
            tf.summary.image("samples", picture[None])

    @contextlib.contextmanager
    def _telling(self, iteration):
        """What is written within goes to TensorBoard. Raises NoRoom."""
        try:
            with self.events.as_default(step=iteration):
                yield
        except tf.errors.ResourceExhaustedError:
            raise NoRoom(f"{self.tensorboard} can't be written: the disk is full: make room and repeat the command, "
                         f"with -w to go on") from None

    def close(self):
        with noticing_a_full_disk(self.path):
            self.file.close()
        self.events.close()


def _rows_until(path, done):
    try:
        with open(path, newline="") as file:
            return [row for row in list(csv.reader(file))[1:] if len(row) == len(COLUMNS) and int(row[0]) <= done]
    except FileNotFoundError:       # the checkpoint was copied here without its log
        return []
