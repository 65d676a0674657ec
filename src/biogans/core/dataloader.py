"""Images from folders: which files `-d` and `-p` mean, decoding them once, and batches as a function of the seed."""

import collections
import concurrent.futures.process
import contextlib
import csv
import dataclasses
import difflib
import hashlib
import json
import logging
import math
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from ..system.errors import InputError
from ..system.files import replacing

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
FORMATS = ("PNG", "TIFF", "JPEG", "BMP")        # not EPS: Pillow would run Ghostscript on it
LARGEST_SIDE = 4096
NEIGHBOURS = 5          # of similar red, from which a composite takes its greens (k of the paper)
BLOCK = 1024            # images whose reds are compared with as many others at a time
LARGEST_BOMB = 2 ** 28          # bytes that the pages of a TIFF of less than a hundredth of that may have
warnings.filterwarnings("ignore", module=r"PIL\.")        # remarks on odd metadata
Image.MAX_IMAGE_PIXELS = None                   # _check_sides refuses large images, without a warning on top


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


def load(dataroot, factors=(), split="train", channels=(), skip_bad_images=False, cache=None, progress=iter,
         most=None):
    """Decode all images that `-d dataroot -p factors` means; returns Images.

    split      "train" or "test": which of the folders *_train and *_test is read
    channels   the channels of the files to use, counted from 1; by default those that are not constant
    cache      a .npy file that keeps the decoded images; they are read from it as needed (memory-mapped), so they may
               be more than fits into memory
    progress   wraps the list of files and shows progress, like tqdm
    most       read no more than so many files of each factor, evenly spaced among them

    8-bit values are kept; others are scaled so that the largest value of each channel becomes 255.
    Raises InputError for a missing folder, no images, an unknown factor, an unreadable image (unless
    skip_bad_images), and images that differ in size or kind.
    """
    found = find(dataroot, factors, split)
    if most:
        found = {name: files[::math.ceil(len(files) / most)] for name, files in found.items()}
    paths = [path for files in found.values() for path in files]
    labels = np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
    if cache:
        pixels, kept, channels = _cached(Path(cache), paths, channels, skip_bad_images, progress)
    else:
        pixels, kept, channels = _gather(list(_Blocks(paths, skip_bad_images, progress)), channels, np.empty)
    for k, (factor, files) in enumerate(found.items()):
        if k not in labels[kept]:
            others = ",".join(name for name in found if name != factor)
            raise InputError(f"{files[0].parent}: none of its {len(files)} images can be read: leave it out with "
                             f"-p {others}")
    return Images(pixels, labels[kept], tuple(found), channels, read_pixel_size_um(paths[kept[0]]),
                  skipped=len(paths) - len(np.unique(kept)), files=tuple(paths[k] for k in kept))


def find(dataroot, factors=(), split="train"):
    """{factor: sorted image files} for `-d dataroot -p factors`.

    `dataroot` is the folder that holds *_train and *_test, or one of these, or the folder of one factor.
    """
    root = Path(dataroot)
    if not str(dataroot) or not root.is_dir():
        raise InputError(f"{dataroot or repr('')}: no such folder: give -d the folder of your images")
    root = _split_folder(root, split)
    folders = {folder.name: files for folder in _folders(root) if (files := _images(folder))}
    if not folders:
        files = _images(root)
        if not files:
            raise InputError(f"{root}: no images here: expected folders of {', '.join(SUFFIXES)} files, one per factor")
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
        of_one_factor = not name.endswith("_train") and _images(start)
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


