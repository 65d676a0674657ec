#!/usr/bin/env python3
"""Show where an iteration's time goes with the small networks that people train on CPUs, and how short it could be.

    wall          time of an iteration, median
    floor         its convolutions and products alone, each by its fastest implementation on one core with nothing else
                  running, shared evenly by the cores. The passes are those of counting.py
    of the floor  floor / wall
    convolutions, rest, waiting
                  core time of a profiled iteration: in convolutions and products, in all other operations, and in none,
                  as parts of the time that the cores have

Below each row are the operations that take longest, in milliseconds of one core.
"""

import math
import os
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "src"), str(HERE)]
from before_after import RUNS
from biogans.system import arguments, cpu_operations, launch
from biogans.system.lazy import keras, tensorflow as tf
from counting import images_in_critic_loss
from machine import profile, seconds
from own_process import measured
from train_step import USUAL_ITERATION, noise_run

SIZES = {name: words for name, words in RUNS.items() if "paper" not in name}
PRODUCTS = ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "MatMul")       # how their names end
HEADER = f"{'':38}{'wall, ms':>9}{'floor, ms':>10}{'of the floor':>13}{'convolutions':>13}{'rest':>6}{'waiting':>9}"


# ---------------------------------------------------------------------------------------------- an iteration

def iteration(words, number):
    """Seconds of an iteration ("wall"), and of a profiled one ("profiled") with its {operation: core seconds}."""
    engine, batches = noise_run(words.split())
    engine.iterate(USUAL_ITERATION, batches)
    walls = [seconds(lambda: engine.iterate(USUAL_ITERATION, batches)) for _ in range(number)]
    durations = []
    operations = profile(lambda: durations.append(seconds(lambda: engine.iterate(USUAL_ITERATION, batches))))
    return {"wall": statistics.median(walls), "operations": operations, "profiled": durations[0]}


# ---------------------------------------------------------------------------------------------- the floor

def floor(words, rounds):
    """{"floor": seconds of one core} for the convolutions and products of an iteration, each at its fastest."""
    engine, _ = noise_run(words.split())
    batch, updates = engine.settings.batch_size, engine.updates(USUAL_ITERATION)
    scored, penalised = images_in_critic_loss(engine.algorithm)
    generator, critic = (cost(network, batch, rounds) for network in (engine.generator, engine.critics[0]))
    whole = sum(sum(layer) for layer in critic)
    first, last = critic[0][1], sum(critic[-1])
    update = scored * (whole - first)
    # Of a penalised image: forward, the gradient of the image, and the derivatives of this gradient (counting.py).
    update += penalised * (whole + sum(forward for forward, _, _ in critic) - last)
    made = sum(forward for forward, _, _ in generator)
    learnt = sum(inputs + weights for _, inputs, weights in generator) - generator[0][1]
    through = sum(forward + inputs for forward, inputs, _ in critic) + engine.algorithm.paired * sum(
        forward for forward, _, _ in critic)
    towers = len(engine.critics)
    return {"floor": updates * (made + towers * update) + learnt + towers * through}


def cost(network, batch, rounds):
    """[(forward, gradient of the inputs, gradient of the weights)] in seconds, for each layer that multiplies."""
    kinds = {keras.layers.Conv2D: convolutions, keras.layers.Conv2DTranspose: transposed, keras.layers.Dense: products}
    return [tuple(min(fastest(way, tensors, rounds) for way in ways) for ways, tensors in kinds[type(layer)](
        layer, batch)) for layer in network.layers if type(layer) in kinds]


def convolutions(layer, batch):
    """For each pass: its implementations, and the tensors that they take."""
    images, features, kernel = (tf.random.normal(shape) for shape in shapes(layer, batch))
    return [([forward(layer)], (images, kernel)), (backward(layer, images), (features, kernel)),
            ([of_weights(layer, kernel)], (images, features))]


