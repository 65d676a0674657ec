"""The container's definition file and the checkout; and, if BG_SIF names a built container, its commands."""

import re
import subprocess

import pytest

from conftest import ROOT

RECIPE = (ROOT / "singularity.def").read_text()


def section(name):
    return re.search(rf"^%{name}\n(.*?)(?=^%|\Z)", RECIPE, re.MULTILINE | re.DOTALL)[1]


def test_the_files_that_it_copies_exist():
    for line in section("files").strip().splitlines():
        assert (ROOT / line.split()[0]).exists(), line


@pytest.mark.parametrize(("tensorflow", "lock"), [("tensorflow[and-cuda]", "requirements-gpu.lock"),
                                                  ("tensorflow-cpu", "requirements.lock"), ("torch", None)])
def test_each_tensorflow_has_its_lock(tensorflow, lock):
    choice = re.search(r"^ *case .*?^ *esac$", section("post"), re.MULTILINE | re.DOTALL)[0]
    done = subprocess.run(["sh", "-euc", choice.replace("{{ TENSORFLOW }}", tensorflow) + '\necho "$lock"'],
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == ((0, lock) if lock else (2, "")), done.stderr
    assert not lock or re.search(rf"^ *{lock} ", section("files"), re.MULTILINE)


def test_commands_and_help(container):
    assert container("run", "train.py", "-h").stdout.startswith("usage: train.py")
    assert "apptainer run" in container("run").stdout
    done = container("run", "nonsense")
    assert done.returncode == 2 and "visualize.py" in done.stderr
    assert container("run", "train.py", "-d", "missing").returncode == 2


def test_sample_data_and_edited_sources(container, tmp_path):
    """They work as with the module; Python settings of the host have no effect."""
    wrong = {"PYTHONPATH": "/wrong", "PYTHONHOME": "/wrong", "BG_HOME": "/wrong"}
    done = container("exec", "sh", "-ec", "cp $BG_SRC/* .; cp -r ${BG_DATA}_48-80/* .; "
                     "echo 'print(\"my networks\")' >> models.py; "
                     "python train.py -d data -m DCGAN -e 2 --ngf 4 --ndf 4 -b 4 --num_D_iters 1", **wrong)
    assert done.returncode == 0 and done.stdout.startswith("my networks\n"), done.stderr
    weights = "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"
    assert (tmp_path / weights).is_file()
    explore = ("run", "biogans", "explore", "-i", weights, "-o", "page.html")
    done = container(*explore, APPTAINERENV_BG_SRC=str(tmp_path))
    assert done.returncode == 0 and done.stdout.startswith("my networks\n"), done.stderr
    done = container(*explore, BG_SRC="/apps/biogans/1.0.0/src/biogans/core")      # a module loaded on the host
    assert done.returncode == 0 and "to use it, export APPTAINERENV_BG_SRC=$PWD" in done.stdout, done.stderr
