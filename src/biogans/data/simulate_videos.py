"""Simulate fluorescence videos of mitochondria, with ground truth.

Mitochondria are tubes: worm-like chains whose bending modes fluctuate, that bead, are cut in two, and fuse at their
tips with the tube beside them, which makes networks. The camera sees them through a Gaussian point spread, on a haze
in an uneven light, while they bleach, the stage drifts and, in some videos, the focus is lost for some frames. A pixel
counts Poisson-distributed photons times a gain, plus normal read noise and an offset.

Lengths are in pixels, times in frames. Everything is a function of (seed, number of the video).
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .. import __version__
from ..system import launch
from . import simulate
from ..system.errors import InputError
from ..system.files import replacing
from ..core.options import Parser

PIXEL = 0.1                             # µm
RADIUS = 2.6                            # of a tube: mitochondria are about 0.5 µm thick
BLUR = 1.3                              # standard deviation of the point spread
PERSISTENCE = 45.0                      # length over which a tube keeps its direction
TUBES = 90 / 512 ** 2                   # for each pixel of the image
MEMORY = 0.95                           # of a tube's place and shape, from one frame to the next
FLEXIBILITY = 0.1                       # how much shapes fluctuate, relative to how different they are
REACH = 5.0                             # a tip this near another tube may fuse with it
STEP = 0.15                             # of the middle of a tube in a frame
FUSION, FISSION = 0.15, 0.012           # chance for a tip within reach, and for a tube, in each frame
SPACING = 0.5                           # of the points that a tube is drawn with
LOST_FOCUS = 5.0                        # the blur that is added where the focus is lost
NEVER = (0, 0)


# --- the microscope ---------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Microscope:
    """What a video was taken with: the truth about its noise, light and stage.

    A pixel that expects p photons reads offset + gain Poisson(p) + read_noise N(0, 1): its variance is
    gain (mean - offset) + read_noise².
    """

    photons: float                      # from the middle of a tube of usual thickness, in the first frame
    haze: float                         # photons from the rest of the cell
    background: float                   # photons from elsewhere
    tilt: tuple                         # relative change of these two from edge to edge of the image: (down, right)
    gain: float
    read_noise: float
    offset: float
    bleaching: float                    # frames after which 1/e of the light is left
    velocity: tuple                     # of the stage's drift, pixels a frame: (down, right)
    jitter: float                       # standard deviation of what is added to it in each frame
    defocused: tuple                    # first frame that is out of focus, and the first that is not any more


def sample_microscope(rng, frames):
    """Moderate noise: 80 to 250 photons where a tube is brightest, so a signal of 9 to 16 times its noise."""
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.6)
    photons = rng.uniform(80, 250)
    lost = int(rng.integers(frames // 4, frames // 2 + 1))
    return Microscope(
        photons=photons, haze=photons * rng.uniform(0.06, 0.15), background=rng.uniform(5, 20),
        tilt=tuple(rng.uniform(-0.4, 0.4, 2).tolist()), gain=rng.uniform(1.5, 6), read_noise=rng.uniform(2, 8),
        offset=100.0, bleaching=rng.uniform(1.5, 5) * frames,
        velocity=(speed * np.sin(angle), speed * np.cos(angle)), jitter=0.3,
        defocused=(lost, lost + max(1, frames // 8)) if rng.random() < 0.25 else NEVER)


def expected(microscope, light, haze, age):
    """Photons expected in each pixel. `light` (H, W) is 1 in the middle of a tube, `haze` 1 in a cell; both blurred."""
    down, right = (np.linspace(-0.5, 0.5, side, dtype=np.float32) for side in light.shape)
    lamp = 1 + microscope.tilt[0] * down[:, None] + microscope.tilt[1] * right
    left = np.exp(-age / microscope.bleaching)
    return (microscope.photons * light + lamp * microscope.haze * haze) * left + lamp * microscope.background


def expose(microscope, photons, rng):
    """The camera's uint16 counts of an image (H, W) of expected photons."""
    counts = microscope.offset + microscope.gain * rng.poisson(photons)
    counts = counts + microscope.read_noise * rng.standard_normal(photons.shape, np.float32)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


