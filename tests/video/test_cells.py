"""biogans cells: from fields to a data folder of whole cells, by a filter trained on examples."""

import csv
import re
import shutil

import numpy as np
import tifffile
from PIL import Image
from scipy.ndimage import rotate

from biogans.core import dataloader
from biogans.data import yeast
from biogans.video import cell_network, cells


def field(seed, number=12, shape=(440, 440)):
    """(uint8 RGB field, [(whole, row, column)]): simulated fission yeast at any angle, every third one a half."""
    rng, light, truth = np.random.default_rng(seed), np.zeros((*shape, 2)), []
    places = [(88 * y, 88 * x) for y in range(5) for x in range(5)]
    for k, place in enumerate(rng.permutation(places)[:number]):
        image = np.pad(yeast.render(yeast.sample_cell(rng), ("Bgs4", "Tea1"), rng).astype(float),
                       ((20, 20), (4, 4), (0, 0)))
        image = rotate(image, rng.uniform(0, 360), axes=(0, 1), reshape=False, order=1)
        if k % 3 == 2:
            image[:, 44:] = 0
        light[place[0]:place[0] + 88, place[1]:place[1] + 88] = image
        truth.append((k % 3 != 2, place[0] + 44, place[1] + 44))
    pixels = np.clip(light + rng.normal(10, 3, light.shape), 0, 255).astype(np.uint8)
    return np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=-1), truth


def test_from_fields_to_a_data_folder_of_whole_cells(tmp_path, run, monkeypatch, capsys):
    """Candidates, examples sorted into two folders, a filter, and with it only whole cells of other fields.

    Both filters, the logistic regression and the network, which is trained for a shorter time than usual.
    """
    truth = {}
    for split, seeds in (("fields", range(4)), ("more", range(10, 13))):
        (tmp_path / split).mkdir()
        for seed in seeds:
            pixels, truth[f"{seed}"] = field(seed)
            Image.fromarray(pixels).save(tmp_path / split / f"{seed}.png")
    assert run("cells", "-i", "fields", "-o", "candidates").returncode == 0
    with open(tmp_path / "candidates" / "manifest.csv", newline="") as file:
        candidates = list(csv.DictReader(file))
    assert len(candidates) == 48

    def is_whole(row):
        near = [(abs(y - int(row["down"])) + abs(x - int(row["right"])), whole) for whole, y, x in truth[row["field"]]]
        return min(near)[1]

    for row in candidates:
        folder = tmp_path / ("whole" if is_whole(row) else "not")
        folder.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "candidates" / row["file"], folder)
    done = run("cells", "-i", "candidates", "--teach", "whole", "not", "-o", "whole.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert run("cells", "-i", "more", "-o", "data", "--filter", "whole.json").returncode == 0
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cell_network, "UPDATES", 100)
    teach = ["-i", "candidates", "--teach", "whole", "not", "--method", "network"]
    assert cells.main([*teach, "-o", "whole.h5"]) == 0
    logistic, network = map(float, re.search(r"regression (\S+), network (\S+) ", capsys.readouterr().out).groups())
    assert f"logistic regression {logistic:.2f} (chance" in done.stdout and 0.8 < network <= 1
    assert cells.main(["-i", "more", "-o", "data_network", "--filter", "whole.h5"]) == 0
    for folder in ("data", "data_network"):
        with open(tmp_path / folder / "manifest.csv", newline="") as file:
            kept = list(csv.DictReader(file))
        right = sum(is_whole(row) for row in kept)
        assert right >= 0.9 * 24 and len(kept) - right <= 2
    for arguments, words in (([*teach, "-o", "x.json"], "ends in .h5"), ([*teach[:-1], "logistic", "-o", "x.h5"],
                             "--method network"), (["-i", "more", "-o", "x", "--filter", "whole.h5", "--size", "64"],
                                                   "48x80")):
        assert cells.main(arguments) == 2 and words in capsys.readouterr().err
    images = dataloader.load(tmp_path / "data")
    assert images.pixels.shape[1:] == (48, 80, 2) and images.factors == ("more",)
    for arguments, words in (("-i fields -o data", "already exists"), ("-i none -o x", "no such folder"),
                             ("-i fields -o x --channels 7", "channel"),
                             ("-i data --teach whole nowhere -o x.json", "no such folder|not in the manifest")):
        done = run("cells", *arguments.split())
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert any(word in done.stderr for word in words.split("|")), done.stderr


def test_hot_pixels_do_not_hide_the_cells(tmp_path, monkeypatch):
    """As cameras write them: 16 bits, an offset, and some pixels at the largest value."""
    monkeypatch.chdir(tmp_path)
    for name, hot in (("usual", 0), ("hot", 15)):
        (tmp_path / name).mkdir()
        pixels = 110 + 12 * field(3)[0][..., :2].astype(np.uint16)
        pixels[tuple(np.random.default_rng(4).integers(0, 440, (2, hot)))] = 65535
        tifffile.imwrite(tmp_path / name / "field.tif", np.moveaxis(pixels, -1, 0), metadata={"axes": "CYX"})
        assert cells.main(["-i", name, "-o", f"{name}_data"]) == 0
    usual, hot = (dataloader.load(tmp_path / f"{name}_data") for name in ("usual", "hot"))
    assert len(usual.pixels) == len(hot.pixels) == 12
