"""A run of InfoGAN as a user sees it: its files, resumed; its codes set, and evaluated with labels."""

import csv
import json
import re

import h5py
import numpy as np
import pytest
from PIL import Image

from biogans.core import codes, predict, train, trained
from biogans.evaluation import evaluate
from biogans.latent import interpolate
from infogan_runs import DCGAN, INFO, MODEL, refused, train_both


@pytest.fixture(scope="module")
def infogan_folder(tmp_path_factory):
    """A user's folder after training an InfoGAN and a DCGAN on round cells for a few iterations."""
    folder = tmp_path_factory.mktemp("codes")
    train_both(folder)
    return folder


def stack(path="images/stack2.InfoGAN.GAN.h5"):
    with h5py.File(path) as file:
        return file["stack"][()], file["z"][()]


def description(path):
    """The JSON that a weights file holds, as a dict."""
    with h5py.File(path) as file:
        return json.loads(file.attrs["biogans"])


def csv_rows(path):
    return list(csv.reader(path.read_text().splitlines()))


def test_files_describe_where_codes_are(in_infogan_folder):
    for name in (MODEL, MODEL.replace("generator", "combined_model"), MODEL.replace("weights", "model"),
                 MODEL.replace("generator", "recognizer")):
        assert description(name)["codes"] == [
            {"name": "c0", "indices": [7, 8, 9], "kind": "categorical", "categories": 3},
            {"name": "u0", "indices": [10], "kind": "continuous", "range": [-1, 1]},
            {"name": "u1", "indices": [11], "kind": "continuous", "range": [-1, 1]}]
    assert "codes" not in description(DCGAN)


def test_the_recognizer_is_that_of_the_training(in_infogan_folder):
    """From the file of any kind of generator; the same answers as from the state of the training."""
    images = np.random.default_rng(0).uniform(-1, 1, (5, 40, 40, 2)).astype("float32")
    known = [trained.load_recognizer(name).predict_on_batch(images)
             for name in (MODEL, MODEL.replace("weights", "model"), MODEL.replace("generator", "combined_model"))]
    assert np.array_equal(known[0], known[1]) and np.array_equal(known[0], known[2])
    arrays, _ = trained.read_weights(MODEL.replace("generator", "combined_model"))
    head = [arrays[name] for name in sorted(arrays) if name.startswith("recognizer/")]
    assert np.array_equal(head[-1], trained.load_recognizer(MODEL).get_layer("answers").bias.numpy())


def test_a_resumed_run_is_the_same(tmp_path, infogan_folder, monkeypatch):
    """2 + 2 iterations end with the state of 4, and with the same table of what codes mean."""
    monkeypatch.chdir(tmp_path)
    options = [str(infogan_folder / each) if each == "data" else each for each in INFO]
    assert train.main([*options, "-e", "2"]) == train.main([*options, "-e", "4", "-w"]) == 0
    (halves, _), (whole, _) = (trained.read_weights(path / MODEL.replace("generator", "combined_model"))
                               for path in (tmp_path, infogan_folder))
    assert halves.keys() == whole.keys()
    for name, array in whole.items():
        assert np.array_equal(array, halves[name]), name
    table, expected = (csv_rows(path / "checkpoints/codes.InfoGAN.GAN.1.csv") for path in (tmp_path, infogan_folder))
    assert table == expected
    assert table[0] == ["iteration", "c0 bits", "c0 entropy", "c0 decisiveness", "u0 R2", "u0 spread", "u1 R2",
                        "u1 spread"]
    assert [row[0] for row in table[1:]] == ["2", "4"]


def test_codes_are_set_and_otherwise_random(in_infogan_folder):
    predict.main(["-i", MODEL, "-n", "40", "-s", "1"])
    _, free = stack()
    assert set(free[:, 7:10].sum(axis=1)) == {1} and len(np.unique(free[:, 7:10].argmax(axis=1))) == 3
    predict.main(["-i", MODEL, "-n", "40", "-s", "1", "--code", "c0=2,u1=-0.5"])
    _, z = stack()
    assert (z[:, 9] == 1).all() and (z[:, 11] == -0.5).all() and np.array_equal(z[:, :7], free[:, :7])


