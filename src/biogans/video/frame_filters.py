"""Filters and measurements of video frames: drift, background, bleaching, noise, edges, thresholds, sharpness.

An image is float32 (height, width). A shift is (down, right) in pixels.
"""

from typing import NamedTuple

import numpy as np

SMALL, LARGE = 1.5, 8.0                 # pixels: drift is measured from structures between these sizes
MEMORY = 0.1                            # smallest weight of the newest frame in the running reference
THRESHOLDS = ("otsu", "li", "triangle", "yen", "isodata")
PATCH, DISTANCE = 5, 5                  # of non-local means, in pixels: side of a patch, distance of compared patches
BINS = 1024                             # of histograms
RARE = 0.001                            # largest share of hot pixels in a frame
ALONE, EXTREME = 4, 3                   # brightness of a hot pixel: so many times its neighbours, and all others


# ---------------------------------------------------------------------------------------------- drift

class Drift:
    """Drift of each frame since the first, by cross-correlation with a running mean of the registered frames.

    Errors from frame to frame would accumulate; compared with the first frame, moving structures would soon be lost.
    Each frame is shifted back by the drift so far, then the remaining shift is measured: first in the whole image, then
    as the median over tiles, which structures that move by themselves do not bias.
    """

    tiles = 4                           # along each side, plus those halfway between neighbours

    def __init__(self):
        self.shift, self.reference, self.seen = np.zeros(2), None, 0

    def measure(self, image):
        """Drift (down, right) of the next frame, to 1/20 pixel."""
        detail = bandpass(image)
        detail = np.clip(detail, 0, np.quantile(detail, 0.95))      # so that the brightest structures do not dominate
        if self.reference is None:
            self.reference = np.zeros_like(detail)
        else:
            self.shift = self.shift + displacement(self.reference, shifted(detail, -self.shift))
            self.shift = self.shift + self._median_of_tiles(shifted(detail, -self.shift))
        self.seen += 1
        self.reference += max(1 / self.seen, MEMORY) * (shifted(detail, -self.shift) - self.reference)
        return self.shift.copy()

    def _median_of_tiles(self, detail):
        """Median displacement of the tiles that contain structure."""
        high, wide = (max(64, side // self.tiles) for side in detail.shape)
        enough = 0.3 * self.reference.std()
        shifts = []
        for top in range(0, detail.shape[0] - high + 1, high // 2):
            for left in range(0, detail.shape[1] - wide + 1, wide // 2):
                here = np.s_[top:top + high, left:left + wide]
                if self.reference[here].std() > enough and detail[here].std() > 0:
                    shifts.append(displacement(self.reference[here], detail[here]))
        return np.median(shifts, axis=0) if shifts else np.zeros(2)


def displacement(reference, image):
    """Shift (down, right) from `reference` to `image`, to 1/20 pixel (Guizar-Sicairos 2008)."""
    from skimage.registration import phase_cross_correlation
    window = np.hanning(len(image))[:, None] * np.hanning(image.shape[1])       # hides differences at the borders
    if not (reference.any() and image.any()):
        return np.zeros(2)
    return -phase_cross_correlation(reference * window, image * window, upsample_factor=20, normalization=None)[0]


def bandpass(image):
    """Band-pass filter: suppress noise and background."""
    from scipy.ndimage import gaussian_filter
    return gaussian_filter(image, SMALL) - gaussian_filter(image, LARGE)


def shifted(image, shift):
    """Image shifted by cubic splines; its edge values are repeated where nothing is known."""
    from scipy.ndimage import shift as spline_shift
    return spline_shift(image, shift, order=3, mode="nearest") if np.any(shift) else image


# ---------------------------------------------------------------------------------------------- light

def without_hot_pixels(image):
    """Image with hot pixels of the camera replaced by the median of their neighbours.

    A hot pixel is far brighter than all but a thousandth of the frame, and than its neighbours, which a point of light
    that is blurred by the microscope never is. Two hot pixels may be neighbours.
    """
    level, white = np.quantile(image, [0.5, 1 - RARE])
    rows, columns = np.nonzero(image - level > EXTREME * (white - level))
    padded = np.pad(image, 1, mode="reflect")
    around = np.sort([padded[rows + down, columns + right] for down in range(3) for right in range(3)
                      if (down, right) != (1, 1)], axis=0)
    hot = image[rows, columns] - level > ALONE * (around[-2] - level)
    cured = image.copy()
    cured[rows[hot], columns[hot]] = np.median(around[:, hot], axis=0)
    return cured


def background(image, size):
    """Background of an image: lower quartiles of tiles of `size` pixels, median-filtered and interpolated."""
    from scipy.ndimage import gaussian_filter, map_coordinates, median_filter
    smooth = gaussian_filter(image, 2.0)
    rows, columns = (np.array_split(np.arange(side), max(1, round(side / size))) for side in image.shape)
    tiles = np.array([[np.quantile(smooth[row[0]:row[-1] + 1, column[0]:column[-1] + 1], 0.25) for column in columns]
                      for row in rows], np.float32)
    tiles = median_filter(tiles, 3, mode="nearest")
    at = [np.interp(np.arange(side), [part.mean() for part in parts], np.arange(len(parts)))
          for side, parts in zip(image.shape, (rows, columns))]
    return map_coordinates(tiles, np.meshgrid(*at, indexing="ij"), order=1, mode="nearest").astype(np.float32)


def foreground_brightness(image):
    """Brightness of the structures: mean of the brightest twentieth, less the median."""
    from scipy.ndimage import gaussian_filter
    smooth = gaussian_filter(image, SMALL)
    return float(smooth[smooth >= np.quantile(smooth, 0.95)].mean() - np.median(smooth))


def bleaching(levels):
    """Factors, 1 for the first frame, that undo an exponential decay of `levels` (robust slope: Sen 1968)."""
    from scipy.stats import theilslopes
    levels = np.asarray(levels)
    times = np.unique(np.linspace(0, len(levels) - 1, min(len(levels), 400)).astype(int))
    times = times[levels[times] > 0]
    slope = theilslopes(np.log(levels[times]), times)[0] if len(times) > 2 else 0.0
    return np.exp(-min(slope, 0.0) * np.arange(len(levels)))


# ---------------------------------------------------------------------------------------------- noise

class Noise(NamedTuple):
    """Noise of variance gain x + base at a mean of x: from photons and from the camera."""

    gain: float
    base: float

    def sigma(self, mean):
        """Standard deviation at `mean`."""
        return np.sqrt(np.maximum(self.gain * mean + self.base, 0))


def estimate_noise(image):
    """Estimate the Noise of an image from its response to a mask that suppresses smooth structure.

    As Immerkaer (1996), but from fourth differences, whose medians ignore remaining structure, and with a variance that
    is linear in the brightness, as for photons (Foi et al. 2008).
    """
    from scipy.ndimage import convolve, uniform_filter
    mask = np.outer([1, -4, 6, -4, 1], [1, -4, 6, -4, 1]).astype(np.float32) / 70
    image = image.astype(np.float32)
    response, mean = (each[2:-2, 2:-2].ravel() for each in (np.abs(convolve(image, mask)), uniform_filter(image, 5)))
    order = np.argsort(mean)
    groups = [part for part in np.array_split(order, 40) if len(part) >= 50]
    means = np.array([mean[part].mean() for part in groups])
    variances = np.array([(np.median(response[part]) / 0.6745) ** 2 for part in groups])
    return fit_noise(means, variances)


def fit_noise(means, variances):
    """Fit a Noise to points (mean, variance), assuming that uncertainty is proportional to the variance."""
    if variances.max(initial=0) <= 1e-10 * np.max(means ** 2, initial=0):           # rounding errors
        return Noise(0.0, 0.0)
    weights = 1 / np.maximum(variances, max(variances.max(initial=0), 1e-12) * 1e-3)
    if len(means) > 1 and np.ptp(means) > 0:
        gain, base = np.polyfit(means, variances, 1, w=weights)
        if gain > 0:
            return Noise(float(gain), float(base))
    return Noise(0.0, float(np.average(variances, weights=weights)) if len(means) else 0.0)


def denoise(image, noise, strength):
    """Filter an image by non-local means (Buades et al. 2005) after stabilising its variance (Anscombe 1948).

    strength    of the filter, in standard deviations of the noise
    """
    from skimage.restoration import denoise_nl_means
    even = stabilised(image, noise)
    if even is None:
        return image
    clean = denoise_nl_means(even, patch_size=PATCH, patch_distance=DISTANCE, h=strength, sigma=1.0, fast_mode=True,
                             preserve_range=True)
    return unstabilised(clean, noise)


def stabilised(image, noise):
    """Image transformed to a noise of standard deviation 1 everywhere; None if it has no noise."""
    if noise.gain == 0:
        return (image / np.sqrt(noise.base)).astype(np.float32) if noise.base > 0 else None
    return (2 / noise.gain * np.sqrt(np.maximum(noise.gain * image + noise.base + 0.375 * noise.gain ** 2, 0))
            ).astype(np.float32)


def unstabilised(even, noise):
    """Inverse of `stabilised`, unbiased for more than a few photons."""
    if noise.gain == 0:
        return even * np.float32(np.sqrt(noise.base))
    return (noise.gain * even ** 2 / 4 - noise.base / noise.gain - noise.gain / 8).astype(np.float32)


# ---------------------------------------------------------------------------------------------- structures

def sharpened(image, sigma, weight):
    """Image with enhanced edges: minus `weight` sigma² times its Laplacian at scale `sigma`, clipped at 0."""
    from scipy.ndimage import gaussian_laplace
    return np.maximum(image - weight * sigma ** 2 * gaussian_laplace(image, sigma), 0)


def threshold(images, method):
    """One threshold for all `images`, by one of the methods THRESHOLDS."""
    from skimage import filters
    values = np.concatenate([image.ravel() for image in images])
    if values.min() == values.max():
        return float(values.max())
    if method == "li":
        return float(filters.threshold_li(values))
    counts, edges = np.histogram(values, BINS)
    if method == "triangle":
        return float(filters.threshold_triangle(values, nbins=BINS))
    return float(getattr(filters, f"threshold_{method}")(hist=(counts, (edges[:-1] + edges[1:]) / 2)))


def foreground_mask(image, above, smallest):
    """Mask of connected regions of at least `smallest` pixels that are brighter than `above`."""
    from scipy.ndimage import label
    pieces, _ = label(image > above, np.ones((3, 3)))
    large = np.bincount(pieces.ravel()) >= smallest
    large[0] = False
    return large[pieces]


def sharpness(image, mask):
    """Fine detail within `mask`, relative to the brightness there; small if out of focus."""
    from scipy.ndimage import gaussian_laplace
    if not mask.any():
        return 0.0
    return float(np.sqrt(np.mean(gaussian_laplace(image, SMALL)[mask] ** 2) / max(np.mean(image[mask] ** 2), 1e-12)))
