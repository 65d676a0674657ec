"""Make a movie of a cell that turns into others, or grows through the cell cycle."""

import math
import secrets
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import checkpoint, codes, models, options as command_line, predict
from ..system import launch
from ..evaluation import scoring
from ..system.errors import InputError
from ..system.files import replacing

TILE = 240                  # screen pixels: a panel of the movie is about as wide
STRIP_TILE = 160            # the same for a panel of the strip
LABEL = 22                  # screen pixels above each panel
GAP = 4                     # screen pixels between panels
STRIP = 10                  # columns of the strip, at most

SAMPLE = 2048               # cells from which the direction of growth is learnt
WALKS = 48                  # cells that are made to grow, of which the steadiest is shown
STEPS = 31                  # cells that are measured on each walk
REACH = 3.0                 # how far a walk goes to either side; random z are as far in one case of 370


class Keys(NamedTuple):
    """Latents (keys, nz) that a movie goes through, what each is called, and whether it goes back to the first one."""

    z: np.ndarray
    names: list
    closed: bool


def interpolate(options):
    """Make a movie as the parsed `options` say. Raises InputError for a user's mistake."""
    launch.announce()
    if options.cells and not options.stack:
        raise InputError("--cells chooses among the cells of a stack: give that with --stack")
    path = checkpoint.find(options.input_file, options.checkpoints_dir)
    generator, spec, facts = checkpoint.load_generator(path)
    codes.refuse(path, spec.codes)
    channels = predict.chosen_channels(path, spec, options.polarity_factors)
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    keys = key_frames(options, generator, spec, facts, seed, channels[0])
    chosen = "" if options.seeds or options.stack else f"; seed {seed}"
    print(f"key frames: {', '.join(keys.names)}{chosen}", flush=True)
    cells = _drawn(generator, way(keys.z, options.frames, keys.closed))[..., channels]
    names = [spec.channel_names[k] for k in channels]
    name = f"interpolation{len(channels)}.{spec.architecture}.{facts['training']['algorithm']}"
    output = Path(options.output) if options.output else predict.IMAGES / name
    movie = Movie(cells, names, options.scale, options.palette)
    for suffix, write in ((".gif", write_gif), (".mp4", write_mp4)):
        file = output.with_name(output.name + suffix)
        write(file, movie, options.fps)
        print(f"Output movie to file: {file}")
    file = output.with_name(output.name + ".png")
    write_strip(file, cells, names, keys, options.frames, options.palette)
    print(f"Output picture to file: {file}")
    file = output.with_name(output.name + ".h5")
    predict.write_stack(file, generator, len(keys.z), np.split(keys.z, range(64, len(keys.z), 64)), channels,
                        predict.stack_attributes(path, spec, facts, channels) | {"seed": seed})
    print(f"Output image stack of the key frames to file: {file}")


def _drawn(generator, z):
    from ..core.engine import generate
    return (generate(generator, z.astype("float32")) + 1) / 2


# ---------------------------------------------------------------------------------------------- the way

