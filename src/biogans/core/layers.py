"""Layers and initial weights that the networks of models.py are made of."""

from collections.abc import Sequence
from typing import Any

from ..system.lazy import Tensor, keras

INITIALIZERS = {
    "paper": lambda: keras.initializers.RandomNormal(0.0, 0.02),
    "he": lambda: keras.initializers.HeNormal(),
}


# `spec` is a models.NetworkSpec, and `name` begins the names of layers.

def cut(z: Tensor, start: int, end: int) -> Tensor:
    """Components `start` to `end` of z (batch, any)."""
    if (start, end) == (0, z.shape[1]):
        return z
    column = keras.layers.Cropping1D((start, z.shape[1] - end))(keras.layers.Reshape((z.shape[1], 1))(z))
    return keras.layers.Reshape((end - start,))(column)


def without_noise(z: Tensor, spec: Any) -> Tensor:
    """The first part of z (batch, spec.nz), which the smallest maps are made from."""
    return cut(z, 0, spec.nz - spec.noise_size)


def noise_maps(z: Tensor, spec: Any, tower: int = 0, towers: int = 1) -> list[Tensor]:
    """Maps (batch, height, width, 1) of independent numbers for each level of a tower, the smallest first; [] without.

    z      (batch, spec.nz), whose last spec.noise_size numbers are noise
    tower  position of the tower among `towers`. All read the same numbers, each from another position on: with the same
           maps, factors that do not depend on each other would have their grain in the same places.

    The noise of Karras et al. (2019, sec. 3.2), which they add to the features.
    """
    height, width, n = spec.halvings
    maps, start = [], spec.nz - spec.noise_size
    for level in range(n if spec.noise else 0):
        size = height * width << 2 * level
        numbers, first = cut(z, start, start + size), tower * size // towers
        if first:
            numbers = keras.layers.Concatenate()([cut(numbers, first, size), cut(numbers, 0, first)])
        maps.append(keras.layers.Reshape((height << level, width << level, 1))(numbers))
        start += size
    return maps


def with_noise(features: Tensor, noise: Sequence[Tensor], level: int) -> Tensor:
    """The features of a level beside its map of the `noise`, so that the next convolution reads both."""
    return keras.layers.Concatenate()([features, noise[level]]) if noise else features


def side_by_side(images: Sequence[Tensor]) -> Tensor:
    """One image with the channels of all `images`."""
    return keras.layers.Concatenate(dtype=full_precision(), name="image")(images)


def dense(spec: Any, name: str, width: int) -> Any:
    """A dense layer without bias."""
    return keras.layers.Dense(width, use_bias=False, kernel_initializer=INITIALIZERS[spec.init](),
                              name=f"{name}_projection")


def to_map(flat: Tensor, spec: Any, name: str) -> Tensor:
    """The smallest map, from as many numbers: a transposed convolution of a single pixel is a matrix product."""
    height, width, _ = spec.halvings
    return keras.layers.Reshape((height, width, flat.shape[1] // (height * width)), name=f"{name}_map")(flat)


def downsampling(spec: Any, name: str, filters: int) -> Any:
    """A convolution that halves height and width."""
    return keras.layers.Conv2D(filters, 4, strides=2, padding="same", use_bias=False,
                               kernel_initializer=INITIALIZERS[spec.init](), name=f"{name}_convolution")


def upsampling(spec: Any, name: str, filters: int) -> Any:
    """A transposed convolution that doubles height and width."""
    return keras.layers.Conv2DTranspose(filters, 4, strides=2, padding="same", use_bias=False,
                                        kernel_initializer=INITIALIZERS[spec.init](), name=f"{name}_convolution")


def to_image(spec: Any, name: str, channels: int) -> Any:
    """The last convolution. With "he" it starts near the background (bias -1, then tanh): most pixels show no cell."""
    return keras.layers.Conv2DTranspose(channels, 4, strides=2, padding="same", use_bias=spec.init == "he",
                                        kernel_initializer=INITIALIZERS[spec.init](),
                                        bias_initializer=keras.initializers.Constant(-1.0),
                                        name=f"{name}_image_convolution")


def to_score(spec: Any, name: str) -> Any:
    """A convolution that covers the whole of the smallest map."""
    return keras.layers.Conv2D(1, spec.halvings[:2], use_bias=False, kernel_initializer=INITIALIZERS[spec.init](),
                               dtype=full_precision(), name=f"{name}_convolution")


def tanh(features: Tensor, name: str) -> Tensor:
    """Pixels in [-1, 1]."""
    return keras.layers.Activation("tanh", dtype=full_precision(), name=f"{name}_image")(features)


def activated(features: Tensor, name: str) -> Tensor:
    """Batch normalisation, then ReLU."""
    return keras.layers.ReLU(name=f"{name}_rectified")(normalized(features, name))


def normalized(features: Tensor, name: str) -> Tensor:
    """Batch normalisation with the constants of the original code."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_normalization",
                                           gamma_initializer=keras.initializers.RandomNormal(1.0, 0.02))(features)


def full_precision() -> str:
    """Precision of the weights. Scores and pixels keep it even where other layers compute in bfloat16."""
    return keras.config.dtype_policy().variable_dtype
