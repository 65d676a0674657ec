"""The tasks of a Slurm step that train together: how they find each other, what they tell each other, how they end.

The first task listens on a port that follows from the job's number; every other one has a connection to it for as long
as it lives. Over these go values that all must have, and how a task ends. One whose connection breaks is lost: the
others, who would wait for it in vain, end at once with status 75, and what was saved stays as it is.
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

from .errors import InputError

JOIN_SECONDS = 300          # for all tasks to be there: they start at about the same time, but not their disks
LONGEST_MESSAGE = 1 << 20
PATIENCE = 2                # seconds in which a mistake of all tasks is told by the first


class Lost(Exception):
    """Another task of the step does not answer."""


@contextlib.contextmanager
def joined():
    """Yield the Team of this step. Of its tasks only the first prints to standard output; all end together.

    Without Slurm, and in a step of one task, that is this process alone, for which nothing changes.
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
            time.sleep(PATIENCE)        # for a connection that breaks, of which more can be said
            team.stop(75, f"another task does not answer ({problem})")
        except BaseException as problem:
            team.leave(problem)
            raise
    team.end()


class Team:
    """The tasks that train together: `number` of them, of which this one is `rank`, counted from 0."""

    def __init__(self, number=1, rank=0):
        self.number, self.rank = number, rank
        self._connections, self._said, self._ended, self._leaving = {}, {}, {}, False

    def part(self, batch_size):
        """The part of a batch that is this task's, as a slice. Raises InputError if it can't be divided."""
        if batch_size % self.number:
            raise InputError(f"a batch of {batch_size} can't be divided by {self.number} tasks: make --batch_size a "
                             f"multiple")
        own = batch_size // self.number
        return slice(self.rank * own, (self.rank + 1) * own)

    def connect(self):
        """Find the other tasks. Raises InputError if some don't come."""
        end = time.monotonic() + JOIN_SECONDS
        found = self._dial(end) if self.rank else self._listen(end)
        for rank, connection in found.items():
            connection.settimeout(None)
            for option, seconds in ((socket.TCP_KEEPIDLE, 20), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
                connection.setsockopt(socket.IPPROTO_TCP, option, seconds)      # a node without power says nothing
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._connections[rank], self._said[rank] = connection, queue.SimpleQueue()
            self._ended[rank] = threading.Event()
        for rank in found:
            threading.Thread(target=self._hear, args=(rank,), daemon=True).start()

    def share(self, value):
        """The first task's `value`, which JSON can hold, in all tasks: they wait for it."""
        if self.rank:
            return self._said[0].get()
        self._say({"value": value})
        return value

    @contextlib.contextmanager
    def first_task_first(self, needed):
        """Let the first task finish this block before the others begin it, if that is `needed`."""
        if needed and self.rank:
            self.share(None)
        yield
        if needed and not self.rank:
            self.share(None)

    def gather(self, value):
        """[`value` of each task], in all tasks. They wait for each other."""
        if self.rank:
            self._say({"value": value})
            return self.share(None)
        return self.share([value, *(self._said[rank].get() for rank in sorted(self._said))])

    def addresses(self):
        """["host:port" for each task], with a port that was free a moment ago."""
        with socket.create_server(("", 0)) as free:
            port = free.getsockname()[1]
        hosts = [_first_host(), *(self._connections[rank].getpeername()[0] for rank in sorted(self._connections))]
        hosts = [hosts[0] if host.startswith("127.") else host for host in hosts]    # on the first task's own node
        ports = self.gather(port)
        return self.share([f"{host}:{port}" for host, port in zip(hosts, ports)])

    def leave(self, problem):
        """Tell the others that this task ends because of an exception, so that they do too."""
        if self.rank and isinstance(problem, (InputError, OSError)):
            time.sleep(PATIENCE)
        self._leaving = True
        self._say({"end": _status(problem)})

    def stop(self, status, message=""):
        """End this process and the other tasks, whatever they wait for: files are old or new ones then, and whole."""
        self._say({"end": status})
        if message:
            print(f"train.py: {message}: stopped; what was saved is kept, go on with -w", file=sys.stderr)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status)

    def end(self):
        """Wait until all tasks have come to the end."""
        self._say({"end": None})
        for ended in self._ended.values():
            ended.wait()

    def _say(self, message):
        for connection in self._connections.values():
            with contextlib.suppress(OSError):      # _hear notices
                connection.sendall(json.dumps(message).encode() + b"\n")

    def _hear(self, rank):
        """Keep what task `rank` says; end this process, unless it ends already, if that is lost or ends too early."""
        with contextlib.suppress(OSError, ValueError), self._connections[rank].makefile("rb") as lines:
            while line := lines.readline(LONGEST_MESSAGE):
                message = json.loads(line)
                if "value" in message:
                    self._said[rank].put(message["value"])
                elif message["end"] is None:
                    self._ended[rank].set()
                    return
                elif not self._leaving:
                    self.stop(message["end"])
        if not self._leaving:
            self.stop(75, f"task {rank} of {self.number} was lost")

    def _listen(self, end):
        """{rank: connection} of the others to this, the first task."""
        found = {}
        with _server() as server:
            while len(found) < self.number - 1:
                server.settimeout(max(end - time.monotonic(), 0.1))
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    raise InputError(f"{len(found) + 1} of the step's {self.number} tasks came in {JOIN_SECONDS} s: "
                                     f"start them with srun, or one alone with srun --ntasks=1") from None
                rank = _greeted(connection, {"step": _step()})
                if rank in range(1, self.number) and rank not in found:
                    found[rank] = connection
                else:
                    connection.close()
        return found

    def _dial(self, end):
        """{0: connection} to the first task."""
        host = _first_host()
        while time.monotonic() < end:
            for port in _ports():
                with contextlib.suppress(OSError):
                    connection = socket.create_connection((host, port), 10)
                    connection.sendall(json.dumps({"step": _step(), "rank": self.rank}).encode() + b"\n")
                    if _line(connection) == {"step": _step()}:
                        return {0: connection}
                    connection.close()
            time.sleep(0.2)
        raise InputError(f"task {self.rank} can't reach the first one on {host}, ports {_ports()}: the nodes of a job "
                         f"must reach each other, and all tasks run train.py")


