# %% [markdown]
r"""
# 4. Cells: six proteins at once

**After this notebook you can** train and use BioGANs; explain joint, separable and star-shaped generators, and which
questions each of them can and can't answer; borrow channels from similar cells, the alternative without a network; say
exactly what "seeing six proteins at once" means, and what it does not mean.

**You need** notebooks 1 and 3 (2 helps). The notebook takes about two minutes to compute, mostly for three small
training runs. Start it in a folder that you may write to: it creates a folder `cells` there.
"""

# %% slide [markdown]
r"""
# Cells

Six proteins at once: joint, separable, star-shaped

*Deep Learning by Example* · notebook 4
"""

# %% install

# %%
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import biogans
from biogans.core import dataloader, figures
from biogans.core.engine import generate
from biogans.core.trained import load_generator
from biogans.evaluation import joint
from biogans.system.hints import checked
from biogans.system.notebook import run_command

tf.get_logger().setLevel("ERROR")               # hide TensorFlow's hints for developers
DATA = Path(biogans.__file__).resolve().parents[2] / "data_48-80" / "data"
WORK = Path("cells")
WORK.mkdir(exist_ok=True)
COLOURS = "magenta-green"           # of marker and factor; most colour-blind readers can't tell red from green
plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
r"""
## The data, and what they lack

Fission yeast is a rod that grows at its ends and divides in the middle. *Polarity factors* are proteins that take part
in the control of where and when it grows. In the LIN data set (Dodgson et al. 2017) each image shows two proteins of
one cell, each made to fluoresce in its own colour:

- **red**: Bgs4, which builds the cell wall. It lies where the cell *grows*, and so says something about the stage of
  the cell cycle;
- **green**: one of many polarity factors. We use six: Alp14, Arp3, Cki2, Mkh1, Sid2, Tea1.

A microscope can distinguish more than two colours: two to six tagged molecules in one cell are possible. But each
combination of tags needs a strain of its own: Bgs4 with every *two* of six factors makes 15 strains, with every two of
forty 780. The strains of LIN have Bgs4 and one factor. So **no image of LIN shows two polarity factors.** Osokin et al.
(2017) asked: can a network generate all six in the same cell?

The sample data of BioGANs have the layout of LIN, but they are *simulated* (no microscope was involved). This has an
advantage: the simulator shows all six factors in one cell, and we can compare with that.
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
## What the data lack

![](data.png)

Each image shows the marker (magenta) and **one** factor (green): each pair of factors would need a strain of its own.
"""

# %% [markdown]
r"""
## Exercise 1: to the network and back

Networks use pixels in $[-1, 1]$, files store 0 to 255, and a screen needs red, green and blue in $[0, 1]$. Write the
last step, from two channels in $[-1, 1]$ to colours. Since most colour-blind people can't tell red from green, we show
the marker in magenta (but keep calling it red): it goes to both R and B, and the factor goes to G. Where both are
bright, the image is white.
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
_to_rgb = checked(to_rgb)
_rgb = _to_rgb(np.array([[[-1.0, 1.0], [0.0, -1.0]]]))
assert _rgb.shape == (1, 2, 3), f"the shape should be (1, 2, 3), not {_rgb.shape}"
assert np.allclose(_rgb[0, 0], [0, 1, 0]), f"no marker and full factor should give (0, 1, 0), not {_rgb[0, 0]}"
assert np.allclose(_rgb[0, 1], [0.5, 0, 0.5]), \
    f"half marker and no factor should give (0.5, 0, 0.5), not {_rgb[0, 1]}"
print("✓ exercise 1")

# %% figure merged
cell = images.pixels[images.labels == 5][0] / 127.5 - 1
single = [np.where(np.arange(2) == channel, cell, -1) for channel in range(2)]
figure, panels = plt.subplots(1, 3, figsize=(9, 2.1), layout="constrained")
for axes, channels, name in zip(panels, (*single, cell), ("marker (red channel)", "Tea1 (green channel)", "both")):
    axes.imshow(to_rgb(channels))
    axes.set(title=name, xticks=[], yticks=[])
plt.show()

# %% [markdown]
r"""
## Training with commands

