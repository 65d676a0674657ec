"""The algorithms: what the critic and the generator minimise, and with which settings.

Scores are tensors (batch,), higher for images that look more real. Losses are scalars. To add an algorithm, write a
class and register it in ALGORITHMS; devices, files and options are handled elsewhere.
"""

import abc
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..system.cpu_operations import adam
from ..system.lazy import Tensor, Variable, keras
from .codes import Code

BODY = 0.1                              # brightness, mean over the channels, above which a pixel belongs to the cell

Critic = Callable[..., Tensor]          # critic(images, training=…) -> scores


@dataclasses.dataclass(frozen=True)
class Defaults:
    """Settings of an algorithm, as in its paper and in the code of Osokin et al. (2017)."""

    optimizer: str              # "adam" or "rmsprop"
    lr_d: float                 # learning rate of the critic
    beta_1: float               # decay rate of Adam's mean gradient
    beta_2: float               # decay rate of Adam's mean squared gradient
    critic_updates: int         # updates of the critic for each update of the generator
    critic_batch_norm: bool = True


def optimizer(name: str, learning_rate: float, beta_1: float, beta_2: float) -> Any:
    """The Keras optimizer "adam", with these decay rates, or "rmsprop", with the constants of PyTorch.

    The published models were trained with them; Keras's RMSprop adds epsilon under the square root.
    """
    if name == "adam":
        return adam(learning_rate, beta_1, beta_2)
    return keras.optimizers.RMSprop(learning_rate, rho=0.99, epsilon=1e-16)


class Algorithm(abc.ABC):
    """Base class of all algorithms.

    settings   settings.TrainingSettings of the run, or the c2st.Critic of a two-sample test
    fade       falls from 1 to 0 in the course of a run with a schedule (settings.fade): a number, or a Keras variable
    """

    critic_name = "critic"
    defaults: Defaults
    passes = 6              # of the critic in one of its updates, about: forward and twice backward for real and fake
    paired = False          # whether the generator's loss compares its images with real ones

    def __init__(self, settings: Any, fade: Any = 1.0) -> None:
        self.settings, self.fade = settings, fade

    @abc.abstractmethod
    def critic_loss(self, critic: Critic, real: Tensor, fake: Tensor, alpha: Tensor,
                    input_gradient: Callable[[Critic, Tensor], Tensor]) -> Tensor:
        """The scalar that a critic minimises.

        critic           images (batch, height, width, channels) -> scores (batch,)
        real, fake       images in [-1, 1]
        alpha            (batch, 1, 1, 1), uniform in [0, 1]
        input_gradient   (critic, images) -> gradient of the scores with respect to the images, of the same shape
        """

    @abc.abstractmethod
    def generator_loss(self, fake_scores: Tensor, real_scores: Tensor | None = None) -> Tensor:
        """The scalar that the generator minimises, given the critic's scores (batch,) of its images.

        real_scores   of as many real images, for algorithms that are `paired`
        """

    def critic_updates(self, iteration: int) -> int:
        """Number of updates of the critic in this iteration (counted from 0)."""
        return self.settings.num_D_iters

    def constrain(self, weights: Sequence[Variable]) -> None:       # noqa: B027 (most algorithms constrain nothing)
        """Constrain the critic's trainable variables; called after each of its updates."""


class GAN(Algorithm):
    """The original game in its non-saturating form (Goodfellow et al. 2014, eq. 1 and the end of sec. 3).

    The critic is a discriminator: D = sigmoid(score) is its probability that an image is real.
    """

    critic_name = "discriminator"
    defaults = Defaults(optimizer="adam", lr_d=2e-4, beta_1=0.5, beta_2=0.999, critic_updates=1)

    def critic_loss(self, critic, real, fake, alpha, input_gradient):
        """-E log D(x) - E log(1 - D(G(z)))."""
        log_d_real = -keras.ops.softplus(-critic(real, training=True))
        log_not_d_fake = -keras.ops.softplus(critic(fake, training=True))
        return -keras.ops.mean(log_d_real) - keras.ops.mean(log_not_d_fake)

    def generator_loss(self, fake_scores, real_scores=None):
        """-E log D(G(z))."""
        return keras.ops.mean(keras.ops.softplus(-fake_scores))


