"""Short trainings through train.py's main function, and what they leave."""

import numpy as np

from biogans.core import train
from biogans.core.trained import read_weights
from conftest import SMALL


def run_train(*arguments):
    """Call train.py's main function for a small network on the images in ./data; returns the exit status."""
    return train.main([*SMALL, "-d", "data", *map(str, arguments)])


def state(folder):
    """Arrays and metadata of the newest checkpoint in a folder; earlier ones have longer names."""
    return read_weights(min(folder.glob("weights.combined_model.*.h5"), key=lambda path: len(path.name)))


def same(first, second):
    """Whether two {name: array} are equal bit for bit."""
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)
