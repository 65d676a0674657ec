# %% [markdown]
r"""
# 2. Images: DCGAN on digits

**After this notebook you can** explain what a transposed convolution does, and compute one by hand; avoid checkerboard
patterns; explain what batch normalisation computes and when it does harm; build the generator of a DCGAN; look at what
a discriminator has learnt, and reuse it for another task.

**You need** notebook 1: generator, discriminator, both losses, the loop. The notebook takes about two minutes to
compute.
"""

# %% slide [markdown]
r"""
# Images

DCGAN on digits: transposed convolutions, batch normalisation, what the discriminator learns

*Deep Learning by Example* · notebook 2
"""

# %% install

# %%
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from biogans.core import gan
from biogans.system.hints import checked

REAL, FAKE, JUDGE = "#0072B2", "#D55E00", "#009E73"
plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
r"""
## The data

We use 1,797 handwritten digits of 8×8 pixels, which come with scikit-learn (Alpaydin & Kaynak 1998). An image is an
array (height, width, channels); here it has one channel. A batch of images is an array (batch, height, width,
channels). Everywhere in BioGANs, and here too, pixels are scaled to $[-1, 1]$, because the generator ends with $\tanh$, a curve
from -1 to 1.
"""

# %% figure digits
digits = load_digits()
images = (digits.images / 8 - 1).astype("float32")[..., None]
print("images:", images.shape, "from", images.min(), "to", images.max())


def show(images, title, rows=4):
    """Show images (count, 8, 8, 1) in [-1, 1] on a grid."""
    columns = len(images) // rows
    sheet = np.pad(images[:rows * columns, :, :, 0], ((0, 0), (1, 1), (1, 1)), constant_values=1)
    sheet = sheet.reshape(rows, columns, 10, 10).transpose(0, 2, 1, 3).reshape(rows * 10, columns * 10)
    plt.figure(figsize=(columns * 0.9, rows * 0.9 + 0.4))
    plt.imshow(sheet, cmap="gray", vmin=-1, vmax=1)
    plt.axis("off")
    plt.title(title)
    plt.show()


show(images[:32], "real digits")

# %% [markdown]
r"""
## Convolutions

A dense layer has a separate weight for every pixel, so it would have to learn the same stroke again at every position.
A **convolution** slides one small array of weights, the **kernel**, over the image; at each position it multiplies the
pixels by the weights and adds them up. This applies the same stroke detector everywhere. A layer has many kernels, and
each produces one *feature map*. With **stride** 2 the kernel moves two pixels at a time, and the maps have half the
height and width. The discriminator is a sequence of such layers: 8×8 → 4×4 → 2×2 → one score. Between them *LeakyReLU*
bends the values: like ReLU, but it lets a fifth of a negative value through, and a gradient with it.

The generator has to go the other way: from a few numbers to an image. A **transposed convolution** does that. Think of
the kernel as a *stamp*: each input pixel prints the kernel, multiplied by the pixel's value, at its position in the
output. With stride $s$ these positions are $s$ pixels apart; where stamps overlap, they add up:

$$ y[s\,i + a,\; s\,j + b] \mathrel{+}= x[i, j]\; k[a, b]. $$

For an input of side $n$ and a kernel of side $m$, the output has side $s\,(n - 1) + m$. (Layers with `padding="same"`
then crop the border to make it exactly $s\,n$.) The name comes from linear algebra: written as a matrix, this operation
is the transpose of a convolution.

## Exercise 1: stamp

Write the transposed convolution for one channel.
"""

# %% slide [markdown]
r"""
## From a few numbers to an image

- **Convolution, stride 2**: one small kernel slides over the image; half the size. The discriminator.
- **Transposed convolution, stride 2**: every pixel prints a stamp; twice the size. The generator.

$$ y[s\,i + a,\; s\,j + b] \;\mathrel{+}=\; x[i, j]\; k[a, b] $$

![](checkerboard.png)
"""

# %% exercise
# Exercise 1
def transposed_convolution(x, kernel, stride):
    """x (n, n), kernel (m, m) -> a square of side stride (n - 1) + m: each pixel of x stamps the kernel."""
    n, m = len(x), len(kernel)
    y = np.zeros((stride * (n - 1) + m,) * 2)
    ### BEGIN SOLUTION
    for i in range(n):
        for j in range(n):
            y[stride * i:stride * i + m, stride * j:stride * j + m] += x[i, j] * kernel
    return y
    ### HANDOUT
    # # your code here: two loops
    # return y
    ### END SOLUTION

