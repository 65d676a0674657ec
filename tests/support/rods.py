"""Images of rod-shaped cells."""

import numpy as np


def rod(length, angle=0.0, width=10.0, centre=(24, 40), septum=0.0, size=(48, 80)):
    """An image (H, W) in [0, 1] of an even rod with a band at its middle that is brighter by `septum`."""
    y, x = np.mgrid[:size[0], :size[1]]
    along = (x - centre[1]) * np.cos(angle) + (y - centre[0]) * np.sin(angle)
    across = (y - centre[0]) * np.cos(angle) - (x - centre[1]) * np.sin(angle)
    body = (np.abs(along) <= length / 2) & (np.abs(across) <= width / 2)
    return body * (0.3 + 0.3 * septum * (np.abs(along) < 1.5))
