"""Mistakes and bad files, given to the commands: one line with the mistake and the remedy, and status 2."""

import json
import os
import resource
import shutil
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image

import forked_python
from biogans.core import predict, train
from biogans.core.engine import Engine
from biogans.system import hdf5
from conftest import ROOT, SMALL, write_huge_png, write_images

TRAIN = ("-d", "data", "-m", "DCGAN", *SMALL)
GENERATOR = "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"
COMBINED = "checkpoints/weights.combined_model.DCGAN.WGAN-GP.1.h5"
CRITIC = "checkpoints/weights.critic.DCGAN.WGAN-GP.1.h5"
MODEL = "checkpoints/model.generator.DCGAN.WGAN-GP.1.h5"


def listing(folder):
    """{path below `folder`: its bytes} of all files and links."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(data, run, tmp_path):
    """A function that runs a command which must be refused without changing files, and checks its one line."""
    def check(script, *arguments, words, **settings):
        before = listing(tmp_path)
        done = run(script, *arguments, **settings)
        assert done.returncode == 2, done.stdout + done.stderr
        assert done.stderr.count("\n") == 1 and done.stderr.startswith(f"{script}: "), done.stderr
        assert "Traceback" not in done.stderr and not [word for word in words if word not in done.stderr], done.stderr
        assert listing(tmp_path) == before
        return done
    return check


@pytest.fixture
def train_refuses(data, tmp_path, monkeypatch, capsys):
    """The same for train.py, in this process, which saves the start of TensorFlow."""
    monkeypatch.chdir(tmp_path)

    def check(*arguments, words):
        before = listing(tmp_path)
        assert train.main([*map(str, arguments)]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and not [word for word in words if word not in line], line
        assert listing(tmp_path) == before
    return check


def truncate(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


# ---------------------------------------------------------------------------------------------- without TensorFlow

@pytest.mark.parametrize("arguments, words", [
    (("-d", "missing"), ("missing", "no such folder", "-d")),
    (("-d", "data/LIN_train/Alp14/cell000.png"), ("cell000.png", "this is a file", "such as data/LIN_train/Alp14")),
    (("-d", ""), ("no such folder", "-d")),
    (("-d", "data", "-p", "Alp15"), ("Alp15", "did you mean Alp14?", "Tea1")),
    (("-d", "data", "--channels", "1,7"), ("--channels 1,7", "only 3")),
    (("-d", "data", "--cache", "cells.npz"), ("cells.npz", ".npy")),
    (("-d", "data"), ("Alp14 has 12 images", "batch of 64", "--batch_size")),
    (("-d", "data", "-b", "25", "-m", "DCGAN"), ("24 images", "batch of 25", "--batch_size")),
    (("-d", "data", "-b", "4", "-w"), ("checkpoints", "no such checkpoint to resume", "-w")),
    (("-d", "data", "-b", "4", "--nz", "1"), ("--nz",)),
    (("-d", "data", "-b", "4", "-c", "data/LIN_train/Alp14/cell000.png/below"), ("cell000.png", "file stands")),
])
def test_mistakes_of_train(refused, arguments, words):
    refused("train.py", *arguments, words=words)


@pytest.mark.parametrize("script, arguments, words", [
    ("train.py", (), ("-d",)), ("train.py", ("-d", "data", "-b", "-1"), ("-b", "-1")),
    ("train.py", ("-d", "data", "-z", "0"), ("-z", "0")),
    ("train.py", ("-d", "data", "--lrD", "nan"), ("--lrD", "nan")),
    ("train.py", ("-d", "data", "-a", "WGANGP"), ("-a", "WGAN-GP")),
    ("predict.py", (), ("-i",)), ("predict.py", ("-i", "missing.h5"), ("missing.h5", "-i")),
    ("predict.py", ("-i", "data"), ("data", "-i")), ("predict.py", ("-i", "data", "-e"), ("-e", "-d")),
    ("visualize.py", (), ("-i",)), ("visualize.py", ("-i", "missing.h5"), ("missing.h5", "no such file")),
])
def test_mistakes_on_the_command_line(refused, script, arguments, words):
    refused(script, *arguments, words=words)


def test_a_folder_without_images(train_refuses, data):
    (data / "empty").mkdir()
    (data / "empty" / "notes.txt").write_text("x")
    train_refuses("-d", "data/empty", words=("data/empty", "no images here", ".png"))


def test_a_bad_image_is_reported(train_refuses, data):
    truncate(data / "LIN_train" / "Tea1" / "cell005.png")
    train_refuses(*TRAIN, words=("Tea1/cell005.png", "--skip_bad_images"))
    (data / "LIN_train" / "Alp14" / "cell003.png").write_text("no image")
    train_refuses(*TRAIN, words=("Alp14/cell003.png", "--skip_bad_images"))
    train_refuses(*TRAIN, "--cache", "cells.npy", words=("Alp14/cell003.png", "--skip_bad_images"))


def test_a_factor_without_readable_images(train_refuses, data):
    for path in (data / "LIN_train" / "Alp14").iterdir():
        truncate(path)
    train_refuses(*TRAIN, "--skip_bad_images", words=("Alp14", "none of its 12 images can be read", "-p Tea1"))


def test_images_of_different_sizes(train_refuses, data):
    Image.fromarray(np.zeros((16, 32, 3), np.uint8)).save(data / "LIN_train" / "Tea1" / "cell011.png")
    train_refuses(*TRAIN, words=("Tea1/cell011.png", "16x32", "Alp14/cell000.png", "16x24", "alike"))


@pytest.mark.parametrize("size", [(10, 10), (48, 81), (15, 24)])
def test_sides_that_cannot_be_halved(train_refuses, tmp_path, size):
    write_images(tmp_path / "odd", size=size)
    train_refuses("-d", "odd", *TRAIN[2:], words=("{}x{} pixels".format(*size), "crop or pad", "multiples of 4"))


def test_one_channel_needs_another_architecture(train_refuses):
    train_refuses("-d", "data", "-b", "4", "--channels", "2", words=("DCGAN-starshaped needs two channels", "-m DCGAN"))


@pytest.mark.parametrize("folder", ["checkpoints", "images"])
def test_a_file_in_the_place_of_an_output_folder(train_refuses, tmp_path, folder):
    (tmp_path / folder).write_text("mine")
    train_refuses(*TRAIN, words=(folder, "a file stands", "choose another"))


# ---------------------------------------------------------------------------------------------- with a trained network

@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """.folder: where train.py ran two iterations and skipped bad images; .done: its CompletedProcess."""
    folder = tmp_path_factory.mktemp("trained")
    write_images(folder / "data" / "LIN_train")
    truncate(folder / "data" / "LIN_train" / "Tea1" / "cell005.png")
    (folder / "data" / "LIN_train" / "Alp14" / "cell003.png").write_text("no image")
    command = [sys.executable, ROOT / "bin" / "train.py", *TRAIN, "-e", "2", "--skip_bad_images"]
    done = forked_python.run(command, folder)
    return SimpleNamespace(folder=folder, done=done)


@pytest.fixture
def workplace(trained, tmp_path):
    """A copy of that folder for one test."""
    shutil.copytree(trained.folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def refuses(workplace, monkeypatch, capsys):
    """A function that calls the main function of predict or train there, and checks the one line of the refusal."""
    monkeypatch.chdir(workplace)

    def check(main, *arguments, words):
        before = listing(workplace)
        assert {"predict": predict, "train": train}[main].main([*map(str, arguments)]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and not [word for word in words if word not in line], line
        assert listing(workplace) == before
    return check


CONTINUE = (*TRAIN, "--skip_bad_images", "-w", "-e", "3")


def test_bad_images_are_skipped_and_counted(trained):
    assert trained.done.returncode == 0 and trained.done.stderr == ""
    assert "22 images of Alp14, Tea1: 16x24 pixels, 2 channel(s); 2 unreadable ones left out" in trained.done.stdout


@pytest.mark.parametrize("option, given, stored", [
    ("-m", "DCGAN-separable", "DCGAN"), ("-a", "GAN", "WGAN-GP"), ("--ngf", "8", "4"), ("--ndf", "8", "4"),
    ("-z", "100", "6"), ("--lrD", "0.5", "0.0001"), ("-o", "rmsprop", "adam"), ("--wgangp_lambda", "1", "10"),
    ("-p", "Alp14", "green")])
def test_options_that_contradict_a_file(refuses, option, given, stored):
    refuses("predict", "-i", GENERATOR, option, given, words=(f" {given}", f" {stored}", GENERATOR))


def flip_bit_of_array(path):
    """Flip a bit of the largest array, which HDF5 itself does not check."""
    with h5py.File(path, "r") as file:
        arrays = []
        file.visititems(lambda name, thing: arrays.append(thing) if isinstance(thing, h5py.Dataset) else None)
        offset = max(arrays, key=lambda array: array.nbytes).id.get_offset()
    content = bytearray(path.read_bytes())
    content[offset + 40] ^= 4
    path.write_bytes(content)


def flip_bit_of_settings(path):
    """A learning rate of 0.0002 becomes 0.0006 in the JSON text."""
    content = path.read_bytes()
    at = content.index(b'"lrG": 0.0002') + len(b'"lrG": 0.000')
    path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1:])


def foreign(path):
    path.unlink()
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((1, 16, 24, 2))


def text(path):
    path.write_text("no HDF5")


def empty(path):
    path.write_bytes(b"")


def other_settings_with_a_right_checksum(path):
    """Describe other networks than those whose arrays are in the file."""
    with h5py.File(path, "r+") as file:
        metadata = json.loads(file.attrs["biogans"])
        metadata["network"]["ngf"] = 8
        hdf5.describe(file, metadata)


DAMAGES = {truncate: "readable", flip_bit_of_array: "checksum", flip_bit_of_settings: "checksum",
           foreign: "not written by BioGANs", text: "readable", empty: "readable"}


@pytest.mark.parametrize("name", [GENERATOR, MODEL, COMBINED])
@pytest.mark.parametrize("damage", [*DAMAGES, other_settings_with_a_right_checksum])
def test_damaged_weights_generate_nothing(refuses, workplace, damage, name):
    damage(workplace / name)
    refuses("predict", "-i", name, words=(name, DAMAGES.get(damage, "shape")))


@pytest.mark.parametrize("damage", [*DAMAGES, other_settings_with_a_right_checksum])
def test_training_does_not_resume_from_a_damaged_checkpoint(refuses, workplace, damage):
    damage(workplace / COMBINED)
    refuses("train", *CONTINUE, words=(COMBINED, DAMAGES.get(damage, "--ngf 4 (not 8)")))


def test_a_critic_generates_nothing(refuses):
    refuses("predict", "-i", CRITIC, words=(CRITIC, "critic 0", "generator"))


def test_training_does_not_resume_from_a_generator(refuses, workplace):
    shutil.copy(workplace / GENERATOR, workplace / COMBINED)
    refuses("train", *CONTINUE, words=(COMBINED, "holds one network", "weights.combined_model"))


def test_other_hyperparameters_are_listed(refuses):
    refuses("train", *CONTINUE, "--lrG", "0.5", "--ngf", "8", "-s", "7",
          words=(COMBINED, "--ngf 8 (not 4)", "--lrG 0.5 (not 0.0002)", "--seed 7 (not 42)", "-w"))


def test_other_images_are_detected(refuses, workplace):
    (workplace / "data" / "LIN_train" / "Tea1" / "cell000.png").unlink()
    refuses("train", *CONTINUE, words=(COMBINED, "images number: 22 there, 21 here"))


def test_evaluation_with_images_of_another_size(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    write_images(workplace / "others", size=(32, 32))
    assert predict.main(["-i", GENERATOR, "-e", "-d", "others"]) == 2
    line = capsys.readouterr().err
    assert "others" in line and "32x32" in line and "16x24" in line and line.count("\n") == 1


def test_a_file_in_the_place_of_the_folder_of_stacks(refuses, workplace):
    shutil.rmtree(workplace / "images")
    (workplace / "images").write_text("mine")
    refuses("predict", "-i", GENERATOR, words=("images", "a file stands"))


@pytest.mark.parametrize("script, arguments, damage, words", [
    ("predict.py", ("-i", GENERATOR), flip_bit_of_array, (GENERATOR, "checksum", "another copy")),
    ("train.py", (*CONTINUE, "-g", "99"), None, ("-g 99", "device(s)", "at most"))])
def test_refusals_in_a_new_process(refused, workplace, script, arguments, damage, words):
    """Messages of TensorFlow are suppressed."""
    if damage:
        damage(workplace / GENERATOR)
    refused(script, *arguments, words=words, new=True)


# ---------------------------------------------------------------------------------------------- diverging

def test_a_huge_learning_rate(workplace, run):
    """It causes a warning, NaN ends the run, and the files of the earlier run stay as they are."""
    before = {name: content for name, content in listing(workplace / "checkpoints").items() if name.endswith(".h5")}
    done = run("train.py", *TRAIN, "--skip_bad_images", "-e", "200", "--lrD", "1e9", "--lrG", "1e9")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    warning, end = done.stderr.splitlines()
    assert warning.startswith("warning: a learning rate of 1e+09") and "losses became" in end and "--lrD" in end
    after = {name: content for name, content in listing(workplace / "checkpoints").items() if name.endswith(".h5")}
    assert after == before and not list((workplace / "checkpoints").glob("replaced-*"))


def test_a_nan_keeps_the_last_checkpoint(workplace, monkeypatch, capsys):
    """A loss that is NaN in iteration 3 leaves the checkpoint of iteration 2 unchanged."""
    monkeypatch.setattr(Engine, "iterate", lambda *arguments: (float("nan"), 0.0))
    before = {path: path.read_bytes() for path in (workplace / "checkpoints").glob("*.h5")}
    monkeypatch.chdir(workplace)
    assert train.main([*CONTINUE]) == 2 and "losses became nan" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (workplace / "checkpoints").glob("*.h5")} == before and len(before) == 4


@pytest.mark.parametrize("words", [("predict.py",), ("visualize.py",), ("evaluate", "-d", "data"), ("export",),
                                   ("diversity", "-d", "data"), ("preprocess", "-o", "new"), ("cells", "-o", "new"),
                                   ("import_torch",)])
@pytest.mark.parametrize("name", ["pipe", "pipe.h5"])
def test_a_pipe_is_no_input(data, run, tmp_path, words, name):
    """Nothing is written to it, so whoever opens it waits for ever."""
    os.mkfifo(tmp_path / name)
    done = run(*words, "-i", name)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and name in done.stderr, done.stderr


@pytest.mark.parametrize("words", [
    ("train.py", "-m", "DCGAN", *SMALL, "-d", "huge"), ("evaluate", "-d", "huge", "--fast"),
    ("visualize.py", "-i", "huge/A/0.png"), ("preprocess", "-i", "huge/A", "-o", "new", "-j", "1"),
    ("cells", "-i", "huge/A", "-o", "new")])
def test_a_huge_image_is_refused_before_it_is_decoded(run, tmp_path, words):
    """With less memory than its pixels would take."""
    (tmp_path / "huge" / "A").mkdir(parents=True)
    for k in range(2):
        write_huge_png(tmp_path / "huge" / "A" / f"{k}.png")
    done = run(*words, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, 4 << 30)))
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "0.png: 40000x40000 pixels" in done.stderr and "are refused" in done.stderr


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_a_pipe_or_device_among_the_images(data, run, make):
    make(data / "LIN_train" / "Alp14" / "z.png")
    done = run("train.py", *TRAIN, "-e", "1")
    assert done.returncode == 2 and "z.png: this is a " in done.stderr and done.stderr.count("\n") == 1
