"""Encrypted connections between the tasks of a Slurm step, which nobody else can open, read or imitate.

The first task makes a key and a certificate for this step alone, and writes them, with its port, into a file that only
the user can read. The other tasks connect to this port. Each side proves that it has the key (TLS 1.3), so strangers
are refused on both. Once all tasks are connected, the port is closed and the file removed.
"""

import contextlib
import json
import os
import queue
import re
import secrets
import socket
import ssl
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import InputError

JOIN_SECONDS = 300          # for all tasks to connect: they start together, but their disks may be slow
HANDSHAKE_SECONDS = 10      # of silence, after which a connection is given up
LONGEST_MESSAGE = 1 << 20   # bytes, without the payload
CERTIFICATE = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
               "-subj", "/CN=biogans", "-keyout", "/dev/stdout", "-out", "/dev/stdout")
NO_CHECK_TIME = 0x200000    # X509_V_FLAG_NO_CHECK_TIME: the clocks of nodes differ


class Link:
    """A connection to another task: a socket for each direction, as two threads can't share one of TLS."""

    def __init__(self, incoming: ssl.SSLSocket, outgoing: ssl.SSLSocket) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        for each in (incoming, outgoing):
            each.settimeout(None)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option, seconds in ((socket.TCP_KEEPIDLE, 20), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
                each.setsockopt(socket.IPPROTO_TCP, option, seconds)        # a node without power sends nothing
            each.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def send(self, message: dict[str, Any], payload: Any = b"") -> None:
        """Send a message, which JSON can represent, and the bytes of a `payload`. Raises OSError."""
        payload = memoryview(payload).cast("B")
        self._outgoing.sendall(json.dumps(message | {"bytes": len(payload)}).encode() + b"\n")
        self._outgoing.sendall(payload)

    def messages(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield each message and its payload, until the connection ends. Raises OSError or ValueError."""
        with self._incoming.makefile("rb") as stream:
            while line := stream.readline(LONGEST_MESSAGE):
                message = json.loads(line)
                payload = stream.read(message["bytes"])
                if len(payload) < message["bytes"]:
                    raise ValueError("the connection ended within a message")
                yield message, payload


def connect(folder: Path, rank: int, number: int) -> dict[int, Link]:
    """{rank: Link}: from the first task to all others, or from another one to the first. Raises InputError.

    folder   on a disk that all tasks share; the first task makes it
    """
    path = folder / f".tasks-{os.environ['SLURM_JOB_ID']}.{os.environ['SLURM_STEP_ID']}"
    return {0: _call(path, rank)} if rank else _listen(path, number)


# ---------------------------------------------------------------------------------------------- the first task

def _listen(path, number):
    """{rank: Link} of all other tasks."""
    end, arrived = time.monotonic() + JOIN_SECONDS, queue.SimpleQueue()
    found: dict[tuple[int, str], ssl.SSLSocket] = {}
    wanted = {(rank, way) for rank in range(1, number) for way in ("there", "back")}
    with socket.create_server(("", 0), backlog=1024) as server, _published(path, server) as context:
        threading.Thread(target=_accept, args=(server, context, arrived), daemon=True).start()
        while found.keys() != wanted:
            try:
                who, connection = arrived.get(timeout=max(end - time.monotonic(), 0.1))
            except queue.Empty:
                present = {0, *(rank for rank, _ in found)}
                raise InputError(f"{len(present)} of the step's {number} tasks connected within {JOIN_SECONDS} s: "
                                 f"start them with srun, or one alone with srun --ntasks=1") from None
            if who in wanted:
                found[who] = connection
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)       # ends the thread
    return {rank: Link(found[rank, "there"], found[rank, "back"]) for rank in range(1, number)}


@contextlib.contextmanager
def _published(path, server):
    """Make a certificate and tell it, with the port of `server`, to the other tasks; yields the TLS context."""
    try:
        made = subprocess.run(CERTIFICATE, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.CalledProcessError) as problem:
        raise InputError(f"training in several tasks needs the program openssl, which makes their certificate "
                         f"({problem}): install it, or start one task") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w") as file:
            file.write(f"{server.getsockname()[1]}\n{made}")
        os.rename(partial, path)
        yield _context(ssl.PROTOCOL_TLS_SERVER, path, made)
    finally:
        for each in (partial, path):
            each.unlink(missing_ok=True)


def _accept(server, context, arrived):
    """Put ((rank, way), connection) into the queue `arrived` for each connection, until the server is closed."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            # A stranger who says nothing must not keep the tasks waiting.
            threading.Thread(target=_welcome, args=(connection, context, arrived), daemon=True).start()


def _welcome(connection, context, arrived):
    with contextlib.suppress(OSError, ValueError):
        connection.settimeout(HANDSHAKE_SECONDS)
        secure = context.wrap_socket(connection, server_side=True)
        rank, way = json.loads(secure.recv(100))
        arrived.put(((rank, way), secure))
        return
    connection.close()


# ---------------------------------------------------------------------------------------------- the other tasks

def _call(path, rank):
    """Link to the first task, tried until the time is over."""
    end, host = time.monotonic() + JOIN_SECONDS, first_host()
    while time.monotonic() < end:
        # The file may not be there yet, or still be that of a run of this job that was killed.
        with contextlib.suppress(OSError, ValueError):
            port, context = _read(path)
            there, back = (_open(host, port, context, [rank, way]) for way in ("there", "back"))
            return Link(back, there)
        time.sleep(0.2)
    raise InputError(f"task {rank} can't reach the first one on {host} with the key in {path}: the nodes of a job must "
                     f"reach each other and share this folder, and all tasks must run train.py")


def _read(path):
    """(port, TLS context) from the file of the first task. Raises InputError if another user may have written it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise InputError(f"{path} is not a private file of yours: remove it, and let nobody else write into this "
                             f"folder")
        port, made = file.read().split("\n", 1)
    return int(port), _context(ssl.PROTOCOL_TLS_CLIENT, path, made)


def _open(host, port, context, hello):
    connection = socket.create_connection((host, port), HANDSHAKE_SECONDS)
    try:
        secure = context.wrap_socket(connection)
        secure.sendall(json.dumps(hello).encode())
        return secure
    except OSError:
        connection.close()
        raise


def _context(protocol, path, made):
    """A TLS context that accepts nothing but the certificate and the key in `made`, the content of `path`."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_REQUIRED
    context.verify_flags |= NO_CHECK_TIME
    context.load_cert_chain(path)
    context.load_verify_locations(cadata=made[made.index("-----BEGIN CERT"):])
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    return context


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
