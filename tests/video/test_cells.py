"""biogans cells: cells are found, lie level, and halves of cells are told from whole ones after some examples."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import rotate

from biogans.core import dataloader
from biogans.data import simulate
from biogans.video import cells
from biogans.system.errors import InputError


def ellipse(shape, centre, axes, angle):
    """A mask; `angle` (radians) from the right downwards."""
    y, x = np.indices(shape)
    along = (x - centre[1]) * np.cos(angle) + (y - centre[0]) * np.sin(angle)
    across = (y - centre[0]) * np.cos(angle) - (x - centre[1]) * np.sin(angle)
    return (along / axes[0]) ** 2 + (across / axes[1]) ** 2 <= 1


def field(seed, number=12, shape=(440, 440)):
    """(uint8 RGB field, [(whole, row, column)]): simulated fission yeast at any angle, every third one a half."""
    rng, light, truth = np.random.default_rng(seed), np.zeros((*shape, 2)), []
    places = [(88 * y, 88 * x) for y in range(5) for x in range(5)]
    for k, place in enumerate(rng.permutation(places)[:number]):
        image = np.pad(simulate.render(simulate.sample_cell(rng), ("Bgs4", "Tea1"), rng).astype(float),
                       ((20, 20), (4, 4), (0, 0)))
        image = rotate(image, rng.uniform(0, 360), axes=(0, 1), reshape=False, order=1)
        if k % 3 == 2:
            image[:, 44:] = 0
        light[place[0]:place[0] + 88, place[1]:place[1] + 88] = image
        truth.append((k % 3 != 2, place[0] + 44, place[1] + 44))
    pixels = np.clip(light + rng.normal(10, 3, light.shape), 0, 255).astype(np.uint8)
    return np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=-1), truth


def test_touching_cells_are_cut_apart_and_those_at_the_border_left_out():
    image = np.zeros((120, 120))
    for centre in ((40, 40), (40, 72), (90, 60), (118, 20)):
        image[ellipse(image.shape, centre, (18, 12), 0)] = 100
    image += np.random.default_rng(0).normal(10, 2, image.shape)
    labels = cells.find(image)
    found = [tuple(np.mean(np.nonzero(labels == label), axis=1).round().astype(int)) for label in np.unique(labels)[1:]]
    assert len(found) == 3
    for centre in ((40, 40), (40, 72), (90, 60)):
        assert min(np.hypot(y - centre[0], x - centre[1]) for y, x in found) < 3


def test_nothing_is_found_where_nothing_is():
    assert not cells.find(np.zeros((64, 64))).any()


@pytest.mark.parametrize("angle", [0, 30, 90, 135, 170])
def test_a_cell_is_turned_level_and_put_in_the_middle(angle):
    mask = ellipse((100, 100), (55, 42), (30, 10), np.radians(angle))
    y, x = np.indices(mask.shape)
    end = (x - 42) * np.cos(np.radians(angle)) + (y - 55) * np.sin(np.radians(angle))
    pixels = np.stack([np.where(end > 15, 1.0, 0.3), np.ones(mask.shape)], axis=-1)
    level, whole = cells.align(pixels, mask, (48, 80), face=True)
    assert level.shape == (48, 80, 2) and whole.sum() == pytest.approx(mask.sum(), rel=0.06)
    rows, columns = np.nonzero(whole)
    assert abs(rows.mean() - 23.5) < 0.5 and abs(columns.mean() - 39.5) < 0.5
    assert 58 <= np.ptp(columns) <= 62 and 18 <= np.ptp(rows) <= 22
    assert level[:, :20, 0].max() > 0.9 and level[:, 60:, 0].max() < 0.4    # the bright end is on the left
    assert not level[~whole].any()


def test_features_of_a_disc():
    mask = ellipse((60, 60), (30, 30), (20, 20), 0)
    found = dict(zip(cells.FEATURES, cells.features(np.where(mask, 0.5, 0.0), mask)))
    assert found["area"] == pytest.approx(np.pi * 400, rel=0.01) and found["length"] == pytest.approx(40, rel=0.02)
    assert found["eccentricity"] < 0.1 and found["solidity"] > 0.95 and found["roundness"] == pytest.approx(1, abs=0.1)
    assert (found["brightness"], found["contrast"], found["edge"]) == pytest.approx((0.5, 0, 1))


def test_a_filter_learns_what_is_neither_too_small_nor_too_large(tmp_path):
    rng = np.random.default_rng(0)
    table = rng.normal(0, 1, (200, len(cells.FEATURES)))
    whole = np.abs(table[:, 0]) < 0.7
    taught = cells.teach(table[:120], whole[:120])
    assert ((taught.probability(table[120:]) > 0.5) == whole[120:]).mean() > 0.85 and taught.accuracy > 0.8
    cells.write_filter(tmp_path / "a.json", taught)
    assert cells.read_filter(tmp_path / "a.json") == taught


def test_bad_filters_and_too_few_examples_are_refused(tmp_path):
    with pytest.raises(InputError, match="give 5 or more of each"):
        cells.teach(np.zeros((8, len(cells.FEATURES))), [True] * 7 + [False])
    for text in ("", "[1]", "{}", json.dumps({**cells.Filter(["x"], [0], [1], [0, 0], 0, 1)._asdict()})):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InputError, match="not a filter"):
            cells.read_filter(tmp_path / "a.json")


def test_from_fields_to_a_data_folder_of_whole_cells(tmp_path, run):
    """Candidates, examples sorted into two folders, a filter, and with it only whole cells of other fields."""
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
    with open(tmp_path / "data" / "manifest.csv", newline="") as file:
        kept = list(csv.DictReader(file))
    right = sum(is_whole(row) for row in kept)
    assert right >= 0.9 * 24 and len(kept) - right <= 2
    images = dataloader.load(tmp_path / "data")
    assert images.pixels.shape[1:] == (48, 80, 2) and images.factors == ("more",)
    for arguments, words in ((("-i", "fields", "-o", "data"), "is there already"), (("-i", "none", "-o", "x"), "no such folder"),
                             (("-i", "fields", "-o", "x", "--channels", "7"), "channel"),
                             (("-i", "data", "--teach", "whole", "nowhere", "-o", "x.json"), "no such folder|not in the manifest")):
        done = run("cells", *arguments)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert any(word in done.stderr for word in words.split("|")), done.stderr


def test_real_cells_are_found(real_cells):
    """Of an imaging flow cytometer, DNA in the green channel: one in the middle of nearly every picture."""
    files = sorted(real_cells.rglob("*.png"))[::60]
    found = [len(np.unique(cells.find(np.asarray(Image.open(file))[..., 1].astype(float), smallest=40))) - 1 for file in files]
    assert np.mean(np.array(found) >= 1) > 0.8