# --- mitochondria -----------------------------------------------------------------------------------------------

@dataclass(eq=False)
class Tube:
    """A mitochondrion: a chain of steps of one pixel, each in the direction of its angle, from a start (down, right).

    `parent` and `at` say on which tube, and at which of its steps, the start of a fused one is.
    """

    start: np.ndarray
    angles: np.ndarray
    brightness: float
    wavelength: float                   # of the beads
    phase: float
    beading: float                      # relative amplitude of the radius, now …
    tendency: float                     # … and in the long run
    parent: "Tube | None" = None
    at: int = 0
    points: np.ndarray = field(init=False)
    rest: np.ndarray = field(init=False)        # the angles about which it fluctuates
    home: np.ndarray = field(init=False)        # the same for the middle of a tube that is not fused to another

    def __post_init__(self):
        self.place()
        self.settle()

    def settle(self):
        """Take the present place and shape for those to which it is tethered."""
        self.rest, self.home = self.angles, self.points.mean(axis=0)

    def place(self):
        """Find the points (steps + 1, 2) from the start and the angles."""
        if self.parent is not None:
            self.start = self.parent.points[min(self.at, len(self.parent.angles))]
        steps = np.stack([np.sin(self.angles), np.cos(self.angles)], axis=-1)
        self.points = self.start + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])

    def radius(self):
        """At each point."""
        along = np.arange(len(self.points))
        return RADIUS * (1 + self.beading * np.cos(2 * np.pi * along / self.wavelength + self.phase))


def bends(rng, steps):
    """Angles (steps,) of a worm-like chain about its mean direction: normal amplitudes for each cosine mode.

    The variance of mode k is that of equilibrium, 2 L / (P (pi k)²) for a length L and a persistence length P.
    """
    from scipy.fft import dct
    k = np.arange(1, steps)
    modes = np.concatenate([[0], rng.standard_normal(steps - 1) * np.sqrt(2 * steps / PERSISTENCE) / (np.pi * k)])
    return dct(modes, type=3) / 2


def sample_tube(rng, start):
    steps = int(np.clip(rng.lognormal(np.log(45), 0.6), 12, 160))
    return Tube(start=np.asarray(start, float), angles=rng.uniform(0, 2 * np.pi) + bends(rng, steps),
                brightness=rng.uniform(0.75, 1.25), wavelength=rng.uniform(9, 14), phase=rng.uniform(0, 2 * np.pi),
                beading=0.0, tendency=rng.choice([0.0, 0.45], p=[0.65, 0.35]))


