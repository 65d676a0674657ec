"""The meaning of codes: Q's answers for labelled images, compared with k-means and principal components.

Training never sees the labels; they only serve to interpret its codes.
"""

import numpy as np

from ..core.codes import Label, decisiveness
from ..system.pixels import to_unit

COMPONENTS = 8                  # principal components, the baseline for continuous codes
SMALLEST = 1e-9


def accuracy(labels, clusters):
    """Fraction of images whose cluster is that of their label, under the best one-to-one assignment.

    labels, clusters   (images,) whole numbers from 0 on. Surplus clusters are assigned to no label.
    """
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((clusters.max() + 1, labels.max() + 1), int)
    np.add.at(table, (clusters, labels), 1)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / len(labels))


def mutual_information(labels, clusters):
    """Normalised mutual information 2 I / (H + H'): 1 if each determines the other, 0 if they are independent."""
    from sklearn.metrics import normalized_mutual_info_score
    return float(normalized_mutual_info_score(labels, clusters))


def rank_correlation(a, b):
    """Spearman's rho; 0 if either is constant."""
    from scipy.stats import spearmanr
    return 0.0 if np.ptp(a) < SMALLEST or np.ptp(b) < SMALLEST else float(spearmanr(a, b).statistic)


def measured(pixels):
    """{feature: (images,)} of uint8 images (images, height, width, channels), with which a code may correlate.

    Of each channel k, counted from 1:
    light k    sum of the differences to the background, the median of the border, over 255
    size k     number of pixels that differ from the background by more than a fifth of the greatest difference, the
               95th percentile over images
    focus k    variance of the Laplacian over the variance of the image: large for sharp detail
    """
    from scipy.ndimage import laplace

    result = {}
    for k, channel in enumerate(np.moveaxis(pixels, -1, 0).astype(np.float64), start=1):
        border = np.concatenate([channel[:, 0], channel[:, -1], channel[:, :, 0], channel[:, :, -1]], axis=1)
        difference = channel - np.median(border, axis=1)[:, None, None]
        threshold = np.quantile(np.abs(difference).max(axis=(1, 2)), 0.95) / 5
        sharp = laplace(channel, axes=(1, 2)).var(axis=(1, 2))
        result |= {f"light {k}": difference.sum(axis=(1, 2)) / 255,
                   f"size {k}": (np.abs(difference) > threshold).sum(axis=(1, 2)).astype(float),
                   f"focus {k}": sharp / np.maximum(channel.var(axis=(1, 2)), SMALLEST)}
    return result


def k_means(training, held_out, clusters, seed=0):
    """The cluster of each held-out image, (images,), by k-means on the training images; both are uint8."""
    from sklearn.cluster import KMeans

    model = KMeans(clusters, n_init=10, random_state=seed).fit(_flat(training))
    return model.predict(_flat(held_out))


def principal_components(training, held_out, number=COMPONENTS):
    """Coordinates (images, number) of held-out images along the axes in which the training images vary most."""
    from sklearn.decomposition import PCA

    number = min(number, len(training) - 1, training[0].size)
    return PCA(number, random_state=0, svd_solver="randomized").fit(_flat(training)).transform(_flat(held_out))


def _flat(pixels):
    return to_unit(pixels.reshape(len(pixels), -1))


def compare_codes(answers, codes, training, held_out, known=None):
    """A list of rows {name: value} that compare codes, and the baselines, with labels and features.

    answers            {code: answers} of Q for the held-out images (codes.read)
    training, held_out dataloader.Images
    known              further {feature: (images,)} of the held-out images (dataloader.read_manifest)

    Categorical codes and k-means have accuracy and mutual information with the labels; continuous codes and principal
    components the standard deviation of their values and the rank correlation with each feature.
    """
    rows, features = [], measured(held_out.pixels) | (known or {})
    for code in codes:
        answer = answers[code.name]
        if code.is_categorical:
            rows.append({"name": code.name, "clusters": code.size} | _agreement(held_out.labels, answer.argmax(axis=1))
                        | {"decisiveness": decisiveness(answer)})
        else:
            rows.append({"name": code.name, "spread": float(answer.std())} | _correlations(answer, features))
    sizes = {code.size for code in codes if code.is_categorical} | {len(held_out.factors)}
    for size in sorted(size for size in sizes if 1 < size < len(training.pixels)):
        rows.append({"name": f"k-means, {size}", "clusters": size}
                    | _agreement(held_out.labels, k_means(training.pixels, held_out.pixels, size)))
    for k, component in enumerate(principal_components(training.pixels, held_out.pixels).T):
        rows.append({"name": f"component {k + 1}", "spread": float(component.std())}
                    | _correlations(component, features))
    return rows


def category_labels(answers, codes, held_out):
    """{categorical code: the codes.Label of each category} from Q's answers for held-out images with labels.

    The label of a category is the most frequent one among the images that Q assigns to it. Two categories may have the
    same label: unlike for the accuracy, nothing forces them apart.
    """
    result = {}
    for code in codes:
        if code.is_categorical:
            chosen = answers[code.name].argmax(axis=1)
            counts = np.array([np.bincount(held_out.labels[chosen == k], minlength=len(held_out.factors))
                               for k in range(code.size)])
            result[code.name] = [Label(held_out.factors[count.argmax()], round(float(count.max() / count.sum()), 4),
                                       int(count.sum())) if count.any() else Label("", 0.0, 0) for count in counts]
    return result


def _agreement(labels, clusters):
    return {"accuracy": accuracy(labels, clusters), "mutual information": mutual_information(labels, clusters)}


def _correlations(values, features):
    return {name: rank_correlation(values, feature) for name, feature in features.items()}


def format_rows(rows):
    """Rows {name: value} as text: one table for clusters and one for continuous quantities."""
    blocks = []
    for block in ([row for row in rows if "accuracy" in row], [row for row in rows if "spread" in row]):
        names = list(dict.fromkeys(name for row in block for name in row))
        cells = [names] + [[_number_text(row.get(name)) for name in names] for row in block]
        widths = [max(map(len, column)) for column in zip(*cells)]
        blocks.append("\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths)) for line in cells))
    return "\n\n".join(filter(None, blocks))


def _number_text(value):
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
