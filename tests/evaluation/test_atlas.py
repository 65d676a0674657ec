"""biogans atlas: profiles and correlations of cells that are known, the files, and mistakes."""

import csv
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from biogans.evaluation import atlas

NAMES = ["red", "A", "B", "C"]


def drawn_cells(number, draws, rng, noise=0.2):
    """Cells (number, draws, 24, 48, 4) in [0, 1] of lengths 20 to 40: red at the left tip, more or less in the middle.

    A lies at the left tip like red; B is A's noise again; C is noise of its own; the middle of each.
    """
    x = np.arange(48)
    cells = np.zeros((number, draws, 24, 48, 4), np.float32)
    lengths = np.linspace(20, 40, number).round().astype(int)
    for cell, length in zip(cells, lengths):
        here = (x >= 4) & (x < 4 + length)
        fall = np.where(here, 0.7 - 0.5 * (x - 4) / length, 0)
        shared, own = rng.normal(0, noise, (2, draws, 12, 48)) * here
        inside = cell[:, 6:18]
        inside[..., 0] = fall
        inside[..., 1] = fall + shared * 0.5
        inside[..., 2] = fall[::-1] * 0 + here * 0.4 + shared * 0.5
        inside[..., 3] = here * 0.4 + own * 0.5
    return cells.clip(0, 1), lengths


def labelled(path, cells, factor="A"):
    """Write cells as biogans label does."""
    with h5py.File(path, "w") as file:
        stack = file.create_dataset("stack", data=cells.mean(axis=1))
        stack.attrs["channel_names"], stack.attrs["pixel_size_um"] = NAMES, 0.5
        file["draws"] = (255 * cells).round().astype(np.uint8)
        file["target"] = cells[:, 0][..., [0, NAMES.index(factor)]]
        file["factor"] = np.array([factor] * len(cells), dtype=h5py.string_dtype())


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_correlations_of_known_cells():
    """A and B share noise within a draw; between draws A has in common with B only what red determines: nothing."""
    cells, lengths = drawn_cells(40, 5, np.random.default_rng(0))
    found = atlas.measure(cells, "cells")
    assert np.corrcoef(found.length, lengths)[0, 1] > 0.99
    direct = np.mean([np.corrcoef(draw[7:17, 6:22, [1, 2]].reshape(-1, 2).T)[0, 1] for draw in cells[0]])
    assert found.together[0, 1, 2] == pytest.approx(direct, abs=0.15)
    agreement = atlas.agreement(found, np.random.default_rng(1))
    assert agreement.beyond.low[1, 2] > 0.3 and abs(agreement.apart.mean[1, 2]) < 0.05
    assert abs(agreement.beyond.mean[1, 3]) < 0.05 and agreement.beyond.low[1, 3] < 0 < agreement.beyond.high[1, 3]
    assert agreement.apart.mean[0, 1] == pytest.approx(agreement.together.mean[0, 1], abs=0.01)     # red is the same
    assert (agreement.together.low <= agreement.together.mean).all()


def test_two_draws_give_the_correlation_between_them():
    """`apart` is the plain correlation of one draw with the other, both ways."""
    cells, _ = drawn_cells(1, 2, np.random.default_rng(3))
    _, _, together, apart = atlas.measure_cell(cells[0])
    inside = atlas.joint.cell_axis(cells[0].mean(axis=0)).inside
    one, other = (draw[inside].astype(float) for draw in cells[0])

    def correlation(a, b):
        return np.corrcoef(a.T, b.T)[:4, 4:]
    np.testing.assert_allclose(apart, (correlation(one, other) + correlation(other, one)) / 2, atol=1e-9)
    np.testing.assert_allclose(together, (np.corrcoef(one.T) + np.corrcoef(other.T)) / 2, atol=1e-9)