In a terminal you would type `train.py -d data -p Tea1 -m DCGAN --preset fast -e 300`. The cell below does the same.
`-m` chooses the network, `-p` the factors, and `-e` the number of iterations. `--preset fast` makes the networks small
enough for a CPU. `--resume` continues an earlier run, so running the cell again costs nothing. The algorithm is WGAN-GP
(notebook 3) unless you choose another one with `-a`.

A **joint** generator, DCGAN, generates both channels as one image with two colours: every layer is shared.
"""

# %%
def train(network, iterations, *options):
    """Train with the fast preset in the folder `cells`; returns the generator and its number of iterations."""
    printed = run_command("train", "-d", DATA, "-m", network, "-e", iterations, "-M", 1000, "--preset", "fast",
                          "--resume", *options, folder=WORK)
    weights = re.search(r"^(?:weights: |resuming from )([^\s,]+)", printed, re.MULTILINE)[1]
    generator = load_generator(WORK / weights)
    print(f"{network}: {generator.network.count_params():,} weights, {generator.metadata.iteration} iterations")
    return generator.network, generator.metadata.iteration


joint_generator, _ = train("DCGAN", 300, "-p", "Tea1")

# %% figure joint
rng = np.random.default_rng(0)
z = rng.standard_normal((24, 100)).astype("float32")


def show(cells, title, columns=8):
    """Show cells (count, height, width, 2) in [-1, 1]."""
    plt.figure(figsize=(11, 11 * 0.62 * len(cells) / columns ** 2 + 0.4))
    plt.imshow(figures.sample_picture(cells, columns=columns, palette=COLOURS))
    plt.axis("off")
    plt.title(title)
    plt.show()


show(generate(joint_generator, z), "joint: red and green (Tea1) generated as one image, after 300 iterations")

# %% [markdown]
r"""
## Separable: red first

A biologist would ask: where is Tea1 *in this cell*, at this stage of growth? The joint network can't answer, because it
can't keep the red channel fixed and generate another green one. So the **separable** generator (Osokin et al. 2017,
section 3.1) splits both its features and $z = (z_r, z_g)$ into halves. A red tower reads only $z_r$ and its own
features; a green tower reads $z_r$, $z_g$ and, at every layer, the red features besides its own:

$$ x_\text{red} = R(z_r), \qquad x_\text{green} = G\bigl(\text{features of } R(z_r),\; z_r, z_g\bigr). $$

Red does not depend on green. This is an *assumption* about cause and effect, growth first, and not a result: polarity
factors also take part in deciding where the cell grows (question 3).

![Joint: one network makes both channels from z. Separable: a red tower feeds a green one. Star-shaped: one red tower feeds a green tower for each factor, each with its critic](diagram_architectures.png)

## Exercise 2: the same cell, other greens

Make latent vectors that share the red half (the first half of each vector) and have independent green halves. The check
passes them to the separable network.
"""

# %% slide [markdown]
r"""
## Joint, separable, star-shaped

$$ x_{red} = R(z_r), \qquad x_{green} = G(\text{features of } R, z) $$

- **Joint**: every layer is shared; red can't be kept fixed
- **Separable**: a red tower, independent of green; a green tower that reads red features at every layer
- **Star**: one red tower, six green towers, six critics, each of which sees red with *its* green

Osokin et al. 2017, sections 3.1 and 3.2, figure 3
"""

# %% slide [markdown]
r"""
## Where features flow

