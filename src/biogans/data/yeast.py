"""Model of a fission yeast cell: its growth, division and shape, and what each fluorescence channel shows.

Crops of real cells show one polarity factor (green) beside the growth marker Bgs4 (red), because no cell was ever
imaged with two factors. Here every channel is a function of the same cell: of its outline, its age t in the cell cycle,
its growing tips, nuclei and septum. A cell can therefore be rendered with any single factor, as in the training
folders, or with all six.

Lengths are in µm; the age t runs from birth (0) to division (1). s is the coordinate along the cell, positive towards
the old end (the one that grows from birth on), v the coordinate across it. The constants were set by eye and by
measurement until rendered cells had the statistics of published crops of the LIN data set (Dodgson et al. 2017, as used
by Osokin et al., ICCV 2017); `tests/data/test_yeast.py` holds those statistics.
"""

import functools
from dataclasses import dataclass, replace

import numpy as np

from .curves import gaussian, ramp, sigmoid

ROWS, COLUMNS = 48, 80
PIXEL = 0.19                            # µm; cells that span 38 to 74 pixels in the crops are then 7 to 14 µm long
MITOSIS = 0.72, 0.01                    # mean and standard deviation of the age at which the nuclei separate


# --- the cell ---------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Cell:
    """One cell at one moment: all that its channels have in common. Lengths in µm, positions as (s, v)."""

    t: float                            # age in the cell cycle, 0 at birth, 1 at division
    length_um: float                    # end to end
    width_um: float                     # mean diameter
    orientation: str                    # side of the image to which the old end points: "left" or "right"
    centre_um: tuple                    # (down, right) from the centre of the image
    angle_rad: float
    bend_um: float                      # sagitta of the cell's axis
    swelling_um: float                  # half width that the old half gains and the new one loses
    waist_um: float                     # half width that is lost at the septum
    wobble_um: tuple                    # amplitudes of sine waves of 1, 2 and 3 periods in the half width
    wobble_phase: tuple
    old_tip: float                      # growth at the old end, relative to the concentration of Bgs4 in the cytoplasm
    new_tip: float                      # the same at the new end
    septum: float                       # 0 before it forms, 1 when complete
    septum_um: float                    # its position along s
    septum_tilt: float                  # slope ds/dv
    septum_bow: float                   # curvature, 1/µm
    septum_width_um: float              # standard deviation along s
    nuclei: tuple                       # one centre, or two after mitosis
    nucleus_radius_um: float
    spindle_poles: tuple                # one for each nucleus
    green_shift_um: float               # across the cell: the two colours are in focus 0.3 µm apart
    green_inset_um: float               # by which the cell is smaller in the focal plane of green
    green_rim: float                    # concentration seen in the rim outside that plane

    @property
    def half_um(self):
        """Half the length: the ends lie at s = ±half_um."""
        return self.length_um / 2


def cell_rng(seed, stream, index):
    """Random generator of cell `index` of a stream; as it depends on nothing else, neither do the cell's pixels."""
    return np.random.default_rng([seed, stream, index])


def sample_age(rng):
    """Sample an age from an exponentially growing culture: density 2 ln2 2^-t, at birth twice that at division."""
    return -np.log2(1 - rng.random() / 2)


def sample_length(rng, t):
    """Sample a length in µm: 7 at birth, 13 at division, 14 at most.

    Growth is faster once both ends grow (t = 1/3) and stops at t = 0.8.
    """
    birth, division = rng.normal(6.9, 0.3), rng.normal(13.1, 0.7)
    return float(np.clip(birth + (division - birth) * np.interp(t, [0, 0.34, 0.8], [0, 0.37, 1]), 6.4, 14.0))


