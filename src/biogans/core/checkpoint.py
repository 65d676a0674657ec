"""Checkpoints: the names of a run's files, how its whole state is saved, and how a run resumes from it.

Every file describes itself (system/hdf5.py): its attribute `biogans` is a settings.Metadata. A network's file is Keras's
own layout (`keras.Model.load_weights` reads it; model.generator… also opens with `keras.models.load_model`), with the
arrays in `model_weights/<layer>/<variable>`. The combined file holds one group of arrays for each part of the state of
the training.
"""

import contextlib
import dataclasses
import os
import time
from pathlib import Path

import numpy as np

from ..system import hdf5
from ..system.errors import InputError
from ..system.files import Lock, check_room, link, remove_leftovers
from .settings import Metadata
from .trained import earlier_checkpoints, read


class RunPaths:
    """The files of one run, in its checkpoints folder, and how many checkpoints it keeps.

    name            "<architecture>.<algorithm>.<greens>", a part of every name
    combined        the newest complete checkpoint; weights.generator and the others are those of the same iteration
    best            the generator as it was at its lowest distance to held-out images (monitor.py)
    keep            checkpoints to keep: the newest, and those before it as …previous-<iteration>.h5
    keep_every      checkpoints of multiples of so many iterations are kept for good as ….<iteration>.h5; 0 for none
    newest          the iteration that `combined` holds, None before this run has written or restored it
    """

    def __init__(self, folder, spec, algorithm, keep=2, keep_every=0):
        self.folder, self.keep, self.keep_every, self.newest = Path(folder), keep, keep_every, None
        self.name = f"{spec.architecture}.{algorithm}.{spec.greens}"
        self.num_critics = spec.num_critics
        self.combined = self.folder / f"weights.combined_model.{self.name}.h5"
        self.generator = self.folder / f"weights.generator.{self.name}.h5"
        self.model = self.folder / f"model.generator.{self.name}.h5"
        self.recognizer = self.folder / f"weights.recognizer.{self.name}.h5"
        self.best = self.folder / f"weights.best_generator.{self.name}.h5"
        self.log = self.folder / f"log.{self.name}.csv"
        self.tensorboard = self.folder / "tensorboard" / self.name

    def critic(self, kind, k):
        """Weights of critic k; `kind` is the algorithm's word for it."""
        number = f"[{k}]" if self.num_critics > 1 else ""
        return self.folder / f"weights.{kind}{number}.{self.name}.h5"

    def previous(self, iteration):
        """A checkpoint before the newest."""
        return self.combined.with_suffix(f".previous-{iteration}.h5")

    def kept(self, iteration):
        """A checkpoint that is kept for good."""
        return self.combined.with_suffix(f".{iteration}.h5")

    def checkpoints(self):
        """The combined file, whether it exists or not, and the earlier checkpoints that exist, newest first."""
        return [self.combined, *earlier_checkpoints(self.combined)]

    @contextlib.contextmanager
    def locked(self):
        """Keep other jobs out, and remove the partial files of killed ones. Raises InputError if one is at work."""
        lock = Lock(self.folder / f".lock.{self.name}")
        if not lock.take():
            raise InputError(f"{self.folder}: another job trains {self.name} here ({lock.holder}): wait until it ends, "
                             f"or choose another folder with -c")
        try:
            if lock.works:
                remove_leftovers(self.folder, self.name)
            yield
        finally:
            lock.release()

    def set_aside(self):
        """Move the files of an earlier run of this name to a folder of their own; returns that, or None."""
        old = sorted(path for path in self.folder.glob(f"*.{self.name}.*") if path.name[0] != ".")
        old += [self.tensorboard] if self.tensorboard.exists() else []
        if not old:
            return None
        aside = self.folder / time.strftime("replaced-%Y%m%d-%H%M%S")
        while aside.exists():
            aside = aside.with_name(aside.name + "+")
        aside.mkdir()
        for path in old:
            os.replace(path, aside / path.name)
        return aside


def run_metadata(spec, settings, images):
    """The Metadata of a run (NetworkSpec, TrainingSettings) that trains on `images` (dataloader.Images)."""
    return Metadata(spec, settings, {"number": len(images.pixels), "sha256": images.fingerprint,
                                     "channels": list(images.channels)}, images.pixel_size_um)


# ---------------------------------------------------------------------------------------------- saving

def save(paths, engine, metadata, iteration):
    """Write the whole state of `engine` after so many iterations and the weights of its networks.

    Each file is complete or not written at all. The combined one comes first: a run resumes from it. Until the new one
    has its name the old one has it, and then that of an earlier checkpoint. Raises files.NoRoom.
    """
    metadata = dataclasses.replace(metadata, iteration=iteration, position=engine.position)
    if paths.newest not in (None, iteration):
        link(paths.combined, paths.previous(paths.newest))
    _write_state(paths.combined, engine.variables, metadata)
    paths.newest = iteration
    _rotate_checkpoints(paths)
    for path, network, kind in _networks(paths, engine):
        _write_network(path, network, dataclasses.replace(metadata, **kind), with_architecture=path == paths.model)


