"""Agreement of codes with labels and features, in cases with known results."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from biogans.core import codes, dataloader
from biogans.evaluation import clusters


def test_accuracy_is_that_of_the_best_assignment():
    """Compared with a search through all assignments; names of clusters do not matter."""
    rng = np.random.default_rng(0)
    labels, found = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
    best = max(np.mean(np.array(names)[found] == labels) for names in itertools.permutations(range(4)))
    assert clusters.accuracy(labels, found) == pytest.approx(best)
    assert clusters.accuracy(labels, (labels + 1) % 4) == 1


def test_more_clusters_than_labels():
    """Each label has one cluster: if it is split, the smaller part counts as wrong."""
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert clusters.accuracy(labels, np.array([0, 0, 2, 1, 1, 1])) == pytest.approx(5 / 6)
    assert clusters.accuracy(labels, np.zeros(6, int)) == 0.5


def test_mutual_information():
    labels = np.repeat([0, 1], 50)
    assert clusters.mutual_information(labels, 1 - labels) == pytest.approx(1)
    assert clusters.mutual_information(labels, np.tile([0, 1], 50)) == pytest.approx(0, abs=1e-9)
    assert clusters.mutual_information(labels, np.repeat([0, 1, 2, 3], 25)) == pytest.approx(2 * 1 / (1 + 2))


def test_rank_correlation():
    x = np.random.default_rng(0).standard_normal(100)
    assert clusters.rank_correlation(x, np.exp(3 * x)) == pytest.approx(1)
    assert clusters.rank_correlation(x, -x ** 3) == pytest.approx(-1)
    assert clusters.rank_correlation(x, np.ones(100)) == 0


def discs(radii, brightness=200, blur=0.0, background=20):
    from scipy.ndimage import gaussian_filter
    y, x = np.indices((40, 40)) - 19.5
    images = np.array([np.where(np.hypot(y, x) < radius, brightness, background) for radius in radii], float)
    return np.rint(gaussian_filter(images, (0, blur, blur)))[..., None].astype(np.uint8)


def test_measured_size_light_and_focus():
    """Discs: area, sum of light above the background, and more detail if the edge is sharp."""
    found = clusters.measured(discs((5, 8, 11)))
    np.testing.assert_allclose(found["size 1"], np.pi * np.square([5, 8, 11]), rtol=0.05)
    np.testing.assert_allclose(found["light 1"], found["size 1"] * 180 / 255)
    sharp, dull = (clusters.measured(discs((8,), blur=blur))["focus 1"][0] for blur in (0.5, 2))
    assert sharp > 3 * dull
    dark = clusters.measured(discs((8,), brightness=20, background=128))
    assert dark["light 1"][0] < 0 and dark["size 1"][0] == pytest.approx(np.pi * 64, rel=0.05)


def images(number, seed):
    """Discs of two brightnesses, the labels, with random radii."""
    rng = np.random.default_rng(seed)
    labels, radii = rng.integers(0, 2, number), rng.uniform(4, 12, number)
    pixels = np.concatenate([discs((radius,), brightness=(90, 250)[label]) for radius, label in zip(radii, labels)])
    return dataloader.Images(pixels, labels, ("dim", "bright"), (1,)), radii


def test_perfect_and_useless_codes():
    """A category equal to the label, a code equal to the radius, and a code of noise."""
    (training, _), (held_out, radii) = images(300, 0), images(200, 1)
    noise = np.random.default_rng(2).uniform(-1, 1, 200)
    known = [codes.Code("c0", 5, 2), codes.Code("u0", 7, 1), codes.Code("u1", 8, 1)]
    answers = {"c0": np.eye(2)[1 - held_out.labels], "u0": -radii / 20, "u1": noise}
    rows = {row["name"]: row for row in clusters.compare_codes(answers, known, training, held_out, {"radius": radii})}
    assert rows["c0"]["accuracy"] == 1 and rows["c0"]["mutual information"] == pytest.approx(1)
    assert rows["u0"]["size 1"] < -0.95 and rows["u0"]["radius"] == pytest.approx(-1)
    assert abs(rows["u1"]["size 1"]) < 0.2 and rows["u1"]["spread"] == pytest.approx(noise.std())
    assert 0.5 <= rows["k-means, 2"]["accuracy"] < 1        # it depends on size as well as brightness
    assert abs(rows["component 1"]["light 1"]) > 0.9
    text = clusters.format_rows(list(rows.values()))
    assert "k-means, 2" in text and "component 1" in text


def test_k_means_finds_distant_groups():
    pixels = np.repeat(np.array([0, 120, 250], np.uint8), 20)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    found = clusters.k_means(pixels, pixels, 3)
    assert clusters.accuracy(np.repeat([0, 1, 2], 20), found) == 1


def test_a_category_has_the_label_of_most_of_its_images():
    """Two categories may share a label; one without images has none; continuous codes have no categories."""
    held_out = SimpleNamespace(labels=np.array([0, 0, 1, 1, 1, 2]), factors=("a", "b", "c"))
    answers = {"c0": np.eye(4)[[0, 0, 0, 1, 1, 1]], "u0": np.zeros(6)}
    assert clusters.category_labels(answers, [codes.Code("c0", 0, 4), codes.Code("u0", 4, 1)], held_out) == {
        "c0": [codes.Label("a", 0.6667, 3), codes.Label("b", 0.6667, 3), codes.Label("", 0, 0), codes.Label("", 0, 0)]}