# %% check
_transposed_convolution = checked(transposed_convolution)
_printed = np.asarray(_transposed_convolution(np.ones((1, 1)), np.arange(9.0).reshape(3, 3), 1))
assert np.array_equal(_printed, np.arange(9.0).reshape(3, 3)), \
    f"one pixel of value 1 should print the kernel once; yours: {_printed.tolist()}"
_printed = np.asarray(_transposed_convolution(np.array([[0.0, 1], [0, 0]]), np.ones((1, 1)), 2))
assert np.array_equal(_printed, [[0, 0, 1], [0, 0, 0], [0, 0, 0]]), \
    f"with stride 2, the pixel x[0, 1] should print at row 0, column 2; yours: {_printed.tolist()}"
_x, _kernel = np.random.default_rng(0).standard_normal((4, 4)), np.random.default_rng(1).standard_normal((3, 3))
for _stride in (1, 2, 3):
    _layer = keras.layers.Conv2DTranspose(1, 3, strides=_stride, use_bias=False)
    _layer.build((None, 4, 4, 1))
    _layer.set_weights([_kernel[:, :, None, None]])
    _expected = _layer(_x[None, :, :, None].astype("float32")).numpy()[0, :, :, 0]
    _yours = np.asarray(_transposed_convolution(_x, _kernel, _stride))
    assert _yours.shape == _expected.shape, \
        f"stride {_stride}: the output should have shape {_expected.shape}, not {_yours.shape}"
    assert np.allclose(_yours, _expected, atol=1e-5), \
        f"stride {_stride}: Keras's layer gives another result. Do overlapping stamps add up (+=)?"
print("✓ exercise 1: this is what Conv2DTranspose computes")

# %% [markdown]
r"""
## Exercise 2: checkerboards

A uniformly grey input should give a uniformly grey output. Does it? Count, in one dimension, how many stamps each
output pixel receives if `count` input pixels stamp a kernel of size `size` with the given `stride`. For which sizes do
all interior pixels receive the same number? (Odena et al. 2016, *Deconvolution and checkerboard artifacts*.)
"""

# %% exercise
# Exercise 2
def stamps(size, stride, count):
    """Number of stamps on each output pixel: integers, shape (stride (count - 1) + size,)."""
    ### BEGIN SOLUTION
    return np.array([sum(stride * i <= pixel < stride * i + size for i in range(count))
                     for pixel in range(stride * (count - 1) + size)])
    ### HANDOUT
    # return np.zeros(stride * (count - 1) + size, int)      # your code instead of this line
    ### END SOLUTION


### BEGIN SOLUTION
GOOD_SIZE = 4
### HANDOUT
# GOOD_SIZE = 3        # change this: a size from 3 to 5 that avoids checkerboards with stride 2
### END SOLUTION

# %% check
_stamps = checked(stamps, shape=lambda size, stride, count: (stride * (count - 1) + size,))
assert list(_stamps(3, 2, 3)) == [1, 1, 2, 1, 2, 1, 1], \
    f"3 pixels, kernel 3, stride 2: the stamps cover pixels 0 to 2, 2 to 4, 4 to 6; yours: {_stamps(3, 2, 3)}"
assert list(_stamps(4, 2, 3)) == [1, 1, 2, 2, 2, 2, 1, 1] and list(_stamps(2, 3, 2)) == [1, 1, 0, 1, 1], \
    "work out kernel 4 with stride 2, and kernel 2 with stride 3 (where some pixels receive no stamp), by hand"
assert GOOD_SIZE in (3, 4, 5), f"GOOD_SIZE should be one of the numbers 3, 4 and 5, not {GOOD_SIZE!r}"
assert len(set(_stamps(GOOD_SIZE, 2, 20)[4:-4])) == 1, \
    f"with a kernel of size {GOOD_SIZE} and stride 2, interior pixels receive different numbers of stamps"
print(f"✓ exercise 2: kernels of size {GOOD_SIZE} cover evenly: the size must be a multiple of the stride")

