# %% [markdown]
r"""
# 6. Meaningful codes, and a page of sliders

**After this notebook you can** measure in bits how much one thing reveals about another; make a generator obey *codes*
(InfoGAN); find kinds of images without labels, and report honestly how well that works; find the directions in which
any generator changes most; make a page of sliders that anyone can open.

**You need** notebooks 1 and 2: the loop, both losses, DCGAN. The notebook takes about three minutes to compute. Start it
in a folder that you may write to: it creates a folder `work_6` there.
"""

# %% slide [markdown]
r"""
# Meaningful codes

InfoGAN, and a page of sliders

*Deep Learning by Example* · notebook 6
"""

# %% install

# %%
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import csv
from pathlib import Path
from types import SimpleNamespace

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from keras import ops
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from biogans.core import codes, dataloader, figures, gan, models
from biogans.core.engine import generate
from biogans.core.trained import load_generator, load_recognizer
from biogans.evaluation import clusters
from biogans.latent import explore
from biogans.system.hints import USE_OPS, checked
from biogans.system.notebook import run_command
from biogans.system.pixels import to_signed

tf.get_logger().setLevel("ERROR")               # hide TensorFlow's hints for developers
WORK = Path("work_6")
WORK.mkdir(exist_ok=True)
plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
r"""
## What does a latent vector mean?

A generator turns a latent vector $z$ of random numbers into an image. Which of these numbers slants a digit, or
lengthens a cell? In a plain GAN, none: each number changes a little of everything, because nothing in the losses asks
for order. We would like to have

- a **categorical code** $c$, one of $K$ kinds: which digit, which phase of the cell cycle;
- **continuous codes** $u$, numbers in $[-1, 1]$: how slanted, how large;
- and **noise** for all the rest,

without anyone having to *label* the images. The latent vector is all three in a row, $z = (\text{noise}, c, u)$. We
write a category as $K$ numbers, one of which is 1 and the others 0 (*one-hot*), because a network can't compute with
names, and because a number such as 3 would suggest that kind 3 lies between kinds 2 and 4.

## Exercise 1: latent vectors with codes

`np.eye(K)[categories]` gives the one-hot rows.
"""

# %% exercise
# Exercise 1
def latent_vectors(noise, categories, kinds, continuous=None):
    """Latent vectors (count, n + kinds + m), float32: noise, one-hot category, continuous codes, in this order.

    noise (count, n), categories (count,) in 0 … kinds - 1, continuous (count, m) or None
    """
    ### BEGIN SOLUTION
    parts = [noise, np.eye(kinds)[categories]] + ([] if continuous is None else [continuous])
    return np.concatenate(parts, axis=1).astype("float32")
    ### HANDOUT
    # more = kinds + (0 if continuous is None else continuous.shape[1])
    # return np.concatenate([noise, np.zeros((len(noise), more))], axis=1).astype("float32")    # change this: no codes
    ### END SOLUTION

# %% check
_latent_vectors = checked(latent_vectors)
_z = np.asarray(_latent_vectors(np.full((2, 3), 7.0), np.array([1, 3]), 4))
assert _z.shape == (2, 7), f"3 numbers of noise and 4 kinds make 7 numbers: the shape should be (2, 7), not {_z.shape}"
assert np.array_equal(_z, [[7, 7, 7, 0, 1, 0, 0], [7, 7, 7, 0, 0, 0, 1]]), \
    f"noise should come first, then a single 1 among the kinds; yours: {_z}"
_z = np.asarray(_latent_vectors(np.zeros((1, 2)), np.array([0]), 2, np.array([[0.5, -1.0]])))
assert np.array_equal(_z, [[0, 0, 1, 0, 0.5, -1]]), f"continuous codes should come last; yours: {_z}"
print("✓ exercise 1")

# %% [markdown]
r"""
## How much does one thing reveal about another?

If the generator ignores a code, the image reveals nothing about it. So we require that the image **reveals** its code.
For this we need a measure. The **entropy** of a distribution $p$ over kinds measures how uncertain we are before
looking:

$$ H(p) = -\sum_k p_k \log_2 p_k \quad\text{bits} $$

For one of 8 equally likely kinds it is 3 bits, the number of yes-or-no questions needed to find out. For a certain kind
it is 0 ($0 \log 0$ counts as 0). The **mutual information** of two things measures by how much seeing one reduces our
uncertainty about the other,

$$ I(c; x) = H(c) - H(c \mid x), $$

where $H(c \mid x)$ is the entropy that remains when $x$ is known, averaged over all $x$ that occur. It is 0 if $x$
reveals nothing, and at most $H(c)$ (Shannon 1948).

## Exercise 2: entropy and mutual information

Compute the mutual information from a table of joint probabilities: row $k$, column $j$ is the probability that the code
is $k$ *and* the image is of kind $j$. The shortest way (check it on paper):

$$ I(c; x) = H(c) + H(x) - H(c, x), \qquad H(c, x) \text{: of all entries of the table as one distribution.} $$
"""

