"""Measures of shapes with known geometry."""

import numpy as np
import pytest

from biogans.evaluation import geometry

Y, X = np.mgrid[:80, :120]


def tube(path, radius, value=0.8):
    """An image (80, 120) of a tube around the points (n, 2), with one radius or one for each point."""
    distance = np.full(Y.shape, np.inf)
    for (y, x), r in zip(path, np.broadcast_to(radius, len(path))):
        distance = np.minimum(distance, np.hypot(Y - y, X - x) - r)
    return np.where(distance <= 0, value, 0.1)


def line(start, end, points=200):
    return np.linspace(start, end, points)


def circle(radius, turn=2 * np.pi):
    angle = np.linspace(0, turn, 400)
    return np.stack([40 + radius * np.sin(angle), 60 + radius * np.cos(angle)], axis=-1)


BAR = line((40, 20), (40, 100))


def test_a_straight_tube():
    """80 pixels between the ends of its axis, some of which the skeleton may lack; 9 pixels wide."""
    found = geometry.measure_image(tube(BAR, 4.5))
    assert found["length"] == pytest.approx(80, abs=6) and found["width"] == pytest.approx(9, abs=1)
    assert found["area"] == pytest.approx((80 * 9 + np.pi * 4.5 ** 2) / Y.size, rel=0.05)
    assert found["curvature"] == found["branching"] == 0 and found["beading"] < 0.02
    assert (found["regions"], found["intensity"], found["background"]) == pytest.approx((1, 0.8, 0.1))
    assert found["elongation"] > 0.85 and found["solidity"] > 0.97 and found["unevenness"] == pytest.approx(0)


@pytest.mark.parametrize("angle", [0.2, 0.5, 1.0, 2.5])
def test_rotated_tubes(angle):
    direction = 30 * np.array([np.sin(angle), np.cos(angle)])
    found = geometry.measure_image(tube(line((40, 60) - direction, (40, 60) + direction), 3))
    assert found["length"] == pytest.approx(60, rel=0.15) and found["curvature"] < 0.03


@pytest.mark.parametrize("radius", [15, 25, 35])
def test_the_curvature_of_an_arc_is_one_over_its_radius(radius):
    found = geometry.measure_image(tube(circle(radius, 3), 2.5))
    assert found["curvature"] == pytest.approx(1 / radius, rel=0.25)
    assert found["length"] == pytest.approx(3 * radius, rel=0.2)


def test_branches():
    cross = np.concatenate([BAR, line((5, 60), (75, 60))])
    one, none = geometry.measure_image(tube(cross, 3)), geometry.measure_image(tube(BAR, 3))
    assert one["branching"] == pytest.approx(100 / one["length"]) and none["branching"] == 0
    assert one["length"] == pytest.approx(150, abs=12)


def test_beads():
    straight = geometry.measure_image(tube(BAR, 4))["beading"]
    some, more = (geometry.measure_image(tube(BAR, 4 * (1 + size * np.sin(np.arange(200) / 8))))["beading"]
                  for size in (.2, .4))
    assert straight < 0.05 < some < more


def test_regions_and_unevenness():
    two = np.maximum(tube(line((20, 20), (20, 60)), 3), tube(line((60, 20), (60, 60)), 3, 0.6))
    found = geometry.measure_image(two)
    assert found["regions"] == 2 and found["unevenness"] == pytest.approx(0.1 / 0.7, rel=0.1)


def test_nothing_to_measure():
    for image in (np.zeros((48, 80)), np.ones((48, 80)), np.eye(8)[:2, :2] * 0 + 0.5):
        assert all(np.isnan(value) for value in geometry.measure_image(image).values())
    blob = np.zeros((40, 40))
    blob[10:13, 10:13] = 1
    found = geometry.measure_image(blob)
    assert found["area"] == 9 / 1600 and np.isnan(found["curvature"]) and np.isnan(found["beading"])


def test_many_images():
    images = np.array([tube(BAR, 3), np.zeros(Y.shape)])
    found = geometry.measure_images(images)
    assert found.keys() == geometry.MEASURES.keys()
    assert found["length"][0] == geometry.measure_image(images[0])["length"] and np.isnan(found["length"][1])
