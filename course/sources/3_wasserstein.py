# %% [markdown]
r"""
# 3. Why Wasserstein: a curve that goes down

**After this notebook you can** compute three distances between distributions, and say which of them helps a generator
that is still far from its goal; explain what a critic is; limit its slope in two ways, by clipping and by a penalty;
train a WGAN-GP and read its curve.

**You need** notebook 1. The notebook takes about a minute to compute.
"""

# %% slide [markdown]
r"""
# Why Wasserstein

Distances between distributions that don't overlap, clipping, gradient penalty, a curve that goes down

*Deep Learning by Example* · notebook 3
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
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance
from tqdm import tqdm

from biogans.system.hints import checked

REAL, FAKE, JUDGE, OTHER = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False})
USE_TF = "use TensorFlow's functions, through which gradients pass"

# %% [markdown]
r"""
## How far apart are two distributions?

In notebook 1 the generator learnt from a discriminator. Which distance does it minimise? Let the discriminator be the
best one, $D = p / (p + q)$, for the density $p$ of the real and the density $q$ of the generated samples. With the
**Kullback-Leibler divergence** KL, which compares two densities, and $m = (p + q)/2$, the **Jensen-Shannon divergence** is

$$ \text{JS}(p, q) = \tfrac12 \text{KL}(p, m) + \tfrac12 \text{KL}(q, m), \qquad
\text{KL}(p, m) = \int p(x) \log\frac{p(x)}{m(x)}\,dx. $$

JS is 0 if $p = q$, and never exceeds $\log 2$.

(You may skip this paragraph.) JS belongs to the *saturating* loss $L_G = -L_D$: put $D$ in, and it is
$2\,\text{JS}(p, q) - 2 \log 2$ (Goodfellow et al. 2014, theorem 1). The *non-saturating* loss of notebook 1,
$-\mathbb E_q \log D$, is another one. Since $-\log D = \log (q / p) - \log (1 - D)$, and $D$ and the $q$ in it stay
fixed while the generator steps, its gradient is that of

$$ \text{KL}(q, p) - 2\,\text{JS}(p, q) $$

(Arjovsky & Bottou 2017, theorem 2.5: the mean of the first term has the gradient of $\text{KL}(q, p)$, and that of
$\log (1 - D)$ the gradient of $2\,\text{JS}$). The two divergences pull in opposite directions, and neither helps where
$p$ and $q$ don't overlap, as we shall see.

## Exercise 1: Jensen-Shannon

Write JS for two histograms: probabilities of the same bins, which add up to 1 in each histogram. Note that $0 \log 0$
counts as 0.
"""

# %% exercise
# Exercise 1
def jensen_shannon(p, q):
    """JS of two arrays of probabilities (bins,), each of which adds up to 1."""
    ### BEGIN SOLUTION
    def kl(a, b):
        filled = a > 0
        return np.sum(a[filled] * np.log(a[filled] / b[filled]))

    m = (p + q) / 2
    return kl(p, m) / 2 + kl(q, m) / 2
    ### HANDOUT
    # return 0 * p.sum()      # your code instead of this line
    ### END SOLUTION

# %% check
_jensen_shannon = checked(jensen_shannon, shape=(), hint="leave out the bins whose probability is 0")
_p, _q = np.array([0.5, 0.5, 0, 0]), np.array([0.25, 0.25, 0.25, 0.25])
assert np.isfinite(_jensen_shannon(_p, _q)), "not a finite number: leave out the bins whose probability is 0"
_apart = _jensen_shannon(_p, _p[::-1])
assert np.isclose(_apart, np.log(2)), f"JS of histograms that don't overlap is log 2 = 0.693; yours: {_apart:.3f}"
assert np.isclose(_jensen_shannon(_q, _q), 0), "JS of a histogram with itself is 0"
assert np.isclose(_jensen_shannon(_p, _q), _jensen_shannon(_q, _p)), "JS is symmetric"
assert np.isclose(_jensen_shannon(_p, _q), 0.2158, atol=1e-3), \
    f"JS of p and q is 0.2158, yours is {_jensen_shannon(_p, _q):.4f}"
print("✓ exercise 1")

# %% [markdown]
r"""
## Exercise 2: the earth mover

Think of $q$ as heaps of earth, and of $p$ as the places where the earth should be. The **Wasserstein-1** or *earth
mover's* distance is the least work, mass times distance, that moves one into the other. In one dimension, with equally
many samples of both, the best plan is simple: the smallest sample goes to the smallest, the next to the next, and so
on. Write a function that returns the mean distance of that plan.
"""

# %% slide [markdown]
r"""
## Two distances

