"""The catalogue of public data against the published files."""

import pytest

from biogans.data.public_data import PUBLIC
from conftest import REAL_DATA


def test_the_digests_of_mnist_are_those_of_the_published_files():
    folder = REAL_DATA / "mnist"
    if not folder.is_dir():
        pytest.skip(f"no digits in {REAL_DATA}: set BG_REAL_DATA")
    import pooch
    for path in folder.glob("*.gz"):
        assert pooch.file_hash(path) == PUBLIC["mnist"].files[path.name]
