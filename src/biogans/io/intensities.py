"""From the grey levels of a microscope to the 0 to 255 of training, and back.

Images of 8 bits stay as they are. Of all others, and where the user asks for it, one rule finds black and white of each
channel for a whole set. Each image has a low and a high percentile (0.1 and 99.9), which ignore hot pixels. Black is
the lowest low percentile of the set, white the highest high one. One image, or one in twenty, is left out if it is far
from the others: by more than nine times the range of the median image. So a bright cell does not make all others dark.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PERCENTILES = (0.1, 99.9)       # of the pixels of an image
FAR = 9                         # ranges of the median image
MOST_FAR = 0.05                 # share of the images that may be far from the others; one always may
MUCH = 0.01                     # share of clipped pixels that is worth a warning
DARK, FEW = 0.1, 0.001          # below a tenth of white lie all but one in a thousand pixels: worth a warning


@dataclasses.dataclass(frozen=True)
class Intensities:
    """The values that become 0 and 255, for each channel of the files."""

    black: tuple[float, ...]
    white: tuple[float, ...]

    def to_bytes(self, values: np.ndarray, channel: int) -> np.ndarray:
        """uint8 from values of a channel, any shape; values outside black to white are clipped, and NaN is black."""
        black, white = self.black[channel], self.white[channel]
        unit = (values.astype(np.float64) - black) / max(white - black, 1e-30)
        return np.rint(255 * np.clip(np.nan_to_num(unit, nan=0.0), 0, 1)).astype(np.uint8)

    def share_clipped(self, values: np.ndarray, channel: int) -> float:
        """Share of values of a channel, any shape, that lie outside black to white."""
        return float(np.mean((values < self.black[channel]) | (values > self.white[channel])))

    def of_channels(self, channels: Sequence[int]) -> dict[str, list[float]]:
        """{"black": …, "white": …} of these channels of the files, counted from 0, for the attributes of a stack."""
        return {"black": [self.black[k] for k in channels], "white": [self.white[k] for k in channels]}


def stored_units(attributes: Mapping[str, Any], channels: int) -> tuple[np.ndarray, np.ndarray, type] | None:
    """(black, white, type of the values) of a stack's channels in the units of the microscope; None without them."""
    try:
        black, white = (np.array(attributes[name], np.float64) for name in ("black", "white"))
    except (KeyError, TypeError, ValueError):
        return None
    if black.shape != (channels,) or white.shape != (channels,) or not (black < white).all():
        return None
    are_counts = black.min() >= 0 and 255 < white.max() <= 65535
    return black, white, np.uint16 if are_counts else np.float32


class Survey:
    """Collects what the rule needs from the images of a set.

    percentiles   (low, high), of the pixels of each image
    """

    def __init__(self, percentiles: tuple[float, float] = PERCENTILES) -> None:
        self.percentiles = percentiles
        self._low: list[np.ndarray] = []
        self._high: list[np.ndarray] = []

    def add(self, images: np.ndarray) -> None:
        """Add images (images, height, width, channels)."""
        pixels = images.reshape(len(images), -1, images.shape[-1])
        if pixels.dtype.kind == "f":
            pixels = pixels[~np.isnan(pixels).all(axis=1).any(axis=1)]
            pixels = np.where(np.isnan(pixels), np.nanmedian(pixels, axis=1, keepdims=True), pixels)
        most = pixels.shape[1] - 1
        low, high = self.percentiles
        ranks = int(low / 100 * pixels.shape[1]), most - int((1 - high / 100) * pixels.shape[1])
        ordered = np.partition(pixels, ranks, axis=1)
        self._low.append(ordered[:, ranks[0]])
        self._high.append(ordered[:, ranks[1]])

    def result(self) -> Intensities | None:
        """Black and white of the set; None without images."""
        if not self._low:
            return None
        low, high = (np.concatenate(found).astype(np.float64) for found in (self._low, self._high))
        reach = FAR * (np.nanmedian(high, axis=0) - np.nanmedian(low, axis=0))
        black = -_most(-low, reach)
        return Intensities(tuple(black.tolist()), tuple(_most(high, reach).tolist()))


def _most(found, reach):
    """The largest of `found` (images, channels) without a few that exceed the median by more than `reach`."""
    order = np.sort(found, axis=0)[::-1]                    # NaN first
    order = np.where(np.isnan(order), np.nanmin(found, axis=0), order)
    far = (order > np.nanmedian(found, axis=0) + reach).sum(axis=0)
    few = (far <= max(1, int(MOST_FAR * len(found)))) & (reach > 0)     # usual images of one value say nothing
    return np.sort(order, axis=0)[::-1][np.where(few, far, 0), np.arange(found.shape[1])]


@dataclasses.dataclass
class Clipping:
    """Counts the pixels that a conversion clips, and those that it leaves dark."""

    pixels: int = 0
    clipped: float = 0.0
    bright: int = 0

    def add(self, intensities: Intensities, values: np.ndarray, channel: int, converted: np.ndarray) -> None:
        """Count `values` of a channel, of any shape, and what they were `converted` to."""
        self.pixels += values.size
        self.clipped += intensities.share_clipped(values, channel) * values.size
        self.bright += int((converted > 255 * DARK).sum())

    def describe(self, intensities: Intensities, channels: Sequence[int], are_given: bool) -> list[str]:
        """What was chosen, or `are_given`, in a line, and a warning if it loses much.

        channels   the channels of the files that were used, counted from 0
        """
        share = self.clipped / max(self.pixels, 1)
        ranges = ", ".join(f"{intensities.black[k]:g} to {intensities.white[k]:g} in channel {k + 1}" for k in channels)
        chosen = "as given" if are_given else f"{ranges} become 0 to 255"
        lines = [f"intensities: {chosen}; {100 * share:.2g} % of the pixels are clipped"]
        if share > MUCH:
            lines.append(f"warning: {100 * share:.2g} % of the pixels are darker or brighter than this range: choose "
                         f"another with --range or --percentiles if they matter")
        elif self.bright < FEW * self.pixels:
            lines.append("warning: nearly all pixels are dark in this range: choose another with --range or "
                         "--percentiles")
        return lines
