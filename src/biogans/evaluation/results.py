"""Result files of `biogans evaluate`, one JSON file for each row and split, and their statistics over the splits."""

from typing import NamedTuple

import numpy as np

from ..core.c2st import EVERYTHING
from ..system.errors import InputError
from ..system.json_text import read_json

FORMAT = 1
REAL = "real images"                    # name of the row of training images
OVERALL = "mean"                        # over the factors
STRIP = ".samples.png"                  # end of the name of the picture of a row's samples, beside its result files


class Combined(NamedTuple):
    """Statistics of all result files of a folder; (mean, sd) are over the splits.

    rows      {name: {factor or OVERALL: {metric: (mean, sd)}}}, real images first
    pairs     {(factor of the samples, held-out factor): (mean, sd)}
    joint     {name: {metric: (mean, sd)}}; of arrays only the mean
    channels  names of the channels of the joint cells
    results   contents of the files
    """

    rows: dict
    pairs: dict
    joint: dict
    channels: list
    results: list


def read_results(folder):
    """Contents of all result files in `folder`, each with the path of the picture of the row's samples as "strip".

    Raises InputError if there is none, or they are not comparable.
    """
    results = [read_result(path) | {"strip": path.with_name(path.name.rpartition(".split")[0] + STRIP)}
               for path in sorted(folder.glob("*.split*.json"))]
    if not results:
        raise InputError(f"{folder}: no results here yet: make some with biogans evaluate -d data -o {folder}")
    for result in results[1:]:
        require_comparable(folder, results[0], result)
    return results


def require_comparable(folder, first, result):
    """Raise InputError if a result can't be in one table with the `first` one of the folder."""
    for name in ("critic", "seed"):
        if result[name] != first[name]:
            raise InputError(f"{folder}: {result['name']} and {first['name']} were scored with another {name}: "
                             f"keep their files in separate folders")
    if first["held_out"] | result["held_out"] != result["held_out"] | first["held_out"]:
        raise InputError(f"{folder}: {result['name']} and {first['name']} were compared with different held-out "
                         f"images: keep their files in separate folders")


def compared_with_others(folder, factor, digest):
    """Whether results in `folder` were compared with held-out images of `factor` other than those of this digest."""
    return any(read_result(path)["held_out"].get(factor, digest) != digest for path in folder.glob("*.split*.json"))


def read_result(path):
    """Content of one result file. Raises InputError if it is not a file of `biogans evaluate`."""
    try:
        result = read_json(path)
        if result["format"] == FORMAT:
            return result
    except (ValueError, TypeError, KeyError, OSError):
        pass
    raise InputError(f"{path} is damaged or was not written by this version of biogans evaluate: remove it, or "
                     f"choose another folder with -o")


def combine(results):
    """Combined statistics of the contents of result files."""
    rows, pairs, cells = {}, {}, {}
    for result in sorted(results, key=_order):
        for factor, scores in result.get("scores", {}).items():
            _add_split(rows.setdefault(result["name"], {}).setdefault(factor, {}), scores, result["split"])
        for a, scores in result.get("pairs", {}).items():
            _add_split(pairs, {(a, b): score for b, score in scores.items()}, result["split"])
        for name, scores in result.get("joint_scores", {}).items():
            _add_split(cells.setdefault(name, {}), scores, result["split"])
    for row in rows.values():
        factors = [scores for factor, scores in row.items() if factor != EVERYTHING] or list(row.values())
        means = {metric: _mean_over_factors([scores.get(metric, {}) for scores in factors]) for metric in factors[0]}
        row[OVERALL] = {metric: values for metric, values in means.items() if values}
    channels = next((result["channels"] for result in results if "channels" in result), [])
    statistics = {name: {factor: {metric: _statistics(values) for metric, values in scores.items()}
                         for factor, scores in row.items()} for name, row in rows.items()}
    return Combined(statistics, {pair: _statistics(values) for pair, values in pairs.items()},
                    {name: {metric: _statistics(values) for metric, values in scores.items()}
                     for name, scores in cells.items()}, channels, results)


def _add_split(values, scores, split):
    """Add the `scores` of a split, {key: score}, to `values`, {key: {split: score}}."""
    for key, score in scores.items():
        values.setdefault(key, {})[split] = score


def _order(result):
    """Sort key: real images first, and numbers in names by their size."""
    words = [(word.isdecimal(), int(word) if word.isdecimal() else 0, word) for word in result["name"].split()]
    return result["name"] != REAL, words, result["split"]


def _mean_over_factors(factors):
    """{split: mean over the factors} of the splits in which every factor has a value."""
    splits = set.intersection(*(set(values) for values in factors))
    return {split: float(np.mean([values[split] for values in factors])) for split in splits}


def _statistics(values):
    """(mean, standard deviation) of {split: number}; of {split: array} the mean array."""
    values = np.array(list(values.values()), float)         # None becomes NaN
    if values.ndim > 1:
        return values.mean(axis=0)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan")
