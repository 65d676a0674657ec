"""The steps of preprocessing, on images whose answer is known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from biogans.data import simulate_videos
from biogans.video import steps

RNG = np.random.default_rng(0)


def texture(side=128, sigma=3, seed=0):
    return 500 * gaussian_filter(np.random.default_rng(seed).standard_normal((side, side)), sigma)


def test_drift_of_a_noisy_moving_image_does_not_add_up():
    """60 frames, 0.4 pixels each: to a tenth of a pixel at the end, as at the beginning."""
    image, tracker, rng = texture(), steps.Drift(), np.random.default_rng(1)
    for k in range(0, 60, 2):
        true = np.array([0.2, -0.35]) * k
        found = tracker.measure((shift(image, true, mode="wrap") + rng.normal(0, 5, image.shape)).astype(np.float32))
        np.testing.assert_allclose(found, true, atol=0.25)


def test_drift_survives_a_jump_and_ignores_what_moves_by_itself():
    rng, tracker = np.random.default_rng(2), steps.Drift()
    image = texture(seed=3)
    for k in range(6):
        true = np.array([12.0, -9.0]) if k >= 3 else np.zeros(2)
        frame = shift(image, true, mode="wrap")
        frame[90:110, 20 + 3 * k:40 + 3 * k] += 100
        found = tracker.measure((frame + rng.normal(0, 3, image.shape)).astype(np.float32))
        np.testing.assert_allclose(found, true, atol=0.5)


def test_drift_of_even_frames_is_none():
    tracker = steps.Drift()
    assert all(not tracker.measure(np.full((64, 64), 7, np.float32)).any() for _ in range(3))


@pytest.mark.parametrize("gain, read", [(3.0, 5.0), (0.0, 8.0)])
def test_noise_level_to_a_tenth(gain, read):
    """Photons and read noise, on an image with structure; and read noise alone."""
    light = gaussian_filter(6000.0 * (RNG.random((256, 256)) > 0.99), 2) + 20
    image = 100 + (gain * RNG.poisson(light) if gain else light) + RNG.normal(0, read, light.shape)
    noise = steps.estimate_noise(image)
    for mean in (np.quantile(light, 0.2), np.quantile(light, 0.95)):
        true = np.sqrt(gain ** 2 * mean + read ** 2)
        assert noise.sigma(100 + (gain or 1) * mean) == pytest.approx(true, rel=0.1)


def test_an_image_without_noise_is_not_filtered():
    image = np.zeros((64, 64), np.float32)
    image[20:40, 20:40] = 1
    noise = steps.estimate_noise(image)
    assert noise.sigma(0.5) == 0 and np.array_equal(steps.denoise(image, noise, 0.8), image)


def test_the_noise_is_made_even_and_the_way_back_is_unbiased():
    noise = steps.Noise(3.0, 3.0 * -100 + 25)
    for photons in (20, 200):
        counts = 100 + 3 * RNG.poisson(photons, (200, 200)) + RNG.normal(0, 5, (200, 200))
        even = steps.stabilised(counts, noise)
        assert even.std() == pytest.approx(1, abs=0.03)
        assert steps.unstabilised(np.full(1, even.mean()), noise)[0] == pytest.approx(counts.mean(), rel=0.005)


def test_denoising_removes_most_noise_and_keeps_the_structure():
    microscope, frames = simulate_videos.simulate_video(0, 1, 1, (128, 128))
    frame = next(frames)
    image = frame.counts.astype(np.float32)
    noise = steps.estimate_noise(image)
    clean = steps.denoise(image, noise, 0.8)
    away = ~gaussian_filter(frame.mask.astype(float), 6).astype(bool)
    high = image - gaussian_filter(image, 1.5), clean - gaussian_filter(clean, 1.5)
    assert high[1][away].std() < 0.35 * high[0][away].std()
    assert clean[frame.mask].mean() == pytest.approx(image[frame.mask].mean(), rel=0.02)


def test_background_of_a_slope_with_spots_is_the_slope():
    slope = np.add.outer(np.linspace(0, 100, 128), np.linspace(50, 0, 128)).astype(np.float32)
    image = slope.copy()
    image[::16, ::16] += 500
    found = steps.background(image, 16)
    assert np.abs(found - slope)[16:-16, 16:-16].max() < 12


def test_bleaching_is_undone_and_a_lost_focus_does_not_matter():
    levels = 300 * np.exp(-np.arange(40) / 25)
    levels[10:14] *= 0.3
    np.testing.assert_allclose(steps.bleaching(levels), np.exp(np.arange(40) / 25), rtol=0.05)
    assert np.array_equal(steps.bleaching([5.0]), [1.0])


@pytest.mark.parametrize("method", steps.THRESHOLDS)
def test_every_threshold_tells_two_levels_apart(method):
    image = RNG.normal(10, 1, (64, 64)).astype(np.float32)
    image[20:44, 20:44] += 90
    mask = image > steps.threshold([image, image], method)
    assert mask[20:44, 20:44].mean() > 0.95 and mask.sum() < 64 * 64 / 4


def test_a_mask_has_no_small_pieces():
    image = np.zeros((32, 32))
    image[2:4, 2:4], image[10:20, 10:20] = 1, 1
    mask = steps.mask_of(image, 0.5, 12)
    assert mask.sum() == 100 and mask[10:20, 10:20].all()


def test_sharpening_makes_edges_steeper_and_sharpness_tells_blur():
    image = gaussian_filter((np.add.outer(np.arange(64), np.arange(64)) % 16 < 8).astype(np.float32), 1.5)
    assert np.abs(np.diff(steps.sharpened(image, 1.5, 1.0))).max() > 1.2 * np.abs(np.diff(image)).max()
    mask = np.ones(image.shape, bool)
    assert steps.sharpness(gaussian_filter(image, 2.5), mask) < 0.6 * steps.sharpness(image, mask)
    assert steps.sharpness(3 * image, mask) == pytest.approx(steps.sharpness(image, mask))