# %% figure checkerboard
figure, panels = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
for axes, size in zip(panels, (3, 4, 5)):
    counts = transposed_convolution(np.ones((6, 6)), np.ones((size, size)), 2)
    shown = axes.imshow(counts, cmap="cividis", vmin=0, vmax=9)
    axes.set(title=f"kernel {size}×{size}, stride 2", xticks=[], yticks=[])
figure.colorbar(shown, ax=panels, label="stamps per pixel")
plt.show()

# %% [markdown]
r"""
DCGAN (Radford et al. 2016) and the networks of BioGANs use 4×4 kernels with stride 2.

## Batch normalisation

In a deep network the numbers may grow or shrink from layer to layer, and the gradients with them. **Batch
normalisation** (Ioffe & Szegedy 2015) corrects this after each layer. For each feature map it subtracts the mean and
divides by the standard deviation, both *over the batch and all pixels*; then it lets the network choose a scale
$\gamma$ and a shift $\beta$:

$$ \hat h = \gamma\, \frac{h - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta, \qquad
\mu, \sigma^2: \text{mean and variance over batch, height, width.} $$

So during training a sample's result depends on the other samples of the batch. A trained generator may have to produce
a single image, without a batch; it then uses running averages of $\mu$ and $\sigma^2$.

## Exercise 3: normalise

Write batch normalisation as it works during training.
"""

# %% exercise
# Exercise 3
def batch_normalisation(h, gamma, beta, epsilon=1e-5):
    """h (batch, height, width, maps), gamma and beta (maps,) -> normalised h, of the same shape."""
    ### BEGIN SOLUTION
    mean, variance = h.mean(axis=(0, 1, 2)), h.var(axis=(0, 1, 2))
    return gamma * (h - mean) / np.sqrt(variance + epsilon) + beta
    ### HANDOUT
    # return h        # your code instead of this line
    ### END SOLUTION

# %% check
_batch_normalisation = checked(batch_normalisation)
_h = np.random.default_rng(2).normal(3, 5, (16, 4, 4, 3)).astype("float32")
_gamma, _beta = np.array([1, 2, 0.5], "float32"), np.array([0, -1, 4], "float32")
_yours = np.asarray(_batch_normalisation(_h, _gamma, _beta))
assert _yours.shape == _h.shape, "the output should have the shape of h"
assert np.allclose(_yours.mean(axis=(0, 1, 2)), _beta, atol=1e-3), "the mean of each normalised map should be beta"
assert np.allclose(_yours.std(axis=(0, 1, 2)), _gamma, atol=1e-3), "its standard deviation should be gamma"
_layer = keras.layers.BatchNormalization(epsilon=1e-5)
_layer.build(_h.shape)
_layer.gamma.assign(_gamma)
_layer.beta.assign(_beta)
assert np.allclose(_yours, _layer(_h, training=True).numpy(), atol=1e-3), \
    "Keras's layer gives another result: take mean and variance over batch, height and width, axis=(0, 1, 2)"
print("✓ exercise 3: this is what BatchNormalization computes during training")

# %% slide [markdown]
r"""
## Batch normalisation

$$ \hat{h} = \gamma\, \frac{h - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta $$

- $\mu$, $\sigma^2$ over batch, height and width, for each feature map
- Keeps activations and gradients in range, which makes deep generators trainable
- A sample's result depends on the rest of the batch: do not use it in a critic whose slope is penalised (notebook 3)

Ioffe & Szegedy 2015; Gulrajani et al. 2017, section 4
"""

# %% [markdown]
r"""
## Exercise 4: a generator

Build the generator of a DCGAN. Its latent vector has 16 numbers:

| layer | output |
|---|---|
| dense, no bias; reshape | 2×2×64 |
| batch normalisation, ReLU | 2×2×64 |
| transposed convolution 4×4, stride 2, `padding="same"`, no bias | 4×4×32 |
| batch normalisation, ReLU | 4×4×32 |
| transposed convolution 4×4, stride 2, `padding="same"` | 8×8×1 |
| tanh | 8×8×1 |

Why does a layer before a batch normalisation need no bias? Look at the equation: what would happen to the bias?
"""

# %%
LATENT = 16


def build_discriminator():
    """8×8 images -> scores (batch, 1)."""
    return keras.Sequential([
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(32, 4, strides=2, padding="same"),
        keras.layers.LeakyReLU(negative_slope=0.2),
        keras.layers.Conv2D(64, 4, strides=2, padding="same", use_bias=False),
        keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.LeakyReLU(negative_slope=0.2),
        keras.layers.Flatten(),
        keras.layers.Dense(1),
    ])

