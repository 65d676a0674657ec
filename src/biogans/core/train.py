#!/usr/bin/env python3
"""Train a GAN on images of cells.

This file reads from top to bottom: options, images, networks, then the loop.
"""

if not __package__:                     # a copy of this folder, run as `python train.py`
    import sys
    sys.path.insert(0, __file__.rpartition("/")[0])     # PYTHONSAFEPATH leaves it out
    import launch
    launch.run_copy(__file__)

import argparse
import contextlib
import dataclasses
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..system import captions, gifs, launch, provenance, workers
from ..system.errors import InputError
from ..system.files import NoRoom, make_writable, shared_lock
from ..system.lazy import backend, threads
from ..system.palettes import Palette, fitted
from ..system.pixels import to_signed, to_unit
from ..system.progress import Log, Progress, Scores, distance_text, duration, say, waiting
from ..system.stop import StopRequest, record_progress
from . import checkpoint, codes, dataloader, figures, models, monitor, options as command_line
from .settings import Metadata, Schedule, completed, resolve_network, resolve_schedule, resolve_settings, with_variances
from .trained import IMAGES, find, load_generator, read_metadata

if TYPE_CHECKING:           # importing it chooses the backend, which `train` does first
    from .engine import Engine

GRID = (8, 8)               # groups of cells that share the red part of z, and cells per group
STAR_GRID = (5, 2)
DIAGNOSED = 1000            # real and generated images, each, from which codes are read
LONG = 86400                # seconds of an estimated training that deserve a hint


@dataclasses.dataclass
class Run:
    """Everything that a training needs, resolved from the options and the images.

    images, held_out    training images, and images of *_test for the scores (None: no scores)
    batches             batches of the training images
    paths               files in the checkpoints folder
    metadata            description of the run in these files: network, settings and images
    schedule            when the run ends, and what it reports and saves on the way
    team, stop          the tasks that train together, and the request to stop
    """

    images: dataloader.Images
    held_out: dataloader.Images | None
    batches: dataloader.Batches
    paths: checkpoint.RunPaths
    metadata: Metadata
    schedule: Schedule
    team: workers.Team
    stop: StopRequest


def train(options: argparse.Namespace) -> int:
    """Train as the parsed options specify; returns the exit status: 0, or 75 or 130 after a request to stop.

    Raises InputError for a user error.
    """
    with StopRequest() as stop, workers.joined(Path(options.checkpoints_dir)) as team:
        launch.announce()
        backend()               # reports a wrong choice before the images are read
        stored = stored_run(options)
        options = completed(options, *stored) if stored else options
        run = prepare_run(options, stop, team)
        if team.rank:
            return train_as_worker(run, options)
        make_writable(run.paths.folder, IMAGES)
        with run.paths.locked(), shared_lock(IMAGES, run.paths.name):
            begun = any(path.is_file() for path in run.paths.checkpoints())
            if options.use_pretrained_weights and not begun:
                raise InputError(f"{run.paths.combined}: no such checkpoint to resume: leave out -w to start a new run")
            engine = build_engine(run, options)
            done = start_or_resume(run, engine, options.use_pretrained_weights or options.resume and begun)
            return training_loop(run, engine, done) if done < run.schedule.iterations else 0


def stored_run(options: argparse.Namespace) -> tuple[Path, Metadata] | None:
    """The checkpoint of -w or the generator of --start_from, and its metadata; None without these options.

    Raises InputError if there is no such file.
    """
    if options.use_pretrained_weights:
        return checkpoint.find_run(options)
    if options.start_from:
        path = find(options.start_from, options.checkpoints_dir)
        return path, read_metadata(path)
    return None


