"""A run of InfoGAN as a user sees it: its files, resumed; its codes set, and evaluated with labels."""

import csv
import json

import h5py
import numpy as np
import pytest

from biogans.core import predict, train, trained
from biogans.data import get_data
from biogans.evaluation import evaluate
from conftest import SMALL

MODEL = "checkpoints/weights.generator.InfoGAN.GAN.1.h5"
DCGAN = "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"
INFO = (*SMALL[:4], "-z", "12", "-b", "4", "-d", "data", "-m", "InfoGAN", "-a", "GAN", "--categorical", "3",
        "--continuous", "2", "-M", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder after training an InfoGAN and a DCGAN on round cells for a few iterations."""
    folder = tmp_path_factory.mktemp("codes")
    get_data.main(["round", "-o", str(folder / "data"), "-n", "120"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train.main([*INFO, "-e", "4"])
        train.main([*SMALL, "-d", "data", "-m", "DCGAN", "-e", "2"])
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def refused(capsys, command, arguments):
    """The one line on standard error."""
    assert command.main(arguments) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def stack(path="images/stack2.InfoGAN.GAN.h5"):
    with h5py.File(path) as file:
        return file["stack"][()], file["z"][()]


def description(path):
    """The JSON that a weights file holds, as a dict."""
    with h5py.File(path) as file:
        return json.loads(file.attrs["biogans"])


def test_files_describe_where_codes_are(here):
    for name in (MODEL, MODEL.replace("generator", "combined_model"), MODEL.replace("weights", "model"),
                 MODEL.replace("generator", "recognizer")):
        assert description(name)["codes"] == [
            {"name": "c0", "indices": [7, 8, 9], "kind": "categorical", "categories": 3},
            {"name": "u0", "indices": [10], "kind": "continuous", "range": [-1, 1]},
            {"name": "u1", "indices": [11], "kind": "continuous", "range": [-1, 1]}]
    assert "codes" not in description(DCGAN)


def test_the_recognizer_is_that_of_the_training(here):
    """From the file of any kind of generator; the same answers as from the state of the training."""
    images = np.random.default_rng(0).uniform(-1, 1, (5, 40, 40, 2)).astype("float32")
    known = [trained.load_recognizer(name).predict_on_batch(images)
             for name in (MODEL, MODEL.replace("weights", "model"), MODEL.replace("generator", "combined_model"))]
    assert np.array_equal(known[0], known[1]) and np.array_equal(known[0], known[2])
    arrays, _ = trained.read_weights(MODEL.replace("generator", "combined_model"))
    head = [arrays[name] for name in sorted(arrays) if name.startswith("recognizer/")]
    assert np.array_equal(head[-1], trained.load_recognizer(MODEL).get_layer("answers").bias.numpy())


def test_a_resumed_run_is_the_same(tmp_path, folder, monkeypatch):
    """2 + 2 iterations end with the state of 4, and with the same table of what codes mean."""
    monkeypatch.chdir(tmp_path)
    options = [str(folder / each) if each == "data" else each for each in INFO]
    assert train.main([*options, "-e", "2"]) == train.main([*options, "-e", "4", "-w"]) == 0
    (halves, _), (whole, _) = (trained.read_weights(path / MODEL.replace("generator", "combined_model"))
                               for path in (tmp_path, folder))
    assert halves.keys() == whole.keys()
    for name, array in whole.items():
        assert np.array_equal(array, halves[name]), name
    table = list(csv.reader(open("checkpoints/codes.InfoGAN.GAN.1.csv")))
    assert table == list(csv.reader(open(folder / "checkpoints/codes.InfoGAN.GAN.1.csv")))
    assert table[0] == ["iteration", "c0 bits", "c0 entropy", "c0 decisiveness", "u0 R2", "u0 spread", "u1 R2",
                        "u1 spread"]
    assert [row[0] for row in table[1:]] == ["2", "4"]


def test_codes_are_set_and_otherwise_random(here):
    predict.main(["-i", MODEL, "-n", "40", "-s", "1"])
    _, free = stack()
    assert set(free[:, 7:10].sum(axis=1)) == {1} and len(np.unique(free[:, 7:10].argmax(axis=1))) == 3
    predict.main(["-i", MODEL, "-n", "40", "-s", "1", "--code", "c0=2,u1=-0.5"])
    _, z = stack()
    assert (z[:, 9] == 1).all() and (z[:, 11] == -0.5).all() and np.array_equal(z[:, :7], free[:, :7])


def test_evaluation_with_labels(here, capsys):
    assert evaluate.main(["-i", MODEL, "-d", "data", "--codes"]) == 0
    rows = {row["name"]: row for row in json.loads(open("evaluation/codes.InfoGAN.GAN.4.json").read())["rows"]}
    assert {"c0", "u0", "u1", "k-means, 3", "k-means, 4", "component 1"} <= rows.keys()
    assert 0.25 <= rows["k-means, 4"]["accuracy"] <= 1 and {"t", "dna", "light 2", "focus 1"} <= rows["u0"].keys()
    assert abs(rows["component 1"]["t"]) > 0.8      # a cell's size varies most
    assert "k-means, 3" in capsys.readouterr().out


@pytest.mark.parametrize("command, arguments, problem", [
    (predict, ["-i", DCGAN, "--code", "c0=1"], "no codes"),
    (predict, ["-i", MODEL, "--code", "c0=3"], "c0 (0 to 2)"),
    (evaluate, ["--codes", "-d", "data"], "-i"),
    (evaluate, ["-i", DCGAN, "-d", "data", "--codes"], "no codes"),
    (train, ["-d", "data", "-m", "DCGAN", "--continuous", "2"], "use -m InfoGAN"),
    (train, ["-d", "data", "-m", "InfoGAN", "--categorical", "99,9"], "noise is left")])
def test_mistakes_are_one_line(here, capsys, command, arguments, problem):
    assert problem in refused(capsys, command, arguments)
