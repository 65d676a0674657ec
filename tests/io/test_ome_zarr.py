"""OME-Zarr of generated cells: metadata for viewers, shards, resuming, damage."""

import json
import shutil

import numpy as np
import pytest

from biogans.io import drawings, ome_zarr, stacks
from biogans.system.errors import InputError

zarr = pytest.importorskip("zarr", reason="no zarr: pip install 'biogans[zarr]'")

NAMES = ["red", "Alp14", "Tea1"]
ATTRIBUTES = {"channel_names": NAMES, "architecture": "DCGAN-starshaped", "algorithm": "WGAN-GP", "seed": 5}
CELLS = np.random.default_rng(0).integers(0, 256, (50, 16, 24, 3)) / np.float32(255)
PIXELS = np.moveaxis(np.rint(255 * CELLS).astype(np.uint8), -1, 1)


def sink(path, resumes=False, **more):
    return ome_zarr.OmeZarr(path, stacks.Content(50, (16, 24, 3), 2, ATTRIBUTES | more), resumes)


def write(output, start, end, size=7):
    for place in range(start, end, size):
        output.write(place, None, CELLS[place:min(place + size, end)])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "stack3.ome.zarr"
    output = sink(path, pixel_size_um=0.19)
    write(output, 0, 50)
    output.close(complete=True)
    return path


def test_names_colours_ranges_and_the_size_of_a_pixel(path):
    group = zarr.open_group(path, mode="r", zarr_format=3)
    ome = group.attrs["ome"]
    (multiscale,) = ome["multiscales"]
    (dataset,) = multiscale["datasets"]
    assert (ome["version"], multiscale["name"], dataset["path"]) == ("0.5", "stack3", "0")
    assert [(axis["name"], axis["type"], axis.get("unit")) for axis in multiscale["axes"]] == [
        ("t", "time", None), ("c", "channel", None), ("y", "space", "micrometer"), ("x", "space", "micrometer")]
    assert dataset["coordinateTransformations"] == [{"type": "scale", "scale": [1, 1, 0.19, 0.19]}]
    channels = ome["omero"]["channels"]
    assert [(channel["label"], channel["color"], channel["active"]) for channel in channels] == [
        ("red", "FF0000", True), ("Alp14", "00FF00", True), ("Tea1", "00FF00", False)]
    assert all(channel["window"] == {"min": 0, "max": 255, "start": 0, "end": 255} for channel in channels)
    assert group.attrs["biogans"] == ATTRIBUTES | {"pixel_size_um": 0.19}
    array = group["0"]
    assert array.metadata.dimension_names == ("t", "c", "y", "x") and np.array_equal(array[:], PIXELS)


def test_without_a_pixel_size_there_is_no_unit(tmp_path):
    output = sink(tmp_path / "a.ome.zarr")
    write(output, 0, 50)
    output.close(complete=True)
    (multiscale,) = zarr.open_group(tmp_path / "a.ome.zarr").attrs["ome"]["multiscales"]
    assert not any("unit" in axis for axis in multiscale["axes"])
    assert multiscale["datasets"][0]["coordinateTransformations"][0]["scale"] == [1, 1, 1, 1]


def test_many_cells_are_few_files_and_one_cell_is_read_alone(path):
    array = zarr.open_array(path / "0", mode="r")
    assert array.shards == (32, 3, 16, 24) and array.chunks == (32, 1, 16, 24)
    assert sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()) == [
        "0/c/0/0/0/0", "0/c/1/0/0/0", "0/zarr.json", "zarr.json"]


def test_a_shard_fits_into_memory(tmp_path):
    large = ome_zarr.OmeZarr(tmp_path / "a.ome.zarr", stacks.Content(5000, (512, 512, 3), 2, ATTRIBUTES))
    large.write(0, None, np.zeros((1, 512, 512, 3), np.float32))
    assert large.array.chunks == (1, 1, 512, 512) and large.array.shards == (32, 3, 512, 512)


