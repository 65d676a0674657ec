"""Everything that TensorFlow is asked to do: devices, precision, gradients, and one compiled function an iteration."""

import os

import numpy as np

from . import models
from .errors import InputError
from .gan import ALGORITHMS
from .lazy import keras, tensorflow as tf

# What a stream of random numbers is for; each is a function of (seed, purpose, position) and so needs no state.
_LATENT, _INTERPOLATION, _FLIPS = range(3)
_GRID_POSITION = -1


class Engine:
    """The networks of a run, their optimizers, and how one iteration changes them.

    generator, average   Keras models: as trained, and the moving average of its weights
    critics              list of Keras models, one for each tower of the generator
    optimizers           {"generator": …, "critic": …}, of Keras
    position             batches of real images used so far
    """

    def __init__(self, spec, settings, devices=1):
        """Build networks (models.NetworkSpec) and optimizers (options.Training). Raises InputError if devices lack."""
        self.spec, self.settings = spec, settings
        self.algorithm = ALGORITHMS[settings.algorithm](settings)
        self.position = 0
        keras.utils.set_random_seed(settings.seed)
        _set_precision(settings.precision)
        self.strategy = _strategy(devices, settings.batch_size)
        with self.strategy.scope():
            self.generator = models.build_generator(spec)
            self.critics = models.build_critics(spec)
            self.average = drawing_generator(spec)
            self.average.set_weights(self.generator.get_weights())
            self.optimizers = {"generator": self._optimizer(settings.lrG), "critic": self._optimizer(settings.lrD)}
            self.optimizers["generator"].build(self.generator.trainable_variables)
            self.optimizers["critic"].build(self._critic_weights)
        self._scoring = [without_second_derivative(critic) for critic in self.critics]
        if devices > 1:
            _normalise_over_all_devices([self.generator, *self.critics])
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        # On CPUs rewriting the graph takes seconds and gains nothing; XLA makes it many times slower.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not on_gpu})
        images = (len(self.critics), settings.batch_size, spec.height, spec.width, spec.channels)
        number = tf.TensorSpec((), tf.int64)
        self._compiled = tf.function(
            self._iteration_on_all_devices, jit_compile=on_gpu and devices == 1, autograph=False,
            input_signature=(tf.TensorSpec((None, *images), tf.uint8), number, tf.TensorSpec((), tf.float32)))
        self._compiled_update = tf.function(
            lambda real, position: self.strategy.run(self._critic_update, (real, position)),
            autograph=False, input_signature=(tf.TensorSpec(images, tf.uint8), number))

    @property
    def _critic_weights(self):
        return [variable for critic in self.critics for variable in critic.trainable_variables]

    def _optimizer(self, learning_rate):
        settings = self.settings
        if settings.optimizer == "adam":
            return keras.optimizers.Adam(learning_rate, settings.beta_1, settings.beta_2, epsilon=1e-8)
        # PyTorch's RMSprop, with which the published models were trained; Keras adds epsilon under the square root.
        return keras.optimizers.RMSprop(learning_rate, rho=0.99, epsilon=1e-16)

    def iterate(self, iteration, batches):
        """One iteration (counted from 0) on the next of `batches` (dataloader.Batches).

        Returns the losses of the critic, in its last update, and of the generator.
        """
        updates = self.algorithm.critic_updates(iteration)
        real = batches.take(self.position, updates)
        decay = min(self.settings.average, (1 + iteration) / (10 + iteration)) if self.settings.average else 0.0
        if self.strategy.num_replicas_in_sync > 1:      # devices can't wait for each other within a loop of the graph
            for images in real[:-1]:
                self._compiled_update(images, self.position)
                self.position += 1
            real = real[-1:]
        losses = self._compiled(real, self.position, decay)
        self.position += len(real)
        return tuple(float(loss) for loss in losses)

    def _iteration_on_all_devices(self, real, position, decay):
        losses = self.strategy.run(self._iteration, (real, position, decay))
        return [self.strategy.reduce(tf.distribute.ReduceOp.MEAN, loss, axis=None) for loss in losses]

    def _iteration(self, real, position, decay):
        """`real`: uint8 (critic updates, towers, batch, height, width, channels)."""
        last = tf.shape(real, tf.int64)[0] - 1
        if self.strategy.num_replicas_in_sync == 1:
            def update(k):
                self._critic_update(real[k], position + k)
                return k + 1
            tf.while_loop(lambda k: k < last, update, [tf.constant(0, tf.int64)], parallel_iterations=1)
        position += last
        for k in range(self.settings.num_G_iters):
            with tf.GradientTape() as tape:
                fake = self.generator(self._latent(position, k), training=True)
                if k == 0:      # the images of the last update of the critic are those that the generator learns from
                    with tape.stop_recording():
                        critic_loss = self._update_critics(real[-1], fake, position)
                scores = [critic(pair, training=True) for critic, pair in zip(self.critics, self._pairs(fake))]
                generator_loss = _mean(self.algorithm.generator_loss(score) for score in scores)
                share = generator_loss / self.strategy.num_replicas_in_sync
            weights = self.generator.trainable_variables
            self.optimizers["generator"].apply(tape.gradient(share, weights), weights)
        for averaged, current in zip(self.average.weights, self.generator.weights):
            averaged.assign(decay * averaged + (1 - decay) * current)
        return critic_loss, generator_loss

    def _critic_update(self, real, position):
        self._update_critics(real, self.generator(self._latent(position), training=True), position)

    def _update_critics(self, real, fake, position):
        real = self._augmented(real, position)
        alpha = self._random(tf.random.stateless_uniform, _INTERPOLATION, position,
                             (len(self.critics), self.settings.batch_size, 1, 1, 1), batch_axis=1)
        with tf.GradientTape() as tape:
            loss = _mean(self.algorithm.critic_loss(critic, real[k], pair, alpha[k], input_gradient)
                         for k, (critic, pair) in enumerate(zip(self._scoring, self._pairs(fake))))
            share = loss / self.strategy.num_replicas_in_sync
        weights = self._critic_weights
        self.optimizers["critic"].apply(tape.gradient(share, weights), weights)
        self.algorithm.constrain(weights)
        return loss

    def _pairs(self, images):
        """The generator's cells as the critics see them: one (red, greens) for each tower."""
        greens = self.spec.channels - 1
        if len(self.critics) == 1:
            return [images]
        return [tf.concat([images[..., :1], images[..., 1 + k * greens:1 + (k + 1) * greens]], axis=-1)
                for k in range(len(self.critics))]

    def _augmented(self, real, position):
        """uint8 (towers, batch, height, width, channels) -> this device's part in [-1, 1], at random mirrored."""
        flips = self._random(tf.random.stateless_uniform, _FLIPS, position,
                             (2, len(self.critics), self.settings.batch_size), batch_axis=2) < 0.5
        real = self._own_part(real, axis=1)
        shape = tf.shape(real)
        flat = tf.reshape(real, tf.concat([[-1], shape[2:]], axis=0))
        for k, side in enumerate((self.spec.height, self.spec.width)):
            forward = tf.range(side)
            order = tf.where(tf.reshape(flips[k], (-1, 1)), forward[::-1], forward)
            flat = tf.gather(flat, order, axis=1 + k, batch_dims=1)
        return tf.reshape(tf.cast(flat, tf.float32) / 127.5 - 1.0, shape)

    def _latent(self, position, extra=0):
        return self._random(tf.random.stateless_normal, _LATENT + 3 * extra, position,
                            (self.settings.batch_size, self.spec.nz), batch_axis=0)

    def _random(self, distribution, purpose, position, shape, batch_axis):
        """This device's part of numbers that are a function of (seed, purpose, position) alone."""
        seed = tf.stack([tf.constant(self.settings.seed, tf.int64) + (purpose << 32), tf.cast(position, tf.int64)])
        return self._own_part(distribution(shape, seed), batch_axis)

    def _own_part(self, values, axis):
        """The part of a whole batch that this device works on."""
        replicas = self.strategy.num_replicas_in_sync
        if replicas == 1:
            return values
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.gather(tf.split(values, replicas, axis=axis), replica)

    def grid_latents(self, groups, group_size):
        """z (groups * group_size, nz), the same in every call; those of a group share the half that belongs to red."""
        count = groups * group_size
        seed = np.array([self.settings.seed, _GRID_POSITION])
        z = tf.random.stateless_normal((count, self.spec.nz), seed).numpy().reshape(groups, group_size, -1)
        z[:, :, :self.spec.nz // 2] = z[:, :1, :self.spec.nz // 2]
        return z.reshape(count, -1)


def input_gradient(critic, images):
    """Gradient of the scores with respect to the images, of their shape (batch, height, width, channels)."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        scores = critic(images, training=True)
    return tape.gradient(scores, images)


def latent_gradient(generator):
    """A compiled function of z (batch, nz) and images (batch, height, width, channels) in [-1, 1], arrays of numpy.

    It returns errors (batch,), the sum over all numbers of an image of the squared difference to what the generator
    draws of its z, and their gradient (batch, nz).
    """
    @tf.function(autograph=False, input_signature=(tf.TensorSpec((None, generator.input_shape[1])),
                                                   tf.TensorSpec((None, *generator.output_shape[1:]))))
    def errors_and_gradient(z, images):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(z)
            errors = tf.reduce_sum(tf.square(generator(z, training=False) - images), axis=(1, 2, 3))
        return errors, tape.gradient(errors, z)

    return lambda z, images: tuple(result.numpy() for result in errors_and_gradient(z, images))


def without_second_derivative(critic):
    """The same critic, of the same weights, with leaky ReLUs that have no second derivative rather than one of zeros.

    Where a loss holds the gradient of the scores, TensorFlow carries such zeros back through the whole network: 12
    passes for an update with gradient penalty where 10 will do.
    """
    def clone(layer):
        if not isinstance(layer, keras.layers.LeakyReLU):
            return layer
        return keras.layers.Activation(lambda features: _leaky_relu(features, layer.negative_slope),
                                       dtype=layer.dtype_policy, name=layer.name)

    return keras.models.clone_model(critic, clone_function=clone)


def _leaky_relu(features, slope):
    @tf.custom_gradient
    def leaky_relu(features):
        return tf.nn.leaky_relu(features, slope), lambda change: scaled(change, features)

    @tf.custom_gradient
    def scaled(change, features):
        """`change` where the features are positive, `slope` times it elsewhere: linear in `change`."""
        def scale(values):
            return tf.raw_ops.LeakyReluGrad(gradients=values, features=features, alpha=slope)
        return scale(change), lambda second: (scale(second), None)

    return leaky_relu(features)


def drawing_generator(spec):
    """A generator in float32, whatever the precision of the training."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return models.build_generator(spec)
    finally:
        keras.config.set_dtype_policy(policy)


def draw(generator, z, batch_size=64):
    """Images of a generator, float32 (len(z), height, width, channels) in [-1, 1], for z (cells, nz)."""
    return generator.predict(z, batch_size=batch_size, verbose=0)


def device_name():
    """What the networks run on, in words: one line for the log."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"no GPU found: running on {len(os.sched_getaffinity(0))} CPU core(s)"
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    return "GPUs: " + ", ".join(names)


def _mean(losses):
    losses = list(losses)
    return sum(losses) / len(losses)


def _set_precision(precision):
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")


def _strategy(devices, batch_size):
    """How variables and gradients are shared; Keras's optimizers sum the devices' gradients."""
    if devices == 1:
        return tf.distribute.get_strategy()
    available = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if devices > len(available):
        raise InputError(f"-g {devices}: this machine has {len(available)} {available[0].device_type} device(s): "
                         f"ask for at most that many")
    if batch_size % devices:
        raise InputError(f"a batch of {batch_size} can't be divided by {devices} GPUs: make --batch_size a multiple")
    # The usual collectives can pair sums of different towers of the star, which devices reach in any order.
    names = [device.name for device in available[:devices]]
    return tf.distribute.MirroredStrategy(names, tf.distribute.ReductionToOneDevice())


def _normalise_over_all_devices(networks):
    """Batch normalisation sees the whole batch, so that several devices learn what one would."""
    for network in networks:
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
