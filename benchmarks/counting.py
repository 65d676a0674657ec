"""FLOP of a training iteration, counted from the layers of its networks.

Counting rule. Only multiply-adds of convolutions, transposed convolutions and dense layers count, each as 2 FLOP,
including those on zero padding. F is the cost of a network's forward pass for one image: the sum over its layers of

    Conv2D            output pixels x kernel weights
    Conv2DTranspose   input pixels x kernel weights
    Dense             weights

The gradient with respect to a layer's weights costs as much as its forward pass, and so does the gradient with respect
to its input. Only mathematically necessary operations count: the layers that read images or z directly (f) need no
gradient of their input when weights are updated. With T critics (one per tower of the generator; subscript C) and one
generator (G), the cost for one image is

    scored image         3 F_C - f_C    forward pass; gradients of weights and of inputs
    penalised image      4 F_C - 2 l_C  forward pass without the last layer (l_C), because the penalty does not contain
                                        the score itself; input gradient, down to the image. This gradient is itself a
                                        chain of F_C multiply-adds, differentiated by the weights and by its own inputs.
                                        It starts at the last layer with the constant 1, which needs no derivative, and
                                        passes through leaky ReLUs, whose second derivative is 0
    critic update        F_G + T (scored + penalised)      new fake images each time
    generator update     2 F_G - f_G + 2 T F_C             gradients through critics with constant weights; the fake
                                                           images are those of the last critic update; algorithms
                                                           that compare pairs score the real images again, F_C

Each update scores a real and a fake image; WGAN-GP also penalises one between them. Neglecting f and l (1 to 2 %), an
iteration with n critic updates costs, times 2 FLOP and the batch size,

    GAN       3 F_G +  8 T F_C      n = 1
    WGAN      7 F_G + 32 T F_C      n = 5
    WGAN-GP   7 F_G + 52 T F_C      n = 5
"""

import math
from typing import NamedTuple

from biogans.system.lazy import keras


class Work(NamedTuple):
    """Multiply-adds for one image: of the whole network, of the layers that read its input, of the last layer."""

    forward: int
    first: int
    last: int


def work(model):
    """Work of a functional Keras model, each of whose layers may be called several times."""
    forward = first = last = 0
    depends_on_weights = set()          # ids of tensors, which live as long as the layers that remember their calls

    def call(layer, inputs, **settings):
        nonlocal forward, first, last
        output, tensors = layer(inputs, **settings), keras.tree.flatten(inputs)
        inner = any(id(tensor) in depends_on_weights for tensor in tensors)
        if inner or layer.trainable_weights:
            depends_on_weights.update(map(id, keras.tree.flatten(output)))
        if count := multiply_adds(layer, tensors[0], output):
            forward, first, last = forward + count, first + (0 if inner else count), count
        return output
    keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
    return Work(forward, first, last)


def multiply_adds(layer, features, output):
    """Multiply-adds of one call of a layer for one image; 0 for layers without sums of products."""
    if isinstance(layer, keras.layers.Dense):
        return math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return math.prod(features.shape[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Conv2D):
        return math.prod(output.shape[1:3]) * math.prod(layer.kernel.shape)
    return 0


def images_in_critic_loss(algorithm):
    """(scored, penalised) images per real image: calls the algorithm's own loss with a critic that counts them."""
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
    """FLOP of one iteration with `updates` critic updates and one generator update, by the rule above."""
    generator, critics = work(generator), [work(critic) for critic in critics]
    scored, penalised = images_in_critic_loss(algorithm)
    critic_update = generator.forward
    generator_update = 2 * generator.forward - generator.first
    for critic in critics:
        critic_update += scored * (3 * critic.forward - critic.first)
        critic_update += penalised * (4 * critic.forward - 2 * critic.last)
        generator_update += (2 + algorithm.paired) * critic.forward
    return 2 * batch_size * (updates * critic_update + generator_update)