def _greeted(connection, answer):
    """The rank that a new connection says it has, answered; None if it is no task of this step."""
    connection.settimeout(10)
    hello = _line(connection)
    if not isinstance(hello, dict) or hello.get("step") != answer["step"]:
        return None
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(answer).encode() + b"\n")
    return hello.get("rank")


def _line(connection):
    """What a connection says in its first line, of at most 1000 bytes; None if that is no JSON."""
    said = b""
    with contextlib.suppress(OSError, ValueError):
        while not said.endswith(b"\n") and len(said) < 1000 and (byte := connection.recv(1)):
            said += byte
        return json.loads(said)


def _server():
    """A socket that listens on the first of the step's ports that is free."""
    for port in _ports():
        try:
            return socket.create_server(("", port), backlog=1024)
        except OSError as problem:
            if problem.errno != errno.EADDRINUSE:
                raise
    raise InputError(f"none of the ports {_ports()} is free on this node: submit the job again")


def _ports():
    """Where the first task may listen: other ports for other steps, below those that systems give out."""
    job, step = (int(number) for number in _step().split("."))
    return [20000 + (7 * job + step + 101 * k) % 10000 for k in range(5)]


def _step():
    return f"{os.environ['SLURM_JOB_ID']}.{os.environ['SLURM_STEP_ID']}"


def _first_host():
    """The first node of the step, as the others can reach it; "n[1-2],m3" is Slurm's way to write n1, n2 and m3.

    Where nodes have names in Slurm alone, the first one is where srun runs, as in batch jobs.
    """
    name = re.sub(r"\[(\w+)[^]]*\]", r"\1", os.environ["SLURM_STEP_NODELIST"]).split(",")[0]
    try:
        socket.getaddrinfo(name, None)
        return name
    except OSError:
        return os.environ.get("SLURM_LAUNCH_NODE_IPADDR", name)


def _status(problem):
    """The exit status of a process that such an exception ends, as launch.run has it."""
    if isinstance(problem, SystemExit):
        return problem.code
    return 2 if isinstance(problem, (InputError, OSError)) else 1
