"""Several tasks of a Slurm step that train together, started as Slurm starts them."""

import csv
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from biogans.core.trained import read_weights
from biogans.system import workers
from biogans.system.errors import InputError
from conftest import ROOT, SMALL, guarded

JOBS = itertools.count(os.getpid() * 10)
ENDLESS = ("-e", "1000000", "-M", "1000000", "--save_minutes", "0.02")
COMBINED = "checkpoints/weights.combined_model.{}.h5"


def slurm(rank, number, job):
    """The environment of a task of a step."""
    return {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost",
            "SLURM_STEP_NUM_TASKS": str(number), "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank),
            "SLURM_CPUS_PER_TASK": "1"}


class Step:
    """train.py in `number` tasks; an argument that is a list has one word for each task."""

    def __init__(self, folder, *arguments, number=2, environment=()):
        job = next(JOBS)
        folder.mkdir(exist_ok=True)
        self.folder, self.paths, self.tasks = folder, [folder / f"output.{rank}" for rank in range(number)], []
        for rank, path in enumerate(self.paths):
            words = [word[rank] if isinstance(word, list) else str(word) for word in arguments]
            with open(path, "w") as file:
                self.tasks.append(subprocess.Popen(
                    [sys.executable, ROOT / "bin/train.py", *words], cwd=folder, stdout=file, stderr=subprocess.STDOUT,
                    env=os.environ | slurm(rank, number, job) | dict(environment)))

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


def losses(folder, run):
    with open(folder / f"checkpoints/log.{run}.csv") as file:
        return np.array([(row["critic_loss"], row["generator_loss"]) for row in csv.DictReader(file)], float)


@pytest.mark.parametrize("architecture, algorithm, run", [
    ("DCGAN-starshaped", "WGAN-GP", "DCGAN-starshaped.WGAN-GP.2"), ("DCGAN", "GAN", "DCGAN.GAN.1")])
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
    step.tasks[1].send_signal(signal.SIGTERM)
    assert step.end() == [75, 75]
    stopped = int(step.output(0).split("stopped by SIGTERM after ")[1].split()[0])
    assert read_weights(tmp_path / COMBINED.format("DCGAN.WGAN-GP.1"))[1].iteration == stopped
    assert len(losses(tmp_path, "DCGAN.WGAN-GP.1")) == stopped


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
    assert workers.first_host() == first


def test_missing_tasks(monkeypatch):
    for name, value in slurm(0, 3, next(JOBS)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(workers, "JOIN_SECONDS", 0.2)
    with pytest.raises(InputError, match="1 of the step's 3 tasks connected"), workers.joined():
        pass
    monkeypatch.setenv("SLURM_PROCID", "1")
    with pytest.raises(InputError, match="task 1 can't reach the first one on localhost"), workers.joined():
        pass


GATHER = """
import sys
from biogans.system import workers
with workers.joined() as team:
    print(team.gather(team.rank), file=sys.stderr)
"""


def test_other_clients_at_the_port(monkeypatch):
    """Connections that are no task of this step are closed, and a port in use is skipped."""
    for name, value in slurm(0, 2, next(JOBS)).items():
        monkeypatch.setenv(name, value)
    ports = workers.candidate_ports()
    with socket.create_server(("", ports[0])):
        task = subprocess.Popen([sys.executable, "-c", GATHER], stderr=subprocess.PIPE, text=True)
        for message in (b"GET / HTTP/1.1\r\n\r\n", b'{"step": "1.0", "rank": 1}\n', b"\xff\n", b""):
            end = time.monotonic() + 20
            while time.monotonic() < end:
                try:
                    stranger = socket.create_connection(("localhost", ports[1]), 1)
                    break
                except ConnectionRefusedError:
                    time.sleep(0.1)
            stranger.sendall(message)
            stranger.close()
        monkeypatch.setenv("SLURM_PROCID", "1")
        other = subprocess.run([sys.executable, "-c", GATHER], stderr=subprocess.PIPE, text=True)
    assert other.stderr == "[0, 1]\n" and task.communicate()[1] == "[0, 1]\n" and task.returncode == 0
