"""Paths between latent vectors."""

import math

import numpy as np


def slerp(start, end, t):
    """Spherical interpolation between two latent vectors (nz,), at each of `t` (n,) in [0, 1]; returns (n, nz).

    The direction turns at constant angular speed along the shortest arc (Shoemake 1985); the length changes linearly.
    Normal vectors lie near a sphere: on a straight line they would shrink, and give images that the generator was never
    trained to make (White 2016). Raises ValueError for opposite directions, which no shortest arc connects.
    """
    t = np.asarray(t, "float64")[:, None]
    lengths = np.linalg.norm(start), np.linalg.norm(end)
    start, end = (vector / max(length, 1e-12) for vector, length in zip((start, end), lengths))
    angle = 2 * math.atan2(np.linalg.norm(end - start), np.linalg.norm(end + start))
    if math.pi - angle < 1e-6:
        raise ValueError("opposite directions")
    if angle < 1e-6:
        direction = start + t * (end - start)
    else:
        direction = (np.sin((1 - t) * angle) * start + np.sin(t * angle) * end) / math.sin(angle)
    return ((1 - t) * lengths[0] + t * lengths[1]) * direction


def latent_path(keys, frames, closed, codes=()):
    """Latent vectors of a movie through `keys` (keys, nz), `frames` from each key to the next.

    A closed path has keys * frames vectors and ends one step before the first key, so that the movie can loop; an open
    path ends with the last key. The noise moves as in `slerp`, continuous codes (codes.Code) linearly; a categorical
    code changes at once, in the middle: a mixture of categories would be a z that the generator was never trained on.
    """
    t = np.arange(frames) / frames
    ends = [*keys[1:], keys[0]] if closed else keys[1:]
    parts = [_leg(start, end, t, codes) for start, end in zip(keys, ends)]
    return np.concatenate(parts if closed else [*parts, keys[-1:]])


def _leg(start, end, t, codes):
    """Latent vectors (n, nz) between two, at each of `t` (n,) in [0, 1]."""
    noise = codes[0].start if codes else len(start)             # codes are the last part of z
    path = np.empty((len(t), len(start)))
    path[:, :noise] = slerp(start[:noise], end[:noise], t)
    for code in codes:
        share = ((t >= 0.5) if code.is_categorical else t)[:, None]
        path[:, code.indices] = (1 - share) * start[code.indices] + share * end[code.indices]
    return path
