"""Colours of channels: fluorescence in the colours of a palette, transmitted light in grey."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .errors import InputError

PALETTES = {                            # RGB colours of the red marker and of the green factor in a merge
    "red-green": ((1, 0, 0), (0, 1, 0)),
    "magenta-green": ((1, 0, 1), (0, 1, 0)),
}
BRIGHT = 0.25                           # of white: least light of the background of transmitted light
CONTRAST = 0.1                          # of white: the least by which its darkest structures are darker than that


Images = Sequence[np.ndarray] | np.ndarray         # (height, width, channels) each


class Palette(NamedTuple):
    """Colours of the channels of an image.

    name          of PALETTES
    transmitted   positions of the channels of transmitted light; None: still to be decided, by `fitted`
    """

    name: str = "red-green"
    transmitted: tuple[int, ...] | None = None

    def of(self, channels: Sequence[int]) -> "Palette":
        """The palette of an image of these `channels` only."""
        return self._replace(transmitted=tuple(k for k, channel in enumerate(channels)
                                               if channel in (self.transmitted or ())))


def fitted(palette: str | Palette, images: Images) -> Palette:
    """The palette of `images` (height, width, channels) in [0, 1], with its channels of transmitted light.

    Those that the palette lists, or else the ones that `transmitted_channels` finds. Raises InputError if it lists one
    that the images don't have.
    """
    palette = Palette(palette) if isinstance(palette, str) else palette
    if palette.transmitted is None:
        return palette._replace(transmitted=transmitted_channels(images))
    channels = images[0].shape[-1]
    if palette.transmitted and max(palette.transmitted) >= channels:
        raise InputError(f"--transmitted {max(palette.transmitted) + 1}: the images have {channels} "
                         f"channel{'s' * (channels > 1)}, counted from 1")
    return palette


def transmitted_channels(images: Images) -> tuple[int, ...]:
    """Positions of the channels of transmitted light, such as brightfield, of `images` (height, width, channels).

    Pixels are in [0, 1]. The background of transmitted light is bright: nine tenths of the pixels on the borders of the
    images exceed BRIGHT. Cells absorb and refract it: the darkest hundredth of all pixels is darker than the median of
    the borders by CONTRAST. In fluorescence the background is dark, or at least nothing is darker; the images of an
    untrained network are plain grey. Three bright channels are R, G and B of a photograph, and images with unequal
    numbers of channels are not judged.
    """
    channels = images[0].shape[-1]
    if any(image.shape[-1] != channels for image in images):
        return ()
    border = np.concatenate([edge for image in images
                             for edge in (image[0], image[-1], image[1:-1, 0], image[1:-1, -1])])
    darkest = np.quantile(np.concatenate([image.reshape(-1, channels) for image in images]), 0.01, axis=0)
    low, middle = np.quantile(border, (0.1, 0.5), axis=0)
    found = np.flatnonzero((low >= BRIGHT) & (middle - darkest >= CONTRAST))
    return () if len(found) == 3 == channels else tuple(found.tolist())


def channel_colours(images: Images, palette: str | Palette = "red-green") -> list[tuple[int, int, int]]:
    """RGB colours, 0 to 255, of the channels of `images`, for viewers that add them up.

    images   (height, width, channels) in [0, 1]

    The first channel has the colour of the marker, the others that of the factor; transmitted light and a single
    channel are white.
    """
    palette, channels = fitted(palette, images), images[0].shape[-1]
    marker, factor = PALETTES[palette.name]
    white = set(range(channels)) if channels == 1 else set(palette.transmitted or ())
    colours = ((1, 1, 1) if k in white else factor if k else marker for k in range(channels))
    return [(255 * red, 255 * green, 255 * blue) for red, green, blue in colours]


def merge(image: np.ndarray, palette: Palette) -> np.ndarray:
    """RGB image (…, height, width, 3) in [0, 1] of two or three channels (…, height, width, channels) in [0, 1].

    The first channel has the palette's colour of the marker, the second that of the factor. Transmitted light is grey,
    and fluorescence covers it: the brighter, the more opaque. Over a grey first channel, the second still has the
    colour of the factor, and a third that of the marker.
    """
    image, grey = np.asarray(image), list(palette.transmitted or ())
    shining = [k for k in range(image.shape[-1]) if k not in grey]
    marker, factor = np.array(PALETTES[palette.name], "float32")
    colours = (factor, marker) if 0 in grey else (marker, factor)
    light = sum((image[..., k, None] * colour for k, colour in zip(shining, colours, strict=False)), np.float32(0))
    if grey:
        cover = image[..., shining].max(axis=-1, keepdims=True, initial=0)
        light = light + image[..., grey].max(axis=-1, keepdims=True) * (1 - cover)
    return np.clip(np.broadcast_to(light, (*image.shape[:-1], 3)), 0, 1)
