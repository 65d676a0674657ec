"""Filters that tell whole cells from others, trained on a few examples: by features, a logistic regression in JSON.

cell_network.py has the other one, a network that judges images.
"""

import json
from typing import NamedTuple

import numpy as np

from ..system.errors import InputError
from ..system.files import replacing
from ..system.json_text import read_json
from .single_cells import FEATURES

EXAMPLES = 5                            # smallest number of examples of each kind


class Filter(NamedTuple):
    """A logistic regression on standardised FEATURES and their squares, as too much may be as wrong as too little."""

    names: list
    mean: list
    scale: list
    weights: list
    bias: float
    accuracy: float                     # balanced, in cross-validation; chance is 1/2

    def probability(self, table, images=None):
        """Probability that each of the cells (cells, features) is whole: (cells,) in [0, 1]. `images` are not used."""
        logit = _terms((np.asarray(table, float) - self.mean) / self.scale) @ np.array(self.weights) + self.bias
        return 1 / (1 + np.exp(-np.clip(logit, -50, 50)))


def _terms(standard):
    return np.concatenate([standard, standard ** 2], axis=1)


def folds(whole):
    """The divisions of examples for cross-validation: [(training, test)] of positions, the same for all filters.

    whole   (cells,), bool. Raises InputError if there are fewer than EXAMPLES of either kind.
    """
    from sklearn.model_selection import StratifiedKFold
    whole = np.asarray(whole, bool)
    fewest = int(min(whole.sum(), (~whole).sum()))
    if fewest < EXAMPLES:
        raise InputError(f"{whole.sum()} whole cells and {(~whole).sum()} others to learn from: give at least "
                         f"{EXAMPLES} of each")
    return list(StratifiedKFold(min(5, fewest), shuffle=True, random_state=0).split(whole, whole))


def train_filter(table, whole):
    """Train a Filter on examples: features (cells, features), and whether each is a whole cell (cells,).

    Raises InputError if there are fewer than EXAMPLES of either kind.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler
    table, whole = np.asarray(table, float), np.asarray(whole, bool)
    model = make_pipeline(StandardScaler(), FunctionTransformer(_terms),
                          LogisticRegression(class_weight="balanced", max_iter=2000))
    accuracy = cross_val_score(model, table, whole, cv=folds(whole), scoring="balanced_accuracy").mean()
    scaler, regression = model.fit(table, whole)[0], model[-1]
    return Filter(list(FEATURES), scaler.mean_.tolist(), scaler.scale_.tolist(), regression.coef_[0].tolist(),
                  float(regression.intercept_[0]), float(accuracy))


def write_filter(path, trained):
    """Write a Filter as JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(trained._asdict(), indent=1) + "\n")


def read_filter(path):
    """Filter from a JSON file. Raises InputError."""
    try:
        trained = Filter(**read_json(path))
        numbers = np.concatenate([trained.mean, trained.scale, trained.weights, [trained.bias]]).astype(float)
        n = len(FEATURES)
        if tuple(trained.names) != FEATURES or numbers.shape != (4 * n + 1,) or not np.isfinite(numbers).all():
            raise ValueError("other features")
        return trained
    except (OSError, ValueError, TypeError) as problem:
        raise InputError(f"{path}: not a filter of biogans cells ({type(problem).__name__}): make one with "
                         f"--teach") from None
