"""train.py as a user runs it: its files, resuming, signals."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import forked_python
from biogans.core import dataloader, figures, predict, train
from biogans.core.engine import Engine
from biogans.core.trained import load_critics, read_weights
from biogans.system.files import NoRoom
from biogans.system.progress import Log
from conftest import ROOT, SMALL, TEST_MODULES, guarded
from small_runs import run_train, same, state

TRAIN = (sys.executable, ROOT / "bin" / "train.py", *SMALL, "-d", "data", "-m", "DCGAN")


@pytest.mark.parametrize("architecture, algorithm, number, critic", [
    ("DCGAN-starshaped", "WGAN-GP", 2, "critic[1]"), ("DCGAN-separable", "WGAN", 1, "critic"),
    ("DCGAN", "GAN", 1, "discriminator")])
def test_the_files_of_a_run(here, architecture, algorithm, number, critic, capsys):
    assert run_train("-m", architecture.lower(), "-a", algorithm.lower(), "-e", 3, "-M", 2) == 0
    run = f"{architecture}.{algorithm}.{number}"
    for name in (f"weights.generator.{run}.h5", f"weights.{critic}.{run}.h5", f"weights.combined_model.{run}.h5",
                 f"model.generator.{run}.h5"):
        assert read_weights(here / "checkpoints" / name)[1].iteration == 3
    assert list((here / "checkpoints" / "tensorboard" / run).glob("events.*"))
    assert sorted(path.name for path in (here / "images").iterdir()) == [
        f"fake_samples.{run}.2.png", f"fake_samples.{run}.3.png", f"losses.{run}.png", f"real_samples.{run}.png",
        f"training.{run}.gif"]
    with open(here / "checkpoints" / f"log.{run}.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["iteration"]) for row in rows] == [1, 2, 3]
    assert all(np.isfinite(float(row["critic_loss"])) and float(row["seconds"]) > 0 for row in rows)
    assert f"iteration 3/3  critic {float(rows[-1]['critic_loss']):.4g}" in capsys.readouterr().out


@pytest.mark.usefixtures("quick_runs")
def test_a_generator_file_records_which_weights_it_holds(here):
    run_train("-m", "DCGAN", "-e", 1)
    _, metadata = read_weights(here / "checkpoints" / "weights.generator.DCGAN.WGAN-GP.1.h5")
    assert metadata.weights == "moving average" and metadata.network.factors == ("Alp14", "Tea1")
    run_train("-m", "DCGAN", "-e", 1, "--average", 0)
    assert read_weights(here / "checkpoints" / "weights.generator.DCGAN.WGAN-GP.1.h5")[1].weights == "as trained"


def test_a_resumed_run_equals_an_uninterrupted_one(here, capsys):
    """Through the command line: 2 iterations and 2 more equal 4, bit for bit; so do the log and the sample grid."""
    run_train("-m", "DCGAN", "-e", 4, "-M", 4, "-c", "whole")
    grid = Image.open("images/fake_samples.DCGAN.WGAN-GP.1.4.png").tobytes()
    run_train("-m", "DCGAN", "-e", 2, "-M", 4, "-c", "halves")
    assert run_train("-m", "DCGAN", "-e", 4, "-M", 4, "-c", "halves", "-w") == 0
    (whole, _), (halves, metadata) = state(here / "whole"), state(here / "halves")
    assert same(whole, halves) and metadata.iteration == 4
    assert Image.open("images/fake_samples.DCGAN.WGAN-GP.1.4.png").tobytes() == grid
    logs = [(here / folder / "log.DCGAN.WGAN-GP.1.csv").read_text() for folder in ("whole", "halves")]
    losses = [[row[:3] for row in csv.reader(log.splitlines())] for log in logs]
    assert losses[0] == losses[1] and len(losses[0]) == 5
    capsys.readouterr()
    assert run_train("-m", "DCGAN", "-e", 4, "-c", "halves", "-w") == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert same(state(here / "halves")[0], halves)


def test_a_conditional_run_is_resumed_and_generates(here):
    """Its critics share all layers but one, in memory and in the file from which a run resumes."""
    options = ("-m", "DCGAN-conditional", "-a", "GAN")
    run_train(*options, "-e", 4, "-c", "whole")
    run_train(*options, "-e", 2, "-c", "halves")
    assert run_train(*options, "-e", 4, "-c", "halves", "-w") == 0
    whole, halves = state(here / "whole")[0], state(here / "halves")[0]
    assert same(whole, halves) and sum(name.startswith("critic1/") for name in whole) == 1
    critics, _ = load_critics(next((here / "whole").glob("weights.combined_model.*.h5")))
    for k, critic in enumerate(critics):
        stored, _ = read_weights(here / f"whole/weights.discriminator[{k}].DCGAN-conditional.GAN.2.h5")
        assert {array.tobytes() for array in stored.values()} == {array.tobytes() for array in critic.get_weights()}
    assert critics[0].get_layer("score_convolution") is critics[1].get_layer("score_convolution")
    assert predict.main(["-i", "whole/weights.generator.DCGAN-conditional.GAN.2.h5", "-n", "3", "-p", "Tea1"]) == 0


@pytest.mark.slow
def test_a_star_with_options_of_its_own_is_resumed_and_generates(here, capsys):
    """Without its options, which are stored: 2 iterations and 2 more equal 4. z has numbers for the noise."""
    options = ("--noise", "--variety", 1, "--red_ngf", 10)
    run_train(*options, "-e", 4, "-c", "whole")
    run_train(*options, "-e", 2, "-c", "halves")
    assert train.main(["-d", "data", "-w", "-e", "4", "-c", "halves"]) == 0
    (whole, metadata), (halves, _) = state(here / "whole"), state(here / "halves")
    wanted = metadata.training.green_variance
    assert same(whole, halves) and len(wanted) == 2 and min(wanted) > 0
    assert predict.main(["-i", "whole/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5", "-n", "2"]) == 0
    with h5py.File(here / "images/stack3.DCGAN-starshaped.WGAN-GP.h5") as file:
        assert file["z"].shape == (2, metadata.network.nz) and metadata.network.nz > metadata.network.noise_size > 0
    assert metadata.network.red_ngf == 10


def test_a_run_with_a_schedule_is_resumed_within_its_horizon(here, run):
    """The horizon is part of the run: 2 iterations and 2 more equal 4; a longer -e is refused in one line."""
    falling = ("-m", "DCGAN", "-a", "RpGAN", "--lr_schedule", "linear", "--horizon", 4)
    run_train(*falling, "-e", 4, "-c", "whole")
    run_train(*falling, "-e", 2, "-c", "halves")
    assert train.main(["-d", "data", "-w", "-e", "4", "-c", "halves"]) == 0
    (whole, metadata), (halves, _) = state(here / "whole"), state(here / "halves")
    assert same(whole, halves) and metadata.training.horizon == 4
    done = run("train.py", "-d", "data", "-w", "-e", "9", "-c", "halves")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "-e 9: the learning rates become 0" in done.stderr


@pytest.mark.parametrize("arguments, command", [
    ("-d data -e 5", "train.py -d data -e 5 -w"), ("--data /scratch/cells -w", "train.py --data cells -w")])
def test_the_command_that_resumes(monkeypatch, arguments, command):
    """A batch job reads a temporary copy of its data; the command names the original folder."""
    monkeypatch.setattr(sys, "argv", ["/apps/bin/train.py", *arguments.split()])
    if "scratch" in arguments:
        monkeypatch.setenv("BG_DATA_FROM", "cells")
    assert train.resume_command() == command


@pytest.mark.usefixtures("quick_runs")
def test_resume_starts_a_run_or_continues_it(here, capsys):
    """The same command line serves for the first and for every later start of a batch job."""
    arguments = ("-m", "DCGAN", "-a", "GAN", "--resume")
    assert run_train(*arguments, "-e", 2) == 0 and "resuming" not in capsys.readouterr().out
    assert run_train(*arguments, "-e", 4) == 0 and "iteration 2\n" in capsys.readouterr().out
    resumed, metadata = state(here / "checkpoints")
    run_train("-m", "DCGAN", "-a", "GAN", "-e", 4, "-c", "whole")
    assert metadata.iteration == 4 and same(resumed, state(here / "whole")[0])


@pytest.mark.usefixtures("quick_runs")
def test_rows_of_a_killed_run_are_dropped_from_the_log(here):
    """A killed run has logged iterations after its last checkpoint, which the next run computes again."""
    run_train("-m", "DCGAN", "-e", 2)
    log = here / "checkpoints" / "log.DCGAN.WGAN-GP.1.csv"
    log.write_text(log.read_text() + "3,0.5,0.5,9.0\n4,0.5")
    run_train("-m", "DCGAN", "-e", 3, "-w")
    rows = list(csv.reader(log.read_text().splitlines()))
    assert [row[0] for row in rows] == ["iteration", "1", "2", "3"] and rows[3][1] != "0.5"


@pytest.mark.usefixtures("quick_runs")
def test_a_new_run_moves_the_old_one_aside(here, capsys):
    run_train("-m", "DCGAN", "-e", 1)
    old, _ = state(here / "checkpoints")
    capsys.readouterr()
    run_train("-m", "DCGAN", "-e", 1, "-s", 7)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "moved to" in line]
    aside = here / line.split("moved to ")[1]
    assert same(state(aside)[0], old) and not same(state(here / "checkpoints")[0], old)
    assert (aside / "DCGAN.WGAN-GP.1").is_dir()     # TensorBoard's


@pytest.mark.usefixtures("quick_runs")
def test_files_of_an_earlier_run_stay_until_the_new_one_has_saved(here):
    """A run that ends before its first checkpoint, here with an error, changes nothing, and leaves nothing behind."""
    run_train("-m", "DCGAN", "-e", 1)
    before = {path.relative_to(here): path.read_bytes() for path in (here / "checkpoints").rglob("*") if path.is_file()}
    for failing in ("iterate", "generate"):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr(Engine, failing, lambda *arguments: 1 / 0)
            run_train("-m", "DCGAN", "-e", 2, "-M", 1, "-s", 7)
    predict.main(["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"])
    run_train("-m", "DCGAN", "-e", 1, "-w")                    # nothing to do, but it cleans up
    after = {path.relative_to(here): path.read_bytes() for path in (here / "checkpoints").rglob("*") if path.is_file()}
    assert after == before


def test_a_resumed_run_needs_no_options(here, capsys):
    """-w alone continues with the sizes, rates, factors and iterations of the checkpoint, and equals one long run."""
    options = ("-d", "data", "-p", "Tea1", "-a", "WGAN", "-b", "3", "--ngf", "5", "--ndf", "4", "-z", "7", "-s", "9",
               "--lrG", "0.0003", "--num_D_iters", "2", "--no_flips", "--augment", "translation", "--average", "0")
    assert train.main(["-m", "DCGAN", *options, "-e", "4", "-c", "whole"]) == 0
    assert train.main(["-m", "DCGAN", *options, "-e", "2", "-c", "halves"]) == 0
    assert train.main(["-d", "data", "-c", "halves", "-w", "-e", "4"]) == 0
    assert same(state(here / "whole")[0], state(here / "halves")[0])
    assert train.main(["-d", "data", "-c", "halves", "-w"]) == 0
    assert "already has the 4 iterations" in capsys.readouterr().out


@pytest.mark.usefixtures("quick_runs")
def test_options_that_contradict_the_checkpoint_are_listed_at_once(here, run):
    """All of them, before TensorFlow is imported and the images are read."""
    run_train("-m", "DCGAN", "-e", 1)
    done = run("train.py", "-d", "data", "-m", "DCGAN", "-w", "--ngf", "9", "-b", "5", "-p", "Tea1", "--preset", "fast")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "images of" not in done.stdout
    for words in ("weights.combined_model.DCGAN.WGAN-GP.1.h5", "--ngf 9 (not 4)", "--batch_size 5 (not 4)",
                  "--polarity_factors Tea1 (not Alp14,Tea1)", "--init he (not paper)", "leave these options out"):
        assert words in done.stderr


@pytest.mark.usefixtures("quick_runs")
def test_the_run_to_resume(here, capsys):
    """That of -m, -a and -p; without them the default or the only one; otherwise the runs are listed."""
    run_train("-m", "DCGAN", "-a", "GAN", "-e", 1)
    assert train.main(["-d", "data", "-w", "-e", "2"]) == 0
    run_train("-m", "DCGAN-separable", "-a", "GAN", "-e", 1)
    capsys.readouterr()
    assert train.main(["-d", "data", "-w"]) == 2
    assert re.search(r"several runs .*DCGAN-separable.GAN.1.h5, .*DCGAN.GAN.1.h5.*: choose", capsys.readouterr().err)
    assert train.main(["-d", "data", "-w", "-m", "DCGAN"]) == 0
    run_train("-e", 1)
    assert train.main(["-d", "data", "-w", "-e", "2"]) == 0
    path = here / "checkpoints" / "weights.combined_model.DCGAN-starshaped.WGAN-GP.2.h5"
    assert read_weights(path)[1].iteration == 2
    run_train("-m", "DCGAN", "-a", "GAN", "--channels", "1", "-e", 1)
    for channels, iteration in (("1,2", 3), ("1", 2)):
        assert train.main(["-d", "data", "-w", "-m", "DCGAN", "--channels", channels, "-e", str(iteration)]) == 0


@pytest.mark.usefixtures("quick_runs")
def test_a_generator_alone_can_not_be_resumed_but_begins_a_new_run(here, capsys):
    run_train("-e", 2, "-c", "first", "-s", 7)
    weights = here / "first" / "weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
    (here / "given").mkdir()
    shutil.copy(weights, here / "given")
    assert train.main(["-d", "data", "-c", "given", "-w"]) == 2
    assert "--start_from given/weights.generator" in capsys.readouterr().err
    assert train.main(["-d", "data", "-b", "4", "--start_from", str(weights), "-e", "1", "-c", "new", "--lrG", "1e-12",
                       "--average", "0"]) == 0
    new, metadata = read_weights(here / "new" / weights.name)
    old, _ = read_weights(weights)
    assert (metadata.network.ngf, metadata.network.nz, metadata.iteration) == (4, 6, 1)
    kernels = [name for name in old if "kernel" in name]
    assert kernels and all(np.abs(new[name] - old[name]).max() < 0.05 for name in kernels)
    assert train.main(["-d", "data", "--start_from", str(weights), "--ngf", "7"]) == 2
    assert "--ngf 7 (not 4)" in capsys.readouterr().err
    assert train.main(["-d", "data", "-p", "Tea1", "-b", "4", "--start_from", str(weights)]) == 2
    assert re.search(r"generates images of 16x24 pixels with 3 channels.*do not fit", capsys.readouterr().err)


@pytest.mark.usefixtures("quick_runs")
@pytest.mark.parametrize("own, preset", [("he", ()), ("paper", ("--preset", "fast")), ("he", ("--preset", "infogan"))])
def test_a_run_begins_with_a_generator_of_any_initial_weights(here, own, preset):
    """They give networks another layer, so they are the file's, whatever the preset of the new run."""
    run_train("-m", "DCGAN", "-e", 1, "-c", "first", "--init", own)
    weights = "first/weights.generator.DCGAN.WGAN-GP.1.h5"
    assert train.main(["-d", "data", "-a", "GAN", *preset, "-b", "4", "--start_from", weights, "-e", "1"]) == 0
    assert state(here / "checkpoints")[1].network.init == own


