"""TensorFlow's part of a training: devices, precision, gradients, and one compiled function per iteration."""

import contextlib
import functools
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from . import cpu_operations
from .lazy import Network, Tensor, Variable, keras, no_garbage_collection, tensorflow as tf, threads
from .workers import Team


def input_gradient(critic: Callable[..., Tensor], images: Tensor) -> Tensor:
    """Gradient of the scores with respect to the images, of the same shape (batch, height, width, channels)."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        scores = critic(images, training=True)
    return tape.gradient(scores, images)


def latent_gradient(generator: Network) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A compiled function of z (batch, nz) and images (batch, height, width, channels) in [-1, 1], NumPy arrays.

    It returns the errors (batch,), squared differences between the images and those generated from z, summed over each
    image, and their gradient (batch, nz).
    """
    @tf.function(autograph=False, input_signature=(tf.TensorSpec((None, generator.input_shape[1])),
                                                   tf.TensorSpec((None, *generator.output_shape[1:]))))
    def errors_and_gradient(z, images):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(z)
            errors = tf.reduce_sum(tf.square(generator(z, training=False) - images), axis=(1, 2, 3))
        return errors, tape.gradient(errors, z)

    return lambda z, images: tuple(result.numpy() for result in errors_and_gradient(z, images))


def twice_differentiable(critic: Network) -> Network:
    """The same critic, with the same weights, whose leaky ReLUs have no second derivative instead of a zero one."""
    def clone(layer):
        if not isinstance(layer, keras.layers.LeakyReLU):
            return layer
        return keras.layers.Activation(lambda features: cpu_operations.leaky_relu(features, layer.negative_slope),
                                       dtype=layer.dtype_policy, name=layer.name)

    return keras.models.clone_model(critic, clone_function=clone)


def share_cores(towers: int) -> None:
    """Let each operation have one core, if `towers` that are independent of each other keep all cores busy.

    On CPUs this is faster than to split every operation. It has no effect once TensorFlow has computed something in
    this process, or if TF_NUM_INTEROP_THREADS is set.
    """
    if 1 < threads() <= towers and "TF_NUM_INTEROP_THREADS" not in os.environ and not _gpus():
        with contextlib.suppress(RuntimeError):         # it has computed something
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(threads())


def accelerate(networks: Iterable[Network]) -> None:
    """Let these networks, which are to be trained, compute with faster operations where there are any: on CPUs."""
    if not _gpus():
        for network in networks:
            cpu_operations.use_in(network)


def mirror(images: Tensor, mirrored: Tensor) -> Tensor:
    """Reverse rows and columns of images (critics, batch, height, width, channels) where `mirrored` is true.

    mirrored   bool (critics, batch, 2): whether to reverse an image's rows, and its columns
    """
    flat, flips = tf.reshape(images, (-1, *images.shape[2:])), tf.reshape(mirrored, (-1, 2))
    for k, side in enumerate(images.shape[2:4]):        # a gather takes a third of the time of tf.where
        forward = tf.range(side)
        order = tf.where(flips[:, k, None], forward[::-1], forward)
        flat = tf.gather(flat, order, axis=1 + k, batch_dims=1)
    return tf.reshape(flat, images.shape)


def available() -> list[str]:
    """The kind of each device that networks can run on: GPUs if there are any, else CPUs."""
    return [device.device_type for device in _logical_devices()]


def device_name() -> str:
    """The devices that the networks run on, in one line for the log."""
    gpus = _gpus()
    if not gpus:
        return f"no GPU found: running on {threads()} CPU core(s)"
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    return "GPUs: " + ", ".join(names)