![Joint: one network makes both channels from z. Separable: a red tower feeds a green one. Star-shaped: one red tower feeds a green tower for each factor, each with its critic](diagram_architectures.png)
"""

# %%
separable_generator, _ = train("DCGAN-separable", 300, "-p", "Tea1")

# %% exercise
# Exercise 2
def same_red(z_red, count, rng):
    """Latent vectors (count, 2 len(z_red)): `z_red`, followed by independent standard normal numbers."""
    ### BEGIN SOLUTION
    z_green = rng.standard_normal((count, len(z_red)))
    return np.concatenate([np.tile(z_red, (count, 1)), z_green], axis=1).astype("float32")
    ### HANDOUT
    # return rng.standard_normal((count, 2 * len(z_red))).astype("float32")      # change this: here all of z is random
    ### END SOLUTION

# %% check
_same_red = checked(same_red)
_z = _same_red(z[0, :50], 6, np.random.default_rng(1))
assert _z.shape == (6, 100), f"the shape should be (6, 100), six vectors of 100 numbers, not {_z.shape}"
_cells = generate(separable_generator, _z)
assert np.ptp(_cells[..., 0], axis=0).max() < 1e-4, "all six cells should have the same red channel"
assert np.ptp(_cells[..., 1], axis=0).max() > 1e-4, "the green channel should differ from cell to cell"
_many = _same_red(np.zeros(50), 2000, np.random.default_rng(2))[:, 50:]
assert abs(_many.mean()) < 0.05 and abs(_many.std() - 1) < 0.05, "the green halves should be standard normal"
print("✓ exercise 2: one red, many greens")

# %% [markdown]
r"""
**Predict first.** Three rows of latent vectors, which share their first half within a row, go through both networks.
What will the cells of a row have in common in the separable network, and what in the joint one?
"""

# %% figure same_red
rows = np.concatenate([same_red(z[k, :50], 8, rng) for k in range(3)])
show(generate(separable_generator, rows), "separable: each row has one red half of z")
show(generate(joint_generator, rows), "joint, same latent vectors: half of z has no meaning here")

# %% [markdown]
r"""
## Exercise 3: how much does the second half do?

Look at a row of the separable network: do the greens differ? With a plain GAN the authors found that they hardly do (*mode
collapse of the separable generator*), and that WGAN-GP helps. Find out whether it has helped here, with a number: the
standard deviation of green **within** groups that share red, divided by the standard deviation over **all** cells.
Compute the variance at each pixel, average it over pixels (and groups), and take the square root last.
"""

# %% exercise
# Exercise 3
def variety(green):
    """green (groups, cells per group, height, width) -> standard deviation within groups / over all cells."""
    ### BEGIN SOLUTION
    within = green.var(axis=1).mean()
    overall = green.reshape(-1, *green.shape[2:]).var(axis=0).mean()
    return np.sqrt(within / overall)
    ### HANDOUT
    # return -1.0         # your code instead of this line
    ### END SOLUTION

# %% check
_variety = checked(variety, shape=())
_r = np.random.default_rng(0)
_cell = _r.standard_normal((40, 1, 4, 6))
assert np.isclose(_variety(np.tile(_cell, (1, 9, 1, 1))), 0), "if all cells of a group are the same, the variety is 0"
assert abs(_variety(_r.standard_normal((40, 50, 4, 6))) - 1) < 0.03, "if groups mean nothing, the variety is about 1"
_mixed = _variety(_cell + _r.standard_normal((40, 50, 4, 6)))
assert abs(_mixed - np.sqrt(0.5)) < 0.05, f"half of the variance lies within groups: 0.71, not {_mixed:.2f}"
_pixels = np.zeros((2, 2, 1, 2))
_pixels[:, :, 0, 0], _pixels[:, :, 0, 1] = [[1, -1], [1, -1]], [[3, 3], [-3, -3]]
assert np.isclose(_variety(_pixels), np.sqrt(0.1)), \
    f"a pixel with variance 1, all within groups, and one with variance 9, all between them: √(1 / 10) = 0.316, not " \
    f"{_variety(_pixels):.3f}. Average variances, not standard deviations"
assert np.isclose(_variety(_pixels + [0, 100]), np.sqrt(0.1)), \
    "a pixel that is brighter than another in all cells shows no variety: compute the variance over cells, at each pixel"
_groups = np.concatenate([same_red(red, 16, rng) for red in z[:12, :50]])
for _name, _network in (("separable", separable_generator), ("joint", joint_generator)):
    print(f"{_name}: {_variety(generate(_network, _groups)[..., 1].reshape(12, 16, 48, 80)):.2f}")
print("✓ exercise 3")

# %% [markdown]
r"""
## The star

