"""Replacing a file: whole or not at all."""

import os

import pytest

from biogans.files import make_writable, replacing


def test_the_new_content_replaces_the_old(tmp_path):
    target = tmp_path / "folder" / "picture.png"
    for content in ("first", "second"):
        with replacing(target) as temporary:
            assert temporary.suffix == ".png" and temporary.parent == target.parent
            temporary.write_text(content)
            assert not target.exists() or target.read_text() == "first"
        assert target.read_text() == content
    assert os.listdir(target.parent) == ["picture.png"]
    assert target.stat().st_mode & 0o044 == 0o044 & ~current_umask()


def current_umask():
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_a_failure_leaves_the_old_content(tmp_path):
    target = tmp_path / "picture.png"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError("the disk is full")
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["picture.png"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        make_writable(tmp_path / "file" / "checkpoints")
