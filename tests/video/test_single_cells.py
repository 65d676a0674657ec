"""Single cells: they are found, separated, aligned and measured."""

import numpy as np
import pytest
from PIL import Image

from biogans.video.single_cells import FEATURES, align, find_cells, measure_cell


def ellipse(shape, centre, axes, angle):
    """A mask; `angle` (radians) from the right downwards."""
    y, x = np.indices(shape)
    along = (x - centre[1]) * np.cos(angle) + (y - centre[0]) * np.sin(angle)
    across = (y - centre[0]) * np.cos(angle) - (x - centre[1]) * np.sin(angle)
    return (along / axes[0]) ** 2 + (across / axes[1]) ** 2 <= 1


def test_touching_cells_are_separated_and_those_at_the_border_left_out():
    image = np.zeros((120, 120))
    for centre in ((40, 40), (40, 72), (90, 60), (118, 20)):
        image[ellipse(image.shape, centre, (18, 12), 0)] = 100
    image += np.random.default_rng(0).normal(10, 2, image.shape)
    labels = find_cells(image)
    found = [tuple(np.mean(np.nonzero(labels == label), axis=1).round().astype(int)) for label in np.unique(labels)[1:]]
    assert len(found) == 3
    for centre in ((40, 40), (40, 72), (90, 60)):
        assert min(np.hypot(y - centre[0], x - centre[1]) for y, x in found) < 3


def test_an_empty_image_has_no_cells():
    assert not find_cells(np.zeros((64, 64))).any()


@pytest.mark.parametrize("angle", [0, 30, 90, 135, 170])
def test_a_cell_is_rotated_and_centred(angle):
    mask = ellipse((100, 100), (55, 42), (30, 10), np.radians(angle))
    y, x = np.indices(mask.shape)
    end = (x - 42) * np.cos(np.radians(angle)) + (y - 55) * np.sin(np.radians(angle))
    pixels = np.stack([np.where(end > 15, 1.0, 0.3), np.ones(mask.shape)], axis=-1)
    level, whole = align(pixels, mask, (48, 80), face=True)
    assert level.shape == (48, 80, 2) and whole.sum() == pytest.approx(mask.sum(), rel=0.06)
    rows, columns = np.nonzero(whole)
    assert abs(rows.mean() - 23.5) < 0.5 and abs(columns.mean() - 39.5) < 0.5
    assert 58 <= np.ptp(columns) <= 62 and 18 <= np.ptp(rows) <= 22
    assert level[:, :20, 0].max() > 0.9 and level[:, 60:, 0].max() < 0.4    # the bright end is on the left
    assert not level[~whole].any()


def test_features_of_a_disc():
    mask = ellipse((60, 60), (30, 30), (20, 20), 0)
    found = dict(zip(FEATURES, measure_cell(np.where(mask, 0.5, 0.0), mask)))
    assert found["area"] == pytest.approx(np.pi * 400, rel=0.01) and found["length"] == pytest.approx(40, rel=0.02)
    assert found["eccentricity"] < 0.1 and found["solidity"] > 0.95 and found["roundness"] == pytest.approx(1, abs=0.1)
    assert (found["brightness"], found["contrast"], found["edge"]) == pytest.approx((0.5, 0, 1))


def test_real_cells_are_found(real_cells):
    """In the DNA (green) of an imaging flow cytometer there is a cell in the middle of nearly every image."""
    files = sorted(real_cells.rglob("*.png"))[::60]
    images = [np.asarray(Image.open(file))[..., 1].astype(float) for file in files]
    found = [len(np.unique(find_cells(image, smallest=40))) - 1 for image in images]
    assert np.mean(np.array(found) >= 1) > 0.8