def sample_cell(rng, t=None):
    """Sample a cell of age t, or of an age from an exponentially growing culture."""
    t = float(sample_age(rng) if t is None else t)
    length, width = sample_length(rng, t), float(np.clip(rng.normal(3.62, 0.13), 3.3, 4.0))
    take_off, mitosis, septation = rng.normal([0.33, MITOSIS[0], 0.79], [0.03, MITOSIS[1], 0.012])
    septum = float(ramp(t, septation - 0.03, septation + 0.03))
    tips_on = 1 - 0.92 * septum         # growth moves from the tips to the septum
    old = tips_on * rng.uniform(2.2, 3.2)
    new = old * rng.uniform(0.5, 1.1) * max(ramp(t, take_off, take_off + 0.1), rng.uniform(0.05, 0.2))
    septum_um = rng.normal(0, 0.02) * length
    radius = sample_nucleus_radius(rng)
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
        **sample_green_plane(rng))


def resample_hidden(rng, cell):
    """Sample again what red does not show of a cell: its nuclei, their spindle poles, and the focal plane of green.

    Age, outline, tips and septum stay, and everything else has its distribution given these.
    """
    mitosis, radius = rng.normal(*MITOSIS), sample_nucleus_radius(rng)
    nuclei = place_nuclei(rng, cell.length_um, cell.septum_um, radius, ramp(cell.t, mitosis, mitosis + 0.05))
    return replace(cell, nuclei=nuclei, nucleus_radius_um=radius, **sample_green_plane(rng),
                   spindle_poles=place_spindle_poles(rng, nuclei, radius))


def sample_nucleus_radius(rng):
    """Sample a radius in µm."""
    return rng.uniform(0.78, 0.95)


def sample_green_plane(rng):
    """Sample the fields of a Cell that describe the focal plane of green."""
    return {"green_shift_um": rng.normal(0, 0.16), "green_inset_um": rng.uniform(0.05, 0.30),
            "green_rim": rng.uniform(0.10, 0.45)}


def place_nuclei(rng, length, septum, radius, separation):
    """Sample the centre of the nucleus, or of its two daughters.

    These have come `separation` (0 to 1) of the way to the middle of their halves of the cell.
    """
    if separation == 0:
        return ((rng.normal(0, 0.03) * length, rng.normal(0, 0.15)),)
    apart = radius + (0.25 * length - radius) * separation
    return tuple((septum + side * apart + rng.normal(0, 0.15), rng.normal(0, 0.2)) for side in (-1, 1))


def place_spindle_poles(rng, nuclei, radius):
    """Sample one spindle pole body on the envelope of each nucleus; after mitosis, on the sides pulled apart."""
    poles = []
    for s, v in nuclei:
        towards = rng.uniform(0, 2 * np.pi) if len(nuclei) == 1 else rng.normal(0 if s > 0 else np.pi, 0.7)
        poles.append((s + radius * np.cos(towards), v + 0.8 * radius * np.sin(towards)))
    return tuple(poles)


# --- coordinates ------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Coordinates:
    """Position of each pixel within the cell, in µm: float32 maps (ROWS, COLUMNS)."""

    s: np.ndarray                       # along the axis, positive towards the old end
    v: np.ndarray                       # across the axis
    depth: np.ndarray                   # distance below the membrane, negative outside


def coordinates(cell, shift=0.0):
    """Coordinates of each pixel; `shift` (µm) moves the cell across its axis, as in another focal plane."""
    down, right = np.meshgrid((np.arange(ROWS) - (ROWS - 1) / 2) * PIXEL - cell.centre_um[0] - shift,
                              (np.arange(COLUMNS) - (COLUMNS - 1) / 2) * PIXEL - cell.centre_um[1], indexing="ij")
    turn = cell.angle_rad + (np.pi if cell.orientation == "left" else 0)
    s = (np.cos(turn) * right + np.sin(turn) * down).astype(np.float32)
    v = (np.cos(turn) * down - np.sin(turn) * right - axis(cell, s)).astype(np.float32)
    return Coordinates(s, v, depth(cell, s, v))


def axis(cell, s):
    """v of the bent axis: a parabola whose ends and middle lie ±bend/2 off the straight line."""
    return cell.bend_um * ((s / cell.half_um) ** 2 - 0.5)


