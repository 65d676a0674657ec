"""The reader for napari: layers with names, colours and scale, read cell by cell; other files are declined."""

import importlib
import subprocess
import sys

import h5py
import numpy as np
import pytest

from biogans.exchange import napari_reader
from biogans.io import stacks
from biogans.system.errors import InputError
from conftest import ROOT

NAMES = ["red", "Alp14", "Tea1"]
ATTRIBUTES = {"channel_names": NAMES, "value_range": [0.0, 1.0], "pixel_size_um": 0.19, "seed": 5}
CELLS = np.random.default_rng(0).random((20, 16, 24, 3), np.float32)


@pytest.fixture
def path(tmp_path):
    """A sealed stack."""
    sink = stacks.Stack(tmp_path / "stack3.h5", stacks.Content(20, (16, 24, 3), 2, ATTRIBUTES))
    sink.write(0, np.zeros((20, 2)), CELLS)
    sink.close(complete=True)
    return tmp_path / "stack3.h5"


def layers(path):
    return napari_reader.get_reader(str(path))(str(path))


def test_a_layer_for_each_channel(path):
    found = layers(path)
    assert [settings["name"] for _, settings, _ in found] == NAMES and {kind for *_, kind in found} == {"image"}
    assert [settings["colormap"] for _, settings, _ in found] == ["red", "green", "green"]
    assert [settings["visible"] for _, settings, _ in found] == [True, True, False]
    for array, settings, _ in found:
        assert settings["blending"] == "additive" and settings["contrast_limits"] == (0, 1)
        assert settings["scale"] == (1, 0.19, 0.19) and settings["units"] == ("pixel", "µm", "µm")
        assert settings["axis_labels"] == ("cell", "y", "x") and settings["metadata"]["biogans"]["seed"] == 5
        assert array.shape == (20, 16, 24) and array.dtype == np.float32


@pytest.mark.parametrize("place", [3, np.int64(3), -1, slice(2, 9, 3), (3, slice(None), slice(4, 8)), slice(None),
                                   (slice(None), 5, 6), (slice(2, 4), slice(None, None, 2))])
def test_layers_are_indexed_like_arrays(path, place):
    for k, (array, *_) in enumerate(layers(path)):
        assert np.array_equal(array[place], CELLS[..., k][place])


def test_a_layer_as_an_array(path):
    array, *_ = layers(path)[1]
    assert np.array_equal(np.asarray(array), CELLS[..., 1]) and len(array) == 20 and array.size == CELLS[..., 1].size


def test_many_cells_are_not_read(tmp_path):
    """40 TB would not fit into memory; HDF5 stores nothing for cells that have not been written."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        stack = file.create_dataset("stack", (1_000_000, 48, 80, 4), np.float32, chunks=(16, 48, 80, 4))
        stack[999_999] = 0.5
        stack.attrs["channel_names"] = ["red", "a", "b", "c"]
    array, settings, _ = layers(tmp_path / "a.h5")[3]
    assert (array[999_999] == 0.5).all() and not array[999_998].any()
    assert settings["scale"] == (1, 1, 1) and "units" not in settings


def test_whole_numbers_and_transmitted_light(tmp_path):
    """Stacks of biogans simulate hold uint8; bright borders around dark structures are transmitted light."""
    values = np.full((4, 16, 24, 2), 200, np.uint8)
    values[:, 6:10, 8:16], values[..., 1] = 20, 0
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["stack"] = values
        file["stack"].attrs["channel_names"] = ["red", "green"]
    found = layers(tmp_path / "a.h5")
    assert [settings["colormap"] for _, settings, _ in found] == ["gray", "green"]
    assert found[0][1]["contrast_limits"] == (0, 255) and np.array_equal(found[0][0][2], values[2, ..., 0])


def foreign(name="stack", shape=(4, 16, 24, 2), dtype="float32", **attributes):
    def make(path):
        with h5py.File(path, "w") as file:
            file.create_dataset(name, shape, dtype).attrs.update(attributes)
    return make


def link(path):
    foreign(channel_names=["red", "green"])(path.with_name("other.h5"))
    with h5py.File(path, "w") as file:
        file["stack"] = h5py.ExternalLink("other.h5", "stack")


OTHERS = {"text": lambda path: path.write_text("stack"), "another dataset": foreign("data", channel_names=["a", "b"]),
          "three axes": foreign(shape=(4, 16, 24), channel_names=["a"]), "no names": foreign(),
          "texts": foreign(dtype=h5py.string_dtype(), channel_names=["a", "b"]), "a link": link, "a folder": lambda
          path: path.mkdir(), "no file": lambda path: None}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_declined(kind, tmp_path):
    OTHERS[kind](tmp_path / "a.h5")
    assert napari_reader.get_reader(str(tmp_path / "a.h5")) is None


def test_several_files_are_not_one_stack(path):
    assert napari_reader.get_reader([str(path), str(path)]) is None
    assert len(napari_reader.get_reader([str(path)])([str(path)])) == 3


@pytest.mark.parametrize("change", [lambda content: content[:-5000], lambda content: content[:9000] + content[8999:]])
def test_a_damaged_stack_is_one_line(path, change):
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=r"stack3\.h5: this HDF5 file is damaged.*with predict\.py$") as raised:
        layers(path)
    assert "\n" not in str(raised.value)


def test_it_needs_neither_tensorflow_nor_napari(path):
    code = (f"import sys; from biogans.exchange.napari_reader import get_reader; get_reader({str(path)!r})(None)\n"
            "print({'tensorflow', 'keras', 'scipy', 'napari', 'PIL'} & {*sys.modules})")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={"PYTHONPATH": str(ROOT / "src")})
    assert done.stdout == "set()\n", done.stderr


@pytest.fixture
def manifest():
    npe2 = pytest.importorskip("npe2", reason="no napari: pip install 'biogans[napari]'")
    return npe2.PluginManifest.from_file(ROOT / "src/biogans/exchange/napari.yaml")


def test_the_manifest(manifest):
    (reader,) = manifest.contributions.readers
    (command,) = manifest.contributions.commands
    assert reader.command == command.id and command.python_name == "biogans.exchange.napari_reader:get_reader"


def test_napari_opens_a_stack(path, manifest):
    """Without a screen, and without the entry point of an installation."""
    components = pytest.importorskip("napari.components", reason="no napari: pip install 'biogans[napari]'")
    plugins = importlib.import_module("npe2").PluginManager.instance()
    if manifest.name not in plugins:
        plugins.register(manifest)
    viewer = components.ViewerModel()
    viewer.open(str(path), plugin="biogans")
    assert [layer.name for layer in viewer.layers] == NAMES
    viewer.dims.set_current_step(0, 7)
    assert np.array_equal(viewer.layers["Alp14"].data[7], CELLS[7, ..., 1])