@pytest.mark.usefixtures("quick_runs")
def test_a_long_training_is_estimated_before_it_begins(here, capsys, monkeypatch):
    monkeypatch.setattr(Engine, "estimated_seconds", lambda engine: 20.0)
    run_train("-m", "DCGAN", "-e", 2, "--num_D_iters", 5)
    assert "estimate: about 100 s an iteration, 3 min for 2, on" in capsys.readouterr().out


def test_equivalent_ways_to_name_the_images(here, monkeypatch):
    """For all factors and for one: the training begins with the same settings, weights and batches of images."""
    begun = []
    monkeypatch.setattr(train, "training_loop", lambda run, engine, done: begun.append((
        run.metadata.network, run.metadata.training, run.metadata.images, run.batches.take(0, 20),
        engine.generator.get_weights())))
    spellings = [[("data",), ("data/LIN_train",), ("data/LIN_train", "-p", "Tea1,Alp14")],
                 [("data", "-p", "Alp14"), ("data/LIN_train", "-p", "Alp14"), ("data/LIN_train/Alp14",)]]
    for equivalent in spellings:
        begun.clear()
        for arguments in equivalent:
            train.main([*SMALL, "-m", "DCGAN", "-e", "1", "-d", *arguments])
        for other in begun[1:]:
            np.testing.assert_equal(other, begun[0])
        assert len(begun) == 3


