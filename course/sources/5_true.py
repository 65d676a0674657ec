# %% [markdown]
r"""
# 5. Are they true?

**After this notebook you can** test whether generated images differ from real ones, with an error bar; say whether a
generator lacks quality or variety; find out whether it copies; search everything that it can generate for a given real
cell.

**You need** notebooks 3 and 4. The notebook takes about two minutes to compute.
"""

# %% slide [markdown]
r"""
# Are they true?

Two-sample tests, precision and recall, copies, reconstruction

*Deep Learning by Example* · notebook 5
"""

# %% install

# %%
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import re
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

import biogans
from biogans.core import c2st, dataloader, figures
from biogans.core.engine import generate
from biogans.core.trained import load_generator
from biogans.evaluation import metrics
from biogans.system.hints import checked
from biogans.system.notebook import run_command

tf.get_logger().setLevel("ERROR")               # hide TensorFlow's hints for developers
REAL, FAKE = "#0072B2", "#D55E00"
DATA = Path(biogans.__file__).resolve().parents[2] / "data_48-80" / "data"
WORK = Path("cells_5")
WORK.mkdir(exist_ok=True)
plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
r"""
## Two generators to examine

We compare the same DCGAN for Tea1 early and late in its training (with `--resume` the second run continues the first).
The obvious first test is to look at samples, and it is a bad one: we see what we hope to see, and nobody sees what is
*missing*.
"""

# %% figure samples
def train(iterations):
    """Train a DCGAN on Tea1 up to so many iterations; returns its generator."""
    printed = run_command("train", "-d", DATA, "-p", "Tea1", "-m", "DCGAN", "-e", iterations, "-M", 1000,
                          "--preset", "fast", "--resume", folder=WORK)
    weights = re.findall(r"^(?:weights: |resuming from )([^\s,]+)", printed, re.MULTILINE)[-1]
    return load_generator(WORK / weights).network


def sample(generator, count, seed=0):
    """Generated images (count, 48, 80, 2), rounded to uint8 like real ones."""
    z = np.random.default_rng(seed).standard_normal((count, 100)).astype("float32")
    return np.rint((generate(generator, z) + 1) * 127.5).astype("uint8")


training, held_out = (dataloader.load(DATA, ("Tea1",), split).pixels for split in ("train", "test"))
generators = {"early": train(100), "later": train(400)}
print(len(training), "images for training,", len(held_out), "held out, which no generator saw")
plt.figure(figsize=(11, 4))
rows = {"held out": held_out, "later": sample(generators["later"], 8), "early": sample(generators["early"], 8)}
plt.imshow(figures.real_picture({name: images[:8] for name, images in rows.items()}, palette="magenta-green"))
plt.axis("off")
plt.title("real cells, and cells generated after 400 and after 100 iterations")
plt.show()

# %% [markdown]
r"""
## A classifier as a test

Do two sets of samples come from the same distribution? Train a classifier to tell them apart, and count how often it is
right **on samples that it has not seen**. If it is right half of the time, it has found no difference; if it is always
right, the sets have nothing in common. This is the *classifier two-sample test*, C2ST (Lopez-Paz & Oquab 2017). BioGANs
does it with a critic in place of a classifier:

![Halves of real and generated images train a new critic, which then scores the other halves](diagram_two_sample.png)

## Exercise 1: C2ST

`LogisticRegression().fit(x, labels)` trains a linear classifier, and `.score(x, labels)` returns the fraction of
samples that it classifies correctly. Shuffle each set with `rng.permutation`, train on the first half of both, and
score on the second half of both.
"""

# %% slide [markdown]
r"""
## Classifier two-sample test

- Train a classifier to distinguish generated from real; score it on images **that it has not seen**
- Half right: no difference found. The strength of the classifier sets the scale
- BioGANs: the critic of WGAN-GP; score = its gain on held-out images. Compare with the score of real images (grey)

![](scores.png)

Lopez-Paz & Oquab 2017; Osokin et al. 2017, section 5.1
"""

