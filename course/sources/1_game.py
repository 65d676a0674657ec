# %% [markdown]
r"""
# 1. The game: a GAN in 60 lines

**After this notebook you can** say what a generator and a discriminator are and what each of them minimises; write both
losses; read a picture of a training; explain why the solution is a saddle, and recognise mode collapse.

**You need** Python functions and NumPy arrays. No knowledge of neural networks is assumed: what is needed is
explained when it comes. Run the cells from top to bottom (Shift+Enter). A cell that begins with `# Exercise` is yours
to complete; the cell after it checks what you wrote: it prints a tick, or says what is wrong. Until you have solved
an exercise the cells after it run too, but show nothing sensible. The whole notebook computes for about two minutes.
"""

# %% slide [markdown]
r"""
# The game

A GAN in 60 lines: two networks, one saddle, and what goes wrong

*Deep Learning by Example* · notebook 1
"""

# %%
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"        # less chatter

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from keras import ops

REAL, DRAWN, JUDGE = "#0072B2", "#D55E00", "#009E73"      # colours that colour-blind eyes tell apart
plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
r"""
## Data are samples of a distribution

A **distribution** says how likely each value is. Nobody gives us the distribution of images of cells; what we have are
**samples** from it: images. The aim of a *generative model* is to draw new samples from the same distribution.

We begin with numbers instead of images. Our real data are drawn from two bumps: a value near -2 (in 40 % of the cases)
or near +2 (60 %).
"""

# %% figure data
def real_numbers(count, rng):
    """`count` samples of the real distribution, shape (count, 1)."""
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
$h = \max(0, W x + b)$ from its input $x$: each row of the matrix $W$ and each number of $b$ are weights, and
$\max(0, \cdot)$ ("ReLU") bends the result, so that layers in a row can make curves. The last layer leaves out the
$\max$; those before it are called *hidden*.

- The **generator** $G$ turns a vector $z$ of random numbers, the *latent*, into a sample $G(z)$. $z$ comes from the
  standard normal distribution: easy to draw from, and it means nothing. $G$ must bend it into the shape of the data.
- The **discriminator** $D$ is shown a sample and gives a **score** $s$: high if it believes that the sample is real,
  low if it believes that it was drawn by the generator.

Both begin with random weights. (`set_random_seed` below makes them the same in every run.)

Neither knows the distribution. The discriminator sees real samples; the generator sees *nothing but what the
discriminator thinks of its own samples*.
"""

# %% slide [markdown]
r"""
## Two networks

- **Generator** $G$: noise $z$ → sample $G(z)$
- **Discriminator** $D$: sample → score $s$; $\;D = \sigma(s)$ is its probability that the sample is real
- The discriminator sees real samples. The generator sees only what the discriminator thinks of its own.

![](first_look.png)
"""

# %%
def network(inputs, outputs, width=64):
    """A network of two hidden layers of `width` numbers each."""
    return keras.Sequential([
        keras.Input((inputs,)),
        keras.layers.Dense(width, activation="relu"),
        keras.layers.Dense(width, activation="relu"),
        keras.layers.Dense(outputs),
    ])


keras.utils.set_random_seed(1)
generator, discriminator = network(inputs=4, outputs=1), network(inputs=1, outputs=1)
z = rng.standard_normal((3, 4)).astype("float32")
print("three latents:\n", z.round(2))
print("three samples of the untrained generator:", generator(z).numpy().round(2).ravel())
print("their scores:", discriminator(generator(z)).numpy().round(2).ravel())

# %% [markdown]
r"""
## Exercise 1: from a score to a probability

A score can be any number. The discriminator's *probability* that a sample is real is

$$ D = \sigma(s) = \frac{1}{1 + e^{-s}}. $$

