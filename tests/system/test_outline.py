"""The measured outline of cells of known shape."""

import numpy as np
import pytest

from biogans.system.outline import measure_outline
from rods import rod


@pytest.mark.parametrize("length, angle, centre", [(30, 0, (24, 40)), (30, 0.5, (24, 40)), (44, -0.3, (22, 38)),
                                                   (26, np.pi / 2, (24, 30))])
def test_a_rod_is_measured(length, angle, centre):
    noise = np.random.default_rng(0).uniform(-0.02, 0.02, (48, 80))
    measured = measure_outline(rod(length, angle, centre=centre) + np.abs(noise))
    np.testing.assert_allclose(measured[:3], [length, *centre], atol=2)
    assert abs(np.sin(measured[3] - angle)) < 0.05 and abs(measured[4] - 1) < 0.1


def test_a_septum_is_measured():
    length, *_, middle = measure_outline(rod(50, septum=3.0))
    assert abs(length - 50) <= 1 and middle > 2


def test_the_largest_cell_is_measured_and_nothing_in_an_empty_image():
    assert abs(measure_outline(rod(40) + rod(12, centre=(5, 8), width=6))[0] - 40) <= 1
    assert np.isnan(measure_outline(np.zeros((48, 80)))).all()
    assert np.isnan(measure_outline(rod(2, width=2))).all()
