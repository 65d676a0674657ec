"""biogans compare: real trainings for equal times, their interruption and failures, measures, ranking, the page."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biogans.evaluation import compare, trainings
from conftest import SMALL, guarded, typed, write_images

TINY = ("--", *SMALL)
SHORT = ("--minutes", "0.05", "-n", "40")               # three seconds of iterations


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A user's folder with two data folders, `plain` and `masks`."""
    for name in ("plain", "masks"):
        write_images(tmp_path / name / f"{name}_train", number=20, seed=len(name))
        write_images(tmp_path / name / f"{name}_test", number=12, seed=9)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------------------------------------- real trainings

@pytest.mark.slow
def test_combinations_are_trained_for_equal_times_and_ranked(here, capsys):
    command = ["-d", "plain", "-d", "masks", "-m", "dcgan", "-a", "wgan-gp", "-s", "1,2", *SHORT, "--jobs", "2", *TINY]
    assert compare.main(command) == 0
    printed = capsys.readouterr().out
    runs = read_csv("compare/runs.csv")
    assert [(run["data"], run["seed"]) for run in runs] in (
        [("plain", "1"), ("plain", "2"), ("masks", "1"), ("masks", "2")],
        [("masks", "1"), ("masks", "2"), ("plain", "1"), ("plain", "2")])
    for run in runs:
        assert 0.05 <= float(run["minutes"]) < 0.08 and not run["remarks"].startswith(("failed", "unfinished"))
        folder = Path("compare/runs") / "{data}.DCGAN.WGAN-GP.{seed}".format(**run)
        log = read_csv(next(folder.glob("checkpoints/log.*.csv")))
        assert len(log) == int(run["iterations"])
        scores = sum(bool(row["held_out_distance"]) for row in log)
        assert 5 <= scores <= 4 * trainings.SCORES
    ranking = read_csv("compare/ranking.csv")
    assert [row["rank"] for row in ranking] == ["1", "2"]
    for row in ranking:
        own = [float(run["distance"]) for run in runs if run["data"] == row["data"]]
        assert float(row["distance"]) == pytest.approx(np.mean(own), rel=1e-4)
        assert float(row["spread"]) == pytest.approx(np.std(own, ddof=1), rel=1e-4)
    assert float(ranking[0]["distance"]) <= float(ranking[1]["distance"])
    assert f"Closest to the held-out images: {ranking[0]['data']}" in printed
    for name in ("losses", "samples"):
        assert np.asarray(Image.open(f"compare/{name}.png")).std() > 10
    before = {path: path.stat().st_mtime_ns for path in here.glob("compare/runs/*/checkpoints/*.h5")}
    assert compare.main(command) == 0                   # nothing is trained again
    assert "4 of which have ended" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in here.glob("compare/runs/*/checkpoints/*.h5")}


@pytest.fixture
def started(here):
    """A function that starts a comparison of two seeds as a user does, and waits until the first one has a checkpoint.

    Returns the process.
    """
    processes = []

    def start():
        processes.append(subprocess.Popen(
            [*typed("compare"), "-d", "plain", "-a", "WGAN-GP", "--minutes", "0.2", "-n", "40", *TINY], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True))
        run = here / "compare/runs/plain.DCGAN.WGAN-GP.1"
        with guarded(150):
            while not any(run.glob("checkpoints/weights.combined_model.*")):
                assert processes[-1].poll() is None, processes[-1].communicate()
                time.sleep(0.1)
        return processes[-1]
    yield start
    for process in processes:
        process.kill()
        process.communicate()


