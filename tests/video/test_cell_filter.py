"""The filter of whole cells: trained on examples, stored as JSON, and bad files refused."""

import json

import numpy as np
import pytest

from biogans.system.errors import InputError
from biogans.video.cell_filter import Filter, read_filter, train_filter, write_filter
from biogans.video.single_cells import FEATURES


def test_a_filter_learns_a_range_of_a_feature(tmp_path):
    rng = np.random.default_rng(0)
    table = rng.normal(0, 1, (200, len(FEATURES)))
    whole = np.abs(table[:, 0]) < 0.7
    trained = train_filter(table[:120], whole[:120])
    assert ((trained.probability(table[120:]) > 0.5) == whole[120:]).mean() > 0.85 and trained.accuracy > 0.8
    write_filter(tmp_path / "a.json", trained)
    assert read_filter(tmp_path / "a.json") == trained


def test_bad_filters_and_too_few_examples_are_refused(tmp_path):
    with pytest.raises(InputError, match="give at least 5 of each"):
        train_filter(np.zeros((8, len(FEATURES))), [True] * 7 + [False])
    for text in ("", "[1]", "{}", json.dumps({**Filter(["x"], [0], [1], [0, 0], 0, 1)._asdict()})):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InputError, match="not a filter"):
            read_filter(tmp_path / "a.json")