def test_evaluation_with_labels(in_infogan_folder, capsys):
    assert evaluate.main(["-i", MODEL, "-d", "data", "--codes"]) == 0
    result = json.loads((in_infogan_folder / "evaluation/codes.InfoGAN.GAN.4.json").read_text())
    rows = {row["name"]: row for row in result["rows"]}
    assert {"c0", "u0", "u1", "k-means, 3", "k-means, 4", "component 1"} <= rows.keys()
    assert 0.25 <= rows["k-means, 4"]["accuracy"] <= 1 and {"t", "dna", "light 2", "focus 1"} <= rows["u0"].keys()
    assert abs(rows["component 1"]["t"]) > 0.8      # a cell's size varies most
    printed = capsys.readouterr().out
    assert "k-means, 3" in printed
    labels = codes.read_labels(trained.load_generator(MODEL))
    assert sum(label.images for label in labels["c0"]) == result["images"]
    for line in codes.label_lines({trained.load_generator(MODEL).spec.codes[0]: 0}, labels):
        assert line in printed


def test_an_interpolation_between_categories(in_infogan_folder, capsys):
    """Key frames are the cells of predict.py; on the way there is one category at a time; --code keeps one."""
    assert interpolate.main(["-i", MODEL, "--seeds", "1,2,5", "--frames", "3"]) == 0
    names = re.findall(r"seed (\d), c0=(\d)", capsys.readouterr().out)
    z = key_frames()
    assert [int(category) for _, category in names] == z[:, 7:10].argmax(axis=1).tolist()
    for row, (seed, _) in zip(z, names, strict=True):
        predict.main(["-i", MODEL, "-s", seed])
        np.testing.assert_array_equal(stack()[1][0], row)
    assert interpolate.main(["-i", MODEL, "-n", "3", "-s", "1", "--frames", "2", "--code", "c0=2,u1=-0.5"]) == 0
    assert (key_frames()[:, 9] == 1).all() and (key_frames()[:, 11] == -0.5).all()
    with Image.open("images/interpolation2.InfoGAN.GAN.gif") as movie:
        assert movie.n_frames == 6


def key_frames():
    """z of the newest interpolation."""
    with h5py.File("images/interpolation2.InfoGAN.GAN.h5") as file:
        return file["z"][()]


@pytest.mark.parametrize("command, arguments, problem", [
    (predict, ["-i", DCGAN, "--code", "c0=1"], "no codes"),
    (predict, ["-i", MODEL, "--code", "c0=3"], "c0 (0 to 2)"),
    (evaluate, ["--codes", "-d", "data"], "-i"),
    (evaluate, ["-i", DCGAN, "-d", "data", "--codes"], "no codes"),
    (train, ["-d", "data", "-m", "DCGAN", "--continuous", "2"], "use -m InfoGAN"),
    (train, ["-d", "data", "-m", "InfoGAN", "--categorical", "99,9"], "noise is left")])
def test_mistakes_are_one_line(in_infogan_folder, capsys, command, arguments, problem):
    assert problem in refused(capsys, command, arguments)


@pytest.mark.usefixtures("quick_runs")
def test_a_training_reports_codes_without_information(tmp_path, infogan_folder, monkeypatch, capsys):
    """Once, on standard error, with the remedy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(codes, "SETTLED", 3)
    monkeypatch.setattr(codes, "NOTHING", np.inf)
    options = [str(infogan_folder / each) if each == "data" else each for each in INFO]
    assert train.main([*options, "-e", "6"]) == 0
    error = capsys.readouterr().err
    assert error.count("the codes carry no information") == 1 and "warning: after 4 iterations" in error
