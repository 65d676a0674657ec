"""Seals: damage is detected before HDF5 reads a file, which could take forever."""

import os
import struct
import sys

import h5py
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from biogans.io import drawings
from biogans.system import seal
from biogans.system.errors import InputError
from conftest import guarded
from measured import run_measured


@pytest.fixture
def stack(tmp_path):
    """A stack like those of predict.py, but without a seal."""
    path = tmp_path / "stack2.DCGAN.GAN.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("stack", data=np.full((1, 16, 24, 2), 0.5, np.float32))
        data.attrs["channel_names"] = ["red", "green"]
    return path


def test_a_seal_leaves_the_content_and_hdf5_reads_the_file(stack):
    content = stack.read_bytes()
    assert seal.find_corruption(stack) is None
    seal.append_trailer(stack)
    assert stack.read_bytes() == content + seal.trailer(content) and seal.find_corruption(stack) is None
    assert drawings.read_drawing(stack).cells.shape == (1, 16, 24, 2)
    with h5py.File(stack, "r+") as file:        # h5py removes the seal when it changes a file
        file["stack"].attrs["note"] = "x"
    assert seal.MARK not in stack.read_bytes() and seal.find_corruption(stack) is None


@settings(max_examples=200)
@given(st.binary(max_size=3000), st.data())
def test_every_changed_byte_is_detected(tmp_path_factory, content, data):
    path = tmp_path_factory.mktemp("seal") / "file.h5"
    path.write_bytes(content)
    seal.append_trailer(path)
    sealed = bytearray(path.read_bytes())
    assert seal.find_corruption(path) is None
    place = data.draw(st.integers(0, len(content) + 63))
    place += len(seal.MARK) * (place >= len(content))      # except in the mark, without which there is no seal
    sealed[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(sealed)
    assert seal.find_corruption(path) == "its checksum does not match"


def make_endless(stack):
    """Texts are stored in a heap; in a heap of size zero HDF5 searches forever for the next object."""
    content = bytearray(stack.read_bytes())
    heap = content.index(b"GCOL")
    first = heap + 16
    content[first:first + 64] = struct.pack("<HHIQ", 99, 1, 0, 0) + bytes(48)
    stack.write_bytes(content)


def test_a_large_file_is_only_tried(stack):
    """A wrong pixel is not found then, but what HDF5 can't read safely is."""
    seal.append_trailer(stack)
    content = stack.read_bytes()
    stack.write_bytes(content.replace(np.float32(0.5).tobytes(), np.float32(0.25).tobytes(), 1))
    assert seal.find_corruption(stack) == "its checksum does not match"
    assert seal.find_corruption(stack, most_digested=len(content) - 1000) is None
    make_endless(stack)
    assert seal.find_corruption(stack, most_digested=0) == "HDF5 can't read it safely"


def test_a_file_on_which_hdf5_hangs_is_refused(stack):
    make_endless(stack)
    with guarded():
        try:
            drawings.read_drawing(stack)
        except InputError as refusal:
            assert stack.name in str(refusal) and "\n" not in str(refusal)


def test_a_right_seal_does_not_replace_the_trial(stack):
    """Whoever makes a file on which HDF5 hangs can also seal it."""
    make_endless(stack)
    seal.append_trailer(stack)
    assert seal.find_corruption(stack) == "HDF5 can't read it safely"


def test_the_depth_of_a_trial_hides_nothing(stack):
    """A group that is first met where the trial goes no deeper is visited again where it is not so deep."""
    with h5py.File(stack, "r+") as file:
        hidden, group = file.create_group("z"), file
        file.move("stack", "z/stack")
        for _ in range(seal.DEEPEST - 1):
            group = group.create_group("a")
        group["a"] = hidden
    assert seal.find_corruption(stack) is None
    make_endless(stack)
    assert seal.find_corruption(stack) == "HDF5 can't read it safely"


def test_a_file_of_too_many_groups_is_refused(stack):
    """Whether the trial counts them or runs out of time: one that it does not reach may be what a reader opens."""
    with h5py.File(stack, "r+") as file:
        for k in range(300):
            file.create_group(f"a/{k}")
    assert seal.find_corruption(stack) is None
    with h5py.File(stack, "r+") as file:
        for k in range(seal.MOST_OBJECTS):
            file.create_group(f"a/b/{k}")
    assert seal.find_corruption(stack) is not None


def test_loops_and_depths_take_little_memory(stack):
    """The name of a group grows with its depth: all names of a chain of 3,000 would take gigabytes."""
    with h5py.File(stack, "r+") as file:
        group = file.create_group("round")
        group["round"] = group["again"] = group             # hard links to itself
        for _ in range(3000):
            group = group.create_group("a_longer_name_of_a_group")
    status, kilobytes = run_measured([sys.executable, seal.__file__, stack])
    assert status == 0 and kilobytes < 150_000


def test_a_file_is_tried_once_until_it_changes(stack, monkeypatch):
    assert seal.find_corruption(stack) is None
    with monkeypatch.context() as patch:
        patch.setattr(seal.subprocess, "run", None)
        assert seal.find_corruption(stack) is None
    make_endless(stack)
    assert seal.find_corruption(stack) is not None


def test_no_filter_is_loaded_from_a_folder_of_plugins(tmp_path, run):
    """Opening this plugin, a named pipe, would take for ever."""
    (tmp_path / "plugins").mkdir()
    os.mkfifo(tmp_path / "plugins" / "libfilter.so")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, 16, 24, 2))
        properties.set_filter(32008, h5py.h5z.FLAG_OPTIONAL, (0, 0))
        space = h5py.h5s.create_simple((1, 16, 24, 2))
        stored = h5py.h5d.create(file.id, b"stack", h5py.h5t.IEEE_F32LE, space, dcpl=properties)
        stored.write_direct_chunk((0, 0, 0, 0), bytes(3072))
    with guarded(30):
        done = run("visualize.py", "-i", "foreign.h5",
                   env={**os.environ, "HDF5_PLUGIN_PATH": str(tmp_path / "plugins")})
    assert done.returncode == 2 and "foreign.h5" in done.stderr and done.stderr.count("\n") == 1


def test_other_files_are_not_tried_in_a_separate_process(tmp_path, monkeypatch):
    monkeypatch.setattr(seal.subprocess, "run", None)
    (tmp_path / "notes.h5").write_text("no HDF5")
    assert seal.find_corruption(tmp_path / "notes.h5") is None