Write it, with NumPy. What should it be for $s = 0$, for large $s$, for very negative $s$?
"""

# %% exercise
# Exercise 1
def probability(score):
    """σ(score), a number in (0, 1), for an array of scores of any shape."""
    ### BEGIN SOLUTION
    return 1 / (1 + np.exp(-score))
    ### HANDOUT
    # return 0 * score        # your code instead of this line
    ### END SOLUTION

# %% check
p = np.asarray(probability(np.array([0.0, 2.0, -2.0, 20.0])))
assert np.isclose(p[0], 0.5), f"a score of 0: the discriminator can't tell, D should be 0.5; yours is {p[0]:.3g}"
assert np.isclose(p[1] + p[2], 1) and p[1] > p[2], "σ(s) + σ(-s) should be 1, and σ should grow"
assert np.isclose(p[1], 0.8808, atol=1e-4), f"σ(2) is 0.8808, yours is {p[1]:.4f}"
print("✓ exercise 1: a score is a probability now")

# %% [markdown]
r"""
## What each of them minimises

A **loss** is a number that says how badly a network does. *Training* means: compute how the loss changes with each
weight (the **gradient**; TensorFlow does that), and move all weights a small step downhill. Again and again.

The discriminator is a classifier: it sorts samples into two kinds. Its loss is large when it gives real samples a low
probability of being real, or drawn ones a high one (Goodfellow et al. 2014, eq. 1; $\mathbb E$ is the mean over
samples):

$$ L_D = -\mathbb E_{x \text{ real}} \log D(x) \; - \; \mathbb E_{z} \log\bigl(1 - D(G(z))\bigr). $$

The generator wants the opposite: that its samples are taken for real,

$$ L_G = -\mathbb E_{z} \log D(G(z)). $$

So each network's success is the other one's failure: a game. (The paper's first proposal was $L_G = -L_D$. Near the
start, when $D(G(z)) \approx 0$, that has almost no gradient; the form above, called *non-saturating*, does. See
section 3 of the paper.)

## Exercise 2: both losses

Write them in terms of the scores. Use `ops.softplus`, where $\text{softplus}(s) = \log(1 + e^{s})$, because
$\log\sigma(s)$ of a score such as -200 is $\log 0$ for a computer. Two identities do it (check them on paper):

$$ -\log \sigma(s) = \text{softplus}(-s), \qquad -\log\bigl(1 - \sigma(s)\bigr) = \text{softplus}(s). $$

`ops.mean` is the mean.
"""

# %% slide [markdown]
r"""
## What each minimises

$$ L_D = -\mathbb{E}_{x} \log\, D(x) - \mathbb{E}_{z} \log\, (1 - D(G(z))) $$

$$ L_G = -\mathbb{E}_{z} \log\, D(G(z)) $$

- Each one's success is the other one's failure: a **game**, not one landscape with a bottom
- Best discriminator for a given generator: $\;D^*(x) = \frac{p_r(x)}{p_r(x) + p_g(x)}$
- With it, the generator minimises a distance between $p_r$ and $p_g$ (Jensen-Shannon)

Goodfellow et al. 2014, eq. 1, proposition 1 and theorem 1
"""

# %% exercise
# Exercise 2
def discriminator_loss(real_scores, fake_scores):
    """L_D from the scores of real samples and of drawn ones, each of shape (batch, 1); one number."""
    ### BEGIN SOLUTION
    return ops.mean(ops.softplus(-real_scores)) + ops.mean(ops.softplus(fake_scores))
    ### HANDOUT
    # return 0.0 * ops.mean(real_scores)      # your code instead of this line
    ### END SOLUTION


def generator_loss(fake_scores):
    """L_G from the scores of drawn samples, of shape (batch, 1); one number."""
    ### BEGIN SOLUTION
    return ops.mean(ops.softplus(-fake_scores))
    ### HANDOUT
    # return 0.0 * ops.mean(fake_scores)      # your code instead of this line
    ### END SOLUTION

# %% check
def _value(loss, *scores):
    return float(loss(*(ops.convert_to_tensor(np.array(s, "float32")[:, None]) for s in scores)))


assert np.isclose(_value(discriminator_loss, [0, 0], [0, 0]), 2 * np.log(2)), \
    "a discriminator that says 0.5 to everything has L_D = 2 log 2 = 1.386"
assert _value(discriminator_loss, [9, 9], [-9, -9]) < 0.01 < 9 < _value(discriminator_loss, [-9, -9], [9, 9]), \
    "L_D should be small where the scores are right (real high, drawn low) and large where they are wrong"
assert np.isclose(_value(discriminator_loss, [0, 0], [2, -1]), 0.6931 + (2.1269 + 0.3133) / 2, atol=1e-3), \
    "take the mean over the batch of each term, then add"
assert np.isclose(_value(generator_loss, [0]), np.log(2)) and _value(generator_loss, [5]) < 0.01, \
    "L_G should be log 2 at a score of 0, and near 0 for samples that are taken for real"
assert np.isclose(_value(generator_loss, [-200]), 200), "L_G at a score of -200 should be 200: use softplus, not log"
print("✓ exercise 2: the rules of the game are complete")

# %% [markdown]
r"""
## The loop