def save_best(paths, engine, metadata, scores):
    """Write the generator as it is now, with its scores on held-out images, as the best one. Raises files.NoRoom."""
    kind = _generator_kind(engine)
    _write_network(paths.best, engine.average, dataclasses.replace(
        metadata, position=engine.position, held_out_distance=scores.held_out_distance, **kind))


def save_generator(path, generator, metadata, with_architecture=True):
    """Write a generator alone, as model.generator and, without its architecture, weights.generator hold it."""
    weights = metadata.weights or "as trained"
    _write_network(path, generator, dataclasses.replace(metadata, holds="generator", weights=weights), with_architecture)


def read_best(paths, metadata):
    """(distance, iteration) of the best generator of the run of this metadata, None if there is no such file.

    The file may be of an iteration after the newest checkpoint, if the run was killed: resumed, it comes to the same.
    """
    try:
        _, stored = read(paths.best)
    except InputError:
        return None
    return None if stored.differences(metadata) else (stored.held_out_distance, stored.iteration)


def check_space(paths, engine):
    """Raise files.NoRoom if the disk has no room for one checkpoint of `engine`."""
    size = sum(np.prod(variable.shape, dtype=int) * 4 for part in engine.variables.values() for variable in part)
    check_room(paths.combined, int(size))


def _rotate_checkpoints(paths):
    """Give the newest checkpoint a name for good if it is due, and remove those that are no longer to be kept."""
    if paths.keep_every and paths.newest % paths.keep_every == 0:
        link(paths.combined, paths.kept(paths.newest))
    previous = [path for path in earlier_checkpoints(paths.combined) if ".previous-" in path.name]
    for path in previous[paths.keep - 1:]:
        path.unlink()


def _generator_kind(engine):
    return {"holds": "generator", "weights": "moving average" if engine.settings.average else "as trained"}


def _networks(paths, engine):
    """[(file, network, fields of its Metadata)] of the files that hold one network each."""
    kind = _generator_kind(engine)
    return [(paths.model, engine.average, kind), (paths.generator, engine.average, kind),
            *((paths.critic(engine.algorithm.critic_name, k), critic, {"holds": f"critic {k}"})
              for k, critic in enumerate(engine.critics)),
            *([(paths.recognizer, engine.recognizer, {"holds": "recognizer"})] if engine.recognizer else [])]


def _write_state(path, parts, metadata):
    with hdf5.new_in_memory() as file:
        for part, variables in parts.items():
            group = file.create_group(part)
            for k, variable in enumerate(variables):
                group.create_dataset(f"{k:04d}", data=np.asarray(variable.numpy())).attrs["name"] = variable.path
        hdf5.write_described(path, file, metadata.to_json())


def _write_network(path, network, metadata, with_architecture=False):
    with hdf5.new_in_memory() as file:
        network.save(file)
        if not with_architecture:
            del file.attrs["model_config"]
        hdf5.write_described(path, file, metadata.to_json())


# ---------------------------------------------------------------------------------------------- resuming

def resume(paths, engine, metadata):
    """Restore the newest checkpoint that is whole, and bring the other files in line with it; returns its iteration.

    Damaged files are reported, and kept under another name. Raises InputError if none is whole, or the run of the files
    differs from that of `metadata`.
    """
    problems = {}
    for path in paths.checkpoints():
        try:
            paths.newest = restore(path, engine, metadata)
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
        print(f"{problems[paths.combined].what}: resuming from the one before it, {path}, iteration {paths.newest}")
    _rotate_checkpoints(paths)
    _, stored = read(paths.combined)
    stale = [entry for entry in _networks(paths, engine) if not _belongs(entry[0], stored)]
    for target, network, kind in stale:
        _write_network(target, network, dataclasses.replace(stored, **kind), with_architecture=target == paths.model)
    if stale:
        print(f"written again from {paths.combined}: {', '.join(target.name for target, _, _ in stale)}")
    return paths.newest


def restore(path, engine, metadata):
    """Put the state stored in `path` into `engine`; returns the number of iterations done.

    Raises hdf5.Damaged if the file is, InputError if its run had other settings or images than `metadata` says.
    """
    arrays, stored = read(path)
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
    """Whether the network in `path` is whole, and of the same iteration of the same run as `metadata`."""
    try:
        _, stored = read(path)
    except InputError:
        return False
    return dataclasses.replace(stored, holds="", weights="") == metadata
