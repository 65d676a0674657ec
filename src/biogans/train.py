#!/usr/bin/env python3
"""Train a GAN on images of cells: options, data, networks, then the loop, top to bottom."""

if not __package__:                     # a copy of this folder, run as `python train.py`
    import launch
    launch.run_copy(__file__)

import contextlib
import dataclasses
import math
import os
import shlex
import signal
import sys
import time
from pathlib import Path

from . import checkpoint, dataloader, figures, launch, models, options as command_line
from .errors import InputError
from .files import NoRoom, make_writable, shared
from .gan import ALGORITHMS
from .lazy import backend
from .progress import Log, Progress, reading

IMAGES = Path("images")
GRID = (8, 8)               # groups of cells that share the red half of z, and cells in a group
STAR_GRID = (5, 2)


def train(options):
    """Train as the parsed `options` say; returns the exit status: 0, or 75 or 130 when told to stop.

    Raises InputError for a user's mistake.
    """
    with StopRequest() as stop:
        launch.announce()
        backend()               # a mistake in its choice is told before the images are read
        settings = command_line.training(options)
        for rate in {settings.lrD, settings.lrG}:
            if rate >= 1:
                print(f"warning: a learning rate of {rate:g} is far above the usual 1e-5 to 1e-2", file=sys.stderr)
        with stop.at_once():
            images = dataloader.load(options.data, options.polarity_factors, "train", options.channels,
                                     options.skip_bad_images, options.cache, reading("reading images"))
        spec = network_spec(options, settings, images)
        print(f"{len(images.pixels)} images of {', '.join(images.factors)}: {spec.height}x{spec.width} pixels, "
              f"{spec.channels} channel(s)" + (f"; {images.skipped} unreadable ones left out" if images.skipped else ""))
        with stop.at_once():
            batches = dataloader.batches(images, settings.batch_size, settings.seed,
                                         models.ARCHITECTURES[spec.architecture], reading("looking for similar cells"))
        files = checkpoint.Files(options.checkpoints_dir, spec, settings.algorithm, options.keep, options.keep_every)
        make_writable(files.folder, IMAGES)
        with files.locked(), shared(IMAGES, files.run):
            return start(options, settings, spec, images, batches, files, stop)


def start(options, settings, spec, images, batches, files, stop):
    """Build the networks, restore them if -w asks for it, and train; returns the exit status."""
    begun = any(path.is_file() for path in files.checkpoints())
    options.use_pretrained_weights |= options.resume and begun
    if options.use_pretrained_weights and not begun:
        raise InputError(f"{files.combined}: no such checkpoint to go on from: leave out -w to start anew")

    from .engine import Engine, device_name
    engine = Engine(spec, settings, options.num_gpus)
    print(device_name())
    if options.verbose:
        print(settings)
        for network in (engine.generator, engine.critics[0]):
            network.summary()
    stop.check()
    checkpoint.check_space(files, engine)
    done, facts = 0, checkpoint.about(spec, settings, images)
    if options.use_pretrained_weights:
        done = checkpoint.go_on(files, engine, facts)
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
            with saving_without_room(files, engine, facts, done):
                log.losses(done, *losses, time.monotonic() - start)
                progress.update(done, *losses)
                if done % options.monitor_progress == 0 or done == options.epochs:
                    log.picture(done, draw_samples(IMAGES / f"fake_samples.{files.run}.{done}.png", engine))
            save_is_due = (time.monotonic() - last_save > 60 * options.save_minutes
                           or options.keep_every and done % options.keep_every == 0)
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


@contextlib.contextmanager
def saving_without_room(files, engine, facts, done):
    """Where there is no room for the log or a picture, save the iteration, if there is room for that, before the end."""
    try:
        yield
    except NoRoom:
        checkpoint.save(files, engine, facts, done)
        raise


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
        options.network_model, height, width, channels, images.factors,
        critic_batch_norm=ALGORITHMS[settings.algorithm].defaults.critic_batch_norm,
        init=command_line.preset(options, "init", "paper"))
    spec = dataclasses.replace(spec, **command_line.sizes(options, spec.critic_channels / channels))
    spec.check()
    return spec


def draw_real(path, images):
    """A picture of the first images of each factor."""
    figures.real_grid(path, {factor: images.pixels[images.labels == k][:GRID[1]]
                             for k, factor in enumerate(images.factors)})


def draw_samples(path, engine):
    """A picture of cells drawn from latents that are the same in every iteration; returns its pixels."""
    from .engine import draw
    spec = engine.spec
    groups, group_size = STAR_GRID if len(spec.shows) > 1 else GRID
    cells = draw(engine.average, engine.grid_latents(groups, group_size))
    if len(spec.channel_names) > len(spec.cell):        # a red channel for each factor
        return figures.write_picture(path, figures.table(
            [[cell[..., view] for view in spec.views] for cell in (cells + 1) / 2], spec.shows))
    names = spec.channel_names[1:]
    return figures.sample_grid(path, cells, names if len(names) == len(spec.views) else (), columns=group_size)


class StopRequest:
    """Remembers, within its `with`, that a signal asked the run to stop; Ctrl-C after that ends the process at once.

    SIGINT is Ctrl-C; SIGTERM and SIGUSR1 come from a batch system before it ends a job. launch.py has them wait until
    here. What a process leaves that ends at once is what one leaves that is killed: every file is old or new, and whole.
    """

    def __init__(self):
        self.signal, self._at_once = None, False

    def __enter__(self):
        self._before = {number: signal.signal(number, self._remember) for number in launch.STOP_SIGNALS}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, launch.STOP_SIGNALS)
        return self

    def __exit__(self, *problem):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number, frame):
        if self.requested and number == signal.SIGINT:
            os._exit(130)
        self.signal = self.signal or signal.Signals(number)
        if self._at_once:
            raise Stopped

    @contextlib.contextmanager
    def at_once(self):
        """A part of the run that is broken off by a signal, as there is nothing to save."""
        self.check()
        with contextlib.suppress(Stopped):
            self._at_once = True
            yield
        self._at_once = False
        self.check()

    def check(self):
        """End the process, if that was asked for, before there is anything to save."""
        if self.requested:
            print(f"stopped by {self.name} before the first iteration")
            sys.exit(self.status)

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


class Stopped(BaseException):
    """Breaks off what StopRequest.at_once holds, past every `except Exception`."""


def again():
    """The command that goes on with this run."""
    given = sys.argv[1:]
    return shlex.join([Path(sys.argv[0]).name, *given, *([] if "-w" in given else ["-w"])])


def main(arguments=None):
    return launch.run(train, command_line.train_parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