def outline(cell, s):
    """Half width at s: a rod with a wobble, one swollen half and, in a septating cell, a waist."""
    half = cell.width_um / 2 + cell.swelling_um * np.tanh((s - cell.septum_um) / 1.5)
    for periods, (amplitude, phase) in enumerate(zip(cell.wobble_um, cell.wobble_phase), start=1):
        half = half + amplitude * np.sin(periods * np.pi * s / cell.half_um + phase)
    return half - cell.waist_um * np.exp(-((s - cell.septum_um) / 0.7) ** 2)


def depth(cell, s, v):
    """Distance below the membrane: from the flank along the rod, from a slightly elongated hemisphere at its ends."""
    half = outline(cell, s)
    return half - np.hypot(half * into_cap(cell, s), v)


def into_cap(cell, s):
    """Position within the caps: 0 along the rod, rising to 1 at the ends of the cell."""
    cap = 0.57 * cell.width_um
    return np.maximum(np.abs(s) - (cell.half_um - cap), 0) / cap


# --- parts that several channels share ----------------------------------------------------------------------------

def spots(at, s, v, height, sigma):
    """Sum of round spots at (s, v), in µm; `height` and `sigma` may differ between spots."""
    s, v, height, sigma = (np.atleast_1d(np.asarray(each, np.float32))[:, None, None] for each in (s, v, height, sigma))
    return (height * np.exp(((at.s - s) ** 2 + (at.v - v) ** 2) / (-2 * sigma ** 2))).sum(0)


def at_tip(at, cell, side, reach):
    """Signal of a tip: 1 at the very end of the cell (side +1: old, -1: new), falling with the distance from it.

    The distance is measured mostly along the axis and a little from the membrane, so the bright region is a crescent
    that follows the end and is brightest at the cortex.
    """
    along = cell.half_um - side * at.s
    return gaussian(np.maximum(0.75 * along + 0.25 * np.maximum(at.depth, 0), 0), reach)


def in_septum(at, cell, width):
    """Signal of the septum: a tilted and bowed bar across the cell."""
    middle = cell.septum_um + cell.septum_tilt * at.v + cell.septum_bow * (at.v ** 2 - 1)
    return cell.septum * gaussian(at.s - middle, width)


def in_nuclei(at, cell):
    """1 inside the nuclei, 0 outside, with a soft edge because nuclei are round in depth too."""
    inside = np.zeros_like(at.s)
    for s, v in cell.nuclei:
        inside += sigmoid(cell.nucleus_radius_um - np.hypot(at.s - s, at.v - v), 0.14)
    return np.minimum(inside, 1)


def across(cell, rng, s):
    """Sample v of points on the upper cortex at s: seen from above they lie anywhere across the width of the cell."""
    half = (outline(cell, s) - 0.25) * np.sqrt(1 - np.minimum(into_cap(cell, s), 0.98) ** 2)
    return half * rng.uniform(-1, 1, np.shape(s))


# --- the channels: (coordinates, cell, rng) -> concentration, 1 in plain cytoplasm --------------------------------

def bgs4(at, cell, rng):
    """Growth marker: one tip, then both, then the septum, and a few dim vesicles."""
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
        for side in (-1, 1):            # arrays that start from the new cell ends
            points.append(bundle(rng, cell.septum_um + side * rng.uniform(0.7, 1.3), rng.uniform(-1.1, 1.1), 0.9))
    count = rng.integers(4, 9)
    s = rng.choice([-1, 1], count) * (cell.half_um - rng.exponential(0.5, count) - 0.25)
    points.append((s, across(cell, rng, s), rng.uniform(0.4, 1.0, count)))
    s, v, height = (np.concatenate(each) for each in zip(*points))
    inside = at.depth > 0.2
    return 1 - 0.22 * in_nuclei(at, cell) + inside * spots(at, s, v, height, 0.11)


def bundle(rng, s, v, length):
    """Sample points (s, v, height) of a microtubule bundle of `length` µm within 10 degrees of the axis."""
    along = np.arange(-length / 2, length / 2, 0.2)
    slope = np.tan(np.radians(rng.uniform(-8, 8)))
    gaps = rng.choice([1.0, 0.0], len(along), p=[0.8, 0.2])
    return s + along, v + slope * along, gaps * rng.uniform(0.7, 1.5)