# %% slide [markdown]
r"""
## Which half is for what

![Halves of real and generated images train a new critic, which then scores the other halves](diagram_two_sample.png)
"""

# %% exercise
# Exercise 1
def two_sample_accuracy(a, b, rng):
    """Accuracy of a linear classifier on unseen halves of a and b, both (count, numbers)."""
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
_two_sample_accuracy = checked(two_sample_accuracy, shape=())
_r = np.random.default_rng(0)
_same = _two_sample_accuracy(_r.standard_normal((2000, 2)), _r.standard_normal((2000, 2)), _r)
assert abs(_same - 0.5) < 0.06, f"two samples of the same distribution should give about 0.5, not {_same:.2f}"
_apart = _two_sample_accuracy(_r.standard_normal((200, 2)), 9 + _r.standard_normal((200, 2)), _r)
assert _apart > 0.98, f"two distant distributions should give about 1, not {_apart:.2f}"
_noise = np.mean([_two_sample_accuracy(*_r.standard_normal((2, 60, 300)), _r) for _ in range(5)])
assert abs(_noise - 0.5) < 0.2, f"{_noise:.2f} for pure noise: did you score the half that you trained on?"
_sorted = np.linspace(0, 1, 400)[:, None]
assert abs(_two_sample_accuracy(_sorted, _sorted, _r) - 0.5) < 0.12, "these samples are sorted: shuffle before you split"
print("✓ exercise 1")

# %% [markdown]
r"""
## Exercise 2: an error bar

The result of a test on few images depends on how they are split into halves. So we repeat the test with several random
splits, and report mean ± standard deviation over the splits (with $n - 1$ in the denominator, because the splits are
few).
"""

# %% exercise
# Exercise 2
def over_splits(score, splits):
    """(mean, standard deviation) of `score(split)` over the splits 0, 1, …"""
    ### BEGIN SOLUTION
    scores = [score(split) for split in range(splits)]
    return np.mean(scores), np.std(scores, ddof=1)
    ### HANDOUT
    # return 0.0, 0.0         # your code instead of this line
    ### END SOLUTION

# %% check
_over_splits = checked(over_splits, shape=(2,))
assert np.allclose(_over_splits(lambda split: [3.0, 5.0, 10.0][split], 3), (6, np.sqrt(13))), \
    "scores 3, 5 and 10: mean 6, standard deviation √((9 + 1 + 16) / 2) = 3.61"
print("✓ exercise 2")

# %% [markdown]
r"""
For images, a linear classifier is too weak and a large network is too strong: a large network always finds *some*
difference, and gives every generator the same bad mark. Osokin et al. (2017) use the critic of WGAN-GP, trained from
scratch for a fixed number of updates. Its score is its gain on the unseen half (notebook 3): 0 if it found no
difference that carries over to unseen images, less if it memorised some, and larger the further the images are apart.
`biogans.core.c2st.score` computes one split; `biogans evaluate` runs the full test. We have four candidates: the
two generators, real images of the training set, and **copies**: training images with a little noise.

**Predict first.** Which of the four will score best? Where will the copies lie?
"""

# %% figure scores
noisy = training.astype(int) + np.random.default_rng(1).integers(-3, 4, training.shape)
copies = np.clip(noisy, 0, 255).astype("uint8")
candidates = {"early": sample(generators["early"], 256), "later": sample(generators["later"], 256),
              "copies": copies, "real": training}
bar = tqdm(total=2 * len(candidates), desc="splits", leave=False)


def score_of(samples):
    """Function of the split's number that returns the two-sample score of `samples`."""
    def score(split):
        rng = np.random.default_rng(split)
        (real, unseen_real), (seen, unseen) = (
            [c2st.mirrored(half) for half in np.array_split(rng.permutation(images), 2)]
            for images in (held_out, samples))
        bar.update()
        return c2st.score(seen, real, unseen, unseen_real, c2st.fast(), split)
    return score


