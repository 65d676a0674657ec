"""Torn cells: the measures of rods of known shape, the limits that true cells give, and what has no outlines."""

import numpy as np
import pytest

from biogans.core import c2st, dataloader
from biogans.data import yeast
from biogans.evaluation import outlines, rows, scoring

SIZE = 48, 80


def rod(length=50.0, width=18.0, angle=0.0, size=SIZE, point=0.0):
    """A rod (height, width) in [0, 1] with an edge of one pixel and hemispherical ends; one is longer by `point`."""
    y, x = np.mgrid[:size[0], :size[1]] - (np.array(size) / 2)[:, None, None]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    beyond = np.maximum(np.abs(along) - (length - width) / 2, 0)
    beyond = np.where(along > 0, beyond / (1 + 2 * point / width), beyond)
    return 0.5 * np.clip(width / 2 - np.hypot(beyond, across) + 0.5, 0, 1)


def torn_off(image, first, last):
    """The image with a gap between two columns."""
    result = image.copy()
    result[:, first:last] = 0
    return result


def true_cells(count, seed=5):
    """Red images of simulated cells, uint8 (count, 48, 80)."""
    found = []
    for index in range(count):
        rng = yeast.cell_rng(seed, 0, index)
        found.append(yeast.render(yeast.sample_cell(rng), ("Bgs4",), rng)[..., 0])
    return np.array(found)


@pytest.fixture(scope="module")
def cells():
    return true_cells(600)


@pytest.fixture(scope="module")
def true(cells):
    return outlines.calibrate(cells)


@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 2])
def test_a_rod_is_convex_in_one_piece_with_even_ends(angle):
    """In whatever direction it lies; the more pixels, the nearer to 0 the numbers are."""
    detached, concavity, unevenness = outlines.measure_outline(rod(angle=angle, size=(80, 80)))
    assert detached == 0 and concavity < 0.06 and unevenness < 0.2
    detached, concavity, unevenness = outlines.measure_outline(rod(250, 90, angle, (300, 300)))
    assert detached == 0 and concavity < 0.02 and unevenness < 0.1


def test_the_curvature_of_a_circle_is_that_of_its_radius():
    """Wherever in the image it lies; whole turns add up to 2 pi."""
    angle = np.arange(0, 2 * np.pi, 0.5 / 30)
    circle = np.array([400, 300]) + 30 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    for points in (circle, circle[::-1]):
        curvature = outlines.curvature_along(points)
        assert curvature == pytest.approx(np.full(len(angle), 1 / 30), rel=0.02)
        assert curvature.sum() / 2 == pytest.approx(2 * np.pi, rel=0.02)


def test_the_area_that_is_detached_is_found():
    whole = rod()
    gap = torn_off(whole, 20, 26)
    piece, rest = (gap[:, :20] > 0.25).sum(), (gap[:, 26:] > 0.25).sum()
    detached, _, unevenness = outlines.measure_outline(gap)
    assert detached == pytest.approx(piece / rest, rel=0.25)
    assert unevenness > 0.5                                     # the end that was cut off is flat, with two corners


def test_brightness_does_not_matter_but_haze_does():
    image = rod()
    np.testing.assert_allclose(outlines.measure_outline(image / 4), outlines.measure_outline(image), atol=1e-9)
    hazy = np.maximum(image, 0.2 * (rod(62) > 0.1))             # 40 % of the cell's brightness, 6 pixels beyond it
    assert outlines.measure_outline(hazy)[0] > 0.05


def test_pointed_and_dented_ends_are_uneven():
    even = outlines.measure_outline(rod())[2]
    pointed = [outlines.measure_outline(rod(point=point))[2] for point in (4, 8, 12)]
    assert even < pointed[0] < pointed[1] < pointed[2] and pointed[2] > 0.46
    dented = rod()
    dented[22:26, 62:] = 0
    assert outlines.measure_outline(dented)[2] > 0.6


def test_solidity_is_that_of_a_known_shape():
    """An L of three squares covers 3 / 3.5 of its convex hull."""
    image = np.zeros((80, 80))
    image[20:60, 20:40] = image[40:60, 20:60] = 1
    assert outlines.measure_outline(image)[1] == pytest.approx(1 - 3 / 3.5, abs=0.02)


def test_one_percent_of_true_cells_is_torn(cells, true):
    """Also of cells that the limits were not chosen for, up to chance."""
    assert 0.5 <= outlines.percent_torn(cells, true) <= 1.5
    assert 0.1 <= outlines.percent_torn(true_cells(700, seed=6), true) <= 2
    assert outlines.calibrate(cells) == true and true.cells == 600 and true.detached < 0.005


def test_torn_cells_are_counted(cells, true):
    """A third of these cells has a gap of 4 pixels; of three rods, two have a sharpened end."""
    images = np.array([torn_off(cell, 30, 34) if k % 3 == 0 else cell for k, cell in enumerate(cells[:90])])
    assert 33.3 <= outlines.percent_torn(images, true) <= 36.7
    sharp = np.rint(255 * np.array([rod(point=12), rod(angle=0.05, point=14), rod(42, 16)])).astype(np.uint8)
    assert outlines.percent_torn(sharp, true) == pytest.approx(200 / 3)
    assert outlines.percent_torn(np.zeros((4, *SIZE), np.uint8), true) == 100


def test_images_without_outlines_have_no_limits(cells):
    """Few images, bright backgrounds, cells that touch the frame, filaments, and noise."""
    rng = np.random.default_rng(0)
    assert outlines.calibrate(cells[:300]) is not None
    filaments = np.zeros_like(cells[:300])
    for image in filaments:
        for row, column in zip(rng.integers(4, 40, 4), rng.integers(4, 50, 4)):
            image[row:row + 2, column:column + 25] = image[4:44, column:column + 2] = 255
    for images in (cells[:150], 255 - cells[:300] // 2, cells[:300, 15:33], filaments,
                   rng.integers(0, 255, (300, *SIZE)).astype(np.uint8)):
        assert outlines.calibrate(images) is None


def test_red_needs_a_second_channel(cells, true):
    """Images of one channel, such as digits, have no red."""
    one = dataloader.Images(cells[..., None], np.zeros(len(cells), int), ("digits",))
    assert rows.find_outlines(one) is None
    two = dataloader.Images(np.stack([cells, cells], axis=-1), np.zeros(len(cells), int), ("Tea1",))
    assert rows.find_outlines(two) == true


def test_each_factor_of_real_images_is_counted(cells, true):
    """Its torn cells, and those of all images together."""
    torn = np.array([torn_off(cell, 30, 34) for cell in cells[:200]])
    pixels = np.concatenate([torn, cells[200:600]])[..., None].repeat(2, axis=-1)
    images = dataloader.Images(pixels, np.repeat([0, 1], [200, 400]), ("Alp14", "Tea1"))
    subject = c2st.Real(images, ("Alp14", "Tea1", c2st.EVERYTHING))
    found = scoring.torn_cells(subject, true, c2st.Split(0, 0))
    assert found["Alp14"] > 99 and found["Tea1"] < 2.5
    assert found[c2st.EVERYTHING] == pytest.approx((found["Alp14"] + 2 * found["Tea1"]) / 3)