The **star-shaped** generator (section 3.2) has one red tower with six green towers around it, each of which reads the
red features. Six critics judge it: critic $k$ sees pairs of red and green $k$, and real images of factor $k$. So each
critic sees only what a microscope can show, and yet the generator produces seven channels of one cell.

![Each critic compares real images of its factor with the red and its own green of the same generated cells](diagram_batch.png)
"""

# %% figure star
star, iterations = train("DCGAN-starshaped", 250)
cells = generate(star, z)
plt.figure(figsize=(11, 4.6))
plt.imshow(figures.sample_picture(cells[:5], images.factors, palette=COLOURS))
plt.axis("off")
plt.title(f"star after {iterations} iterations: one cell per row, with all six factors")
plt.show()

# %% [markdown]
r"""
After so few iterations this is a sketch. The star that BioGANs includes has twice the filters, saw 24,219 images, and was
trained for 16,000 iterations; it draws the same kind of cells:
"""

# %% figure included
included = load_generator(DATA.parent / "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.48_80.1.6.h5")
plt.figure(figsize=(11, 4.6))
plt.imshow(figures.sample_picture(included.generate(z[:5]), images.factors, palette=COLOURS))
plt.axis("off")
plt.title(f"the included star, after {included.metadata.iteration:,} iterations")
plt.show()

# %% [markdown]
r"""
Compare with the ground truth, which we have because these cells are simulated:
"""

# %% figure truth
true_cells, names, _ = joint.read_joint_cells(DATA / "joint_test.h5")
plt.figure(figsize=(11, 4.6))
plt.imshow(figures.sample_picture(true_cells[::12] / 127.5 - 1, names[1:], palette=COLOURS))
plt.axis("off")
plt.title("ground truth: simulated cells with all six factors")
plt.show()

# %% slide [markdown]
r"""
## Six proteins in one cell

![](included.png)

![](truth.png)
"""

# %% [markdown]
r"""
## Exercise 4: without a network

You can also do without a network: take a cell's red channel, search the images of each factor for the one with the most
similar red, and copy its green (Osokin et al. 2017, section 4.2, produced training images this way). Write the search.
Measure the similarity of two reds by the sum of the squared differences of their pixels.
"""

# %% exercise
# Exercise 4
def most_similar(red, reds):
    """Index of the image in `reds` (count, height, width) nearest to `red` (height, width); uint8 arrays."""
    ### BEGIN SOLUTION
    differences = reds.astype("float32") - red
    return int((differences ** 2).sum(axis=(1, 2)).argmin())
    ### HANDOUT
    # return 0        # your code instead of this line
    ### END SOLUTION


def borrow(red):
    """Cell (height, width, 7): this red and, for each factor, the green of the training image with the nearest red."""
    greens = []
    for k in range(len(images.factors)):
        candidates = images.pixels[images.labels == k]
        greens.append(candidates[most_similar(red, candidates[..., 0]), :, :, 1])
    return np.stack([red, *greens], axis=-1)

# %% check
_most_similar = checked(most_similar, shape=())
_reds = images.pixels[:300, :, :, 0]
assert _most_similar(_reds[17], _reds) == 17, "the image most similar to a cell's red is that red itself"
_ten = np.full((4, 4), 10, "uint8")
_two = lambda first, second: np.stack([np.full((4, 4), level, "uint8") for level in (first, second)])
assert _most_similar(_ten, _two(26, 8)) == 1, \
    "10 - 26 is 240 in uint8, and its square 0: convert to float32 before you subtract"
assert _most_similar(_ten, _two(200, 8)) == 1, \
    "the square of 10 - 200 is 36,100, which int16 can't hold: compute with float32"
_one = np.zeros((2, 4, 4), "uint8")
_one[0, 0, 0], _one[1] = 10, 2                  # squared differences 100 and 64, absolute ones 10 and 32
assert _most_similar(0 * _ten, _one) == 1, "one pixel that is off by 10 counts more than 16 that are off by 2: square"
_noisy = _reds[42].astype(int) + np.random.default_rng(0).integers(-20, 20, _reds[42].shape)
assert _most_similar(np.clip(_noisy, 0, 255).astype("uint8"), _reds) == 42, \
    "your search should find a red even with some noise"
print("✓ exercise 4")

# %% [markdown]
r"""
## What two-channel images can tell us, and what they can't

