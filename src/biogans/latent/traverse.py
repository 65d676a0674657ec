"""Vary each code of an InfoGAN over its range."""

import numpy as np
from PIL import Image

from ..core import codes, figures, options as command_line, trained
from ..system import arguments, launch
from ..system.errors import InputError
from ..system.gifs import write_gif, write_training_movie
from ..system.palettes import fitted
from ..system.pixels import unit_to_bytes

MARGIN = 2                              # pixels between the cells of a movie
MOVIE_WIDTH = 480                       # screen pixels, approximately


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans traverse", description=(
        __doc__ + "\n\n"
        "In each row of a picture one code varies, and the rest of z stays the same. Rows differ in noise and in the\n"
        "other codes: what changes in the same way in every row is what the code means."), epilog=(
        "images/traversal.<code>.….png    values across, noise vectors down\n"
        "images/traversal.<code>.….gif    the same as a movie, back and forth\n"
        "images/training.….gif            with --training\n\n"
        "examples, where FILE is checkpoints/weights.generator.InfoGAN.GAN.0.h5:\n"
        "  biogans traverse -i FILE                all codes\n"
        "  biogans traverse -i FILE --code c0=3    all codes but c0, which is always 3\n"
        "  biogans traverse -i FILE --reach 2      continuous codes from -2 to 2\n"
        "  biogans traverse -i FILE --training     the movie that train.py makes at its end, with another --fps"))
    command_line.add_generator(p)
    p.add_argument("--code", metavar="NAME=VALUE,…", help="codes to keep at a value, such as c0=3,u1=-0.5")
    p.add_argument("-n", "--number", type=arguments.positive_int, default=6, metavar="N",
                   help="noise vectors, one per row; default=6")
    p.add_argument("--steps", type=arguments.at_least_two, default=10, metavar="N",
                   help="values of a continuous code in a picture; default=10")
    p.add_argument("--reach", type=arguments.positive_float, default=1.0, metavar="R",
                   help="continuous codes vary from -R to R; in training they lie within 1; default=1")
    p.add_argument("--fps", type=arguments.positive_float, default=12.0, metavar="N",
                   help="frames per second; default=12")
    p.add_argument("--training", action="store_true",
                   help="make only the movie of the training, from the pictures in the folder images, which show the "
                        "same z every -M iterations")
    p.add_argument("-s", "--seed", type=arguments.seed, default=0, metavar="N",
                   help="random seed of the noise; default=0")
    command_line.add_palette(p)
    command_line.add_checkpoints_dir(p)
    return p


def traverse(options):
    """Write what the parsed `options` ask for. Raises InputError for a user error."""
    launch.announce()
    generator = trained.load_generator(options.input_file, options.checkpoints_dir)
    spec, run_name = generator.spec, generator.run_name
    if options.training:
        log = generator.beside("log", ".csv")
        print(f"Output movie to file: {write_training_movie(trained.IMAGES, run_name, log, options.fps)}")
        return
    if not spec.codes:
        raise InputError(f"{generator.path} has no codes to vary: train with -m InfoGAN, or use biogans interpolate")
    fixed = codes.parse_codes(options.code, spec.codes)
    z = codes.with_values(next(generator.latents(options.number, options.seed, options.number)), fixed)
    for code in (code for code in spec.codes if code not in fixed):
        stem = trained.IMAGES / f"traversal.{code.name}.{run_name}"
        write_traversal_picture(stem.with_name(stem.name + ".png"), generator, z, code, options)
        write_traversal_movie(stem.with_name(stem.name + ".gif"), generator, z, code, options)


def code_values(code, steps, reach):
    """The values that a code takes, from -reach to reach if it is continuous."""
    return code.values(steps) if code.is_categorical else [reach * value for value in code.values(steps)]


def traversal_cells(generator, z, code, values):
    """Cells (values, len(z), height, width, channels) in [0, 1]."""
    cells = generator.generate(codes.traversal(z, code, values))
    return ((cells + 1) / 2).reshape(len(values), len(z), *cells.shape[1:])


def write_traversal_picture(path, generator, z, code, options):
    """Write a picture: values of the code across, cells of z down."""
    values = code_values(code, options.steps, options.reach)
    cells = traversal_cells(generator, z, code, values)
    header = codes.value_names(code, values, codes.read_labels(generator))
    figures.write_picture(path, figures.table(np.moveaxis(cells, 1, 0), header, [""] * len(z),
                                              command_line.palette_of(options)))
    print(f"Output picture to file: {path}")


def write_traversal_movie(path, generator, z, code, options):
    """Write a GIF of the cells of z, side by side, as the code takes its values; a continuous one back and forth."""
    values = code_values(code, 2 * options.steps, options.reach)
    cells = traversal_cells(generator, z, code, values)
    palette = fitted(command_line.palette_of(options), cells.reshape(-1, *cells.shape[2:]))
    frames = [_side_by_side(row, palette) for row in cells]
    repeats = max(1, round(options.fps / 2)) if code.is_categorical else 1
    frames = [frame for frame in frames for _ in range(repeats)]
    write_gif(path, frames if code.is_categorical else frames + frames[-2:0:-1], options.fps)
    print(f"Output movie to file: {path}")


def _side_by_side(cells, palette):
    tiles = [np.pad(unit_to_bytes(figures.tile(cell, palette)), ((0, 0), (0, MARGIN), (0, 0))) for cell in cells]
    row = Image.fromarray(np.concatenate(tiles, axis=1)[:, :-MARGIN])
    scale = max(1, round(MOVIE_WIDTH / row.width))
    return np.asarray(row.resize((row.width * scale, row.height * scale), Image.Resampling.NEAREST))


def main(arguments=None):
    return launch.run(traverse, parser().parse_args(arguments))
