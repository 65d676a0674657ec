"""biogans reconstruct: the nearest neighbours, the table, and all files."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from biogans.core import trained
from biogans.latent import reconstruct, reconstruction_figures
from biogans.latent.inversion import Reconstruction
from conftest import SMALL, train_small_networks, write_images
from networks import FACTORS
from test_inversion import error_between, gray

STAR = "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
DCGAN = "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"


def test_likelihood_of_z():
    z = np.random.default_rng(0).standard_normal((4, 10)) * 2
    np.testing.assert_allclose(reconstruction_figures.negative_log_likelihood(z),
                               -stats.multivariate_normal(np.zeros(10)).logpdf(z))


def test_nearest_neighbours():
    """Nearest within the factor, never the image's own file; the distance is that of pixels in [0, 1]."""
    training = gray([0, 51, 102, 100, 255] + [7] * 2000, [0, 0, 0, 1, 1] + [1] * 2000)
    targets = gray([102, 110, 240], [0, 1, 1], ["f2.png", "other.png", "another.png"])
    nearest, distance = reconstruct.nearest_neighbours(targets, training)
    assert nearest.tolist() == [1, 3, 4]
    np.testing.assert_allclose(distance, [51 / 255, 10 / 255, 15 / 255])
    last = gray([7] * 2000 + [111], [1] * 2001)
    assert reconstruct.nearest_neighbours(gray([110], [1], ["x.png"]), last)[0] == [2000]


def test_the_table_has_medians_of_each_factor():
    targets = gray([0] * 4, [0, 0, 0, 1])
    found = {"joint": Reconstruction(np.zeros((4, 10), "float32"), np.array([[.1, .9], [.2, .3], [.4, .4], [.9, .5]]))}
    lines = reconstruct.error_table(targets, np.array([.3, .3, .3, .6]), found).splitlines()
    assert lines[2].split() == ["Alp14", "3", "0.300", "±", "0.000", "0.200", "±", "0.100", "9", "±", "0", "67%"]
    assert lines[3].split() == ["Tea1", "1", "0.600", "±", "0.000", "0.500", "±", "0.000", "9", "±", "0", "100%"]
    assert lines[4].split()[:2] == ["all", "4"] and "random z: 14 ± 2" in lines[5]


# ---------------------------------------------------------------------------------------------- the command

