"""Weights on disk: the files' names, their content, and how a damaged or foreign one is refused.

Each file is HDF5 and describes itself in two root attributes: `biogans`, a JSON text with the networks' and the
run's settings, and `sha256`, a digest of that text and of every array. A network's file is Keras's own layout
(`keras.Model.load_weights` reads it; the file model.generator… also opens with `keras.models.load_model`), with the
arrays in `model_weights/<layer>/<variable>`. The combined file holds one group of arrays for each part of the
training's state. Nothing is ever unpickled, no link is followed, and no code or layer is built from a file: the
networks are made from the checked settings, then the arrays are read into them.
"""

import dataclasses
import hashlib
import json
import os
import re
import time
from pathlib import Path

import numpy as np

from . import __version__, models
from .errors import InputError
from .files import replacing

FORMAT = 1
MOST_SETTINGS = 1 << 20         # characters of the attribute `biogans`
LARGEST_NUMBER = 1 << 16        # of filters, latent numbers, or pixels on a side


class Files:
    """The names of the files of one run, in its checkpoints folder."""

    def __init__(self, folder, spec, algorithm):
        self.folder = Path(folder)
        self.run = f"{spec.architecture}.{algorithm}.{spec.greens}"
        self.towers = spec.towers
        self.combined = self.folder / f"weights.combined_model.{self.run}.h5"
        self.generator = self.folder / f"weights.generator.{self.run}.h5"
        self.model = self.folder / f"model.generator.{self.run}.h5"
        self.log = self.folder / f"log.{self.run}.csv"
        self.tensorboard = self.folder / "tensorboard" / self.run

    def critic(self, name, k):
        """Weights of critic k; `name` is the algorithm's word for it."""
        number = f"[{k}]" if self.towers > 1 else ""
        return self.folder / f"weights.{name}{number}.{self.run}.h5"

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


def find(name, folder="."):
    """The file `name`, looked for as it stands and then in `folder`, also without the image size in its name.

    Older files are called weights.generator.DCGAN-starshaped.WGAN-GP.48_80.1.6.h5. Raises InputError if there is none.
    """
    path = Path(name)
    shorter = re.sub(r"\.\d+_\d+\.\d+(\.\d+\.h5)$", r"\1", path.name)
    for candidate in (path, path.with_name(shorter), Path(folder, path.name), Path(folder, shorter)):
        if candidate.is_file():
            return candidate
    raise InputError(f"{path}: no such file: give -i a weights or model file, as in the folder {folder}")


def about(spec, settings, images):
    """What every file of a run says of itself, as a dict that JSON can hold; `images` are those of the training."""
    return {
        "format": FORMAT, "biogans": __version__,
        "network": dataclasses.asdict(spec), "training": dataclasses.asdict(settings),
        "images": {"number": len(images.pixels), "sha256": images.fingerprint, "channels": list(images.channels)},
        "pixel_size_um": images.pixel_size_um,
    }


def save(files, engine, facts, iteration):
    """Write the whole state of `engine` after so many iterations and the weights of its networks.

    Each file is complete or not written at all. The combined one comes first: training goes on from it.
    """
    facts = facts | {"iteration": iteration, "position": engine.position}
    _write_state(files.combined, _parts(engine), facts)
    drawn = facts | {"holds": "generator", "weights": "moving average" if engine.settings.average else "as trained"}
    _write_network(files.model, engine.average, drawn, with_architecture=True)
    _write_network(files.generator, engine.average, drawn)
    for k, critic in enumerate(engine.critics):
        _write_network(files.critic(engine.algorithm.critic_name, k), critic, facts | {"holds": f"critic {k}"})


def restore(path, engine, facts):
    """Put the state stored in `path` into `engine`; returns the number of iterations done.

    Raises InputError if the file is damaged, or was written with other settings or images than `facts` says.
    """
    arrays, stored = read(path)
    if "holds" in stored:
        raise InputError(f"{path} holds one network: only weights.combined_model files can be continued")
    different = _differences(stored, facts)
    if different:
        raise InputError(f"{path} was trained differently ({'; '.join(different)}): give the same options, or start "
                         f"anew without -w")
    variables = [(f"{part}/{k:04d}", variable) for part, variables in _parts(engine).items()
                 for k, variable in enumerate(variables)]
    _assign(path, arrays, variables)
    engine.position = stored["position"]
    return stored["iteration"]


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
        variables = [(f"model_weights/{layer.name}/{variable.path}", variable)
                     for layer in generator.layers for variable in layer.weights]
    else:
        arrays = {name: array for name, array in arrays.items() if name.startswith("average/")}
        variables = [(f"average/{k:04d}", variable) for k, variable in enumerate(generator.weights)]
    _assign(path, arrays, variables)
    return generator, spec, stored


