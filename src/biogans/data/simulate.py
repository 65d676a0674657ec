"""Simulate fission yeast cells: the sample data, and ground truth for evaluation.

Real crops show one polarity factor (green) beside the growth marker Bgs4 (red), because no cell was ever imaged with
two factors. Here all of them are functions of the same cell: its outline, its age t in the cell cycle, its growing
tips, nuclei and septum. So a cell can be rendered with any one factor, as in the training folders, or with all six.

Lengths are in µm and the age t runs from birth (0) to division (1). s is the coordinate along the cell, positive
towards the old end (the one that grows from birth on), v the coordinate across it. The constants were set by eye and
by measurement until rendered cells had the statistics of published crops of the LIN data set (Dodgson et al. 2017, as
used by Osokin et al., ICCV 2017); `tests/data/test_simulate.py` holds those statistics.
"""

import argparse
import csv
import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import __version__
from ..system import launch
from ..system.errors import InputError
from ..system.files import replacing
from ..core.options import Parser

ROWS, COLUMNS = 48, 80
PIXEL = 0.19                            # µm; with it the crops' 38 to 74 pixels are 7 to 14 µm
FULL = 24219, 2690                      # LIN has 26,909 images of six factors; nine in ten for training is our choice
DATASET = "LIN_Normalized_WT_size-48-80"
TRAIN, TEST, JOINT = range(3)           # the three streams of cells: none is in two of them


# --- the cell ---------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Cell:
    """One cell at one moment: everything that its channels have in common. Lengths in µm, positions as (s, v)."""

    t: float                            # age in the cell cycle, 0 at birth, 1 at division
    length_um: float                    # end to end
    width_um: float                     # mean diameter
    orientation: str                    # the side of the image that the old end points to: "left" or "right"
    centre_um: tuple                    # (down, right) from the centre of the image
    angle_rad: float
    bend_um: float                      # sagitta of the cell's axis
    swelling_um: float                  # half width gained by the old half and lost by the new one
    waist_um: float                     # half width lost at the septum
    wobble_um: tuple                    # amplitudes of the sine waves of 1, 2 and 3 periods in the half width
    wobble_phase: tuple
    old_tip: float                      # growth at the old end, in units of the cytoplasm's concentration of Bgs4
    new_tip: float                      # the same at the new end
    septum: float                       # 0 before there is one, 1 when complete
    septum_um: float                    # its position s
    septum_tilt: float                  # slope ds/dv
    septum_bow: float                   # curvature, 1/µm
    septum_width_um: float              # standard deviation along s
    nuclei: tuple                       # one centre, or two after mitosis
    nucleus_radius_um: float
    spindle_poles: tuple                # one on each nucleus
    green_shift_um: float               # across the cell: the two colours are in focus in planes 0.3 µm apart
    green_inset_um: float               # how much smaller the cell is in the plane of the green channel
    green_rim: float                    # concentration seen in the rim that is out of that plane

    @property
    def half_um(self):
        """Half the length: the ends are at s = ±half_um."""
        return self.length_um / 2


def cell_rng(seed, stream, index):
    """The generator of cell `index` of a stream: it depends on nothing else, so neither do the cell's pixels."""
    return np.random.default_rng([seed, stream, index])


def ramp(x, start, stop):
    """Rise linearly from 0 at `start` to 1 at `stop`."""
    return np.clip((x - start) / (stop - start), 0, 1)


def sample_age(rng):
    """An age in a culture that grows exponentially: density 2 ln2 2^-t, so newborn cells are twice as common."""
    return -np.log2(1 - rng.random() / 2)


def sample_length(rng, t):
    """µm. From 7 at birth to 13, at most 14; faster once both ends grow (t = 1/3), constant from t = 0.8 on."""
    birth, division = rng.normal(6.9, 0.3), rng.normal(13.1, 0.7)
    return float(np.clip(birth + (division - birth) * np.interp(t, [0, 0.34, 0.8], [0, 0.37, 1]), 6.4, 14.0))