@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder after training a star of two factors and a DCGAN for 2 iterations."""
    folder = tmp_path_factory.mktemp("reconstruct")
    write_images(folder / "others", size=(32, 32))
    train_small_networks(folder, ("DCGAN-starshaped", "DCGAN", "DCGAN-multichannel", "DCGAN-independent"))
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def test_what_is_written(here, capsys):
    assert reconstruct.main(["-i", STAR, "-d", "data", "-n", "6", "--restarts", "2", "--iterations", "10"]) == 0
    out = capsys.readouterr().out
    table = [line.split()[:2] for line in out.splitlines() if line.startswith(("Alp14", "Tea1", "all"))]
    assert table == [["Alp14", "3"], ["Tea1", "3"], ["all", "6"]]
    generator = trained.load_generator(STAR)
    for order in ("joint", "red-first"):
        path = f"images/reconstructed3.{order}.DCGAN-starshaped.WGAN-GP.h5"
        assert f"Output image stack to file: {path}" in out
        with h5py.File(path) as file:
            stack, z, target, error = (file[name][()] for name in ("stack", "z", "target", "error"))
            files = [Path(name.decode()) for name in file["target_file"]]
            assert [file.parent.name for file in files] == [name.decode() for name in file["factor"]]
            assert file["errors"].shape == (6, 2) and list(file["stack"].attrs["channel_names"]) == ["red", *FACTORS]
        assert np.array_equal(stack, (generator.generate(z) + 1) / 2)
        pair = np.array([cell[..., [0, 1 + FACTORS.index(file.parent.name)]] for cell, file in zip(stack, files)])
        np.testing.assert_allclose(error_between(pair, target), error, atol=1e-5)
        for file, image in zip(files, target):
            assert "LIN_test" in str(file)
            np.testing.assert_allclose(np.asarray(Image.open(file))[..., :2] / 255, image, atol=1e-6)
    for name in ("reconstruction", "reconstruction_factors", "reconstruction_likelihood"):
        assert np.asarray(Image.open(f"images/{name}.DCGAN-starshaped.WGAN-GP.png")).std() > 20


def test_a_network_that_generates_all_channels_together(here, capsys):
    assert reconstruct.main(["-i", DCGAN, "-d", "data", "-n", "4", "--restarts", "1", "--iterations", "5"]) == 0
    out = capsys.readouterr().out
    assert "images/reconstructed2.joint.DCGAN.WGAN-GP.h5" in out and "red-first" not in out and "factors" not in out


def test_a_multichannel_network_shows_all_factors_of_a_real_cell(here, capsys):
    path = "checkpoints/weights.generator.DCGAN-multichannel.WGAN-GP.2.h5"
    assert reconstruct.main(["-i", path, "-d", "data", "-n", "4", "--restarts", "1", "--iterations", "5"]) == 0
    out = capsys.readouterr().out
    assert "reconstructed3.joint" in out and "reconstruction_factors.DCGAN-multichannel.WGAN-GP.png" in out


def test_independent_networks_reconstruct_one_factor(here, capsys):
    """With the network of that factor, and its red."""
    command = ["-i", "checkpoints/weights.generator.DCGAN-independent.WGAN-GP.2.h5", "-d", "data", "-n", "3",
               "--restarts", "1", "--iterations", "5"]
    assert reconstruct.main(command) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "choose one with -p: Alp14, Tea1" in line
    assert reconstruct.main([*command, "-p", "Tea1"]) == 0
    with h5py.File("images/reconstructed2.joint.DCGAN-independent.WGAN-GP.h5") as file:
        np.testing.assert_allclose(error_between(file["stack"][()], file["target"][()]), file["error"][()], atol=1e-5)
        assert list(file["stack"].attrs["channel_names"]) == ["red Tea1", "Tea1"]


def test_several_generators_reconstruct_the_same_images(here, capsys):
    """One picture with all of them, one figure of likelihoods, and a table and a stack for each."""
    command = ["-i", DCGAN, STAR, "-d", "data", "-n", "6", "--restarts", "1", "--iterations", "5"]
    assert reconstruct.main(command) == 0
    out = capsys.readouterr().out
    titles = [line for line in out.splitlines() if line in ("DCGAN WGAN-GP", "DCGAN-starshaped WGAN-GP")]
    assert titles == ["DCGAN WGAN-GP", "DCGAN-starshaped WGAN-GP"] and "red-first" not in out
    targets, alone = [], []
    for name in ("reconstructed2.joint.DCGAN", "reconstructed3.joint.DCGAN-starshaped"):
        with h5py.File(f"images/{name}.WGAN-GP.h5") as file:
            targets.append(file["target_file"][()].tolist())
            alone.append(file["error"][()])
    assert targets[0] == targets[1] and not np.array_equal(*alone)
    for name in ("reconstruction", "reconstruction_likelihood"):
        assert f"Output picture to file: images/{name}.comparison.png" in out
        assert np.asarray(Image.open(f"images/{name}.comparison.png").convert("L")).std() > 20
    reconstruct.main([*command[:1], STAR, *command[3:], "--order", "joint"])
    with h5py.File("images/reconstructed3.joint.DCGAN-starshaped.WGAN-GP.h5") as file:
        np.testing.assert_allclose(file["error"][()], alone[1], atol=1e-5)       # as if it had been the only one


@pytest.mark.usefixtures("quick_runs")
def test_the_factor_of_a_one_class_model_is_compared(here, capsys):
    """With the tower of that factor in a star of more factors."""
    from biogans.core import train
    train.main([*SMALL, "-d", "data", "-p", "Tea1", "-m", "DCGAN", "-e", "2", "-c", "one"])
    assert reconstruct.main(["-i", "one/weights.generator.DCGAN.WGAN-GP.1.h5", "-i", STAR, "-d", "data", "-n", "3",
                             "--restarts", "1", "--iterations", "5"]) == 0
    with h5py.File("images/reconstructed3.joint.DCGAN-starshaped.WGAN-GP.h5") as file:
        assert {name.decode() for name in file["factor"]} == {"Tea1"}
        np.testing.assert_allclose(error_between(file["stack"][()][..., [0, 2]], file["target"][()]),
                                   file["error"][()], atol=1e-5)
    train.main([*SMALL, "-d", "data", "-p", "Alp14", "-m", "DCGAN", "-e", "2", "-c", "other"])
    capsys.readouterr()
    assert reconstruct.main(["-i", "one/weights.generator.DCGAN.WGAN-GP.1.h5", "-d", "data",
                             "-i", "other/weights.generator.DCGAN.WGAN-GP.1.h5"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "no factor in common" in line


def test_the_figure_shows_errors_and_likelihoods():
    """A cloud and its median for each generator, the level of random z, and the nearest neighbours."""
    rng = np.random.default_rng(0)
    found = {name: Reconstruction(rng.standard_normal((20, 10)), rng.uniform(0.1, 0.2, (20, 3)))
             for name in ("one", "two")}
    axes, = reconstruction_figures.likelihood_figure(found, np.full(20, 0.25)).axes
    clouds = [points.get_offsets() for points in axes.collections if len(points.get_offsets()) == 20]
    for best, cloud in zip(found.values(), clouds, strict=True):
        np.testing.assert_allclose(cloud, np.transpose([
            best.error, reconstruction_figures.negative_log_likelihood(best.z)]))
    z = rng.standard_normal((20000, 10))
    mean, deviation = reconstruction_figures.random_likelihood(10)
    known = reconstruction_figures.negative_log_likelihood(z)
    assert known.mean() == pytest.approx(mean, abs=0.1) and known.std() == pytest.approx(deviation, rel=0.03)
    _, labels = axes.get_legend_handles_labels()
    assert "nearest neighbours: median 0.250" in labels and "random z of 10 numbers: 14 ± 2" in labels


@pytest.mark.parametrize("arguments, words", [
    (("-i", STAR, STAR, "-d", "data"), ("one file twice",)),
    (("-i", DCGAN, "-d", "data", "--order", "red-first"), (DCGAN, "red and green together", "DCGAN-separable")),
    (("-i", STAR, "-d", "others"), ("others", "32x32", "16x24")),
    (("-i", STAR, "-d", "data", "-p", "Sid2"), ("Sid2", "Alp14, Tea1")),
    (("-i", STAR, "-d", "nowhere"), ("nowhere", "no such folder")),
    (("-i", "missing.h5", "-d", "data"), ("missing.h5", "no such file"))])
def test_mistakes_are_one_line(here, capsys, arguments, words):
    assert reconstruct.main(arguments) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and all(word in line for word in words)
