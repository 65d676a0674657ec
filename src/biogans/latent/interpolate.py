"""Make a movie of a cell that turns into others, or grows through the cell cycle."""

import secrets
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import c2st, codes, options as command_line, trained
from ..io import drawings
from ..system import arguments, hdf5, launch
from ..system.errors import InputError
from ..system.gifs import write_gif
from . import movies
from .cell_cycle import cell_cycle
from .inversion import Search, balanced_sample, invert
from .paths import latent_path

STRIP_COLUMNS = 10          # at most, unless there are more key frames
BATCH_SIZE = 64             # key frames that are generated at a time


class KeyFrames(NamedTuple):
    """Latent vectors (keys, nz) that a movie passes, their names, and whether it returns to the first."""

    z: np.ndarray
    names: list
    closed: bool


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans interpolate", description=__doc__, epilog=(
        "Between two cells z moves on a sphere, near which random z lie, and all factors are generated on the way.\n"
        "Of an InfoGAN's codes, continuous ones change evenly, and categories in the middle between two cells.\n"
        "--cycle estimates from random cells in which direction of z they get longer, and moves one cell along it: it\n"
        "grows, first at one tip and then at both, and forms a septum; then the movie starts again with a short cell,\n"
        "its daughter.\n\n"
        "images/interpolation7.….gif, .mp4    the movie: red, each factor merged with it, all factors in one panel\n"
        "images/interpolation7.….png          a strip of its frames\n"
        "images/interpolation7.….h5           the key frames: a stack like those of predict.py, with z\n\n"
        "examples, where FILE is checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5:\n"
        "  biogans interpolate -i FILE --cycle             the cell cycle\n"
        "  biogans interpolate -i FILE -n 6                six random cells\n"
        "  biogans interpolate -i FILE --seeds 3,17,5      the cells of predict.py -s 3, -s 17 and -s 5\n"
        "  biogans interpolate -i FILE -d data -n 3        between real cells (reconstructed held-out images)\n"
        "  biogans interpolate -i weights.generator.InfoGAN.GAN.0.h5 --code c0=3      an InfoGAN, in one category\n"
        "  biogans interpolate -i FILE --cells 0,9 --stack images/reconstructed7.joint.DCGAN-starshaped.WGAN-GP.h5"))
    group = p.add_argument_group("generator")
    command_line.add_generator(group)
    command_line.add_factors(group)
    _add_key_frames(p.add_argument_group("key frames (random cells by default)"))
    _add_movie(p.add_argument_group("movie"))
    files = p.add_argument_group("files")
    files.add_argument("-o", "--output", metavar="NAME",
                       help="path of the files without .gif, .mp4, .png, .h5; default: images/interpolation7.…")
    command_line.add_checkpoints_dir(files)
    return p


def _add_key_frames(group):
    choice = group.add_mutually_exclusive_group()
    choice.add_argument("--seeds", type=arguments.several(arguments.seed), default=(), metavar="N,N",
                        help="the cells that predict.py -s generates")
    choice.add_argument("--stack", metavar="FILE.h5", help="cells of a stack from predict.py or biogans reconstruct")
    choice.add_argument("-d", "--data", metavar="DATAROOT",
                        help="reconstructions of random images from the *_test part of this folder")
    choice.add_argument("--cycle", action="store_true", help="one growing cell, measured in the red channel")
    group.add_argument("--cells", type=arguments.several(arguments.index), default=(), metavar="N,N",
                       help="cells of the stack to use, counted from 0; default: all")
    group.add_argument("--code", metavar="NAME=VALUE,…",
                       help="codes of an InfoGAN to keep at a value in all key frames, such as c0=3,u1=-0.5")
    group.add_argument("-n", "--number", type=arguments.at_least_two, default=None, metavar="N",
                       help="number of key frames, if they are random or of --cycle; default=4, and 8 with --cycle")
    group.add_argument("-s", "--seed", type=arguments.seed, default=None, metavar="N",
                       help="random seed, to make the same movie again; by default every run makes a new one")


def _add_movie(group):
    group.add_argument("--frames", type=arguments.positive_int, default=16, metavar="N",
                       help="frames from one key frame to the next; default=16")
    group.add_argument("--fps", type=arguments.positive_float, default=16.0, metavar="N",
                       help="frames per second; default=16")
    group.add_argument("--open", action="store_true",
                       help="end with the last key frame; by default the movie returns to the first one (except with "
                            "--cycle: a long cell becomes a short one by division)")
    group.add_argument("--scale", type=arguments.positive_int, default=None, metavar="N",
                       help="magnify every pixel N times, with smoothing; default: panels about 240 pixels wide")
    command_line.add_palette(group)


def interpolate(options):
    """Make a movie as the parsed `options` say. Raises InputError for a user error."""
    launch.announce()
    if options.cells and not options.stack:
        raise InputError("--cells chooses among the cells of a stack: give the stack with --stack")
    generator = trained.load_generator(options.input_file, options.checkpoints_dir)
    channels = generator.channels(options.polarity_factors)
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    keys = key_frames(options, generator, seed, channels[0])
    chosen = "" if options.seeds or options.stack else f"; seed {seed}"
    print(f"key frames: {', '.join(keys.names)}{chosen}", flush=True)
    output = Path(options.output) if options.output else (
        trained.IMAGES / f"interpolation{len(channels)}.{generator.name}")
    write_movie(output, generator, keys, channels, options)
    file = output.with_name(output.name + ".h5")
    trained.write_stack(file, generator, np.split(keys.z, range(BATCH_SIZE, len(keys.z), BATCH_SIZE)), channels,
                        generator.stack_attributes(channels) | {"seed": seed})
    print(f"Output image stack of the key frames to file: {file}")


