"""Model of round cells through the cell cycle, as an imaging flow cytometer sees them: brightfield and DNA.

Unlike measured cells, these have a known age t, from birth (0) to division (1). The volume doubles over this time, so
the radius grows by a quarter; the DNA doubles between SYNTHESIS[0] and SYNTHESIS[1]; then the chromosomes gather in a
plate, which divides. Cells of the same age differ in size, stain, focus, position and orientation. Lengths are in
pixels; the constants were set by eye beside Jurkat cells of Blasi et al. (2016).
"""

from dataclasses import dataclass

import numpy as np

from .curves import ramp
from .yeast import sample_age

SIZE = 40                               # pixels, rows and columns
PHASES = {"G1": 0.42, "S_phase": 0.68, "G2": 0.88, "Mitosis": 1.0}      # age at which each phase ends
SYNTHESIS = PHASES["G1"], PHASES["S_phase"]
PLATE, ANAPHASE = 0.92, 0.96            # ages at which the plate is complete, and at which it starts to divide
RADIUS = 8.3                            # at birth
BACKGROUND = 128                        # grey value of the brightfield
LIGHT = 9000                            # of the DNA of one genome, summed over the image


@dataclass(frozen=True)
class RoundCell:
    """One cell at one moment."""

    t: float                            # age in the cell cycle, 0 at birth, 1 at division
    radius: float
    elongation: float                   # length over width
    dna: float                          # 1 before synthesis, 2 after it
    stain: float                        # light of one genome, relative to LIGHT
    focus: float                        # distance from the focal plane, 0 to 1
    angle: float                        # of the long axis
    centre: tuple                       # (down, right) from the centre of the image


def sample_cell(rng, t=None):
    """Sample a cell of age t, or of an age from an exponentially growing culture."""
    t = float(sample_age(rng) if t is None else t)
    return RoundCell(t=t, radius=RADIUS * 2 ** (t / 3) * np.exp(rng.normal(0, 0.02)),
                     elongation=1 + 0.02 * abs(rng.standard_normal()) + 0.25 * ramp(t, ANAPHASE, 1.0),
                     dna=1 + ramp(t, *SYNTHESIS), stain=np.exp(rng.normal(0, 0.03)), focus=rng.random(),
                     angle=rng.uniform(0, np.pi), centre=tuple(rng.normal(0, 0.5, 2).tolist()))


def phase(t):
    """Name of the phase of a cell of age t."""
    return next((name for name, end in PHASES.items() if t < end), "Mitosis")


def render(cell, rng):
    """Render a cell: uint8 (SIZE, SIZE, 2), brightfield and DNA."""
    from scipy.ndimage import gaussian_filter

    down, right = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2 - np.reshape(cell.centre, (2, 1, 1))
    along = np.cos(cell.angle) * right + np.sin(cell.angle) * down
    across = np.cos(cell.angle) * down - np.sin(cell.angle) * right
    shape = np.sqrt(cell.elongation)
    depth = cell.radius - np.hypot(along / shape, across * shape)       # below the membrane, negative outside
    inside = 0.5 * (1 + np.tanh(depth))

    lumps = gaussian_filter(rng.standard_normal((SIZE, SIZE)), 0.8) * 2.8
    rim = np.exp(-(depth / 1.4) ** 2)
    ring = np.exp(-((depth - 3.2) / 2.4) ** 2)
    halo = np.exp(-((depth + 2.2) / 1.8) ** 2)
    bright = (BACKGROUND + inside * (18 * (1.2 - cell.focus) * lumps + 10) + (25 + 45 * cell.focus) * ring
              - (60 - 25 * cell.focus) * rim - 30 * cell.focus * halo + rng.normal(0, 2, (SIZE, SIZE)))

    light = chromatin(cell, along, across)
    light = gaussian_filter(light * (1 + 0.25 * gaussian_filter(rng.standard_normal((SIZE, SIZE)), 1.5) * 5),
                            0.8 + 1.2 * cell.focus)
    light *= LIGHT * cell.stain * cell.dna / light.sum()
    dna = 3 + rng.poisson(np.maximum(light, 0)) + rng.normal(0, 0.7, (SIZE, SIZE))
    return np.clip(np.rint(np.stack([bright, dna], axis=-1)), 0, 255).astype(np.uint8)


def chromatin(cell, along, across):
    """Density of DNA, (SIZE, SIZE), in arbitrary units: a round nucleus, then a plate across the cell, then two."""
    nucleus = np.sqrt(np.maximum(1 - (along ** 2 + across ** 2) / (0.68 * cell.radius) ** 2, 0))
    gathered = ramp(cell.t, PHASES["G2"], PLATE)
    apart = 0.55 * cell.radius * ramp(cell.t, ANAPHASE, 1.0)
    plates = sum(np.exp(-((along - side * apart) / (0.22 * cell.radius)) ** 2 - (across / (0.6 * cell.radius)) ** 2)
                 for side in (-1, 1))
    return (1 - gathered) * nucleus / nucleus.sum() + gathered * plates / plates.sum()


def sample(number, seed):
    """Sample (images uint8 (number, SIZE, SIZE, 2), cells), each a function of the seed and its position."""
    images, cells = [], []
    for k in range(number):
        rng = np.random.default_rng((seed, k))
        cells.append(sample_cell(rng))
        images.append(render(cells[-1], rng))
    return np.array(images), cells
