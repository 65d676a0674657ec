"""The assignment of videos to training and testing."""

import os

import pytest

from biogans.system.errors import InputError
from biogans.video.cells import find_fields
from biogans.video.sources import hold_out
from biogans.video.videos import find_videos


def test_two_videos_with_the_same_name_are_refused(tmp_path):
    with pytest.raises(InputError, match="called a: rename"):
        hold_out({"x": [tmp_path / "a.tif", tmp_path / "a.avi"]}, 0.2, 0)


@pytest.mark.parametrize("name", ["wild/a\udcff.tif", "wild\udcff/a.tif"])
def test_a_name_that_no_table_can_store_is_refused(tmp_path, name):
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text("a video")
    with pytest.raises(InputError, match="the name of this (video|class) is not UTF-8: rename it"):
        hold_out(find_videos(tmp_path), 0.2, 0)


def test_the_split_is_a_function_of_seed_and_names(tmp_path):
    found = {"x": [tmp_path / f"{k}.tif" for k in range(20)]}
    held_out = [source.name for source in hold_out(found, 0.25, 1) if source.split == "test"]
    assert len(held_out) == 5
    assert held_out == [source.name for source in hold_out(found, 0.25, 1) if source.split == "test"]
    assert held_out != [source.name for source in hold_out(found, 0.25, 2) if source.split == "test"]


@pytest.mark.parametrize("one, other", [("A", "B"), ("A/a.tif", "A/b.tif"), ("A/a.tif", "B/b.tif")])
def test_a_video_that_a_link_shows_twice_is_refused(tmp_path, one, other):
    """It could be in training and test at once."""
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "a.tif").write_text("a video")
    (tmp_path / other).parent.mkdir(exist_ok=True)
    os.symlink(tmp_path / one, tmp_path / other)
    for find in (find_videos, find_fields):
        with pytest.raises(InputError, match="are one, which a link shows twice: remove the link"):
            hold_out(find(tmp_path), 0.2, 0)


def test_links_to_different_folders_are_classes(tmp_path):
    """They have the names of the links, even if their targets have one name."""
    for number in ("1", "2"):
        (tmp_path / "store" / number / "cells").mkdir(parents=True)
        (tmp_path / "store" / number / "cells" / "a.tif").write_text("a field")
        (tmp_path / "fields").mkdir(exist_ok=True)
        os.symlink(tmp_path / "store" / number / "cells", tmp_path / "fields" / f"class{number}")
    assert {name: len(files) for name, files in find_fields(tmp_path / "fields").items()} == {"class1": 1, "class2": 1}


def test_a_pipe_among_the_fields_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.tif")
    with pytest.raises(InputError, match="a.tif: this is a named pipe"):
        find_fields(tmp_path)
