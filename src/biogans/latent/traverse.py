"""Vary each code of an InfoGAN over its range."""

import re
from pathlib import Path

import numpy as np

from ..core import checkpoint, codes, figures, predict
from ..system import launch
from ..system.errors import InputError
from .interpolate import write_gif
from ..core.options import Parser, _add_checkpoints_dir, _add_generator, _add_palette, _at_least_two, _positive_float, \
    _positive_int, _seed

IMAGES = Path("images")
MARGIN = 2                              # pixels between the cells of a movie
MOVIE_WIDTH = 480                       # screen pixels, about


def parser():
    """The command line."""
    p = Parser(prog="biogans traverse", description=__doc__ + "\n\n"
               "In a row of a picture all of z stays but one code. Rows differ in noise and in the other codes: what\n"
               "changes in the same way in every row is what the code means.",
               epilog=("images/traversal.<code>.….png    values across, noises down\n"
                       "images/traversal.<code>.….gif    the same as a movie, there and back\n"
                       "images/training.….gif            with --training\n\n"
                       "examples, where FILE is checkpoints/weights.generator.InfoGAN.GAN.0.h5:\n"
                       "  biogans traverse -i FILE                        every code\n"
                       "  biogans traverse -i FILE --code c0=3            every code but c0, which is 3 throughout\n"
                       "  biogans traverse -i FILE --reach 2              continuous codes from -2 to 2\n"
                       "  biogans traverse -i FILE --training             the pictures that train.py stored, as a movie"))
    _add_generator(p)
    p.add_argument("--code", metavar="NAME=VALUE,…", help="codes to keep at a value, such as c0=3,u1=-0.5")
    p.add_argument("-n", "--number", type=_positive_int, default=6, metavar="N", help="noises, one a row; default=6")
    p.add_argument("--steps", type=_at_least_two, default=10, metavar="N",
                   help="values of a continuous code in a picture; default=10")
    p.add_argument("--reach", type=_positive_float, default=1.0, metavar="R",
                   help="continuous codes go from -R to R; trained ones lie within 1; default=1")
    p.add_argument("--fps", type=_positive_float, default=12.0, metavar="N", help="frames per second; default=12")
    p.add_argument("--training", action="store_true",
                   help="make a movie of the pictures of generated images in the folder images, which show the same "
                        "latents at each -M iterations of the training")
    p.add_argument("-s", "--seed", type=_seed, default=0, metavar="N", help="of the noises; default=0")
    _add_palette(p)
    _add_checkpoints_dir(p)
    return p


def traverse(options):
    """Write what the parsed `options` ask for. Raises InputError for a user's mistake."""
    launch.announce()
    path = checkpoint.find(options.input_file, options.checkpoints_dir)
    generator, spec, facts = checkpoint.load_generator(path)
    run = f"{spec.architecture}.{facts['training']['algorithm']}.{spec.greens}"
    if options.training:
        return training_movie(IMAGES / f"training.{run}.gif", run, options.fps)
    if not spec.codes:
        raise InputError(f"{path} has no codes to move: train one with -m InfoGAN, or see biogans interpolate")
    fixed = codes.parse(options.code, spec.codes)
    normal = np.concatenate(list(predict.latents(options.number, spec.nz, options.seed, options.number)))
    z = codes.with_values(codes.from_normal(normal, spec.codes), fixed)
    for code in (code for code in spec.codes if code not in fixed):
        stem = IMAGES / f"traversal.{code.name}.{run}"
        picture(stem.with_name(stem.name + ".png"), generator, z, code, options)
        movie(stem.with_name(stem.name + ".gif"), generator, z, code, options)


def values(code, steps, reach):
    """What a code goes through, from -reach to reach if it is continuous."""
    return code.values(steps) if code.is_categorical else [reach * value for value in code.values(steps)]


def drawn(generator, z, code, values):
    """Cells (values, len(z), height, width, channels) in [0, 1]."""
    from ..core.engine import generate
    cells = generate(generator, codes.traversal(z, code, values))
    return ((cells + 1) / 2).reshape(len(values), len(z), *cells.shape[1:])


def picture(path, generator, z, code, options):
    """Write the values of a code across and the cells of z down, and say so."""
    chosen = values(code, options.steps, options.reach)
    cells = drawn(generator, z, code, chosen)
    header = [f"{code.name}={value}" if code.is_categorical else f"{value:+.1f}" for value in chosen]
    figures.write_picture(path, figures.table(np.moveaxis(cells, 1, 0), header, [""] * len(z), options.palette))
    print(f"Output picture to file: {path}")


def movie(path, generator, z, code, options):
    """Write the cells of z, side by side, as a code goes through its values; a continuous one there and back."""
    chosen = values(code, 2 * options.steps, options.reach)
    cells = drawn(generator, z, code, chosen)
    frames = [_side_by_side(row, options.palette) for row in cells]
    slowly = max(1, round(options.fps / 2)) if code.is_categorical else 1
    frames = [frame for frame in frames for _ in range(slowly)]
    write_gif(path, frames if code.is_categorical else frames + frames[-2:0:-1], options.fps)
    print(f"Output movie to file: {path}")


def _side_by_side(cells, palette):
    from PIL import Image

    tiles = [np.pad(figures.to_bytes(figures.tile(cell, palette)), ((0, 0), (0, MARGIN), (0, 0))) for cell in cells]
    row = Image.fromarray(np.concatenate(tiles, axis=1)[:, :-MARGIN])
    scale = max(1, round(MOVIE_WIDTH / row.width))
    return np.asarray(row.resize((row.width * scale, row.height * scale), Image.Resampling.NEAREST))


def training_movie(path, run, fps):
    """Write a GIF of the pictures that a training stored as images/fake_samples.<run>.<iteration>.png."""
    from PIL import Image

    pattern = re.compile(re.escape(f"fake_samples.{run}.") + r"(\d+)\.png")
    found = sorted((int(match[1]), file) for file in IMAGES.glob("*.png") if (match := pattern.fullmatch(file.name)))
    if len(found) < 2:
        raise InputError(f"{IMAGES}: {len(found)} picture(s) fake_samples.{run}.*.png here, too few for a movie: train "
                         f"with a smaller -M")
    frames = [np.asarray(Image.open(file).convert("RGB")) for _, file in found]
    if len({frame.shape for frame in frames}) > 1:
        raise InputError(f"{IMAGES}: the pictures fake_samples.{run}.*.png differ in size: remove those of other runs")
    write_gif(path, frames + [frames[-1]] * round(fps), fps)
    print(f"Output movie to file: {path}")


def main(arguments=None):
    return launch.run(traverse, parser().parse_args(arguments))
