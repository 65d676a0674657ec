"""A cell cycle that only grows: cells are measured, and one of them is made longer."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from biogans.core.engine import float32_generator, generate
from biogans.core.trained import TrainedGenerator
from biogans.latent import cell_cycle
from biogans.system.errors import InputError
from biogans.system.outline import measure_outline
from networks import spec
from rods import rod


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
    metadata = SimpleNamespace(network=shape or SimpleNamespace(nz=8, noise_size=0))
    return TrainedGenerator(Path("rods.h5"), lambda: network, metadata)


def test_the_cell_cycle_grows_one_cell():
    z, lengths = cell_cycle.cell_cycle(trained(Rods()), 6, seed=0)
    assert z.shape == (6, 8) and (np.diff(lengths) >= 0).all() and lengths[-1] - lengths[0] > 25
    measured = np.array([measure_outline(image[..., 0]) for image in (Rods().predict_on_batch(z) + 1) / 2])
    np.testing.assert_allclose(measured[:, 0], lengths)
    assert np.ptp(measured[:, 1]) < 2 and np.ptp(measured[:, 3]) < 0.1 and measured[-1, 4] > 1.5 > measured[0, 4]
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), np.linalg.norm(z[0]), rtol=1e-5)


def test_noise_is_no_part_of_growth():
    """1,400 numbers that change nothing would make a model of 2,048 cells fit anything."""
    z, lengths = cell_cycle.cell_cycle(trained(Rods(), SimpleNamespace(nz=1408, noise_size=1400)), 6, seed=0)
    assert lengths[-1] - lengths[0] > 25
    before, after = (row[8:] / np.linalg.norm(row[8:]) for row in (z[0], z[-1]))
    np.testing.assert_allclose(before, after, atol=1e-6)


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
