#!/usr/bin/env python3
"""Generate new cells with a trained generator, and compare them with real ones."""

if not __package__:                     # a copy of this folder, run as `python predict.py`
    import launch
    launch.run_copy(__file__)

import hashlib
import json
import math
import secrets
import sys
from pathlib import Path

import numpy as np

from .. import __version__
from . import checkpoint, codes, options as command_line
from ..system import launch
from ..evaluation import c2st, scoring
from ..system import drawing
from ..system.errors import InputError
from ..system.files import replacing

IMAGES = Path("images")


def predict(options):
    """Draw cells as the parsed `options` say and write them to a stack. Raises InputError for a user's mistake."""
    launch.announce()
    if options.evaluate and not options.data:
        raise InputError("-e compares with real images: give their folder with -d")
    if options.z and options.number != 1:
        raise InputError("-n is the number of random cells: leave it out with --z, which draws all that the file holds")
    path = checkpoint.find(options.input_file, options.checkpoints_dir)
    generator, spec, facts = checkpoint.load_generator(path)
    check_expectations(path, options, facts)
    channels = chosen_channels(path, spec, options.polarity_factors)
    if options.debug or options.verbose:
        print(f"{path}: {facts}")
    held_out = scoring.load_real(options.data, spec.factors, "test", facts) if options.evaluate else None
    seed = draw(options, path, generator, spec, facts, channels)
    if options.evaluate:
        evaluate(scoring.Generated(generator, spec), held_out,
                 scoring.load_real(options.data, spec.factors, "train", facts), seed)


def draw(options, path, generator, spec, facts, channels):
    """Draw into the file or folder that the options ask for, or go on with it; returns the seed. Raises InputError."""
    kind = drawing.FORMATS[options.format]
    stack = IMAGES / f"stack{len(channels)}.{spec.architecture}.{facts['training']['algorithm']}{kind.suffix}"
    given = read_z(options.z, spec.nz) if options.z else None
    chosen = codes.parse(options.code, spec.codes)
    number, batch_size = options.number if given is None else len(given), options.batch_size or 64
    unfinished = drawing.Unfinished(stack, {
        "weights": hashlib.sha256(path.read_bytes()).hexdigest(), "channels": channels, "number": number,
        "batch_size": batch_size, "seed": options.seed, "code": options.code, "version": __version__,
        "z": None if given is None else hashlib.sha256(given).hexdigest()})
    done, seed = unfinished.read()
    if done:
        print(f"going on with {stack} after {done:,} of {number:,} cells")
    else:
        seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    z = ((codes.from_normal(normal, spec.codes) for normal in latents(number, spec.nz, seed, batch_size))
         if given is None else np.split(given, range(batch_size, number, batch_size)))
    source = {"seed": seed} if given is None else {"z_from": options.z}
    shape = (spec.height, spec.width, len(channels))
    several = {"factors": factors_of(spec, channels)} if kind is drawing.Folder else {}
    with unfinished.taken(kind.size_of_a_number * number * math.prod(shape), keep=done) as temporary:
        sink = kind(temporary, number, shape, spec.nz, stack_attributes(path, spec, facts, channels) | source,
                    go_on=bool(done), **several)
        drawing.fill(sink, generator, number, (codes.with_values(batch, chosen) for batch in z), channels, done,
                     lambda end: unfinished.tell(end, seed))
    print(f"Output image stack to file: {stack}")
    return seed


def check_expectations(path, options, facts):
    """Raise InputError if an option was given that contradicts what the file says of itself."""
    stored = facts["network"] | facts["training"]
    names = {"network_model": "architecture", "gan_algorithm": "algorithm"}
    for option in ("network_model", "gan_algorithm", "optimizer", "ngf", "ndf", "nz", "lrD", "lrG", "wgan_clip_value",
                   "wgangp_lambda"):
        given, there = getattr(options, option), stored[names.get(option, option)]
        if given not in (None, "default", there):
            raise InputError(f"--{option} {given} contradicts {path}, which was trained with {there}: leave it out")


