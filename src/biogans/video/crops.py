"""Crops of processed frames: where they lie, which ones are kept, and how they are saved."""

import argparse
import math
from typing import NamedTuple

import numpy as np

from ..system import arguments
from ..system.files import open_own
from . import frame_filters
from .processing import RIM


class Crop(NamedTuple):
    """A crop of a frame, which is kept, empty or out of focus."""

    down: int                           # row of its upper left corner
    right: int                          # column of its upper left corner
    coverage: float                     # fraction covered by structures
    sharpness: float
    fate: str                           # "crops" if kept, "empty" or "out_of_focus"

    @property
    def kept(self):
        """Whether the crop is saved."""
        return self.fate == "crops"


def find_crops(mask, image, drift, reference, settings):
    """Yield a Crop for each candidate in a frame.

    mask        (height, width) of its structures
    image       (height, width): its first channel after cleaning
    drift       (down, right) of the frame; regions that are out of view have no crops
    """
    from scipy.ndimage import binary_dilation
    high, wide = settings.size
    top, left = (max(0, math.ceil(-shift)) for shift in drift)
    bottom, right = (side - max(0, math.ceil(shift)) for side, shift in zip(mask.shape, drift))
    if bottom - top < high or right - left < wide:
        return                          # the frame has drifted out of view
    view = (top, bottom, left, right)
    corners = (around_structures if settings.crops == "structures" else on_a_grid)(mask, view, settings)
    for down, across in corners:
        here = np.s_[down:down + high, across:across + wide]
        covered = float(mask[here].mean())
        sharp = frame_filters.sharpness(image[here], binary_dilation(mask[here], iterations=RIM))
        fate = ("empty" if covered < settings.least else
                "out_of_focus" if sharp < settings.focus * reference.sharpness else "crops")
        yield Crop(int(down), int(across), round(covered, 4), round(sharp, 4), fate)


def on_a_grid(mask, view, settings):
    """Corners of crops that tile the frame, at the same positions in every frame, as far as they are in view."""
    high, wide = settings.size
    top, bottom, left, right = view
    return [(down, across) for down in range(0, mask.shape[0] - high + 1, high)
            for across in range(0, mask.shape[1] - wide + 1, wide)
            if top <= down and down + high <= bottom and left <= across and across + wide <= right]


def around_structures(mask, view, settings):
    """Corners of crops around the densest structures, which overlap by at most half."""
    from scipy.ndimage import gaussian_filter
    from skimage.feature import peak_local_max
    high, wide = settings.size
    top, bottom, left, right = view
    density = gaussian_filter(mask.astype(np.float32), (high / 4, wide / 4), mode="constant")
    inside = np.zeros_like(density)
    centres = np.s_[top + high // 2:bottom - high + high // 2 + 1, left + wide // 2:right - wide + wide // 2 + 1]
    inside[centres] = density[centres]
    found = peak_local_max(inside, min_distance=min(high, wide) // 2, threshold_abs=settings.least / 4,
                           exclude_border=False)
    return [(down - high // 2, across - wide // 2) for down, across in found]


def cut(pixels, crop, settings):
    """Pixels of a crop of a frame (height, width, channels), averaged down by settings.shrink."""
    high, wide = settings.size
    part = pixels[crop.down:crop.down + high, crop.right:crop.right + wide]
    n = settings.shrink
    return part if n == 1 else np.rint(
        part.reshape(high // n, n, wide // n, n, -1).mean(axis=(1, 3))).astype(np.uint8)


def as_saved(pixels):
    """uint8 (height, width, 1 to 3 channels) as in the file of `save_crop`: two channels become red and green."""
    return np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=-1) if pixels.shape[-1] == 2 else pixels


def save_crop(path, pixels, pixel_size_um):
    """Save uint8 (height, width, 1 to 3 channels) as PNG; two channels become red and green."""
    from PIL import Image
    pixels = as_saved(pixels)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    size = {"dpi": (0.0254 / (pixel_size_um * 1e-6),) * 2} if pixel_size_um else {}
    with open_own(path, "wb") as file:
        picture.save(file, format="PNG", **size)


def sides(text):
    """A type of arguments: "SIDE" or "HEIGHTxWIDTH" as (height, width)."""
    numbers = tuple(arguments.positive_int(side) for side in text.lower().replace(",", "x").split("x"))
    if len(numbers) not in (1, 2):
        raise argparse.ArgumentTypeError(f"{text!r} is neither one side nor HEIGHTxWIDTH")
    return (numbers * 2)[:2]
