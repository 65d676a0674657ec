"""What JAX is asked to do: devices, precision, gradients, and one compiled function an iteration.

JAX differentiates and compiles functions without side effects. Keras's StatelessScope makes one of code that assigns
to variables: within it they have the values given, and new values are noted in the scope alone.
"""

import contextlib

import numpy as np

from ..system.errors import InputError
from ..system.lazy import jax, keras, threads


def input_gradient(critic, images):
    """Gradient of the scores with respect to the images, of their shape (batch, height, width, channels)."""
    weights = getattr(critic, "weights", ())        # a plain function of images has none

    def total(images, values):
        scores, values = _stateless(critic, weights)(values, images, training=True)
        return scores.sum(), values
    gradient, values = jax.grad(total, has_aux=True)(images, _values(weights))
    _assign(weights, values)
    return gradient


def latent_gradient(generator):
    """A compiled function of z (batch, nz) and images (batch, height, width, channels) in [-1, 1], arrays of numpy.

    It returns errors (batch,), the sum over all numbers of an image of the squared difference to what the generator
    draws of its z, and their gradient (batch, nz).
    """
    def total(z, images):
        errors = keras.ops.sum(keras.ops.square(generator(z, training=False) - images), axis=(1, 2, 3))
        return errors.sum(), errors
    compiled = jax.jit(jax.value_and_grad(total, has_aux=True))

    def errors_and_gradient(z, images):
        (_, errors), gradients = compiled(z, images)
        return np.asarray(errors), np.asarray(gradients)
    return errors_and_gradient


def twice_differentiable(critic):
    """The critic as it is to be differentiated twice: JAX leaves out derivatives that are zero by itself."""
    return critic


def mirror(images, mirrored):
    """Images (towers, batch, height, width, channels), rows and columns turned round where `mirrored` says so."""
    for k in range(2):
        images = keras.ops.where(mirrored[..., k, None, None, None], keras.ops.flip(images, axis=2 + k), images)
    return images


def available():
    """The kind of each device that networks can run on: GPUs if there are any."""
    return [device.platform.upper() for device in jax.local_devices()]


def device_name():
    """What the networks run on, in words: one line for the log."""
    if jax.default_backend() == "cpu":
        return f"no GPU found by JAX: running on {threads()} CPU core(s)"
    return "GPUs (JAX): " + ", ".join(device.device_kind for device in jax.local_devices())


class Devices:
    """The first `number` devices, each with its part of every batch."""

    def __init__(self, number, precision, team):
        if team.number > 1:
            raise InputError("KERAS_BACKEND=jax trains in one task only: start it with srun --ntasks=1, or set "
                             "KERAS_BACKEND=tensorflow")
        # By default JAX takes the fastest products that a GPU has, which is TF32 on many.
        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if precision == "tf32" else "float32")
        self.mesh = jax.sharding.Mesh(jax.local_devices()[:number], "batch")

    def scope(self):
        """Variables made within it are shared by all devices."""
        return contextlib.nullcontext()

    def gradients(self, function, variables):
        """(loss, rest, gradients of the loss) where function() gives (loss, rest)."""
        chosen = {id(variable) for variable in variables}
        others = [variable for variable in self.variables if id(variable) not in chosen]

        def loss_of(values, fixed):
            (loss, rest), new = _stateless(function, [*variables, *others])([*values, *fixed])
            return loss, (rest, new[len(values):])
        (loss, (rest, new)), gradients = jax.value_and_grad(loss_of, has_aux=True)(_values(variables), _values(others))
        _assign(others, new)
        return loss, rest, gradients

    def total(self, numbers):
        """The sums of some numbers over all tasks: there is one."""
        return numbers

    def compile_function(self, function, variables):
        """A `function` of numpy arrays, which may assign to Keras `variables`, compiled."""
        self.variables = variables
        stateless = jax.jit(_stateless(function, variables))

        def call(*arguments):
            result, values = stateless(_values(variables), *arguments)
            _assign(variables, values)
            return result
        return call

    def compile_iteration(self, engine, given, more):
        """The function (given, more, decay) -> losses that is one iteration of `engine` on arrays like these."""
        self.variables = [variable for variables in engine.variables.values() for variable in variables]
        critic_update = _stateless(engine.critic_update, self.variables)
        last_update = _stateless(engine.last_update, self.variables)

        def iteration(values, given, more, decay):
            earlier, last = (jax.tree.map(lambda several: several[part], given) for part in (slice(-1), -1))
            values, _ = jax.lax.scan(lambda values, one: critic_update(values, one)[::-1], values, earlier)
            return last_update(values, last, more, decay)

        # Sums over a batch, also those of batch normalisation, are over all devices: the compiler sees one program.
        parts = jax.tree.map(lambda axis: self._sharding(1 + axis), engine.batch_axes)
        compiled = jax.jit(iteration, donate_argnums=0, out_shardings=self._sharding(),
                           in_shardings=(self._sharding(), parts, self._sharding(1), self._sharding()))

        def call(given, more, decay):
            values = jax.device_put(_values(self.variables), self._sharding())    # restored ones aren't there yet
            losses, values = compiled(values, given, more, decay)
            _assign(self.variables, values)
            return losses
        return call

    def _sharding(self, axis=None):
        """Each device has a part along `axis`, or all of an array."""
        split = () if axis is None else (*[None] * axis, "batch")
        return jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec(*split))


def _stateless(function, variables):
    """A `function` that assigns to Keras variables as one of their values: (values, …) -> (result, new values)."""
    def stateless(values, *arguments, **settings):
        with keras.StatelessScope(zip(variables, values)) as scope:
            result = function(*arguments, **settings)
        return result, [scope.get_current_value(variable) for variable in variables]
    return stateless


def _values(variables):
    return [variable.value for variable in variables]


def _assign(variables, values):
    for variable, value in zip(variables, values):
        variable.assign(value)
