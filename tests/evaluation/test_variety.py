"""Variety of green given red: known variances, the simulator's repeats, generators, and the table."""

import h5py
import numpy as np
import pytest

from biogans.core import c2st
from biogans.data import simulate, yeast
from biogans.evaluation import joint, results, rows, scoring, tables, variety
from biogans.system.errors import InputError
from networks import spec


@pytest.mark.parametrize("architecture, red", [("DCGAN-separable", 3), ("DCGAN-multichannel", 2)])
def test_latents_share_the_part_that_is_red_s(architecture, red):
    shape = spec(architecture)
    z = variety.same_red_latents(shape, 4, 5, 1)
    assert z.shape == (20, 6) and z.dtype == np.float32 and shape.red_nz == red
    blocks = z.reshape(4, 5, 6)
    assert (blocks[:, :, :red] == blocks[:, :1, :red]).all()
    free = np.concatenate([blocks[:, 0, :red].ravel(), blocks[:, :, red:].ravel()])
    assert len(np.unique(free)) == len(free)
    assert np.array_equal(z, variety.same_red_latents(shape, 4, 5, 1))
    assert not np.array_equal(z, variety.same_red_latents(shape, 4, 5, 2))


def test_a_known_standard_deviation_within_the_cell():
    """0 for one green; that of the greens where the cell is, however large the background."""
    rng = np.random.default_rng(0)
    cells = np.zeros((6, 40, 16, 24, 2))
    cells[..., 4:12, 6:18, 0] = 0.8
    cells[..., 4:12, 6:18, 1] = 0.5
    assert variety.variety(cells) == pytest.approx((0, 0), abs=1e-9)
    cells[..., 4:12, 6:18, 1] += 0.1 * rng.standard_normal((6, 40, 1, 1))
    red, green = variety.variety(cells)
    assert red == pytest.approx(0, abs=1e-9) and green == pytest.approx(0.1, rel=0.08)
    larger = np.pad(cells, ((0, 0), (0, 0), (9, 9), (9, 9), (0, 0)))
    assert variety.variety(larger) == pytest.approx((red, green))
    assert np.isnan(variety.variety(np.zeros((2, 3, 16, 24, 2)))).all()


def test_variances_are_averaged_not_deviations():
    """Two reds whose greens have the standard deviations 0.1 and 0.3: the root of their mean variance."""
    rng = np.random.default_rng(1)
    cells = np.zeros((2, 4000, 10, 10, 2))
    cells[:, :, 2:8, 2:8] = 0.5
    cells[:, :, 2:8, 2:8, 1] += np.array([0.1, 0.3])[:, None, None, None] * rng.standard_normal((2, 4000, 1, 1))
    assert variety.variety(cells)[1] == pytest.approx(np.sqrt((0.1 ** 2 + 0.3 ** 2) / 2), rel=0.03)


def test_few_greens_are_as_good_as_many_on_average():
    """The variance is unbiased: 2 greens of each of 4,000 reds estimate that of all greens."""
    rng = np.random.default_rng(2)
    cells = np.zeros((4000, 2, 8, 8, 2))
    cells[:, :, 2:6, 2:6] = 0.5
    cells[:, :, 2:6, 2:6, 1] += 0.2 * rng.standard_normal((4000, 2, 1, 1))
    assert variety.variety(cells)[1] == pytest.approx(0.2, rel=0.03)


# ---------------------------------------------------------------------------------------------- true cells

@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """True cells as the simulator writes and `evaluate` reads them."""
    folder = tmp_path_factory.mktemp("variety")
    simulate.main(["-o", str(folder / "data"), "--train", "6", "--test", "6", "--joint", "40", "--seed", "3"])
    return joint.read_joint_cells(folder / "data" / "joint_test.h5")