# %% exercise
# Exercise 2
def entropy(p):
    """Entropy in bits of the probabilities p, an array of any shape that adds up to 1."""
    ### BEGIN SOLUTION
    p = p[p > 0]
    return -(p * np.log2(p)).sum()
    ### HANDOUT
    # return -1.0         # your code instead of this line
    ### END SOLUTION


def mutual_information(table):
    """Mutual information in bits of rows and columns, from joint probabilities (rows, columns) that add up to 1."""
    ### BEGIN SOLUTION
    return entropy(table.sum(axis=1)) + entropy(table.sum(axis=0)) - entropy(table)
    ### HANDOUT
    # return -1.0         # your code instead of this line
    ### END SOLUTION

# %% check
_entropy = checked(entropy, shape=())
_mutual_information = checked(mutual_information, shape=())
assert np.isclose(_entropy(np.full(8, 1 / 8)), 3), "one of 8 equally likely kinds: 3 bits"
assert np.isclose(_entropy(np.array([0.0, 1.0])), 0), "a certain kind has entropy 0: leave out probabilities of 0"
assert np.isclose(_entropy(np.array([0.5, 0.25, 0.25])), 1.5), "probabilities 1/2, 1/4, 1/4: 1.5 bits"
assert np.isclose(_mutual_information(np.eye(4) / 4), 2), "if rows and columns determine each other, 4 kinds: 2 bits"
assert np.isclose(_mutual_information(np.full((4, 5), 1 / 20)), 0), "independent: 0 bits"
assert np.isclose(_mutual_information(np.array([[0.25, 0.25, 0], [0, 0, 0.5]])), 1), \
    "columns determine rows, but not the other way round: 1 bit, the entropy of the rows"
print("✓ exercise 2")

# %% [markdown]
r"""
## A bound that we can train

For images nobody can write that table: there are too many images. But a network can *guess*. Let the **recognizer**
$Q(c \mid x)$ be any guess of the code from the image. Then

$$ I(c; x) \;\ge\; H(c) + \mathbb E \log_2 Q(c \mid x) \;=:\; L_I, $$

where $c$ is the code from which $x$ was generated. Both sides are equal if $Q$ is the true probability of the code
given the image (Chen et al. 2016, eq. 4). The difference is the mean over the images of
$\sum_k p_k \log_2 (p_k / Q_k)$, where $p_k$ are the true probabilities: a *Kullback-Leibler divergence*, which is never
negative. So if $L_I$ is large, the information is at least as large. Both networks can increase $L_I$: the recognizer
by guessing better, the generator by producing images that are easier to guess from.

## Exercise 3: the bound

In a world with few images we can compare the bound with the true information. `guess[j, k]` is $Q(c = k \mid x = j)$.
"""

# %% slide [markdown]
r"""
## Information, and a bound that we can train

$$ I(c; x) = H(c) - H(c \mid x) \;\ge\; H(c) + \mathbb{E} \,\log_2 Q(c \mid x) $$

- Mutual information: by how many bits an image $x$ reduces the uncertainty about its code $c$
- A recognizer $Q$ guesses the code from the image. Both sides are equal for the best possible guess
- Train $G$ **and** $Q$ to increase the right side: we need no labels, because we chose $c$ ourselves

Chen et al. 2016, eq. 4
"""

# %% exercise
# Exercise 3
def bound(table, guess):
    """L_I in bits, from joint probabilities `table` (codes, images) and `guess` (images, codes), rows of sum 1."""
    ### BEGIN SOLUTION
    return entropy(table.sum(axis=1)) + (table * np.log2(guess.T)).sum()
    ### HANDOUT
    # return -1.0         # your code instead of this line
    ### END SOLUTION

# %% check
_bound = checked(bound, shape=())
_r = np.random.default_rng(0)
_table = _r.dirichlet(np.ones(20)).reshape(4, 5)
_truth, _information = (_table / _table.sum(axis=0)).T, mutual_information(_table)
assert np.isclose(_bound(_table, _truth), _information), \
    f"with the true probabilities the bound is the information {_information:.3f}, not {_bound(_table, _truth):.3f}"
_ignorant = np.tile(_table.sum(axis=1), (5, 1))
assert np.isclose(_bound(_table, _ignorant), 0), "a recognizer that ignores the image gains 0 bits"
_guesses = [_bound(_table, _r.dirichlet(np.ones(4), 5)) for _ in range(50)]
assert max(_guesses) <= _information + 1e-9, "no guess can beat the true probabilities"
print(f"✓ exercise 3: {_information:.3f} bits. The bound of the best of 50 random guesses is {max(_guesses):.3f}" +
      (", below 0: a bad guess shows nothing" if max(_guesses) < 0 else ""))

# %% [markdown]
r"""
## Exercise 4: what InfoGAN adds to the losses

$H(c)$ is constant, because we choose how to draw the codes. So for a categorical code we *minimise*
$-\log Q(c \mid x)$, the *cross-entropy*. The recognizer's answers are arbitrary numbers $a_k$ (like scores), and the
*softmax*

$$ Q(k \mid x) = \frac{e^{a_k}}{\sum_j e^{a_j}} $$

turns them into probabilities; `ops.log_softmax(answers)` computes their logarithm safely. For a continuous code the
recognizer answers with a number. If we assume that its error is normal with a fixed width, $-\log Q$ is the squared
error, up to constants. Together, with the weights $\lambda$ of BioGANs (and natural logarithms):

$$ -\lambda L_I = -\mathbb E \log Q(c \mid x) \;+\; \tfrac12\, \mathbb E\, (u - \hat u(x))^2 \quad
\text{(summed over the continuous codes)}. $$
"""

