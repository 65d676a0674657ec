"""Names of sliders: measured quantities, and which of them names a slider."""

from types import SimpleNamespace

import numpy as np
import pytest

from biogans.core.codes import Code
from biogans.latent import slider_names
from test_cell_cycle import rod

Y, X = np.indices((32, 48))


class Rods:
    """A generator of gray rods: z[0] sets the length, z[1] the brightness; c0 shifts the length; u0 sets the height."""

    spec = SimpleNamespace(nz=6, channel_names=("red",), codes=(Code("c0", 3, 2), Code("u0", 5, 1)))

    def latents(self, number, seed, batch_size):
        rng = np.random.default_rng(seed)
        yield np.concatenate([rng.standard_normal((number, 3)), np.eye(2)[rng.integers(0, 2, number)],
                              rng.uniform(-1, 1, (number, 1))], axis=1).astype("float32")

    def generate(self, z):
        bright = np.clip(0.6 + 0.15 * z[:, 1], 0.2, 1)
        shapes = np.array([rod(18 - 3 * each[0] + 8 * each[3], centre=(15 - 5 * each[5], 23), width=8,
                               size=(32, 48)) > 0 for each in z])
        return (2 * shapes * bright[:, None, None] - 1)[..., None]


def test_sliders_of_a_known_generator():
    meanings, of_codes = slider_names.measured_meanings(Rods(), np.eye(3, 6))
    assert meanings[0].name == "length" and meanings[0].r < -0.8 and meanings[0].times(-1).r == -meanings[0].r
    assert "size" in meanings[0].also and meanings[2] is None
    assert meanings[1] is None or meanings[1].name == "brightness"
    assert of_codes["u0"].name == "position up" and of_codes["u0"].r > 0.9


def test_differences_between_categories_do_not_count():
    rng = np.random.default_rng(0)
    category, slider = rng.integers(0, 2, 400), rng.standard_normal((400, 1))
    value = slider + 30 * category[:, None]
    unequal = slider_names.rank_correlations(slider, value, np.zeros((400, 1)))
    within = slider_names.rank_correlations(slider, value, np.eye(2)[category])
    assert unequal[0, 0] < 0.6 < 0.95 < within[0, 0]


def test_quantities_that_are_missing_or_constant():
    slider = np.arange(100.0)[:, None]
    values = np.column_stack([np.ones(100), np.full(100, np.nan), np.where(slider[:, 0] < 20, np.nan, slider[:, 0])])
    found = slider_names.rank_correlations(slider, values, np.zeros((100, 1)))[0]
    assert found[0] == found[1] == 0 and found[2] > 0.5


def test_only_a_clear_quantity_names_a_slider_and_each_quantity_only_one():
    names = ["length", "area", "light", "focus"]
    meanings = slider_names.chosen_meanings(np.array([[0.90, 0.92, -0.7, 0.3], [0.2, 0.1, -0.65, 0.59]]), names)
    assert meanings == [slider_names.Meaning("length", 0.9, {"area": 0.92, "light": -0.7}), None]
    (other,) = slider_names.chosen_meanings(np.array([[0.70, 0.92, 0.1, 0.3]]), names)
    assert other.name == "area"


@pytest.mark.parametrize("tilt", [-0.6, 0, 0.6])
def test_tilt_of_strokes(tilt):
    """Positive if the right side is higher; of horizontal and of vertical strokes."""
    lying = np.exp(-((Y - 16 + tilt * (X - 24)) ** 2 + (X - 24) ** 2 / 16) / 8)
    standing = np.exp(-((X - 24 + tilt * (Y - 16)) ** 2 + (Y - 16) ** 2 / 16) / 8)
    assert np.sign(slider_names.tilts(np.array([lying, standing])).round(6)).tolist() == [np.sign(tilt)] * 2


def test_channels_name_their_quantities():
    cells = np.random.default_rng(0).uniform(-1, 1, (8, 12, 16, 2))
    assert [*slider_names.quantities(cells, ("red", "Tea1"))][:7] == [
        "length", "red amount", "red area", "red focus", "Tea1 amount", "Tea1 area", "Tea1 focus"]
    assert {"brightness", "size", "focus", "tilt"} <= slider_names.quantities(cells[..., :1], ["image"]).keys()
