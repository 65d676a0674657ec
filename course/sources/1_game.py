# %% [markdown]
r"""
# 1. The game: a GAN in 60 lines

**After this notebook you can** explain what a generator and a discriminator are and what each of them minimises; write
both losses; read a picture of a training run; explain why the solution is a saddle, and recognise mode collapse.

**You need** Python functions and NumPy arrays. You need no knowledge of neural networks: each idea is explained when it
first appears. Run the cells from top to bottom (Shift+Enter). A cell that begins with `# Exercise` is yours to
complete. The cell after it checks your code: it prints a tick, or explains in the last of its red lines what is wrong.
Before you have solved an exercise, the cells after it also run, but their results make no sense. The whole notebook takes
about a minute to compute. Start it in a folder that you may write to: it creates a folder `cells` there. TensorFlow may
print red lines when it starts: ignore them.

It begins with the end: what a trained network can do. Then you build a small one yourself.
"""

# %% slide [markdown]
r"""
# The game

A GAN in 60 lines: two networks, one saddle, and what goes wrong

*Deep Learning by Example* · notebook 1
"""

# %% install

# %%
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"        # hide most of TensorFlow's start-up messages

from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from keras import ops
from tqdm import tqdm

import biogans
from biogans.core import figures
from biogans.core.trained import load_generator
from biogans.system.hints import USE_OPS, checked
from biogans.system.notebook import run_command

HOME = Path(biogans.__file__).resolve().parents[2]
STAR = HOME / "data_48-80/checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.48_80.1.6.h5"
WORK = Path("cells")
WORK.mkdir(exist_ok=True)
REAL, FAKE, JUDGE = "#0072B2", "#D55E00", "#009E73"       # colours that colour-blind readers can tell apart
plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
r"""
## The result first

BioGANs comes with a trained generator of yeast cells. It turns a vector $z$ of 100 random numbers into a cell with seven
proteins, each in a channel of its own: a marker of growth (magenta) and six *polarity factors* (green), which take part
in the control of where the cell grows; where both are bright, the picture is white. Each row below is one cell; nobody
photographed it.
"""

# %% figure cells
trained = load_generator(STAR)
z = np.random.default_rng(4).standard_normal((5, 100)).astype("float32")
names = trained.spec.factors
plt.figure(figsize=(11, 4.4))
plt.imshow(figures.sample_picture(trained.generate(z), names, palette="magenta-green"))
plt.axis("off")
plt.title("generated cells: the growth marker, and six proteins with it")
plt.show()

# %% [markdown]
r"""
**Predict first.** It learnt from 24,219 images, and *each of them shows only one of the six proteins*. How can a
network that has never seen two of them together draw six in one cell? And how could anybody find out whether it is
right? Write down your guesses; notebook 4 answers.

A yeast cell grows longer until it divides. So two hundred generated cells in the order of their size are a walk through
the cell cycle; here are seven of them. Watch the marker: growth at one end, then at both, then at the wall in the middle.
"""

# %% figure walk
many = np.random.default_rng(0).standard_normal((200, 100)).astype("float32")
area = (trained.generate(many).mean(axis=-1) > -0.8).sum(axis=(1, 2))       # pixels of the cell
steps = np.argsort(area)[np.linspace(0, 199, 7).round().astype(int)]
plt.figure(figsize=(11, 6))
plt.imshow(figures.sample_picture(trained.generate(many[steps]), names, palette="magenta-green"))
plt.axis("off")
plt.title("from the smallest of 200 generated cells (top) to the largest, which divides")
plt.show()

# %% [markdown]
r"""
The numbers of $z$ can be sliders. The next cell writes a page that contains the whole network and opens in any browser
(half a minute). Open it and move a slider: a vector goes in, a cell comes out. That is all a generator does.
"""

# %%
print(run_command("explore", "-i", STAR, folder=WORK).splitlines()[-1])


def link_to_the_sliders():
    """A link below the cell."""
    from IPython.display import HTML
    page, *_ = sorted(WORK.glob("images/explorer7.*.html"))
    return HTML(f"<a href='{page}' target='_blank'>open the sliders</a>")


link_to_the_sliders()

# %% slide [markdown]
r"""
## What we are going to understand

![](cells.png)

Each row: one cell that nobody photographed, with six proteins that nobody imaged together. Who taught the network this?
"""

# %% slide [markdown]
r"""
## A walk through the cell cycle

![](walk.png)
"""

# %% [markdown]
r"""
Who teaches a network to draw cells, if nobody can write down what a cell looks like? The rest of this notebook answers
with a data set so small that one sees everything: numbers instead of images.

## Data are samples of a distribution

A **distribution** describes how likely each value is. Nobody gives us the distribution of images of cells; all we have
are **samples** from it: images. A *generative model* aims to produce new samples from the same distribution.

We begin with numbers instead of images. Our real data come from two bumps: a value near -2 (with probability 40 %) or
near +2 (60 %).
"""