def transposed(layer, batch):
    """The same for a transposed convolution, whose forward pass is a convolution's gradient of its inputs."""
    features, images, kernel = (tf.random.normal(shape) for shape in shapes(layer, batch))
    return [(backward(layer, images), (features, kernel)), ([forward(layer)], (images, kernel)),
            ([of_weights(layer, kernel)], (images, features))]


def products(layer, batch):
    """The same for a dense layer."""
    inputs, outputs, kernel = (tf.random.normal(shape) for shape in shapes(layer, batch))
    return [([tf.linalg.matmul], (inputs, kernel)),
            ([lambda change, kernel: tf.linalg.matmul(change, kernel, transpose_b=True)], (outputs, kernel)),
            ([lambda inputs, change: tf.linalg.matmul(inputs, change, transpose_a=True)], (inputs, outputs))]


def shapes(layer, batch):
    return (batch, *layer.input.shape[1:]), (batch, *layer.output.shape[1:]), layer.kernel.shape


def steps(layer):
    return {"strides": (1, *layer.strides, 1), "padding": layer.padding.upper()}


def forward(layer):
    return lambda images, kernel: tf.raw_ops.Conv2D(input=images, filter=kernel, **steps(layer))


def backward(layer, images):
    def stock(change, kernel):
        return tf.raw_ops.Conv2DBackpropInput(input_sizes=images.shape, filter=kernel, out_backprop=change,
                                              **steps(layer))
    few = images.shape[-1] <= cpu_operations.FEW and layer.strides == (2, 2)
    return [stock, cpu_operations.transposed_convolution] if few else [stock]


def of_weights(layer, kernel):
    return lambda images, change: tf.raw_ops.Conv2DBackpropFilter(
        input=images, filter_sizes=kernel.shape, out_backprop=change, **steps(layer))


def fastest(function, tensors, rounds, calls=10):
    """Seconds of one call on one core, from the fastest of `rounds` runs of several calls."""
    def compute():
        first = tf.zeros(())
        for _ in range(calls):
            with tf.control_dependencies([first]):
                first = tf.reshape(function(*map(tf.identity, tensors)), (-1,))[0]
        return first
    compiled = tf.function(compute, autograph=False)
    compiled().numpy()
    return min(seconds(lambda: compiled().numpy()) for _ in range(rounds)) / calls


# ---------------------------------------------------------------------------------------------- the table

def table(options):
    """Print the table row by row."""
    cores = len(os.sched_getaffinity(0))
    print(HEADER, flush=True)
    for name, words in SIZES.items():
        if options.only.lower() in name.lower():
            own = measured(iteration, words, options.iterations)
            alone = measured(on_one_core, words, options.rounds)["floor"] / cores
            print(row(name, own, alone, cores), flush=True)


def on_one_core(words, rounds):
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"      # the engine leaves the numbers of threads alone
    return floor(words, rounds)


def row(name, own, alone, cores):
    """A row of the table, with the longest operations below."""
    available = cores * own["profiled"]
    products = sum(time for operation, time in own["operations"].items() if operation.endswith(PRODUCTS))
    rest = math.fsum(own["operations"].values()) - products
    longest = ", ".join(f"{operation} {1000 * time:.0f}" for operation, time in list(own["operations"].items())[:8])
    return (f"{name:38}{1000 * own['wall']:9.0f}{1000 * alone:10.0f}{alone / own['wall']:13.0%}"
            f"{products / available:13.0%}{rest / available:6.0%}{max(0, 1 - (products + rest) / available):9.0%}\n"
            f"    {longest}")


def parser():
    result = arguments.Parser(prog="small_networks.py", description=__doc__)
    result.add_argument("--only", default="", metavar="TEXT", help="only sizes whose names contain this; default: all")
    result.add_argument("--iterations", type=arguments.positive_int, default=7, metavar="N",
                        help="timed iterations; default=7")
    result.add_argument("--rounds", type=arguments.positive_int, default=5, metavar="N",
                        help="runs of each convolution; default=5")
    return result


def main(arguments=None):
    return launch.run(table, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
