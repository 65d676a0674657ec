"""Trained networks, read from their files: a generator with everything that is known of it, its critics, its recognizer.

No code or layer is built from a file: networks are made from the checked description, then their arrays are read.
"""

import dataclasses
import math
import re
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np

from .. import __version__
from ..system import hdf5, pixels, stacks
from ..system.errors import InputError
from ..system.files import replacing
from . import codes, models
from .settings import FORMAT, Metadata

IMAGES = Path("images")         # where commands write what they draw


@dataclasses.dataclass(frozen=True)
class TrainedGenerator:
    """A generator and its file.

    path        the weights.generator, model.generator or weights.combined_model file
    network     Keras model: z (batch, nz) -> images (batch, height, width, channels) in [-1, 1]
    metadata    settings.Metadata
    """

    path: Path
    network: object
    metadata: Metadata

    @property
    def spec(self):
        """The models.NetworkSpec."""
        return self.metadata.network

    @property
    def name(self):
        """"<architecture>.<algorithm>", as in the names of what it generates."""
        return f"{self.spec.architecture}.{self.metadata.training.algorithm}"

    @property
    def run_name(self):
        """"<architecture>.<algorithm>.<greens>", as in the names of the files of its training."""
        return f"{self.name}.{self.spec.greens}"

    def latents(self, number, seed, batch_size=64):
        """Yield z (cells, nz), float32, `number` cells in all: the same for a seed, whatever the batch size."""
        for normal in normal_latents(number, self.spec.nz, seed, batch_size):
            yield codes.from_normal(normal, self.spec.codes)

    def generate(self, z, batch_size=64):
        """Images, float32 (cells, height, width, channels) in [-1, 1], for z (cells, nz)."""
        from . import engine
        return engine.generate(self.network, z, batch_size)

    def cells(self, number, rng):
        """uint8 (number, height, width, channels): rounded as real images are, or a critic could tell them by that."""
        z = codes.from_normal(rng.standard_normal((number, self.spec.nz), np.float32), self.spec.codes)
        return pixels.signed_to_bytes(self.generate(z))

    def channels(self, factors=()):
        """Positions of red and of the greens of `factors`, all by default. Raises InputError for what it can't show."""
        names, separate = self.spec.channel_names, self.spec.separate_factors
        for factor in factors:
            if factor not in separate:
                raise InputError(f"{self.path} can't generate {factor} by itself: it generates "
                                 f"{', '.join(separate or names[1:])}")
        if not factors and len(names) == len(self.spec.cell_channels):
            return list(range(len(names)))
        chosen = [channels for factor, channels in zip(separate, self.spec.factor_channels)
                  if not factors or factor in factors]
        if len({channels[0] for channels in chosen}) > 1:
            raise InputError(f"{self.path} generates each factor in a cell of its own: choose one with -p: "
                             f"{', '.join(separate)}")
        return [chosen[0][0], *(channel for channels in chosen for channel in channels[1:])]

    def stack_attributes(self, channels):
        """What a stack of these `channels` (positions) says about itself."""
        return {"channel_names": [self.spec.channel_names[k] for k in channels], "value_range": [0.0, 1.0],
                "source": str(self.path), "iteration": self.metadata.iteration, "architecture": self.spec.architecture,
                "algorithm": self.metadata.training.algorithm, "biogans_version": __version__
                } | ({"pixel_size_um": self.metadata.pixel_size_um} if self.metadata.pixel_size_um else {})


def normal_latents(number, nz, seed, batch_size):
    """Yield standard normal z (cells, nz), `number` cells in all: the same for a seed, whatever the batch size."""
    rng = np.random.default_rng(seed)
    for start in range(0, number, batch_size):
        yield rng.standard_normal((min(batch_size, number - start), nz), np.float32)


# ---------------------------------------------------------------------------------------------- reading

def find(name, folder="."):
    """The file `name`, looked for as it stands and then in `folder`, also without the image size in its name.

    Older files are called weights.generator.DCGAN-starshaped.WGAN-GP.48_80.1.6.h5. Raises InputError if there is none.
    """
    path = Path(name)
    shorter = re.sub(r"\.\d+_\d+\.\d+(\.\d+\.h5)$", r"\1", path.name)
    for candidate in (path, path.with_name(shorter), Path(folder, path.name), Path(folder, shorter)):
        if candidate.is_file():
            if candidate.suffix == ".pth":
                raise InputError(f"{candidate} is a PyTorch file: convert it to a weights file "
                                 f"(biogans import_torch -i {candidate})")
            return candidate
    raise InputError(f"{path}: no such file: give -i a weights or model file, as in the folder {folder}")