def prepare_run(options: argparse.Namespace, stop: StopRequest, team: workers.Team) -> Run:
    """Read the images, and resolve everything that depends on the options and on the images. Raises InputError."""
    settings, schedule = resolve_settings(options), resolve_schedule(options)
    for rate in {settings.lrD, settings.lrG}:
        if rate >= 1:
            print(f"warning: a learning rate of {rate:g} is far above the usual 1e-5 to 1e-2", file=sys.stderr)
    with stop.at_once():
        with team.first_task_first(bool(options.cache)):        # it writes that file
            images = dataloader.load(options.data, options.polarity_factors, "train",
                                     command_line.read_settings(options), options.cache)
        held_out = None if team.rank else monitor.load_held_out(options.data, options.polarity_factors, images)
    if settings.augment_target and not (held_out or team.rank):
        raise InputError(f"--augment_target compares with held-out images, and {options.data} has none that serve: add "
                         f"a folder *_test, or leave it out")
    spec = resolve_network(options, images)
    print(f"{len(images.pixels)} images of {', '.join(images.factors)}: {spec.height}x{spec.width} pixels, "
          f"{spec.channels} channel(s)" + (f"; {images.skipped} unreadable ones left out" if images.skipped else ""))
    with stop.at_once():
        architecture = models.ARCHITECTURES[spec.architecture]
        batches = dataloader.batches(images, settings.batch_size, settings.seed, architecture)
    paths = checkpoint.RunPaths(options.checkpoints_dir, spec, settings.algorithm, options.keep, schedule.save_every)
    settings = with_variances(settings, spec, images)
    metadata = dataclasses.replace(checkpoint.run_metadata(spec, settings, images), planned=schedule.iterations)
    check_agreement(team, metadata)
    return Run(images, held_out, batches, paths, metadata, schedule, team, stop)


def build_engine(run: Run, options: argparse.Namespace) -> "Engine":
    """Build the Engine of a run, record the machine in its metadata, and report both. Raises InputError."""
    with run.stop.at_once(), waiting("building the networks"):
        from .engine import Engine, device_name

        engine = Engine(run.metadata.network, run.metadata.training, options.num_gpus, run.team)
    run.metadata = dataclasses.replace(run.metadata, made=provenance.of_this_run(device_name()))
    print(device_name())
    if run.team.number > 1:
        print(f"{run.team.number} tasks share each batch of {run.metadata.training.batch_size}")
    if options.verbose:
        print(run.metadata.training)
        for network in (engine.generator, engine.critics[0]):
            network.summary()
    if options.start_from and not options.use_pretrained_weights:
        given = load_generator(options.start_from, options.checkpoints_dir)
        engine.start_from(given.path, given.network)
    return engine


def compile_engine(run: Run, engine: "Engine", done: int) -> float | None:
    """Compile an iteration. Returns the estimated seconds of an update of the critics, None if they are unknown."""
    with run.stop.at_once():
        pace = None if engine.on_gpu or run.team.number > 1 else engine.estimated_seconds()
        if pace is not None:
            print_estimate(pace * run.metadata.training.num_D_iters, run.schedule.iterations - done)
        with waiting("compiling"):
            engine.compile()
    return pace


def print_estimate(seconds: float, iterations: int) -> None:
    """Print how long so many iterations of so many seconds will take and, if that is long, what to do instead."""
    total, number = seconds * iterations, threads()
    each = duration(seconds) if seconds >= 10 else f"{seconds:.2g} s"
    cores = f"{number} CPU core{'s' * (number > 1)}"
    hint = "; --preset fast shows cells in minutes" if total > LONG else ""
    print(f"estimate: about {each} an iteration, {duration(total)} for {iterations:,}, on {cores}{hint}", flush=True)


def start_or_resume(run: Run, engine: "Engine", resumes: bool) -> int:
    """Restore the newest checkpoint, or prepare for the files of a new run. Returns the iterations done so far."""
    checkpoint.check_space(run.paths, engine)
    done = checkpoint.resume(run.paths, engine, run.metadata) if resumes else 0
    run.team.share(done)
    if resumes:
        print(f"resuming from {run.paths.combined}, iteration {done}")
        if done >= run.schedule.iterations:
            print(f"it already has the {run.schedule.iterations} iterations of -e: nothing left to do")
    else:
        run.paths.begin()
    return done


