"""Shared by the tests: small images and networks, real images if there are any, and commands run as users run them."""

import contextlib
import gc
import os
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

import forked_python
from quick_training import quick_training

# In tests as in the commands that they run: more threads would spin as they wait, on cores that other processes use.
for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(variable, "1")
TWO_THREADS = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "2")
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"         # `cp $BG_SRC/* .` fails on folders
sys.dont_write_bytecode = True
for variable in ("BG_HOME", "BG_SRC"):              # a loaded module must not change what is tested
    os.environ.pop(variable, None)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# In CI the same examples for every change; nowhere a limit of time, which depends on the machine.
hypothesis.settings.register_profile("here", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("here")

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = Path(os.environ.get("BG_REAL_DATA", ROOT.parent / "shared" / "data"))
SMALL = ("--ngf", "4", "--ndf", "4", "-z", "6", "-b", "4", "--num_D_iters", "2")     # a network that trains in moments
# Of half a minute and more of processor time.
LONGEST = ("test_engine", "test_checkpoint", "test_explore", "test_train", "test_evaluate", "test_launch", "test_page",
           "test_durability", "test_codes", "test_surroundings", "test_workers", "test_predict", "test_preprocess",
           "test_bad_input", "test_backend_jax", "test_docs", "test_benchmarks", "test_saliency", "test_usefulness",
           "test_visualize", "test_label", "test_options")
# For processes in which tests import their own modules.
TEST_MODULES = {"PYTHONPATH": os.pathsep.join(str(ROOT / folder)
                                              for folder in ("src", "tests", "tests/support", "tests/core"))}


def pytest_collection_modifyitems(items):
    """Put the longest files first, so that all workers of pytest-xdist end at about the same time."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_collection_finish():
    forked_python.ENVIRONMENT.update(os.environ)        # with what modules set that tests import


def pytest_sessionfinish():
    forked_python.end_server()


@pytest.fixture
def real_cells():
    """The folder of real cells from an imaging flow cytometer (Blasi et al. 2016)."""
    folder = REAL_DATA / "ifc_cellcycle" / "images"
    if not folder.is_dir():
        pytest.skip(f"no real images in {REAL_DATA}: set BG_REAL_DATA")
    return folder


@pytest.fixture(autouse=True, scope="module")
def nothing_kept():
    """Graphs of ended trainings go after each file: cycles of few objects, too few for Python to collect them soon."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def nothing_told():
    """Lines that a process prints once are printed once in each test."""
    from biogans.system import progress
    progress.told.clear()


def write_images(folder, factors=("Alp14", "Tea1"), number=12, size=(16, 24), seed=0):
    """Write RGB PNGs of blobs (R: the marker, G: the factor, B: 0), a folder of them per factor; returns `folder`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size[0], :size[1]]
    for k, factor in enumerate(factors):
        (folder / factor).mkdir(parents=True)
        for n in range(number):
            centre = rng.uniform(0.3, 0.7, 2) * size
            blob = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (8 + 8 * k))
            pixels = np.zeros((*size, 3), np.uint8)
            pixels[..., 0] = 255 * blob ** 0.3
            pixels[..., 1] = 255 * blob
            Image.fromarray(pixels).save(folder / factor / f"cell{n:03d}.png")
    return folder


def write_png(path, width, height, bits, kind, rows):
    """A PNG from its specification: the bytes `rows` need not be as many as its header claims."""
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
                     + chunk(b"IEND", b""))


def write_huge_png(path):
    """Write a PNG of a few bytes that claims 40000x40000 pixels: 4.8 GB of memory."""
    write_png(path, 40000, 40000, 8, 2, bytes(1000))


@pytest.fixture
def data(tmp_path):
    """A data folder as users have it: data/LIN_train and data/LIN_test, two factors, 16x24 pixels."""
    write_images(tmp_path / "data" / "LIN_train")
    write_images(tmp_path / "data" / "LIN_test", seed=1)
    return tmp_path / "data"


@pytest.fixture
def here(tmp_path, monkeypatch, data):
    """The working directory of a user whose folder holds `data`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quick_runs():
    """Trainings in this process compile nothing and learn nothing."""
    with quick_training():
        yield


@pytest.fixture(scope="module")
def infogan_folder(tmp_path_factory):
    """A user's folder with the files of an InfoGAN and a DCGAN for round cells, which have learnt nothing."""
    from infogan_runs import train_both
    folder = tmp_path_factory.mktemp("codes")
    with quick_training():
        train_both(folder)
    return folder


@pytest.fixture
def in_infogan_folder(infogan_folder, monkeypatch):
    """The same folder as the working directory."""
    monkeypatch.chdir(infogan_folder)
    return infogan_folder


@pytest.fixture
def run(tmp_path):
    """A function that runs a command in the test's folder: run("train.py", "-d", "data") -> CompletedProcess.

    A name without .py is a command of biogans: run("evaluate", "-d", "data"). The settings are forked_python.start's.
    """
    def command(name, *arguments, cwd=tmp_path, **settings):
        return forked_python.run([*typed(name), *map(str, arguments)], cwd, **settings)
    return command


@pytest.fixture(params=["environment-modules", "Lmod"])
def module(request, tmp_path):
    """A module_shell.ModuleShell: module("module load biogans; …")."""
    from module_shell import ModuleShell
    return ModuleShell(request.param, tmp_path)


@pytest.fixture
def container(tmp_path):
    """A function that starts the container: container("run", "train.py", "-h"). BG_APPTAINER_OPTIONS: -u, --nv, ..."""
    image, apptainer = os.environ.get("BG_SIF"), shutil.which("apptainer") or shutil.which("singularity")
    if not (image and apptainer):
        pytest.skip("no Apptainer on this machine, or no container: set BG_SIF to one built with singularity.def")

    def start(action, *arguments, **environment):
        options = os.environ.get("BG_APPTAINER_OPTIONS", "").split()
        return subprocess.run([apptainer, action, *options, "--bind", tmp_path, "--pwd", tmp_path, image, *arguments],
                              capture_output=True, text=True, timeout=300, env={**os.environ, **environment})
    return start


@contextlib.contextmanager
def guarded(seconds=60):
    """Fail if this block hangs, instead of waiting forever: a guard, not a measure of speed."""
    def hangs(number, frame):
        raise AssertionError(f"this hangs: it did not end within {seconds} s")
    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def typed(name):
    """The words that start a command: its Python, its script, and for a command of biogans its name."""
    return [sys.executable, *([ROOT / "bin" / name] if name.endswith(".py") else [ROOT / "bin/biogans", name])]


def train_small_networks(folder, architectures=("DCGAN-starshaped", "DCGAN"), training=12, held_out=12):
    """Write images to folder/data, and files of networks for them that have learnt nothing, as in a user's folder."""
    from biogans.core import train
    write_images(folder / "data" / "LIN_train", number=training)
    write_images(folder / "data" / "LIN_test", seed=1, number=held_out)
    with contextlib.chdir(folder), quick_training():
        for architecture in architectures:
            train.main([*SMALL, "-d", "data", "-m", architecture, "-e", "2"])
