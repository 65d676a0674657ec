"""One iteration of a training: its inputs, its losses and the variables that it updates; see also system.backend_*."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..system import backend_jax, backend_tensorflow, lazy
from ..system.errors import InputError
from ..system.lazy import Network, Tensor, Variable, float32, keras
from ..system.pixels import to_signed
from ..system.workers import Team
from . import augment, codes, models
from .dataloader import Batches
from .gan import ALGORITHMS, information_loss, mean, optimizer, variety_loss
from .models import NetworkSpec
from .settings import TrainingSettings, average_decay, fade

backend = {"tensorflow": backend_tensorflow, "jax": backend_jax}[lazy.backend()]
device_name, input_gradient, latent_gradient = backend.device_name, backend.input_gradient, backend.latent_gradient

FEW = 8                             # images in a pass that is timed
CALIBRATING = 256                   # generated images whose moments a recognizer is normalised by
PAIR_EVERY = 8                      # cells of a batch, of which --variety lets two share their red

# Purposes of random numbers. They are a function of (seed, purpose, position), so a run has no random state to save.
_LATENT, _INTERPOLATION, _MIRRORING, _MORE_LATENTS, _GRID, _AUGMENTATION, _MEASURING = range(7)


class CriticBatch(NamedTuple):
    """The inputs of one update of all critics or, with one more leading axis, of several updates."""

    real: Any       # uint8 (critics, batch, height, width, channels)
    mirrored: Any   # bool (critics, batch, 2): whether to reverse an image's rows, and its columns
    latent: Any     # float32 (batch, nz), standard normal, and codes
    alpha: Any      # float32 (critics, batch, 1, 1, 1), uniform in [0, 1)
    changes: Any    # float32 (batch, 2, n), uniform in [0, 1): for augment.apply, of real and of generated images


class Engine:
    """The networks of a run, their optimizers, and one iteration of their training.

    generator, average   Keras models: the generator as trained, and the moving average of its weights
    critics              list of Keras models
    recognizer           Q, a Keras model that reads the codes of images; None without codes
    optimizers           {"generator": …, "critic": …}, Keras optimizers
    position             number of batches of real images used so far
    strength             Keras variable: probability of each augmentation; None if all images are augmented
    batch_axes           CriticBatch with the batch axis of each input
    """

    batch_axes = CriticBatch(1, 1, 0, 1, 0)

    def __init__(self, spec: NetworkSpec, settings: TrainingSettings, devices: int = 1,
                 team: Team | None = None) -> None:
        """Build and compile the networks and their optimizers. Raises InputError if there are too few devices.

        All tasks of a `team` do this together, as they do each iteration, with a part of each batch for every task.
        """
        backend.share_cores(spec.num_critics)
        team = team or Team()
        self.spec, self.settings = spec, settings
        parts = devices * team.number
        self._pair_every = PAIR_EVERY if settings.batch_size % (PAIR_EVERY * parts) == 0 else 2
        if settings.variety and settings.batch_size % (2 * parts):
            raise InputError(f"--variety compares pairs of cells, and {settings.batch_size} is no multiple of "
                             f"{2 * parts}: choose another --batch_size")
        self._part = team.part(settings.batch_size)
        self.position = 0
        keras.utils.set_random_seed(settings.seed)
        keras.config.set_dtype_policy("mixed_bfloat16" if settings.precision == "bfloat16" else "float32")
        if team.number == 1:
            _check_devices(devices, settings.batch_size)
        elif devices > 1:
            raise InputError(f"-g {devices} in each of {team.number} tasks: start one task for each GPU (srun "
                             f"--ntasks-per-node={devices} --gpus-per-task=1) and leave out -g")
        self._devices = backend.Devices(devices, settings.precision, team)
        with self._devices.scope():
            self.generator = models.build_generator(spec)
            self.critics = models.build_critics(spec)
            self.recognizer = models.build_recognizer(spec, self.critics[0]) if spec.codes else None
            self.average = float32_generator(spec)
            self.average.set_weights(self.generator.get_weights())
            self.optimizers = {"generator": self._optimizer(settings.lrG), "critic": self._optimizer(settings.lrD)}
            self.optimizers["generator"].build(self.generator.trainable_variables)
            self.optimizers["critic"].build(self.critic_weights + self.head_weights)
            self._fade = keras.Variable(1.0, trainable=False, name="fade")
            self.strength = keras.Variable(0.0, trainable=False, name="strength") if settings.augment_target else None
        self.algorithm = ALGORITHMS[settings.algorithm](settings, self._fade)
        self._distributed = devices > 1
        backend.accelerate([self.generator, *self.critics])
        self._local_copies: dict[Network, Network] = {}
        twice = [backend.twice_differentiable(critic) for critic in self.critics]
        self._critic_losses = self._devices.for_each(self._critic_loss, twice)
        self._scoring = self._devices.for_each(lambda critic, images: critic(images, training=True), self.critics)
        if self.recognizer:
            self._critic_and_recognizer = backend.twice_differentiable(
                keras.Model(self.recognizer.input, [self.critics[0].output, self.recognizer.output]))
        self._compiled: Callable[..., Any] | None = None

    def compile(self) -> Callable[..., Any]:
        """The compiled iteration. The first call compiles it, which takes seconds to minutes."""
        if self._compiled is None:
            own = len(range(self.settings.batch_size)[self._part])
            batch = np.zeros((1, len(self.critics), own, *self.critics[0].input_shape[1:]), np.uint8)
            self._compiled = self._devices.compile_iteration(self, *self.random_inputs(batch))
        return self._compiled

    def estimated_seconds(self) -> float:
        """Rough estimate of the seconds that an update of the critics takes, from passes of the networks.

        It holds for CPUs. An update passes each critic as often as the algorithm says, and the generator once; the
        generator's own update adds 3 passes of it and 3 of the critics.
        """
        generator = seconds_per_image(self.generator)
        critics = len(self.critics) * seconds_per_image(self.critics[0])
        of_generator = (3 * generator + 3 * critics) / self.settings.num_D_iters
        return (generator + self.algorithm.passes * critics + of_generator) * self.settings.batch_size

    @property
    def on_gpu(self) -> bool:
        """Whether the networks run on GPUs."""
        return backend.available()[0] == "GPU"

    def start_from(self, path: Path, generator: Network) -> None:
        """Begin with the weights of the `generator` in the file `path`. Raises InputError if its shape is another."""
        weights = generator.get_weights()
        if [each.shape for each in weights] != [tuple(variable.shape) for variable in self.generator.weights]:
            _, height, width, channels = generator.output_shape
            raise InputError(f"{path} generates images of {height}x{width} pixels with {channels} channels, by layers "
                             f"that do not fit these images: begin with another generator, or without --start_from")
        for network in (self.generator, self.average):
            network.set_weights(weights)

    @property
    def critic_weights(self) -> list[Variable]:
        """The trainable weights of all critics, each once."""
        return [variable for own in models.own_weights(self.critics) for variable in own if variable.trainable]

    @property
    def head_weights(self) -> list[Variable]:
        """The recognizer's own trainable weights, which it does not share with the critic; none without codes."""
        own = models.own_weights([self.critics[0], self.recognizer])[1] if self.recognizer else []
        return [variable for variable in own if variable.trainable]

    @property
    def variables(self) -> dict[str, list[Variable]]:
        """{part of the training state: its Keras variables}, in an order that does not depend on the backend."""
        parts = {"generator": self.generator.weights, "average": self.average.weights}
        parts |= {f"critic{k}": own for k, own in enumerate(models.own_weights(self.critics))}
        if self.recognizer:
            parts["recognizer"] = models.own_weights([self.critics[0], self.recognizer])[1]
        parts |= {"augmentation": [self.strength]} if self.strength is not None else {}
        return parts | {f"{name}_optimizer": optimizer.variables for name, optimizer in self.optimizers.items()}

    @property
    def state(self) -> list[Variable]:
        """All variables that an iteration reads or assigns to, in one list."""
        return [variable for part in self.variables.values() for variable in part] + [self._fade]

    def _optimizer(self, learning_rate):
        return optimizer(self.settings.optimizer, learning_rate, self.settings.beta_1, self.settings.beta_2)

    def iterate(self, iteration: int, batches: Batches) -> tuple[float, float]:
        """Run one iteration (counted from 0) on the next of `batches`.

        Returns the loss of the critics in their last update, and the loss of the generator.
        """
        compiled, updates = self.compile(), self.updates(iteration)
        inputs, more = self.random_inputs(batches.take(self.position, updates, self._part))
        self._set_fade(fade(self.settings, iteration))
        critic_loss, generator_loss = compiled(inputs, more, np.float32(average_decay(self.settings, iteration)))
        self.position += updates
        return float(critic_loss), float(generator_loss)

    def _set_fade(self, factor):
        """Multiply the learning rates by the `factor`, and let the algorithm know it."""
        if self.settings.lr_schedule != "constant":
            self._fade.assign(factor)
            self.optimizers["critic"].learning_rate = self.settings.lrD * factor
            self.optimizers["generator"].learning_rate = self.settings.lrG * factor

    def updates(self, iteration: int) -> int:
        """Number of updates of the critics in this iteration, counted from 0."""
        return self.algorithm.critic_updates(iteration)

    def random_inputs(self, real: np.ndarray) -> tuple[CriticBatch, np.ndarray]:
        """Add random numbers to `real` (updates, critics, batch, …): the CriticBatch of all updates, and more latents.

        The further latents (num_G_iters - 1, batch, nz) are for the generator's updates after its first. Numbers are
        always generated for the whole batch, so they do not depend on the number of tasks.
        """
        positions, part = range(self.position, self.position + len(real)), self._part
        critics, batch, nz = real.shape[1], self.settings.batch_size, self.spec.nz
        mirrored = [self._random(_MIRRORING, k).random((critics, batch, 2))[:, part] < 0.5 * self.settings.flips
                    for k in positions]
        latent = [self._training_latents((batch, nz), _LATENT, k)[part] for k in positions]
        alpha = [self._random(_INTERPOLATION, k).random((critics, batch, 1, 1, 1), np.float32)[:, part]
                 for k in positions]
        gates = len(self.settings.augment) if self.settings.augment_target else 0
        numbers = augment.how_many(self.settings.augment) + gates
        changes = [self._random(_AUGMENTATION, k).random((batch, 2, numbers), np.float32)[part] for k in positions]
        more = self._training_latents((self.settings.num_G_iters - 1, batch, nz), _MORE_LATENTS, positions[-1])[:, part]
        return CriticBatch(real, *map(np.array, (mirrored, latent, alpha, changes))), more

    def _latents(self, shape, *purpose):
        return codes.from_normal(self._random(*purpose).standard_normal(shape, np.float32), self.spec.codes)

    def _training_latents(self, shape, *purpose):
        """The latents (…, batch, nz) of an update; for --variety, some pairs share the red part."""
        z = self._latents(shape, *purpose)
        if self.settings.variety:
            cells, every = z.reshape(-1, self.spec.nz), self._pair_every
            cells[1::every, :self.spec.red_nz] = cells[::every, :self.spec.red_nz]
            return cells.reshape(shape)
        return z

    def _random(self, *purpose):
        return np.random.default_rng(np.random.SeedSequence(self.settings.seed, spawn_key=purpose))

    # ------------------------------------------------------------------------------------------ updates

    def critic_update(self, inputs: CriticBatch) -> None:
        """Update all critics once. To be compiled."""
        self._update_critics(inputs, self.augment_fake(self.generator(inputs.latent, training=True), inputs))

    def last_update(self, inputs: CriticBatch, more: Tensor, decay: Tensor) -> tuple[Tensor, Tensor]:
        """Update the critics for the last time in an iteration, then the generator. To be compiled.

        The generator's first update learns from the images of this last update of the critics; its further updates
        use the latents `more` and the same augmentation. `decay` is the moving average's. Returns both losses.
        """
        weights = self.generator.trainable_variables

        def losses():
            cells = self.generator(inputs.latent, training=True)
            fake = self.augment_fake(cells, inputs)
            critic_loss = self._update_critics(inputs, keras.ops.stop_gradient(fake))
            return self._generator_loss(cells, fake, inputs.latent, inputs), critic_loss
        generator_loss, critic_loss, gradients = self._devices.gradients(losses, weights, self.state)
        self.optimizers["generator"].apply(gradients, weights)
        for k in range(self.settings.num_G_iters - 1):
            generator_loss = self._update_generator(more[k], inputs)
        for averaged, current in zip(self.average.weights, self.generator.weights, strict=True):
            averaged.assign(decay * averaged + (1 - decay) * current)
        return critic_loss, generator_loss

    def _update_critics(self, inputs, fake):
        """Update all critics once against the images `fake`; returns their mean loss."""
        real, weights = self.real_images(inputs), self.critic_weights

        def losses():
            critic = self.critic_with_recognizer()
            critic_losses = [functools.partial(self._critic_loss, critic)] if critic else self._critic_losses
            loss = mean(critic_loss(real[k], pair, inputs.alpha[k]) for k, (critic_loss, pair) in enumerate(
                zip(critic_losses, self.critic_inputs(fake), strict=True)))
            return self.add_information_loss(loss, critic, fake, inputs.latent), ()
        loss, _, gradients = self._devices.gradients(losses, weights + self.head_weights, self.state)
        self.optimizers["critic"].apply(gradients, weights + self.head_weights)
        self.algorithm.constrain(weights)
        return loss

    def _update_generator(self, latent, inputs):
        """Update the generator once on new latents, without an update of the critics; returns its loss."""
        weights = self.generator.trainable_variables

        def losses():
            cells = self.generator(latent, training=True)
            return self._generator_loss(cells, self.augment_fake(cells, inputs), latent, inputs), ()
        loss, _, gradients = self._devices.gradients(losses, weights, self.state)
        self.optimizers["generator"].apply(gradients, weights)
        return loss

    def _generator_loss(self, cells, fake, latent, inputs):
        """The generator's loss for `cells` from `latent`; `fake` are the same cells, augmented."""
        critic = self.critic_with_recognizer()
        scoring = [functools.partial(critic, training=True)] if critic else self._scoring
        of_real = [None] * len(scoring)
        if self.algorithm.paired:
            real = self.real_images(inputs)
            of_real = [score(real[k]) for k, score in enumerate(scoring)]
        loss = mean(self.algorithm.generator_loss(score(pair), scores)
                    for score, pair, scores in zip(scoring, self.critic_inputs(fake), of_real, strict=True))
        if self.settings.variety:
            greens = [green for _, *own in self.spec.factor_channels for green in own]
            loss += self.settings.variety * variety_loss(
                cells, greens, self.settings.green_variance, self._pair_every)
        return self.add_information_loss(loss, critic, fake, latent)

    def _critic_loss(self, critic, real, fake, alpha):
        return self.algorithm.critic_loss(critic, real, fake, alpha, input_gradient)

    def critic_with_recognizer(self) -> "CriticWithRecognizer | None":
        """The critic of an update with codes, or None without codes."""
        return CriticWithRecognizer(self._critic_and_recognizer) if self.recognizer else None

    def add_information_loss(self, loss: Tensor, critic: "CriticWithRecognizer | None", fake: Tensor,
                             latent: Tensor) -> Tensor:
        """Add InfoGAN's term to the loss of either network: both maximise the mutual-information bound.

        critic   of this update, None without codes
        """
        if critic is None:
            return loss
        return loss + information_loss(critic.answers(fake), latent, self.spec.codes, self.settings)

    # ------------------------------------------------------------------------------------------ images

    def critic_inputs(self, images: Tensor) -> list[Tensor]:
        """The generator's cells (batch, height, width, channels) as each critic sees them: red and its own greens."""
        if len(self.critics) == 1:
            return [images]
        # On CPUs, transposing whole channels is several times as fast as joining the channels of each pixel.
        channels = keras.ops.unstack(keras.ops.transpose(images, (3, 0, 1, 2)))
        return [keras.ops.transpose(keras.ops.stack([channels[k] for k in own]), (1, 2, 3, 0))
                for own in self.spec.factor_channels]

    def real_images(self, inputs: CriticBatch) -> Tensor:
        """The real images (critics, batch, height, width, channels) in [-1, 1], mirrored and augmented."""
        return self.augment_real(self.mirror_and_scale(inputs.real, inputs.mirrored), inputs.changes[:, 0])

    def mirror_and_scale(self, real: Tensor, mirrored: Tensor) -> Tensor:
        """uint8 (critics, batch, height, width, channels) -> float32 in [-1, 1], mirrored by (critics, batch, 2)."""
        return to_signed(keras.ops.cast(backend.mirror(real, mirrored), "float32"))

    def augment_real(self, real: Tensor, numbers: Tensor) -> Tensor:
        """Augment real images (critics, batch, height, width, channels), for all critics in one pass.

        numbers   (batch, n), uniform in [0, 1)
        """
        if not self.settings.augment:
            return real
        critics, _, height, width, channels = real.shape
        stacks = keras.ops.reshape(keras.ops.transpose(real, (1, 2, 3, 0, 4)), (-1, height, width, critics * channels))
        stacks = augment.apply(stacks, numbers, self.settings.augment, self.strength)
        return keras.ops.transpose(keras.ops.reshape(stacks, (-1, height, width, critics, channels)), (3, 0, 1, 2, 4))

    def augment_fake(self, cells: Tensor, inputs: CriticBatch) -> Tensor:
        """Augment the generator's cells (batch, height, width, channels)."""
        return augment.apply(cells, inputs.changes[:, 1], self.settings.augment, self.strength)

    def generate_pairs(self, number: int) -> list[np.ndarray]:
        """Cells of the moving average as each critic sees them, from `number` latents that never change.

        Returns for each critic float32 (number, height, width, channels) in [-1, 1].
        """
        cells = self.generate(self._latents((number, self.spec.nz), _MEASURING))
        return [keras.ops.convert_to_numpy(pair) for pair in self.critic_inputs(cells)]

    def calibrated_recognizer(self) -> Network:
        """The recognizer, ready to read images: see codes.calibrated."""
        images = self.generate(self._latents((CALIBRATING, self.spec.nz), _MEASURING))
        return codes.calibrated(self.recognizer, images)

    def total(self, numbers: Sequence[float]) -> Sequence[float]:
        """Sum each of the `numbers` over all tasks of the team."""
        return self._devices.total(numbers)

    def generate(self, z: np.ndarray) -> np.ndarray:
        """Cells of the moving average, float32 (cells, height, width, channels) in [-1, 1], for z (cells, nz)."""
        return generate(self.local_copy(self.average), z)

    def local_copy(self, network: Network) -> Network:
        """The network itself or, if several devices share it, a copy with which this process can predict alone.

        Otherwise Keras would run each prediction on all devices.
        """
        if not self._distributed:
            return network
        if network not in self._local_copies:
            self._local_copies[network] = keras.models.clone_model(network)
        self._local_copies[network].set_weights(network.get_weights())
        return self._local_copies[network]

    def grid_latents(self, groups: int, group_size: int) -> np.ndarray:
        """z (groups * group_size, nz), the same in every call. The cells of a group share the red part of z."""
        z = self._random(_GRID).standard_normal((groups, group_size, self.spec.nz), np.float32)
        return codes.from_normal(self.spec.share_red(z).reshape(groups * group_size, -1), self.spec.codes)