# %% exercise
# Exercise 4
def information_loss(answers, category, continuous):
    """Mean over the batch of the category's cross-entropy plus half the squared error of each continuous code.

    answers (batch, kinds + m) of the recognizer: for the kinds first, then for the continuous codes
    category (batch, kinds) one-hot, continuous (batch, m); m may be 0
    """
    kinds = category.shape[1]
    ### BEGIN SOLUTION
    cross_entropy = -ops.sum(category * ops.log_softmax(answers[:, :kinds]), axis=1)
    error = ops.sum(ops.square(continuous - answers[:, kinds:]), axis=1)
    return ops.mean(cross_entropy + error / 2)
    ### HANDOUT
    # return 0.0 * ops.mean(answers)      # your code instead of this line
    ### END SOLUTION

# %% check
_information_loss = checked(information_loss, shape=(), kind=tf.Tensor, hint=USE_OPS)
_r = np.random.default_rng(1)
_c, _u = np.eye(5, dtype="float32")[_r.integers(0, 5, 9)], _r.uniform(-1, 1, (9, 2)).astype("float32")
_none = np.zeros((9, 0), "float32")
_loss = float(_information_loss(ops.zeros((9, 5)), _c, _none))
assert np.isclose(_loss, np.log(5)), f"equal answers for all 5 kinds should give log 5 = 1.609, not {_loss:.3f}"
assert float(_information_loss(ops.convert_to_tensor(30 * _c), _c, _none)) < 0.01, "correct and certain: about 0"
_answers = ops.convert_to_tensor(_r.standard_normal((9, 7)).astype("float32"))
_layout = models.NetworkSpec("InfoGAN", 16, 16, 1, ("a",), categorical=(5,), continuous=2).codes
_z = np.concatenate([np.zeros((9, _layout[0].start), "float32"), _c, _u], axis=1)
_product = float(gan.information_loss(_answers, ops.convert_to_tensor(_z), _layout,
                                      SimpleNamespace(categorical_weight=1.0, continuous_weight=0.5)))
_yours = float(_information_loss(_answers, _c, _u))
assert np.isclose(_yours, _product, atol=1e-5), f"train.py computes {_product:.4f}, not {_yours:.4f}"
print("✓ exercise 4: this is what train.py -m InfoGAN adds to both losses")

# %% [markdown]
r"""
## InfoGAN on the ring

Let us return to the ring of eight clusters from notebook 1, now with one categorical code of 8 kinds. The recognizer
shares the discriminator's hidden layers: the features that distinguish real from generated also distinguish kinds. An
iteration is the same as in notebook 1, but generator and recognizer also walk downhill on your loss, multiplied by
`weight`: the recognizer, and the layers that it shares, in the discriminator's step, the generator in its own. With
weight 0 we have a plain GAN that *receives* a code but need not reveal it.

![Noise and codes become a cell; from layers that both share, the critic judges it and Q reads its codes](diagram_infogan.png)
"""

# %%
KINDS, NOISE = 8, 2
CENTRES = 2 * np.stack([np.cos(np.pi * np.arange(8) / 4), np.sin(np.pi * np.arange(8) / 4)], axis=1)


def ring(count, rng):
    """Points of eight clusters on a ring, shape (count, 2)."""
    return (CENTRES[rng.integers(0, 8, count)] + 0.05 * rng.standard_normal((count, 2))).astype("float32")


def networks():
    """(generator, discriminator, recognizer); the last two share all layers but the last."""
    z, x = keras.Input((NOISE + KINDS,)), keras.Input((2,))
    hidden, trunk = z, x
    for _ in range(2):
        hidden, trunk = (keras.layers.Dense(64, activation="relu")(layer) for layer in (hidden, trunk))
    return (keras.Model(z, keras.layers.Dense(2)(hidden)), keras.Model(x, keras.layers.Dense(1)(trunk)),
            keras.Model(x, keras.layers.Dense(KINDS)(trunk)))