Now to the central question. From the images one can learn, for each factor, how green $k$ varies with red: the joint
distribution of (red, green $k$). Does that determine how green 1 varies with green 2? Take three numbers instead of
images: red has correlation $a$ with green 1, and $b$ with green 2. Which correlations $c$ of the two greens are
possible? A table of correlations is possible if and only if its determinant is not negative (and no correlation exceeds
1 in size):

$$ \det\begin{pmatrix} 1 & a & b \\ a & 1 & c \\ b & c & 1 \end{pmatrix} = 1 + 2abc - a^2 - b^2 - c^2 \ge 0. $$

## Exercise 5: the range

Solve for $c$: what are the smallest and the largest possible values?
"""

# %% slide [markdown]
r"""
## What two-channel images can't tell us

Red has correlation $a$ with green 1, and $b$ with green 2. How are green 1 and green 2 correlated?

$$ ab - \sqrt{(1 - a^2)(1 - b^2)} \;\le\; c \;\le\; ab + \sqrt{(1 - a^2)(1 - b^2)} $$

- $a = b = 0.9$: between 0.62 and 1. $\;a = b = 0.5$: between -0.5 and 1
- The more red determines, the less remains open. That is why the choice of the marker matters
- Within the range the *model* decides: are the greens independent given red? Do all towers share the same $z_g$?
"""

# %% exercise
# Exercise 5
def possible_range(a, b):
    """(smallest, largest) possible correlation of two greens whose correlations with red are a and b."""
    ### BEGIN SOLUTION
    room = np.sqrt((1 - a ** 2) * (1 - b ** 2))
    return a * b - room, a * b + room
    ### HANDOUT
    # return -1.0, 1.0        # your code instead of this line
    ### END SOLUTION

# %% check
_possible_range = checked(possible_range, shape=(2,),
                          hint="for a = 1 only c = b is possible, which a grid misses: solve for c on paper")
for _a, _b in ((0.9, 0.9), (0.5, 0.5), (0.8, -0.3), (1.0, 0.4)):
    _c = np.linspace(-1, 1, 20001)
    _possible = _c[1 + 2 * _a * _b * _c - _a ** 2 - _b ** 2 - _c ** 2 >= -1e-12]
    assert np.allclose(_possible_range(_a, _b), (_possible.min(), _possible.max()), atol=1e-3), \
        f"a = {_a}, b = {_b}: c is from {_possible.min():.3f} to {_possible.max():.3f}; yours: {_possible_range(_a, _b)}"
print(f"✓ exercise 5: with a = b = 0.9 the correlation of the greens is at least {_possible_range(0.9, 0.9)[0]:.2f}; "
      f"with a = b = 0.5 it can be anything from {_possible_range(0.5, 0.5)[0]:.2f} to 1")

# %% [markdown]
r"""
So the data do **not** determine how the factors vary together, except as far as red determines each of them. The model
decides the rest: the six towers of our star read the same features of red *and* the same $z_g$. So given red its greens
are neither independent nor fitted to any image: all of them are functions of one $z_g$, and no critic judges how they
vary together. The paper does not claim that the network measures what was never measured. Its claim is conditional:
*if* the stage of growth, which red shows, is what the factors have in common, then these are cells with all six. Where
a ground truth exists, we can test this.

## Exercise 6: test it

`joint.measure_cells` finds the cell in each image and measures, among other things, the correlations between channels over
the pixels of the cell. Compare the correlations of the greens (mean over cells) in true cells with those of four
candidates: our sketch, the included star, borrowed greens, and greens of random cells. Use the root mean square of the differences over the 15 pairs of greens.