def sample_cell(rng, t=None):
    """A cell of age t, or of an age drawn from an exponentially growing culture."""
    t = float(sample_age(rng) if t is None else t)
    length, width = sample_length(rng, t), float(np.clip(rng.normal(3.62, 0.13), 3.3, 4.0))
    take_off, mitosis, septation = rng.normal([0.33, 0.72, 0.79], [0.03, 0.01, 0.012])
    septum = float(ramp(t, septation - 0.03, septation + 0.03))
    tips_on = 1 - 0.92 * septum         # growth moves from the tips to the septum
    old = tips_on * rng.uniform(2.2, 3.2)
    new = old * rng.uniform(0.5, 1.1) * max(ramp(t, take_off, take_off + 0.1), rng.uniform(0.05, 0.2))
    septum_um = rng.normal(0, 0.02) * length
    radius = rng.uniform(0.78, 0.95)
    nuclei = place_nuclei(rng, length, septum_um, radius, ramp(t, mitosis, mitosis + 0.05))
    return Cell(
        t=t, length_um=length, width_um=width, orientation=str(rng.choice(["left", "right"])),
        centre_um=tuple(rng.normal(0, [0.08, 0.06]).tolist()), angle_rad=np.radians(rng.normal(0, 0.3)),
        bend_um=rng.normal(0, 0.13), swelling_um=rng.normal(0, 0.06 + 0.07 * septum),
        waist_um=septum * rng.uniform(0.0, 0.28),
        wobble_um=tuple(rng.normal(0, [0.05, 0.03, 0.03]).tolist()),
        wobble_phase=tuple(rng.uniform(0, 2 * np.pi, 3).tolist()),
        old_tip=old, new_tip=float(new), septum=septum, septum_um=septum_um,
        septum_tilt=rng.normal(0, 0.07), septum_bow=rng.normal(0, 0.10),
        septum_width_um=rng.uniform(0.34, 0.44) * min(0.5 + 0.5 * septum, 1 - 0.4 * ramp(t, 0.9, 1)),
        nuclei=nuclei, nucleus_radius_um=radius, spindle_poles=place_spindle_poles(rng, nuclei, radius),
        green_shift_um=rng.normal(0, 0.16), green_inset_um=rng.uniform(0.05, 0.30),
        green_rim=rng.uniform(0.10, 0.45))


def place_nuclei(rng, length, septum, radius, separation):
    """Centre of the nucleus, or of two daughters `separation` (0 to 1) of the way to the middle of their halves."""
    if separation == 0:
        return ((rng.normal(0, 0.03) * length, rng.normal(0, 0.15)),)
    apart = radius + (0.25 * length - radius) * separation
    return tuple((septum + side * apart + rng.normal(0, 0.15), rng.normal(0, 0.2)) for side in (-1, 1))


def place_spindle_poles(rng, nuclei, radius):
    """One spindle pole body on the envelope of each nucleus; after mitosis on the sides that were pulled apart."""
    poles = []
    for s, v in nuclei:
        towards = rng.uniform(0, 2 * np.pi) if len(nuclei) == 1 else rng.normal(0 if s > 0 else np.pi, 0.7)
        poles.append((s + radius * np.cos(towards), v + 0.8 * radius * np.sin(towards)))
    return tuple(poles)


# --- coordinates ------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Coordinates:
    """Maps (ROWS, COLUMNS), float32, of where each pixel lies in the cell. µm."""

    s: np.ndarray                       # along the axis, positive towards the old end
    v: np.ndarray                       # across it
    depth: np.ndarray                   # distance below the membrane, negative outside


def coordinates(cell, shift=0.0):
    """Where each pixel lies in the cell; `shift` moves the cell across its axis (another focal plane)."""
    down, right = np.meshgrid((np.arange(ROWS) - (ROWS - 1) / 2) * PIXEL - cell.centre_um[0] - shift,
                              (np.arange(COLUMNS) - (COLUMNS - 1) / 2) * PIXEL - cell.centre_um[1], indexing="ij")
    turn = cell.angle_rad + (np.pi if cell.orientation == "left" else 0)
    s = (np.cos(turn) * right + np.sin(turn) * down).astype(np.float32)
    v = (np.cos(turn) * down - np.sin(turn) * right - axis(cell, s)).astype(np.float32)
    return Coordinates(s, v, depth(cell, s, v))