# %% figure data
def real_numbers(count, rng):
    """Real samples, shape (count, 1)."""
    centre = np.where(rng.random(count) < 0.4, -2, 2)
    return (centre + 0.4 * rng.standard_normal(count)).astype("float32")[:, None]


rng = np.random.default_rng(0)
plt.figure(figsize=(6, 2.6))
plt.hist(real_numbers(5000, rng)[:, 0], bins=80, density=True, color=REAL)
plt.xlabel("x")
plt.ylabel("density")
plt.title("5,000 real samples")
plt.show()

# %% [markdown]
r"""
## Two networks

A **network** is a function with many adjustable numbers, its **weights**. A *dense layer* computes
$h = \max(0, W x + b)$ from its input $x$. The entries of the matrix $W$ and of the vector $b$ are weights, and
$\max(0, \cdot)$ ("ReLU") bends the result, so that several layers in a row can form curves. The last layer omits the
$\max$; the layers before it are called *hidden*.

- The **generator** $G$ turns a vector $z$ of random numbers, the *latent vector*, into a sample $G(z)$. We draw $z$
  from the standard normal distribution, which is easy to sample; its numbers have no meaning of their own. $G$ must
  learn to bend this distribution into the shape of the data.
- The **discriminator** receives a sample and returns a **score** $s$: high if it considers the sample real, low if
  it considers the sample generated. From the score follows $D(x)$, its probability that the sample $x$ is real
  (exercise 1).

Both start with random weights. (`set_random_seed` below makes them the same in every run.)

Neither network knows the distribution. The discriminator sees real samples; the generator sees *nothing but the
discriminator's opinion of its own samples*. (The diagram's other word for it, *critic*, belongs to notebook 3.)

![Noise becomes a generated cell; the discriminator scores it and real cells; both networks learn from the score](diagram_game.png)
"""

# %% slide [markdown]
r"""
## Two networks

- **Generator** $G$: noise $z$ → sample $G(z)$
- **Discriminator** $D$: sample → score $s$; $\;D = \sigma(s)$ is its probability that the sample is real
- The discriminator sees real samples. The generator sees only the discriminator's opinion of its own samples.

![Noise becomes a generated cell; the discriminator scores it and real cells; both networks learn from the score](diagram_game.png)
"""

# %%
def network(inputs, outputs, width=64):
    """Network with two hidden layers of size `width`."""
    return keras.Sequential([
        keras.Input((inputs,)),
        keras.layers.Dense(width, activation="relu"),
        keras.layers.Dense(width, activation="relu"),
        keras.layers.Dense(outputs),
    ])


keras.utils.set_random_seed(1)
generator, discriminator = network(inputs=4, outputs=1), network(inputs=1, outputs=1)
z = rng.standard_normal((3, 4)).astype("float32")
print("three latent vectors:\n", z.round(2))
print("three samples of the untrained generator:", generator(z).numpy().round(2).ravel())
print("their scores:", discriminator(generator(z)).numpy().round(2).ravel())

# %% [markdown]
r"""
## Exercise 1: from a score to a probability

A score can be any number. The discriminator's *probability* that a sample is real is

$$ D = \sigma(s) = \frac{1}{1 + e^{-s}}. $$

Write this function with NumPy. What value do you expect for $s = 0$, for large $s$, for very negative $s$?
"""

# %% exercise
# Exercise 1
def probability(score):
    """σ(score) in (0, 1), for an array of scores of any shape."""
    ### BEGIN SOLUTION
    return 1 / (1 + np.exp(-score))
    ### HANDOUT
    # return 0 * score        # your code instead of this line
    ### END SOLUTION

# %% check
_probability = checked(probability, shape=np.shape)
p = np.asarray(_probability(np.array([0.0, 2.0, -2.0, 20.0])))
assert np.isclose(p[0], 0.5), f"for a score of 0 the discriminator is undecided: D should be 0.5, not {p[0]:.3g}"
assert np.isclose(p[1] + p[2], 1) and p[1] > p[2], "σ(s) + σ(-s) should be 1, and σ should increase with s"
assert np.isclose(p[1], 0.8808, atol=1e-4), f"σ(2) is 0.8808, yours is {p[1]:.4f}"
print("✓ exercise 1: you can turn a score into a probability")

