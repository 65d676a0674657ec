"""folders: the meaning of `-d` and `-p`."""

import os
import shutil

import pytest

from biogans.io import folders
from biogans.system.errors import InputError
from conftest import write_images


def find(*arguments, **settings):
    """{factor: real paths of its files}."""
    return {name: [path.resolve() for path in files] for name, files in folders.find(*arguments, **settings).items()}


def refusal(*arguments, **settings):
    """The message of the InputError that `find` must raise."""
    with pytest.raises(InputError) as mistake:
        folders.find(*arguments, **settings)
    assert "\n" not in str(mistake.value)
    return str(mistake.value)


def files_in(folder):
    return sorted(path.resolve() for path in folder.iterdir())


# ---------------------------------------------------------------------------------------------- -d and -p

@pytest.mark.parametrize("folder, factors", [
    ("data/LIN_train", ()), ("data/LIN_train", ("Alp14", "Tea1")), ("data/LIN_train", ("Tea1", "Alp14")),
    ("data/", ()), ("data/../data/LIN_train", ()), ("linked_data", ()), ("linked_train", ())])
def test_ways_to_name_the_training_images_of_all_factors(data, monkeypatch, folder, factors):
    monkeypatch.chdir(data.parent)
    os.symlink("data", "linked_data")
    os.symlink("data/LIN_train", "linked_train")
    expected = {name: files_in(data / "LIN_train" / name) for name in ("Alp14", "Tea1")}
    found = find(folder, factors)
    assert found == expected == find("data") and list(found) == ["Alp14", "Tea1"]


@pytest.mark.parametrize("folder, factors", [("data", ("Alp14",)), ("data/LIN_train", ("Alp14",)),
                                             ("data/LIN_train/Alp14", ()), ("data/LIN_train/Alp14", ("Alp14",))])
def test_ways_to_name_the_training_images_of_one_factor(data, monkeypatch, folder, factors):
    monkeypatch.chdir(data.parent)
    assert find(folder, factors) == {"Alp14": files_in(data / "LIN_train" / "Alp14")}


@pytest.mark.parametrize("folder", ["data", "data/LIN_train", "data/LIN_test", "linked_data", "linked_train"])
def test_evaluation_reads_the_test_images(data, monkeypatch, folder):
    monkeypatch.chdir(data.parent)
    os.symlink("data", "linked_data")
    os.symlink("data/LIN_train", "linked_train")
    assert find(folder, split="test")["Tea1"] == files_in(data / "LIN_test" / "Tea1")
    assert find("data/LIN_train/Tea1", split="test") == {"Tea1": files_in(data / "LIN_test" / "Tea1")}


def test_the_current_folder(data, monkeypatch):
    monkeypatch.chdir(data / "LIN_train")
    assert list(folders.find(".")) == ["Alp14", "Tea1"]
    assert "LIN_test" in str(folders.find(".", split="test")["Alp14"][0])
    monkeypatch.chdir("Alp14")
    assert list(folders.find(".")) == ["Alp14"]
    assert "LIN_test" in str(folders.find(".", split="test")["Alp14"][0])


def test_a_folder_without_train_and_test_serves_for_both(tmp_path):
    cells = write_images(tmp_path / "work_train" / "cells")         # the name of a folder above does not matter
    assert find(cells) == find(cells, split="test")


def test_mistakes_in_d_and_p(data):
    assert "no such folder" in refusal(data / "missing") and "no such folder" in refusal("")
    assert "did you mean Alp14? it has Alp14, Tea1" in refusal(data, ("Alp15",))
    assert "no polarity factor Tea1" in refusal(data / "LIN_train" / "Alp14", ("Tea1",))
    (data / "empty").mkdir()
    assert "no images" in refusal(data / "empty")
    write_images(data / "other_train")
    message = refusal(data)
    assert "several data sets" in message and "LIN_train" in message and "other_train" in message
    shutil.rmtree(data / "other_train")
    shutil.rmtree(data / "LIN_test" / "Tea1")
    assert "LIN_test/Tea1: no such folder" in refusal(data / "LIN_train" / "Tea1", split="test")
    shutil.rmtree(data / "LIN_test")
    for folder in (data, data / "LIN_train"):
        assert "LIN_test: no such folder" in refusal(folder, split="test")


def test_hidden_and_other_files_are_ignored(data):
    expected = find(data)
    for name in ("._cell000.png", "notes.txt"):
        (data / "LIN_train" / "Alp14" / name).write_text("no image")
    shutil.copytree(data / "LIN_train" / "Alp14", data / "LIN_train" / ".ipynb_checkpoints")
    assert find(data) == expected


# ---------------------------------------------------------------------------------------------- names of the splits

@pytest.mark.parametrize("train, test", [
    ("train", "test"), ("Train", "Test"), ("TRAIN", "TEST"), ("LIN_Train", "LIN_Test"), ("LIN_TRAIN", "LIN_TEST"),
    ("LIN_Train", "LIN_test"), ("LIN-train", "LIN-test"), ("LIN train", "LIN test"), ("à_train", "à_test")])
