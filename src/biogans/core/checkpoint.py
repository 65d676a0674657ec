"""Checkpoints: the files of a run, how its whole state is saved, and how it resumes.

Every file describes itself (system/hdf5.py): its attribute `biogans` contains a settings.Metadata. A network's file has
Keras's own layout, with the arrays in `model_weights/<layer>/<variable>`: `keras.Model.load_weights` reads it, and
`keras.models.load_model` opens model.generator…, which contains the architecture. The combined file has one group of
arrays for each part of the training state.
"""

import argparse
import contextlib
import dataclasses
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..system import hdf5
from ..system.errors import InputError
from ..system.files import Lock, check_room, link, remove_leftovers
from ..system.lazy import Network
from ..system.progress import Scores
from .dataloader import Images
from .models import NetworkSpec
from .settings import Metadata, TrainingSettings
from .trained import earlier_checkpoints, read_metadata, read_weights

if TYPE_CHECKING:               # importing it chooses the backend, which a run does later
    from .engine import Engine


COMBINED = re.compile(r"weights\.combined_model\.([^.]+)\.([^.]+)\.(\d+)(?:\.(?:previous-)?\d+)?\.h5")


class RunPaths:
    """The files of one run in its checkpoints folder, and the number of checkpoints to keep.

    name                 "<architecture>.<algorithm>.<greens>", part of every file name
    combined             the newest complete checkpoint
    generator, model,
    recognizer           networks of the same iteration
    best                 the generator when its distance to held-out images was lowest (monitor.py)
    log, tensorboard     losses and scores
    keep                 number of checkpoints to keep: the newest, and earlier ones as …previous-<iteration>.h5
    keep_every           checkpoints after multiples of this number of iterations are kept for good, as
                         ….<iteration>.h5; 0 for none
    newest               the iteration that `combined` contains; None until this run has written or restored it

    If there are files of an earlier run, those of a new one are written to a hidden folder until `publish`: the earlier
    ones stay in place until the new run has saved a complete checkpoint.
    """

    def __init__(self, folder: str | Path, spec: NetworkSpec, algorithm: str, keep: int = 2,
                 keep_every: int = 0) -> None:
        self.folder, self.keep, self.keep_every = Path(folder), keep, keep_every
        self.newest: int | None = None
        self.name = f"{spec.architecture}.{algorithm}.{spec.greens}"
        self.num_critics = spec.num_critics
        self._unpublished = self.folder / f".new.{self.name}"
        self._published = self.folder / f".complete.{self.name}"
        self._name_files(self.folder)

    def _name_files(self, folder):
        self.combined = folder / f"weights.combined_model.{self.name}.h5"
        self.generator = folder / f"weights.generator.{self.name}.h5"
        self.model = folder / f"model.generator.{self.name}.h5"
        self.recognizer = folder / f"weights.recognizer.{self.name}.h5"
        self.best = folder / f"weights.best_generator.{self.name}.h5"
        self.log = folder / f"log.{self.name}.csv"
        self.tensorboard = folder / "tensorboard" / self.name

    def critic(self, kind: str, k: int) -> Path:
        """Weights of critic k; `kind` is the algorithm's name for it, "critic" or "discriminator"."""
        number = f"[{k}]" if self.num_critics > 1 else ""
        return self.combined.with_name(f"weights.{kind}{number}.{self.name}.h5")

    def previous(self, iteration: int) -> Path:
        """The checkpoint of an earlier iteration, which later ones replace."""
        return self.combined.with_suffix(f".previous-{iteration}.h5")

    def kept(self, iteration: int) -> Path:
        """The checkpoint of an iteration that is kept for good."""
        return self.combined.with_suffix(f".{iteration}.h5")

    def checkpoints(self) -> list[Path]:
        """The combined file, whether it exists or not, then the earlier checkpoints that exist, newest first."""
        return [self.combined, *earlier_checkpoints(self.combined)]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock out other jobs, and remove partial files of killed ones. Raises InputError if another job is running."""
        lock = Lock(self.folder / f".lock.{self.name}")
        if not lock.take():
            raise InputError(f"{self.folder}: another job trains {self.name} here ({lock.holder}): wait until it ends, "
                             f"or choose another folder with -c")
        try:
            if lock.works:
                remove_leftovers(self.folder, self.name)
                self._clean_up()
            yield
        finally:
            lock.release()

    def begin(self) -> None:
        """Prepare for the files of a new run. Those of an earlier run stay in place. Raises InputError for a link."""
        if self._files():
            if self._unpublished.is_symlink():
                raise InputError(f"{self._unpublished}: this is a link: remove it, or work in a folder of your own")
            self._unpublished.mkdir(exist_ok=True)
            self._name_files(self._unpublished)

    def publish(self) -> Path | None:
        """Move the files of a new run, which has saved a checkpoint, to their places.

        Returns the folder to which the files of an earlier run were moved before, or None if there are none.
        """
        if self.combined.parent == self.folder:
            return None
        aside = self.set_aside()
        os.replace(self._unpublished, self._published)
        self._move_up()
        self._name_files(self.folder)
        return aside

    def set_aside(self) -> Path | None:
        """Move the files of an earlier run of this name to a new folder. Returns the folder, or None without files."""
        old = self._files()
        if not old:
            return None
        aside = self.folder / time.strftime("replaced-%Y%m%d-%H%M%S")
        while aside.exists():
            aside = aside.with_name(aside.name + "+")
        aside.mkdir()
        for path in old:
            os.replace(path, aside / path.name)
        return aside

    def _files(self):
        """The files of this name that are in place, except hidden ones, and the folder for TensorBoard."""
        found = sorted(path for path in self.folder.glob(f"*.{self.name}.*") if path.name[0] != ".")
        tensorboard = self.folder / "tensorboard" / self.name
        return found + [tensorboard] * tensorboard.exists()

    def _move_up(self):
        """Move the files of a published run to their places or, after a kill, the rest of them."""
        for path in sorted(path for path in self._published.rglob("*") if path.is_file()):
            target = self.folder / path.relative_to(self._published)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
        shutil.rmtree(self._published)

    def _clean_up(self):
        """Finish or remove what a killed run has left in its hidden folders."""
        if self._published.is_dir():
            self._move_up()
        if (self._unpublished / self.combined.name).is_file():
            self._name_files(self._unpublished)
            self.publish()
        shutil.rmtree(self._unpublished, ignore_errors=True)


def run_metadata(spec: NetworkSpec, settings: TrainingSettings, images: Images) -> Metadata:
    """The Metadata of a run that trains on `images`."""
    return Metadata(spec, settings, {"number": len(images.pixels), "sha256": images.fingerprint,
                                     **images.settings.to_json()}, images.pixel_size_um)


# ---------------------------------------------------------------------------------------------- saving

def save(paths: RunPaths, engine: "Engine", metadata: Metadata, iteration: int) -> None:
    """Write the whole state of `engine` after `iteration` iterations, and the weights of each network.

    Each file is written completely or not at all. The combined file, from which a run resumes, comes first: the old one
    is linked to its name as an earlier checkpoint and keeps its own name until the new one replaces it.
    Raises files.NoRoom.
    """
    metadata = dataclasses.replace(metadata, iteration=iteration, position=engine.position)
    if paths.newest not in (None, iteration):
        link(paths.combined, paths.previous(paths.newest))
    _write_state(paths.combined, engine.variables, metadata)
    paths.newest = iteration
    _rotate_checkpoints(paths)
    for path, network, kind in _networks(paths, engine):
        _write_network(path, network, dataclasses.replace(metadata, **kind), with_architecture=path == paths.model)


def save_best(paths: RunPaths, engine: "Engine", metadata: Metadata, scores: Scores) -> None:
    """Write the current generator, with its distance to held-out images, as the best one. Raises files.NoRoom."""
    kind = _generator_kind(engine)
    _write_network(paths.best, engine.average, dataclasses.replace(
        metadata, position=engine.position, planned=None, held_out_distance=scores.held_out_distance, **kind))


def save_generator(path: Path, generator: Network, metadata: Metadata, with_architecture: bool = True) -> None:
    """Write a single generator in the format of model.generator files or, without architecture, weights.generator.

    Raises files.NoRoom.
    """
    metadata = dataclasses.replace(metadata, holds="generator", weights=metadata.weights or "as trained")
    _write_network(path, generator, metadata, with_architecture)


def read_best(paths: RunPaths, metadata: Metadata) -> tuple[float, int] | None:
    """(distance, iteration) of the best generator of the run with this metadata, None if there is no such file.

    After a kill, its iteration may be later than the newest checkpoint's: the resumed run gets there again.
    """
    try:
        _, stored = read_weights(paths.best)
    except InputError:
        return None
    if stored.held_out_distance is None or stored.differences(metadata):
        return None
    return stored.held_out_distance, stored.iteration


def check_space(paths: RunPaths, engine: "Engine") -> None:
    """Raise files.NoRoom if the disk has no room for one checkpoint of `engine`."""
    size = sum(np.prod(variable.shape, dtype=int) * 4 for part in engine.variables.values() for variable in part)
    check_room(paths.combined, int(size))


def _rotate_checkpoints(paths):
    """Link the newest checkpoint to a permanent name if it is due, and remove the oldest beyond paths.keep."""
    if paths.keep_every and paths.newest % paths.keep_every == 0:
        link(paths.combined, paths.kept(paths.newest))
    previous = [path for path in earlier_checkpoints(paths.combined) if ".previous-" in path.name]
    for path in previous[paths.keep - 1:]:
        path.unlink()


def _generator_kind(engine: "Engine") -> dict[str, Any]:
    """Fields of the Metadata of the engine's generator."""
    return {"holds": "generator", "weights": "moving average" if engine.settings.averages else "as trained"}


