"""Maps of where in an image a critic's score comes from: integrated gradients and occlusion.

Images are uint8 (images, height, width, channels); a critic is a Keras model that maps images in [-1, 1] to scores.
"""

import numpy as np

from ..core import figures
from ..system.lazy import keras
from ..system.palettes import fitted
from ..system.pixels import to_signed, to_unit
from . import geometry

BATCH = 128
BASELINE = -1.0                         # the background: black
STEPS, MOST_STEPS = 32, 1024            # on the path from the baseline to an image
INCOMPLETE = 0.02                       # of the largest difference of scores: what attributions may miss
SHOWN = 3                               # images of each set in the figure


def score_images(critic, images):
    """Scores (images,) of uint8 images, or of floats in [-1, 1]. Batch normalisation uses its running averages."""
    images = to_signed(images) if images.dtype == np.uint8 else images
    return np.concatenate([critic.predict_on_batch(images[start:start + BATCH])
                           for start in range(0, len(images), BATCH)])


def integrated_gradients(critic, images, steps=STEPS):
    """Attributions, float32 of the shape of `images`: the contribution of each pixel and channel to the score.

    Sundararajan et al. (2017), eq. 1: (x - x') times the mean gradient of the score on the straight path from the
    baseline x', a black image, to x, here by the midpoint rule. They sum to score(x) - score(x') up to the error of the
    rule (their eq. 3, completeness).
    """
    from ..core.engine import input_gradient

    def inference(images, training):
        return critic(images, training=False)

    ends = to_signed(images)
    result = np.zeros_like(ends)
    for k, end in enumerate(ends):
        total = np.zeros_like(end)
        for start in range(0, steps, BATCH):
            part = (np.arange(start, min(start + BATCH, steps), dtype=np.float32) + 0.5) / steps
            points = BASELINE + part[:, None, None, None] * (end - BASELINE)
            total += np.asarray(input_gradient(inference, keras.ops.convert_to_tensor(points))).sum(axis=0)
        result[k] = (end - BASELINE) * total / steps
    return result


def completeness(critic, images, attributions):
    """|sum of the attributions - difference of the scores|, (images,), over the largest of these differences."""
    difference = score_images(critic, images) - score_images(critic, np.full_like(to_signed(images[:1]), BASELINE))
    return np.abs(attributions.sum(axis=(1, 2, 3)) - difference) / max(np.abs(difference).max(), 1e-6)


def complete_gradients(critic, images):
    """(attributions, largest gap, steps) with enough steps for a gap below 2 %, at most 1,024."""
    steps = STEPS
    while True:
        attributions = integrated_gradients(critic, images, steps)
        gap = float(completeness(critic, images, attributions).max())
        if gap < INCOMPLETE or steps == MOST_STEPS:
            return attributions, gap, steps
        steps *= 2


