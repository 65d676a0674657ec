"""Images of several classes from public files, and simulated ones: digits and cells in their phases."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from ..io.image_files import read_image
from ..io.intensities import Intensities
from ..system.errors import InputError
from ..system.files import require_regular, same_twice
from . import round_cells
from .data_folder import LabelledImages

MOST_IMAGES, LARGEST_SIDE = 1 << 20, 1 << 10        # of an idx file: MNIST has 70,000 images of 28x28
PHASES = ("G1", "S_phase", "G2", "Prophase", "Metaphase", "Anaphase", "Telophase")
TILE = 40                                           # pixels along a side of a cell in a montage
RANGES = {"Ch3": (400, 950), "Ch4": (30, 1500), "Ch6": (20, 500)}     # brightfield, DNA, scatter: black and white


def load_digits():
    """LabelledImages (1797, 16, 16, 1) of the digits in scikit-learn, smoothly enlarged twice."""
    from PIL import Image
    from sklearn import datasets

    data = datasets.load_digits()
    images = [Image.fromarray(np.uint8(np.rint(image * (255 / 16)))).resize((16, 16), Image.Resampling.BICUBIC)
              for image in data.images]
    return _labelled("digits", np.array(images)[..., None], data.target, [str(name) for name in data.target_names])


def read_mnist(folder):
    """LabelledImages (n, height, width, 1) of all pairs of idx files in a folder. Raises InputError."""
    pairs = [(path, path.with_name(path.name.replace("images-idx3", "labels-idx1")))
             for path in sorted(Path(folder).glob("*images-idx3-ubyte*"))]
    if not pairs:
        raise InputError(f"{folder}: no files *images-idx3-ubyte or *images-idx3-ubyte.gz in this folder: give the "
                         f"folder of these files with --from")
    require_once(path for path, _ in pairs)
    images = [read_idx(path, 3) for path, _ in pairs]
    labels = [read_idx(path, 1) for _, path in pairs]
    for (path, _), some, theirs in zip(pairs, images, labels):
        if len(some) != len(theirs) or some.shape[1:] != images[0].shape[1:]:
            raise InputError(f"{path}: its images and labels do not match: download both files again")
    labels = np.concatenate(labels)
    return _labelled("MNIST", np.concatenate(images)[..., None], labels,
                     [str(k) for k in range(int(labels.max()) + 1)])


def read_idx(path, dimensions):
    """Array (uint8) of an idx file, compressed or not. Raises InputError.

    The format (LeCun et al., page of MNIST): 0, 0, the type (8: uint8), the number of dimensions, each dimension as 4
    bytes with the highest first, then the values.
    """
    if path.exists():
        require_regular(path, "download it again")
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            zeros, kind, found, *shape = struct.unpack(f">HBB{dimensions}I", file.read(4 + 4 * dimensions))
            size = int(np.prod(shape, dtype=object))
            if (zeros, kind, found) != (0, 8, dimensions) or size > MOST_IMAGES * LARGEST_SIDE ** (dimensions - 1):
                raise ValueError("its header is not that of an idx file")
            values = file.read(size + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: images and labels come in pairs") from None
    except (OSError, EOFError, struct.error, ValueError, zlib.error) as problem:
        raise InputError(f"{path}: not an idx file of {dimensions} dimension(s) ({problem}): download it "
                         f"again") from None
    if len(values) != size:
        raise InputError(f"{path}: it holds {len(values)} values, but its header states {size}: download it again")
    return np.frombuffer(values, np.uint8).reshape(shape)


def read_cytometer(folder):
    """LabelledImages (n, 40, 40, 3) of Blasi et al.: R brightfield, G DNA, B side scatter; the classes are phases.

    The folder holds one folder for each phase, of montages as published or of PNG files. Raises InputError.
    """
    folder = Path(folder)
    root = folder / "images" if (folder / "images").is_dir() else folder
    require_once(root / phase for phase in PHASES)
    images = {phase: _read_phase(root / phase) for phase in PHASES}
    some = [image for cells in images.values() for image in cells]
    if {image.shape[1:] for image in some} != {(TILE, TILE, len(RANGES))}:
        raise InputError(f"{root}: some images do not have {TILE}x{TILE} pixels and {len(RANGES)} channels: download "
                         f"them again")
    numbers = [sum(map(len, cells)) for cells in images.values()]
    return _labelled("IFC", np.concatenate(some), np.repeat(np.arange(len(PHASES)), numbers), list(PHASES))


def _read_phase(folder):
    """[uint8 (n, 40, 40, 3), …] of one phase: from a montage of each channel, or from PNG files."""
    montages = [sorted(folder.glob(f"{channel}_*.tif")) for channel in RANGES]
    for path in [*sum(montages, []), *folder.glob("*.png")]:
        require_regular(path, "download it again")
    if all(montages):
        return [cut_montages(*paths) for paths in zip(*montages)]
    files = sorted(folder.glob("*.png"))
    if not files:
        raise InputError(f"{folder}: no montages Ch3_*.tif, Ch4_*.tif, Ch6_*.tif and no PNG files in this folder: give "
                         f"the folder of all phases with --from")
    return [read_image(path, "download it again").frames for path in files]


def require_once(paths):
    """Raise InputError if two of these files or folders are one."""
    if twice := same_twice(paths):
        raise InputError(f"{twice[0]} and {twice[1]} are one, which a link shows twice: remove the link, or "
                         f"download them again")


def cut_montages(*paths):
    """Cut cells, uint8 (n, 40, 40, 3), out of three uint16 montages of the same cells, one for each channel in RANGES.

    The last places of a montage are filled with copies of the edge of a tile, whose rows are all alike. Values are
    scaled alike in all cells, so that the brightness of DNA measures its amount. Raises InputError.
    """
    montages = [read_image(path, "download it again").frames[0, ..., 0] for path in paths]
    height, width = montages[0].shape
    if height % TILE or width % TILE or any(montage.shape != (height, width) for montage in montages):
        raise InputError(f"{paths[0]}: the montages of the three channels do not consist of tiles of {TILE}x{TILE} "
                         f"pixels: download them again")
    tiles = np.stack(montages, axis=-1).reshape(height // TILE, TILE, width // TILE, TILE, len(paths))
    tiles = tiles.swapaxes(1, 2).reshape(-1, TILE, TILE, len(paths))
    cells = tiles[(tiles != tiles[:, :1]).any(axis=(1, 2, 3))]
    intensities = Intensities(*zip(*RANGES.values()))
    return np.stack([intensities.to_bytes(cells[..., k], k) for k in range(len(RANGES))], axis=-1)


def simulate_round_cells(number, seed):
    """LabelledImages (n, 40, 40, 3) as of read_cytometer, but without side scatter; the age of each cell is known."""
    images, cells = round_cells.sample(number, seed)
    classes = list(round_cells.PHASES)
    labels = np.array([classes.index(round_cells.phase(cell.t)) for cell in cells])
    known = {"t": [round(cell.t, 4) for cell in cells], "radius": [round(cell.radius, 3) for cell in cells],
             "dna": [round(float(cell.dna), 4) for cell in cells], "focus": [round(cell.focus, 4) for cell in cells]}
    images = np.concatenate([images, np.zeros_like(images[..., :1])], axis=-1)
    return _labelled("ROUND", images, labels, classes, known)


def _labelled(name, images, labels, classes, known=None):
    height, width = images.shape[1:3]
    return LabelledImages(f"{name}_size-{height}-{width}", images, labels, classes, known)