def _networks(paths: RunPaths, engine: "Engine") -> list[tuple[Path, Network, dict[str, Any]]]:
    """[(file, network, fields of its Metadata)] of the files that contain one network each."""
    kind = _generator_kind(engine)
    networks = [(paths.model, engine.average, kind), (paths.generator, engine.average, kind)]
    for k, critic in enumerate(engine.critics):
        networks.append((paths.critic(engine.algorithm.critic_name, k), critic, {"holds": f"critic {k}"}))
    if engine.recognizer:
        networks.append((paths.recognizer, engine.calibrated_recognizer(), {"holds": "recognizer"}))
    return networks


def _write_state(path, parts, metadata):
    """Write the variables of each of the `parts`, {name: Keras variables}, in a group of its own."""
    with hdf5.new_in_memory() as file:
        for part, variables in parts.items():
            group = file.create_group(part)
            for k, variable in enumerate(variables):
                group.create_dataset(f"{k:04d}", data=np.asarray(variable.numpy())).attrs["name"] = variable.path
        hdf5.write_described(path, file, metadata.to_json())


def _write_network(path, network, metadata, with_architecture=False):
    """Write one network in Keras's layout."""
    with hdf5.new_in_memory() as file:
        network.save(file)
        if not with_architecture:
            del file.attrs["model_config"]
        hdf5.write_described(path, file, metadata.to_json())


