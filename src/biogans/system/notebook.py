"""Commands in the cells of a notebook: below the cell, a line and pictures show how far they are."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .progress import duration

SECONDS_BETWEEN_LINES = 2
STOPPED = 75                            # exit status of a training that was asked to stop, and has saved


def run_command(name: str, *words: Any, folder: str | Path = ".", seconds: float | None = None,
                preview: Callable[[], None] | None = None) -> str:
    """Run a command of BioGANs in `folder`, as in a terminal, and show its progress; returns what it prints.

    seconds   how long a training may take, from its first iteration; it is then asked to save and stop
    preview   called every SECONDS_BETWEEN_LINES, for example to draw
    Raises RuntimeError with the message of a command that fails.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    arguments = [str(word) for word in words]
    total = arguments[arguments.index("-e") + 1] if "-e" in arguments and seconds is None else ""
    with tempfile.TemporaryFile() as errors:
        status, printed = _run(_Watch(name, Path(folder), total, seconds, preview), errors,
                               [sys.executable, "-m", "biogans", name, *arguments])
        errors.seek(0)
        if status not in ((0,) if seconds is None else (0, STOPPED)):
            raise RuntimeError(errors.read().decode(errors="replace").strip())
    return printed


def run_process(arguments: Sequence[str], folder: str | Path = ".",
                environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a program in `folder`, and show for how long; returns (exit status, all that it writes)."""
    return _run(_Watch(Path(arguments[0]).name, Path(folder)), subprocess.STDOUT, arguments, environment)


def _run(watch, errors, arguments, environment=None):
    """Run a program while it is watched; returns (exit status, output).

    An exception, such as that of Jupyter's stop button, ends the program by SIGTERM.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(arguments, cwd=watch.folder, env=environment, stdout=output, stderr=errors)
        try:
            while process.poll() is None:
                watch.look(process, output)
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
            watch.close()
        output.seek(0)
        return process.returncode, output.read().decode(errors="replace")


class Preview:
    """Shows the newest picture of samples in a folder, below the cell and in place of older ones."""

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.shown, self.display = Path(folder), None, None

    def __call__(self) -> None:
        from IPython.display import Image, display

        pictures = sorted(self.folder.glob("fake_samples.*.png"), key=lambda path: path.stat().st_mtime)
        if not pictures or pictures[-1] == self.shown:
            return
        self.shown = pictures[-1]
        picture = Image(data=self.shown.read_bytes())
        if self.display:
            self.display.update(picture)
        else:
            self.display = display(picture, display_id=True)


class _Watch:
    """What is shown while a program runs, and when it has to stop."""

    def __init__(self, name: str, folder: Path, total: str = "", seconds: float | None = None,
                 preview: Callable[[], None] | None = None) -> None:
        self.name, self.folder, self.total = name, folder, f" of {total}" if total else ""
        self.seconds, self.preview = seconds, preview
        self.started, self.next_line, self.width = time.time(), time.time() + SECONDS_BETWEEN_LINES, 0
        self.training: float | None = None          # since when there are iterations

    def look(self, process, output):
        """Show the state of a process, and ask it to stop if its time is up."""
        now = time.time()
        if self.training and self.seconds is not None and now > self.training + self.seconds:
            process.terminate()
            self.seconds = None
        if now < self.next_line:
            return
        self.next_line = now + SECONDS_BETWEEN_LINES
        iteration = self._iteration()
        if iteration and not self.training:
            self.training = now
        state = f"iteration {iteration}{self.total}" if iteration else _last_line(output)
        self._show(f"{self.name}: {duration(now - self.started)}{', ' * bool(state)}{state}")
        if self.preview:
            self.preview()

    def close(self):
        """Remove the line."""
        if self.width:
            self._show("")
            print("\r", end="", file=sys.stderr, flush=True)
        if self.preview:
            self.preview()

    def _show(self, text):
        self.width = max(self.width, len(text))
        print(f"\r{text:{self.width}}", end="", file=sys.stderr, flush=True)

    def _iteration(self):
        """The number in the last complete row of a log that this program writes; "" without one."""
        logs = [path for path in self.folder.glob("checkpoints/log.*.csv") if path.stat().st_mtime >= self.started]
        rows = max(logs, key=lambda path: path.stat().st_mtime).read_text().split("\n")[1:-1] if logs else []
        return rows[-1].partition(",")[0] if rows else ""


def _last_line(output):
    """The last line of a file to which another process appends, without moving its position."""
    size = os.fstat(output.fileno()).st_size
    lines = os.pread(output.fileno(), 400, max(0, size - 400)).decode(errors="replace").split("\n")
    return next((line.strip()[:80] for line in reversed(lines) if line.strip()), "")