# %% [markdown]
r"""
## What each of them minimises

A **loss** is a number that measures how badly a network performs. *Training* repeats two steps many times: compute how
the loss changes with each weight (the **gradient**; TensorFlow does this for us), then move all weights a small step
downhill.

The discriminator is a classifier with two classes, real and generated. Its loss is large when it gives real samples a
low probability of being real, or generated samples a high one (Goodfellow et al. 2014, eq. 1; $\mathbb E$ is the mean
over samples):

$$ L_D = -\mathbb E_{x \text{ real}} \log D(x) \; - \; \mathbb E_{z} \log\bigl(1 - D(G(z))\bigr). $$

The generator wants the opposite: its samples should be mistaken for real ones,

$$ L_G = -\mathbb E_{z} \log D(G(z)). $$

So each network's success is the other one's failure: a game. (The paper first proposes $L_G = -L_D$. At the start of
training, when $D(G(z)) \approx 0$, that loss has almost no gradient; the form above, called *non-saturating*, has one.
See section 3 of the paper.)

## Exercise 2: both losses

Write both losses as functions of the scores. Use `ops.softplus`, where $\text{softplus}(s) = \log(1 + e^{s})$: for a
score such as -200, $\sigma(s)$ is rounded to 0 in the 32-bit numbers that networks use, and $\log 0$ is not a number
that they can use. You need two identities (check them on paper):

$$ -\log \sigma(s) = \text{softplus}(-s), \qquad -\log\bigl(1 - \sigma(s)\bigr) = \text{softplus}(s). $$

`ops.mean` computes the mean.
"""

# %% slide [markdown]
r"""
## What each minimises

$$ L_D = -\mathbb{E}_{x} \log\, D(x) - \mathbb{E}_{z} \log\, (1 - D(G(z))) $$

$$ L_G = -\mathbb{E}_{z} \log\, D(G(z)) $$

- Each one's success is the other one's failure: a **game**, not one landscape with a lowest point
- Best discriminator for a given generator: $\;D^*(x) = \frac{p_r(x)}{p_r(x) + p_g(x)}$
- Against it, $-L_D = 2\,\text{JS}(p_r, p_g) - 2 \log\, 2$: minimising that would minimise Jensen-Shannon
- The gradient of our $L_G$ is another one: that of $\text{KL}(p_g, p_r) - 2\,\text{JS}(p_r, p_g)$ (notebook 3)

Goodfellow et al. 2014, eq. 1, proposition 1 and theorem 1; Arjovsky & Bottou 2017, theorem 2.5
"""

# %% exercise
# Exercise 2
def discriminator_loss(real_scores, fake_scores):
    """L_D, one number, from the scores of real and of generated samples, each of shape (batch, 1)."""
    ### BEGIN SOLUTION
    return ops.mean(ops.softplus(-real_scores)) + ops.mean(ops.softplus(fake_scores))
    ### HANDOUT
    # return 0.0 * ops.mean(real_scores)      # your code instead of this line
    ### END SOLUTION


def generator_loss(fake_scores):
    """L_G, one number, from the scores of generated samples, of shape (batch, 1)."""
    ### BEGIN SOLUTION
    return ops.mean(ops.softplus(-fake_scores))
    ### HANDOUT
    # return 0.0 * ops.mean(fake_scores)      # your code instead of this line
    ### END SOLUTION

# %% check
_discriminator_loss = checked(discriminator_loss, shape=(), kind=tf.Tensor, hint=USE_OPS)
_generator_loss = checked(generator_loss, shape=(), kind=tf.Tensor, hint=USE_OPS)


def _value(loss, *scores):
    return float(loss(*(ops.convert_to_tensor(np.array(s, "float32")[:, None]) for s in scores)))


_undecided = _value(_discriminator_loss, [0, 0], [0, 0])
assert np.isclose(_undecided, 2 * np.log(2)), \
    f"a discriminator that returns 0.5 for every sample has L_D = 2 log 2 = 1.386; yours: {_undecided:.3f}"
assert _value(_discriminator_loss, [9, 9], [-9, -9]) < 0.01 < 9 < _value(_discriminator_loss, [-9, -9], [9, 9]), \
    "L_D should be small for correct scores (real high, generated low) and large for wrong ones"
assert np.isclose(_value(_discriminator_loss, [0, 0], [2, -1]), 0.6931 + (2.1269 + 0.3133) / 2, atol=1e-3), \
    "average each term over the batch, then add the two means"
assert np.isclose(_value(_generator_loss, [0]), np.log(2)) and -0.01 < _value(_generator_loss, [5]) < 0.01, \
    "L_G should be log 2 for a score of 0, and near 0 for samples that pass as real"
assert np.isclose(_value(_generator_loss, [2, -1]), (0.1269 + 1.3133) / 2, atol=1e-3), \
    "L_G is a mean over the batch, not a sum: scores 2 and -1 give (0.127 + 1.313) / 2 = 0.720"
assert np.isclose(_value(_generator_loss, [-200]), 200), "L_G for a score of -200 should be 200: use softplus, not log"
_scores = tf.ones((2, 1))
for _name, _loss, _arguments in (("discriminator_loss", _discriminator_loss, (_scores, _scores)),
                                 ("generator_loss", _generator_loss, (_scores,))):
    with tf.GradientTape() as _tape:
        _tape.watch(_scores)
        _result = _loss(*_arguments)
    assert _tape.gradient(_result, _scores) is not None, f"no gradient passes through {_name}: {USE_OPS}"
