"""Steps and bells that shape the simulated cells."""

import numpy as np


def ramp(x, start, stop):
    """Linear rise from 0 at `start` to 1 at `stop`."""
    return np.clip((x - start) / (stop - start), 0, 1)


def gaussian(x, sigma):
    """exp(-x²/2σ²): 1 at x = 0."""
    return np.exp(-0.5 * (x / sigma) ** 2)


def sigmoid(x, softness):
    """Step from 0 to 1 at x = 0, about 4 `softness` wide."""
    return 0.5 * (1 + np.tanh(x / (2 * softness)))