Now everything is there. One *iteration*:

1. take a **batch** of real samples, and draw as many with the generator;
2. update the discriminator: one step downhill on $L_D$;
3. update the generator: one step downhill on $L_G$, through the discriminator, whose weights stay as they are.

`keras.optimizers.Adam` makes the steps. It adapts their size to each weight; the *learning rate* sets the scale, and
*momentum* ($\beta_1$) says how much of the direction of the last steps is kept.
`tf.GradientTape` records a computation, so that its gradient can be asked for afterwards. `@tf.function` compiles the
iteration, which makes it fast. This is all of a GAN: with the losses above, about 60 lines.
"""

# %%
def train(generator, discriminator, real_samples, iterations, rate=1e-3, momentum=0.5, noise=0.0, batch=128, seed=0,
          watch=None, every=500):
    """Play the game for some iterations.

    real_samples      (count, rng) -> that many real samples
    rate, momentum    of Adam: size of a step, and how much of the last steps' direction is kept
    noise             standard deviation of noise that is added to all that the discriminator sees
    watch, every      function of the iteration that is called at the start and after each so many iterations
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

        with tf.GradientTape() as tape:
            fake = generator(tf.random.normal((batch, latent_size)))
            loss = generator_loss(score(fake))
        weights = generator.trainable_variables
        g_optimizer.apply(tape.gradient(loss, weights), weights)

    rng = np.random.default_rng(seed)
    for iteration in range(iterations):
        if watch and iteration % every == 0:
            watch(iteration)
        iterate(tf.constant(real_samples(batch, rng)))
    if watch:
        watch(iterations)


def draw(generator, count, seed=1):
    """`count` samples of the generator."""
    z = np.random.default_rng(seed).standard_normal((count, generator.input_shape[1])).astype("float32")
    return generator(z).numpy()

# %% [markdown]
r"""
## See the game

Blue: real samples. Orange: drawn ones. Green: the discriminator's probability $D(x)$, which the generator climbs.
"""

# %% figure first_look
def compare(axes, iteration):
    """Histograms of real and drawn samples, and D, on a matplotlib panel."""
    bins, x = np.linspace(-4, 4, 81), np.linspace(-4, 4, 200, dtype="float32")[:, None]
    real = real_numbers(5000, np.random.default_rng(2))[:, 0]
    axes.hist(real, bins, density=True, color=REAL, alpha=0.7, label="real")
    axes.hist(draw(generator, 5000)[:, 0], bins, density=True, histtype="step", linewidth=2, color=DRAWN, label="drawn")
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
Look at the green line from left to right. At first the generator's samples are in one place, and the discriminator
knows it. Wherever too many samples are drawn, $D$ goes down and pushes them away; wherever too few, $D$ goes up and
draws them near. At the end $D$ is near ½ wherever there are data: it can't tell any more.

## Exercise 3: the best discriminator

If the densities $p_r$ of real and $p_g$ of drawn samples were known, the discriminator that minimises $L_D$ would be

$$ D^*(x) = \frac{p_r(x)}{p_r(x) + p_g(x)} $$

