"""The tasks of a Slurm step that train together: how they connect, exchange values, and end.

The first task listens on a port that follows from the job's number, and every other task stays connected to it. Through
these connections the tasks exchange values, and report how they end. If a connection breaks, its task is lost: the
others, which would wait for it in vain, end at once with status 75, and saved files stay as they are.
"""

import contextlib
import errno
import json
import os
import queue
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from .errors import InputError

JOIN_SECONDS = 300          # for all tasks to connect: they start together, but their disks may be slow
LONGEST_MESSAGE = 1 << 20   # bytes
PATIENCE = 2                # seconds for the first task to report an error that all tasks have


class Lost(Exception):
    """Another task of the step does not answer."""


@contextlib.contextmanager
def joined() -> Iterator["Team"]:
    """Yield the Team of this step. Only its first task prints to standard output, and all tasks end together.

    Without Slurm, or in a step with a single task, the team is this process alone.
    """
    team = Team(int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)), int(os.environ.get("SLURM_PROCID", 0)))
    if team.number == 1:
        yield team
        return
    team.connect()
    with contextlib.ExitStack() as quiet:
        if team.rank:
            quiet.enter_context(contextlib.redirect_stdout(quiet.enter_context(open(os.devnull, "w"))))
        try:
            yield team
        except Lost as problem:
            time.sleep(PATIENCE)        # a broken connection would name the task
            team.stop(75, f"another task does not answer ({problem})")
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
        self._connections: dict[int, socket.socket] = {}        # of the other tasks, by rank, and likewise:
        self._received: dict[int, queue.SimpleQueue] = {}
        self._ended: dict[int, threading.Event] = {}

    def part(self, batch_size: int) -> slice:
        """This task's part of a batch. Raises InputError if the batch can't be divided equally."""
        if batch_size % self.number:
            raise InputError(f"a batch of {batch_size} can't be divided by {self.number} tasks: make --batch_size a "
                             f"multiple")
        own = batch_size // self.number
        return slice(self.rank * own, (self.rank + 1) * own)

    def connect(self) -> None:
        """Connect to the other tasks. Raises InputError if some of them are missing."""
        end = time.monotonic() + JOIN_SECONDS
        found = self._dial(end) if self.rank else self._listen(end)
        for rank, connection in found.items():
            connection.settimeout(None)
            for option, seconds in ((socket.TCP_KEEPIDLE, 20), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
                connection.setsockopt(socket.IPPROTO_TCP, option, seconds)      # a node without power sends nothing
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._connections[rank], self._received[rank] = connection, queue.SimpleQueue()
            self._ended[rank] = threading.Event()
        for rank in found:
            threading.Thread(target=self._receive, args=(rank,), daemon=True).start()

    def share(self, value: Any) -> Any:
        """Return the first task's `value`, which JSON can represent, in all tasks; they wait for it."""
        if self.rank:
            return self._received[0].get()
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
        return self.share([value, *(self._received[rank].get() for rank in sorted(self._received))])

    def addresses(self) -> list[str]:
        """"host:port" of each task, with a port that was free a moment ago."""
        with socket.create_server(("", 0)) as free:
            port = free.getsockname()[1]
        hosts = [first_host(), *(self._connections[rank].getpeername()[0] for rank in sorted(self._connections))]
        hosts = [hosts[0] if host.startswith("127.") else host for host in hosts]    # on the first task's own node
        ports = self.gather(port)
        # Only the first task knows all hosts; share() replaces the shorter lists of the others.
        return self.share([f"{host}:{port}" for host, port in zip(hosts, ports, strict=False)])

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

    def _send(self, message):
        """Send a message to all connected tasks."""
        for connection in self._connections.values():
            with contextlib.suppress(OSError):      # _receive notices a broken connection
                connection.sendall(json.dumps(message).encode() + b"\n")

    def _receive(self, rank):
        """Store the values that task `rank` sends; end this process, unless it ends anyway, if the task fails."""
        with contextlib.suppress(OSError, ValueError), self._connections[rank].makefile("rb") as lines:
            while line := lines.readline(LONGEST_MESSAGE):
                message = json.loads(line)
                if "value" in message:
                    self._received[rank].put(message["value"])
                elif message["end"] is None:
                    self._ended[rank].set()
                    return
                elif not self._leaving:
                    self.stop(message["end"])
        if not self._leaving:
            self.stop(75, f"task {rank} of {self.number} was lost")

    def _listen(self, end):
        """{rank: connection} of all other tasks, as the first one accepts them until the time `end`."""
        found: dict[int, socket.socket] = {}
        with _server() as server:
            while len(found) < self.number - 1:
                server.settimeout(max(end - time.monotonic(), 0.1))
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    raise InputError(f"{len(found) + 1} of the step's {self.number} tasks connected within "
                                     f"{JOIN_SECONDS} s: start them with srun, or one alone with srun --ntasks=1"
                                     ) from None
                rank = _greeted(connection, {"step": _step()})
                if rank in range(1, self.number) and rank not in found:
                    found[rank] = connection
                else:
                    connection.close()
        return found

    def _dial(self, end):
        """{0: connection} to the first task, tried until the time `end`."""
        host = first_host()
        while time.monotonic() < end:
            for port in candidate_ports():
                with contextlib.suppress(OSError):
                    connection = socket.create_connection((host, port), 10)
                    connection.sendall(json.dumps({"step": _step(), "rank": self.rank}).encode() + b"\n")
                    if _first_line(connection) == {"step": _step()}:
                        return {0: connection}
                    connection.close()
            time.sleep(0.2)
        raise InputError(f"task {self.rank} can't reach the first one on {host}, ports {candidate_ports()}: the nodes "
                         f"of a job must reach each other, and all tasks must run train.py")


def _greeted(connection, answer):
    """Answer a new connection. Returns the rank that it states, None if it is no task of this step."""
    connection.settimeout(10)
    hello = _first_line(connection)
    if not isinstance(hello, dict) or hello.get("step") != answer["step"]:
        return None
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(answer).encode() + b"\n")
    return hello.get("rank")


