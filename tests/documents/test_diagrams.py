"""The diagrams: each is drawn by code, lies in docs as it is drawn, and is shown on a page with words for it."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Folder of all diagrams, drawn now."""
    folder = tmp_path_factory.mktemp("diagrams")
    code = "import sys, diagrams; diagrams.main(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, folder], cwd=DOCS, check=True, capture_output=True)
    return folder


def test_those_in_docs_are_up_to_date(drawn):
    """The same files, and the same pixels but for the rasterisation of letters."""
    names = {path.name for path in drawn.iterdir()}
    assert names == {path.name for path in DOCS.glob("diagram_*.png")} and len(names) >= 5
    for name in names:
        new, old = (np.asarray(Image.open(folder / name).convert("L"), float) for folder in (drawn, DOCS))
        assert new.shape == old.shape and np.abs(new - old).mean() < 2, f"{name}: make diagrams"


def test_nothing_is_cut_off(drawn):
    """The outermost pixels are white: no box, cell or word reaches the border."""
    for path in drawn.iterdir():
        pixels = np.asarray(Image.open(path).convert("L"))
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert border.min() > 250, path.name


def test_each_is_shown_with_a_description(drawn):
    pages = "".join(page.read_text() for page in DOCS.glob("*.md"))
    for path in drawn.iterdir():
        assert re.search(rf"!\[[^\]]{{40,}}\]\({path.name}\)", pages), path.name
