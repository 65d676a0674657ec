"""One iteration of a run: its inputs, the losses, and the variables that it changes; see also backend_<name>.py."""

from typing import Any, NamedTuple

import numpy as np

from ..system import lazy
from ..system.errors import InputError
from ..system.lazy import keras
from ..system.pixels import to_signed
from ..system.workers import Team
from . import augment, backend_jax, backend_tensorflow, codes, models
from .gan import ALGORITHMS, information_loss, optimizer

backend = {"tensorflow": backend_tensorflow, "jax": backend_jax}[lazy.backend()]
device_name, input_gradient, latent_gradient = backend.device_name, backend.input_gradient, backend.latent_gradient

# What a stream of random numbers is for; each is a function of (seed, purpose, position) and so needs no state.
_LATENT, _INTERPOLATION, _MIRRORING, _MORE_LATENTS, _GRID, _AUGMENTATION, _MEASURING = range(7)


class CriticBatch(NamedTuple):
    """What one update of the critics is given; with one more axis in front, what several are."""

    real: Any       # uint8 (towers, batch, height, width, channels)
    mirrored: Any   # bool (towers, batch, 2): whether an image's rows, its columns are turned round
    latent: Any     # float32 (batch, nz), standard normal, and codes
    alpha: Any      # float32 (towers, batch, 1, 1, 1), uniform in [0, 1)
    changes: Any    # float32 (batch, 2, n), uniform in [0, 1): for augment.apply, of real and of generated images


