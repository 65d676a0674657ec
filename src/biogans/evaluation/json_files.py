"""JSON files of results."""

import json

import numpy as np

from ..system.files import replacing


def write_json(path, content):
    """Write `content`, converted by `to_json`, to the file `path`: whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(to_json(content), indent=1) + "\n")


def to_json(value):
    """Convert a value for JSON: arrays become lists, floats keep six digits, NaN and infinity become None."""
    if isinstance(value, dict):
        return {name: to_json(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [to_json(each) for each in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
