# %% [markdown]
r"""
# 7. Few images: from videos to what the critic looks at

**After this notebook you can** turn raw microscope videos into training images: correct drift, measure noise, and hold
out whole videos; train a GAN on few images; count how many of its images are really distinct; find out *where* a critic
looks, and *what* it looks for.

**You need** notebooks 1 and 3 (5 helps). The notebook takes about three minutes to compute. Start it in a folder that
you may write to: it creates a folder `work_7` there.
"""

# %% slide [markdown]
r"""
# Few images

From twenty videos of mitochondria to what the critic looks at

*Deep Learning by Example* · notebook 7
"""

# %% install

# %%
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import csv
from pathlib import Path

import h5py
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tifffile
from keras import ops
from scipy.spatial.distance import cdist

from biogans.core import augment, dataloader, figures
from biogans.data import mitochondria
from biogans.core.engine import input_gradient
from biogans.core.trained import load_critics, load_generator
from biogans.evaluation import attribution, neighbours
from biogans.system.hints import USE_OPS, checked
from biogans.system.notebook import run_command
from biogans.system.pixels import to_signed
from biogans.video import frame_filters

tf.get_logger().setLevel("ERROR")               # hide TensorFlow's hints for developers
BLUE, ORANGE = "#0072B2", "#D55E00"
WORK = Path("work_7")
WORK.mkdir(exist_ok=True)
plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False})


def command(name, *words, folder="."):
    """Run a command of BioGANs in a folder of WORK, as in a terminal; returns its output."""
    lines = run_command(name, *words, folder=WORK / folder).splitlines()
    return "\n".join(line for line in lines if not line.startswith(("biogans ", "Output", "then:")))

# %% [markdown]
r"""
## Videos

*Mitochondria* are the power plants of a cell: tubes that fuse, split and form beads. A laboratory has only twenty short
videos, because staining is expensive and light harms the cells. Can a GAN learn from so few?

We simulate such videos (ten smaller ones), so that we know the truth. In each, the stage of the microscope **drifts**,
the dye **bleaches** (becomes darker), and the camera adds **noise**; in some, the **focus** is lost for a while.
"""

# %% figure videos
if not (WORK / "movies").exists():
    command("simulate_videos", "-o", "movies", "-n", 10, "--frames", 12, "--size", 128)
paths = sorted((WORK / "movies" / "videos").glob("*.tif"))
videos = {path.name.split(".")[0]: tifffile.imread(path).astype("float32") for path in paths}
truth = {name: h5py.File(WORK / "movies" / "truth" / f"{name}.h5") for name in videos}
print(len(videos), "videos of", next(iter(videos.values())).shape, "(frames, rows, columns)")
figure, panels = plt.subplots(3, 6, figsize=(11, 5.7), layout="constrained")
shown = np.linspace(0, 11, 6).astype(int)
for axes, k in zip(panels[0], shown):
    axes.set_title(f"frame {k}", fontsize=10)
for row, (name, video) in zip(panels, videos.items()):
    for axes, k in zip(row, shown):
        axes.imshow(video[k], cmap="gray", vmin=np.quantile(video[0], 0.01), vmax=np.quantile(video[0], 0.999))
        axes.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, fontsize=8)
plt.show()

# %% [markdown]
r"""
## Exercise 1: how far did it move?

If image $b$ is image $a$ shifted by $s$, then the **cross-correlation**

$$ C(s) = \sum_p a(p)\, b(p + s) $$

is largest at that $s$. **Fourier transforms** $A$, $B$ (which write an image as a sum of waves) turn the computation
for all shifts at once into a product: $C = \text{inverse transform of } A^* B$, where $*$ is the complex conjugate. In
NumPy use `np.fft.fft2`, `np.fft.ifft2`, `np.conj`, and `.real` of the result. The transform treats opposite edges of
the image as neighbours, so a shift of -2 rows appears as row `height - 2` of $C$: shifts of more than half of the
height are negative ones. Subtract the means first.
"""