scores = {name: over_splits(score_of(samples), 2) for name, samples in candidates.items()}
bar.close()
plt.figure(figsize=(6.5, 2.8))
for k, (name, (mean, deviation)) in enumerate(scores.items()):
    plt.errorbar(mean, k, xerr=deviation, fmt="o", markersize=8, capsize=4, color=REAL if name == "real" else FAKE)
plt.yticks(range(len(scores)), scores)
real_mean, real_deviation = scores["real"]
plt.axvspan(real_mean - real_deviation, real_mean + real_deviation, color="0.85", zorder=0)
plt.axvline(0, color="black", linewidth=1)
plt.xlabel("two-sample score (grey: real images)")
plt.show()

# %% [markdown]
r"""
The zero of this scale is the row of *real* images, not the number 0. The critic sees a few dozen images, memorises some
of them, and pays the penalty for that on the unseen half, where it gains nothing (question 1). With two splits the bars
are only rough; the full test takes ten. The test detects the early generator at once; the later one comes closer. And
the copies? They pass as well as real images: **a two-sample test can't distinguish a generator that has learnt from one
that has memorised.** We need another test for that.

## Exercise 3: does it copy?

For each sample, find the nearest training image, by the root mean squared difference of all pixels, scaled to $[0, 1]$.
A generator that copies is closer to the training images than held-out cells are. SciPy's `cdist(a, b)` computes all
distances $\lVert a_i - b_j \rVert$ between two sets of vectors.
"""

# %% exercise
# Exercise 3
def nearest_distance(samples, training):
    """Root mean squared difference (count,) of each of `samples` (count, …), uint8, to the nearest training image."""
    ### BEGIN SOLUTION
    a, b = (images.reshape(len(images), -1) / 255 for images in (samples, training))
    return cdist(a, b).min(axis=1) / np.sqrt(a.shape[1])
    ### HANDOUT
    # return np.zeros(len(samples)) - 1       # your code instead of this line
    ### END SOLUTION

# %% check
_nearest_distance = checked(nearest_distance, shape=lambda samples, training: (len(samples),))
_a = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 2), dtype="uint8")
assert np.allclose(_nearest_distance(_a[:2], _a), 0), "a training image has distance 0"
_b = _a.copy()
_b[0] = np.where(_a[0] < 128, _a[0] + 51, _a[0] - 51)
assert np.isclose(_nearest_distance(_b[:1], _a)[0], 0.2), "51 of 255 off in every pixel is a distance of 0.2"
print("✓ exercise 3")

# %% figure copies
sets = {"copies": copies, "held out": held_out, "later": candidates["later"][:100], "early": candidates["early"][:100]}
plt.figure(figsize=(6.5, 2.8))
plt.boxplot([nearest_distance(samples, training) for samples in sets.values()], orientation="horizontal",
            medianprops={"color": FAKE, "linewidth": 2})
plt.yticks(range(1, 5), sets)
plt.xlabel("distance to the nearest training image")
plt.show()

# %% [markdown]
r"""
## Exercise 4: separate quality from variety

A single number mixes two faults: samples that look wrong, and kinds of samples that are missing. **Precision** is the
fraction of generated samples that lie among the real ones; **recall** is the fraction of real samples that lie among
the generated ones (Kynkäänniemi et al. 2019). "Among the real ones" means within reach of at least one real sample,
where a real sample reaches as far as its own $k$-th nearest real neighbour.
"""

# %% exercise
# Exercise 4
def reach(samples, k):
    """Distance (count,) of each of `samples` (count, numbers) to its k-th nearest neighbour among the others."""
    return np.sort(cdist(samples, samples), axis=1)[:, k]       # position 0 is the sample itself


def precision_recall(real, fake, k=5):
    """(precision, recall) of `fake` with respect to `real`, both (count, numbers)."""
    ### BEGIN SOLUTION
    distances = cdist(fake, real)
    precision = (distances <= reach(real, k)[None, :]).any(axis=1).mean()
    recall = (distances <= reach(fake, k)[:, None]).any(axis=0).mean()
    return precision, recall
    ### HANDOUT
    # return -1.0, -1.0       # your code instead of this line
    ### END SOLUTION