- **Jensen-Shannon**: how well can the best discriminator tell them apart? At most $\log\, 2$, and exactly that for all
  distributions that don't overlap
- **Wasserstein-1**, earth mover: the least (mass × distance) that turns one into the other

![](distances.png)

Arjovsky et al. 2017, example 1
"""

# %% exercise
# Exercise 2
def earth_mover(a, b):
    """Wasserstein-1 distance of samples a and b, both (count,)."""
    ### BEGIN SOLUTION
    return np.abs(np.sort(a) - np.sort(b)).mean()
    ### HANDOUT
    # return 0 * a.mean()     # your code instead of this line
    ### END SOLUTION

# %% check
_earth_mover = checked(earth_mover, shape=())
_a, _b = np.random.default_rng(0).normal(0, 1, 500), np.random.default_rng(1).normal(1, 2, 500)
assert np.isclose(_earth_mover(_a.copy(), _a[::-1].copy()), 0), "the order of samples should not matter"
assert np.isclose(_earth_mover(_a, _a + 3), 3), "samples that are all shifted by 3 are a distance of 3 apart"
_work, _expected = _earth_mover(_a, _b), wasserstein_distance(_a, _b)
assert np.isclose(_work, _expected), f"SciPy's wasserstein_distance gives {_expected:.3f} for two samples; yours: {_work:.3f}"
print("✓ exercise 2")

# %% [markdown]
r"""
Now shift one distribution past the other: real samples are uniform in $[0, 1]$, generated samples uniform in
$[\theta, \theta + 1]$. On paper: $\text{JS} = \min(|\theta|, 1) \log 2$ (a discriminator recognises the parts that do
not overlap with certainty, and the rest not at all), $\text{KL} = \infty$ for every $\theta \ne 0$, and $W = |\theta|$.
The dots show values measured with your functions.
"""

# %% figure distances
rng = np.random.default_rng(0)
theta = np.linspace(-3, 3, 61)
real = rng.random(5000)
bins = np.linspace(-3, 4, 71)
js, w = [], []
for shift in theta:
    fake = shift + rng.random(5000)
    js.append(jensen_shannon(*(np.histogram(samples, bins)[0] / 5000 for samples in (real, fake))))
    w.append(earth_mover(real, fake))
figure, panels = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
js_on_paper = np.minimum(abs(theta), 1) * np.log(2)
for axes, measured, exact, name, colour in ((panels[0], js, js_on_paper, "Jensen-Shannon", FAKE),
                                            (panels[1], w, abs(theta), "Wasserstein-1", REAL)):
    axes.plot(theta, exact, color="black", linewidth=1, label="on paper")
    axes.plot(theta, measured, "o", markersize=4, color=colour, label="measured")
    axes.set(title=name, xlabel="shift θ of the generated samples", ylim=(0, None))
    axes.legend()
plt.show()

# %% [markdown]
r"""
Where the two distributions do not overlap, JS is flat and KL infinite: they do not show the generator where to go. This
is not a rare case. Images fill a vanishing part of the space of all pixel arrays, and so do generated images: at first
the two never overlap (Arjovsky & Bottou 2017). $W$ has a slope towards the real samples everywhere.

## From a discriminator to a critic

How can one compute $W$ for images, which can't be sorted? By a theorem of Kantorovich and Rubinstein,

$$ W(p, q) = \max_{f} \; \mathbb E_{x \text{ real}} f(x) - \mathbb E_{x \text{ generated}} f(x), \qquad
|f(a) - f(b)| \le |a - b| \text{ for all } a, b. $$

We call $f$ the **critic**. Like a discriminator, it gives high scores to real samples and low scores to generated ones,
but its slope must not exceed 1 anywhere (such functions are called 1-*Lipschitz*). Without that condition it could make
the difference arbitrarily large. We let $f$ be a network and train it to increase the difference. One question remains:
how do we limit its slope?

**By clipping** (WGAN, Arjovsky et al. 2017): after each update, clip all weights to $[-c, c]$. A network with such
weights can't be steeper than *some* number.

## Exercise 3: how steep?

Our networks have one input, two hidden layers of size `width` with ReLU, and one output. If all weights lie in
$[-c, c]$, how steep can the output be? (Follow the slope through the layers. How large can it be in each number of the
first layer? In the second layer, which adds up `width` of them? In the third?)
"""

# %% slide [markdown]
r"""
## From a discriminator to a critic