def training_loop(run: Run, engine: "Engine", done: int) -> int:
    """Iterate until all iterations are done or a stop is requested; returns the exit status."""
    paths, schedule = run.paths, run.schedule
    pace = compile_engine(run, engine, done)
    draw_real_samples(IMAGES / f"real_samples.{paths.name}.png", run.images)
    palette = fitted("red-green", to_unit(evenly_spaced(run.images)))       # early images don't show it
    meter = None
    if run.held_out:
        meter = monitor.Monitor(engine, run.images, run.held_out, checkpoint.read_best(paths, run.metadata))
    watch = codes.Watch()
    log, progress = Log(paths.log, paths.tensorboard, done), Progress(done, schedule.iterations, pace)
    last_save, stopping = time.monotonic(), False
    run.stop.outlook = progress.outlook
    try:
        while done < schedule.iterations and not stopping:
            with progress.iteration(engine.updates(done)):
                losses = engine.iterate(done, run.batches)
            done += 1
            steer_augmentation(run, engine, meter, done)
            stopping = run.stop.agreed(engine.total)
            check_finite(losses, done, paths)
            picture_is_due = done % schedule.picture_every == 0 or done == schedule.iterations
            with saving_without_room(run, engine, done):
                scores = measure(run, engine, meter, done) if meter and picture_is_due else None
                log.losses(done, losses, progress.seconds, scores)
                progress.update(done, losses, scores)
                if meter and scores:
                    progress.warn(meter.warnings(scores))
                if picture_is_due:
                    log.picture(done, draw_samples(IMAGES / f"fake_samples.{paths.name}.{done}.png", engine, palette))
                    if engine.recognizer:
                        quantities = diagnose(engine, run.images)
                        log.codes(done, quantities)
                        progress.warn(watch.warnings(quantities, done, schedule.picture_every))
            save_is_due = (time.monotonic() - last_save > 60 * schedule.save_minutes
                           or schedule.save_every and done % schedule.save_every == 0)
            if save_is_due or stopping or done == schedule.iterations:
                checkpoint.save(paths, engine, run.metadata, done)
                publish(paths, log)
                record_progress()
                progress.saved, last_save = done, time.monotonic()
    finally:
        log.close()
        progress.close()
    if stopping:
        print(f"stopped by {run.stop.name} after {done:,} iteration{'s' * (done > 1)}, saved in {paths.folder}; "
              f"to resume: {resume_command()}")
        return run.stop.status
    figures.loss_curves(IMAGES / f"losses.{paths.name}.png", paths.log)
    movie = gifs.write_training_movie(IMAGES, paths.name, paths.log)
    if meter and meter.best:
        distance, iteration = meter.best
        print(f"best:    {paths.best} (held-out distance {distance_text(distance)} in iteration {iteration})")
    if engine.strength is not None:
        print(f"augmented at the end: {float(engine.strength.value):.0%} of the images by each of "
              f"{', '.join(run.metadata.training.augment)}")
    print(f"weights: {paths.generator}\nmodel:   {paths.model}\n"
          f"images:  {IMAGES}/fake_samples.{paths.name}.{done}.png\n"
          f"movie:   {movie}\n"
          f"losses:  {IMAGES}/losses.{paths.name}.png")
    return 0


def publish(paths: checkpoint.RunPaths, log: Log) -> None:
    """Give the files of a new run their names, and report where those of an earlier run are."""
    aside = paths.publish()
    log.path = paths.log
    if aside:
        say(f"files of an earlier run moved to {aside}")


def measure(run: Run, engine: "Engine", meter: monitor.Monitor, done: int) -> Scores:
    """The Scores of the engine; saves the generator if it is the best so far."""
    scores = meter.measure()
    if meter.is_best(scores, done):
        checkpoint.save_best(run.paths, engine, dataclasses.replace(run.metadata, iteration=done), scores)
    return scores


def train_as_worker(run: Run, options: argparse.Namespace) -> int:
    """Train as a task of non-zero rank: no files, pictures or output; returns the exit status."""
    engine = build_engine(run, options)
    stopping, done = False, run.team.share(None)
    if done and checkpoint.restore(run.paths.combined, engine, run.metadata) != done:
        raise InputError(f"{run.paths.combined} differs from the file that the first task read: give -c a folder that "
                         f"all nodes share")
    while done < run.schedule.iterations and not stopping:
        engine.iterate(done, run.batches)
        done += 1
        steer_augmentation(run, engine, None, done)
        stopping = run.stop.agreed(engine.total)
    return run.stop.status if stopping else 0


def steer_augmentation(run: Run, engine: "Engine", meter: monitor.Monitor | None, done: int) -> None:
    """Every so many iterations change the strength of the augmentation in all tasks; the first one has a `meter`."""
    if engine.strength is not None and done % monitor.STEER_EVERY == 0:
        engine.strength.assign(run.team.share(meter.steer() if meter else None))