def write_movie(output, generator, keys, channels, options):
    """Write `output`.gif, .mp4 and .png, the movie through the KeyFrames and a strip of it."""
    path = latent_path(keys.z, options.frames, keys.closed, generator.spec.codes).astype("float32")
    cells = ((generator.generate(path) + 1) / 2)[..., channels]
    names = [generator.spec.channel_names[k] for k in channels]
    movie = movies.Movie(cells, names, options.scale, command_line.palette_of(options))
    for suffix, write in ((".gif", write_gif), (".mp4", movies.write_mp4)):
        file = output.with_name(output.name + suffix)
        write(file, movie, options.fps)
        print(f"Output movie to file: {file}")
    file = output.with_name(output.name + ".png")
    movies.write_strip(file, movie, strip_titles(keys, options.frames, len(cells)))
    print(f"Output picture to file: {file}")


def strip_titles(keys, frames, number):
    """{frame: title} of the columns of a strip: the KeyFrames, with their names, and frames between them.

    frames    from each key to the next, of a movie of `number` frames
    """
    parts = max(1, STRIP_COLUMNS // len(keys.z))
    titles = {key * frames + part * frames // parts: keys.names[key] if part == 0 else ""
              for key in range(len(keys.z)) for part in range(parts)}
    return {frame: title for frame, title in titles.items() if frame < number}


# ---------------------------------------------------------------------------------------------- key frames

def key_frames(options, generator, seed, red=0):
    """The KeyFrames that the options choose; `red` is the channel to measure with --cycle. Raises InputError."""
    number, spec = options.number or (8 if options.cycle else 4), generator.spec
    fixed = codes.parse_codes(options.code, spec.codes)
    if options.cycle or options.data:
        codes.require_no_codes(generator.path, spec.codes)
    if options.cycle:
        z, lengths = cell_cycle(generator, number, seed, red)
        micrometres = generator.metadata.pixel_size_um
        return KeyFrames(z, [f"{length * micrometres:.1f} µm" if micrometres else f"{length:.0f} px"
                             for length in lengths], closed=False)
    if options.seeds:
        z = np.concatenate([next(generator.latents(1, each)) for each in options.seeds])
        names = [f"seed {each}" for each in options.seeds]
    elif options.stack:
        z, names = latents_of_stack(options.stack, options.cells, spec.nz)
    elif options.data:
        z, names = latents_of_images(options, generator, number, seed)
    else:
        z = next(generator.latents(number, seed, number))
        names = [f"cell {k}" for k in range(number)]
    if len(z) < 2:
        raise InputError("one key frame makes no movie: choose two or more")
    z = codes.with_values(z, fixed)
    return KeyFrames(z, with_categories(names, z, generator), not options.open)


def with_categories(names, z, generator):
    """The names of cells of z (cells, nz), each followed by its categories if the generator has any."""
    labels = codes.read_labels(generator)
    for code in (code for code in generator.spec.codes if code.is_categorical):
        values = codes.value_names(code, z[:, code.indices].argmax(axis=1).tolist(), labels)
        names = [f"{name}, {value}" for name, value in zip(names, values, strict=True)]
    return names


def latents_of_stack(path, cells, nz):
    """(z (keys, nz), names) of the chosen `cells`, all by default, of a stack. Raises InputError."""
    if not drawings.is_hdf5(Path(path)):
        raise InputError(f"{path}: not an HDF5 file: give a stack from predict.py or biogans reconstruct")
    try:
        with hdf5.opened(path) as file:
            dataset = hdf5.own_dataset(file, "z")
            z = None if dataset is None else np.array(dataset)
    except hdf5.UNREADABLE as problem:
        raise InputError(f"{path}: this HDF5 file is damaged ({hdf5.reason(problem)}): write it again with "
                         f"predict.py") from None
    if z is None or z.ndim != 2 or z.dtype.kind != "f" or not np.isfinite(z).all():
        raise InputError(f"{path}: no latent vectors z in this file: give a stack from predict.py or biogans "
                         f"reconstruct")
    if z.shape[1] != nz:
        raise InputError(f"{path}: its z have {z.shape[1]} numbers, and this generator needs {nz}: give the file of "
                         f"the generator that the stack comes from")
    cells = cells or range(len(z))
    if max(cells) >= len(z):
        raise InputError(f"{path}: no cell {max(cells)}: it has {len(z)}, counted from 0")
    return z[list(cells)], [f"cell {k}" for k in cells]


def latents_of_images(options, generator, number, seed):
    """(z (keys, nz), names) of reconstructions of random held-out images. Raises InputError."""
    held_out = c2st.load_real(options.data, "test", generator.metadata, generator.spec.factors)
    images = balanced_sample(held_out, number, options.polarity_factors, seed)
    found = invert(generator, images, Search(seed=seed))
    return found.z, [f"{images.factors[label]} {file.stem}" for label, file in zip(images.labels, images.files)]


def main(arguments=None):
    return launch.run(interpolate, parser().parse_args(arguments))
