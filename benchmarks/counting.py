"""The operations that one training iteration needs, counted from the layers of its networks.

Counting rule. Only the multiply-adds of convolutions, transposed convolutions and dense layers count, each as 2 FLOP;
taps on the zero padding count like any other. F is the forward pass of a network for one image: over its layers, the
sum of

    Conv2D            output pixels x kernel weights
    Conv2DTranspose   input pixels x kernel weights
    Dense             weights

The gradient with respect to a layer's weights costs F of that layer, and so does that with respect to its input. Only
what the mathematics needs counts: f, the layers that read images or z directly, need no gradient of their input where
weights are learned. Of T critics (one per tower of the generator; subscript C) and a generator (G), for one image:

    a scored image       3 F_C - f_C    forward; gradients of weights and of inputs
    a penalised image    4 F_C - 2 l_C  forward, but for the last layer (l_C), as the score itself has no part in the
                                        penalty; input gradient, down to the image. That gradient is a chain of F_C
                                        multiply-adds itself, differentiated by weights and by its own inputs: it starts
                                        at the last layer with the constant 1, which needs no derivative, and passes
                                        through leaky ReLUs, whose second derivative is 0
    a critic update      F_G + T (scored + penalised)      fresh fakes each time
    a generator update   2 F_G - f_G + 2 T F_C             gradients through critics whose weights stay; the fakes are
                                                           those of the last critic update

GAN and WGAN score a real and a fake image in each update, WGAN-GP these two and penalises one between them. Neglecting
f and l (1 to 2 %), with n critic updates an iteration costs, times 2 FLOP and the batch size,

    GAN       3 F_G +  8 T F_C      n = 1
    WGAN      7 F_G + 32 T F_C      n = 5
    WGAN-GP   7 F_G + 52 T F_C      n = 5
"""

import math
from typing import NamedTuple

from biogans.system.lazy import keras


class Work(NamedTuple):
    """Multiply-adds of one image: of the whole network, of the layers that read its input, of the last layer."""

    forward: int
    first: int
    last: int


def work(model):
    """The Work of a functional Keras model."""
    forward = first = last = 0
    depends_on_weights = set()
    for layer in model.layers:          # in the order of evaluation
        inner = any(id(tensor) in depends_on_weights for tensor in keras.tree.flatten(layer.input))
        if inner or layer.trainable_weights:
            depends_on_weights.update(map(id, keras.tree.flatten(layer.output)))
        if count := multiply_adds(layer):
            forward, first, last = forward + count, first + (0 if inner else count), count
    return Work(forward, first, last)


def multiply_adds(layer):
    """Multiply-adds of one layer for one image; 0 for layers that are no sums of products."""
    if isinstance(layer, keras.layers.Dense):
        return math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return math.prod(layer.input.shape[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Conv2D):
        return math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
    return 0


def images_in_critic_loss(algorithm):
    """(scored, penalised) images for each real one: the algorithm's own loss is called with a critic that counts."""
    scored, penalised = [], []

    def critic(images, training):
        scored.append(len(images))
        return images[:, 0, 0, 0]

    def input_gradient(critic, images):
        penalised.append(len(images))
        return images

    pixel = keras.ops.ones((1, 1, 1, 1))
    algorithm.critic_loss(critic, pixel, pixel, pixel, input_gradient)
    return sum(scored), sum(penalised)


def iteration_flop(generator, critics, algorithm, updates, batch_size):
    """FLOP of one iteration with so many critic updates and one generator update, after the rule above."""
    generator, critics = work(generator), [work(critic) for critic in critics]
    scored, penalised = images_in_critic_loss(algorithm)
    critic_update = generator.forward
    generator_update = 2 * generator.forward - generator.first
    for critic in critics:
        critic_update += scored * (3 * critic.forward - critic.first)
        critic_update += penalised * (4 * critic.forward - 2 * critic.last)
        generator_update += 2 * critic.forward
    return 2 * batch_size * (updates * critic_update + generator_update)
