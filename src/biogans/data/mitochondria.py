"""Model of mitochondria under a fluorescence microscope, with ground truth.

Mitochondria are tubes: worm-like chains whose bending modes fluctuate and whose thickness beads. They divide, and fuse
at their tips with the tube beside them, which forms networks. The camera sees them through a Gaussian point spread, on
a haze in uneven light, while they bleach and the stage drifts; in some videos the focus is lost for some frames. Each
pixel counts Poisson-distributed photons times a gain, plus normal read noise and an offset.

Lengths are in pixels, times in frames. Everything is a function of (seed, number of the video).
"""

from dataclasses import dataclass, field, replace

import numpy as np

from .curves import sigmoid

PIXEL = 0.1                             # µm
RADIUS = 2.6                            # of a tube: mitochondria are about 0.5 µm thick
BLUR = 1.3                              # standard deviation of the point spread
PERSISTENCE = 45.0                      # length over which a tube keeps its direction
TUBES = 90 / 512 ** 2                   # per pixel of the image
MEMORY = 0.95                           # correlation of a tube's position and shape between successive frames
FLEXIBILITY = 0.1                       # fluctuation of shapes, relative to their diversity
REACH = 5.0                             # distance within which a tip may fuse with another tube
STEP = 0.15                             # standard deviation of the motion of a tube's middle per frame
FUSION, FISSION = 0.15, 0.012           # probability per frame for a tip within reach, and for a tube
SPACING = 0.5                           # between the points with which a tube is rendered
LOST_FOCUS = 5.0                        # additional blur of frames out of focus
NEVER = (0, 0)


# --- the microscope ---------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Microscope:
    """Settings with which a video was recorded: the truth about its noise, light and stage.

    A pixel with an expectation of p photons reads offset + gain Poisson(p) + read_noise N(0, 1): its variance is
    gain (mean - offset) + read_noise².
    """

    photons: float                      # from the middle of a tube of typical thickness, in the first frame
    haze: float                         # photons from the rest of the cell
    background: float                   # photons from elsewhere
    tilt: tuple                         # relative change of these two across the image: (down, right)
    gain: float
    read_noise: float
    offset: float
    bleaching: float                    # frames after which 1/e of the light remains
    velocity: tuple                     # of the stage's drift, in pixels per frame: (down, right)
    jitter: float                       # standard deviation of the drift around this velocity, per frame
    defocused: tuple                    # the first frame out of focus, and the first one in focus again