(Goodfellow et al. 2014, proposition 1; for the proof minimise $-p_r \log D - p_g \log(1 - D)$ at each $x$ by itself).
Here both are known: real are the two bumps, and drawn is a generator that does not learn, $x = z$, standard normal. The
check trains a discriminator on samples, and compares it with your formula.
"""

# %% exercise
# Exercise 3
def normal(x, mean, deviation):
    """Density of the normal distribution."""
    return np.exp(-((x - mean) / deviation) ** 2 / 2) / (deviation * np.sqrt(2 * np.pi))


def best_discriminator(x):
    """D*(x) for real samples as in `real_numbers` and drawn ones that are standard normal."""
    ### BEGIN SOLUTION
    real = 0.4 * normal(x, -2, 0.4) + 0.6 * normal(x, 2, 0.4)
    drawn = normal(x, 0, 1)
    return real / (real + drawn)
    ### HANDOUT
    # return 0.5 + 0 * x      # your code instead of this line
    ### END SOLUTION

# %% check
keras.utils.set_random_seed(3)
_judge, _rng = network(1, 1), np.random.default_rng(3)
_judge.compile(keras.optimizers.Adam(2e-3), keras.losses.BinaryCrossentropy(from_logits=True))
_samples = np.concatenate([real_numbers(20000, _rng), _rng.standard_normal((20000, 1)).astype("float32")])
_judge.fit(_samples, np.repeat([1.0, 0.0], 20000)[:, None], batch_size=256, epochs=6, verbose=0)
_x = np.linspace(-3, 3, 121, dtype="float32")
_learnt = 1 / (1 + np.exp(-_judge(_x[:, None]).numpy()[:, 0]))
_off = np.abs(_learnt - best_discriminator(_x))
assert _off.mean() < 0.08 and _off.max() < 0.4, \
    f"the discriminator that was trained is {_off.mean():.2f} away from yours on average: it should be below 0.08"
print(f"✓ exercise 3: a trained discriminator is {_off.mean():.3f} away from your formula")

# %% figure best_discriminator
plt.figure(figsize=(6, 2.6))
plt.plot(_x, _learnt, color=JUDGE, label="trained on samples")
plt.plot(_x, best_discriminator(_x), "k--", label="your D*(x)")
plt.xlabel("x")
plt.ylabel("probability of real")
plt.legend()
plt.show()

# %% [markdown]
r"""
## The saddle

Ordinary training walks down into a valley. A game has no valley: what one player wants to make small, the other wants
to make large, and the solution is a **saddle**, low in one direction and high in the other. The simplest saddle is

$$ V(x, y) = x\,y, \qquad x \text{ wants } V \text{ small}, \quad y \text{ wants } V \text{ large}. $$

At $(0, 0)$ neither can gain by moving alone: that is the equilibrium. Do small steps lead there?

## Exercise 4: two ways to step

The gradient of $V$ is $\partial V/\partial x = y$ and $\partial V/\partial y = x$. With steps of size $r$, $x$ goes
down and $y$ goes up.

- *simultaneous*: both use the old values of $x$ and $y$;
- *alternating*, as in our loop: $x$ moves first, then $y$ answers to the **new** $x$.
"""

# %% exercise
# Exercise 4
def simultaneous(x, y, r):
    """One step of both players at once; returns the new (x, y)."""
    ### BEGIN SOLUTION
    return x - r * y, y + r * x
    ### HANDOUT
    # return x, y     # your code instead of this line
    ### END SOLUTION


def alternating(x, y, r):
    """One step of x, then one of y, which sees the new x; returns the new (x, y)."""
    ### BEGIN SOLUTION
    x = x - r * y
    return x, y + r * x
    ### HANDOUT
    # return x, y     # your code instead of this line
    ### END SOLUTION

# %% check
_new = simultaneous(3.0, 4.0, 0.5)
assert np.allclose(_new, (1.0, 5.5)), f"from (3, 4) with r = 0.5, x goes to 3 - 0.5·4 and y to 4 + 0.5·3; yours: {_new}"
assert np.isclose(np.hypot(*_new), 5 * np.sqrt(1.25)), "the distance from (0, 0) should grow by √(1 + r²) in each step"
_new = alternating(3.0, 4.0, 0.5)
assert np.allclose(_new, (1.0, 4.5)), f"here y sees the new x: (3, 4) goes to (1, 4 + 0.5·1); yours: {_new}"
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
for step, colour, style in ((simultaneous, DRAWN, "-"), (alternating, REAL, "--")):
    axes.plot(*path(step).T, style, color=colour, linewidth=2, label=step.__name__)
axes.plot(0, 0, "k*", markersize=12, label="equilibrium")
axes.set(xlabel="x (goes down)", ylabel="y (goes up)", xlim=(-4, 4), ylim=(-4, 4), title="120 steps from (1, 0)")
axes.legend(loc="upper right", fontsize=8)
plt.show()

# %% [markdown]
r"""
Neither arrives. The players chase each other round the equilibrium: at once they spiral outwards (each step makes the
distance $\sqrt{1 + r^2}$ times as large, whatever $r$), in turn they go round for ever. GANs do the same in thousands
of dimensions (Mescheder et al. 2018 study this game under the name *Dirac-GAN*). So in a GAN