def axis(cell, s):
    """v of the bent axis: a parabola whose ends and middle are ±bend/2 off the straight line."""
    return cell.bend_um * ((s / cell.half_um) ** 2 - 0.5)


def outline(cell, s):
    """Half width at s: the rod with its wobble, one swollen half and the waist of a septating cell."""
    half = cell.width_um / 2 + cell.swelling_um * np.tanh((s - cell.septum_um) / 1.5)
    for periods, (amplitude, phase) in enumerate(zip(cell.wobble_um, cell.wobble_phase), start=1):
        half = half + amplitude * np.sin(periods * np.pi * s / cell.half_um + phase)
    return half - cell.waist_um * np.exp(-((s - cell.septum_um) / 0.7) ** 2)


def depth(cell, s, v):
    """Distance below the membrane: to the flank along the rod, to a hemisphere, slightly drawn out, at its ends."""
    half = outline(cell, s)
    return half - np.hypot(half * into_cap(cell, s), v)


def into_cap(cell, s):
    """0 along the rod, rising to 1 at the ends of the cell."""
    cap = 0.57 * cell.width_um
    return np.maximum(np.abs(s) - (cell.half_um - cap), 0) / cap


# --- parts that several channels share ----------------------------------------------------------------------------

def gaussian(x, sigma):
    """exp(-x²/2σ²): 1 at x = 0."""
    return np.exp(-0.5 * (x / sigma) ** 2)


def sigmoid(x, softness):
    """A step from 0 to 1 at x = 0, about 4 `softness` wide."""
    return 0.5 * (1 + np.tanh(x / (2 * softness)))


def spots(at, s, v, height, sigma):
    """The sum of round spots at (s, v), µm; `height` and `sigma` may differ from spot to spot."""
    s, v, height, sigma = (np.atleast_1d(np.asarray(each, np.float32))[:, None, None] for each in (s, v, height, sigma))
    return (height * np.exp(((at.s - s) ** 2 + (at.v - v) ** 2) / (-2 * sigma ** 2))).sum(0)


def at_tip(at, cell, side, reach):
    """1 at the very end of the cell (side +1 the old one, -1 the new one), falling with the distance from it.

    The distance is mostly that along the axis, a little that from the membrane: so the bright part is a crescent that
    follows the end and is brightest at the cortex.
    """
    along = cell.half_um - side * at.s
    return gaussian(np.maximum(0.75 * along + 0.25 * np.maximum(at.depth, 0), 0), reach)


def in_septum(at, cell, width):
    """The septum: a bar across the cell, tilted and bowed."""
    middle = cell.septum_um + cell.septum_tilt * at.v + cell.septum_bow * (at.v ** 2 - 1)
    return cell.septum * gaussian(at.s - middle, width)


def in_nuclei(at, cell):
    """1 inside the nuclei, 0 outside, with a soft edge: they are round in depth too."""
    inside = np.zeros_like(at.s)
    for s, v in cell.nuclei:
        inside += sigmoid(cell.nucleus_radius_um - np.hypot(at.s - s, at.v - v), 0.14)
    return np.minimum(inside, 1)


def across(cell, rng, s):
    """v of points anywhere on the upper cortex at s: seen from above they lie all over the cell's width there."""
    half = (outline(cell, s) - 0.25) * np.sqrt(1 - np.minimum(into_cap(cell, s), 0.98) ** 2)
    return half * rng.uniform(-1, 1, np.shape(s))


# --- what each channel shows: (coordinates, cell, rng) -> concentration, 1 in plain cytoplasm -----------------------

def bgs4(at, cell, rng):
    """The growth marker: one tip, then both, then the septum, and a few dim vesicles."""
    lumps = 1 + 0.2 * grain(rng, 1.2)
    caps = cell.old_tip * at_tip(at, cell, 1, 0.95) + cell.new_tip * at_tip(at, cell, -1, 0.85)
    count = rng.poisson(2 + 0.4 * cell.length_um)
    s = np.clip(rng.normal(0, cell.length_um / 5, count), 1 - cell.half_um, cell.half_um - 1)
    vesicles = spots(at, s, rng.uniform(-1.4, 1.4, count), rng.uniform(0.3, 0.9, count), 0.16)
    return 1 + lumps * (caps + 2.9 * in_septum(at, cell, cell.septum_width_um)) + vesicles


