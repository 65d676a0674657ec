"""Several tasks of a Slurm step that train together, started as Slurm starts them."""

import contextlib
import csv
import itertools
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import forked_python
from biogans.core.trained import read_weights
from biogans.system import links, workers
from biogans.system.errors import InputError
from conftest import ROOT, SMALL, guarded

JOBS = itertools.count(os.getpid() * 10)
ENDLESS = ("-e", "1000000", "-M", "1000000", "--save_minutes", "0.02")
COMBINED = "checkpoints/weights.combined_model.{}.h5"


def slurm(rank, number, job):
    """The environment of a task of a step."""
    return {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost",
            "SLURM_STEP_NUM_TASKS": str(number), "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank),
            "SLURM_CPUS_PER_TASK": "1", "TF_NUM_INTEROP_THREADS": "2"}      # sums meet others that are ready


class Step:
    """train.py in `number` tasks; an argument that is a list has one word for each task."""

    def __init__(self, folder, *arguments, number=2, environment=()):
        job = next(JOBS)
        folder.mkdir(exist_ok=True)
        self.folder, self.paths, self.tasks = folder, [folder / f"output.{rank}" for rank in range(number)], []
        for rank, path in enumerate(self.paths):
            words = [word[rank] if isinstance(word, list) else str(word) for word in arguments]
            with open(path, "w") as file:
                self.tasks.append(forked_python.start(
                    [sys.executable, ROOT / "bin/train.py", *words], folder,
                    os.environ | slurm(rank, number, job) | dict(environment), file, subprocess.STDOUT))

    def wait_for(self, text):
        while text not in self.output(0):
            assert self.tasks[0].poll() is None, self.output(0)
            time.sleep(0.1)

    def output(self, rank):
        return self.paths[rank].read_text()

    def end(self, seconds=280):
        """Wait for all tasks, and return their exit statuses."""
        try:
            return [task.wait(seconds) for task in self.tasks]
        finally:
            for task in self.tasks:
                task.kill()


def listening(pid):
    """Ports on which a process accepts connections."""
    sockets = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    lines = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()]
    return [int(line[1].split(":")[1], 16) for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets]


def losses(folder, run):
    with open(folder / f"checkpoints/log.{run}.csv") as file:
        return np.array([(row["critic_loss"], row["generator_loss"]) for row in csv.DictReader(file)], float)


@pytest.mark.parametrize("architecture, algorithm, run", [
    ("DCGAN-starshaped", "WGAN-GP", "DCGAN-starshaped.WGAN-GP.2"),
    pytest.param("DCGAN", "GAN", "DCGAN.GAN.1", marks=pytest.mark.slow)])
def test_two_tasks_learn_what_one_does(tmp_path, data, run, architecture, algorithm):
    """The losses agree to 1e-4 with the same global batch; only the first task prints and writes anything."""
    arguments = (*SMALL, "-d", data, "-m", architecture, "-a", algorithm, "--num_G_iters", 2, "-e", 4)
    one, two = Step(tmp_path / "one", *arguments, number=1), Step(tmp_path / "two", *arguments)
    assert one.end() == [0] and two.end() == [0, 0], one.output(0) + two.output(0)
    np.testing.assert_allclose(losses(two.folder, run), losses(one.folder, run), rtol=1e-4, atol=1e-4)
    assert "2 tasks share each batch of 4" in two.output(0) and "tasks" not in one.output(0)
    # Older versions of TensorFlow always report the start of its server.
    assert not [line for line in two.output(1).splitlines() if not re.match("I0000 |WARNING: All log messages", line)]
    grids = [Image.open(step.folder / f"images/fake_samples.{run}.4.png") for step in (one, two)]
    assert grids[0].size == grids[1].size


