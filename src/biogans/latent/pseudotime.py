"""Order cells along a code of an InfoGAN, and make a movie of the progression."""

import csv
from pathlib import Path

import numpy as np

from ..core import checkpoint, codes, dataloader, figures, predict
from ..system import launch
from ..evaluation import clusters, features, scoring
from ..system.errors import InputError
from ..system.files import replacing
from .interpolate import write_gif
from ..core.options import Parser, _add_checkpoints_dir, _add_generator, _add_palette, _positive_float, _positive_int, _seed

IMAGES = Path("images")
FRAMES, STRIP = 48, 9                   # of the movie, and cells in the strip


def parser():
    """The command line."""
    p = Parser(prog="biogans pseudotime", description=__doc__ + "\n\n"
               "Q reads the code in each image; its rank, from 0 to 1, is the cell's pseudotime. The code is the\n"
               "continuous one that follows the light of a channel most closely in the training images, and runs in\n"
               "the direction in which there is more of it: DNA, say, of which a cell has twice as much in the end.",
               epilog=("images/pseudotime.….csv    file, class, answer and pseudotime of each held-out image\n"
                       "images/pseudotime.….png    real cells in order above one drawn cell along the code\n"
                       "images/pseudotime.….gif    the movie of that cell\n\n"
                       "An order of dead cells is not time: it says nothing of how fast a cell goes, nor whether it\n"
                       "goes that way at all, and stages that look alike are mixed. docs/infogan.md has what was seen.\n\n"
                       "examples, where FILE is checkpoints/weights.generator.InfoGAN.GAN.1.h5:\n"
                       "  biogans pseudotime -i FILE -d data                 channel 2 is that of DNA\n"
                       "  biogans pseudotime -i FILE -d data --along u1      a code chosen by eye"))
    _add_generator(p)
    p.add_argument("-d", "--data", metavar="DATAROOT", required=True,
                   help="folder of real images, required; those of *_test are ordered. A manifest.csv beside the "
                        "class folders, with the columns file and, say, t, is compared with")
    p.add_argument("--along", metavar="CODE", help="a continuous code; default: that which follows the channel's light")
    p.add_argument("--channel", type=_positive_int, default=2, metavar="N",
                   help="channel of the images, counted from 1, whose light grows with time; default=2")
    p.add_argument("--code", metavar="NAME=VALUE,…", help="other codes of the drawn cell; default: random")
    p.add_argument("-s", "--seed", type=_seed, default=0, metavar="N", help="of the drawn cell; default=0")
    p.add_argument("--fps", type=_positive_float, default=16.0, metavar="N", help="frames per second; default=16")
    _add_palette(p)
    _add_checkpoints_dir(p)
    return p


def pseudotime(options):
    """Order cells as the parsed `options` say. Raises InputError for a user's mistake."""
    launch.announce()
    path = checkpoint.find(options.input_file, options.checkpoints_dir)
    generator, spec, facts = checkpoint.load_generator(path)
    continuous = [code for code in spec.codes if not code.is_categorical]
    if not continuous:
        raise InputError(f"{path} has no continuous code to order cells by: train with -m InfoGAN --continuous 3")
    if options.channel > spec.channels:
        raise InputError(f"--channel {options.channel}: the images have {spec.channels} channel(s)")
    chosen = {code.name: code for code in continuous}
    if options.along and options.along not in chosen:
        raise InputError(f"--along {options.along}: the continuous codes are {', '.join(chosen)}")
    fixed = codes.parse(options.code, spec.codes)
    training, held_out = (scoring.load_real(options.data, (), split, facts) for split in ("train", "test"))
    recognizer = checkpoint.load_recognizer(path)
    answers = {split: codes.read(recognizer, features.scaled(images.pixels), spec.codes)
               for split, images in (("train", training), ("test", held_out))}
    code, direction = choose([chosen[options.along]] if options.along else continuous, answers["train"],
                             light(training, options.channel))
    answer = direction * answers["test"][code.name]
    order = ranks(answer)
    print(report(code, direction, answer, held_out, options.channel))
    stem = str(IMAGES / f"pseudotime.{spec.architecture}.{facts['training']['algorithm']}.{spec.greens}")
    write(Path(stem + ".csv"), held_out, answer, order)
    normal = next(predict.latents(1, spec.nz, options.seed, 1))
    z = codes.with_values(codes.from_normal(normal, spec.codes), fixed)
    cell = along(generator, z, code, direction, answer)
    draw(stem, held_out, order, cell, options)


