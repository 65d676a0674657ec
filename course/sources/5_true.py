# %% [markdown]
r"""
# 5. Are they true?

**After this notebook you can** test whether drawn images differ from real ones, with an error bar; say whether a
generator lacks quality or variety; find out whether it copies; look for a real cell among all that it can draw.

**You need** notebooks 3 and 4. The notebook computes for about four minutes.
"""

# %% slide [markdown]
r"""
# Are they true?

Two-sample tests, precision and recall, copies, reconstruction

*Deep Learning by Example* · notebook 5
"""

# %%
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import re
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression

import biogans
from biogans.core import checkpoint, dataloader, figures, metrics
from biogans.evaluation import c2st
from biogans.core.engine import generate

tf.get_logger().setLevel("ERROR")               # no advice to programmers
REAL, DRAWN, JUDGE = "#0072B2", "#D55E00", "#009E73"
DATA = Path(biogans.__file__).resolve().parents[2] / "data_48-80" / "data"
WORK = Path("cells_5")
WORK.mkdir(exist_ok=True)
plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
r"""
## Two generators to examine

The same DCGAN for Tea1, early and later in its training (with `--resume` the second goes on from the first). Looking at
samples is the first test, and a bad one: one sees what one hopes for, and nobody sees what is *missing*.
"""

