"""biogans same_red: z that share red, the number, the real cells, the picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biogans.core import trained
from biogans.evaluation import rows, same_red
from conftest import train_small_networks
from networks import spec

STAR = "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
SEPARABLE = "checkpoints/weights.generator.DCGAN-separable.WGAN-GP.1.h5"
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
    """{name: (red, green)} of the printed table."""
    lines = [line.rsplit(maxsplit=2) for line in out.splitlines() if line.startswith(("DCGAN", "training"))]
    return {name: (float(red), float(green)) for name, red, green in lines}


@pytest.mark.parametrize("architecture, red", [("DCGAN-separable", 3), ("DCGAN-multichannel", 2)])
def test_latents_share_the_part_that_is_red_s(architecture, red):
    shape = spec(architecture)
    z = same_red.same_red_latents(shape, 4, 5, seed=1)
    assert z.shape == (20, 6) and z.dtype == np.float32 and shape.red_nz == red
    blocks = z.reshape(4, 5, 6)
    assert (blocks[:, :, :red] == blocks[:, :1, :red]).all()
    free = np.concatenate([blocks[:, 0, :red].ravel(), blocks[:, :, red:].ravel()])
    assert len(np.unique(free)) == len(free)
    assert np.array_equal(z, same_red.same_red_latents(shape, 4, 5, seed=1))
    assert not np.array_equal(z, same_red.same_red_latents(shape, 4, 5, seed=2))


def test_the_number_is_the_standard_deviation_within_the_cell():
    """0 for one green; that of the greens where the cell is, however large the background."""
    rng = np.random.default_rng(0)
    cells = np.zeros((6, 40, 16, 24, 2))
    cells[..., 4:12, 6:18, 0] = 0.8
    cells[..., 4:12, 6:18, 1] = 0.5
    assert same_red.spread(cells) == pytest.approx((0, 0), abs=1e-9)
    cells[..., 4:12, 6:18, 1] += 0.1 * rng.standard_normal((6, 40, 1, 1))
    red, green = same_red.spread(cells)
    assert red == pytest.approx(0, abs=1e-9) and green == pytest.approx(0.1, rel=0.1)
    larger = np.pad(cells, ((0, 0), (0, 0), (9, 9), (9, 9), (0, 0)))
    assert same_red.spread(larger) == pytest.approx((red, green))
    assert np.isnan(same_red.spread(np.zeros((2, 3, 16, 24, 2)))).all()


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


def test_one_factor_of_a_star(here, capsys):
    assert same_red.main(["-i", STAR, "-p", "Tea1", "-n", "3", "-o", "one.png"]) == 0
    generator = trained.load_generator(STAR)
    options = same_red.parser().parse_args(["-i", STAR, "-p", "Tea1", "-n", "3"])
    cells = same_red.generated_cells(generator, "star", options)
    images = cells.images["Tea1"]
    assert [*cells.images] == ["Tea1"] and images.shape == (same_red.MEASURED, 3, 16, 24, 2)
    np.testing.assert_allclose(images[..., 0], images[:, :1, ..., 0].repeat(3, axis=1), atol=1e-6)
    assert np.ptp(images[..., 1], axis=1).max() > 1e-4
    assert numbers(capsys.readouterr().out)["DCGAN-starshaped WGAN-GP"][1] == pytest.approx(
        same_red.spread(images)[1], abs=6e-4)


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
