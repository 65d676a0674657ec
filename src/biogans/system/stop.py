"""Requests to stop a run, by Ctrl-C or by a signal from a batch system."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .launch import STOP_SIGNALS


class StopRequest:
    """A context that records the first signal to stop; a later Ctrl-C ends the process at once.

    SIGINT is Ctrl-C; a batch system sends SIGTERM or SIGUSR1 before it ends a job. Signals are held back until the
    context begins (launch.hold_stop_signals). Ending at once is as safe as being killed: every file is either the old
    or the new one, and complete.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._at_once = False

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._remember) for number in STOP_SIGNALS}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return self

    def __exit__(self, *problem: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number, frame):
        if self.requested and number == signal.SIGINT:
            os._exit(130)
        self.signal = self.signal or signal.Signals(number)
        if self._at_once:
            raise Stopped

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal abort this block, and end the process, at once: there is nothing to save yet."""
        self.check()
        with contextlib.suppress(Stopped):
            self._at_once = True
            yield
        self._at_once = False
        self.check()

    def check(self) -> None:
        """End the process if a stop is requested, before there is anything to save."""
        if self.requested:
            print(f"stopped by {self.name} before the first iteration")
            sys.exit(self.status)

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
        if self.signal is None:
            return ""
        return "Ctrl-C" if self.signal == signal.SIGINT else self.signal.name

    @property
    def status(self) -> int:
        """Exit status: 130 for Ctrl-C, as in shells, or 75 (EX_TEMPFAIL), which asks a batch script to requeue."""
        return 130 if self.signal == signal.SIGINT else 75


class Stopped(BaseException):
    """Aborts the block of StopRequest.at_once, past every `except Exception`."""