def test_names_of_the_folders_of_training_and_test(data, train, test):
    (data / "LIN_train").rename(data / train)
    (data / "LIN_test").rename(data / test)
    for folder in (data, data / train):
        assert find(folder)["Tea1"] == files_in(data / train / "Tea1")
        assert find(folder, split="test")["Tea1"] == files_in(data / test / "Tea1")
    assert find(data / train / "Tea1", split="test") == {"Tea1": files_in(data / test / "Tea1")}


def test_classes_beside_a_test_folder(tmp_path):
    write_images(tmp_path)
    write_images(tmp_path / "test", seed=1)
    assert find(tmp_path)["Tea1"] == files_in(tmp_path / "Tea1")
    assert find(tmp_path, split="test")["Tea1"] == files_in(tmp_path / "test" / "Tea1")


@pytest.mark.parametrize("names", [("train", "car"), ("Test", "car"), ("freight train", "car"), ("latest", "contest")])
def test_classes_that_are_called_train_or_test(tmp_path, names):
    """They hold images themselves, and have no counterpart."""
    write_images(tmp_path, names)
    for split in ("train", "test"):
        assert {*find(tmp_path, split=split)} == {*names}


@pytest.mark.parametrize("train, test", [("train", "test"), ("LIN_train", "LIN_test"), ("Train", "Test")])
def test_images_without_folders_of_classes(tmp_path, train, test):
    """Those of training and test have one name of a class, so that they can be compared."""
    write_images(tmp_path, (train, test))
    for folder in (tmp_path, tmp_path / train):
        assert find(folder) == {train: files_in(tmp_path / train)}
        assert find(folder, split="test") == {train: files_in(tmp_path / test)}
    os.symlink(tmp_path / train, tmp_path / "link")
    assert find(tmp_path / "link", split="test") == {"link": files_in(tmp_path / test)}


def test_a_folder_train_of_other_things_above(tmp_path):
    """It is no half of a data set, as there is no folder test beside it."""
    write_images(tmp_path / "train")
    assert find(tmp_path / "train" / "Tea1") == find(tmp_path / "train" / "Tea1", split="test")


def test_a_short_name_for_a_folder_of_training_images(data):
    os.symlink("LIN_train", data / "train")
    assert find(data) == find(data / "LIN_train")


# ---------------------------------------------------------------------------------------------- links

@pytest.mark.parametrize("target", ["Tea1", "../LIN_train/Tea1", ".link"])
def test_a_link_that_shows_a_class_twice(data, target):
    root = data / "LIN_train"
    os.symlink("Tea1", root / ".link")
    os.symlink(target, root / "Tea2")
    message = refusal(data)
    assert "Tea2" in message and "are one folder" in message and "remove the link" in message and "-p" in message
    assert find(data, ("Alp14", "Tea2")) == {"Alp14": files_in(root / "Alp14"), "Tea2": files_in(root / "Tea1")}


def test_classes_that_are_links_to_different_folders(data):
    (data / "LIN_train").rename(data.parent / "store")
    (data / "LIN_train").mkdir()
    for name in ("Alp14", "Tea1"):
        os.symlink(data.parent / "store" / name, data / "LIN_train" / name)
    assert find(data)["Tea1"] == files_in(data.parent / "store" / "Tea1")


# ---------------------------------------------------------------------------------------------- masks

@pytest.mark.parametrize("name", ["masks", "Masks", "masks_", "mask01", "labels", "Label", "segmentation", "gt", "GT",
                                  "ground_truth", "Alp14_masks", "cellMasks", "annotations"])
def test_folders_of_masks_among_the_classes(data, name):
    root = data / "LIN_train"
    shutil.copytree(root / "Alp14", root / name)
    everything = ",".join(sorted(("Alp14", "Tea1", name)))
    message = refusal(data)
    assert f"{name} may hold masks" in message
    assert "leave it out with -p Alp14,Tea1," in message and f"with -p {everything}," in message
    assert list(find(data, ("Alp14", "Tea1"))) == ["Alp14", "Tea1"]
    assert {*find(data, tuple(everything.split(",")))} == {"Alp14", "Tea1", name}


def test_masks_after_a_training(data):
    """Whoever trained without them, or with them, has chosen; commands without -p follow."""
    shutil.copytree(data / "LIN_test" / "Alp14", data / "LIN_test" / "masks")
    assert list(find(data, split="test", known=("Alp14", "Tea1"))) == ["Alp14", "Tea1"]
    assert list(find(data, split="test", known=("Alp14", "Tea1", "masks"))) == ["Alp14", "Tea1", "masks"]


@pytest.mark.parametrize("names", [("masks",), ("masks", "labels"), ("label-free", "unmasked"), ("WT", "gtpase")])
def test_other_classes_are_not_asked_about(tmp_path, names):
    """Masks alone are classes like others."""
    write_images(tmp_path, names)
    assert {*find(tmp_path)} == {*names}
