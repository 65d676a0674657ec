"""biogans get_data: idx files, montages, LIN's archive, and data folders that train.py reads; with and without download."""

import gzip
import io
import stat
import struct
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from biogans.core import dataloader
from biogans.data import download, get_data
from conftest import REAL_DATA
from server import serving


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
    told = capsys.readouterr().out
    assert "CC BY-SA 3.0" in told and "32 images to train on and 8 to test with, 4 classes" in told
    assert "CC BY-SA 3.0" in (tmp_path / "data/SOURCE.txt").read_text()
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
    (("mnist", "--from", "idx", "-o", "data"), "no such file"),
    (("digits", "--from", ".", "-o", "data"), "leave it out"),
    (("digits", "--url", "http://127.0.0.1", "-o", "data"), "leave it out"),
    (("lin-48-80", "--from", ".", "-o", "data"), "LIN_Normalized_WT_size-48-80.zip: no such file"),
    (("ifc", "--from", ".", "-o", "data"), "G1: no montages"),
    (("digits", "-o", "data", "--test", "1"), "between 0 and 1")])
def test_mistakes(arguments, problem, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    message = capsys.readouterr().err
    assert problem in message and message.count("\n") == 1


def test_nothing_is_overwritten(mnist, tmp_path, capsys):
    run("mnist", "--from", mnist[0], "-o", tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    assert run("mnist", "--from", mnist[0], "-o", tmp_path / "data") == 2
    assert "is there already" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}


def test_pictures_are_gray(mnist, tmp_path):
    run("mnist", "--from", mnist[0], "-o", tmp_path / "data")
    assert Image.open(next((tmp_path / "data").glob("*_train/0/*.png"))).mode == "L"


# ---------------------------------------------------------------------------------------------- montages of the cytometer

def write_montages(folder, cells):
    """Montages of 3x4 places, whose last are filled with the edge of a tile; returns the tiles, (12, 40, 40, 3)."""
    rng, tiles = np.random.default_rng(0), {}
    for phase, (name, number) in zip(get_data.PHASES, cells.items()):
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
    images = [dataloader.load(tmp_path / "data", split=split, channels=(1, 2, 3)) for split in ("train", "test")]
    numbers = sum(np.bincount(some.labels, minlength=7) for some in images)
    assert dict(zip(images[0].factors, numbers)) == dict(zip(get_data.PHASES, CELLS.values()))
    first = Image.open(next((tmp_path / "data").glob("*/G1/000000.png")))
    wanted = np.clip((tiles["G1"][0] - np.array([400., 30, 20])) / [550, 1470, 480], 0, 1) * 255
    assert np.abs(np.asarray(first) - wanted).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:9000]),
                                    lambda path: tifffile.imwrite(path, np.zeros((120, 170), np.uint16)),
                                    lambda path: tifffile.imwrite(path, np.zeros((80, 160), np.uint16))])
def test_damaged_montages_are_told_in_one_line(tmp_path, capsys, damage):
    write_montages(tmp_path / "montages", CELLS)
    damage(tmp_path / "montages/G2/Ch4_CP0010.tif")
    assert run("ifc", "--from", tmp_path / "montages", "-o", tmp_path / "data") == 2
    message = capsys.readouterr().err
    assert "G2/Ch" in message and "again" in message and message.count("\n") == 1 and not (tmp_path / "data").exists()


# ---------------------------------------------------------------------------------------------- LIN's archive

