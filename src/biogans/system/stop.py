"""Requests to stop a run, by Ctrl-C or by a signal from a batch system."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .launch import STOP_SIGNALS
from .progress import say

PATIENCE = 3        # seconds for a block of `at_once` to end after a signal


class StopRequest:
    """A context that records the first signal to stop; a later Ctrl-C ends the process at once.

    SIGINT is Ctrl-C; a batch system sends SIGTERM or SIGUSR1 before it ends a job. Signals are held back until the
    context begins (launch.hold_stop_signals). Ending at once is as safe as being killed: every file is either the old
    or the new one, and complete.

    Python calls signal handlers between two of its instructions, hence not during a call of TensorFlow, which can take
    minutes. So a thread, which a pipe wakes up, answers the user.

    outlook   a function that describes when the run will stop, and what a second Ctrl-C would lose
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.outlook: Callable[[], tuple[str, str]] | None = None
        self._at_once = self._ended = False

    def __enter__(self) -> "StopRequest":
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        self._pipe_before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        threading.Thread(target=self._answer, daemon=True).start()
        self._before = {number: signal.signal(number, self._remember) for number in STOP_SIGNALS}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return self

    def __exit__(self, *problem: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._pipe_before)
        os.close(self._pipe[1])         # ends the thread

    def _remember(self, number, frame):
        """Record the first signal, in the main thread."""
        if self.requested:
            return
        self.signal = signal.Signals(number)
        if self._at_once:
            raise Stopped

    def _answer(self):
        """Answer signals as they arrive, in a thread: announce the first one, and end the process at the second."""
        numbers: list[int] = []
        with open(self._pipe[0], "rb", buffering=0) as pipe:
            while byte := pipe.read(1):
                if byte[0] not in STOP_SIGNALS:
                    continue
                numbers.append(byte[0])
                if len(numbers) > 1 and numbers[-1] == signal.SIGINT:
                    os._exit(130)
                if len(numbers) == 1:
                    self._announce(numbers[0])

    def _announce(self, number):
        """Describe when the run will stop. If there is nothing to save but the main thread is busy, end the process."""
        if self.outlook and not self._at_once:
            soon, loss = self.outlook()
            again = f"; Ctrl-C again ends at once, losing {loss}" if number == signal.SIGINT else ""
            say(f"{_name(number)}: stopping {soon}{again}")
            return
        end = time.monotonic() + PATIENCE
        while self._at_once and not self._ended and time.monotonic() < end:
            time.sleep(0.05)
        if self._at_once and not self._ended:
            self.signal = signal.Signals(number)
            say(self._epitaph())
            os._exit(self.status)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal abort this block, and end the process, at once: there is nothing to save yet."""
        self.check()
        try:
            self._at_once = True
            yield
            self._at_once = False
        except BaseException:
            self._at_once = False
            # Libraries catch everything here and there, and go on to raise an error of their own.
            if not self.requested:
                raise
        self.check()

    def check(self) -> None:
        """End the process if a stop is requested, before there is anything to save."""
        if self.requested:
            self._ended = True
            print(self._epitaph())
            sys.exit(self.status)

    def _epitaph(self):
        return f"stopped by {self.name} before the first iteration of this command"

    def agreed(self, total: Callable[[Sequence[float]], Sequence[float]]) -> bool:
        """Whether this task, or another of its team, is requested to stop: then all stop after the same iteration.

        total   sums each of several numbers over all tasks (Engine.total)
        """
        votes = total([float(self.signal == number) for number in STOP_SIGNALS])
        requested = [number for number, count in zip(STOP_SIGNALS, votes, strict=True) if count]
        self.signal = requested[0] if requested else self.signal
        return bool(requested)

    @property
    def requested(self) -> bool:
        """Whether a signal has arrived."""
        return self.signal is not None

    @property
    def name(self) -> str:
        """Name of the signal, for messages; "" before one has arrived."""
        return "" if self.signal is None else _name(self.signal)

    @property
    def status(self) -> int:
        """Exit status: 130 for Ctrl-C, as in shells, or 75 (EX_TEMPFAIL), which asks a batch script to requeue."""
        return 130 if self.signal == signal.SIGINT else 75


def record_progress() -> None:
    """Tell hpc/train.sbatch that a restart would resume from what has just been saved, by removing its link."""
    link = os.environ.get("BG_UNSAVED", "")
    if os.path.islink(link):
        with contextlib.suppress(OSError):
            os.unlink(link)


def _name(number):
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


class Stopped(KeyboardInterrupt):
    """Aborts the block of StopRequest.at_once."""