# %% exercise
# Exercise 1
def displacement(a, b):
    """(down, right): shift in whole pixels of the content of image a in image b, both (height, width)."""
    ### BEGIN SOLUTION
    a, b = a - a.mean(), b - b.mean()
    correlation = np.fft.ifft2(np.conj(np.fft.fft2(a)) * np.fft.fft2(b)).real
    place = np.unravel_index(correlation.argmax(), a.shape)
    return tuple(int(k) - side if k > side // 2 else int(k) for k, side in zip(place, a.shape))
    ### HANDOUT
    # return 0, 0         # your code instead of this line
    ### END SOLUTION

# %% check
_displacement = checked(displacement, shape=(2,))
_image = np.random.default_rng(0).standard_normal((32, 40))
for _shift in ((3, 5), (-4, 0), (2, -7)):
    _moved = np.roll(_image, _shift, axis=(0, 1))
    _found = tuple(_displacement(_image, _moved))
    assert _found == _shift, f"shifted by {_shift}, you find {_found} (beyond half of the side, shifts are negative)"
_noisy = np.roll(_image, (1, 2), axis=(0, 1)) + 2 * np.random.default_rng(1).standard_normal((32, 40)) + 100
assert tuple(_displacement(_image, _noisy)) == (1, 2), "with noise and a brighter background: subtract the means"
print("✓ exercise 1")

# %% [markdown]
r"""
**Predict first.** Your shifts are whole pixels, and there are eleven of them in a video of twelve frames. How far off
will their sum be at the end: less than a pixel, or several?
"""

# %% figure drift
name = max(videos, key=lambda name: np.abs(truth[name]["drift"][()]).max())
smooth = [frame_filters.bandpass(frame) for frame in videos[name]]          # suppresses noise and background
path = np.cumsum([(0, 0), *(displacement(*pair) for pair in zip(smooth, smooth[1:]))], axis=0)
tracker = frame_filters.Drift()
product = np.array([tracker.measure(frame) for frame in videos[name]])
drift = truth[name]["drift"][()]
figure, axes = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
for values, label, style in ((drift, "true", "k-"), (path, "yours: sum of shifts from frame to frame", "o--"),
                             (product, "biogans preprocess", "s:")):
    axes.plot(values[:, 1], values[:, 0], style, label=label, markersize=4)
    if values is not drift:
        print(f"{label}: largest error {np.hypot(*(values - drift).T).max():.2f} pixels")
axes.set(xlabel="pixels to the right", ylabel="pixels down", title=f"drift of {name}")
axes.invert_yaxis()
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
r"""
You measured whole pixels from frame to frame and added them up, so the errors add up too. `biogans preprocess` measures
to a twentieth of a pixel, against a running mean of all frames so far. It also compares tiles of the image and takes
their median, so that a tube that moves by itself does not distort the result.

## Exercise 2: how noisy?

Light arrives as **photons**. A pixel that expects $p$ of them counts a random number with mean $p$ and variance $p$
(*Poisson*). The camera multiplies this number by its **gain** $g$ and adds noise of its own. So, for a pixel with mean
$m$,

$$ \text{variance} = g\, m + b, $$

a straight line. If we have many frames of a motionless scene, each pixel gives one point of the line. Fit the line
(`np.polyfit(x, y, 1)` returns slope and intercept); compute the variance with $n - 1$ (`ddof=1`).
"""

# %% slide [markdown]
r"""
## Before the network: the microscope

- Drift: the maximum of the cross-correlation, $C = \mathcal{F}^{-1}(A^* B)$
- Noise: the camera counts photons, so $\text{variance} = g\, m + b$
- Hold out whole **videos**: neighbouring frames are nearly the same image

![](drift.png)
"""

# %% exercise
# Exercise 2
def gain_and_base(frames):
    """(g, b) in variance = g mean + b, fitted to the pixels of frames (count, height, width) of a motionless scene."""
    ### BEGIN SOLUTION
    slope, base = np.polyfit(frames.mean(axis=0).ravel(), frames.var(axis=0, ddof=1).ravel(), 1)
    return slope, base
    ### HANDOUT
    # return 0.0, 0.0     # your code instead of this line
    ### END SOLUTION

# %% check
_gain_and_base = checked(gain_and_base, shape=(2,))
_r = np.random.default_rng(0)
_photons = _r.poisson(np.linspace(5, 200, 400).reshape(20, 20), (500, 20, 20))
_still = 3.0 * _photons + 4 * _r.standard_normal((500, 20, 20))
_g, _b = _gain_and_base(_still)
assert abs(_g - 3) < 0.1, f"for a camera with gain 3 you find {_g:.2f}"
assert abs(_b - 16) < 15, f"read noise with standard deviation 4 gives an intercept of 16, not {_b:.1f}"
_g, _ = _gain_and_base(_still[:3])
assert abs(_g - 3) < 0.4, f"three frames should still give about 3, not {_g:.2f}. Did you divide by n - 1?"
print("✓ exercise 2")

# %% figure noise
microscope = mitochondria.Microscope(**{key: tuple(value) if np.ndim(value) else float(value)
                                           for key, value in truth[name].attrs.items()
                                           if key in mitochondria.Microscope.__dataclass_fields__})
rng = np.random.default_rng(0)
scene = np.tile(np.linspace(5, 250, 64), (64, 1))               # photons: a ramp of light, as for calibrating cameras
still = np.stack([mitochondria.expose(microscope, scene, rng) for _ in range(100)]).astype(float)
gain, base = gain_and_base(still)
figure, axes = plt.subplots(figsize=(5.5, 3), layout="constrained")
means = still.mean(axis=0).ravel()
axes.plot(means, still.var(axis=0, ddof=1).ravel(), ".", markersize=2, color=BLUE)
x = np.array([means.min(), means.max()])
axes.plot(x, gain * x + base, color=ORANGE, linewidth=2, label=f"gain {gain:.2f}; the truth is {microscope.gain:.2f}")
axes.set(xlabel="mean of a pixel", ylabel="variance", xlim=x)
axes.legend()
plt.show()

# %% [markdown]
r"""
Living cells never keep still, so `biogans preprocess` uses differences of neighbouring pixels instead. Once it knows
the noise, it can remove exactly as much as there is. All other steps follow, and finally it cuts **crops** of 32×32
pixels around the structures. We run `biogans preprocess -i movies/videos -o data --size 32` and show its
`contact_sheet.png` (for your own videos, look at this sheet before anything else):
"""

# %% figure contact_sheet
printed = command("preprocess", "-i", "movies/videos", "-o", "data", "--size", 32, "--test", 0.3, "-j", 1)
print(printed)
plt.figure(figsize=(14, 9))
plt.imshow(plt.imread(WORK / "data" / "contact_sheet.png"))
plt.axis("off")
plt.show()

# %% [markdown]
r"""
## Exercise 3: hold out videos

To judge a network we need **held-out** images, which it never saw. Twelve frames of a video are nearly the same image.
If we choose frames at random, each held-out frame has a twin among the training images, and a network that memorised
those looks brilliant. So we hold out whole videos. Write the choice: pick videos at random until they make up at least
the fraction `part` of all *videos* (at least one, but not all).
"""

# %% exercise
# Exercise 3
def hold_out(names, part, rng):
    """Mask, bool (images,), of the held-out images; `names` (images,) gives the video of each image."""
    ### BEGIN SOLUTION
    videos = np.unique(names)
    count = int(np.clip(np.ceil(part * len(videos)), 1, len(videos) - 1))
    return np.isin(names, rng.permutation(videos)[:count])
    ### HANDOUT
    # return rng.random(len(names)) < part        # change this: both parts get frames of the same video
    ### END SOLUTION

# %% check
_hold_out = checked(hold_out)
_names = np.array(["a"] * 5 + ["b"] * 50 + ["c"] * 2 + ["d"] * 9)
_chosen = set()
for _seed in range(30):
    _out = np.asarray(_hold_out(_names, 0.25, np.random.default_rng(_seed)))
    assert _out.shape == _names.shape and _out.dtype == bool, "return one True or False for each image"
    assert not set(_names[_out]) & set(_names[~_out]), "some video is in both parts"
    assert len(set(_names[_out])) == 1, "a quarter of four videos is one video, whatever its number of images"
    _chosen |= set(_names[_out])
assert _chosen == set("abcd"), "every video should have a chance to be held out"
assert 0 < _hold_out(_names, 0.01, np.random.default_rng(0)).sum() < len(_names), "hold out at least one video"
print("✓ exercise 3")

# %% figure twins
parts = [dataloader.load(WORK / "data", split=split) for split in ("train", "test")]
crops = np.concatenate([part.pixels for part in parts])
names = np.array([file.name.split(".")[0] for part in parts for file in part.files])
flat = crops.reshape(len(crops), -1) / 255
frames_at_random = np.random.default_rng(0).random(len(names)) < 0.3
by_video = hold_out(names, 0.3, np.random.default_rng(0))
distances = [cdist(flat[out], flat[~out]).min(axis=1) / np.sqrt(flat.shape[1]) for out in (frames_at_random, by_video)]
plt.figure(figsize=(6.5, 2))
plt.boxplot(distances, orientation="horizontal", medianprops={"color": ORANGE, "linewidth": 2}, widths=0.6)
plt.yticks([1, 2], ["frames at random", "yours"])
plt.xlabel("distance from a held-out crop to the nearest training crop")
plt.show()
print(f"{len(crops)} crops of {len(set(names))} videos; biogans preprocess holds out {len(parts[1].pixels)} crops")

# %% [markdown]
r"""
## Few images: the critic memorises them

With a few hundred crops, a critic soon recognises each of them, and then teaches the generator to imitate *these*. We
can observe this: the critic starts to score unseen real images like generated ones. The **overfitting** that `train.py`
logs is

$$ \frac{\mathbb E f(\text{training}) - \mathbb E f(\text{held out})}
{\mathbb E f(\text{training}) - \mathbb E f(\text{generated})}: $$

0 if unseen real images seem as real to the critic as seen ones, 1 if it scores them like generated ones (Karras et al.
2020).

The cure is to show the critic altered images: shifted, or partly covered. But if only the real images are altered, the
generator learns to produce the alterations. So **both** kinds are altered in the same way, in the updates of both
networks. Gradients must pass through the alteration, because the generator learns through it; hence the name
*differentiable augmentation* (Zhao et al. 2020).

## Exercise 4: a shift that lets gradients through

Shift a batch of images by whole pixels, and fill the uncovered area with background, -1. Use operations of `ops` (or
TensorFlow), not NumPy. One way: pad with
`ops.pad(images, ((0, 0), (n, n), (n, n), (0, 0)), constant_values=-1)`, then cut out the right window.
"""

# %% exercise
# Exercise 4
def shifted(images, down, right):
    """Images (batch, height, width, channels) shifted by whole numbers of pixels, which may be negative."""
    _, height, width, _ = images.shape
    ### BEGIN SOLUTION
    n = max(abs(down), abs(right))
    padded = ops.pad(images, ((0, 0), (n, n), (n, n), (0, 0)), constant_values=-1)
    return padded[:, n - down:n - down + height, n - right:n - right + width]
    ### HANDOUT
    # return 1.0 * images         # your code instead of this line
    ### END SOLUTION

# %% check
_shifted = checked(shifted, kind=tf.Tensor, hint=USE_OPS)
_images = tf.constant(np.random.default_rng(0).uniform(-1, 1, (2, 8, 16, 3)).astype("float32"))
for _down, _right in ((1, 0), (0, -2), (-1, 1)):            # at most an eighth of 8 and of 16 pixels
    _numbers = tf.constant([[(_down + 1) / 2, (_right / 2 + 1) / 2]] * 2, tf.float32)
    _expected = augment.translation(_images, _numbers).numpy()
    _yours = ops.convert_to_numpy(_shifted(_images, _down, _right))
    assert _yours.shape == _expected.shape, f"the shape should be {_expected.shape}, not {_yours.shape}"
    assert np.allclose(_yours, _expected, atol=1e-5), \
        f"for ({_down}, {_right}) train.py --augment translation gives another result (down and right are positive)"
with tf.GradientTape() as _tape:
    _tape.watch(_images)
    _sum = tf.reduce_sum(_shifted(_images, 1, 0))
_gradient = _tape.gradient(_sum, _images)
assert _gradient is not None, "no gradient gets through: use ops or tf, not NumPy"
assert np.allclose(_gradient[:, :-1], 1) and np.allclose(_gradient[:, -1], 0), \
    "a shift down pushes the last row out of the image, so the gradient should be 0 there, and 1 elsewhere"
print("✓ exercise 4")

# %% [markdown]
r"""
**Predict first.** Two training runs, plain and augmented. Which critic will recognise its training crops sooner? Which
generator will be closer to the held-out crops after 1,500 iterations?
"""

# %% figure overfitting
logs = {}
for label, augmentation in (("plain", []), ("augmented", ["--augment", "translation,cutout"])):
    command("train", "-d", "../data", "-m", "DCGAN", "--preset", "fast", "-e", 1500, "-M", 150, "--resume",
            *augmentation, folder=label)
    with open(WORK / label / "checkpoints" / "log.DCGAN.WGAN-GP.0.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["critic_overfitting"]]
    logs[label] = {key: [float(row[key]) for row in rows] for key in rows[0]}
figure, panels = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
for (label, log), colour, style in zip(logs.items(), (ORANGE, BLUE), ("o-", "s--")):
    panels[0].plot(log["iteration"], log["critic_overfitting"], style, color=colour, label=label)
    panels[1].plot(log["iteration"], log["held_out_distance"], style, color=colour, label=label)
panels[0].set(xlabel="iteration", ylabel="overfitting of the critic")
panels[1].set(xlabel="iteration", ylabel="distance to held-out crops", yscale="log")
panels[1].legend()
plt.show()

# %% figure samples
GENERATOR = "checkpoints/weights.generator.DCGAN.WGAN-GP.0.h5"
rows = {"held out": parts[1].pixels[np.linspace(0, len(parts[1].pixels) - 1, 12).astype(int)]}
for label in logs:
    generator = load_generator(WORK / label / GENERATOR)
    cells = generator.generate(np.random.default_rng(0).standard_normal((12, generator.spec.nz), np.float32))
    rows[label] = np.rint((cells + 1) * 127.5).astype("uint8")
plt.figure(figsize=(11, 3))
plt.imshow(figures.real_picture(rows))
plt.axis("off")
plt.title("held-out crops, and crops generated after 1,500 iterations")
plt.show()

# %% slide [markdown]
r"""
## The critic memorises few images

![](overfitting.png)

![](samples.png)

Alter what the critic sees, real **and** generated, in the updates of both networks, by operations that let gradients
through. Zhao et al. 2020; overfitting: Karras et al. 2020
"""

# %% [markdown]
r"""
Left: can the critic still distinguish unseen real crops from generated ones? Without augmentation it soon can't. Right:
what counts in the end. In a training run as short as this one, augmentation costs quality. This figure does not show
what it gains in longer runs; the two papers measured that.

## Exercise 5: how many distinct images?

A generator can produce a million images. How many of them are *distinct*? Think of birthdays: among 23 people, two
share a birthday with probability ½, although there are 365 days. So collisions reveal the number of days: if $N$ kinds
are equally frequent, two random images are of the same kind with probability $1/N$. The **effective number** is

$$ N_\text{eff} = 1 \,/\, \text{fraction of pairs that are closer than } r $$

(Arora & Zhang 2018). Write it for points: $n$ numbers describe each image (its *features*). Count each pair once, and
no image with itself.
"""

# %% exercise
# Exercise 5
def effective_number(points, radius):
    """One over the fraction of pairs of `points` (count, n) that are within `radius`; np.inf if no pair is."""
    ### BEGIN SOLUTION
    near = cdist(points, points)[np.triu_indices(len(points), 1)] <= radius
    return 1 / near.mean() if near.any() else np.inf
    ### HANDOUT
    # return -1.0         # your code instead of this line
    ### END SOLUTION

# %% check
_effective_number = checked(effective_number, shape=())
_r = np.random.default_rng(0)
_modes = 10 * _r.standard_normal((20, 6))
_points = _modes[_r.integers(0, 20, 1500)] + 0.01 * _r.standard_normal((1500, 6))
_number = _effective_number(_points, 1.0)
assert abs(_number - 20) < 1.5, f"20 equally frequent kinds should give about 20, not {_number:.1f}"
assert np.isclose(_effective_number(np.zeros((9, 2)), 1.0), 1), "the same point nine times is one kind"
assert _effective_number(np.arange(5.0)[:, None] * 9, 1.0) == np.inf, "no pair is close: np.inf"
_uneven = np.repeat([0.0, 5.0], [900, 100])[:, None]
assert abs(_effective_number(_uneven, 1.0) - 1 / (0.81 + 0.01)) < 0.01, \
    "two kinds, nine to one: 1 / (0.9² + 0.1²) = 1.22 effective kinds"
_product = neighbours.Pairs(np.stack([_points.astype("float32")] * 4)).effective_number(1.0)[0]
assert np.isclose(_number, _product, rtol=1e-3), f"biogans diversity finds {_product:.2f}, not {_number:.2f}"
print(f"✓ exercise 5: {_number:.1f} of 20 kinds")

# %% [markdown]
r"""
`biogans diversity` counts in this way. Its features are the main directions in which pixels vary, and it derives the
radius from the data: two images are *near-duplicates* if they are closer than 95 % of the held-out images are to their
nearest training image. It also tests whether generated images are closer to training images than held-out images are
(`z`; far below 0 means that the generator copies).
"""

# %% figure pairs
print(command("diversity", "-i", GENERATOR, "-d", "../data", "-n", 1000, folder="augmented"))
plt.figure(figsize=(12, 12))
plt.imshow(plt.imread(WORK / "augmented" / "diversity" / "nearest_pairs.png"))
plt.axis("off")
plt.title("the nearest pairs; left of each row: their distances, in units of the near-duplicate radius", fontsize=9)
plt.show()

# %% [markdown]
r"""
Read the table with care. The effective number of the *training* crops is far below their count, because the frames of
one video are nearly one image. The effective number of the generated images is far above it, but this is no praise:
their ragged edges differ from image to image, and a distance between pixels counts this like any other difference. To
see how far off they are, look at the bins (a clustering of the training crops): in how many of them do the frequencies
of generated images differ from those of the training set?
"""

# %% slide [markdown]
r"""
## How many are really distinct?

Birthdays: $N$ equally frequent kinds collide in one of $N$ pairs. $\; N_{eff} = 1 / \text{fraction of close pairs}$

![](pairs.png)

Arora & Zhang 2018
"""

# %% [markdown]
r"""
## Exercise 6: where does the critic look?

The critic $f$ gives an image $x$ a score. Which pixels does the score come from? The gradient alone only shows the
effect of a tiny change. **Integrated gradients** (Sundararajan et al. 2017) go from a black image $x'$ straight to $x$
and collect the gradient along the way:

$$ A_i = (x_i - x'_i) \int_0^1 \frac{\partial f}{\partial x_i}\bigl(x' + t (x - x')\bigr)\, dt,
\qquad \sum_i A_i = f(x) - f(x'). $$

The equation on the right is called *completeness*: the map accounts for the entire difference between the two scores,
and we can test this. Replace the integral by the mean over the midpoints of `steps` equal intervals:
$t = (k + \frac12) / \text{steps}$.
"""

# %% exercise
# Exercise 6
def integrated_gradients(gradient, image, steps=32):
    """A, with the shape of `image` (height, width, channels) in [-1, 1]; a black image is -1 everywhere.

    gradient   function of images (count, height, width, channels) that returns the gradients of their scores
    """
    ### BEGIN SOLUTION
    t = (np.arange(steps) + 0.5) / steps
    path = -1 + t[:, None, None, None] * (image + 1)
    return (image + 1) * gradient(path.astype("float32")).mean(axis=0)
    ### HANDOUT
    # return np.zeros_like(image)         # your code instead of this line
    ### END SOLUTION

# %% check
_integrated_gradients = checked(integrated_gradients, shape=lambda gradient, image, steps=32: image.shape)
_r = np.random.default_rng(0)
_x = _r.uniform(-1, 1, (4, 5, 1))
_w = _r.standard_normal((4, 5, 1))
_linear = _integrated_gradients(lambda images: np.broadcast_to(_w, images.shape), _x)
assert np.allclose(_linear, _w * (_x + 1), atol=1e-5), \
    "for a linear score w·x each pixel should get w (x + 1): start from black, which is -1, not 0"
_cubic = np.asarray(_integrated_gradients(lambda images: 3 * images ** 2, _x, 50)).sum()
assert np.isclose(_cubic, (_x ** 3).sum() + _x.size, rtol=1e-3), \
    f"for the score Σ x³ the sum should be f(x) - f(black) = {(_x ** 3).sum() + _x.size:.3f}, not {_cubic:.3f}"
_path = []
_integrated_gradients(lambda images: _path.append(images) or images, np.ones((1, 1, 1)), 4)
assert np.allclose(np.ravel(_path), [-0.75, -0.25, 0.25, 0.75]), \
    "the midpoints of 4 steps from -1 to 1 are -0.75, -0.25, 0.25, 0.75"
print("✓ exercise 6")

# %% figure maps
COMBINED = "checkpoints/weights.combined_model.DCGAN.WGAN-GP.0.h5"
critic = load_critics(WORK / "augmented" / COMBINED)[0][0]


def gradient(images):
    """Gradient of the critic's scores with respect to the pixels."""
    return np.asarray(input_gradient(lambda x, training: critic(x, training=False), tf.constant(images)))


held_out = parts[1].pixels
scores = attribution.score_images(critic, held_out)
order = np.argsort(scores)[[-1, -2, len(scores) // 2, 1, 0]]
figure, panels = plt.subplots(2, 5, figsize=(11, 4.4), layout="constrained")
for axes, k in zip(panels.T, order):
    x = to_signed(held_out[k])
    a = np.asarray(integrated_gradients(gradient, x)).sum(axis=-1)
    most = np.quantile(np.abs(a), 0.995) or 1
    axes[0].imshow(x[..., 0], cmap="gray", vmin=-1, vmax=1)
    axes[0].set_title(f"score {scores[k]:.2f}", fontsize=10)
    shown = axes[1].imshow(a, cmap="RdBu_r", vmin=-most, vmax=most)
    axes[1].set_title(f"sum {a.sum():.2f}", fontsize=10)
    for panel in axes:
        panel.set(xticks=[], yticks=[])
panels[0, 0].set_ylabel("held-out crop")
panels[1, 0].set_ylabel("red raises, blue lowers")
plt.show()
black = attribution.score_images(critic, np.zeros_like(held_out[:1]))[0]
print(f"a black image has score {black:.2f}; every score is this plus the sum of its map")

# %% slide [markdown]
r"""
## Where does the critic look?

$$ A_i = (x_i - x'_i) \int_0^1 \frac{\partial f}{\partial x_i}(x' + t (x - x'))\, dt,
\qquad \sum_i A_i = f(x) - f(x') $$

![](maps.png)

Sundararajan et al. 2017
"""

# %% [markdown]
r"""
## What does it look for?

A map shows where, but not why. `biogans saliency` also measures properties of each image (how much of it is bright; how
long, wide and branched its tubes are), and ranks these by their **rank correlation** with the score: 1 if the image
with the larger value always has the higher score, 0 if the two are unrelated. The column `within` is the correlation
within the real and within the generated images. A property with a large value in the first column and about 0 in this
one merely separates the two sets.
"""

# %%
print(command("saliency", "-i", COMBINED, "-d", "../data", "-n", 150, folder="augmented"))

# %% [markdown]
r"""
That is the complete path from videos to maps. `make demo-mitogan` takes it with larger images and generates 30,000 of
them; `docs/mitogan.md` describes the results.
"""

# %% quiz [markdown]
r"""
## Quiz

Four questions about what you have seen, each with one right answer. Enter the letters in the cell below: it explains
every answer, right or wrong.

**Question 1.** You hold out frames at random and not whole videos. What is wrong with that?

- **a)** Held-out frames have near twins among the training frames.
  ✓ Neighbouring frames are nearly one image, so a network that memorised its training frames does well on the held-out
    ones. The figure of exercise 3 shows how close they are.
- **b)** Too few frames are held out.
  ✗ You can hold out as many as you like either way. What matters is whether frames of one video lie on both sides.
- **c)** Some videos are not used for training.
  ✗ With frames at random every video is used. This is the trouble: frames of one video lie on both sides.

**Question 2.** You shift and cover the real images at random, but leave the generated ones as they are. What does the
generator learn?

- **a)** Nothing new: the critic ignores the changes.
  ✗ The critic learns what separates the two sets, and the changes now separate them.
- **b)** To generate shifted and covered images.
  ✓ To the critic, the changes are a sign of real images. So both kinds have to be changed in the same way, by operations
    through which gradients pass.
- **c)** To generate sharper images.
  ✗ The critic rewards what real images have and generated ones lack, and here this is shifts and covered areas.

**Question 3.** The effective number of generated images is far above that of the training crops. So the generator shows
more structures than the videos do. True?

- **a)** True.
  ✗ The distance between pixels counts ragged edges as differences, and these differ from image to image. Look at the bins
    of the table, and at the images.
- **b)** False.
  ✓ Any difference counts, also an error. A large effective number excludes that the same image returns, but does not
    show that the images are right.

**Question 4.** A black image scores 5, and the map of integrated gradients of some crop adds up to -2. What is the score
of the crop?

- **a)** -2
  ✗ The map accounts for the difference from the black image, and not for the whole score.
- **b)** 7
  ✗ The sum of the map is the score of the crop minus that of the black image, so it is added, with its sign.
- **c)** 3
  ✓ Completeness: the sum of the map is the score of the crop minus that of the black image, and 5 - 2 = 3. It can be
    checked for every image.
"""

# %% [markdown]
r"""
## To discuss

1. A colleague normalises each *frame* to the same maximum brightness before training. What can the network no longer
   learn, and what will it learn instead?
2. The effective number of training crops is far below the number of crops. What would help more: more frames, or more
   videos?
3. The critic's score correlates with the width of the tubes. Does the critic look at the width?
4. A referee asks for proof that the synthetic images add information to 20 videos. Can they?

## Sources

- Zhao et al. (2020), *Differentiable augmentation for data-efficient GAN training*,
  [arXiv:2006.10738](https://arxiv.org/abs/2006.10738)
- Karras et al. (2020), *Training generative adversarial networks with limited data*,
  [arXiv:2006.06676](https://arxiv.org/abs/2006.06676)
- Arora & Zhang (2018), *Do GANs actually learn the distribution? An empirical study*,
  [arXiv:1706.08224](https://arxiv.org/abs/1706.08224)
- Sundararajan, Taly & Yan (2017), *Axiomatic attribution for deep networks*,
  [arXiv:1703.01365](https://arxiv.org/abs/1703.01365)
- Guizar-Sicairos, Thurman & Fienup (2008), *Efficient subpixel image registration algorithms*,
  [doi:10.1364/OL.33.000156](https://doi.org/10.1364/OL.33.000156)
"""

# %% answer [markdown]
r"""
## For the instructor

**Timing** (45 minutes): videos and exercise 1: 8; exercise 2: 5; preprocessing and exercise 3: 7; augmentation and
exercise 4: 10 (start the two training runs before you talk); exercise 5 and the nearest pairs: 7; exercise 6 and the
table: 8.

**Answers.** 1: brightness no longer carries information. A frame that is out of focus, or shows only noise, is scaled
up to full brightness, and the network learns to generate noise. `biogans preprocess` standardises each video as a
whole, and rejects such crops. 2: more videos: frames of one video are near-duplicates, as the figure of exercise 3
shows. 3: not necessarily: the measured properties depend on each other, and the score of a critic that looks at
brightness correlates with width too. Change the width alone (a simulator can) and look at the score. 4: no: a generator
has no information beyond its training images and the assumptions built into its architecture. Synthetic images can make
a classifier more robust, as any augmentation can; they are no evidence about mitochondria.

**Numbers** vary with the machine. After 1,500 iterations the generator is a sketch: the tubes are ragged, and the table
of `biogans diversity` shows it (`different bins`).
"""

# %% slide [markdown]
r"""
## To discuss

1. Every frame is normalised separately: what is lost?
2. More frames or more videos?
3. Scores correlate with the width. Does the critic look at the width?
4. Do synthetic images add information to 20 videos?
"""
