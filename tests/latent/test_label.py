"""biogans label: the encoder of red, how right the draws are, and all files."""

import csv
import dataclasses
import re

import h5py
import numpy as np
import pytest
import tifffile

from biogans.core import trained
from biogans.evaluation import atlas
from biogans.latent import encoder, label
from biogans.system.captions import origin_of_cells
from conftest import ROOT, train_small_networks, write_images
from networks import FACTORS, images

STAR = "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
STACK = "images/labelled3.DCGAN-starshaped.WGAN-GP.h5"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder after training a star of two factors and a DCGAN for 2 iterations."""
    folder = tmp_path_factory.mktemp("label")
    write_images(folder / "others", size=(32, 32))
    train_small_networks(folder, ("DCGAN-starshaped", "DCGAN", "DCGAN-independent", "DCGAN-separable"))
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("GENERATED", "REAL"):
        monkeypatch.setattr(encoder, name, 20)
    return folder


def test_the_encoder_finds_z_of_the_reds_that_it_is_shown(here, monkeypatch):
    """Reds of the z that it finds differ by less than half as much from them as those of other z."""
    monkeypatch.setattr(encoder, "GENERATED", 300)
    monkeypatch.setattr(encoder, "REAL", 1)
    generator = trained.load_generator(STAR)
    network = generator.network
    for weight in network.trainable_variables:      # two iterations leave it nearly constant
        weight.assign(4 * weight)
    generator = dataclasses.replace(generator, build=lambda: network)
    z = np.random.default_rng(1).standard_normal((40, generator.spec.nz), np.float32)
    reds = generator.generate(z)[..., :1]
    found = np.zeros_like(z)            # the green part plays no role
    found[:, :generator.spec.red_nz] = encoder.train_encoder(generator, images()).predict(reds, verbose=0)
    error, of_others = (np.mean((generator.generate(other)[..., :1] - reds) ** 2)
                        for other in (found, np.roll(z, 1, axis=0)))
    assert error < of_others / 2


def test_exchangeable_draws_contain_the_truth_as_often_as_they_say():
    """Within 9 draws lie 80 %, between the second smallest and largest of 19, too; in equal draws nothing."""
    rng = np.random.default_rng(0)
    real = dataclasses.replace(images(), pixels=rng.integers(0, 256, (40, 16, 24, 2), np.uint8))
    for number in (9, 19):
        truth = label.Truth(real, number)
        assert truth.nominal == pytest.approx(0.8)
        truth.compare(label.Labelled(0, None, rng.random((40, number, 16, 24, 3), np.float32)))
        assert np.mean(truth.errors["within"]) == pytest.approx(0.8, abs=0.02)
        assert np.sqrt(np.mean(truth.errors["draw"])) == pytest.approx(np.sqrt(1 / 6), abs=0.02)
    truth.compare(label.Labelled(0, None, np.full((1, 19, 16, 24, 3), 2.0)))
    assert truth.errors["within"][-1] == 0 and truth.errors["spread"][-1] == 0


def test_the_table(here):
    real = dataclasses.replace(images(number=1), pixels=np.full((2, 16, 24, 2), 51, np.uint8))
    truth = label.Truth(real, 9)
    draws = np.full((2, 9, 16, 24, 3), 0.2) + np.linspace(-0.04, 0.04, 9)[:, None, None, None]
    draws[1, ..., 2] += 0.3                     # the second image's own factor
    truth.compare(label.Labelled(0, None, draws))
    near = np.full((2, 9, 16, 24), 0.3)
    near[:, 1:] -= 0.15                         # the nearest is brighter by 0.1, the others darker by 0.05
    truth.compare_neighbours(near)
    _, _, first, second, note = truth.table().splitlines()
    assert first.split() == [FACTORS[0], "1", "0.040", "0.000", "0.040", "0.027", "100%", "0.100", "0.033", "100%"]
    assert second.split() == [FACTORS[1], "1", "0.040", "0.300", "0.260", "0.027", "0%", "0.100", "0.033", "100%"]
    assert "80% if the draws are right" in note


def test_nearest_greens():
    """Those of the same factor, nearest in red first, whatever their green."""
    reds, labels = np.array([10, 50, 90, 52, 12]), np.array([0, 0, 0, 1, 1])
    pixels = np.zeros((5, 4, 6, 2), np.uint8)
    pixels[..., 0], pixels[..., 1] = reds[:, None, None], 5 * np.arange(5)[:, None, None]
    training = dataclasses.replace(images(), pixels=pixels, labels=labels)
    wanted = np.full((2, 4, 6, 2), 55, np.uint8)
    targets = dataclasses.replace(images(), pixels=wanted, labels=np.array([0, 1]))
    found = label.nearest_greens(targets, training, 9)
    assert found.shape == (2, 2, 4, 6)          # the second factor has two cells
    np.testing.assert_allclose(found[:, :, 0, 0], [[5 / 255, 10 / 255], [15 / 255, 20 / 255]])


def test_one_green_of_several_classes(here, capsys):
    """A separable network of all classes: the stack keeps their names, and the table has the green of any class."""
    assert label.main(["-i", STAR.replace("starshaped.WGAN-GP.2", "separable.WGAN-GP.1"), "-d", "data", "-n", "6"]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if line.startswith("green")]
    assert rows == [["green", "6"]]
    with h5py.File(STACK.replace("3.DCGAN-starshaped", "2.DCGAN-separable")) as file:
        assert list(file["stack"].attrs["channel_names"]) == ["red", "green"]
        assert {*file["factor"].asstr()[()]} == {*FACTORS}


def test_what_is_written(here, capsys):
    """The same command gives the same cells, with the encoder that the first one has trained."""
    command = ["-i", STAR, "-d", "data", "--draws", "4"]
    assert label.main(command) == 0
    assert "training an encoder" in capsys.readouterr().out
    generator = trained.load_generator(STAR)
    with h5py.File(STACK) as file:
        stack, draws, spread, target, z = (file[name][()] for name in ("stack", "draws", "spread", "target", "z"))
        names, factors = list(file["stack"].attrs["channel_names"]), file["factor"].asstr()[()].tolist()
        section = (ROOT / "docs/formats.md").read_text().partition("## Labelled cells")[2].partition("\n## ")[0]
        rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
        assert {*file} == {*re.findall(r"`(\w+)`", "".join(rows))}
        caption = origin_of_cells(file["stack"].attrs)
    assert caption == "labelled by DCGAN-starshaped WGAN-GP, iteration 2, seed 42, mean of 4 draws"
    assert names == ["red", *FACTORS] and len(stack) == 24 and {*factors} == {*FACTORS}
    assert draws.shape == (24, 4, 16, 24, 3) and target.shape == (24, 16, 24, 2)
    np.testing.assert_allclose(stack, draws.mean(axis=1) / 255, atol=3e-3)
    np.testing.assert_allclose(spread, (draws / 255).std(axis=1, ddof=1), atol=5e-3)
    assert (draws[..., 0] == draws[:, :1, ..., 0]).all() and spread[..., 0].max() < 1e-6
    assert not z[:, generator.spec.red_nz:].any()
    np.testing.assert_allclose((generator.generate(z)[..., 0] + 1) / 2, stack[..., 0], atol=1e-5)
    assert label.main(command) == 0 and "training an encoder" not in capsys.readouterr().out
    with h5py.File(STACK) as file:
        assert np.array_equal(file["draws"][()], draws)
    assert label.main([*command, "--format", "tiff", "-n", "4"]) == 0
    mean, spreads = (tifffile.imread(f"images/labelled3.DCGAN-starshaped.WGAN-GP.{kind}.ome.tif")
                     for kind in ("mean", "spread"))
    assert mean.shape == spreads.shape == (4, 3, 16, 24) and not spreads[:, 0].any()


def test_an_atlas_of_the_labelled_cells(here, capsys):
    """Labels, and the real images that lie in the same file, are measured without further input."""
    assert label.main(["-i", STAR, "-d", "data", "--draws", "3"]) == 0
    assert atlas.main(["-i", STACK]) == 0
    assert "Alp14, Tea1" in capsys.readouterr().out
    with open("atlas/profiles.csv", newline="", encoding="utf-8") as file:
        assert {(row["cells"], row["channel"]) for row in csv.DictReader(file)} == {
            (cells, channel) for cells in (atlas.LABELLED, atlas.IMAGED) for channel in ("red", *FACTORS)}


def test_iterations_bring_the_red_nearer(here):
    """The root mean square difference of red falls, and the red part of z alone changes."""
    difference, z = [], []
    for words in ([], ["--iterations", "30"]):
        assert label.main(["-i", STAR, "-d", "data", "--draws", "2", *words]) == 0
        with h5py.File(STACK) as file:
            difference.append(((file["stack"][..., 0] - file["target"][..., 0]) ** 2).mean())
            z.append(file["z"][()])
            assert file["stack"].attrs["iterations"] == (30 if words else 0)
    red = trained.load_generator(STAR).spec.red_nz
    assert difference[1] < difference[0] and not z[1][:, red:].any()


def test_images_of_one_factor_are_enough(here, capsys):
    """The table and the stack know which; another factor than the generator's is named."""
    for split in ("train", "test"):
        write_images(here / "one" / f"LIN_{split}", ("Tea1",))
        write_images(here / "other" / f"LIN_{split}", ("Tea1", "Cki2"))
    command = ["-i", STAR, "--draws", "2", "-c", "of_one"]
    assert label.main([*command, "-d", "one"]) == 0
    with h5py.File(STACK) as file:
        assert file["factor"].asstr()[()].tolist() == ["Tea1"] * 12
    assert label.main([*command, "-d", "other"]) == 2
    assert "does not know Cki2, only Alp14, Tea1" in capsys.readouterr().err


@pytest.mark.parametrize("words, message", [
    (["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"], "DCGAN has no red that all its factors share"),
    (["-i", "checkpoints/weights.generator.DCGAN-independent.WGAN-GP.2.h5"], "has no red that all its factors share"),
    (["-i", STAR, "-p", "Tea"], "-p Tea: did you mean Tea1?"),
    (["-i", STAR, "-d", "others"], "others"),
])
def test_mistakes(here, words, message, capsys):
    assert label.main(["-d", "data", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and len(error.splitlines()) == 1


def test_a_damaged_encoder_is_named(here, capsys):
    path = here / "checkpoints" / "weights.encoder.DCGAN-starshaped.WGAN-GP.2.h5"
    path.write_bytes(b"nothing")
    assert label.main(["-i", STAR, "-d", "data"]) == 2
    assert f"{path.relative_to(here)}" in (error := capsys.readouterr().err) and "biogans label will train one" in error
    path.unlink()