@pytest.mark.parametrize("noted", [1, 20, 32, 33, 49])
def test_cells_after_the_last_note_are_written_again(tmp_path, noted):
    """A killed command loses the cells that wait in memory, and what zarr was writing."""
    path = tmp_path / "a.ome.zarr"
    killed = sink(path)
    write(killed, 0, noted)
    killed.flush()
    write(killed, noted, 50)
    (path / "0" / "c" / "0" / "0" / "0" / "0.123.partial").write_bytes(b"half a file")
    resumed = sink(path, resumes=True)
    write(resumed, noted, 50, size=11)
    resumed.close(complete=True)
    assert np.array_equal(zarr.open_array(path / "0")[:], PIXELS) and not [*path.rglob("*.partial")]


def test_black_cells_are_stored(tmp_path):
    """Zarr leaves out empty chunks by default, and reads missing ones as black."""
    output = sink(tmp_path / "a.ome.zarr")
    output.write(0, None, 0 * CELLS)
    output.close(complete=True)
    assert not drawings.read_drawing(tmp_path / "a.ome.zarr", 49).cells.any()


def change(name, edit):
    def harm(path):
        description = json.loads((path / name).read_text())
        edit(description)
        (path / name).write_text(json.dumps(description))
    return harm


def damage(path):
    shard = path / "0/c/1/0/0/0"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)


def unpickle(description):
    description["codecs"][0]["configuration"]["codecs"].insert(0, {"name": "numcodecs.pickle", "configuration": {}})


HARMS = {
    "a file is missing": lambda path: (path / "0/c/1/0/0/0").unlink(),
    "the array is missing": lambda path: shutil.rmtree(path / "0"),
    "a changed byte": damage,
    "a text": lambda path: (path / "0/zarr.json").write_text("{"),
    "a foreign codec": change("0/zarr.json", unpickle),
    "a huge chunk": change("0/zarr.json", lambda array: array["chunk_grid"]["configuration"].update(
        chunk_shape=[2 ** 40, 3, 16, 24])),
    "another type": change("0/zarr.json", lambda array: array.update(data_type="float64")),
    "no shape": change("0/zarr.json", lambda array: array.update(shape=[50, 3])),
    "other names": change("zarr.json", lambda group: group["attributes"]["biogans"].update(channel_names=["red"])),
}


@pytest.mark.parametrize("harm", HARMS)
def test_damage_is_one_line(harm, path):
    HARMS[harm](path)
    with pytest.raises(InputError, match=r"stack3\.ome\.zarr: this OME-Zarr is damaged.*--format zarr") as raised:
        drawings.read_drawing(path, 40)
    assert "\n" not in str(raised.value)


def test_an_ome_zarr_of_another_program_is_refused(path):
    change("zarr.json", lambda group: group["attributes"].pop("biogans"))(path)
    assert ome_zarr.read_ome_zarr(path, 0, 1) is None
    with pytest.raises(InputError, match="a folder without images"):
        drawings.read_drawing(path)


def test_too_many_cells(path):
    with pytest.raises(InputError, match="cells 49 to 50 are asked for, but it has 50"):
        drawings.read_drawing(path, 49, 2)


@pytest.mark.parametrize("version, words", [(None, "has no zarr"), ("2.18.7", "zarr 2.18.7, which is too old"),
                                            ("3.1.2", "too old"), ("3.1.3", None), ("3.10", None), ("4.0.0", None)])
def test_zarr_is_installed(monkeypatch, version, words):
    def installed(name):
        if version is None:
            raise ome_zarr.importlib.metadata.PackageNotFoundError
        return version
    monkeypatch.setattr("importlib.metadata.version", installed)
    if words is None:
        return ome_zarr.OmeZarr.require()
    with pytest.raises(InputError, match=rf"--format zarr: .*{words}.*pip install 'biogans\[zarr\]'"):
        ome_zarr.OmeZarr.require()