class WGAN(Algorithm):
    """Wasserstein GAN (Arjovsky et al. 2017, algorithm 1): -critic_loss approximates the earth mover's distance.

    The critic f is kept Lipschitz by clipping its weights to [-c, c].
    """

    defaults = Defaults(optimizer="rmsprop", lr_d=5e-5, beta_1=0.0, beta_2=0.9, critic_updates=5)

    def critic_loss(self, critic, real, fake, alpha, input_gradient):
        """E f(G(z)) - E f(x)."""
        return keras.ops.mean(critic(fake, training=True)) - keras.ops.mean(critic(real, training=True))

    def generator_loss(self, fake_scores, real_scores=None):
        """-E f(G(z))."""
        return -keras.ops.mean(fake_scores)

    def critic_updates(self, iteration):
        """By default 100 in each of the first 25 iterations and in every 500th, as in the authors' code.

        f must be good first. A given number of updates holds for all iterations.
        """
        many = self.settings.critic_bursts and (iteration < 25 or iteration % 500 == 0)
        return 100 if many else self.settings.num_D_iters

    def constrain(self, weights):
        """Clip the weights to [-c, c]."""
        clip = self.settings.wgan_clip_value
        for variable in weights:
            variable.assign(keras.ops.clip(variable, -clip, clip))


class WGANGP(Algorithm):
    """Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, eq. 3), which keeps f Lipschitz by its slope."""

    passes = 10             # the penalty's gradient is differentiated once more

    defaults = Defaults(optimizer="adam", lr_d=1e-4, beta_1=0.0, beta_2=0.9, critic_updates=5, critic_batch_norm=False)

    def critic_loss(self, critic, real, fake, alpha, input_gradient):
        """E f(G(z)) - E f(x) + lambda E (|grad f(x^)| - 1)^2 at x^ = alpha x + (1 - alpha) G(z)."""
        scores = critic(keras.ops.concatenate([real, fake]), training=True)
        real_scores, fake_scores = keras.ops.split(scores, 2)
        gradient = input_gradient(critic, alpha * real + (1 - alpha) * fake)
        # The square root has no derivative at a gradient of exactly 0.
        slope = keras.ops.sqrt(keras.ops.sum(keras.ops.square(gradient), axis=(1, 2, 3)) + 1e-12)
        penalty = keras.ops.mean(keras.ops.square(slope - 1))
        return keras.ops.mean(fake_scores) - keras.ops.mean(real_scores) + self.settings.wgangp_lambda * penalty

    def generator_loss(self, fake_scores, real_scores=None):
        """-E f(G(z))."""
        return -keras.ops.mean(fake_scores)


class Hinge(Algorithm):
    """The hinge loss (Lim & Ye 2017; Miyato et al. 2018, eq. 16 and 17) ignores images beyond a margin of 1.

    Optimizer and updates are those of Miyato et al. Their critic has spectral normalisation; this one has batch
    normalisation.
    """

    defaults = Defaults(optimizer="adam", lr_d=2e-4, beta_1=0.0, beta_2=0.9, critic_updates=5)

    def critic_loss(self, critic, real, fake, alpha, input_gradient):
        """E max(0, 1 - f(x)) + E max(0, 1 + f(G(z)))."""
        return (keras.ops.mean(keras.ops.relu(1 - critic(real, training=True)))
                + keras.ops.mean(keras.ops.relu(1 + critic(fake, training=True))))

    def generator_loss(self, fake_scores, real_scores=None):
        """-E f(G(z))."""
        return -keras.ops.mean(fake_scores)


class R1(GAN):
    """The non-saturating game with R1 (Mescheder et al. 2018, eq. 9), which flattens the discriminator at real images.

    Adam as in their largest experiment. No batch normalisation, because the penalty applies to each image by itself.
    """

    passes = 10

    defaults = Defaults(optimizer="adam", lr_d=1e-4, beta_1=0.0, beta_2=0.99, critic_updates=1, critic_batch_norm=False)

    def critic_loss(self, critic, real, fake, alpha, input_gradient):
        """-E log D(x) - E log(1 - D(G(z))) + gamma / 2 E |grad D(x)|^2, where grad D is the gradient of the score."""
        penalty = self.gamma(real) / 2 * _squared_slope(input_gradient(critic, real))
        return super().critic_loss(critic, real, fake, alpha, input_gradient) + penalty

    def gamma(self, images: Tensor) -> Any:
        """The penalty's weight for a batch of images: as given, on its way to its last value, or by default_gamma."""
        height, width = images.shape[1:3]
        first, last = self.settings.r1_gamma, self.settings.r1_gamma_last
        if first is None:
            first = default_gamma(height, width, self.settings.batch_size)
        return first if last is None else last + (first - last) * self.fade


