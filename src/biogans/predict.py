#!/usr/bin/env python3
"""Draw new cells with a trained generator, and compare them with real ones."""

if not __package__:                     # a copy of this folder, run as `python predict.py`
    import launch
    launch.run_copy(__file__)

import hashlib
import math
import secrets
import sys
from pathlib import Path

import numpy as np

from . import __version__, c2st, checkpoint, drawing, launch, options as command_line, scoring
from .errors import InputError
from .files import replacing

IMAGES = Path("images")


def predict(options):
    """Draw cells as the parsed `options` say and write them to a stack. Raises InputError for a user's mistake."""
    launch.announce()
    if options.evaluate and not options.data:
        raise InputError("-e compares with real images: give their folder with -d")
    path = checkpoint.find(options.input_file, options.checkpoints_dir)
    generator, spec, facts = checkpoint.load_generator(path)
    check_expectations(path, options, facts)
    channels = chosen_channels(path, spec, options.polarity_factors)
    if options.debug or options.verbose:
        print(f"{path}: {facts}")
    held_out = scoring.load_real(options.data, spec.factors, "test", facts) if options.evaluate else None
    kind = drawing.FORMATS[options.format]
    stack = IMAGES / f"stack{len(channels)}.{spec.architecture}.{facts['training']['algorithm']}{kind.suffix}"
    batch_size = options.batch_size or 64
    unfinished = drawing.Unfinished(stack, {"weights": hashlib.sha256(path.read_bytes()).hexdigest(),
                                            "channels": channels, "number": options.number, "batch_size": batch_size,
                                            "seed": options.seed, "version": __version__})
    done, seed = unfinished.read()
    if done:
        print(f"going on with {stack} after {done:,} of {options.number:,} cells")
    else:
        seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    shape = (spec.height, spec.width, len(channels))
    several = {"factors": factors_of(spec, channels)} if kind is drawing.Folder else {}
    with unfinished.taken(kind.size_of_a_number * options.number * math.prod(shape), keep=done) as temporary:
        sink = kind(temporary, options.number, shape, spec.nz,
                    stack_attributes(path, spec, facts, channels) | {"seed": seed}, go_on=bool(done), **several)
        complete = False
        try:
            drawing.fill(sink, generator, options.number, latents(options.number, spec.nz, seed, batch_size), channels,
                         done, lambda end: unfinished.tell(end, seed))
            complete = True
        finally:
            sink.close(complete)
    print(f"Output image stack to file: {stack}")
    if options.evaluate:
        evaluate(scoring.Generated(generator, spec), held_out,
                 scoring.load_real(options.data, spec.factors, "train", facts), seed)


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
    """Positions of red and of the greens that -p asks for, all by default."""
    names = spec.channel_names
    if not factors:
        return list(range(len(names)))
    known = spec.factors if spec.towers == len(spec.factors) else ()
    for factor in factors:
        if factor not in known:
            raise InputError(f"{path} can't draw {factor} by itself: it draws {', '.join(known or names[1:])}")
    per_tower = spec.channels - 1
    return [0] + [1 + known.index(factor) * per_tower + k
                  for factor in known if factor in factors for k in range(per_tower)]


def factors_of(spec, channels):
    """Names of the folders of images: those of the factors among `channels`, or one for all cells."""
    if spec.towers < 2:
        return ["cells"]
    return [spec.factors[k] for k in range(spec.towers) if 1 + k * (spec.channels - 1) in channels]


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
        sink, complete = drawing.Stack(temporary, number, shape, nz, attributes, **more), False
        try:
            drawing.fill(sink, generator, number, latents, channels)
            complete = True
        finally:
            sink.close(complete)


def evaluate(generated, held_out, training, seed):
    """Print how well critics tell generated cells from held-out images, and training images from these."""
    scoring.check_numbers(held_out)
    critic = c2st.fast()
    rows = {"generated": generated, "real": scoring.Real(training, generated.factors)}
    if training.fingerprint == held_out.fingerprint:        # no folders *_train and *_test: nothing real is left over
        del rows["real"]
    print(f"two-sample test (C2ST) against {len(held_out.pixels)} held-out images, fast mode: {c2st.FAST_SPLITS} "
          f"splits, critics of {critic.iterations} updates\n(about 0: not to be told from real ones; evaluate.py has the full "
          f"test and other measures)\n{'':20}" + "".join(f"{name:>16}" for name in rows), flush=True)
    scores = {name: [scoring.two_sample(subject, held_out, critic, seed, split) for split in range(c2st.FAST_SPLITS)]
              for name, subject in rows.items()}
    for factor in generated.factors:
        values = [[score[factor] for score in scores[name]] for name in rows]
        print(f"{factor:20}" + "".join(f"{np.mean(each):10.2f} ±{np.std(each, ddof=1):4.1f}" for each in values))


def main(arguments=None):
    return launch.run(predict, command_line.predict_parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
