# %% [markdown]
r"""
# 4. Cells: six proteins at once

**After this notebook you can** train and use BioGANs; say what a joint, a separable and a star-shaped generator are,
and what each can and can't be asked; borrow channels from similar cells, as one does without a network; say exactly
what "seeing six proteins at once" means, and what it does not mean.

**You need** notebooks 1 and 3 (2 helps). The notebook computes for about four minutes, most of which are three small
trainings. Run it in a folder that you may write to: it makes a folder `cells` there.
"""

# %% slide [markdown]
r"""
# Cells

Six proteins at once: joint, separable, star-shaped

*Deep Learning by Example* · notebook 4
"""

# %%
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import biogans
from biogans.core import checkpoint, dataloader, figures
from biogans.evaluation import joint
from biogans.core.engine import generate

tf.get_logger().setLevel("ERROR")               # no advice to programmers
DATA = Path(biogans.__file__).resolve().parents[2] / "data_48-80" / "data"
WORK = Path("cells")
WORK.mkdir(exist_ok=True)
COLOURS = "magenta-green"           # of the marker and the factor; few colour-blind eyes tell red from green
plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
r"""
## The data, and what is missing in them

Fission yeast is a rod that grows at its ends and divides in the middle. *Polarity factors* are proteins that tell the
cell where its ends are. In the LIN data set (Dodgson et al. 2017) each image shows two proteins of one cell, each
made to fluoresce in its own colour:

- **red**: Bgs4, which builds the cell wall: it is where the cell *grows*, and so tells how far the cell is in its
  cycle;
- **green**: one of many polarity factors; here six: Alp14, Arp3, Cki2, Mkh1, Sid2, Tea1.

A microscope can't tell more colours apart in a living cell, and each strain of yeast has two proteins tagged. So **no
image shows two polarity factors.** The question of Osokin et al. (2017): can a network draw all six in the same cell?

The sample data of BioGANs have the layout of LIN, and are *simulated* (no microscope was involved). That has an
advantage: the simulator can show what no microscope can, all six in one cell, to compare with.
"""

# %% figure data
images = dataloader.load(DATA)
print(images.pixels.shape, "uint8:", len(images.factors), "factors, channels red and green")
plt.figure(figsize=(11, 6))
examples = {name: images.pixels[images.labels == k][:6] for k, name in enumerate(images.factors)}
plt.imshow(figures.real_picture(examples, palette=COLOURS))
plt.axis("off")
plt.title("simulated cells: the growth marker in magenta, another factor in green in each row")
plt.show()

# %% slide [markdown]
r"""
## What is missing in the data

![](data.png)

Marker (magenta) and **one** factor (green) in each image. No cell was ever imaged with two factors.
"""

# %% [markdown]
r"""
## Exercise 1: to the network and back

Networks see pixels in $[-1, 1]$, files have 0 to 255, and a screen wants red, green and blue in $[0, 1]$. Write the
last step, from two channels in $[-1, 1]$ to colours. As few colour-blind eyes tell red from green, the marker (which
we go on calling red) is shown in magenta: it goes to both R and B, the factor to G. Where both are bright the picture
is white.
"""

# %% exercise
# Exercise 1
def to_rgb(cells):
    """Cells (..., height, width, 2) in [-1, 1] -> colours (..., height, width, 3) in [0, 1]."""
    ### BEGIN SOLUTION
    colours = (cells + 1) / 2
    return np.concatenate([colours, colours[..., :1]], axis=-1)
    ### HANDOUT
    # return np.zeros((*cells.shape[:-1], 3))     # your code instead of this line
    ### END SOLUTION

# %% check
_rgb = to_rgb(np.array([[[-1.0, 1.0], [0.0, -1.0]]]))
assert _rgb.shape == (1, 2, 3), f"the shape should be (1, 2, 3), yours is {_rgb.shape}"
assert np.allclose(_rgb[0, 0], [0, 1, 0]), f"no marker and full factor should be (0, 1, 0), yours is {_rgb[0, 0]}"
assert np.allclose(_rgb[0, 1], [0.5, 0, 0.5]), \
    f"half marker and no factor should be (0.5, 0, 0.5), yours is {_rgb[0, 1]}"
print("✓ exercise 1")

# %% figure merged
cell = images.pixels[images.labels == 5][0] / 127.5 - 1
alone = [np.where(np.arange(2) == channel, cell, -1) for channel in range(2)]
figure, panels = plt.subplots(1, 3, figsize=(9, 2.1), layout="constrained")
for axes, channels, name in zip(panels, (*alone, cell), ("marker (red channel)", "Tea1 (green channel)", "both")):
    axes.imshow(to_rgb(channels))
    axes.set(title=name, xticks=[], yticks=[])