def trains(folder):
    """Whether a process works in the folder of a run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append(os.readlink(process / "cwd"))
        except OSError:
            continue
    return str(folder) in found


@pytest.mark.slow
@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGKILL, -9)])
def test_an_interrupted_comparison_resumes(started, here, number, status, run):
    process = started()
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == status
    first = here / "compare/runs/plain.DCGAN.WGAN-GP.1"
    with guarded(60):
        while trains(first):            # after SIGKILL the system asks it to stop
            time.sleep(0.1)
    assert json.loads((first / "run.json").read_text())["state"] == ""
    assert number == signal.SIGKILL or "repeat the command to resume" in out
    iterations = trainings.checkpoint_iteration(first)
    assert iterations > 0
    done = run("compare", "-d", "plain", "-a", "WGAN-GP", "--minutes", "0.2", "-n", "40", *TINY)
    assert done.returncode == 0, done.stderr
    text = (first / "output.txt").read_text()
    assert f"iteration {iterations}\n" in text and "moved to" not in text
    rows = read_csv(next(first.glob("checkpoints/log.*.csv")))
    assert [int(row["iteration"]) for row in rows] == list(range(1, len(rows) + 1))
    assert all(12 / 60 <= float(row["minutes"]) < 14 / 60 for row in read_csv("compare/runs.csv"))


# ---------------------------------------------------------------------------------------------- failures

@pytest.fixture
def failing(here, monkeypatch):
    """A function that replaces train.py by a program that ends with these last words and this status."""
    def replace_by(words, status):
        program = here / "program.py"
        program.write_text(f"import os, sys\nprint({words!r}, file=sys.stderr, flush=True)\n"
                           f"os.kill(os.getpid(), {-status}) if {status} < 0 else sys.exit({status})\n")
        monkeypatch.setattr(trainings, "train_command", lambda: [sys.executable, program])
    return replace_by


@pytest.mark.parametrize("words, status, reason", [
    ("Traceback\ntensorflow…ResourceExhaustedError: OOM when allocating tensor", 1, "out of memory"),
    ("", -signal.SIGKILL, "killed by SIGKILL, perhaps for lack of memory"),
    ("train.py: the losses became nan and 3 in iteration 7: stopped; lower --lrD", 2,
     "the losses became nan and 3 in iteration 7: stopped; lower --lrD"),
    ("noise\nTraceback …\nValueError: no\nmore noise", 1, "ValueError: no")])
def test_a_failed_run_is_reported_in_its_row(failing, here, words, status, reason, capsys):
    failing(words, status)
    assert compare.main(["-d", "plain", "-a", "GAN", "-s", "1", *SHORT, *TINY]) == 0
    printed = capsys.readouterr().out
    assert f"failed: {reason}" in printed and "nothing is ranked" in printed
    (row,) = read_csv("compare/ranking.csv")
    assert (row["rank"], row["distance"], row["steadiness_rank"], row["undefined"]) == ("", "", "", "no run is done")
    assert read_csv("compare/runs.csv")[0]["remarks"] == f"failed: {reason}"
    assert f"failed: {reason}" in Path("compare/report.html").read_text()
    failing("another failure", 1)       # it is not tried again
    assert compare.main(["-d", "plain", "-a", "GAN", "-s", "1", *SHORT, *TINY]) == 0
    assert read_csv("compare/runs.csv")[0]["remarks"] == f"failed: {reason}"


def test_jobs_divide_the_cores(here, monkeypatch, capsys):
    program = here / "program.py"
    program.write_text("import os, sys\nsys.exit(os.environ['TF_NUM_INTRAOP_THREADS'] + ' threads')\n")
    monkeypatch.setattr(trainings, "train_command", lambda: [sys.executable, program])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    compare.main(["-d", "plain", "-a", "GAN", *SHORT, "--jobs", "2", *TINY])
    assert [run["remarks"] for run in read_csv("compare/runs.csv")] == ["failed: 3 threads"] * 2


@pytest.mark.parametrize("arguments, words", [
    (["-d", "nowhere"], ["nowhere", "no such folder"]), (["-d", "plain/plain_test"], ["plain_test", "held-out"]),
    (["-d", "plain", "-m", "DCGN"], ["did you mean DCGAN?"]), (["-d", "plain", "-a", "WGANGP"], ["WGAN-GP?"]),
    (["-d", "plain", "-d", "plain"], ["given twice"]), (["-d", "plain", "-d", "larger"], ["larger", "32 x 48"]),
    (["-d", "plain", "-d", "one"], ["classes", "Alp14, Tea1"]), (["-d", "few"], ["few", "training images"]),
    (["-d", "plain", "-s", ""], ["at least one value"]), (["-d", "plain", "-n", "5"], ["-n 5"]),
    (["-d", "plain", "--", "-s", "3"], ["itself sets seed"]), (["-d", "plain", "--", "--lrG", "x"], ["--lrG"]),
    (["-d", "odd", "-m", "DCGAN"], ["halved"]), (["-d", "plain", "-o", "masks"], ["masks", "other files"])])
def test_mistakes_are_one_line_before_any_training(here, arguments, words, capsys):
    for seed, split in enumerate(("train", "test")):
        write_images(here / f"larger/larger_{split}", number=20, size=(32, 48), seed=seed)
        write_images(here / f"one/one_{split}", ["Alp14"], number=20, seed=seed)
        write_images(here / f"few/few_{split}", number=5 if split == "train" else 20, seed=seed)
        write_images(here / f"odd/odd_{split}", number=20, size=(15, 23), seed=seed)
    try:
        status = compare.main(arguments)
    except SystemExit as end:
        status = end.code
    message = capsys.readouterr().err
    assert status == 2 and message.count("\n") == 1 and all(word in message for word in words), message
    assert not Path("compare").exists()


@pytest.mark.parametrize("change, words", [
    (["--minutes", "7"], "minutes 0.05 there, 7.0 here"), (["-a", "WGAN-GP"], "algorithms GAN only there"),
    (["-d", "masks"], "data plain only there"), (["-m", "DCGAN-separable"], "architectures DCGAN only there"),
    (["--", "--lrG", "0.1"], "options")])
def test_the_folder_of_a_different_comparison_is_refused(failing, here, change, words, capsys):
    failing("no", 1)
    command = {"-d": ["-d", "plain"], "-a": ["-a", "GAN"], "--minutes": ["--minutes", "0.05"]}
    assert compare.main([word for pair in command.values() for word in pair]) == 0
    changed = command | {change[0]: change}
    capsys.readouterr()
    assert compare.main([word for pair in changed.values() for word in pair]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and words in message and "-o" in message


def test_further_runs_join_a_comparison(failing, here, capsys):
    failing("no", 1)
    assert compare.main(["-d", "plain", "-a", "GAN", "-s", "1", *SHORT]) == 0
    assert compare.main(["-d", "plain", "-a", "GAN,WGAN", "-s", "1,2", *SHORT]) == 0
    assert "4 runs of 0.05 minutes each, 1 of which have ended" in capsys.readouterr().out
    assert len(read_csv("compare/runs.csv")) == 4
    write_images(here / "other", number=20)
    (here / "plain/plain_train/Alp14/cell000.png").unlink()
    assert compare.main(["-d", "plain", "-a", "GAN,WGAN", "-s", "1,2", *SHORT]) == 2
    assert "other images in plain" in capsys.readouterr().err


def test_folders_have_short_labels():
    def labels(*names):
        return compare.folder_labels([Path(name) for name in names])
    assert labels("/a/plain", "/b/masks") == ["plain", "masks"]
    assert labels("/a/x/data", "/b/y/data") == ["x-data", "y-data"]