@pytest.mark.slow
def test_resuming_in_two_tasks(tmp_path, data):
    """2 iterations and 2 more equal 4, bit for bit."""
    arguments = (*SMALL, "-d", data, "-m", "DCGAN", "--resume")
    for folder, iterations in (("whole", 4), ("halves", 2), ("halves", 4)):
        step = Step(tmp_path / folder, *arguments, "-e", iterations)
        assert step.end() == [0, 0], step.output(0) + step.output(1)
    assert "resuming from" in step.output(0) and "iteration 2\n" in step.output(0)
    (expected, _), (arrays, metadata) = (read_weights(tmp_path / folder / COMBINED.format("DCGAN.WGAN-GP.1"))
                                      for folder in ("whole", "halves"))
    assert metadata.iteration == 4 and all(np.array_equal(arrays[name], expected[name]) for name in expected)


def test_a_signal_to_one_task_stops_all(tmp_path, data):
    """After the same iteration, which is saved, and with the exit status that makes a batch script requeue the job."""
    step = Step(tmp_path, *SMALL, "-d", data, "-m", "DCGAN", *ENDLESS)
    step.wait_for("iteration ")
    assert not any(listening(task.pid) for task in step.tasks) and not list(tmp_path.rglob(".tasks*"))
    step.tasks[1].send_signal(signal.SIGTERM)
    assert step.end() == [75, 75]
    stopped = int(step.output(0).split("stopped by SIGTERM after ")[1].split()[0])
    assert read_weights(tmp_path / COMBINED.format("DCGAN.WGAN-GP.1"))[1].iteration == stopped
    assert len(losses(tmp_path, "DCGAN.WGAN-GP.1")) == stopped


def test_a_single_task_listens_nowhere(tmp_path, data):
    step = Step(tmp_path, *SMALL, "-d", data, "-m", "DCGAN", *ENDLESS, number=1)
    step.wait_for("iteration ")
    assert not listening(step.tasks[0].pid)
    step.tasks[0].kill()
    assert step.end() == [-signal.SIGKILL]


def test_a_lost_task_ends_the_others(tmp_path, data):
    """At once, with status 75, and the last checkpoint is complete."""
    step = Step(tmp_path, *SMALL, "-d", data, "-m", "DCGAN", "-b", "6", *ENDLESS, number=3)
    step.wait_for("iteration ")
    combined = tmp_path / COMBINED.format("DCGAN.WGAN-GP.1")
    while not combined.exists():
        time.sleep(0.1)
    step.tasks[1].kill()
    with guarded():
        assert step.end() == [75, -signal.SIGKILL, 75]
    assert "task 1 of 3 was lost" in step.output(0)
    assert read_weights(combined)[1].iteration > 0


@pytest.mark.parametrize("arguments, words", [
    (("-d", ["data", "missing"]), "missing"),
    (("-d", "missing"), "missing"),
    (("-d", "data", "-b", "5"), "a batch of 5 can't be divided by 2 tasks"),
    (("-d", "data", "-s", ["1", "2"]), "tasks 1 have other images or options than task 0"),
    (("-d", "data", "-g", "2"), "leave out -g")])
def test_a_mistake_ends_all_tasks(tmp_path, data, arguments, words):
    """Also a mistake of a single task, for which the others do not wait; it is reported once, in one line."""
    step = Step(tmp_path, *SMALL, *arguments)
    assert step.end() == [2, 2]
    lines = [line for rank in (0, 1) for line in step.output(rank).splitlines() if line.startswith("train.py")]
    assert len(lines) == 1 and words in lines[0], lines


def test_jax_trains_in_one_task(tmp_path, data):
    pytest.importorskip("jax")
    step = Step(tmp_path, *SMALL, "-d", data, environment={"KERAS_BACKEND": "jax"})
    assert step.end() == [2, 2] and "KERAS_BACKEND=jax trains in one task only" in step.output(0)


@pytest.mark.parametrize("nodes, first", [("n1", "n1"), ("n[1-2,5]", "n1"), ("rack[03-04]n[07,09],m1", "rack03n07"),
                                          ("a,b[1-2]", "a")])
def test_the_first_node(monkeypatch, nodes, first):
    monkeypatch.setenv("SLURM_STEP_NODELIST", nodes)
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, port: [])
    assert links.first_host() == first