class CriticWithRecognizer:
    """A critic that records the recognizer's answers for the images that it scores: one pass through their trunk.

    network   images -> [scores (batch,), answers (batch, total size of the codes)]
    """

    def __init__(self, network: Network) -> None:
        self.network, self.weights = network, network.weights
        self._recorded: list[tuple[Tensor, Tensor]] = []

    def __call__(self, images: Tensor, training: bool) -> Tensor:
        """Scores (batch,) of the images."""
        scores, answers = self.network(images, training=training)
        self._recorded.append((images, answers))
        return scores

    def answers(self, images: Tensor) -> Tensor:
        """Answers for `images`: the recorded ones if they were scored as this very tensor, else from a further pass.

        WGAN-GP scores them together with others, as one tensor.
        """
        for scored, answers in self._recorded:
            if scored is images:
                return answers
        return self.network(images, training=True)[1]


def float32_generator(spec: NetworkSpec) -> Network:
    """A new generator in float32, whatever the precision of the training."""
    with float32():
        return models.build_generator(spec)


def generate(generator: Network, z: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Images of a generator, float32 (cells, height, width, channels) in [-1, 1], for z (cells, nz)."""
    starts = range(0, len(z), batch_size)       # predict() would spend 100 ms per call on its own loop
    return np.concatenate([generator.predict_on_batch(z[start:start + batch_size]) for start in starts])


def seconds_per_image(network: Network) -> float:
    """Seconds that a pass of a network takes for one more image: without what it takes for any number of them."""
    def shortest(images):
        inputs, times = np.zeros((images, *network.input_shape[1:]), np.float32), []
        for _ in range(3):
            start = time.perf_counter()
            keras.ops.convert_to_numpy(network(inputs, training=False))
            times.append(time.perf_counter() - start)
        return min(times)

    return max(0.0, shortest(FEW) - shortest(1)) / (FEW - 1)


def _check_devices(devices, batch_size):
    available = backend.available()
    if devices > len(available):
        raise InputError(f"-g {devices}: this machine has {len(available)} {available[0]} device(s): "
                         f"ask for at most that many")
    if batch_size % devices:
        raise InputError(f"a batch of {batch_size} can't be divided by {devices} GPUs: make --batch_size a multiple")