# ---------------------------------------------------------------------------------------------- resuming

def find_run(options: argparse.Namespace) -> tuple[Path, Metadata]:
    """The combined file of the run that train.py's options -w, -c, -m, -a, -p and --channels name, and its metadata.

    Without -m and -a it is the run of the default ones or, failing that, the only one in the folder. Raises InputError
    if there is no such run, or more than one.
    """
    folder = Path(options.checkpoints_dir)
    runs = {match.groups(): folder / f"weights.combined_model.{'.'.join(match.groups())}.h5"
            for path in sorted(folder.glob("*.h5")) if (match := COMBINED.fullmatch(path.name))}
    for k, (option, default) in enumerate((("network_model", "DCGAN-starshaped"), ("gan_algorithm", "WGAN-GP"))):
        given = option in options.given
        chosen = {run: path for run, path in runs.items() if run[k] == (getattr(options, option) if given else default)}
        runs = chosen if given else chosen or runs
    found = [(path, _metadata_of_run(path)) for path in runs.values()]
    if len(found) > 1 and options.polarity_factors:
        found = [each for each in found if {*each[1].network.factors} == {*options.polarity_factors}]
    if len(found) > 1 and options.channels:
        found = [each for each in found if each[1].read_settings.channels == options.channels]
    if not found:
        raise InputError(_nothing_to_resume(folder, options))
    if len(found) > 1:
        names = ", ".join(path.name for path, _ in found)
        raise InputError(f"{folder} has several runs ({names}): choose one with -m, -a, -p or --channels")
    return found[0]