**Predict first.** Rank the four candidates. Can a network that never saw two factors together be better than borrowed
greens, which are real?
"""

# %% exercise
# Exercise 6
def correlation_error(true_correlations, correlations):
    """Root mean square difference, over the pairs of greens, between mean correlations.

    Both arguments have shape (cells, channels, channels). Average over the cells first, and ignore channel 0, red.
    """
    ### BEGIN SOLUTION
    difference = true_correlations.mean(axis=0) - correlations.mean(axis=0)
    pairs = np.triu_indices(len(difference) - 1, 1)
    return np.sqrt((difference[1:, 1:][pairs] ** 2).mean())
    ### HANDOUT
    # return -1.0             # your code instead of this line
    ### END SOLUTION

# %% figure correlations
latents = rng.standard_normal((200, 100)).astype("float32")
as_bytes, of_included = (np.rint((cells + 1) * 127.5).astype("uint8")
                         for cells in (generate(star, latents), included.generate(latents)))
shuffled = true_cells.copy()
for channel in range(1, 7):
    shuffled[..., channel] = true_cells[rng.permutation(len(true_cells)), ..., channel]
sets = {"true cells": true_cells, "borrowed greens": np.stack([borrow(cell[..., 0]) for cell in true_cells]),
        "included star": of_included, "our sketch": as_bytes, "greens of random cells": shuffled}
measured = {name: joint.measure_cells(stack).correlations for name, stack in sets.items()}
figure, panels = plt.subplots(1, 5, figsize=(16, 3.6), layout="constrained")
for axes, (name, correlations) in zip(panels, measured.items()):
    shades = axes.imshow(correlations.mean(axis=0)[1:, 1:], cmap="PuOr_r", vmin=-1, vmax=1)
    axes.set_xticks(range(6), names[1:], rotation=45)
    axes.set_yticks(range(6), names[1:] if axes is panels[0] else [""] * 6)
    axes.set_title(f"{name}:\nerror {correlation_error(measured['true cells'], correlations):.3f}", fontsize=10)
figure.colorbar(shades, ax=panels, label="correlation")
plt.show()

# %% check
_correlation_error = checked(correlation_error, shape=())
_x = np.random.default_rng(0).uniform(-1, 1, (5, 4, 4))
assert np.isclose(_correlation_error(_x, _x), 0), "the error of a set with itself is 0"
_y = _x.copy()
_y[:, 0], _y[:, :, 0] = 0.3, 0.3
assert np.isclose(_correlation_error(_x, _y), 0), "red, channel 0, should not count"
_y = _x.copy()
_y[:, 1, 2] += 0.3
_y[:, 2, 1] += 0.3
assert np.isclose(_correlation_error(_x, _y), 0.3 / np.sqrt(3)), "one of three pairs differs by 0.3: the error is 0.173"
_product = joint.compare_cells(joint.measure_cells(true_cells), joint.measure_cells(as_bytes))["correlation_error"]
_star = _correlation_error(measured["true cells"], measured["our sketch"])
assert np.isclose(_star, _product, atol=2e-3), f"biogans evaluate finds {_product:.3f}, not {_star:.3f}"
print('✓ exercise 6: this is the column "correlations" of biogans evaluate')

# %% slide [markdown]
r"""
## Where a ground truth exists, test it

![](correlations.png)

Root mean square error over 15 pairs of factors that were never imaged together
"""

# %% [markdown]
r"""
After 250 iterations our sketch is behind borrowed greens, which are real, after all. The included star is a little ahead of
them. Neither reaches true cells, and for the same reason: red explains part of what two factors have in common, and that
part both have right. The rest, which true cells share *beyond* red, no image of these data shows, so no network can learn it
from them (`docs/atlas.md` measures both parts, pair by pair). What the star can do and borrowing can't: as many cells as
you like, of any red, without a copy in them.
"""

# %% quiz [markdown]
r"""
## Quiz