# %% exercise
# Exercise 4
def build_generator():
    """z (batch, LATENT) -> images (batch, 8, 8, 1) in [-1, 1]."""
    ### BEGIN SOLUTION
    return keras.Sequential([
        keras.Input((LATENT,)),
        keras.layers.Dense(2 * 2 * 64, use_bias=False),
        keras.layers.Reshape((2, 2, 64)),
        keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.ReLU(),
        keras.layers.Conv2DTranspose(32, 4, strides=2, padding="same", use_bias=False),
        keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.ReLU(),
        keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same"),
        keras.layers.Activation("tanh"),
    ])
    ### HANDOUT
    # # This has only one dense layer: replace it by the layers of the table above.
    # return keras.Sequential([
    #     keras.Input((LATENT,)),
    #     keras.layers.Dense(8 * 8),
    #     keras.layers.Reshape((8, 8, 1)),
    # ])
    ### END SOLUTION

# %% check
_build_generator = checked(build_generator, kind=keras.Model)
_generator, _z = _build_generator(), np.random.default_rng(4).standard_normal((8, LATENT)).astype("float32")
assert _generator.built, "begin with keras.Input((LATENT,))"
assert _generator.output_shape == (None, 8, 8, 1), f"images should be 8×8×1, not {_generator.output_shape[1:]}"
assert np.abs(_generator(30 * _z)).max() <= 1, "pixels should stay in [-1, 1]: end with tanh"
_shapes = [layer.output.shape[1:] for layer in _generator.layers]
assert (4, 4, 32) in _shapes and (2, 2, 64) in _shapes, f"some layers should give 2×2×64 and 4×4×32; yours: {_shapes}"
_alone, _together = _generator(_z[:2], training=True)[0], _generator(_z, training=True)[0]
assert not np.allclose(_alone, _together, atol=1e-4), "in training, an image should depend on its batch: normalise"
assert np.allclose(_generator(_z[:2])[0], _generator(_z)[0], atol=1e-5), "after training, it should not depend on it"
assert np.min(_generator(30 * _z)) < -0.9, "black pixels should reach -1: end with tanh, not with another function"
_last = {tuple(layer.output.shape[1:]): layer.output for layer in _generator.layers}
_values = keras.Model(_generator.inputs[0], [_last[2, 2, 64], _last[4, 4, 32]])(_z)
assert all(np.min(value) >= 0 for value in _values), "after each batch normalisation, ReLU should leave no negative number"
assert _generator.count_params() == 37_761, \
    f"your layers have {_generator.count_params():,} weights, those of the table 37,761: look at kernels, bias and " \
    f"normalisation"
print(f"✓ exercise 4: the generator of a DCGAN, with {_generator.count_params():,} weights")

# %% [markdown]
r"""
## Training

The loop is the one of notebook 1. You have written the losses once, so we now take them from `biogans.core.gan.GAN`.

**Predict first.** While the images improve, what will the two losses do? Sketch both curves.
"""

# %% figure drawn
keras.utils.set_random_seed(1)
generator, discriminator, untrained = build_generator(), build_discriminator(), build_discriminator()
losses = gan.GAN(settings=None)
g_optimizer, d_optimizer = (keras.optimizers.Adam(1e-3, beta_1=0.5) for _ in range(2))
g_optimizer.build(generator.trainable_variables)
d_optimizer.build(discriminator.trainable_variables)


@tf.function
def iterate(real):
    """Update the discriminator once, then the generator once; returns both losses."""
    z = tf.random.normal((len(real), LATENT))
    fake = generator(z, training=True)
    with tf.GradientTape() as tape:
        d_loss = losses.critic_loss(discriminator, real, fake, None, None)
    weights = discriminator.trainable_variables
    d_optimizer.apply(tape.gradient(d_loss, weights), weights)
    with tf.GradientTape() as tape:
        g_loss = losses.generator_loss(discriminator(generator(z, training=True), training=True))
    weights = generator.trainable_variables
    g_optimizer.apply(tape.gradient(g_loss, weights), weights)
    return d_loss, g_loss


