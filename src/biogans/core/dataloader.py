"""Images from folders: which files `-d` and `-p` mean, decoding them once, and batches as a function of the seed."""

import collections
import concurrent.futures.process
import csv
import dataclasses
import difflib
import hashlib
import json
import math
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import numpy as np

from ..system import image_files
from ..system.errors import InputError
from ..system.files import replacing
from ..system.progress import reading

NEIGHBOURS = 5          # of similar red, from which a composite takes its greens (k of the paper)
BLOCK = 1024            # images whose reds are compared with as many others at a time


@dataclasses.dataclass(frozen=True)
class Images:
    """Decoded images.

    pixels          uint8 (images, height, width, channels); channel 0 is the growth marker
    labels          (images,) index into `factors`
    factors         names of the image folders, sorted
    channels        the channels of the files that these are, counted from 1
    pixel_size_um   side of a pixel, or None where the files don't tell
    skipped         images left out because they could not be read
    files           the path of each image's file
    """

    pixels: np.ndarray
    labels: np.ndarray
    factors: tuple
    channels: tuple = (1, 2)
    pixel_size_um: float | None = None
    skipped: int = 0
    files: tuple = ()

    @property
    def fingerprint(self):
        """SHA-256 of pixels and labels: two runs with the same one saw the same images."""
        digest = hashlib.sha256(self.labels.tobytes())
        for start in range(0, len(self.pixels), 4096):
            digest.update(np.ascontiguousarray(self.pixels[start:start + 4096]))
        return digest.hexdigest()


def load(dataroot, factors=(), split="train", channels=(), skip_bad_images=False, cache=None):
    """Decode all images that `-d dataroot -p factors` means; returns Images.

    split      "train" or "test": which of the folders *_train and *_test is read
    channels, skip_bad_images, cache    as for `decode`

    Raises InputError for a missing folder, no images, an unknown factor, and as `decode` does.
    """
    return decode(find(dataroot, factors, split), channels, skip_bad_images, cache, f"reading {split} images")


def decode(found, channels=(), skip_bad_images=False, cache=None, title="reading images"):
    """Decode the image files {factor: [path, ...]}; returns Images. A terminal shows a progress bar of this title.

    channels         the channels of the files to use, counted from 1; by default those that are not constant
    skip_bad_images  leave out, and count, files that can't be read
    cache            a .npy file that keeps the decoded images; they are read from it as needed (memory-mapped), so they
                     may exceed the memory

    8-bit values are kept; others are scaled so that the largest value of each channel becomes 255.
    Raises InputError for an unreadable image (unless skip_bad_images) and images that differ in size or kind.
    """
    paths = [path for files in found.values() for path in files]
    labels = np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
    blocks = Blocks(paths, skip_bad_images, title)
    if cache:
        pixels, kept, channels = _cached(Path(cache), blocks, channels)
    else:
        pixels, kept, channels = _gather(list(blocks), channels, np.empty)
    for k, (factor, files) in enumerate(found.items()):
        if k not in labels[kept]:
            others = ",".join(name for name in found if name != factor)
            raise InputError(f"{files[0].parent}: none of its {len(files)} images can be read: leave it out with "
                             f"-p {others}")
    return Images(pixels, labels[kept], tuple(found), channels, image_files.read_pixel_size_um(paths[kept[0]]),
                  skipped=len(paths) - len(np.unique(kept)), files=tuple(paths[k] for k in kept))


def thinned(found, most):
    """Of the image files {factor: [path, ...]} at most `most` for each factor, evenly spaced."""
    return {name: files[::math.ceil(len(files) / most)] for name, files in found.items()}


def find(dataroot, factors=(), split="train"):
    """{factor: sorted image files} for `-d dataroot -p factors`.

    `dataroot` is the folder that holds *_train and *_test, or one of these, or the folder of one factor.
    """
    root = Path(dataroot)
    if not str(dataroot) or not root.is_dir():
        raise InputError(f"{dataroot or repr('')}: no such folder: give -d the folder of your images")
    root = _split_folder(root, split)
    folders = {folder.name: files for folder in _folders(root) if (files := _image_files(folder))}
    if not folders:
        files = _image_files(root)
        if not files:
            raise InputError(f"{root}: no images here: expected folders of {', '.join(image_files.SUFFIXES)} files, one per factor")
        folders = {Path(os.path.abspath(root)).name: files}
    for factor in factors:
        if factor not in folders:
            near = difflib.get_close_matches(factor, folders, n=1, cutoff=0.3)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"{root}: no polarity factor {factor}: {hint}It has {', '.join(folders)}")
    return {name: files for name, files in folders.items() if not factors or name in factors}


