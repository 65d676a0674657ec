"""Conversions of pixels between uint8, as stored, and the floats of networks ([-1, 1]) and figures ([0, 1])."""

from typing import Any

import numpy as np


def to_signed(pixels: Any) -> Any:
    """float32 in [-1, 1] from uint8 pixels of any shape, or from a float32 tensor with values from 0 to 255."""
    return (pixels.astype(np.float32) if isinstance(pixels, np.ndarray) else pixels) / 127.5 - 1.0


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """float32 in [0, 1] from uint8 pixels of any shape."""
    return np.asarray(pixels, np.float32) / np.float32(255)


def signed_to_bytes(images: np.ndarray) -> np.ndarray:
    """uint8 from floats in [-1, 1] of any shape, rounded as in stored images."""
    return np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)


def unit_to_bytes(images: np.ndarray) -> np.ndarray:
    """uint8 from floats in [0, 1] of any shape, rounded."""
    return np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