@pytest.mark.usefixtures("quick_runs")
def test_the_sample_grid_of_a_run(here, monkeypatch):
    """Ten cells in groups of two that share the red part of z, and so the red channel."""
    grids = []

    def sample_grid(path, spec, cells, columns, title, palette):
        grids.append((spec.factors, cells, columns, title))
        return np.zeros((4, 4, 3), np.uint8)
    monkeypatch.setattr(figures, "sample_grid", sample_grid)
    run_train("-e", 1)
    factors, cells, columns, title = grids[0]
    assert title == "generated by DCGAN-starshaped WGAN-GP, iteration 1"
    assert cells.shape == (10, 16, 24, 3) and factors == ("Alp14", "Tea1") and columns == 2
    reds = cells[..., 0].reshape(5, 2, -1)
    assert (reds[:, 0] == reds[:, 1]).all() and not np.array_equal(reds[0], reds[1])


def start(folder, *arguments):
    """A process of train.py that has reported its first iteration."""
    process = forked_python.start([*TRAIN, *arguments], folder)
    for line in process.stdout:
        if line.startswith("iteration"):
            return process
    raise AssertionError(process.stderr.read())


@pytest.mark.usefixtures("quick_runs")
@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)])
def test_signals_stop_after_saving(here, number, status):
    """The iteration is finished and saved, the exit status gives the reason, and the printed command resumes."""
    process = start(here, "-e", "100000")
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == status and err == ""
    stopped = re.search(r"after ([\d,]+) iterations?, .*to resume: train.py (.*) -w$", out.strip())
    done = int(stopped[1].replace(",", ""))
    again = r"; Ctrl-C again ends at once, losing [\d,]+ iterations?" if number == signal.SIGINT else ""
    assert re.search(rf"^(Ctrl-C|SIG\w+): stopping after this iteration( \(about \d+ s\))?{again}$", out, re.M)
    _, metadata = state(here / "checkpoints")
    assert metadata.iteration == done > 0
    assert run_train("-m", "DCGAN", "-e", done + 1, "-w") == 0
    assert state(here / "checkpoints")[1].iteration == done + 1


