"""Order cells along a code of an InfoGAN, and make a movie of the progression."""

import csv
from pathlib import Path

import numpy as np

from ..core import c2st, codes, dataloader, figures, options as command_line, trained
from ..evaluation import clusters
from ..system import arguments, launch
from ..system.errors import InputError
from ..system.files import replacing
from ..system.gifs import write_gif
from ..system.palettes import fitted
from ..system.pixels import to_signed, to_unit, unit_to_bytes

FRAMES, STRIP = 48, 9                   # of the movie, and cells in the strip
MAGNIFICATION = 6                       # screen pixels per pixel of the movie


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans pseudotime", description=(
        __doc__ + "\n\n"
        "The recognizer Q estimates the code of each image; its rank, from 0 to 1, is the cell's pseudotime. The code\n"
        "is the continuous one that correlates best with the light of a channel in the training images, in the\n"
        "direction in which the light increases: DNA, say, which doubles before a cell divides."), epilog=(
        "images/pseudotime.….csv    file, class, answer and pseudotime of each held-out image\n"
        "images/pseudotime.….png    real cells in order above one generated cell along the code\n"
        "images/pseudotime.….gif    the movie of that cell\n\n"
        "An order of fixed cells is not time: it does not show how fast a cell progresses, nor whether it takes this\n"
        "path at all, and stages that look alike are mixed. docs/infogan.md reports what was observed.\n\n"
        "examples, where FILE is checkpoints/weights.generator.InfoGAN.GAN.1.h5:\n"
        "  biogans pseudotime -i FILE -d data                 channel 2 is DNA\n"
        "  biogans pseudotime -i FILE -d data --along u1      a code chosen by eye"))
    command_line.add_generator(p)
    p.add_argument("-d", "--data", metavar="DATAROOT", required=True,
                   help="folder of real images, required; images of the *_test part are ordered. The order is compared "
                        "with the numeric columns of a manifest.csv beside the class folders, which names each file")
    p.add_argument("--along", metavar="CODE", help="a continuous code; default: the one that follows the light")
    p.add_argument("--channel", type=arguments.positive_int, default=2, metavar="N",
                   help="channel of the images, counted from 1, whose light increases with time; default=2")
    p.add_argument("--code", metavar="NAME=VALUE,…", help="other codes of the generated cell; default: random")
    p.add_argument("-s", "--seed", type=arguments.seed, default=0, metavar="N",
                   help="random seed of the generated cell; default=0")
    p.add_argument("--fps", type=arguments.positive_float, default=16.0, metavar="N",
                   help="frames per second; default=16")
    command_line.add_palette(p)
    command_line.add_checkpoints_dir(p)
    return p


def pseudotime(options):
    """Order cells as the parsed `options` say. Raises InputError for a user error."""
    launch.announce()
    generator = trained.load_generator(options.input_file, options.checkpoints_dir)
    spec = generator.spec
    candidates = candidate_codes(generator, options)
    fixed = codes.parse_codes(options.code, spec.codes)
    training, held_out = (c2st.load_real(options.data, split, generator.metadata) for split in ("train", "test"))
    dataloader.warn_of_copies(training, held_out)
    recognizer = trained.load_recognizer(generator.path)
    of_training, of_held_out = (codes.read_codes(recognizer, to_signed(images.pixels), spec.codes)
                                for images in (training, held_out))
    code, direction = choose_code(candidates, of_training, channel_light(training, options.channel))
    answer = direction * of_held_out[code.name]
    print(describe_order(code, direction, answer, held_out, options.channel))
    stem = str(trained.IMAGES / f"pseudotime.{generator.run_name}")
    write_order(Path(stem + ".csv"), held_out, answer)
    z = codes.with_values(next(generator.latents(1, options.seed)), fixed)
    frames = progression(generator, z, code, direction, answer)
    write_order_strip(Path(stem + ".png"), held_out, ranks(answer), frames,
                      command_line.palette_of(options))
    write_progression(Path(stem + ".gif"), frames, options)


