"""A cell cycle that only grows: cells are measured, and one of them is made longer."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from biogans.core.engine import float32_generator, generate
from biogans.core.trained import TrainedGenerator
from biogans.latent import cell_cycle
from biogans.system.errors import InputError
from networks import spec


def rod(length, angle=0.0, width=10.0, centre=(24, 40), septum=0.0, size=(48, 80)):
    """An image (H, W) in [0, 1] of an even rod with a band at its middle that is brighter by `septum`."""
    y, x = np.mgrid[:size[0], :size[1]]
    along = (x - centre[1]) * np.cos(angle) + (y - centre[0]) * np.sin(angle)
    across = (y - centre[0]) * np.cos(angle) - (x - centre[1]) * np.sin(angle)
    body = (np.abs(along) <= length / 2) & (np.abs(across) <= width / 2)
    return body * (0.3 + 0.3 * septum * (np.abs(along) < 1.5))


@pytest.mark.parametrize("length, angle, centre", [(30, 0, (24, 40)), (30, 0.5, (24, 40)), (44, -0.3, (22, 38)),
                                                   (26, np.pi / 2, (24, 30))])
def test_a_rod_is_measured(length, angle, centre):
    noise = np.random.default_rng(0).uniform(-0.02, 0.02, (48, 80))
    measured = cell_cycle.measure_cell(rod(length, angle, centre=centre) + np.abs(noise))
    np.testing.assert_allclose(measured[:3], [length, *centre], atol=2)
    assert abs(np.sin(measured[3] - angle)) < 0.05 and abs(measured[4] - 1) < 0.1


def test_a_septum_is_measured():
    length, *_, middle = cell_cycle.measure_cell(rod(50, septum=3.0))
    assert abs(length - 50) <= 1 and middle > 2


def test_the_largest_cell_is_measured_and_nothing_in_an_empty_image():
    assert abs(cell_cycle.measure_cell(rod(40) + rod(12, centre=(5, 8), width=6))[0] - 40) <= 1
    assert np.isnan(cell_cycle.measure_cell(np.zeros((48, 80)))).all()
    assert np.isnan(cell_cycle.measure_cell(rod(2, width=2))).all()


def test_the_longest_part_that_does_not_fall():
    for lengths, expected in (([3, 1, 2, 2, 9, 4, 5], [1, 2, 3, 5, 6]), ([5, 4, 3], [0]), ([1, 1, 1], [0, 1, 2])):
        assert cell_cycle.longest_rise(np.array(lengths, float)) == expected


class Rods:
    """Stands for a generator: z[2] makes its rod longer, and at the end a septum; z[0] moves it, and z[1] turns it."""

    layers = ()

    def predict_on_batch(self, z):
        rods = [rod(30 + 6 * growth, 0.1 * turn, centre=(24 + move, 40), septum=max(0, growth - 1.5) * 2)
                for move, turn, growth in z[:, :3]]
        return 2 * np.array(rods)[..., None] - 1


def trained(network, shape=None):
    """The TrainedGenerator of a network."""
    return TrainedGenerator(Path("rods.h5"), network, SimpleNamespace(network=shape or SimpleNamespace(nz=8)))


def test_the_cell_cycle_grows_one_cell():
    z, lengths = cell_cycle.cell_cycle(trained(Rods()), 6, seed=0)
    assert z.shape == (6, 8) and (np.diff(lengths) >= 0).all() and lengths[-1] - lengths[0] > 25
    measured = np.array([cell_cycle.measure_cell(image[..., 0]) for image in (Rods().predict_on_batch(z) + 1) / 2])
    np.testing.assert_allclose(measured[:, 0], lengths)
    assert np.ptp(measured[:, 1]) < 2 and np.ptp(measured[:, 3]) < 0.1 and measured[-1, 4] > 1.5 > measured[0, 4]
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), np.linalg.norm(z[0]), rtol=1e-5)


def test_what_grows_does_not_depend_on_the_number_of_key_frames():
    few, many = (cell_cycle.cell_cycle(trained(Rods()), number, seed=0)[0] for number in (3, 9))
    np.testing.assert_array_equal(few[[0, -1]], many[[0, -1]])


def test_the_cell_cycle_of_a_factor_with_its_own_red(monkeypatch):
    """That red is measured."""
    shape = spec("DCGAN-independent")
    generator = float32_generator(shape)

    def measured(red, z):
        np.testing.assert_allclose(generate(red, z[:4].astype("float32"))[..., 0],
                                   generate(generator, z[:4].astype("float32"))[..., 2], atol=1e-6)
        return np.stack([z[:, 0], *np.zeros((4, len(z)))], axis=1)

    monkeypatch.setattr(cell_cycle, "measure_cells", measured)
    z, lengths = cell_cycle.cell_cycle(trained(generator, shape), 3, seed=0, red=2)
    assert (np.diff(lengths) > 1).all()


@pytest.mark.parametrize("image, words", [(0, "can be measured"), (rod(30), "no cell grows")])
def test_a_cell_cycle_that_is_not_there(image, words):
    class Still:
        layers = ()

        def predict_on_batch(self, z):
            return np.full((len(z), 48, 80, 1), -1.0) + 2 * np.broadcast_to(image, (48, 80))[..., None]

    with pytest.raises(InputError, match=words):
        cell_cycle.cell_cycle(trained(Still()), 6, seed=0)
