#!/usr/bin/env python3
"""Generate new cells with a trained generator, and compare them with real ones."""

if not __package__:                     # a copy of this folder, run as `python predict.py`
    import sys
    sys.path.insert(0, __file__.rpartition("/")[0])     # PYTHONSAFEPATH leaves it out
    import launch
    launch.run_copy(__file__)

import argparse
import hashlib
import json
import math
import secrets
from collections.abc import Sequence

import numpy as np

from .. import __version__
from ..io import stacks
from ..io.formats import FORMATS
from ..system import arguments, launch
from ..system.arguments import rare
from ..system.errors import InputError
from ..system.json_text import read_json
from ..system.outline import measure_outline
from ..system.stop import record_progress
from . import c2st, codes, dataloader, options as command_line, settings, trained
from .dataloader import Images
from .models import NetworkSpec
from .trained import IMAGES, TrainedGenerator

COMPARED = 100              # cells with whose lengths that of a new cell is compared
SEPTUM = 1.1                # times the brightness of the cell: that of its middle if it has a septum
FEW_ITERATIONS = 300        # with fewer, no preset shows cells
# Options of train.py that state what the file is expected to contain.
EXPECTED = ("network_model", "gan_algorithm", "nz", "ngf", "ndf", "optimizer", "lrD", "lrG", "wgan_clip_value",
            "wgangp_lambda")


def parser() -> arguments.Parser:
    """The command line."""
    p = arguments.Parser(prog="predict.py", help_all=True, description=__doc__, epilog=(
        "Architecture, algorithm, sizes and factors come from the input file. Repeat an interrupted command to resume "
        "it.\n\n"
        "examples:\n"
        "  predict.py -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5\n"
        "  predict.py -i checkpoints/model.generator.DCGAN-separable.GAN.1.h5 -n 16 -s 1\n"
        "  predict.py -i checkpoints/weights.generator.DCGAN-separable.WGAN-GP.1.h5 --same_red 8\n"
        "  predict.py -i checkpoints/weights.generator.InfoGAN.GAN.0.h5 -n 16 --code c0=3,u1=-0.5\n"
        "  predict.py -i checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5 -n 30000 --format png\n"
        "  predict.py -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -e -d data"))
    output = p.add_argument_group("output")
    command_line.add_generator(output)
    output.add_argument("-n", "--number", type=arguments.positive_int, default=1, metavar="N",
                        help="number of cells; default=1")
    cells = output.add_mutually_exclusive_group()
    cells.add_argument("-s", "--seed", type=arguments.seed, default=None, metavar="N",
                       help="random seed, to generate the same cells again; by default every run generates new ones")
    output.add_argument("--same_red", type=arguments.positive_int, default=None, metavar="N",
                        help="generate N cells with the same red: the greens that go with one red, in place of -n")
    cells.add_argument("--z", metavar="FILE.json",
                       help="latent vector of the cell, as saved by the page of biogans explore, or a list of such "
                            "vectors")
    output.add_argument("--code", metavar="NAME=VALUE,…",
                        help="codes of an InfoGAN, such as c0=3,u1=-0.5; all others are random, or from the file of "
                             "--z")
    output.add_argument("--format", choices=FORMATS, default="h5",
                        help="h5 (a stack: pixels as computed) | png (a data folder for train.py, with one folder of "
                             "images per factor) | tiff (one OME-TIFF, for Fiji) | zarr (one OME-Zarr, for many cells; "
                             "it needs the library zarr); default=h5")
    command_line.add_factors(output)
    command_line.add_batch_size(output)
    evaluation = p.add_argument_group("evaluation")
    evaluation.add_argument("-e", "--evaluate", action="store_true",
                            help="compare generated images with the real ones of -d by a two-sample test in fast mode, "
                                 "which takes minutes (biogans evaluate runs the full test)")
    evaluation.add_argument("-d", "--data", metavar="DATAROOT",
                            help="folder of real images: *_test, and *_train beside it")
    _add_expectations(p.add_argument_group("expected contents of the file (a difference is an error)"))
    other = p.add_argument_group("files and progress")
    command_line.add_checkpoints_dir(other)
    rare(other.add_argument("-w", "--use_pretrained_weights", action="store_true",
                            help="accepted for symmetry with train.py: predict.py always uses the stored weights"))
    rare(other.add_argument("-D", "--debug", action="store_true", help="print debugging information"))
    command_line.add_verbose(other)
    return p


