"""get_data.py: idx files, and data folders that train.py reads."""

import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from biogans import dataloader, get_data
from conftest import REAL_DATA


def write_idx(path, array, head=None):
    head = head or struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    with (gzip.open if path.suffix == ".gz" else open)(path, "wb") as file:
        file.write(head + array.tobytes())


@pytest.fixture
def mnist(tmp_path):
    """A folder of 40 images of 12x16 pixels, whose first pixel is their number, of the labels 0, 1, 2, 3."""
    folder = tmp_path / "idx"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 12, 16), np.uint8)
    pixels[:, 0, 0] = range(40)
    write_idx(folder / "t10k-images-idx3-ubyte.gz", pixels)
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", np.arange(40, dtype=np.uint8) % 4)
    return folder, pixels


def run(*arguments):
    return get_data.main([*map(str, arguments)])


def test_mnist_becomes_a_data_folder(mnist, tmp_path, capsys):
    folder, pixels = mnist
    assert run("mnist", "--from", folder, "-o", tmp_path / "data", "--test", "0.2") == 0
    assert "32 images to train on and 8 to test with, 4 classes" in capsys.readouterr().out
    seen = []
    for split, number in (("train", 32), ("test", 8)):
        images = dataloader.load(tmp_path / "data", split=split)
        assert images.factors == ("0", "1", "2", "3") and len(images.pixels) == number
        positions = images.pixels[:, 0, 0, 0]
        assert np.array_equal(images.pixels[..., 0], pixels[positions]) and np.array_equal(images.labels, positions % 4)
        seen += positions.tolist()
    assert sorted(seen) == list(range(40))


def test_the_choice_of_tests_is_a_function_of_the_seed(mnist, tmp_path):
    chosen = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("mnist", "--from", mnist[0], "-o", tmp_path / name, "-s", seed)
        chosen.append(sorted(str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).glob("*_test/*/*")))
    assert chosen[0] == chosen[1] != chosen[2] and len(chosen[0]) == 4


@pytest.mark.parametrize("damage, problem", [
    (lambda path: path.write_bytes(path.read_bytes()[:100]), "not an idx file"),
    (lambda path: path.write_bytes(b"no gzip at all"), "not an idx file"),
    (lambda path: write_idx(path, np.zeros((40, 12, 15), np.uint8), struct.pack(">HBB3I", 0, 8, 3, 40, 12, 16)), "holds 7200"),
    (lambda path: write_idx(path, np.zeros((4, 12, 16), np.uint8), struct.pack(">HBB3I", 0, 8, 3, *[2 ** 31] * 3)), "its head"),
    (lambda path: write_idx(path, np.zeros((39, 12, 16), np.uint8)), "don't belong together"),
    (lambda path: path.unlink(), "no files"),
    (lambda path: path.with_name("t10k-labels-idx1-ubyte.gz").unlink(), "in pairs")])
def test_damaged_files_are_told_in_one_line(mnist, tmp_path, capsys, damage, problem):
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
    known = dataloader.known(images.files)
    assert set(known) == {"t", "radius", "dna", "focus"} and images.pixels.shape[1:] == (40, 40, 2)
    assert all((known["t"][images.labels == images.factors.index("G1")] < 0.42))
    light = images.pixels[..., 1].sum(axis=(1, 2))
    assert np.corrcoef(light, known["dna"])[0, 1] > 0.9


def test_cells_of_the_flow_cytometer(tmp_path):
    if not (REAL_DATA / "ifc_cellcycle").is_dir():
        pytest.skip(f"no real images in {REAL_DATA}: set BG_REAL_DATA")
    assert run("ifc", "--from", REAL_DATA / "ifc_cellcycle", "-o", tmp_path / "data") == 0
    images = dataloader.load(tmp_path / "data", channels=(1, 2))
    assert images.pixels.shape[1:] == (40, 40, 2) and len(images.factors) == 7 and len(images.pixels) > 1000


@pytest.mark.parametrize("arguments, problem", [
    (("mnist", "-o", "data"), "--from"), (("digits", "--from", ".", "-o", "data"), "leave it out"),
    (("ifc", "--from", ".", "-o", "data"), "no PNG files of G1"), (("digits", "-o", "data", "--test", "1"), "between 0 and 1")])
def test_mistakes(arguments, problem, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    assert problem in capsys.readouterr().err


def test_nothing_is_overwritten(mnist, tmp_path, capsys):
    run("mnist", "--from", mnist[0], "-o", tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    assert run("mnist", "--from", mnist[0], "-o", tmp_path / "data") == 2
    assert "is there already" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}


def test_pictures_are_gray(mnist, tmp_path):
    run("mnist", "--from", mnist[0], "-o", tmp_path / "data")
    assert Image.open(next((tmp_path / "data").glob("*_train/0/*.png"))).mode == "L"