# %%
CENTRES = 2 * np.stack([np.cos(np.pi * np.arange(8) / 4), np.sin(np.pi * np.arange(8) / 4)], axis=1)


def ring(count, rng, modes=8, spread=0.05):
    """Points (count, 2) of the first `modes` clusters of the ring from notebook 1."""
    return CENTRES[rng.integers(0, modes, count)] + spread * rng.standard_normal((count, 2))

# %% check
_precision_recall = checked(precision_recall, shape=(2,))
_r = np.random.default_rng(0)
_real = ring(400, _r)
_sets = {"the ring": ring(400, _r), "three modes": ring(400, _r, modes=3), "blurred": ring(400, _r, spread=0.5)}
for _name, _fake in _sets.items():
    _yours, _product = _precision_recall(_real, _fake), metrics.precision_recall_density_coverage(_real, _fake)
    assert np.allclose(_yours, (_product["precision"], _product["recall"]), atol=0.01), \
        f"{_name}: biogans evaluate finds {_product['precision']:.2f} and {_product['recall']:.2f}, not {_yours}"
    print(f"{_name:12} precision {_yours[0]:.2f}, recall {_yours[1]:.2f}")
print("✓ exercise 4: a collapsed generator has high precision and low recall, a blurred one the opposite")

# %% slide [markdown]
r"""
## Four questions, four tests

| question | test |
|---|---|
| Do they look real? | two-sample test; precision |
| Are all kinds there? | recall; reconstruction |
| Are they new? | distance to the nearest training image |
| Do the channels belong together? | a ground truth: six factors in one (simulated) cell, notebook 4 |

![](copies.png)
"""

# %% [markdown]
r"""
## Exercise 5: can it generate this cell?

The last test reverses the question: take a *real, unseen* cell, and search for the latent vector $z$ whose image is
closest to it,

$$ \min_z \; \operatorname{mean}\bigl((G(z) - x)^2\bigr) $$

(Metz et al. 2017; Osokin et al. 2017, table 3). The weights of $G$ stay fixed; this time $z$ walks downhill. Use
`tf.GradientTape` and Adam as in notebook 1, with $z$ as a `tf.Variable`. `biogans reconstruct` does the same with
several starts and a better optimizer.
"""

# %% exercise
# Exercise 5
def reconstruct(generator, target, steps=150, rate=0.1):
    """z (1, 100) after `steps` steps of Adam, and the error before each step; target (48, 80, 2) in [-1, 1]."""
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

    errors = [float(step()) for _ in tqdm(range(steps), mininterval=1, leave=False)]
    return z.numpy(), np.array(errors)

# %% check
_z = np.random.default_rng(5).standard_normal((1, 100)).astype("float32")
_before = generators["later"].get_weights()[0].copy()
_, _errors = reconstruct(generators["later"], generators["later"](_z)[0])
assert _errors[-1] < _errors[0] / 4, \
    f"the search should find a cell of this generator, but its error went from {_errors[0]:.3f} to {_errors[-1]:.3f}"
assert np.array_equal(_before, generators["later"].get_weights()[0]), "the generator's weights should not change"
print(f"✓ exercise 5: the error fell from {_errors[0]:.3f} to {_errors[-1]:.4f}")

# %% [markdown]
r"""
**Predict first.** What will come closest to an unseen cell: the nearest training image, or what the search finds in the
later or in the early generator?
"""

# %% figure reconstruction
targets = held_out[:5]
rows = {"unseen cell": targets, "training image": training[
    cdist(targets.reshape(5, -1), training.reshape(len(training), -1)).argmin(axis=1)]}
for name, generator in list(generators.items())[::-1]:
    found = np.concatenate([reconstruct(generator, target / 127.5 - 1)[0] for target in targets.astype("float32")])
    rows[f"found: {name}"] = np.rint((generate(generator, found) + 1) * 127.5).astype("uint8")