def _add_expectations(group):
    """Options of train.py that by default expect nothing."""
    command_line.add_model(group, rare)
    command_line.add_algorithm(group, rare)
    command_line.add_learning(group)
    group.set_defaults(**dict.fromkeys(EXPECTED))


def predict(options: argparse.Namespace) -> None:
    """Generate cells as the parsed options specify, write and evaluate them. Raises InputError for user errors."""
    launch.announce()
    check_options(options)
    generator = trained.load_generator(options.input_file, options.checkpoints_dir)
    check_expectations(generator, options)
    channels = generator.channels(options.polarity_factors)
    print_generator(generator, options.debug or options.verbose)
    if not options.evaluate:
        write_cells(options, generator, channels)
        return
    held_out = c2st.load_real(options.data, "test", generator.metadata, generator.spec.factors)
    seed = write_cells(options, generator, channels)
    training = c2st.load_real(options.data, "train", generator.metadata, generator.spec.factors)
    dataloader.warn_of_copies(training, held_out)
    evaluate(c2st.Generated(generator), held_out, training, seed)


def check_options(options: argparse.Namespace) -> None:
    """Raise InputError if options exclude each other or lack a library, and report those that have no effect."""
    FORMATS[options.format].require()
    if options.evaluate and not options.data:
        raise InputError("-e compares with real images: give their folder with -d")
    if options.z and (options.number != 1 or options.same_red):
        raise InputError("-n and --same_red are numbers of random cells: leave them out with --z, whose file "
                         "determines the number")
    if options.data and not options.evaluate:
        print(f"(-d {options.data} is not used: with -e, generated images are compared with the real ones there)")


def print_generator(generator: TrainedGenerator, verbose: bool) -> None:
    """Print what generates the cells, and a note if it has learnt little yet."""
    metadata, path = generator.metadata, generator.path
    if verbose:
        print(f"{path}: {json.dumps(metadata.to_json(), indent=1)}")
    print(f"generator: {path}, {generator.name.replace('.', ', ')}, iteration {metadata.iteration:,}")
    if metadata.iteration >= FEW_ITERATIONS or metadata.imported:
        return
    planned = f" of {metadata.planned:,}" if metadata.planned else ""
    others = [other for other in trained.similar_files(path) if other.metadata.iteration >= FEW_ITERATIONS]
    better = "".join(f"; {other.path} has {other.metadata.iteration:,}" for other in others[:1])
    print(f"note: it has been trained for {metadata.iteration:,}{planned} iterations only, so expect shapes unlike "
          f"cells: resume with train.py -w{better}")


def write_cells(options: argparse.Namespace, generator: TrainedGenerator, channels: Sequence[int]) -> int:
    """Generate cells into the file or folder that the options name, or resume it. Returns the seed.

    channels   positions of the generator's channels to write
    Raises InputError for user errors, files.NoRoom if the disk is full.
    """
    kind, spec = FORMATS[options.format], generator.spec
    target = IMAGES / f"stack{len(channels)}.{generator.name}{kind.suffix}"
    given = read_z(options.z, spec.nz) if options.z else None
    chosen = codes.parse_codes(options.code, spec.codes)
    for line in codes.label_lines(chosen, codes.read_labels(generator)) if chosen else ():
        print(line)
    number = options.same_red or options.number if given is None else len(given)
    batch_size = options.batch_size or 64
    output = stacks.ResumableOutput(target, {
        "weights": hashlib.sha256(generator.path.read_bytes()).hexdigest(), "channels": channels, "number": number,
        "batch_size": batch_size, "seed": options.seed, "code": options.code, "same_red": bool(options.same_red),
        "version": __version__,
        "z": None if given is None else hashlib.sha256(given.tobytes()).hexdigest()})
    done, seed = output.read_note()
    if done:
        print(f"resuming {target} after {done:,} of {number:,} cells")
    else:
        seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    z = (np.split(given, range(batch_size, number, batch_size)) if given is not None
         else generator.latents(number, seed, batch_size, bool(options.same_red)))
    source = {"seed": seed} if given is None else {"z_from": options.z}
    content = stacks.Content(number, (spec.height, spec.width, len(channels)), spec.nz,
                             generator.stack_attributes(channels) | source, image_folders(spec, channels))

    def note(end):
        output.write_note(end, seed)
        record_progress()

    with output.locked(kind.bytes_per_value * number * math.prod(content.shape), resumes=bool(done)) as path:
        trained.fill(kind(path, content, resumes=bool(done)), generator,
                     (codes.with_values(batch, chosen) for batch in z), channels,
                     trained.Position(number, done, note))
    if number == 1 and given is None and not chosen and (growth := growth_line(generator, seed, channels[0])):
        print(growth)
    if given is None:
        print(f"seed: {seed} (-s {seed} generates the same {'cells' if number > 1 else 'cell'} again)")
    print(f"{kind.announcement}: {target}")
    return seed


