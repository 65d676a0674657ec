"""Pixels: between stored ones (uint8) and the floats of networks ([-1, 1]) and of figures ([0, 1]); palettes."""

import numpy as np

PALETTES = {                            # RGB colours of the red marker and of the green factor in a merge
    "red-green": ((1, 0, 0), (0, 1, 0)),
    "magenta-green": ((1, 0, 1), (0, 1, 0)),
}


def to_signed(pixels):
    """uint8 pixels, of any shape, as float32 in [-1, 1]; also for a float32 tensor of 0 to 255."""
    return (pixels.astype(np.float32) if isinstance(pixels, np.ndarray) else pixels) / 127.5 - 1.0


def to_unit(pixels):
    """uint8 pixels, of any shape, as float32 in [0, 1]."""
    return np.asarray(pixels, np.float32) / np.float32(255)


def signed_to_bytes(images):
    """Floats in [-1, 1], of any shape, as uint8, rounded as stored images are."""
    return np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)


def unit_to_bytes(images):
    """Floats in [0, 1], of any shape, as uint8."""
    return np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
