"""biogans pseudotime: cells in order, along the code that follows their light."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biogans.core import codes, dataloader
from biogans.evaluation import clusters
from biogans.latent import pseudotime
from infogan_runs import MODEL, refused


def test_cells_in_order(in_infogan_folder, capsys):
    assert pseudotime.main(["-i", MODEL, "-d", "data"]) == 0
    printed = capsys.readouterr().out
    assert "rank correlation with t" in printed and "G1: median pseudotime" in printed
    rows = list(csv.DictReader(Path("images/pseudotime.InfoGAN.GAN.1.csv").read_text().splitlines()))
    moments = [float(row["pseudotime"]) for row in rows]
    assert moments == sorted(moments) and (moments[0], moments[-1]) == (0, 1)
    assert len(rows) == len(list(in_infogan_folder.glob("data/*_test/*/*.png")))
    assert [float(row["answer"]) for row in rows] == sorted(float(row["answer"]) for row in rows)
    with Image.open("images/pseudotime.InfoGAN.GAN.1.gif") as movie:
        assert movie.size == (240, 240)


def test_the_code_that_follows_the_light_is_chosen_in_its_direction():
    light, noise = np.arange(50.0), np.random.default_rng(0).standard_normal(50)
    some = [codes.Code("u0", 5, 1), codes.Code("u1", 6, 1)]
    assert pseudotime.choose_code(some, {"u0": noise, "u1": -light ** 3}, light) == (some[1], -1)
    assert pseudotime.choose_code(some, {"u0": light + 5 * noise, "u1": noise}, light) == (some[0], 1)
    assert pseudotime.ranks(np.array([3.0, 1, 2, 2])).tolist() == [1, 0, 0.5, 0.5]


def test_known_ages_are_found_again(in_infogan_folder):
    """A code that is the age orders the cells by age."""
    images = dataloader.load("data", split="test")
    t = dataloader.read_manifest(images.files)["t"]
    assert clusters.rank_correlation(pseudotime.ranks(3 * t - 1), t) == pytest.approx(1)
    described = pseudotime.describe_order(codes.Code("u0", 5, 1), 1, 3 * t - 1, images, 2)
    assert "rank correlation with t: +1.000" in described


@pytest.mark.parametrize("arguments, problem", [(["--along", "c0"], "u0, u1"), (["--channel", "3"], "2 channel")])
def test_mistakes_are_one_line(in_infogan_folder, capsys, arguments, problem):
    assert problem in refused(capsys, pseudotime, ["-i", MODEL, "-d", "data", *arguments])