def arp3(at, cell, rng):
    """Actin patches: round dots where the cell grows, at the red tips and in two rows beside the septum."""
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
    """Large irregular clumps on either side of each nucleus, with lobes like butterfly wings; dim elsewhere."""
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
    """Sample one clump, about 2 `size` µm long: merged round lobes along two diagonals; 0 to 1, soft at the edge."""
    main = rng.choice([-1, 1])
    angle = np.radians(np.repeat([main, -main], 4) * rng.uniform(15, 75, 8))
    along = np.tile(np.linspace(-1, 1, 4), 2) * size * rng.uniform(0.8, 1.0, 8)
    height = np.concatenate([rng.uniform(0.3, 1.1, 4), rng.uniform(0.0, 0.9, 4)])
    lobe_v = np.clip(v + along * np.sin(angle), -1.1, 1.1) + rng.normal(0, 0.12, 8)
    lobes = spots(at, s + along * np.cos(angle), lobe_v, height, rng.uniform(0.34, 0.50, 8))
    return sigmoid(lobes - 0.48, 0.11)


def mkh1(at, cell, rng):
    """Bright smooth cytoplasm, dark round nuclei, and a solid band over the septum at the expense of the tips."""
    gradient = 0.16 * cell.old_tip * at_tip(at, cell, 1, 1.2) + 0.13 * cell.new_tip * at_tip(at, cell, -1, 1.2)
    tips = 0.2 * cell.septum * (at_tip(at, cell, 1, 1.5) + at_tip(at, cell, -1, 1.5))
    return 1 + gradient - tips + 0.05 * grain(rng, 1.5) - 0.40 * in_nuclei(at, cell) + 0.9 * in_septum(at, cell, 0.38)


def sid2(at, cell, rng):
    """A dot on each spindle pole body, granular cytoplasm, and a thin band at the septum."""
    s, v = np.transpose(cell.spindle_poles)
    poles = spots(at, s, v, rng.uniform(0.9, 1.4, len(s)), 0.24)
    granules = 0.03 * grain(rng, 1.5)
    return 1 + granules - 0.25 * in_nuclei(at, cell) + poles + 0.6 * in_septum(at, cell, 0.24)


def tea1(at, cell, rng):
    """Crescents at both ends at all ages, growing or not, small dots on the cortex, and a weak line at the septum."""
    crescents = np.zeros_like(at.s)
    cortex = gaussian(at.depth - 0.25, 0.42)
    for side in (-1, 1):
        broken = 1 + 0.3 * grain(rng, 1.0)
        crescents += rng.uniform(1.6, 2.8) * broken * cortex * at_tip(at, cell, side, rng.uniform(0.6, 0.85))
    count = rng.poisson(1.2 * cell.length_um)
    s = rng.uniform(-0.85, 0.85, count) * cell.half_um
    dots = spots(at, s, across(cell, rng, s), rng.uniform(0.15, 0.8, count), 0.12)
    return 1 + crescents + dots - 0.1 * in_nuclei(at, cell) + 0.35 * in_septum(at, cell, 0.18)


# --- channels and their brightness --------------------------------------------------------------------------------

FACTORS = {"Alp14": alp14, "Arp3": arp3, "Cki2": cki2, "Mkh1": mkh1, "Sid2": sid2, "Tea1": tea1}
CHANNELS = {"Bgs4": bgs4, **FACTORS}
# Photon noise of plain cytoplasm, and the smallest and largest fraction of a cell that is saturated.
NOISE = {"Bgs4": 0.15, "Alp14": 0.10, "Arp3": 0.11, "Cki2": 0.10, "Mkh1": 0.06, "Sid2": 0.07, "Tea1": 0.10}
SATURATED = {"Bgs4": (0.01, 0.06), "Alp14": (0.01, 0.04), "Arp3": (0.015, 0.05), "Cki2": (0.04, 0.16),
             "Mkh1": (0.03, 0.12), "Sid2": (0.01, 0.04), "Tea1": (0.01, 0.045)}