def network_spec(path, stored):
    """The NetworkSpec that a file describes, checked. Raises InputError."""
    try:
        spec = models.NetworkSpec(**(stored["network"] | {"factors": tuple(stored["network"]["factors"])}))
        numbers = (spec.height, spec.width, spec.channels, spec.nz, spec.ngf, spec.ndf)
        valid = (all(type(number) is int and 0 < number <= LARGEST_NUMBER for number in numbers)
                 and spec.channels <= 4 and 0 < len(spec.factors) <= 1000
                 and all(isinstance(name, str) for name in spec.factors)
                 and spec.architecture in models.ARCHITECTURES and spec.init in models.INITIALIZERS)
    except (KeyError, TypeError):
        valid = False
    if not valid:
        raise InputError(f"{path} describes a network that this version can't build: use the version that wrote it")
    spec.check()
    return spec


def read(path):
    """({path in the file: array}, facts) of one of our files, its digest verified. Raises InputError."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            text, sha256 = file.attrs.get("biogans"), file.attrs.get("sha256")
            if not isinstance(text, str) or len(text) > MOST_SETTINGS:
                raise InputError(f"{path} was not written by BioGANs, or only in part: give a file from a checkpoints "
                                 f"folder")
            arrays = _arrays(file)
            facts = json.loads(text)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as problem:
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise InputError(f"{path} is not a readable weights file ({reason}): use another copy, or train "
                         f"again") from None
    if sha256 != _digest(arrays, text):
        raise InputError(f"{path} is damaged (its checksum does not match): use another copy, or train again")
    if facts.get("format") != FORMAT:
        raise InputError(f"{path} was written by BioGANs {facts.get('biogans')}, and this is {__version__}: use that one")
    return arrays, facts


def _differences(stored, facts):
    """Lines «setting: stored there, wanted here»."""
    lines = []
    for part in ("network", "training", "images"):
        there, here = stored[part], json.loads(json.dumps(facts[part]))
        lines += [f"{part} {name}: {there.get(name)} there, {here.get(name)} here"
                  for name in sorted(there.keys() | here.keys()) if there.get(name) != here.get(name)]
    return [line if len(line) < 160 else line.split(":")[0] + ": not the same" for line in lines]


def _parts(engine):
    """{group of the combined file: variables}."""
    parts = {"generator": engine.generator.weights, "average": engine.average.weights}
    parts |= {f"critic{k}": critic.weights for k, critic in enumerate(engine.critics)}
    return parts | {f"{name}_optimizer": optimizer.variables for name, optimizer in engine.optimizers.items()}


def _write_state(path, parts, facts):
    import h5py

    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        for part, variables in parts.items():
            group = file.create_group(part)
            for k, variable in enumerate(variables):
                group.create_dataset(f"{k:04d}", data=np.asarray(variable.numpy())).attrs["name"] = variable.path
        describe(file, facts)


def _write_network(path, network, facts, with_architecture=False):
    import h5py

    with replacing(path) as temporary:
        network.save(temporary)
        with h5py.File(temporary, "r+") as file:
            if not with_architecture:
                del file.attrs["model_config"]
            describe(file, facts)


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
    import h5py

    datasets = {}
    file.visititems(lambda name, thing: datasets.update({name: thing}) if isinstance(thing, h5py.Dataset) else None)
    if not all(isinstance(name, str) for name in datasets):
        raise ValueError("a name in it is not text")
    if any(dataset.is_virtual or dataset.external for dataset in datasets.values()):
        raise ValueError("its arrays lie in other files")
    if sum(dataset.nbytes for dataset in datasets.values()) > Path(file.filename).stat().st_size:
        raise ValueError("its arrays claim more bytes than the file has")
    return {name: np.asarray(dataset[()]) for name, dataset in datasets.items()}


def _digest(arrays, text):
    """SHA-256 of the text and of the names, types, shapes and values of all arrays."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
