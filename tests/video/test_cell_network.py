"""The network that judges images of cells: trained on examples, stored without code, and bad files refused."""

import json

import h5py
import numpy as np
import pytest

from biogans.system import hdf5
from biogans.system.errors import InputError
from biogans.video import cell_network

SHAPE = (24, 40, 3)


def examples(number, seed):
    """(images, whether whole): ellipses of random size and brightness, of which every second one has a dark gap.

    The gap is at random places, and the others are dimmer by as much: area, brightness and outline are no help.
    """
    rng = np.random.default_rng(seed)
    y, x = np.indices(SHAPE[:2])
    images = np.zeros((number, *SHAPE), np.uint8)
    for k, image in enumerate(images):
        size, place = rng.uniform(12, 17), int(rng.integers(14, 23))
        cell = 200.0 * (((x - 20) / size) ** 2 + ((y - 12) / size * 2) ** 2 < 1)
        gap = cell * (np.abs(x - place) <= 2)
        cell = cell - gap if k % 2 else cell * (1 - gap.sum() / cell.sum())
        image[..., 0] = np.clip(cell * rng.uniform(0.8, 1.2), 0, 255)
        image[..., 1] = rng.integers(0, 30, SHAPE[:2])
    return images, np.arange(number) % 2 == 0


@pytest.fixture(scope="module")
def trained():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_network, "UPDATES", 80)
        return cell_network.train_network(*examples(60, seed=0), logistic=0.55)


def test_a_network_learns_what_can_be_seen(trained):
    images, whole = examples(40, seed=1)
    assert ((trained.probability(None, images) > 0.5) == whole).mean() > 0.9
    assert 0.85 < trained.accuracy <= 1 and trained.logistic == 0.55


def test_accuracy_is_that_on_examples_that_were_left_out(monkeypatch):
    """Labels that are random can be memorised, but not predicted."""
    monkeypatch.setattr(cell_network, "UPDATES", 40)
    images, _ = examples(40, seed=2)
    whole = np.random.default_rng(0).random(40) < 0.5
    assert cell_network.train_network(images, whole, 0.5).accuracy < 0.75


def test_a_stored_network_judges_as_before(trained, tmp_path):
    cell_network.write_network(tmp_path / "a.h5", trained)
    stored, images = cell_network.read_network(tmp_path / "a.h5"), examples(6, seed=3)[0]
    np.testing.assert_array_equal(stored.probability(None, images), trained.probability(None, images))
    assert stored[1:] == trained[1:]
    with h5py.File(tmp_path / "a.h5") as file:
        assert "model_config" not in file.attrs and set(json.loads(file.attrs["biogans"])) == {
            "filter", "shape", "accuracy", "logistic"}


@pytest.mark.parametrize("change", [{"filter": 9}, {"shape": [1, 2]}, {"shape": [10**9, 10**9, 3]}, {"shape": "xyz"},
                                    {"accuracy": None}, {"shape": [True, 4, 3]}])
def test_files_of_something_else_are_refused(trained, tmp_path, change):
    path = tmp_path / "a.h5"
    known = {"filter": 1, "shape": SHAPE, "accuracy": 1.0, "logistic": 1.0} | change
    with hdf5.new_in_memory() as file:
        hdf5.write_described(path, file, known)
    with pytest.raises(InputError, match="not a filter of biogans cells"):
        cell_network.read_network(path)


def test_damaged_files_and_other_layers_are_refused(trained, tmp_path):
    path = tmp_path / "a.h5"
    with hdf5.new_in_memory() as file:
        file.create_dataset("model_weights/other", data=np.zeros(3))
        hdf5.write_described(path, file, {"filter": 1, "shape": SHAPE, "accuracy": 1.0, "logistic": 1.0})
    with pytest.raises(InputError, match="other layers"):
        cell_network.read_network(path)
    cell_network.write_network(path, trained)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for damaged in (path, tmp_path / "missing.h5"):
        with pytest.raises(InputError, match="--method network"):
            cell_network.read_network(damaged)
