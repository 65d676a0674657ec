"""biogans get_data: data folders that train.py reads, with and without a download, and mistakes in one line."""

import numpy as np
import pytest
from PIL import Image

from biogans.core import dataloader
from public_files import run, write_lin, write_mnist
from server import serving


@pytest.fixture
def mnist(tmp_path):
    return write_mnist(tmp_path / "idx")


@pytest.fixture
def lin(tmp_path):
    return write_lin(tmp_path)


def test_mnist_becomes_a_data_folder(mnist, tmp_path, capsys):
    folder, pixels = mnist
    assert run("mnist", "--from", folder, "-o", tmp_path / "data", "--test", "0.2") == 0
    printed = capsys.readouterr().out
    assert "CC BY-SA 3.0" in printed and "32 training images and 8 test images of 4 classes" in printed
    assert "CC BY-SA 3.0" in (tmp_path / "data/SOURCE.txt").read_text()
    seen = []
    for split, number in (("train", 32), ("test", 8)):
        images = dataloader.load(tmp_path / "data", split=split)
        assert images.factors == ("0", "1", "2", "3") and len(images.pixels) == number
        positions = images.pixels[:, 0, 0, 0]
        assert np.array_equal(images.pixels[..., 0], pixels[positions]) and np.array_equal(images.labels, positions % 4)
        seen += positions.tolist()
    assert sorted(seen) == list(range(40))


def test_the_choice_of_test_images_is_a_function_of_the_seed(mnist, tmp_path):
    chosen = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("mnist", "--from", mnist[0], "-o", tmp_path / name, "-s", seed)
        chosen.append(sorted(str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).glob("*_test/*/*")))
    assert chosen[0] == chosen[1] != chosen[2] and len(chosen[0]) == 4


@pytest.mark.parametrize("arguments, problem", [
    (("mnist", "--from", "idx", "-o", "data"), "no such file"),
    (("digits", "--from", ".", "-o", "data"), "leave this option out"),
    (("digits", "--url", "http://127.0.0.1", "-o", "data"), "leave this option out"),
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
    assert "already exists" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}


def test_pictures_are_gray(mnist, tmp_path):
    run("mnist", "--from", mnist[0], "-o", tmp_path / "data")
    assert Image.open(next((tmp_path / "data").glob("*_train/0/*.png"))).mode == "L"


# ---------------------------------------------------------------------------------------------- with a download

def test_lin_is_downloaded_from_a_copy_and_kept(lin, tmp_path, capsys):
    with serving({"copy/" + lin.name: lin.read_bytes()}) as server:
        for name in ("a", "b"):
            assert run("lin-48-80", "--url", f"{server.url}/copy", "--cache", tmp_path / "cache",
                       "-o", tmp_path / name) == 0
    printed = capsys.readouterr().out
    assert printed.index("Licence: none") < printed.index(server.url)       # before the download
    assert "not verified because none is published" in printed and len(server.asked) == 1
    assert len(dataloader.load(tmp_path / "b").pixels) == 18


def test_mnist_is_downloaded_and_verified(mnist, tmp_path, capsys):
    files = {path.name: path.read_bytes() for path in mnist[0].iterdir()}
    files |= {name.replace("t10k", "train"): content for name, content in files.items()}
    with serving(files) as server:
        assert run("mnist", "--url", server.url, "--cache", tmp_path / "cache", "-o", tmp_path / "data") == 2
    message = capsys.readouterr().err
    assert "not the expected file" in message and message.count("\n") == 1     # these are not the digits of MNIST
    assert not (tmp_path / "data").exists() and not list(tmp_path.glob("cache/**/*.gz"))
