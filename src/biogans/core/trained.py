"""Trained networks, read from their files: a generator with its metadata, its critics, its recognizer.

Code and layers never come from a file: networks are built from its validated metadata, then its arrays are loaded.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import __version__
from ..system import hdf5, pixels, stacks
from ..system.errors import InputError
from ..system.files import replacing
from ..system.lazy import Network, Variable
from . import codes, models
from .settings import FORMAT, Metadata

IMAGES = Path("images")         # where commands write pictures and generated cells


@dataclasses.dataclass(frozen=True)
class TrainedGenerator:
    """A generator and its file.

    path        the weights.generator, model.generator or weights.combined_model file
    network     Keras model: z (batch, nz) -> images (batch, height, width, channels) in [-1, 1]
    metadata    everything that the file states about itself
    """

    path: Path
    network: Network
    metadata: Metadata

    @property
    def spec(self) -> models.NetworkSpec:
        """The shape of the networks."""
        return self.metadata.network

    @property
    def name(self) -> str:
        """"<architecture>.<algorithm>", part of the names of generated files."""
        return f"{self.spec.architecture}.{self.metadata.training.algorithm}"

    @property
    def run_name(self) -> str:
        """"<architecture>.<algorithm>.<greens>", part of the names of the training's files."""
        return f"{self.name}.{self.spec.greens}"

    def latents(self, number: int, seed: int, batch_size: int = 64) -> Iterator[np.ndarray]:
        """Yield batches of z (cells, nz), float32, `number` cells in total, which depend on the seed alone."""
        for normal in normal_latents(number, self.spec.nz, seed, batch_size):
            yield codes.from_normal(normal, self.spec.codes)

    def generate(self, z: np.ndarray, batch_size: int = 64) -> np.ndarray:
        """Cells, float32 (cells, height, width, channels) in [-1, 1], for z (cells, nz)."""
        from . import engine
        return engine.generate(self.network, z, batch_size)

    def cells(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """Random cells, uint8 (number, height, width, channels): a critic could distinguish unrounded pixels."""
        z = codes.from_normal(rng.standard_normal((number, self.spec.nz), np.float32), self.spec.codes)
        return pixels.signed_to_bytes(self.generate(z))

    def channels(self, factors: Sequence[str] = ()) -> list[int]:
        """Positions of red and of the greens of `factors`, of all by default.

        Raises InputError if the generator can't produce a factor separately, or these factors in the same cell.
        """
        names, separate = self.spec.channel_names, self.spec.separate_factors
        for factor in factors:
            if factor not in separate:
                raise InputError(f"{self.path} can't generate {factor} by itself: it generates "
                                 f"{', '.join(separate or names[1:])}")
        if not factors and len(names) == len(self.spec.cell_channels):
            return list(range(len(names)))
        chosen = [channels for factor, channels in zip(separate, self.spec.factor_channels, strict=True)
                  if not factors or factor in factors]
        if len({channels[0] for channels in chosen}) > 1:
            raise InputError(f"{self.path} generates each factor in a cell of its own: choose one with -p: "
                             f"{', '.join(separate)}")
        return [chosen[0][0], *(channel for channels in chosen for channel in channels[1:])]

    def stack_attributes(self, channels: Sequence[int]) -> dict[str, Any]:
        """Attributes that describe a stack of these `channels` (positions)."""
        return {"channel_names": [self.spec.channel_names[k] for k in channels], "value_range": [0.0, 1.0],
                "source": str(self.path), "iteration": self.metadata.iteration, "architecture": self.spec.architecture,
                "algorithm": self.metadata.training.algorithm, "biogans_version": __version__
                } | ({"pixel_size_um": self.metadata.pixel_size_um} if self.metadata.pixel_size_um else {})


def normal_latents(number: int, nz: int, seed: int, batch_size: int) -> Iterator[np.ndarray]:
    """Yield batches of standard normal z (cells, nz), float32, `number` cells in total.

    They depend on the seed alone, not on the batch size.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, number, batch_size):
        yield rng.standard_normal((min(batch_size, number - start), nz), np.float32)


# ---------------------------------------------------------------------------------------------- reading

def find(name: str | Path, folder: str | Path = ".") -> Path:
    """Find the file `name`: as given or in `folder`, also under its name without the image size.

    Older files have it, as in weights.generator.DCGAN-starshaped.WGAN-GP.48_80.1.6.h5. Raises InputError if there is no
    such file.
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


def load_generator(name: str | Path, folder: str | Path = ".") -> TrainedGenerator:
    """Load a generator from a file, for which `find` looks.

    Raises InputError if there is no such file, or if it is damaged or holds no generator.
    """
    from .engine import float32_generator

    path = find(name, folder)
    arrays, metadata = read_weights(path)
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


def load_recognizer(path: str | Path) -> Network:
    """Load the recognizer that belongs to the generator's file `path`, from the file beside it. Raises InputError."""
    path = Path(path)
    name = r"^[a-z]+\.[a-z_]+\.(.*?)(\.(previous-)?\d+)?(\.\d+\.h5)$"        # its run is \1\4
    beside = path.with_name(re.sub(name, r"weights.recognizer.\1\4", path.name))
    arrays, metadata = read_weights(beside)
    if metadata.holds != "recognizer":
        raise InputError(f"{beside} holds no recognizer: give the file of an InfoGAN's generator")
    with models.float32():
        recognizer = models.build_recognizer(metadata.network, models.critic(metadata.network, "critic"))
    hdf5.assign(beside, arrays, layer_variables(recognizer))
    return recognizer


def load_critics(path: str | Path) -> tuple[list[Network], Metadata]:
    """Load all critics of a weights.combined_model file, with its metadata. Raises InputError."""
    arrays, metadata = read_weights(path)
    if metadata.holds:
        raise InputError(f"{path} holds one network: give the weights.combined_model file of the same folder, which "
                         f"holds the critics and the generator")
    with models.float32():
        critics = models.build_critics(metadata.network)
    for k, critic in enumerate(critics):
        prefix = f"critic{k}/"
        hdf5.assign(path, {name: array for name, array in arrays.items() if name.startswith(prefix)},
                    [(f"{prefix}{n:04d}", variable) for n, variable in enumerate(critic.weights)])
    return critics, metadata


def layer_variables(network: Network) -> list[tuple[str, Variable]]:
    """[(name in Keras's file layout, variable)] of a network."""
    return [(f"model_weights/{layer.name}/{variable.path}", variable)
            for layer in network.layers for variable in layer.weights]


def read_weights(path: str | Path) -> tuple[dict[str, np.ndarray], Metadata]:
    """Read and verify a weights file: ({name: array}, its metadata).

    Raises hdf5.Damaged if it is damaged, InputError if this version can't read it.
    """
    arrays, description = hdf5.read_described(path, _remedy(path))
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        version = description.get("biogans") if isinstance(description, dict) else "something else"
        raise InputError(f"{path} was written by BioGANs {version}, and this is {__version__}: use that one")
    return arrays, Metadata.from_json(path, description)


def earlier_checkpoints(combined: Path) -> list[Path]:
    """Earlier checkpoints beside the file `combined`, newest first."""
    pattern = re.compile(re.escape(combined.stem) + r"\.(?:previous-)?(\d+)\.h5")
    found = [(int(match[1]), path) for path in combined.parent.glob("*.h5") if (match := pattern.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def _remedy(path):
    """Advice for a damaged file: use the checkpoint before it, if there is one."""
    others = earlier_checkpoints(Path(path)) if "combined_model" in Path(path).name else []
    return f"use another copy, such as {others[0]}, or train again" if others else "use another copy, or train again"


# ---------------------------------------------------------------------------------------------- writing cells

class Position(NamedTuple):
    """The progress of an output: `done` of `number` cells; `note` is called from time to time with the cells done."""

    number: int
    done: int = 0
    note: Callable[[int], None] = lambda done: None


def fill(sink: stacks.Sink, generator: TrainedGenerator, latents: Iterable[np.ndarray], channels: Sequence[int],
         position: Position) -> None:
    """Generate cells into a sink, from position.done on, and close it.

    latents    batches of z (cells, nz), position.number cells in total
    channels   positions of the generator's channels to write

    Memory does not grow with the number of cells. Raises files.NoRoom or OSError if the disk is full.
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


def write_stack(path: str | Path, generator: TrainedGenerator, latents: Sequence[np.ndarray],
                channels: Sequence[int], attributes: dict[str, Any], **extra: Any) -> None:
    """Write generated cells to a new HDF5 stack (stacks.Stack).

    latents      batches of z (cells, nz)
    channels     positions of the generator's channels to write
    attributes   description of the stack, such as TrainedGenerator.stack_attributes
    extra        further datasets

    Raises files.NoRoom.
    """
    spec, number = generator.spec, sum(map(len, latents))
    content = stacks.Content(number, (spec.height, spec.width, len(channels)), spec.nz, attributes)
    with replacing(path, 4 * number * (math.prod(content.shape) + spec.nz)) as temporary:
        fill(stacks.Stack(temporary, content, **extra), generator, latents, channels, Position(number))
