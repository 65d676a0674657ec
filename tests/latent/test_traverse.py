"""A run of InfoGAN as a user sees it: its files, resumed; codes given, moved, evaluated; cells in order."""

import csv
import json

import h5py
import numpy as np
import pytest
from PIL import Image

from biogans.core import checkpoint, codes, figures, predict, train
from biogans.data import get_data
from biogans.evaluation import clusters, evaluate
from biogans.latent import interpolate, pseudotime, reconstruct, traverse
from conftest import SMALL

MODEL = "checkpoints/weights.generator.InfoGAN.GAN.1.h5"
INFO = (*SMALL[:4], "-z", "12", "-b", "4", "-d", "data", "-m", "InfoGAN", "-a", "GAN", "--categorical", "3", "--continuous", "2",
        "-M", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder after training an InfoGAN and a DCGAN on round cells for some iterations."""
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


def stack(path="images/stack2.InfoGAN.GAN.h5"):
    with h5py.File(path) as file:
        return file["stack"][()], file["z"][()]


def test_files_say_where_codes_are(here):
    for name in (MODEL, MODEL.replace("generator", "combined_model"), MODEL.replace("weights", "model"),
                 MODEL.replace("generator", "recognizer")):
        assert checkpoint.read(name)[1]["codes"] == [
            {"name": "c0", "indices": [7, 8, 9], "kind": "categorical", "categories": 3},
            {"name": "u0", "indices": [10], "kind": "continuous", "range": [-1, 1]},
            {"name": "u1", "indices": [11], "kind": "continuous", "range": [-1, 1]}]
    assert "codes" not in checkpoint.read("checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5")[1]


def test_the_recognizer_is_that_of_the_training(here):
    """From the file of any kind of generator; the same answers as from the training's state."""
    images = np.random.default_rng(0).uniform(-1, 1, (5, 40, 40, 2)).astype("float32")
    known = [checkpoint.load_recognizer(name).predict_on_batch(images)
             for name in (MODEL, MODEL.replace("weights", "model"), MODEL.replace("generator", "combined_model"))]
    assert np.array_equal(known[0], known[1]) and np.array_equal(known[0], known[2])
    arrays, facts = checkpoint.read(MODEL.replace("generator", "combined_model"))
    head = [arrays[name] for name in sorted(arrays) if name.startswith("recognizer/")]
    assert np.array_equal(head[-1], checkpoint.load_recognizer(MODEL).get_layer("answers").bias.numpy())


def test_a_resumed_run_is_the_same(tmp_path, folder, monkeypatch):
    """2 + 2 iterations end with the state of 4, and with the same table of what codes mean."""
    monkeypatch.chdir(tmp_path)
    options = [str(folder / each) if each == "data" else each for each in INFO]
    assert train.main([*options, "-e", "2"]) == train.main([*options, "-e", "4", "-w"]) == 0
    (halves, _), (whole, _) = (checkpoint.read(path / MODEL.replace("generator", "combined_model"))
                               for path in (tmp_path, folder))
    assert halves.keys() == whole.keys()
    for name, array in whole.items():
        assert np.array_equal(array, halves[name]), name
    table = list(csv.reader(open("checkpoints/codes.InfoGAN.GAN.1.csv")))
    assert table == list(csv.reader(open(folder / "checkpoints/codes.InfoGAN.GAN.1.csv")))
    assert table[0] == ["iteration", "c0 bits", "c0 entropy", "c0 decisiveness", "u0 R2", "u0 spread", "u1 R2", "u1 spread"]
    assert [row[0] for row in table[1:]] == ["2", "4"]


def test_codes_are_set_and_otherwise_drawn(here):
    predict.main(["-i", MODEL, "-n", "40", "-s", "1"])
    _, free = stack()
    assert set(free[:, 7:10].sum(axis=1)) == {1} and len(np.unique(free[:, 7:10].argmax(axis=1))) == 3
    predict.main(["-i", MODEL, "-n", "40", "-s", "1", "--code", "c0=2,u1=-0.5"])
    _, z = stack()
    assert (z[:, 9] == 1).all() and (z[:, 11] == -0.5).all() and np.array_equal(z[:, :7], free[:, :7])


def test_traversals(here, capsys):
    assert traverse.main(["-i", MODEL, "-n", "3", "--steps", "4"]) == 0
    for code in ("c0", "u0", "u1"):
        with Image.open(f"images/traversal.{code}.InfoGAN.GAN.1.png") as picture, \
                Image.open(f"images/traversal.{code}.InfoGAN.GAN.1.gif") as movie:
            assert min(picture.size) > 100 and movie.n_frames >= 3
    assert capsys.readouterr().out.count("Output") == 6
    (here / "images/traversal.c0.InfoGAN.GAN.1.png").unlink()
    assert traverse.main(["-i", MODEL, "--code", "c0=1,u1=0"]) == 0
    assert "c0" not in capsys.readouterr().out


def test_a_traversal_shows_what_the_generator_draws(here, monkeypatch):
    """Rows are noises and columns values: cell for cell what draw makes of z with the code set."""
    seen = []
    table = figures.table
    monkeypatch.setattr(figures, "table", lambda rows, *rest: seen.append(np.array(rows)) or table(rows, *rest))
    traverse.main(["-i", MODEL, "-n", "2", "--steps", "3", "--code", "c0=1,u0=0.2"])
    generator, spec, _ = checkpoint.load_generator(MODEL)
    code = spec.codes[-1]
    normal = np.concatenate(list(predict.latents(2, spec.nz, 0, 2)))
    z = codes.with_values(codes.from_normal(normal, spec.codes), codes.parse("c0=1,u0=0.2", spec.codes))
    for column, value in enumerate((-1, 0, 1)):
        expected = (generator.predict_on_batch(codes.with_values(z, {code: value})) + 1) / 2
        np.testing.assert_allclose(seen[0][:, column], expected, atol=1e-5)


def test_the_movie_of_a_training(here, capsys):
    assert traverse.main(["-i", MODEL, "--training"]) == 0
    with Image.open("images/training.InfoGAN.GAN.1.gif") as movie:
        assert movie.n_frames >= 2
    assert traverse.main(["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5", "--training"]) == 2
    assert "too few" in capsys.readouterr().err


@pytest.mark.parametrize("command, arguments, problem", [
    (traverse, ["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"], "no codes"),
    (predict, ["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5", "--code", "c0=1"], "no codes"),
    (predict, ["-i", MODEL, "--code", "c0=3"], "c0 (0 to 2)"),
    (reconstruct, ["-i", MODEL, "-d", "data"], "biogans traverse"), (interpolate, ["-i", MODEL], "biogans traverse"),
    (pseudotime, ["-i", MODEL, "-d", "data", "--along", "c0"], "u0, u1"),
    (pseudotime, ["-i", MODEL, "-d", "data", "--channel", "3"], "2 channel"),
    (evaluate, ["--codes", "-d", "data"], "-i"),
    (evaluate, ["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5", "-d", "data", "--codes"], "no codes"),
    (train, ["-d", "data", "-m", "DCGAN", "--continuous", "2"], "use -m InfoGAN"),
    (train, ["-d", "data", "-m", "InfoGAN", "--categorical", "99,9"], "noise is left")])
def test_what_makes_no_sense_is_refused_in_one_line(here, capsys, command, arguments, problem):
    assert command.main(arguments) == 2
    message = capsys.readouterr().err
    assert problem in message and message.count("\n") == 1


def test_evaluation_with_labels(here, capsys):
    assert evaluate.main(["-i", MODEL, "-d", "data", "--codes"]) == 0
    rows = {row["name"]: row for row in json.loads(open("evaluation/codes.InfoGAN.GAN.4.json").read())["rows"]}
    assert {"c0", "u0", "u1", "k-means, 3", "k-means, 4", "component 1"} <= rows.keys()
    assert 0.25 <= rows["k-means, 4"]["accuracy"] <= 1 and {"t", "dna", "light 2", "focus 1"} <= rows["u0"].keys()
    assert abs(rows["component 1"]["t"]) > 0.8      # a cell's size varies most
    assert "k-means, 3" in capsys.readouterr().out


def test_cells_in_order(here, capsys):
    assert pseudotime.main(["-i", MODEL, "-d", "data"]) == 0
    printed = capsys.readouterr().out
    assert "rank correlation with t" in printed and "G1: median pseudotime" in printed
    rows = list(csv.DictReader(open("images/pseudotime.InfoGAN.GAN.1.csv")))
    moments = [float(row["pseudotime"]) for row in rows]
    assert moments == sorted(moments) and (moments[0], moments[-1]) == (0, 1) and len(rows) == len(list(here.glob('data/*_test/*/*.png')))
    assert [float(row["answer"]) for row in rows] == sorted(float(row["answer"]) for row in rows)
    with Image.open("images/pseudotime.InfoGAN.GAN.1.gif") as movie:
        assert movie.size == (240, 480)


def test_the_code_that_follows_the_light_is_chosen_in_its_direction():
    light, noise = np.arange(50.0), np.random.default_rng(0).standard_normal(50)
    some = [codes.Code("u0", 5, 1), codes.Code("u1", 6, 1)]
    assert pseudotime.choose(some, {"u0": noise, "u1": -light ** 3}, light) == (some[1], -1)
    assert pseudotime.choose(some, {"u0": light + 5 * noise, "u1": noise}, light) == (some[0], 1)
    assert pseudotime.ranks(np.array([3.0, 1, 2, 2])).tolist() == [1, 0, 0.5, 0.5]


def test_known_ages_are_found_again(here):
    """Ordering by a code that is the age gives the age's order: the machinery adds nothing of its own."""
    from biogans.core import dataloader
    images = dataloader.load("data", split="test")
    t = dataloader.known(images.files)["t"]
    assert clusters.rank_correlation(pseudotime.ranks(3 * t - 1), t) == pytest.approx(1)
    assert "rank correlation with t: +1.000" in pseudotime.report(codes.Code("u0", 5, 1), 1, 3 * t - 1, images, 2)
