"""Keras on JAX, in child processes, as a process has one backend: losses, files and commands agree with TensorFlow."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from biogans.core import checkpoint, models
from biogans.core.engine import Engine
from biogans.core.trained import load_generator
from biogans.system import lazy
from biogans.system.errors import InputError
from conftest import SMALL, TEST_MODULES
from networks import PAIRS, SCHEDULE, batches, images, settings, spec
from test_engine import TWO_DEVICES

pytestmark = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
JAX = {**os.environ, "KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}     # compiles in half the time
FIRST, LAST = 25, 45        # in earlier iterations WGAN takes 100 updates of the critic
Z = np.linspace(-2, 2, 5 * 6, dtype="float32").reshape(5, 6)


def child(code, *arguments, **environment):
    """Standard output of Python code, run in a process with Keras on JAX."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True,
                          env={**JAX, **TEST_MODULES, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


def algorithms(architecture):
    """The algorithms that an architecture is tested with."""
    return [algorithm for each, algorithm in PAIRS if each == architecture]


def built(architecture, algorithm, folder):
    changes = {"GAN": {"num_G_iters": 2, "augment": ("color", "affine", "cutout")}, "RpGAN": SCHEDULE}
    run = Engine(spec(architecture, algorithm), settings(algorithm, **changes.get(algorithm, {})))
    metadata = checkpoint.run_metadata(run.spec, run.settings, images())
    return run, checkpoint.RunPaths(folder, run.spec, algorithm), metadata


def iterated(run, first, last):
    """The losses of iterations first, …, last - 1."""
    data = batches(run.spec.architecture, run.settings)
    return [run.iterate(iteration, data) for iteration in range(first, last)]


def state(run):
    return [variable.numpy() for variables in run.variables.values() for variable in variables]


RESUME = """
import json, sys
from test_backend_jax import *
architecture, start, end = sys.argv[1:]
results = {}
for algorithm in algorithms(architecture):
    run, paths, metadata = built(architecture, algorithm, start)
    checkpoint.restore(paths.combined, run, metadata)
    losses = iterated(run, FIRST, LAST)
    paths = checkpoint.RunPaths(end, run.spec, algorithm)
    checkpoint.save(paths, run, metadata, LAST)
    cells, further = run.generate(Z).tolist(), iterated(run, LAST, LAST + 2)
    whole = state(run)
    checkpoint.restore(paths.combined, run, metadata)
    resumed = iterated(run, LAST, LAST + 2) == further and all(map(np.array_equal, whole, state(run)))
    results[algorithm] = losses, cells, further, resumed
print(json.dumps([results, bool(sys.modules["tensorflow"])]))
"""


@pytest.mark.parametrize("architecture", [
    pytest.param(name, marks=() if name in ("InfoGAN",) else pytest.mark.slow)
    for name in models.ARCHITECTURES])
def test_each_backend_resumes_from_checkpoints_of_the_other(architecture, tmp_path):
    """From a checkpoint of TensorFlow, 20 iterations have the same losses on both, and change every variable alike.

    TensorFlow resumes from the checkpoint that JAX then writes, and generates the same cells. JAX itself resumes from
    it as if it had not stopped, bit for bit, and never imports TensorFlow.
    """
    start, end, on_tensorflow = tmp_path / "start", tmp_path / "end", {}
    start.mkdir()
    end.mkdir()
    for algorithm in algorithms(architecture):
        run, paths, metadata = built(architecture, algorithm, start)
        checkpoint.save(paths, run, metadata, FIRST)
        before = state(run)
        on_tensorflow[algorithm] = run, metadata, before, iterated(run, FIRST, LAST), state(run)
    on_jax, tensorflow = json.loads(child(RESUME, architecture, start, end))
    assert not tensorflow
    for algorithm, (run, metadata, before, losses, after) in on_tensorflow.items():
        losses_on_jax, cells, further, resumed = on_jax[algorithm]
        np.testing.assert_array_less(np.abs(np.subtract(losses_on_jax, losses)), 1e-4 * np.maximum(1, np.abs(losses)))
        paths = checkpoint.RunPaths(end, run.spec, algorithm)
        assert checkpoint.restore(paths.combined, run, metadata) == LAST
        for old, new, other in zip(before, after, state(run), strict=True):
            assert np.linalg.norm(new - other) <= 1e-3 * np.linalg.norm(new - old)
        np.testing.assert_allclose(iterated(run, LAST, LAST + 2), further, rtol=1e-4, atol=1e-6)
        for path in (paths.generator, paths.model):
            np.testing.assert_allclose(load_generator(path).generate(Z), cells, atol=1e-6)
        assert resumed


def test_the_engine_behaves_the_same_on_jax():
    """Tests of test_engine.py that the one above does not repeat."""
    chosen = "average or schedule or flips or its_own_green or precision or bfloat16 or more_devices"
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_engine.py", "-k",
                           chosen], cwd=Path(__file__).parent, capture_output=True, text=True, env=JAX)
    assert done.returncode == 0 and "9 passed" in done.stdout, done.stdout


@pytest.mark.slow
def test_two_devices_of_jax_learn_what_one_does():
    """With statistics of batch normalisation over both devices."""
    two = "--xla_force_host_platform_device_count=2"
    cases = [("DCGAN-separable", "GAN", "affine"), ("DCGAN", "RpGAN")]
    differences = [float(line) for line in child(TWO_DEVICES, json.dumps(cases), XLA_FLAGS=two).splitlines()]
    assert len(differences) == 2 and max(differences) < 1e-5


COMMANDS = """
import sys
from biogans.core import predict, train
assert train.main(["-d", "data", "-m", "DCGAN", "-e", "2", *sys.argv[1:]]) == 0
assert predict.main(["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5", "-e", "-d", "data", "-s", "1"]) == 0
assert not sys.modules["tensorflow"]
"""


def stack(folder):
    with h5py.File(folder / "images" / "stack2.DCGAN.WGAN-GP.h5") as file:
        return file["stack"][()]


@pytest.mark.slow
def test_the_commands_on_jax(data, run):
    """Training and prediction on JAX without TensorFlow; then on TensorFlow, resuming and generating the same cells."""
    folder, weights = data.parent, "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"
    done = subprocess.run([sys.executable, "-c", COMMANDS, *SMALL], cwd=folder, capture_output=True, text=True, env=JAX)
    assert done.returncode == 0, done.stderr
    assert "no GPU found by JAX: running on" in done.stdout or "GPUs (JAX): " in done.stdout
    cells = stack(folder)
    assert run("predict.py", "-i", weights, "-s", "1").returncode == 0
    np.testing.assert_allclose(stack(folder), cells, atol=1e-6)
    done = run("train.py", *SMALL, "-d", "data", "-m", "DCGAN", "-e", "3", "-w")
    assert done.returncode == 0 and "iteration 3/3" in done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [("train.py", "-d", "data"), ("predict.py", "-i", "weights.h5")])
def test_an_unknown_backend(run, data, arguments):
    (data.parent / "weights.h5").touch()
    done = run(*arguments, env={**os.environ, "KERAS_BACKEND": "torch"})
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "KERAS_BACKEND=torch: BioGANs runs on tensorflow or jax" in done.stderr


def test_a_backend_that_is_not_installed(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(InputError, match=r"no jax: install it \(pip install 'biogans\[jax\]'\)"):
        lazy.backend()