# %% figure samples
def train(iterations):
    """DCGAN on Tea1, up to so many iterations: its generator."""
    command = ["-d", DATA, "-p", "Tea1", "-m", "DCGAN", "-e", iterations, "-M", 1000, "--preset", "fast", "--resume"]
    done = subprocess.run([sys.executable, "-m", "biogans", "train", *map(str, command)], cwd=WORK,
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    weights = re.findall(r"^(?:weights: |going on from )([^\s,]+)", done.stdout, re.MULTILINE)[-1]
    return checkpoint.load_generator(WORK / weights)[0]


def drawn_by(generator, count, seed=0):
    """uint8 images (count, 48, 80, 2), rounded as real ones are."""
    z = np.random.default_rng(seed).standard_normal((count, 100)).astype("float32")
    return np.rint((generate(generator, z) + 1) * 127.5).astype("uint8")


training, held_out = (dataloader.load(DATA, ("Tea1",), split).pixels for split in ("train", "test"))
generators = {"early": train(100), "later": train(400)}
print(len(training), "images for training,", len(held_out), "held out: no generator saw these")
plt.figure(figsize=(11, 4))
rows = {"held out": held_out, "later": drawn_by(generators["later"], 8), "early": drawn_by(generators["early"], 8)}
plt.imshow(figures.real_picture({name: pictures[:8] for name, pictures in rows.items()}, palette="magenta-green"))
plt.axis("off")
plt.title("real cells, and drawn after 400 and after 100 iterations")
plt.show()

# %% [markdown]
r"""
## A classifier as a test

Do two sets of samples come from the same distribution? Train a classifier to tell them apart, and see how often it is
right **on samples that it has not seen**. If it is right half of the time, it found no difference; if always, the
sets have nothing in common. That is the *classifier two-sample test*, C2ST (Lopez-Paz & Oquab 2017).

## Exercise 1: C2ST

`LogisticRegression().fit(x, labels)` trains a linear classifier, `.score(x, labels)` is the fraction that it gets
right. Shuffle each set with `rng.permutation`, train on the first half of both, score on the second half of both.
"""

# %% slide [markdown]
r"""
## Classifier two-sample test

- Train a classifier to tell drawn from real; score it on images **it has not seen**
- Half right: no difference found. The classifier's strength sets the scale
- BioGANs: the critic of WGAN-GP; score = its gain on held-out images; 0 = real

![](scores.png)

Lopez-Paz & Oquab 2017; Osokin et al. 2017, section 5.1
"""

# %% exercise
# Exercise 1
def two_sample_accuracy(a, b, rng):
    """How often a linear classifier is right on unseen halves of a and b, both (count, numbers)."""
    ### BEGIN SOLUTION
    a, b = rng.permutation(a), rng.permutation(b)
    half = len(a) // 2
    labels = np.repeat([0, 1], half)
    classifier = LogisticRegression(max_iter=500).fit(np.concatenate([a[:half], b[:half]]), labels)
    return classifier.score(np.concatenate([a[half:2 * half], b[half:2 * half]]), labels)
    ### HANDOUT
    # return -1.0         # your code instead of this line
    ### END SOLUTION

# %% check
_r = np.random.default_rng(0)
_same = two_sample_accuracy(_r.standard_normal((2000, 2)), _r.standard_normal((2000, 2)), _r)
assert abs(_same - 0.5) < 0.06, f"two samples of the same distribution: about 0.5, yours is {_same:.2f}"
_apart = two_sample_accuracy(_r.standard_normal((200, 2)), 9 + _r.standard_normal((200, 2)), _r)
assert _apart > 0.98, f"far apart: about 1, yours is {_apart:.2f}"
_noise = np.mean([two_sample_accuracy(*_r.standard_normal((2, 60, 300)), _r) for _ in range(5)])
assert abs(_noise - 0.5) < 0.2, f"{_noise:.2f} for noise of 300 numbers: did you score the half that it was trained on?"
_sorted = np.linspace(0, 1, 400)[:, None]
assert abs(two_sample_accuracy(_sorted, _sorted, _r) - 0.5) < 0.12, "sorted samples: shuffle before you halve"
print("✓ exercise 1")

# %% [markdown]
r"""
## Exercise 2: an error bar

A test on few images depends on which half they fall in. So one repeats it with several random splits and reports mean ±
standard deviation of the splits (with $n - 1$ in the denominator, as there are few).
"""

# %% exercise
# Exercise 2
def over_splits(score, splits):
    """`score` is a function of the split's number, 0, 1, ...; returns (mean, standard deviation) over the splits."""
    ### BEGIN SOLUTION
    scores = [score(split) for split in range(splits)]
    return np.mean(scores), np.std(scores, ddof=1)
    ### HANDOUT
    # return 0.0, 0.0         # your code instead of this line
    ### END SOLUTION

# %% check
assert np.allclose(over_splits(lambda split: [3.0, 5.0, 10.0][split], 3), (6, np.sqrt(13))), \
    "scores 3, 5 and 10: mean 6, standard deviation √((9 + 1 + 16) / 2) = 3.61"
print("✓ exercise 2")

# %% [markdown]
r"""
For images a linear classifier is too weak, and a large network too strong: it finds *some* difference always, and all
generators get the same bad mark. Osokin et al. (2017) use the critic of WGAN-GP, trained from scratch for a fixed
number of updates; its score is its gain on the unseen half (notebook 3): 0 if nothing lasting was found, and larger
the further the images are apart. `biogans.evaluation.c2st.score` computes one split; `biogans evaluate` does it properly. Four
candidates: the two generators, real images of the training set, and **copies**: training images with a little noise.
"""

# %% figure scores
noisy = training.astype(int) + np.random.default_rng(1).integers(-3, 4, training.shape)
copies = np.clip(noisy, 0, 255).astype("uint8")
candidates = {"early": drawn_by(generators["early"], 256), "later": drawn_by(generators["later"], 256),
              "copies": copies, "real": training}


def score_of(samples):
    def score(split):
        rng = np.random.default_rng(split)
        (real, unseen_real), (seen, unseen) = (
            [c2st.mirrored(half) for half in np.array_split(rng.permutation(images), 2)]
            for images in (held_out, samples))
        return c2st.score(seen, real, unseen, unseen_real, c2st.fast(), split)
    return score


scores = {name: over_splits(score_of(samples), 2) for name, samples in candidates.items()}
plt.figure(figsize=(6.5, 2.8))
for k, (name, (mean, deviation)) in enumerate(scores.items()):
    plt.errorbar(mean, k, xerr=deviation, fmt="o", markersize=8, capsize=4, color=REAL if name == "real" else DRAWN)
plt.yticks(range(len(scores)), scores)
plt.axvline(0, color="black", linewidth=1)
plt.xlabel("two-sample score (0: not to be told from held-out images)")
plt.show()

# %% [markdown]
r"""
The early generator is told at once, the later one is nearer. And the copies? They pass as well as real images: **a
two-sample test can't tell a generator that has learnt from one that has memorised.** Another test is needed for that.

## Exercise 3: does it copy?

For each sample find the nearest training image (root of the mean squared difference of all pixels, scaled to
$[0, 1]$). A generator that copies is nearer to the training images than held-out cells are. `cdist(a, b)` of SciPy
gives all distances $\lVert a_i - b_j \rVert$ of two sets of vectors.
"""

# %% exercise
# Exercise 3
def nearest_distance(samples, training):
    """Of each of `samples` (count, ...), uint8: root mean squared difference to the nearest of `training`."""
    ### BEGIN SOLUTION
    a, b = (images.reshape(len(images), -1) / 255 for images in (samples, training))
    return cdist(a, b).min(axis=1) / np.sqrt(a.shape[1])
    ### HANDOUT
    # return np.zeros(len(samples)) - 1       # your code instead of this line
    ### END SOLUTION

# %% check
_a = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 2), dtype="uint8")
assert np.allclose(nearest_distance(_a[:2], _a), 0), "an image of the training set has distance 0"
_b = _a.copy()
_b[0] = np.where(_a[0] < 128, _a[0] + 51, _a[0] - 51)
assert np.isclose(nearest_distance(_b[:1], _a)[0], 0.2), "an image that is 51 of 255 off in every pixel: distance 0.2"
print("✓ exercise 3")