- a loss that goes down means little: it can go down because the *other* player got worse;
- large steps and much momentum, which help to walk into valleys, do harm here.
"""

# %% slide [markdown]
r"""
## The solution is a saddle

![](saddle.png)

$V = x\,y$: at once, the distance grows by $\sqrt{1 + r^2}$ in each step; in turn, round for ever. A falling loss means
little. Mescheder et al. 2018.
"""

# %% [markdown]
r"""
## Mode collapse

Now two dimensions: a ring of eight clusters. Each cluster is a **mode**, a place where data are dense; think of
eight kinds of cells.
"""

# %%
CENTRES = 2 * np.stack([np.cos(np.pi * np.arange(8) / 4), np.sin(np.pi * np.arange(8) / 4)], axis=1)


def ring(count, rng):
    """`count` points of eight clusters on a ring, shape (count, 2)."""
    return (CENTRES[rng.integers(0, 8, count)] + 0.05 * rng.standard_normal((count, 2))).astype("float32")

# %% [markdown]
r"""
## Exercise 5: count the modes

How many of the eight clusters does a generator draw? Call a cluster *covered* if at least 2 % of the samples are within
0.3 of its centre. (Distances of all samples to all centres at once:
`np.linalg.norm(samples[:, None] - CENTRES, axis=2)`, of shape (samples, 8).)
"""

# %% exercise
# Exercise 5
def modes_covered(samples):
    """How many of CENTRES have at least 2 % of the `samples` (count, 2) within a distance of 0.3."""
    ### BEGIN SOLUTION
    distances = np.linalg.norm(samples[:, None] - CENTRES, axis=2)
    return int(((distances < 0.3).mean(axis=0) >= 0.02).sum())
    ### HANDOUT
    # return -1       # your code instead of this line
    ### END SOLUTION

# %% check
assert modes_covered(ring(2000, np.random.default_rng(5))) == 8, "real samples cover all eight"
assert modes_covered(np.tile(CENTRES[:1], (500, 1))) == 1, "500 times the same point covers one mode"
assert modes_covered(np.zeros((500, 2))) == 0, "the middle of the ring is no mode"
assert modes_covered(np.concatenate([np.tile(CENTRES[:1], (495, 1)), CENTRES[1:6]])) == 1, \
    "one sample in 500 is 0.2 %: too few to count as covered"
print("✓ exercise 5")

# %% figure collapse
def scatter(axes, iteration):
    """Real and drawn points on a matplotlib panel."""
    drawn = draw(generator, 1000)
    axes.scatter(*ring(400, np.random.default_rng(2)).T, s=8, color=REAL, label="real")
    axes.scatter(*drawn.T, s=8, color=DRAWN, alpha=0.4, marker="x", linewidths=0.8, label="drawn")
    axes.set(title=f"iteration {iteration}: {modes_covered(drawn)} of 8 modes", xlim=(-3, 3), ylim=(-3, 3),
             aspect="equal")


keras.utils.set_random_seed(0)
generator, discriminator = network(inputs=2, outputs=2), network(inputs=2, outputs=1)
figure, panels = plt.subplots(1, 5, figsize=(15, 3.3), layout="constrained")
shown = iter(panels)
train(generator, discriminator, ring, 2000, momentum=0.9, watch=lambda iteration: scatter(next(shown), iteration))
panels[0].legend(loc="lower left", fontsize=8)
plt.show()

# %% [markdown]
r"""
The samples stay together, in one place or on one line, and move about. The generator has found where the
discriminator's score is highest, and draws nothing else. The discriminator learns that this place is full of fakes,
lowers its score there, and the generator moves on to the next place: the circles of exercise 4 again. That is **mode
collapse**. Nothing in $L_G$ asks for variety: a generator that draws one perfect cell has a perfect score.

