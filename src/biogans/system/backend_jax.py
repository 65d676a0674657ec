"""JAX's part of a training: devices, precision, gradients, and one compiled function per iteration.

JAX differentiates and compiles functions without side effects. Keras's StatelessScope turns code that assigns to
variables into such a function: within the scope, variables have the values given, and only the scope records new ones.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .errors import InputError
from .lazy import Network, Tensor, Variable, jax, keras, threads
from .workers import Team


def input_gradient(critic: Callable[..., Tensor], images: Tensor) -> Tensor:
    """Gradient of the scores with respect to the images, of the same shape (batch, height, width, channels)."""
    weights = getattr(critic, "weights", ())        # a plain function of images has none

    def total(images, values):
        scores, values = _stateless(critic, weights)(values, images, training=True)
        return scores.sum(), values
    gradient, values = jax.grad(total, has_aux=True)(images, _values(weights))
    _assign(weights, values)
    return gradient


def latent_gradient(generator: Network) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A compiled function of z (batch, nz) and images (batch, height, width, channels) in [-1, 1], NumPy arrays.

    It returns the errors (batch,), squared differences between the images and those generated from z, summed over each
    image, and their gradient (batch, nz).
    """
    def total(z, images):
        errors = keras.ops.sum(keras.ops.square(generator(z, training=False) - images), axis=(1, 2, 3))
        return errors.sum(), errors
    compiled = jax.jit(jax.value_and_grad(total, has_aux=True))

    def errors_and_gradient(z, images):
        (_, errors), gradients = compiled(z, images)
        return np.asarray(errors), np.asarray(gradients)
    return errors_and_gradient


def twice_differentiable(critic: Network) -> Network:
    """The critic itself: JAX omits derivatives that are zero without help."""
    return critic


def share_cores(towers: int) -> None:
    """Leave the cores to JAX's compiler."""


def accelerate(networks: Iterable[Network]) -> None:
    """Leave the networks as they are: JAX's compiler chooses the operations."""


def mirror(images: Tensor, mirrored: Tensor) -> Tensor:
    """Reverse rows and columns of images (critics, batch, height, width, channels) where `mirrored` is true.

    mirrored   bool (critics, batch, 2): whether to reverse an image's rows, and its columns
    """
    for k in range(2):
        images = keras.ops.where(mirrored[..., k, None, None, None], keras.ops.flip(images, axis=2 + k), images)
    return images


def available() -> list[str]:
    """The kind of each device that networks can run on: GPUs if there are any, else CPUs."""
    return [device.platform.upper() for device in jax.local_devices()]


def device_name() -> str:
    """The devices that the networks run on, in one line for the log."""
    if jax.default_backend() == "cpu":
        return f"no GPU found by JAX: running on {threads()} CPU core(s)"
    return "GPUs (JAX): " + ", ".join(device.device_kind for device in jax.local_devices())


class Devices:
    """The first `number` devices. Each of them works on a part of every batch."""

    def __init__(self, number: int, precision: str, team: Team) -> None:
        if team.number > 1:
            raise InputError("KERAS_BACKEND=jax trains in one task only: start it with srun --ntasks=1, or set "
                             "KERAS_BACKEND=tensorflow")
        # By default JAX uses a GPU's fastest matrix products, which on many GPUs are TF32.
        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if precision == "tf32" else "float32")
        self.mesh = jax.sharding.Mesh(jax.local_devices()[:number], "batch")

    def scope(self) -> contextlib.AbstractContextManager:
        """A context; all devices share the variables that are created in it."""
        return contextlib.nullcontext()

    def gradients(self, function: Callable[[], tuple[Tensor, Any]], variables: Sequence[Variable],
                  state: Sequence[Variable]) -> tuple[Tensor, Any, list[Tensor]]:
        """(loss, rest, gradients of the loss with respect to `variables`), where function() returns (loss, rest).

        state   all variables that the function may assign to
        """
        chosen = {id(variable) for variable in variables}
        others = [variable for variable in state if id(variable) not in chosen]

        def loss_of(values, fixed):
            (loss, rest), new = _stateless(function, [*variables, *others])([*values, *fixed])
            return loss, (rest, new[len(values):])
        (loss, (rest, new)), gradients = jax.value_and_grad(loss_of, has_aux=True)(_values(variables), _values(others))
        _assign(others, new)
        return loss, rest, gradients

    def total(self, numbers: Sequence[float]) -> Sequence[float]:
        """Sum each of the `numbers` over all tasks: there is only one."""
        return numbers

    def for_each(self, function: Callable[..., Tensor], networks: Sequence[Network]) -> list[Callable[..., Tensor]]:
        """`function`(network, *tensors) -> tensor as a function of tensors for each of several networks."""
        return [functools.partial(function, network) for network in networks]

    def compile_function(self, function: Callable[..., Any], state: Sequence[Variable]) -> Callable[..., Any]:
        """Compile a `function` of NumPy arrays that may assign to the variables `state`."""
        stateless = jax.jit(_stateless(function, state))

        def call(*arguments):
            result, values = stateless(_values(state), *arguments)
            _assign(state, values)
            return result
        return call

    def compile_iteration(self, engine: Any, inputs: Any, more: np.ndarray) -> Callable[..., Any]:
        """Compile one iteration of an engine.Engine: a function (inputs, more, decay) -> losses.

        inputs, more   arrays of the shapes and types that it will get: engine.CriticBatch, and latents
        """
        state = engine.state
        critic_update = _stateless(engine.critic_update, state)
        last_update = _stateless(engine.last_update, state)

        def iteration(values, inputs, more, decay):
            earlier = jax.tree.map(lambda several: several[:-1], inputs)
            last = jax.tree.map(lambda several: several[-1], inputs)
            values, _ = jax.lax.scan(lambda values, one: critic_update(values, one)[::-1], values, earlier)
            return last_update(values, last, more, decay)

        # The compiler sees one program: sums over a batch, also in batch normalisation, run over all devices.
        parts = jax.tree.map(lambda axis: self._sharding(1 + axis), engine.batch_axes)
        compiled = jax.jit(iteration, donate_argnums=0, out_shardings=self._sharding(),
                           in_shardings=(self._sharding(), parts, self._sharding(1), self._sharding()))

        def call(inputs, more, decay):
            values = jax.device_put(_values(state), self._sharding())   # restored values are not on all devices yet
            losses, values = compiled(values, inputs, more, decay)
            _assign(state, values)
            return losses
        return call

    def _sharding(self, axis=None):
        """Give each device a part along `axis`, or without one all of an array."""
        split = () if axis is None else (*[None] * axis, "batch")
        return jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec(*split))


def _stateless(function, variables):
    """Turn code that assigns to Keras `variables` into a function of values: (values, …) -> (result, new values)."""
    def stateless(values, *arguments, **settings):
        with keras.StatelessScope(zip(variables, values, strict=True)) as scope:
            result = function(*arguments, **settings)
        return result, [scope.get_current_value(variable) for variable in variables]
    return stateless


def _values(variables):
    return [variable.value for variable in variables]


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