$$ W(p, q) = \max_{f} \; \mathbb{E}_{x \sim p} f(x) - \mathbb{E}_{x \sim q} f(x), \qquad |f(a) - f(b)| \le |a - b| $$

- **Clipping** (WGAN): clip weights to $[-c, c]$: the slope stays below *some* number
- **Gradient penalty** (WGAN-GP): penalise slopes other than 1

![](slopes.png)

Arjovsky et al. 2017, algorithm 1; Gulrajani et al. 2017, eq. 3
"""

# %% exercise
# Exercise 3
def clip(weights, c):
    """Clip every number in a list of arrays to [-c, c]; returns the new list."""
    ### BEGIN SOLUTION
    return [np.clip(weight, -c, c) for weight in weights]
    ### HANDOUT
    # return weights      # your code instead of this line
    ### END SOLUTION


def largest_slope(c, width):
    """Largest slope of a network with two hidden layers of size `width` whose weights lie in [-c, c]."""
    ### BEGIN SOLUTION
    return c * (width * c) * (width * c)
    ### HANDOUT
    # return 0.0          # your code instead of this line
    ### END SOLUTION

# %%
def network(inputs, outputs, width=64):
    """Network with two hidden layers of size `width`."""
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(width, activation="relu"),
                             keras.layers.Dense(width, activation="relu"), keras.layers.Dense(outputs)])

# %% check
_clip = checked(clip, kind=(list, tuple), hint="return one array for each one in the list")
_largest_slope = checked(largest_slope, shape=())
_cut = _clip([np.array([[0.5, -0.02]]), np.array([-3.0])], 0.1)
assert len(_cut) == 2 and np.allclose(_cut[0], [[0.1, -0.02]]) and np.allclose(_cut[1], [-0.1]), \
    f"with c = 0.1, [[0.5, -0.02]] should become [[0.1, -0.02]], and [-3] become [-0.1]; yours: {_cut}"
for _c, _width in ((0.1, 64), (0.5, 8)):
    _steepest = network(1, 1, _width)
    _steepest.set_weights([np.full(weight.shape, _c) for weight in _steepest.get_weights()])
    _slope = float(_steepest(np.array([[9.0]]))[0, 0] - _steepest(np.array([[8.0]]))[0, 0])
    assert np.isclose(_largest_slope(_c, _width), _slope, rtol=1e-3), \
        f"width {_width}, all weights {_c}: the slope is {_slope:.4g}, yours is {_largest_slope(_c, _width):.4g}"
print(f"✓ exercise 3: with c = 0.01 our critics have slopes up to {_largest_slope(0.01, 64):.4f}, "
      f"with c = 0.1 up to {_largest_slope(0.1, 64):.1f}")

# %% [markdown]
r"""
So a clipped critic measures $W$ in units that depend on $c$ and on the network, and a network whose weights are at
their limits can express little. The alternative is to limit the slope **by a penalty** on slopes that differ from 1
(WGAN-GP, Gulrajani et al. 2017, eq. 3):

$$ L_C = \mathbb E_{x \text{ generated}} f(x) - \mathbb E_{x \text{ real}} f(x)
 + \lambda\, \mathbb E_{\hat x} \bigl(\lVert \nabla f(\hat x) \rVert - 1\bigr)^2, \qquad
 \hat x = \alpha\, x_\text{real} + (1 - \alpha)\, x_\text{generated}. $$

The points $\hat x$ lie between a real and a generated sample, with $\alpha$ uniform in $[0, 1]$. $\lVert\cdot\rVert$ is
the length of the gradient, over all coordinates of a sample.

Why 1? On the line between a real and a generated sample that the *best plan* of exercise 2 couples, the best critic has
a slope of exactly 1 (Gulrajani et al. 2017, proposition 1): there its difference has to make up the whole distance.
Elsewhere it need not. Take the real samples 0 and 10 and the generated samples 1 and 9. The plan couples 0 with 1, and
10 with 9, so a best critic falls with slope 1 from 0 to 1, rises with slope 1 from 9 to 10, and may be flat in between.
The pairs of the penalty are random, and some of its points lie there: it asks for more than the theorem.

## Exercise 4: the penalty

