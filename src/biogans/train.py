#!/usr/bin/env python3
"""Train a GAN on images of cells: options, data, networks, then the loop, top to bottom."""

if not __package__:                     # a copy of this folder, run as `python train.py`
    import launch
    launch.run_copy(__file__)

import math
import shlex
import signal
import sys
import time
from pathlib import Path

from . import checkpoint, dataloader, figures, launch, models, options as command_line
from .errors import InputError
from .files import make_writable
from .gan import ALGORITHMS
from .progress import Log, Progress, reading

IMAGES = Path("images")
GRID = (8, 8)               # groups of cells that share the red half of z, and cells in a group
STAR_GRID = (5, 2)


def train(options):
    """Train as the parsed `options` say; returns the exit status: 0, or 75 or 130 when told to stop.

    Raises InputError for a user's mistake.
    """
    stop = StopRequest()
    launch.announce()
    settings = command_line.training(options)
    for rate in {settings.lrD, settings.lrG}:
        if rate >= 1:
            print(f"warning: a learning rate of {rate:g} is far above the usual 1e-5 to 1e-2", file=sys.stderr)
    images = dataloader.load(options.data, options.polarity_factors, "train", options.channels,
                             options.skip_bad_images, options.cache, reading("reading images"))
    spec = network_spec(options, settings, images)
    print(f"{len(images.pixels)} images of {', '.join(images.factors)}: {spec.height}x{spec.width} pixels, "
          f"{spec.channels} channel(s)" + (f"; {images.skipped} unreadable ones left out" if images.skipped else ""))
    batches = dataloader.Batches(images, settings.batch_size, settings.seed,
                                 models.ARCHITECTURES[spec.architecture].per_factor)
    files = checkpoint.Files(options.checkpoints_dir, spec, settings.algorithm)
    make_writable(files.folder, IMAGES)
    options.use_pretrained_weights |= options.resume and files.combined.is_file()
    if options.use_pretrained_weights and not files.combined.is_file():
        raise InputError(f"{files.combined}: no such checkpoint to go on from: leave out -w to start anew")

    from .engine import Engine, device_name
    engine = Engine(spec, settings, options.num_gpus)
    print(device_name())
    if options.verbose:
        print(settings)
        for network in (engine.generator, engine.critics[0]):
            network.summary()
    done, facts = 0, checkpoint.about(spec, settings, images)
    if options.use_pretrained_weights:
        done = checkpoint.restore(files.combined, engine, facts)
        print(f"going on from {files.combined}, iteration {done}")
        if done >= options.epochs:
            print(f"it has the {options.epochs} iterations of -e already: nothing left to do")
            return 0
    elif aside := files.set_aside():
        print(f"files of an earlier run moved to {aside}")
    draw_real(IMAGES / f"real_samples.{files.run}.png", images)
    return loop(options, engine, batches, files, facts, done, stop)


def loop(options, engine, batches, files, facts, done, stop):
    """Iterate until `options.epochs` iterations are done or `stop` is requested; returns the exit status."""
    log, progress = Log(files.log, files.tensorboard, done), Progress(done, options.epochs)
    last_save = time.monotonic()
    try:
        while done < options.epochs and not stop.requested:
            start = time.monotonic()
            losses = engine.iterate(done, batches)
            done += 1
            check_finite(losses, done, files)
            log.losses(done, *losses, time.monotonic() - start)
            progress.update(done, *losses)
            if done % options.monitor_progress == 0 or done == options.epochs:
                log.picture(done, draw_samples(IMAGES / f"fake_samples.{files.run}.{done}.png", engine))
            save_is_due = time.monotonic() - last_save > 60 * options.save_minutes
            if save_is_due or stop.requested or done == options.epochs:
                checkpoint.save(files, engine, facts, done)
                last_save = time.monotonic()
    finally:
        log.close()
        progress.close()
    if stop.requested:
        saved = f", saved in {files.folder}; to go on: {again()}" if done else ""
        print(f"stopped by {stop.name} after {done} iterations{saved}")
        return stop.status
    figures.loss_curves(IMAGES / f"losses.{files.run}.png", files.log)
    print(f"weights: {files.generator}\nmodel:   {files.model}\nimages:  {IMAGES}/fake_samples.{files.run}.{done}.png\n"
          f"losses:  {IMAGES}/losses.{files.run}.png")
    return 0


def check_finite(losses, iteration, files):
    """Raise InputError if the training has diverged; the last good checkpoint stays as it is."""
    if not all(map(math.isfinite, losses)):
        saved = files.combined.is_file()
        advice = f"{files.combined} is kept: go on from it with -w, or" if saved else "nothing was saved yet:"
        raise InputError(f"the losses became {losses[0]} and {losses[1]} in iteration {iteration}: stopped; {advice} "
                         f"lower --lrD and --lrG")


def network_spec(options, settings, images):
    """The networks that the options ask for, in the shape of the images. Raises InputError if they can't be built."""
    _, height, width, channels = images.pixels.shape
    spec = models.NetworkSpec(
        options.network_model, height, width, channels, images.factors, options.nz,
        ngf=command_line.preset(options, "ngf", 64), ndf=command_line.preset(options, "ndf", 64),
        critic_batch_norm=ALGORITHMS[settings.algorithm].defaults.critic_batch_norm,
        init=command_line.preset(options, "init", "paper"))
    spec.check()
    return spec


def draw_real(path, images):
    """A picture of the first images of each factor."""
    figures.real_grid(path, {factor: images.pixels[images.labels == k][:GRID[1]]
                             for k, factor in enumerate(images.factors)})


def draw_samples(path, engine):
    """A picture of cells drawn from latents that are the same in every iteration; returns its pixels."""
    from .engine import draw
    groups, group_size = STAR_GRID if engine.spec.towers > 1 else GRID
    names = engine.spec.channel_names[1:]
    cells = draw(engine.average, engine.grid_latents(groups, group_size))
    return figures.sample_grid(path, cells, names if len(names) == engine.spec.towers else (), columns=group_size)


class StopRequest:
    """Remembers that a signal asked the run to stop; a second Ctrl-C stops it at once.

    SIGINT is Ctrl-C; SIGTERM and SIGUSR1 come from a batch system before it ends a job.
    """

    def __init__(self):
        self.signal = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._remember)

    def _remember(self, number, frame):
        self.signal = self.signal or signal.Signals(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    @property
    def requested(self):
        return self.signal is not None

    @property
    def name(self):
        return "Ctrl-C" if self.signal == signal.SIGINT else self.signal.name

    @property
    def status(self):
        """130 as shells say of Ctrl-C; 75 (EX_TEMPFAIL) tells a batch script to queue the job again."""
        return 130 if self.signal == signal.SIGINT else 75


def again():
    """The command that goes on with this run."""
    given = sys.argv[1:]
    return shlex.join([Path(sys.argv[0]).name, *given, *([] if "-w" in given else ["-w"])])


def main(arguments=None):
    return launch.run(train, command_line.train_parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