class RpGAN(R1):
    """Relativistic pairing with R1 and R2: a real image should look more real than the generated one of its pair.

    Jolicoeur-Martineau (2018) compares the images of a pair; Huang et al. (2024, "The GAN is dead; long live the GAN!",
    eq. 2 to 4) penalise the critic's slope at real and at generated images, which makes the game converge. The scores
    have no zero, so the critic is no discriminator.
    """

    critic_name = "critic"
    paired = True

    def critic_loss(self, critic, real, fake, alpha, input_gradient):
        """E log(1 + exp(f(G(z)) - f(x))) + gamma / 2 (E |grad f(x)|^2 + E |grad f(G(z))|^2)."""
        images = keras.ops.concatenate([real, fake])
        real_scores, fake_scores = keras.ops.split(critic(images, training=True), 2)
        # A mean over all images is half the sum of both means.
        penalty = self.gamma(real) * _squared_slope(input_gradient(critic, images))
        return keras.ops.mean(keras.ops.softplus(fake_scores - real_scores)) + penalty

    def generator_loss(self, fake_scores, real_scores=None):
        """E log(1 + exp(f(x) - f(G(z))))."""
        return keras.ops.mean(keras.ops.softplus(real_scores - fake_scores))


def default_gamma(height: int, width: int, batch_size: int) -> float:
    """Weight of R1's penalty for images of this size: 0.0002 pixels / batch size (Karras et al. 2020, appendix C).

    The slope with respect to all pixels grows with their number; small batches need a smoother critic.
    """
    return 2e-4 * height * width / batch_size


def _squared_slope(gradient):
    """Mean over a batch of the squared norm of each image's gradient."""
    return keras.ops.mean(keras.ops.sum(keras.ops.square(gradient), axis=(1, 2, 3)))


def variety_loss(cells: Tensor, greens: Sequence[int], wanted: Sequence[float], every: int) -> Tensor:
    """The generator's term against mode collapse given red: mean over greens of max(0, 1 - variance / wanted variance).

    Nothing else asks for it: a critic sees one green for each red, so a green that is a function of its red can look
    right. Yang et al. (2019, eq. 4) also reward the difference between two images of one condition, up to a bound.

    cells    (batch, height, width, channels) in [-1, 1]; the first two of `every` so many have the same red
    greens   positions of the greens among the channels
    wanted   the variance of each green, as of pair_variance
    """
    variance = pair_variance(cells[0::every], cells[1::every])
    return mean(keras.ops.relu(1 - variance[green] / bound) for green, bound in zip(greens, wanted, strict=True))


def pair_variance(first: Tensor, second: Tensor) -> Tensor:
    """Variance of each channel (channels,) between the two images of a pair, mean over the pixels inside the cells.

    first, second   images (pairs, height, width, channels) in [-1, 1]; variances are of pixels in [0, 1]
    """
    ops = keras.ops
    brightness = ops.mean(first + second, axis=-1, keepdims=True) / 4 + 0.5
    inside = ops.stop_gradient(ops.cast(brightness > BODY, first.dtype))
    squares = ops.square(first - second) / 8            # (a - b)^2 / 2 is unbiased; [-1, 1] is twice as wide as [0, 1]
    return ops.sum(inside * squares, axis=(0, 1, 2)) / ops.maximum(ops.sum(inside), 1)


def information_loss(answers: Tensor, z: Tensor, codes: Sequence[Code], settings: Any) -> Tensor:
    """InfoGAN's term in the loss of both networks: minus the information that Q recovers (Chen et al. 2016, eq. 6).

    Eq. 6 has it for G and Q. Q shares the trunk of D, so, as in the authors' code, D's step includes it as well.

    -lambda L_I, where L_I = E log Q(c|G(z)) + H(c) (eq. 5) and H(c) is constant. For a categorical code, -log Q(c|x) is
    the cross-entropy. For a continuous code, Q is a normal distribution of fixed variance, which leaves the squared
    error: with a free variance its likelihood would grow without bound, and no other code would be learnt any more.

    answers    (batch, total size of the codes), the recognizer's answers for images generated from z (batch, nz)
    settings   settings.TrainingSettings, whose weights are lambda
    """
    ops, first, loss = keras.ops, codes[0].start, 0.0
    for code in codes:
        truth, answer = z[:, code.indices], answers[:, code.start - first:code.start - first + code.size]
        if code.is_categorical:
            loss += settings.categorical_weight * -ops.mean(ops.sum(truth * ops.log_softmax(answer), axis=1))
        else:
            loss += settings.continuous_weight * ops.mean(ops.square(truth - answer))
    return loss


def mean(losses: Iterable[Any]) -> Any:
    """Mean of several scalars."""
    losses = list(losses)
    return sum(losses) / len(losses)


ALGORITHMS: dict[str, type[Algorithm]] = {"GAN": GAN, "WGAN": WGAN, "WGAN-GP": WGANGP, "hinge": Hinge, "R1": R1,
                                          "RpGAN": RpGAN}
PAPER = ("GAN", "WGAN", "WGAN-GP")          # the algorithms that Osokin et al. compare
