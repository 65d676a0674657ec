"""The user page, typed as it is displayed and in its order, as a class would, with Ctrl-C in the middle."""

import os
import re
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest
from PIL import Image

from conftest import ROOT

STACK = "images/stack7.DCGAN-starshaped.WGAN-GP.h5"


class Shell:
    """A terminal after `module load biogans`: shell("ls $BG_BIN") -> CompletedProcess."""

    def __init__(self, folder):
        self.folder = folder
        # What the module sets; tests/installation/test_modulefile.py loads the real one.
        self.environment = {**os.environ, "PATH": f"{ROOT}/bin:{os.environ['PATH']}", "BG_HOME": str(ROOT),
                            "BG_BIN": f"{ROOT}/bin", "BG_SRC": f"{ROOT}/src/biogans/core", "BG_DATA": f"{ROOT}/data",
                            "BG_DATA_48": f"{ROOT}/data_48", "DISPLAY": "", "WAYLAND_DISPLAY": ""}

    def __call__(self, line, status=0):
        done = subprocess.run(["bash", "-c", line], cwd=self.folder, env=self.environment, capture_output=True,
                              text=True, timeout=300)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def interrupted(self, line, after, times=1):
        """Run a line, and press Ctrl-C so many times once the output contains `after`; returns (status, output)."""
        process = subprocess.Popen(["bash", "-c", f"exec {line}"], cwd=self.folder, env=self.environment, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        shown = ""
        while not re.search(after, shown):
            shown += process.stdout.readline()
            assert process.poll() is None, shown
        for _ in range(times):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(1)
        rest, _ = process.communicate(timeout=300)
        return process.returncode, shown + rest


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """The terminal in which the tests of this file, one after the other, type the page."""
    return Shell(tmp_path_factory.mktemp("page"))


def test_sources_commands_and_sample_data(shell):
    assert "train.py" in shell("ls $BG_SRC").stdout
    assert shell("cp $BG_SRC/* .").stderr == ""
    assert shell("ls $BG_BIN").stdout.split() == ["biogans", "predict.py", "train.py", "visualize.py"]
    assert shell("cp -r $BG_DATA_48-80/* .").stderr == ""
    assert shell("ls $BG_DATA").stdout
    folders = {str(path.relative_to(shell.folder)) for path in shell.folder.rglob("*") if path.is_dir()}
    factors = ("Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1")
    assert {"checkpoints", "images", *(f"data/LIN_Normalized_WT_size-48-80_{part}/{factor}"
                                       for part in ("train", "test") for factor in factors)} <= folders


def test_training_starts_and_stops(shell):
    """With the page's first command; nothing that was copied is lost if it ends before it has saved."""
    before = {path: path.read_bytes() for path in (shell.folder / "checkpoints").rglob("*") if path.is_file()}
    options = shell("train.py -h").stdout + shell("train.py --help_all").stdout
    for option in (*"abcdegmMopswzv", "-lrD", "-lrG", "-num_D_iters", "-num_G_iters", "-ngf", "-ndf"):
        assert re.search(rf"(^|\s)-{option}\b", options), option
    status, shown = shell.interrupted("train.py -d data", r"estimate: about .* an iteration, .* CPU core", times=4)
    assert status == 130, shown
    assert "1020 images of Alp14, Arp3, Cki2, Mkh1, Sid2, Tea1: 48x80 pixels" in shown
    after = {path: path.read_bytes() for path in (shell.folder / "checkpoints").rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before


def test_a_short_training_of_one_factor(shell):
    """With the page's third command: Ctrl-C saves, and the names of the files are those of the page."""
    status, shown = shell.interrupted("train.py -d data/LIN_Normalized_WT_size-48-80_train/Alp14 -m DCGAN -a GAN",
                                      r"iteration \d+/50000  critic")
    assert status == 130, shown
    assert "Ctrl-C: stopping after this iteration" in shown and "to resume: train.py" in shown
    names = shell("ls checkpoints").stdout.split()
    assert {"weights.generator.DCGAN.GAN.1.h5", "weights.discriminator.DCGAN.GAN.1.h5",
            "weights.combined_model.DCGAN.GAN.1.h5", "model.generator.DCGAN.GAN.1.h5"} <= {*names}
    few = shell("predict.py -i checkpoints/weights.generator.DCGAN.GAN.1.h5")
    assert re.search(r"trained for \d+ of 50,000 iterations only", few.stdout)


def shown_cell(shell, line, stack):
    """Type a line that generates a cell and draws it; returns the stack (channels, height, width) and the picture."""
    done = shell(line)
    output = done.stdout
    assert not done.stderr and f"Output image stack to file: {stack}\n" in output
    with h5py.File(shell.folder / stack) as file:
        cell = np.moveaxis(file["stack"][0], -1, 0)
    picture = Image.open(shell.folder / re.search(r"Output picture to file: (\S+)", output)[1])
    return cell, np.asarray(picture.convert("RGB"))


def test_predict_and_visualize(shell):
    """The page's first picture: a good cell of the included star, although another training has begun meanwhile."""
    assert "required" in shell("predict.py -h").stdout and "required" in shell("visualize.py -h").stdout
    cell, picture = shown_cell(
        shell, "predict.py -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.48_80.1.6.h5; "
               f"visualize.py -i {STACK}", STACK)
    assert cell.shape == (7, 48, 80)
    for channel in cell:                        # a bright cell on a dark background, not a flat rectangle
        assert channel.max() > 0.3 and 0.05 < (channel > 0.15).mean() < 0.6 and np.median(channel) < 0.1
    assert picture.shape[0] > 400 and picture.std() > 20


def test_predict_and_visualize_in_one_line(shell):
    """The page's second and third pictures; it names a stack of another generator, and is told how to write it."""
    line = ("predict.py -i checkpoints/model.generator.DCGAN-separable.GAN.1.h5; "
            "visualize.py -i images/stack7.DCGAN-starshaped.GAN.h5")
    refused = shell(line, status=2)
    assert "Output image stack to file: images/stack2.DCGAN-separable.GAN.h5" in refused.stdout
    advised = re.search(r"write it with (predict.py -i \S+)\n", refused.stderr)[1]
    cell, picture = shown_cell(shell, f"{advised}; {line.split('; ')[1]}", "images/stack7.DCGAN-starshaped.GAN.h5")
    assert cell.shape == (7, 48, 80) and all(0.05 < (channel > 0.15).mean() < 0.6 for channel in cell)
    cell, picture = shown_cell(shell, f"{line.split('; ')[0]}; visualize.py -i images/stack2.DCGAN-separable.GAN.h5",
                               "images/stack2.DCGAN-separable.GAN.h5")
    assert cell.shape == (2, 48, 80) and picture.std() > 20


def test_each_run_generates_another_stage(shell):
    stacks = []
    for _ in range(2):
        assert re.search(r"cell: [\d.]+ µm long, longer than \d+% of this generator's cells.*\nseed: \d+", shell(
            "predict.py -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.48_80.1.6.h5").stdout)
        stacks.append((shell.folder / STACK).read_bytes())
    assert stacks[0] != stacks[1]


@pytest.mark.slow
def test_batch_and_swarm(shell):
    """A batch script and the lines of a swarm, run by a shell; tests/hpc submits such files to the real Slurm."""
    small = "-m DCGAN --ngf 4 --ndf 4 -b 4 --num_D_iters 1 -e 2"
    (shell.folder / "biogans.sh").write_text(f"#!/bin/bash\n#SBATCH --mem=8g\ntrain.py -d data {small} -c batch\n")
    assert "iteration 2/2" in shell("bash biogans.sh").stdout
    swarm = [f"train.py -d data -p {factor} {small} -c swarm/{factor}" for factor in ("Alp14", "Tea1")]
    for line in swarm:
        assert "iteration 2/2" in shell(line).stdout
    assert len(list((shell.folder / "swarm").glob("*/weights.combined_model.DCGAN.WGAN-GP.1.h5"))) == 2