def test_intervals_contain_the_mean_as_often_as_they_say():
    """Of 300 bootstraps of 50 normal numbers about 95 % contain 0; NaN are left out."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 300))
    values[rng.random(values.shape) < 0.1] = np.nan
    found = atlas.estimated(values, rng)
    np.testing.assert_allclose(found.mean, np.nanmean(values, axis=0))
    assert 0.88 < ((found.low < 0) & (found.high > 0)).mean() < 0.99
    assert np.isnan(atlas.estimated(np.full((30, 1), np.nan), rng).mean).all()


def test_the_files(tmp_path, capsys, monkeypatch):
    """The numbers lie in the tables; the factor that images show has profiles of its own; the page holds everything."""
    monkeypatch.chdir(tmp_path)
    cells, _ = drawn_cells(48, 3, np.random.default_rng(0))
    labelled("labelled.h5", cells)
    assert atlas.main(["-i", "labelled.h5", "-o", "out"]) == 0
    printed = capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "atlas.html", "profiles.png", "pairs.png", "profiles.csv", "pairs.csv"}
    pairs = {(row["one"], row["other"]): row for row in table("out/pairs.csv")}
    assert list(pairs) == [("A", "B"), ("A", "C"), ("B", "C")]
    row = {name: float(value) for name, value in pairs["A", "B"].items() if name not in ("cells", "one", "other")}
    assert row["beyond red"] == pytest.approx(row["correlation"] - row["shared red"], abs=2e-4)
    assert f"{row['correlation']:.2f} ({row['correlation low']:.2f}, {row['correlation high']:.2f})" in printed
    profiles = table("out/profiles.csv")
    own = [line for line in profiles if line["cells"] == atlas.IMAGED]
    assert {line["channel"] for line in own} == {"red", "A"}
    red = np.array([float(line["brightness"]) for line in profiles if line["channel"] == "red"][:20])
    assert (np.diff(red[1:-1]) < 0).all() and red[0] > 1.3 > 0.7 > red[-1]
    lengths = {float(line["length (µm)"]) for line in profiles}
    assert 8 < min(lengths) < 11 and 18 < max(lengths) < 21
    page = (tmp_path / "out/atlas.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2 and "may not be concluded" in page and "src=\"http" not in page


def test_generated_cells_beside_true_ones(tmp_path, capsys, monkeypatch):
    """A stack of predict.py has single draws; the truth, drawn several times, has agreement beyond red."""
    monkeypatch.chdir(tmp_path)
    cells, _ = drawn_cells(30, 5, np.random.default_rng(0))
    with h5py.File("stack.h5", "w") as file:
        file.create_dataset("stack", data=2 * cells[:, 0] - 1).attrs.update({"channel_names": NAMES,
                                                                             "value_range": [-1.0, 1.0]})
    with h5py.File("joint_test.h5", "w") as file:
        pixels = (255 * cells).round().astype(np.uint8)
        file.create_dataset("stack", data=pixels[:, 0]).attrs["channel_names"] = NAMES
        file["repeats"] = pixels[:10, 1:, ..., 1:]
    assert atlas.main(["-i", "stack.h5", "-d", "."]) == 0
    printed = capsys.readouterr().out
    rows = {(row["cells"], row["one"], row["other"]): row for row in table("atlas/pairs.csv")}
    assert rows[atlas.GENERATED, "A", "B"]["shared red"] == "nan"
    assert float(rows[atlas.TRUE, "A", "B"]["beyond red low"]) > 0.3
    assert float(rows[atlas.GENERATED, "A", "B"]["correlation"]) == pytest.approx(
        float(rows[atlas.TRUE, "A", "B"]["correlation"]), abs=0.02)
    assert "nan" not in printed and "–" in printed


def damaged(file):
    file["draws"] = np.zeros((24, 3, 5, 5, 4), np.uint8)


def foreign(file):
    file["target"] = np.zeros((30, 24, 48, 2), np.float32)
    file["factor"] = np.array(["X"] * 30, dtype=h5py.string_dtype())


@pytest.mark.parametrize("change, message", [
    (damaged, "its draws do not fit its stack"), (foreign, "an image shows X, which is no channel"),
    (lambda file: file["stack"].attrs.__setitem__("channel_names", ["red", "A"]), "several factors"),
    (lambda file: file["stack"].__setitem__(slice(None), 0), "0 images show a cell, and at least 24 are needed")])
def test_mistakes(tmp_path, capsys, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    cells, _ = drawn_cells(30, 1, np.random.default_rng(0))
    channels = 2 if "several" in message else 4
    with h5py.File("stack.h5", "w") as file:
        file.create_dataset("stack", data=cells[:, 0, ..., :channels]).attrs["channel_names"] = NAMES[:channels]
        change(file)
    assert atlas.main(["-i", "stack.h5"]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and len(error.splitlines()) == 1 and not (tmp_path / "atlas").exists()
    assert atlas.main(["-i", "stack.h5", "-d", "."]) == 2


def test_a_link_to_another_file_is_not_followed(tmp_path, monkeypatch):
    """Draws elsewhere are none, and that file is not opened: a pipe, which would wait forever."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.h5")
    cells, _ = drawn_cells(30, 1, np.random.default_rng(0))
    with h5py.File("stack.h5", "w") as file:
        file.create_dataset("stack", data=cells[:, 0]).attrs["channel_names"] = NAMES
        file["draws"] = h5py.ExternalLink("pipe.h5", "draws")
    done = subprocess.run([sys.executable, "-m", "biogans", "atlas", "-i", "stack.h5"], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    assert {row["cells"] for row in table("atlas/pairs.csv")} == {atlas.GENERATED}


def test_draws_in_huge_pieces_are_refused(tmp_path, monkeypatch, capsys):
    """Whole chunks are read and unpacked, so a file with chunks may need any amount of memory."""
    monkeypatch.chdir(tmp_path)
    cells, _ = drawn_cells(30, 1, np.random.default_rng(0))
    with h5py.File("stack.h5", "w") as file:
        file.create_dataset("stack", data=cells[:, 0]).attrs["channel_names"] = NAMES
        file.create_dataset("draws", (30, 3, 24, 48, 4), np.uint8, chunks=(30, 3, 24, 48, 4), compression="gzip")
    assert atlas.main(["-i", "stack.h5"]) == 2
    assert "its draws do not fit its stack" in capsys.readouterr().err
