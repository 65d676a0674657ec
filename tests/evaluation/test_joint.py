"""Measurements of cells with all channels: planted profiles, correlations and spots are recovered."""

import h5py
import numpy as np
import pytest

from biogans.evaluation import joint
from biogans.system.errors import InputError

ROWS, COLUMNS = 48, 80


def cells(count=6, length=50, correlation=0.0, seed=0):
    """Rods of `length` pixels. Channels: red, bright at the left end; two correlated ones; both tips; middle."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:ROWS, :COLUMNS]
    left = (COLUMNS - length) // 2
    inside = (np.abs(y - 24) < 10) & (x >= left) & (x < left + length)
    along = (x - left + 0.5) / length
    stack = np.zeros((count, ROWS, COLUMNS, 5))
    for image in stack:
        a, b = rng.standard_normal((2, ROWS, COLUMNS))
        image[..., 0] = 100 + 100 * (along < 0.2)
        image[..., 1] = 128 + 25 * a
        image[..., 2] = 128 + 25 * (correlation * a + np.sqrt(1 - correlation ** 2) * b)
        image[..., 3] = 60 + 120 * (np.abs(along - 0.5) > 0.4)
        image[..., 4] = 60 + 120 * (np.abs(along - 0.5) < 0.055)
        image *= inside[..., None]
    return np.clip(stack, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("correlation", [-0.6, 0.0, 0.8])
def test_a_planted_correlation_is_found(correlation):
    measured = joint.measure_cells(cells(correlation=correlation)).correlations
    assert measured[:, 1, 2] == pytest.approx(np.full(6, correlation), abs=0.12)
    assert np.allclose(measured[:, 0, 0], 1)


def test_planted_positions_are_found():
    """The outer tenths are the tips; the middle tenth has the nucleus of a short cell and the septum of a long one."""
    measured = joint.measure_cells(cells())
    zones = {zone: measured.profiles[..., positions].mean(axis=(0, -1)) for zone, positions in {
        "tips": [0, 1, 18, 19], "quarters": [4, 5, 14, 15], "middle": [9, 10]}.items()}
    tip, middle = 3, 4
    assert zones["tips"][tip] > 1.8 and zones["middle"][tip] < 0.8
    assert zones["middle"][middle] > 2 and zones["tips"][middle] < 0.9
    assert np.allclose([zones[zone][1] for zone in zones], 1, atol=0.05)
    assert np.allclose((measured.profiles[:, 1]).mean(axis=-1), 1, atol=0.02)


def test_profiles_start_at_the_tip_with_more_red():
    stack = cells()
    for image, turned in zip(joint.measure_cells(stack).profiles, joint.measure_cells(stack[:, :, ::-1]).profiles):
        assert image[0, 1] > 1.5 * image[0, -2]
        np.testing.assert_allclose(image[[0, 3]], turned[[0, 3]], atol=0.12)


@pytest.mark.parametrize("length", [40, 50, 70])
def test_the_length_is_found(length):
    assert joint.measure_cells(cells(length=length)).length == pytest.approx(np.full(6, length), abs=2)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_planted_spots_are_counted(count):
    y, x = np.mgrid[:ROWS, :COLUMNS]
    channel = np.full((ROWS, COLUMNS), 0.3)
    for k in range(count):
        channel += 0.4 * np.exp(-((y - 24) ** 2 + (x - 12 - 12 * k) ** 2) / 3)
    assert joint.count_spots(channel, np.ones((ROWS, COLUMNS), bool)) == count


def test_images_without_a_cell_are_left_out():
    stack = cells(3)
    stack[1] = 0
    assert len(joint.measure_cells(stack).length) == 2 and len(joint.measure_cells(stack[1:2]).length) == 0
    no_cell = joint.compare_cells(joint.measure_cells(stack), joint.measure_cells(stack[1:2]))
    assert np.isnan(no_cell["correlation_error"])


def test_errors_are_0_for_the_truth_and_as_large_as_planted_otherwise():
    long_and_short = np.concatenate([cells(length=length, seed=k) for k, length in enumerate((40, 55, 70))])
    truth = joint.measure_cells(long_and_short)
    same = joint.compare_cells(truth, truth)
    assert {same[name] for name in ("correlation_error", "profile_error", "spot_error")} == {0}
    correlated = joint.compare_cells(truth, joint.measure_cells(np.concatenate(
        [cells(length=length, correlation=0.6, seed=k) for k, length in enumerate((40, 55, 70))])))
    assert correlated["correlation_error"] == pytest.approx(0.6 / np.sqrt(6), abs=0.05)     # of one in six pairs
    assert correlated["profile_error"] < 0.03
    swapped = joint.compare_cells(truth, joint.measure_cells(long_and_short[..., [0, 1, 2, 4, 3]]))
    assert swapped["profile_error"] > 0.5


def test_borrowed_greens_are_those_of_other_cells_of_similar_red():
    red = np.repeat(np.arange(4, dtype=np.uint8) * 10, 3)
    stack = np.zeros((12, 4, 4, 3), np.uint8)
    stack[..., 0] = red[:, None, None]
    stack[..., 1:] = np.arange(12, dtype=np.uint8)[:, None, None, None]
    made = joint.borrow_greens(stack, 2, np.random.default_rng(0))
    assert np.array_equal(made[..., 0], stack[..., 0])
    donors = made[:, 0, 0, 1:].astype(int)
    assert (red[donors] == red[:, None]).all() and (donors != np.arange(12)[:, None]).all()
    far = joint.borrow_greens(stack, 12, np.random.default_rng(0))[:, 0, 0, 1:].astype(int)
    assert (red[far] != red[:, None]).any()


def test_files_that_are_no_stack_of_cells(tmp_path):
    for name, content in (("text.h5", b"nothing"), ("none.h5", None)):
        if content:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            joint.read_joint_cells(tmp_path / name)
    with h5py.File(tmp_path / "float.h5", "w") as file:
        file["stack"] = np.zeros((2, 3, 4, 5))
    with pytest.raises(InputError, match="float.h5"):
        joint.read_joint_cells(tmp_path / "float.h5")