Write the penalty with TensorFlow, without the factor $\lambda$. Compute the scores inside
`with tf.GradientTape() as tape:`. A tape follows weights by itself; `tape.watch(points)` makes it follow the points too.
`tape.gradient(scores, points)` then returns the gradient of the sum of the scores with respect to the points. Each score
depends on its own point only, so this gives each point its own gradient. `tf.sqrt`, `tf.reduce_sum` and `tf.reduce_mean`
work like their NumPy namesakes.
"""

# %% exercise
# Exercise 4
def gradient_penalty(critic, real, fake, alpha):
    """Mean of (|grad f| - 1)² at points between real and generated samples (batch, size); alpha is (batch, 1)."""
    ### BEGIN SOLUTION
    points = alpha * real + (1 - alpha) * fake
    with tf.GradientTape() as tape:
        tape.watch(points)
        scores = critic(points)
    gradient = tape.gradient(scores, points)
    slope = tf.sqrt(tf.reduce_sum(gradient ** 2, axis=1) + 1e-12)
    return tf.reduce_mean((slope - 1) ** 2)
    ### HANDOUT
    # return 0.0 * tf.reduce_mean(critic(real))       # your code instead of this line
    ### END SOLUTION

# %% check
_gradient_penalty = checked(gradient_penalty, shape=(), kind=tf.Tensor,
                            hint=f"does the tape watch the points? If so, {USE_TF}")
_real, _fake = (tf.constant(np.random.default_rng(k).standard_normal((64, 2)), tf.float32) for k in (0, 1))
_alpha = tf.constant(np.random.default_rng(2).random((64, 1)), tf.float32)
_linear = lambda x: x @ tf.constant([[3.0], [4.0]])                     # slope 5 everywhere
assert np.isclose(_gradient_penalty(_linear, _real, _fake, _alpha), 16, atol=1e-3), \
    "the critic 3x + 4y has slope 5 everywhere: the penalty should be (5 - 1)² = 16"
_bowl = lambda x: tf.reduce_sum(x ** 2, axis=1, keepdims=True) / 2      # slope |x|
_points = (_alpha * _real + (1 - _alpha) * _fake).numpy()
_expected = ((np.linalg.norm(_points, axis=1) - 1) ** 2).mean()
assert np.isclose(_gradient_penalty(_bowl, _real, _fake, _alpha), _expected, atol=1e-3), \
    "f = |x|²/2 has slope |x| at x: use the points between the samples, and take the mean of (slope - 1)²"
_critic = network(2, 1)
with tf.GradientTape() as _tape:
    _penalty = _gradient_penalty(_critic, _real, _fake, _alpha)
assert _tape.gradient(_penalty, _critic.trainable_variables)[0] is not None, \
    "no gradient passes from the penalty to the weights: use TensorFlow's functions, not NumPy's"
print("✓ exercise 4")

# %% [markdown]
r"""
## Exercise 5: how exact is the penalty?

The penalty is a price, not a wall: a slope slightly above 1 pays off. Let all real samples lie at one point and all
generated samples at another, a distance $w$ away, and let $f$ be a line of slope $s$ between them. Then the critic's
gain is

$$ -L_C(s) = s\,w - \lambda\,(s - 1)^2. $$

Which $s$ maximises it, and what is the largest gain?
"""

# %% exercise
# Exercise 5
def best_slope(w, lam):
    """The slope that maximises the gain, for samples at distance w."""
    ### BEGIN SOLUTION
    return 1 + w / (2 * lam)
    ### HANDOUT
    # return 0 * w        # your code instead of this line
    ### END SOLUTION


def largest_gain(w, lam):
    """The gain at that slope: the value that a critic with penalty measures for two points at distance w."""
    ### BEGIN SOLUTION
    return w + w ** 2 / (4 * lam)
    ### HANDOUT
    # return 0 * w        # your code instead of this line
    ### END SOLUTION

# %% check
_best_slope = checked(best_slope, shape=())
_largest_gain = checked(largest_gain, shape=())
for _w, _lam in ((1.0, 10.0), (4.0, 10.0), (3.0, 0.5)):
    _s = np.linspace(0, 10, 100001)
    _gain = _s * _w - _lam * (_s - 1) ** 2
    assert np.isclose(_best_slope(_w, _lam), _s[_gain.argmax()], atol=1e-3), \
        f"w = {_w}, λ = {_lam}: a search over all slopes finds {_s[_gain.argmax()]:.3f}, not {_best_slope(_w, _lam):.3f}"
    assert np.isclose(_largest_gain(_w, _lam), _gain.max(), atol=1e-3), \
        f"w = {_w}, λ = {_lam}: the largest gain is {_gain.max():.3f}, not {_largest_gain(_w, _lam):.3f}"
print(f"✓ exercise 5: with λ = 10 a critic measures a distance of 4 as {_largest_gain(4.0, 10.0):.2f}")

# %% [markdown]
r"""
So a penalty measures too much, here by $w^2 / 4\lambda$.

