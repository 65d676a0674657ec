"""A short form of durability.py; `make test-durability` runs all of it."""

import pytest

import durability

LONGER = ("disk", 3), ("signals", 4), ("resumes", 1), ("hdf5", 60), ("jobs", 1)


@pytest.mark.parametrize("part, size", [("kills", 2), ("images", 60), *(
    pytest.param(*each, marks=pytest.mark.slow) for each in LONGER)])
def test_nothing_is_lost(tmp_path, part, size):
    figures = durability.PARTS[part](tmp_path / part, size)
    assert figures and not [figure for figure in figures if not figure.holds]
