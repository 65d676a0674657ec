"""biogans collect on the runs of a sweep."""

import contextlib
import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from biogans.core import train, trained
from biogans.evaluation import collect
from conftest import SMALL, write_images
from quick_training import quick_training


@pytest.fixture(scope="module")
def trained_runs(tmp_path_factory):
    """Two seeds of a DCGAN, and a star with another learning rate, each in its own folder."""
    folder = tmp_path_factory.mktemp("collect")
    data = write_images(folder / "data" / "LIN_train").parent
    write_images(data / "LIN_test", seed=1)
    for name, arguments in {"a": ("-m", "DCGAN", "-s", "1"), "b": ("-m", "DCGAN", "-s", "2"),
                            "star": ("--lrG", "0.001")}.items():
        (folder / "runs" / name).mkdir(parents=True)
        with contextlib.chdir(folder / "runs" / name), quick_training():
            assert train.main([*SMALL, "-d", str(data), "-e", "2", *arguments]) == 0
    return folder / "runs"


@pytest.fixture
def runs(trained_runs, here):
    """A copy of these runs in the current folder, beside the data."""
    return shutil.copytree(trained_runs, here / "runs")


def test_table_and_sheet(runs, tmp_path, capsys):
    capsys.readouterr()
    assert collect.main(["runs", "-d", "data", "-o", "sweep"]) == 0
    with open("sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["folder"], row["architecture"], row["seed"]) for row in rows] == [
        ("1", "runs/a", "DCGAN", "1"), ("2", "runs/b", "DCGAN", "2"), ("3", "runs/star", "DCGAN-starshaped", "42")]
    assert [row["lrG"] for row in rows] == ["0.0002", "0.0002", "0.001"] and "lrD" not in rows[0]
    with open(runs / "b/checkpoints/log.DCGAN.WGAN-GP.1.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert {name: rows[1][name] for name in last} == last
    assert all(0 < float(row["distance"]) < 100 for row in rows) and rows[0]["distance"] != rows[1]["distance"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == list(rows[0]) and printed[3].split() == list(rows[2].values())
    assert Image.open("sweep.png").height > 3 * 16
    assert collect.main(["runs", "--palette", "magenta-green"]) == 0
    coloured = [np.asarray(Image.open(f"{name}.png").convert("RGB")).astype(int) for name in ("sweep", "runs")]
    assert (coloured[0][..., 0] != coloured[0][..., 2]).any() and (coloured[1][..., 0] == coloured[1][..., 2]).all()


def test_the_cells_come_from_the_network(runs):
    """In the star's row the factors of a cell follow one another: they share the red channel."""
    (path,) = (runs / "star/checkpoints").glob("weights.generator.*")
    cells = collect.sheet_cells(trained.load_generator(path), seed=1)
    assert cells.shape == (12, 16, 24, 2) and cells.dtype == np.uint8
    assert np.array_equal(cells[0::2, ..., 0], cells[1::2, ..., 0])
    assert not np.array_equal(cells[0, ..., 0], cells[2, ..., 0]) and not np.array_equal(cells[0], cells[1])


@pytest.mark.usefixtures("quick_runs")
def test_replaced_runs_are_ignored(runs, data, capsys, monkeypatch):
    monkeypatch.chdir(runs / "a")
    train.main([*SMALL, "-d", str(data), "-e", "1", "-m", "DCGAN"])
    assert [path.parent.name for path in collect.find_weights([runs])] == ["checkpoints"] * 3


def test_nothing_to_collect(tmp_path, capsys):
    assert collect.main([str(tmp_path)]) == 2
    assert f"{tmp_path}: no weights.generator file there" in capsys.readouterr().err
