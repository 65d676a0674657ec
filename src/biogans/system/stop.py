"""Requests to stop: what Ctrl-C and a batch system's signals ask of a run."""

import contextlib
import os
import signal
import sys

from .launch import STOP_SIGNALS


class StopRequest:
    """Remembers, within its `with`, that a signal asked the run to stop; Ctrl-C after that ends the process at once.

    SIGINT is Ctrl-C; SIGTERM and SIGUSR1 come from a batch system before it ends a job. Signals wait until here
    (launch.hold_stop_signals). A process that ends at once leaves what a killed one does: every file is old or new, and
    whole.
    """

    def __init__(self):
        self.signal, self._at_once = None, False

    def __enter__(self):
        self._before = {number: signal.signal(number, self._remember) for number in STOP_SIGNALS}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return self

    def __exit__(self, *problem):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number, frame):
        if self.requested and number == signal.SIGINT:
            os._exit(130)
        self.signal = self.signal or signal.Signals(number)
        if self._at_once:
            raise Stopped

    @contextlib.contextmanager
    def at_once(self):
        """Let a signal abort this block at once, as there is nothing to save yet."""
        self.check()
        with contextlib.suppress(Stopped):
            self._at_once = True
            yield
        self._at_once = False
        self.check()

    def check(self):
        """End the process, if that was asked for, before there is anything to save."""
        if self.requested:
            print(f"stopped by {self.name} before the first iteration")
            sys.exit(self.status)

    def agreed(self, total):
        """Whether a signal asks this task, or another of its team, to stop: then all do, after the same iteration.

        `total` sums a list of numbers over all tasks (Engine.total).
        """
        votes = total([float(self.signal == number) for number in STOP_SIGNALS])
        requested = [number for number, count in zip(STOP_SIGNALS, votes) if count]
        self.signal = requested[0] if requested else self.signal
        return bool(requested)

    @property
    def requested(self):
        return self.signal is not None

    @property
    def name(self):
        return "Ctrl-C" if self.signal == signal.SIGINT else self.signal.name

    @property
    def status(self):
        """130, as shells have it, for Ctrl-C; 75 (EX_TEMPFAIL) asks a batch script to queue the job again."""
        return 130 if self.signal == signal.SIGINT else 75


class Stopped(BaseException):
    """Aborts the block of StopRequest.at_once, past every `except Exception`."""