rng = np.random.default_rng(1)
fixed = rng.standard_normal((32, LATENT)).astype("float32")
history = []
for iteration in tqdm(range(1, 2001), mininterval=1, leave=False):
    history.append(iterate(tf.constant(images[rng.integers(0, len(images), 64)])))
    if iteration in (100, 500, 2000):
        show(generator(fixed).numpy(), f"iteration {iteration}, always from the same latent vectors")

# %% figure losses
history = np.array(history, "float32")
plt.figure(figsize=(6, 2.6))
for values, colour, name in zip(history.T, (JUDGE, FAKE), ("discriminator", "generator")):
    plt.plot(np.convolve(values, np.ones(50) / 50, "valid"), color=colour, label=name)
plt.xlabel("iteration")
plt.ylabel("loss, mean over 50 iterations")
plt.legend()
plt.show()

# %% [markdown]
r"""
The images improve, but the losses do not show it: the generator's loss falls at first, and then *rises*, because its
opponent learns too.

## What the discriminator learns

To distinguish real from generated digits, the discriminator had to learn what digits are made of, without ever seeing a
label. First question: which pixels does its score depend on? The gradient of the score with respect to the *image*
answers it. A single gradient is mostly noise, so we average it over copies of the image with some noise (Smilkov et al.
2017).
"""

# %% figure saliency
def slopes(image, copies=256, noise=0.3):
    """Mean gradient (8, 8) of the score of an image (8, 8, 1) with respect to its pixels, over noisy copies."""
    several = tf.constant(image + noise * rng.standard_normal((copies, *image.shape)).astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(several)
        scores = discriminator(several)
    return tape.gradient(scores, several).numpy().mean(axis=0)[..., 0]


chosen = np.concatenate([images[:4], generator(fixed[:4]).numpy()])
figure, panels = plt.subplots(2, 8, figsize=(11, 3.4), layout="constrained")
for k, (image, score) in enumerate(zip(chosen, discriminator(chosen).numpy()[:, 0])):
    panels[0, k].imshow(image[..., 0], cmap="gray", vmin=-1, vmax=1)
    panels[0, k].set_title(f"{'real' if k < 4 else 'generated'}: {score:.1f}", fontsize=10)
    shown = slopes(image)
    panels[1, k].imshow(shown, cmap="PuOr", vmin=-np.abs(shown).max(), vmax=np.abs(shown).max())
for axes in panels.flat:
    axes.set(xticks=[], yticks=[])
panels[0, 0].set_ylabel("image, score")
panels[1, 0].set_ylabel("raises the score:\nbrighter (violet),\ndarker (orange)", fontsize=9)
plt.show()

# %% [markdown]
r"""
## Exercise 5: use its features

Take the values that the discriminator computes just before its score, 2·2·64 = 256 numbers, as a description of an
image. (A Keras model keeps a list of its layers: `keras.Model(model.inputs[0], model.layers[-2].output)` ends one layer
earlier.) The check gives a linear classifier 10 labelled examples of each digit and tests it on all other images: once
with these features, once with the features of an untrained discriminator, and once with the pixels. Radford et al.
(2016), section 5.1, did this with photographs.

**Predict first.** Rank the three descriptions: pixels, features of an untrained discriminator, and those of the trained
one. By how many percentage points will they differ?
"""

# %% exercise
# Exercise 5
def features(discriminator, images):
    """The discriminator's values just before its score: images (count, 8, 8, 1) -> array (count, 256)."""
    ### BEGIN SOLUTION
    return keras.Model(discriminator.inputs[0], discriminator.layers[-2].output)(images).numpy()
    ### HANDOUT
    # return np.zeros((len(images), 256))         # your code instead of this line
    ### END SOLUTION

# %% check
_checked_features = checked(features)


def accuracy(vectors):
    """Accuracy of a linear classifier on all images but its 10 examples of each digit; mean of 5 random choices."""
    vectors = (vectors - vectors.mean(axis=0)) / (vectors.std(axis=0) + 1e-6)
    accuracies = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(images))
        examples = np.concatenate([order[digits.target[order] == digit][:10] for digit in range(10)])
        others = np.setdiff1d(order, examples)
        classifier = LogisticRegression(C=0.1, max_iter=500).fit(vectors[examples], digits.target[examples])
        accuracies.append(classifier.score(vectors[others], digits.target[others]))
    return np.mean(accuracies)


