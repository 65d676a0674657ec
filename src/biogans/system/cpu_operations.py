"""TensorFlow's slowest operations on CPUs, made of faster ones: the same values, up to rounding.

Convolutions here have kernels of 4x4 pixels, stride 2 and Keras's padding "same"; benchmarks/cpu_operations.py times
both forms.
"""

import functools
from collections.abc import Sequence
from typing import Any

from .lazy import Network, Tensor, backend, keras, tensorflow as tf

FEW = 4                             # channels, up to which a product is faster than a transposed convolution
STEPS = {"strides": (1, 2, 2, 1), "padding": "SAME"}


def use_in(network: Network) -> None:
    """Let the layers of a network use the functions below where these are faster."""
    for layer in network.layers:
        if type(layer) is keras.layers.Concatenate and layer.axis == -1 and all(
                len(image.shape) == 4 and image.shape[-1] == 1 for image in layer.input):
            layer.call = side_by_side
        elif type(layer) is keras.layers.Conv2D and _of_few_channels(layer) and layer.groups == 1:
            layer.convolution_op = convolution
        elif type(layer) is keras.layers.Conv2DTranspose and _of_few_channels(layer) and not layer.output_padding:
            layer.call = functools.partial(_call, layer)
        elif type(layer) is keras.layers.BatchNormalization and _of_whole_batch(layer):
            layer.call = functools.partial(_normalize, layer)


def _of_whole_batch(layer):
    """Whether `batch_normalization` computes what a layer does."""
    return (len(layer.input.shape) == 4 and layer.axis in (-1, 3) and layer.compute_dtype == "float32" and layer.scale
            and layer.center and not layer.synchronized and not getattr(layer, "renorm", False))


def _normalize(layer, features, training=None, mask=None):
    if not training or not layer.trainable or mask is not None:
        return type(layer).call(layer, features, training=training, mask=mask)
    normalized, *moments = batch_normalization(features, *map(tf.convert_to_tensor, (layer.gamma, layer.beta)),
                                               layer.epsilon)
    for average, moment in zip((layer.moving_mean, layer.moving_variance), moments, strict=True):
        average.assign(average * layer.momentum + moment * (1 - layer.momentum))
    return normalized


def _of_few_channels(layer):
    """Whether the functions below compute what a layer does, and faster."""
    _, height, width, _ = layer.input.shape
    return (layer.kernel.shape[:2] == (4, 4) and tuple(layer.strides) == (2, 2) and tuple(layer.dilation_rate) == (1, 1)
            and layer.padding == "same" and layer.data_format == "channels_last"
            and layer.kernel.shape[2] <= FEW        # in both kinds of layers the channels of the image
            and (isinstance(layer, keras.layers.Conv2DTranspose) or height % 2 == width % 2 == 0))


def _call(layer, features):
    pixels = transposed_convolution(features, tf.convert_to_tensor(layer.kernel))
    if layer.use_bias:
        pixels += layer.bias
    return pixels if layer.activation is None else layer.activation(pixels)


def convolution(images: Tensor, kernel: Any) -> Tensor:
    """Features (batch, height / 2, width / 2, filters) of images (batch, height, width, channels).

    kernel   (4, 4, channels, filters)
    """
    @tf.custom_gradient
    def convolve(images, kernel):
        def gradient(change):
            return transposed_convolution(change, kernel), tf.raw_ops.Conv2DBackpropFilter(
                input=images, filter_sizes=kernel.shape, out_backprop=change, **STEPS)
        return tf.raw_ops.Conv2D(input=images, filter=kernel, **STEPS), gradient
    return convolve(images, tf.convert_to_tensor(kernel))


def transposed_convolution(features: Tensor, kernel: Tensor) -> Tensor:
    """Images (batch, 2 height, 2 width, channels) from features (batch, height, width, filters).

    A matrix product gives each feature's patch of 4x4 pixels, and its quarters of 2x2 pixels are added where they
    overlap.

    kernel   (4, 4, channels, filters)
    """
    @tf.custom_gradient
    def transpose(features, kernel):
        _, height, width, filters = features.shape
        channels = kernel.shape[2]
        quarters = tf.transpose(tf.reshape(kernel, (2, 2, 2, 2, channels, filters)), (0, 2, 1, 3, 4, 5))
        patches = tf.linalg.matmul(tf.reshape(quarters, (-1, filters)), tf.reshape(features, (-1, filters)),
                                   transpose_b=True)
        parts = tf.split(tf.reshape(patches, (16 * channels, -1, height, width)), 4)
        shifts = (0, 0), (0, 1), (1, 0), (1, 1)
        blocks = tf.add_n([tf.pad(part, ((0, 0), (0, 0), (down, 1 - down), (right, 1 - right)))
                           for part, (down, right) in zip(parts, shifts, strict=True)])
        blocks = tf.reshape(blocks, (2, 2, channels, -1, height + 1, width + 1))
        pixels = tf.reshape(tf.transpose(blocks, (3, 4, 0, 5, 1, 2)), (-1, 2 * height + 2, 2 * width + 2, channels))

        def gradient(change):
            return (tf.raw_ops.Conv2D(input=change, filter=kernel, **STEPS), tf.raw_ops.Conv2DBackpropFilter(
                input=change, filter_sizes=kernel.shape, out_backprop=features, **STEPS))
        return pixels[:, 1:-1, 1:-1], gradient
    return transpose(features, kernel)


