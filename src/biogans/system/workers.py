"""The tasks of a Slurm step that train together: how they exchange values and sums, and how they end.

Every task stays connected to the first one (links.py). If a connection breaks, its task is lost: the others, which
would wait for it in vain, end at once with status 75, and saved files stay as they are.
"""

import contextlib
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import links
from .errors import InputError

PATIENCE = 2                # seconds for the first task to report an error that all tasks have


@contextlib.contextmanager
def joined(folder: Path) -> Iterator["Team"]:
    """Yield the Team of this step. Only its first task prints to standard output, and all tasks end together.

    Without Slurm, or in a step with a single task, the team is this process alone, and nothing listens.

    folder   on a disk that all tasks share
    """
    team = Team(int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)), int(os.environ.get("SLURM_PROCID", 0)))
    if team.number == 1:
        yield team
        return
    team.connect(folder)
    with contextlib.ExitStack() as quiet:
        if team.rank:
            quiet.enter_context(contextlib.redirect_stdout(quiet.enter_context(open(os.devnull, "w"))))
        try:
            yield team
        except BaseException as problem:
            team.leave(problem)
            raise
    team.end()


class Team:
    """The tasks that train together.

    number, rank    how many they are, and which of them this one is, counted from 0
    """

    def __init__(self, number: int = 1, rank: int = 0) -> None:
        self.number, self.rank, self._leaving = number, rank, False
        self._links: dict[int, links.Link] = {}         # to other tasks, by rank, and likewise:
        self._received: dict[int, queue.SimpleQueue] = {}
        self._ended: dict[int, threading.Event] = {}

    def part(self, batch_size: int) -> slice:
        """This task's part of a batch. Raises InputError if the batch can't be divided equally."""
        if batch_size % self.number:
            raise InputError(f"a batch of {batch_size} can't be divided by {self.number} tasks: make --batch_size a "
                             f"multiple")
        own = batch_size // self.number
        return slice(self.rank * own, (self.rank + 1) * own)

    def connect(self, folder: Path) -> None:
        """Connect to the other tasks. Raises InputError if some of them are missing."""
        self._links = links.connect(folder, self.rank, self.number)
        for rank in self._links:
            self._received[rank], self._ended[rank] = queue.SimpleQueue(), threading.Event()
        for rank in self._links:
            threading.Thread(target=self._receive, args=(rank,), daemon=True).start()

    def share(self, value: Any) -> Any:
        """Return the first task's `value`, which JSON can represent, in all tasks; they wait for it."""
        if self.rank:
            return self._next(0, "value")[0]
        self._send({"value": value})
        return value

    @contextlib.contextmanager
    def first_task_first(self, needed: bool) -> Iterator[None]:
        """Let the first task finish this block before the others begin it, if that is `needed`."""
        if needed and self.rank:
            self.share(None)
        yield
        if needed and not self.rank:
            self.share(None)

    def gather(self, value: Any) -> list[Any]:
        """Return the `value` of each task, by rank, in all tasks; they wait for each other."""
        if self.rank:
            self._send({"value": value})
            return self.share(None)
        return self.share([value, *(self._next(rank, "value")[0] for rank in sorted(self._links))])

    def sum(self, values: np.ndarray, name: str = "") -> np.ndarray:
        """Sum float32 `values` of any shape over all tasks, which call this in the same order with the same names."""
        if self.rank:
            self._send({"sum": name}, np.ascontiguousarray(values))
            return self._array(0, name, values)
        total = np.array(values)
        for rank in sorted(self._links):
            total += self._array(rank, name, values)
        self._send({"sum": name}, total)
        return total

    def leave(self, problem: BaseException) -> None:
        """Make the other tasks end too, because this one ends with an exception."""
        if self.rank and isinstance(problem, (InputError, OSError)):
            time.sleep(PATIENCE)
        self._leaving = True
        self._send({"end": _status(problem)})

    def stop(self, status: int, message: str = "") -> None:
        """End this process and the other tasks at once, whatever they wait for. All files are complete, old or new."""
        self._leaving = True        # the others' answers must not end this process before it has said why
        self._send({"end": status})
        if message:
            print(f"train.py: {message}: stopped; saved files are kept: resume with -w", file=sys.stderr)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status)

    def end(self) -> None:
        """Wait until all tasks have finished."""
        self._send({"end": None})
        for ended in self._ended.values():
            ended.wait()

    def _send(self, message, payload=b""):
        """Send a message to all connected tasks."""
        for link in self._links.values():
            with contextlib.suppress(OSError):      # _receive notices a broken connection
                link.send(message, payload)

    def _next(self, rank, kind):
        """(content, payload) of the next message from task `rank`, which must be of this kind."""
        message, payload = self._received[rank].get()
        if kind not in message:
            self.stop(1, f"task {rank} sent {list(message)} where {kind!r} was due")
        return message[kind], payload

    def _array(self, rank, name, like):
        """The array that task `rank` sends for the sum of this name."""
        theirs, payload = self._next(rank, "sum")
        if theirs != name or len(payload) != like.nbytes:
            self.stop(1, f"task {rank} sums {theirs!r} where {name!r} is due")
        return np.frombuffer(payload, like.dtype).reshape(like.shape)

    def _receive(self, rank):
        """Store what task `rank` sends; end this process, unless it ends anyway, if the task fails."""
        with contextlib.suppress(OSError, ValueError):
            for message, payload in self._links[rank].messages():
                if "end" not in message:
                    self._received[rank].put((message, payload))
                elif message["end"] is None:
                    self._ended[rank].set()
                    return
                elif not self._leaving:
                    self.stop(message["end"])
        if not self._leaving:
            self.stop(75, f"task {rank} of {self.number} was lost")


def _status(problem):
    """The exit status of a process that ends with this exception, as in launch.run."""
    if isinstance(problem, SystemExit):
        return problem.code
    return 2 if isinstance(problem, (InputError, OSError)) else 1
