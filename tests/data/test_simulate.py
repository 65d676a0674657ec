"""biogans simulate: the files of a data set, and how earlier files are replaced or refused."""

import csv
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from biogans.data import simulate, yeast
from biogans.data.yeast import CHANNELS, FACTORS, PIXEL

SOURCES = Path(simulate.__file__).parents[2]
TRAIN = "LIN_Normalized_WT_size-48-80_train"
TEST = "LIN_Normalized_WT_size-48-80_test"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "data"
    assert simulate.main(["-o", str(folder), "--train", "24", "--test", "12", "--joint", "5", "--seed", "3"]) == 0
    return folder


def manifest(folder):
    with open(folder / "manifest.csv", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}


def test_layout(sample):
    assert {entry.name for entry in sample.iterdir()} == {TRAIN, TEST, "joint_test.h5", "SIMULATED.txt"}
    for split, each in ((TRAIN, 4), (TEST, 2)):
        folders = {entry.name: len(list(entry.glob("cell*.png"))) for entry in (sample / split).iterdir()
                   if entry.is_dir()}
        assert folders == dict.fromkeys(FACTORS, each)


def test_no_cell_is_in_both_the_training_and_the_test_set(sample):
    ages = [{row["t"] for row in manifest(sample / split)} for split in (TRAIN, TEST)]
    with h5py.File(sample / "joint_test.h5") as file:
        ages.append({str(t) for t in file["t"][:]})
    assert not ages[0] & ages[1] and not ages[0] & ages[2] and not ages[1] & ages[2]


def test_images(sample):
    for path in sample.rglob("*.png"):
        with Image.open(path) as image:
            assert image.mode == "RGB" and image.size == (80, 48) and "simulated" in image.info["Source"]
            assert 0.0254 / image.info["dpi"][0] * 1e6 == pytest.approx(PIXEL, rel=1e-3)
            pixels = np.asarray(image)
        assert pixels[..., 0].max() == pixels[..., 1].max() == 255 and not pixels[..., 2].any()


def test_manifest_describes_the_images(sample):
    for split in (TRAIN, TEST):
        rows = manifest(sample / split)
        assert {row["file"] for row in rows} == {str(path.relative_to(sample / split))
                                                 for path in (sample / split).rglob("*.png")}
        for row in rows:
            assert row["file"].split("/")[0] == row["factor"] and row["source"] == "simulated" and row["seed"] == "3"
            pixels = np.asarray(Image.open(sample / split / row["file"]))
            measured = np.count_nonzero((pixels[..., 0] >= 25).any(axis=0)) * PIXEL
            assert measured == pytest.approx(float(row["length_um"]), abs=0.8)


def test_joint_cells(sample):
    with h5py.File(sample / "joint_test.h5") as file:
        stack = file["stack"]
        assert stack.shape == (5, 48, 80, 7) and stack.dtype == np.uint8
        assert list(stack.attrs["channel_names"]) == ["Bgs4", *FACTORS]
        assert stack.attrs["pixel_size_um"] == PIXEL and stack.attrs["seed"] == 3
        assert list(stack.attrs["value_range"]) == [0, 255]
        for index in range(5):
            rng = yeast.cell_rng(3, simulate.JOINT, index)
            cell = yeast.sample_cell(rng)
            assert file["t"][index] == pytest.approx(cell.t, abs=1e-4)
            assert file["orientation"].asstr()[index] == cell.orientation
            assert (stack[index] == yeast.render(cell, CHANNELS, rng)).all()


def test_repeats_keep_red_and_vary_all_that_it_does_not_show(sample):
    """The mask is the same, every green differs, and each cell has further ones."""
    with h5py.File(sample / "joint_test.h5") as file:
        stack, repeats = file["stack"][()], file["repeats"][()]
        assert list(file["repeats"].attrs["channel_names"]) == [*FACTORS]
    assert repeats.shape == (5, simulate.REPEATS, 48, 80, 6) and repeats.dtype == np.uint8
    for cell, greens in zip(stack, repeats):
        outside = ~ndimage.binary_dilation(cell[..., 0] > 0, np.ones((5, 5)))
        assert not greens[:, outside].any() and (greens[..., cell[..., 0] > 60, :] > 0).mean() > 0.99
        together = np.concatenate([cell[None, ..., 1:], greens])
        assert len(np.unique(together.reshape(1 + simulate.REPEATS, -1), axis=0)) == 1 + simulate.REPEATS