print("✓ exercise 2: the rules of the game are complete")

# %% [markdown]
r"""
## The loop

Now we have all the parts. One *iteration* does the following:

1. take a **batch** of real samples, and generate as many new ones;
2. update the discriminator: one step downhill on $L_D$;
3. update the generator: one step downhill on $L_G$, through the discriminator, whose weights stay fixed.

`keras.optimizers.Adam` takes the steps. It adapts their size to each weight; the *learning rate* sets the overall
scale, and the *momentum* ($\beta_1$) sets how much of the previous steps' direction is kept. `tf.GradientTape` records
a computation so that you can ask for its gradient afterwards. `@tf.function` compiles the iteration to make it fast.
That is a complete GAN: about 60 lines, including the losses above.
"""

# %%
def train(generator, discriminator, real_samples, iterations, rate=1e-3, momentum=0.5, noise=0.0, batch=128, seed=0,
          generator_updates=1, watch=None, every=500):
    """Play the game for some iterations.

    real_samples      function (count, rng) -> real samples (count, …)
    rate, momentum    of Adam: the step size, and how much of the previous steps' direction is kept
    noise             standard deviation of the noise added to every sample before the discriminator sees it
    generator_updates steps of the generator for each step of the discriminator
    watch, every      `watch(iteration)` is called at the start, after each `every` iterations, and at the end
    """
    latent_size = generator.input_shape[1]
    g_optimizer = keras.optimizers.Adam(rate, beta_1=momentum)
    d_optimizer = keras.optimizers.Adam(rate, beta_1=momentum)
    g_optimizer.build(generator.trainable_variables)
    d_optimizer.build(discriminator.trainable_variables)

    def score(samples):
        return discriminator(samples + noise * tf.random.normal(tf.shape(samples)))

    @tf.function
    def iterate(real):
        fake = generator(tf.random.normal((batch, latent_size)))
        with tf.GradientTape() as tape:
            loss = discriminator_loss(score(real), score(fake))
        weights = discriminator.trainable_variables
        d_optimizer.apply(tape.gradient(loss, weights), weights)

        weights = generator.trainable_variables
        for _ in range(generator_updates):
            with tf.GradientTape() as tape:
                fake = generator(tf.random.normal((batch, latent_size)))
                loss = generator_loss(score(fake))
            g_optimizer.apply(tape.gradient(loss, weights), weights)

    rng = np.random.default_rng(seed)
    for iteration in tqdm(range(iterations), mininterval=1, leave=False):
        if watch and iteration % every == 0:
            watch(iteration)
        iterate(tf.constant(real_samples(batch, rng)))
    if watch:
        watch(iterations)


def generate(generator, count, seed=1):
    """Generated samples, shape (count, size)."""
    z = np.random.default_rng(seed).standard_normal((count, generator.input_shape[1])).astype("float32")
    return generator(z).numpy()

# %% [markdown]
r"""
## Watch the game

Blue: real samples. Orange: generated samples. Green: the discriminator's probability $D(x)$, which the generator
climbs.
"""

# %% figure first_look
def compare(axes, iteration):
    """Plot histograms of real and generated samples, and D, into a matplotlib panel."""
    bins, x = np.linspace(-4, 4, 81), np.linspace(-4, 4, 200, dtype="float32")[:, None]
    real = real_numbers(5000, np.random.default_rng(2))[:, 0]
    axes.hist(real, bins, density=True, color=REAL, alpha=0.7, label="real")
    fake = generate(generator, 5000)[:, 0]
    axes.hist(fake, bins, density=True, histtype="step", linewidth=2, color=FAKE, label="generated")
    axes.plot(x, probability(discriminator(x).numpy()), color=JUDGE, linewidth=2, linestyle="--", label="D(x)")
    axes.set(title=f"iteration {iteration}", xlabel="x", ylim=(0, 1.3))


keras.utils.set_random_seed(1)
generator, discriminator = network(inputs=4, outputs=1), network(inputs=1, outputs=1)
figure, panels = plt.subplots(1, 5, figsize=(14, 2.6), sharey=True, layout="constrained")
shown = iter(panels)
train(generator, discriminator, real_numbers, 2000, watch=lambda iteration: compare(next(shown), iteration))
panels[0].set_ylabel("density; probability")
panels[-1].legend(loc="upper left", fontsize=8)
plt.show()

