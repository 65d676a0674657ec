"""An image file as an array of planes: what all formats have in common.

Axes have the letters of tifffile: P position or series, T time, Z depth, C channel, Y down, X right, S colour samples,
and Q or I where the file does not say. Values are as stored and colours as a viewer shows them: inverted, indexed or
printed colours become intensities of red, green and blue, and turned images upright.
"""

import abc
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..system.errors import InputError

MICROMETRES = {"": 1, "µm": 1, "um": 1, "micron": 1, "microns": 1, "\\u00B5m": 1, "μm": 1, "micrometer": 1,
               "micrometre": 1, "nm": 1e-3, "nanometer": 1e-3, "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "m": 1e6,
               "pm": 1e-6, "Å": 1e-4, "angstrom": 1e-4, "inch": 25400}       # of units of length
AXES_HELP = "one of the letters PTZCSYX for each axis, slowest first, including Y and X"

LEFT_RIGHT, UP_DOWN, BOTH = np.s_[..., ::-1], np.s_[..., ::-1, :], np.s_[..., ::-1, ::-1]
# What the tag Orientation asks for, from 5 on after exchanging rows and columns.
FLIPS = {2: LEFT_RIGHT, 3: BOTH, 4: UP_DOWN, 6: LEFT_RIGHT, 7: BOTH, 8: UP_DOWN}


class ImageFile(abc.ABC):
    """An open image file.

    path, axes, shape   the letters of all axes, and their sizes
    dtype               type of the values
    colours             number of samples of a pixel: those of the axis S, or 1
    pixel_size_um       side of a pixel in micrometres, None if the file does not state it
    lossy               whether the compression changes values, as JPEG does
    members             names of the files of the set that it belongs to, itself included; () for a file by itself
    left_out            number of images in the file that differ from these, where its format does not allow for it
    notes               what was assumed about the file, each in a few words
    """

    path: Path
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    pixel_size_um: float | None = None
    lossy = False
    members: tuple[str, ...] = ()
    left_out = 0
    notes: tuple[str, ...] = ()

    def size(self, axis: str) -> int:
        """Size of an axis; 1 if there is none of this letter."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def colours(self) -> int:
        """Number of samples of a pixel."""
        return self.size("S")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of an image."""
        return self.size("Y"), self.size("X"), self.size("C") * self.colours

    @property
    def outer(self) -> str:
        """Letters of the axes outside a plane."""
        return "".join(axis for axis in self.axes if axis not in "SYX")

    @abc.abstractmethod
    def plane(self, at: Mapping[str, int]) -> np.ndarray:
        """The plane (colours, height, width) at an index for each of the `outer` axes."""

    def image(self, at: Mapping[str, int]) -> np.ndarray:
        """The image (height, width, channels) at an index for each axis outside it, 0 for those that are not given.

        Its channels are those of C, then those of S.
        """
        planes = [self.plane({**at, "C": k}) for k in range(self.size("C"))]
        return np.moveaxis(np.concatenate(planes) if len(planes) > 1 else planes[0], 0, -1)

    def images(self) -> np.ndarray:
        """All images, (images, height, width, channels)."""
        moments = [axis for axis in self.outer if axis != "C"]
        indices = [dict(zip(moments, index, strict=True)) for index in np.ndindex(*map(self.size, moments))]
        images = np.empty((len(indices), *self.image_shape), self.dtype)
        for k, at in enumerate(indices):
            images[k] = self.image(at)
        return images

    @abc.abstractmethod
    def close(self) -> None:
        """Close the file."""


def check_axes(path: Path, axes: str, shape: Sequence[int]) -> str:
    """The letters that the user gave, in capitals. Raises InputError if they do not fit the shape."""
    letters = axes.upper()
    each_once = len(set(letters)) == len(letters) == len(shape)
    if not each_once or not {"Y", "X"} <= set(letters) <= set("PTZCSYX"):
        raise InputError(f"{path}: --axes {axes} does not fit an array of {'x'.join(map(str, shape))}: give "
                         f"{AXES_HELP}")
    return letters


def microscopic(size_um: float | None) -> float | None:
    """A stated size of a pixel, if it is one of a microscope, below 10 micrometres; else None."""
    return float(size_um) if size_um and 0 < size_um < 10 else None


class ArrayFile(ImageFile):
    """An image file that is an array with these axes, perhaps a Lazy one."""

    def __init__(self, path: Path, axes: str, array: Any, pixel_size_um: float | None = None,
                 notes: tuple[str, ...] = ()) -> None:
        self.path, self.axes, self.pixel_size_um, self.notes = path, axes, pixel_size_um, notes
        self.shape, self.dtype, self.array = tuple(array.shape), np.dtype(array.dtype), array

    def plane(self, at):
        index = tuple(at.get(axis, 0) if axis not in "SYX" else slice(None) for axis in self.axes)
        pixels = np.asarray(self.array[index])
        kept = [axis for axis in self.axes if axis in "SYX"]
        return upright(pixels, kept)

    def close(self):
        pass


class Lazy:
    """An array of known shape and type that `load` reads at the first access."""

    def __init__(self, shape: Sequence[int], dtype: Any, load: Callable[[], np.ndarray]) -> None:
        self.shape, self.dtype, self._load = tuple(shape), np.dtype(dtype), functools.cache(load)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self._load()[index]


def upright(pixels: np.ndarray, axes: Sequence[str]) -> np.ndarray:
    """(colours, height, width) of a plane whose axes are Y, X and perhaps S, in any order."""
    if "S" not in axes:
        axes, pixels = ["S", *axes], pixels[None]
    return pixels.transpose([list(axes).index(axis) for axis in "SYX"])


def turn(plane: np.ndarray, orientation: int) -> np.ndarray:
    """A plane (colours, height, width) as a viewer turns it, by the number of the tag Orientation."""
    if orientation > 4:
        plane = plane.transpose(0, 2, 1)
    return plane[FLIPS[orientation]] if orientation in FLIPS else plane