# %% figure copies
sets = {"copies": copies, "held out": held_out, "later": candidates["later"][:100], "early": candidates["early"][:100]}
plt.figure(figsize=(6.5, 2.8))
plt.boxplot([nearest_distance(samples, training) for samples in sets.values()], orientation="horizontal",
            medianprops={"color": DRAWN, "linewidth": 2})
plt.yticks(range(1, 5), sets)
plt.xlabel("distance to the nearest training image")
plt.show()

# %% [markdown]
r"""
## Exercise 4: quality and variety apart

One number mixes two faults: samples that look wrong, and kinds of samples that are missing. **Precision** is the
fraction of drawn samples that are among the real ones, **recall** the fraction of real ones that are among the drawn
(Kynkäänniemi et al. 2019). "Among the real ones" means: within reach of at least one of them, where a real sample
reaches as far as its own $k$-th nearest real neighbour.
"""

# %% exercise
# Exercise 4
def reach(samples, k):
    """Distance of each of `samples` (count, numbers) to its k-th nearest neighbour among the others."""
    return np.sort(cdist(samples, samples), axis=1)[:, k]       # position 0 is the sample itself


def precision_recall(real, drawn, k=5):
    """(precision, recall) of `drawn` with respect to `real`, both (count, numbers)."""
    ### BEGIN SOLUTION
    distances = cdist(drawn, real)
    precision = (distances <= reach(real, k)[None, :]).any(axis=1).mean()
    recall = (distances <= reach(drawn, k)[:, None]).any(axis=0).mean()
    return precision, recall
    ### HANDOUT
    # return -1.0, -1.0       # your code instead of this line
    ### END SOLUTION

# %%
CENTRES = 2 * np.stack([np.cos(np.pi * np.arange(8) / 4), np.sin(np.pi * np.arange(8) / 4)], axis=1)


def ring(count, rng, modes=8, spread=0.05):
    """The first so many clusters of the ring of notebook 1."""
    return CENTRES[rng.integers(0, modes, count)] + spread * rng.standard_normal((count, 2))

# %% check
_r = np.random.default_rng(0)
_real = ring(400, _r)
_sets = {"the ring": ring(400, _r), "three modes": ring(400, _r, modes=3), "blurred": ring(400, _r, spread=0.5)}
for _name, _drawn in _sets.items():
    _yours, _product = precision_recall(_real, _drawn), metrics.precision_recall_density_coverage(_real, _drawn)
    assert np.allclose(_yours, (_product["precision"], _product["recall"]), atol=0.01), \
        f"{_name}: biogans evaluate finds {_product['precision']:.2f} and {_product['recall']:.2f}; you {_yours}"
    print(f"{_name:12} precision {_yours[0]:.2f}, recall {_yours[1]:.2f}")
print("✓ exercise 4: a collapsed generator has precision and little recall, a blurred one the opposite")

# %% slide [markdown]
r"""
## Four questions, four tests

| question | test |
|---|---|
| Do they look real? | two-sample test; precision |
| Are all kinds there? | recall; reconstruction |
| Are they new? | distance to the nearest training image |
| Do the channels belong together? | a truth: six factors in one (simulated) cell, notebook 4 |

![](copies.png)
"""

# %% [markdown]
r"""
## Exercise 5: can it draw this cell?

The last test turns the question round: take a *real, unseen* cell, and search the latent $z$ whose drawing is nearest
to it,

$$ \min_z \; \operatorname{mean}\bigl((G(z) - x)^2\bigr) $$

(Metz et al. 2017; Osokin et al. 2017, table 3). The weights of $G$ stay as they are; it is $z$ that walks
downhill. Use `tf.GradientTape` and Adam as in notebook 1, with $z$ as a `tf.Variable`. `biogans reconstruct` does it with
several starts and a better optimizer.
"""