_features = np.asarray(_checked_features(discriminator, images))
assert _features.shape == (len(images), 256), f"the features should have shape (1797, 256), not {_features.shape}"
_kernel, _bias = discriminator.layers[-1].get_weights()
assert np.allclose(_features @ _kernel + _bias, discriminator(images), atol=1e-3), \
    "these features times the last layer's weights should give the score: yours come from another layer"
accuracies = {"pixels": accuracy(images.reshape(len(images), -1)),
              "untrained": accuracy(np.asarray(_checked_features(untrained, images))), "discriminator": accuracy(_features)}
print("✓ exercise 5: accuracy with", ", ".join(f"{name} {value:.1%}" for name, value in accuracies.items()))

# %% [markdown]
r"""
## Exercise 6: a walk between two digits

Each latent vector gives a digit, so a path between two latent vectors turns one digit into another. A straight line is
not the best path. A latent vector consists of 16 standard normal numbers, so its length is about $\sqrt{16} = 4$, give or
take 0.7; the middle of a straight line is shorter than most latent vectors that the generator was trained with. Walk along
a sphere instead: with the angle $\omega$ between $a$ and $b$, whose cosine is $a \cdot b / (|a|\,|b|)$,

$$ z(t) = \frac{\sin((1 - t)\,\omega)}{\sin\omega}\, a + \frac{\sin(t\,\omega)}{\sin\omega}\, b, \qquad 0 \le t \le 1 $$

(Shoemake 1985; White 2016).
"""

# %% exercise
# Exercise 6
def walk(a, b, steps):
    """Latent vectors (steps, LATENT) along the arc from a to b, both included."""
    t = np.linspace(0, 1, steps)[:, None]
    ### BEGIN SOLUTION
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
    ### HANDOUT
    # return (1 - t) * a + t * b        # a straight line: change it
    ### END SOLUTION

# %% check
_walk = checked(walk)
_a, _b = np.eye(LATENT)[0] * 4, (np.eye(LATENT)[0] + np.sqrt(3) * np.eye(LATENT)[1]) * 2      # at an angle of 60°
_path = np.asarray(_walk(_a, _b, 9))
assert _path.shape == (9, LATENT) and np.allclose(_path[0], _a) and np.allclose(_path[-1], _b), \
    "walk from a to b in 9 vectors: the first should be a, the last b"
assert np.allclose(np.linalg.norm(_path, axis=1), 4), "between vectors of length 4, all vectors should have length 4"
_lengths = np.linalg.norm(np.diff(_path, axis=0), axis=1)
assert np.allclose(_lengths, _lengths[0], atol=1e-6), "all steps should have the same length"
print("✓ exercise 6")

# %% figure walk
stops = fixed[[0, 2, 28, 6]]
paths = np.concatenate([walk(a, b, 12) for a, b in zip(stops, stops[1:])]).astype("float32")
show(generator(paths).numpy(), "three walks, from left to right; each begins where the last one ended", rows=3)

# %% slide [markdown]
r"""
## Results

![](drawn_3.png)

![](walk.png)

Each latent vector gives a digit; a path between two latent vectors turns one digit into another.
"""

# %% slide [markdown]
r"""
## What the discriminator learns

![](saliency.png)

It learns its features without labels, yet a linear classifier can use them to recognise digits from 10 examples of each
(Radford et al. 2016, section 5.1)
"""

# %% [markdown]
r"""
## The same in BioGANs

`biogans.core.models.dcgan` builds your generator for images of any size: it halves the sides until they are small, and
adds one transposed convolution for each halving.
"""

# %%
from biogans.core import models

cells = models.NetworkSpec("DCGAN", height=48, width=80, channels=2, factors=("Alp14",), ngf=16)
for layer in models.build_generator(cells).layers:
    if "convolution" in layer.name or "projection" in layer.name:
        print(f"{layer.name:24}{str(layer.output.shape[1:]):16}{layer.count_params():>9,} weights")

