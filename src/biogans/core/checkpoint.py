"""Weights on disk: the files' names, their content, and how a damaged or foreign one is refused.

Each file is HDF5 and describes itself in two root attributes: `biogans`, a JSON text with the networks' and the
run's settings, and `sha256`, a digest of that text and of every array. A network's file is Keras's own layout
(`keras.Model.load_weights` reads it; the file model.generator… also opens with `keras.models.load_model`), with the
arrays in `model_weights/<layer>/<variable>`. The combined file holds one group of arrays for each part of the
training's state. The files are sealed (seal.py). Nothing is ever unpickled, no link is followed, and no code or layer
is built from a file: the networks are made from the checked settings, then the arrays are read into them.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import math
import os
import re
import time
from pathlib import Path

import numpy as np

from .. import __version__
from . import codes, models
from ..system import seal
from ..system.errors import InputError
from ..system.files import Lock, check_room, link, remove_leftovers, write
from .gan import ALGORITHMS
from .options import Training

FORMAT = 1
MOST_SETTINGS = 1 << 20         # characters of the attribute `biogans`
MOST_OBJECTS = 1 << 16          # groups and arrays in a file
DEEPEST = 16                    # groups in groups
LARGEST_NUMBER = 1 << 16        # of filters, latent numbers, or pixels on a side


class Damaged(InputError):
    """A file that is missing, incomplete, or not as it was written: `what` is wrong, without the remedy."""

    def __init__(self, what, remedy):
        super().__init__(f"{what}: {remedy}")
        self.what = what


class Files:
    """The names of the files of one run, in its checkpoints folder, and how many checkpoints it keeps.

    best            the generator as it was at its lowest distance to held-out images (monitor.py)
    combined        the newest complete checkpoint; weights.generator and the others are those of the same iteration
    keep            checkpoints to keep: the newest, and those before it as …previous-<iteration>.h5
    keep_every      checkpoints of multiples of so many iterations are kept for good as ….<iteration>.h5; 0 for none
    newest          the iteration that `combined` holds, None before this run has written or restored it
    """

    def __init__(self, folder, spec, algorithm, keep=2, keep_every=0):
        self.folder, self.keep, self.keep_every, self.newest = Path(folder), keep, keep_every, None
        self.run = f"{spec.architecture}.{algorithm}.{spec.greens}"
        self.towers = spec.towers
        self.combined = self.folder / f"weights.combined_model.{self.run}.h5"
        self.generator = self.folder / f"weights.generator.{self.run}.h5"
        self.model = self.folder / f"model.generator.{self.run}.h5"
        self.recognizer = self.folder / f"weights.recognizer.{self.run}.h5"
        self.best = self.folder / f"weights.best_generator.{self.run}.h5"
        self.log = self.folder / f"log.{self.run}.csv"
        self.tensorboard = self.folder / "tensorboard" / self.run

    def critic(self, name, k):
        """Weights of critic k; `name` is the algorithm's word for it."""
        number = f"[{k}]" if self.towers > 1 else ""
        return self.folder / f"weights.{name}{number}.{self.run}.h5"

    def previous(self, iteration):
        """A checkpoint before the newest."""
        return self.combined.with_suffix(f".previous-{iteration}.h5")

    def kept(self, iteration):
        """A checkpoint that is kept for good."""
        return self.combined.with_suffix(f".{iteration}.h5")

    def checkpoints(self):
        """The combined file, whether it is there or not, and the earlier checkpoints that are there, newest first."""
        return [self.combined, *earlier(self.combined)]

    @contextlib.contextmanager
    def locked(self):
        """Keep other jobs out, and remove what killed ones left half-written. Raises InputError if one is at work."""
        lock = Lock(self.folder / f".lock.{self.run}")
        if not lock.take():
            raise InputError(f"{self.folder}: another job trains {self.run} here ({lock.holder}): wait until it ends, "
                             f"or choose another folder with -c")
        try:
            if lock.works:
                remove_leftovers(self.folder, self.run)
            yield
        finally:
            lock.release()

    def set_aside(self):
        """Move the files of an earlier run of this name to a folder of their own; returns that, or None."""
        old = sorted(path for path in self.folder.glob(f"*.{self.run}.*") if path.name[0] != ".")
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