def test_a_signal_before_the_first_iteration(here):
    """The same status, and no file is left, not even a partial one."""
    process = subprocess.Popen(TRAIN, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "images of" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75 and err == "" and "stopped by SIGTERM" in out
    assert not list((here / "checkpoints").glob("*.h5"))


@pytest.mark.usefixtures("quick_runs")
def test_a_kill_loses_at_most_one_interval_and_no_file(here):
    """SIGKILL in a run that saves after every iteration: the checkpoint is valid, and partial files are ignored."""
    process = start(here, "-e", "100000", "--save_minutes", "0.00001")
    time.sleep(1)
    process.kill()
    process.communicate()
    _, metadata = state(here / "checkpoints")
    logged = (here / "checkpoints" / "log.DCGAN.WGAN-GP.1.csv").read_text().count("\n") - 1
    assert logged - 1 <= metadata.iteration <= logged
    assert run_train("-m", "DCGAN", "-e", metadata.iteration + 1, "-w") == 0


def test_real_cells(real_cells, tmp_path, monkeypatch):
    """Cells from an imaging flow cytometer: 40x40 pixels, two of three channels, four phases."""
    monkeypatch.chdir(tmp_path)
    assert train.main([*SMALL, "-d", str(real_cells), "-p", "G1,S_phase,G2,Prophase", "--channels", "1,2", "-m",
                       "DCGAN-separable", "-e", "2"]) == 0
    _, metadata = state(tmp_path / "checkpoints")
    assert metadata.images["number"] > 1000 and metadata.images["channels"] == [1, 2]
    assert (metadata.network.height, metadata.network.width, metadata.network.channels) == (40, 40, 2)


def test_ctrl_c_while_images_are_read_ends_the_run(here, monkeypatch, capsys):
    """At once, as there is nothing to save: reading a million images takes longer than a batch system waits."""
    monkeypatch.setattr(dataloader, "load", lambda *arguments: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(600)))
    before = signal.getsignal(signal.SIGTERM)
    with guarded(), pytest.raises(SystemExit) as end:
        run_train()
    assert end.value.code == 75
    assert "stopped by SIGTERM before the first iteration" in capsys.readouterr().out
    assert not (here / "checkpoints").exists() and signal.getsignal(signal.SIGTERM) == before