def candidate_codes(generator, options):
    """The continuous codes to choose from, or the one of --along. Raises InputError."""
    continuous = {code.name: code for code in generator.spec.codes if not code.is_categorical}
    if not continuous:
        raise InputError(f"{generator.path} has no continuous code to order cells by: train with -m InfoGAN "
                         f"--continuous 3")
    if options.channel > generator.spec.channels:
        raise InputError(f"--channel {options.channel}: the images have {generator.spec.channels} channel(s)")
    if options.along and options.along not in continuous:
        raise InputError(f"--along {options.along}: the continuous codes are {', '.join(continuous)}")
    return [continuous[options.along]] if options.along else list(continuous.values())


def channel_light(images, channel):
    """The light of a channel, counted from 1, of each image."""
    return clusters.measured(images.pixels[..., channel - 1:channel])["light 1"]


def choose_code(candidates, answers, light):
    """(code, direction ±1): the code whose answers correlate best with the light, and the sign of the correlation."""
    rho = {code: clusters.rank_correlation(answers[code.name], light) for code in candidates}
    code = max(rho, key=lambda code: abs(rho[code]))
    return code, 1 if rho[code] >= 0 else -1


def ranks(answer):
    """Pseudotime (images,) in [0, 1]: the share of the other images that come before; ties share their mean."""
    from scipy.stats import rankdata
    return (rankdata(answer) - 1) / max(len(answer) - 1, 1)


def describe_order(code, direction, answer, held_out, channel):
    """How the order agrees with what is known of the cells, as text."""
    lines = [f"{len(answer)} held-out cells by {'-' if direction < 0 else ''}{code.name}; standard deviation of the "
             f"answers {answer.std():.2f} (of a uniform code: 0.58)"]
    quantities = {f"light of channel {channel}": channel_light(held_out, channel)} | dataloader.read_manifest(
        held_out.files)
    lines += [f"  rank correlation with {name}: {clusters.rank_correlation(answer, values):+.3f}"
              for name, values in quantities.items()]
    order = ranks(answer)
    lines += [f"  {name}: median pseudotime {np.median(order[held_out.labels == k]):.2f} "
              f"({(held_out.labels == k).sum()} cells)" for k, name in enumerate(held_out.factors)]
    return "\n".join(lines)


def write_order(path, held_out, answer):
    """Write a table of the cells, first to last."""
    order = ranks(answer)
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "class", "answer", "pseudotime"))
        for k in np.argsort(order, kind="stable"):
            writer.writerow((held_out.files[k], held_out.factors[held_out.labels[k]], f"{answer[k]:.5g}",
                             f"{order[k]:.5g}"))
    print(f"Output table to file: {path}")


def progression(generator, z, code, direction, answer):
    """FRAMES cells (frames, height, width, channels) in [0, 1]: the cell of z (1, nz) at every quantile of the answers.

    So every frame stands for the same number of real cells. Answers beyond the range of the code are clipped.
    """
    quantiles = np.quantile(answer, np.linspace(0.02, 0.98, FRAMES))
    values = direction * np.clip(quantiles, -1, 1)
    return (generator.generate(codes.traversal(z, code, values)) + 1) / 2


def write_order_strip(path, held_out, order, frames, palette):
    """Write a picture of real cells in order, above frames of the generated one."""
    wanted = np.linspace(0, 1, STRIP)
    nearest = [int(np.argmin(np.abs(order - moment))) for moment in wanted]
    rows = [to_unit(held_out.pixels[nearest]), frames[np.linspace(0, FRAMES - 1, STRIP).astype(int)]]
    figures.write_picture(path, figures.table(rows, [f"{moment:.2f}" for moment in wanted], ["real", "generated"],
                                              palette))
    print(f"Output picture to file: {path}")


def write_progression(path, frames, options):
    """Write the generated cell along the code as a GIF."""
    palette = fitted(command_line.palette_of(options), frames)
    pictures = [unit_to_bytes(figures.tile(image, palette))
                .repeat(MAGNIFICATION, axis=0).repeat(MAGNIFICATION, axis=1) for image in frames]
    write_gif(path, pictures, options.fps, last=0.5)
    print(f"Output movie to file: {path}")


def main(arguments=None):
    return launch.run(pseudotime, parser().parse_args(arguments))