def _images(folder):
    return sorted(path for path in folder.iterdir()
                  if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def known(files):
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


class _Blocks:
    """Iterates over (pixels (images, height, width, channels), positions in `paths`), some files at a time.

    Only some blocks are read ahead: memory does not grow with the number of files.
    """

    bytes_per_block, most_files = 2**23, 64
    ahead = 8

    def __init__(self, paths, skip_bad_images, progress):
        self.paths, self.skip_bad_images, self.progress = paths, skip_bad_images, progress

    def __iter__(self):
        first = None
        step = min(self.most_files, max(1, self.bytes_per_block // (1 + self.paths[0].stat().st_size)))
        starts = range(0, len(self.paths), step)
        with _readers() as pool:
            results = self._read(pool, [self.paths[start:start + step] for start in starts])
            for start, block in zip(self.progress(starts), results):
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


def _readers():
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


def read_image(path, remedy):
    """The images of one file, (images, height, width, channels). Raises InputError, which tells the remedy."""
    frames = _read_or_mistake(path, remedy)
    if isinstance(frames, InputError):
        raise frames
    return frames


def _read_block(paths):
    return [_read_or_mistake(path) for path in paths]


def _read_or_mistake(path, remedy="replace or remove it, or leave out such images with --skip-bad-images"):
    """Frames (images, height, width, channels) of one file, or the InputError that says why not."""
    try:
        frames = _read_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _read_picture(path)
        if frames.dtype.kind not in "buif" or frames.dtype.kind == "f" and not np.isfinite(frames).all():
            raise ValueError("some of its pixels are not finite numbers")
        return frames
    except InputError as mistake:
        return mistake
    except Exception as problem:        # a damaged file can make the decoders raise anything
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        return InputError(f"{path}: not a readable image ({reason}): {remedy}")


def _read_picture(path):
    with Image.open(path, formats=FORMATS) as picture:
        _check_sides(path, *picture.size)
        if picture.mode == "1":
            picture = picture.convert("L")
        elif picture.mode in ("P", "PA"):
            picture.info.pop("transparency", None)
            picture = picture.convert("RGB")
        pixels = np.asarray(picture)
    return np.atleast_3d(pixels)[np.newaxis]


def _read_tiff(path):
    """Pages are channels where the file says so, or says nothing and has 2 to 4 of them; otherwise separate images."""
    import tifffile

    with strict_tiffs(), tifffile.TiffFile(path) as file:
        series = file.series[0]
        axes = series.axes
        height, width = (series.shape[axes.index(axis)] for axis in "YX")
        _check_sides(path, height, width)
        if "C" not in axes and "S" not in axes and len(axes) == 3 and axes[0] in "QI" and 2 <= series.shape[0] <= 4:
            axes = "C" + axes[1:]
        size = math.prod(series.shape) * series.dtype.itemsize
        if size > LARGEST_BOMB and size > 100 * path.stat().st_size:
            raise InputError(f"{path}: {len(series)} pages that claim {size / 2**30:.1f} GiB, far more than the file "
                             f"has: replace or remove it")
        pixels = series.asarray()
    channels = next((axis for axis in "SC" if axis in axes), None)
    if channels is None:
        return pixels.reshape(-1, height, width, 1)
    pixels = np.moveaxis(pixels, axes.index(channels), -1)
    if pixels.shape[-1] > 4:
        raise InputError(f"{path}: {pixels.shape[-1]} channels: at most 4 can be used")
    return pixels.reshape(-1, height, width, pixels.shape[-1])


@contextlib.contextmanager
def strict_tiffs():
    """Raise as a ValueError what tifffile only logs as an error before it returns the readable part of a file."""
    logger = logging.getLogger("tifffile")
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    heard = _Heard(threading.get_ident())
    logger.addHandler(heard)
    try:
        yield
    finally:
        logger.removeHandler(heard)
    if heard.said:
        raise ValueError(heard.said[0])


class _Heard(logging.Handler):
    """Keeps what one thread logs."""

    def __init__(self, thread):
        super().__init__()
        self.thread, self.said = thread, []

    def emit(self, record):
        if record.thread == self.thread:
            self.said.append(record.getMessage())


def _check_sides(path, *sides):
    if max(sides) > LARGEST_SIDE:
        raise InputError(f"{path}: {sides[0]}x{sides[1]} pixels: sides above {LARGEST_SIDE} are refused: crop the "
                         f"cells first")


def read_pixel_size_um(path):
    """The resolution that a PNG or TIFF states, if it is a microscope's (below 10 um) rather than a printer's."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            per_inch = float(picture.info.get("dpi", (0, 0))[0])
    except Exception:       # a file that only the TIFF reader understands
        return None
    size = 25400.0 / per_inch if per_inch > 0 else None
    return size if size and size < 10 else None


def _cached(cache, paths, channels, skip_bad_images, progress):
    """What _gather returns, with the pixels read from the file `cache` as needed; made anew if the images changed."""
    if cache.suffix != ".npy":
        raise InputError(f"--cache {cache}: give the name of a file that ends in .npy")
    digest = hashlib.sha256(repr((tuple(channels), skip_bad_images)).encode())
    for path in paths:
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
        pixels, kept, used = _gather(_Blocks(paths, skip_bad_images, progress), channels, allocate)
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

    def __init__(self, images, batch_size, seed, progress=iter):
        super().__init__(images, batch_size, seed, per_factor=False)
        self.neighbours = [nearest_red(images, k) for k in progress(range(len(images.factors)))]

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


def batches(images, batch_size, seed, architecture, progress=iter):
    """Batches of `images` as a models.Architecture is shown them; `progress` is for what takes a while."""
    if architecture.composites:
        return Composites(images, batch_size, seed, progress)
    return Batches(images, batch_size, seed, architecture.per_factor)
