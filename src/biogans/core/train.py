#!/usr/bin/env python3
"""Train a GAN on images of cells.

The file reads top to bottom: options, data, networks, then the loop."""

if not __package__:                     # a copy of this folder, run as `python train.py`
    import launch
    launch.run_copy(__file__)

import contextlib
import dataclasses
import json
import math
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from . import checkpoint, codes, dataloader, figures, models, monitor, options as command_line
from ..system import launch
from ..evaluation import features
from ..system import provenance, workers
from ..system.errors import InputError
from ..system.files import NoRoom, make_writable, shared
from .gan import ALGORITHMS
from ..system.lazy import backend
from ..system.progress import Log, Progress, reading

IMAGES = Path("images")
GRID = (8, 8)               # groups of cells that share the red half of z, and cells in a group
STAR_GRID = (5, 2)
DIAGNOSED = 1000            # images of each kind whose codes are read


def train(options):
    """Train as the parsed `options` say; returns the exit status: 0, or 75 or 130 when told to stop.

    Raises InputError for a user's mistake.
    """
    with StopRequest() as stop, workers.joined() as team:
        launch.announce()
        backend()               # a mistake in its choice is told before the images are read
        settings = command_line.training(options)
        for rate in {settings.lrD, settings.lrG}:
            if rate >= 1:
                print(f"warning: a learning rate of {rate:g} is far above the usual 1e-5 to 1e-2", file=sys.stderr)
        with stop.at_once():
            if team.rank and options.cache:
                team.share(None)        # the first task writes that file
            images = dataloader.load(options.data, options.polarity_factors, "train", options.channels,
                                     options.skip_bad_images, options.cache, reading("reading images"))
            if not team.rank and options.cache:
                team.share(None)
            held_out = None if team.rank else monitor.load_held_out(options, images)
        spec = network_spec(options, settings, images)
        print(f"{len(images.pixels)} images of {', '.join(images.factors)}: {spec.height}x{spec.width} pixels, "
              f"{spec.channels} channel(s)" + (f"; {images.skipped} unreadable ones left out" if images.skipped else ""))
        with stop.at_once():
            batches = dataloader.batches(images, settings.batch_size, settings.seed,
                                         models.ARCHITECTURES[spec.architecture], reading("looking for similar cells"))
        files = checkpoint.Files(options.checkpoints_dir, spec, settings.algorithm, options.keep, options.keep_every)
        facts = checkpoint.about(spec, settings, images)
        check_agreement(team, facts)
        if team.rank:
            return follow(options, settings, spec, batches, files, facts, stop, team)
        make_writable(files.folder, IMAGES)
        with files.locked(), shared(IMAGES, files.run):
            return start(options, settings, spec, images, held_out, batches, files, facts, stop, team)


def start(options, settings, spec, images, held_out, batches, files, facts, stop, team):
    """Build the networks, restore them if -w asks for it, and train; returns the exit status."""
    begun = any(path.is_file() for path in files.checkpoints())
    options.use_pretrained_weights |= options.resume and begun
    if options.use_pretrained_weights and not begun:
        raise InputError(f"{files.combined}: no such checkpoint to go on from: leave out -w to start anew")

    from .engine import Engine, device_name
    engine = Engine(spec, settings, options.num_gpus, team)
    facts = facts | {"made": provenance.of_this_run(device_name())}
    print(device_name())
    if team.number > 1:
        print(f"{team.number} tasks share each batch of {settings.batch_size}")
    if options.verbose:
        print(settings)
        for network in (engine.generator, engine.critics[0]):
            network.summary()
    stop.check()
    checkpoint.check_space(files, engine)
    done = checkpoint.go_on(files, engine, facts) if options.use_pretrained_weights else 0
    team.share(done)
    if options.use_pretrained_weights:
        print(f"going on from {files.combined}, iteration {done}")
        if done >= options.epochs:
            print(f"it has the {options.epochs} iterations of -e already: nothing left to do")
            return 0
    elif aside := files.set_aside():
        print(f"files of an earlier run moved to {aside}")
    draw_real(IMAGES / f"real_samples.{files.run}.png", images)
    meter = monitor.Monitor(engine, images, held_out, checkpoint.read_best(files, facts)) if held_out else None
    return loop(options, engine, batches, files, facts, done, stop, meter)