# %% exercise
# Exercise 5
def reconstruct(generator, target, steps=150, rate=0.1):
    """z (1, 100) after so many steps of Adam, and the errors (steps,); target (48, 80, 2) in [-1, 1]."""
    z = tf.Variable(np.random.default_rng(0).standard_normal((1, 100)).astype("float32"))
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build([z])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            error = tf.reduce_mean((generator(z) - target) ** 2)
        ### BEGIN SOLUTION
        optimizer.apply(tape.gradient(error, [z]), [z])
        ### HANDOUT
        # # your code: one line
        ### END SOLUTION
        return error

    errors = [float(step()) for _ in range(steps)]
    return z.numpy(), np.array(errors)

# %% check
_z = np.random.default_rng(5).standard_normal((1, 100)).astype("float32")
_before = generators["later"].get_weights()[0].copy()
_, _errors = reconstruct(generators["later"], generators["later"](_z)[0])
assert _errors[-1] < _errors[0] / 4, \
    f"a cell that the generator drew itself should be found: the error went from {_errors[0]:.3f} to {_errors[-1]:.3f}"
assert np.array_equal(_before, generators["later"].get_weights()[0]), "the generator's weights should not change"
print(f"✓ exercise 5: the error fell from {_errors[0]:.3f} to {_errors[-1]:.4f}")

# %% figure reconstruction
targets = held_out[:5]
rows = {"real, unseen": targets, "nearest training image": training[
    cdist(targets.reshape(5, -1), training.reshape(len(training), -1)).argmin(axis=1)]}
for name, generator in list(generators.items())[::-1]:
    found = np.concatenate([reconstruct(generator, target / 127.5 - 1)[0] for target in targets.astype("float32")])
    rows[f"found: {name}"] = np.rint((generate(generator, found) + 1) * 127.5).astype("uint8")
errors = {name: np.sqrt(((images / 255 - targets / 255) ** 2).mean()) for name, images in rows.items()}
plt.figure(figsize=(9, 4.6))
plt.imshow(figures.real_picture(rows, palette="magenta-green"))
plt.axis("off")
del errors["real, unseen"]
plt.title("root mean squared error: " + ", ".join(f"{name} {error:.3f}" for name, error in errors.items()), fontsize=9)
plt.show()

# %% slide [markdown]
r"""
## Can it draw this cell?

$$ \min_z \; \lVert G(z) - x \rVert^2 $$

![](reconstruction.png)

Metz et al. 2017; Osokin et al. 2017, table 3
"""

# %% [markdown]
r"""
A generator that has learnt comes near to cells it never saw. One that memorised would find its training images only.

## To discuss

1. The row of real images does not score exactly 0, and may be negative. Why?
2. Which of the tests would a generator pass that draws the same perfect cell again and again?
3. Two papers report C2ST scores of 1.2 and 0.8. What must you know before you compare them?
4. All tests here look at images. Which test would convince a biologist?

## Sources

- Lopez-Paz & Oquab (2017), *Revisiting classifier two-sample tests*,
  [arXiv:1610.06545](https://arxiv.org/abs/1610.06545)
- Osokin et al. (2017), *GANs for biological image synthesis*, [arXiv:1708.04692](https://arxiv.org/abs/1708.04692)
- Kynkäänniemi et al. (2019), *Improved precision and recall metric for assessing generative models*,
  [arXiv:1904.06991](https://arxiv.org/abs/1904.06991)
- Metz et al. (2017), *Unrolled generative adversarial networks*, [arXiv:1611.02163](https://arxiv.org/abs/1611.02163)
"""

# %% answer [markdown]
r"""
## For the instructor

**Timing** (45 minutes): samples 5, exercises 1 and 2 12, the product's test 5, exercise 3 8, exercise 4 8, exercise 5
7.

**Answers.** 1: the critic learnt its half by heart; on the other half that costs penalty and gains nothing. With few
images the score scatters: here by several units. 2: the distance to training images, precision; not recall, and not a
two-sample test with enough samples. 3: critic, its number of updates, batch size, the held-out images and their
number: scores compare only under the same settings. 4: one that predicts something measurable and new: another
marker, a mutant, a measured length or count.
"""

# %% slide [markdown]
r"""
## To discuss

1. Real images do not score exactly 0. Why?
2. Which tests does a generator pass that draws one perfect cell again and again?
3. C2ST 1.2 and 0.8 in two papers: what must you know?
4. Which test would convince a biologist?
"""
