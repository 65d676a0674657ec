"""The images that `-d` and `-p` select: decoded once, and reproducible batches of them."""

import collections
import csv
import dataclasses
import hashlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..io import folders, image_sets
from ..io.image_sets import AS_STATED, ReadSettings
from ..system.errors import InputError
from ..system.files import check_room, replacing, reserve
from ..system.json_text import read_json
from ..system.progress import reading, tell_once
from .models import Architecture

NEIGHBOURS = 5          # images with similar red from which a composite takes its greens (k in the paper)
BLOCK = 1024            # images whose reds are compared with all others at a time


@dataclasses.dataclass(frozen=True)
class Images:
    """Decoded images.

    pixels          uint8 (images, height, width, channels); channel 0 is the growth marker
    labels          (images,), index into `factors`
    factors         names of the image folders, sorted
    settings        how they were read: with the channels of the files that these are, and what became 0 and 255
    pixel_size_um   side of a pixel in micrometres, None if the files do not state it
    skipped         number of images left out because they could not be read
    files           path of each image's file
    """

    pixels: np.ndarray
    labels: np.ndarray
    factors: tuple[str, ...]
    settings: ReadSettings = ReadSettings(channels=(1, 2))
    pixel_size_um: float | None = None
    skipped: int = 0
    files: tuple[Path, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of pixels and labels: runs with the same fingerprint saw the same images."""
        digest = hashlib.sha256(self.labels.tobytes())
        for start in range(0, len(self.pixels), 4096):
            digest.update(self.pixels[start:start + 4096].tobytes())
        return digest.hexdigest()


def load(dataroot: str | Path, factors: Sequence[str] = (), split: str = "train",
         settings: ReadSettings = AS_STATED, cache: str | Path | None = None, known: Sequence[str] = ()) -> Images:
    """Decode all images that `-d dataroot -p factors` selects.

    split             "train" or "test": read the folders *_train or *_test
    settings, cache   see `decode`; held-out images are scaled like the training images, which are read first for it
    known             see folders.find

    Raises InputError if a folder or its images are missing, if a factor is unknown, and as `decode` does.
    """
    found = folders.find(dataroot, factors, split, known)
    images = decode(found, settings, cache, f"reading {split} images")
    if split == "train" or settings.intensities or not images.settings.intensities:
        return images
    training = folders.find(dataroot, factors, "train", known)
    return images if training == found else decode(found, decode(training, settings).settings, cache)


def decode(found: folders.Found, settings: ReadSettings = AS_STATED, cache: str | Path | None = None,
           title: str = "reading images") -> Images:
    """Decode the image files `found`, {factor: [path, …]}, and tell what was assumed about them.

    cache   a .npy file that keeps the decoded images; they are memory-mapped, so they may exceed the memory
    title   of the progress bar on a terminal

    Raises InputError if an image can't be read (unless settings.skip_bad_images), if the images differ in size or type,
    or if channels that were asked for are not there.
    """
    paths = [path for files in found.values() for path in files]
    labels = np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
    blocks = image_sets.Blocks(paths, settings, title)
    gathered = _cached(Path(cache), blocks) if cache else image_sets.gather(list(blocks), blocks, np.empty)
    for line in gathered.notes:
        tell_once(line)
    kept = gathered.kept
    for k, (factor, files) in enumerate(found.items()):
        if k not in labels[kept]:
            others = ",".join(name for name in found if name != factor)
            raise InputError(f"{files[0].parent}: none of its {len(files)} images can be read: leave it out with "
                             f"-p {others}")
    return Images(gathered.pixels, labels[kept], tuple(found), gathered.settings, gathered.pixel_size_um,
                  skipped=blocks.skipped, files=tuple(paths[k] for k in kept))


def warn_of_copies(training: Images, held_out: Images, all_read: bool = True) -> None:
    """Warn, in one line, if held-out images are training images, so that measures with them mean nothing.

    all_read    whether `held_out` has all of the held-out images
    Images are the same if their pixels are, whatever the names of their files.
    """
    numbers = collections.Counter(_digests(held_out.pixels))
    copies = sum(numbers.pop(digest, 0) for digest in _digests(training.pixels))
    if copies:
        those = f"the {len(held_out.pixels)} held-out images that were read" if not all_read else (
            f"{len(held_out.pixels)} held-out images")
        print(f"warning: {copies} of {those} are training images: measures with them mean nothing: keep each image in "
              f"only one of the folders *_train and *_test", file=sys.stderr)


def _digests(pixels: np.ndarray) -> Iterator[bytes]:
    """A digest of each of the images; one at a time is copied into memory."""
    for image in np.asarray(pixels):
        yield hashlib.sha256(image.tobytes()).digest()


def read_manifest(files: Sequence[Path]) -> dict[str, np.ndarray]:
    """{quantity: values (images,)} that the manifest.csv beside the class folders has for all `files`; {} without one.

    A quantity is a column with a finite number for each of the files. Raises InputError if a table is not CSV in UTF-8.
    """
    tables: dict[Path, dict] = {}
    for root in {path.parent.parent for path in files}:
        if not (root / "manifest.csv").is_file():
            return {}
        try:
            with open(root / "manifest.csv", newline="", encoding="utf-8-sig") as file:
                tables |= {root / row["file"]: row for row in csv.DictReader(file) if row.get("file")}
        except OSError:
            return {}
        except (UnicodeDecodeError, csv.Error) as problem:
            raise InputError(f"{root / 'manifest.csv'}: not a table in UTF-8 ({problem}): save it as CSV "
                             f"UTF-8") from None
    rows = [tables.get(path, {}) for path in files]
    names = [name for name in rows[0] if all(_is_number(row.get(name)) for row in rows)]
    return {name: np.array([float(row[name]) for row in rows]) for name in names}


def _is_number(text):
    try:
        return math.isfinite(float(text))
    except (TypeError, ValueError):
        return False


def _cached(cache, blocks):
    """Like image_sets.gather, with pixels in the memory-mapped file `cache`, written again if the images changed."""
    if cache.suffix != ".npy":
        raise InputError(f"--cache {cache}: give the name of a file that ends in .npy")
    digest = hashlib.sha256(repr(blocks.settings).encode())
    for path in blocks.paths:
        digest.update(repr((str(path), *image_sets.size_and_date(path))).encode())
    key = digest.hexdigest()
    note = cache.with_name(cache.name + ".json")
    if stored := _stored(cache, note, key, blocks):
        return stored
    if cache.exists() and not _is_of_images(cache):
        raise InputError(f"--cache {cache}: this file holds something else than images: choose another name")
    note.unlink(missing_ok=True)
    with replacing(cache) as temporary:
        def allocate(shape, dtype):
            check_room(cache, math.prod(shape) * np.dtype(dtype).itemsize)
            mapped = np.lib.format.open_memmap(temporary, "w+", dtype, shape)
            reserve(temporary, mapped.offset + mapped.nbytes)
            return mapped
        gathered = image_sets.gather(blocks, blocks, allocate)
        gathered.pixels.flush()
    known = {"key": key, "kept": gathered.kept.tolist(), "settings": gathered.settings.to_json(),
             "pixel_size_um": gathered.pixel_size_um, "notes": gathered.notes, "skipped": blocks.skipped}
    with replacing(note) as temporary:
        temporary.write_text(json.dumps(known))
    return _stored(cache, note, key, blocks)


def _stored(cache, note, key, blocks):
    """The Gathered images of a cache with this key, or None if it is missing, damaged or has another key."""
    if not (note.is_file() and cache.is_file()):
        return None
    try:
        known = read_json(note)
        pixels = np.load(cache, mmap_mode="r", allow_pickle=False)
        kept = np.array(known["kept"], int)
        places = kept.shape == pixels.shape[:1] and ((0 <= kept) & (kept < len(blocks.paths))).all()
        if known["key"] == key and places and _is_of_images(cache):
            blocks.skipped = int(known["skipped"])
            found = ReadSettings.from_json(known["settings"])
            settings = dataclasses.replace(blocks.settings, channels=found.channels, intensities=found.intensities)
            return image_sets.Gathered(pixels, kept, settings, known["pixel_size_um"],
                                       tuple(known["notes"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _is_of_images(cache):
    """Whether the header of a .npy file is that of images, not of texts, objects or other numbers."""
    try:
        with open(cache, "rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return dtype == np.uint8 and len(shape) == 4
    except (OSError, ValueError):
        return False


class Batches:
    """Batches in a shuffled order that depends only on (seed, position), so that a resumed run sees the same ones.

    Every image is seen once before any is seen again; an incomplete batch at the end of a pass is dropped. Groups are
    shuffled independently: one group for each factor if `per_factor`, otherwise a single group of all images.
    Raises InputError if a group has fewer images than a batch.
    """

    def __init__(self, images: Images, batch_size: int, seed: int, per_factor: bool) -> None:
        self.images, self.batch_size, self.seed = images, batch_size, seed
        if per_factor:
            self.groups = [np.flatnonzero(images.labels == k) for k in range(len(images.factors))]
        else:
            self.groups = [np.arange(len(images.labels))]
        for name, group in zip(images.factors if per_factor else ("the data folder",), self.groups, strict=True):
            if len(group) < batch_size:
                raise InputError(f"{name} has {len(group)} images, too few for a batch of {batch_size}: "
                                 f"lower --batch_size or add images")
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def take(self, position: int, count: int, part: slice = slice(None)) -> np.ndarray:
        """`count` batches from number `position` on, uint8 (count, groups, batch, height, width, channels).

        part   the part of each batch to return, such as that of one task
        """
        chosen = [[self.indices(g, position + k)[part] for g in range(len(self.groups))] for k in range(count)]
        return self.images.pixels[np.array(chosen)]

    def indices(self, g: int, position: int) -> np.ndarray:
        """Indices (batch,) of the images in batch number `position` of group g. Keeps the order of the latest pass."""
        epoch, batch = divmod(position, len(self.groups[g]) // self.batch_size)
        if g not in self._orders or self._orders[g][0] != epoch:
            self._orders[g] = epoch, np.random.default_rng((self.seed, g, epoch)).permutation(self.groups[g])
        _, order = self._orders[g]
        return order[batch * self.batch_size:(batch + 1) * self.batch_size]


class Composites(Batches):
    """Batches of images with the greens of all factors, (batch, height, width, 1 + factors * (channels - 1)).

    Osokin et al. (2017), sec. 4.2, and their code: each composite has the red of one image and, for that image's
    factor, its greens; the greens of every other factor come from one of the NEIGHBOURS images of that factor with the
    nearest red, chosen at random. All channels are 0 where red is 0. The choice depends only on (seed, position), too.
    """

    def __init__(self, images: Images, batch_size: int, seed: int) -> None:
        super().__init__(images, batch_size, seed, per_factor=False)
        factors = reading("searching for similar cells", "factor")(range(len(images.factors)))
        self.neighbours = [nearest_red(images, k) for k in factors]

    def take(self, position: int, count: int, part: slice = slice(None)) -> np.ndarray:
        """`count` batches from number `position` on, uint8 (count, 1, batch, height, width, 1 + greens)."""
        return np.stack([self._composites(position + k)[part] for k in range(count)])[:, None]

    def _composites(self, position):
        own = self.indices(0, position)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(position,)))
        pixels = self.images.pixels[own]
        greens = []
        for k, neighbours in enumerate(self.neighbours):
            chosen = neighbours[own, rng.integers(neighbours.shape[1], size=len(own))]
            greens.append(self.images.pixels[np.where(self.images.labels[own] == k, own, chosen)][..., 1:])
        return np.concatenate([pixels[..., :1], *greens], axis=-1) * (pixels[..., :1] > 0)


def nearest_red(images: Images, factor: int) -> np.ndarray:
    """Positions (images, at most NEIGHBOURS) of the images of `factor` whose red is nearest to that of each image (L2).

    The rows of images of the factor itself, which need no neighbours, are arbitrary.
    """
    lit = images.pixels[..., 0].any(axis=0)
    candidates, others = np.flatnonzero(images.labels == factor), np.flatnonzero(images.labels != factor)
    there = _numbers(images.pixels[candidates, :, :, 0][:, lit])
    squares = (there ** 2).sum(axis=1)
    nearest = np.zeros((len(images.labels), min(NEIGHBOURS, len(candidates))), int)
    for rows in (others[start:start + BLOCK] for start in range(0, len(others), BLOCK)):
        here = _numbers(images.pixels[rows, :, :, 0][:, lit])
        distance = squares - 2 * here @ there.T         # minus |here|^2, which is constant within a row
        nearest[rows] = candidates[np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]]
    return nearest


def _numbers(pixels):
    """Floats whose sums and products are exact, so that every machine finds the same neighbours."""
    return pixels.astype(np.float64)


def batches(images: Images, batch_size: int, seed: int, architecture: Architecture) -> Batches:
    """The Batches of `images` that suit a models.Architecture."""
    if architecture.composites:
        return Composites(images, batch_size, seed)
    return Batches(images, batch_size, seed, architecture.per_factor)
