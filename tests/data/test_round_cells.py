"""Simulated round cells: their known properties show in their pixels."""

import dataclasses

import numpy as np
import pytest

from biogans.data import round_cells
from biogans.evaluation import clusters


def at(t, seed=0, **changes):
    rng = np.random.default_rng(seed)
    return dataclasses.replace(round_cells.sample_cell(rng, t), **changes)


def test_a_cell_is_a_function_of_seed_and_position():
    images, cells = round_cells.sample(3, 5)
    again, _ = round_cells.sample(2, 5)
    assert images.shape == (3, 40, 40, 2) and images.dtype == np.uint8 and np.array_equal(images[:2], again)
    assert len({cell.t for cell in cells}) == 3 and all(0 <= cell.t <= 1 for cell in cells)


def test_dna_doubles_in_synthesis():
    light = [np.mean([clusters.measured(round_cells.render(at(t, seed), np.random.default_rng(seed))[None])["light 2"]
                      for seed in range(20)]) for t in (0.1, 0.4, 0.7, 0.85)]
    assert light[1] == pytest.approx(light[0], rel=0.05) and light[3] == pytest.approx(light[2], rel=0.05)
    assert light[2] == pytest.approx(2 * light[1], rel=0.08)


def test_volume_doubles():
    radii = [np.mean([at(t, seed).radius for seed in range(50)]) for t in (0.0, 1.0)]
    assert radii[1] / radii[0] == pytest.approx(2 ** (1 / 3), rel=0.02)
    images = [round_cells.render(at(t, elongation=1.0, focus=0.2), np.random.default_rng(0)) for t in (0.0, 0.9)]
    small, large = (clusters.measured(image[None])["size 1"][0] for image in images)
    assert large > 1.2 * small


def test_the_plate_and_its_division():
    """DNA lies across the long axis before anaphase, and in two parts along it at the end."""
    y, x = np.indices((40, 40)) - 19.5

    def spread(t):
        cell = at(t, angle=0.0, centre=(0, 0), focus=0)
        dna = round_cells.render(cell, np.random.default_rng(1))[..., 1].astype(float)
        dna[dna < 10] = 0                   # the background
        return [np.sqrt((dna * side ** 2).sum() / dna.sum()) for side in (x, y)]
    (nucleus_along, nucleus_across), (along, across), (apart, _) = spread(0.5), spread(0.94), spread(1.0)
    assert nucleus_along == pytest.approx(nucleus_across, rel=0.15) and along < 0.8 * across and apart > 1.3 * along


def test_phases_in_order():
    assert [round_cells.phase(t) for t in (0, 0.41, 0.43, 0.7, 0.9, 1.0)] == [
        "G1", "G1", "S_phase", "G2", "Mitosis", "Mitosis"]