# %% [markdown]
r"""
Follow the green line from left to right. At first all generated samples lie in one place, and the discriminator knows
nothing yet: $D$ is near ½ everywhere. At iteration 500 it has learnt that the samples between the bumps are generated.
Wherever the generator produces too many samples, $D$ falls and pushes them away; wherever it
produces too few, $D$ rises and attracts them. At the end $D$ is near ½ wherever there are data. Does that mean that
nobody can tell real from generated any more? Compare the histograms: the orange bumps still have another shape than the
blue ones. *This* discriminator, after so few updates, does not see it. Exercise 3 is about the best one.

## Exercise 3: the best discriminator

If we knew the densities $p_r$ of the real and $p_g$ of the generated samples, the discriminator that minimises $L_D$
would be

$$ D^*(x) = \frac{p_r(x)}{p_r(x) + p_g(x)} $$

(Goodfellow et al. 2014, proposition 1; to prove it, minimise $-p_r \log D - p_g \log(1 - D)$ separately at each $x$).
Here we know both: the real samples come from the two bumps, and the generated ones from a generator that does not
learn, $x = z$, which is standard normal. The check trains a discriminator on samples and compares it with your formula.
"""

# %% exercise
# Exercise 3
def normal(x, mean, deviation):
    """Density of the normal distribution at x."""
    return np.exp(-((x - mean) / deviation) ** 2 / 2) / (deviation * np.sqrt(2 * np.pi))


def best_discriminator(x):
    """D*(x) for real samples as in `real_numbers` and standard normal generated samples."""
    ### BEGIN SOLUTION
    real = 0.4 * normal(x, -2, 0.4) + 0.6 * normal(x, 2, 0.4)
    fake = normal(x, 0, 1)
    return real / (real + fake)
    ### HANDOUT
    # return 0.5 + 0 * x      # your code instead of this line
    ### END SOLUTION

# %% check
_best_discriminator = checked(best_discriminator, shape=np.shape)
keras.utils.set_random_seed(3)
_discriminator, _rng = network(1, 1), np.random.default_rng(3)
_discriminator.compile(keras.optimizers.Adam(2e-3), keras.losses.BinaryCrossentropy(from_logits=True))
_samples = np.concatenate([real_numbers(20000, _rng), _rng.standard_normal((20000, 1)).astype("float32")])
_discriminator.fit(_samples, np.repeat([1.0, 0.0], 20000)[:, None], batch_size=256, epochs=6, verbose=0)
_x = np.linspace(-3, 3, 121, dtype="float32")
_trained = 1 / (1 + np.exp(-_discriminator(_x[:, None]).numpy()[:, 0]))
_random = np.random.default_rng(4)
_edges = np.linspace(-3, 3, 61)
_counts = [np.histogram(_many, _edges)[0] for _many in (real_numbers(400000, _random), _random.standard_normal(400000))]
_difference = np.abs(_counts[0] / sum(_counts) - _best_discriminator((_edges[1:] + _edges[:-1]) / 2)).mean()
assert _difference < 0.008, \
    f"the fraction of real samples at a place differs from your D*(x) by {_difference:.3f} on average, instead of 0.002. " \
    f"Check the numerator, p_r (40 % near -2, 60 % near 2, with a standard deviation of 0.4) and p_g (standard normal)"
_error = np.abs(_trained - _best_discriminator(_x))
assert _error.mean() < 0.08 and _error.max() < 0.4, \
    f"your formula differs from the trained discriminator by {_error.mean():.2f} on average; it should be below 0.08"
print(f"✓ exercise 3: your formula differs from a trained discriminator by {_error.mean():.3f} on average")

# %% figure best_discriminator
plt.figure(figsize=(6, 2.6))
plt.plot(_x, _trained, color=JUDGE, label="trained on samples")
plt.plot(_x, best_discriminator(_x), "k--", label="your D*(x)")
plt.xlabel("x")
plt.ylabel("probability of real")
plt.legend()
plt.show()

# %% [markdown]
r"""
## The saddle

Ordinary training walks down into a valley. A game has no valley: one player wants to reduce what the other wants to
increase. The solution is a **saddle**, lowest in one direction and highest in the other. The simplest saddle is

$$ V(x, y) = x\,y, \qquad x \text{ wants a small } V, \quad y \text{ wants a large } V. $$

At $(0, 0)$ neither player gains by moving alone: this is the equilibrium.

**Predict first.** Do small steps lead there? Draw the path that you expect from $(1, 0)$, before you solve exercise 4.

## Exercise 4: two ways to step

The gradient of $V$ is $\partial V/\partial x = y$ and $\partial V/\partial y = x$. With steps of size $r$, $x$ moves
downhill and $y$ moves uphill.

- *simultaneous*: both players use the old values of $x$ and $y$;
- *alternating*, as in our loop: $x$ moves first, then $y$ responds to the **new** $x$.
"""

# %% exercise
# Exercise 4
def simultaneous(x, y, r):
    """The new (x, y) after both players step at the same time."""
    ### BEGIN SOLUTION
    return x - r * y, y + r * x
    ### HANDOUT
    # return x, y     # your code instead of this line
    ### END SOLUTION


def alternating(x, y, r):
    """The new (x, y) after x steps, and then y, which sees the new x."""
    ### BEGIN SOLUTION
    x = x - r * y
    return x, y + r * x
    ### HANDOUT
    # return x, y     # your code instead of this line
    ### END SOLUTION