# --- the microscope ---------------------------------------------------------------------------------------------

@functools.cache
def blur_matrix(size, sigma, reach):
    """Convolution with a Gaussian of `sigma` pixels, truncated at `reach` pixels, along one side: (size, size)."""
    distance = np.arange(size)[:, None] - np.arange(size)
    weights = np.where(np.abs(distance) <= reach, gaussian(distance, sigma), 0)
    return (weights / weights[size // 2].sum()).astype(np.float32)


def blur(image, sigma, reach=4):
    """Gaussian blur of an image (ROWS, COLUMNS) that is dark beyond its border."""
    return blur_matrix(ROWS, sigma, reach) @ image @ blur_matrix(COLUMNS, sigma, reach)


def grain(rng, sigma):
    """Sample noise of unit variance whose grain has `sigma` pixels: (ROWS, COLUMNS)."""
    return blur(rng.standard_normal((ROWS, COLUMNS), np.float32), sigma) * np.float32(2 * np.sqrt(np.pi) * sigma)


def render(cell, channels, rng):
    """Render an image of one cell: uint8 (ROWS, COLUMNS, len(channels)), 0 outside the cell.

    `channels` are names in CHANNELS. Each has its own random stream, so a channel does not depend on which others are
    rendered.
    """
    first, *rest = rng.spawn(1 + len(CHANNELS))
    streams = dict(zip(CHANNELS, rest))
    at = coordinates(cell)
    return _render({name: streams[name] for name in channels}, cell, at, segment(at, first))


def render_greens_again(cell, repeats, rng):
    """Render further greens of a cell, all of which have the red and the mask that `render` gives it.

    Returns uint8 (repeats, ROWS, COLUMNS, len(FACTORS)). `rng` is the cell's, as `cell_rng` gives it.
    """
    first, *rest = rng.spawn(1 + len(CHANNELS) + repeats)
    at = coordinates(cell)
    mask = segment(at, first)
    return np.stack([_render(dict(zip(FACTORS, again.spawn(len(FACTORS)))), resample_hidden(again, cell), at, mask)
                     for again in rest[len(CHANNELS):]])


def _render(streams, cell, at, mask):
    """An image of the channels that have `streams`, {name: random generator}."""
    red, green = focus_red(at), focus_green(cell)
    images = []
    for name, rng in streams.items():
        in_focus = CHANNELS[name](at, cell, rng) * (red if name == "Bgs4" else green)
        images.append(expose(name, in_focus, mask, rng))
    return np.stack(images, axis=-1)


def segment(at, rng):
    """Mask of the segmentation, (ROWS, COLUMNS) in [0, 1]: the outline with noise, slightly blurred."""
    outline_noise = 0.04 * grain(rng, 0.8)
    return blur((at.depth > outline_noise).astype(np.float32), 0.65, reach=2)


def focus_red(at):
    """Fraction of the red light that comes from the focal plane: the cell thins towards its edge."""
    return 1 - 0.27 * np.exp(-np.maximum(at.depth, 0) / 0.5)


def focus_green(cell):
    """The same for green, whose plane is shifted and smaller: a dark rim remains on one side or all around."""
    inside = coordinates(cell, cell.green_shift_um).depth - cell.green_inset_um
    return cell.green_rim + (1 - cell.green_rim) * sigmoid(inside, 0.16)


def expose(channel, concentration, mask, rng):
    """Apply point spread, photon noise and the mask of the segmentation, then saturate the brightest few percent."""
    light = blur(concentration.astype(np.float32), 0.7)
    light += NOISE[channel] * np.sqrt(np.maximum(light, 0)) * grain(rng, 0.62)
    light = np.maximum(light, 0) * mask
    brightest = np.quantile(light[mask > 0.5], 1 - rng.uniform(*SATURATED[channel]))
    return np.clip(light * (255 / brightest), 0, 255).astype(np.uint8)