def side_by_side(images: Sequence[Tensor]) -> Tensor:
    """An image (batch, height, width, channels) from its channels (batch, height, width, 1).

    TensorFlow's concatenation would copy pixel by pixel.
    """
    return tf.transpose(tf.stack([image[..., 0] for image in images]), (1, 2, 3, 0))


def batch_normalization(features: Tensor, scale: Tensor, offset: Tensor,
                        epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """(normalised features, mean, variance) of features (batch, height, width, channels).

    Ioffe and Szegedy (2015), algorithm 1, in one operation forward and one backward. No gradient passes through mean
    and variance (channels,), which are for the moving averages.

    scale, offset   (channels,)
    """
    @tf.custom_gradient
    def normalize(features, scale, offset):
        normalized, mean, unbiased, *kept = tf.raw_ops.FusedBatchNormV3(
            x=features, scale=scale, offset=offset, mean=[], variance=[], epsilon=epsilon, is_training=True)
        number = tf.cast(tf.size(features) // features.shape[-1], tf.float32)

        @tf.custom_gradient
        def derivatives(change, features, scale):
            found = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=change, x=features, scale=scale, reserve_space_1=kept[0], reserve_space_2=kept[1],
                reserve_space_3=kept[2], epsilon=epsilon, is_training=True)[:3]
            return found, lambda *second: _second_derivatives((features, scale, offset), epsilon, change, second)
        return ((normalized, mean, unbiased * (number - 1) / number),
                lambda change, *of_moments: derivatives(change, features, scale))
    normalized, *moments = normalize(features, scale, offset)
    return normalized, *map(tf.stop_gradient, moments)


def _second_derivatives(inputs, epsilon, change, second):
    """Of batch normalisation with respect to `change`, features and scale: TensorFlow has none of the fused kind."""
    with tf.GradientTape() as outer:
        outer.watch((change, *inputs))
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            features, scale, offset = inputs
            moments = tf.nn.moments(features, (0, 1, 2))
            normalized = tf.nn.batch_normalization(features, *moments, offset, scale, epsilon)
        first = inner.gradient(normalized, inputs, change)
    return outer.gradient(first, (change, *inputs[:2]), second)


def leaky_relu(features: Tensor, slope: float) -> Tensor:
    """A leaky ReLU of features of any shape, without a second derivative instead of one that is zero.

    If a loss contains the gradient of the scores, TensorFlow propagates such zeros through the whole network: an update
    with gradient penalty takes 12 passes instead of 10.
    """
    @tf.custom_gradient
    def rectify(features):
        return tf.nn.leaky_relu(features, slope), lambda change: scaled(change, features)

    @tf.custom_gradient
    def scaled(change, features):
        """`change` where the features are positive, `slope` times it elsewhere: linear in `change`."""
        def scale(values):
            return tf.raw_ops.LeakyReluGrad(gradients=values, features=features, alpha=slope)
        return scale(change), lambda second: (scale(second), None)

    return rectify(features)


def adam(learning_rate: float, beta_1: float, beta_2: float) -> Any:
    """Keras's optimizer Adam (Kingma & Ba 2015, algorithm 1, with the step size of the end of section 2).

    With TensorFlow it updates a variable in one operation instead of some twenty. Variables are float32.
    """
    kind = _fused_adam() if backend() == "tensorflow" else keras.optimizers.Adam
    return kind(learning_rate, beta_1, beta_2, epsilon=1e-8, name="adam")


@functools.cache
def _fused_adam():
    class Adam(keras.optimizers.Adam):
        def apply(self, grads, trainable_variables=None):
            step = tf.cast(self.iterations + 1, tf.float32)
            numbers = {"beta1_power": self.beta_1 ** step, "beta2_power": self.beta_2 ** step,
                       "lr": tf.cast(self.learning_rate, tf.float32), "beta1": tf.constant(self.beta_1),
                       "beta2": tf.constant(self.beta_2), "epsilon": tf.constant(self.epsilon)}
            object.__setattr__(self, "numbers", numbers)        # Keras would make them part of the optimizer's state
            super().apply(grads, trainable_variables)

        def update_step(self, gradient, variable, learning_rate):
            index = self._get_variable_index(variable)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle, m=self._momentums[index].value.handle, v=self._velocities[index].value.handle,
                grad=gradient, **self.numbers)
    return Adam