# %% check
_simultaneous = checked(simultaneous, shape=(2,))
_alternating = checked(alternating, shape=(2,))
_new = _simultaneous(3.0, 4.0, 0.5)
assert np.allclose(_new, (1.0, 5.5)), f"from (3, 4) with r = 0.5, x goes to 3 - 0.5·4 and y to 4 + 0.5·3; yours: {_new}"
assert np.isclose(np.hypot(*_new), 5 * np.sqrt(1.25)), "the distance from (0, 0) should grow by √(1 + r²) in each step"
_new = _alternating(3.0, 4.0, 0.5)
assert np.allclose(_new, (1.0, 4.5)), f"here y uses the new x: (3, 4) goes to (1, 4 + 0.5·1); yours: {_new}"
print("✓ exercise 4")

# %% figure saddle
def path(step, r=0.15, steps=120):
    points = [(1.0, 0.0)]
    for _ in range(steps):
        points.append(step(*points[-1], r))
    return np.array(points)


figure, axes = plt.subplots(figsize=(5.2, 4.6), layout="constrained")
grid = np.linspace(-4, 4, 101)
shades = axes.contourf(grid, grid, np.outer(grid, grid), 15, cmap="cividis", alpha=0.5)
figure.colorbar(shades, label="V(x, y) = x y")
for step, colour, style in ((simultaneous, FAKE, "-"), (alternating, REAL, "--")):
    axes.plot(*path(step).T, style, color=colour, linewidth=2, label=step.__name__)
axes.plot(0, 0, "k*", markersize=12, label="equilibrium")
axes.set(xlabel="x (goes down)", ylabel="y (goes up)", xlim=(-4, 4), ylim=(-4, 4), title="120 steps from (1, 0)")
axes.legend(loc="upper right", fontsize=8)
plt.show()

# %% [markdown]
r"""
Neither method arrives. The players chase each other around the equilibrium: simultaneous updates spiral outwards (each
step multiplies the distance by $\sqrt{1 + r^2}$, for every $r$); alternating updates orbit for ever. GANs do the same
in thousands of dimensions (Mescheder et al. 2018 study this game under the name *Dirac-GAN*). So in a GAN

- a falling loss means little: it may fall because the *other* player got worse;
- large steps and high momentum, which help to reach the bottom of a valley, do harm here.
"""

# %% slide [markdown]
r"""
## The solution is a saddle

![](saddle.png)

$V = x\,y$: simultaneous updates multiply the distance by $\sqrt{1 + r^2}$ in each step; alternating updates orbit for
ever. A falling loss means little. Mescheder et al. 2018.
"""

# %% [markdown]
r"""
## Mode collapse

Now we move to two dimensions: a ring of eight clusters. Each cluster is a **mode**, a place where the data are dense;
think of eight types of cells.
"""

# %%
CENTRES = 2 * np.stack([np.cos(np.pi * np.arange(8) / 4), np.sin(np.pi * np.arange(8) / 4)], axis=1)


def ring(count, rng):
    """Points of eight clusters on a ring, shape (count, 2)."""
    return (CENTRES[rng.integers(0, 8, count)] + 0.05 * rng.standard_normal((count, 2))).astype("float32")

# %% [markdown]
r"""
## Exercise 5: count the modes

How many of the eight clusters does a generator produce? Call a cluster *covered* if at least 2 % of the samples lie
within 0.3 of its centre. (`np.linalg.norm(samples[:, None] - CENTRES, axis=2)`, of shape (samples, 8), computes the
distances of all samples to all centres at once.)
"""

# %% exercise
# Exercise 5
def modes_covered(samples):
    """Number of CENTRES that have at least 2 % of the `samples` (count, 2) within a distance of 0.3."""
    ### BEGIN SOLUTION
    distances = np.linalg.norm(samples[:, None] - CENTRES, axis=2)
    return int(((distances < 0.3).mean(axis=0) >= 0.02).sum())
    ### HANDOUT
    # return -1       # your code instead of this line
    ### END SOLUTION

# %% check
_modes_covered = checked(modes_covered, shape=())
_found = _modes_covered(ring(2000, np.random.default_rng(5)))
assert _found == 8, f"real samples cover all eight modes, not {_found}"
assert _modes_covered(np.tile(CENTRES[:1], (500, 1))) == 1, "the same point 500 times covers one mode"
assert _modes_covered(np.zeros((500, 2))) == 0, "the middle of the ring is not a mode"
assert _modes_covered(np.concatenate([np.tile(CENTRES[:1], (495, 1)), CENTRES[1:6]])) == 1, \
    "one sample in 500 is 0.2 %: too few to cover a mode"