def train_ring(weight, iterations=1500, batch=128):
    """Train an InfoGAN on the ring; returns its generator and recognizer."""
    keras.utils.set_random_seed(1)
    generator, discriminator, recognizer = networks()
    losses = gan.GAN(settings=None)                         # both losses of notebook 1
    d_weights = list({id(v): v for v in discriminator.trainable_variables + recognizer.trainable_variables}.values())
    g_weights = generator.trainable_variables
    d_optimizer, g_optimizer = (keras.optimizers.Adam(1e-3, beta_1=0.5) for _ in range(2))
    d_optimizer.build(d_weights)
    g_optimizer.build(g_weights)

    def noisy(points):                                      # as in notebook 1, exercise 6
        return points + 0.3 * tf.random.normal(tf.shape(points))

    @tf.function
    def iterate(real, z):
        category, nothing = z[:, NOISE:], tf.zeros((batch, 0))
        with tf.GradientTape(persistent=True) as tape:
            fake = generator(z)
            score = discriminator(noisy(fake))
            information = weight * information_loss(recognizer(noisy(fake)), category, nothing)
            d_loss = ops.mean(ops.softplus(-discriminator(noisy(real)))) + ops.mean(ops.softplus(score)) + information
            g_loss = losses.generator_loss(score) + information
        d_optimizer.apply(tape.gradient(d_loss, d_weights, unconnected_gradients="zero"), d_weights)
        g_optimizer.apply(tape.gradient(g_loss, g_weights), g_weights)

    rng = np.random.default_rng(0)
    for _ in tqdm(range(iterations), f"weight {weight:.0f}", mininterval=1, leave=False):
        z = latent_vectors(rng.standard_normal((batch, NOISE)), rng.integers(0, KINDS, batch), KINDS)
        iterate(tf.constant(ring(batch, rng)), tf.constant(z))
    return generator, recognizer

# %% [markdown]
r"""
**Predict first.** How many of the three bits of the code will the position of a point reveal, with weight 0 and with
weight 1?
"""

# %% figure ring
figure, panels = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
kinds = np.repeat(np.arange(KINDS), 100)
z = latent_vectors(np.random.default_rng(3).standard_normal((len(kinds), NOISE)), kinds, KINDS)
bits = {}
for axes, weight in zip(panels, (0.0, 1.0)):
    ring_generator, recognizer = train_ring(weight)
    points = ring_generator(z).numpy()
    cluster = np.linalg.norm(points[:, None] - CENTRES, axis=2).argmin(axis=1)
    table = np.zeros((KINDS, 8))
    np.add.at(table, (kinds, cluster), 1 / len(kinds))
    bits[weight] = mutual_information(table)
    axes.plot(*CENTRES.T, "o", markersize=26, color="0.9", zorder=0)
    for k in range(KINDS):
        axes.scatter(*points[kinds == k].T, s=14, color=plt.cm.tab10(k), marker="osD^v<>P"[k], label=f"c = {k}")
    axes.set(title=f"weight {weight:.0f}: the cluster reveals {bits[weight]:.2f} bits of the code", aspect="equal",
             xlim=(-3, 3), ylim=(-3, 3))
panels[1].legend(loc="center", fontsize=8)
plt.show()

# %% [markdown]
r"""
On the left, the generator receives the code and does with it whatever it likes. On the right, each kind has its own
place, although the network was never shown the clusters, nor how many there are (we gave it eight kinds; try 5 or 12).
Something else has changed: a generator that has to show eight kinds can't collapse to one mode.

## Digits

Now images. `biogans get_data digits` writes scikit-learn's handwritten digits as a data folder, enlarged to 16×16
pixels. `train.py -m InfoGAN` trains the networks of DCGAN with one categorical code of ten kinds, `c0`, and two
continuous codes, `u0` and `u1`. The labels appear only as names of folders; the training does not use them.
"""

# %% slide [markdown]
r"""
## InfoGAN

![Noise and codes become a cell; from layers that both share, the critic judges it and Q reads its codes](diagram_infogan.png)
"""

# %% slide [markdown]
r"""
## InfoGAN on the ring

![](ring.png)

$$ \min_{G, Q} \, \max_D \; V(D, G) - \lambda L_I(G, Q) $$

A code that the sample must reveal acquires a meaning (Chen et al. 2016, eq. 6). $Q$ shares the hidden layers of $D$. So
$L_I$, which in eq. 6 does not contain $D$, trains these layers too, here as in the authors' code.
"""

# %%
def command(name, *words):
    """Run a command of BioGANs in the folder WORK, as in a terminal; returns its output."""
    return run_command(name, *words, folder=WORK)


if not (WORK / "digits").exists():
    command("get_data", "digits", "-o", "digits")
command("train", "-d", "digits", "-m", "InfoGAN", "-a", "GAN", "--preset", "infogan", "--no_flips", "-z", 74,
        "-s", 1, "-e", 2500, "-M", 500, "--resume")
with open(WORK / "checkpoints" / "codes.InfoGAN.GAN.0.csv") as file:
    for row in csv.DictReader(file):
        shown = ("iteration", "c0 bits", "c0 decisiveness", "u0 R2", "u1 R2")
        print(", ".join(f"{name} {float(row[name]):.4g}" for name in shown))

FILE = WORK / "checkpoints" / "weights.generator.InfoGAN.GAN.0.h5"
trained = load_generator(FILE)
generator, spec = trained.network, trained.spec
recognizer = load_recognizer(FILE)
print("codes:", [codes.describe_code(code) for code in spec.codes])

# %% [markdown]
r"""
In the printed table, `c0 bits` is the bound of exercise 3 for generated images (at most $\log_2 10 = 3.32$), and `R2`
is its counterpart for a continuous code (1: the image reveals it exactly, 0: not at all). We explain `decisiveness`
below.

To see what a code means, change it and keep everything else: a **traversal**.

**Predict first.** We also change the noise and keep the code. What will the noise change: the digit, its style, or
nothing?
"""