def png(value):
    file = io.BytesIO()
    Image.fromarray(np.full((48, 80, 3), (value, value // 2, 0), np.uint8)).save(file, "png")
    return file.getvalue()


@pytest.fixture
def lin(tmp_path):
    """An archive like LIN's: 8 factors, 3 images of each to train on and 2 to test with."""
    path = tmp_path / "LIN_Normalized_WT_size-48-80.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for k, factor in enumerate((*get_data.FACTORS, "Fim1", "Tea4")):
            for split, number in (("train", 3), ("test", 2)):
                for n in range(number):
                    archive.writestr(f"LIN_Normalized_WT_size-48-80_{split}/{factor}/cell{n}.png", png(10 * k + n))
        archive.writestr("__MACOSX/LIN_Normalized_WT_size-48-80_train/Alp14/._cell0.txt", b"no image")
    return path


@pytest.mark.parametrize("arguments, factors", [((), get_data.FACTORS), (("-p", "Tea4,Alp14"), ("Alp14", "Tea4")),
                                                (("-p", "all"), (*get_data.FACTORS, "Fim1", "Tea4"))])
def test_lin_becomes_a_data_folder(lin, tmp_path, capsys, arguments, factors):
    assert run("lin-48-80", "--from", lin, "-o", tmp_path / "data", *arguments) == 0
    told = capsys.readouterr().out
    assert "contact the authors" in told and "Cite: Dodgson" in told
    assert f"{3 * len(factors)} images to train on and {2 * len(factors)} to test with" in told
    for split, number in (("train", 3), ("test", 2)):
        images = dataloader.load(tmp_path / "data", split=split)
        assert images.factors == tuple(sorted(factors)) and len(images.pixels) == number * len(factors)
        assert images.pixels.shape[1:] == (48, 80, 2)


def test_what_lin_lacks_is_told_with_what_it_has(lin, tmp_path, capsys):
    assert run("lin-48-80", "--from", lin, "-o", tmp_path / "data", "-p", "Cdc42") == 2
    assert "no images of Cdc42" in (message := capsys.readouterr().err) and "Mkh1" in message
    assert not (tmp_path / "data").exists()


def entry(name, mode=stat.S_IFREG | 0o644):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize("hostile", [
    entry("../outside_train/Alp14/cell.png"), entry("/outside_train/Alp14/cell.png"),
    entry("LIN_train/../../outside_train/Alp14/cell.png"), entry("..\\outside_train\\Alp14\\cell.png"),
    entry("LIN_train/Alp14/cell9.png", stat.S_IFLNK | 0o777)], ids=lambda info: info.filename)
def test_an_archive_that_leads_out_of_its_folder_is_refused_whole(lin, tmp_path, capsys, hostile):
    with zipfile.ZipFile(lin, "a") as archive:
        archive.writestr(hostile, png(0))
    before = sorted(tmp_path.rglob("*"))
    assert run("lin-48-80", "--from", lin, "-o", tmp_path / "data") == 2
    message = capsys.readouterr().err
    assert "leads out of its folder" in message and message.count("\n") == 1 and sorted(tmp_path.rglob("*")) == before


def test_an_image_of_gigabytes_is_refused(lin, tmp_path, capsys):
    with zipfile.ZipFile(lin, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("LIN_train/Alp14/bomb.png", bytes(get_data.LARGEST_PNG + 1))
    assert lin.stat().st_size < 1 << 17
    assert run("lin-48-80", "--from", lin, "-o", tmp_path / "data") == 2
    assert "bomb.png" in capsys.readouterr().err and not (tmp_path / "data").exists()


@pytest.mark.parametrize("damage", [
    lambda content: content[:-1000], lambda content: content[:len(content) // 2], lambda content: b"",
    lambda content: content[:60] + bytes(40) + content[100:], lambda content: b"<html>moved</html>"],
    ids=["directory cut", "half", "empty", "bytes changed", "another file"])
def test_a_damaged_archive_leaves_nothing(lin, tmp_path, capsys, damage):
    lin.write_bytes(damage(lin.read_bytes()))
    assert run("lin-48-80", "--from", lin, "-o", tmp_path / "data") == 2
    message = capsys.readouterr().err
    assert "damaged zip file" in message and "remove it" in message and message.count("\n") == 1
    assert not list((tmp_path / "data").glob("*"))


# ---------------------------------------------------------------------------------------------- with a download

def test_lin_is_downloaded_from_a_copy_and_kept(lin, tmp_path, capsys):
    with serving({"copy/" + lin.name: lin.read_bytes()}) as server:
        for name in ("a", "b"):
            assert run("lin-48-80", "--url", f"{server.url}/copy", "--cache", tmp_path / "cache", "-o", tmp_path / name) == 0
    told = capsys.readouterr().out
    assert told.index("Licence: none") < told.index(server.url)             # before the download
    assert "no known one to compare it with" in told and len(server.asked) == 1
    assert len(dataloader.load(tmp_path / "b").pixels) == 18


def test_mnist_is_downloaded_and_compared(mnist, tmp_path, capsys):
    files = {path.name: path.read_bytes() for path in mnist[0].iterdir()}
    files |= {name.replace("t10k", "train"): content for name, content in files.items()}
    with serving(files) as server:
        assert run("mnist", "--url", server.url, "--cache", tmp_path / "cache", "-o", tmp_path / "data") == 2
    message = capsys.readouterr().err
    assert "not the file it should be" in message and message.count("\n") == 1     # these are not LeCun's digits
    assert not (tmp_path / "data").exists() and not list(tmp_path.glob("cache/**/*.gz"))


def test_the_digests_of_mnist_are_those_of_the_published_files():
    folder = REAL_DATA / "mnist"
    if not folder.is_dir():
        pytest.skip(f"no digits in {REAL_DATA}: set BG_REAL_DATA")
    import pooch
    for path in folder.glob("*.gz"):
        assert pooch.file_hash(path) == download.PUBLIC["mnist"].files[path.name]
