"""The archive of LIN: extraction of factors, and refusal of hostile and damaged archives."""

import stat
import zipfile

import pytest

from biogans.core import dataloader
from biogans.data import get_data, lin_archive
from public_files import png, run, write_lin


@pytest.fixture
def lin(tmp_path):
    return write_lin(tmp_path)


@pytest.mark.parametrize("arguments, factors", [((), get_data.FACTORS), (("-p", "Tea4,Alp14"), ("Alp14", "Tea4")),
                                                (("-p", "all"), (*get_data.FACTORS, "Fim1", "Tea4"))])
def test_lin_becomes_a_data_folder(lin, tmp_path, capsys, arguments, factors):
    assert run("lin-48-80", "--from", lin, "-o", tmp_path / "data", *arguments) == 0
    printed = capsys.readouterr().out
    assert "contact the authors" in printed and "Cite: Dodgson" in printed
    assert f"{3 * len(factors)} training images and {2 * len(factors)} test images" in printed
    for split, number in (("train", 3), ("test", 2)):
        images = dataloader.load(tmp_path / "data", split=split)
        assert images.factors == tuple(sorted(factors)) and len(images.pixels) == number * len(factors)
        assert images.pixels.shape[1:] == (48, 80, 2)


def test_a_missing_factor_is_reported_with_those_present(lin, tmp_path, capsys):
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
def test_an_archive_that_leads_out_of_its_folder_is_refused_as_a_whole(lin, tmp_path, capsys, hostile):
    with zipfile.ZipFile(lin, "a") as archive:
        archive.writestr(hostile, png(0))
    before = sorted(tmp_path.rglob("*"))
    assert run("lin-48-80", "--from", lin, "-o", tmp_path / "data") == 2
    message = capsys.readouterr().err
    assert "leads out of its folder" in message and message.count("\n") == 1 and sorted(tmp_path.rglob("*")) == before


def test_an_image_of_gigabytes_is_refused(lin, tmp_path, capsys):
    with zipfile.ZipFile(lin, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("LIN_train/Alp14/bomb.png", bytes(lin_archive.LARGEST_PNG + 1))
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