def growth_line(generator: TrainedGenerator, seed: int, red: int) -> str:
    """How far the cell of a seed has grown: its length, and whether it has a septum, in words.

    "" if the image shows no cell on a dark background.

    red   position of the channel in which cells are measured
    """
    if generator.spec.channels < 2:
        return ""
    z = np.concatenate([next(generator.latents(1, seed)), *generator.latents(COMPARED, 0)])
    images = (generator.generate(z)[..., red] + 1) / 2
    border = np.concatenate([images[0, [0, -1]].ravel(), images[0, :, [0, -1]].ravel()])
    (length, *_, middle), *others = map(measure_outline, images)
    if np.median(border) > 0.1 * images[0].max() or np.isnan(length):
        return ""
    pixel = generator.metadata.pixel_size_um
    size = f"{length * pixel:.1f} µm" if pixel else f"{length:.0f} pixels"
    longer = np.mean([length > other for other, *_ in others])
    septum = ", with a septum" if middle > SEPTUM else ""
    return f"cell: {size} long, longer than {longer:.0%} of this generator's cells{septum}"


def check_expectations(generator: TrainedGenerator, options: argparse.Namespace) -> None:
    """Raise InputError if given options contradict the metadata of the generator's file."""
    stored = {name: value for name, value in settings.stored_options(generator.metadata).items() if name in EXPECTED}
    different = settings.contradictions(options, stored, {})
    if different:
        raise InputError(f"{generator.path} was trained differently: {', '.join(different)}: leave these options out")


def image_folders(spec: NetworkSpec, channels: Sequence[int]) -> tuple[str, ...]:
    """Names of the image folders: the factors among `channels` (positions), or one folder for all cells."""
    if not spec.separate_factors:
        return ("cells",)
    factors = zip(spec.separate_factors, spec.factor_channels, strict=True)
    return tuple(name for name, own in factors if {*own[1:]} <= {*channels}) or ("cells",)


def read_z(path: str, nz: int) -> np.ndarray:
    """z (cells, nz), float32, from a JSON file: a list of nz numbers, a list of such lists, or either under "z".

    Raises InputError if the file is missing, damaged or for another generator.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: give --z a JSON file that the page of biogans explore saved") from None
    except ValueError:
        raise InputError(f"{path}: this is not a JSON file: give --z one that the page of biogans explore saved"
                         ) from None
    numbers = content.get("z") if isinstance(content, dict) else content
    try:
        z = np.array(numbers, np.float32, ndmin=2)
    except (ValueError, TypeError, OverflowError):
        z = np.empty((0, 0), np.float32)
    if z.ndim != 2 or z.shape[1] != nz or not len(z) or not np.isfinite(z).all():
        raise InputError(f"{path}: its z is not {nz} numbers, or a list of such lists, as this generator needs: give "
                         f"a file that was saved with this generator")
    return z


def evaluate(generated: c2st.Generated, held_out: Images, training: Images, seed: int) -> None:
    """Print how well critics distinguish generated cells, and training images, from held-out images."""
    c2st.check_numbers(held_out)
    critic = c2st.fast()
    columns: dict[str, c2st.Generated | c2st.Real] = {"generated": generated}
    if training.fingerprint != held_out.fingerprint:        # equal without *_train and *_test: then no others are left
        columns["real"] = c2st.Real(training, generated.factors)
    print(f"two-sample test (C2ST) against {len(held_out.pixels)} held-out images, fast mode: {c2st.FAST_SPLITS} "
          f"splits, critics with {critic.iterations} updates\n(about 0: indistinguishable from real images; biogans "
          f"evaluate has the full test and other metrics)", flush=True)
    splits = [c2st.Split(seed, number) for number in range(c2st.FAST_SPLITS)]
    scores = c2st.score_splits(columns, held_out, critic, splits)
    print(f"{'':20}" + "".join(f"{name:>16}" for name in columns))
    for factor in generated.factors:
        values = [[score[factor] for score in scores[name]] for name in columns]
        print(f"{factor:20}" + "".join(f"{np.mean(each):10.2f} ±{np.std(each, ddof=1):4.1f}" for each in values))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return launch.run(predict, parser().parse_args(arguments))
