"""The same training, written the way a tutorial would: a keras.Model with its own train_step, fed from tf.data.

Networks, losses, optimizers and learning rates are those of BioGANs; only the training step differs. The whole step is
one graph with the critic's updates unrolled, real, fake and interpolated images pass through the critic separately,
and the generator's update uses newly generated images.
"""

import keras
import numpy as np
import tensorflow as tf

import machine
import ours
from biogans.core import models


class GAN(keras.Model):
    """A generator and its critics, one for each green channel that it generates."""

    def __init__(self, generator, critics, settings):
        super().__init__()
        self.generator, self.critics, self.settings = generator, critics, settings

    def compile(self, critic_optimizer, generator_optimizer):
        super().compile()
        self.critic_optimizer, self.generator_optimizer = critic_optimizer, generator_optimizer
        self.cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    def train_step(self, data):
        """One training step on real images (critic updates, critics, batch, height, width, channels) in [-1, 1]."""
        real_images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        for step in range(self.settings.num_D_iters):
            critic_loss = self.train_critics(real_images[step])
        return {"critic_loss": critic_loss, "generator_loss": self.train_generator()}

    def train_critics(self, real_images):
        with tf.GradientTape() as tape:
            fake_images = self.generate_fakes()
            losses = [self.critic_loss(critic, real_images[k], fake_images[k]) for k, critic in enumerate(self.critics)]
            loss = tf.reduce_mean(losses)
        weights = [weight for critic in self.critics for weight in critic.trainable_variables]
        self.critic_optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        if self.settings.algorithm == "WGAN":
            for weight in weights:
                weight.assign(tf.clip_by_value(weight, -self.settings.wgan_clip_value, self.settings.wgan_clip_value))
        return loss

    def train_generator(self):
        with tf.GradientTape() as tape:
            fake_images = self.generate_fakes()
            losses = [self.generator_loss(critic(fake_images[k], training=True))
                      for k, critic in enumerate(self.critics)]
            loss = tf.reduce_mean(losses)
        weights = self.generator.trainable_variables
        self.generator_optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    def generate_fakes(self):
        """A batch of fake images for each critic: the red channel with one of the green channels."""
        z = tf.random.normal((self.settings.batch_size, self.generator.input_shape[1]))
        images = self.generator(z, training=True)
        greens = (images.shape[-1] - 1) // len(self.critics)
        return [tf.concat([images[..., :1], images[..., 1 + k * greens:1 + (k + 1) * greens]], axis=-1)
                for k in range(len(self.critics))]

    def critic_loss(self, critic, real_images, fake_images):
        real_scores = critic(real_images, training=True)
        fake_scores = critic(fake_images, training=True)
        if self.settings.algorithm == "GAN":
            return (self.cross_entropy(tf.ones_like(real_scores), real_scores)
                    + self.cross_entropy(tf.zeros_like(fake_scores), fake_scores))
        loss = tf.reduce_mean(fake_scores) - tf.reduce_mean(real_scores)
        if self.settings.algorithm == "WGAN-GP":
            loss += self.settings.wgangp_lambda * self.gradient_penalty(critic, real_images, fake_images)
        return loss

    def generator_loss(self, fake_scores):
        if self.settings.algorithm == "GAN":
            return self.cross_entropy(tf.ones_like(fake_scores), fake_scores)
        return -tf.reduce_mean(fake_scores)

    def gradient_penalty(self, critic, real_images, fake_images):
        alpha = tf.random.uniform((self.settings.batch_size, 1, 1, 1))
        interpolated = alpha * real_images + (1 - alpha) * fake_images
        with tf.GradientTape() as tape:
            tape.watch(interpolated)
            scores = critic(interpolated, training=True)
        gradient = tape.gradient(scores, interpolated)
        norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]) + 1e-12)
        return tf.reduce_mean(tf.square(norm - 1))


class Tutorial:
    """The tutorial's training as a contender of compare.py; `task` comes from compare.py."""

    def __init__(self, task):
        self.spec, self.settings, images = ours.plan(task)
        keras.utils.set_random_seed(self.settings.seed)
        keras.config.set_dtype_policy("mixed_bfloat16" if task["precision"] == "bfloat16" else "float32")
        tf.config.experimental.enable_tensor_float_32_execution(task["precision"] == "tf32")
        self.gan = GAN(models.build_generator(self.spec), models.build_critics(self.spec), self.settings)
        self.gan.compile(optimizer(self.settings, self.settings.lrD), optimizer(self.settings, self.settings.lrG))
        self.steps = iter(dataset(images, self.spec, self.settings))

    def iterate(self):
        """Run one training step; return the losses of critic and generator."""
        losses = self.gan.train_on_batch(next(self.steps), return_dict=True)
        return float(losses["critic_loss"]), float(losses["generator_loss"])

    def write_image(self, folder):
        z = np.random.default_rng(0).standard_normal((64, self.spec.nz))
        cells = self.gan.generator.predict(z, verbose=0)[..., :2]
        rgb = np.pad(np.concatenate(cells) / 2 + 0.5, ((0, 0), (0, 0), (0, 1)))
        keras.utils.save_img(f"{folder}/tutorial.png", rgb)

    def facts(self):
        return {"same": ours.same(self.spec, self.settings, self.gan.generator, self.gan.critics,
                                  int(self.gan.critic_optimizer.iterations)),
                "versions": machine.versions("keras", ours.keras_package())}

    def device_memory(self):
        return machine.device_memory()

    def profile(self):
        return machine.profile(self.iterate)


def optimizer(settings, learning_rate):
    if settings.optimizer == "adam":
        return keras.optimizers.Adam(learning_rate, settings.beta_1, settings.beta_2)
    return keras.optimizers.RMSprop(learning_rate)


def dataset(images, spec, settings):
    """Endless dataset of the real images of each training step, shuffled and randomly mirrored."""
    groups = [images.pixels]
    if spec.num_critics > 1:
        groups = [images.pixels[images.labels == k] for k in range(spec.num_critics)]

    def prepare(*batches):
        return tf.stack([tf.image.random_flip_left_right(tf.image.random_flip_up_down(
            tf.cast(batch, tf.float32) / 127.5 - 1.0)) for batch in batches])
    batches = [tf.data.Dataset.from_tensor_slices(group).shuffle(len(group)).batch(settings.batch_size, True)
               for group in groups]
    prepared = tf.data.Dataset.zip(*batches).map(prepare, num_parallel_calls=tf.data.AUTOTUNE).repeat()
    return prepared.batch(settings.num_D_iters, True).prefetch(tf.data.AUTOTUNE)
