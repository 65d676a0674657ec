# %% [markdown]
r"""
# 9. A rival: flow matching, and when a GAN is still the right tool

**After this notebook you can** train a generative model without a game, by least squares; draw from it by following a
velocity; say why one step is not enough; compare both kinds of models by numbers; choose one for a task.

**You need** notebooks 1 and 4. The notebook takes about half a minute to compute.
"""

# %% slide [markdown]
r"""
# A rival: flow matching

A generative model without a game, and when a GAN is still the right tool

*Deep Learning by Example* · notebook 9
"""

# %% install

# %%
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import time

import keras
import matplotlib.pyplot as plt
import numpy as np
from tqdm.auto import tqdm

from biogans.system.hints import checked

REAL, FAKE, JUDGE = "#0072B2", "#D55E00", "#009E73"
plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
r"""
## A path from noise to data

A GAN's generator turns noise into a sample in one jump, and a second network tells it how. Newer models, which draw most
of the pictures that you have seen lately, take many small steps instead, and no second network is needed. **Flow
matching** (Lipman et al. 2023) is the simplest of them; diffusion models are close relatives.

Take a sample of noise $x_0$ and a sample of the data $x_1$, any two, and connect them by a straight line:

$$ x_t = (1 - t)\, x_0 + t\, x_1, \qquad 0 \le t \le 1. $$

A point that moves along it has the velocity $x_1 - x_0$ all the way. Now train a network $v(x, t)$ to tell the velocity
from the point and the time alone, by least squares:

$$ L = \mathbb E_{t, x_0, x_1} \bigl\| v(x_t, t) - (x_1 - x_0) \bigr\|^2. $$

There is no opponent: $L$ is an ordinary loss with a lowest point, and it falls.

## Exercise 1: what the network learns from

Write the function that makes the training examples. Each sample has a $t$ of its own.
"""

# %% slide [markdown]
r"""
## A path from noise to data

$$ x_t = (1 - t)\, x_0 + t\, x_1 $$

$$ L = \mathbb{E} \, | v(x_t, t) - (x_1 - x_0) |^2 $$

- $x_0$: noise; $x_1$: data; any two of them
- $v$: a network that sees the point and the time, not where it comes from or goes to
- least squares: no opponent, no saddle

Lipman et al. 2023, eq. 20 to 23, with $\sigma_{min} = 0$; Liu et al. 2023
"""

# %% exercise
# Exercise 1
def examples(x0, x1, t):
    """(x_t, velocity), each (count, size), for noise x0 and data x1, both (count, size), and times t (count, 1)."""
    ### BEGIN SOLUTION
    return (1 - t) * x0 + t * x1, x1 - x0
    ### HANDOUT
    # return x0, 0 * x0       # your code instead of this line
    ### END SOLUTION

# %% check
_examples = checked(examples, shape=lambda x0, x1, t: (2, *np.shape(x0)))
_rng = np.random.default_rng(0)
_x0, _x1, _t = _rng.standard_normal((5, 2)), _rng.standard_normal((5, 2)), _rng.random((5, 1))
assert np.allclose(_examples(_x0, _x1, 0 * _t)[0], _x0), "at t = 0 the point is still the noise x0"
assert np.allclose(_examples(_x0, _x1, 0 * _t + 1)[0], _x1), "at t = 1 the point has arrived at x1"
assert np.allclose(_examples(_x0, _x1, _t)[0], _x0 + _t * (_x1 - _x0)), "in between it lies on the straight line"
assert np.allclose(_examples(_x0, _x1, _t)[1], _x1 - _x0), \
    "the velocity is the derivative of x_t with respect to t: x1 - x0, whatever t is"
print("✓ exercise 1")

# %% [markdown]
r"""
## The ring, once more

The eight clusters of notebook 1, on which the GAN collapsed. The network has the size of that generator.

**Predict first.** Many lines pass through the same point, with different velocities. What does a network that minimises
squared errors answer there? And where do all velocities point at $t = 0$, when nothing is known yet but the noise?
"""

# %%
CENTRES = 2 * np.stack([np.cos(np.pi * np.arange(8) / 4), np.sin(np.pi * np.arange(8) / 4)], axis=1)


def ring(count, rng):
    """Points of eight clusters on a ring, shape (count, 2)."""
    return (CENTRES[rng.integers(0, 8, count)] + 0.05 * rng.standard_normal((count, 2))).astype("float32")


def network(inputs, outputs, width=64):
    """Network with two hidden layers of size `width`."""
    return keras.Sequential([
        keras.Input((inputs,)),
        keras.layers.Dense(width, activation="relu"),
        keras.layers.Dense(width, activation="relu"),
        keras.layers.Dense(outputs),
    ])