def _metadata_of_run(combined):
    """The metadata of the newest checkpoint that can be read."""
    for path in [combined, *earlier_checkpoints(combined)]:
        with contextlib.suppress(hdf5.Damaged):
            return read_metadata(path)
    return read_metadata(combined)


def _nothing_to_resume(folder, options):
    """Why there is no checkpoint to resume, and what to do instead."""
    run = f"{options.network_model}.{options.gan_algorithm or 'WGAN-GP'}"
    generators = sorted(folder.glob(f"weights.generator.{run}.*.h5"))
    if not generators:
        return f"{folder}: no such checkpoint to resume: leave out -w to start a new run"
    return (f"{folder}: no such checkpoint to resume: {generators[0].name} is a generator without its critics and "
            f"optimizers: leave out -w to start a new run, which can begin with this generator: --start_from "
            f"{generators[0]}")


def resume(paths: RunPaths, engine: "Engine", metadata: Metadata) -> int:
    """Restore the newest intact checkpoint, and write the other files again if they don't belong to it.

    Damaged checkpoints are reported and renamed. Returns the number of iterations done. Raises InputError if no
    checkpoint is intact, or if its run differs from that of `metadata`.
    """
    problems: dict[Path, hdf5.Damaged] = {}
    for path in paths.checkpoints():
        try:
            paths.newest = iteration = restore(path, engine, metadata)
            break
        except hdf5.Damaged as problem:
            problems[path] = problem
    else:
        raise problems[paths.combined]
    for damaged in problems:
        if damaged.exists():
            os.replace(damaged, damaged.with_suffix(".damaged.h5"))
    if problems:
        link(path, paths.combined)
        print(f"{problems[paths.combined].what}: resuming from the one before it, {path}, iteration {iteration}")
    _rotate_checkpoints(paths)
    _, stored = read_weights(paths.combined)
    stale = [entry for entry in _networks(paths, engine) if not _belongs(entry[0], stored)]
    for target, network, kind in stale:
        _write_network(target, network, dataclasses.replace(stored, **kind), with_architecture=target == paths.model)
    if stale:
        print(f"written again from {paths.combined}: {', '.join(target.name for target, _, _ in stale)}")
    return iteration


def restore(path: Path, engine: "Engine", metadata: Metadata) -> int:
    """Load the state stored in `path` into `engine`; returns the number of iterations done.

    Raises hdf5.Damaged if the file is damaged, InputError if its run had other settings or images than `metadata`.
    """
    arrays, stored = read_weights(path)
    if stored.holds:
        raise InputError(f"{path} holds one network: only weights.combined_model files can be resumed")
    different = stored.differences(metadata)
    if different:
        raise InputError(f"{path} was trained differently ({'; '.join(different)}): give the same options, or start "
                         f"a new run without -w")
    variables = [(f"{part}/{k:04d}", variable) for part, variables in engine.variables.items()
                 for k, variable in enumerate(variables)]
    hdf5.assign(path, arrays, variables)
    engine.position = stored.position
    return stored.iteration


def _belongs(path, metadata):
    """Whether the network in `path` is intact and belongs to the same iteration of the same run as `metadata`."""
    try:
        _, stored = read_weights(path)
    except InputError:
        return False
    return dataclasses.replace(stored, holds="", weights="") == metadata