def test_a_signal_during_the_imports_is_not_forgotten(here):
    """launch.py holds it; otherwise Python would end with a traceback, or without any message."""
    code = ("import os, signal, runpy, sys; from biogans.system import launch\n"
            "sys.argv, hold = sys.argv[1:], launch.hold_stop_signals\n"
            "def hold_and_signal(): hold(); os.kill(os.getpid(), int(os.environ['SIGNAL']))\n"
            "launch.hold_stop_signals = hold_and_signal; runpy.run_path(sys.argv[0], run_name='__main__')")
    for number, status in ((signal.SIGINT, 130), (signal.SIGUSR1, 75)):
        done = subprocess.run([sys.executable, "-c", code, ROOT / "bin" / "train.py", "-d", "data"], cwd=here,
                              text=True, capture_output=True, timeout=60,
                              env={**os.environ, "SIGNAL": str(int(number))})
        assert (done.returncode, done.stderr) == (status, "") and "before the first iteration" in done.stdout


LONG_CALL = """
import ctypes, sys
from biogans.core import engine, train
real = engine.Engine.iterate
def iterate(self, iteration, batches):
    print("iteration begins", flush=True)
    ctypes.CDLL(None).sleep(600)
    return real(self, iteration, batches)
engine.Engine.iterate = iterate
sys.exit(train.main(sys.argv[1:]))
"""