(You may skip this paragraph.) Samples that are spread allow more. In one dimension, let
$F(x)$ be the difference between the fractions of real and of generated samples below $x$, and $\rho$ the density of the
points $\hat x$. The gain is an integral of $|F|\, s - \lambda \rho\, (s - 1)^2$ over $x$, and the best slope at each
$x$, $s = 1 + |F| / (2 \lambda \rho)$, gives

$$ \int |F|\,dx + \frac{1}{4 \lambda} \int \frac{F^2}{\rho}\,dx \;\ge\; w + \frac{w^2}{4 \lambda},
\qquad w = \int |F|\,dx, $$

by the Cauchy-Schwarz inequality. So your formula is no upper limit: for the real samples 0 and 10, the generated
samples 1 and 11, and $\lambda = 1$, the left side is 1.46 and the right side 1.25.

Now we measure distances with trained critics. Real samples are uniform in a square of side 1; generated samples are
uniform in the same square shifted by $\theta$, so the distance is $\theta$. For each way to limit the slope and for
each $\theta$ we train a critic with 300 updates, and divide its measurement by $\theta$. (Why a square, not an
interval? The penalty accepts a slope of $-1$ as readily as $+1$. In one dimension a critic that starts with the wrong
sign can't get from one to the other; in two dimensions it can turn around.)

**Predict first.** A critic that is clipped to 0.1 has weights ten times as large as one that is clipped to 0.01. By
which factor will their measurements differ? (Exercise 3 has the formula.)
"""

# %% figure slopes
def trained_gain(shift, c=None, lam=10.0, updates=300):
    """Distance that a critic, clipped to c or with penalty, measures between a square and one moved by `shift`."""
    keras.utils.set_random_seed(0)
    critic, optimizer = network(2, 1), keras.optimizers.Adam(3e-3, beta_1=0.0, beta_2=0.9)
    optimizer.build(critic.trainable_variables)

    @tf.function
    def update():
        real, fake = tf.random.uniform((128, 2)), tf.random.uniform((128, 2)) + [shift, 0.0]
        alpha = tf.random.uniform((128, 1))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(critic(fake)) - tf.reduce_mean(critic(real))
            if c is None:
                loss += lam * gradient_penalty(critic, real, fake, alpha)
        optimizer.apply(tape.gradient(loss, critic.trainable_variables), critic.trainable_variables)
        return -loss

    gains = []
    for _ in tqdm(range(updates), f"distance {shift}", mininterval=1, leave=False):
        gains.append(update())
        if c is not None:
            critic.set_weights(clip(critic.get_weights(), c))
    return np.mean(gains[-50:])


shifts = np.array([0.5, 1, 2, 4])
plt.figure(figsize=(6.5, 3.4))
for c, marker, colour in ((0.1, "^", OTHER), (0.05, "s", FAKE), (0.01, "v", "#E69F00")):
    gains = np.array([trained_gain(shift, c=c) for shift in shifts])
    plt.loglog(shifts, gains / shifts, marker, color=colour, label=f"clipped to {c}")
    plt.axhline(max(largest_slope(c, 64), 1e-4), color=colour, linewidth=1, linestyle=":")
plt.loglog(shifts, [trained_gain(shift) / shift for shift in shifts], "o", color=REAL, label="gradient penalty, λ = 10")
on_paper = np.array([largest_gain(shift, 10.0) for shift in shifts])
plt.loglog(shifts, np.maximum(on_paper, 1e-4) / shifts, color=REAL, linewidth=1)
plt.xlabel("true distance θ")
plt.ylabel("measured / true")
plt.xticks(shifts, [f"{shift:g}" for shift in shifts])
plt.minorticks_off()
plt.title("points: trained critics; lines: your formulas")
plt.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
r"""
The dotted lines are the largest slopes of exercise 3: no critic can exceed them, and none reaches them. The blue points
follow your formula of exercise 5. That clipping to 0.1 ends near 1 is chance: with another width it would be another
number.

## Exercise 6: a WGAN-GP

Back to the game. The critic minimises $L_C$, and the generator minimises $-\mathbb E\, f(G(z))$: it follows the slope
of the critic, which is about 1 from a generated sample to the real sample that the best plan couples with it, however
far apart they are. The critic must become good *first* (only then is its gain a distance), so we update it five times
for each update of the generator. Adam gets no momentum ($\beta_1 = 0$).
"""

# %% exercise
# Exercise 6
def critic_loss(real_scores, fake_scores, penalty, lam):
    """L_C from the scores of real and of generated samples, each (batch, 1), and the penalty."""
    ### BEGIN SOLUTION
    return tf.reduce_mean(fake_scores) - tf.reduce_mean(real_scores) + lam * penalty
    ### HANDOUT
    # return 0.0 * tf.reduce_mean(real_scores)        # your code instead of this line
    ### END SOLUTION


def generator_loss(fake_scores):
    """The generator's loss, from the scores of generated samples (batch, 1)."""
    ### BEGIN SOLUTION
    return -tf.reduce_mean(fake_scores)
    ### HANDOUT
    # return 0.0 * tf.reduce_mean(fake_scores)        # your code instead of this line
    ### END SOLUTION

# %% check
_critic_loss = checked(critic_loss, shape=(), kind=tf.Tensor, hint=USE_TF)
_generator_loss = checked(generator_loss, shape=(), kind=tf.Tensor, hint=USE_TF)
_real, _fake = tf.constant([[1.0], [3.0]]), tf.constant([[0.0], [-2.0]])
assert np.isclose(_critic_loss(_real, _fake, 0.5, 10.0), -1 - 2 + 5), \
    "real scores 1 and 3, generated scores 0 and -2, penalty 0.5, λ = 10: L_C should be 2"
assert np.isclose(_generator_loss(_fake), 1), "for scores 0 and -2 the generator's loss should be 1"
print("✓ exercise 6: now play with these losses")

# %%
CENTRES = 2 * np.stack([np.cos(np.pi * np.arange(8) / 4), np.sin(np.pi * np.arange(8) / 4)], axis=1)


def ring(count, rng):
    """Points of the ring of eight clusters from notebook 1, shape (count, 2)."""
    return (CENTRES[rng.integers(0, 8, count)] + 0.05 * rng.standard_normal((count, 2))).astype("float32")


def generate(generator, count, seed=1):
    """Generated samples, shape (count, size)."""
    z = np.random.default_rng(seed).standard_normal((count, generator.input_shape[1])).astype("float32")
    return generator(z).numpy()


def distance(a, b):
    """Wasserstein-1 distance of two sets of equally many points, from the cheapest plan, which SciPy finds."""
    costs = np.linalg.norm(a[:, None] - b, axis=2)
    return costs[linear_sum_assignment(costs)].mean()


def modes_covered(samples):
    """Number of CENTRES that have at least 2 % of the `samples` (count, 2) within a distance of 0.3."""
    near = np.linalg.norm(samples[:, None] - CENTRES, axis=2) < 0.3
    return int((near.mean(axis=0) >= 0.02).sum())


def train(generator, critic, iterations, lam=3.0, batch=128, critic_updates=5, critic_rate=3e-3, rate=3e-4, every=50):
    """Play the game; returns the history and snapshots.

    rate        the generator's step size: smaller than the critic's, which has to keep up with it
    history     rows of iteration, critic's gain, measured distance, one after each `every` iterations
    snapshots   {iteration: generated samples}, for the start and each third of the iterations
    """
    g_optimizer, c_optimizer = (keras.optimizers.Adam(size, beta_1=0.0, beta_2=0.9) for size in (rate, critic_rate))
    g_optimizer.build(generator.trainable_variables)
    c_optimizer.build(critic.trainable_variables)

    def noise():
        return tf.random.normal((batch, generator.input_shape[1]))

    @tf.function
    def iterate(batches):
        for real in tf.unstack(batches):
            fake = generator(noise())
            with tf.GradientTape() as tape:
                penalty = gradient_penalty(critic, real, fake, tf.random.uniform((batch, 1)))
                loss = critic_loss(critic(real), critic(fake), penalty, lam)
            c_optimizer.apply(tape.gradient(loss, critic.trainable_variables), critic.trainable_variables)
        with tf.GradientTape() as tape:
            g_loss = generator_loss(critic(generator(noise())))
        g_optimizer.apply(tape.gradient(g_loss, generator.trainable_variables), generator.trainable_variables)
        return -loss

    rng, gains, history, snapshots = np.random.default_rng(0), [], [], {0: generate(generator, 1000)}
    for iteration in tqdm(range(1, iterations + 1), mininterval=1, leave=False):
        real = ring(critic_updates * batch, rng).reshape(critic_updates, batch, 2)
        gains.append(float(iterate(tf.constant(real))))
        if iteration % every == 0:
            measured = distance(ring(500, np.random.default_rng(9)), generate(generator, 500))
            history.append((iteration, np.mean(gains[-every // 2:]), measured))
        if iteration % (iterations // 3) == 0:
            snapshots[iteration] = generate(generator, 1000)
    return np.array(history), snapshots

# %% [markdown]
r"""
**Predict first.** The cell below plots the critic's gain beside the distance that SciPy measures. Where will both stop
falling: at 0, or above it?
"""

# %% figure wgan
keras.utils.set_random_seed(0)
generator, critic = network(inputs=2, outputs=2), network(inputs=2, outputs=1)
history, snapshots = train(generator, critic, iterations=1200)
figure, panels = plt.subplot_mosaic([[0, 1, "curves"], [2, 3, "curves"]], figsize=(12, 5.6), layout="constrained",
                                    width_ratios=[1, 1, 1.8])
for k, (iteration, samples) in enumerate(snapshots.items()):
    axes = panels[k]
    axes.scatter(*ring(400, np.random.default_rng(2)).T, s=8, color=REAL, label="real")
    axes.scatter(*samples.T, s=8, color=FAKE, alpha=0.4, marker="x", linewidths=0.8, label="generated")
    axes.set(title=f"iteration {iteration}: {modes_covered(samples)} of 8", xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
panels[0].legend(loc="lower left", fontsize=8)
panels["curves"].plot(history[:, 0], history[:, 1], color=JUDGE, linewidth=2, label="critic's gain, -L_C")
panels["curves"].plot(history[:, 0], history[:, 2], "k--", label="measured distance W")
panels["curves"].axhline(distance(*(ring(500, np.random.default_rng(seed)) for seed in (9, 10))), color=REAL,
                         linestyle=":", label="W between two real sets")
panels["curves"].set(title="a curve that goes down", xlabel="iteration", ylim=(0, None))
panels["curves"].legend()
plt.show()
print(f"{modes_covered(snapshots[1200])} of 8 modes; the distance went from {history[0, 2]:.2f} to {history[-1, 2]:.2f}, the "
      f"critic's gain from {history[0, 1]:.2f} to {history[-1, 1]:.2f}")

# %% [markdown]
r"""
The gain falls with the distance. The dotted line belongs to the black curve only: the gain is another measurement, with a
penalty and on other samples, and may fall below it. No mode is missing, though some samples still lie between the
clusters.
"""

# %% slide [markdown]
r"""
## A curve that goes down

![](wgan.png)

The critic's gain follows the distance, and no mode collapses. In a GAN neither loss does that.
"""

# %% [markdown]
r"""
## The same in BioGANs

`biogans.core.gan.WGANGP` implements exercises 4 and 6 for images. Let us compare its loss with yours, for the same
critic, samples and $\alpha$:
"""

# %%
from types import SimpleNamespace

from biogans.core import gan
from biogans.core.engine import input_gradient

real, fake = (tf.random.normal((16, 8, 8, 1)) for _ in range(2))
alpha = tf.random.uniform((16, 1, 1, 1))
critic = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(32, activation="relu"),
                           keras.layers.Dense(1), keras.layers.Reshape(())])
product = gan.WGANGP(SimpleNamespace(wgangp_lambda=10.0)).critic_loss(critic, real, fake, alpha, input_gradient)
flat_real, flat_fake = (tf.reshape(images, (16, 64)) for images in (real, fake))
penalty = gradient_penalty(lambda x: critic(tf.reshape(x, (-1, 8, 8, 1))), flat_real, flat_fake, alpha[:, :, 0, 0])
yours = critic_loss(critic(real), critic(fake), penalty, 10.0)
print(f"BioGANs: {float(product):.5f}, yours: {float(yours):.5f}")

# %% quiz [markdown]
r"""
## Quiz

Four questions about what you have seen, each with one right answer. Enter the letters in the cell below: it explains
every answer, right or wrong.

**Question 1.** Generated and real samples do not overlap, and you move the generated ones still further away. What does
the Jensen-Shannon divergence do?

- **a)** It grows.
  ✗ The Wasserstein distance grows. Jensen-Shannon only measures how well the two can be told apart, and without overlap
    that is perfect already.
- **b)** It stays the same.
  ✓ Without overlap it is log 2, however far apart the two are. So it has no slope that would show the generator where to
    go.
- **c)** It becomes infinite.
  ✗ The Kullback-Leibler divergence does. Jensen-Shannon compares both with their mean, and never exceeds log 2.

**Question 2.** Critics clipped to 0.01 and to 0.1 measure the same distance and get very different numbers. Why?

- **a)** One of them was trained longer.
  ✗ All had the same number of updates. What differs is the largest slope that their weights allow.
- **b)** One of them saw other samples.
  ✗ All saw samples of the same two squares. What differs is the largest slope that their weights allow.
- **c)** The limit of the weights sets the unit.
  ✓ The steepest critic has the slope c · (width · c)², which differs by a factor of a thousand. So the numbers of
    clipped critics can only be compared for the same limit and the same network.

**Question 3.** Must the slope of the best critic be 1 everywhere between a real and a generated sample?

- **a)** Yes, otherwise its gain is no distance.
  ✗ The condition is a slope of *at most* 1. The real samples 0 and 10 with the generated samples 1 and 9 are an example:
    between 1 and 9 the best critic may be flat.
- **b)** Only on lines between samples that the best plan couples.
  ✓ There its difference has to make up the whole distance. The penalty takes random pairs, so it asks for more than the
    theorem does.
- **c)** No, the smaller the slope, the better.
  ✗ A flat critic gains nothing. On the way from a sample to the one that the best plan couples with it, only slope 1
    gains the whole distance.

**Question 4.** The measured distance between generated and real samples stops falling above 0. Does that alone show that
the generator is not perfect?

- **a)** Yes.
  ✗ Look at the dotted line: even two sets of real samples are a distance apart, because they are finite. A perfect
    generator would reach that line and not 0.
- **b)** No.
  ✓ Two finite sets differ by chance, even if both are real. Compare with the distance between two real sets of the same
    size: here the curve stays above that line too, and *this* shows a difference.
"""

# %% [markdown]
r"""
## To discuss

1. The critic of one network has a gain of 5, the critic of another network on the same data has a gain of 3. Which
   generator is better?
2. Why does a critic with gradient penalty use no batch normalisation? (What does "the gradient of a sample's score"
   mean if the score depends on the whole batch?)
3. The authors of WGAN wrote that clipping is "a clearly terrible way" to limit the slope. What in your figure supports
   them?
4. The measured distance does not fall to 0, not even between two sets of real samples. Why? What should you compare a
   result with?

## Sources

- Arjovsky, Chintala & Bottou (2017), *Wasserstein GAN*, [arXiv:1701.07875](https://arxiv.org/abs/1701.07875)
- Gulrajani et al. (2017), *Improved training of Wasserstein GANs*, [arXiv:1704.00028](https://arxiv.org/abs/1704.00028)
- Arjovsky & Bottou (2017), [arXiv:1701.04862](https://arxiv.org/abs/1701.04862)
- Villani (2009), *Optimal transport: old and new*, theorem 5.10 and remark 6.5 (Kantorovich-Rubinstein)
"""

# %% answer [markdown]
r"""
## For the instructor

**Timing** (50 minutes): distances, exercises 1 and 2: 12; the critic: 8; exercise 3: 5; exercise 4: 10; exercise 5: 5
(or homework); exercise 6: 10.

**Answers.** 1: nobody knows: the gain is a distance only as far as the network's capacity and its training allow.
Compare scores of the same critic, trained in the same way (`biogans evaluate`). 2: the penalty needs the slope of each
score with respect to its own sample; with batch normalisation that slope is not defined. 3: the three clipped critics
differ by factors of a thousand, and their measurements depend on the width and depth too. Where a clipped critic is too
flat, the generator hardly learns. (They stay below the dotted lines: a unit whose ReLU is off for all samples has no
gradient and never contributes.) 4: two finite sets of samples differ by chance; compare with the distance between two
sets of real samples of the same size.
"""

# %% slide [markdown]
r"""
## To discuss

1. Gains of 5 and 3 with two networks on the same data: which generator is better?
2. Why no batch normalisation in a critic with gradient penalty?
3. Clipping: "a clearly terrible way". What in the figure supports that?
4. The distance does not fall to 0. What should you compare it with?
"""