def _split_folder(root, split):
    """The folder *_<split> in or beside `root`, or `root` itself where there is no such division."""
    for ending in ("_train",) if split == "train" else ("_test", "_train"):
        inside = [folder for folder in _folders(root) if folder.name.endswith(ending)]
        if len(inside) > 1:
            raise InputError(f"{root}: several data sets here: give -d one of {', '.join(map(str, inside))}")
        if inside:
            root = inside[0]
            break
    return root if split == "train" else _test_twin(root)


def _test_twin(root):
    """*_test for *_train, *_test/<Factor> for *_train/<Factor>, else `root` itself."""
    twins = []
    for name in (os.path.normpath(root), os.path.abspath(root), os.path.realpath(root)):    # root may be "." or a link
        start = Path(name)
        of_one_factor = not name.endswith("_train") and _image_files(start)
        folder = start.parent if of_one_factor else start
        if folder.name.endswith("_train"):
            twins.append(folder.with_name(folder.name[:-len("_train")] + "_test") / start.relative_to(folder))
    for twin in twins:
        if twin.is_dir():
            return twin
    if twins:
        raise InputError(f"{twins[0]}: no such folder: it should hold the images to compare with")
    return root


def _folders(root):
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _image_files(folder):
    return sorted(path for path in folder.iterdir()
                  if path.suffix.lower() in image_files.SUFFIXES and not path.name.startswith("."))


def read_manifest(files):
    """{quantity: (images,)} that the manifest.csv beside the class folders knows of all `files`; {} without one."""
    tables = {}
    for root in {path.parent.parent for path in files}:
        try:
            with open(root / "manifest.csv", newline="") as file:
                tables |= {root / row["file"]: row for row in csv.DictReader(file) if row.get("file")}
        except OSError:
            return {}
    rows = [tables.get(path, {}) for path in files]
    names = [name for name in rows[0] if all(_is_number(row.get(name)) for row in rows)]
    return {name: np.array([float(row[name]) for row in rows]) for name in names}


def _is_number(text):
    try:
        return math.isfinite(float(text))
    except (TypeError, ValueError):
        return False