def load_generator(name, folder="."):
    """The TrainedGenerator of the file that `find` finds.

    Raises InputError if there is none, or it is damaged or holds something else.
    """
    from .engine import float32_generator

    path = find(name, folder)
    arrays, metadata = read(path)
    if metadata.holds not in ("", "generator"):
        raise InputError(f"{path} holds the weights of {metadata.holds}, which generates nothing: give a generator's "
                         f"file")
    network = float32_generator(metadata.network)
    if metadata.holds:
        variables = layer_variables(network)
    else:
        arrays = {name: array for name, array in arrays.items() if name.startswith("average/")}
        variables = [(f"average/{k:04d}", variable) for k, variable in enumerate(network.weights)]
    hdf5.assign(path, arrays, variables)
    return TrainedGenerator(path, network, metadata)


def load_recognizer(path):
    """The recognizer of the run whose generator's file is `path`, from the file beside it. Raises InputError."""
    path = Path(path)
    beside = path.with_name(re.sub(r"^[a-z]+\.[a-z_]+\.(.*?)(\.(previous-)?\d+)?(\.\d+\.h5)$", r"weights.recognizer.\1\4",
                                   path.name))
    arrays, metadata = read(beside)
    if metadata.holds != "recognizer":
        raise InputError(f"{beside} holds no recognizer: give the file of an InfoGAN's generator")
    with models.float32():
        recognizer = models.build_recognizer(metadata.network, models.critic(metadata.network, "critic"))
    hdf5.assign(beside, arrays, layer_variables(recognizer))
    return recognizer


def load_critics(path):
    """([a Keras model for each critic], settings.Metadata) of a weights.combined_model file. Raises InputError."""
    arrays, metadata = read(path)
    if metadata.holds:
        raise InputError(f"{path} holds one network: give the weights.combined_model file of the same folder, which has "
                         f"the critics and the generator")
    with models.float32():
        critics = models.build_critics(metadata.network)
    for k, critic in enumerate(critics):
        prefix = f"critic{k}/"
        hdf5.assign(path, {name: array for name, array in arrays.items() if name.startswith(prefix)},
                    [(f"{prefix}{n:04d}", variable) for n, variable in enumerate(critic.weights)])
    return critics, metadata


def layer_variables(network):
    """[(name in a file that Keras wrote, variable)] of a Keras model."""
    return [(f"model_weights/{layer.name}/{variable.path}", variable)
            for layer in network.layers for variable in layer.weights]


def read(path):
    """({name: array}, settings.Metadata) of a file of a training, verified. Raises InputError, or hdf5.Damaged."""
    arrays, description = hdf5.read_described(path, _remedy(path))
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        version = description.get("biogans") if isinstance(description, dict) else "something else"
        raise InputError(f"{path} was written by BioGANs {version}, and this is {__version__}: use that one")
    return arrays, Metadata.from_json(path, description)


def earlier_checkpoints(combined):
    """The earlier checkpoints beside the file `combined`, newest first."""
    pattern = re.compile(re.escape(combined.stem) + r"\.(?:previous-)?(\d+)\.h5")
    found = [(int(match[1]), path) for path in combined.parent.glob("*.h5") if (match := pattern.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def _remedy(path):
    """What to do about a damaged file: the checkpoint before it, where there is one, is still good."""
    others = earlier_checkpoints(Path(path)) if "combined_model" in Path(path).name else []
    return f"use another copy, such as {others[0]}, or train again" if others else "use another copy, or train again"


# ---------------------------------------------------------------------------------------------- writing cells

class Position(NamedTuple):
    """How far an output is: `done` of `number` cells; `note` is called now and then with the cells done."""

    number: int
    done: int = 0
    note: Callable = lambda done: None


def fill(sink, generator, latents, channels, position):
    """Generate cells into a sink of system/stacks.py, from position.done on, and close it.

    latents    batches of z (cells, nz), position.number cells in all
    channels   positions of the generator's channels to write
    Memory does not grow with the number of cells.
    """
    from tqdm import tqdm

    start, noted, complete = 0, position.done, False
    try:
        with tqdm(initial=position.done, total=position.number, desc="generating", unit="cell", disable=None,
                  leave=False) as bar:
            for z in latents:
                end = start + len(z)
                if start >= position.done:
                    sink.write(start, z, (generator.generate(z, len(z))[..., channels] + 1) / 2)
                    bar.update(len(z))
                    if end - noted >= stacks.NOTE_EVERY:
                        sink.flush()
                        position.note(end)
                        noted = end
                start = end
        complete = True
    finally:
        sink.close(complete)


def write_stack(path, generator, latents, channels, attributes, **extra):
    """Write generated cells to the HDF5 file `path`, which then holds the datasets of stacks.Stack.

    latents      batches of z (cells, nz), in a list
    channels     positions of the generator's channels to write
    attributes   of the stack, as TrainedGenerator.stack_attributes returns them
    extra        further datasets
    Raises files.NoRoom.
    """
    spec, number = generator.spec, sum(map(len, latents))
    content = stacks.Content(number, (spec.height, spec.width, len(channels)), spec.nz, attributes)
    with replacing(path, 4 * number * (math.prod(content.shape) + spec.nz)) as temporary:
        fill(stacks.Stack(temporary, content, **extra), generator, latents, channels, Position(number))
