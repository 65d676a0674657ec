"""One iteration of a run: what it is given, what it changes. TensorFlow's or JAX's part is in engine_<backend>.py."""

from typing import Any, NamedTuple

import numpy as np

from . import augment, engine_jax, engine_tensorflow, lazy, models
from .errors import InputError
from .gan import ALGORITHMS
from .lazy import keras

backend = {"tensorflow": engine_tensorflow, "jax": engine_jax}[lazy.backend()]
device_name, input_gradient, latent_gradient = backend.device_name, backend.input_gradient, backend.latent_gradient

# What a stream of random numbers is for; each is a function of (seed, purpose, position) and so needs no state.
_LATENT, _INTERPOLATION, _MIRRORING, _MORE_LATENTS, _GRID, _AUGMENTATION, _MEASURING = range(7)


class Update(NamedTuple):
    """What one update of the critics is given; with one more axis in front, what several are."""

    real: Any       # uint8 (towers, batch, height, width, channels)
    mirrored: Any   # bool (towers, batch, 2): whether an image's rows, its columns are turned round
    latent: Any     # float32 (batch, nz), standard normal
    alpha: Any      # float32 (towers, batch, 1, 1, 1), uniform in [0, 1)
    changes: Any    # float32 (batch, 2, n), uniform in [0, 1): for augment.apply, of real and of generated images