class Cell:
    """A cell of mitochondria in the middle of an image: an ellipse, most of whose tubes are outside of the nucleus."""

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
        """1 in the cell, 0 outside, softly; float32 (H, W)."""
        down, right = ((np.arange(side, dtype=np.float32) - side / 2 - offset) / half
                       for side, offset, half in zip(self.shape, shift, self.axes))
        return simulate.sigmoid(1.1 - np.hypot(down[:, None], right), 0.05)

    def move(self):
        """One frame: the tubes fluctuate about their places and shapes and bead; what is fused stays together.

        They are tethered, so that they have no motion in common: none could tell that from a drift of the stage.
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
        """The tubes, each after the one that it is fused to."""
        ordered, waiting = [], list(self.tubes)
        while waiting:
            ready = [tube for tube in waiting if tube.parent is None or any(tube.parent is each for each in ordered)]
            ordered += ready
            waiting = [tube for tube in waiting if not any(tube is each for each in ready)]
        return ordered

    def fuse(self, chance=FUSION):
        """Tips near another tube may fuse with it: the tube then begins there."""
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
        """(other tube, step) of the point nearest to `tip`, if it is within reach."""
        best, found = REACH, None
        for other in self.tubes:
            if other is tube or np.abs(other.points[0] - tip).max() > len(other.angles) + REACH:
                continue
            distances = np.hypot(*(other.points - tip).T)
            if distances.min() < best:
                best, found = distances.min(), (other, int(distances.argmin()))
        return found

    def split(self):
        """Some tubes let go of the one that they are fused to, or are cut in two."""
        for tube in list(self.tubes):
            if self.rng.random() >= FISSION:
                continue
            if tube.parent is not None:
                tube.parent = None
                tube.settle()
            elif len(tube.angles) >= 24:
                self.cut(tube, int(self.rng.integers(12, len(tube.angles) - 11)))

    def cut(self, tube, at):
        """Cut at a step; the new tube begins after a gap, and what was fused behind the cut goes with it."""
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


def draw(tubes, shape, shift):
    """(light, mask) of tubes that are shifted by (down, right): thickness relative to 2 RADIUS, and where there is any.

    In each pixel the thickest tube counts, a round one: sqrt(r² - d²) at distance d from its axis.
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
    canvas = np.zeros((shape[0] + 2, shape[1] + 2), np.float32)        # a frame for what lies outside
    down, right = (np.clip(each + 1, 0, side + 1) for each, side in zip((down, right), shape))
    np.maximum.at(canvas, (down[:, :, None], right[:, None, :]), squared * weights[:, None, None])
    thickness = np.sqrt(canvas[1:-1, 1:-1]) / RADIUS
    return thickness, thickness > 0


# --- videos -----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Frame:
    """counts, uint16 (H, W), and the truth: the mask (H, W), the drift (down, right) since the first frame, focus."""

    counts: np.ndarray
    mask: np.ndarray
    drift: np.ndarray
    focused: bool


def simulate_video(seed, index, frames, shape):
    """(Microscope, generator of Frames) of video number `index`; each frame is made when it is asked for."""
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
        thickness, mask = draw(cell.tubes, shape, drift)
        photons = expected(microscope, gaussian_filter(thickness, blur), cell.haze(drift), age)
        yield Frame(expose(microscope, photons, of_camera), mask, drift, focused)
        cell.split()
        cell.fuse()
        cell.move()
        drift = drift + microscope.velocity + of_stage.normal(0, microscope.jitter, 2)


def write_video(folder, truth, seed, index, frames, shape, meter):
    """Write folder/mitochondria_NN.ome.tif, frame by frame, and truth/mitochondria_NN.h5."""
    import h5py
    import tifffile
    microscope, video = simulate_video(seed, index, frames, shape)
    name = f"mitochondria_{index:02d}"
    drifts, focused = [], []
    with replacing(truth / f"{name}.h5") as partial, h5py.File(partial, "w") as file:
        masks = file.create_dataset("mask", (frames, *shape), bool, chunks=(1, *shape), compression="gzip")

        def pages():
            for k, frame in enumerate(video):
                masks[k] = frame.mask
                drifts.append(frame.drift)
                focused.append(frame.focused)
                meter.update()
                yield frame.counts

        with replacing(folder / f"{name}.ome.tif") as image:
            tifffile.imwrite(image, pages(), shape=(frames, *shape), dtype=np.uint16, ome=True,
                             photometric="minisblack",
                             metadata={"axes": "TYX", "PhysicalSizeX": PIXEL, "PhysicalSizeXUnit": "µm",
                                       "PhysicalSizeY": PIXEL, "PhysicalSizeYUnit": "µm", "Name": "simulated"})
        file["drift"], file["focused"] = drifts, focused
        file.attrs.update(vars(microscope) | {"seed": seed, "index": index, "version": __version__,
                                               "source": "simulated"})