def sample_microscope(rng, frames):
    """Sample a microscope with moderate noise.

    Where a tube is brightest it counts 80 to 250 photons: a signal-to-noise ratio of 9 to 16.
    """
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.6)
    photons = rng.uniform(80, 250)
    lost = int(rng.integers(frames // 4, frames // 2 + 1))
    return Microscope(
        photons=photons, haze=photons * rng.uniform(0.06, 0.15), background=rng.uniform(5, 20),
        tilt=tuple(rng.uniform(-0.4, 0.4, 2).tolist()), gain=rng.uniform(1.5, 6), read_noise=rng.uniform(2, 8),
        offset=100.0, bleaching=rng.uniform(1.5, 5) * frames,
        velocity=(speed * np.sin(angle), speed * np.cos(angle)), jitter=0.3,
        defocused=(lost, lost + max(1, frames // 8)) if rng.random() < 0.25 else NEVER)


def expected_photons(microscope, light, haze, age):
    """Photons expected in each pixel. `light` (H, W) is 1 in the middle of a tube, `haze` 1 in a cell; both blurred."""
    down, right = (np.linspace(-0.5, 0.5, side, dtype=np.float32) for side in light.shape)
    lamp = 1 + microscope.tilt[0] * down[:, None] + microscope.tilt[1] * right
    left = np.exp(-age / microscope.bleaching)
    return (microscope.photons * light + lamp * microscope.haze * haze) * left + lamp * microscope.background


def expose(microscope, photons, rng):
    """Sample the camera's uint16 counts of an image (H, W) of expected photons."""
    counts = microscope.offset + microscope.gain * rng.poisson(photons)
    counts = counts + microscope.read_noise * rng.standard_normal(photons.shape, np.float32)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


# --- mitochondria -----------------------------------------------------------------------------------------------

@dataclass(eq=False)
class Tube:
    """A mitochondrion: a chain of steps of one pixel, each in the direction of its angle, from a start (down, right).

    The start of a fused tube lies on the tube `parent`, at its step `at`.
    """

    start: np.ndarray
    angles: np.ndarray
    brightness: float
    wavelength: float                   # of the beads
    phase: float
    beading: float                      # relative amplitude of the radius at present …
    tendency: float                     # … and in the long run
    parent: "Tube | None" = None
    at: int = 0
    points: np.ndarray = field(init=False)
    rest: np.ndarray = field(init=False)        # angles around which it fluctuates
    home: np.ndarray = field(init=False)        # position around which its middle fluctuates, unless it is fused

    def __post_init__(self):
        self.place()
        self.settle()

    def settle(self):
        """Tether the tube to its present position and shape."""
        self.rest, self.home = self.angles, self.points.mean(axis=0)

    def place(self):
        """Compute the points (steps + 1, 2) from the start and the angles."""
        if self.parent is not None:
            self.start = self.parent.points[min(self.at, len(self.parent.angles))]
        steps = np.stack([np.sin(self.angles), np.cos(self.angles)], axis=-1)
        self.points = self.start + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])

    def radius(self):
        """Radius at each point."""
        along = np.arange(len(self.points))
        return RADIUS * (1 + self.beading * np.cos(2 * np.pi * along / self.wavelength + self.phase))


def bends(rng, steps):
    """Sample the angles (steps,) of a worm-like chain around its mean direction: normal amplitudes of cosine modes.

    Mode k has its variance at equilibrium, 2 L / (P (pi k)²) for a length L and a persistence length P.
    """
    from scipy.fft import dct
    k = np.arange(1, steps)
    modes = np.concatenate([[0], rng.standard_normal(steps - 1) * np.sqrt(2 * steps / PERSISTENCE) / (np.pi * k)])
    return dct(modes, type=3) / 2


def sample_tube(rng, start):
    """Sample a tube that begins at `start` (down, right)."""
    steps = int(np.clip(rng.lognormal(np.log(45), 0.6), 12, 160))
    return Tube(start=np.asarray(start, float), angles=rng.uniform(0, 2 * np.pi) + bends(rng, steps),
                brightness=rng.uniform(0.75, 1.25), wavelength=rng.uniform(9, 14), phase=rng.uniform(0, 2 * np.pi),
                beading=0.0, tendency=rng.choice([0.0, 0.45], p=[0.65, 0.35]))


class Cell:
    """A cell full of mitochondria in the middle of an image: an ellipse whose tubes start outside the nucleus."""

    def __init__(self, rng, shape):
        self.rng, self.shape = rng, np.array(shape)
        self.axes = self.shape * rng.uniform(0.36, 0.44, 2)
        self.nucleus = rng.normal(0, 0.12, 2)
        self.tubes = []
        while len(self.tubes) < max(3, round(TUBES * self.shape.prod())):
            where = rng.uniform(-1, 1, 2)
            if np.hypot(*where) < 0.95 and np.hypot(*(where - self.nucleus)) > 0.3:
                self.tubes.append(sample_tube(rng, self.shape / 2 + where * self.axes))
        for _ in range(60):             # let networks form
            self.fuse(1.0)
            self.move()

    def haze(self, shift):
        """Haze of a cell shifted by (down, right): 1 inside, 0 outside, with a soft edge; float32 (H, W)."""
        down, right = ((np.arange(side, dtype=np.float32) - side / 2 - offset) / half
                       for side, offset, half in zip(self.shape, shift, self.axes))
        return sigmoid(1.1 - np.hypot(down[:, None], right), 0.05)

    def move(self):
        """Advance one frame: tubes fluctuate around their positions and shapes, and bead; fused ones stay together.

        They are tethered so that they have no motion in common, which would be indistinguishable from drift.
        """
        rng = self.rng
        for tube in self.tubes:
            fresh = FLEXIBILITY * (bends(rng, len(tube.angles)) + rng.normal(0, 0.2))
            tube.angles = tube.rest + MEMORY * (tube.angles - tube.rest) + np.sqrt(1 - MEMORY ** 2) * fresh
            tube.beading += 0.1 * (tube.tendency - tube.beading) + rng.normal(0, 0.01)
            if tube.parent is None:
                middle = tube.points.mean(axis=0)
                middle = tube.home + MEMORY * (middle - tube.home) + rng.normal(0, STEP, 2)
                tube.place()
                tube.start = tube.start + middle - tube.points.mean(axis=0)
        for tube in self.in_order():
            tube.place()

    def in_order(self):
        """All tubes, each after the one to which it is fused."""
        ordered, waiting = [], list(self.tubes)
        while waiting:
            ready = [tube for tube in waiting if tube.parent is None or any(tube.parent is each for each in ordered)]
            ordered += ready
            waiting = [tube for tube in waiting if not any(tube is each for each in ready)]
        return ordered

    def fuse(self, chance=FUSION):
        """Fuse some of the tips near another tube with it: their tube then begins there."""
        for tube in self.tubes:
            if tube.parent is not None or any(other.parent is tube for other in self.tubes):
                continue
            for reverse in (False, True):
                tip = tube.points[-1 if reverse else 0]
                near = self.nearest(tip, tube)
                if near and self.rng.random() < chance:
                    if reverse:
                        tube.angles = tube.angles[::-1] + np.pi
                    tube.parent, tube.at = near
                    tube.place()
                    tube.settle()
                    break

    def nearest(self, tip, tube):
        """(other tube, step) of the point nearest to `tip`, or None if none is within reach."""
        best, found = REACH, None
        for other in self.tubes:
            if other is tube or np.abs(other.points[0] - tip).max() > len(other.angles) + REACH:
                continue
            distances = np.hypot(*(other.points - tip).T)
            if distances.min() < best:
                best, found = distances.min(), (other, int(distances.argmin()))
        return found

    def split(self):
        """Detach some fused tubes, and cut some others in two."""
        for tube in list(self.tubes):
            if self.rng.random() >= FISSION:
                continue
            if tube.parent is not None:
                tube.parent = None
                tube.settle()
            elif len(tube.angles) >= 24:
                self.cut(tube, int(self.rng.integers(12, len(tube.angles) - 11)))

    def cut(self, tube, at):
        """Cut a tube at a step; the new tube begins after a gap and takes along what was fused behind the cut."""
        gap = 4
        rest = replace(tube, start=tube.points[min(at + gap, len(tube.angles) - 8)], parent=None,
                       angles=tube.angles[min(at + gap, len(tube.angles) - 8):],
                       phase=tube.phase + 2 * np.pi * (at + gap) / tube.wavelength)
        for other in self.tubes:
            if other.parent is tube and other.at > at:
                other.parent, other.at = rest, max(0, min(other.at - at - gap, len(rest.angles)))
        tube.angles = tube.angles[:at]
        tube.place()
        tube.settle()
        self.tubes.append(rest)


def render_tubes(tubes, shape, shift):
    """Render tubes shifted by (down, right): (thickness relative to 2 RADIUS, mask).

    Tubes are round: sqrt(r² - d²) at distance d from the axis. The thickest one counts in each pixel.
    """
    points, weights, radii = [], [], []
    for tube in tubes:
        along = np.arange(0, len(tube.angles), SPACING)
        steps = np.arange(len(tube.points))
        points.append(np.stack([np.interp(along, steps, tube.points[:, k]) for k in (0, 1)], axis=-1) + shift)
        radii.append(np.interp(along, steps, tube.radius()))
        weights.append(np.full(len(along), tube.brightness ** 2))
    points, weights, radii = map(np.concatenate, (points, weights, radii))
    half = int(np.ceil(radii.max())) + 1
    corner = np.rint(points).astype(int)
    window = np.arange(-half, half + 1)
    down, right = corner[:, 0, None] + window, corner[:, 1, None] + window
    squared = radii[:, None, None] ** 2 - ((down - points[:, 0, None]) ** 2)[:, :, None] - (
        (right - points[:, 1, None]) ** 2)[:, None, :]
    canvas = np.zeros((shape[0] + 2, shape[1] + 2), np.float32)        # with a rim for what lies outside
    down, right = (np.clip(each + 1, 0, side + 1) for each, side in zip((down, right), shape))
    np.maximum.at(canvas, (down[:, :, None], right[:, None, :]), squared * weights[:, None, None])
    thickness = np.sqrt(canvas[1:-1, 1:-1]) / RADIUS
    return thickness, thickness > 0


# --- videos -----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Frame:
    """Counts, uint16 (H, W), and the truth: mask (H, W), drift (down, right) since the first frame, focus."""

    counts: np.ndarray
    mask: np.ndarray
    drift: np.ndarray
    focused: bool


def simulate_video(seed, index, frames, shape):
    """Simulate video number `index`: (Microscope, iterator over Frames, each of which is computed when needed)."""
    rng = np.random.default_rng([seed, index])
    microscope = sample_microscope(rng, frames)
    return microscope, _frames(microscope, rng, frames, shape)


def _frames(microscope, rng, frames, shape):
    from scipy.ndimage import gaussian_filter
    of_cell, of_stage, of_camera = rng.spawn(3)
    cell = Cell(of_cell, shape)
    drift = np.zeros(2)
    for age in range(frames):
        focused = not microscope.defocused[0] <= age < microscope.defocused[1]
        blur = BLUR if focused else np.hypot(BLUR, LOST_FOCUS)
        thickness, mask = render_tubes(cell.tubes, shape, drift)
        photons = expected_photons(microscope, gaussian_filter(thickness, blur), cell.haze(drift), age)
        yield Frame(expose(microscope, photons, of_camera), mask, drift, focused)
        cell.split()
        cell.fuse()
        cell.move()
        drift = drift + microscope.velocity + of_stage.normal(0, microscope.jitter, 2)