class Engine:
    """The networks of a run, their optimizers, and how one iteration changes them.

    generator, average   Keras models: as trained, and the moving average of its weights
    critics              list of Keras models, one for each tower of the generator
    optimizers           {"generator": …, "critic": …}, of Keras
    position             batches of real images used so far
    batch_axes           Update of the axes that count a batch's images
    """

    batch_axes = Update(1, 1, 0, 1, 0)

    def __init__(self, spec, settings, devices=1):
        """Build networks (models.NetworkSpec) and optimizers (options.Training). Raises InputError if devices lack."""
        self.spec, self.settings = spec, settings
        self.algorithm = ALGORITHMS[settings.algorithm](settings)
        self.position = 0
        keras.utils.set_random_seed(settings.seed)
        keras.config.set_dtype_policy("mixed_bfloat16" if settings.precision == "bfloat16" else "float32")
        _check_devices(devices, settings.batch_size)
        self._devices = backend.Devices(devices, settings.precision)
        with self._devices.scope():
            self.generator = models.build_generator(spec)
            self.critics = models.build_critics(spec)
            self.average = drawing_generator(spec)
            self.average.set_weights(self.generator.get_weights())
            self.optimizers = {"generator": self._optimizer(settings.lrG), "critic": self._optimizer(settings.lrD)}
            self.optimizers["generator"].build(self.generator.trainable_variables)
            self.optimizers["critic"].build(self._critic_weights)
        self._scoring = [backend.twice_differentiable(critic) for critic in self.critics]
        batch = np.zeros((1, len(self.critics), settings.batch_size, spec.height, spec.width, spec.channels), np.uint8)
        self._compiled = self._devices.compile(self, *self._given(batch))

    @property
    def _critic_weights(self):
        return [variable for critic in self.critics for variable in critic.trainable_variables]

    @property
    def variables(self):
        """{part of the state: its Keras variables}, in an order that does not depend on the backend."""
        parts = {"generator": self.generator.weights, "average": self.average.weights}
        parts |= {f"critic{k}": critic.weights for k, critic in enumerate(self.critics)}
        return parts | {f"{name}_optimizer": optimizer.variables for name, optimizer in self.optimizers.items()}

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
        given, more = self._given(batches.take(self.position, updates))
        decay = min(self.settings.average, (1 + iteration) / (10 + iteration)) if self.settings.average else 0.0
        losses = self._compiled(given, more, np.float32(decay))
        self.position += updates
        return tuple(float(loss) for loss in losses)

    def _given(self, real):
        """Random numbers for `real` (critic updates, towers, batch, …): an Update of as many, and more latents.

        These, (num_G_iters - 1, batch, nz), are for the generator's updates after its first.
        """
        positions = range(self.position, self.position + len(real))
        (towers, batch), nz = real.shape[1:3], self.spec.nz
        mirrored = [self._random(_MIRRORING, k).random((towers, batch, 2)) < 0.5 for k in positions]
        latent = [self._random(_LATENT, k).standard_normal((batch, nz), np.float32) for k in positions]
        alpha = [self._random(_INTERPOLATION, k).random((towers, batch, 1, 1, 1), np.float32) for k in positions]
        numbers = augment.how_many(self.settings.augment)
        changes = [self._random(_AUGMENTATION, k).random((batch, 2, numbers), np.float32) for k in positions]
        more = self._random(_MORE_LATENTS, positions[-1]).standard_normal(
            (self.settings.num_G_iters - 1, batch, nz), np.float32)
        return Update(real, *map(np.array, (mirrored, latent, alpha, changes))), more

    def _random(self, *purpose):
        return np.random.default_rng(np.random.SeedSequence(self.settings.seed, spawn_key=purpose))

    def critic_update(self, given):
        """One update of all critics on an Update; to be compiled."""
        self._update_critics(given, self._shown(self.generator(given.latent, training=True), given))

    def last_update(self, given, more, decay):
        """The last update of the critics and those of the generator; to be compiled. Returns both losses.

        The images of the last update of the critics are those that the generator learns from first; `more` latents
        are for its further updates, which show them with the same augmentation. `decay` is that of the moving average.
        """
        weights = self.generator.trainable_variables

        def losses():
            fake = self._shown(self.generator(given.latent, training=True), given)
            critic_loss = self._update_critics(given, keras.ops.stop_gradient(fake))
            return self._generator_loss(fake), critic_loss
        generator_loss, critic_loss, gradients = self._devices.gradients(losses, weights)
        self.optimizers["generator"].apply(gradients, weights)
        for k in range(self.settings.num_G_iters - 1):
            generator_loss, _, gradients = self._devices.gradients(
                lambda: (self._generator_loss(self._shown(self.generator(more[k], training=True), given)), ()), weights)
            self.optimizers["generator"].apply(gradients, weights)
        for averaged, current in zip(self.average.weights, self.generator.weights):
            averaged.assign(decay * averaged + (1 - decay) * current)
        return critic_loss, generator_loss

    def _update_critics(self, given, fake):
        real = self._changed(self._augmented(given.real, given.mirrored), given.changes[:, 0])
        weights = self._critic_weights
        loss, _, gradients = self._devices.gradients(
            lambda: (_mean(self.algorithm.critic_loss(critic, real[k], pair, given.alpha[k], input_gradient)
                           for k, (critic, pair) in enumerate(zip(self._scoring, self._pairs(fake)))), ()), weights)
        self.optimizers["critic"].apply(gradients, weights)
        self.algorithm.constrain(weights)
        return loss

    def _generator_loss(self, fake):
        return _mean(self.algorithm.generator_loss(critic(pair, training=True))
                     for critic, pair in zip(self.critics, self._pairs(fake)))

    def _pairs(self, images):
        """The generator's cells as the critics see them: one (red, greens) for each tower."""
        greens = self.spec.channels - 1
        if len(self.critics) == 1:
            return [images]
        return [keras.ops.concatenate([images[..., :1], images[..., 1 + k * greens:1 + (k + 1) * greens]], axis=-1)
                for k in range(len(self.critics))]

    def _augmented(self, real, mirrored):
        """uint8 (towers, batch, height, width, channels) -> float32 in [-1, 1], mirrored (towers, batch, 2) or not."""
        return keras.ops.cast(backend.mirror(real, mirrored), "float32") / 127.5 - 1.0

    def _changed(self, real, numbers):
        """Real images (towers, batch, height, width, channels) as the policies change them: all towers' in one pass."""
        if not self.settings.augment:
            return real
        towers, _, height, width, channels = real.shape
        stacks = keras.ops.reshape(keras.ops.transpose(real, (1, 2, 3, 0, 4)), (-1, height, width, towers * channels))
        stacks = augment.apply(stacks, numbers, self.settings.augment)
        return keras.ops.transpose(keras.ops.reshape(stacks, (-1, height, width, towers, channels)), (3, 0, 1, 2, 4))

    def _shown(self, cells, given):
        """The generator's cells (batch, height, width, channels) as the critics are shown them in training."""
        return augment.apply(cells, given.changes[:, 1], self.settings.augment)

    def draw_pairs(self, number):
        """What the average draws of `number` latents that are the same in every call, as each critic sees it: a list of
        float32 (number, height, width, channels) in [-1, 1].
        """
        cells = draw(self.average, self._random(_MEASURING).standard_normal((number, self.spec.nz), np.float32))
        return [keras.ops.convert_to_numpy(pair) for pair in self._pairs(cells)]

    def grid_latents(self, groups, group_size):
        """z (groups * group_size, nz), the same in every call; those of a group share the half that belongs to red."""
        z = self._random(_GRID).standard_normal((groups, group_size, self.spec.nz), np.float32)
        z[:, :, :self.spec.nz // 2] = z[:, :1, :self.spec.nz // 2]
        return z.reshape(groups * group_size, -1)


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
    starts = range(0, len(z), batch_size)       # predict() would take 100 ms a call for its own loop
    return np.concatenate([generator.predict_on_batch(z[start:start + batch_size]) for start in starts])


def _mean(losses):
    losses = list(losses)
    return sum(losses) / len(losses)


def _check_devices(devices, batch_size):
    available = backend.available()
    if devices > len(available):
        raise InputError(f"-g {devices}: this machine has {len(available)} {available[0]} device(s): "
                         f"ask for at most that many")
    if batch_size % devices:
        raise InputError(f"a batch of {batch_size} can't be divided by {devices} GPUs: make --batch_size a multiple")