def alp14(at, cell, rng):
    """Microtubules: 3 to 5 thin bars along the axis around each nucleus, some of them beaded, and dots at the tips."""
    points = []
    for s0, v0 in cell.nuclei:
        count, longest = (rng.integers(3, 6), 3.8) if len(cell.nuclei) == 1 else (rng.integers(2, 5), 2.6)
        for v in np.linspace(-1.15, 1.15, 6)[rng.permutation(6)[:count]]:   # side by side
            points.append(bundle(rng, s0 + rng.normal(0, 0.8), 0.85 * v + 0.5 * v0, rng.uniform(1.2, longest)))
    if cell.septum:
        for side in (-1, 1):            # arrays that start at the new cell ends
            points.append(bundle(rng, cell.septum_um + side * rng.uniform(0.7, 1.3), rng.uniform(-1.1, 1.1), 0.9))
    count = rng.integers(4, 9)
    s = rng.choice([-1, 1], count) * (cell.half_um - rng.exponential(0.5, count) - 0.25)
    points.append((s, across(cell, rng, s), rng.uniform(0.4, 1.0, count)))
    s, v, height = (np.concatenate(each) for each in zip(*points))
    inside = at.depth > 0.2
    return 1 - 0.22 * in_nuclei(at, cell) + inside * spots(at, s, v, height, 0.11)


def bundle(rng, s, v, length):
    """Points of a microtubule bundle of `length` µm within 10 degrees of the axis: (s, v, height)."""
    along = np.arange(-length / 2, length / 2, 0.2)
    slope = np.tan(np.radians(rng.uniform(-8, 8)))
    gaps = rng.choice([1.0, 0.0], len(along), p=[0.8, 0.2])
    return s + along, v + slope * along, gaps * rng.uniform(0.7, 1.5)


def arp3(at, cell, rng):
    """Actin patches: round dots where the cell grows, at the tips that are red and in two rows beside the septum."""
    many = rng.poisson([1 + 4 * cell.old_tip, 1 + 4 * cell.new_tip, 6, 28 * cell.septum])
    s = np.concatenate([cell.half_um - 0.25 - rng.exponential(1.0, many[0]),
                        0.25 - cell.half_um + rng.exponential(1.0, many[1]),
                        rng.uniform(-0.8, 0.8, many[2]) * cell.half_um,
                        cell.septum_um + rng.choice([-1, 1], many[3]) * rng.normal(0.55, 0.3, many[3])])
    s = np.clip(s, 0.25 - cell.half_um, cell.half_um - 0.25)
    dots = spots(at, s, across(cell, rng, s), rng.uniform(1.6, 4.2, len(s)), 0.12)
    haze = 0.3 * cell.old_tip * at_tip(at, cell, 1, 0.6) + 0.3 * cell.new_tip * at_tip(at, cell, -1, 0.6)
    return 1 - 0.3 * in_nuclei(at, cell) + haze + dots + 0.5 * in_septum(at, cell, 0.5)


def cki2(at, cell, rng):
    """Large irregular clumps either side of each nucleus, their lobes like the wings of a butterfly; dim elsewhere."""
    clumps = np.zeros_like(at.s)
    room = cell.half_um / len(cell.nuclei)              # from the nucleus to the end of its compartment
    size = min(0.27 * room + 0.20, 1.7) * rng.uniform(0.95, 1.15)
    for s, v in cell.nuclei:
        for side in (-1, 1):
            away = min(rng.uniform(0.85, 1.0) * (cell.nucleus_radius_um + size), room - size)
            clumps = np.maximum(clumps, clump(at, rng, s + side * away, 0.5 * v + rng.normal(0, 0.15), size))
    clumps *= (1 - 0.8 * in_nuclei(at, cell)) * ramp(at.depth, 0.1, 0.5)
    return 1 + 2.3 * clumps * (1 + 0.12 * grain(rng, 1.2))