# %% quiz [markdown]
r"""
## Quiz

Four questions about what you have seen, each with one right answer. Enter the letters in the cell below: it explains
every answer, right or wrong.

**Question 1.** You replace the 4×4 kernels of the generator by 5×5 kernels and keep stride 2. What happens to an evenly
grey input?

- **a)** The output has a checkerboard.
  ✓ Five is no multiple of the stride, so neighbouring pixels receive different numbers of stamps. Training can hide the
    pattern, but must first unlearn it.
- **b)** It stays even, because larger kernels overlap more.
  ✗ Overlap alone does not help: neighbouring pixels must receive *equally many* stamps. Five is no multiple of two, so
    they receive two and three in turn.
- **c)** It gets brighter, and stays even.
  ✗ It does get brighter, since there are more stamps in total. But they are not spread evenly, because five is no
    multiple of two.

**Question 2.** During training, you replace one image of a batch. With batch normalisation, what changes?

- **a)** Only the result of that image.
  ✗ That would be true of a convolution. Batch normalisation computes mean and variance over the whole batch, and the new
    image changes both.
- **b)** Nothing, because the layer uses running averages.
  ✗ It uses running averages after the training, for single images. During training it uses those of the batch.
- **c)** The results of all images in the batch.
  ✓ All of them share one mean and one variance for each feature map. This is why a critic whose slope is penalised does
    without batch normalisation.

**Question 3.** A linear classifier does better with the features of the trained discriminator than with those of the
untrained one. Why?

- **a)** To tell real from generated digits, the discriminator had to learn what strokes look like.
  ✓ The same features help to tell the digits apart, although the discriminator was trained for another task and without
    labels.
- **b)** The trained discriminator has seen the labels.
  ✗ It saw images only, and whether they were real. The labels entered with the linear classifier, ten for each digit.
- **c)** It has more features.
  ✗ Both have the same layers, and so equally many features. Only the weights differ.

**Question 4.** After the start, the generator's loss rises. So the images get worse. True?

- **a)** True.
  ✗ Look at the images: they improve in the same time. The loss measures the generator against an opponent that learns
    too.
- **b)** False.
  ✓ The loss rises because the discriminator gets better. A loss of one player means little without knowing how strong
    the other one is.
"""

# %% [markdown]
r"""
## To discuss

1. In the saliency picture, do the changes that raise the score of a *generated* digit match the corrections that you
   would make?
2. The loss curves of a GAN do not show when to stop. What would you look at?
3. Batch normalisation in the discriminator: real and generated samples come in separate batches. What could the
   discriminator notice about a *batch* that it can't notice about a single image?
4. How would you find out whether the generator has memorised the 1,797 digits?

## Sources

- Radford, Metz & Chintala (2016), *Unsupervised representation learning with deep convolutional generative adversarial
  networks*, [arXiv:1511.06434](https://arxiv.org/abs/1511.06434)
- Ioffe & Szegedy (2015), *Batch normalization*, [arXiv:1502.03167](https://arxiv.org/abs/1502.03167)
- Odena, Dumoulin & Olah (2016), *Deconvolution and checkerboard artifacts*,
  [distill.pub](https://distill.pub/2016/deconv-checkerboard/)
- Smilkov et al. (2017), *SmoothGrad: removing noise by adding noise*, [arXiv:1706.03825](https://arxiv.org/abs/1706.03825)
- White (2016), *Sampling generative networks*, [arXiv:1609.04468](https://arxiv.org/abs/1609.04468)
"""

# %% answer [markdown]
r"""
## For the instructor

**Timing** (45 minutes): convolutions and exercise 1: 12; checkerboards: 5; batch normalisation and exercise 3: 8;
exercise 4 and training: 10; what the discriminator learns: 10. Exercise 6 is homework.

**Answers.** Exercise 4: subtracting the mean cancels the bias. 1: often: the gradient fills gaps in strokes and clears
grey pixels beside them. Sometimes it is only noise: the gradient of a network is not an explanation. 2: images from
fixed latent vectors; a two-sample test on held-out data (`biogans evaluate`); for Wasserstein GANs also the critic's
estimate (notebook 3). 3: its variety: if all images of a batch are alike, batch normalisation scales their features up
to variance 1, which no batch of real images looks like. 4: show generated digits beside their nearest real ones
(measured in pixels and in features), and reconstruct held-out digits.
"""

# %% slide [markdown]
r"""
## To discuss

1. Do the changes that raise the score of a generated digit match the corrections that you would make?
2. The loss curves do not show when to stop. What does?
3. What could a discriminator notice about a *batch* that it can't notice about a single image?
4. Has the generator memorised the digits?
"""