Four questions about what you have seen, each with one right answer. Enter the letters in the cell below: it explains
every answer, right or wrong.

**Question 1.** You give the joint network latent vectors whose first halves are equal. Why does red vary?

- **a)** Every layer reads all of the latent vector.
  ✓ In the joint network both colours come from the same features, so no part of the latent vector belongs to red. Only
    the separable network has a red tower that never reads the second half.
- **b)** The training was too short.
  ✗ The separable network was trained equally long and keeps red fixed. The difference lies in how the layers are
    connected.
- **c)** Red depends on green, because growth follows the factors.
  ✗ A network says nothing about cause and effect. It was built so that both colours come from the same features.

**Question 2.** What does one critic of the star-shaped network see?

- **a)** All seven channels of a generated cell.
  ✗ It would need real images with seven channels to compare with, and there are none.
- **b)** Pairs of two greens.
  ✗ No real image shows two factors, so there would be nothing to compare such pairs with.
- **c)** Pairs of red and the green of its factor.
  ✓ This is exactly what the microscope shows, so each critic has real images to compare with. The six greens meet only
    in the generator.

**Question 3.** Red has correlation 0.5 with each of two greens. Can these two have the correlation -0.5?

- **a)** Yes.
  ✓ Exercise 5 gives the range from -0.5 to 1. The less red determines, the less is known about how the greens vary
    together.
- **b)** No, since both grow with red.
  ✗ Each green also varies for other reasons, and these can pull the two apart. Only a correlation of ±1 with red leaves
    no room.

**Question 4.** A cell of the star shows Arp3 and Tea1 together. Where does their dependence, beyond what red explains,
come from?

- **a)** From the images.
  ✗ No image shows two factors, so none contains this dependence. More images of the same kind would not help either.
- **b)** From the model.
  ✓ The towers read the same features of red and the same noise, and no critic judges how the greens vary together. So it
    is an assumption, which only a ground truth or a new experiment can test.
- **c)** From exercise 6, which fits the correlations.
  ✗ Exercise 6 only measures correlations, after the training. Nothing in the training depends on it.
"""

# %% [markdown]
r"""
## To discuss

1. What would you expect the star to get wrong about two proteins that bind each other? About two that take turns at the
   same place?
2. The critics of the star see only pairs. Which experiment, with which microscope images, would test the network's
   prediction about Arp3 and Tea1?
3. Red first, green second: this order is an assumption. When is it wrong?
4. A colleague wants to publish an image of a cell with six proteins. What must the caption say?

## Sources

- Osokin, Chessel, Carazo Salas & Vaggi (2017), *GANs for biological image synthesis*,
  [arXiv:1708.04692](https://arxiv.org/abs/1708.04692)
- Dodgson et al. (2017), *Reconstructing regulatory pathways by systematically mapping protein localization
  interdependency networks*, [bioRxiv 116749](https://doi.org/10.1101/116749)
"""

# %% answer [markdown]
r"""
## For the instructor

**Timing** (45 minutes): data and exercise 1: 8; joint and separable with exercises 2 and 3: 15 (start the training runs
while you talk); star: 5; exercise 4: 5; exercises 5 and 6: 12.

**Answers.** 1: proteins that bind vary together beyond what red shows; proteins that take turns exclude each other.
Both are dependence given red, which no critic sees. 2: images of a strain with both proteins tagged (a third colour, or
Arp3 in the place of Bgs4); even a few test the prediction. 3: when the factor decides where the cell grows; perturbing
the factor then changes red. 4: that a network generated the image; from which data; that no two factors were imaged
together; and that the dependence between them, given the growth marker, is an assumption of the model.

**Numbers** vary with the machine. The variety of the separable network is usually well below that of the joint network.
"""

# %% slide [markdown]
r"""
## To discuss

1. What would the star get wrong about two proteins that bind each other? That take turns?
2. Which images would test its prediction about Arp3 and Tea1?
3. Red first, green second: when is that wrong?
4. What must the caption of an image with six proteins say?
"""