def _first_line(connection):
    """The JSON value in the first line from a connection, of at most 1000 bytes; None if there is none."""
    received = b""
    with contextlib.suppress(OSError, ValueError):
        while not received.endswith(b"\n") and len(received) < 1000 and (byte := connection.recv(1)):
            received += byte
        return json.loads(received)


def _server():
    """A socket that listens on the first free one of the step's ports. Raises InputError if none is free."""
    for port in candidate_ports():
        try:
            return socket.create_server(("", port), backlog=1024)
        except OSError as problem:
            if problem.errno != errno.EADDRINUSE:
                raise
    raise InputError(f"none of the ports {candidate_ports()} is free on this node: submit the job again")


def candidate_ports() -> list[int]:
    """Ports on which the first task may listen: different for each step, and below those that systems assign."""
    job, step = (int(number) for number in _step().split("."))
    return [20000 + (7 * job + step + 101 * k) % 10000 for k in range(5)]


def _step():
    """"<job>.<step>" of Slurm."""
    return f"{os.environ['SLURM_JOB_ID']}.{os.environ['SLURM_STEP_ID']}"


def first_host() -> str:
    """The first node of the step, under a name or address by which the others can reach it.

    In Slurm's notation "n[1-2],m3" stands for n1, n2 and m3. If only Slurm knows the nodes' names, the first node is
    the one on which srun runs, as in batch jobs.
    """
    name = re.sub(r"\[(\w+)[^]]*\]", r"\1", os.environ["SLURM_STEP_NODELIST"]).split(",")[0]
    try:
        socket.getaddrinfo(name, None)
        return name
    except OSError:
        return os.environ.get("SLURM_LAUNCH_NODE_IPADDR", name)


def _status(problem):
    """The exit status of a process that ends with this exception, as in launch.run."""
    if isinstance(problem, SystemExit):
        return problem.code
    return 2 if isinstance(problem, (InputError, OSError)) else 1