def clump(at, rng, s, v, size):
    """One clump about 2 `size` µm long: round lobes along two diagonals, run together. 0 to 1, soft at the edge."""
    main = rng.choice([-1, 1])
    angle = np.radians(np.repeat([main, -main], 4) * rng.uniform(15, 75, 8))
    along = np.tile(np.linspace(-1, 1, 4), 2) * size * rng.uniform(0.8, 1.0, 8)
    height = np.concatenate([rng.uniform(0.3, 1.1, 4), rng.uniform(0.0, 0.9, 4)])
    lobe_v = np.clip(v + along * np.sin(angle), -1.1, 1.1) + rng.normal(0, 0.12, 8)
    lobes = spots(at, s + along * np.cos(angle), lobe_v, height, rng.uniform(0.34, 0.50, 8))
    return sigmoid(lobes - 0.48, 0.11)


def mkh1(at, cell, rng):
    """Bright smooth cytoplasm, dark round nuclei, and a solid band over the septum, for which the tips pay."""
    gradient = 0.16 * cell.old_tip * at_tip(at, cell, 1, 1.2) + 0.13 * cell.new_tip * at_tip(at, cell, -1, 1.2)
    tips = 0.2 * cell.septum * (at_tip(at, cell, 1, 1.5) + at_tip(at, cell, -1, 1.5))
    return 1 + gradient - tips + 0.05 * grain(rng, 1.5) - 0.40 * in_nuclei(at, cell) + 0.9 * in_septum(at, cell, 0.38)


def sid2(at, cell, rng):
    """A dot on each spindle pole body in granular cytoplasm, and a thin band at the septum."""
    s, v = np.transpose(cell.spindle_poles)
    poles = spots(at, s, v, rng.uniform(0.9, 1.4, len(s)), 0.24)
    granules = 0.03 * grain(rng, 1.5)
    return 1 + granules - 0.25 * in_nuclei(at, cell) + poles + 0.6 * in_septum(at, cell, 0.24)


def tea1(at, cell, rng):
    """Crescents at both ends at all ages, whichever grows, small dots on the cortex, a weak line at the septum."""
    crescents = np.zeros_like(at.s)
    cortex = gaussian(at.depth - 0.25, 0.42)
    for side in (-1, 1):
        broken = 1 + 0.3 * grain(rng, 1.0)
        crescents += rng.uniform(1.6, 2.8) * broken * cortex * at_tip(at, cell, side, rng.uniform(0.6, 0.85))
    count = rng.poisson(1.2 * cell.length_um)
    s = rng.uniform(-0.85, 0.85, count) * cell.half_um
    dots = spots(at, s, across(cell, rng, s), rng.uniform(0.15, 0.8, count), 0.12)
    return 1 + crescents + dots - 0.1 * in_nuclei(at, cell) + 0.35 * in_septum(at, cell, 0.18)


# --- what differs between the channels besides the pattern ------------------------------------------------------

FACTORS = {"Alp14": alp14, "Arp3": arp3, "Cki2": cki2, "Mkh1": mkh1, "Sid2": sid2, "Tea1": tea1}
CHANNELS = {"Bgs4": bgs4, **FACTORS}
# Photon noise of plain cytoplasm, and the least and greatest part of a cell that is saturated.
NOISE = {"Bgs4": 0.15, "Alp14": 0.10, "Arp3": 0.11, "Cki2": 0.10, "Mkh1": 0.06, "Sid2": 0.07, "Tea1": 0.10}
SATURATED = {"Bgs4": (0.01, 0.06), "Alp14": (0.01, 0.04), "Arp3": (0.015, 0.05), "Cki2": (0.04, 0.16),
             "Mkh1": (0.03, 0.12), "Sid2": (0.01, 0.04), "Tea1": (0.01, 0.045)}


# --- the microscope ---------------------------------------------------------------------------------------------

