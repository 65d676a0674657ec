"""Trained networks, read from their files: a generator with its metadata, its critics, its recognizer.

Code and layers never come from a file: networks are built from its validated metadata, then its arrays are loaded.
"""

import contextlib
import dataclasses
import difflib
import functools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import __version__
from ..io import hub, stacks
from ..system import hdf5, pixels
from ..system.arguments import did_you_mean
from ..system.errors import InputError
from ..system.files import replacing
from ..system.lazy import Network, Variable, backend, float32, without_values
from ..system.progress import say
from . import codes, models
from .settings import FORMAT, Metadata

IMAGES = Path("images")         # where commands write pictures and generated cells
SIZED = re.compile(r"\.(?P<height>\d+)_(?P<width>\d+)\.\d+(?P<end>\.\d+\.h5)$")        # the image size in a name


@dataclasses.dataclass(frozen=True)
class TrainedGenerator:
    """A generator and its file.

    path        the weights.generator, model.generator or weights.combined_model file
    build       a function that returns the `network`, and raises InputError if the file does not fit it
    metadata    everything that the file states about itself
    """

    path: Path
    build: Callable[[], Network]
    metadata: Metadata

    @functools.cached_property
    def network(self) -> Network:
        """Keras model: z (batch, nz) -> images (batch, height, width, channels) in [-1, 1].

        It is built when it is first used, so that mistakes are reported before Keras is imported.
        """
        return self.build()

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

    def beside(self, kind: str, suffix: str) -> Path:
        """The file of this kind, such as "log" or "card", that belongs to this generator's: beside it."""
        sized = SIZED.search(self.path.name)
        run = re.sub(r"^[a-z]+\.[a-z_]+\.", "", self.path.stem) if sized else self.run_name
        return self.path.with_name(f"{kind}.{run}{suffix}")

    def latents(self, number: int, seed: int, batch_size: int = 64, same_red: bool = False) -> Iterator[np.ndarray]:
        """Yield batches of z (cells, nz), float32, `number` cells in total, which depend on the seed alone.

        same_red   whether all cells get the red part of the first; raises InputError if red has no part of its own
        """
        if same_red and not self.spec.separates_red:
            raise InputError(f"{self.path}: {self.spec.architecture} generates red and green from all of z: choose a "
                             f"separable or star-shaped generator")
        red = None
        for normal in normal_latents(number, self.spec.nz, seed, batch_size):
            if same_red:
                red = normal[0, :self.spec.red_nz].copy() if red is None else red
                normal[:, :self.spec.red_nz] = red
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
                raise InputError(f"{self.path} can't generate {factor} by itself: {did_you_mean(factor, separate)}it "
                                 f"generates {', '.join(separate or names[1:])}")
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
                } | ({"pixel_size_um": self.metadata.pixel_size_um} if self.metadata.pixel_size_um else {}
                     ) | self._units(channels)

    def _units(self, channels):
        """{"black", "white"}: the values of the training images that became 0 and 1 in these channels, if any."""
        read = self.metadata.read_settings
        if not read.intensities or len(read.channels) != self.spec.channels:
            return {}
        places = {position: read.channels[k] - 1 for group in self.spec.factor_channels
                  for k, position in enumerate(group)}
        return read.intensities.of_channels([places[k] for k in channels])