def test_ctrl_c_is_answered_within_a_long_call(here):
    """In a call of a library, which Python can't interrupt: the first one is announced, the second one ends it."""
    process = forked_python.start([sys.executable, "-c", LONG_CALL, *TRAIN[2:]], here, os.environ | TEST_MODULES)
    while process.stdout.readline() != "iteration begins\n":
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert re.match(r"Ctrl-C: stopping after this iteration.*; Ctrl-C again ends at once, losing 1 iteration$",
                    process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130 and not list((here / "checkpoints").glob("*.h5"))


@pytest.mark.usefixtures("quick_runs")
def test_a_second_ctrl_c_ends_the_process_at_once(here):
    """And the run can be resumed."""
    process = start(here, "-e", "100000", "--save_minutes", "0.00001")
    while not list((here / "checkpoints").glob("weights.combined_model.*")):
        assert process.poll() is None
    for _ in range(50):
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 130 and err == ""
    _, metadata = state(here / "checkpoints")
    assert run_train("-m", "DCGAN", "-e", metadata.iteration + 1, "-w") == 0


@pytest.mark.usefixtures("quick_runs")
@pytest.mark.parametrize("output", ["picture", "losses"])
def test_a_run_without_room_for_its_output_saves_and_ends(here, monkeypatch, capsys, output):
    def fail(*arguments):
        raise NoRoom("images/x.png can't be written: 0 bytes are free")
    monkeypatch.setattr(Log, output, fail)
    assert run_train("-m", "DCGAN", "-e", 9, "-M", 1) == 2
    assert capsys.readouterr().err.count("\n") == 1 and state(here / "checkpoints")[1].iteration == 1


def test_a_folder_in_use_is_refused_before_tensorflow_is_imported(here, run):
    """And the files of the run that uses the folder are not moved."""
    process = start(here, "-e", "100000", "--save_minutes", "0.00001")
    done = run("train.py", *SMALL, "-d", "data", "-m", "DCGAN")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and f"process {process.pid}" in done.stderr
    assert "GPU" not in done.stdout                 # which is printed once TensorFlow is imported
    assert not list((here / "checkpoints").glob("replaced-*"))
    process.kill()
    process.communicate()


def test_the_picture_of_real_cells_samples_each_factor_evenly(monkeypatch, tmp_path):
    """Eight of twelve cells, evenly spaced; all cells if there are fewer."""
    shown = {}
    monkeypatch.setattr(figures, "real_grid", lambda path, examples, title: shown.update(examples))
    pixels = np.broadcast_to(np.arange(15, dtype=np.uint8)[:, None, None, None], (15, 8, 8, 1))
    images = dataloader.Images(pixels, np.repeat([0, 1], [12, 3]), ("many", "few"))
    train.draw_real_samples(tmp_path / "real.png", images)
    assert shown["many"][:, 0, 0, 0].tolist() == [0, 1, 3, 4, 6, 7, 9, 10]
    assert shown["few"][:, 0, 0, 0].tolist() == [12, 13, 14]


def test_the_picture_of_training_images_states_their_origin(here, monkeypatch):
    titles = []
    monkeypatch.setattr(figures, "real_grid", lambda path, examples, title: titles.append(title))
    for _ in range(2):
        train.draw_real_samples(Path("real.png"), dataloader.load("data"))
        Path("data/SIMULATED.txt").write_text("The images in this folder were simulated")
    assert titles == ["training images", "training images (simulated by biogans)"]
