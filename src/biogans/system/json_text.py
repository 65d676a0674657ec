"""Read JSON that others wrote."""

import json
from pathlib import Path
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError if it is none, also for texts nested too deeply for Python."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: str | Path) -> Any:
    """The content of the JSON file `path`, in UTF-8. Raises ValueError as `parse_json` does, or OSError."""
    return parse_json(Path(path).read_bytes())