## Exercise 6: prevent it

Choose settings under which the generator covers at least seven modes. You may change what `train` takes: `rate`,
`momentum`, `noise`, `batch`, and the size of the latent; not more than 1,500 iterations. Before you try at
random: what did the saddle say about momentum? And what does noise on all that the discriminator sees do to a
discriminator that is too sure (Arjovsky & Bottou 2017, section 3)? Notebook 3 has a cure that goes deeper.
"""

# %% slide [markdown]
r"""
## Mode collapse

![](collapse.png)

Nothing in $L_G$ asks for variety: one perfect sample has a perfect score. Then the discriminator notices, and the
generator hops on.
"""

# %% exercise
# Exercise 6
### BEGIN SOLUTION
SETTINGS = dict(rate=1e-3, momentum=0.5, noise=0.3)
### HANDOUT
# SETTINGS = dict(rate=1e-3, momentum=0.9, noise=0.0)       # change and add
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
_covered = modes_covered(draw(generator, 2000))
assert _covered >= 7, f"the generator covers {_covered} of 8 modes: try other SETTINGS"
print(f"✓ exercise 6: {_covered} of 8 modes are covered")

# %% slide [markdown]
r"""
## The same game with less momentum

![](cured.png)

Less momentum, and noise on all that the discriminator sees. Every mode is covered; some samples lie between them.
"""

# %% [markdown]
r"""
## The same in the product

The losses of exercise 2 are what `train.py -a GAN` minimises: `biogans/gan.py` has them in a class of a few lines.
"""

# %%
from biogans.core import gan

scores = tf.random.normal((8, 1))
same = np.isclose(float(gan.GAN(settings=None).generator_loss(scores)), float(generator_loss(scores)))
print("the generator's loss of biogans is yours:", same)

# %% [markdown]
r"""
## To discuss

1. The discriminator's loss stays at $2 \log 2$. Has the training succeeded, or has the discriminator failed? What
   would you look at to tell?
2. Which picture would show you mode collapse in images of cells, where nobody can draw the ring?
3. The generator never sees a real sample. Can it nevertheless copy one?
4. What would happen if the discriminator were updated ten times for each update of the generator? Try it.

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

**Timing** (45 minutes): data and networks 5, exercises 1 and 2 15, see the game 5, exercise 3 5 (or homework), the
saddle 10, mode collapse 5. Exercise 6 suits those who are ahead.

**Answers.** 1: both give the same loss; a discriminator that failed gives ½ to everything, also to garbage: draw
samples and look, or train a fresh discriminator for longer. 2: a page of samples in which the same cell returns; a
histogram of a measured quantity (length) beside the real one; count near-duplicates. 3: yes, if the discriminator has
learnt the training samples by heart, its gradient leads there; compare samples with their nearest real neighbours. 4:
it becomes nearly perfect, and where it is certain its probability is flat: for these smooth data the non-saturating
loss still has a gradient, but it grows noisy; notebook 3 says why.

**Exercise 6.** Momentum is what matters. With two seeds each, after 1,500 iterations: momentum 0.9 covers 0 or 1 modes,
with noise of 0.3 no more; momentum 0.5 covers 7 and 8. Noise of 0.3 makes it 8 safely, and shows what it costs:
samples between the clusters.
"""

# %% slide [markdown]
r"""
## To discuss

1. The discriminator's loss stays at $2 \log 2$: success or failure?
2. How would you see mode collapse in images of cells?
3. The generator never sees a real sample. Can it copy one?
4. Ten updates of the discriminator for one of the generator?
"""