def squares(height, width):
    """[(rows, columns)], slices of overlapping squares: side a sixth of the shorter one, half a side apart."""
    side = max(2, min(height, width) // 6)
    starts = [sorted({*range(0, length - side, max(1, side // 2)), length - side}) for length in (height, width)]
    return [(slice(y, y + side), slice(x, x + side)) for y in starts[0] for x in starts[1]]


def occlusion(critic, images):
    """Fall of the score, (images, squares), when a square of the image becomes black in all channels.

    Zeiler & Fergus (2014), sec. 4.2.
    """
    visible = to_signed(images)
    falls = []
    for rows, columns in squares(*images.shape[1:3]):
        covered = visible.copy()
        covered[:, rows, columns] = BASELINE
        falls.append(score_images(critic, visible) - score_images(critic, covered))
    return np.stack(falls, axis=1)


def spread_over_pixels(falls, height, width):
    """(images, height, width): for each pixel the mean of `falls` (images, squares) over the squares that cover it."""
    total, count = np.zeros((len(falls), height, width), np.float32), np.zeros((height, width))
    for k, square in enumerate(squares(height, width)):
        total[(slice(None), *square)] += falls[:, k, None, None]
        count[square] += 1
    return total / count


class Maps:
    """Both maps of some images of each set: those with the highest, the middle and the lowest score.

    places         [(set, position)] of the images
    completeness   of the integrated gradients: the largest gap, over the largest difference of scores
    agreement      rank correlation of both maps over the squares, mean over the images; None if no map varies
    """

    def __init__(self, critic, sets, scores):
        """Compute them from {set: images} and {set: scores}."""
        self.places = [(name, int(np.argsort(-scores[name])[position]))
                       for name, images in sets.items()
                       for position in np.linspace(0, len(images) - 1, SHOWN).astype(int)]
        self.images = np.array([sets[name][k] for name, k in self.places])
        self.scores = [float(scores[name][k]) for name, k in self.places]
        self.attributions, self.completeness, self.steps = complete_gradients(critic, self.images)
        self.falls = occlusion(critic, self.images)
        self.agreement = self._agreement()

    def _agreement(self):
        from scipy.stats import spearmanr

        of_squares = np.stack([self.attributions[(slice(None), *square)].sum(axis=(1, 2, 3))
                               for square in squares(*self.images.shape[1:3])], axis=1)
        both = [spearmanr(mine, other).statistic for mine, other in zip(of_squares, self.falls) if np.ptp(other) > 0]
        return float(np.mean(both)) if both else None

    def draw(self, path, channel, captions):
        """Write a figure with one row for each image: the image, its outline and skeleton, and both maps.

        channel    position of the channel whose outline is drawn
        captions   lines beside each image
        """
        from matplotlib.figure import Figure

        height, width = self.images.shape[1:3]
        gradients, falls = self.attributions.sum(axis=-1), spread_over_pixels(self.falls, height, width)
        figure = Figure(figsize=(9.4, 0.35 + (0.1 + 1.8 * height / width) * len(self.images)), dpi=figures.DPI,
                        layout="constrained")
        panels = figure.subplots(len(self.images), 4, squeeze=False)
        for axes, title in zip(panels[0], ("image", "outline and skeleton", "integrated gradients", "occlusion")):
            axes.set_title(title, fontsize=10)
        images = to_unit(self.images)
        palette = fitted("red-green", images)
        for k, (name, _) in enumerate(self.places):
            image = images[k]
            panels[k, 0].imshow(figures.tile(image, palette))
            _draw_outline(panels[k, 1], image[..., channel])
            for axes, values in zip(panels[k, 2:], (gradients[k], falls[k])):
                _draw_map(axes, image[..., channel], values)
            panels[k, 0].set_ylabel(f"{name}\nscore {self.scores[k]:.3g}\n{captions[k]}", rotation=0, ha="right",
                                    va="center", fontsize=9, **figures.PLAIN)
        for axes in panels.flat:
            axes.set_xticks([])
            axes.set_yticks([])
        figures.write_figure(path, figure)


def _draw_outline(axes, channel):
    """Draw a channel (height, width) in [0, 1] with outline and skeleton of its bright structures."""
    from skimage.morphology import skeletonize

    axes.imshow(figures.gray(channel))
    mask = geometry.bright_pixels(channel)
    if mask.any():
        axes.contour(mask, [0.5], colors="#ff9e1a", linewidths=0.8)
        axes.plot(*np.argwhere(skeletonize(mask)).T[::-1], "s", color="#59b8ff", markersize=1.5)


def _draw_map(axes, channel, values):
    """Draw a map over a channel (height, width) in [0, 1], red where it raises the score, blue where it lowers it."""
    most = np.quantile(np.abs(values), 0.995) or 1
    axes.imshow(figures.gray(channel) * 0.5, vmin=0, vmax=1)
    shown = axes.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most, alpha=np.clip(np.abs(values) / most, 0, 1))
    axes.figure.colorbar(shown, ax=axes, shrink=0.7)
