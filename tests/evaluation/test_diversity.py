"""biogans diversity from the command line: collapsed and copying generators, kinds of input, errors."""

import json
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

from biogans.core import predict
from biogans.evaluation import diversity
from conftest import train_small_networks, write_images
from test_neighbours import continuum, of_modes

REAL = {"data/bars_train/bars": (300, 1), "data/bars_test/bars": (100, 2)}


def write(folder, images):
    folder.mkdir(parents=True)
    for k, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / f"image{k:04d}.png")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Real images, and those of a generator that collapsed to 10 modes, one that copies, and a perfect one."""
    folder = tmp_path_factory.mktemp("diversity")
    for name, (number, seed) in REAL.items():
        write(folder / name, continuum(number, seed))
    write(folder / "collapsed", of_modes(400, 3))
    write(folder / "learnt", continuum(400, 4))
    training = continuum(*REAL["data/bars_train/bars"])
    write(folder / "copied", training[np.random.default_rng(0).integers(len(training), size=400)][:, ::-1])
    return folder


@pytest.fixture(autouse=True)
def there(here, monkeypatch):
    monkeypatch.chdir(here)


def summary(path):
    assert diversity.main(["-i", path, "-d", "data", "-o", f"of-{path}"]) == 0
    with open(f"of-{path}/summary.json") as file:
        result = json.load(file)["all images"]
    return result, result["sets"]["generated"]


def test_ten_modes_are_counted(capsys):
    result, generated = summary("collapsed")
    assert abs(generated["effective_number"] - 10) <= 2 and abs(generated["modes"] - 10) <= 2
    assert abs(generated["different"] - 10) <= 2 and generated["images"] == 400
    assert generated["different_bins"] > result["bins"] / 2
    assert not result["copies_the_training_images"] and "no sign" in capsys.readouterr().out


def test_a_generator_that_copies_is_flagged(here, capsys):
    result, generated = summary("copied")
    assert result["copies_the_training_images"] and "COPIES" in capsys.readouterr().out
    assert generated["near_a_training_image"] == 1 and generated["z_held_out"] < -10
    assert generated["exact_copies"] == 400 - len(set(np.random.default_rng(0).integers(300, size=400)))
    picture = np.asarray(Image.open(here / "of-copied" / "nearest_pairs.png"))
    assert picture.shape[2] == 3 and picture.std() > 10


def test_a_perfect_generator_is_not_flagged():
    result, generated = summary("learnt")
    assert not result["copies_the_training_images"] and generated["modes"] is None
    assert generated["different"] > 250 and generated["different_bins"] < 0.25 * result["bins"]
    assert result["sets"]["held-out"]["near_a_training_image"] == pytest.approx(0.05, abs=0.02)


def test_a_stack_gives_the_same_result_as_a_folder(here):
    images = of_modes(400, 3)
    with h5py.File("stack.h5", "w") as file:
        file["stack"] = images.astype(np.float32) / 255
        file["stack"].attrs["channel_names"] = ["gray"]
    assert summary("stack.h5") == summary("collapsed")


@pytest.mark.slow
def test_weights_of_a_star_are_compared_factor_by_factor(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train_small_networks(tmp_path, ["DCGAN-starshaped"], training=24, held_out=24)
    star = "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
    assert diversity.main(["-i", star, "-d", "data", "-n", "50"]) == 0
    assert predict.main(["-i", star, "-n", "50"]) == 0
    assert diversity.main(["-i", "images/stack3.DCGAN-starshaped.WGAN-GP.h5", "-d", "data", "-o", "again"]) == 0
    for folder in ("diversity", "again"):
        with open(f"{folder}/summary.json") as file:
            assert list(json.load(file)) == ["Alp14", "Tea1"]
    assert (tmp_path / "diversity" / "nearest_pairs.Tea1.png").exists()


def test_errors_are_one_line(tmp_path, monkeypatch, capsys):
    write_images(tmp_path / "other", ["all"], number=30)
    write(tmp_path / "few", continuum(5, 0))
    for arguments, words in ((["-i", "nothing", "-d", "data"], "no such file"),
                             (["-i", "learnt", "-d", "data/bars_test"], "held-out"),
                             (["-i", tmp_path / "other", "-d", "data"], "16x24"),
                             (["-i", "learnt/image0000.png", "-d", "data"], "is an image, not a file of weights"),
                             (["-i", tmp_path / "few", "-d", "data"], "fewer than 20")):
        assert diversity.main(list(map(str, arguments))) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1 and words in message


def test_held_out_images_that_are_training_images(here, tmp_path, capsys):
    shutil.copytree(here / "data", tmp_path / "data")
    for k in range(5):
        shutil.copy(tmp_path / "data/bars_train/bars" / f"image{k:04d}.png", tmp_path / "data/bars_test/bars")
    assert diversity.main(["-i", "learnt", "-d", str(tmp_path / "data"), "-o", str(tmp_path / "out")]) == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: 5 of 100 held-out images are training images: ") and error.count("\n") == 1