def test_a_larger_set_starts_with_the_cells_of_a_smaller_one(sample, tmp_path):
    simulate.write_sample(tmp_path, (30, 12, 1), 3, simulate.save_png)
    small, large = contents(sample), contents(tmp_path)
    assert len(small) == 36 and len(large) == 42 and small.items() <= large.items()
    assert (sample / TRAIN / "manifest.csv").read_text() in (tmp_path / TRAIN / "manifest.csv").read_text()


def test_another_seed_makes_other_cells(sample, tmp_path):
    simulate.write_sample(tmp_path, (24, 12, 1), 4, simulate.save_png)
    assert contents(sample).keys() == contents(tmp_path).keys()
    assert not contents(sample).items() & contents(tmp_path).items()


def test_a_folder_in_use_is_refused(sample, capsys):
    before = contents(sample)
    assert simulate.main(["-o", str(sample), "--train", "6", "--test", "6", "--joint", "1"]) == 2
    message = capsys.readouterr().err
    assert "--overwrite" in message and message.count("\n") == 1 and contents(sample) == before


def test_overwrite_replaces_all_of_the_earlier_cells(tmp_path):
    simulate.write_sample(tmp_path, (12, 6, 1), 1, simulate.save_png)
    (tmp_path / "notes.txt").write_text("mine")
    few = ["-o", str(tmp_path), "--train", "6", "--test", "6", "--joint", "1", "--seed", "2", "--overwrite"]
    assert simulate.main(few) == 0
    assert len(contents(tmp_path)) == 12 and len(manifest(tmp_path / TRAIN)) == 6
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("linked", [False, True])
def test_overwrite_spares_real_data(tmp_path, capsys, linked):
    real = tmp_path / ("elsewhere" if linked else TRAIN) / "Alp14"
    real.mkdir(parents=True)
    (real / "cell1.png").write_bytes(b"a real cell")
    if linked:
        (tmp_path / TRAIN).symlink_to(tmp_path / "elsewhere")
    assert simulate.main(["-o", str(tmp_path), "--train", "6", "--test", "6", "--overwrite"]) == 2
    assert TRAIN in capsys.readouterr().err and (real / "cell1.png").read_bytes() == b"a real cell"


def test_a_failure_leaves_the_earlier_data_and_nothing_else(tmp_path, monkeypatch):
    simulate.write_sample(tmp_path, (6, 6, 1), 1, simulate.save_png)
    before = contents(tmp_path)

    def broken(*_):
        raise KeyboardInterrupt
    monkeypatch.setattr(simulate, "write_joint", broken)
    assert simulate.main(["-o", str(tmp_path), "--train", "6", "--test", "6", "--seed", "2", "--overwrite"]) == 130
    assert contents(tmp_path) == before
    assert {entry.name for entry in tmp_path.iterdir()} == {TRAIN, TEST, "joint_test.h5", "SIMULATED.txt"}


@pytest.mark.parametrize("arguments, word", [([], "-o"), (["-o", "x", "--full", "--train", "6"], "--full"),
                                             (["-o", str(simulate.__file__)], "is a file")])
def test_mistakes_are_reported_in_one_line(arguments, word, capsys):
    assert simulate.main(arguments) == 2
    message = capsys.readouterr().err
    assert word in message and message.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--train", "0"], ["--test", "-1"], ["--seed", "x"]])
def test_numbers_are_checked(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        simulate.main(["-o", "x", *arguments])
    assert stop.value.code == 2 and "whole number" in capsys.readouterr().err


def test_contact_sheet(tmp_path):
    assert simulate.main(["--contact_sheet", str(tmp_path / "sheet.png")]) == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 8 * 80 * 2 and len(sheet.getcolors(maxcolors=10 ** 6)) > 1000


def test_importing_is_light():
    check = ("import sys, biogans.data.simulate; "
             "print([name for name in ('tensorflow', 'keras', 'scipy', 'PIL', 'h5py', 'tqdm') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=SOURCES, check=True)
    assert done.stdout.strip() == "[]"
