"""A reader for napari: stacks of generated cells as named, coloured layers, scaled in micrometres.

napari finds it through napari.yaml beside this file. Cells are read when napari shows them, and TensorFlow is never
imported.
"""

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..io import stacks
from ..io.drawings import OpenStack, is_hdf5, open_stack
from ..system.errors import InputError
from ..system.hdf5 import Damaged
from ..system.palettes import channel_colours

COLORMAPS = {(255, 0, 0): "red", (0, 255, 0): "green", (255, 255, 255): "gray"}     # the names of napari
EXAMPLES = 16                   # cells that show which channels are transmitted light
MOST_DIGESTED = 2 ** 28         # bytes of a file whose checksum is compared, in a second

Layer = tuple[Any, dict[str, Any], str]


class Channel:
    """One channel of a stack, (cells, height, width): an array for napari that reads from the file as it is indexed."""

    ndim = 3

    def __init__(self, dataset: Any, position: int) -> None:
        self.dataset, self.position = dataset, position
        self.shape, self.dtype = dataset.shape[:3], dataset.dtype
        self.size = math.prod(self.shape)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, place):
        place = place if isinstance(place, tuple) else (place,)
        places = tuple(int(index) if isinstance(index, np.integer) else index for index in place)
        return self.dataset[(*places, *[slice(None)] * (self.ndim - len(places)), self.position)]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype)


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[Layer]] | None:
    """The function that reads the layers of `path` for napari; None for what is no stack of BioGANs.

    The function raises InputError if the stack is damaged.
    """
    if not isinstance(path, str):
        return get_reader(path[0]) if len(path) == 1 else None
    try:
        if not is_hdf5(Path(path)):
            return None
        stack = open_stack(Path(path), MOST_DIGESTED)
    except Damaged as problem:
        return functools.partial(_refuse, str(problem))
    except (InputError, OSError):
        return None
    return functools.partial(stack_layers, stack) if "channel_names" in stack.attributes else None


def _refuse(problem, path):
    raise InputError(problem)


def stack_layers(stack: OpenStack, path: Any = None) -> list[Layer]:
    """Layers of napari, [(array (cells, height, width), settings, "image")], one for each channel of an open stack.

    The marker and the first factor are visible.

    path   given by napari, but not needed
    """
    cells, height, width, channels = stack.dataset.shape
    low, high = stack.limits
    examples = stack.dataset[:max(1, min(EXAMPLES, stacks.LARGEST_READ // (height * width * channels)))]
    colours = channel_colours((np.float32(examples) - np.float32(low)) / np.float32(high - low))
    side = stack.pixel_size_um or 1.0
    shared = {"blending": "additive", "contrast_limits": stack.limits, "scale": (1.0, side, side),
              "axis_labels": ("cell", "y", "x"), "metadata": {"biogans": dict(stack.attributes)}}
    if stack.pixel_size_um:
        shared["units"] = ("pixel", "µm", "µm")
    return [(Channel(stack.dataset, k), shared | {"name": name, "colormap": COLORMAPS[colour],
                                                "visible": k < stacks.SHOWN_FIRST}, "image")
            for k, (name, colour) in enumerate(zip(stack.names, colours))]
