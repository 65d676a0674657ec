#!/usr/bin/env python3
"""Time the operations of system/cpu_operations.py beside TensorFlow's and Keras's own, on one core.

The shapes are those of a star with 16 filters and batches of 8 (--preset fast). Both forms take turns, in compiled
functions; the table has the fastest of --rounds calls of each.
"""

import os
import sys
from pathlib import Path

os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "src"), str(Path(__file__).resolve().parent)]
from biogans.core import models
from biogans.system import arguments, cpu_operations, launch
from biogans.system.lazy import keras, tensorflow as tf
from machine import seconds

BATCH, CALLS = 8, 20                # images; calls of an operation in a compiled function
EPSILON = 1e-5
STAR = models.NetworkSpec("DCGAN-starshaped", 48, 80, 2, tuple("ABCDEF"), ngf=16, ndf=16, critic_batch_norm=False)


def pairs():
    """Yield (name, Keras's operation, ours, tensors that both take)."""
    for name, filters, channels in (("the last layer of a tower", 32, 1), ("a critic's gradient of its images", 16, 2)):
        yield (f"transposed convolution, {name}",
               lambda features, kernel: keras.ops.conv_transpose(features, kernel, strides=2, padding="same"),
               cpu_operations.transposed_convolution,
               [tf.random.normal((BATCH, 24, 40, filters)), tf.random.normal((4, 4, channels, filters))])
    yield ("joining red and six greens", lambda *images: keras.ops.concatenate(images, axis=-1),
           lambda *images: cpu_operations.side_by_side(images), [tf.random.normal((BATCH, 48, 80, 1))] * 7)
    yield ("batch normalisation with gradients, 16 features of 24x40", gradients(stock_normalization),
           gradients(lambda *inputs: cpu_operations.batch_normalization(*inputs, EPSILON)[0]),
           [*[tf.random.normal((BATCH, 24, 40, 16))] * 2, tf.ones(16), tf.zeros(16)])
    critics = [weight for critic in models.build_critics(STAR) for weight in critic.trainable_variables]
    stock, ours = keras.optimizers.Adam(1e-3, 0.0, 0.9), cpu_operations.adam(1e-3, 0.0, 0.9)
    for optimizer in (stock, ours):
        optimizer.build(critics)
    yield ("Adam, an update of six critics", steps(stock, critics), steps(ours, critics),
           [tf.random.normal(weight.shape) for weight in critics])


def stock_normalization(features, scale, offset):
    return keras.ops.batch_normalization(features, *keras.ops.moments(features, (0, 1, 2)), -1, offset, scale, EPSILON)


def gradients(function):
    """A function of (change, *tensors) that computes the derivatives of `function` and returns one number of them."""
    def differentiate(change, *tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        found = tape.gradient(value, tensors, change)
        with tf.control_dependencies(found):
            return tf.identity(found[0][0, 0, 0, 0])
    return differentiate


def steps(optimizer, weights):
    def step(*gradients):
        optimizer.apply(gradients, weights)
        return optimizer.iterations.value
    return step


def repeated(function, tensors):
    """A function without arguments that calls `function`, compiled, CALLS times, each after the one before."""
    def compute():
        first = tf.zeros(())
        for _ in range(CALLS):
            with tf.control_dependencies([first]):
                first = tf.cast(tf.reshape(function(*map(tf.identity, tensors)), (-1,))[0], tf.float32)
        return first
    compiled = tf.function(compute, autograph=False)
    return lambda: compiled().numpy()       # waits for the result


def compare(options):
    """Print the table."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})     # as in a training
    print(f"{'microseconds':<61}{'Keras':>7}{'ours':>7}{'ratio':>7}")
    for name, stock, ours, tensors in pairs():
        compiled = [repeated(function, tensors) for function in (stock, ours)]
        times = [[seconds(function) for function in compiled] for _ in range(1 + options.rounds)][1:]
        one, other = (1e6 * min(column) / CALLS for column in zip(*times, strict=True))
        print(f"{name:<61}{one:>7.0f}{other:>7.0f}{one / other:>7.1f}", flush=True)


def parser():
    result = arguments.Parser(prog="cpu_operations.py", description=__doc__.splitlines()[0])
    result.add_argument("--rounds", type=arguments.positive_int, default=20, metavar="N", help="default=20")
    return result


def main(arguments=None):
    return launch.run(compare, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