def light(images, channel):
    """The light of a channel, counted from 1, of each image."""
    return clusters.measured(images.pixels[..., channel - 1:channel])["light 1"]


def choose(continuous, answers, light):
    """(code, direction ±1): the code whose answers follow the light most closely, and how it grows with it."""
    rho = {code: clusters.rank_correlation(answers[code.name], light) for code in continuous}
    code = max(rho, key=lambda code: abs(rho[code]))
    return code, 1 if rho[code] >= 0 else -1


def ranks(answer):
    """Pseudotime (images,) in [0, 1]: the share of the other images that come before; ties share their mean."""
    from scipy.stats import rankdata
    return (rankdata(answer) - 1) / max(len(answer) - 1, 1)


def report(code, direction, answer, held_out, channel):
    """How the order agrees with what is known of the cells, as text."""
    lines = [f"{len(answer)} held-out cells by {'-' if direction < 0 else ''}{code.name}, whose answers spread by "
             f"{answer.std():.2f} (0.58 if they are as uniform as drawn codes)"]
    quantities = {f"light of channel {channel}": light(held_out, channel)} | dataloader.known(held_out.files)
    lines += [f"  rank correlation with {name}: {clusters.rank_correlation(answer, values):+.3f}"
              for name, values in quantities.items()]
    order = ranks(answer)
    lines += [f"  {name}: median pseudotime {np.median(order[held_out.labels == k]):.2f} "
              f"({(held_out.labels == k).sum()} cells)" for k, name in enumerate(held_out.factors)]
    return "\n".join(lines)


def write(path, held_out, answer, order):
    """Write a table of the cells, first to last."""
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "class", "answer", "pseudotime"))
        for k in np.argsort(order, kind="stable"):
            writer.writerow((held_out.files[k], held_out.factors[held_out.labels[k]], f"{answer[k]:.5g}",
                             f"{order[k]:.5g}"))
    print(f"Output table to file: {path}")


def along(generator, z, code, direction, answer):
    """FRAMES cells (frames, height, width, channels) in [0, 1]: that of z (1, nz) at every quantile of the answers.

    So each frame stands for as many real cells as any other. Answers beyond the range of the code are cut.
    """
    from ..core.engine import generate
    quantiles = np.quantile(answer, np.linspace(0.02, 0.98, FRAMES))
    values = direction * np.clip(quantiles, -1, 1)
    return (draw(generator, codes.traversal(z, code, values)) + 1) / 2


def draw(stem, held_out, order, cell, options):
    """Write the strip of cells of the data above the drawn one, and the movie of that."""
    wanted = np.linspace(0, 1, STRIP)
    nearest = [int(np.argmin(np.abs(order - moment))) for moment in wanted]
    rows = [held_out.pixels[nearest] / np.float32(255), cell[np.linspace(0, FRAMES - 1, STRIP).astype(int)]]
    both = [[_panel(image) for image in row] for row in rows]
    path = Path(stem + ".png")
    figures.write_picture(path, figures.table(both, [f"{moment:.2f}" for moment in wanted], ["data", "drawn"],
                                              options.palette))
    print(f"Output picture to file: {path}")
    path = Path(stem + ".gif")
    frames = [figures.to_bytes(figures.tile(_panel(image), options.palette)).repeat(6, axis=0).repeat(6, axis=1)
              for image in cell]
    write_gif(path, frames + [frames[-1]] * round(options.fps / 2), options.fps)
    print(f"Output movie to file: {path}")


def _panel(image):
    """Channels one above the other, gray: brightfield has no colour, and a merge would hide it."""
    return np.concatenate(np.moveaxis(image, -1, 0), axis=0)[..., None]


def main(arguments=None):
    return launch.run(pseudotime, parser().parse_args(arguments))