assert _modes_covered(np.repeat(CENTRES[:2], (97, 3), axis=0)) == 2, "3 % of the samples are enough: the limit is 2 %"
assert _modes_covered(np.repeat(CENTRES[:2] + [0.4, 0], 50, axis=0)) == 0, \
    "samples at a distance of 0.4 are too far away: the limit is 0.3"
assert _modes_covered(np.concatenate([np.zeros((495, 2)), CENTRES[:5]])) == 0, \
    "count the fraction of all samples, not of those near a centre"
print("✓ exercise 5")

# %% [markdown]
r"""
**Predict first.** The next cell plays the game on the ring, and the generator takes ten steps for each step of the
discriminator. Will it find all eight modes, one after the other or at the same time? And will it keep those that it has
found?
"""

# %% figure collapse
def scatter(axes, iteration):
    """Plot real and generated points into a matplotlib panel."""
    fake = generate(generator, 1000)
    axes.scatter(*ring(400, np.random.default_rng(2)).T, s=8, color=REAL, label="real")
    axes.scatter(*fake.T, s=8, color=FAKE, alpha=0.4, marker="x", linewidths=0.8, label="generated")
    axes.set(title=f"iteration {iteration}:\n{modes_covered(fake)} of 8 modes", xlim=(-3, 3), ylim=(-3, 3),
             aspect="equal")


keras.utils.set_random_seed(0)
generator, discriminator = network(inputs=2, outputs=2), network(inputs=2, outputs=1)
figure, panels = plt.subplots(2, 4, figsize=(11, 6), layout="constrained")
shown = iter(panels.flat)
train(generator, discriminator, ring, 1750, generator_updates=10, every=250,
      watch=lambda iteration: scatter(next(shown), iteration))
panels[0, 0].legend(loc="lower left", fontsize=8)
plt.show()

# %% [markdown]
r"""
The samples lie together, and at the next look elsewhere (at iteration 500, outside the picture). The generator has found where the discriminator's score is
highest, and produces nothing else. The discriminator learns that this place is full of fakes and lowers its score
there, so the generator moves on to the next place: these are the orbits of exercise 4 again. We call this **mode
collapse**. Nothing in $L_G$ asks for variety: a generator that produces one perfect cell over and over has a perfect
score.

## Exercise 6: prevent it

With one step each, the generator can still fail. In the settings below, momentum drives its samples about, in one cloud
or along one line. Choose settings with which it covers at least seven modes. You may change the arguments of `train`
(`rate`, `momentum`, `noise`, `batch`) and the size of the latent vector, but keep the 1,500 iterations. Think before
you try values at random: what did we say below the saddle about momentum? And how does noise on everything that the
discriminator sees affect a discriminator that is too confident (Arjovsky & Bottou 2017, section 3)? Notebook 3 presents
a more fundamental cure.
"""

# %% slide [markdown]
r"""
## Mode collapse

![](collapse.png)

Ten steps of the generator for each step of the discriminator. Nothing in $L_G$ asks for variety: one perfect sample has
a perfect score. Then the discriminator notices, and the generator hops to the next mode.
"""

# %% exercise
# Exercise 6
### BEGIN SOLUTION
SETTINGS = dict(rate=1e-3, momentum=0.5, noise=0.3)
### HANDOUT
# SETTINGS = dict(rate=1e-3, momentum=0.9, noise=0.0)       # change these, or add others
### END SOLUTION
LATENT = 2

# %% figure cured
keras.utils.set_random_seed(0)
generator, discriminator = network(inputs=LATENT, outputs=2), network(inputs=2, outputs=1)
figure, panels = plt.subplots(1, 4, figsize=(12.5, 3.3), layout="constrained")
shown = iter(panels)
train(generator, discriminator, ring, 1500, watch=lambda iteration: scatter(next(shown), iteration), **SETTINGS)
panels[0].legend(loc="lower left", fontsize=8)
plt.show()

# %% check
_near = np.linalg.norm(generate(generator, 2000)[:, None] - CENTRES, axis=2) < 0.3
_covered = int((_near.mean(axis=0) >= 0.02).sum())
assert _covered >= 7, f"the generator covers {_covered} of 8 modes: try other SETTINGS"
print(f"✓ exercise 6: the generator covers {_covered} of 8 modes")

# %% slide [markdown]
r"""
## One step each, and less momentum

![](cured.png)

Less momentum, and noise on everything that the discriminator sees. The generator covers every mode; some samples lie
between them.
"""

# %% [markdown]
r"""
## The same in BioGANs

`train.py -a GAN` minimises the losses of exercise 2: `biogans/core/gan.py` defines them in a class of a few lines.
"""

# %%
from biogans.core import gan

scores = tf.random.normal((8, 1))
same = np.isclose(float(gan.GAN(settings=None).generator_loss(scores)), float(generator_loss(scores)))
print("your generator loss equals the one in BioGANs:", same)