def test_the_other_half_of_true_cells_has_the_same_variety(cells):
    """And greens of similar red, or of any cells, have more: their cells differ, too."""
    found = scoring.baseline_varieties(cells, c2st.Split(0, 0))
    true, similar, unrelated = (found[name]["variety"] for name in scoring.JOINT_BASELINES)
    assert found["true cells"]["varieties"] == pytest.approx(np.ones(6), abs=0.12)
    assert true == pytest.approx(1, abs=0.06) and found["true cells"]["least_variety"] <= true
    assert 1 < similar < unrelated
    again = scoring.baseline_varieties(cells, c2st.Split(0, 0))
    assert all(again[name]["variety"] == found[name]["variety"] for name in found)


class Generator:
    """A generator of true cells: the red part of z chooses the cell, the other part its greens, or nothing."""

    def __init__(self, cells, collapsed, architecture="DCGAN-starshaped"):
        self.cells, self.collapsed = cells, collapsed
        self.spec = spec(architecture, factors=tuple(yeast.FACTORS), height=48, width=80)

    def generate(self, z):
        reds = (np.abs(z[:, 0]) * 1000).astype(int) % len(self.cells.repeats)
        greens = 0 if self.collapsed else (np.abs(z[:, -1]) * 1000).astype(int) % self.cells.repeats.shape[1]
        images = [self.cells.pixels[reds][..., :1], self.cells.repeats[reds, greens]]
        return np.concatenate(images, axis=-1) / 127.5 - 1


def test_a_generator_of_true_greens_has_all_variety_and_a_collapsed_one_none(cells):
    true = scoring.generator_variety(Generator(cells, collapsed=False), cells, c2st.Split(0, 1))
    assert true["variety"] == pytest.approx(0.95, abs=0.15)         # only 4 greens for each red: 0.87 of the variety
    collapsed = scoring.generator_variety(Generator(cells, collapsed=True), cells, c2st.Split(0, 1))
    assert collapsed["varieties"] == pytest.approx(np.zeros(6), abs=1e-9)
    assert collapsed["variety"] == pytest.approx(0, abs=1e-9) == collapsed["least_variety"]


def test_without_a_red_part_of_z_or_without_repeats_there_is_no_variety(cells):
    older, split = cells._replace(repeats=None), c2st.Split(0, 0)
    for generator, true in ((Generator(cells, False, "DCGAN"), cells), (Generator(cells, False), older)):
        assert scoring.generator_variety(generator, true, split)["variety"] is None
    assert {found["variety"] for found in scoring.baseline_varieties(older, split).values()} == {None}


def test_the_table_has_variety_and_dashes():
    def result(name, joint_scores):
        scores = dict.fromkeys(tables.JOINT, 1.0) | {"correlations": np.eye(3), "true_correlations": np.eye(3)}
        return {"format": 1, "name": name, "split": 0, "critic": {}, "seed": 0, "held_out": {}, "channels": [
            "Bgs4", "Alp14", "Tea1"], "joint_scores": {name: scores | joint_scores}}
    star = {"variety": 0.33, "least_variety": 0.24, "varieties": [0.41, 0.24]}
    text = tables.markdown(results.combine([result("star", star), result("plain", scoring.NO_VARIETY),
                                            result("old", {})]))
    assert "| spots | variety ↑ | least variety ↑ |" in text and "| 1.000 | 0.33 | 0.24 |" in text
    assert text.count("| 1.000 | – | – |") == 2
    assert "|  | Alp14 | Tea1 |\n| --- | --- | --- |\n| star | 0.41 | 0.24 |" in text
    assert "variety" not in tables.markdown(results.combine([result("old", {})])).lower()


def test_repeats_that_do_not_fit_are_refused(tmp_path):
    with h5py.File(tmp_path / "joint.h5", "w") as file:
        file.create_dataset("stack", data=np.zeros((3, 8, 8, 3), np.uint8)).attrs["channel_names"] = ["r", "a", "b"]
        file.create_dataset("repeats", data=np.zeros((3, 4, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="repeats do not fit"):
        rows.find_joint_cells(tmp_path, tmp_path / "joint.h5")
