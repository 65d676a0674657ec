"""What the tests share: small networks and images, real ones where they are, and commands run as a user runs them."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "2")
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"         # `cp $BG_SRC/* .` is to find files only
sys.dont_write_bytecode = True
for variable in ("BG_HOME", "BG_SRC"):              # a loaded module must not choose what is tested
    os.environ.pop(variable, None)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if "CI" in os.environ:      # a change is judged by the same examples as the one before it
    hypothesis.settings.register_profile("repeatable", derandomize=True)
    hypothesis.settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parents[1]
TEST_MODULES = {"PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("src", "tests", "tests/support", "tests/core"))}
REAL_DATA = Path(os.environ.get("BG_REAL_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def real_cells():
    """The folder of real cells from an imaging flow cytometer (Blasi et al. 2016)."""
    folder = REAL_DATA / "ifc_cellcycle" / "images"
    if not folder.is_dir():
        pytest.skip(f"no real images in {REAL_DATA}: set BG_REAL_DATA")
    return folder


def write_images(folder, factors=("Alp14", "Tea1"), number=12, size=(16, 24), seed=0):
    """Folders of RGB PNGs of blobs (R: the marker, G: the factor, B: 0), one per factor; returns `folder`."""
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


@pytest.fixture
def data(tmp_path):
    """A data folder as users have it: data/LIN_train and data/LIN_test, two factors, 16x24 pixels."""
    write_images(tmp_path / "data" / "LIN_train")
    write_images(tmp_path / "data" / "LIN_test", seed=1)
    return tmp_path / "data"


@pytest.fixture
def run(tmp_path):
    """A function that runs a command in the test's folder: run("train.py", "-d", "data") -> CompletedProcess.

    What is no file of bin is a command of biogans: run("evaluate", "-d", "data").
    """
    def command(name, *arguments, cwd=tmp_path, **settings):
        return subprocess.run([*typed(name), *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300,
                              **settings)
    return command


@contextlib.contextmanager
def guarded(seconds=60):
    """Fail, rather than wait for ever, if what is within hangs: a guard, not a measure of speed."""
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
    return [sys.executable, ROOT / "bin" / name] if name.endswith(".py") else [sys.executable, ROOT / "bin/biogans", name]


def train_small_networks(folder, architectures=("DCGAN-starshaped", "DCGAN"), training=12, held_out=12):
    """Images in folder/data, and networks trained on them for 2 iterations: a user's folder."""
    from biogans.core import train
    write_images(folder / "data" / "LIN_train", number=training)
    write_images(folder / "data" / "LIN_test", seed=1, number=held_out)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for architecture in architectures:
            train.main([*SMALL, "-d", "data", "-m", architecture, "-e", "2"])


SMALL = ("--ngf", "4", "--ndf", "4", "-z", "6", "-b", "4", "--num_D_iters", "2")     # a network that trains in moments
