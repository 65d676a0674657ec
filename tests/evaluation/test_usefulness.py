"""What classifiers learn from generated cells: as much as from real ones if they are alike, and nothing from noise."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from biogans.core.dataloader import Images
from biogans.evaluation import evaluate, features, usefulness
from conftest import train_small_networks
from networks import FACTORS


def shown(number, rng):
    """Images of two factors, which differ in the side on which green lies."""
    labels = np.arange(number) % 2
    pixels = rng.integers(0, 60, (number, 16, 24, 2), np.uint8)
    for image, label in zip(pixels, labels):
        image[:8, :, 1 - label] += 150
    return Images(pixels, labels, FACTORS)


@pytest.fixture
def quick(monkeypatch):
    for name, value in (("GENERATED", 60), ("SEEDS", 1), ("FEW", ())):
        monkeypatch.setattr(usefulness, name, value)
    monkeypatch.setattr(features, "UPDATES", 40)


def measured(monkeypatch, make):
    """The rows, with generated images from make(factors, rng)."""
    monkeypatch.setattr(usefulness, "generated_images", lambda generator, factors, rng: make(factors, rng))
    generator = SimpleNamespace(path="g.h5", spec=SimpleNamespace(separate_factors=FACTORS))
    return usefulness.usefulness(generator, shown(40, np.random.default_rng(1)), shown(200, np.random.default_rng(2)))


def test_generated_images_teach_what_real_ones_do(quick, monkeypatch):
    """Those like real ones as much as these, and those of the wrong factors the opposite; real ones outvote nothing."""
    rows = measured(monkeypatch, lambda factors, rng: shown(120, rng))
    assert [row["real"] for row in rows] == [0, None]
    assert rows[0]["of_real"] == [] and min(rows[0]["of_both"]) > 0.95 and min(rows[1]["of_real"]) > 0.95
    assert all(len(row["of_both"]) == 1 for row in rows)
    swapped = shown(120, np.random.default_rng(3))
    rows = measured(monkeypatch, lambda factors, rng: Images(swapped.pixels, 1 - swapped.labels, FACTORS))
    assert max(rows[0]["of_both"]) < 0.05
    assert "none" in usefulness.table(rows) and "–" in usefulness.table(rows)


def test_half_of_the_images_are_real():
    """Few real images are repeated until each factor has as many as generated ones; the choice has as many of each."""
    rng = np.random.default_rng(0)
    real, generated = shown(40, rng), shown(120, rng)
    few = usefulness.some_of_each(real, 3, rng)
    assert np.bincount(few.labels).tolist() == [3, 3] and len(usefulness.some_of_each(real, None, rng).pixels) == 40
    both = usefulness.half_and_half(generated, few, rng)
    assert np.bincount(both.labels).tolist() == [120, 120]
    known = {image.tobytes() for image in few.pixels}
    assert sum(image.tobytes() in known for image in both.pixels) == 120


def test_the_command(quick, tmp_path, monkeypatch, capsys):
    """The table, the file, and mistakes in one line."""
    monkeypatch.chdir(tmp_path)
    train_small_networks(tmp_path, ("DCGAN-starshaped", "DCGAN"))
    words = ["-d", "data", "--usefulness", "-i"]
    star = "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
    assert evaluate.main([*words, star]) == 0
    assert "real alone" in capsys.readouterr().out
    path, = (tmp_path / "evaluation").glob("usefulness.*.json")
    rows = json.loads(path.read_text())["rows"]
    assert [len(row["of_real"]) for row in rows] == [0, 1]
    assert all(0 <= value <= 1 for row in rows for value in row["of_both"])
    for mistake, message in (([*words, "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"], "needs several factors"),
                             ([*words, star, "-p", FACTORS[0]], "needs several factors"),
                             (["-d", "data", "--usefulness"], "give the file of one generator")):
        assert evaluate.main(mistake) == 2
        error = capsys.readouterr().err.strip()
        assert message in error and len(error.splitlines()) == 1