def learn(velocity, real_samples, iterations=4000, batch=256, rate=2e-3, seed=0):
    """Train the network `velocity` of (x, t) on samples of a function (count, rng); returns the losses."""
    size, rng, losses = velocity.output_shape[1], np.random.default_rng(seed), []
    velocity.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, iterations)), "mse")
    for _ in tqdm(range(iterations)):
        x0 = rng.standard_normal((batch, size)).astype("float32")
        t = rng.random((batch, 1)).astype("float32")
        x, target = examples(x0, real_samples(batch, rng), t)
        losses.append(velocity.train_on_batch(np.concatenate([x, t], axis=1), target))
    return np.array(losses)


keras.utils.set_random_seed(0)
velocity = network(inputs=3, outputs=2)
start = time.monotonic()
losses = learn(velocity, ring)
print(f"trained for {time.monotonic() - start:.0f} s; loss at first {losses[:50].mean():.2f}, "
      f"at the end {losses[-500:].mean():.2f}")

# %% figure field
grid = np.stack(np.meshgrid(*[np.linspace(-2.7, 2.7, 15)] * 2), axis=-1).reshape(-1, 2).astype("float32")
figure, panels = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
for axes, t in zip(panels, (0.0, 0.5, 0.9)):
    arrows = velocity(np.concatenate([grid, np.full((len(grid), 1), t, "float32")], axis=1)).numpy()
    axes.scatter(*ring(300, np.random.default_rng(2)).T, s=8, color=REAL)
    axes.quiver(*grid.T, *arrows.T, color=JUDGE, angles="xy")
    axes.set(title=f"v(x, t) at t = {t}", xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
plt.show()

# %% [markdown]
r"""
The best answer in squared error is a mean: the network learns the **mean velocity** of all lines that pass through $x$
at $t$. At $t = 0$ every line to every cluster begins at $x$, so the mean points at the mean of the data, the empty
middle of the ring. Later, where a point is tells where it is going, and the arrows split into eight.

The loss does not fall to zero: its lowest value is the variance of the velocities around their mean. So a small loss
is no proof of good samples here either, and two models can be compared by it only if all else is equal.

## Exercise 2: draw

To draw, start from noise at $t = 0$ and follow the velocity to $t = 1$ in `steps` small steps of length
$\Delta = 1 / \text{steps}$ (Euler's method):

$$ x \leftarrow x + \Delta \; v(x, t), \qquad t \leftarrow t + \Delta. $$

If all points follow the mean velocity, then at each $t$ they are distributed as the points $x_t$ of the lines are, and
so at $t = 1$ as the data (Lipman et al. 2023, theorem 1; the argument is that of a fluid: only the mean flow through a
place changes how much is there).
"""

# %% exercise
# Exercise 2
def draw(v, x0, steps):
    """The points (count, size) at t = 1 that start at x0 (count, size); v is a function of (x, t), where t is a number."""
    ### BEGIN SOLUTION
    x = x0
    for k in range(steps):
        x = x + v(x, k / steps) / steps
    return x
    ### HANDOUT
    # return x0       # your code instead of this line
    ### END SOLUTION

# %% check
_draw = checked(draw, shape=lambda v, x0, steps: np.shape(x0))
_x0 = np.random.default_rng(1).standard_normal((6, 2))
assert np.allclose(_draw(lambda x, t: 0 * x + [1, -2], _x0, 7), _x0 + [1, -2]), \
    "with a constant velocity, any number of steps adds up to exactly that velocity: how long is a step?"
assert np.allclose(_draw(lambda x, t: x, _x0, 10), 1.1 ** 10 * _x0), \
    "with v = x and 10 steps, each step multiplies x by 1.1: use the new x in the next step"
assert np.allclose(_draw(lambda x, t: 0 * x + t, _x0, 4), _x0 + (0 + 0.25 + 0.5 + 0.75) / 4), \
    "a step uses the velocity at its beginning: the first one that at t = 0"
print("✓ exercise 2")

# %% [markdown]
r"""
**Predict first.** What do you see after a *single* step from $t = 0$ to $t = 1$? After two?
"""

# %% figure steps
def modes_covered(samples):
    """Number of CENTRES that have at least 2 % of the samples within a distance of 0.3."""
    distances = np.linalg.norm(samples[:, None] - CENTRES, axis=2)
    return int(((distances < 0.3).mean(axis=0) >= 0.02).sum())


def v(x, t):
    return velocity(np.concatenate([x, np.full((len(x), 1), t)], axis=1).astype("float32")).numpy()


x0 = np.random.default_rng(1).standard_normal((1000, 2))
figure, panels = plt.subplots(1, 4, figsize=(14, 3.6), layout="constrained")
for axes, steps in zip(panels, (1, 2, 5, 50)):
    drawn = draw(v, x0, steps)
    near = (np.linalg.norm(drawn[:, None] - CENTRES, axis=2).min(axis=1) < 0.3).mean()
    axes.scatter(*ring(400, np.random.default_rng(2)).T, s=8, color=REAL, label="data")
    axes.scatter(*drawn.T, s=8, color=FAKE, alpha=0.4, marker="x", linewidths=0.8, label="drawn")
    axes.set(title=f"{steps} step{'s' * (steps > 1)}: {modes_covered(drawn)} of 8 modes, {near:.0%} near one",
             xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
panels[0].legend(loc="lower left", fontsize=8)
plt.show()

# %% [markdown]
r"""
One step lands in the middle, where nothing is: it follows the mean of all directions. With many steps the points make
up their mind on the way. **All eight modes are there**, although nobody fought for them: each sample of the data is the
end of some lines, so the loss punishes a model that forgets one. That is the great difference from a GAN, whose loss
says nothing about what is missing.

The price is the number of passes of the network for one sample: fifty here, one for a GAN.
"""

# %% slide [markdown]
r"""
## The mean velocity

![](field.png)

At $t = 0$ all arrows point to the mean of the data, where nothing is. Later they split.
"""

# %% slide [markdown]
r"""
## How many steps?

![](steps.png)

All modes are there: each sample of the data is the end of some lines. The price: many passes for one sample.
"""

# %% [markdown]
r"""
## Exercise 3: the exact answer

In one dimension everything can be computed. Let the data be two points, $x_1 = -1$ or $x_1 = +1$ with equal
probability, and $x_0$ standard normal. Then $x_t$ given $x_1$ is normal, with mean $t x_1$ and standard deviation
$1 - t$. By Bayes' theorem the mean of $x_1$, given $x_t = x$, is

$$ m(x, t) = \tanh \frac{t x}{(1 - t)^2}, $$

and since $x_0 = (x - t x_1) / (1 - t)$, the mean velocity is $\mathbb E[x_1 - x_0 \,|\, x_t = x]$. Write it, for
$t < 1$, using $m$.
"""

# %% exercise
# Exercise 3
def exact_velocity(x, t):
    """Mean velocity (count,) at the points x (count,) and the time t < 1."""
    ### BEGIN SOLUTION
    m = np.tanh(t * x / (1 - t) ** 2)
    return (m - x) / (1 - t)
    ### HANDOUT
    # return 0 * x        # your code instead of this line
    ### END SOLUTION

# %% check
_exact_velocity = checked(exact_velocity, shape=lambda x, t: np.shape(x))
_rng = np.random.default_rng(3)
_x1, _x0 = _rng.choice([-1.0, 1.0], 400000), _rng.standard_normal(400000)
assert np.allclose(_exact_velocity(np.array([-1.0, 0.5, 2.0]), 0.0), [1.0, -0.5, -2.0]), \
    "at t = 0 every point moves towards the mean of the data, which is 0: the velocity is -x"
for _time in (0.3, 0.6):
    _at = (1 - _time) * _x0 + _time * _x1
    for _place in (-0.6, 0.1, 0.8):
        _measured = (_x1 - _x0)[np.abs(_at - _place) < 0.03].mean()
        _yours = float(_exact_velocity(np.array([_place]), _time)[0])
        assert abs(_measured - _yours) < 0.1, \
            f"of many lines through x = {_place} at t = {_time}, the mean velocity is {_measured:.2f}, yours {_yours:.2f}"
print("✓ exercise 3: your formula agrees with 400,000 lines")

# %% figure paths
figure, panels = plt.subplots(1, 2, figsize=(11, 3.2), layout="constrained", sharey=True)
times, rng = np.linspace(0, 1, 61), np.random.default_rng(4)
for x0, x1 in zip(rng.standard_normal(40), rng.choice([-1, 1], 40)):
    panels[0].plot(times, (1 - times) * x0 + times * x1, color=REAL, alpha=0.4)
x = rng.standard_normal(40)
path = [x]
for t in times[:-1]:
    x = x + exact_velocity(x, t) * times[1]
    path.append(x)
panels[1].plot(times, path, color=FAKE, alpha=0.5)
panels[0].set(title="the lines: they cross", xlabel="t", ylabel="x")
panels[1].set(title="what follows the mean velocity: paths don't cross", xlabel="t")
plt.show()

# %% [markdown]
r"""
At any $t$ both sets of curves have the same distribution, but the paths on the right never cross: one point and one time
have one velocity. So noise on the left of 0 becomes -1, and noise on the right +1: the flow is a *function* of the
noise, as a generator is, and its $x_0$ is a latent vector, as large as the image.
"""

# %% slide [markdown]
r"""
## Lines cross, paths don't

![](paths.png)

The same distribution at every $t$. The flow is a function of its noise, as a generator is.
"""

# %% [markdown]
r"""
## Exercise 4: better steps

A step of Euler's method uses the velocity at its beginning, although the point will meet another one at its end.
**Heun's method** first tries Euler's step, looks at the velocity there, and then takes the step with the mean of both:

$$ \hat x = x + \Delta\, v(x, t), \qquad x \leftarrow x + \tfrac{\Delta}{2} \bigl( v(x, t) + v(\hat x, t + \Delta) \bigr). $$

That costs two passes of the network for a step. Is it worth it?
"""

# %% exercise
# Exercise 4
def draw_heun(v, x0, steps):
    """Like `draw`, with Heun's method."""
    ### BEGIN SOLUTION
    x = x0
    for k in range(steps):
        first = v(x, k / steps)
        second = v(x + first / steps, (k + 1) / steps)
        x = x + (first + second) / (2 * steps)
    return x
    ### HANDOUT
    # return draw(v, x0, steps)       # your code instead of this line
    ### END SOLUTION

# %% check
_draw_heun = checked(draw_heun, shape=lambda v, x0, steps: np.shape(x0))
_x0 = np.random.default_rng(1).standard_normal((6, 2))
assert np.allclose(_draw_heun(lambda x, t: 0 * x + [1, -2], _x0, 7), _x0 + [1, -2]), \
    "with a constant velocity the steps add up to exactly that velocity"
assert np.allclose(_draw_heun(lambda x, t: 0 * x + t, _x0, 4), _x0 + 0.5), \
    "with v = t the result is exact, x0 + ½: take the mean of the velocities at t and at t + Δ"
assert np.allclose(_draw_heun(lambda x, t: x, _x0, 10), (1 + 0.1 + 0.005) ** 10 * _x0), \
    "the second velocity is that at the point to which Euler's step leads"
print("✓ exercise 4")

# %% figure heun
x0 = np.random.default_rng(1).standard_normal((300, 2))
exact = draw_heun(v, x0, 400)
figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
for method, cost, colour, marker in ((draw, 1, REAL, "o"), (draw_heun, 2, FAKE, "s")):
    steps = np.array([4, 8, 16, 32, 64]) // cost
    errors = [np.linalg.norm(method(v, x0, n) - exact, axis=1).mean() for n in steps]
    axes.loglog(cost * steps, errors, marker=marker, color=colour, label={draw: "Euler", draw_heun: "Heun"}[method])
axes.set(xlabel="passes of the network for a sample", ylabel="distance from the exact end",
         title="the same velocity, followed in two ways")
axes.set_xticks([4, 8, 16, 32, 64], ["4", "8", "16", "32", "64"])
axes.minorticks_off()
axes.legend()
plt.show()

# %% slide [markdown]
r"""
## Better steps

![](heun.png)

Two passes for a step, and fewer passes for the same error.
"""

# %% [markdown]
r"""
For four passes Euler is better, from eight on Heun. Whichever method: a flow trades passes for accuracy *after* the
training, and a GAN can't.

## Cells

`benchmarks/flow_matching.py` trains the same on cells: the network is a U-Net instead of three dense layers, and is also
told the factor; an image takes eight steps of Heun's method. The script scores it, and a generator of `train.py` beside it,
by the measures of notebook 5, and prints a table. After an hour of one core the flow's images were far behind those of the
included star, which had taken more than two (two-sample score 4.7 against -0.3), but its greens varied as true ones do,
which no term of its loss asks for. The page *A rival* of the documentation (`docs/flow.md`) has the table.

## Which one to take

| you want | | why |
|---|---|---|
| many images, or sliders that answer at once | GAN | one pass of a network |
| a short latent vector, to reconstruct or interpolate | GAN | $z$ has 100 numbers; the noise of a flow has as many as the image has pixels |
| all six factors in one cell | the star | its one red belongs to all greens |
| every kind of image that is in the data | flow | what is missing costs; a GAN may forget it and never notice |
| a training without surprises | flow | an ordinary loss with a lowest point |
| to know how likely an image is | flow | it can be computed from the velocity (Chen et al. 2018); a GAN has no density |
"""

# %% slide [markdown]
r"""
## Which one to take

- many images, sliders, a short latent vector, all factors in one cell: a GAN
- every kind of image, a training without surprises, a likelihood: a flow
- on the cells of this course: `benchmarks/flow_matching.py`
"""

# %% quiz [markdown]
r"""
## Quiz

Four questions about what you have seen, each with one right answer. Enter the letters in the cell below: it explains
every answer, right or wrong.

**Question 1.** The loss of the flow on the ring stops falling at 1.8. Has the training failed?

- **a)** Yes, a perfect network reaches 0.
  ✗ Many lines pass through one point in different directions, and the network can give only one answer. What is left is
    the variance of these directions.
- **b)** Not because of that: the lowest value is the variance of the velocities around their mean.
  ✓ The loss of the best network is not 0. Look at the samples, or compare with a larger network on the same data.
- **c)** Yes, the generator and the critic are out of balance.
  ✗ There is no critic here: one network minimises one loss.

**Question 2.** You draw with a single step of Euler's method. What do you get on the ring?

- **a)** Points on the ring, but less exact ones.
  ✗ They are nowhere near the ring. At t = 0 the network knows nothing but the noise, so it points to the mean of all
    data.
- **b)** Points near the middle, where no data are.
  ✓ The first velocity leads to the mean of the data. Only later velocities, which depend on where the point is by then,
    lead to one of the clusters.
- **c)** One of the eight clusters, always the same.
  ✗ That would be mode collapse. A single step leads to the mean of all clusters.

**Question 3.** Why does the flow cover all eight modes?

- **a)** It is trained for longer than the GAN of notebook 1.
  ✗ Both take seconds. The GAN collapses with more iterations, too, because nothing in its loss asks for variety.
- **b)** Every sample of the data is the end of some lines, so leaving it out costs.
  ✓ The loss is a mean over the data. A GAN's generator is judged by what it draws, never by what it leaves out.
- **c)** Its noise has more dimensions.
  ✗ The noise has two dimensions here, as that of the GAN in notebook 1 had.

**Question 4.** Two different noises x0 lead to the same image. Can that happen if the velocity is followed exactly?

- **a)** Yes, as with a GAN.
  ✗ A GAN's generator may map many z to one image. Paths of a flow don't cross: one point and time have one velocity.
- **b)** No: paths don't cross, so they can be followed backwards to the noise they came from.
  ✓ That is why a likelihood can be computed, and why the noise must be as large as the image.
- **c)** Only at t = 0.
  ✗ At t = 0 the points are the noises themselves, which are different.
"""

# %% [markdown]
r"""
## To discuss

1. The star was trained on images of one factor each, and draws all six in a cell. How would you build a flow that does
   so?
2. A page of sliders must draw a cell in 50 ms on a laptop. The U-Net takes 10 ms for a pass. What can you do?
3. Your colleague reports the training loss of a flow as its quality. What do you answer?
4. Which of the measures of notebook 5 can be used for a flow without any change?

## Sources

- Lipman et al. (2023), *Flow matching for generative modeling*, [arXiv:2210.02747](https://arxiv.org/abs/2210.02747)
- Liu, Gong & Liu (2023), *Flow straight and fast: learning to generate and transfer data with rectified flow*,
  [arXiv:2209.03003](https://arxiv.org/abs/2209.03003)
- Chen et al. (2018), *Neural ordinary differential equations*, [arXiv:1806.07366](https://arxiv.org/abs/1806.07366)
"""

# %% answer [markdown]
r"""
## For the instructor

**Timing** (45 minutes): the lines and exercise 1: 10; the ring: 10; exercise 2 and the steps: 10; exercise 3: 10 (or
homework); Heun, the cells, the table: 5. Give exercise 4 to students who are ahead.

**Answers.** 1: a network with a red and six green channels can't be trained on pairs directly, because no image shows
two greens. One can train the velocity of (red, green *k*) with the factor as an input, draw a red, and then draw each
green with that red held fixed, as the benchmark does for its measure of variety; the greens then depend on each other
only through red. 2: five passes: two steps of Heun's method, or train a second network that imitates many steps in one
(distillation), which many teams do; or take a GAN. 3: the loss has an unknown lowest value, which depends on the data and
on how t is drawn; report a two-sample test, features and variety on held-out images. 4: all that compare images: C2ST,
Fréchet and kernel distance, precision and recall, nearest neighbours. Reconstruction works differently, by following the
velocity backwards.
"""

# %% slide [markdown]
r"""
## To discuss

1. A flow that draws six factors in one cell, from images of one each?
2. A cell in 50 ms, with 10 ms for a pass?
3. A training loss, reported as quality?
4. Which measures of notebook 5 work for a flow?
"""
