"""The model of mitochondria: reproducible videos, and a ground truth that holds."""

import numpy as np
import pytest

from biogans.data import mitochondria


@pytest.fixture(scope="module")
def video():
    microscope, frames = mitochondria.simulate_video(1, 0, 8, (96, 96))
    return microscope, list(frames)


def test_the_same_seed_makes_the_same_video(video):
    again = list(mitochondria.simulate_video(1, 0, 8, (96, 96))[1])
    other = list(mitochondria.simulate_video(2, 0, 8, (96, 96))[1])
    assert all(np.array_equal(one.counts, two.counts) for one, two in zip(video[1], again))
    assert not np.array_equal(video[1][0].counts, other[0].counts)


def test_the_camera_has_the_stated_noise(video):
    """Many exposures to even light have the mean and variance of photons times gain plus read noise."""
    microscope, _ = video
    photons = np.full((100, 100), 50.0)
    counts = mitochondria.expose(microscope, photons, np.random.default_rng(0)).astype(float)
    assert counts.mean() == pytest.approx(microscope.offset + microscope.gain * 50, rel=0.01)
    assert counts.var() == pytest.approx(microscope.gain ** 2 * 50 + microscope.read_noise ** 2, rel=0.06)


def test_masks_cover_bright_pixels(video):
    for frame in video[1]:
        counts = frame.counts.astype(float)
        assert 0.01 < frame.mask.mean() < 0.4
        assert counts[frame.mask].mean() > np.median(counts) + 3 * np.std(counts[~frame.mask]) / 2


def test_a_tube_has_its_diameter_and_moves_with_the_drift():
    tube = mitochondria.Tube(start=np.array([20.0, 10.0]), angles=np.zeros(30), brightness=1.0, wavelength=10.0,
                             phase=0.0, beading=0.0, tendency=0.0)
    light, mask = mitochondria.render_tubes([tube], (40, 60), np.zeros(2))
    assert mask[:, 25].sum() == 5 and light[20, 25] == pytest.approx(1)         # 2 * 2.6 pixels thick
    np.testing.assert_array_equal(mitochondria.render_tubes([tube], (40, 60), np.array([3, 4]))[1],
                                  np.roll(mask, (3, 4), (0, 1)))


def test_a_cut_leaves_two_tubes_with_a_gap_and_fused_tubes_begin_on_another():
    cell = mitochondria.Cell(np.random.default_rng(0), (160, 160))
    for tube in cell.tubes:
        if tube.parent is not None:
            assert np.hypot(*(tube.parent.points - tube.start).T).min() < 1e-9
    free = max((tube for tube in cell.tubes if tube.parent is None), key=lambda tube: len(tube.angles))
    before, number = len(free.angles), len(cell.tubes)
    cell.cut(free, 12)
    assert len(cell.tubes) == number + 1 and len(free.angles) == 12
    assert np.hypot(*(cell.tubes[-1].points[0] - free.points[-1])) > 2 and len(cell.tubes[-1].angles) <= before - 12
