"""The faster operations give the values and the derivatives of TensorFlow's and Keras's own."""

import itertools

import numpy as np
import pytest

from biogans.core import models
from biogans.system import cpu_operations
from biogans.system.backend_tensorflow import twice_differentiable
from biogans.system.lazy import keras, tensorflow as tf

SHAPES = [(12, 20, 2, 5), (4, 6, 1, 3), (2, 2, 4, 7)]       # height and width of the features, channels, filters
STAR = models.NetworkSpec("DCGAN-starshaped", 48, 80, 2, ("A", "B", "C"), ngf=16, ndf=8, critic_batch_norm=False,
                          init="he")


def numbers(*shape):
    return tf.constant(np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32))


def with_derivatives(function, *inputs):
    """Value, first derivatives and the derivatives of their squares, of a function of tensors."""
    with tf.GradientTape() as second:
        second.watch(inputs)
        with tf.GradientTape() as first:
            first.watch(inputs)
            value = function(*inputs)
            loss = tf.reduce_sum(tf.sin(value))
        gradients = first.gradient(loss, inputs)
        squares = tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in gradients])
    return [value, *gradients, *second.gradient(squares, inputs)]


def assert_alike(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize(("height", "width", "channels", "filters"), SHAPES)
def test_transposed_convolution(height, width, channels, filters):
    """It is Keras's Conv2DTranspose, to the second derivative."""
    features, kernel = numbers(3, height, width, filters), numbers(4, 4, channels, filters)

    def stock(features, kernel):
        return keras.ops.conv_transpose(features, kernel, strides=2, padding="same")

    assert_alike(with_derivatives(cpu_operations.transposed_convolution, features, kernel),
                 with_derivatives(stock, features, kernel))


@pytest.mark.parametrize(("height", "width", "channels", "filters"), SHAPES)
def test_convolution(height, width, channels, filters):
    """It is Keras's Conv2D, to the second derivative."""
    images, kernel = numbers(3, 2 * height, 2 * width, channels), numbers(4, 4, channels, filters)

    def stock(images, kernel):
        return keras.ops.conv(images, kernel, strides=2, padding="same")

    assert_alike(with_derivatives(cpu_operations.convolution, images, kernel), with_derivatives(stock, images, kernel))


def test_side_by_side():
    """It is a concatenation of channels."""
    images = [numbers(2, 4, 6, 1) * k for k in (1, 2, 3)]
    np.testing.assert_array_equal(cpu_operations.side_by_side(images), tf.concat(images, -1))


def normalized(features, scale, offset):
    return tf.nn.batch_normalization(features, *tf.nn.moments(features, (0, 1, 2)), offset, scale, 1e-5)


def test_batch_normalization():
    """It normalises each channel over the batch, with the derivatives of the formula, to the second."""
    features, scale, offset = 2 * numbers(3, 4, 6, 5) + 1, numbers(5) + 2, numbers(5)

    def ours(features, scale, offset):
        return cpu_operations.batch_normalization(features, scale, offset, 1e-5)[0]

    assert_alike(with_derivatives(ours, features, scale, offset), with_derivatives(normalized, features, scale, offset))
    _, mean, variance = cpu_operations.batch_normalization(features, scale, offset, 1e-5)
    np.testing.assert_allclose(mean, np.mean(features, (0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, np.var(features, (0, 1, 2)), rtol=1e-5)


EXACT = {
    "batch normalisation": (lambda *inputs: cpu_operations.batch_normalization(*inputs, 1e-5)[0], normalized,
                            [(8, 24, 40, 16), (16,), (16,)]),
    "transposed convolution": (
        cpu_operations.transposed_convolution,
        lambda features, kernel: tf.nn.conv2d_transpose(features, kernel, (8, 48, 80, 2), 2),
        [(8, 24, 40, 16), (4, 4, 2, 16)]),
    "convolution": (cpu_operations.convolution, lambda images, kernel: tf.nn.conv2d(images, kernel, 2, "SAME"),
                    [(8, 48, 80, 2), (4, 4, 2, 16)]),
    "leaky ReLU": (lambda features: cpu_operations.leaky_relu(features, 0.2),
                   lambda features: tf.nn.leaky_relu(features, 0.2), [(8, 24, 40, 16)]),
}


@pytest.mark.parametrize("name", EXACT)
def test_values_and_gradients_to_a_millionth(name):
    """They are as near to those of the formula in float64 as TensorFlow's own, up to a millionth of the largest.

    At the size of the fast preset.
    """
    ours, formula, shapes = EXACT[name]
    inputs = [numbers(*shape) + (len(shape) == 1) for shape in shapes]
    change = np.random.default_rng(9).standard_normal(ours(*inputs).shape)

    def value_and_gradients(function, dtype):
        tensors = [tf.cast(tensor, dtype) for tensor in inputs]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return [value, *tape.gradient(value, tensors, tf.cast(change, dtype))]

    for exact, stock, found in zip(value_and_gradients(formula, tf.float64), value_and_gradients(formula, tf.float32),
                                   value_and_gradients(ours, tf.float32), strict=True):
        exact, error = exact.numpy(), np.abs(stock - exact.numpy()).max()
        assert np.abs(found - exact).max() < error + 1e-6 * np.abs(exact).max()


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_networks(policy):
    """Networks compute the same with the faster operations, which are in place."""
    keras.config.set_dtype_policy(policy)
    try:
        keras.utils.set_random_seed(1)
        generator, critic = models.build_generator(STAR), models.build_critics(STAR)[0]
    finally:
        keras.config.set_dtype_policy("float32")
    z, images = numbers(4, 100), numbers(4, 48, 80, 2)
    before = [generator(z, training=False), critic(images, training=False)]
    for network in (generator, critic):
        cpu_operations.use_in(network)
    after = [generator(z, training=False), twice_differentiable(critic)(images, training=False)]
    tolerance = 1e-5 if policy == "float32" else 0.05
    for one, other in zip(after, before, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max())
    replaced = [layer.name for network in (generator, critic) for layer in network.layers
                if {"call", "convolution_op"} & vars(layer).keys()]
    assert [name for name in replaced if "normalization" not in name] == [
        "red_image_convolution", *(f"green{k}_image_convolution" for k in range(3)), "image", "0_convolution"]
    assert [name for name in replaced if "normalization" in name] == [
        layer.name for layer in generator.layers if "normalization" in layer.name and policy == "float32"]


@pytest.mark.parametrize(("layer", "changes"), [*itertools.product(("Conv2D", "Conv2DTranspose"), (
    {}, {"activation": "tanh"}, {"use_bias": False}, {"strides": 1}, {"dilation_rate": 2, "strides": 1},
    {"padding": "valid"}, {"kernel_size": 3}, {"filters": 9})), ("Conv2D", {"groups": 2})])
@pytest.mark.parametrize("sides", [(6, 8), (5, 7)])
def test_layers_of_edited_networks(layer, changes, sides):
    """Whatever layers a network has, its values and gradients stay the same."""
    image = keras.Input((*sides, 2))
    options = {"filters": 2, "kernel_size": 4, "strides": 2, "padding": "same", "bias_initializer": "ones"} | changes
    network = keras.Model(image, getattr(keras.layers, layer)(**options)(image))
    pixels = numbers(3, *sides, 2)

    def value(pixels):
        return network(pixels)

    expected = with_derivatives(value, pixels)[:2]
    cpu_operations.use_in(network)
    assert_alike(with_derivatives(value, pixels)[:2], expected)


@pytest.mark.parametrize("sides", [(6, 8), ()])
@pytest.mark.parametrize("changes", [{}, {"axis": 1}, {"scale": False}, {"center": False}, {"dtype": "bfloat16"},
                                     {"synchronized": True}])
def test_batch_normalization_of_edited_networks(changes, sides):
    """In training and afterwards: values, gradients and moving averages stay the same, whatever the layer's options."""
    image = keras.Input((*sides, 4))
    network = keras.Model(image, keras.layers.BatchNormalization(momentum=0.8, **changes)(image))
    pixels, start = 3 * numbers(5, *sides, 4) + 1, network.get_weights()

    def after_training():
        network.set_weights(start)
        results = with_derivatives(lambda pixels: network(pixels, training=True), pixels)
        return [*results, network(pixels, training=False), *map(tf.constant, network.get_weights())]

    expected = after_training()
    cpu_operations.use_in(network)
    assert_alike(after_training(), expected)


def test_adam():
    """It makes the steps of Keras's Adam, and has its variables."""
    first, second = (keras.Variable(np.ones((3, 2), np.float32)) for _ in range(2))
    ours = cpu_operations.adam(0.01, 0.5, 0.99)
    stock = keras.optimizers.Adam(0.01, 0.5, 0.99, epsilon=1e-8, name="adam")       # else Keras would count them
    for step in range(1, 5):
        ours.learning_rate = stock.learning_rate = 0.01 / step
        for optimizer, variable in ((ours, first), (stock, second)):
            optimizer.apply([numbers(3, 2) * step], [variable])
    np.testing.assert_allclose(first, second, rtol=1e-6)
    assert [variable.path.rpartition("/")[0] for variable in ours.variables] == [
        variable.path.rpartition("/")[0] for variable in stock.variables]
    for one, other in zip(ours.variables, stock.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