def normal_latents(number: int, nz: int, seed: int, batch_size: int) -> Iterator[np.ndarray]:
    """Yield batches of standard normal z (cells, nz), float32, `number` cells in total.

    They depend on the seed alone, not on the batch size.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, number, batch_size):
        yield rng.standard_normal((min(batch_size, number - start), nz), np.float32)


# ---------------------------------------------------------------------------------------------- reading

def find(name: str | Path, folder: str | Path = ".") -> Path:
    """Find the weights file `name`: as given or in `folder`, also under its name with or without the image size.

    It may also be a folder of `biogans export --format hub`, or such a folder on the Hugging Face Hub, hf://user/name.

    The included files have the size in their names, as in weights.generator.DCGAN-starshaped.WGAN-GP.48_80.1.6.h5, and
    train.py writes files without it. Raises InputError, which names the files that are there, if there is no such file,
    if it is for images of another size, or if it holds something else than weights.
    """
    if (address := re.sub("^hf:/+", hub.SCHEME, str(name))).startswith(hub.SCHEME):
        return hub.fetch(address)
    path = Path(name)
    if (path / hub.FILE).is_file():
        return path / hub.FILE
    places = [path, Path(folder, path.name)]
    for candidate in places:
        if candidate.is_file():
            require_weights(candidate)
            return candidate
    name = path.name.replace("combined_model[0]", "combined_model")         # as in older versions
    sized, own_name = SIZED.search(name), SIZED.sub(r"\g<end>", name)
    for place in places:
        candidate = place.with_name(own_name)
        if candidate.is_file():
            return _of_size(path, candidate, int(sized["height"]), int(sized["width"])) if sized else candidate
        others = [other for other in place.parent.glob("*.h5") if SIZED.sub(r"\g<end>", other.name) == own_name]
        if others and not sized:
            say(f"{path}: no such file: using {others[0].name}, which is included with BioGANs")
            return others[0]
    problem = ("this is a folder" if path.is_dir() else "this is a pipe or a device" if path.exists() else
               "no such file")
    raise InputError(f"{path}: {problem}: {_advice(path, Path(folder))}")


def require_weights(path: Path) -> None:
    """Raise InputError, which names what it is, if the file `path` is not one of weights."""
    if path.suffix == ".pth":
        raise InputError(f"{path} is a PyTorch file: convert it to a weights file (biogans import_torch -i {path})")
    with open(path, "rb") as file:
        start = file.read(16)
    kinds = {b"\x89PNG": "an image", b"II*\0": "an image", b"MM\0*": "an image", b"\xff\xd8": "an image",
             b"GIF8": "an image", b"PK\x03\x04": "an archive"}
    kind = next((kind for mark, kind in kinds.items() if start.startswith(mark)), "")
    if kind:
        raise InputError(f"{path} is {kind}, not a file of weights: {_advice(path, path.parent)}")


def _of_size(path, candidate, height, width):
    """The `candidate` for a missing file `path`. Raises InputError unless it is for images of this size."""
    spec = read_metadata(candidate).network
    if (spec.height, spec.width) != (height, width):
        raise InputError(f"{path}: no such file: {candidate} generates images of {spec.height}x{spec.width} pixels")
    return candidate


def _advice(path, folder):
    """What to give -i instead: the generators in the folder of the `path`, or in `folder`."""
    for place in (path, path.parent, folder):
        found = sorted(place.glob("weights.generator.*.h5")) if place.is_dir() else []
        if found:
            near = difflib.get_close_matches(path.name, [each.name for each in found], n=2, cutoff=0)
            return f"give -i a generator's weights, such as {', '.join(str(place / name) for name in near)}"
    return f"give -i a weights or model file, as train.py writes it to the folder {folder}"


def load_generator(name: str | Path, folder: str | Path = ".") -> TrainedGenerator:
    """Load a generator from a file, for which `find` looks. Its network is built when it is first used.

    Raises InputError if there is no such file, or if it is damaged or holds no generator.
    """
    backend()               # reports a wrong choice first
    path = find(name, folder)
    arrays, metadata = read_weights(path)
    if metadata.holds not in ("", "generator"):
        raise InputError(f"{path} holds the weights of {metadata.holds}, which generates nothing: "
                         f"{_advice(path, Path(folder))}")
    if not metadata.holds:
        arrays = {name: array for name, array in arrays.items() if name.startswith("average/")}
    return TrainedGenerator(path, functools.partial(_build_generator, path, arrays, metadata), metadata)


def _build_generator(path, arrays, metadata):
    """The generator of a file with these arrays, {name: array}. Raises InputError if its layers are others."""
    from .engine import float32_generator

    with without_values():
        network = float32_generator(metadata.network)
        variables = layer_variables(network) if metadata.holds else [
            (f"average/{k:04d}", variable) for k, variable in enumerate(network.weights)]
        hdf5.require_alike(path, arrays, variables)
    hdf5.assign(path, arrays, variables)
    return network


class File(NamedTuple):
    """A weights file and its metadata."""

    path: Path
    metadata: Metadata


def similar_files(path: Path) -> list[File]:
    """Other files of generators of the same architecture and algorithm, beside the file `path` or set aside there.

    The most trained comes first.
    """
    own = ".".join(path.name.split(".")[2:4])
    found = []
    for other in [*path.parent.glob(f"weights.generator.{own}.*.h5"),
                  *path.parent.glob(f"replaced-*/weights.generator.{own}.*.h5")]:
        with contextlib.suppress(InputError):
            found += [File(other, read_metadata(other))] if other != path else []
    return sorted(found, key=lambda file: -file.metadata.iteration)


def load_recognizer(path: str | Path) -> Network:
    """Load the recognizer that belongs to the generator's file `path`, from the file beside it. Raises InputError."""
    path = Path(path)
    beside = path.with_name(re.sub(r"^[a-z]+\.[a-z_]+\.", "weights.recognizer.", path.name))
    if not beside.is_file():            # that of a numbered checkpoint belongs to the newest one
        beside = path.with_name(re.sub(r"(\.(previous-)?\d+)?(\.\d+\.h5)$", r"\3", beside.name))
    arrays, metadata = read_weights(beside)
    if metadata.holds != "recognizer":
        raise InputError(f"{beside} holds no recognizer: give the file of an InfoGAN's generator")
    with float32(), without_values():
        recognizer = models.build_recognizer(metadata.network, models.critic(metadata.network, "critic"))
        variables = layer_variables(recognizer)
        hdf5.require_alike(beside, arrays, variables)
    hdf5.assign(beside, arrays, variables)
    return recognizer


def load_critics(path: str | Path) -> tuple[list[Network], Metadata]:
    """Load all critics of a weights.combined_model file, with its metadata. Raises InputError."""
    arrays, metadata = read_weights(path)
    if metadata.holds:
        raise InputError(f"{path} holds one network: give the weights.combined_model file of the same folder, which "
                         f"holds the critics and the generator")
    arrays = {name: array for name, array in arrays.items() if re.match(r"critic\d", name)}
    with float32(), without_values():
        critics = models.build_critics(metadata.network)
        variables = [(f"critic{k}/{n:04d}", variable) for k, own in enumerate(models.own_weights(critics))
                     for n, variable in enumerate(own)]
        hdf5.require_alike(path, arrays, variables)
    hdf5.assign(path, arrays, variables)
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
    return arrays, _metadata(path, description)


def read_metadata(path: str | Path) -> Metadata:
    """Read the metadata of a weights file. Raises as `read_weights` does."""
    return _metadata(path, hdf5.read_description(path, _remedy(path)))


def _metadata(path, description):
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        version = description.get("biogans") if isinstance(description, dict) else "something else"
        raise InputError(f"{path} was written by BioGANs {version}, and this is {__version__}: use that one")
    return Metadata.from_json(path, description)


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