# %% figure traversal
noise = np.random.default_rng(0).standard_normal((2, spec.codes[0].start))
start = latent_vectors(noise, np.zeros(2, int), 10, np.zeros((2, 2)))
cells = generate(generator, codes.traversal(start, spec.codes[0], range(10))).reshape(10, 2, 16, 16, 1)
first, second = np.moveaxis(cells + 1, 1, 0) / 2
plt.figure(figsize=(11, 4.2))
plt.imshow(figures.table([first, second, np.abs(first - second)], [f"c0={k}" for k in range(10)],
                         ["noise 1", "noise 2", "difference"]))
plt.axis("off")
plt.title("one kind per column, one noise vector per row, and the difference between the two")
plt.show()

# %% figure continuous
figure, panels = plt.subplots(1, 2, figsize=(13, 3.8), layout="constrained")
steps = np.linspace(-1.5, 1.5, 9)
start = latent_vectors(np.tile(noise[:1], (5, 1)), np.arange(5) * 2, 10, np.zeros((5, 2)))
for axes, code in zip(panels, spec.codes[1:]):
    cells = generate(generator, codes.traversal(start, code, steps)).reshape(9, 5, 16, 16, 1)
    axes.imshow(figures.table(np.moveaxis(cells + 1, 1, 0) / 2, [f"{step:+.1f}" for step in steps]))
    axes.axis("off")
    axes.set_title(f"{code.name} varies along each row; kinds 0, 2, 4, 6, 8")
plt.show()

# %% [markdown]
r"""
Name them: what do `u0` and `u1` do? Does each do *one* thing? (Values beyond ±1, the two outermost on each side, never
occurred in training: there the generator extrapolates. `biogans traverse -i FILE` writes such images, and movies, for
any InfoGAN.) Now look at the last row of the first figure: little is left for the noise to do. The codes have taken
over what varies most, and nothing in the losses asks the noise to be visible.

## Exercise 5: how well do the kinds agree with the digits?

Here we happen to have labels, so we can ask. The network's kind 0 need not be the digit 0: kinds have no names. So we
find the best one-to-one **assignment** of kinds to digits, and count how often the kind of a *held-out* image (one that
was not used in training) is the one assigned to its digit. We could try all $10! = 3{,}628{,}800$ assignments; the
Hungarian algorithm is faster: `rows, columns = linear_sum_assignment(table, maximize=True)` chooses one column for each
row such that `table[rows, columns].sum()` is largest.
"""