def slerp(start, end, t):
    """Spherical interpolation between two latents (nz,), at each of `t` (n,) in [0, 1]; returns (n, nz).

    The direction turns at a constant angular speed along the shortest arc (Shoemake 1985), and the length changes
    linearly. On a straight line it would shrink, to images that a generator was never asked for: normal vectors lie
    near a sphere (White 2016). Raises ValueError for opposite directions, between which no arc is shortest.
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


def way(keys, frames, closed):
    """Latents of a movie through `keys` (keys, nz), `frames` from each to the next.

    A closed way has keys * frames of them and ends one before the first, so that the movie can go round; an open one
    ends with the last key.
    """
    t = np.arange(frames) / frames
    ends = [*keys[1:], keys[0]] if closed else keys[1:]
    parts = [slerp(start, end, t) for start, end in zip(keys, ends)]
    return np.concatenate(parts if closed else [*parts, keys[-1:]])


# ---------------------------------------------------------------------------------------------- the key frames

def key_frames(options, generator, spec, facts, seed, red=0):
    """The Keys that the options choose; `red` is the channel to measure with --cycle. Raises InputError."""
    number = options.number or (8 if options.cycle else 4)
    if options.cycle:
        z, lengths = cell_cycle(generator, spec, number, seed, red)
        micrometres = facts["pixel_size_um"]
        return Keys(z, [f"{length * micrometres:.1f} um" if micrometres else f"{length:.0f} px" for length in lengths],
                    closed=False)
    if options.seeds:
        z = [np.random.default_rng(number).standard_normal(spec.nz, np.float32) for number in options.seeds]
        z, names = np.array(z), [f"seed {number}" for number in options.seeds]
    elif options.stack:
        z, names = _latents_of(options.stack, options.cells, spec)
    elif options.data:
        z, names = _real(options, generator, spec, facts, number, seed)
    else:
        z = np.random.default_rng(seed).standard_normal((number, spec.nz), np.float32)
        names = [f"cell {k}" for k in range(number)]
    if len(z) < 2:
        raise InputError("one key frame makes no movie: choose two or more")
    return Keys(z, names, not options.open)


def _latents_of(path, cells, spec):
    """(z (keys, nz), names) of the chosen `cells`, all by default, of a stack."""
    import h5py
    from ..core import visualize

    if not visualize.is_hdf5(Path(path)):
        raise InputError(f"{path}: this is not an HDF5 file: give a stack that predict.py or biogans reconstruct wrote")
    try:
        with h5py.File(path, "r", locking=False) as file:
            link = file.get("z", getlink=True)
            z = np.array(file["z"]) if isinstance(link, h5py.HardLink) and not file["z"].external else None
    except (OSError, RuntimeError, TypeError, AttributeError) as problem:
        raise InputError(f"{path}: this HDF5 file is damaged ({problem}): write it again with predict.py") from None
    if z is None or z.ndim != 2 or z.dtype.kind != "f" or not np.isfinite(z).all():
        raise InputError(f"{path}: no latents z in this file: give a stack that predict.py or biogans reconstruct wrote")
    if z.shape[1] != spec.nz:
        raise InputError(f"{path}: its z have {z.shape[1]} numbers, those of this generator have {spec.nz}: give the "
                         f"generator's file that drew it")
    cells = cells or range(len(z))
    if max(cells) >= len(z):
        raise InputError(f"{path}: no cell {max(cells)}: it has {len(z)}, counted from 0")
    return z[list(cells)], [f"cell {k}" for k in cells]


def _real(options, generator, spec, facts, number, seed):
    """(z (keys, nz), names) of the reconstructions of held-out images, chosen at random."""
    from .reconstruct import choose, search

    held_out = choose(scoring.load_real(options.data, spec.factors, "test", facts), number, options.polarity_factors, seed)
    found = search(generator, spec, held_out, seed=seed)
    return found.z, [f"{held_out.factors[label]} {file.stem}"
                     for label, file in zip(held_out.labels, held_out.files)]


# ---------------------------------------------------------------------------------------------- the cell cycle

def cell_cycle(generator, spec, number, seed, red=0):
    """(z (number, nz), lengths in pixels) of one cell that grows: key frames of which none is shorter than one before.

    The direction of growth in the space of z is the slope of a linear model of the length of random cells. Random
    cells are moved along it, from REACH below the mean to REACH above, on a circle that keeps |z|: so all else in z
    stays, and the same cell is seen longer and longer. The walk is taken that looks best (`_goodness`). Raises
    InputError if the generator draws no cells that can be measured, or none that grows.
    """
    rng = np.random.default_rng(seed)
    red = models.restricted_to(generator, [red]) if red or models.has_red_tower(generator) else generator
    z = rng.standard_normal((SAMPLE, spec.nz))
    known = _measured(red, z)
    found = np.isfinite(known[:, 0])
    if found.sum() < SAMPLE / 2:
        raise InputError(f"only {found.sum()} of {SAMPLE} random cells have an outline that can be measured: train the "
                         f"generator longer")
    slope, *_ = np.linalg.lstsq(np.column_stack([z, np.ones(SAMPLE)])[found], known[found, 0], rcond=None)
    growth = slope[:-1] / max(np.linalg.norm(slope[:-1]), 1e-12)
    walks = np.array([_walk(start, growth) for start in z[found][:WALKS]])
    measured = _measured(red, walks.reshape(-1, spec.nz)).reshape(len(walks), STEPS, -1)
    kept = [_rising(walk[:, 0]) for walk in measured]
    goodness = [_goodness(walk[steps]) if len(steps) >= number and np.ptp(walk[steps, 0]) >= 1 else -np.inf
                for walk, steps in zip(measured, kept)]
    best = np.argmax(goodness)
    if goodness[best] == -np.inf:
        raise InputError(f"-n {number}: no cell grows in so many steps: choose fewer, or another seed with -s")
    shown = np.array(kept[best])[np.linspace(0, len(kept[best]) - 1, number).round().astype(int)]
    return walks[best][shown].astype("float32"), measured[best, shown, 0]


def _walk(start, growth):
    """Latents (STEPS, nz) of the length of `start` along the direction `growth` (nz,), of length 1."""
    rest = start - (start @ growth) * growth
    reach = min(REACH, 0.9 * np.linalg.norm(start))
    position = np.linspace(-reach, reach, STEPS)[:, None]
    return position * growth + np.sqrt(start @ start - position ** 2) * rest / np.linalg.norm(rest)


def _goodness(walk):
    """How good a walk of measured cells (steps, 5) is to look at, in pixels: growth less movement, turning and jumps.

    Growth that ends with a septum twice as bright as the cell, or more, counts double.
    """
    length, angle = walk[:, 0], np.unwrap(walk[:, 3], period=np.pi)
    moved = np.linalg.norm(np.ptp(walk[:, 1:3], axis=0)) + np.ptp(angle) * length.mean() / 2
    septum = np.clip(walk[-1, 4] - 1, 0, 1)
    return np.ptp(length) * (1 + septum) - moved - 2 * np.diff(length).max()


def _rising(lengths):
    """Positions of the longest part of `lengths` in which none is smaller than one before it."""
    ending = []                 # at each position, the longest such part that ends there
    for length in lengths:
        before = [part for part in ending if lengths[part[-1]] <= length]
        ending.append([*max(before, key=len, default=[]), len(ending)])
    return max(ending, key=len)


def _measured(red, z):
    return np.array([measure(image[..., 0]) for image in _drawn(red, z)])


def measure(image):
    """(length, row and column of the centre, angle, middle) of the cell in one `image` (H, W), in pixels.

    The cell is the largest region that is brighter than half of its middle brightness; its length is measured along
    its main axis, that of the largest variance, which is at an angle in [-pi/2, pi/2] to the rows; `middle` is how
    many times brighter than the whole cell the middle tenth of its length is. All NaN if there is no region of at
    least 9 pixels.
    """
    from scipy import ndimage

    bright = image[image > 0.1 * image.max()]
    regions, count = ndimage.label(ndimage.binary_opening(image > np.median(bright) / 2)) if bright.size else (None, 0)
    sizes = np.bincount(regions.ravel())[1:] if count else [0]
    if max(sizes) < 9:
        return (np.nan,) * 5
    cell = regions == 1 + np.argmax(sizes)
    pixels = np.argwhere(cell)
    centre = pixels.mean(axis=0)
    axis = np.linalg.eigh(np.cov((pixels - centre).T))[1][:, 1]
    axis = axis if axis[1] > 0 else -axis
    along = (pixels - centre) @ axis
    length = np.ptp(along) + 1
    middle = image[cell][np.abs(along) <= max(length / 20, 0.5)].mean() / image[cell].mean()
    return (length, *centre, math.atan2(axis[0], axis[1]), middle)


# ---------------------------------------------------------------------------------------------- pictures

class Movie:
    """The frames of a movie, uint8 (height, width, 3), both sides even, made one by one as they are asked for.

    cells   (frames, H, W, channels) in [0, 1]; their `names`, the red marker first
    scale   screen pixels for a pixel, interpolated bicubically; by default so many that a panel is some TILE wide
    """

    def __init__(self, cells, names, scale=None, palette="red-green"):
        self.cells, self.names, self.palette = cells, names, palette
        high, wide = cells.shape[1:3]
        self.scale = scale or max(1, round(TILE / wide))
        panels = len(panels_of(cells[0], names))
        rows = max(1, int(math.sqrt(panels * wide / high * 9 / 16)))
        self.rows, self.columns = rows, math.ceil(panels / rows)

    def __len__(self):
        return len(self.cells)

    def __getitem__(self, k):
        from PIL import Image, ImageDraw, ImageFont

        panels = [(name, _enlarged(image, self.scale, self.palette), hue)
                  for name, image, hue in panels_of(self.cells[k], self.names)]
        wide, high = panels[0][1].width + GAP, panels[0][1].height + LABEL
        picture = Image.new("RGB", [-(-side // 2) * 2 for side in (self.columns * wide, self.rows * high)])
        pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=14)
        for position, (name, tile, hue) in enumerate(panels):
            row, column = divmod(position, self.columns)
            picture.paste(tile, (column * wide, row * high + LABEL))
            pen.text((column * wide + tile.width // 2, row * high + LABEL // 2), name, hue, font, anchor="mm")
        return np.asarray(picture)


def _enlarged(image, scale, palette):
    """Return the Pillow picture of an `image` (H, W, channels) in [0, 1], each side `scale` times as long."""
    from PIL import Image
    from ..core import figures

    tile = Image.fromarray(figures.to_bytes(figures.tile(image, palette)))
    return tile.resize((tile.width * scale, tile.height * scale), Image.Resampling.BICUBIC)


def panels_of(cell, names):
    """[(name, image, colour of the name)] of a `cell` (H, W, channels): red, its merges with greens, and all greens.

    Names have the colour that their factor has in the picture of all; images have two channels, or three for RGB.
    """
    from ..core import figures

    ink = figures.INK
    if len(names) == 1:
        return [(names[0], cell, ink)]
    red, greens = cell[..., 0], np.moveaxis(cell[..., 1:], -1, 0)
    several = len(greens) > 1
    hues = [tuple(hue) for hue in figures.to_bytes(figures.hues(len(greens))).tolist()]
    panels = [(names[0], np.stack([red, np.zeros_like(red)], axis=-1), ink)]
    panels += [(name, np.stack([red, green], axis=-1), hue if several else ink)
               for name, green, hue in zip(names[1:], greens, hues)]
    return panels + ([("all factors", figures.composite(greens), ink)] if several else [])


def write_gif(path, movie, fps):
    """Write a `movie` (uint8 frames) as a GIF that goes round. All frames share 255 colours, so nothing flickers."""
    from PIL import Image

    some = [movie[k] for k in np.linspace(0, len(movie) - 1, min(len(movie), 12)).astype(int)]
    # Other methods give the many greens all colours, and the hues of the picture of all factors none.
    palette = Image.fromarray(np.concatenate(some)).quantize(255, Image.Quantize.FASTOCTREE)
    frames = [Image.fromarray(movie[k]).quantize(palette=palette, dither=Image.Dither.NONE) for k in range(len(movie))]
    with replacing(path) as temporary:
        frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], loop=0,
                       duration=round(1000 / fps / 10) * 10)


def write_mp4(path, movie, fps):
    """Write a `movie` (uint8 frames of even sides) as MP4 (H.264, which every browser plays)."""
    import imageio.v2

    with replacing(path) as temporary:
        with imageio.v2.get_writer(temporary, format="FFMPEG", fps=fps, codec="libx264", quality=8,
                                   macro_block_size=2) as writer:
            for k in range(len(movie)):
                writer.append_data(movie[k])


def write_strip(path, cells, names, keys, frames, palette):
    """Write a PNG of some frames: a column for each, channels in rows; key frames have their name on top."""
    from ..core import figures

    parts = max(1, STRIP // len(keys.z))
    shown = {key * frames + part * frames // parts: keys.names[key] if part == 0 else ""
             for key in range(len(keys.z)) for part in range(parts)}
    shown = {frame: name for frame, name in shown.items() if frame < len(cells)}
    columns = [panels_of(cells[frame], names) for frame in shown]
    scale = max(1, round(STRIP_TILE / cells.shape[2]))
    rows = [[np.asarray(_enlarged(image, scale, palette)) / 255 for _, image, _ in row] for row in zip(*columns)]
    figures.write_picture(path, figures.table(rows, list(shown.values()), [name for name, _, _ in columns[0]]))


parser = command_line.interpolate_parser


def main(arguments=None):
    return launch.run(interpolate, parser().parse_args(arguments))