class Engine:
    """The networks of a run, their optimizers, and how one iteration changes them.

    generator, average   Keras models: as trained, and the moving average of its weights
    critics              list of Keras models, one for each tower of the generator
    recognizer           Q, a Keras model that reads the codes of an image; None where there are no codes
    optimizers           {"generator": …, "critic": …}, of Keras
    position             batches of real images used so far
    batch_axes           CriticBatch of the axes that count a batch's images
    """

    batch_axes = CriticBatch(1, 1, 0, 1, 0)

    def __init__(self, spec, settings, devices=1, team=Team()):
        """Build networks (models.NetworkSpec) and optimizers (options.Training). Raises InputError if devices lack.

        The tasks of a `team` do this at the same time, and each iteration: everyone has its part of each batch.
        """
        self.spec, self.settings = spec, settings
        self._part = team.part(settings.batch_size)
        self.algorithm = ALGORITHMS[settings.algorithm](settings)
        self.position = 0
        keras.utils.set_random_seed(settings.seed)
        keras.config.set_dtype_policy("mixed_bfloat16" if settings.precision == "bfloat16" else "float32")
        if team.number == 1:
            _check_devices(devices, settings.batch_size)
        elif devices > 1:
            raise InputError(f"-g {devices} in each of {team.number} tasks: give every GPU a task of its own, as with "
                             f"srun --ntasks-per-node={devices} --gpus-per-task=1, and leave out -g")
        self._devices = backend.Devices(devices, settings.precision, team)
        with self._devices.scope():
            self.generator = models.build_generator(spec)
            self.critics = models.build_critics(spec)
            self.recognizer = models.build_recognizer(spec, self.critics[0]) if spec.codes else None
            self.average = float32_generator(spec)
            self.average.set_weights(self.generator.get_weights())
            self.optimizers = {"generator": self._optimizer(settings.lrG), "critic": self._optimizer(settings.lrD)}
            self.optimizers["generator"].build(self.generator.trainable_variables)
            self.optimizers["critic"].build(self._critic_weights + self._head_weights)
        self._shared, self._alone = devices * team.number > 1, {}
        self._scoring = [backend.twice_differentiable(critic) for critic in self.critics]
        if self.recognizer:
            self._critic_and_recognizer = backend.twice_differentiable(
                keras.Model(self.recognizer.input, [self.critics[0].output, self.recognizer.output]))
        own = len(range(settings.batch_size)[self._part])
        batch = np.zeros((1, len(self.critics), own, *self.critics[0].input_shape[1:]), np.uint8)
        self._compiled = self._devices.compile_iteration(self, *self.random_inputs(batch))

    @property
    def _critic_weights(self):
        return [variable for critic in self.critics for variable in critic.trainable_variables]

    @property
    def _head_weights(self):
        """The recognizer's own, which it does not share with the critic."""
        shared = {id(variable) for variable in self._critic_weights}
        own = self.recognizer.trainable_variables if self.recognizer else []
        return [variable for variable in own if id(variable) not in shared]

    @property
    def variables(self):
        """{part of the state: its Keras variables}, in an order that does not depend on the backend."""
        parts = {"generator": self.generator.weights, "average": self.average.weights}
        parts |= {f"critic{k}": critic.weights for k, critic in enumerate(self.critics)}
        if self.recognizer:
            shared = {id(variable) for variable in parts["critic0"]}
            parts["recognizer"] = [each for each in self.recognizer.weights if id(each) not in shared]
        return parts | {f"{name}_optimizer": optimizer.variables for name, optimizer in self.optimizers.items()}

    def _optimizer(self, learning_rate):
        return optimizer(self.settings.optimizer, learning_rate, self.settings.beta_1, self.settings.beta_2)

    def iterate(self, iteration, batches):
        """One iteration (counted from 0) on the next of `batches` (dataloader.Batches).

        Returns the losses of the critic, in its last update, and of the generator.
        """
        updates = self.algorithm.critic_updates(iteration)
        given, more = self.random_inputs(batches.take(self.position, updates, self._part))
        decay = min(self.settings.average, (1 + iteration) / (10 + iteration)) if self.settings.average else 0.0
        losses = self._compiled(given, more, np.float32(decay))
        self.position += updates
        return tuple(float(loss) for loss in losses)

    def random_inputs(self, real):
        """Random numbers for `real` (critic updates, towers, batch, …): an CriticBatch of as many, and more latents.

        These, (num_G_iters - 1, batch, nz), are for the generator's updates after its first. Those of the whole batch
        are drawn, so that they do not depend on the number of tasks.
        """
        positions, part = range(self.position, self.position + len(real)), self._part
        towers, batch, nz = real.shape[1], self.settings.batch_size, self.spec.nz
        mirrored = [self._random(_MIRRORING, k).random((towers, batch, 2))[:, part] < 0.5 * self.settings.flips
                    for k in positions]
        latent = [self._latents((batch, nz), _LATENT, k)[part] for k in positions]
        alpha = [self._random(_INTERPOLATION, k).random((towers, batch, 1, 1, 1), np.float32)[:, part]
                 for k in positions]
        numbers = augment.how_many(self.settings.augment)
        changes = [self._random(_AUGMENTATION, k).random((batch, 2, numbers), np.float32)[part] for k in positions]
        more = self._latents((self.settings.num_G_iters - 1, batch, nz), _MORE_LATENTS, positions[-1])[:, part]
        return CriticBatch(real, *map(np.array, (mirrored, latent, alpha, changes))), more

    def _latents(self, shape, *purpose):
        return codes.from_normal(self._random(*purpose).standard_normal(shape, np.float32), self.spec.codes)

    def _random(self, *purpose):
        return np.random.default_rng(np.random.SeedSequence(self.settings.seed, spawn_key=purpose))

    def critic_update(self, given):
        """One update of all critics on an CriticBatch; to be compiled."""
        self._update_critics(given, self.augment_fake(self.generator(given.latent, training=True), given))

    def last_update(self, given, more, decay):
        """The last update of the critics and those of the generator; to be compiled. Returns both losses.

        The images of the last update of the critics are those that the generator learns from first; `more` latents
        are for its further updates, which show them with the same augmentation. `decay` is that of the moving average.
        """
        weights = self.generator.trainable_variables

        def losses():
            fake = self.augment_fake(self.generator(given.latent, training=True), given)
            critic_loss = self._update_critics(given, keras.ops.stop_gradient(fake))
            return self._generator_loss(fake, given.latent), critic_loss
        generator_loss, critic_loss, gradients = self._devices.gradients(losses, weights)
        self.optimizers["generator"].apply(gradients, weights)
        for k in range(self.settings.num_G_iters - 1):
            generator_loss, _, gradients = self._devices.gradients(
                lambda: (self._generator_loss(self.augment_fake(self.generator(more[k], training=True), given), more[k]), ()),
                weights)
            self.optimizers["generator"].apply(gradients, weights)
        for averaged, current in zip(self.average.weights, self.generator.weights):
            averaged.assign(decay * averaged + (1 - decay) * current)
        return critic_loss, generator_loss

    def _update_critics(self, given, fake):
        real = self.augment_real(self.mirror_and_scale(given.real, given.mirrored), given.changes[:, 0])
        weights = self._critic_weights

        def losses():
            critics = [CriticWithRecognizer(self._critic_and_recognizer)] if self.recognizer else self._scoring
            loss = _mean(self.algorithm.critic_loss(critic, real[k], pair, given.alpha[k], input_gradient)
                         for k, (critic, pair) in enumerate(zip(critics, self.critic_inputs(fake))))
            return self.add_information_loss(loss, critics, fake, given.latent), ()
        loss, _, gradients = self._devices.gradients(losses, weights + self._head_weights)
        self.optimizers["critic"].apply(gradients, weights + self._head_weights)
        self.algorithm.constrain(weights)
        return loss

    def _generator_loss(self, fake, latent):
        critics = [CriticWithRecognizer(self._critic_and_recognizer)] if self.recognizer else self.critics
        loss = _mean(self.algorithm.generator_loss(critic(pair, training=True))
                     for critic, pair in zip(critics, self.critic_inputs(fake)))
        return self.add_information_loss(loss, critics, fake, latent)

    def add_information_loss(self, loss, critics, fake, latent):
        """The loss of either network in a game with codes: they win together what the recognizer reads of `fake`."""
        if not self.recognizer:
            return loss
        return loss + information_loss(critics[0].answers(fake), latent, self.spec.codes, self.settings)

    def critic_inputs(self, images):
        """The generator's cells as the critics see them: one (red, greens) for each tower."""
        if len(self.critics) == 1:
            return [images]
        return [keras.ops.concatenate([images[..., red:red + 1], images[..., greens[0]:greens[-1] + 1]], axis=-1)
                for red, *greens in self.spec.factor_channels]

    def mirror_and_scale(self, real, mirrored):
        """uint8 (towers, batch, height, width, channels) -> float32 in [-1, 1], mirrored (towers, batch, 2) or not."""
        return to_signed(keras.ops.cast(backend.mirror(real, mirrored), "float32"))

    def augment_real(self, real, numbers):
        """Real images (towers, batch, height, width, channels) as the policies change them: all towers' in one pass."""
        if not self.settings.augment:
            return real
        towers, _, height, width, channels = real.shape
        stacks = keras.ops.reshape(keras.ops.transpose(real, (1, 2, 3, 0, 4)), (-1, height, width, towers * channels))
        stacks = augment.apply(stacks, numbers, self.settings.augment)
        return keras.ops.transpose(keras.ops.reshape(stacks, (-1, height, width, towers, channels)), (3, 0, 1, 2, 4))

    def augment_fake(self, cells, given):
        """The generator's cells (batch, height, width, channels) as the critics are shown them in training."""
        return augment.apply(cells, given.changes[:, 1], self.settings.augment)

    def generate_pairs(self, number):
        """What the average draws of `number` latents that are the same in every call, as each critic sees it: a list of
        float32 (number, height, width, channels) in [-1, 1].
        """
        cells = self.generate(self._latents((number, self.spec.nz), _MEASURING))
        return [keras.ops.convert_to_numpy(pair) for pair in self.critic_inputs(cells)]

    def total(self, numbers):
        """The sums of some numbers over all tasks of the team."""
        return self._devices.total(numbers)

    def generate(self, z):
        """Images of the moving average, float32 (len(z), height, width, channels) in [-1, 1], for z (cells, nz)."""
        return generate(self.local_copy(self.average), z)

    def local_copy(self, network):
        """A network for predictions in this process: Keras would have one of several devices compute in all of them."""
        if not self._shared:
            return network
        if network not in self._alone:
            self._alone[network] = keras.models.clone_model(network)
        self._alone[network].set_weights(network.get_weights())
        return self._alone[network]

    def grid_latents(self, groups, group_size):
        """z (groups * group_size, nz), the same in every call; those of a group share the part that belongs to red."""
        z = self._random(_GRID).standard_normal((groups, group_size, self.spec.nz), np.float32)
        z[:, :, :self.spec.red_nz] = z[:, :1, :self.spec.red_nz]
        return codes.from_normal(z.reshape(groups * group_size, -1), self.spec.codes)


class CriticWithRecognizer:
    """A critic that notes what the recognizer answers for images that it scores: one pass over the trunk serves both.

    network   images -> [scores (batch,), answers (batch, numbers of all codes)]
    """

    def __init__(self, network):
        self.network, self.weights, self._noted = network, network.weights, []

    def __call__(self, images, training):
        scores, answers = self.network(images, training=training)
        self._noted.append((images, answers))
        return scores

    def answers(self, images):
        """The answers for `images`; those that were scored along with others, as WGAN-GP does, are looked at again."""
        for scored, answers in self._noted:
            if scored is images:
                return answers
        return self.network(images, training=True)[1]


def float32_generator(spec):
    """A generator in float32, whatever the precision of the training."""
    with models.float32():
        return models.build_generator(spec)


def generate(generator, z, batch_size=64):
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