def earlier(combined):
    """The earlier checkpoints beside the file `combined`, newest first."""
    pattern = re.compile(re.escape(combined.stem) + r"\.(?:previous-)?(\d+)\.h5")
    found = [(int(match[1]), path) for path in combined.parent.glob("*.h5") if (match := pattern.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def find(name, folder="."):
    """The file `name`, looked for as it stands and then in `folder`, also without the image size in its name.

    Older files are called weights.generator.DCGAN-starshaped.WGAN-GP.48_80.1.6.h5. Raises InputError if there is none.
    """
    path = Path(name)
    shorter = re.sub(r"\.\d+_\d+\.\d+(\.\d+\.h5)$", r"\1", path.name)
    for candidate in (path, path.with_name(shorter), Path(folder, path.name), Path(folder, shorter)):
        if candidate.is_file():
            if candidate.suffix == ".pth":
                raise InputError(f"{candidate} is PyTorch's: make a weights file of it (biogans import_torch -i {candidate})")
            return candidate
    raise InputError(f"{path}: no such file: give -i a weights or model file, as in the folder {folder}")


def about(spec, settings, images):
    """What every file of a run says of itself, as a dict that JSON can hold; `images` are those of the training."""
    return {
        "format": FORMAT, "biogans": __version__,
        "network": dataclasses.asdict(spec), "training": dataclasses.asdict(settings),
        "images": {"number": len(images.pixels), "sha256": images.fingerprint, "channels": list(images.channels)},
        "pixel_size_um": images.pixel_size_um,
    } | ({"codes": codes.layout(spec.codes)} if spec.codes else {})


def save(files, engine, facts, iteration):
    """Write the whole state of `engine` after so many iterations and the weights of its networks.

    Each file is complete or not written at all. The combined one comes first: training goes on from it. Until the
    new one has its name the old one has it, and then that of an earlier checkpoint. Raises NoRoom.
    """
    facts = facts | {"iteration": iteration, "position": engine.position}
    if files.newest not in (None, iteration):
        link(files.combined, files.previous(files.newest))
    _write_state(files.combined, engine.variables, facts)
    files.newest = iteration
    _keep(files)
    for path, network, holds in _networks(files, engine):
        _write_network(path, network, facts | holds, with_architecture=path == files.model)


def save_best(files, engine, facts, iteration, distance):
    """Write the generator as it is now, with its `distance` to held-out images, as the best one. Raises NoRoom."""
    facts = facts | {"iteration": iteration, "position": engine.position, "held_out_distance": distance}
    _, (_, average, holds), *_ = _networks(files, engine)
    _write_network(files.best, average, facts | holds)


def save_generator(path, generator, facts, with_architecture=True):
    """Write a generator alone, as model.generator and, without its architecture, weights.generator hold it."""
    _write_network(path, generator, {"holds": "generator", "weights": "as trained"} | facts, with_architecture)


def read_best(files, facts):
    """(distance, iteration) of the best generator of the run that `facts` describe, None if there is no such file.

    The file may be of an iteration after the newest checkpoint, if the run was killed: going on, it comes to the same.
    """
    try:
        stored = read(files.best)[1]
    except InputError:
        return None
    return None if _differences(stored, facts) else (stored["held_out_distance"], stored["iteration"])


def _keep(files):
    """Give the newest checkpoint a name for good if it is due, and remove those that are not to be kept any longer."""
    if files.keep_every and files.newest % files.keep_every == 0:
        link(files.combined, files.kept(files.newest))
    for path in [path for path in earlier(files.combined) if ".previous-" in path.name][files.keep - 1:]:
        path.unlink()


def check_space(files, engine):
    """Raise NoRoom if the disk has no room for one checkpoint of `engine`."""
    size = sum(np.prod(variable.shape, dtype=int) * 4 for part in engine.variables.values() for variable in part)
    check_room(files.combined, int(size))


def restore(path, engine, facts):
    """Put the state stored in `path` into `engine`; returns the number of iterations done.

    Raises Damaged if the file is, InputError if it was written with other settings or images than `facts` says.
    """
    arrays, stored = read(path)
    if "holds" in stored:
        raise InputError(f"{path} holds one network: only weights.combined_model files can be continued")
    different = _differences(stored, facts)
    if different:
        raise InputError(f"{path} was trained differently ({'; '.join(different)}): give the same options, or start "
                         f"anew without -w")
    variables = [(f"{part}/{k:04d}", variable) for part, variables in engine.variables.items()
                 for k, variable in enumerate(variables)]
    _assign(path, arrays, variables)
    engine.position = stored["position"]
    return stored["iteration"]


def go_on(files, engine, facts):
    """Restore the newest checkpoint that is whole, and bring the other files in line with it; returns its iteration.

    What is damaged is kept under another name. Prints what was found amiss. Raises InputError if nothing is whole, or
    it was trained differently.
    """
    problems = {}
    for path in files.checkpoints():
        try:
            files.newest = restore(path, engine, facts)
            break
        except Damaged as problem:
            problems[path] = problem
    else:
        raise problems[files.combined]
    for damaged in problems:
        if damaged.exists():
            os.replace(damaged, damaged.with_suffix(".damaged.h5"))
    if problems:
        link(path, files.combined)
        print(f"{problems[files.combined].what}: going on from the one before it, {path}, iteration {files.newest}")
    _keep(files)
    stored = read(files.combined)[1]
    stale = [entry for entry in _networks(files, engine) if not _belongs(entry[0], stored)]
    for target, network, holds in stale:
        _write_network(target, network, stored | holds, with_architecture=target == files.model)
    if stale:
        print(f"written again from {files.combined}: {', '.join(target.name for target, _, _ in stale)}")
    return files.newest


def _belongs(path, facts):
    """Whether the network in `path` is whole, and of the same iteration of the same run as `facts`."""
    try:
        stored = read(path)[1]
    except InputError:
        return False
    return {name: stored[name] for name in stored if name not in ("holds", "weights")} == facts


def load_generator(path):
    """(generator, NetworkSpec, facts) from a weights.generator, model.generator or weights.combined_model file.

    Raises InputError if the file is damaged, or holds something else.
    """
    from .engine import drawing_generator

    arrays, stored = read(path)
    if stored.get("holds", "generator") != "generator":
        raise InputError(f"{path} holds the weights of {stored['holds']}, which draws nothing: give a generator's "
                         f"file")
    spec = network_spec(path, stored)
    generator = drawing_generator(spec)
    if "holds" in stored:
        variables = _of_layers(generator)
    else:
        arrays = {name: array for name, array in arrays.items() if name.startswith("average/")}
        variables = [(f"average/{k:04d}", variable) for k, variable in enumerate(generator.weights)]
    _assign(path, arrays, variables)
    return generator, spec, stored


def load_recognizer(path):
    """The recognizer of the run whose generator's file is `path`, from the file beside it. Raises InputError."""
    path = Path(path)
    beside = path.with_name(re.sub(r"^[a-z]+\.[a-z_]+\.(.*?)(\.(previous-)?\d+)?(\.\d+\.h5)$", r"weights.recognizer.\1\4",
                                   path.name))
    arrays, stored = read(beside)
    if stored.get("holds") != "recognizer":
        raise InputError(f"{beside} holds no recognizer: give the file of an InfoGAN's generator")
    spec = network_spec(beside, stored)
    with models.float32():
        recognizer = models.build_recognizer(spec, models.critic(spec, "critic"))
    _assign(beside, arrays, _of_layers(recognizer))
    return recognizer


def _of_layers(network):
    return [(f"model_weights/{layer.name}/{variable.path}", variable)
            for layer in network.layers for variable in layer.weights]


def load_critics(path):
    """([the critic of each tower], NetworkSpec, facts) from a weights.combined_model file. Raises InputError."""
    arrays, stored = read(path)
    if "holds" in stored:
        raise InputError(f"{path} holds one network: give the weights.combined_model file of the same folder, which has "
                         f"the critics and the generator")
    spec = network_spec(path, stored)
    with models.float32():
        critics = models.build_critics(spec)
    for k, critic in enumerate(critics):
        prefix = f"critic{k}/"
        _assign(path, {name: array for name, array in arrays.items() if name.startswith(prefix)},
                [(f"{prefix}{n:04d}", variable) for n, variable in enumerate(critic.weights)])
    return critics, spec, stored


def network_spec(path, stored):
    """The NetworkSpec that a file describes, checked. Raises InputError."""
    try:
        lists = {name: tuple(stored["network"].get(name, ())) for name in ("factors", "categorical")}
        spec = models.NetworkSpec(**(stored["network"] | lists))
        numbers = (spec.height, spec.width, spec.channels, spec.nz, spec.ngf, spec.ndf)
        valid = (all(type(number) is int and 0 < number <= LARGEST_NUMBER for number in numbers)
                 and spec.channels <= 4 and 0 < len(spec.factors) <= 1000
                 and all(isinstance(name, str) for name in spec.factors)
                 and all(type(size) is int and 1 < size <= LARGEST_NUMBER for size in spec.categorical)
                 and type(spec.continuous) is int and 0 <= spec.continuous <= LARGEST_NUMBER
                 and spec.architecture in models.ARCHITECTURES and spec.init in models.INITIALIZERS)
    except (KeyError, TypeError):
        valid = False
    if not valid:
        raise InputError(f"{path} describes a network that this version can't build: use the version that wrote it")
    spec.check()
    return spec


def read(path):
    """({path in the file: array}, facts) of a file of a training, its digests verified. Raises InputError."""
    arrays, facts = read_arrays(path)
    _check_facts(path, facts)
    return arrays, facts


def read_arrays(path):
    """({path in the file: array}, facts) of any file that describes itself as ours do, verified. Raises InputError."""
    import h5py

    try:
        if problem := seal.problem(path):
            raise Damaged(f"{path} is damaged ({problem})", _remedy(path))
        with h5py.File(path, "r") as file:
            text, sha256 = _text(file, "biogans"), _text(file, "sha256")
            if text is None:
                raise Damaged(f"{path} was not written by BioGANs, or only in part",
                              "give a file from a checkpoints folder")
            arrays = _arrays(file)
            facts = json.loads(text)
    except FileNotFoundError:
        raise Damaged(f"{path} is not there", "give a file from a checkpoints folder") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as problem:
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        if isinstance(problem, OSError) and problem.errno in (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE):
            raise InputError(f"{path} can't be read now ({reason}): see to that first") from None
        raise Damaged(f"{path} is not a readable weights file ({reason})", _remedy(path)) from None
    if sha256 != _digest(arrays, text):
        raise Damaged(f"{path} is damaged (its checksum does not match)", _remedy(path))
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        version = facts.get("biogans") if isinstance(facts, dict) else "something else"
        raise InputError(f"{path} was written by BioGANs {version}, and this is {__version__}: use that one")
    return arrays, facts


def _remedy(path):
    """What to do about a damaged file: the checkpoint before it, where there is one, draws and can be continued."""
    others = earlier(Path(path)) if "combined_model" in Path(path).name else []
    return f"use another copy, such as {others[0]}, or train again" if others else "use another copy, or train again"


def _text(file, name):
    """A text attribute of the file's root, of at most MOST_SETTINGS characters, or None."""
    if name not in file.attrs or file.attrs.get_id(name).get_storage_size() > MOST_SETTINGS:
        return None
    text = file.attrs[name]
    return text if isinstance(text, str) and len(text) <= MOST_SETTINGS else None


def _check_facts(path, facts):
    """Raise InputError if a file does not say of itself what a run needs to know."""
    training, images = facts.get("training"), facts.get("images")
    valid = (all(isinstance(part, dict) for part in (facts.get("network"), training, images))
             and all(type(facts.get(name)) is int and facts[name] >= 0 for name in ("iteration", "position"))
             and isinstance(facts.get("pixel_size_um"), (int, float, type(None)))
             and training.get("algorithm") in list(ALGORITHMS) and isinstance(images.get("channels"), list)
             and all(type(channel) is int and 0 < channel <= 4 for channel in images["channels"])
             and {"optimizer", "lrD", "lrG", "wgan_clip_value", "wgangp_lambda"} <= training.keys())
    if not valid:
        raise InputError(f"{path} describes a training that this version doesn't know: use the version that wrote it")


def _differences(stored, facts):
    """Lines «setting: stored there, wanted here». Settings that an older file does not name had their defaults."""
    lines = []
    for part, kind in (("network", models.NetworkSpec), ("training", Training), ("images", None)):
        defaults = {field.name: field.default for field in (dataclasses.fields(kind) if kind else ())
                    if field.default is not dataclasses.MISSING}
        there, here = json.loads(json.dumps([defaults | stored[part], facts[part]]))
        lines += [f"{part} {name}: {there.get(name)} there, {here.get(name)} here"
                  for name in sorted(there.keys() | here.keys()) if there.get(name) != here.get(name)]
    return [line if len(line) < 160 else line.split(":")[0] + ": not the same" for line in lines]


def _networks(files, engine):
    """[(file, network, what it says of itself beside the facts)] of the files that hold one network each."""
    drawn = {"holds": "generator", "weights": "moving average" if engine.settings.average else "as trained"}
    return [(files.model, engine.average, drawn), (files.generator, engine.average, drawn),
            *((files.critic(engine.algorithm.critic_name, k), critic, {"holds": f"critic {k}"})
              for k, critic in enumerate(engine.critics)),
            *([(files.recognizer, engine.recognizer, {"holds": "recognizer"})] if engine.recognizer else [])]


def _write_state(path, parts, facts):
    with _in_memory() as file:
        for part, variables in parts.items():
            group = file.create_group(part)
            for k, variable in enumerate(variables):
                group.create_dataset(f"{k:04d}", data=np.asarray(variable.numpy())).attrs["name"] = variable.path
        _write(path, file, facts)


def _write_network(path, network, facts, with_architecture=False):
    with _in_memory() as file:
        network.save(file)
        if not with_architecture:
            del file.attrs["model_config"]
        _write(path, file, facts)


def _in_memory():
    """A new HDF5 file in memory: when a disk is full, HDF5 itself neither says how much it needs nor ends cleanly."""
    import h5py

    class File(h5py.File):
        def __str__(self):
            return "memory.h5"          # Keras takes an open file where the name of one would end in .h5

    return File("memory.h5", "w", driver="core", backing_store=False, block_size=1 << 22)


def _write(path, file, facts):
    describe(file, facts)
    file.flush()
    content = file.id.get_file_image()
    write(path, content, seal.of(content))


def describe(file, facts):
    """Write what an open HDF5 file holds, and the digest of that and of all its arrays, into its attributes."""
    text = json.dumps(facts)
    file.attrs["biogans"] = text
    file.attrs["sha256"] = _digest(_arrays(file), text)


def _assign(path, arrays, variables):
    """Assign arrays to variables [(name, variable)], which must be all that there are. Raises InputError."""
    if arrays.keys() != {name for name, _ in variables}:
        raise InputError(f"{path} holds other layers than its description says: use another copy, or train again")
    for name, variable in variables:
        if arrays[name].shape != tuple(variable.shape):
            raise InputError(f"{path}: {name} has the shape {arrays[name].shape}, not {tuple(variable.shape)}: use "
                             f"another copy, or train again")
    for name, variable in variables:
        variable.assign(arrays[name])


def _arrays(file):
    """{name: array} of what the file itself holds; links are not followed. Raises ValueError for anything beyond it."""
    datasets = {}
    for name, dataset in _datasets(file):
        if dataset.dtype.kind not in "fiub" or dataset.shape is None:
            raise ValueError("its arrays do not hold numbers")
        if dataset.is_virtual or dataset.external:
            raise ValueError("its arrays lie in other files")
        datasets[name] = dataset
    claimed = sum(math.prod(dataset.shape) * dataset.dtype.itemsize for dataset in datasets.values())
    if file.driver != "core" and claimed > os.stat(file.filename).st_size:
        raise ValueError("its arrays claim more bytes than the file has")
    return {name: np.asarray(dataset[()]) for name, dataset in datasets.items()}


def _datasets(file):
    """Yield (name, dataset) of all data sets below `file`. Recursion in HDF5's own visit can overflow its stack."""
    import h5py

    groups, objects = [("", file, 0)], 0
    while groups:
        prefix, group, depth = groups.pop()
        for name in group:
            objects += 1
            if not isinstance(name, str):
                raise ValueError("a name in it is not text")
            if objects > MOST_OBJECTS or depth > DEEPEST:
                raise ValueError("it holds more, or deeper, groups than a network has")
            if isinstance(group.get(name, getlink=True), h5py.HardLink):
                thing = group[name]
                if isinstance(thing, h5py.Dataset):
                    yield prefix + name, thing
                elif isinstance(thing, h5py.Group):
                    groups.append((f"{prefix}{name}/", thing, depth + 1))


def _digest(arrays, text):
    """SHA-256 of the text and of the names, types, shapes and values of all arrays."""
    digest = hashlib.sha256(text.encode(errors="surrogatepass"))        # names in a damaged file can be any bytes
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode(errors="surrogatepass"))
        digest.update(array.tobytes())
    return digest.hexdigest()