# %% quiz [markdown]
r"""
## Quiz

Four questions about what you have seen, each with one right answer. Enter the letters in the cell below: it explains
every answer, right or wrong.

**Question 1.** At the end of *Watch the game*, $D(x)$ is near ½ wherever there are data. What does this show?

- **a)** The generator has learnt the distribution.
  ✗ Compare the histograms: the generated bumps still have another shape. Only the best discriminator could show that
    there is no difference left.
- **b)** This discriminator sees no difference.
  ✓ A discriminator that was trained longer, or has more layers, might see one. So judge a generator by a new
    discriminator, or by a measurement that does not depend on one.
- **c)** The discriminator has failed.
  ✗ It may have, but ½ is also the right answer if there is no difference. The value alone does not tell the two apart.

**Question 2.** The generator never sees a real sample. From what does it learn?

- **a)** From the scores of real samples.
  ✗ They occur in the discriminator's loss only. The generator's loss contains the scores of generated samples.
- **b)** From the distance between its samples and the nearest real ones.
  ✗ Nobody computes such a distance in the loop: the generator has no access to real samples.
- **c)** From the gradient of the scores of its own samples.
  ✓ The gradient says in which direction each generated sample would score higher, and the weights follow it. All that
    it knows of real samples reaches it through the discriminator.

**Question 3.** In the game $V = x\,y$ with alternating steps, you halve the step size. What happens?

- **a)** The players still orbit.
  ✓ Each step leads around the equilibrium and not towards it, whatever its size. Smaller steps only trace a smoother
    orbit.
- **b)** The players arrive at the equilibrium, but later.
  ✗ That is what happens in a valley, where each step leads downhill to the lowest point. Here the steps lead around it.
- **c)** The players spiral outwards.
  ✗ Simultaneous steps do that, because both players use old values. Alternating steps keep to their orbit.

**Question 4.** A generator produces one perfect cell over and over. What does its loss say at this moment?

- **a)** It is large, because variety is missing.
  ✗ No term compares generated samples with each other, so a lack of variety costs nothing.
- **b)** It can be small.
  ✓ The loss is a mean over single samples, and each of them passes as real. Only when the discriminator has learnt to
    recognise this cell does the loss rise, and the generator moves on.
- **c)** It is $2 \log 2$.
  ✗ That is the loss of a discriminator which answers ½ for every sample. It says nothing about this generator.
"""

# %% [markdown]
r"""
## To discuss

1. The discriminator's loss stays at $2 \log 2$. Has the training succeeded, or has the discriminator failed? How could
   you find out?
2. Which picture would reveal mode collapse in images of cells, where nobody can plot the ring?
3. The generator never sees a real sample. Can it nevertheless copy one?
4. What would happen if you updated the discriminator ten times for each update of the generator? Try it.

## Sources

- Goodfellow et al. (2014), *Generative adversarial nets*, [arXiv:1406.2661](https://arxiv.org/abs/1406.2661)
- Metz et al. (2017), *Unrolled generative adversarial networks* (the ring of eight),
  [arXiv:1611.02163](https://arxiv.org/abs/1611.02163)
- Mescheder, Geiger & Nowozin (2018), *Which training methods for GANs do actually converge?*,
  [arXiv:1801.04406](https://arxiv.org/abs/1801.04406)
- Arjovsky & Bottou (2017), *Towards principled methods for training generative adversarial networks*,
  [arXiv:1701.04862](https://arxiv.org/abs/1701.04862)
"""

# %% answer [markdown]
r"""
## For the instructor

**Timing** (45 minutes): data and networks: 5; exercises 1 and 2: 15; watch the game: 5; exercise 3: 5 (or homework);
the saddle: 10; mode collapse: 5. Give exercise 6 to students who are ahead.

**Answers.** 1: both cases give the same loss. A discriminator that failed returns ½ for everything, even for garbage:
look at generated samples, or train a fresh discriminator for longer. 2: a page of samples on which the same cell
recurs; the histogram of a measured quantity (length) beside that of real cells; a count of near-duplicates. 3: yes: if
the discriminator has memorised the training samples, its gradient leads to them. Compare samples with their nearest
real neighbours. 4: the discriminator becomes nearly perfect, and where it is certain its probability is flat. For these
smooth data the non-saturating loss still has a gradient, but it becomes noisy; notebook 3 explains why.

**Exercise 6.** Momentum matters most. With two seeds each, after 1,500 iterations: momentum 0.9 covers 0 or 1 modes,
and noise of 0.3 does not change that; momentum 0.5 covers 7 and 8. Noise of 0.3 makes it reliably 8, and shows its
cost: samples between the clusters.
"""

# %% slide [markdown]
r"""
## To discuss

1. The discriminator's loss stays at $2 \log 2$: success or failure?
2. How would you detect mode collapse in images of cells?
3. The generator never sees a real sample. Can it copy one?
4. Ten updates of the discriminator for each one of the generator?
"""
