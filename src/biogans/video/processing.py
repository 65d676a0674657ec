"""Frames of a video, processed step by step into images of standardised brightness."""

from typing import NamedTuple

import numpy as np

from ..io.intensities import Intensities
from ..system.errors import InputError
from . import frame_filters
from .settings import ImageSettings

STEPS = ("drift", "background", "bleaching", "denoise", "edges", "threshold", "standardise")
SAMPLE = 5                              # frames of a video from which its threshold and brightness are estimated
NOISE_FRAMES = 8                        # frames from which its noise is estimated
BRIGHTEST = 0.995                       # quantile of the structures' brightness that becomes white
RIM = 2                                 # pixels around a mask that are kept: the blurred flank of a structure


class Recipe(NamedTuple):
    """How a video is processed: the settings, and the names of the steps to apply."""

    settings: ImageSettings
    steps: tuple


class Measurements(NamedTuple):
    """Properties of a video that are measured before its frames are changed.

    drift       (frames, 2): down and right since the first frame
    gain        (frames,): factors that undo bleaching
    noise       frame_filters.Noise of each channel
    typical     background brightness of each channel as stored, at which the noise level is reported
    """

    drift: np.ndarray
    gain: np.ndarray
    noise: list
    typical: list


class Reference(NamedTuple):
    """Values shared by all frames of a video: threshold of the first channel, white of each, typical sharpness."""

    threshold: float
    white: list
    sharpness: float


class Example(NamedTuple):
    """The frame in the middle of a video, for the contact sheet.

    number      of the frame
    stages      {step: first channel after it}, with "raw" before all steps
    images      all channels after the steps
    ends        (first, last): first channel of these frames, without hot pixels
    """

    number: int
    stages: dict
    images: list
    ends: tuple


def recipe_for(video, settings):
    """Recipe of a video: all steps but those left out, and neither drift nor bleaching for the slices of a z stack."""
    left_out = {*settings.without, *(("drift", "bleaching") if video.is_depth else ())}
    return Recipe(settings, tuple(name for name in STEPS if name not in left_out))


def measure_video(video, recipe):
    """Measurements of a video, in one pass over its frames. Raises InputError if it can't be used."""
    tracker, drift, levels, noise, typical = frame_filters.Drift(), [], [], [], []
    every = max(1, (video.length or 0) // NOISE_FRAMES)
    for number, frame in video.frames():
        _check_size(video, frame, recipe.settings.size)
        image = frame_filters.without_hot_pixels(frame[0].astype(np.float32))
        drift.append(tracker.measure(image) if "drift" in recipe.steps else np.zeros(2))
        levels.append(frame_filters.foreground_brightness(image))
        if number % every == 0 and (video.length or len(noise) < NOISE_FRAMES):
            noise.append([frame_filters.estimate_noise(channel) for channel in frame])
            typical.append([float(np.median(channel)) for channel in frame])
    if max(levels) <= 0:
        raise InputError(f"{video.path}: nothing to see in this video, as all its frames are uniform: remove it")
    gain = frame_filters.bleaching(levels) if "bleaching" in recipe.steps else np.ones(len(levels))
    noise = [frame_filters.Noise(*np.median(each, axis=0)) for each in zip(*noise)]
    return Measurements(np.array(drift), gain, noise, np.median(typical, axis=0).tolist())


def _check_size(video, frame, size):
    if frame[0].size == 0 or min(frame.shape[1:]) < max(size):
        raise InputError(f"{video.path}: frames of {frame.shape[1]}x{frame.shape[2]} pixels are smaller than a crop of "
                         f"{size[0]}x{size[1]}: lower --size, or give the order of the axes with --axes")


def estimate_reference(video, measurements, recipe):
    """(Reference, Example) from a few frames spread over the video; without structures the Example is None."""
    wanted = sorted(set(np.linspace(0, len(measurements.drift) - 1, SAMPLE).astype(int).tolist()))
    middle = wanted[len(wanted) // 2]
    sample, stages, ends = {}, {}, {}
    for number, frame in video.frames(wanted):
        sample[number] = clean(frame, number, measurements, recipe, stages if number == middle else None)
        if number in (wanted[0], wanted[-1]):
            ends[number] = frame_filters.without_hot_pixels(frame[0].astype(np.float32))
    settings, frames = recipe.settings, list(sample.values())
    above = frame_filters.threshold([images[0] for images in frames], settings.threshold)
    masks = [frame_filters.foreground_mask(images[0], above, settings.smallest) for images in frames]
    if not any(mask.any() for mask in masks):
        return Reference(above, [1.0] * len(frames[0]), 0.0), None
    inside = [np.concatenate([images[k][mask] for images, mask in zip(frames, masks)]) for k in range(len(frames[0]))]
    white = [max(1e-12, float(np.quantile(values, BRIGHTEST))) for values in inside]
    sharp = np.median([frame_filters.sharpness(images[0], mask) for images, mask in zip(frames, masks) if mask.any()])
    example = Example(middle, stages, sample[middle], (ends[wanted[0]], ends[wanted[-1]]))
    return Reference(above, white, float(sharp)), example


def clean(frame, number, measurements, recipe, stages=None):
    """Apply the steps up to the edges to each channel of a frame: a list of float32 (height, width), registered.

    stages      a dict that receives the first channel after each step

    The frame is shifted after denoising, because interpolation correlates the noise of neighbours, which non-local
    means would take for structure.
    """
    settings, images = recipe.settings, []
    for k, image in enumerate(frame):
        seen = stages if k == 0 and stages is not None else {}
        image = image.astype(np.float32)
        seen["raw"] = image
        raw = image = frame_filters.without_hot_pixels(image)
        below = frame_filters.background(image, settings.background)
        if "denoise" in recipe.steps:
            image = frame_filters.denoise(image, measurements.noise[k], settings.strength)
            seen["denoise"] = image
        if "background" in recipe.steps:
            seen["background"] = raw - below
            image = image - below
        image = image * np.float32(measurements.gain[number])
        image = frame_filters.shifted(image, -measurements.drift[number])
        if "edges" in recipe.steps:
            image = frame_filters.sharpened(image, settings.edge_scale, settings.edges)
            seen["edges"] = image
        images.append(image)
    return images


def structure_mask(images, reference, settings):
    """Mask (height, width) of the structures in the channels of a cleaned frame."""
    return frame_filters.foreground_mask(images[0], reference.threshold, settings.smallest)


def to_output(images, mask, reference, recipe):
    """Mask the channels of a cleaned frame and scale them so that structures of all videos are equally bright.

    Returns uint8 (height, width, channels); with settings.binary, the mask.
    """
    from scipy.ndimage import binary_dilation
    if recipe.settings.binary:
        return np.where(mask, np.uint8(255), np.uint8(0))[..., None]
    channels = []
    kept = binary_dilation(mask, iterations=RIM) if "threshold" in recipe.steps else None
    for image, white in zip(images, reference.white):
        image = image if kept is None else np.where(kept, image, 0)
        low, high = (0, white) if "standardise" in recipe.steps else (min(0, image.min()), max(image.max(), 1e-12))
        channels.append(Intensities((low,), (high,)).to_bytes(image, 0))
    return np.stack(channels, axis=-1)
