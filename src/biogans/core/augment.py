"""Differentiable augmentation (Zhao et al. 2020, sec. 3.2): random changes to all images that a critic sees.

Real and generated images get the same kinds of changes, in the updates of critic and generator alike, and gradients
reach the generator through them. So the critic can't memorise a few images, and the generator does not learn to produce
the changes. The random numbers come from the caller: a change is a function of its arguments alone. To add a policy,
write a function (images, numbers) -> images and register it in POLICIES.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..system.lazy import Tensor, keras

BACKGROUND = -1.0               # no light


class Policy(NamedTuple):
    """A kind of change, and the number of uniform random inputs in [0, 1) per image; 0.5 mostly means no change."""

    numbers: int
    change: Callable[[Tensor, Tensor], Tensor]


def apply(images: Tensor, numbers: Tensor, policies: Sequence[str], strength: Any = None) -> Tensor:
    """Change images (batch, height, width, channels) in [-1, 1] by the `policies`, one after another.

    numbers    (batch, how_many(policies)), uniform in [0, 1); with a strength one more for each policy
    policies   names in POLICIES
    strength   probability with which a policy changes an image (Karras et al. 2020, sec. 2.2): a number or a variable;
               None: all images are changed

    All channels of an image move together. Pixels that come from outside the image or are cut out become -1: no light.
    """
    first, gates = 0, numbers[:, how_many(policies):]
    for k, policy in enumerate(POLICIES[name] for name in policies):
        changed = policy.change(images, numbers[:, first:first + policy.numbers])
        if strength is not None:
            changed = keras.ops.where((gates[:, k] < strength)[:, None, None, None], changed, images)
        images = changed
        first += policy.numbers
    return images


def how_many(policies: Sequence[str]) -> int:
    """Number of random inputs per image of `policies` (names in POLICIES)."""
    return sum(POLICIES[name].numbers for name in policies)


def color(images: Tensor, numbers: Tensor) -> Tensor:
    """Change the brightness by up to 0.5, then the contrast around each channel's mean by a factor of 0.5 to 1.5.

    The paper also changes the saturation. That would mix channels, which are markers here.
    """
    brighter, contrast = (numbers[:, k, None, None, None] for k in range(2))
    images = images + (brighter - 0.5)
    mean = keras.ops.mean(images, axis=(1, 2), keepdims=True)
    return (images - mean) * (contrast + 0.5) + mean


def translation(images: Tensor, numbers: Tensor) -> Tensor:
    """Shift by up to an eighth of each side, in whole pixels, as in the paper."""
    shifts = [keras.ops.round((2 * numbers[:, k] - 1) * images.shape[1 + k] / 8) for k in range(2)]
    return _moved(images, *shifts)


def affine(images: Tensor, numbers: Tensor) -> Tensor:
    """Rotate by up to 10 degrees and scale by up to a tenth around the centre, and shift by up to 2 pixels.

    The numbers are the shift in rows, the shift in columns, the angle (counterclockwise as displayed) and the scale.
    """
    down, right, angle, scale = (2 * numbers[:, k] - 1 for k in range(4))
    return _moved(images, 2 * down, 2 * right, math.radians(10) * angle, 1 + 0.1 * scale)


def cutout(images: Tensor, numbers: Tensor) -> Tensor:
    """Replace a rectangle of half the image's height and width, centred anywhere in the image, by background."""
    inside = []
    for k, side in enumerate(images.shape[1:3]):
        distance = keras.ops.abs(keras.ops.arange(side, dtype="float32") + 0.5 - side * numbers[:, k, None])
        inside.append(distance < side / 4)
    hole = keras.ops.logical_and(inside[0][:, :, None], inside[1][:, None])
    return keras.ops.where(hole[..., None], BACKGROUND, images)


POLICIES = {
    "color": Policy(2, color),
    "translation": Policy(2, translation),
    "affine": Policy(4, affine),
    "cutout": Policy(2, cutout),
}


def _moved(images, down, right, angle=0.0, scale=1.0):
    """Rotate and scale images around their centre, then shift them; every argument is a number or (batch,)."""
    middle = [(side - 1) / 2 for side in images.shape[1:3]]
    y, x = (keras.ops.arange(side, dtype="float32") - (side - 1) / 2 for side in images.shape[1:3])
    y, x = y[:, None] - _each(down), x - _each(right)
    cosine, sine = (_each(part) for part in (keras.ops.cos(angle) / scale, keras.ops.sin(angle) / scale))
    return _sampled(images, middle[0] + cosine * y + sine * x, middle[1] + cosine * x - sine * y)


def _each(values):
    """(batch,) -> (batch, 1, 1), to combine one number per image with all of its pixels."""
    return keras.ops.reshape(values, (-1, 1, 1))


def _sampled(images, y, x):
    """Sample images (batch, height, width, channels) at rows y and columns x (batch, height, width), bilinearly."""
    _, height, width, channels = images.shape
    padded = keras.ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=BACKGROUND)
    pixels = keras.ops.reshape(padded, (-1, channels))
    y, x = keras.ops.clip(y + 1, 0, height + 1), keras.ops.clip(x + 1, 0, width + 1)
    top, left = keras.ops.minimum(keras.ops.floor(y), height), keras.ops.minimum(keras.ops.floor(x), width)
    south, east = (y - top)[..., None], (x - left)[..., None]
    first = keras.ops.arange(keras.ops.shape(images)[0], dtype="int32")[:, None, None] * (height + 2)
    index = (first + keras.ops.cast(top, "int32")) * (width + 2) + keras.ops.cast(left, "int32")
    return ((1 - south) * (1 - east) * keras.ops.take(pixels, index, axis=0)
            + (1 - south) * east * keras.ops.take(pixels, index + 1, axis=0)
            + south * (1 - east) * keras.ops.take(pixels, index + width + 2, axis=0)
            + south * east * keras.ops.take(pixels, index + width + 3, axis=0))