def check_agreement(team: workers.Team, metadata: Metadata) -> None:
    """Raise InputError if the tasks of the team have different options or see different images."""
    own = json.dumps(metadata.to_json())
    others = [rank for rank, theirs in enumerate(team.gather(own)) if theirs != own]
    if others:
        raise InputError(f"tasks {', '.join(map(str, others))} have other images or options than task {team.rank}: "
                         f"give all nodes the same ones")


@contextlib.contextmanager
def saving_without_room(run: Run, engine: "Engine", done: int) -> Iterator[None]:
    """If there is no room for the log or a picture, try to save a checkpoint before the run ends."""
    try:
        yield
    except NoRoom:
        checkpoint.save(run.paths, engine, run.metadata, done)
        run.paths.publish()
        raise


def check_finite(losses: tuple[float, float], iteration: int, paths: checkpoint.RunPaths) -> None:
    """Raise InputError if the training has diverged. The last checkpoint is kept."""
    if not all(map(math.isfinite, losses)):
        saved = paths.combined.is_file()
        advice = f"{paths.combined} is kept: resume from it with -w, or" if saved else "nothing was saved yet:"
        raise InputError(f"the losses became {losses[0]} and {losses[1]} in iteration {iteration}: stopped; {advice} "
                         f"lower --lrD and --lrG")


def draw_real_samples(path: Path, images: dataloader.Images) -> None:
    """Write a picture of some images of each factor, evenly spaced: adjacent ones may be frames of one video.

    Its caption states whether they are simulated, generated or of a public source, if their folder does.
    """
    examples, files = {}, []
    for k, factor in enumerate(images.factors):
        same = np.flatnonzero(images.labels == k)
        some = np.linspace(0, len(same), min(GRID[1], len(same)), endpoint=False).astype(int)
        examples[factor] = images.pixels[same[some]]
        files += [images.files[same[0]]] if images.files else []
    figures.real_grid(path, examples, title=captions.origin_of_training_images(files))


def draw_samples(path: Path, engine: "Engine", palette: str | Palette = "red-green") -> np.ndarray:
    """Write a picture of cells generated from latents that are the same in every iteration; returns the picture.

    path      its name may end in .<iteration>.png, which the caption then states
    palette   with the channels of transmitted light

    With codes, each row has a different value of the first code, and each column has the same noise.
    """
    spec = engine.spec
    groups, group_size = STAR_GRID if len(spec.separate_factors) > 1 else GRID
    z = engine.grid_latents(groups, group_size)
    iteration = path.stem.rpartition(".")[2]
    title = captions.origin_of_cells({"architecture": spec.architecture, "algorithm": engine.settings.algorithm,
                                      "iteration": int(iteration) if iteration.isdigit() else None})
    if spec.codes:
        code, values = spec.codes[0], spec.codes[0].values(GRID[0])
        cells = (engine.generate(codes.traversal(z[::group_size], code, values)) + 1) / 2
        rows = [list(cells[start:start + groups]) for start in range(0, len(cells), groups)]
        names = [f"noise {k + 1}" for k in range(groups)], codes.value_names(code, values)
        return figures.write_picture(path, figures.table(rows, *names, palette, title))
    return figures.sample_grid(path, spec, engine.generate(z), group_size, title, palette)


def diagnose(engine: "Engine", images: dataloader.Images) -> dict[str, float]:
    """How well the codes are learnt (codes.diagnosis), from the same latents and real images in every iteration."""
    z = engine.grid_latents(DIAGNOSED, 1)
    real = to_signed(evenly_spaced(images))
    return codes.diagnosis(engine.calibrated_recognizer(), engine.spec.codes, z, engine.generate(z), real)


def evenly_spaced(images: dataloader.Images) -> np.ndarray:
    """DIAGNOSED images, uint8, evenly spaced among all; with repeats if there are fewer."""
    return images.pixels[np.linspace(0, len(images.pixels) - 1, DIAGNOSED).astype(int)]


def resume_command() -> str:
    """The command that resumes this run."""
    return provenance.command() + ("" if "-w" in sys.argv[1:] else " -w")


parser = command_line.parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return launch.run(train, parser().parse_args(arguments))