def contact_sheet(target, seed, frames, shape, columns=6, rows=3):
    """Draw `rows` videos, one below the other, at `columns` times, each as bright as its first frame. A PNG."""
    from PIL import Image
    chosen = np.linspace(0, frames - 1, columns).astype(int)
    strips = []
    for index in range(rows):
        shown = [frame.counts for k, frame in enumerate(simulate_video(seed, index, frames, shape)[1]) if k in chosen]
        low, high = np.quantile(shown[0], (0.01, 0.999))
        strips.append(np.concatenate([np.clip((counts - low) / (high - low), 0, 1) for counts in shown], axis=1))
    with replacing(target) as partial:
        Image.fromarray((255 * np.concatenate(strips)).astype(np.uint8)).save(partial, format="PNG", optimize=True)


# --- the command ------------------------------------------------------------------------------------------------

def parser():
    """The command line."""
    p = Parser(
        prog="biogans simulate_videos",
        description="Make sample videos: simulated mitochondria that fuse, split and bead while the stage drifts.",
        epilog="Beside the videos (16-bit OME-TIFF) there is the folder truth with an HDF5 file for each: masks,\n"
               "drift and focus of every frame, and the microscope's photons, gain and read noise as attributes.\n\n"
               "examples:\n"
               "  biogans simulate_videos -o movies                           6 videos of 12 frames, 192x192 (5 MB)\n"
               "  biogans simulate_videos -o movies -n 20 --frames 30 --size 512      as many as a laboratory has (300 MB)\n"
               "  biogans simulate_videos --contact-sheet mitochondria.png    only a picture\n"
               "then: biogans preprocess -i movies/videos -o data; train.py -d data")
    out = p.add_argument_group("output (at least one)")
    out.add_argument("-o", "--output", metavar="FOLDER", help="the folder of the folders videos and truth")
    out.add_argument("--contact-sheet", metavar="FILE.png", help="draw three videos at six times")
    out.add_argument("--overwrite", action="store_true", help="replace simulated videos in FOLDER")
    size = p.add_argument_group("how much")
    size.add_argument("-n", "--number", type=simulate.number(1), metavar="N", default=6, help="videos (%(default)s)")
    size.add_argument("--frames", type=simulate.number(1), metavar="N", default=12, help="in each (%(default)s)")
    size.add_argument("--size", type=simulate.number(64), metavar="N", default=192,
                      help="pixels of each side (%(default)s)")
    size.add_argument("-s", "--seed", type=simulate.number(0), metavar="N", default=42,
                      help="the same seed makes the same videos; more of them start with those of fewer (%(default)s)")
    return p


def simulate_videos(options):
    """Do what the command line asks for."""
    from tqdm import tqdm
    if not (options.output or options.contact_sheet):
        raise InputError("nothing to make: add -o FOLDER for videos or --contact-sheet FILE.png for a picture")
    shape = (options.size, options.size)
    if options.contact_sheet:
        contact_sheet(options.contact_sheet, options.seed, options.frames, shape)
        print(f"Contact sheet: {options.contact_sheet}")
    if options.output:
        folder = Path(options.output)
        check_output(folder, options.overwrite)
        with tqdm(total=options.number * options.frames, unit=" frames", disable=None) as meter:
            for index in range(options.number):
                write_video(folder / "videos", folder / "truth", options.seed, index, options.frames, shape, meter)
        print(f"{options.number} simulated videos of {options.frames} frames: {folder / 'videos'}")


def check_output(folder, overwrite):
    """Refuse a folder in use; with `overwrite`, remove simulated videos, and nothing else, from it."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose another name for the output folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise InputError(f"{folder} is not empty: choose another folder, or add --overwrite to replace the simulated "
                         f"videos in it")
    for path in [*folder.glob("videos/mitochondria_*.ome.tif"), *folder.glob("truth/mitochondria_*.h5")]:
        path.unlink()


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(simulate_videos, parser().parse_args(arguments))
