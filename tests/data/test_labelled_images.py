"""Labelled images: idx files, digits, round cells, and montages of the flow cytometer."""

import os
import shutil
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from biogans.core import dataloader
from biogans.data import labelled_images
from biogans.io.image_sets import ReadSettings
from biogans.system.errors import InputError
from conftest import REAL_DATA, guarded
from public_files import run, write_idx, write_mnist


@pytest.fixture
def mnist(tmp_path):
    return write_mnist(tmp_path / "idx")


@pytest.mark.parametrize("damage, problem", [
    (lambda path: path.write_bytes(path.read_bytes()[:100]), "not an idx file"),
    (lambda path: path.write_bytes(b"no gzip at all"), "not an idx file"),
    (lambda path: write_idx(path, np.zeros((40, 12, 15), np.uint8), struct.pack(">HBB3I", 0, 8, 3, 40, 12, 16)),
     "holds 7200"),
    (lambda path: write_idx(path, np.zeros((4, 12, 16), np.uint8), struct.pack(">HBB3I", 0, 8, 3, *[2 ** 31] * 3)),
     "its header"),
    (lambda path: write_idx(path, np.zeros((39, 12, 16), np.uint8)), "do not match"),
    (lambda path: path.unlink(), "no files"),
    (lambda path: path.with_name("t10k-labels-idx1-ubyte.gz").unlink(), "in pairs")])
def test_damaged_files_are_reported_in_one_line(mnist, tmp_path, capsys, damage, problem):
    damage(mnist[0] / "t10k-images-idx3-ubyte.gz")
    assert run("mnist", "--from", mnist[0], "-o", tmp_path / "data") == 2
    message = capsys.readouterr().err
    assert problem in message and message.count("\n") == 1 and not (tmp_path / "data").exists()


def test_digits_need_no_files(tmp_path):
    assert run("digits", "-o", tmp_path / "data") == 0
    images = dataloader.load(tmp_path / "data")
    assert images.pixels.shape == (1618, 16, 16, 1) and len(images.factors) == 10
    means = np.array([images.pixels[images.labels == k].mean(axis=0) for k in range(10)])
    nearest = np.abs(images.pixels[:, None] - means).sum(axis=(2, 3, 4)).argmin(axis=1)
    assert (nearest == images.labels).mean() > 0.85         # the classes are digits


def test_round_cells_come_with_their_age(tmp_path):
    assert run("round", "-o", tmp_path / "data", "-n", "200") == 0
    images = dataloader.load(tmp_path / "data", split="test")
    known = dataloader.read_manifest(images.files)
    assert set(known) == {"t", "radius", "dna", "focus"} and images.pixels.shape[1:] == (40, 40, 2)
    assert all((known["t"][images.labels == images.factors.index("G1")] < 0.42))
    light = images.pixels[..., 1].sum(axis=(1, 2))
    assert np.corrcoef(light, known["dna"])[0, 1] > 0.9


def test_cells_of_the_flow_cytometer(tmp_path):
    if not (REAL_DATA / "ifc_cellcycle").is_dir():
        pytest.skip(f"no real images in {REAL_DATA}: set BG_REAL_DATA")
    assert run("ifc", "--from", REAL_DATA / "ifc_cellcycle", "-o", tmp_path / "data") == 0
    images = dataloader.load(tmp_path / "data", settings=ReadSettings((1, 2)))
    assert images.pixels.shape[1:] == (40, 40, 2) and len(images.factors) == 7 and len(images.pixels) > 1000


# ---------------------------------------------------------------------------------------------- montages

def write_montages(folder, cells):
    """Write montages of 3x4 places, the last ones filled with the edge of a tile; return the tiles, (12, 40, 40, 3)."""
    rng, tiles = np.random.default_rng(0), {}
    for phase, (name, number) in zip(labelled_images.PHASES, cells.items()):
        (folder / phase).mkdir(parents=True)
        tiles[phase] = rng.integers(0, 1600, (12, 40, 40, 3), np.uint16)
        tiles[phase][number:] = tiles[phase][number - 1, -1:]
        montage = tiles[phase].reshape(3, 4, 40, 40, 3).swapaxes(1, 2).reshape(120, 160, 3)
        for k, channel in enumerate(("Ch3", "Ch4", "Ch6")):
            tifffile.imwrite(folder / phase / f"{channel}_{name}.tif", montage[..., k])
    return tiles


CELLS = {"CP0008": 12, "CP0009": 11, "CP0010": 12, "CP0001": 5, "CP0002": 4, "CP0003": 3, "CP0004": 2}


def test_cells_are_cut_from_montages_and_scaled_alike(tmp_path):
    tiles = write_montages(tmp_path / "montages", CELLS)
    assert run("ifc", "--from", tmp_path / "montages", "-o", tmp_path / "data") == 0
    images = [dataloader.load(tmp_path / "data", split=split, settings=ReadSettings((1, 2, 3)))
              for split in ("train", "test")]
    numbers = sum(np.bincount(some.labels, minlength=7) for some in images)
    assert dict(zip(images[0].factors, numbers)) == dict(zip(labelled_images.PHASES, CELLS.values()))
    first = Image.open(next((tmp_path / "data").glob("*/G1/000000.png")))
    wanted = np.clip((tiles["G1"][0] - np.array([400., 30, 20])) / [550, 1470, 480], 0, 1) * 255
    assert np.abs(np.asarray(first) - wanted).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:9000]),
                                    lambda path: tifffile.imwrite(path, np.zeros((120, 170), np.uint16)),
                                    lambda path: tifffile.imwrite(path, np.zeros((80, 160), np.uint16))])
def test_damaged_montages_are_reported_in_one_line(tmp_path, capsys, damage):
    write_montages(tmp_path / "montages", CELLS)
    damage(tmp_path / "montages/G2/Ch4_CP0010.tif")
    assert run("ifc", "--from", tmp_path / "montages", "-o", tmp_path / "data") == 2
    message = capsys.readouterr().err
    assert "G2/Ch" in message and "again" in message and message.count("\n") == 1 and not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
def test_pipes_among_the_files_are_refused(mnist, name):
    (mnist[0] / name).unlink()
    os.mkfifo(mnist[0] / name)
    with guarded(), pytest.raises(InputError, match=f"{name}: this is a named pipe"):
        labelled_images.read_mnist(mnist[0])


def test_files_that_a_link_shows_twice_are_refused(mnist):
    for kind in ("images-idx3", "labels-idx1"):
        os.symlink(f"t10k-{kind}-ubyte.gz", mnist[0] / f"train-{kind}-ubyte.gz")
    with pytest.raises(InputError, match="which a link shows twice"):
        labelled_images.read_mnist(mnist[0])


@pytest.mark.parametrize("name", ["cell.png", "Ch3_0.tif"])
def test_phases_of_the_flow_cytometer_that_are_pipes_or_links(tmp_path, name):
    for phase in labelled_images.PHASES:
        (tmp_path / phase).mkdir()
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / phase / "0.png")
    os.mkfifo(tmp_path / "G2" / name)
    with guarded(), pytest.raises(InputError, match=f"G2/{name}: this is a named pipe"):
        labelled_images.read_cytometer(tmp_path)
    shutil.rmtree(tmp_path / "G2")
    os.symlink("G1", tmp_path / "G2")
    with pytest.raises(InputError, match="G1 and .*G2 are one, which a link shows twice"):
        labelled_images.read_cytometer(tmp_path)