class Blocks:
    """Iterates over (pixels (images, height, width, channels), positions in `paths`), some files at a time.

    Only some blocks are read ahead: memory does not grow with the number of files.
    """

    bytes_per_block, most_files = 2**23, 64
    ahead = 8

    def __init__(self, paths, skip_bad_images=False, title="reading images"):
        self.paths, self.skip_bad_images, self.title = paths, skip_bad_images, title

    def __iter__(self):
        first = None
        step = min(self.most_files, max(1, self.bytes_per_block // (1 + self.paths[0].stat().st_size)))
        starts = range(0, len(self.paths), step)
        with readers() as pool:
            results = self._read(pool, [self.paths[start:start + step] for start in starts])
            for start, block in zip(reading(self.title)(starts), results):
                frames, positions = [], []
                for position, result in enumerate(block, start):
                    if isinstance(result, InputError):
                        if self.skip_bad_images:
                            continue
                        raise result
                    first = first or (self.paths[position], result)
                    _check_alike(self.paths[position], result, *first)
                    frames.append(result)
                    positions += [position] * len(result)
                if frames:
                    yield np.concatenate(frames), positions
        if first is None:
            raise InputError(f"{self.paths[0].parent}: none of the {len(self.paths)} images can be read")

    def _read(self, pool, blocks):
        """What _read_block returns for each of `blocks`, in their order."""
        waiting = collections.deque()
        try:
            for block in blocks:
                waiting.append(pool.submit(_read_block, block))
                if len(waiting) > self.ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except concurrent.futures.process.BrokenProcessPool:
            raise InputError(f"{self.paths[0].parent}: a process that read images died, perhaps for lack of memory or by "
                             f"a damaged image: ask for more memory, or look for an image that other programs refuse"
                             ) from None


def readers():
    """An executor with at least four workers, which hide the latency of network disks.

    Processes, because Pillow holds Python's lock while it decodes, and threads that want it slow one another down. A
    process with the threads of TensorFlow or JAX can't be forked safely, so there it is threads after all.
    """
    if sys.platform != "linux" or {"tensorflow", "jax"} & sys.modules.keys():
        return concurrent.futures.ThreadPoolExecutor(4)
    workers = min(8, max(4, len(os.sched_getaffinity(0))))
    return concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _ignore_interrupts)


def _ignore_interrupts():
    """Ctrl-C and a batch system's signals reach the whole process group; what follows is for the parent to decide."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def _check_alike(path, frames, first_path, first):
    if frames.shape[1:] != first.shape[1:]:
        kinds = ["{}x{} pixels with {} channel(s)".format(*array.shape[1:]) for array in (frames, first)]
        raise InputError(f"{path} has {kinds[0]}, but {first_path} has {kinds[1]}: all images must be alike")
    if frames.dtype != first.dtype:
        raise InputError(f"{path} is {frames.dtype}, but {first_path} is {first.dtype}: all images must be alike")


def _gather(blocks, channels, allocate):
    """(pixels, kept, channels) of all blocks, over which it iterates twice.

    pixels     one uint8 array, made by `allocate(shape, dtype)`
    kept       for each image the position of its file
    channels   those of the files that were used, counted from 1
    """
    kept, low, high = [], np.inf, -np.inf
    for pixels, positions in blocks:
        kept += positions
        low = np.minimum(low, pixels.min(axis=0).min(axis=(0, 1)))      # 100 times faster than axis=(0, 1, 2)
        high = np.maximum(high, pixels.max(axis=0).max(axis=(0, 1)))
    used = _used_channels(channels, low, high)
    result = allocate((len(kept), *pixels.shape[1:3], len(used)), np.uint8)
    start = 0
    for pixels, _ in blocks:
        block = result[start:start + len(pixels)]
        for k, channel in enumerate(used):
            block[..., k] = _to_bytes(pixels[..., channel], high[channel])
        start += len(pixels)
    return result, np.array(kept), tuple(channel + 1 for channel in used)


def _to_bytes(values, highest):
    """8-bit values as they are, others scaled so that `highest` becomes 255; negative ones become 0."""
    return values if values.dtype == np.uint8 else np.rint(np.clip(values, 0, None) * (255.0 / max(highest, 1e-30)))


def _used_channels(channels, low, high):
    """Positions of the channels to keep; LIN images, for example, have an empty blue channel."""
    if channels and max(channels) > len(low):
        raise InputError(f"--channels {','.join(map(str, channels))}: the images have only {len(low)} channel(s)")
    if len(set(channels)) < len(channels):
        raise InputError(f"--channels {','.join(map(str, channels))}: give each channel once")
    if channels:
        return [channel - 1 for channel in channels]
    return np.flatnonzero(high > low).tolist() or [0]


def _read_block(paths):
    return [image_files.read_or_error(path) for path in paths]


def _cached(cache, blocks, channels):
    """What _gather returns, with the pixels read from the file `cache` as needed; made anew if the images changed."""
    if cache.suffix != ".npy":
        raise InputError(f"--cache {cache}: give the name of a file that ends in .npy")
    digest = hashlib.sha256(repr((tuple(channels), blocks.skip_bad_images)).encode())
    for path in blocks.paths:
        status = path.stat()
        digest.update(repr((str(path), status.st_size, status.st_mtime_ns)).encode())
    key = digest.hexdigest()
    note = cache.with_name(cache.name + ".json")
    if stored := _stored(cache, note, key):
        return stored
    note.unlink(missing_ok=True)
    with replacing(cache) as temporary:
        def allocate(shape, dtype):
            return np.lib.format.open_memmap(temporary, "w+", dtype, shape)
        pixels, kept, used = _gather(blocks, channels, allocate)
        pixels.flush()
    with replacing(note) as temporary:
        temporary.write_text(json.dumps({"key": key, "kept": kept.tolist(), "channels": used}))
    return _stored(cache, note, key)


def _stored(cache, note, key):
    """(pixels, kept, channels) from a cache with this key, or None."""
    try:
        known = json.loads(note.read_text())
        pixels = np.load(cache, mmap_mode="r", allow_pickle=False)
        if known["key"] == key and len(pixels) == len(known["kept"]):
            return pixels, np.array(known["kept"]), tuple(known["channels"])
    except (OSError, ValueError, KeyError, TypeError):      # there is none, or a damaged one
        pass
    return None


class Batches:
    """Batches in a shuffled order that is a function of (seed, position) alone, so that a resumed run sees the same.

    Every image is seen once before one is seen again; at the end of each pass an incomplete batch is dropped.
    Groups are shuffled apart: one group for each factor where `per_factor`, otherwise one of all images.
    Raises InputError if a group has fewer images than a batch.
    """

    def __init__(self, images, batch_size, seed, per_factor):
        self.images, self.batch_size, self.seed = images, batch_size, seed
        if per_factor:
            self.groups = [np.flatnonzero(images.labels == k) for k in range(len(images.factors))]
        else:
            self.groups = [np.arange(len(images.labels))]
        for name, group in zip(images.factors if per_factor else ["the data folder"], self.groups):
            if len(group) < batch_size:
                raise InputError(f"{name} has {len(group)} images, too few for a batch of {batch_size}: "
                                 f"lower --batch_size or add images")
        self._orders = {}

    def take(self, position, count, part=slice(None)):
        """uint8 (count, groups, batch, height, width, channels): batches number position, position + 1, …, or a part."""
        chosen = [[self._indices(g, position + k)[part] for g in range(len(self.groups))] for k in range(count)]
        return self.images.pixels[np.array(chosen)]

    def _indices(self, g, position):
        epoch, batch = divmod(position, len(self.groups[g]) // self.batch_size)
        if self._orders.get(g, (None,))[0] != epoch:
            self._orders[g] = epoch, np.random.default_rng((self.seed, g, epoch)).permutation(self.groups[g])
        return self._orders[g][1][batch * self.batch_size:(batch + 1) * self.batch_size]


class Composites(Batches):
    """Batches of images with the greens of all factors, (batch, height, width, 1 + factors * (channels - 1)).

    Each is one image's red and, at its factor's place, its own greens; those of every other factor are of one of the
    NEIGHBOURS images of that factor whose red is nearest, at random. All is 0 where the red is (Osokin et al. 2017,
    sec. 4.2, and their code). Which ones are chosen is a function of (seed, position), too.
    """

    def __init__(self, images, batch_size, seed):
        super().__init__(images, batch_size, seed, per_factor=False)
        factors = reading("searching for similar cells", "factor")(range(len(images.factors)))
        self.neighbours = [nearest_red(images, k) for k in factors]

    def take(self, position, count, part=slice(None)):
        """uint8 (count, 1, batch, height, width, 1 + greens): batches number position, position + 1, …, or a part."""
        return np.stack([self._composites(position + k)[part] for k in range(count)])[:, None]

    def _composites(self, position):
        own = self._indices(0, position)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(position,)))
        pixels = self.images.pixels[own]
        greens = []
        for k, neighbours in enumerate(self.neighbours):
            chosen = neighbours[own, rng.integers(neighbours.shape[1], size=len(own))]
            greens.append(self.images.pixels[np.where(self.images.labels[own] == k, own, chosen)][..., 1:])
        return np.concatenate([pixels[..., :1], *greens], axis=-1) * (pixels[..., :1] > 0)


def nearest_red(images, factor):
    """Positions (images, at most NEIGHBOURS) of the images of `factor` whose red is nearest to each one's (L2).

    Those of images of the factor itself, which need none, are any.
    """
    lit = images.pixels[..., 0].any(axis=0)
    candidates, others = np.flatnonzero(images.labels == factor), np.flatnonzero(images.labels != factor)
    there = _numbers(images.pixels[candidates, :, :, 0][:, lit])
    squares = (there ** 2).sum(axis=1)
    nearest = np.zeros((len(images.labels), min(NEIGHBOURS, len(candidates))), int)
    for rows in (others[start:start + BLOCK] for start in range(0, len(others), BLOCK)):
        here = _numbers(images.pixels[rows, :, :, 0][:, lit])
        distance = squares - 2 * here @ there.T         # less the square of each of `here`, the same in its row
        nearest[rows] = candidates[np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]]
    return nearest


def _numbers(pixels):
    """Numbers whose sums and products are exact, so that every machine finds the same neighbours."""
    return pixels.astype(np.float64)


def batches(images, batch_size, seed, architecture):
    """Batches of `images` as a models.Architecture sees them."""
    if architecture.composites:
        return Composites(images, batch_size, seed)
    return Batches(images, batch_size, seed, architecture.per_factor)