def test_missing_tasks(monkeypatch, tmp_path):
    """The first task removes its key, also then."""
    for name, value in slurm(0, 3, next(JOBS)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(links, "JOIN_SECONDS", 0.5)
    with pytest.raises(InputError, match="1 of the step's 3 tasks connected"), workers.joined(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("SLURM_PROCID", "1")
    with pytest.raises(InputError, match="task 1 can't reach the first one on localhost"), workers.joined(tmp_path):
        pass


GATHER = """
import sys
from pathlib import Path
from biogans.system import workers
with workers.joined(Path.cwd()) as team:
    print(team.gather(team.rank), file=sys.stderr)
"""


@pytest.fixture
def first_task(monkeypatch, tmp_path):
    """The first of two tasks, which waits for the second: (process, path of its key). This process is the second."""
    for name, value in slurm(0, 2, next(JOBS)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    task = subprocess.Popen([sys.executable, "-c", GATHER], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    path = tmp_path / f".tasks-{os.environ['SLURM_JOB_ID']}.0"
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    monkeypatch.setenv("SLURM_PROCID", "1")
    yield task, path
    task.kill()


def test_strangers_can_neither_join_nor_delay_the_tasks(first_task, tmp_path):
    """Without the key: in silence, with requests, and with TLS and a certificate of their own."""
    task, path = first_task
    assert path.stat().st_mode & 0o777 == 0o600
    port, own = int(path.read_text().split()[0]), tmp_path / "own.pem"
    own.write_text(subprocess.run(links.CERTIFICATE, capture_output=True, text=True).stdout)
    silent = [socket.create_connection(("localhost", port)) for _ in range(20)]
    for message in (b"GET / HTTP/1.1\r\n\r\n", b'[1, "there"]\n', b"\xff" * 100000):
        with socket.create_connection(("localhost", port)) as stranger:
            stranger.sendall(message)
    for certificate in (None, own):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(certificate)
        with pytest.raises(OSError), context.wrap_socket(socket.create_connection(("localhost", port))) as stranger:
            stranger.sendall(b'[1, "there"]')
            assert stranger.recv(1) == b"welcome"       # TLS 1.3 tells a client that it is refused when it reads
    other = subprocess.run([sys.executable, "-c", GATHER], cwd=tmp_path, stderr=subprocess.PIPE, text=True, timeout=30)
    assert other.stderr == "[0, 1]\n" and task.communicate()[1] == "[0, 1]\n" and task.returncode == 0
    assert len(silent) == 20 and not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")
def test_another_user_can_neither_read_the_key_nor_plant_one(first_task, tmp_path, monkeypatch):
    task, path = first_task
    os.chmod(tmp_path, 0o777)
    read = subprocess.run(["cat", path], user=3001, group=3001, extra_groups=[], capture_output=True)
    assert read.returncode == 1 and b"Permission denied" in read.stderr
    monkeypatch.setattr(links, "JOIN_SECONDS", 0.5)
    planted = path.read_text()
    path.unlink()
    for owner, mode in ((3001, 0o600), (os.geteuid(), 0o644)):
        path.write_text(planted)
        os.chown(path, owner, owner)
        path.chmod(mode)
        with pytest.raises(InputError, match="not a private file of yours"), workers.joined(tmp_path):
            pass
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(InputError, match="not a private file of yours"), workers.joined(tmp_path):
        pass


def test_the_first_task_is_no_impostor(first_task, tmp_path, monkeypatch):
    """Who listens at its port without its key is not believed, and learns nothing."""
    task, path = first_task
    task.kill()
    own = tmp_path / "own.pem"
    own.write_text(subprocess.run(links.CERTIFICATE, capture_output=True, text=True).stdout)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    with socket.create_server(("localhost", 0)) as server:
        path.write_text(re.sub(r"^\d+", str(server.getsockname()[1]), path.read_text()))
        monkeypatch.setattr(links, "JOIN_SECONDS", 3)
        heard = []

        def impersonate():
            with contextlib.suppress(OSError):
                heard.append(context.wrap_socket(server.accept()[0], server_side=True).recv(100))
        threading.Thread(target=impersonate, daemon=True).start()
        with pytest.raises(InputError, match="can't reach the first one"), workers.joined(tmp_path):
            pass
    assert not heard