# %% exercise
# Exercise 5
def agreement(labels, kinds):
    """Fraction of images whose kind is assigned to their label, in the best assignment; both (images,), 0 … 9."""
    ### BEGIN SOLUTION
    table = np.zeros((10, 10))
    np.add.at(table, (labels, kinds), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return table[rows, columns].sum() / len(labels)
    ### HANDOUT
    # return -1.0         # your code instead of this line
    ### END SOLUTION

# %% check
_agreement = checked(agreement, shape=())
_labels = np.repeat(np.arange(10), 30)
assert np.isclose(_agreement(_labels, (_labels + 3) % 10), 1), "digits under other names agree completely: 1"
assert np.isclose(_agreement(_labels, np.zeros(300, int)), 0.1), "all images in one kind, assigned to one digit: 0.1"
assert np.isclose(_agreement(np.repeat([0, 1], [40, 15]), np.repeat([0, 1], [20, 35])), 35 / 55), \
    "most images of kinds 0 and 1 are zeros, but only one kind can be assigned to the zeros: 20 + 15 of 55 agree"
_r = np.random.default_rng(0)
for _ in range(3):
    _kinds = np.where(_r.random(300) < 0.6, (_labels * 7) % 10, _r.integers(0, 10, 300))
    _product = clusters.accuracy(_labels, _kinds)
    assert np.isclose(_agreement(_labels, _kinds), _product), \
        f"biogans evaluate --codes finds {_product:.3f}, not {_agreement(_labels, _kinds):.3f}"
print("✓ exercise 5: this is the accuracy of biogans evaluate --codes")

# %% figure table
training, held_out = (dataloader.load(WORK / "digits", split=split) for split in ("train", "test"))
answers = codes.read_codes(recognizer, to_signed(held_out.pixels), spec.codes)["c0"]
kinds = answers.argmax(axis=1)
table = np.zeros((10, 10), int)
np.add.at(table, (held_out.labels, kinds), 1)
_, order = linear_sum_assignment(table, maximize=True)
plt.figure(figsize=(4.6, 4.2))
plt.imshow(table[:, order], cmap="cividis")
for row, column in np.ndindex(10, 10):
    if table[row, order[column]]:
        plt.text(column, row, table[row, order[column]], ha="center", va="center", fontsize=8,
                 color="black" if table[row, order[column]] > 9 else "white")
plt.xticks(range(10), order)
plt.yticks(range(10))
plt.xlabel("kind according to the recognizer")
plt.ylabel("digit")
plt.title(f"{len(kinds)} held-out digits: agreement {agreement(held_out.labels, kinds):.2f}", fontsize=10)
plt.show()
grouped = clusters.k_means(training.pixels, held_out.pixels, 10)
print(f"k-means with 10 clusters: {clusters.accuracy(held_out.labels, grouped):.2f}")

# %% slide [markdown]
r"""
## Digits, without labels

![](traversal.png)
![](table.png)
"""

# %% [markdown]
r"""
`k-means`, which groups images around ten centres, is the obvious first thing to try, so report it beside the result. It
does well on these small digits; on MNIST's (28×28 pixels) it agrees for half of the images, and InfoGAN for nine in ten
(`docs/infogan.md`).

Without labels, how do we choose among training runs with different seeds? The recognizer's answers for real images
should be *confident*, and *different* for different images. With exercise 2 we can measure both at once: the
**decisiveness**

$$ H\bigl(\mathbb E\, Q(c \mid x)\bigr) - \mathbb E\, H\bigl(Q(c \mid x)\bigr) $$

is the mutual information of real images and the recognizer's answers.
"""

# %%
decisiveness = entropy(answers.mean(axis=0)) - np.mean([entropy(p) for p in answers])
print(f"decisiveness: {decisiveness:.2f} of at most {np.log2(10):.2f} bits; "
      f"train.py computes {codes.decisiveness(answers):.2f}")

# %% [markdown]
r"""
## Directions: sliders for any generator

Most generators have no codes. But we can ask in which directions of $z$ the image changes most. Let the matrix $J$ hold
the derivatives of all pixels, with one row for each number of $z$. A small step $d$ changes the image by $d^\top J$,
and the squared size of this change is $d^\top (J J^\top)\, d$. Average $J J^\top$ over several latent vectors. The mean
is a symmetric matrix, and its **eigenvectors** are directions at right angles to each other. The one with the largest
**eigenvalue** changes the image most, the one with the smallest least (Wang & Ponce 2021). They, and `docs/explore.md`,
write one *column* for each number of $z$; the same matrix is then $J^\top J$.

Mind the order: average $J J^\top$, not $J$. A number that brightens one cell and darkens another has a mean derivative
of 0, but it does change cells.

## Exercise 6: the strongest directions

Replace derivatives by differences: row $i$ of $J$ is $\bigl(G(z + h e_i) - G(z)\bigr) / h$, where $h$ is `step` and
$e_i$ is row $i$ of `np.eye(n)`. `np.linalg.eigh(matrix)` returns eigenvalues in **ascending** order, and eigenvectors
as **columns**.
"""

# %% exercise
# Exercise 6
def directions(generate, cells, step=0.1):
    """(directions (n, n), one per row, strengths (n,)), the strongest first.

    generate   function of latent vectors (count, n) that returns images (count, …)
    cells      latent vectors (any number, n) around which to measure
    A strength is the root mean square change of the pixels per unit of a small step: the square root of an eigenvalue
    of the mean over the cells of J J^T / (number of pixels).
    """
    n = cells.shape[1]
    mean = np.zeros((n, n))
    for z in cells:
        ### BEGIN SOLUTION
        images = generate(np.concatenate([z[None], z + step * np.eye(n)]))
        j = (images[1:] - images[0]).reshape(n, -1) / step
        mean += j @ j.T / j.shape[1] / len(cells)
        ### HANDOUT
        # mean += np.eye(n)       # your code instead of this line: three lines
        ### END SOLUTION
    values, vectors = np.linalg.eigh(mean)
    return vectors.T[::-1], np.sqrt(np.maximum(values[::-1], 0))

# %% check
_directions = checked(directions, kind=tuple)
_a = np.array([[3.0, 0, 0, 0], [0, 0, 1.0, 0]])
_rows, _strengths = _directions(lambda z: z @ _a, np.zeros((2, 2)))
assert np.allclose(_strengths, [1.5, 0.5]), \
    f"G(z) = (3 z0, 0, z1, 0) has four pixels, so the strengths are 3/√4 and 1/√4; yours: {_strengths}"
assert np.allclose(np.abs(_rows), np.eye(2)), f"its strongest direction is z0, then z1; yours: {_rows}"
_rows, _strengths = _directions(lambda z: z ** 2, np.array([[1.0, 0.01], [-1.0, 0.01]]), step=1e-4)
assert _strengths[0] > 1, "z0² falls at -1 and grows at 1: the mean of J cancels, the mean of J J^T does not"
_spec = models.NetworkSpec("DCGAN", 12, 12, 1, ("a",), nz=6, ngf=4, init="he")
_network = models.build_generator(_spec)
_product = explore.directions(_network, explore.groups_of(_network, _spec))[0]
_cells = np.random.default_rng(0).standard_normal((explore.CELLS, 6), np.float32)
_yours = _directions(lambda z: 127.5 * generate(_network, z.astype("float32")), _cells)
assert np.allclose(_yours[1], _product[1], rtol=0.01), \
    f"biogans explore finds {_product[1].round(2)}, not {_yours[1].round(2)}"
assert abs(_yours[0][0] @ _product[0][0]) > 0.99, "biogans explore finds another strongest direction"
print("✓ exercise 6: these are the sliders of biogans explore")

# %% [markdown]
r"""
Try it on a generator without codes: a plain DCGAN for the same digits, with 16 numbers of noise.
"""

# %% figure directions
command("train", "-d", "digits", "-m", "DCGAN", "-a", "GAN", "--preset", "infogan", "-z", 16, "--no_flips", "-s", 1,
        "-e", 2000, "--resume")
plain = load_generator(WORK / "checkpoints" / "weights.generator.DCGAN.GAN.0.h5").network


def plain_images(z):
    """Images of the plain generator, in grey levels from 0 to 255."""
    return 127.5 * (generate(plain, z.astype("float32")) + 1)


noise = np.random.default_rng(2).standard_normal((16, 16))
rows, strengths = directions(plain_images, noise)
chosen = (0, 1, 2, len(rows) - 1)
steps = np.linspace(-2, 2, 9)
moved = np.stack([plain_images(noise[0] + steps[:, None] * rows[k]) for k in chosen]) / 255
figure, panels = plt.subplots(1, 2, figsize=(12, 3.6), layout="constrained", width_ratios=[2.4, 1])
names = [f"direction {k + 1}" for k in chosen]
panels[0].imshow(figures.table(moved, [f"{step:+.1f}" for step in steps], names))
panels[0].axis("off")
panels[1].plot(range(1, len(rows) + 1), strengths, "o-", markersize=3, color="#009E73")
panels[1].set(xlabel="direction", ylabel="grey levels per unit step", ylim=(0, None), xticks=(1, 4, 8, 12, 16))
plt.show()

# %% slide [markdown]
r"""
## Sliders for any generator

![](directions.png)

A plain DCGAN. Eigenvectors of the mean of $J J^T$, where row $i$ of $J$ is the derivative of the pixels by $z_i$: the
directions in which a small step changes the image most. Strong, but do they *mean* anything? Wang & Ponce 2021
"""

# %% [markdown]
r"""
The strongest direction changes the image a lot, the last one hardly at all. But no direction has *one* meaning, as a
code has: along the way one digit becomes another. Any generator has strong directions; meaning must be trained.

## The page

`biogans explore` writes a page with these sliders: one file that contains the network and needs neither a server nor an
internet connection. Codes come first, then the directions of the noise.
"""

# %%
printed = command("explore", "-i", FILE.relative_to(WORK), "-o", "sliders.html")
print(printed.splitlines()[-1])

# %% [markdown]
r"""
Open `work_6/sliders.html` with a double click (from a cluster, copy it to your computer first). Press `?` for the keys;
`R` shows a random digit, `K` keeps one, and you can blend two that you have kept. Send it to a friend: the file is all
they need.

## Exercise 7: a slider of your own

Which direction of the plain generator makes digits **brighter** (more ink)? Not the strongest one: that one merely
changes *a lot*. Measure the ink for many latent vectors, and fit a plane $\text{ink} \approx a + z \cdot b$ by least
squares; $b / \lVert b \rVert$ is the direction (`biogans interpolate --cycle` finds the direction of a cell's growth in
the same way). `np.linalg.lstsq(matrix, values, rcond=None)[0]` returns the coefficients of the columns of `matrix`; for
$a$ you need a column of ones.
"""

# %% exercise
# Exercise 7
def direction_of(values, z):
    """Direction of length 1 in which `values` (count,) grow fastest, from a linear fit in z (count, n)."""
    ### BEGIN SOLUTION
    matrix = np.concatenate([np.ones((len(z), 1)), z], axis=1)
    slope = np.linalg.lstsq(matrix, values, rcond=None)[0][1:]
    return slope / np.linalg.norm(slope)
    ### HANDOUT
    # return np.zeros(z.shape[1])         # your code instead of this line
    ### END SOLUTION

# %% check
_direction_of = checked(direction_of, shape=lambda values, z: z.shape[1:])
_r = np.random.default_rng(2)
_z = _r.standard_normal((400, 5))
_found = np.asarray(_direction_of(9 + _z @ [0, 3, 0, -4, 0], _z))
assert np.allclose(_found, [0, 0.6, 0, -0.8, 0]), f"9 + 3 z1 - 4 z3 grows along (0, 0.6, 0, -0.8, 0); yours: {_found}"
assert np.isclose(np.linalg.norm(_direction_of(_r.standard_normal(400), _z)), 1), "the direction should have length 1"
_noise = _r.standard_normal((600, len(rows)))
_found = _direction_of(plain_images(_noise).mean(axis=(1, 2, 3)), _noise)
_ink = [plain_images(_noise[:100] + _step * _found).mean() for _step in (-3, 0, 3)]
assert _ink[0] < _ink[1] < _ink[2], f"ink at -3, 0 and 3 along your direction should grow: {np.round(_ink, 1)}"
print(f"✓ exercise 7: mean grey level {_ink[0]:.1f}, {_ink[1]:.1f}, {_ink[2]:.1f}")

# %% figure ink
many = np.random.default_rng(4).standard_normal((1000, len(rows)))
ink_direction = direction_of(plain_images(many).mean(axis=(1, 2, 3)), many)
moved = np.stack([plain_images(noise[k] + steps[:, None] * ink_direction) for k in (3, 8, 13)]) / 255
plt.figure(figsize=(10, 4))
plt.imshow(figures.table(moved, [f"{step:+.1f}" for step in steps]))
plt.axis("off")
plt.title("along the direction of ink, for three noise vectors")
plt.show()

# %% quiz [markdown]
r"""
## Quiz

Four questions about what you have seen, each with one right answer. Enter the letters in the cell below: it explains
every answer, right or wrong.

**Question 1.** The bound for a code of ten kinds is close to $\log_2 10$ bits. What do you know?

- **a)** Each image reveals its code almost certainly.
  ✓ The information is at least as large as the bound, and at most as large as the entropy of the code. What the kinds
    *are* is another question.
- **b)** The ten kinds are the ten digits.
  ✗ Ten widths of a stroke would give the same bound. Whether the kinds agree with the digits can only be found out with
    labels, as in exercise 5.
- **c)** The recognizer has learnt the labels.
  ✗ It never saw any. It was trained with codes that we drew ourselves, for generated images.

**Question 2.** With some recognizer the bound is -0.1 bits. What do you know about the information?

- **a)** It is negative.
  ✗ Information is never negative: seeing an image can't make us more uncertain on average.
- **b)** It is 0, so images do not depend on the code.
  ✗ The bound is low because the recognizer guesses badly. A better recognizer may find much more for the same images.
- **c)** Nothing: this recognizer guesses worse than one that ignores the image.
  ✓ The bound is the information minus a penalty for wrong guesses. A bad guess pays more than there is to gain, as the
    random guesses of exercise 3 do.

**Question 3.** For the directions we average $J J^\top$ over several latent vectors. Why not $J$ itself?

- **a)** $J$ is not square, so it has no mean.
  ✗ Matrices of any shape can be averaged. But in the average of J, changes with opposite signs cancel.
- **b)** Changes with opposite signs would cancel.
  ✓ A number that brightens one cell and darkens another has a mean derivative of 0, but it does change cells. The squares
    in the product do not cancel.
- **c)** It takes less time.
  ✗ Both need the same derivatives, which take most of the time. What matters is that opposite changes do not cancel.

**Question 4.** A direction of a plain GAN changes the image more than any other. So it has one meaning, as a code has.
True?

- **a)** True.
  ✗ Look at the first row of the directions: one digit becomes another on the way. Strength measures how much changes,
    and not what.
- **b)** False.
  ✓ Strong means that many pixels change. A code gets its meaning from a loss which requires that images reveal it, and a
    plain GAN has no such loss.
"""

# %% [markdown]
r"""
## To discuss

1. The bound reaches 3.3 bits long before the kinds match the digits. Which other kinds would be as easy to recognise?
2. An InfoGAN of cells has a code that varies with the DNA content. A colleague calls it *time*. What would have to be
   true?
3. You trained with ten seeds, and show the run whose kinds agree best with the labels. What is wrong with that number?
4. Why does a code of ten kinds not become, say, the stroke width in ten steps?

## Sources

- Chen et al. (2016), *InfoGAN: interpretable representation learning by information maximizing generative adversarial
  nets*, [arXiv:1606.03657](https://arxiv.org/abs/1606.03657)
- Shannon (1948), *A mathematical theory of communication*,
  [doi:10.1002/j.1538-7305.1948.tb01338.x](https://doi.org/10.1002/j.1538-7305.1948.tb01338.x)
- Wang & Ponce (2021), *The geometry of deep generative image models and its applications*,
  [arXiv:2101.06006](https://arxiv.org/abs/2101.06006)
- Kuhn (1955), *The Hungarian method for the assignment problem*,
  [doi:10.1002/nav.3800020109](https://doi.org/10.1002/nav.3800020109)
"""

# %% answer [markdown]
r"""
## For the instructor

**Timing** (45 minutes): codes and exercise 1: 5; entropy and exercise 2: 8; the bound and exercises 3 and 4: 12 (start
to train the digits before); ring: 3; digits and exercise 5: 7; the page: 5; exercise 6: 5. Give exercise 7 to students
who are ahead.

**Answers.** 1: anything that can be read off the image: stroke widths in ten steps, or two kinds of slanted 1 and one
kind for 7 and 9 together. The outcome is whatever is easiest to recognise in images that still have to look real, which
is why the initial weights matter (`docs/infogan.md`). 2: that DNA content never falls and that cells do not pause; even
then, ranks say nothing about duration. 3: labels were used to choose: choose by decisiveness, or report all ten. 4: it
can, and sometimes does. But among all properties that come in ten distinguishable steps, the shapes of digits differ
most.

**Numbers.** The agreement varies with the seed and the machine (0.92 in the run shown in `docs/course`, k-means 0.83).
The lesson is to make the comparison at all. On the ring, the plain GAN's code shares about 0.1 of 3 bits with the
cluster.
"""

# %% slide [markdown]
r"""
## To discuss

1. 3.3 bits, and the kinds are not the digits. What else could they be?
2. A code varies with DNA content. Is it time?
3. The best of ten seeds, chosen by labels: what is wrong?
4. Why digits, and not the stroke width in ten steps?
"""