@functools.cache
def blur_matrix(size, sigma, reach):
    """(size, size): the convolution along one side with a Gaussian of `sigma` pixels, cut off at `reach` pixels."""
    distance = np.arange(size)[:, None] - np.arange(size)
    weights = np.where(np.abs(distance) <= reach, gaussian(distance, sigma), 0)
    return (weights / weights[size // 2].sum()).astype(np.float32)


def blur(image, sigma, reach=4):
    """Gaussian blur of an image (ROWS, COLUMNS), dark beyond its border."""
    return blur_matrix(ROWS, sigma, reach) @ image @ blur_matrix(COLUMNS, sigma, reach)


def grain(rng, sigma):
    """Noise of unit variance and a grain of `sigma` pixels, (ROWS, COLUMNS)."""
    return blur(rng.standard_normal((ROWS, COLUMNS), np.float32), sigma) * np.float32(2 * np.sqrt(np.pi) * sigma)


def render(cell, channels, rng):
    """Images of one cell: uint8 (ROWS, COLUMNS, len(channels)), 0 outside the cell.

    `channels` are names out of CHANNELS. Each has its own random stream, so a channel looks the same whichever
    others are asked for.
    """
    streams = dict(zip(("mask", *CHANNELS), rng.spawn(1 + len(CHANNELS))))
    at = coordinates(cell)
    outline_noise = 0.04 * grain(streams["mask"], 0.8)
    mask = blur((at.depth > outline_noise).astype(np.float32), 0.65, reach=2)
    red, green = focus_red(at), focus_green(cell)
    images = []
    for name in channels:
        in_focus = CHANNELS[name](at, cell, streams[name]) * (red if name == "Bgs4" else green)
        images.append(expose(name, in_focus, mask, streams[name]))
    return np.stack(images, axis=-1)


def focus_red(at):
    """How much of the light comes from the focal plane: the cell thins towards its edge."""
    return 1 - 0.27 * np.exp(-np.maximum(at.depth, 0) / 0.5)


def focus_green(cell):
    """The same for green, in another plane: shifted and smaller, so a dark rim is left on one side or all around."""
    inside = coordinates(cell, cell.green_shift_um).depth - cell.green_inset_um
    return cell.green_rim + (1 - cell.green_rim) * sigmoid(inside, 0.16)


def expose(channel, concentration, mask, rng):
    """Point spread, photon noise, the segmentation's mask, and the stretch that saturates the brightest few percent."""
    light = blur(concentration.astype(np.float32), 0.7)
    light += NOISE[channel] * np.sqrt(np.maximum(light, 0)) * grain(rng, 0.62)
    light = np.maximum(light, 0) * mask
    brightest = np.quantile(light[mask > 0.5], 1 - rng.uniform(*SATURATED[channel]))
    return np.clip(light * (255 / brightest), 0, 255).astype(np.uint8)


# --- files ------------------------------------------------------------------------------------------------------

def write_sample(folder, train, test, joint, seed):
    """Write `train` and `test` two-channel images and `joint` seven-channel cells into `folder`.

    All of it is made beside its final place and moved there at the end, so no reader sees half of a data set, and the
    thousands of small files need no flush to the disk each.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with progress(train + test + joint) as meter, tempfile.TemporaryDirectory(dir=folder, prefix=".new.") as name:
        new = Path(name)
        write_images(new / f"{DATASET}_train", TRAIN, train, seed, meter)
        write_images(new / f"{DATASET}_test", TEST, test, seed, meter)
        write_joint(new / "joint_test.h5", joint, seed, meter)
        (new / "SIMULATED.txt").write_text(NOTICE.format(version=__version__, seed=seed, pixel=PIXEL))
        for part in sorted(new.iterdir()):
            if (folder / part.name).is_dir():
                shutil.rmtree(folder / part.name)
            part.replace(folder / part.name)


NOTICE = """\
The images in this folder were simulated by biogans simulate (biogans {version}, seed {seed}); none shows a real cell.
The pixel size is {pixel} um. Red is Bgs4; green is the polarity factor that gives the subfolder its name.
"""


def progress(total):
    """A progress bar on standard error when that is a terminal; tqdm is slow to import, so `--help` does without."""
    from tqdm import tqdm
    return tqdm(total=total, unit=" cells", disable=None)


def write_images(folder, stream, count, seed, meter):
    """Write `count` PNGs, R = Bgs4, G = each factor in turn, so that the factors' numbers differ by one at most.

    The manifest beside them has a line per image: the file, the factor and what the cell is like.
    """
    for factor in FACTORS:
        (folder / factor).mkdir(parents=True)
    rows = []
    for index in range(count):
        factor = list(FACTORS)[index % len(FACTORS)]
        rng = cell_rng(seed, stream, index)
        cell = sample_cell(rng)
        name = f"{factor}/cell{100000 * (1 + stream) + index}.png"
        save_png(folder / name, render(cell, ("Bgs4", factor), rng))
        rows.append({"file": name, "factor": factor, **describe(cell), "seed": seed, "index": index,
                     "source": "simulated"})
        meter.update()
    with replacing(folder / "manifest.csv") as partial, open(partial, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def save_png(path, red_green):
    """Save a uint8 image (ROWS, COLUMNS, 2) as RGB with its pixel size, and with its origin, which a copy keeps."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo
    origin = PngInfo()
    origin.add_text("Source", "simulated by biogans")
    rgb = np.concatenate([red_green, np.zeros_like(red_green[..., :1])], axis=-1)
    per_inch = 0.0254 / (PIXEL * 1e-6)
    Image.fromarray(rgb).save(path, dpi=(per_inch, per_inch), pnginfo=origin, optimize=True)


def describe(cell):
    """What the files tell of a cell."""
    return {"t": round(cell.t, 4), "length_um": round(cell.length_um, 3), "width_um": round(cell.width_um, 3),
            "orientation": cell.orientation, "old_tip": round(cell.old_tip, 3), "new_tip": round(cell.new_tip, 3),
            "septum": round(cell.septum, 3), "nuclei": len(cell.nuclei)}


def write_joint(target, count, seed, meter):
    """Write held-out cells with all channels: dataset `stack`, (count, ROWS, COLUMNS, 7), and one per property."""
    import h5py
    stack = np.zeros((count, ROWS, COLUMNS, len(CHANNELS)), np.uint8)
    properties = []
    for index in range(count):
        rng = cell_rng(seed, JOINT, index)
        cell = sample_cell(rng)
        stack[index] = render(cell, CHANNELS, rng)
        properties.append(describe(cell))
        meter.update()
    with replacing(target) as partial, h5py.File(partial, "w") as file:
        data = file.create_dataset("stack", data=stack, chunks=(1, *stack.shape[1:]), compression="gzip")
        data.attrs.update(channel_names=list(CHANNELS), pixel_size_um=PIXEL, seed=seed, value_range=(0, 255),
                          source="simulated", version=__version__)
        for name, value in properties[0].items():
            column = [row[name] for row in properties]
            file.create_dataset(name, data=column, dtype=h5py.string_dtype() if isinstance(value, str) else None)


def contact_sheet(target, seed, ages=(0.05, 0.2, 0.36, 0.5, 0.65, 0.76, 0.82, 0.95), zoom=2):
    """Draw one cell of each age (columns) in red, and each factor merged with red and alone (rows). A PNG."""
    from PIL import Image, ImageDraw, ImageFont
    left, top, rows = 90, 36, slice(10, ROWS - 10)
    height, width = zoom * (rows.stop - rows.start), zoom * COLUMNS
    lines = [("Bgs4", None)] + [pair for factor in FACTORS for pair in (("Bgs4", factor), (None, factor))]
    sheet = Image.new("RGB", (left + width * len(ages), top + height * len(lines) + 30))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for column, t in enumerate(ages):
        rng = cell_rng(seed, JOINT, column)
        stack = dict(zip(CHANNELS, np.moveaxis(render(sample_cell(rng, t), CHANNELS, rng)[rows], -1, 0)))
        pen.text((left + width * column + width // 2, 8), f"t = {t}", "white", font, anchor="ma")
        for line, (red, green) in enumerate(lines):
            colours = [stack[name] if name else np.zeros_like(stack["Bgs4"]) for name in (red, green, None)]
            tile = Image.fromarray(np.stack(colours, axis=-1)).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(tile, (left + width * column, top + height * line))
    for line, (red, green) in enumerate(lines):
        colour = "red" if not green else "yellow" if red else "lime"
        pen.text((8, top + height * line + height // 2), green or red, colour, font, anchor="lm")
    end = left + round(5 / PIXEL * zoom)
    pen.line((left, sheet.height - 14, end, sheet.height - 14), "white", 3)
    pen.text((end + 10, sheet.height - 14), "5 um; simulated cells, not photographs", "white", font, anchor="lm")
    with replacing(target) as partial:
        sheet.save(partial, format="PNG", optimize=True)


# --- the command ------------------------------------------------------------------------------------------------

def number(least):
    """A type for argparse: a whole number, `least` or more."""
    def read(text):
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} up")
        return int(text)
    return read


def parser():
    """The command line."""
    p = Parser(
        prog="biogans simulate",
        description="Make sample data: simulated fission yeast cells, seen in two colours.\n\n"
                    "Red is Bgs4, which marks growth: one tip of a young cell, both tips of an older one, then the\n"
                    "septum that divides it. Green is one of six polarity factors. Images are 48 rows x 80 columns of\n"
                    f"{PIXEL} um a pixel; cells grow from 7 to 13 um (at most 14). Ages are those of a growing\n"
                    "culture, in which newborn cells are the most common.",
        epilog="examples:\n"
               "  biogans simulate -o data                        1,020 + 300 images, 60 joint cells (4 MB, 5 seconds)\n"
               "  biogans simulate -o data --full                 as many images as the LIN data set has (1 minute)\n"
               "  biogans simulate --contact-sheet cells.png      only a picture of the cell cycle\n"
               "then: train.py -d data")
    out = p.add_argument_group("output (at least one)")
    out.add_argument("-o", "--output", metavar="FOLDER",
                     help="the data folder, laid out as train.py expects it: training and test images in a folder "
                          "each, with a manifest.csv that tells what every cell is like, and joint_test.h5")
    out.add_argument("--contact-sheet", metavar="FILE.png",
                     help="draw cells of eight ages, one a column, with all six factors")
    out.add_argument("--overwrite", action="store_true", help="replace simulated data in FOLDER")
    size = p.add_argument_group("how many cells")
    size.add_argument("--train", type=number(1), metavar="N", help="training images, all factors together (1020)")
    size.add_argument("--test", type=number(1), metavar="N", help="test images, all factors together (300)")
    size.add_argument("--joint", type=number(1), metavar="N", default=60,
                      help="cells in joint_test.h5, each with red and all six factors at once: what no microscope saw, "
                           "and what a generator of several factors can be compared with (%(default)s)")
    size.add_argument("--full", action="store_true",
                      help="{:,} training and {:,} test images: the 26,909 of the LIN data set, one in ten for "
                           "tests".format(*FULL))
    size.add_argument("-s", "--seed", type=number(0), metavar="N", default=42,
                      help="the same seed makes the same cells; a larger set starts with the cells of a smaller one "
                           "(%(default)s)")
    return p


def simulate(options):
    """Do what the command line asks for."""
    if not (options.output or options.contact_sheet):
        raise InputError("nothing to make: add -o FOLDER for data or --contact-sheet FILE.png for a picture")
    if options.full and (options.train or options.test):
        raise InputError("--full sets the numbers of images: leave out --train and --test, or --full")
    train, test = FULL if options.full else (options.train or 1020, options.test or 300)
    if options.contact_sheet:
        contact_sheet(options.contact_sheet, options.seed)
        print(f"Contact sheet: {options.contact_sheet}")
    if options.output:
        check_output(Path(options.output), options.overwrite)
        write_sample(options.output, train, test, options.joint, options.seed)
        print(f"{train + test:,} images of simulated cells and {options.joint} joint cells: {options.output}")


def check_output(folder, overwrite):
    """Refuse a folder in use; with `overwrite`, refuse to replace anything that this program did not make."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose another name for the output folder")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise InputError(f"{folder} is not empty: choose another folder, or add --overwrite to replace the simulated "
                         "data in it")
    for split in (folder / f"{DATASET}_train", folder / f"{DATASET}_test"):
        manifest = split / "manifest.csv"
        if split.is_symlink() or split.exists() and not (manifest.is_file() and "simulated" in manifest.read_text()):
            raise InputError(f"{split} holds other data than simulated ones: move it away or choose another folder")


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(simulate, parser().parse_args(arguments))