class Devices:
    """The first `number` devices, or one in each task of a team. Each of them works on a part of every batch."""

    def __init__(self, number: int, precision: str, team: Team) -> None:
        tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
        self.on_gpu = bool(_gpus())
        # On CPUs, rewriting the graph takes seconds and gains nothing, and XLA is many times slower.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not self.on_gpu})
        self.number, self.replicas, self.strategy = number, number * team.number, tf.distribute.get_strategy()
        self._team = team
        self._last_sum: Tensor | None = None        # over tasks, of the graph that is being built
        if team.number > 1:
            _use_own_gpu()
        elif number > 1:
            # The default collectives can mix up sums of different towers of the star, which devices reach in any order.
            self.strategy = tf.distribute.MirroredStrategy(
                [device.name for device in _logical_devices()[:number]], tf.distribute.ReductionToOneDevice())

    def scope(self) -> contextlib.AbstractContextManager:
        """A context; all devices share the variables that are created in it."""
        return self.strategy.scope()

    def gradients(self, function: Callable[[], tuple[Tensor, Any]], variables: Sequence[Variable],
                  state: Sequence[Variable]) -> tuple[Tensor, Any, list[Tensor]]:
        """(loss, rest, gradients of the loss with respect to `variables`), where function() returns (loss, rest).

        Over tasks they are summed here; over the devices of one task they are parts, which Keras's optimizers sum.

        state   all variables that the function may assign to; TensorFlow keeps track of them by itself
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in variables:
                tape.watch(variable.value)
            loss, rest = function()
            share = loss / self.replicas
        gradients = tape.gradient(share, variables)
        return loss, rest, gradients if self._team.number == 1 else self._summed(gradients)

    def for_each(self, function: Callable[..., Tensor], networks: Sequence[Network]) -> list[Callable[..., Tensor]]:
        """`function`(network, *tensors) -> tensor as a function of tensors for each of several networks of one shape.

        On one device it is traced once, not once for each network.
        """
        if len(networks) == 1 or self.replicas > 1:     # sums over devices would lose their order
            return [functools.partial(function, network) for network in networks]
        first = networks[0]

        def stateless(values, *tensors):
            with keras.StatelessScope(zip(first.weights, values, strict=True)) as scope:
                result = function(first, *tensors)
            return result, [scope.get_current_value(variable) for variable in first.non_trainable_variables]
        traced = tf.function(stateless, autograph=False)

        def of(network):
            def call(*tensors):
                result, statistics = traced([tf.convert_to_tensor(each.value) for each in network.weights], *tensors)
                for variable, value in zip(network.non_trainable_variables, statistics, strict=True):
                    variable.assign(value)
                return result
            return call
        return [of(network) for network in networks]

    def compile_function(self, function: Callable[..., Any], state: Sequence[Variable]) -> Callable[..., Any]:
        """Compile a `function` of NumPy arrays that may assign to the variables `state`."""
        return tf.function(function, autograph=False, reduce_retracing=True)

    def compile_iteration(self, engine: Any, inputs: Any, more: np.ndarray) -> Callable[..., Any]:
        """Compile one iteration of an engine.Engine: a function (inputs, more, decay) -> losses.

        inputs, more   arrays of the shapes and types that it will get: engine.CriticBatch, and latents
        """
        if self.replicas > 1:
            mean = _mean_over_devices if self.number > 1 else self._mean_over_tasks
            _normalise_over_all_devices(filter(None, [engine.generator, *engine.critics, engine.recognizer]), mean)

        @functools.cache
        def compiled(several):
            return self.compile_graph(engine, inputs, more, several)

        def call(inputs, more, decay):
            return compiled(len(inputs.real) > 1)(inputs, more, decay)

        def own_losses(inputs, more, decay):
            return np.divide(self.total([loss.numpy() for loss in call(inputs, more, decay)]), self._team.number)

        compiled(self.number == 1 and engine.updates(0) > 1)
        if self.number == 1:
            return call if self.replicas == 1 else own_losses
        one = tf.nest.map_structure(lambda array: tf.TensorSpec(array.shape[1:], array.dtype), inputs)
        update = tf.function(lambda inputs: self.strategy.run(
            lambda: engine.critic_update(self._own_part(inputs, engine.batch_axes))), autograph=False,
            input_signature=(one,))

        def call_by_call(inputs, more, decay):      # devices can't wait for each other within a loop of the graph
            for k in range(len(inputs.real) - 1):
                update(_select(inputs, k))
            return [loss.numpy() for loss in call(_select(inputs, slice(-1, None)), more, decay)]
        return call_by_call

    def compile_graph(self, engine: Any, inputs: Any, more: np.ndarray, several: bool) -> Any:
        """One iteration, with one update of the critics or `several`, as a TensorFlow function.

        One alone is compiled in two thirds of the time.
        """
        def last_update(inputs, more, decay):
            return engine.last_update(self._own_part(inputs, engine.batch_axes), self._own_part(more, 1), decay)

        def iteration(inputs, more, decay):
            last, before = 0, []
            if several:
                last = tf.shape(inputs.real)[0] - 1

                def update(k):
                    engine.critic_update(_select(inputs, k))
                    return k + 1
                before = tf.while_loop(lambda k: k < last, update, [tf.constant(0)], parallel_iterations=1)
            # The last update waits for the others: its sums over tasks must not begin before theirs have ended.
            with tf.control_dependencies(before):
                losses = self.strategy.run(last_update, (_select(inputs, last), more, decay))
            return [self.strategy.reduce(tf.distribute.ReduceOp.MEAN, loss, axis=None) for loss in losses]

        updates = tf.nest.map_structure(
            lambda array: tf.TensorSpec((None if several else 1, *array.shape[1:]), array.dtype), inputs)
        compiled = tf.function(iteration, jit_compile=self.on_gpu and self.replicas == 1, autograph=False,
                               input_signature=(updates, tf.TensorSpec(more.shape, more.dtype),
                                                tf.TensorSpec((), tf.float32)))
        with no_garbage_collection(), _gradients_forgotten():
            compiled.get_concrete_function()
        return compiled

    def total(self, numbers: Sequence[float]) -> Sequence[float]:
        """Sum each of the `numbers` over all tasks."""
        if self._team.number == 1:
            return numbers
        return self._team.sum(np.array(numbers, np.float32), "numbers").tolist()

    def _summed(self, gradients):
        """The gradients, summed over all tasks in one message."""
        flat = tf.concat([tf.reshape(gradient, (-1,)) for gradient in gradients], axis=0)
        sizes = [math.prod(gradient.shape) for gradient in gradients]
        parts = tf.split(self._sum_over_tasks(flat, "gradients"), sizes)
        return [tf.reshape(part, gradient.shape) for part, gradient in zip(parts, gradients, strict=True)]

    def _mean_over_tasks(self, values, name):
        """Mean of a tensor over all tasks, through which gradients flow, in sums that are called `name`."""
        @tf.custom_gradient
        def mean(values):
            return (self._sum_over_tasks(values, name) / self._team.number,
                    lambda change: self._mean_over_tasks(change, f"{name}, backwards"))
        return mean(values)

    def _sum_over_tasks(self, values, name):
        """Sum over all tasks. Each sum waits for the one before, so that their order is the same in all tasks."""
        before = [self._last_sum] if self._last_sum is not None and self._last_sum.graph is values.graph else []
        with tf.control_dependencies(before):
            total = tf.numpy_function(functools.partial(self._team.sum, name=name), [values], tf.float32)
        self._last_sum = total
        return tf.ensure_shape(total, values.shape)

    def _own_part(self, values, axes):
        """The part of a batch that this device works on; `axes` are the batch axes of the `values`."""
        if self.number == 1:
            return values
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.nest.map_structure(
            lambda value, axis: tf.gather(tf.split(value, self.number, axis=axis), replica), values, axes)


def _use_own_gpu():
    """Let this task use a GPU of its own if the node has enough of them."""
    if gpus := _gpus():
        tf.config.set_visible_devices(gpus[int(os.environ.get("SLURM_LOCALID", 0)) % len(gpus)], "GPU")


def _gpus():
    return tf.config.list_physical_devices("GPU")


def _logical_devices():
    return tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")


def _select(inputs, k):
    """The CriticBatch of update k, or of a slice k of updates, from one of several updates."""
    return tf.nest.map_structure(lambda values: values[k], inputs)


@contextlib.contextmanager
def _gradients_forgotten():
    """Forget the custom gradients of graphs that are built in this block, which need them no longer.

    TensorFlow would keep them, and with them the graphs, until the process ends.
    """
    module = sys.modules[tf.RegisterGradient.__module__]
    registry = getattr(getattr(module, "gradient_registry", None), "_registry", {})
    before = set(registry)
    try:
        yield
    finally:
        for name in registry.keys() - before:
            del registry[name]


def _normalise_over_all_devices(networks, mean):
    """Make batch normalisation use the moments of the whole batch, so that several devices learn what one would.

    It replaces a private method of Keras, whose own `synchronized` computes E x² - (E x)², which loses digits, and
    takes back the fused operation of cpu_operations.

    mean   function (tensor, name) -> mean over all devices
    """
    for network in networks:
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.call = functools.partial(type(layer).call, layer)
                layer._moments = functools.partial(_moments_over_all_devices, layer, mean)


def _moments_over_all_devices(layer, mean, values, mask):
    """(mean, variance), each (features,), over the `values` (batch, …, features) of all devices, in equal parts.

    Ioffe & Szegedy (2015), algorithm 1. The features are the last axis; no layer here has a `mask`.
    """
    axes = layer._reduction_axes
    center = mean(tf.reduce_mean(values, axes), f"{layer.name}, mean")
    shape = [1 if axis in axes else -1 for axis in range(len(values.shape))]
    return center, mean(tf.reduce_mean(tf.square(values - tf.reshape(center, shape)), axes), f"{layer.name}, variance")


def _mean_over_devices(values, name):
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, values)