errors = {name: np.sqrt(((images / 255 - targets / 255) ** 2).mean()) for name, images in rows.items()}
plt.figure(figsize=(9, 4.6))
plt.imshow(figures.real_picture(rows, palette="magenta-green"))
plt.axis("off")
del errors["unseen cell"]
plt.title("root mean squared error: nearest " + ", ".join(f"{name} {error:.3f}" for name, error in errors.items()), fontsize=9)
plt.show()

# %% slide [markdown]
r"""
## Can it generate this cell?

$$ \min_z \; \lVert G(z) - x \rVert^2 $$

![](reconstruction.png)

Metz et al. 2017; Osokin et al. 2017, table 3
"""

# %% [markdown]
r"""
A generator that has learnt comes close to cells that it never saw. One that has memorised would find only its training
images.
"""

# %% quiz [markdown]
r"""
## Quiz

Four questions about what you have seen, each with one right answer. Enter the letters in the cell below: it explains
every answer, right or wrong.

**Question 1.** Copies of training images pass the two-sample test as well as real images do. Why?

- **a)** The critic is too weak to see the noise.
  ✗ A stronger critic would find copies without any noise just as good. The test compares distributions, and copies of
    real images have the right one.
- **b)** Copies come from the same distribution as real images.
  ✓ The test asks only whether the two sets look alike. Whether the samples are new is another question, which the
    distance to the nearest training image answers.
- **c)** There are too few splits.
  ✗ More splits make the error bars smaller, but the copies still look like real images, because they are.

**Question 2.** A generator produces perfect cells, but only one kind of eight. What do precision and recall say?

- **a)** Precision is high, recall is low.
  ✓ All its samples lie among real ones, but most real samples do not lie among its own. The three modes of exercise 4
    show this.
- **b)** Precision is low, recall is high.
  ✗ That is the blurred ring of exercise 4: its samples lie everywhere, so they reach all real ones, but few of them look
    real.
- **c)** Both are high.
  ✗ Then all kinds would have to be there. Recall counts the real samples that lie among generated ones.

**Question 3.** With what do you compare the two-sample score of a generator?

- **a)** With 0.
  ✗ Real images themselves do not score exactly 0: with few images the critic memorises some, and pays for that on the
    unseen half.
- **b)** With the score that another paper reports.
  ✗ The score depends on the critic, its updates and the number of images. It can only be compared under the same
    settings.
- **c)** With the score of real images under the same settings.
  ✓ It shows what a perfect generator would get here, with its scatter. A generator is as good as the test can tell if
    its score falls into that range.

**Question 4.** A search through the latent vectors comes closer to unseen cells than the nearest training images do.
Then the generator has not merely memorised its training images. True?

- **a)** True.
  ✓ A generator that could only produce its training images would find the nearest of them at best. It has to combine
    what it has learnt to come closer.
- **b)** False.
  ✗ It could have memorised *some*, but then it would find these, and they are not closer than the nearest training
    image. What comes closer must be something new.
"""

# %% [markdown]
r"""
## To discuss

1. The row of real images does not score exactly 0, and its score may be negative. Why?
2. Which of the tests would a generator pass that produces the same perfect cell again and again?
3. Two papers report C2ST scores of 1.2 and 0.8. What must you know before you compare them?
4. All these tests look at images. Which test would convince a biologist?

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

**Timing** (45 minutes): samples: 5; exercises 1 and 2: 12; the test of BioGANs: 5; exercise 3: 8; exercise 4: 8;
exercise 5: 7.

**Answers.** 1: the critic memorised its half; on the other half this costs penalty and gains nothing. With few images
the score scatters, here by several units. 2: the distance to training images, and precision; not recall, and not a
two-sample test with enough samples. 3: the critic, its number of updates, the batch size, the held-out images and their
number: scores are comparable only under the same settings. 4: one that predicts something new and measurable: another
marker, a mutant, a length or count.
"""

# %% slide [markdown]
r"""
## To discuss

1. Real images do not score exactly 0. Why?
2. Which tests does a generator pass that produces one perfect cell again and again?
3. C2ST scores of 1.2 and 0.8 in two papers: what must you know?
4. Which test would convince a biologist?
"""
