"""The settings of biogans preprocess that decide what the images are, and the file that stores them."""

import dataclasses
import json

from .. import __version__
from ..system.errors import InputError
from ..system.files import replacing
from ..system.json_text import read_json


@dataclasses.dataclass(frozen=True)
class ImageSettings:
    """Options of biogans preprocess; its parser documents each one under the same name. Sizes are in pixels.

    The fields are in alphabetical order, which settings files and the keys of records depend on.
    """

    axes: str
    background: int
    binary: bool
    channels: tuple
    crops: str
    edge_scale: float
    edges: float
    every: int
    focus: float
    least: float
    pixel_size: float | None            # µm
    seed: int
    shrink: int
    size: tuple                         # (height, width)
    smallest: int
    strength: float
    test: float
    threshold: str
    without: tuple
    z: str

    def to_text(self):
        """{option: text}, as stored and compared; empty for options that are off."""
        return {name: _as_text(getattr(self, name)) for name in FIELDS}


FIELDS = {field.name: field.type for field in dataclasses.fields(ImageSettings)}


def image_settings(options):
    """ImageSettings of parsed options."""
    return ImageSettings(**{name: getattr(options, name) for name in FIELDS})


def _as_text(value):
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None or value is False else str(value)


def write_settings(path, settings):
    """Write ImageSettings as JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"biogans": __version__, "preprocess": settings.to_text()}, indent=1) + "\n")


def read_settings(path):
    """{option: text} stored in a settings file. Raises InputError."""
    try:
        stored = read_json(path)["preprocess"]
        return {str(name): str(value) or _omitted(name) for name, value in stored.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InputError(f"{path}: not a settings file of biogans preprocess ({type(problem).__name__}): give the "
                         f"settings.json of an earlier run") from None


def _omitted(name):
    """Text of an option that is stored as an empty text, as earlier versions also did for 0."""
    return {int: "0", float: "0.0"}.get(FIELDS.get(name), "")


def arguments_of(stored):
    """Command-line arguments that give the stored {option: text}. Raises InputError for an unknown option."""
    for name in stored:
        if name not in FIELDS:
            raise InputError(f"unknown setting {name} in the settings file: known ones are {', '.join(FIELDS)}")
    return [f"--{name}" if value == "True" else f"--{name}={value}" for name, value in stored.items() if value]