plt.show()

# %% [markdown]
r"""
## Training with commands

In a terminal you would type `train.py -d data -p Tea1 -m DCGAN --preset fast -e 300`. The cell below does the same.
`-m` chooses the network, `-p` the factors, `-e` the number of iterations; `--preset fast` makes networks small enough
for a CPU; `--resume` goes on where an earlier run was stopped, so that running the cell again costs nothing. The
algorithm is WGAN-GP (notebook 3) unless `-a` says otherwise.

A **joint** generator, DCGAN, draws both channels as one picture with two colours: every layer is shared.
"""

# %%
def train(network, iterations, *options):
    """Train with the fast preset in the folder `cells`; returns the generator and its iterations."""
    command = ["-d", DATA, "-m", network, "-e", iterations, "-M", 1000, "--preset", "fast", "--resume", *options]
    done = subprocess.run([sys.executable, "-m", "biogans", "train", *map(str, command)], cwd=WORK,
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    weights = re.search(r"^(?:weights: |going on from )([^\s,]+)", done.stdout, re.MULTILINE)[1]
    generator, _, facts = checkpoint.load_generator(WORK / weights)
    print(f"{network}: {generator.count_params():,} weights, {facts['iteration']} iterations")
    return generator, facts["iteration"]


together, _ = train("DCGAN", 300, "-p", "Tea1")

# %% figure joint
rng = np.random.default_rng(0)
z = rng.standard_normal((24, 100)).astype("float32")


def show(cells, title, columns=8):
    """A picture of cells (count, height, width, 2) in [-1, 1]."""
    plt.figure(figsize=(11, 11 * 0.62 * len(cells) / columns ** 2 + 0.4))
    plt.imshow(figures.sample_picture(cells, columns=columns, palette=COLOURS))
    plt.axis("off")
    plt.title(title)
    plt.show()


show(generate(together, z), "joint: red and green (Tea1) drawn as one picture, after 300 iterations")

# %% [markdown]
r"""
## Separable: red first

A biologist would ask: *in this cell*, at this stage of growth, where is Tea1? The joint network has no answer; one
can't hold the red fixed and ask for another green. So the **separable** generator (Osokin et al. 2017, section 3.1)
splits both its features and $z = (z_r, z_g)$ into halves: a red tower, which reads $z_r$ and its own features only,
and a green tower, which reads $z_r$, $z_g$, and at every layer the red features besides its own:

$$ x_\text{red} = R(z_r), \qquad x_\text{green} = G\bigl(\text{features of } R(z_r),\; z_r, z_g\bigr). $$

Red knows nothing of green: that is the order of cause and effect that is assumed, growth first.

## Exercise 2: the same cell, other greens

Make latents that share the red half (the first half of each vector) and have independent green halves. The check draws
them with the separable network.
"""

# %% slide [markdown]
r"""
## Joint, separable, star-shaped

$$ x_{red} = R(z_r), \qquad x_{green} = G(\text{features of } R, z) $$

- **Joint**: every layer shared; can't hold red fixed
- **Separable**: a red tower that knows nothing of green; a green tower that reads red at every layer
- **Star**: one red tower, six green ones, six critics, each shown red with *its* green

Osokin et al. 2017, sections 3.1 and 3.2, figure 3
"""

# %%
apart, _ = train("DCGAN-separable", 300, "-p", "Tea1")

# %% exercise
# Exercise 2
def same_red(z_red, count, rng):
    """Latents (count, 2 * len(z_red)) that begin with `z_red` and end with independent standard normal numbers."""
    ### BEGIN SOLUTION
    z_green = rng.standard_normal((count, len(z_red)))
    return np.concatenate([np.tile(z_red, (count, 1)), z_green], axis=1).astype("float32")
    ### HANDOUT
    # return rng.standard_normal((count, 2 * len(z_red))).astype("float32")      # change this: all of z is random
    ### END SOLUTION

# %% check
_z = same_red(z[0, :50], 6, np.random.default_rng(1))
assert _z.shape == (6, 100), f"six latents of 100 numbers, please: yours are {_z.shape}"
_cells = generate(apart, _z)
assert np.ptp(_cells[..., 0], axis=0).max() < 1e-4, "the red channel should be the same in all six cells"
assert np.ptp(_cells[..., 1], axis=0).max() > 1e-4, "the green channel should differ from cell to cell"
_many = same_red(np.zeros(50), 2000, np.random.default_rng(2))[:, 50:]
assert abs(_many.mean()) < 0.05 and abs(_many.std() - 1) < 0.05, "the green halves should be standard normal"
print("✓ exercise 2: one red, many greens")

# %% figure same_red
rows = np.concatenate([same_red(z[k, :50], 8, rng) for k in range(3)])
show(generate(apart, rows), "separable: each row has one red half of z")
show(generate(together, rows), "joint, same latents: half of z means nothing to it")

# %% [markdown]
r"""
## Exercise 3: how much does the second half do?

Look at a row of the separable network: do the greens differ? The paper found that they hardly do, and called it *mode
collapse of the separable generator*. Put a number on it: the standard deviation of green **within** groups that share
red, as a fraction of the standard deviation over **all** cells. Both are taken at each pixel, squared, averaged over
pixels (and groups), and the square root is taken last.
"""

# %% exercise
# Exercise 3
def variety(green):
    """green (groups, cells in a group, height, width) -> standard deviation within groups / over all cells."""
    ### BEGIN SOLUTION
    within = green.var(axis=1).mean()
    overall = green.reshape(-1, *green.shape[2:]).var(axis=0).mean()
    return np.sqrt(within / overall)
    ### HANDOUT
    # return -1.0         # your code instead of this line
    ### END SOLUTION

# %% check
_r = np.random.default_rng(0)
_cell = _r.standard_normal((40, 1, 4, 6))
assert np.isclose(variety(np.tile(_cell, (1, 9, 1, 1))), 0), "if all cells of a group are the same, variety is 0"
assert abs(variety(_r.standard_normal((40, 50, 4, 6))) - 1) < 0.03, "if groups mean nothing, variety is about 1"
_mixed = variety(_cell + _r.standard_normal((40, 50, 4, 6)))
assert abs(_mixed - np.sqrt(0.5)) < 0.05, f"half of the variance within groups: 0.71; yours is {_mixed:.2f}"
_groups = np.concatenate([same_red(red, 16, rng) for red in z[:12, :50]])
for _name, _network in (("separable", apart), ("joint", together)):
    print(f"{_name}: {variety(generate(_network, _groups)[..., 1].reshape(12, 16, 48, 80)):.2f}")
print("✓ exercise 3")

# %% [markdown]
r"""
## The star

The **star-shaped** generator (section 3.2) has one red tower and six green ones around it, each of which reads the
red features. Six critics judge it: critic $k$ sees pairs of red and green $k$, and real images of factor $k$. So each
critic sees only what a microscope can show, and yet the generator draws seven channels of one cell.
"""

# %% figure star
star, iterations = train("DCGAN-starshaped", 250)
cells = generate(star, z)
plt.figure(figsize=(11, 4.6))
plt.imshow(figures.sample_picture(cells[:5], images.factors, palette=COLOURS))
plt.axis("off")
plt.title(f"star after {iterations} iterations: one cell in each row, all six factors")
plt.show()

# %% [markdown]
r"""
After so few iterations shapes are coarse; `docs/training.md` shows a star after an hour. Here
is the truth, which only a simulation has:
"""

# %% figure truth
true_cells, names = joint.read(DATA / "joint_test.h5")
plt.figure(figsize=(11, 4.6))
plt.imshow(figures.sample_picture(true_cells[::12] / 127.5 - 1, names[1:], palette=COLOURS))
plt.axis("off")
plt.title("simulated cells with all six factors: what no microscope shows")
plt.show()

# %% slide [markdown]
r"""
## Six proteins in one cell

![](star.png)

![](truth.png)
"""

# %% [markdown]
r"""
## Exercise 4: without a network

One can do without: take a cell's red, look among the images of each factor for the one whose red is most like it, and
copy its green (Osokin et al. 2017, section 4.2, made training images so). Write the search. How alike two reds are:
the sum of squared differences of their pixels.
"""

# %% exercise
# Exercise 4
def most_similar(red, reds):
    """Index of that one of `reds` (count, height, width) that is nearest to `red` (height, width); uint8 arrays."""
    ### BEGIN SOLUTION
    differences = reds.astype("float32") - red
    return int((differences ** 2).sum(axis=(1, 2)).argmin())
    ### HANDOUT
    # return 0        # your code instead of this line
    ### END SOLUTION


def borrow(red):
    """A cell (height, width, 7) with this red and, for each factor, the green of the training image most like it."""
    greens = []
    for k in range(len(images.factors)):
        candidates = images.pixels[images.labels == k]
        greens.append(candidates[most_similar(red, candidates[..., 0]), :, :, 1])
    return np.stack([red, *greens], axis=-1)

# %% check
_reds = images.pixels[:300, :, :, 0]
assert most_similar(_reds[17], _reds) == 17, "a cell's red is most like itself"
_noisy = _reds[42].astype(int) + np.random.default_rng(0).integers(-20, 20, _reds[42].shape)
assert most_similar(np.clip(_noisy, 0, 255).astype("uint8"), _reds) == 42, \
    "with some noise on it, it should still be found: mind that differences of uint8 wrap"
_dark = np.stack([np.full((4, 4), 200, "uint8"), np.full((4, 4), 8, "uint8")])
assert most_similar(np.full((4, 4), 10, "uint8"), _dark) == 1, "10 - 200 is 66 in uint8: convert before you subtract"
print("✓ exercise 4")

# %% [markdown]
r"""
## What two-channel images can tell, and what they can't

Now the heart of the matter. From images one learns, for each factor, how green $k$ goes with red: the joint
distribution of (red, green $k$). Does that settle how green 1 goes with green 2? Take three numbers instead of
images: red correlates with green 1 by $a$, and with green 2 by $b$. Which correlations $c$ of the two greens are
possible? A table of correlations is possible if and only if its determinant is not negative (and no correlation
exceeds 1):

$$ \det\begin{pmatrix} 1 & a & b \\ a & 1 & c \\ b & c & 1 \end{pmatrix} = 1 + 2abc - a^2 - b^2 - c^2 \ge 0. $$

## Exercise 5: the range

Solve for $c$: the smallest and the largest possible value.
"""

# %% slide [markdown]
r"""
## What two-channel images can't tell

Red goes with green 1 by $a$, with green 2 by $b$. How does green 1 go with green 2?

$$ ab - \sqrt{(1 - a^2)(1 - b^2)} \;\le\; c \;\le\; ab + \sqrt{(1 - a^2)(1 - b^2)} $$

- $a = b = 0.9$: between 0.62 and 1. $\;a = b = 0.5$: between -0.5 and 1
- The more red determines, the less is open. That is why the marker matters
- Inside the range the answer is the *model's*: independent given red? the same $z_g$ for all towers?
"""

# %% exercise
# Exercise 5
def possible_range(a, b):
    """(smallest, largest) correlation of two greens that correlate with red by a and by b."""
    ### BEGIN SOLUTION
    room = np.sqrt((1 - a ** 2) * (1 - b ** 2))
    return a * b - room, a * b + room
    ### HANDOUT
    # return -1.0, 1.0        # your code instead of this line
    ### END SOLUTION

# %% check
for _a, _b in ((0.9, 0.9), (0.5, 0.5), (0.8, -0.3), (1.0, 0.4)):
    _c = np.linspace(-1, 1, 20001)
    _possible = _c[1 + 2 * _a * _b * _c - _a ** 2 - _b ** 2 - _c ** 2 >= -1e-12]
    assert np.allclose(possible_range(_a, _b), (_possible.min(), _possible.max()), atol=1e-3), \
        f"a = {_a}, b = {_b}: c may be {_possible.min():.3f} to {_possible.max():.3f}, yours: {possible_range(_a, _b)}"
print("✓ exercise 5: with a = b = 0.9 the greens correlate by at least "
      f"{possible_range(0.9, 0.9)[0]:.2f}; with a = b = 0.5 by anything from {possible_range(0.5, 0.5)[0]:.2f} to 1")

# %% [markdown]
r"""
So the data do **not** determine how the factors go together, except as far as red determines each of them. What
decides the rest is the model: the six towers of our star read the same features of red *and* the same $z_g$. The
paper's claim is not that the network measures what was never measured. It is: *if* the stage of growth, which red
shows, is what the factors have in common, these are cells with all six. Where there is a truth, one can test it.

## Exercise 6: test it

`joint.measure` finds the cell in each picture and gives, among other things, the correlations between channels over
the pixels of the cell. Compare how the greens correlate (mean over cells) in true cells with three candidates, by the
root mean square of the differences over the 15 pairs of greens.
"""

# %% exercise
# Exercise 6
def correlation_error(true_correlations, correlations):
    """Root mean square difference over the pairs of greens.

    Both arguments: (cells, channels, channels), channel 0 is red, which does not count; cells are averaged first.
    """
    ### BEGIN SOLUTION
    difference = true_correlations.mean(axis=0) - correlations.mean(axis=0)
    pairs = np.triu_indices(len(difference) - 1, 1)
    return np.sqrt((difference[1:, 1:][pairs] ** 2).mean())
    ### HANDOUT
    # return -1.0             # your code instead of this line
    ### END SOLUTION

# %% figure correlations
as_bytes = np.rint((generate(star, rng.standard_normal((200, 100)).astype("float32")) + 1) * 127.5).astype("uint8")
shuffled = true_cells.copy()
for channel in range(1, 7):
    shuffled[..., channel] = true_cells[rng.permutation(len(true_cells)), ..., channel]
sets = {"true cells": true_cells, "borrowed greens": np.stack([borrow(cell[..., 0]) for cell in true_cells]),
        "star": as_bytes, "greens of any cells": shuffled}
measured = {name: joint.measure(stack).correlations for name, stack in sets.items()}
figure, panels = plt.subplots(1, 4, figsize=(14, 3.6), layout="constrained")
for axes, (name, correlations) in zip(panels, measured.items()):
    shades = axes.imshow(correlations.mean(axis=0)[1:, 1:], cmap="PuOr_r", vmin=-1, vmax=1)
    axes.set_xticks(range(6), names[1:], rotation=45)
    axes.set_yticks(range(6), names[1:] if axes is panels[0] else [""] * 6)
    axes.set_title(f"{name}: error {correlation_error(measured['true cells'], correlations):.3f}", fontsize=10)
figure.colorbar(shades, ax=panels, label="correlation")
plt.show()

# %% check
_x = np.random.default_rng(0).uniform(-1, 1, (5, 4, 4))
assert np.isclose(correlation_error(_x, _x), 0), "the error of a set and itself is 0"
_y = _x.copy()
_y[:, 0], _y[:, :, 0] = 0.3, 0.3
assert np.isclose(correlation_error(_x, _y), 0), "red, channel 0, should not count"
_y = _x.copy()
_y[:, 1, 2] += 0.3
_y[:, 2, 1] += 0.3
assert np.isclose(correlation_error(_x, _y), 0.3 / np.sqrt(3)), "one of three pairs off by 0.3: the error is 0.173"
_product = joint.compare(joint.measure(true_cells), joint.measure(as_bytes))["correlation_error"]
_star = correlation_error(measured["true cells"], measured["star"])
assert np.isclose(_star, _product, atol=2e-3), f"biogans evaluate finds {_product:.3f}, you find {_star:.3f}"
print("✓ exercise 6: this is the column «correlations» of biogans evaluate")

# %% slide [markdown]
r"""
## Where there is a truth, test it

![](correlations.png)

Root mean square error over 15 pairs of factors that were never imaged together
"""

# %% [markdown]
r"""
After 250 iterations, borrowing may well be better than the star. With more training that changes:
`docs/evaluation.md` has the figures (after 5,500 iterations of a larger star 0.022, with borrowed
greens 0.055, two sets of true cells 0.016). Try it: in a terminal, in the folder `cells`, go on with the star,

    train.py -d DATA -m DCGAN-starshaped --preset fast -e 2000 -w

where `DATA` is the folder that `print(DATA)` shows, and run the cells from *The star* on again.

## To discuss

1. Where would you expect the star to be wrong about two proteins that bind each other? About two that take turns at the
   same place?
2. The critics of the star see only pairs. What experiment, with which microscope images, would you ask for to test the
   network's claim about Arp3 and Tea1?
3. The order red first, green second is an assumption. When is it wrong?
4. A colleague wants to publish a picture of a cell with six proteins. What must the caption say?

## Sources

- Osokin, Chessel, Carazo Salas & Vaggi (2017), *GANs for biological image synthesis*,
  [arXiv:1708.04692](https://arxiv.org/abs/1708.04692)
- Dodgson et al. (2017), *Reconstructing regulatory pathways by systematically mapping protein localization
  interdependency networks*, [bioRxiv 116749](https://doi.org/10.1101/116749)
"""

# %% answer [markdown]
r"""
## For the instructor

**Timing** (45 minutes): data and exercise 1 8, joint and separable with exercises 2 and 3 15 (start the trainings
while you talk), star 5, exercise 4 5, exercises 5 and 6 12.

**Answers.** 1: proteins that bind vary together beyond what red shows, those that take turns exclude each other; both
are dependence given red, which no critic sees. 2: a strain with both tagged (a third colour, or Arp3 in the place of
Bgs4): even few such images test the claim. 3: where the factor decides where the cell grows; a perturbed factor then
changes red. 4: drawn by a network; which data, that no two factors were imaged together, and that the dependence
between them given the growth marker is the model's assumption.

**Numbers** vary with the machine. The variety of the separable network is usually well below that of the joint one.
"""

# %% slide [markdown]
r"""
## To discuss

1. Where would the star be wrong about two proteins that bind each other? That take turns?
2. Which images would test its claim about Arp3 and Tea1?
3. Red first, green second: when is that wrong?
4. What must the caption of a picture with six proteins say?
"""