def loop(options, engine, batches, files, facts, done, stop, meter):
    """Iterate until `options.epochs` iterations are done or `stop` is requested; returns the exit status."""
    log, progress = Log(files.log, files.tensorboard, done), Progress(done, options.epochs)
    last_save, stopping = time.monotonic(), False
    try:
        while done < options.epochs and not stopping:
            start = time.monotonic()
            losses = engine.iterate(done, batches)
            seconds = time.monotonic() - start
            done += 1
            stopping = stop.agreed(engine)
            check_finite(losses, done, files)
            look = done % options.monitor_progress == 0 or done == options.epochs
            with saving_without_room(files, engine, facts, done):
                scores = measure(meter, engine, files, facts, done) if meter and look else None
                log.losses(done, *losses, seconds, scores)
                progress.update(done, *losses, scores)
                progress.warn(meter.warnings(scores) if scores else ())
                if look:
                    log.picture(done, draw_samples(IMAGES / f"fake_samples.{files.run}.{done}.png", engine))
                    if engine.recognizer:
                        log.codes(done, diagnose(engine, batches.images))
            save_is_due = (time.monotonic() - last_save > 60 * options.save_minutes
                           or options.keep_every and done % options.keep_every == 0)
            if save_is_due or stopping or done == options.epochs:
                checkpoint.save(files, engine, facts, done)
                last_save = time.monotonic()
    finally:
        log.close()
        progress.close()
    if stopping:
        print(f"stopped by {stop.name} after {done} iterations, saved in {files.folder}; to go on: {again()}")
        return stop.status
    figures.loss_curves(IMAGES / f"losses.{files.run}.png", files.log)
    if meter and meter.best:
        print(f"best:    {files.best} (held-out distance {meter.best[0]:.3g} in iteration {meter.best[1]})")
    print(f"weights: {files.generator}\nmodel:   {files.model}\nimages:  {IMAGES}/fake_samples.{files.run}.{done}.png\n"
          f"losses:  {IMAGES}/losses.{files.run}.png")
    return 0


def measure(meter, engine, files, facts, done):
    """The monitor.Scores of the engine; keeps the generator if it is the best so far."""
    scores = meter.measure()
    if meter.is_best(scores, done):
        checkpoint.save_best(files, engine, facts, done, scores.held_out_distance)
    return scores


def follow(options, settings, spec, batches, files, facts, stop, team):
    """What tasks after the first do: iterate as it does, without files, pictures and words; returns the exit status."""
    from .engine import Engine
    engine = Engine(spec, settings, options.num_gpus, team)
    stopping, done = False, team.share(None)
    if done and checkpoint.restore(files.combined, engine, facts) != done:
        raise InputError(f"{files.combined} is another file here than for the first task: give -c a folder that all "
                         f"nodes share")
    while done < options.epochs and not stopping:
        engine.iterate(done, batches)
        done += 1
        stopping = stop.agreed(engine)
    return stop.status if stopping else 0


def check_agreement(team, facts):
    """Raise InputError if the tasks of the team were given different options, or see different images."""
    facts = json.dumps(facts)
    others = [rank for rank, theirs in enumerate(team.gather(facts)) if theirs != facts]
    if others:
        raise InputError(f"tasks {', '.join(map(str, others))} have other images or options than task {team.rank}: give "
                         f"all nodes the same")


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
    has_codes = models.ARCHITECTURES[options.network_model].has_codes
    categorical, continuous = options.categorical, options.continuous
    spec = models.NetworkSpec(
        options.network_model, height, width, channels, images.factors,
        categorical=(10,) * has_codes if categorical is None else categorical,
        continuous=2 * has_codes if continuous is None else continuous,
        critic_batch_norm=ALGORITHMS[settings.algorithm].defaults.critic_batch_norm,
        init=command_line.preset(options, "init", "paper"))
    spec = dataclasses.replace(spec, **command_line.sizes(options, spec.critic_channels / channels))
    spec.check()
    return spec


def draw_real(path, images):
    """A picture of some images of each factor, evenly spaced: neighbours may be frames of one video."""
    examples = {}
    for k, factor in enumerate(images.factors):
        same = np.flatnonzero(images.labels == k)
        some = np.linspace(0, len(same), min(GRID[1], len(same)), endpoint=False).astype(int)
        examples[factor] = images.pixels[same[some]]
    figures.real_grid(path, examples)


def draw_samples(path, engine):
    """A picture of cells drawn from latents that are the same in every iteration; returns its pixels.

    With codes, each row has another value of the first code, and each column one z besides it.
    """
    spec = engine.spec
    groups, group_size = STAR_GRID if len(spec.shows) > 1 else GRID
    z = engine.grid_latents(groups, group_size)
    if spec.codes:
        z = codes.traversal(z[::group_size], spec.codes[0], spec.codes[0].values(GRID[0]))
    return figures.sample_grid(path, spec, engine.draw(z), group_size)


def diagnose(engine, images):
    """What the recognizer makes of drawn images and of real ones, always the same: see codes.diagnosis."""
    z = engine.grid_latents(DIAGNOSED, 1)
    real = features.scaled(images.pixels[np.linspace(0, len(images.pixels) - 1, DIAGNOSED).astype(int)])
    return codes.diagnosis(engine.alone(engine.recognizer), engine.spec.codes, z, engine.draw(z), real)


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

    def agreed(self, engine):
        """Whether a signal asks this task, or another of its team, to stop: then all do, after the same iteration."""
        votes = engine.total([float(self.signal == number) for number in launch.STOP_SIGNALS])
        told = [number for number, count in zip(launch.STOP_SIGNALS, votes) if count]
        self.signal = told[0] if told else self.signal
        return bool(told)

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
    return provenance.command() + ("" if "-w" in sys.argv[1:] else " -w")


parser = command_line.train_parser


def main(arguments=None):
    return launch.run(train, parser().parse_args(arguments))
