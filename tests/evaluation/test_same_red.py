"""biogans same_red: z that share red, the number, the real cells, the picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biogans.core import trained
from biogans.data import simulate
from biogans.evaluation import rows, same_red, variety
from conftest import ROOT, train_small_networks

STAR = "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
SEPARABLE = "checkpoints/weights.generator.DCGAN-separable.WGAN-GP.1.h5"
INCLUDED = str(ROOT / "data_48-80/checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.48_80.1.6.h5")
DCGAN = "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder after training three networks for 2 iterations."""
    folder = tmp_path_factory.mktemp("same_red")
    train_small_networks(folder, ("DCGAN-starshaped", "DCGAN-separable", "DCGAN"))
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def numbers(out):
    """{name: (red, green, …)} of the printed table."""
    lines = [line for line in out.splitlines() if line.startswith(("DCGAN", "training cells", "true"))]
    return {line[:42].strip(): [float(word) for word in line[42:].partition("(")[0].split()] for line in lines}


def test_real_cells_are_those_nearest_in_red():
    """Each cell first, whatever the greens are."""
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 1, (30, 4, 6, 2)) * 0.01
    images[..., 0] += np.repeat([0.2, 0.5, 0.8], 10)[:, None, None]
    found = same_red.nearest_in_red(images, 10, seed=3)
    assert found.shape == (30, 10, 4, 6, 2)
    assert np.ptp(found[..., 0].mean(axis=(2, 3)), axis=1).max() < 0.05
    assert {tuple(cell.ravel()) for cell in found[:, 0]} == {tuple(cell.ravel()) for cell in images}


# ---------------------------------------------------------------------------------------------- the command

def test_several_generators_beside_real_cells(here, capsys):
    """A panel for each, and one of real cells for those that separate the factors and for those that don't."""
    assert same_red.main(["-i", SEPARABLE, "-i", STAR, "-d", "data", "-n", "5", "--reds", "2"]) == 0
    out = capsys.readouterr().out
    found = numbers(out)
    assert [*found] == ["DCGAN-separable WGAN-GP", "DCGAN-starshaped WGAN-GP", "training cells of similar red"]
    assert found["DCGAN-separable WGAN-GP"][0] == 0 and found["training cells of similar red"][0] > 0
    assert out.count("training cells of similar red") == 2
    picture = Image.open("images/same_red.png")
    assert picture.width > 4 * 400 and np.asarray(picture.convert("L")).std() > 20
    assert "Output picture to file: images/same_red.png" in out


def test_true_cells_of_the_same_red(here, tmp_path, capsys):
    """Of simulated data: red does not vary, and the table has the ratio to them of all cells, for each factor."""
    simulate.main(["-o", str(tmp_path / "data"), "--train", "96", "--test", "12", "--joint", "6"])
    assert same_red.main(["-i", INCLUDED, "-d", str(tmp_path / "data"), "-n", "4"]) == 0
    out = capsys.readouterr().out
    found = numbers(out)
    assert found["true cells of the same red"] == [0, found["true cells of the same red"][1], 1]
    assert found["training cells of similar red"][2] > 0.8 and 0 < found["DCGAN-starshaped WGAN-GP"][2] < 1.5
    assert "Tea1 1.00" in out and out.count("Tea1 ") == 3


def test_one_factor_of_a_star(here, capsys):
    assert same_red.main(["-i", STAR, "-p", "Tea1", "-n", "3", "-o", "one.png"]) == 0
    generator = trained.load_generator(STAR)
    options = same_red.parser().parse_args(["-i", STAR, "-p", "Tea1", "-n", "3"])
    cells = same_red.generated_cells(generator, "star", options)
    images = cells.images["Tea1"]
    assert [*cells.images] == ["Tea1"] and images.shape == (variety.REDS, 3, 16, 24, 2)
    np.testing.assert_allclose(images[..., 0], images[:, :1, ..., 0].repeat(3, axis=1), atol=1e-6)
    assert np.ptp(images[..., 1], axis=1).max() > 1e-4
    assert numbers(capsys.readouterr().out)["DCGAN-starshaped WGAN-GP"][1] == pytest.approx(
        variety.variety(images)[1], abs=6e-4)


def test_names_are_as_long_as_they_must_be(here):
    generators = [trained.load_generator(path) for path in (STAR, SEPARABLE)]
    assert rows.distinct_names(generators) == ["DCGAN-starshaped WGAN-GP", "DCGAN-separable WGAN-GP"]
    assert rows.distinct_names(generators[:1] * 2) == [STAR, STAR]


@pytest.mark.parametrize("arguments, words", [
    (("-i", DCGAN), (DCGAN, "red and green together")), (("-i", "missing.h5"), ("missing.h5", "no such file")),
    (("-i", STAR, "-p", "Sid2"), ("Sid2", "Alp14, Tea1")), (("-i", SEPARABLE, "-p", "Tea1"), ("can't generate Tea1",)),
    (("-i", STAR, "-d", "data", "-n", "50"), ("-n 50", "only 12 real images")),
    (("-i", STAR, "-o", "same.jpg"), ("same.jpg", ".png")), (("-i", STAR, "-d", "nowhere"), ("nowhere",))])
def test_mistakes_are_one_line(here, capsys, arguments, words):
    before = {*Path().rglob("*")}
    assert same_red.main(arguments) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and all(word in line for word in words) and {*Path().rglob("*")} == before
