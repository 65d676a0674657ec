"""Processes of Python that begin with Keras and TensorFlow imported, which takes a new process three seconds.

A server, one for each process of pytest, imports them and forks for each request. It has computed nothing, so it has no
threads of TensorFlow, which takes its settings in the fork. The fork imports BioGANs itself, as any process does.
"""

import functools
import gc
import importlib
import json
import os
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import types

IMPORTED = ("numpy.random", "PIL.Image", "h5py", "concurrent.futures.process")      # besides Keras
# What Python and libraries read as they start. PYTHONPATH, too, but the fork adds it to its path.
READ_AT_START = re.compile("(?!PYTHONPATH$)(PYTHON|LC_|LANG|LD_|KERAS_BACKEND|TF_(?!NUM_)|OMP_|OPENBLAS_)")
ENVIRONMENT = {}                # of the server: conftest.py fills it


def run(words, cwd=".", env=None, **settings):
    """A subprocess.CompletedProcess with the text that the process has written; for the `settings` see `start`."""
    process = start(words, cwd, env, **settings)
    try:
        out, err = process.communicate(timeout=600)
    finally:
        process.kill()
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def start(words, cwd=".", env=None, stdout=subprocess.PIPE, stderr=subprocess.PIPE, new=False, **settings):
    """A process for these words: a fork if that makes no difference, otherwise a subprocess.Popen with `settings`.

    new   never a fork, for tests of how a process starts, or of what the import of Keras does
    """
    if not (new or settings) and _is_script_or_code(words) and _starts_alike(os.environ if env is None else env):
        return ForkedPython(words, cwd, env, stdout, stderr)
    return subprocess.Popen(words, cwd=cwd, env=env, stdout=stdout, stderr=stderr, text=True, **settings)


def _is_script_or_code(words):
    """Whether this Python is to run a script or code, without options of its own, on a system that `serve` can use."""
    return words[0] == sys.executable and (words[1] == "-c" or str(words[1])[0] != "-") and hasattr(os, "pidfd_open")


def _starts_alike(environment):
    return all(environment.get(name) == ENVIRONMENT.get(name) for name in {*environment, *ENVIRONMENT}
               if READ_AT_START.match(name))


class ForkedPython:
    """What tests use of subprocess.Popen, for the words [sys.executable, script or "-c" and code, …]; streams are text.

    stdout, stderr   subprocess.PIPE, subprocess.STDOUT or an open file
    """

    def __init__(self, words, cwd, env, stdout, stderr):
        self.args, self.returncode, self.stdout, self.stderr = words, None, None, None
        streams = [os.open(os.devnull, os.O_RDONLY)]
        for name, target in (("stdout", stdout), ("stderr", stderr)):
            if target == subprocess.PIPE:
                ours, theirs = os.pipe()
                setattr(self, name, open(ours))         # noqa: SIM115 (open as long as the process runs)
            else:
                theirs = os.dup(streams[-1] if target == subprocess.STDOUT else target.fileno())
            streams.append(theirs)
        self._status, status = socket.socketpair()
        request = {"words": [*map(str, words[1:])], "cwd": os.path.abspath(cwd),
                   "environment": dict(os.environ if env is None else env)}
        with status:
            socket.send_fds(_server()[0], [json.dumps(request).encode()], [status.fileno(), *streams])
        for number in streams:
            os.close(number)
        self.pid = int(self._status.recv(64))

    def poll(self):
        """The exit status, negative for a signal, or None."""
        return self._ended(0)

    def wait(self, timeout=None):
        """The exit status. Raises subprocess.TimeoutExpired."""
        if self._ended(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def _ended(self, seconds):
        if self.returncode is None and select.select([self._status], [], [], seconds)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(self._status.recv(64)))
            self._status.close()
        return self.returncode

    def send_signal(self, number):
        """Send a signal to the process if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """Send SIGKILL if the process runs."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=300):
        """(the rest of stdout, that of stderr), when the process has ended. Raises subprocess.TimeoutExpired."""
        texts, streams = {}, {name: each for name in ("stdout", "stderr") if (each := getattr(self, name))}
        readers = [threading.Thread(target=lambda name, stream: texts.update({name: stream.read()}), args=each,
                                    daemon=True) for each in streams.items()]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader, stream in zip(readers, streams.values(), strict=True):
            reader.join(timeout)
            stream.close()
        return texts.get("stdout"), texts.get("stderr")


@functools.cache
def _server():
    """(the socket for requests to the server of this process, the server). It ends when this process does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        return ours, subprocess.Popen([sys.executable, __file__, str(number)], pass_fds=[number], env=ENVIRONMENT)


def end_server():
    """End the server if there is one, so that its processor time is counted with that of this process."""
    if _server.cache_info().currsize:
        requests, server = _server()
        requests.close()
        server.wait(60)


# ---------------------------------------------------------------------------------------------- the server

def import_libraries():
    """Import Keras as BioGANs does, and other libraries; nothing of BioGANs stays imported."""
    from biogans.system.lazy import keras
    _ = keras.ops
    for name in IMPORTED:
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "biogans"]:
        del sys.modules[name]


def serve(requests):
    """Fork for each request of the socket; returns the request in the fork, and None when the other side is closed."""
    running = {}                # {descriptor of a process: (its number, the socket for its status)}
    while True:
        for ready in select.select([requests, *running], [], [])[0]:
            if ready in running:
                number, status = running.pop(ready)
                os.close(ready)
                with status:
                    status.send(str(os.waitpid(number, 0)[1]).encode())
                continue
            message, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 4)
            if not message:
                return None
            status, *streams = descriptors
            number = os.fork()
            if not number:
                for each in (status, requests.detach(), *running, *(other.detach() for _, other in running.values())):
                    os.close(each)
                for k, each in enumerate(streams):
                    os.dup2(each, k)
                    os.close(each)
                return json.loads(message)
            for each in streams:
                os.close(each)
            status = socket.socket(fileno=status)
            status.send(str(number).encode())
            running[os.pidfd_open(number)] = number, status


def become(words, cwd, environment):
    """Run what Python would run for these words."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for k, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, name)
        stream = open(k, before.mode, encoding=before.encoding, errors=before.errors, closefd=False)    # noqa: SIM115
        stream.reconfigure(line_buffering=name == "stderr")
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    path = [os.path.abspath(entry) for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:1] = ["" if words[0] == "-c" else os.path.dirname(os.path.realpath(words[0])), *path]
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(words[1], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_libraries()
    gc.collect()
    gc.freeze()         # a collection in a fork would copy all that was imported
    if request := serve(socket.socket(fileno=int(sys.argv[1]))):
        become(**request)