def chosen_channels(path, spec, factors):
    """Positions of red and of the greens that -p asks for, all by default. Raises InputError."""
    names, known = spec.channel_names, spec.shows
    for factor in factors:
        if factor not in known:
            raise InputError(f"{path} can't draw {factor} by itself: it draws {', '.join(known or names[1:])}")
    if not factors and len(names) == len(spec.cell):
        return list(range(len(names)))
    chosen = [view for factor, view in zip(known, spec.views) if not factors or factor in factors]
    if len({view[0] for view in chosen}) > 1:
        raise InputError(f"{path} draws each factor in a cell of its own: choose one with -p: {', '.join(known)}")
    return [chosen[0][0], *(channel for view in chosen for channel in view[1:])]


def factors_of(spec, channels):
    """Names of the folders of images: those of the factors among `channels`, or one for all cells."""
    return [name for name, view in zip(spec.shows, spec.views) if {*view[1:]} <= {*channels}] or ["cells"]


def stack_attributes(path, spec, facts, channels):
    """What a stack of these `channels` (positions) of the generator's says of itself."""
    known = {"channel_names": [spec.channel_names[k] for k in channels], "value_range": [0.0, 1.0], "source": str(path),
             "iteration": facts["iteration"], "architecture": spec.architecture,
             "algorithm": facts["training"]["algorithm"], "biogans_version": __version__}
    return known | ({"pixel_size_um": facts["pixel_size_um"]} if facts["pixel_size_um"] else {})


def latents(number, nz, seed, batch_size):
    """Yield standard normal z (cells, nz), `number` cells in all: the same for a seed, whatever the batch size."""
    rng = np.random.default_rng(seed)
    for start in range(0, number, batch_size):
        yield rng.standard_normal((min(batch_size, number - start), nz), np.float32)


def read_z(path, nz):
    """z (cells, nz), float32, from a JSON file: one list of nz numbers, a list of such, or either under "z".

    Raises InputError.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: give --z a JSON file that the page of biogans explore saved") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: this is not a JSON file: give --z one that the page of biogans explore saved") from None
    numbers = content.get("z") if isinstance(content, dict) else content
    try:
        z = np.array(numbers, np.float32, ndmin=2)
    except (ValueError, TypeError, OverflowError):
        z = np.empty(0)
    if z.ndim != 2 or z.shape[1] != nz or not len(z) or not np.isfinite(z).all():
        raise InputError(f"{path}: its z is not {nz} numbers, or a list of such lists, as this generator needs: give "
                         f"a file that was saved with this generator")
    return z


def write_stack(path, generator, number, latents, channels, attributes, **more):
    """Draw cells batch by batch into an HDF5 file, whose datasets and `attributes` are those of a stack.

    latents   batches of z (cells, nz), `number` cells in all
    more      further datasets

    The file holds `stack`, float32 (number, height, width, channels) in [0, 1], and `z`, float32 (number, nz). Memory
    does not grow with the number of cells.
    """
    shape = (*generator.output_shape[1:3], len(channels))
    nz = generator.input_shape[1]
    with replacing(path, 4 * number * (math.prod(shape) + nz)) as temporary:
        drawing.fill(drawing.Stack(temporary, number, shape, nz, attributes, **more), generator, number, latents, channels)


def evaluate(generated, held_out, training, seed):
    """Print how well critics tell generated cells from held-out images, and training images from these."""
    scoring.check_numbers(held_out)
    critic = c2st.fast()
    rows = {"generated": generated, "real": scoring.Real(training, generated.factors)}
    if training.fingerprint == held_out.fingerprint:        # no folders *_train and *_test: nothing real is left over
        del rows["real"]
    print(f"two-sample test (C2ST) against {len(held_out.pixels)} held-out images, fast mode: {c2st.FAST_SPLITS} "
          f"splits, critics of {critic.iterations} updates\n(about 0: not to be told from real ones; biogans evaluate has the full "
          f"test and other measures)\n{'':20}" + "".join(f"{name:>16}" for name in rows), flush=True)
    scores = {name: [scoring.two_sample(subject, held_out, critic, seed, split) for split in range(c2st.FAST_SPLITS)]
              for name, subject in rows.items()}
    for factor in generated.factors:
        values = [[score[factor] for score in scores[name]] for name in rows]
        print(f"{factor:20}" + "".join(f"{np.mean(each):10.2f} ±{np.std(each, ddof=1):4.1f}" for each in values))


parser = command_line.predict_parser


def main(arguments=None):
    return launch.run(predict, parser().parse_args(arguments))
