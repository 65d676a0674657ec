"""The assignment of videos to training and testing."""

import pytest

from biogans.system.errors import InputError
from biogans.video.sources import hold_out


def test_two_videos_with_the_same_name_are_refused(tmp_path):
    with pytest.raises(InputError, match="called a: rename"):
        hold_out({"x": [tmp_path / "a.tif", tmp_path / "a.avi"]}, 0.2, 0)


def test_the_split_is_a_function_of_seed_and_names(tmp_path):
    found = {"x": [tmp_path / f"{k}.tif" for k in range(20)]}
    held_out = [source.name for source in hold_out(found, 0.25, 1) if source.split == "test"]
    assert len(held_out) == 5
    assert held_out == [source.name for source in hold_out(found, 0.25, 1) if source.split == "test"]
    assert held_out != [source.name for source in hold_out(found, 0.25, 2) if source.split == "test"]
