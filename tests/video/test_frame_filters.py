"""The filters of preprocessing on images whose answer is known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from biogans.data import mitochondria
from biogans.video import frame_filters

RNG = np.random.default_rng(0)


def texture(side=128, sigma=3, seed=0):
    return 500 * gaussian_filter(np.random.default_rng(seed).standard_normal((side, side)), sigma)


def test_errors_of_drift_do_not_accumulate():
    """30 frames of a noisy image that moves 0.8 pixels per frame: at the end as accurate as at the beginning."""
    image, tracker, rng = texture(), frame_filters.Drift(), np.random.default_rng(1)
    for k in range(0, 60, 2):
        true = np.array([0.2, -0.35]) * k
        found = tracker.measure((shift(image, true, mode="wrap") + rng.normal(0, 5, image.shape)).astype(np.float32))
        np.testing.assert_allclose(found, true, atol=0.25)


def test_drift_survives_a_jump_and_ignores_what_moves_by_itself():
    rng, tracker = np.random.default_rng(2), frame_filters.Drift()
    image = texture(seed=3)
    for k in range(6):
        true = np.array([12.0, -9.0]) if k >= 3 else np.zeros(2)
        frame = shift(image, true, mode="wrap")
        frame[90:110, 20 + 3 * k:40 + 3 * k] += 100
        found = tracker.measure((frame + rng.normal(0, 3, image.shape)).astype(np.float32))
        np.testing.assert_allclose(found, true, atol=0.5)


def test_uniform_frames_have_no_drift():
    tracker = frame_filters.Drift()
    assert all(not tracker.measure(np.full((64, 64), 7, np.float32)).any() for _ in range(3))


@pytest.mark.parametrize("gain, read", [(3.0, 5.0), (0.0, 8.0)])
def test_noise_level_within_a_tenth(gain, read):
    """Photons and read noise on an image with structure; and read noise alone."""
    light = gaussian_filter(6000.0 * (RNG.random((256, 256)) > 0.99), 2) + 20
    image = 100 + (gain * RNG.poisson(light) if gain else light) + RNG.normal(0, read, light.shape)
    noise = frame_filters.estimate_noise(image)
    for mean in (np.quantile(light, 0.2), np.quantile(light, 0.95)):
        true = np.sqrt(gain ** 2 * mean + read ** 2)
        assert noise.sigma(100 + (gain or 1) * mean) == pytest.approx(true, rel=0.1)


def test_an_image_without_noise_is_not_filtered():
    image = np.zeros((64, 64), np.float32)
    image[20:40, 20:40] = 1
    noise = frame_filters.estimate_noise(image)
    assert noise.sigma(0.5) == 0 and np.array_equal(frame_filters.denoise(image, noise, 0.8), image)


def test_the_variance_is_stabilised_and_the_inverse_is_unbiased():
    noise = frame_filters.Noise(3.0, 3.0 * -100 + 25)
    for photons in (20, 200):
        counts = 100 + 3 * RNG.poisson(photons, (200, 200)) + RNG.normal(0, 5, (200, 200))
        even = frame_filters.stabilised(counts, noise)
        assert even.std() == pytest.approx(1, abs=0.03)
        assert frame_filters.unstabilised(np.full(1, even.mean()), noise)[0] == pytest.approx(counts.mean(), rel=0.005)


def test_denoising_removes_most_noise_and_keeps_the_structure():
    microscope, frames = mitochondria.simulate_video(0, 1, 1, (128, 128))
    frame = next(frames)
    image = frame.counts.astype(np.float32)
    noise = frame_filters.estimate_noise(image)
    clean = frame_filters.denoise(image, noise, 0.8)
    away = ~gaussian_filter(frame.mask.astype(float), 6).astype(bool)
    high = image - gaussian_filter(image, 1.5), clean - gaussian_filter(clean, 1.5)
    assert high[1][away].std() < 0.35 * high[0][away].std()
    assert clean[frame.mask].mean() == pytest.approx(image[frame.mask].mean(), rel=0.02)


def test_hot_pixels_are_replaced_and_points_of_light_are_not():
    """Also two hot pixels side by side; points as a microscope blurs them, in the light of few photons, stay."""
    rng, light = np.random.default_rng(5), np.zeros((128, 128))
    light[tuple(rng.integers(0, 128, (2, 30)))] = 1
    image = rng.poisson(100 + 900 * gaussian_filter(light, 1)).astype(np.float32)
    assert np.array_equal(frame_filters.without_hot_pixels(image), image)
    photons = rng.poisson(0.02, (128, 128)).astype(np.float32)
    assert np.array_equal(frame_filters.without_hot_pixels(photons), photons)
    hot, at = image.copy(), ([0, 60, 60, 100], [5, 70, 71, 127])
    hot[at] = 65535
    np.testing.assert_allclose(frame_filters.without_hot_pixels(hot)[at], image[at], atol=80)


def test_background_of_a_slope_with_spots_is_the_slope():
    slope = np.add.outer(np.linspace(0, 100, 128), np.linspace(50, 0, 128)).astype(np.float32)
    image = slope.copy()
    image[::16, ::16] += 500
    found = frame_filters.background(image, 16)
    assert np.abs(found - slope)[16:-16, 16:-16].max() < 12


def test_bleaching_is_undone_and_a_lost_focus_does_not_matter():
    levels = 300 * np.exp(-np.arange(40) / 25)
    levels[10:14] *= 0.3
    np.testing.assert_allclose(frame_filters.bleaching(levels), np.exp(np.arange(40) / 25), rtol=0.05)
    assert np.array_equal(frame_filters.bleaching([5.0]), [1.0])


@pytest.mark.parametrize("method", frame_filters.THRESHOLDS)
def test_every_threshold_separates_two_levels(method):
    image = RNG.normal(10, 1, (64, 64)).astype(np.float32)
    image[20:44, 20:44] += 90
    mask = image > frame_filters.threshold([image, image], method)
    assert mask[20:44, 20:44].mean() > 0.95 and mask.sum() < 64 * 64 / 4


def test_a_mask_has_no_small_pieces():
    image = np.zeros((32, 32))
    image[2:4, 2:4], image[10:20, 10:20] = 1, 1
    mask = frame_filters.foreground_mask(image, 0.5, 12)
    assert mask.sum() == 100 and mask[10:20, 10:20].all()


def test_sharpening_makes_edges_steeper_and_blur_lowers_sharpness():
    image = gaussian_filter((np.add.outer(np.arange(64), np.arange(64)) % 16 < 8).astype(np.float32), 1.5)
    assert np.abs(np.diff(frame_filters.sharpened(image, 1.5, 1.0))).max() > 1.2 * np.abs(np.diff(image)).max()
    mask = np.ones(image.shape, bool)
    assert frame_filters.sharpness(gaussian_filter(image, 2.5), mask) < 0.6 * frame_filters.sharpness(image, mask)
    assert frame_filters.sharpness(3 * image, mask) == pytest.approx(frame_filters.sharpness(image, mask))
