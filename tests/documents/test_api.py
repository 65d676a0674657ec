"""The pages of the site that are made from the docstrings of src/biogans/core."""

import importlib.util
import sys

import pytest

from conftest import ROOT


@pytest.fixture
def api(monkeypatch):
    """The module docs/api.py."""
    pytest.importorskip("griffe", reason="no mkdocstrings: make test-docs installs it")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    specification = importlib.util.spec_from_file_location("api", ROOT / "docs/api.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.docs
def test_aligned_columns_become_a_table(api):
    text = """Networks for `-m *`.

height, width   of an image: -1 | 1, or *all*
nz              length of the latent vector,
                which may be <code>

Raises InputError  for the rest."""
    assert api.markdown(text) == r"""Networks for `-m *`.

| | |
|---|---|
| `height, width` | of an image: -1 \| 1, or \*all\* |
| `nz` | length of the latent vector, which may be &lt;code&gt; |

Raises InputError  for the rest."""


@pytest.mark.docs
def test_examples_are_left_as_they_are(api):
    text = "As typed:\n\n    cp $BG_SRC/* . && a[0] < b_c"
    assert api.markdown(text) == text
