"""biogans interpolate: all its files, and every choice of key frames."""

import h5py
import imageio.v3
import numpy as np
import pytest
from PIL import Image

from biogans.core import predict
from biogans.latent import interpolate
from conftest import train_small_networks

STAR = "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
MOVIE = "images/interpolation3.DCGAN-starshaped.WGAN-GP"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder after training a star of two factors for 2 iterations and generating three cells."""
    folder = tmp_path_factory.mktemp("interpolate")
    train_small_networks(folder, ["DCGAN-starshaped"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        predict.main(["-i", STAR, "-n", "3", "-s", "5"])
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def keys(path=f"{MOVIE}.h5"):
    with h5py.File(path) as file:
        return file["z"][()], file["stack"][()]


def test_all_files_of_a_movie(here, capsys):
    assert interpolate.main(["-i", STAR, "-n", "3", "-s", "1", "--frames", "4"]) == 0
    out = capsys.readouterr().out
    assert all(f"{MOVIE}{suffix}" in out for suffix in (".gif", ".mp4", ".png", ".h5"))
    assert Image.open(f"{MOVIE}.gif").n_frames == 12 == len(imageio.v3.imread(f"{MOVIE}.mp4", plugin="FFMPEG"))
    assert Image.open(f"{MOVIE}.png").format == "PNG" and len(keys()[0]) == 3


def test_open_movies_and_chosen_factors(here):
    assert interpolate.main(["-i", STAR, "-n", "3", "--frames", "4", "--open", "-p", "Tea1", "-o", "mine/m"]) == 0
    assert Image.open("mine/m.gif").n_frames == 9 and keys("mine/m.h5")[1].shape == (3, 16, 24, 2)


def test_seeds_are_those_of_predict(here):
    predict.main(["-i", STAR, "-s", "7"])
    with h5py.File("images/stack3.DCGAN-starshaped.WGAN-GP.h5") as file:
        generated = file["z"][0], file["stack"][0]
    interpolate.main(["-i", STAR, "--seeds", "3,7", "--frames", "2"])
    z, cells = keys()
    np.testing.assert_array_equal(z[1], generated[0])
    np.testing.assert_allclose(cells[1], generated[1], atol=1e-6)


def test_cells_of_a_stack(here):
    predict.main(["-i", STAR, "-n", "4", "-s", "5"])
    with h5py.File("images/stack3.DCGAN-starshaped.WGAN-GP.h5") as file:
        expected = file["z"][()]
    arguments = ["-i", STAR, "--stack", "images/stack3.DCGAN-starshaped.WGAN-GP.h5", "--frames", "2"]
    for chosen, rows in (([], [0, 1, 2, 3]), (["--cells", "2,0"], [2, 0])):
        assert interpolate.main([*arguments, *chosen]) == 0
        np.testing.assert_array_equal(keys()[0], expected[rows])


def test_real_cells_are_reconstructed(here, capsys):
    assert interpolate.main(["-i", STAR, "-d", "data", "-n", "2", "--frames", "2", "-s", "1"]) == 0
    out = capsys.readouterr().out
    assert "Alp14 cell0" in out and "Tea1 cell0" in out and len(keys()[0]) == 2


@pytest.mark.parametrize("arguments, words", [
    (("--cells", "1"), ("--cells", "--stack")),
    (("--seeds", "3"), ("one key frame", "two or more")),
    (("--stack", "data"), ("data", "folder")),
    (("--stack", "missing.h5"), ("missing.h5", "no such file")),
    (("--stack", "checkpoints/log.DCGAN-starshaped.WGAN-GP.2.csv"), ("csv", "not an HDF5 file")),
    (("--stack", STAR), (STAR, "no latent vectors z")),
    (("--stack", "images/two.h5"), ("two.h5", "3 numbers", "6")),
    (("--stack", "images/linked.h5"), ("linked.h5", "no latent vectors z")),
    (("--stack", "images/two.h5", "-i", "missing"), ("missing", "no such file")),
    (("-d", "nowhere"), ("nowhere", "no such folder")),
    (("-p", "Sid2"), ("Sid2", "Alp14, Tea1")),
    (("--cycle", "-n", "1000"), ("-n 1000", "choose fewer"))])
def test_mistakes_are_one_line(here, capsys, arguments, words):
    (here / "images").mkdir(exist_ok=True)
    with h5py.File("images/two.h5", "w") as file:
        file["z"] = np.zeros((2, 3), "float32")
    with h5py.File("images/linked.h5", "w") as file:
        file["z"] = h5py.ExternalLink("two.h5", "z")
    assert interpolate.main(["-i", STAR, *arguments]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and all(word in line for word in words)
